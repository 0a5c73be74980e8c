"""What Schemathesis has to be told of our HTTP contract, beyond its API document."""

from __future__ import annotations

import uuid
from typing import Any

import schemathesis
from hypothesis import strategies as st

TAGS = st.sampled_from(["*", '"1-967a00dff5e02add41819138abb3284d"', 'W/"x"', '"a", "b"', '""'])


# Its coverage phase knows no strings for headers but letters and digits, unless a format of our own says so.
schemathesis.openapi.format("entity-tags", TAGS)


@schemathesis.hook
def before_load_schema(context: Any, raw_schema: dict[str, Any]) -> None:
    """Name that format; and leave out streams of lines, whose status says nothing of what became of a line."""
    for methods in raw_schema["paths"].values():
        for operation in methods.values():
            for parameter in operation.get("parameters", ()):
                if parameter["name"] in ("If-Match", "If-None-Match"):
                    parameter["schema"]["format"] = "entity-tags"
            operation.get("requestBody", {}).get("content", {}).pop("application/x-ndjson", None)


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Send what depends on something else as a client would that knows of it.

    An idempotency key is good for one request, for one document. And OpenAPI cannot say that a 201 has no
    body where a header field asks for none.
    """
    if "Idempotency-Key" in (case.headers or {}):
        if isinstance(case.body, dict):
            case.headers["Idempotency-Key"] = uuid.uuid4().hex
        else:
            del case.headers["Idempotency-Key"]
    if case.method in ("POST", "PUT") and case.headers:
        case.headers.pop("Prefer", None)
