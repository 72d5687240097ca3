"""Garbage collection: what goes, what stays and why; listings that are cut short, deaths at every write, keys that may
not delete"""
from dataclasses import replace
import pytest
from objectstore import NotFound, ObjectStore, Protected
from objectstore.care import collect
from objectstore.care.collect import Survey
from objectstore.errors import Conflict, InvalidQuery, InvalidRef, ObjectStoreError
from objectstore.format.commit import Commit
from objectstore.format.records import payload_key
from objectstore.search.changelog import flush_hints
from objectstore.storage.backend import MemoryBackend
from stacks import home, stack      # noqa: F401 (fixtures)
from planting import planted, spare
from test_doctor import with_keys
from trial import Dead, Mortal, content, store_over

places = pytest.mark.parametrize('stack', ['memory', 'local', 'two', 'seaweed'], indirect=True)
BIG = 50_000
SIZE = len(content('x', BIG))

@pytest.fixture(autouse=True)
def hours_go_by(monkeypatch):
    "What is stored is two hours old for the collector, unless a test says otherwise"
    ages(monkeypatch, 2)

def ages(monkeypatch, hours: float):
    import objectstore.store.care as care
    from datetime import timedelta
    from objectstore.format.origin_clock import time_there
    monkeypatch.setattr(care, 'time_there', spare(lambda backend: time_there(backend) + timedelta(hours=hours)))

def fill(store, item: str = 'b/m', n: int = 4):
    for i in range(n): store.put(item, content(f'{item} {i}', BIG))
    return store

def collected(store, **how) -> list[str]:
    done = store.care.gc(**how).apply()
    assert not done.left, done
    return [o.became for o in done]

def payloads(store) -> int: return sum(1 for e in store.origin.place.list('b/payloads/') if '.gc-' not in e.key)

@places
def test_what_was_removed_goes_and_nothing_else(stack):
    store = fill(stack.open())
    store.put('b/same', content('b/m 1', BIG))
    for n in (1, 2): store.remove(f'b/m@{n}')
    plan = store.care.gc(grace=0)
    assert [(s.ref, s.size) for s in plan.goes] == [('b/m@1', SIZE)]          # the other one is named by b/same
    assert 'nothing is done yet' in repr(plan) and payloads(store) == 4
    assert [o.became for o in plan.apply()] == ['freed'] and payloads(store) == 3
    other = stack.open()
    assert other.get('b/same') == content('b/m 1', BIG) and other.get('b/m@3') == content('b/m 2', BIG)
    assert not store.care.gc(grace=0) and other.care.verify().ok
    assert other.put('b/m', content('b/m 0', BIG)).version == 5 and stack.open().get('b/m') == content('b/m 0', BIG)
    with pytest.raises(NotFound): other.get('b/m@1')

def test_what_stays_says_why(monkeypatch):
    store = fill(ObjectStore('memory://'))
    store.remove('b/m@1')
    assert 'can be restored for 7d' in store.care.gc('b').stays[0].reason and not store.care.gc('b')
    store.care.set_policy('b/m', keep_last=3, grace='30 d')
    ages(monkeypatch, 24 * 8)
    assert 'for 30d, as the policy of b/m says' in store.care.gc('b', grace=0).stays[0].reason
    store.care.set_policy('b/m', keep_last=3, grace='1 h')
    assert [s.ref for s in store.care.gc('b').goes] == ['b/m@1']
    store.care.remove_policy('b/m')
    assert [s.ref for s in store.care.gc('b').goes] == ['b/m@1']
    store.put('b/n', content('x', BIG), alias='now')
    store.origin.bucket('b').remove('n', 1, 'ann')                           # by another way, past its alias
    assert [s.reason for s in store.care.gc('b', grace=0).stays] == ['alias now points at it']

def test_plans_do_not_disagree_on_when_it_was_removed(monkeypatch):
    "The move that removed it says when; without a grace nobody reads that, and no age is told"
    store = fill(ObjectStore('memory://'))
    store.remove('b/m@1')
    monkeypatch.setattr(collect.Survey, 'listed', spare(lambda self, key: 0.0))     # an older file
    said = [store.care.gc(grace=g).steps[0].reason for g in (0, 60, '3 h')]
    assert said[:2] == ['removed, and no grace is given', 'removed 2h ago'], said
    assert said[2].startswith('removed 2h ago;'), said

