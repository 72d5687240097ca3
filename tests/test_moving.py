"Imports and exports: round trips, sources that are only half there, interrupted and doubled runs"
import json, os, subprocess, sys, tarfile, threading
from pathlib import Path
import numpy as np, pandas as pd, pytest
from objectstore import InvalidCall, ObjectStore, Protected, Unsupported
from objectstore.moving import export, import_export, import_folder
from objectstore.moving.exports import parts_of, plain_name
from objectstore.plans import read_plan

pytestmark = pytest.mark.filterwarnings('ignore:.* is stored as', 'ignore:.* differs from .* by case alone')


def facts(store, bucket):
    "Everything that a round trip is to bring back"
    return [(v.item, v.version, v.id, v.created, v.author, [(p.name, p.size, p.hash) for p in parts_of(v)], v.codec,
             v.kind, v.metadata, v.notes, v.aliases, dict(v.stats), dict(v.lineage))
            for v in store.find_items(bucket, at='*', sort='item')]

def filled(store, folder: Path, name='wine'):
    "A bucket with an item of each kind, and names that some system does not take"
    folder.mkdir()
    for i in range(700): (folder/f'{i:03d} of many.txt').write_text(f'{i}' * (i % 3))
    (folder/'below').mkdir(); (folder/'below'/'Ärger.bin').write_bytes(os.urandom(70_000))
    things = {'frame': pd.DataFrame({'x': range(20_000), 'y': ['é'] * 20_000}), 'array': np.arange(50_000.0),
              'json': {'a': [1, None]}, 'text': 'words\n', 'bytes': b'\0\1', 'empty': b'', 'pickle': {1, 2, 3},
              'bundle': {'train': pd.DataFrame({'x': range(20_000)}), 'big': np.arange(60_000.0), 'n': 3},
              'folder': folder, 'a/b': 1, 'a': 2, 'Case': 3, 'case': 4, 'con': 5, 'x:y z': 6, 'Ärger/ü': 7}
    for item, x in things.items(): store.put(f'{name}/{item}', x, metadata={'item': item, 'n': 1})
    for n in (2, 3, 4): store.put(f'{name}/json', {'a': n}, alias='current', metadata={'description': f'of = {n}'})
    store.set_alias(f'{name}/json@3', 'current'); store.set_alias(f'{name}/json@2', 'old')
    store.annotate(f'{name}/json@2', {'reviewed': 'Ana', 'n': None})
    store.annotate(f'{name}/json@2', {'reviewed': 'Bo'})
    store.remove(f'{name}/json@1')

def same(a, b, bucket, other=None):
    assert facts(b, other or bucket) == facts(a, bucket)
    for v in a.find_items(bucket, at='*'):
        x, y = v.get(trust=True), b.get(f'{other or bucket}/{v.item}@{v.version}', trust=True)
        if v.codec == 'folder': assert {n: x.read(n) for n in x} == {n: y.read(n) for n in y}
        elif v.item == 'bundle':
            assert x['train'].equals(y['train']) and np.array_equal(x['big'], y['big']) and y['n'] == 3
        elif isinstance(x, pd.DataFrame): assert x.equals(y)
        else: assert np.array_equal(x, y)
    for v in a.find_items(bucket):
        here, there = a.aliases(f'{bucket}/{v.item}'), b.aliases(f'{other or bucket}/{v.item}')
        assert dict(there) == dict(here)
        for alias in here: assert there.history(alias) == here.history(alias)

@pytest.mark.parametrize('end', ['', '.tar'])
def test_a_round_trip(tmp_path, end):
    a, b = ObjectStore(tmp_path/'a'), ObjectStore(tmp_path/'b')
    filled(a, tmp_path/'folder')
    out = export('wine', tmp_path/f'out{end}', a)
    assert [p for p in tmp_path.iterdir() if p.name[0] == '.'] == []
    plan = import_export(out, b)
    assert not plan.stays and b.list_buckets() == [] and not plan.apply().left
    same(a, b, 'wine')
    again = import_export(out, b)
    assert not again and {s.reason for s in again.stays} == {'here already'}
    with pytest.raises(Protected): ObjectStore(tmp_path/'b', readonly=True).put('wine/x', 1)

