"""Calculated objects: a pipeline of five stages over 200 parameters on a Dask local cluster; a hit beside joblib.Memory
and diskcache.memoize

    bench_calculated.py 20      # 20 parameters
"""
import sys, time
from common import compare, heading, human, installed, report, say, scratch, table
from objectstore import ObjectStore

WORK = 0.02      # seconds that a stage works


def pipeline(store):
    "Five stages; the first reads an input of its own, the third a configuration that all share"
    @store.calculated('stage1/rows')
    def rows(n): time.sleep(WORK); return [n, store.get(f'data/{n}')]
    @store.calculated('stage2/clean')
    def clean(n): time.sleep(WORK); return [x + 1 for x in rows(n)]
    @store.calculated('stage3/features')
    def features(n): time.sleep(WORK); return {'x': sum(clean(n)) * store.get('data/config')['scale']}
    @store.calculated('stage4/fit')
    def fit(n): time.sleep(WORK); return {'slope': features(n)['x'] / 2}
    @store.calculated('stage5/report')
    def page(n): time.sleep(WORK); return f'{n}: {fit(n)["slope"]}'
    return page

def on_dask(n: int) -> None:
    if not installed('distributed'): return print('distributed is not installed')
    from dask.distributed import Client, LocalCluster
    with scratch() as d, LocalCluster(n_workers=2, threads_per_worker=2,
                                      dashboard_address=None) as cluster, Client(cluster) as client:
        store = ObjectStore(d/'store', progress=False)
        store.put_many({f'data/{i}': i for i in range(n)})
        store.put('data/config', {'scale': 2})
        page, rows = pipeline(store), []
        def calculations(): return sum(v.bucket.startswith('stage') for v in store.find_items(at='*'))
        def run(what, expected):
            before, t = calculations(), time.monotonic()
            page.map(range(n), client.get_executor())
            rows.append([what, calculations() - before, expected, human(time.monotonic() - t)])
        run('first run', 5 * n)
        run('second run', 0)
        store.put(f'data/{n // 2}', 1000)
        run('one input changed', 5)
        store.put('data/config', {'scale': 3})
        run('the configuration changed', 3 * n)
        store.put(f'data/{n // 2}', 1000)
        run('an input put again, the same', 0)
        heading(f'Five stages, {n} parameters, 2 Dask workers of 2 threads')
        say(table(['run', 'calculations', 'expected', 'time'], rows))
        assert all(made == expected for _, made, expected, _ in rows)

def hits() -> None:
    "What a call costs whose result is there"
    with scratch() as d:
        store = ObjectStore(d/'store', progress=False)
        store.put('data/raw', 5)
        no_input = store.calculated('f/none')(lambda n: {'n': n})
        one_input = store.calculated('f/one')(lambda n: {'n': n + store.get('data/raw')})
        ten = store.calculated('f/ten')(lambda n: {'n': n + sum(one_input(k)['n'] for k in range(10))})
        calls = {'objectstore, no input': lambda: no_input(3), 'objectstore, an input': lambda: one_input(3),
                 'objectstore, ten calculated inputs': lambda: ten(3)}
        if installed('joblib'):
            import joblib
            memory = joblib.Memory(d/'joblib', verbose=0).cache(_same)
            calls['joblib.Memory'] = lambda: memory(3)
        if installed('diskcache'):
            import diskcache
            kept = diskcache.Cache(d/'diskcache').memoize()(_same)
            calls['diskcache.memoize'] = lambda: kept(3)
        times = compare(calls)
        report('A hit', times, base='joblib.Memory' if 'joblib.Memory' in calls else 'objectstore, no input')

def _same(n): return {'n': n}


if __name__ == '__main__':
    hits()
    on_dask(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
