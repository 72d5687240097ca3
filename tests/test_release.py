"Releases: what they name, what becomes of it, and whether it can be made again here and elsewhere"
import json, os, random, subprocess, sys
from contextlib import contextmanager
from dataclasses import replace
import numpy as np, pandas as pd, pytest
import objectstore.computed.calculated as calculated
import objectstore.moving.releases as releases
import objectstore.moving.reproduced as reproduced
from objectstore import (Conflict, InvalidCall, InvalidQuery, InvalidRef, NotFound, ObjectStore, Protected,
                         Unsupported)
from objectstore.computed.calculated import scratch
from objectstore.moving import export, import_export, read_release, reproduce
from objectstore.search.changelog import flush_hints
from away import forget_all  # noqa: F401 (a new process)
from stacks import b, home, stack, store  # noqa: F401 (fixtures)

pytestmark = pytest.mark.filterwarnings('ignore:.* is stored as')


def parts(report): return {p.ref: (p.how, p.same) for p in report.parts}
def part(report, how='calculated'): return next(p for p in report.parts if p.how == how)

def lab(s):
    "A store with raw data, two results of which one uses the other, and a note"
    s.put('raw/sales', pd.DataFrame({'units': [3, 4, 10]}))
    s.put('notes/method', 'a sum')
    @s.calculated('results/total')
    def total(scale): return {'units': int(scale * s.get('raw/sales')['units'].sum())}
    @s.calculated('results/report')
    def report(scale): return f'{total(scale)["units"]} units, {s.get("notes/method")}'
    report(2)
    return total, report

def test_a_release_names_exact_versions(store, b):
    x, raw = f'{b}/models/churn', f'{b}/raw'
    store.put(raw, [1, 2]); store.put(x, {'auc': 0.9}, alias='production')
    v = store.release(f'{b}/paper', [f'{x}@production', store[raw]], description='As submitted')
    assert (v.version, v.kind, v.metadata['description']) == (1, 'release', 'As submitted')
    store.put(x, {'auc': 0.95}, alias='production'); store.put(raw, [3])
    said = read_release(store[f'{b}/paper'])
    assert [(f.ref, f.asked) for f in said.versions] == [(f'{x}@1', (f'{x}@production',)), (f'{raw}@1', (f'{raw}@1',))]
    assert [f.hash for f in said.versions] == [store[f'{x}@1'].hash, store[f'{raw}@1'].hash]
    assert parts(reproduce(v)) == {f'{x}@1': ('kept', True), f'{raw}@1': ('kept', True)}
    again = store.release(f'{b}/paper', f'{x}@*', description='As printed')
    assert again.ref == f'{b}/paper@2' and {f.ref for f in read_release(again).versions} == {f'{x}@1', f'{x}@2'}
    assert {f.ref for f in read_release(store[f'{b}/paper@1']).versions} == {f'{x}@1', f'{raw}@1'}
    assert store.find_items(b, kind='release', at='*').refs == [f'{b}/paper@2', f'{b}/paper@1']

def test_what_was_removed_is_said(store, b):
    for n in (1, 2): store.put(f'{b}/x', n)
    v = store.release(f'{b}/paper', [f'{b}/x@1', f'{b}/x@2'], description='x')
    store.remove(f'{b}/x@1', force=True)
    report = reproduce(f'{b}/paper', store)
    assert not report.ok and report.lost == [f'{b}/x@1'] and 'removed' in part(report, 'lost').why
    assert parts(report)[f'{b}/x@2'] == ('kept', True)
    with pytest.raises(NotFound, match='is not whole, so it is not exported'): export(v, 'out')
    with pytest.raises(NotFound, match='removed'): store.release(f'{b}/paper', f'{b}/x@1', description='x')

