"""Code of calculated objects: each kind of thing that a function may be made of, edited; what cannot be counted and
how that is said; planted faults; and generated programs against the plain function"""
import importlib, linecache, os, shutil, socket, sys, threading, time, types, warnings
from pathlib import Path
import pytest
from objectstore import ObjectStore, Unsupported
from objectstore.computed import code_graph as graphs, structure
from objectstore.computed.code_graph import code_graph

pytestmark = [pytest.mark.usefixtures('own_cache'),
              pytest.mark.filterwarnings('ignore::objectstore.errors.StaleWarning')]

@pytest.fixture
def store(): return ObjectStore('memory://', progress=False)

@pytest.fixture
def project(tmp_path, monkeypatch):
    "Writes modules of one's own, and loads them anew"
    monkeypatch.syspath_prepend(str(tmp_path))
    made = set()
    class Project:
        path = tmp_path
        def write(self, name, text):
            made.add(name)
            (tmp_path/f'{name}.py').write_text(text)
        def load(self, *names):
            for n in made: sys.modules.pop(n, None)
            for p in tmp_path.rglob('__pycache__'): shutil.rmtree(p)
            importlib.invalidate_caches()
            found = [importlib.import_module(n) for n in names]
            return found[0] if len(found) == 1 else found
    yield Project()
    for n in made: sys.modules.pop(n, None)

def cell(source: str, store=None, **names):
    "What a notebook's cell defines: lines of its own, which can be read again"
    file = f'<cell {len(linecache.cache)} {time.time_ns()}>'
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    space = {'store': store, '__name__': 'a_notebook', **names}
    exec(compile(source, file, 'exec'), space)
    return space

