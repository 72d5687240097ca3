"""Put and get of a small JSON object (4 KB): local files beside raw files, obstore, pins, joblib and diskcache; S3
beside raw obstore and pins"""
import json, os, warnings
from itertools import count
from common import compare, heading, installed, raw_remote, report, scratch, service, verdict, ratio
from objectstore import ObjectStore

OBJ = {'stage': 'candidate', 'auc': 0.91, 'features': [f'feature {i}' for i in range(240)]}
RAW = json.dumps(OBJ).encode()


def raw_put(folder, n):
    "What a durable, create-only write of a file costs"
    fd = os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o444)
    os.write(fd, RAW)
    os.fsync(fd)
    os.link(f'/proc/self/fd/{fd}', f'{folder}/{next(n)}', src_dir_fd=fd, follow_symlinks=True)
    os.close(fd)
    fd = os.open(folder, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)

def raw_get(path):
    fd = os.open(path, os.O_RDONLY)
    data = os.read(fd, 65536)
    os.close(fd)
    return json.loads(data)


def local():
    with scratch() as d:
        n, s, loose = count(), ObjectStore(d/'store', progress=False), ObjectStore(
            d/'loose', durable=False, progress=False)
        (d/'raw').mkdir(); (d/'obstore').mkdir()
        puts = {'raw file, durable': lambda: raw_put(d/'raw', n), 'objectstore': lambda: s.put('lab/config', OBJ),
                'objectstore, durable=False': lambda: loose.put('lab/config', OBJ)}
        for store in (s, loose): [store.put('lab/read', OBJ) for _ in range(3)]
        raw_put(d/'raw', iter(['read']))
        within = ObjectStore(d/'store', max_age=60.0, progress=False); within.get('lab/read')
        cold = lambda: ObjectStore(d/'store', progress=False).get('lab/read')
        def unread(store, ref):
            store.origin.bucket('lab').records.clear()     # as a process that has not read this version yet
            return store.get(ref)
        gets = {'raw file and loads': lambda: raw_get(d/'raw/read'),
                'objectstore, pinned': lambda: unread(s, 'lab/read@2'),
                'objectstore, pinned, again': lambda: s.get('lab/read@2'),
                'objectstore, latest': lambda: unread(s, 'lab/read'),
                'objectstore, latest, again': lambda: s.get('lab/read'),
                'objectstore, latest within max_age': lambda: within.get('lab/read'),
                'objectstore, a new store object': cold, 'store[ref]': lambda: s['lab/read'],
                'ref in store': lambda: 'lab/read' in s}
        if installed('obstore'):
            from obstore.store import LocalStore
            o = LocalStore(d/'obstore')
            o.put('read', RAW)
            puts['obstore LocalStore (no fsync)'] = lambda: o.put(f'{next(n)}', RAW, mode='create')
            gets['obstore LocalStore and loads'] = lambda: json.loads(o.get('read').bytes().to_bytes())
        if installed('diskcache'):
            import diskcache
            c = diskcache.Cache(d/'diskcache')
            c['read'] = RAW
            puts['diskcache (no fsync)'] = lambda: c.set(next(n), RAW)
            gets['diskcache and loads'] = lambda: json.loads(c.get('read'))
        if installed('joblib'):
            import joblib
            memory = joblib.Memory(d/'joblib', verbose=0).cache(_same)
            puts['joblib.Memory (no fsync)'] = lambda: memory(next(n))
            gets['joblib.Memory, a hit'] = lambda: memory(-1)
        if installed('pins'):
            import pins
            b = pins.board_folder(d/'board', versioned=True, allow_pickle_read=True)
            b.pin_write(OBJ, 'read', type='json')
            puts['pins (no fsync)'] = lambda: _quiet(b.pin_write, {**OBJ, 'n': next(n)}, f'n{next(n)}', type='json')
            gets['pins'] = lambda: b.pin_read('read')
        times = compare(puts)
        report('Put, local files', times, 'raw file, durable')
        times = compare(gets)
        base = 'diskcache and loads' if 'diskcache and loads' in times else 'raw file and loads'
        report('Get, local files', times, base, {'objectstore, pinned': 'near: at most 2'})
        verdict('get, pinned, as a multiple of ' + base, max(ratio(times, 'objectstore, pinned', base)), 2)
        if 'pins' in times:
            verdict('get, pinned, as a part of pins', max(ratio(times, 'objectstore, pinned', 'pins')), 0.05)