def test_the_closure(tmp_path):
    "What a result was made from, and what that was made from; each once"
    s = ObjectStore(tmp_path)
    lab(s)
    for _ in range(2): s.put('raw/sales', pd.DataFrame({'units': [1]})); s.put('notes/method', 'a mean')
    s.release('papers/one', 'results/report/scale=2', description='x')
    said = read_release(s['papers/one'])
    assert {f.ref: f.inputs for f in said.versions} == {
        'notes/method@1': (), 'raw/sales@1': (), 'results/total/scale=2@1': ('raw/sales@1',),
        'results/report/scale=2@1': ('results/total/scale=2@1', 'notes/method@1')}
    assert said.versions[-1].params == {'scale': 2} and said.versions[-1].function.endswith('total')
    plan = s.care.prune('raw', keep_last=1)
    assert [x.ref for x in plan.goes] == ['raw/sales@2']
    s.release('papers/two', 'papers/one', description='a release of a release')
    assert {f.ref for f in read_release(s['papers/two']).versions} == {'papers/one@1', *(f.ref for f in said.versions)}

def test_prune_spares_what_many_are_named_by(tmp_path, monkeypatch):
    "More than a record holds: they lie in an item beside it, which stays too"
    monkeypatch.setattr(calculated, 'MANY_INPUTS', 2000)
    s = ObjectStore(tmp_path, durable=False)
    s.put_many((f'runs/{i:04d}', i) for i in range(40))
    s.put_many((f'runs/{i:04d}', -i) for i in range(40))
    for n in (1, 2):
        v = s.release('papers/one', [f'runs/{i:04d}@1' for i in range(40)], description='x')
        assert isinstance(v._record.description['lineage']['inputs'], str)
    assert len(s.care.prune('runs', keep_last=1)) == 0
    assert not s.care.prune('papers', keep_last=1)      # a release, and the list of what it names, stay
    out = export('papers/one@1', tmp_path/'out.tar', s)
    assert len(reproduce(out).parts) == 40 and reproduce(out).ok

@pytest.mark.parametrize('refs, error', [
    ('x/nothing', NotFound), ([], InvalidCall), ([3], InvalidCall), ('x', InvalidRef), (['x/a', 'x/a@9'], NotFound)])
def test_wrong_refs(tmp_path, refs, error):
    s = ObjectStore(tmp_path)
    s.put('x/a', 1)
    with pytest.raises(error): s.release('papers/one', refs, description='x')
    with pytest.raises(InvalidRef): s.release('papers/one@1', 'x/a', description='x')
    with pytest.raises(InvalidQuery): s.release('papers/one', 'x/a', description='')
    s.put('papers/one', 1)
    with pytest.raises(InvalidCall, match='itself'): s.release('papers/one', 'papers/one', description='x')
    with pytest.raises(InvalidCall, match='copy it first'):
        s.release('papers/one', ObjectStore('memory://').put('x/a', 1), description='x')
    with pytest.raises(Protected): ObjectStore(tmp_path, readonly=True).release('papers/one', 'x/a', description='x')
    assert s.versions('papers/one').refs == ['papers/one@1']

def test_what_is_removed_meanwhile_makes_no_release(tmp_path, monkeypatch):
    s = ObjectStore(tmp_path)
    s.put('x/a', 1); s.put('x/a', 2)
    written = releases._written
    def removed_meanwhile(*args):
        s.remove('x/a@1')
        return written(*args)
    monkeypatch.setattr(releases, '_written', removed_meanwhile)
    with pytest.raises(Conflict, match='x/a@1 was removed meanwhile'): s.release('papers/one', 'x/a@*', description='x')
    with pytest.raises(NotFound): s['papers/one']

def test_what_is_missing_is_told(tmp_path):
    s, other = ObjectStore(tmp_path/'s'), ObjectStore(tmp_path/'other')
    s.put('raw/x', 1); other.put('raw/y', 2)
    @s.calculated('results/sum')
    def add(n): return s.get('raw/x') + other.get('raw/y') + n
    add(1)
    s.remove('raw/x@1')
    with pytest.warns(UserWarning) as told: s.release('papers/one', 'results/sum/n=1', description='x')
    assert len(told) == 2 and 'removed' in str(told[0].message) + str(told[1].message)
    assert {m.ref for m in read_release(s['papers/one']).missing} == {'raw/x@1', 'raw/y@1'}
    report = reproduce('papers/one', s)
    assert parts(report) == {'results/sum/n=1@1': ('not run', None), 'raw/x@1': ('not run', None),
                             'raw/y@1': ('not run', None)}
    assert not report.ok

# what a calculation may read, and how

