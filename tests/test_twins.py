"A twin gives what its Parquet payload gives, whatever happens to it"
import mmap, os, pickle, random, shutil, threading, time
from pathlib import Path
import pytest
from blake3 import blake3
from hypothesis import given, strategies as st
np, pd, pl, pa = (pytest.importorskip(m) for m in ('numpy', 'pandas', 'polars', 'pyarrow'))
import test_codecs as frames
from test_codecs import encoded, few, same
from objectstore import ObjectStore
from objectstore.cache import download, mapped
from objectstore.errors import Unsupported
from objectstore.cache.near import GOT, TWIN
from objectstore.codecs.parquet import read_parquet
from objectstore.cache.mapped import Twin, twin_table, write_twin
from objectstore.codecs.frames import wish
from away import World, forget_all
from trial import soak

@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    for name in 'CACHE', 'STATE': monkeypatch.setenv(f'OBJECTSTORE_{name}_DIR', str(tmp_path/name))
    return tmp_path/'CACHE'

def both(obj, folder, **asks):
    "What the Parquet payload of an object gives, and what its twin gives"
    codec, payload, how = encoded(obj)
    path, hash = Path(folder)/f'twin-{os.urandom(8).hex()}', blake3(payload).hexdigest()
    t, facts = read_parquet(payload)
    write_twin(twin_table(t, facts, how['was']), hash, path)
    return codec.decode(payload, how, **asks), Twin(path, hash).give(wish(how, asks.get('as_'))[1], asks.get('columns'))

def equal(a, b):
    "The same frame, of the same type, with the same types inside"
    assert type(a) is type(b)
    if isinstance(a, pd.DataFrame):
        same(b, a, check_freq=a.index.nlevels == 1)
        assert a.attrs == b.attrs and list(a.columns) == list(b.columns)
        for i, c in enumerate(a.columns):
            if a.dtypes.iloc[i] == object: assert [type(v) for v in a.iloc[:, i]] == [type(v) for v in b.iloc[:, i]]
    elif isinstance(a, pd.Series): pd.testing.assert_series_equal(b, a, check_freq=False)
    elif isinstance(a, pl.LazyFrame): equal(a.collect(), b.collect())
    elif isinstance(a, (pl.DataFrame, pl.Series)):
        assert (a.equals(b, null_equal=True)
                and (a.dtype == b.dtype if isinstance(a, pl.Series) else a.schema == b.schema))
    else: assert a.schema.equals(b.schema, check_metadata=True) and a.to_pylist() == b.to_pylist() or str(a) == str(b)

def every_way(obj, folder):
    for as_ in None, 'pandas', 'arrow', 'polars', 'lazy', pa.RecordBatch:
        try: a, b = both(obj, folder, as_=as_)
        except Exception as e:      # what Polars cannot hold, it cannot hold either way
            if as_ not in ('polars', 'lazy') or type(e).__module__.startswith('objectstore'): raise
            continue
        equal(a, b)


# Equality

@pytest.mark.parametrize('name', frames.columns)
def test_columns(name, tmp_path):
    df = pd.DataFrame({name: frames.columns[name], 'other': [1, 2, 3]})
    every_way(df, tmp_path)
    every_way(df.iloc[:0], tmp_path)
    every_way(df.iloc[[0]], tmp_path)
    equal(*both(df, tmp_path, columns=['other']))
    equal(*both(df, tmp_path, columns=[name]))
    equal(*both(df[name], tmp_path))
    same(both(df, tmp_path)[1], df)

@pytest.mark.parametrize('index', frames.indexes, ids=lambda i: f'{type(i).__name__}-{i.dtype}-{i.names}')
def test_indexes(index, tmp_path):
    df = pd.DataFrame({'v': [1, 2, 3], 'c': pd.Categorical(['x', 'y', 'x'])}, index=index)
    if 'v' in index.names: df = df.rename(columns={'v': 'w'})
    every_way(df, tmp_path)
    equal(*both(df, tmp_path, columns=['c']))

@pytest.mark.parametrize('labels', frames.labels, ids=str)
def test_labels(labels, tmp_path):
    df = pd.DataFrame([[1, 2.5, 'x']], columns=labels)
    if isinstance(df.columns, pd.CategoricalIndex): return
    every_way(df, tmp_path)
    equal(*both(df, tmp_path, columns=[df.columns[2]]))
    with pytest.raises(Unsupported, match='no column'): both(df, tmp_path, columns=['nope'])[1]

def test_attrs_are_each_frames_own(tmp_path):
    df = pd.DataFrame({'a': [1.0]})
    df.attrs = {'by': ['me'], 'at': ('x', 1)}
    path = tmp_path/'twin'
    codec, payload, how = encoded(df)
    write_twin(twin_table(*read_parquet(payload), how['was']), '0' * 64, path)
    one, two = (Twin(path, '0' * 64).give('pandas.DataFrame', None) for _ in range(2))
    one.attrs['by'].append('you')
    assert two.attrs == df.attrs and Twin(path, '0' * 64).give('pandas.DataFrame', None).attrs == df.attrs

