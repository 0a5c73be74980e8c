"""`GET {path}/_changes`: what changed in a collection since a token, page by page or as server-sent events.

    GET /v1.0/fruits/_changes                       {"items": [], "next": "TOKEN", "more": false}
    GET /v1.0/fruits/_changes?since=TOKEN           {"items": [{"_href": …, "_etag": …, …}], "next": …}
    GET /v1.0/fruits/_changes?since=beginning       the same, of everything that is there
    GET … with Accept: text/event-stream            the same, as it happens

Each document comes once, as it is now: after its latest change. A client that has applied all pages has what a list
of everything would show it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from typing import Any
from urllib.parse import unquote_plus

from tornado.iostream import StreamClosedError
from tornado.web import Finish

from ... import _json
from ...errors import ChangesLost
from ...models import Model, utc_now
from ...store import ChangePage, Place, is_scope, share_of_request
from ..access import caller_identity
from ..action_table import EVENTS, JSON, Action
from ..answers import serialised
from ..handler import ResourceHandler
from ..http import accepts, weights
from ..openapi.components import Schema
from ..openapi.operation import ApiOperation
from ..openapi.parameters import describe_fields, describe_filters
from ..problems import Problem
from ..query import CursorCodec, decode_names, filterable, parse_limit, parse_list_query
from ..query.decoding import decode_parameter
from ..resources import M
from .follower import Follower
from .hub import present
from .hubs import Hubs
from .stream import Stream
from .tickets import Ticket, Tickets
from .tokens import ChangeToken, TokenCodec, UnusableToken, earlier
from .view import Known, Limit, TooManyScopes, View

__all__ = ["ChangesHandler", "TicketHandler"]

_OWN = ("since", "limit", "ticket")
_OF_LISTS = ("sort", "nulls", "count", "cursor", "include", "deleted", "limit")
_LIMIT = 100  # changes of a page, by default
_LOOKED_AT = 2000  # changes that are looked at for a page, if the caller sees few of them
_FULL = 1024 * 1024  # bytes of documents after which a page is not filled up
_RETRY = 2000  # milliseconds after which a browser connects again


class _Viewing(ResourceHandler[M]):
    """What following and tickets have in common: both are for those who may list the collection."""

    _ticket: Ticket | None = None
    _secrets: CursorCodec = None  # type: ignore[assignment]  # only until `prepare`

    def prepare(self) -> Awaitable[None] | None:
        """Note what encrypts tokens and tickets: they are read before it is known which tenant's they are."""
        begun = super().prepare()
        self._secrets = self.cursors()
        return begun

    async def authorize(self, action: str, document: Model | None = None) -> None:
        """Ask the policy what a list asks it."""
        await super().authorize("list" if action in ("changes", "ticket") else action, document)

    def allowed_methods(self) -> list[str]:
        """Return the methods, if the policy lets anybody list the collection."""
        methods = [name for name in ("GET", "HEAD", "POST") if name in self._actions]
        policy = self.admission.option("policy")
        return [*methods, "OPTIONS"] if policy is None or policy.offers("list") else ["OPTIONS"]

    def view(self) -> View:
        """Return what the caller sees of the changes.

        Raises:
            Problem: 400, a filter is not valid; 403, the policy does not tell which documents somebody sees.
        """
        resource, limit = self.resource, self.limit()
        if self.policy.judges or not resource.under.keys() <= resource.info.scopes:
            raise _unclear()
        query = parse_list_query(resource, self._filters(), self.cursors(), self.restriction())
        self.projection = query.projection
        names = decode_names(self.request.query_arguments).keys() - {*_OWN, "fields"}
        return View(resource.store, query.query if names else None, resource.under, limit)

    def limit(self) -> Limit | None:
        """Return what the policy limits the caller to; None if it does not.

        Raises:
            Problem: 401 or 403, the caller may see nothing, or nobody can say what they see.
        """
        restriction, info = self.restriction(), self.resource.info
        if restriction is None:
            return None
        name, value = restriction
        given = value if isinstance(value, set | frozenset) else [value]
        values = frozenset(info.stored_value(name, each) for each in given)
        if name not in info.scopes or not all(map(is_scope, values)):
            raise _unclear()
        return Limit(name, values)

    def _filters(self) -> Mapping[str, list[bytes]]:
        given = dict(self.request.query_arguments)
        for name in _OWN:
            given.pop(name, None)
        for name in decode_names(given):
            if name in _OF_LISTS:
                raise Problem.of("bad-parameter", f"Changes take no `{name}`.", parameter=name)
        return given

    def codec(self, view: View) -> TokenCodec:
        """Return the codec of the tokens for a view."""
        names = "" if self.projection is None else self.projection.variant
        filters = repr(sorted((name, values) for name, values in self._filters().items() if name != "fields"))
        caller = f"{self.principal.tenant}:{self.principal.name}" if view.limit and self.principal else ""
        described = f"{self.resource.tenant} {view.kind} {filters} {names}"
        bearer = self._ticket.bearer if self._ticket else ""
        return TokenCodec(self._secrets, self.resource.path, described, caller, bearer)


