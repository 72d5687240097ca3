"""Calculated objects whose code is large: a function added to modules of Python that are copied into a project, and to
a module of a hundred functions; decoration, first call and a call that is fresh, beside joblib.Memory

Each figure is the least of several fresh processes: what has been read of code once is known to a process. Which of
them sees that a helper was edited is tried, too.

    bench_fresh.py 3      # 3 processes each
"""
import sys
from importlib.util import find_spec
from pathlib import Path
from common import heading, human, in_process, installed, say, scratch, table, verdict

USES = {'argparse': 'ArgumentParser().parse_args([]) is not None', 'pathlib': "str(Path('a')/'b')",
        'fractions': 'str(Fraction(1, 2))', 'typing': 'str(Optional[int])', 'a hundred functions': 'g99()',
        'one function': '1'}

def source(name: str) -> str:
    "The text of a module, with a function that uses it"
    text = Path(find_spec(name).origin).read_text() if name.isidentifier() else ''
    if name == 'a hundred functions':
        text = ''.join(f'V{i} = {i}\ndef g{i}(): return V{i}{f" + g{i - 1}()" * (i > 0)}\n' for i in range(100))
    return f'{text}\ndef f(n=0): return {USES[name]}\n'

MADE = """
import os, sys, time, warnings
warnings.simplefilter('ignore')
folder, way = sys.argv[1:]
sys.path.insert(0, folder)
os.chdir(folder)
import ours
if way == 'joblib':
    import joblib
    decorate = joblib.Memory('joblib', verbose=0).cache
else:
    from objectstore import ObjectStore
    store = ObjectStore('store', progress=False)
    store.put('data/ready', 1)
    decorate = store.calculated('f/x')
def timed(do):
    began = time.process_time()
    found = do()
    return found, time.process_time() - began
f, decoration = timed(lambda: decorate(ours.f))
_, first = timed(f)
f()
hit = min(timed(f)[1] for _ in range(100))
out = dict(decoration=decoration, first=first, hit=hit,
           parts=len(f._code.graph().parts) if way == 'objectstore' else 0)
"""

EDITED = """
import os, sys, warnings
warnings.simplefilter('ignore')
folder, way, value = sys.argv[1:]
os.chdir(folder)
with open('edited.py', 'w') as file: file.write(f'def helper(): return {value}\\ndef f(): return helper()\\n')
sys.path.insert(0, '')
sys.dont_write_bytecode = True
import edited
if way == 'joblib':
    import joblib
    f = joblib.Memory('joblib', verbose=0).cache(edited.f)
else:
    from objectstore import ObjectStore
    f = ObjectStore('store', progress=False).calculated('f/edited')(edited.f)
out = dict(value=f())
"""

def figures(name: str, way: str, times: int) -> dict[str, float]:
    "The least of several processes, each with a store of its own"
    found = []
    for _ in range(times):
        with scratch() as d:
            (d/'ours.py').write_text(source(name))
            found.append(in_process(MADE, d, way))
    return {k: min(x[k] for x in found) for k in found[0]}

def sees_edits(way: str) -> bool:
    "A helper is edited between two processes: is the result the new one?"
    with scratch() as d: return [in_process(EDITED, d, way, k)['value'] for k in (1, 2)] == [1, 2]

def main(times: int) -> None:
    ways = ['objectstore'] + ['joblib'] * installed('joblib')
    rows, slowest = [], 0.0
    for name in USES:
        found = {way: figures(name, way, times) for way in ways}
        slowest = max(slowest, found['objectstore']['decoration'])
        rows.append([name, found['objectstore']['parts'],
                     *(human(found[way][k]) for k in ('decoration', 'first', 'hit') for way in ways)])
    heading('A function of a large module: processor time')
    head = [f'{k}, {"joblib.Memory" if way == "joblib" else way}' for k in ('decoration', 'first call', 'fresh call')
            for way in ways]
    say(table(['added to', 'parts', *head], rows))
    verdict('the slowest decoration', slowest * 1e3, 5, unit=' ms')
    say(table(['', 'an edited helper'], [[way, 'is seen' if sees_edits(way) else '**is not seen**: the old result']
                                         for way in ways]))


if __name__ == '__main__':
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
