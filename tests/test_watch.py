"Watching: every event at least once, the versions of an item in order, from any cursor, across outages and compaction"
import random, threading, time
import pytest
from objectstore import InvalidRef, NotFound, ObjectStore
from trial import soak

@pytest.fixture(autouse=True)
def ground(tmp_path, monkeypatch):
    for k, d in dict(OBJECTSTORE_STATE_DIR='state', OBJECTSTORE_CACHE_DIR='cache', HOME='home').items():
        monkeypatch.setenv(k, str(tmp_path/d))
    monkeypatch.chdir(tmp_path)

def puts(events) -> dict[str, list[int]]:
    found = {}
    for e in events:
        if e.action == 'put': found.setdefault(e.version.item, []).append(e.version.version)
    return found

@pytest.mark.parametrize('ref', ['lab', 'lab/a'])
def test_nothing_is_missed_and_order_is_kept(tmp_path, figure, ref):
    "Writers in threads; the watcher stops after some events, and another goes on from its cursor; somebody compacts"
    store = ObjectStore(str(tmp_path/'lab'), durable=False)
    store.put('lab/a', 0)
    rng, n, seen = random.Random(ref), soak(20, 200), []
    first = store.watch(ref, timeout=30)       # it begins here, and another goes on from its first event
    def write(k):
        s = ObjectStore(str(tmp_path/'lab'), durable=False)
        for i in range(n):
            s.put(('lab/a', f'lab/b{k}')[i % 2], i)
            if i % 7 == k: s.set_alias('lab/a', 'production')
            time.sleep(rng.random() / 100)
        s.close()
    def compact():
        for _ in range(3): time.sleep(0.2); ObjectStore(str(tmp_path/'lab')).care.compact('lab')
    threads = [threading.Thread(target=write, args=(k,)) for k in range(2)] + [threading.Thread(target=compact)]
    for t in threads: t.start()
    watching, cursor, stops = first, None, soak(20, 200)
    while True:
        for e in watching:
            seen.append(e)
            cursor = e.cursor
            # who always stops is told of the same again for ever
            if stops and rng.random() < 0.1: stops -= 1; break
        else:
            if not any(t.is_alive() for t in threads): break
        watching = (ObjectStore(str(tmp_path/'lab')).watch(ref, since=cursor, timeout=0.5) if cursor
                    else store.watch(ref, timeout=0.5))
    for t in threads: t.join()
    seen += ObjectStore(str(tmp_path/'lab')).watch(ref, since=cursor, timeout=0.5)
    found, wrong, missed = puts(seen), 0, 0
    for item in ['a'] + ['b0', 'b1'] * (ref == 'lab'):
        numbers = list(dict.fromkeys(found.get(item, [])))
        wrong += numbers != sorted(numbers)
        missed += len(set(range(2 if item == 'a' else 1, store[f'lab/{item}'].version + 1)) - set(numbers))
    figure(f'watch {ref}', events=len(seen), missed=missed, order_errors=wrong)
    assert not missed and not wrong

def test_an_alias_gives_its_target_and_every_move(tmp_path):
    store = ObjectStore(str(tmp_path/'lab'))
    versions = [store.put('lab/m', i) for i in range(4)]
    assert [*store.watch('lab/m@production', timeout=0)] == []
    for v in versions[:3]: store.set_alias(v, 'production')
    events = [*store.watch('lab/m@production', timeout=0)]
    assert [e.version.version for e in events] == [3]
    store.set_alias(versions[0], 'production'), store.remove_alias('lab/m', 'production')
    assert [e.version and e.version.version
            for e in store.watch('lab/m@production', since=events[0].cursor, timeout=0)] == [1, None]
    assert [e.version and e.version.version
            for e in store.watch('lab/m@production', since=versions[1], timeout=0)] == [3, 1, None]

def test_an_outage_ends_nothing(tmp_path):
    store = ObjectStore(str(tmp_path/'lab'))
    store.put('lab/m', 0)
    place, real, calls = store.origin.place, store.origin.place.list, []
    def list_(*args, **kwargs):
        calls.append(1)
        if len(calls) in (2, 3, 4): raise ConnectionRefusedError(111, 'away')
        return real(*args, **kwargs)
    watching = store.watch('lab/m', since='0', timeout=2)
    place.list = list_
    assert next(watching).version.version == 1
    ObjectStore(str(tmp_path/'lab')).put('lab/m', 1)
    assert next(watching).version.version == 2

def test_what_cannot_be_watched(tmp_path):
    store = ObjectStore(str(tmp_path/'lab'))
    store.put('lab/m', 0)
    for ref in ('lab/m@3', 'lab/m@*', 'lab/m@latest', 'lab/m@production~1'):
        with pytest.raises(InvalidRef): store.watch(ref)
    for since in ('nonsense', '{}', '[1]'):
        with pytest.raises(InvalidRef): store.watch('lab', since=since)
        with pytest.raises(InvalidRef): store.watch('lab/m', since=since)
    with pytest.raises(NotFound): store.watch('nothing')