def test_what_was_collected_is_counted_no_more():
    store = fill(ObjectStore('memory://'))
    store.put('b/small', 1), store.put('b/small', 2)
    for ref in ('b/m@1', 'b/m@2', 'b/small@1'): store.remove(ref)
    assert store.care.usage().removed == 2 * SIZE
    assert len(collected(store, grace=0)) == 2 and not store.care.gc(grace=0).steps
    assert store.care.usage().removed == 0 and 'not freed' not in repr(store.care.usage())
    report = store.care.verify()
    assert not len(report) and report.verdict == 'nothing is wrong', report
    assert (report.looked['payloads'], int(report.looked['bytes'])) == (2, 2 * SIZE)
    assert report.looked['payloads of removed versions, collected'] == 2

def test_a_member_of_a_living_folder_stays(tmp_path):
    (top := tmp_path/'photos').mkdir()
    (top/'a').write_bytes(content('a', BIG)); (top/'b').write_bytes(content('b', BIG))
    store = ObjectStore('memory://')
    store.put('b/f', top)
    (top/'b').write_bytes(content('b2', BIG))
    store.put('b/f', top)
    store.remove('b/f@1')
    assert collected(store, grace=0) == ['freed'] and payloads(store) == 2
    assert store.get('b/f').read('a') == content('a', BIG)
    store.remove('b/f@2')
    assert len(collected(store, grace=0)) == 2 and payloads(store) == 0 and not store.care.gc(grace=0).steps

def test_what_no_version_named_takes_two_runs_a_day_apart(monkeypatch):
    store = fill(ObjectStore('memory://'), n=1)
    store.origin.place.create(f'b/payloads/aa/{"a" * 64}-{"1" * 16}', b'x' * BIG)
    plan = store.care.gc()
    assert [s.verdict for s in plan.goes] == ['mark'] and [o.became for o in plan.apply()] == ['marked']
    assert payloads(store) == 2 and 'marked 2h ago' in store.care.gc().stays[0].reason
    ages(monkeypatch, 27)
    assert collected(store) == ['freed'] and payloads(store) == 1
    ages(monkeypatch, 24 * 3)
    assert collected(store) == ['3 swept'] and not any('.gc-' in e.key for e in store.origin.place.list('b/'))
    assert store.get('b/m') == content('b/m 0', BIG)

def unlisted(tmp_path) -> tuple[ObjectStore, str, bytes]:
    "A store with a removed folder whose listing, an object of its own, is lost; its key, and what it was"
    (top := tmp_path/'photos').mkdir()
    for i in range(150): (top/f'{"long-name-" * 15}{i:03d}').write_bytes(content(f'{i}', 40))
    store = ObjectStore('memory://')
    r = store.put('b/f', top)._record
    assert r.listing and r.data is None
    store.remove('b/f@1')
    key = f'b/{payload_key(r.hash, r.put)}'
    listing = store.origin.place.read(key)
    store.origin.place.delete(key)
    return store, key, listing

def test_files_whose_listing_is_missing_stay_as_long_as_their_version_can_be_restored(tmp_path, monkeypatch):
    store, key, listing = unlisted(tmp_path)
    plan = store.care.gc(grace='7 d')
    assert not plan and len(plan.stays) == 150 and 'the listing of b/f@1 is missing' in plan.stays[0].reason
    ages(monkeypatch, 24 * 8)
    assert {s.verdict for s in store.care.gc(grace='7 d').goes} == {'mark'}

def test_a_folder_that_is_healed_and_restored_meanwhile_keeps_its_files(tmp_path, monkeypatch):
    store, key, listing = unlisted(tmp_path)
    assert {*collected(store, grace=0)} == {'marked'}
    ages(monkeypatch, 30)
    plan = store.care.gc(grace=0)
    assert [s.verdict for s in plan.goes] == ['collect'] * 150
    store.origin.place.create(key, listing)
    store.restore('b/f@1')
    assert not plan.apply().done and payloads(store) == 151
    assert store.get('b/f').read(f'{"long-name-" * 15}007') == content('7', 40)

