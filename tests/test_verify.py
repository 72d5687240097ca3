"""Verify: a store that was damaged at random is read, healed where anybody has right bytes, and what is lost is named.
Wrong bytes are never returned, nothing is deleted at the origin, no record is written (RELIABILITY.md 8 and 9)"""
import os, random, shutil
from collections import Counter
from pathlib import Path
import pytest
from objectstore import InvalidCall, InvalidRef, NotFound, ObjectStore, ObjectStoreError, Protected
from objectstore.storage.backend import MemoryBackend
from objectstore.storage.files import FileBackend
from objectstore.storage.remote import RemoteBackend
from services import Place
from trial import content, soak

pytestmark = [pytest.mark.usefixtures('own_cache', 'own_state'), pytest.mark.filterwarnings('ignore')]

@pytest.fixture
def own_state(tmp_path, monkeypatch): monkeypatch.setenv('OBJECTSTORE_STATE_DIR', str(tmp_path/'state'))

LARGE = 60_000

def fill(store: ObjectStore, top: Path) -> dict[str, object]:
    "A store that has an object of every kind; what each ref must give"
    for name, size in (('a', 10), ('sub/b', 60_000), ('sub/c', 50_000)):
        (top/name).parent.mkdir(parents=True, exist_ok=True)
        (top/name).write_bytes(content(name, size))
    for i in range(1, 4):
        store.put('lab/small', content(f's{i}'), alias='best')
        store.put('lab/large', content(f'l{i}', LARGE + i), metadata={'i': i})
    store.put('lab/twice', content('l1', LARGE + 1))
    store.put('lab/folder', top)
    store.annotate('lab/large@1', {'good': True})
    store.set_alias('lab/large@2', 'best'); store.set_alias('lab/large@3', 'best')
    store.put('lab/gone', content('gone', LARGE)); store.remove('lab/gone@1')
    store.care.compact('lab')
    store.find_items('lab')
    store.close()
    refs = [*(f'lab/{i}@{n}' for i in ('small', 'large') for n in (1, 2, 3)), 'lab/twice@1', 'lab/folder@1']
    return {ref: whole(store, ref) for ref in refs}

def whole(store: ObjectStore, ref: str) -> object:
    found = store.get(ref)
    return {n: found.read(n) for n in found} if hasattr(found, 'members') else found

def answers(store: ObjectStore, right: dict) -> Counter:
    "How many refs answer rightly, wrongly, with an error; wrong is never allowed"
    found = Counter()
    for ref, value in right.items():
        try: found['right' if whole(store, ref) == value else 'wrong'] += 1
        except ObjectStoreError: found['error'] += 1
    return found


# one damage of each kind

def damage(place: Path, rng: random.Random, pattern: str) -> Path | None:
    "One file that matches: a byte is changed, it is cut, emptied, swapped with another, or deleted"
    found = sorted(p for p in place.rglob('*') if p.is_file() and pattern in p.as_posix() and 'probe' not in p.parts)
    if not found: return None
    p, how = rng.choice(found), rng.choice(['byte', 'cut', 'empty', 'swap', 'delete'])
    p.chmod(0o600)
    data = bytearray(p.read_bytes())
    if how == 'delete' or not data: p.unlink(); return p
    if how == 'byte': data[rng.randrange(len(data))] ^= 1 + rng.randrange(255)
    elif how == 'cut': data = data[:rng.randrange(len(data))]
    elif how == 'empty': data = b''
    elif how == 'swap': data = rng.choice(found).read_bytes()
    p.write_bytes(data)
    return p

AREAS = ['lab/payloads/', 'lab/records/', 'lab/aliases/', 'lab/notes/', 'lab/log/c-', 'lab/state/']

