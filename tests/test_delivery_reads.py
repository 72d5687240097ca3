"""Delivery is invisible to readers: whatever is read while another process delivers, at whatever moment, is what was
put last.

The moment is forced: at the n-th look of a reader all of the delivery happens, for every n; and at the n-th write of a
delivery every verb reads. Beside that, two real processes. The oracle is what was acknowledged before the read began.
"""
from __future__ import annotations
import os, shutil, tempfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from unittest import mock
import pytest
from objectstore import ObjectStore
from objectstore.search import keeper
from objectstore.store import reads as stores
from objectstore.storage.files import FileBackend
from objectstore.search.changelog import flush_hints
from objectstore.cache.outbox import Pending
from away import Switch, env, forget_all, on_line, quiet
from trial import SOAK, _context, content, soak, start, whole

LARGE = 40_000

class Home:
    "Pending work of every kind over an origin of files, laid out again for each try"
    def __init__(self, folder: Path):
        self.folder, self.kept = folder, folder.with_name('kept')
        folder.mkdir()
        s = self.open()
        for name in ('m', 'large'): s.put(f'lab/{name}', content('old'))
        s.put('lab/gone', content('kept')), s.put('lab/gone', content('removed'))
        s.set_alias('lab/m@1', 'production')
        s.find_items()
        on_line(s, switch := Switch())
        switch.mode = 'refuse'
        with quiet():
            s.put('lab/m', content('new'))
            s.put('lab/large', content('new', LARGE))
            s.put('fresh/first', content('new'))
            (top := folder/'photos').mkdir()
            for i in range(2): (top/f'{i}').write_bytes(content(f'{i}', LARGE * i))
            s.put('lab/folder', top)
            s.annotate(s['lab/m'], {'note': 1})
            s.set_alias(s['lab/m'], 'production')
            s.annotate( 'lab/gone@1', {'note': 1})
            s.remove('lab/gone@2')
        shutil.copytree(folder, self.kept)

    def open(self) -> ObjectStore:
        forget_all()
        with env(OBJECTSTORE_STATE_DIR=str(self.folder/'state')):
            return ObjectStore(str(self.folder/'near'), str(self.folder/'origin'), progress=False)
    def again(self) -> None:
        flush_hints()
        shutil.rmtree(self.folder)
        shutil.copytree(self.kept, self.folder)

@pytest.fixture
def laid(clean):
    with tempfile.TemporaryDirectory(dir='/dev/shm' if os.access('/dev/shm', os.W_OK) else clean,
                                     ignore_cleanup_errors=True) as d:
        yield Home(Path(d)/'laid')


# What each verb must say, before, during and after a delivery

def named(versions) -> dict[str, list[str]]:
    "The contents of versions, by item"
    found: dict = {}
    for v in versions:
        if v.codec != 'folder': found.setdefault(v.item, []).append(whole(v.get(as_='bytes')))
    return found

def lists_latest(s):
    assert named(s.find_items()) == {'m': ['new'], 'large': ['new'], 'first': ['new'], 'gone': ['kept']}
def lists_all(s):
    assert {i: sorted(x) for i, x in named(s.find_items('lab', at='*')).items()} == {
        'm': ['new', 'old'], 'large': ['new', 'old'], 'gone': ['kept']}
def finds_notes(s):
    assert {v.id for v in s.find_items('lab', where='note = 1')} == {v.id for v in (s['lab/gone'], s['lab/m'])}
def gets(s): assert whole(s.get('lab/m')) == 'new'
def gets_large(s): assert whole(s.get('lab/large')) == 'new'
def gets_a_folder(s): assert [whole(p.read_bytes()) for _, p in sorted(s.get('lab/folder').items())] == ['0', '1']
def gets_what_was_removed(s):
    assert whole(s.get('lab/gone')) == 'kept' and 'lab/gone@2' not in s
def gets_an_alias(s): assert whole(s.get('lab/m@production')) == 'new'
def gets_many(s):
    assert [whole(x) for x in s.get_many(['lab/m', 'lab/large', 'lab/gone', 'fresh/first'])] == [
        'new', 'new', 'kept', 'new']
def brackets(s):
    assert (s['lab/m'].notes == {'note': 1} and s['lab/m'].aliases == ['production']
            and s['lab/gone'].metadata == {'note': 1})
def contains(s): assert all(r in s for r in ('lab/m', 'lab/large', 'lab/folder', 'fresh/first', 'lab/m@production'))
def versions(s):
    found = s.versions('lab/m')
    assert (named(found) == {'m': ['old', 'new']} and found[-1].notes == {'note': 1}
            and found[-1].aliases == ['production'])
