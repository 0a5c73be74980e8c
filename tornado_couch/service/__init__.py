"""Running a service: configuration, server, workers and their supervisor."""

from __future__ import annotations

from .configuration import Configuration
from .processes import ServeOptions, serve
from .server import Server
from .tenants import Tenants

__all__ = ["Configuration", "ServeOptions", "Server", "Tenants", "serve"]
