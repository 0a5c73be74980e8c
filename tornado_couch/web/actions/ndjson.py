"""NDJSON in (`POST {path}`): a new document for each line, however many, in bounded memory.

What comes in is stored in groups while it comes, and the results are written as groups are done. So a
stream cannot be all or nothing: a line that is invalid or refused gets its own problem, and the others
are stored. A client has to read while it sends: what it does not read is not written, what is not
written stops the reading, and after `STALLED` seconds of that the connection is closed. With
`Prefer: return=minimal` only lines with a problem are answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from typing import Any, ClassVar, NamedTuple

from tornado.iostream import StreamClosedError

from ..handler import DRAINED
from ..http import NDJSON, BrokenStream, Line, LineReader, media_type, parse_json, too_large
from ..problems import Problem
from .create import Creator
from .idempotency import refuse_key
from .list import LineWriter
from .results import OutcomeMixin, breathe

__all__ = ["LinesMixin"]

_GROUP = 500  # documents that are stored with one request
_GROUP_BYTES = 1024 * 1024  # or fewer, so that long lines do not add up

_UNLIMITED = 2**63


class _Received(NamedTuple):
    """A line on its way: its number, and the model or why there is none."""

    number: int
    result: Any


class LinesMixin(LineWriter, OutcomeMixin, Creator):
    """POST of NDJSON to a collection: a new document for each line.

    The policy is asked before the body is read. `data_received` does the work itself: the next chunk is
    not read from the connection before the lines of this one are dealt with, so that there is no queue
    to fill. Lines that wait for a whole group are stored when nothing follows them for `IDLE` seconds,
    for a client that sends no more before it has seen the result.
    """

    IDLE: ClassVar[float] = 0.05

    _reader: LineReader | None = None
    _refusal: Exception | None = None
    _group: list[_Received]
    _group_bytes = 0
    _dropped = 0
    _let_in = False
    _last = 0  # the number of the latest line
    _stopped = False
    _pausing = True  # and not yet storing
    _pause: asyncio.Task[None] | None = None

    def prepare(self) -> Awaitable[None] | None:
        """Begin to receive lines, where the body is NDJSON."""
        if self.request.method != "POST" or media_type(self.request.headers) != NDJSON:
            return super().prepare()
        return self._begin()

    async def _begin(self) -> None:
        self._group = []
        self._reader = LineReader(self.resource.limits.size)
        self.request.connection.set_max_body_size(_UNLIMITED)  # type: ignore[union-attr]
        try:
            await self.admit("create")
            refuse_key(self.request.headers)
            self._reader = LineReader(self.resource.limits.size, gzip=self._is_gzip())
        except Exception as error:
            # Answering now closes the connection under a client that is sending: only where it waits
            # for our word, or has too much to be dropped.
            length = self.request.headers.get("Content-Length", "0")
            if "Expect" in self.request.headers or (length.isdecimal() and int(length) > DRAINED):
                raise
            self._refusal = error

    def _is_gzip(self) -> bool:
        coding = self.request.headers.get("Content-Encoding", "identity").strip().lower()
        if coding not in ("", "identity", "gzip", "x-gzip"):
            raise Problem(415, detail="The content coding must be gzip or none.", headers={"Accept-Encoding": "gzip"})
        return coding in ("gzip", "x-gzip")

    async def admit(self, action: str) -> None:
        """Let the request through, or raise: once, though it is asked again when the body has come."""
        if self._refusal is not None:
            raise self._refusal
        if not self._let_in:
            await super().admit(action)
        self._let_in = True

    def answer_types(self) -> tuple[str, ...]:
        """Lines are answered with lines."""
        return super().answer_types() if self._reader is None else (NDJSON,)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """Take a part of the body."""
        return super().data_received(chunk) if self._reader is None else self._take(chunk)

    async def _take(self, chunk: bytes) -> None:
        await self._resume()
        if self._refusal is None and not self._stopped:
            await self._deal_with(self._reader.feed(chunk))  # type: ignore[union-attr]
            if self._group:
                self._pause = asyncio.create_task(self._store_unless_resumed())
            return
        self._dropped += len(chunk)
        if self._dropped > DRAINED:
            self.cut_off()

    async def _store_unless_resumed(self) -> None:
        await asyncio.sleep(self.IDLE)
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

    def on_connection_close(self) -> None:
        """Wait for nothing more from a client that is gone."""
        super().on_connection_close()
        self._stopped = True
        if self._pause is not None and self._pausing:
            self._pause.cancel()

    @property
    def receives_lines(self) -> bool:
        """Whether the body is NDJSON."""
        return self._reader is not None

    async def create_last_lines(self) -> None:
        """Deal with what is left once the body is at its end, and finish the answer."""
        await self._resume()
        if not self._stopped:
            await self._deal_with(self._reader.end())  # type: ignore[union-attr]
        if not self._stopped:
            await self._guarded(self._store())
        if self._last == 0 and not self._stopped:
            self.check_count(0)
        if not self.request.connection.stream.closed():  # type: ignore[union-attr]
            await self.write_lines([])
            self.finish()

    async def _deal_with(self, lines: Iterator[Line]) -> None:
        try:
            for number, text in lines:
                self._last = number
                self._group.append(_Received(number, await self._model(text)))
                self._group_bytes += len(text or b"")
                await breathe(number)
                if len(self._group) >= _GROUP or self._group_bytes >= _GROUP_BYTES:
                    await self._guarded(self._store())
                if self._stopped:
                    return
        except BrokenStream as broken:
            await self._guarded(self._store())
            await self._guarded(self._stop(Problem.of("malformed-body", str(broken))))

    async def _guarded(self, work: Awaitable[None]) -> None:
        try:
            await work
        except StreamClosedError:
            self._stopped = True

    async def _model(self, text: bytes | None) -> Any:
        """The new model of a line, or why there is none."""
        try:
            if text is None:
                raise too_large(self.resource.limits.size)
            body = await parse_json(text, self.resource.limits)
            return await self.admitted(self.new_model(self.validated("create", body)))
        except Exception as error:  # noqa: BLE001 - it is this line's outcome, whatever a hook raised
            return error

    async def _store(self) -> None:
        """Store the lines that have come together, and write their results."""
        group, self._group, self._group_bytes = self._group, [], 0
        models = [each.result for each in group if not isinstance(each.result, Exception)]
        outage: Exception | None = None
        try:
            stored = await self.perform_create_many(models)
        except Exception as error:  # noqa: BLE001 - the answer has begun: only a line can tell
            outage = self.told(error)
            stored = [outage] * len(models)
        left, results = iter(stored), []
        for each in group:
            result = each.result if isinstance(each.result, Exception) else next(left)
            found = await self.outcome("create", result, 201)
            if "problem" in found or self.preferences().representation != "minimal":
                results.append({"line": each.number, **found})
        if results:
            await self.write_lines(results)
        if outage is not None:
            await self._stop(outage)

    async def _stop(self, error: Exception) -> None:
        """Say that nothing more will be stored."""
        self._stopped = True
        problem = self.told(error)
        problem.detail = f"{problem.detail} This line and those after it were not stored.".strip()
        await self.write_lines([{"line": self._last + 1, **self.failure(problem)}])
