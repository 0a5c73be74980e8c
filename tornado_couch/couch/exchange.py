"""Sends one request to CouchDB, stage by stage: it is limited in time, authenticated, sent, judged and decoded.

A status is judged like this:

- 200, 201 and 202 are success; `Answer.accepted` tells 202 from the others: fewer copies than the write
  quorum are stored, and CouchDB goes on storing them.
- 4xx is a refusal. One without CouchDB's JSON is believed from a proxy as well, except where it would say
  something about a document or database (404, 409, 412): that is nonsense unless CouchDB itself says it.
- 5xx is an outage. CouchDB also answers 500 for a few requests that are wrong themselves, such as a view
  whose reduce function fails; its reason is in the message. That a `validate_doc_update` function failed is
  told from an outage by its words (`is_exception`).
- Anything else, redirects included, is nonsense.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, TypeVar

from .. import _json, errors
from . import names
from .auth import Auth, as_anonymous, completed, is_anonymous, refused_part
from .observer import Observers
from .transport.base import Reply, Request, Stream, Timeout, Transport
from .transport.bodies import Related

__all__ = ["SUCCESS", "Answer", "Exchange", "expect", "is_exception"]

logger = logging.getLogger("tornado_couch.couch")

T = TypeVar("T")

SUCCESS = frozenset({200, 201, 202})
"""The statuses with which CouchDB reports success."""

# Longer JSON is decoded in a thread: this much takes 2 to 3 ms, for which blocking the event loop is acceptable.
_LONG_BYTES = 1024 * 1024
_NEEDS_COUCHDB = frozenset({404, 409, 412})


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer.

    Attributes:
        status: 200, 201 or 202.
        value: the decoded JSON; None for HEAD.
        headers: the header fields; case is ignored.
        request: the method and path template of the request, for messages.
        size: the size of the content in bytes.
    """

    status: int
    value: Any
    headers: Mapping[str, str]
    request: str
    size: int = 0

    @property
    def accepted(self) -> bool:
        """Whether CouchDB has stored fewer copies than its write quorum so far (202)."""
        return self.status == HTTPStatus.ACCEPTED

    def member(self, name: str, kind: type[T]) -> T:
        """A member of the JSON object in the answer.

        Raises:
            InvalidReply: the answer is not an object, or the member is missing or has another type.
        """
        return expect(expect(self.value, dict, self.request).get(name), kind, f"{self.request}: {name!r}")


def expect(value: object, kind: type[T], where: str) -> T:
    """Return a value if it has the type that CouchDB documents.

    Raises:
        InvalidReply: the value has another type.
    """
    # In Python bool is a subclass of int; in JSON it is another type.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise errors.InvalidReply(f"{where} should be {kind.__name__} but is {type(value).__name__}")
    return value


