"""The collector's code itself, in every order of its steps with those of puts, deliveries, restores, removals and other
runs: is the payload of an acknowledged version ever taken?

Nothing is retold here: all of them are the library's own functions over a backend that stops between any two steps
(`stepping`). All runs of the collector think that an hour and the period of grace have passed, so nothing but the order
of steps protects what is new; a payload may be deleted again later by a request that was sent twice; a look at a
payload
and its marks is not of one moment.
"""
import functools
from contextlib import contextmanager
from itertools import islice
import pytest
from blake3 import blake3
from objectstore.care import collect, ledger
from objectstore.care.collect import Collecting, Run as Collector, Survey
from objectstore.errors import ObjectStoreError
from objectstore.format import commit, states
from objectstore.format.commit import Bucket, BucketPayloads, Commit, Draft, Payload, parse_listing
from objectstore.format.records import payload_key, unpack
from objectstore.format.states import Numbers
from objectstore.plans import Plan
from objectstore.storage.backend import Entry, MemoryBackend
from objectstore.cache.replay import deliver_draft
from exploring import Explored, explore
from planting import planted
from stepping import LARGE, NOW, Code, Run, Storage, held, noted, stepping, steps
from test_model_commit import BYTES, FILES, draft
from trial import SOAK

HASH, OLD = blake3(BYTES).hexdigest(), '1' * 16
KEY = payload_key(HASH, OLD)

@functools.cache
def stored(*, alive: bool = False, catalog: bool = False) -> frozenset:
    "A bucket with one version of a large payload, which was removed"
    place = MemoryBackend()
    with pytest.MonkeyPatch.context() as m:
        m.setattr(commit, 'INLINE_LIMIT', LARGE - 1)
        m.setattr(commit, 'put_id', lambda: OLD)
        b = Bucket('b', place)
        b.put('m', draft('O'))
        if not alive: b.remove('m', 1, 'ann')
    place.create('state/0000000001', b'{}')
    return frozenset((k, data) for k, (data, _) in place._objects.items())

def run(name: str, call, again: bool = False) -> Code:
    def safely(r: Run) -> None:
        b = Bucket('b', r)
        b.sight.moves = True
        try: r.noted.append((name, call(b)))
        except (OSError, ObjectStoreError) as e: r.noted.append((name, type(e).__name__))
    return Code(name, safely, FILES, again)

def puts(name: str, known: bool = False) -> Code:
    "A put; it shares the old payload where it knows it"
    def call(b):
        if known: b.puts[HASH] = OLD
        return 'acknowledged', name, b.put('m', draft(name)).version
    return run(f'put {name}', call)

def delivers(name: str, by: str, known: bool = False, again: bool = False) -> Code:
    def call(b):
        if known: b.puts[HASH] = OLD
        return 'acknowledged', name, deliver_draft(b, 'm', draft(name), 1, 3.0, False).version
    return run(f'{by} delivers {name}', call, again)

def restores() -> Code: return run('restore', lambda b: ('restored', b.restore('m', 1, 'ann').version))
def removes(n: int) -> Code: return run(f'remove {n}', lambda b: ('removed', n, b.remove('m', n, 'ann')))

def collects(name: str = 'gc') -> Code:
    def call(b):
        acts = Collecting([b], lambda b: NOW + 7200.0, lambda b: lambda item: 0.0)
        return 'collected', len(Plan('gc', 'b', acts.steps(), acts).apply().done)
    return run(name, call)

def sweeps(name: str = 'sweep') -> Code:
    "A run a day later, of which only what it sweeps counts here: what it looks at first is a day old then"
    def call(b):
        acts = Collecting([b], lambda b: NOW + 90_000.0, lambda b: lambda item: 1e9)
        steps = acts.steps()
        b.backend.create('tick', b'')            # the day goes by; who is looking at something sees that
        return 'swept', len(Plan('gc', 'b', steps, acts).apply().done)
    return run(name, call)

@functools.cache
def version(data: bytes, n: int): return unpack(data, 'b', 'm', n)

def wrong(s: Storage) -> str | None:
    objects = held(s)
    numbers = Numbers(Entry(k, 1, NOW) for k in objects if k.startswith('records/'))
    if sorted(numbers.made) != [*range(1, len(numbers.made) + 1)]: return 'a gap'
    said = [x for _, x in noted(s) if isinstance(x, tuple)]
    removed = {x[1] for x in said if x[0] == 'removed'} | {n for (c, a) in s.runs for n in (1, 2) if c is not None and
                                                         isinstance(c, Code) and c.name == f'remove {n}'}
    for n in {x[-1] for x in said if x[0] in ('acknowledged', 'restored')}:
        r = version(objects[f'records/m/@/{n:010d}'], n)
        if n not in numbers.live and n not in removed: return 'an acknowledged version is gone'
        if n in numbers.live and r.put and payload_key(r.hash, r.put) not in objects:
            return 'an acknowledged payload is lost'
    given = {x[1:] for x in said if x[0] == 'acknowledged'}
    if len(given) > len({name for name, _ in given}): return 'one put, two numbers'
    return None

