"The test services and the proxy do what they claim; what other tests show rests on it"
import os, socket, subprocess, sys, time
from concurrent.futures import ThreadPoolExecutor
import boto3, pytest
from obstore.exceptions import AlreadyExistsError, GenericError
from obstore.store import S3Store
from objectstore.errors import MissingExtra
from objectstore.testing.service import ServiceFailed, port_free
from proxy import Proxy
from services import CephService, Place, RcloneService, S3Service


def winners(store, key, racers, loses=AlreadyExistsError):
    "How many of these threads, all creating one key, are told that they won"
    def create(i):
        try: store.put(key, f'{i}'.encode(), mode='create')
        except loses: return False
        return True
    with ThreadPoolExecutor(racers) as pool: return sum(pool.map(create, range(racers)))

def get(store, key): return bytes(store.get(key).bytes())


# The services

@pytest.mark.parametrize('name, racers', [('seaweed', 4), ('ceph', 8)])
def test_one_winner(request, name, racers):
    store = Place(request.getfixturevalue(name)).store()
    assert [winners(store, f'race/{i}', racers) for i in range(20)] == [1] * 20

def test_rclone_has_many_winners(rclone):
    store = Place(rclone).store()
    loses = (AlreadyExistsError, GenericError)      # now and then it trips over its own renaming and answers 500
    assert sum(winners(store, f'race/{i}', 8, loses) for i in range(20)) > 20

def test_objects_and_listings(place):
    store = place.store()
    store.put('a/1', b'one', mode='create')
    with pytest.raises(AlreadyExistsError): store.put('a/1', b'two', mode='create')
    assert get(store, 'a/1') == b'one'
    assert [o['path'] for page in store.list('a/') for o in page] == ['a/1']
    with pytest.raises(FileNotFoundError): get(store, 'a/2')

def test_environment_is_enough(place, s3_env):
    S3Store(place.bucket, prefix=place.prefix).put('by/environment', b'found')
    assert get(place.store(), 'by/environment') == b'found'
    assert place.bucket in [b['Name'] for b in boto3.Session().client('s3').list_buckets()['Buckets']]

def test_places_are_apart(s3_service):
    one, two = Place(s3_service), Place(s3_service)
    one.store().put('x', b'mine')
    with pytest.raises(FileNotFoundError): get(two.store(), 'x')


def survives(service, n):
    "How many of `n` acknowledged objects are there after a kill and a start"
    service.make_bucket(Place.bucket)
    place = Place(service)
    store, before = place.store(), service.endpoint
    for i in range(n): store.put(f'kept/{i}', f'{i}'.encode(), mode='create')
    service.kill()
    assert not service.running
    assert service.start().endpoint == before
    return sum(get(place.store(), f'kept/{i}') == f'{i}'.encode() for i in range(n))

def test_seaweed_keeps_what_it_acknowledged():
    with S3Service() as s3: assert survives(s3, 50) == 50

def test_ceph_keeps_what_it_acknowledged():
    if reason := CephService.missing(): pytest.skip(reason)
    with CephService(store='bluestore') as ceph: assert survives(ceph, 50) == 50

def test_services_do_not_meet():
    with S3Service() as one, S3Service() as two:
        one.make_bucket('one')
        two.make_bucket('two')
        assert [b['Name'] for b in one.client().list_buckets()['Buckets']] == ['one']

@pytest.mark.parametrize('service_class', [S3Service, CephService, RcloneService])
def test_nothing_is_left(service_class):
    if reason := getattr(service_class, 'missing', lambda: None)(): pytest.skip(reason)
    with service_class() as service: folder, port = service.folder, int(service.endpoint.rpartition(':')[2])
    assert not folder.exists() and port_free(port)

def until(condition, seconds=200):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end: time.sleep(0.05)
    return condition()

