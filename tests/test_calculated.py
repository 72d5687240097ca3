"""Calculated objects: what calculates and what does not, kinds of functions, errors, cycles, threads, offline work,
and random graphs against an oracle"""
import asyncio, functools, threading, time, types, warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import date
from multiprocessing import get_context
from pathlib import Path
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from objectstore import (CalculationFailed, Cycle, InvalidRef, NotFound, ObjectStore, Protected, StaleWarning,
                         Unsupported, scratch)
from objectstore.computed import leases
from objectstore.storage.backend import Capabilities, MemoryBackend
from objectstore.computed.calculated import Lease, failure
from objectstore.refs import parse_ref
from objectstore.tracking import now_reading
from objectstore.computed.leases import Holder
from away import quiet
from trial import ServiceLike, Wrapped, soak, store_over

pytestmark = [pytest.mark.usefixtures('own_cache'),
              pytest.mark.filterwarnings('ignore::objectstore.errors.StaleWarning')]

@pytest.fixture
def store(): return ObjectStore('memory://', progress=False)

@pytest.fixture
def files(tmp_path): return ObjectStore(tmp_path/'store', progress=False, durable=False)


# What calculates, and the reason

def test_fresh_until_something_changes(store):
    store.put('data/raw', [1, 2, 3])
    ran = []
    @store.calculated('features/total')
    def total(scale=1):
        ran.append(scale)
        return sum(store.get('data/raw')) * scale
    assert total.explain().reason == 'new'
    assert [total(), total(), total(2), total(scale=2)] == [6, 6, 12, 12] and ran == [1, 2]
    assert total.explain().reason == 'fresh' and total.explain().fresh
    store.put('data/raw', [1, 2, 3])                                   # the same bytes again
    assert total() == 6 and ran == [1, 2]
    store.put('data/raw', [5])
    assert total.explain().reason == 'input changed' and 'data/raw' in total.explain()
    assert (total(), total(2), ran) == (5, 10, [1, 2, 1, 2])
    assert [v.get() for v in total.versions()] == [6, 5] and len(total.versions(2)) == 2
    assert store.get('features/total') == 5 and store['features/total'].metadata == {'params': {'scale': 1}}

def redefined(store, source, **names):
    "A calculated function from the text of a notebook cell, with lines of its own"
    import linecache
    file = f'<cell {len(linecache.cache)} {time.time_ns()}>'
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    space = {'store': store, '__name__': 'cell', **names}
    exec(compile(source, file, 'exec'), space)
    return space['f']

def test_a_cell_that_is_run_again(store):
    ran = []
    cell = "@store.calculated('f/x')\ndef f(day='a'):\n    ran.append(day)\n    return day * 2\n"
    assert redefined(store, cell, ran=ran)() == 'aa'
    assert redefined(store, cell, ran=ran)() == 'aa' and ran == ['a']
    assert (redefined(store, cell.replace('    ran', '    "Doubles"\n\n    # first\n    ran').replace(
        "'f/x'", "ref='f/x'"), ran=ran)() == 'aa' and ran == ['a'])
    f = redefined(store, cell.replace('* 2', '* 3'), ran=ran)
    assert f.explain().reason == 'code changed' and 'source' in f.explain() and f() == 'aaa' and ran == ['a', 'a']
    f = redefined(store, cell.replace('* 2', '* 3').replace("'a'", "'b'"), ran=ran)
    assert f.explain().reason == 'parameter changed' and "day is 'b' and was 'a'" in f.explain() and f() == 'bbb'

def test_what_a_function_names(store):
    source = ("RATE = 2\ndef helper(x, plus=0): return x * RATE + plus\nclass Tool:\n    def use(self, x): return x + "
              "1\n@store.calculated('f/x')\ndef f(): return Tool().use(helper(1))\n")
    assert redefined(store, source)() == 3
    assert redefined(store, source).explain().fresh
    for a, b, what in (('x * RATE', 'RATE * x', 'helper'), ('RATE = 2', 'RATE = 3', 'helper.RATE'),
                       ('x + 1', 'x + 2', 'Tool.use'), ('plus=0', 'plus=1', 'helper')):
        source = source.replace(a, b)
        f = redefined(store, source)
        assert f.explain().reason == 'code changed' and what in f.explain(), (a, f.explain())
        f()

def test_version_stands_for_the_source(store):
    cell = "@store.calculated('f/x', version=VERSION)\ndef f(): return 1\n"
    assert redefined(store, cell, VERSION='1')() == 1
    assert redefined(store, cell.replace('return 1', 'return 2'), VERSION='1')() == 1
    f = redefined(store, cell.replace('return 1', 'return 2'), VERSION='2')
    assert f.explain().reason == 'code changed' and f() == 2
    with pytest.raises(InvalidRef): store.calculated('f/x', version=True)

