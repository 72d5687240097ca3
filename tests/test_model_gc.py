"""An exhaustive model of collecting garbage (`gc`, DESIGN.md 5) beside puts as `objectstore.puts` makes them: is the
payload
of an acknowledged version ever taken?

A run lists payloads and records, marks what nothing names, then lists the records again, deletes what is marked and
still
unnamed, then its own marks. A put uploads under a key of its own or takes one that a record names, claims, and confirms
that each key is there without a mark. Everybody may freeze or die between any two steps; a DELETE may be sent again
later.
"""
from typing import NamedTuple
import pytest
from exploring import Explored, explore
from trial import soak

class Record(NamedTuple):
    by: str
    keys: tuple              # what it names itself
    members: tuple = ()      # what the listing under its first key names
    state: str = 'live'      # live, removed, abandoned
    acknowledged: bool = False

class Writer(NamedTuple):
    name: str
    at: str = 'choose'       # choose, upload, (check,) claim, confirm, end
    tries: int = 0
    keys: tuple = ()
    members: tuple = ()
    looked: bool = False     # only where planted: has it seen its keys, and not yet their marks?

class Run(NamedTuple):
    name: str
    at: str = 'list'         # list, choose, mark, records, delete, unmark, end
    left: tuple = ()         # keys that this phase has still to go through
    chosen: tuple = ()       # keys that it has marked

class State(NamedTuple):
    keys: frozenset
    marks: frozenset = frozenset()      # key, run
    late: frozenset = frozenset()       # keys whose DELETE may be sent again
    records: tuple = ()
    writers: tuple = ()
    runs: tuple = ()

BUGS = dict(
    naive='a run deletes what the first listing of records does not name',
    check_first='the confirm comes before the claim',
    one_mark='all runs share one mark',
    key_twice='a key is made of the hash alone, and written again',
    no_confirm='a put is acknowledged with its claim',
    replay_trusts='a replay that finds its claim does not confirm it',
    no_listings='a run does not read the listings of folders',
    no_members='a confirm does not look at the members of a folder',
    key_then_mark='a confirm sees the key first, its marks later',
)

def live_names(s: State, bug: str) -> frozenset:
    "Every key that a live record names, those in its listing too"
    return frozenset(k for r in s.records if r.state == 'live'
                     for k in r.keys + (() if bug == 'no_listings' else r.members))

