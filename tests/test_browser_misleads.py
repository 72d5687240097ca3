"""The browser: what is highlighted, shown and acted on is one version; what is left out is counted; nothing is lost in
a saved page"""
import re
import pandas as pd, pytest
from objectstore import ObjectStore, browse
from objectstore.browser.widget import Browser, picture
from planting import spare
from test_browser import answer, button, store, version_rows      # noqa: F401

pytestmark = pytest.mark.filterwarnings('ignore::DeprecationWarning', 'ignore::objectstore.errors.PendingWarning',
                                        'ignore::objectstore.errors.StaleWarning')

def at(p) -> dict:
    """What a person sees highlighted in the list and among the versions, what the panes and the foot say, and what the
    kernel looks at"""
    seen = p.evaluate("""() => {
      const t = s => document.querySelector(s)
      const on = t('.osb-body .osb-row.osb-on'), v = t('.osb-list .osb-v.osb-on')
      return { row: on ? on.title.split('\\n')[0] : null, version: v ? v.title.split('\\n')[0] : null,
               title: t('.osb-title').title, foot: t('.osb-acts')?.title ?? null,
               remove: [...document.querySelectorAll('.osb-does button')]
                 .some(b => b.innerText === 'Remove …' && !b.disabled) } }""")
    return seen | {'value': str(p.w.value) if p.w.value else None}

def one(ref: str | None, row: str | None) -> dict:
    return {'row': row, 'version': ref, 'title': ref or '', 'foot': ref, 'remove': ref is not None, 'value': ref}

def removes(p) -> str:
    "The version that the foot would remove"
    button(p, 'Remove …').click()
    said = p.text('.osb-dialog p')
    p.keyboard.press('Escape')
    return said.split(':')[0]


# What is highlighted is what is acted on

def test_the_chip_of_an_alias_is_what_the_foot_acts_on(show, store):
    p = show(store)
    p.pick('churn')
    assert at(p) == one('models/churn@3', 'models/churn@3')
    p.locator('.osb-chip', has_text='production').click(); p.settle()
    assert (at(p) == one('models/churn@2', 'models/churn@2') and removes(p) == 'models/churn@2'
            and '0.913' in p.text('.osb-panel'))
    p.locator('.osb-chip', has_text='production').click(); p.settle()
    assert at(p) == one('models/churn@3', 'models/churn@3')

def test_a_list_that_had_grown_before_it_was_shown_is_followed_like_any_other(show, store):
    "A bucket that is still read is told in parts; where the page meets the second part first, that is its first list"
    w = Browser(store, names={}).wait()
    w.page = {**w.page, 'grown': True}
    p = show(store, w=w)
    p.pick('churn')
    assert at(p) == one('models/churn@3', 'models/churn@3')
    p.locator('.osb-chip', has_text='production').click(); p.settle()
    assert at(p) == one('models/churn@2', 'models/churn@2')

def test_no_match_leaves_nothing_to_act_on(show, store):
    p = show(store)
    p.pick('churn')
    p.search('nothing like this')
    assert at(p) == one(None, None) and p.w.selected == [] and p.locator('.osb-does button:enabled').count() == 0
    assert p.text('.osb-list') == 'Pick an item to see its versions.' and 'Pick an item' in p.text('.osb-panel')
    button(p, 'Clear the search').click(); p.settle()
    assert at(p) == one('models/churn@3', 'models/churn@3')          # what was looked at before is looked at again

def test_what_a_search_leaves_out_is_not_acted_on(show, store):
    p = show(store)
    p.pick('churn')
    p.locator('.osb-v', has_text='v1').click(); p.settle()
    # the row is of its item, and says v3
    assert at(p) == one('models/churn@1', None) and p.locator('.osb-row.osb-of').count() == 1
    p.search('daily')
    assert at(p) == one(None, None)
    p.search('churn')
    assert at(p) == one('models/churn@1', None)
    p.w.refresh(); p.settle()
    assert at(p) == one('models/churn@1', None)                       # asking again changes nothing
    p.select_option('.osb-bucket', 'sales'); p.settle()
    assert at(p) == one(None, None)

def test_no_match_after_an_alias_comes_back_to_what_the_list_says(show, store):
    p = show(store)
    p.pick('churn')
    p.search('@production')
    assert at(p) == one('models/churn@2', 'models/churn@2')
    p.search('nothing'); p.search('')
    assert at(p) == one('models/churn@3', 'models/churn@3')

