// What the panes of the browser hold: previews by type, metadata, lineage, code, comparisons. Put behind browser.js, whose `h` and words it uses.
// What is wrong with a search line, with the place marked in it
function wrong(e) {
  const [a, b, c] = e.place ?? []
  return e.place ? [`${e.text}: `, h('code', { class: 'osb-where' }, a, h('mark', { text: b || '‸', title: 'here' }), c)] : [e.text]
}

// Previews, by type
const table = (heads, rows, more = {}) => h('table', { class: 'osb-table', ...more }, h('thead', {}, h('tr', {}, heads.map(x => x instanceof Node ? h('th', { scope: 'col' }, x) : x === '' ? h('td') : h('th', { scope: 'col', text: x })))), h('tbody', {}, rows.map(r => h('tr', {}, r.map(c => c instanceof Node ? h('td', {}, c) : h('td', { text: c }))))))
const facts = rows => h('dl', { class: 'osb-facts' }, rows.flatMap(r => [h('dt', { text: r.name ?? r[0] }), h('dd', { text: (r.value ?? r[1]) + (r.note ? '  (note)' : '') })]))
const left = n => n ? h('div', { class: 'osb-dim', text: `… ${number(n)} more` }) : null
const part = text => h('h4', { text })

function bars(hist, label) {
  const most = Math.max(1, ...hist.counts)
  return h('span', { class: 'osb-hist', role: 'img', 'aria-label': `${label}: from ${hist.min} to ${hist.max}`, title: `${hist.min} … ${hist.max}` }, hist.counts.map(c => h('i', { style: `height:${c ? Math.max(8, 100 * c / most) : 0}%` })))
}
function drawFrame(app, p) {
  const head = c => h('div', { class: 'osb-col' }, h('span', { class: 'osb-colname', text: c.name }), h('span', { class: 'osb-dim', text: c.type + (c.nulls ? `, ${number(c.nulls)} null` : '') }),
    c.hist ? bars(c.hist, c.name) : c.top ? h('span', { class: 'osb-dim osb-topv', title: c.top.map(([v, n]) => `${v}: ${n}`).join('\n'), text: c.top.map(([v]) => v).join(', ') }) : null)
  const t = table(p.columns.map(head), p.data)
  p.columns.forEach((c, i) => { if (c.numeric) for (const r of t.rows) r.cells[i]?.classList.add('osb-num') })
  const words = `${p.rows === null ? 'many' : number(p.rows)} × ${p.columns.length + p.cut}, first ${plural(p.data.length, 'row')}${p.cut ? `, ${p.cut} columns left out` : ''}${p.rows > p.seen ? `, pictures of the first ${number(p.seen)}` : ''}`
  const more = app.live && p.data.length < Math.min(p.rows ?? p.seen, 1000) ? app.button('Load more', 'More rows', () => app.send('preview', { ref: p.ref, rows: Math.max(200, p.data.length * 4), file: p.file ?? null }), { class: 'osb-plain' }) : null
  app.words = words
  return [t, more ? h('div', { class: 'osb-line' }, more) : null]
}
function drawTree(name, node, open) {
  const label = name === null ? null : h('span', { class: 'osb-k', text: `${name}: ` })
  if (node.t !== 'object' && node.t !== 'array') return h('div', { class: 'osb-leaf' }, label, h('span', { class: `osb-t-${node.t}`, text: node.t === 'string' ? `"${node.v}"` : node.v }))
  const sum = h('summary', {}, label, h('span', { class: 'osb-dim', text: node.t === 'object' ? `{ ${plural(node.n, 'key')} }` : `[ ${plural(node.n, 'value')} ]` }))
  return h('details', { open: open > 0 || undefined, class: 'osb-node' }, sum, node.items.map(([k, v]) => drawTree(k, v, open - 1)), node.n > node.items.length ? h('div', { class: 'osb-leaf osb-dim', text: `… ${number(node.n - node.items.length)} more` }) : null)
}
function drawArray(app, p) {
  const out = [h('div', { class: 'osb-line' }, h('span', { class: 'osb-dim', text: `${p.shape.join(' × ') || 'a number'}, ${p.dtype}${p.more ? ', its corner' : ''}` }), p.hist ? bars(p.hist, 'values') : null)]
  if (p.data) out.push(h('table', { class: 'osb-table osb-array' }, h('tbody', {}, p.data.map(r => h('tr', {}, r.map(c => h('td', { class: 'osb-num', text: c })))))))
  return out
}
function inline(text) {          // emphasis and code of Markdown; links are shown as their text
  const out = []
  for (const m of text.matchAll(/`([^`]+)`|\*\*([^*]+)\*\*|\*([^*]+)\*|!?\[([^\]]*)\]\([^)]*\)|([^`*![]+|.)/gs)) out.push(m[1] ? h('code', { text: m[1] }) : m[2] ? h('b', { text: m[2] }) : m[3] ? h('em', { text: m[3] }) : m[4] !== undefined ? h('u', { text: m[4] }) : m[5])
  return out
}
export function markdown(text) {
  const out = []
  let list = null, para = null, code = null
  for (const line of text.split('\n')) {
    if (/^\s*```/.test(line)) { code = code ? (out.push(h('pre', { text: code.join('\n') })), null) : []; para = list = null; continue }
    if (code) { code.push(line); continue }
    const head = /^(#{1,6})\s+(.*)/.exec(line), item = /^\s*(?:[-*+]|\d+[.)])\s+(.*)/.exec(line)
    if (head) { out.push(h(`h${Math.min(6, head[1].length + 3)}`, {}, inline(head[2]))); para = list = null }
    else if (item) { if (!list) out.push(list = h('ul')); list.append(h('li', {}, inline(item[1]))); para = null }
    else if (/^\s*>\s?/.test(line)) { out.push(h('blockquote', {}, inline(line.replace(/^\s*>\s?/, '')))); para = list = null }
    else if (!line.trim()) para = list = null
    else if (para) para.append(' ', ...inline(line))
    else { out.push(para = h('p', {}, inline(line))); list = null }
  }
  if (code) out.push(h('pre', { text: code.join('\n') }))
  return h('div', { class: 'osb-md' }, out)
}
function drawFolder(app, p) {
  const open = name => { app.file = name; app.send('preview', { ref: p.ref, file: name }) }
  const dirs = new Map(), top = h('div', { class: 'osb-files' })
  const place = path => { if (!path) return top; if (!dirs.has(path)) { const d = h('details', { open: dirs.size < 12 || undefined, class: 'osb-node' }, h('summary', { text: `${path.split('/').pop()}/` })); dirs.set(path, d); place(path.split('/').slice(0, -1).join('/')).append(d) } return dirs.get(path) }
  for (const [name, , size] of p.files) { const at = name.split('/'); place(at.slice(0, -1).join('/')).append(h('div', { class: 'osb-leaf' }, app.live ? h('button', { type: 'button', class: 'osb-plain osb-file', onclick: () => open(name) }, at.at(-1)) : h('span', { text: at.at(-1) }), h('span', { class: 'osb-dim', text: ` ${size}` }))) }
  return [h('div', { class: 'osb-dim', text: `${plural(p.total, 'file')}, ${p.size}${p.total > p.files.length ? `; the first ${number(p.files.length)}` : ''}` }), top]
}
function drawImage(p) {
  if (!/^data:image\/(png|jpeg|gif|webp);base64,/.test(p.src)) return [h('p', { text: 'No picture' })]
  return [h('img', { src: p.src, alt: `The picture stored as ${p.ref ?? ''}`, class: 'osb-img' })]
}
const PREVIEWS = {
  frame: drawFrame, array: drawArray, folder: drawFolder,
  json: (app, p) => [drawTree(null, p.tree, 2)],
  text: (app, p) => [p.why ? h('div', { class: 'osb-dim', text: p.why }) : null, h('pre', { text: p.text }), p.cut ? h('div', { class: 'osb-dim', text: `… ${number(p.cut)} more bytes` }) : null],
  markdown: (app, p) => [markdown(p.text), p.cut ? h('div', { class: 'osb-dim', text: `… ${number(p.cut)} more bytes` }) : null],
  image: (app, p) => { app.words = `${p.width} × ${p.height} pixels`; return drawImage(p) },
  list: (app, p) => [h('div', { class: 'osb-dim', text: `${plural(p.total, 'tensor')}${p.total > p.data.length ? `, the first ${number(p.data.length)}` : ''}` }), table(p.headers, p.data)],
  model: (app, p) => [h('div', { class: 'osb-model' }, h('div', {}, part('Estimator'), facts([['class', p.class], ...(p.features ? [['features', number(p.features)]] : [])]), p.metrics.length ? [part('Metrics'), facts(p.metrics), left(p.more?.metrics)] : null), p.params.length ? h('div', {}, part('Parameters'), facts(p.params), left(p.more?.params)) : null)],
  note: (app, p) => [h('p', { text: p.text })],
  away: (app, p) => [h('p', {}, h('b', { text: '⚠ Not available offline. ' }), p.text)],
  broken: (app, p) => [h('p', { class: 'osb-wrong' }, h('b', { text: '✕ It cannot be shown. ' }), p.text), app.live ? app.button('Try again', 'Read it again', () => app.send('preview', { ref: p.ref, file: p.file ?? null })) : null],
}
function drawPreview(app, p) {
  const kids = (PREVIEWS[p.type] ?? ((app, p) => [h('p', { text: 'There is no preview of this.' })]))(app, p).filter(Boolean)
  if (p.file) kids.unshift(h('div', { class: 'osb-line' }, app.button('← Folder', 'Back to the files', () => app.send('preview', { ref: p.ref }), { class: 'osb-plain' }), h('span', { class: 'osb-dim', text: p.file })))
  return kids
}
function drawMetadata(app, d) {
  const section = (title, rows) => rows?.length ? h('div', {}, part(title), facts(rows)) : null
  return [d.says ? h('p', { text: d.says }) : null, h('div', { class: 'osb-model' }, section('Metadata', d.metadata?.filter(r => !(d.says && r.name === 'description' && !r.note))), section('Stats', d.stats), section('Version', d.facts))]
}
function drawLineage(app, d) {
  const l = d.lineage, H = 40, n = Math.max(1, l.inputs.length), tall = Math.max(n, 1) * H + 34, mid = tall / 2
  const box = (kids, more = '') => h('div', { class: `osb-box ${more}` }, kids)
  const go = ref => app.live && /^[^/]+\/.+/.test(ref) ? h('button', { type: 'button', class: 'osb-plain', title: `Look at ${ref}`, onclick: () => app.pick(ref) }, ref) : h('span', { text: ref })
  const wire = paths => { const s = h('svg', { width: '56', height: tall, viewBox: `0 0 56 ${tall}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' }, paths.map(p => h('path', { d: p, class: 'osb-wire' }))); return s }
  const y = i => mid - (n * H) / 2 + i * H + H / 2
  const ins = l.inputs.length ? [h('div', { class: 'osb-lane' }, l.inputs.map(r => box(go(r)))), wire(l.inputs.map((_, i) => `M0 ${y(i)} C28 ${y(i)} 28 ${mid} 56 ${mid}`))] : []
  const picture = h('div', { class: 'osb-lineage', role: 'group', 'aria-label': `${l.inputs.length ? `From ${l.inputs.join(', ')}, b` : 'B'}y ${l.how}: ${l.out}`, style: `min-height:${tall}px` }, ins,
    h('div', { class: 'osb-lane' }, box([h('b', { text: l.how }), l.by ? h('span', { class: 'osb-dim', text: l.by }) : null, l.under.length ? h('span', { class: 'osb-dim', text: l.under.join(' · ') }) : null], 'osb-how')), wire([`M0 ${mid} L56 ${mid}`]), h('div', { class: 'osb-lane' }, box(h('b', { text: l.out }), 'osb-out')))
  return [picture, l.more ? h('p', { class: 'osb-dim', text: `… ${l.more} more inputs` }) : null, l.facts.length ? facts(l.facts) : null]
}
function drawCode(app, d) {
  return d.code.map(c => h('div', { class: 'osb-snippet' }, h('div', { class: 'osb-line' }, h('span', { class: 'osb-dim', text: c.title }), app.button('Copy', `Copy: ${c.title}`, () => app.copyCode(c.code), { class: 'osb-plain' })), h('pre', { text: c.code })))
}
const KEY = `To see which came and went, name the key: metadata={'key': 'id'}.`
// What differs between two frames, in words: lines, and whether they are an aside
function rowWords(r) {
  const [came, went] = r.columns, columns = came.length || went.length, some = (sign, names) => names.length ? `${sign} ${names.slice(0, 12).join(', ')}${names.length > 12 ? ` and ${names.length - 12} more` : ''}` : null
  const cells = r.cells?.length ? `: ${r.cells.slice(0, 12).map(([c, n]) => `${c} ${number(n)}`).join(', ')}${r.cells.length > 12 ? ` and ${r.cells.length - 12} more columns` : ''}` : ''
  const where = columns ? ` in the ${plural(r.both, 'column')} that both have` : ''
  return [columns && [`Columns: ${[some('+', came), some('−', went)].filter(Boolean).join(', ')}.`],
    r.how === 'key' ? [`Rows by ${r.key.join(', ')}: + ${number(r.added)} added, − ${number(r.removed)} gone, ${number(r.changed)} changed${where}${cells}.`]
      : r.how === 'place' ? [`${plural(r.counts[0], 'row')}, compared by their place: ${number(r.changed)} changed${where}${cells}.`] : [`${number(r.counts[0])} → ${number(r.counts[1])} rows.${r.why ? '' : ` ${KEY}`}`, true],
    r.why && [r.why, true], r.how === 'place' && !r.why && [KEY, true]].filter(Boolean)
}
function drawCompared(app, c) {
  if (!c.a) return [h('p', { class: 'osb-dim', text: app.ref ? 'There is no version before this one. Mark another with Space (or Shift and a click) to compare it with.' : 'Pick an item to see what changed since the version before, or mark two with Space (or Shift and a click).' })]
  if (c.error) return [h('p', { class: 'osb-wrong', text: c.error })]
  const out = [h('div', { class: 'osb-line' }, h('b', { text: `${c.a}  →  ${c.b}` }), app.button(app.showSame ? 'Only what differs' : 'Also what is the same', 'Show or hide rows that agree', () => { app.showSame = !app.showSame; app.drawPanel() }, { class: 'osb-plain', 'aria-pressed': app.showSame }))]
  if (c.images) out.push(h('div', { class: 'osb-sides' }, c.images.map((p, i) => h('figure', {}, h('figcaption', { class: 'osb-dim', text: [c.a, c.b][i] }), p.type === 'image' ? drawImage({ ...p, ref: [c.a, c.b][i] }) : h('p', { text: p.text ?? '' })))))
  const kept = c.groups.map(g => [g.title, g.rows.filter(r => app.showSame || r.mark !== 'same')]).filter(([, rows]) => rows.length)
  const at = ref => ref.split('@').pop(), own = at(c.a) !== at(c.b), head = ['', own ? `@${at(c.a)}` : c.a, own ? `@${at(c.b)}` : c.b, '']
  if (c.rows) out.push(...rowWords(c.rows).map(([text, dim]) => h('p', { class: dim ? 'osb-dim' : null, text })))
  if (c.rows?.other?.length) {
    const r = c.rows, t = table(['', ...r.heads, 'column', 'before', 'after'], r.other.map(x => ['~', ...x])), n = r.cells.reduce((sum, [, n]) => sum + n, 0)
    t.classList.add('osb-cells')
    out.push(part(`Cells that changed${n > r.other.length ? `: the first ${r.other.length} of ${number(n)}` : ''}`), t)
  }
  out.push(h('div', { class: 'osb-groups' }, kept.map(([title, rows]) => {
    const t = table(head, rows.map(r => [r.name, r.a, r.b, { changed: '~ changed', added: '+ added', removed: '− gone', same: '= same' }[r.mark]]), { 'data-group': title })
    rows.forEach((r, i) => t.tBodies[0].rows[i].classList.add(`osb-m-${r.mark}`))
    return h('div', {}, part(title), t, left(c.groups.find(g => g.title === title).more))
  })))
  for (const [sign, rows, n, heads, cut, mark] of c.rows?.how === 'key' ? [['+', c.rows.new, c.rows.added, c.rows.headers[1], c.rows.cut[1], 'added'], ['−', c.rows.gone, c.rows.removed, c.rows.headers[0], c.rows.cut[0], 'removed']] : []) {
    if (!rows.length) continue
    const t = table(['', ...heads], rows.map(x => [sign, ...x])), less = [n > rows.length && `the first ${rows.length} of ${number(n)}`, cut && `${plural(cut, 'column')} left out`].filter(Boolean).join(', ')
    t.classList.add(`osb-m-${mark}`)
    out.push(part(`${sign === '+' ? 'Rows that came' : 'Rows that went'}${less ? `: ${less}` : ''}`), t)
  }
  if (c.diff) out.push(part('Text'), h('pre', { class: 'osb-diff' }, c.diff.map(([s, l]) => h('span', { class: { '+': 'osb-m-added', '-': 'osb-m-removed', '@': 'osb-dim' }[s], text: `${s === '-' ? '−' : s} ${l}\n` }))))
  if (c.why) out.push(h('p', { class: 'osb-dim', text: c.why }))
  if (!kept.length && !c.rows && !c.diff && !c.images) out.push(h('p', { text: 'No differences.' }))
  return out
}
