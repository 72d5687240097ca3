"""States of versions: a store of before, whose removals are marks, read as it is, half converted and converted; and
removals and restores that race."""
from __future__ import annotations
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
import pytest
from objectstore import NotFound, ObjectStore
from objectstore.format import origin, states
from objectstore.format.origin import CONVERTED, MARKER
from objectstore.format.records import to_json
from objectstore.format.states import BEFORE, last_beside, moves_beside
from objectstore.storage.backend import Backend, Capabilities, MemoryBackend, key_number
from objectstore.storage.files import FileBackend
from trial import Wrapped, store_over

pytestmark = pytest.mark.usefixtures('own_cache')
LARGE = b'0123456789' * 10_000


class Service(MemoryBackend):
    "A service in memory: it is asked by listing, and for exact numbers by two small requests"
    can = Capabilities('remote', many=4)
    def __init__(self, name: str = ''):
        super().__init__(name)
        self.asked: Counter[str] = Counter()
    def list(self, folder, after=None, limit=None): self.asked['list'] += 1; return super().list(folder, after, limit)
    def read(self, key, limit=None): self.asked['read'] += 1; return super().read(key, limit)

class Shared(MemoryBackend):
    can = Capabilities('shared')

class Cut(BaseException): "The process is gone"

class Mortal(Wrapped):
    "Dies before its n-th write"
    left: int | None = None
    def call(self, op, key, run):
        if op in ('create', 'upload') and self.left is not None:
            if not self.left: raise Cut
            self.left -= 1
        return run()
    def create_many(self, items): return [self.create(*kd) for kd in items]      # one after the other

def place_of(kind: str, folder) -> Backend:
    if kind == 'files': return FileBackend(folder)
    return dict(memory=MemoryBackend, service=Service, shared=Shared)[kind](folder.as_posix())     # each has a name

def filled(place: Backend) -> ObjectStore:
    "A store with all that an item can have; removed, and given up"
    s = store_over(place)
    for i in range(6): s.put('lab/m', {'i': i}, metadata={'i': i})
    s.set_alias('lab/m@2', 'best'), s.set_alias('lab/m@4', 'best'), s.annotate('lab/m@1', {'stage': 'old'})
    s.put('lab/large', LARGE), s.put('lab/large', LARGE[::-1])
    s.put('lab/gone', 1), s.put('other/x', 1), s.put('other/x', 2)
    for ref in ('lab/m@3', 'lab/m@6', 'lab/large@2', 'lab/gone@1', 'other/x@2'): s.remove(ref)
    b = s.origin.bucket('lab')
    assert b.backend.create(*states.beside(b.folder('m'), 5, 1, states.move('x', **{'is': 'abandoned'}), 1))
    return s

def as_before(place: Backend) -> int:
    "Make a store one of before: marks in place of moves"
    place.delete(MARKER)
    place.create(MARKER, b'{"objectstore":1}')
    keys = [e.key for e in place.list('') if '/records/' in e.key and key_number(e.key)[1] == '1']
    for key in keys:
        m = states.read_move(place.read(key), key)
        place.create(f'{key[:-2]}.{m["is"]}', to_json({k: m[k] for k in ('id', 'at', 'by')}))
        place.delete(key)
    return len(keys)

def left(place: Backend) -> int:
    "Marks of before without a move"
    found: dict[str, set[str]] = {}
    for e in place.list(''):
        if '/records/' in e.key and (at := key_number(e.key)) and at[1]:
            found.setdefault(e.key[:-len(at[1]) - 1], set()).add(at[1])
    return sum(not last_beside(marks) and not marks.isdisjoint(BEFORE) for marks in found.values())

def answers(place: Backend) -> dict:
    "What every verb says of a store, to whoever opens it anew"
    s, found = store_over(place), {}
    def said(what, f):
        try: found[what] = f()
        except NotFound as e: found[what] = str(e)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        for item in ('lab/m', 'lab/large', 'lab/gone', 'other/x', 'lab/never'):
            for sel in ('', '@1', '@2', '@3', '@4', '@5', '@6', '@-1', '@-2', '@best', '@best~1', '@2999-01-01', '@*'):
                if sel != '@*': said(('get', item + sel), lambda: s.get(item + sel))
                if sel != '@*': said(('in', item + sel), lambda: item + sel in s)
            said(('versions', item), lambda: [(v.ref, v.id, v.created, v.metadata, v.aliases)
                                               for v in s.versions(item)])
            said(('aliases', item), lambda: dict(s.aliases(item)))
            said(('history', item), lambda: [(m.when, m.who, m.what, m.ref, m.says) for m in s.history(item)])
            said(('next', item), lambda: s.origin.bucket(item[:item.index('/')]).first(item.partition('/')[2]))
        said('find', lambda: sorted((v.ref, v.id) for b in ('lab', 'other') for v in s.find_items(b, at='*')))
        said('find latest', lambda: sorted(v.ref for v in s.find_items('lab')))
        said('stats', lambda: {b: s.get_stats(b)['versions'] for b in ('lab', 'other')})
        said('get_many', lambda: s.get_many(['lab/m@1', 'lab/m@4', 'other/x', 'lab/large']))
        said('usage', lambda: [(u.versions, u.removed, u.abandoned) for u in (s.care.usage('lab'),)])
        said('verify', lambda: [str(f) for f in s.care.verify('lab')])
        to = store_over(MemoryBackend())
        said('copy', lambda: [v.ref for v in s.copy('lab', to=to)])
        said('copied', lambda: {i: (to.origin.bucket('lab').numbers(i).live, to.origin.bucket('lab').numbers(i).dead)
                                for i in ('m', 'large', 'gone')})
    return found

