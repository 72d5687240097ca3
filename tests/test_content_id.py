"""What a codec writes beside the bytes belongs to the content: two objects of the same bytes are two for whoever asks
whether something has changed"""
import warnings
import pytest
from objectstore import Codec, ObjectStore, register_codec
from objectstore.browser.views import compared
from objectstore.codecs import codec
from objectstore.codecs.codec import raw
from objectstore.tracking import same_answer

pytestmark = pytest.mark.usefixtures('own_cache')

class Reading:
    "A number and its unit"
    def __init__(self, value, unit): self.value, self.unit = value, unit
    def __str__(self): return f'{self.value} {self.unit}'

class ReadingCodec(Codec):
    "The number is the payload, the unit stands in the record"
    name, suffix = 'content-id-reading', '.reading'
    def accepts(self, obj): return type(obj) is Reading
    def encode(self, obj, file): file.write(str(obj.value).encode()); return {'unit': obj.unit}
    def load(self, source, how): return Reading(int(raw(source)), how['unit'])

@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setattr(codec, '_codecs', [*codec._codecs])
    register_codec(ReadingCodec)

PAIRS = {'what stands in the record': (Reading(3, 'mm'), Reading(3, 'cm')), 'the codec': ('a', b'a'),
         'in a bundle': ({'r': Reading(3, 'mm'), 'b': b'x' * 9}, {'r': Reading(3, 'cm'), 'b': b'x' * 9})}

@pytest.fixture(params=PAIRS)
def pair(request): return PAIRS[request.param]

def shown(x): return {k: shown(v) for k, v in x.items()} if hasattr(x, 'items') else (type(x).__name__, str(x))

@pytest.mark.parametrize('asked', ['a ref', 'a version'])
def test_a_calculated_result_is_made_again(pair, asked, tmp_path):
    store = ObjectStore(tmp_path, progress=False)
    @store.calculated('lab/res')
    def res(v=None): return repr(shown(store.get('lab/x') if v is None else v.get()))
    for x in pair:
        v = store.put('lab/x', x)
        assert res(v if asked == 'a version' else None) == repr(shown(x))

def test_nothing_is_taken_for_unchanged(pair, tmp_path):
    store = ObjectStore(tmp_path, progress=False)
    for n, x in enumerate(pair, 1):
        for _ in range(2): assert store.put('lab/x', x, skip_unchanged=True).version == n
        for _ in range(2): assert [v.version for v in store.put_many({'lab/y': x}, skip_unchanged=True)] == [n]
        assert shown(store.get('lab/x')) == shown(store.get('lab/y')) == shown(x)

def test_a_put_of_many_that_repeats_an_item_stores_each(tmp_path):
    store = ObjectStore(tmp_path, progress=False)
    store.put_many([('lab/x', x) for x in PAIRS['the codec']]
                   + [('lab/y', x) for x in PAIRS['what stands in the record']], skip_unchanged=True)
    assert store['lab/x'].version == store['lab/y'].version == 2

def test_a_comparison_says_it(pair, tmp_path):
    store = ObjectStore(tmp_path, progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        a, b = (store.put('lab/x', x) for x in pair)
        assert a.compare(b) and not a.compare(a) and compared(a, b) != compared(a, a)

def test_what_older_versions_of_this_library_noted_is_compared_by_its_bytes():
    assert same_answer('ab', 'ab-12') and same_answer('ab', 'ab') and same_answer(None, None)
    assert not same_answer('ab-12', 'ab-13') and not same_answer('ab', 'ac-12') and not same_answer(None, 'ab-12')
    assert not same_answer('ab-12', None) and not same_answer('ab-12', 'ab')
