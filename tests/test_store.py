"""What every store must do, wherever its bytes lie.

`StoreContract` is the whole of it. To test a store of one's own, subclass it and give a fixture `stack` whose value has
`open(**options)` (the same place again, at first empty), `bucket(word='lab')` (a bucket of the test's own), `native`
(must buckets be made by hand?) and `quick` (may a test store thousands of objects?); `stacks.Stack` is one.
"""
from __future__ import annotations
import inspect, os, pickle, re, subprocess, sys, time, warnings
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from html.parser import HTMLParser
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytest

import objectstore
from objectstore import (CommitUnknown, Conflict, Damaged, Folder, InvalidQuery, InvalidRef, LocalObjectStore,
                         NotAvailableOffline, NotFound, ObjectStore, ObjectStoreError, ObjectStoreInterface,
                         Protected, Stats, TierMismatch, Unsupported, Untrusted, Version, Versions, get_config)
from planting import planted, spare
from objectstore.format import buckets, commit, origin, records
from objectstore import display, refs
from objectstore.cache import download
from trial import soak
from stacks import (  # noqa: F401 (fixtures)
    HERE, Stack, b, flat_html, home, make_stack, other_process, requests, stack, store, together, wait_a_tick)
from trial import soak

SMALL, LARGE = b'few bytes', bytes(range(256)) * 400     # inside a record; a payload of its own


class Sneaky:
    "Its pickle runs code when it is loaded"
    def __init__(self, marker): self.marker = str(marker)
    def __reduce__(self): return os.mkdir, (self.marker,)

def quietly(f, *args, **kw):
    "A call whose warnings are not shown"
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return f(*args, **kw)

