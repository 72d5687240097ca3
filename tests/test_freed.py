"""A store that is dropped is freed at once, by the count of its references: no thread, closure, cycle or kept error
holds it"""
import gc, itertools, threading, warnings, weakref
import pytest
from objectstore import NotFound, ObjectStore
from objectstore.storage import atomic

NUMBERS = itertools.count()
WAYS = dict(memory=lambda d: ['memory://'], local=lambda d: [d/'store'],
            near=lambda d: [d/'near', f'memory://freed{next(NUMBERS)}'], two_near=lambda d: [d/'a', d/'b', d/'c'])

@pytest.fixture
def counted():
    "References alone: nobody looks for cycles"
    gc.collect(); gc.disable()
    yield
    gc.enable()

def opened(way, tmp_path, **options): return ObjectStore(*WAYS[way](tmp_path), progress=False, **options)

def use(store: ObjectStore, folder) -> None:
    "Every group of verbs"
    v = store.put('lab/a', {'x': 1}, metadata={'auc': 0.9}, alias='production')
    store.put('lab/b', b'x' * 100_000)
    (folder/'files').mkdir(exist_ok=True); (folder/'files'/'a.txt').write_text('a')
    store.put('lab/folder', folder/'files')
    assert store.get('lab/a') == {'x': 1} and len(store.get('lab/b')) == 100_000 and len(store.get('lab/folder')) == 1
    with pytest.raises(NotFound): store.get('lab/none')
    with pytest.raises(NotFound): store.get('nope/none')
    store.annotate(v, {'seen': True}); store.set_alias(v, 'tried'); store.remove_alias('lab/a', 'tried')
    store.versions('lab/a'), store.aliases('lab/a'), store.history('lab/a'), store.get_stats(), store['lab/a'].metadata
    assert len(list(store.find_items('lab', where='auc > 0.5'))) == 1 and repr(store.find_items())
    store.put_many({'lab/c': 1, 'lab/d': 2}); store.get_many(['lab/c', 'lab/d']); store.copy('lab/a', 'lab/copied')
    store.status(), store.explain('lab/a'), store.sync(), store.refresh(), repr(store)
    store.care.compact('lab')
    next(iter(store.watch('lab/a@production', timeout=0.01)), None)
    store.remove('lab/c@1')
    store.browse(ui='html')

@pytest.mark.parametrize('way', WAYS)
def test_a_store_that_is_dropped_is_freed(way, tmp_path, counted):
    store = opened(way, tmp_path)
    use(store, tmp_path)
    gone = weakref.ref(store)
    del store
    assert gone() is None

@pytest.mark.parametrize('way', WAYS)
def test_a_store_that_was_only_opened_is_freed(way, tmp_path, counted):
    gone = weakref.ref(opened(way, tmp_path))
    assert gone() is None

def test_a_version_holds_its_store_as_long_as_it_is_there(tmp_path, counted):
    store = opened('local', tmp_path)
    v = store.put('lab/a', 1)
    gone = weakref.ref(store)
    del store
    assert v.get() == 1 and gone() is not None
    del v
    assert gone() is None

def test_a_store_with_pending_work_is_freed(tmp_path, counted):
    store = opened('near', tmp_path, offline=True)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        store.put('lab/a', 1)
        assert store.get('lab/a') == 1 and store.status()['pending']
    gone = weakref.ref(store)
    del store
    assert gone() is None

def test_a_frame_that_keeps_an_error_of_its_own_would_be_seen(tmp_path, counted, monkeypatch):
    "Planted: a question to a volume is asked again by a function that raises the error that it was given"
    hit = []
    def wait(late, e):
        hit.append(1)
        if not late.more(e): raise late.last(e)
    def asked_again(f, *args, patience=atomic.PATIENCE):
        late = atomic.Patience(patience)
        while True:
            try: return f(*args)
            except OSError as e: wait(late, e)
    from objectstore.storage import files
    for module in (atomic, files): monkeypatch.setattr(module, 'asked_again', asked_again)
    store = opened('local', tmp_path)
    store.put('lab/a', 1)
    gone = weakref.ref(store)
    del store
    assert hit and gone() is not None
    gc.collect()
    assert gone() is None

def test_no_thread_is_left_that_a_store_has_started(tmp_path, counted):
    before = {*threading.enumerate()}
    store = opened('local', tmp_path)
    use(store, tmp_path)
    gone = weakref.ref(store)
    del store
    assert gone() is None
    assert not [t for t in {*threading.enumerate()} - before if t.name in ('objectstore-sync', 'objectstore-notice')]
