"""A proxy before an S3 service that counts requests exactly, injects faults, and is as slow as a link.

    with Proxy(s3.endpoint) as proxy:                     # clients use proxy.endpoint; signatures stay valid
        with proxy.counting() as c: store.put(...)
        c.requests, c.verbs, len(c)                       # what was asked, in order; {'PUT': 1, 'LIST': 1}

        with proxy.fault('close_after_commit', method='PUT', path='records/', times=200) as f: ...
        f.hits                                            # how often it was applied

    Proxy(s3.endpoint, delay=0.02, rate=50e6)             # 20 ms a request, 50 MB/s a connection

Kinds of fault:
    refuse                connections are refused, and those there are cut (no method, path or times)
    hang                  the request is read and never answered
    hang_after_commit     forwarded, never answered
    close                 closed without an answer, nothing forwarded
    close_after_commit    forwarded, its answer dropped, then closed
    reset                 the connection is reset, nothing forwarded
    reset_after_commit    forwarded, its answer dropped, then reset
    500, 503, 409, ...    any status: answered so, nothing forwarded
    500_after_commit      forwarded, answered with 500
    truncate              the body cut short: keep=bytes, length='matching' (announced so) or 'original' (then closed)
    flip                  one byte of the body flipped: at=index (default: the middle)
    slow                  the whole answer at rate=bytes a second (default 10)
    late                  the answer comes wait=seconds after the request

Answers that look like a success and are none (nothing forwarded; in front of every request they are a captive portal):
    page                  200 with a web page that is also well-formed XML, which S3 clients read as an empty listing
    tag_soup              200 with a web page that is not
    tagged_page           the page with an ETag and a Last-Modified, as frameworks send them to every request
    empty, json           200 with no body, or with {"status": "ok"}
    error_in_success      200 with the XML of an S3 error
    redirect              302 to a login page, which is then served
    console               a web console: the page to GET and HEAD, 405 with a page to all else
    unknown_key           404 with an error code of the gateway's own (XAdminUserNotFound)

Listings (forwarded and rewritten; other requests pass as they are):
    doubled               each key is listed twice
    unordered             the keys of each page in reverse order
    cut                   the page ends in the middle of its XML, its length announced so

The proxy is one event loop in a thread. It forwards bytes as they are, the Host header among them: S3 services
verify the signature with the Host that they are told, so the client signs for the proxy's address.
"""
from __future__ import annotations
import asyncio, random, re, socket, struct, threading, time
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

PIECE = 2**18        # bytes a read; larger ones gain nothing
_hang_up = (ConnectionError, EOFError, OSError)


@dataclass
class Request:
    "One request as it went by; `status` is what the client was told, 0 where it was told nothing"
    method: str
    path: str                   # decoded: /bucket/key
    query: dict[str, str]
    status: int = 0
    sent: int = 0               # bytes of the client's body
    received: int = 0           # bytes of the answer's body
    fault: str | None = None

    @property
    def verb(self) -> str:
        "The method, or LIST where a bucket (or the service) is read"
        return 'LIST' if self.method == 'GET' and '/' not in self.path.strip('/') else self.method

    def __str__(self):
        query = '&'.join(f'{k}={v}' for k, v in self.query.items())
        return (f"{self.verb} {self.path}{'?' if query else ''}{query} -> {self.status or 'nothing'} ({self.sent} up, "
                f"{self.received} down){f' {self.fault}' if self.fault else ''}")


@dataclass
class Count:
    "The requests that began while it was counting"
    requests: list[Request] = field(default_factory=list)
    def __len__(self): return len(self.requests)
    def __iter__(self): return iter(self.requests)
    @property
    def verbs(self) -> dict[str, int]: return dict(Counter(r.verb for r in self.requests))
    def __repr__(self): return '\n'.join([f'{len(self)} requests {self.verbs}', *map(str, self.requests)])


