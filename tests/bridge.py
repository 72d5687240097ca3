"""The real widget and a real Chromium, joined without Jupyter: traits and messages go through a page of two functions.

    show = request.getfixturevalue('show')
    page = show(store, query='churn')       # page.w is the widget, page is Playwright's
"""
from __future__ import annotations
import json, os, queue, shutil
from contextlib import contextmanager
import pytest

CHROMIUM = (os.environ.get('OBJECTSTORE_TEST_CHROMIUM') or shutil.which('chromium') or shutil.which('chromium-browser')
            or shutil.which('google-chrome'))
FLAGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
         '--disable-background-networking', '--disable-component-update', '--disable-sync']
LIGHT = {'--jp-layout-color1': 'white', '--jp-content-font-color1': 'rgba(0, 0, 0, 0.87)',
         '--jp-brand-color1': '#1976d2', '--jp-ui-font-family': 'system-ui, sans-serif'}
DARK = {'--jp-layout-color1': '#111111', '--jp-content-font-color1': 'rgba(255, 255, 255, 1)',
        '--jp-brand-color1': '#64b5f6', '--jp-ui-font-family': 'system-ui, sans-serif'}

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>browser</title></head>
<body style="margin:0;padding:10px"><main></main><script>
window.heard = []; window.executed = []
// What the page itself still waits for, and how often it has heard all that Python says: so that a test need not guess
// how long that takes
const waits = new Map(), later = window.setTimeout.bind(window), never = window.clearTimeout.bind(window)
window.setTimeout = (run, ms = 0, ...more) => {
  const t = later(() => { waits.delete(t); run(...more) }, ms)
  waits.set(t, ms)
  return t
}
window.clearTimeout = t => { waits.delete(t); never(t) }
window.waiting = (from, below) => [...waits.values()].filter(ms => ms >= from && ms < below).length
window.turns = window.sent = 0
document.addEventListener('keydown', e => window.heard.push(e.key))
window.start = async (esm, css, state) => {
  document.head.append(Object.assign(document.createElement('style'), { textContent: css }))
  const on = {}, model = {
    get: k => state[k], set: (k, v) => { state[k] = v },
    on: (n, f) => (on[n] ??= []).push(f), off: (n, f) => { on[n] = (on[n] ?? []).filter(g => g !== f) },
    send: x => { window.sent++; window.toPython(JSON.stringify(x)) }, save_changes() {} }
  const mod = await import(URL.createObjectURL(new Blob([esm], { type: 'text/javascript' })))
  window.close_ = mod.default.render({ model, el: document.querySelector('main') })
  const pump = async () => {
    for (const news of await window.fromPython()) {
      const all = JSON.parse(news)
      Object.assign(state, all)
      for (const k of Object.keys(all)) (on['change:' + k] ?? []).forEach(f => f())
    }
    window.turns++
    later(pump, 8)
  }
  pump(); window.mod = mod; window.state_ = state
}
</script></body></html>"""


class Wire:
    "A comm to nowhere, that keeps what is sent"
    def __init__(self, **kw): self.sent, self.comm_id = queue.SimpleQueue(), 'wire'
    def send(self, data=None, metadata=None, buffers=None):
        if data.get('method') == 'update': self.sent.put(json.dumps(data['state']))
    def on_msg(self, f): pass
    def close(self, *args, **kw): pass
    def __deepcopy__(self, memo): return self


@pytest.fixture(scope='session')
def chromium():
    if not CHROMIUM: pytest.skip('no Chromium here: apt-get install chromium, or name one in OBJECTSTORE_TEST_CHROMIUM')
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Joined:
    "A widget and its page"
    def __init__(self, page, w, wire):
        self.page, self.w, self.wire, self.busy, self.held, self.asked = page, w, wire, False, [], 0
    def __getattr__(self, name): return getattr(self.page, name)
    def to_python(self, text: str) -> None:
        self.asked += 1
        if self.busy: self.held.append(text)
        else: self.take(text)
    def take(self, text: str) -> None: self.w._handle_custom_msg(json.loads(text), [])
    def free(self) -> None:
        "The kernel is free again: it takes what has waited"
        self.busy, held, self.held = False, self.held, []
        for text in held: self.take(text)
    def hear(self, messages: int = 1) -> Joined:
        "The kernel takes the first of what has waited, answers it, and is busy again"
        for text in self.held[:messages]: self.take(text)
        del self.held[:messages]
        self.w.wait(30)
        return self.quiet()
    def from_python(self) -> list[str]:
        found = []
        while not self.wire.sent.empty(): found.append(self.wire.sent.get())
        return found
    def quiet(self, timeout: float = 30) -> Joined:
        """Until the page has heard all that was said, and waits for none of its own delays; those of a second and more
        warn of what takes long, and are no delays"""
        said = self.page.evaluate('window.turns')
        self.page.wait_for_function('said => window.turns > said + 1 && !window.waiting(0, 1000)', arg=said,
                                    timeout=1000 * timeout)
        return self
    def settle(self, timeout: float = 30) -> Joined:
        "Until Python has nothing to do, the page has heard it all, and neither has asked the other anything since"
        for _ in range(100):
            asked = self.asked
            self.quiet(timeout)
            self.w.wait(timeout)
            self.quiet(timeout)
            if (self.page.evaluate('window.sent') == asked == self.asked and self.wire.sent.empty()
                and self.w.browsing.workers.idle(0)):
                return self
        raise AssertionError(f'the page and Python do not come to rest: {self.page.evaluate("window.sent")} messages '
                             f'sent, {self.asked} heard')
    def text(self, selector: str) -> str: return self.page.locator(selector).first.inner_text()
    def names(self) -> list[str]: return self.page.locator('.osb-body .osb-row .osb-text').all_inner_texts()
    def search(self, line: str) -> None:
        self.page.fill('.osb-search', line)
        self.settle()
    def pick(self, name: str) -> None:
        self.page.locator('.osb-body .osb-row', has=self.page.locator('.osb-text', has_text=name)).first.click()
        self.settle()
    def tab(self, name: str) -> None:
        self.page.locator(f'[role=tab][data-tab={name}]').click()
        self.quiet()


@contextmanager
def wired():
    "Widgets made meanwhile speak into a `Wire`"
    from ipywidgets.widgets import widget
    before, widget.comm.create_comm = widget.comm.create_comm, Wire
    try: yield
    finally: widget.comm.create_comm = before


def open_page(chromium, store, bucket=None, query='', *, width=1000, high=700, dark=False, w=None, settle=True,
              theme=True, **options) -> Joined:
    "A browser on a store in a page of Chromium"
    from objectstore.browser.widget import Browser
    options.setdefault('names', {})
    w = w or Browser(store, bucket, query, **options)
    page = chromium.new_page(viewport={'width': width, 'height': high}, color_scheme='dark' if dark else 'light')
    page.route('**/*', lambda route: route.abort())             # no network
    joined = Joined(page, w, w.comm)
    page.expose_function('toPython', joined.to_python)
    page.expose_function('fromPython', joined.from_python)
    joined.errors = []
    page.on('pageerror', lambda e: joined.errors.append(str(e)))
    page.on('console', lambda m: joined.errors.append(m.text) if m.type == 'error' else None)
    page.set_content(PAGE)
    colours = ''.join(f'{k}:{v};' for k, v in (DARK if dark else LIGHT).items()) if theme else ''
    ground, scheme = ('#111', 'dark') if dark else ('white', 'light')
    page.add_style_tag(content=f'body{{{colours}background:{ground};color-scheme:{scheme}}}')
    joined.from_python()
    page.evaluate('([esm, css, state]) => window.start(esm, css, state)',
                  [w._esm, w._css, json.loads(json.dumps({k: v for k, v in w.get_state().items() if k[0] != '_'}))])
    return joined.settle() if settle else joined


@pytest.fixture
def show(chromium):
    "Opens a browser on a store in a page of Chromium"
    joined = []
    with wired(): yield lambda *args, **how: joined.append(open_page(chromium, *args, **how)) or joined[-1]
    for j in joined: j.page.close()
