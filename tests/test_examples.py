"The examples of the tutorial *Around a store*, taken from its page and run as they stand there"
import json, os, re, shutil, subprocess, sys
from pathlib import Path
import pandas as pd, pytest
from objectstore import ObjectStore
from stacks import home  # noqa: F401 (a fixture)

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 240

def block(heading: str, n: int = 0) -> str:
    "The nth code block below a heading of the page"
    cells = json.loads((ROOT/'nbs/tutorials/around.ipynb').read_text())['cells']
    text = next(t for c in cells if (t := ''.join(c['source'])).startswith(f'## {heading}'))
    return re.findall(r'```\w*\n(.*?)```', text, re.DOTALL)[n]

def run(line, cwd, env=None, code=0) -> str:
    "What a program writes, and whether it ended as it should"
    p = subprocess.run(line, cwd=cwd, env=env, capture_output=True, text=True, timeout=SECONDS)
    assert p.returncode == code, (p.returncode, p.stdout[-2000:], p.stderr[-3000:])
    return p.stdout + p.stderr

PROGRAMS = Path(sys.executable).parent

def bare(tmp_path, **more) -> dict[str, str]:
    "The environment that cron and CI give: next to nothing"
    return {'HOME': str(tmp_path), 'PATH': f'{PROGRAMS}:/usr/bin:/bin', 'OBJECTSTORE_STATE_DIR': str(tmp_path/'state'),
            'OBJECTSTORE_CACHE_DIR': str(tmp_path/'cache'), **more}

def test_cron(tmp_path):
    lab = tmp_path/'lab'
    lab.mkdir()
    (lab/'settings.ini').write_text(f'[objectstore]\ntiers = {tmp_path}/store\n')
    (lab/'nightly.sh').write_text(block('cron'))
    path, line = block('cron', 1).splitlines()
    assert path.startswith('PATH=') and (command := line.split('  ', 1)[1]) == 'sh $HOME/lab/nightly.sh'
    def night(code=0): return run(['/bin/sh', '-c', command], '/', bare(tmp_path), code)
    (lab/'today.csv').write_text('a\n1\n')
    assert 'is a new store' in night()               # the first night tells that it was made
    assert night() == ''
    (lab/'today.csv').write_text('a\n2\n')
    assert night() == ''
    store = ObjectStore(tmp_path/'store')
    assert [v.metadata['source'] for v in store.versions('measurements/today')] == ['cron', 'cron']
    store.put('measurements/big', os.urandom(100_000))
    [payload] = [p for p in (tmp_path/'store'/'measurements'/'payloads').rglob('*') if p.is_file()]
    payload.chmod(0o600); payload.write_bytes(b'x' * 100_000)
    (lab/'nightly.sh').write_text(block('cron').replace('--sample 1/90', ''))     # the whole, and not what is next
    assert 'measurements/big@1' in night(8)

def steps() -> tuple[dict, list[str]]:
    yaml = pytest.importorskip('yaml')
    job = yaml.safe_load(block('GitHub'))['jobs']['train']
    return job['env'], [s['run'] for s in job['steps'] if 'run' in s]