def test_it_opens_without_this_library(tmp_path):
    "By a process that cannot import it"
    a = ObjectStore(tmp_path/'a')
    filled(a, tmp_path/'folder')
    out = export('wine', tmp_path/'out', a)
    code = '''import csv, json, pathlib, sys
top = pathlib.Path(sys.argv[1])
rows = list(csv.DictReader(open(top/'index.csv', newline='', encoding='utf-8')))
assert 'objectstore' not in sys.modules
def whole(r): return (top/r['file']).is_dir() or (top/r['file']).stat().st_size == int(r['size'])
print(json.dumps([[r['ref'], whole(r)] for r in rows]))'''
    p = subprocess.run([sys.executable, '-I', '-S', '-c', code, str(out)], capture_output=True, text=True, check=True,
                       timeout=120)
    rows = json.loads(p.stdout)
    assert [r for r, _ in rows] == [v.ref
                                    for v in sorted(a.find_items('wine', at='*'), key=lambda v: (v.item, v.version))]
    assert all(whole for _, whole in rows)
    assert pd.read_parquet(out/'files/wine/frame@1/frame.parquet').equals(a.get('wine/frame'))
    names = [p.relative_to(out).as_posix() for p in out.rglob('*')]
    assert len({n.casefold() for n in names}) == len(names) and all(plain_name(n) == n for n in names)
    page = (out/'index.html').read_text()
    assert page.count('<a href="files/') == len(rows) and '<script' not in page

def test_a_page_shows_names_and_runs_none(tmp_path):
    a = ObjectStore('memory://')
    a.put('w/x', 1, metadata={'k': '<script>alert(1)</script>'}, kind='<img src=x>')
    page = (export('w', tmp_path/'out', a)/'index.html').read_text()
    assert '<script' not in page and '<img' not in page

def test_a_part_keeps_its_numbers_and_tells_nothing_of_the_rest(tmp_path):
    a, b = ObjectStore('memory://'), ObjectStore('memory://')
    for n in (1, 2, 3): a.put('w/x', f'secret {n}')
    a.set_alias('w/x@1', 'first')
    out = export([a['w/x@2']], tmp_path/'out')
    text = ''.join(p.read_text() for p in out.rglob('*') if p.is_file())
    import base64
    data = b''.join(base64.b64decode(x.get('data', ''))
                    for x in map(json.loads, (out/'objects.jsonl').read_text().splitlines()))
    for said in ('secret 1', 'secret 3', 'first'): assert said not in text and said.encode() not in data
    import_export(out, b, 'other').apply()
    assert b.find_items('other', at='*').refs == ['other/x@2'] and b.get('other/x@2') == 'secret 2'
    assert b.put('other/x', 'next').version == 3
    with pytest.raises(KeyError): b['other/x@1']

def test_exports_of_two_buckets(tmp_path):
    a, b = ObjectStore('memory://'), ObjectStore('memory://')
    a.put('v/x', 1); a.put('w/x', 2)
    out = export([a['v/x'], a['w/x']], tmp_path/'out')
    with pytest.raises(InvalidCall, match='buckets v, w'): import_export(out, b, 'one')
    import_export(out, b).apply()
    assert (b.get('v/x'), b.get('w/x')) == (1, 2)

def test_behind_versions_of_others(tmp_path):
    "Where numbers are taken, versions come under new ones, and say from where"
    a, b = ObjectStore('memory://'), ObjectStore('memory://')
    a.put('w/x', 'ours', alias='best'); b.put('w/x', 'theirs')
    out = export('w', tmp_path/'out', a)
    plan = import_export(out, b)
    assert plan.steps[0].reason == '1 of 1 versions, behind what is here'
    plan.apply()
    assert b.get('w/x@2') == 'ours' and b['w/x@2'].lineage['copied']['from'] == 'w/x@1'
    assert not import_export(out, b)

@pytest.mark.parametrize('native', [False, True])
def test_a_service(seaweed, tmp_path, native):
    from services import Place
    options = dict(endpoint=seaweed.endpoint, timeout=5.0, near=False, storage_options=None)
    with pytest.MonkeyPatch.context() as m:
        for k, v in seaweed.environment.items(): m.setenv(k, v)
        name = f'w{os.getpid()}-{int(native)}'
        if native: seaweed.make_bucket(name)
        a = ObjectStore('s3://' if native else Place(seaweed).url, **options)
        for n in (1, 2): a.put(f'{name}/x', 'v' * 40_000 * n, alias='best')
        a.annotate(f'{name}/x@1', {'good': True})
        out, b = export(name, tmp_path/'out', a), ObjectStore(tmp_path/'b')
        assert not import_export(out, b).apply().left
        same(a, b, name)
        c = ObjectStore(Place(seaweed).url, **options)
        assert not import_export(export(name, tmp_path/'again.tar', b), c).apply().left
        same(a, c, name)


def tree(top: Path) -> Path:
    top.mkdir()
    for n in range(6): (top/f'm_v{n + 1}.txt').write_text(f'{n}')
    (top/'other.txt').write_text('x')
    return top

def texts(store, ref='b/m.txt'): return [v.get().read_text() for v in store.versions(ref)]

