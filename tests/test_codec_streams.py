"""Streams: batches and open files are put while they come, whole or not at all, in bounded memory"""
import io, os, subprocess, sys
import pytest
from objectstore import ObjectStore, Unsupported
for library in 'pyarrow', 'polars', 'pandas': pytest.importorskip(library)
import polars as pl, pyarrow as pa
import objectstore.codecs.streams as streams

whole = pa.table({'n': pa.array([*range(1000), None]), 's': pa.array(['x', None] * 500 + ['z'])})

def read(): return pa.RecordBatchReader.from_batches(whole.schema, whole.to_batches(max_chunksize=70))
def duck():
    pytest.importorskip('duckdb', reason='duckdb is not installed')
    import duckdb
    return duckdb.from_arrow(whole)
def narwhals():
    pytest.importorskip('narwhals', reason='narwhals is not installed')
    import narwhals as nw
    return nw.from_native(pl.DataFrame(whole))
def dataset():
    import pyarrow.dataset as ds
    return ds.dataset(whole)

kinds = {'a reader': read, 'DuckDB': duck, 'narwhals': narwhals, 'a data set': dataset,
         'batches': lambda: (b for b in whole.to_batches(max_chunksize=70)),
         'tables': lambda: iter([whole.slice(0, 10), whole.slice(10)]),
         'frames of pandas': lambda: (whole.slice(i, 500).to_pandas() for i in (0, 500, 1000)),
         'frames of Polars': lambda: map(pl.DataFrame, whole.to_batches(max_chunksize=400)),
         'a LazyFrame': lambda: pl.DataFrame(whole).lazy().filter(pl.lit(True))}

@pytest.fixture
def lab(tmp_path): return ObjectStore(tmp_path/'near', tmp_path/'origin', progress=False, durable=False)

@pytest.mark.parametrize('group', [1000, streams.GROUP])
@pytest.mark.parametrize('kind', kinds)
def test_batches(kind, group, lab, tmp_path, monkeypatch):
    monkeypatch.setattr(streams, 'GROUP', group)
    v = lab.put('stream/x', kinds[kind]())
    assert (v.codec, v.stats['rows'], v.stats['columns']) == ('parquet', 1001, 2)
    assert v.stats['schema']['s']['nulls'] == 500
    for back in lab.get(v), ObjectStore(tmp_path/'cold', tmp_path/'origin', progress=False).get('stream/x'):
        assert type(back) is (pl.DataFrame if kind == 'a LazyFrame' else pa.Table)
        assert pl.DataFrame(back).with_columns(pl.col('n').cast(pl.Int64)).equals(pl.DataFrame(whole))
    assert lab.get(v, as_='pandas').shape == (1001, 2) and lab.get(v, columns=['n'], as_='polars').width == 1

def test_an_empty_answer_is_one_but_a_stream_that_was_read_is_refused(lab):
    duckdb = pytest.importorskip('duckdb', reason='duckdb is not installed')
    assert lab.get(lab.put('stream/none', duckdb.sql('select 1 a where false'))).num_rows == 0
    assert lab.get(lab.put('stream/lazy', pl.LazyFrame({'a': [1]}).filter(pl.col('a') > 1))).height == 0
    reader, batches, file = read(), iter(whole.to_batches()), io.BytesIO(b'x')
    for again in reader, batches, file:
        lab.put('stream/x', again)
        with pytest.raises(Unsupported, match='probably read before'): lab.put('stream/again', again)
    assert 'stream/again' not in lab

def test_whole_or_not_at_all(lab):
    def breaks():
        yield whole.to_batches()[0]
        raise KeyError('line 7')
    def changes():
        yield pa.table({'a': [1]})
        yield pa.table({'b': ['x']})
    for bad, why in (breaks(), 'line 7'), (changes(), 'parquet'), (iter([1, 2]), 'iterator of int'):
        with pytest.raises(Unsupported, match=why): lab.put('stream/x', bad)
    assert 'stream/x' not in lab
    dictionary = pa.table({'d': pa.array([1, 2]).dictionary_encode()})
    with pytest.raises(Unsupported, match='cast'): lab.put('stream/x', dictionary.to_reader())
    assert lab.get(lab.put('stream/x', dictionary)).equals(dictionary)      # the table that it gives

def test_the_proof_of_a_stream(lab, monkeypatch):
    "Rows that are lost, and values that change, are found"
    real = streams._groups
    def loses(reader): yield from (t.slice(1) for t in real(reader))
    def changes(reader): yield from (t.set_column(0, 'n', pa.array(range(len(t)), pa.int64())) for t in real(reader))
    note = streams._Passed.note
    for bug in loses, changes:
        with monkeypatch.context() as m:
            m.setattr(streams._Passed, 'note', lambda self, t: note(self, whole))
            m.setattr(streams, '_groups', bug)
            with pytest.raises(Unsupported, match='nothing was stored'): lab.put('stream/x', read())
    assert 'stream/x' not in lab

def test_open_files(lab, tmp_path):
    (tmp_path/'notes.csv').write_bytes(b'head\n1\n2\n')
    with open(tmp_path/'notes.csv', 'rb') as f:
        v = lab.put('stream/file', f)
        assert f.read() == b''
    assert v.file_name == 'notes.csv' and lab.get(v).read_bytes() == b'head\n1\n2\n'
    with open(tmp_path/'notes.csv', 'rb') as f:
        f.readline()
        assert lab.get(lab.put('stream/rest', f)).read_bytes() == b'1\n2\n'
    assert lab.get(lab.put('stream/bytes', io.BytesIO(b'abc'))).read_bytes() == b'abc'
    with open(tmp_path/'notes.csv') as f, pytest.raises(Unsupported, match="'rb'"): lab.put('stream/text', f)
    with open(tmp_path/'notes.csv', 'ab') as f, pytest.raises(Unsupported, match='cannot be read'):
        lab.put('stream/closed', f)

