"What is far is read in ranges, and a transfer that broke off goes on"
import io, os, random, subprocess, sys, threading, time
from pathlib import Path
import pytest
from blake3 import blake3
from objectstore import NotAvailableOffline, ObjectStore
from objectstore.storage.atomic import PIECE
from objectstore.errors import Damaged, Unsupported
from objectstore.cache.download import BLOCK, Part, RangeFile
from away import forget_all
from trial import PATIENCE, alone, soak, start, together

MB = 10**6

@pytest.fixture(params=['seaweed', 'ceph'])
def s3_service(request): return request.getfixturevalue(request.param)

@pytest.fixture(autouse=True)
def own_machine(tmp_path, monkeypatch):
    for name in 'CACHE', 'STATE': monkeypatch.setenv(f'OBJECTSTORE_{name}_DIR', str(tmp_path/name))
    forget_all()
    yield
    forget_all()

@pytest.fixture
def near(place, proxy, s3_env, tmp_path):
    "Opens a store with a near tier over the service behind the proxy"
    def open_store(name='near', **options):
        return ObjectStore(tmp_path/name, place.url, endpoint=proxy.endpoint, progress=False, timeout=3.0, **options)
    return open_store

def moved(count) -> int: return sum(r.received for r in count)
def payload_requests(count) -> list: return [r for r in count if '/payloads/' in r.path]
def near_payloads(folder) -> list[Path]: return [p for p in Path(folder).rglob('payloads/*/*') if p.is_file()]

def noise(size: int, seed: int = 0) -> bytes: return random.Random(seed).randbytes(size)

@pytest.fixture
def frame():
    np, pd = pytest.importorskip('numpy'), pytest.importorskip('pandas')
    rng = np.random.default_rng(3)
    n = 300_000
    return pd.DataFrame({f'c{i}': rng.random(n) for i in range(12)} | {
        'n': np.arange(n), 'k': pd.Categorical(rng.integers(0, 5, n))}, index=pd.RangeIndex(n, name='row'))


# Files

def test_open_reads_ranges_and_fills_nothing(near, proxy, tmp_path, figure):
    data = noise(20 * MB)
    near('writer').put('lab/big', data)
    v = near()['lab/big']
    with proxy.counting() as c:
        f = v.open()
        f.seek(10 * MB)
        assert f.read(1000) == data[10 * MB:10 * MB + 1000] and f.seekable() and f.tell() == 10 * MB + 1000
        f.seek(-5, 2)
        assert f.read() == data[-5:] and f.read() == b'' and f.read(10) == b''
    figure('open of 20 MB: two places read', requests=len(c), bytes_moved=moved(c))
    assert len(c) == 2 and moved(c) < 0.02 * len(data) and not near_payloads(tmp_path/'near')
    with proxy.counting() as c: assert v.open().read() == data
    assert len(c) <= 5 and moved(c) == len(data) and not near_payloads(tmp_path/'near')
    with proxy.counting() as c, v.open() as f: assert b''.join(iter(lambda: f.read(10_000), b'')) == data
    assert len(c) < 12 and moved(c) < 1.1 * len(data)
    assert v.get() == data and near_payloads(tmp_path/'near')
    with proxy.counting() as c, v.open() as f: assert f.read() == data and f.name.startswith(str(tmp_path/'near'))
    assert not len(c)

def test_open_from_many_threads(near, tmp_path):
    data = noise(5 * MB)
    near('writer').put('lab/big', data)
    f = near()['lab/big'].open()
    lock, wrong = threading.Lock(), []
    def work(seed):
        rng = random.Random(seed)
        for _ in range(30):
            at, n = rng.randrange(len(data)), rng.randrange(200_000)
            with lock: f.seek(at); got = f.read(n)
            wrong.extend([at] * (got != data[at:at + n]))
    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for t in threads: t.start()
    for t in threads: t.join()
    assert not wrong

def test_open_of_what_is_small_local_or_a_folder(near, tmp_path):
    store = near()
    store.put('lab/small', b'few bytes')
    assert store['lab/small'].open().read() == b'few bytes'
    (tmp_path/'d').mkdir(), (tmp_path/'d'/'x').write_bytes(b'1')
    store.put('lab/folder', tmp_path/'d')
    with pytest.raises(Unsupported): store['lab/folder'].open()
    local = ObjectStore(tmp_path/'local')
    local.put('lab/big', noise(MB))
    with local['lab/big'].open() as f: assert f.read() == noise(MB)
    assert not (tmp_path/'CACHE'/'files').exists()

