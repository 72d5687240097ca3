"""The code itself, stopped between any two steps.

What is explored is no retelling: a run is a function of the library over a backend that knows no answers. It is called
from its beginning with the answers that it has had so far, and where it asks for one more, it stops; that question,
with
each answer that it may get, is a step. So the state of a run is what it was answered, and a run that freezes or dies is
one that takes no more steps. All else in a state is what lies in the storage, and what is still on its way there.

    code = Code(lambda run: Bucket('b', run).put('m', draft('a')).version)
    explore(Storage(runs=((code, ()),), faults=1), steps, wrong)
"""
from __future__ import annotations
import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from types import SimpleNamespace
from typing import NamedTuple
from unittest import mock
from blake3 import blake3
from objectstore.format import buckets, commit, records
from objectstore.storage.backend import Backend, Capabilities, Entry

WAITS = 100.0           # seconds that spend any patience
SLOW = 61.0             # an answer that makes a date out of date
NOW = 1_800_000_000
LARGE = 20              # bytes of a payload that is uploaded by itself, here

class Stopped(BaseException): "The run has asked what nobody has answered yet"

class Question(NamedTuple):
    op: str             # create, upload, read, list, exists, delete, replace
    key: str
    data: bytes = b''
    after: str | None = None
    limit: int | None = None

class Answer(NamedTuple):
    what: object                # True, False, bytes, None, a tuple of keys; a class of errors
    seconds: float = 0.0        # that went by until it came

class Found(NamedTuple):
    "Where a run stands: what it asks next, if it is not at its end, and what it has noted"
    asks: Question | None
    noted: tuple

class Run(Backend):
    "A backend that gives back the answers that it was given, and then stops who asks"
    url = 'stepping://'
    def __init__(self, name: str, answers: tuple[Answer, ...], can: Capabilities):
        self.name, self.left, self.can = name, list(reversed(answers)), can
        self.clock_now, self.ids, self.question = 0.0, 0, None
        self.noted: list = []

    def ask(self, *question):
        if self.question or not self.left:
            self.question = self.question or Question(*question)
            raise Stopped
        what, seconds = self.left.pop()
        self.clock_now += seconds
        if isinstance(what, type): raise what('nobody answers')
        return what

    def next_id(self) -> str:
        self.ids += 1
        return blake3(f'{self.name} {self.ids}'.encode()).hexdigest(16)

    def create(self, key, data): return self.ask('create', key, data)
    def upload(self, key, source, progress=None): self.ask('upload', key, source.read_bytes())
    def read(self, key, limit=None):
        if (data := self.ask('read', key)) is None: raise FileNotFoundError(key)
        return data
    def stream(self, key, start=0, end=None): yield self.read(key)[start:end]
    def list(self, folder, after=None, limit=None):
        return islice((Entry(k, 1, NOW) for k in self.ask('list', folder, b'', after, limit)), limit)
    def exists(self, key): return self.ask('exists', key)
    def folders(self, folder): raise NotImplementedError
    def delete(self, key): self.ask('delete', key)
    def replace(self, key, source): self.ask('replace', key, source.read_bytes())
    def all_below(self, folder: str) -> dict[str, bytes]:
        "What lies below a folder at one moment, of which nothing is ever another"
        return dict(self.ask('all', folder))
    def ask_time(self): return float(NOW)

class Code:
    "A piece of the library that is run, and where it stands after each sequence of answers"
    def __init__(
        self,
        name: str,
        call: Callable[[Run], object],
        can: Capabilities = Capabilities('memory', probe=True),
        again: bool = False,            # Is it begun anew where it has died?
    ):
        self.name, self.call, self.can, self.again = name, call, can, again
        self.at = functools.cache(self._at)
        self.runs = 0

    def _at(self, answers: tuple[Answer, ...]) -> Found:
        global _now
        self.runs += 1
        _now = run = Run(self.name, answers, self.can)
        try: self.call(run)
        except Stopped: pass
        return Found(run.question, tuple(run.noted))

_now: Run

@contextmanager
def stepping() -> Iterator[None]:
    "Within it time and chance are those of the run that is called"
    def put(module, **what): stack.enter_context(mock.patch.multiple(module, **what))
    def new_id(): return _now.next_id()
    clock = SimpleNamespace(monotonic=lambda: _now.clock_now, sleep=lambda s: None)
    same = dict(time=clock, running=clock.monotonic, origin_now=lambda backend: NOW * 10**6, new_id=new_id)
    with ExitStack() as stack:
        put(records, **same)
        put(commit, **same, awake=clock.monotonic, put_id=lambda: _now.next_id()[:16], INLINE_LIMIT=LARGE - 1)
        put(buckets, awake=clock.monotonic)
        yield


