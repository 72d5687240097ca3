"Round trips, refusals, damage and missing libraries of every codec"
import dataclasses, datetime as dt, decimal, enum, io, json, math, os, pickle, random, subprocess, sys, textwrap, uuid
from collections import Counter, OrderedDict, namedtuple
from pathlib import Path, PurePath
from typing import Optional
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from objectstore.codecs.codec import Codec, by_name, codec_for, codec_names, register, round_trip
from objectstore.codecs.equality import difference
from objectstore.errors import Damaged, MissingExtra, ObjectStoreError, Unsupported, Untrusted
from trial import soak

few = settings(max_examples=soak(30, 300), deadline=None, suppress_health_check=[HealthCheck.too_slow])

def encoded(obj, name=None):
    "Codec, payload and facts of an object"
    codec, file = codec_for(obj, name), io.BytesIO()
    how = codec.encode(obj, file)
    return codec, file.getvalue(), json.loads(json.dumps(how, allow_nan=False))

def from_file(obj, folder, name=None, **asks):
    "What comes back from a read-only file"
    codec, payload, how = encoded(obj, name)
    path = Path(folder)/f'payload{codec.suffix}'
    path.write_bytes(payload)
    path.chmod(0o444)
    back = codec.decode(path, how, **asks)
    assert path.read_bytes() == payload
    return back

# The contract

def test_names_and_registry():
    assert {'json', 'text', 'bytes', 'npy', 'parquet', 'skops', 'safetensors', 'png', 'figure', 'pickle',
            'file'} <= set(codec_names())
    with pytest.raises(Unsupported, match="did you mean 'parquet'"): codec_for({}, 'parquett')
    with pytest.raises(Unsupported, match='register'): by_name('from-elsewhere')
    with pytest.raises(Unsupported, match='does not take a dict'): codec_for({}, 'parquet')

def test_own_codec_goes_first_and_is_replaced():
    import objectstore.codecs.codec as codec
    before = codec._codecs
    class Celsius(float): pass
    try:
        for _ in range(2):
            @register
            class CelsiusCodec(Codec):
                name = 'celsius'
                def accepts(self, obj): return isinstance(obj, Celsius)
                def encode(self, obj, file): file.write(repr(float(obj)).encode()); return {}
                def load(self, source, how): return Celsius(source)
        assert len(codec._codecs) == len(before) + 1
        assert type(round_trip(Celsius(21.5))) is Celsius
        with pytest.raises(Unsupported, match='cannot name a codec'):
            register(type('Bad', (Codec,), {'name': 'no space'}))
        with pytest.raises(Damaged): by_name('celsius').decode(b'warm', {})
    finally: codec._codecs = before

@pytest.mark.parametrize('obj', [{'a': 1}, 'text', b'bytes', 3.5, [1, (2,)]])
def test_bytes_give_the_raw_payload(obj, tmp_path):
    codec, payload, how = encoded(obj)
    assert codec.decode(payload, how, as_='bytes') == codec.decode(payload, how, as_=bytes) == payload
    assert from_file(obj, tmp_path, as_='bytes') == payload
    assert from_file(obj, tmp_path) == obj

def test_columns_are_for_frames():
    for obj in ({'a': 1}, 'x', b'x'):
        with pytest.raises(Unsupported, match='columns'): round_trip(obj, columns=['a'])

def test_errors_of_the_system_are_not_damage(tmp_path):
    for name in 'text', 'npy', 'parquet', 'skops', 'safetensors', 'png':
        with pytest.raises(FileNotFoundError) as e: by_name(name).decode(tmp_path/'gone', {})
        assert not isinstance(e.value, ObjectStoreError)

# JSON

Point = namedtuple('Point', 'x y')
class Stage(enum.Enum): NEW, OLD = 'new', 'old'
class Word(str, enum.Enum): HI = 'hi'

scalars = (st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(max_size=20)
           | st.dates() | st.times() | st.datetimes(timezones=st.none() | st.timezones(), allow_imaginary=False)
           | st.timedeltas() | st.decimals(allow_nan=False) | st.uuids() | st.complex_numbers(allow_nan=False))
keys = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.dates() | st.sampled_from([
    '$tuple', '$dict', '$x', ''])
def nested(children):
    return (st.lists(children, max_size=4) | st.dictionaries(keys, children, max_size=4)
            | st.lists(children, max_size=3).map(tuple) | st.sets(st.integers() | st.text(max_size=3), max_size=4)
            | st.frozensets(st.integers(), max_size=4))

@few
@given(st.recursive(scalars, nested, max_leaves=20))
def test_json_comes_back_equal(value):
    codec = by_name('json')
    file = io.BytesIO()
    try: how = codec.encode(value, file)
    except Unsupported as e:
        assert 'surrogate' in str(e)
        return
    json.loads(file.getvalue())
    back = codec.decode(file.getvalue(), how)
    assert back == value and type(back) is type(value)

@few
@given(st.binary(max_size=200), st.sampled_from([{}, {'tags': 1}, {'tags': True, 'type': 'os.system'}]))
def test_json_garbage_is_damaged(data, how):
    try: by_name('json').decode(data, how)
    except Damaged: pass

@pytest.mark.parametrize('text',
                         [b'', b'{', b'NaN', b'[Infinity]', b'\xff', b'[' * 100_000, b'{"a":' * 100_000, b'1' * 5000,
                          b'{"$tuple": 3}', b'{"$nope": 1}', b'{"$set": [[1]]}', b'{"$datetime": "x"}',
                          b'{"$bytes": "\xc3\xa9"}', b'{"$dict": [1]}', b'{"$date": {"$date": 1}}', b'\xef\xbb\xbf1'])
def test_json_damage(text):
    with pytest.raises(Damaged): by_name('json').decode(text, {'tags': 1})

def test_json_plain_payloads_are_plain():
    for value in ({'a': [1, 2.5, None, True, 'ü']}, [], 'x', 1, {'$a': 1}, {'a': {'$tuple': [1]}}):
        _, payload, how = encoded(value, 'json')
        assert how == {} and json.loads(payload) == value and by_name('json').decode(payload, {}) == value

def test_json_keys_stay_apart():
    for value in ({1: 'a', '1': 'b'}, {None: 1, 'null': 2}, {True: 1, 'true': 2}, {(1, 2): 3}, {1.5: 'x'}):
        assert round_trip(value) == value

def test_json_nan_and_infinity():
    back = round_trip({'auc': math.nan, 'best': [math.inf, -math.inf]})
    assert math.isnan(back['auc']) and back['best'] == [math.inf, -math.inf]
    json.loads(encoded([math.nan])[1], parse_constant=pytest.fail)

def test_json_deep():
    deep = []
    for _ in range(150): deep = [deep]
    assert round_trip(deep) == deep
    for make in (lambda v: [v], lambda v: {'a': v}, lambda v: (v,)):
        for n in 201, 900, 100_000:
            v = make(1)
            for _ in range(n): v = make(v)
            with pytest.raises(Unsupported, match='deep'): round_trip(v, 'json')
    ring = []
    ring.append(ring)
    with pytest.raises(Unsupported, match='holds itself'): round_trip(ring)

def test_json_kinds_of_what_is_plain():
    for value in (OrderedDict(b=1, a=2), Counter('aab'), Word.HI, [Word.HI], Point(1, 2), {'p': Point(1, 2)}, Stage.NEW,
                  range(3), {'p': Path('x')}):
        back = round_trip(value, 'json')
        assert back == value and type(back) is type(value) and difference(value, back) is None
    assert round_trip(True) is True

