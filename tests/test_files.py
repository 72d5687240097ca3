"What only files can do wrong: crashes, full disks, links, pipes, power cuts, stale network clients"
import errno, os, random, signal, socket, stat, subprocess, threading, time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
import pytest
from objectstore.testing.backend_suite import MB, keys, pattern
from objectstore.storage import files
from objectstore.storage.backend import key_number, number_key
from objectstore.storage.atomic import PIECE
from objectstore.storage.files import FileBackend
from objectstore.errors import Unsupported
from planting import spare
from trial import soak

unix = pytest.mark.skipif(os.name == 'nt', reason='Unix only')
linux = pytest.mark.skipif(not os.path.isdir('/proc/self/fd'), reason='needs /proc')
as_root = pytest.mark.skipif(not hasattr(os, 'geteuid') or os.geteuid() != 0, reason='needs root to mount')


@pytest.fixture(params=['unnamed', 'named'])
def b(request, tmp_path, monkeypatch):
    "Files, with drafts that have no name and with drafts that have one"
    if request.param == 'named': monkeypatch.setattr('objectstore.storage.files.UNNAMED', False)
    return FileBackend(tmp_path/'root')

def below(b) -> list[str]:
    "Every file below the root, also those that listings skip"
    return sorted(str(p.relative_to(b.url)) for p in Path(b.url).rglob('*') if not p.is_dir())


# where things lie

def test_numbers_are_folded_by_hundreds(b):
    for n in (1, 99, 100, 12345): b.create(f'm/@/{number_key(n)}', b'x')
    b.create('m/@/0000000100.removed', b'x')
    assert below(b) == ['m/@/00000000/0000000001', 'm/@/00000000/0000000099', 'm/@/00000001/0000000100',
                        'm/@/00000001/0000000100.removed', 'm/@/00000123/0000012345']

@unix
def test_modes(tmp_path):
    old = os.umask(0o027)
    try:
        for private, folder, file in [(False, 0o750, 0o440), (True, 0o700, 0o600)]:
            b = FileBackend(tmp_path/f'root{private}', private=private)
            b.create('a/b', b'x')
            assert (stat.S_IMODE(os.stat(f'{b.url}/a').st_mode) == folder
                    and stat.S_IMODE(os.stat(f'{b.url}/a/b').st_mode) == file)
    finally: os.umask(old)

def test_opening_makes_nothing(tmp_path):
    b = FileBackend(tmp_path/'not'/'there')
    assert list(b.list('')) == [] == b.folders('') == b.tail('x/') and not b.exists('a') and b.sweep() == 0
    assert not (tmp_path/'not').exists()
    assert b.create('a', b'x') and (tmp_path/'not'/'there'/'a').read_bytes() == b'x'

def test_many_numbers_are_cheap(tmp_path, monkeypatch):
    b, n = FileBackend(tmp_path/'root', durable=False), soak(11_000, 25_000)
    assert all(b.create_many((f'm/@/{number_key(i)}', b'.') for i in range(1, n + 1)))
    looked = Counter()
    scandir = os.scandir
    # threads of other tests may look elsewhere
    monkeypatch.setattr(os, 'scandir', lambda p: looked.update([str(p)] if str(tmp_path) in str(p) else [])
                        or scandir(p))
    for known in (0, 7, n - 1, n, n + 500):
        looked.clear()
        assert key_number(b.tail('m/@/', known)[-1].key) == (n, None)
        assert sum(looked.values()) <= 12, looked     # the folder of sub-folders, and at most ten of those
    looked.clear()
    assert len(list(b.list('m/@/', after=f'm/@/{number_key(n - 150)}'))) == 150 and sum(looked.values()) <= 4
    assert len(list(b.list('m/'))) == n

def test_a_folder_that_vanishes_is_made_again(b):
    for _ in range(3):
        assert b.create(f'm/@/{number_key(1)}', b'x')
        assert b.create_many([(f'm/@/{number_key(2)}', b'y'), (f'm/n/@/{number_key(2)}', b'y')]) == [True, True]
        subprocess.run(['rm', '-r', b.url], check=True)

