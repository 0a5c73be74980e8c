"""`{path}/{key}/conflicts`: the conflicting leaves of a document as a resource, and a way to decide between them.

GET lists the leaves that are not deleted, the winning one first, and the result of the model's merge rules:

    {"items": [{"_etag": "\\"3-917f…\\"", "document": {…}}, …], "merge": {"document": {…}}}

`merge` has `errors` in place of the document if the rules cannot decide, and is missing if the document has a single
leaf. `withheld` counts leaves that cannot be read as the model, do not verify, or are not for the caller. The entity
tag stands for all leaves together. POST resolves the conflict, and must name that entity tag in If-Match:

    {"merge": true}                  by the rules
    {"leaf": "3-917f…"}              by one of the leaves, by its revision or entity tag
    {"document": {…}}                by a document, valid as in a PUT

Where there is no conflict, nothing is written, and the answer is 409. The result follows all leaves, so that a change
that was made to one of them elsewhere in the meantime is merged later.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from typing import Any

from ... import _json
from ...errors import Conflict, DecryptionFailed, InvalidDocument, RevisionMismatch, Unmergeable, ValidationFailed
from ...models import Model, is_deleted, is_of, replaced, representation
from ...store import LeafSet, changed
from ...store.references import held_by
from ..handler import ResourceHandler
from ..http import EntityTag, entity_tag
from ..openapi.components import Schema
from ..openapi.descriptions import describe_stored, describe_writing
from ..openapi.operation import ApiOperation
from ..problems import Problem
from .documents import check_key_in_body

__all__ = ["ConflictsHandler"]

_FAULTS: Schema = {
    "type": "array",
    "description": "The reasons why the rules cannot decide.",
    "items": {
        "type": "object",
        "required": ["pointer", "detail"],
        "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
    },
}

_CHOICES = ("document", "leaf", "merge")
_DIGEST = 16  # characters of the digest that distinguishes representations of the same leaves


class ConflictsHandler(ResourceHandler):
    """The conflicts of a document: list them, and decide."""

    async def conflicts(self, key: Any) -> None:
        """Answer with the leaves and their merge, or 304."""
        self.preconditions()
        found = await self._found(key)
        leaves = await self._leaves("conflicts", found)
        body: dict[str, Any] = {"items": [await self._shown_leaf(each) for each in leaves.values()]}
        if len(leaves) < len(found.revisions):
            body["withheld"] = len(found.revisions) - len(leaves)
        elif len(leaves) > 1:
            body["merge"] = await self._shown_merge(found)
        text = _json.dumps(body)
        # The merge can change while the leaves do not: CouchDB forgets an ancestor, or the rules change.
        tag = f"{found.tag}-{hashlib.sha256(text).hexdigest()[:_DIGEST]}"
        if not self.answers.unchanged(tag):
            await self.answers.json(200, text, tag)

    async def resolve(self, key: Any) -> None:
        """Write the client's decision, and answer with the document."""
        body = await self.read_json()
        check = self._checked_body
        body = await asyncio.to_thread(check, body) if self.body.large else check(body)
        found = await self._found(key)
        leaves = await self._leaves("resolve", found, every=True)
        self._check_leaf_set(found)
        if len(found.revisions) == 1:
            raise Problem.of("no-conflict", "The document has a single leaf. Change it with PUT or PATCH.")
        current = next(iter(leaves.values()))
        try:
            if "merge" in body:
                model = await self._merge(found, current)
            else:
                model = await self._decide(key, found, leaves, body)
        except Conflict:
            raise await self._mismatch(key) from None
        self.set_header("Content-Location", self.href(key))  # what the entity tag belongs to
        await self.answers.document(model, "resolve")

    # ------------------------------------------------------------ reading

    async def _found(self, key: Any) -> LeafSet:
        found = await self.resource.store.reconciliation.find(self.resource.model, key)
        if is_deleted(self.resource.info, found.documents[0]):
            raise Problem(404, detail="There is no such document.")
        return found

    async def _leaves(self, action: str, found: LeafSet, *, every: bool = False) -> dict[str, Model]:
        """The leaves as models, by revision.

        Args:
            action: what the caller wants to do.
            found: all leaves.
            every: raise for a leaf that must be withheld, since the client would decide about it unseen.

        Raises:
            Problem: the caller may not do this.
            InvalidDocument, DecryptionFailed, InvalidSignature: the winning leaf (with `every`, any) is unreadable.
        """
        models: dict[str, Model] = {}
        for document in found.documents:
            needed = every or document is found.documents[0]
            try:
                if not is_of(self.resource.model, document):
                    raise InvalidDocument("a leaf is of another type", found.id)
                model = await self.asking(action, self.resource.store.load(self.resource.model, document))
                await self.authorize(action, model)
            except (InvalidDocument, DecryptionFailed, Problem):
                if needed:
                    raise
            else:
                models[document["_rev"]] = model
        if every and found.unverified:
            raise next(iter(found.unverified.values()))
        return models

    async def _shown_leaf(self, model: Model) -> dict[str, Any]:
        return {"_etag": entity_tag(model._rev or ""), "document": await self._shown(model)}

    async def _shown_merge(self, found: LeafSet) -> dict[str, Any]:
        store, model = self.resource.store, self.resource.model
        try:
            merged = await store.load(model, await store.reconciliation.merged(model, found))
        except Unmergeable as refused:
            return {"errors": refused.problems}
        return {"document": await self._shown(merged)}

    async def _shown(self, model: Model) -> dict[str, Any]:
        shown = self.show(model)
        await self.resource.hooks.after(self.event("conflicts"), model, shown)
        return shown

    # ------------------------------------------------------------ deciding

    def _checked_body(self, body: Any) -> Any:
        """Return the client's decision.

        Raises:
            ValidationFailed: with all faults of the body, those of a document in it included.
        """
        if not isinstance(body, dict) or len(body) != 1 or next(iter(body)) not in _CHOICES:
            detail = f"Must be an object with one member, which is one of {', '.join(_CHOICES)}."
            raise ValidationFailed([{"pointer": "", "keyword": "oneOf", "detail": detail}])
        if "merge" in body and body["merge"] is not True:
            raise ValidationFailed([{"pointer": "/merge", "keyword": "const", "detail": "Must be true."}])
        if "leaf" in body and not isinstance(body["leaf"], str):
            raise ValidationFailed([{"pointer": "/leaf", "keyword": "type", "detail": "Must be a text."}])
        if "document" in body:
            try:
                body = {"document": self.validated("replace", body["document"])}
            except ValidationFailed as error:
                problems = [{**each, "pointer": f"/document{each['pointer']}"} for each in error.problems]
                raise ValidationFailed(problems) from None
        return body

    def _check_leaf_set(self, found: LeafSet) -> None:
        """Check the request's preconditions against the leaves.

        Raises:
            Problem: 428 without If-Match; 400.
            RevisionMismatch: the document has other leaves.
        """
        if_match = self.preconditions().if_match
        if if_match is None:
            raise Problem.of("if-match-required", "If-Match must name the leaves that the decision is meant for.")
        if if_match != "*" and not any(_names(tag, found) for tag in if_match):
            raise RevisionMismatch("the document has other leaves", found.tag)

    async def _mismatch(self, key: Any) -> RevisionMismatch:
        return RevisionMismatch("another writer was faster", (await self._found(key)).tag)

    async def _merge(self, found: LeafSet, current: Model) -> Model:
        """Write the result of the merge rules, as every reconciler would; a hook can refuse it but not change it."""
        store, model = self.resource.store, self.resource.model
        merged = await store.load(model, await store.reconciliation.merged(model, found))
        await self.resource.hooks.before(self.event("resolve"), merged, current)
        written, kept = await store.reconciliation.merge(model, found)
        await store.reconciliation.tidy(found, kept)
        return await store.load(model, written)

    async def _decide(self, key: Any, found: LeafSet, leaves: dict[str, Model], body: dict[str, Any]) -> Model:
        current = next(iter(leaves.values()))
        if "leaf" in body:
            revision = body["leaf"].removeprefix("W/").strip('"').partition(";")[0]
            if revision not in leaves:
                detail = "The document does not have this leaf; GET the leaves again."
                raise ValidationFailed([{"pointer": "/leaf", "keyword": "enum", "detail": detail}])
            chosen = leaves[revision]
        else:
            chosen = await self._given(key, found, leaves, body["document"])
        new = await changed(lambda model: self.resource.hooks.before(self.event("resolve"), model, current), chosen)
        await self.related.check(new, [held for leaf in leaves.values() for held in held_by(leaf)])
        return await self.resource.store.reconciliation.resolve(self.resource.model, found, new)

    async def _given(self, key: Any, found: LeafSet, leaves: dict[str, Model], document: dict[str, Any]) -> Model:
        """Return the model of a given document, with the read-only properties of the merge, or of the winning leaf."""
        body = dict(document)
        check_key_in_body(self, key, body)
        store, model = self.resource.store, self.resource.model
        base = next(iter(leaves.values()))
        with contextlib.suppress(Unmergeable):
            base = await store.load(model, await store.reconciliation.merged(model, found))
        # A client can send back what it was shown, including a read-only value of one of the leaves.
        shown = [representation(each) for each in (*leaves.values(), base)]
        for name, each in self.resource.info.properties.items():
            if each.read_only and name in body and any(body[name] == one.get(name) for one in shown):
                del body[name]
        return replaced(base, body)

    # ------------------------------------------------------------ the API document

    @staticmethod
    def describe_conflicts(operation: ApiOperation) -> None:
        """Describe GET of the conflicts of a document."""
        words = "The leaves, the winning one first, each with its entity tag, and the result of the merge rules."
        operation.says(f"List the conflicting leaves of {operation.one}", words)
        operation.takes("If-None-Match", "If-Match")
        schema = operation.of_model().other("Conflicts", lambda: _conflicts_schema(operation))
        operation.answers_with(200, "The leaves.", schema, "ETag", "Cache-Control", "Vary")
        operation.answers_with(
            304, "Not modified: `If-None-Match` names the current entity tag.", None, "ETag", "Cache-Control", "Vary"
        )
        operation.fails(404)
        operation.problem("malformed-entity-tag", "revision-mismatch")
        operation.answers[412].fields["ETag"] = None
        describe_stored(operation)

    @staticmethod
    def describe_resolve(operation: ApiOperation) -> None:
        """Describe POST to the conflicts of a document."""
        schemas = operation.of_model()
        operation.says(
            f"Decide between the conflicting leaves of {operation.one}",
            "Apply the merge rules, choose one of the leaves, or send a document that replaces them all.",
        )
        operation.takes("If-Match", "Prefer")
        operation.parameters["header", "If-Match"]["required"] = True  # 428 without
        operation.takes_body(schemas.other("Decision", lambda: _decision_schema(schemas.replace())))
        fields = ("ETag", "Content-Location", "Cache-Control", "Vary")
        operation.answers_with(200, "The document as it is now.", schemas.shown(), *fields)
        words = "Done; `Prefer: return=minimal` asked for no document."
        operation.answers_with(204, words, None, "ETag", "Content-Location", "Preference-Applied")
        operation.problem("malformed-body", "too-many-members", "key-mismatch")
        operation.problem("malformed-entity-tag", "revision-mismatch", "if-match-required", "validation")
        operation.problem("no-conflict", "unmergeable")
        operation.answers[412].fields["ETag"] = False
        describe_stored(operation)
        describe_writing(operation)
        operation.fails(404)
        operation.fails(413)
        operation.fails(415, fields=["Accept-Post", "Accept-Encoding"])


