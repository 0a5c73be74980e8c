"""Sets up a database: its views, the application's access to it, and seed documents."""

from __future__ import annotations

from .access import ApplicationUser
from .installer import Installer, install
from .plan import Plan, Step

__all__ = ["ApplicationUser", "Installer", "Plan", "Step", "install"]