def test_it_reads_what_it_read_then(tmp_path):
    "Refs, aliases, many at once, questions, results of others, in threads too"
    s = ObjectStore(tmp_path)
    s.put('raw/a', 1, alias='good'); s.put('raw/b', 2); s.put('raw/c', 4)
    @s.calculated('results/square')
    def square(n): return n * n
    @s.calculated('results/all')
    def everything():
        from concurrent.futures import ThreadPoolExecutor
        with ThreadPoolExecutor(2) as pool: threads = list(pool.map(s.get, ['raw/a', 'raw/b']))
        return [s.get('raw/a@good'), *s.get_many(['raw/a', 'raw/c']), s['raw/b'].get(), s.get('raw/none', default=9),
                list(square.map([2, 3])), square(4), threads, s['raw/c'].path().name]
    was = everything()
    s.release('papers/one', 'results/all', description='x')
    assert reproduce('papers/one', s).ok
    for x in 'abc': s.put(f'raw/{x}', 100)
    s.set_alias('raw/a', 'good'); s.put('results/square/n=2', -1)
    report = reproduce('papers/one', s)
    assert report.ok, [p.why for p in report.parts]
    s.put('raw/none', 5)
    assert reproduce('papers/one', s).ok            # it was not there then
    assert s.get('results/all@1') == was and everything.versions().refs == ['results/all@1']

def test_a_question_that_has_another_answer_is_named(tmp_path):
    s = ObjectStore(tmp_path)
    s.put('raw/a', 1)
    @s.calculated('results/count')
    def count(): return len(s.find_items('raw'))
    count()
    out = export(s.release('papers/one', ['results/count', 'raw/a'], description='x'), tmp_path/'one')
    assert reproduce('papers/one', s).ok
    s.put('raw/b', 1)
    p = part(reproduce('papers/one', s))
    assert (p.same, p.why) == (False, 'the int is 1 and would be 2; find_items has another answer than then')
    assert reproduce(out).ok         # an export answers such questions itself

def test_results_of_each_form(tmp_path):
    s = ObjectStore(tmp_path)
    @s.calculated('results/frame')
    def frame(n): return pd.DataFrame({'x': range(n), 'y': ['é'] * n})
    @s.calculated('results/array')
    def array(n): return np.arange(float(n))
    @s.calculated('results/bundle')
    def bundle(n): return {'train': pd.DataFrame({'x': range(n)}), 'big': np.arange(n), 'n': n}
    @s.calculated('results/folder')
    def folder(n):
        top = scratch()
        for i in range(3): (top/f'{i}.txt').write_text(f'{i}' * n)
        return top
    @s.calculated('results/file')
    def file(n):
        (to := scratch()/'out.bin').write_bytes(b'x' * n)
        return to
    @s.calculated('results/pickle')
    def pickled(n): return {frozenset({n})}
    made = [f.version_of(20_000).ref for f in (frame, array, bundle, folder, file, pickled)]
    s.release('papers/one', made, description='x')
    report = reproduce('papers/one', s)
    assert report.ok and {p.how for p in report.parts} == {'calculated'}, [p.why for p in report.parts]
    out = export('papers/one', tmp_path/'out', s)
    assert reproduce(out).ok

def test_chance_is_named(tmp_path):
    s = ObjectStore(tmp_path)
    @s.calculated('results/chance')
    def chance(): return {'auc': random.random(), 'n': 3}
    chance()
    s.release('papers/one', 'results/chance', description='x')
    p = part(reproduce('papers/one', s))
    assert p.same is False and "at ['auc']" in p.why and 'does it depend on chance' in p.why

def test_another_library_is_named(tmp_path, monkeypatch):
    "Equal in each place, in other bytes; and where it is not equal"
    s, more = ObjectStore(tmp_path), []
    @s.calculated('results/frame')
    def frame(): return pd.DataFrame({'x': [1, 2]})
    frame()
    s.release('papers/one', 'results/frame', description='x')
    real = reproduced.libraries()
    monkeypatch.setattr(reproduced, 'libraries', lambda: real | {'pandas': '99.0'})
    def other_bytes(self, *args, real=ObjectStore._drafted, **kwargs):
        @contextmanager
        def drafted():
            with real(self, *args, **kwargs) as draft:
                draft.payload = replace(draft.payload, hash='ab' * 32)
                more.append(draft)
                yield draft
        return drafted()
    monkeypatch.setattr(ObjectStore, '_drafted', other_bytes)
    p = part(reproduce('papers/one', s))
    assert more and (p.same, p.state) == (True, 'note')
    assert 'equal in each place, in other bytes' in p.why and 'pandas is 99.0, and was' in p.why

