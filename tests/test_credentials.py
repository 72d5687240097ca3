"""Credentials that are renewed while a store is open, on real services whose keys change: the environment, a file,
boto3's chain.
What was refused is sent once more with the new ones, within the call; without new ones nothing is sent twice."""
from __future__ import annotations
import os, secrets, subprocess, threading
import pytest
from objectstore import ObjectStore, Protected
from objectstore.storage import remote, urls
from objectstore.testing.service import weed_program
from proxy import Proxy, answer, kind
from services import CephService, Place

@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    for k in list(os.environ):
        if k.startswith('AWS_'): monkeypatch.delenv(k)
    for k, v in dict(HOME=tmp_path/'home', OBJECTSTORE_STATE_DIR=tmp_path/'state',
                     OBJECTSTORE_CACHE_DIR=tmp_path/'cache', AWS_EC2_METADATA_DISABLED='true',
                     AWS_REGION='us-east-1').items():
        monkeypatch.setenv(k, str(v))
    return tmp_path

class Keys:
    "A user of a service whose keys can be made and taken away"
    def __init__(self, service): self.service, self.user, self.now = service, f'user{secrets.token_hex(4)}', None

    def renew(self) -> dict:
        "New keys; those of before are refused from now on"
        old, self.now = self.now, dict(access=f'AK{secrets.token_hex(6)}', secret=secrets.token_hex(16))
        (self._ceph if isinstance(self.service, CephService) else self._weed)(old)
        return self.now

    def _ceph(self, old):
        s, new = self.service, [f'--access-key={self.now["access"]}', f'--secret-key={self.now["secret"]}']
        if not old:
            s._ceph('radosgw-admin', 'user', 'create', f'--uid={self.user}', '--display-name=x', *new)
            self._allow()
        else:
            s._ceph('radosgw-admin', 'key', 'create', f'--uid={self.user}', '--key-type=s3', *new)
            s._ceph('radosgw-admin', 'key', 'rm', f'--uid={self.user}', f'--access-key={old["access"]}')

    def _allow(self):
        import json
        allow = dict(Effect='Allow', Principal={'AWS': [f'arn:aws:iam:::user/{self.user}']}, Action='s3:*',
                     Resource=['arn:aws:s3:::objectstore-test', 'arn:aws:s3:::objectstore-test/*'])
        self.service.client().put_bucket_policy(Bucket='objectstore-test',
                                                Policy=json.dumps(dict(Version='2012-10-17', Statement=[allow])))

    def _weed(self, old):
        def shell(line):
            p = self.service.first_port
            done = subprocess.run([weed_program(), 'shell', f'-master=127.0.0.1:{p}', f'-filer=127.0.0.1:{p + 2}'],
                                  input=f'{line}\n', capture_output=True, text=True, timeout=60)
            assert not done.returncode, done.stderr
        if old: shell(f's3.configure -user={self.user} -delete -apply')
        shell(f's3.configure -user={self.user} -access_key={self.now["access"]} -secret_key={self.now["secret"]} '
              '-actions=Admin -apply')

@pytest.fixture(params=['seaweed', 'ceph'])
def keys(request):
    found = Keys(request.getfixturevalue(request.param))
    found.renew()
    return found

def write(how: str, home, monkeypatch, now: dict) -> None:
    "Write keys down where a store finds them"
    if how == 'environment':
        monkeypatch.setenv('AWS_ACCESS_KEY_ID', now['access'])
        monkeypatch.setenv('AWS_SECRET_ACCESS_KEY', now['secret'])
    elif how == 'file':
        (home/'keys').write_text(f'[lab]\naws_access_key_id = {now["access"]}\naws_secret_access_key = '
                                 f'{now["secret"]}\n')
        monkeypatch.setenv('AWS_PROFILE', 'lab'); monkeypatch.setenv('AWS_SHARED_CREDENTIALS_FILE', str(home/'keys'))
    else:
        (home/'config').write_text(f'[profile lab]\ncredential_process = {home}/process\n')
        (home/'process').write_text(f'#!/bin/sh\necho \'{{"Version": 1, "AccessKeyId": "{now["access"]}", '
                                    f'"SecretAccessKey": "{now["secret"]}"}}\'\n')
        (home/'process').chmod(0o700)
        monkeypatch.setenv('AWS_PROFILE', 'lab')
        monkeypatch.setenv('AWS_CONFIG_FILE', str(home/'config'))
        monkeypatch.setenv('AWS_SHARED_CREDENTIALS_FILE', str(home/'none'))

