"""Requests per operation, counted exactly at a proxy before SeaweedFS and Ceph RGW, beside what each may make.

The operations are those of tests/counted.py, which a test holds to their budgets; here with 1,000 objects.
"""
import os
os.environ.setdefault('OBJECTSTORE_TEST_MANY', '1000')
from common import heading, say, service, table
from counted import OPERATIONS, count, world

def measure(kind: str) -> dict[str, int]:
    "Operation: requests"
    with service(kind) as place:
        if place is None: return {}
        with world(place.service) as w: return {o.name: len(count(w, o)) for o in OPERATIONS}

def main():
    heading('Requests per operation')
    found = {kind: measure(kind) for kind in ('seaweed', 'ceph')}
    rows = [[o.name, *(f.get(o.name, '') for f in found.values()), f"{o.most}{'' if o.designed else ' *'}", o.steps]
            for o in OPERATIONS]
    say(table(['operation', 'SeaweedFS', 'Ceph RGW', 'may', 'steps'], rows),
        '\\* the steps of the design; the others are its budgets')
    over = [o.name for o in OPERATIONS if any(f and f[o.name] > o.most for f in found.values())]
    say(f"Over budget: {', '.join(over) or 'none'}")

if __name__ == '__main__': main()