def test_stored_names_import_nothing():
    "A class of a module that is not imported is asked for with words; nothing else can be named"
    for data, says in ((b'{"$enum":["antigravity:Gravity",1]}', 'import antigravity'),
                       (b'{"$named":["os:system",["x"]]}', 'os.system'), (b'{"$enum":["os:system","x"]}', 'os.system'),
                       (b'{"$named":["builtins:tuple",[1]]}', 'another tuple'),
                       (b'{"$kind":["system",[1]]}', 'no kind'), (b'{"$path":["os","x"]}', None)):
        if says is None: assert by_name('json').decode(data, {'tags': 1}) == PurePath('x')
        else:
            with pytest.raises((Unsupported, Damaged), match=says): by_name('json').decode(data, {'tags': 1})
    assert 'antigravity' not in sys.modules

def test_json_numpy_and_pandas_scalars():
    np, pd = pytest.importorskip('numpy'), pytest.importorskip('pandas')
    for v in np.float64(0.1), np.float32(0.1), np.int64(3), np.bool_(True), np.uint64(2**64 - 1), np.complex128(1j):
        assert round_trip(v) == v and round_trip({'v': v}) == {'v': v}
    assert round_trip({'t': pd.Timestamp('2026-11-01 10:00',
                                         tz='Europe/Berlin')}) == {'t': pd.Timestamp(
                                             '2026-11-01 10:00', tz='Europe/Berlin')}
    for v in (np.datetime64('2026-11-01'), np.timedelta64(1, 's'), pd.NaT, pd.NA, pd.Timestamp(1), pd.Timedelta('1s'),
              pd.Period('2026-11'), pd.Interval(pd.Timestamp('2026'), pd.Timestamp('2027'), 'both')):
        back = round_trip({'v': v})['v']
        assert type(back) is type(v) and (back is v or back == v)
    with pytest.raises(Unsupported): round_trip({'v': np.longdouble('0.1')})

@pytest.mark.parametrize('value',
                         [object(), lambda: 1, Path('x'), {'a': object}, [iter([])], '\ud800',
                          {'\udc80': 1}, ['\ud83d\ude00'], 10**5000, b'x'.__iter__()], ids=lambda v: type(v).__name__)
def test_json_refuses(value):
    with pytest.raises(Unsupported): round_trip(value, 'json')

def test_json_refuses_things_that_want_an_item_of_their_own():
    pd, np = pytest.importorskip('pandas'), pytest.importorskip('numpy')
    with pytest.raises(Unsupported, match=r"pandas.*DataFrame at \['train'\].*item of its own"):
        round_trip({'train': pd.DataFrame({'a': [1]})})
    with pytest.raises(Unsupported, match='ndarray'): round_trip({'a': 1, 'b': np.ones(2)})

@dataclasses.dataclass
class Inner:
    n: int
    when: dt.date = dt.date(2026, 1, 1)

@dataclasses.dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner
    many: list[Inner] = dataclasses.field(default_factory=list)
    by: dict[str, Inner] = dataclasses.field(default_factory=dict)
    maybe: Optional[Inner] = None
    shape: tuple[int, ...] = ()
    stage: Stage = Stage.NEW
    path: Path | None = None
    score: float = math.inf
    half: float = dataclasses.field(init=False, default=0.5)

def test_dataclass():
    o = Outer('x', Inner(1), [Inner(2)], {'a': Inner(3)}, Inner(4), (1, 2), Stage.OLD, Path('a/b'))
    assert round_trip(o, as_=Outer) == o
    plain = round_trip(o)
    assert (isinstance(plain, dict) and plain['inner'] == {'n': 1, 'when': dt.date(2026, 1, 1)}
            and plain['stage'] == 'old')
    assert encoded(o)[2]['type'].endswith('Outer')
    with pytest.raises(Unsupported, match='no field'): round_trip(o, as_=Inner)
    with pytest.raises(Unsupported, match='does not fit|missing'): round_trip({'when': 1}, as_=Inner)
    with pytest.raises(Unsupported): round_trip([1], as_=Inner)
    with pytest.raises(Unsupported, match='dataclass|item of its own'): round_trip([Inner(1)])

def test_a_stored_type_is_never_imported():
    assert by_name('json').decode(b'{"a":1}', {'type': 'antigravity.Thing'}) == {'a': 1}
    assert 'antigravity' not in sys.modules

def test_pydantic():
    pydantic = pytest.importorskip('pydantic', reason='pydantic is not installed')
    class Sub(pydantic.BaseModel):
        at: dt.datetime
        raw: bytes = b''
    class Model(pydantic.BaseModel):
        name: str
        sub: Sub
        auc: float = math.nan
        tags: set[str] = set()
    m = Model(name='a', sub=Sub(at=dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc)), tags={'x', 'y'})
    back = round_trip(m, as_=Model)
    assert back.sub == m.sub and back.tags == m.tags and math.isnan(back.auc)
    assert round_trip(m)['name'] == 'a'
    class Login(pydantic.BaseModel): password: pydantic.SecretStr
    with pytest.raises(Unsupported, match='secret'): round_trip(Login(password='hunter2'))
    with pytest.raises(Unsupported): round_trip({'name': 1}, as_=Model)

# Text, bytes, files

@few
@given(st.text())
def test_text(s):
    try: assert round_trip(s) == s
    except Unsupported: assert any('\ud800' <= c <= '\udfff' for c in s)

@few
@given(st.binary())
def test_bytes(b):
    assert round_trip(b) == round_trip(bytearray(b)) == round_trip(memoryview(b)) == b
    assert round_trip(memoryview(b)[::2]) == b[::2]
    assert type(round_trip(b, as_=bytearray)) is bytearray

def test_views_that_would_lose_their_shape():
    import array
    with pytest.raises(Unsupported, match='format'): round_trip(memoryview(array.array('i', [1, 2])))

def test_large_text_and_bytes_from_a_file(tmp_path):
    assert from_file('ü\r\n' * 100_000, tmp_path) == 'ü\r\n' * 100_000

def test_file(tmp_path):
    p = tmp_path/'Übersicht 1.csv'
    p.write_bytes(b'x' * 3_000_000)
    codec, payload, how = encoded(p)
    assert codec.name == 'file' and payload == p.read_bytes() and how == {'name': p.name}
    assert (codec.decode(p, how) == p and codec.decode(p, how, as_=Path) == p
            and codec.decode(payload, how, as_='bytes') == payload)
    assert codec.stats(p) == {'name': p.name, 'size': 3_000_000}
    with pytest.raises(Unsupported): codec.decode(p, how, as_='pandas')

@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='no FIFOs on this system')
def test_file_refuses_what_is_none(tmp_path):
    os.mkfifo(tmp_path/'pipe')
    (tmp_path/'loop').symlink_to('loop')
    for p in tmp_path/'pipe', tmp_path/'loop', tmp_path, tmp_path/'gone', Path('/dev/zero'), Path('a\0b'):
        with pytest.raises(Unsupported): encoded(p)

def test_file_with_a_name_that_is_no_utf8(tmp_path):
    p = tmp_path/os.fsdecode(b'a\xff.bin')
    try: p.write_bytes(b'1')
    except (OSError, UnicodeError): pytest.skip('this file system wants UTF-8')
    json.dumps(encoded(p)[2]).encode()
    encoded(p)[2]['name'].encode()

def test_file_is_copied_in_bounded_memory(tmp_path):
    import tracemalloc
    p = tmp_path/'big'
    with p.open('wb') as f: f.truncate(64 * 1024**2)
    class Count:
        n = 0
        def write(self, b): self.n += len(b); return len(b)
    out = Count()
    tracemalloc.start()
    by_name('file').encode(p, out)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert out.n == 64 * 1024**2 and peak < 8 * 1024**2