def test_a_click_in_a_lineage_is_what_the_foot_acts_on(show, store):
    store.copy('models/churn@1', 'archive/churn')
    p = show(store)
    p.pick('archive')
    assert at(p) == one('archive/churn@1', 'archive/churn@1')
    p.tab('Lineage'); button(p, 'models/churn@1').click(); p.settle()
    assert at(p) == one('models/churn@1', None) and removes(p) == 'models/churn@1'
    assert 'models/churn' in p.text('.osb-row.osb-of .osb-text')      # the cursor went with it
    p.search('archive'); p.pick('archive')
    p.tab('Lineage'); button(p, 'models/churn@1').click(); p.settle()
    # it is in no row of this list
    assert at(p) == one('models/churn@1', None) and p.locator('.osb-row.osb-on, .osb-row.osb-of').count() == 0

def test_the_foot_follows_the_cursor_at_once(show, store):
    p = show(store)
    p.pick('churn')
    p.busy = True                                                     # no answer comes
    p.locator('.osb-grid').focus(); p.keyboard.press('ArrowUp')
    seen = at(p)
    assert (seen['row'] == seen['foot'] == seen['title'] != 'models/churn@3' and seen['version'] is None
            and removes(p) == seen['row'])

def test_a_folder_is_nothing_to_act_on(show, store):
    p = show(store, 'sales')
    p.pick('daily')
    button(p, 'Folders').click(); p.settle()
    assert at(p) == one('sales/daily@2', 'sales/daily@2')
    p.locator('.osb-grid').focus(); p.keyboard.press('Home'); p.settle()
    assert p.text('.osb-row.osb-on .osb-text') == '2026/' and at(p) == one(None, '') | {'row': ''}

def test_a_row_that_is_not_here_yet_is_nothing_to_act_on(show):
    s = ObjectStore('memory://', progress=False, durable=False)
    s.put_many([(f'lab/item-{i:03}', i) for i in range(700)])
    p = show(s)
    p.pick('item-')
    until(p, "document.querySelector('.osb').dataset.status === 'ready'")
    p.busy = True                                                     # what is asked for does not come
    p.locator('.osb-grid').focus(); p.keyboard.press('End')
    seen = at(p)
    assert seen['foot'] is None and not seen['remove']
    p.free(); p.settle()
    until(p, "document.querySelector('.osb-row.osb-on .osb-text')")
    p.settle()
    assert at(p)['row'] == at(p)['foot'] == at(p)['value'] is not None

LAST = 'models/churn@2'             # the last of 121 rows, when the newest are first: a list tells 100 at once

@pytest.fixture
def long(show):
    s = ObjectStore('memory://', progress=False, durable=False)
    for auc in (0.87, 0.91): s.put('models/churn', {'auc': auc}, metadata={'auc': auc})
    s.put_many([(f'lab/item-{i:03}', i, {'owner': 'ann' if i % 40 else 'zoe', 'team': ('red', 'blue')[i % 2]})
                for i in range(120)])
    return show(s)

def search(line):
    def run(p): p.fill('.osb-search', line); p.quiet()
    return run

def choose(bucket):
    def run(p): p.locator('.osb-bucket').select_option(bucket); p.quiet()
    return run

def chip(text):
    def run(p): p.locator('.osb-chip', has_text=text).click(); p.quiet()
    return run

def press(*keys):
    def run(p):
        p.locator('.osb-grid').focus()
        for key in keys: p.keyboard.press(key)
    return run

def clicks(text):
    def run(p): button(p, text).click(); p.quiet()
    return run

def in_view(p) -> bool:
    "Is the row that the mark stands on in the visible part of the list?"
    return p.evaluate("""() => {
      const row = document.querySelector('.osb-body .osb-row.osb-on')?.getBoundingClientRect()
      const grid = document.querySelector('.osb-grid').getBoundingClientRect()
      const middle = row && (row.top + row.bottom) / 2
      return Boolean(row) && middle > grid.top && middle < grid.bottom }""")

def to_the_end(p) -> None:
    p.evaluate("document.querySelector('.osb-grid').scrollTop = 10 ** 6"); p.settle()

