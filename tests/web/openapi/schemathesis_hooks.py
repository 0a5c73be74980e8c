"""What Schemathesis cannot be told in its configuration: how lines of JSON are written, and what keys are good for."""

from __future__ import annotations

import json
import uuid
from typing import Any

import schemathesis

NDJSON = "application/x-ndjson"


@schemathesis.serializer(NDJSON)
def write_lines(context: Any, value: Any) -> bytes:
    """An array as lines; of what is none there is not one line."""
    return b"".join(json.dumps(each).encode() + b"\n" for each in (value if isinstance(value, list) else ()))


@schemathesis.deserializer(NDJSON)
def read_lines(context: Any, response: Any) -> list[Any]:
    """The array that the schema of lines describes."""
    return [json.loads(line) for line in response.content.splitlines()]


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Use an idempotency key once, and for one document: with another body it is 422, by the draft that has it."""
    if "Idempotency-Key" in (case.headers or {}):
        if isinstance(case.body, dict):
            case.headers["Idempotency-Key"] = uuid.uuid4().hex
        else:
            del case.headers["Idempotency-Key"]