@pytest.fixture(scope='module')
def made(tmp_path_factory):
    "A filled store, a second one of the same content, a near tier; copied for each test"
    top = tmp_path_factory.mktemp('made')
    right = fill(ObjectStore(str(top/'store'), progress=False), top/'folder')
    with pytest.MonkeyPatch.context() as m:
        m.setenv('OBJECTSTORE_STATE_DIR', str(top/'state'))
        second = ObjectStore(str(top/'second'), progress=False)
        fill(second, top/'folder')
    return top, right

def fresh(made, tmp_path, near: bool = False) -> tuple[ObjectStore, dict]:
    top, right = made
    shutil.copytree(top/'store', tmp_path/'store')
    tiers = [str(tmp_path/'near')] if near else []
    return ObjectStore(*tiers, str(tmp_path/'store'), progress=False), right

def test_a_whole_store_is_ok(made, tmp_path):
    store, right = fresh(made, tmp_path)
    store.find_items('lab')
    before = listing(tmp_path/'store')
    report = store.care.verify()
    assert report.ok and not report.findings and report.verdict == 'nothing is wrong'
    looked = report.looked
    assert looked['records'] == 9 and looked['payloads'] == 7 and looked['aliases'] >= 5 and looked['notes'] == 1
    assert looked['catalog rows'] == 8 and looked['index rows'] == 8
    assert listing(tmp_path/'store') == before

def listing(place: Path) -> dict[str, tuple]:
    return {p.relative_to(place).as_posix(): (p.stat().st_ino, p.stat().st_mtime_ns, p.read_bytes())
            for p in place.rglob('*') if p.is_file()}

@pytest.mark.parametrize('area', AREAS)
def test_each_kind_of_damage_is_found_or_harms_nobody(made, tmp_path, area):
    rng = random.Random(area)
    for i in range(4):
        at = tmp_path/str(i)
        store, right = fresh(made, at)
        p = damage(at/'store', rng, area)
        changed = p and (not p.exists() or p.read_bytes() != (made[0]/'store'/p.relative_to(at/'store')).read_bytes())
        store = ObjectStore(str(at/'store'), progress=False)
        report = store.care.verify()
        found = answers(ObjectStore(str(at/'store'), progress=False), right)
        assert not found['wrong']
        if found['error']: assert report.lost or report.of('bad'), (p, report)
        if changed and p.exists(): assert report.findings, (p, report)

def test_a_store_damaged_at_random(made, tmp_path, figure):
    "Of every kind of object, a few each time; a second store and a near tier have right bytes of some"
    rng, total = random.Random(7), Counter()
    second = ObjectStore(str(made[0]/'second'), progress=False)
    for i in range(soak(30, 1000)):
        at = tmp_path/str(i)
        store, right = fresh(made, at, near=i % 2 == 1)
        answers(store, right)
        blind = False
        for _ in range(rng.randint(1, 4)):
            where = at/rng.choice(['store', 'store', 'near'] if i % 2 else ['store'])
            hit = damage(where, rng, rng.choice(AREAS))
            total['damaged'] += hit is not None
            blind |= hit is not None and 'log' in hit.parts      # nobody else may know that a last record was there
        before = set(listing(at/'store'))
        tiers = ([str(at/'near')] if i % 2 else []) + [str(at/'store')]
        store = ObjectStore(*tiers, progress=False)
        report = store.care.verify(fix=True, heal_from=second if i % 3 else None)
        assert before <= set(listing(at/'store')), 'something was deleted'
        alone = ObjectStore(str(at/'store'), progress=False)
        found = answers(alone, right)
        named = {f.about for f in report.of('lost', 'bad')}
        for ref, value in right.items():
            try: assert whole(alone, ref) == value
            except ObjectStoreError:
                total['named' if ref in ' '.join(named) else 'known to nobody'] += 1
                assert ref in ' '.join(named) or blind, (i, ref, report)
        total.update(found)
        total.update({s: len(report.of(s)) for s in ('healed', 'lost', 'bad')})
        if i % 3 and not report.of('lost', 'bad'): assert found['right'] == len(right), (i, report)
        shutil.rmtree(at)
    figure('8 stores damaged at random and verified', **{'stores': i + 1, 'wrong': 0, **total})
    assert not total['wrong'] and total['healed'] and total['lost']