HEAD = 'import functools, enum, re, argparse, dataclasses, collections, typing\nfrom pathlib import Path\n'
# Kind: source, what is edited, what it becomes. `f` is the function
KINDS = {
    # plain functions, values
    'helper': ('def g(): return 2\ndef f(): return g()', 'return 2', 'return 3'),
    'value': ('R = 2\ndef f(): return R', '2', '3'),
    'helper_of_helper': ('def h(): return 2\ndef g(): return h()\ndef f(): return g()', 'return 2', 'return 3'),
    'default_of_helper': ('def g(x=2): return x\ndef f(): return g()', 'x=2', 'x=3'),
    'keyword_default': ('def g(*, x=2): return x\ndef f(): return g()', 'x=2', 'x=3'),
    'nested_function': ('R = 2\ndef f():\n    def inner(): return R\n    return inner()', 'R = 2', 'R = 3'),
    'comprehension': ('R = 2\ndef f(): return [R for _ in [1]]', 'R = 2', 'R = 3'),
    'class_in_a_function': ('R = 2\ndef f():\n    class A: r = R\n    return A.r', 'R = 2', 'R = 3'),
    'another_of_a_library': ('from math import floor as g\ndef f(): return g(2.5)', 'floor', 'ceil'),
    'closure': ('def make(n):\n    def g(): return n\n    return g\ng = make(2)\ndef f(): return g()', '(2)', '(3)'),
    'closure_over_a_function': ('def a(): return 2\ndef make(h):\n    def g(): return h()\n    return g\n'
                                'g = make(a)\ndef f(): return g()', 'return 2', 'return 3'),
    'attribute_of_a_function': ('def g(): return g.n\ng.n = 2\ndef f(): return g()', '= 2', '= 3'),
    # 2: not only plain functions
    'lru_cache': ('@functools.lru_cache\ndef g(): return 2\ndef f(): return g()', 'return 2', 'return 3'),
    'lru_cache_of_a_call': ('def g(): return 2\nh = functools.lru_cache(maxsize=5)(g)\ndef f(): return h()', 'return 2',
                            'return 3'),
    'what_lru_cache_names': ('R = 2\n@functools.cache\ndef g(): return R\ndef f(): return g()', 'R = 2', 'R = 3'),
    'partial': ('def g(x): return x + 1\nh = functools.partial(g, 1)\ndef f(): return h()', '+ 1', '+ 2'),
    'argument_of_a_partial': ('def g(x): return x\nh = functools.partial(g, 2)\ndef f(): return h()', 'g, 2', 'g, 3'),
    'partial_of_a_partial': ('def g(x, y): return x + y\nh = functools.partial(functools.partial(g, 1), 1)\n'
                             'def f(): return h()', 'x + y', 'x + y + 1'),
    'bound_method': ('class A:\n    def g(self): return 2\nh = A().g\ndef f(): return h()', 'return 2', 'return 3'),
    'table': ("def g(): return 2\nT = {'a': g}\ndef f(): return T['a']()", 'return 2', 'return 3'),
    'table_of_lambdas': ("T = {'a': lambda: 2}\ndef f(): return T['a']()", 'lambda: 2', 'lambda: 3'),
    'list_of_functions': ('def g(): return 2\nT = [g]\ndef f(): return T[0]()', 'return 2', 'return 3'),
    'nested_table': ("def g(): return 2\nT = {'a': [(g,)]}\ndef f(): return T['a'][0][0]()", 'return 2', 'return 3'),
    'set_of_functions': ('def g(): return 2\nT = {g}\ndef f(): return [h() for h in T][0]', 'return 2', 'return 3'),
    'order_in_a_table': ('def a(): return 2\ndef b(): return 3\nT = [a, b]\ndef f(): return T[0]()', '[a, b]',
    '[b, a]'),
    'twins_in_a_table': ("def make(n): return lambda: n\nT = {'a': make(2), 'b': make(3)}\ndef f(): return T['a']()",
                         "'a': make(2), 'b': make(3)", "'a': make(3), 'b': make(2)"),
    'property': ('def g(): return 2\nclass A:\n    @property\n    def p(self): return g()\ndef f(): return A().p',
                 'return 2', 'return 3'),
    'setter': ('class A:\n    @property\n    def p(self): return self.x\n    @p.setter\n    def p(self, v): '
               'self.x = v + 1\ndef f():\n    a = A()\n    a.p = 1\n    return a.p', 'v + 1', 'v + 2'),
    'cached_property': ('def g(): return 2\nclass A:\n    @functools.cached_property\n    def p(self): return g()\n'
                        'def f(): return A().p', 'return 2', 'return 3'),
    'singledispatch': ('@functools.singledispatch\ndef g(x): return 1\n@g.register\ndef _(x: int): return 2\n'
                       'def f(): return g(1)', 'return 2', 'return 3'),
    'generator_helper': ('def g(): yield 2\ndef f(): return list(g())[0]', 'yield 2', 'yield 3'),
    'lambda': ('g = lambda: 2\ndef f(): return g()', '2', '3'),
    # 3: methods and classes
    'self_method': ('class A:\n    def step(self): return 2\n    def go(self): return self.step()\n'
                    'def f(): return A().go()', 'return 2', 'return 3'),
    'inherited': ('class B:\n    def step(self): return 2\nclass A(B): pass\ndef f(): return A().step()', 'return 2',
                  'return 3'),
    'mixin_of_two': ('class B:\n    n = 2\nclass C:\n    n = 5\nclass A(B, C): pass\ndef f(): return A().n', '(B, C)',
                     '(C, B)'),
    'class_attribute': ('class A: n = 2\ndef f(): return A.n', 'n = 2', 'n = 3'),
    'class_attribute_list': ('class A: n = [2]\ndef f(): return A.n[0]', '[2]', '[3]'),
    'default_of_a_method': ('class A:\n    def g(self, x=2): return x\ndef f(): return A().g()', 'x=2', 'x=3'),
    'nested_class': ('class A:\n    class B: n = 2\ndef f(): return A.B.n', 'n = 2', 'n = 3'),
    'static_method': ('class A:\n    @staticmethod\n    def g(): return 2\ndef f(): return A.g()', 'return 2',
                      'return 3'),
    'class_method': ('class A:\n    @classmethod\n    def g(cls): return 2\ndef f(): return A.g()', 'return 2',
                     'return 3'),
    'dunder': ('class A:\n    def __call__(self): return 2\ndef f(): return A()()', 'return 2', 'return 3'),
    'kind_of_method': ('class A:\n    @staticmethod\n    def g(*a): return len(a)\ndef f(): return A().g()',
    '@staticmethod',
                       '@classmethod'),
    'metaclass': ('class M(type):\n    def g(cls): return 2\nclass A(metaclass=M): pass\ndef f(): return A.g()',
                  'return 2', 'return 3'),
    'class_of_an_instance': ('class A:\n    def g(self): return 2\na = A()\ndef f(): return a.g()', 'return 2',
                             'return 3'),
    'attribute_of_an_instance': ('class A:\n    def __init__(self): self.n = 2\na = A()\ndef f(): return a.n', 'n = 2',
                                 'n = 3'),
    'slots': ("class A:\n    __slots__ = 'n',\na = A()\na.n = 2\ndef f(): return a.n", '= 2', '= 3'),
    'enum_member': ('class E(enum.Enum):\n    A = 2\ndef f(): return E.A.value', '= 2', '= 3'),
    'enum_method': ('class E(enum.Enum):\n    A = 1\n    def g(self): return 2\ndef f(): return E.A.g()', 'return 2',
                    'return 3'),
    'enum_value_by_number': ('class E(enum.Enum):\n    A = 2\n    B = 3\nx = E.A\ndef f(): return x.value', 'x = E.A',
                             'x = E.B'),
    'dataclass_default': ('@dataclasses.dataclass\nclass A: n: int = 2\ndef f(): return A().n', '= 2', '= 3'),
    'dataclass_factory': ('def g(): return 2\n@dataclasses.dataclass\nclass A:\n    n: int = '
                          'dataclasses.field(default_factory=g)\ndef f(): return A().n', 'return 2', 'return 3'),
    'namedtuple_default': ('class A(typing.NamedTuple):\n    n: int = 2\ndef f(): return A().n', '= 2', '= 3'),
    'descriptor': ('class D:\n    def __get__(self, o, t=None): return 2\nclass A: n = D()\ndef f(): return A().n',
                   'return 2', 'return 3'),
    'init_subclass': ('class B:\n    def __init_subclass__(cls): cls.n = 2\nclass A(B): pass\ndef f(): return A.n',
                      'n = 2', 'n = 3'),
    'abstract': ('import abc\nclass B(abc.ABC):\n    @abc.abstractmethod\n    def g(self): ...\nclass A(B):\n'
                 '    def g(self): return 2\ndef f(): return A().g()', 'return 2', 'return 3'),
    # 4: layers
    'wrapper': ('def twice(fn):\n    @functools.wraps(fn)\n    def call(): return fn() * 2\n    return call\n'
                '@twice\ndef g(): return 1\ndef f(): return g()', 'fn() * 2', 'fn() * 3'),
    'argument_of_a_wrapper': ('def times(n):\n    def deco(fn):\n        @functools.wraps(fn)\n'
                              '        def call(): return fn() * n\n        return call\n    return deco\n'
                              't = times(2)\n@t\ndef g(): return 1\ndef f(): return g()', 'times(2)', 'times(3)'),
    'wrapped': ('def same(fn):\n    @functools.wraps(fn)\n    def call(): return fn()\n    return call\n'
                '@same\n@same\ndef g(): return 2\ndef f(): return g()', 'return 2', 'return 3'),
    'wrapper_without_wraps': ('def twice(fn):\n    def call(): return fn() * 2\n    return call\n'
                              '@twice\ndef g(): return 1\ndef f(): return g()', 'fn() * 2', 'fn() * 3'),
    'class_as_a_wrapper': ('class Twice:\n    def __init__(self, fn): self.fn = fn\n'
                           '    def __call__(self): return self.fn() * 2\n@Twice\ndef g(): return 1\n'
                           'def f(): return g()', '* 2', '* 3'),
    'wrapped_by_a_class': ('class Same:\n    def __init__(self, fn): self.fn = fn\n'
                           '    def __call__(self): return self.fn()\n@Same\ndef g(): return 2\ndef f(): return g()',
                           'return 2', 'return 3'),
    'context_manager': ('import contextlib\n@contextlib.contextmanager\ndef g(): yield 2\ndef f():\n    with g() as x: '
                        'return x', 'yield 2', 'yield 3'),
    'itself_wrapped': ('def twice(fn):\n    @functools.wraps(fn)\n    def call(): return fn() * 2\n    return call\n'
                       '@twice\ndef f(): return 1', 'fn() * 2', 'fn() * 3'),
    'itself_wrapped_inside': ('def twice(fn):\n    @functools.wraps(fn)\n    def call(): return fn() * 2\n'
                              '    return call\n@twice\ndef f(): return 1', 'return 1', 'return 2'),
    # 5: module values
    'array': ('import numpy as np\nR = np.array([2])\ndef f(): return int(R[0])', '[2]', '[3]'),
    'frame': ("import pandas as pd\nR = pd.DataFrame({'a': [2]})\ndef f(): return int(R.a[0])", '[2]', '[3]'),
    'namespace': ('R = argparse.Namespace(n=2)\ndef f(): return R.n', 'n=2', 'n=3'),
    'path': ("R = Path('/a/2')\ndef f(): return R.name", '2', '3'),
    'pattern': ("R = re.compile('2')\ndef f(): return R.pattern", "'2'", "'3'"),
    'pattern_flags': ("R = re.compile('a')\ndef f(): return bool(R.match('A'))", "'a')", "'a', re.I)"),
    'range': ('R = range(2)\ndef f(): return len(R)', '2', '3'),
    'set': ('R = {2}\ndef f(): return max(R)', '{2}', '{3}'),
    'bytes': ("R = b'2'\ndef f(): return R.decode()", '2', '3'),
    'date': ('import datetime\nR = datetime.date(2026, 1, 2)\ndef f(): return R.day', '2)', '3)'),
    'deque': ('R = collections.deque([2])\ndef f(): return R[0]', '[2]', '[3]'),
    'defaultdict': ('R = collections.defaultdict(lambda: 2)\ndef f(): return dict(R).get(1) or R.default_factory()',
                    'lambda: 2', 'lambda: 3'),
    'beside_what_cannot_be_counted': ("import socket\nR = {'client': socket.socket(), 'n': 2}\ndef f(): return R['n']",
                                      "'n': 2", "'n': 3"),
    'simple_namespace': ('import types\nR = types.SimpleNamespace(a={"b": 2})\ndef f(): return R.a["b"]', '2', '3'),
    'module_of_a_value': ('import decimal\nR = decimal.Decimal("2")\ndef f(): return str(R)', '"2"', '"3"'),
    # 6: what it has changed itself
    'beside_what_it_changes': ("R = {'rate': 2}\ndef f():\n    R.setdefault('seen', 0)\n    return R['rate']", "2}",
                               "3}"),
    'a_global_that_it_assigns': ('n = 2\ndef f():\n    global n\n    m, n = n, n\n    return m', 'n = 2', 'n = 3'),
}

