"""What a file system says late is no damage: mounts in user space that remember attributes, and the answers of SMB and
NFS.

The mounts are real (mergerfs, bindfs, unionfs: apt-get install mergerfs bindfs unionfs-fuse fuse3; as root). What SMB
answers
is played by `Smb`, between the library and a folder: it needs a server and a kernel of its own otherwise.
"""
import errno, io, os, shutil, subprocess, threading, time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
import numpy as np, pandas as pd, pytest
from objectstore import ObjectStore
from objectstore.storage import atomic
from objectstore.cache import download
from objectstore.storage.backend import number_key
from objectstore.cache.breaker import Breaker
from objectstore.storage.atomic import Foreign
from objectstore.storage.files import FileBackend
from objectstore.errors import Damaged, NotAvailableOffline, ObjectStoreError, StaleWarning
from objectstore.format.commit import check_unchanged, file_payload
from objectstore.cache.download import verify_file
from planting import spare
from trial import SOAK, soak

pytestmark = [pytest.mark.usefixtures('own_cache'),
              pytest.mark.skipif(os.name != 'posix', reason='file systems of Linux')]

def frame(i: int) -> pd.DataFrame: return pd.DataFrame({'x': np.random.default_rng(i).random(100_000)})

def at(folder, **more) -> ObjectStore:
    return ObjectStore(f'file://{folder}?shared=true', near=False, progress=False, **more)

def says(f, *args):
    "The answer of a call, or the name of its error"
    try: return f(*args)
    except (ObjectStoreError, OSError) as e: return f'{type(e).__name__}: {e}'

def judge(found: list, right: list) -> Counter:
    "How many frames are right, damaged, or ended in another error"
    return Counter('right' if not isinstance(x, str) and x.equals(y) else str(x).partition(':')[0] if isinstance(x, str)
                   else 'wrong' for x, y in zip(found, right))


# real mounts in user space

MOUNTS = dict(
    mergerfs=lambda a, m: ['mergerfs', a, m],
    bindfs=lambda a, m: ['bindfs', a, m],
    unionfs=lambda a, m: ['unionfs', f'{a}=RW', m],
)

@pytest.fixture(params=MOUNTS)
def mounted(request, tmp_path):
    "A folder of a file system in user space, or a skip that says why there is none"
    name, branch, point = request.param, tmp_path/'branch', tmp_path/'mounted'
    if not shutil.which(name): pytest.skip(f'no {name}: apt-get install mergerfs bindfs unionfs-fuse fuse3')
    if not os.path.exists('/dev/fuse') or os.geteuid():
        pytest.skip('only root may mount here, and /dev/fuse must be there')
    branch.mkdir(), point.mkdir()
    said = subprocess.run(MOUNTS[name](branch, point), capture_output=True, text=True)
    if said.returncode or not os.path.ismount(point):
        pytest.skip(f'{name} cannot be mounted here: {said.stderr.strip()[:200]}')
    yield point
    for command in (['fusermount3', '-u', point], ['umount', '-l', point]):
        if os.path.ismount(point): subprocess.run(command, capture_output=True)

def ten_frames(store, get=None) -> list:
    "Ten frames, each got as soon as it was put"
    found = []
    for i in range(10):
        store.put(f'lab/f{i}', frame(i))
        found.append(says(get or store.get, f'lab/f{i}'))
    return found

def test_frames_on_a_file_system_in_user_space(mounted, figure, request):
    """RELIABILITY.md 35: put and got at once, and later, when the attributes are read anew; as an origin, and as a
    near tier"""
    right, store = [frame(i) for i in range(10)], ObjectStore(str(mounted/'store'), near=False)
    assert store.origin.place.shared
    at_once = judge(ten_frames(store), right)
    if SOAK > 1: time.sleep(35)
    again = ObjectStore(str(mounted/'store'), near=False)
    download._verified.clear()
    later = judge([says(again.get, f'lab/f{i}') for i in range(10)], right)
    above = ObjectStore(str(mounted/'near'), str(mounted.parent/'origin'))
    near = judge(ten_frames(above), right)
    name = request.node.callspec.params['mounted']
    figure(f'35 ten frames on {name}', at_once=at_once['right'], later=later['right'], near=near['right'])
    assert at_once == later == near == {'right': 10}, (at_once, later, near)

