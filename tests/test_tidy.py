"""Tidying: what cron runs is one plan; two at once, or one that dies at any write, harm nothing"""
import threading
import pytest
from objectstore import ObjectStore, Protected
from objectstore.errors import InvalidCall, InvalidQuery
from objectstore.format.records import payload_key
from objectstore.storage.backend import MemoryBackend
from test_collect import BIG, ages, fill, hours_go_by, payloads      # noqa: F401 (a fixture)
from trial import Dead, Mortal, content, store_over

def stocked(place=None) -> ObjectStore:
    store = fill(store_over(place) if place is not None else ObjectStore('memory://'), n=5)
    store.care.set_policy('b', keep_last=2, grace=0)
    return store

def test_a_day_and_the_next_one():
    store = stocked()
    plan = store.care.tidy(sample=1)
    assert [s.verdict for s in plan.goes] == ['remove'] * 3 + ['verify'] and len(store.versions('b/m')) == 5
    assert [o.became for o in plan.apply()] == ['removed'] * 3 + ['verified'] and payloads(store) == 5
    assert ([o.became for o in store.care.tidy(sample=1).apply()] == ['freed'] * 3 + ['verified']
            and payloads(store) == 2)
    assert [s.verdict for s in store.care.tidy(sample=1).goes] == ['verify']

def test_what_was_made_from_what_is_read_once_for_all_buckets(monkeypatch):
    from objectstore.store.care import Made
    store = stocked()
    for name in ('c', 'd'):
        fill(store, f'{name}/m', 3)
        store.care.set_policy(name, keep_last=1, grace=0)
    asked, real = [], Made._inputs
    monkeypatch.setattr(Made, '_inputs', lambda self, costs: asked.append(1) or real(self, costs))
    plan = store.care.tidy(sample=1)
    assert [s.verdict for s in plan.goes].count('remove') == 7 and len(asked) == 1
    assert not plan.apply().left and len(asked) == 2

def test_what_is_wrong_is_said():
    store = stocked()
    place = store.origin.place
    r = store.origin.bucket('b').record('m', 5)
    key = f'b/{payload_key(r.hash, r.put)}'
    place._objects[key] = b'rotten', place._objects[key][1]
    [left] = store.care.tidy(sample=1).apply().left
    assert 'b/m@' in left.why and 'verify()' in left.why

def test_mistakes_and_rights(tmp_path):
    with pytest.raises(InvalidCall): stocked().care.tidy(sample=2)
    with pytest.raises(InvalidQuery): stocked().care.tidy(grace='a while')
    fill(ObjectStore(tmp_path)).care.set_policy('b', keep_last=1)
    store = ObjectStore(tmp_path, readonly=True)
    with pytest.raises(Protected): store.care.tidy().apply()
    assert len(store.versions('b/m')) == 4

def test_two_at_once():
    place = MemoryBackend()
    store, other = stocked(place), store_over(place)
    for _ in range(2):
        plans = [s.care.tidy(sample=1) for s in (store, other)]
        threads = [threading.Thread(target=p.apply) for p in plans]
        for t in threads: t.start()
        for t in threads: t.join()
    assert payloads(store) == 2 and [v.version for v in store_over(place).versions('b/m')] == [4, 5]
    assert store.get('b/m') == content('b/m 4', BIG) and store_over(place).care.verify().ok

def test_killed_at_every_write(figure):
    for n in range(100):
        place = Mortal()
        store = stocked(place)
        store.remove('b/m@1')
        plan = store.care.tidy(sample=1)
        place.left, died = n, False
        try: plan.apply()
        except Dead: died = True
        place.left = 10**9
        other = store_over(place)
        for _ in range(2): assert not other.care.tidy(sample=1).apply().left
        assert payloads(other) == 2 and other.get('b/m@4') == content('b/m 3', BIG)
        if not died: break
    figure('15 tidying that dies at each of its writes', writes=n, harmed=0)
    assert 5 <= n < 100
