"""Near tiers are caches: rotten, gone, full, closed, shared, somebody else's; what comes back is right, or comes from
farther"""
import os, random, shutil, threading
from collections import Counter
from pathlib import Path
import pytest
from objectstore import Damaged, NotAvailableOffline, NotFound, ObjectStore, TierMismatch
from objectstore.cache import near
from objectstore.cache.near import Near
from objectstore.cache.stacked import open_near
from away import World, env, forget_all, quiet
from trial import content, soak, together, whole

LARGE = 60_000

def stocked(world, n=6) -> ObjectStore:
    store = world.open()
    for i in range(n): store.put('lab/m', content(f'm {i}'), metadata={'i': i})
    for i in range(n): store.put('lab/large', content(f'large {i}', LARGE + i))
    store.set_alias('lab/m@2', 'production'), store.annotate('lab/m@2', {'note': 'a'}), store.remove('lab/m@1')
    return store

def copies(root: Path, *areas: str) -> list[Path]:
    return sorted(p for p in Path(root).rglob('.near/**/*') if p.is_file() and any(f'/{a}/' in str(p) for a in areas))

def damage(path: Path, rng: random.Random, others: list[Path]) -> str:
    "Flip a bit, cut it short, empty it, lengthen it, or put another's bytes there"
    os.chmod(path, 0o600)
    data, how = bytearray(path.read_bytes()), rng.choice(['flip', 'cut', 'empty', 'longer', 'swap'])
    if how == 'flip' and data: data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    if how == 'cut': del data[rng.randrange(len(data) or 1):]
    if how == 'empty': data = b''
    if how == 'longer': data += b'x'
    if how == 'swap': data = rng.choice(others).read_bytes()
    path.write_bytes(bytes(data))
    os.utime(path, (1, 1))
    return how

def wrong_answers(store) -> Counter:
    "What does not come back as it was put: wrong bytes, or an error"
    found = Counter()
    def check(f, right):
        try:
            if (said := f()) != right: found['wrong'] += 1; print(said, 'is not', right)
        except (Damaged, NotAvailableOffline, NotFound) as e: found[type(e).__name__] += 1
    for i in range(1, 6):
        check(lambda: whole(store.get(f'lab/m@{i + 1}')), f'm {i}')
        check(lambda: whole(store.get(f'lab/large@{i + 1}')), f'large {i}')
    check(lambda: store['lab/m@production'].version, 2)
    check(lambda: store['lab/m@2'].metadata, {'i': 1, 'note': 'a'})
    check(lambda: store.versions('lab/m').refs, [f'lab/m@{i}' for i in range(2, 7)])
    check(lambda: 'lab/m@1' in store, False)
    return +found

def rot(world, areas, n: int, seed: int = 0) -> Counter:
    "Damage near copies, some each time, and ask for everything in a new process"
    store, rng, total = stocked(world), random.Random(seed), Counter()
    with quiet(): wrong_answers(store)
    for _ in range(n):
        found = copies(world.folder/'near', *areas)
        for p in rng.sample(found, min(3, len(found))): damage(p, rng, found); total['damaged'] += 1
        forget_all()
        from objectstore.cache import download
        download._verified.clear()
        total += wrong_answers(world.open())
    return total

@pytest.mark.parametrize('areas', [['records'], ['payloads'], ['aliases', 'notes', 'state']], ids='-'.join)
def test_rotten_near_copies_are_healed(memory, areas, figure):
    total = rot(memory, areas, soak(40, 200))
    figure(f'9 near {", ".join(areas)} damaged', damaged=total['damaged'], wrong=total['wrong'],
           errors=total['Damaged'] + total['NotFound'])
    assert not total['wrong'] and not total['Damaged'] and not total['NotFound'] and not total['NotAvailableOffline']

def test_planted_moves_that_are_believed_are_caught(memory, monkeypatch):
    monkeypatch.setattr(Near, 'read',
        lambda self, key, limit=None: self.at(key).read(key, limit)[0 if self.area(key) in near.WHOLE else 16:])
    try:
        caught = any(rot(memory, ['aliases', 'notes', 'state'], 12, seed) - Counter(damaged=10**6) for seed in range(2))
    except UserWarning as e: caught = 'left out' in str(e)
    assert caught