def test_an_interrupted_import_goes_on(tmp_path):
    top, store = tree(tmp_path/'top'), ObjectStore(tmp_path/'lab')
    plan = import_folder(top, store, 'b')
    put, left = plan.acts.source.put, [3]
    def broken(*args):
        if not left[0]: raise KeyboardInterrupt
        left[0] -= 1
        return put(*args)
    plan.acts.source.put = broken
    with pytest.raises(KeyboardInterrupt) as e: plan.apply()
    assert '3 of 7 rows were done' in e.value.__notes__[0] and texts(store) == ['0', '1', '2']
    assert len(import_folder(top, store, 'b').apply().done) == 4
    assert texts(store) == [f'{n}' for n in range(6)]

def test_a_killed_import_goes_on(tmp_path):
    top, lab = tree(tmp_path/'top'), tmp_path/'lab'
    code = '''import os, signal, sys
from objectstore import ObjectStore
from objectstore.moving import import_folder
plan = import_folder(sys.argv[1], ObjectStore(sys.argv[2], progress=False), 'b')
put, n = plan.acts.source.put, [0]
def once(*args):
    v = put(*args); n[0] += 1
    if n[0] == 2: os.kill(os.getpid(), signal.SIGKILL)
    return v
plan.acts.source.put = once
plan.apply()'''
    p = subprocess.run([sys.executable, '-c', code, str(top), str(lab)], capture_output=True, timeout=120)
    assert p.returncode == -9, p.stderr
    store = ObjectStore(lab)
    import_folder(top, store, 'b').apply()
    assert texts(store) == [f'{n}' for n in range(6)]

def test_two_imports_at_once_bring_nothing_twice(tmp_path):
    top, lab = tree(tmp_path/'top'), tmp_path/'lab'
    ObjectStore(lab).put('seed/x', 1)
    plans = [import_folder(top, ObjectStore(lab), 'b') for _ in range(3)]
    threads = [threading.Thread(target=p.apply) for p in plans]
    for t in threads: t.start()
    for t in threads: t.join(120)
    store = ObjectStore(lab)
    import_folder(top, store, 'b').apply()
    found = texts(store)
    assert len(found) == len({*found}) == 6 and sum(len(p.applied.done) for p in plans) <= 7

def test_a_file_that_changes_while_it_is_put_is_told(tmp_path):
    top, store = tree(tmp_path/'top'), ObjectStore('memory://')
    plan = import_folder(top, store, 'b')
    put = plan.acts.source.put
    def slow(store, ref, f, given):
        v = put(store, ref, f, given)
        if f.id == 'other.txt': (top/'other.txt').write_text('longer')
        return v
    plan.acts.source.put = slow
    [told] = [o for o in plan.apply() if o.ref == 'b/other.txt']
    assert 'changed meanwhile' in told.became
    import_folder(top, store, 'b').apply()
    assert store.get('b/other.txt').read_text() == 'longer'

def test_a_folder_that_was_turned_into_a_link_is_left(tmp_path):
    (tmp_path/'top'/'below').mkdir(parents=True); (tmp_path/'top'/'below'/'a.txt').write_text('a')
    (tmp_path/'elsewhere').mkdir(); (tmp_path/'elsewhere'/'a.txt').write_text('a')
    store = ObjectStore('memory://')
    plan = import_folder(tmp_path/'top', store, 'b')
    st = (tmp_path/'top'/'below'/'a.txt').stat()
    os.utime(tmp_path/'elsewhere'/'a.txt', ns=(st.st_mtime_ns, st.st_mtime_ns))
    (tmp_path/'top'/'below').rename(tmp_path/'gone'); (tmp_path/'top'/'below').symlink_to(tmp_path/'elsewhere')
    assert [o.why for o in plan.apply()] == ['it has changed since the plan was made'] and store.list_buckets() == []

def test_a_plan_from_a_file_in_another_order(tmp_path):
    top, store = tree(tmp_path/'top'), ObjectStore('memory://')
    file = import_folder(top, store, 'b').save(tmp_path/'plan.jsonl')
    head, *rows = file.read_text().splitlines()
    file.write_text('\n'.join([head, *(r for r in rows[::-1] if 'm_v6' not in r)]))
    saved = read_plan(file)
    assert saved.head['given']['path'] == str(top)
    import_folder(top, store, 'b').only(saved.steps).apply()
    assert texts(store) == ['4', '3', '2', '1', '0']

def test_a_store_that_is_read_only_ends_it(tmp_path):
    top = tree(tmp_path/'top')
    ObjectStore(tmp_path/'lab').put('b/x', 1)
    plan = import_folder(top, ObjectStore(tmp_path/'lab', readonly=True), 'b')
    with pytest.raises(Protected): plan.apply()
    assert plan.applied == []

