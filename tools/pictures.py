"""Pictures of the browser, light and dark, wide and narrow, in a folder: to be looked at.

    pictures.py FOLDER             # all of them
    pictures.py FOLDER compare     # those whose name has this word
"""
from __future__ import annotations
import os, sys, warnings
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from unittest.mock import patch
sys.path.insert(0, str(Path(__file__).resolve().parent.parent/'tests'))
os.environ['OBJECTSTORE_STATE_DIR'] = mkdtemp(prefix='objectstore-pictures-')
import numpy as np, pandas as pd
from bridge import CHROMIUM, FLAGS, open_page, wired
from objectstore import ObjectStore
from objectstore.format.records import to_json

warnings.simplefilter('ignore')

def lab() -> ObjectStore:
    "A small lab with something of everything"
    s = ObjectStore(f'memory://{mkdtemp()}', progress=False)
    for i, auc in enumerate((0.87, 0.913, 0.905)):
        s.put('models/churn', {'depth': 3 + i, 'eta': 0.1, 'features': ['age', 'visits', 'spend'][:i + 1]},
              metadata={'auc': auc, 'stage': 'prod' if auc > 0.9 else 'test',
                        'description': 'Gradient boosting on the features of the last quarter'}, kind='model')
    s.set_alias('models/churn@2', 'production'); s.set_alias('models/churn@3', 'candidate')
    r = np.random.default_rng(0)
    for n in (1000, 1020):
        s.put('sales/daily',
              pd.DataFrame({'id': range(n - 1000, n),
                            'day': pd.date_range('2026-01-01',
                                                 periods=1000 if n == 1000 else 1020)[:len(range(n - 1000, n))],
                            'units': r.poisson(40, len(range(n - 1000, n))),
                            'price': r.normal(10, 2, len(range(n - 1000, n))).round(2),
                            'region': r.choice(['north', 'south', 'east'], len(range(n - 1000, n)))}),
              metadata={'key': 'id', 'stage': 'prod', 'description': 'Units sold a day, by region'})
    for m in ('october', 'november'): s.put(f'sales/2026/{m}', {'total': len(m)}, kind='slip')
    s.put('figures/loss', image(), metadata={'description': 'Loss over epochs'}, kind='figure')
    s.put('notes/readme', '# Sales\n\n**Units** a day, from `sales/daily`.\n\n- north\n- south',
          metadata={'format': 'markdown'})
    return s

def image():
    from PIL import Image
    x, y = np.meshgrid(np.linspace(-2, 2, 640), np.linspace(-1.5, 1.5, 480))
    z = np.exp(-x**2 - y**2) + 0.5 * np.sin(4 * x) * np.cos(3 * y)
    z = (z - z.min()) / (z.max() - z.min())
    return Image.fromarray((np.stack([z, 1 - z, 0.6 + 0 * z], -1) * 255).astype('uint8'))

class Many:
    "As many versions as one likes, made when they are looked at"
    why = ''
    def __init__(self, v, n): self.v, self.n = v, n
    def __len__(self): return self.n
    def __getitem__(self, i):
        if isinstance(i, slice): return [self[k] for k in range(*i.indices(self.n))]
        v = object.__new__(type(self.v))
        v.__dict__.update(self.v.__dict__)
        folder = 'churn price demand fraud route energy'.split()[i % 6]
        description = to_json({**self.v._record.description, 'at': (1_794_000_000 - 37 * i) * 1_000_000})
        v._record = replace(self.v._record, item=f'{folder}/{2024 + i // 6 % 3}/run-{i:06}',
                            raw_description=description)
        return v
    def facets(self, key): return {}

def hundred_thousand(w: int):
    s = lab()
    found = Many(s.put('lab/one', {'a': 1},
                       metadata={'auc': 0.91, 'stage': 'prod', 'description': 'gradient boosted trees'}, kind='model'),
                 100_000)
    class Big(ObjectStore):
        def find_items(self, *args, **kwargs): return found
    big = Big('memory://')
    big.origin = s.origin
    return big, lambda p: (p.evaluate("document.querySelector('.osb-grid').scrollTop = 26 * 50000"), p.settle())

