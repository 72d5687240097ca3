"""What is kept: usage on every kind of place is what lies there, byte for byte; nothing is counted twice, removed
buckets are seen, and near tiers have a limit"""
import os, shutil
from pathlib import Path
import pytest
from objectstore import InvalidRef, NotFound, ObjectStore
from objectstore.cache.near import SHARE
from services import Place

pytestmark = pytest.mark.usefixtures('own_cache')
LARGE = 100_000


def fill(store: ObjectStore, top: Path) -> None:
    "Shared payloads, a folder, removed versions, an alias, notes, a removed bucket"
    for i in range(6): store.put('lab/model', bytes([i]) * LARGE, kind='model', alias='best')
    store.put('lab/copy', bytes([0]) * LARGE, kind='model')
    for name, size in (('a', 10), ('sub/b', 60_000)):
        (top/name).parent.mkdir(parents=True, exist_ok=True)
        (top/name).write_bytes(b'%' * size)
    store.put('lab/folder', top)
    (top/'c').write_bytes(b'c' * 50_000)
    store.put('lab/folder', top)                    # shares two files
    store.put('lab/small', {'a': 1}, kind='evaluation')
    store.annotate('lab/small', {'good': True})
    for n in (2, 3): store.remove(f'lab/model@{n}')
    store.put('gone/x', b'x' * LARGE)
    store.remove_bucket('gone', force=True)

def bytes_there(store: ObjectStore, *names: str) -> int:
    "All bytes below some buckets, by their listings"
    found = [store.origin.bucket(n) for n in names]
    return sum(e.size for b in found for e in b.backend.list(b.prefix))

def check(store: ObjectStore) -> None:
    "Usage of a store that was filled"
    store.close()                      # hints are written
    u = store.care.usage()
    assert u.stored == bytes_there(store, 'lab', 'gone')
    assert u.stored - u.unnamed - u.other == sum(x.stored for x in u.items) == sum(x.stored for x in u.ages)
    assert u.versions == 8 and u.said == 5 * LARGE + 60_010 + 110_010 + 7
    assert u.removed == 3 * LARGE and not u.unnamed and not u.missing
    assert u.shared == LARGE + 60_010
    assert {x.name for x in u.buckets} == {'lab', 'gone'} and {x.name for x in u.kinds} >= {'model', 'evaluation'}
    gone = next(x for x in u.buckets if x.name == 'gone')
    assert (gone.versions, gone.said) == (0, 0) and gone.stored > gone.removed == LARGE
    assert store.care.usage('gone').removed == gone.removed
    item = store.care.usage('lab/model')
    assert item.versions == 4 and 6 * LARGE < item.stored < 6 * LARGE + 6000 and len(item.items) == 1
    assert store['lab/model@1'].stored() < 2000 and LARGE < store['lab/model@4'].stored() < LARGE + 2000
    assert 50_000 < store['lab/folder'].stored() < 53_000
    stats = store.get_stats()
    assert stats['stored'] > stats['size'] and 'kB' in repr(stats)


@pytest.mark.parametrize('where', ['memory', 'local', 'stack'])
def test_usage_is_what_lies_there(where, tmp_path):
    tiers = dict(memory=['memory://'], local=[str(tmp_path/'store')],
                 stack=[str(tmp_path/'near'), str(tmp_path/'store')])[where]
    store = ObjectStore(*tiers, progress=False)
    fill(store, tmp_path/'folder')
    check(store)
    if where != 'stack': return
    u = store.care.usage()
    lies = sum(p.stat().st_size for p in (tmp_path/'near').rglob('*') if p.is_file())
    assert u.near + u.mapped == lies > LARGE
    freed = store.near.drop()
    assert freed >= lies and not [p for p in (tmp_path/'near').rglob('*') if p.is_file()]
    assert store.get('lab/copy') == bytes(LARGE)

def test_usage_of_a_service(seaweed, monkeypatch, tmp_path):
    for name, value in seaweed.environment.items(): monkeypatch.setenv(name, value)
    store = ObjectStore(Place(seaweed).url, endpoint=seaweed.endpoint, progress=False)
    fill(store, tmp_path/'folder')
    check(store)
    assert store.care.usage('lab').near > LARGE

def test_an_upload_that_was_cut_off_is_seen(tmp_path):
    store = ObjectStore(str(tmp_path/'store'), progress=False)
    v = store.put('lab/x', b'x' * LARGE)
    v._in.backend.create(f'{v._in.prefix}payloads/aa/{"a" * 64}-{"0" * 16}', b'half')
    assert store.care.usage().unnamed == 4
    v._in.backend.delete(next(e.key for e in v._in.backend.list(f'{v._in.prefix}payloads/') if e.size == LARGE))
    u = store.care.usage()
    assert u.missing == 1 and 'missing' in repr(u)

