"""Servers that misbehave on purpose, on real sockets.

`FaultServer` stands in for CouchDB and answers as it is told. `FaultProxy` stands before a real CouchDB and
spoils single exchanges; what it is told to spoil is listed in its `faults`.

    async with FaultProxy(couch_url) as proxy:
        proxy.faults.append(Fault(lose_answer, method="PUT"))
        couch = Couch(proxy.url)
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import socket
import ssl
import struct
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from tornado_couch import Couch
from tornado_couch.couch import Reply, Request, Transport
from tornado_couch.couch.transport.base import Stream

__all__ = [
    "Behaviour",
    "Call",
    "Fault",
    "FaultProxy",
    "FaultServer",
    "Message",
    "answer",
    "answer_status",
    "delay",
    "deliver_late",
    "drip",
    "hang_up",
    "hurry_writes",
    "lose_answer",
    "lose_request",
    "never_answer",
    "raw",
    "refuse_with",
    "repeat_answer",
    "repeat_request",
    "reset",
    "stall",
    "stall_midway",
    "truncate_answer",
    "truncated",
    "until",
]


async def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Waits until a function, plain or async, gives something true, or fails."""
    end = time.monotonic() + seconds
    while True:
        outcome = condition()
        if await outcome if inspect.isawaitable(outcome) else outcome:
            return
        assert time.monotonic() < end, "it never came to be so"
        await asyncio.sleep(0.005)


@dataclass
class Message:
    """One HTTP message: its first line in three parts, header fields (lower case), content, and all of it raw."""

    line: tuple[str, str, str]
    headers: dict[str, str]
    body: bytes
    raw: bytes

    @property
    def method(self) -> str:
        """The method, if this is a request."""
        return self.line[0]

    @property
    def target(self) -> str:
        """Path and query exactly as they were sent, if this is a request."""
        return self.line[1]

    def json(self) -> Any:
        """The content as JSON."""
        return json.loads(self.body)


@dataclass
class Call:
    """A request that waits for its answer on a connection."""

    request: Message
    writer: asyncio.StreamWriter
    reader: asyncio.StreamReader

    async def send(self, data: bytes) -> None:
        """Sends some bytes."""
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """Ends the connection with RST, as a crashed host's successor does."""
        connection = self.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def until_closed(self) -> None:
        """Waits until the client hangs up."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65536):
                pass


Behaviour = Callable[[Call], Awaitable[None]]


def raw(data: bytes) -> Behaviour:
    """Sends these bytes, whatever they are."""

    async def behave(call: Call) -> None:
        await call.send(data)

    return behave


def answer(status: int, content: Any = None, **headers: str) -> Behaviour:
    """Answers with a status and content: bytes as they are, anything else as JSON."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    fields = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    fields.update({name.replace("_", "-"): value for name, value in headers.items()})
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())

    async def behave(call: Call) -> None:
        content = b"" if call.request.method == "HEAD" else body
        await call.send(f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + content)

    return behave


async def reset(call: Call) -> None:
    """Resets the connection instead of answering."""
    call.reset()


async def hang_up(call: Call) -> None:
    """Closes the connection in an orderly way instead of answering."""
    call.writer.close()


async def stall(call: Call) -> None:
    """Never answers."""
    await call.until_closed()


