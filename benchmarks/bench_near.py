"""Gets that a near tier answers, with SeaweedFS as the origin: 4 KB of JSON beside diskcache, joblib and pins; a frame
of 2,000,000 rows and
nine columns as Arrow, Polars and pandas beside `pyarrow.ipc` over a memory map, `pandas.read_parquet` and pins
(`bench_near.py 200000`: fewer rows)"""
import json, os, time, warnings
from contextlib import contextmanager
from unittest.mock import patch
from bench_frames import frame
from bench_small import OBJ, RAW, _quiet, _same, raw_get
from common import compare, heading, in_process, installed, ratio, report, say, scratch, service, verdict
from objectstore import ObjectStore
from objectstore.cache.download import SETTLED

ROUNDS = int(os.environ.get('OBJECTSTORE_BENCH_ROUNDS', 9))

@contextmanager
def stack(d):
    "A near tier before SeaweedFS; before files where that cannot run here"
    with service('seaweed') as place, patch.dict(os.environ, OBJECTSTORE_STATE_DIR=f'{d}/state',
                                                 OBJECTSTORE_CACHE_DIR=f'{d}/ours'):
        url = place.url if place else str(d/'origin')
        yield lambda **options: ObjectStore(str(d/'near'), url, progress=False, timeout=10.0, **options)


def small():
    with scratch() as d, stack(d) as open:
        s, within = open(), open(max_age=60.0)
        for _ in range(3): s.put('lab/read', OBJ)
        within.get('lab/read')
        (d/'raw').write_bytes(RAW)
        def unread(ref):
            s.origin.bucket('lab').records.clear()     # as a process that has not read this version yet
            return s.get(ref)
        gets = {'raw file and loads': lambda: raw_get(d/'raw'), 'objectstore, pinned': lambda: unread('lab/read@2'),
                'objectstore, pinned, again': lambda: s.get('lab/read@2'),
                'objectstore, latest within max_age': lambda: within.get('lab/read'),
                'objectstore, latest (one request)': lambda: s.get('lab/read'),
                'store[ref], pinned': lambda: s['lab/read@2']}
        if installed('diskcache'):
            import diskcache
            c = diskcache.Cache(d/'diskcache')
            c['read'] = RAW
            gets['diskcache and loads'] = lambda: json.loads(c.get('read'))
        if installed('joblib'):
            import joblib
            memory = joblib.Memory(d/'joblib', verbose=0).cache(_same)
            gets['joblib.Memory, a hit'] = lambda: memory(-1)
        if installed('pins'):
            import pins
            b = pins.board_folder(d/'board', versioned=True, allow_pickle_read=True)
            _quiet(b.pin_write, OBJ, 'read', type='json')
            pin = b.pin_versions('read').version[0] if hasattr(b.pin_versions('read'), 'version') else None
            gets['pins, pinned'] = lambda: b.pin_read('read', version=pin)
        times = compare(gets, rounds=ROUNDS)
        base = 'diskcache and loads' if 'diskcache and loads' in times else 'raw file and loads'
        report('4 KB of JSON, near', times, base, {'objectstore, pinned': 'at most 2'})
        verdict(f'get, pinned, near, as a multiple of {base}', ratio(times, 'objectstore, pinned', base)[0], 2)
        if 'pins, pinned' in times:
            verdict('get, pinned, near, as a part of pins', ratio(times, 'objectstore, pinned', 'pins, pinned')[0],
                    0.05)


def frames(title, df, pandas_budget):
    "One frame: ours from its near twin, the others from files that they were given"
    import pandas as pd, polars as pl, pyarrow as pa
    with scratch() as d, stack(d) as open:
        s = open()
        s.put('lab/frame', df)
        for _ in range(2): s.get('lab/frame@1')        # the second makes the twin
        time.sleep(SETTLED + 0.1)                      # a younger file is hashed at each get
        t = pa.Table.from_pandas(df).combine_chunks()
        with pa.OSFile(str(d/'raw.arrow'), 'wb') as f, pa.ipc.new_file(f, t.schema) as w: w.write_table(t)
        df.to_parquet(d/'raw.parquet', compression='zstd')
        def raw(): return pa.ipc.open_file(pa.memory_map(str(d/'raw.arrow'))).read_all()
        def get(**how): return lambda: s.get('lab/frame@1', **how)
        ours = {'Arrow': get(as_='arrow'), 'Polars': get(as_='polars'), 'pandas': get(), 'LazyFrame': get(as_='lazy'),
                'three columns': get(columns=list(df.columns[:3]))}
        gets = {'pyarrow.ipc over a map': raw, 'pl.from_arrow of that': lambda: pl.from_arrow(raw()),
                'to_pandas of that': lambda: raw().to_pandas(),
                'pandas read_parquet': lambda: pd.read_parquet(d/'raw.parquet'),
                **{f'objectstore, {k}': f for k, f in ours.items()}}
        if installed('pins'):
            import pins
            b = pins.board_folder(d/'board', versioned=True, allow_pickle_read=True)
            _quiet(b.pin_write, df, 'frame', type='parquet')
            gets['pins'] = lambda: b.pin_read('frame')
        same = (ours['pandas']().equals(df), ours['Arrow']().equals(raw()),
                ours['Polars']().equals(pl.from_arrow(raw())))
        times = compare(gets, rounds=ROUNDS)
        report(f'{title}, near (the same frames come back: {all(same)})', times, 'pyarrow.ipc over a map')
        for what, beside, budget in (('Arrow', 'pyarrow.ipc over a map', 1.5), ('Polars', 'pl.from_arrow of that', 1.2),
                                     ('pandas', 'to_pandas of that', pandas_budget)):
            verdict(f'{title}, near, as {what}: as a multiple of {beside}',
                    ratio(times, f'objectstore, {what}', beside)[0], budget)
        say('As a part of `pandas.read_parquet`' + (' and of pins: ' if 'pins' in times else ': ')
            + '; '.join(f'{k} ' + ', '.join(f"{ratio(times, f'objectstore, {k}', o)[0]:.3g}"
                                            for o in ('pandas read_parquet', 'pins') if o in times)
                        for k in ('Arrow', 'Polars', 'pandas')))
        first(open().tiers, d)

FIRST = '''
import sys, time
from objectstore import ObjectStore
import pyarrow, pandas, polars
s = ObjectStore(*sys.argv[1:], progress=False, timeout=10.0)
def took():
    start = time.perf_counter()
    s.get('lab/frame@1', as_='arrow')
    return time.perf_counter() - start
out = dict(first=took(), second=took())
'''

def first(tiers, d):
    "A new process hashes the twin at its first get, and believes the file's stamp from then on"
    found = in_process(FIRST, *tiers)
    say(f"In a new process: the first get, which hashes the twin, {found['first'] * 1000:.0f} ms; the second "
        f"{found['second'] * 1000:.1f} ms")

if __name__ == '__main__':
    warnings.simplefilter('ignore')
    heading('Near')
    small()
    if installed('pandas', 'polars', 'pyarrow'):
        df = frame()
        frames(f'{len(df):,} rows, nine columns', df, 1.2)
        frames(f'{len(df):,} rows, numbers only', df.select_dtypes(['number', 'datetime']), 0.3)
