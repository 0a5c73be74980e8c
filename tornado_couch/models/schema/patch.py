"""Merge patch (RFC 7396) and JSON patch (RFC 6902) on JSON values; pure."""

from __future__ import annotations

from typing import Any

import jsonpatch
import jsonpointer

from ... import _json
from ...errors import PatchTestFailed, ValidationFailed
from ..pointers import json_pointer

__all__ = ["json_patch", "merge_patch"]

_MOST_OPERATIONS = 1000
# `copy` can double a document with each operation, so there is a limit for the JSON text that all of them copy.
_COPIED_BYTES = 1024 * 1024


def merge_patch(target: Any, patch: Any) -> Any:
    """What a merge patch makes of `target`, which is left as it is (RFC 7396 §2)."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge_patch(result.get(name), value)
    return result


def json_patch(target: Any, operations: Any) -> Any:
    """What a JSON patch makes of `target`, which is left as it is. All operations apply, or none.

    Raises:
        PatchTestFailed: a `test` does not hold.
        ValidationFailed: the patch is malformed, or a pointer leads nowhere; the problem's pointer
            leads to the operation.
    """
    if not isinstance(operations, list):
        raise ValidationFailed([_problem((), "type", "A JSON patch is an array of operations (RFC 6902 §3).")])
    if len(operations) > _MOST_OPERATIONS:
        raise ValidationFailed(
            [_problem((), "maxItems", f"A patch must not have more than {_MOST_OPERATIONS} operations.")]
        )
    budget = _COPIED_BYTES
    target = _copied(target)  # once: each operation then works in place
    for place, operation in enumerate(operations):
        try:
            patch = jsonpatch.JsonPatch([_copied(operation)])
            if operation["op"] == "copy":
                budget -= len(_json.dumps(jsonpointer.resolve_pointer(target, operation["from"])))
                if budget < 0:
                    raise ValidationFailed([_problem((place,), "size", "The patch copies too much.")])
            target = patch.apply(target, in_place=True)
        except jsonpatch.JsonPatchTestFailed:
            raise PatchTestFailed(f"operation {place}, `test`, does not hold for the latest document") from None
        except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, KeyError, TypeError) as error:
            raise ValidationFailed([_problem((place,), "patch", _sentence(operation, error))]) from None
        except (RecursionError, ValueError):  # which `copy` and `test` meet where the others have nested deeply
            problem = _problem((place,), "depth", "The patched document is nested too deeply.")
            raise ValidationFailed([problem]) from None
    return target


def _copied(value: Any) -> Any:
    """A copy of a JSON value, so that what an operation changes is nobody else's."""
    if isinstance(value, dict):
        return {name: _copied(each) for name, each in value.items()}
    return [_copied(each) for each in value] if isinstance(value, list) else value


def _sentence(operation: Any, error: Exception) -> str:
    """What is wrong with an operation, without the values that the library's message may repeat."""
    if not isinstance(operation, dict) or isinstance(error, jsonpatch.InvalidJsonPatch):
        return "This is not an operation of JSON patch (RFC 6902 §4)."
    return "A pointer of this operation leads nowhere in the latest document."


def _problem(path: tuple[object, ...], keyword: str, detail: str) -> dict[str, str]:
    return {"pointer": json_pointer(path), "keyword": keyword, "detail": detail}