@pytest.mark.parametrize('kind', KINDS)
def test_an_edit_of_each_kind(store, kind):
    """Fresh as long as nothing is edited, also where all of it is defined anew; after the edit what the plain function
    gives"""
    source, old, new = KINDS[kind]
    assert source.count(old), kind
    edited = HEAD + source.replace(old, new, 1)
    source = HEAD + source
    plain = [cell(s)['f']() for s in (source, edited)]
    assert plain[0] != plain[1], 'the edit changes nothing'
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        f = store.calculated('f/x')(cell(source)['f'])
        assert f() == plain[0] and f.explain().fresh, f.explain()
        again = store.calculated('f/x')(cell(source)['f'])
        assert again.explain().fresh, f'needless: {again.explain()}'
        g = store.calculated('f/x')(cell(edited)['f'])
        assert g.explain().reason == 'code changed', g.explain()
        assert g() == plain[1] and g.explain().fresh

IN_PLACE = {
    'value': ('R = 2\ndef f(): return R', 'R = 3'),
    'helper': ('def g(): return 2\ndef f(): return g()', 'def g(): return 3'),
    'class': ('class A:\n    n = 2\ndef f(): return A.n', 'A.n = 3'),
    'method': ('class A:\n    def g(self): return 2\ndef f(): return A().g()', 'A.g = lambda self: 3'),
    'base': ('class B: n = 2\nclass A(B): pass\ndef f(): return A.n', 'B.n = 3'),
    'table': ("def g(): return 2\nT = {'a': g}\ndef f(): return T['a']()", "T['a'] = lambda: 3"),
    'in_a_list': ('R = [2]\ndef f(): return R[0]', 'R[0] = 3'),
    'array': ('import numpy as np\nR = np.array([2])\ndef f(): return int(R[0])', 'R[0] = 3'),
    'defaults': ('def g(x=2): return x\ndef f(): return g()', 'g.__defaults__ = (3,)'),
    'mutable_default': ('def g(x=[2]): return x[0]\ndef f(): return g()', 'g.__defaults__[0][0] = 3'),
    'code': ('def g(): return 2\ndef f(): return g()', 'g.__code__ = (lambda: 3).__code__'),
    'attribute': ('def g(): return g.n\ng.n = 2\ndef f(): return g()', 'g.n = 3'),
    'instance': ('class A: pass\na = A()\na.n = 2\ndef f(): return a.n', 'a.n = 3'),
    'closure': ('def make():\n    n = 2\n    def g(): return n\n    def to(m):\n        nonlocal n\n        n = m\n'
                '    return g, to\ng, to = make()\ndef f(): return g()', 'to(3)'),
    'name_that_was_a_builtin': ('def f(): return len([1, 2])', 'def len(x): return 3'),
    'beside_what_it_changes': ("R = {'rate': 2, 'n': 0}\ndef f():\n    R['n'] += 1\n    return R['rate']",
                               "R['rate'] = 3"),
}