def versions_of_large(s):
    assert (named(s.versions('lab/large')) == {'large': ['old', 'new']}
            and named(s.versions('lab/gone')) == {'gone': ['kept']})
def a_version_at_hand(s):
    v = s['lab/large']
    with v.open() as f: assert whole(f.read()) == 'new'
    assert whole(v.path().read_bytes()) == 'new' and whole(v.get()) == 'new'
def a_folder_at_hand(s):
    f = s['lab/folder'].get()
    assert len(f) == 2 and whole(f.read('1')) == '1' and sorted(p.name for p in f.path().iterdir()) == ['0', '1']
def counts(s):
    assert (s.get_stats('lab/m')['versions'] == 2 and s.get_stats('lab')['versions'] == 6
            and s.list_buckets() == ['fresh', 'lab'])
def unchanged(s):
    with quiet(): assert whole(s.put('lab/m', content('new'), skip_unchanged=True).get(as_='bytes')) == 'new'
    assert len(s.versions('lab/m')) == 2
def by_id(s):
    v = s['lab/m']
    assert whole(s.get(f'lab/m@id:{v.id}')) == 'new'
VERBS = [lists_latest, lists_all, finds_notes, gets, gets_large, gets_a_folder, gets_what_was_removed, gets_an_alias,
         gets_many, brackets, contains, versions, versions_of_large, a_version_at_hand, a_folder_at_hand, counts,
         unchanged, by_id]

@contextmanager
def at_look(n: int, then) -> list:
    "Do something before the n-th look of this process at files, the origin's or the queue's; the looks so far"
    seen, busy = [], []
    def look(real, *args, **kwargs):
        if not busy:
            seen.append(1)
            if len(seen) == n:
                busy.append(1)
                then()
                busy.clear()
        return real(*args, **kwargs)
    def wrap(real): return lambda *a, **k: look(real, *a, **k)
    reads = [(FileBackend, m) for m in ('read', 'list', 'exists', 'path', 'tail', 'folders', 'create')] + [(
        Pending, 'work'), (Pending, 'record'), (Pending, 'done')]
    patches = [mock.patch.object(cls, m, wrap(getattr(cls, m))) for cls, m in reads]
    for p in patches: p.start()
    try: yield seen
    finally:
        for p in patches: p.stop()

def read_while_delivered(laid: Home, verb, n: int) -> tuple[int, Exception | None]:
    "Read, all of the delivery happening at the n-th look: how many looks there were, and what went wrong"
    laid.again()
    reader, other = laid.open(), laid.open()
    reader._next_sync = float('inf')       # it does not deliver by itself, in the background
    def delivers(): assert not other.sync().waiting
    with at_look(n, delivers) as seen:
        try: verb(reader)
        except Exception as e: return len(seen), e
    return len(seen), None

@pytest.mark.parametrize('verb', VERBS, ids=lambda f: f.__name__)
def test_delivered_at_every_look(laid, verb, figure):
    n, looks, wrong = 1, 1, []
    while n <= looks:
        looks, error = read_while_delivered(laid, verb, n)
        if error: wrong.append((n, error))
        n += 3 if looks > 40 and SOAK <= 1 else 1
    assert not wrong, wrong[:3]
    assert verb is unchanged or looks >= 3
    figure(f'26 {verb.__name__}, delivered at each of {looks} looks', errors=len(wrong), older=0)

def test_every_verb_reads_at_every_write_of_a_delivery(laid, figure):
    laid.again()
    reader, other, reads, failed = laid.open(), laid.open(), 0, []
    reader._next_sync = float('inf')
    real, busy = {m: getattr(FileBackend, m) for m in ('create', 'upload', 'delete')}, []
    def all_read() -> None:
        nonlocal reads
        busy.append(1)
        for verb in VERBS:
            if verb is unchanged: continue      # it would put behind what is there
            reads += 1
            try: verb(reader)
            except Exception as e: failed.append((verb.__name__, e))
        busy.clear()
    def wrap(m):
        def call(self, *args, **kwargs):
            if not busy: all_read()
            return real[m](self, *args, **kwargs)
        return call
    with mock.patch.multiple(FileBackend, **{m: wrap(m) for m in real}): report = other.sync()
    all_read()
    assert not report.waiting and not report.conflicts
    assert not failed, failed[:3]
    figure('26 every verb at every write of a delivery', reads=reads, errors=len(failed))