# Pickle

ran = []
def go_off(word): ran.append(word)
class Bomb:
    def __reduce__(self): return (go_off, ('boom',))

def test_pickle_only_by_name_and_with_trust():
    with pytest.raises(Unsupported, match="codec='pickle'"): codec_for(Bomb())
    codec, payload, how = encoded(Bomb(), 'pickle')
    for as_ in None, dict, 'pandas':
        with pytest.raises(Untrusted, match='pickle.*trust=True.*OBJECTSTORE_TRUST'):
            codec.decode(payload, how, as_=as_)
    assert codec.decode(payload, how, as_='bytes') == payload and not ran
    codec.decode(payload, how, trust=True)
    assert ran.pop() == 'boom'

def test_pickle_damage_and_missing_code():
    for data in b'', b'junk', pickle.dumps(list(range(1000)))[:-5]:
        with pytest.raises(Damaged): by_name('pickle').decode(data, {}, trust=True)
    with pytest.raises(Unsupported, match='code that is not here'):
        by_name('pickle').decode(b'cnowhere\nThing\n.', {}, trust=True)

def test_a_bomb_under_any_name_does_not_go_off(tmp_path):
    bomb = pickle.dumps(Bomb())
    path = tmp_path/'bomb'
    path.write_bytes(bomb)
    for name in codec_names():
        if name in ('bytes', 'file', 'pickle'): continue
        for source in bomb, path:
            with pytest.raises((Damaged, MissingExtra)):
                by_name(name).decode(source, {'was': 'pandas.DataFrame'}, trust=True)
    assert not ran

# Arrays

np = pytest.importorskip('numpy')
arrays = [np.arange(5), np.zeros((0, 3)), np.array(3.5), np.asfortranarray(np.ones((3, 4))),
          np.arange(6, dtype='>i8')[::2], np.array(['a', 'ü'], dtype='U3'), np.array([b'a'], dtype='S2'),
          np.array(['2026-01-01', 'NaT'], dtype='M8[s]'), np.array([1, 2], dtype='m8[ns]'),
          np.array([(1, 2.5)], dtype=[('a', 'i4'), ('b', '<f8', (2,))]), np.array([1j]), np.array([True, False]),
          np.zeros(3, dtype=np.dtype([('a', 'i1'), ('b', 'f8')], align=True)), np.zeros(2, dtype=[('ü', 'i4')]),
          np.array([1.5], dtype='f2'), np.ones((100, 100, 3))[:, ::2], np.zeros((3, 0)),
          np.arange(100_000).reshape(100, -1).T]

@pytest.mark.parametrize('a', arrays, ids=lambda a: f'{a.dtype}-{a.shape}')
def test_arrays(a, tmp_path):
    for back in round_trip(a), from_file(a, tmp_path):
        assert type(back) is np.ndarray and back.dtype == a.dtype and back.shape == a.shape
        assert (np.array_equal(back, a) if a.dtype.names else back.tobytes() == a.tobytes()) and back.flags.writeable
        back[...] = np.zeros((), a.dtype)
    json.dumps(by_name('npy').stats(a), allow_nan=False)

def test_array_refusals():
    for bad in (np.array([{}]), np.array([None]), np.asmatrix([[1]]), np.rec.array([(1,)]),
                np.zeros(1, dtype=[('o', object)])):
        with pytest.raises(Unsupported): round_trip(bad)
    if hasattr(np.dtypes, 'StringDType'):
        with pytest.raises(Unsupported): round_trip(np.array(['a'], dtype=np.dtypes.StringDType()))
    with pytest.raises(Unsupported): round_trip(np.ones(2), as_='pandas')
    assert type(round_trip(np.ones(2), as_=np.ndarray)) is np.ndarray

def test_changing_what_came_from_a_file_does_not_change_the_file(tmp_path):
    path = tmp_path/'a.npy'
    codec, payload, how = encoded(np.zeros(50_000))
    path.write_bytes(payload)
    codec.decode(path, how)[:] = 1
    assert path.read_bytes() == payload
    torch = pytest.importorskip('torch', reason='torch is not installed')
    codec, payload, how = encoded({'w': torch.zeros(50_000)})
    path.write_bytes(payload)
    codec.decode(path, how)['w'][:] = 1
    codec.decode(path, how, as_='numpy')['w'][:] = 1
    assert path.read_bytes() == payload

def npy(header):
    text = header.encode().ljust(118) + b'\n'
    return b'\x93NUMPY\x01\x00' + len(text).to_bytes(2, 'little') + text

@pytest.mark.parametrize('payload',
                         [b'', b'\x93NUMPY',
                          npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}") + pickle.dumps([Bomb()]),
                          npy("{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000000000,)}"),
                          npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}"),
                          npy("__import__('os').system('true')"), npy('(' * 100),
                          npy("{'descr': '<f8', 'fortran_order': False, 'shape': (100,)}") + b'1234',
                          b'PK\x03\x04' + b'\0' * 50])
def test_array_lies(payload, tmp_path):
    padded = payload + b'\0' * 70_000 if b"'shape': (100,)" not in payload else payload
    path = tmp_path/'lie.npy'
    path.write_bytes(padded)
    for source in payload, path:
        if source is path and padded is not payload and b'|O' not in payload and b'NUMPY\x01' not in payload: pass
        with pytest.raises(Damaged): by_name('npy').decode(source, {})
    assert not ran

def test_array_stats():
    stats = by_name('npy').stats
    assert stats(np.array([1.0, np.nan, 3.0])) == {'shape': [3], 'dtype': 'float64', 'min': 1.0, 'max': 3.0}
    assert stats(np.array([np.nan])) == {'shape': [1], 'dtype': 'float64'}
    assert stats(np.array([np.inf, 1.0]))['min'] == 1.0 and 'max' not in stats(np.array([np.inf, 1.0]))
    assert stats(np.array(['2026-01-02', 'NaT'], dtype='M8[D]'))['max'] == '2026-01-02'

# pandas

pd = pytest.importorskip('pandas', reason='pandas is not installed')
pa = pytest.importorskip('pyarrow')
PANDAS = int(pd.__version__.split('.')[0])
def same(a, b, check_freq=False): pd.testing.assert_frame_equal(a, b, check_freq=check_freq)

