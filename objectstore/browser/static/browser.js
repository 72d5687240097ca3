// The page of the browser: plain DOM, no framework, no network. Everything that comes from a store goes in as text. What is in the panes is drawn by panes.js.
const ROW = 26, MARGIN = 8, SKELETON = 150, BUSY = 1000, PREFETCH = 500, NARROW = 700
const TABS = ['Preview', 'Metadata', 'Compare', 'Lineage', 'Code']
const KEYS = [['↑ ↓ or j k', 'move'], ['Page Up, Page Down, Home, End', 'move far'], ['Enter', 'open: a folder, the versions of an item, then the preview'], ['/', 'search: a word, ^regex, auc > 0.9, @production, @* for every version; commas between them'], ['Esc', 'back; clears the search'],
  ['Space, Shift + click', 'mark for comparing; without a mark, it is with the version before'], ['c', 'copy the code'], ['l', 'load into a variable'], ['s', 'sort by the next column'], ['Backspace', 'out of a folder'], ['Tab, then ↑ ↓', 'on the line above the tabs: more or less room for the list'], ['u', 'usage: what is kept'], ['?', 'this help']]
const COLUMNS = [['item', 'name'], ['kind', 'kind'], ['version', 'ver.'], ['size', 'size'], ['created', 'when']]
const CONDITION = /[<>=]|\bis\s+(not\s+)?null\b|\blike\s+['":]|\bbetween\s+['":\d-]|\bin\s*\(/i
const LIST = ['gen', 'count', 'total', 'understood', 'why', 'asof']      // what a view says of the list that came with it
const SPLIT = [42, 15, 85]      // of the height: what the list has, at least and at most
const itemOf = ref => (ref ?? '').split('@')[0]

function h(tag, props, ...kids) {
  const e = tag === 'svg' || tag === 'path' ? document.createElementNS('http://www.w3.org/2000/svg', tag) : document.createElement(tag)
  for (const [k, v] of Object.entries(props ?? {})) {
    if (v === undefined || v === null || v === false && !k.startsWith('aria-')) continue
    if (k.startsWith('on')) e.addEventListener(k.slice(2), v)
    else if (k === 'text') e.textContent = v
    else if (k === 'value') e.value = v
    else if (k === 'style') e.style.cssText = v
    else e.setAttribute(k, v === true && !k.startsWith('aria-') ? '' : v)
  }
  if (/^(button|input|select|textarea|summary)$/.test(tag) || props?.tabindex !== undefined) e.setAttribute('data-lm-suppress-shortcuts', 'true')     // Lumino looks at the element that has the focus first
  e.append(...kids.flat(Infinity).filter(k => k !== null && k !== undefined && k !== false))
  return e
}
const number = n => n === null || n === undefined ? '' : n.toLocaleString('en')
const plural = (n, word) => `${number(n)} ${word}${n === 1 ? '' : 's'}`

export function ago(iso, now = Date.now()) {
  if (!iso) return ''
  const s = (now - Date.parse(iso)) / 1000
  if (s < 1) return 'now'          // also where clocks disagree
  if (s < 59.5) return `${Math.round(s)} s`
  if (s < 3570) return `${Math.round(s / 60)} min`
  if (s < 86000) return `${Math.round(s / 3600)} h`
  if (s < 30 * 86400) return `${Math.round(s / 86400)} d`
  return iso.slice(0, 10)
}
// A name that is cut at its beginning where it is too long: its end tells it from others
const cut = (text, more = '') => h('span', { class: `osb-cut ${more}`, title: text }, h('bdi', { text }))
const full = iso => iso ? iso.replace('T', ' ').replace(/(\+00:00|Z)$/, ' UTC') : ''
const clock = iso => iso ? new Date(iso).toTimeString().slice(0, 5) : ''

// A search line cut at commas that are in no quotes or brackets, as the kernel does it
export function parts(line) {
  const found = ['']
  let depth = 0, quote = ''
  for (const c of line) {
    if (quote) quote = c === quote ? '' : quote
    else if (c === '"' || c === "'") quote = c
    else depth += '([{'.includes(c) - ')]}'.includes(c)
    if (c === ',' && !quote && depth <= 0) found.push('')
    else found[found.length - 1] += c
  }
  return found.map(p => p.trim()).filter(Boolean)
}

// What a search line would keep of the rows that are here, while the kernel has not answered. null: only the kernel can tell
export function localTest(line) {
  const tests = []
  for (const part of parts(line)) {
    const held = /^(kind|author) = '((?:[^']|'')*)'$/.exec(part)
    if (held) { const x = held[2].replaceAll("''", "'"); tests.push(r => (r[held[1]] ?? '') === x); continue }
    if (CONDITION.test(part) || part[0] === '@') return null
    const slashed = part.length > 1 && part[0] === '/' && part.endsWith('/')
    if (slashed || /[\\^$*+?|[\]{}()]/.test(part)) {
      try { const re = new RegExp(slashed ? part.slice(1, -1) : part); tests.push(r => re.test(r.item)) } catch { return null }
    } else {
      const words = part.toLowerCase().split(/[^\p{L}\p{N}]+/u).filter(Boolean)
      tests.push(r => { const has = (r.words ??= [r.bucket, r.item, r.kind, r.says, r.keys, r.author, ...(r.aliases ?? [])].join(' ').toLowerCase().split(/[^\p{L}\p{N}]+/u)); return words.every(w => has.some(x => x.startsWith(w))) })
    }
  }
  return r => tests.every(t => t(r))
}

class App {
  constructor(model, el) {
    Object.assign(this, { model, id: `osb-${Math.random().toString(36).slice(2, 10)}`, pages: new Map(), asked: new Set(), rows: 0, gen: -1, cursor: -1, local: null, draft: null, marks: [], tab: 'Preview', ref: null, file: null, vcursor: -1, undo: null, versus: null, named: false, rowRef: null, back: null, sought: null, finds: 0, heard: 0, wish: {}, compares: 0, expected: -1, led: 0, split: SPLIT[0], showSame: false, timers: {} })
    this.live = model.get('options').live !== false
    this.build(el)
    const on = (name, run) => { const f = () => run.call(this); model.on(`change:${name}`, f); (this.ons ??= []).push([`change:${name}`, f]) }
    on('view', this.onView); on('page', this.onPage); on('versions', this.onVersions); on('detail', this.onDetail); on('preview', this.onPreview); on('compared', this.onCompared); on('used', this.onUsed); on('told', this.onTold); on('options', this.onOptions)
    this.ref = model.get('versions')?.ref ?? null
    this.onOptions(); this.onPage(); this.onView(); this.onVersions(); this.onDetail()
    this.watch = new ResizeObserver(() => this.onSize()); this.watch.observe(this.root)
    this.tick = setInterval(() => { this.age(); this.draw(); this.drawVersions() }, 10000)
  }
  close() {
    this.watch.disconnect(); clearInterval(this.tick)
    for (const t of Object.values(this.timers)) clearTimeout(t)
    for (const [name, f] of this.ons) this.model.off(name, f)
  }
  send(verb, more = {}) {
    if (!this.live) return
    this.model.send({ verb, ...more })
    if (verb === 'page' || verb === 'marks') return
    clearTimeout(this.timers.busy)
    this.timers.busy = setTimeout(() => { this.busy = true; this.say(verb === 'act' ? 'It takes a while: what is here stays usable' : this.local ? `The kernel is busy: these are of the ${plural(this.rows, 'row')} that are here` : 'The kernel is busy: what is here stays usable') }, BUSY)
  }
  answered() { clearTimeout(this.timers.busy); if (this.busy) { this.busy = false; this.say('') } }
  later(name, ms, run) { clearTimeout(this.timers[name]); this.timers[name] = setTimeout(run, ms) }
  get view() { const v = this.model.get('view') ?? {}; return !this.kept || v.gen === this.gen ? v : { ...v, ...this.kept } }      // what is said of a list that is not shown is not said of the one that is
  get late() { return this.live && this.finds > this.heard }      // the kernel has not heard the last question: a list that comes now is the answer to one before
  get asks() { return { ...this.view, ...this.wish } }            // what is asked for, heard by the kernel or not
  get readonly() { return this.view.readonly || !this.live }

