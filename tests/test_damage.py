"""Stored bytes that change: the right bytes or an error of the store's own, never wrong bytes and never a foreign
exception"""
import os, random, shutil
from collections import Counter, defaultdict
from pathlib import Path
import pytest
from objectstore import ObjectStore, ObjectStoreError
from objectstore.format import records
from objectstore.cache import download
from objectstore.storage.backend import MemoryBackend
from objectstore.storage.files import FileBackend
from proxy import Proxy
from services import Place
from trial import content, remote, soak, store_over

pytestmark = [pytest.mark.usefixtures('own_cache'), pytest.mark.filterwarnings('ignore')]

def fill(store: ObjectStore, top: Path) -> None:
    "A store that has an object of every kind"
    for name, size in (('a', 10), ('sub/b', 60_000), ('sub/c', 50_000)):
        (top/name).parent.mkdir(parents=True, exist_ok=True)
        (top/name).write_bytes(content(name, size))
    (top/'empty').write_bytes(b'')
    for i in range(1, 4):
        store.put('b/m', content(f'm{i}'), metadata={'auc': i, 'owner': 'anna'}, alias='prod')
        store.put('b/big', content(f'big{i}', 50_000 + i), metadata={'auc': i})
        store.put('b/json', {'n': i, 'list': [1, 2, 3]})
    store.set_alias('b/m@1', 'prod'); store.set_alias('b/m@2', 'test'); store.set_alias('b/big@3', 'prod')
    store.put('b/f', top)
    (top/'a').write_bytes(content('a2'))
    store.put('b/f', top)
    store.annotate('b/m@3', {'auc': 30, 'stage': 'one'})
    store.annotate('b/m@3', {'stage': 'two'})
    store.annotate('b/big@1', {'auc': 10})
    store.remove('b/json@2')
    store.put('c/x', content('x'))
    store.put('c/y', content('y'))
    store.remove_bucket('c', force=True)
    store.put('gone/x', content('x')); store.remove_bucket('gone', force=True)

def seen(store: ObjectStore, complaints: list) -> dict:
    "Everything that a reader can ask, each answer or the store's own error; other exceptions are complaints"
    found = {}
    def ask(name, f):
        try: found[name] = f()
        except ObjectStoreError as e: found[name] = e
        except Exception as e: complaints.append((name, repr(e))); found[name] = e
    def obj(ref):
        o = store.get(ref)
        return {n: o.read(n) for n in o} if hasattr(o, 'members') else o
    for ref in ('b/m', 'b/m@1', 'b/m@2', 'b/m@3', 'b/m@prod', 'b/m@test', 'b/m@prod~1', 'b/big', 'b/big@1',
                'b/big@prod', 'b/json', 'b/json@1', 'b/json@2', 'b/f', 'b/f@1', 'c/x', 'gone/x'):
        ask(ref, lambda: obj(ref))
    for ref in ('b/m@3', 'b/big@1', 'b/m@1'): ask(f'metadata {ref}', lambda: store[ref].metadata)
    ask('aliases', lambda: dict(store.aliases('b/m')))
    ask('buckets', store.list_buckets)
    ask('items', lambda: [v.ref for v in store.find_items('b')])
    ask('where', lambda: [v.ref for v in store.find_items('b', at='*', where='auc > 2')])
    ask('versions', lambda: [v.ref for v in store.versions('b/m')])
    ask('stats', lambda: dict(store.get_stats('b/m')))
    return found

def kind_of(key: str) -> str:
    if key.startswith(('id/', 'objectstore.json')): return 'format'
    kind = key.split('/')[1]
    return 'mark' if kind == 'records' and '.' in key.rpartition('/')[2] else kind

def harmed(data: bytes, how: str, rnd: random.Random, others: list[bytes]) -> bytes:
    "Bytes with a bit flipped, an end cut off, a byte changed to another of its class, or in place of another's"
    at = rnd.randrange(len(data)) if data else 0
    if how == 'swap': return rnd.choice(others)
    if how == 'truncate': return data[:at]
    if how == 'append': return data + bytes([rnd.randrange(256)])
    old = data[at:at + 1]
    if how == 'digit' and (digits := [i for i, b in enumerate(data[:3000]) if 48 <= b <= 57]):
        at = rnd.choice(digits)
        new = rnd.choice([d for d in b'0123456789' if d != data[at]])
    else: new = data[at] ^ (1 << rnd.randrange(8)) if old else 0
    return data[:at] + bytes([new]) + data[at + 1:]

