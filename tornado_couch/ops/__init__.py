"""Operating a service: installation, and what its models promise of their data."""

from __future__ import annotations

from .installer import install
from .policy_report import PolicyRow, policy_json, policy_report, policy_table

__all__ = ["PolicyRow", "install", "policy_json", "policy_report", "policy_table"]
