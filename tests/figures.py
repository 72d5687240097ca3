"""What the tests of guarantees have tried and found: shown at the end of pytest's summary, and written as JSON where
`OBJECTSTORE_TEST_FIGURES` names a file (`make guarantees` makes a page of it).

    def test_x(figure): figure('1 one winner, local files', racers=8, several=0)     # 1: which guarantee of the page
    def test_y(figure): figure.add('19 bad input, local files', tried=3, kept=0)     # a sum over all tests that say so
"""
import json, os, platform, shutil, subprocess
from collections.abc import Iterator
from pathlib import Path
import pytest
import objectstore
from objectstore.testing.service import weed_program
from trial import SOAK

KEPT_IN = os.environ.get('OBJECTSTORE_TEST_FIGURES')
if KEPT_IN: KEPT_IN = str(Path(KEPT_IN).absolute())

class Figures:
    "The figures of one test"
    def __init__(self, record): self._record = record
    def __call__(self, title: str, **figures) -> None:
        "A line of figures"
        print(_line(title, figures))
        self._record('figure', json.dumps([title, figures, False], default=str))
    def add(self, title: str, **figures: int) -> None:
        "Figures that count together with those of other tests"
        self._record('figure', json.dumps([title, figures, True]))

@pytest.fixture
def figure(record_property) -> Figures:
    "Keeps figures for the end of pytest's summary"
    return Figures(record_property)

def _plain(value) -> str:
    return f'{value:.2f}' if isinstance(value, float) else f'{value:,}' if isinstance(value, int) else str(value)

def _line(title: str, figures: dict) -> str:
    return f"{title}: {' / '.join(f'{name} {_plain(value)}' for name, value in figures.items())}"

def _summed(properties: Iterator[tuple[str, str]]) -> list[tuple[str, str, dict]]:
    "Test, title and figures, in the order in which they came; what is added under one title is one line of no test"
    lines, sums = [], {}
    for test, text in properties:
        title, figures, added = json.loads(text)
        if added and title in sums:
            for name, n in figures.items(): sums[title][name] = sums[title].get(name, 0) + n
            continue
        if added: sums[title] = figures
        lines.append(('' if added else test, title, figures))
    return lines

def _surroundings() -> dict[str, str]:
    "What the figures were made with"
    def version(of: str, program: str | None) -> dict[str, str]:
        if not program: return {}
        words = subprocess.run([program, 'version' if of == 'SeaweedFS' else '--version'], capture_output=True,
                               text=True).stdout.split()
        return {of: next((w for w in words if w.count('.') and w[0].isdigit()), '')}
    return (dict(objectstore=objectstore.__version__, Python=platform.python_version(),
                 Linux=platform.release().partition('-')[0], cores=str(os.cpu_count()), repetitions=f'{SOAK:g}')
            | version('SeaweedFS', weed_program()) | version('Ceph', shutil.which('radosgw')))

def pytest_terminal_summary(terminalreporter):
    ended = [r for reports in terminalreporter.stats.values() for r in reports if getattr(r, 'when', '') == 'teardown']
    lines = _summed((r.nodeid, text) for r in ended for name, text in r.user_properties if name == 'figure')
    if KEPT_IN: Path(KEPT_IN).write_text(json.dumps(dict(made_with=_surroundings(), figures=lines), indent=1))
    if not lines: return
    terminalreporter.section('figures')
    for _, title, figures in lines: terminalreporter.write_line(_line(title, figures))