def wrong(now: dict, right: dict) -> list:
    "Answers that are neither right nor an error, but for lists that left out what cannot be read"
    def ok(name, v):
        if isinstance(v, Exception) or name == 'stats': return True     # sums of what can be read, with a warning
        if name in ('items', 'where', 'versions'): return set(v) <= set(right[name])
        if name == 'aliases': return v.items() <= right[name].items()
        return v == right[name]
    return [(name, v) for name, v in now.items() if not ok(name, v)]

def damage(kind: str, n: int, seed: int, tmp: Path, moves: bool = False) -> tuple[Counter, list]:
    "Harm one stored object after another"
    def open_again(): return store_over(FileBackend(tmp/'store', durable=False) if kind == 'files' else backend)
    backend = FileBackend(tmp/'store', durable=False) if kind == 'files' else MemoryBackend()
    fill(open_again(), tmp/'top')
    complaints, rnd, count, bad = [], random.Random(seed), Counter(), []
    right = seen(open_again(), complaints)
    assert not complaints, complaints
    kinds = defaultdict(dict)
    for e in list(backend.list('')):
        if (kind_of(e.key) in ('aliases', 'notes', 'state')) == moves:
            kinds[kind_of(e.key)][e.key] = backend.read(e.key)
    def put_back(key, data):
        if kind == 'files':
            path = backend.path(key)
            old = path.stat()
            path.chmod(0o644)
            path.write_bytes(data)
            os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
        else: backend._objects[key] = (data, backend._objects[key][1])
    for i in range(n):
        group = kinds[what := list(kinds)[i % len(kinds)]]
        key = rnd.choice(list(group))
        data, how = group[key], rnd.choice(['flip', 'digit', 'truncate', 'swap', 'append'])
        others = [d for k, d in group.items() if d != data] or [b'x']
        if (new := harmed(data, how, rnd, others)) == data: continue
        put_back(key, new)
        count[what] += 1
        shutil.rmtree(download.cache_dir() if hasattr(download, 'cache_dir') else tmp/'none', ignore_errors=True)
        now = seen(open_again(), complaints)
        if w := wrong(now, right): bad.append((key, how, new[:300], w)); count['wrong'] += 1
        put_back(key, data)
    count['foreign'] = len(complaints)
    return count, bad + complaints

def right_or_error(kind, tmp_path, figure, n, moves):
    count, bad = damage(kind, n, 8, tmp_path, moves)
    figure(f'8 damaged bytes, {kind}', **{'wrong': 0, **count})
    assert not bad, '\n'.join(str(b)[:1000] for b in bad[:20])

@pytest.mark.parametrize('kind', ['files', 'memory'])
def test_damaged_bytes(kind, tmp_path, figure): right_or_error(kind, tmp_path, figure, soak(150, 500), False)

@pytest.mark.parametrize('kind', ['files', 'memory'])
def test_damaged_moves(kind, tmp_path, figure): right_or_error(kind, tmp_path, figure, soak(60, 200), True)

def test_planted_no_hash_check_is_caught(monkeypatch, tmp_path):
    monkeypatch.setattr(records, '_check', lambda *_: b'0' * 32)
    monkeypatch.setattr(download, 'verify_file', lambda *args: None)
    def caught(seed):
        (top := tmp_path/f'{seed}').mkdir()
        return damage('files', 60, seed, top)[0]['wrong']
    assert any(caught(seed) for seed in range(8, 13))     # which bytes are met also depends on the names of payloads


# On the way: a service whose answers are changed

def test_answers_that_are_changed_on_the_way(seaweed, tmp_path, figure):
    place, count = Place(seaweed), Counter(wrong=0, right=0, error=0)
    fill(remote(place), tmp_path/'top')
    refs = {'b/m@1': content('m1'), 'b/m': content('m3'), 'b/big@1': content('big1', 50_001),
            'b/json@1': {'n': 1, 'list': [1, 2, 3]}}
    with Proxy(seaweed.endpoint) as proxy:
        rnd = random.Random(8)
        for i in range(soak(40, 200)):
            kind = rnd.choice(['flip', 'truncate', 'short'])
            plan = (dict(at=rnd.randrange(200)) if kind == 'flip'
                    else dict(length='matching' if kind == 'truncate' else 'original'))
            with proxy.fault('flip' if kind == 'flip' else 'truncate', method='GET', path='(records|payloads)/',
                             when=lambda r: r.verb == 'GET', share=0.6, seed=i, **plan):
                ref = rnd.choice(list(refs))
                try: got = remote(place, proxy.endpoint, timeout=0.3).get(ref)
                except ObjectStoreError: count['error'] += 1
                else: count['right' if got == refs[ref] else 'wrong'] += 1
    figure('8 answers changed on the way', **count)
    assert not count['wrong'] and count['error']
