"""What is recorded of a person and can be reduced; what a project's settings file may not do, or is told of before it
does it;
which file counts; parameters that are secrets."""
from __future__ import annotations
import json, os, pickle, subprocess, sys, warnings
from pathlib import Path
import pytest
from objectstore import LocalObjectStore, ObjectStore, TierMismatch, get_config
from objectstore import environment
from objectstore.computed import fingerprint
from objectstore.storage import first_contact
from objectstore.storage.config import InvalidSettings, user_file
from proxy import Proxy
from services import Place

CANARY = 'c4n4ry/S3cr3t+d0n0tt3ll0123456789abcdefgh'

@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    for k in list(os.environ):
        if k.startswith(('AWS_', 'OBJECTSTORE_')): monkeypatch.delenv(k)
    for k, v in dict(HOME=tmp_path/'home', XDG_CONFIG_HOME=tmp_path/'home/.config', XDG_DATA_HOME=tmp_path/'home/.data',
                     OBJECTSTORE_STATE_DIR=tmp_path/'state', OBJECTSTORE_CACHE_DIR=tmp_path/'cache',
                     AWS_ACCESS_KEY_ID='a', AWS_SECRET_ACCESS_KEY='b', AWS_REGION='us-east-1').items():
        monkeypatch.setenv(k, str(v))
    (project := tmp_path/'clone').mkdir(); monkeypatch.chdir(project)
    first_contact._told.clear(), fingerprint._told.clear()
    return tmp_path

def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True); path.write_text(text)
    return path

def said(warned, words: str) -> list: return [w for w in warned if words in str(w.message)]

# ---- who made it

HOW = {'argument': lambda m: dict(author='ana'),
       'environment': lambda m: m.setenv('OBJECTSTORE_AUTHOR', '"ana"\n') or {},
       'project': lambda m: write(Path('settings.ini'), '[objectstore]\nauthor = ana\n') and {},
       'person': lambda m: write(user_file(), '[objectstore]\nauthor = ana\n') and {}}

@pytest.mark.parametrize('how', HOW)
def test_the_author_can_be_set(home, monkeypatch, how):
    options = HOW[how](monkeypatch)
    with pytest.warns(UserWarning, match='is a new store'):
        s = ObjectStore(**options)
        v = s.put('lab/x', 1, alias='production')
    assert v.author == 'ana' and pickle.loads(pickle.dumps(s)).put('lab/x', 2).author == 'ana'

@pytest.mark.parametrize('author', ['', 'two\nlines', 'x' * 201, 7, '\u202e'])
def test_what_is_no_author_is_refused(author):
    with pytest.raises(InvalidSettings, match='author'): ObjectStore('memory://', author=author)

def identifying() -> list[str]:
    from objectstore.provenance import who
    user, _, host = who().partition('@')
    return [f'{user}@', f'@{host}', 'train_script', 'a1' * 20, '"numpy"', '"python"']

@pytest.mark.parametrize('how', ['argument', 'environment', 'person'])
def test_minimal_records_tell_of_nobody(home, monkeypatch, how):
    "All that lies in the store, and in this machine's folders, after each kind of write"
    git = home/'clone/.git'; write(git/'HEAD', 'ref: refs/heads/main\n'); write(git/'refs/heads/main', 'a1' * 20)
    script = write(home/'clone/train_script.py', """
import sys, json, numpy, warnings
warnings.simplefilter('ignore')
from objectstore import ObjectStore
s = ObjectStore('store', **json.loads(sys.argv[1]))
def f(x): return x
f = s.calculated('lab/f')(f)
v = s.put('lab/x', 1, alias='production'); s.annotate(v, {'a': 1}); s.put('lab/x', 2); s.remove('lab/x@2')
f(1); s.put('lab/y', 1); s.remove_bucket('lab', force=True); s.put('lab/z', numpy.zeros(3)); s.close()
""")
    def run(**options):
        return subprocess.run([sys.executable, script, json.dumps(options)], capture_output=True, text=True,
                              cwd=home/'clone')
    def stored():
        return {p: p.read_bytes().decode('latin-1') for top in ('clone/store', 'state') for p in (home/top).rglob('*')
                if p.is_file()}
    assert not (done := run()).returncode, done.stderr
    full = stored()
    assert all(any(word in text for text in full.values()) for word in identifying()), 'full provenance tells of each'
    import shutil
    shutil.rmtree(home/'clone/store'); shutil.rmtree(home/'state')
    options = {}
    if how == 'argument': options = dict(provenance='minimal')
    elif how == 'environment': monkeypatch.setenv('OBJECTSTORE_PROVENANCE', 'minimal')
    else: write(user_file(), '[objectstore]\nprovenance = minimal\n')
    assert not (done := run(**options)).returncode, done.stderr
    hits = [f'{word} in {p}' for p, text in stored().items() for word in identifying() if word in text]
    assert not hits and len(stored()) > 5

