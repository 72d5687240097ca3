"""No secret is shown, logged, pickled or stored (RELIABILITY.md, 20): a canary is given in every way in which a key can
be given,
everything that comes out is searched for it, and the hits are counted."""
from __future__ import annotations
import base64, copy, io, logging, os, pickle, pprint, re, sys, traceback, urllib.parse, warnings
from collections import Counter
from pathlib import Path
from unittest import mock

import pytest

from objectstore import LocalObjectStore, ObjectStore, ObjectStoreError, get_config
from objectstore.storage import options, remote
from planting import planted
from services import Place
from stacks import home, requests  # noqa: F401 (fixtures)

CANARY = 'c4n4ry/S3cr3t+d0n0tt3ll0123456789abcdefgh'
FORMS = [CANARY, CANARY[::-1], urllib.parse.quote(CANARY, safe=''), base64.b64encode(CANARY.encode()).decode()[:40],
         CANARY.encode().hex(), CANARY.replace('/', '\\/'), CANARY[:12], CANARY[-12:]]
ENV = ['AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN', 'AZURE_STORAGE_ACCOUNT_KEY', 'GOOGLE_SERVICE_ACCOUNT_KEY']

def hits(*said: object) -> list[str]:
    "Where a canary, in any form, is in some output"
    found = []
    for s in said:
        text = s.decode('latin-1') if isinstance(s, bytes) else str(s)
        found += [f'{form[:6]}… in {text[max(0, text.find(form) - 60):text.find(form)]!r}' for form in FORMS
                  if form in text]
    return found

TRIED: Counter = Counter()

@pytest.fixture(autouse=True)
def figures(figure):
    "What a test has searched"
    before = Counter(TRIED)
    yield
    if made := TRIED - before:
        figure.add('20 secrets', outputs=made.total() - made['hits'], hits=made['hits'])

def clean(kind: str, *said: object) -> None:
    "Count outputs, and raise where one holds the canary"
    found = hits(*said)
    TRIED[kind] += len(said)
    TRIED['hits'] += len(found)
    assert not found, f'{kind}: {found[:3]}'

@pytest.fixture
def logged(caplog):
    "Everything that is logged, of every library, at every level; on a short leash, for boto3 says much"
    stream, handler = io.StringIO(), None
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter('%(name)s %(message)s %(exc_text)s'))
    ours = [logging.getLogger(n) for n in ('', 'objectstore', 'obstore', 'urllib3')]
    levels = [l.level for l in ours]
    for l in ours: l.setLevel(1)
    logging.getLogger().addHandler(handler)
    yield stream
    logging.getLogger().removeHandler(handler)
    for l, n in zip(ours, levels): l.setLevel(n)

def given(how: str, monkeypatch) -> dict:
    "Arguments of a store whose key is the canary, however it is given"
    for k in ENV + ['AWS_ACCESS_KEY_ID']: monkeypatch.delenv(k, raising=False)
    monkeypatch.setenv('AWS_EC2_METADATA_DISABLED', 'true')
    if how == 'environment':
        monkeypatch.setenv('AWS_ACCESS_KEY_ID', 'AKIAEXAMPLE')
        for k in ENV: monkeypatch.setenv(k, CANARY)
        return {}
    if how == 'profile':
        (p := Path.home()/'.aws').mkdir(parents=True, exist_ok=True)
        (p/'credentials').write_text(f'[lab]\naws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = {CANARY}\n')
        monkeypatch.setenv('AWS_PROFILE', 'lab')
        monkeypatch.setenv('AWS_SHARED_CREDENTIALS_FILE', str(p/'credentials'))
        return {}
    name = dict(options='secret_access_key', aws_options='aws_secret_access_key', upper='AWS_SECRET_ACCESS_KEY')[how]
    id = name.replace('secret_access_key', 'access_key_id').replace('SECRET_ACCESS_KEY', 'ACCESS_KEY_ID')
    return dict(storage_options={name: CANARY, id: 'AKIAEXAMPLE', 'region': 'eu-test-1'})

def outputs(x: object) -> list:
    "Every way to look at an object"
    told = [repr(x), str(x), format(x), pprint.pformat(x), repr(vars(x)) if hasattr(x, '__dict__') else '']
    if hasattr(x, '_repr_mimebundle_'): told += list(x._repr_mimebundle_().values())
    return told

