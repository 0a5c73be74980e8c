"""HEAD and OPTIONS, as an API document tells of them: they follow from the other methods of an address; pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from .headers import answer_field
from .operation import PROBLEM, ApiOperation
from .problem_kinds import problem_schema

__all__ = ["describe_head", "describe_options", "describe_other_methods"]

_CORS = (
    "Access-Control-Allow-Origin",
    "Access-Control-Allow-Methods",
    "Access-Control-Allow-Headers",
    "Access-Control-Allow-Credentials",
    "Access-Control-Max-Age",
)


def describe_head(operation: ApiOperation) -> None:
    """Make HEAD of an operation that is described as GET."""
    operation.method = "HEAD"
    operation.id = f"head_{operation.id}" if operation.id else None
    operation.says(f"{operation.summary}: the header alone", "As GET, without a body (RFC 9110 §9.3.2).")


def describe_options(
    operation: ApiOperation, methods: Collection[str], bodies: Mapping[str, tuple[str, tuple[str, ...]]]
) -> None:
    """Describe OPTIONS.

    Args:
        operation: what is described.
        methods: the other ones at this address.
        bodies: by method: the field that tells the media types of its body, if one does, and the media types.
    """
    operation.says("Ask what can be done here", "Every method that `Allow` does not name is answered with 405.")
    answer = operation.answers_with(204, "The methods, and the media types of their bodies.", None, "Allow")
    answer.fields |= {field: True for method, (field, _) in bodies.items() if field and method in methods}
    own = getattr(operation.resource, "cors", None)
    if own is not None or operation.settings.get("cors") is not None:
        answer.fields |= dict.fromkeys(_CORS, False)
    operation.fails(400)
    operation.fails(500)


def describe_other_methods(operation: ApiOperation) -> None:
    """Keep the answer to the methods that an address does not have: it is no operation's, so none can refer to it."""
    found: dict[str, Any] = {
        "description": "There is no such method at this address.",
        "headers": {"Allow": answer_field(operation.components, "Allow")},
        "content": {PROBLEM: {"schema": problem_schema(operation.components, 405, "")}},
    }
    operation.components.put("responses", "MethodNotAllowed", found)
