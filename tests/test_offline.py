"""Every verb while the origin is away: what is near answers and says so, what is put is safe, the rest says what it
cannot do, and nobody waits"""
import os, threading, time, warnings
import numpy as np, pytest
from objectstore import (CommitUnknown, Conflict, Damaged, NotAvailableOffline, NotFound, ObjectStore,
                         PendingWarning, Protected, StillPending, Unsupported)
from objectstore.cache import breaker, outbox
from objectstore.search.changelog import flush_hints
from objectstore.storage.backend import MemoryBackend
from objectstore.cache.breaker import Breaker
from objectstore.codecs.equality import difference
from away import Line, World, delivered, env, forget_all, quiet, within
from proxy import Proxy
from planting import spare
from trial import PATIENCE, SOAK, content, whole

HOW = ['refuse', 'hang', 'error']

@pytest.fixture(autouse=True)
def real_hangs_are_long(request):
    "A service that hangs through sockets is timed below; here it only costs time"
    if SOAK == 1 and 'seaweed' in (name := request.node.name) and name.endswith('-hang]'):
        pytest.skip('make soak tries hangs through sockets here too')

def stocked(world) -> ObjectStore:
    "A store with near copies: three versions, an alias, notes, something large, a folder"
    store = world.open()
    for i in (1, 2, 3): store.put('lab/m', i, metadata={'auc': i / 10})
    store.set_alias('lab/m@2', 'production')
    store.annotate('lab/m@1', {'checked': True})
    store.put('lab/large', content('large', 100_000))
    (folder := world.folder/'photos').mkdir(exist_ok=True)
    for i in range(3): (folder/f'{i}').write_bytes(content(f'{i}', 40_000 * i))
    store.put('lab/photos', folder)
    store.get_stats(), store['lab/m@production'].metadata, store['lab/m@1'].metadata, store.aliases('lab/m')
    flush_hints()      # what a thread still writes meets no outage that a test makes
    return store

def reads(store) -> None:
    "What is near answers as the origin did"
    assert (store.get('lab/m'), store.get('lab/m@1'), store.get('lab/m@production'), store.get('lab/m@-2')) == (
        3, 1, 2, 2)
    assert (whole(store.get('lab/large')) == 'large'
            and [whole(p.read_bytes()) for _, p in sorted(store.get('lab/photos').items())] == ['0', '1', '2'])
    assert (store.versions('lab/m').refs == ['lab/m@1', 'lab/m@2', 'lab/m@3']
            and store.aliases('lab/m') == {'production': 2})
    assert store['lab/m@1'].metadata == {'auc': 0.1, 'checked': True} and store['lab/m@2'].aliases == ['production']
    assert (store.list_buckets() == ['lab'] and sorted(store.find_items('lab').refs)
            == ['lab/large@1', 'lab/m@3', 'lab/photos@1'])
    assert (store.find_items(where='auc > 0.25').refs == ['lab/m@3']
            and store.find_items(at='production').refs == ['lab/m@2'])
    assert store.get_stats('lab')['versions'] == 5 and store.get_stats('lab/m')['versions'] == 3
    assert store.get_many(['lab/m', 'lab/m@1']) == [3, 1] and 'lab/m' in store and len(store.find_items()) == 3


@pytest.mark.parametrize('how', HOW)
def test_reads_answer_from_near(world, how):
    store = stocked(world)
    world.away(how)
    with quiet():
        reads(store)
        forget_all()
        again = world.open()                 # a new process that never saw the origin
        reads(again)
        assert again['lab/m'].stale and not again['lab/m@1'].stale and again['lab/m@1'].source == 'local'
    world.back()

@pytest.mark.parametrize('how', HOW)
def test_what_is_not_near_is_not_available_and_never_not_found(world, how):
    store = stocked(world)
    world.away(how)
    with quiet():
        for s in (store, world.open()):
            with pytest.raises(NotAvailableOffline, match='near are lab/m@1, @2, @3'): s.get('lab/m@7')
            for ref in ('lab/m@7', 'lab/unknown', 'lab/m@candidate', 'other/m'):
                with pytest.raises(NotAvailableOffline): s.get(ref)
                with pytest.raises(NotAvailableOffline): s.get(ref, default=None)
                with pytest.raises(NotAvailableOffline): ref in s
            with pytest.raises(NotAvailableOffline): s.get_many(['lab/m', 'lab/unknown'], default=None)
    world.back()
    with pytest.raises(NotFound): world.alone().get('lab/unknown')

