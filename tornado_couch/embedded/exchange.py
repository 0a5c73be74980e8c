"""HTTP: reads requests from Tornado's connections, limits their bodies, and sends the replies.

This takes the place of Tornado's `Application` and `RequestHandler`: a body is judged while it arrives, and a reply
costs little more than its bytes.
"""

from __future__ import annotations

import asyncio
import inspect
import ipaddress
import logging
import re
import time
import uuid
import zlib
from collections.abc import Awaitable, Callable, Collection
from email.utils import formatdate
from http import HTTPStatus
from urllib.parse import urlsplit

from tornado import httputil
from tornado.iostream import StreamClosedError

from tornado_couch.embedded.jsontext import dumps
from tornado_couch.embedded.messages import Reply, Request
from tornado_couch.embedded.problems import Problem, bad_content_type, bad_request, too_large
from tornado_couch.embedded.spool import Spool

__all__ = ["MAX_ATTACHMENT", "MAX_BODY", "Front"]

logger = logging.getLogger("tornado_couch.embedded")

MAX_BODY = 64 * 1024 * 1024
"""The largest JSON body in bytes, which is held in memory; a larger one is read, dropped and refused."""

MAX_ATTACHMENT = 1024 * 1024 * 1024
"""The largest attachment in bytes; it goes through a temporary file."""

_DRAIN = 512 * 1024 * 1024
SERVER = "CouchDB/3.5.0 (tornado_couch embedded)"

_REASONS = {status.value: status.phrase for status in HTTPStatus}

_HOST = re.compile(r"[\w.-]+(:\d*)?|\[[0-9A-Fa-f:.]+\](:\d*)?", re.ASCII)

Handle = Callable[[Request], "Reply | Awaitable[Reply]"]


class Front(httputil.HTTPServerConnectionDelegate):
    """Accepts the requests of all connections.

    Args:
        handle: answers one request.
        hosts: the names, besides localhost, by which clients may call the server.
        anywhere: whether they may call it by any address in numbers, as when it listens to other machines.
    """

    def __init__(self, handle: Handle, hosts: Collection[str] = (), *, anywhere: bool = False) -> None:
        self.handle = handle
        self._hosts = {"localhost", *(each.lower().rstrip(".") for each in hosts)}
        self._anywhere = anywhere
        self.statuses: dict[int, int] = {}
        """The number of replies by status."""
        self.tasks: set[asyncio.Task[None]] = set()
        self._date = ""
        self._date_of = 0

    def start_request(self, server_conn: object, request_conn: httputil.HTTPConnection) -> httputil.HTTPMessageDelegate:
        """Start an exchange; Tornado calls this for each request."""
        del server_conn
        if request_conn.stream.closed():  # type: ignore[attr-defined]
            return httputil.HTTPMessageDelegate()  # RFC 9112 §9.6: nothing that follows the last request is done
        return _Exchange(self, request_conn)

    def knows(self, field: str | None) -> bool:
        """Whether the field `Host` names this server.

        The page of an attacker can give its own name the address 127.0.0.1 (DNS rebinding); its scripts then may read
        whatever the server answers, but the browser still sends that name. Requests without the field are not a
        browser's.
        """
        if field is None:
            return True
        host = urlsplit(f"//{field}").hostname or "" if _HOST.fullmatch(field) else ""
        if host.rstrip(".") in self._hosts:
            return True
        try:
            return ipaddress.ip_address(host).is_loopback or self._anywhere
        except ValueError:
            return False

    def date(self) -> str:
        """The current time, for the header `Date`."""
        now = int(time.time())
        if now != self._date_of:
            self._date, self._date_of = formatdate(now, usegmt=True), now
        return self._date

    async def close(self) -> None:
        """Stop the exchanges that are still running."""
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


