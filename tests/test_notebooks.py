"Every notebook is a test: nbdev's own runner executes it in a process of its own. One alone: `pytest -k 60_store`."
import importlib.util, os, signal, subprocess, sys
from pathlib import Path
import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted(p.relative_to(ROOT) for p in (ROOT/'nbs').rglob('*.ipynb') if not any(part[0] in '._' for part in p.relative_to(ROOT).parts))
FLAGS = ' '.join(name for name in ['torch'] if importlib.util.find_spec(name))    # cells marked `#| torch` run where it is installed


@pytest.mark.parametrize('notebook', NOTEBOOKS, ids=[p.with_suffix('').relative_to('nbs').as_posix() for p in NOTEBOOKS])
def test_notebook(notebook):
    command = [Path(sys.executable).with_name('nbdev-test'), notebook, '--n-workers', '0', '--cell-timeout', '240', '--flags', FLAGS]
    run = subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    try: output, _ = run.communicate()
    finally:
        try: os.killpg(run.pid, signal.SIGKILL)          # a notebook that failed may leave its service behind
        except ProcessLookupError: pass
    if run.returncode: pytest.fail(output, pytrace=False)
