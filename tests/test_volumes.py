"""What volumes of a network answer when they are not well, by a file system of the tests' own (volume.py)"""
import os, stat, threading, warnings
import numpy as np, pytest
from objectstore import ObjectStore
from objectstore.storage import atomic
from objectstore.cache.breaker import Breaker
from objectstore.storage.deadlines import Timed
from objectstore.storage.atomic import within
from objectstore.storage.files import FileBackend
from objectstore.cache.machine import _said
from objectstore.search.changelog import flush_hints
from objectstore.errors import NotAvailableOffline, PendingWarning, StaleWarning, Unsupported
from away import delivered
from planting import planted
from volume import mounted, why_not

pytestmark = [pytest.mark.skipif(bool(why_not()), reason=why_not()),
              pytest.mark.filterwarnings('ignore:.*is a new store')]

@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    monkeypatch.setenv('OBJECTSTORE_STATE_DIR', str(tmp_path/'state'))
    monkeypatch.setenv('OBJECTSTORE_CACHE_DIR', str(tmp_path/'cache'))
    monkeypatch.setattr(atomic, 'PATIENCE', 0.3)
    _said.clear(), Breaker._all.clear()
    yield
    for b in Breaker._all.values(): b._turn += 1      # no probe goes on
    Breaker._all.clear()

@pytest.fixture
def volume(tmp_path):
    with mounted(tmp_path/'there', tmp_path/'at') as v: yield v

def little(store, seconds: float = 0.5) -> ObjectStore:
    "A store whose volume is not waited for for long"
    timed = store.origin.place.origin.inner
    assert isinstance(timed, Timed)
    timed.seconds, timed.inner._patience = seconds, 0.2
    return store

BIG = np.arange(100_000)

@pytest.mark.parametrize('mode', ['eio', 'hang', 'refuse'])
def test_an_origin_whose_server_is_gone(volume, tmp_path, mode, figure):
    "A soft mount answers EIO, a hard one nothing: near copies answer, puts wait, and one call pays for it, not each"
    store = ObjectStore(str(tmp_path/'near'), str(volume.at/'store'))
    store.put('lab/m', 1), store.put('lab/big', BIG)
    flush_hints()
    little(store, 0.5 if mode == 'hang' else 60)      # what answers is waited for, however late
    volume.set(mode)
    with pytest.warns(StaleWarning): assert store.get('lab/m') == 1
    volume.waits(mode)
    assert (store.origin.breaker.open or mode == 'hang' and store.origin.breaker.slow)
    asked = len(volume.told())
    assert (store.get('lab/big') == BIG).all() and store.list_buckets() == ['lab']
    with pytest.warns(PendingWarning): assert store.put('lab/m', 2).pending
    with pytest.raises(NotAvailableOffline): store.get('lab/never')
    assert 'away since' in repr(store.status()) and len(volume.told()) == asked
    volume.set()
    for hang in store.origin.place.origin.inner._hang: assert hang.done.wait(60)
    store.origin.place.origin.inner.seconds = 60
    assert delivered(store, 'lab/m@2') and store.get('lab/m') == 2

def test_a_new_store_over_a_volume_that_hangs(volume, tmp_path, monkeypatch):
    "Opened while the server is gone: near copies answer"
    store = ObjectStore(str(tmp_path/'near'), str(volume.at/'store'))
    store.put('lab/m', 1)
    volume.set('hang')
    again = little(ObjectStore(str(tmp_path/'near'), str(volume.at/'store')))
    with pytest.warns(StaleWarning): assert again.get('lab/m') == 1
    volume.waits('hang')

@pytest.mark.parametrize('mode', ['eio', 'hang', 'refuse'])
def test_a_near_tier_whose_server_is_gone(volume, tmp_path, monkeypatch, mode):
    "Told once; the origin answers; nothing is asked of the near tier again"
    store = ObjectStore(str(volume.at/'near'), str(tmp_path/'origin'))
    store.put('lab/m', 1), store.put('lab/big', BIG)
    assert store['lab/m@1'].source == 'shared'
    (tier,) = store.origin.place.nears
    flush_hints()
    tier.files.inner.seconds = tier.numbers.inner.seconds = 0.5 if mode == 'hang' else 60
    volume.set(mode)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter('always')
        assert store.get('lab/m@1') == 1
        assert Breaker.of(str(volume.at/'near'), 'near').open
        asked = len(volume.told())
        assert (asked and store.get('lab/m') == 1 and (store.get('lab/big') == BIG).all()
                and store.put('lab/m', 2).version == 2)
        assert (store.put('lab/big', BIG + 1).get() == BIG + 1).all()
    assert (len(volume.told()) == asked and sum('near tier' in str(w.message) for w in told) == 1), [
        str(w.message) for w in told]
    assert 'away since' in repr(store.status())
    with pytest.warns(UserWarning, match='1 of 1 versions are not held near'):
        assert store.near.keep('lab/m').versions == 0
    volume.set()

