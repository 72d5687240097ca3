"""put_many and get_many of 10,000 objects of 4 KB: S3 beside raw obstore with the same concurrency, durable files
beside single puts"""
import sys, warnings
from common import compare, heading, raw_remote, ratio, report, scratch, service, verdict
from objectstore import ObjectStore

N = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
WORD = 'x' * 4000


def s3(kind: str, rounds: int = 2):
    with service(kind) as place:
        if place is None: return
        from concurrent.futures import ThreadPoolExecutor
        s, o, at = ObjectStore(place.url, progress=False, timeout=10.0), raw_remote(
            place, timeout='30s'), iter(range(1, 10**6))
        s.put('many/ready', 1)
        many = s.origin.place.can.many
        pool = ThreadPoolExecutor(many)
        def raw_put(form, r):
            list(pool.map(lambda i: o.put(form.format(r, i), f'{i:06}{WORD}'.encode(), mode='create',
                                          use_multipart=False), range(N)))
        # a service that keeps folders has more to do for keys of our form
        flat, ours = 'flat{}/{}', 'nested/{}-{}/@/0000000001'
        def raw_get(form): return list(pool.map(lambda i: o.get(form.format(0, i)).bytes().to_bytes(), range(N)))
        def our_put():
            r = next(at)
            s.put_many((f'many/{r}-{i}', f'{i:06}{WORD}') for i in range(N))
        s.put_many((f'read/{i}', f'{i:06}{WORD}') for i in range(N))
        def our_get():
            reader = ObjectStore(place.url, progress=False, timeout=10.0)
            return reader.get_many(f'read/{i}' for i in range(N))
        raw_put(flat, 0)
        raw_put(ours, 0)
        puts = {'raw obstore, flat keys': lambda: raw_put(flat, next(at)),
                'raw obstore, keys of our form': lambda: raw_put(ours, next(at)), 'put_many': our_put}
        gets = {'raw obstore, flat keys': lambda: raw_get(flat), 'raw obstore, keys of our form': lambda: raw_get(ours),
                'get_many, cold': our_get}
        for verb, candidates in (('put_many', puts), ('get_many', gets)):
            times = compare(candidates, rounds=rounds, warm=0, at_least=0)
            report(f'{verb}: {N:,} objects of 4 KB, {kind}, {many} requests at once', times, 'raw obstore, flat keys')
            for raw in list(candidates)[:2]:
                verdict(f'{verb}, {kind}: rate as a part of {raw}', ratio(times, raw, list(candidates)[2])[0], 0.8,
                        at_most=False)

def files():
    from bench_small import raw_put
    n = max(N // 5, 100)
    with scratch() as d:
        s, at = ObjectStore(d/'store', progress=False), iter(range(10**6))
        (d/'raw').mkdir()
        def single():
            r = next(at)
            for i in range(n): s.put(f'one/{r}-{i}', f'{i:06}{WORD}')
        def again():
            for i in range(n): s.put('one/item', f'{i:06}{WORD}')
        def many():
            r = next(at)
            s.put_many((f'many/{r}-{i}', f'{i:06}{WORD}') for i in range(n))
        def raw():
            r = d/'raw'/str(next(at)); r.mkdir(); k = iter(range(n))
            for _ in range(n): raw_put(r, k)
        s.put_many((f'known/{i}', 'ready') for i in range(n))
        def next_single():
            for i in range(n): s.put(f'known/{i}', f'{i:06}{WORD}')
        def next_many(): s.put_many((f'known/{i}', f'{i:06}{WORD}') for i in range(n))
        times = compare({'single puts, new items': single, 'put_many, new items': many,
                         'single puts, the next of each item': next_single,
                         'put_many, the next of each item': next_many, 'single puts, one item': again,
                         'raw files, one by one, one folder': raw}, rounds=3, warm=0, at_least=0)
        s.put_many((f'read/{i}', f'{i:06}{WORD}') for i in range(n))
        refs = [f'read/{i}' for i in range(n)]
        def one_by_one():
            r = ObjectStore(d/'store', progress=False)
            return [r.get(x) for x in refs]
        report(f'Puts of {n:,} objects of 4 KB, durable local files', times, 'single puts, new items')
        verdict('put_many: how many times the rate of single puts of new items',
                ratio(times, 'single puts, new items', 'put_many, new items')[0], 3, at_most=False)
        verdict('put_many: how many times the rate of single puts, the next of each item',
                ratio(times, 'single puts, the next of each item', 'put_many, the next of each item')[0], 3,
                at_most=False)
        report('Gets of the same',
               compare({'single gets': one_by_one,
                        'get_many': lambda: ObjectStore(d/'store', progress=False).get_many(refs)}, rounds=3,
                       at_least=0), 'single gets')

if __name__ == '__main__':
    warnings.simplefilter('ignore')
    heading(f'Many at once: {N:,} objects of 4 KB')
    files()
    for kind in ('seaweed', 'ceph'): s3(kind)