AGAIN = {'another search': (search('item-11'), search('')), 'no match': (search('nothing'), search('')),
         'a condition': (search("owner = 'zoe'"), search('')), 'a bucket': (choose('lab'), choose('')),
         'a chip': (chip('zoe'), chip('zoe')), 'sorts': (press('s'),) * 5,
         'folders': (clicks('Folders'), clicks('Folders')), 'the same again': (clicks('Refresh'),),
         'versions': (search('@*, churn'), search(''))}

@pytest.mark.parametrize('keys', [('End',), ('Home', 'End'), ('PageDown',) * 30, ('ArrowUp', 'End', 'ArrowUp', 'j')],
                         ids=['End', 'Home End', 'PageDown', 'several'])
def test_what_is_selected_while_the_kernel_is_busy_stays_selected(long, keys):
    "What was asked for before is answered late, one after the other: the last word is the person's"
    p = long
    p.busy = True
    for step in AGAIN['another search']: step(p)
    press(*keys)(p); p.quiet()
    while p.held: p.hear()
    p.free(); p.settle()
    assert at(p) == one(LAST, LAST) and in_view(p)

@pytest.mark.parametrize('before', AGAIN.values(), ids=AGAIN)
def test_what_is_selected_while_lists_are_on_their_way_stays_selected(long, before):
    p = long
    p.busy = True
    for step in before: step(p)
    press('End')(p); p.quiet()
    while p.held: p.hear()
    p.free(); p.settle()
    assert at(p) == one(LAST, LAST) and in_view(p)

@pytest.mark.parametrize('before', AGAIN.values(), ids=AGAIN)
def test_what_is_selected_stays_selected_where_a_list_comes_anew(long, before):
    "Also where its row is not among the first that are told"
    p = long
    press('End')(p); p.settle()
    for step in before: step(p); p.settle()
    to_the_end(p)
    assert at(p) == one(LAST, LAST)

def test_a_search_that_is_cleared_keeps_what_it_found(long):
    p = long
    p.search('churn'); p.pick('churn'); p.search('')
    to_the_end(p)
    assert at(p) == one(LAST, LAST)

def test_a_row_that_was_gone_to_is_reached_in_the_list_that_comes_instead(show):
    "Its row was not here yet when another list was told: of the same question, so the row is waited for in that"
    s = ObjectStore('memory://', progress=False, durable=False)
    s.put_many([(f'lab/item-{i:03}', i) for i in range(700)])
    p = show(s)
    last = p.w.browsing.found[699].ref
    p.busy = True
    clicks('Refresh')(p)
    press('End')(p); p.quiet()
    while p.held: p.hear()
    p.free(); p.settle()
    assert at(p) == one(last, last) and in_view(p)

def test_chips_that_are_pressed_while_the_kernel_is_busy_add_up(long):
    p = long
    p.busy = True
    chip('zoe')(p); chip('blue')(p)
    p.free(); p.settle()
    assert p.w.query == "owner = 'zoe', team = 'blue'"

def test_what_was_done_to_an_item_does_not_undo_what_is_looked_at_by_now(show, store):
    p = show(store)
    p.pick('churn')
    p.locator('.osb-list .osb-v').nth(1).click(); p.settle()
    button(p, 'Restore …').click()
    p.busy = True
    answer(p, 'Restore')
    p.locator('.osb-list .osb-v').nth(2).click(); p.quiet()
    while p.held: p.hear()
    p.free(); p.settle()
    assert at(p)['version'] == at(p)['foot'] == at(p)['value'] == 'models/churn@1'
    assert store['models/churn'].version == 4 and '0.87' in p.text('.osb-panel')

def test_a_comparison_that_comes_late_does_not_come_back(show, store):
    p = show(store)
    p.pick('churn')
    p.busy = True
    button(p, 'Compare with v2').click(); p.quiet()
    p.locator('[role=tab][data-tab=Preview]').click()
    p.locator('.osb-body .osb-row', has=p.locator('.osb-text', has_text='daily')).first.click(); p.quiet()
    while p.held: p.hear()
    p.free(); p.settle()
    assert p.locator('[role=tab][aria-selected=true]').inner_text() == 'Preview'
    p.w.compare('models/churn@1', 'models/churn@2'); p.settle()                  # from Python it is news
    assert p.locator('[role=tab][aria-selected=true]').inner_text() == 'Compare'