def test_what_it_declares_to_use(store):
    def make(module, value):
        return store.calculated('f/x', uses=(module, value))(lambda: 1)
    library = types.FunctionType(compile('lambda: 1', 'lib', 'eval').co_consts[0], {'__name__': 'lib'})
    other = types.FunctionType(compile('lambda: 2', 'lib', 'eval').co_consts[0], {'__name__': 'lib'})
    make(library, 'a')()
    assert make(library, 'a').explain().fresh
    assert make(other, 'a').explain().reason == 'code changed' and make(library, 'b').explain().reason == 'code changed'

def test_ignored_parameters(store):
    ran = []
    @store.calculated('f/x', ignore=('workers', 'log'))
    def f(day, workers=1, log=None):
        ran.append(day)
        return day
    lock = threading.Lock()
    assert [f(1), f(1, workers=4), f(1, log=lock)] == [1, 1, 1] and ran == [1] and f.ref(1, workers=4) == 'f/x/day=1'
    with pytest.raises(InvalidRef, match="did you mean 'workers'"):
        store.calculated('f/x', ignore='worker')(lambda workers: 1)
    with pytest.raises(Unsupported, match='ignore='): store.calculated('f/y')(lambda lock: 1)(lock)

@pytest.mark.parametrize('value',
                         [1, 1.5, True, None, 'us', 'a/b', "it's", '3', '', ' x ', 'é' * 50, 'x' * 5000,
                          date(2026, 11, 1), (1, 2), [1, {'a': 2}], {'b': 1}, Path('/tmp/x'), b'bytes', '..', '@',
                          '%2F', '\x00'])
def test_names_from_parameters(store, value):
    ran = []
    @store.calculated('f/x')
    def f(value):
        ran.append(1)
        return repr(value)
    assert f(value) == f(value) == repr(value) and len(ran) == 1
    assert store.get(f.ref(value)) == repr(value) and len(f.versions(value)) == 1 and len(f.versions()) == 1

def test_values_of_different_types_are_different(store):
    @store.calculated('f/x')
    def f(value): return type(value).__name__
    values = [1, '1', 1.0, True, 'True', None, 'None', [1], (1,), b'1']
    assert ([f(v) for v in values] == [type(v).__name__ for v in values]
            and len({f.ref(v) for v in values}) == len(values))

def test_variable_arguments(store):
    @store.calculated('f/x')
    def f(*args, **kwargs): return [list(args), kwargs]
    assert (f() == [[], {}] and f(1, 2, b=3, a=4) == [[1, 2], {'a': 4, 'b': 3}] and f.ref(b=3, a=4) == 'f/x/a=4/b=3'
            and f(a=4, b=3) == [[], {'a': 4, 'b': 3}])
    with pytest.raises(TypeError): store.calculated('f/y')(lambda a: 1)()


# Reading by name

def test_get_calculates_what_exists_nowhere(store):
    ran = []
    @store.calculated('features/daily')
    def daily(day: date, region='us', n=1):
        ran.append((day, region, n))
        return f'{day:%d} {region}'
    assert (store.get('features/daily/day=2026-11-01') == '01 us'
            and store.get('features/daily/day=2026-11-01') == '01 us' and daily(date(2026, 11, 1)) == '01 us')
    assert (store.get('features/daily/n=2/region=eu/day=2026-11-02') == '02 eu'
            and daily(date(2026, 11, 2), 'eu', 2) == '02 eu')
    assert ran == [(date(2026, 11, 1), 'us', 1), (date(2026, 11, 2), 'eu', 2)]
    for bad in ('features/daily', 'features/daily/dya=2026-11-01', 'features/daily/day=x',
                'features/daily/day=2026-11-01@7', 'features/other'):
        with pytest.raises((NotFound, ValueError)): store.get(bad)
    assert store.get('features/daily/dya=1', default=5) == 5 and 'features/daily/day=2026-11-03' not in store

def test_get_returns_what_is_stored_and_warns(store):
    store.put('data/raw', 1)
    f = store.calculated('f/x')(lambda: store.get('data/raw') + 1)
    assert store.get('f/x') == 2
    store.put('data/raw', 2)
    with pytest.warns(StaleWarning, match='input changed: data/raw') as told: assert store.get('f/x') == 2
    assert told[0].filename == __file__ and store.get('f/x@1') == 2
    assert f() == 3
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert store.get('f/x') == 3
    row = store.explain('f/x')[-1]
    assert row[0] == 'calculated' and row[1].startswith('fresh')