def test_names_that_are_not_there(tmp_path):
    store = ObjectStore(str(tmp_path/'store'), progress=False)
    assert store.care.usage().stored == 0
    store.put('lab/model', 1)
    with pytest.raises(NotFound, match="'lab'"): store.care.usage('lob')
    with pytest.raises(NotFound, match="'model'"): store.care.usage('lab/modle')
    with pytest.raises(InvalidRef): store.care.usage('lab/model@1')

def test_a_removal_says_that_bytes_stay(tmp_path):
    store = ObjectStore(str(tmp_path/'store'), progress=False)
    store.put('lab/x', b'x' * LARGE)
    before = bytes_there(store, 'lab')
    gone = store.remove('lab/x@1')
    assert gone == 1 and 'until they are collected' in repr(gone) and isinstance(gone, int)
    assert bytes_there(store, 'lab') >= before


def test_near_tiers_have_a_limit_by_default(tmp_path, monkeypatch):
    from objectstore.cache import near as near_module
    store = ObjectStore(str(tmp_path/'near'), str(tmp_path/'store'), progress=False)
    disk = shutil.disk_usage(tmp_path).total
    assert store.status()['tiers'][0][-1] == disk // SHARE and 'limit' in repr(store.status())
    monkeypatch.setattr(near_module, 'default_limit', lambda folder, shared: 3 * LARGE)
    store = ObjectStore(str(tmp_path/'near'), str(tmp_path/'store'), progress=False)
    for i in range(12): store.put('lab/x', bytes([i]) * LARGE)
    [near] = store.origin.place.nears
    assert near.measure() <= 3 * LARGE + 20_000
    assert [store.get(f'lab/x@{i + 1}') == bytes([i]) * LARGE for i in range(12)] == [True] * 12

def test_a_file_with_its_own_name_is_no_second_copy(tmp_path):
    store = ObjectStore(str(tmp_path/'near'), str(tmp_path/'store'), progress=False)
    (tmp_path/'notes.txt').write_bytes(b'n' * LARGE)
    v = store.put('lab/notes', tmp_path/'notes.txt')
    path = v.path()
    assert path.name == 'notes.txt' and path.read_bytes() == b'n' * LARGE
    assert path.stat().st_nlink == 2 and store.care.usage().plain == 0
    free = v.path(to=tmp_path/'mine.txt')
    assert free.stat().st_nlink == 1
    origin = [p for p in (tmp_path/'store').rglob('*') if p.is_file() and p.stat().st_size == LARGE]
    assert [p.stat().st_nlink for p in origin] == [1]         # an origin's own file is never linked
    assert store.near.drop('lab/notes') > 0 and not path.exists()
    assert v.path().read_bytes() == b'n' * LARGE

def test_what_is_dropped_is_what_was_named(tmp_path):
    store = ObjectStore(str(tmp_path/'near'), str(tmp_path/'store'), progress=False)
    for ref in ('lab/a', 'lab/b', 'other/a'): store.put(ref, ref.encode() * 20_000)
    store.near.keep('lab/a')
    [near] = store.origin.place.nears
    assert store.near.drop('lab') > 200_000
    assert not [e for _, e in near.all() if e.key.startswith(('lab/', 'held/'))]
    assert [e for _, e in near.all() if e.key.startswith('other/')]
    with pytest.raises(NotFound): store.near.drop('lob')
    with pytest.raises(InvalidRef): store.near.drop('')
    assert store.get('lab/a') == b'lab/a' * 20_000

def test_a_local_store_drops_its_mapped_copies(tmp_path):
    pd = pytest.importorskip('pandas')
    store = ObjectStore(str(tmp_path/'store'), progress=False)
    frame = pd.DataFrame({'a': range(50_000), 'b': [f'{i}' for i in range(50_000)]})
    store.put('lab/t', frame)
    for _ in range(3): store.get('lab/t')
    assert store.care.usage('lab').mapped > 400_000 and store.near.drop('lab') > 400_000
    assert not store.care.usage('lab').mapped and store.get('lab/t').equals(frame)

@pytest.mark.skipif(os.name == 'nt', reason='modes')
def test_no_record_is_kept_near_for_it(tmp_path):
    store = ObjectStore(str(tmp_path/'store'), progress=False)
    for i in range(5): store.put('lab/x', i)
    stack = ObjectStore(str(tmp_path/'near'), str(tmp_path/'store'), progress=False)
    stack.care.usage()
    assert not [p for p in (tmp_path/'near').rglob('*') if 'records' in p.parts and p.is_file()]