class _Exchange(httputil.HTTPMessageDelegate):
    """One request and its reply."""

    def __init__(self, front: Front, connection: httputil.HTTPConnection) -> None:
        self.front = front
        self.connection = connection
        self.request: Request | None = None
        self.problem: Problem | None = None
        self.body = bytearray()
        self.file: Spool | None = None
        self.size = 0
        self.limit = MAX_BODY
        self.started = False
        self.head_only = False

    # ------------------------------------------------------------ the request

    def headers_received(self, start_line: httputil.RequestStartLine | httputil.ResponseStartLine,
                         headers: httputil.HTTPHeaders) -> None:  # fmt: skip
        """Judge the request by its headers."""
        assert isinstance(start_line, httputil.RequestStartLine)
        self.head_only = start_line.method == "HEAD"
        if start_line.version == "HTTP/1.0" and "Transfer-Encoding" in headers:
            # RFC 9112 §6.1: the framing is faulty. CouchDB decodes the body and closes the connection after its answer.
            # Here the connection is closed because the answer comes before the body.
            self._send(problem_reply(bad_request("HTTP/1.0 has no Transfer-Encoding")))
            return
        try:
            if not self.front.knows(headers.get("Host")):
                raise Problem(421, "misdirected_request", "This server does not have the name that `Host` says.")
            method = start_line.method.upper()
            self.request = Request(method, start_line.path, headers)
            if method == "PUT" and _is_attachment(self.request.segments):
                self.limit = MAX_ATTACHMENT
                self.file = Spool()
            length = headers.get("Content-Length", "")
            # Tornado refuses what is not a number, once it comes to the body.
            if length.isdecimal() and int(length[:20]) > self.limit:
                self._refuse_size()
        except Problem as problem:
            self.problem = problem

    def _refuse_size(self) -> None:
        segments = self.request.segments if self.request else []
        if self.file is not None:
            self.problem = too_large("attachment_too_large", segments[-1])
        elif len(segments) > 1 and self.request and self.request.method == "PUT":
            self.problem = too_large("document_too_large", "/".join(segments[1:]))
        else:
            self.problem = too_large("too_large", "the request entity is too large")
        self.body, self.file = bytearray(), None

    def data_received(self, chunk: bytes) -> None:
        """Keep a piece of the body; a body that is refused is still read to its end, so that the answer arrives."""
        self.size += len(chunk)
        if self.size > self.limit and self.problem is None:
            self._refuse_size()
        if self.problem is not None:
            if self.size > _DRAIN:
                raise httputil.HTTPInputError("the body is too large")
        elif self.file is not None:
            self.file.write(chunk)
        else:
            self.body += chunk

    def finish(self) -> None:
        """Answer the request, which is complete."""
        request = self.request
        if self.problem is not None or request is None:
            self._send(problem_reply(self.problem or bad_request("bad request")))
            return
        try:
            self._attach_body(request)
            found = self.front.handle(request)
        except Exception as error:  # noqa: BLE001  every error becomes an answer
            self._send(problem_reply(error))
            return
        if isinstance(found, Reply) and found.stream is None:
            self._send(found)
            return
        task = asyncio.get_running_loop().create_task(self._finish_later(found))
        self.front.tasks.add(task)
        task.add_done_callback(self.front.tasks.discard)
        if inspect.iscoroutine(found):
            # A task that is cancelled before its first step, because the server ends, never closes it.
            task.add_done_callback(lambda _: found.close())

    def _attach_body(self, request: Request) -> None:
        if self.file is not None:
            self.file.rewind()
            request.file = self.file
            return
        request.body = self.body
        coding = request.headers.get("Content-Encoding", "identity").strip().lower()
        if coding == "gzip":
            request.body = _unzipped(self.body)
        elif coding != "identity":
            raise bad_content_type(f"{coding} is not a supported content encoding.")

    # ------------------------------------------------------------ the reply

    async def _finish_later(self, found: Reply | Awaitable[Reply]) -> None:
        """Send a reply that must be waited for, or that is produced while it is sent."""
        try:
            reply = await found if inspect.isawaitable(found) else found
            assert isinstance(reply, Reply)
            if reply.stream is None:
                self._send(reply)
            else:
                await self._send_stream(reply)
        except (StreamClosedError, asyncio.CancelledError):
            self._drop()
        except Exception as error:  # noqa: BLE001  every error becomes an answer
            if self.started:
                logger.warning("an answer was cut off by an error: %r", error)
                self._drop()
            else:
                self._send(problem_reply(error))

    def _headers(self, reply: Reply) -> httputil.HTTPHeaders:
        self.front.statuses[reply.status] = self.front.statuses.get(reply.status, 0) + 1
        headers = httputil.HTTPHeaders()
        headers["Server"] = SERVER
        headers["Date"] = self.front.date()
        headers["Cache-Control"] = "must-revalidate"
        headers["X-Couch-Request-ID"] = uuid.uuid4().hex[:10]
        if reply.status != 304:
            headers["Content-Type"] = "application/json"
        for name, value in reply.headers.items():
            headers[name] = value
        return headers

    def _send(self, reply: Reply) -> None:
        headers = self._headers(reply)
        if "Content-Length" not in headers:
            headers["Content-Length"] = str(len(reply.body))
        start = httputil.ResponseStartLine("HTTP/1.1", reply.status, _REASONS.get(reply.status, "Unknown"))
        body = None if self.head_only or reply.status == 304 else reply.body
        self.started = True
        try:
            self.connection.write_headers(start, headers, body).add_done_callback(_forget)
            self.connection.finish()
        except (StreamClosedError, httputil.HTTPOutputError):
            self._drop()

    async def _send_stream(self, reply: Reply) -> None:
        """Send the pieces as they come, and stop the work if the client goes away."""
        stream = reply.stream
        assert stream is not None
        task = asyncio.current_task()
        self.connection.set_close_callback(lambda: task.cancel() if task else None)  # type: ignore[attr-defined]
        try:
            await self._write_pieces(reply, stream)
        finally:
            close = getattr(stream, "aclose", None)
            if close is not None:
                await close()

    async def _write_pieces(self, reply: Reply, stream: object) -> None:
        # The first piece comes before the header: an early error still gets its own status.
        iterator = stream.__aiter__()  # type: ignore[attr-defined]
        first = await anext(iterator, b"")
        start = httputil.ResponseStartLine("HTTP/1.1", reply.status, _REASONS.get(reply.status, "Unknown"))
        self.started = True
        await self.connection.write_headers(start, self._headers(reply), None if self.head_only else first or None)
        if not self.head_only:
            async for piece in iterator:
                if piece:
                    await self.connection.write(piece)
        self.connection.finish()

    def _drop(self) -> None:
        """Close the connection, since the promised answer cannot be sent."""
        stream = getattr(self.connection, "stream", None)
        if stream is not None:
            stream.close()
        finish = getattr(self.connection, "_finish_future", None)
        if finish is not None and not finish.done():
            finish.set_result(None)

    def on_connection_close(self) -> None:
        """Do nothing: the client went away before its request was complete."""


