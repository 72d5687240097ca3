"""A get that begins after a put, a remove or a set_alias was acknowledged sees it (RELIABILITY.md, 21; invariant I11):
another
process writes and says so, this one reads at once, with stores that have read before and believe that they know.

The figures are printed for each place: reads / stale.
"""
from __future__ import annotations
from collections.abc import Iterable
from dataclasses import replace

import pytest

from objectstore import NotFound, ObjectStore
from objectstore.format import commit, records
from stacks import Peer, Stack, b, home, make_stack, other_process, peer, stack, store  # noqa: F401 (fixtures)
from trial import soak

def rounds(stack: Stack) -> int: return soak(20, 200) if stack.quick else soak(6, 40)

@pytest.fixture
def quickly(stack): stack.options['durable'] = False      # a power cut is another suite's matter


# ---- what the other process does: each returns when it is acknowledged

def put(s, ref, obj, **kw): return s.put(ref, obj, **kw).version
def put_many(s, objs): return [v.version for v in s.put_many(objs)]
def remove(s, ref, force=False): return s.remove(ref, force=force)
def set_alias(s, ref, alias): return s.set_alias(ref, alias).version
def remove_alias(s, ref, alias): return s.remove_alias(ref, alias)
def annotate(s, ref, notes): return s.annotate(ref, notes).version
def remove_bucket(s, name, force=False): return s.remove_bucket(name, force=force)
def find_or_create_bucket(s, name): return s.find_or_create_bucket(name)
def copy(s, src, dst): return s.copy(src, dst).version


class Reads:
    "Reads of this process, by stores that were there before"
    def __init__(self, stores: Iterable[ObjectStore]): self.stores, self.count, self.stale = list(stores), 0, []
    def see(self, what: str, read, wanted) -> None:
        "Every store must give what is wanted"
        for s in self.stores:
            self.count += 1
            try: found = read(s)
            except NotFound: found = NotFound
            if found != wanted: self.stale.append((what, found, wanted))

@pytest.fixture
def reads(stack, quickly, figure):
    r = Reads([stack.open(), stack.open()])
    yield r
    figure.add(f'21 reads behind writes, {stack.name}', reads=r.count, stale=len(r.stale))
    assert not r.stale, r.stale[:5]


def test_puts_removals_and_aliases(stack, b, reads, peer):
    "One item, in turn put, aliased, annotated and removed by the other"
    x, live = f'{b}/x', []
    for i in range(rounds(stack)):
        n = peer(put, x, i)
        live.append((n, i))
        reads.see('put', lambda s: s.get(x), i)
        reads.see('put', lambda s: s[x].version, n)
        peer(set_alias, f'{x}@{n}', 'production')
        reads.see('alias', lambda s: s.get(f'{x}@production'), i)
        if i % 4 == 0:
            reads.see('alias', lambda s: (s.aliases(x), s[x].aliases), ({'production': n}, ['production']))
            peer(annotate, f'{x}@{n}', {'round': i})
            reads.see('note', lambda s: s[x].metadata, {'round': i})
        if i % 3 == 0:
            peer(remove, f'{x}@{n}', True)
            live.pop()
            now = live[-1] if live else None
            reads.see('removal', lambda s: s.get(x), now[1] if now else NotFound)
            reads.see('removal', lambda s: f'{x}@{n}' in s, False)
            reads.see('removal', lambda s: s.get(f'{x}@production'), NotFound)
        if i % 10 == 0:
            reads.see('versions', lambda s: [v.version for v in s.versions(x)] if live else [], [n for n, _ in live])

def test_an_item_that_comes_and_goes(stack, b, reads, peer):
    "It is not there, and is, and is not: in `in`, `get`, `get_many`, `find_items`, `default`"
    x = f'{b}/x'
    for i in range(rounds(stack)):
        reads.see('none', lambda s: (x in s, s.get(x, default=None), s.get_many([x], default=None)),
                  (False, None, [None]))
        peer(put, x, i)
        reads.see('there', lambda s: (x in s, s.get(x), s.get_many([x]), s.get_many([x, f'{b}/y'], default=0)),
                  (True, i, [i], [i, 0]))
        if i % 5 == 0: reads.see('found', lambda s: s.find_items(b).refs, [f'{x}@{i + 1}'])
        peer(remove, f'{x}@*')
        if i % 5 == 0: reads.see('found', lambda s: s.find_items(b).refs, [])