def test_rows_that_come_in_before_do_not_move_the_mark(show, store):
    p = show(store)
    p.pick('churn')
    store.put('models/newest', 1); p.w.refresh(); p.settle()
    assert at(p) == one('models/churn@3', 'models/churn@3')

def test_the_versions_of_what_was_looked_at_before_come_too_late(show, store):
    p = show(store)
    p.pick('daily')
    late = {**p.w.versions}
    p.pick('churn')
    p.w.versions = {**late, 'turn': 10**6}; p.settle()
    assert at(p) == one('models/churn@3', 'models/churn@3') and 'churn' in p.text('.osb-cap')

def test_what_python_leads_to_is_acted_on_each_time(show, store):
    p = show(store)
    p.w.selected = ['models/churn@1']; p.settle()
    assert at(p) == one('models/churn@1', None)
    p.pick('daily')
    p.w.compare('models/churn@1', 'models/churn@2'); p.settle()       # this leads nowhere
    assert at(p) == one('sales/daily@2', 'sales/daily@2')
    p.w.selected = ['models/churn@1']; p.settle()                     # the same as before is news
    assert at(p) == one('models/churn@1', None)
    p.w.selected = []; p.settle()
    assert at(p) == one(None, None)

def test_after_the_last_version_is_removed_nothing_is_acted_on(show, store):
    p = show(store)
    p.pick('2026/october')
    button(p, 'Remove …').click(); answer(p, 'Remove')
    seen = at(p)
    assert seen['row'] is None and not seen['remove'] and 'sales/2026/october' not in store

def test_an_old_version_is_reached_in_a_long_list(show):
    s = ObjectStore('memory://', progress=False, durable=False)
    s.put_many([('lab/long', i) for i in range(320)])
    s.copy('lab/long@5', 'archive/long')
    p = show(s, 'archive')
    p.pick('long'); p.tab('Lineage'); button(p, 'lab/long@5').click(); p.settle()
    assert at(p) == one('lab/long@5', None) and removes(p) == 'lab/long@5'

def test_undo_names_its_item_once_another_is_looked_at(show, store):
    p = show(store)
    p.pick('churn')
    p.locator('.osb-v', has_text='v1').click(); p.settle()
    button(p, 'Restore …').click(); answer(p, 'Restore')
    assert button(p, 'Undo: remove v4').is_visible()
    p.pick('daily')
    assert at(p) == one('sales/daily@2', 'sales/daily@2')
    button(p, 'Undo: remove v4 of models/churn').click(); p.settle()
    assert len(store.versions('models/churn')) == 3 and len(store.versions('sales/daily')) == 2

def test_the_aliases_of_versions_that_are_not_shown_are_in_the_question(show):
    s = ObjectStore('memory://', progress=False, durable=False)
    s.put_many([('lab/long', i) for i in range(320)])
    s.set_alias('lab/long@7', 'champion')
    p = show(s)
    p.pick('long'); button(p, 'Alias …').click()
    assert 'points at v7' in p.text('.osb-dialog')
    answer(p, 'Move here')
    assert s.aliases('lab/long') == {'champion': 320}


# What is left out is counted

def until(p, what: str) -> None: p.page.wait_for_function(what, timeout=20_000)

def test_versions_that_are_not_shown_are_counted_and_a_click_away(show):
    s = ObjectStore('memory://', progress=False, durable=False)
    s.put_many([('lab/long', i) for i in range(320)])
    p = show(s)
    p.pick('long')
    assert p.locator('.osb-v').count() == 300 and 'The newest 300 of 320 versions' in p.text('.osb-older')
    button(p, 'Show all').click(); p.settle()
    assert (p.locator('.osb-v').count() == 320 and p.locator('.osb-older').is_hidden()
            and at(p) == one('lab/long@320', 'lab/long@320'))
    p.w.refresh(); p.settle(); p.locator('.osb-v').last.click(); p.settle()
    assert at(p) == one('lab/long@1', None) and p.locator('.osb-v').count() == 320

def test_removed_versions_that_are_not_shown_are_counted(show):
    s = ObjectStore('memory://', progress=False, durable=False)
    s.put_many([('lab/long', i) for i in range(120)])
    for n in range(1, 113): s.remove(f'lab/long@{n}')
    p = show(s)
    p.pick('long'); button(p, 'Removed').click(); p.settle()
    assert p.locator('.osb-gone').count() == 100 and '12 removed ones are not shown' in p.text('.osb-older')
    button(p, 'Show more').click(); p.settle()
    assert p.locator('.osb-gone').count() == 112 and p.locator('.osb-older').is_hidden()

