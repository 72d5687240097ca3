"Stores in threads, in other processes by spawn and by Dask, and in forked children"
import multiprocessing, os, pickle, signal, threading, time
from concurrent.futures import ThreadPoolExecutor
import pytest
from objectstore import ObjectStore
from away import World, forget_all, quiet
from trial import content, soak, whole

LARGE = 60_000

def use(store, name: str) -> tuple[str, int]:
    "What a worker does: read, put, read"
    assert whole(store.get('lab/given')) == 'given' and whole(store.get('lab/large')) == 'large'
    v = store.put(f'lab/{name}', content(name))
    return whole(store.get(v)), v.version

def given(world) -> ObjectStore:
    store = world.open()
    store.put('lab/given', content('given')), store.put('lab/large', content('large', LARGE))
    return store


# Threads

def test_threads_share_a_store(world):
    store, n = given(world), soak(10, 50)
    def work(i):
        return [(store.put('lab/m', content(f'{i} {k}', LARGE * (k % 5 == 0))).version, whole(store.get('lab/m')))[0]
                for k in range(n)]
    with ThreadPoolExecutor(4) as pool: got = sorted(v for vs in pool.map(work, range(4)) for v in vs)
    assert got == list(range(1, 4 * n + 1)) and len({whole(v.get()) for v in store.versions('lab/m')}) == 4 * n

def test_threads_put_while_the_origin_comes_and_goes(memory, figure):
    store, n, stop = given(memory), soak(25, 200), threading.Event()
    def flap():
        while not stop.wait(0.01): memory.away(); stop.wait(0.01); memory.back(); store.origin.breaker.try_now()
    flapping = threading.Thread(target=flap)
    flapping.start()
    def work(i): return [store.put(f'lab/m{i % 2}', content(f'{i} {k}')) for k in range(n)]
    with quiet():
        with ThreadPoolExecutor(4) as pool: made = [v for vs in pool.map(work, range(4)) for v in vs]
        stop.set(), flapping.join()
        memory.back()
        for _ in range(5): report = store.sync()
    assert not report.waiting
    found = [whole(v.get()) for i in (0, 1) for v in memory.alone().versions(f'lab/m{i}')]
    figure('threads while the origin flaps', puts=len(made), pending=sum(v.pending for v in made), versions=len(found),
           lost=4 * n - len(set(found)), doubled=len(found) - len(set(found)))
    assert len(found) == len(set(found)) == 4 * n

def test_stale_is_noted_by_worker_threads_of_a_verb(memory):
    store = given(memory)
    for i in range(30): store.put(f'lab/many/{i}', i)
    memory.away()
    forget_all()
    with quiet():
        off = memory.open()
        assert (all(v.stale for v in off.find_items('lab'))
                and off.get_many([f'lab/many/{i}' for i in range(30)]) == list(range(30)))
        with ThreadPoolExecutor(4) as pool:
            assert all(v.stale for v in pool.map(lambda i: off[f'lab/many/{i}'], range(30)))


# Other processes

def _spawned(raw: bytes, name: str, pipe) -> None:
    try: pipe.send(use(pickle.loads(raw), name))
    except BaseException as e: pipe.send(repr(e))

def spawned(store, name: str):
    context = multiprocessing.get_context('spawn')
    r, w = context.Pipe(False)
    p = context.Process(target=_spawned, args=(pickle.dumps(store), name, w))
    p.start()
    try: return r.recv() if r.poll(500) else 'no answer'
    finally: p.kill(), p.join()

@pytest.mark.parametrize('kind', ['local-2', 'local-3', 'seaweed-2'])
def test_a_store_goes_to_a_spawned_process(kind, clean, request):
    name, tiers = kind.split('-')
    world = World(name, int(tiers), clean, request)
    store = given(world)
    if world.proxy: assert world.alone()._options == {} and 'testsecret' not in repr(pickle.dumps(store))
    assert spawned(store, 'spawned') == ('spawned', 1) and whole(store.get('lab/spawned')) == 'spawned'
    again = pickle.loads(pickle.dumps(store))
    assert (again.tiers, again.timeout, again.offline, again.cache_limit) == (
        store.tiers, store.timeout, store.offline, store.cache_limit)
    assert pickle.loads(pickle.dumps(store['lab/given'])) == store['lab/given']