@pytest.mark.parametrize('kind', IN_PLACE)
def test_a_change_in_the_same_process(store, kind):
    "The next cell changes something; the function is not defined again"
    source, edit = IN_PLACE[kind]
    space = cell(source)
    f = store.calculated('f/x')(space['f'])
    assert f() == 2 and f() == 2 and f.explain().fresh and len(f.versions()) == 1
    exec(compile(edit, f'<edit {time.time_ns()}>', 'exec'), space)
    assert f.explain().reason == 'code changed', f.explain()
    assert f() == 3 and f.explain().fresh and space['f']() == 3


# One's own modules, texts, autoreload

def test_a_helper_in_another_module_of_one_s_own(store, project):
    for text in ('from helpers import g\ndef f(): return g()', 'import helpers\ndef f(): return helpers.g()',
                 'def f():\n    from helpers import g\n    return g()', 'import helpers as h\ndef f(): return h.g()'):
        name = f'f/{abs(hash(text)) % 10_000}'
        project.write('helpers', 'R = 2\ndef g(): return R')
        project.write('work', text)
        f = store.calculated(name)(project.load('work').f)
        assert f() == 2 and f.explain().fresh
        f = store.calculated(name)(project.load('work').f)
        assert f.explain().fresh, f.explain()
        project.write('helpers', 'R = 3\ndef g(): return R')
        f = store.calculated(name)(project.load('work').f)
        assert f.explain().reason == 'code changed' and f() == 3, text

