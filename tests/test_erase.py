"""Erasure: a canary is searched for in every byte of origin, near tiers, state, index and cache; on this machine, on
another one that meets the mark, and where the eraser dies at any write"""
import inspect, io, random, re, secrets, sqlite3, threading, time, warnings
from contextlib import closing
from pathlib import Path
import numpy as np
import pandas as pd
import pytest
from objectstore import Conflict, NotFound, ObjectStore, Protected, Unsupported
from objectstore.cache.near import NearTiers
from objectstore.care import collect, forget
from objectstore.care.erase import Erasure
from objectstore.care.forget import Forgetter
from objectstore.errors import InvalidCall, InvalidRef
from objectstore.format.buckets import BucketListings
from objectstore.format.commit import Commit, Draft, Payload
from objectstore.format.records import payload_key
from objectstore.format.states import ERASED, is_tombstone
from objectstore.search import rebuild
from objectstore.search.changelog import flush_hints
from objectstore.search.local_index import Index
from objectstore.storage.backend import MemoryBackend
from objectstore.storage.files import FileBackend
from objectstore.versions.version import Versions
from stacks import b, home, other_process, peer, stack, store      # noqa: F401 (fixtures)
from planting import planted
from test_doctor import with_keys
from trial import SOAK, Dead, Mortal, content, soak, store_over

places = pytest.mark.parametrize('stack', ['memory', 'local', 'three', 'seaweed'], indirect=True)
BIG = 50_000

@pytest.fixture
def word() -> str:
    "The canary"
    return f'canary{secrets.token_hex(12)}'

def unpacked(key: str, data: bytes) -> bytes:
    "Bytes as they can be searched: a catalog is compressed"
    if not key.endswith('.parquet'): return data
    import pyarrow.parquet as pq
    return repr(pq.read_table(io.BytesIO(data)).to_pylist()).encode()

def objects(store: ObjectStore) -> dict[str, bytes]:
    "Everything that lies at the origin"
    flush_hints()
    place = store.origin.place.deciding()
    return {e.key: place.read(e.key) for e in list(place.list(''))}

def hits(word: str, stored: dict[str, bytes], *folders: Path) -> list[str]:
    "Where a word is: in objects, and in files below folders"
    files = {str(p): p.read_bytes() for f in folders for p in f.rglob('*') if p.is_file()}
    found = [k for k, data in {**stored, **files}.items() if word.encode() in unpacked(k, data) or word in k]
    return found + [f'words of {k}' for k in files if re.search(r'/index/\w+\.db$', k) and word in words_of(k)]

def words_of(path: str) -> str:
    "The words that an index has gathered: they share their beginnings in the file"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE VIRTUAL TABLE temp.found USING fts5vocab('main', 'words', 'row')")
        return ' '.join(term for term, in db.execute('SELECT term FROM temp.found'))

def personal(store: ObjectStore, b: str, word: str, tmp_path: Path) -> list[str]:
    "Versions of many forms that hold the canary, used in many ways, beside others that do not; the refs of the former"
    (top := tmp_path/'given').mkdir()
    (top/f'{word}.bin').write_bytes(content(f'file {word}', BIG)); (top/'small.txt').write_text(word)
    frame = pd.DataFrame({'name': [word] * 3000, 'n': range(3000)})
    found = [store.put(f'{b}/{name}', obj, metadata={'who': word, 'words': f'of {word}'}) for name, obj in {
        'large': content(word, BIG), 'small': {'name': word}, 'folder': top, 'frame': frame,
        'bundle': {'weights': np.arange(20_000), 'text': word * 4000, 'n': 1}}.items()]
    for p in top.iterdir(): p.unlink()
    top.rmdir()
    for v in found:
        store.annotate(v, {'noted': word})
        store.put(f'{b}/{v.item}', content(v.item, BIG), metadata={'who': 'nobody'})
        store.get(v.ref), store.get(v.ref)
    found[0].path(), found[2].get().path()
    store.set_alias(found[0].ref, 'first')
    store.near.keep(found[:3])
    assert len(store.find_items(b, at='*', where={'who': word})) == 5
    for _ in range(2): store.care.compact(b)
    store.care.catalog(b)
    store.remove(found[1].ref)
    return [v.ref for v in found]