def test_within_a_calculation_get_is_fresh(store):
    store.put('data/raw', 1)
    store.calculated('f/inner')(lambda: store.get('data/raw') + 1)
    outer = store.calculated('f/outer')(lambda: store.get('f/inner') * 10)
    assert outer() == 20
    store.put('data/raw', 2)
    assert outer.explain().reason == 'input changed' and outer() == 30 and outer.explain().fresh

def test_a_result_that_was_put_by_hand(store):
    f = store.calculated('f/x')(lambda: 1)
    store.put('f/x', 5)
    with pytest.warns(StaleWarning, match='by hand'): assert store.get('f/x') == 5
    assert f() == 1


# Inputs

def test_every_way_to_read_is_an_input(store):
    store.put('data/a', 1, metadata={'auc': 0.5}), store.put('data/b', 2), store.put('data/folder', b'x' * 100_000)
    def reads(f):
        calculated = store.calculated('f/x', version=str(time.time_ns()))(f)
        calculated()
        assert calculated.explain().fresh, calculated.explain()
        return calculated
    f = reads(lambda: store['data/a'].get())
    store.put('data/a', 10); assert f.explain().reason == 'input changed'
    f = reads(lambda: store.get_many(['data/a', 'data/b']))
    store.put('data/b', 20); assert f.explain().reason == 'input changed'
    f = reads(lambda: len(store.find_items('data')))
    store.put('data/new', 1); assert 'find_items' in f.explain()
    f = reads(lambda: len(store.versions('data/a')))
    store.put('data/a', 11); assert f.explain().reason == 'input changed'
    f = reads(lambda: store['data/a'].metadata.get('note'))
    store.annotate('data/a', {'note': 1}); assert 'input changed' in f.explain()
    f = reads(lambda: store['data/folder'].open().read(1)[0])
    store.put('data/folder', b'y'); assert f.explain().reason == 'input changed'
    f = reads(lambda: 'data/later' in store)
    store.put('data/later', 1); assert 'was not there, and is now' in f.explain()
    f = reads(lambda: store.get('data/later', default=0))
    store.remove('data/later@*'); assert 'not there any more' in f.explain()
    f = reads(lambda: store.get('data/a@1'))
    store.put('data/a', 12); assert f.explain().fresh
    store.put('data/a', 13, alias='best')
    f = reads(lambda: store.get('data/a@best'))
    store.put('data/a', 14); assert f.explain().fresh
    store.set_alias('data/a', 'best'); assert f.explain().reason == 'input changed'
    f = reads(lambda: store.list_buckets())
    store.find_or_create_bucket('another'); assert 'list_buckets' in f.explain()

def test_inputs_from_threads_and_pools(files, tmp_path):
    other = ObjectStore(tmp_path/'other', durable=False)
    for n in 'abcdef': other.put(f'data/{n}', n)
    pool = ThreadPoolExecutor(2)
    list(pool.map(abs, [1, 2]))                     # threads that were there before
    @files.calculated('f/x')
    def f():
        got = []
        t = threading.Thread(target=lambda: got.append(other.get('data/a')))
        t.start(), t.join()
        got += pool.map(other.get, ['data/b', 'data/c'])
        async def away(): return await asyncio.to_thread(other.get, 'data/d')
        # this thread may have a loop of its own
        got.append(ThreadPoolExecutor(1).submit(asyncio.run, away()).result())
        with ProcessPoolExecutor(1, get_context('forkserver')) as processes:
            got += processes.map(other.get, ['data/e', 'data/f'])
        return got
    assert f() == list('abcdef')
    assert sorted(i['asked'] for i in f.version_of().lineage['inputs']) == [f'data/{n}' for n in 'abcdef']
    for n in 'abcdef':
        assert f.explain().fresh
        other.put(f'data/{n}', n * 2)
        assert f'data/{n}' in f.explain() and f.explain().reason == 'input changed'
        other.put(f'data/{n}', n)
    seen = []
    threading.Thread(target=lambda: seen.append(now_reading())).start()
    assert pool.submit(now_reading).result() is None and seen == [None]

def test_threads_are_as_they_were_when_nothing_records(store):
    """`Thread.start` and the pools' `submit` are replaced while a calculation records, also where two overlap, and no
    longer"""
    def now(): return [threading.Thread.start, ThreadPoolExecutor.submit, ProcessPoolExecutor.submit]
    def replaced(): return [a is not b for a, b in zip(now(), real)]
    real, inside, gates = now(), [], [threading.Event(), threading.Event()]
    @store.calculated('f/x')
    def f(i):
        inside.append(replaced())
        assert gates[i].wait(60)
    with ThreadPoolExecutor(2) as pool:
        one, two = pool.submit(f, 0), pool.submit(f, 1)
        while len(inside) < 2: time.sleep(0.01)
        gates[0].set(), one.result()
        assert all(replaced()) and all(map(all, inside))
        gates[1].set(), two.result()
    assert now() == real