def test_offline_a_rotten_near_copy_is_healed_by_the_next_tier(request, clean, figure):
    world, total, rng = World('memory', 3, clean, request), Counter(), random.Random(1)
    _store = stocked(world)
    forget_all()
    shutil.rmtree(clean/'near')
    with quiet(): wrong_answers(world.open())
    world.away()
    for _ in range(soak(20, 200)):
        found = copies(clean/'near', 'records', 'payloads', 'aliases', 'notes')
        for p in rng.sample(found, 4): damage(p, rng, found)
        forget_all()
        from objectstore.cache import download
        download._verified.clear()
        with quiet(): total += wrong_answers(world.open())
    figure('9 offline, the nearest tier damaged, the share heals it', damaged=80, wrong=total['wrong'],
           errors=total.total() - total['wrong'])
    assert not total

def test_offline_what_cannot_be_healed_is_never_wrong(memory):
    stocked(memory)
    memory.away()
    rng, total = random.Random(2), Counter()
    found = copies(memory.folder/'near', 'records', 'payloads', 'aliases', 'notes')
    for p in found: damage(p, rng, found)
    forget_all()
    with quiet(): total = wrong_answers(memory.open())
    # fewer versions are listed
    assert total['NotAvailableOffline'] + total['Damaged'] > 5 and total['wrong'] <= 1, total


# Gone, closed, shared

def test_the_near_folder_vanishes_in_the_middle(memory):
    store = stocked(memory)
    for i in range(6):
        shutil.rmtree(memory.folder/'near')
        if i % 2: store = (forget_all(), memory.open())[1]
        assert not wrong_answers(store)
        assert (store.put('lab/new', content('new')).version == i + 1
                and whole(store.put('lab/large', content('new', LARGE)).get()) == 'new')
    with quiet():
        memory.away()
        assert whole(store.get('lab/large')) == 'new'

def test_the_near_folder_vanishes_while_threads_read(memory):
    store, stop, errors = stocked(memory), threading.Event(), []
    def read():
        while not stop.is_set():
            try: assert whole(store.get(f'lab/large@{random.randrange(2, 7)}'))
            except Exception as e: errors.append(e); return
    threads = [threading.Thread(target=read) for _ in range(3)]
    for t in threads: t.start()
    for _ in range(20): shutil.rmtree(memory.folder/'near', ignore_errors=True)
    stop.set()
    for t in threads: t.join()
    assert not errors, errors[0]

@pytest.mark.parametrize('what', ['a file in its place', 'closed'])
def test_a_near_folder_that_cannot_be_written_to(memory, what, monkeypatch):
    if what == 'closed':
        memory.open().put('lab/x', 1)
        real = os.open
        def refuses(path, flags, *args, **kwargs):
            if '/near/' in str(path) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                raise PermissionError(13, 'Permission denied', path)
            return real(path, flags, *args, **kwargs)
        monkeypatch.setattr(os, 'open', refuses)
        real_mkdir = os.mkdir
        monkeypatch.setattr(os, 'mkdir',
            lambda p, *a, **k: (_ for _ in ()).throw(PermissionError(13, 'Permission denied')) if '/near' in str(p)
                            else real_mkdir(p, *a, **k))
    else: (memory.folder/'near').write_text('not a folder')
    store = stocked(memory)
    assert not wrong_answers(store) and not wrong_answers(memory.open())

def test_a_damaged_copy_that_cannot_be_deleted_is_passed_over(memory, monkeypatch):
    stocked(memory)
    found, rng = copies(memory.folder/'near', 'records', 'payloads', 'aliases'), random.Random(3)
    for p in found: damage(p, rng, found)
    forget_all()
    from objectstore.storage.files import FileBackend
    real = FileBackend.delete
    def refuses(self, key):
        if '.near' in self.url: raise PermissionError(13, 'no')
        real(self, key)
    monkeypatch.setattr(FileBackend, 'delete', refuses)
    store = memory.open()
    assert not wrong_answers(store) and not wrong_answers(store)

def test_one_near_folder_for_two_origins(clean, request):
    a, b = World('memory', 2, clean, request), World('memory', 2, clean, request)
    for w, name in ((a, 'a'), (b, 'b')):
        w.open().put('lab/m', content(name)), w.open().put('lab/large', content(name, LARGE))
    forget_all()
    for w, name in ((a, 'a'), (b, 'b')):
        assert whole(w.open().get('lab/m@1')) == name == whole(w.open().get('lab/large@1'))
        w.away()
    forget_all()
    with quiet():
        for w, name in ((a, 'a'), (b, 'b')):
            assert whole(w.open().get('lab/m@1')) == name == whole(w.open().get('lab/large@1'))
    assert len(list((clean/'near'/'.near').iterdir())) == 2

