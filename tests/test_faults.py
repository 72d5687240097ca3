"""Answers that are lost, wrong or late, and disks that are full: nothing acknowledged is lost, nothing is kept twice,
and what nobody knows is said so"""
import errno, os, random, re, subprocess, threading, time, warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
import pytest
from objectstore import CommitUnknown, NotAvailableOffline, NotFound, ObjectStore, ObjectStoreError
from objectstore.storage import files
from objectstore.format import commit, records
from objectstore.storage.backend import MemoryBackend
from objectstore.storage.files import FileBackend
from objectstore.format.records import Claim
from proxy import Proxy
from services import Place
from planting import planted_here
from trial import (PATIENCE, ServiceLike, Wrapped, alone, content, dense, drafts, named, payloads, remote, soak,
                   store_over, whole)

pytestmark = pytest.mark.usefixtures('own_cache')


# 3: replies that are lost

class Unsure(Wrapped):
    "A backend across a bad line: a share of its answers is lost, or is another's"
    def __init__(self, inner, seed, share=0.3, late=False):
        super().__init__(inner)
        self.random, self.share, self.some_late, self.waiting, self.lock = random.Random(
            seed), share, late, [], threading.Lock()
        self.met = Counter()

    def call(self, op, key, run):
        self.deliver(0.2)
        if op == 'exists' or self.random.random() >= self.share: return run()     # asked only where a service is a disk
        faults = ['never sent', 'reply lost'] + (['sent twice', 'refused for nothing'] + ['late'] * self.some_late
                                                 if op == 'create' else [])
        self.met[fault := self.random.choice(faults)] += 1
        return getattr(self, fault.replace(' ', '_'))(run)

    def never_sent(self, run): raise ConnectionError('reset')
    def reply_lost(self, run):
        run()
        raise ConnectionError('closed after commit')
    def sent_twice(self, run):
        run()
        return run()
    def refused_for_nothing(self, run): return False
    def late(self, run):
        with self.lock: self.waiting.append(run)
        raise ConnectionError('timed out')

    def deliver(self, share: float) -> None:
        "What was on its way arrives, some of it now"
        if not self.waiting: return
        with self.lock:
            due = [r for r in self.waiting if self.random.random() < share]
            self.waiting = [r for r in self.waiting if r not in due]
        for run in due: run()


@dataclass
class Outcome:
    "What the writers were told"
    kept: dict[str, str] = field(default_factory=dict)      # name of a content: the ref that was acknowledged
    unknown: dict[str, str] = field(default_factory=dict)   # name: the ref by write id in the message
    refused: set[str] = field(default_factory=set)          # names that, it was said, were not kept
    slowest: float = 0.0

def write(store, ref, names, outcome, size=0) -> None:
    "One put a name, and what came of it"
    for name in names:
        began = time.monotonic()
        try: outcome.kept[name] = store.put(ref, content(name, size)).ref
        except CommitUnknown as e: outcome.unknown[name] = re.search(r'\S+@id:[0-9a-f]{32}', str(e))[0]
        except NotAvailableOffline: outcome.refused.add(name)
        outcome.slowest = max(outcome.slowest, time.monotonic() - began)

def judge(store, ref, outcome) -> dict[str, int]:
    "Lost, doubled, unknown, and messages that were wrong; the numbers are dense"
    dense(store, ref)
    found = {v.ref: (whole(v.get()), v.id) for v in store.versions(ref)}
    count = Counter(name for name, _ in found.values())
    assert None not in count, 'a version is not whole'
    by_id = {f'{ref}@id:{id}': name for name, id in found.values()}
    lost = [n for n, at in outcome.kept.items() if found.get(at, ('',))[0] != n]
    for name, by in outcome.unknown.items():
        if count[name]:
            assert store.get(by) == content(name, len(store.get(by)) - 32 if len(store.get(by)) > 1000 else 0)
        else: assert by not in by_id
    return dict(versions=len(found), lost=len(lost), doubled=sum(n - 1 for n in count.values() if n > 1),
                unknown=len(outcome.unknown), denied=sum(bool(count[n]) for n in outcome.refused))

def good(result) -> bool: return not (result['lost'] or result['doubled'] or result['denied'])


