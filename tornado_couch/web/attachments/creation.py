"""`creating_with_files(…)`: POST of a collection that takes a document together with its files.

    POST /v1.0/orders    multipart/form-data, as a browser's form sends it, or multipart/related

The part `document` is the document in JSON; each file is in a part that is called like its property. All of it is
stored with one write, so that nobody ever sees the document without its files.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

from ...errors import ValidationFailed
from ...models import AttachmentPlace, AttachmentProperty
from ...store import Store, Upload
from ..action_table import ACTIONS
from ..actions.create import CreateMixin
from ..actions.idempotency import Once, idempotency_key
from ..body import Body
from ..handler import ResourceHandler
from ..http import bad_file_name, media_type, parse_json
from ..http.media import extension_of
from ..http.multipart import FORM_DATA, RELATED, Part
from ..openapi.operation import ApiOperation
from ..problems import Problem
from ..resources import M, Resource
from .described import describe_creation
from .early import EarlyAnswers
from .forms import Form, Ignored, Text, is_ignored
from .receiving import Incoming, Receiver, UploadBody, check_coding, declared_type, event_file

__all__ = ["creating_with_files"]

_DOCUMENT = "document"


def creating_with_files(base: type[ResourceHandler], resource: Resource[Any]) -> type[ResourceHandler]:
    """Return a handler class of a collection that takes forms as well, if its documents can have files.

    Args:
        base: the class; what it overrides holds here as well.
        resource: what is mounted.
    """
    taken = [each for each in resource.info.attachments.values() if not each.read_only]
    if not taken or not issubclass(base, CreateMixin) or "POST" not in base._actions:
        return base
    bodies, create = {**base.BODIES, "POST": _receive}, base._actions["POST"]
    rows = [*base._actions.values(), replace(create, takes=(*create.takes, FORM_DATA, RELATED))]
    rows = list({each.method: each for each in rows if each.method != "HEAD"}.values())
    members = {"__doc__": base.__doc__, "BODIES": bodies, "_plain": staticmethod(base.BODIES["POST"])}
    made: type[ResourceHandler] = type(base.__name__, (_WithForms, base), members, actions=rows)
    return made


def _receive(handler: Any) -> Body:
    if media_type(handler.request.headers) in (FORM_DATA, RELATED):
        return UploadBody(handler)
    found: Body = handler._plain(handler)
    return found


class _StoreWithFiles:
    """Stands in for the store while a document is created, so that its files go with it.

    Args:
        store: the store.
        files: what is stored with the document, by name.
    """

    def __init__(self, store: Store, files: dict[str, Upload]) -> None:
        self._store = store
        self._files = files

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def create(self, model: Any, **options: Any) -> Any:
        """Store a new model with its files."""
        return await self._store.create(model, files=self._files, **options)


class _WithForms(EarlyAnswers[M], CreateMixin[M]):
    """A POST that may be a form."""

    _files: list[tuple[AttachmentPlace, Incoming]]
    _document: Text

    @property
    def most_bytes(self) -> int:
        """The largest number of bytes that a form can have."""
        files = sum(each.max_bytes * (each.max_items if each.many else 1) for each in self._declared.values())
        return self.resource.limits.size + files

    @property
    def _declared(self) -> dict[str, AttachmentProperty]:
        attachments = self.resource.info.attachments
        return {name: each for name, each in attachments.items() if not each.read_only}

    async def receiver(self, length: int) -> Receiver:
        """Let the POST of a form through, and return what receives it.

        Raises:
            Problem: 400, 401, 403, 413, 415, 429.
        """
        await self.admit(ACTIONS["create"])
        idempotency_key(self.request.headers)
        check_coding(self.fields)
        self._files, self._document = [], Text(self.resource.limits.size)
        most = sum(each.max_items if each.many else 1 for each in self._declared.values()) + 8
        if length > self.most_bytes + most * 16 * 1024:
            raise Problem(413, detail=f"The form has more than {self.most_bytes} bytes.")
        return Form(self.fields["Content-Type"], most, self._take)

    def _take(self, part: Part) -> Receiver:
        """Return what receives a part.

        Raises:
            Problem: 400, 409, 413, 415.
            ValidationFailed: the document has no such files, or none yet of one that it can have once.
        """
        if is_ignored(part):
            return Ignored(0)
        if part.name == _DOCUMENT or (part.name is None and not self._files):
            if part.media_type not in ("", "application/json", "text/plain"):
                raise Problem(415, detail="The part `document` must be application/json.")
            return self._document
        declared = self._declared.get(part.name or "")
        taken = [place for place, _ in self._files if place.declared is declared]
        if declared is None or (taken and not declared.many):
            detail = "The document has no such file." if declared is None else "The document has one such file only."
            raise ValidationFailed([{"pointer": f"/{part.name}", "keyword": "additionalProperties", "detail": detail}])
        declared.check_count(len(taken) + 1)
        kind = declared_type(part.media_type, declared)
        found = Incoming(declared, kind)
        self._files.append((_place(declared, part, kind, [each.item for each in taken]), found))
        return found

    async def create(self) -> None:
        """Create the document with its files, or do what the class does for other bodies."""
        if not isinstance(self.body, UploadBody):
            await super().create()
            return
        await self.body.finish()
        body = await parse_json(self._document.content or b"{}", self.resource.limits)
        if not isinstance(body, dict):
            raise Problem.of("malformed-body", "The part `document` must be one document.")
        files = {place.name: each.upload for place, each in self._files if each.upload is not None}
        self._gathering = _StoreWithFiles(self.store, files)
        key = idempotency_key(self.request.headers)
        if key is None:
            model = await self.admitted(self.new_model(await self.valid("create", body)))
            await self.referring(model)
            await self.answer_created(await self.perform_create(model))
        else:
            said = {name: [each.content_type, each.sha256.hex()] for name, each in files.items()}
            await self.answer_created(*await Once(self).create(key, body, said))

    async def admitted(self, model: M, /) -> M:
        """Return the new model, once the policy and the hooks have let it and its files through."""
        model = await super().admitted(model)
        hooks = self.resource.hooks
        if hooks.has_before and isinstance(self.body, UploadBody):
            for place, each in self._files:
                if each.upload is not None:
                    event = replace(self.event("add_file"), file=event_file(place, each.upload))
                    model = await hooks.before(event, model) or model  # type: ignore[assignment]
        return model

    @classmethod
    def describe(cls, operation: ApiOperation) -> None:
        """Describe what the class does, and forms."""
        super().describe(operation)
        describe_creation(operation)


def _place(declared: AttachmentProperty, part: Part, kind: str, taken: list[str | None]) -> AttachmentPlace:
    """Return the place of a file.

    Raises:
        Problem: 400, it has a name that a file cannot have, or that another one of the form has.
    """
    if not declared.many:
        return declared.place()
    name = part.filename or secrets.token_hex(8) + extension_of(kind)
    if fault := bad_file_name(name):
        raise Problem(400, detail=fault)
    if name in taken:
        raise Problem(400, detail="Two files of the form have one name.")
    return declared.place(name)
