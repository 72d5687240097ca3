"Build the site into _docs: execute every notebook, lay the pages out, and check every link. `make docs` runs this."
import multiprocessing, os, re, shutil, subprocess, sys, tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from fastcore.nbio import mk_cell, read_nb, write_nb
from pages import ROOT, Links, clashes, stage

WORK, SITE = ROOT/'_proc', ROOT/'_docs'
PAGES, BUILT = WORK/'pages', WORK/'html'
SECTIONS = [('Tutorials', 'tutorials'), ('Explanations', 'explanations'), ('The store', 'store'),
            ('Versions', 'versions'), ('Calculated objects', 'computed'), ('The browser', 'browser'),
            ('Search', 'search'), ('Caches', 'cache'), ('What is kept', 'care'),
            ('Codecs', 'codecs'), ('The format', 'format'), ('Storage', 'storage'), ('Foundations', '.'),
            ('By URL', 'filesystem'), ('Moving in and out', 'moving'), ('The command', 'command'),
            ('Testing', 'testing')]

def notebooks(folder: str) -> list[Path]:
    "The notebooks of one folder, in their order"
    return sorted(p for p in (ROOT/'nbs'/folder).glob('*.ipynb') if p.name[0] not in '_.')

def check_notebooks() -> None:
    "Each notebook makes a page, and no two of them one of the same name"
    there = [p for p in (ROOT/'nbs').rglob('*.ipynb') if not any(part[0] in '_.' for part in p.relative_to(ROOT).parts)]
    if without := {*there} - {nb for _, folder in SECTIONS for nb in notebooks(folder)}:
        sys.exit(f'docs: in no section, so without a page: {", ".join(sorted(map(str, without)))}')
    if found := clashes(there): sys.exit(f'docs: pages of one name: {"; ".join(found)}')

def stage_all() -> dict[str, list[str]]:
    "Stage each notebook in a fresh process; the pages of each section"
    shutil.rmtree(WORK, ignore_errors=True)
    PAGES.mkdir(parents=True)
    for image in (p for p in (ROOT/'nbs').rglob('*') if p.suffix in {'.png', '.svg', '.jpg'}):
        to = PAGES/image.relative_to(ROOT/'nbs')
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(image, to)
    spawn = multiprocessing.get_context('spawn')
    with tempfile.TemporaryDirectory() as home, ProcessPoolExecutor(2, spawn, max_tasks_per_child=1) as pool:
        os.environ['HOME'] = home           # no settings, history or default store of whoever builds the site
        runs = {title: [pool.submit(stage, nb, WORK, PAGES) for nb in notebooks(folder)] for title, folder in SECTIONS}
        try:
            return {title: [run.result().relative_to(PAGES).with_suffix('').as_posix() for run in section]
                    for title, section in runs.items()}
        except Exception:
            pool.shutdown(cancel_futures=True)
            raise

def add_contents(sections: dict[str, list[str]]) -> None:
    "The first page holds the table of contents that the side bar shows"
    index = read_nb(PAGES/'index.ipynb')
    for title, names in sections.items():
        names = '\n'.join(n for n in names if n != 'index')
        if names:
            index.cells.append(mk_cell(f'```{{toctree}}\n:hidden:\n:caption: {title}\n\n{names}\n```', 'markdown'))
    write_nb(index, PAGES/'index.ipynb')

def check_offline() -> None:
    "The site must work where there is no network"
    far = re.compile(r'<(?:script|img|iframe|link(?=[^>]*stylesheet))[^>]*(?:src|href)="(?:https?:)?//[^"]+')
    found = {m for page in BUILT.rglob('*.html') for m in far.findall(page.read_text())}
    if found: sys.exit('the pages fetch from the network:\n' + '\n'.join(sorted(found)))

def main() -> None:
    check_notebooks()
    sections = stage_all()
    add_contents(sections)
    pages = sorted(PAGES.rglob('*.ipynb'))
    links = Links(pages, PAGES)
    for page in pages: links.page(page)
    def run(tool, *args): subprocess.run([Path(sys.executable).with_name(tool), *map(str, args)], check=True)
    run('sphinx-build', '-q', '-n', '-W', '--keep-going', '-c', ROOT/'docs', '-d', WORK/'doctrees', PAGES, BUILT)
    check_offline()
    run('lychee', '--offline', '--include-fragments', '--no-progress', '--root-dir', BUILT,
        *sorted(BUILT.rglob('*.html')))
    shutil.rmtree(SITE, ignore_errors=True)
    BUILT.rename(SITE)                  # the last site stays until this one has passed
    print(f'{len(pages)} pages: {SITE.relative_to(ROOT)}/index.html')

if __name__ == '__main__':
    try: main()
    except (RuntimeError, FileExistsError, subprocess.CalledProcessError) as e: sys.exit(f'docs: {e}')