def _same(i): return {**OBJ, 'i': i}

def _quiet(f, *args, **kwargs):
    with open(os.devnull, 'w') as null:
        from contextlib import redirect_stderr
        with redirect_stderr(null): return f(*args, **kwargs)


def remote():
    with scratch() as d, service('seaweed') as place:
        if place is None: return
        n, s, o = count(), ObjectStore(place.url, progress=False, timeout=10.0), raw_remote(place)
        for _ in range(3): s.put('lab/read', OBJ)
        o.put('read', RAW)
        o.put('folder/read', RAW)
        puts = {'obstore, create-only': lambda: o.put(f'{next(n)}', RAW, mode='create', use_multipart=False),
                'objectstore, the next of an item': lambda: s.put('lab/config', OBJ),
                'objectstore, a new item': lambda: s.put(f'lab/new-{next(n)}', OBJ)}
        within = ObjectStore(place.url, max_age=60.0, progress=False, timeout=10.0); within.get('lab/read')
        known = ObjectStore(place.url, progress=False, timeout=10.0); known.put('lab/known', 1)
        def listed(): return list(o.list('folder/'))
        def new(ref):
            for b in known.origin._buckets.values(): [getattr(b, m).clear() for m in ('records', 'newest', 'highest')]
            return known.get(ref)
        gets = {'obstore and loads': lambda: json.loads(o.get('read').bytes().to_bytes()), 'obstore, a listing': listed,
                'obstore, a listing, a get and loads': lambda: (listed(), json.loads(o.get('read').bytes().to_bytes())),
                'objectstore, latest, cold': lambda: new('lab/read'),
                'objectstore, latest, warm': lambda: s.get('lab/read'),
                'objectstore, pinned, warm': lambda: s.get('lab/read@2'),
                'objectstore, latest within max_age': lambda: within.get('lab/read'),
                'store[ref], warm': lambda: s['lab/read']}
        if installed('pins', 'fsspec'): _pins(d, place, puts, gets, n)
        report('Put, SeaweedFS', compare(puts), 'obstore, create-only')
        report('Get, SeaweedFS', compare(gets), 'obstore and loads')

def _pins(d, place, puts, gets, n):
    "pins on S3: through s3fs where it is installed, else through obstore's adapter for fsspec"
    import fsspec
    from importlib.util import find_spec
    from pins.boards import BaseBoard
    if find_spec('s3fs'): fs, by = fsspec.filesystem('s3', endpoint_url=place.service.endpoint), 's3fs'
    else:
        from obstore.fsspec import FsspecStore
        fs, by = FsspecStore('s3', endpoint=place.service.endpoint, client_options={'allow_http': True}), 'obstore'
    b = BaseBoard(f'{place.bucket}/{place.prefix}-pins', fs, versioned=True, allow_pickle_read=True)
    try:
        _quiet(b.pin_write, OBJ, 'read', type='json')
        b.pin_read('read')
    except Exception as e:
        from common import say
        return say(f'_left out: pins on S3 ({by}): {type(e).__name__}: {e!s:.200}_')
    puts[f'pins over {by}'] = lambda: _quiet(b.pin_write, {**OBJ, 'n': next(n)}, f'n{next(n)}', type='json')
    gets[f'pins over {by}'] = lambda: b.pin_read('read')

if __name__ == '__main__':
    warnings.simplefilter('ignore')
    heading('A small JSON object (4 KB)')
    local()
    remote()