@pytest.mark.parametrize('how', HOW)
def test_writes_wait_or_refuse(world, how):
    store = stocked(world)
    world.away(how)
    with quiet():
        v = store.put('lab/m', 4, metadata={'auc': 0.4})
        assert (v.pending and v.version is None and v.source == 'pending' and store.get('lab/m') == 4
                and store[v.ref].get() == 4)
        assert store.put('lab/new', 'x').pending and store.get('lab/new') == 'x'
        assert ([x.pending for x in store.put_many({'lab/a': 1, 'lab/b': 2})] == [True, True]
                and store.get_many(['lab/b', 'lab/m']) == [2, 4])
        (world.folder/'photos'/'3').write_bytes(content('3', 70_000))
        w = store.put('lab/photos', world.folder/'photos')
        assert [whole(p.read_bytes()) for _, p in sorted(w.get().items())] == ['0', '1', '2', '3']
        store.set_alias('lab/m@3', 'candidate')
        store.set_alias(v, 'newest')
        store.annotate( v, {'by': 'hand'})
        store.annotate('lab/m@3', {'seen': 1})
        assert (store.get('lab/m@candidate'), store.get('lab/m@newest'), v.metadata,
                store['lab/m@3'].metadata['seen']) == (3, 4, {'auc': 0.4, 'by': 'hand'}, 1)
        assert store.remove('lab/m@1') == 1 and store.remove_alias('lab/m', 'production')
        with pytest.raises(NotFound): store.get('lab/m@1')
        with pytest.raises(NotFound): store.get('lab/m@production')
        assert store.aliases('lab/m')['candidate'] == 3 and 'production' not in store.aliases('lab/m')
        assert (v.ref in store.find_items('lab').refs and 'lab/m@1' not in store.find_items('lab', at='*').refs
                and store.find_items(where='auc = 0.4')[0] == v)
        assert store.versions('lab/m')[-1] == v and 'lab/m@1' not in store.versions('lab/m').refs
        assert store.copy('lab/m@2', 'lab/copied').pending and store.get('lab/copied') == 2
        assert store.find_or_create_bucket('lab') == 'lab'
        with pytest.raises((NotAvailableOffline, Conflict)): store.put('lab/large', 1, if_latest=1)
        for f in (lambda: store.remove_bucket('lab', force=True), lambda: store.remove_bucket('other'),
                  lambda: store.find_or_create_bucket('other')):
            with pytest.raises(NotAvailableOffline): f()
        assert not store.remove_bucket('lab')
    world.back()
    report = store.sync()
    assert not report.waiting and not report.conflicts, report
    alone = world.alone()
    assert (alone.get('lab/m'), alone.get('lab/m@candidate'), alone.get('lab/m@newest'), alone.get('lab/new'),
            alone.get('lab/copied')) == (4, 3, 4, 'x', 2)
    assert (alone.versions('lab/m').refs == ['lab/m@2', 'lab/m@3', 'lab/m@4']
            and alone['lab/m@4'].metadata == {'auc': 0.4, 'by': 'hand'})
    assert alone.aliases('lab/m') == {'candidate': 3, 'newest': 4} and store[v.ref].version == 4 == v.wait().version
    assert len(alone['lab/photos'].get()) == 4 and not store.pending.work()

def test_what_was_delivered_is_near(world):
    store = stocked(world)
    world.away()
    with quiet():
        store.put('lab/x', content('x', 60_000)), store.put('lab/photos', world.folder/'photos')
        world.back()
        assert not store.sync().waiting
        world.away()
        forget_all()
        assert (whole(world.open().get('lab/x@1')) == 'x'
                and len([p for p in world.open().get('lab/photos@2').values() if p.exists()]) == 3)


# Words and warnings

def told(f, *args) -> list[str]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter('always')
        f(*args)
    return [w.category.__name__ for w in found]

