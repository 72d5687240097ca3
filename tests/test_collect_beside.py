"""A collector that runs all the time beside processes that put, share, remove, restore and read: what was acknowledged
and not removed is there, whatever happened

`make test` looks at it for some seconds; `make soak` (OBJECTSTORE_SOAK=20) for minutes, on files and on a service. Run
alone: `python tests/test_collect_beside.py SECONDS [URL]`.
"""
import json, multiprocessing, os, random, signal, sys, tempfile, time, warnings
from pathlib import Path
import pytest
from objectstore import ObjectStore
from objectstore.care import collect
from objectstore.errors import NotFound, ObjectStoreError
from stacks import home, stack      # noqa: F401 (fixtures)
from trial import SOAK, content, whole

SIZE, CONTENTS, ITEMS = 40_000, 8, 4
_spawn = multiprocessing.get_context('spawn')

def write(url: str, options: dict, me: int, seconds: float, log: str) -> None:
    "Puts of few contents, so that they share, removals and restores; each acknowledgement is a line of a log"
    warnings.simplefilter('ignore')
    store, rng, end = ObjectStore(url, near=False, progress=False,
                                  **options), random.Random(me), time.monotonic() + seconds
    own: list[str] = []
    with open(log, 'a', buffering=1) as f:
        def say(*what): f.write(json.dumps(what) + '\n')
        while time.monotonic() < end:
            # some contents come again and again, others once
            item, c = f'b/m{rng.randrange(ITEMS)}', rng.choice([rng.randrange(CONTENTS), f'{me}-{time.monotonic_ns()}'])
            try:
                if len(own) > 2 or own and rng.random() < 0.45:      # so few live that contents die, and come back
                    ref = own.pop(rng.randrange(len(own)))
                    say('removing', ref)                  # from here on it may be gone
                    store.remove(ref)
                    if rng.random() < 0.3:
                        try:
                            store.origin.bucket('b').restore(ref.split('/')[1].split('@')[0], int(ref.split('@')[1]),
                                'w')
                        except NotFound: continue         # collected before: it says so
                        say('put', ref, None)
                        own.append(ref)
                else:
                    ref = store.put(item, content(f'c{c}', SIZE)).ref
                    say('put', ref, f'c{c}')
                    own.append(ref)
            except (ObjectStoreError, OSError) as e: say('error', type(e).__name__, str(e)[:200])

def gather(url: str, options: dict, seconds: float, log: str) -> None:
    "Runs of the collector, one behind the other; what is new counts as old enough"
    warnings.simplefilter('ignore')
    collect.HOUR = -1e6
    store, end = ObjectStore(url, near=False, progress=False, **options), time.monotonic() + seconds
    with open(log, 'a', buffering=1) as f:
        while time.monotonic() < end:
            try: done = [o.became for o in store.care.gc('b', grace=0).apply()]
            except (ObjectStoreError, OSError) as e:
                f.write(json.dumps(['error', type(e).__name__, str(e)[:200]]) + '\n')
                continue
            f.write(json.dumps(['run', done.count('freed'), len(done)]) + '\n')

def read(url: str, options: dict, seconds: float, log: str) -> None:
    "The latest of each item, over and over: right bytes, or gone meanwhile"
    warnings.simplefilter('ignore')
    store, end, n = ObjectStore(url, near=False, progress=False, **options), time.monotonic() + seconds, 0
    with open(log, 'a', buffering=1) as f:
        while time.monotonic() < end:
            try: whole(store.get(f'b/m{n % ITEMS}')); n += 1
            except NotFound: n += 1
            except (ObjectStoreError, OSError) as e:
                f.write(json.dumps(['error', type(e).__name__, str(e)[:200]]) + '\n')
                n += 1
        f.write(json.dumps(['read', n]) + '\n')

def lines(log) -> list:
    return [json.loads(x) for x in Path(log).read_text().splitlines()] if Path(log).exists() else []

def beside(url: str, options: dict, folder: Path, seconds: float, kills: bool = False) -> dict:
    "Four writers, two collectors and a reader; `kills`: a collector is killed now and then, and begun again"
    ObjectStore(url, near=False, progress=False, **options).put('b/first', 1)
    w = [_spawn.Process(target=write, args=(url, options, i, seconds, str(folder/f'w{i}'))) for i in range(4)]
    g = [_spawn.Process(target=gather, args=(url, options, seconds, str(folder/f'g{i}'))) for i in range(2)]
    r = _spawn.Process(target=read, args=(url, options, seconds, str(folder/'r')))
    for p in [*w, *g, r]: p.start()
    end, killed, rng = time.monotonic() + seconds, 0, random.Random(0)
    while kills and time.monotonic() < end - 5:
        time.sleep(rng.uniform(2, 6))
        os.kill(g[1].pid, signal.SIGKILL); g[1].join(); killed += 1
        g[1] = _spawn.Process(target=gather, args=(url, options, end - time.monotonic(), str(folder/'g1')))
        g[1].start()
    for p in [*w, *g, r]: p.join()
    return told(url, options, folder) | {'killed': killed}

def told(url: str, options: dict, folder: Path) -> dict:
    "What the logs say, compared with what is there"
    says, errors, runs, freed = {}, [], 0, 0
    for i in range(4):
        for x in lines(folder/f'w{i}'):
            if x[0] == 'put': says[x[1]] = True
            elif x[0] == 'removing': says[x[1]] = False
            else: errors.append(x)
    for i in range(2):
        for x in lines(folder/f'g{i}'):
            if x[0] == 'run': runs += 1; freed += x[1]
            else: errors.append(x)
    errors += [x for x in lines(folder/'r') if x[0] == 'error']
    store = ObjectStore(url, near=False, progress=False, **options)
    alive = [ref for ref, there in says.items() if there]
    missing = []
    for ref in alive:
        try: whole(store.get(ref))
        except Exception as e: missing.append((ref, str(e)[:100]))
    return dict(puts=len(says), alive=len(alive), missing=missing, runs=runs, freed=freed, errors=errors)

def shown(figure, where: str, seconds: float, found: dict) -> None:
    kinds = {}
    for x in found['errors']: kinds[x[1]] = kinds.get(x[1], 0) + 1
    figure(f'15 four writers, two collectors and a reader on {where}, {seconds:.0f} s', puts=found['puts'],
           alive=found['alive'], missing=len(found['missing']), runs=found['runs'], freed=found['freed'],
           killed=found['killed'], errors=kinds or 0)
    assert not found['missing'], found['missing'][:5]
    assert found['puts'] and found['runs']

@pytest.mark.parametrize('stack', ['local', 'seaweed'], indirect=True)
def test_four_writers_beside_collectors(stack, tmp_path, figure):
    seconds = min(5 * SOAK, 300)
    (logs := tmp_path/'logs').mkdir()
    shown(figure, stack.name, seconds, beside(stack.url, dict(stack.options), logs, seconds, kills=SOAK > 1))

if __name__ == '__main__':
    seconds, url = float(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp()
    found = beside(url, {}, logs := Path(tempfile.mkdtemp()), seconds, kills=True)
    kinds = {}
    for x in found['errors']: kinds[(x[1], x[2][:90])] = kinds.get((x[1], x[2][:90]), 0) + 1
    print({k: v for k, v in found.items() if k != 'errors'}, kinds, logs)
