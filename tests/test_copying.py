"""Copies of whole buckets and items: cut off at every write and run again, while the source goes on, and with damage on
the way.

A version that is gone at the source is gone in the copy once the copy was run again; none is missing; numbers, write
ids and dates stay.
"""
from __future__ import annotations
import warnings

import pytest
from objectstore import Damaged, NotFound, ObjectStore
from objectstore.store import copying
from objectstore.storage.backend import MemoryBackend
from objectstore.format.buckets import BucketStates
from objectstore.format.commit import Bucket
from objectstore.format.records import move
from objectstore.format.states import ERASED, beside
from planting import planted
from trial import Wrapped, store_over

pytestmark = pytest.mark.usefixtures('own_cache')
LARGE = b'0123456789' * 10_000


class Cut(Exception): "The copy ends here"

class Cutting(Wrapped):
    "Ends before or behind the n-th write; before each, something may happen elsewhere"
    def __init__(self, inner):
        super().__init__(inner)
        self.left, self.writes, self.kept, self.meanwhile = None, 0, False, lambda k: None
    def call(self, op, key, run):
        if op not in ('create', 'upload') or '/log/' in key: return run()
        if self.left == 0 and not self.kept: raise Cut
        self.writes += 1
        self.meanwhile(self.writes)
        answer = run()
        if self.left == 0: raise Cut
        if self.left: self.left -= 1
        return answer

def filled() -> ObjectStore:
    "A source with all that an item can have: removed and abandoned versions, aliases, notes, large and small payloads"
    s = store_over(MemoryBackend())
    for i in range(5): s.put('lab/m', {'i': i})
    s.put('lab/large', LARGE), s.put('lab/large', LARGE[::-1]), s.put('lab/large', LARGE)
    s.set_alias('lab/m@2', 'best'), s.set_alias('lab/m@4', 'best'), s.annotate('lab/m@1', {'stage': 'old'})
    s.remove('lab/m@3'), s.remove('lab/m@5'), s.remove('lab/large@3')
    b = s.origin.bucket('lab')
    b.backend.create(*beside(b.folder('m'), 2, 1, move('x', **{'is': 'abandoned'}), 1))
    return s

def alive(s: ObjectStore, items=('m', 'large')) -> dict[str, list[str]]:
    "Write ids of the live versions of each item, by the records"
    b = s.origin.bucket('lab')
    return {i: [b.record(i, n).id for n in b.numbers(i).live] for i in items}

def dates(s: ObjectStore) -> list: return [(v.ref, v.created) for v in s.find_items('lab', at='*', sort='item')]

def came(s: ObjectStore, items=('m', 'large')) -> dict[str, set[str]]:
    "Write ids, there, of the live versions of each item, whatever their numbers"
    b = s.origin.bucket('lab')
    return {i: {x for n in b.numbers(i).live for x in copying._ids(b.record(i, n))} for i in items}

def cut_and_repeat(stop: int, own_put: bool = False, kept: bool = False, exact: bool = True) -> tuple[int, int, bool]:
    "Removed versions that are alive, versions that are missing, and whether the cut fired"
    source, backend = filled(), Cutting(MemoryBackend())
    to, later = store_over(backend), iter(['lab/m@4', 'lab/large@1', 'lab/m@1'])
    source.set_alias('lab/m@1', 'best')
    def remove_one(k):
        if k % 4 == 3 and (ref := next(later, None)): source.remove(ref, force=True)
    backend.left, backend.kept, backend.meanwhile = stop, kept, remove_one
    try: source.copy('lab', to=to); cut = False
    except Cut: cut = True
    backend.left, backend.meanwhile = None, lambda k: None
    mine = store_over(backend).put('lab/m', 'their own') if own_put else None
    for ref in [r for r in [next(later, None)] if r]: source.remove(ref, force=True)
    again = store_over(backend)
    source.copy('lab', to=again)
    want, have = alive(source), came(again)
    dead = {r.id for i in want for n in source.origin.bucket('lab').numbers(i).made
            if (r := source.origin.bucket('lab').record(i, n)).id not in want[i]}
    if mine: assert again.get(mine.ref) == 'their own', 'an acknowledged put was born removed'
    if exact and not mine: assert alive(again) == want and dates(again) == dates(source)
    return len(dead & set().union(*have.values())), sum(len(set(want[i]) - have[i]) for i in want), cut

def at_every_write(**how) -> tuple[int, int, int]:
    revived = missing = cuts = 0
    for stop in range(1, 200):
        r, m, cut = cut_and_repeat(stop, **how)
        revived, missing, cuts = revived + r, missing + m, cuts + cut
        if not cut: return revived, missing, cuts
    raise AssertionError('a copy without an end')

@pytest.mark.parametrize('kept', [False, True])
@pytest.mark.parametrize('own_put', [False, True])
def test_cut_off_at_every_write_and_run_again(own_put, kept, figure):
    revived, missing, cuts = at_every_write(own_put=own_put, kept=kept)
    figure(f'24 copies cut off {"behind" if kept else "before"} every write{", an own put in between" * own_put}, '
           'removals going on', cuts=cuts, removed_alive=revived, missing=missing)
    assert cuts > 20 and not revived and not missing

