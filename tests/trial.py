"""What the reliability tests share: backends that go wrong, processes that can be killed, contents that show whether
they are whole.

    for i in range(soak(100, 500)): ...       # 100 repetitions in `make test`, OBJECTSTORE_SOAK times as many in `make
    soak`, at most 500
"""
from __future__ import annotations
import multiprocessing, os, signal, traceback
from collections.abc import Callable
from pathlib import Path
import pytest
from blake3 import blake3
from objectstore import ObjectStore
from objectstore.storage.backend import Backend, Capabilities, MemoryBackend
from objectstore.format.origin import Origin
from objectstore.storage.remote import RemoteBackend

PATIENCE = 10      # A busy machine may take so many times as long as a quiet one
SOAK = float(os.environ.get('OBJECTSTORE_SOAK') or 1)

def soak(
    n: int,                       # Repetitions that find the planted bugs
    most: int | None = None,      # More than these find nothing new
) -> int:
    "How often something is repeated"
    return max(1, round(min(n * SOAK, most or n * SOAK)))


@pytest.fixture
def own_cache(tmp_path_factory, monkeypatch):
    "No test reads or fills the user's own cache"
    monkeypatch.setenv('OBJECTSTORE_CACHE_DIR', str(tmp_path_factory.getbasetemp()/'cache'))


# Contents that say whether they are whole

def content(name: str, size: int = 0) -> bytes:
    "Bytes that begin with a name and end with their hash; at least `size` of them"
    body = f'{name}\n'.encode()
    body += blake3(body).digest(max(0, size - len(body)))
    return body + blake3(body).digest()

def whole(data: bytes) -> str | None:
    "The name in a content, or None where it is not whole"
    body, end = data[:-32], data[-32:]
    return body.partition(b'\n')[0].decode() if len(data) > 32 and blake3(body).digest() == end else None


def outdated_result(store: ObjectStore) -> str:
    "A calculated result that is outdated, and the latest of its item was removed: its ref"
    @store.calculated('lab/f')
    def f(n): return store.get('lab/input') + n
    for i in range(3):
        store.put('lab/input', i)
        f(1)
    store.remove('lab/f/n=1@latest')
    return 'lab/f/n=1@1'


# Backends that go wrong

class Dead(BaseException): "The process is killed"

class Mortal(MemoryBackend):
    "A place in memory; whoever writes there dies when `left` writes are done"
    left = 10**9
    def _count(self):
        self.left -= 1
        if self.left < 0: raise Dead
    def create(self, key, data): self._count(); return super().create(key, data)
    def delete(self, key): self._count(); return super().delete(key)
    def replace(self, key, source): self._count(); return super().replace(key, source)

class Wrapped(Backend):
    "Another backend, each of whose calls passes through `call`"
    def __init__(self, inner: Backend): self.inner, self.url, self.can = inner, inner.url, inner.can
    def call(self, op: str, key: str, run: Callable): return run()
    def create(self, key, data): return self.call('create', key, lambda: self.inner.create(key, data))
    def upload(self, key, source, progress=None):
        return self.call('upload', key, lambda: self.inner.upload(key, source, progress))
    def read(self, key, limit=None): return self.call('read', key, lambda: self.inner.read(key, limit))
    def stream(self, key, start=0, end=None):
        return self.call('stream', key, lambda: self.inner.stream(key, start, end))
    def list(self, folder, after=None, limit=None):
        return self.call('list', folder, lambda: self.inner.list(folder, after, limit))
    def tail(self, folder, known=0): return self.call('list', folder, lambda: self.inner.tail(folder, known))
    def folders(self, folder): return self.call('list', folder, lambda: self.inner.folders(folder))
    def exists(self, key): return self.call('exists', key, lambda: self.inner.exists(key))
    def delete(self, key): return self.call('delete', key, lambda: self.inner.delete(key))
    def ask_time(self): return self.inner.ask_time()
    @property
    def clock(self): return self.inner.clock
    def path(self, key): return self.inner.path(key)
    def stamp(self, key): return self.inner.stamp(key)
    def close(self): self.inner.close()

WRITES = ('create', 'upload', 'delete')

class ServiceLike(MemoryBackend):
    "Memory that behaves as an S3 service does: short pages, losers that wait a little"
    can = Capabilities('remote', probe=True, wait=0.002, many=4, page=5)

