"""Delivery of pending work, whatever dies, lies or fills up in between: nothing is lost, nothing is doubled.

The oracle is what was put: each content says its name, and afterwards exactly one live version has it.
"""
import errno, os, random, shutil, subprocess, tempfile, threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import pytest
from objectstore import ObjectStore
from objectstore.cache import replay
from objectstore.search.changelog import flush_hints
from objectstore.storage.backend import MemoryBackend
from objectstore.storage.files import FileBackend
from objectstore.format.origin import Origin
from objectstore.search import changelog
from objectstore.cache.outbox import Pending
from planting import planted_here
from away import Switch, World, env, forget_all, on_line, quiet
from trial import SOAK, Wrapped, alone, content, dense, die, soak, start, whole

LARGE = 40_000

def contents(store, ref) -> Counter:
    "How many live versions each content has"
    return Counter(whole(v.get()) for v in store.versions(ref)) if ref in store else Counter()

def judge(store, wanted: dict[str, list[str]]) -> dict[str, int]:
    "Puts that were lost or doubled; each item has no gap"
    lost = doubled = versions = 0
    for ref, names in wanted.items():
        found = contents(store, ref)
        assert None not in found, 'a version is not whole'
        dense(store, ref)
        versions += found.total()
        lost += sum(n not in found for n in names)
        doubled += sum(k - 1 for k in found.values())
    return dict(puts=sum(map(len, wanted.values())), versions=versions, lost=lost, doubled=doubled)

def good(r: dict) -> bool: return r['lost'] == r['doubled'] == 0 and r['versions'] == r['puts']


# Killed, at every step and at random

class Trip:
    "Pending work on this machine over an origin of files, made once and laid out again for each try"
    def __init__(self, folder: Path):
        self.folder, self.kept = folder, folder.with_name('kept')
        folder.mkdir()
        store = self.open()
        for i in range(2): store.put('lab/m', content(f'base {i}'))
        store.set_alias('lab/m@1', 'production')
        on_line(store, switch := Switch())
        switch.mode = 'refuse'
        self.wanted = {'lab/m': ['base 0', 'base 1'], 'lab/large': [], 'lab/folder': []}
        with quiet():
            for i in range(3): self._put(store, 'lab/m', f'small {i}')
            last = store['lab/m']
            store.annotate(last, {'note': 1}), store.set_alias(last, 'production'), store.remove('lab/m@1')
            self._put(store, 'lab/large', 'large', LARGE)
            for i in range(3):
                (top := folder/'photos').mkdir(exist_ok=True)
                (top/f'{i}').write_bytes(content(f'{i}', LARGE * (i % 2)))
            store.put('lab/folder', top)
        self.wanted['lab/m'].remove('base 0')
        shutil.copytree(folder, self.kept)

    def _put(self, store, ref, name, size=0): store.put(ref, content(name, size)); self.wanted[ref].append(name)
    def open(self) -> ObjectStore:
        forget_all()
        with env(OBJECTSTORE_STATE_DIR=str(self.folder/'state')):
            return ObjectStore(str(self.folder/'near'), str(self.folder/'origin'), progress=False)
    def again(self) -> None:
        flush_hints()      # of stores that the test has left open
        shutil.rmtree(self.folder)
        shutil.copytree(self.kept, self.folder)

    def judged(self, syncs: int = 3) -> dict:
        "What there is after so many more syncs"
        for _ in range(syncs): report = self.open().sync()
        store = self.open()
        assert not report.waiting and not report.conflicts and not store.pending.work()
        r = judge(store, {k: v for k, v in self.wanted.items() if v})
        folders = store.versions('lab/folder')
        assert len(folders) == 1 and sorted(whole(p.read_bytes()) for p in folders[0].get().values()) == ['0', '1', '2']
        v = store['lab/m@production']
        assert (whole(v.get()), v.notes, len(store.origin.bucket('lab').notes('m', v.version))) == (
            'small 2', {'note': 1}, 1)
        store.pending._swept = False
        store.pending.sweep(0)
        assert not list((self.folder/'state').rglob('bytes/*')) and not list((self.folder/'state').rglob('.tmp-*'))
        return r

