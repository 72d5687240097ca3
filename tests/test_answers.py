"""An answer is judged by its form: what is no answer of an object service counts as away, in front of each verb.

The kinds of page, of listing and of refusal are those of `proxy.py`; each guarantee has a planted bug that its test
catches.
"""
import secrets, time, warnings
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
import pytest
from objectstore import (Conflict, Damaged, NotAvailableOffline, NotFound, ObjectStore, Protected,
                         TierMismatch, Unsupported)
from objectstore.storage import backend
from objectstore.format import records
from objectstore.storage.backend import MARKER, MemoryBackend, number_key
from objectstore.storage.options import Refused
from objectstore.errors import CommitUnknown
from objectstore.format.origin import Origin
from objectstore.format.records import Claim
from objectstore.storage.remote import RemoteBackend
from away import World, env, forget_all, quiet
from planting import planted
from proxy import PORTALS
from trial import content, soak

LARGE = content('large', 50_000)
PAGES = [*PORTALS, 'unknown_key']
AWAY = (NotAvailableOffline, CommitUnknown)

READS = dict(      # verb: what it asks, and the only right answer
    get=(lambda s: s.get('lab/m'), 3), get_pinned=(lambda s: s.get('lab/m@1'), 1),
    get_alias=(lambda s: s.get('lab/m@prod'), 2),
    get_large=(lambda s: s.get('lab/large'), LARGE), get_many=(lambda s: [*s.get_many(['lab/m@1', 'lab/m@3'])], [1, 3]),
    default=(lambda s: s.get('lab/unseen', default='nothing'), 'hidden'), contains=(lambda s: 'lab/unseen' in s, True),
    item=(lambda s: s['lab/m'].version, 3), versions=(lambda s: [v.version for v in s.versions('lab/m')], [1, 2, 3]),
    aliases=(lambda s: dict(s.aliases('lab/m')), {'prod': 2}),
    metadata=(lambda s: s['lab/m@1'].metadata, {'stage': 'old'}),
    named=(lambda s: s['lab/m@2'].aliases, ['prod']),
    find=(lambda s: sorted(v.item for v in s.find_items('lab')), ['large', 'm', 'unseen']),
    stats=(lambda s: s.get_stats('lab/m')['versions'], 3), buckets=(lambda s: s.list_buckets(), ['lab', 'other']))

WRITES = dict(put=lambda s: s.put('lab/m', 4), put_new=lambda s: s.put('lab/new', 1),
              put_large=lambda s: s.put('lab/large', content('other', 50_000)),
              put_huge=lambda s: s.put('lab/huge', content('huge', 18 * 2**20)),
              put_many=lambda s: s.put_many({f'lab/p{i}': i for i in range(12)}),
              if_latest=lambda s: s.put('lab/m', 4, if_latest=3), set_alias=lambda s: s.set_alias('lab/m@3', 'prod'),
              remove_alias=lambda s: s.remove_alias('lab/m', 'prod'),
              annotate=lambda s: s.annotate('lab/m@2', {'stage': 'new'}), remove=lambda s: s.remove('lab/m@3'),
              make=lambda s: s.find_or_create_bucket('fresh'),
              remove_bucket=lambda s: s.remove_bucket('other', force=True), copy=lambda s: s.copy('lab/m@1', 'lab/n'))


class Lab(World):
    "A store at a service behind a proxy, and machines that know it or do not"
    def fill(self) -> None:
        with self.alone() as s:
            for i in (1, 2, 3): s.put('lab/m', i)
            s.put('lab/large', LARGE), s.put('lab/unseen', 'hidden'), s.put('other/x', 1)
            s.set_alias('lab/m@2', 'prod'), s.annotate('lab/m@1', {'stage': 'old'})

    @contextmanager
    def machine(self, near: bool, known: bool, again: bool = False, **options):
        """A store on a machine of its own: `known`: one that has read everything but `lab/unseen`; `again`: in a new
        process"""
        root = self.folder/secrets.token_hex(4)
        def open():
            return ObjectStore(*[str(root/'near')] * near, self.url, near=near, progress=False,
                               endpoint=self.proxy.endpoint, **{'timeout': 0.5, **options})
        with env(OBJECTSTORE_STATE_DIR=str(root/'state'), OBJECTSTORE_CACHE_DIR=str(root/'cache')), quiet():
            forget_all()
            store = open()
            if known:
                for ask, _ in [v for k, v in READS.items() if k not in ('default', 'contains')]: ask(store)
                if near: store.near.keep([f'lab/m@{i}' for i in (1, 2, 3)])
            if known and again: forget_all(); store.close(); store = open()
            yield store
            self.proxy.clear()
            store.close()

    def state(self) -> dict:
        "All that the service holds, as somebody else sees it"
        with self.alone() as s:
            found = {b: s.origin.bucket(b).scan() for b in s.list_buckets()}
            return {f'{b}/{i}': (sorted(n.made), sorted(n.live)) for b, items in found.items()
                    for i, n in items.items()}

    def burnt(self) -> int: return sum(max(made) - len(made) for made, _ in self.state().values())

