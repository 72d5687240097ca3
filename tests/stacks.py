"""The places that the store's suites run on, and what they share: a clean home, a second process, counted requests.

    stack     each place in turn, empty: `stack.open(**options)`, `stack.stored()`, `stack.quick`
    b         the name of a bucket that is the test's own
    store     the place, opened
    peer      the same place, opened by another process (by another object, where it is in memory)
"""
from __future__ import annotations
import multiprocessing, os, re, secrets, threading, time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partialmethod
from pathlib import Path
from unittest import mock

import pytest
from objectstore import ObjectStore
from objectstore.format import commit
from objectstore.cache import download
from objectstore.storage.files import FileBackend
from objectstore.search.changelog import flush_hints
from planting import spare
from services import Place
from surroundings import foreign

HERE, SERVICES = ['memory', 'local', 'shared', 'two', 'three'], ['seaweed', 'ceph', 'given']


@dataclass
class Stack:
    "One place for a store"
    name: str
    url: str
    options: dict = field(default_factory=dict)
    folder: Path | None = None          # Where the bytes lie, if they are files
    nears: list[str] = field(default_factory=list)    # Tiers before the origin
    native: bool = False                # Are our buckets the service's own?
    made: list[str] = field(default_factory=list)

    @property
    def quick(self) -> bool: return self.name in HERE
    def open(self, **options) -> ObjectStore:
        return ObjectStore(*self.nears, self.url, **{'near': False, **self.options, **options})

    def bucket(self, word='lab') -> str:
        "A bucket that no other test has; on the service's own buckets it is made"
        if not self.native: return word
        name = f'{word}-{secrets.token_hex(4)}'
        self.made.append(self.open().find_or_create_bucket(name))
        return name

    def backends(self) -> list:
        "Every backend that holds something of this test"
        place = self.open().origin.place
        return [place.backend(n) for n in self.made] if self.native else [place]

    def stored(self) -> Iterator[tuple[str, bytes]]:
        "Every stored object of this test: key and bytes; but for hints, which come when they come"
        return ((k, data) for k, data in self._stored() if '/log/h-' not in f'/{k}')

    def _stored(self) -> Iterator[tuple[str, bytes]]:
        if self.folder:
            yield from ((str(p.relative_to(self.folder)), p.read_bytes()) for p in sorted(self.folder.rglob('*'))
                        if p.is_file() and not p.name.startswith('h-'))
            return
        for backend in self.backends():
            yield from ((e.key, backend.read(e.key)) for e in backend.list('') if '/log/' not in f'/{e.key}')

    def remove(self) -> None:
        "Remove the service's own buckets, which other tests would see"
        flush_hints()
        for name, backend in zip(self.made, self.backends() if self.made else ()):
            for e in list(backend.list('')): backend.delete(e.key)
            self.open().origin.place._ask('delete_bucket', Bucket=name)


def little_patience(monkeypatch) -> None:
    "A volume that answers late is another suite's matter: here what is absent is absent"
    monkeypatch.setattr(FileBackend, '__init__', spare(partialmethod(FileBackend.__init__, patience=0.1)))
    for module in (download, commit): monkeypatch.setattr(module, 'PATIENCE', 0.1)

def make_stack(name: str, tmp_path: Path, request, monkeypatch) -> Stack:
    "A stack by its name, empty, or a skip"
    if name == 'memory': return Stack(name, f'memory://{secrets.token_hex(8)}')
    if name in ('shared', 'three'): little_patience(monkeypatch)
    if name in ('local', 'shared'):
        (folder := tmp_path/'outer'/'store').parent.mkdir(exist_ok=True)
        return Stack(name, f'file://{folder}?shared=true' if name == 'shared' else str(folder), folder=folder)
    if name in ('two', 'three'):
        (folder := tmp_path/'outer'/'store').parent.mkdir(exist_ok=True)
        shared = '?shared=true' * (name == 'three')
        return Stack(name, f'file://{folder}{shared}', folder=folder,
                     nears=[str(tmp_path/'near'), *([f'file://{tmp_path}/share?shared=true'] if shared else [])])
    service = request.getfixturevalue('seaweed' if name == 'native' else name)
    for k, v in service.environment.items(): monkeypatch.setenv(k, v)
    native = name == 'native'
    return Stack(name, 's3://' if native else Place(service).url, dict(endpoint=service.endpoint, timeout=5.0),
                 native=native)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    "A home without settings, and a folder of work beside it"
    for k in list(os.environ):
        if foreign(k): monkeypatch.delenv(k)
    monkeypatch.setenv('HOME', str(tmp_path/'home'))
    (work := tmp_path/'work').mkdir()
    monkeypatch.chdir(work)
    return tmp_path

