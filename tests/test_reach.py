"""Lasting mistakes are not absence: nothing waits for an origin that was never reached.

An error says what to set, and what waits for another address is named.

Each mistake is made before a real service: SeaweedFS, behind TLS, a proxy or an address that is wrong.
"""
import socket
from pathlib import Path
import pytest
import objectstore
from objectstore import (BucketMissing, NeverReached, NotAvailableOffline, NotFound, ObjectStore, ObjectStoreError,
                         PendingWarning, Protected, Refused, StillPending, Unsupported)
from objectstore.cache import stacked
from objectstore.storage.files import FileBackend
from objectstore.storage.mistakes import cure
from away import delivered, forget_all, quiet
from proxy import Proxy
from services import Place
from tls import Front, certificate

class Site:
    "A service as a person on a new machine meets it"
    def __init__(self, service, folder: Path, monkeypatch):
        self.service, self.folder, self.set, self.url = service, folder, monkeypatch.setenv, Place(service).url
        for k, v in service.environment.items():
            if k not in ('AWS_ENDPOINT_URL', 'AWS_ALLOW_HTTP'): monkeypatch.setenv(k, v)
        self.port = service.endpoint.rpartition(':')[2]
    def open(self, endpoint: str | None = None, url: str | None = None, **options) -> ObjectStore:
        forget_all()
        return ObjectStore(str(self.folder/'near'), url or self.url, endpoint=endpoint or self.service.endpoint,
                           progress=False, **options)
    def waiting(self) -> list: return list((self.folder/'state').rglob('queue/*'))

@pytest.fixture
def site(seaweed, clean, monkeypatch): return Site(seaweed, clean, monkeypatch)

@pytest.fixture(scope='module')
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp('certificates')
    return dict(own=certificate(folder, authority=True), plain=certificate(folder),
                other=certificate(folder, name='minio.lab'))

def free_port() -> int:
    with socket.create_server(('127.0.0.1', 0)) as s: return s.getsockname()[1]

WRITES = dict(put=lambda s: s.put('lab/m', 1), put_large=lambda s: s.put('lab/m', b'x' * 50_000),
              put_many=lambda s: s.put_many({'lab/m': 1, 'lab/n': 2}),
              annotate=lambda s: s.annotate('lab/m@1', {'a': 1}), set_alias=lambda s: s.set_alias('lab/m@1', 'x'),
              remove_alias=lambda s: s.remove_alias('lab/m', 'x'), remove=lambda s: s.remove('lab/m@1'),
              make=lambda s: s.find_or_create_bucket('lab'), copy=lambda s: s.copy('lab/m@1', 'lab/n'))

def refuses(site, store: ObjectStore, kind: type, words: str) -> None:
    "Every verb that writes ends with an error, which says what to set, and nothing waits"
    for name, write in WRITES.items():
        with pytest.raises(ObjectStoreError) as e: write(store)
        assert isinstance(e.value, NeverReached if kind is NeverReached else kind)
        assert not isinstance(e.value, FileNotFoundError), (name, e.value)
    with pytest.raises(kind, match=words): store.put('lab/m', 1)
    assert not site.waiting() and not store.pending.work()
    if kind is NeverReached:
        assert all('never reached by this machine; away since' in f'{x!r}' for x in (store, store.status()))


# Certificates

@pytest.mark.parametrize('served, bundle, words', [
    ('own', None, 'its own authority .*CA:FALSE.*AWS_CA_BUNDLE'),
    ('own', 'own', 'its own authority .*also where AWS_CA_BUNDLE holds it.*CA:FALSE'),
    ('plain', None, 'set AWS_CA_BUNDLE to the file'), ('plain', 'other', 'not signed by what AWS_CA_BUNDLE holds'),
    ('other', 'other', r'other names than 127.0.0.1 \(minio.lab\)')])
def test_a_certificate_that_is_not_trusted_says_what_to_set(site, certificates, served, bundle, words):
    if bundle: site.set('AWS_CA_BUNDLE', str(certificates[bundle].with_suffix('.crt')))
    with Front(site.service.endpoint, certificates[served]) as front:
        refuses(site, site.open(front.endpoint), NeverReached, words)

def test_the_certificate_that_is_advised_works(site, certificates):
    site.set('AWS_CA_BUNDLE', str(certificates['plain'].with_suffix('.crt')))
    with Front(site.service.endpoint, certificates['plain']) as front:
        store = site.open(front.endpoint)
        assert store.put('lab/m', 1).version == 1 and store.get('lab/m') == 1

