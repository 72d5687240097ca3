"Reprs: no stored text becomes markup, a link, a terminal sequence or code, in any of the three forms"
import re, unicodedata
from datetime import date, datetime, timedelta, timezone
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from objectstore.display import Card, Size, Table, human_number, human_size, human_time, shown, to_markdown, visible
from trial import soak

EVIL = ['<script>alert(1)</script>', '<img src=x onerror=alert(1)>', '[x](javascript:alert(1))',
        '![x](http://evil/x.png)', '<javascript:alert(1)>', '"><b>', "' onmouseover='x", '</style></div><h1>',
        '| a | b |\n|---|---|', '```\ncode', '`code`', '**bold** _em_ ~~del~~', '# heading', '- list', '1. list',
        '1) list', '===', '---', '    code', '> quote', '\x1b[31mred\x1b[0m', '\x9b31m', '\u202egpj.exe', 'a\u200bb',
        'http://evil.example/x', 'www.evil.example', '&lt;b&gt; &amp;', '&#60;b&#62;', '\\', '\\|', 'a\\', '$x^2$',
        '$$\\href{javascript:alert(1)}{x}$$', '\\(x\\)', '[^1]', '[a]: http://x', ':::{raw} html', '{{x}}', '{% x %}',
        '\ud800', '\x00', '\r', '\u2028', '\ufeff', '\u3164', '\U000e0041', 'مرحبا', '日本', 'e' + '\u0301' * 50, '']
evil = st.one_of(st.sampled_from(EVIL), st.text(max_size=30), st.lists(st.sampled_from(EVIL), max_size=3).map(''.join))
values = st.recursive(st.one_of(evil, st.none(), st.booleans(), st.integers(), st.floats(), st.dates(), st.datetimes(),
                                st.binary(max_size=5)),
                      lambda v: st.one_of(st.lists(v, max_size=3), st.dictionaries(evil, v, max_size=3)), max_leaves=5)
tables = st.builds(lambda h, rows, c, f: Table(h, rows, caption=c, footer=f), st.lists(evil, min_size=1, max_size=3),
                   st.lists(st.lists(values, max_size=4), max_size=4), evil, evil)
cards = st.builds(lambda t, s, f, g, tab: Card(t, s, f, {**g, 'table': tab}), evil, evil,
                  st.dictionaries(evil, values, max_size=3),
                  st.dictionaries(evil, st.dictionaries(evil, values, max_size=2), max_size=2), tables)
things = st.one_of(tables, cards)

TAGS = {'div', 'style', 'p', 'table', 'thead', 'tbody', 'tr', 'th', 'td', 'dl', 'dt', 'dd'}
CLASSES = {'objectstore-shown', 'tex2jax_ignore', 'mathjax_ignore', 'os-t', 'os-n', 'os-w', 'os-d', 'os-title',
           'os-part', 'os-more'}

class Reader(HTMLParser):
    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.open, self.seen, self.styles = [], [], 0
        self.feed(html); self.close()
    def handle_starttag(self, tag, attrs):
        assert tag in TAGS, tag
        for k, v in attrs: assert (k, v) == ('scope', 'col') or k == 'class' and set(v.split()) <= CLASSES, (k, v)
        self.open.append(tag)
    def handle_endtag(self, tag): assert self.open.pop() == tag
    def handle_startendtag(self, tag, attrs): raise AssertionError(tag)
    def handle_comment(self, data): raise AssertionError(data)
    handle_decl = handle_pi = unknown_decl = handle_comment
    def handle_data(self, data):
        if self.open[-1] == 'style': self.styles += 1
        else: self.seen.append(data)

def nothing_unseen(text, but=''):
    assert not [c for c in text if unicodedata.category(c) in ('Cc', 'Cf', 'Cs', 'Zl', 'Zp')
                and c not in but], repr(text)

@settings(max_examples=soak(100, 1000), deadline=None)
@given(things)
def test_html(thing):
    html = thing.html()
    r = Reader(html)
    assert r.open == [] and r.styles == 1
    for s in r.seen: nothing_unseen(s)
    assert html.encode() and not re.search(r'https?://|url\(|@import|<script|javascript:', html.split('</style>')[0])

@settings(max_examples=soak(100, 1000), deadline=None)
@given(things)
def test_text(thing):
    nothing_unseen(repr(thing), but='\n')
    assert len(repr(thing)) < 10_000

def md_tokens(text):
    md = pytest.importorskip('markdown_it').MarkdownIt('commonmark', {'html': True}).enable(['table', 'strikethrough'])
    for t in md.parse(text):
        yield t
        yield from t.children or []

ALLOWED = {'paragraph_open', 'paragraph_close', 'inline', 'text', 'strong_open', 'strong_close', 'text_special',
           'table_open', 'table_close', 'thead_open', 'thead_close', 'tbody_open', 'tbody_close', 'tr_open', 'tr_close',
           'th_open', 'th_close', 'td_open', 'td_close'}

