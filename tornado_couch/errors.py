"""All exceptions of this package. Those of the storage know nothing of HTTP answers: `web/problems` maps them.

TornadoCouchError
├── CouchError                  a call to CouchDB failed
│   ├── Unavailable             an outage: no connection, connection lost, or a 5xx answer
│   │   ├── OutcomeUnknown      a write may or may not have been carried out
│   │   └── TimedOut            no (whole) answer in time
│   │       ├── ConnectTimeout
│   │       ├── ReadTimeout
│   │       ├── PoolTimeout
│   │       └── TotalTimeout
│   ├── InvalidReply            the answer is not HTTP, not JSON, or not of the documented shape
│   ├── LongReply               the answer has more bytes than the caller takes
│   ├── NoRoom                  nothing was done: the requests in progress hold too many bytes already
│   └── Refused                 CouchDB refused the request (4xx); has `status`, `error`, `reason`
│       ├── BadRequest          400, and any 4xx that has no class of its own
│       ├── Unauthorized        401
│       │   └── UnauthorizedWrite   `validate_doc_update` refused a document with `unauthorized`
│       ├── CheckFailed         500: `validate_doc_update` itself failed, so that the document was not written
│       ├── Forbidden           403
│       ├── NotFound            404: missing or deleted document, database, design document
│       ├── Conflict            409
│       ├── PreconditionFailed  412
│       │   ├── AlreadyExists   the database that was to be created exists
│       │   └── MissingStub     the document names an attachment that CouchDB does not have for it
│       ├── TooLarge            413
│       └── TooManyRequests     429
├── ModelError                  about models and their documents
│   ├── ModelDefinitionError    a model class is not valid: raised when it is defined
│   ├── ValidationFailed        values given for a model are not valid; has `problems`
│   ├── AttachmentRefused       a file is not one that its property takes
│   │   ├── AttachmentTooLarge  it has too many bytes; has `limit`
│   │   ├── MediaTypeRefused    it has another type; has `accepted`
│   │   └── TooManyAttachments  the property has as many files as it may have; has `limit`
│   ├── ActionRefused           an action of the service does not fit the state of the document
│   ├── PatchTestFailed         a JSON Patch's `test` does not hold for the document
│   ├── Unmergeable             a document's conflicting leaves cannot be merged by rules; has `problems`
│   └── InvalidDocument         a stored document does not fit its model
│       └── UnsupportedVersion  its version is unknown to this application
├── StoreError                  about one document of the store
│   ├── DocumentNotFound        no (undeleted) document of that model and key
│   │   └── AttachmentNotFound  the document has no such file, or has another one by now
│   ├── DocumentExists          a document of that key exists already
│   ├── AttachmentMismatch      the caller's precondition about a file does not hold; has `current`
│   ├── RevisionMismatch        the caller's precondition does not hold; has `current`
│   ├── RetriesExhausted        every attempt met a conflict; nothing was written
│   ├── DocumentReferenced      documents refer to the one that was to be deleted; has `references`
│   ├── DependentsLeft          too many documents refer to it for one call; some were changed, more are left
│   ├── TooMuchAtOnce           the documents of one call have too many bytes together; it was left out
│   ├── ChangesLost             the changes after a place cannot be told
│   ├── ConsumerHeld            a consumer does not go on until somebody has decided
│   └── NoIndex                 no index of the model serves a query; names one that would
├── InstallError                something to install is wrong, or clashes with what exists
└── SecurityError               about keys, and about what they protect
    ├── KeySetError             keys cannot be read, or are not for this use
    ├── InvalidSignature        signed data was changed or moved; has `reason`
    ├── DecryptionFailed        nothing was decrypted; has `unknown_key`
    │   └── NotProtected        a value that must be protected is stored in the clear
    └── LegacyAlgorithm         an algorithm that is only for reading was asked to write
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Any

__all__ = [
    "ActionRefused",
    "AlreadyExists",
    "AttachmentMismatch",
    "AttachmentNotFound",
    "AttachmentRefused",
    "AttachmentTooLarge",
    "BadRequest",
    "ChangesLost",
    "CheckFailed",
    "Conflict",
    "ConnectTimeout",
    "ConsumerHeld",
    "CouchError",
    "DecryptionFailed",
    "DependentsLeft",
    "DocumentExists",
    "DocumentNotFound",
    "DocumentReferenced",
    "Forbidden",
    "InstallError",
    "InvalidDocument",
    "InvalidReply",
    "InvalidSignature",
    "KeySetError",
    "LegacyAlgorithm",
    "LongReply",
    "MediaTypeRefused",
    "MissingStub",
    "ModelDefinitionError",
    "ModelError",
    "NoIndex",
    "NoRoom",
    "NotFound",
    "NotProtected",
    "OutcomeUnknown",
    "PatchTestFailed",
    "PoolTimeout",
    "PreconditionFailed",
    "ReadTimeout",
    "Refused",
    "RetriesExhausted",
    "RevisionMismatch",
    "SecurityError",
    "SignatureFault",
    "StoreError",
    "TimedOut",
    "TooLarge",
    "TooManyAttachments",
    "TooManyRequests",
    "TooMuchAtOnce",
    "TornadoCouchError",
    "TotalTimeout",
    "Unauthorized",
    "UnauthorizedWrite",
    "Unavailable",
    "Unmergeable",
    "UnsupportedVersion",
    "ValidationFailed",
    "refusal",
]


_MOST_NAMED = 20  # faults that the text of an error names


class TornadoCouchError(Exception):
    """The base class of every error that this package raises on purpose."""


class CouchError(TornadoCouchError):
    """A call to CouchDB failed.

    Attributes:
        in_doubt: the ids of the documents that may be stored although the call failed, where it wrote several at
            once. Each shard stores its documents by itself, so that a refusal proves nothing about the others.
    """

    in_doubt: tuple[str, ...] = ()


class Unavailable(CouchError):
    """An outage: CouchDB cannot be reached, the connection was lost, or it answered 5xx.

    Attributes:
        status: the HTTP status of CouchDB's answer; None without an answer.
        sent: False when the request certainly never reached CouchDB, so that sending it again is safe.
    """

    def __init__(self, message: str, *, status: int | None = None, sent: bool = True) -> None:
        super().__init__(message)
        self.status = status
        self.sent = sent


class OutcomeUnknown(Unavailable):
    """A write may or may not have been carried out; after any other error of a store's write, it was not.

    The write may even happen later, if a delayed request still reaches CouchDB. The `__cause__` says why no
    answer came.
    """


class TimedOut(Unavailable):
    """No complete answer came in time."""


class ConnectTimeout(TimedOut):
    """No connection could be made in time."""


class ReadTimeout(TimedOut):
    """No data arrived on the connection for too long."""


class PoolTimeout(TimedOut):
    """All pooled connections stayed busy for too long."""


class TotalTimeout(TimedOut):
    """The whole request took too long."""


class InvalidReply(CouchError):
    """CouchDB, or something in between, sent an answer that makes no sense."""


class LongReply(CouchError):
    """The answer has more bytes than the caller takes; the rest of it was not read."""


class NoRoom(CouchError):
    """The documents of all requests in progress have too many bytes together, and none became free in time.

    Those of this request were dropped, and nothing was written; see the setting `max_prepared` of `Application`.
    """


class Refused(CouchError):
    """CouchDB understood the request and refused it.

    Attributes:
        status: the HTTP status of the answer.
        error: CouchDB's `error` member, such as "not_found".
        reason: CouchDB's `reason` member, such as "missing" or "deleted". It is text, unless a function
            `validate_doc_update` throws another JSON value.
    """

    def __init__(self, status: int, error: str, reason: Any) -> None:
        text = reason if isinstance(reason, str) else json.dumps(reason, ensure_ascii=False)
        super().__init__(f"CouchDB answered {status} {error}: {text}")
        self.status = status
        self.error = error
        self.reason = reason


class BadRequest(Refused):
    """400, or another 4xx without a class of its own."""


class Unauthorized(Refused):
    """401: the credentials are missing, wrong or expired."""


class UnauthorizedWrite(Unauthorized):
    """401 `validate_doc_update` refused a document with `unauthorized`: the credentials themselves are in order."""


class CheckFailed(Refused):
    """500: a function `validate_doc_update` raised an exception, so that the document was not written.

    Sending the document again would not help; somebody has to mend the function.
    """


class Forbidden(Refused):
    """403: the user may not do this, or `validate_doc_update` refused the write."""


class NotFound(Refused):
    """404: the document, database, design document or view does not exist."""


class Conflict(Refused):
    """409: the given revision is not the current one."""


class PreconditionFailed(Refused):
    """412: something that the request relies on is not so."""


class AlreadyExists(PreconditionFailed):
    """412 `file_exists`: the database that was to be created exists already."""


class MissingStub(PreconditionFailed):
    """412 `missing_stub`: the document names an attachment that CouchDB does not have for this document."""


class TooLarge(Refused):
    """413: the document or request is over CouchDB's limit."""