def test_who_else_replaces_thread_start_keeps_it(store, monkeypatch):
    "As a debugger that is attached while a calculation records: what it put there stays, and a thread is followed once"
    store.put('data/raw', [1, 2, 3])
    started, of = [], threading.Thread.start
    monkeypatch.setattr(threading.Thread, 'start', of)       # to have it back
    def attached() -> None:
        ours = threading.Thread.start
        def traced(self): started.append(self.name); ours(self)
        threading.Thread.start = traced
    @store.calculated('f/x')
    def f(i, attach):
        if attach: attached()
        t = threading.Thread(target=store.get, args=('data/raw',), name=f'reader {i}')
        t.start(), t.join()
        return i
    first = f.version_of(1, True)
    traced = threading.Thread.start
    second = f.version_of(2, False)
    assert (threading.Thread.start is traced is not of
            and [n for n in started if n.startswith('reader')] == ['reader 1', 'reader 2'])
    assert [[i['asked'] for i in v.lineage['inputs']] for v in (first, second)] == [['data/raw']] * 2

def test_inputs_in_another_store(tmp_path):
    a, b = ObjectStore(tmp_path/'a', durable=False), ObjectStore(tmp_path/'b', durable=False)
    b.put('data/raw', 1)
    f = a.calculated('f/x')(lambda: b.get('data/raw'))
    assert f() == 1 and f.version_of().lineage['inputs'][0]['place'] == b.origin.url
    b.put('data/raw', 2)
    assert f.explain().reason == 'input changed' and f() == 2
    assert [n.name for n in f.version_of().lineage().up] == ['data/raw@2']

def test_many_inputs(store):
    store.put_many({f'data/{i:05}': i for i in range(3000)})
    f = store.calculated('f/x')(lambda: sum(store.get_many([f'data/{i:05}' for i in range(3000)])))
    assert f() == sum(range(3000)) and f.explain().fresh
    store.put('data/02999', 0)
    assert f.explain().reason == 'input changed'

def test_an_input_that_changes_while_it_is_read(store):
    store.put('data/raw', 1)
    @store.calculated('f/x')
    def f():
        a = store.get('data/raw')
        if a == 1: store.put('data/raw', 2)
        return a, store.get('data/raw')
    assert f() == (1, 2) and f.explain().reason == 'input changed' and f() == (2, 2) and f.explain().fresh


# Kinds of functions

class Model:
    "Something with a value"
    def __init__(self, slope): self.slope = slope

def test_methods(store):
    class Local(Model):
        @store.calculated('m/predict')
        def predict(self, x): return self.slope * x
        @staticmethod
        @store.calculated('m/static')
        def static(x): return x
        @classmethod
        @store.calculated('m/cls', ignore='cls')
        def cls(cls, x): return [cls.__name__, x]
    # a local class cannot be compared
    with pytest.raises(Unsupported, match="'self' cannot be told from others"): Local(2).predict(3)
    assert Local.static(3) == 3 and Local.cls(3) == ['Local', 3]
    Model.predict = store.calculated('m/predict')(lambda self, x: self.slope * x)
    try:
        assert Model(2).predict(3) == 6 and Model(3).predict(3) == 9 and Model(2).predict(3) == 6
        assert (Model(2).predict.explain(3).fresh and len(Model(3).predict.versions(3)) == 1
                and Model(2).predict.map([3, 4]) == [6, 8])
    finally: del Model.predict
    with pytest.raises(Unsupported, match='put @staticmethod above'): store.calculated('m/x')(staticmethod(lambda: 1))

def test_closures(store):
    def make(over): return store.calculated('f/x')(lambda: over['n'])
    a = {'n': 1}
    f = make(a)
    assert f() == 1 and f.explain().fresh
    a['n'] = 2
    assert f.explain().reason == 'code changed' and '`over`' in f.explain() and f() == 2
    assert make({'n': 2}).explain().fresh and make({'n': 3})() == 3
    lock, ran = threading.Lock(), []
    @store.calculated('f/locked')
    def locked():
        with lock: ran.append(1)
        return 1
    assert locked() == locked() == 1 and ran == [1]
    n = 0
    @store.calculated('f/counted')
    def counted():
        nonlocal n
        n += 1
        return 1
    assert counted() == counted() == 1 and n == 1

