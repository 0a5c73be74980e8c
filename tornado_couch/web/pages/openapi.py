"""`openapi_routes(…)`: the API document as a resource of the service that it describes."""

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

__all__ = ["DocumentPage", "mounted_info", "openapi_routes"]


class _Made:
    """The document of one application, once somebody has asked for it."""

    def __init__(self, info: ApiInfo) -> None:
        self.info = info
        self.page: Page | None = None


class DocumentPage(PageHandler):
    """GET of the API document."""

    def initialize(self, policy: Policy | None = None, **options: Any) -> None:
        """Take what the route says."""
        super().initialize(policy)
        self._made: _Made = options["made"]

    async def page(self, *_: str) -> Page:
        """The document, made at the first request: by then every route is there."""
        made = self._made
        if made.page is None:
            made.page = await asyncio.to_thread(self._make, made.info)
        return made.page

    def _make(self, info: ApiInfo) -> Page:
        return Page(_json.dumps(openapi_document(self.application, info)), "application/json")


def openapi_routes(
    info: ApiInfo | None = None, *, path: str = "/openapi.json", policy: Policy | None = None
) -> list[URLSpec]:
    """The route of the API document.

        Application([*resource(…), *openapi_routes(ApiInfo("Orchard", "1.0"))], policy=…)

    Args:
        info: of the service.
        path: of the document.
        policy: who may read it; without one the application's.
    """
    return [URLSpec(re.escape(path), DocumentPage, {"made": _Made(info or ApiInfo()), "policy": policy})]


def mounted_info(application: tornado.web.Application) -> ApiInfo | None:
    """What the first API document that is mounted says of the service; None where there is none."""
    found = (route.target["made"].info for route in routes(application) if issubclass(route.handler, DocumentPage))
    return next(found, None)
