"The conformance suite on each kind of place"
import time
import pytest
from objectstore.storage.backend import MemoryBackend
from objectstore.storage.files import FileBackend
from objectstore.storage.remote import RemoteBackend
from objectstore.testing.backend_suite import BackendConformance
from services import CephService


class TestMemory(BackendConformance):
    strict = False
    @pytest.fixture
    def backend(self): return MemoryBackend()


class TestFiles(BackendConformance):
    @pytest.fixture
    def backend(self, tmp_path): return FileBackend(tmp_path/'root')


class TestSharedVolume(BackendConformance):
    rounds = 30
    @pytest.fixture
    def backend(self, tmp_path): return FileBackend(tmp_path/'root', shared=True, patience=0.1)


class TestFilesWithNamedDrafts(BackendConformance):
    "A file system without O_TMPFILE"
    rounds = 30
    @pytest.fixture
    def backend(self, tmp_path, monkeypatch):
        monkeypatch.setattr('objectstore.storage.files.UNNAMED', False)
        return FileBackend(tmp_path/'root', durable=False)


class TestServices(BackendConformance):
    "SeaweedFS, Ceph, and any service of one's own"
    numbers = 120
    @pytest.fixture
    def backend(self, place, s3_env):
        # SeaweedFS: who loses a race waits a second
        self.racers, self.rounds = (8, 100) if isinstance(place.service, CephService) else (4, 5)
        return RemoteBackend(place.url, endpoint=place.service.endpoint, timeout=4.0)


# planted bugs: the suite must see them

class Careless(MemoryBackend):
    "Looks, then writes"
    def create(self, key, data):
        if key in self._objects: return False
        time.sleep(0.001)
        with self._lock: self._objects[key] = (bytes(data), time.time())
        return True

class Piecemeal(MemoryBackend):
    "Writes where readers look"
    def create(self, key, data):
        with self._lock: self._objects[key] = (bytes(data[:10]), time.time())
        time.sleep(0.1)
        with self._lock: self._objects[key] = (bytes(data), time.time())
        return True

class Forgetful(MemoryBackend):
    "Lists what comes before `after` too"
    def list(self, folder, after=None, limit=None): return super().list(folder, None, limit)

@pytest.mark.parametrize('backend, test',
                         [(Careless(), 'test_one_winner_a_key'), (Piecemeal(), 'test_a_reader_sees_all_or_nothing'),
                          (Forgetful(), 'test_list_after_and_limit')])
def test_the_suite_can_fail(backend, test):
    with pytest.raises(AssertionError): getattr(BackendConformance(), test)(backend)