def test_a_killed_parent_leaves_nothing():
    code = ('import sys; from objectstore.testing.service import S3Service; s = S3Service().start(); print(s.folder, '
            's.endpoint, flush=True); sys.stdin.read()')
    parent = subprocess.Popen([sys.executable, '-c', code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    folder, endpoint = parent.stdout.readline().split()
    port = int(endpoint.rpartition(':')[2])
    assert not port_free(port)
    parent.kill()
    parent.communicate()
    assert until(lambda: port_free(port))
    assert until(lambda: subprocess.run(['test', '-e', folder]).returncode == 1)

def test_a_fork_owns_nothing(seaweed):
    if not (pid := os.fork()):
        seaweed.close()
        os._exit(0)
    os.waitpid(pid, 0)
    assert seaweed.running and seaweed.folder.exists()

def test_a_failed_start_says_why(monkeypatch):
    monkeypatch.setattr('objectstore.testing.service._weed', ['-no.such.option'])
    with pytest.raises(ServiceFailed, match='ended with code 2'): S3Service().start()

def test_a_missing_program_names_the_extra(monkeypatch):
    monkeypatch.setattr('shutil.which', lambda *a, **k: None)
    with pytest.raises(MissingExtra, match=r'objectstore\[demo\]'): S3Service().start()


# The proxy

def test_counts_exactly(place, proxy):
    store = place.store(proxy.endpoint)
    with proxy.counting() as c:
        store.put('n/1', b'x' * 100, mode='create')
        get(store, 'n/1')
        store.head('n/1')
        list(store.list('n/'))
        with pytest.raises(FileNotFoundError): get(store, 'n/2')
    store.head('n/1')
    assert [(r.verb, r.status) for r in c] == [('PUT', 200), ('GET', 200), ('HEAD', 200), ('LIST', 200), ('GET', 404)]
    assert (c.requests[0].sent, c.requests[1].received, c.requests[2].received) == (100, 100, 0)
    assert c.requests[3].query['prefix'] == f'{place.prefix}/n/'

def test_counts_many_at_once(place, proxy):
    store = place.store(proxy.endpoint)
    with proxy.counting() as c, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: store.put(f'm/{i}', b'x'), range(200)))
    assert c.verbs == {'PUT': 200}

def test_passes_what_boto3_sends(place, proxy):
    "Expect: 100-continue, chunks with checksums behind them, keys with odd characters, large bodies"
    s3, data = place.service.client(proxy.endpoint), bytes(range(256)) * 40_000
    for key in ('plain', 'a b+c/ü?x=1&y#z%20'):
        s3.put_object(Bucket=place.bucket, Key=f'{place.prefix}/{key}', Body=data, Metadata={'who': 'me'})
        r = s3.get_object(Bucket=place.bucket, Key=f'{place.prefix}/{key}')
        assert r['Body'].read() == data and r['Metadata'] == {'who': 'me'}
    with proxy.counting() as c: get(place.store(proxy.endpoint), 'plain')
    assert [r.path for r in c] == [f'/{place.bucket}/{place.prefix}/plain']

def test_a_restarted_service_is_found_again():
    with S3Service() as s3, Proxy(s3.endpoint) as proxy:
        s3.make_bucket(Place.bucket)
        store = Place(s3).store(proxy.endpoint)
        store.put('x', b'1')
        s3.kill()
        with pytest.raises(GenericError): get(store, 'x')
        s3.start()
        assert get(store, 'x') == b'1'


# Faults as obstore sees them: what it raises, and whether the object was stored

@pytest.mark.parametrize('kind, error, stored',
                         [('409', AlreadyExistsError, False), ('500', GenericError, False),
                          ('503', GenericError, False), ('close', GenericError, False), ('reset', GenericError, False),
                          ('500_after_commit', GenericError, True), ('close_after_commit', GenericError, True),
                          ('reset_after_commit', GenericError, True), ('hang', GenericError, False),
                          ('hang_after_commit', GenericError, True)])
def test_fault_on_create(place, proxy, kind, error, stored):
    timeout = '500ms' if 'hang' in kind else '10s'
    with proxy.fault(kind, method='PUT', path='f/x$') as fault, pytest.raises(error):
        place.store(proxy.endpoint, timeout=timeout).put('f/x', b'x', mode='create')
    assert fault.hits == 1
    if stored: assert get(place.store(), 'f/x') == b'x'
    else: pytest.raises(FileNotFoundError, get, place.store(), 'f/x')

def test_retries_are_told_that_their_own_object_exists(place, proxy):
    with proxy.fault('close_after_commit', method='PUT',
                     times=1), proxy.counting() as c, pytest.raises(AlreadyExistsError):
        place.store(proxy.endpoint, retries=2).put('own', b'x', mode='create')
    assert [r.fault for r in c] == ['close_after_commit', None]

def test_refuse(place, proxy):
    store = place.store(proxy.endpoint)
    store.put('x', b'1')
    with proxy.fault('refuse'):
        # may go out on the kept connection, before its end is seen
        with pytest.raises(GenericError): get(store, 'x')
        with pytest.raises(GenericError, match='Connect'): get(store, 'x')
    assert get(store, 'x') == b'1'

