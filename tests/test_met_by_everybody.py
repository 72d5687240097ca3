"What everybody meets on the first day: history, going back, dates and durations, calls that are meant otherwise"
import re, warnings
from datetime import datetime, timedelta, timezone
import pytest
import objectstore
from objectstore import (Conflict, InvalidCall, InvalidQuery, InvalidRef, NotAvailableOffline, NotFound, ObjectStore,
                         PendingWarning, StaleWarning, Unsupported)
from objectstore.format import buckets, commit, origin_clock
from objectstore.store import history, store as store_module
from objectstore import refs
from objectstore.storage.backend import MemoryBackend, key_number, number_key
from objectstore.durations import is_duration, parse_duration
from objectstore.format.records import pack
from objectstore.storage.config import get_config
from planting import planted


@pytest.fixture(params=['memory', 'local'])
def store(request, tmp_path): return ObjectStore('memory://' if request.param == 'memory' else tmp_path/'lab')

@pytest.fixture
def churn(store):
    "An item with four versions, each of which was in production"
    for auc in (0.87, 0.91, 0.89, 0.52):
        store.put('models/churn', {'auc': auc}, metadata={'auc': auc}, alias='production')
    return store


# History

def test_history_tells_when_who_and_what(churn):
    churn.annotate('models/churn@2', {'reviewed': 'Ana'})
    churn.remove('models/churn@3')
    churn.remove_alias('models/churn', 'production')
    rows = churn.history('models/churn')
    assert [(m.what, m.ref, m.alias) for m in rows[-3:]] == [
        ('note', 'models/churn@2', None), ('removed', 'models/churn@3', None),
        ('alias removed', 'models/churn@4', 'production')]
    assert sum(m.what == 'put' for m in rows) == sum(m.what == 'alias' for m in rows) == 4
    assert [m.when for m in rows] == sorted(m.when for m in rows) and all(m.when.tzinfo and m.who for m in rows)
    assert (rows.refs == [m.ref for m in rows] and 'reviewed' in repr(rows)
            and '<table' in rows._repr_mimebundle_()['text/html'])

def test_every_verb_takes_the_refs_of_a_history(churn):
    for m in churn.history('models/churn'):
        v = churn[m.ref]
        assert churn.get(m.ref) == v.get() and churn.get_stats(m.ref)['ref'] == m.ref and len(churn.history(m.ref)) >= 2
        churn.annotate(m.ref, {'seen': True}); churn.set_alias(m.ref, 'tried'); churn.copy(m.ref, 'models/copied')
    assert churn.remove(churn.history('models/churn')[0].ref) == 1

def test_a_history_of_a_version_of_an_alias_and_of_what_is_gone(churn):
    assert {m.ref for m in churn.history('models/churn', 'production')} == {f'models/churn@{n}' for n in (1, 2, 3, 4)}
    churn.remove('models/churn@*', force=True)
    assert [m.what for m in churn.history('models/churn@2')] == ['put', 'alias', 'alias', 'removed']
    assert sum(m.what == 'removed' for m in churn.history('models/churn')) == 4
    for ref, alias in (('models/chrun', None), ('nope/churn', None), ('models/churn', 'prodction'),
                       ('models/churn@9', None)):
        with pytest.raises(NotFound): churn.history(ref, alias)
    with pytest.raises(NotFound, match='production'): churn.history('models/churn', 'prodction')

def test_a_history_spares_nothing_for_one_bad_thing(churn):
    "A record that cannot be read is a row that says so, a move that cannot be read is left out with a warning"
    bucket = churn.origin.bucket('models')
    def spoil(key):
        backend = bucket.backend
        if isinstance(backend, MemoryBackend):
            backend._objects[key] = (backend._objects[key]._replace(data=b'nonsense')
                                     if hasattr(backend._objects[key], '_replace')
                                     else (b'nonsense', *backend._objects[key][1:]))
        else:
            backend.delete(key)
            backend.create(key, b'nonsense')
    spoil(bucket.key('churn', 2)); bucket.records.clear()
    spoil(f'{bucket.prefix}aliases/churn/@production/{number_key(3)}')
    with pytest.warns(UserWarning, match='left out'): rows = churn.history('models/churn')
    assert [m.says.startswith('cannot be read') for m in rows if m.what == 'put'].count(True) == 1
    assert sum(m.what == 'put' for m in rows) == 4 and sum(m.what == 'alias' for m in rows) == 3

def test_a_history_is_a_table_for_pandas_and_polars(churn):
    pd, pl = pytest.importorskip('pandas'), pytest.importorskip('polars')
    rows = churn.history('models/churn')
    for frame in (pd.DataFrame(rows), rows.df()):
        assert (list(frame['ref']) == rows.refs
                and {'when', 'who', 'what', 'alias', 'says', 'pending'} <= set(frame.columns))
    assert pl.DataFrame(rows)['when'].to_list() == [m.when for m in rows]

