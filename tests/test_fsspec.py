"The file system `objectstore://`: fsspec's own suite, and those who read and write its URLs"
import gzip, os, pickle, subprocess, sys, tomllib, warnings
from pathlib import Path
import pytest
from objectstore import (InvalidCall, InvalidRef, InvalidSettings, NoSuchFile, NotAvailableOffline, ObjectStore,
                         Protected, Unsupported)
from away import forget_all
fsspec = pytest.importorskip('fsspec')
from fsspec.tests import abstract       # noqa: E402 (where it is installed)
from objectstore.filesystem.file_system import ObjectStoreFileSystem       # noqa: E402
from objectstore.filesystem.new_files import NewFile            # noqa: E402
from objectstore.filesystem.store_paths import parse_path       # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
MB = 10**6


@pytest.fixture(scope='module', autouse=True)
def registered():
    "As its entry point does, also where the library was installed before it had one"
    fsspec.register_implementation('objectstore', ObjectStoreFileSystem, clobber=True)

@pytest.fixture(autouse=True)
def own_machine(tmp_path, monkeypatch):
    "A machine of its own, without settings"
    for name in 'CACHE', 'STATE': monkeypatch.setenv(f'OBJECTSTORE_{name}_DIR', str(tmp_path/'machine'/name))
    monkeypatch.setenv('XDG_CONFIG_HOME', str(tmp_path/'machine'/'config'))
    (tmp_path/'work').mkdir()
    monkeypatch.chdir(tmp_path/'work')
    forget_all()
    yield
    forget_all()

@pytest.fixture
def lab(tmp_path): return str(tmp_path/'lab')
@pytest.fixture
def store(lab): return ObjectStore(lab)
@pytest.fixture
def fs(store): return ObjectStoreFileSystem.of(store)

def settings(**profiles: str) -> None:
    "A settings file with these profiles, each in a folder"
    Path('settings.ini').write_text(''.join(f'[objectstore.{name}]\ntiers = {tier}\n'
                                            for name, tier in profiles.items()))


# fsspec's own suite

class Removing(ObjectStoreFileSystem):
    "The suite cleans up by names; here it says which versions it means: all"
    def rm(self, path, recursive=False, maxdepth=None):
        for p in self.expand_path(path, recursive=recursive, maxdepth=maxdepth):
            if not self.isdir(p): self.rm_file(f'{p}@*')

class Fixtures(abstract.AbstractFixtures):
    @pytest.fixture
    def fs(self, lab): return Removing(tiers=lab)
    @pytest.fixture
    def fs_join(self): return lambda *parts: '/'.join(parts)
    @pytest.fixture
    def fs_path(self): return 'suite/below'
    @pytest.fixture
    def supports_empty_directories(self): return False

class TestCopy(abstract.AbstractCopyTests, Fixtures): pass
class TestGet(abstract.AbstractGetTests, Fixtures): pass
class TestPut(abstract.AbstractPutTests, Fixtures): pass
class TestOpen(abstract.AbstractOpenTests, Fixtures): pass
class TestPipe(abstract.AbstractPipeTests, Fixtures): pass


# names

def test_names_are_literal(fs, store):
    for name in 'a[1].csv', 'a1.csv', 'what?', 'star*', 'a%20b', 'a#b', 'ä ö', 'deep/a[1].csv':
        fs.pipe(f'odd/{name}', name.encode())
    assert fs.find('odd') == sorted(f'odd/{n}' for n in ('a[1].csv', 'a1.csv', 'what?', 'star*', 'a%20b', 'a#b', 'ä ö',
                                                        'deep/a[1].csv'))
    for path in fs.find('odd'): assert fs.cat_file(path).decode() == path.removeprefix('odd/')
    # one that is there wins over what it would match
    assert fs.glob('odd/a[1].csv') == ['odd/a[1].csv'] and fs.glob('odd/star*') == ['odd/star*']
    assert fs.glob('odd/a[12].csv') == ['odd/a1.csv'] and fs.glob('odd/a?.csv') == ['odd/a1.csv']
    assert fs.glob('odd/**/a*.csv') == ['odd/a1.csv', 'odd/a[1].csv', 'odd/deep/a[1].csv']
    with fsspec.open('objectstore://odd/a[1].csv', tiers=store.tiers) as f: assert f.read() == b'a[1].csv'
    assert [f.path for f in fsspec.open_files('objectstore://odd/a[1].csv', tiers=store.tiers)] == ['odd/a[1].csv']

