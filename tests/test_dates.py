"""Dates as a user meets them: what they cost, offline, of what was removed, and where an answer about the time does
not come"""
from __future__ import annotations
import time
from datetime import timedelta

import pytest
from objectstore import Damaged, NotFound, ObjectStore, PendingWarning
from objectstore.format import origin_clock, records
from objectstore.format.records import move
from objectstore.storage.backend import MemoryBackend
from objectstore.storage.files import FileBackend
from objectstore.format.states import beside
from counted import world
from services import Place
from planting import planted, spare
from trial import Wrapped, remote, store_over, together, where

pytestmark = pytest.mark.usefixtures('own_cache')


# What it costs

@pytest.fixture(scope='module', params=['seaweed', 'ceph'])
def counted(request):
    with world(request.getfixturevalue(request.param)) as w: yield w

def heads(count) -> int: return sum(r.method == 'HEAD' and r.path == '/' for r in count)

def test_the_time_is_asked_for_once_a_process_and_endpoint(counted):
    origin_clock._clocks.pop(counted.proxy.endpoint, None)
    with counted.proxy.counting() as reading: counted.store().get('lab/nothing', default=None)
    with counted.proxy.counting() as first: counted.store().put('lab/first', 1)
    with counted.proxy.counting() as later:
        for k in range(3): counted.store().put(f'lab/later-{k}', 1)
    assert (heads(reading), heads(first), heads(later)) == (0, 1, 0)

def test_created_of_a_new_version_costs_nothing(counted):
    s, ref = counted.known(1)
    v = s.put(ref, 2)
    with counted.proxy.counting() as c: assert v.created > s[f'{ref}@1'].created - timedelta(days=1)
    with counted.proxy.counting() as c: assert v.created
    assert not len(c)

def test_dates_are_those_of_the_service(counted):
    s, ref = counted.known(1)
    with planted(time, 'time', lambda real=time.time: real() - 31_536_000): v = s.put(ref, 2)
    listed = s.origin.bucket('lab').numbers(v.item).made[v.version]
    assert abs(v.created.timestamp() - listed) < 120

@pytest.mark.parametrize('kind', ['close', '500'])
def test_a_service_that_tells_no_date_dates_an_object(counted, kind):
    s, ref = counted.known(1)
    origin_clock._clocks.pop(counted.proxy.endpoint, None)
    def bare(r): return r.method == 'HEAD' and r.path == '/'
    if kind == '500':
        with planted(type(s.origin.bucket('lab').backend), 'ask_time', lambda self: None): v = s.put(ref, 2)
    else:
        with counted.proxy.fault(kind, when=bare) as f: v = s.put(ref, 2)
        assert f.hits == 1
    assert abs(v.created.timestamp() - s.origin.bucket('lab').numbers(v.item).made[2]) < 120
    assert not list(s.origin.bucket('lab').backend.list('probe/'))


# Offline

def test_a_put_made_offline_shows_when_it_was_called(tmp_path):
    store = ObjectStore(tmp_path/'near', tmp_path/'lab')
    store.put('lab/m', 1)
    away = ObjectStore(tmp_path/'near', tmp_path/'lab', offline=True)
    with pytest.warns(PendingWarning): waiting = away.put('lab/m', 2)
    assert waiting.called == waiting.created and 'called' not in repr(waiting)
    store.sync()
    v = ObjectStore(tmp_path/'near', tmp_path/'lab')['lab/m@2']
    assert v.id == waiting.id and v.called == waiting.created < v.created and 'called' in repr(v)
    assert store['lab/m@1'].called is None and 'called' not in repr(store['lab/m@1'])
    assert store.put('lab/m', 3).created > v.created

def test_an_alias_moved_offline_says_both(tmp_path):
    store = ObjectStore(tmp_path/'near', tmp_path/'lab')
    store.put('lab/m', 1)
    ObjectStore(tmp_path/'near', tmp_path/'lab', offline=True).set_alias('lab/m@1', 'best')
    store.sync()
    [m] = store.origin.bucket('lab').alias_moves('m', 'best')
    assert m['called'] < m['at'] and store.aliases('lab/m').history('best')[0]['when'] == origin_clock.moment(m['at'])


# Several processes

def put_some(at, shared: bool, n: int) -> None:
    "In a process of its own: puts of one item"
    s = remote(at) if isinstance(at, dict) else store_over(FileBackend(at, shared=shared, durable=False))
    for i in range(n): s.put('lab/m', i)

def rising(store) -> int:
    "How many dates there are; they must rise"
    b = store.origin.bucket('lab')
    dates = [b.record('m', n).at for n in b.given('m', b.numbers('m'))]
    assert all(x < y for x, y in zip(dates, dates[1:])), [(i, y - x) for i, (x, y) in enumerate(zip(dates, dates[1:]))
                                                          if x >= y]
    return len(dates)