def test_open_while_the_service_is_away(near, proxy):
    near('writer').put('lab/big', noise(MB))
    f = near()['lab/big'].open()
    with proxy.fault('refuse'):
        begun = time.monotonic()
        for _ in range(20):
            with pytest.raises(ConnectionError): f.read(10)
        assert time.monotonic() - begun < 10 * PATIENCE
    forget_all()

@pytest.mark.parametrize('size', [1, BLOCK - 1, BLOCK, BLOCK + 1, 300 * BLOCK, 300 * BLOCK + 17])
def test_any_reads(size):
    data, rng, asked = noise(size), random.Random(size), []
    def read(a, z):
        assert 0 <= a < z <= size
        asked.append(z - a)
        return [data[a:z]]
    f, plain = RangeFile(read, size), io.BytesIO(data)
    buffered = io.BufferedReader(RangeFile(read, size), BLOCK)
    for _ in range(300):
        how, at, n = rng.randrange(3), rng.randrange(size + 10), rng.choice([0, 1, 100, BLOCK, 3 * BLOCK, 20 * BLOCK])
        if how: assert f.seek(at) == plain.seek(at) == buffered.seek(at)
        want = plain.read(n)
        assert f.read(n) == want == buffered.read(n) and f.tell() == plain.tell() == buffered.tell()

def test_short_answers_are_damage():
    f = RangeFile(lambda a, z: [b'x'], 100)
    with pytest.raises(Damaged, match='1 bytes'): f.read()


# Frames

def test_columns_read_their_ranges(near, proxy, frame, tmp_path, figure):
    pd = pytest.importorskip('pandas')
    v = near('writer').put('lab/train', frame)
    store = near()
    far = store['lab/train']
    with proxy.counting() as c: back = store.get(far, columns=['c3', 'k'])
    pd.testing.assert_frame_equal(back, frame[['c3', 'k']])
    figure('two of fourteen columns, far', requests=len(payload_requests(c)), share_of_bytes=moved(c) / v.size)
    assert len(payload_requests(c)) <= 3 and moved(c) < 0.12 * v.size and not near_payloads(tmp_path/'near')
    assert len(c) <= 4
    with proxy.counting() as c:
        assert store.get('lab/train@1', columns=['n'], as_='polars')['n'].sum() == frame['n'].sum()
    assert moved(c) < 0.1 * v.size
    pd.testing.assert_frame_equal(store.get('lab/train@1'), frame)
    assert near_payloads(tmp_path/'near')
    with proxy.counting() as c: pd.testing.assert_frame_equal(store.get('lab/train@1', columns=['c3']), frame[['c3']])
    assert not len(c)

def test_lazy_reads_what_the_plan_needs(near, proxy, frame, tmp_path, figure):
    pl = pytest.importorskip('polars')
    v = near('writer').put('lab/train', frame)
    store = near()
    with proxy.counting() as c: lazy = store.get('lab/train', as_='lazy')
    assert isinstance(lazy, pl.LazyFrame) and moved(c) < 0.05 * v.size
    with proxy.counting() as c:
        assert lazy.select(pl.col('n').sum()).collect().item() == frame['n'].sum()
    figure('lazy sum of one column, far', requests=len(c), share_of_bytes=moved(c) / v.size)
    assert len(c) <= 2 and moved(c) < 0.1 * v.size
    with proxy.counting() as c:
        assert lazy.filter(pl.col('n') < 0).select('c1', 'c2', 'c4').collect().is_empty()
    assert moved(c) < 0.1 * v.size
    assert lazy.filter(pl.col('n') == 77).select('c1').collect().item() == frame['c1'][77]
    assert not near_payloads(tmp_path/'near')
    assert store.get('lab/train', as_='lazy', columns=['c1']).collect_schema().names() == ['c1']
    store.get('lab/train')
    with proxy.counting() as c: assert store.get('lab/train@1', as_='lazy').collect().height == len(frame)
    assert not len(c)

def test_flipped_ranges_are_damage(near, proxy, frame, figure):
    "Of a range no hash can be checked; of Parquet the checksum of each page is"
    near('writer').put('lab/train', frame)
    store, rng, wrong, found = near(), random.Random(5), 0, 0
    want = frame['c5']
    for _ in range(n := soak(40, 300)):
        with proxy.fault('flip', path='payloads/', at=rng.randrange(2_000_000), nth=2) as f:
            try: wrong += not store.get('lab/train@1', columns=['c5'])['c5'].equals(want)
            except Damaged: found += 1
        assert f.hits
    figure('8 ranges with a flipped byte', flipped=n, damaged=found, wrong=wrong)
    assert not wrong and found

