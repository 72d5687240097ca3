"What a stack of tiers answers while the origin is there: the same as the origin alone, from nearer"
import os
from pathlib import Path
import pytest
from objectstore import Conflict, NotFound, ObjectStore, Protected
from objectstore.cache import near
from away import World, forget_all
from trial import content, soak, together, whole

LARGE = 100_000

def files(folder: Path, part: str) -> list[Path]:
    return [p for p in Path(folder).rglob('*') if p.is_file() and f'/{part}/' in str(p)]


def test_what_is_put_comes_back_from_the_stack_and_from_the_origin(world, clean):
    store = world.open()
    (folder := clean/'photos').mkdir()
    for i in range(3): (folder/f'{i}.bin').write_bytes(content(f'{i}', 50_000 * i))
    store.put('lab/json', {'a': [1, 2.5, None]}, metadata={'auc': 0.9})
    store.put('lab/text', 'words')
    store.put('lab/large', content('large', LARGE))
    store.put('lab/photos', folder)
    forget_all()
    for s in (store, world.open(), world.alone()):
        assert s.get('lab/json') == {'a': [1, 2.5, None]} and s['lab/json'].metadata == {'auc': 0.9}
        assert (s.get('lab/text'), whole(s.get('lab/large'))) == ('words', 'large')
        assert [whole(p.read_bytes()) for _, p in sorted(s.get('lab/photos').items())] == ['0', '1', '2']
        assert s.list_buckets() == ['lab'] and len(s.find_items('lab')) == 4

def test_every_verb_through_the_stack_and_through_the_origin_alone(world):
    store, alone = world.open(), world.alone()
    one, two = store.put('lab/m', 1, metadata={'auc': 0.8}), store.put('lab/m', 2, alias='production')
    assert (one.ref, two.ref) == ('lab/m@1', 'lab/m@2')
    alone.put('lab/m', 3)
    assert (store.get('lab/m'), store.versions('lab/m').refs) == (3, ['lab/m@1', 'lab/m@2', 'lab/m@3'])
    alone.set_alias('lab/m@3', 'production')
    assert store['lab/m@production'].version == 3 and store.aliases('lab/m') == {'production': 3}
    alone.annotate('lab/m@1', {'checked': True})
    assert world.open()['lab/m@1'].metadata == {'auc': 0.8, 'checked': True}
    with pytest.raises(Protected): store.remove('lab/m@3')
    assert store.remove('lab/m@3', force=True) == 1 and alone.get('lab/m') == 2
    assert store.get('lab/m') == 2 and alone.remove('lab/m@2') == 1 and store.get('lab/m') == 1
    assert store.copy('lab/m@2', 'lab/m').version == 4 and alone.get('lab/m') == 2
    with pytest.raises(Conflict): store.put('lab/m', 5, if_latest=3)
    assert store.put('lab/m', 5, if_latest=4).version == 5
    assert store.put('lab/m', 5, skip_unchanged=True).version == 5
    assert [v.version for v in store.put_many({f'lab/many/{i}': i for i in range(20)})] == [1] * 20
    assert store.get_many([f'lab/many/{i}' for i in range(20)]) == list(range(20))
    assert store.get_stats('lab')['items'] == alone.get_stats('lab')['items'] == 21
    assert not store.remove_bucket('lab') and store.remove_bucket('lab', force=True)
    assert store.list_buckets() == alone.list_buckets() == []
    assert store.put('lab/m', 6).version == 6

def test_a_removal_copied_from_a_stack_keeps_who_and_when(world):
    store, alone = world.open(), world.alone()
    store.put('lab/m', 1), store.put('lab/m', 2)
    store.remove('lab/m@1')
    says = lambda s: s.origin.bucket('lab').backend.read(s.origin.bucket('lab').key('m', 1, '1'))
    assert says(world.open()) == says(alone) != b'{}'


# I11: what was acknowledged before is seen

