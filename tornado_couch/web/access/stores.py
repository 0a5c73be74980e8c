"""`Caller` and `opened`: which store a request is for, where each tenant has one of its own."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from tornado.httputil import HTTPServerRequest

from ...couch import Server
from ...store import Store
from .principals import Principal

__all__ = ["Caller", "StoreOf", "opened", "server_of"]


@dataclass(frozen=True)
class Caller:
    """Somebody who asks for a store, and the request with which they do.

    Attributes:
        principal: who sends the request; None if anonymous.
        request: the HTTP request.
        authenticating: whether the store is wanted to find out who sends the request, so that `principal` is not known
            yet. Nothing must be created then.
    """

    principal: Principal | None
    request: HTTPServerRequest
    authenticating: bool = False


StoreOf = Callable[[Caller], Store | Awaitable[Store] | AbstractAsyncContextManager[Store]]
"""Returns the store that a caller uses: at once, as an awaitable, or for the duration of an `async with`.

It can raise a `Problem`, such as a 404 for a tenant that does not exist.
"""


def server_of(store: StoreOf) -> Server:
    """Return the server that the stores of `Tenants` are on.

    Raises:
        ValueError: it is a plain function, which can return any store.
    """
    server: Server | None = getattr(store, "server", None)
    if server is None:
        raise ValueError("which server the stores are on is not known: pass Tenants(…), or a database")
    return server


@asynccontextmanager
async def opened(store: Store | StoreOf, caller: Caller) -> AsyncIterator[Store]:
    """Open the store of a request for the duration of a block.

    Args:
        store: the store, or the function that returns it.
        caller: who asks for it.

    Raises:
        TypeError: the function returned something else.
    """
    if not callable(store):
        yield store
        return
    found = store(caller)
    if isinstance(found, AbstractAsyncContextManager):
        async with found as held:
            yield held
        return
    found = await found if inspect.isawaitable(found) else found
    if not isinstance(found, Store):
        raise TypeError(f"a function that is given as store= must return a Store, not {type(found).__name__}")
    yield found
