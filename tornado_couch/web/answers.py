"""`Answers`: how the handler of a resource answers with documents, pages and results."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any

from .. import _json
from ..models import Model
from ..store import Pace
from .action_table import JSON
from .http import Preferences, choose_coding, compressed, entity_tag, http_date
from .problems import Problem
from .query import of_variants

if TYPE_CHECKING:
    from .handler import ResourceHandler

__all__ = ["Answers"]

_SETTLED_SECONDS = 60


class Answers:
    """Writes the answers of a handler, with entity tags, content codings and the client's preferences.

    Args:
        handler: the handler that answers.

    Attributes:
        tag: the entity tag of the answer, once it is known.
    """

    __slots__ = ("_handler", "_modified", "_settled", "tag")

    def __init__(self, handler: ResourceHandler) -> None:
        self._handler = handler
        self.tag: str | None = None
        self._modified: int | None = None
        self._settled = False

    async def document(self, model: Model, action: str, status: int = 200) -> None:
        """Answer with a document and its entity tag; after a write, as the client prefers."""
        handler = self._handler
        shown = handler.show(model)
        if handler.resource.hooks.has_after:
            await handler.resource.hooks.after(handler.event(action), model, shown)
        if handler.include is not None:
            await handler.include([shown])
        if handler.projection:
            shown = handler.projection.apply(shown)
        preferences = handler.preferences() if action != "retrieve" or status == 201 else Preferences()
        self.say_applied(preferences)
        if preferences.representation == "minimal":
            self.minimal(model, status)
            return
        text, digest = _json.dumps(shown), ""
        if handler.shows_more:
            digest = f"shown={hashlib.sha256(text).hexdigest()[:16]}"
            if handler.request.method in ("GET", "HEAD") and self.unchanged(model._rev or "", digest):
                return
        await self.json(status, text, model._rev or "", digest)

    def minimal(self, model: Model, status: int) -> None:
        """Answer a write with the entity tag alone."""
        handler = self._handler
        self.tag = entity_tag(model._rev or "")
        handler.set_status(201 if status == 201 else 204)
        handler.clear_header("Content-Type")  # without a body, Tornado would say text/html
        handler.set_etag_header()
        handler.finish()

    def say_applied(self, preferences: Preferences) -> None:
        """Name the preferences that were followed (RFC 7240 §3)."""
        if preferences.applied:
            self._handler.set_header("Preference-Applied", preferences.applied)

    async def items(self, body: dict[str, Any]) -> None:
        """Answer with a page of a collection; its entity tag is a digest of it."""
        text = await serialised(body)
        digest = hashlib.sha256(text).hexdigest()[:32]
        if not self.unchanged(digest):
            await self.json(200, text, digest)

    async def results(self, items: list[dict[str, Any]]) -> None:
        """Answer a request for many with a result for each; 200, since the request as such was carried out."""
        self.say_applied(self._handler.preferences())
        await self.json(200, await serialised({"items": items}), None)

    def date(self, model: Model) -> None:
        """Note when the document was last modified, if its model has an `UpdatedOn`, and say it in Last-Modified.

        It is said only if it is a minute ago: until then a later change could have the same second, by some clock
        (RFC 9110 §8.8.2.2).
        """
        resource = self._handler.resource
        if resource.tenant:  # the address may be that of another tenant's document, whose date this client has
            return
        name = resource.modified
        moment = getattr(model, name) if name else None
        if moment is None:
            return
        self._modified = int(moment.timestamp())
        self._settled = time.time() >= self._modified + _SETTLED_SECONDS
        if self._settled:
            self._handler._headers["Last-Modified"] = http_date(self._modified)

    async def many(self, body: dict[str, Any]) -> None:
        """Answer a change of many documents."""
        self.say_applied(self._handler.preferences())
        await self.json(200, await serialised(body), None)

    def unchanged(self, revision: str, digest: str = "") -> bool:
        """Answer 304 if the preconditions of a GET say so; return whether they did.

        Args:
            revision: the current one.
            digest: the part of the entity tag that stands for what the caller is shown beside the stored document.

        Raises:
            Problem: 412 when If-Match does not hold.
        """
        handler = self._handler
        variants = list(filter(None, [handler.projection.variant if handler.projection else "", digest]))
        preconditions = of_variants(handler.preconditions(), variants)
        status = preconditions.evaluate_read(revision, self._modified, settled=self._settled)
        if status == 412:
            raise Problem.of("revision-mismatch", headers={"ETag": entity_tag(revision)})
        if status == 304:
            # The client's own tag, if it sent one, says which of the revision's representations it has.
            tags = preconditions.if_none_match
            known = [each.opaque for each in tags if each.names(revision)] if isinstance(tags, tuple) else []
            self.tag = entity_tag(known[0] if known else ";".join([revision, *variants]))
            handler.set_status(304)
            handler.set_etag_header()
            self._cacheable()
            handler.finish()
        return status == 304

    async def json(self, status: int, text: bytes, revision: str | None, digest: str = "") -> None:
        """Answer with a JSON text in the content coding that the client accepts.

        Args:
            status: the HTTP status.
            text: the serialised body.
            revision: what the entity tag begins with; None for an answer without one.
            digest: a further part of the entity tag; see `unchanged`.
        """
        handler = self._handler
        coding = choose_coding(handler.fields.get("Accept-Encoding", ""))
        coded = await compressed(text, coding) if coding else None
        if coded is not None:
            handler.set_header("Content-Encoding", coding)
        variants = [handler.projection.variant if handler.projection else "", digest, "" if coded is None else coding]
        self.tag = None if revision is None else entity_tag(revision, ";".join(filter(None, variants)))
        handler.set_status(status)
        handler._headers["Content-Type"] = JSON
        handler.set_etag_header()
        self._cacheable()
        handler.finish(text if coded is None else coded)

    def _cacheable(self) -> None:
        # A cache may keep the answer for its one client and must ask each time: that costs a 304.
        self._handler._headers["Cache-Control"] = "private, no-cache"


async def serialised(body: dict[str, Any]) -> bytes:
    """Return the JSON text of a page, which other requests need not wait for."""
    texts, pace = [], Pace()
    for item in body["items"]:
        texts.append(_json.dumps(item))
        if pace.is_due():
            await pace.breathe()
    others = {name: value for name, value in body.items() if name != "items"}
    return b'{"items":[%b]%b' % (b",".join(texts), b"," + _json.dumps(others)[1:] if others else b"}")
