"""Proof at put: what is acknowledged comes back the same, by each way of reading; what would not is refused, with a
remedy that works"""
import io, os, re, subprocess, sys
from pathlib import Path
import pytest
from objectstore import Folder, ObjectStore
from objectstore.codecs.codec import Codec, by_name, codec_names, register
from objectstore.errors import InvalidQuery, MissingExtra, ObjectStoreError, Unsupported
from objectstore.codecs.equality import difference
import objectstore.codecs.codec as codec, objectstore.store.writes as writes
for library in 'numpy', 'pandas', 'polars', 'sklearn', 'skops', 'torch', 'safetensors', 'PIL', 'pydantic':
    pytest.importorskip(library)
import numpy as np, pandas as pd, polars as pl
import proof_values as table
from proof_values import kept, on_purpose, refused, told, whole

pytestmark = pytest.mark.filterwarnings('ignore')
cells = [(c, name) for c, values in kept.items() for name in values]
turned_away = [(c, name) for c, values in refused.items() for name in values]

@pytest.fixture(scope='module')
def lab(tmp_path_factory):
    "An origin where another process has put every value that is kept"
    origin = tmp_path_factory.mktemp('proof')/'origin'
    code = f'''
import sys, warnings
sys.path.insert(0, {str(Path(__file__).parent)!r})
warnings.simplefilter('ignore')
from objectstore import Folder, ObjectStore
from proof_values import kept, whole
s = ObjectStore({str(origin)!r}, progress=False, durable=False)
for c, values in kept.items():
    for i, v in enumerate(values.values()): s.put(f'other/{{c}}/{{i}}', v)
for i, (v, _) in enumerate(whole.values()): s.put(f'other/whole/{{i}}', v)
s.sync()
'''
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return origin

@pytest.fixture(scope='module')
def mine(lab, tmp_path_factory): return ObjectStore(tmp_path_factory.mktemp('near'), lab, progress=False, durable=False)

def cold(origin, tmp_path): return ObjectStore(tmp_path/'near', origin, progress=False, trust=True)

def same(a, b): return told(a) == told(b)

@pytest.mark.parametrize('codec, name', cells, ids=lambda x: x)
def test_three_reads(codec, name, lab, mine, tmp_path):
    "Near, cold, and of what another process put: the same each time"
    value, i = kept[codec][name], list(kept[codec]).index(name)
    before = told(value)
    v = mine.put(f'mine/{codec}/{i}', value)
    assert v.codec == {'pandas': 'parquet', 'polars': 'parquet', 'arrow': 'parquet'}.get(
        codec, 'text' if isinstance(value, str) else codec)
    reads = {'near': mine.get(v), 'again': mine.get(v), 'cold': cold(lab, tmp_path).get(f'mine/{codec}/{i}'),
             'other': cold(lab, tmp_path).get(f'other/{codec}/{i}')}
    assert told(value) == before
    assert [how for how, back in reads.items()
            if not (same(back, value) if codec != 'npy' else same(np.array(back), np.array(value)))] == []

@pytest.mark.parametrize('name', whole)
def test_whole_by_name(name, lab, mine, tmp_path):
    (value, t), i = whole[name], list(whole).index(name)
    v = mine.put(f'mine/whole/{i}', value)
    for back in mine.get(v, as_=t), cold(lab, tmp_path).get(f'mine/whole/{i}', as_=t), cold(
            lab, tmp_path).get(f'other/whole/{i}', as_=t):
        assert back == value and type(back) is t and difference(value, back) is None

@pytest.mark.parametrize('name', on_purpose)
def test_on_purpose(name, mine):
    value, comes = on_purpose[name]
    v = mine.put(f'mine/purpose/{name}', value)
    assert same(mine.get(v), comes)
    assert by_name(v.codec).drops or v.codec == 'text'

@pytest.mark.parametrize('codec, name', turned_away, ids=lambda x: x)
def test_refused_with_a_remedy_that_works(codec, name, mine, tmp_path):
    value, cure, says = refused[codec][name]
    ref = f'refused/{codec}-{list(refused[codec]).index(name)}'
    with pytest.raises(Unsupported, match='(?s)' + says) as e: mine.put(ref, value)
    str(e.value).encode()
    assert 'hunter2' not in str(e.value)
    assert ref not in mine and len(str(e.value)) < 1500
    better = cure(value)
    v = mine.put(ref, better)
    assert v.version == 1
    back = mine.get(v, trust=True, as_=type(better) if name in ('zone in a model', 'first arm takes anything')
                    else None)
    assert difference(better, back) is None or same(back, better)