def test_damage_on_a_file_system_in_user_space(mounted, monkeypatch, figure, request):
    "A flipped byte, a file cut short, another's file in its place: found, each"
    monkeypatch.setattr(download, 'PATIENCE', 0.2)
    store = ObjectStore(str(mounted/'store'), near=False)
    for i in range(4): store.put(f'lab/f{i}', frame(i))
    harm(store, mounted/'store')
    for i in range(3):
        with pytest.raises(Damaged): ObjectStore(str(mounted/'store'), near=False).get(f'lab/f{i}')
    assert store.get('lab/f3').equals(frame(3))
    figure(f'35 damage on {request.node.callspec.params["mounted"]}', planted=3, found=3)

def payload(store, folder, i: int) -> Path:
    hash = store[f'lab/f{i}'].hash
    return next(p for p in Path(folder).rglob(f'{hash}-*') if '.tmp' not in p.name)

def harm(store, folder) -> None:
    "A flipped byte in the first payload, the second cut short, the third swapped for another"
    flipped, short, swapped, whole = (payload(store, folder, i) for i in range(4))
    for p in (flipped, short, swapped): os.chmod(p, 0o600)
    data = bytearray(flipped.read_bytes())
    data[len(data) // 2] ^= 1
    flipped.write_bytes(data)
    os.truncate(short, short.stat().st_size // 2)
    other = whole.read_bytes()
    os.unlink(swapped)
    swapped.write_bytes(other)

def stamps_only(path, hash, size=None, patience=0.0) -> None:
    "What it was before: another stamp is damage"
    now = download.stamp(path)
    with download.open(path, 'rb') if hasattr(download, 'open') else open(path, 'rb') as f:
        found = download.blake3(f.read()).hexdigest()
    if found != hash or download.stamp(path) != now: raise Damaged(f'the bytes of {path} are not those that were put')

def test_planted_stamps_only_is_caught(mounted, monkeypatch):
    "A stamp that moves while a file is hashed is called damage"
    monkeypatch.setattr(download, 'verify_file', stamps_only)
    found = judge(ten_frames(ObjectStore(str(mounted/'store'), near=False)), [frame(i) for i in range(10)])
    assert found['Damaged'] > 0 and found['wrong'] == 0


# what SMB answers

class Smb:
    "Between the library and a folder: what a Linux client of SMB answers with its default options"
    def __init__(self, folder, monkeypatch, late: int = 3):
        self.folder, self.late, self.real, self.told, self.moves = str(folder), late, {
            n: getattr(os, n) for n in ('open', 'link', 'unlink')}, Counter(), Counter()
        # name: how many of its openings are still answered EINVAL, once the draft is gone
        self.linked: dict[str, int] = {}
        self.drafts: dict[str, str] = {}         # draft: the name that it was given
        self.fresh: set[str] = set()             # files whose times move when a handle is closed
        self.lock = threading.Lock()
        for name in self.real: monkeypatch.setattr(os, name, spare(getattr(self, name)))     # `told` says what was met
        monkeypatch.setattr(download, 'open', spare(self.file), raising=False)     # before the built-in one

    def ours(self, path) -> bool: return str(path).startswith(self.folder)

    def link(self, src, dst, **more):
        self.real['link'](src, dst, **more)
        if self.ours(dst):
            with self.lock: self.linked[str(dst)], self.drafts[str(src)] = self.late, str(dst)

    def unlink(self, path, **more):
        with self.lock: self.drafts.pop(str(path), None)
        self.real['unlink'](path, **more)

    def _opened(self, path) -> None:
        "Opening a name that was just linked"
        with self.lock:
            left = self.linked.get(str(path), 0)
            if not left: return
            if str(path) not in self.drafts.values(): self.linked[str(path)] = left - 1
            self.told['EINVAL'] += 1
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), str(path))

    def open(self, path, how, *mode, **more):
        if self.ours(path):
            if how & getattr(os, 'O_TMPFILE', 0) == getattr(os, 'O_TMPFILE', -1):
                raise OSError(errno.EOPNOTSUPP, 'no O_TMPFILE')
            if not how & os.O_CREAT: self._opened(path)
        return self.real['open'](path, how, *mode, **more)

    def file(self, path, mode='r', buffering=-1, **more):
        "The builtin `open`, for what hashes files"
        if not self.ours(path) or 'r' not in mode: return open(path, mode, buffering, **more)
        self._opened(path)
        smb = self
        class Handle(io.FileIO):
            def close(self):
                if self.closed: return
                super().close()
                smb.closed(str(path))
        return Handle(path, 'r')

    def later(self) -> None:
        "Half a minute has gone: the next handle that is closed moves the times of its file"
        self.fresh = {str(p) for p in Path(self.folder).rglob('payloads/*/*')}

    def closed(self, path: str) -> None:
        if path not in self.fresh: return
        self.fresh.discard(path)
        st = os.stat(path)
        os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns + 1000))
        self.moves['mtime'] += 1

