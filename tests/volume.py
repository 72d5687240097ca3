"""A file system of the tests' own: a folder, shown at another place, that answers as volumes of a network do.

    with mounted(folder, at) as volume:
        volume.set('eio')           # ok, eio (a soft mount whose server is gone), hang (a hard one), refuse (EHOSTDOWN
        after a while)
        volume.set('ok', 'no_links', 'forgets', 'read_only_bit')
        volume.waits('hang')        # until a call hangs there

`no_links`: as exFAT and s3fs. `link_eio`: as an rclone mount. `forgets`: a name that was not there stays so until the
folder above is listed, as
on NFS. `read_only_bit`: unlinking one name of a file makes it writable, as on SMB. What a real mount does is asked of
one in the same way: give a
test that takes a folder the folder of the mount. Needs root, /dev/fuse and fuse3 (apt-get install fuse3), and mfusepy.
"""
import errno, os, shutil, subprocess, sys, threading, time
from contextlib import contextmanager
from pathlib import Path
import pytest

OPS = ('access', 'getattr', 'readdir', 'opendir', 'fsyncdir', 'readlink', 'mkdir', 'rmdir', 'unlink', 'rename', 'link',
       'symlink', 'chmod', 'chown', 'utimens', 'truncate', 'open', 'create', 'read', 'write', 'fsync', 'statfs')
SERVER_LATE = 0.3      # seconds after which `refuse` is told

def why_not() -> str:
    "Why nothing can be mounted here; empty where it can"
    try: import mfusepy    # noqa: F401 (is it there?)
    except (ImportError, OSError) as e: return f'no mfusepy: {e}'
    if not os.path.exists('/dev/fuse') or os.geteuid(): return 'only root may mount here, and /dev/fuse must be there'
    return '' if shutil.which('fusermount3') else 'no fuse3: apt-get install fuse3'

class Volume:
    "The switches of a mounted volume"
    def __init__(self, folder: Path, at: Path, switch: Path):
        self.folder, self.at, self.switch = Path(folder), Path(at), switch
    def set(self, mode: str = 'ok', *odd: str) -> None:
        new = self.switch.with_suffix('.new')
        new.write_text(' '.join([mode, *odd]))
        os.replace(new, self.switch)
    def told(self) -> list[str]:
        "What was asked while it was not well"
        try: return self.switch.with_suffix('.told').read_text().split()
        except FileNotFoundError: return []
    def waits(self, mode: str, seconds: float = 60) -> None:
        until = time.monotonic() + seconds
        while not any(t.startswith(mode) for t in self.told()):
            assert time.monotonic() < until, f'nothing was answered by {mode}'
            time.sleep(0.02)

@contextmanager
def mounted(folder: Path, at: Path):
    "The folder, shown at another place by a process of its own"
    if why := why_not(): pytest.skip(why)
    for p in (folder, at): Path(p).mkdir(parents=True, exist_ok=True)
    volume = Volume(folder, at, Path(f'{at}.switch'))
    volume.set()
    p = subprocess.Popen([sys.executable, __file__, folder, at, volume.switch], stderr=subprocess.PIPE)
    try:
        while not os.path.ismount(at):
            if p.poll() is not None: pytest.skip(f'it cannot be mounted here: {p.stderr.read().decode()[-200:]}')
            time.sleep(0.02)
        yield volume
    finally:
        volume.set()
        subprocess.run(['fusermount3', '-u', '-z', at], capture_output=True)
        p.kill(); p.wait()