def _forget(future: asyncio.Future[None]) -> None:
    """Retrieve the exception of a failed write: the client is gone, so nobody needs it."""
    if not future.cancelled():
        future.exception()


def _is_attachment(segments: list[str]) -> bool:
    """Whether a PUT to this path writes an attachment."""
    if len(segments) < 3 or segments[1] == "_local" or segments[1].startswith("_partition"):
        return False
    if segments[1] == "_design":
        return len(segments) > 3 and not segments[3].startswith("_")
    return segments[0] in ("_users", "_replicator") or not (segments[0][:1] == "_" or segments[1][:1] == "_")


def _unzipped(body: bytearray) -> bytes:
    """Decompress a gzip body, up to the size that a body may have."""
    unpacker = zlib.decompressobj(31)
    try:
        plain = unpacker.decompress(body, MAX_BODY)
    except zlib.error:
        raise bad_request("The body is not in the gzip coding that Content-Encoding says") from None
    if unpacker.unconsumed_tail:
        raise too_large("too_large", "the request entity is too large")
    if not unpacker.eof:
        raise bad_request("The gzip coding of the body is cut off")
    return plain


def problem_reply(error: Exception) -> Reply:
    """The answer to an exception; an unexpected one gets 500."""
    if not isinstance(error, Problem):
        logger.error("a request failed", exc_info=error)
        error = Problem(500, "internal_server_error", "The server met an error that it did not expect.")
    text = dumps({"error": error.error, "reason": error.reason})
    return Reply(error.status, text.encode("utf-8", "replace") + b"\n", dict(error.headers))
