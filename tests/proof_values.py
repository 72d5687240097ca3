"Values for the proof at put: what comes back the same, and what is refused, with the remedy that its refusal names"
import dataclasses, enum, io, struct
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import FunctionType
from typing import Any, Optional    # noqa: F401 (Any: by way of this module)
from uuid import UUID
from zoneinfo import ZoneInfo
import numpy as np, pandas as pd, polars as pl, pyarrow as pa, pydantic, torch
from PIL import Image
from sklearn.base import BaseEstimator
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

# What a value is, told by other means than the library's own comparison

def told(v, depth=0):
    "Types and values in every place, as text"
    t = f'{type(v).__module__}.{type(v).__qualname__}'
    if depth > 12: return t
    inner = lambda x: told(x, depth + 1)
    if v is pd.NaT: return 'NaT'
    if isinstance(v, pd.Timestamp): return f'Timestamp:{v!r}'
    match v:
        case (bool() | int() | str() | bytes() | bytearray() | None | Decimal() | date() | time() | timedelta() | UUID()
              | enum.Enum() | Path()):
            return f'{t}:{v!r}' + (f'{v.utcoffset()}{type(v.tzinfo)}' if isinstance(v, datetime)
                                   else f'{type(v.tzinfo)}' if isinstance(v, time) else '')
        case float(): return f'{t}:{struct.pack("d", v).hex() if v == v else "nan"}'
        case complex(): return f'{t}:{inner(v.real)}{inner(v.imag)}'
        case dict(): return f'{t}{{' + ', '.join(f'{inner(k)}={inner(x)}' for k, x in v.items()) + '}'
        case list() | tuple(): return f'{t}[' + ', '.join(map(inner, v)) + ']'
        case set() | frozenset(): return f'{t}<' + ', '.join(sorted(map(inner, v))) + '>'
        case np.ndarray():
            content = inner(v.tolist()) if v.dtype.hasobject else v.tobytes().hex()
            return f'{t}:{v.dtype!r}{v.dtype.metadata}{v.shape}{content}'
        case np.generic(): return f'{t}:{v!r}'
        case pd.DataFrame():
            return f'{t}:{inner(v.columns)}{inner(v.index)}{inner(v.attrs)}{v.flags.allows_duplicate_labels}' + ''.join(
                inner(v.iloc[:, i]) for i in range(v.shape[1]))
        case pd.Series(): return f'{t}:{inner(v.name)}{inner(v.index)}{v.dtype!r}{_plain(v.tolist())}'
        case pd.RangeIndex(): return f'{v!r}'
        case pd.Index():
            return f'{t}:{list(v.names)!r}{getattr(v, "freq", None)}' + ''.join(
                f'{v.get_level_values(i).dtype!r}{_plain(list(v.get_level_values(i)))}' for i in range(v.nlevels))
        case pl.DataFrame(): return f'{t}:{v.shape}{v.schema!r}{inner(v.to_dict(as_series=False))}'
        case pl.Series(): return f'{t}:{v.name!r}{v.dtype!r}{inner(v.to_list())}'
        case pa.Table() | pa.RecordBatch():
            return (f'{t}:{v.num_rows}{v.schema.to_string(show_field_metadata=True)}{[f.nullable for f in v.schema]}'
                    f'{inner([c.to_pylist() for c in v.columns])}')
        case torch.Tensor():
            return f'{v.dtype}{tuple(v.shape)}{v.detach().contiguous().reshape(-1).view(torch.uint8).tolist()}'
        case Image.Image():
            comment = v.info.get('comment')
            return (f'{v.mode}{v.size}{v.tobytes().hex()}{dict(v.getexif())}{v.info.get("dpi")}'
                    f'{v.info.get("icc_profile")}{comment if isinstance(comment, str) else ""}')
    if dataclasses.is_dataclass(v): return f'{t}({inner(vars(v))})'
    if isinstance(v, pydantic.BaseModel):
        return f'{t}({inner(vars(v))}{inner(v.__pydantic_extra__)}{inner(v.__pydantic_private__)})'
    # the address of a list
    if isinstance(v, BaseEstimator): return f'{t}({inner({k: x for k, x in vars(v).items() if k != "_stop_words_id"})})'
    if isinstance(v, FunctionType): return f'{t}:{v.__qualname__}'
    return t

