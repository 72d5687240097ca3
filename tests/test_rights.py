"""Keys with the least rights of a reader, a writer and a keeper, as the page *Whose keys may do what* gives them, on
Ceph:
each verb with keys of each, allowed or refused in words. And the rights of SeaweedFS, which has no policies."""
from __future__ import annotations
import json, os, re, secrets, subprocess
from pathlib import Path
import pytest
from objectstore import ObjectStore, Protected, NotFound
from objectstore.storage import remote
from objectstore.testing.service import weed_program
from proxy import Proxy

PAGE = Path(__file__).parent.parent/'nbs'/'explanations'/'rights.ipynb'
ROLES = ('reader', 'writer', 'keeper', 'one')
RANK = dict(one=0, reader=1, writer=2, keeper=3)

def policies() -> dict[str, list[dict]]:
    "The statements of each role, as the page has them"
    text = '\n'.join(''.join(c['source']) for c in json.loads(PAGE.read_text())['cells'])
    found = [json.loads(block)['Statement'] for block in re.findall(r'```json\n(.*?)```', text, re.DOTALL)]
    assert len(found) == len(ROLES)
    return dict(zip(ROLES, found))

@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    for k in list(os.environ):
        if k.startswith('AWS_'): monkeypatch.delenv(k)
    for k, v in dict(HOME=tmp_path/'home', OBJECTSTORE_STATE_DIR=tmp_path/'state',
                     OBJECTSTORE_CACHE_DIR=tmp_path/'cache').items():
        monkeypatch.setenv(k, str(v))

@pytest.fixture(scope='module')
def lab(ceph):
    "A bucket of Ceph with four users, whose policies are those of the page, and a store that the keeper has made"
    bucket, users = ceph.make_bucket(f'rights-{secrets.token_hex(4)}'), {}
    statements = []
    for role, given in policies().items():
        user = f'{role}{secrets.token_hex(4)}'
        users[role] = dict(access_key_id=f'AK{user}', secret_access_key=secrets.token_hex(16), region=ceph.region)
        ceph._ceph('radosgw-admin', 'user', 'create', f'--uid={user}', '--display-name=x',
                   f'--access-key={users[role]["access_key_id"]}', f'--secret-key={users[role]["secret_access_key"]}')
        statements += json.loads(json.dumps(given).replace('USER', user).replace(':::lab', f':::{bucket}'))
    ceph.client().put_bucket_policy(Bucket=bucket, Policy=json.dumps(dict(Version='2012-10-17', Statement=statements)))
    ceph.client().put_object(Bucket=bucket, Key='other/secret', Body=b'not of the store')
    def open(role, endpoint=None, **options):
        return ObjectStore(f's3://{bucket}/team', endpoint=endpoint or ceph.endpoint, storage_options=users[role],
                           timeout=5.0, progress=False, **options)
    open.endpoint, open.bucket = ceph.endpoint, bucket
    return open

BIG, HUGE = os.urandom(100_000), os.urandom(9 << 20)
VERBS = {        # The verb: what it asks, the first role that may, and what it gives
    'get': (lambda s: s.get('data/x'), 'one', 1),
    'get an alias': (lambda s: s.get('data/x@production'), 'one', 1),
    'get a large one': (lambda s: s.get('data/big') == BIG, 'one', True),
    'get what is not there': (lambda s: s.get('data/nothing', default=7), 'one', 7),
    'in': (lambda s: 'data/nothing' in s, 'one', False),
    'versions': (lambda s: len(s.versions('data/x')), 'one', ...),
    'find_items of a bucket': (lambda s: len(s.find_items('data')) > 1, 'one', True),
    'get_stats of a bucket': (lambda s: s.get_stats('data')['items'] > 1, 'one', True),
    'aliases': (lambda s: 'production' in s.aliases('data/x'), 'one', True),
    'explain': (lambda s: bool(s.explain('data/x')), 'one', True),
    'status': (lambda s: bool(s.status()), 'one', True),
    'list_buckets': (lambda s: 'data' in s.list_buckets(), 'reader', True),
    'find_items': (lambda s: len(s.find_items()) > 1, 'reader', True),
    'get_stats': (lambda s: s.get_stats()['items'] > 1, 'reader', True),
    'put': (lambda s: s.put('data/y', 1).version, 'writer', ...),
    'put a large one': (lambda s: s.put('data/large', BIG).version, 'writer', ...),
    'put one in parts': (lambda s: s.put('data/huge', HUGE).version, 'writer', ...),
    'put_many': (lambda s: len(s.put_many({'data/m1': 1, 'data/m2': 2})), 'writer', 2),
    'put into a new bucket': (lambda s: s.put(f'new-{secrets.token_hex(4)}/x', 1).version, 'writer', 1),
    'find_or_create_bucket': (lambda s: s.find_or_create_bucket('made'), 'writer', 'made'),
    'annotate': (lambda s: bool(s.annotate('data/x@1', {'seen': True})), 'writer', True),
    'set_alias': (lambda s: s.set_alias('data/x@1', f'a{secrets.token_hex(4)}').version, 'writer', 1),
    'copy': (lambda s: s.copy('data/x@1', 'data/z').version, 'writer', ...),
    'remove': (lambda s: s.remove(s.put('data/gone', 1)), 'writer', 1),
    'remove_alias': (
        lambda s: s.remove_alias(s.set_alias('data/x@1', 'short').ref.partition('@')[0], 'short'), 'writer', True),
    'remove_bucket': (
        lambda s: s.remove_bucket(s.put(f'old-{secrets.token_hex(4)}/x', 1).bucket, force=True), 'writer', True),
    'compact': (lambda s: s.put('data/y', 1) and bool(s.care.compact('data')), 'keeper', True),
}

