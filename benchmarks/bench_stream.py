"""A stream larger than memory: batches of rows through put into a service and back by `as_='batches'`, each in a fresh
process, with its peak memory. The size in GB is the argument: `bench_stream.py 10` (1 if there is none)"""
import sys
from common import heading, human, in_process, say, scratch, service, table, verdict

GB = float(next((a for a in sys.argv[1:] if a.replace('.', '').isdigit()), 1))
ROWS = 250_000      # of a batch: 16 MB of numbers that do not compress

BATCHES = '''
import sys, time
import numpy as np, pyarrow as pa
from objectstore import ObjectStore
url, count, rows = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
s = ObjectStore(url, near=False, progress=False, timeout=10.0)
names, start = 'abcdefgh', time.perf_counter()
def batch(i):
    "One of the batches, each of its own numbers"
    r = np.random.default_rng(i)
    return pa.record_batch({n: r.random(rows) for n in names})
'''
PUT = BATCHES + '''
v = s.put('lab/rows', (batch(i) for i in range(count)))
out = dict(seconds=time.perf_counter() - start, size=v.size, rows=v.stats['rows'])
'''
GET = BATCHES + '''
seen, total = 0, 0.0
for b in s.get('lab/rows', as_='batches'):
    seen += len(b)
    total += float(np.asarray(b.column(0)).sum())
told = sum(float(np.random.default_rng(i).random(rows).sum()) for i in range(count))
out = dict(seconds=time.perf_counter() - start, rows=seen, same=abs(total - told) < 1e-6 * told)
'''

def through(where: str, url: str, count: int) -> list:
    "Put and get the stream, each in a process of its own"
    put = in_process(PUT, url, count, ROWS)
    got = in_process(GET, url, count, ROWS)
    same = 'yes' if got['same'] and got['rows'] == put['rows'] == count * ROWS else 'NO'
    return [[where, w, human(m['seconds']), f'{put["size"] / 1e6 / m["seconds"]:.0f} MB/s', f'{m["peak"] / 1e6:.0f} MB',
             e] for w, m, e in (('put', put, ''), ('get as batches', got, same))]

def main():
    heading('A stream larger than memory')
    count = max(1, round(GB * 1e9 / (ROWS * 8 * 8)))
    bare = in_process('import objectstore, obstore, numpy, pyarrow.parquet')['peak'] / 1e6
    with scratch() as d:
        rows = through('local files', str(d/'store'), count)
        with service('seaweed') as place:
            if place: rows += through('SeaweedFS', place.url, count)
    say(f'### {GB:g} GB in {count:,} batches of 16 MB, a fresh process each (one that only imports: {bare:.0f} MB)',
        table(['where', 'what', 'took', 'rate', 'peak memory', 'the same'], rows))
    verdict('peak memory', max(float(r[4].split()[0]) for r in rows), 512, unit=' MB')

if __name__ == '__main__': main()
