"""`ResourceHandler`: what every request to a resource goes through before and after its action."""

from __future__ import annotations

import asyncio
import functools
import inspect
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import tornado
from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.web import HTTPError, RequestHandler, stream_request_body

from ..couch.names import quote_segment
from ..errors import InvalidDocument, ValidationFailed
from ..models import Action as Write
from ..models import Model, body_problems, deleted_on, reading_partially, representation
from ..store import Room, Store
from ..store.query import same
from .access import Caller, Hidden, Policy, Principal, opened
from .action_table import ACTIONS, JSON, Action
from .admission import Admission
from .answers import Answers
from .body import ACCEPT_FIELDS, Body
from .http import (
    SERVER_TIMING,
    MalformedEntityTag,
    Preconditions,
    Preferences,
    accepts,
    decode,
    entity_tag,
    http_date,
    is_large,
    parse_preferences,
    too_large,
)
from .problems import Problem, implemented_methods, log_problem, send_problem, write_problem
from .proxies import public_prefix
from .query import CursorCodec, Projection, decode_names
from .relations import Related, is_under
from .resources import Event, M, Resource

if TYPE_CHECKING:
    from .openapi.operation import ApiOperation

__all__ = ["ResourceHandler"]

T = TypeVar("T")

_SERVER = f"TornadoServer/{tornado.version}"

_RUNNING: set[asyncio.Task[None]] = set()

# RFC 3986 §2.1. Taken for itself, such a percent sign would give a document a second address.
_MALFORMED_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


