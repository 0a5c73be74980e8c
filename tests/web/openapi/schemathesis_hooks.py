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
def write_related(context: Any, value: Any) -> bytes:
    """The members of an object as parts, and those of arrays."""
    found = b"--XX"
    for name, each in sorted(value.items()) if isinstance(value, dict) else ():
        for one in each if isinstance(each, list) else [each]:
            content = one if isinstance(one, bytes) else json.dumps(one, default=repr).encode()
            head = f"\r\nContent-ID: <{name}>\r\n\r\n".encode("ascii", "replace")
            found += head + content + b"\r\n--XX"
    return found + b"--\r\n"


@schemathesis.serializer("audio/*", "video/*", "image/*")
def write_file(context: Any, value: Any) -> bytes:
    """Bytes, which are nothing of that kind."""
    return value if isinstance(value, bytes) else repr(value).encode()


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
    """Use an idempotency key once, and for one document: with another body it is 422, by the draft that has it.

    And say what separates the parts of a body, which no API document can.
    """
    if case.media_type == "multipart/related":
        case.headers = {**(case.headers or {}), "Content-Type": "multipart/related; boundary=XX"}
    if "Idempotency-Key" in (case.headers or {}):
        if isinstance(case.body, dict):
            case.headers["Idempotency-Key"] = uuid.uuid4().hex
        else:
            del case.headers["Idempotency-Key"]
