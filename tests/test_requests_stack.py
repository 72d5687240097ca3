"Requests through a stack, counted at a proxy: the budgets of near tiers (DESIGN.md, 7)"
import time
import pytest
from objectstore.search.changelog import flush_hints
from away import World, forget_all, quiet
from trial import content, whole

LARGE = 1_000_000

@pytest.fixture
def far(clean, request): return World('seaweed', 2, clean, request)

def asked(far, f, most: int, verbs: dict | None = None) -> object:
    "What a call gives; it may make so many requests"
    with far.proxy.counting() as made: answer = f()
    assert len(made) <= most, f'{most} may be made: {made!r}'
    if verbs is not None: assert made.verbs == verbs, made
    return answer

def ready(far):
    "A store object that has put into the bucket, in a process that knows the origin"
    store = far.open(timeout=10.0)
    store.put('lab/ready', 1)
    return store

def test_pinned_near(far):
    store = ready(far)
    store.put('lab/m', {'a': 1}), store.put('lab/large', content('x', LARGE))
    for s in (store, far.open(timeout=10.0)):
        assert asked(far, lambda: s.get('lab/m@1'), 0, {}) == {'a': 1}
        assert whole(asked(far, lambda: s.get('lab/large@1'), 0, {})) == 'x'
        assert asked(far, lambda: s['lab/m@1'].version, 0) == 1

def test_latest_near(far):
    store = ready(far)
    store.put('lab/m', {'a': 1}), store.put('lab/large', content('x', LARGE))
    for s in (store, far.open(timeout=10.0)):
        assert asked(far, lambda: s.get('lab/m'), 1, {'LIST': 1}) == {'a': 1}
        assert whole(asked(far, lambda: s.get('lab/large'), 1, {'LIST': 1})) == 'x'
        assert asked(far, lambda: s.get('lab/m', max_age=60), 0) == {'a': 1}
    aged = far.open(timeout=10.0, max_age=60)
    asked(far, lambda: aged.get('lab/m'), 1)
    for _ in range(5): asked(far, lambda: aged.get('lab/m'), 0)

def test_cold(far):
    ready(far)
    alone = far.alone(timeout=10.0)
    alone.put('lab/m', {'a': 1}), alone.put('lab/large', content('x', LARGE))
    store = far.open(timeout=10.0)
    assert asked(far, lambda: store.get('lab/m'), 2, {'LIST': 1, 'GET': 1}) == {'a': 1}
    assert whole(asked(far, lambda: store.get('lab/large'), 3)) == 'x'
    assert (asked(far, lambda: store.get('lab/m'), 1) == {'a': 1}
            and whole(asked(far, lambda: store.get('lab/large@1'), 0)) == 'x')

def test_the_first_get_of_a_process_asks_who_is_there(far, figure):
    ready(far)
    far.alone(timeout=10.0).put('lab/m', {'a': 1})
    flush_hints()
    forget_all()
    store = far.open(timeout=10.0)
    with far.proxy.counting() as made: store.get('lab/m')
    figure('requests of the first get of a process, cold', requests=len(made))
    assert len(made) <= 5
    forget_all()
    assert asked(far, lambda: far.open(timeout=10.0).get('lab/m@1'), 3) == {'a': 1}

def test_put(far):
    store = ready(far)
    asked(far, lambda: store.put('lab/m', 1), 2)
    for i in range(3): asked(far, lambda: store.put('lab/m', i), 1, {'PUT': 1})
    asked(far, lambda: store.put('lab/large', content('0', LARGE)), 4)
    asked(far, lambda: store.put('lab/large', content('1', LARGE)), 3, {'PUT': 2, 'LIST': 1})

def test_a_sync_asks_for_each_put_what_a_put_asks(far, figure):
    store, n = ready(far), 10
    store.put('lab/m', 0)
    far.away()
    with quiet(): [store.put('lab/m', i) for i in range(n)]
    far.back()
    with far.proxy.counting() as made: assert not store.sync().waiting
    figure(f'requests to deliver {n} small puts of one item', requests=len(made))
    assert len(made) <= 10 + n

def test_nothing_is_asked_unasked(far):
    store = ready(far)
    store.get('lab/ready')
    flush_hints()
    with far.proxy.counting() as made: time.sleep(1.0)
    assert not len(made)

def test_while_the_service_is_away_it_is_asked_once(far):
    store = ready(far)
    store.put('lab/m', 1)
    far.proxy.fault('503')
    with quiet():
        with far.proxy.counting() as made: [store.get('lab/m') for _ in range(50)]
        assert len(made) <= 3 * 3, made        # three calls, each tried three times
        with far.proxy.counting() as made:
            store.put('lab/m', 2), store.find_items(), store.aliases('lab/m'), store.list_buckets()
        assert not len(made), made

def test_planted_a_request_too_many_is_noticed(far):
    store = ready(far)
    store.put('lab/m', 1)
    with pytest.raises(AssertionError): asked(far, lambda: (store.get('lab/m'), store.get('lab/m')), 1)
