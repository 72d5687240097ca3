"""The conformance suite of codecs, on each codec of this library, and on planted ones that it must find wrong"""
import itertools, tempfile
from collections.abc import Mapping
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
import pytest
from hypothesis import HealthCheck, given, settings
from objectstore import Bundle, Codec, ObjectStore, Unsupported
from objectstore.codecs.codec import by_name, codec_for, raw
from objectstore.codecs.equality import difference
from objectstore.testing.codec_suite import (CodecConformance, any_bundle, any_frame, any_json, check_codec, neighbours,
                                             same_or_refused)
for library in 'numpy', 'pandas', 'polars', 'sklearn', 'skops', 'torch', 'safetensors', 'PIL', 'pydantic':
    pytest.importorskip(library, reason=f'{library} is not installed')
import test_codec_kinds as kinds
from objectstore.codecs.models import TorchCodec
from proof_values import kept, told

pytestmark = pytest.mark.filterwarnings('ignore')

def by_what_they_are(a, b): return None if told(a) == told(b) else (told(a)[:200], told(b)[:200])
def some(values, n=5): return dict(itertools.islice(values.items(), n))

FRAMES = 'pandas', 'polars', 'arrow', 'batches'
OURS = {'json': ('json', kept['json'], {}), 'text': ('text', kept['text'], {}), 'bytes': ('bytes', kept['bytes'], {}),
        'npy': ('npy', kept['npy'], {}), 'pandas': ('parquet', kept['pandas'], dict(forms=FRAMES[:1] + FRAMES[2:])),
        'polars': ('parquet', kept['polars'], dict(forms=FRAMES[1:])),
        'arrow': ('parquet', kept['arrow'], dict(forms=FRAMES[2:])),
        'skops': ('skops', kept['skops'], dict(trust=True)),
        'safetensors': ('safetensors',
                        {k: v for k, v in kept['safetensors'].items() if by_name('safetensors').accepts(v)}, {}),
        'tensors': ('tensors', {k: v for k, v in kept['safetensors'].items() if TorchCodec().accepts(v)}, {}),
        'png': ('png', kept['png'], {}), 'pickle': ('pickle', {'a set': {1}, 'a class': dict}, dict(trust=True))}
KINDS = {'scipy-sparse': ('_sparse', ['csr', 'csc', 'coo']), 'numpy-masked': ('_masked', ['plain', 'no mask', 'hard']),
         'netcdf': ('_xarray', ['text', 'objects', 'bool']),
         'networkx': ('_networkx', ['order of neighbours', 'names', 'several edges']),
         'plotly': ('_plotly', ['lines', 'express', 'heat']),
         'altair': ('_altair', ['chart', 'layers', 'side by side']),
         'animation': ('_animation', ['gif', 'clear', 'pages']),
         'pandas-values': ('_pandas', ['text', 'range', 'days']),
         'arrow-ipc': ('_arrow', ['numbers', 'nan', 'chunks'])}

class MadeWhenAsked(Mapping):
    "Values of a library, which is imported by the tests that ask for one and not by all that are collected"
    def __init__(self, maker, names): self.maker, self.names = maker, names
    @cached_property
    def made(self): return getattr(kinds, self.maker)()
    def __getitem__(self, name): return self.made[name]
    def __iter__(self): return iter(self.names)
    def __len__(self): return len(self.names)

def suite(name, codec, values, more):
    "A class of tests for one codec"
    return type(f'Test_{name.replace("-", "_")}', (CodecConformance,),
                dict(codec=TorchCodec() if codec == 'tensors' else by_name(codec), values=values,
                     __module__=__name__,
                     **({'differs': staticmethod(by_what_they_are)} if name in kept
                        and name not in ('npy', 'skops', 'png') else {}), **more))

for name, (codec, values, more) in OURS.items():
    made = suite(name, codec, some(values), more)
    globals()[made.__name__] = made
for name, asked in KINDS.items():
    made = suite(name, name, MadeWhenAsked(*asked), {})
    globals()[made.__name__] = made
del made

# ---- planted

moment = {'utc': datetime(2026, 1, 1, 9, tzinfo=timezone.utc), 'plain': datetime(2026, 1, 1)}

class NoZone(Codec):
    "Moments without their zone, which it takes for the same"
    name = 'planted-no-zone'
    def accepts(self, obj): return isinstance(obj, datetime)
    def encode(self, obj, file): file.write(obj.replace(tzinfo=None).isoformat().encode()); return {}
    def load(self, source, how): return datetime.fromisoformat(raw(source).decode())
    def prove(self, obj, source, how): return None

class Unreadable(NoZone):
    "What it writes it cannot read"
    name = 'planted-unreadable'
    def load(self, source, how): return datetime.fromisoformat(raw(source).decode() + '?')

