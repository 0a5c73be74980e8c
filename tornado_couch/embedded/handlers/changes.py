"""`_changes`: reports changes of a database, once or for as long as the client listens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

from tornado_couch.embedded.couch import Couch
from tornado_couch.embedded.handlers import change_filters
from tornado_couch.embedded.handlers.change_filters import Filter
from tornado_couch.embedded.handlers.documents.documents import asked
from tornado_couch.embedded.jsontext import dumps
from tornado_couch.embedded.messages import Reply, Request
from tornado_couch.embedded.problems import bad_request
from tornado_couch.embedded.storage.database import Database, ReadOptions, Stored
from tornado_couch.embedded.storage.databases import OpenDatabase
from tornado_couch.embedded.storage.info import format_seq, parse_since
from tornado_couch.embedded.storage.revisions import leaves

__all__ = ["changes"]

_FEEDS = ("normal", "longpoll", "continuous", "eventsource")
_BATCH = 200
_DEFAULT_MS = 60_000
# CouchDB's own default limit; `seq_interval` counts down from it.
_FOREVER = 10**15
_LAST = 1 << 62


class Feed(NamedTuple):
    """The parameters of a changes feed."""

    kind: str
    since: int
    limit: int
    descending: bool
    all_leaves: bool
    include_docs: bool
    options: ReadOptions
    seq_interval: int
    heartbeat: float | None
    timeout: float
    wanted: Filter | None
    run: Callable[..., Awaitable[Any]]
    fields: Callable[[str], str] | None


class Line(NamedTuple):
    """One line of the feed."""

    seq: int
    text: str
    body: str


async def changes(couch: Couch, request: Request, opened: OpenDatabase) -> Reply:
    """Answer `/{db}/_changes`."""
    request.allow("GET", "POST", "HEAD")
    body: dict[str, Any] = {}
    if request.method == "POST":
        request.need_json_type()
        body = request.json_object() if request.body else {}
    feed = await _feed(couch, request, opened, body)
    headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache"} if feed.kind == "eventsource" else {}
    return Reply(200, headers=headers, stream=_stream(opened, feed))


async def _feed(couch: Couch, request: Request, opened: OpenDatabase, body: dict[str, Any]) -> Feed:
    """Read the parameters of a feed from a request.

    Raises:
        Problem: 400, the request makes no sense.
    """
    kind = request.parameters.get("feed", "normal")
    kind = "continuous" if kind == "live" else kind
    if kind not in _FEEDS:
        raise bad_request("Supported `feed` types: normal, continuous, live, longpoll, eventsource")
    # An EventSource names the last event that it received in a header; a script that replaces one, in the query.
    last = request.headers.get("Last-Event-ID") or request.parameters.get("last-event-id")
    since = last or request.parameters.get("since", "0")
    style = request.parameters.get("style", "main_only")
    if style not in ("main_only", "all_docs"):
        raise bad_request("`style` is main_only or all_docs")
    options = ReadOptions(
        conflicts=asked(request, "conflicts"),
        attachments=asked(request, "attachments"),
        att_encoding_info=asked(request, "att_encoding_info"),
    )
    return Feed(
        kind, parse_since(opened.database, since), _limit(request), asked(request, "descending"),
        style == "all_docs", asked(request, "include_docs"), options, _seq_interval(request),
        _heartbeat(request), _milliseconds(request, "timeout"),
        await change_filters.filter_of(couch, request, opened, body), change_filters.runner_of(couch, request, opened),
        change_filters.fields_of(request, body),
    )  # fmt: skip


def _limit(request: Request) -> int:
    """The highest number of changes; a negative number means no limit."""
    text = request.parameters.get("limit", "")
    return _FOREVER if text[:1] == "-" and text[1:].isdigit() else request.number("limit", _FOREVER)


def _milliseconds(request: Request, name: str) -> float:
    text = request.parameters.get(name)
    if text in (None, "true", "infinity"):
        return _DEFAULT_MS / 1000
    return request.number(name, _DEFAULT_MS) / 1000


def _seq_interval(request: Request) -> int:
    text = request.parameters.get("seq_interval", "1")
    if not text.isascii() or not text.isdigit() or int(text[:18]) < 1:
        raise bad_request("invalid_seq_interval")
    return int(text[:18])


def _heartbeat(request: Request) -> float | None:
    """Seconds between heartbeats; None if the client wants none."""
    text = request.parameters.get("heartbeat")
    if text is None or text == "false":
        return None
    if text != "true" and not text.removeprefix("-").isdigit():
        raise bad_request("Invalid heartbeat value. Expecting a positive integer value (in milliseconds).")
    seconds = 0 if text[0] == "-" else _milliseconds(request, "heartbeat")
    if seconds <= 0:
        raise bad_request("The heartbeat value should be a positive integer (in milliseconds).")
    return seconds


# ---------------------------------------------------------------- the lines of the feed


def _line(database: Database, feed: Feed, stored: Stored) -> Line:
    """One change as text, without its sequence number."""
    revs = leaves(stored.tree) if feed.all_leaves else [stored.rev]
    told = ",".join(f'{{"rev":{dumps(rev)}}}' for rev in revs)
    body = f'"id":{dumps(stored.id)},"changes":[{told}]'
    if stored.state:
        body += ',"deleted":true'
    if feed.include_docs:
        with database.connections.read() as connection:
            document = database.text(stored, stored.rev, feed.options, connection)
        if document is not None and feed.fields is not None:
            document = feed.fields(document)
        body += f',"doc":{document or "null"}'
    seq = dumps(format_seq(database, stored.seq))
    return Line(stored.seq, f'{{"seq":{seq},{body}}}', body)


def _batch(database: Database, feed: Feed, after: int, room: int) -> tuple[list[Line], int, bool]:
    """The next lines, the sequence number up to which changes were read, and whether there may be more."""
    top = database.seq  # read first: everything up to it is visible by now
    found = database.feed(after, _BATCH, before=after if feed.descending else None)
    passed = feed.wanted(found) if feed.wanted is not None else found
    lines = [_line(database, feed, stored) for stored in passed[:room]]
    if len(passed) > room:
        return lines, lines[-1].seq if lines else after, False
    if len(found) >= _BATCH:
        return lines, found[-1].seq, True
    return lines, after if feed.descending else max(after, top), False


class _State:
    """How far a feed has got."""

    def __init__(self, feed: Feed) -> None:
        self.after = _LAST if feed.descending else feed.since
        self.last = 0 if feed.descending else feed.since
        self.left = feed.limit
        self.count = 0


async def _told(opened: OpenDatabase, feed: Feed, state: _State) -> AsyncIterator[list[Line]]:
    """The lines that exist now, in batches."""
    more = True
    while more and state.left > 0:
        lines, state.after, more = await _next(opened.database, feed, state)
        if lines:
            state.left -= len(lines)
            state.last = lines[-1].seq
            state.count += len(lines)
            yield lines
    if not feed.descending and state.left > 0:
        state.last = max(state.after, state.last)


async def _next(database: Database, feed: Feed, state: _State) -> tuple[list[Line], int, bool]:
    found: tuple[list[Line], int, bool] = await feed.run(_batch, database, feed, state.after, state.left)
    return found


async def _stream(opened: OpenDatabase, feed: Feed) -> AsyncIterator[bytes]:
    state = _State(feed)
    if feed.kind in ("normal", "longpoll"):
        async for piece in _list_form(opened, feed, state):
            yield piece
    else:
        async for piece in _line_form(opened, feed, state):
            yield piece


async def _list_form(opened: OpenDatabase, feed: Feed, state: _State) -> AsyncIterator[bytes]:
    """Send a normal or longpoll feed: one JSON object; longpoll waits while it would be empty.

    The header is sent with the first lines, so a filter that fails at once still answers with its own status.
    """
    database = opened.database
    head = b'{"results":[\n'
    while True:
        async for lines in _told(opened, feed, state):
            yield head + _joined(feed, state, lines)
            head = b""
        # A longpoll ends when it has found something, or at once with a limit of 0.
        if feed.kind == "normal" or state.count or feed.limit == 0:
            break
        yield head
        head = b""
        async for beat in _quiet(opened, feed, state):
            yield beat
        if database.seq <= state.after or opened.deleted:
            break
    pending = 0 if opened.deleted else database.pending(state.last, descending=feed.descending)
    tail = f'\n],\n"last_seq":{dumps(format_seq(database, state.last))},"pending":{pending}}}\n'
    yield head + tail.encode()


def _joined(feed: Feed, state: _State, lines: list[Line]) -> bytes:
    """Join lines of the list form; with `seq_interval` some of them have no sequence number."""
    first = state.count - len(lines)
    texts = [
        # CouchDB counts by the rest of the limit, so that the last line that it allows has its number.
        line.text if (feed.limit - first - place) % feed.seq_interval == 0 else f'{{"seq":null,{line.body}}}'
        for place, line in enumerate(lines)
    ]
    return ((",\n" if first else "") + ",\n".join(texts)).encode()


async def _line_form(opened: OpenDatabase, feed: Feed, state: _State) -> AsyncIterator[bytes]:
    """Send a continuous or eventsource feed: a line for each change, as they come."""
    database = opened.database
    yield b""
    while True:
        async for lines in _told(opened, feed, state):
            yield b"".join(_event(database, feed, line) for line in lines)
        if state.left <= 0:
            break
        async for beat in _quiet(opened, feed, state):
            yield beat
        if database.seq <= state.after or opened.deleted:
            break
    if feed.kind == "continuous":
        pending = 0 if opened.deleted else database.pending(state.last)
        yield f'{{"last_seq":{dumps(format_seq(database, state.last))},"pending":{pending}}}\n'.encode()
    yield b"\n"


def _event(database: Database, feed: Feed, line: Line) -> bytes:
    if feed.kind == "continuous":
        return line.text.encode() + b"\n"
    # The id is what an EventSource sends back in Last-Event-ID (HTML, "Server-sent events").
    return f"data: {line.text}\nid: {dumps(format_seq(database, line.seq))}\n\n".encode()


async def _quiet(opened: OpenDatabase, feed: Feed, state: _State) -> AsyncIterator[bytes]:
    """Wait for a write, and send heartbeats if the client wants them; without heartbeats, only until the timeout."""
    loop = asyncio.get_running_loop()
    over = loop.time() + feed.timeout
    beat = b"event: heartbeat\ndata: \n\n" if feed.kind == "eventsource" else b"\n"
    # With a heartbeat a feed has no timeout: it ends when its client does (CouchDB API, "/db/_changes").
    while opened.database.seq <= state.after and not opened.deleted:
        if feed.heartbeat is not None:
            if not await opened.changed(feed.heartbeat):
                yield beat
        elif loop.time() >= over or not await opened.changed(over - loop.time()):
            return
