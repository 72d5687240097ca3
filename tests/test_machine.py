"""Machines without a cache, a state folder, a home, a name; two users of a group; folders that become links"""
import os, shutil, stat, subprocess, sys, tempfile, warnings
from pathlib import Path
import numpy as np, pandas as pd, pytest
from objectstore import ObjectStore
from objectstore.storage import files
from objectstore.cache import machine, outbox
from objectstore.storage.files import FileBackend
from objectstore.cache.machine import _safe, _said
from objectstore.errors import Damaged, PendingWarning, Unsupported

BIG, FRAME = os.urandom(300_000), pd.DataFrame({'x': np.arange(30_000.0)})
as_root = pytest.mark.skipif(os.name != 'posix' or bool(os.geteuid()), reason='only root may become another user')

@pytest.fixture(autouse=True)
def fresh(tmp_path, monkeypatch):
    monkeypatch.setenv('OBJECTSTORE_STATE_DIR', str(tmp_path/'state'))
    monkeypatch.setenv('OBJECTSTORE_CACHE_DIR', str(tmp_path/'cache'))
    _said.clear(), _safe.clear()
    monkeypatch.chdir(tmp_path)
    return tmp_path

@pytest.fixture
def everybodys():
    "A folder that other users may reach"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as d:
        os.chmod(d, 0o755)
        for p in Path(d).parents:
            if not p.stat().st_mode & 0o001: pytest.skip(f'{p} is closed to other users')
        yield Path(d)

def all_verbs(store) -> None:
    "What a store does, with large and small, in a place of its own"
    store.put('lab/m', 1), store.put('lab/big', BIG), store.put('lab/f', FRAME)
    for _ in range(3):
        assert store.get('lab/f').equals(FRAME) and store.get('lab/big') == BIG and store.get('lab/m') == 1
    assert store['lab/big'].path().read_bytes() == BIG and len(store.find_items('lab')) == 3
    store.status()
    repr(store)
    store.explain('lab/m')
    store.set_alias('lab/m@1', 'best')
    store.annotate( 'lab/m', {'a': 1})
    assert store.copy('lab/m', 'lab/n').version == 1 and store.remove('lab/n@1') == 1

def told(f) -> list[str]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter('always')
        f()
    return [str(w.message) for w in found if issubclass(w.category, UserWarning)
            and 'is a new store' not in str(w.message)]

@pytest.mark.parametrize('which', ['CACHE', 'STATE'])
@pytest.mark.parametrize('kind', ['a_file', 'below_a_file', 'dangling'])
def test_a_folder_that_cannot_be_made(fresh, monkeypatch, which, kind):
    "Every verb goes on; one warning, which names the variable"
    (fresh/'x').write_text('a file') if kind != 'dangling' else (fresh/'x').symlink_to('/proc/nothing/here')
    monkeypatch.setenv(f'OBJECTSTORE_{which}_DIR', str(fresh/'x'/'y' if kind == 'below_a_file' else fresh/'x'))
    said = told(lambda: (all_verbs(ObjectStore('local')), all_verbs(ObjectStore('near', 'origin')),
                         all_verbs(ObjectStore('memory://')), all_verbs(ObjectStore('local2'))))
    assert len(said) == 1 and f'OBJECTSTORE_{which}_DIR' in said[0] and 'of your own' in said[0], said
    if which == 'STATE':
        status = ObjectStore('local').status()
        assert 'lasts as long as this process' in status['index'] and 'OBJECTSTORE_STATE_DIR' in status['index']

def test_planted_the_folder_is_taken_for_granted(fresh, monkeypatch):
    from objectstore.storage import config
    from objectstore.cache import mapped
    (fresh/'x').write_text('a file')
    monkeypatch.setenv('OBJECTSTORE_CACHE_DIR', str(fresh/'x'))
    monkeypatch.setattr(mapped, 'cache_folder', config.cache_dir)
    with pytest.raises(OSError): all_verbs(ObjectStore('local'))

