"""Answers that are lost, wrong or late, and disks that are full: nothing acknowledged is lost, nothing is kept twice,
and what nobody knows is said so"""
import errno, os, random, re, subprocess, threading, time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
import pytest
from objectstore import CommitUnknown, NotAvailableOffline, NotFound, ObjectStore, ObjectStoreError
from objectstore import puts, records
from objectstore.backend import MemoryBackend
from objectstore.files import FileBackend
from objectstore.names import Conflict
from objectstore.records import Claim, read_back
from proxy import Proxy
from services import Place
from trial import LONG, WRITES, ServiceLike, Wrapped, content, dense, drafts, named, payloads, records as record_files, remote, store_over, times, whole

pytestmark = pytest.mark.usefixtures('own_cache')


# 3: replies that are lost

class Unsure(Wrapped):
    "A backend across a bad line: a share of its answers is lost, or is another's"
    def __init__(self, inner, seed, share=0.3, late=False):
        super().__init__(inner)
        self.random, self.share, self.some_late, self.waiting, self.lock = random.Random(seed), share, late, [], threading.Lock()
        self.met = Counter()

    def call(self, op, key, run):
        self.deliver(0.2)
        if self.random.random() >= self.share: return run()
        faults = ['never sent', 'reply lost'] + (['sent twice', 'refused for nothing'] + ['late'] * self.some_late if op == 'create' else [])
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
        if count[name]: assert store.get(by) == content(name, len(store.get(by)) - 32 if len(store.get(by)) > 1000 else 0)
        else: assert by not in by_id
    return dict(versions=len(found), lost=len(lost), doubled=sum(n - 1 for n in count.values() if n > 1), unknown=len(outcome.unknown),
                denied=sum(bool(count[n]) for n in outcome.refused))

def good(result) -> bool: return not (result['lost'] or result['doubled'] or result['denied'])


@pytest.fixture
def quick(monkeypatch):
    "Waits of the library take a fiftieth of their time"
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=lambda s: time.sleep(s / 50), strftime=time.strftime, gmtime=time.gmtime)
    for module in (records, puts): monkeypatch.setattr(module, 'time', clock)

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
    for seed in range(times(3, 30)): total.update(over_bad_line(seed, inner, size=size, late=late))
    figure(f'3 replies lost, {inner.__name__}, {"large" if size else "small"}{", some late" * late}', **total)
    assert good(total)

def trusts_exists(self, n):
    "Planted: 'already exists' is taken to mean that the number is another's"
    key, data = self.folder + records.number_key(n), self.build(n)
    try: return self.backend.create(key, data)
    except ConnectionError: self._doubt()
    found = self._look(key)
    return None if found is None else found == data

def reads_nothing_back(self, n):
    "Planted: a lost reply is taken to mean that nothing was kept, and the next number is tried"
    try: return self.backend.create(self.folder + records.number_key(n), self.build(n))
    except ConnectionError: return False

def trusts_silence(self, n):
    "Planted: a lost reply is taken for success"
    try: return self.backend.create(self.folder + records.number_key(n), self.build(n)) or None
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
    with pytest.raises(CommitUnknown, match='b/m@id:') as e: store_over(Breaks(backend), 0.1).put('b/m', content('x', 40_000))
    assert store_over(backend).get(re.search(r'b/m@id:\w+', str(e.value))[0]) == content('x', 40_000)