@pytest.mark.parametrize('shared', [False, True])
def test_dates_rise_whoever_puts_into_a_folder(tmp_path, shared):
    together(put_some, [(tmp_path/'lab', shared, 25)] * 3)
    assert rising(store_over(FileBackend(tmp_path/'lab'))) == 75

@pytest.mark.parametrize('name', ['seaweed', 'ceph'])
def test_dates_rise_whoever_puts_into_a_service(name, request):
    at = where(Place(request.getfixturevalue(name)))
    request.getfixturevalue(name).make_bucket('objectstore-test')
    together(put_some, [(at, False, 6)] * 2)
    assert rising(remote(at)) == 12


# As of a moment

@pytest.fixture
def five():
    s = store_over(MemoryBackend())
    return s, [s.put('lab/m', i) for i in range(1, 6)]

def test_what_was_removed_since_is_named(five):
    s, vs = five
    s.remove('lab/m@2'), s.remove('lab/m@5')
    assert [s.get(f'lab/m@{v.created.isoformat()}', default='gone') for v in vs] == [1, 'gone', 3, 4, 'gone']
    with pytest.raises(NotFound, match='was version 2, which was removed'): s.get(f'lab/m@{vs[1].created.isoformat()}')
    with pytest.raises(NotFound): s.get(f'lab/m@{(vs[0].created - timedelta(microseconds=1)).isoformat()}')

def test_few_records_are_read():
    s = store_over(MemoryBackend())
    vs = [s.put('lab/m', i) for i in range(300)]
    class Reads(Wrapped):
        n = 0
        def call(self, op, key, run): self.n += op == 'read' and '/records/' in key; return run()
    for v, most in ((vs[-1], 1), (vs[0], 10), (vs[137], 10)):
        fresh = store_over(reads := Reads(s.origin.place))
        assert fresh.get(f'lab/m@{v.created.isoformat()}') == v.get() and reads.n <= most

def test_a_damaged_record_is_an_error_only_where_it_may_be_the_answer(five):
    s, vs = five
    b = s.origin.bucket('lab')
    raw = b.backend.read(key := b.key('m', 3))
    b.backend.delete(key), b.backend.create(key, raw[:-1])
    fresh = store_over(b.backend)
    assert [fresh.get(f'lab/m@{vs[k].created.isoformat()}') for k in (0, 3, 4)] == [1, 4, 5]
    for k in (1, 2):
        with pytest.raises(Damaged, match='@3'): fresh.get(f'lab/m@{vs[k].created.isoformat()}')

def test_an_abandoned_number_was_never_there(five):
    s, vs = five
    b = s.origin.bucket('lab')
    b.backend.create(*beside(b.folder('m'), 3, 1, move('x', **{'is': 'abandoned'}), 1))
    assert s.get(f'lab/m@{vs[2].created.isoformat()}') == 2


# Claims

class Twice(MemoryBackend):
    "Loses the answer to a claim that it has not kept, and then to one that it has"
    lost = 0
    def create(self, key, data):
        if '/records/' not in key or '.' in key.rpartition('/')[2] or self.lost > 1: return super().create(key, data)
        self.lost += 1
        if self.lost == 2: super().create(key, data)
        raise ConnectionError('no answer')

def test_two_attempts_at_a_number_are_one_put():
    s = store_over(backend := Twice())
    v = s.put('lab/m', 1)
    assert (backend.lost == 2 and v.version == 1 and store_over(backend)['lab/m'].created == v.created
            and len(s.versions('lab/m')) == 1)

def late(monkeypatch):
    "Every claim is answered late, once"
    clock = [0.0]
    class Slow(MemoryBackend):
        waits = 1
        def create(self, key, data):
            won = super().create(key, data)
            if self.waits and '/records/' in key and '.' not in key.rpartition('/')[2]: self.waits -= 1; clock[0] += 61
            return won
    from objectstore.format import commit
    real = origin_clock.running
    for module in (origin_clock, records, commit):
        monkeypatch.setattr(module, 'running', spare(lambda: real() + clock[0]))
    return Slow()

@pytest.mark.parametrize('how', ['put', 'put_many', 'if_latest'])
def test_a_claim_that_is_answered_late_is_made_anew(how, monkeypatch):
    s = store_over(late(monkeypatch))
    if how == 'put_many': [v] = s.put_many({'lab/m': 1})
    else: v = s.put('lab/m', 1, **({'if_latest': 0} if how == 'if_latest' else {}))
    assert v.version == 2 and s.versions('lab/m').refs == ['lab/m@2'] and s.get('lab/m') == 1
    with pytest.raises(NotFound, match='abandoned'): s.get('lab/m@1')