def test_planted_no_mending_of_removals_is_caught(monkeypatch):
    fired = []
    monkeypatch.setattr(copying, '_bring_states', lambda *args: fired.append(1))
    revived, _, _ = at_every_write(exact=False)
    assert fired and revived

def test_planted_removals_before_their_versions_are_caught(monkeypatch):
    "Whoever puts into a copy that was cut off there would find his own put removed"
    real, fired = copying.put_as, []
    def first(bucket, item, draft, n, gone=None):
        if gone: fired.append(bucket.backend.create(*beside(bucket.folder(item), n, 1, gone, gone.get('at', 1))))
        return real(bucket, item, draft, n, gone)
    monkeypatch.setattr(copying, 'put_as', first)
    with pytest.raises((AssertionError, NotFound)): at_every_write(own_put=True)
    assert fired

def lose_payload(bucket: Bucket, times: int):
    "Confirms that fail so often, as where a collector took the payload"
    real, left = Bucket.confirmed, [times]
    def confirmed(self, keys):
        keys = list(keys)
        if self.backend is bucket.backend and keys and left[0]: left[0] -= 1; return False
        return real(self, keys)
    return planted(Bucket, 'confirmed', confirmed), left

def copied_after_a_lost_payload() -> tuple[set, list, list]:
    source, to = store_over(MemoryBackend()), store_over(MemoryBackend())
    for i in range(3): source.put('lab/m', LARGE + bytes([i]))
    to.find_or_create_bucket('lab')
    cut, left = lose_payload(to.origin.bucket('lab'), 1)
    with cut:
        try: source.copy('lab', to=to)
        except Damaged: pass
    assert left == [0]
    source.copy('lab', to=to)
    return came(to, ['m'])['m'], alive(source, ['m'])['m'], [to.get(v) for v in to.versions('lab/m')]

def test_a_number_that_was_abandoned_in_the_target_has_brought_nothing():
    have, want, values = copied_after_a_lost_payload()
    assert set(want) <= have and values == [LARGE + bytes([i]) for i in range(3)]

def test_planted_an_abandoned_number_counts_as_brought(monkeypatch):
    monkeypatch.setattr(BucketStates, 'given', lambda self, item, numbers: sorted(numbers.made))
    have, want, _ = copied_after_a_lost_payload()
    assert not set(want) <= have

def test_a_damaged_record_does_not_stop_the_copy():
    source, to = filled(), store_over(MemoryBackend())
    b = source.origin.bucket('lab')
    key = b.key('large', 1)
    raw = b.backend.read(key)
    b.backend.delete(key), b.backend.create(key, raw[:-1])
    b.records.clear()
    with pytest.warns(UserWarning, match='left out.*large@1'): source.copy('lab', to=to)
    assert alive(to, ['m']) == alive(source, ['m'])
    assert [v.ref for v in to.versions('lab/large')] == ['lab/large@2'] and to.get('lab/large@2') == LARGE[::-1]
    with pytest.raises(NotFound, match='abandoned'): to['lab/large@1']
    b.backend.delete(key), b.backend.create(key, raw)                      # healed: it comes, under the next number
    assert source.copy('lab', to=to).refs == ['lab/large@4'] and to.get('lab/large@4') == LARGE
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert not source.copy('lab', to=to)

def test_a_damaged_move_does_not_stop_the_copy():
    source, to = filled(), store_over(MemoryBackend())
    backend = source.origin.place
    key = next(e.key for e in backend.list('lab/aliases/') if e.key.endswith('1'))
    raw = backend.read(key)
    backend.delete(key), backend.create(key, raw[:-3])
    with pytest.warns(UserWarning, match='left out.*aliases'): source.copy('lab', to=to)
    assert to.get('lab/m@best') == {'i': 3} and alive(to) == alive(source)

def test_removals_aliases_and_notes_of_later_come_with_the_next_copy():
    source, to = filled(), store_over(MemoryBackend())
    source.copy('lab', to=to)
    source.put('lab/m', 'new')
    source.set_alias('lab/m@6', 'best')
    source.remove('lab/m@4')
    source.annotate('lab/m@6', {'a': 1})
    source.copy('lab', to=to)
    assert (alive(to) == alive(source) and to.aliases('lab/m') == source.aliases('lab/m')
            and to['lab/m'].notes == {'a': 1})
    with pytest.raises(NotFound, match='removed'): to['lab/m@4']
    mine, theirs = ([(m['to'], m['when']) for m in s.aliases('lab/m').history('best')] for s in (to, source))
    assert mine == theirs

def test_what_is_absent_at_the_source_takes_nothing_away():
    source, to = store_over(MemoryBackend()), store_over(MemoryBackend())
    for i in range(3): source.put('lab/m', i)
    source.copy('lab', to=to)
    b = source.origin.bucket('lab')
    for n in (2, 3): b.backend.delete(b.key('m', n))
    source = store_over(b.backend)
    source.copy('lab', to=to)
    assert [to.get(v) for v in to.versions('lab/m')] == [0, 1, 2]

def test_an_erased_version_is_not_copied():
    s = filled()
    b = s.origin.bucket('lab')
    b.backend.create(b.key('m', 3, ERASED), b'')
    for how in ({'dst': 'lab/other'}, {'to': store_over(MemoryBackend())}):
        with pytest.raises(NotFound, match='lab/m@3 was erased, for good'): s.copy('lab/m@3', **how)