def test_what_fails_now_is_named(tmp_path):
    s = ObjectStore(tmp_path)
    s.put('raw/x', 0)
    fails = []
    def make():
        @s.calculated('results/x')
        def x(n):
            if fails: raise ZeroDivisionError('no')
            return s.get('raw/x') + n
        return x
    make()(1)
    s.release('papers/one', 'results/x/n=1', description='x')
    fails.append(1)
    p = part(reproduce('papers/one', s))
    assert (p.same, p.now) == (False, None) and 'ZeroDivisionError: no' in p.why

def test_nothing_is_written_meanwhile(tmp_path):
    s, other, on = ObjectStore(tmp_path/'s'), ObjectStore(tmp_path/'o'), []
    @s.calculated('results/x')
    def x(n):
        if on: (other if n == 1 else s).put('log/x', n)
        return n
    for n in (1, 2): x(n)
    s.release('papers/one', ['results/x/n=1', 'results/x/n=2'], description='x')
    on.append(1)
    flush_hints()
    before = sorted(p.name for p in (tmp_path/'s').rglob('*'))
    report = reproduce('papers/one', s)
    assert all('writes nothing meanwhile' in p.why for p in report.parts) and not report.ok
    assert other.list_buckets() == [] and sorted(p.name for p in (tmp_path/'s').rglob('*')) == before

STRANGER = '''
import os, sys
from objectstore import ObjectStore
from objectstore.moving import export
class Evil:
    def __reduce__(self): return os.mkdir, (sys.argv[2],)
s = ObjectStore(sys.argv[1])
s.put('raw/data', Evil(), codec='pickle')
@s.calculated('feat/daily')
def daily(): return len(s.get('raw/data', as_='bytes'))
daily()
export(s.release('papers/p3', ['feat/daily'], description='x'), sys.argv[3])
'''

@pytest.mark.parametrize('own', [True, False])
def test_what_a_strangers_export_holds_is_loaded_as_the_reproduction_says(tmp_path, monkeypatch, own):
    "Whatever the store of one's own function may load, and whatever the function says"
    ran, tar = tmp_path/'ran', tmp_path/'p3.tar'
    subprocess.run([sys.executable, '-c', STRANGER, tmp_path/'theirs', ran, tar], check=True)
    if own: monkeypatch.setenv('OBJECTSTORE_TRUST', 'yes')
    mine = ObjectStore(tmp_path/'mine', trust=own)
    mine.put('raw/data', {'a': 1}, codec='pickle')
    def daily(): return len(mine.get('raw/data', trust=None if own else True))
    daily.__module__, daily.__qualname__ = '__main__', 'daily'      # as in a script or notebook of one's own
    mine.calculated('feat/daily')(daily)
    p = next(p for p in reproduce(tar).parts if p.ref.startswith('feat'))
    assert not ran.exists() and 'Untrusted' in p.why and not p.same
    reproduce(tar, trust=True)
    assert ran.exists()

# elsewhere

MODULE = '''
from objectstore import ObjectStore
store = ObjectStore({place!r})

@store.calculated('results/total')
def total(scale): return {{'units': scale * sum(store.get('raw/sales'))}}
'''
RUN = '''
import json, sys
from objectstore.moving import reproduce
trust = json.loads(sys.argv[2])
r = reproduce(sys.argv[1], trust=trust)
print(json.dumps([r.ok, [[p.ref, p.how, p.same, p.why] for p in r.parts]]))
'''

