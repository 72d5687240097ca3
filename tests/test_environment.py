"""Variables as people write them (RELIABILITY.md, 29): each one empty, with white space, CR, quotes, and with what
cannot be sent.
What can be understood works against a real service; the rest is an error of ours that names the variable and not
what it is set to."""
from __future__ import annotations
import os, warnings
from collections import Counter
import pytest
from objectstore import ObjectStore, ObjectStoreError, TierMismatch, get_config
from objectstore.storage import options, remote
from objectstore import environment
from objectstore.storage.options import KNOWN, client_options, from_environment
from services import Place

CANARY = 'c4n4ry/S3cr3t+d0n0tt3ll0123456789abcdefgh'
NOBODY = dict(AWS_ACCESS_KEY_ID='a', AWS_SECRET_ACCESS_KEY='b', AWS_REGION='us-east-1',
              AWS_ENDPOINT_URL='http://127.0.0.1:9')
ALSO = ('AWS_ENDPOINT_URL AWS_ENDPOINT_URL_S3 AWS_DEFAULT_REGION AWS_PROFILE AWS_CA_BUNDLE AWS_TOKEN AWS_CONFIG_FILE '
        'AWS_SHARED_CREDENTIALS_FILE AWS_MAX_ATTEMPTS ' 'AWS_CONDITIONAL_PUT AWS_S3_EXPRESS AWS_BUCKET AWS_RETRY_MODE '
        'AWS_USE_FIPS_ENDPOINT AWS_COPY_IF_NOT_EXISTS HTTP_PROXY').split()
OF_S3 = sorted({'AWS_' + n.upper() for n in KNOWN['s3'] | client_options} | {*ALSO})
OF_OTHERS = [('gs', 'GOOGLE_' + n.upper()) for n in sorted(KNOWN['gs'] | client_options)] + [(
    'az', 'AZURE_STORAGE_' + n.upper()) for n in sorted(KNOWN['az'] | client_options)]

@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    "Nobody's environment, and a home of the test's own"
    for k in list(os.environ):
        if k.startswith(('AWS_', 'GOOGLE_', 'AZURE_', 'OBJECTSTORE_')): monkeypatch.delenv(k)
    for k, v in dict(HOME=tmp_path/'home', OBJECTSTORE_STATE_DIR=tmp_path/'state',
                     OBJECTSTORE_CACHE_DIR=tmp_path/'cache', AWS_EC2_METADATA_DISABLED='true').items():
        monkeypatch.setenv(k, str(v))
    monkeypatch.chdir(tmp_path)
    environment._named.clear()
    return tmp_path

def set_all(monkeypatch, **variables):
    for k, v in variables.items(): monkeypatch.setenv(k, v)

def outcome(tier: str) -> BaseException | None:
    "How the first request of a store ends"
    try: ObjectStore(tier, near=False, timeout=0.05).get('lab/x')
    except BaseException as e: return e

UNCLEAN = {'empty': '', 'space': ' ', 'line': '\r\n', 'broken': 'a\rb', 'letter': 'é', 'canary': CANARY}

@pytest.mark.parametrize('variables', [OF_S3[i::6] for i in range(6)], ids=lambda v: v[0])
def test_no_variable_ends_in_a_panic(monkeypatch, figure, variables):
    ends = Counter()
    for name in variables:
        for kind, value in UNCLEAN.items():
            with monkeypatch.context() as m:
                set_all(m, **NOBODY | {name: value})
                e = outcome('s3://' if kind == 'space' else 's3://lab')
            assert isinstance(e, (ObjectStoreError, ConnectionError)), f'{name} {kind}: {e!r}'
            assert CANARY[:12] not in f'{e} {e!r}', f'{name} {kind} is repeated'
            ends[type(e).__name__] += 1
            if (kind in ('empty', 'space')
                and name not in ('AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_ENDPOINT_URL')):
                assert isinstance(e, ConnectionError), f'{name} {kind}: {e}'
    figure(f'29 variables, {variables[0]} and others', **ends)

