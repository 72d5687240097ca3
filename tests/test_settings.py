"Settings: which file counts, what is refused, and that no secret is repeated"
import os, pickle

import pytest

from objectstore.storage.config import (KEYS, Config, InvalidSettings, cache_dir, get_config, parse_size, state_dir,
                                        user_file)

@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    for k in list(os.environ):
        if k.startswith('OBJECTSTORE_'): monkeypatch.delenv(k)
    monkeypatch.setenv('HOME', str(tmp_path/'home'))
    monkeypatch.setenv('XDG_CONFIG_HOME', str(tmp_path/'home/.config'))
    monkeypatch.setenv('XDG_STATE_HOME', str(tmp_path/'home/.state'))
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path/'home/.cache'))
    here = tmp_path/'work/project/nbs'; here.mkdir(parents=True); monkeypatch.chdir(here)
    return tmp_path

def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path

def test_defaults():
    c = get_config()
    assert (dict(c) == dict(tiers=(), endpoint=None, offline='auto', max_age=0.0, cache_limit=None, timeout=1.0,
                            trust=False, author=None, provenance='full') and tuple(c) == KEYS)
    assert c == Config() and pickle.loads(pickle.dumps(c)) == c and 'default' in repr(c) and c.sources == {}
    with pytest.raises(KeyError, match='timeout'): c['timeuot']

def test_the_nearest_file_that_has_the_section_decides(home):
    write(home/'work/settings.ini', '[objectstore]\ntiers = far\ntimeout = 5\n[objectstore.lab]\ntiers = lab')
    write(home/'work/project/settings.ini', '[DEFAULT]\nlib_name = %(x)s\ntimeout = 9\n[other]\nbroken line\n')
    assert get_config().tiers == (str(home/'work/far'),) and get_config().timeout == 5
    write(home/'work/project/settings.ini', '[objectstore]\ntiers = near\n')
    assert get_config().tiers == (str(home/'work/project/near'),) and get_config().timeout == 1
    assert get_config('lab').tiers == (str(home/'work/lab'),) and get_config('lab').profile == 'lab'
    assert get_config(start=home/'work').tiers == (str(home/'work/far'),)

def test_the_users_own_file_comes_last(home):
    mine = write(user_file(), '[objectstore]\ntiers = ~/mine\ntrust = yes\ncache_limit = '
                 '20GB\n[objectstore.lab]\ntiers = s3://lab\ntrust=on')
    c = get_config()
    assert (c.trust is True and c.cache_limit == 20 * 10**9 and c.tiers == (str(home/'home/mine'),)
            and str(mine) in repr(c))
    write(home/'work/project/settings.ini', '[objectstore]\ntiers = near\n')
    assert (get_config().trust is True and get_config('lab').trust is True
            and get_config().tiers == (str(home/'work/project/near'),))

def test_environment_over_file(home, monkeypatch):
    write(home/'work/settings.ini', '[objectstore]\ntiers = a\nmax_age = 3\n[objectstore.lab]\ntiers = b\n')
    for k, v in dict(TIERS='memory://, s3://x', OFFLINE='auto', MAX_AGE='7.5', CACHE_LIMIT='1.5 GiB', TIMEOUT='0',
                     TRUST='1', ENDPOINT='https://minio.lab').items():
        monkeypatch.setenv(f'OBJECTSTORE_{k}', v)
    assert dict(get_config()) == dict(tiers=('memory://', 's3://x'), endpoint='https://minio.lab', offline='auto',
                                      max_age=7.5, cache_limit=1610612736, timeout=0.0, trust=True, author=None,
                                      provenance='full')
    assert get_config().sources['trust'] == 'OBJECTSTORE_TRUST'
    monkeypatch.setenv('OBJECTSTORE_TIERS', ''); monkeypatch.setenv('OBJECTSTORE_PROFILE', 'lab')
    assert get_config().tiers == (str(home/'work/b'),)
    monkeypatch.setenv('OBJECTSTORE_TIMEOUT', 'soon')
    with pytest.raises(InvalidSettings, match='OBJECTSTORE_TIMEOUT: timeout'): get_config()

def test_a_clone_cannot_switch_trust_on(home):
    p = write(home/'work/project/settings.ini', '[objectstore]\ntiers = near\n\ntrust = yes\n')
    with pytest.warns(UserWarning, match=r'line 4: trust does not count') as w: assert get_config().trust is False
    assert str(p) in str(w[0].message) and w[0].filename == __file__
    write(user_file(), '[objectstore]\ntrust = yes\n')
    with pytest.warns(UserWarning): assert get_config().trust is True, 'what the warning advises does help'

@pytest.mark.parametrize('line',
                         ['aws_secret_access_key = CANARY', 'secret = CANARY', 'access-key = CANARY',
                          'password: CANARY', 'token = CANARY', 'AWS_SESSION_TOKEN = CANARY',
                          'connection_string = CANARY', 'endpoint = http://me:CANARY@minio.lab',
                          'endpoint = me:CANARY@minio.lab', 'tiers = data, s3://CANARY@lab',
                          'tiers = s3://lab?secret_access_key=CANARY',
                          'tiers =\n  data\n  s3://lab?aws-session-token=CANARY'])
def test_secrets_in_the_file(home, line):
    p = write(home/'work/settings.ini', f'[objectstore]\n{line}\n')
    with pytest.raises(InvalidSettings, match='AWS_SECRET_ACCESS_KEY') as e: get_config()
    assert 'CANARY' not in str(e.value) and str(p) in str(e.value) and 'line 2' in str(e.value)

