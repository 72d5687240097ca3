"Imports from what other libraries have made: boards of pins, runs and models of MLflow; skipped where these are absent"
import json, shutil
from pathlib import Path
import pandas as pd, pytest
from objectstore import ObjectStore, Unsupported
from objectstore.moving import import_mlflow, import_pins


@pytest.fixture(scope='module')
def board(tmp_path_factory) -> Path:
    "A board, made by pins"
    pins = pytest.importorskip('pins', reason='pins is not installed: pip install pins')
    top = tmp_path_factory.mktemp('board')
    b = pins.board_folder(str(top), versioned=True)
    from datetime import datetime, timedelta
    for i in range(3):
        b.pin_write(pd.DataFrame({'x': range(i + 1)}), 'wine', type='parquet', title=f'Wine {i}', description='a table',
                    metadata={'grower': 'Ana', 'year': 2024 + i}, created=datetime(2025, 1, 1) + timedelta(days=i))
    b.pin_write(pd.DataFrame({'x': [1]}), 'csv', type='csv')
    b.pin_write({'depth': [3, None]}, 'settings', type='json')
    b.pin_write([1, 2], 'model', type='joblib')
    (top/'notes.txt').write_text('a year')
    b.pin_upload(str(top/'notes.txt'), 'upload')
    (top/'notes.txt').unlink()
    return top

def test_a_board_of_pins(board):
    import pins
    b, store = pins.board_folder(str(board)), ObjectStore('memory://')
    plan = import_pins(board, store, 'pins')
    assert not plan.stays and not plan.apply().left
    n = 0
    for pin in b.pin_list():
        own = b.pin_versions(pin)
        versions = store.versions(f'pins/{pin}')
        assert len(versions) == len(own)
        for v, name in zip(versions, own.version):
            meta = b.pin_meta(pin, version=name)
            assert v.metadata['imported'] == {'source': 'pins', 'id': f'pins/{pin}/{name}'.removeprefix('pins/'),
                                              'hash': meta.pin_hash}
            assert v.metadata['title'] == meta.title and v.metadata.get('description') == meta.description
            assert meta.user.items() <= v.metadata.items()
            assert v.metadata['dated'] == pd.Timestamp(meta.created, tz='UTC').isoformat()
            n += 1
    for i, v in enumerate(store.versions('pins/wine')):
        assert v.get().equals(b.pin_read('wine', version=b.pin_versions('wine').version[i]))
    assert store.get('pins/settings') == b.pin_read('settings')
    assert store.get('pins/csv').read_bytes() == next(board.glob('csv/*/csv.csv')).read_bytes()
    assert n == 7 and store.find_items('pins', at='*', where="dated < '2025-01-03' AND grower = 'Ana'").refs \
        == ['pins/wine@2', 'pins/wine@1']
    assert not import_pins(board, store, 'pins')

def test_half_a_board_changes_nothing(board, tmp_path):
    for cut in ('data.txt', 'wine.parquet', 'bytes', 'link'):
        top = tmp_path/cut
        shutil.copytree(board/'wine', top/'wine')
        v = sorted((top/'wine').iterdir())[1]
        if cut == 'bytes': (v/'wine.parquet').write_bytes((v/'wine.parquet').read_bytes()[:-9])
        elif cut == 'link': (v/'wine.parquet').unlink(); (v/'wine.parquet').symlink_to('/etc/passwd')
        else: (v/cut).unlink()
        [row] = import_pins(top, ObjectStore('memory://'), 'pins').stays
        assert any(word in row.reason for word in ('half a', 'a link')), row
    with pytest.raises(Unsupported, match='no board'): import_pins(tmp_path, ObjectStore('memory://'), 'pins')

def test_a_new_version_of_a_board_comes_alone(board, tmp_path):
    pins = pytest.importorskip('pins')
    shutil.copytree(board, top := tmp_path/'board')
    store = ObjectStore('memory://')
    import_pins(top, store, 'pins').apply()
    pins.board_folder(str(top), versioned=True).pin_write(pd.DataFrame({'x': [9]}), 'wine', type='parquet')
    assert [o.became for o in import_pins(top, store, 'pins').apply()] == ['pins/wine@4']


