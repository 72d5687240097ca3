"""File systems that people have, each really mounted : as origin, near tier, cache and folder of state.

    apt-get install fuse3 exfat-fuse exfatprogs ntfs-3g gocryptfs sshfs openssh-sftp-server mergerfs bindfs unionfs-fuse
    squashfuse squashfs-tools btrfs-progs xfsprogs

as root; what is not there is skipped, and says what it needs. rclone comes from the test extra, s3fs speaks to the
tests' SeaweedFS. What the
machine cannot mount (NFS, SMB) is played by `volume.py`, a file system of the tests' own: see tests/test_volumes.py.
"""
import os, shutil, subprocess, sys
from pathlib import Path
import numpy as np, pandas as pd, pytest
from objectstore import ObjectStore
from objectstore.cache.breaker import Breaker
from objectstore.cache.machine import _said, _safe
from objectstore.errors import ObjectStoreError, Unsupported
from services import Place

pytestmark = [pytest.mark.skipif(os.name != 'posix' or bool(os.geteuid()), reason='only root may mount'),
              pytest.mark.filterwarnings('ignore')]
def found(program: str) -> str | None:
    return shutil.which(program) or shutil.which(program, path=Path(sys.executable).parent)

SFTP = '/usr/lib/openssh/sftp-server'

def run(*command, **more) -> None:
    said = subprocess.run([str(c) for c in command], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          timeout=120, **more)
    if said.returncode: pytest.skip(f'{command[0]} does not work here: {(said.stderr or said.stdout).strip()[:200]}')

def image(d: Path, size: str, *make: str) -> Path:
    file = d/'image'
    run('truncate', '-s', size, file)
    run(*make, file)
    return file

def loop(d, at, size, *make, mount=('mount', '-o', 'loop')): run(*mount, image(d, size, *make), at)

def exfat(d, at):
    device = subprocess.run(['losetup', '-f', '--show', image(d, '64M', 'mkfs.exfat')], capture_output=True,
                            text=True).stdout.strip()
    if not device: pytest.skip('no loop devices here')
    (d/'device').write_text(device)
    run('mount.exfat-fuse', device, at)

def gocryptfs(d, at):
    (d/'cipher').mkdir()
    run('gocryptfs', '-init', '-q', '-scryptn', '10', '-extpass', 'echo words', d/'cipher')
    run('gocryptfs', '-q', '-extpass', 'echo words', d/'cipher', at)

def sshfs(d, at):
    (d/'there').mkdir()
    (d/'ssh').write_text(f'#!/bin/sh\nexec {SFTP}\n')
    (d/'ssh').chmod(0o755)
    if not os.path.exists(SFTP): pytest.skip('no sftp-server: apt-get install openssh-sftp-server')
    run('sshfs', '-o', f'ssh_command={d}/ssh', f'lab:{d}/there', at)

def view(*command):
    def mount(d, at):
        (d/'there').mkdir()
        run(command[0], *(c.format(d/'there') for c in command[1:]), at)
    return mount

def rclone(d, at):
    (d/'there').mkdir()
    run(found('rclone'), 'mount', d/'there', at, '--daemon', '--vfs-cache-mode', 'writes', '--config', d/'none')

MOUNTS = dict(
    exfat=exfat,
    ntfs3g=lambda d, at: loop(d, at, '64M', 'mkfs.ntfs', '-F', '-q', '-Q', mount=('ntfs-3g',)),
    gocryptfs=gocryptfs,
    sshfs=sshfs,
    rclone=rclone,
    btrfs=lambda d, at: loop(d, at, '130M', 'mkfs.btrfs', '-q'),
    xfs=lambda d, at: loop(d, at, '320M', 'mkfs.xfs', '-q'),
    tmpfs=lambda d, at: run('mount', '-t', 'tmpfs', 'none', at),
    overlay=lambda d, at: ([(d/n).mkdir() for n in 'luw'],
        run('mount', '-t', 'overlay', 'overlay', '-o', f'lowerdir={d}/l,upperdir={d}/u,workdir={d}/w', at)),
    mergerfs=view('mergerfs', '{}'),
    bindfs=view('bindfs', '{}'),
    unionfs=view('unionfs', '{}=RW'),
)
NEEDS = dict(exfat='mount.exfat-fuse', ntfs3g='ntfs-3g', btrfs='mkfs.btrfs', xfs='mkfs.xfs', tmpfs='mount',
             overlay='mount')

