"""A codec of one's own: what it says and answers is looked at before anything is written; without it the bytes are
there"""
import math, subprocess, sys, textwrap
import pytest
from objectstore import Codec, Damaged, ObjectStore, Unsupported, register_codec
from objectstore.codecs import codec
from objectstore.codecs.codec import by_name, codec_for, raw

class Curve:
    def __init__(self, points): self.points = points

class CurveCodec(Codec):
    name, suffix = 'lab-curve', '.crv'
    def accepts(self, obj): return isinstance(obj, Curve)
    def encode(self, obj, file): file.write(bytes(obj.points)); return {}
    def load(self, source, how): return Curve([*raw(source)])

@pytest.fixture
def registry(monkeypatch): monkeypatch.setattr(codec, '_codecs', [*codec._codecs])

def made(**says): return type('CurveCodec', (CurveCodec,), says)

UP = '/' + '../' * 30
SUFFIXES = [None, 3, '.\0', '.x\n', '.' + 'x' * 300, 'crv', '.', '..', '.a/b', '.a\\b', '.é']

@pytest.mark.parametrize('suffix', [UP + 'tmp/ESCAPED.txt', *SUFFIXES])
def test_a_suffix_is_an_extension(registry, suffix):
    with pytest.raises(Unsupported, match='suffix of codec .lab-curve.*a dot, then letters'):
        register_codec(made(suffix=suffix))

@pytest.mark.parametrize('suffix', ['', '.crv', '.tar.gz', '.h5_v-2', '.' + 'x' * 19])
def test_a_plain_extension_is_none_or_one(registry, suffix): register_codec(made(suffix=suffix))

def test_a_suffix_that_changes_later_leads_nowhere_else(registry, tmp_path, monkeypatch):
    monkeypatch.setenv('OBJECTSTORE_CACHE_DIR', str(tmp_path/'cache'))
    mine = made()()
    register_codec(mine)
    store = ObjectStore(str(tmp_path/'s'))
    v = store.put('lab/c', Curve([1]))
    assert v.path().name == 'c.crv'
    for suffix in UP + str(tmp_path/'ESCAPED.txt').lstrip('/'), *SUFFIXES:
        mine.suffix = suffix
        assert v.file_name == v.path().name == 'c'
        with pytest.raises(Unsupported, match='suffix'): store.put('lab/c', Curve([2]))
    assert not (tmp_path/'ESCAPED.txt').exists() and v.version == store['lab/c'].version

@pytest.mark.parametrize('says', [dict(kind=['data']), dict(kind=''), dict(form='line'), dict(variable='my curve'),
                                  dict(variable='class'), dict(name=None)])
def test_what_a_codec_says_of_itself_has_a_meaning(registry, says):
    with pytest.raises(Unsupported, match=f'{next(iter(says))} (of|a) codec'): register_codec(made(**says))

WRONG = [(None, 'returns a NoneType'), ([1], 'returns a list'), ({'peak': math.nan}, "'peak'.* is nan"),
         ({'peak': {'kev': math.inf}}, r"\['peak'\]\['kev'\] is inf"), ({'peak': object()}, "'peak'.* is a object"),
         ({'peak': '\ud800'}, "'peak'.*surrogate"), ({(1, 2): 3}, 'keys are text')]

@pytest.mark.parametrize('method', ['stats', 'encode'])
@pytest.mark.parametrize('said, words', WRONG)
def test_an_answer_that_no_record_can_hold_stores_nothing(registry, method, said, words):
    register_codec(made(**{method: lambda self, *args: said}))
    store = ObjectStore('memory://')
    with pytest.raises(Unsupported, match=f'(?s)`{method}` of codec .lab-curve.*{words}'):
        store.put('lab/c', Curve([1]))
    assert 'lab/c' not in store and not store.origin.bucket('lab').numbers('c').made

def test_a_file_that_is_closed_is_said(registry):
    register_codec(made(encode=lambda self, obj, file: file.close() or {}))
    with pytest.raises(Unsupported, match='`encode` of codec .lab-curve. closes the file'):
        ObjectStore('memory://').put('lab/c', Curve([1]))