def test_a_file_edited_before_the_first_call(store, project):
    "The old code runs, and is recorded as such: the next process sees that the file says something else"
    project.write('work', 'def g(): return 2\ndef f(): return g()')
    f = store.calculated('f/x')(project.load('work').f)
    project.write('work', 'def g(): return 3\ndef f(): return g()')
    assert f() == 2
    f = store.calculated('f/x')(project.load('work').f)
    assert f.explain().reason == 'code changed' and f() == 3

def test_lines_that_move_make_no_difference(store, project):
    project.write('work', 'def g(): return 2\ndef f(): return g()')
    f = store.calculated('f/x')(project.load('work').f)
    project.write('work', '# a comment\n\ndef g():\n    return 2   # two\n\n\ndef f(): return g()')
    assert f() == 2
    assert store.calculated('f/x')(project.load('work').f).explain().fresh

def test_a_module_that_is_loaded_again(store, project):
    "Autoreload executes a module's new text in place: whoever imported the function from there gets the new one"
    text = ("from objectstore import ObjectStore\nfrom __main__ import lab_store\n@lab_store.calculated('f/x')\ndef "
            "f(): return 2")
    sys.modules['__main__'].lab_store = store
    try:
        project.write('work', text)
        module = project.load('work')
        f = module.f
        assert f() == 2
        (project.path/'work.py').write_text(text.replace('return 2', 'return 3 + 0'))
        for p in project.path.rglob('__pycache__'): shutil.rmtree(p)
        importlib.reload(module)
        assert f.explain().reason == 'code changed' and f() == 3 == module.f() and f.explain().fresh
        assert len(f.versions()) == 2
    finally: del sys.modules['__main__'].lab_store


# What counts of arguments

