"Planted bugs and injected faults are met: what is planted at a name that nobody looks up fails its test"
import ast, functools, inspect
from pathlib import Path
from types import SimpleNamespace
from unittest import mock
import pytest
from objectstore.cache import download
from objectstore.storage import files
from objectstore.storage.backend import MemoryBackend
from planting import NotFired, Planting, planted, planted_here, read_in, spare

pytest_plugins = ['pytester']
HERE = Path(__file__).parent


class Owner:
    kind = 'owner'
    def f(self, x): return 'real', x
    @property
    def p(self): return 'real'
    @classmethod
    def c(cls): return cls, 'real'
    @staticmethod
    def s(x): return 'real', x


def test_a_name_that_is_not_there_fails():
    with Planting.context() as m:
        for owner, name in (Owner, 'g'), (download, 'verified_file'), (Owner(), 'g'):
            with pytest.raises(AttributeError): m.setattr(owner, name, lambda *a: None)
            with pytest.raises(AttributeError): planted(owner, name, lambda *a: None).__enter__()
            with pytest.raises(AttributeError): planted_here(owner, name, lambda *a: None)
        with pytest.raises((AttributeError, ImportError)): m.setattr('objectstore.cache.download.verified_file', 1)
        with pytest.raises((AttributeError, ImportError)): m.setattr('objectstore.download.PATIENCE', 1)

NEVER_MET = {'function': ('f', lambda self, x: 1), 'property': ('p', property(lambda self: 1)),
             'class method': ('c', classmethod(lambda cls: 1)), 'static method': ('s', staticmethod(lambda x: 1)),
             'mock': ('f', mock.Mock(return_value=1)),
             'partial': ('f', functools.partialmethod(lambda self, y, x: 1, 2)), 'built-in': ('s', len)}

@pytest.mark.parametrize('what', NEVER_MET)
def test_what_is_never_called_fails(what):
    name, value = NEVER_MET[what]
    with pytest.raises(NotFired, match=rf'Owner.{name} was planted and never called'):
        with Planting.context() as m: m.setattr(Owner, name, value)
    with pytest.raises(NotFired, match=f'Owner.{name}'):
        with planted(Owner, name, value): pass
    assert Owner().f(2) == ('real', 2) == Owner.s(2) and Owner().p == 'real' and Owner.c() == (Owner, 'real')

@pytest.mark.parametrize('what', NEVER_MET)
def test_what_is_called_does_what_it_did(what):
    name, value = NEVER_MET[what]
    def use(): return Owner().p if name == 'p' else getattr(Owner(), name)(*['x'] * (name != 'c'))
    with Planting.context() as m:
        m.setattr(Owner, name, value)
        assert use() == 1
    with planted(Owner, name, value) as p: assert use() == 1 and use() == 1
    assert p.calls == 2 and use() in (('real', 'x'), 'real', (Owner, 'real'))

def test_a_failure_that_a_test_expects_does_not_hide_it():
    "Most tests of planted bugs expect the test that they spoil to fail: it must fail of the bug"
    with pytest.raises(NotFired) as e:
        with pytest.raises((AssertionError, OSError, ValueError, pytest.fail.Exception)):
            with planted(Owner, 'f', lambda self, x: 1): raise AssertionError('of something else')
    assert isinstance(e.value.__context__, AssertionError)

def test_pytests_own_fixture_looks_too(pytester):
    pytester.makeconftest("pytest_plugins = ['planting']")
    pytester.makepyfile('''
        import os
        def test_met(monkeypatch):
            monkeypatch.setattr(os, 'getlogin', lambda: 'ana')
            assert os.getlogin() == 'ana'
        def test_undone(monkeypatch):
            monkeypatch.setattr(os, 'getlogin', lambda: 'ana')
            monkeypatch.undo()
        def test_given_back(monkeypatch):
            real = os.getlogin
            monkeypatch.setattr(os, 'getlogin', lambda: 'ana')
            os.getlogin()
            monkeypatch.setattr(os, 'getlogin', real)
    ''')
    result = pytester.runpytest_inprocess('-p', 'no:cacheprovider')
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(['*getlogin was planted and never called*'])

def test_a_value_is_planted_where_it_is_read():
    "What cannot be called cannot be counted: a function of the module itself reads it"
    with Planting.context() as m:
        for name, value in ('PATIENCE', 0.1), ('time', SimpleNamespace()), ('verify_file', spare(None)):
            m.setattr(download, name, value)
        m.setattr('objectstore.storage.files.UNNAMED', False)
        m.setattr(MemoryBackend, 'can', None)                # of a class: it was there
        with pytest.raises(NotFired, match='no function of objectstore.storage.files reads PATIENCE'):
            m.setattr(files, 'PATIENCE', 1)
    with pytest.raises(NotFired, match='reads PATIENCE'): planted_here(files, 'PATIENCE', 1)

def test_a_name_in_a_head_or_a_default_is_not_read():
    source = 'from os import path, sep\nA = sep\nclass B:\n    c = A\n    def f(self, a=A): return path\n'
    module = type(pytest)('made')
    with planted(inspect, 'getsource', lambda m: source): found = read_in(module)
    assert found == {'path'}


# How the tests plant

def calls_in(source: str):
    "The calls in a source: what is called, the keywords, and the line"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}, node.lineno

def found(test) -> list[str]:
    return [f'{p.name}:{line}' for p in sorted(HERE.glob('*.py')) if p.name not in ('planting.py', Path(__file__).name)
            for name, how, line in calls_in(p.read_text()) if test(name, how)]

def test_no_name_may_be_missing():
    "But the two that say why: the built-in `open` in a module, and `os.fork`"
    assert [x.partition(':')[0] for x in found(lambda name, how: name.endswith('.setattr') and 'raising' in how)] == \
        ['test_context.py', 'test_late_filesystems.py']

def test_mock_does_not_plant():
    "`mock.patch` counts nothing; what only counts, calls of any verb, may go uncalled, and so may a model's clock"
    plants = ('mock.patch', 'mock.patch.object', 'mock.patch.multiple', 'patch', 'patch.object')
    at = found(lambda name, how: name in plants)
    allowed = {'stacks.py', 'stepping.py', 'test_delivery_reads.py', 'test_interrupted.py'}
    assert {x.partition(':')[0] for x in at} <= allowed, at
