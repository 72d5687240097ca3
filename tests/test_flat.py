"What a verb costs does not grow with the number of an item's versions"
import pytest
from counted import SMALL, world
from flat import VERBS, as_before, costs, item
from trial import SOAK

MANY = 3_000 if SOAK > 1 else 1_500

@pytest.fixture(scope='module')
def long_items(seaweed):
    "A world, an item of ten versions, and one of many"
    with world(seaweed) as w:
        w.known(SMALL)      # the first contact of this process
        yield w, item(w, 10), item(w, MANY)

@pytest.mark.parametrize('verb', VERBS)
def test_the_same_requests_and_bytes_with_many_versions(long_items, verb, figure):
    w, few, many = long_items
    (a, a_bytes, _), (b, b_bytes, _) = costs(w, few, verb), costs(w, many, verb)
    figure(f'{verb}, of 10 and of {MANY:,} versions', requests=f'{a} and {b}', bytes=f'{a_bytes:,} and {b_bytes:,}')
    assert a == b and b_bytes <= 1.3 * a_bytes

@pytest.mark.parametrize('verb', ['get @2 again', 'the latest, a new store'])
def test_planted_listings_that_grow_are_caught(long_items, verb, figure):
    w, few, many = long_items
    with as_before(): (a, a_bytes, _), (b, b_bytes, _) = costs(w, few, verb), costs(w, many, verb)
    figure(f'{verb}, as before, of 10 and of {MANY:,} versions', requests=f'{a} and {b}',
           bytes=f'{a_bytes:,} and {b_bytes:,}')
    assert b_bytes > 10 * a_bytes
