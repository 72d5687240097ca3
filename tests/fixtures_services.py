"""Services as fixtures: one of each kind a test process, and a prefix of its own for each test.

    seaweed, ceph, rclone, given    a service, or the test is skipped with what to do about it
    s3_service                      each sound service in turn; the given one where there is one
    place                           a fresh prefix on each of them in turn: `place.url`, `place.store()`
    s3_env                          the AWS_* variables of that service, set for the test
    proxy                           a proxy before that service
"""
import subprocess, warnings
import pytest
from proxy import Proxy
from services import CephService, GivenService, Place, RcloneService, S3Service


def _running(service_class):
    "A started service, or a skip that says why there is none"
    if reason := getattr(service_class, 'missing', lambda: None)(): pytest.skip(reason)
    with _started(service_class) as service:
        service.make_bucket(Place(service).bucket)
        yield service

def _started(service_class, again=1):
    "It runs; a second one is tried where another program took a port meanwhile"
    service = service_class()
    try: return service.start()
    except (RuntimeError, subprocess.TimeoutExpired) as e:
        service.close()
        if not again: raise
        warnings.warn(f'{service_class.__name__} did not start, and is tried once more: {e}', stacklevel=2)
        return _started(service_class, again - 1)


@pytest.fixture(scope='session')
def seaweed(): yield from _running(S3Service)

@pytest.fixture(scope='session')
def ceph(): yield from _running(CephService)

@pytest.fixture(scope='session')
def rclone(): yield from _running(RcloneService)

@pytest.fixture(scope='session')
def given(): yield from _running(GivenService)


@pytest.fixture(params=['seaweed', 'ceph'] + ['given'] * (not GivenService.missing()))
def s3_service(request): return request.getfixturevalue(request.param)

@pytest.fixture
def place(s3_service): return Place(s3_service)

@pytest.fixture
def s3_env(s3_service, monkeypatch):
    for name, value in s3_service.environment.items(): monkeypatch.setenv(name, value)
    return s3_service.environment

@pytest.fixture
def proxy(s3_service):
    with Proxy(s3_service.endpoint) as p: yield p

@pytest.fixture(autouse=True)
def few_races(request, monkeypatch):
    """The services of these tests are sound, and nearly every test founds an origin: few races are enough, but where
    the probe itself is tested"""
    if 'test_probe' not in request.node.nodeid: monkeypatch.setattr('objectstore.format.probe.RACES', 2)

@pytest.fixture(autouse=True)
def rare_probes(monkeypatch):
    "A breaker's probe would deliver in the middle of a test; those that are about it say when it comes"
    monkeypatch.setattr('objectstore.cache.breaker.FIRST_WAIT', 30.0)
