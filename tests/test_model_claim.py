"""An exhaustive model of the claim (`objectstore.format.records.Claim`): writers of one item, over a line that loses,
repeats, delays and refuses for nothing.

A writer that freezes or dies is one that takes no more steps; every interleaving is gone through, so all of those are
in it.
"""
from typing import NamedTuple
import pytest
from exploring import Explored, explore


class Writer(NamedTuple):
    puts: tuple[str, ...]        # still to be made, the first of them now
    at: str = 'start'            # start, send, look, end
    n: int = 0                   # the number that is tried
    known: int | None = None     # the highest number that it has seen, or below the first that it ever tried
    tries: int = 0               # only where planted: write ids used up

class State(NamedTuple):
    store: tuple = ()            # who holds number 1, 2, ...: put and try, or None
    late: frozenset = frozenset()   # requests still on their way: number, who
    faults: int = 0              # that may still happen
    writers: tuple = ()
    acknowledged: frozenset = frozenset()   # put, number
    unknown: frozenset = frozenset()        # puts that were given up with CommitUnknown

def held(s: State, n: int): return s.store[n - 1] if n <= len(s.store) else None
def last(s: State) -> int: return max((i for i, w in enumerate(s.store, 1) if w), default=0)

def create(s: State, n: int, who, overwrites: bool = False) -> State:
    "The request arrives: create-only"
    if held(s, n) and not overwrites: return s
    store = s.store + (None,) * (n - len(s.store))
    return s._replace(store=(*store[:n - 1], who, *store[n:]))

def model(bug: str = '', jump: bool = False):
    "The steps of all writers and of the line; `jump`: after a conflict look for the end, as on services"
    def steps(s: State):
        for n, who in s.late: yield f'late {who} arrives at {n}', create(s, n, who)._replace(late=s.late - {(n, who)})
        for i, w in enumerate(s.writers):
            if not w.puts: continue
            def go(t: State, **change) -> State:
                return t._replace(writers=(*t.writers[:i], w._replace(**change), *t.writers[i + 1:]))
            yield from one(s, w, go)

    def one(s, w, go):
        put, who = w.puts[0], (w.puts[0], w.tries)
        if w.at == 'start':
            known = last(s) if w.known is None else w.known
            yield f'{put} begins', go(s, at='send', n=known + (2 if bug == 'too high a number' else 1), known=known)
        elif w.at == 'send':
            free = not held(s, w.n)
            there = create(s, w.n, who, bug == 'overwrites')
            ok = free or bug == 'overwrites'
            yield f'{put} sends {w.n}', told(there, w, go, 'ok' if ok else 'exists')
            if not s.faults: return
            less = lambda t: t._replace(faults=s.faults - 1)
            yield f'{put} sends {w.n}, reply lost', told(less(there), w, go, 'nothing')
            if ok: yield f'{put} sends {w.n}, sent again by the library', told(less(there), w, go, 'exists')
            yield f'{put} sends {w.n}, never arrives', told(less(s), w, go, 'nothing')
            if free: yield f'{put} sends {w.n}, refused for nothing', told(less(s), w, go, 'exists')
            yield f'{put} sends {w.n}, late', told(less(s._replace(late=s.late | {(w.n, who)})), w, go, 'nothing')
        elif w.at == 'look':
            found = held(s, w.n)
            if found == who: yield f'{put} finds itself at {w.n}', won(s, w, go)
            elif found: yield f'{put} finds another at {w.n}', go(s, at='send', n=next_number(s, w), known=w.n)
            elif bug == 'a new write id':
                yield f'{put} finds nothing, makes itself anew', go(s, at='send', tries=w.tries + 1)
            else: yield f'{put} finds nothing at {w.n}', go(s, at='send')
            yield f'{put} gives up', ended(s._replace(unknown=s.unknown | {put}), w, go, w.known)

    def next_number(s, w): return max(w.n, last(s)) + 1 if jump else w.n + 1
    def told(s, w, go, answer):
        "What a writer does with an answer"
        if answer == 'ok': return won(s, w, go)
        if bug == 'trusts exists' and answer == 'exists': return go(s, n=w.n + 1, known=w.n)
        if bug == 'silence is refusal' and answer == 'nothing': return go(s, n=w.n + 1, known=w.n)
        if bug == 'silence is success' and answer == 'nothing': return won(s, w, go)
        return go(s, at='look')
    def won(s, w, go): return ended(s._replace(acknowledged=s.acknowledged | {(w.puts[0], w.n)}), w, go, w.n)
    def ended(s, w, go, known): return go(s, puts=w.puts[1:], at='start', known=known, n=0, tries=0)
    return steps

def wrong(s: State) -> str | None:
    "What must hold in every state"
    if None in s.store: return 'a gap'
    puts = [w[0] for w in s.store]
    if len(puts) != len(set(puts)): return 'doubled'
    for put, n in s.acknowledged:
        if not held(s, n) or held(s, n)[0] != put: return 'an acknowledged put is lost'
    if len({n for _, n in s.acknowledged}) < len({p for p, _ in s.acknowledged}): return 'a number given twice'
    return None

def check(puts, faults, bug='', jump=False) -> Explored:
    writers = tuple(Writer(p, known=0 if puts.count(p) > 1 else None) for p in puts)
    return explore(State(faults=faults, writers=writers), model(bug, jump), wrong)

three, two, replay = (('a',), ('b',), ('c',)), (('a', 'b'), ('c', 'd')), (('a',), ('a',), ('b',))

@pytest.mark.parametrize('puts, faults, jump',
                         [(three, 3, False), (three, 3, True), (two, 3, False), (two, 3, True), (replay, 3, False)])
def test_claim(puts, faults, jump, figure):
    found = check(puts, faults, jump=jump)
    writers = ' '.join(map(''.join, puts))
    figure(f'3 model of the claim, writers {writers}, {faults} faults{", jumping" * jump}', states=found.states,
           violations=0 if not found.wrong else found.wrong)
    assert not found.wrong, (found.wrong, found.trace)
    assert found.ends

@pytest.mark.parametrize('bug, why',
                         [('trusts exists', 'doubled'), ('silence is refusal', 'doubled'), ('silence is success', None),
                          ('too high a number', 'a gap'), ('overwrites', None), ('a new write id', 'doubled')])
def test_planted_claims_are_caught(bug, why):
    found = check((('a',), ('b',)), 2, bug)
    assert found.wrong and (why is None or found.wrong == why), bug
    assert len(found.trace) < 12

def test_two_who_deliver_the_same_put_must_walk():
    "Two processes replay one put: walking finds it, jumping to the end makes it twice"
    assert check(replay, 1, jump=True).wrong == 'doubled'