def objects(*values): return pd.Series(list(values), dtype=object)
three = pd.date_range('2026-10-24', periods=3, tz='Europe/Berlin')
columns = {'int8': np.array([1, 2, 3], 'i1'), 'uint64': np.array([0, 1, 2**64 - 1], 'u8'),
           'float': [1.5, np.nan, np.inf], 'half': np.array([1, 2, 3], 'f2'), 'bool': [True, False, True],
           'seconds': np.array(['2026-01-01', 'NaT', '1600-01-01'], 'M8[s]'),
           'milli': np.array(['2026-01-01'] * 3, 'M8[ms]'), 'nano': np.array([1, 2, 3], 'M8[ns]'), 'zoned': three,
           'offset': pd.date_range('2026', periods=3, tz=dt.timezone(dt.timedelta(hours=2))),
           'delta': pd.to_timedelta([1, None, 3], unit='s'), 'delta_s': np.array([1, 2, 3], 'm8[s]'),
           'text': ['a', None, 'ü'], 'string': pd.array(['a', None, 'c'], dtype='string'),
           'string_python': pd.array(['a', None, 'c'], dtype='string[python]'),
           'Int64': pd.array([1, None, 2**62 + 1], dtype='Int64'),
           'boolean': pd.array([True, None, False], dtype='boolean'),
           'Float32': pd.array([1.5, None, 2], dtype='Float32'),
           'arrow_int': pd.array([1, None, 3], dtype='int32[pyarrow]'),
           'arrow_time': pd.array([dt.datetime(2026, 1, 1), None, None], dtype=pd.ArrowDtype(pa.timestamp('s', 'UTC'))),
           'arrow_list': pd.array([[1], None, []], dtype=pd.ArrowDtype(pa.list_(pa.int8()))),
           'period': pd.period_range('2026-01', periods=3, freq='M'),
           'interval': pd.interval_range(0, 3, closed='left'),
           'cat': pd.Categorical(['b', None, 'a'], categories=['c', 'b', 'a'], ordered=True),
           'cat_int': pd.Categorical([3, None, 1], categories=[3, 2, 1]),
           'cat_big': pd.Categorical([2**62 + 1, None, 5]), 'cat_float': pd.Categorical([0.1, None, 5]),
           'cat_bool': pd.Categorical([True, None, False]),
           'cat_date': pd.Categorical(pd.to_datetime(['2026-01-01', None, '2026-01-03'])),
           'cat_zoned': pd.Categorical(three), 'cat_s': pd.Categorical(np.array(['2026-01-01'] * 3, 'M8[s]')),
           'cut': pd.cut([1, 2, 3], 2), 'cut_none': pd.cut([1, 20, 3], [0, 2, 4]),
           'cat_empty': pd.Categorical([None] * 3),
           'cat_period': pd.Categorical(pd.period_range('2026-01', periods=3, freq='M')),
           'obj_none': objects('a', None, 'b'), 'obj_nan': objects('a', np.nan, 'b'),
           'obj_na': objects('a', pd.NA, 'b'), 'obj_all_none': objects(None, None, None),
           'obj_all_nan': objects(np.nan, np.nan, np.nan), 'obj_int': objects(1, 2, 3),
           'obj_int_none': objects(1, None, 2**62 + 1), 'obj_bool': objects(True, None, False),
           'obj_bool_full': objects(True, True, False), 'obj_float': objects(1.5, None, 2.5),
           'dates': objects(dt.date(2026, 1, 1), None, dt.date(1, 1, 1)),
           'decimals': objects(decimal.Decimal('1.5'), None, decimal.Decimal('2.25')),
           'times': objects(dt.time(1, 2), None, dt.time(3)), 'bytes': objects(b'a', None, b'\xff'),
           'lists': objects([1, 2], None, []), 'lists_equal': objects([1, 2], [3, 4], [5, 6]),
           'texts': objects(['a'], ['b', 'c'], []),
           'dicts': objects({'a': 1, 'b': 'x'}, {'a': 2, 'b': 'y'}, {'a': 3, 'b': 'z'}),
           'vectors': objects(np.array([1.0, 2.0]), np.array([3.0]), np.array([])),
           'uuids': objects(*[uuid.UUID(int=i) for i in range(3)]),
           'obj_times': objects(pd.Timestamp('2026'), None, pd.Timestamp('2027')),
           'nested': objects([[1], [2, 3]], [], None), 'nan_inside': objects([1.0, math.nan], [2.0], []),}

@pytest.mark.parametrize('name', columns)
def test_pandas_columns(name, tmp_path):
    df = pd.DataFrame({name: columns[name], 'other': [1, 2, 3]})
    for back in round_trip(df), from_file(df, tmp_path):
        same(back, df)
        if df[name].dtype == object:
            assert [type(v) for v in back[name]] == [type(v) for v in df[name]]
            assert all(a is b for a, b in zip(back[name], df[name]) if b is None or b is pd.NA)
    same(round_trip(df.iloc[:0]), df.iloc[:0])
    s = df[name]
    pd.testing.assert_series_equal(round_trip(s), s)
    stats = by_name('parquet').stats(df)
    assert stats['schema'][name]['nulls'] == df[name].isna().sum()
    json.dumps(stats, allow_nan=False)

indexes = [pd.RangeIndex(5, 11, 2), pd.RangeIndex(3, name='r'), pd.Index([3, 1, 2], name='n'),
           pd.Index(['a', 'b', 'c']), pd.Index(['a', 'b', 'c'], dtype=object), pd.Index([1.5, 2, np.nan]),
           pd.date_range('2026', periods=3, freq='D'),
           pd.date_range('2026', periods=3, freq='MS', tz='Europe/Berlin', name='t'),
           pd.DatetimeIndex(['2026-01-01', '2026-01-05', 'NaT']), pd.timedelta_range('1h', periods=3),
           pd.period_range('2026', periods=3, freq='Q'), pd.interval_range(0, 3),
           pd.CategoricalIndex(['a', 'b', 'a'], categories=['b', 'a']), pd.CategoricalIndex([1, 2, 1]),
           pd.MultiIndex.from_tuples([('a', 1), ('a', 2), ('b', 1)], names=['k', None]), pd.Index([True, False, True]),
           pd.MultiIndex.from_arrays([pd.Categorical(['x', 'y', 'x']), three], names=['k', 5]),
           pd.Index([1, 2, 3], name=0), pd.Index([1, 2, 3], name=('a', 1)), pd.Index([1, 2, 3], name='v'),
           pd.Index(np.array(['2026-01-01', '2026-01-02', '2026-01-03'], 'M8[s]')), pd.Index([1, 1, 1]),
           pd.Index(['a', None, 'b'], dtype=object), pd.Index(pd.array([1, None, 3], dtype='Int64'))]

@pytest.mark.parametrize('index', indexes, ids=lambda i: f'{type(i).__name__}-{i.dtype}-{i.names}')
def test_pandas_index(index):
    df = pd.DataFrame({'v': [1, 2, 3]}, index=index)
    same(round_trip(df), df, check_freq=index.nlevels == 1)
    same(round_trip(df, columns=['v']), df)
    back = round_trip(df).index
    assert (getattr(back, 'freq', None) == getattr(index, 'freq', None) and type(back) is type(index)
            and list(back.names) == list(index.names))
    pd.testing.assert_series_equal(round_trip(df['v']), df['v'])

labels = [range(3), [5, 'a', 2.5], ['a.b', 'a', 'a.b.c'], [('a', 1), ('a', 2), 'x'],
          pd.MultiIndex.from_product([['a'], [1, 2, 3]], names=['k', 'n']), pd.date_range('2026', periods=3),
          pd.Index(['x', 'y', 'z'], name='metric'), pd.Index(['x', 'y', 'z'], dtype=object), [None, 'a', 1],
          ['', ' ', '\n'], [True, False, 2], pd.CategoricalIndex(['x', 'y', 'z']), pd.Index([1, 2, 3], name=7),
          ['__index_level_0__', 'index', 'x']]

@pytest.mark.parametrize('labels', labels, ids=str)
def test_pandas_labels(labels):
    df = pd.DataFrame([[1, 2.5, 'x']], columns=labels)
    try: back = round_trip(df)
    except Unsupported: assert isinstance(labels, pd.CategoricalIndex); return
    same(back, df)
    last = df.columns[2]
    assert round_trip(df, columns=[last]).columns.tolist() == [last]
    with pytest.raises(Unsupported, match='no column'): round_trip(df, columns=['nope'])