def torn_list(self, folder, after=None, limit=None):
    "A look at payloads is not of one moment: keys are seen first, and marks later"
    first = self.ask('list', folder, b'', after, limit)
    if folder.startswith('payloads/'):
        later = self.ask('list', folder, b'', after, limit)
        first = sorted({k for k in first if '.gc-' not in k} | {k for k in later if '.gc-' in k})
    return islice((Entry(k, 1, NOW) for k in first), limit)

@contextmanager
def surroundings(torn: bool, day: bool):
    with stepping(), pytest.MonkeyPatch.context() as m:
        import stepping as at
        m.setattr(collect, 'new_id', lambda: at._now.next_id())
        m.setattr(states, 'origin_now', lambda backend: NOW * 10**6)
        if torn: m.setattr(Run, 'list', torn_list)
        if day: m.setattr(commit, 'awake', lambda: 1e6 * at._now.ask('exists', 'tick'))
        yield

def explored(*runs: Code, faults: int = 0, crashes: int = 0, torn: bool = False, day: bool = False,
             objects: frozenset | None = None, check=wrong) -> Explored:
    start = Storage(tuple((c, ()) for c in runs), stored() if objects is None else objects, faults=faults,
                    crashes=crashes)
    with surroundings(torn, day): return explore(start, steps, check)

def shown(figure, what: str, found: Explored) -> None:
    figure(f'15 the code of the collector: {what}', states=found.states, violations=found.wrong or 0)
    assert not found.wrong, (found.wrong, found.trace)
    assert found.ends


CASES = {
    'a put that shares, a run': lambda: explored(puts('A', True), collects()),
    'a put that uploads, a run': lambda: explored(puts('A'), collects()),
    'a put that shares, a run, 1 fault': lambda: explored(puts('A', True), collects(), faults=1),
    'a put that shares, a run, torn looks': lambda: explored(puts('A', True), collects(), torn=True),
    'two deliveries, a run': lambda: explored(delivers('A', 'p', True), delivers('A', 'q'), collects()),
    'a restore, a run': lambda: explored(restores(), collects()),
    'a put that shares, two runs': lambda: explored(puts('A', True), collects(), collects('gd')),
}

LONG = {'a put that shares, two runs', 'two deliveries, a run'}

def unless_soak(
    of: float = 1.01,   # As often as this, or more often
) -> None:
    if of > SOAK: pytest.skip('make soak goes through this one: tens of thousands of states')

@pytest.mark.parametrize('what', CASES)
def test_nothing_that_is_named_is_taken(what, figure):
    if what in LONG: unless_soak()
    shown(figure, what, CASES[what]())

def test_marks_swept_a_day_later(figure):
    "What is swept are marks of payloads that are gone; a look that began before the day went by is made again"
    unless_soak()
    shown(figure, 'a put that shares, a run, a sweep a day later, torn looks',
          explored(puts('A', True), collects(), sweeps(), torn=True, day=True))

def test_a_removal_beside_a_run(figure):
    "A version that is removed meanwhile, by whoever has seen it, stays delivered, and gives its number to nobody else"
    shown(figure, 'a delivery, its removal, a run, a crash',
          explored(delivers('A', 'p', True, again=True), removes(2), collects(), crashes=1))

def test_restores_beside_a_delivery(figure):
    unless_soak()
    shown(figure, 'a restore, a put that shares, a run', explored(restores(), puts('A', True), collects()))


# Planted

LOST = 'an acknowledged payload is lost'

def naive(self, keys, free):
    "No mark, and no second look"
    return dict.fromkeys(keys, '')

def marks_late(self, keys, free):
    "The records are listed before the marks are made"
    now = Survey(self.bucket, self.survey.ledger)
    still = free(now)
    marked = {*self.marked([k for k in keys if k in still])}
    return {k: '' if k in marked and self._takes(k) else 'no' for k in keys}

def takes_unasked(self, key): return True

def unmarks(self, keys, free, real=Collector.taken):
    "A run takes its marks away before it deletes"
    said = real(self, keys, free)
    for k in keys: self.place.delete(self.mark_of(k)); self.place.delete(self.mark_of(k) + '.end')
    return said

@pytest.mark.parametrize('name, bug', [('taken', naive), ('taken', marks_late), ('_takes', takes_unasked),
                                       ('taken', unmarks)])
def test_planted_runs_are_caught(name, bug):
    with planted(Collector, name, bug): found = explored(puts('A', True), collects(), torn=bug is unmarks)
    assert found.wrong == LOST, (found.wrong, found.trace)

def no_confirm(self, keys): return True
def sees_no_marks(self, key, found): return key in found

@pytest.mark.parametrize('name, bug', [('confirmed', no_confirm), ('_there', sees_no_marks)])
def test_planted_confirms_are_caught(name, bug):
    with planted(BucketPayloads, name, bug): assert explored(puts('A', True), collects()).wrong == LOST
    with planted(BucketPayloads, name, bug): assert explored(restores(), collects()).wrong == LOST

