"Requests per operation, counted at a proxy: not one more than the budget"
import pytest
from counted import OPERATIONS, SMALL, Operation, count, world
from objectstore.format import origin, commit
from objectstore.cache import stacked


@pytest.fixture(scope='module', params=['seaweed', 'ceph'])
def counted(request):
    with world(request.getfixturevalue(request.param)) as w:
        w.known(SMALL)      # the first contact of this process
        yield w


@pytest.mark.parametrize('o', OPERATIONS, ids=lambda o: o.name)
def test_an_operation_makes_no_more_requests_than_it_may(counted, o, monkeypatch):
    # who is there is asked once a minute: on a busy machine, in the middle
    for module in (origin, commit, stacked): monkeypatch.setattr(module, 'ASK_AGAIN', 3600.0)
    made = count(counted, o)
    assert len(made) <= o.most, f'{o.most} may be made ({o.steps}): {made!r}'


def test_a_request_too_many_is_noticed(counted):
    twice = next(o for o in OPERATIONS if o.name == 'store[ref]: warm')
    def prepare(w): run = twice.prepare(w); return lambda: (run(), run())
    assert len(count(counted, Operation('planted', twice.most, '', prepare))) > twice.most