@places
def test_a_canary_is_nowhere_afterwards(stack, b, word, tmp_path, figure):
    store = stack.open()
    refs = personal(store, b, word, tmp_path)
    before = hits(word, objects(store), tmp_path)
    assert len(before) > 8 and (stack.name == 'memory' or any('words of' in k for k in before)), before
    left = []
    for ref in refs:
        plan = store.care.erase(ref, reason='request 17')
        assert [(s.verdict, s.ref) for s in plan.goes] == [('erase', ref), ('forget', b)], plan
        left += plan.apply().left
    assert not left, left
    store.close()
    after = hits(word, objects(store), tmp_path)
    figure(f'32 a canary in five forms, {stack.name}', places_before=len(before), hits_afterwards=len(after))
    assert not after, after
    other = stack.open()
    for ref in refs:
        with pytest.raises(NotFound, match='erased'): other[ref]
        with pytest.raises(NotFound, match='erased, for good'): other.restore(ref)
        item = ref.partition('@')[0]
        assert other.get(f'{item}@2') == content(item.rpartition('/')[2], BIG) and other.put(item, 1).version == 3
    assert other.aliases(f'{b}/large') == {}
    report = other.care.verify()
    assert report.ok, report

def test_killed_at_every_write(word, tmp_path, figure):
    for n in range(100):
        place = Mortal()
        store = store_over(place)
        store.put('b/large', content(word, BIG), metadata={'who': word}, alias='first')
        store.put('b/small', {'name': word})
        store.put('b/large', content('other', BIG))
        store.annotate('b/large@1', {'noted': word})
        store.care.compact('b'), flush_hints()
        what = ['b/large@1', 'b/small@1']
        plan = store.care.erase(Versions([store[ref] for ref in what]), reason='request 17')
        place.left, died = n, False
        try: plan.apply()
        except Dead: died = True
        place.left = 10**9
        other = store_over(place)
        for ref in what:      # never half-visible: whole, or gone
            try: v = other[ref]
            except NotFound: continue
            assert v.get() in (content(word, BIG), {'name': word})
        for ref in what: assert not other.care.erase(ref, reason='request 17').apply().left
        assert not hits(word, objects(other), tmp_path/'home'), (n, hits(word, objects(other)))
        assert other.get('b/large@2') == content('other', BIG) and other.care.verify().ok
        if not died: break
    figure('32 an eraser that dies at each of its writes, and once more', writes=n, hits_afterwards=0)
    assert 10 <= n < 100

@pytest.mark.parametrize('stack', ['two'], indirect=True)
def test_killed_at_every_write_to_a_disk(stack, b, word, tmp_path, figure):
    """Near copies, the queue and the origin lie in folders here: whatever was deleted or written last, erasing again
    ends it"""
    left = 10**9
    def mortal(real):
        def call(*args, **kwargs):
            nonlocal left
            left -= 1
            if left < 0: raise Dead
            return real(*args, **kwargs)
        return call
    tried = 0
    for n in range(0, 400, 1 if SOAK >= 10 else 9):
        store, name = ObjectStore(tmp_path/'near', tmp_path/'origin'), f'lab{n}'
        store.put(f'{name}/large', content(word, BIG), metadata={'who': word})
        store.put(f'{name}/small', {'name': word})
        for v in ('large', 'small'): store.get(f'{name}/{v}@1')
        store.near.keep(f'{name}/large@1')
        store.put(f'{name}/large', content('other', BIG))
        store.find_items(name)
        plan, died = store.care.erase(Versions([store[f'{name}/large@1'], store[f'{name}/small@1']]), reason='r'), False
        with pytest.MonkeyPatch.context() as m:
            for verb in ('create', 'delete', 'replace'):
                m.setattr(FileBackend, verb, mortal(getattr(FileBackend, verb)))
            left = n
            try: plan.apply()
            except Dead: died = True
        other, tried = ObjectStore(tmp_path/'near', tmp_path/'origin'), tried + 1
        for ref in (f'{name}/large@1', f'{name}/small@1'): assert not other.care.erase(ref, reason='r').apply().left
        assert not (found := hits(word, {}, tmp_path)), (n, found)
        assert other.get(f'{name}/large@2') == content('other', BIG)
        if not died: break
    figure('32 an eraser that dies at its writes to folders, and once more', deaths=tried, hits_afterwards=0)
    assert not died and tried > 2


# What is taken, and what stays

def stays(plan) -> dict[str, str]: return {s.ref: s.reason for s in plan.stays}

def test_nothing_is_done_before_it_is_applied(word):
    store = ObjectStore('memory://')
    store.put('b/m', {'name': word}, alias='first')
    before = objects(store)
    plan = store.care.erase('b/m@1', reason='request 17')
    assert objects(store) == before and store.get('b/m') == {'name': word} and 'nothing is done yet' in repr(plan)
    assert plan.given == {'what': ['b/m@1'], 'reason': 'request 17', 'also': 'nothing'}
    assert 'alias first points at it, and goes' in stays(plan)['b/m@1'] and 'its name stays' in stays(plan)['b/m']
    for bad in (dict(reason=''), dict(reason=3), dict(reason='x', also='all'), dict(reason='x', also=['b/m'])):
        with pytest.raises((InvalidCall, InvalidRef)): store.care.erase('b/m@1', **bad)
    for ref in ('b/m', 'b'):
        with pytest.raises(InvalidRef): store.care.erase(ref, reason='x')
    for ref in ('b/m@2', 'b/no@1', 'no/m@1', 'b/no@*', 'b/m@nobody'):
        with pytest.raises(NotFound): store.care.erase(ref, reason='x')

