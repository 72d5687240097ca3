"""Another store in the same place is noticed (RELIABILITY.md, 22), and pending work is found by identity (30).

One origin is emptied and filled again, restored from a backup with and without its id, or copied, by another machine,
while one store object of this machine stays open. What this object, a new one and a new process answer is compared with
what a machine answers that has never seen the place before.
"""
from __future__ import annotations
import os, secrets, shutil, warnings
from pathlib import Path
import pytest
from objectstore import NotFound, ObjectStore, StaleWarning
from objectstore.storage.backend import MemoryBackend
from objectstore.search.changelog import flush_hints
from objectstore.format.origin import Origin
from objectstore.storage.remote import RemoteBackend
from objectstore.format.witness import save_witnesses
import objectstore.cache.near, objectstore.format.origin, objectstore.format.commit, objectstore.cache.stacked
from away import Service, clean, delivered, env, forget_all, on_line, quiet, Switch  # noqa: F401 (fixtures)
from services import Place
from objectstore.store.sync import DeliveryVerbs
from planting import planted
from trial import SOAK

KINDS = ['files', 'snapshot', 'seaweed', 'ceph']
WHAT = ['emptied and filled again', 'restored with its id', 'restored without its id']


class Storage:
    "A storage, its store seen from this machine and from others, and what others do to it behind the store's back"
    def __init__(self, kind: str, folder: Path, near: bool, request):
        self.kind, self.folder, self.options = kind, folder, dict(near=False, progress=False)
        self.nears, self.n = [str(folder/'near')] * near, 0
        if kind == 'files': self.url, self.raw = str(folder/'lab'), None
        elif kind == 'snapshot':
            name = secrets.token_hex(8)
            MemoryBackend._shared[name] = self.raw = Service(name)
            self.url = f'memory://{name}'
        else:
            place = Place(service := request.getfixturevalue(kind))
            os.environ.update(service.environment)
            self.url, self.options = place.url, self.options | dict(endpoint=service.endpoint, timeout=5.0)
            self.raw = RemoteBackend(place.url, endpoint=service.endpoint, timeout=5.0)

    def open(self) -> ObjectStore: return ObjectStore(*self.nears, self.url, **self.options)
    def process(self) -> ObjectStore:
        "As a new process of this machine opens it"
        save_witnesses(), flush_hints(), forget_all()
        return self.open()
    def other(self, url: str | None = None) -> ObjectStore:
        "As a machine opens it that has never been here"
        self.n += 1
        with env(OBJECTSTORE_STATE_DIR=str(self.folder/f'other-{self.n}'),
                 OBJECTSTORE_CACHE_DIR=str(self.folder/f'cache-{self.n}')):
            s = ObjectStore(url or self.url, **self.options)
            s.keeper.index.there()
            return s

    def kept(self) -> dict:
        "All of it, as a backup keeps it; a snapshot keeps the stamps, too"
        flush_hints()
        if self.kind == 'files':
            shutil.rmtree(self.folder/'backup', ignore_errors=True)
            return {'at': shutil.copytree(self.url, self.folder/'backup')}
        if self.kind == 'snapshot': return dict(self.raw._objects)
        return {e.key: self.raw.read(e.key) for e in self.raw.list('')}

    def empty(self) -> None:
        flush_hints()
        if self.kind == 'files':
            for p in Path(self.url).iterdir(): shutil.rmtree(p) if p.is_dir() else p.unlink()
        elif self.kind == 'snapshot': self.raw._objects.clear()
        else: [self.raw.delete(e.key) for e in list(self.raw.list(''))]

    def restore(self, backup: dict, ids: bool) -> None:
        self.empty()
        if self.kind == 'files':
            shutil.copytree(backup['at'], self.url, dirs_exist_ok=True)
            if not ids: shutil.rmtree(Path(self.url)/'id'), (Path(self.url)/'objectstore.json').unlink()
            return
        backup = {k: v for k, v in backup.items() if ids or not k.startswith(('id/', 'objectstore.json'))}
        if self.kind == 'snapshot': self.raw._objects.update(backup)
        else: assert all(self.raw.create(k, v) for k, v in backup.items())