def test_minimal_goes_to_workers(home):
    s = pickle.loads(pickle.dumps(ObjectStore('memory://', provenance='minimal', author='ana')))
    v = s.put('lab/x', 1)
    assert v.author == 'ana' and 'where' not in v.lineage and 'libraries' not in v.lineage
    with pytest.raises(InvalidSettings, match='provenance'): ObjectStore('memory://', provenance='some')

# ---- a project's settings file

def project(text: str) -> Path: return write(Path('settings.ini').absolute(), f'[objectstore]\n{text}\n')

def test_a_project_that_sends_credentials_is_told_of_once_before_it_does(seaweed, home, monkeypatch):
    for k, v in seaweed.environment.items():
        if k != 'AWS_ENDPOINT_URL': monkeypatch.setenv(k, v)
    with Proxy(seaweed.endpoint) as proxy:
        file = project(f'tiers = {Place(seaweed).url}\nendpoint = {proxy.endpoint}\ntimeout = 5')
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter('always')
            s = ObjectStore(near=False)
            assert not said(warned, 'signed with your credentials'), 'opening sends nothing'
        with warnings.catch_warnings(), proxy.counting() as c:
            warnings.simplefilter('error')
            with pytest.raises(UserWarning, match=f'{file}, line 3: .* signed with your credentials sent to '
                               f'{proxy.endpoint}'):
                s.get('lab/x', default=None)
            assert not len(c), 'as an error it keeps the request back'
        with pytest.warns(UserWarning, match='signed with your credentials') as warned: s.put('lab/x', 1)
        assert [w.filename for w in said(warned, 'credentials')] == [__file__]
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            assert ObjectStore(near=False).get('lab/x') == 1
            first_contact._told.clear()              # another process of this machine
            assert ObjectStore(near=False).get('lab/x') == 1
        with Proxy(seaweed.endpoint) as other:
            project(f'tiers = {s.tiers[-1]}\nendpoint = {other.endpoint}\ntimeout = 5')
            with pytest.warns(UserWarning, match='signed with your credentials'): ObjectStore(near=False).get('lab/x')

@pytest.mark.parametrize('verb', ['get', 'put', 'list_buckets', 'find_items', 'sync', 'watch', 'identity'])
def test_each_verb_tells_before_its_first_request(seaweed, home, monkeypatch, verb):
    for k, v in seaweed.environment.items():
        if k != 'AWS_ENDPOINT_URL': monkeypatch.setenv(k, v)
    place = Place(seaweed)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        ObjectStore(place.url, endpoint=seaweed.endpoint, timeout=5.0, near=False).put('lab/x', 1)
        with Proxy(seaweed.endpoint) as proxy:
            project(f'tiers = near, {place.url}\nendpoint = {proxy.endpoint}\ntimeout = 5')
            ObjectStore(offline=True).put('lab/x', 2)
            s = ObjectStore()
            do = {'get': lambda: s.get('lab/x@1'), 'put': lambda: s.put('lab/x', 1), 'list_buckets': s.list_buckets,
                  'find_items': s.find_items, 'sync': s.sync, 'refresh': s.refresh,
                  'watch': lambda: next(s.watch('lab', timeout=0.01), None),
                  'identity': lambda: s.origin.identity()}[verb]
            with warnings.catch_warnings(record=True) as warned, proxy.counting() as c:
                warnings.simplefilter('always')
                do()
    assert len(said(warned, 'signed with your credentials')) == 1 and len(c)