def test_an_empty_sub_folder_does_not_hide_the_end(b):
    b.create(f'm/@/{number_key(42)}', b'x')
    os.mkdir(f'{b.url}/m/@/00000001')     # a writer died before its link
    assert keys(b.tail('m/@/')) == keys(b.tail('m/@/', 42)) == [f'm/@/{number_key(42)}']


# what others may have put there

@unix
def test_links_are_not_followed_below_the_root(tmp_path):
    outside = tmp_path/'outside'
    outside.mkdir()
    (outside/'secret').write_bytes(b'canary')
    (outside/'0000000001').write_bytes(b'canary')
    b = FileBackend(tmp_path/'root')
    b.create('a/b', b'x')
    os.symlink(outside, f'{b.url}/linked')
    os.symlink(outside/'secret', f'{b.url}/a/leaf')
    os.symlink(tmp_path/'nowhere', f'{b.url}/a/dangling')
    os.symlink(f'{b.url}/a', f'{b.url}/a/loop')
    os.makedirs(f'{b.url}/n')
    os.symlink(outside, f'{b.url}/n/00000000')
    for key in ('linked/secret', 'a/leaf', 'n/0000000001', 'a/loop/b', 'linked/new'):
        for verb in (b.read, lambda k: list(b.stream(k))):
            with pytest.raises(OSError) as e: verb(key)
            assert 'canary' not in str(e.value) and not isinstance(e.value, ConnectionError)
    for key in ('linked/new', 'n/0000000002', 'linked/deep/new'):
        with pytest.raises(OSError): b.create(key, b'x')
        with pytest.raises(OSError): b.upload(key, outside/'secret')
        assert isinstance(b.create_many([(key, b'x')])[0], OSError)
        with pytest.raises(OSError): b.delete(key)
    assert b.create('a/dangling', b'x') is False and not (tmp_path/'nowhere').exists()
    assert keys(b.list('')) == keys(b.list('a/')) == ['a/b'] and b.folders('') == ['a', 'n']
    assert sorted(p.name for p in outside.iterdir()) == ['0000000001', 'secret']

@unix
def test_the_root_may_be_a_link(tmp_path):
    (tmp_path/'real').mkdir()
    os.symlink(tmp_path/'real', tmp_path/'root')
    assert FileBackend(tmp_path/'root').create('a/b', b'x') and (tmp_path/'real'/'a'/'b').exists()

@unix
@pytest.mark.timeout(20)
def test_pipes_and_sockets_neither_hang_nor_show(b):
    b.create('a/b', b'x')
    os.mkfifo(f'{b.url}/a/pipe')
    os.mkfifo(f'{b.url}/a/0000000001')
    s = socket.socket(socket.AF_UNIX)
    there = os.getcwd()
    os.chdir(f'{b.url}/a')
    try: s.bind('sock')
    finally: os.chdir(there)
    for key in ('a/pipe', 'a/sock'):
        with pytest.raises(OSError) as e: b.read(key)
        assert not isinstance(e.value, FileNotFoundError)
        with pytest.raises(OSError): list(b.stream(key))
        assert b.create(key, b'x') is False and not b.exists(key)
    assert keys(b.list('')) == ['a/b']

def test_files_that_are_not_ours_are_not_listed(b):
    b.create('a/b', b'x')
    for name in ('.tmp-0123456789abcdef', '.DS_Store', 'notes.txt~', '#b#', 'Untitled.ipynb', '.b.swp', 'with space'):
        Path(b.url, 'a', name).write_text('x')
    os.mkdir(f'{b.url}/a/.ipynb_checkpoints')
    assert keys(b.list('')) == ['a/b'] and b.folders('a/') == []

def test_a_file_where_a_folder_should_be(b):
    b.create('a', b'x')
    with pytest.raises(FileNotFoundError): b.read('a/b')
    with pytest.raises(OSError): b.create('a/b', b'x')
    assert list(b.list('a/')) == []


# crashes

def crash(work, after: int, moment: float) -> list[int]:
    "What a process acknowledged before it was killed: so many, and a part of the time that each took"
    r, w = os.pipe()
    began = time.monotonic()
    if (pid := os.fork()) == 0:
        try:
            os.close(r)
            work(lambda n: os.write(w, b'%d\n' % n))
        finally: os._exit(0)
    os.close(w)
    with open(r, 'rb') as f:
        told = [f.readline() for _ in range(after)]
        time.sleep(moment * (time.monotonic() - began) / (after + 1))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return [int(line) for line in told + f.read().split(b'\n') if line.strip()]

