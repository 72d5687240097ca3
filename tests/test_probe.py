"""A service's promise is tested before anything rests on it: how much the probe sees, what it costs, what it leaves
behind (RELIABILITY.md 34)"""
import math, os, re, secrets, subprocess, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
import pytest
from objectstore import ObjectStore
from objectstore.format import origin as origin_module, probe as probe_module
from objectstore.storage.backend import MemoryBackend, in_threads, settle
from objectstore.storage.files import FileBackend
from objectstore.errors import ObjectStoreError, Protected, Unsupported
from objectstore.format.origin import Origin
from objectstore.format.probe import AT_ONCE, PROBES_LAST, RACES, Race, probe
from objectstore.format.records import read_back
from objectstore.storage.remote import RemoteBackend
from proxy import Proxy
from relay import Relay, RelayInMemory
from services import Place
from trial import Wrapped, soak

pytestmark = pytest.mark.usefixtures('own_cache')
SHARES = [0.1, 0.05, 0.01]


def opens(backend) -> bool:
    "Is it taken for an origin?"
    try: probe(backend)
    except Unsupported: return False
    return True

def one_race_of_four(backend) -> None:
    "The probe as it was: a race of four writers, and a late one"
    key = f'probe/{secrets.token_hex(8)}'
    bids = [b'%d' % i for i in range(4)]
    won = [bid for bid, answer in zip(bids, in_threads(lambda bid: backend.create(key, bid), bids, 4))
           if answer is True]
    late, kept = backend.create(key, b'late'), read_back(backend, key)
    backend.delete(key)
    if late or len(won) > 1 or won not in ([], [kept]): raise Unsupported('two winners')

def judge_power(opened: int, of: int, share: float) -> None:
    "No more are opened than 64 races of two let through: five standard deviations beside the model, and one"
    let = (1 - share) ** RACES
    assert (opened <= of * let + 5 * math.sqrt(of * let * (1 - let))
            + 1), f'{opened} of {of} were opened, {of * let:.1f} were to be'

def opened(of: int, share: float, test=opens) -> tuple[int, list]:
    "How many of so many unsound services are taken for origins"
    relays = [RelayInMemory(share, seed) for seed in range(of)]
    with ThreadPoolExecutor(2) as pool: said = [*pool.map(test, relays)]
    return sum(said), relays


# power

@pytest.mark.parametrize('share', SHARES)
def test_how_many_unsound_services_are_opened(share, figure):
    of = soak(100)
    n, relays = opened(of, share)
    # the fault was there to be found
    assert all(r.beside >= AT_ONCE for r in relays) and sum(r.twice for r in relays) > 0
    figure(f'34 two winners in {share:.0%} of races, in memory', opened=n, of=of, model=of * (1 - share) ** RACES)
    judge_power(n, of, share)

@pytest.mark.parametrize('share', SHARES)
def test_planted_one_race_of_four_is_caught(share, figure):
    def old(backend): return not isinstance(settle_unsupported(one_race_of_four, backend), Unsupported)
    n, relays = opened(100, share, old)
    assert sum(r.beside for r in relays) >= 100 and (share < 0.05 or sum(r.twice for r in relays) > 0)
    figure(f'34 planted: one race of four, two winners in {share:.0%}', opened=n, of=100)
    with pytest.raises(AssertionError, match='were opened'): judge_power(n, 100, share)

def test_planted_one_writer_after_the_other_is_caught(monkeypatch):
    "Two writers who do not come at the same moment see nothing"
    def one_after_the_other(f, items, workers): return iter([settle(f, i) for i in items])
    monkeypatch.setattr(probe_module, 'in_threads', one_after_the_other)
    monkeypatch.setattr(Race, 'write', lambda self, backend, i: backend.create(self.key, self.bids[i]))
    monkeypatch.setattr(RelayInMemory, 'patience', 0)
    n, relays = opened(10, 0.5)
    assert not sum(r.beside for r in relays)
    with pytest.raises(AssertionError, match='were opened'): judge_power(n, 10, 0.5)

def settle_unsupported(f, *args):
    try: return f(*args)
    except Unsupported as e: return e

