"What a record says of how it was made: against git itself, in odd places, cheaply, and without secrets"
import getpass, json, os, shutil, subprocess, sys, threading, time
from pathlib import Path

import pytest

import objectstore.provenance as provenance, objectstore.environment as environment
from objectstore.provenance import git_commit, git_root, made_by
from planting import spare

ROOT = str(Path(provenance.__file__).parents[1])
needs_git = pytest.mark.skipif(not shutil.which('git'), reason='git is not installed')

@pytest.fixture(autouse=True)
def quiet():
    "What a test plants here is not remembered"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv('JPY_SESSION_NAME', raising=False)
        yield
    for f in (provenance._who, provenance._place, provenance._version, provenance._versions): f.cache_clear()

def git(folder, *args):
    env = dict(os.environ, GIT_CONFIG_GLOBAL=os.devnull, GIT_CONFIG_SYSTEM=os.devnull, GIT_AUTHOR_NAME='a',
               GIT_AUTHOR_EMAIL='a@b', GIT_COMMITTER_NAME='a', GIT_COMMITTER_EMAIL='a@b')
    return subprocess.run(['git', '-c', 'protocol.file.allow=always', *args], cwd=folder, check=True,
                          capture_output=True, text=True, env=env).stdout.strip()

@pytest.fixture
def repo(tmp_path):
    r = tmp_path/'home/ana/churn'; (r/'nbs').mkdir(parents=True)
    git(r, 'init', '-q', '-b', 'main'); git(r, 'commit', '-q', '--allow-empty', '-m', 'x')
    return r

def ours(folder): return git_commit(git_root(str(folder))[1])

@needs_git
def test_the_same_as_git(repo):
    def same(folder=repo): assert ours(folder) == git(folder, 'rev-parse', 'HEAD')
    same(); same(repo/'nbs')
    git(repo, 'pack-refs', '--all'); same()
    git(repo, 'commit', '-q', '--allow-empty', '-m', 'y'); same()
    git(repo, 'checkout', '-q', '-b', 'feature/deep/er'); git(repo, 'commit', '-q', '--allow-empty', '-m', 'z'); same()
    git(repo, 'pack-refs', '--all'); same()
    git(repo, 'checkout', '-q', '--detach', 'main'); same()
    git(repo, 'worktree', 'add', '-q', '-b', 'side', str(repo.parent/'side'))
    git(repo.parent/'side', 'commit', '-q', '--allow-empty', '-m', 'w')
    same(repo.parent/'side')
    same()
    git(repo, 'submodule', 'add', '-q', str(repo), 'sub'); same(repo/'sub')

@needs_git
def test_before_the_first_commit_and_outside(tmp_path):
    git(tmp_path, 'init', '-q')
    assert ours(tmp_path) is None
    shutil.rmtree(tmp_path/'.git')
    if git_root('/tmp') is None: assert git_root(str(tmp_path)) is None

@needs_git
def test_a_commit_in_the_meantime_is_seen(repo, monkeypatch):
    monkeypatch.chdir(repo); monkeypatch.setenv('JPY_SESSION_NAME', str(repo/'nbs/a.ipynb'))
    for step in (['commit', '-q', '--allow-empty', '-m', 'b'], ['pack-refs', '--all'],
                 ['checkout', '-q', '-b', 'other'], ['commit', '-q', '--allow-empty', '-m', 'c'],
                 ['checkout', '-q', 'main']):
        git(repo, *step)
        assert made_by()['commit'] == git(repo, 'rev-parse', 'HEAD'), step
    assert made_by()['where'] == 'nbs/a.ipynb'

def test_a_hostile_git_folder(tmp_path):
    secret = tmp_path/'secret'; secret.write_text('CANARY' * 7)
    g = tmp_path/'r/.git'; g.mkdir(parents=True)
    for head in ('ref: ../../secret', 'ref: refs/../../../secret', f'ref: {secret}', 'x' * 10**6, '', '\x00',
                 'ref: refs/heads/\x00', 'ref: refs/' + 'a' * 5000, 'ref: refs/heads/.invalid'):
        (g/'HEAD').write_text(head)
        assert git_commit(str(g)) is None, head[:40]
    (g/'HEAD').write_bytes(b'\xff\xfe'); assert git_commit(str(g)) is None
    (g/'HEAD').unlink(); os.mkfifo(g/'HEAD'); assert git_commit(str(g)) is None
    (g/'HEAD').unlink(); (g/'HEAD').symlink_to('HEAD'); assert git_commit(str(g)) is None
    shutil.rmtree(g); g.write_text('gitdir: /nonexistent\n'); assert ours(tmp_path/'r') is None
    g.write_text('gitdir: \x00'); assert ours(tmp_path/'r') is None