  // The skeleton of the page
  build(el) {
    const id = this.id, stop = e => e.stopPropagation()
    const button = (text, title, run, more = {}) => h('button', { type: 'button', title, onclick: run, ...more }, text)
    this.button = button
    this.bucket = h('select', { 'aria-label': 'Bucket', class: 'osb-bucket', onchange: () => this.find({ bucket: this.bucket.value || null }) })
    this.url = h('span', { class: 'osb-url' })
    this.search = h('input', { type: 'search', class: 'osb-search', 'aria-label': 'Search: a word, a regular expression, a condition or @ and an alias', 'aria-describedby': `${id}-meant`, placeholder: "word, ^regex, auc > 0.9, stage = 'prod', @production", spellcheck: 'false', autocomplete: 'off', oninput: () => this.typed() })
    this.counts = h('span', { class: 'osb-count' })
    this.meant = h('span', { class: 'osb-meant', id: `${id}-meant` })
    this.facets = h('div', { class: 'osb-facets', role: 'group', 'aria-label': 'Common values' })
    this.banner = h('div', { class: 'osb-banner', role: 'region', 'aria-label': 'State of the store', hidden: true })
    this.synced = h('span', { class: 'osb-synced' })
    this.syncButton = button('Sync', 'Deliver what is pending', () => this.act('sync'), { class: 'osb-sync', hidden: true })
    this.again = button('Refresh', 'Ask the store anew', () => this.send('refresh'), { class: 'osb-plain' })
    this.usageButton = button('Usage', 'What is kept: bytes by bucket, and what is removed and not yet freed', () => this.usage(), { class: 'osb-plain' })
    const help = button('?', 'Keys', () => this.help(), { class: 'osb-plain', 'aria-label': 'Keys' })

    this.flat = button('Folders', 'Show by folder, or all in one list', () => this.find({ folders: !this.asks.folders, within: '' }), { class: 'osb-plain', 'aria-pressed': 'false' })
    this.crumbs = h('span', { class: 'osb-crumbs' })
    this.head = h('div', { role: 'row', class: 'osb-row osb-head', 'aria-rowindex': '1' }, COLUMNS.map(([key, title]) => h('div', { role: 'columnheader', class: `osb-c-${key}`, 'data-key': key },
      button(title, `Sort by ${title}`, () => this.sortBy(key), { tabindex: '-1', class: 'osb-sort' }))))
    const unselected = e => { if (e.shiftKey) e.preventDefault() }          // Shift and a click marks; it must not select text
    const at = e => Math.floor((e.clientY - this.body.getBoundingClientRect().top) / ROW)      // rows are drawn anew while a button is down
    this.body = h('div', { role: 'rowgroup', class: 'osb-body', onmousedown: unselected, onclick: e => this.clicked(at(e), e) })
    this.grid = h('div', { role: 'grid', tabindex: '0', class: 'osb-grid', id: `${id}-grid`, 'aria-label': 'Items', 'aria-multiselectable': 'true', onscroll: () => this.scrolled(), onpointerdown: () => { this.pointing = true }, onfocus: () => { if (this.cursor < 0 && !this.ref && this.total() && !this.pointing) this.move(0, false); this.pointing = false } }, h('div', { role: 'rowgroup', class: 'osb-heads' }, this.head), this.body)
    this.blank = h('div', { class: 'osb-blank', hidden: true })
    const items = h('section', { class: 'osb-items', 'aria-label': 'Items' }, this.grid, this.blank)

    this.vtitle = h('h3', { text: 'Versions' })
    this.compareButton = button('Compare', '', () => this.compare(), { disabled: true, class: 'osb-plain osb-versus' })
    this.unmarkButton = button('✕', 'Take the marks away', () => { this.marks = []; this.marked() }, { class: 'osb-plain', 'aria-label': 'Take the marks away', hidden: true })
    this.removedButton = button('Removed', 'Also show removed versions', () => { const on = this.removedButton.getAttribute('aria-pressed') !== 'true'; this.removedButton.setAttribute('aria-pressed', on); if (this.ref) this.send('pick', { ref: this.ref, removed: on }) }, { class: 'osb-plain', 'aria-pressed': 'false' })
    this.list = h('div', { role: 'listbox', tabindex: '0', class: 'osb-list', 'aria-label': 'Versions', 'aria-multiselectable': 'true', onmousedown: unselected, onclick: e => { const i = [...this.list.children].findIndex(o => o.contains(e.target)); if (i < 0 || !this.vrows?.length) return; this.list.focus(); const from = this.ref; this.moveVersion(i); this.markBy(e, from, this.vrows[i].ref) } })
    this.older = h('div', { class: 'osb-older', hidden: true })
    const versions = h('section', { class: 'osb-versions', 'aria-label': 'Versions' }, h('div', { class: 'osb-cap' }, this.vtitle, this.compareButton, this.unmarkButton, this.removedButton), this.list, this.older)

    this.tabs = h('div', { role: 'tablist', class: 'osb-tabs', 'aria-label': 'About this version' }, TABS.map(t => h('button', { type: 'button', role: 'tab', id: `${id}-${t}`, 'aria-controls': `${id}-panel`, 'data-tab': t, onclick: () => this.open(t) }, t)))
    this.title = h('span', { class: 'osb-title' })
    this.panel = h('div', { role: 'tabpanel', tabindex: '0', class: 'osb-panel', id: `${id}-panel` })
    const about = h('section', { class: 'osb-about', 'aria-label': 'About' }, h('div', { class: 'osb-tabrow' }, this.tabs, this.title), this.panel)

    this.divider = h('div', { role: 'separator', tabindex: '0', class: 'osb-split', 'aria-orientation': 'horizontal', 'aria-label': 'Room for the list', 'aria-valuemin': SPLIT[1], 'aria-valuemax': SPLIT[2], title: 'Drag, or use the arrow keys',
      onpointerdown: e => { e.preventDefault(); this.divider.focus(); this.divider.setPointerCapture(e.pointerId); this.dragging = true }, onpointerup: () => { this.dragging = false }, onpointermove: e => { if (this.dragging) this.splitAt(e.clientY) } })
    this.name = h('input', { class: 'osb-name', 'aria-label': 'Name of a variable', size: '8', value: '', oninput: () => { this.named = true }, spellcheck: 'false', autocomplete: 'off' })
    this.does = h('div', { class: 'osb-does', role: 'group', 'aria-label': 'What to do with this version' })
    this.status = h('div', { role: 'status', class: 'osb-status', 'aria-live': 'polite' })
    this.undoButton = button('Undo', 'Take it back', () => { const { what, ref, says, ...how } = this.undo; this.act(what, ref, how) }, { hidden: true, class: 'osb-plain' })
    this.root = h('div', { class: 'osb', role: 'group', 'aria-label': 'Object store browser', 'data-lm-suppress-shortcuts': 'true', onkeydown: e => { stop(e); this.key(e) }, onkeyup: stop, onkeypress: stop },
      h('div', { class: 'osb-top' }, h('div', { class: 'osb-place' }, this.url, this.bucket), h('div', { class: 'osb-find' }, this.search, this.counts), h('div', { class: 'osb-right' }, this.synced, this.syncButton, this.usageButton, this.again, help)),
      h('div', { class: 'osb-under' }, this.meant, this.facets, this.crumbs, this.flat), this.banner, this.main = h('div', { class: 'osb-main' }, items, versions), this.divider, this.about = about, h('div', { class: 'osb-foot' }, this.does, this.status, this.undoButton))
    el.append(this.root)
    this.resplit(SPLIT[0])
    this.drawActions()
  }
  onOptions() {
    const o = this.model.get('options')
    this.live = o.live !== false
    this.root.style.setProperty('--osb-height', `${Math.max(300, o.height ?? 520)}px`)
    for (const b of [this.again, this.usageButton, this.removedButton, this.compareButton, this.flat]) b.hidden = !this.live
    if (o.tab) this.tab = o.tab
    if (o.marks && o.led !== this.led) {          // Python leads: once each time
      const first = !this.led && this.ref
      this.led = o.led
      this.marks = o.marks.length > 1 ? o.marks.slice(-2) : []
      if (!first) this.at(o.marks.at(-1) ?? null)
      this.drawMarks()
    }
  }
  onSize() { this.root.classList.toggle('osb-narrow', this.root.clientWidth < NARROW); this.draw() }

  resplit(share) {
    this.split = Math.round(Math.max(SPLIT[1], Math.min(SPLIT[2], share)))
    this.root.style.setProperty('--osb-split', this.split); this.divider.setAttribute('aria-valuenow', this.split)
    this.draw()
  }
  splitAt(y) { const top = this.main.getBoundingClientRect().top, end = this.about.getBoundingClientRect().bottom; this.resplit(100 * (y - top) / (end - top)) }

