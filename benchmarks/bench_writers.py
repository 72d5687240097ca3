"""How long a put waits for its turn where several processes put one item, beside items of their own and beside raw
`link` claims: on local files, on a folder opened as a shared volume, on one in user space that answers slowly, on
SeaweedFS. `bench_writers.py local 8 one` takes one place, one number of writers, and one item alone; with
`BEFORE=/path/of/another/tree` the same is asked of the code there, in turn"""
import json, os, subprocess, sys, time, warnings
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median, quantiles

HERE = Path(__file__).resolve().parent
SECONDS, WORD = float(os.environ.get('SECONDS_EACH', 4)), 'x' * 4000


def timed(put, seconds: float) -> list[tuple[float, int]]:
    "How long each put took, and the number that it got, as many as there is time for"
    done, end = [], time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        n = put(len(done))
        done.append((time.perf_counter() - start, n))
    return done

def putter(url: str, item: str):
    from objectstore import ObjectStore
    s = ObjectStore(url, progress=False, timeout=30.0)
    s.put(f'warm/{os.getpid()}', 1)
    return lambda i: s.put(f'lab/{item}', f'{os.getpid()} {i} {WORD}').version

def linker(folder: str, item: str):
    "The least that a claim of a number needs: a durable file, and a link to the next free number"
    os.makedirs(at := f'{folder}/{item}', exist_ok=True)
    n = 1
    def put(i: int) -> int:
        nonlocal n
        name = f'{at}/.tmp-{os.getpid()}'
        fd = os.open(name, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)
        os.write(fd, f'{os.getpid()} {i} {WORD}'.encode())
        os.fsync(fd)
        while True:
            try: os.link(name, f'{at}/{n:010}')
            except FileExistsError: n += 1
            else: break
        os.close(fd)
        os.unlink(name)
        fd = os.open(at, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)
        return n
    return put

def writer(kind: str, url: str, item: str) -> None:
    put = {'put': putter, 'link': linker}[kind](url, item)
    print('ready', flush=True)
    sys.stdin.readline()
    print(json.dumps(timed(put, SECONDS)), flush=True)

def race(kind: str, url: str, items: list[str], tree: str) -> list[list[tuple[float, int]]]:
    "What each of several processes did"
    env = {**os.environ, 'PYTHONPATH': f'{tree}{os.pathsep}{HERE}'}
    all = [subprocess.Popen([sys.executable, __file__, 'writer', kind, url, i], env=env, text=True, stdin=-1, stdout=-1)
           for i in items]
    try:
        for p in all:
            if p.stdout.readline().strip() != 'ready': raise RuntimeError('a writer ended before it began')
        for p in all: p.stdin.write('\n'); p.stdin.flush()
        return [json.loads(p.stdout.readline()) for p in all]
    finally:
        for p in all: p.kill(); p.wait()

@contextmanager
def places():
    "Name, and the URL of a new place at each call"
    from common import scratch, service
    sys.path.append(str(HERE.parent/'tests'))
    with ExitStack() as stack:
        d = stack.enter_context(scratch())
        def new(folder, more=''):
            n = iter(range(10**6))
            def url(): (p := folder/f'{next(n)}').mkdir(parents=True); return f'file://{p}{more}'
            return url
        found = {'local': new(d/'local'), 'shared': new(d/'shared', '?shared=true')}
        try:
            from volume import mounted, why_not
            if not why_not():
                stack.enter_context(mounted(d/'below', d/'volume'))
                found['slow volume'] = new(d/'volume', '?shared=true')
        except ImportError: pass
        if (place := stack.enter_context(service('seaweed'))) is not None:
            n = iter(range(10**6))
            found['seaweed'] = lambda: f'{place.url}/{next(n)}'
        yield found

def figures(done: list[list[tuple[float, int]]], one: bool) -> list[str]:
    waits = sorted(s for each in done for s, _ in each)
    numbers = sorted(n for each in done for _, n in each)
    whole = not one or numbers == list(range(1, len(numbers) + 1))
    ms = lambda s: f'{1000 * s:,.1f}'
    return [f'{len(waits) / SECONDS:,.0f}', ms(median(waits)), ms(quantiles(waits, n=20)[-1]), ms(waits[-1]),
            f'{min(map(len, done))} to {max(map(len, done))}', 'yes' if whole else 'NO']

def main(only: list[str]) -> None:
    from common import heading, say, table
    heading('Puts of one item by several processes')
    trees = {'put': str(HERE.parent)} | ({'put, before': before} if (before := os.environ.get('BEFORE')) else {})
    counts, rows = [int(x) for x in only if x.isdigit()] or [1, 2, 4, 8], []
    wanted, own = [x for x in only if not x.isdigit() and x != 'one'], 'one' not in only
    with places() as found:
        for place, url in found.items():
            if wanted and place not in wanted: continue
            for n in counts:
                for one in (True, False)[:1 + own]:
                    what = f'{n}, {"one item" if one else "own items"}'
                    items = ['item' if one else f'item{i}' for i in range(n)]
                    if place != 'seaweed':
                        done = race('link', url().removeprefix('file://').partition('?')[0], items, '')
                        rows.append([place, what, 'link', *figures(done, one)])
                    for name, tree in trees.items():
                        rows.append([place, what, name, *figures(race('put', url(), items, tree), one)])
                        print(rows[-2:], file=sys.stderr, flush=True)
    say(table(['place', 'writers', 'what', 'a second', 'median ms', 'p95 ms', 'worst ms', 'puts of a writer', 'dense'],
              rows))

if __name__ == '__main__':
    warnings.simplefilter('ignore')
    match sys.argv[1:]:
        case ['writer', kind, url, item]: writer(kind, url, item)
        case only: main(only)