def test_stale_is_said_once_a_store_and_pending_each_time(memory):
    store = stocked(memory)
    memory.away()
    assert told(store.get, 'lab/m') == ['StaleWarning'] and told(store.get, 'lab/m') == [] == told(store.find_items)
    assert told(memory.open().get, 'lab/m') == ['StaleWarning']
    assert told(memory.open().get, 'lab/m@1') == []
    assert told(store.put, 'lab/m', 4) == ['PendingWarning'] == told(store.put, 'lab/m', 5)
    with warnings.catch_warnings():
        warnings.simplefilter('error', PendingWarning)
        with pytest.raises(PendingWarning, match='safe on this machine'): store.put('lab/m', 6)
    with quiet():
        assert store.get('lab/m') == 6
        assert all(v.stale for v in store.find_items('lab') if not v.pending)

def test_leaving_a_store_says_what_is_left(memory):
    store = stocked(memory)
    memory.away()
    with quiet():
        with pytest.raises(StillPending, match='1 of 1 could not be delivered'):
            with store: store.put('lab/m', 4)
        with pytest.raises(ZeroDivisionError):
            with memory.open() as s: s.put('lab/m', 5); 1 / 0
        v = store['lab/m']
        with pytest.raises(StillPending, match='no number yet'), within(3): v.wait(timeout=0.3)
    memory.back()
    with memory.open(): pass
    assert v.wait(timeout=1).version == 5 and memory.alone().get('lab/m') == 5

def test_a_status_says_what_is_pending_and_an_explanation_where_a_get_goes(memory):
    store = stocked(memory)
    memory.away()
    with quiet():
        store.get('lab/m'), store.put('lab/m', 4)
        said = f'{store.status()!r} {store.explain("lab/m")!r} {store.explain("lab/m@1")!r}'
    assert 'away since' in said and 'put lab/m' in said and 'the answer, without a request' in said
    assert not memory.switch.asked[:0] and 'newest of them' in said

def test_a_conflict_met_in_the_background_is_told_by_the_next_sync(memory):
    store, alone = stocked(memory), memory.alone()
    memory.away()
    with quiet(): store.get('lab/m'), store.set_alias('lab/m@3', 'production')
    memory.back()
    alone.set_alias('lab/m@1', 'production')
    store.origin.breaker.try_now()
    wait(lambda: not store.pending.work())
    assert alone.aliases('lab/m') == {'production': 1}
    report = memory.open().sync()
    assert (len(report.conflicts) == 1 and 'points at 1 now, not at 2' in report.conflicts[0].why
            and not memory.open().sync())

def test_what_was_assumed_still_holds_or_is_reported(memory):
    store, alone = stocked(memory), memory.alone()
    memory.away()
    with quiet():
        # one after the other: the second assumes the first
        store.set_alias('lab/m@3', 'production'), store.set_alias('lab/m@1', 'production')
        store.remove('lab/m@2')
        store.annotate('lab/m@3', {'a': 1}), store.annotate('lab/m@3', {'a': 2})
    memory.back()
    assert (not store.sync().conflicts and alone.aliases('lab/m') == {'production': 1}
            and alone['lab/m@3'].metadata['a'] == 2)
    memory.away()
    with quiet(): store.remove('lab/m@3'), store.set_alias('lab/large', 'best')
    memory.back()
    alone.set_alias('lab/m@3', 'held'), alone.remove('lab/large@1')
    report = store.sync()
    assert [o.what for o in report.conflicts] == ['remove lab/m', 'alias lab/large'] and alone.get('lab/m@3') == 3

def wait(until, seconds=200.0) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, 'it did not happen'
        time.sleep(0.02)


# Coming back

def test_the_next_call_delivers_in_the_background(memory):
    store = stocked(memory)
    memory.away()
    with quiet(): store.put('lab/m', 4)
    memory.back()
    store.origin.breaker.back.clear()
    store.origin.breaker.close()
    store.get('lab/large')
    wait(lambda: not store.pending.work())
    assert memory.alone().get('lab/m') == 4