  // The list
  find(what) { if (!this.live) return this.filterHere(); this.wish = { ...this.wish, ...what }; this.send('find', { ...what, by: [this.id, ++this.finds] }) }
  sortBy(key) { const now = this.asks.sort; this.find({ sort: now === key ? `-${key}` : now === `-${key}` ? key : key === 'item' || key === 'kind' ? key : `-${key}` }) }
  typed() {
    this.draft = this.search.value
    this.filterHere()
    this.later('type', 220, () => { if (this.draft !== null) this.find({ query: this.draft }) })
  }
  filterHere() {
    const line = this.draft ?? this.search.value, test = line && line !== this.view.query ? localTest(line) : null
    if (!this.live) this.meant.textContent = line && !test ? 'A saved picture can search for words and expressions: this needs the notebook' : line ? '' : this.view.understood ?? ''
    this.local = test ? [...this.all()].filter(r => !r.folder && test(r)) : null
    if (test) this.meant.textContent = `among the ${plural(this.rows, 'row')} that are here`
    this.seat()
    if (this.local && this.ref && this.cursor < 0) this.leave(this.ref)
    else if (!this.ref && this.rowOf(this.back) >= 0) this.pick(this.back)
    this.drawCounts(); this.drawBlank(); this.draw()
  }
  *all() { for (const start of [...this.pages.keys()].sort((a, b) => a - b)) yield* this.pages.get(start) }
  total() { return this.local ? this.local.length : this.view.count ?? 0 }
  get size() { return this.view.page ?? 100 }
  row(i) { const at = i - i % this.size; return this.local ? this.local[i] : (this.pages.get(at) ?? this.before?.get(at))?.[i % this.size] }
  get loading() { return this.view.status === 'loading' && !(this.view.building && this.view.asking === this.view.gen) }     // what was read so far is a list, too
  onPage() {
    const p = this.model.get('page')
    if (!p?.rows) return
    if (p.gen > this.gen && this.gen >= 0 && this.late) return      // another question is on its way: its list is the next one
    if (p.gen > this.gen) { this.before = p.grown ? new Map([...(this.before ?? []), ...this.pages]) : null; this.pages.clear(); this.asked.clear(); this.rows = 0; this.fresh ||= !p.grown || this.gen < 0; this.gen = p.gen }      // of a list that has grown, the rows stay until the new ones are here; the first that is met is new, however it came about
    if (p.gen < this.gen) return
    if (!this.pages.has(p.start)) this.rows += p.rows.length
    this.pages.set(p.start, p.rows); this.asked.delete(p.start)
    if (this.draft !== null && this.local) this.filterHere()
    else { if (this.fresh && !this.ref) this.cursor = -1; this.seat(); this.draw(); this.seek() }
    if (this.expected >= 0 && this.expected === this.cursor && this.row(this.cursor)) this.move(this.cursor)      // a row that was gone to before it was here
    if (this.fresh && this.view.gen === this.gen) return this.onView()      // what is said of it was here before
    if (this.view.gen === this.gen) this.later('prefetch', 50, () => this.prefetch())
  }
  lacks() { for (let s = 0; s < Math.min(this.view.count ?? 0, PREFETCH); s += this.size) if (!this.pages.has(s)) return s; return -1 }      // the first rows that are fetched unasked, and are not here yet; -1: none
  prefetch() { const s = this.lacks(); if (s >= 0) this.askPage(s) }
  askPage(start) { if (this.asked.has(start) || this.pages.has(start) || !this.live) return; this.asked.add(start); this.send('page', { start, gen: this.gen }) }
  onView() {
    const said = this.model.get('view') ?? {}, [who, n] = said.heard ?? []
    this.answered()
    if (who === this.id && n > this.heard) this.heard = n
    if (!this.late) this.wish = {}
    if (said.gen === this.gen) this.kept = Object.fromEntries(LIST.map(k => [k, said[k]]))
    const v = this.view, loading = this.loading
    this.grid.setAttribute('aria-busy', loading)
    clearTimeout(this.timers.skeleton)
    if (loading) this.timers.skeleton = setTimeout(() => this.drawLoading(), SKELETON)
    else this.root.classList.remove('osb-loading')
    this.root.dataset.status = v.status ?? 'loading'
    if (!loading && !this.late && said.asking === said.gen && said.gen > this.gen && this.gen >= 0 && said.gen !== this.missed) { this.missed = said.gen; this.send('page', { start: 0, gen: said.gen }) }      // the question that was on its way had no list: the one before it counts
    if (!loading && !this.late && v.asking === v.gen && v.query === this.draft) { this.draft = null; this.local = null }
    if (this.draft === null && document.activeElement !== this.search) this.search.value = v.query ?? ''
    if (v.error?.query && !loading) { this.draft = null; this.local = null }
    if (this.draft === null && !loading) this.meant.replaceChildren(...(v.error?.query ? wrong(v.error) : [v.understood ?? '']))
    this.meant.title = v.error?.query && !loading ? v.error.allowed ?? '' : this.meant.textContent
    this.meant.classList.toggle('osb-wrong', Boolean(v.error?.query && !loading))
    this.search.setAttribute('aria-invalid', Boolean(v.error?.query && !loading))
    if (this.fresh && v.gen === this.gen) { this.fresh = false; this.reach() }
    else if (!this.local) this.seek()
    this.drawBuckets(); this.drawFacets(); this.drawBanner(); this.drawCounts(); this.drawHead(); this.drawBlank(); this.draw(); this.age(); this.drawActions()
    if (!loading && this.waits) { this.waits = false; this.status.replaceChildren(Date.now() < (this.hold ?? 0) ? this.status.title : this.stateWords()) }
    if (!loading) this.say(this.stateWords(), true)
    if (!loading && v.gen === this.gen) this.later('prefetch', 100, () => this.prefetch())
  }
  reach() {                      // a new list: keep to what was looked at where it has it; where it says another version of it, that; else nothing is looked at
    const v = this.view, asked = JSON.stringify([v.bucket, v.query, v.folders, v.within]), other = this.listed !== undefined && this.listed !== asked
    const awaited = other || this.ref ? -1 : this.expected            // a row that was gone to before it was here
    this.listed = asked; this.cursor = -1; this.expected = -1
    if (other) this.grid.scrollTop = 0
    if (awaited >= 0) return this.move(awaited)
    this.sought = { other }
    this.seek()
  }
  seek() {                       // what was looked at, in the rows of a new list that are here; until all have come that are fetched unasked, it may be in others
    if (!this.sought || this.fresh) return
    const { other } = this.sought, ref = this.ref ?? this.back, i = this.rowOf(ref)
    if (i < 0 && ref && this.lacks() >= 0) return
    this.sought = null
    if (i < 0) { this.grid.scrollTop = 0; if (other && this.ref) this.leave(this.ref); return }
    const now = this.row(i).ref, said = this.rowRef
    this.cursor = i; this.rowRef = now
    if (other && now !== ref && now !== said) this.pick(now)
    else if (!this.ref) this.pick(ref)
    else this.draw()
  }
  rowOf(ref) {                   // the row of a version in the list as far as it is here, or of its item; -1: none
    if (!ref) return -1
    let item = -1
    const rows = this.local ? [[0, this.local]] : [...new Map([...(this.before ?? []), ...this.pages])].sort((a, b) => a[0] - b[0])
    for (const [start, some] of rows) for (let k = 0; k < some.length; k++) {
      if (some[k].ref === ref) return start + k
      if (item < 0 && itemOf(some[k].ref) === itemOf(ref) && some[k].ref) item = start + k
    }
    return item
  }
  seat() {                       // the cursor goes where what is looked at stands by now
    if (!this.ref) { if (this.cursor >= this.total()) this.cursor = -1; return }
    if (this.row(this.cursor)?.ref !== this.ref) this.cursor = this.rowOf(this.ref)
  }
  stateWords() {
    const v = this.view, n = plural(v.count ?? 0, v.folders ? 'entry' : 'item').replace('entrys', 'entries')
    if (v.building) return `${n} so far`
    return { ready: `${n}`, empty: 'Nothing is stored here', 'no-match': 'No match', offline: 'Offline: what is near stays usable', stale: `${n}, stale`, error: v.error?.query ? 'The search line was not understood' : 'Something went wrong; the list stays' }[v.status] ?? ''
  }
  drawCounts() {
    const v = this.view, n = this.total()
    this.counts.textContent = this.local ? `${number(n)} here` : v.total !== undefined && v.total !== null && (v.query || v.within || v.total > v.count && !v.folders) ? `${number(v.count)} of ${number(v.total)}` : v.gen ? number(v.count) : ''
  }
  drawLoading() {
    this.root.classList.add('osb-loading'); this.waits = true
    if (!this.rows) this.drawBlank(true)
    this.status.replaceChildren('Loading … ', this.button('Cancel', 'Stop waiting', () => this.send('cancel'), { class: 'osb-plain osb-cancel' }))
  }
  drawBuckets() {
    const v = this.view, names = [...new Set([...(v.buckets ?? []), ...(v.bucket ? [v.bucket] : [])])], key = JSON.stringify([names, v.bucket])
    this.url.textContent = v.url ?? ''; this.url.title = v.url ?? ''
    if (key === this.bucketKey) return
    this.bucketKey = key
    this.bucket.replaceChildren(h('option', { value: '', text: 'all buckets' }), ...names.map(n => h('option', { value: n, text: n })))
    this.bucket.value = v.bucket ?? ''
  }
  drawFacets() {
    const v = this.view, key = JSON.stringify([v.facets, this.live ? v.query : this.search.value])
    if (key === this.facetKey) return
    this.facetKey = key
    const now = parts(this.live ? v.query ?? '' : this.search.value), has = c => now.includes(c)
    this.facets.replaceChildren(...(v.facets ?? []).map(f => h('span', { class: 'osb-facet' }, h('span', { class: 'osb-key', text: f.key }), f.values.map(([value, n, c]) =>
      h('button', { type: 'button', class: 'osb-chip', 'aria-pressed': has(c), title: this.can(c) ? c : 'A saved picture cannot search for this', disabled: !this.can(c), onclick: () => this.toggle(c, f) }, h('span', { text: value }), h('span', { class: 'osb-n', text: number(n) }))),
      f.more && h('span', { class: 'osb-dim', text: `+ ${number(f.more)}`, title: `${plural(f.more, 'more value')} of ${f.key}: search for one of them, such as ${f.key} = '…'` }))))
  }
  can(condition) { return this.live || localTest(condition) !== null }
  toggle(condition, facet) {
    const now = parts(this.live ? this.draft ?? this.asks.query ?? '' : this.search.value), own = facet.values.map(([, , c]) => c)
    const others = now.filter(p => p !== condition && !own.includes(p) && !(p[0] === '@' && condition[0] === '@'))          // one value of a key at a time
    const query = (now.includes(condition) ? others : [...others, condition]).join(', ')
    this.search.value = query; this.draft = query; this.find({ query })
    if (!this.live) this.drawFacets()
  }
  drawBanner() {
    const v = this.view, show = (...kids) => { this.banner.hidden = false; this.banner.replaceChildren(...kids) }
    const retry = this.button('Try again', 'Ask again', () => this.send('refresh'))
    if (v.building && v.status !== 'error' && v.status !== 'offline') return this.drawReading(v.building)
    this.banner.dataset.kind = v.status
    this.syncButton.hidden = !v.pending || this.readonly; this.syncButton.textContent = `Sync ${v.pending ?? ''}`
    if (v.status === 'offline') show(h('b', { text: '⚠ Offline. ' }), h('span', { text: `${v.error?.text ?? `${v.url} is not there.`} What is near stays usable; what you write is kept here as pending.` }), retry)
    else if (v.status === 'stale') show(h('b', { text: '△ Stale. ' }), h('span', { text: `As of ${clock(v.asof)}, ${ago(v.asof)} ago.`.replace('now ago', 'just now') }), retry)
    else if (v.status === 'error' && !v.error?.query) {
      const more = h('div', { class: 'osb-more', hidden: true, text: `${v.error?.kind ?? 'Error'}: ${v.error?.text ?? ''}` })
      show(h('b', { text: '✕ ' }), h('span', { text: v.error?.text ?? 'Something went wrong.' }), retry, this.button('Details', 'What exactly', () => { more.hidden = !more.hidden }), more)
    } else this.banner.hidden = true
  }
  drawReading({ done, about, stopped }) {      // its button stays where it is while the numbers change
    const kind = stopped ? 'stopped' : 'reading', far = `${number(done)}${about ? ` of about ${number(about)}` : ''} versions`
    if (this.banner.dataset.kind !== kind || this.banner.hidden) {
      this.banner.dataset.kind = kind; this.banner.hidden = false
      this.far = h('span')
      this.banner.replaceChildren(h('b', { text: stopped ? '△ Not all of it. ' : '◔ Reading. ' }), this.far, stopped ? this.button('Go on', 'Read the rest', () => this.send('refresh')) : this.button('Stop', 'Stop reading; what was read stays', () => this.send('cancel'), { class: 'osb-plain' }))
    }
    this.far.textContent = stopped ? `Reading was stopped after ${far}: these are here.` : `This store is new to this machine: ${far} so far. They are shown and searched while the rest comes.`
  }
  drawHead() {
    const v = this.view, key = (v.sort ?? '').replace(/^-/, '')
    for (const c of this.head.children) {
      const on = c.dataset.key === key && !v.folders
      on ? c.setAttribute('aria-sort', v.sort[0] === '-' ? 'descending' : 'ascending') : c.removeAttribute('aria-sort')
      c.firstChild.textContent = COLUMNS.find(([k]) => k === c.dataset.key)[1] + (on ? (v.sort[0] === '-' ? ' ↓' : ' ↑') : '')
    }
    this.flat.setAttribute('aria-pressed', Boolean(v.folders))
    const parts = (v.within ?? '').split('/').filter(Boolean)
    this.crumbs.replaceChildren(...(v.folders ? ['', ...parts] : []).map((p, i) => h('button', { type: 'button', class: 'osb-plain', onclick: () => this.find({ within: parts.slice(0, i).map(x => x + '/').join('') }) }, i ? `${p}/` : parts.length ? 'all /' : '')).filter(b => b.textContent))
  }
  drawBlank(skeleton = false) {
    const v = this.view, none = !this.total(), loading = this.loading
    const show = none && (skeleton || !loading || Boolean(this.local))
    this.blank.hidden = !show; this.grid.hidden = show
    if (!show) return
    const kids = []
    if (skeleton) for (let i = 0; i < 5; i++) kids.push(h('div', { class: 'osb-bone', 'aria-hidden': 'true', style: `width:${[70, 55, 82, 48, 64][i]}%` }))
    else if (this.local) kids.push(h('p', { text: `None of the ${plural(this.rows, 'row')} that are here` }))
    else if (v.building) kids.push(h('p', { text: `Nothing of this among the ${plural(v.building.done, 'version')} that were read so far` }))
    else if (v.status === 'empty') kids.push(h('p', { text: 'Nothing is stored here yet. Put something:' }), h('code', { text: `store.put('${v.bucket && /^[\w.-]+$/.test(v.bucket) ? v.bucket : 'sales'}/daily', df)` }))
    else if (v.status === 'no-match') kids.push(h('p', { text: 'No match.' }), v.why ? h('p', { class: 'osb-dim', text: v.why }) : null, /@/.test(v.query) || !this.live ? null : this.button('Search every version', 'Not only the latest of each item: @*', () => this.find({ query: `${v.query}, @*` })), this.button('Clear the search', 'Show all', () => this.clear()))
    else if (v.error?.query) kids.push(h('p', {}, wrong(v.error)), v.error.allowed ? h('p', { class: 'osb-dim', text: v.error.allowed }) : null, this.button('Clear the search', 'Show all', () => this.clear()))
    else kids.push(h('p', { text: v.status === 'offline' ? 'Nothing of it is near.' : v.status === 'error' ? 'Nothing was loaded yet.' : 'Nothing here.' }))
    this.blank.replaceChildren(...kids.filter(Boolean))
  }
  clear() { this.search.value = ''; this.draft = ''; this.local = null; this.find({ query: '', within: '' }); if (!this.live) { this.draft = null; this.filterHere() } this.grid.focus() }
  scrolled() { this.draw(); this.later('scroll', 60, () => this.fetchVisible()) }
  visible() { const top = Math.max(0, this.grid.scrollTop - ROW), n = Math.ceil(this.grid.clientHeight / ROW); return [Math.max(0, Math.floor(top / ROW) - MARGIN), Math.min(this.total(), Math.floor(top / ROW) + n + MARGIN)] }
  fetchVisible() { if (this.local) return; const [a, b] = this.visible(); for (let s = a - a % this.size; s < b; s += this.size) this.askPage(s) }
  draw() {
    const total = this.total(), [a, b] = this.visible()
    this.grid.setAttribute('aria-rowcount', total + 1)
    this.body.style.height = `${total * ROW}px`
    const kids = []
    for (let i = a; i < b; i++) kids.push(this.drawRow(i, this.row(i)))
    this.body.replaceChildren(...kids)
    this.cursor >= a && this.cursor < b ? this.grid.setAttribute('aria-activedescendant', `${this.id}-r${this.cursor}`) : this.grid.removeAttribute('aria-activedescendant')
    if (!this.local) this.later('visible', 60, () => this.fetchVisible())
  }
  drawRow(i, r) {
    const here = i === this.cursor, on = here && (!r?.ref || r.ref === this.ref), marked = r?.ref && this.marks.includes(r.ref)      // here, and not on: another version of the item is looked at
    const cell = (key, ...kids) => h('div', { role: 'gridcell', class: `osb-c-${key}` }, kids)
    const base = { role: 'row', id: `${this.id}-r${i}`, class: `osb-row${on ? ' osb-on' : here ? ' osb-of' : ''}${marked ? ' osb-marked' : ''}`, 'aria-rowindex': i + 2, 'aria-selected': Boolean(on || marked), style: `top:${i * ROW}px` }
    if (!r) return h('div', base, cell('item', h('span', { class: 'osb-bone', style: `width:${40 + (i * 37) % 40}%` }), h('span', { class: 'osb-sr', text: 'not loaded yet' })))
    if (r.folder) return h('div', base, cell('item', h('span', { class: 'osb-sign', 'aria-hidden': 'true', text: '▸' }), h('span', { class: 'osb-text', text: r.item.slice((this.view.within ?? '').length) })), cell('kind', h('span', { class: 'osb-dim', text: plural(r.count, 'item') })))
    const whole = this.view.bucket ? r.item : `${r.bucket}/${r.item}`, name = this.view.folders ? whole.slice((this.view.within ?? '').length) : whole
    return h('div', { ...base, title: [r.ref, r.says, r.keys, full(r.created), r.author].filter(Boolean).join('\n') },
      cell('item', marked && h('span', { class: 'osb-sign', text: '✓', title: 'marked for comparing' }), cut(name, 'osb-text'), this.signs(r), h('span', { class: 'osb-dim osb-says', text: r.says || r.keys })),
      cell('kind', r.kind), cell('version', r.version === null ? '–' : `v${r.version}`), cell('size', r.size), h('div', { role: 'gridcell', class: 'osb-c-created', title: full(r.created) }, r.pending ? '–' : ago(r.created)))
  }
  signs(r) {
    const kids = (r.aliases ?? []).map(a => h('span', { class: 'osb-tag', text: a }))
    if (r.others) kids.push(h('span', { class: 'osb-other', text: r.others.map(([a, n]) => `${a} v${n}`).join(', '), title: r.others.map(([a, n]) => `${a} points at v${n}`).join('\n') }))
    if (r.pending) kids.push(h('span', { class: 'osb-state', text: '◷ pending' }))
    if (r.stale && !r.pending) kids.push(h('span', { class: 'osb-state', text: '△ stale' }))
    if (r.near) kids.push(h('span', { class: 'osb-state osb-near', text: '⌂ near' }))
    if (r.removed) kids.push(h('span', { class: 'osb-state', text: '✕ removed' }))
    return kids
  }
  clicked(i, e) { this.pointing = true; this.grid.focus({ preventScroll: true }); this.pointing = false; const from = this.ref; this.move(i, true); const r = this.row(i); if (r?.folder) this.enter(); else this.markBy(e, from, r?.ref) }
  move(i, now = false) {
    const n = this.total()
    if (!n) return
    this.cursor = Math.max(0, Math.min(n - 1, i))
    const top = this.cursor * ROW, high = this.grid.clientHeight - ROW
    if (top < this.grid.scrollTop) this.grid.scrollTop = top
    else if (top + ROW > this.grid.scrollTop + high) this.grid.scrollTop = top + ROW - high
    const r = this.row(this.cursor)
    this.expected = r ? -1 : this.cursor
    this.settle(r, now)
    this.draw(); this.fetchVisible()
  }
  settle(r, now) {
    if (!r?.ref) { this.back = this.sought = null; return this.leave() }                  // a folder, or a row that is not here yet: nothing to act on
    this.rowRef = r.ref
    if (r.ref === this.ref) return
    if (now) return this.pick(r.ref)
    this.at(r.ref)
    this.later('pick', 130, () => this.pick(r.ref))
  }
  enter() { const r = this.row(this.cursor); if (!r) return; if (r.folder) { this.cursor = -1; return this.find({ within: r.folder }) } if (itemOf(r.ref) !== itemOf(this.ref)) this.pick(r.ref); this.list.focus() }
  up() { const parts = (this.asks.within ?? '').split('/').filter(Boolean); if (parts.length) this.find({ within: parts.slice(0, -1).map(x => x + '/').join('') }) }