@pytest.fixture
def lab(seaweed, clean, request):
    found = Lab('seaweed', 2, clean, request)
    found.fill()
    return found

def outcome(ask, store: ObjectStore) -> object:
    "What a verb answers, or `away`; another error is an answer, too"
    try: return ask(store)
    except AWAY: return 'away'
    except Exception as e: return e

def judge_reads(store: ObjectStore) -> tuple[list, float, int]:
    "Verbs that gave a wrong answer, the longest wait, and how many answered from near"
    wrong, longest, held = [], 0.0, 0
    for name, (ask, right) in READS.items():
        meet_anew(store)
        began = time.monotonic()
        found = outcome(ask, store)
        longest = max(longest, time.monotonic() - began)
        refused = isinstance(found, Exception) and type(found).__name__ == 'Protected' and 'XAdmin' in str(found)
        if found not in (right, 'away') and not refused: wrong.append((name, found))
        held += found == right
    return wrong, longest, held

def meet_anew(store: ObjectStore) -> None:
    "The breaker is closed: the next call asks again"
    if b := getattr(store.origin, 'breaker', None): b.close()


@pytest.mark.parametrize('near, known, again',
                         [(False, False, False), (False, True, False), (True, False, False), (True, True, False),
                          (True, True, True)],
                         ids=['alone-new', 'alone-known', 'near-new', 'near-known', 'near-known-in-a-new-process'])
def test_a_page_in_front_of_every_reading_verb(lab, near, known, again, figure):
    wrong, longest, held, hits = [], 0.0, 0, []
    for kind in PAGES:
        with lab.machine(near, known, again) as store:
            fault = lab.proxy.fault(kind)
            found, waited, kept = judge_reads(store)
            wrong += [(kind, *w) for w in found]
            longest, held, hits = max(longest, waited), held + kept, [*hits, fault.hits]
    figure(f'23 {len(PAGES)} pages in front of {len(READS)} reads', near=near, known=known, asked=sum(hits),
           longest=longest, from_near=held, wrong=len(wrong))
    assert not wrong, wrong
    assert all(hits) and (held > 6 * len(PAGES)) == (near and known)


def judge_writes(store: ObjectStore, fault) -> tuple[list, float, int]:
    "Verbs that were acknowledged by a page, or raised something odd; the longest wait; the most requests of one verb"
    wrong, longest, most = [], 0.0, 0
    for name, ask in WRITES.items():
        meet_anew(store)
        began, asked = time.monotonic(), fault.hits
        try: found = ask(store)
        # a put behind a pending one; a key that the gateway does not know
        except (*AWAY, Conflict, Protected): found = None
        except Exception as e: found = e
        longest, most = max(longest, time.monotonic() - began), max(most, fault.hits - asked)
        if isinstance(found, Exception) or name in ACKNOWLEDGED and acknowledged(found): wrong.append((name, found))
    return wrong, longest, most

ACKNOWLEDGED = {'put', 'put_new', 'put_large', 'put_huge', 'put_many', 'if_latest', 'make', 'remove_bucket', 'copy'}

def acknowledged(found: object) -> bool:
    "Does this answer say that the origin has done it?"
    return any(not getattr(v, 'pending', not v) for v in (found if isinstance(found, list) else [found]))

@pytest.mark.parametrize('near', [False, True], ids=['alone', 'near'])
def test_a_page_in_front_of_every_writing_verb(lab, near, figure):
    wrong, longest, most, before = [], 0.0, 0, lab.state()
    for kind in PAGES:
        with lab.machine(near, True, timeout=0.2) as store:
            fault = lab.proxy.fault(kind)
            found, waited, asked = judge_writes(store, fault)
            wrong += [(kind, *w) for w in found]
            longest, most = max(longest, waited), max(most, asked)
            assert fault.hits
        if not near: assert lab.state() == before, kind
    figure(f'23 {len(PAGES)} pages in front of {len(WRITES)} writes', near=near, longest=longest, most_requests=most,
           wrong=len(wrong), burnt=lab.burnt())
    assert not wrong, wrong
    assert not lab.burnt() and most < 100