# Planted: each mechanism taken away

def _no_second_look(self, w):
    return stores.PendingVersion(self, stores.Waiting(w, self.pending, self.origin.bucket(w.bucket)),
                                 self.pending.record(w), w.since)
def _once(self, v, read): return read(v)
def _origin_first(self, v): return v._in.notes(v.item, v.version) + self.waiting_notes(v)
def _all(found, waiting): return [*found, *waiting]
PLANTED = {
    'pending bytes that are gone are damaged': (ObjectStore, '_pending_version', _no_second_look, gets),
    'so are those of a version at hand': (ObjectStore, 'or_delivered', _once, a_version_at_hand),
    'the origin is asked before the queue': (ObjectStore, 'notes_of', _origin_first, brackets),
    'both sides are believed': (stores, 'with_pending', _all, versions_of_large),
}

@pytest.mark.parametrize('what', PLANTED)
def test_planted_at_the_readers(laid, monkeypatch, what):
    where, name, bug, verb = PLANTED[what]
    fired = []
    def planted(*args): fired.append(1); return bug(*args)
    monkeypatch.setattr(where, name, planted)
    wrong, n, looks = [], 1, 1
    while n <= looks and not wrong:
        looks, error = read_while_delivered(laid, verb, n)
        wrong += [error] * bool(error)
        n += 1
    assert fired and wrong

def test_planted_an_index_that_is_told_later(laid, monkeypatch):
    "Another process finds neither the pending put nor the version"
    monkeypatch.setattr(keeper.IndexUpdates, 'told', lambda self: None)
    laid.again()
    reader, other, missed = laid.open(), laid.open(), []
    reader._next_sync = float('inf')
    reader.find_items()
    real = Pending.finish
    def finish(self, w, *args):
        real(self, w, *args)
        if w.op == 'put' and w.item == 'large': missed.append(named(reader.find_items('lab'))['large'] != ['new'])
    monkeypatch.setattr(Pending, 'finish', finish)
    other.sync()
    assert missed == [True]


# Two processes

def _writes(folder: str, pipe, puts: int) -> None:
    "Put while the origin is not asked, say so, deliver; again and again"
    with env(OBJECTSTORE_STATE_DIR=f'{folder}/state'), quiet():
        off, on = (ObjectStore(f'{folder}/near', f'{folder}/origin', progress=False, offline=o) for o in (True, 'auto'))
        for i in range(1, puts + 1):
            off.put('lab/n', content(f'{i}', LARGE * (i % 2)))
            pipe.send(i)
            on.sync()
        pipe.send(None)
        pipe.recv()

def test_beside_a_process_that_delivers(clean, figure):
    folder, puts = clean, soak(40, 1500)
    with env(OBJECTSTORE_STATE_DIR=f'{folder}/state'), quiet():
        s = ObjectStore(f'{folder}/near', f'{folder}/origin', progress=False)
        s.put('lab/n', content('0'))
        def value(x): return int(whole(x))
        verbs = {'get': lambda: value(s.get('lab/n')), 'brackets': lambda: value(s['lab/n'].get(as_='bytes')),
                 'many': lambda: value(s.get_many(['lab/n'])[0]),
                 'versions': lambda: value(s.versions('lab/n')[-1].get(as_='bytes')),
                 'find': lambda: value(s.find_items('lab')[0].get(as_='bytes')),
                 'in': lambda: 10**9 if 'lab/n' in s else -1, 'all': lambda: len(s.find_items('lab', at='*')) - 1,
                 'path': lambda: value(s['lab/n'].path().read_bytes())}
        mine, its = _context.Pipe()
        p, reads, wrong = start(_writes, str(folder), its, puts), Counter(), []
        acknowledged = mine.recv() if mine.poll(60) else None
        while acknowledged is not None:
            for name, read in verbs.items():
                while acknowledged is not None and mine.poll(): acknowledged = mine.recv()
                if acknowledged is None: break
                reads[name] += 1
                try:
                    if (got := read()) < acknowledged: wrong.append((name, acknowledged, got))
                except Exception as e: wrong.append((name, acknowledged, repr(e)))
        assert value(s.get('lab/n')) == puts and len(s.versions('lab/n')) == puts + 1
        mine.send(None)
        p.join(60)
    assert not wrong and reads, wrong[:5]
    figure(f'26 beside a process that delivers {puts} puts', reads=reads.total(), errors=0, older=0)
