"""Dates: an exhaustive model of how versions get them, and the same on the real code, with clocks a year off, frozen
writers and copies of the storage.

What must hold: dates rise with the numbers; what is acknowledged is dated neither into the past, where somebody may
have asked already, nor
far into the future; a copy of the storage, made in any order and at any time, shows the same dates and answers the same
questions.
"""
from __future__ import annotations
import time
from contextlib import ExitStack
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st
from exploring import Explored, explore
from objectstore import NotFound
from objectstore.format import origin_clock, commit, records
from objectstore.versions import version
from objectstore.storage.backend import Capabilities, MemoryBackend, key_number
from objectstore.format.origin_clock import moment
from planting import planted, spare
from trial import SOAK, Wrapped, soak, store_over

pytestmark = pytest.mark.usefixtures('own_cache')


# An exhaustive model. One unit is a microsecond; for the model's sake a second has 1,000 of them, and time goes on by
# half seconds

SECOND, TICK, LATE, YEAR = 1000, 500, 1000, 1_000_000

class Writer(NamedTuple):
    puts: int                  # still to be made
    lag: int                   # how far its clock is behind: answers are cut to whole seconds
    does: str = 'look'         # look, date, send, abandon
    n: int = 0                 # the number that it tries
    after: int = 0             # what it comes behind
    at: int = 0                # the date that it took,
    dated: int = 0             # and when

class Stored(NamedTuple):
    at: int
    when: int                  # it was written
    state: str                 # unanswered, acknowledged, abandoned

class State(NamedTuple):
    time: int
    store: tuple[Stored, ...]
    writers: tuple[Writer, ...]

def model(last: int, whole: bool, bug: str = ''):
    "The steps of time and of all writers; `whole`: listings show whole seconds"
    def listed(s: State) -> int:
        "What the date of the last one is at most, by a listing"
        n, t = len(s.store), s.store[-1].when
        cut = SECOND if whole else 0
        return (t // SECOND * SECOND if whole else t) + (0 if bug == 'no second' else cut) + (
            0 if bug == 'no microsecond a number' else n)

    def clock(s: State, i: int, w: Writer) -> int:
        if bug == 'the wall clock' and i == 0: return s.time + YEAR
        if bug == 'a slow wall clock' and i == 0: return s.time - YEAR
        return s.time - w.lag

    def steps(s: State):
        if s.time < last: yield 'time passes', s._replace(time=s.time + TICK)
        for i, w in enumerate(s.writers):
            if not w.puts: continue
            def go(t: State, **change) -> State:
                return t._replace(writers=(*t.writers[:i], w._replace(**change), *t.writers[i + 1:]))
            def mark(state: str) -> State:
                return s._replace(store=tuple(x._replace(state=state) if k == w.n - 1 else x
                                              for k, x in enumerate(s.store)))
            if w.does == 'look':
                yield f'{i} looks', go(s, does='date', n=len(s.store) + 1, after=listed(s) if s.store else 0)
            elif w.does == 'date':
                yield f'{i} dates {w.n}', go(s, does='send',
                                             at=max(clock(s, i, w), w.after + (0 if bug == 'no +1' else 1)),
                                             dated=s.time)
            elif w.does == 'send' and w.n <= len(s.store):
                yield f'{i} finds {w.n} taken', go(s, does='date', n=w.n + 1, after=max(w.after, s.store[w.n - 1].at))
                yield f'{i} finds {w.n} taken, and looks', go(
                    s, does='date', n=len(s.store) + 1,
                    after=max(w.after, s.store[w.n - 1].at, listed(s) if len(s.store) > w.n else 0))
            elif w.does == 'send':
                yield f'{i} sends {w.n}', go(s._replace(store=(*s.store, Stored(w.at, s.time, 'unanswered'))),
                                             does='hear')
            elif w.does == 'hear' and s.time - w.dated > LATE and bug != 'no rule of lateness':
                yield f'{i} abandons {w.n}', go(mark('abandoned'), does='date', n=w.n + 1, after=w.at)
            elif w.does == 'hear':
                yield f'{i} has {w.n}', go(mark('acknowledged'), puts=w.puts - 1, does='date', n=w.n + 1, after=w.at,
                                           at=0, dated=0)
    return steps

def wrong(s: State) -> str | None:
    "What must hold in every state"
    kept = [x for x in s.store if x.state != 'abandoned']
    if any(a.at >= b.at for a, b in zip(kept, kept[1:])): return 'dates do not rise'
    for x in s.store:
        if x.state == 'acknowledged' and x.at < x.when - LATE - SECOND: return 'put into the past'
        if x.at > x.when + 2 * SECOND: return 'dated into the future'
    return None

