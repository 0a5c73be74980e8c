"""`ResourceHandler`: what every request goes through before the action that a mixin implements."""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from tornado.web import RequestHandler, stream_request_body

from ..errors import ValidationFailed
from ..models import Action, Model, body_problems
from .admission import AdmissionMixin
from .answers import JSON, AnswerMixin
from .bodies import decode, media_type, parse_json, too_large
from .negotiation import accepts
from .paging import CursorCodec
from .policies import READS, Policy
from .problems import Problem
from .rate_limit import caller_identity
from .resources import Resource

__all__ = ["DRAINED", "ResourceHandler"]

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
            raise Problem(400, "malformed-path", "In a path `%` is followed by two hexadecimal digits.")
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
    return run
