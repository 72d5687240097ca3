"""Doctor: what a place promises is tried before a store exists. Services that let two writers win are caught, through
one address, through two, and in a tenth of the races (RELIABILITY.md 34); what it wrote is gone afterwards"""
import os
import pytest
from objectstore import InvalidCall, ObjectStore, TierMismatch, doctor
from objectstore.care import promises as promises_module
from objectstore.care.disks import folder_findings
from objectstore.care.promises import Trial, try_at_once, try_listing, try_races, try_ranges
from objectstore.care.stress import count_faults, stress_findings
from objectstore.storage.backend import MemoryBackend
from objectstore.storage.remote import RemoteBackend
from proxy import Exchange, Fault, Proxy, kind
from relay import Relay, RelayInMemory
from services import Place
from trial import Wrapped

pytestmark = [pytest.mark.usefixtures('own_cache', 'own_state'), pytest.mark.filterwarnings('ignore')]

@pytest.fixture
def own_state(tmp_path, monkeypatch): monkeypatch.setenv('OBJECTSTORE_STATE_DIR', str(tmp_path/'state'))

def quiet(*tiers, **options): return doctor(*tiers, say=lambda text: None, **options)

def states(report, about: str) -> set[str]: return {f.state for f in report if about in f.about}

def with_keys(monkeypatch, service) -> None:
    for name, value in service.environment.items(): monkeypatch.setenv(name, value)


# services

class Gateway(Proxy):
    "One of two gateways before a service, which share its objects and do not know what the other has created"
    def __init__(self, endpoint: str, client):
        super().__init__(endpoint)
        self.client, self.created, self.let = client, set(), 0
        self.fault('own_lock', method='PUT', when=lambda r: '/log/' not in r.path)

@kind
async def own_lock(x: Exchange, fault: Fault) -> None:
    "What `Gateway` does with a PUT"
    gateway, key = x.link.proxy, x.request.path
    bucket, _, name = key.strip('/').partition('/')
    if key not in gateway.created and 'Contents' in gateway.client.list_objects_v2(Bucket=bucket, Prefix=name):
        gateway.let += 1
        gateway.client.delete_object(Bucket=bucket, Key=name)
    gateway.created.add(key)
    await x.reply(await x.forward())

def test_a_sound_service(seaweed, monkeypatch, figure):
    with_keys(monkeypatch, seaweed)
    place, said = Place(seaweed), []
    report = doctor(place.url, endpoint=seaweed.endpoint, say=said.append)
    assert report.ok, report
    for promise in ('rights', 'read after write', 'create-only writes', 'of two processes', 'listings', 'large objects',
                    'clock', 'latency', 'old versions'):
        assert states(report, promise) <= {'good', 'note'} and states(report, promise), (promise, report)
    assert 'deletes them' in said[0] and 'probe/' in said[0] and 'deleted again' in report.said
    assert not list(RemoteBackend(place.url, endpoint=seaweed.endpoint).list(''))
    assert ObjectStore(place.url, endpoint=seaweed.endpoint, progress=False).put('lab/x', 1).version == 1
    figure('34 doctor of SeaweedFS', findings=len(report), seconds=report.looked['seconds'])

def test_a_service_that_ignores_conditions(rclone, monkeypatch):
    with_keys(monkeypatch, rclone)
    report = quiet(Place(rclone).url, endpoint=rclone.endpoint)
    assert not report.ok and 'bad' in states(report, 'create-only writes')
    assert 'do not use it as an origin' in repr(report)
    assert not list(RemoteBackend(Place(rclone, prefix='').url, endpoint=rclone.endpoint).list('probe/'))

def test_two_gateways_that_do_not_know_of_each_other(seaweed, monkeypatch):
    with_keys(monkeypatch, seaweed)
    with Gateway(seaweed.endpoint, seaweed.client()) as one, Gateway(seaweed.endpoint, seaweed.client()) as two:
        alone = quiet(Place(seaweed).url, endpoint=one.endpoint)
        assert states(alone, 'create-only writes') == {'good'}, alone      # through one address it looks sound
        both = quiet(Place(seaweed).url, endpoint=one.endpoint, endpoints=[two.endpoint])
        assert 'bad' in states(both, 'create-only writes') and one.let + two.let, both
        assert 'bad' in {f.state for f in both if 'two processes' in f.about}
        assert not states(alone, 'what was written') | states(both, 'what was written')