def test_a_new_process_delivers_with_its_first_call(memory):
    with quiet():
        store = stocked(memory)
        memory.away()
        store.put('lab/m', 4)
        memory.back()
        forget_all()
        new = memory.open()
        assert new.get('lab/large')
        wait(lambda: not new.pending.work())
    assert memory.alone().get('lab/m') == 4

def test_the_probe_finds_that_the_origin_is_back(memory, monkeypatch):
    store = stocked(memory)
    b = store.origin.breaker
    monkeypatch.setattr(breaker, 'FIRST_WAIT', 0.05)
    b.wait = 0.05
    memory.away('hang')
    with quiet(): store.put('lab/m', 4)
    assert b.open
    memory.back()
    wait(lambda: not b.open and not store.pending.work())
    assert memory.alone().get('lab/m') == 4

def test_a_refusal_of_this_user_is_an_answer():
    "403, or an error of our own, from the probe: the system is there, and the watch does not die"
    for e in (PermissionError(13, 'no'), NotFound('no bucket'), FileNotFoundError(2, 'x')):
        def probe(): raise e
        b = Breaker('x')
        b.probe = probe
        b.since = 1.0
        assert b.try_now() and not b.open

def test_one_watch_at_a_time(monkeypatch):
    b, before = Breaker('x'), set(threading.enumerate())
    b.wait, b.probe = 0.05, lambda: None
    monkeypatch.setattr(breaker, 'FIRST_WAIT', 0.05)
    for _ in range(5): b.trip(ConnectionRefusedError()); b.close()
    b.trip(ConnectionRefusedError())
    wait(lambda: not b.open
         and not [t for t in threading.enumerate() if t.name == 'objectstore-probe' and t not in before])


# First contact, and other stores in the same place

def test_first_contact_offline(memory):
    "A machine that has not reached the origin yet keeps what is put where `offline=True` says so"
    memory.away()
    store = memory.open(offline=True)
    with quiet():
        v, w = store.put('lab/m', 1), store.put('lab/m', 2)
        assert (store.get('lab/m') == 2 and store.list_buckets() == ['lab'] and store.find_items().refs == [w.ref]
                and store.versions('lab/m').refs == [v.ref, w.ref])
        forget_all()
        assert memory.open().get('lab/m') == 2
    memory.back()
    forget_all()
    # the first store may deliver by itself in this moment
    assert {o.became for o in memory.open().sync()} <= {'lab/m@1', 'lab/m@2'}
    assert memory.alone().versions('lab/m').refs == ['lab/m@1', 'lab/m@2'] and memory.alone().get('lab/m@1') == 1

@pytest.mark.parametrize('same_process', [True, False])
def test_another_store_in_the_same_place_gets_nothing(memory, same_process):
    store = stocked(memory)
    memory.away()
    with quiet(): v = store.put('lab/m', 4)
    memory.back()
    MemoryBackend._shared[memory.url.partition('//')[2]]._objects.clear()
    memory.alone().put('lab/m', 'another')
    if not same_process:
        forget_all()
        store = memory.open()
    report = store.sync()
    assert report.waiting and 'it was put into the store' in report.waiting[0].why
    alone = memory.alone()
    assert alone.versions('lab/m').refs == ['lab/m@1'] and store[v.ref].get() == 4
    with quiet():
        assert (store.get('lab/m@1'), store.get('lab/m@1')) == ('another', 'another')
        assert store.remove(v) == 1
        assert store.get('lab/m') == 'another' and store.put('lab/m', 5).version == 2 and alone.get('lab/m') == 5

def test_planted_trust_in_the_identity_is_caught(memory, monkeypatch):
    monkeypatch.setattr('objectstore.cache.replay._unfit', lambda origin, w, ids: '')
    with pytest.raises(AssertionError): test_another_store_in_the_same_place_gets_nothing(memory, True)

def test_an_empty_folder_is_a_volume_that_is_not_mounted(request, clean):
    world = World('shared', 2, clean, request)
    store = stocked(world)
    (clean/'origin').rename(clean/'elsewhere')
    (clean/'origin').mkdir()
    forget_all()
    store = world.open()
    with quiet():
        reads(store)
        assert store.put('lab/m', 4).pending
        assert 'is the volume mounted' in store.sync().waiting[0].why
    assert not any((clean/'origin').iterdir())
    (clean/'origin').rmdir()
    (clean/'elsewhere').rename(clean/'origin')
    assert delivered(store, 'lab/m@4')