def _reader(nears, url, state, n):
    with env(OBJECTSTORE_STATE_DIR=state):
        store, rng, bad = ObjectStore(*nears, url, cache_limit=250_000), random.Random(n), 0
        for _ in range(60): bad += whole(store.get(f'lab/large@{(k := rng.randrange(1, 13))}')) != f'large {k - 1}'
    return bad

def test_several_processes_over_one_near_folder_that_is_too_small(request, clean):
    world = World('local', 2, clean, request)
    for i in range(12): world.alone().put('lab/large', content(f'large {i}', LARGE + i))
    assert together(_reader, [(world.nears, world.url, str(clean/'state'), n) for n in range(4)]) == [0] * 4
    size = sum(p.stat().st_size for p in (clean/'near').rglob('*') if p.is_file())
    assert size < 2 * 250_000, f'{size:,}'      # each process counts again after a twentieth

@pytest.mark.skipif(not hasattr(os, 'geteuid'), reason='owners are POSIX')
def test_near_copies_of_another_user_are_refused(clean, monkeypatch):
    (clean/'x'/'.near').mkdir(parents=True)
    monkeypatch.setattr(os, 'geteuid', lambda: 12345)
    os.chown(clean/'x'/'.near', 777, -1) if os.getuid() == 0 else pytest.skip('needs root')
    with pytest.raises(TierMismatch, match='another user .number 777'): open_near(str(clean/'x'))


# A folder that is both

def test_a_near_tier_opened_alone_shows_nothing_of_it(memory):
    stocked(memory)
    own = ObjectStore(str(memory.folder/'near'))
    assert own.list_buckets() == [] and not own.find_items()
    own.put('lab/m', 'my own')
    assert own.get('lab/m@1') == 'my own' and own.versions('lab/m').refs == ['lab/m@1']
    with pytest.raises(TierMismatch, match='holds versions of its own.*open it alone and copy its buckets'):
        memory.open()

def test_an_origin_is_no_near_tier_and_tiers_have_an_order(clean):
    ObjectStore(str(clean/'data')).put('lab/m', 1)
    with pytest.raises(TierMismatch, match='versions of its own'): ObjectStore(str(clean/'data'), 'memory://x')
    with pytest.raises(TierMismatch, match='swap'): ObjectStore('s3://lab?endpoint=http://127.0.0.1:9', str(clean/'x'))
    with pytest.raises(TierMismatch, match='named twice'): ObjectStore(str(clean/'x'), str(clean/'x'))
    with pytest.raises(TierMismatch, match='named twice'): ObjectStore(str(clean/'x'), str(clean/'x'), 'memory://x')


# A limit

def size_of(world) -> int: return sum(p.stat().st_size for p in (world.folder/'near').rglob('*') if p.is_file())

def test_a_limit_is_kept_and_the_least_recently_used_go_first(memory):
    store = memory.open(cache_limit=10 * LARGE)
    for i in range(30):
        store.put('lab/large', content(f'{i}', LARGE))
        store.get('lab/large@1'), store.near.keep('lab/large@2') if i == 1 else None
        assert size_of(memory) < 11.5 * LARGE
    there = {v.version for v in store.versions('lab/large')
             if store.origin.bucket('lab').own_file(v.hash, v._record.put)}
    assert {1, 2, 30} <= there and 4 not in there and len(there) < 11
    assert all(whole(store.get(f'lab/large@{i + 1}')) == f'{i}' for i in range(30))

def test_a_limit_holds_for_small_records_too(memory):
    store = memory.open(cache_limit=100_000)
    for i in range(400): store.put(f'lab/{i % 40}', content(f'{i}', 1000))
    assert size_of(memory) < 130_000
    assert whole(store.get('lab/0@1')) == '0'

def test_pending_bytes_are_never_evicted(memory):
    (store := memory.open(cache_limit=2 * LARGE)).list_buckets()       # it is reached
    memory.away()
    with quiet():
        kept = [store.put('lab/large', content(f'{i}', LARGE)) for i in range(8)]
        assert [whole(v.get()) for v in kept] == [f'{i}' for i in range(8)]
    memory.back()
    assert not store.sync().waiting and whole(store.get('lab/large@3')) == '2'

