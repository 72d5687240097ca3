"""A relay before an S3 service that breaks the promise of create-only writes now and then, as some gateways do.

    with Relay(s3.endpoint, share=0.1, client=s3.client()) as relay: store.put(...)    # by way of relay.endpoint
    relay.beside, relay.twice      # writers who came while another created the same key; those of them who won as well

A second create-only PUT of a key that comes while the first one is on its way wins too in a share of the races: what
the first has written is deleted, so that the service takes the second, and both are told 200. Whoever comes when the
first has been answered is refused as ever. `RelayInMemory` is the same in this process: there a first writer waits a
moment for a second, so that those who come beside each other are always seen to.
"""
from __future__ import annotations
import asyncio, random, threading
from collections import Counter
from contextlib import suppress
from objectstore.storage.backend import Capabilities, MemoryBackend
from proxy import Exchange, Fault, Proxy, kind


@kind
async def two_winners(x: Exchange, fault: Fault) -> None:
    "What `Relay` does with a PUT"
    relay, key = x.link.proxy, x.request.path
    first = relay.under_way.get(key)
    if first is None: return await _first(x, relay, key)
    relay.beside += 1
    relay.second[key].set()
    if not relay.wins(): return await x.reply(await x.forward())
    await first.wait()
    bucket, _, name = key.strip('/').partition('/')
    await asyncio.get_running_loop().run_in_executor(None, lambda: relay.client.delete_object(Bucket=bucket, Key=name))
    relay.twice += 1
    await x.reply(await x.forward())

async def _first(x: Exchange, relay: Relay, key: str) -> None:
    "Under way until a second one comes, where a probe sends one: on a busy machine they would meet by chance alone"
    relay.under_way[key], relay.second[key] = done, second = asyncio.Event(), asyncio.Event()
    try:
        if '/probe/' in key and key not in relay.met:
            relay.met.add(key)
            with suppress(TimeoutError): await asyncio.wait_for(second.wait(), relay.patience)
        await x.reply(await x.forward())
    finally:
        relay.under_way.pop(key), relay.second.pop(key)
        done.set()


class Relay(Proxy):
    "Before one S3 endpoint; see the top of this file"
    patience = 3.0       # seconds for which a first writer of a probe's key is under way, if no second one comes
    def __init__(self, endpoint: str, share: float, client, seed: int = 0, **line):
        super().__init__(endpoint, **line)
        self.share, self.client, self._random = share, client, random.Random(seed)
        self.under_way: dict[str, asyncio.Event] = {}
        self.second: dict[str, asyncio.Event] = {}       # Set when a second writer comes
        self.met: set[str] = set()                       # Keys for which a second one was waited for
        self.beside = self.twice = 0
        self.fault('two_winners', method='PUT', when=lambda r: '/log/' not in r.path)
    def wins(self) -> bool: return self._random.random() < self.share


class RelayInMemory(MemoryBackend):
    "A service in this process on which a second writer who comes beside the first wins in a share of the races"
    can = Capabilities('remote', wait=0.01, many=64)
    patience = 5.0       # seconds for which a first writer of a probe's key is under way, if no second one comes

    def __init__(self, share: float, seed: int = 0):
        super().__init__()
        self.share, self.beside, self.twice, self.came = share, 0, 0, Counter()
        self._random, self._second = random.Random(seed), {}

    def create(self, key, data):
        with self._lock:
            self.came[key] += 1
            n, second = self.came[key], self._second.setdefault(key, threading.Event())
            there = key in self._objects
        if n == 1 and key.startswith('probe/'): second.wait(self.patience)
        if n == 1 or there: return super().create(key, data)
        return self._beside(key, data, second)

    def _beside(self, key, data, second):
        "A writer who came while the first was under way"
        with self._lock:
            self.beside += 1
            wins = self._random.random() < self.share
            self.twice += wins
        second.set()
        while key not in self._objects: threading.Event().wait(0.0002)
        if wins: self._objects[key] = (bytes(data), self._objects[key][1])
        return wins
