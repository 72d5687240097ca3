"How the project hangs together: imports run one way, modules are what their notebooks say, nothing committed is stale"
import ast, json, os, re, shutil, subprocess, sys
from functools import lru_cache
from pathlib import Path
import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT/'objectstore'
NOTEBOOKS = sorted(p for p in (ROOT/'nbs').rglob('*.ipynb') if '.ipynb_checkpoints' not in p.parts)
BY_HAND = {'__init__', '_modidx'}          # of the package's files, those that come from no notebook
MODULES = sorted(p.stem for p in PACKAGE.glob('*.py') if p.stem not in BY_HAND)


@lru_cache
def notebook_of(module: str) -> str:
    "The notebook that a module was made from; its number is its place in the order of imports"
    found = re.search(r'File to edit: \.\./nbs/(.+\.ipynb)', (PACKAGE/f'{module}.py').read_text())
    assert found, f'objectstore/{module}.py comes from no notebook'
    return found[1]

def imported(source: str) -> set[str]:
    "The modules of this package that a source imports, at its head, in a function or for type checkers"
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import): names = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            head = '.'.join(filter(None, ['objectstore' if node.level else '', node.module]))
            names = [head, *(f'{head}.{a.name}' for a in node.names)]
        else: continue
        found |= {name.split('.')[1] for name in names if name.startswith('objectstore.')}
    return found & {*MODULES}


@pytest.mark.parametrize('module', MODULES)
def test_imports_run_one_way(module):
    upward = {m for m in imported((PACKAGE/f'{module}.py').read_text()) if notebook_of(m) >= notebook_of(module)}
    assert not upward, f'{notebook_of(module)} imports {", ".join(sorted(map(notebook_of, upward)))}: only lower numbers may be imported'

def test_an_upward_import_would_be_seen():
    last = max(MODULES, key=notebook_of)
    for source in f'from .{last} import x', f'from . import {last}', f'def f(): import objectstore.{last}', f'from objectstore.{last} import x':
        assert imported(source) == {last}

def test_modules_are_what_the_notebooks_say(tmp_path):
    "Deleted and exported again, in a copy"
    for name in ['nbs', 'pyproject.toml']:
        (shutil.copytree if (ROOT/name).is_dir() else shutil.copy)(ROOT/name, tmp_path/name)
    (tmp_path/'objectstore').mkdir()
    shutil.copy(PACKAGE/'__init__.py', tmp_path/'objectstore')
    env = {k: v for k, v in os.environ.items() if k != 'IN_TEST'}
    subprocess.run([Path(sys.executable).with_name('nbdev-export')], cwd=tmp_path, env=env, check=True)
    def contents(package): return {p.name: p.read_text() for p in package.glob('*.py')}
    here, again = contents(PACKAGE), contents(tmp_path/'objectstore')
    differ = sorted(name for name in here | again if here.get(name) != again.get(name))
    assert not differ, f'run nbdev-export, or delete what no notebook makes any more: {", ".join(differ)}'

def test_each_page_of_the_site_has_a_name_of_its_own():
    "Pages lie flat, without folder and number"
    made = {}
    for notebook in NOTEBOOKS: made.setdefault(re.sub(r'^[0-9]+[a-z]?_', '', notebook.stem), []).append(notebook.relative_to(ROOT).as_posix())
    assert not [some for some in made.values() if len(some) > 1]

def test_readme_is_fresh():
    subprocess.run([sys.executable, ROOT/'tools'/'readme.py', '--check'], check=True)

@pytest.mark.parametrize('notebook', NOTEBOOKS, ids=lambda p: p.relative_to(ROOT/'nbs').as_posix())
def test_notebook_is_clean(notebook):
    cells = json.loads(notebook.read_text())['cells']
    ran = [c['id'] for c in cells if c.get('outputs') or c.get('execution_count')]
    assert not ran, f'{notebook.name} was saved with outputs: run nbdev-clean'
