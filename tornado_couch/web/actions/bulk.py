"""`POST {path}/_bulk`: create, replace and delete in one request, each with its own precondition.

    {"operations": [
        {"action": "create", "document": {"color": "red"}},
        {"action": "replace", "key": "7f3a…", "document": {"color": "green"}, "if_match": "\\"3-917f…\\""},
        {"action": "delete", "key": "8b1c…", "if_match": "\\"1-23aa…\\""}
    ]}

`key` is the document's key as in its URL, but unquoted; `if_match` has the value of an If-Match field. The answer
is 200 with a result for each operation, in order, whose `status` is that of the single request: see
`Results`. Only a request that cannot be understood is refused as a whole (400, 413, 422), and then nothing is
done. Operations on one document are carried out in the order given, each on the result of the one before.
"""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote

from ... import _json
from ...errors import ValidationFailed
from ...models import Model
from ...store import Pace
from ..handler import ResourceHandler
from ..http import MalformedEntityTag, Preconditions, parse_entity_tags
from ..openapi.components import Schema
from ..openapi.descriptions import describe_body, or_refused
from ..openapi.operation import ApiOperation
from ..problems import Problem
from ..resources import Resource
from .create import CreateMixin
from .documents import DestroyMixin, ReplaceMixin
from .gathering import Gathering, at_once, attempted
from .idempotency import refuse_key
from .results import Results, results_schema

__all__ = ["BulkHandler"]

_ACTIONS = {"create": "create", "replace": "replace", "delete": "destroy"}  # as the policy and the hooks call them
_STATUS = {"create": 201, "replace": 200, "delete": 204}
_NEEDED = {"create": {"document"}, "replace": {"key", "document"}, "delete": {"key"}}
_MEMBERS = {"create": {"document"}, "replace": {"key", "document", "if_match"}, "delete": {"key", "if_match"}}
_RUN_BY: dict[str, tuple[str, type[ResourceHandler], str]] = {
    "create": ("post", CreateMixin, "create"),
    "replace": ("put", ReplaceMixin, "replace"),
    "delete": ("delete", DestroyMixin, "destroy"),
}


@dataclass
class _Item:
    """One operation, on its way."""

    index: int
    asked: dict[str, Any]
    handler: Any = None
    key: Any = None
    run: Callable[[], Awaitable[Any]] | None = None
    outcome: Any = None
    created: bool = False