def run(args, cwd, **kw):
    env = dict(os.environ, PYTHONPATH=ROOT, AWS_SECRET_ACCESS_KEY='CANARY', OBJECTSTORE_TOKEN='CANARY')
    env.pop('JPY_SESSION_NAME', None)
    return subprocess.run([sys.executable, *args], cwd=cwd, env=env, capture_output=True, text=True, check=True,
                          **kw).stdout

SHOW = 'import json, objectstore.provenance as c; print(json.dumps(c.made_by()))'

@needs_git
def test_scripts_modules_and_pipes(repo, tmp_path):
    (repo/'nbs/train.py').write_text(SHOW)
    (repo/'pkg').mkdir()
    (repo/'pkg/__init__.py').touch()
    (repo/'pkg/__main__.py').write_text(SHOW)
    (tmp_path/'alone.py').write_text(SHOW)
    def where(args, cwd, **kw):
        text = run(args, cwd, **kw); made = json.loads(text)
        assert 'CANARY' not in text and str(tmp_path) not in text and 'home/ana' not in text
        return made['where'], 'commit' in made
    assert where(['nbs/train.py'], repo) == ('nbs/train.py', True)
    assert where(['train.py'], repo/'nbs') == ('nbs/train.py', True)
    assert where([str(repo/'nbs/train.py')], tmp_path) == ('nbs/train.py', True)
    assert where(['-m', 'pkg'], repo) == ('pkg/__main__.py', True)
    assert where(['-c', SHOW], repo) == ('python', True)
    assert where(['-'], repo, input=SHOW) == ('python', True)
    assert where([str(tmp_path/'alone.py')], repo)[0] == 'alone.py'

def test_spawned_workers_name_the_script(tmp_path):
    (tmp_path/'main.py').write_text('import multiprocessing as m, objectstore.provenance as c\nif __name__ == '
                                    '"__main__":\n    with m.get_context("spawn").Pool(1) as p: '
                                    'print(p.apply(c.made_by)["where"])')
    assert run(['main.py'], tmp_path).strip() == 'main.py'

def test_odd_surroundings(monkeypatch, tmp_path):
    gone = tmp_path/'gone'; gone.mkdir(); monkeypatch.chdir(gone); gone.rmdir()
    assert made_by()['who']
    monkeypatch.setattr(getpass, 'getuser', lambda: (_ for _ in ()).throw(KeyError('uid')))
    provenance._who.cache_clear()
    monkeypatch.delenv('JUPYTERHUB_USER', raising=False)
    assert made_by()['who'].startswith('uid-')
    monkeypatch.delitem(sys.modules, '__main__'); assert made_by()['where'] == 'python'
    monkeypatch.undo(); provenance._who.cache_clear()

def runs_in(monkeypatch, names):
    for module in (provenance, environment): monkeypatch.setattr(module, 'user_ns', lambda: names)

def test_notebooks(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('JPY_SESSION_NAME', '/home/ana/private/model.ipynb'); assert made_by()['where'] == 'model.ipynb'
    monkeypatch.setenv('JPY_SESSION_NAME', 'console-1-9f2e'); assert 'console' not in made_by()['where']
    runs_in(monkeypatch, {'__vsc_ipynb_file__': '/home/ana/vs.ipynb'}); assert made_by()['where'] == 'vs.ipynb'
    runs_in(monkeypatch, {'__vsc_ipynb_file__': 3}); assert made_by()['where'] == 'ipython'

def test_libraries_are_only_looked_at(monkeypatch):
    fake = type(sys)('lightgbm'); fake.__version__ = '9.9'
    monkeypatch.setitem(sys.modules, 'lightgbm', fake)
    provenance._version.cache_clear()
    provenance._versions.cache_clear()
    assert made_by()['libraries']['lightgbm']
    monkeypatch.setitem(sys.modules, 'catboost', None); assert 'catboost' not in made_by()['libraries']
    made_by()['libraries']['numpy'] = 'changed'; assert made_by()['libraries'].get('numpy') != 'changed'
    provenance._version.cache_clear(); provenance._versions.cache_clear()
    assert json.loads(json.dumps(made_by())) == made_by()

def test_no_subprocess(monkeypatch):
    def never(*a, **k): raise AssertionError('a process was started')
    for name in ('Popen', 'run'): monkeypatch.setattr(subprocess, name, spare(never))
    monkeypatch.setattr(os, 'system', spare(never))
    monkeypatch.setattr(os, 'fork', spare(never), raising=False)       # there is none on Windows
    provenance._place.cache_clear(); made_by()

def test_it_is_cheap():
    made_by()
    def once():
        t = time.perf_counter()
        for _ in range(100): made_by()
        return (time.perf_counter() - t) / 100
    assert min(once() for _ in range(20)) < 500e-6      # what asks a disk or starts a process takes longer

def test_threads():
    seen = []
    ts = [threading.Thread(target=lambda: seen.extend(made_by() for _ in range(50))) for _ in range(4)]
    for t in ts: t.start()
    for t in ts: t.join()
    assert len(seen) == 200 and all(s == seen[0] for s in seen)
