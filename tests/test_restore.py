"""Restoring: the same number, alive again, with its notes; for whoever looks, and whatever stands in its way"""
from __future__ import annotations
import pytest
from objectstore import InvalidRef, NotAvailableOffline, NotFound, ObjectStore, Protected
from objectstore.cache.replay import _deliver_remove
from objectstore.format.commit import TAKEN, decided
from objectstore.format.states import ERASED
from objectstore.search.changelog import flush_hints
from objectstore.storage.backend import MemoryBackend
from away import quiet
from trial import store_over

LARGE = b'0123456789' * 10_000

def filled(place=None) -> ObjectStore:
    s = store_over(place or MemoryBackend())
    for i in range(4): s.put('lab/m', {'i': i}, metadata={'auc': i / 10})
    s.put('lab/large', LARGE), s.put('lab/large', LARGE[::-1])
    s.annotate('lab/m@2', {'stage': 'old'})
    return s

def test_the_same_number_with_its_notes(own_cache):
    s = filled()
    before = s['lab/m@2']
    created, metadata = before.created, before.metadata
    s.find_items('lab')
    s.remove('lab/m@2'), s.remove('lab/m@4')
    assert s.find_items('lab', at='*', where='stage = :s', params={'s': 'old'}).refs == []
    v = s.restore('lab/m@2')
    assert (v.ref, v.id, v.created, v.metadata) == ('lab/m@2', before.id, created, metadata) and s.get(v) == {'i': 1}
    assert s['lab/m'].version == 3 and s.versions('lab/m').refs == ['lab/m@1', 'lab/m@2', 'lab/m@3']
    assert s.find_items('lab', at='*', where='stage = :s', params={'s': 'old'}).refs == ['lab/m@2']
    s.restore('lab/m@4')
    assert s['lab/m'].version == 4 and s.get('lab/m') == {'i': 3} and s.put('lab/m', 5).version == 5
    assert [m.what for m in s.history('lab/m@2')] == ['put', 'note', 'removed', 'restored']
    other = store_over(s.origin.place)
    assert [v.ref for v in other.find_items('lab', at='*') if v.item == 'm'] == [f'lab/m@{n}' for n in (5, 4, 3, 2, 1)]

def test_one_many_or_all(own_cache):
    s = filled()
    found = s.versions('lab/m')[1:3]
    s.remove('lab/m@*')
    assert s.restore(found).refs == ['lab/m@2', 'lab/m@3'] and s['lab/m'].version == 3
    assert s.restore('lab/m@*').refs == ['lab/m@1', 'lab/m@4'] and s.restore('lab/m@*').refs == []
    assert s.restore(found[0]).ref == 'lab/m@2'                   # it lives
    s.remove(found[1])
    assert s.restore(f'lab/m@id:{found[1].id}').ref == 'lab/m@3'

def test_what_cannot_come_back_says_why(own_cache):
    s = filled()
    b = s.origin.bucket('lab')
    for ref, why in {'lab/m@9': 'no version 9', 'lab/never@1': 'no item', 'nowhere/m@1': 'no item'}.items():
        with pytest.raises(NotFound, match=why): s.restore(ref)
    for ref in ('lab/m', 'lab/m@latest', 'lab/m@production', 'lab/m@2026-01-01'):
        with pytest.raises(InvalidRef, match='which version to restore'): s.restore(ref)
    s.remove('lab/m@1'), s.remove('lab/large@1')
    b.backend.create(b.key('m', 1, ERASED), b'{}')
    with pytest.raises(NotFound, match='erased, for good'): s.restore('lab/m@1')
    with pytest.raises(NotFound, match='was erased'): s['lab/m@1']
    [key] = [e.key for e in b.backend.list('lab/payloads/') if b.record('large', 1).hash in e.key]
    b.backend.create(f'{key}.gc-1', b'')
    decided(b.backend, f'{key}.gc-1', TAKEN)
    with pytest.raises(NotFound, match='its bytes are gone, or about'): s.restore('lab/large@1')
    b.backend.delete(key)
    with pytest.raises(NotFound, match='its bytes are gone'): s.restore('lab/large@1')
    assert b.mark('large', 1) == 'removed' and 'lab/large@1' not in s
    with quiet():
        s.remove('lab/large@2'), s.remove('lab/m@2')
        with pytest.warns(UserWarning, match='left out: lab/large@1'): found = s.restore('lab/large@*')
    assert found.refs == ['lab/large@2']

