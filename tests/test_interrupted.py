"""An interruption leaves a whole store and a true index.

A KeyboardInterrupt comes at the n-th line of the library, or before or behind the n-th write, for every n; signals come
to a process of its own. Afterwards, for whoever lists the records and for whoever searches: the same versions, each
with
its bytes; and who does it again with `skip_unchanged=True` doubles nothing.
"""
from __future__ import annotations
import linecache, os, random, signal, sys, tempfile, threading
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from unittest import mock
import pytest
import objectstore
from objectstore import NotFound, ObjectStore
from objectstore.format import buckets
from objectstore.search import keeper
from objectstore.cache import near, outbox
from objectstore.storage.backend import MemoryBackend
from objectstore.storage.files import FileBackend
from objectstore.search.changelog import flush_hints
from away import env, forget_all, quiet
from planting import planted
from trial import _context, content, soak, start, whole

LARGE = 40_000
HERE = str(Path(objectstore.__file__).parent)

class Ctrl(KeyboardInterrupt): "Ctrl-C, at a place of the test's choice"

def leaves(frame, been: set) -> bool:
    "Is this the end of a `with`? Python looks for signals behind the call of its `__exit__`, never before it"
    again, line = frame.f_lineno in been, linecache.getline(frame.f_code.co_filename, frame.f_lineno)
    been.add(frame.f_lineno)
    return again and line.lstrip().startswith('with ')

@contextmanager
def at_line(n: int, here: str = HERE):
    "Ctrl-C at the n-th line of the library that this thread reaches; the lines so far"
    seen = [0]
    def call(frame, event, arg):
        been: set[int] = set()
        def line(frame, event, arg):
            if event == 'line' and not leaves(frame, been):
                seen[0] += 1
                if seen[0] == n: sys.settrace(None); raise Ctrl(f'{frame.f_code.co_filename}:{frame.f_lineno}')
            return line
        return line if frame.f_code.co_filename.startswith(here) else None
    before = sys.gettrace()
    sys.settrace(call)
    try: yield seen
    finally: sys.settrace(before)

@contextmanager
def at_write(n: int, behind: bool):
    "Ctrl-C before, or behind, the n-th write of this thread into a backend; the writes so far"
    seen, me = [0], threading.get_ident()
    def wrap(real):
        def call(self, *args, **kwargs):
            if threading.get_ident() != me: return real(self, *args, **kwargs)
            seen[0] += 1
            mine = seen[0] == n
            if mine and not behind: raise Ctrl('before')
            try: return real(self, *args, **kwargs)
            finally:
                if mine and behind: raise Ctrl('behind')
        return call
    patches = [mock.patch.object(cls, m, wrap(getattr(cls, m))) for cls in (FileBackend, MemoryBackend)
               for m in ('create', 'upload', 'create_many', 'delete') if hasattr(cls, m)]
    for p in patches: p.start()
    try: yield seen
    finally:
        for p in patches: p.stop()


# What is interrupted, what is done again, and what there must be then

def open_store(folder: Path, kind: str, **options) -> ObjectStore:
    "A new process over the same place"
    forget_all()
    near = [str(folder/'near')] if kind == 'near' else []
    return ObjectStore(*near, str(folder/'origin'), near=bool(near), progress=False, **options)

def prepared(folder: Path, kind: str) -> ObjectStore:
    s = open_store(folder, kind)
    s.put('lab/m', content('1')), s.put('lab/m', content('2')), s.put('lab/o', content('o'))
    s.set_alias('lab/m@1', 'production')
    s.find_items()
    flush_hints()
    return s

def small(s): s.put('lab/m', content('3'), skip_unchanged=True)
def large(s): s.put('lab/m', content('3', LARGE), skip_unchanged=True)
def first(s): s.put('lab/n', content('1'), skip_unchanged=True)
def fresh(s): s.put('fresh/n', content('1'), skip_unchanged=True)
def named(s): s.put('lab/m', content('3'), alias='production', skip_unchanged=True)
def bulk(s):
    s.put_many([(f'lab/{i}', content(str(i))) for i in range(5)] + [('lab/m', content('3')), ('lab/m', content('4'))],
               skip_unchanged=True)
def annotates(s): s.annotate('lab/m@2', {'note': 1})
def aims(s): s.set_alias('lab/m@2', 'production')
def unaims(s): s.remove_alias('lab/m', 'production')
def removes(s):
    if 'lab/m@2' in s: s.remove('lab/m@2')
def removes_all(s):
    if 'lab/m' in s: s.remove('lab/m@*', force=True)
def removes_a_bucket(s): s.remove_bucket('lab', force=True)
def folders(s):
    (top := Path('photos')).mkdir(exist_ok=True)
    for i in range(3): (top/f'{i}').write_bytes(content(f'{i}', LARGE * (i % 2)))
    s.put('lab/photos', top, skip_unchanged=True)