@places
def test_the_same_bytes_elsewhere(stack, b, word):
    store, bytes = stack.open(), content(word, BIG)
    store.put(f'{b}/m', bytes, metadata={'who': word})
    store.put(f'{b}/same', bytes), store.put(f'{b}/removed', bytes), store.remove(f'{b}/removed@1')
    refs = [f'{b}/removed@1', f'{b}/same@1']
    plan = store.care.erase(f'{b}/m@1', reason='r')
    assert (not plan.goes and all(ref in plan.stays[0].reason for ref in refs)
            and "also='copies'" in plan.stays[0].reason)
    with pytest.raises(Conflict, match='nothing is erased'): plan.apply()
    assert not store.care.erase(f'{b}/m@1', reason='r', also=refs[:1]).goes
    plan = store.care.erase(f'{b}/m@1', reason='r', also=refs)
    assert [s.ref for s in plan.goes] == [f'{b}/m@1', b] and 'which stay for it' in stays(plan)[refs[1]]
    assert not plan.apply().left
    assert store.get(f'{b}/same') == bytes and stack.open().get(f'{b}/same') == bytes
    store.restore(f'{b}/removed@1')
    assert store.get(f'{b}/removed') == bytes and store.care.verify().ok
    assert {k for k in hits(word, objects(store)) if '/payloads/' not in k} == set()
    store.put(f'{b}/m', bytes)
    plan = store.care.erase(f'{b}/m@2', reason='r', also='copies')
    assert {s.ref for s in plan.goes} == {f'{b}/m@2', *refs, b} and not plan.apply().left
    assert not hits(word, objects(store)) and store.care.verify().ok

def test_a_folder_that_shares_files_with_the_next_one(tmp_path, word):
    (top := tmp_path/'photos').mkdir()
    for name in ('ann', 'ben'): (top/name).write_bytes(content(f'{name} {word}', BIG))
    store = ObjectStore('memory://')
    store.put('b/f', top)
    (top/'ann').unlink()
    store.put('b/f', top)
    assert 'b/f@2' in store.care.erase('b/f@1', reason='r').stays[0].reason
    assert not store.care.erase('b/f@1', reason='r', also=['b/f@2']).apply().left
    assert store.get('b/f').read('ben') == content(f'ben {word}', BIG)
    assert len([k for k in objects(store) if '/payloads/' in k and '.gc-' not in k]) == 1

def test_what_was_made_from_it_and_what_names_it(word):
    store = ObjectStore('memory://')
    store.put('b/m', {'name': word})
    store.put('b/m', {'name': 'Ben'})
    store.calculated('b/upper')(lambda: store.get('b/m@1')['name'].upper())()
    release = store.release('papers/one', ['b/m@1'], description='x')
    said = stays(plan := store.care.erase('b/m@1', reason='r'))
    assert not plan and f'release {release.ref} names it, and would miss it' in said['b/m@1']
    with pytest.raises(Conflict, match='names it'): plan.apply()
    assert not store.care.erase('b/m@1', reason='r', also='copies') and store.get('b/m@1')
    said = stays(plan := store.care.erase('b/m@1', reason='r', also=[release.ref]))
    assert 'was made from b/m@1' in said['b/upper@1'] and f'release {release.ref} names it' in said['b/m@1']
    assert not plan.apply().left and store.get('b/upper@1') == word.upper()
    assert store.care.erase('b/upper@1', reason='r').apply().done
    store.put('b/n', content(word, BIG)), store.put('b/o', content(word, BIG))
    release = store.release('papers/two', ['b/o@1'], description='x')
    assert not store.care.erase('b/n@1', reason='r', also='copies')        # its bytes are those of a released one
    store.remove(release.ref, force=True)
    assert not store.care.erase('b/n@1', reason='r', also='copies').apply().left and 'b/o@1' not in store

def test_a_removed_version_a_given_up_one_and_a_whole_item(word, monkeypatch):
    store = ObjectStore('memory://')
    store.put('b/m', content(word, BIG))
    b = store.origin.bucket('b')
    with planted(Commit, 'confirm', lambda self, r: r.version != 2): store.put('b/n', content(word, BIG))
    with planted(Commit, 'confirm', lambda self, r: r.version != 2): v = store.put('b/m', content(f'{word} 2', BIG))
    assert v.version == 3 and b.mark('m', 2) == 'abandoned'
    store.remove('b/m@1')
    plan = store.care.erase('b/m@3', reason='r')
    assert [s.ref for s in plan.goes] == ['b/m@3', 'b/m@2', 'b'] and not plan.apply().left
    plan = store.care.erase('b/m@*', reason='r', also='copies')
    assert {s.ref for s in plan.goes} == {'b/m@1', 'b/m@2', 'b/m@3', 'b/n@1', 'b'} and not plan.apply().left
    assert not hits(word, objects(store))
    assert [is_tombstone(b.record('m', n)) for n in (1, 2, 3)] == [True] * 3
    assert store.put('b/m', 1).version == 4 and store.care.verify().ok

