"""Many writers, one item: each number is given once, none is left out, and everybody sees what was acknowledged"""
import random, time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import pytest
from objectstore.format.witness import Renewed
from objectstore import Conflict, NotFound, ObjectStore
from objectstore.errors import Damaged
from objectstore.storage.backend import MemoryBackend, key_number
from objectstore.format.commit import Bucket
from objectstore.storage.files import FileBackend
from objectstore.format.records import Claim
from services import Place
from trial import ServiceLike, Wrapped, content, dense, gate, remote, soak, store_over, together, where, whole

pytestmark = pytest.mark.usefixtures('own_cache')


# 1: one winner a version

class LooksThenWrites(FileBackend):
    "Planted: create-only by looking first, as many libraries do it"
    def create(self, key, data):
        if self.exists(key): return False
        place, leaf = self._place(key)
        self._ready(place)
        Path(place, leaf).write_bytes(data)
        return True

def open_place(kind: str, at):
    if kind == 'service': return remote(at).origin.place
    if kind == 'planted': return LooksThenWrites(at, durable=False)
    return FileBackend(at, shared=kind == 'shared', durable=False)

def bid(k: int, data: bytes) -> tuple[str, int]:
    "Write id and date of a claim: a racer's number, and which of its claims it is"
    id, _, at = data.decode().rpartition(' ')
    if not at: raise Damaged('a part of a claim')
    return id, int(at)

def claim_many(kind: str, at, racer: int, n: int, ready) -> list[int]:
    "In a process of its own: `n` claims; the numbers that it was told are its own"
    backend, known, mine = open_place(kind, at), 0, []
    ready.wait()
    for i in range(n):
        mine.append(known := Claim(backend, 'b/records/m/@/', f'{racer} {i}',
                                   lambda k, at: f'{racer} {i} {at}'.encode(), bid).number(known + 1))
    return mine

def race(kind: str, at, racers: int, n: int) -> dict[str, int]:
    ready = gate(racers)
    told = together(claim_many, [(kind, at, racer, n, ready) for racer in range(racers)])
    backend = open_place(kind, at)
    keys = [e.key for e in backend.list('b/records/m/@/')]
    stored = {key_number(k)[0]: int(data.split()[0]) for k, data in zip(keys, backend.read_many(keys))}
    claimed = defaultdict(list)
    for racer, numbers in enumerate(told):
        for number in numbers: claimed[number].append(racer)
    won = sum(claimed.get(number) == [racer] for number, racer in stored.items())
    several = sum(len(racers) > 1 for racers in claimed.values())
    return dict(winners=won, several=several, none=len(stored.keys() | claimed.keys()) - won - several,
                gaps=max(stored) - len(stored))

@pytest.mark.parametrize('kind', ['local', 'shared'])
def test_one_winner_on_files(kind, tmp_path, figure):
    result = race(kind, tmp_path, 8, soak(250, 500))
    figure(f'1 one winner, {kind} files', racers=8, **result)
    assert result == dict(winners=8 * soak(250, 500), several=0, none=0, gaps=0)

@pytest.mark.parametrize('name, racers, n',
                         [('seaweed', 4, soak(10, 100)), ('ceph', 8, soak(25, 500)), ('given', 4, soak(25, 100))])
def test_one_winner_on_a_service(name, racers, n, request, figure):
    result = race('service', where(Place(request.getfixturevalue(name))), racers, n)
    figure(f'1 one winner, {name}', racers=racers, **result)
    assert result == dict(winners=racers * n, several=0, none=0, gaps=0)

def test_planted_look_then_write_is_caught(tmp_path):
    "Who looks and then writes meets another by chance: raced until it shows"
    for n in range(20):
        result = race('planted', tmp_path/str(n), 4, 200)
        if result['several'] or result['none']: return
    raise AssertionError(result)


# Many puts of one item

def put_many_times(kind: str, at, racer: int, n: int) -> list[str]:
    store = remote(at) if kind == 'service' else ObjectStore(at)
    return [store.put('b/m', content(f'{racer} {i}')).ref for i in range(n)]

def all_put(kind, at, racers, n) -> dict:
    began = time.monotonic()
    told = together(put_many_times, [(kind, at, racer, n) for racer in range(racers)])
    seconds = time.monotonic() - began
    store = remote(at) if kind == 'service' else ObjectStore(at)
    expected = {ref: f'{racer} {i}' for racer, refs in enumerate(told) for i, ref in enumerate(refs)}
    found = {v.ref: whole(v.get()) for v in store.versions('b/m')}
    ids = store.origin.place.tail('id/')
    return dict(versions=len(found), lost=sum(found.get(ref) != name for ref, name in expected.items()),
                unasked=len(found.keys() - expected.keys()), gaps=len(dense(store, 'b/m')) - len(found),
                identities=len(ids), seconds=seconds)