@dataclass(eq=False)
class Fault:
    "What goes wrong, and with which requests"
    kind: str
    method: str | None = None                        # of this method (or verb: LIST)
    path: str | None = None                          # whose path this regular expression finds
    when: Callable[[Request], bool] | None = None    # of which this says so
    nth: int | None = None                           # only the nth of them, from 1
    times: int | None = None                         # at most so many of them
    share: float = 1.0                               # this share of them, chosen by `seed`
    seed: int = 0
    keep: int | None = None                          # truncate: bytes that stay (default: half)
    length: str = 'matching'                         # truncate: or 'original'
    at: int | None = None                            # flip
    rate: float = 10                                 # slow
    wait: float = 3                                  # late
    hits: int = 0                                    # how often it was applied
    seen: int = 0                                    # how many requests matched
    remove: Callable[[], None] = lambda: None

    def __post_init__(self):
        if not (self.kind in _kinds or re.fullmatch(r'[2-5]\d\d', self.kind)):
            raise ValueError(f"{self.kind!r} is no kind of fault; there are {', '.join(_kinds)} and any status")
        if self.length not in ('matching', 'original'):
            raise ValueError(f"length is 'matching' or 'original', not {self.length!r}")
        self._random = random.Random(self.seed)

    def takes(self, r: Request) -> bool:
        "Is it applied to this request? Counts the request"
        if self.kind == 'refuse': return False
        if self.method and self.method not in (r.method, r.verb): return False
        if self.path and not re.search(self.path, r.path): return False
        if self.when and not self.when(r): return False
        self.seen += 1
        if self.nth is not None and self.seen != self.nth: return False
        if self.times is not None and self.hits >= self.times: return False
        if self._random.random() >= self.share: return False
        self.hits += 1
        return True

    def __enter__(self): return self
    def __exit__(self, *error): self.remove()


class Head:
    "The first line and the headers of a message, kept as they were"
    def __init__(self, raw: bytes):
        self.raw = raw
        first, *lines = raw[:-4].decode('latin-1').split('\r\n')
        self.first = first.split(' ', 2)
        self.fields = {k.strip().lower(): v.strip() for k, _, v in (l.partition(':') for l in lines)}

    @property
    def status(self) -> int: return int(self.first[1])
    @property
    def length(self) -> int: return int(self.fields.get('content-length', 0))
    @property
    def chunked(self) -> bool: return 'chunked' in self.fields.get('transfer-encoding', '').lower()
    @property
    def unended(self) -> bool:
        return self.first[0].startswith('HTTP/') and not self.chunked and 'content-length' not in self.fields
    @property
    def closing(self) -> bool: return 'close' in self.fields.get('connection', '').lower() or 'HTTP/1.0' in self.first
    @property
    def expects(self) -> bool: return '100-continue' in self.fields.get('expect', '').lower()

    def with_length(self, n: int) -> bytes:
        "The same head for a body of `n` bytes that is not chunked"
        lines = [l for l in self.raw[:-4].split(b'\r\n')
                 if not re.match(rb'(content-length|transfer-encoding):', l, re.I)]
        return b'\r\n'.join([*lines, b'Content-Length: %d' % n, b'', b''])


class Wire:
    "One end of a connection"
    def __init__(self, sock: socket.socket):
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock, self.loop = sock, asyncio.get_running_loop()
        self.buffer = memoryview(bytearray(PIECE))
        self.ahead, self.at = b'', 0        # read already, and how far it has been used

    async def piece(self, most: int = PIECE) -> memoryview:
        "Some bytes, valid until the next read; `EOFError` at the end"
        if self.at < len(self.ahead):
            some = memoryview(self.ahead)[self.at:self.at + most]
            self.at += len(some)
            return some
        n = await self.loop.sock_recv_into(self.sock, self.buffer[:most])
        if not n: raise EOFError
        return self.buffer[:n]

    async def until(self, end: bytes) -> bytes:
        "Everything up to and with `end`"
        while (i := self.ahead.find(end, self.at)) < 0:
            self.ahead, self.at = self.ahead[self.at:], 0
            if len(self.ahead) > 2**20: raise ConnectionError(f'{end!r} is not in the first MiB')
            n = await self.loop.sock_recv_into(self.sock, self.buffer)
            if not n: raise EOFError
            self.ahead += self.buffer[:n]
        start, self.at = self.at, i + len(end)
        return self.ahead[start:self.at]

    async def send(self, data) -> None: await self.loop.sock_sendall(self.sock, data)

    def stale(self) -> bool:
        "Has the other side closed it (or said something unasked)?"
        try: self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError: return False
        except OSError: return True
        return True

    def close(self, reset: bool = False) -> None:
        if reset: self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        self.sock.close()


async def body(head: Head, wire: Wire, framed: bool = True):
    "The pieces of a message's body; `framed`: with the lines between its chunks, so that it can be passed on as it is"
    if not head.chunked:
        async for piece in to_end(wire) if head.unended else exactly(wire, head.length): yield piece
        return
    while True:
        line = await wire.until(b'\r\n')
        size = int(line.split(b';')[0], 16)
        if framed: yield line
        async for piece in exactly(wire, size): yield piece
        end = await wire.until(b'\r\n')
        if framed: yield end
        if not size:
            while end != b'\r\n':    # trailers
                end = await wire.until(b'\r\n')
                if framed: yield end
            return