HOW = ['environment', 'file', 'chain']

@pytest.mark.parametrize('how', HOW)
def test_renewed_credentials_are_found_within_the_call(keys, home, monkeypatch, figure, how):
    write(how, home, monkeypatch, keys.now)
    near = how == 'environment'
    s = ObjectStore(Place(keys.service).url, endpoint=keys.service.endpoint, timeout=5.0, near=near, progress=False)
    big, calls = os.urandom(20_000_000), 0
    s.put('lab/x', 1); s.put('lab/big', big)
    asks = (lambda: s.get('lab/x') == 1, lambda: s.put('lab/x', 1).version,
            lambda: s.put('lab/big', big[:-1]).version == 2, lambda: len(s.versions('lab/x')),
            lambda: s.list_buckets() == ['lab'],
            lambda: [v.version for v in s.put_many({f'lab/m{i}': i for i in range(20)})] == [1] * 20,
            lambda: len(s.get_many([f'lab/m{i}' for i in range(20)])) == 20)
    for call in asks if how == 'environment' else asks[:3]:
        write(how, home, monkeypatch, keys.renew())
        assert call(); calls += 1
    other = ObjectStore(Place(keys.service, prefix=s.tiers[-1].rpartition('/')[2]).url, endpoint=keys.service.endpoint,
                        timeout=5.0, near=False, progress=False)
    assert other.get('lab/big') == big[:-1]
    figure(f'29 renewed keys, {type(keys.service).__name__}, {how}', calls=calls, refused=0)

def test_a_listing_of_many_pages_goes_on(keys, home, monkeypatch):
    write('environment', home, monkeypatch, keys.now)
    b = remote.RemoteBackend(Place(keys.service).url, endpoint=keys.service.endpoint, timeout=5.0)
    b.create_many([(f'a/{i:04}', b'x') for i in range(1500)])
    found = b.list('a/')
    first = [next(found).key for _ in range(3)]
    write('environment', home, monkeypatch, keys.renew())
    assert first + [e.key for e in found] == [f'a/{i:04}' for i in range(1500)]

def test_many_threads_find_them_once(keys, home, monkeypatch):
    write('environment', home, monkeypatch, keys.now)
    b = remote.RemoteBackend(Place(keys.service).url, endpoint=keys.service.endpoint, timeout=5.0)
    b.create('a/x', b'1')
    write('environment', home, monkeypatch, keys.renew())
    looked, real, answers = [], remote.signing, []
    monkeypatch.setattr(remote, 'signing', lambda *a: looked.append(a) or real(*a))
    gate = threading.Barrier(8)
    def read(): gate.wait(); answers.append(b.read('a/x'))
    threads = [threading.Thread(target=read) for _ in range(8)]
    for t in threads: t.start()
    for t in threads: t.join()
    assert answers == [b'1'] * 8 and len(looked) == 1

def test_the_services_own_buckets_find_them_too(keys, home, monkeypatch):
    write('environment', home, monkeypatch, keys.now)
    every = urls.NativeBackends(endpoint=keys.service.endpoint, timeout=5.0)
    assert every.exists('objectstore-test')
    write('environment', home, monkeypatch, keys.renew())
    assert every.exists('objectstore-test') and every.backend('objectstore-test').exists('nothing') is False

OLD = dict(key='', status='', code='', hits=0)

@kind
async def expired(x, fault):
    "What a service says to requests that are signed with the first key; others pass"
    if OLD['key'].encode() not in x.head.raw: return await x.reply(await x.forward())
    OLD['hits'] += 1
    await x.take()
    error = f'<?xml version="1.0"?>\n<Error><Code>{OLD["code"]}</Code><Message>injected</Message></Error>'
    await answer(x, error.encode(), 'application/xml', OLD['status'])

@pytest.mark.parametrize('status, code',
                         [('400 Bad Request', 'ExpiredToken'), ('400 Bad Request', 'InvalidToken'),
                          ('403 Forbidden', 'ExpiredTokenException'), ('403 Forbidden', 'AccessDenied'),
                          ('403 Forbidden', 'SignatureDoesNotMatch'), ('401 Unauthorized', 'InvalidToken'),
                          ('403 Forbidden', 'RequestExpired'), ('404 Not Found', 'XAdminUserNotFound')],
                         ids=lambda v: v.replace(' ', ''))
