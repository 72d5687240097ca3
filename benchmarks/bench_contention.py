"""Many processes that put one item: 50 x 20 on local files beside raw `link` claims; 16 x 20 on Ceph RGW, 4 x 50 on
SeaweedFS. Every version is counted afterwards"""
import multiprocessing as mp, os, time, warnings
from common import heading, say, scratch, service, table, verdict
from objectstore import ObjectStore

WORD = 'x' * 4000


def putter(url, puts, ready, go, done):
    s = ObjectStore(url, progress=False, timeout=30.0)
    ready.release()
    go.wait()
    done.put([s.put('lab/item', f'{os.getpid()} {i} {WORD}').version for i in range(puts)])

def linker(folder, puts, ready, go, done):
    "The least that claims of numbers need: a durable file, and a link to the next free number"
    ready.release()
    go.wait()
    n, mine = 1, []
    for i in range(puts):
        fd = os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o444)
        os.write(fd, f'{os.getpid()} {i} {WORD}'.encode())
        os.fsync(fd)
        while True:
            try: os.link(f'/proc/self/fd/{fd}', f'{folder}/{n:010}', src_dir_fd=fd, follow_symlinks=True)
            except FileExistsError: n += 1
            else: break
        os.close(fd)
        fd = os.open(folder, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)
        mine.append(n)
    done.put(mine)

def race(work, url, processes, puts) -> tuple[float, list[int]]:
    "Seconds, and the numbers that the processes were given"
    ctx = mp.get_context('spawn')
    ready, go, done = ctx.Semaphore(0), ctx.Event(), ctx.Queue()
    all = [ctx.Process(target=work, args=(url, puts, ready, go, done), daemon=True) for _ in range(processes)]
    for p in all: p.start()
    for _ in all:
        while not ready.acquire(timeout=1):
            if any(p.exitcode for p in all): raise RuntimeError('a process ended before it began')
    start = time.perf_counter()
    go.set()
    numbers = [n for _ in all for n in done.get(timeout=300)]
    took = time.perf_counter() - start
    for p in all: p.join()
    return took, sorted(numbers)

def main():
    heading('Puts of one item by many processes')
    rows, rates = [], {}
    def note(what, took, numbers, wanted, listed=None):
        dense = numbers == list(range(1, wanted + 1)) and listed in (None, wanted)
        rates.setdefault(what, []).append(wanted / took)
        rows.append([what, wanted, len(set(numbers)), 'yes' if dense else 'NO', f'{wanted / took:.0f}'])
    with scratch() as d:
        for i in range(3):
            for what, work in (('raw link claims, 50 x 20', linker), ('local files, 50 x 20', putter)):
                (folder := d/f'{work.__name__}{i}').mkdir()
                if work is putter: ObjectStore(folder).find_or_create_bucket('lab')
                took, numbers = race(work, str(folder), 50, 20)
                note(what, took, numbers, 1000,
                     len(ObjectStore(folder).versions('lab/item')) if work is putter else None)
    for kind, processes, puts in (('ceph', 16, 20), ('seaweed', 4, 50)):
        with service(kind) as place:
            if place is None: continue
            ObjectStore(place.url, timeout=30.0).find_or_create_bucket('lab')
            took, numbers = race(putter, place.url, processes, puts)
            note(f'{kind}, {processes} x {puts}', took, numbers, processes * puts,
                 len(ObjectStore(place.url, timeout=30.0).versions('lab/item')))
    say(table(['what', 'puts', 'different numbers', 'dense, none lost', 'puts a second'], rows))
    from statistics import median
    verdict('local files: rate as a part of raw link claims',
            median(rates['local files, 50 x 20']) / median(rates['raw link claims, 50 x 20']), 0.3, at_most=False)

if __name__ == '__main__':
    warnings.simplefilter('ignore')
    main()
