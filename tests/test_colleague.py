"""Models for a colleague: what is put here loads in another process, freely or for those who trust by name, and each
put says which of the two"""
import json, os, subprocess, sys, warnings
import pytest
from objectstore import ObjectStore, Untrusted
for library in 'sklearn', 'skops', 'numpy': pytest.importorskip(library, reason=f'{library} is not installed')
import numpy as np
from sklearn import (calibration, cluster, decomposition, discriminant_analysis, dummy, ensemble, feature_selection,
                     gaussian_process, impute, linear_model, mixture, naive_bayes, neighbors, neural_network,
                     preprocessing, svm, tree)
from sklearn.pipeline import make_pipeline

rng = np.random.default_rng(0)
X = np.abs(rng.normal(size=(80, 4)))
classes, numbers = (X[:, 0] > 0.7).astype(int), X[:, 0] * 2 + X[:, 1]

FREELY = [linear_model.LinearRegression(), linear_model.Ridge(), linear_model.RidgeCV(), linear_model.Lasso(),
          linear_model.LassoCV(), linear_model.ElasticNet(), linear_model.BayesianRidge(),
          linear_model.HuberRegressor(), linear_model.PoissonRegressor(), linear_model.LogisticRegression(),
          linear_model.LogisticRegressionCV(), linear_model.SGDClassifier(random_state=0), svm.SVC(), svm.SVR(),
          svm.LinearSVC(), naive_bayes.GaussianNB(), naive_bayes.MultinomialNB(), dummy.DummyClassifier(),
          discriminant_analysis.LinearDiscriminantAnalysis(), neighbors.NearestCentroid(),
          cluster.KMeans(3, n_init=1, random_state=0), cluster.DBSCAN(), mixture.GaussianMixture(2, random_state=0),
          decomposition.PCA(2), decomposition.NMF(2, random_state=0, max_iter=500),
          decomposition.TruncatedSVD(2, random_state=0), preprocessing.StandardScaler(), preprocessing.MinMaxScaler(),
          preprocessing.OneHotEncoder(handle_unknown='ignore'), preprocessing.PolynomialFeatures(),
          make_pipeline(preprocessing.StandardScaler(), linear_model.LogisticRegression())]
ASKS = [tree.DecisionTreeClassifier(), tree.DecisionTreeRegressor(), ensemble.RandomForestClassifier(5, random_state=0),
        ensemble.ExtraTreesRegressor(5, random_state=0), ensemble.GradientBoostingClassifier(n_estimators=3),
        ensemble.HistGradientBoostingRegressor(max_iter=3), ensemble.AdaBoostClassifier(n_estimators=3),
        ensemble.IsolationForest(n_estimators=5, random_state=0), neighbors.KNeighborsClassifier(),
        neighbors.LocalOutlierFactor(), neural_network.MLPClassifier((3,), max_iter=20, random_state=0),
        gaussian_process.GaussianProcessRegressor(gaussian_process.kernels.RBF()),
        calibration.CalibratedClassifierCV(linear_model.LogisticRegression()), feature_selection.SelectKBest(k=2),
        impute.SimpleImputer()]
MODELS = [*FREELY, *ASKS]

COLLEAGUE = '''
import json, sys, warnings
import numpy as np
from objectstore import ObjectStore, Untrusted
store, X, found = ObjectStore(sys.argv[1], progress=False), np.load(sys.argv[2]), {}
def told(model):
    "What it says of the rows: predictions, or what it makes of them"
    ask = next(a for a in ('predict', 'transform', 'fit_predict') if hasattr(model, a))
    out = getattr(model, ask)(X)
    return np.asarray(out.toarray() if hasattr(out, 'toarray') else out, float).ravel()[:40].tolist()
for v in store.find_items('models'):
    try: found[v.item] = ['loads', told(v.get())]
    except Untrusted as e:
        try: found[v.item] = ['asks', told(v.get(trust=['sklearn', 'numpy'])), str(e)]
        except Untrusted as e: found[v.item] = ['stays shut', None, str(e)]
print(json.dumps(found))
'''

