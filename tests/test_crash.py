"""kill -9 at every step that writes, and at random moments: what was acknowledged is there, what was not is there whole
or not at all, and the store goes on"""
import itertools, json, os, random, shutil, tempfile, threading, time
from collections import Counter
from pathlib import Path
import pytest
from objectstore import NotFound, ObjectStore
from objectstore.storage import files
from objectstore.search.changelog import flush_hints
from objectstore.format.origin import Origin
from services import Place
from planting import planted_here
from trial import (SOAK, WRITES, Wrapped, alone, content, dense, die, drafts, forked, named, payloads, remote, soak,
                   start, together, where, whole)

pytestmark = pytest.mark.usefixtures('own_cache')


# What is done while the process is killed. Each gets a store and a function that keeps an acknowledgement outside of
# it.

def a_folder(*files: tuple[str, int]) -> Path:
    top = Path(tempfile.mkdtemp())/'photos'
    for name, size in files:
        (top/name).parent.mkdir(parents=True, exist_ok=True)
        (top/name).write_bytes(content(name, size))
    return top

def start_content(store) -> None:
    "What every store of these tests holds before"
    store.put('b/m', content('m1'))
    store.put('b/m', content('m2', 50_000), alias='prod')
    store.put('b/m', content('m3'), metadata={'auc': 1})
    store.put('b/f', a_folder(('a', 10), ('sub/b', 60_000)))
    store.put('other/x', content('x'))

acts = dict(
    small=lambda s, ack: ack(s.put('b/m', content('new')).ref),
    first=lambda s, ack: ack(s.put('new/item', content('new')).ref),
    large=lambda s, ack: ack(s.put('b/m', content('new', 70_000)).ref),
    same=lambda s, ack: ack(s.put('b/n', content('m2', 50_000)).ref),
    folder=lambda s, ack: ack(s.put('b/f', a_folder(('a', 10), ('sub/b', 60_000), ('sub/c', 70_000), ('d', 20))).ref),
    alias=lambda s, ack: ack(s.put('b/m', content('new'), alias='prod').ref),
    remove=lambda s, ack: ack(s.remove('b/m@1')),
    remove_aliased=lambda s, ack: ack(s.remove('b/m@*', force=True)),
    set_alias=lambda s, ack: ack(s.set_alias('b/m@3', 'prod').ref),
    remove_alias=lambda s, ack: ack(s.remove_alias('b/m', 'prod')),
    annotate=lambda s, ack: ack(s.annotate('b/m@3', {'auc': 2, 'by': 'me'}).ref),
    remove_bucket=lambda s, ack: ack(s.remove_bucket('b', force=True)),
    copy=lambda s, ack: ack(s.copy('b/m@2', 'b/copied').ref),
    copy_bucket=lambda s, ack: ack(len(s.copy('b', 'b2'))),
    put_many=lambda s, ack: ack(len(s.put_many(
        {f'b/many{i}': content(f'many{i}') for i in range(3)} | {'b/m': content('new', 40_000)}))),
)

def seen(store) -> dict:
    "Everything that a reader sees, by name"
    store.refresh(whole=True)      # whoever died has left no hint
    found = {('bucket', b): True for b in store.list_buckets()}
    for v in store.find_items(at='*'):
        obj = v.get()
        found['version', v.ref] = (whole(obj) if isinstance(obj, bytes)
                                   else {name: whole(obj.read(name)) for name in obj})
        found['metadata', v.ref] = v.metadata
        found |= {('alias', v.item, a): v.version for a in v.aliases}
    return found

def between(now: dict, before: dict, after: dict) -> list:
    "What is neither as it was nor as it should become"
    return [(k, v) for k in {**now, **before, **after} if (v := now.get(k)) not in (before.get(k), after.get(k))]


# 4: at every step that writes

class KillAt(Wrapped):
    "Dies before or after the `n`-th operation that writes"
    def __init__(self, inner, n, after):
        super().__init__(inner)
        self.left, self.after = n, after
    def call(self, op, key, run):
        if op not in WRITES: return run()
        self.left -= 1
        if not self.left and not self.after: die()
        answer = run()
        if not self.left: die()
        return answer

_system = ('open', 'write', 'link', 'mkdir', 'fsync', 'unlink', 'copy_file_range')