def test_a_name_may_be_an_item_and_a_directory(fs):
    fs.pipe('lab/a', b'item'), fs.pipe('lab/a/b', b'below')
    assert fs.find('lab') == ['lab/a', 'lab/a/b'] and fs.isfile('lab/a')
    assert [(x['name'], x['type']) for x in fs.ls('lab')] == [('lab/a', 'directory'), ('lab/a', 'file')]
    assert fs.ls('lab/a', detail=False) == ['lab/a/b']

def test_info_tells_hash_metadata_and_date(fs, store):
    v = store.put('wine/table', 'dry', metadata={'year': 1998})
    for path in 'wine/table', 'wine/table@1', 'wine/table@latest/table.txt', 'objectstore://wine/table':
        found = fs.info(path)
        assert (found['hash'], found['metadata'], found['ref'], found['size']) == (v.hash, {'year': 1998}, v.ref, 3)
        assert fs.modified(path) == fs.created(path) == v.created and fs.cat_file(path) == b'dry'
    assert fs.ls('wine')[0]['hash'] == v.hash and fs.ls('wine')[0]['metadata'] == {'year': 1998}
    before = fs.ukey('wine/table')
    store.put('wine/table', 'fruity')
    assert fs.ukey('wine/table') != before == fs.ukey('wine/table@1')

def test_every_version_by_its_number(fs, store):
    for x in 'dry', 'fruity': store.put('wine/table', x, alias='production' if x == 'dry' else None)
    assert [x['name'] for x in fs.ls('wine/table@*')] == fs.glob('wine/table@*') == ['wine/table@1', 'wine/table@2']
    assert [fs.cat_file(f'wine/table@{s}') for s in ('production', '-2', 'latest', '2')] == [b'dry', b'dry', b'fruity',
                                                                                         b'fruity']

def test_a_folder_is_a_directory_at_its_version(fs, store, tmp_path):
    for n in 'a.txt', 'sub/b.txt':
        (tmp_path/'trip'/n).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path/'trip'/n).write_text(n)
    store.put('photos/trip', tmp_path/'trip')
    assert fs.find('photos') == ['photos/trip@latest/a.txt', 'photos/trip@latest/sub/b.txt']
    assert fs.find('photos', maxdepth=2, withdirs=True) == ['photos', 'photos/trip@latest', 'photos/trip@latest/a.txt',
                                                            'photos/trip@latest/sub']
    assert fs.isdir('photos/trip') and fs.isdir('photos/trip@1/sub') and fs.isfile('photos/trip@1/sub/b.txt')
    assert fs.glob('photos/trip@1/*/*.txt') == ['photos/trip@1/sub/b.txt']
    fs.get('photos/trip@1', str(tmp_path/'copy'), recursive=True)
    assert (tmp_path/'copy'/'sub'/'b.txt').read_text() == 'sub/b.txt'
    with pytest.raises(IsADirectoryError, match='@1/'): fs.open('photos/trip')
    with pytest.raises(IsADirectoryError): fs.open('photos/trip@1/sub')


# mistyped

def test_mistyped(fs, store):
    settings(lab=store.tiers[0])
    store.put('wine/table', 'dry')
    for options, error, word in [({'profile': 'lba'}, InvalidSettings, "did you mean 'lab'"),
                                 ({'tires': 'x'}, InvalidSettings, "did you mean 'tiers'"),
                                 ({'key': 'AKIA'}, InvalidSettings, 'secrets belong'),
                                 ({'secret_key': 'x'}, InvalidSettings, 'secrets belong'),
                                 ({'endpoint': 'http://a:pw1@x'}, InvalidSettings, 'secrets belong'),
                                 ({'max_age': 'soon'}, InvalidSettings, 'max_age')]:
        with pytest.raises(error, match=word) as e: fsspec.open('objectstore://wine/table', **options)
        assert 'AKIA' not in str(e.value) and 'pw1' not in str(e.value)
    with pytest.raises(InvalidSettings, match="did you mean 'lab'"): fsspec.open('objectstore://lba@wine/table')
    with pytest.raises(InvalidCall, match='one of them'): fsspec.open('objectstore://lab@wine/table', tiers='x')
    for path, word in [('wien/table', "did you mean 'wine'"), ('wine/tabel', "did you mean 'table'"),
                       ('wine/table@7', '7'), ('wine/table@1/tabel.txt', "did you mean 'table.txt'"),
                       ('wine/table/table.txt', 'needs a selector, as in wine/table@latest/table.txt')]:
        with pytest.raises(FileNotFoundError, match=word): fs.open(path)
        with pytest.raises(NoSuchFile): fs.info(path)
        assert not fs.exists(path)
    for path in 'wine//table', 'wine/table@', 'wine/table@1/../x':
        with pytest.raises(InvalidRef): fs.open(path)
        assert not fs.exists(path)
    for mode in 'ab', 'r+b':
        with pytest.raises(Unsupported, match='never changes'): fs.open('wine/table', mode)
    with pytest.raises(InvalidSettings, match="did you mean 'metadata'"): fs.open('wine/x', 'wb', metdata={})
    with pytest.raises(Unsupported): fs.open('wine/x', 'wb', codec='parquett')
    assert fs.find('') == ['wine/table']