def test_what_is_younger_than_an_hour_is_left_alone(monkeypatch):
    "A put that is under way has uploaded it, and not claimed yet: it is not made to start again"
    store = fill(ObjectStore('memory://'), n=1)
    store.remove('b/m@1')
    ages(monkeypatch, 0.5)
    [stays] = store.care.gc(grace=0).steps
    assert not stays.goes and 'written 30min ago; can be collected from' in stays.reason, stays
    assert 'can be restored for 7d' in store.care.gc().steps[0].reason
    monkeypatch.setattr(collect, 'HOUR', 0.0)
    assert store.care.gc(grace=0)                  # planted: it is the hour that keeps it

def test_a_large_put_is_not_made_to_start_again(monkeypatch):
    "Uploads that take their time, beside a run at each of them"
    def case():
        store = fill(ObjectStore('memory://'), n=1)
        real = Commit.claim
        def claim(self, n, walk):
            if self.item == 'large': store.care.gc(grace=0).apply()
            return real(self, n, walk)
        with planted(Commit, 'claim', claim): return store.put('b/large', content('large', BIG)).version
    ages(monkeypatch, 0.5)
    assert case() == 1
    monkeypatch.setattr(collect, 'HOUR', 0.0)
    monkeypatch.setattr(collect, 'DAY', 0.0)       # planted: nor does an orphan wait for a second run
    assert case() == 1                             # only marked by a first run, and kept by the put

def test_mistakes_delete_nothing():
    store = fill(ObjectStore('memory://'))
    store.remove('b/m@1')
    with pytest.raises(NotFound, match="'c'"): store.care.gc('c')
    with pytest.raises(InvalidRef): store.care.gc('b/m')
    with pytest.raises(InvalidQuery): store.care.gc('b', grace='a while')
    assert payloads(store) == 4

def test_a_bucket_that_was_removed_is_collected():
    store = fill(ObjectStore('memory://'))
    store.remove_bucket('b', force=True)
    assert len(collected(store, grace=0)) == 4 and payloads(store) == 0 and store.care.usage().stored < 10_000

def test_near_copies_go_too(tmp_path):
    store = fill(ObjectStore(tmp_path/'near', tmp_path/'origin'))
    for n in range(1, 5): store.get(f'b/m@{n}')
    store.remove('b/m@1')
    before = store.care.usage().near
    collected(store, grace=0)
    assert before - store.care.usage().near >= BIG
    assert store.get('b/m@2') == content('b/m 1', BIG)

def test_each_row_is_looked_at_again():
    "Somebody shares the payload, and somebody restores, between the plan and its application"
    store = fill(ObjectStore('memory://'))
    for n in (1, 2): store.remove(f'b/m@{n}')
    plan = store.care.gc(grace=0)
    assert store.put('b/again', content('b/m 0', BIG)).version == 1
    store.origin.bucket('b').restore('m', 2, 'ann')
    assert [o.why for o in plan.apply()] == ['a version names it now'] * 2 and payloads(store) == 4
    assert store.get('b/again') == content('b/m 0', BIG) and store.get('b/m@2') == content('b/m 1', BIG)

def test_a_plan_is_bounded_and_the_next_one_goes_on(monkeypatch):
    monkeypatch.setattr(collect.Collecting.__init__, '__defaults__',
                        (*collect.Collecting.__init__.__defaults__[:-1], 3))
    store = fill(ObjectStore('memory://'), n=8)
    for n in range(1, 8): store.remove(f'b/m@{n}')
    assert [len(collected(store, grace=0)) for _ in range(4)] == [3, 3, 1, 0]


def test_a_plan_that_goes_on_reads_no_record_again(monkeypatch):
    monkeypatch.setattr(collect.Collecting.__init__, '__defaults__',
                        (*collect.Collecting.__init__.__defaults__[:-1], 3))
    store = fill(ObjectStore('memory://'), n=8)
    for n in range(1, 8): store.remove(f'b/m@{n}')
    read, real = [], MemoryBackend.read
    def records(self, key, limit=None):
        if '/records/' in key and '.' not in key and key[-1] != '8': read.append(key)      # the last one is the witness
        return real(self, key, limit)
    monkeypatch.setattr(MemoryBackend, 'read', records)
    assert [len(collected(store, grace=0)) for _ in range(3)] == [3, 3, 1] and len(read) == 7
    assert store.surveyed is None and len(store.care.gc(grace=0).steps) == 0 and len(read) == 14

