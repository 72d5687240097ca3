"Every notebook is a test: nbdev executes it in a process of its own. One alone: `pytest -k store/04_reads`."
import importlib.util, os, signal, sys
from pathlib import Path
import pytest
from trial import start

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted(p.relative_to(ROOT) for p in (ROOT/'nbs').rglob('*.ipynb')
                   if not any(part[0] in '._' for part in p.relative_to(ROOT).parts))
# cells marked `#| torch` run where it is installed
FLAGS = [name for name in ['torch'] if importlib.util.find_spec(name)]


def execute(notebook: Path, environ: dict[str, str], output: Path) -> None:
    "Leaves what it prints in a file, and ends with an error where a cell does"
    os.setsid()
    os.environ.clear(), os.environ.update(environ), os.chdir(ROOT)
    with open(output, 'wb') as f:
        for fd in (1, 2): os.dup2(f.fileno(), fd)
    from nbdev.config import get_config
    from nbdev.test import test_nb
    ok, _ = test_nb(ROOT/notebook, skip_flags=get_config().tst_flags.split(), force_flags=FLAGS, basepath=ROOT,
                    cell_timeout=900)
    sys.exit(not ok)

@pytest.mark.timeout(1200)
@pytest.mark.parametrize('notebook', NOTEBOOKS,
                         ids=[p.with_suffix('').relative_to('nbs').as_posix() for p in NOTEBOOKS])
def test_notebook(notebook, tmp_path):
    p = start(execute, notebook, dict(os.environ), tmp_path/'output', daemon=False)
    try: p.join()
    finally:
        try: os.killpg(p.pid, signal.SIGKILL)          # a notebook that failed may leave its service behind
        except ProcessLookupError: pass
    if p.exitcode: pytest.fail((tmp_path/'output').read_text(errors='replace'), pytrace=False)
