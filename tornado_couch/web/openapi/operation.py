"""`ApiOperation`: one method at one address, described step by step."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..action_table import Action
from ..problems import KINDS
from .components import Components, Schema, any_problem, problem_schema
from .examples import NO_SAMPLE, sample
from .headers import REQUEST_FIELDS, answer_field
from .schemas import ModelSchemas

__all__ = ["JSON", "PROBLEM", "Answer", "ApiOperation"]

JSON = "application/json"
PROBLEM = "application/problem+json"


@dataclass
class Answer:
    """An answer of an operation, for one status.

    Attributes:
        description: when the answer is given.
        content: schemas, by media type; empty for an answer without a body.
        fields: the names of the header fields, and whether each such answer has them; None for a field's default.
        problems: the kinds of problem; an answer with problems has no other content.
        links: where to go from here (OpenAPI 3.1 §4.8.20), by name.
    """

    description: str
    content: dict[str, Schema] = field(default_factory=dict)
    fields: dict[str, bool | None] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    links: dict[str, dict[str, Any]] = field(default_factory=dict)


class ApiOperation:
    """One method at one address. A handler's `describe` can change it freely.

    Attributes:
        method: such as "GET".
        path: such as "/v1.0/fruits/{key}".
        action: the handler's name for it, such as "retrieve"; the method's name if it is not an action.
        row: the action; None where it is not one.
        resource: the `Resource` that is mounted there; None for other handlers.
        schemas: the schemas of the resource's model; None for other handlers.
        settings: the settings of the application.
        mounted: all resources of the application.
        components: the parts that operations share.
        id: the operation's id; None to derive it from the action and the address.
        summary: a few words.
        description: a full description.
        deprecated: whether it should no longer be used.
        parameters: by place ("path", "query", "header") and name.
        body: schemas of the request's body, by media type.
        encodings: what the parts of a multipart body are, by media type and part: OpenAPI's Encoding Objects.
        needs_body: whether the request must have a body, where there are schemas of it.
        answers: by status.
        limited: whether requests are counted, and each answer says how many are left.
        open_ended: whether there may be other problems than those that are described.
        security: the credentials that a caller needs: OpenAPI's Security Requirement Objects.
    """

    def __init__(
        self,
        method: str,
        path: str,
        action: str,
        *,
        components: Components,
        resource: Any = None,
        settings: Mapping[str, Any] | None = None,
        target: Mapping[str, Any] | None = None,
        mounted: Sequence[Any] = (),
        row: Action | None = None,
    ) -> None:
        self.method = method
        self.path = path
        self.action = action
        self.row = row
        self.components = components
        self.resource = resource
        self.schemas: ModelSchemas | None = None
        if resource is not None:
            self.schemas = ModelSchemas(components, resource.model, tuple(each.member for each in resource.parents))
        self.settings = settings or {}
        self.target = dict(target or {})
        self.mounted = mounted
        self.id: str | None = None
        self.summary = ""
        self.description = ""
        self.deprecated = False
        self.tag: str | None = None
        self.parameters: dict[tuple[str, str], dict[str, Any]] = {}
        self.body: dict[str, Schema] = {}
        self.encodings: dict[str, dict[str, dict[str, str]]] = {}
        self.needs_body = True
        self.answers: dict[int, Answer] = {}
        self.limited = False
        self.open_ended = False
        self.security: list[dict[str, list[str]]] | None = None

    def of_model(self) -> ModelSchemas:
        """The schemas of the resource's model.

        Raises:
            ValueError: the handler is mounted without a resource.
        """
        if self.schemas is None:
            raise ValueError(f"{self.method} {self.path} has no resource, so it has no model to describe")
        return self.schemas

    @property
    def one(self) -> str:
        """A document of the resource, in the words of its model's name: "a fruit" for `Fruit`."""
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", self.resource.model.__name__).lower()
        return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"

    # ------------------------------------------------------------ what goes in

    def says(self, summary: str, description: str = "") -> None:
        """Set the summary, which is a title and has no full stop, and the description."""
        self.summary, self.description = summary.removesuffix("."), description

    def parameter(self, place: str, name: str, schema: Schema, description: str, **more: Any) -> None:
        """Add a parameter, or replace the one with that name.

        Args:
            place: "path", "query" or "header".
            name: the parameter's name.
            schema: the schema of its value.
            description: what it does.
            **more: further members of the Parameter Object, such as `required`, `explode` or `example`.
        """
        found = {"name": name, "in": place, "description": description, "schema": schema, **more}
        if place == "path":
            found["required"] = True
        self.parameters[place, name] = found

    def query(self, name: str, schema: Schema, description: str, **more: Any) -> None:
        """Add a parameter of the query string."""
        self.parameter("query", name, schema, description, **more)

    def takes(self, *fields: str) -> None:
        """Add header fields of the request that this package describes, such as "If-Match"."""
        for name in fields:
            schema, description = REQUEST_FIELDS[name]
            self.parameter("header", name, schema, description)

    def takes_body(self, schema: Schema, media_type: str = JSON) -> None:
        """Add a media type of the request's body."""
        self.body[media_type] = schema

    # ------------------------------------------------------------ the answers

    def answers_with(
        self,
        status: int,
        description: str,
        schema: Schema | None = None,
        *fields: str,
        media_type: str = JSON,
    ) -> Answer:
        """Add an answer, or another media type of an answer.

        Args:
            status: its status.
            description: when it is given.
            schema: the schema of its body; None for an answer without a body.
            *fields: header fields that it has, such as "ETag".
            media_type: the media type of its body.

        Returns:
            The answer, to which more can be added.
        """
        found = self.answers.setdefault(status, Answer(description))
        if schema is not None:
            found.content[media_type] = schema
        found.fields.update(dict.fromkeys(fields))
        return found

    def fails(self, status: int, *kinds: str, fields: Iterable[str] = ()) -> None:
        """Add problems of these kinds; without kinds, the one that says no more than the status ("about:blank")."""
        found = self.answers.setdefault(status, Answer(""))
        found.problems += [kind for kind in kinds or ("",) if kind not in found.problems]
        found.fields.update(dict.fromkeys(fields))

    def problem(self, *kinds: str) -> None:
        """Add problems of the package's own kinds, each with its own status."""
        for kind in kinds:
            status = KINDS[kind].status
            self.fails(status, kind)
            if status in (503, 504):
                self.answers[status].fields.setdefault("Retry-After")

    # ------------------------------------------------------------ the Operation Object

    def as_dict(self) -> dict[str, Any]:
        """The Operation Object (OpenAPI 3.1 §4.8.10)."""
        found: dict[str, Any] = {"operationId": self.id, "summary": self.summary}
        if self.tag:
            found["tags"] = [self.tag]
        if self.description:
            found["description"] = self.description
        if self.deprecated:
            found["deprecated"] = True
        if self.parameters:
            found["parameters"] = list(self.parameters.values())
        if self.body:
            found["requestBody"] = {
                "required": self.needs_body,
                "content": self._content(self.body, "readOnly"),
            }
            for media_type, parts in self.encodings.items():
                found["requestBody"]["content"][media_type]["encoding"] = parts
        found["responses"] = {str(status): self._answer(status, each) for status, each in sorted(self.answers.items())}
        if self.open_ended:
            content = {PROBLEM: {"schema": any_problem(self.components)}}
            found["responses"]["default"] = {"description": "Another problem of this service.", "content": content}
        if self.security is not None:
            found["security"] = self.security
        return found

    def _content(self, schemas: Mapping[str, Schema], hidden: str) -> dict[str, Any]:
        return {media_type: self._media(schema, hidden) for media_type, schema in schemas.items()}

    def _media(self, schema: Schema, hidden: str) -> dict[str, Any]:
        example = sample(schema, self.components.all("schemas"), hidden)
        return {"schema": schema} if example is NO_SAMPLE else {"schema": schema, "example": example}

    # Examples are made last, when every schema that they refer to exists.
    def _answer(self, status: int, answer: Answer) -> dict[str, Any]:
        found: dict[str, Any] = {"description": answer.description or _told(status, answer.problems)}
        fields = {**answer.fields, **({"RateLimit": False, "RateLimit-Policy": False} if self.limited else {})}
        if self.settings.get("server_timing"):
            fields = {"Server-Timing": False, "Preference-Applied": None, **fields}
        if fields:
            found["headers"] = {
                name: answer_field(self.components, name, required=required) for name, required in fields.items()
            }
        if self.method == "HEAD":  # the answer is only a header
            return found
        content = self._content(answer.content, "writeOnly")
        if answer.problems:
            each = [problem_schema(self.components, status, kind) for kind in answer.problems]
            each += [any_problem(self.components)] if self.open_ended else []
            content[PROBLEM] = {"schema": each[0] if len(each) == 1 else {"anyOf": each}}
        if content:
            found["content"] = content
        if answer.links:
            found["links"] = answer.links
        return found


def _told(status: int, kinds: Iterable[str]) -> str:
    found = [KINDS[kind].detail for kind in kinds if kind in KINDS]
    return " ".join(found) or PLAIN.get(status, "A problem.")


PLAIN = {
    400: "The request is malformed.",
    401: "The request needs credentials.",
    403: "The caller may not do this.",
    404: "There is no such document, or the caller may not see it.",
    406: "The answer is not available in a media type that `Accept` allows.",
    413: "The body is too large.",
    415: "The body must have another media type or content coding.",
    500: "The service failed.",
}
