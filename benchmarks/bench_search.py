"""Search among 1,000,000 versions of 200,000 items with ten metadata keys: the index, beside DuckDB on the catalog,
MLflow on SQLite and pins.

    bench_search.py                # 1,000,000 versions: some ten minutes, 3 GB of memory
    bench_search.py 100000         # fewer

Records are real (packed, listed, read and checked like any others), but made when they are read, so that no disk has to
hold a million files.
Times are told as they are and as parts of one full scan of the index's rows in the same run.
"""
from __future__ import annotations
import gc, io, os, random, sys, time
from contextlib import redirect_stderr
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from statistics import median
from blake3 import blake3
from common import heading, human, installed, say, scratch, table
from objectstore import ObjectStore
from objectstore.storage.backend import Entry, MemoryBackend, number_key
from objectstore.format.records import Record, pack, to_json

N = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
ITEMS, BEGAN = N // 5, 1_780_000_000.0
NOUNS = 'churn upsell price demand fraud stock route energy yield crop claim dose'.split()
WORDS = ('gradient boosted trees linear baseline weekly monthly refit with new region sales weather features early '
         'stopping calibrated'.split())

def metadata(i: int) -> dict:
    "Ten keys of one version"
    r = random.Random(i)
    return dict(auc=round(r.betavariate(8, 2), 4), stage=r.choice(['dev'] * 6 + ['test'] * 3 + ['prod']),
                owner=f'user{int(r.paretovariate(1.2)) % 500:03}', loss=round(r.expovariate(2), 4),
                epochs=r.randrange(1, 200), region=r.choice(['north', 'south', 'east', 'west']),
                dataset=f'sales-{2024 + i % 3}-{1 + i % 12:02}', lr=10 ** -r.randrange(1, 5),
                trained_on=f'2026-{1 + i % 12:02}-{1 + i % 28:02}', description=' '.join(r.choices(WORDS, k=8)))

class Generated(MemoryBackend):
    "An origin whose records are made when they are read; all else is in memory"
    def _number(self, item: str) -> int | None:
        "Which of the generated items it is"
        tail = item.rpartition('/m-')[2]
        return i if tail.isdecimal() and (i := int(tail)) < ITEMS and item == name(i) else None
    def _where(self, key: str) -> tuple[str, int] | None:
        head, at, tail = key.partition('/@/')
        item = head.removeprefix('models/records/')
        return ((item, int(tail)) if at and key.startswith('models/records/') and tail.isdecimal()
                and self._number(item) is not None and 1 <= int(tail) <= 5 else None)
    def read(self, key: str, limit: int | None = None) -> bytes:
        if key in self._objects or not (at := self._where(key)): return super().read(key, limit)
        item, n = at
        k = self._number(item) + (n - 1) * ITEMS
        payload = b'{"n":%d}' % k
        return pack(Record('models', item, n, 'json', len(payload), blake3(payload).hexdigest(), '', {},
                           to_json(dict(id=f'{k:032x}', at=1_798_761_600_000_000 + k,
                                        kind=('model', 'evaluation', 'data')[k % 3], author=f'user{k % 50}@lab',
                                        metadata=metadata(k), stats={'keys': 1}, lineage={})), payload))
    def list(self, folder: str, after: str | None = None, limit: int | None = None) -> Iterator[Entry]:
        if not folder.startswith('models/records/'): return super().list(folder, after, limit)
        made = (self._item(folder) if folder != 'models/records/'
                else (e for i in range(ITEMS) for e in self._item(f'models/records/{name(i)}/@/')))
        return islice((e for e in chain(made, super().list(folder)) if after is None or e.key > after), limit)
    def _item(self, folder: str) -> Iterator[Entry]:
        i = self._number(folder.removeprefix('models/records/').removesuffix('/@/'))
        for n in range(1, 6) if i is not None else ():
            yield Entry(f'{folder}{number_key(n)}', 700, BEGAN + (i + (n - 1) * ITEMS) * 10.0)
    def exists(self, key: str) -> bool: return key in self._objects or self._where(key) is not None
    def create(self, key: str, data: bytes) -> bool: return False if self.exists(key) else super().create(key, data)

def name(i: int) -> str: return f'{NOUNS[i % len(NOUNS)]}/m-{i:07}'

def timed(f, rounds: int = 7) -> tuple[float, float, object]:
    "Median and fastest of several calls, and what the last gave"
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        found = f()
        times.append(time.perf_counter() - start)
    return median(times), min(times), found

def once(what: str, f) -> tuple[float, object]:
    start = time.perf_counter()
    found = f()
    say(f'- {what}: {human(time.perf_counter() - start)}')
    return time.perf_counter() - start, found