def away(tmp_path, out, trust, text):
    "What a colleague's machine says: another store, and no network"
    code = tmp_path/'code'
    code.mkdir(exist_ok=True)
    (code/'labmodule.py').write_text(text)
    env = {**os.environ, 'PYTHONPATH': str(code), 'HOME': str(tmp_path/'other home'),
           'OBJECTSTORE_STATE_DIR': str(tmp_path/'st'), 'OBJECTSTORE_CACHE_DIR': str(tmp_path/'ca'),
           'PYTHONDONTWRITEBYTECODE': '1'}
    unshared = (['unshare', '-rn'] if subprocess.run(['unshare', '-rn', 'true'], capture_output=True).returncode == 0
                else [])
    p = subprocess.run([*unshared, sys.executable, '-c', RUN, str(out), json.dumps(trust)], env=env, text=True,
                       capture_output=True, cwd=tmp_path)
    assert p.returncode == 0, p.stderr
    ok, found = json.loads(p.stdout.splitlines()[-1])
    return ok, {ref: (how, same, why) for ref, how, same, why in found}

@pytest.fixture
def exported(tmp_path):
    "A release that was made by a module, as one file"
    text = MODULE.format(place=str(tmp_path/'lab'))
    (tmp_path/'labmodule.py').write_text(text)
    make = ("import labmodule as m; m.store.put('raw/sales', [3, 4, 10]); m.total(2); "
            "m.store.release('papers/one', ['results/total/scale=2'], description='Our first')")
    subprocess.run([sys.executable, '-c', make], cwd=tmp_path, check=True,
                   env={**os.environ, 'PYTHONDONTWRITEBYTECODE': '1'})
    (tmp_path/'labmodule.py').unlink()
    s = ObjectStore(tmp_path/'lab')
    s.put('raw/sales', [0])
    return lambda end: export('papers/one', tmp_path/f'one{end}', s)

def test_on_another_machine_without_a_network(tmp_path, exported):
    out, theirs = exported('.tar'), MODULE.format(place=str(tmp_path/'their own'))
    ok, found = away(tmp_path, out, False, theirs)
    assert not ok and found['results/total/scale=2@1'][:2] == ('not run', None)
    assert "trust='labmodule' allows it" in found['results/total/scale=2@1'][2]
    ok, found = away(tmp_path, out, ['labmodule'], theirs)
    assert ok and found == {'raw/sales@1': ('kept', True, ''), 'results/total/scale=2@1': ('calculated', True, '')}
    changed = theirs.replace('scale * sum', '1 + scale * sum')
    ok, found = away(tmp_path, out, True, changed)
    how, same, why = found['results/total/scale=2@1']
    assert not ok and (how, same) == ('calculated', False)
    assert "at ['units'] is 34 and would be 35" in why and 'the source of total' in why and 'has changed' in why
    ok, found = away(tmp_path, out, 'other', theirs)
    assert not ok and 'allows it' in found['results/total/scale=2@1'][2]
    ok, found = away(tmp_path, out, True, 'raise OSError("no disk")')
    assert not ok and 'cannot be imported here: OSError: no disk' in found['results/total/scale=2@1'][2]

def test_what_was_changed_in_an_export_is_named(tmp_path, exported):
    out = exported('')
    for item, text in (('raw/sales@1/sales.json', '[3, 4, 11]'), ('results/total/scale=2@1', '')):
        files = [p for p in (out/'files'/item).rglob('*')] or [out/'files'/item]
        for p in files: p.chmod(0o644); p.write_text(p.read_text()[::-1])
    said = subprocess.run(['sha256sum', '--quiet', '-c', 'sha256.txt'], cwd=out, capture_output=True, text=True)
    assert said.returncode and 'raw/sales@1/sales.json' in said.stdout
    small = ObjectStore(tmp_path/'big')
    small.put('raw/x', os.urandom(100_000)); small.put('raw/y', os.urandom(100_000))
    small.release('papers/one', ['raw/x', 'raw/y'], description='x')
    out = export('papers/one', tmp_path/'big out', small)
    p = next((out/'files/raw').glob('x@1/*'))
    data = bytearray(p.read_bytes()); data[5] ^= 1; p.chmod(0o644); p.write_bytes(data)
    report = reproduce(out)
    assert (parts(report) == {'raw/x@1': ('kept', False), 'raw/y@1': ('kept', True)}
            and 'was changed since' in part(report, 'kept').why)

