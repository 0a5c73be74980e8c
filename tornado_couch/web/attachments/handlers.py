"""`FileHandler` and `FilesHandler`: the files of a document at addresses of their own.

    GET, PUT, DELETE …/{key}/invoice          a property of one file
    GET, POST        …/{key}/photos           a property of many: the list of them, and one more
    GET, PUT, DELETE …/{key}/photos/{name}    one of many

Whoever may retrieve the document may read its files, and whoever may patch it may write them. If-Match and
If-None-Match are about the file: two clients who write two files of a document do not hinder each other.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any, ClassVar, Literal

from ... import _json
from ...couch.names import quote_segment
from ...errors import AttachmentMismatch, AttachmentNotFound, ValidationFailed
from ...models import Attachment, AttachmentPlace, AttachmentProperty, Model
from ...store import Upload
from ..action_table import ACTIONS, AS_OF_DOCUMENT, JSON, Action
from ..actions.idempotency import Mark, idempotency_key, marked, noted, refuse_key, refuse_other
from ..actions.versions import Versions, parse_retrieval, retrieval_parameters
from ..handler import ResourceHandler
from ..http import bad_file_name, entity_tag, media_type, parse_digest, parse_disposition
from ..http.media import extension_of, load_signatures
from ..http.multipart import FORM_DATA, Part
from ..problems import Problem, problem_of
from ..resources import Event, EventFile, M, Resource
from .described import describe_files
from .early import EarlyAnswers
from .forms import Form, Ignored, is_ignored
from .receiving import Incoming, Receiver, UploadBody, check_coding, declared_type, event_file
from .sending import FileAnswer

__all__ = ["FileHandler", "FilesHandler", "file_routes"]

_TRIES = 3  # of reading a file that others replace meanwhile
_STATES = ("version", "at", "deleted")


class _Done(Exception):
    """Ends a write that an earlier request with the same Idempotency-Key has done.

    Attributes:
        model: the document as it is.
        name: the name that the file was given.
    """

    def __init__(self, model: Any, name: str) -> None:
        super().__init__()
        self.model = model
        self.name = name


class _OfFiles(EarlyAnswers[M]):
    """What the addresses of files have in common.

    Attributes:
        declared: the property of files.
        file_name: the name in the address, of one of many.
    """

    BODIES: ClassVar[dict[str, Any]] = {"PUT": UploadBody, "POST": UploadBody}

    body: UploadBody
    file_name: str | None = None
    _found: Any = None  # the document, as it was before the body came

    def initialize(self, resource: Resource[M], declared: AttachmentProperty | None = None) -> None:
        """Store the route's options."""
        assert declared is not None
        self.declared = declared
        super().initialize(resource)

    async def authorize(self, action: str, document: Model | None = None) -> None:
        """Ask the policy what it is asked about the document itself."""
        await super().authorize(AS_OF_DOCUMENT.get(action, action), document)

    # ------------------------------------------------------------ the document

    @property
    def most_bytes(self) -> int:
        """The largest number of bytes that a body can have."""
        return self.declared.max_bytes

    @property
    def key(self) -> Any:
        """The key in the address.

        Raises:
            Problem: 404, no document of the model can have it.
        """
        return self.parse_key(self.path_args[-1])

    async def document(self, action: str) -> Any:
        """Return the document of the address, for a write.

        Raises:
            Problem: 401, 403, 404.
            DocumentNotFound: there is none.
        """
        model = await self.asking(action, self.store.get(self.resource.model, self.key))
        await self.authorize(action, model)
        return model

    async def state(self, action: str) -> Any:
        """Return the document as the query string of a GET asks for it: as it is, or as it was.

        Raises:
            Problem: 400, 401, 403, 404.
            DocumentNotFound: there is none.
        """
        allowed = [each for each in retrieval_parameters(self.resource) if each in _STATES]
        for name in self.request.query_arguments:
            if name not in allowed:
                detail = f"A file has no parameter with that name. Allowed are {', '.join(allowed) or 'none'}."
                raise Problem.of("bad-parameter", detail, parameter=name, allowed=allowed)
        wanted = parse_retrieval(self.resource, self.request.query_arguments)
        if not wanted.current:
            model = await Versions(self).wanted(self.key, wanted)
            self.clear_header("Content-Location")  # that of the document
            self.clear_header("Link")
            return model
        model = await self.asking(action, self.store.get(self.resource.model, self.key))
        await self.authorize(action, model)
        return model

    # ------------------------------------------------------------ the files

    def shown_file(self, model: Any, place: AttachmentPlace) -> dict[str, Any]:
        """Return what a client sees of a file."""
        return self.located(_there(model, place).shown(), model, place.name)

    def changing(self, action: str, file: EventFile, mark: Mark | None = None) -> Any:
        """Return the steps of a write for the store: a check of the document, and a change that calls the hook.

        Args:
            action: what the hook is called with.
            file: the file that is about to be written.
            mark: what the write leaves in the document, for its Idempotency-Key.
        """
        hooks, event = self.resource.hooks, self.event(action, file)
        before: Any = None

        async def check(current: Any) -> None:
            nonlocal before
            await self.authorize(action, current)
            found = noted(current._stored, mark) if mark is not None else None
            if mark is not None and found is not None:
                refuse_other(str(found[1]), mark)
                raise _Done(current, found[2] if len(found) > 2 else "")
            before = current.model_copy(deep=True) if hooks.has_before else None

        async def change(new: Any) -> Any:
            new = await hooks.before(event, new, before) or new
            if mark is not None:
                new._stored = marked(new._stored, mark, [file.name])
            return new

        return {"check": check, "change": change if hooks.has_before or mark is not None else None}

    def event(self, action: str, file: EventFile | None = None) -> Event:
        """Return the event that the hooks are called with."""
        return Event(action, self.resource.model, self.resource.store, self.principal, self.request, file)

    async def wrote(self, action: str, model: Any, place: AttachmentPlace, file: EventFile, status: int) -> None:
        """Answer a write with what it has stored."""
        shown = self.shown_file(model, place)
        if self.resource.hooks.has_after:
            await self.resource.hooks.after(self.event(action, file), model, shown)
        preferences = self.preferences()
        self.answers.say_applied(preferences)
        self.set_header("ETag", entity_tag(_there(model, place).etag))
        if status == 201:
            self.set_header("Location", self.file_href(model, place.name))
        if preferences.representation == "minimal" or self.declared.write_only:
            self.set_status(201 if status == 201 else 204)
            self.clear_header("Content-Type")
            self.finish()
            return
        self.set_status(status)
        self.set_header("Content-Type", JSON)
        self.set_header("Cache-Control", "private, no-cache")
        self.finish(_json.dumps(shown))

    @classmethod
    def describe(cls, operation: Any) -> None:
        """Describe the files for the API document."""
        describe_files(operation)


