"""Requests that an operation makes, counted at a proxy: the operations, and how many each may make.

Each operation is a function that prepares and returns what is counted. `most` is its budget: where DESIGN.md (7) has
one it is that; else the number that the steps of DESIGN.md (5) come to, and `steps` says which.
Cold: a store object that has asked nothing yet. Warm: one that has put or got the item before.
"""
from __future__ import annotations
import os, time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch as patched
from objectstore import ObjectStore
from objectstore.format.records import pack
from proxy import Count, Proxy
from services import Place, Service

SMALL = {'stage': 'candidate', 'auc': 0.91, 'notes': 'x' * 4000}     # about 4 KB of JSON, in the record
LARGE = b'0123456789abcdef' * 65536                                  # 1 MiB, a payload of its own: one piece
MANY = int(os.environ.get('OBJECTSTORE_TEST_MANY', 200))
# a page holds 1,000 keys, and some services (Ceph) send shorter ones
PAGES = 2


@dataclass(frozen=True)
class Operation:
    name: str
    most: int            # Requests it may make
    steps: str           # What they are
    prepare: Callable[[World], Callable[[], object]]
    designed: bool = True     # Is it a budget of DESIGN.md, 7?

OPERATIONS: list[Operation] = []

def operation(name: str, most: int, steps: str, designed: bool = False):
    def add(f):
        OPERATIONS.append(Operation(name, most, steps, f, designed))
        return f
    return add


@dataclass
class World:
    "A service with a proxy before it, and a prefix of its own"
    place: Place
    proxy: Proxy
    folder: Path
    _n: int = 0
    _many: list = field(default_factory=list)

    def store(self, direct: bool = False, **options) -> ObjectStore:
        "A new store object: it knows nothing"
        endpoint = self.place.service.endpoint if direct else self.proxy.endpoint
        return ObjectStore(self.place.url, endpoint=endpoint, **{'timeout': 10.0, 'progress': False, **options})

    def ready(self) -> ObjectStore:
        "A store object that has put something into the bucket"
        s = self.store()
        s.put('lab/ready', 1)
        return s

    def item(self, *objects: object, bucket: str = 'lab') -> str:
        "A new item, with these versions put by somebody else"
        self._n += 1
        ref = f'{bucket}/item-{self._n:04}'
        s = self.store(direct=True)
        for o in objects: s.put(ref, o)
        return ref

    def many(self) -> list[str]:
        "The refs of many small items in a bucket of their own"
        if not self._many:
            self._many = [f'crowd/many/{i:04}' for i in range(MANY)]
            self.store(direct=True).put_many((r, {'i': i}) for i, r in enumerate(self._many))
        return self._many

    def long(self, n: int) -> str:
        "An item of many versions"
        ref, s = self.item(), self.store(direct=True)
        s.put(ref, 0)
        b, item = s.origin.bucket('lab'), ref.partition('/')[2]
        records = [replace(b.record(item, 1), version=i) for i in range(2, n + 1)]
        assert all(b.backend.create_many([(b.key(item, r.version), pack(r)) for r in records]))
        return ref

    def known(self, *objects: object) -> tuple[ObjectStore, str]:
        "A store object, and an item that it has put"
        s, ref = self.ready(), self.item()
        for o in objects: s.put(ref, o)
        return s, ref


@contextmanager
def world(service: Service) -> Iterator[World]:
    "A world on a service that runs"
    place = Place(service)
    service.make_bucket(place.bucket)
    with TemporaryDirectory(ignore_cleanup_errors=True) as d, Proxy(service.endpoint) as proxy, patched.dict(
            os.environ, {**service.environment, 'XDG_CACHE_HOME': d, 'OBJECTSTORE_STATE_DIR': f'{d}/state'}):
        yield World(place, proxy, Path(d))

def count(w: World, o: Operation) -> Count:
    "The requests of an operation"
    run = o.prepare(w)
    with w.proxy.counting() as c: run()
    return c


# put

@operation('put, small: the next of an item', 1, 'claim', designed=True)
def _(w): s, ref = w.known(SMALL); return lambda: s.put(ref, SMALL)

