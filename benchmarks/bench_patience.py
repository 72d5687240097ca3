"""A service that answers each request after 0.2, 1, 3 and 8 s, and one that stops for 20 s,
with the default time-out of 1 s: what each verb does and when, and how many puts became pending though
the service was there (`bench_patience.py 0.2 3`: these two only; `bench_patience.py stops restarts`)"""
import sys, threading, time, warnings
from bench_offline import far
from common import heading, say, table
from objectstore.search.changelog import flush_hints

def told(f) -> str:
    "What a call gave, and after how long"
    began = time.monotonic()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter('always')
        try: found = f()
        except Exception as e: found = e
    words = {'StaleWarning': 'from near', 'PendingWarning': 'pending'}
    kinds = ', '.join(dict.fromkeys(words[k] for w in said if (k := w.category.__name__) in words))
    what = type(found).__name__ if isinstance(found, Exception) else kinds or 'done'
    return f'{time.monotonic() - began:.1f} s, {what}'

def slow(open, proxy, wait: float) -> list[list[str]]:
    "Each verb in a process of its own, as far as it knows"
    def new(): flush_hints(); return open()
    _, rows = new(), []     # the first store of the process stays open
    def row(name, f):
        store = new()
        with proxy.fault('late', wait=wait): rows.append([name, told(lambda: f(store))])
        store.close()
    row('get of the latest, near', lambda s: s.get('lab/m'))
    row('ten gets of the latest, near', lambda s: [s.get('lab/m') for _ in range(10)])
    row('get of a version, near', lambda s: s.get('lab/m@1'))
    row('get of what is not near', lambda s: s.get('lab/far'))
    row('put, the first of a process', lambda s: s.put('lab/m', 'x'))
    row('a put behind a get from near', lambda s: (s.get('lab/m'), s.put('lab/n', 'x')))
    row('put_many of 20', lambda s: s.put_many({f'lab/p{i}': i for i in range(20)}))
    row('find_items', lambda s: s.find_items('lab'))
    row('set_alias', lambda s: s.set_alias('lab/m@1', 'production'))
    off = open(offline=True)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        for i in range(20): off.put(f'lab/off{i}', i)
    left = []
    row('sync of 20', lambda s: left.append(len(s.sync().waiting)))
    rows.append(['puts that became pending, of 42', str(len(new().pending.work()))])
    return rows

def puts(open, during, seconds: float) -> list[list[str]]:
    "Puts one after another while something happens to the service"
    s, waits, pending = open(), [], 0
    s.put('lab/m', 0)
    began = time.monotonic()
    threading.Thread(target=during, daemon=True).start()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        while time.monotonic() < began + seconds:
            at = time.monotonic()
            pending += s.put('lab/m', 1).pending
            waits.append(time.monotonic() - at)
            time.sleep(0.25)
        report = s.sync()
    return [['puts', len(waits)], ['became pending', pending], ['the longest', f'{max(waits):.1f} s'],
            ['over 1 s', sum(w > 1 for w in waits)],
            ['left by sync', len(report.waiting)], ['versions', len(s.versions('lab/m'))]]

def stops(proxy) -> None:
    "After two seconds it stops for twenty"
    time.sleep(2)
    f = proxy.fault('hang')
    time.sleep(20)
    f.remove()

def restarts(proxy) -> None:
    "Four times it refuses connections for a second, every ten seconds"
    for _ in range(4):
        time.sleep(9)
        f = proxy.fault('refuse')
        time.sleep(1)
        f.remove()

if __name__ == '__main__':
    heading('Patience')
    asked = sys.argv[1:] or ['0.2', '1', '3', '8', 'stops', 'restarts']
    found = {}
    for one in asked:
        with far() as f:
            if not f: continue
            open_, proxy = f
            def open(**options): return open_(timeout=1.0, **options)
            with open() as s:
                for i in (1, 2): s.put('lab/m', i)
                s.get('lab/m')
            open_(near=None).put('lab/far', 'x')
            if one in ('stops', 'restarts'):
                during = dict(stops=stops, restarts=restarts)[one]
                rows = puts(open, lambda: during(proxy), 60)
                say(f'### Puts beside a service that {one}: {during.__doc__}', table(['', ''], rows))
            else: found[one] = slow(open, proxy, float(one))
    if found:
        say('### Each request is answered so many seconds later',
            table(['', *(f'{k} s' for k in found)],
                  [[r[0], *(rows[i][1] for rows in found.values())] for i, r in enumerate(next(iter(found.values())))]))
