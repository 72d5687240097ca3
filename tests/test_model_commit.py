"""Exhaustive models of the commit: the code of puts, deliveries and copies itself, stopped between any two steps
(`stepping`), over a line that loses, repeats, delays and refuses for nothing, beside others and a collector.

The model of `test_model_claim` retells the same for more writers; `test_model_collect` has the collector."""
from __future__ import annotations
import functools, tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
import pytest
from blake3 import blake3
from exploring import Explored, explore
from objectstore.cache.replay import deliver_draft
from objectstore.errors import Conflict
from objectstore.format.commit import Bucket, BucketPuts, Commit, decided, Draft, Payload, TAKEN
from objectstore.format.records import Claim, payload_key, read_move, unpack
from objectstore.format.states import Numbers
from objectstore.storage.backend import Capabilities, Entry
from objectstore.store.copying import put_as
from planting import planted
from stepping import LARGE, NOW, Code, Run, Storage, held, noted, stepping, steps
from trial import SOAK

FILES = Capabilities('memory', probe=True)              # absent keys are asked for
SERVICE = Capabilities('memory', wait=0.1)              # the end is listed, also behind a number that was lost
BYTES = b'bytes that are uploaded'
assert len(BYTES) >= LARGE

@functools.cache
def file() -> Path:
    "The bytes of a large payload"
    (path := Path(tempfile.mkdtemp())/'bytes').write_bytes(BYTES)
    return path

def draft(name: str) -> Draft:
    "A draft; the bytes of one whose name is a capital are uploaded"
    data = BYTES if name.isupper() else name.encode()
    payload = Payload(len(data), blake3(data).hexdigest(), *([None, file()] if name.isupper() else [data]))
    return Draft('bytes', payload, id=f'{name.encode().hex():0>32}', description={'kind': name})

def code(name: str, *names: str, commit: Callable[[Bucket, str], object], can: Capabilities = FILES,
         known: str = '', again: bool = False) -> Code:
    "Commits of one item by one process; `known`: the put id under which it knows the large bytes"
    def call(run: Run) -> None:
        b = bucket(run)
        if known: b.puts[blake3(BYTES).hexdigest()] = known
        for n in names:
            try: run.noted.append(('acknowledged', n, commit(b, n).version))
            except (ConnectionError, Conflict) as e: run.noted.append((type(e).__name__, n))
    return Code(name, call, can, again)

def puts(*names: str, **options) -> Code:
    "Puts, one behind the other"
    return code(f'put {names[0]}', *names, commit=lambda b, n: b.put('m', draft(n)), **options)

def delivers(name: str, by: str, new: bool = False, **options) -> Code:
    "A delivery of a pending put"
    return code(f'{by} delivers {name}', name, commit=lambda b, n: deliver_draft(b, 'm', draft(n), 1, 3.0, new),
                again=True, **options)

def copies(name: str, by: str, n: int = 1, gone: bool = False) -> Code:
    "A copy under a number, with its write id; `gone`: the version is gone at the source"
    says = dict(id='f' * 32, by='x', at=NOW * 10**6 + 5) | {'is': 'removed'} if gone else None
    def commit(b, name): return put_as(b, 'm', replace(draft(name), at=NOW * 10**6), n, says)
    return code(f'{by} copies {name}', name, commit=commit)

def collects(name: str, marks_first: bool = True) -> Code:
    "A collector, told again in a few lines; its own code is in `test_model_collect`"
    def named(run: Run) -> set[str]:
        found = run.all_below('records/')
        beside = Numbers(Entry(k, 1, NOW) for k in found)
        dead = {f'records/m/@/{n:010d}' for n in beside.dead}
        live = [version(d, int(k[-10:])) for k, d in found.items() if '.' not in k and k not in dead]
        return {payload_key(r.hash, r.put) for r in live if r.put}
    def call(run: Run) -> None:
        try: collect(run)
        except ConnectionError: pass        # it ends there
    def collect(run: Run) -> None:
        keys = {k for k in run.all_below('payloads/') if '.gc-' not in k}
        chosen, here = sorted(keys - named(run)), f'.gc-{name}'
        for k in chosen if marks_first else ():
            if not run.create(k + here, b'') and not run.exists(k + here): raise ConnectionError
        for k in sorted({*chosen} - (named(run) if marks_first else set())):
            if not marks_first or decided(run, k + here, TAKEN) == TAKEN: run.delete(k)
    return Code(name, call)

def bucket(run: Run) -> Bucket:
    "A bucket as this release makes it: there are no marks of before"
    b = Bucket('b', run)
    b.sight.moves = True
    return b

@functools.cache
def version(data: bytes, n: int): return unpack(data, 'b', 'm', n)

