"The conformance suite on each kind of place"
import pytest
from conformance_backends import BackendConformance
from objectstore.backend import MemoryBackend
from objectstore.files import FileBackend
from objectstore.remote import RemoteBackend
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
    def backend(self, tmp_path): return FileBackend(tmp_path/'root', shared=True)


class TestFilesWithNamedDrafts(BackendConformance):
    "A file system without O_TMPFILE"
    rounds = 30
    @pytest.fixture
    def backend(self, tmp_path, monkeypatch):
        monkeypatch.setattr('objectstore.files.UNNAMED', False)
        return FileBackend(tmp_path/'root', durable=False)


class TestServices(BackendConformance):
    "SeaweedFS, Ceph, and any service of one's own"
    numbers = 120
    @pytest.fixture
    def backend(self, place, s3_env):
        self.racers, self.rounds = (8, 100) if isinstance(place.service, CephService) else (4, 5)   # SeaweedFS: who loses a race waits a second
        return RemoteBackend(place.url, endpoint=place.service.endpoint, timeout=4.0)