# offline=

def test_offline_true_asks_nobody(memory):
    store = stocked(memory)
    memory.switch.asked.clear()
    off = memory.open(offline=True)
    with quiet():
        reads(off)
        assert off.put('lab/m', 4).pending and off.get('lab/m') == 4 and off.sync().waiting
        with pytest.raises(NotAvailableOffline): off.get('lab/unknown')
        with pytest.raises(StillPending):
            with off: pass
    assert not memory.switch.asked
    assert delivered(store, 'lab/m@4')

def test_offline_by_the_environment(memory):
    stocked(memory)
    memory.switch.asked.clear()
    with env(OBJECTSTORE_OFFLINE='1'), quiet():
        assert memory.open().get('lab/m') == 3 and memory.open(offline=True).offline is True
    assert not memory.switch.asked

def test_offline_false_never_makes_do(memory):
    _store = stocked(memory)
    memory.away()
    firm = memory.open(offline=False)
    for f in (lambda: firm.get('lab/m'), lambda: firm.put('lab/m', 4), lambda: firm.find_items(),
              lambda: firm.set_alias('lab/m@1', 'x'), lambda: firm.remove('lab/m@1')):
        with pytest.raises(NotAvailableOffline): f()
    assert firm.get('lab/m@1') == 1 and not firm.pending.work()

def test_without_near_tiers_nothing_is_pending(memory):
    stocked(memory)
    alone = on_line_alone(memory)
    memory.away()
    with pytest.raises(ConnectionError): alone.put('lab/m', 4)
    with pytest.raises(ConnectionError): alone.get('lab/m@1')

def on_line_alone(world):
    store = world.alone()
    store.origin.place = Line(store.origin.place, world.switch)
    store.origin._buckets.clear()
    return store


# Removal of what waits

def test_a_pending_put_can_be_removed_and_nothing_of_it_is_sent(memory):
    store = stocked(memory)
    memory.away()
    with quiet():
        v = store.put('lab/m', 4)
        store.annotate(v, {'a': 1}), store.set_alias(v, 'x')
        with pytest.raises(Protected): store.remove(v)
        assert store.remove(v, force=True) == 1 and store.get('lab/m') == 3 and not store.pending.work()
        with pytest.raises(NotFound): v.wait(timeout=1)
    memory.back()
    assert not store.sync() and memory.alone().get('lab/m') == 3

def test_a_pending_put_that_may_have_been_sent_is_removed_behind_it(memory):
    store = stocked(memory)
    with quiet():
        memory.away()
        v = store.put('lab/m', 4)
        store.pending.tried(v.id, 4)
        assert store.remove(v) == 1 and store.get('lab/m') == 3 and v.ref not in store
    memory.back()
    store.sync()
    assert memory.alone().get('lab/m') == 3 and store.get('lab/m') == 3 and memory.alone().put('lab/m', 5).version == 5

def test_skip_unchanged_and_if_latest_mind_what_is_pending(memory):
    store = stocked(memory)
    memory.away()
    with quiet():
        v = store.put('lab/m', 4)
        assert store.put('lab/m', 4, skip_unchanged=True) == v and len(store.pending.work()) == 1
        memory.back()
        with pytest.raises(Conflict, match='pending on this machine'): store.put('lab/m', 5, if_latest=3)

def test_later_work_on_an_item_queues_behind_what_waits(memory):
    store = stocked(memory)
    memory.away()
    with quiet():
        store.annotate('lab/m@3', {'a': 1})
        memory.back()
        store.origin.breaker.back.clear(), store.origin.breaker.close()
        store._next_sync = time.monotonic() + 100
        store.annotate('lab/m@3', {'a': 2})
        assert store['lab/m@3'].metadata['a'] == 2
    store.sync()
    assert memory.alone()['lab/m@3'].metadata['a'] == 2


# Where pending work may be kept