@pytest.fixture(params=[f'{k}-{"near" if n else "alone"}' for k in KINDS for n in (False, True)])
def storage(request, clean):
    kind, near = request.param.split('-')
    return Storage(kind, clean, near == 'near', request)


def answers(s: ObjectStore, order: int = 0, index: bool = True) -> dict:
    "What a store says of the item `lab/m`; `order`: what it is asked first"
    def said(f):
        try: return f()
        except NotFound: return 'not found'
    ask = {'latest': lambda: s.get('lab/m'), 'versions': lambda: s.versions('lab/m').refs,
           'prod': lambda: s.get('lab/m@prod'),
           'search': lambda: sorted((v.ref, v.get()) for v in s.find_items('lab', at='*')) if index else None,
           **{f'@{n}': lambda n=n: s.get(f'lab/m@{n}') for n in range(1, 6)}, 'prod after': lambda: s.get('lab/m@prod')}
    first = list(ask)[order]
    return {k: said(ask[k]) for k in [first, *(k for k in ask if k != first)]}

def a_minute_later(monkeypatch) -> None:
    "Nothing is taken for granted any more that was seen before"
    for module in (objectstore.format.origin, objectstore.format.commit, objectstore.cache.stacked):
        monkeypatch.setattr(module, 'ASK_AGAIN', -1.0)

def filled(storage: Storage) -> tuple[ObjectStore, dict]:
    "A store object that has put and got four versions, of which a backup has two"
    A = storage.open()
    for i in (1, 2): A.put('lab/m', f'lost {i}' if i > 2 else f'kept {i}')
    A.set_alias('lab/m@2', 'prod')
    backup = storage.kept()
    for i in (3, 4): A.put('lab/m', f'lost {i}')
    A.set_alias('lab/m@4', 'prod')
    return A, backup

def replaced(storage: Storage, backup: dict, what: str) -> None:
    "What others do to the storage"
    if what == WHAT[0]: storage.empty()
    else: storage.restore(backup, ids=what == WHAT[1])
    other = storage.other()
    with quiet():
        other.put('lab/m', 'new a'), other.put('lab/m', 'new b')
        other.set_alias(f'lab/m@{other["lab/m"].version}', 'prod')
    other.close()

@pytest.fixture(autouse=True)
def silent():
    "A store that is made anew says so"
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='.*is a new store')
        warnings.simplefilter('error', StaleWarning)
        yield

def orders(storage: Storage, near: bool) -> list[int]:
    "What is asked first; make soak tries each"
    if storage.kind not in ('files', 'snapshot'): return [0, 3] if SOAK > 1 else [0]
    return [0, 1, 2, 3, *([] if near else [4])] if SOAK > 1 else [0, 3]

def differing(said: dict, truth: dict) -> dict: return {k: (said[k], truth[k]) for k in said if said[k] != truth[k]}