def test_what_waits_is_in_the_history(tmp_path):
    from away import forget_all
    def opened(**options): return ObjectStore(tmp_path/'near', 'memory://waits', **options)
    with opened() as s: s.put('m/a', 1)
    forget_all()
    s = opened(offline=True)
    with pytest.warns(PendingWarning): v = s.put('m/a', 2)
    s.set_alias(v, 'production'); s.annotate(v, {'x': 1})
    with pytest.warns(StaleWarning): rows = s.history('m/a')
    assert [(m.what, m.pending) for m in rows] == [('put', False), ('put', True), ('alias', True), ('note', True)]
    assert {m.ref for m in rows if m.pending} == {v.ref} and s[rows[-1].ref].id == v.id
    with pytest.raises(NotAvailableOffline): s.rollback('m/a', 'production')


# Going back

def test_each_rollback_goes_one_more_step_back(churn):
    assert [churn.rollback('models/churn', 'production').version for _ in range(3)] == [3, 2, 1]
    with pytest.raises(NotFound, match='no earlier version'): churn.rollback('models/churn', 'production')
    assert churn['models/churn@production'].version == 1
    assert [m.says for m in churn.history('models/churn', 'production')[-3:]] == [
        'rolled back from @4', 'rolled back from @3', 'rolled back from @2']

def test_a_rollback_that_does_not_know_where_it_is_would_be_seen(churn):
    "Planted: the move says not to which earlier one it goes back, which is 3, 4, 3"
    hit = []
    real = commit.Bucket.move_alias
    def forgets(self, *args, back=None, **kwargs): hit.append(back); return real(self, *args[:6], **kwargs)
    with planted(commit.Bucket, 'move_alias', forgets):
        assert [churn.rollback('models/churn', 'production').version for _ in range(3)] == [3, 4, 3] and len(hit) == 3

def test_moves_between_rollbacks(churn):
    assert churn.rollback('models/churn', 'production').version == 3
    churn.put('models/churn', {'auc': 0.95}, alias='production')                                   # 1 2 3 4 (3) 5
    assert [churn.rollback('models/churn', 'production').version for _ in range(3)] == [3, 2, 1]
    churn.set_alias('models/churn@4', 'production')
    churn.remove_alias('models/churn', 'production')
    assert churn.rollback('models/churn', 'production').version == 4                               # from nowhere
    churn.remove('models/churn@1')
    # behind it lies 1, which is gone
    with pytest.raises(NotFound, match='removed'): churn.rollback('models/churn', 'production')

def test_a_rollback_to_a_version_or_a_moment(churn):
    first, second = (m.when for m in churn.history('models/churn', 'production')[:2])
    assert churn.rollback('models/churn', 'production', to=2).version == 2
    # one more step from there
    assert churn.rollback('models/churn', 'production').version == 1
    assert churn.rollback('models/churn', 'production', to='@3').version == 3
    assert churn.rollback('models/churn', 'production', to=second).version == 2
    assert churn.rollback('models/churn', 'production', to=first).version == 1
    assert churn.rollback('models/churn', 'production', to=timedelta(0)).version == 1
    churn.put('models/churn', 5)
    for to, error in ((5, NotFound), (9, NotFound), ('7d', NotFound), ('3 months', InvalidRef), (True, InvalidRef)):
        with pytest.raises(error): churn.rollback('models/churn', 'production', to=to)
    with pytest.raises(NotFound): churn.rollback('models/churn', 'staging')
    with pytest.raises(NotFound): churn.rollback('models/chrun', 'production')

def test_a_rollback_is_decided_once(churn):
    with pytest.raises(Conflict): churn.rollback('models/churn', 'production', if_at=3)
    assert churn.rollback('models/churn', 'production', if_at=churn['models/churn@4']).version == 3
    real, hit = history._back_to, []
    def slow(*args):
        found = real(*args)
        if not hit: hit.append(1); churn.set_alias('models/churn@1', 'production')      # somebody else comes between
        return found
    with planted(history, '_back_to', slow), pytest.raises(Conflict): churn.rollback('models/churn', 'production')
    assert hit and churn['models/churn@production'].version == 1

def test_a_copy_knows_how_far_an_alias_went_back(churn, tmp_path):
    churn.rollback('models/churn', 'production')
    churn.copy('models/churn@*', to=(other := ObjectStore(tmp_path/'other')))
    assert [other.rollback('models/churn', 'production').version for _ in range(2)] == [2, 1]


# Dates and durations

def _moved(store, days: int):
    "Every date of a store, so many days earlier, as if it had been then"
    return planted(buckets, 'time_there', lambda backend: datetime.now(timezone.utc) + timedelta(days=days))