def counted(n: int | None, when: str | float) -> list:
    "Let the n-th write of this process be its last, or the end come so many seconds after it began; the writes so far"
    seen = []
    def step(real, *args, **kwargs):
        if any('/witness/' in str(a) for a in args): return real(*args, **kwargs)     # once a second
        seen.append(1)
        if len(seen) == n and isinstance(when, float): threading.Timer(when, die).start()
        if len(seen) == n and when == 'before': die()
        try: return real(*args, **kwargs)
        finally:
            if len(seen) == n and when == 'after': die()
    for cls, names in ((FileBackend, ('create', 'upload', 'delete', 'create_many')), (os, ('replace',))):
        for name in names:
            real = getattr(cls, name)
            setattr(cls, name, (lambda real: lambda *a, **k: step(real, *a, **k))(real))
    return seen

def _sync(folder: str, n: int | None = None, when: str | float = '', planted: bool = False) -> int:
    "Sync in a process of its own"
    if planted: planted_here(replay, 'deliver_draft', jumps)
    planted_here(changelog, 'SOON', 60.0)      # hints come together at the end, as many writes each time
    with env(OBJECTSTORE_STATE_DIR=f'{folder}/state'):
        store = ObjectStore(f'{folder}/near', f'{folder}/origin', progress=False)
        seen = counted(n, when)
        store.sync()
        changelog.flush_hints(60)
    return len(seen)

def killed(folder: Path, n: int, when: str | float, planted: bool = False) -> bool:
    p = start(_sync, str(folder), n, when, planted)
    p.join(500)
    return p.exitcode == -9

def jumps(bucket, item, draft, first, patience=3.0, fresh=False):
    "Planted: whoever delivers again goes to the end of the item"
    return bucket.put(item, draft)

@pytest.fixture
def trip(clean):
    "In memory where there is such a disk: a killed process needs no fsync"
    with tempfile.TemporaryDirectory(dir='/dev/shm' if os.access('/dev/shm', os.W_OK) else clean,
                                     ignore_cleanup_errors=True) as d:
        yield Trip(Path(d)/'trip')

def test_killed_at_every_step_of_a_sync(trip, figure):
    steps, total, n = alone(_sync, str(trip.folder)), Counter(), 0
    every = range(1, steps + 1)
    for k in every:
        for when in ('before', 'after') if SOAK > 1 else (('before', 'after')[k % 2],):
            trip.again()
            assert killed(trip.folder, k, when), f'step {k} of {steps} was not reached'
            r = trip.judged()
            assert good(r), (k, when, r)
            total.update(r)
            n += 1
    figure(f'4 sync killed at each of {steps} writes ({n} kills), replayed three times', **total)

def test_killed_at_random(trip, figure):
    total, n, kills, rng = Counter(), soak(24, 300), 0, random.Random(7)
    trip.again()
    steps = alone(_sync, str(trip.folder))
    for i in range(n):
        trip.again()
        kills += killed(trip.folder, rng.randint(1, steps), rng.uniform(0, 0.005))
        r = trip.judged(3 if SOAK > 1 or i % 10 == 0 else 1)
        assert good(r), (i, r)
        total.update(r)
    figure(f'10 sync killed at random x {n} ({kills} in the middle), replayed', **total)
    assert kills > n / 2

def test_planted_jump_to_the_end_is_caught_by_kills(trip, monkeypatch):
    monkeypatch.setattr(replay, 'deliver_draft', jumps)
    def bad(k):
        trip.again()
        killed(trip.folder, k, 'after', True)
        try: return not good(trip.judged())
        except AssertionError: return True
    assert any(bad(k) for k in range(2, 12))


# Two replayers of one folder

