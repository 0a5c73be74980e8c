"""`ResourceHandler`: what every request to a resource goes through before and after its action."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from tornado.web import RequestHandler, stream_request_body

from .. import _json
from ..errors import ValidationFailed
from ..models import Action, Model, body_problems, deleted_on, representation
from .access import READS, AllowAny, Policy, Principal, RateLimit, caller_identity
from .hooks import Event
from .http import (
    SERVER_TIMING,
    EntityTag,
    MalformedEntityTag,
    Preconditions,
    Preferences,
    accepts,
    choose_coding,
    compressed,
    decode,
    entity_tag,
    media_type,
    parse_json,
    parse_preferences,
    too_large,
)
from .problems import Problem, ProblemHandler
from .query import CursorCodec, Projection, of_projection
from .resources import Resource

__all__ = ["DRAINED", "JSON", "AdmissionMixin", "AnswerMixin", "ResourceHandler"]


class AdmissionMixin(ProblemHandler):
    """Finds out who calls, and counts them."""

    _kept_headers: dict[str, str] | None = None

    def set_default_headers(self) -> None:
        """Set what every answer has, errors included."""
        if self._kept_headers is None:
            return  # Tornado asks before there is a route; `initialize` asks again
        self._headers["X-Content-Type-Options"] = "nosniff"  # unlike `set_header`, without looking for line breaks
        self._headers["Vary"] = "Accept, Accept-Encoding"
        cors = self.option("cors")
        if cors is not None:
            self._set_headers(cors.answer_headers(self.request.headers.get("Origin")))
        if self._kept_headers:
            self._set_headers(self._kept_headers)

    def _set_headers(self, fields: dict[str, str]) -> None:
        for name, value in fields.items():
            if name == "Vary":  # of several that say so
                value = ", ".join(dict.fromkeys(f"{self._headers.get('Vary', '')}, {value}".strip(", ").split(", ")))
            self.set_header(name, value)

    def option(self, name: str) -> Any:
        """The application's setting of this name; None where there is none."""
        return self.settings.get(name)

    async def _authenticated(self) -> Principal | None:
        """Who asks. Wrong credentials are counted by address, apart from what is asked without any."""
        limit: RateLimit | None = self.option("rate_limit")
        if limit is None:
            return await self.policy.authenticate(self.request)
        guesser = f"wrong credentials from {caller_identity(None, self.request.remote_ip)}"
        if not (decision := limit.peek(guesser)).allowed:
            raise decision.problem()  # before another guess costs a bcrypt
        try:
            return await self.policy.authenticate(self.request)
        except Problem:
            self._count(guesser)
            raise

    def _count(self, identity: str) -> None:
        """Count the request against a limit.

        Raises:
            Problem: 429, the limit is reached.
        """
        limit: RateLimit | None = self.option("rate_limit")
        if limit is None:
            return
        decision = limit.decide(identity)
        self._kept_headers = {**(self._kept_headers or {}), **decision.headers}
        self._set_headers(decision.headers)
        if not decision.allowed:
            raise decision.problem()

    @property
    def policy(self) -> Policy:
        """Who may do what here.

        Raises:
            RuntimeError: nobody said: outside of debug mode nothing is served then.
        """
        policy: Policy | None = self.option("policy")
        if policy is None and not self.settings.get("debug"):
            raise RuntimeError(
                f"{self.request.path} has no policy; say policy=… where it is mounted, or to the application."
                " AllowAny() lets everybody do everything."
            )
        return policy or AllowAny()


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
                raise Problem.of("malformed-entity-tag", f"{error}.") from None
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
        await self._answer(status, _json.dumps(shown), model._rev or "")

    async def answer_items(self, body: dict[str, Any]) -> None:
        """Answer with a collection's page; its entity tag is a digest of it."""
        large = len(body["items"]) > _ITEMS_IN_THREAD
        text = await asyncio.to_thread(_json.dumps, body) if large else _json.dumps(body)
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
            raise Problem.of("revision-mismatch", headers={"ETag": entity_tag(revision)})
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