def test_a_pending_version_is_the_same_in_another_process(memory):
    store = given(memory)
    memory.away()
    with quiet():
        v = store.put('lab/m', content('waits'))
        again = store[v.ref]
        assert again == v and pickle.loads(pickle.dumps(v)).get() == v.get()

def test_a_store_goes_to_dask_workers(clean, request):
    distributed = pytest.importorskip('dask.distributed', reason='pip install "dask[distributed]" runs this')
    world = World('local', 2, clean, request)
    store = given(world)
    with distributed.LocalCluster(n_workers=2, threads_per_worker=2, processes=True,
                                  dashboard_address=None) as cluster, distributed.Client(cluster) as client:
        assert sorted(client.gather(client.map(use, [store] * 8, [f'dask{i}' for i in range(8)]))) == [
            (f'dask{i}', 1) for i in range(8)]
    assert all(whole(store.get(f'lab/dask{i}')) == f'dask{i}' for i in range(8))


# Forks

def forked(f, seconds: float = 200) -> str:
    "What a function gives, or its error, in a forked child; 'hangs' where it does not end"
    r, w = os.pipe()
    pid = os.fork()
    if not pid:
        try: answer = str(f())
        except BaseException as e: answer = f'{type(e).__name__}: {e}'
        os.write(w, answer.encode()[:60_000])
        os._exit(0)
    os.close(w)
    end = time.monotonic() + seconds
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        if time.monotonic() > end: os.kill(pid, signal.SIGKILL), os.waitpid(pid, 0); return 'hangs'
        time.sleep(0.01)
    with os.fdopen(r, 'rb') as f: return f.read().decode()

needs_fork = pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork here')

@needs_fork
@pytest.mark.parametrize('tiers', [2, 3])
def test_local_tiers_go_on_in_a_fork(clean, request, tiers):
    world = World('local', tiers, clean, request)
    store = given(world)
    assert forked(lambda: use(store, 'child')) == "('child', 1)" and whole(store.get('lab/child')) == 'child'
    assert forked(lambda: use(world.open(), 'child')) == "('child', 2)"

def _in_a_fork_of_a_fresh_process(used: bool, nears, url, options, env_, what: str) -> str:
    os.environ.update(env_)
    store = ObjectStore(*nears, url, **options)
    if used: store.get('lab/given')
    does = dict(get=lambda: whole(store.get('lab/given')), pinned=lambda: whole(store.get('lab/given@1')),
                put=lambda: store.put('lab/m', 1).ref, sync=lambda: store.sync(),
                new=lambda: whole(ObjectStore(*nears, url, **options).get('lab/given')),
                find=lambda: store.find_items().refs)
    return forked(does[what])

@needs_fork
@pytest.mark.parametrize('what', ['get', 'put', 'find', 'new', 'pinned'])
def test_a_remote_tier_in_a_fork(clean, request, what):
    "Before its use it works; after it says at once what to do; it never hangs"
    from trial import alone
    world = World('seaweed', 2, clean, request)
    given(world)
    args = world.nears, world.url, world.options, {k: v for k, v in os.environ.items()
                                                   if k.startswith(('AWS_', 'OBJECTSTORE_'))}, what
    before, after = alone(_in_a_fork_of_a_fresh_process, False, *args), alone(
        _in_a_fork_of_a_fresh_process, True, *args)
    assert 'hangs' not in (before, after) and not before.startswith('ObjectStoreError')
    if what == 'pinned': assert after == 'given'
    else: assert 'ObjectStoreError' in after and 'spawn' in after and 'forkserver' in after

@needs_fork
def test_a_fork_while_another_thread_delivers(memory):
    "A lock that a thread of the parent held is free in the child"
    store = given(memory)
    with store.pending.alone(), store.origin.breaker._lock:
        assert forked(lambda: store.status() and store.sync() is not None and 'done') == 'done'

def test_planted_a_lock_that_is_kept_over_a_fork_is_caught(memory, monkeypatch):
    if not hasattr(os, 'fork'): pytest.skip('no fork here')
    _store, lock = given(memory), threading.Lock()
    with lock: assert forked(lambda: lock.acquire(), 0.5) == 'hangs'
