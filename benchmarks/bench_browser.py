"""The browser on 100,000 items of a real S3 service (SeaweedFS), in a real Chromium, beside itables and ipydatagrid
with a frame of the same rows.

    bench_browser.py               # 100,000 items: some fifteen minutes, of which the filling takes three
    bench_browser.py 20000         # fewer
    bench_browser.py 20000 mine    # without the others
"""
from __future__ import annotations
import json, os, random, sys, time
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import mkdtemp
from unittest.mock import patch
from blake3 import blake3
from common import heading, human, installed, say, scratch, service, table
from objectstore import ObjectStore
from objectstore.search.changelog import Change, hint_at
from objectstore.format.records import Record, pack, to_json

N = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
ROUNDS = int(os.environ.get('OBJECTSTORE_BENCH_ROUNDS', 5))
FOLDERS, KINDS, STAGES = 'churn price demand fraud route energy'.split(), (
    'model', 'data', 'evaluation', 'report'), ['dev'] * 6 + ['test'] * 3 + ['prod']

def name(i: int) -> str: return f'{FOLDERS[i % 6]}/{2024 + i // 6 % 3}/run-{i:06}'

def metadata(i: int, n: int) -> dict:
    r = random.Random(7 * i + n)
    return dict(auc=round(r.betavariate(8, 2), 4), stage=r.choice(STAGES),
                region=r.choice(('north', 'south', 'east', 'west')), description='gradient boosted trees, '
                f'{r.choice(FOLDERS)}')