def tracebacks(call, may_work: bool = False) -> list[str]:
    "What is shown of a failure: plainly, as a log would, and with the values of the library's own locals"
    try: call()
    except BaseException as e:
        said = [str(e), repr(e), ''.join(traceback.format_exception(e)), repr(e.args),
                repr(getattr(e, '__notes__', ''))]
        chain, seen = e, []
        while chain is not None and chain not in seen:
            seen.append(chain)
            said += [repr(chain), str(vars(chain))]
            for frame, _ in traceback.walk_tb(chain.__traceback__):
                if f'{os.sep}objectstore{os.sep}' in frame.f_code.co_filename:
                    said += [f'{frame.f_code.co_name}: {k} = {safe_repr(v)}' for k, v in frame.f_locals.items()]
            chain = chain.__cause__ or chain.__context__
        return said
    if may_work: return []
    raise AssertionError('it did not fail')

def told(call) -> list[str]:
    "What is shown of a failure without the values of locals: who reads a variable or a line of a file has it in one"
    try: call()
    except Exception as e:
        return [str(e), repr(e), ''.join(traceback.format_exception(e)), repr(e.args),
                repr(getattr(e, '__notes__', ''))]
    return []

def safe_repr(v):
    try: return repr(v)
    except Exception as e: return f'<{type(e).__name__}>'

HOW = ['environment', 'profile', 'options', 'aws_options', 'upper']
NOWHERE = dict(endpoint='http://127.0.0.1:9', timeout=0.2)

@pytest.mark.parametrize('tier, how, near',
                         [(t, h, n) for t in ('s3://lab/prefix', 's3://') for h in HOW for n in (False, True)])
def test_a_store_that_cannot_be_reached(home, monkeypatch, logged, how, tier, near):
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter('always')
        s = ObjectStore(tier, near=near, **NOWHERE, **given(how, monkeypatch))
        clean('repr', *outputs(s), *outputs(s.origin), *outputs(s.origin.place))
        for call in (lambda: s.get('lab/x'), lambda: s.put('lab/x', 1), lambda: s.list_buckets(),
                     lambda: s.find_items(), lambda: s['lab/x'], lambda: s.find_or_create_bucket('lab'),
                     lambda: s.get_stats(), lambda: s.put('lab/x', b'%' * 100_000)):
            clean('traceback', *tracebacks(call, may_work=near))
        clean('pickle', pickle.dumps(s), *([] if near else [pickle.dumps(s.origin.place)]),
              *(pickle.dumps(s, protocol=p) for p in range(2, 6)))
        again = pickle.loads(pickle.dumps(s))
        clean('repr', *outputs(again), *outputs(again.origin.place), *outputs(copy.copy(s)), *outputs(copy.deepcopy(s)))
        clean('traceback', *tracebacks(lambda: again.get('lab/x'), may_work=near))
        if near: assert s.status() and (home/'home').rglob('*')
    for p in home.rglob('*'):
        if p.is_file() and p.name not in ('settings.ini', 'credentials', 'config'): clean('file', p.read_bytes())
    clean('log', logged.getvalue(), *(str(w.message) for w in warned))

def test_options_that_are_no_secret_travel_with_a_pickle(home, monkeypatch):
    s = pickle.loads(pickle.dumps(ObjectStore('s3://lab', near=False, **NOWHERE, **given('options', monkeypatch))))
    assert s.origin.place._options['region'] == 'eu-test-1' and 'secret_access_key' not in s.origin.place._options

@pytest.mark.parametrize('call',
                         [lambda: ObjectStore(f's3://AKIA:{CANARY}@lab'),
                          lambda: ObjectStore(f's3://lab?secret_access_key={urllib.parse.quote(CANARY)}'),
                          lambda: ObjectStore('s3://lab', endpoint=f'http://k:{CANARY}@h:1'),
                          lambda: ObjectStore('s3://lab', endpoint=f'http://h:1?token={CANARY}'),
                          lambda: ObjectStore('s3://lab', storage_options={'secret_acces_key': CANARY}),
                          lambda: ObjectStore('s3://lab', storage_options=CANARY),
                          lambda: ObjectStore('s3://lab', storage_options=[('secret_access_key', CANARY)]),
                          lambda: ObjectStore('gs://lab', storage_options={'service_account_kye': CANARY}),
                          lambda: ObjectStore('az://lab', storage_options={'acount_key': CANARY}),
                          lambda: ObjectStore(f'az://lab?sas_key={CANARY}'),
                          lambda: LocalObjectStore(f's3://k:{CANARY}@lab')], ids=range(11))
def test_a_secret_in_the_wrong_place_is_refused_and_not_repeated(home, call):
    try: call()
    except ObjectStoreError as e:
        clean('message', str(e), repr(e), repr(e.args))
        clean('traceback', *[l for l in ''.join(traceback.format_exception(e)).splitlines() if 'test_secrets' not in l])
    else: pytest.fail('it was taken')

