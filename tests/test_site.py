"""How the site is made of the notebooks: a page each, a section for each public method, links that find what a class
inherits"""
from pathlib import Path
import pytest

pytest.importorskip('fastcore.nbio', reason='the site is made with the newest fastcore and nbdev')
from fastcore.nbio import mk_cell, new_nb, read_nb, write_nb    # noqa: E402 (where there is one)

ROOT = Path(__file__).resolve().parent.parent

@pytest.fixture
def site(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT/'docs'))
    import build, pages
    return build, pages

def test_a_page_each_and_no_two_of_one_name(site, monkeypatch, tmp_path):
    build, pages = site
    build.check_notebooks()
    for m in (build, pages): monkeypatch.setattr(m, 'ROOT', tmp_path)
    for folder in ('storage', 'format'): (tmp_path/'nbs'/folder).mkdir(parents=True)
    (tmp_path/'nbs/storage/01_files.ipynb').touch(), (tmp_path/'nbs/format/02_records.ipynb').touch()
    build.check_notebooks()
    (tmp_path/'nbs/format/03_files.ipynb').touch()
    with pytest.raises(SystemExit, match='one name.*03_files.*01_files|one name.*01_files.*03_files'):
        build.check_notebooks()
    (tmp_path/'nbs/format/03_files.ipynb').unlink()
    (tmp_path/'nbs/elsewhere').mkdir()
    ( tmp_path/'nbs/elsewhere/x.ipynb').touch()
    with pytest.raises(SystemExit, match='without a page.*elsewhere'): build.check_notebooks()

SOURCE = '''class FindVerbs(AliasVerbs):
    "Search"
    name: str
    def __init__(self, name: str): self.name = name
    @answered
    def find_items(
        self,
        bucket: str | None = None,     # Only this bucket
    ) -> Versions:
        "Versions by what is known about them"
        return self._found()
    def plain(self) -> int: return 1
    def _found(self): "Not public"
'''

def test_each_public_method_has_a_section(site):
    _, pages = site
    cells = [c.source for c in pages.sections(SOURCE)]
    assert [c.split('\n')[0] for c in cells] == ['### `FindVerbs`', '#### `ObjectStore.find_items`']
    assert ('def plain(self)' in cells[0] and 'name: str' in cells[0] and '_found' not in ''.join(cells)
            and 'def find_items' not in cells[0])
    assert (cells[1].split('```')[1] == 'python\ndef find_items(\n    self,\n    bucket: str | None = None,     # Only '
            'this bucket\n) -> Versions\n')
    assert cells[1].endswith('Versions by what is known about them')

def test_links_find_what_a_class_inherits(site, tmp_path):
    _, pages = site
    for name, head in {'store/find': '#### `ObjectStore.find_items`', 'storage/backend': '#### `Backend.size`',
                       'index': '# Title'}.items():
        (tmp_path/name).parent.mkdir(exist_ok=True)
        write_nb(new_nb([mk_cell(head, 'markdown'),
                         mk_cell('See `ObjectStore.find_items`, `MemoryBackend.size`, `put` ' 'and `nothing_here`.',
                                 'markdown')]), tmp_path/f'{name}.ipynb')
    made = sorted(tmp_path.rglob('*.ipynb'))
    links = pages.Links(made, tmp_path)
    for page in made: links.page(page)
    assert read_nb(tmp_path/'index.ipynb').cells[1].source == (
        'See ' '[`ObjectStore.find_items`](store/find.ipynb#objectstore.find_items), '
        '[`MemoryBackend.size`](storage/backend.ipynb#backend.size), `put` and `nothing_here`.')
    assert '](find.ipynb#objectstore.find_items)' in read_nb(tmp_path/'store/find.ipynb').cells[1].source
    assert '](../store/find.ipynb#' in read_nb(tmp_path/'storage/backend.ipynb').cells[1].source

def test_every_verb_of_a_store_has_a_section(site):
    "On one of the pages, and with it an anchor"
    _, pages = site
    import re
    from objectstore.store.opening import PUBLIC
    from objectstore import ObjectStore
    found = set()
    for nb in (ROOT/'nbs/store').glob('*.ipynb'):
        for c in read_nb(nb).cells:
            if c.cell_type == 'code' and re.search(r'^#\| *export', c.source):
                found |= {m for s in pages.sections(c.source)
                          for m in re.findall(r'^#+ `ObjectStore\.(\w+)`', s.source)}
    verbs = {n for n in PUBLIC if callable(getattr(ObjectStore, n, None))}
    assert len(verbs) > 20 and not verbs - found, verbs - found