class TooManyRequests(Refused):
    """429: a rate limit was reached, such as Cloudant's."""


_BY_ERROR: dict[tuple[int, str], type[Refused]] = {
    (412, "file_exists"): AlreadyExists,
    (412, "missing_stub"): MissingStub,
}
_BY_STATUS: dict[int, type[Refused]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: PreconditionFailed,
    413: TooLarge,
    429: TooManyRequests,
    500: CheckFailed,
}


def refusal(status: int, error: str, reason: Any) -> Refused:
    """The exception for CouchDB's 4xx answer, or for a 500 that is a function's failure."""
    kind = _BY_ERROR.get((status, error)) or _BY_STATUS.get(status, BadRequest)
    return kind(status, error, reason)


class ModelError(TornadoCouchError):
    """An error about a model or one of its documents."""


class ModelDefinitionError(ModelError, TypeError):
    """The definition of a model class is not valid."""


class ValidationFailed(ModelError):
    """Values given for a model are not valid.

    Attributes:
        problems: everything that is wrong, each a dict of `pointer` (RFC 6901), `keyword` and `detail`.
    """

    def __init__(self, problems: list[dict[str, str]]) -> None:
        more = [f"and {len(problems) - _MOST_NAMED} more"] if len(problems) > _MOST_NAMED else []
        named = [f"{each['pointer'] or '/'}: {each['detail']}" for each in problems[:_MOST_NAMED]]
        super().__init__("; ".join([*named, *more]))
        self.problems = problems