def test_a_state_folder_on_a_network_takes_no_pending_work(memory, monkeypatch):
    store = stocked(memory)
    monkeypatch.setattr(outbox, 'why_not_here', lambda path: f'{path} is on a network file system')
    memory.away()
    with quiet():
        with pytest.raises(Unsupported, match='is not stored.*OBJECTSTORE_STATE_DIR'): store.put('lab/m', 4)
        assert store.get('lab/m') == 3 and not store.pending.work()

def test_a_bundle_that_is_pending_is_read_and_delivered(memory):
    store = stocked(memory)
    run = {'weights': np.arange(30_000), 'of': {'train': np.arange(3.)}, 'threshold': 0.4}
    memory.away()
    with pytest.warns(PendingWarning): v = store.put('lab/run', run)
    assert v.pending and difference(v.get().load(), run) is None and len(v.parts) == 3
    assert store.get('lab/run', part=('of', 'train')).tolist() == [0, 1, 2]
    memory.back()
    assert delivered(store, 'lab/run@1')
    there = memory.alone()['lab/run']
    assert there.hash == v.hash and difference(there.get().load(), run) is None

def test_nothing_is_pruned_while_the_origin_is_away(memory):
    store = stocked(memory)
    store.put('lab/m', 4)
    plan = store.care.prune('lab/m', keep_last=1)
    assert len(plan) == 2                          # one of the others has an alias
    memory.away()
    with quiet():
        with pytest.raises(NotAvailableOffline): store.care.prune('lab/m', keep_last=1)
        with pytest.raises(NotAvailableOffline, match='nothing is pruned'): plan.apply()
    memory.back()
    assert not store.pending.work() and [v.version for v in memory.alone().versions('lab/m')] == [1, 2, 3, 4]
    assert len(store.care.prune('lab/m', keep_last=1).apply().done) == 2

def test_rotten_pending_bytes_are_never_sent(memory):
    store = stocked(memory)
    memory.away()
    with quiet(): small, large = store.put('lab/m', 4), store.put('lab/large', content('new', 50_000))
    root = memory.folder/'state'
    for v in (small, large):
        path = next(root.rglob(f'bytes/{v.id}'))
        os.chmod(path, 0o600)
        path.write_bytes(b'x' + path.read_bytes()[1:])
    memory.back()
    report = store.sync()
    assert len(report.waiting) == 2 and all('not those that were put' in o.why for o in report)
    assert memory.alone().get('lab/m') == 3
    with pytest.raises(Damaged): store[small.ref].get()
    next(root.rglob(f'queue/*-{small.id}')).chmod(0o600), next(root.rglob(f'queue/*-{small.id}')).write_bytes(b'{')
    forget_all()
    assert 'cannot be read' in str([o.why for o in memory.open().sync().waiting])


# How long anybody waits, through real sockets

@pytest.fixture
def far(seaweed, clean, request):
    world = World('seaweed', 2, clean, request)
    yield world

@pytest.mark.parametrize('how', ['refuse', 'hang', 'error', 'slow', 'close'])
def test_the_longest_wait(far, how, figure):
    timeout = 0.2
    store = stocked(far)
    far.proxy.clear()
    forget_all()
    store, waits = far.open(timeout=timeout), {}
    far.away(how)
    def timed(name, f):
        began = time.monotonic()
        try: f()
        except (NotAvailableOffline, CommitUnknown): pass
        waits[name] = time.monotonic() - began
    with quiet():
        for name, f in dict(latest=lambda: store.get('lab/m'), pinned=lambda: store.get('lab/m@1'),
                            unknown=lambda: store.get('lab/x'), put=lambda: store.put('lab/m', 4),
                            find=store.find_items, buckets=store.list_buckets,
                            alias=lambda: store.set_alias('lab/m@1', 'x'), remove=lambda: store.remove('lab/m@3'),
                            bucket=lambda: store.remove_bucket('x'), sync=store.sync).items():
            if how in ('hang', 'slow'): forget_all(); store = far.open(timeout=timeout)
            timed(name, f)
        forget_all()
        store = far.open(timeout=timeout)
        timed('100 gets', lambda: [store.get('lab/m') for _ in range(100)])
    figure(f'13 {how}, timeout {timeout} s', **{k: v for k, v in waits.items()})
    assert (waits.pop('100 gets') < (3 + 5 * timeout * (how == 'slow')) * PATIENCE
            and max(waits.values()) < (7.5 * timeout + 1.0) * PATIENCE)