def copies(s): s.copy('lab', 'lab2')
def copies_again(s):
    s.copy('lab', 'lab2')
    removes(s), s.annotate('lab/o@1', {'note': 1}), s.set_alias('lab/o@1', 'staging')
    s.copy('lab', 'lab2')
VERBS = [small, large, first, fresh, named, bulk, annotates, aims, unaims, removes, removes_all, removes_a_bucket,
         folders, copies, copies_again]

def truth(s) -> dict:
    "All that lives, from the records"
    found = {}
    for name in s.list_buckets():
        b = s.origin.bucket(name)
        aliases, notes = b.all_aliases(), b.all_notes()
        for item, numbers in b.scan().items():
            assert sorted(numbers.made) == list(range(1, len(numbers.made) + 1)), 'a gap'
            for n in numbers.live:
                found[f'{name}/{item}@{n}'] = (b.record(item, n).id,
                                               sorted(a for a, to in aliases.get(item, {}).items() if to == n),
                                               buckets.merge({}, notes.get((item, n), [])))
    return found

def searched(s) -> dict:
    "The same, as a search has it"
    return {v.ref: (v.id, v.aliases, buckets.merge({}, s.keeper.index.row(v.bucket, v.item, v.version).notes))
            for v in s.find_items(at='*')}

def contents(s) -> Counter:
    "How many live versions of each item have each content"
    return Counter((v.bucket, v.item, v.hash) for name in s.list_buckets()
                   for i in {i for i in s.origin.bucket(name).scan()} if f'{name}/{i}' in s
                   for v in s.versions(f'{name}/{i}'))

def interrupted(folder: Path, kind: str, verb, where) -> bool:
    "Interrupt a verb, compare, do it again, compare: was it interrupted at all?"
    s, cut = prepared(folder, kind), False
    with env(OBJECTSTORE_CACHE_DIR=str(folder/'elsewhere'), OBJECTSTORE_STATE_DIR=str(folder/'else')):
        other = open_store(folder, 'far')      # another machine, whose index hears of what is new by hints alone
        other.find_items()
    try:
        with where: verb(s)
    except Ctrl: cut = True
    if verb is not removes_a_bucket or s.list_buckets(): s.refresh()
    assert searched(s) == truth(s), 'this process does not find what there is'
    flush_hints(), keeper.settle_all(), flush_hints()
    assert searched(other) == truth(other), 'nor does another machine'
    verb(s)
    assert searched(s) == truth(s)
    assert max(contents(s).values(), default=0) <= 1, 'doubled'
    for r in truth(s): 
        if 'photos' not in r: assert whole(s.get(r))
    return cut


@pytest.fixture
def quick(clean):
    with tempfile.TemporaryDirectory(dir='/dev/shm' if os.access('/dev/shm', os.W_OK) else clean,
                                     ignore_cleanup_errors=True) as d:
        yield Path(d)

@pytest.mark.parametrize('verb', VERBS, ids=lambda f: f.__name__)
def test_at_every_write(quick, verb, figure):
    n = cuts = 0
    for behind in (False, True):
        k, cut = 1, True
        while cut:
            folder = quick/f'{behind}{k}'
            folder.mkdir()
            cut = interrupted(folder, 'far', verb, at_write(k, behind))
            cuts, n, k = cuts + cut, n + 1, k + 1
    assert cuts
    figure(f'27 {verb.__name__}, interrupted before and behind each write', interrupted=cuts, not_found=0, doubled=0)

@pytest.mark.parametrize('verb', VERBS, ids=lambda f: f.__name__)
def test_at_many_lines(quick, verb, figure):
    with at_line(10**9) as lines: verb_once(quick, verb)
    total, cuts = lines[0], 0
    rng = random.Random(verb.__name__)
    for k in sorted(rng.sample(range(1, total + 1), min(total, soak(5, 200)))):
        (folder := quick/f'{k}').mkdir()
        cuts += interrupted(folder, 'far', verb, at_line(k))
    assert cuts
    figure(f'27 {verb.__name__}, interrupted at some of {total} lines', interrupted=cuts, not_found=0, doubled=0)

def verb_once(clean: Path, verb) -> None:
    (folder := clean/'once').mkdir()
    before = sys.gettrace()
    sys.settrace(None)
    s = prepared(folder, 'far')
    sys.settrace(before)
    verb(s)


# Planted: what is told of an interruption is not heard

