"The command in real processes: codes, forms, pipes, terminals, a service that is away, completion, mistyped lines"
import functools, json, os, re, shutil, signal, subprocess, sys
from datetime import datetime
from pathlib import Path
import pytest
try: import pexpect
except ImportError: pexpect = None
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
    sh('rm', 'w/t@1', '--yes')
    assert sh('restore', 'w/t@1', '-q').stdout == b'w/t@1\n' and sh('restore', 'w/t', '--all', '-q').stdout == b''
    assert [r[2] for r in sh.lines('history', 'w/t@1')][-2:] == ['removed', 'restored']

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
    "And what a watch writes is what the page says"
    p = subprocess.Popen([*COMMAND, '--json', 'watch', 'wine'], cwd=sh.folder, env=sh.env, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE)
    with sh.store() as store:
        os.set_blocking(p.stdout.fileno(), False)
        seen = b''
        for i in range(1000):
            store.annotate('wine/table@1', {'turn': i})
            try: p.wait(0.2)
            except subprocess.TimeoutExpired: pass
            if seen := p.stdout.read(): break
    said = json.loads(seen.splitlines()[0])
    check(said)
    assert (said['type'], said['ref']) == ('event', 'wine/table@1')
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
      'number': lambda v: type(v) in (int, float), 'boolean': lambda v: isinstance(v, bool),
      'object': lambda v: isinstance(v, dict), 'time': is_time,
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
                  ['usage'], ['usage', 'wine/table'], ['history', 'wine/table'], ['compare', 'wine/table@1', '2'],
                  ['explain', 'wine/table'], ['status'], ['status', '--settings'], ['alias', 'wine/table'],
                  ['annotate', 'wine/table@1', 'good=true'], ['policy', 'wine', '--keep-last', '9', '--grace', '7 d'],
                  ['get', 'wine/table', 'copy.csv'], ['browse', '--to', 'page.html'], ['init', '--tiers', 'lab'],
                  ['cp', 'wine/table@1', 'wine/other']):
        look(*words, more={'items', 'versions', 'size', 'stored', 'kinds'} if words[0] == 'stats' else frozenset())
    look('show', 'wine/table', more=extra)
    (sh.folder/'old').mkdir()
    for n in (1, 2): (sh.folder/'old'/f'm_v{n}.txt').write_text('x')
    look('export', 'wine', 'out')
    steps = sh.json('import', 'old', 'other', code=4)
    assert {s['type'] for s in steps} == {'plan'} and [s['what'] for s in steps] == ['m_v1.txt', 'm_v2.txt']
    for said in (said for said in sh.json('import', 'old', 'other', '--yes') if said['type'] != 'plan'):
        check(said)
        seen.add(said['type'])
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
    look('release', 'papers/one', 'wine/table', '--description', 'As submitted')
    look('reproduce', 'papers/one')
    [key] = [p for p in (sh.folder/'lab'/'wine'/'payloads').rglob('*') if p.is_file()][:1]
    key.chmod(0o600); key.write_bytes(b'rotten')
    [lost] = sh.json('verify', 'wine', code=8)
    check(lost); seen.add(lost['type'])
    found = sh.json('doctor', 'lab')
    for f in found: check(f)
    assert any('create-only writes' in f['about'] and f['state'] == 'good' for f in found)
    assert lost['state'] == 'lost' and 'wine/noise@1' == lost['about']
    assert seen | {'plan', 'error', 'event'} == set(schema())


def test_usage_in_a_pipe_is_lines_of_the_same_fields(shop):
    lines = shop.lines('usage')
    assert {len(line) for line in lines} == {6}
    by = {(what, name): rest for what, name, *rest in lines}
    [said] = shop.json('usage')
    assert by['bucket', 'wine'] == [str(said['buckets'][0][k]) for k in ('versions', 'said', 'stored', 'removed')]
    assert by['item', 'wine/table'][0] == '2' and by['sum', 'other'] == ['', '', str(said['other']), '']
    assert {name for what, name in by if what == 'sum'} | {'of', 'versions', 'said', 'stored', 'removed'} | {
        'buckets', 'items', 'kinds', 'ages'} == set(schema()['usage'])

