"""An HTTP/1.1 proxy that misbehaves as networks and stores do, by a seeded plan; signatures pass: Host is untouched.

It stands between an S3 client and a real server. A :class:`Plan` decides for each request what goes wrong with it:

==========  ============================================================================================
``delay``   the request waits before it goes on
``busy``    answered 503 SlowDown without reaching the server
``reset``   the connection is cut before the request reaches the server
``drop``    the server does what it was asked, and the connection is cut before its answer comes through
``truncate``  the answer's body breaks off half-way
``conflict``  a conditional PUT is answered 409 ConditionalRequestConflict without reaching the server
==========  ============================================================================================
"""

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Fault = Literal["delay", "busy", "reset", "drop", "truncate", "conflict"]
Plan = Callable[["Request"], Fault | None]

DELAY_S = 0.2
_CHUNK = 64 * 1024


@dataclass(frozen=True)
class Request:
    """What a plan decides by, and what a test may look at afterwards."""

    number: int
    method: str
    target: str
    headers: Mapping[str, str]

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def conditional(self) -> bool:
        return "if-none-match" in self.headers


def no_faults(request: Request) -> None:
    """Everything passes."""
    del request


def shares(seed: int, share: Mapping[Fault, float]) -> Plan:
    """A plan that gives each request a fault by chance.

    Args:
        seed: Of the chances; the same order of requests meets the same faults.
        share: Share of requests that each fault meets; ``truncate`` applies to GET, ``conflict`` to conditional PUT.
    """
    chance = random.Random(seed)  # noqa: S311 - no secret

    def plan(request: Request) -> Fault | None:
        x = chance.random()
        for fault, part in share.items():
            if (fault == "truncate" and request.method != "GET") or (fault == "conflict" and not request.conditional):
                continue
            if x < part:
                return fault
            x -= part
        return None

    return plan


@dataclass
class _Head:
    first: str
    lines: list[str] = field(default_factory=list)

    @property
    def headers(self) -> dict[str, str]:
        pairs = (line.partition(":") for line in self.lines)
        return {name.strip().lower(): value.strip() for name, _, value in pairs}

    def bytes(self) -> bytes:
        return "\r\n".join([self.first, *self.lines, "", ""]).encode("latin-1")


async def _read_head(reader: asyncio.StreamReader) -> _Head:
    text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = text[:-4].split("\r\n")
    return _Head(first, lines)


async def _copy_body(reader: asyncio.StreamReader, head: _Head, writer: asyncio.StreamWriter | None) -> None:
    """Pass one body on, or swallow it where there is no writer."""

    async def put(data: bytes) -> None:
        if writer is not None:
            writer.write(data)
            await writer.drain()

    if "chunked" in head.headers.get("transfer-encoding", ""):
        while True:
            line = await reader.readline()
            await put(line)
            size = int(line.split(b";")[0], 16)
            await put(await reader.readexactly(size + 2))  # the last, of size 0, is followed by an empty line
            if size == 0:
                return
    left = int(head.headers.get("content-length", 0))
    while left:
        data = await reader.read(min(left, _CHUNK))
        if not data:
            raise ConnectionResetError
        left -= len(data)
        await put(data)


def _answer(status: str, code: str) -> bytes:
    body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>injected</Message></Error>'.encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nConnection: close\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


class FaultProxy:
    """The proxy, on a thread of its own; a context manager.

    Args:
        host: Of the server behind.
        port: Of the server behind.
        plan: What goes wrong; may be replaced at any time by setting :attr:`plan`.

    Attributes:
        requests: All requests so far.
        faults: How often each fault was injected.
    """

    def __init__(self, host: str, port: int, plan: Plan = no_faults) -> None:
        self.plan = plan
        self.requests: list[Request] = []
        self.faults: Counter[str] = Counter()
        self.port = 0
        self._upstream = (host, port)
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="faultproxy", daemon=True)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> "FaultProxy":
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._client, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        try:
            while True:
                head = await _read_head(reader)
                upstream = upstream or await asyncio.open_connection(*self._upstream)
                if not await self._one(head, reader, writer, *upstream):
                    return
        except (asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
            pass  # one side has gone, or the proxy ends: so does the other
        finally:
            self._tasks.discard(task)
            for end in (writer, *(upstream or ())[1:]):
                end.transport.abort()

    async def _one(
        self,
        head: _Head,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        up_reader: asyncio.StreamReader,
        up_writer: asyncio.StreamWriter,
    ) -> bool:
        """Serve one request; whether the connection may serve another."""
        method, target, _ = head.first.split(" ")
        request = Request(len(self.requests), method, target, head.headers)
        self.requests.append(request)
        fault = self.plan(request)
        if fault is not None:
            self.faults[fault] += 1
        if fault == "reset":
            return False
        if fault == "delay":
            await asyncio.sleep(DELAY_S)
        expects = "expect" in head.headers
        if fault in ("busy", "conflict"):
            if not expects:
                await _copy_body(reader, head, None)
            busy = fault == "busy"
            writer.write(
                _answer("503 Slow Down", "SlowDown") if busy else _answer("409 Conflict", "ConditionalRequestConflict")
            )
            await writer.drain()
            writer.close()
            await writer.wait_closed()
            return False
        up_writer.write(head.bytes())
        await up_writer.drain()
        answer: _Head | None = None
        if expects:
            answer = await _read_head(up_reader)
            if " 100" in answer.first:
                writer.write(answer.bytes())
                await writer.drain()
                answer = None
        if answer is None:
            await _copy_body(reader, head, up_writer)
            answer = await _read_head(up_reader)
            while " 100 " in answer.first:
                answer = await _read_head(up_reader)
        return await self._reply(request, answer, fault, up_reader, writer)

    async def _reply(
        self,
        request: Request,
        answer: _Head,
        fault: Fault | None,
        up_reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        if fault == "drop":
            return False
        writer.write(answer.bytes())
        bodiless = request.method == "HEAD" or answer.first.split(" ")[1] in ("204", "304")
        if fault == "truncate" and not bodiless:
            size = int(answer.headers.get("content-length", 0))
            writer.write(await up_reader.readexactly(size // 2))
            await writer.drain()
            await asyncio.sleep(0.01)  # or the abort could overtake what was written
            return False
        if not bodiless:
            await _copy_body(up_reader, answer, writer)
        await writer.drain()
        return answer.headers.get("connection", "").lower() != "close"