@unix
def test_kill_9_during_create(b, capsys):
    "RELIABILITY.md 4 and 6"
    dice, acknowledged = random.Random(4), 0
    for turn in range(kills := soak(30, 200)):
        def work(told):
            for i in range(10_000):
                b.create(f'k/{turn}/@/{number_key(i + 1)}', pattern(5_000, i))
                told(i)
        done = crash(work, dice.randrange(8), dice.random())
        acknowledged += len(done)
        for i in done: assert b.read(f'k/{turn}/@/{number_key(i + 1)}') == pattern(5_000, i)
        seen = list(b.list(f'k/{turn}/'))
        assert all(e.size == 5_000 for e in seen) and len(seen) - len(done) in (0, 1)
    drafts = [p for p in below(b) if '/.tmp-' in p]
    with capsys.disabled():
        print(f'\n  {kills} kills: {acknowledged} acknowledged, all intact, {len(drafts)} drafts left', end=' ')
    assert acknowledged and len(drafts) <= (0 if files.UNNAMED else kills)
    assert b.sweep() == 0
    assert b.sweep(older_than=-1) == len(drafts) and not [p for p in below(b) if '/.tmp-' in p]

@unix
def test_kill_9_during_upload(b, tmp_path):
    source, dice = tmp_path/'source', random.Random(5)
    source.write_bytes(pattern(32 * MB))
    for turn in range(15):
        def work(told):
            b.upload(f'u/aa/{turn}', source, progress=lambda n: told(0))
            told(1)
        done = 1 in crash(work, dice.randrange(32 * MB // PIECE + 2), dice.random())
        assert {e.size for e in b.list('u/')} <= {32 * MB}
        if done: assert b.exists(f'u/aa/{turn}')
    for e in b.list('u/'): assert b.read(e.key) == source.read_bytes()

@unix
def test_a_sweep_takes_only_old_drafts(b):
    b.create('a/b', b'x')
    old, young, alike = (Path(b.url, 'a', n)
                         for n in ('.tmp-0123456789abcdef', '.tmp-fedcba9876543210', '.tmp-notours'))
    for p in (old, young, alike): p.write_bytes(b'x')
    for p in (old, alike): os.utime(p, (time.time() - 100_000,) * 2)
    assert b.sweep() == 1 and not old.exists() and young.exists() and alike.exists() and b.read('a/b') == b'x'


# errors at every step

class Faults:
    "Fail at the nth of the calls that change something; `calls` is what was done"
    names = ('open', 'write', 'fsync', 'link', 'mkdir', 'copy_file_range', 'unlink')

    def __init__(self, monkeypatch, nth: int = 0, code: int = errno.EIO):
        self.nth, self.code, self.n, self.calls, self.thread = nth, code, 0, [], threading.get_ident()
        for name in self.names:
            if not hasattr(os, name): continue
            monkeypatch.setattr(os, name, spare(self._wrap(name, getattr(os, name))))      # `calls` tells

    def _wrap(self, name, f):
        def call(*args, **kw):
            self.n += 1
            if self.n == self.nth: raise OSError(self.code, os.strerror(self.code))
            result = f(*args, **kw)
            self.calls.append((name, args, result))
            return result
        return call

def every_nth(monkeypatch, do, code):
    "Do something again and again, with a failure at each step in turn; the errors"
    for nth in range(1, 200):
        with monkeypatch.context() as m:
            faults = Faults(m, nth, code)
            try: do(nth); error = None
            except OSError as e: error = e
        yield nth, error
        if faults.n < nth: return
    raise AssertionError('too many steps')

def left_open(b) -> list[str]:
    "Descriptors of files below the root"
    def name(fd):
        try: return os.readlink(f'/proc/self/fd/{fd}')
        except FileNotFoundError: return ''
    return [n for n in map(name, os.listdir('/proc/self/fd')) if n.startswith(b.url)]

@linux
@pytest.mark.parametrize('code', [errno.EIO, errno.ENOSPC, errno.EACCES])
@pytest.mark.parametrize('verb', ['create', 'upload', 'create_many'])
def test_an_error_at_any_step(b, verb, code, monkeypatch, tmp_path):
    "RELIABILITY.md 12: clear errors, nothing half visible, nothing left open or lying about, and it works afterwards"
    data, source, answered = pattern(3_000), tmp_path/'source', Counter()
    source.write_bytes(data)
    def do(nth):
        key = f'x/{nth}/@/{number_key(100)}'
        if verb == 'create': return b.create(key, data)
        if verb == 'upload': return b.upload(key, source)
        for answer in b.create_many([(key, data), (f'x/{nth}/@/{number_key(101)}', data)]):
            if isinstance(answer, Exception): raise answer
    for nth, error in every_nth(monkeypatch, do, code):
        answered[type(error).__name__] += 1
        if error: assert type(error) in (OSError, PermissionError) and (error.errno == code or verb == 'upload')
        for e in b.list(f'x/{nth}/'): assert b.read(e.key) == data
        if error is None: assert b.exists(f'x/{nth}/@/{number_key(100)}')
        assert b.create(f'x/{nth}/@/{number_key(100)}', data) in (True, False)
        assert b.read(f'x/{nth}/@/{number_key(100)}') == data
    assert not left_open(b)
    assert answered['NoneType'] >= 1 and sum(answered.values()) > 8
    assert len([p for p in below(b) if '/.tmp-' in p]) <= 2     # where removing the draft's name was what failed

@linux
def test_no_hard_links_is_refused(b, monkeypatch):
    def link(*a, **k): raise OSError(errno.EPERM, 'Operation not permitted')
    monkeypatch.setattr(os, 'link', link)
    with pytest.raises(Unsupported, match='no hard links'): b.create('a/b', b'x')
    with pytest.raises(Unsupported, match='no hard links'): b.create_many([('a/b', b'x')])
    assert below(b) == []

@linux
def test_drafts_get_names_where_the_file_system_wants_it(tmp_path, monkeypatch):
    really = os.open
    def open_(path, flags, *a, **k):
        if flags & os.O_TMPFILE == os.O_TMPFILE: raise OSError(errno.EOPNOTSUPP, 'Operation not supported')
        return really(path, flags, *a, **k)
    monkeypatch.setattr(os, 'open', open_)
    b = FileBackend(tmp_path/'root')
    assert b.create('a/b', b'x') and b.create_many([('a/c', b'y'), ('d/e', b'z'), ('d/e', b'')]) == [True, True, False]
    assert below(b) == ['a/b', 'a/c', 'd/e']

@linux
def test_a_link_whose_reply_was_lost_is_ours(b, monkeypatch):
    "NFS sends it again, and is told that the name exists"
    link = os.link
    def twice(*a, **k): link(*a, **k); link(*a, **k)
    monkeypatch.setattr(os, 'link', twice)
    assert b.create('a/b', b'x') is True and b.create('a/b', b'y') is False and b.read('a/b') == b'x'

@as_root
@linux
def test_a_full_disk(tmp_path):
    "RELIABILITY.md 12: a real one"
    place = tmp_path/'small'
    place.mkdir()
    if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', place], capture_output=True).returncode:
        pytest.skip('no tmpfs can be mounted')
    try:
        b, kept = FileBackend(place/'root'), []
        for verb in ('create', 'create_many', 'upload'):
            (tmp_path/'source').write_bytes(pattern(50_000))
            for n in range(1, 40):
                key = f'{verb.replace("_", "-")}/{number_key(n)}'
                try:
                    answer = (b.create(key, pattern(50_000)) if verb == 'create'
                              else b.create_many([(key, pattern(50_000))])[0] if verb == 'create_many'
                              else b.upload(key, tmp_path/'source'))
                    if isinstance(answer, Exception): raise answer
                    kept.append(key)
                except OSError as e:
                    assert e.errno == errno.ENOSPC and key in str(e)
                    assert not b.exists(key)
            for key in kept: assert b.read(key) == pattern(50_000)
            assert {p.split('/')[-1] for p in below(b)} == {k.split('/')[-1] for k in kept}
            b.delete(kept.pop())
        assert b.create('last', b'x')
    finally: subprocess.run(['umount', '-l', place], check=True)


# a power cut

class Disk:
    "Which names and contents would survive, as far as the file system was asked"
    def __init__(self, calls, root): self.calls, self.root = calls, root

    def problems(self, target: str) -> list[str]:
        "Why a file might be gone or empty"
        content = next((i for i, c in enumerate(self.calls) if c[0] == 'sync' and c[1] == 'draft'), None)
        link = next(i for i, c in enumerate(self.calls) if c == ('link', target))
        bad = [] if content is not None and content < link else ['content']
        path = target
        while path != self.root:
            made = next((i for i, c in enumerate(self.calls) if c in (('mkdir', path), ('link', path))), -1)
            if not any(c == ('sync', os.path.dirname(path)) for c in self.calls[made + 1:]): bad.append(f'name {path}')
            path = os.path.dirname(path)
        return bad

@contextmanager
def watched(monkeypatch):
    "What was synced, linked and made, in order"
    calls, opened = [], {}
    with monkeypatch.context() as m:
        real = {n: getattr(os, n) for n in ('open', 'fsync', 'link', 'mkdir')}
        def open_(path, flags, *a, **k):
            fd = real['open'](path, flags, *a, **k)
            opened[fd] = 'draft' if flags & os.O_RDWR else os.fspath(path)
            return fd
        m.setattr(os, 'open', spare(open_))
        m.setattr(os, 'fsync', spare(lambda fd: (real['fsync'](fd), calls.append(('sync', opened.get(fd))))[0]))
        m.setattr(os, 'link', spare(lambda a, t, **k: (real['link'](a, t, **k), calls.append(('link', t)))[0]))
        m.setattr(os, 'mkdir', spare(lambda p, *a: (real['mkdir'](p, *a), calls.append(('mkdir', p)))[0]))
        yield calls

@unix
@pytest.mark.parametrize('verb', ['create', 'create_many', 'upload'])
def test_syncs_come_in_the_right_order(b, verb, monkeypatch, tmp_path):
    "RELIABILITY.md 5, by what the file system was asked; also where another process has made the folders"
    (tmp_path/'source').write_bytes(b'x')
    for made_by_other in (False, True):
        b = FileBackend(tmp_path/f'root-{made_by_other}')
        if made_by_other: os.makedirs(f'{b.url}/m/@/00000000')
        with watched(monkeypatch) as calls:
            key = f'm/@/{number_key(7)}'
            b.create(key,
                     b'x') if verb == 'create' else b.create_many([(
                         key, b'x')]) if verb == 'create_many' else b.upload(key, tmp_path/'source')
        assert Disk(calls, str(tmp_path) if not made_by_other
                    else b.url).problems(f'{b.url}/m/@/00000000/{number_key(7)}') == []

@unix
def test_the_check_of_syncs_can_fail(tmp_path, monkeypatch):
    "The planted bug: no fsync"
    b = FileBackend(tmp_path/'root', durable=False)
    with watched(monkeypatch) as calls: b.create('m/x', b'x')
    assert len(Disk(calls, str(tmp_path)).problems(f'{b.url}/m/x')) == 4

@unix
def test_a_new_hundred_waits_for_the_one_before(b, monkeypatch):
    other = FileBackend(b.url)
    for n in (98, 99): other.create(f'm/@/{number_key(n)}', b'x')
    with watched(monkeypatch) as calls: b.create(f'm/@/{number_key(100)}', b'x')
    assert calls.index(('sync', f'{b.url}/m/@/00000000')) < calls.index((
        'link', f'{b.url}/m/@/00000001/{number_key(100)}'))
    with watched(monkeypatch) as calls: b.create(f'm/@/{number_key(101)}', b'x')
    assert ('sync', f'{b.url}/m/@/00000000') not in calls     # once a process

@as_root
@linux
def test_a_power_cut(tmp_path, capsys):
    "RELIABILITY.md 5: an ext4 image copied after the acknowledgement, mounted and read"
    image, place, copy = tmp_path/'disk.img', tmp_path/'disk', tmp_path/'copy'
    for p in (place, copy): p.mkdir()
    subprocess.run(['truncate', '-s', '24M', image], check=True)
    if subprocess.run(['mkfs.ext4', '-q', '-F', image], capture_output=True).returncode: pytest.skip('no mkfs.ext4')
    if subprocess.run(['mount', '-o', 'loop', image, place], capture_output=True).returncode:
        pytest.skip('no loop device')
    figures = Counter()
    try:
        b = FileBackend(place/'root')
        for turn in range(10):
            key = f'm/{turn}/@/{number_key(1)}'
            b.create(key, pattern(5_000, turn))
            b.create_many((f'many/{turn}/@/{number_key(n)}', pattern(100, n)) for n in range(95, 105))
            subprocess.run(['cp', image, tmp_path/'cut.img'], check=True)
            subprocess.run(['mount', '-o', 'loop', tmp_path/'cut.img', copy], check=True)
            try:
                after = FileBackend(copy/'root')
                for k, v in [(key, pattern(5_000, turn)),
                             *((f'many/{turn}/@/{number_key(n)}', pattern(100, n)) for n in range(95, 105))]:
                    try: figures['intact' if after.read(k) == v else 'wrong'] += 1
                    except FileNotFoundError: figures['missing'] += 1
            finally: subprocess.run(['umount', copy], check=True)
    finally: subprocess.run(['umount', '-l', place], check=True)
    with capsys.disabled(): print(f'\n  power cuts: {dict(figures)}', end=' ')
    assert figures == {'intact': 110}


# volumes that several machines share

def test_a_stale_absence_is_not_believed(tmp_path, monkeypatch):
    "An NFS client says for half a minute that a name is not there; a listing knows better"
    local, shared = FileBackend(tmp_path/'root', shared=False), FileBackend(tmp_path/'root', shared=True)
    assert shared.can.place == 'shared' and not shared.can.probe
    local.create(f'a/@/{number_key(1)}', b'x')
    real, stale = os.open, {}
    def open_(path, *a, **k):
        if str(path).endswith(number_key(1)) and stale.setdefault(path, True):
            stale[path] = False
            raise FileNotFoundError(errno.ENOENT, 'No such file or directory')
        return real(path, *a, **k)
    monkeypatch.setattr(os, 'open', open_)
    with pytest.raises(FileNotFoundError): local.read(f'a/@/{number_key(1)}')
    stale.clear()
    assert shared.read(f'a/@/{number_key(1)}') == b'x'
    monkeypatch.setattr(os, 'open', real)
    asked = []
    lstat = os.lstat
    monkeypatch.setattr(os, 'lstat', lambda p, **k: asked.append(str(p)) or lstat(p, **k))
    assert not shared.exists(f'a/@/{number_key(2)}') and not shared.exists('z/x')
    assert not [p for p in asked if p.endswith(number_key(2))]    # an absent name is never probed

@pytest.mark.parametrize('code, error',
                         [(errno.ESTALE, ConnectionError), (errno.ENOTCONN, ConnectionError),
                          (errno.ETIMEDOUT, ConnectionError), (errno.EHOSTDOWN, ConnectionError),
                          (errno.ECONNREFUSED, ConnectionError), (errno.EROFS, PermissionError),
                          (errno.EACCES, PermissionError), (errno.EIO, OSError)])
def test_errors_of_the_system(tmp_path, monkeypatch, code, error):
    b = FileBackend(tmp_path/'root')
    b.create('a/b', b'x')
    def fail(*a, **k): raise OSError(code, os.strerror(code))
    for name in ('open', 'lstat', 'scandir', 'unlink'): monkeypatch.setattr(os, name, fail)
    other = FileBackend(b.url)
    verbs = [lambda: b.read('a/b'), lambda: list(b.stream('a/b')), lambda: b.create('a/c', b''),
             lambda: other.exists('a/b'), lambda: list(b.list('a/')), lambda: b.folders('a/'), lambda: b.tail('a/'),
             lambda: b.delete('a/b'), lambda: b.sync('a/b')]
    for verb in verbs:
        with pytest.raises(error) as e: verb()
        assert not isinstance(e.value, (TimeoutError, ConnectionRefusedError)) and b.url in str(e.value)