def test_the_class_of_an_argument(store):
    source = ('import enum, dataclasses\nclass A:\n    def g(self): return 2\n    __call__ = g\n'
              'class E(enum.Enum):\n    X = 1\n    def g(self): return 2\n'
              '@dataclasses.dataclass\nclass D:\n    n: int\n    def g(self): return 2\n')
    def make(text):
        module = types.ModuleType('shapes')
        file = f'<cell {time.time_ns()}>'
        linecache.cache[file] = (len(text), None, text.splitlines(True), file)
        exec(compile(text, file, 'exec'), vars(module))
        sys.modules['shapes'] = module
        return module
    try:
        f = store.calculated('f/x')(lambda x: x.g())
        for kind in ('A()', 'E.X', 'D(1)'):
            def get(m, kind=kind): return eval(kind, vars(m))
            old = get(make(source))
            assert f(old) == 2 and f.explain(old).fresh
            same = get(make(source))
            assert f.explain(same).fresh and f.ref(same) == f.ref(old), kind
            new = get(make(source.replace('return 2', 'return 3')))
            assert f.ref(new) == f.ref(old), 'an edit of the class gives no other name'
            assert f.explain(new).reason == 'code changed' and '`x`' in f.explain(new), f.explain(new)
            assert f(new) == 3 and f.explain(new).fresh
    finally: sys.modules.pop('shapes', None)


# One graph

def test_a_module_that_is_closed_over_counts_by_what_is_named_of_it(store, project):
    project.write('own_part', 'def g(): return 1\nother = 1\n')
    def make(lib):
        @store.calculated('f/x')
        def f(): return lib.g()
        return f
    f = make(project.load('own_part'))
    assert f() == 1
    sys.modules['own_part'].other = 2
    assert f.explain().fresh
    sys.modules['own_part'].g = lambda: 2
    assert f() == 2

def test_a_module_that_is_held_as_a_value_is_told(store, project):
    "Which of its names are used cannot be told; `uses=` takes all of it"
    project.write('own_part', 'def g(): return 1\n')
    part = project.load('own_part')
    class Held: lib = part
    def helper(lib=part): return lib.g()
    table = {'lib': part}
    for k, (f, name) in enumerate([(lambda: Held.lib.g(), 'Held.lib'), (lambda: helper(), r'helper.\(default 0\)'),
                                   (lambda: table['lib'].g(), 'table')]):
        with pytest.warns(UserWarning, match=f'`{name}` .the module own_part as a value'):
            store.calculated(f'f/told{k}')(f)
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            used = store.calculated(f'f/used{k}', uses=part)(f)
        assert used() == 1 and used.explain().reason == 'fresh'
        old, part.g = part.g, lambda: 2
        assert used() == 2
        part.g = old

def test_many_ways_are_one_part():
    for methods in (7, 9, 30):
        source = 'class A:\n' + ''.join(f'    def m{i}(self): return A, self.m{(i + 1) % methods}\n'
                                        for i in range(methods)) + 'def f(): return A().m0()'
        assert len(code_graph(cell(source)['f']).parts) == methods + 2
    levels = 'def g15_0(): return 1\ndef g15_1(): return 1\n' + ''.join(
        f'def g{i}_{k}(): return g{i + 1}_0() + g{i + 1}_1()\n' for i in range(14, -1, -1) for k in (0, 1))
    graph = code_graph(cell(levels + 'def f(): return g0_0() + g0_1()')['f'])
    assert len(graph.parts) == 33 and len(str(graph.shown())) < 10_000

@pytest.mark.parametrize('name', ['argparse', 'pathlib', 'fractions', 'typing'])
def test_a_function_added_to_a_module_of_python(store, project, name):
    text = Path(importlib.util.find_spec(name).origin).read_text()
    use = {'argparse': "ArgumentParser().parse_args(['x'] if 0 else []) is not None", 'pathlib': "str(Path('a')/'b')",
           'fractions': 'str(Fraction(1, 2))', 'typing': "str(Optional[int])"}[name]
    project.write(f'our_{name}', f'{text}\ndef f(): return {use}\n')
    module = project.load(f'our_{name}')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        f = store.calculated('f/x')(module.f)
        assert f() == module.f() and f.explain().fresh, f.explain()
        again = store.calculated('f/x')(project.load(f'our_{name}').f)
        assert again.explain().fresh, f'needless: {again.explain()}'

def own_calls(f) -> int:
    "How many functions of this library a call runs"
    count = 0
    def called(frame, event, arg):
        nonlocal count
        count += event == 'call' and f'{os.sep}objectstore{os.sep}' in frame.f_code.co_filename
    sys.setprofile(called)
    try: f()
    finally: sys.setprofile(None)
    return count