@pytest.fixture(scope='module')
def table(tmp_path_factory):
    "Of each model: what was said when it was put, and what another process could do with it"
    top, said = tmp_path_factory.mktemp('colleague'), {}
    store = ObjectStore(top/'store', progress=False)
    np.save(top/'X.npy', X)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        for m in MODELS:
            m.fit(X, numbers if 'Regressor' in type(m).__name__ or type(m).__name__ in ('SVR',) else classes)
    for m in MODELS:
        name = type(m).__name__
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter('always')
            store.put(f'models/{name}', m)
        said[name] = [str(w.message) for w in seen if 'needs trust' in str(w.message)]
    env = {k: v for k, v in os.environ.items() if k != 'OBJECTSTORE_TRUST'}
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', COLLEAGUE, str(top/'store'), str(top/'X.npy')],
                          capture_output=True, text=True, env=env, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return said, json.loads(done.stdout)

def told(model):
    ask = next(a for a in ('predict', 'transform', 'fit_predict') if hasattr(model, a))
    out = getattr(model, ask)(X)
    return np.asarray(out.toarray() if hasattr(out, 'toarray') else out, float).ravel()[:40].tolist()

def test_a_colleague_gets_45_estimators_and_each_put_says_how(table):
    said, found = table
    assert len(MODELS) >= 45 and len(said) == len(found) == len(MODELS)
    print('\n| estimator | another process | said at put |\n| --- | --- | --- |')
    for m in MODELS:
        name = type(m).__name__
        print(f'| {name} | {found[name][0]} | {(said[name] or ["nothing"])[0].partition(", as an")[0][-90:]} |')
    assert [n for n, f in found.items() if f[0] == 'stays shut'] == []
    for m in MODELS:
        name = type(m).__name__
        assert (found[name][0] == 'asks') == bool(said[name]), f'{name}: {found[name][2:]} and said {said[name]}'
        assert len(said[name]) <= 1 and np.allclose(found[name][1], told(m)), name
    assert {n for n, f in found.items() if f[0] == 'loads'} >= {type(m).__name__ for m in FREELY}

def test_it_is_said_once_a_kind(tmp_path):
    store = ObjectStore(tmp_path/'store', progress=False)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter('always')
        for depth in 1, 2, 3: store.put('models/tree', tree.DecisionTreeClassifier(max_depth=depth).fit(X, classes))
        store.put('models/run', {'model': tree.ExtraTreeClassifier().fit(X, classes), 'rows': X})
    said = [w for w in seen if 'trust' in str(w.message)]
    assert len(said) == 2 and all(w.filename == __file__ for w in said)
    assert "models/tree is stored as skops: whoever gets it needs trust=['sklearn.tree._tree.Tree']" in str(
        said[0].message)
    assert "models/run['model']" in str(said[1].message)

def test_names_from_every_place_that_may_say_it(tmp_path, monkeypatch):
    "From an argument, a store, the environment; a project's file has no say (test_settings)"
    place, forest = tmp_path/'store', ensemble.RandomForestClassifier(3, random_state=0).fit(X, classes)
    with pytest.warns(UserWarning, match='needs trust'):
        ref = ObjectStore(place, progress=False).put('m/forest', forest).ref
    def other(**kw): return ObjectStore(place, progress=False, **kw)
    for names in ['sklearn'], ['sklearn.tree'], ['sklearn.tree._tree.Tree'], 'sklearn', ('xgboost', 'sklearn'):
        assert (other().get(ref, trust=names).predict(X) == forest.predict(X)).all()
        assert other(trust=names).get(ref).n_estimators == 3
    for names in ['xgboost'], ['sklearn.tre'], ['sklearn.ensemble'], [], False:
        with pytest.raises(Untrusted, match=r"trust=\['sklearn.tree._tree.Tree'\]"):
            other(trust=True).get(ref, trust=names)
    monkeypatch.setenv('OBJECTSTORE_TRUST', 'xgboost, sklearn.tree')
    assert other().get(ref).n_estimators == 3 == other().get_many([ref])[0].n_estimators == other()[
        ref].get().n_estimators
    with pytest.raises(Untrusted): other(trust=['xgboost']).get(ref)
    import pickle
    assert pickle.loads(pickle.dumps(other())).trust == other().trust

