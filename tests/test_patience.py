"""A slow service is not away: how long a call waits depends on what else can be answered.

What is called by name goes on past a slow answer, and what waits is delivered like `put_many`.

Nothing here asks the clock: a service that is late is one that does not answer whoever is in a hurry.
"""
import errno, secrets, threading, time, warnings
from collections import Counter
from types import SimpleNamespace
import pytest
from objectstore import NotAvailableOffline, ObjectStore, PendingWarning, StaleWarning, StillPending
from objectstore.cache import breaker, replay
from objectstore.storage import options
from objectstore.search import changelog
from objectstore.store import sync
from objectstore.storage.backend import Capabilities, MemoryBackend, in_a_hurry
from objectstore.cache.breaker import Breaker
from objectstore.cache.replay import in_flight
from objectstore.search.changelog import Hints
from objectstore.format.commit import Bucket
from away import Service, forget_all, quiet
from test_offline import stocked

LATE = ConnectionError(errno.ETIMEDOUT, 'it did not answer in time')

class Slow:
    "How a world's origin answers; `hurried`: not to who is in a hurry, `never`: to nobody, a function: whom it fails"
    def __init__(self, world): self.world, self.mode, self.asked, self.real = world, None, Counter(), world.switch.check
    def __enter__(self):
        self.world.switch.check = self.check
        return self
    def __exit__(self, *error): self.world.switch.check = self.real
    def check(self, op: str, key: str) -> None:
        self.real(op, key)
        if '/log/h-' not in f'/{key}': self.asked[in_a_hurry()] += 1       # hints are written when nobody waits
        if callable(self.mode): late = self.mode(op, key)
        else: late = dict(never=True, hurried=in_a_hurry()).get(self.mode, False)
        if late: raise LATE

@pytest.fixture
def slow(memory):
    with Slow(memory) as s: yield s

def wait(until, seconds=200.0) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, 'it did not happen'
        time.sleep(0.02)


# What each verb does

def judge_verbs(memory, slow) -> None:
    "A service that answers, but late: who has something near takes it, all others wait, and nothing becomes pending"
    store = stocked(memory)
    store.find_items()
    memory.alone().put('lab/m', 'newer'), memory.alone().put('lab/far', 'x')
    slow.mode = 'hurried'
    slow.asked.clear()
    with pytest.warns(StaleWarning, match='did not answer in time'): assert store.get('lab/m') == 3
    assert slow.asked[True] == 1
    with quiet():
        assert [store.get('lab/m') for _ in range(100)] == [3] * 100 and store.get('lab/m@1') == 1
        assert store.find_items('lab', at='*', where='auc > 0.25').refs == ['lab/m@3']
        assert slow.asked == {True: 1}, 'it is asked once, and then what is near is taken'
        assert store.versions('lab/m').refs[-1] == 'lab/m@3'
    with warnings.catch_warnings():
        warnings.simplefilter('error', PendingWarning)
        assert store.get('lab/far') == 'x' and store.get('lab/m@4') == 'newer'         # not near: it is waited for
        v = store.put('lab/m', 5)
        assert (v.version, store.put('lab/new', 1).version,
                [x.version for x in store.put_many({'lab/a': 1, 'lab/b': 2})]) == (5, 1, [1, 1])
        store.set_alias('lab/m@1', 'x'), store.annotate('lab/m@1', {'a': 1}), store.remove('lab/m@2', force=True)
        assert store.find_or_create_bucket('fresh') == 'fresh' and not store.sync()
    assert not store.pending.work() and not store.origin.breaker.open and 'slow since' in f'{store.status()!r}'
    assert 'slow since' in repr(store)

def test_a_slow_service_takes_puts(memory, slow): judge_verbs(memory, slow)

def test_planted_a_time_out_of_a_reader_makes_puts_pending(memory, slow, monkeypatch):
    planted = []
    monkeypatch.setattr(Breaker, 'lag', lambda self, e: planted.append(e) or self.trip(e))
    with pytest.raises((AssertionError, PendingWarning, NotAvailableOffline)): judge_verbs(memory, slow)
    assert planted

def test_offline_false_waits_for_what_is_near_too(memory, slow):
    stocked(memory)
    memory.alone().put('lab/m', 'newer')
    slow.mode = 'hurried'
    assert memory.open(offline=False).get('lab/m') == 'newer'

