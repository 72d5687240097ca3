"""One bad thing stops nothing else: one object of each kind is damaged, every verb goes on without it, and it is named.

    BAD        what is damaged, and a word of it that a warning, a report or an error says
    VERBS      each on what is not damaged, with what it must answer
"""
from __future__ import annotations
import json, os, tempfile, warnings
from pathlib import Path
import pytest
from objectstore import Damaged, NotFound, ObjectStore
from objectstore.format import commit
from objectstore.search import changelog, rebuild as wholes
from objectstore.search.changelog import flush_hints
from objectstore.format.records import seal
from away import env, forget_all, quiet
from trial import SOAK

DEEP = '[' * 100_000

class Lab:
    "A store of files with something of everything"
    def __init__(self, folder: Path, near: bool = False):
        self.folder, self.near = folder, near
        self.origin = folder/'origin'
        self.state = folder/'state'
        with quiet():
            s = self.open()
            for i in (1, 2, 3): s.put('lab/m', i, metadata={'auc': i / 10})
            s.put('lab/bad', 1), s.put('lab/bad', 2), s.put('lab/o', 'fine'), s.put('other/x', 1)
            s.set_alias('lab/m@1', 'production')
            s.set_alias('lab/m@2', 'staging')
            s.annotate( 'lab/m@2', {'note': 1})
            s.annotate('lab/m@3', {'note': 2})
            s.calculated('lab/sum')(lambda: 3)()
            flush_hints()
            if near:
                s = self.open(offline=True)
                s.put('lab/p', 1)
                s.put('lab/q', b'q' * 50_000)
                s.annotate( 'lab/m@3', {'later': 1})
                s.set_alias('lab/m@3', 'next')

    def open(self, machine: str = 'state', **options) -> ObjectStore:
        forget_all()
        with env(OBJECTSTORE_STATE_DIR=str(self.folder/machine),
                 OBJECTSTORE_CACHE_DIR=str(self.folder/f'cache-{machine}')):
            return ObjectStore(*[str(self.folder/'near')] * self.near, str(self.origin), near=self.near, progress=False,
                               **options)
    def only(self, pattern: str, top: Path | None = None) -> Path:
        found = sorted(p for p in (top or self.origin).glob(pattern) if p.is_file())
        assert found, f'nothing is {pattern}'
        return found[-1]
    def write(self, file: Path, data: bytes) -> None:
        file.chmod(0o600)
        file.write_bytes(data)

def junk(*patterns):
    def damage(lab: Lab) -> None:
        for p in patterns: lab.write(lab.only(p), b'\x00junk')
    return damage

def odd_hint(lab: Lab) -> None:
    "Well sealed, and senseless"
    b = lab.open().origin.bucket('lab')
    for i, changed in enumerate([[['put', '../x', 1]], [['put', '', 1]], [['put', 'm', -1]], [['put', 'm', 10**30]],
                                 [['alias', 'm', '']], [['fly', 'm', 1]], [1], 'x', None, {}]):
        b.backend.create(key := f'lab/log/h-{i:032x}',
                         seal(key, json.dumps({'id': '0' * 32, 'by': 'x', 'when': 'x', 'changed': changed}).encode()))

BAD = {
    'record': (junk('lab/records/bad/@/**/0000000002'), 'lab/bad@2'),
    'the only record': (junk('lab/records/bad/@/**/0000000001', 'lab/records/bad/@/**/0000000002'), 'lab/bad@'),
    'note': (junk('lab/notes/m/@/0000000002/**/0000000001'), 'notes/m'),
    'alias': (junk('lab/aliases/m/@staging/**/0000000001'), 'aliases/m/@staging'),
    'hint': (junk('lab/log/h-*'), ''),
    'odd hint': (odd_hint, ''),
    'lease': (junk('lab/leases/sum/@/**/*'), 'leases/sum'),
    'state of a bucket': (junk('other/state/**/0000000001'), "'other'"),
    'state of this bucket': (junk('lab/state/**/0000000001'), "'lab'"),
}

def finds(s): assert {'lab/o@1', 'lab/m@3'} <= set(s.find_items().refs)
def finds_all(s):
    assert {'lab/m@1', 'lab/m@2', 'lab/m@3', 'lab/o@1',
            'lab/bad@1'} - {'lab/bad@1'} <= set(s.find_items('lab', at='*').refs)
