"""Fresh means fresh, elsewhere: leases by one's own clock, two functions under one ref, functions that are sent to
other
processes, verbs that give outdated results, and what other processes read"""
from __future__ import annotations
import subprocess, sys, textwrap, threading, warnings
import pytest
from counted import SMALL, world
from objectstore import ObjectStore, StaleWarning
from objectstore.computed import leases
from objectstore.computed.leases import Holder, Lease, await_end, holder
from objectstore.format.commit import Bucket
from objectstore.format import origin, commit
from objectstore.cache import stacked
from objectstore.storage.backend import MemoryBackend
from objectstore.store import find
from objectstore.store.reads import unwarned
from objectstore.search.changelog import flush_hints

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
    # what another test has left behind is cleared up at any time
    return [str(w.message) for w in said if not issubclass(w.category, ResourceWarning)]

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
from objectstore import ObjectStore, StaleWarning
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


# ---- 16: verbs that give outdated results

@pytest.fixture
def outdated(store):
    "A store with three results of one input, which has changed since"
    store.put('data/raw', 1)
    @store.calculated('r/f')
    def f(n): return store.get('data/raw') + n
    for n in range(3): f(n)
    store.put('data/raw', 2)
    store.put('r/other', 5)
    return store

def stale(do) -> list[str]:
    "What is said of outdated results, and that it is said of the caller's line"
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter('always')
        do()
    said = [w for w in said if not issubclass(w.category, ResourceWarning)]
    assert all(w.category is StaleWarning and w.filename == __file__ for w in said)
    return [str(w.message) for w in said]

def test_a_get_of_a_version_that_was_asked_for_as_the_latest_warns(outdated):
    said, = stale(lambda: outdated['r/f/n=0'].get())
    assert said.startswith('r/f/n=0@1 is outdated: input changed: data/raw') and 'makes it fresh' in said
    assert stale(lambda: outdated['r/f/n=0@latest'].get()) == [said] == stale(lambda: outdated.get('r/f/n=0'))

def test_what_is_known_of_a_version_and_a_version_by_its_number_are_given_without_a_warning(outdated):
    v = outdated['r/f/n=0']
    assert stale(lambda: (v.metadata, v.ref, v.size, 'r/f/n=0' in outdated)) == []
    assert stale(lambda: (outdated['r/f/n=0@1'].get(), outdated.get('r/f/n=0@1'), outdated['r/other'].get())) == []
    assert stale(lambda: outdated.get_many(['r/f/n=0@1', 'r/other', outdated['r/f/n=1']])) == []

def test_get_many_warns_once(outdated):
    said, = stale(lambda: outdated.get_many([f'r/f/n={n}' for n in (1, 1, 0, 2)] + ['r/other', 'r/f/n=2@1']))
    assert said.startswith('3 of 3 results are outdated, the first: r/f/n=1@1 is outdated: input changed')
    said, = stale(lambda: outdated.get_many(['r/f/n=1', 'r/f/n=9'], default=None))
    assert said.startswith('r/f/n=1@1 is outdated')

def test_versions_warn_of_the_newest(outdated):
    said, = stale(lambda: outdated.versions('r/f/n=0'))
    assert said.startswith('r/f/n=0@1 is outdated')
    f = outdated._functions['r/f']
    assert stale(lambda: (f.versions(0), f.explain(0), outdated.get_stats('r/f/n=0'), outdated['r/f/n=0'].lineage(),
                          outdated.explain('r/f/n=0'), outdated.versions('r/other'))) == []
    f(0)
    assert stale(lambda: outdated.versions('r/f/n=0')) == []       # the newest of two is fresh

def test_find_items_warns_once_of_the_latest(outdated):
    said, = stale(lambda: outdated.find_items('r'))
    assert said.startswith('3 of 3 results are outdated, the first: r/f/n=2@1 is outdated: input changed: data/raw')
    said, = stale(lambda: outdated.find_items(sort='item', limit=1, where="item = 'f/n=0'"))
    assert said.startswith('r/f/n=0@1 is outdated')
    assert stale(lambda: [outdated.find_items('r', at=at) for at in ('*', 1, '2099-01-01')]) == []
    assert stale(lambda: (outdated.find_items('data'), outdated.find_items('r/other'),
                          outdated.find_items('r', limit=0), outdated.find_items('r', kind='figure'),
                          outdated.find_items('r', 'other'))) == []

def test_what_find_items_looked_at_is_said_where_there_is_more(outdated, monkeypatch):
    monkeypatch.setattr(find, 'FIRST', 2)
    said, = stale(lambda: outdated.find_items('r', sort='item'))
    assert said.startswith('2 of 2 results are outdated, the first: r/f/n=0@1') and said.endswith(
        'only the first 2 versions that were found were looked at')
    said, = stale(lambda: outdated.find_items('r/f', sort='item', limit=2))
    assert said.startswith('2 of 2 ') and 'only the first' not in said

def test_find_items_from_the_records_warns_too(outdated, monkeypatch):
    "Where there is no index"
    def away(self, q): raise find.IndexAway('planted')
    monkeypatch.setattr(find.FindVerbs, '_from_index', away)
    said, = stale(lambda: outdated.find_items('r'))
    assert said.startswith('3 of 3 results are outdated, the first: r/f/n=2@1')

