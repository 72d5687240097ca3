"""Traps that a design of versions without a server can fall into, each with what must happen instead"""
import pytest
from objectstore import Conflict, Damaged, NotFound
from objectstore.storage.backend import MemoryBackend
from objectstore.format.commit import Bucket, decided, KEPT, TAKEN
from objectstore.storage.files import FileBackend
from objectstore.format.records import payload_key
from services import Place
from trial import ServiceLike, Wrapped, content, dense, remote, store_over, whole

pytestmark = pytest.mark.usefixtures('own_cache')

@pytest.fixture(params=['memory', 'service-like', 'local', 'shared'])
def backend(request, tmp_path):
    kind = request.param
    return (MemoryBackend() if kind == 'memory' else ServiceLike() if kind == 'service-like'
            else FileBackend(tmp_path, shared=kind == 'shared', durable=False))

class Before(Wrapped):
    "Something happens once, just before (or after) the first call that is chosen"
    def __init__(self, inner, chosen, meanwhile, after=False):
        super().__init__(inner)
        self.chosen, self.meanwhile, self.after = chosen, meanwhile, after
    def call(self, op, key, run):
        if not (self.meanwhile and self.chosen(op, key)): return run()
        meanwhile, self.meanwhile = self.meanwhile, None
        if not self.after: meanwhile()
        answer = run()
        if self.after: meanwhile()
        return answer

def claims(op, key): return op == 'create' and '/records/' in key and '.' not in key

def names_inside_names(store) -> None:
    refs = ['b/m', 'b/m/0000000001', 'b/m/0000000001/x', 'b/m/@-like'.replace('@', 'at'), 'b/m/records',
            'records/records', 'b/state', 'b/0000000001']
    for k in range(2):
        for ref in refs: store.put(ref, content(f'{ref} {k}'), alias='prod')
    for ref in refs:
        assert [whole(v.get()) for v in store.versions(ref)] == [f'{ref} 0', f'{ref} 1']
        assert store[f'{ref}@prod'].version == 2
    assert sorted({v.item for v in store.find_items('b', at='*')}) == sorted(
        r.partition('/')[2] for r in refs if r.startswith('b/'))

def test_items_inside_items(backend): names_inside_names(store_over(backend))

@pytest.mark.parametrize('name', ['seaweed', 'ceph', 'given'])
def test_items_inside_items_on_a_service(name, request):
    names_inside_names(remote(Place(request.getfixturevalue(name))))

def test_a_bucket_is_made_again_while_a_writer_knows_7(backend):
    a, b = store_over(backend), store_over(backend)
    for i in range(7): a.put('b/m', i)
    assert b.remove_bucket('b', force=True) and 'b' not in b.list_buckets()
    assert b.put('b/m', 'again').version == 8
    assert a.put('b/m', 'mine').version == 9 and a.get('b/m@8') == 'again'
    for n in range(1, 8): assert f'b/m@{n}' not in a and f'b/m@{n}' not in b

def test_a_writer_that_knows_7_makes_a_removed_bucket_again(backend):
    a, b = store_over(backend), store_over(backend)
    for i in range(7): a.put('b/m', i)
    b.remove_bucket('b', force=True)
    assert a.put('b/m', 'mine').version == 8
    for s in (a, b, store_over(backend)):
        assert s.list_buckets() == ['b'] and s.get('b/m') == 'mine' and [v.version for v in s.versions('b/m')] == [8]

def test_a_put_during_the_removal_of_its_bucket(backend):
    "A put that comes at any moment of a removal is not hidden by it"
    for step in range(12):
        ref, other = f'b{step}/m', store_over(backend)
        for i in range(3): other.put(ref, i)
        calls = [0]
        def chosen(op, key):
            calls[0] += 1
            return calls[0] == step + 1
        remover = store_over(Before(backend, chosen, lambda: other.put(ref, 'meanwhile')))
        gone = remover.remove_bucket(f'b{step}', force=True)
        removed = ref not in other
        assert gone == removed == (f'b{step}' not in other.list_buckets())
        assert removed or other.get(ref) == 'meanwhile'
        assert len(dense(other, ref)) == 4 or remover.origin.place.meanwhile