def test_what_was_put_behind_a_page_is_delivered_with_the_next_number(lab, figure):
    delivered = 0
    for i, kind in enumerate(PORTALS):
        with lab.machine(True, True) as store:
            lab.proxy.fault(kind)
            v = store.put('lab/m', f'put behind {kind}')
            assert v.pending and store.get('lab/m') == f'put behind {kind}'
            store.annotate(v, {'behind': kind}), store.set_alias(v, f'behind-{i}')
            lab.proxy.clear()
            meet_anew(store)
            report = store.sync()
            assert not report.waiting and v.wait().version == 4 + i
            delivered += 1
    assert lab.alone().aliases('lab/m') == {'prod': 2, **{f'behind-{i}': 4 + i for i in range(len(PORTALS))}}
    figure('23 put behind a page, delivered', puts=len(PORTALS), versions=delivered, burnt=lab.burnt())
    assert not lab.burnt()


# Listings that are odd, and errors inside a success

@pytest.mark.parametrize('kind', ['doubled', 'unordered'])
def test_the_keys_of_a_listing_may_repeat_and_come_in_any_order(lab, kind, figure):
    "Sets and maxima: each version, alias and note is found, and no number is burnt"
    wrong = 0
    with lab.machine(False, False) as store, lab.proxy.fault(kind) as fault:
        for i in range(12): store.set_alias(f'lab/m@{i % 3 + 1}', 'moved'); store.annotate('lab/m@3', {'step': i})
        for i in range(3): wrong += store.put('lab/large', content(f'{i}', 50_000)).version != i + 2
        wrong += (store.get('lab/m@moved') != 3 or store.get('lab/m@moved~1') != 2
                  or store['lab/m@3'].metadata != {'step': 11})
        # these have changed
        wrong += sum(name not in ('aliases', 'get_large') for name, _ in judge_reads(store)[0])
        hits = fault.hits
    figure(f'23 {kind} listings', asked=hits, wrong=wrong, burnt=lab.burnt())
    assert not wrong and not lab.burnt() and lab.state()['lab/large'] == ([1, 2, 3, 4], [1, 2, 3, 4])

@pytest.mark.parametrize('kind, method',
                         [('cut', 'LIST'), ('error_in_success', 'LIST'), ('error_in_success', 'GET'), ('page', 'GET'),
                          ('tagged_page', 'LIST'), ('tagged_page', 'GET')])
@pytest.mark.parametrize('near', [False, True], ids=['alone', 'near'])
def test_one_method_alone_is_answered_with_what_is_no_answer(lab, kind, method, near, figure):
    with lab.machine(near, True) as store, lab.proxy.fault(kind, method=method) as fault:
        wrong, longest, _ = judge_reads(store)
        hits = fault.hits
    figure(f'23 {kind} to {method} alone', near=near, asked=hits, wrong=len(wrong), longest=longest)
    assert hits and not wrong, wrong

@pytest.mark.parametrize('kind', ['error_in_success', 'tagged_page', 'empty'][:soak(1, 3)])
@pytest.mark.parametrize('method', ['PUT', 'POST'])
def test_a_write_alone_is_answered_with_what_is_no_answer(lab, kind, method, figure):
    before = lab.state()
    with lab.machine(False, True, timeout=0.2) as store, lab.proxy.fault(kind, method=method) as fault:
        wrong, longest, most = judge_writes(store, fault)
        # parts that nobody has kept
        wrong = [w for w in wrong if (method == 'PUT' or w[0] == 'put_huge') and not isinstance(w[1], Refused)]
        hits = fault.hits
    figure(f'23 {kind} to {method} alone', asked=hits, wrong=len(wrong), longest=longest, burnt=lab.burnt())
    assert not wrong and not lab.burnt() and (method != 'PUT' or lab.state() == before)

CONCLUSIONS = ['get', 'get_pinned', 'get_alias', 'get_large', 'get_many', 'default', 'contains', 'item', 'find',
               'stats', 'buckets']

@pytest.mark.parametrize('nth', [1, 2, 3])
def test_one_listing_alone_is_an_error_inside_a_success(lab, nth, figure):
    "Nobody is told that something is not there because of one listing"
    wrong, hits = [], 0
    for name in CONCLUSIONS:
        ask, right = READS[name]
        with lab.machine(False, False) as store, lab.proxy.fault('error_in_success', method='LIST', nth=nth) as fault:
            found = outcome(ask, store)
            hits += fault.hits
        if found not in (right, 'away'): wrong.append((name, found))
    figure(f'23 listing {nth} alone is an error inside a success', verbs=len(CONCLUSIONS), asked=hits, wrong=len(wrong))
    assert hits and not wrong, wrong