def _plain(values): return [told(float(v)) if type(v) is np.float64 else told(v) for v in values]

# What comes back: name, value; with `as_` for what comes back whole only by name

berlin, york, tokyo = ZoneInfo('Europe/Berlin'), ZoneInfo('America/New_York'), ZoneInfo('Asia/Tokyo')

@dataclasses.dataclass
class Run:
    name: str
    tags: list[str] = None
    folder: Optional[Path] = None
    when: datetime = datetime(2026, 11, 1, tzinfo=berlin)
    score: float = dataclasses.field(init=False, default=0.0)

def run(**more):
    r = Run('a', **more)
    r.score = 0.9
    return r

class Sub(pydantic.BaseModel): n: int = 1
class More(Sub): extra: str = 'x'
class Setup(pydantic.BaseModel):
    name: str = 'a'
    sub: Sub = Sub()
    tags: set[str] = {'x'}
    at: datetime = datetime(2026, 11, 1, tzinfo=timezone.utc)

def deep(n):
    v = 1
    for _ in range(n): v = [v]
    return v

def obj(*values): return pd.Series(list(values), dtype=object)

def split(text): return text.split()

def square(x): return x ** 2

torch.manual_seed(0)
X, y = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 2

def turned(**info):
    im = Image.linear_gradient('L').resize((8, 6)).convert('RGB')
    im.getexif()[0x0112] = 6
    im.info |= info
    return im

def camera():
    "A picture as a camera makes it: turned, with a place and its own notes"
    exif = Image.Exif()
    exif[0x0112], exif[0x010f] = 8, 'Maker'
    exif.get_ifd(0x8769).update({0x9003: '2026:11:01 10:00:00', 0x927c: b'\1\2\3notes'})
    exif.get_ifd(0x8825).update({1: 'N', 2: (52.0, 31.0, 12.0)})
    turned().save(to := io.BytesIO(), 'JPEG', exif=exif, dpi=(300, 300))
    im = Image.open(io.BytesIO(to.getvalue()))
    im.info = {'exif': im.info['exif'], 'dpi': (300.0, 300.0)}       # what is not of the file format alone
    return im

def tagged(t): return t.replace_schema_metadata({'unit': 'EUR'})

utc = timezone.utc
mixed = obj(datetime(2026, 1, 1, 10, tzinfo=berlin), datetime(2026, 1, 1, tzinfo=timezone.utc))
sales = pd.DataFrame({'c': pd.Categorical(['x', 'y', 'x', 'y']),
                      'd': pd.Categorical(['p', 'p', 'q', 'q'], ordered=True),
                      'v': [1.0, 2, 3, 4], 's': list('abca'), 't': pd.date_range('2026', periods=4)})

class Level(enum.IntEnum): LOW = 1
class Word(enum.StrEnum): HI = 'hi'
Point = namedtuple('Point', 'x y')
class Side(enum.Enum): LEFT = 'l'
class Flags(enum.Flag): A, B = 1, 2