def given(objects: dict[str, bytes], numbers: Numbers) -> list[int]:
    "The numbers that were acknowledged, as far as the storage tells"
    def word(n):
        key = f'records/m/@/{n:010d}.1'
        return read_move(objects[key], key)['is'] if numbers.is_dead(n) and key in objects else ''
    return [n for n in sorted(numbers.made) if word(n) != 'abandoned']

def wrong(s: Storage) -> str | None:
    "What must hold in every state"
    objects = held(s)
    numbers = Numbers(Entry(k, 1, NOW) for k in objects if k.startswith('records/'))
    if sorted(numbers.made) != [*range(1, len(numbers.made) + 1)]: return 'a gap'
    found = {n: version(objects[f'records/m/@/{n:010d}'], n) for n in numbers.made}
    there = given(objects, numbers)
    names = [found[n].description['kind'] for n in there]
    if len(names) != len({*names}): return 'doubled'
    told = {x[1:] for x in noted(s) if x[0] == 'acknowledged'}
    for name, n in told:
        if n not in there or found[n].description['kind'] != name: return 'an acknowledged put is lost'
        if (r := found[n]).put and n in numbers.live and payload_key(r.hash, r.put) not in objects:
            return 'an acknowledged payload is lost'
    if len({n for _, n in told}) < len({name for name, _ in told}): return 'a number given twice'
    if len(told) > len({name for name, _ in told}): return 'doubled'
    dates = [found[n].at for n in there]
    if dates != sorted({*dates}): return 'dates do not rise'
    return None

def explored(*runs: Code, faults: int = 0, crashes: int = 0, objects: dict[str, bytes] | None = None,
             overwrites: bool = False) -> Explored:
    start = Storage(tuple((c, ()) for c in runs), frozenset((objects or {}).items()), faults=faults, crashes=crashes)
    with stepping(): return explore(start, lambda s: steps(s, overwrites), wrong)

def shown(figure, what: str, found: Explored) -> None:
    figure(f'3 the code of the commit, stopped anywhere: {what}', states=found.states, violations=found.wrong or 0)
    assert not found.wrong, (found.wrong, found.trace)
    assert found.ends


# Puts

def together(b: Bucket, name: str):
    "A put as `put_many` makes it"
    [answer] = b.put_many([('m', draft(name))])
    if isinstance(answer, Exception): raise answer
    return answer

A_B, A_B_C = (('a',), ('b',)), (('a',), ('b',), ('c',))

@pytest.mark.parametrize('what, runs, faults, can', [
    ('two puts', A_B, 2, FILES), ('two puts to a service', A_B, 2, SERVICE), ('three puts', A_B_C, 1, FILES),
    ('three puts to a service', A_B_C, 1, SERVICE), ('puts behind puts', (('a', 'b'), ('c',)), 1, FILES)])
def test_puts(what, runs, faults, can, figure):
    faults += SOAK > 1
    shown(figure, f'{what}, {faults} faults', explored(*(puts(*names, can=can) for names in runs), faults=faults))

def test_puts_of_many(figure):
    found = explored(code('many', 'a', commit=together), code('more', 'b', commit=together), puts('c'), faults=1)
    shown(figure, 'two put_many and a put, 1 fault', found)

def trusts_exists(self, n):
    "Planted: 'already exists' is taken to mean that the number is another's"
    key, data = self.bid(n)
    try: return self.backend.create(key, data)
    except ConnectionError: self._doubt()
    found = self._look(key)
    return None if found is None else self._is_ours(n, found)

def silence_is_refusal(self, n):
    "Planted: a lost reply is taken to mean that the number is another's"
    try: return self.backend.create(*self.bid(n))
    except ConnectionError: return False

def silence_is_success(self, n):
    "Planted: a lost reply is taken for success"
    try: return self.backend.create(*self.bid(n)) or None
    except ConnectionError: return True

@pytest.mark.parametrize('bug, why', [(trusts_exists, 'doubled'), (silence_is_refusal, 'doubled'),
                                      (silence_is_success, 'an acknowledged put is lost')])
def test_planted_claims_are_caught(bug, why):
    with planted(Claim, 'once', bug): found = explored(puts('a'), puts('b'), faults=1)
    assert found.wrong == why, (found.wrong, found.trace)

def test_planted_a_new_write_id_at_each_try_is_caught():
    real = Claim.once
    def once(self, n):
        if (won := real(self, n)) is None: self.id = 'another'
        return won
    with planted(Claim, 'once', once): assert explored(puts('a'), puts('b'), faults=2).wrong

def test_planted_too_high_a_number_is_caught():
    with planted(BucketPuts, 'first', lambda self, item: self.end(item).last + 2):
        assert explored(puts('a'), puts('b')).wrong == 'a gap'

