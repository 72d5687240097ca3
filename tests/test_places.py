"Where a store may be made, and where an empty folder is not taken for a new one"
import os, shutil, subprocess, sys, warnings
from pathlib import Path
import pytest
from objectstore.search.changelog import flush_hints
from objectstore import LocalObjectStore, NotAvailableOffline, NotFound, ObjectStore, PendingWarning, TierMismatch

pytestmark = pytest.mark.filterwarnings('ignore:.*is a new store', 'ignore::objectstore.errors.PendingWarning',
                                        'ignore::objectstore.errors.StaleWarning')

@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv('OBJECTSTORE_STATE_DIR', str(tmp_path/'state'))
    monkeypatch.setenv('OBJECTSTORE_CACHE_DIR', str(tmp_path/'cache'))
    monkeypatch.setenv('HOME', str(tmp_path/'home'))
    (tmp_path/'work').mkdir(); (tmp_path/'home').mkdir(); monkeypatch.chdir(tmp_path/'work')
    return tmp_path

WRITES = dict(put=lambda s: s.put('a/x', 1), large=lambda s: s.put('a/x', bytes(100_000)),
              many=lambda s: s.put_many({'a/x': 1}), bucket=lambda s: s.find_or_create_bucket('a'))
READS = dict(get=lambda s: s.get('a/x'), default=lambda s: s.get('a/x', default=0), number=lambda s: s.get('a/x@1'),
             contains=lambda s: 'a/x' in s, versions=lambda s: s.versions('a/x'), find=lambda s: s.find_items(),
             buckets=lambda s: s.list_buckets(), stats=lambda s: s.get_stats(), aliases=lambda s: s.aliases('a/x'))

@pytest.mark.parametrize('write', WRITES)
@pytest.mark.parametrize('tier',
                         ['{}/mnt/lba/store', '{}/mnt/lba/deep/store', 'mnt/lab', '~/mnt/lab',
                          'file://{}/mnt/lba/store'])
def test_no_store_is_made_where_the_folder_above_is_missing(home, tier, write):
    before = sorted(os.listdir('.')), sorted(os.listdir(home/'home'))
    (home/'mnt').mkdir(); (home/'mnt'/'lab').mkdir()
    with pytest.raises(TierMismatch, match='does not exist') as e: WRITES[write](ObjectStore(tier.format(home)))
    assert 'first' in str(e.value) and ('lba' not in tier or "did you mean 'lab'" in str(e.value))
    assert (before == (sorted(os.listdir('.')), sorted(os.listdir(home/'home'))) and os.listdir(home/'mnt') == ['lab']
            and not os.listdir(home/'mnt'/'lab'))

@pytest.mark.parametrize('tier', ['store', './store', '~/store', '{}/store', 'file://{}/store', 'a b', 'C:'])
def test_a_store_is_made_by_the_first_write_and_says_so_once(home, tier):
    tier = tier.format(home)
    s = ObjectStore(tier)
    assert not s.list_buckets() and 'a/x' not in s
    assert not Path(s.origin.url).exists()
    with pytest.warns(UserWarning, match='is a new store, made by this call') as told: s.put('a/x', 1)
    assert s.origin.url in str(told[0].message) and len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        s.put('b/x', 1); ObjectStore(tier).put('a/x', 2)

def test_a_misspelt_last_part_is_seen(home):
    ObjectStore(home/'store').put('a/x', 1)
    with pytest.raises(NotFound, match="no store was made there yet; did you mean 'store'"):
        ObjectStore(home/'stroe').get('a/x')
    assert 'new, empty' in repr(ObjectStore(home/'stroe').status())
    with pytest.warns(UserWarning, match="did you mean 'store'"): ObjectStore(home/'stroe').put('a/x', 1)

def test_ones_own_place_and_near_tiers_are_made_freely(home):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        with pytest.warns(UserWarning, match='is the default one'): ObjectStore().put('a/x', 1)
        ObjectStore().put('a/x', 1); assert LocalObjectStore().get('a/x') == 1
        ObjectStore(home/'deep'/'near', 'memory://own').put('a/x', 1)
    assert (home/'deep'/'near').is_dir()

@pytest.mark.parametrize('tier', [r'C:\lab\store', 'C:/lab', r'\\server\lab', '~nobody-here/lab', '~nobody-here'])
@pytest.mark.skipif(os.name == 'nt', reason='these are paths there')
def test_what_is_no_path_here_is_refused(home, tier):
    with pytest.raises(TierMismatch, match='is no Windows|no user'): ObjectStore(tier)
    with pytest.raises(TierMismatch, match='is no Windows|no user'): ObjectStore(tier, 'memory://')
    assert not os.listdir('.')
    ObjectStore('./' + tier.replace('/', '_').replace('~', '~')).put('a/x', 1)

