"""A copy of the storage by another tool keeps dates: `cp -r`, rsync and rclone, on this machine and by way of a
service"""
from __future__ import annotations
import os, shutil, subprocess, sysconfig
from datetime import timedelta
from pathlib import Path

import pytest
from objectstore import NotFound, ObjectStore
from objectstore.versions import results
from objectstore.search.changelog import flush_hints
from objectstore.format.origin_clock import moment
from services import Place

pytestmark = [pytest.mark.usefixtures('clean'), pytest.mark.filterwarnings('ignore:.*is a new store')]
VERSIONS, ITEMS = 7, ('m', 'deep/er', 'large')

def program(name: str) -> str:
    "Where a program is, or the test is skipped"
    if found := shutil.which(name) or shutil.which(name, path=sysconfig.get_path('scripts')): return found
    pytest.skip(f'there is no {name} on this machine')

def run(*command: object, **env: str) -> None:
    subprocess.run([str(c) for c in command], check=True, capture_output=True, timeout=120, env={**os.environ, **env})

def fill(store: ObjectStore) -> None:
    "Items with removed versions, aliases and notes"
    for i in range(VERSIONS):
        for item in ITEMS: store.put(f'lab/{item}', {'i': i} if item != 'large' else bytes(50_000) + bytes([i]))
    store.set_alias('lab/m@2', 'best'), store.set_alias('lab/m@5', 'best'), store.annotate('lab/m@2', {'stage': 'old'})
    store.remove('lab/m@4'), store.remove('lab/large@7')
    store.keeper.settle(), flush_hints()

def moments(store: ObjectStore) -> list:
    "Each date, and a little before and behind it"
    return [v.created + timedelta(microseconds=d) for v in store.find_items('lab', at='*') for d in (-1, 0, 1)]

def answers(store: ObjectStore, at: list) -> tuple[list, list]:
    "All dates, and the answer to each question of time"
    def ask(ref):
        try: return store[ref].ref
        except NotFound as e: return str(e)
    dates = sorted((v.ref, v.created) for v in store.find_items('lab', at='*'))
    moves = [(m['to'], m['when']) for m in store.aliases('lab/m').history('best')]
    return dates + moves, [ask(f'lab/{i}@{t.isoformat()}') for t in at
                           for i in ITEMS] + [sorted(v.ref for v in store.find_items('lab', at=t)) for t in at[::5]]

def compare(a: ObjectStore, b: ObjectStore, figure, how: str) -> None:
    at = moments(a)
    (dates, asked), (dates2, asked2) = answers(a, at), answers(b, at)
    other = sum(x != y for x, y in zip(dates, dates2)), sum(x != y for x, y in zip(asked, asked2))
    figure(f'25 {how}', dates=len(dates), another=other[0], questions=len(asked), other_answers=other[1])
    assert len(dates) == len(dates2) > 15 and not any(other)

def listed(folder: Path) -> set[int]:
    return {p.stat().st_mtime_ns for p in folder.rglob('*') if p.is_file() and 'records' in p.parts}

@pytest.mark.parametrize('how', ['cp -r', 'rsync -a --no-times', 'rclone copy'])
def test_a_copied_folder(tmp_path, how, figure):
    tool, *options = how.split()
    tool = program(tool)
    fill(a := ObjectStore(tmp_path/'lab', near=False))
    ends = ('lab/', 'copy/') if 'rsync' in how else ('lab', 'copy')
    run(tool, *options, *(str(tmp_path) + '/' + e for e in ends))
    # each file has another time
    if 'rclone' not in how: assert not listed(tmp_path/'lab') & listed(tmp_path/'copy')
    compare(a, b := ObjectStore(tmp_path/'copy', near=False), figure, how)
    last = b['lab/m'].created
    assert b.put('lab/m', 'more').created > last and a['lab/m'].created == last

def test_planted_the_time_of_a_listing_is_caught(tmp_path, monkeypatch, figure):
    fill(a := ObjectStore(tmp_path/'lab', near=False))
    run('cp', '-r', tmp_path/'lab', tmp_path/'copy')
    fired = []
    def listed(v): fired.append(1); return moment(int(v._in.numbers(v.item).made[v.version] * 1e6))
    monkeypatch.setattr(results.FoundVersion, 'created', property(listed))
    with pytest.raises(AssertionError):
        compare(a, ObjectStore(tmp_path/'copy', near=False), figure, 'planted: dates of files')
    assert fired

def remote_of(place: Place) -> tuple[str, dict[str, str]]:
    "What rclone calls a place on a service, and the environment that it needs"
    s = place.service
    env = dict(RCLONE_S3_PROVIDER='Other', RCLONE_S3_ENDPOINT=s.endpoint, RCLONE_S3_ACCESS_KEY_ID=s.access_key,
               RCLONE_S3_SECRET_ACCESS_KEY=s.secret_key, RCLONE_CONFIG='/dev/null')
    return f':s3:{place.url.removeprefix("s3://")}', env

def test_a_folder_by_way_of_a_service_and_back(tmp_path, seaweed, figure):
    rclone = program('rclone')
    fill(a := ObjectStore(tmp_path/'lab', near=False))
    place = Place(seaweed)
    seaweed.make_bucket(place.bucket)
    there, env = remote_of(place)
    run(rclone, 'copy', tmp_path/'lab', there, **env)
    run(rclone, 'copy', '--no-update-modtime', there, tmp_path/'back', **env)
    compare(a, ObjectStore(tmp_path/'back', near=False), figure, 'rclone copy to a service and back')

def test_a_store_on_a_service_copied_to_another_place(tmp_path, seaweed, figure):
    rclone, place, other = program('rclone'), Place(seaweed), Place(seaweed)
    seaweed.make_bucket(place.bucket), seaweed.make_bucket(other.bucket)
    (here, env), (there, _) = remote_of(place), remote_of(other)
    def store(p):
        return ObjectStore(p.url, endpoint=seaweed.endpoint,
                           storage_options=dict(access_key_id=seaweed.access_key, secret_access_key=seaweed.secret_key),
                           near=False, timeout=10.0)
    fill(a := store(place))
    run(rclone, 'copy', here, tmp_path/'down', **env)
    run(rclone, 'copy', tmp_path/'down', there, **env)
    compare(a, store(other), figure, 'rclone copy from a service and to another place there')