def test_a_store_that_is_away_is_no_empty_directory(proxy, place, s3_env):
    store = ObjectStore(place.url, endpoint=proxy.endpoint, near=False, timeout=2.0, progress=False)
    store.put('wine/table', 'dry')
    fs = ObjectStoreFileSystem.of(store)
    with proxy.fault('refuse'):
        for ask in fs.exists, fs.isfile, fs.ls, fs.info, fs.cat_file:
            with pytest.raises(NotAvailableOffline): ask('wine/tabel')

def test_what_is_removed_is_named(fs, store):
    for x in 'dry', 'fruity', 'sweet': store.put('wine/table', x)
    store.set_alias('wine/table@2', 'production')
    for path in 'wine/table', 'wine', 'wine/table@1/table.txt':
        for recursive in False, True:
            with pytest.raises(PermissionError): fs.rm(path, recursive=recursive)
    with pytest.raises(PermissionError): fs.rm('wine/table@2')      # an alias points at it
    fs.rm('wine/table@1')
    assert [v.version for v in store.versions('wine/table')] == [2, 3]
    with pytest.raises(FileNotFoundError): fs.rm('wine/table@1')
    with pytest.raises(Unsupported, match='cp makes a copy'): fs.mv('wine/table', 'wine/other')
    store.remove_alias('wine/table', 'production')
    fs.rm('wine/table@*')
    assert not fs.exists('wine/table')

def test_buckets(fs, store):
    fs.mkdir('wine'), fs.makedirs('wine', exist_ok=True), fs.makedirs('wine/deep/er')
    assert store.list_buckets() == ['wine'] and fs.ls('') == [{'name': 'wine', 'size': 0, 'type': 'directory'}]
    with pytest.raises(FileExistsError): fs.mkdir('wine')
    fs.pipe('wine/a', b'1')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        with pytest.raises(OSError, match='holds items'): fs.rmdir('wine')
    fs.rm('wine/a@*'), fs.rmdir('wine')
    assert store.list_buckets() == []


# writing

def numbers(store, ref: str) -> int: return len(store.versions(ref)) if ref in store else 0

@pytest.mark.parametrize('mode', ['w', 'wb', 'wt'])
@pytest.mark.parametrize('how', ['fs', 'fsspec', 'gzip'])
def test_an_error_puts_nothing(fs, store, mode, how):
    data = b'half' if 'b' in mode else 'half'
    def opened():
        if how == 'fs': return fs.open('wine/x', mode)
        return fsspec.open('objectstore://wine/x', mode, tiers=store.tiers,
                           compression='gzip' if how == 'gzip' else None)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        with pytest.raises(ZeroDivisionError), opened() as f: f.write(data); 1/0
    assert numbers(store, 'wine/x') == 0 and not [*Path(store.tiers[0]).glob('wine/records/*')]
    with opened() as f: f.write(data)
    found = store['wine/x'].open().read()
    assert (gzip.decompress(found) if how == 'gzip' else found) == b'half'

def test_an_error_in_a_library_puts_nothing(store):
    pd = pytest.importorskip('pandas')
    class Bad:
        def __str__(self): raise RuntimeError('no text')
    df = pd.DataFrame({'a': ['x'] * 10 + [Bad()]})
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        with pytest.raises(Exception): df.to_csv('objectstore://wine/x.csv', storage_options={'tiers': store.tiers})
        with pytest.raises(Exception): df.to_parquet('objectstore://wine/x', storage_options={'tiers': store.tiers})
    assert numbers(store, 'wine/x.csv') == numbers(store, 'wine/x') == 0

