"""Programs that work through a whole database."""

from __future__ import annotations

from .migrate import Migration, MigrationPage
from .policy_report import PolicyRow, policy_json, policy_report, policy_table

__all__ = ["Migration", "MigrationPage", "PolicyRow", "policy_json", "policy_report", "policy_table"]