def test_ranges_while_the_service_is_away(near, proxy, frame):
    near('writer').put('lab/train', frame)
    store = near()
    lazy = store.get('lab/train', as_='lazy')
    with proxy.fault('refuse'):
        for asks in dict(columns=['c1']), dict(as_='lazy'), {}:
            with pytest.raises(NotAvailableOffline): store.get('lab/train@1', **asks)
        with pytest.raises(Exception, match='not there|refuses|answer'): lazy.collect()
    forget_all()

def test_a_far_frame_without_near_tiers(place, proxy, s3_env, frame, tmp_path):
    pd = pytest.importorskip('pandas')
    store = ObjectStore(place.url, endpoint=proxy.endpoint, near=False, progress=False, timeout=3.0)
    v = store.put('lab/train', frame)
    for _ in range(3):
        with proxy.counting() as c: pd.testing.assert_frame_equal(store.get('lab/train', columns=['c1']), frame[['c1']])
        assert moved(c) < 0.1 * v.size
    pd.testing.assert_frame_equal(store.get('lab/train'), frame)
    assert not list((tmp_path/'CACHE').rglob('*.arrow'))


# Transfers that break off

def parts(folder) -> list[Path]: return [p for p in Path(folder).rglob('.part-*')]

@pytest.mark.parametrize('kind', ['reset', 'truncate', '500'])
def test_a_broken_get_goes_on(kind, near, proxy, tmp_path, figure):
    data = noise(12 * PIECE + 5, 1)
    near('writer').put('lab/big', data)
    store = near()
    store['lab/big@1']
    with proxy.counting() as c:
        asked = []
        def later(r):
            asked.append(r)
            return len(asked) > 7
        with proxy.fault(kind, path='payloads/', when=later,
                         **(dict(keep=1000, length='original') if kind == 'truncate' else {})):
            with pytest.raises((ConnectionError, NotAvailableOffline)): store.get('lab/big@1')
        assert parts(tmp_path/'near') and not near_payloads(tmp_path/'near')[len(parts(tmp_path/'near')):]
        forget_all()
        assert near().get('lab/big@1') == data
    figure(f'a get of {len(data) // MB} MB that broke off ({kind})', bytes_moved=moved(c) / len(data),
           requests=len(payload_requests(c)))
    assert moved(c) < 1.3 * len(data)
    assert not parts(tmp_path/'near') and len(near_payloads(tmp_path/'near')) == 1

def _get(tiers, env, endpoint, ref):
    os.environ.update(env)
    return blake3(ObjectStore(*tiers, endpoint=endpoint, progress=False, timeout=20.0).get(ref)).hexdigest()

def _environment(tmp_path, service):
    return {**service.environment, 'OBJECTSTORE_CACHE_DIR': str(tmp_path/'CACHE'),
            'OBJECTSTORE_STATE_DIR': str(tmp_path/'STATE')}

def test_a_killed_get_goes_on_in_another_process(near, place, proxy, tmp_path, figure):
    data = noise(10 * PIECE, 2)
    near('writer').put('lab/big', data)
    tiers, env = (str(tmp_path/'near'), place.url), _environment(tmp_path, place.service)
    with proxy.counting() as c:
        asked = []
        with proxy.fault('hang', path='payloads/', when=lambda r: (asked.append(r), len(asked) > 5)[1]):
            p = start(_get, tiers, env, proxy.endpoint, 'lab/big@1')
            until = time.monotonic() + 500
            while time.monotonic() < until and sum(Part(x, len(data)).had for x in parts(tmp_path/'near')) < 5:
                time.sleep(0.1)
            p.kill(), p.join()
        (part,) = parts(tmp_path/'near')
        had = Part(part, len(data)).had
        assert alone(_get, tiers, env, proxy.endpoint, 'lab/big@1') == blake3(data).hexdigest()
    figure('a get that was killed', pieces_kept=had, bytes_moved=moved(c) / len(data))
    assert had == 5 and moved(c) < 1.3 * len(data) and not parts(tmp_path/'near')

