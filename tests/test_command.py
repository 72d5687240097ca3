"The command in real processes: codes, forms, pipes, terminals, a service that is away, completion, mistyped lines"
import functools, json, os, re, signal, subprocess, sys
from datetime import datetime
from pathlib import Path
import pytest
from objectstore import ObjectStore
from objectstore.command.codes import CODES
from objectstore.testing.service import free_ports
from services import Place

ROOT = Path(__file__).resolve().parent.parent
COMMAND = [sys.executable, '-m', 'objectstore']
SECONDS = 120


class Shell:
    "A folder to type in, with a store of its own"
    def __init__(self, folder: Path, **env):
        self.folder = folder
        self.env = {k: v for k, v in os.environ.items() if k not in ('CI', 'COLUMNS', 'PYTHONPATH')}
        self.env |= dict(OBJECTSTORE_TIERS='lab', OBJECTSTORE_STATE_DIR='state', OBJECTSTORE_CACHE_DIR='cache') | env

    def __call__(self, *words, code=0, stdin=None, **env) -> subprocess.CompletedProcess:
        p = subprocess.run([*COMMAND, *words], cwd=self.folder, env=self.env | env, input=stdin, capture_output=True,
                           timeout=SECONDS)
        assert p.returncode == code, (words, p.returncode, p.stdout[-500:], p.stderr[-2000:])
        assert b'Traceback' not in p.stderr
        return p

    def lines(self, *words, **options) -> list[list[str]]:
        return [line.split('\t') for line in self(*words, **options).stdout.decode().splitlines()]

    def json(self, *words, **options) -> list[dict]:
        return [json.loads(line) for line in self('--json', *words, **options).stdout.splitlines()]

    def error(self, *words, code, **options) -> dict:
        "The error of a line that fails, as JSON"
        *warned, said = map(json.loads, self('--json', *words, code=code, **options).stderr.splitlines())
        assert said['type'] == 'error' and said['code'] == code and {w['type'] for w in warned} <= {'warning'}
        return said

    def store(self, **options) -> ObjectStore:
        return ObjectStore(str(self.folder/'lab'), progress=False, **options)


def filled(folder: Path) -> Shell:
    sh = Shell(folder)
    (folder/'table.csv').write_text('grower,alcohol\n1,14.2\n2,12.9\n')
    (folder/'noise').write_bytes(bytes(range(256)) * 2000)
    with sh.store() as store:
        for year in (2025, 2026):
            store.put('wine/table', folder/'table.csv', metadata={'year': year, 'description': 'words ' * 30})
        store.put('wine/noise', folder/'noise', kind='data')
        store.set_alias('wine/table@1', 'production')
    return sh

@pytest.fixture(scope='module')
def shop(tmp_path_factory):
    "A store that nobody changes"
    return filled(tmp_path_factory.mktemp('shop'))

@pytest.fixture
def sh(tmp_path): return filled(tmp_path)

def away(shop_: Shell) -> dict[str, str]:
    "The environment of a service at which nobody listens"
    return dict(OBJECTSTORE_TIERS='s3://lab/there', OBJECTSTORE_ENDPOINT=f'http://127.0.0.1:{free_ports()}',
                AWS_ACCESS_KEY_ID='a', AWS_SECRET_ACCESS_KEY='b', OBJECTSTORE_STATE_DIR=str(shop_.folder/'elsewhere'))


def test_the_first_steps_in_a_pipe(tmp_path):
    sh = Shell(tmp_path)
    (tmp_path/'t.csv').write_text('a\n1\n')
    assert sh.lines('put', 'w/t', 't.csv', '-m', 'year=2025')[0][0] == 'w/t@1'
    assert sh.lines('put', 'w/t', '-', '--name', 't.csv', '--alias', 'production', stdin=b'a\n2\n')[0][0] == 'w/t@2'
    assert sh('cat', 'w/t').stdout == b'a\n2\n' and sh('cat', 'w/t@1').stdout == b'a\n1\n'
    assert sh.lines('ls') == [['w']]
    assert sh('find', 'w', 'year = 2025', '--at', '*', '-q').stdout == b'w/t@1\n'
    sh('get', 'w/t@1', 'old.csv')
    assert (tmp_path/'old.csv').read_text() == 'a\n1\n'
    sh('alias', 'w/t@1', 'production')
    assert sh('rollback', 'w/t', 'production', '-q').stdout == b'w/t@2\n'
    assert [r[2] for r in sh.lines('history', 'w/t', 'production')] == ['alias'] * 3