def test_a_call_that_is_fresh_costs_no_more_than_before_there_was_a_graph(store):
    "Counted in calls: time is another on each machine"
    none, one = store.calculated('f/none')(lambda: 1), store.calculated('f/one')(lambda n: n)
    for _ in range(2): none(), one(1)
    assert own_calls(none) <= 117 and own_calls(lambda: one(1)) <= 141
    source = ''.join(f'V{i} = {i}\ndef g{i}(): return V{i}{f" + g{i - 1}()" * (i > 0)}\n' for i in range(100))
    many = store.calculated('f/many')(cell(source + 'def f(): return g99()')['f'])
    for _ in range(2): many()
    assert len(many._code.graph().parts) == 201 and own_calls(many) <= 150       # none a part

def test_a_decoration_reads_neither_texts_nor_large_values(store, monkeypatch):
    "What it looks for is what cannot be counted"
    read = []
    np = pytest.importorskip('numpy')
    space = cell('rate, table = [1] * 1000, {"a": [big]}\ndef g(): return rate, big, table, s\ndef f(): return g()',
                 big=np.zeros(100_000), s=None)
    def noting(real): return lambda value: read.append(value) or real(value)
    monkeypatch.setattr(graphs, 'source_text', noting(graphs.source_text))
    monkeypatch.setattr(structure, '_text', noting(structure._text))
    monkeypatch.setattr(np, 'ascontiguousarray', noting(np.ascontiguousarray))
    f = store.calculated('f/x')(space['f'])
    assert [x for x in read if callable(x) or np.size(x) > 1] == []
    f.code()
    assert {1000, 100_000} <= {np.size(x) for x in read} and any(x is space['g'] for x in read)
    with socket.socket() as space['s'], pytest.warns(UserWarning, match='`g.s` .a socket.socket cannot be counted'):
        store.calculated('f/y')(space['f'])

def test_what_is_too_large_is_told_before_the_work(store):
    ran = []
    @store.calculated('f/x')
    def f(**more): ran.append(1)
    with pytest.raises(Unsupported, match='parameters'): f(**{f'parameter_{i}': i for i in range(30_000)})
    assert ran == []


# What it changes itself

def test_a_helper_redefined_while_it_calculates(store):
    space = cell('import threading\nat, go = threading.Event(), threading.Event()\ndef g(): return 2\ndef f():\n'
                 '    at.set()\n    x = g()\n    go.wait(60)\n    return x')
    f = store.calculated('f/x')(space['f'])
    t = threading.Thread(target=f)
    t.start()
    space['at'].wait(60)
    exec('def g(): return 3', space)
    space['go'].set(), t.join()
    assert f.explain().reason == 'code changed' and f() == 3 and f.explain().fresh
    exec('def g(): return 4', space)
    assert f() == 4

def test_counters_do_not_outdate_and_do_not_blind(store):
    space = cell("R = {'rate': 2, 'n': 0}\nlog = []\ndef f(x=1):\n    R['n'] += 1\n    log.append(x)\n    return "
                 "R['rate'] * x")
    f = store.calculated('f/x')(space['f'])
    assert [f(1), f(2), f(1), f(2)] == [2, 4, 2, 4] and space['log'] == [1, 2]
    space['R']['rate'] = 3
    assert [f(1), f(2), f(1), f(2)] == [3, 6, 3, 6] and len(space['log']) == 4


# What cannot be counted is said

def test_what_cannot_be_counted_is_said_once(store):
    space = cell('import socket\nclient = socket.socket()\ndef g(): return client\ndef f(x=1): return g() and x')
    with pytest.warns(UserWarning, match=r'`g.client` \(a socket.socket cannot be counted.*uses=') as told:
        f = store.calculated('f/x')(space['f'])
    assert told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert f() == 1 and f(2) == 2
    says = f.explain()
    assert says.fresh and says.reason != 'fresh' and 'not counted: `g.client` (a socket' in says, says
    assert 'g.client' in says.not_counted and 'g' in says.counts
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        f = store.calculated('f/y', uses={'g.client': 'host 1'})(space['f'])
    assert f() == 1 and f.explain().reason == 'fresh'
    f = store.calculated('f/y', uses={'g.client': 'host 2'})(space['f'])
    assert f.explain().reason == 'code changed'
    with pytest.raises(Unsupported, match='uses= cannot count'):
        store.calculated('f/z', uses=space['client'])(lambda: 1)
    space['client'].close()

