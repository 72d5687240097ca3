"""Pruning: what no rule keeps goes, by a plan; what somebody would miss stays, and says why"""
import subprocess, sys, threading
import pandas as pd, pytest
from objectstore import InvalidQuery, NotFound, ObjectStore, Protected
from objectstore.format.origin import Origin
from objectstore.storage.backend import Capabilities, MemoryBackend
from objectstore.store.aliases import AliasVerbs
from planting import planted
from stacks import home, stack      # noqa: F401 (fixtures)
from trial import outdated_result

places = pytest.mark.parametrize('stack', ['memory', 'local', 'two', 'seaweed'], indirect=True)

def stocked(store, n: int = 6) -> ObjectStore:
    for i in range(n): store.put('models/churn', {'n': i}, metadata={'auc': 0.8 + i / 100}, kind='model')
    return store

def numbers(found) -> list[int]: return [v.version for v in found]
def stays(plan) -> dict[str, str]: return {s.ref: s.reason for s in plan.stays}

@places
def test_the_last_ones_stay(stack):
    store = stocked(stack.open())
    plan = store.care.prune('models', keep_last=2)
    assert [s.ref for s in plan.goes] == [f'models/churn@{n}' for n in range(1, 5)]
    assert numbers(store.versions('models/churn')) == [1, 2, 3, 4, 5, 6]          # nothing is done yet
    assert 'nothing is done yet' in repr(plan) and store.origin.url in repr(plan)
    done = plan.apply()
    assert len(done.done) == 4 and not done.left and numbers(stack.open().versions('models/churn')) == [5, 6]
    assert not store.care.prune('models', keep_last=2).goes
    assert store.put('models/churn', 7).version == 7

def test_what_any_rule_keeps_stays():
    store = stocked(ObjectStore('memory://'))
    plan = store.care.prune('models/churn', keep_last=1, keep_where='auc BETWEEN :a AND :b',
                            params={'a': 0.805, 'b': 0.825})
    assert [*stays(plan)] == ['models/churn@2', 'models/churn@3', 'models/churn@6']
    assert not store.care.prune('models', keep_within='1 h').goes
    assert len(store.care.prune('models', keep_within=0.0)) == 5
    store.put('models/churn', 'text')
    assert [s.ref for s in store.care.prune('models', keep_last=6, kind='model').goes] == ['models/churn@1']
    assert not store.care.prune('models', keep_last=1, kind='data').goes

def test_what_aliases_point_at_and_pointed_at_lately_stays():
    store = stocked(ObjectStore('memory://'), 9)
    for n in (1, 2, 3, 4, 5): store.set_alias(f'models/churn@{n}', 'production')
    store.set_alias('models/churn@7', 'old')
    store.remove_alias('models/churn', 'old')
    said = stays(store.care.prune('models', keep_last=1))
    assert {int(r[-1]) for r in said} == {3, 4, 5, 7, 9}
    assert said['models/churn@5'] == 'alias production points at it'
    assert said['models/churn@4'] == 'alias production pointed at it: the last 3 versions of an alias stay'

def test_what_is_held_here_stays(tmp_path):
    store = stocked(ObjectStore(tmp_path/'near', tmp_path/'origin'))
    store.near.keep('models/churn@2')
    plan = store.care.prune('models', keep_last=1)
    assert stays(plan)['models/churn@2'] == 'held on this machine for work offline'
    plan.apply()
    assert numbers(store.versions('models/churn')) == [2, 6]

def test_what_a_live_version_was_made_from_stays():
    store = ObjectStore('memory://')
    for i in range(4): store.put('wine/table', pd.DataFrame({'x': [i, 2]}))
    made = store.calculated('wine/sums')(lambda n=1: int(store.get('wine/table@2').x.sum()))
    assert made() == 3
    said = stays(store.care.prune('wine/table', keep_last=1))
    assert said['wine/table@2'] == 'wine/sums@1 was made from it' and len(said) == 2