def check(puts: tuple[int, ...], last: int, whole: bool, bug: str = '') -> Explored:
    writers = tuple(Writer(n, lag) for n, lag in zip(puts, (0, TICK, 0)))
    return explore(State(5 * SECOND, (), writers), model(5 * SECOND + last, whole, bug), wrong)

@pytest.mark.parametrize('whole', [True, False])
@pytest.mark.parametrize('puts, last',
                         [((1, 1, 1), 1000), ((2, 1), 2000)] + [((2, 1, 1), 1000), ((2, 2), 2000)] * (SOAK >= 10))
def test_dates(puts, last, whole, figure):
    found = check(puts, last, whole)
    figure(f'25 model of dates: puts {puts}, {last / SECOND} s, {"whole seconds" if whole else "exact listings"}',
           states=found.states, wrong=found.wrong or 'nothing')
    assert not found.wrong, (found.wrong, found.trace)
    assert found.ends

@pytest.mark.parametrize('bug, puts, why',
                         [('no +1', (2, 1), 'dates do not rise'), ('no second', (1, 1), 'dates do not rise'),
                          ('no microsecond a number', (1, 2, 1), 'dates do not rise'),
                          ('the wall clock', (1, 1), 'dated into the future'),
                          ('a slow wall clock', (1, 1), 'put into the past'),
                          ('no rule of lateness', (1,), 'put into the past')])
def test_planted_datings_are_caught(bug, puts, why):
    found = check(puts, 2500, True, bug)
    assert found.wrong == why, (bug, found)


# The same on the real code