@pytest.fixture
def smb(tmp_path, monkeypatch): return Smb(tmp_path/'share', monkeypatch)

def test_frames_on_smb(smb, figure):
    "(b) put, got at once, and got again half a minute later, when closing the handle moves the file's times"
    right, store = [frame(i) for i in range(10)], at(smb.folder)
    at_once = judge(ten_frames(store), right)
    smb.later()
    download._verified.clear()
    later, third = (judge([says(store.get, f'lab/f{i}') for i in range(10)], right) for _ in range(2))
    figure('35 ten frames on what plays SMB', at_once=at_once['right'], later=later['right'], again=third['right'],
           einval=smb.told['EINVAL'], moved=smb.moves['mtime'])
    assert at_once == later == third == {'right': 10} and smb.told['EINVAL'] >= 20 and smb.moves['mtime'] == 10

def test_racing_puts_and_reads_on_smb(smb, figure):
    "(c) who opens a name that was just linked is answered EINVAL until the draft is gone, and three times more"
    stores = [at(smb.folder) for _ in range(3)]
    n = soak(10)
    stores[0].put('lab/m', 'first')
    def work(i): return [says(lambda: stores[i].put('lab/m', f'{i} {k}').version) for k in range(n)]
    with ThreadPoolExecutor(3) as pool: versions_given = sum(pool.map(work, range(3)), [])
    errors = [v for v in versions_given if isinstance(v, str)]
    found = [says(at(smb.folder).get, f'lab/m@{v}') for v in range(1, 3 * n + 2)]
    figure('35 racing puts on what plays SMB', puts=3 * n, errors=len(errors), reads=len(found),
           wrong=sum(': ' in x for x in found), einval=smb.told['EINVAL'])
    assert not errors and sorted(versions_given) == list(range(2, 3 * n + 2)) and smb.told['EINVAL'] >= 3 * n
    assert sorted(found[1:]) == sorted(f'{i} {k}' for i in range(3) for k in range(n))

def test_damage_on_smb(smb, monkeypatch):
    monkeypatch.setattr(download, 'PATIENCE', 0.3)
    store = at(smb.folder)
    for i in range(4): store.put(f'lab/f{i}', frame(i))
    harm(store, smb.folder)
    smb.later()
    for i in range(3):
        with pytest.raises(Damaged, match='not those that were put'): at(smb.folder).get(f'lab/f{i}')
    assert store.get('lab/f3').equals(frame(3))