@pytest.mark.parametrize('text',
                         [f'secret_access_key = {CANARY}', f'tiers = s3://k:{CANARY}@lab',
                          f'tiers = s3://lab?secret_access_key={CANARY}', f'endpoint = http://k:{CANARY}@h:1',
                          f'password = {CANARY}', f'tires = {CANARY}', f'timeout = {CANARY}', f'{CANARY}',
                          f'trust = {CANARY}', f'aws_session_token = {CANARY}'])
def test_a_secret_in_the_settings_is_refused_and_not_repeated(home, text):
    Path('settings.ini').write_text(f'[objectstore]\n{text}\n')
    for call in (ObjectStore, get_config):
        with pytest.raises(ObjectStoreError) as e: call()
        if not re.match('tires|timeout|trust', text): clean('message', str(e.value), repr(e.value))

@pytest.fixture(params=['seaweed', 'ceph'])
def real(request, home, monkeypatch):
    "A place on a service whose own key is what is looked for"
    service = request.getfixturevalue(request.param)
    for k in list(os.environ):
        if k.startswith('AWS_'): monkeypatch.delenv(k)
    monkeypatch.setattr(sys.modules[__name__], 'FORMS',
                        [service.secret_key, urllib.parse.quote(service.secret_key, safe=''),
                         base64.b64encode(service.secret_key.encode()).decode()])
    return service

@pytest.mark.parametrize('how', ['environment', 'options'])
def test_a_store_that_works(real, monkeypatch, logged, capfd, how, tmp_path):
    options = {}
    if how == 'environment':
        for k, v in real.environment.items(): monkeypatch.setenv(k, v)
    else:
        options = dict(storage_options=dict(access_key_id=real.access_key, secret_access_key=real.secret_key,
                                            region=real.region))
    place = Place(real)
    s = ObjectStore(place.url, endpoint=real.endpoint, timeout=5.0, progress=True, **options)
    (top := Path('folder')).mkdir(); (top/'a').write_bytes(b'1')
    v = s.put('lab/x', {'a': 1}, metadata={'a': 1}, alias='production')
    s.put('lab/x', b'%' * 100_000)
    f = s.put('lab/f', top)
    s.annotate(v, {'b': 1}); s.put_many({f'lab/m{i}': i for i in range(5)})
    things = [s, v, s['lab/x'], s.versions('lab/x'), s.find_items('lab'), v.stats, v.lineage, s.get_stats(),
              s.get_stats('lab'), s.aliases('lab/x'), s.get(f), v.compare(s['lab/x']), s.origin, s.origin.place,
              s.origin.bucket('lab')]
    for t in things: clean('repr', *outputs(t))
    for t in things[:12]: clean('pickle', pickle.dumps(t))
    assert s.get('lab/x', as_='bytes') and v.path() and s.get(f).path()
    clean('stored', *(part for e in s.origin.place.list('') for part in (e.key, s.origin.place.read(e.key))))
    clean('cached', *(p.read_bytes() for p in (tmp_path/'home').rglob('*') if p.is_file()),
          *(str(p) for p in tmp_path.rglob('*')))
    for call in (lambda: s.get('lab/nothing'), lambda: s.put('lab/x', object()), lambda: s.set_alias('lab/x@9', 'a'),
                 lambda: s.get('lab/x', as_='pandas'), lambda: s.put('lab/x', 1, if_latest=7)):
        clean('traceback', *tracebacks(call))
    with requests(s, mock.Mock(side_effect=ConnectionError('cut'))):
        clean('traceback', *tracebacks(lambda: s.get('lab/x')))
    clean('log', logged.getvalue(), *capfd.readouterr())
    if how == 'options':
        again = pickle.loads(pickle.dumps(s))
        clean('traceback', *tracebacks(lambda: again.get('lab/x')))

@pytest.mark.parametrize('how', ['options', 'environment'])
def test_a_wrong_key_is_named_and_not_shown(real, monkeypatch, logged, how):
    monkeypatch.setattr(sys.modules[__name__], 'FORMS', [CANARY, CANARY[:12], urllib.parse.quote(CANARY, safe='')])
    options = given(how, monkeypatch)
    s = ObjectStore(Place(real).url, endpoint=real.endpoint, timeout=5.0, **options)
    for call in (lambda: s.get('lab/x'), lambda: s.put('lab/x', 1), lambda: s.list_buckets()):
        with pytest.raises(ObjectStoreError) as e: call()
        assert isinstance(e.value, PermissionError)
        clean('traceback', *tracebacks(call))
    clean('log', logged.getvalue())

