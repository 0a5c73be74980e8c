"""Describes HEAD, OPTIONS and the links between operations, which follow from the other methods of an address."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from ...models import model_info
from ..action_table import Action, is_read
from ..body import ACCEPT_FIELDS
from .components import problem_schema
from .headers import answer_field
from .operation import PROBLEM, ApiOperation

__all__ = ["describe_head", "describe_options", "describe_other_methods", "link_operations"]

_CORS = (
    "Access-Control-Allow-Origin",
    "Access-Control-Allow-Methods",
    "Access-Control-Allow-Headers",
    "Access-Control-Allow-Credentials",
    "Access-Control-Max-Age",
)


def describe_head(operation: ApiOperation) -> None:
    """Turn an operation that is described as GET into HEAD."""
    operation.method = "HEAD"
    operation.id = f"head_{operation.id}" if operation.id else None
    operation.says(f"{operation.summary}: headers only", "As GET, without a body (RFC 9110 §9.3.2).")


def describe_options(operation: ApiOperation, methods: Collection[str]) -> None:
    """Describe OPTIONS.

    Args:
        operation: what is described.
        methods: the methods at this address that take a body.
    """
    operation.says("List the allowed methods", "Every method that `Allow` does not name is answered with 405.")
    answer = operation.answers_with(204, "The methods, and the media types of their bodies.", None, "Allow")
    if operation.resource is not None:
        answer.fields |= {field: True for method, field in ACCEPT_FIELDS.items() if method in methods}
    own = getattr(operation.resource, "cors", None)
    if own is not None or operation.settings.get("cors") is not None:
        answer.fields |= dict.fromkeys(_CORS, False)
    operation.fails(400)
    operation.fails(500)


def describe_other_methods(operation: ApiOperation) -> None:
    """Describe the answer to methods that an address does not have; no operation refers to it."""
    found: dict[str, Any] = {
        "description": "This address does not have this method.",
        "headers": {"Allow": answer_field(operation.components, "Allow")},
        "content": {PROBLEM: {"schema": problem_schema(operation.components, 405, "")}},
    }
    operation.components.put("responses", "MethodNotAllowed", found)


def link_operations(operations: Iterable[ApiOperation]) -> None:
    """Link the answers that contain a document to the operations on it.

    A model whose documents are identified by their ids alone has no links: an id is not part of the body, and a
    runtime expression cannot take it out of Location.
    """
    by_resource: dict[int, dict[str, ApiOperation]] = {}
    for each in operations:
        if each.resource is not None and each.method != "HEAD":  # it has the same action as GET
            by_resource.setdefault(id(each.resource), {})[each.action] = each
    for found in by_resource.values():
        _link(found)
        _link_references(found, by_resource.values())


def _link(found: dict[str, ApiOperation]) -> None:
    one = next(iter(found.values()))
    key = model_info(one.resource.model).key
    if key is None:
        return
    for name, each in found.items():
        action = each.row
        for status in (200, 201):
            answer = each.answers.get(status)
            # The 200 of a creation is for many documents, so that a link could not name one.
            if action is not None and answer is not None and (name, status) != ("create", 200):
                answer.links |= _links(found, action, _token(key.name))


def _link_references(found: dict[str, ApiOperation], resources: Iterable[dict[str, ApiOperation]]) -> None:
    """Link answers that contain a document to the documents that it refers to."""
    targets = {each["retrieve"].resource.model: each["retrieve"] for each in resources if "retrieve" in each}
    for name, each in found.items():
        for relation in each.resource.info.relations.values():
            target = targets.get(relation.target)
            simple = not relation.outer and not relation.several and not relation.declared.write_only
            if target is None or target.resource.parents or not target.id or not simple or name not in _SHOWING:
                continue
            for answer in (each.answers[status] for status in (200, 201) if status in each.answers):
                if (name, answer) != ("create", each.answers.get(200)):
                    parameters = {"path.key": f"$response.body#/{_token(relation.member)}"}
                    answer.links[relation.name] = {"operationId": target.id, "parameters": parameters}


_SHOWING = ("retrieve", "create", "replace", "patch")  # the actions whose answers are one document


def _token(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _links(found: dict[str, ApiOperation], action: Action, key: str) -> dict[str, dict[str, Any]]:
    """Link an answer to the actions that can follow; those that write need the entity tag of what they change."""
    if action.name == "list":  # its entity tag is the page's
        expression, tagged = f"$response.body#/items/0/{key}", False
    elif action.reads:
        expression, tagged = "$request.path.key", True
    else:
        expression, tagged = f"$response.body#/{key}", True
    links: dict[str, dict[str, Any]] = {}
    for name in action.follow:
        if name in found:
            links |= _link_to(found[name], expression, tagged=tagged and not is_read(name))
    return links


def _link_to(target: ApiOperation, key: str, *, tagged: bool) -> dict[str, dict[str, Any]]:
    if not target.id:
        return {}
    parameters = {"path.key": key}
    parameters |= {f"path.{each.member}": f"$request.path.{each.member}" for each in target.resource.parents}
    if tagged:
        parameters["header.If-Match"] = "$response.header.ETag"
    return {target.id: {"operationId": target.id, "parameters": parameters}}
