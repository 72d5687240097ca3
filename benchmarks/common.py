"""Fair timing: candidates take turns, so that what else the machine does slows all of them alike, and ratios are what
is told.

    times = compare({'objectstore': f, 'raw': g})      # A B, B A, A B, ...: a round each
    ratio(times, 'raw', 'objectstore')                 # how many times as fast as raw, by the medians and by the minima
    report('Small JSON, near', times, base='raw')      # a table in Markdown
"""
from __future__ import annotations
import json, os, platform, subprocess, sys, time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from shutil import which
from statistics import median
from tempfile import TemporaryDirectory

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent/'tests'))     # services and the proxy

class Times(dict):
    """Candidate: seconds a call, one a round; `cpu`: the same of this process's processor time, which a busy machine
    disturbs less"""
    def __init__(self, names: Iterable[str]):
        super().__init__({name: [] for name in names})
        self.cpu: dict[str, list[float]] = {name: [] for name in names}


def compare(candidates: Mapping[str, Callable[[], object]], rounds: int = 9, at_least: float = 0.05,
            warm: int = 1) -> Times:
    "Seconds a call of each candidate; short ones are called so often in a round that a round takes `at_least` seconds"
    for f in candidates.values():
        for _ in range(warm): f()
    calls = {name: _enough(f, at_least) for name, f in candidates.items()}
    times = Times(candidates)
    for i in range(rounds):
        for name in (list(candidates) if i % 2 == 0 else reversed(list(candidates))):
            wall, cpu = _timed(candidates[name], calls[name])
            times[name].append(wall)
            times.cpu[name].append(cpu)
    return times

def _timed(f: Callable[[], object], calls: int) -> tuple[float, float]:
    start, cpu = time.perf_counter(), time.process_time()
    for _ in range(calls): f()
    return (time.perf_counter() - start) / calls, (time.process_time() - cpu) / calls

def _enough(f: Callable[[], object], at_least: float) -> int:
    "How many calls take so long"
    return max(1, round(at_least / max(_timed(f, 1)[0], 1e-7)))

def ratio(times: Times, of: str, to: str) -> tuple[float, float]:
    "The time of one candidate as a multiple of another's: of the medians, of the minima"
    return median(times[of]) / median(times[to]), min(times[of]) / min(times[to])


def human(seconds: float) -> str:
    for unit, scale in (('s', 1), ('ms', 1e-3), ('µs', 1e-6)):
        if seconds >= scale: return f'{seconds / scale:.3g} {unit}'
    return f'{seconds / 1e-9:.3g} ns'

def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    "A table in Markdown"
    rows = [[str(c) for c in r] for r in (head, *rows)]
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    lines = ['| ' + ' | '.join(c.ljust(w) for c, w in zip(r, widths)) + ' |' for r in rows]
    return '\n'.join([lines[0], '|' + '|'.join('-' * (w + 2) for w in widths) + '|', *lines[1:]])

def report(title: str, times: Times, base: str, budgets: Mapping[str, str] = {}) -> None:
    "Print what was measured, as multiples of the base's time"
    rows = []
    for name, t in times.items():
        mid, low = ratio(times, name, base)
        rows.append([name, human(median(t)), human(min(t)), f'{mid:.2f}', f'{low:.2f}', human(min(times.cpu[name])),
                     budgets.get(name, '')])
    say(f'### {title}',
        table(['what', 'median', 'fastest', f'times {base} (medians)', '(fastest)', 'processor', 'budget'], rows))

def say(*texts: str) -> None:
    for t in texts: print(t, end='\n\n', flush=True)

def verdict(what: str, got: float, budget: float, at_most: bool = True, unit: str = '') -> None:
    "Print a figure beside its budget"
    met = got <= budget if at_most else got >= budget
    say(f"- **{what}**: {got:.3g}{unit} (budget: {'at most' if at_most else 'at least'} {budget:g}{unit}) "
        f"{'met' if met else '**not met**'}")


def machine(folder: str | os.PathLike = '.') -> str:
    "The machine, in general words"
    kind = (subprocess.run(['stat', '-f', '-c', '%T', str(folder)], capture_output=True, text=True).stdout.strip()
            if which('stat') else '')
    kind = {'ext2/ext3': 'ext4', '': platform.system()}.get(kind, kind)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    return (f'{cores} cores, {kind}, {platform.python_implementation()} '
            f'{platform.python_version_tuple()[0]}.{platform.python_version_tuple()[1]}, load {os.getloadavg()[0]:.1f}')

def heading(title: str) -> None: say(f'## {title}', f'({machine()}; every figure from one run, candidates in turn)')


def in_process(script: str, *args: object, env: Mapping[str, str] | None = None) -> dict:
    "Run Python in a fresh process: the JSON of its last line, and its peak memory in bytes (`peak`)"
    tail = (f'\nimport sys as _s, json as _j; _s.path.insert(0, {str(HERE)!r}); from common import peak_memory as _p; '
            f'print(_j.dumps(dict(globals().get("out") or {{}}, peak=_p())))')
    made = subprocess.run([sys.executable, '-c', script + tail, *map(str, args)], capture_output=True, text=True,
                          env={**os.environ, **(env or {})})
    if made.returncode: raise RuntimeError(made.stderr[-3000:])
    return json.loads(made.stdout.splitlines()[-1])

def peak_memory() -> int:
    "The most memory that this process has had, in bytes"
    status = Path('/proc/self/status')     # getrusage on Linux would begin with what the parent had
    if status.exists():
        return next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith('VmHWM'))
    import resource
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == 'darwin' else 1024)

@contextmanager
def scratch():
    "A folder on the disk that the benchmarks run on, removed at the end (`OBJECTSTORE_BENCH_FOLDER`: another place)"
    with TemporaryDirectory(prefix='objectstore-bench-', dir=os.environ.get('OBJECTSTORE_BENCH_FOLDER')) as d:
        from unittest.mock import patch
        with patch.dict(os.environ, XDG_CACHE_HOME=f'{d}/cache', XDG_DATA_HOME=f'{d}/data', PINS_CACHE_DIR=f'{d}/pins'):
            yield Path(d)

@contextmanager
def service(kind: str = 'seaweed'):
    "A running S3 service with its variables set, and the URL of a prefix on it; None where it cannot run here"
    from unittest.mock import patch
    from services import CephService, Place, S3Service
    cls = dict(seaweed=S3Service, ceph=CephService)[kind]
    if why := getattr(cls, 'missing', lambda: None)():
        say(f'_{kind}: left out: {why}_')
        yield None
        return
    with ExitStack() as stack:
        s = stack.enter_context(cls())
        place = Place(s)
        s.make_bucket(place.bucket)
        stack.enter_context(patch.dict(os.environ, s.environment))
        yield place

def raw_remote(place, **client):
    "A plain obstore client of a place"
    from obstore.store import S3Store
    return S3Store(place.bucket, prefix=f'{place.prefix}-raw', client_options={'allow_http': True, **client})

def installed(*modules: str) -> bool:
    from importlib.util import find_spec
    missing = [m for m in modules if not find_spec(m)]
    if missing: say(f"_left out: {', '.join(missing)} is not installed (extra `bench`)_")
    return not missing