def trained(uri: str, top: Path):
    "Runs, models and aliases, made by MLflow"
    mlflow = pytest.importorskip('mlflow', reason='mlflow is not installed: pip install mlflow-skinny sqlalchemy '
                                 'alembic')
    if uri.startswith('sqlite'): pytest.importorskip('sqlalchemy'); pytest.importorskip('alembic')
    c = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
    e = c.create_experiment('churn / 2025', artifact_location=(top/'artifacts').as_uri())
    c.create_registered_model('churn model', description='who leaves')
    (top/'model.pkl').write_text('')
    runs = []
    for i in range(12):
        run = c.create_run(e, run_name=f'run {i}').info.run_id
        runs.append(run)
        c.log_param(run, 'depth', i); c.set_tag(run, 'stage', 'prod')
        for step in range(3): c.log_metric(run, 'auc', 0.5 + i / 100 + step / 10, step=step)
        if i == 3: c.log_metric(run, 'loss', float('nan'))
        (top/'model.pkl').write_text(f'model {i}')
        if i != 2: c.log_artifact(run, str(top/'model.pkl'), 'model/deep')
        if i == 11: break                                       # still running
        c.set_terminated(run, 'FAILED' if i == 4 else 'FINISHED')
        if i != 2:
            c.create_model_version('churn model', (top/'artifacts'/run/'artifacts'/'model').as_uri(), run,
                                   tags={'of': f'{i}'})
    c.set_registered_model_alias('churn model', 'champion', '3')
    c.set_registered_model_alias('churn model', 'old', '3')
    return c, e, runs

@pytest.fixture(params=['sqlite', 'folder'])
def mlflow_store(request, tmp_path, monkeypatch):
    monkeypatch.setenv('MLFLOW_ALLOW_FILE_STORE', 'true')
    monkeypatch.chdir(tmp_path)
    uri = f'sqlite:///{tmp_path}/mlflow.db' if request.param == 'sqlite' else (tmp_path/'mlruns').as_uri()
    return uri, *trained(uri, tmp_path)

def test_runs_and_models_of_mlflow(mlflow_store):
    uri, c, e, runs = mlflow_store
    store = ObjectStore('memory://')
    plan = import_mlflow(uri, store, 'ml')
    assert [s.reason for s in plan.stays] == ['half a run: it is RUNNING']
    assert not plan.apply().left
    for run in runs[:-1]:
        v, r = store[f'ml/runs/churn _ 2025/{run}'], c.get_run(run)
        assert (v.kind, v.metadata['params'], v.metadata['status']) == ('evaluation', r.data.params, r.info.status)
        assert v.metadata['metrics']['auc'] == r.data.metrics['auc'] and v.metadata['tags'] == {'stage': 'prod'}
        said = json.loads(v.get().read('run.json'))
        assert [m[:2] for m in said['history']['auc']] == [[m.step, m.value] for m in c.get_metric_history(run, 'auc')]
        i = runs.index(run)
        assert (sorted(v.get()) == ['run.json'] if i == 2
                else v.get().read('artifacts/model/deep/model.pkl') == f'model {i}'.encode())
    assert store[f'ml/runs/churn _ 2025/{runs[3]}'].metadata['metrics']['loss'] is None
    assert len(store.find_items('ml', where='metrics.auc > 0.75', kind='evaluation')) == 5
    models = store.versions('ml/models/churn model')
    theirs = sorted(c.search_model_versions("name='churn model'"), key=lambda v: int(v.version))
    assert len(models) == len(theirs) == 10
    for v, m in zip(models, theirs):
        assert v.metadata['run'] == m.run_id and v.metadata['tags'] == dict(m.tags) and v.kind == 'model'
        assert v.get().read('deep/model.pkl') == f'model {runs.index(m.run_id)}'.encode()
    assert dict(store.aliases('ml/models/churn model')) == {'champion': 3, 'old': 3}
    assert not import_mlflow(uri, store, 'ml')
    c.set_terminated(runs[-1])
    assert [s.what for s in import_mlflow(uri, store, 'ml').goes] == [f'run {runs[-1]}']

