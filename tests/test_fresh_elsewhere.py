"""Fresh means fresh, elsewhere: leases by one's own clock, two functions under one ref, functions that are sent to
other
processes, verbs that give outdated results, and what other processes read"""
from __future__ import annotations
import subprocess, sys, textwrap, threading, warnings
import pytest
from objectstore import ObjectStore
from objectstore.computed import leases
from objectstore.computed.leases import Holder, Lease, await_end, holder
from objectstore.format.commit import Bucket
from objectstore.storage.backend import MemoryBackend

pytestmark = pytest.mark.usefixtures('own_cache')

@pytest.fixture
def own_cache(tmp_path, monkeypatch): monkeypatch.setenv('OBJECTSTORE_CACHE_DIR', str(tmp_path/'cache'))

@pytest.fixture
def store(tmp_path): return ObjectStore(tmp_path/'store', progress=False, durable=False)


# ---- 13: leases

def shifted(h: Holder, by: float) -> Holder: return Holder(h.n, h.at + by, h.says)

@pytest.mark.parametrize('ahead', [3600.0, -3600.0])
def test_a_lease_dated_ahead_expires_like_any_other(monkeypatch, ahead):
    "The clock that dates a lease is an hour off: whoever waits measures by its own"
    monkeypatch.setattr(leases, 'machine', lambda: None)
    monkeypatch.setattr(leases, 'HOLDS', 0.3)
    b = Bucket('features', MemoryBackend(), 'features/')
    gone = Lease(b, 'daily', 'gone@lab')
    assert gone.take(holder(b, 'daily'))
    gone._end.set()
    real = leases.holder
    monkeypatch.setattr(leases, 'holder', lambda *a: shifted(real(*a), ahead))
    found = []
    t = threading.Thread(target=lambda: found.append(await_end(b, 'daily', leases.holder(b, 'daily'))), daemon=True)
    t.start()
    t.join(20)
    assert found and not found[0].over

def test_a_lease_dated_behind_is_waited_for_as_long_as_it_is_renewed(monkeypatch):
    "An old date alone says nothing: each sign of life counts from when it is seen"
    monkeypatch.setattr(leases, 'machine', lambda: None)
    monkeypatch.setattr(leases, 'BEAT', 0.05)
    b = Bucket('features', MemoryBackend(), 'features/')
    real = leases.holder
    monkeypatch.setattr(leases, 'holder', lambda *a: shifted(real(*a), -3600))
    lease = Lease(b, 'daily', 'ann@lab')
    assert lease.take(holder(b, 'daily'))
    threading.Timer(0.5, lease.end).start()
    assert await_end(b, 'daily', leases.holder(b, 'daily')).over


# ---- 15: two functions under one ref

def told(make) -> list[str]:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter('always')
        make()
    return [str(w.message) for w in said]

def test_two_functions_under_one_ref_are_told_at_the_second(store):
    @store.calculated('r/x')
    def first(n): return n
    def again():
        @store.calculated('r/x')
        def second(n): return 2 * n
    said, = told(again)
    assert 'r/x' in said and 'first' in said and 'second' in said and "calculated('r/" in said

def test_one_factory_twice_with_other_values_is_told(store):
    def make(k, default=1):
        @store.calculated('r/x')
        def scaled(n, by=default): return k * n * by
        return scaled
    assert told(lambda: make(1)) == told(lambda: make(1)) == []
    assert len(told(lambda: make(2))) == 1
    assert len(told(lambda: make(2, 5))) == 1

def test_two_lambdas_of_one_file_are_told(store):
    store.calculated('r/x')(lambda n: n)
    assert len(told(lambda: store.calculated('r/x')(lambda n: n + 1))) == 1

def test_an_edited_cell_a_reload_and_another_name_of_a_module_are_not_told(store, tmp_path):
    "The same function again: there is nothing to tell"
    cell = "@store.calculated('r/x')\ndef f(n): return {} * n\n"
    def run(text, file, name):
        exec(compile(text, file, 'exec'), {'store': store, '__name__': name})
    assert told(lambda: [run(cell.format(k), f'<cell {k}>', '__main__') for k in (1, 2)]) == []
    other = ObjectStore('memory://')
    store = other
    assert told(lambda: [run(cell.format(1), 'lib.py', name) for name in ('lib', 'pkg.lib', '__main__',
                                                                         '__mp_main__')]) == []


# ---- 14: functions that are sent to other processes

SCRIPT = """
import os, sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from objectstore import ObjectStore
store = ObjectStore(sys.argv[1], progress=False, durable=False)
FACTOR = 3

@store.calculated('r/fact')
def fact(n): return n * fact(n - 1) if n else 1

@store.calculated('r/f')
def f(n): return FACTOR * n + fact(3)

if __name__ == '__main__':
    with ProcessPoolExecutor(1, mp_context=get_context(sys.argv[2])) as pool:
        try: print(pool.submit(f, 2).result())
        except Exception as e: print(type(e).__name__, e)
"""

def script(tmp_path, text: str, *args: str) -> str:
    (tmp_path/'script.py').write_text(textwrap.dedent(text))
    done = subprocess.run([sys.executable, str(tmp_path/'script.py'), str(tmp_path/'store'), *args],
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()

@pytest.mark.parametrize('start', ['fork', 'spawn', 'forkserver'])
def test_a_function_of_a_script_is_sent_to_another_process(tmp_path, start):
    pytest.importorskip('cloudpickle')
    assert script(tmp_path, SCRIPT, start) == '12'

def test_where_it_cannot_be_sent_the_error_says_what_to_do(tmp_path):
    text = "import sys; sys.modules['cloudpickle'] = None\n" + SCRIPT
    said = script(tmp_path, text, 'spawn')
    assert said.startswith('Unsupported') and 'module' in said and 'cloudpickle' in said and 'f.map' in said

def test_large_numbers_have_a_name(store):
    "Python writes no number of more than 4,300 digits"
    @store.calculated('r/x')
    def f(n): return n % 7
    assert f(10**5000) == 10**5000 % 7 and f(10**5000 + 1) == (10**5000 + 1) % 7
    assert f.ref(10**5000) != f.ref(10**5000 + 1)
