"""The one error tree. Storage errors know no HTTP status of ours: `web/problems` maps them.

TornadoCouchError
├── CouchError                  a call to CouchDB did not give what was asked for
│   ├── Unavailable             an outage: no connection, connection lost, or a 5xx answer
│   │   ├── OutcomeUnknown      a write may have been carried out or not: nothing tells
│   │   └── TimedOut            no (whole) answer in time
│   │       ├── ConnectTimeout
│   │       ├── ReadTimeout
│   │       ├── PoolTimeout
│   │       └── TotalTimeout
│   ├── InvalidReply            nonsense: not HTTP, not JSON, or not of the documented shape
│   └── Refused                 CouchDB understood and said no (4xx); has status, error, reason
│       ├── BadRequest          400, and any 4xx that has no class of its own
│       ├── Unauthorized        401
│       ├── Forbidden           403
│       ├── NotFound            404: missing or deleted document, database, design document
│       ├── Conflict            409
│       ├── AlreadyExists       412: the database exists
│       ├── TooLarge            413
│       └── TooManyRequests     429
├── ModelError                  about models and their documents
│   ├── ModelDefinitionError    the class statement is wrong: raised when it is defined
│   ├── ValidationFailed        values given for a model are not valid; has `problems`
│   ├── PatchTestFailed         a JSON Patch's `test` does not hold for the document
│   ├── Unmergeable             a document's conflicting leaves cannot be merged by rules; has `problems`
│   └── InvalidDocument         a stored document does not fit its model
│       └── UnsupportedVersion  it is of a version this application does not know
├── StoreError                  about one document of the store
│   ├── DocumentNotFound        no (undeleted) document of that model and key
│   ├── DocumentExists          a document of that key is there already
│   ├── RevisionMismatch        the caller's precondition does not hold; has `current`
│   ├── RetriesExhausted        every try met a conflict; nothing was written
│   └── NoIndex                 no index of the model serves a query; says which would
├── InstallError                what is to be installed is wrong: a file, a name, what is there already
└── SecurityError               about keys, and about what they protect
    ├── KeySetError             keys cannot be read, or are not for this use
    ├── InvalidSignature        what was signed is not what is there; has `reason`
    ├── DecryptionFailed        nothing was decrypted; has `unknown_key`
    │   └── NotProtected        a value is stored in the clear that has to be protected
    └── LegacyAlgorithm         an algorithm only fit for reading was asked to write
"""

from __future__ import annotations

from enum import StrEnum

__all__ = [
    "AlreadyExists",
    "BadRequest",
    "Conflict",
    "ConnectTimeout",
    "CouchError",
    "DecryptionFailed",
    "DocumentExists",
    "DocumentNotFound",
    "Forbidden",
    "InstallError",
    "InvalidDocument",
    "InvalidReply",
    "InvalidSignature",
    "KeySetError",
    "LegacyAlgorithm",
    "ModelDefinitionError",
    "ModelError",
    "NoIndex",
    "NotFound",
    "NotProtected",
    "OutcomeUnknown",
    "PatchTestFailed",
    "PoolTimeout",
    "ReadTimeout",
    "Refused",
    "RetriesExhausted",
    "RevisionMismatch",
    "SecurityError",
    "SignatureFault",
    "StoreError",
    "TimedOut",
    "TooLarge",
    "TooManyRequests",
    "TornadoCouchError",
    "TotalTimeout",
    "Unauthorized",
    "Unavailable",
    "Unmergeable",
    "UnsupportedVersion",
    "ValidationFailed",
    "refusal",
]


class TornadoCouchError(Exception):
    """The root of every error that this package raises on purpose."""


class CouchError(TornadoCouchError):
    """A call to CouchDB did not give what was asked for."""


class Unavailable(CouchError):
    """An outage: CouchDB cannot be reached, the connection was lost, or it answered 5xx.

    Attributes:
        status: CouchDB's status where it answered, else None.
        sent: False when the request certainly never reached CouchDB, so that sending it again is safe.
    """

    def __init__(self, message: str, *, status: int | None = None, sent: bool = True) -> None:
        super().__init__(message)
        self.status = status
        self.sent = sent


class OutcomeUnknown(Unavailable):
    """Whether a write was carried out could not be found out; every other error of a store's write says that not.

    It may even be carried out later, when a request that was held up reaches CouchDB after all. Its `__cause__`
    is what kept the answer away.
    """


class TimedOut(Unavailable):
    """No whole answer came in time."""


class ConnectTimeout(TimedOut):
    """No connection came about in time."""


class ReadTimeout(TimedOut):
    """The connection stayed silent for too long."""


class PoolTimeout(TimedOut):
    """Every pooled connection stayed busy for too long."""


class TotalTimeout(TimedOut):
    """The whole exchange took too long."""


class InvalidReply(CouchError):
    """CouchDB, or what answered in its place, sent nonsense."""


class Refused(CouchError):
    """CouchDB understood the request and said no.

    Attributes:
        status: the HTTP status of the answer.
        error: CouchDB's `error` member, such as "not_found".
        reason: CouchDB's `reason` member, such as "missing" or "deleted".
    """

    def __init__(self, status: int, error: str, reason: str) -> None:
        super().__init__(f"CouchDB answered {status} {error}: {reason}")
        self.status = status
        self.error = error
        self.reason = reason