def test_what_releases_name_is_asked_once_for_all_buckets(monkeypatch):
    from objectstore.store.care import CareVerbs
    store = ObjectStore('memory://')
    for i in range(5): fill(store, f'b{i}/m', 2).remove(f'b{i}/m@1')
    asked, real = [], CareVerbs.named_by_releases
    monkeypatch.setattr(CareVerbs, 'named_by_releases', lambda self: asked.append(1) or real(self))
    plan = store.care.gc(grace=0)
    assert len(plan) == 5 and len(asked) == 1
    assert len(plan.apply().done) == 5 and len(asked) == 2

# What a listing does not show

class Short(MemoryBackend):
    "Listings leave something out"
    leaves_out = staticmethod(lambda keys: set())
    def list(self, folder, after=None, limit=None):
        found = list(super().list(folder, after, limit))
        gone = self.leaves_out([e.key for e in found]) if folder == 'b/' else set()
        return iter([e for e in found if e.key not in gone])

def shared_store() -> tuple[ObjectStore, Short]:
    "Payloads that removed versions name, and others that live, with a catalog, and one version behind it"
    place = Short()
    store = store_over(place)
    fill(store, n=3)
    store.put('b/x', content('b/m 0', BIG))
    for n in (1, 2): store.remove(f'b/m@{n}')
    flush_hints()
    store.care.compact('b')
    store.put('b/y', content('b/m 1', BIG))
    flush_hints()
    return store, place

def cut(place) -> list:
    "Ways in which a listing may be too short: its end, its beginning, an object that is followed by others, an item"
    keys = [e.key for e in MemoryBackend.list(place, 'b/')]
    return ([set(keys[i:]) for i in range(len(keys))] + [set(keys[:i]) for i in range(1, len(keys))]
            + [{k} for k in keys if '/records/m/' in k] + [{k for k in keys if f'/{i}/' in k} for i in 'xm'])

def lost(store) -> list[str]:
    place = store.origin.place
    gone = []
    for v in [v for i in 'mxy' for v in store.versions(f'b/{i}')]:
        r = store.origin.bucket('b').record(v.item, v.version)
        if r.put and not place.exists(f'b/payloads/{r.hash[:2]}/{r.hash}-{r.put}'): gone.append(v.ref)
    return gone

def short_listings() -> list[str]:
    "What was lost, over all ways and both listings of a run"
    found = []
    _, place = shared_store()
    for i in range(len(cut(place))):
        for when in ('both', 'second'):
            store, place = shared_store()
            way, calls = cut(place)[i], []
            def leaves_out(keys, calls=calls, way=way, when=when):
                calls.append(1)
                return way if when == 'both' or len(calls) > 1 else set()
            place.leaves_out = leaves_out
            try: store.care.gc('b', grace=0).apply()
            except (ObjectStoreError, OSError): pass
            place.leaves_out = lambda keys: set()
            found += lost(store)
    return found

def test_a_listing_that_is_cut_short_takes_nothing(figure):
    found = short_listings()
    figure('15 listings that leave something out', lost=len(found))
    assert not found

@pytest.mark.parametrize('guard', ['_gaps', '_catalog'])
def test_planted_a_listing_is_believed(guard):
    with planted(Survey, guard, lambda self: iter(())): assert any(short_listings() for _ in range(5))

def test_another_store_in_its_place_ends_the_run():
    store = fill(ObjectStore('memory://'))
    store.remove('b/m@1')
    plan = store.care.gc(grace=0)
    place = store.origin.place
    place._objects['id/0000000001'] = place._objects['id/0000000001'][0], 1.0      # the same id, another object
    with pytest.raises(Conflict, match='another store'): plan.apply()
    assert payloads(store) == 4

def test_a_mark_that_was_not_kept_takes_nothing(monkeypatch):
    "The storage was set back behind the marks"
    store = fill(ObjectStore('memory://'))
    store.remove('b/m@1')
    plan = store.care.gc(grace=0)
    real = collect.Run.marked
    def marked(self, keys):
        found = real(self, keys)
        for k in keys: self.place.delete(self.mark_of(k))
        return found
    monkeypatch.setattr(collect.Run, 'marked', marked)
    assert [o.why for o in plan.apply()] == ['its mark was not kept'] and payloads(store) == 4

