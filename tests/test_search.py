"""Search: the index answers what a plain look at the records answers, whatever is asked and whatever happens to the
index.

The oracle is `plain.plainly`, which reads every record and decides in Python; a private index, which answers where
there is no other, must say the same. `make soak`: 10,000 conditions.
"""
import contextlib, os, random, re, shutil, sqlite3, subprocess, sys, threading, time, warnings
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timezone
from pathlib import Path
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from objectstore.search.changelog import flush_hints
from objectstore import InvalidQuery, ObjectStore
from objectstore.search.encoding import cell, text_reader
from objectstore.search.local_index import FORMAT, Index, Writer
from objectstore.search.predicate import Name
from objectstore.versions.version import Versions
from objectstore.search.keeper import as_known
from objectstore.search.changelog import read_log
from plain import plainly, privately, sort_cell
from planting import planted_here
from trial import PATIENCE, soak, together


@pytest.fixture(autouse=True)
def ground(tmp_path, monkeypatch):
    for k, d in dict(OBJECTSTORE_STATE_DIR='state', OBJECTSTORE_CACHE_DIR='cache', HOME='home').items():
        monkeypatch.setenv(k, str(tmp_path/d))
    monkeypatch.chdir(tmp_path)
    return tmp_path

def facts(v):
    return (v.ref, v.id, v.size, v.hash, v.kind, v.codec, v.author, v.metadata, v.notes, v.stats, v.aliases, v.created,
            v.pending)

def agree(store, **asked):
    "Three answers, which are the same: of the index, of a private one, and of the oracle"
    def tried(f):
        try: return f(**asked)
        except InvalidQuery as e: return e
    expected, own, found = (tried(f) for f in (lambda **kw: plainly(store, **kw), lambda **kw: privately(store, **kw),
                                               store.find_items))
    # a key is known where any version has it, for the records where one that is meant does
    if any(isinstance(x, Exception) for x in (expected, own, found)):
        assert (all('no record here' in str(e) for e in (expected, own, found) if isinstance(e, Exception))
                or type(expected) is type(own) is type(found)), (expected, own, found)
        return []
    # of one moment, or of one item and waiting: which is the first is nobody's to say
    order = ((lambda vs: sorted(map(str, vs))) if asked.get('sort', '-created').lstrip('-') == 'created'
             else (lambda vs: ([f'{v.item} waits' if v.pending else str(v) for v in vs], sorted(map(str, vs)))))
    assert order(found) == order(expected), (asked, found._search and found._search.where)
    assert order(own) == order(expected), asked
    created = [v.created for v in found]
    if asked.get('sort', '-created') == '-created': assert created == sorted(created, reverse=True)
    return found


# What is asked, fuzzed

WORDS = st.sampled_from(['prod', 'dev', 'Ann', 'ann lee', 'été', '', 'a%b', 'a_b', "it's", '2026-11-01',
                         '2026-10-31T12:00', '-5', 'x' * 300, '\U0001f600', 'Straße', "'; DROP TABLE versions; --",
                         '\x00', 'NULL'])
NUMBERS = st.one_of(st.integers(-3, 3), st.floats(-3, 3, allow_nan=False).map(lambda x: round(x, 1)),
                    st.sampled_from([2**53, 2**53 + 1, 2.0**53, 2**63 - 1, 2**63, -2**63, 2**70, 1e300, 0.1, -0.0]))
SCALARS = st.one_of(WORDS, NUMBERS, st.booleans(), st.none())
VALUES = st.one_of(SCALARS, SCALARS, st.lists(SCALARS, max_size=3),
                   st.dictionaries(st.sampled_from(['f1', 'auc', 'x.y']), SCALARS, max_size=2))
KEYS = ['auc', 'stage', 'm', 'm.f1', 'a key', 'tags', 'Stage', 'rows', "qu'ote", 'size', 'order']
METADATA = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=5)
NAMES = st.sampled_from(['auc', 'stage', 'm', 'm.f1', 'm.x.y', '"a key"', 'tags', '"Stage"', 'stats.rows', 'rows',
                         '"qu\'ote"', 'metadata.size', 'size', 'item', 'version', 'created', 'kind', 'codec', 'author',
                         'alias', 'pending', 'bucket', 'id', 'hash', '"order"', 'nothing_has_it'])
PARAMS = st.one_of(SCALARS.filter(lambda v: v is not None),
                   st.sampled_from([date(2026, 11, 1), datetime(2026, 10, 31, 12),
                                    datetime(2026, 11, 1, tzinfo=timezone.utc), date(1970, 1, 1), float('inf'),
                                    '\ud800']))

TIMES = st.sampled_from(['2026-11-01', '2099-01-01', '1990-01-01T12:00', date(2030, 1, 1),
                         datetime(2020, 1, 1, tzinfo=timezone.utc), datetime.now(timezone.utc).isoformat()])

@st.composite
def conditions(draw, depth=2):
    "Text of a condition, and its parameters"
    params, n = {}, [0]
    def param(v): n[0] += 1; params[f'p{n[0]}'] = v; return f':p{n[0]}'
    def leaf():
        name = draw(NAMES)
        form = draw(st.sampled_from(['compare', 'compare', 'compare', 'in', 'between', 'like', 'null', 'names', 'bare',
                                     'literal', 'alias', 'created']))
        if form == 'compare':
            return f"{name} {draw(st.sampled_from(['=', '!=', '<', '<=', '>', '>=']))} {param(draw(PARAMS))}"
        if form == 'in':
            return (f"{name} {draw(st.sampled_from(['', 'NOT ']))}IN "
                    f"{param(draw(st.lists(PARAMS, min_size=1, max_size=4)))}")
        if form == 'between': return f'{name} BETWEEN {param(draw(PARAMS))} AND {param(draw(PARAMS))}'
        if form == 'like':
            return (f"{name} {draw(st.sampled_from(['LIKE', 'ILIKE', 'NOT LIKE']))} "
                    f"{param(draw(st.sampled_from(['p%', '%n', 'a_b', 'A%', '%', 'Stra%', 'models/%', '20%'])))}")
        if form == 'null': return f"{name} IS {draw(st.sampled_from(['', 'NOT ']))}NULL"
        if form == 'names': return f"{name} {draw(st.sampled_from(['=', '<', '>=']))} {draw(NAMES)}"
        if form == 'bare': return name
        if form == 'alias':
            return draw(st.sampled_from(["alias = 'production'", "alias = 'best'", "alias = 'a%b'", "alias <> 'best'",
                                         "alias IN ('best', 'production')", "alias LIKE 'prod%'", 'alias IS NULL',
                                         'alias IS NOT NULL', "alias > 'b'"]))
        if form == 'created':
            return f"created {draw(st.sampled_from(['=', '!=', '<', '<=', '>', '>=']))} {param(draw(TIMES))}"
        return f"{name} = {draw(st.sampled_from(['1', '0.5', 'TRUE', repr('prod')]))}"
    def node(d):
        kind = draw(st.sampled_from(['leaf', 'leaf', 'and', 'or', 'not'])) if d else 'leaf'
        if kind == 'leaf': return leaf()
        if kind == 'not': return f'NOT ({node(d - 1)})'
        return f"({node(d - 1)} {kind.upper()} {node(d - 1)})"
    return node(depth), params