def test_a_relay_before_a_service(seaweed, figure):
    "The same through a real relay: refused by words that say what was seen; a sound one is taken"
    figures, words = {}, ''
    for share, of in [(0.1, soak(4)), (0.0, 1)]:
        found = []
        for seed in range(of):
            place = Place(seaweed)
            with Relay(seaweed.endpoint, share, seaweed.client(), seed) as relay:
                b = remote(place, relay.endpoint)
                found.append(said := settle_unsupported(probe, b))
                assert relay.beside > AT_ONCE // 2 and (relay.twice > 0) >= isinstance(said, Unsupported)
                assert not [*b.list('probe/')]
                words = words or str(said)
        figures[share] = sum(x is None for x in found)
        judge_power(figures[share], of, share)
    figure('34 a relay before SeaweedFS, two winners in 10 %', opened=figures[0.1], of=soak(4))
    assert (figures[0.0] == 1 and 'cannot be an origin' in words and 'races of two writers' in words
            and 'If-None-Match' in words and 'still be read' in words)

def remote(place: Place, endpoint: str = '', **more) -> RemoteBackend:
    s = place.service
    return RemoteBackend(place.url, endpoint=endpoint or s.endpoint, timeout=10.0,
                         options=dict(access_key_id=s.access_key, secret_access_key=s.secret_key, region=s.region)
                         | more)

def test_whoever_ignores_the_condition_is_refused(rclone, monkeypatch):
    "rclone: every writer wins"
    for name, value in rclone.environment.items(): monkeypatch.setenv(name, value)
    place = Place(rclone)
    # a race that broke off is none
    with pytest.raises(Unsupported, match=rf'in (\d+) of {AT_ONCE} races') as said: probe(remote(place))
    assert int(re.search(r'in (\d+) of', str(said.value))[1]) > AT_ONCE // 2
    with pytest.raises(Unsupported, match='cannot be an origin'):
        ObjectStore(place.url, endpoint=rclone.endpoint, near=False, timeout=10.0).put('lab/m', 1)
    assert not [*remote(place).list('')]

def test_a_sound_service_is_taken_and_left_clean(place, s3_env):
    b = remote(place)
    probe(b)
    assert not [*b.list('')]


# what else may go wrong

class Answers(Wrapped):
    "A backend whose answers a function makes: `answer(op, key, run)`"
    def __init__(self, answer, inner=None):
        super().__init__(inner or MemoryBackend())
        self.answer, self.asked = answer, []
    def call(self, op, key, run):
        self.asked.append((op, key))
        return self.answer(op, key, run)

def test_the_losers_bytes_in_place_of_the_winners():
    "One is told that he won, the other's bytes are there"
    def answer(op, key, run):
        if op == 'read': return key.encode() + b' 9'
        return run()
    with pytest.raises(Unsupported, match='the loser replaced it'): probe(Answers(answer))

def test_what_was_created_is_not_there():
    def answer(op, key, run):
        if op == 'read': raise FileNotFoundError(key)
        return run()
    with pytest.raises(Unsupported, match='not there when it is read'): probe(Answers(answer))

def test_a_late_writer_who_wins():
    def answer(op, key, run):
        return True if op == 'create' and key.endswith(f'-{RACES - 1}') and answer.n[key] > 1 else run()
    class Late(Answers):
        def create(self, key, data):
            answer.n[key] = answer.n.get(key, 0) + 1
            return True if data == b'late' else super().create(key, data)
    answer.n = {}
    with pytest.raises(Unsupported, match='came late'): probe(Late(lambda op, key, run: run()))

def test_lost_replies_prove_nothing():
    "Of a few races no answer comes: the others tell; of most: nothing is founded"
    lock, n = threading.Lock(), [0]
    def losing(every):
        def answer(op, key, run):
            with lock: n[0] += op == 'create'; lose = op == 'create' and n[0] % every == 0
            said = run()
            if lose: raise ConnectionError('closed after commit')
            return said
        return answer
    probe(Answers(losing(10)))
    with pytest.raises(ConnectionError): probe(Answers(losing(1)))
    assert n[0] > 100

def test_refused_on_both_sides_is_no_winner():
    "A service that answers 409 to both and keeps nothing"
    def answer(op, key, run): return False if op == 'create' else run()
    with pytest.raises(Unsupported, match='no winner'): probe(Answers(answer))