@pytest.fixture
def quick(monkeypatch):
    "Waits of the library take a fiftieth of their time"
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=lambda s: time.sleep(s / 50), strftime=time.strftime,
                            gmtime=time.gmtime)
    for module in (records, commit): monkeypatch.setattr(module, 'time', clock)

def over_bad_line(seed, inner=MemoryBackend, writers=3, puts=60, size=0, late=False, share=0.3, timeout=0.1) -> dict:
    "Several writers of one item, each over a bad line of its own"
    backend, outcome = inner(), Outcome()
    store_over(backend).put('b/m', content('first'))
    lines = [Unsure(backend, f'{seed} {i}', share, late) for i in range(writers)]
    def one(i):
        store = store_over(lines[i], timeout)
        while True:
            try: store.find_or_create_bucket('b'); break
            except (ObjectStoreError, ConnectionError): pass
        write(store, 'b/m', [f'{i} {k}' for k in range(puts)], outcome, size)
    with ThreadPoolExecutor(writers) as pool: list(pool.map(one, range(writers)))
    for line in lines: line.deliver(1)
    outcome.kept['first'] = 'b/m@1'
    return judge(store_over(backend), 'b/m', outcome)

@pytest.mark.parametrize('inner', [MemoryBackend, ServiceLike])
@pytest.mark.parametrize('size', [0, 40_000])
@pytest.mark.parametrize('late', [False, True])
def test_lost_replies_in_memory(inner, size, late, quick, figure):
    total = Counter()
    for seed in range(soak(3, 30)): total.update(over_bad_line(seed, inner, size=size, late=late))
    figure(f'3 replies lost, {inner.__name__}, {"large" if size else "small"}{", some late" * late}', **total)
    assert good(total)

def trusts_exists(self, n):
    "Planted: 'already exists' is taken to mean that the number is another's"
    key, data = self.folder + records.number_key(n), self.build(n, 0)
    try: return self.backend.create(key, data)
    except ConnectionError: self._doubt()
    found = self._look(key)
    return None if found is None else self._is_ours(n, found)

def reads_nothing_back(self, n):
    "Planted: a lost reply is taken to mean that nothing was kept, and the next number is tried"
    try: return self.backend.create(self.folder + records.number_key(n), self.build(n, 0))
    except ConnectionError: return False

def trusts_silence(self, n):
    "Planted: a lost reply is taken for success"
    try: return self.backend.create(self.folder + records.number_key(n), self.build(n, 0)) or None
    except ConnectionError: return True

@pytest.mark.parametrize('planted', [trusts_exists, reads_nothing_back, trusts_silence])
def test_planted_claims_are_caught(planted, quick, monkeypatch):
    monkeypatch.setattr(Claim, 'once', planted)
    assert any(caught(lambda: over_bad_line(seed)) for seed in range(5))

def caught(run) -> bool:
    "Does the judge see that something is wrong?"
    try: return not good(run())
    except AssertionError: return True

def test_no_confirm_answer_is_unknown(quick):
    "The claim is won, and the line breaks before the confirm: not 'nothing was kept'"
    class Breaks(Wrapped):
        claimed = False
        def call(self, op, key, run):
            if self.claimed and op == 'list': raise ConnectionError('reset')
            self.claimed |= op == 'create' and '/records/' in key
            return run()
    backend = MemoryBackend()
    with pytest.raises(CommitUnknown, match='b/m@id:') as e:
        store_over(Breaks(backend), 0.1).put('b/m', content('x', 40_000))
    assert store_over(backend).get(re.search(r'b/m@id:\w+', str(e.value))[0]) == content('x', 40_000)


@pytest.mark.parametrize('many', [False, True])
def test_a_service_dies_as_it_keeps(many):
    "The object is kept, its reply lost, and from then on connections are refused: unknown, not refused"
    class Dies(Wrapped):
        dead = False
        def call(self, op, key, run):
            if self.dead: raise ConnectionRefusedError('refused')
            answer = run()
            if op == 'create' and '/records/' in key: self.dead = True; raise ConnectionError('closed after commit')
            return answer
    backend = MemoryBackend()
    store = store_over(Dies(backend), 0.1)
    with pytest.raises(CommitUnknown, match='b/m@id:'):
        store.put_many({'b/m': content('x')}) if many else store.put('b/m', content('x'))
    assert whole(store_over(backend).get('b/m')) == 'x'