def test_a_removed_latest_and_what_is_before_it(stack, b, reads, peer):
    "The latest goes, and the next, and the next: what is latest, counted back, and as of now"
    x, n = f'{b}/x', rounds(stack)
    peer(put_many, [(x, i) for i in range(1, n + 1)])
    for i in range(n, 0, -1):
        reads.see('latest', lambda s: s.get(x), i)
        reads.see('before', lambda s: s.get(f'{x}@-2'), i - 1 if i > 1 else NotFound)
        # the one of that moment was removed
        reads.see('moment', lambda s: s.get(f'{x}@9999-01-01'), i if i == n else NotFound)
        assert peer(remove, f'{x}@{i}') == 1
    reads.see('none', lambda s: s.get(x), NotFound)
    assert peer(put, x, 'again') == n + 1
    reads.see('again', lambda s: s.get(x), 'again')

def test_1500_versions_of_one_item(stack, b, reads, peer):
    "More than one page of a listing; the end is found from anywhere, also when it was removed"
    x, n = f'{b}/x', 1500 if stack.name in ('memory', 'local', 'seaweed', 'ceph') else 1001      # a page holds 1,000
    first = stack.open(durable=False)
    many(first, b, 'x', n)
    reads.see('cold', lambda s: (s[x].version, s.get(f'{x}@1'), s.get(f'{x}@{n}')), (n, 1, n))
    for i in range(n + 1, n + 1 + rounds(stack) // 2):
        assert peer(put, x, i) == i
        reads.see('put', lambda s: s.get(x), i)
        cold = stack.open()
        reads.stores.append(cold); reads.see('cold', lambda s: s.get(x), i); reads.stores.remove(cold)
        if i % 2: peer(remove, f'{x}@{i}'); reads.see('removal', lambda s: s.get(x) < i, True)
    for m in (5, 999, 1000, 1001): peer(remove, f'{x}@{m}'); reads.see('removal', lambda s: f'{x}@{m}' in s, False)
    reads.see('versions',
              lambda s: [m for m in (4, 5, 6, 998, 999, 1000, 1001, 1002) if m in {v.version for v in s.versions(x)}],
              [4, 6, 998, 1002])
    assert stack.open().put(x, 'mine').version == peer(put, x, 'theirs') - 1

def many(s: ObjectStore, bucket: str, item: str, n: int) -> None:
    "Versions 1 to n of an item, each its own number, with as few requests as can be"
    v = s.put(f'{bucket}/{item}', 1)
    def record(i):
        return replace(v._record, version=i, size=len(data := str(i).encode()), hash=records.blake3(data).hexdigest(),
                       data=data)
    place = v._in
    answers = place.backend.create_many([(place.key(item, i), records.pack(record(i))) for i in range(2, n + 1)])
    assert all(a is True for a in answers)

def test_a_bucket_that_is_removed_and_made_again(stack, b, reads, peer, store):
    "A writer that knew it goes on with the next number; a reader that knew it sees neither ghosts nor gaps"
    x = f'{b}/x'
    for i in range(rounds(stack)):
        n = peer(put, x, ('theirs', i))
        reads.see('put', lambda s: (s.get(x), s.aliases(x)), (('theirs', i), {}))
        assert peer(remove_bucket, b) is False and store.remove_bucket(b, force=True) is True
        for name, read in dict(get=lambda s: s.get(x), pinned=lambda s: s.get(f'{x}@{n}'), item=lambda s: s[x],
                               versions=lambda s: s.versions(x), found=lambda s: s.find_items(b).refs).items():
            if name == 'get' or i % 10 == 0: reads.see(f'gone: {name}', read, NotFound)
        reads.see('gone: list', lambda s: b in s.list_buckets(), False)
        if i % 4 == 1:
            assert peer(find_or_create_bucket, b) == b
            reads.see('made', lambda s: (b in s.list_buckets(), s.find_items(b).refs, x in s), (True, [], False))
        assert peer(put, x, ('again', i)) == n + 1
        reads.see('again', lambda s: s.get(x), ('again', i))
        if i % 10 == 0:
            reads.see('again', lambda s: (b in s.list_buckets(), s.find_items(b).refs), (True, [f'{x}@{n + 1}']))

def test_folders_copies_and_large_objects(stack, b, reads, peer):
    "What is put by copying, and payloads of their own"
    x, large = f'{b}/x', 'z' * 50_000
    for i in range(max(rounds(stack) // 10, 3)):
        peer(put, x, f'{i}{large}')
        reads.see('large', lambda s: s.get(x), f'{i}{large}')
        n = peer(copy, f'{x}@1', x)
        reads.see('copy', lambda s: (s.get(x), s[x].version), (f'0{large}', n))

def test_what_one_does_oneself_is_seen_at_once_and_elsewhere(stack, b, peer, store, figure):
    "The same the other way round: this process writes, the other reads"
    x, stale = f'{b}/x', 0
    n = rounds(stack)
    for i in range(n):
        v = store.put(x, i)
        stale += store.get(x) != i or peer(get, x) != i
        store.set_alias(v, 'best')
        stale += store.get(f'{x}@best') != i or peer(get, f'{x}@best') != i
        if i % 3 == 0: store.remove(v, force=True); stale += v.ref in store or peer(inside, v.ref)
    figure.add(f'21 reads behind writes, {stack.name}', reads=4 * n, stale=stale)
    assert stale == 0

def get(s, ref): return s.get(ref)
def inside(s, ref): return ref in s

def test_max_age_may_be_stale_and_0_is_not(stack, b, peer):
    x, s = f'{b}/x', stack.open(max_age=3600)
    peer(put, x, 1)
    assert s.get(x) == 1
    peer(put, x, 2)
    assert s.get(x) == 1 and s.get(x, max_age=0) == 2 and s.get(x) == 2


# ---- bugs that this must catch

def _remembers(self, item, max_age=0.0):
    "The latest as it was once seen"
    if n := self.newest.get(item): return n
    live = self.end(item).live
    return live[-1] if live else None

def _no_marks(self, item, n): return (item, n) in self.records or self.backend.exists(self.key(item, n))
def _first_page(real): return lambda self, folder, known=0: list(self.list(folder, None, 1000))
def _once(real):
    seen = {}
    def target(self, item, alias):
        if (id(self), item, alias) not in seen: seen[id(self), item, alias] = (self, real(self, item, alias))
        return seen[id(self), item, alias][1]
    return target

PLANTED = {'the latest is remembered': ((commit.Bucket, 'latest', lambda real: _remembers),
                                        test_puts_removals_and_aliases),
           'marks are not looked for': ((commit.Bucket, 'is_live', lambda real: _no_marks),
                                        test_a_removed_latest_and_what_is_before_it),
           'aliases are remembered': ((commit.Bucket, 'alias_target', _once), test_puts_removals_and_aliases),
           'only n+1 is looked for': ((commit.Bucket, '_still_newest', lambda real:
                                       lambda self, item, n: not self.backend.exists(self.key(item, n + 1))),
                                      test_a_removed_latest_and_what_is_before_it),
           'one page is a listing': ((type(ObjectStore('memory://').origin.place), 'tail', _first_page),
                                     test_1500_versions_of_one_item),}

@pytest.mark.parametrize('bug', PLANTED)
def test_a_planted_bug_is_caught(bug, tmp_path, monkeypatch, request):
    (owner, name, plant), test = PLANTED[bug]
    stack = make_stack('memory', tmp_path, request, monkeypatch)
    reads, other = Reads([stack.open()]), Peer(stack.open(), None)
    def run():
        try: test(stack, 'lab', reads, other)
        except (AssertionError, NotFound): reads.stale.append('the test failed')
    monkeypatch.setattr(owner, name, plant(getattr(owner, name)))
    run()
    assert reads.stale, f'{bug}: no stale read was noticed'
