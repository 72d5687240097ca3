"""Backends and codecs of others: registered in a process, or brought by an installed package; the example of the
tutorials keeps the contract"""
import json, subprocess, sys, textwrap, uuid
from pathlib import Path
import pytest
from objectstore import Codec, ObjectStore, Unsupported, register_codec
from objectstore.codecs import codec
from objectstore.testing.backend_suite import BackendConformance

BROUGHT = """
    from objectstore.codecs.codec import Codec
    from objectstore.storage.backend import MemoryBackend

    def open_lesson(rest, *, loud=None): return MemoryBackend.named(f'{rest}{loud or ""}')

    class Molecule:
        def __init__(self, smiles): self.smiles = smiles

    class SmilesCodec(Codec):
        name, suffix = 'smiles', '.smi'
        def accepts(self, obj): return isinstance(obj, (Molecule, str))
        def encode(self, obj, file): file.write(obj.smiles.encode()); return {}
        def load(self, source, how): return Molecule(source.decode())
        def prove(self, obj, source, how): return None
"""

ENTRY_POINTS = """
    [objectstore.backends]
    lesson = brought:open_lesson
    broken = brought_not:open
    [objectstore.codecs]
    smiles = brought:SmilesCodec
    broken = brought_not:Codec
"""

@pytest.fixture
def installed(tmp_path):
    "A folder of packages in which one brings a backend and a codec"
    (tmp_path/'brought.py').write_text(textwrap.dedent(BROUGHT))
    (tmp_path/'brought-1.dist-info').mkdir()
    (tmp_path/'brought-1.dist-info'/'METADATA').write_text('Metadata-Version: 2.1\nName: brought\nVersion: 1\n')
    (tmp_path/'brought-1.dist-info'/'entry_points.txt').write_text(textwrap.dedent(ENTRY_POINTS))
    return tmp_path

def run(script: str, *folders) -> None:
    "In a process of its own, where nothing is registered yet"
    head = 'import sys, importlib.metadata as md\nsys.dont_write_bytecode = True\n'
    head += f'sys.path += {[str(f) for f in folders]!r}\n'
    count = ('looks, real = [], md.entry_points\ndef counted(**kw): looks.append(kw.get("group")); return '
             'real(**kw)\nmd.entry_points = counted\n')
    p = subprocess.run([sys.executable, '-W', 'ignore', '-c', head + count + textwrap.dedent(script)],
                       capture_output=True, text=True, timeout=300)
    assert not p.returncode, p.stderr

def test_a_package_brings_a_backend(installed):
    run("""
        from objectstore import ObjectStore, TierMismatch, Unsupported
        store = ObjectStore('memory://a')
        store.put('lab/x', 1)
        assert looks == []                                    # nobody looks for what is known
        store = ObjectStore('lesson://here?loud=er')
        store.put('lab/x', 'text')
        assert store.get('lab/x') == 'text' == ObjectStore('memory://hereer').get('lab/x')
        for bad, error, words in [('lesson://x?lod=1', TierMismatch, "did you mean 'loud'"),
                                  ('lessen://x', TierMismatch, "did you mean 'lesson'"),
                                  ('gone://x', TierMismatch, 'register_backend'),
                                  ('broken://x', Unsupported, 'the package brought cannot be imported')]:
            try: ObjectStore(bad)
            except error as e: assert words in str(e), e
            else: assert False, bad
        assert looks == ['objectstore.backends'], looks       # once, whatever was asked
    """, installed)

def test_a_package_brings_a_codec_which_is_asked_last(installed):
    run("""
        from objectstore import ObjectStore, Unsupported
        from objectstore.codecs.codec import by_name, codec_for
        store = ObjectStore('memory://a')
        store.put('lab/x', 'text')
        assert looks == []
        import brought
        v = store.put('lab/m', brought.Molecule('CCO'))
        assert v.codec == 'smiles' and store.get('lab/m').smiles == 'CCO'
        assert codec_for('text').name == 'text' and by_name('smiles').suffix == '.smi'
        for name, words in [('smile', "did you mean 'smiles'"), ('smile', 'register_codec'),
                            ('broken', 'the package brought cannot be imported')]:
            try: by_name(name)
            except Unsupported as e: assert words in str(e), e
            else: assert False, name
        try: store.put('lab/o', object())
        except Unsupported as e: assert 'no codec takes' in str(e)
        else: assert False
        assert looks == ['objectstore.codecs'], looks
    """, installed)

