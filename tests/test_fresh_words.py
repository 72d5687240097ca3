"""What `explain()` says after an edit of each kind: what has changed, and where"""
import importlib, socket, warnings
import pytest
from objectstore import ObjectStore
from test_fresh_code import cell

pytestmark = pytest.mark.usefixtures('own_cache')

@pytest.fixture
def store(): return ObjectStore('memory://', progress=False)

HEAD = 'import dataclasses, enum, functools, math, pathlib, re, socket\nimport numpy as np\n'

# What is edited, the program, texts in it and what stands in their place, and what `explain()` says then
EDITS = [
    ('helper',
     'def g(): return 1\n'
     'def f(): return g()',
     ('return 1', 'return 2'),
     'the function `g` has changed'),
    ("helper's helper",
     'def h(): return 1\n'
     'def g(): return h()\n'
     'def f(): return g()',
     ('return 1', 'return 2'),
     'the function `h` (as `g.h`) has changed'),
    ('the function itself',
     'def f(): return 1',
     ('return 1', 'return 2'),
     'the source of f has changed'),
    ('wrapped helper: the helper',
     'def retry(k):\n'
     '    def deco(fn):\n'
     '        @functools.wraps(fn)\n'
     '        def call(*a): return [fn(*a) for _ in range(2)][-1] * k\n'
     '        return call\n'
     '    return deco\n'
     '@retry(3)\n'
     'def g(): return 1\n'
     'def f(): return g()',
     ('return 1', 'return 2'),
     'the function `g` (as `g.fn`) has changed'),
    ('wrapped helper: its decorator',
     'def retry(k):\n'
     '    def deco(fn):\n'
     '        @functools.wraps(fn)\n'
     '        def call(*a): return [fn(*a) for _ in range(2)][-1] * k\n'
     '        return call\n'
     '    return deco\n'
     '@retry(3)\n'
     'def g(): return 1\n'
     'def f(): return g()',
     ('range(2)', 'range(3)'),
     'the function `retry.deco.call` (as `g`) has changed'),
    ('wrapped helper: argument of the decorator',
     'def retry(k):\n'
     '    def deco(fn):\n'
     '        @functools.wraps(fn)\n'
     '        def call(*a): return [fn(*a) for _ in range(2)][-1] * k\n'
     '        return call\n'
     '    return deco\n'
     '@retry(3)\n'
     'def g(): return 1\n'
     'def f(): return g()',
     ('retry(3)', 'retry(4)'),
     'the function `g` (as `g.fn`) and `k` (int), which `g` closes over, have changed'),
    ('decorator of the function itself',
     'def retry(k):\n'
     '    def deco(fn):\n'
     '        @functools.wraps(fn)\n'
     '        def call(*a): return [fn(*a) for _ in range(2)][-1] * k\n'
     '        return call\n'
     '    return deco\n'
     '@retry(3)\n'
     'def f(): return 1',
     ('retry(3)', 'retry(4)'),
     'the function `f` (as `fn`) and `k` (int), which it closes over, have changed'),
    ('decorators in another order',
     'def retry(k):\n'
     '    def deco(fn):\n'
     '        @functools.wraps(fn)\n'
     '        def call(*a): return [fn(*a) for _ in range(2)][-1] * k\n'
     '        return call\n'
     '    return deco\n'
     'def plus(fn):\n'
     '    @functools.wraps(fn)\n'
     '    def call(): return fn() + 1\n'
     '    return call\n'
     '@retry(3)\n'
     '@plus\n'
     'def g(): return 1\n'
     'def f(): return g()',
     ('@retry(3)\n@plus', '@plus\n@retry(3)'),
     'the function `plus.call` (as `g`), the function `retry.deco.call` (as `g.fn`) and the function `g` (as '
     '`g.fn.fn`) have changed; `g.fn.k` is new; `g.k` is gone'),
    ('decorator removed',
     'def retry(k):\n'
     '    def deco(fn):\n'
     '        @functools.wraps(fn)\n'
     '        def call(*a): return [fn(*a) for _ in range(2)][-1] * k\n'
     '        return call\n'
     '    return deco\n'
     '@retry(3)\n'
     'def g(): return 1\n'
     'def f(): return g()',
     ('@retry(3)\n', ''),
     'the function `g` has changed; `g.fn` and `g.k` are gone'),
    ('lru_cache',
     '@functools.lru_cache\n'
     'def g(): return 1\n'
     'def f(): return g()',
     ('return 1', 'return 2'),
     'the function `g` (as `g.g`) has changed'),
    ('lru_cache added',
     'def g(): return 1\n'
     'def f(): return g()',
     ('def g', '@functools.lru_cache\ndef g'),
     'the value `g` (lru_cache_wrapper) has changed; `g.g` is new'),
    ('partial: its argument',
     'def g(x): return x\n'
     'h = functools.partial(g, 1)\n'
     'def f(): return h()',
     ('g, 1', 'g, 2'),
     'the value `h` (partial) has changed'),
    ('partial: its function',
     'def g(x): return x\n'
     'h = functools.partial(g, 1)\n'
     'def f(): return h()',
     ('return x', 'return x + 1'),
     'the function `g` (as `h.g`) has changed'),
    ('bound method',
     'class M:\n'
     '    def step(self): return 1\n'
     'go = M().step\n'
     'def f(): return go()',
     ('return 1', 'return 2'),
     'the method `M.step` (as `go.step`) has changed'),
    ('bound method: its object',
     'class M:\n'
     '    def __init__(self, r): self.r = r\n'
     '    def step(self): return self.r\n'
     'go = M(1).step\n'
     'def f(): return go()',
     ('M(1)', 'M(2)'),
     'the value `go` (method) has changed'),
    ('table of callables',
     'def a(): return 1\n'
     'def b(): return 5\n'
     'T = {"a": a, "b": b}\n'
     'def f(): return T["a"]()',
     ('return 1', 'return 2'),
     'the function `a` (as `T.a`) has changed'),
    ('table of callables: lambda',
     'T = {"a": lambda: 1}\n'
     'def f(): return T["a"]()',
     ('lambda: 1', 'lambda: 2'),
     'the function `<lambda>` (as `T.<lambda>`) has changed'),
    ('table of callables: another',
     'def a(): return 1\n'
     'def b(): return 5\n'
     'T = {"a": a, "b": b}\n'
     'def f(): return T["a"]()',
     ('"a": a', '"a": b'),
     'the value `T` (dict) has changed; `T.a` is gone'),
    ('class: attribute',
     'class M:\n'
     '    rate = 1\n'
     'def f(): return M.rate',
     ('rate = 1', 'rate = 2'),
     'the value `M.rate` (int) has changed'),
    ('class: attribute added',
     'class M:\n'
     '    rate = 1\n'
     'def f(): return M.rate',
     ('rate = 1', 'rate = 1\n    more = 2'),
     '`M.more` is new'),
    ('method',
     'class M:\n'
     '    def step(self): return 1\n'
     'def f(): return M().step()',
     ('return 1', 'return 2'),
     'the method `M.step` has changed'),
    ('method added',
     'class M:\n'
     '    def step(self): return 1\n'
     'def f(): return M().step()',
     ('class M:\n', 'class M:\n    def __len__(self): return 0\n'),
     '`M.__len__` is new'),
    ('method removed',
     'class M:\n'
     '    def __len__(self): return 0\n'
     '    def step(self): return 1\n'
     'def f(): return M().step()',
     ('    def __len__(self): return 0\n', ''),
     '`M.__len__` is gone'),
    ('inherited method',
     'class B:\n'
     '    def step(self): return 1\n'
     'class M(B): pass\n'
     'def f(): return M().step()',
     ('return 1', 'return 2'),
     'the method `B.step` (as `M.B.step`) has changed'),
    ('bases in another order',
     'class A: r = 1\n'
     'class B: r = 2\n'
     'class M(A, B): pass\n'
     'def f(): return M.r',
     ('A, B', 'B, A'),
     'the class `M`, or what it is derived from, has changed'),
    ('base added',
     'class A: r = 1\n'
     'class M: r = 3\n'
     'def f(): return M.r + (A is None)',
     ('class M:', 'class M(A):'),
     'the class `M`, or what it is derived from, has changed'),
    ('property',
     'class M:\n'
     '    @property\n'
     '    def r(self): return 1\n'
     'def f(): return M().r',
     ('return 1', 'return 2'),
     'the method `M.r` has changed'),
    ('staticmethod becomes classmethod',
     'class M:\n'
     '    @staticmethod\n'
     '    def go(*a): return len(a)\n'
     'def f(): return M.go()',
     ('staticmethod', 'classmethod'),
     'the method `M.go` has changed'),
    ('dataclass: default',
     '@dataclasses.dataclass\n'
     'class M:\n'
     '    r: int = 1\n'
     'def f(): return M().r',
     ('= 1', '= 2'),
     'the value `M.r` (int) and the default of `r` in `M.__init__` have changed'),
    ('enum: value',
     'class E(enum.Enum):\n'
     '    A = 1\n'
     'def f(): return E.A.value',
     ('A = 1', 'A = 2'),
     'a member of `E` has changed'),
    ('module value: number',
     'RATE = 1\n'
     'def f(): return RATE',
     ('RATE = 1', 'RATE = 2'),
     'the value `RATE` (int) has changed'),
    ('module value: text',
     'NAME = "a"\n'
     'def f(): return NAME',
     ('"a"', '"b"'),
     'the value `NAME` (str) has changed'),
    ('module value: list',
     'L = [1, 2]\n'
     'def f(): return sum(L)',
     ('1, 2', '1, 3'),
     'the value `L` (list) has changed'),
    ('module value: dict',
     'D = {"rate": 1, "b": 2}\n'
     'def f(): return D["rate"]',
     ('"rate": 1', '"rate": 2'),
     'the value `D` (dict) has changed'),
    ('module value: array',
     'A = np.arange(3)\n'
     'def f(): return int(A.sum())',
     ('arange(3)', 'arange(4)'),
     'the value `A` (ndarray) has changed'),
    ('module value: Path',
     'P = pathlib.Path("a")\n'
     'def f(): return str(P)',
     ('"a"', '"b"'),
     'the value `P` (PosixPath) has changed'),
    ('module value: regular expression',
     'R = re.compile("a")\n'
     'def f(): return R.pattern',
     ('"a"', '"b"'),
     'the value `R` (Pattern) has changed'),
    ('module value: instance',
     'class M:\n'
     '    def __init__(self, r): self.r = r\n'
     'm = M(1)\n'
     'def f(): return m.r',
     ('M(1)', 'M(2)'),
     'the value `m` (M) has changed'),
    ('module value: its type',
     'X = 1\n'
     'def f(): return X',
     ('X = 1', 'X = 1.0'),
     'the value `X` (float) has changed'),
    ('module value removed',
     'RATE = 1\n'
     'def f():\n'
     '    try: return RATE\n'
     '    except NameError: return 7',
     ('RATE = 1\n', ''),
     '`RATE` is gone'),
    ('closure',
     'def make(k):\n'
     '    def f(): return k\n'
     '    return f\n'
     'f = make(1)',
     ('make(1)', 'make(2)'),
     '`k` (int), which it closes over, has changed'),
    ('closure of a helper',
     'def make(k):\n'
     '    def g(): return k\n'
     '    return g\n'
     'g = make(1)\n'
     'def f(): return g()',
     ('make(1)', 'make(2)'),
     '`k` (int), which `g` closes over, has changed'),
    ('default of a helper',
     'def g(x=1): return x\n'
     'def f(): return g()',
     ('x=1', 'x=2'),
     'the default of `x` in `g` has changed'),
    ('keyword default of a helper',
     'def g(*, x=1): return x\n'
     'def f(): return g()',
     ('x=1', 'x=2'),
     'the default of `x` in `g` has changed'),
    ('operator',
     'def g(a): return a + 2\n'
     'def f(): return g(1)',
     ('a + 2', 'a - 2'),
     'the function `g` has changed'),
    ('two at once',
     'RATE = 1\n'
     'def g(): return 1\n'
     'def f(): return g() + RATE',
     ('= 1', '= 2', 'return 1', 'return 3'),
     'the value `RATE` (int) and the function `g` have changed'),
    ('five at once',
     'V0 = 1\n'
     'V1 = 1\n'
     'V2 = 1\n'
     'V3 = 1\n'
     'V4 = 1\n'
     'def f(): return V0 + V1 + V2 + V3 + V4',
     ('= 1', '= 2'),
     'the value `V0` (int), the value `V1` (int), the value `V2` (int) and 2 more have changed'),
    ('names an installed function instead',
     'g = math.sin\n'
     'def f(): return g(0)',
     ('math.sin', 'math.cos'),
     'what it names of installed packages has changed'),
    ('uses= a function',
     'def g(): return 1\n'
     'uses = (g,)\n'
     'def f(): return 3',
     ('return 1', 'return 2'),
     'the function `g` (in `uses=`) has changed'),
    ('uses= a number',
     'uses = (1,)\n'
     'def f(): return 3',
     ('(1,)', '(2,)'),
     'item `0` in `uses=` (int) has changed'),
    ('uses= a mapping',
     'uses = ({"client": "host 1"},)\n'
     'def f(): return 3',
     ('host 1', 'host 2'),
     'item `0` in `uses=` (dict) has changed'),
    ('version=',
     'version = 1\n'
     'def f(): return 3',
     ('version = 1', 'version = 2'),
     'it is now of version 2, and was of version 1'),
    ('version= given now',
     'def f(): return 3',
     ('def f', 'version = 1\ndef f'),
     'it is now of version 1, and was without `version=`'),
    ('version= not given any more',
     'version = 1\n'
     'def f(): return 3',
     ('version = 1\n', ''),
     'it is now without `version=`, and was of version 1'),
    ('cannot be counted any more',
     's = 3\n'
     'def f(): return 1 if s else 2',
     ('s = 3', 's = socket.socket()'),
     'the value `s` (socket) has changed'),
    ('class of an argument',
     'class M:\n'
     '    def __init__(self): self.r = 1\n'
     '    def step(self): return self.r\n'
     'def f(m): return m.step()\n'
     'args = (M(),)',
     ('return self.r', 'return self.r + 1'),
     'the code that the parameter `m` (of type M) is made of has changed'),
]