@stream_request_body
class ResourceHandler(RequestHandler, Generic[M]):
    """The base of the handlers of a mounted resource. Mixins add the actions.

    The model can be named, as in `ResourceHandler[Fruit]` and `CreateMixin[Fruit]`: type checkers then know what the
    `perform_…` methods take and return.

    A class that has an action, which is a method of the name that the table in `web/action_table.py` has for it,
    answers the HTTP method that the action stands for: `list` and `retrieve` answer GET and HEAD, `create` answers
    POST, and so on. Every other method is answered with 405.

    Attributes:
        BODIES: by HTTP method, the class that receives the body, where it is not `Body`.
        PARAMETERS: the parameters of the query string that writes take; any other is 400.
        QUESTION: what the policy is asked before a method of the class's own runs, such as its `get`; the arguments
            of the method are then the keys in the address. `resource(…, actions=…)` sets it. Without it nothing is
            asked: such a method begins with `await self.admit("…")`.
        resource: what is mounted.
        principal: who sends the request, once that is known; None if anonymous.
        projection: the properties that the client asks for; None for all.
        include: embeds the documents that the client asks for in what it is shown; None if it asks for none.
        admission: finds out who sends the request.
        answers: writes the answer.
        body: the request's body.
    """

    BODIES: ClassVar[dict[str, Callable[[Any], Body]]] = {}
    PARAMETERS: ClassVar[Collection[str]] = ()
    QUESTION: ClassVar[str] = ""

    _actions: ClassVar[dict[str, Action]] = {}  # by HTTP method
    _shows_itself: ClassVar[bool] = True  # `show` is the package's own

    resource: Resource[M]
    principal: Principal | None = None
    projection: Projection | None = None
    include: Callable[[Sequence[dict[str, Any]]], Awaitable[None]] | None = None
    admission: Admission = None  # type: ignore[assignment]  # only until `initialize`

    _admitted = ""  # the action that the request was let through to
    _gathering: Any = None  # the store's stand-in, within a request for many
    _fields: dict[str, str] | None = None
    _preconditions: Preconditions | None = None
    _prefix: str | None = None
    _opened: AsyncExitStack | None = None  # holds the tenant's store until the request is over
    _state = ""  # the query string that asks for the state of the document that is shown
    _condition: Callable[[Model], None] | None = None  # looks at the stored document before each try of a write

    def __init_subclass__(cls, actions: Iterable[Action] | None = None, **kwargs: Any) -> None:
        """Give the class the HTTP methods of its actions.

        Args:
            actions: all that the class has, whatever it inherits; by default those of the table that it has a method
                for.
            **kwargs: for other base classes.
        """
        super().__init_subclass__(**kwargs)
        cls._actions = {}
        cls._shows_itself = cls.show is ResourceHandler.show
        for name in _METHODS if actions is not None else ():
            setattr(cls, name, RequestHandler._unimplemented_method)
        for row in ACTIONS.values() if actions is None else actions:
            if row.method in cls._actions or not hasattr(cls, row.runs):
                continue
            cls._actions[row.method] = row
            if getattr(cls, row.method.lower()) is RequestHandler._unimplemented_method:
                setattr(cls, row.method.lower(), _method(row))
        for name in (each.lower() for each in cls.SUPPORTED_METHODS if each != "OPTIONS"):
            own = getattr(cls, name, RequestHandler._unimplemented_method)
            if own is not RequestHandler._unimplemented_method and not hasattr(own, "runs"):
                setattr(cls, name, _of_service(own))  # a method of the service's own, perhaps of a mixin
        if cls.get is not RequestHandler._unimplemented_method:
            cls.head = cls.get
            cls._actions["HEAD"] = cls._actions.get("GET", ACTIONS["retrieve"])

    @classmethod
    def describe(cls, operation: ApiOperation) -> None:
        """Say for the API document what a method takes and answers; `operation.action` and `.method` say which.

        The class method `describe_…` of the action does it. A handler that adds to what a mixin of the package
        describes overrides this, and calls `super().describe(operation)` first.
        """
        describe = getattr(cls, f"describe_{operation.action}", None)
        if describe is not None:
            describe(operation)

    def initialize(self, resource: Resource[M]) -> None:
        """Store the route's options."""
        self.resource = resource
        self.admission = Admission(self, resource)
        self.answers = Answers(self)
        self.body = self.BODIES.get(self.request.method or "", _plain_body)(self)
        self.admission.set_headers()

    def clear(self) -> None:
        """Reset the answer, as Tornado does: all header fields but those that every answer has, status and content."""
        headers = self._headers = HTTPHeaders()
        headers["Server"] = _SERVER
        headers["Content-Type"] = "text/html; charset=UTF-8"
        headers["Date"] = http_date(int(time.time()))  # Tornado formats it anew for each answer
        self.set_default_headers()
        self._write_buffer = []
        self.set_status(200)

    def set_default_headers(self) -> None:
        """Set what every answer has, errors included."""
        if self.admission is not None:  # Tornado asks before there is a route; `initialize` asks again
            self.admission.set_headers()

    # ------------------------------------------------------------ before the action

    def prepare(self) -> Awaitable[None] | None:
        """Begin to receive the body."""
        if parts := self.resource.parts:
            self.resource = self.resource.at(self.path_args[: len(parts)])
            del self.path_args[: len(parts)]  # the methods are called with the others
        return self.body.begin()

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """Take a part of the body."""
        return self.body.receive(chunk)

    def _break_cycles(self) -> None:
        # Tornado calls this once the answer is written. The handler and its parts know each other, so that a body would
        # stay in memory until the garbage collector runs, which can be thousands of requests later.
        super()._break_cycles()
        self.body.drop()

    def on_connection_close(self) -> None:
        """Let the body know that nothing more will come."""
        super().on_connection_close()
        self.body.end()

    async def admit(self, action: Action | str) -> None:
        """Let the request through to its action, once, or raise the problem that answers it.

        Args:
            action: what the policy is asked, such as "cancel". For a policy with rules for names, such as `Roles`, set
                `QUESTION` of the class instead, so that the application finds it.

        Raises:
            Problem: 406, 400, 401, 429, 403 or 404, in that order; then 400 for a parameter that a write does not take.
        """
        if isinstance(action, str):
            action = Action(action, "GET" if self.request.method == "HEAD" else self.request.method or "", answers=())
        if self.body.refusal is not None:
            raise self.body.refusal
        if self._admitted:
            return
        types = self.body.answers or action.answers
        accepted = self.fields.get("Accept", "")
        if types and not any(accepts(accepted, each) for each in types) and not self._answers_without_body(action):
            raise Problem(406, detail=f"This is available as {' or '.join(types)}.")
        if "%" in self.request.path and _MALFORMED_ESCAPE.search(self.request.path):
            raise Problem.of("malformed-path", "In a path, two hexadecimal digits must follow each `%`.")
        self.preferences()  # strict handling of an unknown one must not come after the work
        if self.resource.has_relations:
            Related.of(self)  # this handler is there until the request is over; others ask for it later
        self.principal = await self.admission.admitted()
        await self.authorize(action.name)
        if self.request.query and not action.reads and not action.selects:
            self._check_parameters(action)
        if callable(self.resource.store):
            await self._open_store()
        if self.resource.under:
            await self.related.enter(self.resource)
        self._admitted = action.name

    async def _open_store(self) -> None:
        """Open the store of the caller's tenant, until the request is over.

        Raises:
            Problem: 401, 404, 429 or 503, as the function says that chooses the store.
        """
        caller = Caller(self.principal, self.request)
        try:
            store = await self.enter(opened(self.resource.store, caller))
        except Problem as problem:
            raise self.policy.offering(problem) from None
        self.resource = self.resource.within(store)

    async def enter(self, context: AbstractAsyncContextManager[T]) -> T:
        """Enter a context until the request is over; return what it gives."""
        if self._opened is None:
            self._opened = AsyncExitStack()
        return await self._opened.enter_async_context(context)

    def _execute(self, *arguments: Any, **named: Any) -> asyncio.Task[None]:  # type: ignore[override]
        # Tornado makes a task of the coroutine that it expects; looking up how to takes it longer than this.
        task = asyncio.get_running_loop().create_task(self._executed(arguments, named))
        _RUNNING.add(task)  # the event loop knows its tasks by weak references alone
        task.add_done_callback(_RUNNING.discard)
        return task

    async def _executed(self, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        try:
            await super()._execute(*arguments, **named)
        finally:
            if self._opened is not None:
                await self._opened.aclose()

    def _answers_without_body(self, action: Action) -> bool:
        """Whether the client asks for no body, so that it does not matter which ones it accepts."""
        minimal = self.preferences().representation == "minimal"
        return minimal and action.of_one and not action.reads and self.body.answers is None

    def _check_parameters(self, action: Action) -> None:
        """Refuse a parameter of a write that nothing would look at.

        Raises:
            Problem: 400.
        """
        allowed = [*action.parameters, *self.PARAMETERS]
        for name in decode_names(self.request.query_arguments):
            if name not in allowed and not (name == "_xsrf" and self.settings.get("xsrf_cookies")):
                choices = ", ".join(f"`{each}`" for each in allowed) or "none"
                detail = f"This request takes no parameter with that name. Allowed are {choices}."
                raise Problem.of("bad-parameter", detail, parameter=name, allowed=allowed)

    def check_xsrf_cookie(self) -> None:
        """Refuse a write that the page of another site may have sent, once its body has been read.

        What has credentials that no browser sends by itself cannot be such a write: a browser asks for permission
        before it sends such fields to another origin (Fetch §4.8). Basic credentials it sends by itself.
        """
        policy: Policy | None = self.admission.option("policy")
        own = [name for name in (policy.vary if policy else ()) if name not in ("Authorization", "Cookie")]
        if self.fields.get("Authorization", "").lower().startswith("bearer ") or any(map(self.fields.get, own)):
            return
        try:
            super().check_xsrf_cookie()
        except HTTPError:
            self.body.refusal = Problem.of("cross-site-request")

    def allowed_methods(self) -> list[str]:
        """Return the methods that are implemented, without those that the policy lets nobody use."""
        policy: Policy | None = self.admission.option("policy")
        methods = implemented_methods(type(self))
        if policy is None:
            return methods
        default = ACTIONS["retrieve"]
        return [name for name in methods if policy.offers(self._actions.get(name, default).name)]

    @property
    def policy(self) -> Policy:
        """The policy that says who may do what here.

        Raises:
            RuntimeError: there is none; outside of debug mode nothing is served then.
        """
        return self.admission.policy

    async def authorize(self, action: str, document: Model | None = None) -> None:
        """Ask the policy: before anything is read, then for the document.

        Raises:
            Problem: 401, 403 or 404; 404 also for a document of another collection than the address names.
        """
        if document is not None and self.resource.under and not is_under(document, self.resource.under):
            raise Hidden
        await self.policy.authorize(self.principal, action, self.resource.model, document)

    async def get_document(self, key: Any) -> M:
        """Return the document with a key, once the policy has let the caller through to it.

        Args:
            key: the key, as `parse_key` returns it.

        Raises:
            RuntimeError: the request was not admitted before, so that nobody has asked who sends it.
            DocumentNotFound: there is no such document.
            Problem: 401, 403 or 404, as the policy says.
        """
        if not self._admitted:
            raise RuntimeError('call `await self.admit("…")` first, or mount the class with resource(…, actions=…)')
        model: M = await self.asking(self._admitted, self.store.get(self.resource.model, key))
        await self.authorize(self._admitted, model)
        return model

    async def asking(self, action: str, read: Awaitable[T]) -> T:
        """Return what is read of a document; ask the policy before anybody learns that it does not fit its model.

        Args:
            action: what the caller wants to do with the document.
            read: reads it.

        Raises:
            InvalidDocument: it does not fit its model.
            Problem: 401, 403 or 404: it does not, and the caller may not do this.
        """
        try:
            return await read
        except InvalidDocument as error:
            if error.partial is not None:
                with reading_partially(error.partial._unfit):
                    await self.authorize(action, error.partial)
            raise

    def restriction(self) -> tuple[str, Any] | None:
        """Return the property and its stored value that the caller's lists are limited to, if they are limited."""
        return self.policy.restriction(self.principal, self.resource.model)

    # ------------------------------------------------------------ the request

    @property
    def fields(self) -> Mapping[str, str]:
        """The fields of the request's header, by their names as RFC 9110 writes them.

        This is a plain dict, since Tornado's headers take long to say that a field is missing, as many are.
        """
        fields = self._fields
        if fields is None:
            fields = self._fields = {}
            for name, value in self.request.headers.get_all():
                fields[name] = f"{fields[name]},{value}" if name in fields else value
        return fields

    def preconditions(self) -> Preconditions:
        """Return the request's preconditions.

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
        """Return the client's preferences (RFC 7240).

        Raises:
            Problem: 400, with handling=strict, for a preference that is not supported.
        """
        known = (SERVER_TIMING,) if self.settings.get("server_timing") else ()
        return parse_preferences(self.fields.get("Prefer", ""), known)

    async def read_json(self) -> Any:
        """Return the JSON value of the request's body.

        Raises:
            Problem: 413, 415, 400.
        """
        return await self.body.json(self._actions.get(self.request.method or "", _OWN))

    async def read_bytes(self, limit: int | None = None) -> bytes:
        """Return the request's body, whatever its media type, without its content coding.

        Args:
            limit: the largest number of bytes; by default, and at most, that of the resource's `limits`.

        Raises:
            Problem: 413, 415 for a content coding other than gzip, 400 where it is broken.
            ValueError: the limit is larger than that of the resource, which keeps no more.
        """
        most = self.resource.limits.size
        if limit is not None and limit > most:
            raise ValueError(f"read_bytes({limit}): {self.resource.path} keeps {most} bytes; give it other limits=")
        raw = self.body.raw()
        if limit is not None and len(raw) > limit:
            raise too_large(limit)
        return decode(raw, self.request.headers, most if limit is None else limit)

    def validated(self, write: Write, body: Any) -> dict[str, Any]:
        """Return a body that is valid by the model's schema, without the members that a collection adds to its items.

        Raises:
            ValidationFailed: with everything that the schema finds.
        """
        if self.resource.under and isinstance(body, dict):
            body = self._placed(body)
        problems = body_problems(self.resource.model, write, body)
        if problems:
            raise ValidationFailed(problems)
        return {name: value for name, value in body.items() if name not in ("_href", "_etag")}

    def _placed(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return a body for a nested collection with the references that the address fixes.

        Raises:
            ValidationFailed: it has another one.
        """
        detail = "Must be what the address says, or be left out."
        problems = [
            {"pointer": f"/{name}", "keyword": "const", "detail": detail}
            for name, value in self.resource.under.items()
            if not same(body.get(name, value), value)
        ]
        if problems:
            raise ValidationFailed(problems)
        properties = self.resource.info.properties
        return {**body, **{name: each for name, each in self.resource.under.items() if not properties[name].read_only}}

    async def valid(self, write: Write, body: Any) -> dict[str, Any]:
        """Do what `validated` does, for a large body in a thread."""
        return await asyncio.to_thread(self.validated, write, body) if is_large(body) else self.validated(write, body)

    def parse_key(self, text: str) -> Any:
        """Return the key that the URL names.

        Raises:
            Problem: 404 when no document of the model can have it.
        """
        key = self.resource.info.parse_key(text)
        if key is None:
            raise Problem(404, detail="There is no such document.")
        return key

    def cursors(self) -> CursorCodec:
        """Return the codec of this resource's cursors.

        Without a `cursor_key` and a `cookie_secret`, cursors are only good for the life of this process.
        """
        own: bytes | None = self.settings.get("_tornado_couch_cursor_key")
        if own is None:
            own = self.settings.setdefault("_tornado_couch_cursor_key", secrets.token_bytes(32))
        return CursorCodec(self.resource.secret(self.settings, own))

    # ------------------------------------------------------------ what actions use

    @property
    def prefix(self) -> str:
        """What stands before the paths of this application in the addresses that the client uses; often nothing."""
        if self._prefix is None:
            self._prefix = public_prefix(self.request, self.settings)
        return self._prefix

    def href(self, key: Any) -> str:
        """Return the address of the document with this key, as the client uses it."""
        return self.prefix + self.resource.href(key)

    def reverse_url(self, name: str, *args: Any) -> str:
        """Return the address of a route, as the client uses it; `{path}` and `{path}/{key}` name a resource's own."""
        return self.prefix + super().reverse_url(name, *args)

    @property
    def model(self) -> type[M]:
        """The class of the documents."""
        return self.resource.model

    @property
    def store(self) -> Store:
        """The store that the `perform_…` hooks write to; in a request for many, writes to it leave together.

        Raises:
            RuntimeError: it depends on who sends the request, and that is not known before `admit`.
        """
        gathering: Store | None = self._gathering
        if gathering is None and callable(self.resource.store):
            raise RuntimeError("the store depends on who sends the request: await self.admit(…) first")
        return self.resource.store if gathering is None else gathering

    def event(self, action: str) -> Event:
        """Return the event that the hooks are called with."""
        return Event(action, self.resource.model, self.resource.store, self.principal, self.request)

    def show(self, model: M, /) -> dict[str, Any]:
        """Return a model as a client sees it; override this to add what is computed."""
        shown = representation(model)
        for name, declared in self.resource.info.attachments.items():
            if name in shown and declared.many:
                files = shown[name].items()
                shown[name] = {item: self.located(each, model, f"{name}/{item}") for item, each in files}
            elif name in shown:
                shown[name] = self.located(shown[name], model, name)
        return shown

    def located(self, shown: dict[str, Any], model: M, name: str) -> dict[str, Any]:
        """Return what is shown of a file with its address and its entity tag."""
        return {**shown, "_href": self.file_href(model, name), "_etag": entity_tag(shown["digest"])}

    def file_href(self, model: M, name: str) -> str:
        """Return the address of a file of a document, as the client uses it.

        Args:
            model: the document.
            name: that of the property and, after a slash, that of one of many.
        """
        origin = self.resource.files_origin
        path = "/".join(map(quote_segment, name.split("/", 1)))
        return f"{origin}{self.href(model._key)}/{path}{self._state}"

    @property
    def related(self) -> Related:
        """The documents that those of this request refer to."""
        return Related.of(self)

    @property
    def shows_more(self) -> bool:
        """Whether `show`, a hook or `include` can make of one revision something else for each caller, or each time."""
        return not self._shows_itself or self.resource.hooks.has_after or self.include is not None

    async def item(self, model: M, action: str = "list") -> dict[str, Any]:
        """Return a model as an item of a collection."""
        shown = {
            "_href": self.href(model._key),
            "_etag": entity_tag(model._rev or ""),
            **({"_deleted_on": since} if (since := deleted_on(self.resource.info, model._stored)) else {}),
            **self.show(model),
        }
        if self.resource.hooks.has_after:
            await self.resource.hooks.after(self.event(action), model, shown)
        return shown

    # ------------------------------------------------------------ answers outside of actions

    def options(self, *_: str) -> None:
        """Answer with the methods that are allowed here; for a browser, whether a script may use them."""
        allowed = self.allowed_methods()
        self.set_status(204)
        self.set_header("Allow", ", ".join(allowed))
        for method, field in ACCEPT_FIELDS.items():
            if method in allowed and method in self._actions and self._actions[method].takes:
                self.set_header(field, ", ".join(self._actions[method].takes))
        cors = self.admission.option("cors")
        if cors is not None:
            self.admission.add_headers(cors.preflight_headers(self.request.headers, allowed))
        self.finish()

    def compute_etag(self) -> str | None:
        """Return the entity tag of the answer, which Tornado asks for."""
        return self.answers.tag

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Answer with the problem that the exception stands for."""
        send_problem(self, status_code, **kwargs)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Write the problem details; no stack trace, whatever the application's settings."""
        write_problem(self, status_code, **kwargs)

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        """Log what the operator must see; a client's error is not an event of ours."""
        log_problem(self, typ, value, tb)


_METHODS = ("get", "head", "post", "put", "patch", "delete")

# What a body has to be for a method that is no action of the table.
_OWN = Action("own", "POST", takes=(JSON,))


def _of_service(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method of the service's own that finds the body in `self.request.body`, as in any Tornado handler.

    The body is received in parts, so Tornado leaves that attribute empty. Where the body is too large, or was not kept,
    reading the attribute raises an error.
    """

    async def forgetting(self: ResourceHandler, result: Awaitable[Any]) -> Any:
        try:
            return await result
        finally:
            vars(self.request)["body"] = b""  # see `_break_cycles`

    async def admitted(self: ResourceHandler, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        await self.admit(self.QUESTION)
        keys = [self.parse_key(each) if isinstance(each, str) else each for each in arguments]
        result = method(self, *keys, **named)
        if inspect.isawaitable(result):
            await result

    @functools.wraps(method)
    def run(self: ResourceHandler, *arguments: Any, **named: Any) -> Any:
        inner = "refusal" in vars(self.request) or bool(self.request.body)  # one such method calls another
        try:
            self.request.body = self.body.raw()
        except Exception as error:  # noqa: BLE001 - it is raised where the body is read
            vars(self.request)["refusal"] = error
            self.request.__class__ = _Unkept
        if self.QUESTION and not self._admitted:
            result = admitted(self, arguments, named)
        else:
            result = method(self, *arguments, **named)
        return result if result is None or inner else forgetting(self, result)

    run.runs = ""  # type: ignore[attr-defined]  # no action; and not to be wrapped again in a subclass
    return run


class _Unkept(HTTPServerRequest):
    """A request whose body cannot be read any more."""

    refusal: Exception

    @property
    def body(self) -> bytes:  # type: ignore[override]
        """Raise the error that says why."""
        raise self.refusal


def _plain_body(handler: Any) -> Body:
    return Body(handler, handler.resource.limits)


def _method(action: Action) -> Callable[..., Awaitable[None]]:
    """Return the Tornado method that runs an action, with the key in the URL where there is one."""

    async def run(self: ResourceHandler, *arguments: str) -> None:
        await self.admit(action)
        # A write's hook comes later: it is given what is about to be written.
        if action.reads and self.resource.hooks.has_before:
            await self.resource.hooks.before(self.event(action.name))
        room: Room | None = getattr(self.application, "room", None)  # Tornado's own class has none
        if room and self.resource.tenant:
            room = room.part(self.resource.tenant)
        with room.share() if room else nullcontext():
            await getattr(self, action.runs)(*[self.parse_key(text) for text in arguments])

    run.__doc__ = f"Run `{action.runs}`."
    run.runs = action.runs  # type: ignore[attr-defined]  # a bulk request looks at it
    return run