def _there(model: Any, place: AttachmentPlace) -> Attachment:
    file = place.of(model)
    if file is None:
        raise AttachmentNotFound("the file was deleted meanwhile")
    return file


class FileHandler(_OfFiles[M]):
    """GET, PUT and DELETE of a file."""

    URL_NAMES = ("key", "name")
    _before: Attachment | None = None  # what the latest try of a write has found

    def prepare(self) -> Any:
        """Take the name out of the address, and begin to receive the body."""
        if self.declared.many:
            self.file_name = self.path_args.pop()
        return super().prepare()

    @property
    def place(self) -> AttachmentPlace:
        """The place of the file.

        Raises:
            Problem: 404, no file can have the name in the address; 400 where one is to be stored.
        """
        fault = bad_file_name(self.file_name) if self.file_name is not None else ""
        try:
            if not fault:
                return self.declared.place(self.file_name)
        except ValueError as error:
            fault = f"{str(error)[0].upper()}{str(error)[1:]}."
        if self.request.method == "PUT":
            raise Problem(400, detail=fault)
        raise Problem(404, detail="There is no such file.")

    @property
    def is_apart(self) -> bool:
        """Whether a browser may show files here: at the origin for files, if there is one."""
        origin = self.resource.files_origin
        return not origin or origin.partition("://")[2] == self.request.host

    # ------------------------------------------------------------ reading

    async def retrieve_file(self, _: Any) -> None:
        """Answer with the file, ranges of it, or 304."""
        self.preconditions()  # a malformed one is 400 whether or not the file is there
        place = self.place
        for _ in range(_TRIES):
            model = await self.state("retrieve_file")
            file = place.of(model)
            if file is None:
                raise Problem(404, detail="There is no such file.")
            try:
                await FileAnswer(self, model, place, file).send()
                return
            except AttachmentNotFound:
                continue  # somebody has just replaced or deleted it
        raise Problem.of("contended", headers={"Retry-After": "1"})

    # ------------------------------------------------------------ writing

    def expected(self, current: Attachment | None) -> bool:
        """Whether the preconditions of a write hold for the file that is there now.

        Raises:
            Problem: 428, the file must be named and is not.
        """
        self._before, given = current, self.preconditions()
        if current is None:
            return given.if_match is None
        if self.resource.require_if_match and given.if_match is None and given.if_none_match is None:
            raise Problem.of("if-match-required", "Name in If-Match the entity tag of the file that is there.")
        expectation = given.expectation()
        try:
            return expectation is None or expectation(current.etag)
        except Problem as weak:
            raise Problem.of("file-mismatch", weak.detail, headers={"ETag": entity_tag(current.etag)}) from None

    def _check_found(self, place: AttachmentPlace) -> None:
        """Hold the document to the preconditions before the body comes."""
        file = place.of(self._found)
        if not self.expected(file):
            raise AttachmentMismatch("the file has another entity tag", None if file is None else file.etag)

    async def receiver(self, length: int) -> Receiver:
        """Let a PUT through, and return what receives the file.

        Raises:
            Problem: 400, 401, 403, 404, 412, 413, 415, 428, 429.
        """
        await self.admit(ACTIONS["replace_file"])
        place = self.place
        self._found = await self.document("replace_file")
        self._check_found(place)
        if place.of(self._found) is None and self.declared.many:
            self.declared.check_count(len(getattr(self._found, self.declared.attribute) or ()) + 1)
        return _incoming(self, self.fields.get("Content-Type", ""), length)

    async def replace_file(self, _: Any) -> None:
        """Store the file; 201 if it is new."""
        upload = await self.body.file()
        place = self.place
        file = event_file(place, upload)
        model = await self.store.attach(
            self._found, place.name, upload, expected=self.expected, **self.changing("replace_file", file)
        )
        await self.wrote("replace_file", model, place, file, 201 if self._before is None else 200)

    async def destroy_file(self, _: Any) -> None:
        """Delete the file; 204."""
        place = self.place
        self._found = await self.document("destroy_file")
        self._check_found(place)
        held = _there(self._found, place)
        file = EventFile(place.name, held.content_type, held.length, held.sha256)
        steps = self.changing("destroy_file", file)
        model = await self.store.detach(self._found, place.name, expected=self.expected, **steps)
        await self.resource.hooks.after(self.event("destroy_file", file), model, None)
        self.set_status(204)
        self.finish()