def main(folder: Path) -> None:
    os.environ['OBJECTSTORE_STATE_DIR'] = str(folder/'state')
    place = MemoryBackend._shared['bench'] = Generated('bench')
    store = ObjectStore('memory://bench')
    store.find_or_create_bucket('models')
    heading(f'Search: {N:,} versions of {ITEMS:,} items, ten keys each')
    once('index built from the records (listing, reading, checking and parsing each)',
         lambda: len(store.find_items('models', limit=1)))
    index = store.keeper.index
    _, generation = once('catalog published', lambda: store.care.compact('models'))
    catalog = place.read(f'models/log/c-{generation["models"]:010d}.parquet')
    parquet = folder/'models.parquet'
    parquet.write_bytes(catalog)
    say(f'- index: {index.path.stat().st_size / 1e6:,.0f} MB; catalog: {len(catalog) / 1e6:,.0f} MB')
    new_key(store, index)
    queries(store, index, parquet)
    keeping_up(store, place)
    new_machine(folder, place)

def new_key(store: ObjectStore, index) -> None:
    "The first question on a key that has no column: answered without it, while it is filled in the background"
    def ask(): return store.find_items('models', where='stats.keys > 5', limit=20).refs
    once('first question on a key without a column (budget: 1 s)', ask)
    def fill():
        while index.fill_columns(5000): pass
    once('its column filled, without pauses', fill)
    once('the question again', ask)

QUERIES = {'first page, newest': (dict(), 1.0), 'selective condition': (dict(where='auc > 0.995'), 1.0),
           'two conditions, a page': (dict(where="auc > 0.9 AND stage = 'prod'"), 5.0),
           'two conditions, no answer': (dict(where="loss > 1.5 AND epochs > 190 AND stage = 'prod' AND region = "
                                              "'north' AND lr < 0.0005 AND auc > 0.97"), 50.0),
           'two broad conditions, jointly empty': (dict(where="stage = 'dev' AND owner = 'user001' AND stats.keys > 1"),
                                                   50.0), 'OR': (dict(where="owner = 'user321' OR auc > 0.996"), None),
           'full text, rare': (dict(text='0123456'), 1.0),
           'full text, two common words': (dict(text='gradient calibrated'), 1.0),
           'every version, rare': (dict(at='*', where='auc > 0.998'), 200.0),
           'every version, a date': (dict(at='*', where="trained_on > '2026-11' AND stage = 'prod'"), 200.0),
           'by a key': (dict(where="stage = 'prod'", sort='-auc', limit=20), None),
           'production as of a day': (dict(at='2026-06-15', limit=20), None),}

def queries(store: ObjectStore, index, parquet: Path) -> None:
    "Each question, beside one full scan, and DuckDB on the catalog"
    def scan(): return index.ask('SELECT sum(length(metadata)) FROM docs')
    full = timed(scan, 3)[0]
    rows = []
    for what, (asked, budget) in QUERIES.items():
        def ask():
            found = store.find_items('models', **asked)
            return found, found[:20].refs
        once_cold = time.perf_counter(); ask(); cold = time.perf_counter() - once_cold
        while index.fill_columns(5000): pass
        mid, low, (found, _) = timed(ask)
        rows.append([what, human(mid), human(low), f'{mid / full:.4f}', human(cold), f'{budget:g} ms' if budget else '',
                     len(found) if '*' not in str(asked.get('at')) else f'{found._counted() or "> 10,000"}'])
    for what, f, budget in (('facets of a key', lambda: store.find_items('models').facets('stage'), 30.0),
                            ('facets within a condition',
                             lambda: store.find_items('models', where='auc > 0.99').facets('owner'), None),
                            ('how many, two conditions',
                             lambda: len(store.find_items('models', where="auc > 0.9 AND stage = 'prod'")), None),
                            ('a table', lambda: repr(store.find_items('models', where="stage = 'prod'")), None)):
        f()
        mid, low, found = timed(f)
        rows.append([what, human(mid), human(low), f'{mid / full:.4f}', '', f'{budget:g} ms' if budget else '', ''])
    say(f'One full scan of the rows: {human(full)}',
        table(['question', 'median', 'fastest', 'parts of a scan', 'the first time', 'budget', 'versions'], rows))
    if installed('duckdb'): duck(parquet, full)

def duck(parquet: Path, full: float) -> None:
    "The same questions to DuckDB, on the catalog as it is"
    import duckdb
    db = duckdb.connect()
    asked = {'first page, newest': 'SELECT item, version FROM c WHERE latest ORDER BY created DESC LIMIT 20',
             'selective condition': "SELECT item, version FROM c WHERE latest AND (metadata->>'auc')::DOUBLE > 0.995 "
             "ORDER BY created DESC LIMIT 20", 'two conditions, a page': "SELECT item, version FROM c WHERE latest AND "
             "(metadata->>'auc')::DOUBLE > 0.9 AND metadata->>'stage' = 'prod' ORDER BY created DESC LIMIT 20",
             'facets of a key': "SELECT metadata->>'stage', count(*) FROM c WHERE latest GROUP BY 1"}
    rows = []
    for what, sql in asked.items():
        mid, low, _ = timed(lambda: db.sql(sql.replace('FROM c', f"FROM '{parquet}'")).fetchall(), 3)
        rows.append([what, human(mid), human(low), f'{mid / full:.3f}'])
    say('DuckDB on the catalog:', table(['question', 'median', 'fastest', 'parts of a scan'], rows))