@pytest.mark.parametrize('plan, wrong', [
    (dict(kind='truncate'), b'01234'), (dict(kind='truncate', keep=0), b''),
    (dict(kind='flip'), b'01234\xca6789'), (dict(kind='flip', at=0), b'\xcf123456789')])
def test_wrong_bytes_come_back_as_success(place, proxy, plan, wrong):
    store = place.store(proxy.endpoint)
    store.put('x', b'0123456789')
    with proxy.fault(method='GET', **plan): assert get(store, 'x') == wrong
    assert get(store, 'x') == b'0123456789'

def test_truncated_with_its_original_length(place, proxy):
    store = place.store(proxy.endpoint)
    store.put('x', b'0123456789')
    with proxy.fault('truncate', length='original', method='GET'), pytest.raises(GenericError): get(store, 'x')

def test_slow(place, proxy):
    place.store().put('x', b'0123456789')
    start = time.monotonic()
    with proxy.fault('slow', rate=100, method='GET'), pytest.raises(GenericError):
        get(place.store(proxy.endpoint, timeout='1s'), 'x')
    assert 0.9 < time.monotonic() - start


# Plans

def test_plans(place, proxy):
    store = place.store(proxy.endpoint)
    def fails(key):
        try: store.put(key, b'x')
        except GenericError: return True
        return False
    with proxy.fault(503, nth=3): assert [fails(f'a/{i}') for i in range(5)] == [False, False, True, False, False]
    with proxy.fault(503, times=2): assert [fails(f'a/{i}') for i in range(4)] == [True, True, False, False]
    with proxy.fault(503, path=r'/b/'), proxy.fault(503, when=lambda r: r.sent == 0 and r.path.endswith('/c')):
        assert [fails(k) for k in ('a/0', 'b/0', 'c')] == [False, True, True]
    seen = []
    for _ in range(2):
        with proxy.fault(503, share=0.3, seed=7): seen.append([fails(f'a/{i}') for i in range(40)])
    assert seen[0] == seen[1] and 4 < sum(seen[0]) < 20
    assert not fails('a/0')

def test_a_misspelt_plan_is_refused(proxy):
    with pytest.raises(ValueError, match='close_after_commit'): proxy.fault('close after commit')
    with pytest.raises(ValueError, match='connections'): proxy.fault('refuse', method='PUT')
    with pytest.raises(TypeError): proxy.fault('hang', metod='PUT')
    assert proxy.faults == []


# Faults on the wire

def raw(endpoint, text, wait=5):
    "What a raw socket gets back: bytes until the end, or the error"
    host, port = endpoint.removeprefix('http://').split(':')
    with socket.create_connection((host, int(port)), timeout=wait) as s:
        s.sendall(text)
        got = b''
        try:
            while piece := s.recv(65536): got += piece
        except OSError as e: return got, type(e)
        return got, None

ask = b'GET / HTTP/1.1\r\nHost: x\r\n\r\n'

@pytest.mark.parametrize('kind, got, error',
                         [('close', b'', None), ('close_after_commit', b'', None), ('reset', b'', ConnectionResetError),
                          ('reset_after_commit', b'', ConnectionResetError), ('hang', b'', TimeoutError),
                          ('hang_after_commit', b'', TimeoutError)])
def test_fault_on_the_wire(seaweed, kind, got, error):
    with Proxy(seaweed.endpoint) as p, p.fault(kind):
        assert raw(p.endpoint, ask, wait=0.5 if error is TimeoutError else 60) == (got, error)

def test_status_on_the_wire(seaweed):
    with Proxy(seaweed.endpoint) as p, p.fault(409, times=1), p.counting() as c:
        got, _ = raw(p.endpoint, ask + ask.replace(b'\r\n\r\n', b'\r\nConnection: close\r\n\r\n'))
    # kept alive: the second is the service's answer
    assert got.startswith(b'HTTP/1.1 409 ') and b'HTTP/1.1 403 ' in got
    assert [r.status for r in c] == [409, 403]

def test_delay_and_rate(seaweed):
    place = Place(seaweed)
    place.store().put('x', bytes(400_000))
    with Proxy(seaweed.endpoint, delay=0.05, rate=2e6) as p:
        store = place.store(p.endpoint)
        store.head('x')
        start = time.monotonic()
        store.head('x')
        asked = time.monotonic() - start
        get(store, 'x')
        got = time.monotonic() - start - asked
    assert 0.05 < asked and 0.2 < got