# healing

def test_a_payload_is_healed_from_each_place_that_has_it(made, tmp_path):
    for i, source in enumerate(['near', 'twice', 'second']):
        at = tmp_path/source
        store, right = fresh(made, at, near=source == 'near')
        # a put through a near tier leaves a copy there
        v = store.put('lab/new', content('new', LARGE)) if source == 'near' else store['lab/large@2']
        value = v.get()
        key = at/'store'/'lab'/'payloads'/v.hash[:2]/f'{v.hash}-{v._record.put}'
        if source == 'twice': shutil.copy(key, key.with_name(f'{v.hash}-{"0" * 16}'))
        key.chmod(0o600); key.write_bytes(b'rotten')
        second = ObjectStore(str(made[0]/'second'), progress=False) if source == 'second' else None
        report = store.care.verify(heal_from=second)
        assert [f.about for f in report.of('bad')] == [v.ref] and key.read_bytes() == b'rotten'
        report = store.care.verify(fix=True, heal_from=second)
        assert report.ok and [f.about for f in report.of('healed')] == [v.ref], report
        assert key.read_bytes() == value and store.care.verify().ok

def test_what_was_removed_is_not_written_back(made, tmp_path):
    store, _ = fresh(made, tmp_path)
    v = store['lab/large@2']
    key = tmp_path/'store'/'lab'/'payloads'/v.hash[:2]/f'{v.hash}-{v._record.put}'
    store.remove(v, force=True)
    key.unlink()
    report = store.care.verify(fix=True, heal_from=ObjectStore(str(made[0]/'second'), progress=False))
    assert report.ok and not key.exists() and not len(report), report

def test_a_move_beside_a_version_that_cannot_be_read_is_said():
    "Its number counts all the same"
    store = ObjectStore('memory://', progress=False)
    store.put('lab/m', 1), store.put('lab/m', 2), store.remove('lab/m@1')
    b = store.origin.bucket('lab')
    key = b.key('m', 1, '1')
    b.backend.delete(key), b.backend.create(key, b'?')
    found = store.care.verify('lab')
    assert [(f.about, 'move 1 beside it cannot be read' in f.found) for f in found] == [('lab/m@1', True)]
    assert store.versions('lab/m').refs == ['lab/m@2'] and store.restore('lab/m@1').ref == 'lab/m@1'
    assert sorted(m.what for m in store.history('lab/m@1')) == ['put', 'removed', 'restored']

def test_a_lost_record_is_named_by_whoever_knows_it(made, tmp_path):
    store, right = fresh(made, tmp_path, near=True)
    answers(store, right)
    store.find_items('lab')
    folder = tmp_path/'store'/'lab'/'records'
    last = next(p for p in folder.rglob('0000000003') if 'large' in p.as_posix())
    last.chmod(0o600); last.unlink()
    report = store.care.verify()
    assert 'lab/large@3' in ' '.join(f.about for f in report.of('bad', 'lost')) and 'near copy' in repr(report)
    middle = next(p for p in folder.rglob('0000000002') if 'small' in p.as_posix())
    middle.chmod(0o600); middle.unlink()
    alone = ObjectStore(str(tmp_path/'store'), progress=False)
    assert 'lab/small@2' in alone.care.verify().lost

def test_near_and_mapped_copies_are_dropped(tmp_path):
    pd = pytest.importorskip('pandas')
    store = ObjectStore(str(tmp_path/'near'), str(tmp_path/'store'), progress=False)
    store.put('lab/t', pd.DataFrame({'a': range(50_000)}))
    for _ in range(3): store.get('lab/t')
    for end in ('.arrow', ''):
        p = next(p for p in (tmp_path/'near').rglob('*') if p.is_file() and 'payloads' in p.parts
                 and p.name.endswith(end or p.name) and (end or '.' not in p.name))
        p.chmod(0o600)
        p.write_bytes(p.read_bytes()[:-1] + b'!')
    report = store.care.verify()
    assert len(report.of('bad')) == 2 and report.looked['mapped copies'] == 1, report
    assert store.care.verify(fix=True).ok
    assert store.care.verify().ok and list(store.get('lab/t')['a'][:2]) == [0, 1]

