"""Pages that a service generates, such as its API document, served behind a policy; and `Recent` results for them."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from ..models import Model
from .access import Policy, Principal
from .admission import Admission
from .bodiless import BodilessHandler
from .http import MalformedEntityTag, Preconditions, accepts, choose_coding, compressed
from .problems import Problem

if TYPE_CHECKING:
    from .openapi.operation import ApiOperation

__all__ = ["Page", "PageHandler", "Recent"]


@dataclass
class Page:
    """Bytes to serve; each content coding is computed once and kept.

    Attributes:
        body: the content, in bytes.
        media_type: the media type of the content.
        headers: further header fields.
        revision: the beginning of the entity tag.
    """

    body: bytes
    media_type: str
    headers: dict[str, str] = field(default_factory=dict)
    revision: str = ""
    _coded: dict[str, bytes | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.revision = self.revision or hashlib.sha256(self.body).hexdigest()[:32]

    async def coded(self, coding: str) -> bytes | None:
        """Return the body in a content coding, or None if coding it is not worth the effort."""
        if coding not in self._coded:
            self._coded[coding] = await compressed(self.body, coding)
        return self._coded[coding]


@dataclass(frozen=True)
class _PageOptions:
    """The options that a page's route can have of its own."""

    policy: Policy | None


class PageHandler(BodilessHandler):
    """GET and HEAD of a page, with policy, entity tag, 304 and content coding.

    Attributes:
        QUESTION: what the policy is asked.
        admission: finds out who sends the request.
    """

    QUESTION: ClassVar[str] = "retrieve"

    admission: Admission = None  # type: ignore[assignment]  # only until `initialize`

    def initialize(self, policy: Policy | None = None, **_: Any) -> None:
        """Store the route's options."""
        self.admission = Admission(self, _PageOptions(policy))
        self.principal: Principal | None = None
        self._tag: str | None = None
        self.admission.set_headers()

    def set_default_headers(self) -> None:
        """Set what every answer has, errors included."""
        if self.admission is not None:  # Tornado asks before there is a route; `initialize` asks again
            self.admission.set_headers()

    @classmethod
    def describe(cls, operation: ApiOperation) -> None:
        """Add to the API document the parameters and answers that all pages share."""
        super().describe(operation)
        operation.takes("If-None-Match", "If-Match")
        operation.answers_with(304, "Not modified: `If-None-Match` names the current entity tag.", None, "ETag")
        operation.problem("malformed-entity-tag", "revision-mismatch")
        operation.fails(406)
        operation.fails(500)

    def compute_etag(self) -> str | None:
        """Return the entity tag of the answer."""
        return self._tag

    async def page(self, *names: str) -> Page:
        """Return the page to serve; the arguments are the parts of the address that the route captures."""
        raise NotImplementedError

    async def get(self, *names: str, **_: str) -> None:
        """Answer with the page."""
        await self.admit()
        page = await self.page(*names)
        if not accepts(self.request.headers.get("Accept", ""), page.media_type.partition(";")[0]):
            raise Problem(406, detail=f"This is only available as {page.media_type}.")
        coding = choose_coding(self.request.headers.get("Accept-Encoding", ""))
        coded = await page.coded(coding)
        self._tag = f'"{page.revision}"' if coded is None else f'"{page.revision};{coding}"'
        self.set_etag_header()
        self.set_header("Cache-Control", "private, no-cache")
        for name, value in page.headers.items():
            self.set_header(name, value)
        if self._unchanged(page):
            self.set_status(304)
            self.finish()
            return
        self.set_header("Content-Type", page.media_type)
        if coded is not None:
            self.set_header("Content-Encoding", coding)
        self.finish(page.body if coded is None else coded)

    head = get

    def options(self, *_: str, **__: str) -> None:
        """Answer with the methods that are allowed here; for a browser, whether a script may use them."""
        allowed = self.allowed_methods()
        self.set_status(204)
        self.set_header("Allow", ", ".join(allowed))
        cors = self.admission.option("cors")
        if cors is not None:
            self.admission.add_headers(cors.preflight_headers(self.request.headers, allowed))
        self.finish()

    async def admit(self) -> None:
        """Let the request through, or raise the 401, 429 or 403 that answers it."""
        self.principal = await self.admission.admitted()
        await self.admission.policy.authorize(self.principal, self.QUESTION, Model, None)

    def _unchanged(self, page: Page) -> bool:
        """Whether the client already has this page.

        Raises:
            Problem: 412, If-Match does not hold; 400, a list of entity tags is malformed.
        """
        try:
            status = Preconditions.from_headers(self.request.headers).evaluate_read(page.revision)
        except MalformedEntityTag as error:
            raise Problem.of("malformed-entity-tag", f"{error}.") from None
        if status == 412:
            raise Problem.of("revision-mismatch", "The revision has changed; GET it again.")
        return status == 304


T = TypeVar("T")


class Recent(Generic[T]):
    """Asks once for all callers that want to know at the same time, and not again for a while.

    Args:
        ask: the function to call; its exceptions are raised to the caller, and are not kept.
        seconds: for how many seconds an answer is reused.
        clock: a monotonic clock in seconds.
    """

    def __init__(
        self, ask: Callable[[], Awaitable[T]], seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ask = ask
        self._seconds = seconds
        self._clock = clock
        self._lock = asyncio.Lock()
        self._known: tuple[T, float] | None = None

    async def __call__(self) -> T:
        """The answer."""
        # A lock and not a shared task: if a caller is cancelled, it releases the lock, and the next one asks.
        async with self._lock:
            if self._known is None or self._clock() >= self._known[1]:
                answer = await self._ask()
                self._known = answer, self._clock() + self._seconds
            return self._known[0]
