"""The eraser's code itself, in every order of its steps with those of puts, deliveries, restores, removals, collectors
and other erasers: is anything of what was erased left, does anything bring it back, and is the payload of another
version ever taken?

The same functions as in `test_model_collect`, over a backend that stops between any two steps (`stepping`).
"""
from dataclasses import replace
import pytest
from objectstore.care import erase
from objectstore.care.erase import Erasure, subject
from objectstore.format import commit, states
from objectstore.format.commit import BucketErasures
from objectstore.format.records import pack, to_json
from objectstore.format.states import ERASED, Numbers, is_tombstone
from objectstore.storage.backend import Entry
from planting import planted
from stepping import NOW, Code, Storage, held, noted
from test_model_collect import (KEY, LOST, collects, delivers, explored, puts, removes, restores, run, stored,
                                unless_soak, version, wrong)
from test_model_commit import BYTES, draft

FIRST = 'records/m/@/0000000001'

def erases(name: str = 'erase', again: bool = False) -> Code:
    "An erasure of the first version; one that dies is begun again"
    def call(b):
        e, s = Erasure(b, name, 'asked for'), subject(b, 'm', 1)
        if why := e.why_not([s]): return 'left', why
        e.mark(s)
        e.decide()
        return 'erased', 1, e.finish('m', 1)
    return run(name, call, again)

def right(s: Storage) -> str | None:
    """What must hold in every state; of the first version: once it was marked, and once an eraser has said that it is
    done"""
    objects = held(s)
    numbers = Numbers(Entry(k, 1, NOW) for k in objects if k.startswith('records/'))
    said = [x for _, x in noted(s) if isinstance(x, tuple)]
    if ERASED in numbers.marks.get(1, ()) and 1 in numbers.live: return 'what was erased lives'
    records = {n: version(objects[f'records/m/@/{n:010d}'], n) for n in numbers.made}
    if any(r.id == draft('O').id for n, r in records.items() if n > 1): return 'what was erased is back'
    if any(x[0] == 'erased' for x in said):
        if not is_tombstone(records[1]) or BYTES in objects[FIRST]: return 'its record is left'
        if KEY in objects and not any(r.put and KEY.endswith(r.put) for r in records.values()):
            return 'its bytes are left'
    others = s._replace(runs=tuple((tuple(x for x in code if not _of_first(x)), None) if answers is None
                                   else (code, answers) for code, answers in s.runs))
    return wrong(others)

def _of_first(x: object) -> bool:
    "Was the first version, which may be erased by now, acknowledged or restored?"
    return (isinstance(x, tuple) and isinstance(x[1], tuple) and x[1][0] in ('acknowledged', 'restored')
            and x[1][-1] == 1)

def tried(*runs: Code, **how):
    return explored(*runs, **{'objects': stored(alive=True), 'check': right, **how})

CASES = {
    'a put that shares': lambda: tried(puts('A', True), erases()),
    'a put that shares, torn looks': lambda: tried(puts('A', True), erases(), torn=True),
    'a put that uploads': lambda: tried(puts('A'), erases()),
    'a delivery of the version itself': lambda: tried(delivers('O', 'p'), erases()),
    'dies and begins again': lambda: tried(erases(again=True), crashes=2),
    'dies and begins again, a put that shares': lambda: tried(puts('A', True), erases(again=True), crashes=1),
    'dies and begins again, 1 fault': lambda: tried(erases(again=True), crashes=1, faults=1),
    'dies and begins again, 2 faults': lambda: tried(erases(again=True), crashes=1, faults=2),
    'a put that shares, 1 fault': lambda: tried(puts('A', True), erases(), faults=1),
    'a restore of what was removed': lambda: tried(restores(), erases(), objects=stored()),
    'a removal': lambda: tried(removes(1), erases()),
    'two erasers': lambda: tried(erases('e'), erases('f')),
    'a collector': lambda: tried(erases(), collects()),
    'a collector, a put that shares': lambda: tried(puts('A', True), erases(), collects()),
}
LONG = {'a collector, a put that shares', 'two erasers', 'a put that shares, 1 fault',
        'dies and begins again, 2 faults', 'dies and begins again, a put that shares'}

@pytest.mark.parametrize('what', CASES)
def test_nothing_is_left_and_nothing_else_is_taken(what, figure):
    if what in LONG: unless_soak(10)
    if what == 'dies and begins again, 1 fault': unless_soak()
    found = CASES[what]()
    figure(f'32 the code of the eraser: {what}', states=found.states, violations=found.wrong or 0)
    assert not found.wrong, (found.wrong, found.trace)
    assert found.ends


# Planted

def test_planted_an_eraser_that_overlooks_why_a_payload_stays_is_caught():
    "So it was, for all that is no inline version, until this model found it"
    real = Erasure.finish
    def finish(self, item, n):
        self.said = dict.fromkeys(self.said, '')
        return real(self, item, n)
    with planted(Erasure, 'finish', finish): found = tried(puts('A', True), erases())
    assert found.wrong == LOST, (found.wrong, found.trace)

def test_planted_an_eraser_that_deletes_directly_is_caught():
    def decide(self): self.said = {KEY: ''}
    with planted(Erasure, 'decide', decide): found = tried(puts('A', True), erases())
    assert found.wrong == LOST, (found.wrong, found.trace)

def test_planted_a_tombstone_without_a_write_id_is_caught():
    "A delivery that comes later finds nothing of its write, and stores the bytes again"
    def bury(self, r):
        left = states.tombstone(r)
        nobody = replace(left, raw_description=to_json({**left.description, 'id': 'f' * 32}))
        commit.overwrite(self.backend, self.key(r.item, r.version), pack(nobody))
    with planted(BucketErasures, 'bury', bury): found = tried(delivers('O', 'p'), erases())
    assert found.wrong == 'what was erased is back', (found.wrong, found.trace)

def test_planted_a_record_that_is_overwritten_first_is_caught():
    "Who begins again does not know any more what is to be deleted"
    real = Erasure.decide
    def decide(self):
        for s in self.subjects.values(): self.bucket.bury(s.record)
        real(self)
    with planted(Erasure, 'decide', decide): found = tried(erases(again=True), crashes=1)
    assert found.wrong == 'its bytes are left', (found.wrong, found.trace)

def test_planted_an_eraser_without_a_mark_is_caught():
    "A restore brings back what is being erased"
    def mark(self, item, n, by, reason): return self.remove(item, n, by)
    with planted(BucketErasures, 'mark_erased', mark): found = tried(restores(), erases(), objects=stored())
    assert found.wrong, found.states

def test_planted_an_eraser_that_asks_nobody_for_a_marked_payload_is_caught():
    with planted(erase.Run, '_takes', lambda self, key: True): found = tried(puts('A', True), erases())
    assert found.wrong == LOST, (found.wrong, found.trace)
