"""Calculated objects, generated: programs of helpers, classes, decorators, tables, module values and closures; one
thing is changed, and the plain function says what is right"""
import random
from collections.abc import Callable
import pytest
from objectstore import ObjectStore
from objectstore.computed import code_graph as graphs
from test_fresh_code import cell
from trial import soak

pytestmark = pytest.mark.usefixtures('own_cache')

HEAD = 'import functools, enum\n'
# Each makes a function `{n}()` from the function `{p}()`, and has one number
FORMS = [
    'def {n}(): return {p}() + {v}\n',
    '{n} = lambda: {p}() + {v}\n',
    'V{n} = {v}\n'
    'def {n}(): return {p}() + V{n}\n',
    '@functools.cache\n'
    'def {n}(): return {p}() + {v}\n',
    'def {n}(x={v}): return {p}() + x\n',
    'def a{n}(x): return {p}() + x\n'
    '{n} = functools.partial(a{n}, {v})\n',
    'T{n} = {{"a": [lambda: {p}() + {v}]}}\n'
    'def {n}(): return T{n}["a"][0]()\n',
    'class C{n}:\n'
    '    def one(self): return {p}() + {v}\n'
    '    def two(self): return self.one()\n'
    'def {n}(): return C{n}().two()\n',
    'class B{n}:\n'
    '    r = {v}\n'
    'class C{n}(B{n}):\n'
    '    @property\n'
    '    def p(self): return {p}() + self.r\n'
    'def {n}(): return C{n}().p\n',
    'class C{n}:\n'
    '    def __init__(self): self.r = {v}\n'
    '    def go(self): return {p}() + self.r\n'
    '{n} = C{n}().go\n',
    'class E{n}(enum.Enum):\n'
    '    A = {v}\n'
    'X{n} = E{n}.A\n'
    'def {n}(): return {p}() + X{n}.value\n',
    'def d{n}(k):\n'
    '    def deco(fn):\n'
    '        @functools.wraps(fn)\n'
    '        def call(): return fn() + k\n'
    '        return call\n'
    '    return deco\n'
    '@d{n}({v})\n'
    'def {n}(): return {p}()\n',
    'def m{n}(k):\n'
    '    def inner(): return {p}() + k\n'
    '    return inner\n'
    '{n} = m{n}({v})\n',
    'S{n} = {{{v}, -1, "x"}}\n'
    'def {n}(): return {p}() + max(x for x in S{n} if x != "x")\n',
]

def program(r: random.Random) -> tuple[Callable[..., str], list[int]]:
    "What writes a program of the values that it has, and the values"
    count = r.randrange(3, 9)
    forms = [r.randrange(len(FORMS)) for _ in range(count)]
    leads = [r.randrange(i) if i else 0 for i in range(count)]
    def write(values, comment=''):
        text = HEAD + comment + 'def g(): return 1\n'
        for i, k in enumerate(forms):
            text += FORMS[k].format(n=f'g{i}', p=f'g{leads[i] - 1}' if i and leads[i] else 'g', v=values[i])
        return text + f'def f(): return g{count - 1}() + g{count // 2}()\n'
    return write, [r.randrange(1, 1000) for _ in range(count)]

def tried(seeds) -> dict[str, int]:
    "Outdated values given as fresh, needless runs, and edits that were tried"
    found = dict(edits=0, outdated=0, needless=0)
    for seed in seeds:
        r = random.Random(seed)
        write, values = program(r)
        store = ObjectStore('memory://', progress=False)
        def calculated(text): return store.calculated('f/x')(cell(text)['f'])
        assert calculated(write(values))() == cell(write(values))['f']()
        if not calculated(write(values, '# moved\n\n')).explain().fresh: found['needless'] += 1
        at = r.randrange(len(values))
        new = write([v + 7 * (i == at) for i, v in enumerate(values)])
        right = cell(new)['f']()
        found['edits'] += 1
        found['outdated'] += calculated(new)() != right
    return found

def test_generated_programs(figure):
    found = tried(range(soak(150)))
    figure('generated programs of calculated objects', **found)
    assert not found['outdated'] and not found['needless'], found

def test_a_wrapper_left_out_is_caught(monkeypatch):
    "Planted"
    monkeypatch.setattr(graphs, '_read_closure', lambda walk, part, fn: None)
    assert tried(range(60))['outdated']

def test_a_class_left_out_is_caught(monkeypatch):
    "Planted"
    monkeypatch.setattr(graphs, 'read_class', lambda walk, part: None)
    assert tried(range(60))['outdated']