@settings(max_examples=soak(150, 1500), deadline=None)
@given(things)
def test_markdown(thing):
    text = thing.markdown()
    nothing_unseen(text, but='\n')
    assert {t.type for t in md_tokens(text)} <= ALLOWED, text

@settings(max_examples=soak(150, 1500), deadline=None)
@given(evil)
def test_markdown_of_a_line_says_the_same(text):
    line = visible(text).strip()
    said = ''.join(t.content for t in md_tokens(to_markdown(line)) if t.type in ('text', 'text_special'))
    assert said == line

@pytest.mark.parametrize('text', EVIL)
def test_each_form_of_each_evil(text):
    t = Table([text], [[text], [[text]], [{text: text}]], caption=text, footer=text)
    c = Card(text, text, {text: text}, {text: {text: [text]}, 'x': t})
    for thing in (t, c):
        b = thing._repr_mimebundle_()
        assert list(b) == ['text/plain', 'text/html', 'text/markdown']
        Reader(b['text/html'])
        assert 'http://evil' not in b['text/markdown'] and 'www.evil' not in b['text/markdown']
        assert {x.type for x in md_tokens(b['text/markdown'])} <= ALLOWED

def test_at_most_twenty_rows():
    def endless():
        n = 0
        while True: n += 1; yield [n]
    assert len(Table(['n'], endless()).rows) == 20 and repr(Table(['n'], endless())).endswith('… and more')
    assert '… 9,980 more' in repr(Table(['n'], [[i] for i in range(10_000)])) and Table(['n'], [[1]]).more() == ''
    assert (Table(['n'], [[i] for i in range(20)]).more() == ''
            and Table(['n'], [[i] for i in range(21)]).more() == '… 1 more')
    assert '… 5 more' in repr(Card('a', fields={str(i): i for i in range(25)}))
    assert repr(Table(['n'], [], caption='nothing here; did you mean x?')) == 'nothing here; did you mean x?'

def test_big_values_are_cut():
    big = Table(['a'], [['x' * 10**7], [['y' * 10**6] * 1000], [{str(i): 'z' * 10**5 for i in range(1000)}], [10**5000],
                        [b'x' * 10**6]])
    assert (len(repr(big)) < 800 and len(big.html()) < 6000
            and len(Card('t', 'd' * 10**7, {'k' * 10**6: 'v' * 10**7}).markdown()) < 1200)
    deep = []
    for _ in range(50_000): deep = [deep]
    assert '…' in shown(deep)

def test_columns():
    t = Table(['n', 'size', 'name', 'when', 'flag'],
              [(1, Size(10), 'a', date(2026, 11, 1), True),
               (12_345, Size(2_000_000), 'b', datetime(2026, 11, 1), None)])
    assert [t.numeric(i) for i in range(5)] == [True, True, False, False, False]
    assert repr(t).splitlines()[2] == '12,345  2.0 MB  b     2026-11-01 00:00 UTC'
    assert '| ---: | ---: | --- | --- | --- |' in t.markdown()
    assert Table(['a', 'b'], [[1], [1, 2, 3]]).cells() == [['1', ''], ['1', '2']]

def test_values():
    class Nasty:
        def __repr__(self): raise AssertionError('code of a stored object ran')
        __str__ = __format__ = __repr__
    assert shown(Nasty()) == '<Nasty>' and shown([Nasty()]) == '<Nasty>'
    assert [shown(v) for v in (float('nan'), 123456.0, 99_999.94, -12_345, 0.1 + 0.2, timedelta(hours=1),
                               Path('a/b'))] == ['NaN', '123,456', '99,999.9', '-12,345', '0.3', '1:00:00', 'a/b']
    assert (human_time(datetime.max.replace(tzinfo=timezone(timedelta(hours=-5))))
            and human_time(datetime.min.replace(tzinfo=timezone(timedelta(hours=5)))))
    assert ([human_size(n) for n in (999_499, 999_500, 10**21, 10**30)][:2] == ['999 kB', '1.0 MB']
            and human_size(10**30))

@settings(max_examples=soak(120, 1200), deadline=None)
@given(st.floats(-1e300, 1e300))
def test_numbers_stay_near_themselves(v): assert abs(float(human_number(v).replace(',', '')) - v) <= abs(v) * 1e-3

def test_numpy_and_pandas():
    np = pytest.importorskip('numpy')
    assert [shown(v) for v in (np.int64(12_345), np.float32(0.5), np.bool_(True), np.array(3), np.zeros(3),
                               np.datetime64('2026-11-01'))] == [
                                   '12,345', '0.5', 'True', '3', '<ndarray>', '2026-11-01']
    pd = pytest.importorskip('pandas')
    assert [shown(v) for v in (pd.NaT, pd.Timestamp('2026-11-01T12:04', tz='UTC'), pd.NA)] == [
        '', '2026-11-01 12:04 UTC', '<NAType>']
