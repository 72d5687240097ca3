"""The page *Guarantees* from the figures of the tests. `make guarantees` makes both.

    tools/guarantees.py FIGURES.json ...     write the tables into nbs/explanations/guarantees.ipynb; what a later file
                                             has of a test replaces what an earlier one has
"""
import json, re, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT/'nbs'/'explanations'/'guarantees.ipynb'
MADE = 'guarantee'       # the id of the cell that this tool writes

# number: (what holds, what is done to it)
GUARANTEES = {
    1: ('A number has one winner', 'processes and threads put the same item at once'),
    2: ('A number has one winner across hosts of a shared volume', 'two clients of one NFS server'),
    3: ('Numbers are contiguous and none is given twice, also when answers are lost',
        'answers lost, late, doubled or wrong at every request; the code of the commit stopped between any two steps'),
    4: ('What was acknowledged survives a killed process', '`kill -9` at every write, and at random'),
    5: ('What was acknowledged survives a power cut', 'the disk copied at the moment of the cut, mounted and read'),
    6: ('No half of a version is ever seen', 'a reader beside killed writers'),
    7: ('What killed writers leave behind is bounded, and is swept', 'killed writers, then a sweep'),
    8: ('A read gives the right bytes or an error', 'bytes flipped, cut and swapped, at rest and on the way'),
    9: ('A damaged copy heals from another tier', 'one tier damaged'),
    10: ('A delivery of pending puts can be repeated', 'killed deliveries, repeated; two deliveries at once'),
    11: ('Machines that work offline both keep their work', 'two machines put offline and deliver in any order'),
    12: ('A full disk or a failing one leaves nothing half done', 'a full disk, and failing calls'),
    13: ('Waiting is bounded', 'services that refuse, hang, answer errors or by the byte'),
    14: ("Clocks of clients do not matter", 'clocks a year early and late'),
    15: ('Collecting never takes what a version needs', 'writers and collectors stopped between any two steps'),
    16: ('A number is never used again', 'several remove and restore at once; a writer stands still'),
    17: ('The index can be thrown away, and what is wrong in it is found', 'rows deleted, changed and stale'),
    18: ('Reads work without the index', 'the index locked, damaged, deleted'),
    19: ('No input runs, escapes its folder or becomes markup', 'bad names, folders, payloads, records, services'),
    20: ('No secret is shown or stored', 'everything that comes out is searched for a secret'),
    21: ('A read that begins after a write was acknowledged sees it', 'two processes, two machines'),
    22: ('Another store in the same place is noticed', 'origins emptied, filled again, copied, restored'),
    23: ('An answer is judged by its form', "other pages' answers, listings doubled, unordered, cut short"),
    24: ('A copy carries removals', 'copies interrupted at every write and repeated'),
    25: ('A copy of the storage keeps dates and order', 'files copied by other tools; clocks and uploads in any order'),
    26: ('A delivery is invisible to readers', 'every verb beside a delivery'),
    27: ('An interruption leaves a whole store', 'Ctrl-C and SIGTERM at every write and at random'),
    28: ('One damaged object stops nothing else', 'damaged records, aliases, notes, catalogs, pending entries'),
    29: ('Odd credentials and environments are told, never lost work', 'variables, renewed keys, least rights'),
    30: ('Pending work is found under every address of its origin', 'other names of one origin'),
    31: ('What was acknowledged can be read, and is the same', 'values of every codec, read in every form'),
    32: ('What is erased is gone',
         'a text is searched for in every byte; erasers killed at every write, or stopped between any two steps'),
    34: ('A service that breaks its promise is found out', 'a relay that lets two writers win'),
    35: ('File systems are what people have', 'a store on each'),
    36: ('A calculated result that counts as fresh is', 'generated programs, one thing changed'),
    37: ('A result is calculated once, by whoever is first', 'processes that ask at once; who calculates is killed'),
}

def plain(value: object) -> str:
    if isinstance(value, float): return f'{value:,.2f}'
    return f'{value:,}' if isinstance(value, int) else str(value)

def cell(text: str) -> str: return re.sub(r'([|<>*_])', r'\\\1', text)

def sorted_in(figures: list) -> tuple[dict[int, list[str]], list[str]]:
    "Rows of tables by the number of their guarantee, and the numbers that no guarantee has"
    found: dict[int, list[str]] = {n: [] for n in GUARANTEES}
    strange = []
    for _, title, values in figures:
        n, _, what = title.partition(' ')
        if not n.isdigit(): continue
        if int(n) not in found: strange.append(title); continue
        said = ', '.join(f'{name.replace("_", " ")} {plain(value)}' for name, value in values.items())
        found[int(n)].append(f'| {cell(what)} | {cell(said)} |')
    return found, strange

def together(files: list[dict]) -> dict:
    "The figures of several runs: of each test those of the last"
    made, lines = {}, []
    for kept in files:
        new = {test or title for test, title, _ in kept['figures']}
        lines = [line for line in lines if (line[0] or line[1]) not in new] + kept['figures']
        for name, value in kept['made_with'].items():
            made[name] = value if made.get(name) in (None, value) else f'{made[name]} and {value}'
    return dict(made_with=made, figures=lines)

def render(kept: dict) -> str:
    "The tables in markdown"
    found, strange = sorted_in(kept['figures'])
    if strange: sys.exit(f'guarantees: numbers that no guarantee has: {"; ".join(strange)}')
    made = ', '.join(f'{name} {value}' for name, value in kept['made_with'].items())
    parts = ['## What was tried', f'Made with: {made}.',
             '\n'.join(['| | guarantee | what is done to it | figures |', '|--:|---|---|--:|',
                        *(f'| {n} | {holds} | {how} | {len(found[n]) or "*not tried*"} |'
                          for n, (holds, how) in GUARANTEES.items())])]
    for n, rows in found.items():
        if rows: parts += [f'### {n}. {GUARANTEES[n][0]}', '\n'.join(['| tried | found |', '|---|---|', *sorted(rows)])]
    return '\n\n'.join(parts)

def write(text: str) -> None:
    "Put the tables into the page"
    page = json.loads(PAGE.read_text())
    [at] = [c for c in page['cells'] if c['id'] == MADE]
    at['source'] = text.splitlines(keepends=True)
    PAGE.write_text(json.dumps(page, indent=1, ensure_ascii=False) + '\n')

if __name__ == '__main__': write(render(together([json.loads(Path(name).read_text()) for name in sys.argv[1:]])))