@pytest.mark.parametrize('end', ['', '.tar'])
def test_every_file_of_an_export_is_read_when_it_is_reproduced(tmp_path, end):
    "Also that of a small version, whose bytes the list of objects has too"
    s = ObjectStore(tmp_path/'s')
    for n in ('same', 'changed', 'missing'): s.put(f'raw/{n}', [1.5] * 3); s.put(f'raw/big {n}', os.urandom(100_000))
    s.release('papers/one', [v.ref for v in s.find_items('raw')], description='x')
    out = export('papers/one', tmp_path/'out', s)
    for p in (out/'files/raw').glob('*changed@1/*'):
        data = bytearray(p.read_bytes()); data[1] ^= 1; p.chmod(0o644); p.write_bytes(data)
    for p in (out/'files/raw').glob('*missing@1/*'): p.unlink()
    (own := out/'files/papers/one@1/one.json').chmod(0o644); own.write_text(own.read_text() + ' ')
    if end: subprocess.run(['tar', 'cf', f'{out}.tar', 'out'], cwd=tmp_path, check=True)
    found = {p.ref: p for p in reproduce(f'{out}{end}').parts}
    assert {ref for ref, p in found.items() if p.same} == {'raw/same@1', 'raw/big same@1'}
    for ref, why in (('papers/one@1', 'was changed since'), ('raw/changed@1', 'was changed since'),
                     ('raw/missing@1', 'is missing from the export'),
                     ('raw/big changed@1', 'was changed since'),
                     ('raw/big missing@1', 'is missing from the export')):
        assert f'files/{ref}/' in found[ref].why and why in found[ref].why and 'Errno' not in found[ref].why
    assert import_export(f'{out}{end}', ObjectStore('memory://')).apply().left

def test_brought_into_a_store_that_has_such_numbers(tmp_path, exported):
    out, there = exported('.tar'), ObjectStore(tmp_path/'there')
    there.put('raw/sales', ['of our own']); there.put('results/total/scale=2', 'ours')
    assert not import_export(out, there).apply().left
    said = read_release(there['papers/one'])
    v = releases.named_by(there['papers/one'], said, said.versions[0])
    assert v.ref == 'raw/sales@2' and v.get() == [3, 4, 10]
    @there.calculated('results/total')
    def total(scale): return {'units': scale * sum(there.get('raw/sales'))}
    report = reproduce('papers/one', there)
    assert [(p.how, p.same) for p in report.parts] == [('kept', True),
                                                       ('calculated', True)], [p.why for p in report.parts]

def test_without_this_library(tmp_path, exported):
    "JSON, CSV and a page; nothing is imported but what Python has"
    out = exported('')
    code = """
import csv, json, sys
said = json.load(open('files/papers/one@1/one.json'))
rows = {r['ref']: r for r in csv.DictReader(open('index.csv'))}
for v in said['versions']:
    row = rows[v['ref']]
    print(v['ref'], v['hash'] == row['hash'], open(row['file']).read().strip())
assert 'objectstore' not in sys.modules
"""
    p = subprocess.run([sys.executable, '-S', '-E', '-c', code], cwd=out, capture_output=True, text=True, check=True)
    assert p.stdout.splitlines() == ['raw/sales@1 True [3,4,10]', 'results/total/scale=2@1 True {"units":34}']
    page = (out/'files/papers/one@1.html').read_text()
    for link in ('raw/sales%401/sales.json', 'results/total/scale%3D2%401'): assert link in page
    assert (out/'files/papers'/'../../files/raw/sales@1/sales.json').exists()

def test_a_document_that_is_none(tmp_path):
    s = ObjectStore(tmp_path)
    for doc in ({'a': 1}, [1], {'format': 2, 'release': 'a/b'}, {'format': 1, 'release': 'a/b', 'versions': 3},
                {'format': 1, 'release': 'a/b', 'versions': [{'ref': 'a/b'}]}, {'format': 1, 'release': 'a/b'}):
        with pytest.raises(Unsupported, match='is no release'): reproduce(s.put('papers/x', doc, kind='release'))
    with pytest.raises(Unsupported, match='is no release'): reproduce(s.put('papers/x', b'x', kind='release'))
    with pytest.raises(NotFound): reproduce('papers/none', s)
    with pytest.raises(NotFound, match='store='): reproduce('papers/none')
    with pytest.raises(Unsupported, match='has no release'):
        s.put('raw/x', 1); reproduce(export('raw', tmp_path/'plain.tar', s))
    page = {'format': 1, 'release': 'a/<b>', 'description': '<script>', 'store': '', 'versions': [], 'missing':
            [{'ref': '<img src=x onerror=1>', 'why': '<b>'}]}
    out = export(s.put('papers/y', page, kind='release'), tmp_path/'y')
    assert not {'<script>', '<img', '<b>'} & {*(out/'files/papers/y@1.html').read_text().replace('<', ' <').split()}