def test_artifacts_that_were_written_again_are_noticed(mlflow_store, tmp_path):
    "With the size that they had: a run, and the model that was registered from it"
    uri, c, e, runs = mlflow_store
    store = ObjectStore('memory://')
    import_mlflow(uri, store, 'ml').apply()
    (tmp_path/'artifacts'/runs[5]/'artifacts'/'model'/'deep'/'model.pkl').write_text('MODEL 5')
    plan = import_mlflow(uri, store, 'ml')
    assert [(s.what, 'has changed since' in s.reason) for s in plan.goes] == [(f'run {runs[5]}', True),
        ('model churn model 5', True)]
    assert not plan.apply().left and not import_mlflow(uri, store, 'ml')
    assert store.get(f'ml/runs/churn _ 2025/{runs[5]}').read('artifacts/model/deep/model.pkl') == b'MODEL 5'
    assert store.get('ml/models/churn model@11').read('deep/model.pkl') == b'MODEL 5'

def test_marks_of_artifacts_in_a_service(seaweed, monkeypatch):
    from objectstore.moving.mlflow_runs import marks
    for name, value in seaweed.environment.items(): monkeypatch.setenv(name, value)
    monkeypatch.delenv('AWS_ENDPOINT_URL'); monkeypatch.setenv('MLFLOW_S3_ENDPOINT_URL', seaweed.endpoint)
    s3, bucket = seaweed.client(), seaweed.make_bucket('mlflow-artifacts')
    s3.put_object(Bucket=bucket, Key='1/run/artifacts/model/a b.pkl', Body=b'one')
    was = marks(f's3://{bucket}/1/run/artifacts')
    s3.put_object(Bucket=bucket, Key='1/run/artifacts/model/a b.pkl', Body=b'two')
    assert [*was] == ['model/a b.pkl'] and was != marks(f's3://{bucket}/1/run/artifacts')
    assert marks('s3://no-such-bucket-7/x') == {}

def test_artifacts_that_are_gone_are_told(mlflow_store, tmp_path):
    uri, c, e, runs = mlflow_store
    store = ObjectStore('memory://')
    plan = import_mlflow(uri, store, 'ml')
    shutil.rmtree(tmp_path/'artifacts'/runs[0])
    left = plan.apply().left
    assert {o.ref for o in left} == {f'ml/runs/churn _ 2025/{runs[0]}', 'ml/models/churn model'}
    # behind it no model comes, for its number would be another
    assert 'cannot be read' in left[0].why and len(left) == 11

def test_what_is_no_store_of_mlflow(tmp_path, monkeypatch):
    pytest.importorskip('mlflow', reason='mlflow is not installed: pip install mlflow-skinny sqlalchemy alembic')
    (tmp_path/'x.db').write_bytes(b'no database at all' * 100)
    before = (tmp_path/'x.db').read_bytes()
    with pytest.raises(Unsupported): import_mlflow(f'sqlite:///{tmp_path}/x.db', ObjectStore('memory://'), 'ml')
    assert (tmp_path/'x.db').read_bytes() == before

def test_without_mlflow_its_absence_is_said(monkeypatch, tmp_path):
    import sys
    monkeypatch.setitem(sys.modules, 'mlflow', None)
    (tmp_path/'mlruns').mkdir()
    with pytest.raises(ImportError, match='pip install mlflow-skinny'):
        import_mlflow(tmp_path/'mlruns', ObjectStore('memory://'), 'ml')
    monkeypatch.setitem(sys.modules, 'yaml', None)
    (tmp_path/'board'/'a'/'b').mkdir(parents=True); (tmp_path/'board'/'a'/'b'/'data.txt').write_text('')
    with pytest.raises(ImportError, match='pyyaml'): import_pins(tmp_path/'board', ObjectStore('memory://'), 'pins')