def test_an_unknown_name_is_read_where_a_package_brings_it(installed):
    run("""
        from objectstore.codecs.codec import by_name
        assert by_name('smiles').decode(b'CCO', {}).smiles == 'CCO' and 'brought' in sys.modules
    """, installed)

def test_installed_while_the_process_runs(installed, tmp_path):
    run(f"""
        from objectstore.codecs.codec import by_name
        from objectstore import Unsupported
        for _ in range(3):
            try: by_name('smiles')
            except Unsupported: pass
            else: assert False
        assert len(looks) == 1
        sys.path.append({str(installed)!r})
        by_name('smiles')
    """)

def test_nobody_takes_a_name_by_accident():
    run("""
        from objectstore import ObjectStore, Unsupported, TierMismatch, register_backend, register_codec
        from objectstore.codecs.codec import Codec, by_name
        from objectstore.storage.backend import MemoryBackend
        class Mine(Codec):
            name = 'json'
            def accepts(self, obj): return False
        for what, error in [(lambda: register_codec(Mine), Unsupported),
                            (lambda: register_codec(object()), Unsupported),
                            (lambda: register_backend('s3', MemoryBackend.named), TierMismatch),
                            (lambda: register_backend('S3', MemoryBackend.named), TierMismatch),
                            (lambda: register_backend('mine', lambda rest, password: None), TierMismatch)]:
            try: what()
            except error: pass
            else: assert False, what
        by_name('json').decode(b'1', {})
        assert register_codec(Mine, replace=True) is Mine and isinstance(by_name('json'), Mine)
        register_codec(Mine)                                   # a cell that is run again
        register_backend('mine', lambda rest: 7)
        try: ObjectStore('mine://x')
        except TierMismatch as e: assert 'no Backend' in str(e)
        else: assert False
    """)

# the example of the tutorial, in a module of its own: raced from several processes

ROOT = Path(__file__).parent.parent

@pytest.fixture(scope='module')
def lesson(tmp_path_factory):
    "The backend of nbs/tutorials/own_backend.ipynb, as a module that other processes find"
    folder = tmp_path_factory.mktemp('lesson')
    cells = json.loads((ROOT/'nbs'/'tutorials'/'own_backend.ipynb').read_text())['cells']
    sources = [''.join(c['source']) for c in cells if c['cell_type'] == 'code']
    (folder/'lesson_backend.py').write_text('\n\n'.join(sources[:3]))
    sys.path.insert(0, str(folder))
    yield __import__('lesson_backend')
    sys.path.remove(str(folder))

class TestLessonInAFolder(BackendConformance):
    @pytest.fixture
    def backend(self, lesson, tmp_path): return lesson.FsspecBackend(str(tmp_path/'root'), fs='file')

class TestLessonInMemory(BackendConformance):
    @pytest.fixture
    def backend(self, lesson): return lesson.FsspecBackend(uuid.uuid4().hex)

