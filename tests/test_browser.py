"The browser: each thing that a person can see or do in it, in a real Chromium, with the real widget"
import json, re, threading, time
from dataclasses import replace
import numpy as np, pandas as pd, pytest
from objectstore import NotAvailableOffline, ObjectStore, Version, browse

pytestmark = pytest.mark.filterwarnings('ignore::DeprecationWarning', 'ignore::objectstore.errors.PendingWarning',
                                        'ignore::objectstore.errors.StaleWarning')

@pytest.fixture
def store():
    "A small lab"
    s = ObjectStore('memory://', progress=False)
    for i, auc in enumerate((0.87, 0.913, 0.905)):
        s.put('models/churn', {'depth': 3 + i, 'auc': auc},
              metadata={'auc': auc, 'stage': 'prod' if auc > 0.9 else 'test', 'description': 'Gradient boosting'},
              kind='model')
    s.set_alias('models/churn@2', 'production')
    for n in (40, 60):
        s.put('sales/daily',
              pd.DataFrame({'id': range(n - 40, n + 20), 'units': np.arange(60) % 7,
                            'region': ['north', 'south'] * 30}), metadata={'stage': 'prod'})
    s.put('sales/2026/october', [1, 2], kind='slip')
    s.put('sales/2026/november', [1, 2, 3], kind='slip')
    return s

def image(shade: int):
    from PIL import Image
    return Image.fromarray(np.full((20, 30, 3), shade, 'uint8'))

def version_rows(p) -> list[str]:
    return [re.sub(r'\s+', ' ', t) for t in p.locator('.osb-list .osb-v').all_inner_texts()]
def button(p, name: str): return p.page.get_by_role('button', name=name, exact=True)
def undo(p) -> str:
    "What the button says that takes the last thing back, which is pressed"
    b = p.page.get_by_role('button', name=re.compile('^Undo: '))
    said = b.inner_text()
    b.click(); p.settle()
    return said
def answer(p, name: str) -> None:
    p.page.locator('.osb-dialog').get_by_role('button', name=name, exact=True).click()
    p.settle()


# 1 Find

@pytest.mark.parametrize('line, says, found',
                         [('churn', 'word: churn', ['models/churn']),
                          ('^20.*er$', 'regular expression: ^20.*er$', ['sales/2026/october', 'sales/2026/november']),
                          ('auc > 0.9', 'condition: auc > 0.9', ['models/churn']),
                          ("daily, stage = 'prod'", "word: daily · condition: stage = 'prod'", ['sales/daily'])])
def test_the_search_line_says_how_it_was_understood(show, store, line, says, found):
    p = show(store)
    p.search(line)
    assert (p.text('.osb-meant'), set(p.names())) == (says, set(found))
    assert p.text('.osb-count') == f'{len(found)} of 4' and not p.errors

def test_a_wrong_condition_is_said_and_the_list_stays(show, store):
    p = show(store)
    p.search('acu > 0.9')
    assert "did you mean 'auc'" in p.text('.osb-meant') and p.get_attribute('.osb-search', 'aria-invalid') == 'true'
    assert len(p.names()) == 4 and p.w.status == 'error'

def test_a_wrong_condition_is_one_sentence_with_its_place_marked(show, store):
    p = show(store)
    p.search('auc > 0.9 AND AND auc < 1')
    assert (p.text('.osb-meant') == 'something is missing or too much here: auc > 0.9 AND AND auc < 1'
            and p.text('.osb-meant mark') == 'A')
    assert ('mono' in p.evaluate("getComputedStyle(document.querySelector('.osb-where')).fontFamily").lower()
            and 'BETWEEN' in p.get_attribute('.osb-meant', 'title'))
    assert len(p.names()) == 4 and p.locator('.osb-banner').is_hidden()
    p.search('nothing'); p.search('nothing >')
    assert ('something is missing' in p.text('.osb-blank') and '\\n' not in p.text('.osb')
            and 'Nothing was loaded' not in p.text('.osb'))
    button(p, 'Clear the search').click(); p.settle()
    assert len(p.names()) == 4 and not p.errors

def test_an_alias_chip_finds_what_it_counted(show, store):
    p = show(store)                                                    # production points at version 2 of 3: a rollback
    chip = p.locator('.osb-chip', has_text='production')
    assert chip.inner_text().split() == ['production', '1']
    chip.click(); p.settle()
    assert (p.w.query, p.names(), p.text('.osb-body .osb-c-version'), p.text('.osb-meant')) == (
        '@production', ['models/churn'], 'v2', 'selector: @production')
    assert p.locator('.osb-chip[aria-pressed=true]').inner_text().split() == ['production', '1']
    store.set_alias('models/churn@3', 'candidate'); p.w.refresh(); p.settle()
    p.locator('.osb-chip', has_text='candidate').click(); p.settle()
    assert (p.w.query, p.text('.osb-body .osb-c-version')) == ('@candidate', 'v3')          # one alias at a time
    p.locator('.osb-chip', has_text='candidate').click(); p.settle()
    assert p.w.query == '' and len(p.names()) == 4

def test_a_word_that_is_an_alias_finds_its_item(show, store):
    p = show(store)
    p.search('production')
    assert p.names() == ['models/churn']

@pytest.mark.parametrize('line, says, found',
                         [('sales', 'bucket: sales', ['2026/november', '2026/october', 'daily']),
                          ('sales/2026/october', 'bucket: sales · word: 2026/october', ['2026/october']),
                          ('sales daily', 'bucket: sales · word: daily', ['daily']),
                          ("sales/2026, kind = 'slip'", "bucket: sales · word: 2026 · condition: kind = 'slip'",
                           ['2026/november', '2026/october']),
                          ('sales/daily@1', 'bucket: sales · word: daily · ' 'selector: @1', ['daily'])])
def test_names_are_found_as_they_are_shown(show, store, line, says, found):
    p = show(store)
    p.search(line)
    assert (p.text('.osb-meant'), sorted(p.names())) == (says, [f'sales/{x}' for x in found]) and p.w.status == 'ready'
    p.select_option('.osb-bucket', 'sales'); p.settle()
    assert sorted(p.names()) == found
    p.select_option('.osb-bucket', 'models'); p.settle()
    assert p.w.status == 'no-match' and not p.errors

def test_what_only_older_versions_have_is_a_click_away(show, store):
    p = show(store)
    p.search('auc < 0.9')
    assert 'None of 4 latest versions' in p.text('.osb-blank')
    button(p, 'Search every version').click(); p.settle()
    assert (p.w.query, p.names(), p.text('.osb-body .osb-c-version')) == ('auc < 0.9, @*', ['models/churn'], 'v1')

def test_a_row_says_where_aliases_point_that_are_not_on_it(show, store):
    p = show(store)                                                    # production is at version 2 of 3
    assert p.text('.osb-body .osb-row:has-text("churn") .osb-other') == 'production v2'
    store.set_alias('models/churn@3', 'production'); p.w.refresh(); p.settle()
    assert (p.locator('.osb-other').count() == 0
            and p.text('.osb-body .osb-row:has-text("churn") .osb-tag') == 'production')

def test_facets_narrow_and_widen(show, store):
    p = show(store)
    chip = p.locator('.osb-chip', has_text='slip')
    assert chip.inner_text().split() == ['slip', '2']
    chip.click(); p.settle()
    assert (p.w.query, sorted(p.names())) == ("kind = 'slip'", ['sales/2026/november', 'sales/2026/october'])