def test_what_cannot_be_read_stops_it():
    store = fill(ObjectStore('memory://'))
    store.remove('b/m@1')
    place = store.origin.place
    key = store.origin.bucket('b').key('m', 3)
    place._objects[key] = b'rotten', place._objects[key][1]
    plan = store_over(place).care.gc(grace=0)
    assert not plan and 'nothing is collected here' in plan.stays[0].reason


# What a prune removed is judged once more

def pruned(**rules) -> ObjectStore:
    "Four versions, of which a prune has removed all but the last"
    store = fill(ObjectStore('memory://'))
    assert len(store.care.prune('b/m', keep_last=1).apply().done) == 3
    return store

def test_what_a_prune_removed_and_the_policy_of_today_keeps_stays():
    store = pruned()
    assert len(store.care.gc(grace=0)) == 3
    plan = store.care.gc(grace=0)
    store.care.set_policy('b', keep_last=2)
    assert [o.ref for o in plan.apply().done] == ['b/m@1', 'b/m@2'] and payloads(store) == 2      # looked at again
    [stays] = store.care.gc(grace=0).steps
    assert stays.reason == 'the policy of b keeps it now: one of the last 2', stays
    assert store.restore('b/m@3').get() == content('b/m 2', BIG)
    store.remove('b/m@3')                    # by its name: the policy is not asked
    assert collected(store, grace=0) == ['freed'] and payloads(store) == 1

def test_what_a_prune_removed_and_a_condition_of_today_keeps_stays():
    store = ObjectStore('memory://')
    for i in range(4): store.put('b/m', content(f'b/m {i}', BIG), metadata={'auc': i / 10})
    store.annotate('b/m@1', {'auc': 0.9})
    store.care.prune('b/m', keep_last=1).apply()
    store.care.set_policy('b', keep_where='auc > 0.15')
    plan = store.care.gc(grace=0)
    assert [s.ref for s in plan.goes] == ['b/m@2']
    assert {s.ref: s.reason for s in plan.stays} == dict.fromkeys(
        ['b/m@1', 'b/m@3'], 'the policy of b keeps it now: kept by auc > 0.15')

@pytest.mark.parametrize('bucket', ['raw', None])
def test_what_a_prune_removed_and_something_that_lives_was_made_from_stays(bucket):
    "What was made from it was away while it was pruned, and came back"
    store = ObjectStore('memory://')
    fill(store, 'raw/t', 3)
    @store.calculated('made/size', version='1')
    def size(n: int): return len(store.get(f'raw/t@{n}'))
    size(1)
    [v] = store.find_items('made')
    store.remove(v.ref, force=True)
    assert len(store.care.prune('raw', keep_last=1).apply().done) == 2
    assert [s.ref for s in store.care.gc(bucket, grace=0).goes] == ['raw/t@1', 'raw/t@2']
    store.restore(v.ref)
    plan = store.care.gc(bucket, grace=0)
    assert [s.ref for s in plan.goes] == ['raw/t@2']
    assert [s.reason for s in plan.stays] == [f'{v.ref} was made from it']

def test_prunes_say_so_in_their_moves():
    store = pruned()
    store.put('b/m', content('b/m 9', BIG))
    store.remove('b/m@4')
    b = store.origin.bucket('b')
    assert [m['why'] if 'why' in m else '' for n in (1, 4) for m in b.moves_of('m', n, {'1'})] == ['pruned', '']

def test_the_move_of_a_removal_is_read_once(monkeypatch):
    "It says when, why and what: one request a version, and none a payload"
    store = pruned()
    asked = []
    real = MemoryBackend.read
    monkeypatch.setattr(MemoryBackend, 'read', lambda self, key,
                        limit=None: asked.append(key) or real(self, key, limit))
    assert len(store.care.gc(grace='1 h').goes) == 3
    assert len([k for k in asked if k.endswith('.1')]) == 3


# What a newer version of this library has written

