"""`docs_routes(…)`: a page for reading and trying the API document: Swagger UI, served by this service alone.

The page loads nothing from elsewhere. Its Content-Security-Policy forbids it to load or send anything from or to
other origins, and to run scripts that are not files of this service.
"""

from __future__ import annotations

import asyncio
import html
import posixpath
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tornado.routing import URLSpec

from ..access import Policy
from ..page import Page, PageHandler
from ..problems import Problem

__all__ = ["CONTENT_SECURITY_POLICY", "DocsPage", "docs_routes", "viewer_folder"]

# Swagger UI needs neither `unsafe-inline` nor `unsafe-eval`. Its style sheet embeds images as `data:` URLs.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

_INDEX = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="stylesheet" href="{base}/swagger-ui.css">
<link rel="stylesheet" href="{base}/page.css">
<link rel="icon" href="{base}/favicon-32x32.png">
<script src="{base}/swagger-ui-bundle.js"></script>
<script src="{base}/start.js"></script>
</head>
<body>
<header>
{back}
<label><input type="checkbox" id="all-methods" autocomplete="off"> Show HEAD and OPTIONS</label>
</header>
<noscript>This page needs JavaScript; the API document is at <a href="{document}">{document}</a>.</noscript>
<div id="docs" data-document="{document}"></div>
</body>
</html>
"""

# All files that exist, by name: no part of an address becomes part of a path.
_FILES = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "favicon-32x32.png": "image/png",
    "page.css": "text/css; charset=utf-8",
    "start.js": "text/javascript; charset=utf-8",
}

# The files that are ours; the others come with Swagger UI.
_OWN = {"page.css": "docs.css", "start.js": "docs.js"}

# Packages that contain npm's `swagger-ui-dist`, and its folder in them. None of them is imported.
_CARRIERS = (
    ("flask_swagger_ui", "dist"),
    ("drf_spectacular_sidecar", "static/drf_spectacular_sidecar/swagger-ui-dist"),
    ("swagger_ui", "static"),
)


def viewer_folder() -> Path:
    """Return the folder of Swagger UI's files, from whichever installed package contains them.

    Raises:
        ImportError: no package contains them; the message says what to install.
    """
    for name, inner in _CARRIERS:
        spec = find_spec(name)
        for place in (spec.submodule_search_locations or ()) if spec else ():
            folder = Path(place, inner)
            if (folder / "swagger-ui-bundle.js").is_file():
                return folder
    raise ImportError(
        "the docs page needs Swagger UI's files: pip install 'tornado-couch[viewer]',"
        " or pass the folder of npm's swagger-ui-dist: docs_routes(assets=…)"
    )


class _Viewer:
    """The files of one docs page, each read when it is first requested."""

    def __init__(self, index: str, folder: Path) -> None:
        self._folder = folder
        self._pages = {"": Page(index.encode(), "text/html; charset=utf-8", dict(_HEADERS))}

    async def page(self, name: str) -> Page | None:
        """Return a file by its name, the page itself for an empty name; None if the file does not exist."""
        if name not in self._pages and name in _FILES:
            body = await asyncio.to_thread(self._path(name).read_bytes)
            self._pages[name] = Page(body, _FILES[name], dict(_HEADERS))
        return self._pages.get(name)

    def _path(self, name: str) -> Path:
        return Path(__file__).with_name(_OWN[name]) if name in _OWN else self._folder / name


class DocsPage(PageHandler):
    """GET of the docs page and of its files."""

    def initialize(self, policy: Policy | None = None, **options: Any) -> None:
        """Store the route's options."""
        super().initialize(policy)
        self._viewer: _Viewer = options["viewer"]

    async def page(self, *names: str) -> Page:
        """Return the page, or one of its files."""
        found = await self._viewer.page("".join(names))
        if found is None:
            raise Problem(404, detail="There is nothing at this address.")
        return found


def docs_routes(
    *,
    path: str = "/docs",
    document: str = "/openapi.json",
    title: str = "API",
    home: str | None = None,
    policy: Policy | None = None,
    assets: Path | str | None = None,
) -> list[URLSpec]:
    """Return the routes of the docs page.

        Application([*resource(…), *openapi_routes(…), *docs_routes()], policy=…)

    Args:
        path: the path of the page; its files are below it.
        document: the path of the API document on this service.
        title: the title of the page.
        home: the path on this service of the page that this one links back to; by default there is no link.
        policy: who may see it; by default the application's policy. A browser opens a page with Basic credentials or a
          cookie, never with a bearer token: pass AllowAny() for those. The page reveals nothing; the document does.
        assets: a folder with the files of npm's `swagger-ui-dist`; by default the one in an installed package.

    Raises:
        ImportError: no package with those files is installed, and no folder is named.
    """
    folder = viewer_folder() if assets is None else Path(assets)
    parent, base = posixpath.split(path)
    # Relative, so that it works behind a proxy that puts the service below another path.
    relative = posixpath.relpath(document, parent)
    name = html.escape(title)
    back = "" if home is None else f'<a href="{html.escape(posixpath.relpath(home, parent))}">← {name}</a>'
    index = _INDEX.format(title=name, back=back, base=html.escape(base), document=html.escape(relative))
    options = {"viewer": _Viewer(index, folder), "policy": policy}
    return [
        URLSpec(re.escape(path), DocsPage, options),
        URLSpec(f"{re.escape(path)}/([^/]+)", DocsPage, options),
    ]