def test_planted_stamps_only_is_caught_on_smb(smb, monkeypatch):
    store, right = at(smb.folder), [frame(i) for i in range(3)]
    for i in range(3): store.put(f'lab/f{i}', frame(i)); store.get(f'lab/f{i}')
    smb.later()
    monkeypatch.setattr(download, 'verify_file', stamps_only)
    assert judge([says(store.get, f'lab/f{i}') for i in range(3)], right) == {'Damaged': 3} and smb.moves['mtime'] == 3

def test_planted_einval_is_foreign_is_caught(smb, monkeypatch):
    "What it was: the answer of a moment is taken for something that somebody put there"
    monkeypatch.setattr(atomic, 'is_late', lambda e: isinstance(e, atomic.Short))
    store = at(smb.folder)
    said = [says(store.put, 'lab/m', 'x'), says(at(smb.folder).get, 'lab/m')]
    assert any('Invalid argument' in str(x) for x in said) and smb.told['EINVAL'] > 0


# late answers of any call, on a volume and on a disk

class Late:
    "The first calls to the system of some kinds, on names that hold a word, are answered by an error"
    def __init__(self, monkeypatch, folder, code: int, times: int, word: str = '',
                 names=('open', 'lstat', 'scandir', 'listdir', 'unlink', 'link')):
        self.folder, self.code, self.left, self.word, self.told = str(folder), code, Counter({
            n: times for n in names}), word, Counter()
        for name in names: monkeypatch.setattr(os, name, spare(self._wrap(name, getattr(os, name))))
    def _wrap(self, name, real):
        def call(*args, **more):
            path = str(args[1] if name == 'link' else args[0]) if args else ''
            if path.startswith(self.folder) and self.word in path and self.left[name]:
                self.left[name] -= 1
                self.told[name] += 1
                raise OSError(self.code, os.strerror(self.code), path)
            return real(*args, **more)
        return call

VERBS = dict(read=lambda b: b.read('a/b') == b'x', stream=lambda b: b''.join(b.stream('a/b')) == b'x',
             exists=lambda b: b.exists('a/b'), path=lambda b: b.path('a/b') is not None,
             list=lambda b: [e.key for e in b.list('a/')] == ['a/b', f'a/{number_key(1)}']
             or [e.key for e in b.list('a/')], folders=lambda b: b.folders('') == ['a'],
             tail=lambda b: len(b.tail('a/')) == 1,
             create=lambda b: b.create('a/c', b'y') is True and b.read('a/c') == b'y',
             upload=lambda b: b.upload('a/d', Path(__file__)) is None and b.exists('a/d'),
             create_many=lambda b: b.create_many([('a/e', b'y'), ('c/f', b'z')]) == [True, True]
             and b.read('c/f') == b'z', delete=lambda b: b.delete('a/b') is None and not b.exists('a/b'))

@pytest.mark.parametrize('code', ['EINVAL', 'ESTALE', 'EIO'])
@pytest.mark.parametrize('verb', VERBS)
def test_a_late_answer_is_asked_for_again(verb, code, tmp_path, monkeypatch):
    "Twice of each call to the system: the answer is the right one; a local disk is asked once"
    for shared in (True, False):
        ready = FileBackend(tmp_path/f'{shared}', shared=shared)
        assert ready.create('a/b', b'x') and ready.create(f'a/{number_key(1)}', b'1')
        with monkeypatch.context() as m:
            late = Late(m, tmp_path/f'{shared}', getattr(errno, code), 2)
            b = FileBackend(ready.url, shared=shared)
            said = says(VERBS[verb], b)
            assert sum(late.told.values()) >= 1
            if shared: assert said and not isinstance(said, str), said