def _names(tag: EntityTag, found: LeafSet) -> bool:
    """Whether an entity tag stands for these leaves; a weak tag never does (RFC 9110 §13.1.1)."""
    return not tag.weak and tag.revision.partition("-")[0] == found.tag


def _conflicts_schema(operation: ApiOperation) -> Schema:
    shown = operation.of_model().shown()
    leaf = {
        "type": "object",
        "required": ["_etag", "document"],
        "properties": {"_etag": {"type": "string", "description": "Its entity tag."}, "document": shown},
    }
    withheld = "Leaves that cannot be read or verified, or are not for the caller."
    merge = {
        "type": "object",
        "description": "The result of the merge rules; missing if the document has a single leaf.",
        "properties": {"document": shown, "errors": _FAULTS},
    }
    return {
        "type": "object",
        "required": ["items"],
        "properties": {
            "items": {"type": "array", "items": leaf, "minItems": 1},
            "withheld": {"type": "integer", "minimum": 1, "description": withheld},
            "merge": merge,
        },
    }


def _decision_schema(document: Schema) -> Schema:
    members: dict[str, Any] = {
        "merge": {"type": "boolean", "const": True},
        "leaf": {"type": "string", "description": "A leaf's entity tag, or its revision."},
        "document": document,
    }
    choices = [
        {"type": "object", "required": [name], "properties": {name: each}, "additionalProperties": False}
        for name, each in members.items()
    ]
    return {"oneOf": choices}