def serve(folder: str, at: str, switch: str) -> None:
    import mfusepy as fuse
    told = open(f'{switch.removesuffix(".switch")}.told', 'a', buffering=1)

    def by_mode(op: str, f):
        "An operation that answers as the switch says"
        def call(self, *args):
            mode, *Served.odd = Path(switch).read_text().split()
            if mode != 'ok': told.write(f'{mode}:{op}\n')
            while mode == 'hang':
                time.sleep(0.02)
                mode, *_ = Path(switch).read_text().split()
            if mode == 'eio': raise fuse.FuseOSError(errno.EIO)
            if mode == 'refuse':
                time.sleep(SERVER_LATE)
                raise fuse.FuseOSError(errno.EHOSTDOWN)
            return f(self, *args)
        return call

    class Served(fuse.Operations):
        use_ns, absent, odd, mutex = True, set(), [], threading.Lock()
        def at(self, path): return folder + path
        def known(self, path):
            "Of a client that remembers absence: the name was not there, and nobody has listed the folder since"
            if 'forgets' not in self.odd: return
            with self.mutex:
                if path in self.absent: raise FileNotFoundError(errno.ENOENT, 'remembered', path)
                if not os.path.lexists(self.at(path)): self.absent.add(path)

        def init(self, path): pass
        def destroy(self, path): pass
        def access(self, path, amode):
            if not os.access(self.at(path), amode): raise PermissionError(errno.EACCES, '', path)
        def getattr(self, path, fh=None):
            self.known(path)
            st = os.lstat(self.at(path))
            found = {k: getattr(st, k) for k in ('st_gid', 'st_uid', 'st_mode', 'st_nlink', 'st_size', 'st_ino')}
            return found | {f'st_{k}time': getattr(st, f'st_{k}time_ns') for k in 'acm'}
        def readdir(self, path, fh):
            names = os.listdir(self.at(path))
            with self.mutex: self.absent = {p for p in self.absent if os.path.dirname(p) != path}
            return ['.', '..', *names]
        def opendir(self, path):
            self.known(path)
            os.listdir(self.at(path))
            return 0
        def releasedir(self, path, fh): return 0
        def fsyncdir(self, path, datasync, fh): return 0
        def readlink(self, path): return os.readlink(self.at(path))
        def mkdir(self, path, mode): os.mkdir(self.at(path), mode); self.here(path)
        def rmdir(self, path): os.rmdir(self.at(path))
        def here(self, path):
            with self.mutex: self.absent.discard(path)
        def unlink(self, path):
            st = os.lstat(self.at(path))
            if 'read_only_bit' in self.odd and st.st_nlink > 1: os.chmod(self.at(path), st.st_mode | 0o222)
            os.unlink(self.at(path))
        def rename(self, old, new): os.rename(self.at(old), self.at(new)); self.here(new)
        def link(self, target, source):
            if 'no_links' in self.odd: raise OSError(errno.EPERM, '')
            if 'link_eio' in self.odd: raise OSError(errno.EIO, '')
            os.link(self.at(source), self.at(target)); self.here(target)
        def symlink(self, target, source): os.symlink(source, self.at(target)); self.here(target)
        def chmod(self, path, mode): os.chmod(self.at(path), mode)
        def chown(self, path, uid, gid): os.chown(self.at(path), uid, gid)
        def utimens(self, path, times=None): os.utime(self.at(path), ns=times)
        def truncate(self, path, length, fh=None): os.truncate(self.at(path), length)
        def open(self, path, flags): return os.open(self.at(path), flags)
        def create(self, path, mode, fi=None):
            fd = os.open(self.at(path), os.O_RDWR | os.O_CREAT | os.O_TRUNC, mode)
            self.here(path)
            return fd
        def read(self, path, size, offset, fh): return os.pread(fh, size, offset)
        def write(self, path, data, offset, fh): return os.pwrite(fh, data, offset)
        def flush(self, path, fh): return 0
        def release(self, path, fh): os.close(fh)
        def fsync(self, path, datasync, fh): os.fsync(fh)
        def statfs(self, path):
            st = os.statvfs(self.at(path))
            return {k: getattr(st, k) for k in ('f_bavail', 'f_bfree', 'f_blocks', 'f_bsize', 'f_favail', 'f_ffree',
                                                'f_files', 'f_flag', 'f_frsize', 'f_namemax')}

    for name in OPS: setattr(Served, name, by_mode(name, getattr(Served, name)))
    fuse.FUSE(Served(), at, foreground=True, fsname='lab:/export', subtype='testvolume', attr_timeout=0,
              entry_timeout=0, negative_timeout=0, allow_other=True, default_permissions=True)

if __name__ == '__main__': serve(*sys.argv[1:])