def _unclear() -> Problem:
    return Problem(403, detail="Changes are told only where the policy says which documents a caller sees.")


class ChangesHandler(_Viewing[M]):
    """GET of the changes of a collection."""

    def prepare(self) -> Awaitable[None] | None:
        """Take the credentials out of a ticket, and the ticket out of everything that is logged."""
        request = self.request
        texts = request.query_arguments.pop("ticket", None)
        if texts:
            others = [each for each in request.query.split("&") if unquote_plus(each.partition("=")[0]) != "ticket"]
            request.query = "&".join(others)
            request.uri = request.path + (f"?{request.query}" if request.query else "")
        begun = super().prepare()
        if texts:
            self._ticket = Tickets(self._secrets, self.resource.path).open(texts, request.query_arguments)
            self._fields = None
            for name, value in self._ticket.fields.items():
                request.headers[name] = value
        return begun

    async def admit(self, action: Action | str) -> None:
        """Let the request through; tell a browser whose account has ended not to come back."""
        try:
            if self._ticket is not None:
                self._ticket.check(self._last_event())
            await super().admit(action)
        except Problem as problem:
            if problem.status_code in (401, 403) and self._wants_events() and self._last_event() is not None:
                # https://html.spec.whatwg.org/multipage/server-sent-events.html: only 204 ends it without an error.
                self.set_status(204)
                self.clear_header("Content-Type")
                raise Finish from None
            raise

    async def changes(self) -> None:
        """Answer with a page, or with events."""
        view = self.view()
        codec = self.codec(view)
        if self._wants_events():
            await self._stream(view, codec)
        else:
            await self._page(view, codec)

    def _wants_events(self) -> bool:
        field = self.fields.get("Accept", "")
        if not accepts(field, JSON):
            return True
        given = weights(field)
        return given.get(EVENTS, 0.0) > 0 and given[EVENTS] >= given.get(JSON, 0.0)

    def _last_event(self) -> ChangeToken | None:
        """Return the token of the last event that a browser has had, if it has any that was made here."""
        text = self.fields.get("Last-Event-Id", "")
        try:
            return TokenCodec.peek(self._secrets, self.resource.path, text) if text else None
        except UnusableToken:
            return None

    # ------------------------------------------------------------ pages

    async def _page(self, view: View, codec: TokenCodec) -> None:
        given = decode_names(self.request.query_arguments)
        limit = parse_limit(
            decode_parameter("limit", given["limit"]) if "limit" in given else None, _LIMIT, self.resource.max_page_size
        )
        try:
            token = await self._since(codec, view)
            if token is None:
                await self._answer([], codec.encode(await self.store.live.now(), view.settled), more=False)
                return
            await self.store.live.check(token.place)
            if token.known.is_changing:
                moved, known = await self._moved(view, token.known, limit)
                following = codec.encode(token.place, known, since=token.since, initial=token.initial)
                await self._answer([item for _, item in moved], following, more=True)
                return
            items, place, more = await self._found(replace(view, lost=token.known.lost), token, limit)
        except (ChangesLost, UnusableToken) as error:
            raise self._begin_again(error) from None
        if more:  # until the last page the token says what the client knew before the first
            following = codec.encode(place, token.known, since=token.since, initial=token.initial)
        else:
            following = codec.encode(place, view.settled)
        await self._answer(list(items.values()), following, more=more)

    async def _found(self, view: View, token: ChangeToken, limit: int) -> tuple[dict[str, dict[str, Any]], Place, bool]:
        """Look for changes until a page is full.

        How many pages there are must not tell anybody how many documents change that they do not see.
        """
        items: dict[str, dict[str, Any]] = {}
        place, rows, looked_at = token.place, limit, 0
        while True:
            page = await self.store.live.page(self.model, place, limit=rows)
            reached = await self._add(items, view, token, page, limit)
            if reached is not None:
                return items, reached, True
            place, looked_at = page.next, looked_at + rows
            share = share_of_request()
            if not page.more or looked_at >= _LOOKED_AT or (items and share and share.used >= _FULL):
                return items, place, page.more
            if share and not items:
                share.release()  # nobody gets what was read
            rows = min(2 * rows, _LIMIT)

    async def _add(
        self, items: dict[str, dict[str, Any]], view: View, token: ChangeToken, page: ChangePage[M], limit: int
    ) -> Place | None:
        """Add what the caller sees of a page; return the place after the last item once there are enough of them."""
        for change in page.changes:
            shown = await present(self.store, self.model, change)
            kind = view.seen(shown, token.since)
            if kind == "reset" and not token.initial:
                raise self._begin_again(ChangesLost("another program deleted a document, and nobody knows which one"))
            if kind in (None, "reset"):
                continue
            href = self.href(change.key)
            items.pop(href, None)  # a version that came before
            if kind == "change" and shown.model is not None:
                items[href] = await self.shown(shown.model)
            else:
                items[href] = {"_href": href, "_deleted" if kind == "delete" else "_gone": True}
            if len(items) >= limit:
                return Place.parse(change.place)
        return None

    async def _moved(self, view: View, known: Known, limit: int) -> tuple[list[tuple[str, dict[str, Any]]], Known]:
        """Read a page of the documents that the caller has come to see, or does not see any more.

        Returns:
            For each, the type of its event and its item; and what the client knows with them.
        """
        assert view.limit is not None
        limited = (view.limit.name, known.gained | known.lost)
        query = parse_list_query(self.resource, self._filters(), self.cursors(), limited)
        page = await self.store.find(self.model, query.query, limit=limit, start=known.after)
        found: list[tuple[str, dict[str, Any]]] = []
        for model in page.items:
            if model._stored.get(view.limit.name) in known.gained:
                found.append(("change", await self.shown(model)))
            else:
                found.append(("gone", {"_href": self.href(model._key), "_gone": True}))
        return found, known.told(page.next)

    async def _answer(self, items: list[dict[str, Any]], following: str, *, more: bool) -> None:
        self.set_header("Cache-Control", "no-store")
        await self.answers.json(200, await serialised({"items": items, "next": following, "more": more}), None)

    async def _since(self, codec: TokenCodec, view: View) -> ChangeToken | None:
        given = decode_names(self.request.query_arguments)
        if "since" not in given:
            return None
        text = decode_parameter("since", given["since"])
        if text == "now":
            return None
        if text in ("beginning", "0"):
            now = earlier(utc_now())
            return ChangeToken(await self.store.live.beginning(), now, now, initial=True, known=view.settled)
        return self._decoded(codec, view, text)

    def _decoded(self, codec: TokenCodec, view: View, text: str) -> ChangeToken:
        """Return the token that a text stands for, with what the client has to be told of its scopes now."""
        token = codec.decode(text)
        try:
            return token._replace(known=token.known.towards(view.limit.values if view.limit else frozenset()))
        except TooManyScopes:
            raise UnusableToken(forged=False) from None

    def _begin_again(self, error: Exception) -> Problem:
        """Return the problem of a token that is of no use any more, which says how to begin again."""
        if isinstance(error, UnusableToken) and error.forged:
            detail = "This `since` is not from this collection. Begin with `since=beginning`, or without it."
            return Problem.of("bad-parameter", detail, parameter="since")
        again = f"{self.prefix}{self.resource.path}/_changes?since=beginning"
        reason = "you see other documents now" if isinstance(error, UnusableToken) else str(error).partition(";")[0]
        detail = f"The changes since then cannot be told: {reason}. Begin again with `since=beginning`."
        return Problem(410, detail=detail, headers={"Link": f'<{again}>; rel="start"'})

    # ------------------------------------------------------------ events

    async def _stream(self, view: View, codec: TokenCodec) -> None:
        self.set_header("Content-Type", EVENTS)
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Accel-Buffering", "no")  # nginx would keep events until it has enough of them
        if self.request.method == "HEAD":
            self.finish()
            return
        token, lost = await self._place(codec, view)
        if share := share_of_request():
            share.release()  # a stream holds no documents while it waits
        self._transforms = []  # a content coding would hold events back
        shape = object() if self.shows_more else (self.prefix, self.resource.path, codec.shape)
        self._count()
        self._stream_open = stream = Stream(self, self._ended)
        since, known = (token.since, token.known) if token else (earlier(utc_now()), view.settled)
        seen = replace(view, lost=known.lost)
        self._follower = follower = Follower(stream, seen, codec, self, known=known, since=since, shape=shape)
        self._auto_finish = False  # what runs now need not wait: the stream calls `_ended`
        opened, self._opened = self._opened, None
        self._kept_open = opened
        stream.send(b"retry: %d\n\n" % _RETRY)
        try:
            place = token and token.place
            if lost:
                place = await self.store.live.now()
                follower.lose(place)
            while token and known.is_changing and stream.is_open:
                moved, known = await self._moved(view, known, _LIMIT)
                await follower.move(moved, known, token.place)
            await Hubs.of(self.application).follow(self.store, self.model, follower, place)
        except ChangesLost:
            follower.reset(await self.store.live.now())
        except BaseException:
            stream.close()
            raise

    def _count(self) -> None:
        """Count the stream until it ends.

        Raises:
            Problem: 429, the caller has too many.
        """
        self._caller = caller_identity(self.principal, self.request.remote_ip)
        Hubs.of(self.application).count(self._caller, self.settings.get("max_streams"))
        self.store.database.server.observer.stream_began(self.resource.info.type.name)

    def _ended(self) -> None:
        """Finish the answer, and forget the client."""
        Hubs.of(self.application).uncount(self._caller)
        self.store.database.server.observer.stream_ended(self.resource.info.type.name)
        if self._follower is not None:
            Hubs.of(self.application).leave(self.store, self.model, self._follower)
        self._follower = None
        if self._kept_open is not None:
            self._closing = asyncio.ensure_future(self._kept_open.aclose())
        if not self._finished:
            with suppress(StreamClosedError, RuntimeError):
                self.finish()

    async def _place(self, codec: TokenCodec, view: View) -> tuple[ChangeToken | None, bool]:
        """Return where the stream begins; and whether the client has to read the collection anew."""
        last = self.fields.get("Last-Event-Id", "")
        try:
            if last:
                token: ChangeToken | None = self._decoded(codec, view, last)
            else:
                token = await self._since(codec, view)
            if token is not None:
                await self.store.live.check(token.place)
        except (UnusableToken, ChangesLost):
            return None, True
        return token, False

    @property
    def collection(self) -> str:
        """The address of the collection."""
        return self.prefix + self.resource.path

    async def shown(self, model: M) -> dict[str, Any]:
        """Return the item that stands for a model."""
        item = await self.item(model)
        return self.projection.apply_to_item(item) if self.projection else item

    async def identify(self) -> None:
        """Find out again who the client is."""
        self.principal = await self.admission.identified()

    def on_connection_close(self) -> None:
        """Forget a client that is gone."""
        super().on_connection_close()
        if self._stream_open is not None:
            self._stream_open.close()

    _caller = ""
    _stream_open: Stream | None = None
    _follower: Follower | None = None
    _kept_open: AsyncExitStack | None = None

    @staticmethod
    def describe_changes(operation: ApiOperation) -> None:
        """Describe GET of the changes."""
        operation.says(
            f"Follow the changes of {operation.tag}",
            "Each document that changed since the token, once, as it is now; with `Accept: text/event-stream`, as it"
            " happens.",
        )
        token = {"type": "string"}
        operation.query(
            "since", token, "Where to begin: the `next` of the last page, or `beginning`; without it, now."
        )
        limit = {"type": "integer", "minimum": 1, "default": _LIMIT}
        operation.query("limit", limit, "How many changes a page has at most.")
        operation.query("ticket", token, "What stands for credentials in a browser's EventSource.")
        describe_fields(operation)
        describe_filters(operation, filterable(operation.resource.model))
        schemas = operation.of_model()
        found = operation.answers_with(
            200, "A page of changes.", schemas.other("Changes", lambda: _schema(operation)), "Cache-Control", "Vary"
        )
        found.content[EVENTS] = {"type": "string", "description": "Server-sent events: change, delete, gone, reset."}
        operation.answers_with(204, "The caller of a stream may not come back.")
        operation.fails(410, fields=("Link",))
        operation.problem("bad-parameter", "no-index", "too-many-streams")


