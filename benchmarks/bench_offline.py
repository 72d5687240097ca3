"""Work while the service is away: 100 near gets while it hangs; the longest wait of any call under each fault; kills in
the middle of `sync()` and two
machines, by tests/test_sync.py; a file of 5 GB through two tiers with its peak memory; requests through a stack
(`bench_offline.py 100 waits memory`: 100 MB, these two only)"""
import os, subprocess, sys, time, warnings
from contextlib import contextmanager
from unittest.mock import patch
from bench_large import hash_of, make
from common import HERE, heading, human, in_process, say, scratch, service, table, verdict
from objectstore import ObjectStore
from objectstore.cache.breaker import Breaker
from objectstore.format.witness import Sight
from proxy import Proxy

TIMES = int(os.environ.get('OBJECTSTORE_BENCH_ROUNDS', 3))
FAULTS = dict(refuse={}, hang={}, **{'500': {}, '503': {}}, slow=dict(rate=10), truncate=dict(length='original'))
LARGE = os.urandom(1_000_000)

@contextmanager
def far():
    "SeaweedFS behind a proxy, and a stack before it: `open(**options)` as a new process would, `proxy`"
    with scratch() as d, service('seaweed') as place:
        if place is None: yield None; return
        with Proxy(place.service.endpoint) as proxy, patch.dict(
                os.environ, OBJECTSTORE_STATE_DIR=f'{d}/state', OBJECTSTORE_CACHE_DIR=f'{d}/ours'):
            def open(near='near', **options):
                for known in (Breaker._all, Sight._all): known.clear()
                tiers = [str(d/near), place.url] if near else [place.url]
                return ObjectStore(*tiers, near=False, endpoint=proxy.endpoint, progress=False, **options)
            yield open, proxy


HANGS = '''
import sys, time, warnings
warnings.simplefilter('ignore')
from objectstore import ObjectStore
near, url, endpoint = sys.argv[1:]
s = ObjectStore(near, url, endpoint=endpoint, progress=False)
def took(f):
    start = time.perf_counter()
    f()
    return time.perf_counter() - start
each = [took(lambda: s.get(f'lab/m{i % 10}')) for i in range(100)]
out = dict(all=sum(each), longest=max(each))
'''

def hanging():
    with far() as f:
        if not f: return
        open, proxy = f
        s = open(timeout=10.0)
        for i in range(10): s.put(f'lab/m{i}', {'i': i})
        proxy.fault('hang')
        rows = []
        for _ in range(TIMES):
            found = in_process(HANGS, *s.tiers, proxy.endpoint)
            rows.append([f"{found['all']:.2f} s", f"{found['longest']:.2f} s"])
        say('### 100 near gets (the latest of ten items) while the service hangs, a new process each time, default '
            'time-out', table(['all of them', 'the longest'], rows))
        verdict('100 near gets while the service hangs', max(float(r[0].split()[0]) for r in rows), 3, unit=' s')


def calls(i: int) -> dict:
    "What is called under a fault; `i`: a number that was not used before"
    return {'get, near': lambda s: s.get('lab/m'), 'get, far, small': lambda s: s.get(f'lab/far@{i + 1}'),
            'get, far, 1 MB': lambda s: s.get(f'lab/large@{i + 1}'), 'put, small': lambda s: s.put('lab/m', i),
            'put, 1 MB': lambda s: s.put('lab/new', LARGE + str(i).encode()),
            'find_items': lambda s: s.find_items('lab'), 'versions': lambda s: s.versions('lab/m'),
            'set_alias': lambda s: s.set_alias('lab/m@1', f'a{i}'), 'remove': lambda s: s.remove(f'lab/gone@{i + 1}'),
            'sync': lambda s: s.sync()}

def waits():
    "Each call as the first one of a process that meets the fault; the second one finds an open breaker"
    rows, longest, ends = [], 0.0, {}
    with far() as f:
        if not f: return
        open, proxy = f
        there, n = open(near=None, timeout=10.0), len(FAULTS) * TIMES
        open(timeout=10.0).put('lab/m', 0)
        for i in range(n):
            there.put('lab/far', 'x' * 5000), there.put('lab/large', LARGE + str(i).encode()), there.put('lab/gone', i)
        for k, (kind, plan) in enumerate(FAULTS.items()):
            took = {name: [] for name in calls(0)}
            for i in range(TIMES):
                for name, call in calls(k * TIMES + i).items():
                    s = open()
                    if name == 'sync': _pending(s, proxy)
                    s.get('lab/m')          # it was there a moment ago
                    with proxy.fault(kind, **plan):
                        start = time.perf_counter()
                        try: call(s)
                        except Exception as e: ends.setdefault(type(e).__name__, set()).add(f'{kind}: {name}')
                        took[name].append(time.perf_counter() - start)
                    s.sync()
            rows.append([kind, *(human(max(t)) for t in took.values())])
            longest = max(longest, *map(max, took.values()))
    say(f'### The longest wait of a call that meets a fault first, of {TIMES} (time-out: 1 s, the default)',
        table(['fault', *calls(0)], rows))
    say('Errors: ' + '; '.join(f"{e} ({', '.join(sorted(where))})" for e, where in ends.items()))
    verdict('the longest wait of any call under any fault', longest, 10, unit=' s')