class OnlyInMemory(NoZone):
    "It cannot read a file"
    name = 'planted-in-memory'
    def encode(self, obj, file): file.write(obj.isoformat().encode()); return {}
    def load(self, source, how): return datetime.fromisoformat(source.decode())

class Restless(NoZone):
    "Other bytes each time"
    name, count = 'planted-restless', itertools.count()
    def encode(self, obj, file): file.write(obj.isoformat().encode() + b' ' * next(self.count)); return {}
    def load(self, source, how): return datetime.fromisoformat(raw(source).decode().strip())

class Greedy(NoZone):
    "It takes what is not its own, and asks it what it does not know"
    name = 'planted-greedy'
    def accepts(self, obj): return obj.year > 0

class Careless(NoZone):
    "An error of its own for a payload that is damaged, and facts that are no JSON"
    name = 'planted-careless'
    def encode(self, obj, file): file.write(b'x'); return {'moment': obj}

@pytest.mark.parametrize('codec, test, words', [
    (NoZone, 'comes_back', 'changed by planted-no-zone, read fresh'), (NoZone, 'beside', 'in a zone: changed by'),
    (Unreadable, 'comes_back', 'cannot be read back'), (OnlyInMemory, 'comes_back', 'cannot be read back'),
    (Restless, 'written_again', 'different bytes'), (Greedy, 'beside', 'AttributeError'),
    (Careless, 'comes_back', 'JSON')])
def test_a_planted_fault_is_found(codec, test, words):
    failed = check_codec(codec(), moment, only=test).failed
    assert failed and words in failed[0].why, failed

def test_with_its_own_proof_a_put_refuses_the_same():
    "What the suite finds before, the proof finds at the put"
    class Proved(NoZone): prove = Codec.prove
    class Broken(Unreadable): prove = Codec.prove
    with tempfile.TemporaryDirectory() as d:
        for codec in Proved(), Broken(): assert same_or_refused(codec, moment['utc'], Path(d)) == 'refused'
    assert 'refused' in check_codec(Proved(), moment, only='comes_back').failed[0].why

def test_a_mapped_copy_that_changes_is_found(tmp_path, monkeypatch):
    import objectstore.testing.codec_suite as module
    import pandas as pd
    df = pd.DataFrame({'a': [1, 2]})
    assert same_or_refused(codec_for(df), df, tmp_path) == 'same'
    monkeypatch.setattr(module, 'mapped', lambda *a, **kw: df.astype('float64'))
    with pytest.raises(AssertionError, match='changed by parquet, read mapped'):
        same_or_refused(codec_for(df), df, tmp_path)

# ---- any value that there can be

ANY = settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))

@ANY
@given(any_json())
def test_any_json(value):
    with tempfile.TemporaryDirectory() as d: same_or_refused(by_name('json'), value, Path(d), by_what_they_are)

@pytest.mark.parametrize('library', ['pandas', 'polars', 'arrow'])
def test_any_frame(library):
    became = []
    @ANY
    @given(any_frame(library))
    def keeps(df):
        with tempfile.TemporaryDirectory() as d: became.append(same_or_refused(codec_for(df), df, Path(d)))
    keeps()
    assert became.count('same') > len(became) / 2

@ANY
@given(any_bundle())
def test_any_bundle(value):
    store = ObjectStore('memory://')
    try: v = store.put('lab/all', value)
    except Unsupported: return
    back = v.get()
    if isinstance(back, Bundle): back = back.load()
    assert difference(value, back) is None

def test_every_neighbour_is_the_same_or_refused_by_whoever_takes_it(tmp_path):
    "The whole table through the codec that a put would choose"
    became, wrong = [], []
    for name, obj in neighbours().items():
        try: codec = codec_for(obj)
        except Unsupported: became.append('refused'); continue
        try: became.append(same_or_refused(codec, obj, tmp_path))
        except AssertionError as e: wrong.append(f'{name}: {e}')
    assert not wrong and became.count('same') > 45, (wrong, became)

def test_a_panic_of_a_library_is_a_refusal(tmp_path, monkeypatch):
    "A name that Polars cannot hand to Arrow; and any panic below a codec"
    import polars as pl
    df = pl.DataFrame({'a\0b': [1]})
    with pytest.raises(Unsupported, match='NUL.*rename'): ObjectStore('memory://').put('lab/x', df)
    fine = df.rename(lambda c: c.replace(chr(0), ''))
    assert same_or_refused(codec_for(fine), fine, tmp_path) == 'same'
    class PanicException(BaseException): pass
    class Panics(NoZone):
        def encode(self, obj, file): raise PanicException('unwrap on None')
    assert same_or_refused(Panics(), moment['utc'], tmp_path) == 'refused'