def test_bytes_that_no_version_names(word):
    "A put that died between upload and claim has left them; so has one whose record says another key"
    store = ObjectStore('memory://')
    v = store.put('b/m', content(word, BIG))
    store.origin.place.create(f'b/{payload_key(v.hash, "1" * 16)}', content(word, BIG))
    assert not store.care.erase(v, reason='r').apply().left and not hits(word, objects(store))


# Who may not, and where nothing can be erased

def test_a_key_that_may_not_does_nothing(word):
    store = ObjectStore('memory://')
    store.put('b/m', content(word, BIG))
    plan, before = store.care.erase('b/m@1', reason='r'), objects(store)
    def refuse(*args): raise PermissionError('AccessDenied')
    for verb in ('create', 'delete', 'replace'):
        with planted(MemoryBackend, verb, refuse), pytest.raises(Protected, match='nothing is erased'):
            store.care.erase('b/m@1', reason='r').apply()
        for k in {*objects(store)} - {*before}: store.origin.place.delete(k)      # an object of its own
        assert objects(store) == before and store.get('b/m') == content(word, BIG)
    def cannot(*args): raise Unsupported('no way to replace an object')
    with planted(MemoryBackend, 'replace', cannot), pytest.raises(Unsupported, match='cannot overwrite'): plan.apply()
    assert objects(store) == before

def test_where_a_listing_is_not_whole_nothing_is_marked(word):
    "Who names a payload cannot be told then; a version that has no payload needs nobody to be asked"
    store = ObjectStore('memory://')
    store.put('b/m', content(word, BIG), alias='first'), store.put('b/small', {'name': word})
    for i in range(3): store.put('b/n', i)
    place = store.origin.place
    lost = place._objects.pop('b/records/n/@/0000000002')
    [left] = store.care.erase('b/m@1', reason='r').apply().left
    assert 'b/n has 2 records of 3' in left.why and store.get('b/m@first') == content(word, BIG)
    assert not store.care.erase('b/small@1', reason='r').apply().left
    place._objects['b/records/n/@/0000000002'] = lost
    assert not store.care.erase('b/m@1', reason='r').apply().left and not hits(word, objects(store))

def test_a_store_for_reading_alone(tmp_path, word):
    ObjectStore(tmp_path).put('b/m', {'name': word})
    store = ObjectStore(tmp_path, readonly=True)
    plan = store.care.erase('b/m@1', reason='r')
    with pytest.raises(Protected): plan.apply()
    assert store.get('b/m') == {'name': word}

@pytest.mark.parametrize('status', ['Enabled', 'Suspended'])
def test_a_service_that_keeps_old_versions_refuses(seaweed, monkeypatch, status):
    pytest.importorskip('boto3')
    with_keys(monkeypatch, seaweed)
    name = f'kept-{status.lower()}'
    seaweed.make_bucket(name)
    for s in dict.fromkeys(('Enabled', status)):
        seaweed.client().put_bucket_versioning(Bucket=name, VersioningConfiguration={'Status': s})
    store = ObjectStore(f's3://{name}/x', endpoint=seaweed.endpoint, near=False, progress=False)
    store.put('b/m', 1)
    before = {k: v for k, v in objects(store).items() if '/log/' not in k}
    with pytest.raises(Unsupported, match='nothing of b can be erased .* keeps'): store.care.erase('b/m@1', reason='r')
    assert {k: v for k, v in objects(store).items() if '/log/' not in k} == before and store.get('b/m') == 1


# Others at the same time

def test_a_put_that_is_delivered_again_brings_nothing_back(word):
    store = ObjectStore('memory://')
    b = store.origin.for_put('b')
    data = content(word, BIG)
    from blake3 import blake3
    draft = Draft('bytes', Payload(len(data), blake3(data).hexdigest(), data), description=dict(metadata={'who': word}))
    b.put('m', draft)
    assert not store.care.erase('b/m@1', reason='r').apply().left
    r = Commit(store_over(store.origin.place).origin.bucket('b'), 'm', draft, lambda: 1, replay=True).run()
    assert r.version == 1 and is_tombstone(r) and not hits(word, objects(store))
    with pytest.raises(NotFound, match='erased'): store['b/m@1']