def test_no_variable_of_other_services_does(monkeypatch):
    for scheme, name in OF_OTHERS:
        for kind, value in UNCLEAN.items():
            with monkeypatch.context() as m:
                set_all(m, AZURE_STORAGE_ACCOUNT_NAME='lab', AZURE_STORAGE_ACCOUNT_KEY='YWJj',
                        GOOGLE_SKIP_SIGNATURE='true', **{})
                m.setenv(name, value)
                try: remote.RemoteBackend(f'{scheme}://lab', endpoint='http://127.0.0.1:9', timeout=0.05).exists('x')
                except Exception as e: assert CANARY[:12] not in str(e), f'{name} {kind} is repeated'
                except BaseException as e: pytest.fail(f'{name} {kind}: {e!r}')

@pytest.mark.parametrize('name',
                         ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN', 'AWS_REGION',
                          'AWS_ENDPOINT_URL'])
def test_what_cannot_be_sent_is_named_and_not_told(monkeypatch, name):
    set_all(monkeypatch, **NOBODY | {name: f'{CANARY}\nmore'})
    e = outcome('s3://lab')
    assert isinstance(e, TierMismatch) and name in str(e) and 'a line break' in str(e) and CANARY[:12] not in str(e)

WAYS = {'as it is': '{}', 'line break': '{}\n', 'carriage return': '{}\r\n', 'space': ' {}\t', 'double quotes': '"{}"',
        'single quotes': "'{}'\n", 'quoted space': '" {} "'}

@pytest.mark.parametrize('way', WAYS)
def test_what_can_be_understood_works(seaweed, monkeypatch, way):
    "Against SeaweedFS, which refuses each key that is not exactly its own; native buckets are asked through boto3"
    set_all(monkeypatch, **{k: WAYS[way].format(v) for k, v in seaweed.environment.items()})
    set_all(monkeypatch, AWS_SESSION_TOKEN='', AWS_PROFILE=' ', AWS_ENDPOINT_URL_S3='""', AWS_CA_BUNDLE='',
            AWS_SHARED_CREDENTIALS_FILE='', AWS_SKIP_SIGNATURE=WAYS[way].format('No'))
    s = ObjectStore(Place(seaweed).url, near=False, timeout=5.0)
    assert s.put('lab/x', 1).version == 1 and s.get('lab/x') == 1
    assert 'objectstore-test' in ObjectStore('s3://', near=False, timeout=5.0).origin.place.names()

def test_an_argument_counts_before_the_environment(seaweed, monkeypatch):
    set_all(monkeypatch, AWS_ENDPOINT_URL_S3='http://127.0.0.1:9', AWS_ACCESS_KEY_ID='other',
            AWS_SECRET_ACCESS_KEY='other', AWS_SESSION_TOKEN='of other keys', AWS_CONDITIONAL_PUT='disabled')
    s = ObjectStore(Place(seaweed).url, near=False, timeout=5.0, endpoint=seaweed.endpoint,
                    storage_options=dict(access_key_id=seaweed.access_key, secret_access_key=f'{seaweed.secret_key}\n',
                                         region=seaweed.region, skip_signature='no'))
    assert (s.put('lab/x', 1).version == 1
            and ObjectStore(*s.tiers, near=False, timeout=5.0, endpoint=seaweed.endpoint,
                            storage_options=s._options).put('lab/x', 2, if_latest=1).version == 2)

@pytest.mark.parametrize('word, means',
                         [('yes', True), ('ON', True), ('1', True), ('"true"', True), ('no\n', False), ('Off', False),
                          ('0', False)])
def test_yes_and_no_are_read_the_same_everywhere(monkeypatch, word, means):
    monkeypatch.setenv('AWS_SKIP_SIGNATURE', word)
    assert from_environment('s3')['skip_signature'] == str(means).lower()
    assert ObjectStore('s3://lab', near=False, endpoint='http://h:1',
                       storage_options={'skip_signature': word.strip('"\n')}).origin.place._options[
        'skip_signature'] == str(means).lower()
    for name, key in dict(OBJECTSTORE_OFFLINE='offline', OBJECTSTORE_TRUST='trust').items():
        monkeypatch.setenv(name, word); assert get_config()[key] is means
    plain = word.strip('"\n')
    assert ObjectStore(f's3://lab?endpoint=http://h:1&skip_signature={plain}',
                       near=False).origin.place._options['skip_signature'] == str(means).lower()
    assert ObjectStore(f'file:///tmp/nowhere?shared={plain}').origin.place.can.place == ('shared' if means else 'local')