kept = {
    'json': {
        'nested': {
            'a': [1, 2.5, None, True, 'ü', {'b': (1, (2,)), 'c': {3, 'x'}, 'd': frozenset([1])}],
            '': b'\0\xff',
            'z': -0.0
        },
        'keys': {1: 'a', '1': 'b', None: 1, 2.5: 2, (1, 'x'): 3, date(2026, 1, 1): 4},
        'order': {'b': 1, 'a': 2},
        'tags': {'$tuple': 1},
        'float': [float('nan'), float('inf'), -0.0, 1e-320, 0.1],
        'ints': [2**53 + 1, -2**63 - 1, 10**300, 0],
        'true': True,
        'none': None,
        'utc': datetime(2026, 11, 1, tzinfo=timezone.utc),
        'zone UTC': [datetime(2026, 11, 1, tzinfo=ZoneInfo('UTC'))],
        'zones': [datetime(2026, 11, 1, 10, tzinfo=z)
                  for z in (berlin, york, timezone.utc, timezone(timedelta(hours=2)), None)],
        'twice an hour': [datetime(2026, 10, 25, 2, 30, tzinfo=berlin, fold=f) for f in (0, 1)],
        'no such hour': [datetime(2026, 3, 29, 2, 30, tzinfo=berlin, fold=f) for f in (0, 1)],
        'the last moment': datetime(9999, 12, 31, 23, 59, 59, 999999, york),
        'the first': datetime.min.replace(tzinfo=tokyo),
        'naive ends': [datetime.min, datetime.max],
        'date': [date.min, date.max],
        'time': [time(1, 2, 3, 4), time(9, tzinfo=timezone.utc), time(9, tzinfo=berlin)],
        'timedelta': [timedelta(-1, 1), timedelta.max],
        'decimal': [Decimal('1.50'), Decimal('-0'), Decimal('NaN'), Decimal('1E+9')],
        'uuid': UUID(int=1),
        'complex': [complex(-0.0, 1), 1j],
        'deep': deep(150),
        'empty': [{}, [], (), set(), ''],
        'a tuple': (1,),
        'enums': {'level': Level.LOW, 'words': [Word.HI], Word.HI: Side.LEFT, 'both': Flags.A | Flags.B},
        'one of an enum': [Word.HI, Level.LOW],
        'named tuples': {'p': Point(1, (2, Point(3, 4)))},
        'kinds of dicts': [OrderedDict(b=1, a=2), Counter('aab'), defaultdict(list, a=[1]), defaultdict(None, {1: 2})],
        'an ordered dict': OrderedDict(b=1, a=2),
        'a counter': Counter('aab'),
        'deque and range': [deque([1, (2,)], maxlen=3), deque(), range(1, 9, 2)],
        'paths': {'p': PurePosixPath('a/b'), 'w': PureWindowsPath('c:/d'), 'here': Path('x')},
        'a named zone': [datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1), 'CET'))],
        'a fold': datetime(2026, 1, 1, fold=1),
        'times of a day': [time(9, tzinfo=timezone(timedelta(hours=1), 'CET')), time(1, fold=1)],
        'values of libraries': [pd.Timedelta(1, 'h'), pd.Period('2026-01', 'M'), pd.NaT, pd.NA, pd.Interval(0, 1.5),
                                pd.Timestamp(1), pd.Timestamp(1, tz='Europe/Berlin'), np.datetime64('2026', 'Y'),
                                np.timedelta64(5, 'ms'), np.datetime64('NaT', 's')],
        'a period': pd.Period('2026-01', 'M'),
        'a duration': pd.Timedelta(1, 'h'),
    },
    'text': {
        'lines': 'grüße\r\n\0\U0001f600',
        'empty': '',
        'long': 'ü\n' * 50_000,
    },
    'bytes': {
        'all': bytes(range(256)),
        'empty': b'',
        'long': bytes(range(256)) * 400,
    },
    'npy': {
        'big-endian': np.arange(6, dtype='>i4').reshape(2, 3),
        'nan': np.array([np.nan, -0.0, np.inf]),
        'times': np.array(['2026-01-01', 'NaT'], 'M8[s]'),
        'text': np.array(['a', 'ü']),
        'scalar': np.array(3.5),
        'none': np.zeros((0, 3)),
        'records': np.array([(1, 2.5)], dtype=[('a', 'i4'), ('b', '<f8', (2,))]),
        'large': np.arange(2_000_000.0),
        'fortran': np.asfortranarray(np.ones((3, 4))),
        'complex': np.array([complex(-0.0, np.nan)]),
    },
    'pandas': {
        'range of columns': pd.DataFrame(np.zeros((2, 3))),
        'range by two': pd.DataFrame(np.zeros((2, 3)), columns=pd.RangeIndex(2, 8, 2, name='c')),
        'label dates': pd.DataFrame(np.zeros((1, 3)), columns=pd.date_range('2026', periods=3)),
        'zones': pd.DataFrame({
            'a': pd.date_range('2026', periods=3, tz='Europe/Berlin'),
            'b': pd.date_range('2026', periods=3, tz='UTC'),
            'c': pd.date_range('2026', periods=3, tz=timezone(timedelta(hours=2)))
        }),
        'missing': pd.DataFrame({
            'n': obj(None, 'a'),
            'nan': obj(np.nan, 'a'),
            'na': obj(pd.NA, 'a'),
            'nat': obj(pd.NaT, pd.Timestamp('2026')),
            'i': pd.array([None, 1], 'Int64'),
            'f': [np.nan, -0.0]
        }),
        'objects': pd.DataFrame({
            'l': obj([1, 2], None),
            'd': obj({'a': 1}, {'a': 2}),
            'u': obj(UUID(int=1), None),
            'b': obj(b'', b'\xff'),
            'day': obj(date(2026, 1, 1), date.max),
            'dec': obj(Decimal('1.5'), Decimal('-2.5'))
        }),
        'categories': pd.DataFrame({
            'c': pd.Categorical(['b', None], ['c', 'b'], ordered=True),
            'i': pd.Categorical([3, 1], [3, 2, 1])
        }),
        'attrs': pd.DataFrame({'a': [1]}).set_axis(['x'], axis=1),
        'index': pd.DataFrame({'a': [1, 2, 3]}, index=pd.date_range('2026', periods=3, freq='D', name='day')),
        'range index': pd.DataFrame({'a': range(3)}, index=pd.RangeIndex(5, 11, 2, name='r')),
        'levels': pd.DataFrame({'a': [1, 2]}, index=pd.MultiIndex.from_tuples([('x', 1), ('y', 2)], names=['k', None])),
        'empty': pd.DataFrame({'a': pd.Series(dtype='float64'), 'b': pd.Series(dtype=object)}),
        'series': pd.Series([1.5, None], name=('a', 1)),
        'height only': pd.DataFrame(index=range(2, 8, 2)),
        'transposed': sales.T,
        'pivoted': sales.pivot_table(index='d', columns=['c', pd.cut(sales['v'], 2)], values='v', observed=True),
        'unstacked': sales.groupby(['c', 'd'], observed=True)[['v']].agg(['sum', 'mean']).unstack(),
        'a JSON column': pd.DataFrame({
            'j': obj({'a': 1}, {'b': [2, 'x', None]}, None, {}),
            'l': obj([1, 'a'], [], None, [[2.5]])
        }),
        'mixed': pd.DataFrame({'a': [1, 'x', 2.5, True, None, float('nan'), (1, 2), {3}, 2**70, b'x']},
                              index=['x', 1, 2.5, None, *'abcdef']),
        'zones of rows': pd.DataFrame({'a': mixed, 'l': obj(mixed.tolist(), None), 't': obj(time(1, tzinfo=utc), 5)}),
        'values of pandas': obj(pd.Timestamp('2026-03-01', tz='Europe/Berlin'), pd.Timestamp(1), pd.NaT,
                                pd.Timedelta(1, 'h'), pd.NA, pd.Period('2026-01', 'M')),
        'enums': pd.DataFrame({'a': obj(Word.HI, Level.LOW, None)}),
        'several sorts of missing': pd.DataFrame({
            'a': obj(None, np.nan, pd.NA, 'x'),
            't': obj(None, np.nan, pd.NaT, 1)
        }),
        'category labels': pd.DataFrame([[1]], columns=pd.CategoricalIndex(['x'], ['y', 'x'], ordered=True, name='c')),
        'category levels': pd.DataFrame([[1, 2]],
                                        columns=pd.MultiIndex.from_arrays([pd.Categorical(['x', 'y']), [1, 2]])),
        'span labels': pd.DataFrame(np.eye(2), columns=pd.interval_range(0, 2)),
        'month labels': pd.DataFrame(np.eye(2), columns=pd.period_range('2026', periods=2, freq='M', name='m')),
        'duration labels': pd.DataFrame(np.eye(2), columns=pd.to_timedelta([1, 2], 'h')),
        'text of Python': pd.DataFrame({
            'n': pd.array(['x', None], dtype=pd.StringDtype('python', na_value=np.nan)),
            'p': pd.array(['x', None], dtype=pd.StringDtype('python'))
        }),
        'an index only': pd.DataFrame(index=pd.Index(['a', 'b'], name='k')),
        'no name': pd.Series(['x', 'y']),
        'periods': pd.Series(pd.period_range('2026-01', periods=3, freq='M')),
        'large': pd.DataFrame({
            'i': np.arange(30_000),
            's': np.where(np.arange(30_000) % 7, 'a', 'b'),
            't': pd.date_range('2026', periods=30_000, freq='min', tz='Europe/Berlin'),
            'c': pd.Categorical(np.arange(30_000) % 5),
            'o': obj(*['x'] * 29_999, None)
        }),
        'arrow types': pd.DataFrame({
            'a': pd.array([1, None], 'int32[pyarrow]'),
            'l': pd.array([[1], None], pd.ArrowDtype(pa.list_(pa.int8())))
        }),
        'nan and NA': pd.DataFrame({
            'a': pd.array(pa.array([1.0, float('nan'), None]), dtype=pd.ArrowDtype(pa.float64()))
        }),
    },
    'polars': {
        'no name': pl.Series([1, 2]),
        'unnamed column': pl.DataFrame({'': [1, 2], 'a': [3, 4]}),
        'zones': pl.DataFrame({
            'a': pl.Series([datetime(2026, 1, 1)], dtype=pl.Datetime('ms', 'Europe/Berlin')),
            'e': pl.Series(['x'], dtype=pl.Enum(['x', 'y'])),
            'c': pl.Series(['x'], dtype=pl.Categorical)
        }),
        'values': pl.DataFrame({
            'f': [float('nan'), None, -0.0],
            'd': [Decimal('1.50'), None, None],
            't': [time(1), None, None],
            'l': [[1], [], None],
            's': [{'a': 1}, None, {'a': 2}]
        }),
        'empty': pl.DataFrame(),
        'height only': pl.DataFrame(height=3),
        'large': pl.DataFrame({'i': range(30_000), 's': ['x', None] * 15_000}),
    },
    'arrow': {
        'metadata': tagged(pa.table({
            'a': pa.array([1.0, float('nan'), None]),
            'd': pa.array(['x', 'y', 'x']).dictionary_encode()
        })),
        'types': pa.table({
            's': pa.array([1, None], pa.timestamp('s', 'UTC')),
            'v': pa.array(['a', None], pa.string_view()),
            'm': pa.array([[('k', 1)], None], pa.map_(pa.string(), pa.int8())),
            'z': pa.nulls(2),
            'l': pa.array([[[1]], None]),
            'sl': pa.array([{'a': [1], 'b': {'c': ['x']}}, None]),
            'ml': pa.array([[('k', [1])], None], pa.map_(pa.string(), pa.list_(pa.int8()))),
            'fl': pa.array([[1, 2], None], pa.list_(pa.int8(), 2)),
            'll': pa.array([[1], None], pa.large_list(pa.field('own', pa.int8())))
        }),
        'no nulls': pa.table([pa.array([1])],
                             pa.schema([pa.field('a', pa.int64(), nullable=False, metadata={'u': 'm'})])),
        'batch': pa.RecordBatch.from_pydict({'a': [1, None]}),
        'large': pa.table({'i': pa.array(range(50_000)), 's': pa.array(['x', None] * 25_000)}),
    },
    'skops': {
        'plain': make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y),
        'forest': RandomForestClassifier(3, random_state=0).fit(X, y),
        'boosted': GradientBoostingClassifier(n_estimators=3).fit(X, y),
        'own function': FunctionTransformer(square).fit(X),
        'words': TfidfVectorizer(tokenizer=split, token_pattern=None).fit(['a b', 'c']),
    },
    'safetensors': {
        'state': dict(torch.nn.Linear(3, 2).state_dict()),
        'tensor': torch.tensor([1.5, float('nan'), -0.0]),
        'bf16': {'a': torch.ones(2, dtype=torch.bfloat16)},
        'arrays': {'b': np.arange(3, dtype='i1'), 'a': np.array([np.nan, -0.0])},
    },
    'png': {
        'turned': turned(),
        'of a camera': camera(),
        'told': turned(dpi=(300.0, 300.0), comment='café', icc_profile=b'x' * 200),
        'palette': Image.linear_gradient('L').resize((6, 6)).convert('RGB').quantize(9),
        'grey': Image.linear_gradient('L').resize((3, 3)),
    },
}