@pytest.mark.parametrize('what', WHAT)
def test_another_store_in_the_same_place(storage, what, figure, monkeypatch):
    stale, burnt, asked = 0, 0, 0
    # else a number won a moment ago that shows another write means that two have won
    if storage.kind != 'files' and what != WHAT[0]: monkeypatch.setattr(objectstore.format.origin, 'ASK_AGAIN', -1.0)
    for order in orders(storage, bool(storage.nears)):
        for index in (True, False):
            storage.empty() if storage.kind != 'files' or Path(storage.url).exists() else None
            if storage.kind == 'files': shutil.rmtree(storage.url, ignore_errors=True)
            forget_all()
            A, backup = filled(storage)
            assert answers(A, 0, index)['latest'] == 'lost 4'
            replaced(storage, backup, what)
            truth = answers(storage.other(), 0, True)
            assert truth['latest'] == 'new b' and 'lost' not in repr(truth)
            for open_it in (lambda: A, storage.open, storage.process):
                s = open_it()
                said = answers(s, order, index)
                asked += len(said)
                stale += len(wrong := differing({k: v for k, v in said.items() if k != 'search' or index}, truth))
                assert not wrong, (what, order, index, s is A, wrong)
            n = storage.other()['lab/m'].version
            with monkeypatch.context() as m:
                if storage.kind != 'files': a_minute_later(m)
                given = [A.put('lab/m', 'A').version, s.put('lab/m', 's').version,
                         storage.open().put('lab/m', 'o').version]
            burnt += given != [n + 1, n + 2, n + 3]
            assert (given == [n + 1, n + 2, n + 3]
                    and storage.other().versions('lab/m').refs == [f'lab/m@{i}' for i in range(1, n + 4)])
    figure(f'22 {storage.kind}, {"near tier" if storage.nears else "no near tier"}, {what}', answers=asked, stale=stale,
           burnt=burnt)


def first_get_of_a_known_item(storage: Storage) -> tuple[object, object]:
    """A process meets the store, and only then it is emptied and filled again: what the first get of an item gives,
    that is near from before"""
    A, _ = filled(storage)
    B = storage.process()
    assert B.get('lab/m@1') == 'kept 1' if storage.nears else B.list_buckets()
    storage.empty()
    for i in range(4): storage.other().put('lab/m', f'new {i}')
    flush_hints()
    return B.get('lab/m'), B.get('lab/m@2')

@pytest.mark.parametrize('kind', ['files', 'snapshot'])
def test_a_near_record_says_of_which_object_it_is_the_copy(kind, clean, request):
    assert first_get_of_a_known_item(Storage(kind, clean, True, request)) == ('new 3', 'new 1')

@pytest.mark.parametrize('kind', ['files', 'snapshot'])
def test_planted_near_records_without_a_tag_are_caught(kind, clean, request, monkeypatch):
    asked = []
    monkeypatch.setattr(objectstore.cache.near.Near, 'tag_of', lambda self, key: asked.append(key) or 0)
    assert first_get_of_a_known_item(Storage(kind, clean, True, request)) != ('new 3', 'new 1') and asked

def test_a_copy_behind_the_same_near_tier_is_another_store(clean, request):
    lab = Storage('files', clean, True, request)
    A, _ = filled(lab)
    A.get('lab/m@1')
    flush_hints()
    shutil.copytree(lab.url, two := str(clean/'lab2'))
    B = ObjectStore(*lab.nears, two, **lab.options)
    lab.other().put('lab/m', 'of lab'), lab.other(two).put('lab/m', 'of lab2')
    for _ in range(2):
        for s, mine in ((A, 'of lab'), (B, 'of lab2')):
            assert s.get('lab/m') == mine == s.get('lab/m@5') and s.get('lab/m@1') == 'kept 1'
            assert [v.get() for v in s.find_items('lab')] == [mine]
        save_witnesses(), flush_hints(), forget_all()
        A, B = lab.open(), ObjectStore(*lab.nears, two, **lab.options)
    assert A.origin.id() == B.origin.id() and A.origin.identity() != B.origin.identity()
    assert not A.status()['tiers'][-1][2].startswith('set back')

def test_files_that_were_touched_are_the_same_store(clean, request):
    "chmod and hard links change what the stamp is made of"
    lab = Storage('files', clean, True, request)
    A, _ = filled(lab)
    for p in Path(lab.url).rglob('*'):
        if p.is_file(): os.link(p, clean/secrets.token_hex(8))
    for s in (A, lab.open(), lab.process()):
        assert answers(s)['latest'] == 'lost 4' and 'set back' not in s.status()['tiers'][-1][2]
    assert A.put('lab/m', 5).version == 5