class FilesHandler(_OfFiles[M]):
    """GET of the list of a document's files, and POST of another one."""

    _form: list[tuple[str | None, Incoming]]

    async def list_files(self, _: Any) -> None:
        """Answer with the files, by their names."""
        self.preconditions()
        model = await self.state("list_files")
        held = getattr(model, self.declared.attribute, None) or {}
        items = [{"name": name, **self.shown_file(model, self.declared.place(name))} for name in sorted(held)]
        await self.answers.items({"items": items})

    async def receiver(self, length: int) -> Receiver:
        """Let a POST through, and return what receives the file, or the form with files.

        Raises:
            Problem: 400, 401, 403, 404, 409, 413, 415, 429.
        """
        await self.admit(ACTIONS["add_file"])
        idempotency_key(self.request.headers)
        self._form = []
        self._found = await self.document("add_file")
        self._check_count(1)
        if media_type(self.request.headers) == FORM_DATA:
            check_coding(self.fields)
            return Form(self.fields["Content-Type"], self.declared.max_items + 8, self._take)
        said = parse_disposition(self.fields.get("Content-Disposition", "attachment"))
        if said is None:
            raise Problem(400, detail='Content-Disposition: such as `attachment; filename="front.png"`.')
        found = _incoming(self, self.fields.get("Content-Type", ""), length)
        self._form.append((_checked(said.filename), found))
        return found

    @property
    def most_bytes(self) -> int:
        """The largest number of bytes that a body can have."""
        return self.declared.max_bytes * self.declared.max_items

    def _check_count(self, more: int) -> None:
        self.declared.check_count(len(getattr(self._found, self.declared.attribute) or ()) + more)

    def _take(self, part: Part) -> Receiver:
        """Return what receives a part of a form.

        Raises:
            Problem: 400, 409, 413, 415.
            ValidationFailed: it is none of the property.
        """
        if is_ignored(part):
            return Ignored(0)
        if part.name != self.declared.name:
            detail = f"The form has no such field here; files are in `{self.declared.name}`."
            raise ValidationFailed([{"pointer": f"/{part.name}", "keyword": "additionalProperties", "detail": detail}])
        self._check_count(len(self._form) + 1)
        found = Incoming(self.declared, declared_type(part.media_type, self.declared))
        self._form.append((_checked(part.filename), found))
        return found

    async def add_file(self, _: Any) -> None:
        """Store the file under a new name; 201 with Location. For several, 200 with a result for each."""
        await self.body.finish()
        uploads = [(name, each.upload) for name, each in self._form if each.upload is not None]
        if not uploads:
            detail = f"The form has no file in `{self.declared.name}`."
            raise ValidationFailed([{"pointer": f"/{self.declared.name}", "keyword": "required", "detail": detail}])
        if len(uploads) == 1:
            await self._add_one(*uploads[0])
            return
        refuse_key(self.request.headers)
        items = []
        for name, upload in uploads:
            items.append(await self._result(self.declared.place(name or _new_name(upload)), upload))
        await self.answers.results(items)

    async def _result(self, place: AttachmentPlace, upload: Upload) -> dict[str, Any]:
        """Store one of several files, and return what is answered about it."""
        try:
            model, file = await self._stored(place, upload, None)
            shown = {"status": 201, "name": place.item, **self.shown_file(model, place)}
            await self.resource.hooks.after(self.event("add_file", file), model, shown)
        except Exception as error:  # noqa: BLE001 - it is this file's outcome, whatever a hook raised
            problem = problem_of(500, error)
            if problem.status_code == 500:
                self.log_exception(type(error), error, error.__traceback__)
            href = self.file_href(self._found, place.name)
            return {"status": problem.status_code, "name": place.item, "problem": problem.body(href)}
        return shown

    async def _add_one(self, name: str | None, upload: Upload) -> None:
        place = self.declared.place(name or _new_name(upload))
        key, mark = idempotency_key(self.request.headers), None
        if key is not None:
            caller = self.principal.name if self.principal else None
            scope = [caller, self.resource.path, self.resource.info.key_text(self._found._key), self.declared.name]
            said = [name, upload.content_type, upload.sha256.hex()]
            mark = Mark.of(self.resource.secret(self.settings), scope, key, said)
        try:
            model, file = await self._stored(place, upload, mark)
        except _Done as done:
            self.set_header("Idempotent-Replayed", "true")
            place = self.declared.place(done.name.partition("/")[2])
            if place.of(done.model) is None:
                detail = "The file that was stored with this Idempotency-Key has been deleted since."
                raise Problem.of("idempotent-result-gone", detail) from None
            model, file = done.model, event_file(place, upload)
        await self.wrote("add_file", model, place, file, 201)

    async def _stored(self, place: AttachmentPlace, upload: Upload, mark: Mark | None) -> tuple[Any, EventFile]:
        """Store a file under a name that no other one has.

        Raises:
            Problem: 409, another one has it.
        """
        file = event_file(place, upload)
        try:
            model = await self.store.attach(
                self._found, place.name, upload, expected=_is_none, **self.changing("add_file", file, mark)
            )
        except AttachmentMismatch:
            raise Problem.of("exists", "There is a file with this name already; PUT replaces it.") from None
        return model, file