def test_what_is_advised_is_a_command(sh):
    sh('rm', 'wine/table@1', '--force', '--yes')
    said = sh('restore', 'wine/table@1').stderr.decode()
    assert 'objectstore alias wine/table@1 production points it there again' in said and 'set_alias' not in said
    sh('rm', 'wine/table@2', '--yes')
    assert 'objectstore restore wine/table@2 brings it back' in sh.error('show', 'wine/table@2', code=3)['message']


def test_a_release_in_a_shell(sh):
    "Made, exported, and made again by a module of the folder; a name that is trusted, and one that is not"
    (sh.folder/'lab_features.py').write_text('''from objectstore import ObjectStore
store = ObjectStore()
@store.calculated('results/rows')
def rows(n): return n * len(store.get('wine/table').read_text())
''')
    subprocess.run([sys.executable, '-c', 'import lab_features; lab_features.rows(2)'], cwd=sh.folder, env=sh.env,
                   check=True)
    sh('put', 'wine/table', 'table.csv', '-m', 'year=2030')
    assert sh('release', 'papers/one', 'results/rows/n=2', '--description', 'One', '-q').stdout == b'papers/one@1\n'
    sh('export', 'papers/one', 'one.tar')
    for what, env in (('papers/one', {}), ('one.tar', {'OBJECTSTORE_TIERS': 'nothing'})):
        p = sh('reproduce', what, code=8, **env)
        assert b'lab_features.rows is not defined here' in p.stdout and b'1 not run' in p.stderr
        assert b'--trust lab_features allows it' in p.stdout and b"trust='" not in p.stdout
        sh('reproduce', what, '--trust', 'other', code=8, **env)
        lines = sh('reproduce', what, '--trust', 'lab_features', **env).stdout.decode().splitlines()
        assert [line.split('\t')[1:3] for line in lines] == [['calculated', 'yes'], ['kept', 'yes']]
    text = (sh.folder/'lab_features.py').read_text()
    (sh.folder/'lab_features.py').write_text(text.replace('n * len', '1 + n * len'))
    [made, _] = sh.json('reproduce', 'one.tar', '--trust', 'all', code=8)
    assert made['same'] is False and 'the source of rows' in made['why'] and made['then'] != made['now']
    sh.error('reproduce', 'papers/none', code=3); sh.error('reproduce', 'wine/table', code=4)
    sh.error('release', 'papers/one', code=2); sh.error('release', 'papers/one', 'wine/table', code=2)
    sh.error('release', 'papers/one', 'wine/nothing', '--description', 'x', code=3)
    said = sh.error('rm', 'results/rows/n=2', '--all', '-y', code=4)
    assert 'release papers/one@1 names results/rows/n=2@1: --force' in str(said)
    sh('rm', 'results/rows/n=2@1', '-y', '--force')


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


def test_each_command_says_what_it_takes():
    "In words, of every argument; what is meant for a linter is not shown"
    from objectstore.command import main      # noqa: F401 (it registers them)
    from objectstore.command.arguments import COMMANDS, _comments, parser_of
    for c in COMMANDS.values():
        p = parser_of(c, _comments(c))
        assert 'noqa' not in p.format_help()
        silent = [a.dest for a in p._actions if not a.help or len(a.help) < 5]
        assert not silent and len(c.line) > 15, (c.name, silent)

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


at_a_terminal = pytest.mark.skipif(pexpect is None, reason='pexpect is not installed: pip install pexpect')

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
@at_a_terminal
def test_a_table_fits_the_terminal(shop, columns):
    head, *rows = typed(shop, 'versions', 'wine/table', columns=columns)
    assert head.startswith('version') and [r.split()[0] for r in rows] == ['wine/table@1', 'wine/table@2']
    assert all(len(line) <= columns for line in (head, *rows)), rows
    assert 'description' in head or columns == 60

