"""Another store in the same place is noticed (RELIABILITY.md, 22), and pending work is found by identity (30).

One origin is emptied and filled again, restored from a backup with and without its id, or copied, by another machine,
while one store object of this machine stays open. What this object, a new one and a new process answer is compared with
what a machine answers that has never seen the place before.
"""
from __future__ import annotations
import os, secrets, shutil, warnings
from pathlib import Path
import pytest
from objectstore import NotFound, ObjectStore, StaleWarning
from objectstore.backend import MemoryBackend
from objectstore.breaker import Breaker
from objectstore.log import flush_hints
from objectstore.origin import Origin
from objectstore.remote import RemoteBackend
from objectstore.witness import Sight, Witness, save_witnesses
import objectstore.origin, objectstore.puts, objectstore.stacks
from away import Service, clean, env, forget_all, on_line, quiet, Switch  # noqa: F401 (fixtures)
from services import Place

KINDS = ['files', 'snapshot', 'seaweed', 'ceph']
WHAT = ['emptied and filled again', 'restored with its id', 'restored without its id']


class Storage:
    "A storage, its store seen from this machine and from others, and what others do to it behind the store's back"
    def __init__(self, kind: str, folder: Path, near: bool, request):
        self.kind, self.folder, self.options = kind, folder, dict(near=False, progress=False)
        self.nears, self.n = [str(folder/'near')] * near, 0
        if kind == 'files': self.url, self.raw = str(folder/'lab'), None
        elif kind == 'snapshot':
            name = secrets.token_hex(8)
            MemoryBackend._shared[name] = self.raw = Service(name)
            self.url = f'memory://{name}'
        else:
            place = Place(service := request.getfixturevalue(kind))
            os.environ.update(service.environment)
            self.url, self.options = place.url, self.options | dict(endpoint=service.endpoint, timeout=5.0)
            self.raw = RemoteBackend(place.url, endpoint=service.endpoint, timeout=5.0)

    def open(self) -> ObjectStore: return ObjectStore(*self.nears, self.url, **self.options)
    def process(self) -> ObjectStore:
        "As a new process of this machine opens it"
        save_witnesses(), flush_hints(), forget_all()
        return self.open()
    def other(self, url: str | None = None) -> ObjectStore:
        "As a machine opens it that has never been here"
        self.n += 1
        with env(OBJECTSTORE_STATE_DIR=str(self.folder/f'other-{self.n}'), OBJECTSTORE_CACHE_DIR=str(self.folder/f'cache-{self.n}')):
            s = ObjectStore(url or self.url, **self.options)
            s.keeper.index.there()
            return s

    def kept(self) -> dict:
        "All of it, as a backup keeps it; a snapshot keeps the stamps, too"
        flush_hints()
        if self.kind == 'files': shutil.rmtree(self.folder/'backup', ignore_errors=True); return {'at': shutil.copytree(self.url, self.folder/'backup')}
        if self.kind == 'snapshot': return dict(self.raw._objects)
        return {e.key: self.raw.read(e.key) for e in self.raw.list('')}

    def empty(self) -> None:
        flush_hints()
        if self.kind == 'files':
            for p in Path(self.url).iterdir(): shutil.rmtree(p) if p.is_dir() else p.unlink()
        elif self.kind == 'snapshot': self.raw._objects.clear()
        else: [self.raw.delete(e.key) for e in list(self.raw.list(''))]

    def restore(self, backup: dict, ids: bool) -> None:
        self.empty()
        if self.kind == 'files':
            shutil.copytree(backup['at'], self.url, dirs_exist_ok=True)
            if not ids: shutil.rmtree(Path(self.url)/'id'), (Path(self.url)/'objectstore.json').unlink()
            return
        backup = {k: v for k, v in backup.items() if ids or not k.startswith(('id/', 'objectstore.json'))}
        if self.kind == 'snapshot': self.raw._objects.update(backup)
        else: assert all(self.raw.create(k, v) for k, v in backup.items())


@pytest.fixture(params=[f'{k}-{"near" if n else "alone"}' for k in KINDS for n in (False, True)])
def storage(request, clean):
    kind, near = request.param.split('-')
    return Storage(kind, clean, near == 'near', request)


