"""What a get, an alias and the latest cost of an item with 10 and with 3,000 versions, at SeaweedFS: requests, bytes,
and times as multiples of one raw get of a record; as it is, and as it was where the state of a version was listed.
"""
import sys
from contextlib import nullcontext
from statistics import median
from common import heading, human, say, service, table

FEW, MANY, CALLS = 10, int(sys.argv[1]) if len(sys.argv) > 1 else 3_000, 15

def main():
    heading(f'Costs by the number of versions: {FEW} and {MANY:,}')
    with service('seaweed') as place:
        if place is None: return
        from counted import SMALL, world
        from flat import VERBS, as_before, costs, item
        with world(place.service) as w:
            w.known(SMALL)
            few, many = item(w, FEW), item(w, MANY)
            raw = raw_get(w, few)
            rows = []
            for verb in VERBS:
                for how in (as_before, nullcontext):
                    with how(): a, b = costs(w, few, verb, CALLS), costs(w, many, verb, CALLS)
                    rows.append([verb, 'listed' if how is as_before else 'as it is', f'{a[0]} / {b[0]}',
                                 f'{a[1]:,} / {b[1]:,}', f'{a[2] / raw:.1f} / {b[2] / raw:.1f}', f'{b[2] / a[2]:.2f}'])
    say(table(['verb', '', 'requests', 'bytes down', 'raw gets', 'many to few'], rows),
        f'A raw get of a record takes {human(raw)}; all goes through the proxy that counts.')

def raw_get(w, ref: str) -> float:
    "Seconds of one request for a record"
    import time
    b, took = w.store(near=False).origin.bucket('lab'), []
    key = b.key(ref.partition('/')[2], 1)
    for _ in range(2 * CALLS):
        began = time.perf_counter()
        b.backend.read(key)
        took.append(time.perf_counter() - began)
    return median(took)

if __name__ == '__main__': main()