# The format of a store is looked at before anything else

FORMATS = {'another': b'{"objectstore":2}', 'a word': b'{"objectstore":"1"}', 'true': b'{"objectstore":true}',
           'nothing': b'{}', 'a list': b'[1]', 'no JSON': b'objectstore 1', 'empty': b''}

def over(request, kind: str, clean: Path):
    "Opens a store over an origin of a kind, and replaces its format"
    world = Lab(kind.removesuffix('-alone'), 2, clean, request)
    if kind.startswith('seaweed'): world.fill()
    else:
        with world.alone() as s: s.put('lab/m', 1), s.put('other/x', 1)
    def plant(raw: bytes) -> None:
        place = world.alone().origin.place
        place.delete(MARKER)
        assert place.create(MARKER, raw)
    return (world, plant, world.alone if kind.endswith('-alone')
            else lambda: ObjectStore(*world.nears, world.url, progress=False, **world.options))

@pytest.mark.parametrize('kind', ['memory', 'local', 'seaweed', 'memory-alone', 'local-alone', 'seaweed-alone'])
def test_a_store_of_another_format_is_neither_read_nor_emptied(kind, request, clean, figure):
    world, plant, open = over(request, kind, clean)
    held = world.alone().origin.bucket('lab').scan().keys()
    verbs, done = {**{k: v for k, (v, _) in READS.items()}, **{k: v for k, v in WRITES.items() if k != 'put_huge'}}, []
    for name, raw in FORMATS.items():
        plant(raw)
        for verb, ask in verbs.items():
            forget_all()
            store = open()
            try: ask(store)
            except (Unsupported, Damaged) as e: assert 'format' in str(e), e
            else: done.append((name, verb))
    plant(b'{"objectstore":1}')
    forget_all()
    assert world.alone().origin.bucket('lab').scan().keys() == held and open().get('other/x') == 1
    figure(f'23 formats of others, {kind}', formats=len(FORMATS), verbs=len(verbs), done=len(done))
    assert not done, done

def test_planted_the_format_is_not_looked_at_is_caught(request, clean):
    with planted(Origin, 'vetted', lambda self, *at: 'moves'), pytest.raises((AssertionError, NotFound)):
        test_a_store_of_another_format_is_neither_read_nor_emptied('memory-alone', request, clean, lambda *t, **v: None)

def test_the_format_of_a_native_bucket_is_looked_at_before_its_first_request(seaweed, clean):
    world = Lab('seaweed', 2, clean, SimpleNamespace(getfixturevalue=lambda n: seaweed, addfinalizer=lambda f: None))
    name = f'lab-{secrets.token_hex(4)}'
    def native(**options):
        forget_all()
        return ObjectStore('s3://', endpoint=world.proxy.endpoint, progress=False, timeout=3.0, **options)
    for options in (dict(near=False), {}):
        store = native(**options)
        store.find_or_create_bucket(name)
        place = native(near=False).origin.place.backend(name)
        v = store.put(f'{name}/m', 1)
        place.delete(MARKER), place.create(MARKER, b'{"objectstore":2}')
        for ask in (lambda s: s.get(f'{name}/m'), lambda s: s.remove_bucket(name, force=True),
                    lambda s: s.versions(f'{name}/m')):
            with pytest.raises(Unsupported, match='format 2'): ask(native(**options))
        place.delete(MARKER), place.create(MARKER, b'{"objectstore":1}')
        assert native(**options).get(v.ref) == 1
    world.proxy.__exit__()


# Planted: each is caught

def test_planted_an_empty_listing_is_believed(lab, monkeypatch):
    planted = []
    monkeypatch.setattr(RemoteBackend, 'prove', lambda self, asked='': planted.append(asked))
    with lab.machine(True, True) as store, lab.proxy.fault('page', method='LIST'): wrong = judge_reads(store)[0]
    assert planted and {'default', 'contains'} <= {name for name, _ in wrong}

def test_planted_answers_are_judged_by_their_status_alone(lab, monkeypatch):
    planted = []
    monkeypatch.setattr(RemoteBackend, '_object', lambda self, meta: planted.append(meta) or meta)
    monkeypatch.setattr(RemoteBackend, '_no_page', lambda self, key, data: data)
    monkeypatch.setattr(RemoteBackend, '_proves', lambda self, tag, data: True)
    with lab.machine(False, False, timeout=0.2) as store, warnings.catch_warnings():
        warnings.simplefilter('ignore')
        with lab.proxy.fault('page', path='records/', method='GET'): reads = judge_reads(store)[0]
        with lab.proxy.fault('tagged_page', method='PUT') as fault: writes = judge_writes(store, fault)[0]
    assert planted and reads and {'put', 'put_many'} <= {name for name, _ in writes}