def answers(s: ObjectStore, order: int = 0, index: bool = True) -> dict:
    "What a store says of the item `lab/m`; `order`: what it is asked first"
    def said(f):
        try: return f()
        except NotFound: return 'not found'
    ask = {'latest': lambda: s.get('lab/m'), 'versions': lambda: s.versions('lab/m').refs, 'prod': lambda: s.get('lab/m@prod'),
           'search': lambda: sorted((v.ref, v.get()) for v in s.find_items('lab', at='*')) if index else None,
           **{f'@{n}': lambda n=n: s.get(f'lab/m@{n}') for n in range(1, 6)}, 'prod after': lambda: s.get('lab/m@prod')}
    first = list(ask)[order]
    return {k: said(ask[k]) for k in [first, *(k for k in ask if k != first)]}

def a_minute_later(monkeypatch) -> None:
    "Nothing is taken for granted any more that was seen before"
    for module in (objectstore.origin, objectstore.puts, objectstore.stacks): monkeypatch.setattr(module, 'ASK_AGAIN', -1.0)

def filled(storage: Storage) -> tuple[ObjectStore, dict]:
    "A store object that has put and got four versions, of which a backup has two"
    A = storage.open()
    for i in (1, 2): A.put('lab/m', f'lost {i}' if i > 2 else f'kept {i}')
    A.set_alias('lab/m@2', 'prod')
    backup = storage.kept()
    for i in (3, 4): A.put('lab/m', f'lost {i}')
    A.set_alias('lab/m@4', 'prod')
    return A, backup

def replaced(storage: Storage, backup: dict, what: str) -> None:
    "What others do to the storage"
    if what == WHAT[0]: storage.empty()
    else: storage.restore(backup, ids=what == WHAT[1])
    other = storage.other()
    with quiet():
        other.put('lab/m', 'new a'), other.put('lab/m', 'new b')
        other.set_alias(f'lab/m@{other["lab/m"].version}', 'prod')
    other.close()

@pytest.fixture(autouse=True)
def silent():
    "A store that is made anew says so"
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='.*is a new store')
        warnings.simplefilter('error', StaleWarning)
        yield

def orders(storage: Storage, near: bool) -> list[int]:
    "What is asked first; of a service one after the other takes long"
    return ([0, 1, 2, 3] + [4] * (not near)) if storage.kind in ('files', 'snapshot') else [0]

def differing(said: dict, truth: dict) -> dict: return {k: (said[k], truth[k]) for k in said if said[k] != truth[k]}

@pytest.mark.parametrize('what', WHAT)
def test_another_store_in_the_same_place(storage, what, figure, monkeypatch):
    stale, burnt, asked = 0, 0, 0
    if storage.kind == 'snapshot' and what != WHAT[0]: monkeypatch.setattr(objectstore.origin, 'ASK_AGAIN', -1.0)     # else a number won a moment ago that shows another write means that two have won
    for order in orders(storage, bool(storage.nears)):
        for index in (True, False):
            storage.empty() if storage.kind != 'files' or Path(storage.url).exists() else None
            if storage.kind == 'files': shutil.rmtree(storage.url, ignore_errors=True)
            forget_all()
            A, backup = filled(storage)
            assert answers(A, 0, index)['latest'] == 'lost 4'
            replaced(storage, backup, what)
            truth = answers(storage.other(), 0, True)
            assert truth['latest'] == 'new b' and 'lost' not in repr(truth)
            for open_it in (lambda: A, storage.open, storage.process):
                s = open_it()
                said = answers(s, order, index)
                asked += len(said)
                stale += len(wrong := differing({k: v for k, v in said.items() if k != 'search' or index}, truth))
                assert not wrong, (what, order, index, s is A, wrong)
            n = storage.other()['lab/m'].version
            with monkeypatch.context() as m:
                if storage.kind != 'files': a_minute_later(m)
                given = [A.put('lab/m', 'A').version, s.put('lab/m', 's').version, storage.open().put('lab/m', 'o').version]
            burnt += given != [n + 1, n + 2, n + 3]
            assert given == [n + 1, n + 2, n + 3] and storage.other().versions('lab/m').refs == [f'lab/m@{i}' for i in range(1, n + 4)]
    figure(f'{storage.kind}, {"near tier" if storage.nears else "no near tier"}, {what}', answers=asked, stale=stale, burnt=burnt)
