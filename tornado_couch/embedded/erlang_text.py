"""Formats values as CouchDB's error messages show them: Erlang's `~w` and `~p` forms of JSON values."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

__all__ = ["bytes_form", "text_form"]


def bytes_form(value: Any) -> str:
    """Format like `~w`: text as its bytes, such as `<<120>>`."""
    return _form(value, lambda text: f"<<{','.join(map(str, text.encode('utf-8', 'surrogatepass')))}>>")


def text_form(value: Any) -> str:
    """Format like `~p`: text in quotes, such as `<<"x">>`."""
    return _form(value, lambda text: f"<<{json.dumps(text, ensure_ascii=False)}>>")


def _form(value: Any, text: Callable[[str], str]) -> str:
    if isinstance(value, str):
        return text(value)
    if isinstance(value, list):
        return "[" + ",".join(_form(item, text) for item in value) + "]"
    if isinstance(value, dict):
        members = (f"{{{text(name)},{_form(item, text)}}}" for name, item in value.items())
        return "{[" + ",".join(members) + "]}"
    return json.dumps(value)