def test_closed_in_an_except(fs, store):
    "Within the handler of an error files are written as anywhere"
    try: 1/0
    except ZeroDivisionError:
        with fs.open('wine/x', 'w') as f: f.write('report')
        with fsspec.open('objectstore://wine/x', 'w', tiers=store.tiers) as f: f.write('report')
    assert numbers(store, 'wine/x') == 2

def test_a_full_disk_puts_nothing(fs, store, monkeypatch):
    f = fs.open('wine/x', 'wb')
    f.write(b'x')
    os.dup2(os.open('/dev/full', os.O_WRONLY), f.fileno())
    with pytest.raises(OSError): f.close()
    assert f.closed and numbers(store, 'wine/x') == 0

def test_a_file_that_nobody_closed_is_quiet_when_python_ends(capfd):
    "The names of a module are gone before what it made is"
    module = {'__name__': 'objectstore.filesystem.again', '__package__': 'objectstore.filesystem'}
    exec(Path(sys.modules[NewFile.__module__].__file__).read_text(), module)
    f = module['NewFile'](print, parse_path('wine/x'))
    f.write(b'half')
    raw = f.raw
    for name in {*module} - {'NewFile'}: del module[name]
    del f
    assert raw.closed and capfd.readouterr() == ('', '')

def test_what_is_written_says_what_it_is(store):
    options = dict(tiers=store.tiers, metadata={'auc': 0.91}, kind='evaluation', alias='production')
    with fsspec.open('objectstore://lab/scores.json', 'w', codec='json', **options) as f: f.write('{"a": 1}')
    v = store['lab/scores.json@production']
    assert (v.metadata, v.kind, v.codec, v.get()) == ({'auc': 0.91}, 'evaluation', 'json', {'a': 1})
    with pytest.raises(Exception), fsspec.open('objectstore://lab/scores.json', 'w', codec='json', **options) as f:
        f.write('{"a": ')
    assert numbers(store, 'lab/scores.json') == 1

def test_a_readonly_store(store):
    store.put('wine/table', 'dry')
    fs = fsspec.filesystem('objectstore', tiers=store.tiers, readonly=True)
    assert fs.cat('wine/table') == b'dry'
    with pytest.raises(Protected): fs.open('wine/table', 'wb')

def test_only_the_first(fs, store):
    with pytest.raises(FileExistsError), fs.open('wine/x', 'xb') as f:
        f.write(b'mine')
        store.put('wine/x', 'of somebody else')
    assert numbers(store, 'wine/x') == 1

def test_a_copy_keeps_its_metadata(fs, store, tmp_path):
    store.put('wine/table', 'dry', metadata={'year': 1998})
    fs.cp('wine/table', 'cellar/table')
    assert store['cellar/table'].metadata == {'year': 1998}
    fs.get('wine/table', str(tmp_path/'t.txt'))
    fs.put(str(tmp_path/'t.txt'), 'cellar/t.txt')
    assert fs.cat('cellar/t.txt') == b'dry'

def test_a_transaction_is_one_folder_version(fs, store):
    with fs.transaction:
        for n in 'a.csv', 'sub/b.csv':
            with fs.open(f'wine/tables@latest/{n}', 'w') as f: f.write(n)
        fs.pipe('wine/alone', b'1')
        assert numbers(store, 'wine/tables') == numbers(store, 'wine/alone') == 0
    assert numbers(store, 'wine/tables') == numbers(store, 'wine/alone') == 1
    assert fs.find('wine/tables@1') == ['wine/tables@1/a.csv', 'wine/tables@1/sub/b.csv']
    with pytest.raises(ZeroDivisionError), fs.transaction: fs.pipe('wine/tables@latest/a.csv', b'2'); 1/0
    assert numbers(store, 'wine/tables') == 1
    for path in 'wine/tables@latest/a.csv', 'wine/tables@1/a.csv':
        with pytest.raises(Unsupported, match='with fs.transaction'): fs.open(path, 'wb')
    with fs.transaction, pytest.raises(Unsupported, match='with fs.transaction'): fs.open('wine/tables@1/a.csv', 'wb')
    fs.pipe('wine/alone', b'2')      # and after it files are put at once
    assert numbers(store, 'wine/alone') == 2


