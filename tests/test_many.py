"put_many and get_many on services that lose replies, and against somebody else's puts"
import pytest
from objectstore import ObjectStore


@pytest.mark.parametrize('fault', ['close_after_commit', '500_after_commit', 'reset_after_commit', 'close', '503'])
@pytest.mark.parametrize('n', [5, 40])
def test_put_many_stores_each_object_once_where_replies_are_lost(place, s3_env, proxy, fault, n):
    s = ObjectStore(place.url, endpoint=proxy.endpoint, timeout=4.0, progress=False)
    s.put('many/ready', 1)
    with proxy.fault(fault, method='PUT', path='records/', share=0.3, seed=n):
        made = s.put_many((f'many/{i}', i) for i in range(n))
    fresh = ObjectStore(place.url, endpoint=place.service.endpoint, timeout=4.0, progress=False)
    assert [v.version for v in made] == [1] * n
    assert [len(fresh.versions(f'many/{i}')) for i in range(n)] == [1] * n
    assert fresh.get_many(f'many/{i}' for i in range(n)) == list(range(n))


def test_put_many_goes_on_behind_what_others_have_put_meanwhile(place, s3_env):
    def store(): return ObjectStore(place.url, endpoint=place.service.endpoint, timeout=4.0, progress=False)
    ours, theirs = store(), store()
    ours.put_many((f'many/{i}', 'ours') for i in range(20))
    theirs.put_many((f'many/{i}', 'theirs') for i in range(30))
    made = ours.put_many((f'many/{i}', 'ours again') for i in range(30))
    assert [v.version for v in made] == [3] * 20 + [2] * 10
    assert theirs.get_many(f'many/{i}@1' for i in range(30)) == ['ours'] * 20 + ['theirs'] * 10
