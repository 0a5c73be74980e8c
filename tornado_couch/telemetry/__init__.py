"""Metrics for Prometheus and traces for OpenTelemetry."""

from __future__ import annotations

__all__: list[str] = []
