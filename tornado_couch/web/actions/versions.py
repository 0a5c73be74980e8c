"""What a document was: a GET for an earlier version of it, or for one that is deleted, and the list of its versions.

    GET …/{key}?version=3                   one version, by its number
    GET …/{key}?at=2026-01-01T00:00:00Z     the document as it was at a time
    GET …/{key}/versions                    all of them, the latest first
    GET …/{key}?deleted=true                one that is deleted and can be restored

The policy is also asked about "versions" and "deleted", for each version that is shown. The versions of a deleted
document are only for callers who may see deleted documents; for others the document does not exist. That also holds
where another document has been created under its key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from pydantic import AwareDatetime, TypeAdapter

from ...errors import InvalidDocument
from ...models import Model, deleted_on, is_deleted, is_timestamp, reading_partially, version_of
from ...store import Pace, Page, Position
from ..access import Hidden
from ..handler import ResourceHandler
from ..http import entity_tag
from ..openapi.components import Schema
from ..openapi.descriptions import describe_reading, describe_stored
from ..openapi.operation import ApiOperation
from ..openapi.parameters import describe_deleted, describe_fields, describe_page
from ..problems import Problem
from ..query import Cursor, Projection, decode_names, decode_parameter, page_link, parse_fields, parse_limit
from ..query.decoding import bad_parameter, flag
from ..resources import Resource

__all__ = ["Retrieval", "Versions", "VersionsHandler", "describe_retrieval", "parse_retrieval", "retrieval_parameters"]

_VERSION = re.compile(r"[1-9][0-9]{0,9}(~[0-9a-f]+)?")
_PAGE = ("limit", "cursor", "fields")
_AWARE: TypeAdapter[datetime] = TypeAdapter(AwareDatetime)
_TIME: Schema = {"type": "string", "format": "date-time"}


@dataclass(frozen=True)
class Retrieval:
    """The state of a document that a GET asks for.

    Attributes:
        projection: the properties that the client wants; None for all.
        version: the name of the version; None for the latest.
        at: the time at which the version was the latest.
        deleted: the document is one that is deleted.
    """

    projection: Projection | None = None
    version: str | None = None
    at: datetime | None = None
    deleted: bool = False

    @property
    def current(self) -> bool:
        """Whether the document as it is now is meant."""
        return self.version is None and self.at is None and not self.deleted


_CURRENT = Retrieval()


def retrieval_parameters(resource: Resource[Any]) -> list[str]:
    """Return the names of all parameters of a GET of one document."""
    info = resource.info
    states = [*(["version", "at"] if info.history else []), *(["deleted"] if info.restorable else [])]
    return ["fields", *(["include"] if info.relations else []), *states]


def parse_retrieval(resource: Resource[Any], arguments: Mapping[str, list[bytes]]) -> Retrieval:
    """Read the query string of a GET of one document.

    Raises:
        Problem: 400, naming the parameter: it is unknown, its value is not valid, or another parameter excludes it.
    """
    if not arguments:
        return _CURRENT
    own = _own_parameters(arguments, retrieval_parameters(resource))
    states = [name for name in ("version", "at", "deleted") if name in own]
    if len(states) > 1:
        raise bad_parameter(states[1], f"`{states[0]}` already names the state of the document.")
    return Retrieval(
        parse_fields(resource.model, arguments.get("fields")),
        _version(own["version"]) if "version" in own else None,
        _moment(own["at"]) if "at" in own else None,
        flag("deleted", own.get("deleted")),
    )


def _own_parameters(arguments: Mapping[str, list[bytes]], allowed: list[str]) -> dict[str, str]:
    given = decode_names(arguments)
    for name in given:
        if name not in allowed:
            choices = ", ".join(f"`{each}`" for each in allowed)
            detail = f"This parameter does not exist. Allowed are {choices}."
            raise Problem.of("bad-parameter", detail, parameter=name, allowed=allowed)
    return {name: decode_parameter(name, values) for name, values in given.items()}


def _version(text: str) -> str:
    if _VERSION.fullmatch(text) is None:
        raise bad_parameter("version", "`version` must be the number of a version, as the list of versions shows it.")
    return text


def _moment(text: str) -> datetime:
    try:
        if is_timestamp(text):
            return _AWARE.validate_python(text).astimezone(UTC)
    except (ValueError, OverflowError):  # the day does not exist, at all or in UTC
        pass
    raise bad_parameter(
        "at", "`at` must be a time with its zone, such as 2026-01-01T00:00:00Z; write a plus sign as %2B."
    )


class Versions:
    """Reads what a document was, as far as the caller may.

    Args:
        handler: the handler of the request.
    """

    def __init__(self, handler: ResourceHandler) -> None:
        self._handler = handler

    async def wanted(self, key: Any, wanted: Retrieval) -> Any:
        """Return the state of a document that a GET asks for, which is not the current one.

        Raises:
            Problem: 401, 403, 404.
            DocumentNotFound: the document never had this state.
        """
        if wanted.deleted:
            return await self._deleted(key)
        return await self._earlier(key, wanted)

    async def _earlier(self, key: Any, wanted: Retrieval) -> Any:
        """Return a version, with links to what else there is of the document."""
        latest = await self.authorize(key)
        resource = self._handler.resource
        store, cls = resource.store, resource.model
        read = store.version(cls, key, wanted.version or "") if wanted.at is None else store.as_of(cls, key, wanted.at)
        try:
            found = await read
        except InvalidDocument as error:
            if error.partial is not None:  # a caller who may not see the version must not learn what is wrong with it
                await self._check(latest, error.partial)
            raise
        await self._check(latest, found)
        # RFC 5829: what else there is; RFC 9110 §8.7: where this one always is.
        href = self._handler.href(key)
        links = f'<{href}>; rel="latest-version", <{href}/versions>; rel="version-history"'
        self._handler.set_header("Link", links)
        self._handler.set_header("Content-Location", _address(href, found))
        self._handler._state = _state(found)
        return found

    async def _deleted(self, key: Any) -> Any:
        """Return the document that is deleted."""
        handler = self._handler
        await handler.authorize("deleted")
        model = await handler.asking("deleted", handler.resource.store.get(handler.resource.model, key, deleted=True))
        await handler.authorize("deleted", model)
        handler._state = "?deleted=true"
        return model

    async def _check(self, latest: Model, version: Model) -> None:
        with reading_partially(version._unfit):
            if not await self.shows(latest, version):
                raise Hidden

    async def shows(self, latest: Model, version: Model) -> bool:
        """Ask the policy whether the caller may see a version, which may be of another document of the same key.

        Args:
            latest: the document as it is now.
            version: one of the versions of its key.
        """
        try:
            await self._handler.authorize("versions", version)
            if self.is_earlier(latest, version):
                await self._handler.authorize("deleted")
                await self._handler.authorize("deleted", version)
        except Problem:
            return False
        return True

    @staticmethod
    def is_earlier(latest: Model, version: Model) -> bool:
        """Whether a version is of a document that was deleted before the present one was created."""
        return version_of(version._stored).number < version_of(latest._stored).since

    async def authorize(self, key: Any) -> Model:
        """Ask the policy whether the caller may see what a document was, and return it as it is now.

        Raises:
            Problem: 401, 403, 404.
            DocumentNotFound: there never was such a document.
        """
        handler = self._handler
        await handler.authorize("versions")
        read = handler.resource.store.get(handler.resource.model, key, deleted=None)
        latest: Model = await handler.asking("versions", read)
        await handler.authorize("versions", latest)
        if is_deleted(handler.resource.info, latest._stored):
            try:
                await handler.authorize("deleted")
                await handler.authorize("deleted", latest)
            except Problem:
                raise Hidden from None  # a plain GET says no more
        return latest


class VersionsHandler(ResourceHandler):
    """GET of the versions of a document, the latest first; with `limit`, `cursor` and `fields` as a collection.

    Each item has `_version`, its number, and `_written_on`. A version that records a deletion has
    `_deleted_on` and no properties.
    """

    URL_NAMES = ("key",)

    async def versions(self, key: Any) -> None:
        """Answer with a page of versions."""
        own = _own_parameters(self.request.query_arguments, list(_PAGE))
        path = f"{self.resource.href(key)}/versions"
        limit = parse_limit(own.get("limit"), self.resource.page_size, self.resource.max_page_size)
        projection = parse_fields(self.resource.model, self.request.query_arguments.get("fields"))
        cursor = self.cursors().decode(own["cursor"], path) if "cursor" in own else None
        start = Position(None, cursor.id, cursor.inclusive) if cursor else None
        versions = Versions(self)
        latest = await versions.authorize(key)
        page = await self.resource.store.versions(
            self.resource.model, key, limit=limit, start=start, backward=cursor is not None and cursor.backward
        )
        shown, items, pace = [], [], Pace()
        for model in page.items:
            if await versions.shows(latest, model):
                shown.append(model)
                items.append(await self.version_item(model))
            await pace.breathe()
        if len(shown) < len(page.items) and versions.is_earlier(latest, page.items[-1]):
            page = replace(page, next=None)  # nor may the caller know how much there is
        body: dict[str, Any] = {"items": [projection.apply_to_item(each) if projection else each for each in items]}
        if page.withheld:
            body["withheld"] = page.withheld
        links = self._links(path, page, [(name, text) for name, text in own.items() if name != "cursor"])
        body.update(links)
        fields = [f'<{address}>; rel="{relation}"' for relation, address in links.items()]
        self.set_header("Link", ", ".join([*fields, f'<{self.href(key)}>; rel="latest-version"']))
        await self.answers.items(body)

    async def version_item(self, model: Model) -> dict[str, Any]:
        """Return a version as an item of the list."""
        version = version_of(model._stored)
        item: dict[str, Any] = {
            "_href": _address(self.href(model._key), model),
            "_etag": entity_tag(model._rev or ""),
            "_version": version.number if not version.branch else version.name,
            "_written_on": version.written_on,
        }
        if version.deleted:
            return {**item, "_deleted_on": deleted_on(self.resource.info, model._stored)}
        self._state = _state(model)
        item.update(self.show(model))
        await self.resource.hooks.after(self.event("versions"), model, item)
        return item

    @staticmethod
    def describe_versions(operation: ApiOperation) -> None:
        """Describe GET of the versions of a document."""
        words = "The latest version comes first; a deletion is a version too."
        operation.says(f"List the versions of {operation.one}", words)
        describe_page(operation)
        describe_fields(operation)
        schema = operation.of_model().other("Versions", lambda: _versions_schema(operation))
        describe_reading(operation, "A page of versions.", schema, "Link")
        operation.fails(404)
        describe_stored(operation)

    def _links(self, path: str, page: Page[Any], parameters: list[tuple[str, str]]) -> dict[str, str]:
        """Return the addresses of the next and the previous page, by their relation."""
        around: dict[str, tuple[Position | None, bool]] = {"next": (page.next, False), "prev": (page.previous, True)}
        return {
            relation: page_link(
                self.prefix + path, parameters, self.cursors().encode(Cursor(None, to.id, backward, to.inclusive), path)
            )
            for relation, (to, backward) in around.items()
            if to
        }


def _address(href: str, model: Model) -> str:
    return href + _state(model)


def _state(model: Model) -> str:
    return f"?version={version_of(model._stored).name}"


# ---------------------------------------------------------------- the API document


def describe_retrieval(operation: ApiOperation) -> None:
    """Describe how a GET of a document asks for a state that is not the current one."""
    describe_deleted(operation, "The deleted document that can be restored, instead of one that is not deleted.")
    if operation.resource.info.history:
        _describe_version(operation)


def _describe_version(operation: ApiOperation) -> None:
    """Describe `version` and `at`, which exclude each other, and the header fields of the answer."""
    version = {"type": "string", "pattern": "^[1-9][0-9]{0,9}(~[0-9a-f]+)?$", "examples": ["1"]}
    operation.query("version", version, "The version of this number.")
    operation.query("at", _TIME, "The version that was the latest at this time; a plus sign is written `%2B`.")
    for status in (200, 304):
        operation.answers[status].fields |= {"Link": False, "Content-Location": False}


def _versions_schema(operation: ApiOperation) -> Schema:
    schemas = operation.of_model()
    number = {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string"}], "description": "The version's number."}
    dated = {"_version": number, "_written_on": {**_TIME, "description": "The time at which the version was written."}}
    gone: dict[str, Any] = {
        "type": "object",
        "description": "A version that records a deletion.",
        "required": ["_href", "_etag", "_deleted_on", *dated],
        "properties": {"_href": {"type": "string"}, "_etag": {"type": "string"}, "_deleted_on": _TIME, **dated},
    }
    one = {"anyOf": [schemas.item(), schemas.item_part()], "required": list(dated), "properties": dated}
    address = {"type": "string", "format": "uri-reference"}
    return {
        "type": "object",
        "description": "Versions of a document, the latest first.",
        "required": ["items"],
        "properties": {
            "items": {"type": "array", "items": {"anyOf": [one, gone]}},
            "withheld": {"type": "integer", "minimum": 1, "description": "Versions that could not be verified."},
            "next": {**address, "description": "The page after this one, if there is one."},
            "prev": {**address, "description": "The page before this one, if there is one."},
        },
    }