def test_two_at_once_and_a_collector(word):
    place = MemoryBackend()
    store, other = store_over(place), store_over(place)
    for i in range(3): store.put('b/m', content(f'{word} {i}', BIG), metadata={'who': word})
    store.put('b/keep', content('keep', BIG))
    plans = [s.care.erase(f'b/m@{n}', reason='r') for s, n in ((store, 1), (other, 1), (store_over(place), 2))]
    plans.append(store_over(place).care.gc(grace=0))
    failed = []
    def run(p):
        try: p.apply()
        except Exception as e: failed.append(e)
    threads = [threading.Thread(target=run, args=(p,)) for p in plans]
    for t in threads: t.start()
    for t in threads: t.join()
    assert not failed, failed
    for ref in ('b/m@1', 'b/m@2', 'b/m@3'): assert not store.care.erase(ref, reason='r').apply().left
    assert not hits(word, objects(store)) and store.get('b/keep') == content('keep', BIG) and store.care.verify().ok

def test_a_put_of_the_same_bytes_meanwhile_is_kept(word):
    "It shares the payload until the eraser takes that; then it uploads its own"
    store = ObjectStore('memory://')
    store.put('b/m', content(word, BIG))
    other, real = store_over(store.origin.place), Erasure.decide
    other.get('b/m@1')
    def late(self):
        other.put('b/new', content(word, BIG))
        real(self)
    plan = store.care.erase('b/m@1', reason='r')
    with planted(Erasure, 'decide', late): plan.apply()
    assert other.get('b/new') == content(word, BIG) and store_over(store.origin.place).care.verify().ok

def test_beside_writers_a_collector_and_a_copier(tmp_path, monkeypatch, figure):
    "Contents are shared by many names: whoever is acknowledged keeps his bytes, and nobody's erased ones are left"
    monkeypatch.setattr(collect, 'HOUR', 0.0)
    errors, erased, put, went = [], [], {}, threading.Event()
    def opened() -> ObjectStore: return ObjectStore(tmp_path/'origin', progress=False)
    opened().put('b/keep', content('keep', BIG))
    def writes(name: str) -> None:
        store, chance = opened(), random.Random(name)
        for i in range(soak(20)):
            word = f'shared {chance.randrange(8)}'
            v = store.put(f'b/{name}', content(word, BIG), metadata={'says': word})
            put[v.ref] = word
    def erases(name: str) -> None:
        store, chance = opened(), random.Random(name)
        for i in range(soak(8)):
            if not (known := [*put]): time.sleep(0.01); continue
            ref = chance.choice(known)
            try: done = store.care.erase(ref, reason='r', also='copies').apply()
            except Conflict: continue
            erased.extend(o.ref for o in done.done if '@' in o.ref)
    def collects(name: str) -> None:
        store = opened()
        while not went.is_set(): store.care.gc(grace=0).apply()
    def copies(name: str) -> None:
        store, to = opened(), ObjectStore(tmp_path/'copy', progress=False)
        while not went.is_set():
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')
                store.copy('b', to=to)
    def run(f, name):
        try: f(name)
        except Exception as e: errors.append((name, e))
    first = [threading.Thread(target=run, args=(f, n)) for f, n in [(writes, 'w1'), (writes, 'w2'), (erases, 'e1'),
                                                                    (erases, 'e2')]]
    later = [threading.Thread(target=run, args=(f, n)) for f, n in [(collects, 'gc'), (copies, 'copy')]]
    for t in first + later: t.start()
    for t in first: t.join()
    went.set()
    for t in later: t.join()
    assert not errors, errors
    store = opened()
    missing = [ref for ref, word in put.items() if not has(store, ref, word) and not dead(store, ref)]
    back = [ref for ref in {*erased} if not dead(store, ref)]
    # what was marked, and whose bytes somebody has come to name since
    for ref in sorted({r for r in put if dead(store, r)}):
        assert not store.care.erase(ref, reason='r', also='copies').apply().left
    alive = {word for ref, word in put.items() if not dead(store, ref)}
    left = [f for word in {*put.values()} - alive for f in hits(word, objects(store))]
    figure('32 erasers beside writers, a collector and a copier', puts=len(put), erased=len({*erased}),
           missing=len(missing), back=len(back), hits_afterwards=len(left))
    assert not missing and not back and not left, (missing, back, left)
    assert store.get('b/keep') == content('keep', BIG) and store.care.verify().ok
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        store.copy('b', to=(copy := ObjectStore(tmp_path/'copy', progress=False)))
    assert not [f for word in {*put.values()} - alive for f in hits(word, objects(copy))] and copy.care.verify().ok

def has(store: ObjectStore, ref: str, word: str) -> bool:
    try: return store.get(ref) == content(word, BIG)
    except NotFound: return False
