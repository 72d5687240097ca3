"""An interruption leaves a whole store and a true index.

A KeyboardInterrupt comes at the n-th line of the library, or before or behind the n-th write, for every n; signals come
to a process of its own. Afterwards, for whoever lists the records and for whoever searches: the same versions, each with
its bytes; and who does it again with `skip_unchanged=True` doubles nothing.
"""
from __future__ import annotations
import os, random, signal, sys, threading
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from unittest import mock
import pytest
import objectstore
from objectstore import NotAvailableOffline, ObjectStore
from objectstore import buckets, keeping, log, pending
from objectstore.backend import MemoryBackend
from objectstore.files import FileBackend
from objectstore.log import flush_hints
from away import env, forget_all, quiet
from trial import SOAK, _context, content, soak, start, whole

LARGE = 40_000
HERE = str(Path(objectstore.__file__).parent)

class Ctrl(KeyboardInterrupt): "Ctrl-C, at a place of the test's choice"

@contextmanager
def at_line(n: int):
    "Ctrl-C at the n-th line of the library that this thread reaches; the lines so far"
    seen = [0]
    def line(frame, event, arg):
        if event == 'line':
            seen[0] += 1
            if seen[0] == n: sys.settrace(None); raise Ctrl(f'{frame.f_code.co_filename}:{frame.f_lineno}')
        return line
    def call(frame, event, arg): return line if frame.f_code.co_filename.startswith(HERE) else None
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
    patches = [mock.patch.object(cls, m, wrap(getattr(cls, m))) for cls in (FileBackend, MemoryBackend) for m in ('create', 'upload', 'create_many', 'delete') if m in vars(cls)]
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
def many(s): s.put_many([(f'lab/{i}', content(str(i))) for i in range(5)] + [('lab/m', content('3')), ('lab/m', content('4'))], skip_unchanged=True)
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
VERBS = [small, large, first, fresh, named, many, annotates, aims, unaims, removes, removes_all, removes_a_bucket, folders]

def truth(s) -> dict:
    "All that lives, from the records"
    found = {}
    for name in s.list_buckets():
        b = s.origin.bucket(name)
        aliases, notes = b.all_aliases(), b.all_notes()
        for item, numbers in b.scan().items():
            assert sorted(numbers.made) == list(range(1, len(numbers.made) + 1)), 'a gap'
            for n in numbers.live:
                found[f'{name}/{item}@{n}'] = (b.record(item, n).id, sorted(a for a, to in aliases.get(item, {}).items() if to == n), buckets.merge({}, notes.get((item, n), [])))
    return found

def searched(s) -> dict:
    "The same, as a search has it"
    return {v.ref: (v.id, v.aliases, buckets.merge({}, s.keeper.index.row(v.bucket, v.item, v.version).notes)) for v in s.find_items(at='*')}

def contents(s) -> Counter:
    "How many live versions of each item have each content"
    return Counter((v.bucket, v.item, v.hash) for name in s.list_buckets() for i in {i for i in s.origin.bucket(name).scan()} if f'{name}/{i}' in s for v in s.versions(f'{name}/{i}'))

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
    flush_hints(), keeping.settle_all(), flush_hints()
    assert searched(other) == truth(other), 'nor does another machine'
    verb(s)
    assert searched(s) == truth(s)
    assert max(contents(s).values(), default=0) <= 1, 'doubled'
    for r in truth(s): 
        if 'photos' not in r: assert whole(s.get(r))
    return cut


@pytest.mark.parametrize('verb', VERBS, ids=lambda f: f.__name__)
def test_at_every_write(clean, verb, figure):
    n = cuts = 0
    for behind in (False, True):
        k, cut = 1, True
        while cut:
            folder = clean/f'{behind}{k}'
            folder.mkdir()
            cut = interrupted(folder, 'far', verb, at_write(k, behind))
            cuts, n, k = cuts + cut, n + 1, k + 1
    assert cuts
    figure(f'27 {verb.__name__}, interrupted before and behind each write', interrupted=cuts, not_found=0, doubled=0)

@pytest.mark.parametrize('verb', VERBS, ids=lambda f: f.__name__)
def test_at_many_lines(clean, verb, figure):
    with at_line(10**9) as lines: verb_once(clean, verb)
    total, cuts = lines[0], 0
    rng = random.Random(verb.__name__)
    for k in sorted(rng.sample(range(1, total + 1), min(total, soak(12, 400)))):
        (folder := clean/f'{k}').mkdir()
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
