"""Reads in other processes: what the pools of joblib and multiprocessing read while a function runs is an input of its
result; where it cannot be seen, one warning"""
from __future__ import annotations
import shutil, subprocess, sys, tempfile
import pytest

SCRIPT = '''
import multiprocessing, os, signal, sys, tempfile, threading, warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.pool import ThreadPool
from objectstore import ObjectStore

how, place, method = sys.argv[1:4]
store = ObjectStore(place, progress=False, durable=False)
def read(n): return store.get(f'data/{n}')
def read_2(a, b): return read(a) + read(b)
def read_and_fail(n): raise ValueError(read(n))
def read_deeper(n):
    with ProcessPoolExecutor(1, multiprocessing.get_context(method)) as pool: return pool.submit(read, n).result()
def keep(n): globals()['kept'] = read(n)
def kept_and(n): return kept + read(n)
def send(q, n): q.put(read(n))
def serve(asked, answers):
    while (n := asked.get()) is not None: answers.put(read(n))
def die(n):
    read(n)
    os.kill(os.getpid(), signal.SIGKILL)
before = []
def context(): return multiprocessing.get_context(method)

def by_map():
    with context().Pool(2) as pool: return pool.map(read, 'ab', 1)
def by_chunks():
    with context().Pool(2) as pool: return pool.map(read, 'abab', 2)
def by_starmap():
    with context().Pool(2) as pool: return pool.starmap(read_2, ['ab'])
def by_starmap_async():
    with context().Pool(2) as pool: return pool.starmap_async(read_2, ['ab']).get()
def by_map_async():
    with context().Pool(2) as pool: return pool.map_async(read, 'ab').get()
def by_imap():
    with context().Pool(2) as pool: return list(pool.imap(read, 'ab'))
def by_imap_unordered():
    with context().Pool(2) as pool: return sorted(pool.imap_unordered(read, 'ab', 2))
def by_apply():
    with context().Pool(1) as pool: return [pool.apply(read, 'a'), pool.apply_async(read, kwds={'n': 'b'}).get()]
def by_failure():
    said = []
    with context().Pool(1) as pool:
        for n in 'ab':
            try: pool.apply(read_and_fail, n)
            except ValueError as e: said.append(e.args[0])
    return said
def by_pool_before(): return before[0].map(read, 'ab')
def by_executor():
    with ProcessPoolExecutor(2, context()) as pool: return list(pool.map(read, 'ab'))
def by_executor_failure():
    with ProcessPoolExecutor(2, context()) as pool: return [f.exception().args for f in
                                                           [pool.submit(read_and_fail, n) for n in 'ab']]
def by_nested():
    with ProcessPoolExecutor(1, context()) as pool: return list(pool.map(read_deeper, 'ab'))
def by_thread_pool():
    with ThreadPool(2) as pool: return pool.map(read, 'ab')
def by_thread_pool_before(): return before[0].map(read, 'ab')
def by_initializer():
    with context().Pool(1, keep, 'a') as pool: return pool.map(kept_and, 'b')
def by_initializer_of_executor():
    with ProcessPoolExecutor(1, context(), keep, 'a') as pool: return list(pool.map(kept_and, 'b'))
def by_joblib():
    from joblib import Parallel, delayed
    return Parallel(2, backend='loky')(delayed(read)(n) for n in 'ab')
def by_joblib_before(): return by_joblib()
def by_joblib_multiprocessing():
    from joblib import Parallel, delayed
    return Parallel(2, backend='multiprocessing')(delayed(read)(n) for n in 'ab')
def by_killed():
    from joblib import Parallel, delayed
    try: Parallel(2, backend='loky')(delayed(die)(n) for n in 'ab')
    except Exception: return [read(n) for n in 'ab']
def by_process():
    q = context().SimpleQueue()
    for n in 'ab':
        p = context().Process(target=send, args=(q, n))
        p.start()
    return sorted(q.get() for _ in 'ab')
def by_process_before():
    for n in 'ab': before[0].put(n)
    return [before[1].get() for _ in 'ab']
def by_nothing(): return [read(n) for n in 'ab']
UNSEEN = 'process', 'process_before'

if __name__ == '__main__':
    warnings.filterwarnings('ignore', '.*is a new store')
    for n in 'ab': store.put(f'data/{n}', n)
    f = store.calculated('results/x')(globals()[f'by_{how}'])
    if how in ('pool_before', 'nothing'): before.append(context().Pool(2))
    if how == 'thread_pool_before': before.append(ThreadPool(2))
    if how == 'joblib_before': by_joblib()
    if how == 'nothing':
        before.append(ProcessPoolExecutor(1, context()))
        assert before[1].submit(abs, -1).result() == 1
    if how == 'process_before':
        before.extend([context().SimpleQueue(), context().SimpleQueue()])
        p = context().Process(target=serve, args=before)
        p.start()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter('always')
        f()
        inputs = {i['asked'] for i in f.version_of().lineage()['inputs']}
        if how in UNSEEN: store.put('results/other', 1), f.version_of(), store.calculated('results/y')(by_nothing)()
    told = [w for w in told if 'reads is not known' in str(w.message)]
    if how == 'process_before': before[0].put(None), p.join()
    if how not in UNSEEN:
        assert not told, told[0].message
        assert inputs == {'data/a', 'data/b'}, inputs
        store.put('data/b', 'new')
        assert not f.explain().fresh
    else:
        assert len(told) == 1, told
        for word in ('f.map', 'ProcessPoolExecutor', 'parent'): assert word in str(told[0].message)
    for pool in before:
        if hasattr(pool, 'terminate'): pool.terminate()
        elif hasattr(pool, 'shutdown'): pool.shutdown()
    if 'joblib' in sys.modules:
        from joblib.externals.loky import get_reusable_executor
        get_reusable_executor().shutdown()
    print('holds', [n for n in os.listdir(tempfile.gettempdir()) if 'objectstore' in n])
'''

