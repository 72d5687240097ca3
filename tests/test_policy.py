"""Policies: rules of what is kept that lie at the origin, for everybody, with their history"""
import math
from concurrent.futures import ThreadPoolExecutor
import warnings
import pytest
from objectstore import InvalidQuery, InvalidRef, NotFound, ObjectStore, Protected
from objectstore.care.policy import nearest_policy, policy_place, policy_ref
from objectstore.errors import Damaged, InvalidCall
from stacks import home, stack      # noqa: F401 (fixtures)
from trial import outdated_result

places = pytest.mark.parametrize('stack', ['memory', 'local', 'two', 'seaweed'], indirect=True)

def stocked(store, *items: str, n: int = 4) -> ObjectStore:
    for item in items:
        for i in range(n): store.put(f'models/{item}', {'n': i}, metadata={'auc': 0.8 + i / 100}, kind='model')
    return store

def goes(plan) -> list[str]: return sorted(s.ref for s in plan.goes)

@places
def test_the_nearest_policy_counts_alone(stack):
    store = stocked(stack.open(), 'churn', 'eu/churn', 'eu/x/slip', 'best')
    store.care.set_policy('models', keep_last=3)
    store.care.set_policy('models/eu/*', keep_last=2)
    store.care.set_policy('models/eu/x/*', keep_where='auc > 0.805')
    store.care.set_policy('models/churn', keep_last=4)
    other = stack.open()
    assert {p.ref: str(p) for p in other.care.policies('models')} == {
        'models': 'keep_last 3', 'models/eu/*': 'keep_last 2', 'models/eu/x/*': 'keep_where auc > 0.805',
        'models/churn': 'keep_last 4'}
    plan = other.care.prune('models', policy=True)
    assert goes(plan) == ['models/best@1', 'models/eu/churn@1', 'models/eu/churn@2', 'models/eu/x/slip@1']
    assert len(plan.apply().done) == 4 and not other.care.prune('models', policy=True).goes
    assert [v.version for v in stack.open().versions('models/eu/churn')] == [3, 4]

def test_to_set_is_to_replace_and_the_history_stays():
    store = stocked(ObjectStore('memory://'), 'churn')
    store.care.set_policy('models', keep_last=3, keep_within='30 d', grace='7 d')
    p = store.care.set_policy('models', keep_last=2)
    assert (p.rules.keep_within, p.grace, p.number) == (None, None, 2)
    assert store.care.set_policy('models', keep_last=2).number == 2                # nothing new
    assert store.care.remove_policy('models') and not store.care.remove_policy('models')
    assert not store.care.policies('models')
    said = store.care.policies('models', history=True)
    assert [str(p) for p in said] == ['keep_last 3, keep_within 30 d, grace 7 d', 'keep_last 2', 'removed']
    assert all(p.by and p.since.tzinfo for p in said) and 'keep_last 3' in repr(said)
    assert store.care.set_policy('models', kind='model', keep_last=1).number == 4

def test_an_item_without_a_policy_is_left_alone():
    store = stocked(ObjectStore('memory://'), 'churn', 'slip')
    with pytest.raises(InvalidQuery, match='set_policy'): store.care.prune('models', policy=True)
    store.care.set_policy('models/slip', keep_last=1)
    plan = store.care.prune('models', policy=True)
    assert {s.ref.partition('@')[0] for s in plan.steps} == {'models/slip'} and len(plan) == 3
    with pytest.raises(InvalidQuery): store.care.prune('models/churn', policy=True)

def test_a_policy_that_changes_meanwhile_is_gone_by():
    store = stocked(ObjectStore('memory://'), 'churn')
    store.care.set_policy('models', keep_last=1)
    plan = store.care.prune('models', policy=True)
    store.care.set_policy('models/churn', keep_last=3)
    done = plan.apply()
    assert [o.ref for o in done.done] == ['models/churn@1'] and len(done.left) == 2

def test_what_stays_whatever_a_rule_says_stays():
    store = stocked(ObjectStore('memory://'), 'churn')
    store.care.set_policy('models', keep_last=1)
    store.set_alias('models/churn@2', 'production')
    assert goes(store.care.prune('models', policy=True)) == ['models/churn@1', 'models/churn@3']