def test_a_store_over_the_lesson_outlives_its_process(lesson, tmp_path):
    "Put by two processes, one after the other, and read by a third, each of which registers the scheme"
    script = f"""
        import lesson_backend
        from objectstore import ObjectStore, register_backend
        register_backend('lesson', lesson_backend.FsspecBackend)
        store = ObjectStore('lesson://{tmp_path}/root?fs=file')
        v = store.put('lab/x', {{'a': 1}}, alias='production')
        store.put('lab/large', b'x' * 200_000)
        store.remove(v, force=True)
        store.put('lab/x', 'text', metadata={{'n': 2}})
        assert store.find_items(where='n >= 2')[0].item == 'x'
    """
    for _ in range(2): run(script, Path(lesson.__file__).parent)
    run(f"""
        import lesson_backend
        from objectstore import ObjectStore, register_backend
        register_backend('lesson', lesson_backend.FsspecBackend)
        store = ObjectStore('lesson://{tmp_path}/root?fs=file')
        assert [v.version for v in store.versions('lab/x')] == [2, 4] and store.get('lab/large@1') == b'x' * 200_000
    """, Path(lesson.__file__).parent)

def test_the_browser_asks_the_codec_and_not_its_name():
    """A codec of another name is previewed, compared and offered like the one whose form it has; one that is unsafe is
    not opened"""
    run("""
        import pickle
        from objectstore import ObjectStore, register_codec
        from objectstore.browser.preview import preview
        from objectstore.browser.views import code, compared
        from objectstore.codecs.codec import Codec, JsonCodec, known_codec
        class Pair:
            def __init__(self, a, b): self.a, self.b = a, b
        class Lines(Codec):
            name, form, variable = 'pair', 'lines', 'both'
            def accepts(self, obj): return isinstance(obj, Pair)
            def encode(self, obj, file): file.write(bytes([obj.a, obj.b])); return {'unit': 'mm'}
            def load(self, source, how): return Pair(*source)
            def text(self, data, how): return '\\n'.join(f'{n} {how["unit"]}' for n in data)
        class Unsafe(Lines):
            name, unsafe = 'pair-unsafe', True
            def text(self, data, how): raise SystemError('opened')
        for c in (Unsafe, Lines): register_codec(c)
        store = ObjectStore('memory://')
        a, b = store.put('lab/p', Pair(1, 2)), store.put('lab/p', Pair(1, 3))
        assert preview(a)['text'] == '1 mm\\n2 mm' and ['+', '3 mm'] in compared(a, b)['diff']
        assert code(store, b, dict(store=store))[0]['code'].startswith("both = store.get(")
        x, y = (store.put('lab/u', Pair(1, n), codec='pair-unsafe') for n in (2, 3))
        assert 'not opened' in preview(x)['text'] and 'no closer look' in compared(x, y)['why']
        assert 'trust=True' in code(store, x, dict(store=store))[0]['code'] and known_codec('nobody').form == ''
        Lines.text = lambda self, data, how: 1 / 0
        assert preview(a)['type'] == 'broken' and 'pair' in compared(a, b)['why']
    """)

def test_one_bad_codec_stops_nobody_else(recwarn):
    "A codec that fails to say what it takes is passed over; one that fails to write or describe is named"
    class Bad(Codec):
        name = 'bad'
        def accepts(self, obj): raise KeyError('oops')
    class Worse(Codec):
        name = 'worse'
        def accepts(self, obj): return isinstance(obj, complex)
        def encode(self, obj, file): raise KeyError('oops')
    class Mute(Worse):
        name = 'mute'
        def encode(self, obj, file): file.write(b'x'); return {}
        def load(self, source, how): return 1j
        def stats(self, obj): raise KeyError('oops')
    s = ObjectStore('memory://', progress=False)
    try:
        register_codec(Bad)
        assert s.get(s.put('lab/x', {'a': 1})) == {'a': 1}
        assert 'bad' in str([w.message for w in recwarn]) and 'oops' in str([w.message for w in recwarn])
        with pytest.raises(Unsupported, match=r"codec 'bad' fails.*oops"): s.put('lab/y', object())
        for c, does in (Worse, 'write'), (Mute, 'describe'):
            register_codec(c)
            with pytest.raises(Unsupported, match=rf"codec '{c.name}' fails to {does} this complex.*KeyError"):
                s.put('lab/y', 1j)
        assert 'lab/y' not in s
    finally:
        codec._codecs = [c for c in codec._codecs if c.name not in ('bad', 'worse', 'mute')]