def holds(tmp_path, monkeypatch, how: str, method: str) -> None:
    "Run a script whose calculated function reads in other processes"
    monkeypatch.setenv('OBJECTSTORE_CACHE_DIR', str(tmp_path/'cache'))
    short = tempfile.mkdtemp(prefix='o')       # a socket of forkserver lies there
    monkeypatch.setenv('TMPDIR', short)
    (tmp_path/'script.py').write_text(SCRIPT)
    done = subprocess.run([sys.executable, str(tmp_path/'script.py'), how, str(tmp_path/'store'), method],
                          capture_output=True, text=True, timeout=300, cwd=tmp_path)
    shutil.rmtree(short, ignore_errors=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith('holds []'), done.stdout

@pytest.mark.parametrize('how', ['map', 'chunks', 'starmap', 'starmap_async', 'map_async', 'imap', 'imap_unordered',
    'apply', 'failure', 'pool_before', 'executor', 'executor_failure', 'nested', 'thread_pool', 'thread_pool_before',
    'initializer', 'initializer_of_executor', 'nothing', 'process', 'process_before'])
def test_what_pools_read_is_an_input(tmp_path, monkeypatch, how): holds(tmp_path, monkeypatch, how, 'fork')

@pytest.mark.parametrize('method', ['spawn', 'forkserver'])
@pytest.mark.parametrize('how', ['map', 'failure', 'pool_before', 'initializer_of_executor', 'nothing', 'process'])
def test_however_the_processes_were_started(tmp_path, monkeypatch, how, method):
    holds(tmp_path, monkeypatch, how, method)

@pytest.mark.parametrize('how', ['joblib', 'joblib_before', 'joblib_multiprocessing', 'killed'])
def test_what_joblib_reads_is_an_input(tmp_path, monkeypatch, how):
    pytest.importorskip('joblib')
    holds(tmp_path, monkeypatch, how, 'fork')