# by as_
whole = {'set later': (run(), Run), 'none where a list is': (run(tags=None, folder=Path('a/b')), Run),
         'listed': (run(tags=['a']), Run), 'model': (Setup(tags={'x', 'y'}), Setup)}

# What comes back as the Python value that it equals, on purpose
described = sales.describe(include='all')
on_purpose = {'described': (described, described.map(lambda v: v.item() if isinstance(v, np.generic) else v)),
              'float64': (np.float64(0.1), 0.1), 'int64': ({'n': np.int64(3)}, {'n': 3}),
              'bool': ([np.bool_(True)], [True]),
              'stamp': ([pd.Timestamp('2026-01-01', tz='Europe/Berlin')], [datetime(2026, 1, 1, tzinfo=berlin)]),
              'bytearray': (bytearray(b'x'), b'x'), 'str_': (np.str_('x'), 'x')}

# What is refused: name: (value, the remedy that the refusal names, a word that it says)

Own = enum.Enum('Own', 'A', module='__main__')
OwnNumber = enum.IntEnum('OwnNumber', 'A', module='__main__')
OwnPoint = namedtuple('OwnPoint', 'x y', module='__main__')
class Attr(dict): __getattr__ = dict.__getitem__
class Text(str): pass
class Number(int): pass
class Ratio(float): pass
class Rows(list): pass
class Raw(bytes): pass
class Frame(pd.DataFrame): pass