def test_a_new_process_takes_what_is_near_of_a_slow_service(memory, slow):
    stocked(memory)
    slow.mode = 'hurried'
    forget_all()
    with quiet(): assert memory.open().get('lab/m') == 3 and memory.open().put('lab/m', 4).version == 4

def test_the_probe_finds_that_it_answers_in_time_again(memory, slow, monkeypatch):
    store = stocked(memory)
    monkeypatch.setattr(breaker, 'FIRST_WAIT', 0.05)
    b = store.origin.breaker
    b.wait, slow.mode = 0.05, 'hurried'
    with quiet(): store.get('lab/m')
    assert b.slow and not b.open
    slow.mode = None
    wait(lambda: not b.slow)
    memory.alone().put('lab/m', 4)
    assert store.get('lab/m') == 4

def test_a_service_that_answers_nobody_is_away(memory, slow):
    store = stocked(memory)
    slow.mode = 'never'
    with quiet():
        assert store.get('lab/m') == 3 and not store.origin.breaker.open
        assert store.put('lab/m', 4).pending and store.origin.breaker.open
        before = slow.asked.total()
        assert store.put('lab/n', 1).pending and slow.asked.total() == before
    slow.mode = None
    assert not store.sync().waiting

def test_how_long_the_clients_wait():
    "Ten times as long for an answer where nothing else can be answered; for a connection the time-out"
    for timeout in (0.5, 1.0, 5.0):
        waits = {kind: options.times(kind, timeout)[0] for kind in ('quick', 'small', 'large', 'once')}
        assert all(w['connect_timeout'].total_seconds() == timeout for w in waits.values())
        assert waits['quick']['read_timeout'].total_seconds() == 1.8 * timeout
        assert [waits[k]['read_timeout'].total_seconds() for k in ('small', 'large')] == [10 * timeout] * 2
        assert waits['once']['timeout'].total_seconds() == 11 * timeout


# What is called by name goes on

def flaky(store, seed: int = 0) -> dict:
    "An origin that does not answer the first claim of every third item"
    failed = set()
    def fails(op, key):
        item = key.partition('/records/')[2].partition('/')[0]
        if op != 'create' or not item.startswith('p') or int(item[1:]) % 3 or item in failed: return False
        failed.add(item)
        return True
    return dict(fails=fails, failed=failed)

def judge_sync(memory, slow, n: int) -> tuple[list, set]:
    store = stocked(memory)
    memory.away()
    with quiet():
        for i in range(n): store.put(f'lab/p{i}', i), store.put(f'lab/p{i}', -i)
    memory.back()
    flaw = flaky(store)
    slow.mode = flaw['fails']
    report = store.sync()
    assert not report.waiting and len(report) == 2 * n, report
    slow.mode = None
    alone = memory.alone()
    assert all([v.get() for v in alone.versions(f'lab/p{i}')] == [i, -i] for i in range(n))
    return report, flaw['failed']

def test_a_called_sync_goes_on_past_slow_answers(memory, slow):
    report, failed = judge_sync(memory, slow, 12)
    assert len(failed) == 4

def test_a_round_in_which_nothing_was_delivered_is_not_the_end(memory, slow, monkeypatch):
    "Each round begins with a piece that has not been late before: one slow answer holds up whatever is behind it"
    rounds = []
    def another_late_one_first(runs, run, many):
        for i in sorted(range(len(runs)), key=lambda i: (i % 3, (i - 3 * len(rounds)) % 12)):
            all(run(step) for step in runs[i])
        rounds.append(len(runs))
    monkeypatch.setattr(replay, 'in_flight', another_late_one_first)
    assert len(judge_sync(memory, slow, 12)[1]) == 4

def test_planted_a_sync_that_gives_up_at_the_first_slow_answer(memory, slow, monkeypatch):
    planted, real = [], sync.deliver_all
    monkeypatch.setattr(sync, 'deliver_all', lambda *a: planted.append(1) or real(*a[:6]))
    with pytest.raises(AssertionError): judge_sync(memory, slow, 12)
    assert planted

def test_a_sync_says_what_waits_and_why(memory, slow):
    store = stocked(memory)
    memory.away()
    with quiet(): store.put('lab/m', 4), store.put('lab/n', 1)
    memory.back()
    slow.mode = 'never'
    report = store.sync()
    assert [o.what for o in report.waiting] == ['put lab/m', 'put lab/n'] and all('in time' in o.why for o in report)
    with pytest.raises(StillPending, match='2 of 2 could not be delivered.*in time'), store: pass

