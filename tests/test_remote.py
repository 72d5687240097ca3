"What only services can do wrong: absence, lost replies, cut bodies, slowness; and what must never leave this process"
import json, multiprocessing, os, pickle, shutil, socket, ssl, subprocess, sys, threading, time, traceback
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
import pytest
from objectstore.testing.backend_suite import MB, keys, pattern
from objectstore.storage.backend import key_number, number_key
from objectstore.errors import InvalidRef, MissingExtra, NotFound, TierMismatch
from objectstore.storage.remote import RemoteBackend
from objectstore.storage.urls import NativeBackends, open_backend
from services import Place
from trial import PATIENCE


@pytest.fixture
def b(place, s3_env): return RemoteBackend(place.url, endpoint=place.service.endpoint, timeout=4.0)

@pytest.fixture
def far(place, s3_env, proxy): return RemoteBackend(place.url, endpoint=proxy.endpoint)

@pytest.fixture
def lab(seaweed, monkeypatch):
    "A place on SeaweedFS alone: what is about our side of the line needs one service"
    for name, value in seaweed.environment.items(): monkeypatch.setenv(name, value)
    return Place(seaweed)

@contextmanager
def within(seconds: float):
    "It ends by itself: in so many seconds on a quiet machine"
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds * PATIENCE


# keys

def test_boto3_sees_the_same_keys(b, place):
    made = ['!sales=202026/x', 'a/@prod/0000000001', 'a=2fb/@/0000000001.removed', 'p/aa/beef-0']
    for k in made: assert b.create(k, k.encode())
    s3 = place.service.client()
    assert sorted(o['Key'] for o in s3.list_objects_v2(Bucket=place.bucket,
                                                       Prefix=f'{place.prefix}/')['Contents']) == sorted(
        f'{place.prefix}/{k}' for k in made)
    for k in made: assert s3.get_object(Bucket=place.bucket, Key=f'{place.prefix}/{k}')['Body'].read() == k.encode()

def test_what_others_put_into_the_bucket_is_left_out(b, place):
    b.create('a/b', b'x')
    for k in ('A', 'a/.hidden', 'a/with space', 'a/é'):
        place.service.client().put_object(Bucket=place.bucket, Key=f'{place.prefix}/{k}', Body=b'x')
    assert keys(b.list('')) == ['a/b'] and b.folders('') == ['a']


# requests

def test_requests_are_counted(far, proxy, tmp_path):
    (tmp_path/'small').write_bytes(pattern(100_000))
    for what, do, expected in [
        ('create', lambda: far.create('a/@/0000000001', b'x'), dict(PUT=1)),
        ('create again', lambda: far.create('a/@/0000000001', b'x'), dict(PUT=1)),
        ('read', lambda: far.read('a/@/0000000001'), dict(GET=1)),
        ('stream', lambda: list(far.stream('a/@/0000000001')), dict(GET=1)),
        ('range', lambda: list(far.stream('a/@/0000000001', 0, 1)), dict(GET=1)),
        ('exists', lambda: far.exists('a/@/0000000001'), dict(HEAD=1)),
        ('list', lambda: list(far.list('a/')), dict(LIST=1)),
        ('tail', lambda: far.tail('a/@/', 1), dict(LIST=1)),
        ('tail, cold', lambda: far.tail('a/@/'), dict(LIST=1)),
        ('folders', lambda: far.folders(''), dict(LIST=1)),
        ('upload', lambda: far.upload('p/aa/x', tmp_path/'small'), dict(PUT=1)),
        ('delete', lambda: far.delete('a/@/0000000001'), dict(DELETE=1)),
        ('absent', lambda: far.exists('a/@/0000000001'), dict(HEAD=1)),
        ('create_many', lambda: far.create_many((f'm/{n}', b'x') for n in range(30)), dict(PUT=30)),
        ('read_many', lambda: far.read_many(f'm/{n}' for n in range(30)), dict(GET=30))]:
        with proxy.counting() as count: do()
        assert count.verbs == expected, what