def test_lambdas(store):
    assert store.calculated('f/x')(lambda x: x + 1)(1) == 2
    assert (store.calculated('f/x')(lambda x: x + 1).explain(1).fresh
            and store.calculated('f/x')(lambda x: x + 2).explain(1).reason == 'code changed')

def test_what_is_refused(store):
    def gen(): yield 1
    async def later(): return 1
    async def agen(): yield 1
    for bad, why in ((gen, 'return list'), (later, 'asyncio.run'), (agen, 'return list'), (len, 'wrap it'),
                     (functools.partial(print), 'wrap it'), (5, 'only a function'),
                     (store.calculated('f/y')(lambda: 1), 'already')):
        with pytest.raises(Unsupported, match=why): store.calculated('f/x')(bad)
    for bad in (lambda: gen(), lambda: later()):
        with pytest.raises(Unsupported), warnings.catch_warnings():
            warnings.simplefilter('ignore')
            store.calculated('f/x')(bad)()
    with pytest.raises(InvalidRef): store.calculated('f')
    with pytest.raises(InvalidRef): store.calculated('f/x@3')

def test_a_result_that_cannot_be_stored(store):
    f = store.calculated('f/x')(lambda: object())
    with pytest.raises(Unsupported, match='no codec') as e: f()
    assert type(e.value.result) is object and 'f/x' not in store

def test_decorated_below(store):
    def twice(fn):
        @functools.wraps(fn)
        def call(*a): return fn(*a) * 2
        return call
    f = store.calculated('f/x')(twice(lambda x: x + 1))
    assert f(1) == 4 and f.ref(1) == 'f/x/x=1' and f.explain(1).fresh

def test_an_old_default_that_is_mutable(store):
    @store.calculated('f/x')
    def f(regions=['us']): return len(regions)
    assert f() == 1 and f.ref() == 'f/x' == f.ref(['us']) != f.ref(['eu'])

def test_results_in_folders(files):
    @files.calculated('f/parts')
    def parts(n):
        folder = scratch()
        for i in range(n): (folder/f'{i}.bin').write_bytes(bytes([i]) * 50_000)
        parts.at = folder
        return folder
    assert list(parts(2)) == ['0.bin', '1.bin'] and not parts.at.parent.exists()
    assert parts(2).read('1.bin') == b'\1' * 50_000 and len(parts.versions(2)) == 1
    @files.calculated('f/one')
    def one():
        (p := scratch()/'one.txt').write_text('hello')
        return p
    assert one().read_text() == one().read_text() == 'hello'


# A hit whose payload is gone is a miss

def test_a_hit_whose_payload_is_gone(files, tmp_path):
    ran = []
    @files.calculated('f/x')
    def f():
        ran.append(1)
        return b'x' * 100_000
    assert f() == f() == b'x' * 100_000 and ran == [1]
    for p in (tmp_path/'store').rglob('payloads/*/*'): p.unlink()
    assert f.explain().reason == 'payload gone'
    again = ObjectStore(tmp_path/'store', durable=False)
    assert f() == b'x' * 100_000 and ran == [1, 1] and again.get('f/x') == b'x' * 100_000 and len(f.versions()) == 2
    for p in (tmp_path/'store').rglob('payloads/*/*'): p.chmod(0o600), p.write_bytes(b'y' * 100_000)
    assert f() == b'x' * 100_000 and ran == [1, 1, 1]


# Errors

def test_errors_are_not_stored_and_can_be_asked_for(store):
    fails = [True]
    @store.calculated('f/x')
    def f():
        if fails[0]: raise ValueError('no rows')
        return 1
    with pytest.raises(ValueError, match='no rows'): f()
    assert ('f/x' not in store and isinstance(f.last_error(), CalculationFailed)
            and isinstance(f.last_error(), ValueError) and 'no rows' in str(f.last_error()))
    fails[0] = False
    assert f() == 1 and f.last_error() is None
    store.put('data/a', 1)
    @store.calculated('f/outer')
    def outer():
        try: return inner()
        except KeyError: return store.get('data/a')
    @store.calculated('f/inner')
    def inner(): return {}[store.get('data/a')]
    assert outer() == 1 and outer.explain().fresh in (True, False)
    for kind in ('OSError', 'KeyError', 'UnicodeDecodeError', 'RuntimeError', 'NoSuchError', None, 5):
        assert isinstance(failure({'type': kind, 'text': 'x'}, 'ann', 'f/x'), CalculationFailed)