def test_files(mine, tmp_path):
    "A program by itself is refused; in a folder it comes back as one, as do empty folders and links that stay inside"
    top = tmp_path/'top'
    (top/'sub'/'none').mkdir(parents=True)
    (top/'a.csv').write_text('a\n1\n')
    (top/'a.csv').chmod(0o755)      # as on file systems that show it on every file
    (top/'run').write_text('#!/bin/sh\necho ran')
    (top/'run').chmod(0o755)
    (top/'latest').symlink_to('sub')
    (top/'sub'/'up.csv').symlink_to('../a.csv')
    with pytest.raises(Unsupported, match='run.* is a program.*put the folder.*chmod -x'):
        mine.put('files/run', top/'run')
    with pytest.raises(Unsupported, match='is a program'): mine.put('files/run', top/'run', codec='file')
    v = mine.put('files/top', top)
    assert sorted(mine.get(v)) == ['a.csv', 'run'] and 'files/run' not in mine
    assert mine.put('files/top', top, skip_unchanged=True).version == v.version
    for s in (mine, ObjectStore(*mine.tiers, progress=False)):
        for back in s.get(v.ref).path(), s.get(v.ref).path(to=tmp_path/f'out{id(s)}'), s.get(v.ref).path():
            assert same_tree(top, back)
            assert subprocess.run([back/'run'], capture_output=True, text=True).stdout == 'ran\n'
            assert (not os.access(back/'a.csv', os.X_OK) or os.geteuid() == 0
                    and not (back/'a.csv').stat().st_mode & 0o111)
    (top/'latest').unlink()
    assert mine.put('files/top', top, skip_unchanged=True).version == 2
    (top/'sub'/'up.csv').unlink(); (top/'sub'/'none').rmdir(); (top/'sub').rmdir(); (top/'run').chmod(0o644)
    plain = mine.put('files/top', top)
    assert 'also' not in plain._record.how and same_tree(top, plain.get().path())

def same_tree(a, b):
    "The same files, folders and links, and the same programs"
    def told(top):
        return {p.relative_to(top).as_posix(): os.readlink(p) if p.is_symlink() else 'folder' if p.is_dir() else
                (p.read_bytes(), p.name != 'a.csv' and bool(p.stat().st_mode & 0o100)) for p in top.rglob('*')}
    return told(a) == told(b)

@pytest.mark.parametrize('target',
                         ['/etc/passwd', '../other', '../../x', 'sub/../../x', 'nothing', 'loop', 'other/a.csv'])
def test_a_link_that_leads_out_or_nowhere_is_refused_whole(mine, tmp_path, target):
    top = tmp_path/'top'
    (top/'sub').mkdir(parents=True)
    (top/'sub'/'a.csv').write_text('a')
    (top/'other').symlink_to('sub')
    (top/'loop').symlink_to(target)
    (tmp_path/'x').write_text('secret')
    with pytest.raises(Unsupported, match='loop is a link'): mine.put('files/linked', top)
    assert 'files/linked' not in mine

@pytest.mark.parametrize('also', [{'links': {'x': '/etc'}}, {'links': {'x': '../../y'}}, {'links': {'../x': 'a'}},
                                  {'empty': ['../../x']}, {'run': ['none']}, {'links': {'a': 'b', 'a/c': 'd'}}, 5,
                                  {'links': {'a': 3}}])
def test_a_record_that_leads_out_of_a_folder_is_damage(mine, tmp_path, also):
    from objectstore.errors import Damaged
    top = tmp_path/'top'
    top.mkdir(); (top/'b').write_text('b')
    v = mine.put('files/forged', top)
    v._record.how['also'] = also
    with pytest.raises(Damaged): Folder(v).path(to=tmp_path/'out')
    assert not (tmp_path/'out').exists() or not [p for p in (tmp_path/'out').iterdir() if p.is_symlink()]

# Links that lie where a folder is written

def _tree(top, **told):
    "A folder: names with text are files; what begins with -> is a link"
    for name, says in told.items():
        path = top/name
        path.parent.mkdir(parents=True, exist_ok=True)
        if says.startswith('->'): path.symlink_to(says[2:])
        else: path.write_text(says)
    return top

def _lies(top):
    "Every name in a place, and what it is"
    return {p.relative_to(top).as_posix(): f'->{os.readlink(p)}' if p.is_symlink() else
            'folder' if p.is_dir() else p.read_text() for p in top.rglob('*')}