def test_1_500_versions(far, proxy):
    far.timeout = 10.0
    n = 1_500
    assert far.create_many((f'f/@/{number_key(i)}', b'.') for i in range(1, n + 1)) == [True] * n
    for known, most in [(n, 1), (n - 1, 1), (n - 400, 1), (n + 3, 5), (0, 6), (1, 6)]:
        with proxy.counting() as count: found = far.tail('f/@/', known)
        assert key_number(found[-1].key) == (n, None) and len(count) <= most, (known, count)
    with proxy.counting() as count: assert len(list(far.list('f/', limit=1000))) == 1000
    assert len(count) == 1
    with proxy.counting() as count:
        assert keys(far.list('f/', after=f'f/@/{number_key(n - 2)}')) == [
            f'f/@/{number_key(n - 1)}', f'f/@/{number_key(n)}']
    assert len(count) == 1
    with proxy.counting() as count: next(far.list('f/'))
    assert len(count) == 1
    assert len(list(far.list('f/'))) == n


# a service that is not there

def verbs(b, tmp_path):
    (tmp_path/'source').write_bytes(pattern(20 * MB))
    (tmp_path/'small').write_bytes(b'x')
    return dict(create=lambda: b.create('a', b'x'), read=lambda: b.read('a'), exists=lambda: b.exists('a'),
                list=lambda: list(b.list('x/')), folders=lambda: b.folders(''), tail=lambda: b.tail('x/'),
                delete=lambda: b.delete('a'), stream=lambda: list(b.stream('a')),
                upload=lambda: b.upload('p/aa/x', tmp_path/'source'),
                small=lambda: b.upload('p/aa/y', tmp_path/'small'))

def test_nobody_listens(lab, tmp_path):
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        b = RemoteBackend(lab.url, endpoint=f'http://127.0.0.1:{s.getsockname()[1]}')
        for verb in verbs(b, tmp_path).values():
            with within(3), pytest.raises(ConnectionRefusedError, match='refuses'): verb()
        for answer in b.create_many([('a', b'x'), ('b', b'x')]) + b.read_many(['a', 'b']):
            assert isinstance(answer, ConnectionRefusedError)

def test_a_name_that_nobody_has(lab, tmp_path):
    b = RemoteBackend(lab.url, endpoint='http://nobody.invalid:9000')
    for verb in verbs(b, tmp_path).values():
        with within(4), pytest.raises(ConnectionError): verb()

def test_a_service_that_hangs(lab, proxy_to, tmp_path):
    proxy = proxy_to(lab)
    b = RemoteBackend(lab.url, endpoint=proxy.endpoint, timeout=0.1)
    took = {}
    with proxy.fault('hang'):
        for name, verb in verbs(b, tmp_path).items():
            began = time.monotonic()
            with pytest.raises(ConnectionError) as e: verb()
            took[name] = time.monotonic() - began
            assert not isinstance(e.value, ConnectionRefusedError)    # it may have been received
        assert max(took.values()) < 1.5 * PATIENCE, took
        with within(2): assert all(isinstance(a, ConnectionError) for a in b.read_many(map(str, range(60))))

def test_a_network_that_swallows(lab, tmp_path):
    "Packets to a full queue are dropped, like those to a machine that is off"
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        s.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for c in waiting:
            c.setblocking(False)
            c.connect_ex(s.getsockname())
        time.sleep(0.1)
        b = RemoteBackend(lab.url, endpoint=f'http://127.0.0.1:{s.getsockname()[1]}', timeout=0.3)
        for verb in list(verbs(b, tmp_path).values()):
            with within(1.2), pytest.raises(ConnectionRefusedError): verb()    # nothing was sent
        for c in waiting: c.close()

@pytest.mark.parametrize('status', [500, 503])
def test_a_service_in_trouble(lab, proxy_to, tmp_path, status):
    proxy = proxy_to(lab)
    b = RemoteBackend(lab.url, endpoint=proxy.endpoint, timeout=4.0)
    with proxy.fault(status):
        for name, verb in verbs(b, tmp_path).items():
            with within(3), pytest.raises(ConnectionError, match=str(status)): verb()
    with proxy.fault(status, times=1): assert b.folders('') == []       # a read is tried again
    with proxy.fault(status, times=1), proxy.counting() as count:
        with pytest.raises(ConnectionError): b.create('once', b'x')      # a conditional write is not
    assert len(count) == 1 and not b.exists('once')

def test_a_line_that_trickles(lab, proxy_to):
    proxy = proxy_to(lab)
    b = RemoteBackend(lab.url, endpoint=proxy.endpoint, timeout=0.6)
    b.create('a', pattern(5_000))
    with proxy.fault('slow', rate=50), within(8), pytest.raises(ConnectionError): b.read('a')

@pytest.fixture
def proxy_to():
    from contextlib import ExitStack
    from proxy import Proxy
    with ExitStack() as stack: yield lambda place: stack.enter_context(Proxy(place.service.endpoint))


