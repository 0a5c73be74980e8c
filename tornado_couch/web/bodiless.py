"""Handlers that take no body, and what `Application` puts in the place of a handler that must not get one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, RequestStartLine, ResponseStartLine
from tornado.web import stream_request_body

from .http import DRAINED, Cors, refuse_endless
from .problems import Problem, ProblemHandler

__all__ = ["AtOnce", "BodilessHandler", "Ignored", "LimitedBody", "NotFoundHandler", "RefusingHandler"]


@stream_request_body
class BodilessHandler(ProblemHandler):
    """The base of handlers that take no body: it is dropped as it comes, whatever its length.

    Attributes:
        limit: the bytes that the answer to a body without end names.
    """

    limit = 0
    _dropped = 0

    def set_default_headers(self) -> None:
        """Let scripts of the origins that the setting `cors` lists read the answer, errors included."""
        cors: Cors | None = self.settings.get("cors")
        if cors is not None:
            for name, value in cors.answer_headers(self.request.headers.get("Origin")).items():
                self.set_header(name, value)

    def options(self, *_: str) -> None:
        """Answer with the methods that are allowed here; for a browser, whether a script may use them."""
        allowed = self.allowed_methods()
        self.set_status(204)
        self.set_header("Allow", ", ".join(allowed))
        self._permit(allowed)
        self.finish()

    def _permit(self, methods: Iterable[str]) -> None:
        """Set the fields that permit scripts of other origins these methods."""
        cors: Cors | None = self.settings.get("cors")
        if cors is not None:
            for name, value in cors.preflight_headers(self.request.headers, methods).items():
                self.set_header(name, value)

    def prepare(self) -> None:
        """Refuse a body that is too long to be dropped.

        Raises:
            Problem: 413.
        """
        refuse_endless(self.request, self.limit)

    def data_received(self, chunk: bytes) -> None:
        """Drop a part of the body, up to the length that a client may send in vain."""
        self._dropped += len(chunk)
        if self._dropped > DRAINED:
            self.request.connection.stream.close()  # type: ignore[union-attr]


class NotFoundHandler(BodilessHandler):
    """Answers 404 to every request: what no route matches."""

    def get(self) -> None:
        """Answer 404, once the body has been dropped: earlier, the client might not get to read the answer."""
        raise Problem(404, detail="There is nothing at this address.")

    head = post = put = patch = delete = get

    def options(self, *_: str) -> None:
        """Answer a preflight, so that a script is allowed to send the request and to read its 404; others are 404."""
        cors: Cors | None = self.settings.get("cors")
        if cors is None or not cors.is_preflight(self.request.method, self.request.headers):
            self.get()
            return
        self.set_status(204)
        self._permit(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
        self.finish()


class RefusingHandler(BodilessHandler):
    """Answers every request with one problem."""

    def initialize(self, problem: Problem, limit: int = 0, at_once: bool = False) -> None:
        """Store what to answer, and whether to answer without waiting for the end of the body."""
        self._problem = problem
        self._at_once = at_once
        self.limit = limit

    def prepare(self) -> None:
        """Answer at once where the body cannot be read."""
        super().prepare()
        if self._at_once:
            raise self._problem

    def get(self) -> None:
        """Answer."""
        raise self._problem

    head = post = put = patch = delete = get

    def options(self, *_: str) -> None:
        """Answer."""
        self.get()


class Ignored(HTTPMessageDelegate):
    """Receives a request that follows the last one of its connection, and does nothing.

    RFC 9112 §9.6: what comes after an answer that closes the connection must not be processed. Tornado still has it in
    its buffer, and would carry it out although nobody gets the answer.
    """


class AtOnce(HTTPMessageDelegate):
    """Receives a request without a body for a handler that takes its body part by part.

    Tornado would start the handler with the header, and then let the connection wait until it is ready for the body.
    Here the handler starts when the whole request is there, which saves the waiting in between.

    Args:
        inner: receives the request.
    """

    def __init__(self, inner: HTTPMessageDelegate) -> None:
        self._inner = inner

    def headers_received(self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders) -> None:
        """Keep the header until the request is complete."""
        self._head = start_line, headers

    def finish(self) -> None:
        """Let the request be answered."""
        self._inner.headers_received(*self._head)
        self._inner.finish()


class LimitedBody(HTTPMessageDelegate):
    """Receives a request whose length is not known before its end, for a handler that takes its body whole.

    Args:
        inner: receives the request, as long as its body is within the limit.
        limit: the largest number of bytes.
        refuse: makes what receives the request, and the rest of its body, once there are more.
    """

    def __init__(self, inner: HTTPMessageDelegate, limit: int, refuse: Callable[[], HTTPMessageDelegate]) -> None:
        self._inner = inner
        self._left = limit
        self._refuse = refuse

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        """Pass the header on."""
        self._head = start_line, headers
        return self._inner.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """Pass a part of the body on; the first that exceeds the limit ends that, and is dropped."""
        within, self._left = self._left >= 0, self._left - len(chunk)
        if within and self._left < 0:
            self._inner.on_connection_close()  # which frees what has been kept
            self._inner = self._refuse()
            return self._inner.headers_received(*self._head)
        return self._inner.data_received(chunk)

    def finish(self) -> None:
        """Let the request be answered."""
        self._inner.finish()

    def on_connection_close(self) -> None:
        """Pass on that the client is gone."""
        self._inner.on_connection_close()