@at_a_terminal
def test_bytes_are_not_for_a_terminal(shop):
    assert any('not written to a terminal' in line for line in typed(shop, 'cat', 'wine/noise', code=4))
    assert typed(shop, 'cat', 'wine/table')[0] == 'grower,alcohol'

@at_a_terminal
def test_a_question_at_a_terminal(sh):
    for answer, code, left in (('n', 4, 2), ('', 4, 2), ('y', 0, 1)):
        p = terminal(sh, sys.executable, '-m', 'objectstore', 'rm', 'wine/table@2')
        p.expect('y/N')
        p.sendline(answer)
        p.expect(pexpect.EOF)
        p.close()
        assert p.exitstatus == code
        assert len(sh.lines('versions', 'wine/table')) == left

@at_a_terminal
def test_ctrl_c_at_a_question_changes_nothing(sh):
    p = terminal(sh, sys.executable, '-m', 'objectstore', 'rm', 'wine/table@2')
    p.expect('y/N')
    p.sendintr()
    p.expect(pexpect.EOF)
    p.close()
    assert p.exitstatus == 130 and len(sh.lines('versions', 'wine/table')) == 2


def test_an_import_in_a_shell(sh):
    "Its plan on standard error; nothing without a yes; a file of it, edited; a second run"
    old = sh.folder/'old'
    old.mkdir()
    for name in ('m_v1.txt', 'm_v2.txt', 'm_final.txt'): (old/name).write_text(name)
    p = sh('import', 'old', 'models', code=4)
    assert (b'nothing is done yet' in p.stderr and str(sh.folder/'lab').encode() in p.stderr
            and sh.lines('ls') == [['wine']])
    sh('import', 'old', 'models', '--plan', 'plan.jsonl')
    sh.error('import', 'old', 'models', '--plan', 'plan.jsonl', code=4)               # never written over
    head, *rows = (sh.folder/'plan.jsonl').read_text().splitlines()
    (sh.folder/'plan.jsonl').write_text('\n'.join([head, *rows[:0:-1]]))
    assert sh.error('import', '--apply', 'plan.jsonl', code=4)['error'] == 'Unconfirmed'
    sh('import', '--apply', 'plan.jsonl', '--yes')
    assert sh('cat', 'models/m.txt@1').stdout == b'm_final.txt' and sh('cat', 'models/m.txt').stdout == b'm_v2.txt'
    assert sh('import', 'old', 'models', '--yes', '-q').stdout == b'models/m.txt@3\n'
    assert sh('import', 'old', 'models', '--yes').stdout == b''
    for words in (['import'], ['import', 'old'], ['import', 'out', 'b', '--form', 'x'],
                  ['import', 'old', 'b', '--from', 'zip']):
        sh.error(*words, code=2)
    sh.error('import', 'nothing', 'b', code=3)
    (sh.folder/'bad.jsonl').write_text('{}')
    sh.error('import', '--apply', 'bad.jsonl', '--yes', code=4)
    sh.error('import', '--apply', 'plan.jsonl', '--yes', code=2, OBJECTSTORE_TIERS='another')

def test_an_export_in_a_shell(sh):
    sh('alias', 'wine/table@2', 'best')
    for to in ('out', 'out.tar'):
        assert sh('export', 'wine', to, '-q').stdout == f'{to}\n'.encode()
        env = {'OBJECTSTORE_TIERS': f'lab of {to}'}
        sh('import', to, '--yes', **env)
        for words in (['versions', 'wine/table'], ['alias', 'wine/table'], ['history', 'wine/table', 'best']):
            assert sh('--json', *words, **env).stdout == sh('--json', *words).stdout
        assert sh('cat', 'wine/noise', **env).stdout == (sh.folder/'noise').read_bytes()
    sh.error('export', 'wine', 'out', code=4)
    sh.error('export', 'winee', 'other', code=3)
    sh('export', 'wine', 'some', 'year = 2026')
    assert [*(sh.folder/'some'/'files'/'wine').glob('*.json')] == [sh.folder/'some'/'files'/'wine'/'table@2.json']
    assert (sh.folder/'some'/'files'/'wine'/'table@2'/'table.csv').read_text() == (sh.folder/'table.csv').read_text()