def test_tls_and_none(site, certificates):
    refuses(site, site.open(f'https://127.0.0.1:{site.port}'), NeverReached, 'speaks no TLS: write http://')
    with Front(site.service.endpoint, certificates['plain']) as front:
        refuses(site, site.open(f'http://127.0.0.1:{front.port}'), NeverReached, 'write https://')

def test_the_buckets_of_a_service_behind_tls(site, certificates):
    with Front(site.service.endpoint, certificates['plain']) as front:
        for near in (True, False):
            with pytest.raises(NotAvailableOffline, match='set AWS_CA_BUNDLE'):
                ObjectStore('s3://', endpoint=front.endpoint, near=near).list_buckets()
    with pytest.raises(NotAvailableOffline, match='speaks no TLS'):
        ObjectStore('s3://', endpoint=f'https://127.0.0.1:{site.port}').list_buckets()


# Addresses, buckets, keys, regions, proxies

def test_an_address_where_nobody_listens(site):
    refuses(site, site.open(f'http://127.0.0.1:{free_port()}'), NeverReached,
            'refuses connections.*this machine has never reached it.*offline=True')
    refuses(site, site.open('http://nowhere.invalid:9000'), NeverReached, 'its name cannot be resolved')

def test_a_bucket_or_key_that_is_not_there(site):
    refuses(site, site.open(url='s3://not-there/x'), BucketMissing, "there is no bucket 'not-there'")
    for keys in (dict(access_key_id='nobody', secret_access_key='x'),
                 dict(access_key_id=site.service.access_key, secret_access_key='x')):
        store = site.open(storage_options=keys)
        refuses(site, store, Protected, '403 (InvalidAccessKeyId|SignatureDoesNotMatch)')
        assert all('answers, and refuses: 403' in f'{x!r}' for x in (store, store.status()))

def test_a_redirection_without_an_address_is_another_region(site):
    with Proxy(site.service.endpoint) as proxy, proxy.fault('301') as f:
        refuses(site, site.open(proxy.endpoint), Refused, 'another region than us-east-1: set AWS_REGION')
        for near in (True, False):
            with pytest.raises(Refused, match='another region than us-east-1: set AWS_REGION'):
                ObjectStore('s3://', endpoint=proxy.endpoint, near=near).put('some-bucket/m', 1)
        assert f.hits

@pytest.mark.parametrize('near', [True, False])
def test_a_404_of_its_own_is_told_in_the_words_of_the_service(site, near):
    "One gateway answers an unknown key by it; other codes of its own are no absence either"
    with Proxy(site.service.endpoint) as proxy:
        for fault, kind, words in (('unknown_key', Protected, 'XAdminUserNotFound'),
                                   ('404', Refused, 'Fault: injected')):
            with proxy.fault(fault) as f:
                forget_all()
                store = ObjectStore(*[str(site.folder/'near')] * near, site.url, near=near, endpoint=proxy.endpoint)
                for name, write in WRITES.items():
                    with pytest.raises(kind, match=words): write(store)
                with pytest.raises(kind, match=words):
                    ObjectStore('s3://', endpoint=proxy.endpoint, near=near).list_buckets()
                assert f.hits

def test_a_proxy_that_refuses(site, monkeypatch):
    dead = free_port()
    refuses(site, site.open('http://minio.lab:9000', storage_options=dict(proxy_url=f'http://127.0.0.1:{dead}')),
            NeverReached, rf'proxy 127.0.0.1:{dead} \(proxy_url\), which cannot be reached')
    for name in ('http_proxy', 'HTTP_PROXY'): monkeypatch.setenv(name, f'http://me:canary@127.0.0.1:{dead}')
    store = site.open('http://minio.lab:9000')
    refuses(site, store, NeverReached,
            rf'proxy 127.0.0.1:{dead} \(HTTP_PROXY\), which cannot be reached.*NO_PROXY=minio.lab')
    with pytest.raises(NeverReached) as e: store.put('lab/m', 1)
    assert 'canary' not in f'{e.value} {store!r} {store.status()!r}'

@pytest.mark.parametrize('error, words',
                         [('Connect, TunnelUnsuccessful', 'refuses to connect to it'),
                          ('Connect, ProxyAuthRequired', 'asks for a user and a password')])
def test_a_proxy_that_says_no(error, words):
    assert words in cure(error, 'https://minio.lab:9000', dict(proxy_url='http://127.0.0.1:3128'))

