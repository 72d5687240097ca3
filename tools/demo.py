"""Work through the tutorial as a reader would. `make demo` runs this.

    tools/demo.py           execute the notebook, keep it in _demo/ with a page beside it, and tell what it did
    tools/demo.py --copy    only put a fresh copy into _demo/, if there is none
"""
import os, re, shutil, sys, time
from pathlib import Path

from execnb.shell import CaptureShell
from fastcore.nbio import read_nb, write_nb

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK, FOLDER = ROOT/'nbs'/'tutorials'/'demo.ipynb', ROOT/'_demo'

def tell(cell: dict) -> bool:
    "Name each part as it begins; every cell is run"
    title = re.match(r'##? (.+)', cell.source) if cell.cell_type == 'markdown' else None
    if title: print(f'  {title[1]}', flush=True)
    return cell.cell_type != 'code'

def last_words(nb: dict) -> str:
    "What the last cell that shows something displays as text"
    shown = [''.join(o['data'].get('text/plain', '')) for c in nb.cells for o in c.get('outputs', []) if 'data' in o]
    return shown[-1] if shown else ''

def save(nb: dict, copy: Path) -> Path:
    "The executed notebook, and a page that needs no network"
    from nbconvert import HTMLExporter
    from traitlets.config import Config
    for c in nb.cells: c.metadata.pop('execution', None)     # not of the notebook format
    write_nb(nb, copy)
    nothing_far = dict(require_js_url='', jquery_url='', mathjax_url='', mermaid_js_url='', jupyter_widgets_base_url='',
                       html_manager_semver_range='')
    hidden = dict(RegexRemovePreprocessor=dict(patterns=[r'#\|\s*hide\b', r'\s*\Z'], enabled=True))
    exporter = HTMLExporter(config=Config(hidden), **nothing_far)
    page = copy.with_suffix('.html')
    page.write_text(exporter.from_filename(str(copy))[0])
    return page

def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    copy = FOLDER/'demo.ipynb'
    if '--copy' in sys.argv:
        if not copy.exists(): shutil.copy(NOTEBOOK, copy)
        return
    nb, began, shell = read_nb(NOTEBOOK), time.monotonic(), CaptureShell(copy)
    os.chdir(FOLDER)
    try: shell.run_all(nb, exc_stop=True, preproc=tell, cell_timeout=300)
    except Exception: failed = shell.prettytb(fname=NOTEBOOK.relative_to(ROOT))
    else: failed = ''
    page = save(nb, copy)
    if failed: sys.exit(f'{failed}\nWhat was done until then: {copy.relative_to(ROOT)}')
    print(f'\n{last_words(nb)}\n\n{time.monotonic() - began:.0f} seconds in all. Where to go on:\n'
          f'  {page.relative_to(ROOT)}    the whole page with its tables and pictures, for a browser\n'
          f'  make lab           the same notebook in JupyterLab, to change and run again')

if __name__ == '__main__': main()