class Exchange:
    """Calls one CouchDB server.

    Args:
        transport: carries the requests.
        auth: authenticates them.
        timeout: the time limits, unless a call has its own.
        clock: a monotonic clock in seconds, for the log and the observers.
        observers: learn of each exchange.
        checked: what is known of the way to the server; shared by those that go the same way.
    """

    def __init__(
        self,
        transport: Transport,
        auth: Auth,
        timeout: Timeout,
        clock: Callable[[], float] = time.monotonic,
        observers: Observers | None = None,
        checked: set[str] | None = None,
    ) -> None:
        self._checked: set[str] = set() if checked is None else checked
        self.transport = transport
        self.observers = Observers() if observers is None else observers
        self._auth = auth
        self.timeout = timeout
        self._clock = clock

    def within(self, timeout: Timeout) -> Exchange:
        """The same connections and session, with other time limits."""
        return Exchange(self.transport, self._auth, timeout, self._clock, self.observers, self._checked)

    async def call(
        self,
        method: str,
        address: names.Address,
        query: Mapping[str, str] | None = None,
        body: object = None,
        *,
        safe: bool = False,
        success: frozenset[int] = SUCCESS,
        most: int | None = None,
        near: str | None = None,
    ) -> Answer:
        """Send one request and return CouchDB's answer.

        Args:
            method: the HTTP method.
            address: the path.
            query: the query parameters, as texts.
            body: JSON as bytes, or a value to encode; None for no content; or a `Body`, which may take longer.
            safe: whether the request changes nothing, whatever its method; GET and HEAD never do.
            success: the statuses that count as success.
            most: the largest number of bytes that the answer may have; None for any number.
            near: the id of the document that the request writes, whose node it prefers; see `Request.near`.

        Raises:
            LongReply: the answer has more bytes.
            Unavailable: an outage; its subclasses stand for time limits.
            InvalidReply: the answer makes no sense.
            Refused: CouchDB refused the request; see the subclasses.
            ValueError: the body cannot be encoded as JSON.
        """
        request = self._request(method, address, query, body, safe, most, near)
        if "%" in address.path and _FRAGILE.search(address.path):
            await self.check_paths()
        reply = await self._bounded(request)
        return await _judged(request, reply, success)

    @contextlib.asynccontextmanager
    async def stream(
        self, address: names.Address, query: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[Stream]:
        """Read what is there as it arrives; no time limit holds for the whole of it.

        Args:
            address: the path.
            query: the query parameters, as texts.
            headers: further header fields of the request.

        Raises:
            Unavailable, InvalidReply, Refused: as `call` does; also while it arrives.
        """
        request = self._request("GET", address, query, None, safe=True).with_headers(headers or {})
        if "%" in address.path and _FRAGILE.search(address.path):
            await self.check_paths()
        async with contextlib.AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(self.timeout.total):
                    opened = await self._opened(request, stack)
            except TimeoutError:
                raise errors.TotalTimeout(f"{_named(request)}: the answer took too long to begin") from None
            yield opened

    async def _opened(self, request: Request, stack: contextlib.AsyncExitStack) -> Stream:
        """The beginning of an answer; after another log-in, if that is needed."""
        for again in (False, True):
            proof = await self._auth.headers(self._log_in)
            opened = await stack.enter_async_context(self.transport.stream(request.with_headers(proof)))
            if opened.status in _CONTENTS:
                return opened
            refused = Reply(opened.status, opened.headers, await _whole(opened))
            await stack.aclose()
            doubtful = refused.status == HTTPStatus.UNAUTHORIZED or "Cookie" in proof
            if again or not doubtful or not await self._is_forgotten(request, refused, proof):
                break
            if not self._auth.renewable(proof):
                break
        raise _failure(request, refused)

    @property
    def recognized(self) -> bool:
        """Whether an answer has shown that the server is CouchDB."""
        return _COUCHDB in self._checked

    async def recognize(self) -> None:
        """Find out whether the server is CouchDB.

        Raises:
            InvalidReply: it is another one.
        """
        with contextlib.suppress(errors.Unavailable):
            # An outage is for the write itself to meet.
            reply = await self._bounded(self._request("GET", names.server("/"), None, None, safe=True))
            if reply.status in SUCCESS and b'"couchdb"' not in reply.body:
                raise errors.InvalidReply("what answers there is not CouchDB; nothing was written to it")
            if reply.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                self._checked.add(_COUCHDB)

    async def check_paths(self) -> None:
        """Find out, once, whether paths come to CouchDB as they are sent; before the first that would suffer.

        A proxy that decodes them makes `a%2Fb` an attachment `b` of a document `a`: reads miss documents, and writes
        leave documents that nobody meant.

        Raises:
            InvalidReply: they do not.
        """
        if _PATHS in self._checked:
            return
        # CouchDB takes this for a database that cannot be there; decoded, it is `/_up`.
        reply = await self._bounded(self._request("GET", names.server("/_up%2F"), None, None, safe=True))
        if reply.status in SUCCESS:
            raise errors.InvalidReply(
                "a proxy between this client and CouchDB decodes the paths of requests (`%2F` came as `/`), so that"
                " ids lead elsewhere; configure it to pass paths on unchanged"
            )
        if reply.status < HTTPStatus.INTERNAL_SERVER_ERROR:
            self._checked.add(_PATHS)

    def _request(
        self,
        method: str,
        address: names.Address,
        query: Mapping[str, str] | None,
        body: object,
        safe: bool,
        most: int | None = None,
        near: str | None = None,
    ) -> Request:
        if isinstance(body, Related):
            kind = {"Accept": "application/json", "Content-Type": body.content_type}
            total = self.timeout.total
            timeout = replace(self.timeout, total=total and total + body.length / _SLOWEST)
            return Request(
                method, _target(address, query), address.template, kind, body, timeout, safe, most, near
            )
        content = body if body is None or isinstance(body, bytes) else _json.dumps(body)
        return Request(
            method,
            _target(address, query),
            address.template,
            _JSON_ACCEPTED if content is None else _JSON_BOTH_WAYS,
            content,
            self.timeout,
            safe or method in ("GET", "HEAD"),
            most,
            near,
        )

    async def _bounded(self, request: Request) -> Reply:
        try:
            async with asyncio.timeout(request.timeout.total):
                return await self._authenticated(request)
        except TimeoutError:
            raise errors.TotalTimeout(f"{_named(request)}: the whole call took too long") from None

    async def _authenticated(self, request: Request) -> Reply:
        proof = await self._auth.headers(self._log_in)
        reply = await self._sent(request.with_headers(proof))
        doubtful = reply.status == HTTPStatus.UNAUTHORIZED or "Cookie" in proof
        if doubtful and await self._is_forgotten(request, reply, proof) and self._auth.renewable(proof):
            # What was refused was not done, so it can be sent again.
            proof = await self._auth.headers(self._log_in)
            part = refused_part(request, reply)
            reply = completed(reply, part, await self._sent(part.with_headers(proof)))
        if not self.recognized and reply.headers.get("Server", "").startswith("CouchDB"):
            self._checked.add(_COUCHDB)
        # CouchDB sends a fresh cookie with any answer once a session is a tenth of its time old.
        self._auth.learn(reply)
        return reply

    async def _is_forgotten(self, request: Request, reply: Reply, proof: Mapping[str, str]) -> bool:
        """Whether an answer shows that CouchDB does not know a session any more."""
        if reply.status == HTTPStatus.UNAUTHORIZED:
            return True
        if not as_anonymous(request, reply):
            return False
        if (reply.status == HTTPStatus.BAD_REQUEST and reply.body) or request.template == "/_session":
            return True
        # A user who is known may be refused as well, and need not log in for that.
        question = self._request("GET", names.server("/_session"), None, None, safe=True)
        return is_anonymous(await self._sent(question.with_headers(proof)))

    async def _log_in(self, user: str, password: str) -> Reply:
        body = {"name": user, "password": password}
        request = self._request("POST", names.server("/_session"), None, body, safe=True)
        reply = await self._sent(request)
        await _judged(request, reply, SUCCESS)
        return reply

    async def _sent(self, request: Request) -> Reply:
        """Send the request with the transport; nothing is measured unless there is an observer or a log."""
        if self.observers or logger.isEnabledFor(logging.DEBUG):
            return await self._measured(request)
        return await self.transport.send(request)

    async def _measured(self, request: Request) -> Reply:
        method, template = request.method, request.template
        began = self._clock()
        outcome = "cancelled"
        self.observers.exchange_began(method, template)
        try:
            reply = await self.transport.send(request)
            outcome = str(reply.status)
        except errors.CouchError as error:
            outcome = type(error).__name__
            raise
        finally:
            seconds = self._clock() - began
            self.observers.exchange_ended(method, template, outcome, seconds)
            logger.debug("%s %s %s %.1f ms", method, template, outcome, seconds * 1000)
        return reply


_SLOWEST = 500_000  # bytes a second at which files are sent, on top of the limit for a whole call
_CONTENTS = frozenset({HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT})
_LONGEST_REFUSAL = 64 * 1024  # bytes
_PATHS = "paths"
_COUCHDB = "couchdb"
# Characters that mean something else in a path once they are decoded: slash, question mark, hash and percent sign.
_FRAGILE = re.compile("%2[F35]|%3F")

# Without Accept, CouchDB's content type for JSON is text/plain in old versions, and HEAD has nothing else to show.
_JSON_ACCEPTED = {"Accept": "application/json"}
_JSON_BOTH_WAYS = {"Accept": "application/json", "Content-Type": "application/json"}


def _target(address: names.Address, query: Mapping[str, str] | None) -> str:
    return address.path + names.query(query) if query else address.path


async def _whole(stream: Stream) -> bytes:
    """The content of an answer that says why there is none."""
    found = b""
    async for part in stream.chunks:
        found += part
        if len(found) > _LONGEST_REFUSAL:
            break
    return found


async def _judged(request: Request, reply: Reply, success: frozenset[int]) -> Answer:
    if reply.status not in success:
        raise _failure(request, reply)
    value = None
    if request.method != "HEAD":
        value = await _decoded(request, reply)
    elif not _is_json(reply):
        raise errors.InvalidReply(f"{_named(request)}: the answer does not come from CouchDB")
    return Answer(reply.status, value, reply.headers, _named(request), len(reply.body))


async def _decoded(request: Request, reply: Reply) -> Any:
    try:
        if len(reply.body) > _LONG_BYTES:
            return await asyncio.to_thread(_json.loads, reply.body, pausing=True)
        return _json.loads(reply.body)
    except ValueError:
        # It is neither chained nor quoted: the text may be a document.
        kind = reply.headers.get("Content-Type", "no content type")
        message = f"{_named(request)}: {reply.status} with {len(reply.body)} bytes of {kind} that are not JSON"
        raise errors.InvalidReply(message) from None


def _failure(request: Request, reply: Reply) -> errors.CouchError:
    error, reason, is_couchdb = _explanation(request, reply)
    if is_couchdb and _is_failed_check(request, reply, error, reason):
        return errors.refusal(reply.status, error, reason)
    if reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        message = f"{_named(request)}: CouchDB answered {reply.status} {error}: {reason}"
        return errors.Unavailable(message, status=reply.status)
    refused = reply.status >= HTTPStatus.BAD_REQUEST
    if refused and (is_couchdb or reply.status not in _NEEDS_COUCHDB):
        return errors.refusal(reply.status, error, reason)
    return errors.InvalidReply(f"{_named(request)}: {reply.status} is not an answer of CouchDB")


# Erlang's words for a value that no code is made for, such as `throw({})`: it would be the same the next time.
_SENSELESS = ("function_clause", "badarg")


def _is_failed_check(request: Request, reply: Reply, error: str, reason: Any) -> bool:
    """Whether CouchDB says that a `validate_doc_update` function failed at a document."""
    if reply.status != HTTPStatus.INTERNAL_SERVER_ERROR or request.template != "/{db}/{id}" or request.safe:
        return False
    # What breaks in CouchDB itself has a reference to its log; but so has what it cannot make anything of.
    return is_exception(error) and (reason in _SENSELESS or b'"ref"' not in reply.body)


def is_exception(error: str) -> bool:
    """Whether CouchDB's word for an error says that a JavaScript function failed.

    Exceptions are named as in JavaScript, such as "TypeError"; what is thrown without a name is "unknown_error". A
    function that CouchDB stopped, since it took too long or too much memory, is "os_process_error".
    """
    return error[:1].isupper() or error in ("unknown_error", "os_process_error")


def _explanation(request: Request, reply: Reply) -> tuple[str, Any, bool]:
    """CouchDB's error and reason, and whether it was CouchDB that answered."""
    phrase = _PHRASES.get(reply.status, "unknown_status")
    if request.method == "HEAD":
        return phrase, "an answer to HEAD gives no reason", _is_json(reply)
    try:
        value = _json.loads(reply.body)
    except ValueError:
        value = None
    if not isinstance(value, dict) or "error" not in value:
        return phrase, "no reason given", False
    return str(value["error"]), value.get("reason"), True


_PHRASES = {status.value: status.phrase.lower().replace(" ", "_") for status in HTTPStatus}


def _is_json(reply: Reply) -> bool:
    return reply.headers.get("Content-Type", "").startswith("application/json")


def _named(request: Request) -> str:
    return f"{request.method} {request.template}"