def store_over(backend: Backend, timeout: float = 1.0) -> ObjectStore:
    "A store over a backend of the test's own"
    return ObjectStore.over(Origin(backend, 'tester'), timeout=timeout, progress=False)

def where(place) -> dict:
    "What another process needs to know of a place on a service"
    s = place.service
    return dict(url=place.url, endpoint=s.endpoint,
                options=dict(access_key_id=s.access_key, secret_access_key=s.secret_key, region=s.region))

def remote(place, endpoint: str | None = None, timeout: float = 1.0) -> ObjectStore:
    "A store on a service: at a `Place` or what `where` said of it; `endpoint`: by way of a proxy"
    at = place if isinstance(place, dict) else where(place)
    return store_over(RemoteBackend(at['url'], endpoint=endpoint or at['endpoint'], options=at['options'],
                                    timeout=timeout), timeout)


# Processes

_context = multiprocessing.get_context('forkserver')
gate = _context.Barrier      # `gate(n)`: n processes begin together, when the last of them is ready
_mine = ['test_crash', 'test_faults', 'test_races', 'test_powercut', 'test_traps']
_context.set_forkserver_preload(['__main__', 'objectstore', 'nbdev.test', *_mine])
os.environ['PYTHONPATH'] = os.pathsep.join([str(Path(__file__).parent),
                                            *os.environ.get('PYTHONPATH', '').split(os.pathsep)]).rstrip(os.pathsep)

def start(f: Callable, *args, daemon: bool = True) -> multiprocessing.Process:
    "A process of its own, which ends with this one; one that is no daemon may have children"
    p = _context.Process(target=f, args=args, daemon=daemon)
    p.start()
    return p

def _answer(pipe, f, args) -> None:
    try: pipe.send((True, f(*args)))
    except BaseException: pipe.send((False, traceback.format_exc()))

def together(f: Callable, args: list[tuple], seconds: float = 600) -> list:
    "The answers of processes that run at the same time, one for each tuple of arguments"
    pipes = [_context.Pipe(False) for _ in args]
    processes = [start(_answer, w, f, a) for (_, w), a in zip(pipes, args)]
    for _, w in pipes: w.close()
    try: answers = [_received(r, seconds) for r, _ in pipes]
    finally:
        for p in processes: p.kill(); p.join()
    for ok, answer in answers:
        if not ok: raise AssertionError(f'in a process of its own:\n{answer}')
    return [answer for _, answer in answers]

def _received(pipe, seconds: float) -> tuple[bool, object]:
    try: return pipe.recv() if pipe.poll(seconds) else (False, f'no answer in {seconds} s')
    except EOFError: return False, 'it ended without an answer'

def alone(f: Callable, *args, seconds: float = 600): return together(f, [args], seconds)[0]

def forked(f: Callable, *args) -> int:
    "The exit code of a function in a fork of this process, negative for a signal; only for a process without threads"
    pid = os.fork()
    if pid == 0:
        code = 1
        try: f(*args); code = 0
        except BaseException: traceback.print_exc()
        finally: os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def die() -> None: os.kill(os.getpid(), signal.SIGKILL)


# What lies in an origin of files

def drafts(folder: Path) -> list[Path]: return [p for p in Path(folder).rglob('.tmp-*')]
def payloads(folder: Path) -> set[str]: return {p.name for p in Path(folder).rglob('payloads/*/*') if p.is_file()}
def records(folder: Path) -> list[Path]:
    return [p for p in Path(folder).rglob('records/**/*') if p.is_file() and '.' not in p.name]

def named(store: ObjectStore, bucket: str) -> set[str]:
    "The payloads that the records of a bucket name, marked or not"
    b, found = store.origin.bucket(bucket), set()
    for item, numbers in b.scan().items():
        for n in numbers.made:
            r = b.record(item, n)
            if r.put: found.add(f'{r.hash}-{r.put}')
            if r.codec == 'folder' and n in numbers.live:
                found |= {f'{h}-{p}' for _, h, p in store[f'{bucket}/{item}@{n}'].get().members.values()}
    return found

def dense(store: ObjectStore, ref: str) -> list[int]:
    "All numbers of an item; they begin at 1 and have no gap"
    bucket, _, item = ref.partition('/')
    made = sorted(store.origin.bucket(bucket).numbers(item).made)
    assert made == list(range(1, len(made) + 1)), f'{ref} has a gap: {made}'
    return made