# The storage, the line to it, and its runs

class Storage(NamedTuple):
    runs: tuple                             # Code, and what it was answered (None: it is at its end, and what it noted)
    objects: frozenset = frozenset()        # Key and bytes
    late: frozenset = frozenset()           # What is still on its way: key and bytes; None: it is to be deleted
    faults: int = 0                         # that the line may still make
    crashes: int = 0                        # after which a run begins again

def held(s: Storage) -> dict[str, bytes]: return dict(s.objects)

def answered(s: Storage, q: Question) -> object:
    "What the storage says to a question, whole and at once"
    objects = held(s)
    match q.op:
        case 'read': return objects.get(q.key)
        case 'exists': return q.key in objects
        case 'list':
            found = sorted(k for k in objects if k.startswith(q.key) and (q.after is None or k > q.after))
            return tuple(found[:q.limit])
        case 'all': return tuple(sorted((k, d) for k, d in s.objects if k.startswith(q.key)))
    raise ValueError(q)

def told(s: Storage, i: int, what: object, seconds: float = 0.0) -> Storage:
    "A run gets an answer; of one at its end only what it noted is kept"
    code, answers = s.runs[i]
    answers = (*answers, Answer(what, seconds))
    found = code.at(answers)
    now = (code, answers) if found.asks else (found.noted, None)
    return s._replace(runs=(*s.runs[:i], now, *s.runs[i + 1:]))

def noted(s: Storage) -> Iterator[object]:
    "All that runs have noted"
    for code, answers in s.runs: yield from code if answers is None else code.at(answers).noted

def with_object(s: Storage, key: str, data: bytes | None, overwrites: bool = False) -> Storage:
    "A create, or a delete, that has arrived"
    if data is not None and key in held(s) and not overwrites: return s
    rest = frozenset((k, d) for k, d in s.objects if k != key)
    return s._replace(objects=rest if data is None else rest | {(key, data)})

def steps(s: Storage, overwrites: bool = False) -> Iterator[tuple[str, Storage]]:
    "Every step that may come next: of the line, and of each run"
    for key, data in s.late:
        yield f'late: {key} arrives', with_object(s, key, data)._replace(late=s.late - {(key, data)})
    for i, (code, answers) in enumerate(s.runs):
        if answers is None: continue
        for what, then in _answers(s, i, code.at(answers).asks, overwrites): yield f'{code.name} {what}', then
        if s.crashes and answers and code.again:
            yield f'{code.name} dies and begins again', s._replace(
                crashes=s.crashes - 1, runs=(*s.runs[:i], (code, ()), *s.runs[i + 1:]))

def _answers(s: Storage, i: int, q: Question, overwrites: bool) -> Iterator[tuple[str, Storage]]:
    less = s._replace(faults=s.faults - 1)
    if q.op == 'upload': yield f'uploads {q.key}', told(with_object(s, q.key, q.data), i, None); return
    if q.op == 'delete':
        yield f'deletes {q.key}', told(gone := with_object(s, q.key, None), i, None)
        if s.faults:
            yield f'deletes {q.key}, and again later', told(
                gone._replace(faults=s.faults - 1, late=s.late | {(q.key, None)}), i, None)
        return
    if q.op == 'replace':
        yield f'overwrites {q.key}', told(over := with_object(s, q.key, q.data, True), i, None)
        if s.faults:
            yield f'overwrites {q.key}, reply lost', told(over._replace(faults=s.faults - 1), i, ConnectionError)
            yield f'overwrites {q.key}, never arrives', told(less, i, ConnectionError)
        return
    if q.op == 'all': yield f'reads all of {q.key}', told(s, i, answered(s, q)); return
    if q.op != 'create':
        yield f'{q.op}s {q.key}', told(s, i, answered(s, q))
        if s.faults:
            yield f'{q.op}s {q.key}, no answer', told(less, i, ConnectionError)
            yield f'{q.op}s {q.key} and gives up', told(less, i, ConnectionError, WAITS)
        return
    there, free = with_object(s, q.key, q.data, overwrites), q.key not in held(s)
    yield f'creates {q.key}', told(there, i, free or overwrites)
    if not s.faults: return
    less_there = there._replace(faults=s.faults - 1)
    yield f'creates {q.key}, reply lost', told(less_there, i, ConnectionError)
    yield f'creates {q.key}, never arrives', told(less, i, ConnectionError)
    yield f'creates {q.key}, late', told(less._replace(late=s.late | {(q.key, q.data)}), i, ConnectionError)
    if free:
        yield f'creates {q.key}, sent again by the library', told(less_there, i, False)
        yield f'creates {q.key}, refused for nothing', told(less, i, False)
        yield f'creates {q.key}, slowly', told(less_there, i, True, SLOW)