def test_a_wait_says_what_it_waits_for(memory, capfd):
    store = stocked(memory)
    memory.away()
    with quiet(): v = store.put('lab/m', 4)
    loud = memory.open()
    loud.progress = 'auto'
    def back(): wait(lambda: told); memory.back()
    told = []
    threading.Thread(target=back, daemon=True).start()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter('always')
        assert loud[v.ref].wait().version == 4
    assert any('lab/m waits for memory://' in str(w.message) and 'refuses connections' in str(w.message) for w in told)

def test_a_notice_is_shown_where_somebody_looks(capfd):
    with sync.Notice('models/churn waits for s3://lab', True, after=0):
        wait(lambda: 'models/churn waits' in capfd.readouterr().err)


# Delivered like put_many

class Meeting(Service):
    "An origin that lets a claim of an item wait until so many are on their way"
    can = Capabilities('remote', wait=0.002, many=16, page=1000)
    def __init__(self, name, n):
        super().__init__(name)
        self.n, self.here, self.most, self.lock, self.all = n, 0, 0, threading.Lock(), threading.Event()
    def create(self, key, data):
        if '/records/p' not in key: return super().create(key, data)
        with self.lock: self.here, self.most = self.here + 1, max(self.most, self.here + 1)
        if self.here >= self.n: self.all.set()
        self.all.wait(self.patience)
        try: return super().create(key, data)
        finally:
            with self.lock: self.here -= 1
    patience = 60

def judge_flight(clean, n: int = 40, wanted: int = 8) -> None:
    name = secrets.token_hex(8)
    MemoryBackend._shared[name] = origin = Meeting(name, wanted)
    store = ObjectStore(str(clean/'near'), f'memory://{name}', progress=False)
    store.put('lab/base', 0)
    away = ObjectStore(str(clean/'near'), f'memory://{name}', progress=False, offline=True)
    with quiet():
        for k in range(3):
            for i in range(n): away.put(f'lab/p{i}', (i, k))
        away.set_alias('lab/p0@latest', 'x')
    assert not store.sync().waiting
    assert origin.most >= wanted, f'{origin.most} at a time'
    assert all([tuple(v.get()) for v in store.versions(f'lab/p{i}')] == [(i, k) for k in range(3)] for i in range(n))
    assert store.aliases('lab/p0') == {'x': 3}

def test_many_items_are_in_flight_and_each_is_in_order(clean): judge_flight(clean)

def test_planted_one_after_another_is_seen(clean, monkeypatch):
    planted = []
    monkeypatch.setattr(Meeting, 'patience', 0)
    def alone(chains, one, many): planted.append(many); in_flight(chains, one, 1)
    monkeypatch.setattr(replay, 'in_flight', alone)
    with pytest.raises(AssertionError, match='1 at a time'): judge_flight(clean)
    assert planted

def test_an_interruption_stops_all_that_is_in_flight():
    "What is being done is ended, nothing else is begun"
    begun = []
    def one(i):
        begun.append(i)
        if i == 3: raise KeyboardInterrupt
        return True
    with pytest.raises(KeyboardInterrupt): in_flight([[i] for i in range(1000)], one, 4)
    assert 3 in begun and len(begun) < 1000


# Leaving

def test_leaving_asks_a_service_that_hangs_once(clean, monkeypatch):
    "Hints of twenty buckets, and a service that answers none"
    asked = []
    def hangs(bucket, changes, by): asked.append(bucket.name); raise LATE
    hints = Hints('ann@lab')
    for i in range(20): hints._due[Bucket(f'b{i}', MemoryBackend())] = []
    monkeypatch.setattr(changelog, 'hint_at', hangs)
    hints.flush()
    assert asked == ['b0'] and not hints._due

def test_leaving_has_one_deadline_for_all_stores(clean, monkeypatch):
    asked, now = [], [0.0]
    def slow(bucket, changes, by): asked.append(bucket.name); now[0] += 2; return []
    many = [Hints('ann@lab') for _ in range(5)]
    for k, hints in enumerate(many):
        for i in range(4): hints._due[Bucket(f'b{k}{i}', MemoryBackend())] = []
    monkeypatch.setattr(changelog, 'hint_at', slow)
    monkeypatch.setattr(changelog, '_all', many)
    monkeypatch.setattr(changelog, 'time', SimpleNamespace(monotonic=lambda: now[0]))
    changelog.flush_hints()
    assert asked == ['b00', 'b01', 'b02']