def test_empty(tmp_path):
    for df in pd.DataFrame(), pd.DataFrame({'a': []}), pd.DataFrame({'a': pd.Series(dtype=object)}), pd.DataFrame(
            index=[3, 4]):
        equal(*both(df, tmp_path))
    equal(*both(pl.DataFrame(), tmp_path))

def test_polars_and_arrow(tmp_path):
    every_way(frames.wide(), tmp_path)
    every_way(frames.wide().clear(), tmp_path)
    equal(*both(frames.wide()['e'], tmp_path))
    equal(*both(pl.DataFrame({'s': ['a', None, 'ü' * 100]}), tmp_path, columns=['s']))
    t = pa.table({'s': pa.array([1, None], pa.timestamp('s')), 'd': pa.array(['x', 'y']).dictionary_encode(),
                  'v': pa.array(['a', 'b'], pa.string_view()), 'f': pa.array([1, 2], pa.float16()),
                  'm': pa.array([[('k', 1)], None], pa.map_(pa.string(), pa.int8())),
                  't': pa.array([1, 2], pa.time32('s')), 'z': pa.nulls(2),
                  'i': [1, 2]}).replace_schema_metadata({'unit': 'EUR'})
    equal(*both(t, tmp_path))
    equal(*both(t, tmp_path, as_='pandas'))
    equal(*both(t.to_batches()[0], tmp_path))

@few
@given(st.data())
def test_any_frame(tmp_path_factory, data):
    from hypothesis.extra import pandas as hpd
    import datetime as dt
    column = hpd.column
    df = data.draw(hpd.data_frames([column('i', dtype=int), column('f', dtype=float),
                                    column('s', elements=st.text(st.characters(codec='utf-8'), max_size=5)),
                                    column('b', dtype=bool),
                                    column('t', elements=st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1)),
                                           dtype='M8[ns]')]))
    if data.draw(st.booleans()): df['c'] = pd.Categorical(df['i'] % 5, ordered=data.draw(st.booleans()))
    if data.draw(st.booleans()): df['n'] = df['i'].astype('Int64').mask(df['b'])
    if data.draw(st.booleans()): df = df.set_index('t')
    names = data.draw(st.none() | st.lists(st.sampled_from(list(df.columns)), min_size=1, unique=True))
    for as_ in None, 'arrow', 'polars': equal(*both(df, tmp_path_factory.mktemp('twin'), as_=as_, columns=names))


# Writing to what came out

def big(n=20_000):
    return pd.DataFrame({'f': np.arange(n) / 2, 'i': np.arange(n), 't': pd.date_range('2026', periods=n, freq='s'),
                         'c': pd.Categorical(np.arange(n) % 7),
                         'k': pd.Categorical(np.array(['x', 'y'])[np.arange(n) % 2]), 's': [f't{i}' for i in range(n)],
                         'g': np.where(np.arange(n) % 3, 1.0, np.nan), 'b': np.arange(n) % 2 == 0})

def twins_in(folder): return [p for p in Path(folder).rglob(f'*{TWIN}') if p.is_file()]

@pytest.fixture
def store(tmp_path): return ObjectStore(tmp_path/'store')

def hot(store, ref='m/train', df=None):
    "A frame that has a twin, and the twin"
    df = big() if df is None else df
    store.put(ref, df)
    before = set(twins_in(os.environ['OBJECTSTORE_CACHE_DIR']))
    for _ in range(2): store.get(ref)
    (twin,) = set(twins_in(os.environ['OBJECTSTORE_CACHE_DIR'])) - before
    return df, twin

def test_the_second_get_makes_it(store, cache):
    store.put('m/train', big())
    same(store.get('m/train'), big())
    assert not twins_in(cache)
    same(store.get('m/train'), big())
    (twin,) = twins_in(cache)
    assert twin.stat().st_mode & 0o777 == 0o400
    made = twin.stat().st_mtime_ns
    for _ in range(3): same(store.get('m/train'), big())
    assert twin.stat().st_mtime_ns == made

def test_a_get_in_another_session_counts(store, cache, tmp_path):
    store.put('m/train', big())
    store.get('m/train')
    mapped._places.clear(), download._verified.clear()
    ObjectStore(tmp_path/'store').get('m/train')
    assert len(twins_in(cache)) == 1

def test_columns_without_gaps_are_not_copied(store):
    df, _ = hot(store)
    back = store.get('m/train')
    for c in 'f', 'i', 't':
        chain = [back[c].to_numpy()]
        while (x := getattr(chain[-1], 'base', getattr(chain[-1], 'obj', None))) is not None: chain.append(x)
        assert isinstance(chain[-1], mmap.mmap), c