def test_each_way_to_say_that_a_token_has_expired(seaweed, home, monkeypatch, status, code):
    "At the proxy, with a second user of SeaweedFS whose keys come when the first ones have expired"
    keys = Keys(seaweed)
    now = keys.renew()
    write('environment', home, monkeypatch, now)
    with Proxy(seaweed.endpoint) as proxy:
        s = ObjectStore(Place(seaweed).url, endpoint=proxy.endpoint, timeout=5.0, near=False)
        s.put('lab/x', 1)
        OLD.update(key=now['access'], status=status, code=code, hits=0)
        with proxy.fault('expired'):
            with pytest.raises(Protected, match='injected'): s.get('lab/x')
            assert OLD['hits']
            write('environment', home, monkeypatch, Keys(seaweed).renew())
            OLD['hits'] = 0
            assert s.get('lab/x') == 1 and s.put('lab/x', os.urandom(100_000)).version == 2
            assert OLD['hits'] == 1, 'one refusal, and then no more'

def test_what_waits_on_this_machine_is_delivered_with_new_keys(seaweed, home, monkeypatch):
    keys = Keys(seaweed)
    write('environment', home, monkeypatch, keys.renew())
    place = Place(seaweed)
    with ObjectStore(place.url, endpoint=seaweed.endpoint, timeout=5.0, progress=False) as s: s.put('lab/x', 1)
    with pytest.warns(UserWarning):
        offline = ObjectStore(place.url, endpoint=seaweed.endpoint, offline=True, progress=False)
        offline.put('lab/x', 2)
    s = ObjectStore(place.url, endpoint=seaweed.endpoint, timeout=5.0, progress=False)
    s.get('lab/x@1'); s.versions('lab/x')
    write('environment', home, monkeypatch, keys.renew())
    s.sync()
    assert s.get('lab/x') == 2 and not s.pending.known

def test_a_program_that_gives_no_keys_is_told(seaweed, home, monkeypatch):
    "The chain, which fails when it is asked: that is no absence, so nothing becomes pending"
    monkeypatch.setenv('AWS_CONFIG_FILE', str(home/'config'))
    monkeypatch.setenv('AWS_SHARED_CREDENTIALS_FILE', str(home/'none'))
    (home/'config').write_text('[default]\ncredential_process = /bin/false\n')
    s = ObjectStore(Place(seaweed).url, endpoint=seaweed.endpoint, timeout=5.0, progress=False)
    with pytest.raises(Protected, match=r'no credentials were found \(CredentialRetrievalError\)'): s.put('lab/x', 1)
    write('environment', home, monkeypatch, Keys(seaweed).renew())
    assert s.put('lab/x', 1).version == 1

def test_what_is_refused_is_not_sent_twice_without_new_keys(keys, home, monkeypatch):
    write('environment', home, monkeypatch, keys.now)
    with Proxy(keys.service.endpoint) as proxy:
        s = ObjectStore(Place(keys.service).url, endpoint=proxy.endpoint, timeout=5.0, near=False)
        s.put('lab/x', 1)
        write('environment', home, monkeypatch, dict(access='nobody', secret='nothing'))
        again = ObjectStore(*s.tiers, endpoint=proxy.endpoint, timeout=5.0, near=False)
        for call in (lambda: again.get('lab/x'), lambda: again.put('lab/x', 2)):
            with proxy.counting() as c, pytest.raises(Protected, match='the keys are from AWS_ACCESS_KEY_ID and '
                                                      'AWS_SECRET_ACCESS_KEY') as e:
                call()
            assert 'nothing' not in str(e.value)
            asked = list(c)
            assert len({(r.method, r.path) for r in asked}) == len(asked), 'a refused request was sent again'

def test_a_store_that_keeps_its_first_keys_is_found(keys, home, monkeypatch):
    "Planted: without the look for new ones each call is refused"
    write('environment', home, monkeypatch, keys.now)
    s = ObjectStore(Place(keys.service).url, endpoint=keys.service.endpoint, timeout=5.0, near=False)
    s.put('lab/x', 1)
    asked = []
    monkeypatch.setattr(remote.RemoteBackend, '_renewed', lambda self, used, e: asked.append(e) and False)
    write('environment', home, monkeypatch, keys.renew())
    with pytest.raises(Protected): s.get('lab/x')
    assert asked