def keeping_up(store: ObjectStore, place: Generated) -> None:
    "Refreshing with nothing new, and with a few puts of somebody else"
    asked = []
    listing, reading = place.list, place.read
    place.list = lambda *a, **k: asked.append(a) or listing(*a, **k)
    place.read = lambda *a, **k: asked.append(a) or reading(*a, **k)
    store.find_items('models', limit=1)
    def refresh(): asked.clear(); store.keeper.refresh('models'); return len(asked)
    mid, low, requests = timed(refresh)
    rows = [['nothing new', human(mid), requests]]
    store.max_age = 0.0
    other = ObjectStore('memory://bench')
    other._keeper = type(store.keeper)(other.origin, type(store.keeper.index)())      # another machine
    for i in range(10): other.put(f'models/new/m-{ITEMS + i:07}', {'n': i}, metadata=metadata(i))
    other.keeper.hints.flush()
    start = time.perf_counter(); requests = refresh()
    rows.append(['10 versions by somebody else', human(time.perf_counter() - start), requests])
    start = time.perf_counter()
    for i in range(200): store.put('models/new/own', i, metadata=metadata(i))
    rows.append(['own put, with its row (each of 200)', human((time.perf_counter() - start) / 200), ''])
    place.list, place.read = listing, reading
    say('Keeping up:', table(['what', 'time', 'requests'], rows))

def new_machine(folder: Path, place: Generated) -> None:
    "A machine that knows nothing, with a catalog near"
    fresh = ObjectStore('memory://bench')
    fresh._keeper = type(fresh.keeper)(fresh.origin, type(fresh.keeper.index)(folder/'fresh'/'index.db'))
    once('a new machine, from the catalog (budget: 30 s)', lambda: len(fresh.find_items('models', limit=1)))

def mlflow_beside(folder: Path, n: int = 20_000) -> None:
    "MLflow's own store on SQLite, filled by SQL, for it takes hours by its interface"
    if not installed('mlflow', 'sqlalchemy'): return
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from mlflow.store.tracking.dbmodels.models import SqlLatestMetric, SqlParam, SqlRun
    s = SqlAlchemyStore(f'sqlite:///{folder}/mlflow.db', str(folder/'artifacts'))
    e = s.create_experiment('bench')
    with s.ManagedSessionMaker() as session:
        runs = [(f'{i:032x}', metadata(i)) for i in range(n)]
        session.bulk_insert_mappings(SqlRun,
                                     [dict(run_uuid=u, name=u, experiment_id=int(e), status='FINISHED',
                                           lifecycle_stage='active', start_time=i, artifact_uri='x',
                                           source_type='LOCAL', user_id='a') for i, (u, _) in enumerate(runs)])
        session.bulk_insert_mappings(SqlParam,
                                     [dict(run_uuid=u, key=k, value=str(v)) for u, m in runs for k, v in m.items()
                                      if isinstance(v, str)])
        session.bulk_insert_mappings(SqlLatestMetric,
                                     [dict(run_uuid=u, key=k, value=v, timestamp=1, step=0, is_nan=False)
                                      for u, m in runs for k, v in m.items() if not isinstance(v, str)])
    from mlflow.entities import ViewType
    rows = []
    for what, q in (('first page', ''), ('selective condition', 'metrics.auc > 0.995'),
                    ('two conditions', "metrics.auc > 0.9 AND params.stage = 'prod'")):
        mid, low, _ = timed(lambda: s.search_runs([e], q, ViewType.ACTIVE_ONLY, max_results=20), 3)
        rows.append([what, human(mid), human(low)])
    say(f'MLflow on SQLite, {n:,} runs (a fiftieth):', table(['question', 'median', 'fastest'], rows),
        'OR cannot be asked.')

def pins_beside(folder: Path, n: int = 500) -> None:
    "pins: names are searched, metadata is read a pin at a time"
    if not installed('pins'): return
    import pins
    board = pins.board_folder(str(folder/'board'), allow_pickle_read=True)
    with redirect_stderr(io.StringIO()):
      for i in range(n): board.pin_write({'n': i}, f'm-{i:05}', type='json', metadata=metadata(i))
    mid, low, _ = timed(lambda: [p for p in board.pin_list() if board.pin_meta(p).user['auc'] > 0.99], 3)
    say(f'pins, {n:,} pins: metadata["auc"] > 0.99, by reading each: {human(mid)} ({human(mid / n)} a pin)')

if __name__ == '__main__':
    with scratch() as folder:
        main(folder)
        gc.collect()
        mlflow_beside(folder), pins_beside(folder)