def test_a_version_as_it_was_some_days_ago(churn):
    with pytest.raises(NotFound, match='the first of them of 20'): churn['models/churn@7d']
    with _moved(churn, 7):
        assert [churn[f'models/churn@{t}'].version for t in ('7d', '6d', '3 d', '1h')] == [4] * 4
        with pytest.raises(NotFound): churn['models/churn@2 weeks']
        assert churn['models/churn@production@6d'].version == 4 and churn['models/churn@latest@6d'].version == 4
        with pytest.raises(NotFound, match='first set'): churn['models/churn@production@8d']
        assert (churn.find_items('models', at='6d').refs == churn.find_items('models', at=timedelta(6)).refs
                == ['models/churn@4'] and not churn.find_items('models', at='8d'))
    second = churn.history('models/churn', 'production')[1].when
    assert churn[f'models/churn@production@{second.isoformat()}'].version == 2
    assert churn.find_items('models', at=f'production@{second.isoformat()}').refs == ['models/churn@2']

def test_an_alias_that_was_removed_is_nowhere_then(churn):
    churn.remove_alias('models/churn', 'production')
    with pytest.raises(NotFound, match='pointed nowhere then; it was removed'): churn['models/churn@production@0s']
    churn.set_alias('models/churn@1', 'staging')
    with pytest.raises(NotFound, match='staging'): churn['models/churn@stagign@0s']

def test_the_clock_of_the_origin_counts(store, monkeypatch):
    "Not the reader's: planted, a machine whose clock is a year ahead"
    store.put('m/a', 1)
    far = datetime.now(timezone.utc) + timedelta(days=365)
    class Ahead(datetime):
        @classmethod
        def now(cls, tz=None): return far
    with planted(origin_clock, 'datetime', Ahead):
        with pytest.raises(NotFound): store['m/a@7d']
        clock = origin_clock.clock_of(store.origin.bucket('m').backend)
        # planted: nothing was told, so the machine is asked
        clock._told = origin_clock.NEVER
        monkeypatch.setattr(origin_clock.OriginClock, '_ask', lambda self, ask: (_ for _ in ()).throw(OSError()))
        assert store['m/a@7d'].version == 1

def test_a_duration_cannot_become_an_alias_and_one_that_is_there_can_be_read_and_removed(churn):
    for word in ('7d', '12h', '2 weeks', '30min', '90s', '3months', '1y'):
        assert is_duration(word)
        with pytest.raises(InvalidRef, match='duration'): churn.set_alias('models/churn@1', word)
        with pytest.raises(InvalidRef, match='duration'): churn.put('models/churn', 1, alias=word)
    for word in ('v2x', '4k', 'd7', 'seven', '2nd', '3way'): churn.set_alias('models/churn@1', word)
    bucket = churn.origin.bucket('models')
    # as it was before durations were selectors
    bucket.move_alias('churn', '7d', 2, 'ana')
    with pytest.warns(UserWarning, match="'7d' reads as a duration"): assert churn.aliases('models/churn')['7d'] == 2
    assert [m.ref for m in churn.history('models/churn', '7d')] == ['models/churn@2']
    assert churn.remove_alias('models/churn', '7d') and '7d' not in churn.aliases('models/churn')

def test_one_grammar_for_durations(tmp_path, monkeypatch):
    s = ObjectStore('memory://', timeout='2 s', max_age=timedelta(minutes=1))
    assert (s.timeout, s.max_age) == (2.0, 60.0)
    s.put('m/a', 1)
    assert (s.get('m/a', max_age='10 min') == 1 and [*s.watch('m/a', timeout='10 ms')] == []
            and s['m/a'].wait('1 s').version == 1)
    for bad in ('7', '3 m', '-1 s', 'soon', -1, True, float('nan')):
        with pytest.raises(ValueError, match='timeout'): ObjectStore('memory://', timeout=bad)
    with pytest.raises(InvalidQuery, match='max_age'): s.get('m/a', max_age='soon')
    monkeypatch.setenv('OBJECTSTORE_TIMEOUT', '500 ms'); monkeypatch.setenv('OBJECTSTORE_MAX_AGE', '90')
    assert (get_config(start=tmp_path).timeout, get_config(start=tmp_path).max_age) == (0.5, 90)
    for text in ('90 s', '10 min', '12 h', '7 d', '2 weeks', '1.5h', '1 day', '3 Weeks'):
        assert parse_duration(text) > timedelta(0)


# Conditions