def dead(store: ObjectStore, ref: str) -> bool:
    name, _, n = ref.partition('@')
    return store.origin.bucket('b').mark(name.partition('/')[2], int(n)) == ERASED

def test_what_changed_since_the_plan_is_left(word):
    store = ObjectStore('memory://')
    store.put('b/m', {'name': word})
    plan = store.care.erase('b/m@1', reason='r')
    store.put('b/copy', {'name': word})
    [left] = plan.apply().left
    assert left.ref == 'b/m@1' and 'make a new one' in left.why and store.get('b/m') == {'name': word}
    [left] = store.care.erase('b/m@1', reason='r').stays[:1]
    assert 'b/copy@1' in left.reason



# Other machines, and copies

@pytest.fixture
def machine(tmp_path, monkeypatch):
    "Opens the origin as one of several machines: each with a state, a cache and a near tier of its own"
    def at(name: str, **options) -> ObjectStore:
        for what in ('STATE', 'CACHE'): monkeypatch.setenv(f'OBJECTSTORE_{what}_DIR', str(tmp_path/name/what.lower()))
        return ObjectStore(tmp_path/name/'near', tmp_path/'origin', **options)
    return at

def used(store: ObjectStore, refs: list[str]) -> ObjectStore:
    "A machine that has versions near, mapped, held, indexed, and as files"
    store.find_items('b')
    for ref in refs:
        store.get(ref), store.get(ref)
        store[ref].path()
        _ = store[ref].metadata
    store.near.keep(refs[:2])
    store.care.compact('b'), store.care.catalog('b')
    return store

@pytest.mark.parametrize('before, how', [('nothing', 'hint'), ('removed', 'hint'), ('nothing', 'listing'),
                                         ('removed', 'catalog'), ('no index', 'listing')])
def test_another_machine_drops_what_it_has_when_it_meets_the_mark(machine, word, tmp_path, before, how, figure):
    here = machine('here')
    frame = pd.DataFrame({'name': [word] * 3000, 'n': range(3000)})
    for name, obj in {'large': content(word, BIG), 'frame': frame, 'small': {'name': word}}.items():
        here.annotate(here.put(f'b/{name}', obj, metadata={'who': word}), {'noted': word})
        here.put(f'b/{name}', content(name, BIG))
    refs = [f'b/{name}@1' for name in ('large', 'frame', 'small')]
    there = used(machine('there'), refs)
    if before == 'no index': there.keeper.index.throw_away()
    there_has = len(hits(word, {}, tmp_path/'there'))
    assert there_has >= (5 if before == 'no index' else 8), hits(word, {}, tmp_path/'there')
    here = machine('here')
    if before == 'removed':
        for ref in refs: here.remove(ref)
        flush_hints()
        there = machine('there')
        there.refresh()
        here = machine('here')
    for ref in refs: assert not here.care.erase(ref, reason='r').apply().left
    flush_hints()
    if how == 'catalog': here.care.compact('b'), here.care.compact('b')
    assert not hits(word, objects(here), tmp_path/'here', tmp_path/'origin')
    there = machine('there')
    if how == 'listing':
        for ref in refs:
            with pytest.raises(NotFound): there.get(f'{ref[:-1]}9')
    there.refresh()
    there.find_items('b')
    for ref in refs:
        with pytest.raises(NotFound, match='erased'): there.get(ref)
    assert there.get('b/large@2') == content('large', BIG)
    there.close()
    left = hits(word, {}, tmp_path/'there')
    figure(f'32 another machine that meets the mark by a {how}, {before} before', places_before=there_has,
           hits_afterwards=len(left))
    assert not left, left

def test_a_machine_that_was_offline_meets_it_later(machine, word, tmp_path):
    machine('here').put('b/m', content(word, BIG))
    used(machine('there'), ['b/m@1'])
    assert not machine('here').care.erase('b/m@1', reason='r').apply().left
    flush_hints()
    assert machine('there', offline=True).get('b/m@1') == content(word, BIG)     # what is near answers: nobody is asked
    there = machine('there')
    there.refresh()
    with pytest.raises(NotFound, match='erased'): there.get('b/m@1')
    there.close()
    assert not hits(word, {}, tmp_path/'there')

def test_a_held_version_that_shares_a_payload_keeps_it(machine, tmp_path):
    data = content('shared', BIG)
    here = machine('here')
    here.put('b/m', data), here.put('b/keep', data)
    there = machine('there')
    there.near.keep(['b/m@1', 'b/keep@1'])
    assert not machine('here').care.erase('b/m@1', reason='r', also=['b/keep@1']).apply().left
    there = machine('there')
    with pytest.raises(NotFound): there.get('b/m@5')
    b = there.origin.bucket('b')
    key = f'b/{payload_key((r := b.record("keep", 1)).hash, r.put)}'
    assert b.backend.holds(key) and not b.backend.holds(b.key('m', 1)) and there.get('b/keep') == data

