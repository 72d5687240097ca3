"""Exhaustive models of what becomes of a version: the code of removers, restorers, readers and a put that gives its
number up, and an eraser, stopped between any two steps (`stepping`), beside a collector, which is retold."""
from __future__ import annotations
from collections.abc import Callable
import pytest
from blake3 import blake3
from exploring import Explored, explore
from objectstore.errors import Conflict, Damaged, NotFound
from objectstore.format import states
from objectstore.format.buckets import BucketStates
from objectstore.format.commit import Bucket, BucketErasures, BucketRemovals, Commit
from objectstore.format.records import pack, payload_key, read_move
from objectstore.format.states import ERASED, Numbers, last_beside
from objectstore.storage.backend import Capabilities, Entry
from planting import planted
from stepping import NOW, Code, Run, Storage, held, noted, stepping, steps
from test_model_commit import BYTES, bucket, collects, draft, puts, version, wrong

FOLDER, FIRST = 'records/m/@/', 'records/m/@/0000000001'
LISTED = Capabilities('shared')                   # asked by listing
SERVICE = Capabilities('remote', wait=0.1)        # exact numbers by two small requests
PUT = '1' * 16
PAYLOAD = payload_key(blake3(BYTES).hexdigest(), PUT)
WHOLE = {FIRST: pack(draft('A').record('b', 'm', 1, PUT, NOW * 10**6)), PAYLOAD: BYTES}     # a version, and its bytes

def code(by: str, do: Callable[[Bucket, Run], object], can: Capabilities) -> Code:
    "Something done to the first version of an item, by a process that has read nothing yet"
    def call(run: Run) -> None:
        try: said = do(bucket(run), run)
        except (ConnectionError, NotFound, Damaged, Conflict) as e: said = (type(e).__name__,)
        run.noted.append((by, said))
    return Code(by, call, can)

def removes(by: str, can: Capabilities = SERVICE) -> Code:
    return code(by, lambda b, run: b.is_live('m', 1) and ('removed', b.remove('m', 1, by)), can)

def restores(by: str, can: Capabilities = SERVICE) -> Code:
    return code(by, lambda b, run: ('restored', b.restore('m', 1, by).version), can)

def removes_and_reads(by: str, can: Capabilities = SERVICE) -> Code:
    "The reader knows nothing, and begins when the removal was acknowledged"
    return code(by, lambda b, run: ('saw', b.remove('m', 1, by), bucket(run).is_live('m', 1)), can)

def erases(by: str, can: Capabilities = SERVICE) -> Code:
    "What an eraser marks, before anything is deleted; what it sees behind it; and a reader that begins then"
    def erase(b: Bucket, run: Run) -> tuple:
        b.mark_erased('m', 1, by, 'asked for')
        last = last_beside(b.around('m', 1).marks[1])
        return 'erased', last, bucket(run).is_live('m', 1)
    return code(by, erase, can)

def wrong_states(s: Storage) -> str | None:
    "What must hold in every state"
    objects = held(s)
    numbers = Numbers(Entry(k, 1, NOW) for k in objects if k.startswith(FOLDER))
    last = last_beside(numbers.marks.get(1, ()))
    if {int(m) for m in numbers.marks.get(1, ()) if m.isdecimal()} != {*range(1, last + 1)}: return 'a gap'
    moves = [read_move(objects[f'{FIRST}.{k}'], f'{FIRST}.{k}') for k in range(1, last + 1)]
    said = [m['is'] for m in moves]
    turns = [w == 'restored' for w in said] == [k % 2 == 1 for k in range(last)]
    if not turns or 'abandoned' in said[1:]: return 'out of turn'
    if len({m['id'] for m in moves}) < len(moves): return 'a move made twice'
    by = {m['by']: k for k, m in enumerate(moves, 1)}
    told = [x for x in noted(s) if len(x) == 2 and isinstance(x[1], tuple)]
    erased = [what[1] for _, what in told if what[0] == 'erased']
    for who, what in told:
        if why := _wrong_said(who, what, by, last, erased, objects): return why
    return None

def _wrong_said(who: str, what: tuple, by: dict, last: int, erased: list[int], objects: dict) -> str | None:
    "`by`: who made which move; `erased`: the last move that each eraser saw behind its mark"
    match what:
        case ('removed', True) if who not in by: return 'a removal is lost'
        case ('saw', _, True) if not any(k % 2 == 0 for k in range(by.get(who, 0), last + 1)): return 'a stale read'
        case ('erased', _, True): return 'what was erased is read'
        case ('restored', _) if who in by:
            if any(seen < by[who] for seen in erased): return 'what was erased is called restored'
            lives = last == by[who] and f'{FIRST}.{ERASED}' not in objects
            if lives and version(objects[FIRST], 1).put and PAYLOAD not in objects:
                return 'the bytes of what was restored are lost'
    return None

def explored(*runs: Code, faults: int = 0, objects: dict[str, bytes] = WHOLE,
             right: Callable[[Storage], str | None] = wrong_states) -> Explored:
    with stepping():
        return explore(Storage(tuple((c, ()) for c in runs), frozenset(objects.items()), faults=faults), steps, right)

