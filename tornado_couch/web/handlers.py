"""The handlers: what a request goes through before and after the action that a mixin implements."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from tornado.web import RequestHandler, stream_request_body

from .. import json_text
from ..errors import ValidationFailed
from ..models import Action, Model, body_problems, representation
from .bodies import decode, media_type, parse_json, too_large
from .negotiation import accepts_json
from .paging import CursorCodec
from .preconditions import MalformedEntityTag, Preconditions, entity_tag
from .problems import Problem, ProblemHandler
from .resources import Resource

__all__ = ["ResourceHandler"]

JSON = "application/json"

# Which action each method means, in the order in which a handler class is asked for them.
_ACTIONS: dict[str, tuple[str, ...]] = {
    "get": ("retrieve", "list"),
    "post": ("create",),
    "put": ("replace",),
    "delete": ("destroy",),
}

# A body over the limit is read to its end and dropped up to this size, so that the client gets to
# read the 413; a longer one is answered at once, and the connection closed.
_DRAINED = 64 * 1024 * 1024

_ITEMS_IN_THREAD = 100  # a page with more is serialised off the event loop


@stream_request_body
class ResourceHandler(ProblemHandler):
    """The base of the handlers of a mounted resource. Mixins add the actions.

    A class that has an action answers the method that it stands for: `list` and `retrieve` GET and
    HEAD, `create` POST, `replace` PUT, `destroy` DELETE. Every other method is 405.
    """

    resource: Resource[Any]
    BODY_TYPE: ClassVar[dict[str, str]] = {"POST": "Accept-Post", "PATCH": "Accept-Patch"}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for method, actions in _ACTIONS.items():
            action = next((name for name in actions if hasattr(cls, name)), None)
            if action and getattr(cls, method) is RequestHandler._unimplemented_method:
                setattr(cls, method, _method(action))
        if cls.get is not RequestHandler._unimplemented_method:
            cls.head = cls.get

    def initialize(self, resource: Resource[Any]) -> None:
        """Take what the route says."""
        self.resource = resource
        self._chunks: list[bytes] = []
        self._received = 0
        self._tag: str | None = None

    def set_default_headers(self) -> None:
        """Set what every answer has, errors included."""
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Vary", "Accept")

    # ------------------------------------------------------------ before the action

    def prepare(self) -> None:
        """Refuse a body that is far too large before it comes.

        Every other refusal waits until the body is read: answering before that makes Tornado close
        the connection, and many a client then sees a broken pipe in place of the answer.
        """
        length = self.request.headers.get("Content-Length", "0")
        if length.isdecimal() and int(length) > max(_DRAINED, self.resource.limits.size):
            # Otherwise Tornado's own limit comes first and closes the connection without an answer.
            self.request.connection.set_max_body_size(int(length))  # type: ignore[union-attr]
            problem = too_large(self.resource.limits.size)
            problem.headers["Connection"] = "close"
            raise problem

    def data_received(self, chunk: bytes) -> None:
        """Keep a part of the body, up to the limit."""
        self._received += len(chunk)
        if self._received <= self.resource.limits.size:
            self._chunks.append(chunk)

    async def read_body(self, action: Action) -> dict[str, Any]:
        """The request's JSON body, valid by the model's schema.

        Raises:
            Problem: 413, 415, 400.
            ValidationFailed: with everything that the schema finds.
        """
        if self._received > self.resource.limits.size:
            raise too_large(self.resource.limits.size)
        if media_type(self.request.headers) != JSON:
            accepted = self.BODY_TYPE.get(self.request.method or "")
            raise Problem(415, detail=f"The body must be {JSON}.", headers={accepted: JSON} if accepted else {})
        limits = self.resource.limits
        body = await parse_json(decode(b"".join(self._chunks), self.request.headers, limits.size), limits)
        problems = body_problems(self.resource.model, action, body)
        if problems:
            raise ValidationFailed(problems)
        return {name: value for name, value in body.items() if name not in ("_href", "_etag")}

    def preconditions(self) -> Preconditions:
        """The request's preconditions.

        Raises:
            Problem: 400 when an entity tag list is malformed.
        """
        try:
            return Preconditions.from_headers(self.request.headers)
        except MalformedEntityTag as error:
            raise Problem(400, "malformed-entity-tag", f"{error}.") from None

    def parse_key(self, text: str) -> Any:
        """The key in the URL.

        Raises:
            Problem: 404 when no document of the model can have it.
        """
        key = self.resource.info.parse_key(text)
        if key is None:
            raise Problem(404, detail="There is no such document.")
        return key

    def cursors(self) -> CursorCodec:
        """The codec of this resource's cursors.

        Without a `cursor_key` and a `cookie_secret` they are good for this process's life alone.
        """
        secret = self.resource.cursor_key or self.settings.get("cookie_secret")
        if not secret:
            secret = self.settings.setdefault("_tornado_couch_cursor_key", secrets.token_bytes(32))
        if isinstance(secret, dict):  # Tornado's form for key rotation: version -> secret
            secret = secret[self.settings.get("key_version", max(secret))]
        return CursorCodec(secret.encode() if isinstance(secret, str) else secret)

    # ------------------------------------------------------------ answers

    def compute_etag(self) -> str | None:
        """The entity tag of what is answered: Tornado asks for it; nothing else sets the field."""
        return None if self._tag is None else entity_tag(self._tag)

    def show(self, model: Model) -> dict[str, Any]:
        """A model as a client sees it; override to add what is computed."""
        return representation(model)

    def item(self, model: Model) -> dict[str, Any]:
        """A model as an item of a collection."""
        href, tag = self.resource.href(model._key), entity_tag(model._rev or "")
        return {"_href": href, "_etag": tag, **self.show(model)}

    def answer_document(self, model: Model, status: int = 200) -> None:
        """Answer with a document and its entity tag."""
        self._tag = model._rev
        self._answer(status, json_text.dumps(self.show(model)))

    async def answer_items(self, body: dict[str, Any]) -> None:
        """Answer with a collection's page; its entity tag is a digest of it."""
        large = len(body["items"]) > _ITEMS_IN_THREAD
        text = await asyncio.to_thread(json_text.dumps, body) if large else json_text.dumps(body)
        self._tag = hashlib.sha256(text).hexdigest()[:32]
        if not self.answered_from_cache(self._tag):
            self._answer(200, text)

    def answered_from_cache(self, revision: str) -> bool:
        """Whether the preconditions of a GET made the answer 304, before any body is built.

        Raises:
            Problem: 412 when If-Match does not hold.
        """
        status = self.preconditions().evaluate_read(revision)
        self._tag = revision
        if status == 412:
            raise Problem(412, "revision-mismatch", headers={"ETag": entity_tag(revision)})
        if status == 304:
            self.set_status(304)
            self.set_etag_header()
            self._cacheable()
            self.finish()
        return status == 304

    def _answer(self, status: int, text: bytes) -> None:
        self.set_status(status)
        self.set_header("Content-Type", JSON)
        self.set_etag_header()
        self._cacheable()
        self.finish(text)

    def _cacheable(self) -> None:
        # A cache may keep the answer for its one client and must ask each time: that costs a 304.
        self.set_header("Cache-Control", "private, no-cache")

    def options(self, *_: str) -> None:
        """Say what can be done here."""
        self.set_status(204)
        self.set_header("Allow", ", ".join(self.allowed_methods()))
        for method, field in self.BODY_TYPE.items():
            if method in self.allowed_methods():
                self.set_header(field, JSON)
        self.finish()


def _method(action: str) -> Callable[..., Awaitable[None]]:
    """The Tornado method that runs an action, with the key in the URL where there is one."""

    async def run(self: ResourceHandler, *arguments: str) -> None:
        if not accepts_json(self.request.headers.get("Accept", "*/*")):
            raise Problem(406, detail=f"This resource is available as {JSON}.")
        await getattr(self, action)(*[self.parse_key(text) for text in arguments])

    run.__doc__ = f"Run `{action}`."
    return run
