"""Operating a service: installation, and what its models promise of their data."""

from __future__ import annotations

from .access import ApplicationUser
from .installer import Installer, install
from .migrate import Migration, MigrationPage
from .plan import Plan, Step
from .policy_report import PolicyRow, policy_json, policy_report, policy_table
from .serving import ServeOptions, serve

__all__ = [
    "ApplicationUser",
    "Installer",
    "Migration",
    "MigrationPage",
    "Plan",
    "PolicyRow",
    "ServeOptions",
    "Step",
    "install",
    "policy_json",
    "policy_report",
    "policy_table",
    "serve",
]