def test_a_download_that_ends_behind_the_mark_does_not_stay(machine, word, tmp_path):
    "Its record was read before; the bytes come when the mark was met already"
    here = machine('here')
    here.put('b/m', content(word, BIG))
    there = machine('there')
    b = there.origin.bucket('b')
    r = b.record('m', 1)
    there.get('b/m@1')
    key = f'b/{payload_key(r.hash, r.put)}'
    for near in b.backend.nears: near.drop(key)
    with b.backend.room(key) as to:
        to.write_bytes(content(word, BIG))
        b.mark_erased('m', 1, 'x', 'r')
        with pytest.raises(NotFound): there.get('b/m@9')
    assert not hits(word, {}, tmp_path/'there'/'near')

@pytest.mark.parametrize('again', [False, True])
def test_a_copy_carries_the_mark(word, again):
    store, copy = ObjectStore('memory://'), ObjectStore('memory://')
    for i in range(2):
        store.put('b/m', content(f'{word} {i}' if not i else 'other', BIG), metadata={'who': word * (not i)})
    store.put('b/small', {'name': word})
    store.annotate('b/m@1', {'noted': word})
    if again: store.copy('b', to=copy), copy.care.compact('b')
    for ref in ('b/m@1', 'b/small@1'): assert not store.care.erase(ref, reason='r').apply().left
    for _ in range(2): store.copy('b', to=copy)
    assert not hits(word, objects(copy)) and copy.get('b/m@2') == content('other', BIG)
    b = copy.origin.bucket('b')
    for item in ('m', 'small'): assert b.mark(item, 1) == 'erased' and is_tombstone(b.record(item, 1))
    with pytest.raises(NotFound, match='erased, for good'): copy.restore('b/m@1')
    assert copy.put('b/small', 1).version == 2 and copy.care.verify().ok

def test_a_copy_brings_back_nothing_that_was_erased_there(word):
    store, copy = ObjectStore('memory://'), ObjectStore('memory://')
    for i in range(2): store.put('b/m', content(f'{word} {i}', BIG))
    store.copy('b', to=copy)
    assert not copy.care.erase('b/m@*', reason='r').apply().left
    for _ in range(2):
        store.copy('b', to=copy)
        assert not hits(word, objects(copy)) and not copy.find_items('b', at='*')
        store.remove('b/m@1'), store.copy('b', to=copy), store.restore('b/m@1')
    assert [v.version for v in store.versions('b/m')] == [1, 2]

def test_a_catalog_that_is_published_late_does_not_bring_the_row_back(word):
    "Somebody compacts: he has read the row, and publishes when it was erased"
    store = ObjectStore('memory://')
    store.put('b/m', 1, metadata={'who': word}), store.put('b/n', 2)
    other, real = store_over(store.origin.place), rebuild.publish_catalog
    other.find_items('b')
    once = []
    def late(bucket, generation, data):
        if not once:
            once.append(1)
            assert not store.care.erase('b/m@1', reason='r').apply().left
            flush_hints()
        return real(bucket, generation, data)
    with planted(rebuild, 'publish_catalog', late): other.care.compact('b')
    assert not hits(word, objects(store)) and other.find_items('b').refs == ['b/n@1']



def test_what_waits_on_this_machine_goes_too(machine, word, tmp_path):
    "Its delivery has left its number, and notes on it are still to be sent; what waits for other versions stays"
    store = machine('here')
    store.put('b/other', 1), store.put('b/m', 'first')
    away = machine('here', offline=True)
    with away.pending.alone(True), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        v = away.put('b/m', content(word, BIG), metadata={'who': word})
    with pytest.raises(NotFound, match='pending'): store.care.erase(v, reason='r')
    while store.pending.done(v.id) is None: store.sync()
    with store.pending.alone(True):
        store.pending.add('note', 'b', 'm', version=2, move={'notes': {'noted': word}}, origin=None)
        store.pending.add('note', 'b', 'm', version=1, move={'notes': {'noted': 'this stays'}}, origin=None)
        assert hits(word, {}, tmp_path/'here'/'state')
        assert not store.care.erase('b/m@2', reason='r').apply().left
        assert store.pending.done(v.id) is None and [w.says['version'] for w in store.pending.work()] == [1]
    store.close()
    assert not hits(word, objects(store), tmp_path)