# not allowed, not there

def test_wrong_secrets(place, s3_env, monkeypatch, tmp_path):
    for given in (dict(secret_access_key='canary'), dict(access_key_id='NOBODY', secret_access_key='canary'),
                  dict(skip_signature='true')):
        options = given if 'skip_signature' in given else dict(access_key_id=place.service.access_key) | given
        b = RemoteBackend(place.url, endpoint=place.service.endpoint, options=options)
        for name, verb in verbs(b, tmp_path).items():
            with within(3), pytest.raises(PermissionError) as e: verb()
            said = ''.join(traceback.format_exception(e.value)) + repr(e.value) + repr(e.value.__cause__)
            assert 'canary' not in said and place.service.secret_key not in said
    monkeypatch.setenv('AWS_SECRET_ACCESS_KEY', 'canary')
    with pytest.raises(PermissionError) as e: RemoteBackend(place.url, endpoint=place.service.endpoint).read('a')
    assert 'canary' not in str(e.value)

def test_a_bucket_that_is_missing(place, s3_env, tmp_path):
    b = RemoteBackend('s3://nobody-made-this/x', endpoint=place.service.endpoint, timeout=4.0)
    for name, verb in verbs(b, tmp_path).items():
        if name in ('exists',): assert verb() is False
        else:
            with pytest.raises(NotFound, match="no bucket 'nobody-made-this'.*make it"): verb()