def _schema(operation: ApiOperation) -> Schema:
    gone = {
        "type": "object",
        "required": ["_href"],
        "properties": {
            "_href": {"type": "string", "format": "uri-reference"},
            "_deleted": {"type": "boolean", "description": "True if the document was deleted."},
            "_gone": {"type": "boolean", "description": "True if it is not one of those that were asked for any more."},
        },
        "additionalProperties": False,
    }
    schemas = operation.of_model()
    return {
        "type": "object",
        "required": ["items", "next", "more"],
        "properties": {
            "items": {"type": "array", "items": {"anyOf": [schemas.item(), schemas.item_part(), gone]}},
            "next": {"type": "string", "description": "The `since` of the next page."},
            "more": {"type": "boolean", "description": "Whether more changes follow at once."},
        },
    }


class TicketHandler(_Viewing[M]):
    """POST of a ticket, which stands for the caller's credentials in the address of a stream."""

    async def ticket(self) -> None:
        """Answer with an address for a browser's EventSource, which cannot send credentials."""
        self.view()
        names = [name for name in self.policy.vary if self.fields.get(name)]
        kept = {name: self.fields[name] for name in names}
        if self.principal is not None and not kept:
            detail = "A ticket holds the credentials of header fields that an authenticator names in `security_scheme`."
            raise Problem(403, detail=detail)
        tickets = Tickets(self._secrets, self.resource.path)
        text, expires_on = tickets.make(kept, self.request.query_arguments)
        query = "&".join(filter(None, [self.request.query, f"ticket={text}"]))
        href = f"{self.prefix}{self.resource.path}/_changes?{query}"
        self.set_header("Cache-Control", "no-store")
        await self.answers.json(200, _json.dumps({"_href": href, "expires_on": expires_on}), None)

    @staticmethod
    def describe_ticket(operation: ApiOperation) -> None:
        """Describe POST of a ticket."""
        operation.says(
            "Make an address for EventSource",
            "A browser's EventSource sends no credentials; a ticket in the address, good for a minute and for coming"
            " back, stands for them.",
        )
        describe_fields(operation)
        describe_filters(operation, filterable(operation.resource.model))
        operation.needs_body = False
        schema = {
            "type": "object",
            "required": ["_href", "expires_on"],
            "properties": {
                "_href": {"type": "string", "format": "uri-reference"},
                "expires_on": {"type": "string", "format": "date-time"},
            },
        }
        operation.answers_with(200, "The address.", schema, "Cache-Control", "Vary")
        operation.problem("bad-parameter", "no-index")

