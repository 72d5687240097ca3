"""Every state that a model can reach, breadth first, so that a counterexample is a shortest one"""
from __future__ import annotations
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

@dataclass
class Explored:
    states: int
    wrong: str | None = None          # what does not hold in the last state of `trace`
    trace: tuple[str, ...] = ()       # the steps that lead to it
    ends: int = 0                     # states in which nothing more can happen

def explore(start: Hashable, steps: Callable[[Hashable], Iterable[tuple[str, Hashable]]],
            wrong: Callable[[Hashable], str | None]) -> Explored:
    "Go through all states that steps lead to; stop where something is wrong"
    came, queue, ends = {start: None}, deque([start]), 0
    while queue:
        state = queue.popleft()
        if why := wrong(state): return Explored(len(came), why, _trace(came, state))
        last = True
        for name, then in steps(state):
            last = False
            if then not in came:
                came[then] = state, name
                queue.append(then)
        ends += last
    return Explored(len(came), ends=ends)

def _trace(came: dict, state: Hashable) -> tuple[str, ...]:
    names = []
    while came[state]: state, name = came[state]; names.append(name)
    return tuple(reversed(names))
