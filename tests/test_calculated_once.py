"""One calculation, however many ask: processes on files and services, a holder that is killed, errors that reach
everybody"""
import os, secrets, signal, time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
import pytest
from objectstore import CalculationFailed, ObjectStore
from objectstore.computed import leases
from objectstore.computed.mapping import MapFailed
from services import Place
from planting import planted_here
from trial import PATIENCE, gate, remote, start, together, where

pytestmark = [pytest.mark.usefixtures('own_cache'),
              pytest.mark.filterwarnings('ignore::objectstore.errors.StaleWarning')]

def opened(kind: str, at) -> ObjectStore:
    return remote(at) if kind == 'service' else ObjectStore(at, progress=False, durable=False)

def slow_one(store: ObjectStore, folder: str, seconds: float, fails: bool = False):
    "A slow function that leaves a file each time it runs"
    @store.calculated('f/slow', version=1)
    def slow():
        (Path(folder)/secrets.token_hex(8)).touch()
        time.sleep(seconds)
        if fails: raise ValueError('no rows')
        return {'answer': 42}
    return slow

def ask(kind, at, folder, seconds, n, ready, fails=False) -> tuple[int, float, float]:
    "In a process of its own: how many answers were right, and the longest and the median wait"
    slow, right, waits = slow_one(opened(kind, at), folder, seconds, fails), 0, []
    ready.wait()
    for _ in range(n):
        t = time.monotonic()
        try: right += slow() == {'answer': 42}
        except ValueError as e: right += fails and 'no rows' in str(e)
        waits.append(time.monotonic() - t)
    return right, max(waits), sorted(waits)[n // 2]

def race(kind, at, folder, processes, n, seconds=2.0) -> dict:
    ready = gate(processes)
    told = together(ask, [(kind, at, str(folder), seconds, n, ready) for _ in range(processes)])
    return dict(asks=processes * n, right=sum(r for r, *_ in told), calculations=len(list(folder.iterdir())),
                longest_wait=max(w for _, w, _ in told), median=sorted(m for *_, m in told)[len(told) // 2])

@pytest.fixture
def ran(tmp_path):
    (tmp_path/'ran').mkdir()
    return tmp_path/'ran'

@pytest.mark.alone
@pytest.mark.slow
def test_once_on_files(tmp_path, ran, figure):
    found = race('files', tmp_path/'store', ran, 8, 20)
    figure('37 calculated once, local files', processes=8, **found)
    assert found['calculations'] == 1 and found['right'] == found['asks']

@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.parametrize('name', ['seaweed', 'ceph', 'given'])
def test_once_on_a_service(name, request, ran, figure):
    place = where(Place(request.getfixturevalue(name)))
    opened('service', place).find_or_create_bucket('f')
    found = race('service', place, ran, 8, 20)
    figure(f'37 calculated once, {name}', processes=8, **found)
    assert found['calculations'] == 1 and found['right'] == found['asks']

def hold(kind, at, folder, machine: bool) -> None:
    "In a process of its own, which is killed: begin a calculation that never ends"
    if not machine: planted_here(leases, 'machine', lambda: None); planted_here(leases, 'BEAT', 1.0)
    slow_one(opened(kind, at), folder, 3600)()

def take_over(kind, at, folder, holds: float) -> None:
    "Wait in another process until the holder is known to be dead, and calculate in its place, once"
    planted_here(leases, 'HOLDS', holds)
    assert slow_one(opened(kind, at), folder, 0.1)() == {'answer': 42}

def killed(kind, at, folder, machine: bool, holds: float, waiters: int) -> dict:
    "Seconds from the death of a holder to the last waiter's answer"
    holder = start(hold, kind, at, str(folder), machine)
    until = time.monotonic() + 500
    while not list(folder.iterdir()) and time.monotonic() < until: time.sleep(0.02)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(together, take_over, [(kind, at, str(folder), holds)] * waiters)
        time.sleep(2 + waiters / 2)
        os.kill(holder.pid, signal.SIGKILL)
        holder.join()
        begin = time.monotonic()
        waiting.result()
    return dict(waiters=waiters, lease_s=holds, longest_wait_after=time.monotonic() - begin,
                calculations=len(list(folder.iterdir())) - 1)

@pytest.mark.slow
@pytest.mark.parametrize('machine, holds', [(True, 20.0), (False, 3.0)], ids=['same machine', 'another machine'])
def test_a_holder_that_is_killed(tmp_path, ran, machine, holds, figure):
    found = killed('files', str(tmp_path/'store'), ran, machine, holds, 4)
    figure(f'37 a holder is killed, local files, on {"the same" if machine else "another"} machine', **found)
    assert found['calculations'] == 1 and found['longest_wait_after'] < (holds + 20) * PATIENCE

@pytest.mark.slow
@pytest.mark.parametrize('name', ['seaweed', 'ceph'])
def test_a_holder_that_is_killed_on_a_service(name, request, ran, figure):
    place = where(Place(request.getfixturevalue(name)))
    opened('service', place).find_or_create_bucket('f')
    found = killed('service', place, ran, False, 5.0, 4)
    figure(f'37 a holder is killed, {name}, on another machine', **found)
    assert found['calculations'] == 1 and found['longest_wait_after'] < 30 * PATIENCE

def test_an_error_reaches_every_process(tmp_path, ran):
    ready = gate(4)
    told = together(ask, [('files', tmp_path/'store', str(ran), 3, 1, ready, True) for _ in range(4)])
    assert [r for r, *_ in told] == [1] * 4 and len(list(ran.iterdir())) <= 2

def half_a_cycle(at, folder, mine, other) -> str:
    "In a process of its own: a calculation that needs another, which needs it, and which another process has begun"
    leases.BEAT, store = 0.3, ObjectStore(at, progress=False, durable=False)
    def meet(name):
        (Path(folder)/name).touch()
        until = time.monotonic() + 200
        while len(list(Path(folder).iterdir())) < 2 and time.monotonic() < until: time.sleep(0.02)
    a = store.calculated('f/a', version=1)(lambda: (meet('a'), b()))
    b = store.calculated('f/b', version=1)(lambda: (meet('b'), a()))
    try: return repr({'a': a, 'b': b}[mine]())
    except (RecursionError, CalculationFailed) as e: return f'{type(e).__name__}: {e}'

def test_a_cycle_through_two_processes(tmp_path, ran):
    told = together(half_a_cycle,
                    [(str(tmp_path/'store'), str(ran), 'a', 'b'), (str(tmp_path/'store'), str(ran), 'b', 'a')])
    assert (all(t.startswith(('Cycle', 'CalculationFailed')) for t in told)
            and any(t.startswith('Cycle') for t in told)), told


# Maps over executors

_store = ObjectStore(os.environ.get('CALCULATED_TEST_STORE', 'memory://'), progress=False, durable=False)

@_store.calculated('maps/tens')
def tens(n, fails=False):
    if fails: raise ValueError(f'no {n}')
    return n * 10

def test_a_map_over_processes_by_name(tmp_path, monkeypatch):
    monkeypatch.setenv('CALCULATED_TEST_STORE', str(tmp_path/'store'))
    monkeypatch.setattr(tens, '_store', ObjectStore(tmp_path/'store', durable=False))
    with ProcessPoolExecutor(2, get_context('spawn')) as pool:
        assert tens.map(range(6), pool) == [n * 10 for n in range(6)]
        with pytest.raises(MapFailed, match='1 of 3') as e: tens.map([7, (8, True), 9], pool)
        assert (isinstance(e.value.__cause__, ValueError) and list(e.value.errors) == ['maps/tens/n=8/fails=True']
                and [v.get() for v in e.value.results.versions] == [70, 90])

def test_a_map_over_processes_by_value(tmp_path):
    pytest.importorskip('cloudpickle')
    store, ran = ObjectStore(tmp_path/'store', durable=False), str(tmp_path/'ran')
    os.mkdir(ran)
    store.put('data/raw', 5)
    def helper(x): return x + 1
    @store.calculated('maps/inner')
    def inner(n): return store.get('data/raw') * n
    @store.calculated('maps/outer')
    def outer(n):
        Path(ran, secrets.token_hex(8)).touch()
        return helper(inner(n % 2))
    def runs(): return len(os.listdir(ran))
    with ProcessPoolExecutor(2, get_context('spawn')) as pool:
        assert outer.map(range(4), pool) == [1, 6, 1, 6] and runs() == 4
        assert outer.map(range(5), pool) == [1, 6, 1, 6, 1] and runs() == 5
        assert outer.explain(3).fresh and inner.explain(1).fresh
        store.put('data/raw', 6)
        # those of n % 2 == 0 were made from the same numbers
        assert outer.map(range(5), pool)[3] == 7 and runs() == 7

def test_a_store_that_workers_cannot_see():
    pytest.importorskip('cloudpickle')
    store = ObjectStore('memory://')
    f = store.calculated('maps/x')(lambda n: n)
    with ProcessPoolExecutor(1, get_context('spawn')) as pool:
        with pytest.raises(MapFailed, match='workers need a store that all of them reach'): f.map([1], pool)

def test_dask_and_joblib(tmp_path):
    distributed = pytest.importorskip('distributed')
    store = ObjectStore(tmp_path/'store', durable=False)
    f = store.calculated('maps/x')(lambda n: n * 2)
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1,
                                  dashboard_address=None) as cluster, distributed.Client(cluster) as client:
        assert f.map(range(10), client.get_executor()) == [n * 2 for n in range(10)]
    assert len(f.versions()) == 10 and f.explain(3).fresh
    loky = pytest.importorskip('joblib.externals.loky')
    pool = loky.get_reusable_executor(2)
    assert f.map(range(12), pool) == [n * 2 for n in range(12)] and len(f.versions()) == 12
    pool.shutdown(wait=True)