def model(replayers: int, crashes: int, others: int, gc: int, jump: bool = False, checks: bool = True) -> tuple[
        int, set]:
    """Every order of steps of some replayers of one pending put, of crashes between any two of them, of other writers,
    and of a collector that takes a payload before it is named. How many states there are, and what went wrong in the
    last ones.

    An origin is records (owner, abandoned) from 1; a replayer is (step, n). The queue's entry, the number that was
    tried
    and what the put became are shared: they are written and deleted in the order of `Pending.finish`."""
    start = ((), (True, None, None), ((0, 0),) * replayers, crashes, others, gc)
    seen, todo, wrong = {start}, [start], set()
    def ends(records, entry):
        live = [i for i, (who, gone) in enumerate(records) if who == 'x' and not gone]
        if len(live) > 1: return 'doubled'
        if not live and not entry: return 'lost'
    while todo:
        records, (entry, tried, done), pcs, crashes_, others_, gc_ = todo.pop()
        after = []
        def to(i, step, n, records=records, entry=entry, tried=tried, done=done, gc=gc_):
            after.append((records, (entry, tried, done), pcs[:i] + ((step, n),) + pcs[i + 1:], crashes_, others_, gc))
        for i, (step, n) in enumerate(pcs):
            # the entry is read
            if step == 0: to(i, 1, 0) if entry else to(i, 'done', 0) if n == 0 else None
            # was a number tried?
            elif step == 1: to(i, 4, 0) if tried else to(i, 2, 0)
            # the end is looked for
            elif step == 2: to(i, 3, len(records) + 1)
            # and written down, unless another one is
            elif step == 3: to(i, 4, n, tried=tried or n)
            # what is written down
            elif step == 4: to(i, 5, n or tried) if jump else to(i, 5, tried) if tried else None
            # was it delivered meanwhile?
            elif step == 5: to(i, 9, done) if done and checks else to(i, 6, len(records) + 1 if jump else n)
            elif step == 6:                                                                            # look at n
                if n > len(records): to(i, 7, n)
                elif records[n - 1][0] != 'x' or records[n - 1][1]: to(i, 6, n + 1)
                else: to(i, 8, n)
            # claim n
            elif step == 7: to(i, 6, n, records=records + (('x', False),)) if n == len(records) + 1 else to(i, 6, n)
            elif step == 8:                                                                            # confirm
                to(i, 9, n)
                if gc_: to(i, 12, n, gc=gc_ - 1)
            elif step == 9: to(i, 10, n, done=done or n)                                               # what it became
            elif step == 10: to(i, 11, n, entry=False)
            elif step == 11: to(i, 'done', 0, tried=None)
            elif step == 12: to(i, 6, n + 1, records=records[:n - 1] + (('x', True),) + records[n:])  # abandon n
            if crashes_ and step != 'done':
                after.append((records, (entry, tried, done), pcs[:i] + ((0, 0),) + pcs[i + 1:], crashes_ - 1, others_,
                              gc_))
        if others_: after.append((records + (('z', False),), (entry, tried, done), pcs, crashes_, others_ - 1, gc_))
        if w := ends(records, entry): wrong.add(w)
        new = {s for s in after if s not in seen}
        seen |= new
        todo += new
    return len(seen), wrong

def test_every_order_of_two_replayers(figure):
    states, wrong = model(2, crashes=2, others=2, gc=0)
    one, wrong_alone = model(1, crashes=3, others=2, gc=2)
    figure('10 every order of two replayers, two crashes, two other writers; of one with a collector',
           states=states + one, wrong=len(wrong | wrong_alone))
    assert not wrong and not wrong_alone and states > 500

def test_planted_delivery_that_does_not_ask_whether_it_was_done_is_caught_by_the_model():
    assert model(2, crashes=0, others=0, gc=0, checks=False)[1] == {'doubled'}

def test_planted_jump_to_the_end_is_caught_by_the_model():
    assert ('doubled' in model(1, crashes=1, others=0, gc=0, jump=True)[1]
            and 'doubled' in model(2, crashes=0, others=1, gc=0, jump=True)[1])

class Frozen(Wrapped):
    "A backend whose n-th call waits until it is let go"
    def __init__(self, inner, n):
        super().__init__(inner)
        self.n, self.seen, self.reached, self.go = n, 0, threading.Event(), threading.Event()
    def call(self, op, key, run):
        self.seen += 1
        if self.seen == self.n: self.reached.set(); self.go.wait(20)
        return run()

def frozen_at(folder: Path, n: int, size: int) -> tuple[bool, dict]:
    "One replayer stands still before its n-th request while another delivers: was it reached, and what came of it"
    memory = MemoryBackend()
    origin, queue = Origin(memory, 'x'), Pending(folder)
    from objectstore.format.commit import Draft, Payload
    from blake3 import blake3
    for i in range(2):
        data = content(f'{i}', size)
        queue.add_put('lab', 'm', Draft('bytes', Payload(len(data), blake3(data).hexdigest(), data), description={}),
                      None)
    slow = Frozen(memory, n)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(replay.deliver_all, Origin(slow, 'x'), Pending(folder))
        while not slow.reached.wait(0.01) and not first.done(): pass
        reached = slow.reached.is_set()
        if reached: replay.deliver_all(origin, Pending(folder))
        slow.go.set()
        try: first.result(30)
        except FileNotFoundError: pass
    replay.deliver_all(Origin(memory, 'x'), Pending(folder))
    store = ObjectStore.over(origin)
    assert not Pending(folder).work()
    return reached, judge(store, {'lab/m': ['0', '1']})

