"""The browser in JupyterLab and Notebook, by mouse and by keyboard, with the kernel that is installed and with an
older one"""
import json, os, socket, subprocess, sys, time
from pathlib import Path
from urllib.request import urlopen
import pytest
from bridge import CHROMIUM

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not CHROMIUM, reason='no Chromium here: apt-get install chromium, '
                                                   'or name one in OBJECTSTORE_TEST_CHROMIUM')]
ROOT = Path(__file__).resolve().parent.parent
OLD = 'ipykernel==6.31.0'
CELLS = [
    """from objectstore import ObjectStore
store = ObjectStore('memory://', progress=False)
for auc in (0.87, 0.91): v = store.put('models/churn', {'auc': auc}, metadata={'auc': auc}, kind='model')
for i in range(120): v = store.put(f'lab/item-{i:03}', i)
import ipykernel; ipykernel.__version__""",
    "w = store.browse(); w",
    "import time\nfrom pathlib import Path\nwhile not Path('enough').exists(): time.sleep(0.05)\n'it has worked'",
    "w.wait(60).value.ref, model"]

def notebook(path: Path, kernel: str) -> None:
    cells = [dict(cell_type='code', id=f'c{i}', metadata={}, execution_count=None, outputs=[], source=s)
             for i, s in enumerate(CELLS)]
    path.write_text(json.dumps(dict(cells=cells,
                                    metadata=dict(kernelspec=dict(name=kernel, display_name=kernel, language='python')),
                                    nbformat=4, nbformat_minor=5)))

def kernelspec(folder: Path, name: str, before: Path | None) -> None:
    "A kernel of this Python, with other packages before its own"
    (folder/'kernels'/name).mkdir(parents=True)
    path = os.pathsep.join(str(p) for p in (before, ROOT) if p)
    argv = [sys.executable, '-m', 'ipykernel_launcher', '-f', '{connection_file}']
    (folder/'kernels'/name/'kernel.json').write_text(
        json.dumps(dict(argv=argv, display_name=name, language='python', env={'PYTHONPATH': path})))

@pytest.fixture(scope='session')
def old_kernel(tmp_path_factory) -> Path:
    "An older ipykernel in a folder of its own"
    folder = tmp_path_factory.mktemp('old')
    done = subprocess.run([sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps', '--target', folder, OLD],
                          capture_output=True, text=True)
    if done.returncode: pytest.skip(f'{OLD} cannot be had here: {done.stderr.strip()[-200:]}')
    return folder

class Server:
    "A server of JupyterLab and Notebook with nothing of the user's"
    def __init__(self, folder: Path):
        self.folder, self.port = folder, free_port()
        home = folder/'home'
        settings = home/'lab'/'user-settings'/'@jupyterlab'/'apputils-extension'
        settings.mkdir(parents=True)
        (settings/'notification.jupyterlab-settings').write_text('{"fetchNews": "false", "checkForUpdates": false}')
        env = {k: v for k, v in os.environ.items()
               if not k.startswith(('JUPYTER', 'OBJECTSTORE', 'JPY'))} | dict(
                   HOME=str(home), JUPYTER_CONFIG_DIR=str(home/'config'), JUPYTER_DATA_DIR=str(folder/'data'),
            JUPYTER_RUNTIME_DIR=str(home/'run'), JUPYTERLAB_SETTINGS_DIR=str(home/'lab'/'user-settings'),
            IPYTHONDIR=str(home/'ipython'))
        self.log = open(folder/'log', 'w')
        self.process = subprocess.Popen([sys.executable, '-m', 'jupyterlab', '--no-browser', '--allow-root',
                                         '--LabApp.expose_app_in_browser=True',
                                         '--JupyterNotebookApp.expose_app_in_browser=True', f'--port={self.port}',
                                         '--ServerApp.port_retries=0', '--IdentityProvider.token=',
                                         '--ServerApp.ip=127.0.0.1', f'--ServerApp.root_dir={folder}'], env=env,
                                        stdout=self.log, stderr=self.log, cwd=folder)
        self.url = f'http://127.0.0.1:{self.port}'
    def ready(self) -> 'Server':
        until = time.monotonic() + 300
        while time.monotonic() < until:
            try: urlopen(f'{self.url}/api', timeout=10).close(); return self
            except OSError:
                if self.process.poll() is not None: break
                time.sleep(0.2)
        pytest.fail('the server does not start: ' + (self.folder/'log').read_text()[-2000:])
    def close(self) -> None:
        self.process.terminate()
        try: self.process.wait(15)
        except subprocess.TimeoutExpired: self.process.kill()
        self.log.close()

@pytest.fixture(scope='session')
def server(tmp_path_factory):
    "One server for all tests of a process: each has a folder, a notebook and a kernel of its own"
    pytest.importorskip('jupyterlab')
    folder = tmp_path_factory.mktemp('jupyter')
    kernelspec(folder/'data', 'now', None)
    s = Server(folder)
    try: yield s.ready()
    finally: s.close()

def free_port() -> int:
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]

READY = """async path => {
  const app = window.jupyterapp, sleep = ms => new Promise(done => setTimeout(done, ms))
  const panel = () => [...app.shell.widgets('main')].find(w => w.context?.path === path)
  for (let i = 0; i < 1200 && !panel()?.sessionContext; i++) await sleep(100)
  const it = panel(); await it.context.ready; await it.sessionContext.ready; await it.sessionContext.session.kernel.info
  return true }"""