def test_processes_bring_it_once(near, place, proxy, tmp_path, figure):
    data = noise(6 * PIECE, 3)
    near('writer').put('lab/big', data)
    tiers, env = (str(tmp_path/'near'), place.url), _environment(tmp_path, place.service)
    with proxy.counting() as c:
        answers = together(_get, [(tiers, env, proxy.endpoint, 'lab/big@1')] * 4)
    assert set(answers) == {blake3(data).hexdigest()}
    figure('4 processes get the same 50 MB at once', bytes_moved=moved(c) / len(data))
    assert moved(c) < 1.2 * len(data) and not parts(tmp_path/'near')

def test_threads_bring_it_once(near, proxy, tmp_path):
    data, store = noise(3 * PIECE, 4), near()
    near('writer').put('lab/big', data)
    found = []
    with proxy.counting() as c:
        threads = [threading.Thread(target=lambda: found.append(store.get('lab/big@1'))) for _ in range(5)]
        for t in threads: t.start()
        for t in threads: t.join()
    assert found == [data] * 5 and moved(c) < 1.2 * len(data)

def test_rotten_parts_are_brought_again(near, proxy, tmp_path):
    data = noise(4 * PIECE, 5)
    near('writer').put('lab/big', data)
    store = near()
    v = store['lab/big@1']
    folder = tmp_path/'near'/'.near'/store.origin.id()/'lab'/'payloads'/v.hash[:2]
    folder.mkdir(parents=True)
    for rot in (data[:PIECE] + bytes(3 * PIECE) + b'\1\1\1\1', b'x' * (4 * PIECE + 4), b'\1' * 100,
                data + b'\1\1\1\1' + b'tail', b''):
        (folder/f'.part-{v.hash}-{v._record.put}').write_bytes(rot)
        assert store.get('lab/big@1') == data and not parts(tmp_path/'near')
        store.near.drop('lab/big@1')

def test_wrong_bytes_at_the_origin_leave_nothing(near, proxy, tmp_path):
    near('writer').put('lab/big', noise(2 * PIECE, 6))
    store = near()
    with proxy.fault('flip', path='payloads/'):
        with pytest.raises(Damaged): store.get('lab/big@1')
    assert not parts(tmp_path/'near') and not near_payloads(tmp_path/'near')
    assert store.get('lab/big@1') == noise(2 * PIECE, 6)

def test_a_part_that_nobody_goes_on_with_is_swept(near, tmp_path):
    store = near()
    store.put('lab/big', noise(MB))
    folder = next(p for p in (tmp_path/'near').rglob('payloads/*'))
    for name, age in (f'.part-{"0" * 64}-x', 90_000), ('.tmp-0123456789abcdef', 90_000), (f'.part-{"1" * 64}-x', 10):
        (folder/name).write_bytes(b'x')
        os.utime(folder/name, (time.time() - age,) * 2)
    again = near()
    again.put('lab/more', noise(MB, 1))
    assert [p.name[:7] for p in folder.glob('.*')] == ['.part-1']


_MEMORY = """
import os, sys
from pathlib import Path
from objectstore import ObjectStore
store = ObjectStore(*sys.argv[1:3], endpoint=sys.argv[3], progress=False, timeout=5.0)
# ru_maxrss would be the parent's
def peak(): return next(int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('VmHWM'))
before = peak()
path = store['lab/huge@1'].path()
print(path.stat().st_size, before, peak())
"""

def test_memory_is_bounded(near, place, proxy, tmp_path, figure):
    size = soak(600, 5_000) * MB
    with open(tmp_path/'huge', 'wb') as f:
        for i in range(size // (50 * MB)): f.write(noise(50 * MB, i))
    ObjectStore(tmp_path/'writer', place.url, endpoint=place.service.endpoint, progress=False,
                timeout=5.0).put('lab/huge', tmp_path/'huge')
    out = subprocess.run([sys.executable, '-c', _MEMORY, str(tmp_path/'near'), place.url, place.service.endpoint],
                         capture_output=True, text=True, env={**os.environ, **_environment(tmp_path, place.service)})
    assert out.returncode == 0, out.stderr
    got, before, peak = map(int, out.stdout.split())
    figure(f'memory of a get of {size // MB:,} MB through two tiers', peak_MB=peak // 1000, before_MB=before // 1000)
    assert got == size and peak < 256_000

def test_progress_also_of_what_was_there(tmp_path, monkeypatch):
    seen = []
    data = noise(3 * PIECE)
    with Part(tmp_path/'x', len(data)) as part: part.bring(1, lambda a, z: [data[a:z]])
    with Part(tmp_path/'x', len(data)) as part: part.fill(lambda a, z: [data[a:z]], 4, seen.append)
    assert seen == [PIECE] * 3