  // One item, its versions, one version
  // What is looked at is one thing, `ref`: what is highlighted, what the panes show and what the foot acts on go by it
  at(ref) {
    clearTimeout(this.timers.pick); clearTimeout(this.timers.look)
    this.sought = null
    if (ref) this.back = null
    if (itemOf(ref) !== itemOf(this.ref)) {
      this.vrows = []             // the versions of another item: no key may reach them
      this.list.classList.add('osb-old')
      for (const o of this.list.querySelectorAll('.osb-on')) { o.classList.remove('osb-on'); o.setAttribute('aria-selected', 'false'); o.firstChild.textContent = '○' }
      this.list.removeAttribute('aria-activedescendant')
      if (this.live) { this.named = false; this.name.value = ''; if (this.tab === 'Compare') { this.versus = ''; this.comparing = this.following = Boolean(ref) } }
    }
    this.ref = ref; this.file = null; this.vcursor = this.vrows?.findIndex(r => r.ref === ref) ?? -1
    this.seat()
    if (!ref) { this.shelf = this.live ? null : {}; this.onVersions(); this.drawPanel() }
    else this.later('bones', SKELETON, () => { if (!this.here(this.the('preview'))) this.drawPanel() })
    this.drawTitle(); this.drawActions(); this.drawUndo()
  }
  here(x) { return x?.ref && (x.ref === this.ref || x.asked === this.ref || itemOf(x.ref) === this.ref) }
  pick(ref) {
    if (!ref) return
    this.at(ref); this.draw()
    if (!this.live) return this.fromShelf(ref)
    this.send('pick', { ref })
  }
  leave(back = null) {            // nothing is looked at, so there is nothing to act on; `back`: what to come back to when the list has it again
    if (!this.ref) return
    this.at(null)
    this.back = back
    this.send('leave')
  }
  look(ref) { this.at(ref); if (!this.live) return this.fromShelf(ref); this.send('look', { ref }) }
  fromShelf(ref) {
    const kept = this.model.get('shelf')?.[itemOf(ref)]
    this.shelf = kept ? { versions: kept.versions, detail: kept.details?.[ref], preview: kept.previews?.[ref] } : { versions: { item: itemOf(ref), ref, rows: [] }, detail: undefined, preview: undefined }
    this.onVersions(); this.drawPanel(); this.drawTitle()
  }
  the(name) { if (this.live) return this.model.get(name); return this.shelf ? this.shelf[name] ?? {} : this.model.get(name) }
  onVersions() {
    const v = this.the('versions')
    this.answered()
    if (this.ref && v?.item !== itemOf(this.ref)) return              // of what was looked at before
    this.list.classList.remove('osb-old')
    this.told = this.ref ? v : null
    this.vrows = this.told?.rows ?? []
    this.vtitle.replaceChildren(...(this.told?.item ? [h('span', { text: 'Versions of\u00a0' }), cut(v.item)] : ['Versions']))
    this.removedButton.setAttribute('aria-pressed', Boolean(this.told?.removed))
    const i = this.vrows.findIndex(r => r.ref === this.ref)
    this.vcursor = i >= 0 || this.ref?.includes('@') ? i : this.vrows.findIndex(r => !r.removed)       // of an item alone: its latest
    this.drawVersions(); this.drawTitle(); this.drawActions()
    if (this.following && (i >= 0 || this.ref?.includes('@'))) { this.following = false; this.follow() }
    this.drawOlder()
    if (this.told?.error) this.list.replaceChildren(h('div', { role: 'option', 'aria-selected': 'false', 'aria-disabled': 'true', class: 'osb-dim osb-pad', text: v.error }))
    if (this.vcursor >= 0 && this.picked !== this.ref) this.list.children[this.vcursor].scrollIntoView({ block: 'nearest' })
    this.picked = this.ref
  }
  drawOlder() {                  // what the list of versions leaves out
    const { total, gone } = this.told ?? {}, shown = this.vrows.filter(r => !r.removed).length, lost = (total ?? shown) - shown, hidden = (gone ?? 0) - (this.vrows.length - shown)
    this.older.hidden = lost <= 0 && hidden <= 0
    if (this.older.hidden) return
    const words = [lost > 0 && `The newest ${number(shown)} of ${plural(total, 'version')}`, hidden > 0 && `${number(hidden)} removed ${hidden === 1 ? 'one is' : 'ones are'} not shown`].filter(Boolean).join('; ')
    const next = lost > 0 ? Math.min(total, 4 * shown) : 4 * this.vrows.length
    this.older.replaceChildren(h('span', { text: words }), this.live ? this.button(next === total ? 'Show all' : 'Show more', lost > 0 ? `Show ${number(next)} versions` : 'Show more of them', () => this.send('pick', { ref: this.ref, limit: next }), { class: 'osb-plain' }) : '')
  }
  drawVersions() {
    this.list.replaceChildren(...this.vrows.map((r, i) => {
      const on = i === this.vcursor, marked = this.marks.includes(r.ref)
      return h('div', { role: 'option', id: `${this.id}-v${i}`, class: `osb-v${on ? ' osb-on' : ''}${marked ? ' osb-marked' : ''}${r.removed ? ' osb-gone' : ''}`, 'aria-selected': Boolean(on || marked), title: [r.ref, full(r.created), r.author, r.says, r.keys, r.changed && `against the one before: ${r.changed}`].filter(Boolean).join('\n') },
        h('span', { class: 'osb-dot', 'aria-hidden': 'true', text: marked ? '✓' : on ? '●' : '○' }), h('b', { text: r.version === null ? '–' : `v${r.version}` }), h('span', { class: 'osb-when', text: r.pending ? '' : ago(r.created) }), h('span', { class: 'osb-who', text: (r.author ?? '').split('@')[0] }), this.signs(r), h('span', { class: 'osb-dim osb-says', text: r.changed }))
    }))
    if (!this.vrows.length) this.list.replaceChildren(h('div', { role: 'option', 'aria-selected': 'false', 'aria-disabled': 'true', class: 'osb-dim osb-pad', text: !this.ref ? 'Pick an item to see its versions.' : this.live ? '' : 'This picture was saved without the versions of this item.' }))
    this.vcursor >= 0 ? this.list.setAttribute('aria-activedescendant', `${this.id}-v${this.vcursor}`) : this.list.removeAttribute('aria-activedescendant')
    this.drawCompare()
  }
  moveVersion(i) {
    if (!this.vrows.length) return
    this.vcursor = Math.max(0, Math.min(this.vrows.length - 1, i))
    this.drawVersions()
    this.list.children[this.vcursor].scrollIntoView({ block: 'nearest' })
    const ref = this.vrows[this.vcursor].ref
    if (ref !== this.ref) { this.at(ref); this.later('look', 100, () => this.look(ref)); this.draw(); this.drawCompare(); this.follow() }
  }
  mark(ref) {
    if (!ref) return
    this.marks = this.marks.includes(ref) ? this.marks.filter(r => r !== ref) : [...this.marks, ref].slice(-2)
    this.marked()
  }
  markBy(e, from, ref) {          // Shift: this one and the one that was looked at; Ctrl: this one too
    if (!ref || !(e.shiftKey || e.metaKey || e.ctrlKey)) return
    if (!e.shiftKey || !from || from === ref) return this.mark(ref)
    this.marks = [from, ref]; this.marked()
  }
  marked() {
    this.send('marks', { refs: this.marks }); this.drawMarks(); this.follow()
    this.say(this.marks.length ? `Marked: ${this.marks.join(', ')}` : 'Nothing is marked')
  }
  drawMarks() { this.draw(); if (this.vrows) this.drawVersions() }
  // What would be compared, the older first: the two that are marked, or the one that is looked at with the mark, or with the version before it
  pair() {
    const at = this.vrows?.findIndex(r => r.ref === this.ref) ?? -1, [mark] = this.marks
    const other = mark && mark !== this.ref ? mark : at < 0 ? null : this.vrows.slice(at + 1).find(r => !r.removed)?.ref
    const two = this.marks.length === 2 ? this.marks : this.ref && other ? [other, this.ref] : null, place = ref => this.vrows.findIndex(r => r.ref === ref)
    return two && [...two].sort((x, y) => place(x) >= 0 && place(y) >= 0 ? place(y) - place(x) : x.localeCompare(y, 'en', { numeric: true }))
  }
  drawCompare() {
    const two = this.pair(), b = this.compareButton, other = two?.find(r => r !== this.ref), near = other && itemOf(other) === itemOf(this.ref)
    b.disabled = !two; this.unmarkButton.hidden = !this.marks.length || !this.live
    b.textContent = !two ? 'Compare' : this.marks.length === 2 ? 'Compare 2' : `Compare with ${near && /@\d+$/.test(other) ? `v${other.split('@')[1]}` : other}`
    b.title = two ? `Compare ${two.join(' with ')}` : this.ref ? 'There is no version before it: mark another with Space' : 'Pick an item first'
  }
  compare() { const two = this.pair(); if (!two) return; this.versus = two.join(' '); this.comparing = true; this.send('compare', { a: two[0], b: two[1], by: [this.id, ++this.compares] }); this.tab = 'Compare'; this.drawPanel() }
  follow() {                      // while a comparison is shown, it is of what is looked at
    if (this.tab !== 'Compare' || !this.live || !this.ref || !this.vrows?.length) return
    const two = this.pair()
    if (two && two.join(' ') !== this.versus) { this.comparing = true; this.later('compare', 120, () => { if (this.tab === 'Compare') this.compare() }) }
    else if (!two) { clearTimeout(this.timers.compare); this.comparing = false; this.versus = '' }
    this.drawPanel()
  }
  get current() { return this.vrows?.find(r => r.ref === this.ref) ?? (this.ref ? { ref: this.ref, aliases: [] } : null) }
  drawTitle(words = '') { this.title.replaceChildren(...(words ? [h('span', { class: 'osb-words', text: words })] : []), cut(this.ref ?? '')); this.title.title = this.ref ?? '' }