@pytest.mark.parametrize('field', ['packs', 'needs'])
@pytest.mark.parametrize('alive', [True, False])
@pytest.mark.parametrize('where', ['how', 'description'])
def test_a_record_that_may_name_bytes_in_another_way_stops_it(field, alive, where):
    store = fill(ObjectStore('memory://'))
    for n in (1, 2): store.remove(f'b/m@{n}')
    rewrite(store, 3 if alive else 2, where, {field: ['f' * 64]})
    plan = store_over(store.origin.place).care.gc(grace=0)
    assert not plan and len(plan.stays) == 1
    assert ('nothing is collected here' in plan.stays[0].reason
            and 'a newer version of this library' in plan.stays[0].reason)
    assert f'b/m@{3 if alive else 2}' in plan.stays[0].reason and repr(field) in plan.stays[0].reason

def rewrite(store, n: int, where: str, more: dict) -> None:
    "A record as a newer version of this library may write it"
    import json
    from objectstore.format.records import pack, to_json
    b = store.origin.bucket('b')
    r = b.record('m', n)
    new = (replace(r, how={**r.how, **more}) if where == 'how'
           else replace(r, raw_description=to_json({**json.loads(r.raw_description), **more})))
    objects = store.origin.place._objects
    objects[b.key('m', n)] = pack(new), objects[b.key('m', n)][1]

def test_a_record_of_a_newer_format_stops_it():
    store = fill(ObjectStore('memory://'))
    store.remove('b/m@1')
    objects, key = store.origin.place._objects, store.origin.bucket('b').key('m', 3)
    objects[key] = objects[key][0].replace(b'objectstore/1', b'objectstore/2'), objects[key][1]
    plan = store_over(store.origin.place).care.gc(grace=0)
    assert not plan and 'was written in format 2: a newer version of this library reads it' in plan.stays[0].reason


# Leftovers

def test_moves_of_leases_that_are_over_go(monkeypatch):
    from objectstore.computed.leases import Lease, holder, leases_folder
    store = fill(ObjectStore('memory://'), n=1)
    b = store.origin.bucket('b')
    for _ in range(3):
        lease = Lease(b, 'r', 'ann')
        assert lease.take(holder(b, 'r'))
        lease.end()
    def moves() -> list[str]: return [e.key for e in store.origin.place.list('b/' + leases_folder('r'))]
    before = moves()
    assert len(before) == 6 and not store.care.gc()
    ages(monkeypatch, 25)
    assert collected(store) == ['5 swept'] and moves() == before[-1:]
    assert holder(b, 'r').n == 6 and holder(b, 'r').over
    assert not store.care.gc() and (lease := Lease(b, 'r', 'bob')).take(holder(b, 'r'))
    lease.end()
    assert store.care.verify().ok

def test_files_of_writers_and_probes_that_died_go(tmp_path, monkeypatch):
    store = fill(ObjectStore(tmp_path), n=1)
    old, young = (tmp_path/'b'/'payloads'/f'.tmp-{i}{"0" * 15}' for i in (1, 2))
    for p in (old, young): p.write_bytes(b'x' * 1000)
    import os
    os.utime(old, (1, 1))
    store.origin.place.create('probe/dead-01', b'x')
    os.utime(store.origin.place.path('probe/dead-01'), (1, 1))
    store.origin.place.create('probe/new-01', b'x')
    assert not store.care.gc('b')
    plan = store.care.gc()
    assert [(s.verdict, s.reason, s.size) for s in plan.goes] == [
        ('sweep', '2 files of writers and probes that died', 1001)]
    assert [o.became for o in plan.apply()] == ['2 swept']
    assert not old.exists() and young.exists()
    assert [e.key for e in store.origin.place.list('probe/')] == ['probe/new-01'] and not store.care.gc()


# Many at once

def test_deletions_do_not_wait_for_each_other():
    "Where a service takes many requests, many are under way; what is in the way of one leaves the others"
    import threading
    class Slow(MemoryBackend):
        can = replace(MemoryBackend.can, many=8)
        meet = threading.Barrier(8, timeout=60)
        def delete(self, key):
            if '.gc-' not in key: self.meet.wait()
            super().delete(key)
    store = fill(store_over(Slow()), n=17)
    for n in range(1, 17): store.remove(f'b/m@{n}')
    assert len(collected(store, grace=0)) == 16 and payloads(store) == 1