def test_whoever_may_not_write_is_told_so(tmp_path, seaweed, monkeypatch):
    def answer(op, key, run):
        if op == 'create': raise PermissionError('403')
        return run()
    with pytest.raises(PermissionError): probe(Answers(answer))
    for name, value in seaweed.environment.items(): monkeypatch.setenv(name, value)
    place = Place(seaweed)
    with Proxy(seaweed.endpoint) as proxy, proxy.fault('403', method='PUT'), pytest.raises(Protected):
        ObjectStore(place.url, endpoint=proxy.endpoint, near=False, timeout=10.0).put('lab/m', 1)
    assert not [*remote(place).list('')]

def test_readers_are_not_probed(seaweed, monkeypatch):
    "A reader without the right to write reads on: nothing is written"
    for name, value in seaweed.environment.items(): monkeypatch.setenv(name, value)
    place = Place(seaweed)
    with Proxy(seaweed.endpoint) as proxy, proxy.fault('403', method='PUT') as denied:
        store = ObjectStore(place.url, endpoint=proxy.endpoint, near=False, timeout=10.0)
        assert store.get('lab/m', default=None) is None and 'lab/m' not in store
        ObjectStore(place.url, endpoint=seaweed.endpoint, near=False, timeout=10.0).put('lab/m', 1)
        assert store.get('lab/m') == 1 and not denied.hits

def test_whoever_may_not_delete_leaves_small_objects():
    def answer(op, key, run):
        if op == 'delete': raise PermissionError('403')
        return run()
    b = Answers(answer)
    probe(b)
    assert len([*b.list('probe/')]) == RACES and max(e.size for e in b.list('probe/')) < 64

@pytest.mark.parametrize('op', ['create', 'read', 'list', 'delete'])
def test_interrupted_half_way(op):
    "Ctrl-C: its keys go, whatever it was doing; the next probe works"
    n = [0]
    def answer(o, key, run):
        n[0] += o == op
        if o == op and n[0] == 40 and op in ('create', 'read'): raise KeyboardInterrupt
        if o == op and n[0] == 1 and op in ('list', 'delete'): raise KeyboardInterrupt
        return run()
    b = Answers(answer)
    with pytest.raises(KeyboardInterrupt): probe(b)
    assert n[0]
    if op in ('create', 'read'): assert not [*b.inner.list('probe/')]
    probe(b)

def test_killed_half_way(tmp_path):
    "kill -9 leaves keys that no one reads; a probe sweeps them a day later by the storage's clock, not by ours"
    folder = tmp_path/'store'
    code = f'''
import os, signal
from objectstore.storage.files import FileBackend
from objectstore.format.probe import probe
class Dies(FileBackend):
    n = 0
    def create(self, key, data):
        Dies.n += 1
        if Dies.n > 40: os.kill(os.getpid(), signal.SIGKILL)
        return super().create(key, data)
probe(Dies({str(folder)!r}, shared=True))
'''
    assert subprocess.run([sys.executable, '-c', code]).returncode == -9
    b = FileBackend(folder, shared=True)
    left = [e.key for e in b.list('probe/')]
    assert left
    probe(b)
    assert [e.key for e in b.list('probe/')] == left          # they may belong to one that runs
    for key in left: os.utime(b.path(key), (time.time() - PROBES_LAST - 60,) * 2)
    probe(b)
    assert not [*b.list('probe/')]
    assert ObjectStore(f'file://{folder}?shared=true', near=False).put('lab/m', 1).version == 1

_founds = '''
import sys
from objectstore import ObjectStore
url, endpoint, n = sys.argv[1], sys.argv[2] or None, sys.argv[3]
sys.stdin.readline()
store = ObjectStore(url, endpoint=endpoint, near=False, timeout=20.0)
print(store.put('lab/m', n).version, store.origin.id('lab'))
'''