def test_errors_reach_every_thread(store):
    ran, barrier, asking = [], threading.Barrier(8), threading.Semaphore(0)
    @store.calculated('f/x')
    def f():
        ran.append(1)
        if len(ran) == 1: [asking.acquire() for _ in range(8)]
        time.sleep(0.5)              # from there to the wait for this calculation
        raise ValueError('no rows')
    def ask(_):
        barrier.wait()
        asking.release()
        try: f()
        except ValueError as e: return str(e)
    with ThreadPoolExecutor(8) as pool: assert [*pool.map(ask, range(8))] == ['no rows'] * 8
    assert len(ran) == 1

def test_readonly_refuses_before_the_work(tmp_path):
    ObjectStore(tmp_path/'s', durable=False).put('data/a', 1)
    ran = []
    with pytest.raises(Protected): ObjectStore(tmp_path/'s', readonly=True).calculated('f/x')(lambda: ran.append(1))()
    assert ran == []


# Recursion and cycles

def test_recursion_and_cycles(store):
    f = store.calculated('f/x')(lambda: f())
    with pytest.raises(Cycle, match='f/x -> f/x'): f()
    with pytest.raises(RecursionError): f()
    g = store.calculated('f/g')(lambda: store.get('f/h'))
    store.calculated('f/h')(lambda: store.get('f/g'))
    with pytest.raises(Cycle, match='f/g -> f/h -> f/g'): g()
    down = store.calculated('f/down')(lambda n: 0 if n == 0 else down(n - 1) + 1)
    assert down(60) == 60 and down.explain(60).fresh
    store.calculated('f/up')(lambda n: store.get(f'f/up/n={n + 1}'))

def test_a_cycle_through_a_thread(store):
    @store.calculated('f/x')
    def f():
        with ThreadPoolExecutor(1) as pool: return pool.submit(f).result()
    with pytest.raises(Cycle): f()

def test_a_cycle_through_two_threads(store):
    meet = threading.Barrier(2)
    def wait():
        try: meet.wait(2)
        except threading.BrokenBarrierError: pass
    a = store.calculated('f/a')(lambda: (wait(), b()))
    b = store.calculated('f/b')(lambda: (wait(), a()))
    def ask(f):
        try: return f()
        except RecursionError as e: return type(e).__name__
    with ThreadPoolExecutor(2) as pool: assert [*pool.map(ask, [a, b])] == ['Cycle', 'Cycle']

def test_a_cycle_that_only_records_tell_of(store):
    one, two = "def f(): return {}", "@store.calculated('f/{}')\n"
    b = redefined(store, two.format('b') + one.format('1'))
    a = redefined(store, two.format('a') + one.format('b()'), b=b)
    assert a() == 1
    b = redefined(store, two.format('b') + one.format('2'))
    a2 = redefined(store, two.format('a') + one.format('1'))
    a2()
    b2 = redefined(store, two.format('b') + one.format('a()'), a=a2)
    assert b2() == 1 and a2.explain().fresh and b2.explain().fresh


# Once

def test_threads_calculate_once(store):
    ran = []
    @store.calculated('f/x')
    def f(n):
        ran.append(n)
        time.sleep(0.3)
        return n
    with ThreadPoolExecutor(16) as pool: assert [*pool.map(f, [1, 2] * 8)] == [1, 2] * 8
    assert sorted(ran) == [1, 2]

def test_requests(figure):
    """At a service: a hit asks for the result and for each input; a calculation adds the lease, a second look, the
    put, and the end of the lease"""
    class Counted(Wrapped):
        asked = []
        def call(self, op, key, run):
            if '/log/' not in key: self.asked.append(op)
            return run()
    class Service(ServiceLike): can = Capabilities('remote', wait=0.002, many=4, page=1000)
    store = store_over(Counted(Service()))
    store.put('data/raw', 5)
    f = store.calculated('f/x')(lambda n: store.get('data/raw') + n)
    def count(ask):
        Counted.asked.clear()
        ask()
        return len(Counted.asked)
    f(0)
    found = dict(calculation=count(lambda: f(1)), hit=count(lambda: f(1)), known_missing=count(lambda: f.explain(2)))
    figure('requests of a calculated object with one input', **found)
    assert found == dict(calculation=7, hit=2, known_missing=1)

def test_a_dead_holder_s_lease_expires(files, monkeypatch):
    monkeypatch.setattr(leases, 'HOLDS', 0.5)
    files.find_or_create_bucket('f')
    f = files.calculated('f/x')(lambda: 1)
    lease = Lease(files.origin.bucket('f'), 'x', 'gone@lab')
    monkeypatch.setattr(leases, 'machine', lambda: None)
    lease.take(Holder())
    lease._end.set()
    begin = time.monotonic()
    assert f() == 1 and 0.4 < time.monotonic() - begin