class Origin(MemoryBackend):
    "A service with a clock of its own, whose listings show whole seconds or more"
    def __init__(self, world: World, cut: float):
        super().__init__()
        self.world, self.cut, self.can = world, cut, Capabilities('remote', probe=True, many=1)
    def create(self, key, data):
        self.world.now += 3e-6
        with self._lock:
            if key in self._objects: return False
            self._objects[key] = (bytes(data), self.world.now // self.cut * self.cut if self.cut else self.world.now)
            return True
    def copied(self, times) -> Origin:
        "A copy of all that is stored, whose objects got these times, whatever they had"
        to = Origin(self.world, self.cut)
        to._objects = {k: (data, next(times)) for k, (data, _) in self._objects.items()}
        return to

class Machine(Wrapped):
    """One process: it asks the origin for its time, which answers in whole seconds, and it may freeze between its look
    at the clock and its write"""
    def __init__(self, origin: Origin, name: str):
        super().__init__(origin)
        self.name, self.before = f'{id(origin)} {name}', None
    clock = property(lambda self: self.name)
    def ask_time(self): return float(int(self.inner.world.now))
    def call(self, op, key, run):
        if op == 'create' and '/records/' in key and not key_number(key)[1] and (before := self.before):
            self.before = None
            before()
        return run()

class World:
    "Time, and who uses it. The machines' own clocks are a year off"
    def __init__(self, cut: float, off: float):
        self.now, self.off = 1_800_000_000.25, off
        self.origin = Origin(self, cut)
        self.machines = [Machine(self.origin, str(i)) for i in range(3)]
        self.stores = [store_over(m) for m in self.machines]
        self.acknowledged: dict[int, float] = {}      # version: when its put returned

    def running(self) -> float: return self.now - 1_700_000_000
    def put(self, i: int) -> None:
        v = self.stores[i].put('lab/m', {'by': i})
        self.acknowledged[v.version] = self.now

    def __enter__(self):
        self.stack = ExitStack()
        for module in (origin_clock, records, commit):
            self.stack.enter_context(planted(module, 'running', spare(self.running)))
        real = time.time
        self.stack.enter_context(planted(time, 'time', spare(lambda: real() + self.off)))
        return self
    def __exit__(self, *_): self.stack.close()

def told(world: World) -> list[tuple[int, float]]:
    "Number and date, in seconds, of every version that was given"
    b = store_over(Machine(world.origin, 'who looks')).origin.bucket('lab')
    return [(n, b.record('m', n).at / 1e6) for n in b.given('m', b.numbers('m'))]

def mistakes(world: World) -> list[str]:
    "What is wrong with the dates"
    dates = told(world)
    found = [f'{a} and {b} do not rise' for (_, a), (_, b) in zip(dates, dates[1:]) if a >= b]
    for n, at in dates:
        if not -62 < at - (when := world.acknowledged.get(n, at)) < 1.1:
            found.append(f'{n} is dated {at - when:.3f} s from its acknowledgement')
    return found

def answers(origin: Origin, moments: list) -> list:
    "What a store on these bytes answers to questions of time, and all dates"
    s = store_over(Machine(origin, 'who asks'))
    def ask(t):
        try: return s[f'lab/m@{t.isoformat()}'].ref
        except NotFound as e: return str(e)
    try: versions = [(v.ref, v.created) for v in s.versions('lab/m')]
    except NotFound as e: versions = [str(e)]      # all of them were removed
    try: aliases = s.aliases('lab/m')
    except NotFound as e: return [ask(t) for t in moments] + versions + [str(e)]
    return [ask(t) for t in moments] + versions + [
        (m['to'], m['when']) for m in (aliases.history('best') if 'best' in aliases else [])]

steps = st.lists(st.one_of(st.tuples(st.just('put'), st.integers(0, 2)), st.tuples(st.just('put'), st.integers(0, 2)),
                           st.tuples(st.just('pass'), st.sampled_from([0.0004, 0.3, 0.7, 1.0, 90.0, 4000.0])),
                           st.tuples(st.just('overlap'), st.integers(0, 2), st.integers(0, 2)),
                           st.tuples(st.just('freeze'), st.integers(0, 2), st.sampled_from([0.5, 61.0, 3700.0])),
                           st.tuples(st.just('remove'), st.integers(1, 6)),
                           st.tuples(st.just('alias'), st.integers(1, 6))), min_size=1, max_size=12)

def run(world: World, plan: list) -> None:
    for what, *args in plan:
        if what == 'put': world.put(args[0])
        elif what == 'pass': world.now += args[0]
        elif what == 'overlap' and args[0] != args[1]:
            world.machines[args[0]].before = lambda: world.put(args[1])
            world.put(args[0])
        elif what == 'freeze':
            def freeze(): world.now += args[1]
            world.machines[args[0]].before = freeze
            world.put(args[0])
        elif what in ('remove', 'alias'):
            try:
                world.stores[0].remove(f'lab/m@{args[0]}',
                                       force=True) if what == 'remove' else world.stores[1].set_alias(
                    f'lab/m@{args[0]}', 'best')
            except NotFound: pass

quick = settings(max_examples=soak(40), deadline=None, suppress_health_check=list(HealthCheck))

@quick
@given(steps, st.sampled_from([1.0, 0.001, 0.0]), st.sampled_from([-31_536_000.0, 31_536_000.0]))
def test_writers_with_clocks_a_year_off(plan, cut, off):
    with World(cut, off) as world:
        run(world, plan)
        if world.acknowledged: assert not mistakes(world)

@quick
@example([('put', 0), ('remove', 1)], [1.7e9], 1.0)
@given(steps, st.lists(st.floats(1_700_000_000, 1_900_000_000), min_size=1, max_size=20), st.sampled_from([1.0, 0.0]))
def test_copies_of_the_storage_keep_dates(plan, times, cut):
    with World(cut, 31_536_000.0) as world:
        run(world, plan)
        if not world.acknowledged: return
        moments = [moment(int((at + d) * 1e6)) for _, at in told(world) for d in (-0.1, 0, 0.1)]
        copy = world.origin.copied(iter(t for _ in range(200) for t in times))
        assert answers(copy, moments) == answers(world.origin, moments)

PLAN = [('put', 0), ('put', 1), ('put', 2), ('pass', 90.0), ('put', 1), ('overlap', 0, 1), ('put', 2),
        ('freeze', 2, 3700.0), ('put', 0), ('remove', 2), ('alias', 3)]

def test_a_plan_that_holds():
    with World(1.0, 31_536_000.0) as world:
        run(world, PLAN)
        assert not mistakes(world) and len(told(world)) == 9

def mistaken(monkeypatch, plant) -> list[str]:
    with World(1.0, 31_536_000.0) as world:
        fired = plant(monkeypatch)
        run(world, PLAN)
        assert fired, 'the planted fault did not fire'
        return mistakes(world)

def wall_clock(monkeypatch):
    fired = []
    monkeypatch.setattr(origin_clock, '_ask_time', lambda backend: fired.append(1) or time.time())
    return fired

def never_late(monkeypatch):
    fired = []
    monkeypatch.setattr(records.Claim, 'late', property(lambda self: fired.append(1)))
    return fired

def nothing_before(monkeypatch):
    fired = []
    monkeypatch.setattr(commit.Bucket, 'date_before', lambda self, item, n: fired.append(1) or 0)
    return fired

@pytest.mark.parametrize('plant', [wall_clock, never_late, nothing_before])
def test_planted_faults_in_the_code_are_caught(plant, monkeypatch):
    assert mistaken(monkeypatch, plant)

def test_planted_the_time_of_a_listing_is_caught(monkeypatch):
    "What `created` was before: the time that a listing shows"
    fired = []
    def listed(self): fired.append(1); return moment(int(self._in.numbers(self.item).made[self.version] * 1e6))
    monkeypatch.setattr(version.Version, 'created', property(listed))
    with World(1.0, 31_536_000.0) as world:
        run(world, PLAN)
        copy = world.origin.copied(iter(1_750_000_000.0 + i for i in range(1000)))
        assert answers(copy, []) != answers(world.origin, []) and fired
