"The page *Guarantees*: what the tests print becomes its tables"
import ast, importlib.util, json, re
from pathlib import Path
import pytest

TESTS = Path(__file__).parent
spec = importlib.util.spec_from_file_location('guarantees', TESTS.parent/'tools'/'guarantees.py')
guarantees = importlib.util.module_from_spec(spec)
spec.loader.exec_module(guarantees)

def titles() -> dict[str, str]:
    "The beginning of each title that a test gives its figures, and where"
    found = {}
    for path in sorted(TESTS.glob('test_*.py')):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and 'figure' in ast.unparse(node.func) and node.args): continue
            first = node.args[0].values[0] if isinstance(node.args[0], ast.JoinedStr) else node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                found[first.value] = f'{path.name}:{node.lineno}'
    return found

def test_each_number_that_a_test_prints_is_a_guarantee():
    said = {t: where for t, where in titles().items() if re.match(r'\d+ ', t)}
    assert len(said) > 60
    assert not {t: w for t, w in said.items() if int(t.split()[0]) not in guarantees.GUARANTEES}

def test_the_tables():
    text = guarantees.render(dict(made_with=dict(Python='3.12', SeaweedFS='4.1'), figures=[
        ['a', '1 one winner, local files', dict(racers=8, several=0)],
        ['b', '10 killed <b>|x', dict(kills=1234, share=0.125)], ['c', 'requests of a get', dict(requests=1)]]))
    assert 'Made with: Python 3.12, SeaweedFS 4.1.' in text and 'requests of a get' not in text
    assert '| one winner, local files | racers 8, several 0 |' in text
    assert r'| killed \<b\>\|x | kills 1,234, share 0.12 |' in text
    assert '| 2 | A number has one winner across hosts' in text and text.count('*not tried*') == len(
        guarantees.GUARANTEES) - 2
    assert text.index('### 1. ') < text.index('### 10. ') and '### 2. ' not in text

def test_a_number_that_is_no_guarantee_is_an_error():
    with pytest.raises(SystemExit, match='99 nobody'):
        guarantees.render(dict(made_with={}, figures=[['a', '99 nobody', {}]]))

def test_of_each_test_the_last_run_counts():
    once = [['a', '1 x, 3 times', {'n': 3}], ['', '19 y', {'n': 1}], ['b', '2 z', {'n': 5}]]
    often = [['a', '1 x, 30 times', {'n': 30}], ['', '19 y', {'n': 9}]]
    one = dict(made_with=dict(cores='2', repetitions='1'), figures=once)
    two = dict(made_with=dict(cores='2', repetitions='10'), figures=often)
    both = guarantees.together([one, two])
    assert both['made_with'] == dict(cores='2', repetitions='1 and 10')
    assert both['figures'] == [once[2], *often]

# A page that tells some of the figures beside an argument

def states_told(page: str) -> dict[str, list[int]]:
    "Figures of the rows of tables that have a column *states*"
    found = {}
    for line in page.splitlines():
        cells = [c.strip() for c in line.strip('| ').split('|')]
        if line.startswith('|') and len(cells) == 4 and cells[3] == '0':
            found[cells[0]] = [int(n.replace(',', '')) for n in cells[2].split(';')]
    return found

def test_the_page_of_the_commit_has_the_figures_of_this_one():
    def source(name):
        cells = json.loads((guarantees.PAGE.parent/f'{name}.ipynb').read_text())['cells']
        return '\n'.join(''.join(c['source']) for c in cells)
    told = states_told(source('committing'))
    known = {int(n.replace(',', '')) for n in re.findall(r'states ([\d,]+), violations 0', source('guarantees'))}
    assert len(told) > 15 and len(known) > 40
    assert not {what: n for what, n in told.items() if not known.issuperset(n)}
    assert states_told('| a put | 1 | 4,609; 7 | 0 |') == {'a put': [4609, 7]}
