"""What every backend must do: the contract of `objectstore.backend`, as tests.

Subclass `BackendConformance` in a test module, with a fixture `backend` that gives a fresh and empty place:

    class TestMine(BackendConformance):
        @pytest.fixture
        def backend(self, tmp_path): return MyBackend(tmp_path)

A backend that can be pickled is raced from several processes, one that cannot from threads.
"""
from __future__ import annotations
import hashlib, multiprocessing, pickle, threading, time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
import pytest
from objectstore.storage.backend import Backend, key_number, number_key, same_stamp

MB = 2**20


def keys(entries) -> list[str]: return [e.key for e in entries]

@lru_cache(4)
def pattern(size: int, seed: int = 0) -> bytes:
    "Bytes of which no two pieces are alike"
    return b''.join(hashlib.blake2b(b'%d-%d' % (seed, i)).digest() for i in range(size // 64 + 1))[:size]

def race(backend: Backend, me: int, rounds: int, start) -> list[bool | str]:
    "What one of several racers was told, a key after the other"
    start.wait()
    return [_try(backend, f'race/{number_key(n + 1)}', b'%d' % me) for n in range(rounds)]

def _try(backend: Backend, key: str, data: bytes) -> bool | str:
    try: return backend.create(key, data)
    except OSError as e: return repr(e)

def _racer(backend, me, rounds, start, answers): answers.put((me, race(backend, me, rounds, start)))

def race_processes(backend: Backend, racers: int, rounds: int) -> dict[int, list]:
    "What each of several processes was told"
    spawn = multiprocessing.get_context('spawn')
    start, answers = spawn.Barrier(racers), spawn.Queue()
    all_ = [spawn.Process(target=_racer, args=(backend, me, rounds, start, answers), daemon=True) for me in range(racers)]
    for p in all_: p.start()
    told = dict(answers.get(timeout=300) for _ in all_)
    for p in all_: p.join()
    return told

def race_threads(backend: Backend, racers: int, rounds: int) -> dict[int, list]:
    start = threading.Barrier(racers)
    with ThreadPoolExecutor(racers) as pool: return dict(enumerate(pool.map(lambda me: race(backend, me, rounds, start), range(racers))))


class BackendConformance:
    racers, rounds = 8, 100     # of the race
    large = 20 * MB             # of the upload
    numbers = 250               # of the numbered folder
    strict = True               # does it refuse keys that no part of the library makes?

    # one object

    def test_create_keeps_what_was_first(self, backend):
        assert backend.create('a/state/0000000001', b'first') is True
        assert backend.create('a/state/0000000001', b'second') is False
        assert backend.read('a/state/0000000001') == b'first'

    def test_empty_object(self, backend):
        assert backend.create('a/empty', b'')
        assert backend.read('a/empty') == b'' == b''.join(backend.stream('a/empty'))
        assert [(e.key, e.size) for e in backend.list('')] == [('a/empty', 0)]

    @pytest.mark.parametrize('size', [1, 4096, 32 * 1024, MB + 1])
    def test_bytes_come_back(self, backend, size):
        data = pattern(size)
        assert backend.create('a/b', data)
        assert backend.read('a/b') == data == b''.join(backend.stream('a/b'))

    def test_any_buffer_is_kept_as_it_was(self, backend):
        data = bytearray(b'before')
        assert backend.create('a/b', memoryview(data))
        data[:] = b'after!'
        assert backend.read('a/b') == b'before' and type(backend.read('a/b')) is bytes

    def test_what_is_absent(self, backend):
        backend.create('a/b/c', b'x')
        for key in ('a/b/d', 'z/y', 'nothing', 'a', 'a/b', f'a/{number_key(7)}', 'a/b/c/d'):
            with pytest.raises(FileNotFoundError): backend.read(key)
            with pytest.raises(FileNotFoundError): list(backend.stream(key))
            with pytest.raises(FileNotFoundError): list(backend.stream(key, 2, 5))
            assert not backend.exists(key)
            assert backend.path(key) is None
            assert backend.delete(key) is None
        assert list(backend.list('z/')) == [] == backend.folders('z/') == backend.tail('z/')
        assert backend.read('a/b/c') == b'x'

    def test_limit(self, backend):
        backend.create('a/b', b'12345')
        assert backend.read('a/b', limit=5) == b'12345'
        with pytest.raises(OverflowError): backend.read('a/b', limit=4)

    def test_delete(self, backend):
        for key in ('a/b', 'a/c', f'a/@/{number_key(1)}'): backend.create(key, b'x')
        for key in ('a/b', f'a/@/{number_key(1)}'):
            assert backend.exists(key)
            backend.delete(key)
            assert not backend.exists(key)
        assert keys(backend.list('')) == ['a/c']
        assert backend.create('a/b', b'again') and backend.read('a/b') == b'again'

    def test_path_is_the_object(self, backend):
        backend.create('a/b', b'here')
        path = backend.path('a/b')
        assert path is None or path.read_bytes() == b'here'

    # keys

    odd = ['!sales=202026/x', 'a=2fb/@/0000000001', 'a/@prod/0000000001', '-rf/_x/y.z', 'no.ext.here/a', 'objectstore.json', 'x/0000000001.gc-ab12']

    @pytest.mark.parametrize('key', odd)
    def test_keys_pass_unchanged(self, backend, key):
        assert backend.create(key, key.encode())
        assert backend.read(key) == key.encode() and backend.exists(key)
        assert keys(backend.list('')) == [key]
        if '/' in key: assert backend.folders('') == [key.split('/')[0]]
        backend.delete(key)
        assert keys(backend.list('')) == []

    def test_long_keys(self, backend):
        key = f'bucket/records/{"n" * 200}/{"=c3=a4" * 33}/{"x" * 200}/@/{number_key(3)}.removed'
        assert backend.create(key, b'x')
        assert keys(backend.list('bucket/')) == [key] and backend.read(key) == b'x'

    @pytest.mark.parametrize('key', ['../x', 'a/../../x', '..', '.', '', '/', '/etc/passwd', 'a//b', 'a/', '/a', 'a/./b', 'a\x00b', 'a\nb', '\udcff', 'A', 'a\\..\\b',
        'c:/x', '.tmp-0123456789abcdef', 'a/.b', 'é', 'x#1', '?x=1', '~', '*', 'a b', '%2e%2e/x', 'a%2f..'])
    def test_bad_keys_are_refused(self, backend, key, tmp_path):
        if not self.strict: pytest.skip('it takes any key')
        backend.create('a/b', b'x')
        for verb in (backend.read, backend.exists, backend.delete, lambda k: list(backend.stream(k)), lambda k: backend.create(k, b'x'), lambda k: backend.create_many([(k, b'x')])):
            with pytest.raises(ValueError): verb(key)
        source = tmp_path/'source'
        source.write_bytes(b'x')
        with pytest.raises(ValueError): backend.upload(key, source)
        assert keys(backend.list('')) == ['a/b']

    # listings

    def test_list_is_ordered_and_bounded(self, backend):
        made = ['ab/x', 'a/b/1', 'a/b-c', 'a/b', 'a/c/z/1', 'a/c/a', 'a/a']
        made.remove('a/b')   # a name is never another's parent
        for k in made: backend.create(k, k.encode())
        assert sorted(keys(backend.list(''))) == sorted(made)
        assert sorted(keys(backend.list('a/'))) == sorted(k for k in made if k.startswith('a/'))
        assert keys(backend.list('a/c/')) == ['a/c/a', 'a/c/z/1']
        assert {e.key: e.size for e in backend.list('')} == {k: len(k) for k in made}
        assert backend.folders('') == ['a', 'ab'] and backend.folders('a/') == ['b', 'c'] and backend.folders('a/b/') == []

    def test_list_after_and_limit(self, backend):
        made = [f'f/{number_key(n)}' for n in (1, 2, 3, 5, 99, 100, 101, 250)]
        made = sorted(made + ['f/0000000003.removed', 'f/0000000100.abandoned'])
        for k in made: backend.create(k, b'x')
        assert keys(backend.list('f/')) == made
        for i, k in enumerate(made):
            assert keys(backend.list('f/', after=k)) == made[i + 1:]
            assert keys(backend.list('f/', after=k, limit=2)) == made[i + 1:][:2]
        assert keys(backend.list('f/', after='f/0000000003.z')) == made[4:]
        assert keys(backend.list('f/', after='f/0000000004')) == made[4:]
        assert keys(backend.list('f/', after='f/0000000400')) == []
        assert keys(backend.list('f/', limit=3)) == made[:3]

    def test_entries_are_dated_by_the_place(self, backend):
        backend.create('f/1', b'x')
        [entry] = backend.list('f/')
        assert abs(entry.modified - time.time()) < 3600

    def test_the_stamp_stays_with_an_object_and_another_one_has_another(self, backend):
        key = f'a/{number_key(1)}'
        backend.create(key, b'one')
        told, (first,) = backend.stamp(key), backend.list('a/')
        (again,) = backend.list('a/')
        assert first.stamp and first.stamp == again.stamp and same_stamp(told, first.stamp)
        backend.delete(key), backend.create(key, b'two')
        (other,) = backend.list('a/')
        assert not same_stamp(first.stamp, other.stamp) and same_stamp(backend.stamp(key), other.stamp)

    def test_end_of_a_numbered_folder(self, backend):
        n = self.numbers
        assert backend.create_many((f'f/@/{number_key(i)}', b'%d' % i) for i in range(1, n + 1)) == [True] * n
        backend.create(f'f/@/{number_key(n)}.removed', b'')
        backend.create('f/@other/0000009999', b'')
        for known in (0, 1, n - 101, n - 1, n, n + 1, 10 * n):
            found = backend.tail('f/@/', known)
            assert key_number(found[-1].key) == (n, 'removed') and key_number(found[-2].key) == (n, None)
            assert keys(found) == sorted(keys(found))
        assert number_key(n - 1) in backend.tail('f/@/', n - 1)[0].key
        assert keys(backend.list('f/@/')) == [f'f/@/{number_key(i)}' for i in range(1, n + 1)] + [f'f/@/{number_key(n)}.removed']
        assert backend.folders('f/') == ['@', '@other'] and backend.folders('f/@/') == []

    def test_folders_named_like_numbers(self, backend):
        made = ['n/0000000003/0000000001', 'n/00000000/x', 'n/0000000007', 'n/00000000/0000000001', 'n/12345678/y']
        for k in made: assert backend.create(k, k.encode())
        assert sorted(keys(backend.list('n/'))) == sorted(made)
        assert backend.folders('n/') == ['00000000', '0000000003', '12345678']
        assert sorted(keys(backend.list('n/00000000/'))) == ['n/00000000/0000000001', 'n/00000000/x']
        for k in made: assert backend.read(k) == k.encode()

    # many

    def test_many_answers_in_order(self, backend):
        backend.create('m/2', b'old')
        assert backend.create_many((f'm/{i}', b'new %d' % i) for i in (1, 2, 3, 1)) == [True, False, True, False] or backend.can.many > 1
        found = backend.read_many(['m/1', 'm/9', 'm/2', 'm/3'])
        assert found[0] == b'new 1' and found[2:] == [b'old', b'new 3'] and isinstance(found[1], FileNotFoundError)
        assert backend.create_many([]) == [] == backend.read_many([])
        assert isinstance(backend.read_many(['m/1'], limit=2)[0], OverflowError)

    def test_many(self, backend):
        items = [(f'm/{i % 7}/{number_key(i)}', b'%d' % i) for i in range(500)]
        assert backend.create_many(items) == [True] * 500
        assert backend.read_many(k for k, _ in items) == [v for _, v in items]
        assert backend.create_many(items[:20]) == [False] * 20

    # files

    def test_upload_and_ranges(self, backend, tmp_path):
        data, sent = pattern(self.large), []
        (tmp_path/'source').write_bytes(data)
        backend.upload('p/aa/large', tmp_path/'source', sent.append)
        assert sum(sent) == len(data)
        assert b''.join(backend.stream('p/aa/large')) == data
        n = len(data)
        for start, end in [(0, 10), (5, 5), (n, n), (n - 7, n), (n // 2 - 3, None), (1, 9 * MB), (8 * MB - 1, 8 * MB + 1), (0, n)]:
            assert b''.join(backend.stream('p/aa/large', start, end)) == data[start:end], (start, end)
        assert backend.read('p/aa/large') == data
        (tmp_path/'source').write_bytes(b'changed')
        assert b''.join(backend.stream('p/aa/large', 0, 5)) == data[:5]

    @pytest.mark.parametrize('size', [0, 5, 9 * MB])
    def test_upload_never_replaces(self, backend, tmp_path, size):
        (tmp_path/'source').write_bytes(pattern(size))
        backend.upload('p/aa/it', tmp_path/'source')
        assert backend.read('p/aa/it') == pattern(size)
        (tmp_path/'source').write_bytes(pattern(size + 1, seed=1))
        with pytest.raises(FileExistsError): backend.upload('p/aa/it', tmp_path/'source')
        assert backend.read('p/aa/it') == pattern(size)
        with pytest.raises(FileNotFoundError): backend.upload('p/aa/other', tmp_path/'nothing')
        assert keys(backend.list('p/')) == ['p/aa/it']

    def test_a_range_beyond_the_end_is_an_error(self, backend):
        if not self.strict: pytest.skip('it takes any range')
        backend.create('a/b', b'12345')
        for start, end in [(0, 6), (6, 7), (3, 99), (6, None)]:
            with pytest.raises(OSError): list(backend.stream('a/b', start, end))

    def test_a_stream_can_be_left(self, backend, tmp_path):
        (tmp_path/'source').write_bytes(pattern(self.large))
        backend.upload('p/aa/large', tmp_path/'source')
        for _ in range(5):
            stream = backend.stream('p/aa/large')
            next(stream)
            if hasattr(stream, 'close'): stream.close()

    # races

    def test_one_winner_a_key(self, backend, capsys):
        "RELIABILITY.md 1"
        told = (race_threads if backend.can.place == 'memory' else race_processes)(backend, self.racers, self.rounds)
        won, unknown = Counter(), Counter()
        for n in range(self.rounds):
            said = [answers[n] for answers in told.values()]
            winners = [me for me, answers in told.items() if answers[n] is True]
            unknown.update(a for a in said if isinstance(a, str))
            won['one' if len(winners) == 1 else 'several' if winners else 'none'] += 1
            kept = int(backend.read(f'race/{number_key(n + 1)}'))
            if winners: assert winners == [kept]
        with capsys.disabled(): print(f'\n  {backend!r}: {self.racers} x {self.rounds}: {dict(won)}, unknown {sum(unknown.values())}', end=' ')
        assert won['several'] == 0 and won['one'] + bool(unknown) * won['none'] == self.rounds

    def test_a_reader_sees_all_or_nothing(self, backend):
        "RELIABILITY.md 6"
        data, seen, done = pattern(200_000), Counter(), threading.Event()
        def reader():
            while not done.is_set():
                for n in range(1, 6):
                    try: seen[backend.read(f'w/{number_key(n)}') == data] += 1
                    except FileNotFoundError: seen['absent'] += 1
                seen[all(e.size == len(data) for e in backend.list('w/'))] += 1
        with ThreadPoolExecutor(2) as pool:
            watching = [pool.submit(reader) for _ in range(2)]
            for n in range(1, 6): backend.create(f'w/{number_key(n)}', data)
            done.set()
            for w in watching: w.result()
        assert not seen[False] and len(list(backend.list('w/'))) == 5

    def test_threads_share_it(self, backend):
        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(lambda i: backend.create(f't/{i % 5}/{number_key(i)}', b'%d' % i), range(80)))
            assert list(pool.map(lambda i: backend.read(f't/{i % 5}/{number_key(i)}'), range(80))) == [b'%d' % i for i in range(80)]

    def test_pickle(self, backend):
        if backend.can.place == 'memory': pytest.skip('it is this process')
        backend.create('a/b', b'x')
        other = pickle.loads(pickle.dumps(backend))
        assert other.read('a/b') == b'x' and repr(other) == repr(backend)
        assert not other.create('a/b', b'y')
