"Schemas of pandera: every check comes back, or the put is refused"
import pytest
pa = pytest.importorskip('pandera.pandas', reason='pandera is not installed: pip install pandera')
import pandas as pd
from objectstore import ObjectStore, Unsupported
from objectstore.codecs.expectations import PanderaCodec, schema_difference, told_schema
from objectstore.testing.codec_suite import CodecConformance

pytestmark = pytest.mark.filterwarnings('ignore')

rich = pa.DataFrameSchema({'id': pa.Column(int, pa.Check.gt(0), unique=True),
                           'sex': pa.Column('category', pa.Check.isin(['f', 'm']), nullable=True),
                           'born': pa.Column('datetime64[ns, UTC]', required=False),
                           'x_.*': pa.Column(float, pa.Check.in_range(0, 1), regex=True),
                           'name': pa.Column(str,
                                             [pa.Check.str_matches('^[a-z]+$', error='small letters'),
                                              pa.Check.str_length(1, 20)], title='Name', description='As they sign',
                                             default='nobody')}, index=pa.Index(int, pa.Check.ge(0), name='row'),
                          strict=True, coerce=True, ordered=True, name='people', unique=['id', 'sex'])
levels = pa.DataFrameSchema({'a': pa.Column(float)},
                            index=pa.MultiIndex([pa.Index(str, name='k'), pa.Index(int, name='n')]))
kept = {'rich': rich, 'levels': levels, 'nothing': pa.DataFrameSchema({}), 'of a model': None}

class People(pa.DataFrameModel):
    age: int = pa.Field(ge=0, le=120)
kept['of a model'] = People.to_schema()
lost = {'a lambda': pa.DataFrameSchema({'a': pa.Column(int, [pa.Check.gt(0), pa.Check(lambda s: s < 9)])}),
        'of the whole': pa.DataFrameSchema({'a': pa.Column(int)}, checks=pa.Check(lambda df: df.a > 0)),
        'of the index': pa.DataFrameSchema({}, index=pa.Index(int, pa.Check(lambda s: s > 0))),
        'a parser': pa.DataFrameSchema({'a': pa.Column(int, parsers=pa.Parser(abs))}),
        'metadata': pa.DataFrameSchema({'a': pa.Column(int, metadata={'unit': 'mm'})}),
        'a class': People, 'a series': pa.SeriesSchema(float, pa.Check.gt(0))}

def differs(a, b): return schema_difference(told_schema(a), told_schema(b))

class TestPandera(CodecConformance):
    codec, values, refused, differs = PanderaCodec(), kept, lost, staticmethod(differs)

class TestPolars(CodecConformance):
    pp = pytest.importorskip('pandera.polars', reason='polars is not installed')
    codec, differs = PanderaCodec(), staticmethod(differs)
    values = {'numbers': pp.DataFrameSchema({'a': pp.Column(int, pp.Check.gt(0)), 'b': pp.Column(float, nullable=True)},
                                            strict=True)}
    refused = {'a lambda': pp.DataFrameSchema({'a': pp.Column(int, pp.Check(lambda d: d.lazyframe.select(True)))})}

def test_it_still_checks_after_the_journey(tmp_path):
    store = ObjectStore(tmp_path/'store', progress=False)
    v = store.put('lab/people', rich)
    assert (v.kind, v.codec, v.stats['checks']) == ('expectation', 'pandera', 5)
    back = ObjectStore(tmp_path/'store', progress=False).get(v.ref)
    row = {'id': 1, 'sex': 'f', 'x_1': 0.5, 'name': 'ana'}
    good = pd.DataFrame([row], index=pd.Index([0], name='row')).astype({'sex': 'category'})
    good['sex'] = good['sex'].cat.set_categories(['f', 'm'])
    for bad in dict(id=0), dict(x_1=2.0), dict(name='ANA'): 
        with pytest.raises(pa.errors.SchemaError): back.validate(good.assign(**bad))

@pytest.mark.parametrize('name', lost)
def test_what_would_be_lost_is_refused_with_what_and_where(name, tmp_path):
    store = ObjectStore(tmp_path/'store', progress=False)
    with pytest.raises(Unsupported) as e: store.put('lab/people', lost[name])
    said = str(e.value)
    assert {'a lambda': "['checks'] has 2 and would have 1", 'of the whole': "['checks'] has 1 and would have 0",
            'of the index': "['checks']", 'a parser': "['parsers']", 'metadata': "['metadata']",
            'a class': 'put People.to_schema()', 'a series': 'put a DataFrameSchema'}[name] in said, said
    cure = {'a lambda': pa.DataFrameSchema({'a': pa.Column(int, [pa.Check.gt(0), pa.Check.lt(9)])}),
            'a class': People.to_schema(),
            'a series': pa.DataFrameSchema({'s': pa.Column(float, pa.Check.gt(0))})}.get(name)
    if cure is not None: assert not differs(cure, store.put('lab/people', cure).get())

def test_planted_a_writer_that_is_believed_loses_a_check(tmp_path, monkeypatch):
    "What pandera does by itself: two checks in, one back"
    monkeypatch.setattr(PanderaCodec, 'prove', lambda *a: None)
    store = ObjectStore(tmp_path/'store', progress=False)
    assert len(store.put('lab/people', lost['a lambda']).get().columns['a'].checks) == 1
    from objectstore.testing.codec_suite import check_codec
    failed = check_codec(PanderaCodec(), {'lambda': lost['a lambda']}, only='comes_back', differs=differs).failed
    assert failed and 'changed by pandera' in failed[0].why
