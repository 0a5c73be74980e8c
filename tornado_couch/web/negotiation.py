"""Content negotiation: does an Accept field take JSON? (RFC 9110 §12.5.1); pure."""

from __future__ import annotations

__all__ = ["accepts_json"]

_SPECIFICITY = {"*/*": 0, "application/*": 1, "application/json": 2}


def accepts_json(accept: str) -> bool:
    """Whether an Accept field takes `application/json`.

    The most specific range that covers it decides, and a weight of 0 excludes it. An empty field
    excludes nothing.
    """
    weights: dict[int, float] = {}
    for part in accept.split(","):
        media_range, *parameters = [piece.strip().lower() for piece in part.split(";")]
        if media_range in _SPECIFICITY:
            specificity = _SPECIFICITY[media_range]
            weights[specificity] = max(weights.get(specificity, 0.0), _weight(parameters))
    return weights[max(weights)] > 0 if weights else not accept.strip()


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 1.0
    return 1.0