def test_a_calculated_result_goes_first_and_says_its_seconds_beside_its_bytes():
    ref = outdated_result(store := ObjectStore('memory://'))
    store.care.set_policy('lab', keep_last=1)
    step = store.care.prune('lab', policy=True).goes[0]
    assert step.ref == ref and 'calculated in' in step.reason and step.size

@places
def test_two_who_set_at_once(stack):
    store = stocked(stack.open(), 'churn')
    with ThreadPoolExecutor(4) as pool: [*pool.map(lambda n: store.care.set_policy('models', keep_last=n), range(1, 9))]
    said = stack.open().care.policies('models', history=True)
    assert sorted(p.rules.keep_last for p in said) == [*range(1, 9)]
    assert [p.number for p in said] == [*range(1, 9)]

def test_mistakes_set_nothing():
    store = stocked(ObjectStore('memory://'), 'churn')
    for how in ({}, {'grace': '7 d'}, {'kind': 'model'}, {'keep_last': 0}, {'keep_last': True}, {'keep_where': 'auc >'},
                {'keep_last': 1, 'grace': 'a while'}, {'keep_within': 'm'},
                {'keep_within': math.inf}, {'keep_last': 1, 'grace': math.inf}):
        with pytest.raises(InvalidQuery): store.care.set_policy('models', **how)
    with pytest.raises(NotFound, match="did you mean 'models'"): store.care.set_policy('model', keep_last=1)
    with pytest.raises(NotFound): store.care.policies('modles')
    for ref in ('models/churn@3', 'models/', '', 'models//*', 7):
        with pytest.raises(InvalidRef): store.care.set_policy(ref, keep_last=1)
    with pytest.raises(InvalidCall): store.care.prune('models', policy=True, keep_last=1)
    assert not store.care.policies('models')

def test_the_policy_that_an_item_goes_by_is_told():
    store = stocked(ObjectStore('memory://'), 'churn')
    assert not store.care.policies('models/churn')
    store.care.set_policy('models', keep_last=9, grace='30 d')
    assert [p.ref for p in store.care.policies('models/churn')] == ['models']
    with pytest.warns(UserWarning, match='the 30d of models do not count for it'):
        store.care.set_policy('models/churn', keep_last=2)
    with pytest.warns(UserWarning, match='the 30d of models do not count for it'):
        store.care.set_policy('models/sub/*', keep_last=2)
    assert [p.ref for p in store.care.policies('models/churn')] == ['models/churn']
    assert [p.ref for p in store.care.policies('models/sub/*')] == ['models/sub/*']
    assert len(store.care.policies('models')) == 3
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        store.care.set_policy('models/churn', keep_last=2, grace='1 d'), store.care.set_policy('models', keep_last=3)

def test_who_may_only_read(tmp_path):
    stocked(ObjectStore(tmp_path), 'churn').care.set_policy('models', keep_last=1)
    store = ObjectStore(tmp_path, readonly=True)
    assert len(store.care.policies('models')) == 1 and len(store.care.prune('models', policy=True)) == 3
    with pytest.raises(Protected): store.care.set_policy('models', keep_last=2)
    with pytest.raises(Protected): store.care.remove_policy('models')

def test_a_damaged_policy_ends_it_and_verify_names_it():
    store = stocked(ObjectStore('memory://'), 'churn')
    store.care.set_policy('models', keep_last=1)
    place = store.origin.place
    key = 'models/policies/@below/0000000001'
    place._objects[key] = place._objects[key][0].replace(b'1}', b'9}'), 0.0
    with pytest.raises(Damaged): store.care.prune('models', policy=True)
    report = store.care.verify()
    assert not report.ok and any('policies/@below' in f.found for f in report)
    store.care.set_policy('models', keep_last=2)
    assert len(store.care.prune('models', policy=True)) == 2

def test_refs_and_places_are_one_to_one():
    for ref in ('b', 'b/x', 'b/x/*', 'b/a/b/*', 'b/Ä ö/*', 'b/below'):
        assert policy_ref(*policy_place(ref)) == ref
    assert nearest_policy([], 'b/x') is None