@pytest.mark.parametrize('code', ['EINVAL', 'ESTALE', 'EIO'])
def test_a_volume_that_goes_on_so_is_away(code, tmp_path, monkeypatch):
    "Two seconds, then `ConnectionError`; never damage, never something foreign"
    b = FileBackend(tmp_path/'v', shared=True, patience=0.1)
    b.create('a/b', b'x')
    Late(monkeypatch, tmp_path/'v', getattr(errno, code), 10**9)
    other = FileBackend(b.url, shared=True, patience=0.1)
    for f in (lambda: b.read('a/b'), lambda: [*b.stream('a/b')], lambda: other.exists('a/b'), lambda: [*b.list('a/')],
              lambda: b.delete('a/b'), lambda: b.create('a/c', b'')):
        with pytest.raises(ConnectionError) as e: f()
        assert atomic.errnos('EHOSTDOWN') == {e.value.errno} and os.strerror(getattr(errno, code)) in str(e.value)

def test_a_disk_means_what_it_says(tmp_path, monkeypatch):
    b = FileBackend(tmp_path/'v', shared=False)
    b.create('a/b', b'x')
    late = Late(monkeypatch, tmp_path/'v', errno.EIO, 10**9)
    with pytest.raises(OSError) as e: b.read('a/b')
    assert e.value.errno == errno.EIO and not isinstance(e.value, ConnectionError) and late.told['open'] == 1

def test_away_means_near_copies_and_the_breaker(tmp_path, monkeypatch):
    "The volume answers ESTALE for good: what is near is given, and says that it may be old; puts wait"
    monkeypatch.setattr(atomic, 'PATIENCE', 0.2)
    share = tmp_path/'share'
    store = ObjectStore(str(tmp_path/'near'), f'file://{share}?shared=true')
    store.origin.place.origin.inner.inner._patience = 0.2
    store.put('lab/m', 'x'), store.put('lab/f0', frame(0)), store.get('lab/f0')
    Late(monkeypatch, share, errno.ESTALE, 10**9)
    with pytest.warns(StaleWarning): assert store.get('lab/m') == 'x'
    assert store.get('lab/f0').equals(frame(0))
    assert store.origin.breaker.open and 'Stale file handle' in store.origin.breaker.why
    with pytest.warns(UserWarning, match='pending'): assert store.put('lab/m', 'y').pending
    with pytest.raises(NotAvailableOffline): store.get('lab/never-near')
    Breaker._all.clear()

def test_without_near_copies_it_is_not_available(tmp_path, monkeypatch):
    store = at(tmp_path/'share')
    store.put('lab/f0', frame(0))
    store.origin.place._patience = 0.1
    monkeypatch.setattr(download, 'PATIENCE', 0.1)
    Late(monkeypatch, tmp_path/'share', errno.EINVAL, 10**9, 'payloads/')
    with pytest.raises(NotAvailableOffline, match='Invalid argument'): store.get('lab/f0')

def test_what_is_foreign_is_still_named(tmp_path):
    "A pipe and a link in an object's place: at once, by a word of its own"
    store = at(tmp_path/'share')
    store.put('lab/m', 'x'), store.put('lab/n', 'x')
    for item, make in (('m', os.mkfifo), ('n', lambda p: os.symlink('/etc/passwd', p))):
        p = store.origin.place.path(store.origin.bucket('lab').key(item, 1))
        os.unlink(p)
        make(p)
        with pytest.raises(Damaged, match='did not put there'): at(tmp_path/'share').get(f'lab/{item}@1')
    with pytest.raises(Foreign): store.origin.place.read(store.origin.bucket('lab').key('m', 1))


# sizes, listings, and files of the user's