async def exactly(wire: Wire, left: int):
    while left:
        piece = await wire.piece(min(left, PIECE))
        left -= len(piece)
        yield piece

async def to_end(wire: Wire):
    with suppress(EOFError):
        while True: yield await wire.piece()


class Pace:
    "Sends no faster than `rate` bytes a second"
    def __init__(self, wire: Wire, rate: float | None):
        self.wire, self.rate, self.free = wire, rate, 0.0

    async def send(self, data) -> None:
        if not self.rate:
            await self.wire.send(data)
            return await asyncio.sleep(0)     # a busy connection must not keep the others waiting
        step = max(1, min(PIECE, int(self.rate / 20)))
        for i in range(0, len(data), step):
            self.free = max(self.free, time.monotonic() - 0.02) + len(data[i:i+step]) / self.rate
            await asyncio.sleep(self.free - time.monotonic())
            await self.wire.send(data[i:i+step])


class Exchange:
    "One request and its answer"
    def __init__(self, link: Link, head: Head, request: Request):
        self.link, self.client, self.head, self.request = link, link.client, head, request
        self.keep = not head.closing

    async def forward(self) -> Head:
        "The request to the service, as it is; the head of its answer"
        service = await self.link.service()
        await service.send(self.head.raw)
        if self.head.expects:
            answer = await self._answer(service)
            if answer.status != 100:
                self.keep = False       # nobody knows whether the client will send its body
                return answer
            await self.client.send(answer.raw)
        try: await self._send_body(service)
        except (BrokenPipeError, ConnectionResetError): self.keep = False   # it may have answered before the end
        answer = await self._answer(service)
        while answer.status == 100: answer = await self._answer(service)
        if answer.closing or answer.unended: self.keep = False
        return answer

    async def _answer(self, service: Wire) -> Head: return Head(await service.until(b'\r\n\r\n'))

    async def _send_body(self, service: Wire) -> None:
        pace = Pace(service, self.link.proxy.rate)
        async for piece in body(self.head, self.client):
            self.request.sent += len(piece)
            await pace.send(piece)

    def bare(self, answer: Head) -> bool:
        "Has this answer no body, whatever its head says?"
        return self.request.method == 'HEAD' or answer.status in (204, 304) or answer.status < 200

    async def reply(self, answer: Head) -> None:
        "The service's answer to the client, as it is"
        pace = Pace(self.client, self.link.proxy.rate)
        self.request.status = answer.status
        if self.bare(answer): return await self.client.send(answer.raw)
        await self.client.send(answer.raw)
        async for piece in body(answer, await self.link.service()):
            self.request.received += len(piece)
            await pace.send(piece)

    async def take(self) -> None:
        "The client's body, for nobody"
        if self.head.expects: await self.client.send(b'HTTP/1.1 100 Continue\r\n\r\n')
        async for piece in body(self.head, self.client): self.request.sent += len(piece)

    async def taken(self, answer: Head) -> bytes:
        "The body of the service's answer, whole and without chunks"
        if self.bare(answer): return b''
        return b''.join([bytes(p) async for p in body(answer, await self.link.service(), framed=False)])

    async def say(self, head: bytes, content: bytes = b'', rate: float | None = None) -> None:
        "An answer of our own"
        self.request.status, self.request.received = int(head.split()[1]), len(content)
        await Pace(self.client, rate or self.link.proxy.rate).send(head + content)


# The kinds of fault: what each does with an exchange

_kinds: dict[str, Callable] = {}
def kind(f):
    _kinds[f.__name__] = f
    return f

@kind
async def refuse(x, fault): raise AssertionError('refused connections make no requests')

@kind
async def hang(x, fault):
    await x.take()
    await _forever(x)

@kind
async def hang_after_commit(x, fault):
    await x.taken(await x.forward())
    await _forever(x)

async def _forever(x) -> None:
    "Until the client gives up"
    x.keep = False
    while True: await x.client.piece()

@kind
async def close(x, fault):
    await x.take()
    x.keep = False

@kind
async def close_after_commit(x, fault):
    await x.taken(await x.forward())
    x.keep = False

@kind
async def reset(x, fault):
    await x.take()
    x.client.close(reset=True)
    x.keep = False

@kind
async def reset_after_commit(x, fault):
    await x.taken(await x.forward())
    x.client.close(reset=True)
    x.keep = False