def finds_where(s): assert s.find_items('lab', where='auc > 0.25').refs == ['lab/m@3']
def finds_by_alias(s): assert s.find_items('lab', at='production').refs == ['lab/m@1']
def gets(s): assert s.get('lab/o') == 'fine' and s.get('lab/m') == 3 and s.get('lab/m@production') == 1
def gets_many(s): assert s.get_many(['lab/o', 'lab/m', 'lab/m@1']) == ['fine', 3, 1]
def lists(s): assert s.list_buckets() == ['lab', 'other']
def versions(s): assert s.versions('lab/m').refs == ['lab/m@1', 'lab/m@2', 'lab/m@3']
def facts(s):
    assert (s.get_stats()['buckets']['lab']['versions'] >= 4 and s.get_stats('lab/m')['versions'] == 3
            and s.get_stats('lab/o@1'))
def shows(s):
    assert ('lab/m@3' in repr(s['lab/m']) and 'lab/m@2' in repr(s['lab/m@2']) and 'lab/m' in repr(s.find_items())
            and s['lab/m'].metadata['auc'] == 0.3)
def aliases(s): assert s.aliases('lab/m')['production'] == 1
def puts(s):
    assert (s.get(s.put('lab/o', 'more')) == 'more' and s.put('lab/bad', 9).version == 3
            and s.put('lab/m', 4).version == 4)
def puts_many(s):
    assert len(s.put_many([('lab/o', 5), ('lab/new', 6), ('other/x', 7), ('lab/bad', 8)], skip_unchanged=True)) == 4
def annotates(s):
    assert s.annotate('lab/m@3', {'more': 1}).notes['more'] == 1 and s.annotate('lab/m@2', {'more': 1}).version == 2
def aims(s): assert s.set_alias('lab/m@3', 'staging').aliases == ['staging'] and s.get('lab/m@staging') == 3
def removes(s):
    assert s.remove('lab/m@3', force=True) == 1 and s.remove('lab/m@2', force=True) == 1 and s.get('lab/m') == 1
def compacts(s): assert s.care.compact('lab')['lab'] >= 1 and {'lab/o@1', 'lab/m@3'} <= set(s.find_items('lab').refs)
def refreshes(s): s.refresh(), s.refresh(whole=True); finds(s)
def calculates(s): assert s.calculated('lab/sum')(lambda: 4)() == 4
def syncs(s): s.sync(), s.status(), repr(s.status()), s.explain('lab/m')
def removes_a_bucket(s): assert s.remove_bucket('other', force=True) and s.list_buckets() == ['lab']
def makes(s): assert s.find_or_create_bucket('other') == 'other' and 'other' in s.list_buckets()
VERBS = [finds, finds_all, finds_where, finds_by_alias, gets, gets_many, lists, versions, facts, shows, aliases, puts,
         puts_many, annotates, aims, removes, compacts, refreshes, calculates, syncs, removes_a_bucket, makes]

@pytest.fixture
def quick(clean):
    with tempfile.TemporaryDirectory(dir='/dev/shm' if os.access('/dev/shm', os.W_OK) else clean,
                                     ignore_cleanup_errors=True) as d:
        yield Path(d)

def stopped(folder: Path, damage, machine: str, near: bool = False, verbs=VERBS) -> tuple[list, str]:
    "The verbs that one bad thing stops, and all that was said"
    found, said = [], []
    for verb in verbs:
        (own := folder/f'{machine}-{verb.__name__}').mkdir()
        lab = Lab(own, near)
        if machine == 'state' and not near: lab.open().find_items()
        damage(lab)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter('always')
            s = lab.open(machine)
            try: verb(s)
            except Exception as e: found.append((verb.__name__, e))
            if near: said += [repr(s.status()), *(f'{o.what} {o.why}' for o in s.sync())]
        said += [str(w.message) for w in told]
    return found, '\n'.join(said)

@pytest.mark.parametrize('machine', ['state', 'new'])
@pytest.mark.parametrize('kind', BAD)
def test_every_verb_goes_on(quick, kind, machine, figure):
    damage, word = BAD[kind]
    wrong, said = stopped(quick, damage, machine)
    assert not wrong, wrong
    assert word in said
    figure(f'28 {kind}, on {"this" if machine == "state" else "a new"} machine', verbs=len(VERBS), stopped=len(wrong))


# Catalogs: what others have written