def test_planted_a_short_look_that_is_believed_for_a_day_is_caught():
    "Marks that are swept while somebody looks at them"
    found = explored(puts('A', True), collects(), sweeps(), torn=True)       # the clock of who looks stands still
    assert found.wrong == LOST, found.wrong

def test_planted_a_delivery_that_gives_up_for_a_mark_is_caught():
    "Before a mark was decided by an object beside it: another delivery may have acknowledged the number"
    def there(self, key, found): return found == {key}
    def taken(self, keys, free, real=Collector.taken):
        said = real(self, keys, free)
        for k in keys:
            if said[k]: self.place.delete(self.mark_of(k))
        return said
    with planted(BucketPayloads, '_there', there), planted(Collector, 'taken', taken):
        found = explored(delivers('A', 'p', True), delivers('A', 'q'), collects())
    assert found.wrong in ('an acknowledged version is gone', 'one put, two numbers'), (found.wrong, found.trace)

def test_planted_a_delivery_that_confirms_other_keys_than_lie_there_is_caught():
    "It finds its write id under a number that another delivery has claimed, with other keys"
    def won(self, n, c):
        self.late, self.found = c.late, False
        return self.bucket.won_now(self.draft.record(self.bucket.name, self.item, n, self.put or '', c.at), 0.0)
    with planted(Commit, 'won', won): found = explored(delivers('A', 'p', True), delivers('A', 'q'), collects())
    assert found.wrong == LOST, (found.wrong, found.trace)

def test_planted_abandoning_without_a_look_for_removed_is_caught():
    "A delivery was seen, and removed, and collected: a crash later it is no failed put"
    def abandoned(self, r):
        self.take_away(r, commit.move('confirm', **{'is': 'abandoned'}))
        return True
    def check(s):
        numbers = Numbers(Entry(k, 1, NOW) for k in held(s) if k.startswith('records/'))
        seen = any(x[0] == 'removed' and x[2] for _, x in noted(s) if isinstance(x, tuple))
        return 'doubled' if seen and numbers.last > 2 else None
    def case():
        return explored(delivers('A', 'p', True, again=True), removes(2), collects(), crashes=1, check=check)
    assert not case().wrong
    with planted(Commit, 'abandoned', abandoned): assert case().wrong == 'doubled'


# Folders: a listing that is a payload, and members that versions share

@functools.cache
def with_folder() -> frozenset:
    "A bucket with one folder of one file, which was removed"
    place = MemoryBackend()
    with pytest.MonkeyPatch.context() as m:
        m.setattr(commit, 'INLINE_LIMIT', LARGE - 1)
        m.setattr(commit, 'put_id', iter([OLD, *(d * 16 for d in '23456')]).__next__)
        b = Bucket('b', place)
        b.put('m', folder('O'))
        b.remove('m', 1, 'ann')
    place.create('state/0000000001', b'{}')
    return frozenset((k, data) for k, (data, _) in place._objects.items())

def folder(name: str) -> Draft:
    one = draft(name.upper())
    return Draft('folder', Payload(0, ''), members=[('a', one.payload)], id=one.id, description=one.description)

def puts_folder(name: str, known: bool = True) -> Code:
    def call(b):
        if known: b.puts[HASH] = OLD
        return 'acknowledged', name, b.put('m', folder(name)).version
    return run(f'put folder {name}', call)

def members_there(s: Storage) -> str | None:
    "Of each acknowledged folder that lives: its listing, and what that lists"
    objects = held(s)
    numbers = Numbers(Entry(k, 1, NOW) for k in objects if k.startswith('records/'))
    for n in {x[-1] for _, x in noted(s) if isinstance(x, tuple) and x[0] in ('acknowledged', 'restored')}:
        r = version(objects[f'records/m/@/{n:010d}'], n)
        if n not in numbers.live: return 'an acknowledged version is gone'
        listing = r.data if not r.put else objects.get(payload_key(r.hash, r.put))
        if listing is None: return LOST
        if any(payload_key(h, p) not in objects for _, h, p in parse_listing(listing, 'm').values()): return LOST
    return None

def test_folders(figure):
    shown(figure, 'a put of a folder that shares its file, a run',
          explored(puts_folder('A'), collects(), objects=with_folder(), check=members_there))
    shown(figure, 'a restore of a folder, a run',
          explored(restores(), collects(), objects=with_folder(), check=members_there))

def test_planted_runs_that_read_no_listings_are_caught():
    def own_alone(bucket, r): return [(payload_key(r.hash, r.put), r.size)] if r.put else []
    with planted(ledger, 'settle_keys', own_alone):
        # a first run marks what no version ever named as far as it sees, and a second one takes it
        found = explored(puts_folder('A'), second_run(), objects=with_folder(), check=members_there)
    assert found.wrong == LOST, (found.wrong, found.trace)

def second_run() -> Code:
    "A run a day after one that has marked what no version named"
    def call(b):
        def run_at(now):
            acts = Collecting([b], lambda b: now, lambda b: lambda item: 0.0)
            return len(Plan('gc', 'b', acts.steps(), acts).apply().done)
        return 'collected', run_at(NOW + 7200.0) + run_at(NOW + 100_000.0)
    return run('gc', call)
