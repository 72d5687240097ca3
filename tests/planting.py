"""Planted bugs and injected faults: what a test puts in place of something must be met.

A bug that is planted at a name that has moved would pass without its fault.

    monkeypatch.setattr(download, 'verify_file', lambda *args: None)       # fails if it is never called
    with planted(buckets.Bucket, 'remove', deletes): ...                   # the same, for a part of a test
    monkeypatch.setattr(subprocess, 'run', spare(never))                   # need not be called: the test says why

`monkeypatch` is pytest's own, which fails already where the name does not exist. Beyond that, what can be called is
counted, and the test fails at its end if it was not called. What cannot be called (a number, a class, a module of the
test's own) cannot be counted: where it is planted in a module of the library, a function of that very module must read
the name, for `from .x import PATIENCE` copies it.
"""
from __future__ import annotations
import functools, inspect, types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pkgutil import resolve_name
from unittest import mock
import pytest

class NotFired(Exception):
    "Something was planted and never met; no `AssertionError`, which a test of planted bugs expects"

class Spare:
    "A replacement that need not be called"
    def __init__(self, value): self.value = value

def spare(value: object) -> Spare: return Spare(value)


# What can be counted, and what can be read in a source

class Plant:
    "One replacement, and how often it was called"
    def __init__(self, owner: object, name: str): self.owner, self.name, self.calls = owner, name, 0

    def counting(self, value: object) -> object | None:
        "The replacement, counted; None for what cannot be called"
        if isinstance(value, property): return property(self._called(value.fget), value.fset, value.fdel)
        if isinstance(value, staticmethod | classmethod): return type(value)(self._called(value.__func__))
        if isinstance(value, functools.partialmethod):
            return functools.partialmethod(self._called(value.func), *value.args, **value.keywords)
        if not callable(value) or isinstance(value, type): return None
        bound = isinstance(value, types.FunctionType) or not isinstance(self.owner, type)
        return self._called(value) if bound else staticmethod(self._called(value))     # such as a `Mock`: no method

    def _called(self, f: Callable) -> Callable:
        def call(*args, **kwargs):
            self.calls += 1
            return f(*args, **kwargs)
        return functools.update_wrapper(call, f)

    def check(self) -> None:
        if not self.calls: raise NotFired(f'{_named(self.owner)}.{self.name} was planted and never called: '
                                          'it is looked up elsewhere, or this test does not come by')

def _named(owner: object) -> str:
    return getattr(owner, '__qualname__', None) or getattr(owner, '__name__', None) or f'{owner!r:.80}'

@functools.cache
def read_in(module: types.ModuleType) -> frozenset[str]:
    "The names that functions of a module read when they are called"
    found, left = set(), [compile(inspect.getsource(module), module.__name__, 'exec')]
    while left:
        code = left.pop()
        left += [c for c in code.co_consts if isinstance(c, types.CodeType)]
        if code.co_flags & inspect.CO_OPTIMIZED: found |= {*code.co_names}     # a function, no body of a class
    return frozenset(found)

def check_read(owner: object, name: str) -> None:
    "Raise where something is planted in a module of the library that does not read it"
    if not isinstance(owner, types.ModuleType) or not owner.__name__.startswith('objectstore'): return
    if hasattr(owner, name) and name not in read_in(owner):
        raise NotFired(f'no function of {owner.__name__} reads {name}: plant it where it is read')

def plant(owner: object, name: str, value: object) -> tuple[object, Plant | None]:
    "What to put there, and what counts it, if it can and must be counted"
    made = Plant(owner, name)
    counted = None if isinstance(value, Spare) else made.counting(value)
    if counted is not None: return counted, made
    check_read(owner, name)
    return (value.value if isinstance(value, Spare) else value), None


# For tests

class Planting(pytest.MonkeyPatch):
    "pytest's `monkeypatch`, which wants to see that what it planted was met"
    def __init__(self) -> None:
        super().__init__()
        self._plants: list[Plant] = []

    def setattr(self, target, name, value=inspect.Parameter.empty, raising: bool = True) -> None:
        if value is inspect.Parameter.empty:
            target, _, attribute = target.rpartition('.')
            target, name, value = resolve_name(target), attribute, name
        if any(value is was for at, known, was in self._setattr if (at, known) == (target, name)):
            return super().setattr(target, name, value, raising)       # what was there before
        value, made = plant(target, name, value)
        super().setattr(target, name, value, raising)
        if made: self._plants.append(made)

    @classmethod
    @contextmanager
    def context(cls) -> Iterator[Planting]:
        with super().context() as m:
            try: yield m
            finally: m.check()

    def check(self) -> None:
        for p in self._plants: p.check()

@pytest.fixture
def monkeypatch() -> Iterator[Planting]:
    with Planting.context() as m: yield m

@contextmanager
def planted(owner: object, name: str, value: object) -> Iterator[Plant]:
    "Put something in place of an attribute for a part of a test; it must be called, or, where it cannot be, read"
    value, made = plant(owner, name, value)
    with mock.patch.object(owner, name, value):
        try: yield made
        finally: made and made.check()

def planted_here(owner: object, name: str, value: object) -> None:
    "The same for the rest of a process that a test has started: that it fired shows in what the test finds"
    getattr(owner, name), check_read(owner, name)
    setattr(owner, name, value)