def folder_of(top: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (top/name).parent.mkdir(parents=True, exist_ok=True)
        (top/name).write_bytes(data)
    return top

def get_elsewhere(store, ref): return store.get(ref)


class StoreContract:
    # ---- put and get
    def test_numbers_begin_at_1_and_increase_by_1(self, store, b):
        assert [store.put(f'{b}/x', i).version for i in range(4)] == [1, 2, 3, 4]
        assert store.get(f'{b}/x') == 3 and store.get(f'{b}/x@1') == 0 and store.put(f'{b}/y', 0).version == 1

    OBJECTS = [None, True, 0, 1.5, '', 'text', 'ä\n☃', [], {'a': [1, None]}, (1, 2), {1, 2}, b'', SMALL, LARGE,
               'x' * 100_000, {'k': ['v' * 50_000]}, date(2026, 11, 1), datetime(2026, 11, 1, tzinfo=timezone.utc),
               {1: 2}]
    def test_what_is_put_comes_back(self, stack, store, b):
        vs, other = [store.put(f'{b}/x', obj) for obj in self.OBJECTS], stack.open()
        for v, obj in zip(vs, self.OBJECTS):
            for s in (store, other):
                back = s.get(v)
                assert back == obj and type(back) is type(obj) and s.get(v, as_='bytes') == s.get(v.ref, as_=bytes)

    def test_arrays_and_frames_come_back(self, stack, store, b):
        a, df = np.arange(60_000).reshape(3, -1), pd.DataFrame({'x': range(20_000), 'y': 'text'})
        store.put(f'{b}/array', a); store.put(f'{b}/frame', df)
        other = stack.open()
        assert np.array_equal(other.get(f'{b}/array'), a)
        pd.testing.assert_frame_equal(other.get(f'{b}/frame'), df)
        assert (list(other.get(f'{b}/frame', columns=['y'])) == ['y']
                and type(other.get(f'{b}/frame', as_='arrow')).__module__.startswith('pyarrow'))
        assert other[f'{b}/frame'].stats['rows'] == 20_000

    def test_writing_to_what_was_got_never_changes_the_store(self, stack, store, b):
        v = store.put(f'{b}/a', np.zeros(50_000))
        for s in (store, store, stack.open()):
            got = s.get(v)
            assert not got.any()
            try: got[:] = 7
            except ValueError: pass         # read-only is safe too
        d = store.put(f'{b}/d', {'k': [1]}).get()
        d['k'].append(2)
        assert store.get(f'{b}/d') == {'k': [1]} and not stack.open().get(v).any()

    def test_what_the_caller_changes_afterwards_is_not_stored(self, stack, store, b):
        metadata, obj = {'tags': ['a']}, {'k': [1]}
        v = store.put(f'{b}/x', obj, metadata=metadata)
        metadata['tags'].append('b'); obj['k'].append(2)
        assert v.metadata == {'tags': ['a']} == stack.open()[v.ref].metadata and store.get(v) == {'k': [1]}
        v.metadata['tags'].append('c')
        assert store[v.ref].metadata == {'tags': ['a']}

    def test_a_put_makes_a_missing_bucket_and_says_so(self, stack, store):
        if stack.native:
            with pytest.raises(NotFound, match='find_or_create_bucket'): store.put('never-made-bucket/x', 1)
            return
        v = store.put('fresh/x', 1)
        assert store.list_buckets() == ['fresh'] and re.search('(new|made).*bucket|bucket.*(new|made)', repr(v))
        assert not re.search('(new|made).*bucket|bucket.*(new|made)', repr(store.put('fresh/x', 1)))

    def test_a_selector_in_put_is_an_error(self, store, b):
        for selector in ('3', '-1', 'latest', 'production', '*', '2026-11-01', 'id:' + '0' * 32):
            with pytest.raises(InvalidRef, match='selector'): store.put(f'{b}/x@{selector}', 1)
        assert f'{b}/x' not in store

    def test_a_bucket_is_no_item(self, store, b):
        for f in (lambda: store.put(b, 1), lambda: store.get(b), lambda: store[b], lambda: store.versions(b),
                  lambda: store.remove(b)):
            with pytest.raises(InvalidRef, match='bucket/item'): f()

    def test_the_text_of_a_path_is_text_and_warned_about(self, store, b):
        folder_of(Path('photos'), {'a.txt': b'1'})
        with pytest.warns(UserWarning, match=r"Path\('\./photos'\).*folder"): v = store.put(f'{b}/x', './photos')
        with pytest.warns(UserWarning, match='file'): store.put(f'{b}/x', './photos/a.txt')
        assert store.get(v) == './photos'
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            for text in ('./nothing', 'photos and more', 'a\0b/c', '/' + 'x' * 5000): store.put(f'{b}/x', text)

    def test_a_warning_points_at_the_caller(self, store, b):
        Path('here.txt').write_text('1')
        with pytest.warns(UserWarning) as said: store.put(f'{b}/x', './here.txt')
        assert said[0].filename == __file__
        with pytest.warns(UserWarning) as said: store.put(f'{b}/p', {1}, codec='pickle')
        assert said[0].filename == __file__

    def test_default_answers_only_not_found(self, stack, store, b):
        for ref in (f'{b}/x', f'{b}/x@3', f'{b}/x@production', 'no-such-bucket/x'):
            assert store.get(ref, default=None) is None
        store.put(f'{b}/x', 1)
        assert (store.get(f'{b}/x@2', default=0) == 0 == store.get(f'{b}/x@-2', default=0)
                and store.get(f'{b}/x@stable', default=0) == 0)
        with pytest.raises(InvalidRef): store.get(f'{b}/x@', default=0)
        p = quietly(store.put, f'{b}/p', {1}, codec='pickle')
        with pytest.raises(Untrusted): stack.open().get(p, default=0)
        with requests(store, mock.Mock(side_effect=ConnectionError('gone'))), pytest.raises(NotAvailableOffline):
            store.get(f'{b}/y', default=0)

    def test_not_found_names_what_is_near(self, store, b):
        store.put(f'{b}/models/churn', 1, alias='production')
        for ref, near in {f'{b}/models/chrun': "'models/churn'", f'{b}/models/churn@7': 'it has 1',
                          f'{b}/models/churn@prodution': "'production'", f'{b[:-1]}/models/churn': b,
                          f'{b}/models/churn@-2': 'it has 1', f'{b}/models/churn@2001-01-01': 'it has 1'}.items():
            with pytest.raises(NotFound) as e: store[ref]
            assert near in str(e.value), ref
            assert isinstance(e.value, KeyError) and isinstance(e.value, ObjectStoreError)

    def test_a_version_and_a_ref_name_the_same(self, store, b):
        v = store.put(f'{b}/x', 1)
        r = refs.parse_ref(v)
        assert (store.get(v) == store.get(v.ref) == store.get(str(v)) == store.get(r) == v.get()
                and store[v] == store[v.ref] == v and v in store)
        for obj in (v, ):
            with pytest.raises(Unsupported, match='copy'): store.put(f'{b}/y', obj)

    def test_kinds(self, store, b):
        assert (store.put(f'{b}/x', 1).kind == 'data'
                and store.put(f'{b}/x', 1, kind='slip').kind == 'slip' == store[f'{b}/x'].kind)
        for kind in ('', '  ', 5, 'x' * 101):
            with pytest.raises(InvalidQuery): store.put(f'{b}/x', 1, kind=kind)
        assert len(store.versions(f'{b}/x')) == 2

    def test_codec_by_name(self, store, b):
        assert store.put(f'{b}/x', 'text', codec='json').codec == 'json' and store.get(f'{b}/x') == 'text'
        with pytest.raises(Unsupported, match='bytes'): store.put(f'{b}/x', 'text', codec='byts')
        with pytest.raises(Unsupported): store.put(f'{b}/x', object())

    # ---- trust
    def test_a_pickle_is_loaded_only_with_trust(self, stack, store, b):
        with pytest.warns(UserWarning, match='trust=True'): v = store.put(f'{b}/p', {'a': {1}}, codec='pickle')
        assert store.get(v) == {'a': {1}}                  # this very object put it
        other = stack.open()
        with pytest.raises(Untrusted) as e: other.get(v.ref)
        assert all(word in str(e.value) for word in ('pickle', 'trust=True', 'run'))
        assert other.get(v.ref,
                         trust=True) == {'a': {1}} == stack.open(trust=True).get(v.ref) == other[v.ref].get(trust=True)
        assert isinstance(other.get(v.ref, as_='bytes'), bytes)
        with pytest.raises(Untrusted): stack.open(trust=True).get(v.ref, trust=False)

    def test_a_copy_does_not_make_anothers_pickle_trusted(self, stack, store, b, tmp_path):
        quietly(store.put, f'{b}/p', Sneaky(tmp_path/'ran'), codec='pickle')
        other, third = stack.open(), ObjectStore('memory://')
        other.copy(f'{b}/p', f'{b}/mine')
        other.copy(f'{b}/p', 'lab/mine', to=third)
        for s, ref in ((other, f'{b}/mine'), (other, f'{b}/p'), (third, 'lab/mine')):
            with pytest.raises(Untrusted): s.get(ref)
        assert not (tmp_path/'ran').exists()

    def test_bytes_that_were_put_as_bytes_are_no_trusted_pickle(self, stack, store, b, tmp_path):
        raw = pickle.dumps(Sneaky(tmp_path/'ran'), protocol=5)
        (f := Path('evil.bin')).write_bytes(raw)
        store.put(f'{b}/inbox', raw); store.put(f'{b}/inbox', f)          # somebody's file, kept but not loaded
        quietly(stack.open().put, f'{b}/p', Sneaky(tmp_path/'ran'), codec='pickle')
        with pytest.raises(Untrusted): store.get(f'{b}/p')
        assert not (tmp_path/'ran').exists()

    def test_an_unchanged_put_is_a_put_of_ones_own(self, stack, store, b):
        quietly(stack.open().put, f'{b}/p', [1], codec='pickle')
        v = quietly(store.put, f'{b}/p', [1], codec='pickle', skip_unchanged=True)
        assert v.version == 1 and store.get(v) == [1]

    # ---- selectors
    def test_every_selector(self, stack, store, b):
        x = f'{b}/x'
        v = [store.put(x, i) for i in range(1, 4)]
        store.set_alias(f'{x}@1', 'production')
        store.set_alias(f'{x}@2', 'production')
        store.set_alias(f'{x}@3', 'production')
        want = {'': 3, '@latest': 3, '@-1': 3, '@-2': 2, '@-3': 1, '@1': 1, '@production': 3, '@production~0': 3,
                '@production~1': 2, '@production~2': 1, f'@{date.today() + timedelta(1)}': 3, f'@id:{v[1].id}': 2,
                f'@{v[2].created.isoformat()}': 3}
        for s in (store, stack.open()):
            assert {k: s.get(x + k) for k in want} == want
        for bad in ('@-4', '@4', '@2001-01-01', '@2001-01-01T12:00', '@production~3', '@stable', f'@id:{"0" * 32}'):
            with pytest.raises(NotFound): store.get(x + bad)
        for bad in ('@', '@0', '@01', '@v1', '@1.5', '@+1', '@id:x', '@a/b', '@a@b', '@production~', '@production~-1',
                    '@~1', '@2026-13-01', '@99999999999'):
            with pytest.raises(InvalidRef): store.get(x + bad)
        with pytest.raises(InvalidRef, match='many'): store.get(x + '@*')

    def test_selectors_skip_what_was_removed(self, store, b):
        x = f'{b}/x'
        for i in range(1, 6): store.put(x, i)
        store.remove(f'{x}@5'); store.remove(f'{x}@3')
        assert ([store.get(x + s) for s in ('', '@-1', '@-2', '@-3')] == [4, 4, 2, 1]
                and store.versions(x).refs == [f'{x}@{n}' for n in (1, 2, 4)])
        for s in ('@5', '@3'):
            with pytest.raises(NotFound, match='removed'): store.get(x + s)
        assert store.put(x, 6).version == 6                # never used again

    def test_as_of_a_moment(self, stack, store, b):
        x, vs = f'{b}/x', []
        for i in range(3): vs.append(store.put(x, i)); wait_a_tick(stack)
        for s in (store, stack.open()):
            for i, v in enumerate(vs):
                at = v.created + timedelta(milliseconds=5 if stack.quick else 0)      # some services know only seconds
                assert s.get(f'{x}@{at.isoformat()}') == i == s.get(
                    f'{x}@{at.astimezone(timezone(timedelta(hours=5, minutes=30))).isoformat()}')
                assert s.find_items(b, at=at)[0].version == i + 1
            naive = vs[1].created.replace(tzinfo=None)
            assert s.get(f'{x}@{naive.isoformat()}') == 1       # without a zone: UTC
            with pytest.raises(NotFound): s.get(f'{x}@{(vs[0].created - timedelta(seconds=5)).isoformat()}')
        assert store.get(f'{x}@{vs[0].created:%Y-%m-%d}') == (
            2 if vs[2].created.date() == vs[0].created.date() else store.get(f'{x}@{vs[0].created:%Y-%m-%d}'))

    # ---- names of versions without reading
    def test_in_and_not_iterable(self, store, b):
        store.put(f'{b}/x', 1)
        assert (f'{b}/x' in store and f'{b}/x@1' in store and f'{b}/x@2' not in store and 'nothing/here' not in store
                and f'{b}/y' not in store)
        with pytest.raises(TypeError): iter(store)
        with pytest.raises(TypeError): list(store)
        with pytest.raises(TypeError): len(store)

    def test_keys_complete_without_a_request(self, store, b):
        store.put(f'{b}/x', 1); store.put(f'{b}/models/churn', 1)
        with pytest.raises(NotFound): store[f'{b}/asked-in-vain']
        with requests(store) as asked: assert store._ipython_key_completions_() == [f'{b}/models/churn', f'{b}/x']
        assert not asked

    def test_names_that_contain_one_another(self, store, b):
        for i, item in enumerate(['m', 'm/0000000001', 'm/1', 'm/@'.replace('@', 'at'), 'M', 'm/0000000001/0000000001',
                                  'records', 'records/m', 'm.removed', 'é', 'e\u0301']):
            assert store.put(f'{b}/{item}', item).version == 1, item
            assert store.get(f'{b}/{item}') == item
        assert len(store.find_items(b)) == 11 and store.get(f'{b}/m') == 'm'

    # ---- versions, notes
    def test_versions_oldest_first(self, store, b):
        made = [store.put(f'{b}/x', i) for i in range(3)]
        vs = store.versions(f'{b}/x')
        assert (isinstance(vs, Versions) and list(vs) == made and vs[-1] == made[-1] and vs[1:] == made[1:]
                and len(vs) == 3 and made[0] in vs)
        for bad in (f'{b}/y', 'nothing/y'):
            with pytest.raises(NotFound): store.versions(bad)
        with pytest.raises(InvalidRef): store.versions(f'{b}/x@2')

    def test_notes_overlay_metadata_and_the_record_stays(self, stack, store, b):
        v = store.put(f'{b}/x', 1, metadata={'stage': 'dev', 'auc': 0.9, 'm': {'a': 1, 'b': 2}})
        raw = v._in.backend.read(v._in.key('x', 1))
        w = store.annotate(v, {'stage': 'prod', 'owner': 'ana', 'm': {'c': 3}})
        store.annotate(f'{b}/x', {'auc': None})
        assert w == v and w.ref == v.ref
        for u in (v, store[v.ref], stack.open()[v.ref], store.versions(f'{b}/x')[0], store.find_items(b)[0]):
            assert u.metadata == {'stage': 'prod', 'owner': 'ana', 'm': {'c': 3}} and u.notes['owner'] == 'ana'
        assert v._in.backend.read(v._in.key('x', 1)) == raw
        for bad in ('text', 5, [1], None):
            with pytest.raises(InvalidQuery): store.annotate(v, bad)
        with pytest.raises(NotFound): store.annotate(f'{b}/x@2', {'a': 1})
        assert store.put(f'{b}/x', 2).metadata == {}       # notes are of one version

    def test_metadata_is_plain_and_checked(self, stack, store, b):
        class Colour(str): pass
        told = {'auc': np.float32(0.5), 'n': np.int64(3), 'ok': np.bool_(True), 'day': date(2026, 11, 1),
                'at': datetime(2026, 11, 1, 12, tzinfo=timezone.utc), 'ts': pd.Timestamp('2026-11-01'), 'none': None,
                'list': [1, (2, 3)], 'd': {'e': 1.5}, 'c': Colour('red'), 'z': np.array(5)}
        want = {'auc': 0.5, 'n': 3, 'ok': True, 'day': '2026-11-01', 'at': '2026-11-01T12:00:00+00:00',
                'ts': '2026-11-01T00:00:00', 'list': [1, [2, 3]], 'd': {'e': 1.5}, 'c': 'red', 'z': 5}
        v = store.put(f'{b}/x', 1, metadata=told)
        assert ({k: x for k, x in stack.open()[v.ref].metadata.items() if k != 'none'} == want
                and {k: x for k, x in v.metadata.items() if k != 'none'} == want)
        deep = {}
        for _ in range(100): deep = {'d': deep}
        cyclic = {}; cyclic['me'] = cyclic
        for bad in ({1: 2}, {'': 1}, {'a': {3}}, {'a': object()}, {'a': b'bytes'}, {'a': float('nan')},
                    {'a': np.float64('inf')}, {'a': '\ud800'}, {'\udfff': 1}, {'a': np.arange(3)}, {'a': pd.NaT},
                    {'a': 10 ** 5000}, deep, cyclic, 'text', [1], 5, [('a',)], {'t': np.timedelta64(3, 's')}):
            with pytest.raises(InvalidQuery) as e: store.put(f'{b}/x', 1, metadata=bad)
            assert len(str(e.value)) < 1000
        assert store[f'{b}/x'].version == 1

    def test_a_numpy_date_is_a_date(self, store, b):
        v = store.put(f'{b}/x', 1,
                      metadata={'s': np.datetime64('2026-11-01T12:00:00'),
                                'ns': np.datetime64('2026-11-01T12:00:00', 'ns'), 'd': np.datetime64('2026-11-01')})
        assert (v.metadata['d'] == '2026-11-01' and v.metadata['s'].startswith('2026-11-01T12:00')
                and str(v.metadata['ns']).startswith('2026-11-01T12:00'))

    def test_metadata_that_is_too_large_stores_nothing(self, stack, store, b):
        store.put(f'{b}/x', 1)
        before = len(list(stack.stored()))
        for obj in (1, LARGE):
            with pytest.raises((Unsupported, InvalidQuery), match='large|bytes'):
                store.put(f'{b}/x', obj, metadata={'a': 'x' * 10_000_000})
        with pytest.raises((Unsupported, InvalidQuery), match='large|bytes'):
            store.annotate(f'{b}/x', {'a': 'x' * 10_000_000})
        assert stack.open()[f'{b}/x'].metadata == {} and store[f'{b}/x'].version == 1 and len(store.find_items(b)) == 1
        assert len(list(stack.stored())) == before

    # ---- aliases
    def test_aliases_move_and_remember(self, stack, store, b):
        x = f'{b}/x'
        for i in range(3): store.put(x, i)
        assert (store.set_alias(f'{x}@1', 'production').version == 1
                and store.set_alias(store[f'{x}@3'], 'production').version == 3
                and store.set_alias(x, 'best').version == 3)
        for s in (store, stack.open()):
            assert (s.aliases(x) == {'production': 3, 'best': 3} and s[f'{x}@3'].aliases == ['best', 'production']
                    and s[f'{x}@1'].aliases == [])
            assert ([m['to'] for m in s.aliases(x).history('production')] == [1, 3]
                    and all(m['by'] and m['when'] for m in s.aliases(x).history('production')))
        assert (store.remove_alias(x, 'production') is True and store.remove_alias(x, 'production') is False
                and store.aliases(x) == {'best': 3})
        assert ([m['to'] for m in store.aliases(x).history('production')] == [1, 3, None]
                and store.get(f'{x}@production~1') == 2)
        with pytest.raises(NotFound): store.get(f'{x}@production')
        with pytest.raises(NotFound, match='best'): store.aliases(x).history('bets')

    def test_an_alias_that_is_where_it_should_be_does_not_move(self, store, b):
        store.put(f'{b}/x', 1)
        for _ in range(3): store.set_alias(f'{b}/x', 'production')
        assert len(store.aliases(f'{b}/x').history('production')) == 1

    NO_ALIASES = ['', '3', 'v3', 'latest', 'id:x', 'a~1', '*', 'a*', '2026-11-01', '2026-11-01x', 'a/b', 'a@b', ' a',
                  'a\nb', '-2', None, 5, '..', 'x' * 300, 'a\u202eb']
    def test_words_that_cannot_be_aliases(self, store, b):
        store.put(f'{b}/x', 1)
        for alias in self.NO_ALIASES:
            with pytest.raises(InvalidRef): store.set_alias(f'{b}/x', alias)
            if alias is not None:
                with pytest.raises(InvalidRef): store.put(f'{b}/x', 2, alias=alias)
            with pytest.raises(InvalidRef): store.remove_alias(f'{b}/x', alias)
        assert store.aliases(f'{b}/x') == {} and store[f'{b}/x'].version == 1

    def test_require(self, store, b):
        x = f'{b}/x'
        store.put(x, 1, metadata={'auc': 0.8}); store.put(x, 2, metadata={'auc': 0.95})
        with pytest.raises(Protected, match='0.8'): store.set_alias(f'{x}@1', 'production', require='auc > 0.9')
        with pytest.raises(Protected): store.set_alias(f'{x}@1', 'production', require='missing = 1')
        with pytest.raises(InvalidQuery): store.set_alias(f'{x}@2', 'production', require='auc >')
        assert store.aliases(x) == {}
        assert (store.set_alias(f'{x}@2', 'production', require='auc > 0.9').version == 2
                and store.set_alias(f'{x}@2', 'best', require={'auc': 0.95}).version == 2)
        store.annotate(f'{x}@1', {'auc': 0.99})
        assert store.set_alias(f'{x}@1', 'production', require='auc > 0.98').version == 1       # notes count

    def test_if_at(self, stack, store, b):
        x = f'{b}/x'
        for i in range(3): store.put(x, i)
        store.set_alias(f'{x}@1', 'production', if_at=None)
        with pytest.raises(Conflict, match='1'): store.set_alias(f'{x}@2', 'production', if_at=None)
        with pytest.raises(Conflict): store.set_alias(f'{x}@2', 'production', if_at=3)
        store.set_alias(f'{x}@2', 'production', if_at=store[f'{x}@1'])
        assert store.aliases(x) == {'production': 2}
        stores = [stack.open() for _ in range(4)]
        def move(i):
            try: stores[i].set_alias(f'{x}@3', 'production', if_at=2); return 1
            except Conflict: return 0
        assert sum(together(4, move)) >= 1 and store.aliases(x) == {'production': 3}
        # one move, whoever made it
        assert [m['to'] for m in store.aliases(x).history('production')] == [1, 2, 3]

    def test_one_of_several_that_move_an_alias_away_wins(self, stack, store, b):
        x, n = f'{b}/x', 4
        for i in range(n + 1): store.put(x, i)
        store.set_alias(f'{x}@1', 'production')
        stores = [stack.open() for _ in range(n)]
        def move(i):
            try: stores[i].set_alias(f'{x}@{i + 2}', 'production', if_at=1); return i + 2
            except Conflict: return None
        winners = [w for w in together(n, move) if w]
        assert len(winners) == 1 and stack.open().aliases(x) == {'production': winners[0]}

    def test_an_alias_needs_a_version(self, store, b):
        store.put(f'{b}/x', 1)
        for ref in (f'{b}/x@2', f'{b}/y', 'nothing/x'):
            with pytest.raises(NotFound): store.set_alias(ref, 'production')
        with pytest.raises(NotFound): store.aliases(f'{b}/y')
        with pytest.raises(InvalidRef): store.aliases(f'{b}/x@1')

    def test_put_with_an_alias(self, stack, store, b):
        v = store.put(f'{b}/x', 1, alias='production')
        assert v.aliases == ['production'] and store.get(f'{b}/x@production') == 1
        assert store.put(f'{b}/x', 2, alias='production').version == 2 and store.aliases(f'{b}/x') == {'production': 2}
        real, place = store.origin.bucket(b).backend.create, store.origin.bucket(b).backend
        def create(key, data):
            if '/aliases/' in f'/{key}': raise PermissionError('no aliases today')
            return real(key, data)
        with planted(place, 'create', create), pytest.raises(ObjectStoreError) as e:
            store.put(f'{b}/x', 3, alias='production')
        assert (f'{b}/x@3' in ' '.join([str(e.value), *getattr(e.value, '__notes__', [])])
                and stack.open().get(f'{b}/x') == 3 and isinstance(e.value, Protected))

    # ---- remove
    def test_remove_needs_a_selector_and_counts(self, stack, store, b):
        x = f'{b}/x'
        for i in range(5): store.put(x, i)
        with pytest.raises(InvalidRef, match=r'@\*'): store.remove(x)
        assert store.remove(f'{x}@2') == 1 and store.remove(f'{x}@-1') == 1 and store.remove(store[f'{x}@3']) == 1
        with pytest.raises(NotFound): store.remove(f'{x}@2')
        assert store.versions(x).refs == [f'{x}@1', f'{x}@4'] and store.remove(f'{x}@*') == 2
        with pytest.raises(NotFound, match='removed'): store.get(x)
        with pytest.raises(NotFound): store.remove(f'{x}@*')
        assert store.put(x, 5).version == 6
        for i in range(7, 10):                             # nor by one who has not seen it
            store.remove(f'{x}@latest')
            assert stack.open().put(x, i).version == i

    def test_an_aliased_version_is_protected(self, store, b):
        x = f'{b}/x'
        for i in range(3): store.put(x, i)
        store.set_alias(f'{x}@2', 'production')
        for ref in (f'{x}@2', f'{x}@*', f'{x}@production'):
            with pytest.raises(Protected, match='production'): store.remove(ref)
        assert len(store.versions(x)) == 3 and store.remove(f'{x}@1') == 1
        assert store.remove(f'{x}@*', force=True) == 2 and x not in store
        store.put(x, 4)
        assert store.aliases(x) == {} and store.aliases(x).history('production')[-1]['to'] is None

    def test_an_alias_that_is_set_during_a_removal_does_not_point_at_nothing(self, stack, store, b):
        x, other, real = f'{b}/x', stack.open(), commit.Bucket.remove
        store.put(x, 1); store.put(x, 2)
        def remove(self, item, n, by):
            other.set_alias(f'{x}@1', 'production')
            return real(self, item, n, by)
        with planted(commit.Bucket, 'remove', remove): store.remove(f'{x}@1')
        assert all(f'{x}@{n}' in store for n in stack.open().aliases(x).values())

    def test_a_damaged_record_can_be_removed_and_put_over(self, store, b):
        v = store.put(f'{b}/x', 1); store.put(f'{b}/x', 2)
        for n in (1, 2): self._overwrite(v, v._in.key('x', n), b'not a record')
        s = store
        s.origin._buckets.clear()
        with pytest.raises(Damaged): s.get(f'{b}/x')
        assert (s.put(f'{b}/x', 3).version == 3 and s.get(f'{b}/x') == 3 and s.remove(f'{b}/x@2') == 1
                and s.remove(f'{b}/x@1') == 1)
        assert s.versions(f'{b}/x').refs == [f'{b}/x@3']

    def test_a_folder_is_put_over_a_damaged_one(self, store, b):
        f = folder_of(Path('photos'), {'a': b'1', 'b': LARGE})
        v = store.put(f'{b}/x', f)
        self._overwrite(v, v._in.key('x', 1), b'')
        store.origin._buckets.clear()
        assert store.put(f'{b}/x', f).version == 2 and store.get(f'{b}/x').read('b') == LARGE

    @staticmethod
    def _overwrite(v, key, data):
        v._in.backend.delete(key)
        assert v._in.backend.create(key, data)

    def test_a_payload_that_is_changed_missing_or_anothers_is_never_returned(self, stack, store, b):
        v, w = store.put(f'{b}/x', LARGE), store.put(f'{b}/y', LARGE[::-1])
        key = lambda u: u._in.prefix + records.payload_key(u._record.hash, u._record.put)
        for data in (LARGE[:-1], LARGE + b'x', b'', LARGE[:70] + b'?' + LARGE[71:], LARGE[::-1]):
            self._overwrite(v, key(v), data)
            for read in (lambda s: s.get(v.ref), lambda s: s[v.ref].open().read(),
                         lambda s: s[v.ref].path().read_bytes(), lambda s: s.get(v.ref, as_='bytes'),
                         lambda s: s.get_many([v.ref])):
                try: assert read(stack.open()) in (LARGE, [LARGE]), read
                except Damaged: pass
        v._in.backend.delete(key(v))
        with pytest.raises(Damaged): stack.open().get(v.ref)
        assert stack.open().get(w.ref) == LARGE[::-1]

    def test_who_puts_the_bytes_again_gets_them_although_a_copy_is_damaged(self, stack, store, b):
        v = store.put(f'{b}/x', LARGE)
        self._overwrite(v, v._in.prefix + records.payload_key(v._record.hash, v._record.put), LARGE[::-1])
        for s in (store, stack.open()):
            with pytest.raises(Damaged): s.get(f'{b}/x@1')
            assert s.get(s.put(f'{b}/x', LARGE)) == LARGE

    @pytest.mark.parametrize('unchanged', [False, True])
    def test_who_puts_the_bytes_again_without_having_read_them_gets_them_too(self, stack, store, b, unchanged):
        v = store.put(f'{b}/x', LARGE)
        self._overwrite(v, v._in.prefix + records.payload_key(v._record.hash, v._record.put), LARGE[::-1])
        s = stack.open()
        assert s[v.ref].size == len(LARGE)
        again = s.put(f'{b}/x', LARGE, skip_unchanged=unchanged)
        assert again.version == 2 and s.get(again) == LARGE

    def test_a_record_that_is_changed_or_anothers_is_never_believed(self, stack, store, b):
        v, w = store.put(f'{b}/x', SMALL), store.put(f'{b}/y', b'other bytes')
        mine, other = (u._in.backend.read(u._in.key(u.item, 1)) for u in (v, w))
        for data in (other, mine[:-1], mine + b'x', b'', mine.replace(b'few', b'FEW'), mine.replace(b'data', b'dada'),
                     b'objectstore/9 x\n'):
            self._overwrite(v, v._in.key('x', 1), data)
            with pytest.raises((Damaged, Unsupported)): stack.open().get(v.ref)
            found = quietly(stack.open().find_items, b)
            assert [u.ref for u in found] == [f'{b}/y@1']

    # ---- a version whole
    def test_everything_a_version_says(self, stack, store, b):
        started = datetime.now(timezone.utc)
        v = store.put(f'{b}/models/churn', {'a': 1}, metadata={'description': 'the first', 'auc': 0.9}, kind='model')
        for u in (v, store[v.ref], stack.open()[v.ref], store.versions(f'{b}/models/churn')[0], store.find_items(b)[0]):
            assert (u.bucket, u.item, u.version, u.ref, str(u)) == (
                b, 'models/churn', 1, f'{b}/models/churn@1', f'{b}/models/churn@1')
            assert (u.codec == 'json' and u.kind == 'model' and u.size == 7 and re.fullmatch('[0-9a-f]{64}', u.hash)
                    and re.fullmatch('[0-9a-f]{32}', u.id))
            assert (u.created.tzinfo is timezone.utc and abs(u.created - started) < timedelta(minutes=5)
                    and '@' in u.author)
            assert (u.metadata == {'description': 'the first', 'auc': 0.9} and u.notes == {} and u.aliases == []
                    and not u.pending and not u.stale)
            assert u.source in {'memory': ('local',), 'local': ('local',), 'shared': ('shared',), 'two': ('local',),
                                'three': ('local', 'shared')}.get(stack.name, ('remote',))
            assert (isinstance(u.stats, Stats) and u.stats['length'] == 1 and u.lineage['python']
                    and u.lineage()['libraries'] and u.wait() is u and u.wait(timeout=1).version == 1)
            assert u == v and hash(u) == hash(v) and u.get() == {'a': 1} and u.created == v.created
        assert v != store.put(f'{b}/models/churn', {'a': 1}) and v != v.ref
        with pytest.raises(AttributeError): v.version = 2
        with pytest.raises(AttributeError): v.nothing

    def test_a_version_as_a_file(self, stack, store, b, tmp_path):
        for obj, name in ((SMALL, 'model.bin'), (LARGE, 'model.bin'), ({'a': 1}, 'model.json'),
                          ('x' * 100_000, 'model.txt')):
            v = store.put(f'{b}/models/model', obj)
            p = v.path()
            assert (p.name == name and p.read_bytes() == store.get(v, as_='bytes') and not p.stat().st_mode & 0o222
                    and p == v.path() and p.parent != Path.cwd())
            to = v.path(to=tmp_path/'mine.dat')
            to.write_bytes(b'changed')                                    # a copy of one's own
            (tmp_path/'there').mkdir(exist_ok=True)
            assert (v.path(to=tmp_path/'there') == tmp_path/'there'/name
                    and v.path(to=str(tmp_path/'new'/'deep.x')).read_bytes() == p.read_bytes())
            assert v.path().read_bytes() == store.get(v, as_='bytes') and stack.open().get(v.ref) == obj

    def test_a_cached_file_that_was_changed_is_made_again(self, stack, store, b):
        for obj in (SMALL, LARGE):
            v = store.put(f'{b}/x', obj)
            os.chmod(p := v.path(), 0o644)
            p.write_bytes(b'changed')
            assert v.path().read_bytes() == obj == stack.open()[v.ref].path().read_bytes()

    def test_a_version_as_an_open_file(self, store, b):
        for obj in (SMALL, LARGE):
            with store.put(f'{b}/x', obj).open() as f:
                assert f.seekable() and f.read() == obj and f.seek(3) == 3 and f.read(4) == obj[3:7]
                try: f.write(b'x'); f.flush()
                except (OSError, ValueError): pass
            assert store.get(f'{b}/x') == obj

    def test_a_file_keeps_its_name(self, stack, store, b):
        for data in (SMALL, LARGE, b''):
            (f := Path('Über plan (final).v3.pdf')).write_bytes(data)
            v = store.put(f'{b}/plans/x', f)
            got = stack.open().get(v.ref)
            assert (v.codec == 'file' and got.name == f.name
                    and got.read_bytes() == data == stack.open().get(v.ref, as_='bytes') and v.size == len(data))
        with pytest.raises(NotFound, match='no file'): store.put(f'{b}/y', Path('nothing'))
        os.mkfifo('pipe')
        with pytest.raises(Unsupported): store.put(f'{b}/y', Path('pipe'))

    def test_a_file_name_that_is_not_unicode(self, stack, store, b):
        f = Path(os.fsdecode(b'caf\xe9.bin')); f.write_bytes(SMALL)
        v = store.put(f'{b}/x', f)
        assert stack.open().get(v.ref).read_bytes() == SMALL

    def test_compare(self, store, b):
        v, w = store.put(f'{b}/x', {'a': 1}, metadata={'auc': 0.8, 'm': {'k': 1}}), store.put(
            f'{b}/x', {'a': 1, 'b': 2}, metadata={'auc': 0.9, 'm': {'k': 1}})
        diff = v.compare(w)
        assert (diff['auc'] == (0.8, 0.9) and 'hash' in diff and 'm.k' not in diff and diff == v.compare(w.ref)
                and v.compare(v) == {} and '0.8' in repr(diff))

    # ---- folders
    def test_a_folder_is_one_version_of_many_files(self, stack, store, b, tmp_path):
        files = {'a.txt': SMALL, 'sub/b.bin': LARGE, 'sub/deep/empty': b'', '.hidden': b'h', 'UPPER': b'U',
                 'upper': b'u', 'sub/same': SMALL}
        v = store.put(f'{b}/photos', folder_of(Path('photos'), files))
        assert v.codec == 'folder' and v.size == sum(map(len, files.values())) and v.stats['files'] == len(files)
        for f in (store.get(v), stack.open().get(f'{b}/photos')):
            assert (isinstance(f, Folder) and sorted(f) == sorted(files) and len(f) == len(files) and 'a.txt' in f
                    and 'b.txt' not in f and 'photos' in repr(f))
            assert ({n: f.read(n) for n in f} == files and f['sub/b.bin'].read_bytes() == LARGE
                    and f['sub/b.bin'].name == 'b.bin' and not f['a.txt'].stat().st_mode & 0o222)
            assert f.get('nothing') is None
            with pytest.raises(NotFound, match='a.txt'): f['a.tx']
        for top in (store.get(v).path(), v.path(), store.get(v).path(tmp_path/'mine'), v.path(to=tmp_path/'yours')):
            assert {str(p.relative_to(top)): p.read_bytes() for p in top.rglob('*') if p.is_file()} == files
        (tmp_path/'mine'/'a.txt').write_bytes(b'changed')
        assert store.get(v).read('a.txt') == SMALL and v.path().name == 'photos'
        for ask in (dict(as_='bytes'), dict(as_='pandas'), dict(columns=['a'])):
            with pytest.raises(Unsupported, match='folder'): store.get(v, **ask)
        with pytest.raises(Unsupported): v.open()
        with pytest.raises(Unsupported): store.put(f'{b}/again', store.get(v))

    def test_what_cannot_be_in_a_folder(self, store, b):
        Path('empty').mkdir()
        with pytest.raises(Unsupported): store.put(f'{b}/x', Path('empty'))
        for name, make in (('link', lambda p: p.symlink_to('/etc/hostname')), ('loop', lambda p: p.symlink_to('.')),
                           ('pipe', lambda p: os.mkfifo(p)), ('dangling', lambda p: p.symlink_to('nowhere'))):
            make(folder_of(Path(f'with-{name}'), {'a': b'1'})/name)
            with pytest.raises(Unsupported, match=name): store.put(f'{b}/x', Path(f'with-{name}'))
        assert f'{b}/x' not in store

    def test_a_part_of_a_folder_that_cannot_be_read_is_an_error(self, store, b):
        f, real = folder_of(Path('photos'), {'a': b'1', 'closed/b': b'2'}), os.scandir
        def scandir(p='.'):
            if str(p).endswith('closed'): raise PermissionError(13, 'Permission denied', str(p))
            return real(p)
        with planted(os, 'scandir', scandir), pytest.raises((ObjectStoreError, PermissionError)): store.put(f'{b}/x', f)
        assert f'{b}/x' not in store

    def test_a_large_folder(self, stack, store, b):
        n = soak(2000, 10_000) if stack.name == 'local' else 200
        top = Path('many'); top.mkdir()
        for i in range(n): (top/f'{i:05d}.txt').write_bytes(b'file %d' % i)
        s = stack.open(durable=False)
        v = s.put(f'{b}/many', top)
        f = stack.open().get(v.ref)
        assert len(f) == n and f.read(f'{n - 1:05d}.txt') == b'file %d' % (n - 1) and v.stats['files'] == n
        if n <= 1000: assert sum(1 for _ in f.path().iterdir()) == n
        (top/'00000.txt').write_bytes(b'changed')
        stored = len(list(stack.stored())) if stack.quick else 0
        w = s.put(f'{b}/many', top)
        assert s.get(w).read('00000.txt') == b'changed' and s.get(v).read('00000.txt') == b'file 0'
        if stack.quick: assert len(list(stack.stored())) <= stored + 3          # what is unchanged is shared

    def test_a_folder_of_which_a_part_is_lost(self, stack, store, b):
        v = store.put(f'{b}/x', folder_of(Path('photos'), {'a': b'1', 'b': LARGE}))
        size, hash, put = store.get(v).members['b']
        self._overwrite(v, v._in.prefix + records.payload_key(hash, put), LARGE[::-1])
        f = stack.open().get(v.ref)
        assert f.read('a') == b'1'
        for read in (lambda: f.read('b'), lambda: f['b'], f.path):
            with pytest.raises(Damaged): read()

    # ---- many at once
    def test_put_many_and_get_many(self, stack, store, b):
        objs = {f'{b}/many/{i}': {'i': i} for i in range(50)} | {f'{b}/large': LARGE, f'{b}/text': 'x'}
        vs = store.put_many(objs, metadata={'run': 1}, kind='slip')
        assert ([v.version for v in vs] == [1] * 52 and [f'{v.bucket}/{v.item}' for v in vs] == list(objs)
                and vs[0].metadata == {'run': 1} and vs[0].kind == 'slip')
        for s in (store, stack.open()): assert s.get_many(objs) == list(objs.values()) == s.get_many(vs)
        again = store.put_many((ref, i, {'own': i})
                               for i, ref in enumerate([f'{b}/a', f'{b}/b', f'{b}/a', f'{b}/many/0', f'{b}/a']))
        assert ([v.ref for v in again] == [f'{b}/a@1', f'{b}/b@1', f'{b}/a@2', f'{b}/many/0@2', f'{b}/a@3']
                and again[2].metadata == {'own': 2})
        assert stack.open().get_many([f'{b}/a', f'{b}/a@1', f'{b}/many/0@-2', f'{b}/a']) == [4, 0, {'i': 0}, 4]
        assert store.put_many([]) == [] == store.get_many([]) and store.put_many({}) == []

    def test_put_many_with_a_mistake_in_it_stores_nothing(self, store, b):
        for bad in ([(f'{b}/x', 1), ('../x', 2)], [(f'{b}/x', 1), (f'{b}/y', object())],
                    [(f'{b}/x', 1), (f'{b}/y@3', 1)], [(f'{b}/x', 1), 'y'], [(f'{b}/x', 1), (f'{b}/y', 1, {1: 2})],
                    [(f'{b}/x', 1), (f'{b}/y', 1, 'text')], 5, None, f'{b}/x'):
            with pytest.raises(ObjectStoreError): store.put_many(bad)
        assert f'{b}/x' not in store

    def test_get_many_and_what_is_not_there(self, stack, store, b):
        store.put(f'{b}/x', 1)
        refs = [f'{b}/x', f'{b}/y', f'{b}/x@7', 'nothing/x', f'{b}/x@stable']
        assert store.get_many(refs, default=None) == [1, None, None, None, None]
        with pytest.raises(NotFound): store.get_many(refs)
        for bad in (5, None, [5], [f'{b}/x@*'], [b]):
            with pytest.raises(ObjectStoreError): store.get_many(bad)
        v = quietly(store.put, f'{b}/p', [1], codec='pickle')
        with pytest.raises(Untrusted): stack.open().get_many([v.ref], default=None)
        assert (stack.open().get_many([v.ref], trust=True) == [[1]]
                and isinstance(store.get_many([f'{b}/x'], as_='bytes')[0], bytes))

    # ---- copy
    def test_copy_of_a_version(self, stack, store, b):
        b2 = stack.bucket('other')
        for obj in (SMALL, LARGE, {'a': 1}):
            v = store.put(f'{b}/x', obj, metadata={'auc': 0.9}, kind='model')
        store.annotate(v, {'stage': 'prod'})
        for dst in (f'{b}/y', f'{b2}/y'):
            for n, obj in enumerate((SMALL, LARGE, {'a': 1}), 1):
                w = store.copy(f'{b}/x@{n}', dst)
                assert (w.ref == f'{dst}@{n}' and w.get() == obj == stack.open().get(w.ref)
                        and w.id != store[f'{b}/x@{n}'].id and w.kind == 'model')
            assert w.metadata == {'auc': 0.9, 'stage': 'prod'} and w.lineage['copied']['from'] == f'{b}/x@3'
        assert store.copy(f'{b}/x', f'{b}/x').version == 4 and store.copy(store[f'{b}/x@1'], f'{b}/z').get() == SMALL

    def test_a_copy_within_a_bucket_moves_no_payload(self, stack, store, b):
        v = store.put(f'{b}/x', LARGE)
        f = store.put(f'{b}/f', folder_of(Path('photos'), {'a': b'1', 'b': LARGE[::-1], 'c': b'3'}))
        s = stack.open()
        def payloads(): return sum('payloads/' in k for k, _ in stack.stored())
        n = payloads()
        s.copy(v.ref, f'{b}/y'); s.copy(f.ref, f'{b}/g')
        assert payloads() == n and s.get(f'{b}/g').read('b') == LARGE[::-1]

    def test_undo_of_a_removal(self, stack, store, b):
        x = f'{b}/x'
        for i in range(1, 4): store.put(x, i, metadata={'i': i})
        store.remove(f'{x}@3'); store.remove(f'{x}@1')
        w = store.copy(f'{x}@3', x)
        assert (w.version == 4 and store.get(x) == 3 and w.metadata == {'i': 3}
                and stack.open().versions(x).refs == [f'{x}@2', f'{x}@4'])
        with pytest.raises(NotFound): store.copy(f'{x}@7', x)
        store.remove(f'{x}@*')
        assert store.copy(f'{x}@2', x).get() == 2 and store.get(x) == 2

    def test_copy_needs_somewhere_to_go(self, store, b):
        store.put(f'{b}/x', 1)
        for src, dst in ((f'{b}/x', None), (b, None), (f'{b}/x@*', None), (b, b), (f'{b}/x@*', f'{b}/x'), (b, f'{b}/y'),
                         (f'{b}/x@*', 'other'), (f'{b}/x', 'other'), (f'{b}/x', f'{b}/y@2')):
            with pytest.raises(InvalidRef): store.copy(src, dst)
        for to in ('text', 5, Path('x'), object()):
            with pytest.raises(ObjectStoreError): store.copy(f'{b}/x', to=to)
        for src in (f'{b}/y', 'nothing/x', 'nothing', f'{b}/y@*'):
            with pytest.raises(NotFound): store.copy(src, to=ObjectStore('memory://'))

    def _filled(self, store, b):
        "A bucket with all that a bucket can have"
        for i in range(1, 4): store.put(f'{b}/x', {'i': i}, metadata={'i': i})
        store.put(f'{b}/models/churn', LARGE, kind='model', alias='production'); store.put(f'{b}/models/churn', SMALL)
        store.put(f'{b}/photos', folder_of(Path('photos'), {'a': b'1', 's/b': LARGE}))
        store.set_alias(f'{b}/x@1', 'best')
        store.set_alias(f'{b}/x@3', 'best')
        store.annotate(f'{b}/x@1', {'stage': 'prod'})
        store.remove(f'{b}/x@2'); store.put(f'{b}/gone', 1); store.remove(f'{b}/gone@1')

    @staticmethod
    def _all(store, b):
        return {v.ref.partition('/')[2]: (v.id, v.codec == 'folder' or v.hash, v.kind, v.size, v.metadata, v.aliases)
                for v in store.find_items(b, at='*')}

    @pytest.mark.parametrize('there', ['same', 'memory'])
    def test_copy_of_a_bucket_keeps_numbers(self, stack, store, b, there):
        to = store if there == 'same' else ObjectStore('memory://')
        b2 = stack.bucket('other')
        self._filled(store, b)
        vs = store.copy(b, b2, to=to)
        assert (isinstance(vs, Versions) and sorted(v.item for v in vs)
                == ['models/churn', 'models/churn', 'photos', 'x', 'x'])
        assert self._all(to, b2) == self._all(store, b)
        assert (to.get(f'{b2}/models/churn@production') == LARGE and to.get(f'{b2}/photos').read('s/b') == LARGE
                and to.get(f'{b2}/x@best~1') == {'i': 1})
        with pytest.raises(NotFound, match='removed'): to.get(f'{b2}/x@2')
        assert to.put(f'{b2}/x', 4).version == 4 and to.put(f'{b2}/gone', 2).version == 2

    def test_copy_again_brings_only_what_is_new(self, stack, store, b):
        to = ObjectStore('memory://')
        self._filled(store, b)
        store.copy(b, 'other', to=to)
        with requests(to) as asked: again = store.copy(b, 'other', to=to)
        assert len(again) == 0 and not asked['create'] and not asked['upload'] and 'there already' in repr(again)
        store.put(f'{b}/x', {'i': 4})
        store.annotate(f'{b}/x@1', {'stage': 'old'})
        store.set_alias(f'{b}/x@4', 'best')
        store.put(f'{b}/new', 1)
        assert (sorted(v.ref for v in store.copy(b, 'other', to=to)) == ['other/new@1', 'other/x@4']
                and self._all(to, 'other') == self._all(store, b))
        to.put('other/x', 'their own')
        store.put(f'{b}/x', {'i': 5})
        assert (store.copy(b, 'other', to=to).refs == ['other/x@6'] and to.get('other/x') == {'i': 5}
                and to.get('other/x@5') == 'their own')
        assert not store.copy(b, 'other', to=to)

    def test_copy_to_where_the_item_is_gives_new_numbers(self, stack, store, b):
        b2 = stack.bucket('other')
        for i in range(1, 4): store.put(f'{b}/x', i)
        store.put(f'{b2}/x', 'first')
        assert (store.copy(f'{b}/x@*', f'{b2}/x').refs == [f'{b2}/x@{n}' for n in (2, 3, 4)]
                and [v.get() for v in store.versions(f'{b2}/x')] == ['first', 1, 2, 3])
        assert not store.copy(f'{b}/x@*', f'{b2}/x')
        assert ([v.get() for v in store.copy(f'{b}/x@*', f'{b}/y')] == [1, 2, 3]
                and store.copy(f'{b}/x@*', f'{b2}/z').refs == [f'{b2}/z@{n}' for n in (1, 2, 3)])

    def test_a_copy_that_was_broken_off_goes_on(self, stack, store, b):
        self._filled(store, b)
        to = ObjectStore('memory://')
        place, tries = to.origin.place, 0
        real = place.create
        for stop in range(1, 60):
            left = [stop]
            def create(key, data):
                left[0] -= 1
                if left[0] < 0: raise PermissionError('cut')
                return real(key, data)
            with planted(place, 'create', create):
                try: store.copy(b, 'other', to=to); break
                except Protected: tries += 1
        assert tries > 3 and self._all(to, 'other') == self._all(store, b)
        with pytest.raises(NotFound, match='removed'): to.get('other/x@2')
        assert to.get('other/photos').read('s/b') == LARGE

    # ---- conditions on a put
    def test_skip_unchanged(self, stack, store, b):
        x = f'{b}/x'
        v = store.put(x, {'a': 1}, metadata={'auc': 0.9, 'n': 1})
        for s in (store, stack.open()):
            assert s.put(x, {'a': 1}, skip_unchanged=True) == v == s.put(
                x, {'a': 1}, metadata={'auc': 0.9}, skip_unchanged=True)
        assert store.put(x, {'a': 1}, metadata={'auc': 0.8}, skip_unchanged=True).version == 2
        assert (store.put(x, {'a': 1}, metadata={'new': 1}, skip_unchanged=True).version == 3
                and store.put(x, {'a': 1}, kind='model', skip_unchanged=True).version == 4)
        assert (store.put(x, {'a': 2}, kind='model', skip_unchanged=True).version == 5
                and store.put(x, b'{"a":2}', kind='model', skip_unchanged=True).version == 6)
        assert store.put(f'{b}/large', LARGE, skip_unchanged=True).version == 1 == store.put(
            f'{b}/large', LARGE, skip_unchanged=True).version
        store.remove(f'{b}/large@1')
        assert store.put(f'{b}/large', LARGE, skip_unchanged=True).version == 2
        assert store.put(x, {'a': 3}, skip_unchanged=True, alias='best').aliases == ['best'] == store.put(
            x, {'a': 3}, skip_unchanged=True, alias='best').aliases

    def test_skip_unchanged_of_folders(self, stack, store, b):
        f = folder_of(Path('photos'), {'a': b'1', 's/b': LARGE})
        v = store.put(f'{b}/x', f)
        for s in (store, stack.open()): assert s.put(f'{b}/x', f, skip_unchanged=True) == v
        (f/'a').write_bytes(b'2')
        assert store.put(f'{b}/x', f, skip_unchanged=True).version == 2
        (f/'a').rename(f/'c')
        assert store.put(f'{b}/x', f, skip_unchanged=True).version == 3

    def test_if_latest(self, stack, store, b):
        x = f'{b}/x'
        with pytest.raises(Conflict): store.put(x, 1, if_latest=1)
        assert store.put(x, 1, if_latest=0).version == 1
        with pytest.raises(Conflict, match='1'): store.put(x, 2, if_latest=0)
        other = stack.open()
        assert other.put(x, 2, if_latest=1).version == 2
        with pytest.raises(Conflict, match='2'): store.put(x, 3, if_latest=1)
        assert store.put(x, 3, if_latest=2).version == 3
        store.remove(f'{x}@3')
        with pytest.raises(Conflict): store.put(x, 4, if_latest=3)
        assert store.put(x, 4, if_latest=2).version == 4
        store.remove(f'{x}@*')
        assert store.put(x, 5, if_latest=0).version == 5
        for bad in (-1, True, 1.0, '1'):
            with pytest.raises(InvalidRef): store.put(x, 6, if_latest=bad)

    def test_of_a_race_with_if_latest_one_wins(self, stack, store, b):
        store.put(f'{b}/x', 0)
        stores = [stack.open() for _ in range(4)]
        def put(i):
            try: return stores[i].put(f'{b}/x', i, if_latest=1)
            except Conflict as e:
                assert f'{b}/x' in str(e)
                return None
        won = [v for v in together(4, put) if v]
        assert len(won) == 1 and won[0].version == 2 and len(store.versions(f'{b}/x')) == 2

    # ---- what may only read
    def test_a_readonly_store_reads_and_does_not_write(self, stack, store, b):
        x = f'{b}/x'
        store.put(x, 1, alias='production')
        r = stack.open(readonly=True)
        assert (r.get(x) == 1 and r.find_items(b) and r.aliases(x) and r.get_stats(b) and r.list_buckets()
                and r.copy(x, 'lab/x', to=ObjectStore('memory://')).version == 1)
        before = sorted(k for k, _ in stack.stored())
        for write in (lambda: r.put(x, 2), lambda: r.remove(f'{x}@1'), lambda: r.set_alias(x, 'a'),
                      lambda: r.remove_alias(x, 'production'), lambda: r.annotate(x, {'a': 1}),
                      lambda: r.copy(x, f'{b}/y'), lambda: r.find_or_create_bucket('new-bucket'),
                      lambda: r.remove_bucket(b, force=True), lambda: r.put_many({x: 1}),
                      lambda: store.copy(x, 'lab/x', to=r)):
            with pytest.raises(Protected, match='readonly'): write()
        assert sorted(k for k, _ in stack.stored()) == before and 'readonly' in repr(r)

    def test_where_writing_is_forbidden_reading_works(self, stack, store, b):
        x = f'{b}/x'
        store.put(x, LARGE, alias='production', metadata={'a': 1})
        store.put(f'{b}/f', folder_of(Path('photos'), {'a': b'1'}))
        s = stack.open()
        for name in (b, ): s.origin.bucket(name)
        def forbidden(*_, **__): raise PermissionError(13, 'AccessDenied')
        def many(items): return [PermissionError(13, 'AccessDenied') for _ in items]
        for place in {id(p): p for p in (s.origin.place, s.origin.bucket(b).backend)}.values():
            for verb in ('create', 'upload', 'delete', 'make'):
                if hasattr(place, verb): setattr(place, verb, forbidden)
            if hasattr(place, 'create_many'): place.create_many = many
        assert (s.get(x) == LARGE and s[f'{x}@production'].metadata == {'a': 1} and s.get(f'{b}/f').read('a') == b'1'
                and s.get_stats().items and b in s.list_buckets())
        assert (s.find_items(b, where='a = 1').refs == [f'{x}@1'] and s.get_many([x]) == [LARGE]
                and s[x].path().read_bytes() == LARGE and s.aliases(x).history('production'))
        assert s.copy(b, 'lab', to=ObjectStore('memory://'))
        for write in (lambda: s.put(x, 2), lambda: s.put(x, LARGE[::-1]), lambda: s.put(f'{b}/f', Path('photos')),
                      lambda: s.remove(f'{x}@1', force=True), lambda: s.set_alias(x, 'a'),
                      lambda: s.annotate(x, {'a': 1}), lambda: s.put_many({x: 1, f'{b}/y': 2}),
                      lambda: s.find_or_create_bucket('new-bucket'), lambda: s.remove_bucket(b, force=True)):
            with pytest.raises(Protected) as e: write()
            assert isinstance(e.value, PermissionError)

    def test_what_is_not_there_is_not_available_and_says_so(self, stack, store, b):
        if stack.nears: pytest.skip('near tiers answer: test_offline.py')
        x = f'{b}/x'
        v, f = store.put(x, LARGE, alias='production'), store.put(
            f'{b}/f', folder_of(Path('photos'), {'a': LARGE[::-1]}))
        _aliases, s = store.aliases(x), stack.open()
        v, folder = s[v.ref], s.get(f)
        calls = dict(get=lambda: s.get(x), item=lambda: s[x], put=lambda: s.put(x, 1), many=lambda: s.get_many([x]),
                     find=lambda: s.find_items(b), stats=lambda: s.get_stats(), list=lambda: s.list_buckets(),
                     inside=lambda: x in s, created=lambda: store.put, aliases=lambda: v.aliases,
                     metadata=lambda: v.metadata, path=lambda: v.path(), open=lambda: v.open().read(1),
                     vget=lambda: v.get(), file=lambda: folder['a'], top=lambda: folder.path(),
                     remove=lambda: s.remove(f'{x}@1'), alias=lambda: s.set_alias(x, 'a'),
                     copy=lambda: s.copy(x, f'{b}/y'), versions=lambda: s.versions(x),
                     bucket=lambda: s.find_or_create_bucket('new-bucket'))
        del calls['created']
        with requests(s, mock.Mock(side_effect=ConnectionRefusedError(111, 'refused'))):
            if hasattr(v._in.backend, 'path'): v._in.backend.path = lambda key: None
            wrong = {}
            for name, call in calls.items():
                try: wrong[name] = call()
                except (NotAvailableOffline, CommitUnknown): pass
                except Exception as e: wrong[name] = e
        assert not wrong

    # ---- finding
    def test_find_items(self, store, b):
        for i, (item, kind) in enumerate([('models/churn', 'model'), ('models/price', 'model'), ('data/daily', 'data'),
                                          ('Models/old', 'data')]):
            store.put(f'{b}/{item}', 'x' * i, kind=kind,
                      metadata={'auc': 0.6 + i / 10, 'stage': 'prod' if i % 2 else 'dev', 'm': {'k': i},
                                'description': f'number {i} Ängström'})
        store.put(f'{b}/models/churn', 'x' * 50, kind='model', metadata={'auc': 0.99})
        find = lambda *a, **kw: [v.ref.partition('/')[2] for v in store.find_items(b, *a, sort='item', **kw)]
        everything = ['Models/old@1', 'data/daily@1', 'models/churn@2', 'models/price@1']
        assert (find() == everything and find('odels/') == ['Models/old@1', 'models/churn@2', 'models/price@1']
                and find('^models/') == ['models/churn@2', 'models/price@1'])
        assert (find(re.compile('odels')) == [] and find(re.compile('models', re.IGNORECASE))
                == ['Models/old@1', 'models/churn@2', 'models/price@1'] and find('') == everything)
        assert (find(at='*') == ['Models/old@1', 'data/daily@1', 'models/churn@1', 'models/churn@2', 'models/price@1']
                and find(at=1) == find(at='@1') and find(at=-2) == ['models/churn@1'])
        assert (find(where='auc > 0.75 and auc < 0.95') == ['Models/old@1', 'data/daily@1']
                and find(where={'stage': 'prod'}) == ['Models/old@1', 'models/price@1'])
        assert find(where='m.k = :k OR kind = :kind', params={'k': 3, 'kind': 'data'}) == [
            'Models/old@1', 'data/daily@1']
        assert find(where="item like 'models/%' and size > 10") == ['models/churn@2']
        assert (find(kind='model') == ['models/churn@2', 'models/price@1']
                and find(text='angstrom 2') == ['data/daily@1'] and find(text='churn') == ['models/churn@2']
                and find(text='zzz') == [])
        assert (find('models', kind='model', where='auc > 0.9') == ['models/churn@2']
                and find(limit=2) == everything[:2] and find(limit=0) == [])
        assert [v.item for v in store.find_items(b, sort='-auc')] == [
            'models/churn', 'Models/old', 'data/daily', 'models/price']
        assert store.find_items(b, sort='-size', limit=1)[0].size == 50
        store.set_alias(f'{b}/models/churn@1', 'production')
        store.set_alias(f'{b}/data/daily', 'production')
        store.set_alias(f'{b}/models/churn@2', 'production')
        assert (find(at='production') == ['data/daily@1', 'models/churn@2']
                and find(at='production~1') == ['models/churn@1']
                and find(where="alias = 'production'") == ['data/daily@1', 'models/churn@2'])
        assert (find(at=date.today() + timedelta(1)) == everything == find(at=f'{date.today() + timedelta(1)}')
                and find(at='2001-01-01') == [])
        assert find(at=f'id:{store[f"{b}/models/churn@1"].id}') == ['models/churn@1']

    def test_find_items_newest_first_and_in_every_bucket(self, stack, store, b):
        b2 = stack.bucket('other')
        for i, ref in enumerate([f'{b}/one', f'{b2}/two', f'{b}/three']): store.put(ref, i); wait_a_tick(stack)
        found = [v.ref for v in store.find_items() if v.bucket in (b, b2)]
        assert (found == [f'{b}/three@1', f'{b2}/two@1', f'{b}/one@1']
                and [v.ref for v in store.find_items(sort='created') if v.bucket in (b, b2)] == found[::-1])
        store.remove(f'{b}/three@1')
        assert f'{b}/three@1' not in [v.ref for v in store.find_items(at='*')]

    def test_an_empty_result_says_why(self, store, b):
        store.put(f'{b}/gone', 1); store.remove(f'{b}/gone@1')
        assert not store.find_items(b) and 'Nothing' in repr(store.find_items(b))
        for i in range(3): store.put(f'{b}/m{i}', i, kind='model', metadata={'auc': 0.9})
        store.put(f'{b}/d', 1, kind='data')
        assert (re.search(r"kind 'modle'.*model.*3.*data.*1", repr(store.find_items(b, kind='modle')))
                and re.search('None of 4', repr(store.find_items(b, where='auc > 1'))))
        assert (re.search('None of 4', repr(store.find_items(b, text='zzz')))
                and 'zzz' in repr(store.find_items(b, where='zzz = 1')))
        assert 'zzz' in repr(store.find_items(b, 'zzz'))
        with pytest.raises(InvalidQuery, match='auc'): store.find_items(b, where='aucc > 0.5')
        with pytest.raises(NotFound, match=b): store.find_items(b[:-1])
        assert len(store.find_items(b, at='production')) == 0 and 'production' in repr(store.find_items(
            b, at='production')), 'an alias that nothing has should be named'

    def test_find_items_and_what_cannot_be_understood(self, store, b):
        store.put(f'{b}/x', 1, metadata={'auc': 1})
        for kw in (dict(where='auc >'), dict(where='1; drop table x'), dict(where="auc = :who"),
                   dict(where='auc = 1', params={'x': 1}), dict(where=5), dict(limit=-1), dict(limit=True),
                   dict(limit='3'), dict(sort=''), dict(sort='-'), dict(sort=5), dict(filter='('), dict(filter=5),
                   dict(filter=re.compile(b'x')), dict(kind=5), dict(text=5), dict(params={'a': 1})):
            with pytest.raises(InvalidQuery): store.find_items(b, **kw)
        for at in (0, True, None, 1.5, '', '@', 'a b@', object(), '01'):
            with pytest.raises(InvalidRef): store.find_items(b, at=at)
        for bucket in ('', '../x', f'{b}@3', f'{b}//x', 5, '.'):
            with pytest.raises(InvalidRef): store.find_items(bucket)

    def _broken(self, store, b, key_of):
        "Break what `key_of` names in every way: the rest is found, and the version itself is damaged"
        v, _ = store.put(f'{b}/x', 1, alias='production', metadata={'a': 1}), store.put(f'{b}/y', 2)
        store.annotate(v, {'b': 2})
        for data in (b'', b'[]', b'nonsense', b'x' * (records.RECORD_LIMIT + 1)):
            self._overwrite(v, v._in.prefix + key_of(v), data)
            store.origin._buckets.clear()
            assert f'{b}/y@1' in quietly(store.find_items, b).refs and store.get(f'{b}/y') == 2, data[:10]
            with pytest.raises(Damaged): store[f'{b}/x@production'].metadata

    def test_a_broken_record_does_not_hide_the_others(self, store, b):
        self._broken(store, b, lambda v: records.records_folder('x') + '0000000001')

    def test_a_broken_note_does_not_hide_the_others(self, store, b):
        self._broken(store, b, lambda v: records.notes_folder('x', 1) + '0000000001')

    def test_a_broken_alias_does_not_hide_the_others(self, store, b):
        self._broken(store, b, lambda v: records.alias_folder('x', 'production') + '0000000001')

    # ---- statistics
    def test_stats_of_everything(self, stack, store, b):
        df = pd.DataFrame({'x': [1, 2, None], 'y': list('abc')})
        v = store.put(f'{b}/frame', df, kind='data', metadata={'a': 1})
        store.put(f'{b}/frame', df.iloc[:2])
        store.put(f'{b}/m', {'a': 1}, kind='model', alias='best')
        for s in (store, stack.open()):
            with requests(s) as asked: one = s.get_stats(v.ref)
            assert (one['rows'] == 3 and one['ref'] == v.ref and one['kind'] == 'data' and one.rows == 3
                    and not asked['stream'])
            item = s.get_stats(f'{b}/frame')
            assert (item['versions'] == 2 and item['latest'] == 2 and item['rows'] == 2
                    and item['first'] <= item['last'] and item['size'] == sum(u.size for u in s.versions(f'{b}/frame'))
                    and item['authors'])
            bucket = s.get_stats(b)
            assert (bucket['items'] == 2 and bucket['versions'] == 3
                    and bucket['kinds'] == {'data': {'versions': 2, 'size': item['size']},
                                            'model': {'versions': 1, 'size': 7}} and bucket['size'] == item['size'] + 7)
            whole = s.get_stats()
            there = dict(whole['buckets'][b])
            assert there.pop('stored') > bucket['size'] and bucket['stored'] > bucket['size']     # the records too
            assert there == {'items': 2, 'versions': 3, 'size': bucket['size']} and whole['versions'] >= 3
        assert (store.get_stats(f'{b}/m')['aliases'] == {'best': 1}
                and store.get_stats(f'{b}/m@best')['ref'] == f'{b}/m@1'
                and store.get_stats(v) == store.get_stats(v.ref))
        for bad in (f'{b}/y', f'{b}/m@7', 'nothing', 'nothing/x'):
            with pytest.raises(NotFound): store.get_stats(bad)
        with pytest.raises(AttributeError, match='rows'): item.rosw

    # ---- buckets
    def test_buckets_come_and_go(self, stack, store):
        made = [stack.bucket(w) for w in ('alpha', 'beta', 'gamma')]
        if not stack.native:
            assert store.list_buckets() == [] and [store.find_or_create_bucket(n) for n in made] == made
        assert store.find_or_create_bucket(made[0]) == made[0]
        assert [n for n in store.list_buckets() if n in made] == made == [
            n for n in stack.open().list_buckets() if n in made]
        assert ([n for n in store.list_buckets('a$') if n in made] == [n for n in made if n.endswith('a')]
                and made[0] in store.list_buckets('lph') and made[0] not in store.list_buckets(re.compile('lph')))
        assert ([n for n in store.list_buckets(re.compile('al|ga')) if n in made] == [made[0], made[2]]
                and made[0] not in store.list_buckets('nothing'))
        assert (store.remove_bucket(made[1]) is True and made[1] not in store.list_buckets()
                and store.remove_bucket(made[1]) is True and store.remove_bucket('never-was-here') is True)
        for bad in ('(', 5, re.compile(b'a')):
            with pytest.raises(InvalidQuery): store.list_buckets(bad)
        for bad in ('', 'a/b', '..', 'a@b', None, 5):
            for verb in (store.find_or_create_bucket, store.remove_bucket):
                with pytest.raises(InvalidRef): verb(bad)

    def test_a_bucket_that_holds_something_is_not_touched(self, stack, store, b):
        store.put(f'{b}/x', 1, alias='production'); store.put(f'{b}/y', LARGE)
        before = dict(stack.stored())
        assert (store.remove_bucket(b) is False and dict(stack.stored()) == before and store.get(f'{b}/x') == 1
                and b in store.list_buckets())
        assert store.remove_bucket(b, force=True) is True and b not in stack.open().list_buckets()
        for s in (store, stack.open()):
            for ref in (f'{b}/x', f'{b}/x@1', f'{b}/x@production', f'{b}/y'): assert ref not in s
            with pytest.raises(NotFound): s.find_items(b)
            with pytest.raises(NotFound): s.get_stats(b)

    def test_a_bucket_whose_versions_were_removed_is_empty(self, store, b):
        store.put(f'{b}/x', 1); store.remove(f'{b}/x@*')
        assert b in store.list_buckets() and store.remove_bucket(b) is True and b not in store.list_buckets()

    def test_a_put_makes_a_removed_bucket_again_and_goes_on_counting(self, stack, store, b):
        other = stack.open()
        other.put(f'{b}/x', 1); other.get(f'{b}/x')
        assert store.put(f'{b}/x', 2).version == 2 and store.remove_bucket(b, force=True)
        assert (other.put(f'{b}/x', 3).version == 3 and b in stack.open().list_buckets()
                and stack.open().versions(f'{b}/x').refs == [f'{b}/x@3'] and other.get(f'{b}/x') == 3)
        assert store.remove_bucket(b) is False

    def test_a_put_that_races_a_removal_is_seen_or_stops_it(self, stack, store, b):
        writer, lost = stack.open(), 0
        for i in range(20 if stack.quick else 5):
            store.find_or_create_bucket(b)
            writer.origin.for_put(b)
            together(2, lambda k: store.remove_bucket(b) if k else writer.put(f'{b}/x{i}', i))
            fresh = stack.open()
            lost += not (fresh.get(f'{b}/x{i}', default=None) == i and b in fresh.list_buckets()
                         and f'{b}/x{i}@1' in fresh.find_items(b).refs)
            fresh.remove(f'{b}/x{i}@*')
        assert lost == 0

    def test_a_put_between_the_looks_of_a_removal_makes_the_bucket_again(self, stack, store, b):
        writer = stack.open()
        writer.put(f'{b}/old', 1); writer.remove(f'{b}/old@1')
        real = origin.append
        def append(backend, folder, data, *args, **kw):
            if data.get('is') == 'removed': writer.put(f'{b}/x', 'late')
            return real(backend, folder, data, *args, **kw)
        with planted(origin, 'append', append): assert store.remove_bucket(b) is False
        assert (stack.open().get(f'{b}/x') == 'late' and b in stack.open().list_buckets()
                and stack.open().origin.bucket(b).state()[1] is True)

    # ---- threads and processes
    def test_threads_share_a_store(self, stack, store, b):
        n, each = (16, 8) if stack.quick else (8, 3)
        def work(i):
            said = []
            for k in range(each):
                v = store.put(f'{b}/own{i}', (i, k)); said.append(v.version)
                assert store.get(v) == (i, k) == store.get(f'{b}/own{i}') and store[v.ref].metadata == {}
                store.put(f'{b}/all', (i, k)); store.find_items(b, limit=1)
            return said
        assert together(n, work) == [list(range(1, each + 1))] * n
        vs = stack.open().versions(f'{b}/all')
        assert ([v.version for v in vs] == list(range(1, n * each + 1))
                and {v.get() for v in vs} == {(i, k) for i in range(n) for k in range(each)})

    def test_stores_side_by_side_give_each_number_once(self, stack, store, b):
        n, each = (8, 10) if stack.quick else (4, 3)
        stores = [stack.open() for _ in range(n)]
        given = together(n, lambda i: [stores[i].put(f'{b}/x', (i, k)).version for k in range(each)])
        assert sorted(sum(given, [])) == list(range(1, n * each + 1)) and all(g == sorted(g) for g in given)
        assert {stack.open().get(f'{b}/x@{v}') for v in range(1, n * each + 1)} == {
            (i, k) for i in range(n) for k in range(each)}

    def test_a_store_and_what_comes_from_it_can_be_pickled(self, stack, store, b):
        store.put(f'{b}/x', {'a': 1}, alias='production')
        f = store.put(f'{b}/f', folder_of(Path('photos'), {'a': b'1'}))
        again = pickle.loads(pickle.dumps(store))
        assert (type(again) is type(store) and again.get(f'{b}/x') == {'a': 1} and again.put(f'{b}/x', 2).version == 2
                and again.tiers == store.tiers and again.endpoint == store.endpoint)
        v = store[f'{b}/x@1']
        for thing in (v, store.versions(f'{b}/x'), store.find_items(b), v.stats, v.lineage, store.get_stats(),
                      store.aliases(f'{b}/x'), v.compare(store[f'{b}/x'])):
            assert pickle.loads(pickle.dumps(thing)) == thing, type(thing)
        assert (pickle.loads(pickle.dumps(store.get(f))).read('a') == b'1'
                and pickle.loads(pickle.dumps(v)).get() == {'a': 1})

    def test_options_go_along_with_a_pickle(self, stack, b):
        s = pickle.loads(pickle.dumps(stack.open(readonly=True, max_age=5.0, timeout=3.0, durable=False,
                                                 progress=False)))
        assert (s.readonly, s.max_age, s.timeout, s.durable, s.progress) == (True, 5.0, 3.0, False, False)

    def test_another_process_reads_what_was_put(self, stack, store, b, request):
        if stack.name == 'memory': pytest.skip('memory is of one process')
        process = request.getfixturevalue('other_process')
        process.tell('surroundings',
                     {k: v for k, v in os.environ.items() if k.startswith(('AWS_', 'OBJECTSTORE_', 'HOME'))})
        process.tell('open', store)
        store.put(f'{b}/x', {'a': 1})
        assert process.tell('call', get_elsewhere, (f'{b}/x',)) == {'a': 1}

    def test_max_age_saves_requests_and_a_put_of_ones_own_is_seen(self, stack, store, b):
        store.put(f'{b}/x', 1)
        s = stack.open(max_age=60)
        assert s.get(f'{b}/x') == 1
        store.put(f'{b}/x', 2)
        with requests(s) as asked: assert s.get(f'{b}/x') == 1
        assert not asked['list'] and not asked['tail'] and s.get(f'{b}/x', max_age=0) == 2
        assert s.put(f'{b}/x', 3).version == 3 and s.get(f'{b}/x') == 3
        s.remove(f'{b}/x@3')
        assert s.get(f'{b}/x') == 2

    def test_a_store_is_a_context(self, stack, b):
        with stack.open() as s: assert s.put(f'{b}/x', 1).version == 1
        s.close(); s.close()

    # ---- what is shown
    HOSTILE = ('<script>alert(1)</script><img src=x onerror=alert(1)> [x](javascript:alert(1)) | **b** `c` {{7*7}} '
               '\u202e')

    def test_nothing_that_is_stored_is_markup(self, stack, store, b):
        x = f'{b}/x<b>|y'
        folder = folder_of(Path('photos'), {'<img src=x onerror=alert(1)>': b'1', 'a|b`c': b'2'})
        v = store.put(x, {self.HOSTILE: 1},
                      metadata={'description': self.HOSTILE, self.HOSTILE: self.HOSTILE, 'd': {'<i>': ['<b>']}},
                      kind='<u>kind', alias='<a>')
        store.annotate(v, {'<note>': '<u>'})
        w = store.put(x, pd.DataFrame({self.HOSTILE: ['<td>']}))
        f = store.put(f'{b}/f', folder)
        shown = [store, v, w, f, store.versions(x), store.find_items(b), store.find_items(b, kind=self.HOSTILE),
                 store.find_items(b, where='"<x>" = 1'), v.stats, w.stats, v.lineage, store.get_stats(),
                 store.get_stats(b), store.get_stats(x), store.get_stats(v), store.get(f), store.aliases(x),
                 v.compare(w)]
        for thing in shown:
            told = thing._repr_mimebundle_()
            assert (set(told) == {'text/plain', 'text/html', 'text/markdown'} and told['text/plain'] == repr(thing)
                    and not bad_html(told['text/html'])), type(thing)
            assert ('\u202e' not in ''.join(told.values()) and '<script' not in told['text/markdown']
                    and '<img' not in told['text/markdown'] and '](javascript' not in told['text/markdown'])
        assert ('<script>' in v.metadata['description']
                and html_text(v._repr_mimebundle_()['text/html']).count('<script>alert(1)</script>') >= 1)

    def test_a_description_is_shown_first(self, store, b):
        v = store.put(f'{b}/x', 1, metadata={'auc': 0.9, 'description': 'The one to use'})
        for told in v._repr_mimebundle_().values(): assert 0 < told.find('The one to use') < told.find('auc')
        assert 'The one to use' in repr(store.find_items(b))

    def test_at_most_20_rows_are_shown(self, store, b):
        store.put_many({f'{b}/many/{i:03d}': i for i in range(60)})
        found = store.find_items(b)
        assert (repr(found).count(f'{b}/many/') == 20 and '40 more' in repr(found)
                and found._repr_mimebundle_()['text/html'].count('<tr>') == 21)

    def test_nothing_is_asked_in_order_to_show(self, stack, store, b):
        v = store.put(f'{b}/x', 1, metadata={'a': 1}, alias='production')
        store.put(f'{b}/x', 2)
        f = store.put(f'{b}/f', folder_of(Path('photos'), {'a': b'1'}))
        store.annotate(v, {'b': 2})
        s = stack.open()
        with pytest.raises(NotFound): s['typing-mistake/x']
        things = [s, s[f'{b}/x'], s.versions(f'{b}/x'), s.find_items(b), s[v.ref].stats, s.get_stats(), s.get_stats(b),
                  s.get(f.ref), s.aliases(f'{b}/x'), v, s[v.ref].compare(s[f'{b}/x'])]
        for p in (s.origin.place, *(k.backend for k in s.origin._buckets.values())):
            if hasattr(p, 'can'): p.can = replace(p.can, place='remote')
        with requests(s) as asked: told = [(repr(t), t._repr_mimebundle_()) for t in things]
        assert not asked and 'typing-mistake' not in told[0][0]

    # ---- progress
    def test_a_bar_is_shown_for_what_takes_longer_than_a_second(self, stack, b, capsys):
        Path('big.bin').write_bytes(os.urandom(3 * 2 ** 20))
        for show, wanted in ((True, True), (False, False), ('auto', False)):
            for seconds in (0.9, 0.01):
                ticks = iter(range(10 ** 6))
                with planted(download, 'time', spare(mock.Mock(wraps=time, monotonic=lambda: next(ticks) * seconds))):
                    s = stack.open(progress=show)
                    _v = s.put(f'{b}/big-{show}-{seconds}', Path('big.bin'))
                    s.put_many({f'{b}/p{i}': i for i in range(3)})
                said = capsys.readouterr()
                assert not said.out and ('big' in said.err) is (wanted and seconds == 0.9), (show, seconds, said.err)

    # ---- the errors
    def test_every_error_is_in_the_tree_and_is_the_builtin_too(self):
        tree = dict(NotFound=KeyError, NotAvailableOffline=ConnectionError, InvalidRef=ValueError,
                    InvalidQuery=ValueError, TierMismatch=ValueError, MissingExtra=ImportError, Conflict=Exception,
                    Protected=Exception, Untrusted=Exception, Damaged=Exception, Unsupported=Exception,
                    CommitUnknown=Exception, StillPending=Exception)
        for name, builtin in tree.items():
            e = getattr(objectstore, name)
            assert (issubclass(e, ObjectStoreError) and issubclass(e, builtin)
                    and pickle.loads(pickle.dumps(e('said'))).args == ('said',))
        assert (str(NotFound("it's not here")) == "it's not here"
                and not issubclass(ObjectStoreError, (KeyError, ValueError, OSError)))
        assert issubclass(objectstore.PendingWarning, Warning) and issubclass(objectstore.StaleWarning, Warning)


class TestStore(StoreContract): "The contract on every place that is to be had here"

class TestNativeBuckets:
    "What is different where our buckets are the service's own, each of which takes a second to make"
    @pytest.fixture
    def stack(self, request, tmp_path, monkeypatch, home):
        s = make_stack('native', tmp_path, request, monkeypatch)
        yield s
        s.remove()

for _name in ('numbers_begin_at_1_and_increase_by_1', 'what_is_put_comes_back',
              'a_put_makes_a_missing_bucket_and_says_so', 'default_answers_only_not_found',
              'not_found_names_what_is_near', 'every_selector', 'names_that_contain_one_another',
              'aliases_move_and_remember', 'remove_needs_a_selector_and_counts',
              'a_folder_is_one_version_of_many_files', 'put_many_and_get_many', 'copy_of_a_version',
              'undo_of_a_removal', 'copy_of_a_bucket_keeps_numbers', 'where_writing_is_forbidden_reading_works',
              'what_is_not_there_is_not_available_and_says_so', 'find_items', 'stats_of_everything',
              'buckets_come_and_go', 'a_bucket_that_holds_something_is_not_touched',
              'a_put_makes_a_removed_bucket_again_and_goes_on_counting', 'stores_side_by_side_give_each_number_once',
              'another_process_reads_what_was_put', 'nothing_is_asked_in_order_to_show'):
    setattr(TestNativeBuckets, f'test_{_name}', getattr(StoreContract, f'test_{_name}'))
for _name in ('_filled', '_all', 'OBJECTS'): setattr(TestNativeBuckets, _name, vars(StoreContract)[_name])


# ---- what is read from what is shown

TAGS = {'style', 'div', 'p', 'table', 'thead', 'tbody', 'tr', 'th', 'td', 'dl', 'dt', 'dd', 'span', 'b', 'br'}

class _Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.bad, self.text, self.open = [], [], []
    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        if (tag not in TAGS
            or any(k not in ('class', 'scope', 'style') or not re.fullmatch(r'[\w\s-]*', v or '') for k, v in attrs)):
            self.bad.append((tag, attrs))
    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag: self.bad.append(('end', tag))
    def handle_comment(self, data): self.bad.append(('comment', data))
    def handle_data(self, data): self.text.append(data if 'style' not in self.open else '')

def _page(html):
    p = _Page(); p.feed(html); p.close()
    return p
def bad_html(html: str) -> list:
    "Tags and attributes that the library never writes; also what is fetched from elsewhere"
    return _page(html).bad + re.findall(r'url\(|@import|https?://',
                                        ''.join(re.findall('<style>.*?</style>', html, re.DOTALL)))
def html_text(html: str) -> str: return ''.join(_page(html).text)


# ---- the interface itself

VERBS = {'list_buckets': ['filter'], 'find_or_create_bucket': ['name'], 'remove_bucket': ['name', 'force'],
         'find_items': ['bucket', 'filter', 'at', 'where', 'params', 'text', 'kind', 'sort', 'limit'],
         'put': ['ref', 'obj', 'metadata', 'kind', 'alias', 'codec', 'if_latest', 'skip_unchanged'],
         'get': ['ref', 'as_', 'columns', 'default', 'max_age', 'trust', 'part'], 'get_stats': ['ref'],
         'copy': ['src', 'dst', 'to'], 'remove': ['ref', 'force']}
OPTIONS = dict(profile=None, near=True, readonly=False, offline='auto', max_age=0.0, trust=False, cache_limit=None,
               timeout=1.0, durable=True, progress='auto', endpoint=None, storage_options=None, author=None,
               provenance=None)

def test_the_interface_has_exactly_nine_verbs():
    assert (ObjectStoreInterface.__abstractmethods__ == set(VERBS) and not ObjectStore.__abstractmethods__
            and issubclass(LocalObjectStore, ObjectStoreInterface))
    with pytest.raises(TypeError): ObjectStoreInterface()
    public = {n for n in vars(ObjectStoreInterface) if not n.startswith('_')}
    assert public == set(VERBS)

def test_a_store_has_the_signatures_that_it_promises():
    for verb, wanted in VERBS.items():
        promised, made = (inspect.signature(getattr(c, verb)).parameters for c in (ObjectStoreInterface, ObjectStore))
        assert list(promised)[1:] == wanted == list(made)[1:], verb
        assert [(p.kind, p.default) for p in promised.values()] == [(p.kind, p.default) for p in made.values()], verb
        assert (all(p.annotation is not p.empty for p in list(made.values())[1:])
                and inspect.getdoc(getattr(ObjectStore, verb)))
    options = {n: p.default for n, p in inspect.signature(ObjectStore).parameters.items() if p.kind is p.KEYWORD_ONLY}
    assert options == OPTIONS

def test_no_public_method_passes_unread_keywords_along():
    for cls in (ObjectStore, Version, Versions, Folder):
        for name, f in inspect.getmembers(cls, inspect.isfunction):
            if not name.startswith('_'):
                assert all(p.kind is not p.VAR_KEYWORD for p in inspect.signature(f).parameters.values()), name

def test_a_subclass_without_a_verb_is_abstract():
    class Half(ObjectStoreInterface):
        def put(self, *a, **k): pass
    with pytest.raises(TypeError, match='abstract'): Half()


# ---- opening

def test_the_default_store_is_local(home):
    s = ObjectStore()
    assert (s.put('a/x', 1).version == 1 and str(home/'home') in s.origin.url
            and ObjectStore().get('a/x') == 1 == LocalObjectStore().get('a/x'))

def test_local_object_store(home):
    s = LocalObjectStore('data', durable=False)
    assert (s.put('a/x', 1).ref == 'a/x@1' and ObjectStore('data').get('a/x') == 1 and (home/'work'/'data').is_dir()
            and not s.durable)
    again = pickle.loads(pickle.dumps(s))
    assert isinstance(again, LocalObjectStore) and again.get('a/x') == 1
    with pytest.raises((TierMismatch, ValueError)): LocalObjectStore('s3://lab')

def test_a_pickled_local_store_is_the_same_place_from_another_folder(home, monkeypatch):
    s = ObjectStore('data'); s.put('a/x', 1)
    raw = pickle.dumps(s)
    (home/'elsewhere').mkdir(); monkeypatch.chdir(home/'elsewhere')
    assert pickle.loads(raw).get('a/x') == 1 and s.get('a/x') == 1

def test_a_home_is_written_out(home):
    ObjectStore('~/lab').put('a/x', 1)
    assert (home/'home'/'lab').is_dir() and not (home/'work'/'~').exists()

def test_profiles(home, monkeypatch):
    Path('settings.ini').write_text('[objectstore]\ntiers = here\n[objectstore.lab]\ntiers = there\nmax_age = 5\n')
    ObjectStore().put('a/x', 'here'); ObjectStore(profile='lab').put('a/x', 'there')
    (home/'work'/'nbs').mkdir(); monkeypatch.chdir(home/'work'/'nbs')
    assert (ObjectStore().get('a/x') == 'here' and ObjectStore(profile='lab').get('a/x') == 'there'
            and ObjectStore(profile='lab').max_age == 5.0 and ObjectStore(profile='lab', max_age=1.0).max_age == 1.0)
    assert (get_config('lab')['tiers'] == (str(home/'work'/'there'),)
            and ObjectStore(str(home/'work'/'there')).get('a/x') == 'there')
    monkeypatch.setenv('OBJECTSTORE_TIERS', str(home/'work'/'there'))
    assert ObjectStore().get('a/x') == 'there' and ObjectStore(home/'work'/'here').get('a/x') == 'here'
    with pytest.raises(ValueError, match='lab'): ObjectStore(profile='lba')

def test_an_argument_comes_before_the_environment(monkeypatch):
    monkeypatch.setenv('OBJECTSTORE_TRUST', '1')
    monkeypatch.setenv('OBJECTSTORE_TIMEOUT', '7')
    monkeypatch.setenv('OBJECTSTORE_MAX_AGE', '60')
    assert (ObjectStore('memory://').trust is True and ObjectStore('memory://').timeout == 7
            and ObjectStore('memory://', timeout=2.0).timeout == 2.0)
    assert (ObjectStore('memory://', trust=False).trust is False
            and ObjectStore('memory://', timeout=1.0).timeout == 1.0
            and ObjectStore('memory://', max_age=0.0).max_age == 0.0)

@pytest.mark.parametrize('tiers, options',
                         [(('',), {}), ((' ',), {}), ((None,), {}), ((b'x',), {}), ((5,), {}), (('s4://lab',), {}),
                          (('http://lab',), {}), (('s3:/lab',), {}), (('a\0b',), {}), (('file://host/x',), {}),
                          (('memory://x?a=1',), {}), (('s3://lab?endpont=x',), {}), (('x',), dict(offline='maybe')),
                          (('x',), dict(offline='yes')), (('x',), dict(max_age=-1)), (('x',), dict(max_age='x')),
                          (('x',), dict(timeout=-1)), (('x',), dict(timeout='x')), (('s3://',), {}),
                          (('s3://lab',), dict(endpoint='no url')),
                          (('s3://lab',), dict(storage_options={'nothing': 'x'})),
                          (('s3://lab',), dict(storage_options='x')), (('s3://lab', 'x'), {}),
                          (('x',), dict(progress='maybe')), (('x',), dict(cache_limit='much')),
                          (('file:///tmp/x?shared=maybe',), {}), (('gs://',), {})], ids=str)
def test_what_cannot_be_opened_is_refused(tiers, options):
    with pytest.raises(ObjectStoreError) as e: ObjectStore(*tiers, **options)
    assert isinstance(e.value, (ValueError, ObjectStoreError)) and len(str(e.value)) > 10
    assert not list(Path().iterdir())

def test_a_file_is_no_store(home):
    Path('file').write_text('x')
    s = ObjectStore('file')
    for call in (lambda: s.put('a/x', 1), lambda: s.get('a/x')):
        with pytest.raises(ObjectStoreError): call()

def test_opening_and_reading_an_empty_place_writes_nothing(home):
    s = ObjectStore('data')
    assert (s.list_buckets() == [] and 'a/x' not in s and not s.find_items() and s.get_stats()['items'] == 0
            and 'none yet' in repr(s))
    with pytest.raises(NotFound, match='empty'): s['a/x']
    assert not Path('data').exists() and s.remove_bucket('a') is True

@pytest.mark.skipif(os.geteuid() != 0, reason='mounts need root')
def test_a_mount_that_can_only_be_read(home):
    ObjectStore('data').put('a/x', LARGE, alias='production')
    Path('mnt').mkdir()
    script = f'mount --bind data mnt && mount -o remount,ro,bind mnt && {sys.executable} -c "{_only_read}"'
    r = subprocess.run(['unshare', '-m', 'sh', '-c', script], capture_output=True, text=True)
    if 'unshare' in r.stderr or 'mount:' in r.stderr: pytest.skip(f'no mounts here: {r.stderr.strip()}')
    assert r.stdout.strip() == 'fine', r.stderr

_only_read = '''
from objectstore import *
from pathlib import Path
s = ObjectStore('mnt')
assert len(s.get('a/x')) == 102400 and s['a/x@production'].path().stat().st_size == 102400
assert s.find_items('a') and s.get_stats() and s.list_buckets() == ['a'] and s.versions('a/x')
for f in (lambda: s.put('a/x', 1), lambda: s.put('b/x', 1), lambda: s.remove('a/x@1', force=True),
          lambda: s.set_alias('a/x', 'b'), lambda: s.annotate('a/x', dict(a=1)),
          lambda: s.put_many(dict([('a/y', 1)])), lambda: s.remove_bucket('a', force=True)):
    try: f()
    except Protected as e: assert 'mnt' in str(e), e
    else: raise SystemExit('written')
print('fine')
'''.replace('\n', '\n').replace('"', "'")

def test_a_full_disk_is_an_error_of_the_store_and_nothing_half_done():
    s = ObjectStore('memory://')
    s.put('a/x', 1)
    for verb in ('create', 'upload'):
        with planted(s.origin.place, verb, mock.Mock(side_effect=OSError(28, 'No space left on device'))):
            with pytest.raises(OSError) as e: s.put('a/x', LARGE)
            assert e.value.errno == 28 or 'No space' in str(e.value)
    assert s.get('a/x') == 1 and s.put('a/x', 2).version == 2


# ---- bugs that the contract must catch

def _first(numbers): return [n for n in sorted(numbers.made)]
PLANTED = {'removed versions stay live': (lambda: planted(buckets.Numbers, 'live', property(_first)),
                                          'test_selectors_skip_what_was_removed'),
           'a removal deletes the record': (lambda: planted(
                commit.Bucket, 'remove', lambda self, item, n, by: self.backend.delete(self.key(item, n)) or True),
                                            'test_remove_needs_a_selector_and_counts'),
           'hashes are not checked': (lambda: planted(download, 'verify_file', lambda *args: None),
                                      'test_a_payload_that_is_changed_missing_or_anothers_is_never_returned'),
           'records are believed': (lambda: planted(records, '_check', lambda *a: b'0'),
                                    'test_a_record_that_is_changed_or_anothers_is_never_believed'),
           'already exists is trusted': (lambda: planted(records.Claim, 'once', lambda self, n: self.backend.create(
                self.folder + f'{n:010d}', self.build(n, 0)) or True),
                                         'test_stores_side_by_side_give_each_number_once'),
           'everything is trusted': (lambda: planted(ObjectStore, '_object', _trusting(ObjectStore._object)),
                                     'test_a_pickle_is_loaded_only_with_trust'),
           'aliases protect nothing': (lambda: planted(commit.Bucket, 'aliases', lambda self, item: {}),
                                       'test_an_aliased_version_is_protected'),
           'HTML is not escaped': (lambda: planted(display, 'escape', lambda text: text),
                                   'test_nothing_that_is_stored_is_markup'),
           'a removal does not look again': (lambda: planted(origin.Bucket, 'has_live', lambda self: False),
                                             'test_a_bucket_that_holds_something_is_not_touched'),
           'if_at is not read': (lambda: planted(commit.Bucket, 'move_alias', _regardless(commit.Bucket.move_alias)),
                                 'test_one_of_several_that_move_an_alias_away_wins'),
           'default hides everything': (lambda: planted(ObjectStore, 'get', _hiding(ObjectStore.get)),
                                        'test_default_answers_only_not_found'),
           'readonly is not read': (lambda: planted(ObjectStore, '_may_write', lambda self: None),
                                    'test_a_readonly_store_reads_and_does_not_write'),}

def _trusting(real): return lambda self, v, as_, columns, trust, part=None: real(self, v, as_, columns, True, part)
def _regardless(real):
    return lambda self, item, alias, to, by, if_at=..., patience=3.0: real(self, item, alias, to, by, ..., patience)
def _hiding(real):
    def get(self, ref, *, default=..., **kw):
        try: return real(self, ref, **kw)
        except ObjectStoreError:
            if default is ...: raise
            return default
    return get

@pytest.mark.parametrize('bug', PLANTED)
def test_a_planted_bug_is_caught(bug, tmp_path, monkeypatch, request):
    plant, test = PLANTED[bug]
    def run(word, plant):
        stack = make_stack('local', tmp_path/word, request, monkeypatch)
        f, have = getattr(StoreContract(), test), dict(stack=stack, b='lab', tmp_path=tmp_path/word)
        with plant(): f(**{k: stack.open() if k == 'store' else have[k] for k in inspect.signature(f).parameters})
    (tmp_path/'sound').mkdir(); (tmp_path/'ill').mkdir()
    run('sound', lambda: warnings.catch_warnings())
    with pytest.raises((AssertionError, ObjectStoreError, pytest.fail.Exception)): run('ill', plant)