def test_planted_an_id_alone_is_caught(clean, request, monkeypatch):
    "As it was: a store is known by its id, and by nothing else"
    looked = []
    def only_the_id(real):
        return lambda self, root, known=(None, ''): looked.append(1) or (real(self, root)[0], '', 0.0)
    monkeypatch.setattr(Origin, 'look', only_the_id(Origin.look))
    with pytest.raises(AssertionError): test_a_copy_behind_the_same_near_tier_is_another_store(clean, request)
    assert looked

def test_planted_no_doubt_is_caught(clean, request, monkeypatch):
    doubted = []
    monkeypatch.setattr(Origin, 'doubt', lambda self, *at: doubted.append(at))
    lab = Storage('files', clean, True, request)
    A, backup = filled(lab)
    answers(A)
    replaced(lab, backup, WHAT[0])
    assert differing(answers(A), answers(lab.other())) and doubted

def back_without_a_word(s: ObjectStore) -> None:
    "The origin is there again, and nothing is delivered in the background"
    s._next_sync = float('inf')
    s.origin.breaker.back.clear()
    s.origin.breaker.close()

def set_back(storage: Storage) -> ObjectStore:
    "A new process on a machine that had seen what a snapshot has lost"
    A, backup = filled(storage)
    answers(A)
    replaced(storage, backup, WHAT[1])
    return storage.process()

@pytest.mark.parametrize('what', ['@3', '@4', 'prod', 'search'])
def test_a_new_process_hears_the_witness_first(what, clean, request):
    "Numbers were given again, id and stamps are as before: also a near get that asks for nothing else is right"
    storage = Storage('snapshot', clean, True, request)
    said, truth = answers(set_back(storage), 0, True), answers(storage.other())
    assert said[what] == truth[what]

def test_refresh_asks_who_is_there(clean, request):
    storage = Storage('snapshot', clean, True, request)
    A, backup = filled(storage)
    answers(A)
    replaced(storage, backup, WHAT[1])
    A.refresh()
    assert [A.get(f'lab/m@{n}') for n in range(1, 5)] == ['kept 1', 'kept 2', 'new a', 'new b']

@pytest.mark.parametrize('what', ['@3', '@4'])
def test_planted_no_witness_is_caught(what, clean, request, monkeypatch):
    asked = []
    monkeypatch.setattr(Origin, 'bears_out', lambda self, root, seen: asked.append(seen) or True)
    storage = Storage('snapshot', clean, True, request)
    s, n = set_back(storage), int(what[1:])
    assert s.get(f'lab/m@{n}') != storage.other().get(f'lab/m@{n}') and asked

def test_pending_work_waits_for_a_store_that_was_set_back(clean, request):
    storage = Storage('files', clean, True, request)
    s = set_back(storage)
    breaker = s.origin.breaker
    breaker.trip(ConnectionRefusedError('away'))
    with quiet(): s.put('lab/waits', 'pending')
    back_without_a_word(s)
    report = s.sync()
    assert ([o.became for o in report] == ['waits'] and 'set back to an earlier state' in report[0].why
            and 'lab/m@4' in report[0].why)
    assert 'restored()' in s.status()['tiers'][-1][2] and len(s.status()['pending']) == 1
    with pytest.raises(NotFound): storage.other().get('lab/waits')
    before = s.origin.id()
    s.care.restored()
    s.sync()
    assert (s.origin.id() != before and s.get('lab/waits') == 'pending' == storage.other().get('lab/waits')
            and not s.status()['pending'])
    assert 'set back' not in s.status()['tiers'][-1][2]
    again = storage.process()
    assert again.get('lab/m') == 'new b' and 'set back' not in again.status()['tiers'][-1][2]

def test_offline_nothing_is_dropped(clean, request):
    storage = Storage('files', clean, True, request)
    A, _ = filled(storage)
    answers(A)
    flush_hints()
    (clean/'lab').rename(clean/'elsewhere')
    for s in (A, storage.process()):
        with quiet(): assert s.get('lab/m') == 'lost 4' and s.get('lab/m@3') == 'lost 3'
    (clean/'elsewhere').rename(clean/'lab')
    assert storage.process().get('lab/m') == 'lost 4'