class BulkHandler(ResourceHandler):
    """The address that takes bulk requests.

    Each operation runs in a handler of the mounted collection or document class and calls its `perform_…` hook, so
    that what a service overrides there holds here as well. An operation is offered where the class runs it by the
    package's own action, such as `CreateMixin.create`: one that is written anew may do anything.
    """

    @classmethod
    def operations(cls, collection: type[ResourceHandler], document: type[ResourceHandler]) -> list[str]:
        """Return the operations that these classes have."""
        classes = {"create": collection, "replace": document, "delete": document}
        return [name for name, handler in classes.items() if _runs(handler, *_RUN_BY[name])]

    @classmethod
    def describe_bulk(cls, operation: ApiOperation) -> None:
        """Describe POST of a bulk request, with the operations that are offered."""
        target, schemas = operation.target, operation.of_model()
        offered = cls.operations(target["collection"], target["document"])
        operation.says(
            f"{_listed(offered).capitalize()} several {operation.tag}",
            "Each operation has its own precondition and its own result. Operations on one document are done in order.",
        )
        operation.takes("Prefer")
        name = "Bulk" if len(offered) == len(_RUN_BY) else "".join(["Bulk", *(each.capitalize() for each in offered)])
        operation.takes_body(schemas.other(name, lambda: _operations_schema(operation, offered)))
        fields = ("Preference-Applied", "Cache-Control", "Vary")
        operation.answers_with(200, "A result for each operation, in order.", results_schema(operation), *fields)
        describe_body(operation)
        operation.problem("empty-bulk", "too-many-items", "validation", "idempotency-key-for-many", "overloaded")

    def initialize(  # type: ignore[override]  # only its own route mounts it
        self, resource: Resource[Any], collection: type[ResourceHandler], document: type[ResourceHandler]
    ) -> None:
        """Store the route's options."""
        super().initialize(resource)
        self._classes = {"create": collection, "replace": document, "delete": document}
        self._offered = self.operations(collection, document)
        self._handlers: dict[str, Any] = {}
        self._refusals: dict[str, Exception] = {}

    async def bulk(self) -> None:
        """Carry out the operations."""
        refuse_key(self.request.headers)
        for each in self._handlers.values():
            each.resource = self.resource  # that of the caller's tenant, which was not open when they were asked
        asked = await self._asked()
        gathering = Gathering(self.resource.store, self.resource.model)
        await self.related.prepare(self.resource.model, [each.get("document") for each in asked])
        items, pace = [_Item(index, each) for index, each in enumerate(asked)], Pace()
        for item in items:
            try:
                await self._make_ready(item, gathering)
            except Exception as error:  # noqa: BLE001 - it is this item's outcome
                item.outcome = error
            await pace.breathe()
        ready = [item for item in items if item.run is not None]
        await at_once(_run_in_order(chain) for chain in self._chains(ready))
        gathering.raise_outage([item.outcome for item in ready])
        results = []
        for item in items:
            results.append(await self._result(item))
            await pace.breathe()
        await self.answers.results(results)

    def _chains(self, items: list[_Item]) -> list[list[_Item]]:
        """Return the operations on each document, in the order in which they were sent."""
        chains: dict[object, list[_Item]] = {}
        for item in items:
            place = item.index if item.key is None else _json.dumps(self.resource.info.key_value(item.key))
            chains.setdefault(place, []).append(item)
        return list(chains.values())

    async def _result(self, item: _Item) -> dict[str, Any]:
        action = item.asked["action"]
        show = None if item.handler is None else item.handler.show
        status = 201 if item.created else _STATUS[action]
        return await Results(self).of(_ACTIONS[action], item.outcome, status, self._instance(item.asked), show)

    def _instance(self, asked: dict[str, Any]) -> str:
        """Return the path of the request that would do the operation alone."""
        path = self.prefix + self.resource.path
        return f"{path}/{quote(str(asked['key']), safe='')}" if "key" in asked else path

    def allowed_methods(self) -> list[str]:
        """Return POST if the policy lets anybody do any of the operations."""
        policy = self.admission.option("policy")
        offered = not policy or any(policy.offers(_ACTIONS[name]) for name in self._offered)
        return ["POST", "OPTIONS"] if offered else ["OPTIONS"]

    async def authorize(self, action: str, document: Model | None = None) -> None:
        """Ask the policy; before the body is read, whether the caller may do any of the operations.

        Raises:
            Problem: 401, 403, 404 or 405.
        """
        if action != "bulk":
            await super().authorize(action, document)
            return
        for name in self._offered:
            try:
                self._handlers[name] = await self._handler(self._classes[name])
                await self._handlers[name].authorize(_ACTIONS[name])
            except Problem as refusal:
                self._refusals[name] = refusal
        if len(self._refusals) == len(self._offered):
            raise next(iter(self._refusals.values()))

    async def _handler(self, cls: type[ResourceHandler]) -> Any:
        """Return a handler of this request, made as the route of its class makes one; it never answers."""
        made = cls(self.application, self.request, resource=self.resource)
        self.request.connection.set_close_callback(self.on_connection_close)  # type: ignore[union-attr]
        made.principal = self.principal
        prepared = made.prepare()
        if prepared is not None:
            await prepared
        made.body = self.body
        return made

    # ------------------------------------------------------------ reading the request

    async def _asked(self) -> list[dict[str, Any]]:
        """Return the operations as they were sent.

        Raises:
            Problem: 400, 413, 415.
            ValidationFailed: they do not have the form above; with all faults.
        """
        body = await self.read_json()
        operations = body.get("operations") if isinstance(body, dict) else None
        if not isinstance(operations, list) or len(body) > 1:
            detail = 'Must be an object with an array, `{"operations": […]}`, and nothing else.'
            raise ValidationFailed([{"pointer": "", "keyword": "type", "detail": detail}])
        Results(self).check_count(len(operations))
        problems = [
            fault
            for index, each in enumerate(operations)
            for fault in _faults(f"/operations/{index}", each, self._offered)
        ]
        if problems:
            raise ValidationFailed(problems)
        return operations

    async def _make_ready(self, item: _Item, gathering: Gathering) -> None:
        """Prepare an item's work.

        Raises:
            Exception: the single request would have been refused with it.
        """
        asked = item.asked
        action = asked["action"]
        if action in self._refusals:
            raise self._refusals[action]
        # A copy for each, since a request of its own would have a handler of its own, with its own preconditions.
        handler = item.handler = copy.copy(self._handlers[action])
        handler._gathering, handler._preconditions = gathering, Preconditions()
        if action == "create":
            model = await handler.admitted(handler.new_model(await handler.valid("create", asked["document"])))
            await handler.referring(model)
            item.key, item.run = model._key, partial(handler.perform_create, model)
            return
        item.key, handler._preconditions = handler.parse_key(str(asked["key"])), _preconditions(asked)
        if action == "delete":
            item.run = partial(handler.delete_document, item.key)
        else:
            item.run = partial(self._put, item, await handler.valid("replace", asked["document"]))

    async def _put(self, item: _Item, body: dict[str, Any]) -> Any:
        model, status = await item.handler.upsert(item.key, body)
        item.created = status == 201
        return model