def test_conditions_as_people_write_them(store):
    store.put('m/a', {'x': 1}, metadata={'accuracy': 0.95, 'day': '2026-11-05', 'delta': -0.7})
    store.put('m/b', 'x' * 150_000, metadata={'accuracy': 0.5, 'day': '2026-10-05', 'delta': 0.7})
    def found(where, **kw): return [v.item for v in store.find_items('m', where=where, sort='item', **kw)]
    for where, want in {'accuracy > .9': 'a', 'accuracy>.9': 'a', 'delta < -.5': 'a', 'accuracy < 1.': 'ab',
                        'day > 2026-11-01': 'a', 'day BETWEEN 2026-10-01 AND 2026-10-31': 'b',
                        'day IN (2026-11-05, 2026-01-01)': 'a', '2026-11-01 < day': 'a',
                        'created > now() - 7 days': 'ab', 'created>now()-7d': 'ab', 'created < NOW() - 1 h': '',
                        "created > now() - interval '2 weeks'": 'ab', 'created >= today()': 'ab',
                        'created > 2026-01-01T12:00 AND accuracy > .9': 'a', "size > '100 kB'": 'b',
                        'size > 100kB': 'b', 'size < 1 MB AND size > 100 kB': 'b',
                        "size BETWEEN '1 B' AND '1 KiB'": 'a', 'day > 2026-11-01 OR accuracy > .9': 'a'}.items():
        assert found(where) == [*want], where
    assert found({'size': '150 kB'}) == [*'b'] and found('size > :s', params={'s': '100 kB'}) == [*'b']
    for where, why in {'created > 2026-13-01': 'is no date', 'created > now() - 2 months': 'no fixed length',
                       'created > now() - 999999999 d': 'no such time', "size > 'big'": 'is no size',
                       'day > 2026-11-01-02': 'arithmetic', 'created > now() - 7': 'arithmetic', 'x > now': 'no record',
                       'now(1) > 3': 'functions'}.items():
        if why == 'no record': continue
        with pytest.raises(InvalidQuery, match=why): found(where)
    with pytest.raises(InvalidQuery, match='is no size'): found({'size': 'big'})

def test_find_items_takes_a_ref(store):
    for name in ('churn', 'churn/weekly', 'churns', 'a', 'churn0'):
        store.put(f'models/{name}', 1)
        store.put(f'models/{name}', 2)
    def found(*args, **kw): return store.find_items(*args, sort='item', **kw).refs
    assert (found('models/churn') == ['models/churn@2', 'models/churn/weekly@2']
            and found('models/churn@1') == ['models/churn@1', 'models/churn/weekly@1'])
    assert (len(found('models/churn@*')) == 4 and found('models/churn', 'week') == ['models/churn/weekly@2']
            and len(found('models/')) == 5)
    assert (found('models/churn', where='version = 1') == []
            and found('models/churn', at=1) == ['models/churn@1', 'models/churn/weekly@1'])
    assert 'did you mean' in store.find_items('models/chrun').why
    with pytest.raises(InvalidQuery, match='one of them'): found('models/churn@1', at=2)
    with planted(ObjectStore, '_from_index', lambda self, q: (_ for _ in ()).throw(objectstore.store.find.IndexAway())):
        assert (found('models/churn') == ['models/churn@2', 'models/churn/weekly@2']
                and 'chrun' in store.find_items('models/chrun').why)

def test_what_is_sorted_or_filtered_by_is_a_column(store):
    pl = pytest.importorskip('polars')
    for f1 in (0.7, 0.9): store.put('m/a', f1, metadata={'metrics': {'f1': f1, 'auc': 1}, 'b': {'c': {'d': 3}}})
    for index in (True, False):
        with planted(ObjectStore, '_from_index', ObjectStore._from_index if index else
                     lambda self, q: (_ for _ in ()).throw(objectstore.store.find.IndexAway())):
            found = store.find_items('m', at='*', where='metrics.f1 > .5', sort='-b.c.d')
            head = repr(found).splitlines()[1].split()
            assert ({'metrics.f1', 'b.c.d'} <= {*head} and 'metrics.auc' not in head
                    and {'metrics.f1', 'b.c.d'} <= {*repr(found[:1]).splitlines()[1].split()})
            assert (found.df()['metrics.f1'].tolist() == found['metrics.f1']
                    and pl.DataFrame(found)['b.c.d'].to_list() == [3, 3])


# Results as tables, and places in them

def test_results_are_tables(churn):
    pd, pl = pytest.importorskip('pandas'), pytest.importorskip('polars')
    churn.put('models/churn', 1, metadata={'auc': 'high', 'path': 'p', 'size': 3, 'tags': ['a'], 'deep': {'x': 1}})
    for found in (churn.versions('models/churn'), churn.find_items('models', at='*'),
                  churn.find_items('models', at='*')[:3], churn.versions('models/churn')[-2:]):
        frames = pd.DataFrame(found), found.df()
        for frame in frames:
            assert (frame['ref'].tolist() == found.refs and frame['metadata.size'].dropna().tolist() in ([3], [])
                    and 'deep.x' in frame.columns or 'deep.x' not in frame.columns)
        assert frames[0]['auc'].tolist() == frames[1]['auc'].tolist() == found['auc']
        assert (pl.DataFrame(found)['ref'].to_list() == found.refs
                and pl.DataFrame(found)['created'].to_list() == [v.created for v in found])
    assert len(pl.DataFrame(churn.find_items('models', where='version = 99'))) == 0

