"Imports from a prefix of an S3 service, whoever has put what lies there"
import io, os
import pandas as pd, pytest
from objectstore import InvalidCall, NotAvailableOffline, NotFound, ObjectStore, Protected, TierMismatch, Unsupported
from objectstore.moving import import_folder
from objectstore.plans import read_plan

NAMES = ['churn_v1.pkl', 'churn_v2.pkl', 'churn_final.pkl', 'notes.txt', 'Ärger und mehr/ü b.csv', '50% & more#1.csv',
         'A+B=C (2).txt', 'trials/plots_v1/a.txt', 'trials/plots_v2/a.txt', 'trials/plots_v2/b.txt', 'UPPER/x~y.txt']

class Bucket:
    def __init__(self, service, name):
        self.name, self.s3, self.endpoint = service.make_bucket(name), service.client(), service.endpoint
    def put(self, key, data): self.s3.put_object(Bucket=self.name, Key=key, Body=data)
    def url(self, prefix=''): return f's3://{self.name}/{prefix}'

@pytest.fixture
def bucket(s3_service, s3_env, request):
    return Bucket(s3_service, f'old-{abs(hash(request.node.name)) % 10**8}')

def bytes_of(v):
    x = v.get()
    return {n: x.read(n) for n in x} if v.codec == 'folder' else x.read_bytes()

def test_a_prefix_comes_as_a_folder_does(bucket, tmp_path):
    "The same items, versions and bytes as from a copy of it on this machine"
    store, here = ObjectStore('memory://'), tmp_path/'here'
    for i, n in enumerate(NAMES):
        (here/n).parent.mkdir(parents=True, exist_ok=True); (here/n).write_bytes(f'{n} {i}'.encode())
        os.utime(here/n, (1.7e9 + i,) * 2)
        bucket.put(f'team/old/{n}', f'{n} {i}'.encode())
    bucket.put('team/other.txt', b'beside it')
    bucket.put('team/old/.hidden', b'x')
    bucket.put('team/old/x.csv.part', b'x')
    before = bucket.s3.list_objects_v2(Bucket=bucket.name)['Contents']
    plan = import_folder(bucket.url('team/old'), store, 'far', endpoint=bucket.endpoint)
    assert store.list_buckets() == []
    assert {s.what: s.reason for s in plan.stays} == {'.hidden': 'hidden',
                                                      'x.csv.part': 'a program is still writing it, by its name'}
    local = import_folder(here, store, 'near')
    assert [(s.what, s.ref[4:]) for s in plan.goes] == [(s.what, s.ref[5:]) for s in local.goes]
    assert not plan.apply().left and not local.apply().left
    far, near = store.find_items('far', at='*', sort='item'), store.find_items('near', at='*', sort='item')
    assert [(v.item, v.version, v.hash, bytes_of(v)) for v in far] == [(v.item, v.version, v.hash, bytes_of(v))
        for v in near]
    assert len(far) == 10 and far[0].metadata['imported']['source'] == 'prefix' and 'dated' in far[0].metadata
    assert bucket.s3.list_objects_v2(Bucket=bucket.name)['Contents'] == before
    again = import_folder(bucket.url('team/old'), store, 'far', endpoint=bucket.endpoint)
    assert (not again
            and all('here already' in s.reason for s in again.stays if s.ref.startswith('far/') and '.pkl' in s.ref))
    bucket.put('team/old/notes.txt', b'another year'); bucket.put('team/old/churn_final_v2.pkl', b'four')
    new = import_folder(bucket.url('team/old/'), store, 'far', endpoint=bucket.endpoint)
    assert [s.what for s in new.goes] == ['churn_final_v2.pkl', 'notes.txt']
    assert [o.became for o in new.apply()] == ['far/churn.pkl@4', 'far/notes.txt@2']