def test_results_of_calculations_go_first_and_say_what_they_took():
    ref = outdated_result(store := ObjectStore('memory://'))
    goes = store.care.prune('lab', keep_last=1).goes
    assert goes[0].ref == ref and 'calculated in' in goes[0].reason

@places
def test_each_row_is_looked_at_again(stack):
    store = stocked(stack.open())
    plan = store.care.prune('models', keep_last=1)
    other = stack.open()
    other.set_alias('models/churn@2', 'production')
    other.remove('models/churn@3')
    said = {o.ref: o.why for o in plan.apply().left}
    assert said == {'models/churn@2': 'alias production points at it', 'models/churn@3': 'it is not there any more'}
    assert numbers(store.versions('models/churn')) == [2, 6]

def test_an_alias_that_is_set_behind_the_last_look_keeps_its_version(monkeypatch):
    store = stocked(ObjectStore('memory://'), 3)
    plan = store.care.prune('models', keep_last=1)
    look = plan.acts.look
    def late(step):
        said = look(step)
        if step.ref == 'models/churn@2': store.set_alias(step.ref, 'now')
        return said
    monkeypatch.setattr(plan.acts, 'look', late)
    assert [o.ref for o in plan.apply().left] == ['models/churn@2']
    assert numbers(store.versions('models/churn')) == [2, 3]

def test_a_search_that_has_not_heard_of_others_takes_no_latest_version(tmp_path):
    """Others have removed the last ones, and put more elsewhere, and their hints are lost"""
    store = stocked(ObjectStore(tmp_path))
    assert len(store.find_items('models', at='*')) == 6
    silent = ObjectStore(tmp_path).origin.for_put('models')
    for n in (6, 5): silent.remove('churn', n, 'ann@lab')
    store.put('models/slip', 1)
    plan = store.care.prune('models', keep_last=1)
    assert [s.ref for s in plan.goes] == [f'models/churn@{n}' for n in (1, 2, 3)]
    assert numbers(store.versions('models/churn')) == [1, 2, 3, 4] and len(plan.apply().done) == 3

def test_only_what_was_found_can_go():
    store = stocked(ObjectStore('memory://'))
    found = store.find_items('models', at='*', where='auc < 0.83')
    plan = store.care.prune(found, keep_last=1)
    assert sorted(s.ref for s in plan.goes) == [f'models/churn@{n}' for n in (1, 2, 3)] and not plan.stays

def test_below_a_prefix():
    store = ObjectStore('memory://')
    for item in ('a/x', 'a/y/z', 'ab', 'b'):
        for i in range(2): store.put(f'lab/{item}', i)
    assert {s.ref for s in store.care.prune('lab/a/*', keep_last=1).goes} == {'lab/a/x@1', 'lab/a/y/z@1'}
    with pytest.raises(NotFound, match='below lab/c'): store.care.prune('lab/c/*', keep_last=1)

def test_mistakes_change_nothing():
    store = stocked(ObjectStore('memory://'))
    for how in ({}, {'kind': 'model'}, {'keep_last': 0}, {'keep_last': True}, {'keep_last': 1.5}, {'keep_where': ' '},
                {'keep_where': 'auc >'}, {'keep_last': 1, 'kind': 3}):
        with pytest.raises(InvalidQuery): store.care.prune('models', **how)
    with pytest.raises(NotFound, match="did you mean 'models'"): store.care.prune('model', keep_last=1)
    with pytest.raises(NotFound): store.care.prune('models/chrun', keep_last=1)
    with pytest.raises(Exception, match='@'): store.care.prune('models/churn@3', keep_last=1)
    assert len(store.versions('models/churn')) == 6

def test_who_may_only_read_sees_the_plan(tmp_path):
    stocked(ObjectStore(tmp_path))
    store = ObjectStore(tmp_path, readonly=True)
    plan = store.care.prune('models', keep_last=1)
    with pytest.raises(Protected): plan.apply()
    assert len(store.versions('models/churn')) == 6