  // The tabs
  open(tab) { this.tab = tab; this.drawPanel(); this.follow() }
  onDetail() { this.answered(); const d = this.the('detail'); if (d?.asked && d.ref && d.asked === this.ref && d.ref !== this.ref) { this.ref = d.ref; this.onVersions(); this.seat(); this.draw() } if (d?.name && !this.named && (d.ref === this.ref || d.asked === this.ref)) this.name.value = d.name; this.drawTitle(); this.drawPanel(); this.drawActions() }
  onPreview() { this.answered(); clearTimeout(this.timers.bones); if (this.tab === 'Preview') this.drawPanel() }
  onCompared() {
    const { asked: two, by } = this.model.get('compared') ?? {}, asked = two?.join(' ')
    this.answered()
    if (by?.[0] === this.id && (by[1] < this.compares || asked !== this.versus)) return       // another one is asked for by now
    clearTimeout(this.timers.compare); this.comparing = false
    if (asked !== this.versus) { this.versus = asked; this.tab = 'Compare' }          // asked for in Python
    this.drawPanel()
  }
  drawPanel() {
    for (const t of this.tabs.children) { const on = t.dataset.tab === this.tab; t.setAttribute('aria-selected', on); t.tabIndex = on ? 0 : -1 }
    this.panel.setAttribute('aria-labelledby', `${this.id}-${this.tab}`)
    this.panel.classList.toggle('osb-flush', false)
    const d = this.the('detail') ?? {}, p = this.the('preview') ?? {}, here = x => this.here(x)
    const bones = () => [h('div', { class: 'osb-bone', style: 'width:60%' }), h('div', { class: 'osb-bone', style: 'width:75%' }), h('div', { class: 'osb-bone', style: 'width:45%' })]
    let kids
    if (this.tab === 'Compare') kids = this.comparing ? bones() : drawCompared(this, this.versus === '' ? {} : this.model.get('compared') ?? {})
    else if (!this.ref) kids = [h('p', { class: 'osb-dim', text: 'Pick an item to see what is in it.' })]
    else if (this.tab === 'Preview') kids = here(p) ? drawPreview(this, p) : this.live ? bones() : [h('p', { class: 'osb-dim', text: 'This picture was saved without the preview of this version.' })]
    else if (!here(d)) kids = this.live ? bones() : [h('p', { class: 'osb-dim', text: 'This picture was saved without the details of this version.' })]
    else if (d.error) kids = [h('p', { class: 'osb-wrong', text: d.error })]
    else kids = { Metadata: drawMetadata, Lineage: drawLineage, Code: drawCode }[this.tab](this, d)
    this.panel.replaceChildren(...kids.flat(Infinity).filter(Boolean))
    this.drawTitle(this.tab === 'Preview' ? this.words : ''); this.words = ''
  }