def _incoming(handler: _OfFiles, content_type: str, length: int) -> Incoming:
    """Return what receives a file that is the whole body.

    Raises:
        Problem: 400, 413, 415.
    """
    fields = handler.fields
    check_coding(fields)
    kind = declared_type(content_type, handler.declared)
    digests = [parse_digest(name, fields.get(name)) for name in ("Repr-Digest", "Content-Digest")]
    found = Incoming(handler.declared, kind, next(filter(None, digests), None))
    found.expect(length)
    return found


def _is_none(file: Attachment | None) -> bool:
    return file is None


def _checked(name: str | None) -> str | None:
    """Return the name that a client gives to a file; None if it gives none.

    Raises:
        Problem: 400, a file cannot have it.
    """
    if name and (fault := bad_file_name(name)):
        raise Problem(400, detail=fault)
    return name or None


def _new_name(upload: Upload) -> str:
    return secrets.token_hex(8) + extension_of(upload.content_type)


Routes = Iterator[tuple[str, type[ResourceHandler] | None, dict[str, Any]]]


def file_routes(mounted: dict[str, Resource[Any]], document: type[ResourceHandler]) -> Routes:
    """Yield the routes of the files of a resource's documents: path, handler class and options.

    Args:
        mounted: the options of all of the resource's routes.
        document: the handler class of a document; what it lets nobody read, or write, holds for files as well.
    """
    load_signatures()  # now, and not while a request waits for them
    for name, declared in mounted["resource"].info.attachments.items():
        reads = "GET" in document._actions and not declared.write_only
        writes = not declared.read_only and not {"PUT", "PATCH"}.isdisjoint(document._actions)
        path, options = f"/{{key}}/{quote_segment(name)}", {**mounted, "declared": declared}
        if declared.many:
            add = replace(ACTIONS["add_file"], takes=(*(declared.media_types or ("*/*",)), FORM_DATA))
            yield path, _with_actions(FilesHandler, reads and ACTIONS["list_files"], writes and add), options
            path, options = f"{path}/{{name}}", dict(options)
        writing = [ACTIONS["replace_file"], not declared.required and ACTIONS["destroy_file"]] if writes else []
        yield path, _with_actions(FileHandler, reads and ACTIONS["retrieve_file"], *writing), options


@lru_cache(maxsize=256)
def _with_actions(base: type[ResourceHandler], *rows: Action | Literal[False]) -> type[ResourceHandler] | None:
    kept = [each for each in rows if each]
    return type(base.__name__, (base,), {"__doc__": base.__doc__}, actions=kept) if kept else None