def test_a_pressed_chip_stays_with_its_group(show, store):
    p = show(store)
    def kinds():
        return [re.sub(r'\s+', ' ', t)
                for t in p.locator('.osb-facet', has_text='kind').locator('.osb-chip').all_inner_texts()]
    before = kinds()
    p.locator('.osb-chip', has_text='slip').click(); p.settle()
    assert kinds() == before and p.locator('.osb-chip[aria-pressed=true]').all_inner_texts()[0].startswith('slip')
    p.locator('.osb-chip', has_text='model').click(); p.settle()      # one value of a key at a time
    assert (p.w.query, p.names(), kinds()) == ("kind = 'model'", ['models/churn'], before)
    p.search("kind = 'model', october")
    assert p.w.status == 'no-match'
    p.locator('.osb-chip[aria-pressed=true]').click(); p.settle()
    assert (p.w.query, p.names()) == ('october', ['sales/2026/october'])

def test_a_chip_keeps_the_commas_of_the_others(show):
    s = ObjectStore('memory://')
    for i, place in enumerate(('Oslo, east', 'Oslo, west', 'Oslo, east')):
        s.put(f'lab/x{i}', i, metadata={'place': place, 'team': 'a' if i else 'b'})
    p = show(s)
    p.locator('.osb-chip', has_text='Oslo, east').click(); p.settle()
    p.locator('.osb-facet', has_text='team').locator('.osb-chip').first.click(); p.settle()
    assert p.w.query.startswith("place = 'Oslo, east', team = '") and len(p.names()) == 1
    assert p.locator('.osb-chip[aria-pressed=true]').count() == 2

def test_values_that_have_no_chip_are_counted(show):
    s = ObjectStore('memory://')
    for i in range(16): s.put(f'lab/x{i}', i, metadata={'team': f't{i % 8}'})
    p = show(s)
    assert '+ 2' in p.text('.osb-facet:has-text("team")')

def test_a_lineage_that_goes_on_says_so():
    s = ObjectStore('memory://')
    s.put('lab/a', 1)
    for x, y in ('ab', 'bc', 'cd'): s.copy(f'lab/{x}', f'lab/{y}')
    up, down = s['lab/d'].lineage(depth=1).up, s['lab/a'].lineage(depth=1).down
    assert [(n.name, n.state) for n in up + down] == [(f'lab/{x}@1', 'and more, further than this was followed')
                                                      for x in 'cb']
    assert ([n.state for n in s['lab/d'].lineage().up] == [''] * 3
            and 'further than this was followed' in repr(s['lab/d'].lineage(depth=1)))


# Comparing

def compared(p, *refs) -> str:
    p.w.compare(*refs); p.settle()
    return re.sub(r'[ \t\n]+', ' ', p.text('.osb-panel'))

@pytest.fixture
def frames():
    s = ObjectStore('memory://')
    a = pd.DataFrame({'id': range(60), 'units': range(60), 'region': ['north', 'south'] * 30})
    s.put('sales/daily', a)
    s.put('sales/daily', a.assign(price=1.5, units=lambda f: f.units.where(f.id >= 3, 99)))
    return s

def test_a_column_that_came_and_cells_that_differ_are_said(show, frames):
    p = show(frames)
    said = compared(p, 'sales/daily@1', 'sales/daily@2')
    assert ('Columns: + price.' in said and 'Rows by id: + 0 added, − 0 gone, 3 changed in the 3 columns that both '
            'have: units 3.' in said)
    assert [re.sub(r'\s+', ' ', t) for t in p.locator('.osb-cells tbody tr').all_inner_texts()] == [
        '~ 0 units 0 99', '~ 1 units 1 99', '~ 2 units 2 99']
    assert 'Columns: − price.' in compared(p, 'sales/daily@2', 'sales/daily@1') and not p.errors

