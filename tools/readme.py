"""README.md from nbs/index.ipynb. `make readme` runs this.

    tools/readme.py            execute the notebook and write README.md
    tools/readme.py --check    fail if README.md is older than the notebook; outputs, which may change from run to run,
    are not compared
"""
import contextlib, os, re, sys, tempfile
from pathlib import Path

from execnb.shell import CaptureShell
from fastcore.nbio import read_nb

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK, README = ROOT/'nbs'/'index.ipynb', ROOT/'README.md'
BEGIN, END = '<!-- output -->', '<!-- end -->'

def output(o: dict) -> str:
    "What one output shows in plain markdown"
    data = o.get('data', {})
    text = ''.join(data.get('text/markdown') or data.get('text/plain') or o.get('text', ''))
    return text if 'text/markdown' in data else f'```\n{text.rstrip()}\n```'

def cell(c: dict) -> str:
    "One cell as markdown; links between notebooks begin at the root"
    if 'hide' in c.directives: return ''
    if c.cell_type == 'markdown': return re.sub(r'\]\((?!\w+:|[#/])([^)]+)\)', r'](nbs/\1)', c.source)
    c.remove_directives()
    shown = [output(o) for o in c.get('outputs', []) if o['output_type'] != 'error']
    return '\n\n'.join([f'```python\n{c.source}\n```', *([BEGIN, *shown, END] if shown else [])])

def render(nb: dict) -> str:
    "The notebook as markdown"
    parts = ['<!-- Made from nbs/index.ipynb by `make readme`: edit that. -->', *(cell(c) for c in nb.cells)]
    return '\n\n'.join(p for p in parts if p.strip()) + '\n'

def without_outputs(text: str) -> str: return re.sub(rf'\n\n{BEGIN}.*?{END}', '', text, flags=re.DOTALL)

def main() -> None:
    nb = read_nb(NOTEBOOK)
    if '--check' in sys.argv:
        if without_outputs(README.read_text()) != without_outputs(render(nb)):
            sys.exit('README.md is not what nbs/index.ipynb says: run make readme')
        return
    with tempfile.TemporaryDirectory() as home, contextlib.chdir(home):
        os.environ['HOME'] = home                     # nothing of whoever makes the README gets into it
        CaptureShell().run_all(nb, exc_stop=True, preproc=lambda c: c.cell_type != 'code'
                               or c.directive('eval') == 'false', cell_timeout=300)
    README.write_text(render(nb))

if __name__ == '__main__': main()