def test_a_note_that_another_machine_delivers_later_does_not_stay(machine, word, tmp_path):
    machine('here').put('b/m', {'name': word})
    there = machine('there')
    there.get('b/m@1')
    away = machine('there', offline=True)
    with away.pending.alone(True), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        away.annotate('b/m@1', {'noted': word})
        assert not machine('here').care.erase('b/m@1', reason='r').apply().left
    there = machine('there')
    report = [o for o in there.sync() if o.became != 'delivered']
    assert [o.became for o in report] == ['conflict'] and 'erased' in report[0].why, report
    there.refresh(), there.close()
    assert not hits(word, objects(there), tmp_path)

@pytest.mark.parametrize('stack', ['local', 'seaweed'], indirect=True)
def test_a_writer_goes_on_behind_a_version_that_somebody_else_erased(stack, b, store, peer, word):
    "The record that he has written last is another object by now, with his write id"
    store.put(f'{b}/m', content(word, BIG)), store.put(f'{b}/m', content(f'{word} 2', BIG))
    assert peer(erased_there, f'{b}/m@2') == 0
    assert store.put(f'{b}/m', content('three', BIG)).version == 3 and store.get(f'{b}/m@3') == content('three', BIG)
    assert peer(erased_there, f'{b}/m@3') == 0 and store.get(f'{b}/m') == content(word, BIG)
    with pytest.raises(NotFound, match='erased'): store.get(f'{b}/m@3')

def erased_there(store, ref): return len(store.care.erase(ref, reason='r').apply().left)

def test_what_is_told_of_it_afterwards(word):
    store = ObjectStore('memory://')
    store.put('b/m', {'name': word}), store.put('b/m', 2)
    release = store.release('papers/one', ['b/m@1'], description='x')
    assert not store.care.erase('b/m@1', reason='request 17', also=[release.ref]).apply().left
    told = [m for m in store.history('b/m') if m.what == 'erased']
    assert len(told) == 1 and told[0].ref == 'b/m@1' and 'request 17' in repr(store.history('b/m'))
    [lost] = [f for f in store.care.verify() if f.state == 'lost']
    assert lost.about == release.ref and 'was erased, for good' in lost.found
    assert not store.care.gc(grace=0).goes and store.care.usage().removed == 0


# Names

def test_a_name_that_looks_like_an_address_is_warned_of_once(monkeypatch):
    "Names cannot be erased; other names are not spoken of, and neither is a second one of the same shape"
    store = ObjectStore('memory://')
    def said(*names, many=False) -> list[str]:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter('always')
            if many: store.put_many([(f'b/{n}', i) for i, n in enumerate(names)])
            else:
                for i, n in enumerate(names): store.put(f'b/{n}', i)
        return [str(w.message) for w in told if 'address of a person' in str(w.message)]
    assert len(said('scans/ann.smith(at)lab.org', 'scans/ben(at)lab.org', 'scans/eve_at_lab.org')) == 1
    assert len(said('letters/ann%40lab.co.uk/1', 'letters/eve%40lab.co.uk/1', many=True)) == 1
    assert not said('look_at_me.py', 'at', 'a.at.b', 'cat_attributes', 'model-v1.2', 'data_at_2026.parquet', 'état',
                    'where.at.last', 'beaten.at.de.minimis')
    assert said('x/ann\uff20lab.org') and 'can be erased' in said('y/ann[at]lab.org')[0]


# Planted

@pytest.mark.parametrize('stack', ['three'], indirect=True)
@pytest.mark.parametrize('owner, name, bug', [
    (Index, 'scrub', lambda self: True),                            # rows are deleted, and lie in free pages
    (Forgetter, 'drop', lambda self, *args, **kwargs: False),       # near copies stay
    (Erasure, 'finish', lambda self, item, n: 0)])                  # a mark alone
def test_planted_what_is_left_is_found(stack, b, word, tmp_path, owner, name, bug):
    store = stack.open()
    refs = personal(store, b, word, tmp_path)
    with planted(owner, name, bug):
        for ref in refs: store.care.erase(ref, reason='r').apply()
    store.close()
    assert hits(word, objects(store), tmp_path)

@pytest.mark.parametrize('owner, name, bug, test', [
    (rebuild.Compaction, '_erased_since', lambda self, *args: False,
     'test_a_catalog_that_is_published_late_does_not_bring_the_row_back'),
    (NearTiers, '_arrived', lambda self, key: None, 'test_a_download_that_ends_behind_the_mark_does_not_stay'),
    (BucketListings, 'meet_erased', lambda self, item, gone: None, 'test_a_machine_that_was_offline_meets_it_later'),
    (forget, '_held', lambda places, but: set(), 'test_a_held_version_that_shares_a_payload_keeps_it')])
def test_planted_other_machines(owner, name, bug, test, request):
    "Each of these tests fails where what it is about is left out"
    f = globals()[test]
    given = {k: request.getfixturevalue(k) for k in inspect.signature(f).parameters}
    with planted(owner, name, bug), pytest.raises(AssertionError): f(**given)