def test_two_winners_in_a_tenth_of_races(seaweed, monkeypatch, figure):
    with_keys(monkeypatch, seaweed)
    with Relay(seaweed.endpoint, 0.1, seaweed.client(), 3) as relay:
        report = quiet(Place(seaweed).url, endpoint=relay.endpoint)
        figure('34 doctor, two winners in 10 %', beside=relay.beside, twice=relay.twice,
               caught=int('bad' in states(report, 'create-only writes')))
        assert relay.twice and not report.ok, report

def test_stress_on_a_sound_service(seaweed, monkeypatch):
    with_keys(monkeypatch, seaweed)
    place = Place(seaweed)
    report = quiet(place.url, endpoint=seaweed.endpoint, stress='0 s')
    assert report.ok, report
    verdicts = [f for f in report if 'one winner a version' in f.about or 'killed' in f.about]
    assert len(verdicts) == 2 and all('acknowledged' in f.found for f in verdicts)
    assert not list(RemoteBackend(place.url, endpoint=seaweed.endpoint).list(''))

def test_a_service_that_is_not_there_and_keys_that_are_wrong(seaweed, monkeypatch):
    report = quiet('s3://lab/x', endpoint='http://127.0.0.1:9', storage_options={
        'access_key_id': 'canary-id', 'secret_access_key': 'canary-secret'})
    assert not report.ok and 'canary' not in repr(report) and 'canary' not in str(report.df().values)
    with_keys(monkeypatch, seaweed)
    monkeypatch.setenv('AWS_SECRET_ACCESS_KEY', 'wrong')
    report = quiet(Place(seaweed).url, endpoint=seaweed.endpoint)
    assert not report.ok and states(report, 'may write') | states(report, 'store'), report

def test_a_bucket_that_keeps_old_versions(seaweed, monkeypatch):
    pytest.importorskip('boto3')
    with_keys(monkeypatch, seaweed)
    seaweed.make_bucket('kept-versions')
    seaweed.client().put_bucket_versioning(Bucket='kept-versions', VersioningConfiguration={'Status': 'Enabled'})
    report = quiet('s3://kept-versions/x', endpoint=seaweed.endpoint)
    assert states(report, 'old versions') == {'note'} and 'ever freed' in str(report.df().values), report


# places that play a fault

class LosesAList(Wrapped):
    "Leaves out a key of each listing of many"
    def list(self, folder, after=None, limit=None):
        for i, e in enumerate(self.inner.list(folder, after, limit)):
            if i != 7: yield e

class Late(Wrapped):
    "What was just written is not there yet"
    def read(self, key, limit=None):
        if 'at-once' in key and key.endswith('3'): raise FileNotFoundError(key)
        return self.inner.read(key, limit)

class OffByOne(Wrapped):
    "Ranges begin one byte late"
    def stream(self, key, start=0, end=None): return self.inner.stream(key, start + (1 if end else 0), end)

@pytest.mark.parametrize(('fault', 'step', 'promise'), [
    (LosesAList, try_listing, 'listings'), (Late, try_at_once, 'read after write'), (OffByOne, try_ranges, 'ranges')])
def test_each_broken_promise_is_found(fault, step, promise):
    t = Trial('place', [fault(MemoryBackend())])
    step(t)
    assert [f.state for f in t.findings] == ['bad'] and promise in t.findings[0].about, t.findings
    assert not t.clean()

@pytest.mark.parametrize('share', [0.1, 1.0])
def test_races_in_memory(share):
    found = 0
    for seed in range(10):
        t = Trial('relay', [RelayInMemory(share, seed)])
        try_races(t)
        found += t.findings[0].state == 'bad'
    assert found >= 9

def test_two_addresses_in_memory():
    "Objects are shared, what was created is not"
    class Half(MemoryBackend):
        def __init__(self, other=None):
            super().__init__()
            self.mine = set()
            if other: self._objects = other._objects
        def create(self, key, data):
            with self._lock:
                if key in self.mine: return False
                self.mine.add(key)
                self._objects[key] = data, 0.0
                return True
    one = Half()
    sound, both = Trial('one', [one]), Trial('both', [one, Half(one)])
    try_races(sound, 16); try_races(both, 16)
    assert sound.findings[0].state == 'good' and both.findings[0].state == 'bad'