def run_cell(page, i: int, wait: bool = True) -> None:
    "Select one cell and run it by its command"
    page.evaluate("""([i]) => {
      const p = [...window.jupyterapp.shell.widgets('main')].find(w => w.content?.widgets)
      p.content.activeCellIndex = i
      p.content.deselectAll()
      window.done = false
      window.jupyterapp.commands.execute('notebook:run-cell').then(() => { window.done = true }) }""", [i])
    if wait: page.wait_for_function('window.done', timeout=90_000)

@pytest.fixture
def opened(server, chromium, request):
    "Opens a notebook of the server, in a folder of its own, in a page; and closes the page, its kernel and its files"
    def open_(place: str, kernel: str, name: str):
        folder = server.folder/name
        folder.mkdir()
        notebook(folder/'try.ipynb', kernel)
        page = chromium.new_page(viewport={'width': 1200, 'height': 1000})
        request.addfinalizer(lambda: page.close())
        page.set_default_timeout(120_000)
        # a workspace of its own: none restores the tabs of another
        page.goto(f'{server.url}/{place.format(name=name)}/{name}/try.ipynb')
        page.wait_for_function('window.jupyterapp')
        page.evaluate(READY, f'{name}/try.ipynb')
        return page, folder
    return open_

@pytest.mark.timeout(600)
@pytest.mark.parametrize('app, place, kernel',
                         [('jupyterlab', 'lab/workspaces/{name}/tree', 'now'),
                          ('jupyterlab', 'lab/workspaces/{name}/tree', 'before'), ('notebook', 'notebooks', 'now')],
                         ids=['lab', 'lab-ipykernel-6', 'notebook'])
def test_the_browser_in_jupyter(app, place, kernel, server, opened, request):
    pytest.importorskip(app)
    if kernel == 'before': kernelspec(server.folder/'data', 'before', request.getfixturevalue('old_kernel'))
    page, folder = opened(place, kernel, f'{app}-{kernel}')
    run_cell(page, 0)
    run_cell(page, 1)
    page.wait_for_selector('.osb-body .osb-row .osb-text')

    page.fill('.osb-search', 'churn')                                            # by mouse
    page.wait_for_function("document.querySelector('.osb-count').innerText === '1 of 121'")
    page.locator('.osb-body .osb-row').first.click()
    page.wait_for_function("document.querySelectorAll('.osb-list .osb-v').length === 2")
    page.wait_for_function("document.querySelector('.osb-panel').innerText.includes('0.91')")

    # by keyboard: what is typed stays in the browser
    cells = page.evaluate("document.querySelectorAll('.jp-Notebook .jp-Cell').length")
    page.locator('.osb-grid').focus()
    for key in ('Enter', 'j', 'd', 'd', 'b', 'a', 'x'): page.keyboard.press(key)
    page.wait_for_function("document.querySelector('.osb-panel').innerText.includes('0.87')")
    page.keyboard.press('l')
    page.keyboard.press('Control+a')
    page.keyboard.type('model')
    page.keyboard.press('Enter')
    page.wait_for_function("document.querySelector('.osb-status').innerText.includes('model = models/churn@1')")
    assert page.evaluate("document.querySelectorAll('.jp-Notebook .jp-Cell').length") == cells
    page.keyboard.press('Escape'); page.keyboard.press('Escape')
    page.wait_for_function("document.querySelector('.osb-count').innerText === '121'")
    last = "[...document.querySelectorAll('.osb-body .osb-text')].some(x => x.innerText === 'models/churn')"
    page.locator('.osb-grid').focus(); page.keyboard.press('End')
    page.wait_for_function(last)                                                            # further rows have come
    page.keyboard.press('Home')

    # a cell that works until it is told that it is enough
    run_cell(page, 2, wait=False)
    page.locator('.osb-search').scroll_into_view_if_needed()
    page.wait_for_function("[...document.querySelectorAll('.jp-InputPrompt')].some(p => p.innerText.includes('*'))")
    page.fill('.osb-search', 'item-11')
    page.wait_for_function("[...document.querySelectorAll('.osb-body .osb-text')].length === 10")
    page.fill('.osb-search', '')
    page.wait_for_function("document.querySelector('.osb-count').innerText === '121'")
    page.locator('.osb-grid').focus()
    page.keyboard.press('End')
    page.wait_for_function(last)
    assert not page.evaluate('window.done')
    (folder/'enough').touch()
    page.wait_for_function('window.done')
    page.wait_for_function("document.querySelector('.osb-panel').innerText.includes('auc')")

    run_cell(page, 3)
    out = page.locator('.jp-OutputArea-output').last.inner_text()
    assert "{'auc': 0.87}" in out, out
    assert page.locator('.jp-OutputArea-output', has_text='Traceback').count() == 0

@pytest.mark.timeout(600)
def test_a_notebook_that_is_opened_again_without_its_kernel_shows_what_was_there(server, opened, chromium):
    page, folder = opened('lab/workspaces/{name}/tree', 'now', 'saved')
    run_cell(page, 0)
    run_cell(page, 1)
    page.wait_for_selector('.osb-body .osb-row .osb-text')
    # there is a browser
    assert page.locator('.objectstore-kept').count() == 1 and page.locator('.objectstore-kept').is_hidden()
    page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    page.wait_for_function("![...window.jupyterapp.shell.widgets('main')].find(w => "
                           "w.content?.widgets).context.model.dirty")
    page.evaluate("[...window.jupyterapp.shell.widgets('main')].find(w => w.content?.widgets)"
                  ".sessionContext.shutdown()")
    page.goto(f'{server.url}/lab/workspaces/again/tree/saved/try.ipynb')
    page.locator('.objectstore-kept > summary').click()
    page.locator('.objectstore-kept summary', has_text='lab: 120 items').click()
    assert page.locator('.objectstore-kept tr', has_text='lab/item-119@1').first.is_visible()