@pytest.mark.parametrize('size', [0, LARGE])
def test_a_replayer_frozen_between_any_two_requests(tmp_path, size, figure):
    total, n = Counter(), 0
    while True:
        reached, r = frozen_at(tmp_path/f'{n}', n := n + 1, size)
        assert good(r), (n, r)
        if not reached: break
        total.update(r)
    figure(f'10 a replayer frozen before each of {n - 1} requests, {"large" if size else "small"}', **total)
    assert n > 8

def test_one_process_at_a_time_and_threads_wait_for_each_other(machines):
    [a] = machines('a')
    (store := a.open()).list_buckets()       # it is reached
    machines.switch.mode = 'refuse'
    with quiet(): [store.put('lab/m', content(f'{i}')) for i in range(20)]
    machines.switch.mode = None
    with ThreadPoolExecutor(4) as pool: reports = list(pool.map(lambda s: s.sync(), [a.open() for _ in range(4)]))
    assert not any(r.waiting for r in reports) and sum(map(len, reports)) == 20
    assert good(judge(store, {'lab/m': [f'{i}' for i in range(20)]}))


# Two machines, and bad lines

class Unsure(Wrapped):
    "A bad line: a share of its calls is not sent, or its answer is lost"
    def __init__(self, inner, seed, share):
        super().__init__(inner)
        self.random, self.share, self.hits = random.Random(seed), share, 0
    def call(self, op, key, run):
        x = self.random.random()
        if x >= self.share: return run()
        self.hits += 1
        if x < self.share / 2: run()
        raise ConnectionError(errno.EIO, 'the connection broke off')

def until_delivered(stores, rng, most=3000) -> None:
    for _ in range(most):
        if not any(s.pending.work() for s in stores): return
        rng.choice(stores).sync()
    raise AssertionError('it is not delivered')

def two_machines(machines, n: int, share: float, seed: int) -> tuple[dict, int]:
    "Two machines that put offline, and deliver in any order"
    rng, stores = random.Random(seed), [m.open(timeout=0.02) for m in machines(f'a{seed}', f'b{seed}')]
    wanted = {f'lab/{seed}/m{k}': [] for k in range(3)}
    for s in stores: s.list_buckets()       # it is reached
    machines.switch.mode = 'refuse'
    with quiet():
        for i in range(n):
            for name, s in zip('ab', stores):
                ref = rng.choice(list(wanted))
                s.put(ref, content(f'{name} {i}', rng.choice([0, 0, 0, LARGE])))
                wanted[ref].append(f'{name} {i}')
    machines.switch.mode = None
    for i, s in enumerate(stores):
        s.origin.place.origin.inner = Unsure(s.origin.place.origin.inner, f'{seed} {i}', share)
    until_delivered(stores, rng)
    forget_all()      # a breaker may have opened at the last lost call
    calm = machines(f'c{seed}')[0].open()
    for ref, names in wanted.items():
        order = [whole(v.get()) for v in calm.versions(ref)]
        for m in 'ab':
            assert list(dict.fromkeys(x for x in order if x[0] == m)) == [x for x in names if x[0] == m], 'not in order'
    return judge(calm, wanted), sum(s.origin.place.origin.inner.hits for s in stores)

@pytest.mark.parametrize('share', [0.0, 0.1])
def test_two_machines_keep_all_that_they_did_offline(machines, share, figure):
    n, total, hits = soak(40, 100), Counter(), 0
    for seed in range(soak(1, 10)):
        r, h = two_machines(machines, n, share, seed)
        total.update(r)
        hits += h
    figure(f'11 two machines x {n} offline puts' + f', {hits} calls or their answers lost' * bool(share), **total)
    assert good(total)

def test_planted_trust_in_silence_is_caught(machines, monkeypatch):
    def trusts(bucket, item, draft, first, patience=3.0, fresh=False):
        try: return bucket.put(item, draft)
        except ConnectionError: return draft.record(bucket.name, item, first, '', 0)
    monkeypatch.setattr(replay, 'deliver_draft', trusts)
    def bad(seed):
        try: return not good(two_machines(machines, 20, 0.2, seed)[0])
        except AssertionError: return True
    assert any(bad(seed) for seed in range(5))