def test_numbers_of_numpy_are_numbers(registry):
    np = pytest.importorskip('numpy')
    def stats(self, obj): return {'n': np.int64(3), 'of': [np.bool_(True), {'mean': np.float32(0.5)}], 't': (1, 2)}
    register_codec(made(stats=stats, encode=lambda self, obj, file: file.write(b'\1') and {'n': np.int8(7)}))
    v = ObjectStore('memory://').put('lab/c', Curve([1]))
    assert dict(v.stats) == {'n': 3, 'of': [True, {'mean': 0.5}], 't': [1, 2]} and v._record.how == {'n': 7}
    register_codec(made(stats=lambda self, obj: {'counts': np.arange(3)}))
    with pytest.raises(Unsupported, match="'counts'.*numpy.ndarray"):
        ObjectStore('memory://').put('lab/c', Curve([1]))

def test_a_record_that_nobody_can_read_is_removed(registry, monkeypatch):
    "As an older program may have written it, which looked at no answer"
    register_codec(made(stats=lambda self, obj: None))
    monkeypatch.setattr('objectstore.store.writes.described', lambda c, obj: c.stats(obj))
    store = ObjectStore('memory://')
    with pytest.raises(Damaged): store.put('lab/c', Curve([1]))
    assert store.remove('lab/c@1') == 1 and 'lab/c' not in store
    with pytest.raises(Damaged): store.put('lab/d', Curve([1]))
    monkeypatch.undo()
    assert store.remove('lab/d@*') == 1 and 'lab/d' not in store

def test_the_bytes_need_no_codec(registry, tmp_path):
    "In another process, which has not registered it"
    def encode(self, obj, file): file.write(bytes(obj.points)); return {'name': 'first.crv'}
    register_codec(made())
    store = ObjectStore(str(tmp_path/'s'))
    store.put('lab/c', Curve([1, 2]))
    store.put('lab/large', Curve([7] * 100_000))
    register_codec(type('NamedCodec', (CurveCodec,), dict(name='lab-named', encode=encode)))
    store.put('lab/named', Curve([3]), codec='lab-named')
    done = subprocess.run([sys.executable, '-c', textwrap.dedent(f"""
        from objectstore import ObjectStore, Unsupported
        store = ObjectStore({str(tmp_path/'s')!r})
        assert store.get('lab/c', as_='bytes') == store.get('lab/c', as_=bytes) == bytes([1, 2])
        assert store.get('lab/large', as_='bytes') == bytes([7]) * 100_000
        assert store['lab/c'].path().read_bytes() == bytes([1, 2]) and store['lab/c'].open().read() == bytes([1, 2])
        assert store['lab/named'].file_name == store['lab/named'].path().name == 'first.crv'
        try: store.get('lab/c')
        except Unsupported as e: assert "codec 'lab-curve', which is not known" in str(e)
        else: assert False
    """)], capture_output=True, text=True, env={'PATH': '', 'HOME': str(tmp_path)}, timeout=300)
    assert done.returncode == 0, done.stderr

def test_the_codec_is_mended_and_not_the_object(registry):
    register_codec(made(load=lambda self, source, how: Curve([])))
    store = ObjectStore('memory://')
    with pytest.raises(Unsupported, match='Mend `encode` or `load` of lab-curve'): store.put('lab/c', Curve([1]))
    register_codec(made(load=lambda self, source, how: 1 / 0))
    with pytest.raises(Unsupported, match='(?s)Mend `encode` or `load` of lab-curve.*ZeroDivisionError'):
        store.put('lab/c', Curve([1]))

def test_a_codec_is_named(registry):
    register_codec(CurveCodec)
    for given in CurveCodec, CurveCodec():
        with pytest.raises(Unsupported, match="give its name, codec='lab-curve'"):
            ObjectStore('memory://').put('lab/c', Curve([1]), codec=given)
    for ask in (lambda: by_name('lab-curv')), (lambda: codec_for(Curve([1]), 'lab-curv')):
        with pytest.raises(Unsupported, match=r"did you mean 'lab-curve'\? Known: "): ask()