async def _run_in_order(chain: list[_Item]) -> None:
    for item in chain:
        run, item.run = item.run, None  # what runs knows the item
        if run is not None:
            item.outcome = await attempted(run())


def _runs(cls: type[ResourceHandler], method: str, mixin: type[ResourceHandler], action: str) -> bool:
    """Whether a class runs an action as its mixin has it."""
    own = getattr(cls, action, None) is getattr(mixin, action)
    return own and getattr(getattr(cls, method), "runs", None) == action


def _preconditions(asked: dict[str, Any]) -> Preconditions:
    if "if_match" not in asked:
        return Preconditions()
    try:
        return Preconditions(parse_entity_tags(asked["if_match"]))
    except MalformedEntityTag as error:
        raise Problem.of("malformed-entity-tag", f"{error}.") from None


def _faults(pointer: str, asked: Any, offered: Sequence[str]) -> list[dict[str, str]]:
    """Return the faults in the form of one operation."""
    if not isinstance(asked, dict):
        return [_fault(pointer, "type", "Must be an object.")]
    action = asked.get("action")
    if not isinstance(action, str) or action not in offered:
        return [_fault(f"{pointer}/action", "enum", f"Must be one of {', '.join(offered)}.")]
    found = [
        _fault(f"{pointer}/{name}", "required", "This member is required.")
        for name in sorted(_NEEDED[action] - asked.keys())
    ]
    if asked.keys() - _MEMBERS[action] - {"action"}:
        allowed = ", ".join(sorted(_MEMBERS[action]))
        found.append(_fault(pointer, "additionalProperties", f"The members for {action} are: action, {allowed}."))
    if not isinstance(asked.get("key", ""), str | int) or isinstance(asked.get("key"), bool):
        found.append(_fault(f"{pointer}/key", "type", "Must be a text or an integer."))
    if not isinstance(asked.get("if_match", ""), str):
        found.append(_fault(f"{pointer}/if_match", "type", "Must be a text."))
    return found


def _fault(pointer: str, keyword: str, detail: str) -> dict[str, str]:
    return {"pointer": pointer, "keyword": keyword, "detail": detail}


# ---------------------------------------------------------------- the API document


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _operations_schema(operation: ApiOperation, actions: Sequence[str]) -> Schema:
    schemas = operation.of_model()
    key = {"type": ["string", "integer"], "description": "The document's key, as in its address but unquoted."}
    if_match = {"type": "string", "description": "The value of an If-Match field."}
    members: dict[str, dict[str, Schema]] = {
        "create": {"document": or_refused(schemas.create())},
        "replace": {"key": key, "document": or_refused(schemas.replace()), "if_match": if_match},
        "delete": {"key": key, "if_match": if_match},
    }
    each = [
        {
            "type": "object",
            "required": ["action", *(name for name in found if name != "if_match")],
            "properties": {"action": {"type": "string", "const": action}, **found},
            "additionalProperties": False,
        }
        for action, found in members.items()
        if action in actions
    ]
    most = operation.resource.max_bulk
    items = {"type": "array", "items": {"oneOf": each}, "minItems": 1, "maxItems": most}
    return {
        "type": "object",
        "required": ["operations"],
        "properties": {"operations": items},
        "additionalProperties": False,
    }