  // What can be done
  drawActions() {
    const r = this.current, last = r && r.ref === this.vrows?.find(x => !x.removed)?.ref, key = JSON.stringify([r?.ref, r?.removed, r?.pending, last, this.readonly, this.live])
    if (key === this.actionKey) return
    this.actionKey = key
    const b = this.button, off = { disabled: !r?.ref.includes('@') }, its = r?.ref ?? 'it'       // an item alone: which version is not said yet
    this.does.setAttribute('aria-label', `What to do with ${r?.ref ?? 'a version'}`)
    this.name.disabled = off.disabled
    const kids = [r ? cut(r.ref, 'osb-acts') : null, b('Copy code', `Copy the code that gets ${its} (c)`, () => this.copyCode(), off)]
    if (this.live && !r?.removed) kids.push(h('span', { class: 'osb-load' }, b('Load as', `Load ${its} into a variable of the notebook (l)`, () => this.load(), off), this.name))
    if (!this.readonly && r?.removed) kids.push(b('Bring back …', 'Under its number, with its notes', () => this.bringBack(), off))
    else if (!this.readonly) kids.push(b('Alias …', `Point an alias at ${its}, or move or remove one`, () => this.aliases(), off), b('Restore …', last ? 'It is the latest version already' : `Make a new version from ${its}`, () => this.restore(), { disabled: off.disabled || last }), b('Copy to …', `Copy ${its} to another bucket`, () => this.copyTo(), off), b('Remove …', `Remove ${its}`, () => this.remove(), { ...off, class: 'osb-danger' }))
    this.does.replaceChildren(...kids.filter(Boolean))
  }
  act(what, ref = '', more = {}) { this.undo = null; this.undoButton.hidden = true; this.say('…'); this.acted = this.ref; this.send('act', { what, ref, ...more }) }
  onTold() {
    const t = this.model.get('told')
    this.answered()
    if (!t?.n || t.n === this.toldN) return
    this.toldN = t.n
    if (t.kind === 'ask') return this.dialog({ title: t.title, says: [t.text], ok: t.ok, run: () => this.act(t.what, t.ref, { ...t.how, force: true }) })
    this.undo = t.kind === 'done' ? t.undo ?? null : null
    this.drawUndo()
    if (t.kind === 'done' && t.pick && itemOf(t.pick) === itemOf(this.ref) && this.ref === this.acted) { this.at(t.pick); this.following = this.tab === 'Compare' }      // of an item alone: its latest, once the kernel says which
    if (t.kind === 'progress') return this.status.replaceChildren(h('progress', { max: t.total, value: t.done, 'aria-label': 'Delivering' }), ` ${t.done} of ${t.total} delivered`)
    this.hold = Date.now() + 4000
    this.say(`${t.kind === 'error' ? '✕ ' : '✓ '}${t.text}`, false, t.kind === 'error')
  }
  drawUndo() {                   // it names the item where that is no longer the one that is looked at
    const { says = '', ref = '' } = this.undo ?? {}
    this.undoButton.textContent = `Undo: ${says}${itemOf(ref) === itemOf(this.ref) ? '' : ` of ${itemOf(ref)}`}`
    this.undoButton.title = `Take it back: ${ref}`
    this.undoButton.hidden = !this.undo || this.readonly
  }
  say(text, quiet = false, wrong = false) {
    if (quiet && (this.busy || Date.now() < (this.hold ?? 0))) return
    if (!quiet) this.hold = Date.now() + 4000
    this.status.replaceChildren(text); this.status.title = text; this.status.classList.toggle('osb-wrong', wrong)
  }
  codeText() { const d = this.the('detail'); return d?.ref === this.ref || d?.asked === this.ref ? d?.code?.[0]?.code : null }
  copyCode(text = this.codeText()) {
    if (!text) return this.say(this.ref ? 'The code is not here yet' : 'Pick an item first')
    const done = () => this.say('✓ The code is copied')
    const byHand = () => { const area = h('textarea', { value: text, style: 'position:fixed;opacity:0' }); const back = document.activeElement; this.root.append(area); area.select(); const ok = document.execCommand('copy'); area.remove(); back?.focus?.(); ok ? done() : (this.open('Code'), this.say('Copy it from here')) }
    navigator.clipboard?.writeText ? navigator.clipboard.writeText(text).then(done, byHand) : byHand()
  }
  load() { if (!this.ref) return this.say('Pick an item first'); if (!this.name.value.trim()) return this.say('Give it a name first'); this.act('load', this.ref, { name: this.name.value.trim() }) }
  aliases() {
    const r = this.current, input = h('input', { 'aria-label': 'Alias', placeholder: 'a name, such as candidate', spellcheck: 'false' }), all = [...new Set([...(this.vrows ?? []).flatMap(v => v.aliases ?? []), ...(this.told?.older ?? []).map(([a]) => a)])]
    const older = a => { const it = this.told?.older?.find(([b]) => a === b); return it && { version: it[1], ref: `${itemOf(r.ref)}@${it[1]}` } }
    const places = all.map(a => { const at = this.vrows.find(v => v.aliases?.includes(a)) ?? older(a); return h('div', { class: 'osb-line' }, h('span', { class: 'osb-tag', text: a }), h('span', { text: ` points at ${at?.version === null ? 'a pending version' : `v${at?.version}`}` }),
      at?.ref !== r.ref && this.button('Move here', `Point ${a} at ${r.ref}`, () => { this.shut(); this.act('alias', r.ref, { alias: a }) }), this.button('Remove', `Remove the alias ${a}`, () => { this.shut(); this.act('unalias', r.ref, { alias: a }) })) })
    this.dialog({ title: `Point an alias at ${r.ref}`, says: [], body: [...places, input], ok: 'Set', focus: input, run: () => { const alias = input.value.trim(); if (alias) this.act('alias', r.ref, { alias }) } })
  }
  copyTo() {
    const r = this.current, input = h('input', { 'aria-label': 'Bucket', placeholder: 'the name of a bucket', spellcheck: 'false', list: `${this.id}-buckets` })
    this.dialog({ title: `Copy ${r.ref} to a bucket`, says: ['It keeps its name there, and gets the next number.'], body: [input, h('datalist', { id: `${this.id}-buckets` }, (this.view.buckets ?? []).map(b => h('option', { value: b })))], ok: 'Copy', focus: input, run: () => { const to = input.value.trim(); if (to) this.act('copy', r.ref, { to }) } })
  }
  remove() {
    const r = this.current, goes = [`${r.ref}${r.size ? `: ${r.size}` : ''}${r.author ? `, by ${r.author}` : ''}${r.created ? `, ${full(r.created)}` : ''}`]
    const says = [...goes, ...(r.aliases?.length ? [`${r.aliases.join(', ')} ${r.aliases.length > 1 ? 'point' : 'points'} at it, and ${r.aliases.length > 1 ? 'go' : 'goes'} with it.`] : []), 'Its number is not given again. Until its bytes are collected it can be brought back.']
    this.dialog({ title: 'Remove this version?', says, ok: 'Remove', danger: true, run: () => this.act('remove', r.ref, { aliases: r.aliases ?? [] }) })
  }
  bringBack() {
    const r = this.current
    const says = [`v${r.version} is alive again, under its number and with its notes. It is the latest only where no later version is there.`, 'It can be undone.']
    this.dialog({ title: `Bring back ${r.ref}?`, says, ok: 'Bring back', run: () => this.act('back', r.ref) })
  }
  restore(word = 'Restore') {
    const r = this.current, next = this.told?.next, own = r.version === null ? r.ref : `v${r.version}`
    const says = [`${own} becomes the new latest version${next ? ` ${next}` : ''}${r.author || r.created ? ` (it is${r.author ? ` by ${r.author}` : ''}${r.created ? `, of ${full(r.created)}` : ''})` : ''}.`, 'Nothing is overwritten: all other versions, and what aliases point at, stay as they are. It can be undone.']
    this.dialog({ title: `${word} ${r.ref}?`, says, ok: word, run: () => this.act('restore', r.ref) })
  }
  help() { this.dialog({ title: 'Keys', wide: true, body: [h('dl', { class: 'osb-keys' }, KEYS.flatMap(([k, what]) => [h('dt', { text: k }), h('dd', { text: what })]))], says: [], ok: 'Close', run: () => {}, only: true }) }
  usage() {                      // each bucket is listed for it: it is asked for when somebody opens it
    if (!this.live) return
    this.used = h('div', { class: 'osb-used', role: 'status', tabindex: '0', text: 'Counting …' })
    this.dialog({ title: 'Usage', wide: true, body: [this.used], says: [], ok: 'Close', run: () => {}, only: true })
    this.send('usage')
  }
  onUsed() {
    this.answered()
    const u = this.model.get('used'), cells = (tag, all) => h('tr', {}, all.map((x, i) => h(tag, { class: i ? 'osb-num' : undefined, scope: tag === 'th' ? 'col' : undefined, text: x })))
    if (!this.box || !this.used?.isConnected || !u.rows) return
    if (u.error) return this.used.replaceChildren(h('p', { text: u.error }))
    this.used.replaceChildren(...[h('p', { text: u.says || (u.rows.length ? `${u.stored} are stored, and live versions need all of it` : 'Nothing is stored here') }),
      u.rows.length ? h('table', { class: 'osb-table' }, h('thead', {}, cells('th', ['bucket', 'versions', 'stored', 'removed, not freed'])), h('tbody', {}, u.rows.map(r => cells('td', [r.name, number(r.versions), r.stored, r.removed])))) : null,
      u.more ? h('p', { class: 'osb-dim', text: `… ${plural(u.more, 'bucket')} more` }) : null].filter(Boolean))
  }
  dialog({ title, says, body = [], ok, run, danger, focus, only, wide }) {
    this.shut()
    this.came = this.root.contains(document.activeElement) ? document.activeElement : this.grid
    const go = () => { if (focus && !focus.value.trim()) return focus.focus(); this.shut(); run() }
    const yes = this.button(ok, ok, go, { class: danger ? 'osb-danger osb-primary' : 'osb-primary' })
    this.box = h('div', { class: 'osb-veil', onclick: e => { if (e.target === this.box) this.shut() } }, h('div', { role: 'dialog', 'aria-modal': 'true', 'aria-labelledby': `${this.id}-ask`, class: `osb-dialog${wide ? ' osb-wide' : ''}`, onkeydown: e => { if (e.key === 'Enter' && e.target.tagName === 'INPUT') { e.preventDefault(); go() } } },
      h('h3', { id: `${this.id}-ask`, text: title }), says.map(s => h('p', { text: s })), body, h('div', { class: 'osb-buttons' }, !only && this.button('Cancel', 'Cancel', () => this.shut()), yes)))
    this.root.append(this.box);
    (focus ?? (danger ? this.box.querySelector('.osb-buttons button') : yes)).focus({ preventScroll: true })
  }
  shut() { if (!this.box) return; this.box.remove(); this.box = null; this.came?.focus?.() }