def _versions(tmp_path, *trees):
    s = ObjectStore(tmp_path/'store', progress=False, durable=False)
    for i, tree in enumerate(trees): s.put('links/f', _tree(tmp_path/f'v{i}', **tree))
    return s

def _blocked(s, n, to, match):
    "A version that cannot go where something lies; nothing there has changed"
    before = _lies(to.parent)
    with pytest.raises(Unsupported, match=match) as e: s.get(f'links/f@{n}').path(to)
    assert 'choose an empty place' in str(e.value) and _lies(to.parent) == before

def test_a_version_is_not_written_through_a_link_of_another(tmp_path):
    "Link, then folder, in one place; and the other way round"
    s = _versions(tmp_path, {'data-2025/f': 'one', 'latest': '->data-2025'},
                  {'data-2025/f': 'two', 'latest/f': 'latest', 'a': 'first of all'})
    o, p = tmp_path/'home'/'o', tmp_path/'home'/'p'
    s.get('links/f@1').path(o)
    _blocked(s, 2, o, "latest is a link to 'data-2025', and a stored folder has a folder there")
    s.get('links/f@1').path(o)
    s.get('links/f@2').path(p)
    _blocked(s, 1, p, 'latest is a folder, and a stored folder has a link there')
    assert (p/'latest'/'f').read_text() == 'latest' and (p/'data-2025'/'f').read_text() == 'two'
    (p/'a').unlink(); (p/'a').mkdir()
    _blocked(s, 2, p, 'a is a folder, and a stored folder has a file there')

def test_versions_in_one_place_write_nothing_outside_of_it(tmp_path):
    s = _versions(tmp_path, {'s/f': '1', 'x/k': 'k', 'x/y': '->../s'},
                  {'s/f': '1', 'x/y/k': 'k', '.ssh/k': 'k', 'x/y/l': '->../../.ssh'},
                  {'s/l/authorized_keys': 'not mine'})
    out = _tree(tmp_path/'home', **{'.ssh/authorized_keys': 'mine'})/'work'
    s.get('links/f@1').path(out)
    _blocked(s, 2, out, 'y is a link')
    s.get('links/f@3').path(out)
    assert (out/'s'/'l'/'authorized_keys').read_text() == 'not mine' and not (out/'s'/'l').is_symlink()
    assert (tmp_path/'home'/'.ssh'/'authorized_keys').read_text() == 'mine'

@pytest.mark.parametrize('link, name', [('data', 'data/f'), ('data', 'data/none/'), ('data', 'data/l'), ('a', 'a/b/f')])
def test_a_link_that_the_user_made_is_not_written_through(tmp_path, link, name):
    "Files, empty folders and links below it"
    top = _tree(tmp_path/'v0', first='1')
    if name.endswith('/'): (top/name).mkdir(parents=True)
    else: _tree(top, **{name: '->../first' if name.endswith('l') else 'stored'})
    s = _versions(tmp_path, {})
    o = _tree(tmp_path/'home', **{'elsewhere/f': 'precious', f'o/{link}': '->../elsewhere'})/'o'
    _blocked(s, 1, o, f"{link} is a link to '../elsewhere'")

def test_a_link_that_comes_between_is_not_written_through(tmp_path, monkeypatch):
    "What was no link when all was looked at"
    import objectstore.versions.version as version
    s = _versions(tmp_path, {'data/f': 'stored'})
    home = _tree(tmp_path/'home', **{'elsewhere/f': 'precious'})
    monkeypatch.setattr(version, 'check_free', lambda top, *a: (top/'data').symlink_to('../elsewhere'))
    with pytest.raises(Unsupported, match='data is a link'): s.get('links/f@1').path(home/'o')
    assert (home/'elsewhere'/'f').read_text() == 'precious'

_twisted = [dict(links={'d/a': '..', './d/a/l': '..', 'l/.bashrc': 'work/f'}),
            dict(links={'d/a': '..', 'd//a/l': '../../x'}), dict(links={'d/a': '..', 'd/./a/l': '../../../x'}),
            dict(links={'d/a': '..'}), dict(links={'d/a': 'none'}), dict(links={'d': 'f'}),
            dict(links={'d/f/x': '../../f'}), dict(links={'a/': 'f'}), dict(links={'a\0': 'f'}),
            dict(links={'a': 'b', 'b': 'a'}), dict(links={'a': 'f'}, empty=['a']),
            dict(links={'a': 'd'}, empty=['a/e']), dict(empty=['./e']), dict(empty=['e/']), dict(empty=['d/f/e']),
            dict(empty=['']), dict(run=['./f'])]