class Walker(MemoryBackend):
    "A place before which a page stands: each number is called taken, none is listed"
    can = backend.Capabilities('remote', wait=0.001)
    def __init__(self): super().__init__(); self.tried = []
    def create(self, key, data): self.tried.append(key); return False
    def read(self, key, limit=None): return b'<html>'
    def list(self, folder, after=None, limit=None): return iter(())

def walk(place: Walker, limit: int = 400) -> list[str]:
    "The numbers that a claim tries, until it gives up or has tried so many"
    def build(n, at):
        if len(place.tried) >= limit: raise StopIteration
        return b'mine'
    try: Claim(place, 'f/', 'mine', build, lambda n, data: ('others', 0), patience=0.02).number(7)
    except (CommitUnknown, StopIteration): pass
    return sorted(set(place.tried))

def test_a_walk_ends_with_the_first_number_that_it_tried(monkeypatch):
    assert walk(Walker()) == ['f/' + number_key(7)]

def test_planted_a_walk_without_end_is_caught(monkeypatch):
    planted = []
    def on(self, n, *rest): planted.append(n); return n + 1
    monkeypatch.setattr(Claim, '_next', on)
    assert len(walk(Walker())) > 300 and planted

def test_a_walk_has_a_budget_where_a_listing_bears_it_out(monkeypatch):
    "A listing that shows whatever was tried as taken: the claim gives up, and names the first number"
    class Sly(Walker):
        def list(self, folder, after=None, limit=None): return (backend.Entry(k, 1, 0.0) for k in self.tried)
    monkeypatch.setattr(records, 'WALK', 20)
    place = Sly()
    with pytest.raises(CommitUnknown, match='every number from 7'):
        Claim(place, 'f/', 'mine', lambda n, at: b'mine', lambda n, data: ('others', 0), patience=0.02).number(7)
    assert len(place.tried) == 21

def test_a_directory_bucket_is_refused():
    for tier, options in [('s3://lab?s3_express=true', None), ('s3://lab--use1-az4--x-s3', None),
                          ('s3://lab', {'s3_express': 'true'})]:
        with pytest.raises(TierMismatch, match='in no order'): ObjectStore(tier, storage_options=options)

def test_a_service_with_tags_of_its_own_is_proven_once(seaweed, monkeypatch):
    """Tags that are no hash (encrypted buckets, other clouds): the first acknowledgement is read back, later ones are
    believed"""
    lab = Lab('seaweed', 2, Path('.'), SimpleNamespace(getfixturevalue=lambda n: seaweed, addfinalizer=lambda f: None))
    place, read = lab.alone().origin.place, []
    real, own = RemoteBackend._proves, RemoteBackend.read
    monkeypatch.setattr(RemoteBackend, '_proves', lambda self, tag, data: real(self, '"of-its-own"', data))
    monkeypatch.setattr(RemoteBackend, 'read', lambda self, key, limit=None: read.append(key) or own(self, key, limit))
    assert ([place.create(f'f/{number_key(i)}', b'x') for i in (1, 2, 3)] == [True] * 3
            and read == ['f/' + number_key(1)])
    lab.proxy.__exit__()

def test_an_unreadable_record_at_a_tried_number_stops_a_replay(lab):
    "It is nobody's: it may be what is delivered, and a second one would double it"
    with lab.machine(True, True) as store:
        lab.proxy.fault('close_after_commit', method='PUT', path='records/m/')
        fault = lab.proxy.fault('500', method='GET', path='records/m/')
        v = store.put('lab/m', 'once')
        assert v.pending and fault.hits
        lab.proxy.clear()
        origin = lab.alone().origin.bucket('lab')
        key, whole = origin.key('m', 4), origin.backend.read(origin.key('m', 4))
        origin.backend.delete(key), origin.backend.create(key, b'rotten')
        report = store.sync()
        assert ([o.became for o in report] == ['waits']
                and sorted(lab.alone().origin.bucket('lab').numbers('m').made) == [1, 2, 3, 4])
        origin.backend.delete(key), origin.backend.create(key, whole)
        assert not store.sync().waiting and v.wait().version == 4 and lab.alone().get('lab/m') == 'once'