def test_a_pinned_near_get_is_right_from_the_first_request_that_shows_the_change(clean, request, monkeypatch):
    """The promise of decision 33: nobody is asked for it; the next question of the latest, or any request a minute
    later, tells"""
    for later in (False, True):
        storage = Storage('snapshot', clean/str(later), True, request)
        A, _ = filled(storage)
        A.put('lab/other', 'x')
        answers(A), A.get('lab/other')
        storage.empty()
        for i in range(4): storage.other().put('lab/m', f'new {i}')
        storage.other().put('lab/other', 'y')
        flush_hints()
        assert A.get('lab/m@2') == 'kept 2'
        with monkeypatch.context() as m:
            if later: a_minute_later(m)
            assert A.get('lab/other' if later else 'lab/m') == ('y' if later else 'new 3')
        assert A.get('lab/m@2') == 'new 1'

# pending work is found by identity

def test_pending_work_is_found_under_another_path(clean, request, figure):
    "One storage that has two URLs"
    name = secrets.token_hex(8)
    MemoryBackend._shared[name], MemoryBackend._shared[f'{name}-too'] = one, too = Service(name), Service(f'{name}-too')
    too._objects = one._objects
    def at(url): return ObjectStore(str(clean/'near'), f'memory://{url}', progress=False)
    at(name).put('lab/m', 0)
    assert at(f'{name}-too').get('lab/m') == 0
    ways = _both_ways(at, name, f'{name}-too', 1) + _both_ways(at, f'{name}-too', name, 2)
    figure('30 pending work under another address', ways=ways, hidden=0, undelivered=0)

def _both_ways(at, queued: str, opened: str, n: int) -> int:
    s = at(queued)
    s.get('lab/m')
    s.origin.breaker.trip(ConnectionRefusedError('away'))
    with quiet(): s.put('lab/m', n)
    back_without_a_word(s)
    t = at(opened)
    t.get('lab/m', max_age=0)
    assert t.pending.files.url != s.pending.files.url
    assert [w for w, _ in t.status()['pending']] == ['put lab/m']
    assert delivered(t, f'lab/m@{n + 1}') and not s.status()['pending']
    return 1

def test_pending_work_under_another_host_name(clean, request, figure):
    place = Storage('seaweed', clean, True, request)
    host = place.options['endpoint']
    other = host.replace('127.0.0.1', 'localhost')
    def at(endpoint): return ObjectStore(*place.nears, place.url, **{**place.options, 'endpoint': endpoint})
    at(host).put('lab/m', 0)
    assert at(other).get('lab/m') == 0
    ways = _both_ways(at, host, other, 1) + _both_ways(at, other, host, 2)
    figure('30 pending work under another host name, SeaweedFS', ways=ways, hidden=0, undelivered=0)

def test_planted_queues_of_other_addresses_are_not_looked_through_is_caught(clean, request):
    with planted(DeliveryVerbs, '_queues_elsewhere', lambda self: []), pytest.raises(AssertionError):
        test_pending_work_is_found_under_another_path(clean, request, lambda *told, **values: None)

def test_a_copy_gets_nobody_elses_pending_work(clean, request):
    lab = Storage('files', clean, True, request)
    A, _ = filled(lab)
    flush_hints()
    shutil.copytree(lab.url, two := str(clean/'lab2'))
    A.get('lab/m')
    A.origin.breaker.trip(ConnectionRefusedError('away'))
    with quiet(): A.put('lab/m', 'for lab')
    back_without_a_word(A)
    B = ObjectStore(*lab.nears, two, **lab.options)
    assert B.get('lab/m') == 'lost 4' and not B.status()['pending'] and not B.sync()
    assert delivered(A, 'lab/m@5') and B.get('lab/m') == 'lost 4'