def judge_puts(title, figure, result, n) -> None:
    figure(title, **result)
    assert {k: v for k, v in result.items() if k != 'seconds'} == dict(
        versions=n, lost=0, unasked=0, gaps=0, identities=1)

def test_many_puts_of_one_item_on_files(tmp_path, figure):
    racers = soak(16, 50)
    judge_puts(f'{racers} processes x 20 puts of one item, local files', figure,
               all_put('local', tmp_path/'store', racers, 20), racers * 20)

@pytest.mark.parametrize('name, racers, n', [('seaweed', 4, soak(10, 250)), ('ceph', soak(8, 50), 20)])
def test_many_puts_of_one_item_on_a_service(name, racers, n, request, figure):
    result = all_put('service', where(Place(request.getfixturevalue(name))), racers, n)
    judge_puts(f'{racers} processes x {n} puts of one item, {name}', figure, result, racers * n)

def test_threads_of_one_store(figure):
    store = store_over(ServiceLike())
    def puts(i): return [store.put('b/m', content(f'{i} {k}')).version for k in range(40)]
    with ThreadPoolExecutor(8) as pool: told = sorted(n for ns in pool.map(puts, range(8)) for n in ns)
    figure('1 threads: 8 x 40 puts of one item, one store', versions=len(told), several=len(told) - len(set(told)))
    assert told == dense(store, 'b/m') == list(range(1, 321))


# Conditions: of many who expect the same, one wins

@pytest.mark.parametrize('verb', ['if_latest', 'if_at'])
def test_conditions_have_one_winner(verb, tmp_path, figure):
    stores = [ObjectStore(tmp_path, durable=False) for _ in range(8)]
    stores[0].put('b/m', 'first', alias='prod')
    won = Counter()
    for n in range(1, soak(50, 200) + 1):
        if verb == 'if_at': stores[0].put('b/m', n)
        def one(store):
            try:
                store.put('b/m', n, if_latest=n) if verb == 'if_latest' else store.set_alias(
                    f'b/m@{n + 1}', 'prod', if_at=n)
            except Conflict: return False
            return True
        with ThreadPoolExecutor(8) as pool: won[sum(pool.map(one, stores))] += 1
    figure(f'1 {verb}: 8 who expect the same', rounds=n, one=won[1], several=sum(c for k, c in won.items() if k > 1),
           none=won[0])
    # two alias moves to the same target are one wish: the loser may find it fulfilled, and says so by not raising
    assert won[0] == 0 and (verb == 'if_at' or won == {1: n})


# 16: a number is never given again

class Stalls(Wrapped):
    "Before its first claim something else happens"
    def __init__(self, inner, meanwhile):
        super().__init__(inner)
        self.meanwhile = meanwhile
    def call(self, op, key, run):
        if op == 'create' and '/records/' in key and self.meanwhile:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        return run()

def stalled_round(backend, seed: int, size: int) -> bool:
    "A writer stalls before its claim, while others put and remove: is a number used again?"
    rnd, other, given = random.Random(seed), store_over(backend), {}
    ref = f'b/m{seed}'
    def put():
        v = other.put(ref, content(f'{seed} {rnd.random()}'))
        again = given.setdefault(v.version, v.id) != v.id
        return again
    def remove():
        live = [v.version for v in other.versions(ref)] if ref in other else []
        for n in {live and live[-1], rnd.choice(live or [0])} - {0, None} if live else (): other.remove(f'{ref}@{n}')
    def meanwhile():
        for _ in range(rnd.randint(1, 4)): again.append(put()); remove() if rnd.random() < 0.8 else None
        if rnd.random() < 0.3 and ref in other: other.remove(f'{ref}@*')
        if rnd.random() < 0.2: other.remove_bucket('b', force=True)
    again = [put() for _ in range(rnd.randint(0, 7))]
    writer = store_over(Stalls(backend, None))
    writer.find_or_create_bucket('b')
    if rnd.random() < 0.5 and ref in other: writer.put(ref, 'known'); given[writer[ref].version] = writer[ref].id
    writer.origin.place.meanwhile = meanwhile
    v = writer.put(ref, content(f'{seed} late', size))
    again.append(given.setdefault(v.version, v.id) != v.id)
    assert other.get(v) == content(f'{seed} late', size) and 'b' in other.list_buckets()
    dense(other, ref)
    return any(again)

def stalled(make, n) -> int:
    backend = make()
    return sum(stalled_round(backend, seed, 0 if seed % 3 else 40_000) for seed in range(n))