@pytest.mark.parametrize('where', ['shared', 'seaweed', 'ceph'])
def test_many_processes_at_once(where, tmp_path, request, monkeypatch):
    "Each probes for itself; one identity, every put has its number, nothing is left"
    if where == 'shared':
        url, endpoint, b = f'file://{tmp_path}/store?shared=true', '', FileBackend(tmp_path/'store', shared=True)
    else:
        service = request.getfixturevalue(where)
        for name, value in service.environment.items(): monkeypatch.setenv(name, value)
        place = Place(service)
        url, endpoint, b = place.url, service.endpoint, remote(place)
    many = 3
    ps = [subprocess.Popen([sys.executable, '-W', 'ignore', '-c', _founds, url, endpoint, f'{i}'],
                           stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for i in range(many)]
    for p in ps: p.stdin.write('go\n'); p.stdin.flush()
    said = [p.communicate()[0].split() for p in ps]
    assert sorted(n for n, _ in said) == ['1', '2', '3'] and len({id for _, id in said}) == 1
    assert not [*b.list('probe/')] and len([*b.list('id/')]) == 1

def test_once_in_an_origins_life(seaweed, monkeypatch):
    for name, value in seaweed.environment.items(): monkeypatch.setenv(name, value)
    ran = []
    monkeypatch.setattr(origin_module, 'probe', lambda backend: ran.append(backend.url) or probe(backend))
    place = Place(seaweed)
    for i in range(3): ObjectStore(place.url, endpoint=seaweed.endpoint, near=False, timeout=10.0).put('lab/m', i)
    assert ran == [place.url]

def test_an_unsound_origin_keeps_nothing():
    "Nothing is founded: no identity, no format, no version"
    relay = RelayInMemory(1.0)
    origin = Origin(relay)
    with pytest.raises(Unsupported, match='cannot be an origin'): origin.make('lab')
    assert not [*relay.list('')]


# a promise that was broken all the same

def overwritten(backend, key: str, data: bytes) -> None:
    "What an unsound service does: another's write takes the place of one that was acknowledged"
    backend._objects[key] = (data, backend._objects[key][1])

def two_winners(first: object, second: object) -> tuple[ObjectStore, str]:
    "A store that put the first, whose place the second has taken"
    name, other = f'memory://{secrets.token_hex(8)}', f'memory://{secrets.token_hex(8)}'
    store, rival = ObjectStore(name, near=False), ObjectStore(other, near=False)
    mine, _ = store.put('lab/m', first), rival.put('lab/m', second)
    key = store.origin.bucket('lab').key('m', 1)
    overwritten(store.origin.place, key, rival.origin.place.read(key))
    return store, mine.id

@pytest.mark.parametrize('size', [10, 20_000])
def test_an_acknowledged_number_that_shows_another_write_is_named(size):
    store, mine = two_winners('x' * size, 'y' * size)
    bucket = store.origin.bucket('lab')
    bucket.records.clear()      # small records are kept; more of them than a process keeps are read again
    for read in (lambda: store.get('lab/m'), lambda: store['lab/m@1'], lambda: store.get('lab/m@1')):
        with pytest.raises(ObjectStoreError,
                           match=f'broke its promise: lab/m@1 .* for the write {mine}, and holds the write'):
            read()

def test_planted_no_memory_of_what_was_won_is_caught(monkeypatch):
    store, mine = two_winners('x' * 20_000, 'y' * 20_000)
    store.origin.bucket('lab').won.clear()
    assert store.get('lab/m') == 'y' * 20_000       # another's, without a word

def test_a_delivered_put_whose_number_shows_another_write(tmp_path, monkeypatch):
    "What was put offline is asked for by its write id"
    name = f'memory://{secrets.token_hex(8)}'
    store = ObjectStore(str(tmp_path/'near'), name)
    store.put('lab/n', 0)
    mine = store.put('lab/m', 'mine').id
    rival = ObjectStore(f'memory://{secrets.token_hex(8)}', near=False)
    rival.put('lab/m', 'theirs')
    bucket = store.origin.bucket('lab')
    key = bucket.key('m', 1)
    overwritten(store.origin.place.origin.inner, key, rival.origin.place.read(key))
    store.pending.files.create(f'done/{mine}', b'1')
    bucket.records.clear(), bucket.won.clear()
    for near in store.origin.place.nears: near.drop(key)
    with pytest.raises(ObjectStoreError, match=f'broke its promise: lab/m@1 .* {mine}'): store[f'lab/m@id:{mine}']

def test_numbers_that_were_removed_and_put_anew_are_no_broken_promise():
    store = ObjectStore(f'memory://{secrets.token_hex(8)}', near=False)
    for i in range(3): store.put('lab/m', 'x' * 20_000 + str(i))
    store.remove('lab/m@2')
    store.origin.bucket('lab').records.clear()
    assert [v.version for v in store.versions('lab/m')] == [1, 3] and store.get('lab/m')[-1] == '2'