def test_buckets_and_folders(show, store):
    p = show(store)
    p.select_option('.osb-bucket', 'sales'); p.settle()
    assert (p.w.bucket, sorted(p.names())) == ('sales', ['2026/november', '2026/october', 'daily'])
    button(p, 'Folders').click(); p.settle()
    assert p.names() == ['2026/', 'daily']
    p.pick('2026/')
    assert sorted(p.names()) == ['november', 'october'] and 'all /' in p.text('.osb-crumbs')
    p.keyboard.press('Backspace'); p.settle()
    assert p.names() == ['2026/', 'daily']

def test_sorting_by_a_column_both_ways(show, store):
    p = show(store)
    expected = ['models/churn', 'sales/2026/november', 'sales/2026/october', 'sales/daily']
    p.locator('.osb-sort', has_text='name').click(); p.settle()
    assert p.names() == expected and p.get_attribute('.osb-c-item[role=columnheader]', 'aria-sort') == 'ascending'
    p.locator('.osb-sort', has_text='name').click(); p.settle()
    assert p.names() == expected[::-1]


# 2 Look

def test_versions_tell_what_changed_and_where_aliases_point(show, store):
    p = show(store)
    p.pick('churn')
    rows = version_rows(p)
    assert len(rows) == 3 and 'v3' in rows[0] and 'production' in rows[1] and 'B' in rows[1]
    assert ('other content, same size' in rows[0] and 'auc 0.913 → 0.905' in rows[0] and '+1 B' in rows[1]
            and 'stage test → prod' in rows[1] and '·' not in rows[2])
    store.put('sales/daily', pd.DataFrame({'id': [1]}), metadata={'owner': 'ann'})
    store.put('sales/daily', pd.DataFrame({'id': [1]}), metadata={'owner': 'ann'})
    p.pick('daily')
    assert (version_rows(p)[0].endswith('same content') and '-59 rows' in version_rows(p)[1]
            and '+ owner ann' in version_rows(p)[1] and '− stage' in version_rows(p)[1])

def test_times_are_told_apart(show, store):
    p = show(store)
    def ago(s): return p.evaluate('s => mod.ago(new Date(1e12 - 1000 * s).toISOString(), 1e12)', s)
    assert [ago(s) for s in (-5, 0.4, 7, 59, 90, 3500, 7200, 200_000, 100 * 86400)] == [
        'now', 'now', '7 s', '59 s', '2 min', '58 min', '2 h', '2 d', '2001-06-01']
    assert re.fullmatch(r'20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC', p.get_attribute('.osb-body .osb-c-created', 'title'))

def shown_end(p, selector: str) -> bool:
    "Is the end of a cut text in sight, and not its beginning?"
    return p.evaluate("""s => {
      const box = document.querySelector(s), text = box.querySelector('bdi').firstChild, at = i => {
        const r = document.createRange()
        r.setStart(text, i)
        r.setEnd(text, i + 1)
        return r.getBoundingClientRect()
      }
      const b = box.getBoundingClientRect(), a = at(0), z = at(text.length - 1)
      return z.right <= b.right + 1 && z.left >= b.left && a.left < b.left }""", selector)

def test_a_long_path_keeps_its_end(show):
    s = ObjectStore('memory://')
    path = f'europe/{"northern-" * 20}/helsinki/monthly'
    s.put(f'sales/{path}/october', 1)
    p = show(s)
    p.pick('october')
    for place in ('.osb-body .osb-text', '.osb-cap .osb-cut', '.osb-title .osb-cut'):
        assert shown_end(p, place) and path in p.get_attribute(place, 'title'), place

def test_the_list_and_the_preview_share_the_height(show, store):
    p = show(store, height=420)
    p.pick('daily')
    def heights():
        return p.evaluate("['.osb-main', '.osb-about'].map(s => "
                          "document.querySelector(s).getBoundingClientRect().height)")
    a, b = heights()
    assert 0.38 < a / (a + b) < 0.47
    p.locator('.osb-split').focus(); p.keyboard.press('ArrowUp'); p.keyboard.press('ArrowUp')
    assert heights()[1] > b + 10 and int(p.get_attribute('.osb-split', 'aria-valuenow')) < 42
    box = p.locator('.osb-split').bounding_box()
    p.page.mouse.move(300, box['y'] + 3)
    p.page.mouse.down()
    p.page.mouse.move(300, box['y'] + 63, steps=4)
    p.page.mouse.up()
    assert heights()[0] > a + 20 and heights()[1] < b
    p.page.mouse.move(300, box['y'] - 50)
    assert heights()[0] > a + 20                                       # it was let go of

@pytest.mark.parametrize('name, obj, metadata, selector, text',
                         [('frame', lambda: pd.DataFrame({'units': range(120)}), {}, '.osb-table .osb-hist', ''),
                          ('array', lambda: np.eye(4), {}, '.osb-array', '1'),
                          ('json', lambda: {'a': {'b': [1, 2]}}, {}, '.osb-node', 'a'),
                          ('text', lambda: 'plain words', {}, '.osb-panel pre', 'plain words'),
                          ('markdown', lambda: '# Head\n\n**bold** and `code`', {'format': 'markdown'}, '.osb-md b',
                           'bold'), ('image', lambda: image(9), {}, '.osb-img', ''),
                          ('bytes', lambda: b'\0\1\2', {}, '.osb-panel p', '00 01 02'),
                          ('tensors', lambda: {'w': np.zeros((3, 2))}, {}, '.osb-panel td', 'w')])
def test_previews_by_kind(show, name, obj, metadata, selector, text):
    s = ObjectStore('memory://')
    s.put(f'lab/{name}', obj(), metadata=metadata)
    p = show(s)
    p.pick(name)
    p.wait_for_selector(selector)
    assert text in p.text(selector) and not p.errors

def test_an_estimator_a_figure_and_a_folder(show, tmp_path):
    from sklearn.linear_model import Ridge
    import matplotlib
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    s = ObjectStore('memory://')
    s.put('lab/ridge', Ridge(alpha=0.5), metadata={'r2': 0.81})
    fig, ax = plt.subplots(); ax.plot([1, 2])
    s.put('lab/plot', fig); plt.close(fig)
    (tmp_path/'in').mkdir(); (tmp_path/'in'/'a.csv').write_text('x,y\n1,2\n'); (tmp_path/'b.md').write_text('# Readme')
    s.put('lab/raw', tmp_path)
    p = show(s)
    p.pick('ridge')
    assert 'alpha' in p.text('.osb-model') and '0.81' in p.text('.osb-model')
    p.pick('plot')
    assert p.evaluate("document.querySelector('.osb-img').naturalWidth") > 100
    p.pick('raw')
    button(p, 'a.csv').click(); p.settle()
    assert 'x' in p.text('.osb-table') and '1' in p.text('.osb-table tbody')
    button(p, '← Folder').click(); p.settle()
    assert 'b.md' in p.text('.osb-files') and not p.errors

def test_more_rows_are_loaded_when_asked_for(show, store):
    p = show(store)
    p.pick('daily')
    assert p.locator('.osb-panel tbody tr').count() == 50
    button(p, 'Load more').click(); p.settle()
    assert p.locator('.osb-panel tbody tr').count() == 60

def test_a_payload_over_the_budget_is_said_not_read(show, monkeypatch):
    from objectstore.browser import preview
    s = ObjectStore('memory://')
    s.put('lab/image', image(1))
    monkeypatch.setattr(preview, 'NEAR', 10)
    p = show(s)
    p.pick('image')
    assert 'more than is read for a preview' in p.text('.osb-panel')

