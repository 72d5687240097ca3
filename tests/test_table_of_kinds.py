"""The table of kinds: of every value that the tests of codecs have, whether it comes back the same, is refused with a
remedy that works, comes back changed, or cannot be read. `pytest -s tests/test_table_of_kinds.py` prints it"""
from dataclasses import dataclass
from pathlib import Path
import pytest
from objectstore import ObjectStore, Unsupported
from objectstore.codecs.codec import codec_for
from objectstore.codecs.equality import difference
from objectstore.testing.codec_suite import neighbours, same_or_refused
for library in 'numpy', 'pandas', 'polars', 'sklearn', 'skops', 'torch', 'safetensors', 'PIL', 'pydantic':
    pytest.importorskip(library, reason=f'{library} is not installed')
import test_codec_kinds as kinds
from proof_values import kept, on_purpose, refused, told

pytestmark = pytest.mark.filterwarnings('ignore')

@dataclass
class Row:
    "What became of the values of one family"
    tried: int = 0
    same: int = 0
    equal: int = 0            # As the Python value that it equals, as `drops` says
    refused: int = 0
    remedied: int = 0         # Of these: what the refusal advises was stored and came back
    changed: int = 0
    unreadable: int = 0

    def take(self, became: str) -> None:
        self.tried += 1
        setattr(self, became, getattr(self, became) + 1)

def judged(value, folder, differs=None) -> str:
    "What became of one value"
    try: codec = codec_for(value)
    except Unsupported: return 'refused'
    try: return same_or_refused(codec, value, folder, differs, trust=True)
    except AssertionError as e: return 'unreadable' if 'cannot be read back' in str(e) else 'changed'

def by_told(a, b): return None if told(a) == told(b) else 'other'

def remedied(store, name, value, cure) -> bool:
    "Is what the refusal advises kept?"
    better = cure(value)
    as_ = type(better) if name in ('zone in a model', 'first arm takes anything') else None
    back = store.get(store.put('lab/better', better), trust=True, as_=as_)
    return difference(better, back) is None or told(back) == told(better)

def by_family(folder: Path) -> dict[str, Row]:
    "The table"
    rows, store = {}, ObjectStore('memory://')
    def row(name): return rows.setdefault(name, Row())
    for family, values in kept.items():
        for value in values.values():
            row(family).take(judged(value, folder, None if family in ('npy', 'skops') else by_told))
    for family, values in refused.items():
        for name, (value, cure, _) in values.items():
            became = row(family)
            try: store.put('lab/x', value)
            except Unsupported: became.take('refused'); became.remedied += remedied(store, name, value, cure)
            else: became.take('changed')
    for value, comes in on_purpose.values():
        row('Python values of libraries').take('equal' if told(store.put('lab/x', value).get()) == told(comes)
                                               else 'changed')
    for family, make in kinds.families.items():
        try: values = make()
        except pytest.skip.Exception: continue
        for value in values.values():
            row(family).take(judged(value, folder, lambda a, b, f=family: None if kinds.same(f, a, b) else 'other'))
    for name, (library, make, cure, _) in kinds._refused().items():
        try: value = make(kinds.lib(library))
        except pytest.skip.Exception: continue
        became = row(f'{library}, refused')
        try: store.put('lab/x', value)
        except Unsupported: became.take('refused'); became.remedied += remedied(store, name, value, cure)
        else: became.take('changed')
    return rows

def shown(rows: dict[str, Row]) -> str:
    "The table in Markdown, with its sums"
    head = ['tried', 'same', 'equal', 'refused', 'remedied', 'changed', 'unreadable']
    sums = Row(**{k: sum(getattr(r, k) for r in rows.values()) for k in head})
    lines = [f'| {name} | ' + ' | '.join(str(getattr(r, k)) for k in head) + ' |'
             for name, r in [*rows.items(), ('all', sums)]]
    names = ['tried', 'the same', 'its equal, on purpose', 'refused', 'with a remedy that was tried', 'changed',
             'unreadable']
    return '\n'.join([f'| family | {" | ".join(names)} |', '|' + ' --- |' * (len(head) + 1), *lines])

def test_the_table_of_kinds(tmp_path, figure):
    rows = by_family(tmp_path)
    for name, r in rows.items(): figure(f'31 {name}', **vars(r))
    print(f'\n{shown(rows)}')
    for name, r in rows.items():
        assert (r.changed, r.unreadable) == (0, 0), name
        assert r.refused == r.remedied, f'{name}: a remedy that does not work'
    assert sum(r.tried for r in rows.values()) > 250

def test_what_lies_beside(tmp_path, figure):
    "Values of many kinds, most of which the tests above do not have: none is changed, none unreadable"
    became = Row()
    for value in neighbours().values(): became.take(judged(value, tmp_path))
    figure('31 values of many kinds beside these', **vars(became))
    assert (became.changed, became.unreadable) == (0, 0) and became.same > 45