@kind
async def truncate(x, fault):
    answer = await x.forward()
    content = await x.taken(answer)
    short = content[:len(content) // 2 if fault.keep is None else fault.keep]
    await x.say(answer.with_length(len(short if fault.length == 'matching' else content)), short)
    if fault.length == 'original': x.keep = False

@kind
async def flip(x, fault):
    answer = await x.forward()
    content = bytearray(await x.taken(answer))
    if content: content[len(content) // 2 if fault.at is None else fault.at] ^= 0xff
    await x.say(answer.raw if x.bare(answer) else answer.with_length(len(content)), bytes(content))

@kind
async def slow(x, fault):
    answer = await x.forward()
    content = await x.taken(answer)
    await x.say(answer.raw if x.bare(answer) else answer.with_length(len(content)), content, fault.rate)

@kind
async def late(x, fault):
    await asyncio.sleep(fault.wait)
    await x.reply(await x.forward())

# Answers that are not those of an object service

PAGE = (b'<!DOCTYPE html>\n<html><head><title>Welcome</title></head><body><p>Please log in to use the '
        b'network.</p></body></html>')
SOUP = b'<!doctype html><html><head><title>Welcome</title><body><p>Please log in<br>to use the network.</body>'
ERROR = b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>InternalError</Code><Message>injected</Message></Error>'

async def answer(x, content: bytes, kind: str = 'text/html', status: str = '200 OK', **headers: str) -> None:
    "An answer of our own, with its body where the request may have one"
    await x.take()
    lines = [f'HTTP/1.1 {status}', f'Content-Type: {kind}', f'Content-Length: {len(content)}',
             *(f'{k}: {v}' for k, v in headers.items())]
    await x.say('\r\n'.join([*lines, '', '']).encode(), b'' if x.request.method == 'HEAD' else content)

@kind
async def page(x, fault): await answer(x, PAGE)

@kind
async def tag_soup(x, fault): await answer(x, SOUP)

@kind
async def tagged_page(x, fault):
    await answer(x, PAGE, **{'ETag': 'W/"2d-5eb63bbbe01eeed0"', 'Last-Modified': 'Sat, 28 Nov 2026 10:00:00 GMT'})

@kind
async def empty(x, fault): await answer(x, b'')

@kind
async def json(x, fault): await answer(x, b'{"status": "ok"}', 'application/json')

@kind
async def error_in_success(x, fault): await answer(x, ERROR, 'application/xml')

@kind
async def redirect(x, fault):
    if x.request.path == '/login': return await answer(x, PAGE)
    await answer(x, b'', status='302 Found', Location='/login')

@kind
async def console(x, fault):
    if x.request.method in ('GET', 'HEAD'): return await answer(x, PAGE)
    await answer(x, b'<html><body>Method not allowed</body></html>', status='405 Method Not Allowed')

@kind
async def unknown_key(x, fault):
    await answer(x, b'<?xml version="1.0"?>\n<Error><Code>XAdminUserNotFound</Code><Message>injected</Message></Error>',
                 'application/xml', '404 Not Found')

PORTALS = ['page', 'tag_soup', 'tagged_page', 'empty', 'json', 'error_in_success', 'redirect', 'console']


# Listings that are rewritten

def listing(rewrite: Callable[[bytes], bytes]):
    "A kind of fault that changes the body of a listing"
    async def fault(x, fault):
        answer = await x.forward()
        if x.request.verb != 'LIST' or answer.status != 200: return await x.reply(answer)
        content = rewrite(await x.taken(answer))
        await x.say(answer.with_length(len(content)), content)
    return fault

_contents = re.compile(rb'(?:<Contents>.*?</Contents>)+', re.DOTALL)
def entries(found: re.Match) -> list[bytes]: return re.findall(rb'<Contents>.*?</Contents>', found[0], re.DOTALL)

_kinds['doubled'] = listing(lambda xml: _contents.sub(lambda m: b''.join(2 * e for e in entries(m)), xml))
_kinds['unordered'] = listing(lambda xml: _contents.sub(lambda m: b''.join(reversed(entries(m))), xml))
_kinds['cut'] = listing(lambda xml: xml[:2 * len(xml) // 3])

_codes = {'409': 'ConditionalRequestConflict', '500': 'InternalError', '503': 'SlowDown'}

async def status(x, code: str) -> None:
    content = (b'' if x.request.method == 'HEAD'
               else ('<?xml version="1.0" ' f'encoding="UTF-8"?>\n<Error><Code>{_codes.get(code, "Fault")}</Code>'
                     f'<Message>injected</Message></Error>').encode())
    await x.say(f'HTTP/1.1 {code} Injected\r\nContent-Type: application/xml\r\n'
                f'Content-Length: {len(content)}\r\n\r\n'.encode(), content)

async def _500_after_commit(x, fault):
    await x.taken(await x.forward())
    await status(x, '500')

_kinds['500_after_commit'] = _500_after_commit

async def apply(fault: Fault, x: Exchange) -> None:
    x.request.fault = fault.kind
    if fault.kind in _kinds: return await _kinds[fault.kind](x, fault)
    await x.take()
    await status(x, fault.kind)


class Link:
    "A client's connection, and the one to the service that belongs to it"
    def __init__(self, proxy: Proxy, sock: socket.socket):
        self.proxy, self.client, self._service = proxy, Wire(sock), None

    async def service(self) -> Wire:
        "The connection to the service, opened when first needed"
        if self._service is None:
            s = socket.socket()
            s.setblocking(False)
            try: await asyncio.get_running_loop().sock_connect(s, self.proxy.target)
            except BaseException:
                s.close()
                raise
            self._service = Wire(s)
        return self._service

    async def serve(self) -> None:
        "Exchanges, one after the other, until one side has had enough"
        try:
            await asyncio.sleep(self.proxy.delay)       # a connection costs a round trip
            while await self._exchange(): pass
        except _hang_up: pass
        finally: self.close()

    async def _exchange(self) -> bool:
        "One request; whether there may be another"
        head = Head(await self.client.until(b'\r\n\r\n'))
        if self._service and self._service.stale(): self._drop()
        url = urlsplit(head.first[1])
        request = Request(head.first[0], unquote(url.path), dict(parse_qsl(url.query, keep_blank_values=True)))
        x = Exchange(self, head, request)
        fault = self.proxy._begin(request)
        await asyncio.sleep(self.proxy.delay)
        if fault: await apply(fault, x)
        else: await x.reply(await x.forward())
        return x.keep

    def _drop(self) -> None:
        if self._service: self._service.close()
        self._service = None

    def close(self) -> None:
        self._drop()
        self.client.close()


class Proxy:
    "Before one S3 endpoint; see the top of this file"
    def __init__(self, endpoint: str, delay: float = 0.0, rate: float | None = None):
        url = urlsplit(endpoint)
        if url.scheme != 'http': raise ValueError(f'{endpoint!r}: only plain HTTP can be looked into')
        self.target, self.delay, self.rate = (url.hostname, url.port or 80), delay, rate
        self.faults: list[Fault] = []
        self._counts: list[Count] = []
        self._tasks: set[asyncio.Task] = set()

    # what a test uses

    @property
    def endpoint(self) -> str: return f'http://127.0.0.1:{self.port}'

    @contextmanager
    def counting(self):
        "The requests that begin meanwhile"
        count = Count()
        self._counts.append(count)
        try: yield count
        finally: self._counts.remove(count)

    def fault(self, kind: str | int, **plan) -> Fault:
        "Add a fault, until its `remove()` or the end of its `with`; `plan`: the fields of `Fault`"
        f = Fault(str(kind), **plan)
        f.remove = lambda: self._remove(f)
        if f.kind == 'refuse':
            if plan: raise ValueError("'refuse' is about connections, before there is a request to choose")
            self._do(self._refuse())
        self.faults.append(f)
        return f

    def _remove(self, f: Fault) -> None:
        if f not in self.faults: return
        self.faults.remove(f)
        if f.kind == 'refuse': self._do(self._listen())

    def clear(self) -> None:
        "Remove all faults"
        for f in [*self.faults]: f.remove()

    # the thread

    port = 0

    def __enter__(self):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name='proxy', daemon=True)
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(self, *error):
        self._do(self._refuse())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _do(self, what): return asyncio.run_coroutine_threadsafe(what, self._loop).result(10)

    async def _listen(self) -> None:
        self._door = socket.socket()
        self._door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._door.bind(('127.0.0.1', self.port))
        self._door.listen(512)
        self._door.setblocking(False)
        self.port = self._door.getsockname()[1]
        self._task(self._accept())

    async def _refuse(self) -> None:
        "Listen no more, and cut what there is"
        tasks = [*self._tasks]
        for t in tasks: t.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._door.close()

    async def _accept(self) -> None:
        while True:
            sock, _ = await self._loop.sock_accept(self._door)
            self._task(Link(self, sock).serve())

    def _task(self, what) -> None:
        t = self._loop.create_task(what)
        self._tasks.add(t)
        t.add_done_callback(self._tasks.discard)

    def _begin(self, request: Request) -> Fault | None:
        "Count a request, unless it leaves a hint, which is done when nobody waits; the fault that it meets"
        if request.method != 'PUT' or '/log/h-' not in request.path:
            for c in [*self._counts]: c.requests.append(request)
        return next((f for f in [*self.faults] if f.takes(request)), None)