def test_a_storage_that_overwrites_is_caught():
    assert explored(puts('a'), puts('b'), overwrites=True).wrong


# Deliveries

def test_deliveries(figure):
    shown(figure, 'two deliveries of one put, another put, a fault, a crash',
          explored(delivers('a', 'p'), delivers('a', 'q', new=True), puts('b'), faults=1, crashes=1))
    shown(figure, 'two deliveries of one put, 2 faults, a crash',
          explored(delivers('a', 'p'), delivers('a', 'q'), faults=2, crashes=1))

def test_planted_delivery_that_jumps_to_the_end_is_caught():
    p, q = (code(by, 'a', commit=lambda b, n: b.put('m', draft(n))) for by in 'pq')
    assert explored(p, q).wrong == 'doubled'

def test_planted_delivery_that_abandons_what_came_late_is_caught():
    "Another delivery has found it, and acknowledged it, meanwhile"
    def kept(self, r): return self.removed or self.gone is not None or not self.late and self.confirm(r)
    with planted(Commit, 'kept', kept): found = explored(delivers('a', 'p'), delivers('a', 'q'), faults=1)
    assert found.wrong == 'an acknowledged put is lost'


# Copies

@pytest.mark.parametrize('gone', [False, True])
def test_copies(gone, figure):
    shown(figure, f'two copies under one number{", gone" * gone}, and a put, 1 fault',
          explored(copies('a', 'x', gone=gone), copies('a', 'y', gone=gone), puts('b'), faults=1))

def test_planted_copy_that_walks_is_caught():
    "Under a number it is a copy; under another one it is a second version"
    def walks(b, n): return Commit(b, 'm', draft(n), lambda: 1).run()
    assert explored(code('x', 'a', commit=walks), puts('b')).wrong is None      # a version like others, with its own id
    def elsewhere(b, n): return Commit(b, 'm', draft(n), lambda: b.first('m')).run()
    assert explored(code('x', 'a', commit=elsewhere), copies('a', 'y')).wrong == 'doubled'


# Beside a collector

OLD = '1' * 16
WITH_OLD = {payload_key(blake3(BYTES).hexdigest(), OLD): BYTES}       # bytes that no version names

def test_puts_beside_a_collector(figure):
    shown(figure, 'a put that shares a payload, a collector, 1 fault',
          explored(puts('A', known=OLD), collects('gc'), faults=1, objects=WITH_OLD))
    shown(figure, 'a put that shares a payload, two collectors',
          explored(puts('A', known=OLD), collects('gc'), collects('gd'), objects=WITH_OLD))
    shown(figure, 'a put that uploads, one that shares, a collector',
          explored(puts('A'), puts('B', known=OLD), collects('gc'), objects=WITH_OLD))

def test_a_delivery_beside_a_collector(figure):
    shown(figure, 'a delivery, a collector, two crashes',
          explored(delivers('A', 'p', known=OLD), collects('gc'), crashes=2, objects=WITH_OLD))

def no_confirm(monkeypatch): monkeypatch.setattr(Bucket, 'confirmed', lambda self, keys: True)

def confirms_before_it_claims(monkeypatch):
    real = Commit.place
    def place(self):
        real(self)
        if not self.bucket.confirmed(self.named): self.put, self.share = None, False; real(self)
    monkeypatch.setattr(Commit, 'place', place)
    monkeypatch.setattr(Commit, 'confirm', lambda self, r: True)

@pytest.mark.parametrize('bug', [no_confirm, confirms_before_it_claims])
def test_planted_commits_are_caught(bug, monkeypatch):
    bug(monkeypatch)
    found = explored(puts('A', known=OLD), collects('gc'), objects=WITH_OLD)
    assert found.wrong == 'an acknowledged payload is lost', (found.wrong, found.trace)

def test_planted_collector_that_marks_nothing_is_caught():
    found = explored(puts('A', known=OLD), collects('gc', marks_first=False), objects=WITH_OLD)
    assert found.wrong == 'an acknowledged payload is lost'

def test_planted_delivery_that_does_not_confirm_what_it_finds_is_caught(monkeypatch):
    real = Commit.confirm
    monkeypatch.setattr(Commit, 'confirm', lambda self, r: self.found or real(self, r))
    found = explored(delivers('A', 'p', known=OLD), collects('gc'), crashes=1, objects=WITH_OLD)
    assert found.wrong == 'an acknowledged payload is lost'

def test_two_deliveries_beside_a_collector(figure):
    shown(figure, 'two deliveries of one put, a collector',
          explored(delivers('A', 'p', known=OLD), delivers('A', 'q'), collects('gc'), objects=WITH_OLD))
