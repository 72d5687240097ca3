"""Large payloads: a file of 512 MB (`bench_large.py 5000`: 5 GB) through put and get with its peak memory; a folder of
10,000 files; 256 MB beside raw obstore"""
import sys, warnings
from common import compare, heading, in_process, ratio, raw_remote, report, say, scratch, service, table, verdict

MB, FILES = (*map(int, filter(str.isdigit, sys.argv[1:])),
             *(512, 10_000)[len([*filter(str.isdigit, sys.argv[1:])]):])[:2]

ONE = '''
import sys, time
from pathlib import Path
from objectstore import ObjectStore
url, what, path = sys.argv[1:4]
s = ObjectStore(url, progress=False, timeout=10.0)
start = time.perf_counter()
if what == 'put': s.put('lab/large', Path(path))
else: s['lab/large'].path(to=path)
out = dict(seconds=time.perf_counter() - start)
'''

def make(path, mb: int, seed: int = 0) -> None:
    "A file that does not compress"
    import random
    r = random.Random(seed)
    with open(path, 'wb') as f:
        for _ in range(mb): f.write(r.randbytes(10**6))

def hash_of(path) -> str:
    from blake3 import blake3
    hasher = blake3()
    with open(path, 'rb') as f:
        while piece := f.read(2**23): hasher.update(piece)
    return hasher.hexdigest()

def through(where: str, url: str, d) -> list:
    "Put and get one large file, each in a process of its own"
    src, to = d/'large.bin', d/f'back-{where.split()[0]}.bin'
    put = in_process(ONE, url, 'put', src)
    got = in_process(ONE, url, 'get', to)
    same = hash_of(src) == hash_of(to)
    to.unlink()
    return [[where, w, f'{m["seconds"]:.1f} s', f'{MB / m["seconds"]:.0f} MB/s', f'{m["peak"] / 1e6:.0f} MB', e]
            for w, m, e in (('put', put, ''), ('get to a path', got, 'yes' if same else 'NO'))]

def one_file():
    rows = []
    bare = in_process('import objectstore, obstore, blake3')['peak'] / 1e6
    with scratch() as d:
        make(d/'large.bin', MB)
        rows += through('local files', str(d/'store'), d)
        with service('seaweed') as place:
            if place: rows += through('SeaweedFS', place.url, d)
    say(f'### A file of {MB:,} MB, in a fresh process each (one that only imports: {bare:.0f} MB)',
        table(['where', 'what', 'took', 'rate', 'peak memory', 'same bytes'], rows))
    verdict('peak memory', max(float(r[4].split()[0]) for r in rows), 256, unit=' MB')

FOLDER = '''
import sys, time
from pathlib import Path
from objectstore import ObjectStore
s, what = ObjectStore(sys.argv[1], progress=False, timeout=10.0), sys.argv[2]
start = time.perf_counter()
if what == 'put': s.put('lab/folder', Path(sys.argv[3]))
else: s['lab/folder'].path(to=sys.argv[3])
out = dict(seconds=time.perf_counter() - start)
'''

def folder():
    rows = []
    with scratch() as d:
        (src := d/'folder').mkdir()
        for i in range(FILES):
            (src/f'{i // 100:03}').mkdir(exist_ok=True)
            (src/f'{i // 100:03}'/f'{i:05}.txt').write_text(f'{i} ' * 500)
        def each(where, url):
            put = in_process(FOLDER, url, 'put', src)
            (src/'000'/'00000.txt').write_text(f'changed {where}')
            again = in_process(FOLDER, url, 'put', src)
            got = in_process(FOLDER, url, 'get', to := d/f'back-{where.split()[0]}')
            same = all((to/p.relative_to(src)).read_bytes() == p.read_bytes() for p in src.rglob('*.txt'))
            for w, m, e in (('put', put, ''), ('put again, one file changed', again, ''),
                            ('get to a path', got, 'yes' if same else 'NO')):
                rows.append([where, w, f'{m["seconds"]:.1f} s', f'{FILES / m["seconds"]:.0f}',
                             f'{m["peak"] / 1e6:.0f} MB', e])
        each('local files', str(d/'store'))
        with service('seaweed') as place:
            if place: each('SeaweedFS', place.url)
    say(f'### A folder of {FILES:,} files (2 to 3 KB each)',
        table(['where', 'what', 'took', 'files a second', 'peak memory', 'same bytes'], rows))