@pytest.mark.parametrize('mode', ['eio', 'hang'])
def test_planted_no_breaker_is_caught(volume, tmp_path, monkeypatch, mode):
    "Without one each call pays again"
    monkeypatch.setattr(Breaker, 'note', lambda self, e: None)
    store = ObjectStore(str(volume.at/'near'), str(tmp_path/'origin'))
    store.put('lab/m', 1)
    (tier,) = store.origin.place.nears
    flush_hints()
    tier.files.inner.seconds = tier.numbers.inner.seconds = 0.3 if mode == 'hang' else 60
    volume.set(mode)
    store.get('lab/m@1')
    n = len(volume.told())
    if mode == 'eio':
        store.get('lab/m@1')
        assert len(volume.told()) > n
    else: assert not Breaker.of(str(volume.at/'near'), 'near').open and n
    volume.set()

def test_planted_no_deadline_is_caught(volume, tmp_path, monkeypatch):
    "Without one a get hangs as long as the server is gone"
    from objectstore.store import opening
    monkeypatch.setattr(opening, 'timed', lambda backend, seconds: backend)
    store = ObjectStore(str(tmp_path/'near'), str(volume.at/'store'))
    store.put('lab/m', 1)
    volume.set('hang')
    t = threading.Thread(target=store.get, args=['lab/m'], daemon=True)
    t.start()
    volume.waits('hang')
    t.join(1.0)
    assert t.is_alive()
    volume.set()
    t.join(60)
    assert not t.is_alive()

def test_what_hangs_is_not_asked_again(volume):
    "One thread is left behind, not one for each call; it answers when the volume does"
    volume.set()
    b = Timed(FileBackend(volume.at/'x', shared=True), 0.3)
    b.create('a/b', b'x')
    volume.set('hang')
    for _ in range(20):
        with pytest.raises(ConnectionError): b.read('a/b')
    (call,) = b._hang
    volume.set()
    assert call.done.wait(60) and b.read('a/b') == b'x' and not b._hang

def test_many_threads_share_the_askers():
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(lambda i: within(60, pow, i, 2), range(500))) == sum(i * i for i in range(500))

@pytest.mark.parametrize('deep', [False, True])
def test_a_store_that_was_asked_for_before_it_was_there(volume, deep):
    "Another client makes it: it shows at once, since the folder above its root is listed"
    volume.set('ok', 'forgets')
    place = volume.at/'lab'/'store' if deep else volume.at/'store'
    if deep: (volume.folder/'lab').mkdir()
    store = ObjectStore(f'file://{place}?shared=true', near=False)
    assert not store.list_buckets() and 'lab/m' not in store and not FileBackend(place, shared=True).exists('lab/x')
    assert not os.path.exists(place)
    # beside the mount: another client
    ObjectStore(str(volume.folder/place.relative_to(volume.at)), near=False).put('lab/m', 7)
    assert not os.path.exists(place), 'it is not remembered as absent'
    assert store.get('lab/m') == 7 and store.list_buckets() == ['lab']

def test_planted_the_folder_above_is_not_listed(volume, monkeypatch):
    monkeypatch.setattr(FileBackend, '_made_since', lambda self, place: False)
    with pytest.raises(Exception): test_a_store_that_was_asked_for_before_it_was_there(volume, False)

@pytest.mark.parametrize('odd', ['no_links', 'link_eio'])
def test_without_hard_links(volume, tmp_path, odd):
    "As an origin refused with words, at a put; as a near tier it works, by renaming"
    volume.set('ok', odd)
    with pytest.raises(Unsupported, match='no hard links'):
        ObjectStore(str(volume.at/'store'), near=False).put('lab/m', 1)
    store = ObjectStore(str(volume.at/'near'), str(tmp_path/'origin'))
    store.put('lab/m', 1), store.put('lab/big', BIG)
    assert store.near.keep(['lab/m', 'lab/big']).versions == 2
    away = ObjectStore(str(volume.at/'near'), str(tmp_path/'origin'), offline=True)
    with pytest.warns(StaleWarning): assert away.get('lab/m') == 1 and (away.get('lab/big') == BIG).all()

def test_an_answer_of_eio_to_a_link_is_away_where_all_is(volume):
    "The server goes between a draft and its name: that is absence, not a file system without links"
    b = FileBackend(volume.at/'x', shared=True, patience=0.2)
    b.create('a/b', b'x')
    real = atomic._link
    def link(draft, target):
        volume.set('eio')
        return real(draft, target)
    with planted(atomic, '_link', link), pytest.raises(ConnectionError): b.create('a/c', b'y')

def test_the_read_only_bit_stays(volume):
    volume.set('ok', 'read_only_bit')
    b = FileBackend(volume.at/'x', shared=True)
    b.create('a/b', b'x')
    b.create_many([('a/c', b'x'), ('a/d', b'y')])
    assert {stat.filemode(os.stat(b.path(f'a/{n}')).st_mode) for n in 'bcd'} == {'-r--r--r--'}

def test_planted_the_bit_is_lost(volume, monkeypatch):
    monkeypatch.setattr(FileBackend, '_closed', lambda self, draft, path: None)
    with pytest.raises(AssertionError): test_the_read_only_bit_stays(volume)
