"""Links between operations (OpenAPI 3.1 §4.8.20): what can be done with the document that an answer is about; pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...models import model_info
from .operation import ApiOperation

__all__ = ["link_operations"]

_TO = ("retrieve", "replace", "patch", "destroy", "conflicts")
_READS = ("retrieve", "conflicts")


def link_operations(operations: Iterable[ApiOperation]) -> None:
    """Link the answers that hold a document to what can be done with it.

    A model whose documents are named by their ids alone has no links: an id is not part of the body, and
    no runtime expression takes it out of Location.
    """
    by_resource: dict[int, dict[str, ApiOperation]] = {}
    for each in operations:
        if each.resource is not None and each.method != "HEAD":  # whose action is that of GET
            by_resource.setdefault(id(each.resource), {})[each.action] = each
    for found in by_resource.values():
        _link(found)


def _link(found: dict[str, ApiOperation]) -> None:
    one = next(iter(found.values()))
    key = model_info(one.resource.model).key
    if key is None:
        return
    for action, each in found.items():
        for status in (200, 201):
            answer = each.answers.get(status)
            # The 200 of a creation is for many: there is no one document to go on with.
            if answer is None or (action == "create" and status == 200):
                continue
            if action in ("create", "replace", "patch"):
                answer.links |= _links(found, f"$response.body#/{_token(key.name)}", tagged=True)
            elif action == "retrieve":
                answer.links |= _links(found, "$request.path.key", tagged=True)
            elif action == "list":
                answer.links |= _links(found, f"$response.body#/items/0/{_token(key.name)}", tagged=False)
            elif action == "conflicts" and "resolve" in found:
                # Its entity tag stands for all leaves, so it is good for nothing else.
                answer.links |= _link_to(found["resolve"], "$request.path.key", tagged=True)


def _token(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _links(found: dict[str, ApiOperation], key: str, *, tagged: bool) -> dict[str, dict[str, Any]]:
    links: dict[str, dict[str, Any]] = {}
    for action in _TO:
        target = found.get(action)
        if target is not None:
            links |= _link_to(target, key, tagged=tagged and action not in _READS)
    return links


def _link_to(target: ApiOperation, key: str, *, tagged: bool) -> dict[str, dict[str, Any]]:
    if not target.id:
        return {}
    parameters = {"path.key": key}
    if tagged:
        parameters["header.If-Match"] = "$response.header.ETag"
    return {target.id: {"operationId": target.id, "parameters": parameters}}