def test_files_become_what_they_hold(bucket):
    store, out = ObjectStore('memory://'), io.BytesIO()
    pd.DataFrame({'x': [1, 2]}).to_parquet(out)
    bucket.put('wine.parquet', out.getvalue())
    bucket.put('s.json', b'{"depth": 3}')
    bucket.put('half.json', b'{"depth": ')
    bucket.put('big.bin', big := os.urandom(20_000_000)); bucket.put('empty.txt', b'')
    done = import_folder(bucket.url(), store, 'wine', endpoint=bucket.endpoint).apply()
    assert [(o.what, o.why) for o in done.left] == [('half.json', 'half a JSON file: its end is missing')]
    assert store.get('wine/wine.parquet')['x'].tolist() == [1, 2] and store.get('wine/s.json') == {'depth': 3}
    assert store.get('wine/big.bin').read_bytes() == big and store.get('wine/empty.txt').read_bytes() == b''

def test_what_lies_beside_the_store(bucket):
    "In the bucket of the store itself; the store's own endpoint is taken, and the store is no row of many"
    store = ObjectStore(bucket.url('lab'), endpoint=bucket.endpoint, near=False)
    store.put('models/x', 1)
    bucket.put('uploads/a.txt', b'a'); bucket.put('lab.txt', b'b')
    plan = import_folder(bucket.url(), store, 'models')
    assert [s.what for s in plan.goes] == ['lab.txt', 'uploads/a.txt']
    assert {s.what: s.reason for s in plan.stays} == {'lab': 'a store: copy its buckets with copy(…, to=)'}
    assert not plan.apply().left and store.get('models/uploads/a.txt').read_bytes() == b'a'
    with pytest.raises(Unsupported, match='is a store'): import_folder(bucket.url('lab'), store, 'models')

def test_what_changes_before_it_is_brought(bucket, tmp_path):
    store = ObjectStore(tmp_path/'lab')
    for n in ('a.txt', 'b.txt', 'c.txt'): bucket.put(n, b'1')
    plan = import_folder(bucket.url(), store, 'x', endpoint=bucket.endpoint)
    plan.save(tmp_path/'plan.jsonl')
    bucket.put('a.txt', b'2'); bucket.s3.delete_object(Bucket=bucket.name, Key='b.txt')
    done = plan.apply()
    assert {o.what: o.why for o in done} == {'a.txt': 'it has changed since the plan was made', 'c.txt': '',
                                             'b.txt': 'it has changed since the plan was made'}
    later = import_folder(bucket.url(), store, 'x',
                          endpoint=bucket.endpoint).only(read_plan(tmp_path/'plan.jsonl').steps)
    assert not later

def test_what_is_not_there(bucket, s3_service, monkeypatch):
    store = ObjectStore('memory://')
    def plan(url, **kw): return import_folder(url, store, 'x', **{'endpoint': bucket.endpoint, **kw})
    with pytest.raises(NotFound): plan(bucket.url('nothing'))
    with pytest.raises((NotFound, Protected)): plan('s3://no-such-bucket-1234/x')
    with pytest.raises(NotAvailableOffline): plan(bucket.url(), endpoint='http://127.0.0.1:9')
    with pytest.raises(Unsupported, match='names no bucket'): plan('s3://')
    with pytest.raises(TierMismatch): plan('nosuch://a/b')
    with pytest.raises(InvalidCall, match='endpoint='): plan('/tmp')
    monkeypatch.setenv('AWS_SECRET_ACCESS_KEY', 'wrong')
    with pytest.raises(Protected): plan(bucket.url())
    assert store.list_buckets() == []

def test_a_url_of_a_folder(tmp_path):
    (tmp_path/'old').mkdir(); (tmp_path/'old'/'a b.txt').write_text('x')
    store = ObjectStore('memory://')
    assert not import_folder(f'{(tmp_path/"old").as_uri()}', store, 'x').apply().left
    assert store.get('x/a b.txt').read_text() == 'x'