def test_where_no_endpoint_is_set_that_is_said(clean):
    "Amazon's own service is asked by way of a proxy that is not there, so nothing is sent to it"
    store = ObjectStore(str(clean/'near'), 's3://lab/x',
                        storage_options=dict(proxy_url=f'http://127.0.0.1:{free_port()}', region='us-east-1',
                                             access_key_id='a', secret_access_key='b'))
    with pytest.raises(NeverReached, match="no endpoint is set, so Amazon's own service was asked: AWS_ENDPOINT_URL"):
        store.put('lab/m', 1)


# Reached, and then not

def test_planted_what_was_never_reached_counts_as_away(site, monkeypatch):
    planted = []
    monkeypatch.setattr(stacked.StackedOrigin, 'reached', lambda self: planted.append(1) or True)
    with quiet(), pytest.raises(BaseException):
        refuses(site, site.open(f'http://127.0.0.1:{free_port()}'), NeverReached, 'never reached')
    assert planted and site.waiting()

def test_once_reached_the_reason_is_told_everywhere(site, certificates):
    site.set('AWS_CA_BUNDLE', str(certificates['plain'].with_suffix('.crt')))
    with Front(site.service.endpoint, certificates['plain']) as front:
        store = site.open(front.endpoint)
        store.put('lab/m', 1)
    with Front(site.service.endpoint, certificates['own'], front.port):       # somebody has made the certificate anew
        store = site.open(front.endpoint)
        with pytest.warns(PendingWarning, match='its own authority'): v = store.put('lab/m', 2)
        assert v.pending
        assert all('its own authority' in s for s in (repr(store), repr(store.status()), store.sync().waiting[0].why))
        with pytest.raises(StillPending, match='its own authority'), quiet(): v.wait(timeout=0)
    with Front(site.service.endpoint, certificates['plain'], front.port):
        assert delivered(store, 'lab/m@2')

def test_an_answer_of_an_earlier_process_counts(memory):
    "Also of an origin in which nothing was stored yet"
    memory.open().list_buckets()
    forget_all()
    memory.away()
    with quiet(): assert memory.open().put('lab/m', 1).pending

def test_what_comes_behind_pending_puts_becomes_pending_only_where_the_origin_was_reached(memory):
    memory.away()
    with quiet():
        memory.open(offline=True).put('lab/m', 1)
        store = memory.open()
        for put in (lambda: store.put('lab/m', 2), lambda: store.put_many({'lab/m': 2})):
            with pytest.raises(NeverReached, match='earlier puts of it are pending.*offline=True'): put()
        assert len(store.pending.work()) == 1
        memory.back()
        assert store.put('lab/m', 2)       # it is there: pending behind the first, or that is delivered by now

def test_the_repr_tells_how_it_stands(site):
    port = free_port()
    def origin(s): return next(line for line in repr(s).splitlines() if line.strip().startswith('origin'))
    store = site.open()
    assert 'never reached by this machine; not asked yet' in origin(store)
    store.put('lab/m', 1)
    assert 'there, as far as is known' in origin(store) and 'not asked yet' in origin(again := site.open())
    assert 'never' not in origin(again)
    assert 'offline=True: not asked' in origin(site.open(offline=True))
    for wrong, words in ((dict(endpoint=f'http://127.0.0.1:{port}'), 'refuses connections'),
                         (dict(url='s3://not-there/x'), 'no bucket'),
                         (dict(storage_options=dict(access_key_id='a', secret_access_key='b')), '403')):
        for near in (True, False):
            forget_all()
            options = dict(endpoint=site.service.endpoint) | wrong
            store = ObjectStore(*[str(site.folder/'near')] * near, options.pop('url', site.url), near=near, **options)
            assert 'not asked yet' in origin(store)
            with pytest.raises(ObjectStoreError): store.put('lab/m', 1)
            assert words in origin(store), repr(store)

def test_every_class_of_error_is_exported():
    def below(c): return {c, *(x for s in c.__subclasses__() for x in below(s))}
    # of the command become exit codes
    known = {c for c in below(ObjectStoreError) if c.__module__.startswith('objectstore.')
             and not c.__module__.startswith('objectstore.command.')}
    assert known
    assert not [c for c in known
                if getattr(objectstore, c.__name__, None) is not c or c.__name__ not in objectstore.__all__]


# What waits for another address