def test_edits_stay_in_the_frame(store, tmp_path):
    df, twin = hot(store)
    before = twin.read_bytes()
    one, two = store.get('m/train'), store.get('m/train')
    one.loc[3, 'f'] = -1.0
    one['i'] += 5
    one.loc[0, 'c'] = 6
    one.loc[0, 't'] = pd.Timestamp('2030-01-01')
    one.iloc[:, 0] *= 2
    one.loc[0, ['s', 'g', 'k', 'b']] = ['new', 5.0, 'y', False]
    one['f'].to_numpy()
    one.sort_values('f')
    same(two, df), same(store.get('m/train'), df)
    assert twin.read_bytes() == before
    arrays = store.get('m/train', columns=['f'])['f'].to_numpy(copy=True)
    arrays[:] = 0
    polars = store.get('m/train', as_='polars')
    polars[0, 'f'] = 99.0
    same(store.get('m/train'), df)
    same(pickle.loads(pickle.dumps(two)), df)

@pytest.mark.parametrize('as_', [None, 'arrow', 'polars', 'lazy'])
def test_it_outlives_its_file(as_, store, tmp_path):
    df, twin = hot(store)
    back = store.get('m/train', as_=as_)
    twin.unlink()
    for p in (tmp_path/'store').rglob('payloads/*/*'):
        p.chmod(0o600), p.write_bytes(os.urandom(p.stat().st_size)), p.unlink()
    if as_ is None: same(back, df)
    elif as_ == 'lazy':
        assert back.select(pl.col('i').sum()).collect().item() == df['i'].sum() and back.collect().height == len(df)
    elif as_ == 'polars': assert back['s'].to_list() == df['s'].tolist() and back['f'].sum() == df['f'].sum()
    else: assert back['i'].to_pylist() == df['i'].tolist()

def test_a_lazy_frame_of_the_payload_outlives_it_too(store, tmp_path):
    store.put('m/train', big())
    lazy = store.get('m/train', as_='lazy')
    for p in (tmp_path/'store').rglob('payloads/*/*'): p.unlink()
    assert lazy.filter(pl.col('i') > 19_997).select('s').collect()['s'].to_list() == ['t19998', 't19999']


# Damage

def test_wrong_data_never(store, figure):
    "Flipped, cut and grown twins, also with the clock of their stamp set back"
    df, twin = hot(store)
    rng, wrong, n = random.Random(7), 0, soak(80, 1000)
    made_again = 0
    for i in range(n):
        (twin,) = twins_in(os.environ['OBJECTSTORE_CACHE_DIR'])
        st = twin.stat()
        data = bytearray(twin.read_bytes())
        match i % 8:
            case 7: del data[rng.randrange(len(data)):]
            case 6: data += b'x' * rng.randrange(1, 100)
            case _: data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        twin.chmod(0o600)
        twin.write_bytes(data)
        if i % 2: os.utime(twin, ns=(st.st_atime_ns, st.st_mtime_ns))
        if i % 3 == 0: download._verified.clear(), mapped._known.clear()
        back = store.get('m/train', columns=[rng.choice(list(df))])
        (c,) = back.columns
        wrong += not back[c].equals(df[c])
        made_again += twins_in(os.environ['OBJECTSTORE_CACHE_DIR'])[0].read_bytes() != data
    figure('8 damaged twins', damaged=n, made_again=made_again, wrong=wrong)
    assert not wrong and made_again > 0.95 * n

def test_a_twin_of_something_else_is_not_believed(store):
    df, twin = hot(store)
    other, second = hot(store, 'm/other', big().assign(f=1.0))
    twin.chmod(0o600), twin.write_bytes(second.read_bytes())
    same(store.get('m/train'), df), same(store.get('m/train'), df), same(store.get('m/other'), other)

@pytest.mark.parametrize('bad', ['empty', 'folder', 'link', 'unreadable'])
def test_what_is_no_twin(bad, store, tmp_path):
    df, twin = hot(store)
    twin.unlink()
    if bad == 'empty': twin.write_bytes(b'')
    elif bad == 'folder': twin.mkdir()
    elif bad == 'link': (tmp_path/'x').write_bytes(b'x' * 1000), twin.symlink_to(tmp_path/'x')
    else: twin.write_bytes(b'x' * 1000), twin.chmod(0)
    for _ in range(3): same(store.get('m/train'), df)