def test_no_credentials_at_all(lab, monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.startswith('AWS_'): monkeypatch.delenv(name)
    monkeypatch.setenv('AWS_EC2_METADATA_DISABLED', 'true')
    monkeypatch.setenv('HOME', str(tmp_path))
    with within(3), pytest.raises(PermissionError, match='AWS_ACCESS_KEY_ID'):
        RemoteBackend(lab.url, endpoint=lab.service.endpoint).read('a')

def test_a_profile_is_enough(lab, monkeypatch, tmp_path):
    "boto3's chain: ~/.aws"
    secrets = lab.service.environment
    for name in list(os.environ):
        if name.startswith('AWS_'): monkeypatch.delenv(name)
    (tmp_path/'.aws').mkdir()
    (tmp_path/'.aws'/'credentials').write_text("[lab]\naws_access_key_id = "
                                               f"{secrets['AWS_ACCESS_KEY_ID']}\naws_secret_access_key = "
                                               f"{secrets['AWS_SECRET_ACCESS_KEY']}\n")
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setenv('AWS_PROFILE', 'lab')
    assert RemoteBackend(lab.url, endpoint=lab.service.endpoint).create('a', b'x')

class Web:
    "A web server that gives one answer to everything"
    def __init__(self, answer: bytes, context=None):
        self.answer, self.context, self.s = answer, context, socket.socket()
        self.s.bind(('127.0.0.1', 0))
        self.s.listen(50)
        threading.Thread(target=self.run, daemon=True).start()
    @property
    def port(self): return self.s.getsockname()[1]
    def run(self):
        while True:
            try: c, _ = self.s.accept()
            except OSError: return
            threading.Thread(target=self.one, args=(c,), daemon=True).start()
    def one(self, c):
        try:
            with (self.context.wrap_socket(c, server_side=True) if self.context else c) as c:
                c.recv(65536)
                c.sendall(self.answer)
        except OSError: pass

def test_an_endpoint_that_is_no_object_service(lab, tmp_path):
    for answer in (b'HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\nConnection: close\r\n\r\nnot found',
                   b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\nConnection: close\r\n\r\n<html></html>'):
        b = RemoteBackend(lab.url, endpoint=f'http://127.0.0.1:{Web(answer).port}')
        for name, verb in verbs(b, tmp_path).items():
            # a bare 200 cannot be told from success; bytes are hashed
            if name == 'exists' or b'200' in answer and name not in ('create', 'small'): continue
            with pytest.raises(ConnectionError, match='object service'): verb()

_ca = """[ca]
default_ca=d
[d]
database={0}/index
serial={0}/serial
new_certs_dir={0}
default_md=sha256
policy=p
x509_extensions=x
[p]
commonName=supplied
[x]
subjectAltName=IP:127.0.0.1
basicConstraints=CA:FALSE
"""

def certificate(folder: Path, year: int) -> ssl.SSLContext:
    "A server's side of TLS, with a certificate that it signed itself and that ended with a year"
    def openssl(*args): subprocess.run(['openssl', *map(str, args)], check=True, capture_output=True)
    (folder/'conf').write_text(_ca.format(folder))
    (folder/'index').write_text('')
    openssl('req', '-new', '-newkey', 'rsa:2048', '-nodes', '-keyout', folder/'key', '-out', folder/'csr', '-subj',
            '/CN=localhost')
    openssl('ca', '-config', folder/'conf', '-batch', '-selfsign', '-keyfile', folder/'key', '-in', folder/'csr',
            '-out', folder/'pem', '-notext', '-rand_serial', '-startdate', '20200101000000Z', '-enddate',
            f'{year}0101000000Z')
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder/'pem', folder/'key')
    return context

@pytest.mark.skipif(not shutil.which('openssl'), reason='no openssl')
def test_certificates(lab, tmp_path):
    for year, trusted, said in [(2090, False, 'TLS failed.*UnknownIssuer'), (2021, True, 'TLS failed.*Expired'),
                                (2090, True, '.*object service')]:
        (tmp_path/f'{year}{trusted}').mkdir()
        web = Web(b'HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n',
                  certificate(tmp_path/f'{year}{trusted}', year))
        b = RemoteBackend(lab.url, endpoint=f'https://127.0.0.1:{web.port}',
                          options={'root_certificate': tmp_path/f'{year}{trusted}'/'pem'} if trusted else None)
        with within(3), pytest.raises(ConnectionError, match=said): b.read('a')
    with within(3), pytest.raises(ConnectionRefusedError, match='TLS failed'):
        RemoteBackend(lab.url, endpoint=lab.service.endpoint.replace('http:', 'https:')).create('a', b'x')


# replies that are lost, bodies that are cut

def test_lost_replies(far, proxy, capsys):
    "RELIABILITY.md 3, as far as one request goes: nobody knows, and reading back tells"
    # an answer may take ten times as long
    figures, hasty = Counter(), RemoteBackend(far.url, endpoint=far.endpoint, timeout=0.4)
    for kind, stored in [('close_after_commit', True), ('500_after_commit', True), ('reset_after_commit', True),
                         ('hang_after_commit', True), ('close', False), ('reset', False), ('503', False)]:
        for n in range(2 if 'hang' in kind else 10):
            key = f'{kind.replace("_", "-")}/{number_key(n)}'
            with proxy.fault(kind, method='PUT', times=1):
                with pytest.raises(ConnectionError): (hasty if 'hang' in kind else far).create(key, b'mine')
            try: assert far.read(key) == b'mine' and stored
            except FileNotFoundError: assert not stored
            figures['unknown'] += 1
            assert far.create(key, b'other') is not stored
    # a hint that is wrong: nothing is there
    with proxy.fault('409', method='PUT', times=1): assert far.create('c/1', b'x') is False
    with pytest.raises(FileNotFoundError): far.read('c/1')
    with capsys.disabled(): print(f'\n  {dict(figures)}, all told by reading back', end=' ')

@pytest.mark.parametrize('length', ['original', 'matching'])
def test_bodies_that_are_cut(lab, proxy_to, tmp_path, length):
    "A length that fits the cut body cannot be seen here, only by the hash"
    proxy = proxy_to(lab)
    b = RemoteBackend(lab.url, endpoint=proxy.endpoint, timeout=4.0)
    b.create('small', pattern(100_000))
    (tmp_path/'source').write_bytes(pattern(20 * MB))
    b.upload('p/aa/large', tmp_path/'source')
    if length == 'original':
        with proxy.fault('truncate', method='GET', length=length), pytest.raises(ConnectionError): b.read('small')
        with proxy.fault('truncate', method='GET', length=length), pytest.raises(ConnectionError):
            list(b.stream('p/aa/large'))
    with proxy.fault('truncate', method='GET', length=length, nth=2) as fault:
        # the piece is asked for again
        assert b''.join(b.stream('p/aa/large')) == pattern(20 * MB) and fault.hits == 1
    with proxy.fault('reset', method='GET', nth=3) as fault:
        assert b.read('p/aa/large') == pattern(20 * MB) and fault.hits == 1
    with proxy.fault('truncate', method='GET', length=length):
        with pytest.raises(ConnectionError): list(b.stream('p/aa/large', 5 * MB, 6 * MB))

def test_an_upload_that_fails_shows_nothing(far, proxy, place, tmp_path):
    (tmp_path/'source').write_bytes(pattern(40 * MB))
    with proxy.fault('503', method='PUT'), pytest.raises(ConnectionError): far.upload('p/aa/x', tmp_path/'source')
    assert list(far.list('')) == [] and not far.exists('p/aa/x')
    assert not place.service.client().list_multipart_uploads(Bucket=place.bucket, Prefix=place.prefix).get('Uploads')
    far.upload('p/aa/x', tmp_path/'source')
    assert far.read('p/aa/x') == pattern(40 * MB)


# memory

_probe = '''
import json, sys
from objectstore.storage.remote import RemoteBackend
# ru_maxrss would be the parent's
def peak(): return next(int(line.split()[1]) / 1024 for line in open('/proc/self/status') if line.startswith('VmHWM'))
url, endpoint, source, verb = sys.argv[1:]
b = RemoteBackend(url, endpoint=endpoint, timeout=4.0)
b.exists('x')
before = peak()
if verb == 'upload': b.upload('p/aa/x', source)
else:
    with open(source + '.back', 'wb') as f:
        for piece in b.stream('p/aa/x'): f.write(piece)
print(json.dumps([before, peak()]))
'''

@pytest.mark.skipif(not os.path.exists('/proc/self/status'), reason='needs /proc')
def test_memory_is_bounded(b, place, tmp_path, capsys):
    n = 320 * MB
    with open(tmp_path/'source', 'wb') as f:
        for i in range(n // (32 * MB)): f.write(pattern(MB, i) * 32)
    figures = {}
    for verb in ('upload', 'stream'):
        out = subprocess.run([sys.executable, '-c', _probe, place.url, place.service.endpoint, tmp_path/'source', verb],
                             capture_output=True, text=True, check=True)
        figures[verb] = json.loads(out.stdout)
    subprocess.run(['cmp', tmp_path/'source', tmp_path/'source.back'], check=True)
    with capsys.disabled(): print(f'\n  320 MB, peak: {({k: f"{v[1]:.0f} MB" for k, v in figures.items()})}', end=' ')
    assert max(peak for _, peak in figures.values()) < 256


# processes

def _child(b, answers):
    try: answers.put(repr(b.read('a/b')))
    except BaseException as e: answers.put(f'{type(e).__name__}: {e}')

def _asked(method: str, b) -> str:
    start = multiprocessing.get_context(method)
    answers = start.Queue()
    p = start.Process(target=_child, args=(b, answers), daemon=True)
    p.start()
    try: return answers.get(timeout=200)
    finally: p.terminate(); p.join()

@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork here')
def test_forks_are_told(lab):
    b = RemoteBackend(lab.url, endpoint=lab.service.endpoint)
    b.create('a/b', b'x')
    with within(5):
        for other in (b, RemoteBackend(lab.url, endpoint=lab.service.endpoint)):
            said = _asked('fork', other)
            assert said.startswith('ObjectStoreError') and "'spawn'" in said and "'forkserver'" in said
    assert _asked('spawn', b) == "b'x'" and b.read('a/b') == b'x'

@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork here')
def test_a_fork_before_the_first_use_is_fine(lab):
    code = '''
import os, sys
from objectstore.storage.remote import RemoteBackend
b = RemoteBackend(sys.argv[1], endpoint=sys.argv[2])
if os.fork() == 0:
    b.create('forked', b'x')
    os._exit(0)
os.wait()
print(b.read('forked'))
'''
    assert subprocess.run([sys.executable, '-c', code, lab.url, lab.service.endpoint], capture_output=True, text=True,
                          timeout=200).stdout == "b'x'\n"

def test_no_secret_leaves(lab, monkeypatch):
    "RELIABILITY.md 20: also not where boto3 or obstore keep it"
    secrets = dict(access_key_id=lab.service.access_key, secret_access_key=lab.service.secret_key)
    for name in list(os.environ):
        if name.startswith('AWS_'): monkeypatch.delenv(name)
    for b in (RemoteBackend(lab.url, endpoint=lab.service.endpoint, options=secrets),
              NativeBackends(endpoint=lab.service.endpoint, options=secrets)):
        if isinstance(b, RemoteBackend): b.create('a', b'x')
        else: b.names(); b.backend(lab.bucket).exists('x')
        for shown in (repr(b), str(b),
                      str({k: v for k, v in vars(b).items() if k[1:] not in ('clients', 's3', 'backends')}),
                      repr(pickle.dumps(b)), repr(getattr(b, '_clients', ''))):
            assert lab.service.secret_key not in shown
    other = pickle.loads(pickle.dumps(RemoteBackend(lab.url, endpoint=lab.service.endpoint, options=secrets)))
    monkeypatch.setenv('AWS_EC2_METADATA_DISABLED', 'true')
    with pytest.raises(PermissionError, match='AWS_ACCESS_KEY_ID'): other.read('a')
    monkeypatch.setenv('AWS_ACCESS_KEY_ID', 'nobody')
    monkeypatch.setenv('AWS_SECRET_ACCESS_KEY', 'nothing')
    again = pickle.loads(pickle.dumps(other))
    with pytest.raises(PermissionError, match='secret_access_key came from storage_options'): again.read('a')
    for name, value in lab.service.environment.items(): monkeypatch.setenv(name, value)
    assert pickle.loads(pickle.dumps(again)).read('a') == b'x'


# buckets of the service

def test_native_buckets(s3_service, s3_env):
    every = open_backend('s3://', endpoint=s3_service.endpoint, timeout=4.0)
    name = f'native-{os.urandom(4).hex()}'
    assert not every.exists(name) and name not in every.names()
    with pytest.raises(NotFound): every.backend(name).create('a', b'x')
    every.make(name)
    every.make(name)
    assert every.exists(name) and name in every.names() == sorted(every.names())
    assert every.backend(name).create('a/b', b'x') and every.backend(name).read('a/b') == b'x'
    again = pickle.loads(pickle.dumps(every))
    assert again.exists(name) and again.backend(name).read('a/b') == b'x' and 'secret' not in repr(again)
    assert not every.exists('Not A Name')
    for bad in ('My Models', 'ab', 'a_b', '10.0.0.1'):
        with pytest.raises(InvalidRef, match='lower-case'): every.make(bad)
        with pytest.raises(InvalidRef, match='lower-case'): every.backend(bad)

def test_native_buckets_of_nobody(lab, proxy_to, monkeypatch):
    with within(3), pytest.raises(ConnectionRefusedError): NativeBackends(endpoint='http://127.0.0.1:9').names()
    proxy = proxy_to(lab)
    with proxy.fault('hang'), within(3), pytest.raises(ConnectionError):
        NativeBackends(endpoint=proxy.endpoint, timeout=0.5).names()
    with proxy.fault('503'), within(3), pytest.raises(ConnectionError):
        NativeBackends(endpoint=proxy.endpoint).exists('lab')
    with pytest.raises(PermissionError) as e:
        NativeBackends(endpoint=lab.service.endpoint,
                       options=dict(access_key_id='nobody', secret_access_key='canary')).names()
    assert 'canary' not in str(e.value)
    monkeypatch.setitem(sys.modules, 'boto3', None)
    with pytest.raises(MissingExtra, match=r'objectstore\[s3\]'): NativeBackends(endpoint=lab.service.endpoint).names()


# what is wrong on our side

def test_options_that_cannot_be_used(lab, tmp_path):
    (tmp_path/'pem').write_text('-----BEGIN nothing')
    for options in (dict(root_certificate=tmp_path/'pem'),
                    dict(checksum_algorithm='canary', access_key_id='x', secret_access_key='canary')):
        b = RemoteBackend(lab.url, endpoint=lab.service.endpoint, options=options)
        with pytest.raises(TierMismatch, match='options') as e: b.read('a')
        assert 'canary' not in str(e.value)

def test_mistakes_are_not_taken_for_absence(lab):
    b = RemoteBackend(lab.url, endpoint=lab.service.endpoint)
    with pytest.raises(TypeError): b.create('a', 3)
    with pytest.raises(FileNotFoundError): b.read('a')


# a service that keeps no promises

def test_rclone_lets_everybody_win(rclone, monkeypatch):
    "Why an origin is probed before the first put"
    for name, value in rclone.environment.items(): monkeypatch.setenv(name, value)
    b = RemoteBackend(Place(rclone).url, endpoint=rclone.endpoint, timeout=4.0)
    assert b.create('a', b'first') is True
    assert b.create('a', b'second') is True and b.read('a') == b'second'


# importing

def test_nothing_heavy_is_imported_to_open(lab):
    code = f'''
import sys
from objectstore.storage.urls import open_backend
open_backend({lab.url!r}, endpoint='http://127.0.0.1:9'); open_backend('s3://', endpoint='http://127.0.0.1:9')
print([m for m in ('obstore', 'boto3', 'botocore', 'asyncio', 'multiprocessing') if m in sys.modules])
'''
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=200).stdout == '[]\n'