def _pending(s, proxy):
    with proxy.fault('503'): s.put('lab/waiting', 1)


def kills():
    "The long runs of the tests, and the figures that they print"
    asked = ['test_killed_at_random', 'test_killed_at_every_step_of_a_sync',
             'test_two_machines_keep_all_that_they_did_offline']
    made = subprocess.run([sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', '-p', 'no:xdist',
                           '--timeout', '3000', str(HERE.parent/'tests'/'test_sync.py'), '-k', ' or '.join(asked)],
                          capture_output=True, text=True, cwd=HERE.parent, env={**os.environ, 'OBJECTSTORE_SOAK': '10'})
    figures = made.stdout.partition(' figures ')[2].splitlines()[1:]
    say('### Killed, and two machines (`OBJECTSTORE_SOAK=10`, tests/test_sync.py)',
        '\n'.join(f'- {l}' for l in figures if l and not l.startswith('=')) or made.stdout[-3000:])
    verdict('tests that failed', made.returncode, 0)


PASS = '''
import sys, time
from pathlib import Path
from objectstore import ObjectStore
near, url, what, path = sys.argv[1:]
s = ObjectStore(near, url, progress=False, timeout=10.0)
start = time.perf_counter()
if what == 'put': s.put('lab/large', Path(path))
else: s['lab/large'].path(to=path)
out = dict(seconds=time.perf_counter() - start)
'''

def memory(mb: int):
    "One file, each step in a process of its own"
    import shutil
    with scratch() as d, service('seaweed') as place:
        if place is None: return
        rows, src, back = [], d/'large.bin', d/'back.bin'
        make(src, mb)
        wanted = hash_of(src)
        env = dict(OBJECTSTORE_STATE_DIR=f'{d}/state', OBJECTSTORE_CACHE_DIR=f'{d}/ours')
        def step(said, near, what, path):
            found = in_process(PASS, d/near, place.url, what, path, env=env)
            same = 'yes' if what == 'put' or hash_of(path) == wanted else 'NO'
            rows.append([said, f'{found["seconds"]:.1f} s', f'{mb / found["seconds"]:.0f} MB/s', found['peak'] / 1e6,
                         same])
            if what == 'get': path.unlink()
        step('put, kept near', 'near', 'put', src)
        src.unlink()
        step('get, near, to a path', 'near', 'get', back)
        shutil.rmtree(d/'near')
        step('get, cold, kept near, to a path', 'other', 'get', back)
        say(f'### A file of {mb:,} MB through a near tier before SeaweedFS, in a fresh process each',
            table(['what', 'took', 'rate', 'peak memory', 'same bytes'],
                  [[*r[:3], f'{r[3]:.0f} MB', r[4]] for r in rows]))
        verdict('peak memory', max(r[3] for r in rows), 256, unit=' MB')


def requests():
    with far() as f:
        if not f: return
        open, proxy = f
        there = open(near=None, timeout=10.0)
        s = open(timeout=10.0)
        s.put('lab/m', {'a': 1}), s.put('lab/m', {'a': 2}), there.put('lab/far', {'a': 3}), s.get('lab/m')
        steps = {'get, pinned, near': (lambda: s.get('lab/m@1'), 0), 'get, latest, near': (lambda: s.get('lab/m'), 1),
                 'get, latest, near, within max_age': (lambda: s.get('lab/m', max_age=60), 0),
                 'get, cold, small': (lambda: s.get('lab/far'), 2),
                 'put, small, the next of an item': (lambda: s.put('lab/m', {'a': 4}), 1)}
        rows = []
        for name, (call, most) in steps.items():
            with proxy.counting() as made: call()
            rows.append([name, len(made), most, '' if len(made) <= most else '**not met**'])
        say('### Requests through a near tier, counted at a proxy',
            table(['operation', 'requests', 'budget', ''], rows))

def delivers():
    with far() as f:
        if not f: return
        open, proxy = f
        open(timeout=10.0).put('lab/first', 1)
        rows = []
        for i in range(TIMES):
            away = open(offline=True)
            for k in range(300): away.put(f'lab/offline-{i}/{k % 30}', {'k': k})
            proxy.delay = 0.02
            together, s = [(f'lab/many-{i}/{k % 30}', {'k': k}) for k in range(300)], open(timeout=10.0)
            begun = time.perf_counter()
            s.sync()
            between = time.perf_counter()
            s.put_many(together)
            times, proxy.delay = [between - begun, time.perf_counter() - between], 0.0
            rows.append([f'{t:.2f} s' for t in times])
        say('### 300 puts of 30 items, ten behind one another, over a line of 20 ms',
            table(['`sync`', '`put_many`'], rows))

if __name__ == '__main__':
    warnings.simplefilter('ignore')
    heading('Near tiers and work offline')
    mb, asked = int(([a for a in sys.argv[1:] if a.isdigit()] or [5000])[0]), [
        a for a in sys.argv[1:] if not a.isdigit()]
    for f, args in ((requests, ()), (delivers, ()), (hanging, ()), (waits, ()), (kills, ()), (memory, (mb,))):
        if not asked or f.__name__ in asked: f(*args)