def reading(w: int):
    "A store that is read for the first time"
    s = lab()
    def go(p): p.w.browsing.show(status='loading', building={'done': 12_000, 'about': 98_000}, asking=p.w.view['gen'])
    return s, lambda p: (go(p), p.settle())

def compare(w: int):
    return lab(), lambda p: (p.w.browsing.pick('models/churn@3'), p.w.compare('models/churn@2', 'models/churn@3'),
                             p.settle())
def compare_frames(w: int):
    return lab(), lambda p: (p.w.browsing.pick('sales/daily@2'), p.w.compare('sales/daily@1', 'sales/daily@2'),
                             p.settle())
def frame(w: int): return lab(), lambda p: p.pick('sales/daily')
def picture(w: int): return lab(), lambda p: p.pick('figures/loss')
def text(w: int): return lab(), lambda p: p.pick('notes/readme')

def lineage(w: int):
    s = lab()
    @s.calculated('features/total')
    def total():
        return {'rows': len(s.get('sales/daily')), 'october': s.get('sales/2026/october'),
                'loss': s.get('notes/readme')}
    total()
    return s, lambda p: (p.pick('features/total'), p.tab('Lineage'), p.settle())

def offline(w: int):
    "The origin is gone, puts wait"
    from objectstore.testing.service import S3Service
    with S3Service() as service:
        service.make_bucket('lab')
        with patch.dict(os.environ,
                        {**service.environment, 'OBJECTSTORE_STATE_DIR': mkdtemp(prefix='objectstore-pictures-')}):
            s = ObjectStore(mkdtemp(prefix='objectstore-pictures-'), 's3://lab/demo', progress=False)
            for i in range(3): s.put('models/churn', {'depth': i}, metadata={'auc': 0.9 + i / 100}, kind='model')
            s.put('sales/daily', pd.DataFrame({'a': range(10)}))
            list(s.find_items()), s.get('sales/daily')
    s.put('models/churn', {'depth': 9}, metadata={'auc': 0.95}, kind='model')
    s.put('sales/today', [1, 2, 3])
    return s, lambda p: (p.w.refresh(), p.settle(), p.pick('models/churn'))

def empty(w: int): return ObjectStore(f'memory://{mkdtemp()}', progress=False), lambda p: p.settle()

def error(w: int):
    s = lab()
    def broken(*a, **k):
        raise PermissionError(13, "s3://lab refuses to list: the key may read objects, but not list them (403 "
                              "AccessDenied)")
    def go(p):
        p.pick('models/churn')
        p.w.browsing.quiet.find_items = broken
        p.w.refresh(); p.settle()
    return s, go

def wrong(w: int): return lab(), lambda p: p.search('acu > 0.9')
def no_match(w: int): return lab(), lambda p: p.search('nothing like this')

SCENES = {'100000': hundred_thousand, 'reading': reading, 'compare': compare, 'compare-frames': compare_frames,
          'frame': frame, 'image': picture, 'text': text, 'lineage': lineage, 'offline': offline, 'empty': empty,
          'error': error, 'wrong': wrong, 'no-match': no_match}

def main(folder: Path, word: str = '') -> None:
    from playwright.sync_api import sync_playwright
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as pw, wired():
        chromium = pw.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for name, scene in SCENES.items():
            if word not in name: continue
            for width in (1200, 600):
                for dark in (False, True):
                    store, do = scene(width)
                    p = open_page(chromium, store, width=width, high=660 if width > 700 else 900, dark=dark,
                                  height=620 if width > 700 else 860)
                    try: do(p)
                    except Exception as e: print(f'{name}: {e}')
                    p.page.wait_for_timeout(200)
                    how = f'{"wide" if width > 700 else "narrow"}-{"dark" if dark else "light"}'
                    p.page.screenshot(path=folder/f'{name}-{how}.png')
                    if p.errors: print(name, p.errors)
                    p.page.close()

if __name__ == '__main__': main(Path(sys.argv[1]), *sys.argv[2:3])