def test_a_removal_of_its_bucket_during_a_put(backend):
    other = store_over(backend)
    other.put('b/m', 1)
    writer = store_over(Before(backend, claims, lambda: other.remove_bucket('b', force=True)))
    assert writer.put('b/m', 2).version == 2
    assert other.list_buckets() == ['b'] and other.get('b/m') == 2
    assert other.remove_bucket('b') is False and other.get('b/m') == 2

def test_the_latest_was_removed(backend):
    a, b = store_over(backend), store_over(backend)
    for i in range(3): a.put('b/m', i)
    assert b.get('b/m') == 2
    a.remove('b/m@3'); assert b.get('b/m') == 1 and b['b/m'].version == 2
    a.remove('b/m@*'); assert 'b/m' not in b and b.get('b/m', default=None) is None
    assert b.put('b/m', 'next', if_latest=0).version == 4
    with pytest.raises(Conflict): a.put('b/m', 'x', if_latest=3)

def payload_of(store, ref) -> str:
    r = store[ref]._record
    return f'b/{payload_key(r.hash, r.put)}'

def collects(backend, key, how):
    "What a collector of garbage does to a payload that nothing names any more"
    if how == 'deletes': backend.delete(key)
    else: backend.create(f'{key}.gc-1', b'{}')
    if how == 'takes': decided(backend, f'{key}.gc-1', TAKEN)

@pytest.mark.parametrize('how', ['takes', 'deletes'])
@pytest.mark.parametrize('when', ['before the claim', 'after the claim'])
def test_a_shared_payload_is_collected_during_a_put(backend, how, when):
    other, big = store_over(backend), content('big', 50_000)
    other.put('b/old', big)
    key = payload_of(other, 'b/old')
    other.remove('b/old@1')
    writer = store_over(Before(backend, claims, lambda: collects(backend, key, how), after=when == 'after the claim'))
    bucket = writer.origin.bucket('b')
    bucket.record('old', 1)                                  # so it knows the key, and shares it
    v = writer.put('b/m', big)
    assert v.version == 2 and payload_of(writer, 'b/m') != key
    assert store_over(backend).get('b/m') == big and [x.version for x in other.versions('b/m')] == [2]
    with pytest.raises(NotFound): other['b/m@1']
    assert dense(other, 'b/m') == [1, 2]

@pytest.mark.parametrize('how', ['takes', 'deletes'])
def test_a_shared_member_is_collected_during_a_put(backend, how, tmp_path):
    top = tmp_path/'photos'; top.mkdir()
    (top/'a').write_bytes(content('a', 50_000)); (top/'b').write_bytes(content('b'))
    other = store_over(backend)
    other.put('b/f', top)
    _, hash, put = other['b/f'].get().members['a']
    (top/'b').write_bytes(content('b2'))
    writer = store_over(Before(backend, claims, lambda: collects(backend, f'b/{payload_key(hash, put)}', how)))
    assert writer.put('b/f', top).version == 3
    folder = store_over(backend).get('b/f')
    assert [whole(folder.read(n)) for n in ('a', 'b')] == ['a', 'b2']

def test_planted_no_confirm_is_caught(monkeypatch):
    monkeypatch.setattr(Bucket, 'confirmed', lambda self, keys: True)
    with pytest.raises((AssertionError, Damaged)):
        test_a_shared_payload_is_collected_during_a_put(MemoryBackend(), 'deletes', 'before the claim')

