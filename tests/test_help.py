"What `help` and Shift-Tab show of each verb: parameters with type, default and meaning, errors, an example that runs"
import inspect, pydoc, re, warnings
import pandas as pd, pytest
from objectstore import Folder, LocalObjectStore, ObjectStore, Version, Versions
from objectstore.calls import Help
from objectstore.store.aliases import Aliases
from objectstore.store.care import Care
from objectstore.store.opening import PUBLIC
from objectstore.store.sync import NearCopies
from objectstore.versions.version import Lineage

OF = {ObjectStore: [n for n in PUBLIC if inspect.isfunction(inspect.getattr_static(ObjectStore, n, None))]
                   + ['__init__', '__getitem__', '__contains__'],
      LocalObjectStore: ['__init__'], Version: ['get', 'path', 'open', 'wait', 'compare'], Lineage: ['__call__'],
      Folder: ['path', 'read'], Versions: ['facets'], Aliases: ['history'], NearCopies: ['keep', 'drop'],
      Care: ['policies', 'set_policy', 'remove_policy', 'gc', 'erase', 'tidy', 'compact', 'catalog', 'restored']}
VERBS = {f'{c.__name__}.{n}': getattr(c, n) for c, names in OF.items() for n in names}

def test_every_verb_is_looked_at():
    assert len(VERBS) == 54 and {*PUBLIC} - {*OF[ObjectStore]} == {'near', 'care', 'tiers'}     # which are not called

@pytest.mark.parametrize('name', VERBS)
def test_help_names_every_parameter_with_its_meaning_errors_and_an_example(name):
    verb = VERBS[name]
    said = pydoc.plain(pydoc.render_doc(verb))
    for n, p in list(inspect.signature(verb).parameters.items())[1:]:
        row = re.search(rf'- `\*?{n}: (.+?)(?: = (.+?))?`: (.{{6,}})', said)
        assert row, f'{name}: nothing is said of {n}'
        assert (row[2] is not None) == (p.default is not p.empty), f'{name}: the default of {n}'
    assert 'Errors: ' in said and '```python' in said
    assert said.count('Parameters:') == (len(inspect.signature(verb).parameters) > 1)

def test_help_of_the_class_says_how_it_is_opened():
    for cls in (ObjectStore, LocalObjectStore):
        said = inspect.getdoc(cls)
        assert '`cache_limit: int | str | None = None`: How much near tiers may hold' in said
        assert 'Initialize self' not in pydoc.plain(pydoc.render_doc(cls))

@pytest.fixture
def lab(tmp_path, monkeypatch):
    "What the examples are about"
    monkeypatch.setenv('HOME', str(tmp_path/'home'))
    store = ObjectStore('memory://', progress=False)
    for n, auc in enumerate((0.87, 0.92, 0.93)):
        store.put('models/churn', {'n': n}, metadata={'auc': auc}, kind='model', alias='production')
    store.put('scratch/x', 1)
    (tmp_path/'folder').mkdir()
    (tmp_path/'folder'/'a.txt').write_text('a')
    store.put('data/folder', tmp_path/'folder')
    store.put('run/result', {'train': pd.DataFrame({'x': [1]}), 'threshold': 0.4})
    store.care.compact('models')
    return dict(store=store, model={'n': 9}, v=store['models/churn@2'], folder=store.get('data/folder'),
                other=ObjectStore('memory://', progress=False), ObjectStore=ObjectStore,
                LocalObjectStore=LocalObjectStore)

def example(verb) -> str: return re.search('```python\n(.*?)```', inspect.getdoc(verb), re.DOTALL)[1]

@pytest.mark.parametrize('name', [n for n in VERBS if n != 'ObjectStore.__init__'])     # which asks a service
def test_examples_run(name, lab):
    if name == 'ObjectStore.calculated': return     # needs its source in a file: below
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        exec(compile(example(VERBS[name]), f'example of {name}', 'exec'), lab)

def test_the_example_of_calculated_runs(lab, tmp_path):
    import linecache
    code = example(ObjectStore.calculated)
    linecache.cache['<example>'] = len(code), None, code.splitlines(True), '<example>'
    exec(compile(code, '<example>', 'exec'), lab)
    assert lab['store'].find_items('results')[0].get() == 9

def test_what_shows_docstrings_shows_all_of_it(lab):
    wanted, store = '`skip_unchanged: bool = False`: Give back the latest version', lab['store']
    oinspect = pytest.importorskip('IPython.core.oinspect')
    assert wanted in oinspect.getdoc(store.put)
    assert 'cache_limit' in oinspect.getdoc(ObjectStore)
    jedi = pytest.importorskip('jedi')      # reads the source: the signature, and the docstring as it was written
    for said in (jedi.Interpreter('store.put', [lab]).infer()[0].docstring(),
                 jedi.Interpreter('store.put(', [lab]).get_signatures()[0].docstring()):
        assert 'skip_unchanged: ' in said and 'Store an object as' in said and 'Errors: `InvalidRef`' in said

def test_sphinx_shows_all_of_it():
    docstrings, of = pytest.importorskip('sphinx.util.docstrings'), pytest.importorskip('sphinx.util.inspect')
    lines = docstrings.prepare_docstring(of.getdoc(ObjectStore.put, allow_inherited=True))
    assert any('skip_unchanged' in l for l in lines)

def test_a_docstring_is_put_together_only_when_it_is_read(monkeypatch):
    made = []
    real = Help.__str__
    monkeypatch.setattr(Help, '__str__', lambda self: made.append(1) or real(self))
    doc = ObjectStore.put.__doc__
    assert isinstance(doc, Help) and 'Parameters' not in doc and not made
    assert 'Parameters' in f'{doc}' and 'Parameters' in inspect.cleandoc(doc) and len(made) == 2

def test_help_without_source_or_docstrings_still_says_what_there_is(monkeypatch):
    monkeypatch.setattr(inspect, 'getsource', lambda *a: (_ for _ in ()).throw(OSError('no source')))
    monkeypatch.setattr('fastcore.docments.getsource', inspect.getsource)
    monkeypatch.setattr('linecache.getlines', lambda *a: [])
    assert '- `alias: str | None = None`' in inspect.getdoc(ObjectStore.put)