def test_a_disk_fails_after_the_name(tmp_path, monkeypatch):
    "The object has got its name, and the folder cannot be synced: nothing is acknowledged that a power cut could take"
    def fails(place):
        if '/records/' in place: raise OSError(errno.EIO, 'injected')
    for many in (False, True):
        store = ObjectStore(tmp_path/f'{many}')
        store.put('b/m', content('first'))
        with monkeypatch.context() as m:
            m.setattr(files, 'sync_folder', fails)
            with pytest.raises(CommitUnknown, match='b/m@id:'):
                store.put_many({'b/m': content('x')}) if many else store.put('b/m', content('x'))
        assert store.put('b/m', content('next')).version == 3


# 3 again, with a real service behind a proxy

FAULTS = ['close_after_commit', '500_after_commit', '409', 'reset', 'reset_after_commit', '503', 'hang',
          'hang_after_commit']

@pytest.mark.parametrize('kind', FAULTS)
def test_lost_replies_of_a_service(kind, seaweed, figure):
    place, outcome = Place(seaweed), Outcome()
    hangs = kind.startswith('hang')
    n = soak(8 if hangs else 40, 40 if hangs else 200)
    outcome.kept['first'] = remote(place).put('b/m', content('first')).ref
    with Proxy(seaweed.endpoint) as proxy:
        store = remote(place, proxy.endpoint, timeout=0.2 if hangs else 1.0)
        with proxy.fault(kind, method='PUT', path='records/', share=0.7, times=n) as f:
            k = 0
            while f.hits < n and k < 4 * n: write(store, 'b/m', [f'{k}'], outcome); k += 1
    result = judge(remote(place), 'b/m', outcome)
    figure(f'3 {kind}, SeaweedFS', faults=f.hits, puts=k, longest=outcome.slowest, **result)
    assert f.hits == n and good(result)

def test_a_service_that_is_gone_while_a_claim_is_under_way(seaweed, figure):
    "The reply is lost, and then nobody answers: unknown, and found under its write id later"
    place, outcome = Place(seaweed), Outcome()
    remote(place).put('b/m', content('first'))
    with Proxy(seaweed.endpoint) as proxy:
        store = remote(place, proxy.endpoint, timeout=2.0)
        store.put('b/m', content('mine'))
        with proxy.fault('close_after_commit', method='PUT', path='records/'), proxy.fault('503', method='GET'):
            write(store, 'b/m', ['lost'], outcome)
        assert outcome.unknown and remote(place).get(outcome.unknown['lost']) == content('lost')
        with proxy.fault('reset', method='PUT', path='records/'), proxy.fault('503', method='GET'):
            write(store, 'b/m', ['never'], outcome)
        with pytest.raises(NotFound): remote(place)[outcome.unknown['never']]
    figure('3 nobody answers any more', **judge(remote(place), 'b/m', outcome) | dict(longest=outcome.slowest))

def test_payloads_refused_for_nothing(seaweed):
    "A 409 with nothing stored, where a payload is sent: a put of its own, or an error of the store's own"
    place = Place(seaweed)
    with Proxy(seaweed.endpoint) as proxy:
        store = remote(place, proxy.endpoint)
        with proxy.fault('409', method='PUT', path='payloads/', times=1):
            try: store.put('b/m', content('large', 50_000))
            except ObjectStoreError: pass
        store.put('b/m', content('next', 50_000))
    assert whole(remote(place).get('b/m')) == 'next'


# 12: full disks and errors of input and output

def mounted_small(at: Path) -> str | None:
    "Mount a tmpfs of 1 MB; why not, where it cannot be"
    if not hasattr(os, 'geteuid') or os.geteuid(): return 'mounting a tmpfs needs root'
    r = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', at], capture_output=True, text=True)
    return r.stderr.strip() or 'mount failed' if r.returncode else None