@pytest.mark.parametrize('how', ['argument', 'environment', 'person', 'aws', 'public'])
def test_an_address_that_is_ones_own_is_not(home, monkeypatch, how):
    address, options = 'http://127.0.0.1:9', {}
    if how == 'person': write(user_file(), f'[objectstore]\ntiers = s3://lab\nendpoint = {address}\n')
    else:
        project(f'tiers = s3://lab{"?skip_signature=yes" if how == "public" else ""}\nendpoint = {address}'
                if how != 'argument' else 'tiers = s3://lab')
    if how == 'argument': options = dict(endpoint=address)
    if how == 'environment': monkeypatch.setenv('OBJECTSTORE_ENDPOINT', address)
    if how == 'aws': monkeypatch.setenv('AWS_ENDPOINT_URL', address)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter('always')
        with pytest.raises(ConnectionError): ObjectStore(near=False, timeout=0.05, **options).get('lab/x')
    assert not said(warned, 'credentials')

@pytest.mark.parametrize('option',
                         ['allow_invalid_certificates=true', 'AWS_ALLOW_INVALID_CERTIFICATES=1',
                          'endpoint_url_sts=http://h', 'metadata_endpoint=http://h', 'role_arn=x'])
def test_a_project_may_not_switch_off_certificates_or_say_where_credentials_come_from(home, option):
    project(f'tiers = near, s3://lab?{option}')
    said = (r"settings.ini, line 2: tiers: \w+ does not belong in a project's file, "
            "which may neither switch off certificates")
    with pytest.raises(InvalidSettings, match=said):
        ObjectStore()
    Path('settings.ini').unlink()
    write(Path('pyproject.toml'), f'[tool.objectstore]\ntiers = ["near", "s3://lab?{option}"]\n')
    with pytest.raises(InvalidSettings, match='pyproject.toml, line 2: tiers'): ObjectStore()
    Path('pyproject.toml').unlink(); write(user_file(), f'[objectstore]\ntiers = near, s3://lab?{option}\n')
    assert get_config().tiers[1] == f's3://lab?{option}'
    assert ObjectStore('s3://lab', near=False,
                       storage_options={option.partition('=')[0]: option.partition('=')[2]}).tiers == ['s3://lab']

def test_trust_in_the_users_own_file_counts_where_the_project_holds_the_rest(home):
    project('tiers = store\n[objectstore.lab]\ntiers = other')
    assert not ObjectStore().trust
    write(user_file(), '[objectstore]\ntrust = yes\n')
    assert ObjectStore().trust and ObjectStore(profile='lab').trust and not ObjectStore(trust=False).trust
    assert not ObjectStore('store').trust, 'tiers that are arguments are not those of any file'
    write(user_file(), '[objectstore]\ntrust = no\n[objectstore.lab]\ntrust = yes\n')
    assert not ObjectStore().trust and ObjectStore(profile='lab').trust

# ---- secrets in the wrong place

PROXY = f'http://me:{CANARY}@proxy:3128'.replace('/S', 'S').replace('+', '')
PLAIN = 'c4n4ryS3cr3td0n0'

@pytest.mark.parametrize('text',
                         [f'tiers = s3://lab?proxy_url={PROXY}', 'tiers = data, '
                          f's3://lab?region=x&AWS_PROXY_URL={PROXY}', f'proxy_url = {PROXY}'])
def test_a_proxys_password_in_the_settings_is_refused(home, text):
    for write_it in (lambda: project(text),
                     lambda: (Path('settings.ini').unlink(),
                              write(Path('pyproject.toml'),
                                    '[tool.objectstore]\n{} = "{}"\n'.format(*text.split(' = '))))):
        write_it()
        with pytest.raises(InvalidSettings, match='user or password|no setting') as e: ObjectStore()
        assert PLAIN not in str(e.value)