def test_nothing_is_pending_where_it_is_not_safe(fresh, monkeypatch):
    "Told at the first call, by status(), and by the put itself"
    monkeypatch.setattr(machine, 'of_this_machine', lambda path: False)
    store = ObjectStore('near', 'origin')
    said = told(lambda: store.put('lab/m', 1))
    assert len(said) == 1 and 'network file system' in said[0] and 'OBJECTSTORE_STATE_DIR' in said[0], said
    assert 'network file system' in repr(store.status()) and 'nothing can be pending' in repr(store.status())
    with pytest.raises(Unsupported, match='OBJECTSTORE_STATE_DIR'):
        ObjectStore('near', 'origin', offline=True).put('lab/m', 2)
    assert told(lambda: ObjectStore('near', 'origin', readonly=True).get('lab/m')) == []

def test_planted_a_queue_on_a_network(fresh, monkeypatch):
    "What is judged by the type alone is found by the check"
    monkeypatch.setattr(machine, 'of_this_machine', lambda path: False)
    monkeypatch.setattr(outbox, 'why_not_here', lambda path: '')
    # kept where another machine may deliver it too
    with pytest.warns(PendingWarning): assert ObjectStore('near', 'origin', offline=True).put('lab/m', 2).pending

@as_root
def test_a_user_without_home_and_name(everybodys):
    """As a number that nobody has, without HOME: explicit folders work; without them every verb does, and nothing is
    made in the present folder"""
    fresh = everybodys
    (fresh/'own').mkdir(), os.chown(fresh/'own', 54321, 54321)
    script = f'''
import os, sys, tempfile, warnings
import configparser
from objectstore import ObjectStore
from objectstore.cache import machine
def work(near, store):
    s = ObjectStore(store)
    s.put('lab/m', 1); s.put('lab/big', bytes(300_000))
    assert s.get('lab/m') == 1 and len(s['lab/big'].path().read_bytes()) == 300_000 and len(s.find_items('lab')) == 2
    t = ObjectStore(near, store); assert t.get('lab/m') == 1
given = {{k: os.environ.pop(k) for k in [*os.environ] if k.startswith('OBJECTSTORE_')}}
# what is imported late is in memory now: another user may not read it
with tempfile.TemporaryDirectory() as d, warnings.catch_warnings():
    warnings.simplefilter('ignore')
    os.environ.update(OBJECTSTORE_CACHE_DIR=d + '/c', OBJECTSTORE_STATE_DIR=d + '/s')
    work(d + '/near', d + '/store')
    for k in ('OBJECTSTORE_CACHE_DIR', 'OBJECTSTORE_STATE_DIR'): del os.environ[k]
os.environ.update(given)
machine._said.clear()
os.setgroups([]); os.setgid(54321); os.setuid(54321)
os.chdir({str(fresh/'own')!r})
with warnings.catch_warnings(record=True) as found:
    warnings.simplefilter('always', UserWarning)
    work('near', 'store')
    try: ObjectStore()
    except ValueError as e: assert 'no home' in str(e)
    else: raise SystemExit('a store was made somewhere')
print([str(w.message) for w in found if issubclass(w.category, UserWarning)])
print(sorted(os.listdir('.')))
'''
    def run(**more):
        env = {k: v for k, v in os.environ.items() if k not in ('HOME', 'USER', 'LOGNAME', 'LNAME', 'USERNAME')
               and not k.startswith(('XDG_', 'OBJECTSTORE_'))}
        said = subprocess.run([sys.executable, '-c', script], env=env | more, capture_output=True, text=True, cwd='/')
        assert not said.returncode, said.stderr
        return map(eval, said.stdout.splitlines())
    warned, files = run()
    warned = [w for w in warned if 'is a new store' not in w]
    assert (files == ['store'] and len(warned) == 2 and all('no home' in w for w in warned)
            and 'OBJECTSTORE_CACHE_DIR' in ''.join(warned) and 'OBJECTSTORE_STATE_DIR' in ''.join(warned)), (
                warned, files)
    shutil.rmtree(fresh/'own'/'store')
    warned, files = run(OBJECTSTORE_CACHE_DIR=str(fresh/'own'/'cache'), OBJECTSTORE_STATE_DIR=str(fresh/'own'/'state'))
    assert [w for w in warned if 'is a new store' not in w] == [] and files == ['cache', 'near', 'state', 'store']


# two users of a group

