"""A 1 GB file put and got on a link of 20 ms and 50 MB/s a connection, beside s5cmd, rclone and raw obstore, each at
the best of a few settings
(`bench_link.py 100 2`: 100 MB, two rounds). The link is a proxy in a process of its own, whose own speed is measured
first"""
import os, shutil, socket, subprocess, sys, sysconfig, threading, time, warnings
from contextlib import contextmanager, suppress
from statistics import median
from urllib.parse import urlsplit

DELAY, RATE, PIECE = 0.02, 50e6, 2**19


class Side:
    "One direction of a connection: bytes go through a pipe, without a copy where the system can do that"
    def __init__(self, source, to, rate):
        self.source, self.to, self.rate, self.pipe, self.spoke = source, to, rate, os.pipe(), 0.0
    def piece(self, n: int = PIECE) -> int:
        if not hasattr(os, 'splice'):
            data = self.source.recv(n)
            self.to.sendall(data)
            return len(data)
        left = got = os.splice(self.source.fileno(), self.pipe[1], n)
        while left: left -= os.splice(self.pipe[0], self.to.fileno(), left)
        return got

    def run(self, turn=None) -> None:
        """Until its end: no faster than the rate; what follows an answer comes `DELAY` later (`turn`: the other
        direction)"""
        free = 0.0
        with suppress(OSError):
            self.widen()
            while True:
                if turn and self.rate:
                    self.source.recv(1, socket.MSG_PEEK)
                    if turn.spoke >= self.spoke: time.sleep(DELAY)
                if not (n := self.piece()): break
                self.spoke = time.monotonic()
                if self.rate:
                    free = max(free, self.spoke - PIECE / self.rate) + n / self.rate
                    if (wait := free - self.spoke) > 0.001: time.sleep(wait)
        for s in (self.source, self.to):
            with suppress(OSError): s.shutdown(socket.SHUT_RDWR)
        for fd in self.pipe: os.close(fd)

    def widen(self) -> None:
        with suppress(ImportError, AttributeError, OSError):
            import fcntl
            fcntl.fcntl(self.pipe[1], fcntl.F_SETPIPE_SZ, PIECE)

def joined(client: socket.socket, target: tuple, rate: float) -> None:
    if rate: time.sleep(DELAY)              # a connection costs a round trip
    service = socket.create_connection(target)
    for s in (client, service): s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    up, down = Side(client, service, rate), Side(service, client, rate)
    threading.Thread(target=down.run, daemon=True).start()
    up.run(down)

def listen(on) -> None:
    "Threads that serve every connection"
    door = socket.create_server(('127.0.0.1', 0), backlog=512)
    print(door.getsockname()[1], flush=True)
    while True: threading.Thread(target=on, args=[door.accept()[0]], daemon=True).start()