class BadRequest(Refused):
    """400, or another 4xx without a class of its own."""


class Unauthorized(Refused):
    """401: credentials are missing, wrong or out of date."""


class Forbidden(Refused):
    """403: the credentials do not permit it, or `validate_doc_update` refused."""


class NotFound(Refused):
    """404: there is no such document, database, design document or view."""


class Conflict(Refused):
    """409: the revision given is not the current one."""


class AlreadyExists(Refused):
    """412: the database exists already."""


class TooLarge(Refused):
    """413: the document or request is over CouchDB's limit."""


class TooManyRequests(Refused):
    """429: the rate limit, as Cloudant has one."""


_BY_STATUS: dict[int, type[Refused]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: AlreadyExists,
    413: TooLarge,
    429: TooManyRequests,
}


def refusal(status: int, error: str, reason: str) -> Refused:
    """The exception for CouchDB's 4xx answer."""
    return _BY_STATUS.get(status, BadRequest)(status, error, reason)


class ModelError(TornadoCouchError):
    """About a model or a document of it."""


class ModelDefinitionError(ModelError, TypeError):
    """A model class is declared wrongly."""


class ValidationFailed(ModelError):
    """Values given for a model are not valid.

    Attributes:
        problems: every fault, each a dict of `pointer` (RFC 6901), `keyword` and `detail`.
    """

    def __init__(self, problems: list[dict[str, str]]) -> None:
        super().__init__("; ".join(f"{each['pointer'] or '/'}: {each['detail']}" for each in problems))
        self.problems = problems


class PatchTestFailed(ModelError):
    """A `test` operation of a JSON Patch does not hold for the latest document (RFC 6902 §4.6)."""


class Unmergeable(ModelError):
    """The conflicting leaves of a document cannot be merged by its model's rules: somebody has to decide.

    Attributes:
        problems: why, each a dict of `pointer` and `detail`; no value of the document is in it.
    """

    def __init__(self, problems: list[dict[str, str]]) -> None:
        super().__init__("; ".join(f"{each['pointer'] or 'the document'}: {each['detail']}" for each in problems))
        self.problems = problems


class InvalidDocument(ModelError):
    """A stored document does not fit its model.

    Attributes:
        document_id: the document's `_id`.
        problems: what is wrong, each a dict of `pointer` and `detail`.
    """

    def __init__(self, message: str, document_id: str, problems: list[dict[str, str]] | None = None) -> None:
        super().__init__(message)
        self.document_id = document_id
        self.problems = problems or []


class UnsupportedVersion(InvalidDocument):
    """A stored document is of a version of its type that this application does not know."""


class StoreError(TornadoCouchError):
    """About one document of the store."""


class DocumentNotFound(StoreError):
    """No document of that model and key is there, or it is deleted."""


class DocumentExists(StoreError):
    """A document with that key is there already."""


class RevisionMismatch(StoreError):
    """The caller's precondition does not hold for the current revision.

    Attributes:
        current: the current revision; None where there is no document, or where it was not read.
    """

    def __init__(self, message: str, current: str | None) -> None:
        super().__init__(message)
        self.current = current


class RetriesExhausted(StoreError):
    """Every try met a conflict. Nothing was written by the last one."""

    def __init__(self, message: str, attempts: int) -> None:
        super().__init__(message)
        self.attempts = attempts


class NoIndex(StoreError, ValueError):
    """No index of the model serves a query: nothing was read, since it would have been everything.

    Attributes:
        declaration: what the model could declare to have such an index; empty where none could serve.
    """

    def __init__(self, message: str, declaration: str = "") -> None:
        super().__init__(message)
        self.declaration = declaration


class InstallError(TornadoCouchError):
    """What is to be installed is wrong: a file, a name, or what is there already."""


class SecurityError(TornadoCouchError):
    """About keys, and about what they protect. No message holds a secret or a protected value."""


class KeySetError(SecurityError):
    """Keys are missing, cannot be read, are open to others, or are not for this use."""


class SignatureFault(StrEnum):
    """What a signature shows to have happened."""

    UNSIGNED = "unsigned"
    ALTERED = "altered"
    MOVED = "moved"
    ROLLED_BACK = "rolled back"
    DELETED = "deleted"
    UNKNOWN_KEY = "unknown key"


class InvalidSignature(SecurityError):
    """What was signed is not what is there.

    Attributes:
        reason: what seems to have happened.
    """

    def __init__(self, message: str, reason: SignatureFault = SignatureFault.ALTERED) -> None:
        super().__init__(message)
        self.reason = reason


class DecryptionFailed(SecurityError):
    """Nothing was decrypted: wrong bytes, another place than where it was encrypted for, or another key.

    Attributes:
        unknown_key: no key of the one asked made it; another key set may have.
    """

    def __init__(self, message: str, *, unknown_key: bool = False) -> None:
        super().__init__(message)
        self.unknown_key = unknown_key


class NotProtected(DecryptionFailed):
    """A value is stored in the clear: since before its property was classified, or written past the service."""


class LegacyAlgorithm(SecurityError):
    """An algorithm that is only fit for reading old data was asked to write new data."""