def kill_in_system(n: int, after: bool) -> None:
    "From now on, the `n`-th call to the system that writes is the last"
    left = [n]
    def wrap(f):
        def call(*args, **kwargs):
            left[0] -= 1
            if not left[0] and not after: die()
            try: return f(*args, **kwargs)
            finally:
                if not left[0]: die()
        return call
    for name in _system: setattr(os, name, wrap(getattr(os, name)))

def act_and_die(folder: Path, log: Path, act: str, how: str, n: int, after: bool, planted: bool = False) -> None:
    "In a process of its own: do one thing, and die in the middle of it, or at the latest when it was acknowledged"
    if planted: planted_here(files.FileBackend, 'create', writes_in_place)
    store = ObjectStore(folder)
    if how == 'operation': store = ObjectStore.over(Origin(KillAt(store.origin.place, n, after), 'tester'))
    def ack(what):
        fd = _open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        _write(fd, f'{what}\n'.encode())
        if how: die()
    if how == 'call': kill_in_system(n, after)
    acts[act](store, ack)

def writes_in_place(self, key: str, data: bytes) -> bool:
    "Planted: an object is written under its own name, in two pieces"
    place, leaf = self._place(key)
    if os.path.exists(f'{place}/{leaf}'): return False
    self._ready(place)
    fd = os.open(f'{place}/{leaf}', os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    for piece in (data[:len(data) // 2], data[len(data) // 2:]): os.write(fd, piece)
    os.close(fd)
    return True

_open, _write = os.open, os.write

def every_step(act: str, how: str, stride: int = 1, planted: bool = False) -> Counter:
    "Kill one act at each of its steps; what was found after each"
    top = Path(tempfile.mkdtemp())
    os.environ['OBJECTSTORE_CACHE_DIR'], os.environ['TMPDIR'], tempfile.tempdir = str(top/'cache'), str(top), None
    start_content(ObjectStore(top/'template', durable=False))
    before = seen(ObjectStore(top/'template'))
    count = Counter()
    shutil.copytree(top/'template', top/'whole')
    assert forked(act_and_die, top/'whole', top/'log', act, '', 0, False) == 0
    after = seen(ObjectStore(top/'whole'))
    for n in range(1, 10_000, stride):
        for late in (False, True):
            folder, log = top/f'{n}{late}', top/f'{n}{late}.log'
            shutil.copytree(top/'template', folder)
            assert forked(act_and_die, folder, log, act, how, n, late,
                          planted) == -9, f'{act} step {n}: it was not killed'
            count.update(judged(folder, log.exists(), before, after, f'{act}, {how} {n}, '
                                f'{"after" if late else "before"}'))
            flush_hints()
            shutil.rmtree(folder)
        if log.exists(): break
    flush_hints()
    shutil.rmtree(top)
    return count

def judged(folder: Path, acknowledged: bool, before: dict, after: dict, where: str) -> Counter:
    "Look at a store whose writer died; go on with it"
    store = ObjectStore(folder, durable=False)
    now = seen(store)
    broken = [(k, v) for k, v in now.items() if k[0] == 'version'
              and (v is None or isinstance(v, dict) and None in v.values())]
    assert not (odd := between(now, before, after)), f'{where}: {odd}'
    left = payloads(folder) - named(store, 'b')
    numbers = dense(store, 'b/m')
    assert store.put('b/m', content('goes on')).version == len(numbers) + 1, where
    assert store.get('b/m') == content('goes on')
    return Counter(kills=1, acknowledged=acknowledged, intact=acknowledged and now == after, partial=len(broken),
                   temporaries=len(drafts(folder)), orphans=len(left))

@pytest.mark.parametrize('how', ['operation', 'call'])
def test_every_step(how, figure):
    chosen = list(acts)
    with_stride = [(a, how, 1 if SOAK > 1 or how == 'operation' else 12) for a in chosen]
    total = Counter()
    for pair in zip(with_stride[::2], [*with_stride[1::2], None]):
        for c in together(every_step, [p for p in pair if p]): total.update(c)
    figure(f'4 kill -9 at every {"operation" if how == "operation" else "system call"} that writes',
           **{k: total[k] for k in ('kills', 'acknowledged', 'intact', 'partial', 'temporaries', 'orphans')})
    assert total['acknowledged'] == total['intact'] and not total['partial'] and not total['temporaries']
    assert total['orphans'] <= 3 * total['kills']

def test_planted_write_in_place_is_caught():
    "The second half of the record is missing at one of the steps"
    with pytest.raises(AssertionError, match='is not a record|has been changed'):
        alone(every_step, 'small', 'call', 1, True)


# A client of a real service

def act_on_service(place, log, act, n, after) -> None:
    store = ObjectStore.over(Origin(KillAt(remote(place).origin.place, n, after), 'tester'))
    acts[act](store, lambda what: (Path(log).write_text(str(what)), die()))

@pytest.mark.parametrize('act', ['large', 'remove', 'set_alias'])
def test_every_step_on_a_service(act, seaweed, tmp_path, figure):
    def fresh():
        start_content(remote(place := Place(seaweed)))
        return place
    count, done = Counter(), fresh()
    before = seen(remote(done))
    acts[act](remote(done), lambda what: None)
    after = seen(remote(done))
    for n, late in itertools.product(range(1, 10), (False, True)):
        place, log = fresh(), tmp_path/f'{n}{late}'
        p = start(act_on_service, where(place), log, act, n, late)
        p.join(60)
        assert p.exitcode == -9
        now = seen(remote(place))
        assert not between(now, before, after)
        count.update(kills=1, acknowledged=log.exists(), intact=log.exists() and now == after)
        made = dense(remote(place), 'b/m')
        assert remote(place).put('b/m', content('goes on')).version == len(made) + 1
        if log.exists() and late: break
    figure(f'4 kill -9 at every operation of {act} that writes, SeaweedFS', **count)
    assert count['acknowledged'] == count['intact'] > 0


# 4, 6, 7: at random moments

def endless(folder: Path, log: Path, seed: int) -> None:
    "Puts, aliases and removals for ever; what is about to be done and what was acknowledged goes into a log"
    store, rnd, mine = ObjectStore(folder), random.Random(seed), []
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    def say(**what): os.write(out, json.dumps(what).encode() + b'\n')
    for i in range(10**9):
        name, item = f'{seed}.{i}', rnd.choice(['b/m', 'b/n'])
        kind = rnd.choices(['small', 'large', 'folder', 'remove', 'alias'], [4, 3, 1, 1, 1])[0]
        if kind in ('remove', 'alias') and not mine: continue
        if kind == 'remove':
            say(begins='remove', ref=(ref := mine.pop(rnd.randrange(len(mine)))))
            say(removed=ref, n=store.remove(ref, force=True))
        elif kind == 'alias':
            say(begins='alias', alias=f'a{seed}', ref=(ref := rnd.choice(mine)))
            store.set_alias(ref, f'a{seed}')
            say(alias=f'a{seed}', ref=ref)
        else:
            obj = (a_folder((name, 10), ('sub/x', 50_000)) if kind == 'folder'
                   else content(name, 60_000 * (kind == 'large')))
            say(begins='put', name=name)
            mine.append(store.put('b/f' if kind == 'folder' else item, obj).ref)
            say(put=mine[-1], name=name)

def endless_reading(folder: Path, log: Path) -> None:
    "Reads what is there for ever; keeps what was not whole"
    rnd, out = random.Random(0), os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    while True:
        store = ObjectStore(folder)
        for _ in range(20):
            item = rnd.choice(['b/m', 'b/n', 'b/f'])
            try:
                v = store[item] if rnd.random() < 0.5 else store[f'{item}@{rnd.randint(1, store[item].version)}']
                obj = v.get()
                bad = whole(obj) is None if isinstance(obj, bytes) else None in [whole(obj.read(f)) for f in obj]
                os.write(out, f'{"partial " + v.ref if bad else "whole"}\n'.encode())
            except NotFound: pass
            except Exception as e: os.write(out, f'error {item} {e!r}\n'.encode())

def wait_for(ready, seconds: float = 500) -> None:
    until = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < until, 'it did not happen'
        time.sleep(0.002)

def names_in(obj) -> str | None:
    return whole(obj) if isinstance(obj, bytes) else next((n for n in obj if n != 'sub/x'), None)

def test_random_kills(tmp_path, monkeypatch, figure):
    for name in ('TMPDIR', 'OBJECTSTORE_CACHE_DIR'): monkeypatch.setenv(name, str(tmp_path/'tmp'))
    (tmp_path/'tmp').mkdir()
    folder, rnd, kills = tmp_path/'store', random.Random(1), soak(40, 500)
    ObjectStore(folder).find_or_create_bucket('b')
    reader = start(endless_reading, folder, tmp_path/'reader.log')
    for k in range(0, kills, 2):
        writers = [start(endless, folder, tmp_path/f'{k + i}.log', k + i) for i in range(2)]
        logs = [tmp_path/f'{k + i}.log' for i in range(2)]
        for w, log in zip(writers, logs):
            said = rnd.randrange(8)
            wait_for(lambda: log.exists() and log.read_bytes().count(b'\n') >= said)
            time.sleep(rnd.uniform(0, 0.02))       # anywhere in what it does next
            w.kill()
        for w in writers: w.join()
    wait_for(lambda: 'whole' in (tmp_path/'reader.log').read_text())
    reader.kill(); reader.join()
    read = Counter(line.split()[0] for line in (tmp_path/'reader.log').read_text().splitlines())
    assert not read['error'], [l for l in (tmp_path/'reader.log').read_text().splitlines() if l.startswith('error')][:5]
    result = agrees(folder, [tmp_path/f'{k}.log' for k in range(kills)])
    left = [p for p in payloads(folder) if p not in named(ObjectStore(folder), 'b')]
    temporary, swept = len(drafts(folder)), ObjectStore(folder).origin.place.sweep(older_than=-1)
    figure('4 kill -9 at random', kills=kills, **result)
    figure('6 reader meanwhile', reads=read['whole'], partial=read['partial'], errors=read['error'])
    figure('7 leftovers', kills=kills, payloads=len(left), temporaries=temporary, swept=swept)
    assert (result['acknowledged'] == result['intact'] and not result['doubled'] and not read['partial']
            and read['whole'])
    assert len(left) <= 4 * kills and not drafts(folder)

def agrees(folder: Path, logs: list[Path]) -> dict[str, int]:
    "Whether a store holds what the logs say"
    said = [json.loads(line) for log in logs if log.exists() for line in log.read_text().splitlines()
            if line.endswith('}')]
    store, count, names = ObjectStore(folder), Counter(acknowledged=0, intact=0, doubled=0), Counter()
    live = {v.ref: names_in(v.get()) for item in ('b/m', 'b/n', 'b/f') if item in store for v in store.versions(item)}
    names.update(live.values())
    removing = {w['ref'] for w in said if w.get('begins') == 'remove'}
    for w in said:
        if ref := w.get('put'):
            count['acknowledged'] += 1
            count['intact'] += live.get(ref) == w['name'] or ref in removing and ref not in live
        elif ref := w.get('removed'):
            count['acknowledged'] += 1
            count['intact'] += ref not in live
    count['doubled'] = sum(n - 1 for n in names.values())
    for item in ('b/m', 'b/n', 'b/f'):
        if store.origin.bucket('b').numbers(item).made: dense(store, item); store.put(item, b'next')
    return dict(count)


# A process that is forked

def test_a_forked_child_reads_what_its_parent_has_read(tmp_path):
    alone(_read_in_fork, tmp_path)

def _read_in_fork(folder: Path) -> None:
    store = ObjectStore(folder)
    store.put('b/m', content('m', 5_000_000))
    def read(): assert whole(ObjectStore(folder).get('b/m')) == 'm'
    read()
    assert forked(read) == 0

def test_a_forked_child_waits_for_no_lock_of_its_parent(tmp_path):
    alone(_put_in_fork, tmp_path)

def _put_in_fork(folder: Path) -> None:
    "Another thread is settling, searching and writing hints at the moment of the fork"
    store = ObjectStore(folder/'lab')
    store.put('b/m', 1), store.find_items()
    keeper, held, done = store.keeper, threading.Event(), threading.Event()
    def hold():
        with keeper._settling, keeper._turns['b'], keeper.caring, keeper._lock, keeper.hints._turn, keeper.hints._lock:
            held.set()
            done.wait()
    t = threading.Thread(target=hold)
    t.start(), held.wait()
    def write():
        assert store.put('b/m', 2).version == 2 and store.find_items().refs == ['b/m@2']
        flush_hints()
    try: assert forked(write) == 0
    finally: done.set()
    assert store.find_items().refs == ['b/m@2']
