"One page of the site: a notebook executed, documented from its signatures, and linked"
import ast, importlib, inspect, os, pkgutil, re, shutil, sys
from functools import lru_cache
from pathlib import Path

from fastcore.foundation import L
from fastcore.nbio import mk_cell, read_nb, write_nb
from nbdev import processors as p
from nbdev.config import get_config, nbpath2html
from nbdev.doclinks import patch_name
from nbdev.process import NBProcessor
from nbdev.test import test_nb

ROOT = Path(__file__).resolve().parent.parent
DEFS = ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef
PROCESSORS = [p.strip_ansi, p.hide_line, p.filter_stream_, p.rm_header_dash, p.rm_export, p.clean_magics, p.hide_,
              p.strip_hidden_metadata]

def page_name(notebook: Path) -> str:
    "A page is called like its notebook, without the number"
    return nbpath2html(Path(notebook)).stem

def page_of(notebook: Path) -> str:
    "Where the page of a notebook lies: in the same folder, such as `storage/files`"
    folder = notebook.relative_to(ROOT/'nbs').parent
    return (folder/page_name(notebook)).as_posix()

def clashes(notebooks: list[Path]) -> list[str]:
    "Notebooks whose pages would have one name, in whatever folder: a reader tells them apart by it"
    names = {}
    for nb in notebooks: names.setdefault(page_name(nb), []).append(nb.relative_to(ROOT).as_posix())
    return [' and '.join(some) for some in names.values() if len(some) > 1]

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
    "A class: its fields, how it is made, and the heads of the public methods that have no section of their own"
    fields = [lines[n.lineno - 1] for n in node.body if isinstance(n, ast.AnnAssign)]
    methods = [margin(head(n, lines), 4) for n in node.body if isinstance(n, DEFS)
               and (n.name == '__init__' or n.name[0] != '_') and n not in described(node)]
    return '\n'.join([head(node, lines), *fields, *methods])

def margin(text: str, width: int) -> str:
    "A definition at another margin"
    first, *rest = text.splitlines()
    shift = width - (len(first) - len(first.lstrip()))
    return '\n'.join(' ' * shift + l if shift > 0 else l[-shift:] for l in [first, *rest])

def described(node: ast.ClassDef) -> list[ast.FunctionDef]:
    "The public methods of a class that say of themselves what they do"
    found = [n for n in node.body if isinstance(n, DEFS[:2]) and ast.get_docstring(n)
             and (n.name[0] != '_' or n.name.startswith('__') and n.name != '__init__')]
    return [n for n in found if n.name in verbs() or n.name[0] == '_'] if called(node.name) != node.name else found

@lru_cache
def verbs() -> set[str]:
    "What Tab offers of a store; the other methods of its groups of verbs are for each other"
    from objectstore.store.opening import PUBLIC
    return {*PUBLIC}

def called(cls: str) -> str:
    "The name by which a class is known: the groups of verbs are those of a store"
    return 'ObjectStore' if cls == 'StoreBase' or cls.endswith('Verbs') else cls

def section(name: str, text: str, words: str, level: int = 3):
    return mk_cell(f'{"#" * level} `{name}`\n\n```python\n{text}\n```\n\n{words}', 'markdown')

def of_class(node: ast.ClassDef, lines: list[str]) -> list:
    "A section for each public method of a class"
    return [section(f'{called(node.name)}.{n.name}', margin(head(n, lines), 0), ast.get_docstring(n), 4)
            for n in described(node)]

def sections(source: str) -> list:
    "Each public definition of an exported cell as a section of the page: what it is, and what it says of itself"
    lines, made = source.splitlines(), []
    for node in ast.parse(source).body:
        if not isinstance(node, DEFS): continue
        words = ast.get_docstring(node) or ''
        if node.name.startswith('_') and not (node.name.endswith('__') and words): continue
        text = outline(node, lines) if isinstance(node, ast.ClassDef) else head(node, lines)
        made += [section(name, text, words) for name in L(patch_name(node))]
        if isinstance(node, ast.ClassDef): made += of_class(node, lines)
    return made

def shown(cell) -> list:
    "The cells that a reader sees in place of one of the notebook's"
    exported = (cell.cell_type == 'code' and {'export', 'exports'} & cell.directives.keys()
                and 'hide' not in cell.directives)
    return sections(cell.source) if exported else [cell]

