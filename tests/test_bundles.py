"""Folders and bundles: versions whose payload is a listing of parts"""
import dataclasses, json
from collections.abc import Mapping
import numpy as np, pandas as pd, pytest
from objectstore import Damaged, Folder, NotFound, ObjectStore, Unsupported, Untrusted
from objectstore.browser.preview import preview
from objectstore.browser.views import code, compared
from objectstore.codecs.equality import difference
from stacks import home, stack      # noqa: F401 (fixtures)

places = pytest.mark.parametrize('stack', ['memory', 'local', 'two', 'seaweed'], indirect=True)

@pytest.fixture
def memory_store(): return ObjectStore('memory://')

@pytest.fixture
def photos(tmp_path):
    top = tmp_path/'photos'
    top.mkdir()
    for k in 'ab': (top/f'{k}.txt').write_text(k * 9)
    return top

@places
def test_the_same_folder_has_the_same_hash_everywhere(stack, photos):
    store = stack.open()
    a, b = store.put('lab/photos', photos), store.put('other/photos', photos)
    assert a.hash == b.hash and a._record.hash != b._record.hash
    assert store.put('lab/photos', photos, skip_unchanged=True).version == 1
    copied = store.copy('lab/photos', 'third/photos')
    assert copied.hash == a.hash and store.put('third/photos', photos, skip_unchanged=True).version == 1
    assert store.find_items('lab', where='hash = ' + repr(a.hash)).refs == ['lab/photos@1']
    (photos/'a.txt').write_text('c' * 9)
    assert store.put('lab/photos', photos, skip_unchanged=True).hash != a.hash


# Bundles

@dataclasses.dataclass
class Run:
    weights: np.ndarray
    threshold: float
    tags: tuple = ()

def a_run() -> dict:
    return {'model': {'coef': np.arange(30_000.), 'kind': 'linear'}, 'train': pd.DataFrame({'x': range(20_000)}),
            'features': ['x'], 'threshold': 0.4, 'notes': 'as agreed'}

def same(a, b) -> bool: return difference(a, b) is None

@places
def test_a_bundle_comes_back_whole_and_by_parts(stack):
    store, run = stack.open(), a_run()
    v = store.put('run/result', run)
    assert v.codec == 'bundle' and v.kind == 'data' and v.stats['parts'] == 2
    for s in (store, stack.open()):
        b = s.get('run/result')
        assert list(b) == list(run) and b['threshold'] == 0.4 and b['features'] == ['x'] and 'train' in b
        assert isinstance(b, Mapping) and same(b['train'], run['train'])
        assert same(b['model']['coef'], run['model']['coef'])
        assert same(b.load(), run) and same(b['model'].load(), run['model'])
        assert same(s.get('run/result', part='train'), run['train'])
        assert same(s.get('run/result', part=('model', 'coef')), run['model']['coef'])
        assert s.get('run/result', part='train', columns=['x'], as_='polars').columns == ['x']
        assert s.get('run/result', part=('model', 'kind')) == 'linear' and len(s['run/result'].parts) == 6
        assert s.get('run/result', as_=dict).keys() == run.keys()
    for part in ('trian', ('model', 'cef'), ('train', 'x')):
        with pytest.raises(NotFound, match='run/result@1'): store.get('run/result', part=part)
    for wrong in (dict(as_=list), dict(columns=['x']), dict(as_='bytes')):
        with pytest.raises(Unsupported, match='part'): store.get('run/result', **wrong)
    with pytest.raises(Unsupported, match='has no parts'): store.get(store.put('run/x', 3).ref, part='a')

@places
def test_what_has_not_changed_is_not_stored_again(stack):
    store, run = stack.open(), a_run()
    store.put('run/result', run)
    before = {k: len(data) for k, data in stack.stored()}
    run['features'] = ['x', 'y']
    store.put('run/result', run)
    new = {k: len(data) for k, data in stack.stored() if k not in before}
    assert sum(new.values()) < 10_000 and not [k for k in new if 'payloads/' in k]
    again = store.put('run/result', store.get('run/result'))
    assert again.hash == store['run/result@2'].hash != store['run/result@1'].hash
    assert store.put('run/result', run, skip_unchanged=True).version == 3
    one = store.get('run/result')
    changed = store.put('run/result', {**one, 'threshold': 0.5})
    assert same(changed.get().load(), run | {'threshold': 0.5})
    assert not [k for k, _ in stack.stored() if 'payloads/' in k and k not in before]

@places
def test_bundles_are_copied_and_wait_like_any_version(stack, tmp_path):
    store, run = stack.open(), a_run()
    v = store.put('run/result', run)
    assert same(store.copy('run/result', 'other/result').get().load(), run)
    with ObjectStore(str(tmp_path/'elsewhere')) as other:
        c = store.copy('run/result', 'run/result', to=other)
        assert c.hash == v.hash and same(other.get('run/result').load(), run)
    answers = store.put_many([('run/a', run), ('run/b', [np.arange(3), 'text'])])
    assert same(answers[0].get().load(), run) and same(store.get('run/b').load(), [np.arange(3), 'text'])