def record(i: int, n: int) -> Record:
    payload = to_json({'run': i, 'version': n})
    return Record('lab', name(i), n, 'json', len(payload), blake3(payload).hexdigest(), '', {},
                  to_json(dict(id=f'{10 * i + n:032x}', at=1_798_761_600_000_000 + 10 * i + n, kind=KINDS[i // 20 % 4],
                               author=f'user{i % 7}@lab', metadata=metadata(i, n), stats={'keys': 2}, lineage={})),
                  payload)

def fill(store: ObjectStore) -> int:
    """Items as records, put many at a time; a tenth has two versions, a twentieth three. (`put_many` looks for the
    number of each)"""
    store.find_or_create_bucket('lab')
    bucket, at = store.origin.bucket('lab'), [(i, n) for n, step in ((1, 1), (2, 10), (3, 20))
                                              for i in range(0, N, step)]
    start = time.perf_counter()
    for k in range(0, len(at), 5000):
        made = [record(*x) for x in at[k:k + 5000]]
        assert (all(x is True
                    for x in bucket.backend.create_many([(bucket.key(r.item, r.version), pack(r)) for r in made])))
        hint_at(bucket, [Change('put', r.item, r.version) for r in made], 'bench@lab')
    say(f'- {len(at):,} versions of {N:,} items, filled in {human(time.perf_counter() - start)}')
    return len(at)

@contextmanager
def new_machine():
    "State of a machine that knows nothing"
    with patch.dict(os.environ, OBJECTSTORE_STATE_DIR=mkdtemp(prefix='objectstore-bench-'),
                    OBJECTSTORE_CACHE_DIR=mkdtemp(prefix='objectstore-bench-')):
        yield

@contextmanager
def a_chromium():
    from bridge import CHROMIUM, FLAGS
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()

def until(page, js: str, seconds: float = 300) -> None: page.wait_for_function(js, timeout=1000 * seconds)

def timed(f, rounds: int = ROUNDS) -> float:
    "The median of some calls"
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        f()
        times.append(time.perf_counter() - start)
    return median(times)

class Timed(dict):
    "What was measured of one candidate"
    def one(self, what: str, f) -> None:
        start = time.perf_counter()
        f()
        self[what] = time.perf_counter() - start
    def many(self, what: str, f, before=lambda: None) -> None:
        times = []
        for _ in range(ROUNDS):
            before()
            start = time.perf_counter()
            f()
            times.append(time.perf_counter() - start)
        self[what] = median(times)

ROW = "document.querySelector('.osb-body .osb-row .osb-text')"
def rows_have(text: str) -> str:
    return f"[...document.querySelectorAll('.osb-body .osb-text')].some(x => x.innerText.includes('{text}'))"


def mine(chromium, place) -> Timed:
    "The browser: a new machine; one with an index; clicks, searches and keys"
    import objectstore.browser.widget      # noqa: F401 (what is imported once is no part of what follows)
    from bridge import open_page, wired
    found = Timed()
    with wired():
        with new_machine():
            def first():
                store = ObjectStore(place.url, progress=False, timeout=10.0)
                p = open_page(chromium, store, settle=False)
                until(p.page, ROW)
                return p
            start = time.perf_counter()
            p = first()
            found['first row, a new machine'] = time.perf_counter() - start
            def search(line, has):
                p.page.fill('.osb-search', line)
                until(p.page, "document.querySelector('.osb-count').innerText !== '' && "
                      f"document.querySelector('.osb-meant').innerText.includes({json.dumps(line)}) && {has}")
            at = time.perf_counter()
            search("stage = 'prod'", ROW)
            found['a search meanwhile'] = time.perf_counter() - at
            at = time.perf_counter()
            search('', ROW)
            while p.w.status == 'loading': p.page.wait_for_timeout(250)
            found['all of it, a new machine'] = time.perf_counter() - start
            p.page.close()
            # which it would do by itself in a moment, beside what is measured
            p.w.browsing.store.care.compact('lab')
            times = []
            for _ in range(ROUNDS):
                at = time.perf_counter()
                p = first()
                times.append(time.perf_counter() - at)
                if _ < ROUNDS - 1: p.settle(120).page.close()
            found['first row, with an index'] = median(times)
            p.settle(120)
            actions(p, found)
            say(f"- {p.evaluate('document.querySelectorAll(`.osb *`).length')} nodes in the page; index "
                f"{p.w.browsing.store.keeper.index.path.stat().st_size / 1e6:,.0f} MB")
            p.page.close()
        with new_machine():
            start = time.perf_counter()
            p = first()
            found['first row, a new machine, with a catalog'] = time.perf_counter() - start
            while p.w.status == 'loading': p.page.wait_for_timeout(250)
            found['all of it, a new machine, with a catalog'] = time.perf_counter() - start
            p.page.close()
    return found

def actions(p, found: Timed) -> None:
    "What a person does in it"
    page, seen = p.page, []
    def to_top():
        page.evaluate("document.querySelector('.osb-grid').scrollTop = 0")
        until(page, rows_have('run-'))
    def click():
        row = page.locator('.osb-body .osb-row').nth(3 + len(seen))
        seen.append(row.get_attribute('title').split('\n')[0])
        row.click()
        until(page,
              f"document.querySelector('.osb-title').innerText.includes({json.dumps(seen[-1].partition('@')[0])}) && "
              f"document.querySelector('.osb-panel .osb-node') && window.state_.preview.ref === {json.dumps(seen[-1])}")
    found.many('a click to its preview', click)
    numbers = iter(range(N - 1))
    def word():
        i = N // 2 + next(numbers)
        page.fill('.osb-search', f'run {i:06}')
        until(page, f"document.querySelector('.osb-count').innerText.startsWith('1 of') && {rows_have(f'run-{i:06}')}")
    found.many('a search: a word', word)
    def condition():
        line = f"auc > 0.9{next(numbers)}, stage = 'prod'"
        page.fill('.osb-search', line)
        until(page, f"window.state_.view.query === {json.dumps(line)} && window.state_.view.status === 'ready' && "
              "document.querySelector('.osb-count').innerText.includes(' of ')")
    found.many('a search: two conditions', condition)
    page.fill('.osb-search', '')
    until(page, f"document.querySelector('.osb-count').innerText === '{N:,}'")
    p.settle(60)
    def end():
        page.keyboard.press('End')
        until(page, "[...document.querySelectorAll('.osb-body .osb-row')].some(x => x.getAttribute('aria-rowindex') "
              f"=== '{N + 1}' && x.querySelector('.osb-text'))")
    def again():
        page.keyboard.press('Home')
        p.settle(60)
        page.evaluate("document.querySelector('.osb-grid').focus()")
    page.locator('.osb-grid').focus()
    found.many('End key to the last row', end, again)
    def middle():
        i = N // 2 + 997 * next(numbers) % (N // 4)
        page.evaluate(f"document.querySelector('.osb-grid').scrollTop = {26 * i}")
        until(page, "[...document.querySelectorAll('.osb-body .osb-row')].some(x => x.getAttribute('aria-rowindex') "
              f"=== '{i + 3}' && x.querySelector('.osb-text'))")
    found.many('scroll to the middle', middle, lambda: page.wait_for_timeout(200))


def frame():
    "The same rows"
    import pandas as pd
    return pd.DataFrame([{'name': f'lab/{name(i)}', 'kind': KINDS[i // 20 % 4], 'author': f'user{i % 7}@lab',
                          **metadata(i, 1)} for i in range(N)])

def with_itables(chromium, folder: Path) -> Timed | None:
    "itables: a page with all rows in it"
    if not installed('itables'): return None
    import itables
    from itables.javascript import generate_init_offline_itables_html
    found = Timed()
    file = folder/'itables.html'
    start = time.perf_counter()
    file.write_text('<!doctype html><meta charset="utf-8"><body>'
                    + generate_init_offline_itables_html(itables.options.dt_bundle) + itables.to_html_datatable(
                        frame(), connected=False, maxBytes=0, maxRows=0, maxColumns=0, showIndex=False))
    made = time.perf_counter() - start
    page = chromium.new_page(viewport={'width': 1000, 'height': 700})
    page.set_default_timeout(300_000)
    def load():
        page.goto(file.as_uri())
        until(page, "document.querySelector('table.dataTable tbody tr td:not(.dt-empty)')?.innerText.includes('run-')")
    start = time.perf_counter()
    load()
    found['first row, with an index'] = made + time.perf_counter() - start
    numbers = iter(range(1, N))
    def word():
        i = N // 2 + next(numbers)
        page.fill('input[type=search]', f'run-{i:06}')
        until(page, "document.querySelectorAll('table.dataTable tbody tr').length === 1 && "
              f"document.querySelector('table.dataTable tbody tr').innerText.includes('run-{i:06}')")
    found.many('a search: a word', word)
    page.fill('input[type=search]', '')
    until(page, "document.querySelectorAll('table.dataTable tbody tr').length > 5")
    first = "document.querySelector('table.dataTable tbody tr td').innerText"
    def last():
        before = page.evaluate(first)
        page.evaluate("document.querySelector('.dt-paging-button.last').click()")
        until(page, f'{first} !== {json.dumps(before)}')
    def home():
        page.evaluate("document.querySelector('.dt-paging-button.first').click()")
        page.wait_for_timeout(300)
    try: found.many('End key to the last row', last, home)
    except Exception as e: say(f'_itables, last page: {str(e).splitlines()[0]}_')
    say(f'- itables: the page has {file.stat().st_size / 1e6:,.0f} MB, made in {human(made)}')
    page.close()
    return found

INKED = """() => {
  const c = [...document.querySelectorAll('.ipydatagrid-widget canvas, .lm-DataGrid canvas')]
    .filter(c => c.width > 50 && c.height > 50)
  if (!c.length) return 0
  let sum = 0
  for (const x of c.slice(0, 2)) {
    const high = Math.max(1, Math.min(300, x.height - 60))
    const d = x.getContext('2d').getImageData(0, Math.min(60, x.height - 1), Math.min(x.width, 500), high).data
    for (let i = 0; i < d.length; i += 4) sum = (sum * 31 + d[i] + 256 * d[i + 1]) % 1000000007
  }
  return sum }"""

def with_ipydatagrid(chromium, folder: Path) -> Timed | None:
    "ipydatagrid in JupyterLab: it draws on a canvas, so what is seen is told by its pixels"
    if not installed('ipydatagrid', 'jupyterlab'): return None
    from test_browser_jupyter import READY, Server, kernelspec, run_cell
    cells = [f"import sys; sys.path.insert(0, {str(Path(__file__).resolve().parent)!r}); sys.argv = "
             f"['bench_browser.py', '{N}']\nfrom bench_browser import frame\nfrom ipydatagrid import DataGrid\ndf = "
             "frame()", 'g = DataGrid(df, layout={"height": "420px"}); g',
             "g.transform([{'type': 'filter', 'columnIndex': 1, 'operator': 'contains', 'value': 'run-0000'}])"]
    place = folder/'lab'
    place.mkdir()
    kernelspec(place/'data', 'now', Path(__file__).resolve().parent.parent/'tests')
    made = [dict(cell_type='code', id=f'c{i}', metadata={}, execution_count=None, outputs=[], source=s)
            for i, s in enumerate(cells)]
    kernel = dict(name='now', display_name='now', language='python')
    (place/'try.ipynb').write_text(
        json.dumps(dict(cells=made, metadata=dict(kernelspec=kernel), nbformat=4, nbformat_minor=5)))
    server, found = Server('jupyterlab', place), Timed()
    try:
        server.ready()
        page = chromium.new_page(viewport={'width': 1000, 'height': 900})
        page.set_default_timeout(180_000)
        page.goto(f'{server.url}/lab/tree/try.ipynb')
        page.wait_for_function('window.jupyterapp')
        page.evaluate(READY, 'try.ipynb')
        run_cell(page, 0)
        start = time.perf_counter()
        run_cell(page, 1, wait=False)
        page.wait_for_function("document.querySelector('.ipydatagrid-widget canvas, .lm-DataGrid canvas')",
                               timeout=180_000)
        page.evaluate(INKED)
        page.wait_for_function(f'(() => {{ const f = {INKED}; window.inked ??= f(); return f() > 0 && '
                               f'document.querySelector("canvas").width > 50 }})()', timeout=180_000)
        found['first row, with an index'] = time.perf_counter() - start
        page.wait_for_timeout(1500)
        grid = page.locator('.ipydatagrid-widget canvas, .lm-DataGrid canvas').first
        grid.scroll_into_view_if_needed()
        box = grid.bounding_box()
        page.mouse.click(box['x'] + 200, box['y'] + 100)
        page.wait_for_timeout(500)
        def changed(do):
            before = page.evaluate(INKED)
            do()
            page.wait_for_function(f'({INKED})() !== {before}', timeout=60_000)
        found.many('End key to the last row', lambda: changed(lambda: page.keyboard.press('Control+ArrowDown')),
                   lambda: (page.keyboard.press('Control+ArrowUp'), page.wait_for_timeout(500)))
        page.keyboard.press('Control+ArrowUp'); page.wait_for_timeout(500)
        page.mouse.move(box['x'] + 200, box['y'] + 100)
        found.many('scroll to the middle', lambda: changed(lambda: page.mouse.wheel(0, 20 * N // 2)),
                   lambda: (page.mouse.wheel(0, -30 * N), page.wait_for_timeout(500)))
        found.one('a search: a word', lambda: changed(lambda: run_cell(page, 2, wait=False)))
    except Exception as e: say(f'_ipydatagrid: {str(e).splitlines()[0]}_')
    finally: server.close()
    return found

WHATS = ('first row, a new machine', 'a search meanwhile', 'all of it, a new machine',
         'first row, a new machine, with a catalog', 'all of it, a new machine, with a catalog',
         'first row, with an index', 'a click to its preview', 'a search: a word', 'a search: two conditions',
         'End key to the last row', 'scroll to the middle')

def main(folder: Path) -> None:
    if not installed('playwright', 'pytest', 'ipywidgets', 'anywidget'): return
    with service() as place:
        if place is None: return
        with new_machine():
            store = ObjectStore(place.url, progress=False, timeout=10.0)
            heading(f'The browser: {N:,} items on SeaweedFS')
            fill(store)
        with a_chromium() as chromium:
            columns = {'browser': mine(chromium, place)}
            if 'mine' not in sys.argv:
                columns |= {k: t for k, t in {'itables': with_itables(chromium, folder),
                                              'ipydatagrid': with_ipydatagrid(chromium, folder)}.items() if t}
        say(table(['what (median)', *columns],
                  [[w, *(human(t[w]) if w in t else '' for t in columns.values())] for w in WHATS
                   if any(w in t for t in columns.values())]), f'(load at the end {os.getloadavg()[0]:.1f})')

if __name__ == '__main__':
    with scratch() as folder: main(folder)
