"How the project hangs together: imports run one way, modules are what their notebooks say, nothing committed is stale"
import ast, json, os, re, shutil, subprocess, sys
from functools import lru_cache
from pathlib import Path
import pytest
import objectstore

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT/'objectstore'
NOTEBOOKS = sorted(p for p in (ROOT/'nbs').rglob('*.ipynb') if '.ipynb_checkpoints' not in p.parts)
BY_HAND = {'__init__', '__main__', '_modidx'}          # of the package's files, those that come from no notebook
# from the ground up
PACKAGES = ['', 'storage', 'format', 'codecs', 'cache', 'search', 'care', 'versions', 'store', 'computed', 'filesystem',
            'browser', 'moving', 'testing', 'command']
WIDEST = 14                                # modules of a package
# what a module would hide
TAKEN = {'index', 'json', 'numpy', 'pandas', 'polars', 'copy', 'io', 'types', 'time', 'typing', 'map', 'filter'}


def name_of(path: Path) -> str:
    "`storage.files`"
    return '.'.join(path.relative_to(PACKAGE).with_suffix('').parts)

MODULES = sorted(name_of(p) for p in PACKAGE.rglob('*.py') if p.stem not in BY_HAND)

def path_of(module: str) -> Path: return PACKAGE/f'{module.replace(".", "/")}.py'

@lru_cache
def notebook_of(module: str) -> str:
    "The notebook that a module was made from; its number is its place in its package"
    found = re.search(r'File to edit: [./]*/nbs/(.+)\.ipynb', path_of(module).read_text())
    assert found, f'{path_of(module)} comes from no notebook'
    return found[1]

def rank(module: str) -> tuple[int, str]:
    "Where a module stands: its package, then the number of its notebook"
    return PACKAGES.index(module.rpartition('.')[0]), notebook_of(module)

def imported(source: str, module: str) -> set[str]:
    "The modules of this library that the source of a module imports: at its head, in a function, or for type checkers"
    inside, found = f'objectstore.{module}'.split('.')[:-1], set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import): names = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = inside[:len(inside) - node.level + 1] if node.level else []
            head = '.'.join([*above, *filter(None, [node.module])])
            names = [head, *(f'{head}.{a.name}' for a in node.names)]
        else: continue
        found |= {name.partition('.')[2] for name in names if name.startswith('objectstore.')}
    return found & {*MODULES}

# imported in the bodies of `lineage`, `calculated`, `browse`, `release` and `duckdb`, and for their types
ABOVE = {('versions.version', 'computed.lineage'), ('store.store', 'computed.freshness'),
         ('store.store', 'computed.mapping'), ('store.store', 'browser.browse'),
         ('store.store', 'browser.overview'), ('store.store', 'browser.widget'),
         ('store.store', 'filesystem.engines'), ('store.store', 'moving.releases')}

def upward(source: str, module: str) -> list[str]:
    "What a module imports that does not stand below it"
    return sorted(m for m in imported(source, module) if rank(m) >= rank(module) and (module, m) not in ABOVE)


@pytest.mark.parametrize('module', MODULES)
def test_imports_run_one_way(module):
    assert not (found := upward(path_of(module).read_text(), module)), \
        (f'{module} imports {", ".join(found)}: only what stands below may be imported, '
         'of a package below or by a lower number in its own')

def test_every_module_is_seen():
    "As many as there are notebooks that name one, each where its notebook says"
    exports = [m[1] for p in NOTEBOOKS if (m := re.search(r'#\|\s*default_exp (\S+?)(?:\\n)?"', p.read_text()))]
    assert len(exports) > 70 and sorted(exports) == MODULES
    assert {m.rpartition('.')[0] for m in MODULES} == {*PACKAGES}
    for m in MODULES:
        package, leaf = m.rpartition('.')[::2]
        assert re.fullmatch(rf'{re.escape(f"{package}/" if package else "")}\d\d[a-z]?_{leaf}',
                            notebook_of(m)), f'{m} is made from {notebook_of(m)}'

def test_imports_are_seen():
    "Each module but the lowest imports something, and all of it is known"
    assert sum(bool(imported(path_of(m).read_text(), m)) for m in MODULES) > len(MODULES) - 10