def test_two_versions_side_by_side(show, store):
    p = show(store)
    p.pick('daily')
    p.locator('.osb-list').focus()
    for key in (' ', 'ArrowDown', ' '): p.keyboard.press(key)
    p.settle()
    assert p.w.selected == ['sales/daily@2', 'sales/daily@1']
    button(p, 'Compare 2').click(); p.settle()
    panel = p.text('.osb-panel')
    assert 'sales/daily@1' in panel and '+ 20 added, − 20 gone' in panel and p.locator('tr.osb-m-changed').count() >= 1
    assert '~ changed' in panel                                        # never by colour alone
    assert p.locator('tr.osb-m-same').count() == 0
    button(p, 'Also what is the same').click()
    assert p.locator('tr.osb-m-same').count() > 1

def test_compare_is_with_the_version_before_where_nothing_is_marked(show, store):
    p = show(store)
    assert button(p, 'Compare').is_disabled()
    p.pick('churn')
    button(p, 'Compare with v2').click(); p.settle()
    assert p.text('.osb-panel').startswith('models/churn@2 → models/churn@3')
    p.locator('.osb-v', has_text='v2').click(); p.settle()
    assert p.text('.osb-panel').startswith('models/churn@1 → models/churn@2')          # it follows what is looked at
    p.locator('.osb-v', has_text='v1').click(); p.settle()
    assert 'There is no version before this one' in p.text('.osb-panel') and button(p, 'Compare').is_disabled()
    p.tab('Preview'); p.pick('daily')
    assert p.locator('.osb-panel tbody tr').count() == 50
    p.tab('Compare'); p.settle()
    assert p.text('.osb-panel').startswith('sales/daily@1 → sales/daily@2')
    p.pick('churn'); p.settle()
    assert p.text('.osb-panel').startswith('models/churn@2 → models/churn@3') and not p.errors

def test_asking_twice_for_the_same_comparison_answers_twice(show, store):
    p = show(store)
    p.pick('churn')
    for _ in range(3):
        button(p, 'Compare with v2').click(); p.settle()
        assert p.text('.osb-panel').startswith('models/churn@2 → models/churn@3')
    # nothing waits to say that it takes long
    assert p.evaluate('window.waiting(1000, 2000)') == 0 and 'busy' not in p.text('.osb-status') and not p.errors

def test_the_compare_button_says_at_once_what_it_would_do(show, store):
    p = show(store)
    p.pick('churn')
    p.w.browsing.workers.do(lambda wanted: None)
    p.evaluate("document.querySelectorAll('.osb-v')[1].click()")
    assert p.text('.osb-versus') == 'Compare with v1'

def test_one_mark_is_compared_with_what_is_looked_at(show, store):
    p = show(store)
    p.pick('churn')
    p.locator('.osb-list').focus()
    for key in (' ', 'End'): p.keyboard.press(key)
    p.settle()
    button(p, 'Compare with v3').click(); p.settle()
    assert p.text('.osb-panel').startswith('models/churn@1 → models/churn@3')
    button(p, 'Take the marks away').click(); p.settle()
    assert p.w.selected == ['models/churn@1'] and p.locator('.osb-marked').count() == 0

def test_shift_and_a_click_marks_both_ends_and_selects_no_text(show, store):
    p = show(store)
    p.pick('churn')
    p.locator('.osb-v', has_text='v1').click(modifiers=['Shift']); p.settle()
    assert p.w.selected == ['models/churn@3', 'models/churn@1'] and p.evaluate('getSelection().toString()') == ''
    button(p, 'Compare 2').click(); p.settle()
    assert p.text('.osb-panel').startswith('models/churn@1 → models/churn@3')
    p.locator('.osb-v', has_text='v1').click(modifiers=['Control']); p.settle()
    assert p.locator('.osb-v.osb-marked').count() == 1
    p.locator('.osb-body .osb-row', has_text='daily').click(modifiers=['Shift']); p.settle()
    assert p.evaluate('getSelection().toString()') == ''

def test_rows_are_told_apart_where_a_key_is_known(show):
    s = ObjectStore('memory://')
    for n in (3, 4):
        s.put('lab/plain', pd.DataFrame({'name': list('abcd')[:n]}))
        s.put('lab/keyed', pd.DataFrame({'name': list('abcd')[:n]}), metadata={'key': 'name'})
    p = show(s)
    p.pick('plain'); button(p, 'Compare with v1').click(); p.settle()
    assert "3 → 4 rows. To see which came and went, name the key: metadata={'key': 'id'}" in p.text('.osb-panel')
    p.pick('keyed'); p.settle()
    assert ('Rows by name: + 1 added, − 0 gone, 0 changed' in p.text('.osb-panel')
            and p.locator('table.osb-m-added tbody tr').inner_text().split() == ['+', 'd'])

def test_parameters_are_compared(show):
    from sklearn.linear_model import Ridge
    s = ObjectStore('memory://')
    for alpha in (0.5, 2.0): s.put('lab/ridge', Ridge(alpha=alpha), metadata={'r2': alpha / 3})
    p = show(s)
    p.pick('ridge')
    button(p, 'Compare with v1').click(); p.settle()
    assert (re.sub(r'\s+', ' ', p.text('[data-group=Parameters] tbody')) == 'alpha 0.5 2 ~ changed'
            and 'r2' in p.text('[data-group=Metadata] tbody'))

def test_metadata_and_stats_are_shown(show, store):
    store.annotate('sales/daily', {'checked': 'by ann'})
    p = show(store)
    p.pick('daily'); p.tab('Metadata')
    said = p.text('.osb-panel')
    assert all(x in said for x in ('stage', 'prod', 'checked', 'by ann', '(note)', 'rows', '60', 'parquet',
                                   'sales/daily@2'))

def test_text_is_compared_as_a_diff_and_images_beside_each_other(show):
    s = ObjectStore('memory://')
    s.put('lab/note', 'one\ntwo')
    s.put('lab/note', 'one\nthree')
    s.put('lab/logo', image(5))
    s.put('lab/logo', image(200))
    p = show(s)
    p.w.compare('lab/note@1', 'lab/note@2'); p.settle()
    assert '− two' in p.text('.osb-diff') and '+ three' in p.text('.osb-diff')
    p.w.compare('lab/logo@1', 'lab/logo@2'); p.settle()
    assert p.locator('.osb-sides img').count() == 2

def test_lineage_is_a_picture_that_leads_to_inputs(show, store):
    store.copy('models/churn@1', 'archive/churn')
    p = show(store, 'archive')
    p.pick('churn')
    p.tab('Lineage')
    assert ([t.split('\n')[0] for t in p.locator('.osb-box').all_inner_texts()][0] == 'models/churn@1'
            and p.locator('.osb-wire').count() == 2)
    button(p, 'models/churn@1').click(); p.settle()
    assert p.w.value.ref == 'models/churn@1' and 'v3' in version_rows(p)[0]

def test_the_lineage_of_what_was_calculated(show, store):
    @store.calculated('features/total')
    def total(): return {'rows': len(store.get('sales/daily'))}
    total()
    p = show(store, 'features')
    p.pick('total')
    p.tab('Lineage')
    boxes = p.locator('.osb-box').all_inner_texts()
    assert boxes[0] == 'sales/daily@2' and 'total' in boxes[1] and boxes[2] == 'features/total@1'


# 3 Do

def test_load_into_a_variable_asks_before_it_overwrites(show, store):
    mine = {'lab': store}
    p = show(store, names=mine)
    p.pick('churn')
    p.fill('.osb-name', 'not a name'); button(p, 'Load as').click(); p.settle()
    assert 'is no name for a variable' in p.text('.osb-status') and set(mine) == {'lab'}
    p.fill('.osb-name', 'model'); button(p, 'Load as').click(); p.settle()
    assert mine['model']['depth'] == 5 and 'model = models/churn@3' in p.text('.osb-status')
    mine['model'] = 'mine'
    p.keyboard.press('Escape'); p.keyboard.press('l'); p.keyboard.press('Enter'); p.settle()
    assert 'model is there already: a str' in p.text('.osb-dialog') and mine['model'] == 'mine'
    answer(p, 'Overwrite')
    assert mine['model']['depth'] == 5