def catalog_with(change) -> object:
    "Another machine compacts, and its catalog is not as it should be"
    def damage(lab: Lab) -> None:
        import pyarrow.parquet as pq
        lab.open('third').care.compact('lab')
        t = pq.read_table(file := lab.only('lab/log/c-*.parquet'))
        t = change(t)
        file.chmod(0o600)
        pq.write_table(t, file, compression='zstd', write_page_checksum=True)
    return damage

def cell(column: str, value: object):
    "One odd cell, in the row of `o`"
    def change(t):
        import pyarrow as pa
        rows = t.to_pylist()
        next(r for r in rows if r['item'] == 'o')[column] = value
        return pa.Table.from_pylist(rows, schema=t.schema)
    return catalog_with(change)

def told(key: str, value: str):
    def change(t): return t.replace_schema_metadata({**t.schema.metadata, key.encode(): value.encode()})
    return catalog_with(change)

def ghost(t):
    "A row of what nobody has put"
    import pyarrow as pa
    rows = t.to_pylist()
    return pa.Table.from_pylist([*rows,
                                 {**next(r for r in rows if r['item'] == 'o'), 'item': 'ghost', 'changed': 10**6}],
                                schema=t.schema)

def another_type(t): return t.set_column(t.schema.get_field_index('size'), 'size', t['size'].cast('string'))
def moment(us: int):
    import pyarrow as pa
    return pa.scalar(us, pa.timestamp('us', 'UTC'))

ODD = [('metadata', '[1]'), ('metadata', DEEP), ('metadata', None), ('metadata', '{'),
       ('metadata', '{"a":' * 90 + '1' + '}' * 90), ('notes', '{"a":1}'), ('notes', '[1]'), ('notes', DEEP),
       ('stats', '3'), ('stats', None), ('item', None), ('item', '../x'), ('item', ''), ('version', None),
       ('version', -1), ('version', 0), ('created', None), ('size', None), ('size', -1), ('kind', None),
       ('codec', None), ('author', None), ('id', None), ('hash', None), ('latest', None), ('changed', None),
       ('aliases', None)]
CATALOGS = {f'{c} = {v!r:.12}': cell(c, v) for c, v in ODD}
CATALOGS |= {f'{k} = {v!r:.30}': told(k, v)
             for k, v in [('aliases', '[1]'), ('aliases', 'x'), ('aliases', '{"o":1}'), ('aliases', '{"../x":{"a":1}}'),
                          ('aliases', '{"o":{"a":"x"}}'), ('aliases', '{"o":{"@":1}}'), ('aliases', DEEP),
                          ('events', '3'), ('events', '[1]'), ('events', '[[1,"remove","o","x"]]'), ('events', DEEP)]}
CATALOGS |= {'another type': catalog_with(another_type),
             'junk': lambda lab: (lab.open('third').care.compact('lab'), junk('lab/log/c-*.parquet')(lab))}
SILENT = ('aliases = None', 'events')      # nothing that is answered comes from there

@pytest.mark.parametrize('machine', ['state', 'new'])
def test_every_verb_goes_on_beside_an_odd_catalog(quick, machine, figure):
    verbs, n = [finds, finds_all, finds_where, finds_by_alias, compacts, shows], 0
    for kind, damage in CATALOGS.items():
        (folder := quick/f'{n}').mkdir()
        own = verbs if SOAK > 1 else [finds] if n % 4 else [compacts, finds_all, finds_by_alias]
        wrong, said = stopped(folder, damage, machine, verbs=own)
        assert not wrong, (kind, wrong)
        assert 'the catalog' in said or kind.startswith(SILENT), kind
        n += 1
    figure(f'28 {n} odd catalogs, on {"this" if machine == "state" else "a new"} machine', stopped=0)

@pytest.mark.parametrize('machine', ['state', 'new'])
def test_a_row_that_no_record_bears_out_is_not_answered(quick, machine):
    lab = Lab(quick)
    lab.open().find_items()
    catalog_with(ghost)(lab)
    s = lab.open(machine)
    assert 'lab/ghost@1' not in s.find_items(at='*').refs and {'lab/o@1', 'lab/m@3'} <= set(s.find_items().refs)
    with pytest.raises(NotFound): s.get('lab/ghost')

def test_planted_a_catalog_that_is_believed(quick, monkeypatch):
    monkeypatch.setattr(wholes.Keeper, '_borne_out', lambda self, bucket, n: None)
    lab = Lab(quick)
    catalog_with(ghost)(lab)
    assert 'lab/ghost@1' in lab.open('new').find_items().refs