def test_100_near_gets_while_the_service_hangs(far, figure):
    store = stocked(far)
    forget_all()
    far.away('hang')
    store = far.open(timeout=1.0)
    began = time.monotonic()
    with quiet(): assert [store.get('lab/m') for _ in range(100)] == [3] * 100
    figure('13 100 near gets while the service hangs', seconds=(took := time.monotonic() - began))
    assert took < 3 * PATIENCE      # each of them after its time-out: 100 s

def test_planted_without_a_breaker_each_get_asks(far, monkeypatch):
    stocked(far)
    forget_all()
    far.away('hang')
    monkeypatch.setattr(Breaker, 'lag', lambda self, why: None)
    # of what hangs nobody is told that it is away
    monkeypatch.setattr(Breaker, 'trip', spare(lambda self, why: None))
    store = far.open(timeout=0.2)
    with quiet(), far.proxy.counting() as asked: [store.get('lab/m') for _ in range(3)]
    assert len(asked) >= 3      # each waited for an answer of its own

def test_one_breaker_for_all_stores_of_a_process(far):
    stocked(far)
    far.away('hang')
    with quiet():
        far.open(timeout=0.3).get('lab/m')
        other = far.open(timeout=0.3)
        with far.proxy.counting() as asked: assert other.get('lab/m') == 3
    assert not len(asked) and other.origin.breaker is far.open().origin.breaker

def test_reply_lost_while_the_service_goes_away_is_delivered_once(far):
    "The claim is kept and its answer lost, then nothing answers: pending, with the number that it tried"
    store = stocked(far)
    store = far.open(timeout=0.5)
    far.proxy.fault('hang_after_commit', method='PUT', path='records/', times=1)
    far.proxy.fault('hang', when=lambda r: any(f.kind == 'hang_after_commit' and f.hits for f in far.proxy.faults))
    with quiet(): v = store.put('lab/m', 4)
    assert v.pending and store.pending.tried(v.id) == 4
    far.proxy.clear()
    assert delivered(store, 'lab/m@4') and far.alone().versions('lab/m').refs[-1] == 'lab/m@4'


# The buckets of a service

def test_native_buckets_offline(seaweed, clean, monkeypatch):
    for k, v in seaweed.environment.items(): monkeypatch.setenv(k, v)
    with Proxy(seaweed.endpoint) as proxy:
        def open(): return ObjectStore(str(clean/'near'), 's3://', endpoint=proxy.endpoint, timeout=4.0, progress=False)
        name = f'native-{os.urandom(4).hex()}'
        store = open()
        store.find_or_create_bucket(name)
        store.put(f'{name}/m', 1), store.put(f'{name}/m', 2), store.get(f'{name}/m')
        proxy.fault('refuse')
        with quiet():
            for s in (store, (forget_all(), open())[1]):
                with within(8):
                    assert (s.get(f'{name}/m') == 2 and s.get(f'{name}/m@1') == 1
                            and s.list_buckets() == [name] == s.list_buckets(name))
                    assert name in s.list_buckets() and len(s.find_items(name)) == 1
                with pytest.raises(NotAvailableOffline): s.get('unknown-bucket/m')
                with pytest.raises(NotAvailableOffline): s.remove_bucket(name, force=True)
            assert (store.put(f'{name}/m', 3).pending and store.get(f'{name}/m') == 3
                    and store.put('not-there/m', 1).pending)
        proxy.clear()
        report = store.sync()
        assert {o.what: o.became for o in report} == {f'put {name}/m': f'{name}/m@3', 'put not-there/m': 'waits'}
        assert 'no bucket' in report.waiting[0].why and len(store.pending.work()) == 1
        store.remove_bucket(name, force=True)

def test_a_store_of_which_nothing_is_near_shows_itself(memory):
    memory.alone().put('lab/m', 1)
    forget_all()
    assert 'memory://' in repr(memory.open(offline=True))