def test_frames_without_a_key_are_compared_by_place(show):
    s = ObjectStore('memory://')
    for n in (1, 2): s.put('lab/plain', pd.DataFrame({'name': list('abc'), 'n': [1, n, 3]}))
    s.put('lab/plain', pd.DataFrame({'name': list('ab'), 'n': [1, 2]}))
    p = show(s)
    assert '3 rows, compared by their place: 1 changed: n 1.' in compared(p, 'lab/plain@1', 'lab/plain@2')
    assert '3 → 2 rows. To see which came and went, name the key' in compared(p, 'lab/plain@2', 'lab/plain@3')

def test_a_key_that_tells_nothing_apart_is_said(show):
    s = ObjectStore('memory://')
    for n in (1, 2): s.put('lab/twice', pd.DataFrame({'id': [1, 1, 2], 'n': [1, n, 3]}))
    assert 'id does not tell the rows apart' in compared(show(s), 'lab/twice@1', 'lab/twice@2')

@pytest.mark.parametrize('a, b, says',
                         [(list(range(9000)), list(range(1, 9001)), 'The first 5,000 lines of 9,002 were ' 'compared.'),
                          ('x\n' * 900, 'y\n' * 900, 'The first 400 lines of the difference are shown'),
                          (b'\0' * 99, b'\1' * 99, "There is no closer look at two of 'bytes'"),
                          ({'a': 1}, 'a', 'Their contents are not compared')])
def test_what_is_not_compared_is_said(show, a, b, says):
    s = ObjectStore('memory://')
    s.put('lab/x', a); s.put('lab/x', b)
    assert says in compared(show(s), 'lab/x@1', 'lab/x@2')


# What is saved

@pytest.fixture
def many():
    "Three buckets with 24 items, most of one kind"
    s = ObjectStore('memory://', progress=False, durable=False)
    s.put_many([(f'{b}/item-{i:02}', i) for b in ('archive', 'lab', 'sales') for i in range(8)])
    s.put('archive/item-00', 'again', metadata={'why': 'because'})
    return s

def test_the_static_page_has_all_items_and_versions_of_all_buckets(chromium, many):
    page = chromium.new_page()
    page.route('**/*', lambda r: r.abort())
    page.set_content(browse(many, ui='html').html())
    assert ([s.split(':')[0] for s in page.locator('.objectstore-shown > details > summary').all_inner_texts()]
            == ['archive', 'lab', 'sales'])
    text = page.evaluate("document.body.textContent")
    assert (all(f'{b}/item-{i:02}@' in text for b in ('archive', 'lab', 'sales') for i in range(8))
            and ' more' not in text)
    assert 'archive/item-00: 2 versions' in text and 'why because' in text
    page.close()

def test_what_the_static_page_leaves_out_is_counted(many):
    from objectstore.browser.overview import Overview
    few = Overview(many, limit=10)
    # of the two versions one
    assert ('14 items more: this page has the first 10' in few.html()
            and Overview(many, limit=24).html().count(' more') == 1)

def test_a_displayed_browser_carries_the_static_page(many, monkeypatch):
    from objectstore.browser import widget
    monkeypatch.setattr(widget.kept_page, '__defaults__', (60.0,))
    data, _ = Browser(many, names={})._repr_mimebundle_()
    assert ('item-07' in data['text/html'] and '<script' not in data['text/html'] and '24 items' in data['text/plain']
            and 'object at 0x' not in data['text/plain'])
    assert repr(Browser(many, 'lab', names={})) == "Browser('memory://', bucket='lab', query='')"

def test_what_is_not_read_in_time_is_said(many, monkeypatch):
    from objectstore.browser import widget
    monkeypatch.setattr(widget.kept_page, '__defaults__', (0.0,))
    w = Browser(many, names={})
    monkeypatch.setattr(widget, 'Overview', None)                     # whatever goes wrong, there is something to show
    assert 'when this was shown' in (said := w._repr_mimebundle_()[0]['text/html']) or 'not callable' in said

def test_saved_browsers_keep_their_places(chromium, many):
    html = [picture(Browser(many, b, names={}).shelve()) for b in ('archive', 'lab', 'sales')]
    page, errors = chromium.new_page(), []
    page.on('pageerror', lambda e: errors.append(str(e)))
    page.set_content('<!doctype html><body>' + ''.join(f'<section>{h}</section>' for h in [*html, html[0]]))
    page.wait_for_function("document.querySelectorAll('.osb-body .osb-row').length >= 32")
    assert [page.locator('body > section').nth(i).locator('.osb-bucket').input_value() for i in range(4)] == [
        'archive', 'lab', 'sales', 'archive']
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids)) and not errors
    page.close()