# which store

def test_file_systems_are_told_apart_by_what_their_settings_come_to(tmp_path, monkeypatch):
    settings(lab=tmp_path/'lab', other=tmp_path/'other')
    a = fsspec.filesystem('objectstore', profile='lab')
    monkeypatch.setenv('OBJECTSTORE_PROFILE', 'lab')
    assert fsspec.filesystem('objectstore') is a and fsspec.core.url_to_fs('objectstore://lab@x/y')[0] is a
    assert fsspec.filesystem('objectstore', profile='other') is not a
    monkeypatch.setenv('OBJECTSTORE_PROFILE', 'other')
    b = fsspec.filesystem('objectstore')
    assert b is not a and b.store.tiers == [str(tmp_path/'other')]
    assert fsspec.filesystem('objectstore', profile='other', offline=True) is not b
    a.pipe('x/y', b'lab'), b.pipe('x/y', b'other')
    # one file system reads the URLs of another profile from there
    assert b.cat_file('objectstore://lab@x/y') == a.cat_file('objectstore://x/y') == b'lab'
    assert b.find('lab@x') == ['lab@x/y'] and b.glob('lab@x/*') == ['lab@x/y']
    with fsspec.open('objectstore://lab@x/y', profile='other') as f: assert f.read() == b'lab'
    files = fsspec.open_files(['objectstore://lab@x/y', 'objectstore://other@x/y'])
    assert [f.read() for f in map(lambda f: f.open(), files)] == [b'lab', b'other']

def test_another_process_needs_no_settings(tmp_path):
    settings(lab=tmp_path/'lab')
    fs = fsspec.filesystem('objectstore', profile='lab')
    fs.pipe('x/y', b'lab')
    Path('settings.ini').unlink()
    told = pickle.dumps(fs)
    assert pickle.loads(told) is fs and b'lab' in told
    code = ('import pickle, sys, warnings; fs = pickle.loads(sys.stdin.buffer.read()); '
            "assert fs.cat_file('x/y') == fs.cat_file('lab@x/y') == b'lab'")
    subprocess.run([sys.executable, '-W', 'ignore', '-c', code], input=told, check=True, cwd=tmp_path)
    assert fsspec.AbstractFileSystem.from_json(fs.to_json()) is fs

def test_the_entry_point():
    spec = tomllib.loads((ROOT/'pyproject.toml').read_text())['project']['entry-points']['fsspec.specs']['objectstore']
    module, _, name = spec.partition(':')
    assert (module, name) == (ObjectStoreFileSystem.__module__, ObjectStoreFileSystem.__name__)

def test_without_fsspec_the_extra_is_named(tmp_path):
    code = ("import sys; sys.modules['fsspec'] = sys.modules['fsspec.transaction'] = None\n"
            "from objectstore import MissingExtra, ObjectStore\n"
            "import duckdb\n"
            "try: ObjectStore('memory://').duckdb(duckdb.connect())\n"
            "except MissingExtra as e: assert 'objectstore[fs]' in str(e)\n"
            "else: raise SystemExit('no error')")
    subprocess.run([sys.executable, '-c', code], check=True)

def test_upath(store):
    upath = pytest.importorskip('upath')
    p = upath.UPath('objectstore://wine', tiers=store.tiers[0])
    (p/'deep'/'a.txt').write_text('dry')
    assert store['wine/deep/a.txt'].version == 1 and (p/'deep'/'a.txt').read_text() == 'dry'
    assert [x.name for x in p.iterdir()] == ['deep'] and (p/'deep').is_dir() and not (p/'other').exists()
    assert [str(x) for x in p.glob('*/*.txt')] == ['objectstore://wine/deep/a.txt']


# pandas, Dask, DuckDB, Arrow, Polars

@pytest.fixture
def frame():
    pd, np = pytest.importorskip('pandas'), pytest.importorskip('numpy')
    rng = np.random.default_rng(0)
    return pd.DataFrame({f'c{i:02}': rng.random(100_000) for i in range(20)} | {'k': range(100_000)})

