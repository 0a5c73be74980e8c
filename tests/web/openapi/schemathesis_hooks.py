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


@schemathesis.serializer("multipart/related")
def write_related(context: Any, value: Any) -> Any:
    """The members of an object as parts, the document first."""
    parts = [b"--XX"]
    for name, each in sorted(value.items()) if isinstance(value, dict) else ():
        content = each if isinstance(each, bytes) else json.dumps(each, default=repr).encode()
        parts += [f"\r\nContent-ID: <{name}>\r\n\r\n".encode("ascii", "replace") + content + b"\r\n--XX"]
    headers = {"Content-Type": "multipart/related; boundary=XX"}
    return {"data": b"".join([*parts, b"--\r\n"]), "headers": {**context.case.headers, **headers}}


@schemathesis.deserializer("multipart/byteranges", "text/*")
def read_bytes(context: Any, response: Any) -> Any:
    """Bytes, of which the schema says nothing."""
    return {}


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
