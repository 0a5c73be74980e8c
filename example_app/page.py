"""The page at `/`: static files, under a policy that lets them load nothing from anywhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tornado.web import StaticFileHandler

__all__ = ["page_routes"]

_FOLDER = Path(__file__).parent / "static"

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self';"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class PageHandler(StaticFileHandler):
    """A file of the page."""

    def set_default_headers(self) -> None:
        """Restrict the page to running its own scripts and calling its own service."""
        self.set_header("Content-Security-Policy", _POLICY)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "no-referrer")

    def set_extra_headers(self, path: str) -> None:  # noqa: ARG002 - Tornado's
        """Make browsers revalidate at each load; the entity tag makes that cheap."""
        self.set_header("Cache-Control", "no-cache")


def page_routes() -> list[Any]:
    """Return the routes of the page and its files."""
    return [
        (r"/()", PageHandler, {"path": _FOLDER, "default_filename": "index.html"}),
        (r"/static/(.*)", PageHandler, {"path": _FOLDER}),
    ]