@pytest.mark.parametrize('item, obj, name',
                         [('models/churn', {'a': 1}, 'model'), ('sales/daily', pd.DataFrame({'a': [1]}), 'df'),
                          ('lab/price-list', [1], 'price_list'), ('lab/2026', [1], 'obj'),
                          ('lab/print', [1], 'print_')])
def test_a_name_that_fits_is_offered(show, item, obj, name):
    s, mine = ObjectStore('memory://'), {}
    s.put(item, obj, kind='model' if 'churn' in item else None)
    s.put('lab/other-thing', 1)
    p = show(s, names=mine)
    p.pick('other-thing'); p.pick(item)
    assert p.input_value('.osb-name') == name
    button(p, 'Load as').click(); p.settle()
    assert list(mine) == [name] and p.w.detail['code'][0]['code'].rpartition('\n')[2].startswith(f'{name} = ')
    p.fill('.osb-name', 'mine')
    s.put(item, obj, kind='model' if 'churn' in item else None)
    p.w.refresh()
    p.settle()
    p.pick(item)
    assert p.input_value('.osb-name') == 'mine'                                     # what was typed stays for the item
    p.pick('other-thing')
    assert p.input_value('.osb-name') == 'other_thing'

def test_the_code_is_in_the_notebooks_names_and_is_copied(show, store):
    p = show(store, names={'lab': store})
    p.pick('churn')
    p.evaluate("document.execCommand = c => { window.copied = document.activeElement.value; return true }")
    button(p, 'Copy code').click()
    p.wait_for_function("document.querySelector('.osb-status').innerText.includes('copied')")
    assert p.evaluate('window.copied') == "model = lab.get('models/churn@3')"

def test_aliases_are_set_moved_and_removed(show, store):
    p = show(store)
    p.pick('churn')
    button(p, 'Alias …').click()
    p.fill('.osb-dialog > input', 'candidate'); p.keyboard.press('Enter'); p.settle()
    assert store.aliases('models/churn') == {'candidate': 3, 'production': 2} and 'candidate' in version_rows(p)[0]
    button(p, 'Alias …').click()
    answer(p, 'Move here')
    assert store.aliases('models/churn')['production'] == 3
    assert undo(p) == 'Undo: production at v2' and store.aliases('models/churn')['production'] == 2
    assert undo(p) == 'Undo: production at v3' and store.aliases('models/churn')['production'] == 3
    button(p, 'Alias …').click()
    p.page.locator('.osb-line', has_text='candidate').get_by_role('button', name='Remove').click(); p.settle()
    assert store.aliases('models/churn') == {'production': 3}
    assert undo(p) == 'Undo: candidate at v3' and store.aliases('models/churn') == {'candidate': 3, 'production': 3}

def test_remove_names_what_goes_and_can_be_taken_back(show, store):
    p = show(store)
    p.pick('churn')
    p.locator('.osb-v', has_text='v2').click(); p.settle()
    button(p, 'Remove …').click()
    asks = p.text('.osb-dialog')
    assert 'models/churn@2' in asks and 'production points at it, and goes with it' in asks
    assert p.evaluate('document.activeElement.innerText') == 'Cancel'
    p.keyboard.press('Escape')
    assert len(store.versions('models/churn')) == 3
    button(p, 'Remove …').click()
    answer(p, 'Remove')
    assert ([v.version for v in store.versions('models/churn')] == [1, 3]
            and 'models/churn@2 is removed' in p.text('.osb-status'))
    # the latest takes its place
    assert (p.w.value.ref == 'models/churn@3' and '0.905' in p.text('.osb-panel')
            and p.text('.osb-title').endswith('models/churn@3'))
    assert undo(p) == 'Undo: bring v2 back'
    assert (store.get('models/churn@2')['depth'] == 4
            and 'models/churn@2 is back' in p.text('.osb-status'))
    assert store.aliases('models/churn') == {'production': 2}                       # and what went with it

def test_what_cannot_be_taken_back_says_so(show, store):
    p = show(store)
    p.pick('churn')
    button(p, 'Remove …').click(); answer(p, 'Remove')
    def gone(*args, **kw): raise FileNotFoundError(2, 'its bytes were collected')
    p.w.browsing.quiet.restore = gone
    undo(p)
    assert ('✕ its bytes were collected' in p.text('.osb-status')
            and [v.version for v in store.versions('models/churn')] == [1, 2])

def test_removed_versions_are_shown_when_asked_for_and_brought_back(show, store):
    store.remove('models/churn@3')
    p = show(store)
    p.pick('churn')
    assert len(version_rows(p)) == 2
    button(p, 'Removed').click(); p.settle()
    assert '✕ removed' in version_rows(p)[0]
    p.locator('.osb-v', has_text='v3').click(); p.settle()
    button(p, 'Bring back …').click()
    assert 'v3 is alive again, under its number' in p.text('.osb-dialog')
    answer(p, 'Bring back')
    assert store.get('models/churn')['depth'] == 5 and store['models/churn'].version == 3
    assert 'models/churn@3 is back, the latest now' in p.text('.osb-status')

def test_restore_asks_and_can_be_taken_back(show, store):
    store.remove('models/churn@3')
    p = show(store)
    p.pick('churn')
    assert (button(p, 'Restore …').is_disabled()
            and button(p, 'Restore …').get_attribute('title') == 'It is the latest version already')
    p.locator('.osb-v', has_text='v1').click(); p.settle()
    button(p, 'Restore …').click()
    # 3 is not given again
    assert ('Restore models/churn@1?' in p.text('.osb-dialog')
            and 'v1 becomes the new latest version 4' in p.text('.osb-dialog'))
    p.keyboard.press('Escape'); p.settle()
    assert [v.version for v in store.versions('models/churn')] == [1, 2]
    button(p, 'Restore …').click(); answer(p, 'Restore')
    assert (store.get('models/churn@4') == store.get('models/churn@1') and p.w.value.ref == 'models/churn@4'
            and button(p, 'Restore …').is_disabled())
    p.tab('Compare'); p.settle()
    assert p.text('.osb-panel').startswith('models/churn@2 → models/churn@4')
    assert undo(p) == 'Undo: remove v4'
    p.settle()
    assert ([v.version for v in store.versions('models/churn')] == [1, 2]
            and 'models/churn@4 is removed' in p.text('.osb-status'))
    assert (p.text('.osb-panel').startswith('models/churn@1 → models/churn@2')
            and p.text('.osb-title').endswith('models/churn@2'))

def test_taking_back_stops_at_an_alias(show, store):
    p = show(store)
    p.pick('churn')
    p.locator('.osb-v', has_text='v1').click(); p.settle()
    button(p, 'Restore …').click(); answer(p, 'Restore')
    store.set_alias('models/churn@4', 'candidate')
    undo(p)
    assert ('candidate points at models/churn@4 now' in p.text('.osb-status')
            and len(store.versions('models/churn')) == 4)