def test_forms(memory_store):
    for obj in ([np.arange(2), ['a', {'b': np.arange(3)}]], (np.arange(2), None), {1: np.arange(2), (2, 'b'): 'c'},
                {'of': [pd.Series([1, 2]), {'x': (np.arange(1),)}]}, {'a/b': np.arange(2), '..': np.arange(3), '': 1}):
        memory_store.put('lab/x', obj)
        got = memory_store.get('lab/x')
        assert same(got.load(), obj) and len(got) == len(obj)
    X, y = memory_store.put('lab/pair', (np.arange(2), np.arange(3))).get()
    assert same(y, np.arange(3))
    for plain in ({'a': 1}, [1, 'a'], ('a', 2)): assert memory_store.put('lab/y', plain).codec == 'json'

def test_two_bundles_are_compared_part_by_part(memory_store):
    run = a_run()
    a = memory_store.put('run/result', run)
    b = memory_store.put('run/result', run | {'features': ['x', 'y'], 'train': pd.DataFrame({'x': [1]})})
    assert {k for k in a.compare(b) if k.startswith('part')} == {"part ['features']", "part ['train']"}
    diff = compared(a, b)['diff']
    assert [sign for sign, _ in diff] == ['-', '+'] * 2 and diff[0][1].startswith("['train']  pandas.DataFrame  59")
    assert preview(a)['type'] == 'folder' and preview(a, file='train.parquet')['type'] == 'frame'
    assert 'bundle = ' in code(memory_store, a, {})[0]['code']

def test_a_dataclass_with_parts(memory_store):
    run = Run(np.arange(5), 0.4, ('a',))
    memory_store.put('lab/run', run)
    got = memory_store.get('lab/run')
    assert same(got.weights, run.weights) and got.tags == ('a',) and got['threshold'] == 0.4 and 'weights' in dir(got)
    assert list(got.load()) == ['weights', 'threshold', 'tags'] and same(memory_store.get('lab/run', as_=Run), run)
    with pytest.raises(AttributeError, match='threshold'): got.thresold
    with pytest.raises(Unsupported, match='as_='): memory_store.put('lab/run', got)
    assert memory_store.put('lab/run', memory_store.get('lab/run', as_=Run), skip_unchanged=True).version == 1

def test_a_bunch(memory_store):
    load_iris = pytest.importorskip('sklearn.datasets').load_iris
    iris = load_iris(as_frame=True)
    memory_store.put('lab/iris', iris)
    got = memory_store.get('lab/iris')
    assert same(got.frame, iris.frame) and got.feature_names == iris.feature_names and got['target'].equals(iris.target)
    assert type(got.load()) is type(iris)

class Table(dict): pass

class Own:
    def __eq__(self, other): return type(other) is Own

def test_a_part_that_needs_a_pickle_needs_saying_so(memory_store):
    with pytest.raises(Unsupported, match=r"\['clf'\]\['it'\].*codec=.*'clf', 'it'.*'pickle'"):
        memory_store.put('lab/x', {'x': np.arange(2), 'clf': {'it': Own()}})
    with pytest.warns(UserWarning, match=r"lab/x\['clf'\]\['it'\] is stored as pickle"):
        memory_store.put('lab/x', {'x': np.arange(2), 'clf': {'it': Own()}}, codec={('clf', 'it'): 'pickle'})
    assert memory_store.get('lab/x', part=('clf', 'it')) == Own()         # this store object has put it
    memory_store._own.clear()
    assert same(memory_store.get('lab/x')['x'], np.arange(2))
    with pytest.raises(Untrusted): memory_store.get('lab/x', part=('clf', 'it'))
    assert memory_store.get('lab/x', trust=True)['clf']['it'] == Own()
    with pytest.raises(Unsupported, match='no part'): memory_store.put('lab/x', {'x': np.arange(2)}, codec={'y': 'npy'})
    assert memory_store.versions('lab/x').refs == ['lab/x@1']

def test_what_holds_itself_or_is_no_bundle_is_refused(memory_store):
    round = {'x': np.arange(2)}
    round['me'] = round
    for bad, why in ((round, 'holds itself'), ({'x': np.arange(2), 'y': Table(a=1)}, r"\['y'\]"),
                     ({'x': np.arange(2), float('nan'): 1}, 'other keys')):
        with pytest.raises(Unsupported, match=why): memory_store.put('lab/x', bad)
    with pytest.raises(NotFound): memory_store.versions('lab/x')

def test_parts_are_files_for_other_programs(memory_store, tmp_path):
    v = memory_store.put('run/result', a_run())
    top = v.path(tmp_path/'out')
    assert sorted(p.relative_to(top).as_posix() for p in top.rglob('*.*')) == ['model/coef.npy', 'train.parquet']
    assert same(np.load(top/'model'/'coef.npy'), a_run()['model']['coef'])
    assert [p.part for p in memory_store.put('run/files', tmp_path/'out').parts] == ['model/coef.npy', 'train.parquet']
    assert memory_store.get('run/files', part='train.parquet').name == 'train.parquet'

@pytest.mark.parametrize('change', [
    lambda how: how.pop('skeleton'), lambda how: how['skeleton'].update(form='set'),
    lambda how: how['skeleton']['of'][1].update(part='another.parquet'), lambda how: how['skeleton'].update(of=[])])
def test_a_record_that_does_not_fit_is_damaged(memory_store, change):
    v = memory_store.put('run/result', a_run())
    how = json.loads(json.dumps(v._record.how))
    change(how)
    v._record = dataclasses.replace(v._record, how=how)
    if 'skeleton' not in how: assert isinstance(memory_store._object(v, None, None, None), Folder); return
    with pytest.raises(Damaged, match='run/result@1'): memory_store._object(v, dict, None, None)