@pytest.fixture
def path(sh) -> dict[str, str]:
    "The command on the path of a shell"
    (sh.folder/'bin').mkdir()
    (sh.folder/'bin'/'objectstore').write_text(f'#!/bin/sh\nexec {sys.executable} -m objectstore "$@"\n')
    (sh.folder/'bin'/'objectstore').chmod(0o755)
    sh('find', 'wine')                  # the index is made by whoever looks
    return {'PATH': f'{sh.folder}/bin:{os.environ["PATH"]}', 'HOME': str(sh.folder), 'TERM': 'dumb', 'PS1': '$ '}

TYPED = {'objectstore histo': 'history', 'objectstore show wi': 'wine/', 'objectstore show wine/no': 'wine/noise',
         'objectstore show wine/table@pro': 'production'}

@at_a_terminal
@pytest.mark.parametrize('name, options, setup', [
    ('bash', ['--norc', '--noprofile'], 'eval "$(objectstore completion bash)"'),
    ('zsh', ['-f', '-i'], 'autoload -Uz compinit && compinit -u; eval "$(objectstore completion zsh)"')])
def test_tab_in_a_shell(sh, path, name, options, setup):
    if not shutil.which(name): pytest.skip(f'{name} is not installed')
    p = terminal(sh, name, *options, **path)
    p.sendline(setup)
    p.sendline('echo rea""dy')
    p.expect('ready')
    for line, whole in TYPED.items():
        p.send(f'{line}\t')
        p.expect_exact(whole)
        p.send('\x15')                  # the line is taken away
    p.close(force=True)

def test_tab_in_fish(sh, path):
    if not shutil.which('fish'): pytest.skip('fish is not installed')
    for line, whole in list(TYPED.items())[:3]:
        p = subprocess.run(['fish', '--no-config', '-c', f'objectstore completion fish | source; complete -C "{line}"'],
                           cwd=sh.folder, env=sh.env | path, capture_output=True, text=True, timeout=SECONDS)
        assert whole in p.stdout.split(), (line, p.stdout, p.stderr)


def test_what_help_and_errors_say_of_words_that_do_nothing(sh):
    assert "did you mean 'rm'?" in sh.error('remove', 'wine/table@1', code=2)['message']
    assert 'Nothing' not in ''.join(sh(c, '--help').stdout.decode() for c in ('rm', 'sync', 'restore', 'annotate'))
    usage = sh('release', '--help').stdout.decode()
    assert '[WHAT ...]' in usage and ' WHAT [WHAT ...]' in usage and '[--description' not in usage
    said = sh('init', '--tiers', 'near lab', '-p', 'odd').stderr.decode()
    assert "one folder, 'near lab'" in said and "'near, lab'" in said
    p = sh('policy', 'wine', '--keep-last', '3'); p = sh('policy', 'wine', '--remove')
    assert 'the policy of wine was removed' in p.stderr.decode()


def test_looking_after_a_store_whose_name_is_mistyped_is_an_error(tmp_path):
    sh = Shell(tmp_path)
    for words in (['tidy', '--yes'], ['gc', '--yes']):
        assert 'no store is at' in sh.error(*words, code=3)['message'] and not (tmp_path/'lab').exists()

def test_no_grace_is_a_nought(sh):
    sh('policy', 'wine', '--keep-last', '1', '--grace', '0')
    assert [p['grace'] for p in sh.json('policy', 'wine/table')] == [0]
    sh('gc', '--grace', '0', '--yes')
    assert not sh('tidy', '--yes', '--grace', '0').stdout

@pytest.mark.skipif(pexpect is None, reason='pexpect is not installed')
def test_a_person_sees_what_was_tidied(sh):
    sh('policy', 'wine', '--keep-last', '1')
    with sh.store() as store:
        for n in range(3): store.put('wine/more', n)
    # wide enough for the store's place, which may be long
    said, _ = pexpect.run(' '.join([*COMMAND, 'tidy', '--yes']), cwd=str(sh.folder), env=sh.env | {'COLUMNS': '250'},
                          timeout=SECONDS, withexitstatus=True)
    assert b'wine/more@1' in said and b'removed' in said and b'verified' in said, said