def test_a_lease_that_cannot_be_had(store):
    class NoLeases(MemoryBackend):
        def create(self, key, data):
            if '/leases/' in key: raise PermissionError('no leases')
            return super().create(key, data)
    store.origin.place = NoLeases()
    assert store.calculated('f/x')(lambda: 1)() == 1

def test_waiting_can_be_interrupted(files):
    files.find_or_create_bucket('f')
    f = files.calculated('f/x')(lambda: 1)
    lease = Lease(files.origin.bucket('f'), 'x', 'ben@lab')
    assert lease.take(Holder())
    def stop(*a): raise KeyboardInterrupt
    import signal
    before = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        with pytest.raises(KeyboardInterrupt): f()
    finally: signal.setitimer(signal.ITIMER_REAL, 0), signal.signal(signal.SIGALRM, before)
    lease.end()
    assert f() == 1

def test_a_failure_elsewhere_reaches_who_waits(files):
    files.find_or_create_bucket('f')
    f = files.calculated('f/x')(lambda: 1)
    lease = Lease(files.origin.bucket('f'), 'x', 'ben@lab')
    lease.take(Holder())
    threading.Timer(0.3, lambda: lease.end('failed', error={'type': 'KeyError', 'text': 'day'})).start()
    with pytest.raises(KeyError) as e: f()
    assert isinstance(e.value, CalculationFailed) and 'ben@lab' in str(e.value)
    assert f() == 1


# Offline

def test_offline_results_are_pending(memory):
    store = memory.open()
    store.put('data/raw', 2), store.get('data/raw')
    ran = []
    @store.calculated('f/x')
    def f(n=1):
        ran.append(n)
        return store.get('data/raw') * n
    assert f() == 2
    memory.away()
    with quiet():
        assert f() == 2 and ran == [1] and f.explain().reason == 'fresh' and 'as far as is known' in f.explain()
        assert f(3) == 6 and f(3) == 6 and ran == [1, 3] and store[f.ref(3)].pending
        g = store.calculated('f/x')(lambda n=1: n)
        assert g.explain().reason == 'stale but offline' and 'code changed' in g.explain()
    memory.back()
    store.sync()
    assert f(3) == 6 and ran == [1, 3] and store[f.ref(3)].version == 1


# Lineage

def test_lineage_up_and_down(store):
    raw = store.put('data/raw', [1])
    inner = store.calculated('f/inner')(lambda day: store.get('data/raw')[0] + day)
    outer = store.calculated('f/outer')(lambda: inner(1) + inner(2))
    v = outer.version_of()
    assert (v.source == 'calculated' and sorted(n.name for n in v.lineage().up)
            == ['data/raw@1', 'f/inner/day=1@1', 'f/inner/day=2@1'])
    assert sorted(n.name for n in raw.lineage().down) == ['f/inner/day=1@1', 'f/inner/day=2@1', 'f/outer@1']
    lineage = v.lineage()
    assert {'python', 'libraries', 'where', 'function', 'inputs'} <= set(lineage) and v.author
    text = repr(lineage)
    assert 'f/inner/day=1@1' in text and 'data/raw@1' in text and 'test_calculated.py' in text
    assert lineage.picture.mermaid.count('-->') == 4 and lineage.picture.dot.count('->') == 4
    assert set(lineage._repr_mimebundle_()) >= {'text/plain', 'text/html'}
    store.remove('data/raw@1'), store.put('data/raw', [2])
    assert 'data/raw@1' in repr(v.lineage())

def test_lineage_is_other_people_s_text(store):
    _v = store.calculated('f/x')(lambda: store.get('data/raw', default=0)).version_of()
    for bad in ([5], 'text', [{'asked': 5}], [{'asked': '<script>', 'hash': None, 'found': '"];x'}],
                [{'asked': 'a', 'hash': 'x', 'args': {}}], [None]):
        with store._drafted(parse_ref('f/y'), 1, None, None, None) as d:
            d.description['lineage'] |= {'inputs': bad, 'function': {'name': '<b>', 'code': 5}, 'params': 7}
            w = store._put_or_wait(parse_ref('f/y'), d, None, False)
        html = w.lineage()._repr_mimebundle_()['text/html']
        assert '<script>' not in html and '<b>' not in html and w.lineage().picture.mermaid
        assert store.calculated('f/y')(lambda: 2)() == 2