@pytest.mark.parametrize('kind', ['memory', 'service-like', 'files'])
def test_remove_against_a_stalled_writer(kind, tmp_path, figure):
    make = dict(memory=MemoryBackend, files=lambda: FileBackend(tmp_path, durable=False)).get(kind, ServiceLike)
    reuses = stalled(make, soak(100, 200))
    figure(f'16 remove against a stalled writer, {kind}', rounds=soak(100, 200), reuses=reuses)
    assert not reuses

def test_planted_removal_that_deletes_is_caught(monkeypatch):
    def deletes(self, item, n, by):
        self.backend.delete(self.key(item, n))
        self.newest.pop(item, None); self.records.pop((item, n), None)
        return True
    monkeypatch.setattr(Bucket, 'remove', deletes)
    try: seen = stalled(MemoryBackend, 40) > 0
    # the last two: a number that was acknowledged shows another write, or nothing
    except (AssertionError, NotFound, Damaged, Renewed): seen = True
    assert seen


# 21: what was acknowledged is seen

def sees(a: ObjectStore, b: ObjectStore, ref: str, i: int, rnd: random.Random) -> list[str]:
    "One store acknowledges, the other looks: what it did not see"
    stale = []
    def check(what, ok): stale.append(what) if not ok else None
    v = a.put(ref, content(f'{i}'))
    check('put', b[ref].version == v.version and whole(b.get(ref)) == f'{i}')
    if rnd.random() < 0.5:
        a.set_alias(v, 'prod')
        check('alias', b[f'{ref}@prod'].version == v.version)
        if rnd.random() < 0.3: a.remove_alias(ref, 'prod'); check('no alias', f'{ref}@prod' not in b)
    if rnd.random() < 0.4:
        a.remove(f'{ref}@latest', force=True)
        check('removed', f'{ref}@{v.version}' not in b
              and v.version not in [x.version for x in (b.versions(ref) if ref in b else [])])
        check('removed latest', ref not in b or b[ref].version < v.version)
    if rnd.random() < 0.1:
        a.remove_bucket(ref.split('/')[0], force=True)
        check('no bucket', ref not in b and ref.split('/')[0] not in b.list_buckets())
        v = a.put(ref, content(f'{i} again'))
        check('made again', whole(b.get(ref)) == f'{i} again' and ref.split('/')[0] in b.list_buckets())
    return stale

def stale_reads(make, n: int) -> int:
    rnd, stores = random.Random(21), [make(), make()]
    stale = [s for i in range(n) for s in sees(*rnd.sample(stores, 2), 'b/m', i, rnd)]
    return len(stale)

@pytest.mark.parametrize('kind', ['memory', 'service-like', 'local', 'shared'])
def test_no_stale_reads(kind, tmp_path, figure):
    backend = MemoryBackend() if kind == 'memory' else ServiceLike()
    make = ((lambda: store_over(FileBackend(tmp_path, shared=kind == 'shared', durable=False)))
            if kind in ('local', 'shared') else lambda: store_over(backend))
    stale = stale_reads(make, 200)
    figure(f'21 acknowledged by one store, read by another, {kind}', rounds=200, stale=stale)
    assert not stale

@pytest.mark.parametrize('name', ['seaweed', 'ceph'])
def test_no_stale_reads_on_a_service(name, request, figure):
    place = Place(request.getfixturevalue(name))
    stale = stale_reads(lambda: remote(place), soak(15, 200))
    figure(f'21 acknowledged by one store, read by another, {name}', rounds=soak(15, 200), stale=stale)
    assert not stale

def test_planted_memory_of_the_latest_is_caught():
    "A store that takes for the latest what it saw before"
    backend = MemoryBackend()
    def forgetful():
        store = store_over(backend)
        store.max_age = 60
        return store
    assert stale_reads(forgetful, 20)

@pytest.mark.parametrize('kind', ['service-like', 'files'])
def test_long_items(kind, tmp_path):
    "1,500 versions of one item, while another store knows the first ten"
    backend = ServiceLike() if kind == 'service-like' else FileBackend(tmp_path, durable=False)
    a, b = store_over(backend), store_over(backend)
    for i in range(1500):
        a.put('b/m', i)
        if i == 9: assert b.get('b/m') == 9
    assert b.get('b/m') == 1499 and b.get('b/m@1000') == 999 and b.get('b/m@-1500') == 0
    for n in range(1500, 1400, -1): a.remove(f'b/m@{n}')
    assert b.get('b/m') == 1399 and store_over(backend).get('b/m') == 1399
    assert b.put('b/m', 'next').version == 1501 and a.get('b/m') == 'next'