odd_labels = [pd.interval_range(0, 3), pd.period_range('2026', periods=3, freq='M', name='m'),
              pd.to_timedelta([1, 2, 3], 'h'),
              pd.CategoricalIndex(['b', 'a', 'c'], ['c', 'b', 'a', 'z'], ordered=True), pd.CategoricalIndex([3, 1, 2]),
              pd.MultiIndex.from_arrays([pd.Categorical(['x', 'x', 'y']), pd.interval_range(0, 3)], names=['k', None])]

@pytest.mark.parametrize('labels', odd_labels, ids=lambda x: type(x).__name__ + x.inferred_type)
def test_pandas_labels_that_are_no_text(labels):
    df = pd.DataFrame([[1, 2.5, 'x']] * 400, columns=labels)
    assert difference(df, round_trip(df)) is None
    for some in [labels[2]], [labels[2], labels[0]]:
        back = round_trip(df, columns=some)
        assert back.columns.tolist() == some and back.columns.nlevels == labels.nlevels
    assert round_trip(df, as_='polars').columns == [str(x) for x in labels]
    with pytest.raises(Unsupported, match='no column'): round_trip(df, columns=['nope'])

refused = {'doubled': pd.DataFrame([[1, 2]], columns=['a', 'a']),
           '1 and "1"': pd.DataFrame([[1, 2]], columns=[1, '1']), 'complex': pd.DataFrame({'a': [1j]}),
           'sparse': pd.DataFrame({'a': pd.arrays.SparseArray([0, 1])}),
           'objects': pd.DataFrame({'a': [object()]}),
           'surrogates': pd.DataFrame({'a': objects('\ud800')}),
           'mixed categories': pd.DataFrame({'a': pd.Categorical([1, 'x'])}),
           'attrs': pd.DataFrame({'a': [1]}),
}
refused['attrs'].attrs['x'] = object()

@pytest.mark.parametrize('name', refused)
def test_pandas_refusals(name):
    with pytest.raises(Unsupported) as e: round_trip(refused[name])
    assert len(str(e.value)) < 900

def test_pandas_subclasses_are_refused():
    class Special(pd.DataFrame): pass
    with pytest.raises(Unsupported, match='plain frame'): round_trip(Special({'a': [1]}))

def test_pandas_attrs_and_edits():
    df = pd.DataFrame({'a': [1.0, 2.0], 'c': pd.Categorical(['x', 'y'])})
    df.attrs = {'source': ('a', 1), 'n': {1: 2}}
    back = round_trip(df)
    assert back.attrs == df.attrs
    back.loc[0, 'a'] = 5
    back.loc[0, 'c'] = 'y'
    s = df['a'].rename(('x', 1))
    pd.testing.assert_series_equal(round_trip(s), s)
    assert round_trip(df['a'].rename(None)).name is None

def test_pandas_empty():
    for df in pd.DataFrame(), pd.DataFrame({'a': []}), pd.DataFrame({'a': pd.Series(dtype=object)}), pd.DataFrame(
            index=[3, 4]):
        same(round_trip(df), df)

@few
@given(st.data())
def test_pandas_any(data):
    from hypothesis.extra import pandas as hpd
    df = data.draw(hpd.data_frames([hpd.column('i', dtype=int), hpd.column('f', dtype=float),
                                    hpd.column('s', elements=st.text(st.characters(codec='utf-8'), max_size=5)),
                                    hpd.column('b', dtype=bool),
                                    hpd.column('t',
                                               elements=st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1)),
                                               dtype='M8[ns]')]))
    same(round_trip(df), df)
    json.dumps(by_name('parquet').stats(df), allow_nan=False)

def test_more_than_a_trial():
    "Values past the first hundred rows are whole, too"
    n = 5_000
    df = pd.DataFrame({'c': pd.Categorical(np.arange(n) % 700),
                       's': objects(*[None if i % 7 == 0 else f't{i}' for i in range(n)]),
                       'l': objects(*[[i] * (i % 3) for i in range(n)]), 'i': range(n)})
    same(round_trip(df), df)
    late = pd.DataFrame({'a': objects(*['x'] * 500, 1)})
    same(round_trip(late), late)

# Other frames

pl = pytest.importorskip('polars', reason='polars is not installed')

def wide():
    return pl.DataFrame({'e': pl.Series(['a', None, 'b'], dtype=pl.Enum(['b', 'a', 'z'])),
                         'c': pl.Series(['x', None, 'y'], dtype=pl.Categorical), 't': [dt.time(1, 2)] * 3,
                         'dur': [dt.timedelta(1)] * 3, 'dec': [decimal.Decimal('1.25')] * 3, 'n': [None] * 3,
                         'arr': pl.Series([[1, 2]] * 3, dtype=pl.Array(pl.Int8, 2)), 'st': [{'a': 1, 'b': 'x'}] * 3,
                         'l': [[1], [], None], 'b': [b'\xff'] * 3,
                         'ms': pl.Series([dt.datetime(2026, 1, 1)] * 3, dtype=pl.Datetime('ms', 'Europe/Berlin')),
                         'd': [dt.date(2026, 1, 1)] * 3, 'nan': [1.0, math.nan, None], 'a.b': [1, 2, 3]})

def test_polars(tmp_path):
    df = wide()
    for back in round_trip(df), from_file(df, tmp_path): assert back.schema == df.schema and back.equals(df)
    assert round_trip(df.clear()).schema == df.schema
    assert (round_trip(df['e']).equals(df['e']) and round_trip(df['e']).name == 'e'
            and isinstance(round_trip(df['e']), pl.Series))
    assert round_trip(df, columns=['l', 'd']).columns == ['l', 'd']
    assert round_trip(pl.DataFrame()).shape == (0, 0)
    for bad in pl.DataFrame({'o': [object()]}), pl.DataFrame({'i': pl.Series([1], dtype=pl.Int128)}):
        with pytest.raises(Unsupported): round_trip(bad)
    assert round_trip(df.lazy()).equals(df)
    json.dumps(by_name('parquet').stats(df), allow_nan=False)

def test_arrow(tmp_path):
    t = pa.table({'s': pa.array([1, None], pa.timestamp('s')), 'd': pa.array(['x', 'y']).dictionary_encode(),
                  'v': pa.array(['a', 'b'], pa.string_view()), 'f': pa.array([1, 2], pa.float16()),
                  'm': pa.array([[('k', 1)], None], pa.map_(pa.string(), pa.int8())),
                  'l': pa.array([[1], None], pa.large_list(pa.int8())), 't': pa.array([1, 2], pa.time32('s')),
                  'z': pa.nulls(2)}).replace_schema_metadata({'unit': 'EUR'})
    for back in round_trip(t), from_file(t, tmp_path):
        assert back.equals(t) and back.schema.equals(t.schema, check_metadata=True)
    batch = t.to_batches()[0]
    assert round_trip(batch).equals(batch) and isinstance(round_trip(batch.slice(0, 0)), pa.RecordBatch)
    for bad in (pa.table([[1], [2]], ['a', 'a']), pa.table({'d': pa.array([1]).dictionary_encode()}),
                pa.table({'r': pa.array([None], pa.run_end_encoded(pa.int32(), pa.int64()))}),
                pa.table({'i': pa.array([None], pa.month_day_nano_interval())})):
        with pytest.raises(Unsupported): round_trip(bad, 'parquet')
    json.dumps(by_name('parquet').stats(t), allow_nan=False)