def test_memory_is_bounded(tmp_path):
    "Twelve groups pass; Arrow never holds more than a few of them"
    code = f'''
import pyarrow as pa, numpy as np
from objectstore import ObjectStore
from objectstore.codecs import streams
streams.GROUP = 4 * 1024**2
s = ObjectStore({str(tmp_path)!r}, progress=False, durable=False)
r = np.random.default_rng(0)
v = s.put('stream/x', (pa.record_batch({{'x': r.random(65536)}}) for _ in range(100)))
print(v.stats['rows'], pa.default_memory_pool().max_memory() // 1024**2)
'''
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], capture_output=True, text=True)
    rows, most = map(int, done.stdout.split())
    assert rows == 6_553_600 and most < 40, done.stderr[-500:]

# ---- bytes, and out again

def test_an_iterator_of_bytes_is_put_as_a_file(tmp_path):
    s = ObjectStore(tmp_path/'store', progress=False)
    pieces = [os.urandom(300_000) for _ in range(5)]
    v = s.put('lab/page', (p for p in pieces))
    assert (v.codec, v.get().read_bytes(), v.size) == ('file', b''.join(pieces), 1_500_000)
    assert s.put('lab/short', iter([b'', b'a', bytearray(b'b'), memoryview(b'c')])).get().read_bytes() == b'abc'

@pytest.mark.parametrize('pieces, words',
                         [([], 'probably read before'), ([b''], 'probably read before'), ([b'a', 'b'], 'gives a str'),
                          (['a'], 'iterator of str'), ([1], 'iterator of int')])
def test_an_iterator_that_gives_no_bytes_is_refused_whole(tmp_path, pieces, words):
    s = ObjectStore(tmp_path/'store', progress=False)
    with pytest.raises(Unsupported, match=words): s.put('lab/page', iter(pieces))
    assert not s.find_items('lab') if 'lab' in s.list_buckets() else True

def test_an_iterator_that_breaks_leaves_nothing(tmp_path):
    def breaks():
        yield b'x' * 200_000
        raise ConnectionResetError('the line is gone')
    s = ObjectStore(tmp_path/'store', progress=False)
    with pytest.raises(Unsupported, match='the line is gone'): s.put('lab/page', breaks())
    assert s.put('lab/page', b'whole').version == 1

@pytest.mark.parametrize('near', [False, True])
def test_batches_come_out_as_they_went_in(tmp_path, near):
    s = ObjectStore(*[tmp_path/'near'] * near, tmp_path/'store', progress=False)
    whole = pa.table({'n': pa.array(range(300_000)), 'x': pa.array(['a', None, 'c'] * 100_000).dictionary_encode()})
    v = s.put('lab/rows', iter(whole.to_batches(50_000)))
    reader = s.get(v, as_='batches')
    assert isinstance(reader, pa.RecordBatchReader) and reader.schema.equals(whole.schema)
    batches = list(reader)
    assert len(batches) > 3 and pa.Table.from_batches(batches).equals(whole)
    assert s.get(v, as_='batches', columns=['n']).read_all().equals(whole.select(['n']))
    assert s.put('lab/again', s.get(v, as_='batches')).get().equals(whole)
    s.get(v, as_='batches')                                   # one that nobody reads holds nothing up

def test_batches_of_what_other_libraries_put(tmp_path):
    import pandas as pd, polars as pl
    s = ObjectStore(tmp_path/'store', progress=False)
    for x in (pd.DataFrame({'a': [1, 2], 'b': pd.Categorical(['x', 'y'])}, index=pd.Index(['p', 'q'], name='k')),
              pl.DataFrame({'a': [1, None], 'b': ['x', 'y']}), pa.table({'a': pa.array([1, 2]).dictionary_encode()})):
        v = s.put('lab/frame', x)
        assert s.get(v, as_='batches').read_all().equals(s.get(v, as_='arrow')), v.codec
    for x in [1], 'text', b'bytes':
        with pytest.raises(Unsupported, match='no batches of rows'): s.put('lab/other', x).get(as_='batches')
    v = s.put('lab/all', {'train': pd.DataFrame({'a': range(5)}), 'n': 1})
    assert s.get(v, part='train', as_='batches').read_all()['a'].to_pylist() == [*range(5)]

def test_results_are_tables_for_other_libraries(tmp_path):
    import pandas as pd, polars as pl
    s = ObjectStore(tmp_path/'store', progress=False)
    for i in range(3): s.put(f'lab/x{i}', i, metadata={'auc': i / 10})
    found = s.find_items('lab')
    refs = ['lab/x0@1', 'lab/x1@1', 'lab/x2@1']
    assert sorted(pl.DataFrame(found)['ref']) == refs == sorted(pa.table(found)['ref'].to_pylist())
    if hasattr(pd.DataFrame, 'from_arrow'): assert sorted(pd.DataFrame.from_arrow(found)['ref']) == refs
    assert sorted(found.df()['ref']) == refs
    nw = pytest.importorskip('narwhals', reason='narwhals is not installed')
    assert sorted(nw.from_arrow(found, backend='polars')['ref'].to_list()) == refs
    duckdb = pytest.importorskip('duckdb', reason='duckdb is not installed')
    assert sorted(r for r, in duckdb.sql('SELECT ref FROM found').fetchall()) == refs
    s.care.compact('lab')
    assert len(pl.read_parquet(s.care.catalog('lab'))) == 3