def test_locks_loggers_and_pools_are_no_news(store):
    space = cell('import threading, logging\nfrom concurrent.futures import ThreadPoolExecutor\nlock = '
                 'threading.Lock()\n' 'log = logging.getLogger("a")\npool = ThreadPoolExecutor(1)\n'
                 'def f():\n    with lock: log.debug("x")\n    return pool.submit(int, 1).result()')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        f = store.calculated('f/x')(space['f'])
        assert f() == 1 and f.explain().reason == 'fresh'

def test_explain_lists_what_counts(store):
    space = (cell('import numpy as np\nR = 2\nclass A:\n    def g(self): return R\ndef f(): return '
                  'int(np.sqrt(A().g()))'))
    says = store.calculated('f/x')(space['f']).explain()
    assert says.counts == {'f': 'function', 'A': 'class', 'A.g': 'function', 'A.g.R': 'value'}
    assert says.not_counted == {'numpy': 'an installed package'}
    assert 'A.g.R' in says.look()._repr_html_() if hasattr(says.look(), '_repr_html_') else True


# uses=

USES = {
    'default': ('def g(x=2): return x', 'x=2', 'x=3'), 'lru_cache': ('@functools.cache\ndef g(): return 2', '2', '3'),
    'partial': ('def h(x): return x\ng = functools.partial(h, 2)', 'h, 2', 'h, 3'),
    'wrapped': ('def w(fn):\n    @functools.wraps(fn)\n    def call(): return fn() + 2\n    return call\n@w\ndef g(): '
                'return 1', '+ 2', '+ 3'),
    'instance': ('class A:\n    def __init__(self): self.n = 2\ng = A()', 'n = 2', 'n = 3'),
    'class_of_an_instance': ('class A:\n    def go(self): return 2\ng = A()', '2', '3'),
    'table': ("def h(): return 2\ng = {'a': h}", '2', '3'), 'list': ('g = [1, 2]', '2', '3'),
    'method': ('class A:\n    def go(self): return 2\ng = A().go', '2', '3'),
    'class': ('class g:\n    n = 2', '2', '3'),
}

@pytest.mark.parametrize('version', [None, '1'])
@pytest.mark.parametrize('kind', USES)
def test_what_it_declares_to_use(store, kind, version):
    source, old, new = USES[kind]
    def make(text): return store.calculated('f/x', version=version, uses=cell(HEAD + text)['g'])(lambda: 1)
    assert make(source)() == 1 and make(source).explain().fresh, make(source).explain()
    assert make(source.replace(old, new)).explain().reason == 'code changed'

def test_modules_that_it_declares_to_use(store, project):
    import math, numpy
    for m in (math, numpy, sys):
        f = store.calculated('f/x', uses=m)(lambda: 1)
        assert f() == 1 and f.explain().fresh
    project.write('helpers', 'def g(): return 2')
    f = store.calculated('f/y', uses=project.load('helpers'))(lambda: 1)
    assert f() == 1
    assert store.calculated('f/y', uses=project.load('helpers'))(lambda: 1).explain().fresh
    project.write('helpers', 'def g(): return 3')
    assert store.calculated('f/y', uses=project.load('helpers'))(lambda: 1).explain().reason == 'code changed'

def test_a_record_of_before(store):
    "What less of the code was in is calculated once more; what names a version is as fresh as it was"
    def put(function):
        from objectstore.refs import parse_ref
        with store._drafted(parse_ref('f/x'), 1, None, None, None) as d:
            d.description['lineage'] |= {'function': function, 'params': {}, 'inputs': []}
            store._put_or_wait(parse_ref('f/x'), d, None, False)
    f = store.calculated('f/x')(lambda: 2)
    put({'name': 'f', 'code': {'': 'source:0' * 4}, 'own': ['calls']})
    assert f.explain().reason == 'code changed' and 'from before' in f.explain() and f() == 2 and f() == 2
    put({'name': 'f', 'code': {'': 'version 1'}, 'version': '1'})
    assert store.calculated('f/x', version='1')(lambda: 2).explain().fresh
    assert store.calculated('f/x', version='1', uses=[1])(lambda: 2).explain().reason == 'code changed'