def test_copy_to_another_bucket(show, store):
    p = show(store)
    p.pick('churn')
    button(p, 'Copy to …').click()
    answer(p, 'Copy')
    # it asks for a name
    assert p.locator('.osb-dialog').count() == 1 and p.evaluate("document.activeElement.tagName") == 'INPUT'
    p.fill('.osb-dialog > input', 'archive'); p.keyboard.press('Enter'); p.settle()
    assert "No bucket 'archive'" in p.text('.osb-dialog') and set(store.list_buckets()) == {'models', 'sales'}
    answer(p, 'Cancel')
    assert set(store.list_buckets()) == {'models', 'sales'}
    button(p, 'Copy to …').click()
    p.fill('.osb-dialog > input', 'archive'); p.keyboard.press('Enter'); p.settle(); answer(p, 'Make and copy')
    assert store['archive/churn'].version == 1
    button(p, 'Copy to …').click()
    p.fill('.osb-dialog > input', 'archive'); p.keyboard.press('Enter'); p.settle()
    assert store['archive/churn'].version == 2
    button(p, 'Copy to …').click()
    p.fill('.osb-dialog > input', 'arch@ive'); p.keyboard.press('Enter'); p.settle()
    assert p.text('.osb-status').startswith('✕ ') and set(store.list_buckets()) == {'archive', 'models', 'sales'}
    button(p, 'Alias …').click()
    p.fill('.osb-dialog > input', 'latest'); p.keyboard.press('Enter'); p.settle()
    assert p.text('.osb-status').startswith('✕ ') and store.aliases('models/churn') == {'production': 2}

def test_sync_tells_how_far_it_is(show, memory):
    s = memory.open()
    s.put('models/churn', {'auc': 0.87})
    memory.away()
    for i in range(2): s.put('models/churn', {'auc': 0.9 + i})
    p = show(s)
    gate, sync = threading.Event(), p.w.browsing.quiet.sync
    p.w.browsing.quiet.sync = lambda: (gate.wait(20), memory.back(), sync())[2]
    button(p, 'Sync 2').click()
    p.wait_for_selector('.osb-status progress')
    assert p.get_attribute('.osb-status progress', 'max') == '2' and '0 of 2 delivered' in p.text('.osb-status')
    gate.set(); p.settle(30)
    assert p.locator('progress').count() == 0 and store_versions(s) == [1, 2, 3]

def store_versions(s) -> list: return [v.version for v in s.versions('models/churn')]

def test_usage_is_counted_when_somebody_opens_it(show, store, monkeypatch):
    from objectstore.store.care import CareVerbs
    asked, real = [], CareVerbs.usage_of
    monkeypatch.setattr(CareVerbs, 'usage_of', lambda self, ref: asked.append(ref) or real(self, ref))
    store.put('models/large', bytes(100_000))
    store.put('models/large', bytes(100_000) + b'x')
    store.remove('models/large@1')
    p = show(store)
    p.settle()
    assert not asked
    button(p, 'Usage').click(); p.settle()
    rows = [re.sub(r'\s+', ' ', t) for t in p.locator('.osb-dialog tbody tr').all_inner_texts()]
    assert asked == [None] and [r.split()[0] for r in rows] == ['models', 'sales']
    assert re.fullmatch('models 4 20[0-9] kB 100 kB', rows[0]) and p.text('.osb-used p').startswith('100 kB of 2')
    p.keyboard.press('Escape')
    assert p.locator('.osb-dialog').count() == 0
    p.page.select_option('.osb-bucket', 'sales'); p.settle()
    # by keyboard: of the bucket that is shown
    p.locator('.osb-grid').focus(); p.keyboard.press('u'); p.settle()
    assert asked == [None, 'sales'] and p.locator('.osb-dialog tbody tr').count() == 1
    assert 'live versions need all of it' in p.text('.osb-used p')
    for _ in range(3): p.keyboard.press('Tab')
    assert p.evaluate("document.activeElement.closest('.osb-dialog') !== null") and not p.errors

def test_usage_that_cannot_be_counted_says_why(show, store):
    p = show(store)
    def away(ref): raise NotAvailableOffline('the lab is not there')
    p.w.browsing.quiet.usage_of = away
    button(p, 'Usage').click(); p.settle()
    assert p.text('.osb-used') == 'the lab is not there' and not p.errors

def test_read_only_has_nothing_that_writes(show, store):
    p = show(store, readonly=True)
    p.pick('churn')
    assert p.locator('.osb-does button').all_inner_texts() == ['Copy code', 'Load as']
    for what, how in (('alias', dict(alias='x')), ('remove', dict(aliases=[])), ('restore', {}), ('back', {}),
                      ('copy', dict(to='z'))):
        p.w.browsing.receive({'verb': 'act', 'what': what, 'ref': 'models/churn@1', **how})
    p.settle()
    assert ('read-only' in p.text('.osb-status') and len(store.versions('models/churn')) == 3
            and 'x' not in store.aliases('models/churn'))


# 4 The Python side

def test_the_python_side_follows_and_leads(show, store):
    p = show(store)
    heard = []
    p.w.observe(lambda c: heard.append((c['name'], c['new'])), ['value', 'selected', 'bucket', 'query', 'status'])
    assert (p.w.value, p.w.selected, p.w.status) == (None, [], 'ready')
    p.pick('churn')
    assert (p.w.value, p.w.selected) == (store['models/churn'], ['models/churn@3']) and isinstance(p.w.value, Version)
    p.w.bucket = 'sales'; p.settle()
    assert p.input_value('.osb-bucket') == 'sales' and len(p.names()) == 3
    p.w.query = 'daily'; p.settle()
    assert p.input_value('.osb-search') == 'daily' and p.names() == ['daily']
    p.w.selected = ['models/churn@1']; p.settle()
    assert p.w.value.version == 1 and p.text('.osb-title').endswith('models/churn@1')
    p.w.selected = ['models/churn@1', 'models/churn@3']; p.settle()
    button(p, 'Compare 2').click(); p.settle()
    assert (p.text('.osb-panel').startswith('models/churn@1 → models/churn@3')
            and p.locator('.osb-v.osb-marked').count() == 2)
    store.put('sales/daily2', [1]); p.w.refresh(); p.settle()
    assert sorted(p.names()) == ['daily', 'daily2']
    assert ({n for n, _ in heard} == {'value', 'selected', 'bucket', 'query', 'status'}
            and ('status', 'loading') in heard)

def test_what_it_gives_is_of_the_store_that_was_given(store):
    from objectstore.browser.widget import Browser
    w = Browser(store, names={})
    w.selected = ['models/churn@1']
    assert w.wait(10).value._store is store and w.value.get() == {'depth': 3, 'auc': 0.87}

def test_wait_is_bounded(store):
    from objectstore.browser.widget import Browser
    w = Browser(store, names={}).wait(10)
    gate = threading.Event()
    w.browsing.workers.do(lambda wanted: gate.wait(10))
    with pytest.raises(TimeoutError): w.wait(0.1)
    gate.set()
    assert w.wait(10) is w


# 5 States

class Slow:
    "Searches that wait for a gate"
    def __init__(self, w):
        self.gate, self.asked, self.find, self.by = (threading.Event(), threading.Event(), w.browsing.quiet.find_items,
                                                     set())
        w.browsing.quiet.find_items = self
    def __call__(self, *args, **kwargs):
        self.by.add(threading.current_thread())
        self.asked.set()
        self.gate.wait(60)
        return self.find(*args, **kwargs)

def test_loading_is_shown_after_a_while_and_can_be_cancelled(show, store):
    p = show(store)
    slow = Slow(p.w)
    p.fill('.osb-search', 'churn')
    p.wait_for_selector('.osb-cancel')
    assert p.w.status == 'loading' and p.get_attribute('.osb-grid', 'aria-busy') == 'true'
    button(p, 'Cancel').click()
    p.wait_for_function("document.querySelector('.osb').dataset.status === 'ready'")
    slow.gate.set(); p.settle()
    assert p.w.status == 'ready' and p.w.view['count'] == 4         # the late answer was dropped
    assert p.locator('.osb-cancel').count() == 0 and p.text('.osb-status') == '4 items'