def test_what_is_stored_locally_holds_nothing_of_the_environment(home, monkeypatch, tmp_path):
    for how in ('environment', 'profile'): given(how, monkeypatch)
    for k in ENV + ['PASSWORD', 'DATABASE_URL', 'TOKEN']: monkeypatch.setenv(k, CANARY)
    monkeypatch.setattr(sys, 'argv', ['train.py', '--password', CANARY])
    s = ObjectStore('data')
    s.put('lab/x', {'a': 1}, metadata={'a': 1}, alias='production')
    s.put('lab/x', b'%' * 100_000).path()
    s.annotate('lab/x', {'b': 1})
    s.remove('lab/x@2')
    clean('stored', *(p.read_bytes() for p in Path('data').rglob('*') if p.is_file()),
          *(p.read_bytes() for p in (tmp_path/'home').rglob('*') if p.is_file() and '.aws' not in p.parts))
    clean('repr', *outputs(s), *outputs(get_config()), *outputs(s['lab/x@1'].lineage))


# ---- everywhere

SECRET_OPTIONS = [(scheme, name) for scheme in ('s3', 'gs', 'az')
                  for name in sorted(options.KNOWN[scheme] | options.client_options)]

@pytest.mark.parametrize('scheme', ['s3', 'gs', 'az', 'native'])
def test_a_canary_in_every_option(home, monkeypatch, logged, scheme):
    "Each option of each service; one that is public by its nature (a region, an account) is not a place for a secret"
    for k, v in dict(AWS_ACCESS_KEY_ID='a', AWS_SECRET_ACCESS_KEY='b').items(): monkeypatch.setenv(k, v)
    tier, of = ('s3://', 's3') if scheme == 'native' else (f'{scheme}://lab', scheme)
    for name in sorted(options.KNOWN[of] | options.client_options):
        secret = name in options.SECRET
        value = CANARY if secret else f'http://me:{CANARY.replace("/", "")}@h:1'
        given = {name: value, **({'access_key_id': 'a', 'secret_access_key': 'b'} if of == 's3' else {}),
                 **({'account_name': 'lab'} if of == 'az' else {})} | {name: value}
        url = f'{tier.rstrip("/")}{"//" if scheme == "native" else ""}?{name}={urllib.parse.quote(value, safe="")}'
        clean('traceback', *told(lambda: ObjectStore(url, near=False, endpoint='http://127.0.0.1:9').get('lab/x')))
        with planted(sys.modules[__name__], 'FORMS', [*FORMS, CANARY.replace('/', '')]):
            try:
                s = ObjectStore(tier, near=False, timeout=0.1, endpoint='http://127.0.0.1:9' if of == 's3' else None,
                                storage_options=given)
            except ObjectStoreError as e: clean('message', str(e), repr(e)); continue
            clean('repr', *outputs(s), *outputs(s.origin.place))
            clean('pickle', pickle.dumps(s), pickle.dumps(s.origin.place))
            if of == 's3': clean('traceback', *told(lambda: s.get('lab/x')), *told(lambda: s.put('lab/x', 1)))
    clean('log', logged.getvalue())

SHOWN = {'TIERS', 'AUTHOR'}       # a place and a name, which are there to be shown
VARIABLES = [
    *(f'AWS_{n.upper()}' for n in sorted(options.KNOWN['s3'] | options.client_options)),
    'AWS_PROFILE', 'AWS_CA_BUNDLE', 'AWS_ENDPOINT_URL_S3', 'AWS_TOKEN', 'HTTPS_PROXY', 'http_proxy',
    'GOOGLE_SERVICE_ACCOUNT_KEY', 'AZURE_STORAGE_KEY', 'DATABASE_URL', 'PASSWORD',
    *(f'OBJECTSTORE_{k.upper()}' for k in get_config(files=False) if k.upper() not in SHOWN),
    'OBJECTSTORE_SECRET', 'OBJECTSTORE_TIER']