def test_planted_a_race_through_one_address_alone_is_caught(monkeypatch):
    monkeypatch.setattr(promises_module, '_run', lambda t, races: [
        r for r in races if setattr(r, 'answers', [True, False]) or setattr(r, 'kept', r.bids[0]) or True])
    t = Trial('relay', [RelayInMemory(1.0, 0)])
    try_races(t)
    with pytest.raises(AssertionError): assert t.findings[0].state == 'bad'

def test_stress_finds_what_a_service_lost():
    place = MemoryBackend()
    good = stress_findings('place', [place], 0.0, lambda: [])
    assert {f.state for f in good} == {'good'}
    record = next(k for k in place._objects if '/records/' in k)
    n = int(record.rpartition('/')[2])
    from objectstore.format.origin import Origin
    told = [(n, Origin(place).bucket('stress').record('item', n).id)]
    del place._objects[record]
    assert count_faults(place, told)['lost'] == 1


# folders

def test_a_folder_before_a_store_exists(tmp_path):
    report = quiet(tmp_path/'near', tmp_path/'not'/'yet')
    assert report.ok and sorted(p.name for p in tmp_path.iterdir()) == ['state'], report
    for promise in ('hard links', 'times', 'locks', 'space', 'file system', 'create-only writes', 'limit'):
        assert states(report, promise), (promise, report)

def test_a_folder_with_a_store_stays_as_it_is(tmp_path):
    store = ObjectStore(str(tmp_path/'lab'), progress=False)
    store.put('lab/x', b'%' * 50_000)
    store.find_items('lab')
    store.close()
    before = sorted(p for p in (tmp_path/'lab').rglob('*'))
    report = quiet(tmp_path/'lab', stress=0)
    assert report.ok and sorted(p for p in (tmp_path/'lab').rglob('*')) == before, report
    assert any('format 1' in f.found for f in report) and states(report, 'index') == {'good'}
    assert any('1 buckets' in f.found for f in report if f.about == 'index')

def test_nothing_is_written_where_that_is_asked(tmp_path):
    (tmp_path/'lab').mkdir()
    before = os.stat(tmp_path/'lab').st_mtime_ns
    said = []
    report = doctor(tmp_path/'lab', readonly=True, say=said.append)
    assert not said and not report.said and os.stat(tmp_path/'lab').st_mtime_ns == before
    assert 'not tried' in repr(report)

@pytest.mark.skipif(not hasattr(os, 'geteuid'), reason='modes')
def test_a_file_system_without_links(tmp_path, monkeypatch):
    def none(*a, **k): raise OSError(1, 'Operation not permitted')
    monkeypatch.setattr(os, 'link', none)
    origin = folder_findings('lab', tmp_path, True, wait=lambda s: None)
    near = folder_findings('near', tmp_path, False, wait=lambda s: None)
    assert [f.state for f in origin if 'hard links' in f.about] == ['bad']
    assert [f.state for f in near if 'hard links' in f.about] == ['note']
    assert not quiet(tmp_path/'lab').ok and not [p for p in tmp_path.iterdir() if p.name != 'state']

def test_a_full_disk_is_said(tmp_path, monkeypatch):
    real = os.statvfs(tmp_path)
    class Full:
        f_bavail, f_blocks, f_frsize, f_favail, f_files = 10, 10_000, real.f_frsize, 300, 10_000
    monkeypatch.setattr(os, 'statvfs', lambda p: Full)
    found = {f.about: f.state for f in folder_findings('lab', tmp_path, True, wait=lambda s: None)}
    assert found['lab: space'] == 'bad' and found['lab: inodes'] == 'note'


# what this machine has

def test_settings_and_pending_work_are_shown(tmp_path, monkeypatch):
    monkeypatch.setenv('OBJECTSTORE_TIMEOUT', '2 s')
    other = ObjectStore(str(tmp_path/'near'), str(tmp_path/'away'), offline=True, progress=False)
    other.put('lab/x', 1)
    report = quiet(tmp_path/'near2', tmp_path/'lab')
    [timeout] = [f for f in report if f.about == 'setting timeout']
    assert timeout.found == '2.0, from OBJECTSTORE_TIMEOUT'
    [queue] = [f for f in report if f.about.startswith('pending queue')]
    assert str(tmp_path/'away') in queue.found and 'sync(queue=' in queue.next
    assert any('obstore' in f.found for f in report if f.about == 'libraries')

def test_wrong_calls(tmp_path):
    with pytest.raises(TierMismatch): quiet('s4://lab')
    with pytest.raises(InvalidCall): quiet(tmp_path/'lab', stress='long')