def test_what_only_looks_like_a_secret(home):
    write(home/'work/settings.ini', '[objectstore]\ntiers = s3://lab?skip_signature=true, data/ana@lab # mine\n')
    assert get_config().tiers == ('s3://lab?skip_signature=true', str(home/'work/data/ana@lab'))

@pytest.mark.parametrize('text, says',
                         [('tires = a', "line 2: there is no setting 'tires'; did you mean 'tiers'"),
                          ('timeout = 1x', 'line 2: timeout'), ('timeout = -1', 'no duration'),
                          ('timeout = nan', 'no duration'), ('max_age = x', 'max_age'),
                          ('offline = maybe', 'neither yes nor no'), ('cache_limit = lots', '20GB'),
                          ('endpoint = minio.lab', 'http://'), ('tiers', 'line 2: a line is neither'),
                          ('tiers = a\ntiers = b', "line 3: the key 'tiers' is there twice"),
                          ('tiers = a\n[objectstore]', 'line 3: the section')])
def test_mistakes_name_file_and_line(home, text, says):
    p = write(home/'work/settings.ini', f'[objectstore]\n{text}\n')
    with pytest.raises(InvalidSettings) as e: get_config()
    assert says in str(e.value) and str(p) in str(e.value) and isinstance(e.value, ValueError)

def test_line_numbers_behind_other_sections(home):
    write(home/'work/settings.ini', '[a]\nx = 1\nnonsense\n\n[objectstore]\ntiers = a\n[b]\ntimeout = '
          'x\n[objectstore.lab]\ntimeout = x\n')
    assert get_config().tiers
    with pytest.raises(InvalidSettings, match='line 10'): get_config('lab')

def test_a_missing_profile_names_the_known_ones(home, monkeypatch):
    p = write(home/'work/settings.ini', '[objectstore]\ntiers = a\n[objectstore.laboratory]\ntiers = '
              'b\n[objectstore.mine]\ntiers=c')
    with pytest.raises(InvalidSettings) as e: get_config('laboratry')
    for word in ("did you mean 'laboratory'", 'mine', str(p), str(user_file())): assert word in str(e.value)
    monkeypatch.setenv('OBJECTSTORE_PROFILE', 'nope')
    with pytest.raises(InvalidSettings, match='nope'): get_config()
    assert get_config('mine').tiers

def test_without_files(home, monkeypatch):
    write(home/'work/settings.ini', '[objectstore]\ntiers = a\nteirs = b\n')
    monkeypatch.setenv('OBJECTSTORE_PROFILE', 'nope'); monkeypatch.setenv('OBJECTSTORE_TIMEOUT', '3')
    assert get_config(files=False) == Config(timeout=3.0)

def test_ways_to_write(home):
    write(home/'work/settings.ini', '; a comment\n  [objectstore]  \n  Tiers =\n    data, with comma\n    # not this\n '
          '   s3://lab\n\n  offline = No\n  timeout =\n  [objectstore.x]\n  tiers = b\n')
    assert (get_config().tiers == (str(home/'work/data, with comma'), 's3://lab') and get_config().offline is False
            and get_config().timeout == 1)
    assert get_config('x').tiers == (str(home/'work/b'),)
    (home/'work/settings.ini').write_bytes(b'\xef\xbb\xbf[objectstore]\r\ntiers = a\r\n')
    assert get_config().tiers == (str(home/'work/a'),)

def test_odd_files(home, monkeypatch):
    p = home/'work/settings.ini'
    p.write_bytes(b'\xff\xfe[nothing of ours')
    assert get_config() == Config()
    p.write_bytes(b'[objectstore]\ntiers = \xff')
    with pytest.raises(InvalidSettings, match='UTF-8'): get_config()
    p.unlink(); p.mkdir()
    assert get_config() == Config()
    gone = home/'gone'; gone.mkdir(); monkeypatch.chdir(gone); gone.rmdir()
    assert get_config() == Config()

@pytest.mark.skipif(not hasattr(os, 'geteuid') or os.geteuid() == 0, reason='root reads everything')
def test_a_file_that_cannot_be_read(home):
    p = write(home/'work/settings.ini', '[objectstore]\n'); p.chmod(0)
    with pytest.raises(InvalidSettings, match='cannot be read'): get_config()

def test_sizes():
    assert [parse_size(s) for s in ('1kB', '1 KiB', '2mb', '0', '1.5T', '3b', 7)] == [
        1000, 1024, 2_000_000, 0, 1_500_000_000_000, 3, 7]
    for bad in ('x', '', '1 XB', '-1', '1e3', '٣GB', 1.5, -1, True): 
        with pytest.raises(ValueError): parse_size(bad)

def test_private_folders(home, monkeypatch):
    for made in (state_dir(), cache_dir()):
        assert made.is_dir() and made.stat().st_mode & 0o777 == 0o700 and home in made.parents
    monkeypatch.setenv('OBJECTSTORE_STATE_DIR', str(home/'x/y')); monkeypatch.setenv('OBJECTSTORE_CACHE_DIR', '~/z')
    assert state_dir() == home/'x/y' and cache_dir() == home/'home/z' and state_dir() == state_dir()

@pytest.mark.skipif(not hasattr(os, 'geteuid') or os.geteuid() != 0,
                    reason='needs root to make a folder of another user')
def test_a_folder_of_another_user(home, monkeypatch):
    p = home/'theirs'; p.mkdir(); os.chown(p, 4242, 4242)
    monkeypatch.setenv('OBJECTSTORE_STATE_DIR', str(p)); monkeypatch.setattr(os, 'geteuid', lambda: 1000)
    with pytest.raises(InvalidSettings, match='another user'): state_dir()
