"""The probe of a new origin, 64 races of two writers, beside one race of four: on SeaweedFS, Ceph RGW and a shared
folder; with the requests that each makes"""
import secrets
from common import compare, heading, report, say, scratch, service
from objectstore.storage.backend import in_threads
from objectstore.storage.files import FileBackend
from objectstore.format.probe import probe
from objectstore.format.records import read_back
from objectstore.storage.remote import RemoteBackend
from proxy import Proxy


def one_race_of_four(backend) -> None:
    "What it was before: a race of four, a late writer, a look"
    key = f'probe/{secrets.token_hex(8)}'
    bids = [b'%d' % i for i in range(4)]
    won = [bid for bid, a in zip(bids, in_threads(lambda bid: backend.create(key, bid), bids, 4)) if a is True]
    assert len(won) == 1 and not backend.create(key, b'late') and read_back(backend, key) == won[0]
    for e in [*backend.list('probe/')]: backend.delete(e.key)

def measure(name: str, backend, rounds: int = 9) -> None:
    report(name,
           compare({'64 races of two': lambda: probe(backend), 'one race of four': lambda: one_race_of_four(backend)},
                   rounds, 0), 'one race of four')

def main():
    heading('The probe of a new origin')
    for s in ('seaweed', 'ceph'):
        with service(s) as place:
            if place is None: continue
            endpoint = place.service.endpoint
            measure(s, RemoteBackend(place.url, endpoint=endpoint, timeout=10.0))
            with Proxy(endpoint, delay=0.02) as slow:
                b = RemoteBackend(place.url, endpoint=slow.endpoint, timeout=10.0)
                measure(f'{s}, on a line of 20 ms', b, 3)
                with slow.counting() as c: probe(b)
                say(f'- requests: {len(c)} {c.verbs}')
    with scratch() as d: measure('a folder that counts as shared, durable', FileBackend(d, shared=True))

if __name__ == '__main__': main()