@operation('put, small: the first of an item', 2, 'listing, claim', designed=True)
def _(w): s, ref = w.ready(), w.item(); return lambda: s.put(ref, SMALL)

@operation('put, small: an item that others have put', 2, 'listing, claim', designed=True)
def _(w): s, ref = w.ready(), w.item(SMALL, SMALL); return lambda: s.put(ref, SMALL)

@operation('put, small: the first of a store object', 5, 'format; state of the bucket: listing, move; listing, claim')
def _(w): ref, s = w.item(SMALL), w.store(); return lambda: s.put(ref, SMALL)

@operation('put, large: the next of an item', 3, 'payload, claim, confirm', designed=True)
def _(w): s, ref = w.known(SMALL); return lambda: s.put(ref, LARGE)

@operation('put, large: the first of an item', 4, 'listing, payload, claim, confirm', designed=True)
def _(w): s, ref = w.ready(), w.item(); return lambda: s.put(ref, LARGE)

@operation('put, large: the same content again', 3, 'a piece of the copy that is shared, claim, confirm')
def _(w): s, ref = w.known(LARGE); return lambda: s.put(ref, LARGE)

@operation('put, large: 24 MiB in parts', 8, 'look, begin, 3 parts, complete; claim, confirm')
def _(w): s, ref = w.known(SMALL); return lambda: s.put(ref, LARGE * 24)

@operation('put, a folder of 20 files', 42, 'listing, for what it may share; 20 payloads, claim, 20 confirms')
def _(w):
    (top := w.folder/'many').mkdir(exist_ok=True)
    for i in range(20): (top/f'{i}.txt').write_text(f'{w.place.prefix} {i}')
    s, ref = w.known(SMALL)
    return lambda: s.put(ref, top)

@operation('put, if_latest', 2, 'listing, claim')
def _(w): s, ref = w.known(SMALL); return lambda: s.put(ref, SMALL, if_latest=1)

@operation('put, skip_unchanged, and it is', 1, 'listing')
def _(w): s, ref = w.known(SMALL); return lambda: s.put(ref, SMALL, skip_unchanged=True)

@operation('put, with a new alias', 4, 'claim; moves: listing, claim; first move beside it: is it still live?')
def _(w): s, ref = w.known(SMALL); return lambda: s.put(ref, SMALL, alias='production')

@operation(f'put_many of {MANY:,} new small objects', MANY + 1, 'a listing of the bucket, claims', designed=True)
def _(w):
    s = w.store(); s.find_or_create_bucket(b := f'new{len(w._many)}-{w._n}'); s.put(f'{b}/ready', 1)
    return lambda: s.put_many((f'{b}/{i:04}', {'i': i}) for i in range(MANY))

@operation(f'put_many of {MANY:,} items that it has put', MANY, 'claims', designed=True)
def _(w):
    s = w.store(); refs = [f'again/{i:04}' for i in range(MANY)]; s.put_many((r, 1) for r in refs)
    return lambda: s.put_many((r, 2) for r in refs)


# get

@operation('get, latest, small: cold', 2, 'listing, record', designed=True)
def _(w): s, ref = w.store(), w.item(SMALL, SMALL); return lambda: s.get(ref)

@operation('get, latest, small: warm', 1, 'listing', designed=True)
def _(w): s, ref = w.known(SMALL); s.get(ref); return lambda: s.get(ref)

@operation('get, latest, small: others have put since', 2, 'listing, record')
def _(w): s, ref = w.known(SMALL); w.store(direct=True).put(ref, SMALL); return lambda: s.get(ref)

@operation('get, latest, small: within max_age', 0, 'nothing', designed=True)
def _(w): s, ref = w.known(SMALL); s.get(ref); return lambda: s.get(ref, max_age=60)

@operation('get, latest, large: cold', 3, 'listing, record, one range', designed=True)
def _(w): s, ref = w.store(), w.item(LARGE); return lambda: s.get(ref)

@operation('get, latest, large: warm', 2, 'listing, one range')
def _(w): s, ref = w.known(LARGE); s.get(ref); return lambda: s.get(ref)

@operation('get, latest, 24 MiB: cold', 8, 'listing, record, six ranges of 4 MiB', designed=True)
def _(w): s, ref = w.store(), w.item(LARGE * 24); return lambda: s.get(ref)