def test_bytes_that_go_between_look_and_claim(own_cache, monkeypatch):
    "A collector that takes them in the middle: the version is as it was, removed"
    s = filled()
    s.remove('lab/large@1')
    b = s.origin.bucket('lab')
    [key] = [e.key for e in b.backend.list('lab/payloads/') if b.record('large', 1).hash in e.key]
    real = type(b).move_beside
    def slow(self, item, n, says, *args):
        won = real(self, item, n, says, *args)
        if says['is'] == 'restored': self.backend.delete(key)
        return won
    monkeypatch.setattr(type(b), 'move_beside', slow)
    with pytest.raises(NotFound, match='its bytes are gone'): s.restore('lab/large@1')
    assert b.mark('large', 1) == 'removed' and s.versions('lab/large').refs == ['lab/large@2']

def test_a_removed_bucket_is_there_again(own_cache):
    s = filled()
    s.remove_bucket('lab', force=True)
    assert s.list_buckets() == []
    s.restore('lab/m@3')
    assert s.list_buckets() == ['lab'] and s.get('lab/m') == {'i': 2} and s.origin.bucket('lab').state()[1]

def test_a_copy_follows_what_is_restored(own_cache):
    s, to = filled(), store_over(MemoryBackend())
    s.copy('lab', to=to)
    s.remove('lab/m@2'), s.remove('lab/large@2')
    s.copy('lab', to=to)
    assert to.versions('lab/m').refs == ['lab/m@1', 'lab/m@3', 'lab/m@4'] and to['lab/large'].version == 1
    s.restore('lab/m@2'), s.restore('lab/large@2')
    s.copy('lab', to=to)
    assert to.get('lab/m@2') == {'i': 1} and to.get('lab/large') == LARGE[::-1] and to['lab/large'].version == 2
    to.remove('lab/m@3')                                # on purpose
    s.remove('lab/m@3'), s.restore('lab/m@3'), s.copy('lab', to=to)
    assert 'lab/m@3' not in to

def test_through_near_tiers(world):
    store, alone = world.open(), world.alone()
    for i in range(3): store.put('lab/m', i), store.put('lab/large', LARGE + bytes([i]))
    store.remove('lab/m@3'), store.remove('lab/large@2')
    assert store.get('lab/m') == alone.get('lab/m') == 1
    alone.restore('lab/m@3'), alone.restore('lab/large@2')
    assert store.get('lab/m') == 2 and store.get('lab/m@3') == 2 and store.get('lab/large@2') == LARGE + b'\1'
    assert world.open().get('lab/m@3') == 2
    alone.remove('lab/m@3')
    assert store.get('lab/m') == 1
    with pytest.raises(NotFound): store.get('lab/m@3')
    assert store.restore('lab/m@3').ref == 'lab/m@3' and alone.get('lab/m') == 2

def test_away(memory, monkeypatch):
    store = memory.open()
    for i in range(3): store.put('lab/m', i)
    store.remove('lab/m@3')
    flush_hints()
    memory.away()
    with pytest.raises(NotAvailableOffline), quiet(): store.restore('lab/m@3')
    memory.back()
    monkeypatch.setattr(type(store), '_going', lambda self, bucket, item: {2})
    with pytest.raises(NotAvailableOffline, match='is pending on this machine'), quiet(): store.restore('lab/m@2')
    with pytest.raises(Protected): memory.open(readonly=True).restore('lab/m@3')

def test_a_pending_removal_that_is_delivered_twice(memory):
    "What was restored between two deliveries of one removal stays"
    store = memory.open()
    store.put('lab/m', 1), store.put('lab/m', 2)
    flush_hints()
    memory.away()
    with quiet(): store.remove('lab/m@1')
    [work] = [w for w in store.pending.work() if w.op == 'remove']
    memory.back()
    _deliver_remove(memory.alone().origin, store.pending, work, 3.0)       # and dies before it is taken from the queue
    assert 'lab/m@1' not in memory.alone()
    memory.alone().restore('lab/m@1')
    with quiet(): store.sync()
    assert memory.alone().get('lab/m@1') == 1

def test_what_a_removal_and_a_restore_say():
    "How to get it back and for how long; which aliases did not come back; no list is cut off without saying so"
    s = ObjectStore('memory://')
    for i in range(14): s.put('lab/m', i)
    s.set_alias('lab/m@2', 'best')
    said = repr(s.remove('lab/m@2', force=True))
    assert "store.restore('lab/m@*')" in said and '7 d after' in said
    with pytest.warns(UserWarning, match=r"without what pointed at it: alias 'best' of lab/m@2 \(set_alias"):
        s.restore('lab/m@2')
    assert s.aliases('lab/m') == {} and s.set_alias('lab/m@2', 'best').version == 2
    s.remove('lab/m@*', force=True)
    bucket = s.origin.bucket('lab')
    real, lost = bucket.restore, NotFound('lab/m: its bytes are gone')
    def restore(item, n, *more):
        if n > 2: raise lost
        return real(item, n, *more)
    bucket.restore = restore
    with pytest.warns(UserWarning, match='left out: .* and 2 more'):
        assert s.restore('lab/m@*').refs == ['lab/m@1', 'lab/m@2']