def test_a_codec_follows_what_the_file_is(tmp_path):
    import pyarrow as pa, pyarrow.parquet as pq
    sh, table = Shell(tmp_path), pa.table({'x': [1, 2, 3]})
    pq.write_table(table, tmp_path/'t.parquet')
    (tmp_path/'a.json').write_text('{"a": 1}')
    assert sh.json('put', 'w/t', 't.parquet')[0]['codec'] == 'parquet'
    assert sh.json('put', 'w/a', 'a.json')[0]['codec'] == 'json'
    with sh.store() as store: assert store.get('w/t', as_='arrow').equals(table) and store.get('w/a') == {'a': 1}
    assert sh('cat', 'w/t', '--as', 'csv').stdout.split() == [b'"x"', b'1', b'2', b'3']


def damaged(sh):
    "A byte of the largest file is another"
    f = max((p for p in (sh.folder/'lab').rglob('*') if p.is_file()), key=lambda p: p.stat().st_size)
    data = bytearray(f.read_bytes())
    data[len(data) // 2] ^= 1
    f.chmod(0o644)
    f.write_bytes(data)

def test_codes_of_what_is_wrong(shop):
    shop('ls', code=0)
    assert 'too long' in shop.error('get', 'wine/table', 'x' * 300, code=1)['message']
    for line in (['lss'], ['ls', '--no-such'], ['show', 'wine'], ['find', 'wine', 'year >'], ['rm', 'wine/table']):
        shop.error(*line, code=2)
    shop('ls', code=2, OBJECTSTORE_PROFILE='nowhere')
    assert "did you mean 'wine'" in shop.error('show', 'winee/table', code=3)['message']
    for line in (['show', 'wine/table@9'], ['put', 'wine/table', 'no-such-file']): shop.error(*line, code=3)
    shop.error('get', 'wine/table', 'table.csv', code=4)
    assert shop.error('put', 'wine/table', 'table.csv', '--if-latest', '7', code=5)['error'] == 'Conflict'

def test_the_code_of_damage(sh):
    damaged(sh)
    assert sh.error('get', 'wine/noise', 'back', code=8)['error'] == 'Damaged'
    assert not (sh.folder/'back').exists()

def test_no_command_shows_the_help(shop):
    assert shop(code=2).stdout == shop('--help').stdout == shop('help').stdout
    for code, says in CODES.items(): assert f'{code:>3}  {says}'.encode() in shop('--help').stdout

def test_a_traceback_is_for_debug_alone(shop):
    p = subprocess.run([*COMMAND, '--debug', 'show', 'wine/table@9'], cwd=shop.folder, env=shop.env,
                       capture_output=True, timeout=SECONDS)
    assert p.returncode and b'Traceback' in p.stderr

def test_a_full_disk(shop):
    with open('/dev/full', 'w') as full:
        p = subprocess.run([*COMMAND, 'ls'], cwd=shop.folder, env=shop.env, stdout=full, stderr=subprocess.PIPE,
                           timeout=SECONDS)
    assert p.returncode == 1 and b'No space left' in p.stderr and b'Traceback' not in p.stderr


@pytest.mark.parametrize('cut', ['cat wine/noise', 'ls wine'])
def test_a_closed_pipe_ends_it(shop, cut):
    p = subprocess.Popen([*COMMAND, *cut.split()], cwd=shop.folder, env=shop.env, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE)
    p.stdout.close()
    assert p.wait(SECONDS) == 141 and p.stderr.read() == b''
    p.stderr.close()

def test_an_interrupt_ends_it(sh):
    p = subprocess.Popen([*COMMAND, 'watch', 'wine'], cwd=sh.folder, env=sh.env, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE)
    with sh.store() as store:
        os.set_blocking(p.stdout.fileno(), False)
        seen = b''
        for i in range(1000):
            store.annotate('wine/table@1', {'turn': i})
            try: p.wait(0.2)
            except subprocess.TimeoutExpired: pass
            if seen := p.stdout.read(): break
    assert b'wine/table@1' in seen
    p.send_signal(signal.SIGINT)
    out, err = p.communicate(timeout=SECONDS)
    assert p.returncode == 130 and b'Traceback' not in err

def test_an_upstream_that_died_stores_nothing(sh):
    before = sh('versions', 'wine/table').stdout
    assert 'nothing' in sh.error('put', 'wine/table', '-', stdin=b'', code=4)['message']
    assert sh('versions', 'wine/table').stdout == before


def test_a_service_that_is_away(shop):
    e = shop.error('ls', code=6, **away(shop))
    assert '127.0.0.1' in e['message']

def test_a_service_that_was_never_reached_keeps_nothing(sh):
    env = away(sh) | {'OBJECTSTORE_TIERS': f'{sh.folder}/near,s3://lab/there'}
    assert sh.error('put', 'w/t', 'table.csv', code=6, **env)['error'] == 'NeverReached'

def test_what_is_kept_here_is_not_done(seaweed, proxy_of, tmp_path):
    proxy = proxy_of(seaweed)
    sh = Shell(tmp_path, OBJECTSTORE_TIERS=f'near,{Place(seaweed).url}', OBJECTSTORE_ENDPOINT=proxy.endpoint,
               **seaweed.environment)
    (tmp_path/'t').write_text('x')
    sh('put', 'w/t', 't')
    with proxy.fault('refuse'):
        said = sh.error('put', 'w/t', 't', code=7)['message']
        assert 'safe on this machine' in said and 'objectstore sync' in said and 'CI' not in said
        assert 'CI is set' in sh.error('put', 'w/t', 't', code=7, CI='true')['message']
        sh('put', 'w/t', 't', '--allow-pending')
        sh.error('sync', code=7)
        assert sh('cat', 'w/t@1').stdout == b'x'
    sh('sync')
    assert [v['version'] for v in sh.json('versions', 'w/t')] == [1, 2, 3, 4]

def test_a_service(seaweed, tmp_path):
    place = Place(seaweed)
    sh = Shell(tmp_path, OBJECTSTORE_TIERS=place.url, OBJECTSTORE_ENDPOINT=seaweed.endpoint, **seaweed.environment)
    (tmp_path/'t').write_bytes(bytes(range(256)) * 1000)
    assert [v['ref'] for v in sh.json('put', 'w/t', 't')] == ['w/t@1']
    assert sh('cat', 'w/t').stdout == (tmp_path/'t').read_bytes()
    assert sh.error('rm', 'w/t@1', code=4)['error'] == 'Unconfirmed'
    sh('rm', 'w/t@1', '--yes')
    sh.error('show', 'w/t', code=3)

def test_completion_asks_nothing(seaweed, proxy_of, tmp_path):
    place, proxy = Place(seaweed), proxy_of(seaweed)
    sh = Shell(tmp_path, OBJECTSTORE_TIERS=place.url, OBJECTSTORE_ENDPOINT=proxy.endpoint, **seaweed.environment)
    (tmp_path/'t').write_text('x')
    sh('put', 'wine/table', 't')
    sh('find', 'wine')                      # the index is made by whoever looks
    with proxy.counting() as c:
        for line, found in {'get wi': b'wine/\n', 'get wine/': b'wine/table\n', 'sho': b'show\n'}.items():
            assert sh('--complete', 'bash', f'objectstore {line}').stdout == found
    assert not len(c), c

@pytest.fixture
def proxy_of():
    from contextlib import ExitStack
    from proxy import Proxy
    with ExitStack() as stack: yield lambda service: stack.enter_context(Proxy(service.endpoint))


@functools.lru_cache(1)
def schema() -> dict[str, dict[str, str]]:
    "The fields of each type, as the page says"
    page = json.loads((ROOT/'nbs/explanations/command_line.ipynb').read_text())
    found = {}
    for cell in page['cells']:
        text = ''.join(cell['source'])
        if name := re.match(r'### `(\w+)`', text):
            found[name[1]] = dict(re.findall(r'^\| `(\w+)` \| ([\w ]+) \|', text, re.MULTILINE))
    return found

def is_time(v): return isinstance(v, str) and datetime.fromisoformat(v).tzinfo is not None
IS = {'text': lambda v: isinstance(v, str), 'integer': lambda v: type(v) is int, 'null': lambda v: v is None,
      'boolean': lambda v: isinstance(v, bool), 'object': lambda v: isinstance(v, dict), 'time': is_time,
      'anything': lambda v: True, 'list': lambda v: isinstance(v, list),
      'list of text': lambda v: isinstance(v, list) and all(isinstance(x, str) for x in v)}

def check(said: dict, more: set[str] = frozenset()) -> None:
    "Has an object the fields of the page, and no others?"
    kind, fields = said['type'], schema()[said['type']]
    assert next(iter(said)) == 'type'
    assert set(said) - {'type'} - more == set(fields), kind
    for f, types in fields.items(): assert any(IS[t](said[f]) for t in types.split(' or ')), (kind, f, said[f])

def test_json_is_what_the_page_says(sh):
    seen = set()
    def look(*words, more=frozenset(), **options):
        found = sh.json(*words, **options)
        assert found, words
        for said in found: check(said, more); seen.add(said['type'])
    extra = {'notes', 'source', 'lineage'}
    for words in (['ls'], ['ls', 'wine'], ['find', 'wine', '--at', '*'], ['versions', 'wine/table'], ['stats', 'wine'],
                  ['history', 'wine/table'], ['compare', 'wine/table@1', '2'], ['explain', 'wine/table'], ['status'],
                  ['status', '--settings'], ['alias', 'wine/table'], ['annotate', 'wine/table@1', 'good=true'],
                  ['get', 'wine/table', 'copy.csv'], ['browse', '--to', 'page.html'], ['init', '--tiers', 'lab'],
                  ['cp', 'wine/table@1', 'wine/other']):
        look(*words, more={'items', 'versions', 'size', 'kinds'} if words[0] == 'stats' else frozenset())
    look('show', 'wine/table', more=extra)
    [plan] = sh.json('rm', 'wine/table@2', code=4)
    check(plan, set(schema()['version']))
    assert {'pending', 'delivery', 'event', 'warning', 'error'} - {'pending'} <= set(schema())
    check(sh.error('show', 'x/y', code=3))
    env = {'OBJECTSTORE_TIERS': f'{sh.folder}/near,{sh.folder}/lab'}
    p = sh('--json', 'put', 'w/t', 'table.csv', '--allow-pending', OBJECTSTORE_OFFLINE='yes', **env)
    for line in p.stdout.splitlines() + p.stderr.splitlines():
        check(json.loads(line))
        seen.add(json.loads(line)['type'])
    look('sync', **env)
    assert seen | {'plan', 'error', 'event'} == set(schema())


def removals(sh):
    return [['rm', 'wine/table@2'], ['rm', 'wine/table', '--all', '--force'], ['rm', 'wine', '--bucket'],
            ['alias', 'wine/table', 'production', '--remove']]

def test_nothing_goes_without_a_yes(shop):
    "Where there is no terminal; the plan names the store"
    before = shop('find', '--at', '*', '--json').stdout
    for line in removals(shop):
        p = shop(*line, code=4, stdin=b'y\n')
        assert str(shop.folder/'lab').encode() in p.stderr and b'--yes' in p.stderr
    assert shop('find', '--at', '*', '--json').stdout == before
    assert shop.lines('alias', 'wine/table') == [['production', 'wine/table@1']]

def test_with_a_yes_it_goes(sh):
    for line in removals(sh)[::3]: sh(*line, '--yes')
    assert sh('versions', 'wine/table', '-q').stdout == b'wine/table@1\n' and not sh('alias', 'wine/table').stdout
    sh('rm', 'wine', '--bucket', '--yes')
    assert not sh('ls').stdout

@pytest.mark.parametrize('line, code', [
    ('rm winee/table@1', 3), ('rm winetable@1', 2), ('rm wine', 2), ('rm wine/table', 2), ('rm wine/table@1', 4),
    ('rm wine/a wine/b', 2), ('rm wine --all', 2), ('rm wine/table --bucket', 2), ('rm wine/table@1 --all', 2),
    ('put wine/table table.csv --alais x', 2), ('sync wine/table', 2), ('rm --al wine/table', 2)])
def test_a_mistyped_line_changes_nothing(shop, line, code):
    before = shop('find', '--at', '*', '--json').stdout
    shop.error(*line.split(), *['--yes'] * line.startswith('rm'), code=code)
    assert shop('find', '--at', '*', '--json').stdout == before

def test_a_plan_says_which_profile_and_who_chose_it(sh):
    (sh.folder/'settings.ini').write_text('[objectstore.other]\ntiers = lab\n')
    p = sh('rm', 'wine/table@2', code=4, OBJECTSTORE_PROFILE='other', OBJECTSTORE_TIERS='')
    assert b"'other' by OBJECTSTORE_PROFILE" in p.stderr


def test_it_starts_with_few_modules(shop):
    "Whoever types waits for nothing that is heavy"
    heavy = {'pandas', 'numpy', 'pyarrow', 'polars', 'obstore', 'IPython', 'sklearn', 'ipywidgets', 'anywidget'}
    for line in (['--help'], ['ls'], ['ls', 'wine']):
        code = f'import sys; from objectstore.command.main import main; code = main({line!r}); ' \
               'print(code, len(sys.modules), *{m.partition(".")[0] for m in sys.modules}, file=sys.stderr)'
        p = subprocess.run([sys.executable, '-c', code], cwd=shop.folder, env=shop.env, capture_output=True, text=True,
                           timeout=SECONDS)
        done, n, *names = p.stderr.splitlines()[-1].split()
        assert done == '0' and int(n) < 450 and not heavy & set(names), (line, n, heavy & set(names))


pexpect = pytest.importorskip('pexpect')

def terminal(sh, program, *words, columns=80, **env):
    "A program at a terminal of its own"
    return pexpect.spawn(program, list(words), cwd=str(sh.folder), env=sh.env | {'TERM': 'xterm'} | env,
                         dimensions=(40, columns), encoding='utf-8', timeout=SECONDS)

def typed(sh, *words, columns=80, code=0, **env) -> list[str]:
    "What a command shows at a terminal"
    p = terminal(sh, sys.executable, '-m', 'objectstore', *words, columns=columns, **env)
    text = p.read()
    p.close()
    assert p.exitstatus == code and 'Traceback' not in text, (p.exitstatus, text)
    return text.splitlines()

@pytest.mark.parametrize('columns', [60, 80, 200])
def test_a_table_fits_the_terminal(shop, columns):
    head, *rows = typed(shop, 'versions', 'wine/table', columns=columns)
    assert head.startswith('version') and [r.split()[0] for r in rows] == ['wine/table@1', 'wine/table@2']
    assert all(len(line) <= columns for line in (head, *rows)), rows
    assert 'description' in head or columns == 60

def test_bytes_are_not_for_a_terminal(shop):
    assert any('not written to a terminal' in line for line in typed(shop, 'cat', 'wine/noise', code=4))
    assert typed(shop, 'cat', 'wine/table')[0] == 'grower,alcohol'

def test_a_question_at_a_terminal(sh):
    for answer, code, left in (('n', 4, 2), ('', 4, 2), ('y', 0, 1)):
        p = terminal(sh, sys.executable, '-m', 'objectstore', 'rm', 'wine/table@2')
        p.expect('y/N')
        p.sendline(answer)
        p.expect(pexpect.EOF)
        p.close()
        assert p.exitstatus == code
        assert len(sh.lines('versions', 'wine/table')) == left

def test_ctrl_c_at_a_question_changes_nothing(sh):
    p = terminal(sh, sys.executable, '-m', 'objectstore', 'rm', 'wine/table@2')
    p.expect('y/N')
    p.sendintr()
    p.expect(pexpect.EOF)
    p.close()
    assert p.exitstatus == 130 and len(sh.lines('versions', 'wine/table')) == 2
