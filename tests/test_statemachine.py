"""Two stores (two machines) over one origin that goes away and comes back, against a model in memory.

The model knows the origin's versions in order, what each machine has pending, and what a machine may answer while the
origin is away: anything that it has seen or made, never anything else. `make soak`: ten times as many examples.
"""
import secrets, tempfile, warnings
from pathlib import Path
import pytest
from hypothesis import HealthCheck, Phase, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from objectstore import Conflict, NotAvailableOffline, NotFound, ObjectStore, PendingWarning, StaleWarning
from objectstore.storage.backend import MemoryBackend
from objectstore.search.changelog import flush_hints
from away import Machine, Service, Switch, forget_all
from trial import SOAK, content, soak, whole

ITEMS = st.sampled_from(['lab/a', 'lab/b'])
WHO = st.sampled_from([0, 1])
SIZE = st.sampled_from([0, 0, 0, 40_000])

class TwoMachines(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        forget_all()
        warnings.simplefilter('ignore', PendingWarning), warnings.simplefilter('ignore', StaleWarning)
        self.temp, self.switch, name = tempfile.TemporaryDirectory(), Switch(), secrets.token_hex(8)
        MemoryBackend._shared[name] = Service(name)
        self.machines = [Machine(Path(self.temp.name), m, f'memory://{name}', self.switch) for m in 'ab']
        self.stores = [m.open() for m in self.machines]
        # only sync() delivers here
        for s in self.stores: s.origin.breaker.back.clear(); s._next_sync = float('inf')
        self.stores[0].put('lab/first', 'x')
        self.live = {}             # item: [(number, name)] live at the origin
        self.last = {}             # item: highest number
        self.alias = {}            # item: number
        self.waits = [[], []]      # of each machine: (op, item, name or number)
        self.n = 0

    def teardown(self):
        self.switch.mode = None
        flush_hints()      # nothing is written any more into what is removed now
        self.temp.cleanup()
        forget_all()

    def fresh(self) -> str: self.n += 1; return f'{self.n}'
    @property
    def away(self) -> bool: return self.switch.mode is not None
    def pending(self, who, item): return [w for w in self.waits[who] if w[1] == item]
    def names(self, who, item): return [x for op, i, x in self.waits[who] if i == item and op == 'put']
    def going(self, who, item): return {x for op, i, x in self.waits[who] if i == item and op == 'remove'}

    def stored(self, item, name) -> int:
        n = self.last[item] = self.last.get(item, 0) + 1
        self.live.setdefault(item, []).append((n, name))
        return n
    def removed(self, item, n) -> None: self.live[item] = [(k, x) for k, x in self.live.get(item, []) if k != n]

    @rule(how=st.sampled_from(['refuse', 'hang', 'error']))
    def goes_away(self, how):
        flush_hints()     # one that meets the outage is lost, and a search learns of it when indexes are compared
        self.switch.mode = how

    @rule()
    def comes_back(self):
        self.switch.mode = None
        for s in self.stores: s.origin.breaker.try_now()

    @rule(who=WHO)
    def is_opened_again(self, who):
        self.stores[who].close()
        self.stores[who] = self.machines[who].open()
        self.stores[who].origin.breaker.back.clear()
        self.stores[who]._next_sync = float('inf')

    @rule(who=WHO, item=ITEMS, size=SIZE)
    def puts(self, who, item, size):
        name = self.fresh()
        v = self.stores[who].put(item, content(name, size))
        if self.away or self.names(who, item):
            assert v.pending
            self.waits[who].append(('put', item, name))
        else: assert v.version == self.stored(item, name)
        assert whole(v.get()) == name == whole(self.stores[who].get(item))

    @rule(who=WHO, item=ITEMS)
    def puts_if_latest(self, who, item):
        latest, name = max((n for n, _ in self.live.get(item, [])), default=0), self.fresh()
        try: v = self.stores[who].put(item, content(name), if_latest=latest)
        except (Conflict, NotAvailableOffline): assert self.away or self.names(who, item)
        else:
            assert not self.away and v.version == self.stored(item, name)

    @rule(who=WHO, item=ITEMS)
    def gets(self, who, item):
        store, mine = self.stores[who], self.names(who, item)
        live = [(n, x) for n, x in self.live.get(item, []) if n not in self.going(who, item)]
        try: got = whole(store.get(item))
        except NotFound: assert not mine and (not live and not self.away or self.going(who, item)); return
        except NotAvailableOffline: assert self.away and not mine; return
        if mine: assert got == mine[-1]
        elif not self.away: assert got == live[-1][1]
        else: assert got in {f'{k}' for k in range(1, self.n + 1)}

    @rule(who=WHO, item=ITEMS)
    def lists(self, who, item):
        if self.away: return
        try: refs = self.stores[who].versions(item).refs
        except NotFound: refs = []
        live = [f'{item}@{n}' for n, _ in self.live.get(item, []) if n not in self.going(who, item)]
        assert refs[:len(live)] == live and len(refs) == len(live) + len(self.names(who, item))
        flush_hints()     # a search is told of what others did by their hints
        found = [v for v in self.stores[who].find_items('lab', at='*') if v.ref.startswith(item + '@')]
        assert sorted(v.ref for v in found) == sorted(refs)

    @precondition(lambda self: any(self.live.values()))
    @rule(who=WHO, data=st.data())
    def removes(self, who, data):
        item, n = data.draw(st.sampled_from([(i, n) for i, l in self.live.items() for n, _ in l]))
        if self.alias.get(item) == n or any(w[0] == 'alias' and w[1] == item for waits in self.waits for w in waits):
            return
        store = self.stores[who]
        queued = self.away or bool(self.pending(who, item))
        try: assert store.remove(f'{item}@{n}') == 1
        except NotFound: assert n in self.going(who, item); return
        except NotAvailableOffline: assert self.away; return
        if queued: self.waits[who].append(('remove', item, n))
        else: self.removed(item, n)
        with pytest.raises((NotFound, NotAvailableOffline)): store.get(f'{item}@{n}')

    @precondition(lambda self: any(self.live.values()) and not self.away)
    @rule(who=WHO, data=st.data())
    def points(self, who, data):
        item, n = data.draw(st.sampled_from([(i, n) for i, l in self.live.items() for n, _ in l]))
        if any(self.pending(w, item) for w in (0, 1)): return
        self.stores[who].set_alias(f'{item}@{n}', 'production')
        self.alias[item] = n
        for s in self.stores: assert s[f'{item}@production'].version == n and s.aliases(item) == {'production': n}

    @rule(who=WHO)
    def delivers(self, who):
        report = self.stores[who].sync()
        if self.away: assert len(report.waiting) == len(self.waits[who]); return
        assert not report.waiting and len(report) == len(self.waits[who]), report
        for outcome, (op, item, x) in zip(report, self.waits[who]):
            if op == 'put': assert outcome.became == f'{item}@{self.stored(item, x)}'
            elif outcome.became == 'conflict': assert self.alias.get(item) == x
            else: self.removed(item, x)
        self.waits[who] = []

    @invariant()
    def queues_agree(self):
        for who, store in enumerate(self.stores):
            assert [(w.op, w.name) for w in store.pending.work()] == [(op, item) for op, item, _ in self.waits[who]]

    @invariant()
    def the_origin_is_what_was_acknowledged(self):
        objects = self.stores[0].origin.place.origin.inner.inner._objects
        made = {k for k in objects if '/records/' in k and k.rpartition('/')[2].isdigit() and 'first' not in k}
        assert len(made) == sum(self.last.values())

def machine(examples: int, steps: int, derandomize: bool = True):
    run_state_machine_as_test(TwoMachines,
                              settings=settings(max_examples=examples, stateful_step_count=steps, deadline=None,
                                                database=None, suppress_health_check=list(HealthCheck),
                                                phases=[Phase.generate] if SOAK == 1
                                                else [Phase.generate, Phase.shrink], derandomize=derandomize))

def test_two_machines_against_a_model(clean, figure):
    n = soak(25, 300)
    machine(n, 30, SOAK == 1)
    figure('11 a state machine of two machines', examples=n, steps=30)

@pytest.mark.parametrize('name', ['_waiting', '_going'])
def test_planted_pending_work_that_is_not_seen_is_caught(clean, monkeypatch, name):
    monkeypatch.setattr(ObjectStore, name, lambda self, *args: None if name == '_waiting' else set())
    with pytest.raises(BaseException): machine(500, 30)       # stops at the first that shows it; mostly within 25
