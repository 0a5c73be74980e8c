"""`Resource`: what a mounted collection and its documents share; everything a handler needs to know."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import quote

from ..models import Model, ModelInfo, model_info
from ..store import Store
from .hooks import Hooks
from .http import BodyLimits, Deprecation

if TYPE_CHECKING:
    from .access.policies import Policy
    from .access.rate_limit import RateLimit
    from .http.cors import Cors

__all__ = ["Resource"]

M = TypeVar("M", bound=Model)


@dataclass(frozen=True)
class Resource(Generic[M]):
    """A model, mounted at a path.

    Attributes:
        path: of the collection, such as "/v1.0/fruits".
        model: what it holds.
        store: where it is kept.
        require_if_match: a write to a document must name the revision; without If-Match it is 428.
        create_by_put: a PUT to a key that is not there creates the document. The model must let the
            client choose the key, and be `unique` or have no key property.
        page_size: items on a page where the client asks for no number.
        max_page_size: the cap of what it can ask for.
        max_bulk: documents in one array, operations in one bulk request.
        max_filters: how many filters one request can have.
        max_values: how many values they can have, and combinations of values.
        limits: what a request body may be.
        cursor_key: authenticates cursors; without it the application's `cookie_secret` does.
        hooks: the service's own code before and after each action.
        policy: who may do what; without it the application's setting `policy` decides.
        rate_limit: how many requests each principal has; else the application's setting.
        cors: which other origins' scripts may use the resource; else the application's setting.
        deprecation: since when it is deprecated, if it is; every answer says so.
    """

    path: str
    model: type[M]
    store: Store
    require_if_match: bool = False
    create_by_put: bool = False
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

    def __post_init__(self) -> None:
        info = self.info  # raises for a model without a type
        self.store.check(self.model)
        if not self.path.startswith("/") or self.path.endswith("/"):
            raise ValueError(f"path {self.path!r} must begin with a slash and not end with one")
        if self.create_by_put and info.key and not info.unique:
            raise ValueError(
                f"create_by_put: two PUTs at once could create two {info.type.name}s of one key;"
                " declare the model with unique=True"
            )
        if self.policy:
            self.policy.check(self.model)

    @property
    def info(self) -> ModelInfo:
        """What the model's class statement declares."""
        return model_info(self.model)

    def href(self, key: Any) -> str:
        """The path of the document with this key."""
        return f"{self.path}/{quote(self.info.key_text(key), safe='')}"
