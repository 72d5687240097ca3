"""The power goes out just after an acknowledgement: an ext4 image is copied as it is at that moment, and the copy is
read"""
import os, shutil, subprocess, time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
import pytest
from objectstore import ObjectStore, ObjectStoreError
from objectstore.storage import files
from objectstore.search import changelog
from test_crash import a_folder
from planting import planted_here
from trial import alone, content, dense, soak, whole

def mount(image: Path, at: Path, *options: str) -> None:
    at.mkdir(exist_ok=True)
    subprocess.run(['mount', '-o', ','.join(['loop', *options]), image, at], check=True, capture_output=True)

def unmount(at: Path) -> None: subprocess.run(['umount', at], check=True, capture_output=True)

def cannot(tmp: Path) -> str | None:
    "Why no image can be mounted here, or None"
    if not hasattr(os, 'geteuid') or os.geteuid(): return 'mounting an image needs root'
    if absent := [p for p in ('mkfs.ext4', 'mount', 'umount')
                  if not shutil.which(p, path=f"{os.environ['PATH']}:/sbin:/usr/sbin")]:
        return f'no {absent[0]}'
    try: new_image(tmp/'try.img'); mount(tmp/'try.img', tmp/'try'); unmount(tmp/'try')
    except (subprocess.CalledProcessError, OSError) as e: return f'no loop device can be mounted here: {e}'
    return None

def new_image(path: Path) -> None:
    with open(path, 'wb') as f: f.truncate(24 * 2**20)
    mkfs = shutil.which('mkfs.ext4', path=f"{os.environ['PATH']}:/sbin:/usr/sbin")
    subprocess.run([mkfs, '-q', '-F', path], check=True, capture_output=True)

@contextmanager
def mounted(image: Path, at: Path):
    mount(image, at, 'commit=300')      # by itself it would write all down every 5 s
    try: yield at
    finally: unmount(at)

acts = {
    'first put': lambda s, i: s.put(f'new{i}/m', content(f'{i}')),
    'small': lambda s, i: s.put('b/m', content(f'{i}')),
    'large': lambda s, i: s.put('b/m', content(f'{i}', 200_000)),
    'folder': lambda s, i: s.put('b/f', a_folder((f'{i}', 10), ('sub/x', 50_000))),
    'put_many': lambda s, i: s.put_many({f'b/many{i}-{k}': content(f'{i}') for k in range(20)})[-1],
    'new items': lambda s, i: s.put(f'b/deep/{i}/er/m', content(f'{i}')),
    'alias': lambda s, i: s.set_alias(s.put('b/m', content(f'{i}')), 'prod'),
}

def cut(image: Path, at: Path, copy: Path, i: int, act: str, durable: bool) -> tuple[str, str]:
    "In a process of its own: one acknowledgement, then the power goes"
    with mounted(image, at):
        v = acts[act](ObjectStore(at/'store', durable=durable), i)
        (at/f'{UNSYNCED}-{i}').write_bytes(UNSYNCED.encode() * 1000)
        time.sleep(0.2)
        subprocess.run(['cp', '--sparse=always', image, copy], check=True)
        return v.ref, str(i)

UNSYNCED = 'nobody-synced-this'      # a file that reaches the disk only where somebody on this machine calls sync()

def found(copy: Path, at: Path, ref: str, name: str, act: str, planted: str) -> str:
    """What a machine that starts again finds: intact, empty or missing; of a planted bug nothing is shown where all
    was synced"""
    with mounted(copy, at):
        told = at/f'{UNSYNCED}-{name}'
        if planted and told.is_file() and told.read_bytes() == UNSYNCED.encode() * 1000: return 'synced'
        store = ObjectStore(at/'store')
        try:
            v = store[f'{ref.partition("@")[0]}@prod'] if act == 'alias' else store[ref]
            obj = v.get()
            got = obj.read(name) if not isinstance(obj, bytes) else obj
            dense(store, ref.partition('@')[0])
        except ObjectStoreError as e: return 'empty' if 'Damaged' in type(e).__name__ else 'missing'
        if act == 'put_many': assert all(whole(store.get(f'b/many{name}-{k}')) == name for k in range(20))
        return 'intact' if whole(got) == name and store.put('b/m', b'goes on') else 'empty'

def cuts(top: Path, n: int, planted: str) -> Counter:
    planted_here(changelog, 'SOON', 60.0)      # a hint is synced too, and would bring to the disk what was not
    if planted == 'no sync of folders': planted_here(files, 'sync_folder', lambda place: None)
    durable = planted != 'durable=False'
    os.environ['OBJECTSTORE_CACHE_DIR'] = str(top/'cache')
    new_image(image := top/'disk.img')
    count = Counter(intact=0, empty=0, missing=0, synced=0)
    for i in range(n):
        act = list(acts)[i % len(acts)]
        ref, name = cut(image, top/'mnt', top/'copy.img', i, act, durable)
        count[found(top/'copy.img', top/'copy', ref, name, act, planted)] += 1
    return count

@pytest.mark.parametrize('planted', ['', 'durable=False', 'no sync of folders'])
def test_power_cut(planted, tmp_path, figure):
    if reason := cannot(tmp_path): pytest.skip(reason)
    n = 3 if planted else soak(10, 50)
    count = alone(cuts, tmp_path, n, planted)
    figure(f'5 power cut{planted and ", planted: "}{planted}', cuts=n, **count)
    if not planted: assert count['intact'] == n
    elif count['synced'] == n: pytest.skip(f'somebody else on this machine called sync() in each of {n} cuts')
    else: assert count['intact'] < n - count['synced'], 'the kernel wrote everything by itself: nothing was shown'