def as_user(uid: int, gid: int, umask: int, f) -> str:
    "What a function says in a process of another user"
    r, w = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.setgroups([gid]), os.setgid(gid), os.setuid(uid), os.umask(umask)
            said = f() or ''
        except BaseException as e: said = f'{type(e).__name__}: {e}'
        os.write(w, said.encode()[:60_000])
        os._exit(0)
    os.close(w)
    os.waitpid(pid, 0)
    return os.read(r, 60_000).decode()

@pytest.fixture
def share(everybodys):
    (everybodys/'share').mkdir()
    return everybodys/'share'

ANN, BOB, LAB = 61001, 61002, 61100

def put(share, n): return lambda: FileBackend(share/'store').create(f'lab/x/{n}', b'x') and 'kept'

@as_root
def test_a_second_user_of_a_group(share):
    "Without setgid and umask 002 the second one is refused, with words; with them both write and read"
    os.chown(share, ANN, LAB)
    assert as_user(ANN, ANN, 0o022, put(share, 'a')) == 'kept'
    said = as_user(BOB, LAB, 0o022, put(share, 'b'))
    assert (said.startswith('PermissionError') and f'belongs to {ANN}, group {ANN}, drwxr-xr-x' in said
            and 'umask 002' in said and 'chmod g+rws' in said), said
    shutil.rmtree(share/'store')
    os.chmod(share, 0o2775)
    assert as_user(ANN, LAB, 0o002, put(share, 'a')) == as_user(BOB, LAB, 0o002, put(share, 'b')) == 'kept'
    assert as_user(ANN, LAB, 0o002, lambda: FileBackend(share/'store').read('lab/x/b').decode()) == 'x'
    assert {stat.filemode(os.stat(p).st_mode) for p in (share/'store', share/'store'/'lab')} == {'drwxrwsr-x'}

@as_root
def test_one_whose_umask_hides_what_they_put(share):
    os.chown(share, ANN, LAB), os.chmod(share, 0o2775)
    assert as_user(ANN, LAB, 0o007, put(share, 'a')) == 'kept'
    os.chmod(share/'store'/'lab'/'x'/'a', 0o400)       # as with umask 077
    said = as_user(BOB, LAB, 0o002, lambda: FileBackend(share/'store').read('lab/x/a').decode())
    assert '-r--------' in said and 'umask 002' in said, said

def test_ones_own_mistake_names_no_group(fresh):
    "A read-only folder of one's own says nothing of groups"
    assert (machine and FileBackend(fresh)._said(PermissionError(13, 'Permission denied', str(fresh)), 'a').strerror
            == 'Permission denied')


# links

def test_a_folder_that_becomes_a_link_while_the_store_is_open(fresh, monkeypatch):
    store = ObjectStore('store', near=False)
    store.put('lab/m', 1)
    folder = next(Path('store').rglob('records'))
    (fresh/'elsewhere').mkdir()
    shutil.copytree(folder, fresh/'elsewhere'/'records')
    shutil.rmtree(folder)
    folder.symlink_to(fresh/'elsewhere'/'records')
    before = sorted((fresh/'elsewhere').rglob('*'))
    store.origin.place._seen.update(dict.fromkeys(store.origin.place._seen, 0.0))      # a second later
    with pytest.raises((Damaged, OSError), match='link'): store.put('lab/m', 2)
    with pytest.raises((Damaged, OSError), match='link'): ObjectStore('store', near=False).get('lab/m@1')
    with pytest.raises((Damaged, OSError), match='link'):
        store.origin.place.read(store.origin.bucket('lab').key('m', 1))
    assert sorted((fresh/'elsewhere').rglob('*')) == before

def test_planted_a_folder_is_believed_for_ever(fresh, monkeypatch):
    monkeypatch.setattr(files, 'SEEN', 10.0**9)
    b = FileBackend('x')
    b.create('a/b', b'x')
    Path('x/a').rename('other'), Path('x/a').symlink_to(fresh/'other')
    assert b.create('a/c', b'y') and (fresh/'other'/'c').exists()     # followed
    monkeypatch.setattr(files, 'SEEN', 0.0)
    b = FileBackend('x2')
    b.create('a/b', b'x')
    Path('x2/a').rename('other2'), Path('x2/a').symlink_to(fresh/'other2')
    with pytest.raises(OSError, match='never followed'): b.create('a/c', b'y')
    assert not (fresh/'other2'/'c').exists()
