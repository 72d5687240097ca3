"""Writers of one item on one machine stand in line: whoever is quick does not win again and again. The line is a hint:
whatever it says, numbers have no gaps, dates rise, and nobody waits for who stands still"""
import os, threading, time
from dataclasses import replace
import pytest
from objectstore import ObjectStore
from objectstore.format import records
from objectstore.format.records import Claim, Line, new_id
from objectstore.storage.backend import behind_others, number_key
from objectstore.storage.files import FileBackend
from stacks import together as side_by_side
from trial import SOAK, gate, together

FOLDER = 'lab/state/'

def read(n, raw): return (found := raw.decode().split())[0], int(found[1])

def claim(b, id=None) -> Claim:
    id = id or new_id()
    return Claim(b, FOLDER, id, lambda n, at: f'{id} {at}'.encode(), read)

def dates(b) -> list[int]:
    "The dates under 1, 2, 3 ...; there is no gap"
    keys = [e.key for e in b.list(FOLDER)]
    assert keys == [FOLDER + number_key(n) for n in range(1, len(keys) + 1)]
    found = [read(0, b.read(k))[1] for k in keys]
    assert found == sorted(set(found))
    return found

@pytest.fixture(params=['local', 'shared'])
def folder(request, tmp_path, monkeypatch):
    monkeypatch.setattr(records, 'IN_LINE', 0.2)
    b = FileBackend(tmp_path, shared=request.param == 'shared')
    assert claim(b).number(1) == 1
    records._lost[f'{b.url}/{FOLDER}'] = time.monotonic() + 60      # a number was lost here, and that stays known
    yield b
    records._lost.clear()

def line(b) -> Line: return Line(f'{b.url}/{FOLDER}')
def now() -> int: return int(time.time() * 1e6)

def test_a_place_that_nobody_fills_is_passed_over(folder):
    "Its process has died, or stands still"
    assert line(folder).place(2, now())[0] == 2
    assert claim(folder).number(2) == 2 and claim(folder).number(2) == 3
    assert len(dates(folder)) == 3

def test_who_stands_in_line_comes_behind_the_one_before(folder, monkeypatch):
    monkeypatch.setattr(records, 'IN_LINE', 30.0)
    assert line(folder).place(2, now())[0] == 2
    won = []
    t = threading.Thread(target=lambda: won.append(claim(folder).number(2)))
    t.start()
    while not (place := records._line_files) or records._place.unpack_from(place[line(folder).file][1])[1] < 3:
        time.sleep(0.01)
    assert not won and not folder.exists(FOLDER + number_key(3))
    folder.create(FOLDER + number_key(2), f'{new_id()} {1 + dates(folder)[-1]}'.encode())
    t.join(30)
    assert won == [3] and len(dates(folder)) == 3

def test_a_date_before_the_one_that_was_waited_for_is_taken_anew(folder, monkeypatch):
    monkeypatch.setattr(records, 'IN_LINE', 30.0)
    assert line(folder).place(2, now())[0] == 2
    won = []
    t = threading.Thread(target=lambda: won.append(claim(folder).number(2)))
    t.start()
    while records._place.unpack_from(records._line_files[line(folder).file][1])[1] < 3: time.sleep(0.01)
    folder.create(FOLDER + number_key(2), f'{new_id()} {now() + 10**6}'.encode())
    t.join(30)
    assert won == [3] and len(dates(folder)) == 3

def test_who_does_not_stand_in_line_is_first_where_they_are_first(folder):
    "A process of another machine"
    c = claim(folder)
    once = c.once
    def late(n):
        if n == 2: folder.create(FOLDER + number_key(2), f'{new_id()} {1 + dates(folder)[-1]}'.encode())
        return once(n)
    c.once = late
    assert c.number(2) == 3 and len(dates(folder)) == 3

@pytest.mark.parametrize('says', [(2**40, 0), (1, 0), (5, 10**15), (5, -10**15), (-7, 0)])
def test_what_a_line_says_that_cannot_be_true_is_not_believed(folder, says):
    last, ahead = says
    line(folder).place(2, now())
    records._place.pack_into(records._line_files[line(folder).file][1], 0, line(folder).digest, last, now() + ahead,
                             time.monotonic())
    assert claim(folder).number(2) == 2
    assert len(dates(folder)) == 2 and dates(folder)[-1] < now() + 10**6

def test_an_answer_that_is_lost_is_looked_for_behind_the_one_before(folder):
    "The same number is tried again, and still not before the one before is there"
    assert line(folder).place(2, now())[0] == 2
    c, lost = claim(folder), []
    once = c.once
    def loses(n):
        if n != 3 or lost: return once(n)
        lost.append(c.bid(n))
        c._doubt()
        assert not folder.exists(FOLDER + number_key(2))
        second = FOLDER + number_key(2), f'{new_id()} {1 + dates(folder)[-1]}'.encode()
        threading.Timer(0.1, folder.create, second).start()
    c.once = loses
    assert c.number(2) == 3 and lost and len(dates(folder)) == 3

def test_a_backend_that_does_not_ask_takes_no_place(folder):
    "One of somebody's own: it would give a name too early"
    folder.can = replace(folder.can, ordered=False)
    line(folder).place(2, now())
    def never(): raise AssertionError('a place was taken')
    with behind_others(never if folder.can.ordered else lambda: None): assert claim(folder).number(2) == 2

def test_a_number_that_must_be_its_own_takes_no_place(folder):
    line(folder).place(2, now())
    assert claim(folder).number(2, walk=False) == 2

def test_writers_that_keep_what_they_see_in_near_folders_of_their_own(tmp_path):
    "Who waits looks at the record before, and keeps it near: that copy waits for nobody"
    n, each = 6, 8
    stores = [ObjectStore(str(tmp_path/f'near{i}'), str(tmp_path/'origin'), durable=False) for i in range(n)]
    stores[0].put('lab/x', 0)
    given = side_by_side(n, lambda i: [stores[i].put('lab/x', (i, k)).version for k in range(each)])
    assert sorted(v for some in given for v in some) == [*range(2, n * each + 2)]
    assert len(stores[0].versions('lab/x')) == n * each + 1

def test_without_a_place_to_write_there_is_no_line(folder, tmp_path, monkeypatch):
    (tmp_path/'file').write_text('')
    monkeypatch.setattr(records, '_line_files', {})
    monkeypatch.setattr(records, 'cache_dir', lambda: tmp_path/'file')
    assert [claim(folder).number(2) for _ in range(2)] == [2, 3]

def many(url: str, puts: int, ready) -> list[int]:
    s = ObjectStore(url, progress=False)
    ready.wait()
    return [s.put('lab/item', f'{os.getpid()} {i}').version for i in range(puts)]

@pytest.mark.timeout(300)
@pytest.mark.usefixtures('own_cache')
@pytest.mark.parametrize('more', ['', '?shared=true'], ids=['local', 'shared'])
def test_processes_in_line_get_all_numbers_and_rising_dates(tmp_path, more):
    ObjectStore(f'{tmp_path}/store').find_or_create_bucket('lab')
    ready, puts = gate(5), int(8 * SOAK)
    told = together(many, [(f'file://{tmp_path}/store{more}', puts, ready) for _ in range(5)])
    assert sorted(n for numbers in told for n in numbers) == list(range(1, 5 * puts + 1))
    made = [(v.version, v.created) for v in ObjectStore(f'{tmp_path}/store').versions('lab/item')]
    assert len(made) == 5 * puts and sorted(made) == sorted(made, key=lambda x: x[1])