@dataclasses.dataclass
class Any1:
    where: str | Path
@dataclasses.dataclass
class Any2:
    what: dict | Run
class Hidden(pydantic.BaseModel):
    a: int = 1
    b: int = pydantic.Field(2, exclude=True)
class Private(pydantic.BaseModel):
    a: int = 1
    _seen: int = pydantic.PrivateAttr(0)
class Login(pydantic.BaseModel): password: pydantic.SecretStr
class Alias(pydantic.BaseModel): a: int = pydantic.Field(1, alias='A')

def seen():
    m = Private()
    m._seen = 5
    return m
def more():
    r = Run('a')
    r.late = 1
    return r
def flagged(df): return df.set_flags(allows_duplicate_labels=False)
def with_attrs(df, **attrs): df.attrs = attrs; return df
def shorter(df): return df.rename(columns={'a': 'b'})
class Param(BaseEstimator):
    def __init__(self, p=None): self.p = p
    def fit(self, X, y=None): return self


refused = {
    'json': {
        'enum of a notebook': ({'a': Own.A}, lambda v: {'a': v['a'].value}, r"\['a'\].*\.value"),
        'number of a notebook': ([OwnNumber.A], lambda v: [v[0].value], r'\[0\].*\.value'),
        'tuple of a notebook': ([OwnPoint(1, 2)], lambda v: [v[0]._asdict()], '_asdict'),
        'a dict that makes objects': ({'a': defaultdict(Path)}, lambda v: {'a': dict(v['a'])}, r'dict\(\)'),
        'attributes': ([Attr(a=1)], lambda v: [dict(v[0])], r'dict\(\)'),
        'str': ({'a': Text('x')}, lambda v: {'a': str(v['a'])}, r'str\(\)'),
        'text key': ({Text('a'): 1}, lambda v: {str(k): x for k, x in v.items()}, 'key'),
        'int': ([Number(1)], lambda v: [int(v[0])], r'int\(\)'),
        'float': ([Ratio(1)], lambda v: [float(v[0])], r'float\(\)'),
        'list': ({'r': Rows([1])}, lambda v: {'r': list(v['r'])}, r'list\(\)'),
        'a subclass in a field': (Setup(sub=More()), lambda v: v.model_dump(mode='json'), r"\['sub'\].*model_dump"),
        'exclude': (Hidden(b=5), lambda v: v.model_dump(mode='json'), r"\['b'\].*model_dump"),
        'private': (seen(), lambda v: v.model_dump(mode='json'), r'_seen.*model_dump'),
        'secret': (Login(password='hunter2'), lambda v: v.model_dump(mode='json'), 'password.*model_dump'),
        'alias': (Alias(A=5), lambda v: v.model_dump(mode='json'), 'model_dump'),
        'zone in a model': (Setup(at=datetime(2026, 1, 1, tzinfo=berlin)),
                            lambda v: v.model_copy(update={'at': v.at.astimezone(utc)}),
                            'zone'),
        'first arm takes anything': (Any1(Path('a')), lambda v: Any1(str(v.where)), 'where'),
        'a dict first': (Any2(run()), lambda v: {'what': dataclasses.asdict(run(folder=None))}, r'asdict'),
        'set outside': (more(), dataclasses.asdict, 'late.*asdict'),
        'surrogate': ({'a': '\ud800'},
                      lambda v: {'a': v['a'].encode('utf-8', 'surrogatepass')},
                      'surrogate.*surrogatepass'),
    },
    'text': {
        'subclass': (Text('x'), str, r'str\(\)'),
        'surrogate': ('\ud800', lambda v: v.encode('utf-8', 'surrogatepass'), 'surrogatepass'),
    },
    'bytes': {
        'subclass': (Raw(b'x'), bytes, r'bytes\(\)'),
    },
    'npy': {
        'metadata': (np.zeros(2, np.dtype('i4', metadata={'a': 1})), lambda a: a.astype(a.dtype.str), 'astype'),
        'metadata of records': (np.zeros(2, np.dtype([('a', 'i4')], metadata={'a': 1})),
                                lambda a: a.astype(a.dtype.descr),
                                'descr'),
        'matrix': (np.matrix([[1]]), np.asarray, 'asarray'),
        'objects': (np.array([1, 'x'], dtype=object), lambda a: a.tolist(), 'list'),
    },
    'pandas': {
        'subclass of str': (pd.DataFrame({'a': obj('x', Text('y'))}),
                            lambda df: df.assign(a=df['a'].map(str)),
                            r"'a'.*row 1.*map\(str\)"),
        'flags': (flagged(pd.DataFrame({'a': [1]})),
                  lambda df: df.set_flags(allows_duplicate_labels=True),
                  'set_flags'),
        'attrs': (with_attrs(pd.DataFrame({'a': [1]}), o=Text('x')),
                  lambda df: with_attrs(df.copy(), o=str(df.attrs['o'])),
                  r"\['attrs'\]\['o'\].*str\(\)"),
        'class': (Frame({'a': [1]}), pd.DataFrame, r'pd\.DataFrame'),
        'sparse': (pd.DataFrame({'a': pd.arrays.SparseArray([0, 1])}), lambda df: df.sparse.to_dense(), 'to_dense'),
        'late': (pd.DataFrame({'a': obj(*['x'] * 30_000, Text('y'))}),
                 lambda df: df.assign(a=df['a'].map(str)),
                 'row 30000'),
    },
    'polars': {
        'object': (pl.DataFrame({'o': [object()]}),
                   lambda df: df.with_columns(pl.Series('o', [str(x) for x in df['o']])),
                   r"with_columns\(pl\.Series\('o'"),
        'wide int': (pl.DataFrame({'a': pl.Series([1], dtype=pl.Int128)}),
                     lambda df: df.cast({'a': pl.Int64}),
                     r"df\.cast\(\{'a': pl\.Int64"),
    },
    'arrow': {
        'our own key': (pa.table({'a': [1]}).replace_schema_metadata({'objectstore': '{}', 'x': 'y'}),
                        lambda t: t.replace_schema_metadata({'x': 'y'}),
                        'replace_schema_metadata'),
    },
    'skops': {
        'str.split': (TfidfVectorizer(tokenizer=str.split),
                      lambda m: TfidfVectorizer(tokenizer=split),
                      'found again.*module'),
        'an enum in a parameter': (Param(Word.HI), lambda m: Param(m.p.value), r"\['p'\].*\.value"),
        'lambda': (FunctionTransformer(lambda x: x), lambda m: FunctionTransformer(square), 'name in a module'),
    },
    'safetensors': {
        'attributes': (Attr(a=np.ones(2)), dict, r'dict\(\)'),
    },
    'png': {
        'a text whose name PNG cannot hold': (turned(**{'ключ': 'x'}),
                                              lambda im: Image.fromarray(np.asarray(im)),
                                              'fromarray'),
    },
}
