"""The ground on which every test stands.

    HOME is empty, and no setting, certificate, proxy or key of whoever runs the tests counts (surroundings.py)
    @pytest.mark.alone    nothing else runs beside this test (make test runs two at a time)
"""
import fcntl, os, shutil, tempfile
import pytest


def pytest_configure(config): config.empty_home = os.environ['HOME'] = tempfile.mkdtemp(prefix='objectstore-home-')

def pytest_unconfigure(config): shutil.rmtree(config.empty_home, ignore_errors=True)


@pytest.fixture(autouse=True)
def turn(request, tmp_path_factory):
    """A test marked `alone` waits until the others have ended, and they wait for it; the gate keeps it from waiting
    for ever"""
    if 'PYTEST_XDIST_WORKER' not in os.environ:
        yield
        return
    run = tmp_path_factory.getbasetemp().parent
    with open(run/'gate', 'a') as gate, open(run/'turn', 'a') as turn:
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(turn, fcntl.LOCK_EX if request.node.get_closest_marker('alone') else fcntl.LOCK_SH)
        fcntl.flock(gate, fcntl.LOCK_UN)
        yield
        fcntl.flock(turn, fcntl.LOCK_UN)     # also where a forked child still holds the file
