"""Care of a large store: usage, prune, gc, verify and compact of N versions in N/100 buckets, and their time, requests
and memory.

    bench_care.py 10000                # two minutes
    bench_care.py 10000 30000          # both, and by how much each figure grows
    bench_care.py 1000000              # hours, 3 GB of disk

An origin in one SQLite file stands for a service: it answers as one does, and counts what it is asked, a page of a
listing as one request. Every version is a record of the format with a payload of its own, five items with twenty
versions each a bucket, an alias each bucket. Each operation is a process of its own, so its peak memory is its own.
"""
from __future__ import annotations
import json, os, sqlite3, subprocess, sys, threading, time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from blake3 import blake3
from common import heading, human, peak_memory, say, scratch, table
from objectstore import ObjectStore, register_backend
from objectstore.errors import ObjectStoreError
from objectstore.plans import Plan
from objectstore.storage.backend import Backend, Capabilities, Entry
from objectstore.format.records import Record, alias_folder, move, new_id, pack, payload_key, seal, to_json

ITEMS, EACH, AGE = 5, 20, 30 * 86_400     # items a bucket; versions an item; seconds since the first one was put
KEEP = 2                                  # versions of each item that the prune keeps

class OneFile(Backend):
    "Objects in one SQLite file, and how often each verb was asked"
    can = Capabilities('remote', many=16)
    def __init__(self, path: str):
        self.url, self.asked, self.away = f'bench://{path}', Counter(), 0.0
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._lock = threading.RLock()
        for p in ('journal_mode=WAL', 'synchronous=OFF', 'cache_size=-8192'): self._db.execute(f'PRAGMA {p}')
        self._db.execute('CREATE TABLE IF NOT EXISTS objects(key TEXT PRIMARY KEY, at REAL, data BLOB) WITHOUT ROWID')
        OneFile.last = self

    def _ask(self, verb: str, sql: str, *params: object) -> list[tuple]:
        self.asked[verb] += 1
        with self._lock: return self._db.execute(sql, params).fetchall()
    def create(self, key: str, data: bytes) -> bool:
        return bool(self._ask('write', 'INSERT OR IGNORE INTO objects VALUES (?, ?, ?) RETURNING 1', key, time.time(),
                              data))
    def upload(self, key: str, source: Path, progress: Callable[[int], None] | None = None) -> None:
        if not self.create(key, Path(source).read_bytes()): raise FileExistsError(key)
    def read(self, key: str, limit: int | None = None) -> bytes:
        if not (found := self._ask('read', 'SELECT data FROM objects WHERE key = ?', key)): raise FileNotFoundError(key)
        if limit is not None and len(found[0][0]) > limit: raise OverflowError(key)
        return bytes(found[0][0])
    def stream(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        yield self.read(key)[start:end]
    def list(self, folder: str, after: str | None = None, limit: int | None = None) -> Iterator[Entry]:
        return islice(self._list(folder, after, min(limit or 1000, 1000)), limit)
    def _list(self, folder: str, after: str | None, page: int) -> Iterator[Entry]:
        after = max(after or '', folder)
        while True:
            found = self._ask('list', 'SELECT key, length(data), at FROM objects WHERE key > ? AND key < ? ORDER BY '
                              'key LIMIT ?', after, folder + '\U0010ffff', page)
            yield from (Entry(k, size, at, repr(at)) for k, size, at in found)
            if len(found) < page: return
            after = found[-1][0]
    def folders(self, folder: str) -> list[str]:
        found, at = [], folder
        while rows := self._ask('list' if not len(found) % 1000 else 'same page', 'SELECT key FROM objects WHERE key > '
                                '? AND key < ? ORDER BY key LIMIT 1', at, folder + '\U0010ffff'):
            name, slash, _ = rows[0][0][len(folder):].partition('/')
            if slash: found.append(name)
            at = f'{folder}{name}0' if slash else rows[0][0]       # '0' is the character behind the slash
        return found
    def exists(self, key: str) -> bool: return bool(self._ask('read', 'SELECT 1 FROM objects WHERE key = ?', key))
    def delete(self, key: str) -> None: self._ask('delete', 'DELETE FROM objects WHERE key = ?', key)
    def ask_time(self) -> float: return time.time()

register_backend('bench', OneFile)

def opened(path: Path) -> ObjectStore:
    return ObjectStore(f'bench://{path}', near=False, progress=sys.stderr.isatty())

# The store

def make(path: Path, n: int) -> None:
    "N versions, a month old, written as the format has them"
    store = opened(path)
    store.put('b000000/first', 1)                 # founds the origin
    place = OneFile.last
    began = time.time() - AGE
    for i in range(n // (ITEMS * EACH)):
        with place._lock: place._db.execute('BEGIN')
        place._db.executemany('INSERT OR IGNORE INTO objects VALUES (?, ?, ?)',
                              ((k, began, data) for k, data in bucket_objects(f'b{i:06d}', round(began * 1e6) + i)))
        place._db.execute('COMMIT')
        if not i % max(1, n // (ITEMS * EACH * 20)): print(f'\rmaking {i * ITEMS * EACH:,} of {n:,}', end='',
                                                           file=sys.stderr, flush=True)
    print('\r', end='', file=sys.stderr)

def bucket_objects(name: str, at: int) -> Iterator[tuple[str, bytes]]:
    "Everything that lies below a bucket"
    yield sealed(f'{name}/state/0000000001', move('bench', **{'is': 'made'}, at=at))
    for k in range(ITEMS):
        for v in range(1, EACH + 1): yield from version(name, f'table-{k}', v, at + (k * EACH + v) * 10**6)
    yield sealed(f'{name}/{alias_folder("table-0", "production")}0000000001', move('bench', to=5, at=at + 10**9))

def sealed(key: str, says: dict) -> tuple[str, bytes]: return key, seal(key, to_json(says))

def version(bucket: str, item: str, n: int, at: int) -> Iterator[tuple[str, bytes]]:
    "A record, and the payload that it names"
    data = f'{bucket}/{item}@{n}'.encode()
    r = Record(bucket, item, n, 'bytes', len(data), blake3(data).hexdigest(), new_id()[:16], {}, to_json(
        dict(id=new_id(), at=at, kind='data', author='bench', metadata={'run': n, 'auc': n / EACH}, stats={},
             lineage={})))
    yield f'{bucket}/{payload_key(r.hash, r.put)}', data
    yield f'{bucket}/records/{item}/@/{n:010d}', pack(r)

# What is done to it

def prune(store: ObjectStore) -> dict:
    "By the policy of each bucket, as tidy does it: so many rows at a time"
    for name in store.list_buckets(): store.care.set_policy(name, keep_last=KEEP)
    removed = plans = 0
    while plan := only_prune(store): removed, plans = removed + len(plan.apply().done), plans + 1
    return {'rows': removed, 'plans': plans}

def only_prune(store: ObjectStore) -> Plan:
    plan = store.care.tidy(grace='365 d')
    return plan.only([s for s in plan.steps if s.verdict == 'remove'])

def gc(store: ObjectStore) -> dict:
    freed = plans = 0
    while plan := store.care.gc(grace=0):
        freed, plans = freed + len(plan.apply().done), plans + 1
    return {'rows': freed, 'plans': plans}

def verify(store: ObjectStore) -> dict:
    report = store.care.verify()
    if not report.ok: raise ObjectStoreError(f'{report}')
    return {'rows': report.looked['records']}

def tidy(store: ObjectStore) -> dict: return {'rows': len(store.care.tidy().apply())}

OPERATIONS: dict[str, Callable[[ObjectStore], dict]] = {
    'index': lambda store: {'rows': len(store.find_items(at='*'))},
    'compact': lambda store: {'rows': len(store.care.compact())},
    'usage': lambda store: {'rows': store.care.usage().versions},
    'prune': prune, 'gc': gc, 'usage, afterwards': lambda store: {'rows': store.care.usage().versions},
    'verify': verify, 'tidy': tidy}

def alone(path: Path, what: str) -> dict:
    "An operation in a process of its own: seconds, requests, peak memory"
    made = subprocess.run([sys.executable, __file__, '--do', what, path], stdout=subprocess.PIPE, text=True)
    if made.returncode: raise SystemExit(f'{what} failed')
    return json.loads(made.stdout.splitlines()[-1])

def do(what: str, path: Path, n: str = '0') -> None:
    began, busy, found = time.perf_counter(), time.process_time(), {}
    if what == 'make': make(path, int(n))
    else: found = OPERATIONS[what](store := opened(path)); store.close()
    asked = {k: x for k, x in OneFile.last.asked.items() if k != 'same page'}
    print(json.dumps(dict(seconds=time.perf_counter() - began, cpu=time.process_time() - busy, peak=peak_memory(),
                          asked=asked, **found)))

# Figures

def measured(n: int) -> dict[str, dict]:
    "Every operation, one after the other, in a store of N versions that is gone afterwards"
    with scratch() as folder:
        os.environ.update(OBJECTSTORE_STATE_DIR=str(folder/'state'), OBJECTSTORE_CACHE_DIR=str(folder/'cache'))
        path, found = folder/'origin.db', {}
        subprocess.run([sys.executable, __file__, '--do', 'make', path, str(n)], check=True, stdout=subprocess.DEVNULL)
        say(f'- made {n:,} versions in {n // (ITEMS * EACH):,} buckets: {path.stat().st_size / 1e6:,.0f} MB')
        for what in OPERATIONS:
            found[what] = f = alone(path, what)
            say(f'- {what}: {human(f["seconds"])}, {sum(f["asked"].values()):,} requests')
        return found

def told(n: int, found: dict[str, dict]) -> str:
    rows = [[what, f'{f["rows"]:,}', human(f['seconds']), human(f['cpu']),
             *(f'{f["asked"].get(k, 0):,}' for k in VERBS), f'{sum(f["asked"].values()) / n:.2f}',
             f'{f["peak"] / 1e6:,.0f} MB'] for what, f in found.items()]
    return table(['of ' + f'{n:,} versions', 'rows', 'time', 'processor', *VERBS, 'requests a version', 'peak memory'],
                 rows)

VERBS = 'list', 'read', 'write', 'delete'

def growth(few: int, many: int, a: dict[str, dict], b: dict[str, dict]) -> str:
    "By how much each figure grows where there are so many times as many versions"
    def times(f): return [f'{f(b[w]) / f(a[w]):.2f}' for w in a]
    columns = [times(lambda f: sum(f['asked'].values())), times(lambda f: f['cpu']), times(lambda f: f['peak'])]
    return table([f'{many / few:.3g} times as many', 'requests', 'processor', 'peak memory'],
                 [[w, *c] for w, *c in zip(a, *columns)])

def main(sizes: list[int]) -> None:
    heading('Care of a large store')
    found = {n: measured(n) for n in sizes}
    for n, f in found.items(): say(told(n, f))
    for few, many in zip(sizes, sizes[1:]): say(growth(few, many, found[few], found[many]))

if __name__ == '__main__':
    if sys.argv[1:2] == ['--do']: do(sys.argv[2], Path(sys.argv[3]), *sys.argv[4:])
    else: main([int(n) for n in sys.argv[1:]] or [10_000])