def give(client: socket.socket) -> None:
    "A server that answers 8 bytes, a size, with so many"
    with suppress(OSError):
        while asked := client.recv(8, socket.MSG_WAITALL):
            for _ in range(int.from_bytes(asked, 'big') // PIECE): client.sendall(bytes(PIECE))

@contextmanager
def child(*args: object):
    "This script as another process: its port, and the seconds of processor time that it has used"
    p = subprocess.Popen([sys.executable, __file__, *map(str, args)], stdout=subprocess.PIPE, text=True)
    def used() -> float:
        with open(f'/proc/{p.pid}/stat') as f: parts = f.read().rpartition(')')[2].split()
        return (int(parts[11]) + int(parts[12])) / os.sysconf('SC_CLK_TCK')
    try: yield int(p.stdout.readline()), used
    finally: p.kill(), p.wait()

def link(endpoint: str, rate: float = RATE):
    url = urlsplit(endpoint)
    return child('proxy', url.hostname, url.port, rate)

def speed(port: int, connections: int, size: int = 2**26) -> float:
    "Bytes a second that come through so many connections together"
    def one():
        with socket.create_connection(('127.0.0.1', port)) as s:
            s.sendall(size.to_bytes(8, 'big'))
            left, into = size, memoryview(bytearray(PIECE))
            while left: left -= s.recv_into(into)
    threads = [threading.Thread(target=one) for _ in range(connections)]
    start = time.perf_counter()
    for t in threads: t.start()
    for t in threads: t.join()
    return connections * size / (time.perf_counter() - start)

def the_proxy_itself():
    from common import say, table
    rows = []
    with child('give') as (port, _), link(f'http://127.0.0.1:{port}') as (slow, _), link(
            f'http://127.0.0.1:{port}', 0) as (free, used):
        speed(free, 1)
        for n in (1, 4, 16):
            rows.append([n, *(f'{speed(p, n) / 1e6:,.0f} MB/s' for p in (port, free, slow)), f'{n * 50}'])
    say('### The proxy itself, beside a server that only sends',
        table(['connections', 'without it', 'through it, unpaced', 'through it, paced', 'of'], rows))


def programs(d, endpoint: str, bucket: str, prefix: str) -> dict:
    "Candidate: how it puts a file and gets it to a path"
    def found(name):
        return next((p for p in (shutil.which(name, path=sysconfig.get_path('scripts')), shutil.which(name)) if p),
                    None)
    def run(*args):
        p = subprocess.run([str(a) for a in args], capture_output=True, text=True,
                           env={**os.environ, 'RCLONE_CONFIG': os.devnull})
        if p.returncode: raise RuntimeError(f'{args}: {p.stdout}{p.stderr}'[-2000:])
    ways = {}
    if s5 := found('s5cmd'):
        def s5cmd(*more): return lambda a, z: run(s5, '--endpoint-url', endpoint, 'cp', *more, a, z)
        at = f's3://{bucket}/{prefix}/s5cmd'
        for said, more in (('', ()), (', 16 x 8 MB', ('-c', 16, '-p', 8))):
            ways[f's5cmd{said}'] = (lambda f, c=s5cmd(*more): c(f, at), lambda f, c=s5cmd(*more): c(at, f))
    if rc := found('rclone'):
        remote = f':s3,provider=Other,env_auth=true,endpoint="{endpoint}":{bucket}/{prefix}/rclone'
        def rclone(*more):
            return lambda a, z: run(rc, 'copyto', '-q', '--ignore-times', '--s3-no-check-bucket', *more, a, z)
        wide = ('--multi-thread-streams', 16, '--multi-thread-chunk-size', '8M', '--multi-thread-cutoff', '16M',
                '--s3-upload-concurrency', 16, '--s3-chunk-size', '8M', '--ignore-checksum', '--s3-disable-checksum')
        for said, more in (('', ()), (', 16 x 8 MB', wide)):
            ways[f'rclone{said}'] = (lambda f, c=rclone(*more): c(f, remote), lambda f, c=rclone(*more): c(remote, f))
    return ways

def raw_obstore(bucket: str, prefix: str, endpoint: str) -> tuple:
    import obstore
    from concurrent.futures import ThreadPoolExecutor
    from obstore.store import S3Store
    o = S3Store(bucket, prefix=prefix, endpoint=endpoint, client_options={'allow_http': True, 'timeout': '300s'})
    def put(path): obstore.put(o, 'obstore', path, chunk_size=2**23, max_concurrency=16)
    def get(path):
        size = o.head('obstore')['size']
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        def piece(a): os.pwrite(fd, o.get_range('obstore', start=a, end=min(a + 2**23, size)), a)
        with ThreadPoolExecutor(16) as pool: list(pool.map(piece, range(0, size, 2**23)))
        os.close(fd)
    return put, get

def our_store(url: str, endpoint: str, near=None):
    from objectstore import ObjectStore
    return ObjectStore(*([near] if near else []), url, near=False, endpoint=endpoint, progress=False, timeout=10.0)

def main(mb: int, rounds: int) -> None:
    from bench_large import hash_of, make
    from common import Times, _timed as timed_once, heading, ratio, report, say, scratch, service, verdict
    heading(f'A file of {mb:,} MB on a link of 20 ms and 50 MB/s a connection')
    the_proxy_itself()
    with scratch() as d, service('seaweed') as place:
        if place is None: return
        make(src := d/'large.bin', mb)
        with link(place.service.endpoint) as (port, used):
            endpoint = f'http://127.0.0.1:{port}'
            os.environ.update(OBJECTSTORE_STATE_DIR=f'{d}/state', OBJECTSTORE_CACHE_DIR=f'{d}/ours')
            ways = programs(d, endpoint, place.bucket,
                            f'{place.prefix}-raw') | {'obstore, 16 x 8 MB': raw_obstore(
                                place.bucket, f'{place.prefix}-raw', endpoint)}
            for p in ('s5cmd', 'rclone'):
                if p not in ways: say(f'_left out: {p} is not installed (extra `bench`)_')
            n = iter(range(10**6))
            def put(path):       # equal bytes would not be sent again
                with open(path, 'r+b') as f: f.write(str(next(n)).encode().zfill(16))
                our_store(place.url, endpoint).put('lab/large', path)
            def get(path, near=None):
                if near: shutil.rmtree(near, ignore_errors=True)
                our_store(place.url, endpoint, near)['lab/large'].path(to=path)
            ways |= {'objectstore, verified': (put, get),
                     'objectstore, verified, and kept near': (None, lambda path: get(path, d/'near'))}
            def timed(which, path):
                "Another one begins each round, and what is still to be written to the disk is written before each"
                names, begun = [k for k, w in ways.items() if w[which]], (used(), time.perf_counter())
                times = Times(names)
                for r in range(rounds):
                    for k in names[(at := r * len(names) // rounds):] + names[:at]:
                        os.sync()
                        wall, cpu = timed_once(lambda: ways[k][which](path), 1)
                        times[k].append(wall), times.cpu[k].append(cpu)
                return times, (used() - begun[0]) / (time.perf_counter() - begun[1])
            for what, which, path in (('put', 0, src), ('get', 1, d/'back.bin')):
                times, busy = timed(which, path)
                best = min((k for k in times if not k.startswith('objectstore')), key=lambda k: median(times[k]))
                report(f'{what}, {mb:,} MB', times, best)
                say(f'The proxy used {busy:.0%} of a core')
                verdict(f'{what}: rate as a part of the best other ({best})',
                        1 / ratio(times, 'objectstore, verified', best)[0], 1.0, at_most=False)
            get(d/'back.bin')
            say(f"The bytes came back the same: {hash_of(d/'back.bin') == hash_of(src)}")

if __name__ == '__main__':
    warnings.simplefilter('ignore')
    match sys.argv[1:]:
        case ['proxy', host, port, rate]: listen(lambda c: joined(c, (host, int(port)), float(rate)))
        case ['give']: listen(give)
        case rest: main(*map(int, rest or [1000]), **({} if len(rest) > 1 else {'rounds': 3}))