def test_a_result_that_find_items_gives_and_whose_record_is_lost_is_not_judged(outdated, tmp_path):
    record, = (p for p in (tmp_path/'store').rglob('*') if p.is_file() and 'records/f/n=3d1/' in str(p))
    fresh = ObjectStore(tmp_path/'store', progress=False)      # has read no record yet
    @fresh.calculated('r/f')
    def f(n): return fresh.get('data/raw') + n
    fresh.find_items('r', at='*')
    fresh.origin.bucket('r').records.clear()
    record.unlink()
    said, = stale(lambda: fresh.find_items('r'))
    assert said.startswith('2 of 2 results are outdated')

def test_find_items_answers_while_the_origin_is_away(memory):
    "What cannot be judged is not, and what is near is; the answer is the same"
    def results(store):
        @store.calculated('r/f')
        def f(n, k=1): return store.get('data/raw') + n
        return f
    mine, far = memory.open(), memory.alone()
    mine.put('data/raw', 1), results(mine)(0), results(far)(1)
    flush_hints()
    assert len(mine.find_items('r')) == 2
    mine.origin.bucket('r').records.clear()
    mine._functions.clear()
    @mine.calculated('r/f')
    def edited(n, k=1): return n
    memory.away()
    found = []
    said = stale(lambda: found.extend(mine.find_items('r').refs))
    assert sorted(found) == ['r/f/n=0@1', 'r/f/n=1@1'] and sum('code changed' in s for s in said) == 1, said

def test_within_a_calculation_nothing_warns(outdated):
    @outdated.calculated('r/g')
    def g(): return (outdated['r/f/n=0'].get(), outdated.get_many(['r/f/n=0', 'r/f/n=1']),
                     len(outdated.versions('r/f/n=2')), outdated.find_items('r/f') and None)
    assert stale(g) == []
    assert g() == (1, [1, 2], 1, None)
    assert stale(g.explain) == stale(g) == []

def test_a_result_that_asked_for_its_own_versions_is_judged_once(outdated):
    "The question is asked again to judge it, and judges nothing itself"
    @outdated.calculated('r/h')
    def h(): return len(outdated.versions('r/f/n=0'))
    h()
    assert stale(lambda: (outdated.get('r/h'), outdated['r/h'].get())) == []
    outdated._functions['r/f'](0)
    assert len(stale(lambda: outdated['r/h'].get())) == 1


# Requests, counted at a proxy

@pytest.fixture(scope='module')
def counted(request):
    with world(request.getfixturevalue('seaweed')) as w:
        w.known(SMALL)      # the first contact of this process
        yield w

@pytest.fixture
def far(counted, monkeypatch):
    "Three outdated results of one input that somebody else has changed, in a bucket of their own"
    # who is there is asked once a minute: on a busy machine, in the middle
    for module in (origin, commit, stacked): monkeypatch.setattr(module, 'ASK_AGAIN', 3600.0)
    s, raw = counted.ready(), counted.item(1)
    bucket = f'r{raw[-4:]}'
    @s.calculated(f'{bucket}/f')
    def f(n): return s.get(raw) + n
    for n in range(3): f(n)
    counted.store(direct=True).put(raw, 2)
    plain = counted.store()       # with no function
    return s, plain, [f'{bucket}/f/n={n}' for n in range(3)]

def made(counted, do) -> int:
    "How many requests, the second time: what does not change is known by then"
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', StaleWarning)
        do()
        with counted.proxy.counting() as c: do()
    return len(c)

def test_a_get_of_a_version_asks_for_the_inputs_as_a_get_does(counted, far):
    s, plain, (ref, *_) = far
    assert made(counted, lambda: plain[ref].get()) == 1
    assert made(counted, lambda: s[ref]) == 1
    assert made(counted, lambda: s[ref].metadata) == made(counted, lambda: plain[ref].metadata)
    assert made(counted, lambda: s[ref].get()) == made(counted, lambda: s.get(ref)) == 2

def test_get_many_asks_for_each_input_once(counted, far):
    s, plain, refs = far
    before = made(counted, lambda: plain.get_many(refs))
    assert made(counted, lambda: s.get_many(refs)) == before + 1
    numbered = [f'{r}@1' for r in refs]
    assert made(counted, lambda: s.get_many(numbered)) == made(counted, lambda: plain.get_many(numbered))

def test_versions_ask_for_the_inputs_of_the_newest(counted, far):
    s, plain, (ref, *_) = far
    assert made(counted, lambda: s.versions(ref)) == made(counted, lambda: plain.versions(ref)) + 1
    assert made(counted, lambda: s.get_stats(ref)) == made(counted, lambda: plain.get_stats(ref))

def test_find_items_reads_records_once_and_asks_for_each_input_once(counted, far):
    s, _, refs = far
    bucket = refs[0].partition('/')[0]
    def unjudged(at='latest'):
        with unwarned(): s.find_items(bucket, at=at)
    before = made(counted, unjudged)
    assert made(counted, lambda: s.find_items(bucket)) == before + 1
    assert made(counted, lambda: s.find_items(bucket, at='*')) == made(counted, lambda: unjudged('*'))
    cold = counted.store(near=False)
    before = made(counted, lambda: cold.find_items(bucket))
    @cold.calculated(f'{bucket}/f')
    def f(n): return n
    cold.origin.bucket(bucket).records.clear()
    with counted.proxy.counting() as c: said = stale(lambda: cold.find_items(bucket))
    assert len(c) == before + 3 and len(said) == 1      # a record each; another code: no input is asked for