def test_a_picture_has_the_beginning_of_a_long_list_and_says_how_long_it_is(chromium):
    s = ObjectStore('memory://', progress=False, durable=False)
    s.put_many([(f'lab/item-{i:03}', i) for i in range(640)])
    w = Browser(s, names={}).wait(60)
    w.browsing.page(600, w.browsing.asked); w.wait(60)                # what a person has scrolled to
    page = chromium.new_page()
    page.set_content(picture(w.shelve(1)))
    page.wait_for_selector('.osb-body .osb-text')
    assert page.locator('.osb-count').inner_text() == '500 of 640' and page.locator('.osb-body .osb-bone').count() == 0
    page.locator('.osb-body .osb-row').nth(3).click()
    assert ('saved without the preview' in page.locator('.osb-panel').inner_text()
            and page.locator('.osb-list .osb-v').count() == 1)
    page.fill('.osb-search', 'loss > 3')
    assert 'needs the notebook' in page.locator('.osb-meant').inner_text()
    page.close()

def test_the_chips_of_a_picture_search_or_are_off(chromium, store):
    page = chromium.new_page()
    page.set_content(picture(Browser(store, names={}).shelve()))
    page.wait_for_selector('.osb-body .osb-text')
    page.locator('.osb-chip', has_text='slip').click()
    page.wait_for_function("document.querySelectorAll('.osb-body .osb-row').length === 2")
    assert (page.locator('.osb-chip[aria-pressed=true]').count() == 1
            and page.locator('.osb-chip', has_text='production').is_disabled())
    page.locator('.osb-chip[aria-pressed=true]').click()
    page.wait_for_function("document.querySelectorAll('.osb-body .osb-row').length === 4")
    page.close()

def test_a_progress_bar_is_a_line_of_a_saved_notebook(tmp_path):
    nbclient, nbformat = pytest.importorskip('nbclient'), pytest.importorskip('nbformat')
    code = """from objectstore.cache.download import Progress
with Progress('models/churn', 4, True, unit='files', after=0) as bar:
    for _ in range(4): bar(1)"""
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbclient.NotebookClient(nb, kernel_name='python3', timeout=300).execute()
    outputs = nb.cells[0].outputs
    assert ({(o.output_type, o.get('name')) for o in outputs} == {('stream', 'stdout')}
            and 'models/churn: 100%' in ''.join(o.text for o in outputs))


# On a page of the site

SITE = """<!doctype html><html lang="en"><head><title>site</title><meta charset="utf-8"><style>
body {{ --color-background-primary: {ground}; --color-foreground-primary: {letters};
background: {ground}; color: {letters} }} {style}</style></head>
<body data-theme="{theme}"><main><h1>A page</h1>
<div class="cell_output"><div class="output text_html">{html}</div></div></main></body></html>"""

@pytest.mark.parametrize('system', ['light', 'dark'])
@pytest.mark.parametrize('theme, ground, letters', [('light', '#ffffff', '#000000'), ('dark', '#131416', '#cfd0d0')])
def test_tables_are_in_the_theme_of_the_page(chromium, store, theme, ground, letters, system):
    from pathlib import Path
    from axe_playwright_python.sync_playwright import Axe
    style = (Path(__file__).parent.parent/'docs'/'static'/'style.css').read_text()
    frame = pd.DataFrame({'id': [1, 2]})
    html = store.find_items()._repr_mimebundle_()['text/html'] + store['models/churn']._repr_mimebundle_()[
        'text/html'] + browse(store, ui='html').html() + frame.to_html()
    page = chromium.new_page(color_scheme=system)
    page.set_content(SITE.format(theme=theme, ground=ground, letters=letters, style=style, html=html))
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
    seen = page.evaluate("[...document.querySelectorAll('.objectstore-shown, .objectstore-shown table.os-t')].map(e => "
                         "[getComputedStyle(e).backgroundColor, getComputedStyle(e).color])")
    of = page.evaluate("[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]")
    assert len(seen) > 5 and all(g in (of[0], 'rgba(0, 0, 0, 0)') and c == of[1] for g, c in seen), seen
    assert page.evaluate("getComputedStyle(document.body).colorScheme") == theme
    found = Axe().run(page, '.objectstore-shown',
                      options={'runOnly': ['wcag2a', 'wcag2aa', 'best-practice']}).response['violations']
    assert not found, [(v['id'], v['nodes'][0]['html'][:200], v['nodes'][0]['failureSummary'][:300]) for v in found]
    page.close()