def beside_obstore():
    import obstore
    from objectstore import ObjectStore
    at = iter(range(10**6))
    with scratch() as d, service('seaweed') as place:
        if place is None: return
        make(src := d/'256.bin', 256, seed=2)
        s, o = ObjectStore(place.url, progress=False, timeout=10.0), raw_remote(place, timeout='300s')
        obstore.put(o, 'large', src)
        s.put('lab/large', src)
        def raw_get():
            with open(d/'raw.out', 'wb') as f:
                for piece in o.get('large').stream(min_chunk_size=2**20): f.write(piece)
        def raw_ranges():
            from concurrent.futures import ThreadPoolExecutor
            size, step = o.head('large')['size'], 2**23
            with open(d/'ranges.out', 'wb') as f, ThreadPoolExecutor(16) as pool:
                for piece in pool.map(lambda a: o.get_range('large', start=a, end=min(a + step, size)),
                                      range(0, size, step)):
                    f.write(piece)
        def new_put():
            with open(src, 'r+b') as f: f.write(str(next(at)).encode().zfill(16))
            return s.put('lab/large', src)
        def our_get():
            (to := d/'our.out').unlink(missing_ok=True)
            return ObjectStore(place.url, progress=False, timeout=10.0)['lab/large'].path(to=to)
        times = compare({'obstore put': lambda: obstore.put(o, f'large-{next(at) % 2}', src),
                         'objectstore put': new_put}, rounds=4, warm=0, at_least=0)
        report('256 MB put, SeaweedFS', times, 'obstore put')
        times = compare({'obstore get, one stream, to a file': raw_get,
                         'obstore, 16 ranges at once, to a file': raw_ranges,
                         'objectstore get, verified, to a file': our_get}, rounds=5, warm=1, at_least=0)
        report('256 MB get, SeaweedFS', times, 'obstore get, one stream, to a file')
        best = min(ratio(times, x, 'objectstore get, verified, to a file')[0] for x in times if x.startswith('obstore'))
        verdict('get, cold, verified to a file: rate as a part of the better raw obstore, on the loopback', best, 0.8,
                at_most=False)

def on_a_line():
    "A link of 20 ms and 50 MB/s a connection, by the proxy"
    from objectstore import ObjectStore
    from obstore.store import S3Store
    from proxy import Proxy
    with scratch() as d, service('seaweed') as place:
        if place is None: return
        make(src := d/'64.bin', 64, seed=3)
        ObjectStore(place.url, timeout=10.0, progress=False).put('lab/large', src)
        raw_remote(place, timeout='300s').put('large', src)
        with Proxy(place.service.endpoint, delay=0.02, rate=50e6) as proxy:
            o = S3Store(place.bucket, prefix=f'{place.prefix}-raw', endpoint=proxy.endpoint,
                        client_options={'allow_http': True, 'timeout': '300s'})
            def raw_get():
                with open(d/'raw.out', 'wb') as f:
                    for piece in o.get('large').stream(): f.write(piece)
            def our_get():
                (to := d/'our.out').unlink(missing_ok=True)
                return ObjectStore(place.url, endpoint=proxy.endpoint, progress=False,
                                   timeout=10.0)['lab/large'].path(to=to)
            times = compare({'obstore get, one stream, to a file': raw_get,
                             'objectstore get, verified, to a file': our_get}, rounds=3, warm=1, at_least=0)
        report('64 MB get, a link of 20 ms and 50 MB/s a connection', times, 'obstore get, one stream, to a file')
        verdict('rate as a part of raw obstore',
                ratio(times, 'obstore get, one stream, to a file', 'objectstore get, verified, to a file')[0], 1,
                at_most=False)

if __name__ == '__main__':
    warnings.simplefilter('ignore')
    heading('Large payloads')
    one_file()
    folder()
    beside_obstore()
    on_a_line()
