"""`openapi_routes(…)`: serves the API document as a resource of the service that it describes."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import tornado.web
from tornado.routing import URLSpec

from ... import _json
from ..access import Policy
from ..openapi.document import ApiInfo, openapi_document, routes
from ..page import Page, PageHandler
from ..proxies import public_prefix

__all__ = ["DocumentPage", "mounted_info", "openapi_routes"]


_MOST_PAGES = 16  # prefixes for which the document is kept


class _Made:
    """The API document of one application, once somebody has requested it."""

    def __init__(self, info: ApiInfo) -> None:
        self.info = info
        self.pages: dict[str, Page] = {}  # by the prefix of the addresses


class DocumentPage(PageHandler):
    """GET of the API document."""

    def initialize(self, policy: Policy | None = None, **options: Any) -> None:
        """Store the route's options."""
        super().initialize(policy)
        self._made: _Made = options["made"]

    async def page(self, *_: str) -> Page:
        """Return the document, which is built at the first request: by then all routes exist."""
        made, prefix = self._made, public_prefix(self.request, self.settings)
        page = made.pages.get(prefix)
        if page is None:
            while len(made.pages) >= _MOST_PAGES:
                made.pages.pop(next(iter(made.pages)))
            # Without a server of its own, the paths of a document are relative to the root of the host.
            info = made.info if made.info.servers or not prefix else made.info.replaced(servers=(prefix,))
            page = made.pages[prefix] = await asyncio.to_thread(self._make, info)
        return page

    def _make(self, info: ApiInfo) -> Page:
        return Page(_json.dumps(openapi_document(self.application, info)), "application/json")


def openapi_routes(
    info: ApiInfo | None = None, *, path: str = "/openapi.json", policy: Policy | None = None
) -> list[URLSpec]:
    """Return the route of the API document.

        Application([*resource(…), *openapi_routes(ApiInfo("Orchard", "1.0"))], policy=…)

    Args:
        info: the title, version and description of the service.
        path: the path of the document.
        policy: who may read it; by default the application's policy.
    """
    return [URLSpec(re.escape(path), DocumentPage, {"made": _Made(info or ApiInfo()), "policy": policy})]


def mounted_info(application: tornado.web.Application) -> ApiInfo | None:
    """Return what the first mounted API document says about the service; None if none is mounted."""
    found = (route.target["made"].info for route in routes(application) if issubclass(route.handler, DocumentPage))
    return next(found, None)