def test_as_another_library(tmp_path):
    df = pd.DataFrame({'a': [1, 2], 'c': pd.Categorical([1, 2]), 'p': pd.period_range('2026-01', periods=2, freq='M'),
                       'i': pd.interval_range(0, 2), 's': ['x', None]}, index=pd.Index([3, 4], name='key'))
    codec, payload, how = encoded(df)
    path = tmp_path/'f[1].parquet'
    path.write_bytes(payload)
    for as_, t in (('polars', pl.DataFrame), (pl.DataFrame, pl.DataFrame), ('arrow', pa.Table), (pa.Table, pa.Table),
                   (pa.RecordBatch, pa.RecordBatch), ('lazy', pl.LazyFrame), (pl.LazyFrame, pl.LazyFrame),
                   ('pandas', pd.DataFrame)):
        for source in payload, path: assert isinstance(codec.decode(source, how, as_=as_), t)
    assert codec.decode(path, how, as_='lazy').select(pl.col('a').sum()).collect().item() == 3
    assert codec.decode(path, how, as_='lazy', columns=['a']).collect_schema().names() == ['a', 'key']
    assert codec.decode(payload, how, as_='polars')['key'].to_list() == [3, 4]
    assert codec.decode(payload, how, as_=pd.Series, columns=['a']).tolist() == [1, 2]
    assert codec.decode(payload, how, as_='bytes') == payload
    for as_ in dict, list, 'numpy', 'spark', np.ndarray, pd.Series:
        with pytest.raises(Unsupported): codec.decode(payload, how, as_=as_)
    assert b'objectstore' not in (codec.decode(payload, how, as_='arrow').schema.metadata or {})
    same(pd.read_parquet(path)[['a']], df[['a']])

def test_other_programs_read_the_file(tmp_path):
    duckdb = pytest.importorskip('duckdb', reason='duckdb is not installed')
    path = tmp_path/'x.parquet'
    path.write_bytes(encoded(pd.DataFrame({'a': [1, 2], 'c': pd.Categorical([10, 20])}))[1])
    assert duckdb.sql(f"select sum(a), max(c) from '{path}'").fetchall() == [(3, 20)]

def test_frame_stats():
    stats = by_name('parquet').stats
    t = pa.table({'ts': pa.array([0, 10**15], pa.timestamp('us', 'Europe/Berlin')),
                  'far': pa.array([0, 2**60], pa.timestamp('s')), 'dur': pa.array([1500, None], pa.duration('ms')),
                  'dec': pa.array([decimal.Decimal('1.5'), None]), 'inf': [1.0, math.inf], 'nan': [math.nan, math.nan],
                  's': ['a', 'b'], 'b': [True, False], 'd': [dt.date(2026, 1, 1), None]})
    found = stats(t)['schema']
    assert found['ts'] == {'type': 'timestamp[us, tz=Europe/Berlin]', 'nulls': 0, 'min': '1970-01-01T00:00:00Z',
                           'max': '2001-09-09T01:46:40Z'}
    assert found['dur']['max'] == 1.5 and found['dec']['max'] == 1.5 and found['d']['min'] == '2026-01-01'
    assert (found['inf'] == {'type': 'double', 'nulls': 0, 'min': 1.0} and 'min' not in found['nan']
            and 'min' not in found['s'] and 'min' not in found['far'])
    json.dumps(stats(t), allow_nan=False)
    assert stats(pd.Series([1, 2], name='x')) == {'rows': 2, 'columns': 1,
                                                  'schema': {'x': {'type': 'int64', 'nulls': 0, 'min': 1, 'max': 2}}}

def test_frame_stats_stay_small():
    many = by_name('parquet').stats(pd.DataFrame(np.zeros((2, 1000))))
    assert len(many['schema']) == 200 and '200 of 1000' in many['cut']
    long = by_name('parquet').stats(pd.DataFrame({f'\U0001f600{i}' * 400: [1] for i in range(300)}))
    assert len(json.dumps(long).encode()) < 100_000 and 'cut' in long

def test_parquet_damage(tmp_path):
    "Flipped and cut bytes are Damaged, or read as something, but never another error"
    rng, seen = random.Random(5), set()
    cases = [encoded(pd.DataFrame({k: columns[k] for k in ('cat_int', 'lists', 'cut', 'obj_nan', 'zoned', 'period')},
                                  index=three)), encoded(wide())]
    for codec, payload, how in cases:
        for i in range(150):
            data = bytearray(payload)
            if i % 3: 
                for _ in range(3): data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            else: del data[rng.randrange(len(data)):]
            try: codec.decode(bytes(data), how); seen.add('read')
            except Damaged: seen.add('damaged')
    assert 'damaged' in seen

# Estimators

def square(x): return x ** 2

def estimators():
    pytest.importorskip('sklearn', reason='scikit-learn is not installed')
    pytest.importorskip('skops', reason='skops is not installed')
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
    X, y = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 2
    frame = pd.DataFrame({'n': X[:, 0], 'c': np.where(y, 'a', 'b')})
    plain = make_pipeline(StandardScaler(), LogisticRegression(C=0.3)).fit(X, y)
    mixed = make_pipeline(ColumnTransformer([('n', StandardScaler(), ['n']), ('c', OneHotEncoder(), ['c'])]),
                          Ridge()).fit(frame, X[:, 1])
    forest = RandomForestClassifier(5, random_state=0).fit(X, y)
    return X, frame, plain, mixed, forest, make_pipeline(FunctionTransformer(square), Ridge()).fit(X, y)

def test_skops(tmp_path):
    X, frame, plain, mixed, forest, own = estimators()
    assert codec_for(plain).name == 'skops' and codec_for(plain).kind == 'model'
    for back in round_trip(plain), from_file(plain, tmp_path):
        assert (back.predict_proba(X) == plain.predict_proba(X)).all()
    assert (round_trip(mixed, as_=type(mixed)).predict(frame) == mixed.predict(frame)).all()
    assert encoded(plain)[1] == encoded(plain)[1] and encoded(mixed)[2] == {}
    with pytest.raises(Untrusted, match=r'sklearn.tree._tree.Tree.*trust=True'): round_trip(forest)
    assert ((round_trip(forest, trust=True).predict(X) == forest.predict(X)).all()
            and 'sklearn.tree._tree.Tree' in encoded(forest)[2]['asks'])
    with pytest.raises(Untrusted, match='square'): round_trip(own)
    assert (round_trip(own, trust=True).predict(X) == own.predict(X)).all()
    with pytest.raises(Unsupported): round_trip(plain, as_=dict)

def test_skops_does_not_believe_the_record(tmp_path):
    _, _, _, _, forest, _ = estimators()
    _, payload, _ = encoded(forest)
    for how in {}, {'asks': []}, {'trusted': ['sklearn.tree._tree.Tree']}:
        with pytest.raises(Untrusted): by_name('skops').decode(payload, how)

def test_skops_runs_nothing_untrusted():
    import zipfile
    _, payload, _ = encoded(estimators()[2])
    with zipfile.ZipFile(io.BytesIO(payload)) as z:
        schema, rest = json.loads(z.read('schema.json')), {n: z.read(n) for n in z.namelist() if n != 'schema.json'}
    schema['content']['content']['steps'] = {'__class__': 'go_off', '__module__': __name__, '__loader__': 'ObjectNode',
                                             'content': {'__class__': 'str', '__module__': 'builtins',
                                                         '__loader__': 'JsonNode', 'content': '"x"', 'is_json': True},
                                             '__reduce__': {}}
    out = io.BytesIO()
    with zipfile.ZipFile(out, 'w') as z:
        for n, b in rest.items(): z.writestr(n, b)
        z.writestr('schema.json', json.dumps(schema))
    with pytest.raises((Untrusted, Damaged)): by_name('skops').decode(out.getvalue(), {})
    assert not ran

