"""Lines of JSON (NDJSON): a body of new documents, one on each line, and answers that are written line by line.

The lines of a body are stored in groups while they come, and the results are written as groups are done. So a
stream cannot be all or nothing: a line that is invalid or refused gets its own problem, and the others
are stored. A client has to read while it sends: what it does not read is not written, what is not
written stops the reading, and after `STALLED` seconds of that the connection is closed. With
`Prefer: return=minimal` only lines with a problem are answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from tornado.iostream import StreamClosedError
from tornado.web import RequestHandler

from ... import _json
from ...store import Pace
from ..action_table import ACTIONS, NDJSON
from ..body import Body
from ..http import DRAINED, BrokenStream, Line, LineReader, content_length, media_type, parse_json, too_large
from ..problems import Problem
from ..unread import cut_off, send_part
from .idempotency import refuse_key
from .results import Results

if TYPE_CHECKING:
    from .create import CreateMixin

__all__ = ["LineWriter", "Lines", "lines_of", "receive_body"]

_GROUP = 500  # documents that are stored with one request
_GROUP_BYTES = 1024 * 1024  # or fewer, so that long lines do not add up

_UNLIMITED = 2**63


class LineWriter:
    """Writes an answer line by line, no faster than the client takes it.

    Args:
        handler: the handler that answers.
        stalled: seconds that a client may leave the answer unread.
    """

    def __init__(self, handler: RequestHandler, stalled: float) -> None:
        self._handler = handler
        self._stalled = stalled

    async def write(self, values: Iterable[Any]) -> None:
        """Write values as lines, and wait until they have left; see `write_text`."""
        await self.write_text(await lines_of(values))

    async def write_text(self, text: bytes) -> None:
        """Write the text of lines, and wait until they have left.

        Raises:
            StreamClosedError: the client is gone, or takes nothing.
        """
        self._handler.set_header("Content-Type", NDJSON)
        self._handler.set_header("Cache-Control", "no-store")
        await send_part(self._handler, text, self._stalled)

    def cut_off(self) -> None:
        """Close the connection: the only sign that what was written is not the whole answer."""
        cut_off(self._handler)


async def lines_of(values: Iterable[Any]) -> bytes:
    """Return values as lines of JSON, which other requests need not wait for."""
    lines, pace = [], Pace()
    for value in values:
        lines.append(_json.dumps(value) + b"\n")
        await pace.breathe()
    return b"".join(lines)


class _Received(NamedTuple):
    """A line on its way: its number, and the model, or the exception in its place."""

    number: int
    result: Any


def receive_body(handler: CreateMixin) -> Body:
    """Return what receives the body of a POST to a collection."""
    if media_type(handler.request.headers) == NDJSON:
        return Lines(handler)
    return Body(handler, handler.resource.limits)


class Lines(Body):
    """Receives NDJSON: a new document on each line.

    The policy is asked before the body is read. `receive` does the work itself: the next chunk is
    not read from the connection before the lines of this one are dealt with, so that there is no queue
    to fill. Lines that wait for a whole group are stored when nothing follows them for `IDLE` seconds,
    for a client that sends no more before it has seen the result.

    Args:
        handler: the handler of the request.
    """

    answers = (NDJSON,)

    def __init__(self, handler: CreateMixin) -> None:
        super().__init__(handler, handler.resource.limits)
        self._handler = handler
        self._results = Results(handler)
        self._writer = LineWriter(handler, handler.STALLED)
        self._reader = LineReader(self._limits.size)
        self._group: list[_Received] = []
        self._group_bytes = 0
        self._dropped = 0
        self._last = 0  # the number of the latest line
        self._left = self._most = handler.resource.max_bulk  # lines before the next is one more request
        self._stopped = False
        self._pace = Pace()
        self._pausing = True  # and not yet storing
        self._pause: asyncio.Task[None] | None = None

    def raw(self) -> bytes:
        """Refuse to return what has been dealt with line by line, and was not kept.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError("the body is NDJSON, which CreateMixin takes line by line: there is no whole body to read")

    async def begin(self) -> None:
        """Let the request through, or refuse it, before the body comes.

        Raises:
            Problem: the request is refused, and cannot be answered later.
        """
        headers = self._request.headers
        self._request.connection.set_max_body_size(_UNLIMITED)  # type: ignore[union-attr]
        try:
            await self._handler.admit(ACTIONS["create"])
            refuse_key(headers)
            self._reader = LineReader(self._limits.size, gzip=self._is_gzip())
        except Exception as error:
            # Answering now closes the connection under a client that is sending: only where it waits
            # for our word, or has too much to be dropped.
            if "Expect" in headers or content_length(headers) > DRAINED:
                raise
            self.refusal = error

    def _is_gzip(self) -> bool:
        coding = self._request.headers.get("Content-Encoding", "identity").strip().lower()
        if coding not in ("", "identity", "gzip", "x-gzip"):
            detail = "The only supported content coding is gzip."
            raise Problem(415, detail=detail, headers={"Accept-Encoding": "gzip"})
        return coding in ("gzip", "x-gzip")

    async def receive(self, chunk: bytes) -> None:
        """Take a part of the body."""
        await self._resume()
        if self.refusal is None and not self._stopped:
            await self._deal_with(self._reader.feed(chunk))
            if self._group:
                self._pause = asyncio.create_task(self._store_unless_resumed())
            return
        self._dropped += len(chunk)
        if self._dropped > DRAINED:
            self._writer.cut_off()

    async def _store_unless_resumed(self) -> None:
        await asyncio.sleep(self._handler.IDLE)
        self._pausing = False
        await self._guarded(self._store())

    async def _resume(self) -> None:
        """End the pause; where its lines are being stored already, wait for that."""
        pause, self._pause = self._pause, None
        if pause is not None:
            if self._pausing:
                pause.cancel()
            await asyncio.wait([pause])
        self._pausing = True

    def end(self) -> None:
        """Wait for nothing more from a client that is gone."""
        self._stopped = True
        if self._pause is not None and self._pausing:
            self._pause.cancel()

    async def finish(self) -> None:
        """Deal with the last lines once the body is at its end, and finish the answer.

        Raises:
            Problem: 400, there was no line.
        """
        await self._resume()
        if not self._stopped:
            await self._deal_with(self._reader.end())
        if not self._stopped:
            await self._guarded(self._store())
        if self._last == 0 and not self._stopped:
            self._results.check_count(0)
        if not self._request.connection.stream.closed():  # type: ignore[union-attr]
            await self._writer.write([])
            self._handler.finish()

    async def _deal_with(self, lines: Iterator[Line]) -> None:
        try:
            for number, text in lines:
                self._last = number
                self._count_line()
                self._group.append(_Received(number, await self._model(text)))
                self._group_bytes += len(text or b"")
                await self._pace.breathe()
                if len(self._group) >= _GROUP or self._group_bytes >= _GROUP_BYTES:
                    await self._guarded(self._store())
                if self._stopped:
                    return
        except BrokenStream as broken:
            await self._guarded(self._store())
            await self._guarded(self._stop(Problem.of("malformed-body", str(broken))))
        except Problem as refusal:
            self._last -= 1
            await self._guarded(self._store())
            await self._guarded(self._stop(refusal))

    def _count_line(self) -> None:
        """Count as many lines as one array can have items as one more request.

        Raises:
            Problem: 429, the caller's limit is reached.
        """
        if self._left == 0:
            self._handler.admission.count_more()
            self._left = self._most
        self._left -= 1

    async def _guarded(self, work: Awaitable[None]) -> None:
        try:
            await work
        except StreamClosedError:
            self._stopped = True

    async def _model(self, text: bytes | None) -> Any:
        """Return the new model of a line, or the exception in its place."""
        try:
            if text is None:
                raise too_large(self._limits.size)
            body = await parse_json(text, self._limits)
            handler = self._handler
            return await handler.admitted(handler.new_model(await handler.valid("create", body)))
        except Exception as error:  # noqa: BLE001 - it is this line's outcome, whatever a hook raised
            return error

    async def _store(self) -> None:
        """Store the lines that have come together, and write their results."""
        group, self._group, self._group_bytes = self._group, [], 0
        outage: Exception | None = None
        checked = await self._handler.referring_many([each.result for each in group])
        group = [_Received(each.number, result) for each, result in zip(group, checked, strict=True)]
        models = [each.result for each in group if not isinstance(each.result, Exception)]
        try:
            stored = await self._handler.perform_create_many(models)
        except Exception as error:  # noqa: BLE001 - the answer has begun: only a line can tell
            outage = self._results.problem(error)
            stored = [outage] * len(models)
        left, results = iter(stored), []
        for each in group:
            result = each.result if isinstance(each.result, Exception) else next(left)
            found = await self._results.of("create", result, 201)
            if "problem" in found or self._handler.preferences().representation != "minimal":
                results.append({"line": each.number, **found})
            await self._pace.breathe()
        if results:
            await self._writer.write(results)
        if outage is not None:
            await self._stop(outage)

    async def _stop(self, error: Exception) -> None:
        """Say that nothing more will be stored."""
        self._stopped = True
        problem = self._results.problem(error)
        problem.detail = f"{problem.detail} This line and those after it were not stored.".strip()
        await self._writer.write([{"line": self._last + 1, **self._results.failure(problem)}])