@pytest.mark.parametrize('also', _twisted, ids=str)
def test_names_of_a_forged_record_are_names(tmp_path, also):
    from objectstore.errors import Damaged
    s = _versions(tmp_path, {'d/f': 'stored', 'f': 'stored'})
    home = _tree(tmp_path/'home', **{'.bashrc': 'mine'})
    v = s.get('links/f@1').version
    v._record.how['also'] = also
    with pytest.raises(Damaged): Folder(v).path(home/'work')
    assert _lies(home) in ({'.bashrc': 'mine'}, {'.bashrc': 'mine', 'work': 'folder'})

@pytest.mark.parametrize('name', ['./d/a/f', 'd//a/f', 'd/a/f/', 'd/./a/f'])
def test_names_of_a_forged_listing_are_names(tmp_path, name):
    from objectstore.errors import Damaged
    s = _versions(tmp_path, {'d/f': 'stored', 'e/f': 'other'})
    f = s.get('links/f@1')
    f._read = {**f.members, name: f.members['d/f']}
    for ask in (lambda: f.path(tmp_path/'home'/'work'), lambda: f[name]):
        with pytest.raises(Damaged, match='a name that no file has'): ask()
    assert not (tmp_path/'home').exists()

# Questions that are wrong, and libraries that are missing

wrong = [dict(columns=0), dict(columns=True), dict(columns=['nope']), dict(columns=[['a']]), dict(columns=1.5),
         dict(columns=object()), dict(as_=5), dict(as_={}), dict(as_=['pandas']), dict(as_='spark'),
         dict(as_=table.Any), dict(as_=table.Run), dict(as_=list[int]), dict(as_=dict), dict(as_=...)]

# each process must name it alike
@pytest.mark.parametrize('asks', wrong, ids=lambda asks: re.sub(' at 0x[0-9a-f]+', '', str(asks)))
def test_a_wrong_question_is_no_damage(asks, mine):
    puts = {'json': {'a': 1}, 'text': 'x', 'bytes': b'x', 'npy': np.arange(3),
            'frame': pd.DataFrame({'a': range(30_000)}), 'small': pl.DataFrame({'a': [1]}), 'array': {'a': np.ones(2)},
            'model': kept['skops']['plain'], 'png': kept['png']['grey']}
    for name, value in puts.items():
        v = mine.put(f'wrong/{name}', value, skip_unchanged=True)
        for _ in range(2):
            try: back = mine.get(v, **asks)
            except ObjectStoreError as e: assert isinstance(e, (Unsupported, InvalidQuery)), (name, asks, e)
            else: assert (name, list(asks)) in [('json', ['as_']), ('array', ['as_'])], (name, asks, back)

def test_columns_as_text(mine):
    v = mine.put('wrong/frame', pd.DataFrame({'a': [1], 'b': [2]}))
    assert list(mine.get(v, columns='a').columns) == ['a']

def test_a_missing_library_is_no_damage(monkeypatch):
    @register
    class Odd(Codec):
        name = 'odd'
        def load(self, source, how): import a_library_that_is_not_here     # noqa: F401 (it is looked for)
    try:
        with pytest.raises(MissingExtra, match='a_library_that_is_not_here'): by_name('odd').decode(b'x', {})
    finally: codec._codecs.remove(by_name('odd'))

# Planted bugs: each is found at put; and with the proof switched off, the table above finds it

def miscoded(monkeypatch, codec, bug):
    "Break the encoding of a codec: `bug(obj)` is written in place of `obj`"
    fired, real = [], type(codec).encode
    def encode(self, obj, file): fired.append(1); return real(self, bug(obj), file)
    monkeypatch.setattr(type(codec), 'encode', encode)
    return fired

