"One page of the site: a notebook executed, documented from its signatures, and linked"
import ast, re, shutil, sys
from pathlib import Path

from fastcore.foundation import L
from fastcore.nbio import mk_cell, read_nb, write_nb
from nbdev import processors as p
from nbdev.config import get_config, nbpath2html
from nbdev.doclinks import NbdevLookup, patch_name
from nbdev.process import NBProcessor
from nbdev.test import test_nb

ROOT = Path(__file__).resolve().parent.parent
DEFS = ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef
PROCESSORS = [p.strip_ansi, p.hide_line, p.filter_stream_, p.rm_header_dash, p.rm_export, p.clean_magics, p.hide_, p.strip_hidden_metadata]

def page_name(notebook: Path) -> str:
    "Pages lie flat, without the number of their notebook"
    return nbpath2html(Path(notebook)).stem

def slug(title: str) -> str:
    "The anchor of a heading; for a symbol, the one that nbdev links to"
    return re.sub(r'[^\w\-. ]', '', title.lower()).strip().replace(' ', '-')

def head(node: ast.AST, lines: list[str]) -> str:
    "The source of a definition up to its body, without decorators"
    body = node.body[0]
    if body.lineno == node.lineno: text = lines[node.lineno - 1].encode()[node.col_offset:body.col_offset].decode()
    else: text = '\n'.join(lines[node.lineno - 1:body.lineno - 1])
    return text.rstrip().removesuffix(':')

def outline(node: ast.ClassDef, lines: list[str]) -> str:
    "A class: its fields and the heads of its public methods; a contract in full"
    if {'ABC', 'Protocol'} & {ast.unparse(b) for b in node.bases}: return '\n'.join(lines[node.lineno - 1:node.end_lineno])
    fields = [lines[n.lineno - 1] for n in node.body if isinstance(n, ast.AnnAssign)]
    methods = [' ' * n.col_offset + head(n, lines).lstrip() for n in node.body if isinstance(n, DEFS) and (n.name[0] != '_' or n.name == '__init__')]
    return '\n'.join([head(node, lines), *fields, *methods])

def sections(source: str) -> list:
    "Each public definition of an exported cell as a section of the page: what it is, and what it says of itself"
    lines, made = source.splitlines(), []
    for node in ast.parse(source).body:
        if not isinstance(node, DEFS): continue
        words = ast.get_docstring(node) or ''
        if node.name.startswith('_') and not (node.name.endswith('__') and words): continue
        text = outline(node, lines) if isinstance(node, ast.ClassDef) else head(node, lines)
        made += [mk_cell(f'### `{name}`\n\n```python\n{text}\n```\n\n{words}', 'markdown') for name in L(patch_name(node))]
    return made

def shown(cell) -> list:
    "The cells that a reader sees in place of one of the notebook's"
    exported = cell.cell_type == 'code' and {'export', 'exports'} & cell.directives.keys() and 'hide' not in cell.directives
    return sections(cell.source) if exported else [cell]

def pictures(nb) -> None:
    "Each browser as a picture of itself, which needs neither a kernel nor a network"
    made = getattr(sys.modules.get('ipywidgets.widgets.widget'), '_instances', {})
    for o in (o for c in nb.cells for o in c.get('outputs', []) if 'application/vnd.jupyter.widget-view+json' in o.get('data', {})):
        from objectstore.browser.widget import picture
        o['data'] = {'text/html': picture(made[o['data']['application/vnd.jupyter.widget-view+json']['model_id']].shelve())}

def kept(output) -> bool:
    "Is it what a saved notebook keeps of a browser for the day when there is none?"
    return 'class="objectstore-kept"' in ''.join(output.get('data', {}).get('text/html', ''))

def stage(notebook: Path, work: Path, pages: Path) -> Path:
    "Execute a copy of `notebook` in `work` as the tests do, and write it to `pages` as a reader should see it"
    copy, page = work/notebook.relative_to(ROOT), pages/f'{page_name(notebook)}.ipynb'
    if page.exists(): raise FileExistsError(f'{notebook}: another notebook makes the page {page.name} too')
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(notebook, copy)
    flags = get_config(ROOT).tst_flags.split()
    if not test_nb(copy, skip_flags=flags, basepath=ROOT, save=True, cell_timeout=300)[0]: raise RuntimeError(f'{notebook} failed')
    nb = read_nb(copy)
    pictures(nb)
    for c in nb.cells:
        if 'outputs' in c: c.outputs = [o for o in c.outputs if not kept(o)]
    nb.cells = [new for cell in nb.cells for new in shown(cell)]
    NBProcessor(nb=nb, procs=PROCESSORS).process()
    for c in nb.cells: c.metadata.pop('execution', None)
    write_nb(nb, page)
    return page

def anchors(page: Path) -> set[str]:
    "The anchors of a staged page"
    text = '\n'.join(c.source for c in read_nb(page).cells if c.cell_type == 'markdown')
    return {slug(re.sub(r'\[([^]]*)\]\([^)]*\)', r'\1', h)) for h in re.findall(r'^#+ (.*)', text, re.MULTILINE)}

_symbol = re.compile(r'(?<![\[`])`([^`\s]+?)(\(\))?`(?![`\]])')
_target = re.compile(r'\]\((?!\w+:|#)([^)\s#]*/)?([^)\s/#]+)\.ipynb(#[^)\s]*)?\)')

class Links:
    "Links between pages: names in backticks to what documents them, paths between notebooks to flat pages"
    def __init__(self, pages: list[Path]):
        self.anchors = {page.stem: anchors(page) for page in pages}
        self.lookup = NbdevLookup(incl_libs='objectstore')

    def symbol(self, m: re.Match) -> str:
        "A link to the section of a symbol, or of the class around it, or to its page; a plain word may mean something else"
        if m[1].isalpha() and m[1].islower() and not m[2]: return m[0]
        page, _, anchor = (self.lookup.doc(m[1]) or '').strip('/').partition('.html#')
        if page not in self.anchors: return m[0]
        while anchor and anchor not in self.anchors[page]: anchor = anchor.rpartition('.')[0]
        return f'[{m[0]}]({page}.ipynb#{anchor})' if anchor else f'[{m[0]}]({page}.ipynb)'

    def line(self, line: str) -> str:
        "Headings and indented code stay as they are"
        if not line.startswith(('#', '    ')): line = _symbol.sub(self.symbol, line)
        return _target.sub(lambda m: f']({page_name(Path(m[2]))}.ipynb{m[3] or ""})', line)

    def text(self, source: str) -> str:
        "Link markdown outside its fences"
        parts = re.split(r'(^```.*?^```)', source, flags=re.MULTILINE | re.DOTALL)
        return ''.join(part if i % 2 else '\n'.join(map(self.line, part.split('\n'))) for i, part in enumerate(parts))

    def page(self, page: Path) -> None:
        "Link one staged page"
        nb = read_nb(page)
        for c in nb.cells:
            if c.cell_type == 'markdown': c.source = self.text(c.source)
        write_nb(nb, page)