def test_the_index_is_mended(made, tmp_path):
    store, right = fresh(made, tmp_path)
    store.find_items('lab')
    with store.keeper.index.writing() as db:
        db.execute("DELETE FROM versions WHERE item = 'small' AND version = 2")
        db.execute("UPDATE docs SET id = 'f' || substr(id, 2) WHERE at = (SELECT min(at) FROM versions)")
    report = store.care.verify()
    assert [f.about for f in report.of('bad')][-1] == 'index of bucket lab', report
    assert store.care.verify(fix=True).of('healed') and store.care.verify().ok

def test_of_a_service(seaweed, monkeypatch, tmp_path):
    for name, value in seaweed.environment.items(): monkeypatch.setenv(name, value)
    place = Place(seaweed)
    store = ObjectStore(place.url, endpoint=seaweed.endpoint, progress=False)
    right = fill(store, tmp_path/'folder')
    assert store.care.verify().ok
    v, w = store['lab/large@1'], store['lab/large@3']
    s3, raw = seaweed.client(), f'{place.prefix}/lab/payloads'
    s3.put_object(Bucket=place.bucket, Key=f'{raw}/{v.hash[:2]}/{v.hash}-{v._record.put}', Body=b'rotten')
    s3.delete_object(Bucket=place.bucket, Key=f'{raw}/{w.hash[:2]}/{w.hash}-{w._record.put}')
    report = store.care.verify(fix=True)
    assert report.ok and len(report.of('healed')) == 2, report
    far = ObjectStore(place.url, endpoint=seaweed.endpoint, near=False, progress=False)
    assert answers(far, right)['right'] == len(right)
    s3.delete_object(Bucket=place.bucket, Key=f'{raw}/{w.hash[:2]}/{w.hash}-{w._record.put}')
    assert far.care.verify(fix=True).lost == ['lab/large@3']


# how far it came

def test_one_that_was_interrupted_is_gone_on_with(made, tmp_path, monkeypatch):
    from objectstore.care import verify as verify_module
    monkeypatch.setattr(verify_module, 'PORTION', 1)
    store, _ = fresh(made, tmp_path)
    v = store['lab/large@1']
    key = tmp_path/'store'/'lab'/'payloads'/v.hash[:2]/f'{v.hash}-{v._record.put}'
    key.chmod(0o600); key.write_bytes(b'rotten')
    backend, read, stop = store.origin.place, [], 3
    plain = type(backend).stream
    def stream(self, key, start=0, end=None):
        if len(read) >= stop and 'payloads' in key: raise KeyboardInterrupt
        read.append(key)
        return plain(self, key, start, end)
    monkeypatch.setattr(type(backend), 'stream', stream)
    with pytest.raises(KeyboardInterrupt): store.care.verify()
    first, read, stop = read, [], 1000
    report = store.care.verify()
    assert not set(first) & set(read) and len(first) + len(read) == 7
    assert report.looked['payloads'] == 7 and 'went on' in report.looked
    assert {*report.lost} == {'lab/large@1', 'lab/twice@1'}
    read = []
    assert store.care.verify().looked['payloads'] == 7

def test_samples_cover_everything(made, tmp_path):
    store, _ = fresh(made, tmp_path)
    looked = [store.care.verify(sample=1/5).looked.get('payloads', 0) for _ in range(5)]
    assert sum(looked) == 7 and max(looked) < 7