def shown(figure, what: str, found: Explored) -> None:
    figure(f'16 the code of states: {what}', states=found.states, violations=found.wrong or 0)
    assert not found.wrong, (found.wrong, found.trace)
    assert found.ends

GONE = {**WHOLE}
def gone() -> dict[str, bytes]:
    "The version, removed"
    with stepping():
        key, data = states.beside(FOLDER, 1, 1, dict(id='e' * 32, by='x') | {'is': 'removed'}, NOW * 10**6 + 1)
    return {**WHOLE, key: data}

@pytest.mark.parametrize('can', [SERVICE, LISTED], ids=['service', 'listed'])
def test_removers_and_restorers(can, figure):
    name = 'a service' if can is SERVICE else 'by listing'
    shown(figure, f'two removers, a restorer, {name}',
          explored(removes('r', can), removes_and_reads('q', can), restores('s', can)))
    shown(figure, f'a remover, two restorers of what was removed, {name}',
          explored(removes('r', can), restores('s', can), restores('t', can), objects=gone()))
    shown(figure, f'a remover that reads, a restorer, 2 faults, {name}',
          explored(removes_and_reads('q', can), restores('s', can), faults=2))

def test_an_eraser(figure):
    shown(figure, 'an eraser, a restorer, a remover',
          explored(erases('e'), restores('s'), removes('r'), objects=gone()))
    shown(figure, 'an eraser, a restorer, 1 fault', explored(erases('e'), restores('s'), faults=1, objects=gone()))

def test_a_collector(figure):
    shown(figure, 'a collector, a restorer, a remover', explored(collects('gc'), restores('s'), removes('r'),
                                                                 objects=gone()))

def both(s: Storage) -> str | None: return wrong(s) or wrong_states(s)

def test_a_put_that_gives_its_number_up(figure):
    shown(figure, 'a put that is answered late, a remover, a restorer, 1 fault',
          explored(puts('a', can=SERVICE), removes('r'), restores('s'), faults=1, objects={}, right=both))

# Planted

def test_planted_no_look_for_erased_after_restoring_is_caught():
    real = BucketRemovals.restore
    class Blind(set):
        def __contains__(self, x): return x != ERASED and super().__contains__(x)
    def restore(self, item, n, by, patience=3.0):
        around, first = self.around, []
        def blind(item, n):
            found = around(item, n)
            if first: found.marks[n] = Blind(found.marks[n])
            first.append(1)
            return found
        self.around = blind
        return real(self, item, n, by, patience)
    with planted(BucketRemovals, 'restore', restore): found = explored(erases('e'), restores('s'), objects=gone())
    assert found.wrong == 'what was erased is called restored', (found.wrong, found.trace)

def test_planted_a_reader_that_overlooks_erased_is_caught():
    def blind(marks): return last_beside(marks) % 2 == 1
    with planted(states, 'is_dead', blind):
        found = explored(erases('e'), restores('s'), objects=gone())
    assert found.wrong == 'what was erased is read', (found.wrong, found.trace)

def test_planted_erasing_without_an_odd_move_is_caught():
    with planted(BucketErasures, 'remove', lambda self, item, n, by: False): found = explored(erases('e'))
    assert found.wrong == 'what was erased is read', (found.wrong, found.trace)

def test_planted_a_refused_mark_that_is_believed_is_caught():
    "A mark that is refused for nothing, or whose reply is lost, is read back"
    def mark(self, item, n, by, reason):
        self.remove(item, n, by)
        try: self.backend.create(self.key(item, n, ERASED), b'{}')
        except ConnectionError: pass
    with planted(BucketErasures, 'mark_erased', mark):
        found = explored(erases('e'), restores('s'), faults=1, objects=gone())
    assert found.wrong in ('what was erased is read', 'what was erased is called restored'), (found.wrong, found.trace)

def test_planted_abandoning_without_a_look_for_who_removed_is_caught():
    def abandoned(self, r): self.take_away(r, states.move('confirm', **{'is': 'abandoned'})); return True
    with planted(Commit, 'abandoned', abandoned):
        found = explored(puts('a', can=SERVICE), removes('r'), faults=1, objects={}, right=both)
    assert found.wrong == 'doubled', (found.wrong, found.trace)

def test_planted_restoring_without_a_confirmation_is_caught():
    with planted(BucketRemovals, 'confirmed', lambda self, keys: True):
        found = explored(collects('gc'), restores('s'), objects=gone())
    assert found.wrong == 'the bytes of what was restored are lost', (found.wrong, found.trace)

def test_planted_a_reader_that_asks_for_the_first_move_before_its_record_is_still_right():
    "The order of the two does not matter: a record never goes"
    def turned(self, keys): return [*reversed(self.backend.fresh([*reversed(keys)]))]
    with planted(BucketStates, '_asked', turned): assert not explored(removes_and_reads('q'), restores('s')).wrong