  // Keys
  key(e) {
    if (this.box) {
      if (e.key === 'Escape') { e.preventDefault(); return this.shut() }
      if (e.key === 'Tab') { const all = [...this.box.querySelectorAll('button,input,[tabindex="0"]')], at = all.indexOf(document.activeElement); e.preventDefault(); all[(at + (e.shiftKey ? -1 : 1) + all.length) % all.length].focus() }
      return
    }
    if (e.ctrlKey || e.metaKey || e.altKey) return
    const t = e.target, on = { [this.grid.id]: 'grid' }[t.id] ?? (t === this.list ? 'list' : t === this.panel ? 'panel' : t === this.divider ? 'divider' : t.role === 'tab' || t.getAttribute?.('role') === 'tab' ? 'tab' : 'other')
    if (t === this.search) return this.keySearch(e)
    if (t === this.name) { if (e.key === 'Enter') this.load(); if (e.key === 'Escape') this.grid.focus(); return }
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(t.tagName)) { if (e.key === 'Escape') this.grid.focus(); return }
    const page = Math.max(1, Math.floor(this.grid.clientHeight / ROW) - 2)
    const any = { '/': () => this.search.focus() || this.search.select(), '?': () => this.help(), u: () => this.usage(), c: () => this.copyCode(), l: () => { this.name.focus(); this.name.select() }, Escape: () => this.escape(on), s: () => this.nextSort() }
    const grid = { ArrowDown: () => this.move(this.cursor + 1), j: () => this.move(this.cursor + 1), ArrowUp: () => this.move(this.cursor - 1), k: () => this.move(this.cursor - 1), PageDown: () => this.move(this.cursor + page), PageUp: () => this.move(this.cursor - page), Home: () => this.move(0), End: () => this.move(this.total() - 1), Enter: () => this.enter(), ' ': () => this.mark(this.row(this.cursor)?.ref), Backspace: () => this.up(), ArrowRight: () => this.enter(), ArrowLeft: () => this.up() }
    const v = this.vcursor, list = { ArrowDown: () => this.moveVersion(v + 1), j: () => this.moveVersion(v + 1), ArrowUp: () => this.moveVersion(v - 1), k: () => this.moveVersion(v - 1), PageDown: () => this.moveVersion(v + 5), PageUp: () => this.moveVersion(v - 5), Home: () => this.moveVersion(0), End: () => this.moveVersion(this.vrows.length - 1), Enter: () => this.panel.focus(), ' ': () => this.mark(this.vrows[v]?.ref), ArrowLeft: () => this.grid.focus() }
    const step = n => { const i = (TABS.indexOf(this.tab) + n + TABS.length) % TABS.length; this.open(TABS[i]); this.tabs.children[i].focus() }
    const tab = { ArrowRight: () => step(1), ArrowLeft: () => step(-1), Home: () => step(-TABS.indexOf(this.tab)), End: () => step(TABS.length - 1 - TABS.indexOf(this.tab)) }
    const divider = { ArrowUp: () => this.resplit(this.split - 4), ArrowDown: () => this.resplit(this.split + 4), Home: () => this.resplit(SPLIT[1]), End: () => this.resplit(SPLIT[2]) }
    const run = { grid, list, tab, divider }[on]?.[e.key] ?? any[e.key]
    if (run) { e.preventDefault(); run() }
  }
  keySearch(e) {
    if (e.key === 'Escape') { e.preventDefault(); this.search.value ? this.clear() : this.grid.focus() }
    else if (e.key === 'Enter') { e.preventDefault(); clearTimeout(this.timers.type); if (this.draft !== null) this.find({ query: this.draft }); this.grid.focus() }
    else if (e.key === 'ArrowDown') { e.preventDefault(); this.grid.focus(); this.move(Math.max(0, this.cursor)) }
  }
  escape(on) { if (on === 'grid') { if (this.view.query || this.search.value) this.clear() } else if (on === 'list') this.grid.focus(); else if (on === 'panel' || on === 'tab') this.list.focus(); else this.grid.focus() }
  nextSort() { const i = COLUMNS.findIndex(([k]) => k === (this.asks.sort ?? '').replace(/^-/, '')); this.sortBy(COLUMNS[(i + 1) % COLUMNS.length][0]); this.say(`Sorted by ${COLUMNS[(i + 1) % COLUMNS.length][1]}`) }
  age() {
    const v = this.view
    this.synced.textContent = !this.live ? 'a saved picture' : v.away ? '○ offline' : v.asof ? `● as of ${clock(v.asof)}` : ''
    this.synced.title = full(v.asof)
    if (v.status === 'stale') this.drawBanner()
  }
}

function render({ model, el }) {
  const app = new App(model, el)
  return () => app.close()
}
export default { render }