def test_the_first_load_shows_a_skeleton(show, store):
    gate, find = threading.Event(), ObjectStore.find_items
    class Late(ObjectStore):
        def find_items(self, *args, **kwargs):
            gate.wait(20)
            return find(self, *args, **kwargs)
    late = Late.over(store.origin)
    p = show(late, settle=False)
    p.wait_for_selector('.osb-blank .osb-bone')
    gate.set(); p.settle()
    assert len(p.names()) == 4

def test_empty_shows_how_to_put(show):
    p = show(ObjectStore('memory://'))
    assert "store.put('sales/daily', df)" in p.text('.osb-blank') and p.w.status == 'empty'

def test_no_match_says_why_and_clears(show, store):
    p = show(store)
    p.search('nothing like this')
    assert p.w.status == 'no-match' and 'No match' in p.text('.osb-blank')
    button(p, 'Clear the search').click(); p.settle()
    assert len(p.names()) == 4

def test_an_error_is_one_sentence_and_the_list_stays(show, store):
    p = show(store)
    find, p.w.browsing.quiet.find_items = p.w.browsing.quiet.find_items, lambda *a, **k: (
        _ for _ in ()).throw(OSError(5, 'the disk is on fire'))
    p.w.query = 'churn'; p.settle()
    assert p.w.status == 'error' and 'the disk is on fire' in p.text('.osb-banner') and len(p.names()) == 4
    button(p, 'Details').click()
    assert 'OSError' in p.text('.osb-more')
    p.w.browsing.quiet.find_items = find
    button(p, 'Try again').click(); p.settle()
    assert p.w.status == 'ready' and p.names() == ['models/churn'] and p.locator('.osb-banner').is_hidden()

def test_a_list_grows_stale(show, store, monkeypatch):
    from objectstore.browser import controller
    monkeypatch.setattr(controller, 'STALE_AFTER', 0.2)
    p = show(store)
    p.wait_for_selector('.osb-banner:not([hidden])')
    assert (p.w.status == 'stale' and re.search(r'△ Stale. As of \d\d:\d\d, (\d+ s ago|just now)',
                                                re.sub(r'\s+', ' ', p.text('.osb-banner'))) and len(p.names()) == 4)
    monkeypatch.setattr(controller, 'STALE_AFTER', 300)
    button(p, 'Try again').click(); p.settle()
    assert p.w.status == 'ready'

def test_offline_the_near_stays_usable_and_writes_wait(show, memory):
    store = memory.open()
    for auc in (0.87, 0.91): store.put('models/churn', {'auc': auc}, kind='model')
    store.put('models/other', {'a': 1})
    store.get('models/churn@1'), store.get('models/churn')
    p = show(store)
    assert '⌂ near' in p.text('.osb-body')
    memory.away()
    p.w.refresh(); p.settle()
    assert p.w.status == 'offline' and '⚠ Offline' in p.text('.osb-banner') and 'models/churn' in p.names()
    p.pick('churn')
    assert '0.91' in p.text('.osb-panel')
    p.locator('.osb-v', has_text='v1').click(); p.settle()
    assert (all(button(p, n).is_enabled() for n in ('Restore …', 'Alias …'))
            and p.locator('.osb-body .osb-state', has_text='△ stale').count() >= 1)
    button(p, 'Restore …').click()
    # no number is promised
    assert ('v1 becomes the new latest version.' in p.text('.osb-dialog')
            or 'v1 becomes the new latest version (' in p.text('.osb-dialog'))
    answer(p, 'Restore'); p.settle(30)
    assert 'pending' in p.text('.osb-status') and '◷ pending' in p.text('.osb-list')
    assert button(p, 'Sync 1').is_visible()
    memory.back()
    button(p, 'Sync 1').click(); p.settle(30)
    # it may have been delivered in the background
    assert (re.search('1 of 1 delivered|Nothing was pending', p.text('.osb-status'))
            and store['models/churn'].version == 3)


# 6 Keys, readers, looks

def test_all_by_keyboard_and_nothing_reaches_the_notebook(show, store):
    mine = {}
    p = show(store, names=mine)
    p.locator('.osb-grid').focus()
    p.evaluate('window.heard.length = 0')
    for key in ('End', 'Home', 'j', 'k', 'ArrowDown', 'PageDown', 'PageUp'): p.keyboard.press(key)
    p.settle()
    assert p.w.value is not None
    p.keyboard.press('/'); p.keyboard.type('churn'); p.keyboard.press('Enter'); p.settle()
    assert p.names() == ['models/churn'] and p.evaluate("document.activeElement.getAttribute('role')") == 'grid'
    p.keyboard.press('Home'); p.keyboard.press('Enter'); p.settle()
    assert p.evaluate("document.activeElement.getAttribute('role')") == 'listbox'
    for key in (' ', 'j', ' '): p.keyboard.press(key)
    p.settle()
    assert p.w.selected == ['models/churn@3', 'models/churn@2'] and p.w.value.version == 2
    p.keyboard.press('l'); p.keyboard.press('Control+a'); p.keyboard.type('dd'); p.keyboard.press('Enter'); p.settle()
    assert mine['dd']['depth'] == 4
    p.keyboard.press('Escape'); p.keyboard.press('?')
    assert 'mark for comparing' in p.text('.osb-dialog')
    p.keyboard.press('Escape')
    assert p.locator('.osb-dialog').count() == 0
    p.keyboard.press('Escape'); p.settle()
    assert len(p.names()) == 4 and p.input_value('.osb-search') == ''
    open_to_shortcuts = p.evaluate("[...document.querySelectorAll('.osb button, .osb input, .osb select, .osb summary, "
                                   ".osb [tabindex]')].filter(e => "
                                   "!e.hasAttribute('data-lm-suppress-shortcuts')).map(e => e.outerHTML)")
    assert p.evaluate('window.heard') == [] and not open_to_shortcuts and not p.errors

def test_each_key_goes_where_it_says(show):
    s = ObjectStore('memory://', durable=False)
    for i in range(60): s.put(f'lab/run-{i:02}', i, metadata={'loss': i})
    p = show(s)
    p.evaluate("document.execCommand = c => { window.copied = document.activeElement.value; return true }")
    p.locator('.osb-grid').focus()
    def at(): return p.text('.osb-row.osb-on .osb-text')[-2:]
    seen = []
    for key in ('Home', 'j', 'ArrowDown', 'k', 'ArrowUp', 'End', 'PageUp', 'Home', 'PageDown'):
        p.keyboard.press(key)
        seen.append(at())
    assert seen[:6] == ['59', '58', '57', '58', '59', '00'] and 0 < int(seen[6]) < 15 and 45 < int(seen[8]) < 59
    p.settle()
    p.keyboard.press('c')
    p.wait_for_function("document.querySelector('.osb-status').innerText.includes('copied')")
    assert p.evaluate('copied').endswith(f"store.get('lab/run-{seen[8]}@1')")
    p.keyboard.press('s'); p.settle()                                                # from when, round to name
    assert (p.names()[0] == 'lab/run-00' and p.get_attribute('.osb-c-item[role=columnheader]', 'aria-sort')
            == 'ascending')
    p.keyboard.press('?')
    assert p.evaluate("(b => b.scrollTop === 0 && b.scrollHeight <= "
                      "b.clientHeight)(document.querySelector('.osb-dialog'))")
    assert all(k in p.text('.osb-keys') for k in ('Page Up', 'Home', 'Enter', 'Esc', 'Space', '@production'))
    for _ in range(3): p.keyboard.press('Tab')
    assert p.evaluate("document.activeElement.closest('.osb-dialog') !== null")      # a question keeps the focus
    p.keyboard.press('Escape')
    assert p.evaluate("document.activeElement.getAttribute('role')") == 'grid'