def test_skops_refusals_and_stats():
    X, frame, plain, mixed, forest, own = estimators()
    from sklearn.preprocessing import FunctionTransformer
    with pytest.raises(Unsupported, match='lambda'): round_trip(FunctionTransformer(lambda x: x))
    stats = by_name('skops').stats(plain)
    assert (stats['type'] == 'sklearn.pipeline.Pipeline' and stats['params']['logisticregression__C'] == 0.3
            and stats['features'] == 3)
    for m in (plain, mixed, forest, own): assert len(json.dumps(by_name('skops').stats(m), allow_nan=False)) < 20_000
    from sklearn.base import BaseEstimator
    class Odd(BaseEstimator):
        def get_params(self, deep=True): raise RuntimeError('odd')
    assert by_name('skops').stats(Odd())['params'] == {}

# Tensors

def test_dicts_of_arrays(tmp_path):
    pytest.importorskip('safetensors', reason='safetensors is not installed')
    d = {'z': np.arange(3, dtype='i1'), 'ü "x"': np.asfortranarray(np.ones((2, 3))), 'a': np.array(1.5, dtype='f2'),
         'e': np.zeros((0, 2)), 'b': np.array([True]), 'c': np.array([1j], dtype='c8'), 'v': np.arange(9)[::2]}
    codec, payload, how = encoded(d)
    assert codec.name == 'safetensors' and codec.kind is None
    from safetensors.numpy import load
    assert set(load(payload)) == set(d)
    for back in round_trip(d), from_file(d, tmp_path), round_trip(d, as_=dict), round_trip(d, as_='numpy'):
        assert list(back) == list(d)
        for k in d: assert back[k].dtype == d[k].dtype and back[k].shape == d[k].shape and (back[k] == d[k]).all()
    for bad in np.array(['a']), np.array([{}]), np.ma.array([1]), np.array([1], dtype='>i4'), np.array(
            ['2026'], 'M8[Y]'), np.zeros(1, dtype=[('a', 'i4')]), np.array([1j]):
        with pytest.raises(Unsupported, match='bad'): round_trip({'bad': bad})
    for name in '__metadata__', '\ud800':
        with pytest.raises(Unsupported, match='cannot name'): round_trip({name: np.ones(1)})
    for as_ in 'pandas', list, 'lazy':
        with pytest.raises(Unsupported): round_trip(d, as_=as_)
    assert by_name('safetensors').stats(d)['parameters'] == 3 + 6 + 1 + 1 + 1 + 5

def test_safetensors_damage():
    pytest.importorskip('safetensors', reason='safetensors is not installed')
    codec, payload, how = encoded({'a': np.arange(4.0), 'b': np.ones(3, dtype='i1')})
    rng = random.Random(1)
    for i in range(300):
        data = bytearray(payload)
        if i % 3: data[rng.randrange(90)] ^= 1 << rng.randrange(8)
        else: del data[rng.randrange(len(data)):]
        try: codec.decode(bytes(data), how)
        except (Damaged, Unsupported): pass
    def lie(header, body=b'\0' * 8):
        text = json.dumps(header).encode()
        return len(text).to_bytes(8, 'little') + text + body
    for data in (b'', b'\xff' * 8, lie([1]), lie({'a': {'dtype': 'F64', 'shape': [2**62], 'data_offsets': [0, 8]}}),
                 lie({'a': {'dtype': 'F64', 'shape': [1], 'data_offsets': [0, 10**15]}}), lie({'a': 1}),
                 (8 * 10**7).to_bytes(8, 'little') + b'[' * 200_000):
        with pytest.raises(Damaged): codec.decode(data, how)

def test_torch(tmp_path):
    torch = pytest.importorskip('torch', reason='torch is not installed')
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2))
    state = net.state_dict()
    codec = codec_for(state)
    assert ((codec.name, codec.kind) == ('safetensors', 'model')
            and codec.stats(state) == {'tensors': 9, 'parameters': 43, 'size': 42 * 4 + 8,
                                       'dtypes': {'float32': 8, 'int64': 1}})
    for back in round_trip(state), from_file(state, tmp_path):
        assert list(back) == list(state) and all(torch.equal(back[k], state[k]) for k in state)
        net.load_state_dict(back)
    back = from_file(dict(w=torch.zeros(100_000)), tmp_path/'..'/tmp_path.name)
    back['w'][0] = 1
    with pytest.raises(Unsupported, match=r'state_dict\(\)'): round_trip(net)
    arrays = round_trip(state, as_='numpy')
    assert type(arrays['0.weight']) is np.ndarray and (arrays['0.weight'] == state['0.weight'].numpy()).all()
    assert torch.equal(round_trip({'a': np.ones(2)}, as_='torch')['a'], torch.ones(2, dtype=torch.float64))

def test_torch_odd_tensors(tmp_path):
    torch = pytest.importorskip('torch', reason='torch is not installed')
    w = torch.arange(6.0).reshape(2, 3)
    odd = {'i1': torch.ones(3, dtype=torch.int8), 't': w.T, 'bf': torch.ones(2, dtype=torch.bfloat16),
           's': torch.tensor(1.5), 'e': torch.zeros(0, 2), 'b': torch.tensor([True]), 'c': torch.tensor([1j]).conj(),
           'tied': w, 'again': w, 'part': w[0], 'param': torch.nn.Parameter(w.clone()),
           'f8': torch.ones(2).to(torch.float8_e4m3fn), 'step': w[:, ::2]}
    for back in round_trip(odd), from_file(odd, tmp_path):
        assert list(back) == list(odd)
        for k in odd:
            assert (back[k].dtype == odd[k].dtype
                    and torch.equal(back[k].to(torch.complex64), odd[k].detach().to(torch.complex64)))
        assert back['tied'] is back['again'] and back['part'] is not back['tied']
    with pytest.raises(Unsupported, match='bf.*BF16'): round_trip({'bf': odd['bf']}, as_='numpy')
    t = torch.ones(2, 2)
    assert (torch.equal(round_trip(t), t) and type(round_trip(t, as_='numpy')) is np.ndarray
            and isinstance(round_trip(t, as_=torch.Tensor), torch.Tensor))
    for bad in t.to_sparse(), torch.empty(2, device='meta'), torch.ones(2, dtype=torch.complex128):
        with pytest.raises(Unsupported, match='bad'): round_trip({'bad': bad})
    with pytest.raises(Unsupported): round_trip({'a': t, 'b': np.ones(1)})
    with pytest.raises(Unsupported):
        round_trip(torch.optim.SGD([torch.nn.Parameter(t)], lr=0.1, momentum=0.9).state_dict() | {'t': t})

# Pictures