class AttachmentRefused(ModelError):
    """A file is not one that its property takes; nothing was written."""


class AttachmentTooLarge(AttachmentRefused):
    """A file has more bytes than its property takes.

    Attributes:
        limit: how many bytes it may have.
    """

    def __init__(self, message: str, limit: int) -> None:
        super().__init__(message)
        self.limit = limit


class MediaTypeRefused(AttachmentRefused):
    """A file has a media type that its property does not take.

    Attributes:
        accepted: what it takes, such as `image/*`.
    """

    def __init__(self, message: str, accepted: tuple[str, ...]) -> None:
        super().__init__(message)
        self.accepted = accepted


class TooManyAttachments(AttachmentRefused):
    """A property has as many files as it may have.

    Attributes:
        limit: how many.
    """

    def __init__(self, message: str, limit: int) -> None:
        super().__init__(message)
        self.limit = limit


class ActionRefused(ModelError):
    """The document's state does not allow what is asked, such as to cancel an order that has left already.

    Raise it in an action of the service, or in a hook: nothing is written, and the client gets a 409.

    Args:
        detail: a sentence for the client; it must hold no secret.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class PatchTestFailed(ModelError):
    """A `test` operation of a JSON Patch does not hold for the latest document (RFC 6902 §4.6)."""


class Unmergeable(ModelError):
    """The conflicting leaves of a document cannot be merged by its model's rules, so that somebody has to decide.

    Attributes:
        problems: the reasons, each a dict of `pointer` and `detail`, without values of the document.
    """

    def __init__(self, problems: list[dict[str, str]]) -> None:
        super().__init__("; ".join(f"{each['pointer'] or 'the document'}: {each['detail']}" for each in problems))
        self.problems = problems


class InvalidDocument(ModelError):
    """A stored document does not fit its model.

    Attributes:
        document_id: the document's `_id`.
        problems: what is wrong, each a dict of `pointer`, `keyword` and `detail`, without values of the document.
        partial: the model with those properties that do fit, where it could be read so far; it has no attributes
            for the others. What replaces or deletes the document works with it.
    """

    partial: Any = None

    def __init__(self, message: str, document_id: str, problems: list[dict[str, str]] | None = None) -> None:
        super().__init__(message)
        self.document_id = document_id
        self.problems = problems or []


class UnsupportedVersion(InvalidDocument):
    """A stored document has a version that this application does not know."""


class StoreError(TornadoCouchError):
    """An error about one document of the store."""


class DocumentNotFound(StoreError):
    """No document of that model and key exists, or it is deleted."""


class DocumentExists(StoreError):
    """A document with that key exists already."""


class AttachmentNotFound(DocumentNotFound):
    """The document has no such file, or has another one by now."""


class AttachmentMismatch(StoreError):
    """The caller's precondition does not hold for the file that is there now.

    Attributes:
        current: the file's entity tag, without quotation marks; None if there is no file.
    """

    def __init__(self, message: str, current: str | None) -> None:
        super().__init__(message)
        self.current = current


class RevisionMismatch(StoreError):
    """The caller's precondition does not hold for the current revision.

    Attributes:
        current: the current revision; None if there is no document, or if it was not read.
    """

    def __init__(self, message: str, current: str | None) -> None:
        super().__init__(message)
        self.current = current


class RetriesExhausted(StoreError):
    """Every attempt met a conflict. The last one wrote nothing."""

    def __init__(self, message: str, attempts: int) -> None:
        super().__init__(message)
        self.attempts = attempts


class DocumentReferenced(StoreError):
    """Documents refer to the one that was to be deleted, and their models say that it stays; it was not deleted.

    Attributes:
        references: the first of these documents, each as its model and key.
        more: whether there are more of them, or some that cannot be read.
    """

    def __init__(self, message: str, references: list[tuple[Any, Any]], *, more: bool = False) -> None:
        super().__init__(message)
        self.references = references
        self.more = more


class DependentsLeft(StoreError):
    """More documents refer to the one that was to be deleted than one call changes; the same call goes on with them."""


class TooMuchAtOnce(StoreError):
    """The documents that one call changes have too many bytes together; this one was neither read nor written."""


class ChangesLost(StoreError):
    """The changes after a place cannot be told: begin again with the documents as they are, and follow from there."""


class ConsumerHeld(StoreError):
    """A consumer does not go on until somebody has decided what it should do; the message says what there is to do."""


class NoIndex(StoreError, ValueError):
    """No index of the model serves a query, and nothing was read: the query would have read every document.

    Attributes:
        declaration: what the model could declare to get such an index; empty if no index could serve the query.
    """

    def __init__(self, message: str, declaration: str = "") -> None:
        super().__init__(message)
        self.declaration = declaration


class InstallError(TornadoCouchError):
    """Something to install is wrong, such as a file or a name, or it clashes with what exists."""


class SecurityError(TornadoCouchError):
    """An error about keys or what they protect. No message holds a secret or a protected value."""


class KeySetError(SecurityError):
    """Keys are missing, cannot be read, can be read by others, or are not for this use."""


class SignatureFault(StrEnum):
    """Why a signature does not verify."""

    UNSIGNED = "unsigned"
    ALTERED = "altered"
    MOVED = "moved"
    ROLLED_BACK = "rolled back"
    DELETED = "deleted"
    UNKNOWN_KEY = "unknown key"


class InvalidSignature(SecurityError):
    """Signed data is not what was signed: it was changed, moved or replaced.

    Attributes:
        reason: what probably happened.
    """

    def __init__(self, message: str, reason: SignatureFault = SignatureFault.ALTERED) -> None:
        super().__init__(message)
        self.reason = reason


class DecryptionFailed(SecurityError):
    """A value cannot be decrypted: its bytes are wrong, it was encrypted for another place, or with another key.

    Attributes:
        unknown_key: no key of this key set encrypted it; another key set may have.
    """

    def __init__(self, message: str, *, unknown_key: bool = False) -> None:
        super().__init__(message)
        self.unknown_key = unknown_key


class NotProtected(DecryptionFailed):
    """A value is stored in the clear: from before its property was classified, or written by something else."""


class LegacyAlgorithm(SecurityError):
    """An algorithm that is only for reading old data was asked to write new data."""
