"""Running a service: configuration, server, workers and their supervisor."""

from __future__ import annotations

from .configuration import Configuration
from .processes import ServeOptions, serve
from .tenants import Tenants

__all__ = ["Configuration", "ServeOptions", "Tenants", "serve"]