@operation('get, pinned, small: cold', 2, 'record and first move beside it, together', designed=True)
def _(w): s, ref = w.store(), w.item(SMALL, SMALL); return lambda: s.get(f'{ref}@1')

@operation('get, pinned, small: warm', 1, 'as it was cold; 0 with a near tier, as here')
def _(w): s, ref = w.known(SMALL); s.get(ref); return lambda: s.get(f'{ref}@1')

@operation('get, pinned, large: cold', 3, 'record and first move beside it, one range', designed=True)
def _(w): s, ref = w.store(), w.item(LARGE, SMALL); return lambda: s.get(f'{ref}@1')

@operation('get, alias: cold', 4, 'moves: listing, last one; record and first move beside it', designed=True)
def _(w):
    ref = w.item(SMALL, SMALL); w.store(direct=True).set_alias(f'{ref}@1', 'production'); s = w.store()
    return lambda: s.get(f'{ref}@production')

@operation('get, alias: warm', 4, 'moves: listing, last one; record and first move beside it')
def _(w):
    s, ref = w.known(SMALL); s.set_alias(f'{ref}@1', 'production'); s.get(f'{ref}@production')
    return lambda: s.get(f'{ref}@production')

@operation('get, the one before the latest: cold', 2, 'listing, record', designed=True)
def _(w): s, ref = w.store(), w.item(SMALL, SMALL); return lambda: s.get(f'{ref}@-2')

@operation('get, as of a day: cold', 2, 'listing, record', designed=True)
def _(w): s, ref = w.store(), w.item(SMALL, SMALL); return lambda: s.get(f'{ref}@2999-01-01')

@operation('get, the latest was removed: cold', 2, 'listing, record', designed=True)
def _(w): ref = w.item(SMALL, SMALL); w.store(direct=True).remove(f'{ref}@2'); s = w.store(); return lambda: s.get(ref)

@operation('get, the latest was removed: warm', 3, 'listing, an empty one does not help: the whole; record')
def _(w):
    s, ref = w.store(), w.item(SMALL, SMALL); s.get(ref); w.store(direct=True).remove(f'{ref}@2')
    return lambda: s.get(ref)

@operation('get, latest, of 1,100 versions: cold', 5, 'listing, a full page; behind twice as many; the rest, two pages '
           'at most; record', designed=True)
def _(w): ref, s = w.long(1100), w.store(); return lambda: s.get(ref)

@operation('get, nothing there, with a default', 5, 'listing, empty: does the service list? and again; what is there '
           'instead; state of the bucket')
def _(w): w.item(SMALL); s = w.store(); return lambda: s.get('lab/nowhere', default=None)

@operation('get_many of 5: cold', 10, 'a listing and a record each', designed=True)
def _(w): refs, s = w.many()[:5], w.store(); return lambda: s.get_many(refs)

@operation(f'get_many of {MANY:,}: cold', MANY + PAGES, 'a listing of the bucket, records', designed=True)
def _(w): refs, s = w.many(), w.store(); return lambda: s.get_many(refs)

@operation(f'get_many of {MANY:,}: warm', PAGES, 'a listing of the bucket')
def _(w): refs, s = w.many(), w.store(); s.get_many(refs); return lambda: s.get_many(refs)

@operation('store[ref]: cold', 2, 'listing, record', designed=True)
def _(w): s, ref = w.store(), w.item(SMALL); return lambda: s[ref]

@operation('store[ref]: warm', 1, 'listing', designed=True)
def _(w): s, ref = w.known(SMALL); s[ref]; return lambda: s[ref]

@operation('ref in store: warm', 1, 'listing', designed=True)
def _(w): s, ref = w.known(SMALL); s[ref]; return lambda: ref in s

@operation('versions of an item, 3: cold', 6, 'listing, records, a listing of aliases, one of notes')
def _(w): s, ref = w.store(), w.item(SMALL, SMALL, SMALL); return lambda: s.versions(ref)

@operation('created, metadata and aliases of a version', 4, 'notes, aliases, neither there: beside each a look that '
           'the service lists; the time came with the listing before')