def test_keep_and_drop(memory):
    alone = memory.alone()
    for i in range(3): alone.put('lab/large', content(f'{i}', LARGE), alias='production')
    (top := memory.folder/'photos').mkdir()
    for i in range(3): (top/f'{i}').write_bytes(content(f'{i}', LARGE))
    alone.put('lab/photos', top)
    store = memory.open(cache_limit=LARGE)
    assert store.near.keep(['lab/large@2', 'lab/photos', 'lab/large@production']) > 4 * LARGE
    for i in range(5): store.put('lab/other', content(f'{i}', LARGE))
    memory.away()
    forget_all()
    with quiet():
        off = memory.open()
        assert (whole(off.get('lab/large@2')) == '1'
                and len([p.read_bytes() for p in off.get('lab/photos').values()]) == 3)
        assert off['lab/large@production'].version == 3 and off['lab/large@2'].metadata == {}
        off.near.drop('lab/large@2')
        with pytest.raises(NotAvailableOffline): off.get('lab/large@2')
        off.near.drop('lab/photos')
        with pytest.raises(NotAvailableOffline): off.get('lab/photos')
    memory.back()
    forget_all()
    assert whole(memory.open().get('lab/large@2')) == '1'

@pytest.mark.parametrize('limit', [None, '1 GB'])
def test_keep_holds_what_a_folder_on_this_machine_has(clean, limit):
    lab, near, large = clean/'lab', str(clean/'near'), content('large', LARGE)
    (top := clean/'photos').mkdir()
    (top/'a').write_bytes(content('photo', LARGE))
    alone = ObjectStore(lab)
    alone.put('wine/table', large), alone.put('wine/photos', top), alone.put('wine/other', content('other', LARGE))
    with ObjectStore(near, lab, cache_limit=limit) as store:
        store.get('wine/other')
        assert store.near.keep(['wine/table', 'wine/photos']).versions == 2
    with quiet(), pytest.raises(NotAvailableOffline, match='records of wine/other@1, and not their bytes'):
        ObjectStore(near, lab, offline=True).get('wine/other')       # the folder is there, and is not asked
    lab.rename(clean/'gone')
    forget_all()
    for offline in (True, 'auto'):
        off = ObjectStore(near, lab, offline=offline)
        with quiet():
            assert off.get('wine/table') == large and whole(off.get('wine/photos')['a'].read_bytes()) == 'photo'
            with pytest.raises(NotAvailableOffline, match='records of wine/other@1, and not their bytes'):
                off.get('wine/other')
    assert off.near.drop('wine/table') >= LARGE

def test_an_answer_that_nobody_was_asked_for_says_so(clean):
    lab, near = clean/'lab', str(clean/'near')
    ObjectStore(near, lab).put('wine/table', 1)
    with pytest.warns(UserWarning, match='is not asked: offline=True; what is near may not be the newest'):
        ObjectStore(near, lab, offline=True).get('wine/table')

def test_planted_an_eviction_of_what_is_held_is_caught(memory, monkeypatch):
    monkeypatch.setattr(Near, 'held', lambda self: set())
    with pytest.raises((AssertionError, NotAvailableOffline)): test_keep_and_drop(memory)

def test_leftovers_of_a_dead_process_are_swept(memory):
    _store = stocked(memory)
    folder = copies(memory.folder/'near', 'payloads')[0].parent
    (old := folder/'.tmp-0123456789abcdef').write_bytes(b'x')
    os.utime(old, (1, 1))
    forget_all()
    memory.open().put('lab/large', content('x', LARGE))
    assert not old.exists()

@pytest.mark.parametrize('looked', ['not at all', 'list_buckets', 'versions'])
def test_a_folder_that_is_renamed_away_is_away_and_not_empty(clean, monkeypatch, looked):
    "In the process that has put into it, whatever that has asked since"
    from objectstore import StaleWarning
    monkeypatch.chdir(clean)
    lab = ObjectStore('near', 'lab', progress=False)
    lab.put('wine/small', 1)
    ObjectStore('lab').put('wine/large', content('large', LARGE))
    lab = ObjectStore('near', 'lab', progress=False)
    if looked == 'list_buckets': lab.list_buckets()
    if looked == 'versions': lab.versions('wine/small')
    os.rename('lab', 'gone')
    for ref in ('wine/large', 'wine/large@1', 'vine/large'):
        with quiet(), pytest.raises(NotAvailableOffline): lab.get(ref)
    with pytest.warns(StaleWarning): assert ObjectStore('near', 'lab', progress=False).get('wine/small') == 1
    with quiet(): assert lab.get('wine/small') == 1
    os.rename('gone', 'lab')
    forget_all()
    lab = ObjectStore('near', 'lab', progress=False)
    assert lab.get('wine/large') == content('large', LARGE)
    with pytest.raises(NotFound): lab.get('vine/large')