def emptied(folder: Path) -> None:
    "What is seen of a folder whose volume is not mounted"
    flush_hints()
    shutil.rmtree(folder); folder.mkdir()

@pytest.mark.parametrize('verb', [*WRITES, *READS])
@pytest.mark.parametrize('met_by', ['put', 'get'])
def test_a_store_that_was_there_is_not_made_again(home, verb, met_by):
    lab = home/'lab'
    ObjectStore(lab).put('a/x', 1)
    if met_by == 'get': shutil.rmtree(home/'state'); assert ObjectStore(lab).get('a/x') == 1
    emptied(lab)
    with pytest.raises(NotAvailableOffline, match='is the volume mounted'): (WRITES | READS)[verb](ObjectStore(lab))
    assert not os.listdir(lab) and 'is the volume mounted' in repr(ObjectStore(lab).status())

@pytest.mark.parametrize('write', WRITES)
def test_nor_is_it_by_a_store_that_is_open(home, write):
    lab = home/'lab'
    s = ObjectStore(lab); s.put('a/x', 1); s.put('c/x', 1)
    emptied(lab)
    with pytest.raises(NotAvailableOffline, match='unmounted'):
        WRITES[write](s) if write != 'bucket' else s.find_or_create_bucket('b')
    with pytest.raises(NotAvailableOffline, match='unmounted'): s.put('new/x', 1)
    assert not os.listdir(lab)

def test_what_is_mounted_again_goes_on(home):
    lab = home/'lab'
    s = ObjectStore(lab); s.put('a/x', 1)
    lab.rename(home/'volume'); lab.mkdir()
    with pytest.raises(NotAvailableOffline): s.put('a/x', 2)
    with pytest.raises(NotAvailableOffline): ObjectStore(lab).get('a/x')
    lab.rmdir(); (home/'volume').rename(lab)
    assert s.put('a/x', 2).version == 2 and ObjectStore(lab).get('a/x') == 2

def test_behind_a_near_tier_it_is_away(home):
    lab, near = home/'lab', home/'near'
    def open(): return ObjectStore(near, lab)
    open().put('a/x', 1)
    emptied(lab)
    s = open()
    with pytest.warns(PendingWarning): v = s.put('a/x', 2)
    assert v.pending and s.get('a/x@1') == 1 and not os.listdir(lab)

def test_a_store_that_was_deleted_can_be_begun_anew(home):
    lab = home/'lab'
    ObjectStore(lab).put('a/x', 1)
    flush_hints()
    shutil.rmtree(lab)
    s = ObjectStore(lab)
    with pytest.raises(NotFound): s.get('a/x')
    with pytest.warns(UserWarning, match='is a new store'): assert s.put('a/x', 5).version == 1
    assert ObjectStore(lab).get('a/x') == 5 and [v.get() for v in ObjectStore(lab).find_items()] == [5]

@pytest.mark.skipif(not hasattr(os, 'geteuid') or os.geteuid() != 0, reason='mounts need root')
@pytest.mark.parametrize('tier', ['mnt', 'mnt/store'])
def test_with_a_real_mount(home, tier):
    Path('mnt').mkdir()
    script = (f'mount -t tmpfs none mnt && {sys.executable} -W ignore -c "{_put}" {tier} && umount mnt && '
              f'{sys.executable} -c "{_refused}" {tier} && ls -A mnt')
    r = subprocess.run(['unshare', '-m', 'sh', '-c', script], capture_output=True, text=True)
    if 'unshare' in r.stderr or 'mount:' in r.stderr: pytest.skip(f'no mounts here: {r.stderr.strip()}')
    assert 'mount' in r.stdout and r.stdout.count('\n') == 2, r.stdout + r.stderr

_put = "import sys; from objectstore import *; ObjectStore(sys.argv[1]).put('a/x', 1)"
_refused = """
import sys; from objectstore import *
for call in (lambda s: s.put('a/x', 1), lambda s: s.get('a/x')):
    try: call(ObjectStore(sys.argv[1]))
    except NotAvailableOffline as e: print(e)
    else: raise SystemExit('written')
"""

def test_a_copy_says_what_it_makes(home):
    s = ObjectStore('memory://'); s.put('a/x', 1)
    with pytest.warns(UserWarning, match='lab is a new store') as told: s.copy('a', to=ObjectStore(home/'lab'))
    assert told[0].filename == __file__