@pytest.mark.parametrize('mode', ['1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'I;16'])
def test_images(mode, tmp_path):
    Image = pytest.importorskip('PIL.Image', reason='Pillow is not installed')
    im = Image.linear_gradient('L').resize((20, 10))
    im = (im.convert('I').convert('I;16') if mode == 'I;16' else im.convert('RGB').quantize(17) if mode == 'P'
          else im.convert(mode))
    for back in round_trip(im), from_file(im, tmp_path):
        assert (back.mode, back.size) == (im.mode, im.size) and back.tobytes() == im.tobytes()
        if mode == 'P': assert back.convert('RGB').tobytes() == im.convert('RGB').tobytes()
    assert by_name('png').stats(im) == {'size': [20, 10], 'mode': im.mode}

def test_image_refusals(tmp_path):
    Image = pytest.importorskip('PIL.Image', reason='Pillow is not installed')
    for mode in 'CMYK', 'F', 'I', 'YCbCr', 'HSV', 'LAB', 'PA':
        with pytest.raises(Unsupported, match='convert'): round_trip(Image.new(mode, (2, 2)))
    with pytest.raises(Unsupported, match='pixels'): round_trip(Image.new('L', (0, 5)))
    Image.new('L', (2, 2)).save(tmp_path/'a.gif', save_all=True, append_images=[Image.new('L', (2, 2), 255)])
    with pytest.raises(Unsupported, match='png.*does not take'): round_trip(Image.open(tmp_path/'a.gif'), 'png')
    assert round_trip(Image.open(tmp_path/'a.gif')).n_frames == 2
    with pytest.raises(Unsupported, match='attack|pixels'): round_trip(Image.new('1', (20_000, 20_000)))
    Image.effect_noise((64, 64), 50).convert('RGB').save(tmp_path/'a.jpg')
    (tmp_path/'cut.jpg').write_bytes((tmp_path/'a.jpg').read_bytes()[:-300])
    with pytest.raises(Unsupported, match='cannot be read'): round_trip(Image.open(tmp_path/'cut.jpg'))
    jpeg = Image.open(tmp_path/'a.jpg')
    assert round_trip(jpeg).tobytes() == jpeg.convert('RGB').tobytes()

def test_image_damage():
    Image = pytest.importorskip('PIL.Image', reason='Pillow is not installed')
    im = Image.effect_noise((40, 30), 50)
    codec, payload, how = encoded(im)
    jpeg = io.BytesIO()
    im.save(jpeg, 'JPEG')
    bomb = bytearray(payload)
    bomb[16:24] = (60_000).to_bytes(4, 'big') * 2
    import zlib
    bomb[29:33] = zlib.crc32(bytes(bomb[12:29])).to_bytes(4, 'big')
    for data in b'', payload[:40], payload[:-60], jpeg.getvalue(), bytes(bomb):
        with pytest.raises(Damaged): codec.decode(data, how)
    rng = random.Random(2)
    for _ in range(200):
        data = bytearray(payload)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        try: codec.decode(bytes(data), how)
        except Damaged: pass

def test_figures(tmp_path):
    pytest.importorskip('matplotlib', reason='matplotlib is not installed')
    from matplotlib.figure import Figure
    fig = Figure(figsize=(3, 2), dpi=80)
    fig.suptitle('All')
    fig.subplots().set_title('One')
    codec, payload, how = encoded(fig)
    assert (codec.name, codec.kind, how) == ('figure', 'figure', {'dpi': 80.0}) and payload == encoded(fig)[1]
    back = codec.decode(payload, how)
    assert back.size == (240, 160) and round(back.info['dpi'][0]) == 80
    assert codec.stats(fig) == {'size': [240, 160], 'dpi': 80.0, 'axes': 1, 'titles': ['All', 'One']}

# Without the libraries

def run(code, *blocked):
    "Run code in a new interpreter in which some libraries cannot be imported"
    start = textwrap.dedent('''
        import sys
        class Block:
            def find_spec(self, name, path=None, target=None):
                if name.partition('.')[0] in BLOCKED: raise ModuleNotFoundError(f'No module named {name!r}', name=name)
        BLOCKED = %r
        sys.meta_path.insert(0, Block())
        ''') % (blocked,)
    out = subprocess.run([sys.executable, '-c', start + textwrap.dedent(code)], capture_output=True, text=True,
                         timeout=120)
    assert out.returncode == 0, out.stderr[-3000:]
    return out.stdout

@pytest.mark.parametrize('codec, library, extra',
                         [('npy', 'numpy', 'frames'), ('parquet', 'pandas', 'frames'), ('parquet', 'polars', 'frames'),
                          ('skops', 'skops', 'models'), ('safetensors', 'safetensors', 'models'),
                          ('safetensors', 'torch', 'torch'), ('png', 'PIL', 'models'), ('figure', 'PIL', 'models')])
def test_missing_extras(codec, library, extra, tmp_path):
    kept = io.BytesIO()
    how = (by_name('parquet').encode(pd.DataFrame({'a': [1]}) if library == 'pandas' else pl.DataFrame({'a': [1]}),
                                     kept) if codec == 'parquet'
           else {'library': 'torch' if library == 'torch' else 'numpy'})
    payload = kept.getvalue() if codec == 'parquet' else (2).to_bytes(8, 'little') + b'{}'
    assert extra in run(f'''
        import objectstore.codecs.frames, objectstore.codecs.models
        from objectstore.codecs.codec import by_name
        from objectstore.errors import MissingExtra
        try: by_name({codec!r}).decode({payload!r}, {how!r})
        except MissingExtra as e: print(e)
        ''', library)

def test_a_fresh_process_reads_every_column(tmp_path):
    "Arrow learns some types of pandas only when they are first written"
    frames = {f'c{i}': pd.DataFrame({name: c})
              for i, (name, c) in enumerate(columns.items())} | {
                  f'i{i}': pd.DataFrame({'v': [1, 2, 3]}, index=x) for i, x in enumerate(indexes)}
    for name, df in frames.items():
        _, payload, how = encoded(df)
        (tmp_path/f'{name}.parquet').write_bytes(payload)
        (tmp_path/f'{name}.json').write_text(json.dumps(how))
    run(f"""
        import json, pickle
        from pathlib import Path
        import objectstore.codecs.frames
        from objectstore.codecs.codec import by_name
        for p in sorted(Path({str(tmp_path)!r}).glob('*.parquet')):
            df = by_name('parquet').decode(p, json.loads(p.with_suffix('.json').read_text()))
            p.with_suffix('.pkl').write_bytes(pickle.dumps(df))
        """)
    for name, df in frames.items(): same(pd.read_pickle(tmp_path/f'{name}.pkl'), df)

def test_torch_payload_without_torch():
    torch = pytest.importorskip('torch', reason='torch is not installed')
    codec, payload, how = encoded({'a': torch.ones(2)})
    assert '[1.0, 1.0]' in run(f'''
        import objectstore.codecs.models
        from objectstore.codecs.codec import by_name
        print(by_name('safetensors').decode({payload!r}, {how!r}, as_='numpy')['a'].tolist())
        ''', 'torch')

def test_nothing_heavy_is_imported():
    loaded = run('''
        import objectstore.codecs.frames, objectstore.codecs.models
        from objectstore.codecs.codec import codec_for, round_trip
        for x in ({'a': [1]}, 'text', b'x', 1.5): round_trip(x)
        print(*sys.modules)
        ''').split()
    assert not {'numpy', 'pandas', 'polars', 'pyarrow', 'sklearn', 'skops', 'torch', 'safetensors', 'PIL', 'matplotlib',
                'pydantic'} & set(loaded)

def test_an_import_takes_nothing_that_is_used_later():
    "Each takes milliseconds, of some hundred"
    loaded = run('import sys, objectstore\nprint(*sys.modules)').split()
    assert not {'importlib.metadata', 'email', 'zipfile', 'tqdm', 'obstore', 'boto3', 'IPython', 'pyarrow', 'polars',
                'ipywidgets', 'anywidget', 'sqlglot', 'numpy', 'pandas'} & set(loaded)

def test_codecs_work_without_any_library():
    run('''
        import objectstore.codecs.frames, objectstore.codecs.models
        from objectstore.codecs.codec import round_trip
        for x in ({'a': (1, 2)}, 'text', b'x', 1.5, None): assert round_trip(x) == x
        ''', 'numpy', 'pandas', 'polars', 'pyarrow', 'sklearn', 'skops', 'torch', 'safetensors', 'PIL', 'matplotlib',
        'pydantic')
