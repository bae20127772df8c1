"""What stands before the routes: who may be called, how much may be sent, and that no fault shows its insides."""

import json
import logging
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

from neuroconcepts_ray.errors import fault
from neuroconcepts_ray.web.config import LARGEST_BODY, LARGEST_UPLOAD

LOG = logging.getLogger("neuroconcepts.web")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

LONGEST_TEXT = 300
"""Characters of a value that an error repeats."""

HEADERS = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]


class TooLarge(Exception):  # noqa: N818 - never leaves this module
    """The body is larger than its route takes."""


def plain(text: str | None) -> str | None:
    """Text as an error may show it: short, and without halves of surrogate pairs, which UTF-8 cannot say."""
    if text is None:
        return None
    cut = text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"
    return cut.encode("utf-8", "replace").decode("utf-8")


class Guard:
    """ASGI middleware.

    Args:
        app: The application.
        hosts: Names in the Host header that are answered: a page of another site cannot read a server on this machine
            by pointing its own name here. None for any.
    """

    def __init__(self, app: App, hosts: Collection[str] | None) -> None:
        self.app = app
        self.hosts = None if hosts is None else {host.casefold() for host in hosts}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        if self.hosts is not None and _host(headers.get(b"host", b"")) not in self.hosts:
            await _refuse(send, 400, "this server does not answer to that host name", "Call it by the name it listens on")
            return
        most = LARGEST_UPLOAD if scope["path"].endswith("/upload") else LARGEST_BODY
        length = headers.get(b"content-length", b"0")
        if not length.isdigit():
            await _refuse(send, 400, "the length of the body is no number")
            return
        if len(length) > 15 or int(length) > most:
            await _refuse(send, 413, "the body is too large", limit=f"{most} bytes")
            return
        await self._pass(scope, receive, send, most)

    async def _pass(self, scope: Message, receive: Receive, send: Send, most: int) -> None:
        read, started, large = 0, False, False

        async def counted() -> Message:
            nonlocal read, large
            message = await receive()
            read += len(message.get("body", b""))
            if read > most:
                large = True
                raise TooLarge
            return message

        async def out(message: Message) -> None:
            nonlocal started
            if large and not started:
                return  # whatever the routes made of the cut body, the answer is 413
            if message["type"] == "http.response.start":
                started = True
                message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
            await send(message)

        try:
            await self.app(scope, counted, out)
        except TooLarge:
            pass
        except Exception as error:
            LOG.error("%s", fault(error).what)
            if not started and not large:
                await _refuse(send, 500, "a fault of ours", "Please report it, with what was asked")
                return
        if large and not started:
            await _refuse(send, 413, "the body is too large", limit=f"{most} bytes")


def _host(value: bytes) -> str:
    """The name in a Host header, without its port."""
    text = value.decode("latin-1").casefold()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0]


async def _refuse(send: Send, status: int, what: str, remedy: str | None = None, limit: str | None = None) -> None:
    problem = {"what": what, "value": None, "limit": limit, "remedy": remedy, "where": None}
    body = json.dumps(problem).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