def test_pandas(store, frame):
    pd, options = pytest.importorskip('pandas'), {'tiers': store.tiers}
    store.put('wine/table', frame)
    for path in 'wine/table', 'wine/table@1', 'wine/table@latest/table.parquet':
        pd.testing.assert_frame_equal(pd.read_parquet(f'objectstore://{path}', storage_options=options), frame)
    frame.to_parquet('objectstore://wine/table', storage_options=options | {'metadata': {'by': 'pandas'}})
    v = store['wine/table']
    assert (v.ref, v.codec, v.file_name, v.metadata) == ('wine/table@2', 'file', 'table.parquet', {'by': 'pandas'})
    pd.testing.assert_frame_equal(pd.read_parquet('objectstore://wine/table', storage_options=options), frame)
    frame.to_parquet('objectstore://wine/table', storage_options=options | {'codec': 'parquet'})
    pd.testing.assert_frame_equal(store.get('wine/table'), frame)
    frame[:10].to_csv('objectstore://wine/t.csv.gz', storage_options=options, index=False)
    pd.testing.assert_frame_equal(pd.read_csv('objectstore://wine/t.csv.gz', storage_options=options), frame[:10])

def test_arrow(store, frame):
    pq, ds, pafs = (pytest.importorskip(f'pyarrow.{m}') for m in ('parquet', 'dataset', 'fs'))
    store.put('wine/table', frame)
    fs = fsspec.filesystem('objectstore', tiers=store.tiers)
    assert pq.read_table('wine/table', filesystem=fs, columns=['k']).num_rows == len(frame)
    assert ds.dataset('wine', filesystem=fs).count_rows() == len(frame)
    settings(lab=store.tiers[0])
    found, path = pafs.FileSystem.from_uri('fsspec+objectstore://lab@wine/table')
    assert pq.read_table(path, filesystem=found, columns=['k']).num_rows == len(frame)
    pq.write_table(pq.read_table('wine/table', filesystem=fs), 'wine/again', filesystem=fs)
    assert store['wine/again'].file_name == 'again.parquet'

def test_dask(store, frame):
    dd, pd, options = pytest.importorskip('dask.dataframe'), pytest.importorskip('pandas'), {'tiers': store.tiers}
    store.put('wine/table', frame)
    df = dd.read_parquet('objectstore://wine/table', storage_options=options)
    pd.testing.assert_frame_equal(df.compute(), frame, check_dtype=False)
    # several files: items of their own, or one folder version
    parts = dd.from_pandas(frame, npartitions=3)
    parts.to_parquet('objectstore://wine/parts', storage_options=options)
    assert numbers(store, 'wine/parts/part.0.parquet') == 1
    fs = fsspec.filesystem('objectstore', **options)
    with fs.transaction: parts.to_parquet('objectstore://wine/folder@latest', storage_options=options)
    assert numbers(store, 'wine/folder') == 1 and len(store.get('wine/folder')) == 3
    for path in 'wine/parts', 'wine/folder@1', 'wine/folder@latest/*.parquet':
        back = dd.read_parquet(f'objectstore://{path}', storage_options=options)
        pd.testing.assert_frame_equal(back.compute().sort_values('k').reset_index(drop=True), frame, check_dtype=False)
    # a step with a = is no column, where it is said
    store.put('wine/day=2026-11-01/region=eu', frame)
    df = dd.read_parquet('objectstore://wine/day=2026-11-01/region=eu', storage_options=options,
                         dataset={'partitioning': None})
    assert [*df.columns] == [*frame.columns]

def test_duckdb(store, frame, tmp_path):
    duckdb = pytest.importorskip('duckdb')
    store.put('wine/table', frame)
    con = store.duckdb(duckdb.connect())
    for source in ("read_parquet('objectstore://wine/table')", "'objectstore://wine/table@1/table.parquet'",
                   "read_parquet('objectstore://wine/tab*')"):
        assert con.sql(f'SELECT sum(k), max(c01) FROM {source}').fetchall() == [(frame.k.sum(), frame.c01.max())]
    for day in 1, 2: store.put(f'wine/day=2026-11-0{day}/region=eu', frame[:day])
    days = "read_parquet('objectstore://wine/day=*/region=eu')"
    assert 'day' not in con.sql(f'FROM {days}').columns and con.sql(f'SELECT count(*) FROM {days}').fetchall() == [(3,)]
    assert 'day' in store.duckdb(con, hive=True).sql(f'FROM {days}').columns
    settings(other=tmp_path/'other')
    ObjectStore(profile='other').put('wine/table', frame[:5])
    assert con.sql("SELECT count(*) FROM read_parquet('objectstore://other@wine/table')").fetchall() == [(5,)]
    con.sql("COPY (SELECT 1 AS x) TO 'objectstore://wine/out.parquet'")
    assert numbers(store, 'wine/out.parquet') == 1
    with pytest.raises(duckdb.IOException, match='No files found'):
        con.sql("FROM read_parquet('objectstore://wine/tabel')")