def differing(a: dict, b: dict) -> dict: return {k: (a[k], b[k]) for k in a if a[k] != b[k]}

KINDS = ['memory', 'service', 'shared', 'files']

@pytest.mark.parametrize('kind', KINDS)
def test_a_store_of_before_answers_as_it_did(kind, tmp_path):
    filled(place := place_of(kind, tmp_path/'lab'))
    truth = answers(place)
    assert truth['get', 'lab/m'] == {'i': 3} and truth['versions', 'lab/m'][-1][0] == 'lab/m@4'
    assert as_before(place) == 6 and left(place) == 6
    assert not differing(truth, answers(place)) and left(place) == 6      # who only reads changes nothing

@pytest.mark.parametrize('kind', KINDS)
def test_a_conversion_that_dies_at_each_write(kind, tmp_path, figure):
    "Half converted, and wholly, every verb answers as before; who may write goes on with it"
    cuts = 0
    for n in range(100):
        filled(place := place_of(kind, tmp_path/f'lab{n}'))
        truth = answers(place)
        as_before(place)
        (mortal := Mortal(place)).left = n
        try: store_over(mortal).find_or_create_bucket('lab')
        except Cut: cuts += 1
        else: break
        assert left(place) == max(6 - n, 0) and not place.exists(CONVERTED)
        assert not differing(truth, answers(place))
        store_over(place).find_or_create_bucket('lab')
        assert not left(place) and place.exists(CONVERTED)
        assert not differing(truth, answers(place))
    assert cuts == 7 and not left(place) and place.exists(CONVERTED)
    figure(f'3 a store of before, {kind}: conversion cut off before every write', cuts=cuts, marks_without_move=0)

def test_planted_a_store_of_before_taken_for_new_is_caught(monkeypatch):
    filled(place := Service())
    truth = answers(place)
    as_before(place)
    monkeypatch.setattr(origin, 'vet', lambda root: 'moves')
    assert differing(truth, answers(place))

def test_a_store_of_before_is_changed_without_a_put():
    "Removing, and restoring, of what has a mark: it gets its move first"
    filled(place := Service())
    as_before(place)
    s = store_over(place)
    b = s['lab/m']._in
    assert not b.remove('m', 3, 'ann') and b.mark('m', 3) == 'removed' and b.restore('m', 3, 'ann').version == 3
    assert b.mark('m', 3) is None and s.get('lab/m@3') == {'i': 2}
    with pytest.raises(NotFound, match='given up'): b.restore('m', 5, 'ann')
    assert [m['is'] for m in moves_beside(place, b.folder('m'), 3, ['1', '2'])] == ['removed', 'restored']
    assert b.remove('m', 1, 'ann') and b.mark('m', 1) == 'removed'

def test_an_exact_number_is_two_small_requests(figure):
    filled(place := Service())
    s = store_over(place)
    b = s.origin.bucket('lab')
    s.get('lab/m@1')
    place.asked.clear()
    assert s.get('lab/m@1') == {'i': 0} and place.asked == {'read': 2}
    place.asked.clear()
    with pytest.raises(NotFound): b.live_record('m', 3)
    assert place.asked['list']

def test_of_removers_and_restorers_at_once_one_wins(figure):
    "Moves alternate whatever comes; each of those who did something has made exactly one"
    filled(place := Service())
    def store(): return store_over(place).origin.bucket('lab')
    for n in range(20):
        with ThreadPoolExecutor(8) as pool:
            each = pool.map(lambda i: (store().remove if i % 2 else store().restore)('m', 4, f'by{i}'), range(8))
            assert len([*each]) == 8
        marks = store().around('m', 4).marks[4]
        steps = moves_beside(place, store().folder('m'), 4, marks)
        assert [m['is'] for m in steps] == ['removed' if i % 2 else 'restored' for i in range(1, len(steps) + 1)]
        assert len({m['id'] for m in steps}) == len(steps)
        assert all(a['at'] <= b['at'] for a, b in zip(steps, steps[1:]))
    figure('16 removers and restorers of one version at once, 20 rounds of 8', moves=len(steps), out_of_turn=0)

def test_who_may_not_convert_puts_all_the_same(monkeypatch):
    filled(place := Service('closed'))
    as_before(place)
    def closed(folder): raise PermissionError(13, 'not for you')
    monkeypatch.setattr(place, 'folders', closed)
    s = store_over(place)
    assert s.put('lab/m', {'i': 6}).version == 7 and not place.exists(CONVERTED)
    assert s.versions('lab/m').refs == [f'lab/m@{n}' for n in (1, 2, 4, 7)]
    with pytest.raises(NotFound, match='removed'): store_over(place).get('lab/m@3')