def test_a_proxys_password_in_a_url_is_refused_and_in_options_kept_to_oneself(home):
    with pytest.raises(TierMismatch, match='storage_options .proxy_url. or in the environment .HTTPS_PROXY.') as e:
        ObjectStore(f's3://lab?proxy_url={PROXY}')
    assert PLAIN not in str(e.value)
    for tier in ('s3://lab', 's3://'):
        s = ObjectStore(tier, near=False, endpoint='http://127.0.0.1:9', storage_options={'proxy_url': PROXY})
        again = pickle.loads(pickle.dumps(s))
        assert (PLAIN.encode() not in pickle.dumps(s) + pickle.dumps(s.origin.place)
                and PLAIN not in repr(s) + repr(vars(s.origin.place)) + repr(again))
        assert s.origin.place._options['proxy_url'] == PROXY, 'and it is used'
        assert not again._options and pickle.loads(pickle.dumps(s.origin.place))._lost == {'proxy_url'}

@pytest.mark.parametrize('call',
                         [dict(password=CANARY), dict(api_key=CANARY),
                          dict(db=f'postgres://me:{CANARY.replace("/", "")}@db/x'),
                          dict(cfg={'a': {'hf_token': CANARY}}), dict(cfg=[{'password': CANARY}])], ids=str)
def test_parameters_that_are_secrets_are_stored_as_hashes(home, call):
    s = LocalObjectStore('store')
    runs = []
    @s.calculated('lab/f')
    def f(x, password=None, api_key='', db='', cfg=None): runs.append(cfg); return x
    with pytest.warns(UserWarning, match=f"the parameter '{[*call][0]}' is or holds a secret.*ignore="):
        v = f.version_of(1, **call)
    assert f(1, **call) == 1 and len(runs) == 1, 'equal secrets are equal calls'
    f(1, **{k: [{'password': 'other'}] if k == 'cfg' else 'other' if k != 'db' else 'postgres://me:other@db'
            for k in call})
    assert len(runs) == 2, 'another one is another call'
    outputs = [v.ref, repr(v.metadata), repr(v.lineage),
               v.lineage._repr_html_() if hasattr(v.lineage, '_repr_html_') else '', repr(f.explain(1, **call)),
               repr(vars(f.explain(1, **call))), *map(str, f.explain(1, **call)._repr_mimebundle_().values())]
    assert not [o for o in outputs if CANARY[:12] in o or CANARY.replace('/', '')[:12] in o]
    for p in [*(home/'clone').rglob('*'), *(home/'state').rglob('*')]:
        text = str(p) + (p.read_bytes().decode('latin-1') if p.is_file() else '')
        assert CANARY[:12] not in text and CANARY.replace('/', '')[:12] not in text, p

def test_what_is_no_secret_stays_readable(home):
    s = LocalObjectStore('store')
    @s.calculated('lab/f')
    def f(tokenizer, max_tokens=5, password=None): return 1
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        warnings.filterwarnings('ignore', '.* is a new store')
        assert (f.version_of('bpe', 7).ref == 'lab/f/tokenizer=bpe/max_tokens=7@1'
                and s.get('lab/f/tokenizer=wordpiece') == 1)

def test_texts_among_the_code_of_a_function_are_hashed(home):
    write(Path('helping.py'), f"class Of: KEY = '{CANARY}'\ndef helper(x, password='{CANARY}'): return x\ndef "
          "make():\n    closed = " f"'{CANARY}'\n    def f(x): return closed and helper(x) and Of.KEY and x\n    "
          "return f\n")
    sys.path.insert(0, os.getcwd())
    try: import helping
    finally: sys.path.pop(0)
    s = LocalObjectStore('store'); s.calculated('lab/f')(helping.make())(1)
    assert not [p for p in Path('store').rglob('*') if p.is_file() and CANARY[:12].encode() in p.read_bytes()]

# ---- which file counts

