"""A frame of 2,000,000 rows and nine mixed columns, put and got back as Parquet: beside pandas, polars, pyarrow, pins
and joblib"""
import sys, warnings
from itertools import count
from common import compare, heading, installed, report, scratch, service
from objectstore import ObjectStore

ROWS = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000

def frame():
    import numpy as np, pandas as pd
    r = np.random.default_rng(1)
    days = pd.date_range('2020-01-01', periods=2000, freq='D')
    return pd.DataFrame({'id': np.arange(ROWS), 'day': days[r.integers(0, 2000, ROWS)],
                         'dose': r.integers(0, 50, ROWS, dtype='int32'), 'pressure': r.normal(120, 15, ROWS).round(1),
                         'pulse': r.normal(70, 9, ROWS).round(0),
                         'ward': np.array(['north', 'south', 'east', 'west'])[r.integers(0, 4, ROWS)],
                         'arm': np.array(['a', 'b'])[r.integers(0, 2, ROWS)], 'treated': r.random(ROWS) < 0.5,
                         'score': r.random(ROWS).astype('float32').round(2)})

def main():
    heading(f'A frame of {ROWS:,} rows')
    if not installed('pandas', 'pyarrow'): return
    import pandas as pd
    df, n = frame(), count()
    with scratch() as d:
        s = ObjectStore(d/'store', progress=False)
        s.put('lab/frame', df)
        raw = d/'raw.parquet'
        df.to_parquet(raw, compression='zstd')
        def fresh_put(): df.iat[0, 0] = next(n); return s.put('lab/frame2', df)
        puts = {'pandas to_parquet': lambda: df.to_parquet(d/'out.parquet'),
                'pandas to_parquet, zstd': lambda: df.to_parquet(d/'out.parquet', compression='zstd'),
                'objectstore (durable, with stats)': fresh_put}
        gets = {'pandas read_parquet': lambda: pd.read_parquet(raw), 'objectstore': lambda: s.get('lab/frame'),
                'objectstore, three columns': lambda: s.get('lab/frame', columns=['id', 'dose', 'score']),
                'pandas, three columns': lambda: pd.read_parquet(raw, columns=['id', 'dose', 'score']),
                'objectstore, as Arrow': lambda: s.get('lab/frame', as_='arrow')}
        if installed('polars'):
            import polars as pl
            gets['polars read_parquet'] = lambda: pl.read_parquet(raw)
            gets['objectstore, as polars'] = lambda: s.get('lab/frame', as_='polars')
        if installed('pins'):
            import pins
            b = pins.board_folder(d/'board', versioned=True, allow_pickle_read=True)
            from bench_small import _quiet
            _quiet(b.pin_write, df, 'frame', type='parquet')
            puts['pins'] = lambda: _quiet(b.pin_write, df, f'frame{next(n)}', type='parquet')
            gets['pins'] = lambda: b.pin_read('frame')
        if installed('joblib'):
            import joblib
            f = joblib.Memory(d/'joblib', verbose=0).cache(_same)
            gets['joblib.Memory, a hit'] = lambda: f(df)
        report('Put, local files', compare(puts, rounds=5), 'pandas to_parquet, zstd')
        report('Get, local files', compare(gets, rounds=5), 'pandas read_parquet')
    with scratch() as d, service('seaweed') as place:
        if place is None: return
        import io
        from common import raw_remote
        s, o = ObjectStore(place.url, progress=False, timeout=10.0), raw_remote(place, timeout='60s')
        s.put('lab/frame', df)
        def up():
            df.to_parquet(to := io.BytesIO(), compression='zstd')
            o.put('frame', to.getvalue())
        up()
        def fresh_put(): df.iat[0, 0] = next(n); return s.put('lab/frame', df)
        report('Put, SeaweedFS', compare({'pandas and obstore': up, 'objectstore (with stats)': fresh_put}, rounds=3),
               'pandas and obstore')
        report('Get, SeaweedFS',
               compare({'obstore and pandas': lambda: pd.read_parquet(io.BytesIO(o.get('frame').bytes().to_bytes())),
                        'objectstore': lambda: s.get('lab/frame')}, rounds=5), 'obstore and pandas')

def _same(df): return df

if __name__ == '__main__':
    warnings.simplefilter('ignore')
    main()