def test_a_size_that_is_told_late(tmp_path, monkeypatch):
    "The first looks at an open file see half of it"
    store = at(tmp_path/'share')
    v, left, real = store.put('lab/f0', frame(0)), [3], os.fstat
    def fstat(fd):
        st = real(fd)
        if left[0] and st.st_size > 100_000:
            left[0] -= 1
            return SimpleNamespace(st_mode=st.st_mode, st_size=st.st_size // 2)
        return st
    monkeypatch.setattr(os, 'fstat', fstat)
    backend, key = store.origin.place, next(e.key for e in store.origin.place.list('lab/payloads/'))
    with download.tempfile.TemporaryFile() as f:
        store.origin.bucket('lab').read_payload(v.hash, key.rpartition('-')[2], os.stat(backend.path(key)).st_size, f)
    assert not left[0]

def test_a_file_that_grows_late(tmp_path):
    "The whole of a payload shows a moment later; one that stays short is damage"
    p, data = tmp_path/'x', os.urandom(50_000)
    hash = download.blake3(data).hexdigest()
    p.write_bytes(data[:20_000])
    asked = []
    def grow(seconds):
        asked.append(seconds)
        p.write_bytes(data)
    real, atomic.time.sleep = atomic.time.sleep, grow
    try: verify_file(p, hash, len(data), 5.0)
    finally: atomic.time.sleep = real
    assert asked
    p.write_bytes(data[:20_000])
    with pytest.raises(OSError, match='has 20,000 bytes, not 50,000'): verify_file(p, hash, len(data), 0.05)
    with pytest.raises(Damaged): verify_file(p, hash)

def test_a_file_that_is_written_while_it_is_hashed(tmp_path, monkeypatch):
    "I4: its stamp moves and its bytes are others at the end: damage, not a success of the first hash"
    p = tmp_path/'x'
    p.write_bytes(b'right' * 10_000)
    hash, real, n = download.blake3(b'right' * 10_000).hexdigest(), download._hash, []
    def hashed(f, size):
        found = real(f, size)
        if not n: p.write_bytes(b'wrong' * 10_000)
        n.append(found)
        return found
    monkeypatch.setattr(download, '_hash', hashed)
    with pytest.raises(Damaged): verify_file(p, hash)
    assert n[0] == hash and len(n) > 1

def test_a_listing_that_is_late_loses_no_payload(tmp_path, monkeypatch):
    "A put confirms its payload by a listing: one that does not show it yet is asked again, and the number stands"
    store = at(tmp_path/'share')
    store.put('lab/m', 'x')
    late, real = [2], FileBackend.list
    def listed(self, folder, after=None, limit=None):
        if '/payloads/' in f'/{folder}' and late[0]: late[0] -= 1; return iter(())
        return real(self, folder, after, limit)
    monkeypatch.setattr(FileBackend, 'list', listed)
    v = store.put('lab/m', frame(0))
    assert (not late[0] and v.version == 2
            and not [e.key for e in real(store.origin.place, 'lab/records/') if '.' in e.key.rpartition('/')[2]])

def test_a_file_of_the_users_whose_times_move(tmp_path):
    "On a volume a stamp may move when a handle is closed: the same bytes are put; other bytes are refused"
    p = tmp_path/'x'
    p.write_bytes(os.urandom(100_000))
    found = file_payload(p)
    os.utime(p, (1, 1))
    check_unchanged(found)
    p.write_bytes(os.urandom(100_000))
    with pytest.raises(ObjectStoreError, match='was changed while it was being put'): check_unchanged(found)

def test_a_file_that_changes_while_it_is_hashed_for_a_put_is_refused(tmp_path):
    "Its stamp is taken before: else what is sent is not what was hashed, and never readable again"
    p = tmp_path/'x'
    p.write_bytes(bytes(3_000_000))
    def change(n, done=[]):
        if not done: done.append(n); p.write_bytes(b'x' * 3_000_000)
    found = file_payload(p, change)
    with pytest.raises(ObjectStoreError, match='was changed'): check_unchanged(found)
    p.write_bytes(b'small')
    small = file_payload(p, lambda n: p.write_bytes(b'other, and longer'))
    assert small.data.startswith(b'small') and download.blake3(small.data).hexdigest() == small.hash