def test_a_workflow_of_github(tmp_path, seaweed):
    seaweed.make_bucket('lab')
    asked, lines = steps()
    assert lines[0].startswith('pip install') and len(lines) == 4
    has = {'vars.LAB_ENDPOINT': seaweed.endpoint, 'secrets.LAB_KEY_ID': seaweed.access_key,
           'secrets.LAB_KEY': seaweed.secret_key}
    def push(auc, codes, **more):
        "All steps but the installation, each in a shell as the runner starts it, until one fails"
        own = {k: re.sub(r'\$\{\{ (.*?) \}\}', lambda m: has[m[1]], v) for k, v in asked.items()}
        env = bare(tmp_path, CI='true', GITHUB_SHA='abc1', AWS_REGION='us-east-1', **own) | more
        (tmp_path/'train.py').write_text(f"open('model.json', 'w').write('[{auc}]'); open('auc.txt', "
                                         f"'w').write('{auc}')")
        for line, code in zip(lines[1:], codes): run(['bash', '-e', '-o', 'pipefail', '-c', line], tmp_path, env, code)
    push(0.93, (0, 0, 0))
    store = ObjectStore('s3://lab/models', endpoint=seaweed.endpoint, near=False, storage_options={
        'access_key_id': seaweed.access_key, 'secret_access_key': seaweed.secret_key})
    v = store['models/churn@production']
    assert (v.version, v.metadata['commit'], v.metadata['auc'], v.get()) == (1, 'abc1', 0.93, [0.93])
    push(0.85, (0, 0, 4))
    assert dict(store.aliases('models/churn')) == {'candidate': 2, 'production': 1}
    push(0.95, (0, 7), OBJECTSTORE_ENDPOINT='http://127.0.0.1:9', OBJECTSTORE_OFFLINE='yes')   # kept, and said
    push(0.95, (0, 6), OBJECTSTORE_ENDPOINT='http://127.0.0.1:9', OBJECTSTORE_STATE_DIR=str(tmp_path/'new'))

def test_dask(tmp_path, seaweed):
    pytest.importorskip('dask.distributed', reason='pip install "dask[distributed]" runs this')
    seaweed.make_bucket('lab')
    for n in (0, 1): (tmp_path/block('Dask', n).split()[1]).write_text(block('Dask', n))
    env = {**os.environ, 'LAB_ENDPOINT': seaweed.endpoint, 'AWS_ACCESS_KEY_ID': seaweed.access_key, 'LAB_NEAR': 'near',
           'AWS_SECRET_ACCESS_KEY': seaweed.secret_key, 'AWS_REGION': 'us-east-1',
           'OBJECTSTORE_STATE_DIR': str(tmp_path/'state')}
    said = run([sys.executable, 'run.py'], tmp_path, env).splitlines()
    assert '7 4950' in said and '7' in said
    assert (tmp_path/'near-of-workers').is_dir()
    assert not [p for p in tmp_path.rglob('*') if p.is_file() and seaweed.secret_key.encode() in p.read_bytes()]

def test_papermill(tmp_path):
    pytest.importorskip('papermill', reason='pip install papermill runs this')
    nbformat = pytest.importorskip('nbformat')
    cells = [nbformat.v4.new_code_cell(x) for x in block('papermill', 1).split('# %%\n')]
    cells[0].metadata['tags'] = ['parameters']
    kernel = {'kernelspec': {'name': 'python3', 'language': 'python', 'display_name': 'Python 3'}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), tmp_path/'report.ipynb')
    (tmp_path/'report.py').write_text(block('papermill'))
    env = {**os.environ, 'OBJECTSTORE_STATE_DIR': str(tmp_path/'state')}
    assert "['reports/daily@2']" in run([sys.executable, 'report.py'], tmp_path, env)
    store = ObjectStore(tmp_path/'lab')
    assert [v.metadata['day'] for v in store.versions('reports/units')] == ['2026-11-01', '2026-11-02']
    assert ('papermill.record' not in str(store['reports/units'].lineage)
            and store.get('reports/daily').suffix == '.ipynb')

def test_spark(tmp_path):
    pytest.importorskip('pyspark', reason='pip install pyspark (and a Java) runs this')
    if shutil.which('java') is None: pytest.skip('there is no Java: apt install openjdk-17-jre-headless')
    store = ObjectStore(tmp_path/'lab')
    for auc in (0.88, 0.91, 0.93): store.put('models/churn', {'auc': auc}, metadata={'auc': auc})
    store.put('wine/table', pd.DataFrame({'x': range(10), 'region': ['a', 'b'] * 5}))
    (tmp_path/'catalog.py').write_text(block('Spark'))
    said = run([sys.executable, 'catalog.py'], tmp_path, {**os.environ, 'SPARK_LOCAL_IP': '127.0.0.1'})
    assert re.findall(r'^(churn \d+ \S+|2)$', said, re.MULTILINE) == ['churn 3 0.93', 'churn 2 0.91', '2']