@pytest.fixture(params=HERE + SERVICES)
def stack(request, tmp_path, monkeypatch, home):
    s = make_stack(request.param, tmp_path, request, monkeypatch)
    yield s
    s.remove()

@pytest.fixture
def b(stack) -> str: return stack.bucket()

@pytest.fixture
def store(stack, b) -> ObjectStore: return stack.open()


@contextmanager
def requests(store: ObjectStore, answer: Callable | None = None) -> Iterator[Counter]:
    "What is asked of the place meanwhile, by method; `answer`: what stands in for every method"
    verbs = ('create', 'upload', 'read', 'stream', 'list', 'folders', 'exists', 'delete', 'create_many', 'read_many',
             'tail', 'names', 'make')
    places, seen = {id(p): p for p in (store.origin.place,
                                       *(b.backend for b in store.origin._buckets.values()))}, Counter()
    def counted(verb, real):
        def call(*args, **kwargs):
            seen[verb] += 1
            return (answer or real)(*args, **kwargs)
        return call
    flush_hints()      # of what was done before
    with ExitStack() as stack:
        for p in places.values():
            for verb in verbs:
                if hasattr(p, verb): stack.enter_context(mock.patch.object(p, verb, counted(verb, getattr(p, verb))))
        yield seen


def _work(pipe) -> None:
    "What the other process does: opens stores, and calls what it is told to call"
    store = None
    while (told := pipe.recv()) is not None:
        kind, *what = told
        try:
            # first: a store finds its index when it is opened
            if kind == 'surroundings': os.environ.update(what[0]); said = None
            elif kind == 'open': store, said = what[0], None
            else: said = what[0](store, *what[1])
            pipe.send((True, said))
        except Exception as e: pipe.send((False, f'{type(e).__name__}: {e}'))

class Process:
    "Another process, which calls functions of a module with a store of its own"
    def __init__(self):
        spawn = multiprocessing.get_context('spawn')
        self.pipe, end = spawn.Pipe()
        self.process = spawn.Process(target=_work, args=(end,), daemon=True)
        self.process.start()
    def tell(self, *what):
        self.pipe.send(what)
        if not self.pipe.poll(500): raise TimeoutError('the other process does not answer')
        ok, said = self.pipe.recv()
        if not ok: raise RuntimeError(f'the other process: {said}')
        return said
    def close(self):
        self.pipe.send(None)
        self.process.join(10)

class Peer:
    "The place as another opens it: `peer(f, *args)` is `f(store, *args)` there, acknowledged when it returns"
    def __init__(self, store: ObjectStore, process: Process | None):
        self.store, self.process = store, process
        if process:
            process.tell('surroundings',
                         {k: v for k, v in os.environ.items()
                          if k.startswith(('AWS_', 'OBJECTSTORE_', 'HOME'))}), process.tell('open', store)
    def __call__(self, f: Callable, *args):
        return self.process.tell('call', f, args) if self.process else f(self.store, *args)

@pytest.fixture(scope='session')
def other_process():
    p = Process()
    yield p
    p.close()

@pytest.fixture
def peer(stack, b, request) -> Peer:
    "A second writer; where the place is this process's memory, a second object"
    return Peer(stack.open(), None if stack.name == 'memory' else request.getfixturevalue('other_process'))


def wait_a_tick(stack: Stack) -> None:
    "Long enough for the place's clock to show another time"
    time.sleep(0.02 if stack.quick else 1.1)

def flat_html(html: str) -> str: return re.sub(r'<style>.*?</style>', '', html, flags=re.DOTALL)

def together(n: int, f: Callable) -> list:
    "`f(0)` to `f(n - 1)` at the same time: their results, or the first error"
    gate, said = threading.Barrier(n), [None] * n
    def run(i):
        gate.wait()
        try: said[i] = f(i)
        except Exception as e: said[i] = e
    threads = [threading.Thread(target=run, args=(i,)) for i in range(n)]
    for t in threads: t.start()
    for t in threads: t.join()
    if bad := next((s for s in said if isinstance(s, Exception)), None): raise bad
    return said