def model(bug: str = '', folder: bool = False, resends: bool = True):
    def swap(items: tuple, old, new) -> tuple: return tuple(new if x is old else x for x in items)

    def steps(s: State):
        for k in s.late: yield f'DELETE {k} again', s._replace(keys=s.keys - {k}, late=s.late - {k})
        for r in s.records:
            if r.state == 'live' and (r.acknowledged or r.by == 'old'):
                yield f'remove {r.by}', s._replace(records=swap(s.records, r, r._replace(state='removed')))
        for w in s.writers: yield from ((f'{w.name} {what}', t) for what, t in put(s, w))
        for r in s.runs: yield from ((f'{r.name} {what}', t) for what, t in collect(s, r))

    ready = 'check' if bug == 'check_first' else 'claim'

    # a put
    def put(s, w):
        def go(t=s, **change): return t._replace(writers=swap(t.writers, w, w._replace(**change)))
        if w.at == 'choose':
            for shared in (sorted({k for r in s.records if r.state != 'abandoned'
                                   for k in (r.members if folder else r.keys)}) if not w.tries else []):
                yield f'shares {shared}', go(at='upload' if folder else ready, keys=() if folder else (shared,),
                                             members=(shared,) if folder else ())
            yield 'makes new keys', go(at='upload', keys=(), members=(f'{w.name}{w.tries}m',) if folder else ())
        elif w.at == 'upload':
            own = ('hash',) if bug == 'key_twice' else (f'{w.name}{w.tries}',)
            new = own + tuple(m for m in w.members if m.startswith(w.name))
            yield f'uploads {new}', go(s._replace(keys=s.keys | set(new)), at=ready, keys=own)
        elif w.at == 'check': yield ('checks', go(at='claim')) if there(s, w) else ('checks in vain', again(s, w, go))
        elif w.at == 'claim':
            won = bug in ('check_first', 'no_confirm')
            t = s._replace(records=s.records + (Record(w.name, w.keys, w.members, acknowledged=won),))
            yield 'claims', go(t, at='end' if won else 'confirm')
        elif w.at == 'confirm':
            mine = next(r for r in s.records if r.by == w.name and r.state == 'live')
            acknowledged = go(s._replace(records=swap(s.records, mine, mine._replace(acknowledged=True))), at='end')
            if bug == 'replay_trusts': yield 'is replayed and finds its claim', acknowledged
            if bug == 'key_then_mark':
                if not w.looked:
                    if all(k in s.keys for k in needs(w)): yield 'sees its keys', go(looked=True)
                elif not any(k in needs(w) for k, _ in s.marks): yield 'sees no marks', acknowledged
            elif there(s, w): yield 'confirms', acknowledged
            if not there(s, w):
                yield 'abandons', again(s._replace(records=swap(s.records, mine, mine._replace(state='abandoned'))), w,
                                        go)

    def needs(w): return w.keys + (() if bug == 'no_members' else w.members)
    def there(s, w) -> bool: return all(k in s.keys for k in needs(w)) and not any(k in needs(w) for k, _ in s.marks)
    def again(s, w, go):
        return go(s, at='choose' if w.tries < 1 else 'end', tries=w.tries + 1, keys=(), members=(), looked=False)

    # a run
    def collect(s, r):
        def go(t=s, **change): return t._replace(runs=swap(t.runs, r, r._replace(**change)))
        mark = lambda k: (k, 'all' if bug == 'one_mark' else r.name)
        if r.at == 'list':
            yield 'lists payloads', go(at='choose', left=tuple(sorted(s.keys)))
        elif r.at == 'choose':
            chosen = tuple(k for k in r.left if k not in live_names(s, bug))
            yield f'chooses {chosen}', go(at='mark' if chosen else 'end', left=chosen, chosen=chosen if chosen else ())
        elif r.at == 'mark':
            k, *rest = r.left
            then = (dict(at='mark', left=tuple(rest)) if rest else dict(at='delete', left=r.chosen) if bug == 'naive'
                    else dict(at='records', left=()))
            yield f'marks {k}', go(s._replace(marks=s.marks | {mark(k)}), **then)
        elif r.at == 'records':
            yield 'lists records', go(at='delete', left=tuple(k for k in r.chosen if k not in live_names(s, bug)))
        elif r.at == 'delete':
            if not r.left: yield 'has deleted', go(at='unmark', left=r.chosen); return
            k, *rest = r.left
            yield f'deletes {k}', go(s._replace(keys=s.keys - {k}, late=s.late | ({k} if resends else set())),
                                     left=tuple(rest))
        elif r.at == 'unmark':
            if not r.left: yield 'ends', go(at='end', chosen=()); return
            k, *rest = r.left
            yield f'unmarks {k}', go(s._replace(marks=s.marks - {mark(k)}), left=tuple(rest))
    return steps

def wrong(s: State) -> str | None:
    for r in s.records:
        if r.acknowledged and r.state == 'live' and (gone := [k for k in r.keys + r.members if k not in s.keys]):
            return f'{r.by} lacks {gone}'
    return None

def check(writers: int, runs: int, bug: str = '', folder: bool = False, resends: bool = True) -> Explored:
    "One old version, new puts of the same content, and some runs"
    old = Record('old', ('hash',) if bug == 'key_twice' else ('old',), ('oldm',) if folder else (), acknowledged=True)
    start = State(frozenset(old.keys + old.members), records=(old,), writers=tuple(Writer(n) for n in 'AB'[:writers]),
                  runs=tuple(Run(n) for n in ('gc1', 'gc2')[:runs]))
    return explore(start, model(bug, folder, resends), wrong)

@pytest.mark.parametrize('writers, runs, folder',
                         [(1, 1, False), (1, 2, False), (2, 1, False), (1, 1, True), (1, 2, True)][:soak(4, 5)])
def test_gc(writers, runs, folder, figure):
    found = check(writers, runs, folder=folder)
    figure(f"model of gc, {writers} puts of {'a folder' if folder else 'one payload'}, {runs} runs",
           states=found.states, missing=found.wrong or 0)
    assert not found.wrong, (found.wrong, found.trace)
    assert found.ends

@pytest.mark.parametrize('bug, runs, folder',
                         [('naive', 1, False), ('check_first', 1, False), ('one_mark', 2, False),
                          ('key_twice', 1, False), ('no_confirm', 1, False), ('replay_trusts', 1, False),
                          ('no_listings', 1, True), ('no_members', 1, True), ('key_then_mark', 1, False)])
def test_planted_gc_is_caught(bug, runs, folder):
    found = check(1, runs, bug, folder)
    assert found.wrong, BUGS[bug]