def test_duckdb_reads_one_version_in_a_query(store):
    duckdb, pd = pytest.importorskip('duckdb'), pytest.importorskip('pandas')
    store.put('wine/table', pd.DataFrame({'x': [1]}))
    con = store.duckdb(duckdb.connect())
    found = con.sql("FROM read_parquet('objectstore://wine/table', filename=true)").fetchall()
    assert found == [(1, 'objectstore://wine/table@1/table.parquet')]
    store.put('wine/table', pd.DataFrame({'x': [2], 'y': [3]}))
    assert con.sql("SELECT x, y FROM read_parquet('objectstore://wine/table')").fetchall() == [(2, 3)]

def test_polars_never_asks(store, frame):
    "It has no such URLs; it takes a path, a plan, or an open file"
    pl = pytest.importorskip('polars')
    store.put('wine/table', frame)
    with pytest.raises(Exception): pl.scan_parquet('objectstore://wine/table').collect()
    assert pl.scan_parquet(store['wine/table'].path()).select('k').collect().height == len(frame)
    assert store.get('wine/table', as_='lazy').select('k').collect().height == len(frame)
    with fsspec.open('objectstore://wine/table', tiers=store.tiers) as f:
        assert pl.read_parquet(f, columns=['k']).height == len(frame)


# what moves

@pytest.fixture
def s3_service(request): return request.getfixturevalue('seaweed')

def moved(count) -> int: return sum(r.received for r in count)

def test_two_columns_of_a_large_one(place, proxy, s3_env, frame, tmp_path):
    "Each engine moves the footer and the two columns, and nothing stays of it on this machine"
    pd, duckdb = pytest.importorskip('pandas'), pytest.importorskip('duckdb')
    dd, pq = pytest.importorskip('dask.dataframe'), pytest.importorskip('pyarrow.parquet')
    ObjectStore(place.url, endpoint=proxy.endpoint, near=False, progress=False).put('wine/table', frame)
    options = dict(tiers=place.url, endpoint=proxy.endpoint, near=False, timeout=10.0)
    fs, url = fsspec.filesystem('objectstore', **options), 'objectstore://wine/table'
    size = fs.size('wine/table')
    con = fs.store.duckdb(duckdb.connect())
    reads = {'pandas': lambda: pd.read_parquet(url, columns=['c03', 'c07'], storage_options=options),
             'Arrow': lambda: pq.read_table('wine/table', columns=['c03', 'c07'], filesystem=fs),
             'Dask': lambda: dd.read_parquet(url, columns=['c03', 'c07'], storage_options=options).compute(),
             'DuckDB': lambda: con.sql(f"SELECT sum(c03), sum(c07) FROM read_parquet('{url}')").fetchall()}
    assert size > 14 * MB
    for name, read in reads.items():
        with proxy.counting() as c: read()
        print(f'{name}: {moved(c) / MB:.2f} of {size / MB:.2f} MB, {len([*c])} requests')
        assert moved(c) < size / 4, name

def test_a_file_of_a_far_folder_is_read_by_ranges(place, proxy, s3_env, tmp_path):
    (tmp_path/'trip').mkdir()
    data = os.urandom(8 * MB)
    (tmp_path/'trip'/'large.bin').write_bytes(data), (tmp_path/'trip'/'empty').write_bytes(b'')
    options = dict(tiers=place.url, endpoint=proxy.endpoint, near=False, timeout=10.0)
    store = ObjectStore(place.url, endpoint=proxy.endpoint, near=False, progress=False, timeout=10.0)
    store.put('photos/trip', tmp_path/'trip')
    fs = fsspec.filesystem('objectstore', **options)
    with proxy.counting() as c:
        assert fs.read_block('photos/trip@1/large.bin', 5 * MB, 1000) == data[5 * MB:5 * MB + 1000]
        assert fs.cat_file('photos/trip@1/empty') == b''
    assert moved(c) < MB
    assert fs.cat_file('photos/trip@latest/large.bin') == data