def pictures(nb) -> None:
    "Each browser as a picture of itself, which needs neither a kernel nor a network"
    made = getattr(sys.modules.get('ipywidgets.widgets.widget'), '_instances', {})
    for o in (o for c in nb.cells for o in c.get('outputs', [])
              if 'application/vnd.jupyter.widget-view+json' in o.get('data', {})):
        from objectstore.browser.widget import picture
        model = o['data']['application/vnd.jupyter.widget-view+json']['model_id']
        o['data'] = {'text/html': picture(made[model].shelve())}

def kept(output) -> bool:
    "Is it what a saved notebook keeps of a browser for the day when there is none?"
    return 'class="objectstore-kept"' in ''.join(output.get('data', {}).get('text/html', ''))

def stage(notebook: Path, work: Path, pages: Path) -> Path:
    "Execute a copy of `notebook` in `work` as the tests do, and write it to `pages` as a reader should see it"
    copy, page = work/notebook.relative_to(ROOT), pages/f'{page_of(notebook)}.ipynb'
    for made in (copy, page): made.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(notebook, copy)
    flags = get_config(ROOT).tst_flags.split()
    if not test_nb(copy, skip_flags=flags, basepath=ROOT, save=True, cell_timeout=300)[0]:
        raise RuntimeError(f'{notebook} failed')
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

def headed(page: Path) -> list[str]:
    "The symbols that have a section on a staged page"
    return [m for c in read_nb(page).cells if c.cell_type == 'markdown'
            for m in re.findall(r'^#+ `([\w.]+)`$', c.source, re.MULTILINE)]

@lru_cache
def classes() -> dict[str, type]:
    "Every class of the library, by its name"
    import objectstore
    modules = [importlib.import_module(m.name) for m in pkgutil.walk_packages(objectstore.__path__, 'objectstore.')
               if not m.name.endswith('_modidx')]
    return {name: c for m in modules for name, c in inspect.getmembers(m, inspect.isclass)
            if c.__module__ == m.__name__}

def inherited(name: str) -> list[str]:
    "The names under which a method may be described: its own class, and those that it stands on"
    cls, _, method = name.rpartition('.')
    return [name, *(f'{called(c.__name__)}.{method}' for c in getattr(classes().get(cls), '__mro__', ()))]

_symbol = re.compile(r'(?<![\[`])`([^`\s]+?)(\(\))?`(?![`\]])')
_target = re.compile(r'\]\((?!\w+:|#)([^)\s#]*/)?([^)\s/#]+)\.ipynb(#[^)\s]*)?\)')

class Links:
    "Links between pages: names in backticks to what documents them, paths between notebooks to their pages"
    def __init__(self, pages: list[Path], root: Path):
        self.root, self.here, self.found = root, root, {}
        for page in pages:
            for name in headed(page): self.found.setdefault(name, page)

    def symbol(self, m: re.Match) -> str:
        "A link to the section of a symbol, or of the class that has it; a plain word may mean something else"
        if m[1].isalpha() and m[1].islower() and not m[2]: return m[0]
        name = m[1].removeprefix('objectstore.')
        if (known := next((n for n in inherited(name) if n in self.found), None)) is None: return m[0]
        return f'[{m[0]}]({os.path.relpath(self.found[known], self.here)}#{slug(known)})'

    def line(self, line: str) -> str:
        "Headings and indented code stay as they are"
        if not line.startswith(('#', '    ')): line = _symbol.sub(self.symbol, line)
        return _target.sub(lambda m: f']({m[1] or ""}{page_name(Path(m[2]))}.ipynb{m[3] or ""})', line)

    def text(self, source: str) -> str:
        "Link markdown outside its fences"
        parts = re.split(r'(^```.*?^```)', source, flags=re.MULTILINE | re.DOTALL)
        return ''.join(part if i % 2 else '\n'.join(map(self.line, part.split('\n'))) for i, part in enumerate(parts))

    def page(self, page: Path) -> None:
        "Link one staged page"
        nb, self.here = read_nb(page), page.parent
        for c in nb.cells:
            if c.cell_type == 'markdown': c.source = self.text(c.source)
        write_nb(nb, page)