@pytest.mark.parametrize('module', ['refs', 'storage.files', 'format.records', 'store.writes'])
def test_an_upward_import_is_caught(module):
    "Planted in a package and between packages, in each form that Python knows"
    package = module.rpartition('.')[0]
    up = '.' * (2 if package else 1)
    last = max((m for m in MODULES if m.rpartition('.')[0] == package), key=rank).rpartition('.')[2]
    prefix, far = f'{package}.' if package else '', 'browser.browse'
    for source, found in [(f'from .{last} import x', prefix + last), (f'from . import {last}', prefix + last),
                          (f'def f(): import objectstore.{prefix}{last}', prefix + last),
                          (f'from {up}{far} import x', far), (f'from {up}browser import browse', far),
                          ('from objectstore.browser import browse', far),
                          (f'if TYPE_CHECKING:\n    from objectstore.{far} import x', far),
                          (f'from .{module.rpartition(".")[2]} import x', module)]:
        assert upward(source, module) == [found], source

def test_packages_are_small_and_say_what_they_hold():
    for package in PACKAGES:
        own = [m for m in MODULES if m.rpartition('.')[0] == package]
        assert 0 < len(own) <= WIDEST, f'{package or "objectstore"} has {len(own)} modules'
        assert ast.get_docstring(ast.parse((PACKAGE/package/'__init__.py').read_text()))

def about(package: str) -> list[str]:
    "The cells of the first page of a package"
    cells = json.loads((ROOT/'nbs'/package/f'00_about_{package}.ipynb').read_text())['cells']
    return [''.join(c['source']) for c in cells]

@pytest.mark.parametrize('package', PACKAGES[1:])
def test_the_first_page_of_a_package_shows_its_pages_in_order(package):
    "A row for each notebook: link, module, and a sentence"
    rows = re.findall(r'^\| \[[^]]+\]\(([^)/]+)\) \| `([a-z_.]+)` \| [\w`].{10,}\. \|$', '\n'.join(about(package)),
                      re.MULTILINE)
    own = sorted((m for m in MODULES if m.rpartition('.')[0] == package), key=rank)
    assert rows == [(f'{notebook_of(m).rpartition("/")[2]}.ipynb', m)
                    for m in own], f'nbs/{package}/00_about_{package}.ipynb does not list what the package has'

@pytest.mark.parametrize('package', PACKAGES[1:])
def test_the_first_page_of_a_package_says_what_it_may_import(package):
    may = next(c for c in about(package) if c.startswith('## What it may import'))
    allowed = {package, '', *re.findall(r'`([a-z]+)`', may)} & {*PACKAGES}
    for m in (m for m in MODULES if m.rpartition('.')[0] == package):
        found = {i.rpartition('.')[0] for i in imported(path_of(m).read_text(), m) if (m, i) not in ABOVE}
        assert found <= allowed, (f'{m} imports {", ".join(sorted(found - allowed))}, which the first page of '
                                  f'{package} does not allow')

def test_no_two_modules_have_one_name():
    leaves = [m.rpartition('.')[2] for m in MODULES]
    assert len({*leaves}) == len(leaves) and not {*leaves} & TAKEN

def test_what_is_public_is_what_dir_shows():
    assert [n for n in dir(objectstore) if n != '__version__'] == sorted(objectstore.__all__)
    assert not [n for n in objectstore.__all__ if not hasattr(objectstore, n)]

def test_modules_are_what_the_notebooks_say(tmp_path):
    "Deleted and exported again, in a copy"
    for name in ['nbs', 'pyproject.toml']:
        (shutil.copytree if (ROOT/name).is_dir() else shutil.copy)(ROOT/name, tmp_path/name)
    for p in [*PACKAGE.rglob('__init__.py'), PACKAGE/'__main__.py']:
        (tmp_path/p.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(p, tmp_path/p.relative_to(ROOT))
    env = {k: v for k, v in os.environ.items() if k != 'IN_TEST'}
    subprocess.run([Path(sys.executable).with_name('nbdev-export')], cwd=tmp_path, env=env, check=True)
    def contents(package): return {p.relative_to(package).as_posix(): p.read_text() for p in package.rglob('*.py')}
    here, again = contents(PACKAGE), contents(tmp_path/'objectstore')
    differ = sorted(name for name in here | again if here.get(name) != again.get(name))
    assert not differ, f'run nbdev-export, or delete what no notebook makes any more: {", ".join(differ)}'

def test_readme_is_fresh():
    subprocess.run([sys.executable, ROOT/'tools'/'readme.py', '--check'], check=True)

@pytest.mark.parametrize('notebook', NOTEBOOKS, ids=lambda p: p.relative_to(ROOT/'nbs').as_posix())
def test_notebook_is_clean(notebook):
    cells = json.loads(notebook.read_text())['cells']
    ran = [c['id'] for c in cells if c.get('outputs') or c.get('execution_count')]
    assert not ran, f'{notebook.name} was saved with outputs: run nbdev-clean'