def test_strange_names_get_a_word(tmp_path):
    top, store = tmp_path/'top', ObjectStore('memory://')
    top.mkdir()
    for name in ('a@b.txt', 'x' * 250, ' lead', 'new\nline', 'fine.txt'): (top/name).write_text('x')
    os.mkfifo(top/'pipe')
    with open(os.fsencode(top) + b'/\xff.txt', 'w') as f: f.write('x')
    plan = import_folder(top, store, 'b')
    said = {s.what: s.reason for s in plan.stays}
    assert ({s.what for s in plan.goes} >= {'fine.txt'} and 'no name' in said['a@b.txt']
            and said['pipe'] == 'no plain file')
    repr(plan); plan.save(tmp_path/'plan')
    assert not plan.apply().left

def test_html_and_frames(tmp_path):
    plan = import_folder(tree(tmp_path/'top'), ObjectStore('memory://'), 'b')
    html = plan._repr_mimebundle_()['text/html']
    assert '<table' in html and 'nothing is done yet' in html and 'm_v1.txt' in html
    assert (list(plan.df().columns) == ['verdict', 'ref', 'what', 'reason', 'size', 'goes', 'facts']
            and len(plan.df()) == 7)


def test_an_evil_tar_writes_nothing(tmp_path):
    "Links, names that lead out, and members that are no files"
    a, b = ObjectStore('memory://'), ObjectStore(tmp_path/'b')
    a.put('w/x', 'v' * 50_000)
    out = export('w', tmp_path/'out', a)
    evil = tmp_path/'evil.tar'
    with tarfile.open(evil, 'w') as tar:
        for p in sorted(out.rglob('*')):
            if p.is_file() and p.name != 'x.txt': tar.add(p, f'out/{p.relative_to(out)}')
        link = tarfile.TarInfo('out/files/w/x@1/x.txt')
        link.type, link.linkname = tarfile.SYMTYPE, '/etc/passwd'
        tar.addfile(link)
        tar.addfile(tarfile.TarInfo('../../escaped'))
    [row] = import_export(evil, b).steps
    assert not row.goes and 'missing' in row.reason
    assert not (tmp_path/'b').exists() and not (tmp_path.parent/'escaped').exists()
    (tmp_path/'noise.tar').write_bytes(os.urandom(3000))
    for bad in (tmp_path/'noise.tar', tmp_path, tmp_path/'nothing'):
        with pytest.raises((Unsupported, KeyError)): import_export(bad, b)

def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    import objectstore.moving.exports as exports
    a = ObjectStore('memory://')
    a.put('w/x', 'v' * 50_000); a.put('w/y', 1)
    def full(*args): raise OSError(28, 'No space left')
    monkeypatch.setattr(exports.shutil, 'copyfileobj', full)
    with pytest.raises(OSError, match='No space'): export('w', tmp_path/'out', a)
    assert [*tmp_path.iterdir()] == []

def test_damage_is_not_exported(tmp_path):
    a = ObjectStore(tmp_path/'a')
    a.put('w/x', 'v' * 50_000)
    [f] = [p for p in (tmp_path/'a').rglob('*') if p.is_file() and p.stat().st_size == 50_000]
    f.chmod(0o644); f.write_bytes(b'w' + f.read_bytes()[1:])
    with pytest.raises(OSError): export('w', tmp_path/'out', ObjectStore(tmp_path/'a'))
    assert not (tmp_path/'out').exists()


@pytest.mark.parametrize('end', ['', '.tar'])
def test_what_a_folder_has_beside_its_files_is_said_and_comes_back(tmp_path, end):
    top = tmp_path/'top'
    (top/'empty').mkdir(parents=True)
    (top/'run.sh').write_text('#!/bin/sh\ntrue\n'); (top/'run.sh').chmod(0o755); (top/'again').symlink_to('run.sh')
    s = ObjectStore(tmp_path/'s')
    s.put('lab/f', top)
    out = export('lab', tmp_path/f'out{end}', s)
    if end:
        with tarfile.open(out) as tar: tar.extractall(tmp_path, filter='data')
    said = json.loads((tmp_path/'out/files/lab/f@1.json').read_text())
    assert said['also'] == {'run': ['run.sh'], 'empty': ['empty'], 'links': {'again': 'run.sh'}}
    assert 'links' in (tmp_path/'out/README.txt').read_text()
    there = ObjectStore(tmp_path/'there')
    assert not import_export(out, there).apply().left
    there.get('lab/f').path(tmp_path/'back')
    back = tmp_path/'back'
    assert (back/'run.sh').stat().st_mode & 0o100 and (back/'empty').is_dir() and os.readlink(back/'again') == 'run.sh'