def test_a_canary_in_every_variable(home, monkeypatch, logged, tmp_path):
    "What is said and what is written, of a store on a service that is not there and of one on this machine"
    for i, name in enumerate(VARIABLES):
        with monkeypatch.context() as m, warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter('always')
            m.setattr(sys, 'argv', ['train.py', '--password', CANARY])
            for k, v in dict(AWS_ACCESS_KEY_ID='a', AWS_SECRET_ACCESS_KEY='b', AWS_REGION='x').items(): m.setenv(k, v)
            m.setenv(name, f'http://me:{CANARY}@h:1' if 'proxy' in name.lower() else CANARY)
            clean('traceback',
                  *told(lambda: ObjectStore('s3://lab', near=False, timeout=0.1,
                                            endpoint='http://127.0.0.1:9').get('lab/x')))
            def local():
                s = ObjectStore('data')
                s.calculated(f'lab/f{i}')(lambda x, n=1: x)(i)
                v = s.put('lab/x', {'a': 1}, metadata={'a': 1}, alias='production'); s.annotate(v, {'b': 1})
                clean('repr', *outputs(s), *outputs(v), *outputs(s.status()), *outputs(v.lineage),
                      *outputs(get_config()))
                clean('pickle', pickle.dumps(s), pickle.dumps(v))
            clean('traceback', *told(local))
        clean('message', *(str(w.message) for w in warned))
    clean('stored',
          *(f'{p}'.encode() + (p.read_bytes() if p.is_file() else b'') for top in (Path('data'), tmp_path/'home')
            for p in top.rglob('*') if '.aws' not in p.parts))
    clean('log', logged.getvalue())

@pytest.mark.parametrize('file', ['settings.ini', 'pyproject.toml', 'user', '.aws/credentials', '.aws/config'])
def test_a_canary_in_every_file(home, monkeypatch, logged, file):
    "Each key of each file that is read, known and unknown"
    from objectstore.storage.config import user_file
    words = (['endpoint', 'offline', 'max_age', 'cache_limit', 'timeout', 'trust', 'provenance', 'secret_access_key',
              'password', 'token', 'region', 'proxy_url', 'api_key'] if '.aws' not in file
             else ['aws_secret_access_key', 'aws_session_token', 'role_arn', 'credential_process', 'region',
                   'nonsense'])
    path = user_file() if file == 'user' else Path.home()/file if '.aws' in file else Path(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    for k in ENV + ['AWS_ACCESS_KEY_ID']: monkeypatch.delenv(k, raising=False)
    for name, value in (('AWS_SHARED_CREDENTIALS_FILE', Path.home()/'.aws/credentials'),
                        ('AWS_CONFIG_FILE', Path.home()/'.aws/config'), ('AWS_EC2_METADATA_DISABLED', 'true')):
        monkeypatch.setenv(name, str(value))
    for word in [*words, CANARY]:
        line = f'{word} = "{CANARY}"' if file == 'pyproject.toml' else f'{word} = {CANARY}'
        if '.aws' in file: path.write_text(f'[default]\naws_access_key_id = AKIAEXAMPLE\n{line}\n')
        else: path.write_text(f'[{"tool." if "toml" in file else ""}objectstore]\n{line}\n')
        for call in (lambda: ObjectStore(near=False), get_config,
                     lambda: ObjectStore('s3://lab', near=False, timeout=0.1,
                                         endpoint='http://127.0.0.1:9').get('lab/x')):
            # the name of a key that is not known is repeated
            if word != CANARY or '.aws' in file: clean('message', *told(call))
    clean('log', logged.getvalue())

# ---- leaks that this must find

def _leaky(self): return f'{type(self).__name__}({dict(self)})'
def _logging(real):
    return lambda self, *a: logging.getLogger('objectstore').debug('client %s', dict(self._options)) or real(self, *a)
PLANTED = {'options are shown': ((options.Options, '__repr__', _leaky), 'repr'),
           'options are pickled': ((options.Options, 'public', lambda self: self), 'pickle'),
           'errors tell all': ((remote.RemoteBackend, '_explain', lambda self, e, key, body=True,
                                verb='': ConnectionError(f'{key} with {dict(self._options)}')), 'traceback'),
           'requests are logged': ((remote.RemoteBackend, '_client', _logging(remote.RemoteBackend._client)), 'log'),}

@pytest.mark.parametrize('leak', PLANTED)
def test_a_planted_leak_is_found(home, monkeypatch, logged, leak):
    (owner, name, what), kind = PLANTED[leak]
    before, tried = TRIED['hits'], Counter(TRIED)
    monkeypatch.setattr(owner, name, what)
    try:
        test_a_store_that_cannot_be_reached(home, monkeypatch, logged, how='options', tier='s3://lab/prefix',
                                            near=False)
    except AssertionError as e: assert str(e).startswith(kind)
    else: pytest.fail('it was not found')
    assert TRIED['hits'] > before
    TRIED.clear(); TRIED.update(tried)           # what was planted does not count
