"""`Resource`: everything that the handlers of a mounted model need to know, with the hooks of the service."""

from __future__ import annotations

import copy
import hmac
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, Self

from tornado.httputil import HTTPServerRequest
from tornado.routing import Rule, RuleRouter
from typing_extensions import TypeVar

from ..couch.names import quote_segment
from ..errors import NoIndex
from ..models import Model, ModelInfo, Relation, model_info, referring
from ..store import Query, Store, Upload, plan
from .access import Principal
from .action_table import is_read
from .http import BodyLimits, Deprecation
from .names import check_names, taken_names

if TYPE_CHECKING:
    from .access.policies import Policy
    from .access.rate_limit import RateLimit
    from .http.cors import Cors

__all__ = ["Event", "EventFile", "Hooks", "Resource", "mounted_resources", "rules"]


@dataclass(frozen=True)
class EventFile:
    """The file that an action is about.

    Attributes:
        name: the name of its property, and after a slash its own where the property has many: "photos/front.png".
        content_type: its media type, as the client declares it.
        length: its length in bytes.
        sha256: the SHA-256 of its bytes; None where another program has stored it.
        upload: what has arrived, if the action stores it.
    """

    name: str
    content_type: str
    length: int
    sha256: bytes | None
    upload: Upload | None = None

    def chunks(self) -> AsyncIterator[bytes]:
        """Return the bytes that have arrived, in parts; as often as they are asked for.

        Raises:
            ValueError: the action stores no file.
        """
        if self.upload is None:
            raise ValueError(f"nothing has arrived for {self.name!r}: this action stores no file")
        return self.upload.chunks()


@dataclass(frozen=True)
class Event:
    """An action on a document or a collection.

    Attributes:
        action: "list", "retrieve", "reduce", "versions", "conflicts", "create", "replace", "patch", "destroy" or
          "resolve"; "restore" before a PUT that brings back a deleted document; "retrieve_file", "list_files",
          "replace_file", "add_file" or "destroy_file", of the files of a document. In a bulk request, the action of
          one item. An action of the service has its own name here.
        model: the class of the documents.
        store: the store that keeps them.
        principal: who sends the request; None if anonymous.
        request: the HTTP request.
        file: the file, for "replace_file", "add_file" and "destroy_file".
    """

    action: str
    model: type[Model]
    store: Store
    principal: Principal | None
    request: HTTPServerRequest
    file: EventFile | None = None

    @property
    def writes(self) -> bool:
        """Whether the action writes something, or deletes it."""
        return not is_read(self.action)


class Hooks:
    """Override the methods that you need, and mount the resource with `hooks=`.

    An exception that a hook raises ends the action; a `Problem` becomes the answer as it is.

    Attributes:
        has_before: whether `before` is overridden; if not, it is never called.
        has_after: whether `after` is overridden; if not, it is never called.
    """

    has_before = False
    has_after = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.has_before = cls.before is not Hooks.before
        cls.has_after = cls.after is not Hooks.after

    async def before(self, event: Event, model: Any = None, current: Any = None) -> Model | None:  # noqa: ARG002
        """Run before the action; change the model in place, or return another one to replace it.

        A write calls this again at each try, since after a conflict it is a different write.

        Args:
            event: the action that is about to happen.
            model: the document that is about to be written; None if nothing is written.
            current: the stored document, for "replace", "patch", "destroy" and the writes of files; the winning leaf,
                for "resolve"; the deleted one, for "restore".
        """
        return None

    async def after(self, event: Event, model: Any, shown: dict[str, Any] | None) -> None:
        """Run after the action, for each document of the answer.

        Args:
            event: the action that has happened.
            model: the document as it is now; for "destroy", as it was.
            shown: what the client will see; add members or remove them. For a file, that is what describes it. None
                if the answer has no document.
        """


_PART = re.compile(r"\{(\w+)\}")
_ORIGIN = re.compile(r"https?://[^/?#@\s]+")

M = TypeVar("M", bound=Model, default=Any)  # handlers whose model nobody names take any


