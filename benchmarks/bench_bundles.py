"""Bundles: bytes that a second put moves when only a list changed, counted at a proxy before SeaweedFS; beside joblib's
dump of the whole and beside three items."""
import io
from common import heading, installed, say, service, table
import numpy as np, pandas as pd
from objectstore import ObjectStore
from proxy import Proxy

def a_run(features: int):
    "A model, two frames, a list and a number"
    from sklearn.ensemble import RandomForestClassifier
    rng = np.random.default_rng(0)
    train, test = (pd.DataFrame(rng.normal(size=(n, 10)), columns=[*'abcdefghij']) for n in (200_000, 50_000))
    model = RandomForestClassifier(20, max_depth=8, random_state=0).fit(train[:5000], train.a[:5000] > 0)
    return {'model': model, 'train': train, 'test': test, 'features': [f'x{i}' for i in range(features)],
            'threshold': 0.4}

def moved(proxy, put) -> tuple[int, int]:
    "Requests of a call, and bytes that it sent"
    with proxy.counting() as count: put()
    return len(count), sum(r.sent for r in count)

def main():
    heading('A model, two frames and a list as one version')
    if not installed('sklearn', 'skops', 'joblib'): return
    import joblib
    first, second = a_run(10), a_run(11)
    def dump(run) -> bytes:
        joblib.dump(run, f := io.BytesIO())
        return f.getvalue()
    with service() as place:
        if place is None: return
        with Proxy(place.service.endpoint) as proxy:
            store = ObjectStore(place.url, endpoint=proxy.endpoint, near=False)
            store.put('warm/up', 1)
            rows = []
            for name, put in dict(bundle=lambda run: store.put('run/result', run),
                                  dump=lambda run: store.put('run/dump', dump(run)),
                                  items=lambda run: [store.put(f'apart/{k}', v) for k, v in run.items()]).items():
                rows.append([name, *moved(proxy, lambda: put(first)), *moved(proxy, lambda: put(second))])
            with proxy.counting() as count: store.get('run/result', part='features')
            say(table(['put as', 'requests', 'bytes', 'requests, only the list changed', 'bytes'], rows),
                f'`get(ref, part=...)` of the list: {len(count)} requests.')

if __name__ == '__main__': main()