def mistyped(site) -> tuple[str, list]:
    "Work that waits for a mistyped port: puts of an item, notes and an alias of one, a folder"
    wrong = f'http://127.0.0.1:{free_port()}'
    store = site.open(wrong, offline=True)
    (folder := site.folder/'photos').mkdir()
    for i in range(3): (folder/f'{i}').write_bytes(bytes([i]) * 40_000 * i)
    with quiet():
        for x in (1, 2, b'x' * 50_000): v = store.put('lab/m', x)
        store.annotate(v, {'a': 1}), store.set_alias(v, 'prod'), store.put('lab/photos', folder)
    return wrong, store.pending.work()

def test_what_waits_for_a_mistyped_address_is_named_and_sent(site):
    wrong, works = mistyped(site)
    store = site.open()
    store.put('lab/m', 'before')
    said = f'{store.status()!r} {store.sync()!r}'
    assert said.count(f'{site.url} at {wrong}') == 2 and 'sync(queue=' in said and 'sync(drop=' in said
    [(name, whose, n, since)] = store.status()['elsewhere']
    assert (whose, n, since) == (f'{site.url} at {wrong}', len(works), works[0].since)
    assert repr(ObjectStore(site.folder/'local').status()).count(wrong)
    report = store.sync(queue=name)
    assert len(report) == len(works) and not report.waiting and not report.conflicts, report
    other = ObjectStore(site.url, endpoint=site.service.endpoint, near=False)
    assert [v.get() for v in other.versions('lab/m')][:3] == ['before', 1, 2] and other.aliases('lab/m') == {'prod': 4}
    assert other['lab/m@4'].metadata == {'a': 1}
    assert len(other.get('lab/photos')) == 3
    assert {v.id for v in other.versions('lab/m')} > {w.id for w in works if w.op == 'put' and w.item == 'm'}
    assert not site.waiting() and not store.status()['elsewhere'] and not store.sync()
    with pytest.raises(NotFound, match='no queue'): store.sync(queue=name)

def test_what_waits_for_a_mistyped_address_can_be_dropped(site):
    mistyped(site)
    store = site.open()
    [(name, *_)] = store.status()['elsewhere']
    assert {o.became for o in store.sync(drop=name)} == {'dropped'} and not site.waiting()
    assert not list((site.folder/'state').rglob('bytes/*'))
    with pytest.raises(NotFound, match='no queue'): store.sync(drop=name)

def test_a_queue_that_was_taken_over_halfway_is_delivered_once(site, monkeypatch):
    "Both addresses are of one store, and the first try of one put was kept there"
    with Proxy(site.service.endpoint) as proxy:
        store = site.open(proxy.endpoint)
        store.put('lab/m', 0)
        proxy.fault('hang_after_commit', method='PUT', path='records/', times=1)
        proxy.fault('reset', when=lambda r: any(f.kind == 'hang_after_commit' and f.hits for f in proxy.faults))
        with quiet(): v = site.open(proxy.endpoint, timeout=0.2).put('lab/m', 1)
        assert v.pending
    [work] = [w for w in v._store.pending.work()]
    store = site.open()
    queue = v._store.pending
    monkeypatch.setattr(type(store), '_is_ours',
                        lambda self, w: False)      # as if nobody knew that it is the same store
    assert [o.became for o in store.sync(queue=queue.name)] == ['lab/m@2']
    assert [x.get() for x in store.versions('lab/m')] == [0, 1] and work.id == store['lab/m@2'].id

def test_planted_a_queue_taken_over_without_looking_doubles(site, monkeypatch):
    from objectstore.cache.outbox import Pending
    planted, real = [], Pending.tried
    monkeypatch.setattr(Pending, 'tried', lambda self, id, n=None: planted.append(id) and None
                        if n == 1 else real(self, id, n))
    with pytest.raises(AssertionError): test_a_queue_that_was_taken_over_halfway_is_delivered_once(site, monkeypatch)
    assert planted

def test_a_state_folder_that_cannot_keep_it_stops_nothing(memory, monkeypatch):
    "That the origin was reached is not written down: it counts in this process"
    refused, real = [], FileBackend.create
    def create(self, key, data):
        if key != 'reached': return real(self, key, data)
        refused.append(key)
        raise Unsupported('no hard links here')
    monkeypatch.setattr(FileBackend, 'create', create)
    store = memory.open()
    store.list_buckets()
    memory.away()
    with quiet(): assert store.put('lab/m', 1).pending and refused