def calculated(store, source: str):
    "The function of a program, and the arguments to call it with"
    space = cell(HEAD + source)
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'f: a change of')
        f = store.calculated('f/x', version=space.get('version'), uses=space.get('uses', ()))(space['f'])
    return f, space.get('args', ())

@pytest.mark.parametrize('source, edit, says', [e[1:] for e in EDITS], ids=[e[0] for e in EDITS])
def test_what_has_changed_is_said(store, source, edit, says):
    f, args = calculated(store, source)
    f(*args)
    assert str(f.explain(*args)).startswith('fresh: f/x') and str(f.explain(*args)).endswith(
        '@1 was made by this code from these inputs')
    for before, after in zip(edit[::2], edit[1::2]):
        assert before in source
        source = source.replace(before, after)
    f, args = calculated(store, source)
    assert str(f.explain(*args)) == f'code changed: {says}'

def test_where_it_is_defined_is_said(store, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    def load(text, rate):
        (tmp_path/'own_lib.py').write_text(f'RATE = {rate}\n\ndef helper(): {text}\n')
        importlib.invalidate_caches()
        import own_lib
        return importlib.reload(own_lib)
    monkeypatch.setattr('sys.dont_write_bytecode', True)
    lib = load('return 1', 2)
    @store.calculated('f/x')
    def f(): return lib.helper() * lib.RATE
    f()
    load('return 1000', 2)
    assert f.explain().why == 'the function `helper` (own_lib.py, line 3, as `lib.helper`) has changed'
    load('return 1', 33)
    assert f.explain().why == 'the value `lib.RATE` (int, in own_lib.py) has changed'

def test_what_is_not_counted_is_said(store):
    "Both in the answer and in the warning; of a table, which of its values"
    with socket.socket() as s:
        table = {'rate': 1, 'client': s}
        def f(): return table['rate']
        with pytest.warns(UserWarning) as told: f = store.calculated('f/x')(f)
    what = "`table['client']` (a socket.socket cannot be counted: cannot pickle 'socket' object)"
    assert (str(told[0].message)
            == (f'{f.__qualname__}: a change of {what} is not seen, and results stay fresh: say what '
                """stands for it, uses={"table['client']": ...}, or make it a parameter"""))
    f()
    assert str(f.explain()) == ('fresh as far as it counts: f/x@1 was made by this code from these inputs; not '
                                'counted: ' + what)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        g = store.calculated('f/y', uses={"table['client']": 'host 1'})(f.fn)
    g()
    assert g.explain().reason == 'fresh'

def test_a_function_as_an_argument_is_a_part_of_the_name(store):
    f = store.calculated('f/x')(lambda h: h())
    assert str(f.explain(lambda: 1)).endswith(' yet (the code of `h` is a part of its name)')