def test_a_cache_that_cannot_be_written(store, tmp_path, monkeypatch):
    (tmp_path/'file').write_bytes(b'')
    df = big()
    store.put('m/train', df)
    def fails(*a, **k): raise OSError(28, 'No space left on device')
    monkeypatch.setattr(mapped, 'write_twin', fails)
    for _ in range(3): same(store.get('m/train'), df)
    monkeypatch.undo()
    monkeypatch.setenv('OBJECTSTORE_CACHE_DIR', str(tmp_path/'CACHE'))
    disk = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: disk._replace(free=1000))
    for _ in range(3): same(store.get('m/train'), df)
    assert not twins_in(tmp_path/'CACHE')
    # nearly full, but large
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: disk._replace(free=disk.total // 100))
    for _ in range(3): same(store.get('m/train'), df)
    assert twins_in(tmp_path/'CACHE')

def test_many_threads(store):
    df = big()
    store.put('m/train', df)
    found = []
    def work():
        for _ in range(soak(3)): found.append(store.get('m/train'))
    threads = [threading.Thread(target=work) for _ in range(6)]
    for t in threads: t.start()
    for t in threads: t.join()
    assert len(found) == 6 * soak(3)
    for back in found: same(back, df)


# Near tiers

@pytest.fixture
def world(tmp_path, request):
    forget_all()
    yield World('memory', 2, tmp_path, request)
    forget_all()

def test_near_twins_lie_beside_their_payload(world, tmp_path):
    store, df = world.open(), big()
    store.put('m/train', df)
    for _ in range(3): same(store.get('m/train@1'), df)
    (twin,) = twins_in(tmp_path/'near')
    assert Path(str(twin).removesuffix(TWIN)).is_file() and not twins_in(tmp_path/'CACHE')
    with_origin_away = store.get('m/train@1')
    store.near.drop('m/train@1')
    assert not [p for p in (tmp_path/'near').rglob('payloads/*/*') if p.is_file()]
    same(with_origin_away, df)

def test_twins_are_evicted_before_payloads_while_they_are_mapped(world, tmp_path):
    df = big()
    store = world.open(cache_limit=6_000_000)
    held = {}
    for i in range(6):
        store.put(f'm/f{i}', df.assign(i=i))
        for _ in range(3): held[i] = store.get(f'm/f{i}@1')
    payloads = [p for p in (tmp_path/'near').rglob('payloads/*/*') if p.is_file() and not p.name.endswith((TWIN, GOT))]
    assert len(payloads) == 6 and 0 < len(twins_in(tmp_path/'near')) < 6
    assert sum(p.stat().st_size for p in (tmp_path/'near').rglob('*') if p.is_file()) <= 6_000_000
    for i, back in held.items(): same(back, df.assign(i=i))

def test_no_twin_that_is_most_of_the_limit(world, tmp_path):
    store = world.open(cache_limit=2_000_000)
    store.put('m/train', big())
    for _ in range(3): same(store.get('m/train@1'), big())
    assert not twins_in(tmp_path/'near')

def test_shared_tiers_have_no_twins_and_no_maps(tmp_path, request):
    forget_all()
    world = World('memory', 2, tmp_path, request)
    world.nears = [f'file://{tmp_path}/share?shared=true']
    store, df = world.open(), big()
    store.put('m/train', df), store.put('m/array', np.arange(50_000))
    for _ in range(3): same(store.get('m/train@1'), df)
    assert not twins_in(tmp_path/'share')
    assert store.get('m/array@1').sum() == np.arange(50_000).sum()
    assert [p for p in (tmp_path/'share').rglob('payloads/*/*') if p.is_file()]

def test_the_limit_of_a_local_origins_twins(tmp_path, cache):
    store = ObjectStore(tmp_path/'store', cache_limit=6_000_000)
    for i in range(8):
        hot_frame = big().assign(i=i)
        store.put(f'm/f{i}', hot_frame), store.get(f'm/f{i}'), store.get(f'm/f{i}')
    assert 0 < sum(p.stat().st_size for p in twins_in(cache)) <= 6_000_000
    for i in range(8): same(store.get(f'm/f{i}'), big().assign(i=i))


# Arrays

def test_arrays_are_mapped_and_hashed_once(world, tmp_path, monkeypatch):
    store, a = world.open(), np.arange(100_000.0)
    store.put('m/a', a)
    time.sleep(download.SETTLED + 0.2)
    hashed = []
    monkeypatch.setattr(download, 'blake3',
                        type('Counting', (),
                             {'AUTO': blake3.AUTO,
                              '__new__': lambda cls, *a, **k: (hashed.append(1), blake3(*a, **k))[1]}))
    for _ in range(5):
        back = store.get('m/a@1')
        assert (back == a).all() and isinstance(back.base, np.memmap) or 'memmap' in repr(type(back.base))
        back[:] = 0
    assert len(hashed) == 1
    store.near.drop('m/a')
    kept = store.get('m/a')
    store.near.drop('m/a')
    assert (kept == a).all()
