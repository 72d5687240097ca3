"What a store says of what is not there, and what it offers to Tab"
import ast, re
from pathlib import Path
import pytest
import objectstore
from objectstore import NotFound, ObjectStore
from objectstore.store.opening import PUBLIC
from stacks import b, home, stack, store, requests  # noqa: F401 (fixtures)

def test_a_removed_version_names_the_line_that_brings_it_back(store, b):
    x = f'{b}/x'
    for i in (b'small', b'%' * 100_000):
        v = store.put(x, i); n = v.version
        store.remove(v)
        line = f"store.restore('{x}@{n}')"
        for ask in (lambda: store[v.ref], lambda: store.get(v.ref), lambda: store.get(x)):
            with pytest.raises(NotFound) as e: ask()
            assert line in str(e.value)
        assert eval(line).get() == i
        store.remove(f'{x}@*')
    v = store.put(x, b'!' * 100_000); store.remove(v)
    for e in list(v._in.backend.list(v._in.prefix + 'payloads/')): v._in.backend.delete(e.key)
    with pytest.raises(NotFound) as e: ObjectStore.__getitem__(store, v.ref)
    assert 'gone' in str(e.value)

def test_the_history_of_an_alias_outlives_its_versions(store, b):
    x = f'{b}/x'
    store.put(x, 1, alias='production'); store.put(x, 2, alias='production')
    with pytest.raises(NotFound, match='no alias'): store[f'{x}@staging']
    store.remove(f'{x}@*', force=True)
    assert store.aliases(x) == {} and [m['to'] for m in store.aliases(x).history('production')] == [1, 2, None]
    with pytest.raises(NotFound): store.aliases(f'{b}/never')
    store.put(f'{b}/y', 1)
    with pytest.raises(NotFound, match='it has no aliases'): store[f'{b}/y@production']

def test_explain_says_what_is_not_there(stack, store, b):
    store.put(f'{b}/churn', 1); store.find_items(b)
    for ref, why in ((f'{b}/chrun', "did you mean 'churn'"), (f'{b}/churn', '')):
        with requests(store) as asked: said = repr(store.explain(ref))
        assert why in said and ('no item' in said) == bool(why)
        if not stack.quick: assert not asked
    if stack.name in ('memory', 'local'):
        assert ('it has 1' in repr(store.explain(f'{b}/churn@7'))
                and 'did you mean' in repr(store.explain(f'{b[:-1]}/churn')))

def test_tab_offers_what_is_meant_for_use(store):
    offered = [n for n in dir(store) if not n.startswith('_')]
    assert set(offered) == set(PUBLIC) and all(hasattr(store, n) for n in (*offered, 'keeper', 'origin', 'sync_soon'))

def test_what_is_held_is_a_number_that_shows_itself(home):
    with pytest.warns(UserWarning): s = ObjectStore('near', 'data'); s.put('a/x', b'%' * 1000); s.put('a/y', b'%' * 500)
    held = s.near.keep(['a/x', 'a/y'])
    assert (held == 1500 and held > 1000 and held + 1 == 1501 and held.versions == 2 and '1.5 kB' in repr(held)
            and 'versions' in repr(held) and 'text/html' in held._repr_mimebundle_())
    assert 'keep' in repr(s.near)

def test_a_bucket_that_stays_says_what_it_holds(stack, store, b):
    for i in range(3): store.put(f'{b}/x', i)
    store.put(f'{b}/y', 1)
    with pytest.warns(UserWarning, match=f"bucket '{b}' stays: it holds 2 items with 4 versions; "
                      f"remove_bucket\\('{b}', force=True\\)") as told:
        assert store.remove_bucket(b) is False
    assert told[0].filename == __file__

def test_trust_that_is_refused_is_refused(store, b):
    with pytest.warns(UserWarning): v = store.put(f'{b}/p', {1}, codec='pickle')
    assert store.get(v) == {1} and store.get_many([v]) == [{1}]
    for ask in (lambda: store.get(v, trust=False), lambda: v.get(trust=False),
                lambda: store.get_many([v], trust=False)):
        with pytest.raises(Exception, match='trust=True'): ask()

# One word for one thing, in what the library says of itself

PACKAGE = Path(objectstore.__file__).parent
# what is said instead, and the packages that may say it: fsspec has directories
INSTEAD = {r'\bdirector(y|ies)\b': ('folder', 'filesystem'), r'\brevisions?\b': ('version', ''),
           r'\bcontainers?\b': ('bucket', ''), r'\bcatalogues?\b': ('catalog', ''),
           r'\bpurged?\b': ('remove', ''), r'\bcorrupt(ed|ion)?\b': ('damaged', ''),
           r'\b(unavailable|unreachable)\b': ('away', ''), r'\bqueued\b': ('pending', ''),
           r'\bbelongs? into\b': ('belong in', '')}

def said(tree: ast.Module) -> list[str]:
    "Texts for people: docstrings of what is public, and what errors and warnings say"
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and getattr(node, 'name', '')[:1] != '_':
            found.append(ast.get_docstring(node) or '')
        if isinstance(node, ast.Raise) or isinstance(node, ast.Call) and ast.unparse(node.func) == 'warnings.warn':
            found += [c.value for c in ast.walk(node) if isinstance(c, ast.Constant) and isinstance(c.value, str)]
    return found

def strange(name: str, source: str) -> list[str]:
    "Words of a module for which another one stands everywhere else"
    texts = said(ast.parse(source))
    return [f'{name}: {m[0]!r}, and not {word!r}, in {text[:80]!r}' for pattern, (word, where) in INSTEAD.items()
            if not where or f'{where}/' not in name for text in texts
            for m in re.finditer(pattern, text, re.IGNORECASE)]

def test_one_word_stands_for_one_thing():
    modules = [p for p in PACKAGE.rglob('*.py') if p.name != '_modidx.py']
    found = [s for p in modules for s in strange(p.relative_to(PACKAGE).as_posix(), p.read_text())]
    assert len(modules) > 100 and not found, '\n'.join(found)
    planted = 'def purge(x):\n    "Remove a revision"\n    raise ValueError(f"{x} is corrupt")\n'
    assert len(strange('a.py', planted)) == 2
    assert strange('a.py', '"A directory"') and not strange('filesystem/a.py', '"A directory"')

def test_a_module_begins_with_what_it_is():
    "Its subtitle begins with the noun that people look for, and with no question"
    for p in PACKAGE.rglob('*.py'):
        first = (ast.get_docstring(ast.parse(p.read_text())) or '').splitlines()[:1]
        if p.name in ('_modidx.py', '__init__.py', '__main__.py'): continue
        assert first and not re.match(r'(What|How|Where|Who|Why|When|Which|Whether)\b', first[0]), (p, first)