def test_planted_an_interruption_that_nobody_hears_of(quick, monkeypatch):
    fired = []
    def heard(self, bucket, op, item, what, says):
        if isinstance(says, buckets.Maybe): fired.append(op); return
        real(self, bucket, op, item, what, says)
    real = keeper.IndexUpdates.heard
    monkeypatch.setattr(keeper.IndexUpdates, 'heard', heard)
    (folder := quick/'x').mkdir()
    with pytest.raises(AssertionError, match='does not find'): interrupted(folder, 'far', small, at_write(1, True))
    assert fired == ['put']


# Work that waits

def waiting(s) -> list[tuple]: return sorted((w.op, w.name) for w in s.pending.work())

@pytest.mark.parametrize('size', [0, LARGE])
@pytest.mark.parametrize('behind', [False, True], ids=['before', 'behind'])
def test_puts_that_wait_are_kept_whole_or_not_at_all(quick, size, behind, figure):
    k, cut, kept = 1, True, 0
    while cut:
        (folder := quick/f'{k}').mkdir()
        with env(OBJECTSTORE_STATE_DIR=str(folder/'state')), quiet():
            prepared(folder, 'near')
            s, cut = open_store(folder, 'near', offline=True), False
            try:
                with at_write(k, behind): s.put('lab/m', content('3', size))
            except Ctrl: cut = True
            before = len(s.pending.puts())
            assert all(whole(s.get(f'lab/m@id:{w.id}')) == '3' for w in s.pending.puts()), 'an entry without its bytes'
            s.put('lab/m', content('3', size), skip_unchanged=True)
            assert len(s.pending.puts()) == 1, 'doubled'
            kept += before
            s = open_store(folder, 'near')
            assert (not s.sync().waiting and [whole(v.get()) for v in s.versions('lab/m')] == ['1', '2', '3']
                    and searched(s) == truth(s))
        k += 1
    figure(f'27 a put of {size:,} bytes that waits, interrupted {["before", "behind"][behind]} each write',
           interrupted=k - 2, kept=kept, damaged=0, doubled=0)

def test_a_delivery_is_interrupted_and_goes_on(quick, figure):
    cuts = 0
    for behind in (False, True):
        k, cut = 1, True
        while cut:
            (folder := quick/f'{behind}{k}').mkdir()
            with env(OBJECTSTORE_STATE_DIR=str(folder/'state')), quiet():
                prepared(folder, 'near')
                off = open_store(folder, 'near', offline=True)
                for i in (3, 4): off.put('lab/m', content(str(i), LARGE * (i % 2)))
                off.annotate('lab/m', {'note': 1}), off.set_alias('lab/m', 'production')
                s, cut = open_store(folder, 'near'), False
                try:
                    with at_write(k, behind): s.sync()
                except Ctrl: cut = True
                assert (whole(s.get('lab/m')) == '4' and s['lab/m'].notes == {'note': 1}
                        and s['lab/m'].aliases == ['production'])
                assert not s.sync().waiting and not s.pending.work()
                assert [whole(v.get()) for v in s.versions('lab/m')] == ['1', '2', '3', '4'] and searched(s) == truth(s)
            cuts, k = cuts + cut, k + 1
    figure('27 a delivery, interrupted before and behind each write', interrupted=cuts, lost=0, doubled=0)

def test_planted_bytes_that_go_although_the_entry_stays(quick, monkeypatch):
    monkeypatch.setattr(outbox.Pending, 'still', lambda self, id: False)
    (folder := quick/'x').mkdir()
    with env(OBJECTSTORE_STATE_DIR=str(folder/'state')), quiet():
        prepared(folder, 'near')
        s = open_store(folder, 'near', offline=True)
        s.put('lab/o', 1)
        for k in range(1, 9):
            try:
                with at_write(k, True): s.put('lab/m', content('3'))
            except (Ctrl, NotFound): pass
        assert any(not s.pending.files.exists(f'bytes/{w.id}') for w in s.pending.puts())


# Many at once

def test_put_many_says_what_is_stored(quick, monkeypatch):
    from objectstore.store import bulk
    monkeypatch.setattr(bulk, 'BATCH', 10)
    s, names = open_store(quick, 'far'), [f'lab/{i:02}' for i in range(35)]
    objects = {n: content(n) for n in names}
    objects['lab/15'] = lambda: 0      # nothing stores this
    with pytest.raises(Exception) as e: s.put_many(objects)
    assert [v.ref for v in e.value.stored] == [f'{n}@1' for n in names[:10]] and e.value.rest == names[10:]
    assert '10 are stored' in e.value.__notes__[0] and 'skip_unchanged=True' in e.value.__notes__[0]
    objects['lab/15'] = content('lab/15')
    again = s.put_many(objects, skip_unchanged=True)
    assert [v.ref for v in again] == [f'{n}@1' for n in names] and max(contents(s).values()) == 1
    assert [v.ref for v in s.put_many(objects, skip_unchanged=True)] == [f'{n}@1' for n in names]
    with pytest.raises(Exception) as e: s.put_many((n, objects[n]) if n != 'lab/12' else 'wrong' for n in names)
    assert len(e.value.stored) == 10 and e.value.rest == []      # what a generator has left is not known