def test_the_colours_of_vs_code_come_first(show, store):
    p = show(store)
    p.page.add_style_tag(content='body{--vscode-editor-background:#1f1f1f;--vscode-editor-foreground:#cccccc}')
    assert p.evaluate("(s => [s.backgroundColor, s.color])(getComputedStyle(document.querySelector('.osb')))") == [
        'rgb(31, 31, 31)', 'rgb(204, 204, 204)']

def test_readers_are_told(show, store):
    p = show(store)
    p.locator('.osb-grid').focus(); p.keyboard.press('End'); p.settle()
    grid = p.locator('.osb-grid')
    assert grid.get_attribute('role') == 'grid' and grid.get_attribute('aria-rowcount') == '5'
    active = p.locator('#' + grid.get_attribute('aria-activedescendant'))
    assert active.get_attribute('aria-selected') == 'true' and active.get_attribute('aria-rowindex') == '5'
    assert (p.locator('[role=status]').inner_text() == '4 items'
            and p.locator('.osb [tabindex="0"][role=grid]').count() == 1)
    tabs = p.locator('[role=tab]')
    tabs.first.focus(); p.keyboard.press('ArrowRight')
    assert p.locator('[role=tab][aria-selected=true]').inner_text() == 'Metadata'

@pytest.mark.parametrize('dark', [False, True], ids=['light', 'dark'])
@pytest.mark.parametrize('theme', [True, False], ids=['jupyterlab', 'system'])
def test_axe_finds_nothing(show, store, dark, theme):
    from axe_playwright_python.sync_playwright import Axe
    store.put('models/logo', image(3))
    p = show(store, dark=dark, theme=theme)
    def check(what):
        found = Axe().run(p.page, '.osb',
                          options={'runOnly': ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa',
                                               'best-practice']}).response['violations']
        assert not found, f'{what}: ' + '; '.join(f"{v['id']}: {v['nodes'][0]['html'][:160]} "
                                                  f"{v['nodes'][0]['failureSummary'][:300]}" for v in found)
    check('the list')
    p.pick('daily'); check('a frame')
    p.w.compare('sales/daily@1', 'sales/daily@2'); p.settle(); check('a comparison')
    p.locator('.osb-split').focus(); check('the divider')
    for tab in ('Metadata', 'Lineage', 'Code'): p.tab(tab); check(tab)
    button(p, 'Remove …').click(); check('a question'); p.keyboard.press('Escape')
    button(p, 'Usage').click(); p.settle(); check('usage'); p.keyboard.press('Escape')
    p.search('nothing'); check('no match')
    p.search('nothing >'); check('a wrong condition')

def test_narrow_panes_stack(show, store):
    p = show(store, width=1000)
    def tops():
        return p.evaluate("['.osb-items', '.osb-versions', '.osb-about'].map(s => "
                          "document.querySelector(s).getBoundingClientRect().top)")
    assert tops()[0] == tops()[1] < tops()[2]
    p.page.set_viewport_size({'width': 500, 'height': 900}); p.settle()
    a, b, c = tops()
    assert a < b < c and p.evaluate('document.documentElement.scrollWidth <= 500')
    # as a hand leaves it that drew at the corner
    p.evaluate("document.querySelector('.osb').style.height = '420px'")
    assert p.evaluate("document.querySelector('.osb-foot').getBoundingClientRect().bottom <= "
                      "document.querySelector('.osb').getBoundingClientRect().bottom")

def test_high_contrast_keeps_the_row_visible(show, store):
    p = show(store)
    p.page.emulate_media(forced_colors='active')
    p.locator('.osb-grid').focus(); p.keyboard.press('Home'); p.settle()
    assert p.evaluate("getComputedStyle(document.querySelector('.osb-row.osb-on')).outlineStyle") == 'solid'


# 7 Never blocks

def test_a_busy_kernel_leaves_what_is_loaded_usable(show):
    s = ObjectStore('memory://', progress=False, durable=False)
    for i in range(250): s.put(f'lab/item-{i:03}', i, metadata={'owner': 'ann' if i % 50 else 'zoe'})
    p = show(s)
    # as an old kernel while a cell runs: messages wait
    p.busy = True
    p.fill('.osb-search', 'zoe')
    p.wait_for_function("document.querySelector('.osb-count').innerText === '5 here'")
    assert len(p.names()) == 5
    p.wait_for_function("document.querySelector('.osb-status').innerText.includes('busy')")
    p.fill('.osb-search', ''); p.locator('.osb-grid').focus(); p.keyboard.press('End')
    p.wait_for_function("[...document.querySelectorAll('.osb-text')].some(x => x.innerText === 'lab/item-000')")
    p.fill('.osb-search', 'item-00'); p.quiet()
    p.free(); p.settle()
    assert p.w.query == 'item-00' and len(p.w.page['rows']) == 10

def test_late_replies_are_dropped(show, store):
    p = show(store)
    slow = Slow(p.w)
    p.w.query = 'slip'                                                 # two items
    assert slow.asked.wait(30)
    p.w.browsing.quiet.find_items = slow.find
    p.w.query = 'daily'
    p.wait_for_function("document.querySelectorAll('.osb-body .osb-text').length === 1 && "
                        "document.querySelector('.osb-body .osb-text').innerText === 'sales/daily'")
    slow.gate.set(); p.settle()
    assert (p.names() == ['sales/daily'] and p.w.query == 'daily' and p.text('.osb-count') == '1 of 4'
            and len(p.w.browsing.found) == 1)

def test_handlers_only_enqueue(store):
    "A message is taken in a moment, however slow the store is"
    from objectstore.browser.widget import Browser
    w = Browser(store, names={}).wait(10)
    slow = Slow(w)
    for verb in ({'verb': 'find', 'query': 'a'}, {'verb': 'pick', 'ref': 'models/churn@1'},
                 {'verb': 'act', 'what': 'sync'}, {'verb': 'nonsense'}, {'verb': 'find', 'workers': 3}, 'text',
                 {'verb': 'page', 'start': 'x', 'gen': None}):
        w._handle_custom_msg(verb, [])
    assert slow.asked.wait(30) and threading.current_thread() not in slow.by and not slow.gate.is_set()
    slow.gate.set()
    w.wait(30)

class Many:
    "As many versions as one likes, made when they are asked for"
    why = ''
    def __init__(self, v, n): self.v, self.n = v, n
    def __len__(self): return self.n
    def __getitem__(self, i):
        if isinstance(i, slice): return [self[k] for k in range(*i.indices(self.n))]
        v = self.v.seen_by(self.v._store)
        v._record = replace(self.v._record, item=f'item-{i:06}')
        return v

def test_a_hundred_thousand_rows(show, figure):
    s = ObjectStore('memory://')
    v = s.put('lab/one', {'a': 1})
    found = Many(v, 100_000)
    class Big(ObjectStore):
        def find_items(self, *args, **kwargs): return found
    big = Big.over(s.origin)
    began = time.monotonic()
    p = show(big, settle=False)
    p.wait_for_selector('.osb-body .osb-row .osb-text')
    first = time.monotonic() - began
    p.settle()
    nodes = p.evaluate("document.querySelectorAll('.osb *').length")
    p.locator('.osb-grid').focus()
    began = time.monotonic()
    p.keyboard.press('End')
    p.wait_for_function("[...document.querySelectorAll('.osb-text')].some(x => x.innerText === 'lab/item-099999')")
    figure('100,000 rows in the browser', first_row_s=first, end_key_s=time.monotonic() - began, nodes=nodes)
    assert nodes < 600 and p.get_attribute('.osb-grid', 'aria-rowcount') == '100001'


# 8 Everything from the store is data

HOSTILE = '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>'