def test_a_plan_of_tidying_is_done_later(sh):
    with sh.store() as store:
        for n in range(3): store.put('wine/more', n)
    sh('policy', 'wine', '--keep-last', '1')
    sh('tidy', '--plan', 'plan.jsonl')
    assert 'wine/more@1' in (sh.folder/'plan.jsonl').read_text()
    sh('tidy', '--apply', 'plan.jsonl', code=4)                     # nobody has said yes
    assert len(sh.lines('versions', 'wine/more')) == 3
    sh('tidy', '--apply', 'plan.jsonl', '--yes')
    assert [r[0] for r in sh.lines('versions', 'wine/more')] == ['wine/more@3']
    sh('tidy', '--apply', 'plan.jsonl', '--plan', 'x', code=2)

def test_personal_data_go_for_good(sh):
    with sh.store() as store:
        store.put('patients/scans', {'name': 'Ann-17'}), store.put('patients/old', {'name': 'Ann-17'})
    for words in (['erase', 'patients/scans@1', '--yes'], ['erase', '--reason', 'request 17', '--yes']):
        sh.error(*words, code=2)
    said = sh.error('erase', 'patients/scans@1', '--reason', 'request 17', '--yes', code=5)
    assert 'patients/old@1' in said['message'] and "also='copies'" in said['message']
    sh('erase', 'patients/scans@1', '--reason', 'request 17', '--also', 'patients/old@1', '--plan', 'plan.jsonl')
    assert [r['became'] for r in sh.json('erase', '--apply', 'plan.jsonl', '--yes') if r['type'] == 'outcome'] \
        == ['erased', 'forgotten']
    assert 'was erased' in sh.error('get', 'patients/scans@1', code=3)['message']
    assert 'erased, for good' in sh.error('restore', 'patients/scans@1', code=3)['message']
    sh('erase', 'patients/old@1', '--reason', 'request 17', '--yes')
    assert not [p for p in (sh.folder/'lab').rglob('*') if p.is_file() and b'Ann-17' in p.read_bytes()]


# What somebody tried who knew nothing but --help

def said(p: subprocess.CompletedProcess) -> str: return p.stderr.decode()

@pytest.mark.parametrize('line', [
    ['get', 'wine/table@1', '-y', 'out.csv'], ['find', 'wine', '--at', '*', 'year > 2025'],
    ['find', 'wine', '-n', '1', 'year > 2025'], ['alias', 'wine/table@1', '--if-at', '1', 'production'],
    ['annotate', 'wine/table', '--remove', 'year', 'checked=true'], ['cp', 'wine/noise', '-q', 'wine/other']])
def test_options_stand_anywhere(sh, line): sh(*line)

def test_a_csv_file_as_a_table_and_back(sh):
    (sh.folder/'shops.csv').write_text('shop,zip,sales\n1,01234,2.5\n2,98765,\n')
    assert said(sh('put', 'shops/raw', 'shops.csv')).count('--as csv keeps it as a table') == 1
    sh('put', 'shops/table', 'shops.csv', '--as', 'csv', '--description', 'first cut')
    with sh.store() as store:
        table = store.get('shops/table')
        assert [*table.zip] == ['01234', '98765'] and store['shops/table'].metadata['description'] == 'first cut'
        assert store['shops/raw'].codec == 'file'
    assert said(sh('get', 'shops/table', 'a.csv')).count('--as csv writes CSV') == 1      # it is Parquet, and says so
    sh('get', 'shops/table', 'b.csv', '--as', 'csv')
    assert (sh.folder/'b.csv').read_text() == sh('cat', 'shops/table', '--as', 'csv').stdout.decode()
    assert '01234' in (sh.folder/'b.csv').read_text()
    sh('get', 'shops/table', 'b.csv', '--as', 'json', code=4)                             # it is there already
    assert sh('cat', 'shops/raw', '--as', 'csv').stdout == (sh.folder/'shops.csv').read_bytes()
    assert sh('get', 'shops/table', '--as', 'json').stdout and (sh.folder/'table.json').exists()