class Halved(io.RawIOBase):
    def __init__(self, file): self.file = file
    def writable(self): return True
    def tell(self): return self.file.tell()
    def write(self, data): self.file.write(bytes(data)[:len(bytes(data)) // 2]); return len(data)

def at_row(df, i, **values): df = df.copy(); df.loc[df.index[i], list(values)] = list(values.values()); return df

big = kept['pandas']['large']
bugs = {'loses a zone': ('json', kept['json']['zones'],
                         lambda v: [t.replace(tzinfo=t.tzinfo and table.timezone(t.utcoffset())) for t in v]),
        'loses a column': ('parquet', kept['pandas']['zones'], lambda df: df.iloc[:, :-1]),
        'loses a column of many': ('parquet', big, lambda df: df.iloc[:, :-1]),
        'loses a row': ('parquet', kept['pandas']['range index'], lambda df: df.iloc[:-1]),
        'loses a row of many': ('parquet', big, lambda df: df.iloc[:-1]),
        'loses the zone of many': ('parquet', big, lambda df: df.assign(t=df['t'].dt.tz_convert('UTC'))),
        'another index': ('parquet', big, lambda df: df.set_axis(range(1, 30_001))),
        'a value goes missing': ('parquet', big, lambda df: at_row(df, 15_000, s=None)),
        'other columns': ('parquet', big, lambda df: df[['s', 'i', 't', 'c', 'o']]),
        'other order of rows': ('parquet', big, lambda df: df.iloc[::-1]),
        'text cut short': ('text', kept['text']['long'], lambda t: t[:-1]),
        'bytes cut short': ('bytes', kept['bytes']['long'], lambda b: b[:-1]),
        'narrower numbers': ('npy', kept['npy']['large'], lambda a: a.astype('f4')),
        'the end of a large array': ('npy', kept['npy']['large'], lambda a: np.append(a[:-1], 0)),
        'a tuple is a list': ('json', kept['json']['a tuple'], list),
        'a sign': ('json', {'z': -0.0}, lambda v: {'z': 0.0}),
        'polars, a row': ('parquet', kept['polars']['large'], lambda df: df[:-1]),
        'arrow, metadata': ('parquet', kept['arrow']['metadata'], lambda t: t.replace_schema_metadata(None)),
        'a weight': ('safetensors', {'w': np.ones(5)}, lambda d: {'w': d['w'] * 2}),
        'a parameter': ('skops', kept['skops']['plain'],
                        lambda m: table.make_pipeline(table.StandardScaler(),
                                                      table.LogisticRegression(C=2)).fit(table.X, table.y)),
        'which way is up': ('png', kept['png']['turned'], lambda im: table.Image.fromarray(np.asarray(im)))}

@pytest.mark.parametrize('name', bugs)
def test_planted(name, monkeypatch, tmp_path):
    codec, value, bug = bugs[name]
    s = ObjectStore(tmp_path, progress=False, durable=False)
    fired = miscoded(monkeypatch, by_name(codec), bug)
    # named, where a dict would else be stored as a bundle
    named = codec if codec == 'safetensors' else None
    with pytest.raises(Unsupported, match='nothing was stored|come back'): s.put('lab/x', value, codec=named)
    assert fired and 'lab/x' not in s
    with monkeypatch.context() as m:
        off = []
        m.setattr(writes, 'proved', lambda *a: off.append(1))
        back = s.get(s.put('lab/x', value), trust=True)
    assert off and not same(back, value)

def test_planted_a_payload_cut_short(monkeypatch, tmp_path):
    "Bytes that are lost on the way to the file"
    s = ObjectStore(tmp_path, progress=False, durable=False)
    for name, value in (('parquet', big), ('npy', kept['npy']['large']), ('json', {'a': list(range(100))}),
                        ('png', kept['png']['turned']), ('pickle', object), ('safetensors', {'a': np.ones(9)})):
        c, fired = by_name(name), []
        with monkeypatch.context() as m:
            real = type(c).encode
            def encode(self, obj, file): fired.append(1); return real(self, obj, Halved(file))
            m.setattr(type(c), 'encode', encode)
            named = name if name in ('pickle', 'safetensors') else None
            with pytest.raises(Unsupported): s.put(f'lab/{name}', value, codec=named)
        assert fired and f'lab/{name}' not in s

def test_a_loader_that_runs_code_is_not_run_at_put(tmp_path):
    "A model whose class does something of its own when it is made is stored by its names alone, and nothing runs"
    s = ObjectStore(tmp_path, progress=False, durable=False)
    v = s.put('lab/loud', Loud())
    assert not Loud.made
    assert type(s.get(v)) is Loud and Loud.made == [1]

class Loud(table.BaseEstimator):
    made = []
    def __setstate__(self, state): Loud.made.append(1); self.__dict__.update(state)

def test_put_many_and_calculated_prove_too(tmp_path):
    s = ObjectStore(tmp_path, progress=False, durable=False)
    with pytest.raises(Unsupported, match='Attr|dict'):
        s.put_many({'lab/a': {'x': 1}, 'lab/b': table.Attr(a=1)})

def test_every_codec_says_what_it_drops():
    silent = {c for c in codec_names() if not by_name(c).drops}
    assert silent <= {'text', 'bundle', 'pandera'}      # what these would lose is refused