def test_what_a_saved_notebook_keeps_asks_the_origin_nothing(tmp_path, monkeypatch):
    from objectstore.storage.files import FileBackend
    from objectstore.browser.widget import kept_page
    s = ObjectStore(tmp_path, progress=False, durable=False)
    s.put_many([(f'lab/item-{i:02}', i) for i in range(30)])
    w, asked = Browser(s, names={}).wait(60), []
    for op in ('list', 'read', 'read_many', 'tail', 'create'):
        def watched(self, *a, op=op, run=getattr(FileBackend, op), **how):
            asked.append((op, *a[:1]))
            return run(self, *a, **how)
        monkeypatch.setattr(FileBackend, op, spare(watched))
    assert 'item-29' in kept_page(w.browsing, 60.0).html() and not asked, asked
    s.put('lab/item-30', 30)
    assert {op for op, *_ in asked} >= {'create', 'tail'}      # it would have been seen

def test_an_export_of_a_saved_notebook_shows_what_was_there(many, monkeypatch):
    nbconvert, nbformat = pytest.importorskip('nbconvert'), pytest.importorskip('nbformat')
    from objectstore.browser import widget
    monkeypatch.setattr(widget.kept_page, '__defaults__', (60.0,))
    data, _ = Browser(many, names={})._repr_mimebundle_()
    cell = nbformat.v4.new_code_cell('store.browse()',
                                     outputs=[nbformat.v4.new_output('execute_result', data, execution_count=1)])
    html, _ = nbconvert.HTMLExporter().from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))
    assert html.count('item-07@1') == 3 and 'sales: 8 items' in html


# For readers, in both themes

@pytest.mark.parametrize('dark', [False, True], ids=['light', 'dark'])
def test_axe_finds_nothing_in_what_is_counted_marked_or_off(show, frames, dark):
    from axe_playwright_python.sync_playwright import Axe
    for i in range(20): frames.put(f'lab/x{i}', i, metadata={'team': f't{i % 8}'}, kind='slip')
    frames.put_many([('lab/long', i, {'team': f't{i % 8}'}) for i in range(320)])
    frames.copy('sales/daily@1', 'archive/daily')
    p = show(frames, dark=dark)
    def check(what):
        p.settle()
        found = Axe().run(p.page, '.osb',
                          options={'runOnly': ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa',
                                               'best-practice']}).response['violations']
        assert not found, f'{what}: ' + '; '.join(f"{v['id']}: {v['nodes'][0]['html'][:160]} "
                                                  f"{v['nodes'][0]['failureSummary'][:300]}" for v in found)
    p.pick('lab/long'); check('a list of versions that ends')
    p.busy = True
    p.locator('.osb-grid').focus()
    p.keyboard.press('ArrowDown')
    assert p.locator('.osb-list.osb-old').count() == 1
    p.free()
    p.locator('.osb-chip', has_text='slip').click(); check('a pressed chip')
    p.search('nothing'); check('no match'); p.search('')
    p.pick('archive/daily')
    p.tab('Lineage')
    button(p, 'sales/daily@1').click()
    check('another version of the item in the list')
    p.w.compare('sales/daily@1', 'sales/daily@2'); check('cells that changed')

def test_all_of_it_by_keyboard(show, store):
    p = show(store)
    p.locator('.osb-grid').focus(); p.keyboard.press('End'); p.settle()
    first = at(p)['foot']
    p.keyboard.press('/'); p.keyboard.type('nothing'); p.keyboard.press('Enter'); p.settle()
    assert at(p) == one(None, None)
    p.locator('.osb-list').focus(); p.keyboard.press('c')
    assert p.text('.osb-status') == 'Pick an item first'
    p.keyboard.press('/'); p.keyboard.press('Escape'); p.settle()
    assert at(p) == one(first, first)
    p.locator('.osb-list').focus()
    p.keyboard.press('End')
    p.settle()
    p.keyboard.press('Escape')
    p.keyboard.press('Escape')
    p.settle()
    assert at(p)['foot'] == at(p)['version'] == at(p)['value']
