"""What a verb costs at a service, of an item with few versions and of one with many: requests, bytes, seconds.

Within `as_before` it is done as where a store may have marks of before: the state of an exact number by a listing from
there on, the latest from the first number on.
"""
from __future__ import annotations
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from unittest.mock import patch as patched
from objectstore.format.buckets import BucketListings
from objectstore.format.witness import Sight
from counted import World

Call = Callable[[], object]

def _again(selector: str) -> Callable[[World, str], Call]:
    "A get by a store object that has got the same before"
    def prepare(w: World, ref: str) -> Call:
        s = w.store(near=False)
        return lambda: s.get(f'{ref}@{selector}')
    return prepare

def _moves_an_alias(w: World, ref: str) -> Call:
    s, at = w.store(near=False), [2]
    def move(): at[0] = 5 - at[0]; return s.set_alias(f'{ref}@{at[0]}', 'staging')
    return move

def _anew(selector: str = '') -> Callable[[World, str], Call]:
    "A get by a store object that knows nothing yet"
    return lambda w, ref: lambda: w.store(near=False).get(ref + selector)

VERBS: dict[str, Callable[[World, str], Call]] = {
    'get @2 again': _again('2'), 'get @production again': _again('production'), 'set_alias': _moves_an_alias,
    'get @2, a new store': _anew('@2'), 'the latest, a new store': _anew()}

@contextmanager
def as_before() -> Iterator[None]:
    never = property(lambda self: False, lambda self, value: None)
    with (patched.object(Sight, 'moves', never, create=True),
          patched.object(BucketListings, '_near_end', lambda self, item: 0)): yield

def item(w: World, n: int) -> str:
    "An item of so many versions, whose alias points at the second, and whose latest was got"
    ref = w.long(n)
    s = w.store(near=False)
    s.set_alias(f'{ref}@2', 'production')
    s.get(ref)
    return ref

def costs(w: World, ref: str, verb: str, calls: int = 0) -> tuple[int, int, float]:
    "Requests and bytes of one call; and the seconds of some, their median"
    (call := VERBS[verb](w, ref))()
    with w.proxy.counting() as made: call()
    took = []
    for _ in range(calls):
        began = time.perf_counter()
        call()
        took.append(time.perf_counter() - began)
    return len(made), sum(r.received for r in made), median(took or [0.0])