def test_a_place_in_versions_is_not_taken_for_a_number(churn):
    all = churn.versions('models/churn')
    for i in (1, 3, 99):
        with pytest.raises(InvalidRef, match=re.escape(f"store['models/churn@{i}']")): all[i]
    assert (all[0].version == 1 and all[-1].version == 4 and all[1:3].refs == ['models/churn@2', 'models/churn@3']
            and [v.version for v in all] == [1, 2, 3, 4] and list(all)[3].version == 4)
    assert ([v.version for v in reversed(all)] == [4, 3, 2, 1] and all[-1] in all and all.index(all[-1]) == 3
            and all['auc'] == [0.87, 0.91, 0.89, 0.52])


# Calls

def test_a_call_that_is_meant_otherwise_says_how_it_is_done(churn):
    for call, why in [(lambda: churn.get('models/churn', version=3), "'models/churn@3'"),
                      (lambda: churn.get('models/churn', 3), "'models/churn@3'"),
                      (lambda: churn.get('models/churn@1', 3), "'models/churn@3'"),
                      (lambda: churn.put('models/churn', 1, {'auc': 1}), 'metadata='),
                      (lambda: churn.put('models/churn', 1, tags={}), 'metadata='),
                      (lambda: churn.put('models/churn', 1, version=4), 'next number'),
                      (lambda: churn.find_items('models', limt=3), "'limit'"),
                      (lambda: churn.find_items('models', order_by='auc'), 'sort='),
                      (lambda: churn.versions('models/churn', 3), "store['models/churn@3']"),
                      (lambda: churn.get(), "'ref'"), (lambda: churn.set_alias('models/churn@1'), "'alias'"),
                      (lambda: ObjectStore('memory://', timout=3), "'timeout'"),
                      (lambda: churn.put_many([], metdata=1), "'metadata'"), (lambda: churn.sync(1), 'sync('),
                      (lambda: churn['models/churn'].get(bytes), 'as_='),
                      (lambda: churn.rollback('models/churn', 'production', version=3), "'models/churn@3'"),
                      (lambda: churn.history('models/churn', since='7d'), 'history(ref, alias'),
                      (lambda: churn.care.compact(bukcet='m'), "'bucket'"),
                      (lambda: churn['models/churn'].compare(), "'other'")]:
        with pytest.raises(InvalidCall, match=re.escape(why)) as e: call()
        assert isinstance(e.value, TypeError) and isinstance(e.value, objectstore.ObjectStoreError)

def test_every_verb_explains_a_call(churn):
    "No bare TypeError, whatever a public verb is called with"
    from objectstore.store.opening import PUBLIC
    attributes = {'near', 'care', 'tiers'}
    for name in set(PUBLIC) - attributes - {'calculated', 'browse', 'close'}:
        with pytest.raises(InvalidCall): getattr(churn, name)(nonsense_=1)
        with pytest.raises(InvalidCall): getattr(churn, name)(*range(12))
    v = churn['models/churn']
    for name in ('get', 'path', 'open', 'wait', 'compare'):
        with pytest.raises(InvalidCall): getattr(v, name)(nonsense_=1)

def test_a_type_error_from_within_stays_what_it_is(churn):
    with planted(ObjectStore, '_answer', lambda self, ref, max_age: None + 1), pytest.raises(TypeError) as e:
        churn.get('models/churn')
    assert not isinstance(e.value, InvalidCall)

def test_nobody_looks_for_a_hint_where_all_is_well(monkeypatch):
    "A hint takes longer than a near get"
    asked, store = [], ObjectStore('memory://', progress=False)
    monkeypatch.setattr(store_module, 'no_attribute', lambda *a: asked.append(a[1]) or AttributeError(a[1]))
    store.put('lab/m', {'a': 1}, alias='production')
    assert (store.get('lab/m') == store.get('lab/m@production') == store['lab/m'].get() == {'a': 1}
            and store.find_items().refs == ['lab/m@1'])
    assert not asked
    with pytest.raises(AttributeError): store.compare
    assert asked == ['compare']

def test_verbs_of_other_libraries_are_named(churn):
    for name, how in dict(compare='store[ref].compare(4)', delete='store.remove(ref)', load='store.get(ref)',
                          diff='compare', list_items='find_items', find_itmes="'find_items'",
                          exists='ref in store').items():
        with pytest.raises(AttributeError, match=re.escape(how)): getattr(churn, name)
    with pytest.raises(AttributeError, match="'metadata'"): churn['models/churn'].metadta
    assert (not hasattr(churn, 'compare') and not hasattr(churn, '_repr_png_')
            and not hasattr(churn['models/churn'], '__array__'))

def test_what_fails_within_is_told_as_it_was(churn):
    "A property that fails is not said to be missing"
    v = churn['models/churn']
    with (planted(ObjectStore, 'notes_of', lambda self, v: v.no_such_thing),
          pytest.raises(AttributeError, match='no_such_thing')):
        v.metadata