def test_a_row_that_fails_leaves_the_others_and_a_service_that_is_away_ends_it():
    class Worse(MemoryBackend):
        can = replace(MemoryBackend.can, many=4)
        error = ConnectionError('away')
        bad = ''
        def delete(self, key):
            if '.gc-' not in key and key == self.bad: raise self.error
            super().delete(key)
    store = fill(store_over(Worse()), n=5)
    for n in range(1, 5): store.remove(f'b/m@{n}')
    place = store.origin.place
    plan = store.care.gc(grace=0)
    place.bad, place.error = f'b/{plan.goes[1].what}', FileExistsError('odd')
    assert [(o.became, o.why) for o in plan.apply()] == [('freed', ''), ('', 'odd'), ('freed', ''), ('freed', '')]
    plan = store.care.gc(grace=0)
    place.error = ConnectionError('away')
    with pytest.raises(ObjectStoreError): plan.apply()
    assert payloads(store) == 2 and store.get('b/m') == content('b/m 4', BIG)
    place.bad = ''
    assert collected(store, grace=0) == ['freed'] and payloads(store) == 1


# Rights, deaths

def test_who_may_only_read_sees_the_plan(tmp_path):
    fill(ObjectStore(tmp_path)).remove('b/m@1')
    store = ObjectStore(tmp_path, readonly=True)
    plan = store.care.gc(grace=0)
    assert len(plan) == 1
    with pytest.raises(Protected): plan.apply()
    assert payloads(store) == 4

def test_a_key_that_may_not_delete_deletes_nothing(monkeypatch):
    store = fill(ObjectStore('memory://'))
    for n in (1, 2): store.remove(f'b/m@{n}')
    plan = store.care.gc(grace=0)
    def delete(self, key): raise PermissionError('AccessDenied')
    with planted(MemoryBackend, 'delete', delete):
        with pytest.raises(Protected, match='may not delete'): plan.apply()
    assert payloads(store) == 4
    assert len(collected(store, grace=0)) == 2 and payloads(store) == 2

def test_a_key_that_may_not_write_deletes_nothing():
    store = fill(ObjectStore('memory://'))
    store.remove('b/m@1')
    plan = store.care.gc(grace=0)
    def create(self, key, data): raise PermissionError('AccessDenied')
    with planted(MemoryBackend, 'create', create):
        with pytest.raises(Protected, match='may not write'): plan.apply()
    assert payloads(store) == 4

def test_a_service_that_keeps_old_versions_is_named(seaweed, monkeypatch):
    pytest.importorskip('boto3')
    with_keys(monkeypatch, seaweed)
    seaweed.make_bucket('kept-for-ever')
    seaweed.client().put_bucket_versioning(Bucket='kept-for-ever', VersioningConfiguration={'Status': 'Enabled'})
    store = fill(ObjectStore('s3://kept-for-ever/x', endpoint=seaweed.endpoint, near=False, progress=False))
    store.remove('b/m@1')
    plan = store.care.gc('b', grace=0)
    assert len(plan) == 1 and 'keeps every object that is deleted' in plan.stays[-1].reason
    assert 'keeps every' not in repr(fill(ObjectStore('memory://')).care.gc())

@pytest.mark.parametrize('shared', [False, True])
def test_killed_at_every_write(shared, monkeypatch, figure):
    "Whatever a run has done when it dies: nothing that lives is harmed, and the next run does the rest"
    for n in range(200):
        place = Mortal()
        store = fill(store_over(place), n=5)
        for v in (1, 2, 3): store.remove(f'b/m@{v}')
        if shared: store.put('b/again', content('b/m 0', BIG))
        flush_hints()
        plan = store.care.gc(grace=0)
        place.left = n
        try: plan.apply(); died = False
        except Dead: died = True
        place.left = 10**9
        other = store_over(place)
        assert other.get('b/m@4') == content('b/m 3', BIG) and other.care.verify().ok
        other.put('b/new', content('b/m 1', BIG))
        assert store_over(place).get('b/new') == content('b/m 1', BIG)
        other.care.gc(grace=0).apply()
        assert payloads(other) == 3 + shared and other.care.verify().ok
        assert store_over(place).get('b/new') == content('b/m 1', BIG)
        if not died: break
    figure('15 a run that dies at each of its writes', writes=n, harmed=0)
    assert 8 <= n < 200