def test_full_disk(tmp_path, figure):
    (at := tmp_path/'small').mkdir()
    if reason := mounted_small(at): pytest.skip(reason)
    try:
        store, kept, full = ObjectStore(at/'store'), {}, Counter()
        for i in range(200):
            name, size = f'{i}', (0, 3_000, 40_000, 90_000)[i % 4]
            try: kept[store.put('b/m', content(name, size)).ref] = name
            except OSError as e: assert e.errno == errno.ENOSPC, e; full['refused'] += 1
            except ObjectStoreError: full['refused'] += 1
        lost = [ref for ref, name in kept.items() if whole(ObjectStore(at/'store').get(ref)) != name]
        short = [v.ref for v in ObjectStore(at/'store').versions('b/m') if whole(v.get()) is None]
        dense(ObjectStore(at/'store'), 'b/m')
        orphans = payloads(at/'store') - named(ObjectStore(at/'store'), 'b')
        figure('12 a full disk of 1 MB', refused=full['refused'], acknowledged=len(kept), lost=len(lost),
               short=len(short), temporaries=len(drafts(at/'store')), orphans=len(orphans))
        assert full['refused'] and not lost and not short and not drafts(at/'store')
        for p in orphans: next((at/'store').rglob(p)).unlink()
        next((at/'store').rglob('payloads/*/*')).unlink()      # somebody makes room
        assert store.put('b/m', content('again', 20_000)).version == len(dense(store, 'b/m'))
    finally: subprocess.run(['umount', at], check=True)

class Fails(Wrapped):
    "A share of the calls fails, before anything was done"
    def __init__(self, inner, seed, share=0.1):
        super().__init__(inner)
        self.random, self.share, self.failed = random.Random(seed), share, 0
    def call(self, op, key, run):
        if self.random.random() < self.share:
            self.failed += 1
            raise self.random.choice([OSError(errno.EIO, 'injected'), OSError(errno.ENOSPC, 'injected'),
                                      ConnectionError('injected'), PermissionError(errno.EACCES, 'injected')])
        return run()

def judge_failing(folder, acknowledged, denied, title, figure, **more):
    "Nothing acknowledged is lost, nothing is short; what was refused is not there"
    store = ObjectStore(folder)
    with warnings.catch_warnings():
        warnings.simplefilter('error')      # a record that is left out is short
        found = {v.ref: whole(v.get()) for v in store.versions('b/m')}
    dense(store, 'b/m')
    result = dict(short=sum(n is None for n in found.values()), temporaries=len(drafts(folder)),
                  lost=sum(found.get(ref) != name for ref, name in acknowledged.items()),
                  denied=len(denied & set(found.values())))
    figure(title, acknowledged=len(acknowledged), **more, **result)
    assert not any(result.values())

def test_calls_that_fail(tmp_path, quick, figure):
    store = store_over(FileBackend(tmp_path, durable=False), 0.1)
    store.put('b/m', content('first'))
    store.origin.place = faulty = Fails(store.origin.place, 12)
    store.origin._buckets.clear()
    acknowledged, denied = {}, set()
    for i in range(soak(300, 1000)):
        try: acknowledged[store.put('b/m', content(f'{i}', 40_000 * (i % 3 == 0))).ref] = f'{i}'
        except CommitUnknown: pass
        except (ObjectStoreError, OSError): denied.add(f'{i}')
        if i % 10 == 0: store.origin._buckets.clear(); store.origin._made.clear()
    judge_failing(tmp_path, acknowledged, denied, '12 calls of the backend that fail', figure, failed=faulty.failed)

def failing_system(folder: str, n: int, seed: int, share: float) -> tuple[dict, set, int]:
    "In a process of its own: puts, while calls to the system fail"
    store, rnd, failed = ObjectStore(folder), random.Random(seed), [0]
    store.put('b/m', content('first'))
    inside = threading.local()
    def wrap(f, path_first):
        def call(*args, **kwargs):
            ours = not path_first or str(folder) in str(args[0]) or '/proc/self/fd' in str(args[0])
            if getattr(inside, 'on', False) and ours and rnd.random() < share:
                failed[0] += 1
                raise OSError(rnd.choice([errno.EIO, errno.ENOSPC]), 'injected')
            return f(*args, **kwargs)
        return call
    for name in ('open', 'write', 'link', 'mkdir', 'fsync', 'copy_file_range'):
        setattr(os, name, wrap(getattr(os, name), name in ('open', 'link', 'mkdir')))
    acknowledged, denied = {}, set()
    for i in range(n):
        inside.on = True
        try: acknowledged[store.put('b/m', content(f'{i}', 40_000 * (i % 3 == 0))).ref] = f'{i}'
        except CommitUnknown: pass
        except (ObjectStoreError, OSError): denied.add(f'{i}')
        finally: inside.on = False
        if i % 10 == 0: store = ObjectStore(folder)
    return acknowledged, denied, failed[0]