# what a release names is not removed in passing

def named(place, **how):
    s = ObjectStore(place, **how)
    for n in range(3): s.put('raw/y', np.arange(20_000) + n)
    s.release('papers/a', 'raw/y@2', description='x')
    return s

def test_what_a_release_names_is_removed_by_force_alone(tmp_path):
    "Also in another process, and after a search; one that was removed itself protects nothing"
    s = named(tmp_path)
    for look in (lambda: None, lambda: s.find_items('papers')):
        look()
        for ref in ('raw/y@2', 'raw/y@*', s['raw/y@2']):
            with pytest.raises(Protected, match='release papers/a@1 names raw/y@2.*force=True'): s.remove(ref)
    assert s.versions('raw/y').refs == [f'raw/y@{n}' for n in (1, 2, 3)] and s.remove('raw/y@1') == 1
    code = f'from objectstore import ObjectStore; ObjectStore({str(tmp_path)!r}).remove("raw/y@2")'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode and 'Protected: release papers/a@1 names raw/y@2' in done.stderr
    assert s.remove('raw/y@2', force=True) == 1
    s.restore('raw/y@2'); s.remove('papers/a@1')
    assert s.remove('raw/y@2') == 1

def test_a_release_of_another_machine_protects_once_the_index_knows_it(tmp_path, monkeypatch):
    monkeypatch.setenv('OBJECTSTORE_STATE_DIR', str(tmp_path/'one'))
    named(tmp_path/'s').close()
    monkeypatch.setenv('OBJECTSTORE_STATE_DIR', str(tmp_path/'other'))
    s = ObjectStore(tmp_path/'s')
    s.find_items()
    with pytest.raises(Protected, match='release papers/a@1 names raw/y@2'): s.remove('raw/y@2')

def test_verify_names_a_release_that_is_not_whole(tmp_path):
    s = named(tmp_path)
    assert s.care.verify().ok
    s.remove('raw/y@2', force=True)
    [found] = [f for f in s.care.verify() if f.about == 'papers/a@1']
    assert (found.state, found.found) == ('bad', 'it names raw/y@2, which was removed')
    assert "restore('raw/y@2')" in found.next
    s.restore('raw/y@2')
    assert s.care.verify().ok
    big = next(p for p in (tmp_path/'raw/payloads').rglob('*') if s['raw/y@2'].hash in p.name)
    big.unlink()
    states = {f.about: f.state for f in s.care.verify()}
    assert states['raw/y@2'] == states['papers/a@1'] == 'lost'
    s.remove('raw/y@2', force=True)
    [found] = [f for f in s.care.verify() if f.about == 'papers/a@1']
    assert found.state == 'lost' and 'its bytes are gone' in found.found

def test_the_collector_spares_what_a_live_release_names(tmp_path, monkeypatch):
    import objectstore.store.care as care
    from datetime import timedelta
    from objectstore.format.origin_clock import time_there
    monkeypatch.setattr(care, 'time_there', lambda backend: time_there(backend) + timedelta(hours=2))
    s = named(tmp_path)
    for n in (1, 2): s.remove(f'raw/y@{n}', force=True)
    plan = s.care.gc(grace=0)
    assert {r.ref: (r.verdict, r.reason) for r in plan.steps}['raw/y@2'] == ('keep', 'release papers/a@1 names it')
    assert [o.became for o in plan.apply()] == ['freed'] and s.restore('raw/y@2').get()[0] == 1
    s.remove('raw/y@2', force=True); s.remove('papers/a@1')
    assert [r.ref for r in s.care.gc(grace=0).goes] == ['raw/y@2']
