"""Stacks whose origin can go away and come back.

    world       two or three tiers over each kind of origin: `world.open(**options)`, `world.away('refuse')`,
    `world.back()`
    machines    several machines (a state folder and near tiers of its own each) over one origin in memory

Origins in memory and in files go away by a switch in this process, SeaweedFS behind a proxy. Nothing here waits for
real time-outs but the tests that measure them.
"""
from __future__ import annotations
import errno, os, secrets, time, warnings
from contextlib import contextmanager
from pathlib import Path
import pytest
from objectstore import ObjectStore, PendingWarning, StaleWarning
from objectstore.storage.backend import Capabilities, MemoryBackend
from objectstore.cache.breaker import Breaker
from objectstore.format.witness import Sight
from proxy import Proxy
from services import Place
from surroundings import foreign
from trial import PATIENCE, Wrapped

ERRORS = dict(refuse=lambda: ConnectionRefusedError(errno.ECONNREFUSED, 'it refuses connections'),
              hang=lambda: ConnectionError(errno.ETIMEDOUT, 'it did not answer in time'),
              error=lambda: ConnectionError(errno.EIO, '503 SlowDown'))

class Switch:
    "Whether an origin is there, how it is not, and what was asked of it"
    def __init__(self): self.mode, self.asked, self.after = None, [], None
    def check(self, op: str, key: str) -> None:
        if '/log/h-' not in f'/{key}': self.asked.append((op, key))      # hints come when they come
        if self.mode: raise ERRORS[self.mode]()

class Line(Wrapped):
    "A backend behind a switch"
    def __init__(self, inner, switch):
        super().__init__(inner)
        self.switch, self.endpoint = switch, getattr(inner, 'endpoint', None)
    def call(self, op, key, run):
        self.switch.check(op, key)
        return run()

class Service(MemoryBackend):
    "Memory that is asked as a service is"
    can = Capabilities('remote', wait=0.002, many=4, page=1000)

def on_line(store: ObjectStore, switch: Switch) -> ObjectStore:
    "A store whose origin goes away by a switch"
    guarded = store.origin.place.origin
    guarded.inner = line = Line(guarded.inner, switch)
    if store.origin.breaker: store.origin.breaker.probe = lambda: next(line.list('probe/', limit=1), None)
    return store

def forget_all() -> None:
    "As in a new process"
    Breaker._all.clear(), Sight._all.clear()


class World:
    "A stack of tiers over one origin, seen from one machine"
    def __init__(self, kind: str, tiers: int, folder: Path, request):
        self.kind, self.folder, self.switch, self.proxy, self.options = kind, folder, Switch(), None, {}
        self.nears = [str(folder/'near')] + [f'file://{folder}/share?shared=true'] * (tiers == 3)
        name = secrets.token_hex(8)
        if kind == 'memory': MemoryBackend._shared[name], self.url = Service(name), f'memory://{name}'
        elif kind == 'seaweed': self._service(request)
        else: self.url = f'file://{folder}/origin' + '?shared=true' * (kind == 'shared')

    def _service(self, request) -> None:
        service = request.getfixturevalue('seaweed')
        for k, v in service.environment.items(): os.environ[k] = v
        self.proxy = Proxy(service.endpoint).__enter__()
        request.addfinalizer(lambda: self.proxy.__exit__())
        self.url, self.options = Place(service).url, dict(endpoint=self.proxy.endpoint, timeout=3.0)

    def open(self, **options) -> ObjectStore:
        store = ObjectStore(*self.nears, self.url, progress=False, **{**self.options, **options})
        return store if self.proxy else on_line(store, self.switch)
    def alone(self, **options) -> ObjectStore:
        "The origin without near tiers"
        return ObjectStore(self.url, near=False, progress=False, **{**self.options, **options})

    def away(self, how: str = 'refuse') -> None:
        if self.proxy: self.proxy.fault({'error': '503'}.get(how, how))
        else: self.switch.mode = how
    def back(self) -> None:
        if self.proxy: self.proxy.clear()
        self.switch.mode = None

@pytest.fixture(params=['memory-2', 'local-2', 'shared-2', 'local-3', 'seaweed-3'])
def world(request, clean):
    kind, tiers = request.param.split('-')
    return World(kind, int(tiers), clean, request)

@pytest.fixture
def memory(request, clean): return World('memory', 2, clean, request)


class Machine:
    "One of several machines over an origin in memory"
    def __init__(self, folder: Path, name: str, url: str, switch: Switch):
        self.folder, self.url, self.switch = folder/name, url, switch
    def open(self, **options) -> ObjectStore:
        with env(OBJECTSTORE_STATE_DIR=str(self.folder/'state')):
            return on_line(ObjectStore(str(self.folder/'near'), self.url, progress=False, **options), self.switch)

@pytest.fixture
def machines(clean):
    "A function from names to machines, over one origin"
    name = secrets.token_hex(8)
    MemoryBackend._shared[name] = Service(name)
    switch = Switch()
    def make(*names): return [Machine(clean, n, f'memory://{name}', switch) for n in names]
    make.switch, make.url = switch, f'memory://{name}'
    return make

@contextmanager
def env(**values):
    before = {k: os.environ.get(k) for k in values}
    os.environ.update(values)
    try: yield
    finally:
        for k, v in before.items(): os.environ.pop(k) if v is None else os.environ.__setitem__(k, v)

@pytest.fixture
def clean(tmp_path, monkeypatch):
    "Folders of the test's own, and nothing known"
    for k in list(os.environ):
        if foreign(k): monkeypatch.delenv(k)
    for k, d in dict(OBJECTSTORE_STATE_DIR='state', OBJECTSTORE_CACHE_DIR='cache', HOME='home').items():
        monkeypatch.setenv(k, str(tmp_path/d))
    (tmp_path/'work').mkdir(), (tmp_path/'home').mkdir()
    monkeypatch.chdir(tmp_path/'work')
    forget_all()
    yield tmp_path
    forget_all()
    for k in list(os.environ):
        if k.startswith('AWS_'): del os.environ[k]

@contextmanager
def quiet():
    "Without the warnings that work offline gives"
    with warnings.catch_warnings():
        for kind in (PendingWarning, StaleWarning): warnings.simplefilter('ignore', kind)
        yield

def delivered(store: ObjectStore, *refs: str) -> bool:
    "Does nothing wait any more, and is it there: by this call, or by the thread that found the origin back before it?"
    report = store.sync()
    assert {o.became for o in report} <= set(refs), report
    return not report.waiting and not store.status()['pending'] and all(r in store for r in refs)

@contextmanager
def within(seconds: float):
    "It ends by itself: in so many seconds on a quiet machine"
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds * PATIENCE, f'it took {time.monotonic() - began:.2f} s, not {seconds}'