def test_a_record_cannot_ask_for_anything(store):
    from objectstore.refs import parse_ref
    f = store.calculated('f/y')(lambda: 2)
    function = f.version_of().lineage['function']
    for bad in ({'verb': 'remove', 'args': '{"ref": "f/y@1"}'}, {'asked': 'f/y', 'verb': 'remove', 'args': '{}'},
                {'asked': '../x'}, {'verb': 'find_items', 'args': '[]'}, {'verb': 'find_items', 'args': '{'},
                {'verb': 'find_items', 'args': '{"x": 1}'},
                {'asked': 'a/b', 'place': 's3://evil', 'endpoint': 'http://evil'},
                {'asked': 'a/b', 'place': '/nonexistent'}):
        with store._drafted(parse_ref('f/y'), 1, None, None, None) as d:
            d.description['lineage'] |= {'inputs': [{'hash': 'x', **bad}], 'function': function, 'params': {}}
            store._put_or_wait(parse_ref('f/y'), d, None, False)
        assert f.explain().reason == 'input changed', bad
    assert store['f/y@1'].version == 1 and f() == 2

def test_the_cell_of_a_notebook(store):
    from traitlets.config import Config
    shell = pytest.importorskip('IPython.core.interactiveshell').InteractiveShell.instance(
        config=Config(HistoryManager=dict(enabled=False)))
    try:
        shell.user_ns['store'] = store
        shell.run_cell("1")
        assert shell.run_cell("@store.calculated('f/x')\ndef f(): return 1\nf()", store_history=True).result == 1
        lineage = store['f/x'].lineage
        assert lineage['function']['name'] == 'f' and isinstance(lineage['function']['cell'], int)
        assert shell.run_cell("# again\n@store.calculated('f/x')\ndef f():\n    return 1\nf.explain()",
                              store_history=True).result.fresh
        assert shell.run_cell("@store.calculated('f/x')\ndef f(): return 2\nf.explain()",
                              store_history=True).result.reason == 'code changed'
    finally: type(shell).clear_instance()


# Random graphs, random edits, against an oracle

@st.composite
def histories(draw):
    "A graph of functions over inputs, and edits: of an input, of a function's code"
    n, inputs = draw(st.integers(1, 6)), draw(st.integers(1, 3))
    nodes = [(draw(st.lists(st.integers(0, inputs - 1), max_size=2, unique=True)),
              draw(st.lists(st.integers(0, i - 1), max_size=3, unique=True)) if i else [],
              draw(st.sampled_from([1, 1, 10]))) for i in range(n)]
    steps = draw(st.lists(st.one_of(st.tuples(st.just('input'), st.integers(0, inputs - 1), st.integers(0, 3)),
                                    st.tuples(st.just('code'), st.integers(0, n - 1), st.integers(0, 2)),
                                    st.tuples(st.just('ask'), st.integers(0, n - 1), st.just(0))), min_size=1,
                          max_size=14))
    return inputs, nodes, steps

class Oracle:
    "What must be calculated, by the definition: code, and the values of what is read, in order"
    def __init__(self, inputs, nodes):
        self.values, self.nodes, self.code, self.kept, self.ran = [0] * inputs, nodes, [0] * len(nodes), {}, []
    def trace(self, i):
        reads, calls, _ = self.nodes[i]
        return [('input', k, self.values[k]) for k in reads] + [('node', k, None) for k in calls]
    def ask(self, i):
        if i in self.kept:
            code, read, value = self.kept[i]
            if (code == self.code[i]
                and all((self.values[k] if what == 'input' else self.ask(k)) == was for what, k, was in read)):
                return value
        reads, calls, modulo = self.nodes[i]
        self.ran.append(i)
        read = [('input', k, self.values[k]) for k in reads] + [('node', k, self.ask(k)) for k in calls]
        value = (sum(was for *_, was in read) + self.code[i]) // modulo
        self.kept[i] = self.code[i], read, value
        return value

@settings(max_examples=soak(40, 1000), deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(histories())
def test_the_oracle_agrees(history):
    inputs, nodes, steps = history
    store, oracle, ran, functions = ObjectStore('memory://'), Oracle(inputs, nodes), [], {}
    for k in range(inputs): store.put(f'data/{k}', 0)
    def define(i):
        reads, calls, modulo = nodes[i]
        @store.calculated(f'f/{i}', version=oracle.code[i])
        def f():
            ran.append(i)
            return (sum([store.get(f'data/{k}') for k in reads] + [functions[k]() for k in calls])
                    + oracle.code[i]) // modulo
        functions[i] = f
    for i in range(len(nodes)): define(i)
    for what, i, value in [*steps, ('ask', len(nodes) - 1, 0)]:
        if what == 'input':
            if oracle.values[i] != value: store.put(f'data/{i}', value)
            oracle.values[i] = value
        elif what == 'code':
            oracle.code[i] = value
            define(i)
        else:
            ran.clear(), oracle.ran.clear()
            expected = oracle.ask(i)
            assert functions[i]() == expected
            assert sorted(ran) == sorted(oracle.ran), (nodes, steps)
