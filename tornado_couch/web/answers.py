"""Answers: representation, entity tag, content coding, preferences."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

from .. import json_text
from ..models import Model, deleted_on, representation
from .compression import choose_coding, compressed
from .fields import Projection, of_projection
from .hooks import Event
from .policies import Principal
from .preconditions import EntityTag, MalformedEntityTag, Preconditions, entity_tag
from .preferences import SERVER_TIMING, Preferences, parse_preferences
from .problems import Problem, ProblemHandler
from .resources import Resource

__all__ = ["JSON", "AnswerMixin"]

JSON = "application/json"

_ITEMS_IN_THREAD = 100  # a page with more is serialised off the event loop


class AnswerMixin(ProblemHandler):
    """How the handlers of a resource answer."""

    resource: Resource[Any]
    principal: Principal | None
    projection: Projection | None = None  # of a single document
    _tag: str | None = None
    _preconditions: Preconditions | None = None

    def event(self, action: str) -> Event:
        """What the hooks are told."""
        return Event(action, self.resource.model, self.resource.store, self.principal, self.request)

    def preconditions(self) -> Preconditions:
        """The request's preconditions.

        Raises:
            Problem: 400 when an entity tag list is malformed.
        """
        if self._preconditions is None:
            try:
                self._preconditions = Preconditions.from_headers(self.fields)
            except MalformedEntityTag as error:
                raise Problem(400, "malformed-entity-tag", f"{error}.") from None
        return self._preconditions

    def preferences(self) -> Preferences:
        """What the client prefers.

        Raises:
            Problem: 400, with handling=strict, when it prefers what we do not know.
        """
        known = (SERVER_TIMING,) if self.settings.get("server_timing") else ()
        return parse_preferences(self.fields.get("Prefer", ""), known)

    def compute_etag(self) -> str | None:
        """The entity tag of what is answered: Tornado asks for it; nothing else sets the field."""
        return self._tag

    def show(self, model: Model) -> dict[str, Any]:
        """A model as a client sees it; override to add what is computed."""
        return representation(model)

    async def item(self, model: Model, action: str = "list") -> dict[str, Any]:
        """A model as an item of a collection."""
        shown = {
            "_href": self.resource.href(model._key),
            "_etag": entity_tag(model._rev or ""),
            **({"_deleted_on": since} if (since := deleted_on(self.resource.info, model._stored)) else {}),
            **self.show(model),
        }
        if self.resource.hooks.has_after:
            await self.resource.hooks.after(self.event(action), model, shown)
        return shown

    async def answer_document(self, model: Model, action: str, status: int = 200) -> None:
        """Answer with a document and its entity tag; after a write, as the client prefers."""
        shown = self.show(model)
        if self.resource.hooks.has_after:
            await self.resource.hooks.after(self.event(action), model, shown)
        if self.projection:
            shown = self.projection.apply(shown)
        preferences = self.preferences() if action != "retrieve" or status == 201 else Preferences()
        if preferences.applied:
            self.set_header("Preference-Applied", preferences.applied)
        if preferences.representation == "minimal":
            self._tag = entity_tag(model._rev or "")
            self.set_status(201 if status == 201 else 204)
            self.clear_header("Content-Type")  # Tornado would say text/html of no body
            self.set_etag_header()
            self.finish()
            return
        await self._answer(status, json_text.dumps(shown), model._rev or "")

    async def answer_items(self, body: dict[str, Any]) -> None:
        """Answer with a collection's page; its entity tag is a digest of it."""
        large = len(body["items"]) > _ITEMS_IN_THREAD
        text = await asyncio.to_thread(json_text.dumps, body) if large else json_text.dumps(body)
        digest = hashlib.sha256(text).hexdigest()[:32]
        if not self.answered_from_cache(digest):
            await self._answer(200, text, digest)

    def answered_from_cache(self, revision: str) -> bool:
        """Whether the preconditions of a GET made the answer 304, before any body is built.

        Raises:
            Problem: 412 when If-Match does not hold.
        """
        preconditions = of_projection(self.preconditions(), self.projection)
        status = preconditions.evaluate_read(revision)
        if status == 412:
            raise Problem(412, "revision-mismatch", headers={"ETag": entity_tag(revision)})
        if status == 304:
            # The client's own tag says which of the revision's representations it has.
            tags = preconditions.if_none_match
            known = [each for each in tags if each.revision == revision] if isinstance(tags, tuple) else []
            self._tag = f'"{next(iter(known), EntityTag(revision)).opaque}"'
            self.set_status(304)
            self.set_etag_header()
            self._cacheable()
            self.finish()
        return status == 304

    async def _answer(self, status: int, text: bytes, revision: str | None) -> None:
        coding = choose_coding(self.fields.get("Accept-Encoding", ""))
        coded = await compressed(text, coding) if coding else None
        if coded is not None:
            self.set_header("Content-Encoding", coding)
        variants = [self.projection.variant if self.projection else "", "" if coded is None else coding]
        self._tag = None if revision is None else entity_tag(revision, ";".join(filter(None, variants)))
        self.set_status(status)
        self._headers["Content-Type"] = JSON
        self.set_etag_header()
        self._cacheable()
        self.finish(text if coded is None else coded)

    def _cacheable(self) -> None:
        # A cache may keep the answer for its one client and must ask each time: that costs a 304.
        self._headers["Cache-Control"] = "private, no-cache"