def test_wrong_calls(made, tmp_path):
    store, _ = fresh(made, tmp_path)
    with pytest.raises(NotFound, match="'lab'"): store.care.verify('lob')
    with pytest.raises(InvalidRef): store.care.verify('lab/large')
    for bad in (0, 2, -1, True, 'all'):
        with pytest.raises(InvalidCall): store.care.verify(sample=bad)
    readonly = ObjectStore(str(tmp_path/'store'), readonly=True, progress=False)
    assert readonly.care.verify().ok
    with pytest.raises(Protected): readonly.care.verify(fix=True)

def test_planted_a_check_without_hashes_is_caught(made, tmp_path, monkeypatch):
    from objectstore.care import verify as verify_module
    monkeypatch.setattr(verify_module, 'what_is_wrong', lambda *a: '')
    store, _ = fresh(made, tmp_path)
    v = store['lab/large@1']
    key = tmp_path/'store'/'lab'/'payloads'/v.hash[:2]/f'{v.hash}-{v._record.put}'
    key.chmod(0o600); key.write_bytes(b'x' * (LARGE + 1))
    with pytest.raises(AssertionError): assert not store.care.verify().ok


# the write that heals

@pytest.mark.parametrize('where', ['memory', 'local', 'shared', 'seaweed'])
def test_replace_puts_right_bytes_in_the_place_of_wrong_ones(where, tmp_path, request, monkeypatch):
    if where == 'seaweed':
        service = request.getfixturevalue('seaweed')
        for name, value in service.environment.items(): monkeypatch.setenv(name, value)
        place = RemoteBackend(Place(service).url, endpoint=service.endpoint)
    else: place = MemoryBackend() if where == 'memory' else FileBackend(tmp_path/'lab', shared=where == 'shared')
    (tmp_path/'right').write_bytes(content('right', 70_000))
    key = 'lab/payloads/aa/x'
    place.create(key, b'wrong')
    for _ in range(2):
        place.replace(key, tmp_path/'right')
        assert place.read(key) == content('right', 70_000)
    place.delete(key)
    place.replace(key, tmp_path/'right')                # also where it is gone, with its folder
    assert place.read(key) == content('right', 70_000) and [e.key for e in place.list('lab/')] == [key]
    assert not place.create(key, b'late')

def test_a_backend_of_ones_own_without_it_is_verified_and_not_healed(made):
    from objectstore.storage.backend import Backend
    class Own(MemoryBackend):
        replace = Backend.replace
    from objectstore.format.origin import Origin
    store, second = ObjectStore.over(Origin(Own(), 'ana'), progress=False), ObjectStore('memory://', progress=False)
    for s in (store, second): s.put('lab/x', content('x', LARGE))
    [key] = [k for k in store.origin.place._objects if '/payloads/' in k]
    store.origin.place._objects[key] = b'rotten', 0.0
    report = store.care.verify(fix=True, heal_from=second)
    assert not report.ok and 'no way to replace' in str(report.df().values)

def test_buckets_that_are_the_services_own_are_cared_for_together(seaweed, monkeypatch):
    "Each is a store of its own, and all of them together have no identity"
    for k, v in seaweed.environment.items(): monkeypatch.setenv(k, v)
    names = [f'care{os.getpid()}-{n}' for n in range(2)]
    for name in names: seaweed.make_bucket(name)
    store = ObjectStore('s3://', endpoint=seaweed.endpoint, timeout=5.0, near=False)
    for name in names:
        for n in (1, 2): store.put(f'{name}/x', 'v' * 40_000 * n)
        store.remove(f'{name}/x@1')
    for sample in (None, 1): assert not store.care.verify(sample=sample).lost
    assert {u.name for u in store.care.usage().buckets} >= set(names)
    plan = store.care.gc(grace=0)
    assert len(plan.stays) == 2, plan        # both are younger than an hour
    plan.apply()
    store.care.tidy(sample=1, grace=0).apply()
    assert all(store.get(f'{name}/x') == 'v' * 80_000 for name in names)
    for name in names: store.remove_bucket(name, force=True)
