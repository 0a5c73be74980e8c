"""`POST {path}/_bulk`: create, replace and delete in one request, each with its own precondition.

    {"operations": [
        {"action": "create", "document": {"color": "red"}},
        {"action": "replace", "key": "7f3a…", "document": {"color": "green"}, "if_match": "\\"3-917f…\\""},
        {"action": "delete", "key": "8b1c…", "if_match": "\\"1-23aa…\\""}
    ]}

`key` is what stands in the document's URL, unquoted; `if_match` is what If-Match would say. The answer
is 200 with a result for each operation, in order, whose `status` is that of the single request: see
`OutcomeMixin`. Only a request that cannot be understood is refused as a whole (400, 413, 422), with
nothing done. Operations on one document are done in the order given, each on what the one before left.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ...errors import DocumentNotFound, ValidationFailed
from ...models import Model, replaced
from ...store import Creation, Deletion, Operation, Update
from ..http import MalformedEntityTag, Preconditions, parse_entity_tags
from ..openapi.bulk import describe_bulk
from ..problems import Problem
from .create import Creator
from .documents import Rewriter
from .idempotency import refuse_key
from .results import OutcomeMixin, breathe

if TYPE_CHECKING:
    from ..openapi.operation import ApiOperation

__all__ = ["BulkHandler"]

_ACTIONS = {"create": "create", "replace": "replace", "delete": "destroy"}  # as the policy and the hooks call them
_STATUS = {"create": 201, "replace": 200, "delete": 204}
_NEEDED = {"create": {"document"}, "replace": {"key", "document"}, "delete": {"key"}}
_MEMBERS = {"create": {"document"}, "replace": {"key", "document", "if_match"}, "delete": {"key", "if_match"}}
_EACH = "each"  # the action that stands for any of the three


class BulkHandler(OutcomeMixin, Creator, Rewriter):
    """The address that takes bulk requests.

    It does not call the `perform_…` methods of the collection's and the document's own handlers; where
    those are overridden, derive from this class as well and mount it with `bulk=`.
    """

    @classmethod
    def describe(cls, operation: ApiOperation) -> None:
        """Say for the API document what bulk requests are."""
        super().describe(operation)
        describe_bulk(operation)

    async def post(self) -> None:
        """Carry out the operations."""
        self._refusals: dict[str, Exception] = {}
        self._made: set[int] = set()
        await self.admit(_EACH)
        refuse_key(self.request.headers)
        asked = await self._asked()
        outcomes: list[Any] = [None] * len(asked)
        ready: dict[int, Operation[Any]] = {}
        for index, each in enumerate(asked):
            try:
                ready[index] = await self._operation(index, each)
            except Exception as error:  # noqa: BLE001 - it is this item's outcome
                outcomes[index] = error
            await breathe(index)
        done = await self.resource.store.write_many(self.resource.model, list(ready.values()))
        for index, outcome in zip(ready, done, strict=True):
            outcomes[index] = self._missing(asked[index], outcome)
        await self.answer_results([await self._result(n, asked[n], outcome) for n, outcome in enumerate(outcomes)])

    async def _result(self, index: int, asked: dict[str, Any], outcome: Any) -> dict[str, Any]:
        action = asked["action"]
        status = _STATUS["create" if index in self._made else action]
        return await self.outcome(_ACTIONS[action], outcome, status, self._instance(asked))

    def _instance(self, asked: dict[str, Any]) -> str:
        """Where the request for an operation alone would have gone."""
        path = self.resource.path
        return f"{path}/{quote(str(asked['key']), safe='')}" if "key" in asked else path

    def allowed_methods(self) -> list[str]:
        """POST, where the policy lets anybody do any of the three."""
        policy = self.option("policy")
        offered = not policy or any(policy.offers(action) for action in _ACTIONS.values())
        return ["POST", "OPTIONS"] if offered else ["OPTIONS"]

    async def authorize(self, action: str, document: Model | None = None) -> None:
        """Ask the policy; before the body is read, whether the caller may do any of the three.

        Raises:
            Problem: 401, 403, 404 or 405.
        """
        if action != _EACH:
            await super().authorize(action, document)
            return
        for each in _ACTIONS.values():
            try:
                await super().authorize(each)
            except Problem as refusal:
                self._refusals[each] = refusal
        if len(self._refusals) == len(_ACTIONS):
            raise next(iter(self._refusals.values()))

    # ------------------------------------------------------------ reading the request

    async def _asked(self) -> list[dict[str, Any]]:
        """The operations as they were sent.

        Raises:
            Problem: 400, 413, 415.
            ValidationFailed: they are not of the form above; with all faults.
        """
        body = await self.read_json()
        operations = body.get("operations") if isinstance(body, dict) else None
        if not isinstance(operations, list) or len(body) > 1:
            detail = 'Must be an object with an array, `{"operations": […]}`, and nothing else.'
            raise ValidationFailed([{"pointer": "", "keyword": "type", "detail": detail}])
        self.check_count(len(operations))
        problems = [fault for index, each in enumerate(operations) for fault in _faults(f"/operations/{index}", each)]
        if problems:
            raise ValidationFailed(problems)
        return operations

    async def _operation(self, index: int, asked: dict[str, Any]) -> Operation[Any]:
        """What the store is to do.

        Raises:
            Exception: what the single request would have been answered with already.
        """
        action = asked["action"]
        if _ACTIONS[action] in self._refusals:
            raise self._refusals[_ACTIONS[action]]
        if action == "create":
            return Creation(await self.admitted(self.new_model(self.validated("create", asked["document"]))))
        key, given = self.parse_key(str(asked["key"])), _preconditions(asked)
        expected = self.expectation(given)
        if action == "delete":
            return Deletion(key, self.checked("destroy"), expected, self.confirmed)
        body = self.validated("replace", asked["document"])
        self.check_key_in_body(key, body)
        change = self.hooked("replace", lambda current: replaced(current, body))
        absent = self._absent(index, key, body, given)
        return Update(key, change, self.checked("replace"), expected, absent)

    def _absent(
        self, index: int, key: Any, body: dict[str, Any], given: Preconditions
    ) -> Callable[[], Awaitable[Any]] | None:
        restorable = self.resource.info.restorable
        if not restorable and (not self.resource.create_by_put or given.if_match is not None):
            return None

        async def create() -> Any:
            model = await self.put_missing(key, body, given)
            self._made.add(index)
            return model

        return create

    def _missing(self, asked: dict[str, Any], outcome: Any) -> Any:
        """The outcome, where a document that is not there is also a precondition that does not hold."""
        return self.missing(_preconditions(asked)) if isinstance(outcome, DocumentNotFound) else outcome


def _preconditions(asked: dict[str, Any]) -> Preconditions:
    if "if_match" not in asked:
        return Preconditions()
    try:
        return Preconditions(parse_entity_tags(asked["if_match"]))
    except MalformedEntityTag as error:
        raise Problem.of("malformed-entity-tag", f"{error}.") from None


def _faults(pointer: str, asked: Any) -> list[dict[str, str]]:
    """What is wrong with the form of one operation."""
    if not isinstance(asked, dict):
        return [_fault(pointer, "type", "Must be of type object.")]
    action = asked.get("action")
    if not isinstance(action, str) or action not in _ACTIONS:
        return [_fault(f"{pointer}/action", "enum", f"Must be one of {', '.join(_ACTIONS)}.")]
    found = [
        _fault(f"{pointer}/{name}", "required", "This member is required.")
        for name in sorted(_NEEDED[action] - asked.keys())
    ]
    if asked.keys() - _MEMBERS[action] - {"action"}:
        allowed = ", ".join(sorted(_MEMBERS[action]))
        found.append(_fault(pointer, "additionalProperties", f"To {action}, there are: action, {allowed}."))
    if not isinstance(asked.get("key", ""), str | int) or isinstance(asked.get("key"), bool):
        found.append(_fault(f"{pointer}/key", "type", "Must be of type string or integer."))
    if not isinstance(asked.get("if_match", ""), str):
        found.append(_fault(f"{pointer}/if_match", "type", "Must be of type string."))
    return found


def _fault(pointer: str, keyword: str, detail: str) -> dict[str, str]:
    return {"pointer": pointer, "keyword": keyword, "detail": detail}