def test_planted_cells_that_are_not_looked_at(quick, monkeypatch):
    fired = []
    monkeypatch.setattr(changelog, '_odd_cell', lambda *a: fired.append(1) or '')
    wrong, _ = stopped(quick, cell('item', '../x'), 'new', verbs=[finds_all, shows, compacts])
    assert fired and wrong

def test_planted_a_state_that_must_be_readable(quick, monkeypatch):
    from objectstore.format.records import STATE, last_move
    def state(self):
        n, last = last_move(self.backend, self.prefix + STATE)
        return n, last.get('is') == 'made'
    monkeypatch.setattr(commit.Bucket, 'state', state)
    wrong, _ = stopped(quick, BAD['state of a bucket'][0], 'new', verbs=[lists, finds])
    assert 'lists' in dict(wrong)


# Work that waits

def entry(op: str, data: bytes):
    "The queue's entry of this kind, overwritten"
    def damage(lab: Lab) -> None:
        file = next(p for p in sorted(lab.state.glob('pending/*/queue/*')) if f'"op":"{op}"' in p.read_text())
        lab.write(file, data(file) if callable(data) else data)
    return damage

def without(key: str):
    return lambda file: json.dumps({k: v for k, v in json.loads(file.read_text()).items() if k != key}).encode()
def with_(key: str, value: object):
    return lambda file: json.dumps({**json.loads(file.read_text()), key: value}).encode()
def bytes_of(item: str, data: bytes | None):
    def damage(lab: Lab) -> None:
        says = next(s for p in lab.state.glob('pending/*/queue/*') if (s := json.loads(p.read_text()))['item'] == item)
        file = lab.only(f'pending/*/bytes/{says["id"]}', lab.state)
        file.unlink() if data is None else lab.write(file, data)
    return damage
def made(folder: str, data: bytes):
    def damage(lab: Lab) -> None:
        says = json.loads(next(iter(sorted(lab.state.glob('pending/*/queue/*')))).read_text())
        (top := next(iter(lab.state.glob('pending/*')))/folder).mkdir(exist_ok=True)
        (top/says['id']).write_bytes(data)
    return damage

WAITING = {f'{op}, {name}': entry(op, data) for op in ('put', 'note', 'alias')
           for name, data in dict(junk=b'\x00', list=b'[]', empty=b'', object=b'{}', deep=DEEP.encode()).items()}
WAITING |= {f'put without {k}': entry('put', without(k))
            for k in ('codec', 'hash', 'size', 'members', 'description', 'at')}
WAITING |= {'put with a size of text': entry('put', with_('size', '3')),
            'note without notes': entry('note', with_('move', {})),
            'alias of nothing': entry('alias', with_('alias', None)), 'bytes changed': bytes_of('p', b'other'),
            'bytes gone': bytes_of('p', None), 'large bytes changed': bytes_of('q', b'x' * 50_000),
            'large bytes gone': bytes_of('q', None), 'tried': made('tried', b'x'), 'conflict': made('conflicts', b'[]'),
            'conflict, deep': made('conflicts', DEEP.encode()),
            'a file that is none of ours': lambda lab: (
                next(iter(lab.state.glob('pending/*/queue')))/'notes.txt').write_text('x')}

def test_every_verb_goes_on_beside_a_damaged_entry(quick, figure):
    verbs = [finds, finds_all, gets, gets_many, lists, versions, facts, shows, aliases, puts, annotates, removes, syncs,
             refreshes]
    for n, (kind, damage) in enumerate(WAITING.items()):
        (folder := quick/f'{n}').mkdir()
        own = verbs if SOAK > 1 or n % 8 == 0 else [finds, puts]
        wrong, said = stopped(folder, damage, 'state', True, own)
        assert not wrong, (kind, wrong)
        assert (any(w in said for w in ('cannot be read', 'are not those', 'damaged', 'missing'))
                or kind in ('tried', 'a file that is none of ours')), (kind, said)
    figure(f'28 {len(WAITING)} damaged entries of the queue', stopped=0)

def test_what_waits_with_damaged_bytes_is_removed_by_its_id(quick):
    lab = Lab(quick, near=True)
    bytes_of('p', b'other')(lab)
    with quiet():
        s = lab.open(offline=True)
        [w] = s.pending.puts('lab', 'p')
        with pytest.raises(Damaged, match='put it again'): s.get('lab/p')
        assert s.remove(f'lab/p@id:{w.id}') == 1 and not s.pending.puts('lab', 'p')
