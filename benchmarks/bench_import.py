"""What `import objectstore` takes, against a Python that does nothing, and which modules take it"""
import os, subprocess, sys
from statistics import median
from tempfile import TemporaryDirectory
from common import compare, heading, report, say, table, verdict

LAZY = ['anywidget', 'boto3', 'pyarrow', 'sqlglot', 'tqdm', 'numpy', 'pandas', 'polars', 'obstore', 'ipywidgets',
        'IPython']

def main():
    heading('Import')
    with TemporaryDirectory() as d:
        # as installed: with bytecode
        env = {k: v for k, v in os.environ.items() if k != 'PYTHONDONTWRITEBYTECODE'} | {'PYTHONPYCACHEPREFIX': d}
        def run(code): return lambda: subprocess.run([sys.executable, '-c', code], env=env, check=True)
        times = compare({'pass': run('pass'), 'import objectstore': run('import objectstore'),
                         'open a local store': run('import objectstore, tempfile; '
                                                   'objectstore.ObjectStore(tempfile.gettempdir())'),
                         'obstore, blake3, fastcore.basics': run('import obstore, blake3, fastcore.basics')}, rounds=15,
                        at_least=0, warm=2)
        report('Processes, from start to end', times, 'pass')
        mid = median(times['import objectstore']) - median(times['pass'])
        verdict('import objectstore, beyond `pass`', mid, 0.15, unit=' s')
        verdict('the whole process', median(times['import objectstore']), 0.15, unit=' s')
        loaded = subprocess.run([sys.executable, '-c', 'import sys, objectstore; print(*sys.modules)'], env=env,
                                capture_output=True, text=True).stdout.split()
        say("Imported at once, of those that should wait for their use: "
            f"{', '.join(m for m in LAZY if m in loaded) or 'none'}; {len(loaded)} modules in all.")
        trace = subprocess.run([sys.executable, '-X', 'importtime', '-c', 'import objectstore'], env=env,
                               capture_output=True, text=True).stderr
    own = sorted(((int(a), name.strip()) for a, b, name in (line[12:].split('|') for line in trace.splitlines()[1:])),
                 reverse=True)[:15]
    say('### The heaviest modules by themselves', table(['module', 'ms'], [[n, f'{t / 1000:.1f}'] for t, n in own]))

if __name__ == '__main__': main()