def unmounted(at: Path, d: Path) -> None:
    for command in (['fusermount3', '-u', at], ['umount', at], ['umount', '-l', at]):
        if os.path.ismount(at): subprocess.run(command, capture_output=True)
    if (d/'device').exists(): subprocess.run(['losetup', '-d', (d/'device').read_text()], capture_output=True)

@pytest.fixture
def mounted(request, tmp_path):
    name = request.param
    if not found(needs := NEEDS.get(name, name)): pytest.skip(f'no {needs}: see the head of this file')
    d, at = tmp_path/'disk', tmp_path/name
    d.mkdir(), at.mkdir()
    try:
        MOUNTS[name](d, at)
        if not os.path.ismount(at): pytest.skip(f'{name} cannot be mounted here')
        yield at
    finally: unmounted(at, d)

@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    monkeypatch.setenv('OBJECTSTORE_STATE_DIR', str(tmp_path/'state'))
    monkeypatch.setenv('OBJECTSTORE_CACHE_DIR', str(tmp_path/'cache'))
    _said.clear(), _safe.clear(), Breaker._all.clear()
    yield
    Breaker._all.clear()

VALUES = dict(small={'auc': 0.9}, frame=pd.DataFrame({'x': np.arange(30_000.0)}), large=os.urandom(300_000))

def same(a, b) -> bool: return a.equals(b) if isinstance(b, pd.DataFrame) else a == b

def tried(store, other=lambda: None) -> str:
    "Each kind of value put, got twice and got by another store: `works`, or how it was refused"
    try:
        for name, value in VALUES.items():
            store.put(f'lab/{name}', value)
            for s in (store, other() or store, store): assert same(s.get(f'lab/{name}'), value), name
        store.put('lab/small', 2, alias='best')
        assert (store.get('lab/small@best') == 2 and store.get('lab/small@1') == VALUES['small']
                and len(store.versions('lab/small')) == 2)
        assert sorted(v.item for v in store.find_items('lab')) == sorted(VALUES) and store.remove('lab/small@1') == 1
        assert store['lab/large'].path().read_bytes() == VALUES['large']
    except Unsupported as e: return f'refused: {e}'
    return 'works'

def as_origin(at):
    return tried(ObjectStore(str(at/'store'), near=False), lambda: ObjectStore(str(at/'store'), near=False))

def as_near(at, tmp_path):
    "Near copies are there in the end, and a store that is away is read from them"
    store = ObjectStore(str(at/'near'), str(tmp_path/'origin'))
    if (said := tried(store)) != 'works': return said
    kept = store.near.keep(['lab/small', 'lab/frame', 'lab/large'])
    away = ObjectStore(str(at/'near'), str(tmp_path/'origin'), offline=True)
    if kept.versions != 3: return f'not held: {kept.versions} of 3'
    for name in ('frame', 'large'): assert same(away.get(f'lab/{name}'), VALUES[name])
    assert away.get('lab/small') == 2
    return 'works'

def as_cache(at, tmp_path, monkeypatch):
    monkeypatch.setenv('OBJECTSTORE_CACHE_DIR', str(at/'cache'))
    store = ObjectStore(str(tmp_path/'local'))
    return tried(store)

def as_state(at, tmp_path, monkeypatch):
    "What is put while the origin is away is there afterwards, once"
    monkeypatch.setenv('OBJECTSTORE_STATE_DIR', str(at/'state'))
    def open(**options): return ObjectStore(str(tmp_path/'near'), str(tmp_path/'far'), **options)
    first = open()
    first.put('lab/a', 1)
    away = open(offline=True)
    try: pending = [away.put(f'lab/{n}', v) for n, v in VALUES.items()]
    except Unsupported as e:
        assert 'nothing can be pending' in away.status() and 'this process' in away.status()['index']
        return f'refused: {e}'
    assert all(v.pending for v in pending) and all(same(away.get(f'lab/{n}'), v) for n, v in VALUES.items())
    report = open().sync()
    assert not report.waiting and len(report) == 3
    again = open()
    assert (all(same(again.get(f'lab/{n}'), v) and again[f'lab/{n}'].version == 1 for n, v in VALUES.items())
            and not again.sync())
    return 'works'