def _(w): s, ref = w.store(), w.item(SMALL); v = s[ref]; return lambda: (v.created, v.metadata, v.aliases)


# the rest

@operation('annotate: warm', 3, 'listing: is it live?; notes: listing, claim')
def _(w): s, ref = w.known(SMALL); return lambda: s.annotate(ref, {'stage': 'prod'})

@operation('set_alias: warm, new', 4, 'listing; moves, claim; first move beside it: is it still live?')
def _(w): s, ref = w.known(SMALL); return lambda: s.set_alias(ref, 'production')

@operation('set_alias: warm, moved', 5, 'listing; moves: listing, last one; claim; first move beside it: is it '
           'still live?')
def _(w):
    s, ref = w.known(SMALL, SMALL)
    s.set_alias(f'{ref}@1', 'production')
    return lambda: s.set_alias(f'{ref}@2', 'production')

@operation('remove_alias', 3, 'moves: listing, last one; claim')
def _(w): s, ref = w.known(SMALL); s.set_alias(ref, 'production'); return lambda: s.remove_alias(ref, 'production')

@operation('aliases of an item, 2', 3, 'listing, last moves')
def _(w):
    s, ref = w.known(SMALL)
    s.set_alias(ref, 'production')
    s.set_alias(ref, 'staging')
    return lambda: s.aliases(ref)

@operation('remove a version: warm', 5, 'listing: is it live?; aliases; none, so a look that the service lists; move; '
           'aliases again: was one set meanwhile?')
def _(w): s, ref = w.known(SMALL, SMALL); return lambda: s.remove(f'{ref}@1')

@operation('copy a small version to a new item', 5,
           'listing: is it live?; again: was it abandoned?; notes; listing, claim')
def _(w): s, ref = w.known(SMALL); dst = w.item(); return lambda: s.copy(f'{ref}@1', dst)

@operation('copy a large version within a bucket', 7, 'as a small one; its bytes; confirm')
def _(w): s, ref = w.known(LARGE); dst = w.item(); return lambda: s.copy(f'{ref}@1', dst)

@operation(f'find_items of {MANY:,} items: cold, without a catalog', MANY + PAGES + 3,
           'listings of the log, records, aliases, notes; records')
def _(w): w.many(); s = w.store(); return lambda: s.find_items('crowd')

@operation(f'find_items of {MANY:,} items: nothing new', 1, 'listing of the log', designed=True)
def _(w): w.many(); s = w.store(); s.find_items('crowd'); return lambda: s.find_items('crowd')

@operation(f'find_items of {MANY:,} items: one put by somebody else', 4,
           'listing of the log, hint, listing of the item, record')
def _(w):
    w.many(); s = w.store(); s.find_items('crowd')
    with w.store(direct=True) as other: other.put('crowd/many/0001', 2)
    return lambda: s.find_items('crowd')

@operation(f'find_items of {MANY:,} items: on a new machine, from a catalog', 5 + PAGES,
           'who is there: listing, move, format; listing of the log; catalog; '
           'listing of the records, which bear it out')
def _(w):
    w.many(); s = w.store(direct=True); s.care.compact('crowd'); s.close()
    return lambda: _elsewhere(w).find_items('crowd')

def _elsewhere(w: World) -> ObjectStore:
    "A store object on a machine that knows nothing"
    with patched.dict(os.environ, OBJECTSTORE_STATE_DIR=str(w.folder/f'state-{time.time_ns()}')): return w.store()

@operation('list_buckets, 3 of them', 8, 'first contact: who is there (listing, id, witness), format; folders; state '
           'of each: listing, move')
def _(w):
    own = replace(w, place=Place(w.place.service))
    for b in ('lab', 'ward', 'field'): own.item(1, bucket=b)
    s = own.store()
    return lambda: s.list_buckets()

@operation('find_or_create_bucket: it is there', 3, 'format; state of the bucket: listing, move')
def _(w): w.item(SMALL); s = w.store(); return lambda: s.find_or_create_bucket('lab')

@operation('get_stats of a version: warm', 1, 'listing')
def _(w): s, ref = w.known(SMALL); return lambda: s.get_stats(f'{ref}@1')