def test_put_many_goes_on_where_one_of_a_batch_fails(quick):
    s = open_store(quick, 'far')
    real = FileBackend.create
    def create(self, key, data):
        if '/04/@/' in key: raise PermissionError('not this one')
        return real(self, key, data)
    with (planted(FileBackend, 'create', create),
          planted(FileBackend, 'create_many', lambda self, items: [_settled(self, *kv) for kv in items])):
        with pytest.raises(Exception) as e: s.put_many((f'lab/{i:02}', i) for i in range(8))
    assert len(e.value.stored) == 7 and e.value.rest == ['lab/04']
    s.put_many([(f'lab/{i:02}', i) for i in range(8)], skip_unchanged=True)
    assert len(s.find_items(at='*')) == 8

def _settled(backend, key, data):
    try: return backend.create(key, data)
    except OSError as e: return e

@pytest.mark.parametrize('offline', [False, True])
def test_several_of_one_item_are_stored_once(quick, offline):
    with env(OBJECTSTORE_STATE_DIR=str(quick/'state')), quiet():
        prepared(quick, 'near')
        s = open_store(quick, 'near', offline=offline or 'auto')
        wanted = [('lab/x', i) for i in (1, 2, 2, 1)]
        def now(): return [v.get() for v in s.versions('lab/x')]
        s.put_many(wanted[:2], skip_unchanged=True)
        for _ in range(2):
            s.put_many(wanted, skip_unchanged=True)
            assert now() == [1, 2, 1]
        s.put_many([('lab/x', 2), ('lab/x', 1)])
        assert now() == [1, 2, 1, 2, 1]


# Signals, to a process of its own

def _puts(folder: str, pipe) -> None:
    "Put until a signal comes, and say what was acknowledged"
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with env(OBJECTSTORE_STATE_DIR=f'{folder}/state', OBJECTSTORE_CACHE_DIR=f'{folder}/cache'):
        s, i = open_store(Path(folder), 'far'), 0
        s.find_items()
        pipe.send('ready')
        try:
            while True:
                i += 1
                pipe.send(s.put(f'lab/{i % 7}', content(str(i), LARGE * (i % 5 == 0))).ref)
        except KeyboardInterrupt:
            s.refresh()
            pipe.send(('found', sorted(v.ref for v in s.find_items(at='*')), sorted(truth(s))))

@pytest.mark.parametrize('sign', [signal.SIGINT, signal.SIGTERM], ids=['SIGINT', 'SIGTERM'])
def test_signals(quick, sign, figure):
    rounds, puts, rng = soak(3, 200), 0, random.Random(27)
    for k in range(rounds):
        (folder := quick/f'{k}').mkdir()
        mine, its = _context.Pipe()
        p, told = start(_puts, str(folder), its), []
        its.close()
        assert mine.poll(60) and mine.recv() == 'ready'
        for _ in range(rng.randrange(1, 40)): told.append(mine.recv())
        os.kill(p.pid, sign)
        said = None
        try:
            while mine.poll(60):
                x = mine.recv()
                if isinstance(x, tuple): said = x
                else: told.append(x)
        except EOFError: pass
        p.join(60)
        with env(OBJECTSTORE_STATE_DIR=f'{folder}/state', OBJECTSTORE_CACHE_DIR=f'{folder}/cache'):
            s = open_store(folder, 'far')
            assert set(told) <= {v.ref for v in s.find_items(at='*')}, 'acknowledged and not found'
            if sign == signal.SIGINT: assert said and said[1] == said[2] and searched(s) == truth(s)
        puts += len(told)
    figure(f'27 {rounds} processes with {sign.name}', puts=puts, not_found=0)


# What is said for one call ends with it

def test_an_interrupted_call_leaves_the_origin_no_longer_alone(tmp_path):
    """`at_origin` holds within a call: one that is interrupted at any line of its page leaves later reads their near
    copies"""
    store = ObjectStore('memory://', progress=False)
    for i in (1, 2): store.put('lab/m', i, alias='production')
    flush_hints()
    def interrupted(n: int) -> bool:
        try:
            with at_line(n, near.__file__):
                store.rollback('lab/m', 'production', to=1), store.rollback('lab/m', 'production', to=2)
        except Ctrl: return True
        return False
    n, left = 1, []
    while interrupted(n):
        if near.firm_now(): left.append(n)
        near._firm.set('')
        n += 1
    assert n > 10 and not left, (n, left)