@pytest.mark.parametrize('name, meant',
                         [('OBJECTSTORE_TIER', 'OBJECTSTORE_TIERS'),
                          ('OBJECTSTORE_ENDPOINT_URL', 'OBJECTSTORE_ENDPOINT'),
                          ('OBJECT_STORE_TIERS', 'OBJECTSTORE_TIERS'), ('objectstore_offline', 'OBJECTSTORE_OFFLINE'),
                          ('OBJECTSTORE_CACHEDIR', 'OBJECTSTORE_CACHE_DIR'),
                          ('OBJECTSTORE_PROVENENCE', 'OBJECTSTORE_PROVENANCE')])
def test_a_misspelt_variable_is_warned_of_once(monkeypatch, name, meant):
    monkeypatch.setenv(name, CANARY)
    with pytest.warns(UserWarning,
                      match=f"{name} is set, and is no variable of this library; did you mean '{meant}'") as w:
        ObjectStore('memory://')
    said = [x for x in w if name in str(x.message)]
    assert len(said) == 1 and said[0].filename == __file__ and CANARY not in str(said[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        ObjectStore('memory://')

def test_our_own_variables_are_not_warned_of(monkeypatch):
    set_all(monkeypatch, OBJECTSTORE_TIMEOUT=' "3" ', OBJECTSTORE_TEST_S3_ENDPOINT='x', OBJECTSTORE_SOAK='2',
            OBJECTSTORE_AUTHOR='ana', OBJECTSTORE_MAX_AGE='', OBJECTSTORE_ENDPOINT=' ')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        c = get_config()
    assert (c.timeout, c.author, c.max_age, c.endpoint) == (3.0, 'ana', 0.0, None)

@pytest.mark.parametrize('key', ['OFFLINE', 'MAX_AGE', 'CACHE_LIMIT', 'TIMEOUT', 'TRUST', 'ENDPOINT', 'PROVENANCE'])
def test_a_setting_in_the_environment_is_named_and_not_told(monkeypatch, key):
    monkeypatch.setenv(f'OBJECTSTORE_{key}', CANARY)
    with pytest.raises(ObjectStoreError, match=f'OBJECTSTORE_{key}') as e: get_config()
    assert CANARY[:12] not in str(e.value)

def test_which_setting_was_missing_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv('AWS_ACCESS_KEY_ID', 'a')
    assert 'AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not' in str(outcome('s3://lab'))
    monkeypatch.setenv('AWS_SECRET_ACCESS_KEY', 'b')
    assert 'no endpoint is set (AWS_ENDPOINT_URL)' in remote.RemoteBackend('s3://lab')._place()
    monkeypatch.setenv('AWS_ENDPOINT_URL', 'http://127.0.0.1:9')
    assert 'at http://127.0.0.1:9 (AWS_ENDPOINT_URL)' in str(outcome('s3://lab'))
    for k in ('AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'): monkeypatch.delenv(k)
    assert 'neither in the environment nor in ~/.aws/credentials' in str(outcome('s3://lab'))
    (tmp_path/'keys').write_text('[lab]\naws_access_key_id = a\naws_secret_access_key = b\n')
    set_all(monkeypatch, AWS_PROFILE='lap', AWS_SHARED_CREDENTIALS_FILE=f'{tmp_path}/keys')
    assert (f"AWS_PROFILE names the profile 'lap', and neither {tmp_path}/keys nor ~/.aws/config has it; did you mean "
            "'lab'?" in str(outcome('s3://lab')))

# ---- planted: what this is for

def test_without_cleaning_there_would_be_a_panic(monkeypatch):
    asked = []
    def raw(*names): asked.append(names); return next((os.environ[n] for n in names if os.environ.get(n)), None)
    monkeypatch.setattr(options, 'variable', raw); monkeypatch.setattr(options, 'sendable', lambda name, text: text)
    set_all(monkeypatch, **NOBODY | {'AWS_ACCESS_KEY_ID': 'a\n'})
    e = outcome('s3://lab')
    assert (asked and isinstance(e, TierMismatch)
            and 'InvalidHeaderValue' in str(e)), 'a panic, which is an error of ours'
    monkeypatch.setattr(remote, 'calmly', lambda what, call, *args: call(*args))
    e = outcome('s3://lab')
    assert type(e).__name__ == 'PanicException' and not isinstance(e, Exception)