def test_odd_values_are_refused_in_words(churn, tmp_path):
    "What is no ref, no time, no place: an error of the library's own, whatever verb it is given to"
    import inspect
    given = dict(get=('models/churn',), put=('models/new', 1), annotate=('models/churn@1',),
                 set_alias=('models/churn@1',), remove_alias=('models/churn',), history=('models/churn',),
                 rollback=('models/churn', 'production'), find_items=(), versions=(), aliases=(), put_many=(),
                 get_many=(), explain=(), get_stats=(), copy=(), remove=(), list_buckets=(), find_or_create_bucket=(),
                 remove_bucket=())
    odd, tried = [5, -1, 2.5, b'x', ['x'], {}, object(), '', float('nan'), datetime.now(), len, str, ...], 0
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        for verb, args in given.items():
            for k, (name, p) in enumerate(inspect.signature(getattr(churn, verb)).parameters.items()):
                for x in odd:
                    tried += 1
                    try:
                        getattr(churn, verb)(*args,
                                             **{name: x}) if p.kind is p.KEYWORD_ONLY or k >= len(args) else getattr(
                            churn, verb)(*args[:k], x, *args[k + 1:])
                    except objectstore.ObjectStoreError: pass
        for x in (5, b'x', ['x'], object()):
            with pytest.raises(InvalidCall): churn['models/churn'].path(to=x)
            for found in (churn.find_items('models'), churn.find_items('models')[:1]):
                if not isinstance(x, int):
                    with pytest.raises(InvalidCall, match='no place'): found[x]
    assert tried > 500

def test_compare_takes_a_number_a_selector_or_a_ref(churn):
    v = churn['models/churn@1']
    for other in (4, '4', '@4', '@production', 'production', 'models/churn@4', churn['models/churn@4'], -1, '@latest'):
        assert v.compare(other)['auc'] == (0.87, 0.52), other
    with pytest.raises(NotFound): v.compare(9)


# Numbers

def _planted(backend, key: str, n: int, bucket: str = 'm', item: str = 'a'):
    "A record as somebody may have written it by hand"
    r = objectstore.format.records.unpack(backend.read(key), bucket, item, 1)
    from dataclasses import replace
    backend.create(key.rpartition('/')[0] + f'/{n:010d}', pack(replace(r, version=n)))

@pytest.mark.parametrize('n', [2**31, 9_999_999_999])
def test_a_number_that_nobody_gives_is_left_out_and_told(store, n):
    store.put('m/a', 'one')
    bucket = store.origin.bucket('m')
    _planted(bucket.backend, bucket.key('a', 1), n)
    for fresh in (store, ObjectStore(*store.tiers) if store.tiers[0] != 'memory://' else store):
        with pytest.warns(UserWarning, match='2,147,483,647'): all = fresh.versions('m/a')
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            assert fresh.put('m/a', 'more').version == all[-1].version + 1 and fresh.get('m/a') == 'more'
            assert fresh.care.compact('m', whole=True) and len(fresh.find_items('m', at='*')) == all[-1].version + 1
    with pytest.raises(InvalidRef, match='2,147,483,647'): store.get(f'm/a@{n}')

def test_the_last_number_is_said_to_be_the_last(store):
    store.put('m/a', 'one')
    bucket = store.origin.bucket('m')
    _planted(bucket.backend, bucket.key('a', 1), refs.MAX_VERSION)
    bucket.forget()
    for put in (lambda: store.put('m/a', 'more'), lambda: store.put_many({'m/a': 1, 'm/b': 2})):
        with pytest.raises(Unsupported, match='last number'): put()
    assert store.get('m/b') == 2 and store.care.compact('m', whole=True)

def test_a_store_that_counts_on_would_be_seen(store):
    "Planted: no bound"
    store.put('m/a', 'one')
    bucket, hit = store.origin.bucket('m'), []
    _planted(bucket.backend, bucket.key('a', 1), refs.MAX_VERSION)
    bucket.forget()
    with planted(objectstore.format.records.Claim, '_fits', lambda self, n: hit.append(n)): v = store.put('m/a', 'more')
    # which no listing shows
    assert hit and v.version == refs.MAX_VERSION + 1 and key_number(bucket.key('a', v.version)) is None


# What is said when something is made, or was never there

def _says(call, match: str | None) -> list[str]:
    "The warnings of a call that speak of something; none where `match` is None"
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter('always', UserWarning)
        call()
    told = [str(w.message) for w in seen if issubclass(w.category, UserWarning)]
    assert (any(re.search(match, t) for t in told) if match else not told), told
    return told