@dataclass(frozen=True)
class Resource(Generic[M]):
    """A model that is mounted at a path.

    Attributes:
        path: the path of the collection, such as "/v1.0/fruits". Segments in braces stand for any text, as in
          "/customers/{customer_id}/orders"; the resource of a handler has the path of the request. A segment that is
          called like a reference of the model makes it a nested collection.
        model: the class of its documents.
        store: the store that keeps them, or `Tenants`, or another function that returns the store for a `Caller`. The
          resource of a handler has the store itself, once the request has been admitted.
        require_if_match: whether a write to a document must name the revision; without If-Match it gets a 428.
        create_by_put: whether a PUT to an unused key creates the document. The model must let the
          client choose the key, and be `unique` or have no key property. In the latter case a client can choose ids
          that begin with the name of the type and a colon, such as "note:shopping".
        plain_ids: whether a PUT can create a document under any id, for a model without a key property. This opens
          the ids of all other documents in the database to clients: those that are not taken yet, such as the next
          version of a document, or an account, can be taken by a PUT, and are then missing where they belong. Only
          say so for a database that holds nothing else.
        page_size: the number of items on a page if the client does not ask for a number.
        max_page_size: the largest number of items that a client can ask for.
        max_bulk: the largest number of documents in an array, or of operations in a bulk request.
        max_filters: the largest number of filters in one request.
        max_values: the largest number of values that they can have, and of combinations of values.
        limits: the limits of a request body.
        cursor_key: the key that authenticates cursors; by default the application's `cookie_secret`.
        hooks: the service's own code before and after each action.
        policy: who may do what; by default the application's setting `policy`.
        rate_limit: how many requests each principal may send; by default the application's setting.
        cors: which other origins' scripts may use the resource; by default the application's setting.
        deprecation: when the resource was deprecated, if it was; every answer then says so.
        files_origin: another origin that leads to this service, such as "https://files.example.net", for the addresses
          of files: what a client has uploaded is then shown in a browser's window only there, where no script of it
          could reach the pages and cookies of this one.
        collection: the handler class of the collection, whose steps a PUT that creates a document goes through as well.
        document: the handler class of a document, whose steps a change of many documents goes through as well.
        given: within a request, the segments of its path that stand for those in braces, by their names.
        under: for a nested collection, within a request, the references that the address fixes: the stored values, by
          the properties' names in JSON.
        actions: the service's own actions, by their names.
        tenant: the name of the database, in a request to one of several; otherwise empty.
    """

    path: str
    model: type[M]
    store: Store
    require_if_match: bool = False
    create_by_put: bool = False
    plain_ids: bool = False
    page_size: int = 50
    max_page_size: int = 1000
    max_bulk: int = 1000
    max_filters: int = 8
    max_values: int = 50
    limits: BodyLimits = field(default_factory=BodyLimits)
    cursor_key: bytes | None = None
    hooks: Hooks = field(default_factory=Hooks)
    policy: Policy | None = None
    rate_limit: RateLimit | None = None
    cors: Cors | None = None
    deprecation: Deprecation | None = None
    files_origin: str = ""
    collection: type[Any] | None = None
    document: type[Any] | None = None
    given: Mapping[str, str] = field(default_factory=dict, init=False)
    under: Mapping[str, Any] = field(default_factory=dict, init=False)
    actions: Mapping[str, Any] = field(default_factory=dict)
    tenant: str = field(default="", init=False)

    def __post_init__(self) -> None:
        info = self.info  # raises for a model without a type
        if check := getattr(self.store, "check", None):  # a plain function has none
            check(self.model)
        if not self.path.startswith("/") or self.path.endswith("/"):
            raise ValueError(f"path {self.path!r} must begin with a slash and not end with one")
        if self.create_by_put and info.key and not info.unique:
            raise ValueError(
                f"create_by_put: two PUTs at once could create two {info.type.name}s with the same key;"
                " declare the model with unique=True"
            )
        if self.plain_ids and (info.key or not self.create_by_put):
            raise ValueError("plain_ids: only for a model without a key, with create_by_put=True")
        if self.policy:
            self.policy.check(self.model)
        if self.files_origin and _ORIGIN.fullmatch(self.files_origin) is None:
            raise ValueError(f'files_origin {self.files_origin!r} must be such as "https://files.example.net"')
        check_names(self.path, info.reductions, self.actions, info.attachments)
        self._check_parents()

    def _check_parents(self) -> None:
        """Refuse a path with a parameter that means nothing, and a nested collection without an index to list it by.

        Raises:
            ValueError: saying what to declare.
        """
        known = [each.member for each in self.parents]
        for name in self.parts if not callable(self.store) else ():  # what chooses the store may look at others
            if name not in known:
                raise ValueError(
                    f"path {self.path!r}: `{name}` is no reference of {self.model.__name__}; declare"
                    f" `{name}: Annotated[str, Reference(…), Indexed()]`"
                )
        try:
            plan(self.model, Query({name: ["x"] for name in known}))
        except NoIndex as error:
            needed = f"; declare {error.declaration}" if error.declaration else ""
            raise ValueError(f"{self.path}: {self.model.__name__} has no index to list it by{needed}") from None

    @cached_property
    def has_relations(self) -> bool:
        """Whether its documents refer to others, or others to them."""
        return bool(self.info.relations or referring(self.model))

    @cached_property
    def parents(self) -> tuple[Relation, ...]:
        """The references to the documents that a nested collection is under, in the order of the path."""
        found = {each.member: each for each in self.info.relations.values() if not each.outer and not each.several}
        return tuple(found[name] for name in self.parts if name in found)

    def bound_to(self, document: Model, given: Mapping[str, str]) -> Self:
        """Return the collection that a document belongs to, with the path that it has for a request.

        Args:
            document: the document.
            given: segments of the request's own path, by the names that its resource has for them.
        """
        if not self.parts:
            return self
        held = {each.member: getattr(document, each.declared.attribute, None) for each in self.parents}
        texts = {name: str(self.info.stored_value(name, value)) for name, value in held.items()}
        return self.at([texts.get(name) or given.get(name) or name for name in self.parts])

    @property
    def info(self) -> ModelInfo:
        """The metadata that the model's class statement declares."""
        return model_info(self.model)

    @cached_property
    def taken(self) -> frozenset[str]:
        """The names below the collection, which no new document can have as its key."""
        return taken_names(self.info.reductions, self.actions)

    @cached_property
    def modified(self) -> str | None:
        """The attribute of the model that says when a document was last changed; None if it has none."""
        stamps = (each.attribute for each in self.info.properties.values() if each.stamp and not each.stamp.once)
        return next(stamps, None)

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """The names of the segments of the path that are in braces."""
        return tuple(_PART.findall(self.path))

    def at(self, segments: Sequence[str]) -> Self:
        """Return this resource for a request, with these segments in the place of those in braces."""
        given = iter(segments)
        found = copy.copy(self)
        named = dict(zip(self.parts, segments, strict=True))
        under = {each.member: self._value(each.member, named[each.member]) for each in self.parents}
        path = _PART.sub(lambda _: quote_segment(next(given)), self.path)
        vars(found).update(path=path, parts=(), parents=self.parents, given=named, under=under)
        return found

    def _value(self, name: str, text: str) -> Any:
        """The stored value of a property that a segment stands for; the text itself where it stands for none."""
        try:
            found = self.info.stored_value(name, self.info.parse_value(name, text))
        except ValueError:
            return text
        return found if str(found) == text else text  # "007" must not be a second name of 7

    def within(self, store: Store) -> Self:
        """Return this resource for a request to one tenant, whose store this is."""
        found = copy.copy(self)
        vars(found).update(store=store, tenant=store.database.name)
        return found

    def secret(self, settings: Mapping[str, Any], default: bytes = b"") -> bytes:
        """Return the secret that authenticates cursors and hides idempotency keys; each tenant has another one.

        Args:
            settings: the application's, with `cookie_secret`.
            default: the secret where none is set.
        """
        secret = self.cursor_key or settings.get("cookie_secret") or default
        if isinstance(secret, dict):  # Tornado's form for key rotation: version -> secret
            secret = secret[settings.get("key_version", max(secret))]
        found = secret.encode() if isinstance(secret, str) else bytes(secret)
        if self.tenant:
            return hmac.digest(found, b"tornado_couch tenant\0" + self.tenant.encode(), "sha256")
        return found

    def href(self, key: Any) -> str:
        """Return the path of the document with this key."""
        text = self.info.key_text(key)
        if text in self.taken:  # a document from before the name was taken: `%5Fbulk` is no route of its own
            return f"{self.path}/%{ord(text[0]):02X}{quote_segment(text[1:])}"
        return f"{self.path}/{quote_segment(text)}"


def mounted_resources(router: RuleRouter) -> list[Resource[Any]]:
    """Return all resources that a router leads to, each once, in the order of their routes."""
    found = {id(each): each for rule in rules(router) for each in [(rule.target_kwargs or {}).get("resource")]}
    return [each for each in found.values() if isinstance(each, Resource)]


def rules(*routers: RuleRouter) -> Iterator[Rule]:
    """Yield the rules of routers, and of the routers that they lead to."""
    for router in routers:
        for rule in router.rules:
            if isinstance(rule.target, RuleRouter):
                yield from rules(rule.target)
            else:
                yield rule