def test_what_was_probably_meant(sh):
    (sh.folder/'0.9').touch()
    for words, code, says in [
            (['put', 'wnie/table', 'table.csv'], 0, "bucket 'wnie' is new; did you mean 'wine'?"),
            (['find', 'wine', 'year < 2026'], 0, "--at '*' finds 1"),
            (['find', 'wine', '--text', 'nothing'], 0, 'these words'),
            (['get', 'wine/table', '2'], 2, 'get wine/table@2 takes that version'),
            (['put', 'table.csv', 'wine/x'], 2, 'put wine/x table.csv'),
            (['alias', 'prod', 'wine/table@1'], 2, 'alias wine/table@1 prod'),
            (['find', 'wine', 'year', '=', '2026'], 2, 'Quote a condition'),
            (['ls', 'wine', 'noise', 'table.csv'], 2, "Quote it: '*'"),
            (['diff', 'wine/table'], 2, "did you mean 'compare'?"), (['log'], 2, "did you mean 'history'?"),
            (['alias', 'wine/table', 'p', '--require', 'yaer > 2000'], 4, "it has no yaer; did you mean 'year'?"),
            (['history', 'wine/table', 'produktion'], 3, "never had an alias 'produktion'; did you mean 'production'?"),
            (['rm', 'wine/table'], 2, 'wine/table@NUMBER'), (['rollback', 'wine/table'], 2, 'which alias'),
            (['prune', 'wine'], 2, '--keep-last 3')]:
        assert says in said(sh(*words, code=code)), (words, said(sh(*words, code=code)))
    assert sh('compare', 'wine/table', '1', '2', '-q').stdout == sh('compare', 'wine/table@1', '2', '-q').stdout != b''
    sh('alias', 'wine/table@2', 'production')
    assert sh('rollback', 'wine/table@production', '-q').stdout == b'wine/table@1\n'

def test_a_folder_is_named_without_an_option(tmp_path):
    sh = Shell(tmp_path)
    sh('init', 'my-store')
    assert 'tiers = my-store' in (tmp_path/'settings.ini').read_text()
    sh('init', 'a', '--tiers', 'b', '-p', 'x', code=2)

def test_a_setting_that_was_changed_is_named(sh):
    for rate in 0.1, 0.2:
        (sh.folder/'s.json').write_text(json.dumps({'model': {'rate': rate}}))
        sh('put', 'wine/settings', 's.json')
    assert ['content.model.rate', '0.1', '0.2'] in sh.lines('compare', 'wine/settings@1', '2')

def test_the_commit_is_that_of_the_work(sh):
    git = ['git', '-c', 'user.name=a', '-c', 'user.email=a@example.org']
    subprocess.run(['git', 'init', '-q'], cwd=sh.folder, check=True)
    subprocess.run([*git, 'commit', '-q', '--allow-empty', '-m', 'work'], cwd=sh.folder, check=True)
    def run(*words): return subprocess.run(words, cwd=sh.folder, env=sh.env, check=True, capture_output=True).stdout
    head = run('git', 'rev-parse', 'HEAD').decode()
    run(Path(sys.executable).with_name('objectstore'), 'put', 'wine/made', 'table.csv')
    with sh.store() as store:
        lineage = store['wine/made'].lineage
        assert (lineage['commit'], lineage['where']) == (head.strip(), 'objectstore')

def test_an_import_that_is_done_at_once_says_what_it_did(sh):
    sh('export', 'wine', 'out')
    text = said(sh('import', 'out', 'copy', '-y'))
    assert 'nothing is done yet' not in text and re.search(r'(\d+) of \1 done', text), text
    assert 'there is nothing to do' in said(sh('import', 'out', 'copy', '-y'))