def test_a_payload_is_of_one_bucket(backend):
    store, big = store_over(backend), content('big', 50_000)
    store.put('a/m', big)
    store.copy('a/m', 'b/m')
    store.put('c/m', big)
    for bucket in 'abc': assert [e for e in backend.list(f'{bucket}/payloads/')], bucket
    for e in list(backend.list('a/payloads/')): backend.delete(e.key)
    assert store_over(backend).get('b/m') == store_over(backend).get('c/m') == big
    with pytest.raises(Damaged): store_over(backend).get('a/m')

def test_a_swapped_record_is_not_believed(backend):
    store = store_over(backend)
    for ref in ('b/m', 'b/n'):
        for i in range(2): store.put(ref, content(f'{ref} {i}'))
    store.put('c/m', content('other bucket'))
    key = store.origin.bucket('b').key('m', 1)
    for foreign in (store.origin.bucket('b').key('m', 2), store.origin.bucket('b').key('n', 1),
                    store.origin.bucket('c').key('m', 1)):
        data = backend.read(foreign)
        backend.delete(key)
        backend.create(key, data)
        with pytest.raises(Damaged): store_over(backend).get('b/m@1')

def test_an_alias_is_set_while_its_version_is_removed(backend):
    other = store_over(backend)
    for i in range(2): other.put('b/m', i, alias='prod' if i == 0 else None)
    setter = store_over(Before(backend, lambda op, key: op == 'create' and '/aliases/' in key,
                               lambda: other.remove('b/m@2')))
    with pytest.raises(NotFound): setter.set_alias('b/m@2', 'prod')
    assert other.get('b/m@prod') == 0

def test_two_founders_of_one_origin(backend):
    "Whoever is second takes the identity that is there"
    other = store_over(backend)
    late = store_over(Before(backend, lambda op, key: op == 'create' and key.startswith('id/'),
                             lambda: other.put('b/m', 1)))
    late.put('b/m', 2)
    assert late.origin.id('b') == other.origin.id('b') and len(backend.tail('id/')) == 1

class Torn(Wrapped):
    "A listing is no moment: it may show a key as it was at its beginning, and the key's marks as they are at its end"
    meanwhile = None
    def list(self, folder, after=None, limit=None):
        before = list(self.inner.list(folder, after))
        if 'payloads/' not in folder or not self.meanwhile: return iter(before[:limit])
        meanwhile, self.meanwhile = self.meanwhile, None
        meanwhile()
        now = list(self.inner.list(folder, after))
        return iter(sorted([e for e in before if '.gc-' not in e.key] + [e for e in now if '.gc-' in e.key])[:limit])

@pytest.mark.parametrize('when', ['before the claim', 'after the claim'])
def test_a_payload_that_is_only_marked_is_kept_by_the_put(backend, when):
    other, big = store_over(backend), content('big', 50_000)
    other.put('b/old', big)
    key = payload_of(other, 'b/old')
    other.remove('b/old@1')
    writer = store_over(Before(backend, claims, lambda: collects(backend, key, 'marks'), after=when[0] == 'a'))
    writer.origin.bucket('b').record('old', 1)
    assert writer.put('b/m', big).version == 1 and payload_of(writer, 'b/m') == key
    assert decided(backend, f'{key}.gc-1', TAKEN) == KEPT           # the run comes too late

def test_a_confirm_during_the_end_of_a_run():
    """A run has marked and listed the records; then comes the claim; during the confirm the run takes the payload and
    deletes it: its mark stays for a day"""
    backend, big = MemoryBackend(), content('big', 50_000)
    other = store_over(backend)
    other.put('b/old', big)
    key = payload_of(other, 'b/old')
    other.remove('b/old@1')
    torn = Torn(backend)
    writer = store_over(torn)
    writer.origin.bucket('b').record('old', 1)
    backend.create(f'{key}.gc-1', b'{}')
    def ends(): decided(backend, f'{key}.gc-1', TAKEN); backend.delete(key)
    torn.meanwhile = ends
    writer.put('b/m', big)
    assert store_over(backend).get('b/m') == big