def test_nothing_from_a_store_becomes_markup(show):
    s = ObjectStore('memory://')
    meta = {'description': HOSTILE, 'owner': HOSTILE, 'big': 'x' * 100_000, 'link': 'javascript:alert(1)'}
    s.put('lab/text', HOSTILE, metadata=meta); s.put('lab/text', HOSTILE + '\n2', metadata={**meta, 'owner': 'b'})
    s.put('lab/md', f'# {HOSTILE}\n[click](javascript:window.pwned=1) ![x](http://far/x.png) {HOSTILE}',
          metadata={'format': 'markdown'})
    s.put('lab/json', {HOSTILE: HOSTILE}); s.put('lab/frame', pd.DataFrame({HOSTILE: [HOSTILE]}))
    s.put(f'lab/{HOSTILE.replace("/", "")}', 1); s.put('lab/plain', 1, metadata={'n': 'invoice\u202efdp.exe'})
    p = show(s, query='')
    for name in ('lab/text', 'lab/md', 'lab/json', 'lab/frame', 'lab/<img'):
        p.pick(name)
        for tab in ('Metadata', 'Lineage', 'Code', 'Preview'): p.tab(tab)
    p.w.compare('lab/text@1', 'lab/text@2'); p.settle()
    assert (p.evaluate('window.pwned') is None
            and p.evaluate("document.querySelectorAll('.osb script, .osb img, .osb " "a').length") == 0)
    p.pick('lab/plain'); p.tab('Metadata')
    assert '\\u202e' in p.text('.osb-panel') and '\u202e' not in p.text('.osb')

def test_a_broken_payload_is_said(show, tmp_path):
    s = ObjectStore(tmp_path)
    s.put('lab/big', pd.DataFrame({'a': np.random.default_rng(0).normal(size=20_000)}))
    [payload] = [f for f in tmp_path.rglob('payloads/*/*') if f.is_file()]
    payload.chmod(0o644)
    payload.write_bytes(b'<script>window.pwned=1</script>' + payload.read_bytes()[31:])
    p = show(ObjectStore(tmp_path))
    p.pick('lab/big')
    assert 'cannot be shown' in p.text('.osb-panel') and p.names() == ['lab/big'] and p.w.status == 'ready'
    p.tab('Metadata')
    assert 'parquet' in p.text('.osb-panel')

def test_a_huge_value_is_cut(show):
    s = ObjectStore('memory://')
    s.put('lab/wide', {f'k{i}': 'v' * 1000 for i in range(3000)}, metadata={f'm{i}': 'x' * 2000 for i in range(300)})
    p = show(s)
    p.pick('wide')
    assert len(json.dumps(p.w.detail)) < 200_000 and len(json.dumps(p.w.preview)) < 200_000


# 9 Without widgets

def test_the_static_page_has_no_script_and_shows_the_same(chromium, store):
    store.put('models/bad', 1, metadata={'description': HOSTILE})
    overview = browse(store, ui='html')
    page = chromium.new_page()
    page.route('**/*', lambda r: r.abort())
    page.set_content(overview.html())
    assert (page.locator('table').first.inner_text().count('models/') == 2 and page.locator('script, img').count() == 0
            and page.evaluate('window.pwned') is None)
    page.locator('summary', has_text='Versions of 2 items').click()
    page.locator('summary', has_text='models/churn').click()
    assert 'production' in page.locator('details[open] details[open] details[open]').inner_text()
    page.close()
    assert 'models/churn@3' in overview.text()
    assert 'models/churn@2' in browse(store, query='@production', ui='html').text()
    assert 'models/churn' in overview.markdown() and '<script' not in overview.html()

def test_a_saved_picture_works_without_kernel_or_network(chromium, store):
    from objectstore.browser.widget import Browser, picture
    html = picture(Browser(store, names={}).shelve())
    page, errors, asked = chromium.new_page(), [], []
    page.on('pageerror', lambda e: errors.append(str(e)))
    page.route('**/*', lambda r: (asked.append(r.request.url), r.abort()))
    page.set_content(f'<!doctype html><body>{html}{html}</body>')
    page.wait_for_selector('.osb-body .osb-row')
    page.locator('.osb-body .osb-row', has_text='churn').first.click()
    page.wait_for_selector('.osb-list .osb-v')
    assert page.locator('.osb').count() == 2 and '0.905' in page.locator('.osb-panel').first.inner_text()
    page.locator('.osb-v', has_text='v1').first.click()
    page.wait_for_function("document.querySelector('.osb-panel').innerText.includes('0.87')")
    page.locator('.osb-search').first.fill('daily')
    page.wait_for_function("document.querySelectorAll('.osb')[0].querySelectorAll('.osb-body .osb-row').length === 1")
    assert (not errors and not asked and page.locator('.osb').first.locator('.osb-does button').all_inner_texts()
            == ['Copy code'])
    page.close()


# 10 A store that is new to this machine

class Held:
    "A place whose records are read so many at a time as they are let through"
    def __init__(self, place, monkeypatch):
        from objectstore.search import rebuild
        self.let, self.asked, reading = threading.Semaphore(0), 0, place.read_many
        def read_many(keys, limit=None):
            keys = list(keys)
            if any('/records/' in k for k in keys):
                self.asked += 1
                assert self.let.acquire(timeout=60)
            return reading(keys, limit)
        monkeypatch.setattr(place, 'read_many', read_many)
        monkeypatch.setattr(rebuild, 'PORTIONS', (10, 20))

@pytest.fixture
def new_here(monkeypatch):
    "A store with 60 items that this machine has not read, and what holds its records back"
    from objectstore.search.local_index import Index
    from objectstore.search.rebuild import Keeper
    s = ObjectStore('memory://', progress=False)
    s.put_many([(f'lab/run-{i:02}', i, {'auc': i / 100}) for i in range(60)], kind='run')
    s.keeper.close()
    s.origin.bucket('lab').records.clear()
    s._keeper = Keeper(s.origin, Index())
    return s, Held(s.origin.bucket('lab').backend, monkeypatch)

def until(p, what: str) -> None: p.page.wait_for_function(what, timeout=60_000)

def test_a_new_store_is_shown_and_searched_while_it_is_read(show, new_here):
    s, held = new_here
    held.let.release()
    p = show(s, settle=False)
    until(p, "document.querySelectorAll('.osb-body .osb-text').length === 10")
    until(p, "document.querySelector('.osb-banner').innerText.includes('10 of about 60 versions')")
    assert p.w.status == 'loading'
    p.fill('.osb-search', 'auc < 0.05')
    until(p, "document.querySelectorAll('.osb-body .osb-text').length === 5")
    p.fill('.osb-search', 'auc > 0.5')
    until(p, "document.querySelector('.osb-blank').innerText.includes('that were read so far')")
    for _ in range(20): held.let.release()
    p.settle()
    assert ((p.w.status, p.w.view['count'], p.w.view['total'], p.w.view['building']) == ('ready', 9, 60, None)
            and p.locator('.osb-banner').is_hidden() and not p.errors)

def test_reading_a_new_store_can_be_stopped_and_goes_on(show, new_here):
    s, held = new_here
    held.let.release()
    p = show(s, settle=False)
    until(p, "document.querySelector('.osb-banner').innerText.includes('10 of about 60 versions')")
    button(p, 'Stop').click()
    held.let.release()
    p.settle()
    assert p.w.status == 'stale' and 'stopped after 10' in p.text('.osb-banner')
    assert (asked := held.asked) <= 3                                 # one portion is read while one is written
    p.search('auc < 0.05')
    assert len(p.names()) == 5 and held.asked == asked                # nothing is read on
    p.search('')
    for _ in range(20): held.let.release()
    button(p, 'Go on').click(); p.settle()
    assert (p.w.status, p.w.view['count']) == ('ready', 60) and p.locator('.osb-banner').is_hidden()