def test_pyproject_counts_as_a_settings_file(home, monkeypatch):
    write(Path('pyproject.toml'), '[project]\nname = "x"\n\n[tool.objectstore]\ntiers = ["data/store", '
          '"s3://lab"]\noffline = false\nmax-age = 3\n\n[tool.objectstore.mine]\ntiers = "other"\n')
    c = get_config()
    assert (c.tiers == (str(home/'clone/data/store'), 's3://lab') and (c.offline, c.max_age) == (False, 3.0)
            and c.sources['max_age'].endswith('pyproject.toml, line 7'))
    assert get_config('mine').tiers == (str(home/'clone/other'),)
    (home/'clone/nbs').mkdir(); monkeypatch.chdir('nbs'); assert get_config().tiers == c.tiers
    project('tiers = nearer'); assert get_config().tiers == (str(home/'clone/nbs/nearer'),)

@pytest.mark.parametrize('text, words',
                         [('teirs = "a"', "line 2: there is no setting 'teirs'; did you mean 'tiers'"),
                          ('trust = 3', 'line 2: trust'), ('tiers = ', 'line 2'), (f'password = "{CANARY}"', 'line 2'),
                          ('author = 7', None), ('provenance = "none"', 'line 2: provenance')])
def test_mistakes_in_it_are_told(home, text, words):
    write(Path('pyproject.toml'), f'[tool.objectstore]\n{text}\n')
    if words is None: assert get_config().author == '7'; return
    with pytest.raises(InvalidSettings) as e: get_config()
    assert words in str(e.value) and CANARY[:12] not in str(e.value)

def test_what_other_tools_write_there_is_not_ours(home):
    write(Path('pyproject.toml'), '[tool.other]\nname = "objectstore"\nbroken = = \n')
    assert get_config().tiers == ()

RUN = ("import os, sys\nos.chdir(sys.argv[1])\nfrom objectstore import ObjectStore, "
       "get_config\nprint(get_config().tiers)\n")

def test_a_settings_file_is_found_from_the_scripts_own_folder(home):
    project('tiers = store')
    script = write(home/'clone/jobs/run.py', RUN); (home/'elsewhere').mkdir()
    done = subprocess.run([sys.executable, script, home/'elsewhere'], capture_output=True, text=True, cwd=home)
    assert str(home/'clone/store') in done.stdout, done.stderr
    write(home/'elsewhere/settings.ini', '[objectstore]\ntiers = nearest\n')
    assert str(home/'elsewhere/nearest') in subprocess.run([sys.executable, script, home/'elsewhere'],
                                                           capture_output=True, text=True,
                                                           cwd=home).stdout, 'the folder of work comes first'

def test_an_installed_programs_folder_is_nobodys_project(monkeypatch):
    for path in (f'{sys.prefix}/bin/jupyter', '/opt/x/site-packages/pytest/__main__.py', 'run.py', None):
        monkeypatch.setattr(environment, 'source', lambda: path)
        assert environment.own_folder() is None

def test_the_default_store_is_named_once(home):
    with pytest.warns(UserWarning) as w: ObjectStore().put('lab/x', 1)
    assert (len(told := said(w, 'is the default one')) == 1
            and str(home/'home/.data/objectstore') in str(told[0].message)
            and str(home/'clone') in str(told[0].message))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert ObjectStore().put('lab/x', 2).version == 2

# ---- planted

def test_a_project_that_is_not_told_of_would_be_seen(home, monkeypatch):
    asked = []
    monkeypatch.setattr(first_contact.First, 'tell', lambda self, *_: asked.append(dict(self.addresses)))
    project('tiers = s3://lab\nendpoint = http://127.0.0.1:9')
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter('always')
        with pytest.raises(ConnectionError): ObjectStore(near=False, timeout=0.05).get('lab/x')
    assert asked[0] and not said(warned, 'credentials')

def test_a_parameter_that_is_not_veiled_would_be_seen(home, monkeypatch):
    asked = []
    monkeypatch.setattr(fingerprint, 'veiled', lambda name, value, veil: asked.append(name) or value)
    with pytest.raises(pytest.fail.Exception):
        test_parameters_that_are_secrets_are_stored_as_hashes(home, dict(api_key=CANARY))
    assert 'api_key' in asked