@pytest.mark.parametrize('kind', ['close_after_commit', '500_after_commit', 'reset_after_commit'])
def test_replies_lost_by_a_service_during_a_sync(seaweed, clean, request, kind, figure):
    world = World('seaweed', 2, clean, request)
    store, n = world.open(timeout=2.0), soak(15, 200)
    store.put('lab/m', content('base'))
    world.away()
    with quiet(): [store.put('lab/m', content(f'{i}', LARGE * (i % 5 == 4))) for i in range(n)]
    world.back()
    f = world.proxy.fault(kind, method='PUT', share=0.4, times=200)
    until_delivered([store], random.Random(1))
    world.back()
    r = judge(world.alone(), {'lab/m': ['base', *(f'{i}' for i in range(n))]})
    figure(f'3 {kind} during sync x {f.hits}', **r)
    assert good(r) and f.hits > 3


# Large and many

def test_a_pending_folder_of_100_files(trip):
    top = trip.folder/'many'
    top.mkdir()
    for i in range(100): (top/f'{i:03}').write_bytes(content(f'{i}', LARGE * (i % 10 == 0)))
    store = trip.open()
    on_line(store, switch := Switch())
    switch.mode = 'refuse'
    with quiet():
        v = store.put('lab/many', top)
        shutil.rmtree(top)
        assert len(v.get()) == 100 and whole(v.get()['007'].read_bytes()) == '7'
    for k in (3, 9, 20, 40): killed(trip.folder, k, 'after')
    trip.open().sync()
    store = trip.open()
    assert store.versions('lab/many').refs == ['lab/many@1']
    assert [whole(store['lab/many'].get().read(f'{i:03}')) for i in range(100)] == [f'{i}' for i in range(100)]

def test_a_file_that_changes_while_it_becomes_pending(trip, monkeypatch):
    store, path = trip.open(), trip.folder/'growing'
    path.write_bytes(content('x', LARGE))
    on_line(store, switch := Switch())
    switch.mode = 'refuse'
    real = FileBackend.upload
    def grows(self, key, source, progress=None):
        path.write_bytes(content('y', LARGE + 1))
        return real(self, key, source, progress)
    monkeypatch.setattr(FileBackend, 'upload', grows)
    before = len(store.pending.work())
    with pytest.raises(Exception, match='changed while'): store.put('lab/file', path)
    assert len(store.pending.work()) == before and len(list((trip.folder/'state').rglob('bytes/*'))) == 3 + 3 + 1


# A full disk

@pytest.fixture
def small_disk(tmp_path):
    "A disk of 1 MB"
    disk = tmp_path/'disk'
    disk.mkdir()
    if (os.geteuid() or subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', disk],
                                       capture_output=True).returncode):
        pytest.skip('mounting a tmpfs needs root')
    yield disk
    subprocess.run(['umount', '-l', disk], check=True)

def test_a_full_disk_where_puts_become_pending(memory, small_disk, monkeypatch, figure):
    monkeypatch.setenv('OBJECTSTORE_STATE_DIR', str(small_disk/'state'))
    store, kept, refused = memory.open(), [], 0
    store.put('lab/m', content('base'))
    memory.away()
    with quiet():
        with pytest.raises(OSError, match='lab/m is not stored.*[Nn]o space left') as e:
            store.put('lab/m', content('huge', 2_000_000))
        assert e.value.errno == errno.ENOSPC and not list(small_disk.rglob('bytes/*'))
        for i in range(200):
            try: store.put('lab/m', content(f'{i}', random.Random(i).choice([10, 3_000, 60_000]))); kept.append(f'{i}')
            except OSError: refused += 1
        assert kept and refused and len(store.pending.work()) == len(kept) == len(list(small_disk.rglob('bytes/*')))
        assert not list(small_disk.rglob('.tmp-*'))
    memory.back()
    for _ in range(3): store.sync()
    r = judge(memory.alone(), {'lab/m': ['base', *kept]})
    figure('12 a full disk for pending puts', refused=refused, **r)
    assert good(r) and not store.pending.work() and not list(small_disk.rglob('bytes/*'))

def test_a_full_disk_for_near_copies_changes_nothing(small_disk, memory):
    memory.nears = [str(small_disk/'near')]
    store = memory.open()
    for i in range(40): store.put('lab/m', content(f'{i}', 60_000))
    assert all(whole(store.get(f'lab/m@{i + 1}')) == f'{i}' for i in range(40)) and not list(small_disk.rglob('.tmp-*'))