# Which action each method means, in the order in which a handler class is asked for them.
_ACTIONS: dict[str, tuple[str, ...]] = {
    "get": ("retrieve", "list", "reduce", "versions", "conflicts"),
    "post": ("create", "resolve"),
    "put": ("replace",),
    "patch": ("patch_document",),
    "delete": ("destroy",),
}

DRAINED = 64 * 1024 * 1024
"""Bytes of a refused body that are read to its end and dropped, so that the client gets to read the answer.

A longer one is answered at once, and the connection closed.
"""

# RFC 3986 §2.1. Taken for itself, such a percent sign would give a document a second address.
_MALFORMED_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


@stream_request_body
class ResourceHandler(AdmissionMixin, AnswerMixin):
    """The base of the handlers of a mounted resource. Mixins add the actions.

    A class that has an action answers the method that it stands for: `list`, `retrieve`, `reduce` and
    `conflicts` GET and HEAD, `create` and `resolve` POST, `replace` PUT, `patch_document` PATCH, `destroy`
    DELETE. Every other method is 405.
    """

    _actions: ClassVar[dict[str, str]] = {}  # by method
    _gathering: Any = None  # the store's stand-in, within a request for many

    # By method: the field that tells them, and the media types of a body.
    BODY_TYPES: ClassVar[dict[str, tuple[str, tuple[str, ...]]]] = {
        "POST": ("Accept-Post", (JSON,)),
        "PUT": ("", (JSON,)),
        "PATCH": ("Accept-Patch", ("application/merge-patch+json", "application/json-patch+json")),
    }

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._actions = {}
        for method, actions in _ACTIONS.items():
            action = next((name for name in actions if hasattr(cls, name)), None)
            if action:
                cls._actions[method.upper()] = action.removesuffix("_document")
                if getattr(cls, method) is RequestHandler._unimplemented_method:
                    setattr(cls, method, _method(action))
        if cls.get is not RequestHandler._unimplemented_method:
            cls.head = cls.get
            cls._actions["HEAD"] = cls._actions.get("GET", "retrieve")

    def initialize(self, resource: Resource[Any]) -> None:
        """Take what the route says."""
        self.resource = resource
        self.principal = None
        self._chunks: list[bytes] = []
        self._received = 0
        self._kept_headers = {}
        self.set_default_headers()

    def set_default_headers(self) -> None:
        """Set what every answer has, errors included."""
        super().set_default_headers()
        resource = getattr(self, "resource", None)  # not yet, when Tornado asks for default headers
        if resource is not None and resource.deprecation is not None:
            self._set_headers(resource.deprecation.headers)

    def option(self, name: str) -> Any:
        """What the resource says, else the application's setting of that name; None if neither does."""
        resource = getattr(self, "resource", None)  # not yet, when Tornado asks for default headers
        own = getattr(resource, name, None)
        return self.settings.get(name) if own is None else own

    # ------------------------------------------------------------ before the action

    def prepare(self) -> Awaitable[None] | None:
        """Refuse a body that is far too large before it comes.

        Every other refusal waits until the body is read: answering before that makes Tornado close
        the connection, and many a client then sees a broken pipe in place of the answer.
        """
        length = self.fields.get("Content-Length", "0")
        if length.isdecimal() and int(length) > max(DRAINED, self.resource.limits.size):
            # Otherwise Tornado's own limit comes first and closes the connection without an answer.
            self.request.connection.set_max_body_size(int(length))  # type: ignore[union-attr]
            problem = too_large(self.resource.limits.size)
            problem.headers["Connection"] = "close"
            raise problem
        return None

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """Keep a part of the body, up to the limit."""
        self._received += len(chunk)
        if self._received <= self.resource.limits.size:
            self._chunks.append(chunk)
        return None

    async def admit(self, action: str) -> None:
        """Let the request through to its action, or raise what it is answered with.

        Raises:
            Problem: 406, 400, 401, 429, 403 or 404, in that order.
        """
        types = self.answer_types()
        accepted = self.fields.get("Accept", "")
        if not any(accepts(accepted, each) for each in types):
            raise Problem(406, detail=f"This is available as {' or '.join(types)}.")
        if "%" in self.request.path and _MALFORMED_ESCAPE.search(self.request.path):
            raise Problem.of("malformed-path", "In a path `%` is followed by two hexadecimal digits.")
        self.preferences()  # strict handling of an unknown one must not come after the work
        self.principal = await self._authenticated()
        if self.option("rate_limit") is not None:
            self._count(caller_identity(self.principal, self.request.remote_ip))
        await self.authorize(action)

    def answer_types(self) -> tuple[str, ...]:
        """The media types that this request can be answered with."""
        return (JSON,)

    def allowed_methods(self) -> list[str]:
        """The methods that there are, without those that the policy lets nobody use."""
        policy: Policy | None = self.option("policy")
        methods = super().allowed_methods()
        return [name for name in methods if not policy or policy.offers(self._actions.get(name, "retrieve"))]

    async def authorize(self, action: str, document: Model | None = None) -> None:
        """Ask the policy: before anything is read, then for the document.

        Raises:
            Problem: 401, 403 or 404.
        """
        await self.policy.authorize(self.principal, action, self.resource.model, document)

    def restriction(self) -> tuple[str, Any] | None:
        """The property and its stored value that the caller's lists are limited to, if they are."""
        return self.policy.restriction(self.principal, self.resource.model)

    # ------------------------------------------------------------ the body

    async def read_json(self) -> Any:
        """The JSON value of the request's body.

        Raises:
            Problem: 413, 415, 400.
        """
        if self._received > self.resource.limits.size:
            raise too_large(self.resource.limits.size)
        field, types = self.BODY_TYPES[self.request.method or ""]
        if media_type(self.fields) not in types:
            accepted = ", ".join(types)
            raise Problem(415, detail=f"The body must be {accepted}.", headers={field: accepted} if field else {})
        limits = self.resource.limits
        return await parse_json(decode(b"".join(self._chunks), self.fields, limits.size), limits)

    async def read_body(self, action: Action) -> dict[str, Any]:
        """The request's JSON body, valid by the model's schema.

        Raises:
            Problem: 413, 415, 400.
            ValidationFailed: with everything that the schema finds.
        """
        return self.validated(action, await self.read_json())

    def validated(self, action: Action, body: Any) -> dict[str, Any]:
        """A body that is valid by the model's schema, without what a collection adds to its items.

        Raises:
            ValidationFailed: with everything that the schema finds.
        """
        problems = body_problems(self.resource.model, action, body)
        if problems:
            raise ValidationFailed(problems)
        return {name: value for name, value in body.items() if name not in ("_href", "_etag")}

    # ------------------------------------------------------------ what actions need

    @property
    def store(self) -> Any:
        """The store that the `perform_…` hooks write to; within a request for many it gathers what they write."""
        return self.resource.store if self._gathering is None else self._gathering


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

    def options(self, *_: str) -> None:
        """Say what can be done here; for a browser, whether a script may do it."""
        allowed = self.allowed_methods()
        self.set_status(204)
        self.set_header("Allow", ", ".join(allowed))
        for method, (field, types) in self.BODY_TYPES.items():
            if field and method in allowed:
                self.set_header(field, ", ".join(types))
        cors = self.option("cors")
        if cors is not None:
            self._set_headers(cors.preflight_headers(self.request.headers, allowed))
        self.finish()


def _method(action: str) -> Callable[..., Awaitable[None]]:
    """The Tornado method that runs an action, with the key in the URL where there is one."""

    async def run(self: ResourceHandler, *arguments: str) -> None:
        name = action.removesuffix("_document")
        await self.admit(name)
        # A write's hook comes later: it is given what is about to be written.
        if name in READS and self.resource.hooks.has_before:
            await self.resource.hooks.before(self.event(name))
        await getattr(self, action)(*[self.parse_key(text) for text in arguments])

    run.__doc__ = f"Run `{action}`."
    run.runs = action  # type: ignore[attr-defined]  # a bulk request looks at it
    return run
