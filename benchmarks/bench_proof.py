"""The proof at put: puts with it and without it, in turns; 2,000,000 rows, a small frame, 4 KB of JSON, an array"""
import contextlib, sys
from common import compare, heading, installed, median, report, scratch, verdict
import objectstore.store.writes as writes
from objectstore import ObjectStore

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 15

@contextlib.contextmanager
def without():
    "Puts without the proof (the trial of a sample while a frame is encoded, which there was before, stays)"
    real, writes.proved = writes.proved, lambda *args: None
    try: yield
    finally: writes.proved = real

def main():
    heading('The proof at put')
    if not installed('pandas', 'pyarrow'): return
    import numpy as np, pandas as pd
    import bench_frames
    bench_frames.ROWS = 2_000_000     # it reads the command line, too
    with scratch() as d:
        s = ObjectStore(d/'store', progress=False, durable=False)     # waits for a disk are none of the proof's
        values = {'2,000,000 rows': bench_frames.frame(), '100 rows': pd.DataFrame({'a': range(100), 'b': ['x'] * 100}),
                  '4 KB of JSON': {'scores': [0.1] * 500, 'names': ['a', 'b'] * 200},
                  'an array of 80 MB': np.arange(10_000_000.0)}
        for name, v in values.items():
            def put(): return s.put('lab/x', v)
            def bare():
                with without(): return put()
            times = compare({'without': bare, 'with the proof': put}, rounds=ROUNDS)
            report(name, times, 'without')
            if 'rows' in name and ',' in name:
                verdict(f'{name}, processor time', median(times.cpu['with the proof']) / median(times.cpu['without']),
                        1.05)

if __name__ == '__main__': main()