@pytest.fixture(scope='module')
def made(lab):
    with lab('keeper', near=False) as s:
        s.put('data/x', 1, alias='production'); s.put('data/big', BIG); s.put('other/x', 1)
    return lab

@pytest.mark.parametrize('near', [False, True], ids=['alone', 'near'])
@pytest.mark.parametrize('role', ROLES)
def test_each_verb_is_allowed_or_refused_in_words(made, figure, role, near):
    allowed = refused = 0
    with made(role, near=near) as s:
        for verb, (call, least, gives) in VERBS.items():
            if RANK[role] >= RANK[least]:
                answer = call(s); allowed += 1
                assert answer == gives or gives is ..., f'{role} {verb}: {answer}'
                continue
            with pytest.raises(Protected) as e: call(s)
            refused += 1
            said = str(e.value)
            assert (re.search(rf'403 \w+; these keys may not (write|list|delete) {made.bucket}/team', said)
                    and 'the keys are from storage_options' in said), f'{role} {verb}: {said}'
            assert not s._options['secret_access_key'] in said
        assert not s.pending or not s.pending.known, 'nothing waits for a right that is not there'
    figure(f'29 least rights, {role}, near={near}', verbs=len(VERBS), allowed=allowed, refused=refused, others=0)

def test_nothing_above_the_stores_own_prefix_is_listed(made):
    b = remote.RemoteBackend(f's3://{made.bucket}', endpoint=made.endpoint,
                             options=dict(made('reader', near=False)._options), timeout=5.0)
    with pytest.raises(PermissionError, match='may not list'): list(b.list('other/'))
    with pytest.raises(PermissionError, match=f'may not read {made.bucket}/other/secret'): b.read('other/secret')

def test_what_is_absent_costs_one_request_more_where_a_prefix_alone_may_be_listed(made):
    with Proxy(made.endpoint) as proxy:
        b = made('reader', endpoint=proxy.endpoint, near=False).origin.place
        b.exists('objectstore.json')
        with proxy.counting() as c: assert not b.exists('data/records/nothing/@/0000000001')
        assert [r.method for r in c] == ['HEAD', 'GET']
        with proxy.counting() as c, pytest.raises(FileNotFoundError): b.read('data/records/nothing/@/0000000001')
        assert len(c) == 2

def test_without_that_look_what_is_absent_is_refused(made, monkeypatch):
    "Planted: the answer of the service taken as it is"
    with pytest.raises(NotFound): made('reader', near=False).get('data/x@99')
    asked = []
    monkeypatch.setattr(remote.RemoteBackend, '_not_listed', lambda self, said, key: asked.append(key))
    with pytest.raises(Protected): made('reader', near=False).get('data/x@99')
    assert asked

def test_the_rights_of_seaweedfs(seaweed):
    "Its actions for a prefix: a reader reads there, and is refused all else in words"
    user = f'reader{secrets.token_hex(4)}'
    bucket, keys = seaweed.make_bucket(f'rights-{secrets.token_hex(4)}'), dict(
        access_key_id=f'AK{user}', secret_access_key='reads', region=seaweed.region)
    p = seaweed.first_port
    done = subprocess.run([weed_program(), 'shell', f'-master=127.0.0.1:{p}', f'-filer=127.0.0.1:{p + 2}'],
                          capture_output=True, text=True, timeout=60,
                          input=f's3.configure -user={user} -access_key={keys["access_key_id"]} -secret_key=reads '
                          f'-actions=Read,List -buckets={bucket} -apply\n')
    assert not done.returncode, done.stderr
    own = dict(access_key_id=seaweed.access_key, secret_access_key=seaweed.secret_key, region=seaweed.region)
    def open(options):
        return ObjectStore(f's3://{bucket}/team', endpoint=seaweed.endpoint, storage_options=options, timeout=5.0,
                           near=False)
    open(own).put('data/x', 1, alias='production')
    s = open(keys)
    assert (s.get('data/x') == 1 and s.get('data/x@production') == 1 and s.list_buckets() == ['data']
            and len(s.find_items()) == 1 and s.get('data/nothing', default=7) == 7)
    for call in (lambda: s.put('data/x', 2), lambda: s.set_alias('data/x@1', 'a'),
                 lambda: s.remove('data/x@1', force=True)):
        with pytest.raises(Protected, match=f'these keys may not write {bucket}/team/data'): call()