def test_calls_to_the_system_that_fail(tmp_path, figure):
    acknowledged, denied, failed = alone(failing_system, str(tmp_path/'store'), soak(300, 1000), 12, 0.1)
    judge_failing(tmp_path/'store', acknowledged, denied, '12 calls to the system that fail', figure, failed=failed)

def test_planted_draft_in_place_is_caught(tmp_path, figure):
    "Written under its own name, piece by piece: a failure leaves it short"
    class InPlace(FileBackend):
        def create(self, key, data):
            place, leaf = self._place(key)
            self._ready(place)
            if os.path.exists(f'{place}/{leaf}'): return False
            with open(f'{place}/{leaf}', 'wb') as f:
                f.write(data[:len(data) // 2])
                if random.Random(leaf).random() < 0.3: raise OSError(errno.ENOSPC, 'injected')
                f.write(data[len(data) // 2:])
            return True
    store = store_over(InPlace(tmp_path))
    planted_here(store.origin, 'ensure', lambda bucket: None)
    for i in range(20):
        try: store.put('b/m', content(f'{i}'))
        except (ObjectStoreError, OSError): pass
    with pytest.raises((AssertionError, ObjectStoreError, UserWarning)):
        judge_failing(tmp_path, {}, set(), 'planted', figure)


# 13: time is bounded

VERBS = dict(get=lambda s: s.get('b/m'), get_pinned=lambda s: s.get('b/m@1'), item=lambda s: s['b/m'],
             put=lambda s: s.put('b/m', 'x'), put_large=lambda s: s.put('b/m', content('x', 50_000)),
             list_buckets=lambda s: s.list_buckets(), make=lambda s: s.find_or_create_bucket('new'),
             remove_bucket=lambda s: s.remove_bucket('c', force=True), find_items=lambda s: s.find_items('b'),
             get_stats=lambda s: s.get_stats('b/m'), copy=lambda s: s.copy('b/m@1', 'b/n'),
             remove=lambda s: s.remove('b/m@1'), versions=lambda s: s.versions('b/m'),
             set_alias=lambda s: s.set_alias('b/m@1', 'x'), annotate=lambda s: s.annotate('b/m@1', {'a': 1}),
             aliases=lambda s: s.aliases('b/m'), put_many=lambda s: s.put_many({f'b/p{i}': 'x' for i in range(50)}),
             get_many=lambda s: s.get_many([f'b/q{i}' for i in range(50)]))

@pytest.mark.parametrize('kind', ['refuse', 'hang', '500', '503', 'slow', 'truncate'])
def test_time_is_bounded(kind, seaweed, figure):
    place, waits, odd, timeout = Place(seaweed), {}, [], 0.1
    ready = remote(place)
    for i in range(2): ready.put('b/m', i)
    ready.put_many({f'b/q{i}': i for i in range(50)}); ready.put('c/m', 1)
    with Proxy(seaweed.endpoint) as proxy:
        for verb, ask in VERBS.items():
            for known in (False, True):
                store = remote(place, proxy.endpoint, timeout=10.0)
                if known: store.get('b/m')
                for b in (store.origin.place, *(b.backend for b in store.origin._buckets.values())):
                    b.timeout = timeout
                    b._clients.clear()
                store.timeout = timeout
                with proxy.fault(kind, **dict(length='original') if kind == 'truncate' else {}):
                    began = time.monotonic()
                    try: ask(store)
                    except ObjectStoreError: pass
                    except Exception as e: odd.append((verb, repr(e)))
                    waits[verb, known] = time.monotonic() - began
    worst = max(waits, key=waits.get)
    figure(f'13 {kind}, a time-out of {timeout} s', verbs=len(VERBS), longest=waits[worst], of=worst[0],
           foreign=len(odd))
    assert not odd, odd[:5]
    assert waits[worst] < 20 * timeout * PATIENCE, sorted(((w, v) for v, w in waits.items()), reverse=True)[:6]
