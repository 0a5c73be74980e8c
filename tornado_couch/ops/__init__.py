"""Operating a service: installation."""

from __future__ import annotations

from .installer import install

__all__ = ["install"]