@pytest.fixture(scope='module')
def filled(tmp_path_factory):
    "A store with many unlike versions, from a fixed seed"
    state = os.environ.get('OBJECTSTORE_STATE_DIR')
    os.environ['OBJECTSTORE_STATE_DIR'] = str(tmp_path_factory.mktemp('state'))
    store, rows = ObjectStore(str(tmp_path_factory.mktemp('store')), durable=False), []
    @settings(max_examples=120, database=None, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
    @given(METADATA)
    def gather(m): rows.append(m)
    gather()
    for i, m in enumerate(rows):
        store.put(f'lab/{"models/" if i % 3 else ""}m{i % 40}', b'x' * (i % 7), metadata=m,
                  kind=('model', 'data', 'slip')[i % 3])
    for i in range(0, 30, 3):
        v = store[f'lab/{"models/" if i % 3 else ""}m{i}']
        store.set_alias(v, 'production'), store.set_alias(v, ('best', 'a%b')[i % 2])
        store.annotate(v, {'stage': 'checked', 'auc': None, 'tags': ['x', i]})
    store.remove('lab/models/m1@1'), store.remove('lab/models/m2@*')
    if state is None: del os.environ['OBJECTSTORE_STATE_DIR']
    else: os.environ['OBJECTSTORE_STATE_DIR'] = state
    store.find_items()
    store._selected = read_once(store)
    return store

def read_once(store):
    "What a selector means, read from the records once: nothing changes in the store that is asked"
    seen, selected = {}, store._selected
    def once(name, at, passes):
        if (name, str(at)) not in seen: seen[name, str(at)] = selected(name, at, lambda item: True)
        return Versions(v for v in seen[name, str(at)] if passes(v.item))
    return once

MANY = settings(max_examples=soak(100, 10_000), deadline=None, database=None, suppress_health_check=list(HealthCheck))
ATS = st.sampled_from(['latest', '*', '*', 'production', 'best', 1, 2, -2, '2030-01-01', '1990-01-01', 'production~0'])

@pytest.mark.timeout(600 + 60 * soak(1, 100))
@MANY
@given(conditions(), ATS)
def test_where_finds_what_a_plain_filter_finds(filled, asked, at):
    where, params = asked
    used = {k: v for k, v in params.items()}
    agree(filled, where=where, params=used, at=at)

@pytest.fixture(scope='module')
def waiting(tmp_path_factory):
    "A store that is offline, with puts, notes, aliases and removals that wait, beside what is at the origin"
    folder, state = tmp_path_factory.mktemp('waiting'), os.environ.get('OBJECTSTORE_STATE_DIR')
    os.environ['OBJECTSTORE_STATE_DIR'] = str(folder/'state')
    both, rows = (str(folder/'near'), str(folder/'lab')), []
    @settings(max_examples=60, database=None, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
    @given(METADATA)
    def gather(m): rows.append(m)
    gather()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        for at, offline in ((0, False), (1, True)):
            store = ObjectStore(*both, durable=False, offline=offline)
            for i, m in enumerate(rows[at::2]):
                store.put(f'lab/{"models/" if i % 3 else ""}m{(i + at) % 12}', b'x' * (i % 7), metadata=m,
                          kind=('model', 'data', 'slip')[i % 3])
            for i in (at, at + 3, at + 7):
                v = store[f'lab/{"models/" if i % 3 else ""}m{i}']
                store.set_alias(v, ('best', 'production')[at]), store.annotate(v, {'stage': 'checked', 'tags': [i]})
        store.remove('lab/m0@1'), store.find_items()
    if state is None: del os.environ['OBJECTSTORE_STATE_DIR']
    else: os.environ['OBJECTSTORE_STATE_DIR'] = state
    return store

@settings(MANY, max_examples=soak(30, 600))
@given(conditions(1), st.sampled_from(['latest', '*', 'best', 'production', 1, -2]),
       st.sampled_from([None, None, 'prod', 'm1', 'checked']),
       st.sampled_from(['-created', 'auc', '-auc', '-size', 'version', '-stage', 'tags', 'pending']))
def test_what_waits_is_found_as_a_plain_filter_finds_it(waiting, asked, at, text, sort):
    where, params = asked
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        found = agree(waiting, where=where, params=params, at=at, text=text, sort=sort)
    assert not found or found._counted() == len(found)

@settings(MANY, max_examples=soak(30, 600))
@given(st.one_of(st.none(), conditions(1)), ATS,
       st.sampled_from([None, 'prod', 'ann', 'lee ANN', 'ete m1', 'zzz', 'strasse', '%', '"', 'production', 'Prod BEST',
                        'best m', 'a b', 'production zzz', 'b checked']),
       st.sampled_from([None, 'model', 'slip', 'modle']),
       st.sampled_from(['-created', 'created', 'auc', '-auc', '-size', 'item', 'stage', '-m.f1', 'stats.size', 'tags',
                        'nothing']), st.one_of(st.none(), st.integers(0, 9)),
       st.sampled_from([None, '^models/', 'm1', '']))
def test_everything_together(filled, asked, at, text, kind, sort, limit, filter):
    where, params = asked or (None, None)
    # which of one moment are the first, is nobody's to say
    if limit is not None and sort.lstrip('-') == 'created': limit = None
    agree(filled, where=where, params=params, at=at, text=text, kind=kind, sort=sort, limit=limit, filter=filter)

@settings(MANY, max_examples=soak(30, 600))
@given(conditions(1), st.sampled_from([None, None, 'prod', 'best m']))
def test_what_is_said_to_be_elsewhere_is_there(filled, asked, text):
    where, params = asked
    try: found = filled.find_items(where=where, params=params, text=text)
    except InvalidQuery: return
    said = re.search(r"Only latest versions were asked: at='(.+)' finds ([0-9,]+)$",
                     found.also() if found else found.why)
    if said:
        assert len(filled.find_items(at=said[1], where=where, params=params, text=text)) == int(said[2]) > len(found)
    assert not said or 'alias' in where or text or said[1] == '*' and not len(found)

@pytest.mark.parametrize('asked',
                         [dict(where="alias = 'production'"), dict(text='produc'),
                          dict(where="alias = 'production' AND n < 9"),
                          dict(where="kind = 'data'", text='PRODUCTION m')])
def test_who_asks_for_an_alias_hears_of_older_versions(tmp_path, asked):
    store = ObjectStore(str(tmp_path/'lab'))
    for i in range(3):
        for n in range(2): store.put(f'lab/m{i}', i, metadata={'n': n})
        store.set_alias(f'lab/m{i}@1', 'production')
    found = store.find_items(**asked)
    assert (len(found) == 0 and found.why.endswith("Only latest versions were asked: at='production' finds 3")
            and found.why in repr(found))
    assert len(store.find_items(at='production', **asked)) == len(store.find_items(at='*', **asked)) == 3
    store.set_alias('lab/m1@2', 'production')
    found = store.find_items(**asked)
    assert (found.refs == ['lab/m1@2']
            and repr(found).endswith("Only latest versions were asked: at='production' " "finds 3"))
    for i in range(3): store.set_alias(f'lab/m{i}@2', 'production')
    assert len(found := store.find_items(**asked)) == 3 and 'Only latest' not in repr(found)

def test_who_finds_nothing_hears_of_older_versions(tmp_path):
    store = ObjectStore(str(tmp_path/'lab'))
    for n in range(2): store.put('lab/m', n, metadata={'n': n, 'says': f'word{n}'})
    for asked in dict(where='n = 0'), dict(text='word0'):
        assert store.find_items(**asked).why.endswith("Only latest versions were asked: at='*' finds 1")
        assert 'Only latest' not in store.find_items(**asked, at='production').why
    for asked in dict(where='n = 1'), dict(where='n = 7'), dict(text='word7'):
        assert 'Only latest' not in repr(store.find_items(**asked))

@pytest.mark.parametrize('where', ['alias IS NULL', "alias <> 'production'", "NOT alias = 'production'", 'n = 1'])
def test_who_asks_for_no_alias_hears_nothing_of_older_versions(tmp_path, where):
    store = ObjectStore(str(tmp_path/'lab'))
    for n in range(2): store.put('lab/m', n, metadata={'n': n})
    store.set_alias('lab/m@1', 'production')
    assert 'Only latest' not in repr(store.find_items(where=where))

def test_words_follow_an_alias_that_moves(tmp_path):
    store = ObjectStore(str(tmp_path/'lab'))
    for n in range(3): store.put('lab/m', n), store.put('lab/other', n, metadata={'says': 'production'})
    for n in (1, 2, 3):
        store.set_alias(f'lab/m@{n}', 'production')
        assert set(store.find_items(at='*', text='product').refs) == {
            f'lab/m@{n}', 'lab/other@1', 'lab/other@2', 'lab/other@3'}
        assert (store.find_items(at='*', text='product m').refs == [f'lab/m@{n}']
                and not store.find_items(at='*', text='product m zzz'))
    store.remove_alias('lab/m', 'production')
    assert not store.find_items('lab', text='product m')

def test_many_aliases_and_many_words(tmp_path, monkeypatch):
    "The ways by which frequent words are found agree with the records, too"
    from objectstore.search import planner
    store = busy(tmp_path/'lab', 60)
    for i in range(7): store.set_alias(f'lab/m{i}@{i % 2 + 3}', 'production'), store.set_alias(f'lab/m{i}', 'été-dev')
    for few in (1, 3, 10**6):
        for name in ('FREQUENT', 'CAP', 'NEAR', 'COUNTED'): monkeypatch.setattr(planner, name, few)
        for at in ('latest', '*', 'production'):
            for text in ('prod', 'production m1', 'ete', 'ETE dev', 'dev production', 'zzz prod', 'model prod m'):
                for kind in (None, 'model'): agree(store, at=at, text=text, kind=kind)

def test_a_key_to_sort_by_that_nothing_has(tmp_path):
    store = ObjectStore(str(tmp_path/'lab'))
    store.find_or_create_bucket('lab')
    assert not store.find_items(sort='-auc')
    store.put('lab/m', 1, metadata={'auc': 0.5, 'm': {'f1': 1}})
    for sort, says in (('-acu', "did you mean 'auc'"), ('creatd', "did you mean 'created'"), ('m.f2', "'m.f1'"),
                       ('-nothing', 'fields: item, version')):
        with pytest.raises(InvalidQuery, match=says) as e: store.find_items(sort=sort)
        assert str(e.value).startswith(f'sort={sort!r}: no record here')
    with pytest.raises(InvalidQuery, match="did you mean 'auc'"): privately(store, sort='-acu')
    for sort in ('-auc', 'm.f1', 'm', 'metadata.auc', '-size', 'alias'):
        assert store.find_items(sort=sort).refs == ['lab/m@1']

def test_a_key_that_only_pending_work_has_is_known(tmp_path):
    ObjectStore(str(tmp_path/'near'), str(tmp_path/'lab')).put('lab/m', 1, metadata={'auc': 0.5})
    store = ObjectStore(str(tmp_path/'near'), str(tmp_path/'lab'), offline=True)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        w = store.put('lab/n', 1, metadata={'auk': 1})
        assert (w.pending and [v.item for v in store.find_items(where='auk = 1')] == ['n']
                and [v.item for v in store.find_items(sort='auk')] == ['m', 'n'])

@pytest.mark.parametrize('where', ['created IS NULL', 'auc > 0 AND created IS NULL', 'zzz = 1', 'zzz = 1 AND auc > 0',
                                   'NOT (zzz IS NULL)', 'auc > 0 AND NOT zzz IS NULL', "id IS NULL AND auc > 0"])
def test_what_nothing_can_meet_throws_no_index_away(tmp_path, where):
    "A constant would be folded, and the plan's index be of no use"
    store = busy(tmp_path/'lab')
    store.find_items(where='auc > 0')
    made = store.keeper.index.identity()
    for at in ('latest', '*', 'production'):
        for sort in ('-created', 'auc', '-auc', 'zzz'):
            with contextlib.suppress(InvalidQuery): assert not store.find_items('lab', where=where, at=at, sort=sort)
            with contextlib.suppress(InvalidQuery): assert not privately(store, 'lab', where=where, at=at, sort=sort)
    assert store.keeper.index.identity() == made

def test_a_table_counts_what_waits(tmp_path, monkeypatch):
    "A version with a note that waits is not in the index's part of the answer, and is one of those that are found"
    monkeypatch.setattr('objectstore.versions.results.FIRST', 3)
    both = str(tmp_path/'near'), str(tmp_path/'lab')
    store = ObjectStore(*both, durable=False)
    for i in range(20): store.put(f'lab/m{i}', i)
    store.find_items()
    store = ObjectStore(*both, durable=False, offline=True)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        store.annotate('lab/m3', {'seen': True}), store.put('lab/new', 1)
        assert store.find_items()._counted() == 21 == len(store.find_items())

def test_more_than_sqlite_takes_is_an_invalid_query(tmp_path, monkeypatch):
    "and no reason to throw the index away"
    prepared = Index.prepared
    def small(self, db):
        db.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 600)
        return prepared(self, db)
    monkeypatch.setattr(Index, 'prepared', small)
    store = busy(tmp_path/'lab', 9)
    made = store.find_items() and store.keeper.index.identity()
    with pytest.raises(InvalidQuery, match='ask for less'): store.find_items(where={f'k{i}': i for i in range(1000)})
    assert not store.find_items(where=' OR '.join(f'auc = {i}' for i in range(5, 550)))
    assert store.keeper.index.identity() == made and len(store.find_items(at='*')) == 8

def test_more_keys_than_are_known(tmp_path, monkeypatch):
    monkeypatch.setattr('objectstore.search.local_index.MAX_KNOWN', 20)
    store = ObjectStore(str(tmp_path/'lab'), durable=False)
    store.put('lab/x', 0), store.find_items()
    for i in range(30): store.put(f'lab/m{i}', i, metadata={f'k{i}': i})
    for i in (2, 29): assert store.find_items(where=f'k{i} = {i}', sort=f'k{i}').refs == [f'lab/m{i}@1']
    store.refresh(whole=True)
    assert store.find_items(where='k29 = 29').refs == ['lab/m29@1']

def test_an_age_is_never_the_beginning_of_time(tmp_path):
    "A bucket that this machine made, and whose log nobody has looked at since"
    both = str(tmp_path/'near'), str(tmp_path/'lab')
    store = ObjectStore(*both)
    store.put('lab/m', 1), store.find_items()
    store.put('new/m', 1)
    away = ObjectStore(*both, offline=True)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        assert store.keeper.known('new').checked == 0
        found = away.find_items()
        assert abs(found.as_of.timestamp() - time.time()) < 3600 and '1970' not in repr(found)

def test_an_empty_answer_names_types_that_do_not_meet(tmp_path):
    store = ObjectStore(str(tmp_path/'lab'))
    for i in range(4):
        store.put('lab/m', i, metadata={'auc': i / 4, 'stage': 'prod', 'ok': True, 'mixed': i if i else 'x',
                                        'tags': ['a'], 'day': date(2026, 11, 1)})
    for where, says in (("auc > 'high'", 'auc holds numbers; the condition compares it with text'),
                        ('stage = 3', 'stage holds text'), ("ok = 'yes'", 'ok holds TRUE or FALSE'),
                        ("version > 'ten'", 'version holds numbers'), ("kind = 3", 'kind holds text')):
        for at in ('latest', '*'):
            assert says in store.find_items(where=where, at=at).why and says in privately(store, where=where, at=at).why
    for where in ("auc > 5", "stage = 'x'", "tags = 'b'", "day > '2027-01-01'", 'tags = 3'):
        assert 'holds' not in store.find_items(where=where).why.replace(
            'tags holds', 'tags holds' if where == 'tags = 3' else '')
    assert store.find_items(where='auc > 5').why == 'The latest version here does not meet the condition'
    assert store.find_items(at='all').why.endswith("at='*' is every version")
    store.set_alias('lab/m@1', 'production')
    assert store.find_items(at='prodction').why.endswith("did you mean 'production'?")

@settings(MANY, max_examples=soak(30, 600))
@given(METADATA)
def test_a_mapping_finds_what_a_plain_filter_finds(filled, where):
    agree(filled, where=where)

INJECTIONS = ["'; DROP TABLE versions; --", "1; DROP TABLE versions", "auc = 1 UNION SELECT * FROM docs",
              "auc = (SELECT 1)", "auc = load_extension('x')", "\"k1\" = 1 --", "k1 = 1", "at = 1", "rowid = 1",
              "latest = 1", "holds(1, 2, 3)", "auc = 1 OR 1 = 1", "versions.at = 1", "docs.metadata = 'x'",
              "auc MATCH 'x'", "words MATCH 'a'", "auc GLOB '*'", "sqlite_master = 1", "PRAGMA user_version = 9",
              "auc = 'x' || 'y'", "auc = 1) OR (1", "ATTACH 'x' AS y", '"a"" OR 1=1 --" = 1']

@pytest.mark.parametrize('sql', INJECTIONS)
def test_no_text_reaches_the_database(filled, sql):
    told, before = [], filled.keeper.index.ask('SELECT count(*), total(at) FROM versions')
    with filled.keeper.index.using() as db:
        db.set_trace_callback(told.append)
        try:
            for asked in (dict(where=sql), dict(where={sql: 1}), dict(where={'auc': sql}),
                          dict(where='auc = :x', params={'x': sql}), dict(text=sql), dict(kind=sql), dict(sort=sql),
                          dict(filter=sql), dict(where='stage LIKE :x', params={'x': sql})):
                try: list(filled.find_items(**asked)), filled.find_items().facets(sql)
                except InvalidQuery: pass
        finally: db.set_trace_callback(None)
    assert (filled.keeper.index.ask('SELECT count(*), total(at) FROM versions') == before
            and filled.keeper.index.ask('PRAGMA user_version') == [(FORMAT,)])
    assert len(agree(filled)) == len(filled.find_items())


# Facets, pages

def test_facets_count_what_is_there(filled):
    for key in ('stage', 'auc', 'tags', 'kind', 'alias', 'm.f1', 'stats.size', 'nothing', 'item'):
        for asked in (dict(), dict(at='*'), dict(at='*', where='size > 3'), dict(text='prod'), dict(limit=5)):
            found = filled.find_items(**asked)
            assert found.facets(key) == type(found).__mro__[1].facets(found, key), (key, asked)

def test_pages_and_slices_are_those_of_a_list(filled):
    for sort in ('-created', 'created', 'auc', '-item'):
        all = [v.ref for v in filled.find_items(at='*', sort=sort)]
        for f in (lambda s: s[0].ref, lambda s: s[-1].ref, lambda s: s[60].ref, lambda s: s[3:70:2].refs,
                  lambda s: s[-5:].refs, lambda s: s[70:].refs, lambda s: len(s), lambda s: bool(s)):
            expected = (f([*filled.find_items(at='*', sort=sort)][:]) if f.__code__.co_names
                        and 'refs' not in f.__code__.co_names else None)
            got = f(filled.find_items(at='*', sort=sort))
            assert expected in (None, got)
        assert filled.find_items(at='*', sort=sort).refs == all and len(set(all)) == len(all)
    with pytest.raises(IndexError): filled.find_items(limit=3)[3]


# The index is disposable

def busy(folder, n=30):
    store = ObjectStore(str(folder), durable=False)
    for i in range(n):
        store.put(f'lab/m{i % 7}', i, metadata={'auc': i / n, 'stage': 'prod' if i % 2 else 'dev'}, kind='model')
    store.set_alias('lab/m1@2', 'production'), store.annotate('lab/m2@1', {'note': 'yes'}), store.remove('lab/m3@1')
    return store

def answers(store):
    "Everything that a search can say, from the index"
    return [sorted(map(repr, map(facts, store.find_items(**asked))))
            for asked in (dict(), dict(at='*'), dict(at='production'),
                          dict(at='*', where="auc > 0.5 AND stage = 'prod'"), dict(at='*', text='dev'),
                          dict(at='*', where="note = 'yes'"))]

def damage(kind, index, rng):
    path = index.path
    if kind == 'deleted': [Path(f'{path}{end}').unlink(missing_ok=True) for end in ('', '-wal', '-shm')]
    elif kind == 'garbage':
        path.write_bytes(rng.randbytes(50_000)), [Path(f'{path}{end}').unlink(missing_ok=True)
                                                  for end in ('-wal', '-shm')]
    elif kind == 'truncated': os.truncate(path, rng.randrange(1, max(path.stat().st_size, 2)))
    elif kind == 'empty': path.write_bytes(b'')
    elif kind == 'other format':
        with sqlite3.connect(path) as db: db.execute('PRAGMA user_version = 77')
    elif kind == 'no table':
        with sqlite3.connect(path) as db:
            table = rng.choice(['versions', 'docs', 'aliases', 'keys', 'buckets', 'seen', 'columns'])
            db.execute(f'DROP TABLE {table}')

@pytest.mark.parametrize('kind', ['deleted', 'garbage', 'truncated', 'empty', 'other format', 'no table'])
def test_an_index_that_is_lost_makes_no_difference(tmp_path, kind, figure):
    store, rng = busy(tmp_path/'lab'), random.Random(kind)
    expected = answers(store)
    assert store.keeper.index.there()
    for i in range(n := soak(4, 40)):
        store.find_items(where='auc > 0.1')
        damage(kind, store.keeper.index, rng)
        assert answers(store) == expected, i
        assert answers(ObjectStore(str(tmp_path/'lab'))) == expected
    figure(f'18 the index: {kind}', answered=2 * n, failures=0)

ALTERED = ["DELETE FROM versions WHERE at IN (SELECT at FROM versions ORDER BY random() LIMIT 3)",
           "DELETE FROM docs WHERE at IN (SELECT at FROM docs ORDER BY random() LIMIT 3)",
           "UPDATE docs SET metadata = '{\"auc\": 5}' WHERE at IN (SELECT at FROM docs ORDER BY random() LIMIT 3)",
           "UPDATE versions SET latest = 1 - latest WHERE at IN (SELECT at FROM versions ORDER BY random() LIMIT 3)",
           "UPDATE versions SET kind = 'x', size = 7 WHERE at IN (SELECT at FROM versions ORDER BY random() LIMIT 3)",
           "DELETE FROM aliases", "UPDATE aliases SET version = version + 1", "UPDATE docs SET stats = 'nonsense'",
           "UPDATE versions SET k1 = 3 WHERE at IN (SELECT at FROM versions ORDER BY random() LIMIT 3)",
           "DELETE FROM keys", "UPDATE keys SET n = n + 1", "INSERT INTO seen VALUES('lab', 'lab/log/h-x')",
           "UPDATE versions SET alias = x'025b2278225d'"]

def test_what_was_altered_in_the_index_is_found_and_mended(tmp_path, figure):
    store, wrong = busy(tmp_path/'lab'), 0
    store.find_items(at='*', where='auc > 0.5')
    expected, n = answers(store), 0
    for _ in range(soak(1, 16)):
        for sql in ALTERED:
            with store.keeper.index.writing() as db: db.execute(sql)
            store.refresh(whole=True)
            n += 1
            wrong += answers(store) != expected
    figure('17 the index is disposable', altered=n, difference_after=wrong)
    assert not wrong

def test_what_goes_stale_is_found(tmp_path, figure):
    "Writers whose hints are all lost"
    store, wrong = busy(tmp_path/'lab'), 0
    answers(store)
    for i in range(n := soak(8, 200)):
        other = ObjectStore(str(tmp_path/'lab'), durable=False)
        other.origin.listener = None
        other.put(f'lab/m{i % 5}', i, metadata={'auc': 0.9})
        other.set_alias(f'lab/m{i % 5}', 'production')
        if i % 3 == 0: other.annotate(f'lab/m{i % 5}', {'note': 'yes'})
        if i % 4 == 0: other.remove('lab/m6@latest') if 'lab/m6' in other else None
        store.refresh(whole=True)
        where = "note = 'yes' OR alias = 'production'"
        wrong += (sorted(store.find_items(at='*').refs) != sorted(v.ref for v in plainly(store, at='*'))
                  or sorted(store.find_items(where=where).refs) != sorted(plainly(store, where=where).refs))
    figure('17 stale rows', lost_hints=n, difference_after=wrong)
    assert not wrong

@pytest.mark.parametrize('mode', ['EXCLUSIVE', 'IMMEDIATE'])
def test_reads_and_writes_work_while_the_index_is_locked(tmp_path, mode, figure):
    store = busy(tmp_path/'lab')
    expected = answers(store)
    store.keeper.index.wait = 0.1
    db = sqlite3.connect(store.keeper.index.path, isolation_level=None)
    db.execute(f'BEGIN {mode}')
    other = ObjectStore(str(tmp_path/'lab'))
    other.keeper.index.wait = 0.1
    assert answers(other) == expected and other.get('lab/m1') is not None
    other.put('lab/new', 1, metadata={'auc': 2})
    assert other.find_items(where='auc > 1').refs == ['lab/new@1']
    db.execute('ROLLBACK')
    assert other.find_items(where='auc > 1').refs == ['lab/new@1'] == store.find_items(where='auc > 1').refs
    figure(f'18 the index: locked, {mode}', answered=5, failures=0)

def test_a_result_outlives_its_index(tmp_path):
    store = busy(tmp_path/'lab', 200)
    found = store.find_items(at='*', sort='auc')
    expected = [v.ref for v in plainly(store, at='*', sort='auc')]
    first = found[0].ref
    damage('deleted', store.keeper.index, random.Random(1))
    assert first == expected[0] and found.refs == expected and len(found) == len(expected)

def test_another_store_in_the_place_of_the_first(tmp_path):
    busy(tmp_path/'lab').find_items()
    flush_hints()
    shutil.rmtree(tmp_path/'lab')
    store = ObjectStore(str(tmp_path/'lab'))
    store.put('lab/m1', 'other', metadata={'auc': 7})
    assert store.find_items(at='*').refs == ['lab/m1@1'] and store.find_items()[0].metadata == {'auc': 7}

def test_the_log_is_disposable(tmp_path):
    store = busy(tmp_path/'lab')
    expected = answers(store)
    store.keeper.hints.flush()
    for i in range(3):
        shutil.rmtree(tmp_path/'lab'/'lab'/'log')
        assert answers(store) == expected
        if i: store.care.compact('lab'); answers(store)
        store.put('lab/m1', i), store.remove('lab/m1@latest'), store.keeper.hints.flush()
    catalog = max((tmp_path/'lab'/'lab'/'log').glob('c-*'), default=None)
    if catalog:
        os.chmod(catalog, 0o600), catalog.write_bytes(b'PAR1 nonsense PAR1')
        damage('deleted', store.keeper.index, random.Random(1))
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            assert answers(store) == expected


# A column that is not yet filled

def _unfilled(monkeypatch):
    "Columns are made for the asking, and filled by nobody but the test"
    from objectstore.search import local_index, planner
    for module in (local_index, planner): monkeypatch.setattr(module, 'AT_ONCE', 0)
    monkeypatch.setattr(Index, 'fill_later', lambda self: None)

@pytest.mark.parametrize('rows', [1, 7])
def test_a_key_whose_column_is_not_yet_filled(tmp_path, monkeypatch, rows):
    "answers the same before, while and after it is filled, whatever comes and goes meanwhile"
    _unfilled(monkeypatch)
    store = busy(tmp_path/'lab', 12)
    for i, x in enumerate([3, 'three', True, [3], 2**70, None, {'f1': 3}]):
        store.put(f'lab/o{i}', i, metadata={'x': x, 'm': {'f1': i}})
    asked = [dict(where=w, at=at, sort=sort) for at in ('latest', '*') for sort in ('x', '-created') for w in
             ("auc > 0.5", 'x = 3', "x = 'three' OR x", 'x IS NULL', 'NOT x = 3', 'm.f1 > 3', 'x > m.f1',
              'x IN (3, \'three\') AND NOT stats.keys = 3')]
    def all_agree():
        for a in asked: agree(store, **a)
    all_agree()
    index, n = store.keeper.index, 0
    with index.using() as db: assert len(index.columns(db)) > 2 and len(index._columns(db)[1]) > 2
    made = index.identity()
    store.refresh(whole=True)
    assert index.identity() == made, 'a column that is not yet filled was taken for damage'
    while index.fill_columns(rows):
        if n % 40 == 0:
            store.put(f'lab/n{n}', n,
                      metadata={'x': n, 'auc': n}), store.remove('lab/o1@1') if 'lab/o1' in store else None
            store.annotate('lab/o2@1', {'x': n}), all_agree()
        n += 1
    all_agree()
    with index.using() as db:
        assert not index._columns(db)[1]
        wrong = [(name, at) for name, c in index.columns(db).items() for at, v, m, s in
                 db.execute(f'SELECT versions.at, {c}, metadata, stats FROM versions JOIN docs USING(at)')
                 if v != cell(text_reader(name)(m, s)) and not (v is None and cell(text_reader(name)(m, s)) is None)]
    assert not wrong

def test_work_in_the_background_makes_pauses(tmp_path, monkeypatch):
    from objectstore.search import changelog
    store, slept = busy(tmp_path/'lab'), []
    store.find_items()
    class Clock:
        perf_counter, time, monotonic = time.perf_counter, time.time, time.monotonic
        @staticmethod
        def sleep(seconds):
            if threading.current_thread() is threading.main_thread(): slept.append(seconds)
            else: time.sleep(seconds)
    monkeypatch.setattr(changelog, 'time', Clock)
    store.care.compact('lab', whole=True)
    assert not slept
    store.keeper.unsure.add('lab'), store.keeper.long.add('lab'), store._mend('lab')
    assert len(slept) > 3 and all(0 <= s <= changelog.MOST_PAUSE for s in slept)
    assert answers(store) == answers(ObjectStore(str(tmp_path/'lab')))

def test_a_column_is_filled_in_the_background(tmp_path, monkeypatch):
    from objectstore.search import planner
    monkeypatch.setattr(planner, 'AT_ONCE', 0)
    store = busy(tmp_path/'lab')
    assert store.find_items(where='auc > 0.9', at='*').refs
    index = store.keeper.index
    index._filler.join(100)
    with index.using() as db: assert not index._columns(db)[1] and index.columns(db)
    assert index.add_column(Name(('auc',)), 0) and store.find_items(where='auc > 0.9', at='*').refs

def test_planted_rows_that_a_filling_passes_over_are_caught(tmp_path, monkeypatch):
    _unfilled(monkeypatch)
    store = busy(tmp_path/'lab')
    store.find_items(where='auc > 0.1'), store.keeper.index.fill_columns(5)
    with store.keeper.index.writing() as db: db.execute('UPDATE columns SET upto = (SELECT max(at) FROM versions)')
    while store.keeper.index.fill_columns(5): pass
    with pytest.raises(AssertionError): agree(store, where='auc > 0.1', at='*')


# Several at once

def _writes(folder, who, n, state):
    os.environ['OBJECTSTORE_STATE_DIR'] = state
    store = ObjectStore(folder, durable=False)
    for i in range(n):
        store.put(f'lab/{("shared", who)[i % 2]}', i, metadata={'who': who, 'i': i})
        if i % 10 == 3: store.set_alias(f'lab/{who}', 'production')
        if i % 10 == 5: store.annotate(f'lab/{who}', {'checked': i})
    store.close()
    return n

@pytest.mark.parametrize('state', ['own', 'same'])
def test_two_writers_while_a_reader_refreshes(tmp_path, figure, state):
    "Other machines (a state each) or processes of this one (the same state)"
    n, folder = soak(60, 500), str(tmp_path/'lab')
    reader = ObjectStore(folder)
    reader.find_or_create_bucket('lab')
    states = [str(tmp_path/(f'state-{w}' if state == 'own' else 'state')) for w in 'ab']
    done, looks = [], 0
    t = threading.Thread(target=lambda: done.append(together(
        _writes, [(folder, w, n, s) for w, s in zip('ab', states)])))
    t.start()
    before: set[int] = set()
    while t.is_alive():
        seen = [v.version for v in reader.find_items('lab', at='*', where="item = 'a'", sort='version')]
        # a hint may come after what it tells of; what was found stays
        assert seen == sorted(set(seen)) and before <= set(seen)
        looks, before = looks + 1, set(seen)
        time.sleep(0.05)
    found = {v.ref for v in reader.find_items('lab', at='*')}
    missed = {v.ref for v in plainly(reader, 'lab', at='*')} - found
    figure(f'17 search: two writers while a reader refreshes, {state} state', versions=len(found), looks=looks,
           missed=len(missed))
    assert not missed and len(found) == 2 * n
    assert [facts(v) for v in sorted(reader.find_items('lab', at='*'), key=str)] == [
        facts(v) for v in sorted(plainly(reader, 'lab', at='*'), key=str)]

@pytest.mark.parametrize('slowly', [False, True])
def test_threads_of_one_store(tmp_path, monkeypatch, slowly):
    "Each finds at once what it has put, also while another thread is writing it into the index"
    store = busy(tmp_path/'lab')
    def late(f, before=0.0, after=0.0):
        def call(*args, **kwargs):
            time.sleep(before)
            try: return f(*args, **kwargs)
            finally: time.sleep(after)
        return call
    if slowly:
        keeper = store.keeper
        store.origin.listener = late(keeper.heard, after=0.005)
        monkeypatch.setattr(type(keeper), '_write', late(type(keeper)._write, before=0.03))
    def work(k):
        wrong = []
        for i in range(10):
            store.put(f'lab/t{k}', i, metadata={'k': k, 'i': i})
            if store.find_items(where='k = :k AND i = :i', params=dict(k=k, i=i)).refs != [f'lab/t{k}@{i + 1}']:
                wrong.append((k, i))
        return wrong
    with ThreadPoolExecutor(4) as pool: assert [*pool.map(work, range(4))] == [[]] * 4

@pytest.mark.parametrize('held', ['by a thread', 'by a process'])
def test_a_put_that_cannot_be_written_into_the_index_is_found_all_the_same(tmp_path, held):
    "It does not wait long, and the search that comes next learns it from its hint"
    store, started, done = busy(tmp_path/'lab'), threading.Event(), threading.Event()
    store.find_items()
    def hold():
        if held == 'by a thread':
            with store.keeper._settling: started.set(); done.wait(200)
        else:
            with Index(store.keeper.index.path).writing(): started.set(); done.wait(200)
    t = threading.Thread(target=hold)
    t.start(), started.wait()
    before = time.monotonic()
    store.put('lab/new', 1, metadata={'x': 1})
    store.set_alias('lab/new', 'prod')
    store.annotate( 'lab/m1@2', {'seen': 5})
    assert time.monotonic() - before < 5 * PATIENCE
    done.set(), t.join()
    assert (store.find_items(where='x = 1').refs == store.find_items(filter='new', at='prod').refs == ['lab/new@1']
            and store.find_items(where='seen = 5', at='*').refs == ['lab/m1@2'])

def test_another_thread_does_not_drop_the_locks(tmp_path):
    """Closing any descriptor of a file drops every lock that the process has on it; without them another process would
    delete the log of the index that this one uses"""
    pytest.importorskip('fcntl')
    index = Index(tmp_path/'index.db')
    index.ask('SELECT count(*) FROM versions')
    def locked():
        # the bytes of SQLite's shared lock
        code = ("import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'r+b'), fcntl.LOCK_EX | fcntl.LOCK_NB, 510, "
                "0x40000002)")
        return b'BlockingIOError' in subprocess.run([sys.executable, '-c', code, index.path],
                                                    capture_output=True).stderr
    assert locked()
    with ThreadPoolExecutor(1) as pool: pool.submit(index.ask, 'SELECT count(*) FROM versions').result()
    assert locked()

def test_what_was_found_stays_found(tmp_path):
    "Rows move when the origin's time comes in the place of this machine's; a result that was found before loses none"
    store = busy(tmp_path/'lab')
    store.find_items()
    for i in range(60): store.put(f'lab/n{i}', i)
    with as_known(): found = store.find_items(text='n')
    assert len(store.find_items(text='n')) == 60      # asks the origin, and moves the rows
    assert len(found.refs) == len(found) == 60 and found[59].ref == 'lab/n0@1'

@pytest.mark.parametrize('sort', ['-created', 'created', 'size', '-size', 'k', '-k', 'item'])
def test_what_goes_while_one_goes_through_it(tmp_path, sort):
    "Who removes what was found, one after the other, has removed all of it"
    store = ObjectStore(tmp_path/'lab', durable=False)
    for i in range(130): store.put(f'lab/n{i}', b'.' * (i % 9), metadata={'k': i % 5} if i % 4 else {})
    found = store.find_items('lab', '^n', sort=sort)
    refs = [v.ref for v in found if store.remove(v.ref) or True]
    assert len(refs) == len(set(refs)) == 130 and not store.find_items('lab', '^n')

@pytest.mark.parametrize('sort', ['size', '-size', 'k', '-k', 'item', '-kind', 'alias'])
def test_pages_join(tmp_path, monkeypatch, sort):
    "In the order of the records, wherever a page ends"
    monkeypatch.setattr('objectstore.versions.results.FIRST', 3)
    monkeypatch.setattr( 'objectstore.versions.results.LARGEST', 7)
    store = busy(tmp_path/'lab')
    for b in ('lab', 'two'):
        for i in range(40):
            store.put(f'{b}/n{i % 23}', b'.' * (i % 9), metadata={'k': [i % 5, 'text', True, 2.5, None][i % 7 % 5]}
                      if i % 4 else {}, kind=['a', 'b'][i % 2])
    def place(v): return v.ref
    for at in ('latest', '*'):
        found, expected = store.find_items(at=at, sort=sort), plainly(store, at=at, sort=sort)
        assert sorted(map(place, found)) == sorted(map(place, expected)) and len(found) == len(expected)
        assert [(v.item, v.version, sort_cell(v, sort.lstrip('-')))
                for v in found] == [(v.item, v.version, sort_cell(v, sort.lstrip('-'))) for v in expected]

def test_a_comparison_hides_nothing_meanwhile(tmp_path, monkeypatch):
    "A row that is out of date stays until the new one is there"
    store, folder = busy(tmp_path/'lab'), tmp_path/'lab'
    refs, keeper, seen = sorted(store.find_items(at='*').refs), store.keeper, []
    monkeypatch.setenv('OBJECTSTORE_STATE_DIR', str(tmp_path/'another'))
    other = ObjectStore(str(folder), durable=False)
    planted_here(other.keeper.hints, 'add', lambda *a: None)      # its hints are lost
    for ref in refs[::2]: other.annotate(ref, {'seen': True})
    read = type(keeper)._read
    def look(*args):
        with as_known(): seen.append(sorted(store.find_items(at='*').refs))
        return read(*args)
    monkeypatch.setattr(type(keeper), '_read', look)
    keeper.refresh('lab', whole=True)
    assert seen and all(s == refs for s in seen)
    assert sorted(store.find_items(at='*', where='seen = TRUE').refs) == refs[::2]


def _does_everything(folder, who, n, state, planted):
    """Threads of one process, each with items of its own; what a search answers another than what this thread has had
    acknowledged"""
    os.environ['OBJECTSTORE_STATE_DIR'] = state
    if planted: planted_here(Writer, 'touched', lambda *args: set())
    store = ObjectStore(folder, durable=False)
    def thread(k):
        rng, live, alias, wrong = random.Random(f'{who}{k}'), {}, {}, []
        for i in range(n):
            bucket, item = rng.choice(['lab', 'two']), f'{who}{k}-{rng.randrange(4)}'
            ref, have = f'{bucket}/{item}', live.setdefault((bucket, item), {})
            op, v = ((rng.choice(['put', 'put', 'remove', 'note', 'alias', 'compact', 'whole']), rng.choice([*have]))
                     if have else ('put', None))
            if op == 'put': v = store.put(ref, i, metadata={'x': i}).version; have[v] = {'x': i}
            elif op == 'remove' and alias.get(ref) != v: store.remove(f'{ref}@{v}'); del have[v]
            elif op == 'note': store.annotate(f'{ref}@{v}', {'y': i}); have[v] |= {'y': i}
            elif op == 'alias': store.set_alias(f'{ref}@{v}', 'prod'); alias[ref] = v
            elif op == 'compact' and i % 3 == 0: store.care.compact(bucket)
            elif op == 'whole' and i % 3 == 0: store.keeper.refresh(bucket, whole=True)
            def told(**asked):
                return sorted((v.version, v.metadata) for v in store.find_items(bucket, f'^{item}$', **asked))
            expected = sorted(have.items())
            for asked, right in ((dict(at='*'), expected), ({}, expected[-1:]),
                                 (dict(at='*', where=f'x = {i} OR y = {i}'),
                                  [(n, m) for n, m in expected if i in m.values()]),
                                 (dict(at='prod'), [(alias[ref], have[alias[ref]])] if ref in alias else [])):
                if told(**asked) != right: wrong.append((op, ref, asked, right, told(**asked)))
        return wrong
    with warnings.catch_warnings(), ThreadPoolExecutor(3) as pool:
        warnings.simplefilter('ignore')
        wrong = sum(pool.map(thread, range(3)), [])
    flush_hints()
    return wrong

def everything_at_once(tmp_path, n, planted=False):
    "Two processes of this machine, and another machine"
    wrong = sum(together(_does_everything,
                         [(str(tmp_path/'lab'), who, n, str(tmp_path/state), planted)
                          for who, state in (('a', 'one'), ('b', 'one'), ('c', 'two'))]), [])
    for state in ('one', 'two'):
        os.environ['OBJECTSTORE_STATE_DIR'] = str(tmp_path/state)
        store = ObjectStore(str(tmp_path/'lab'), durable=False)
        for at in ('*', 'latest', 'prod'):
            found, expected = ({f[0]: f for f in map(facts, versions)}
                               for versions in (store.find_items(at=at), plainly(store, at=at)))
            wrong += [(state, at, r, [p for p in zip(found.get(r, ()), expected.get(r, ())) if p[0] != p[1]])
                      for r in {*found, *expected} if found.get(r) != expected.get(r)]
    return wrong

def test_everything_at_once_each_finds_its_own(tmp_path, figure):
    n = soak(40, 400)
    wrong = everything_at_once(tmp_path, n)
    figure(f'17 search: 3 processes x 3 threads x {n} writes, compactions and comparisons', wrong=len(wrong))
    assert not wrong

def test_planted_older_answers_are_caught(tmp_path):
    "Whoever asked the origin writes over what was written since"
    assert any(everything_at_once(tmp_path/str(i), 60, planted=True) for i in range(5))


# Clocks, lost hints, compactors

def test_clocks_a_year_early_and_late(tmp_path, monkeypatch, figure):
    "A client's clock is shown nowhere: the order is that of the origin"
    url, real = f'file://{tmp_path/"lab"}', time.time
    order, missed = [], 0
    for i in range(n := soak(12, 100)):
        monkeypatch.setenv('OBJECTSTORE_STATE_DIR', str(tmp_path/f'state-{i % 3}'))
        monkeypatch.setattr(time, 'time', lambda: real() + (-1, 0, 1)[i % 3] * 31_536_000)
        s = ObjectStore(url, durable=False)
        s.put('lab/m', i), s.put(f'lab/m{i}', i)
        order += [f'lab/m@{i + 1}', f'lab/m{i}@1']
        found = s.find_items(at='*', sort='created')
        times_seen = [v.created for v in found]
        assert (times_seen == sorted(times_seen)
                and max(times_seen).year == datetime.fromtimestamp(real(), timezone.utc).year)
        numbers = [v.version for v in found if v.item == 'm']
        assert numbers == sorted(numbers)
        s.close()
        missed += len(set(order) - set(found.refs))
        time.sleep(0.01)
    wrong = sum(a != b for a, b in zip(s.find_items(at='*', sort='created').refs, order))
    figure('14 clocks a year early and late', puts=2 * n, order_errors=wrong, missed=missed)
    assert not wrong and not missed

def test_a_hint_lost_by_a_crash_after_the_claim(tmp_path, figure):
    store = busy(tmp_path/'lab')
    store.find_items()
    other = ObjectStore(str(tmp_path/'lab'))
    other.origin.listener = None                      # it dies between the claim and the hint
    other.put('lab/lost', 1, metadata={'auc': 9})
    assert store.find_items(where="item = 'lost'").refs == []
    store.care.compact('lab', whole=True)
    fresh = ObjectStore(f'file://{tmp_path/"lab"}')     # by another URL: an index of its own, from the catalog
    figure('17 search: a hint lost', missed_after_reconciliation=2 - len(store.find_items(where='auc = 9'))
           - len(fresh.find_items(where='auc = 9')))
    assert store.find_items(where='auc = 9').refs == ['lab/lost@1'] == fresh.find_items(where='auc = 9').refs

def _compacts(folder, state, n):
    os.environ['OBJECTSTORE_STATE_DIR'] = state
    store, made = ObjectStore(folder, durable=False), []
    for i in range(n):
        store.put(f'lab/{Path(state).name}', i)
        made.append(store.care.compact('lab')['lab'])
    store.close()
    return made

def test_two_compactors_at_once(tmp_path, figure):
    n, folder = soak(8, 60), str(tmp_path/'lab')
    busy(tmp_path/'lab')
    together(_compacts, [(folder, str(tmp_path/w), n) for w in ('one', 'two')])
    reader = ObjectStore(f'file://{folder}')
    found = {v.ref for v in reader.find_items(at='*')}
    missed = {v.ref for v in plainly(reader, at='*')} - found
    catalogs = read_log(reader.origin.bucket('lab')).catalogs
    figure('17 search: two compactors', compactions=2 * n, generations=max(catalogs), missed=len(missed))
    assert not missed and len(catalogs) <= 3 and answers(reader) == answers(ObjectStore(folder))

def test_a_crash_in_the_middle_of_a_compaction(tmp_path):
    "Published, and the hints not deleted: nothing is doubled or lost"
    store = busy(tmp_path/'lab')
    store.keeper.hints.flush()
    expected = answers(store)
    backend = store.origin.bucket('lab').backend
    def die(key): raise KeyboardInterrupt
    backend.delete = die
    with pytest.raises(KeyboardInterrupt): store.care.compact('lab')
    del backend.delete
    fresh = ObjectStore(f'file://{tmp_path/"lab"}')
    assert answers(fresh) == expected == answers(store)
    store.care.compact('lab')
    assert answers(fresh) == expected == answers(store) and len(read_log(store.origin.bucket('lab')).hints) == 0


# What may not be believed

@pytest.mark.filterwarnings('ignore:a hint says nothing')
@pytest.mark.parametrize('raw', [
    b'', b'nonsense', b'{}',
    b'0' * 32 + b' {"changed":[["put","m1",99],["alias","m1","x"],["note","m9",3],["remove","m1",1],["state","",7],'
                b'["put",5,5],["drop","a",1],"x"]}'])
def test_a_hint_that_says_what_is_not_so(tmp_path, raw):
    from objectstore.format.records import seal
    store = busy(tmp_path/'lab')
    expected, backend, key = answers(store), store.origin.bucket('lab').backend, 'lab/log/h-' + '0' * 32
    backend.create(key, seal(key, raw[33:]) if raw[:1] == b'0' else raw)
    assert answers(store) == expected

def test_no_markup_survives_in_facets(tmp_path):
    store = ObjectStore(str(tmp_path/'lab'))
    store.put('lab/x', 1, metadata={'<b>k': '<script>alert(1)</script>'})
    for text in store.find_items().facets('<b>k')._repr_mimebundle_()[
            'text/html'], store.find_items()._repr_mimebundle_()['text/html']:
        assert '<script>' not in text and '<b>k' not in text


def test_a_search_and_a_put_do_not_wait_for_a_comparison(tmp_path):
    "and what is put while the records are listed is not taken for gone"
    store = ObjectStore(str(tmp_path/'lab'))
    for i in range(3): store.put(f'models/m{i}', i, metadata={'auc': i})
    assert len(store.find_items('models')) == 3
    listed, go, place = threading.Event(), threading.Event(), store.origin.place
    listing = place.list
    def slow(folder, *args, **kw):
        yield from listing(folder, *args, **kw)
        if folder.endswith('/records/'): listed.set(), go.wait(300)
    place.list = slow
    comparison = threading.Thread(target=lambda: store.refresh(whole=True))
    comparison.start()
    assert listed.wait(300)
    store.put('models/new', 7, metadata={'auc': 7}), store.remove('models/m0@1')
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(lambda: store.find_items('models', sort='item').refs).result(200)
    go.set(), comparison.join(300)
    place.list = listing
    assert found == ['models/m1@1', 'models/m2@1', 'models/new@1']
    assert store.find_items('models', sort='item').refs == found and not comparison.is_alive()