def test_text_that_names_a_file_is_warned_of_before_the_put(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('HOME', str(tmp_path))
    (tmp_path/'photos').mkdir(); (tmp_path/'notes').write_text('x'); (tmp_path/'a.csv').write_text('x')
    for text, says in {'photos': r"Path\('photos'\) would store the folder", 'notes': 'would store the file',
                       './a.csv': 'would store the file', '~/a.csv': r'expanduser\(\) would store the file',
                       str(tmp_path): 'folder', 's3://lab/models/churn.pkl': 'at that address',
                       'gs://lab/x': 'at that address', 'file:///data/x.csv': 'at that address',
                       'https://minio.lab:9000/lab/x.parquet': 'at that address',
                       'https://example.com/data.csv?version=3': 'at that address'}.items():
        _says(lambda: store.put('m/a', text), says); _says(lambda: store.put_many({'m/a': text}), says)
        assert store.get('m/a') == text
        with warnings.catch_warnings():
            warnings.simplefilter('error', UserWarning)
            n = store['m/a'].version
            with pytest.raises(UserWarning): store.put('m/a', text)
            assert store['m/a'].version == n                                # it was said before anything was stored
            store.put('m/a', text, codec='text')                            # who says text means text
    for text in ('hello', 'photo', 'see s3://lab/x for it', 'https://example.com', 'https://example.com/page.html',
                 'notes\nphotos', '', ' ', 'x' * 5000, 'a\0b'):
        _says(lambda: store.put('m/a', text), None)

def test_a_warning_points_at_the_line_that_called(tmp_path, store, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path/'photos').mkdir()
    for call in (lambda: store.put('m/a', 'photos'), lambda: store.put_many({'m/b': 'photos'}),
                 lambda: store.put('m/A', 1), lambda: store.remove_bucket('never')):
        with pytest.warns(UserWarning) as seen: call()
        assert seen[0].filename == __file__

def test_names_that_differ_by_case_alone_are_told(store):
    store.put('models/churn', 1)
    _says(lambda: store.put('models/Churn', 1),
          "models/Churn is a new item, and differs from models/churn by case alone")
    _says(lambda: store.put('models/Churn', 2), None)                       # it is not new any more
    _says(lambda: store.put('models/churn/x', 2), None)
    _says(lambda: store.put_many({'models/CHURN': 1, 'models/other': 1}), 'CHURN.*differs from models/churn')
    _says(lambda: store.put('Models/churn', 1),
          "bucket 'Models' is new, and differs from bucket 'models' by case alone")
    _says(lambda: store.find_or_create_bucket('MODELS'), 'differs from bucket')
    _says(lambda: store.find_or_create_bucket('data'), None)
    _says(lambda: store.find_or_create_bucket('MODELS'), None)
    assert (store.get('models/churn') == 1 and store.get('models/Churn') == 2
            and store.list_buckets() == ['MODELS', 'Models', 'data', 'models'])

@pytest.mark.parametrize('searched', [True, False])
def test_another_process_is_told_of_names_that_differ_by_case(tmp_path, searched):
    store = ObjectStore(tmp_path/'lab')
    store.put('models/churn', 1)
    if searched: store.find_items('models')
    _says(lambda: ObjectStore(tmp_path/'lab').put('models/CHURN', 1), 'differs from models/churn')

@pytest.mark.parametrize('searched', [True, False])
def test_aliases_that_differ_by_case_alone_are_told(churn, searched):
    if searched: churn.find_items('models')
    for move in (lambda: churn.set_alias('models/churn@1', 'Production'),
                 lambda: churn.put('models/churn', 5, alias='PRODUCTION')):
        _says(move, "differs from .*'[pP]roduction' by case alone")
    _says(lambda: churn.set_alias('models/churn@2', 'production'), None)
    _says(lambda: churn.set_alias('models/churn@2', 'staging'), None)

def test_a_bucket_that_never_was_is_told(store):
    store.put('models/churn', 1)
    assert (_says(lambda: store.remove_bucket('modles'), 'there never was a bucket')
            and 'models' in _says(lambda: store.remove_bucket('modles'), 'did you mean')[0])
    assert store.remove_bucket('models', force=True) is True
    _says(lambda: store.remove_bucket('models'), None)                      # it was, and is gone
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        assert store.remove_bucket('never') is True


# Progress

class Line:
    "A service that takes parts one after another, and shows what has arrived"
    def __init__(self, at_once: int, hold: int = 0): self.at_once, self.arrived, self.hold = at_once, 0, hold

    def put(self, client, key, parts, *, chunk_size, max_concurrency, **kwargs):
        """As a client does it: at most so many parts are on their way, and the next is asked for when one of them is
        there"""
        away = []
        for data in parts:
            while len(away) >= max_concurrency: self.arrived += away.pop(0)
            away.append(len(data))
        self.arrived += sum(away)

@pytest.mark.parametrize('parts', [3, 5, 13, 40, 200])
def test_a_bar_counts_what_has_arrived(tmp_path, parts):
    from objectstore.storage import remote
    from objectstore.storage.atomic import PIECE
    size = parts * PIECE - 17
    line, claims, file = Line(12), [], tmp_path/'big'
    with open(file, 'wb') as f: f.truncate(size)
    import obstore
    backend = object.__new__(remote.RemoteBackend)
    backend.url = 's3://lab'
    def progress(n): claims.append((sum(c for c, _ in claims[-1:]) + n, line.arrived))
    with (planted(obstore, 'put', line.put), planted(remote.RemoteBackend, 'exists', lambda self, key: False),
          planted(remote.RemoteBackend, '_request', lambda self, kind, call: call(None))):
        backend.upload('payloads/aa/x', file, progress)
    assert claims and all(claimed <= arrived for claimed, arrived in claims) and claims[-1][0] == size == line.arrived
    if parts >= 13: assert claims[0][0] <= size / 4 + 2 * PIECE and len(claims) > parts // 2

def test_an_upload_that_begins_anew_is_not_counted_twice(tmp_path):
    from objectstore.storage import remote
    told = []
    arrived = remote.Arrived(told.append)
    with open(tmp_path/'big', 'w+b') as f:
        f.truncate(100)
        parts = remote._parts(f, 10, arrived, 2)
        for _ in range(7): next(parts)                  # credentials are refused in the middle
        assert sum(told) == arrived.now == 30
        assert len([*remote._parts(f, 10, arrived, 2)]) == 10
        arrived(100 - arrived.now)
    assert sum(told) == 100

def test_a_bar_that_counts_what_was_handed_over_would_be_seen(tmp_path):
    "Planted: each part counts as soon as the client has taken it"
    from objectstore.storage import remote
    hit = []
    def eager(f, part, arrived, at_once):
        while data := f.read(part):
            yield data
            hit.append(1); arrived(len(data))
    with planted(remote, '_parts', eager), pytest.raises(AssertionError):
        test_a_bar_counts_what_has_arrived(tmp_path, 40)
    assert hit

def test_a_bar_is_there_before_anything_has_arrived(capsys):
    from objectstore.cache.download import Progress
    with Progress('put m/a', 10**9, True, after=0.01) as p:
        while p.bar is None: pass
        assert p.bar.n == 0
        p(10**9)
    with Progress('put m/b', 10**9, True, after=3600): pass
    with Progress('put m/c', 100, True, after=3600) as small: assert small._timer is None
    assert 'm/b' not in capsys.readouterr().err and not p._timer.is_alive()

def test_a_bar_counts_what_a_service_has_got(seaweed, monkeypatch, tmp_path, figure):
    "A line of 20 MB/s a connection: the parts that have gone by the proxy, and what the bar says of them"
    from proxy import Proxy
    from services import Place
    for name, value in seaweed.environment.items(): monkeypatch.setenv(name, value)
    big, claims = tmp_path/'big', []
    big.write_bytes(b'x' * 100_000_000)
    with Proxy(seaweed.endpoint, rate=20e6) as line, line.counting() as count:
        store = ObjectStore(Place(seaweed).url, endpoint=line.endpoint, near=False)
        def arrived(): return sum(r.sent for r in list(count) if r.method == 'PUT')
        def progress(n): claims.append((sum(c for c, _ in claims[-1:]) + n, arrived()))
        store.origin.place.upload('lab/payloads/aa/big', big, progress)
    assert all(claimed <= there for claimed, there in claims) and claims[-1][0] == 100_000_000 and len(claims) > 5
    figure('progress: claimed against arrived, MB', ticks=len(claims),
           most_ahead=max(0, max(c - a for c, a in claims)) / 1e6, most_behind=max(a - c for c, a in claims) / 1e6)


# What it costs

def test_requests_of_history_rollback_and_dates(seaweed, monkeypatch, figure):
    "Listings do not grow with the number of versions, and a date asks the clock once"
    from proxy import Proxy
    from services import Place
    for name, value in seaweed.environment.items(): monkeypatch.setenv(name, value)
    with Proxy(seaweed.endpoint) as line:
        store = ObjectStore(Place(seaweed).url, endpoint=line.endpoint, near=False)
        for n in range(4): store.put('lab/churn', n, alias='production')
        store.put('lab/churn/other', 1, alias='production')
        store.annotate('lab/churn@2', {'x': 1})
        def asked(call):
            with line.counting() as count: call()
            return count
        told = asked(lambda: store.history('lab/churn'))
        # four moves, a note; the records are in memory
        assert (told.verbs == {'LIST': 3, 'GET': 5}
                and not any('other' in r.path for r in told if r.method == 'GET' and r.verb == 'GET'))
        assert asked(lambda: store.history('lab/churn', 'production')).verbs == {'LIST': 1, 'GET': 4}
        back = asked(lambda: store.rollback('lab/churn', 'production'))
        assert store['lab/churn@production'].version == 3 and back.verbs['PUT'] == 1
        then = asked(lambda: [store[f'lab/churn@{t}'] for t in ('1ms', '2ms', '3ms')])
        assert then.verbs.get('HEAD', 0) <= 1
        figure('requests: history / of an alias / rollback / three dates', history=len(told), alias=5,
               rollback=f'{len(back)} {back.verbs}', dates=f'{len(then)} {then.verbs}')