REFUSED = {('exfat', 'origin'): 'no hard links', ('rclone', 'origin'): 'no hard links',
           ('rclone', 'state'): 'network file system', ('sshfs', 'state'): 'network file system'}

@pytest.mark.parametrize('mounted', MOUNTS, indirect=True)
def test_file_systems(mounted, tmp_path, monkeypatch, figure):
    "RELIABILITY.md 35: works, or is refused with words; nothing wrong, nothing lost, no false damage"
    found = dict(origin=as_origin(mounted), near=as_near(mounted, tmp_path))
    with monkeypatch.context() as m: found['cache'] = as_cache(mounted, tmp_path, m)
    with monkeypatch.context() as m: found['state'] = as_state(mounted, tmp_path, m)
    figure(f'35 {mounted.name}', **{k: v.partition(':')[0] for k, v in found.items()})
    for role, said in found.items():
        words = REFUSED.get((mounted.name, role))
        assert (words in said and said.startswith('refused')) if words else said == 'works', (role, said)

@pytest.mark.parametrize('mounted', ['exfat', 'rclone'], indirect=True)
def test_planted_a_cache_that_needs_hard_links(mounted, tmp_path, monkeypatch):
    "What it was: each verb of the whole store fails, or nothing is kept and nobody says so"
    from objectstore.storage import files
    hits, real = [], files.publish
    monkeypatch.setattr(files, 'publish', lambda draft, target, patience=0.0,
                        replace=False: (hits.append(target), real(draft, target, patience))[1])
    assert as_near(mounted, tmp_path) != 'works' and hits

def test_a_read_only_image(tmp_path):
    "A store that was made elsewhere, on squashfs: read right, and a put is refused with words"
    for need in ('mksquashfs', 'squashfuse'):
        if not shutil.which(need): pytest.skip(f'no {need}: see the head of this file')
    store = ObjectStore(str(tmp_path/'made'/'store')) if (tmp_path/'made').mkdir() is None else None
    for n, v in VALUES.items(): store.put(f'lab/{n}', v)
    store.close()
    run('mksquashfs', tmp_path/'made', tmp_path/'image', '-quiet')
    (tmp_path/'at').mkdir()
    try:
        run('squashfuse', tmp_path/'image', tmp_path/'at')
        there = ObjectStore(str(tmp_path/'at'/'store'))
        for n, v in VALUES.items(): assert same(there.get(f'lab/{n}'), v)
        with pytest.raises((ObjectStoreError, PermissionError), match='[Rr]ead-only|not implemented'):
            there.put('lab/small', 2)
    finally: unmounted(tmp_path/'at', tmp_path)

def test_a_bucket_mounted_by_s3fs(seaweed, tmp_path, monkeypatch, figure):
    "No hard links: refused as an origin, with words; near tier and cache do without; nothing is pending on a network"
    if not shutil.which('s3fs'): pytest.skip('no s3fs: apt-get install s3fs')
    keys, at = tmp_path/'keys', tmp_path/'s3fs'
    keys.write_text(f'{seaweed.access_key}:{seaweed.secret_key}'), keys.chmod(0o600), at.mkdir()
    try:
        run('s3fs', Place(seaweed).bucket, at, '-o',
            f'url={seaweed.endpoint},use_path_request_style,passwd_file={keys},nonempty')
        with monkeypatch.context() as m: cache = as_cache(at, tmp_path, m)
        with monkeypatch.context() as m: state = as_state(at, tmp_path, m)
        found = dict(origin=as_origin(at), near=as_near(at, tmp_path), cache=cache, state=state)
    finally: unmounted(at, tmp_path)
    figure('35 s3fs', **{k: v.partition(':')[0] for k, v in found.items()})
    assert ('no hard links' in found['origin'] and 'network file system' in found['state']
            and found['near'] == found['cache'] == 'works'), found