def test_an_item_whose_latest_is_removed_meanwhile_keeps_one(tmp_path):
    store = stocked(ObjectStore(tmp_path), 4)
    plan = store.care.prune('models', keep_last=1)
    begin, other = plan.acts.begin, ObjectStore(tmp_path)
    def late(steps):
        begin(steps)
        other.remove('models/churn@4')
    plan.acts.begin = late
    assert [(o.ref, o.why) for o in plan.apply().left] == [('models/churn@3', 'the latest of its item by now')]
    assert numbers(ObjectStore(tmp_path).versions('models/churn')) == [3]

KILLED = """
import os, sys
from objectstore import ObjectStore
store = ObjectStore(sys.argv[1])
for i in range(4): store.put('models/churn', i)
assert len(store.find_items('models', at='*')) == 4
done = store.care.prune('models', keep_last=1).apply()
print(len(done.done), flush=True)
os.kill(os.getpid(), 9)
"""

def test_what_was_pruned_is_known_at_once_also_when_the_pruner_is_killed(tmp_path, monkeypatch):
    place = stocked(ObjectStore(tmp_path/'a'), 4)
    ObjectStore(tmp_path/'a').find_items('models', at='*')
    place.care.prune('models', keep_last=1).apply()
    assert numbers(ObjectStore(tmp_path/'a').find_items('models', at='*')) == [4]
    monkeypatch.setenv('OBJECTSTORE_STATE_DIR', str(tmp_path/'state'))
    killed = subprocess.run([sys.executable, '-c', KILLED, str(tmp_path/'b')], capture_output=True, text=True)
    assert killed.returncode == -9 and killed.stdout == '3\n', killed
    assert numbers(ObjectStore(tmp_path/'b').find_items('models', at='*')) == [4]

# A service is asked side by side

class Counted(MemoryBackend):
    "A backend that is worth asking side by side, and how many were asking at most"
    can = Capabilities('remote', many=8)
    def __init__(self):
        super().__init__()
        self.now, self.most, self.alone = 0, 0, False
        self.both = threading.Condition()
    def create(self, key, data):
        if not key.endswith('.1'): return super().create(key, data)
        with self.both:
            self.now += 1
            self.most = max(self.most, self.now)
            self.both.notify_all()
            self.alone |= not self.both.wait_for(lambda: self.most > 1 or self.alone, timeout=20)      # another
        won = super().create(key, data)
        with self.both: self.now -= 1
        return won

@pytest.mark.parametrize('verb', ['prune', 'tidy'])
def test_a_service_is_asked_side_by_side(verb):
    store = stocked(ObjectStore.over(Origin(place := Counted(), 'tester')), 20)
    store.care.set_policy('models', keep_last=2)
    plan = store.care.prune('models', keep_last=2) if verb == 'prune' else store.care.tidy()
    done = plan.apply()
    assert [s.ref for s in done.done if s.became == 'removed'] == [f'models/churn@{n}' for n in range(1, 19)]
    assert 1 < place.most <= 8 and numbers(store.versions('models/churn')) == [19, 20]

def set_between_look_and_move() -> tuple[int | None, list[int]]:
    "An alias is set behind the look at aliases and before the move: where it points afterwards, and what lives"
    class Sets(Counted):
        once = True
        def create(self, key, data):
            if key.endswith('0000000005.1') and self.once:
                self.once = False
                ObjectStore.over(Origin(self, 'colleague')).set_alias('models/churn@5', 'production')
            return super().create(key, data)
    store = stocked(ObjectStore.over(Origin(place := Sets(), 'tester')), 20)
    store.care.prune('models', keep_last=2).apply()
    assert not place.once
    return store.aliases('models/churn').get('production'), numbers(store.versions('models/churn'))

def test_an_alias_that_is_set_meanwhile_points_at_nothing_that_is_gone():
    pointed, live = set_between_look_and_move()
    assert live == [19, 20] and pointed is None

def test_planted_nobody_looks_for_aliases_behind_the_move_is_caught():
    with planted(AliasVerbs, '_look_again', lambda self, *gone: None): pointed, live = set_between_look_and_move()
    assert pointed == 5 and 5 not in live