def between_two(world, n: int) -> int:
    "Stale answers of two stores that write by turns, one of them without near tiers"
    stores, stale = [world.open(), world.alone()], 0
    for i in range(n):
        a, b = stores if i % 2 else stores[::-1]
        v = a.put('lab/m', i)
        stale += b.get('lab/m') != i
        if i % 5 == 4:
            a.remove(v)
            stale += b.get('lab/m') == i
        a.set_alias('lab/m', 'production')
        stale += b['lab/m@production'].version != a['lab/m'].version
    return stale

def test_a_get_sees_what_was_acknowledged_before_it_began(world, figure):
    n = soak(30, 200)
    figure(f'21 two stores over {world.url.partition(":")[0]}, {len(world.nears) + 1} tiers, x {n}',
           stale=(stale := between_two(world, n)))
    assert not stale

def test_planted_a_stack_that_trusts_its_near_listing_is_caught(memory, monkeypatch):
    real = near.Stack.tail
    monkeypatch.setattr(near.Stack, 'tail',
        lambda self, folder, known=0: [*self._near_list(folder, None, None)] or real(self, folder, known))
    assert between_two(memory, 10)

def _writer(nears, url, options, state, name, n):
    os.environ['OBJECTSTORE_STATE_DIR'] = state
    store = ObjectStore(*nears, url, **options)
    return [store.put('lab/m', content(f'{name} {i}')).version for i in range(n)]

def test_processes_that_share_a_near_tier_lose_nothing(request, clean, figure):
    world, n = World('local', 3, clean, request), soak(20, 100)
    got = together(_writer, [(world.nears, world.url, world.options, str(clean/'state'), f'{p}', n) for p in range(4)])
    store = world.open()
    found = [whole(v.get()) for v in store.versions('lab/m')]
    figure(f'1 stack: 4 processes x {n}', versions=len(found), lost=4 * n - len(set(found)),
           doubled=len(found) - len(set(found)))
    assert sorted(x for g in got for x in g) == list(range(1, 4 * n + 1)) and len(set(found)) == 4 * n


# Where the bytes come from

def test_a_large_payload_comes_from_the_share_and_stays_on_this_machine(request, clean):
    world = World('memory', 3, clean, request)
    world.alone().put('lab/x', content('x', LARGE))
    assert whole(world.open().get('lab/x')) == 'x'
    assert files(clean/'near', 'payloads') and files(clean/'share', 'payloads')
    elsewhere = World('memory', 3, clean, request)
    elsewhere.url, elsewhere.nears = world.url, [str(clean/'other'), world.nears[1]]
    store = elsewhere.open()
    store['lab/x']
    elsewhere.switch.asked.clear()
    assert whole(store.get('lab/x')) == 'x' and not [k for op, k in elsewhere.switch.asked if 'payloads' in k]
    assert files(clean/'other', 'payloads')

def test_near_records_keep_the_time_of_the_origin(memory):
    alone = memory.alone()
    alone.put('lab/m', 1)
    then = alone['lab/m'].created
    memory.open().get('lab/m')
    # whatever a file system thinks of a near copy
    for p in files(memory.folder/'near', 'records'): os.utime(p, (0, 0))
    assert memory.open(offline=True)['lab/m@1'].created == then == memory.open()['lab/m@1'].created

def test_modes_of_near_copies(request, clean):
    world = World('memory', 3, clean, request)
    world.alone().put('lab/x', content('x', LARGE))
    world.open().get('lab/x')
    own, shared = ([p for p in files(clean/d, 'payloads') + files(clean/d, 'records')] for d in ('near', 'share'))
    assert own and shared
    assert all(os.stat(p).st_mode & 0o077 == 0
               for p in [*own, *(q for p in own for q in p.parents if '.near' in q.parts)])
    assert all(os.stat(p).st_mode & 0o044 == 0o044 for p in shared)

def test_not_found_is_not_found(world):
    store = world.open()
    store.put('lab/m', 1)
    for ref in ('lab/n', 'lab/m@7', 'lab/m@production', 'other/m'):
        with pytest.raises(NotFound): store.get(ref)
        assert store.get(ref, default=None) is None and ref not in store