async def stall_midway(call: Call) -> None:
    """Answers half, and then nothing."""
    await call.send(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"half":')
    await call.until_closed()


async def truncated(call: Call) -> None:
    """Answers half, and then closes the connection."""
    await call.send(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"half":')
    call.writer.close()


def drip(interval: float) -> Behaviour:
    """Answers without end, a byte at a time, so that no read ever takes long."""

    async def behave(call: Call) -> None:
        await call.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n[")
        while not call.writer.is_closing():
            await call.send(b" ")
            await asyncio.sleep(interval)

    return behave


async def _read_message(reader: asyncio.StreamReader, *, to_head: bool = False) -> Message | None:
    """The next HTTP message of a connection; None at its end."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if to_head:
            body = content = b""
        elif "chunked" in headers.get("transfer-encoding", ""):
            body, content = await _read_chunks(reader)
        else:
            body = content = await reader.readexactly(int(headers.get("content-length", "0")))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    start, middle, end = (*first.split(" ", 2), "")[:3]
    return Message((start, middle, end), headers, content, head + body)


async def _read_chunks(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    body = content = b""
    while True:
        size = await reader.readuntil(b"\r\n")
        chunk = await reader.readexactly(int(size, 16) + 2)
        body += size + chunk
        content += chunk[:-2]
        if len(chunk) == 2:
            return body, content


class _Listener:
    """A server on a free port of 127.0.0.1, with a count of its connections."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.opened = 0
        self.requests: list[Message] = []
        self._tls = tls
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def open(self) -> int:
        """How many connections are open now."""
        return len(self._writers)

    @property
    def port(self) -> int:
        """The port."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        """The server's URL."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Any:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls, limit=2**24)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        self._writers.add(writer)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.CancelledError, ssl.SSLError):
            pass
        finally:
            writer.close()
            self._writers.discard(writer)
            self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise NotImplementedError


class FaultServer(_Listener):
    """Answers requests as it is told.

    Args:
        script: what to do with each request in turn; the last one is for all that follow.
        tls: serves TLS with this context.

    Attributes:
        requests: the requests that came.
        opened: how many connections there ever were.
    """

    def __init__(self, *script: Behaviour, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls)
        self.script = list(script)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (request := await _read_message(reader)) is not None:
            self.requests.append(request)
            behaviour = self.script.pop(0) if len(self.script) > 1 else self.script[0]
            await behaviour(Call(request, writer, reader))
            if writer.is_closing():
                return


Forward = Callable[..., Awaitable[bytes]]
"""Lets CouchDB carry out the request, or another `Message` in its place, and gives the answer."""

Effect = Callable[[Call, Forward], Awaitable[None]]


@dataclass
class Fault:
    """What the proxy spoils.

    Attributes:
        effect: what happens to the exchange.
        method: only requests of this method.
        path: only requests whose target contains this.
        body: only requests whose content contains this.
        times: how many of them; None is all.
        after: how many of them pass unharmed before.
    """

    effect: Effect
    method: str | None = None
    path: str = ""
    times: int | None = 1
    after: int = 0
    body: str = ""
    hits: int = field(default=0, init=False)

    def strikes(self, request: Message) -> bool:
        """Whether this request is spoilt; counts it."""
        if self.method not in (None, request.method) or self.path not in request.target:
            return False
        if self.body.encode() not in request.body:
            return False
        if self.after > 0:
            self.after -= 1
            return False
        if self.times is not None and self.hits >= self.times:
            return False
        self.hits += 1
        return True


async def lose_request(call: Call, forward: Forward) -> None:
    """Resets the connection; the request never reaches CouchDB."""
    call.reset()


async def lose_answer(call: Call, forward: Forward) -> None:
    """Lets CouchDB carry out the request, and resets the connection instead of answering."""
    await forward()
    call.reset()


async def never_answer(call: Call, forward: Forward) -> None:
    """Lets CouchDB carry out the request, and keeps its answer."""
    await forward()
    await call.until_closed()


async def truncate_answer(call: Call, forward: Forward) -> None:
    """Gives the client half of CouchDB's answer, and hangs up."""
    data = await forward()
    await call.send(data[: len(data) // 2])
    call.writer.close()


def delay(seconds: float) -> Effect:
    """Gives the client CouchDB's answer so much later."""

    async def effect(call: Call, forward: Forward) -> None:
        data = await forward()
        await asyncio.sleep(seconds)
        await call.send(data)

    return effect


def deliver_late(seconds: float) -> Effect:
    """Holds the request back for longer than the client waits; then CouchDB gets it all the same."""

    async def effect(call: Call, forward: Forward) -> None:
        call.reset()
        await asyncio.sleep(seconds)
        await forward()

    return effect


async def repeat_request(call: Call, forward: Forward) -> None:
    """Sends the request to CouchDB twice, and gives the client the second answer."""
    await forward()
    await call.send(await forward())


def repeat_answer(seconds: float = 0) -> Effect:
    """Gives the client CouchDB's answer twice: the second time so much later, or at once."""

    async def effect(call: Call, forward: Forward) -> None:
        data = await forward()
        await call.send(data if seconds else data + data)
        if seconds:
            await asyncio.sleep(seconds)
            await call.send(data)

    return effect


def answer_status(status: int, error: str = "fault", reason: str = "injected") -> Effect:
    """Answers with a status by itself; the request never reaches CouchDB."""

    async def effect(call: Call, forward: Forward) -> None:
        await answer(status, {"error": error, "reason": reason})(call)

    return effect


def refuse_with(member: str, status: int, content: Any = None) -> Effect:
    """Refuses what holds a member, as CouchDB does whose shards do not wait for each other.

    Every other document of a `_bulk_docs` is stored before the whole request is refused; a write of that member alone
    is refused as well. All else passes.

    Args:
        member: a text that only this member's document contains.
        status: of the refusal.
        content: of the answer: bytes as they are, anything else as JSON.
    """
    said = {"error": "fault", "reason": "injected"} if content is None else content

    async def effect(call: Call, forward: Forward) -> None:
        if member.encode() not in call.request.body:
            await call.send(await forward())
            return
        if call.request.target.partition("?")[0].endswith("/_bulk_docs"):
            others = [each for each in call.request.json()["docs"] if member not in json.dumps(each)]
            await forward(_with_body(call.request, {"docs": others[::2]}))
        await answer(status, said)(call)

    return effect


def _with_body(request: Message, value: Any) -> Message:
    """A request like another, with other content."""
    body = json.dumps(value).encode()
    headers = {**request.headers, "content-length": str(len(body))}
    headers.pop("transfer-encoding", None)
    head = " ".join(request.line) + "\r\n" + "".join(f"{name}: {text}\r\n" for name, text in headers.items())
    return Message(request.line, headers, body, head.encode("latin-1") + b"\r\n" + body)


class FaultProxy(_Listener):
    """Passes requests on to a CouchDB, and spoils some.

    Args:
        target: the CouchDB's URL; its credentials are kept in `url`.

    Attributes:
        faults: what to spoil; a request suffers the first one that strikes it.
        requests: the requests that came.
        busy: how many exchanges are under way, those included that the client has given up.
    """

    def __init__(self, target: str) -> None:
        super().__init__()
        self.faults: list[Fault] = []
        self.busy = 0
        self._target = urlsplit(target)

    @property
    def url(self) -> str:
        """The proxy's URL, with the credentials of the target's."""
        credentials, at, _ = self._target.netloc.rpartition("@")
        return f"http://{credentials}{at}127.0.0.1:{self.port}{self._target.path}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        couch_reader, couch_writer = await asyncio.open_connection(
            self._target.hostname, self._target.port or 80, limit=2**24
        )
        try:
            while (request := await _read_message(reader)) is not None:
                self.requests.append(request)

                async def forward(request: Message = request) -> bytes:
                    couch_writer.write(request.raw)
                    reply = await _read_message(couch_reader, to_head=request.method == "HEAD")
                    if reply is None:
                        raise ConnectionResetError("CouchDB hung up")
                    return reply.raw

                call = Call(request, writer, reader)
                fault = next((each for each in self.faults if each.strikes(request)), None)
                self.busy += 1
                try:
                    await (fault.effect(call, forward) if fault else call.send(await forward()))
                finally:
                    self.busy -= 1
                if writer.is_closing():
                    return
        finally:
            couch_writer.close()


class _HurriedWrites:
    def __init__(self, inner: Transport, seconds: float) -> None:
        self._inner = inner
        self._seconds = seconds

    async def send(self, request: Request) -> Reply:
        if not request.safe:
            request = replace(request, timeout=replace(request.timeout, read=self._seconds))
        return await self._inner.send(request)

    def stream(self, request: Request) -> AbstractAsyncContextManager[Stream]:
        return self._inner.stream(request)

    async def close(self) -> None:
        await self._inner.close()


def hurry_writes(couch: Couch, seconds: float) -> None:
    """Has a client wait so long, no longer, for the answers to writes alone.

    What loses writes' answers for good is a matter of time limits. Were they for reads as well, a busy machine would
    pass them, too, where nothing is lost.
    """
    couch._exchange.transport = _HurriedWrites(couch._exchange.transport, seconds)
