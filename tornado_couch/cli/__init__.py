"""The command line: commands to run, set up, maintain and load-test a service, and to manage its keys."""

from __future__ import annotations

__all__: list[str] = []