def test_names_open_no_pickle(tmp_path):
    store = ObjectStore(tmp_path/'store', progress=False)
    with pytest.warns(UserWarning, match='trust=True'): v = store.put('m/p', {1}, codec='pickle')
    for names in ['builtins'], ['builtins.set'], 'pickle':
        with pytest.raises(Untrusted, match='trust=True'): ObjectStore(tmp_path/'store', trust=names).get(v.ref)
    assert ObjectStore(tmp_path/'store').get(v.ref, trust=True) == {1}

def test_a_package_covers_only_what_it_defines():
    "What a module has merely imported is not its own, and a function that would be called is no class"
    from objectstore.trust import TrustedTypes
    trusted = TrustedTypes(('sklearn',))
    assert trusted.covers('sklearn.tree._tree.Tree') and trusted.covers('sklearn.neighbors._kd_tree.KDTree')
    taken = 'sklearn.utils._testing.check_output'            # of subprocess
    assert not trusted.covers(taken) and not trusted.covers(taken, function=True)
    own = 'sklearn.utils._testing.assert_run_python_script_without_output'
    assert not trusted.covers(own) and trusted.covers(own, function=True)

def test_a_forged_archive_calls_nothing_under_a_trusted_package(tmp_path, monkeypatch):
    "Planted: an archive whose list is made by a function of scikit-learn that runs a script"
    import io, zipfile
    from skops.io._protocol import PROTOCOL
    from objectstore.codecs.models import SkopsCodec
    from objectstore.trust import TrustedTypes
    ran = tmp_path/'ran'
    for module, name in ('sklearn.utils._testing', 'check_output'), (
            'sklearn.utils._testing', 'assert_run_python_script_without_output'):
        text = {'__class__': 'str', '__module__': 'builtins', '__loader__': 'JsonNode', 'is_json': True,
                'content': json.dumps(f'open({str(ran)!r}, "w")')}
        forged = {'__class__': name, '__module__': module, '__loader__': 'ListNode', 'content': [text], '__id__': 1,
                  'protocol': PROTOCOL, '_skops_version': '0.15'}
        other = {'__class__': name, '__module__': module, '__loader__': 'FunctionNode', '__id__': 2}
        top = dict(forged, content=[text, other])
        with zipfile.ZipFile(out := io.BytesIO(), 'w') as z: z.writestr('schema.json', json.dumps(top))
        with pytest.raises(Untrusted, match=name): SkopsCodec().decode(out.getvalue(), {}, trust=['sklearn'])
        assert not ran.exists()
    monkeypatch.setattr(TrustedTypes, 'covers', lambda self, name, function=False: name.startswith('sklearn.'))
    with pytest.raises(Exception) as e: SkopsCodec().decode(out.getvalue(), {}, trust=['sklearn'])
    assert not isinstance(e.value, Untrusted), 'by the name alone it would have been called'

def test_a_class_of_main_is_warned_of(tmp_path):
    "A script puts a model and a pickle of classes of its own"
    script = tmp_path/'run.py'
    script.write_text('''
import sys, warnings
import numpy as np
from sklearn.base import BaseEstimator
from objectstore import ObjectStore
class Own(BaseEstimator):
    def fit(self, X): self.mean_ = X.mean(); return self
class Plain: pass
store = ObjectStore(sys.argv[1], progress=False)
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter('always')
    store.put('m/own', Own().fit(np.ones(3)))
    store.put('m/plain', [Plain()], codec='pickle')
    store.put('m/harmless', [{1}], codec='pickle')
for w in seen: print(w.message)
''')
    done = subprocess.run([sys.executable, script, tmp_path/'store'], capture_output=True, text=True, timeout=300)
    said = [line for line in done.stdout.splitlines() if line.startswith('m/')]
    assert len(said) == 3, (done.stdout, done.stderr[-1000:])
    assert '__main__.Own stands in this script or notebook' in said[0] and "trust=['__main__.Own']" in said[0]
    assert '__main__.Plain stands in this script' in said[1] and '__main__' not in said[2]
