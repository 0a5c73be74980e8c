"""The classic API of tor-async-couchdb: asynchronous actions with callbacks, on models of any class.

    from tornado_couch import async_model_actions

    async_model_actions.database = "http://127.0.0.1:5984/orchard"

A service written for tor-async-couchdb changes its import lines and its Python 2 syntax. The callback that an
action's method receives is called as `callback(is_ok, [is_conflict,] result, action)`. It may be left out:
each method returns a task whose result is the same arguments, and the action itself can be awaited.

    is_ok, fruit, action = await AsyncFruitRetriever("1f")

New services use `Store`, on which this is a thin layer. It corrects mistakes of the original: ids are quoted;
the callback is always called, and `action.error` holds the reason of a failure; a missing document is not an outage
(`is_ok` is True, the model None), a tampered one is not a missing one; 202 is success; keys such as 0 and "" count.
"""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import re
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from typing import Any, TypeVar

from ..couch import Database, Sizes, names
from ..errors import Conflict, CouchError, InvalidReply, InvalidSignature, NotFound, TornadoCouchError
from ..store.reading.reader import is_absent
from . import tamper
from .connection import Settings, database_of
from .metrics import DatabaseMetrics, ViewMetrics

__all__ = [
    "AsyncAction",
    "AsyncAllViewMetricsRetriever",
    "AsyncCouchDBHealthCheck",
    "AsyncDatabaseMetricsRetriever",
    "AsyncDeleter",
    "AsyncModelRetriever",
    "AsyncModelRetrieverByDocumentID",
    "AsyncModelsRetriever",
    "AsyncPersister",
    "AsyncViewMetricsRetriever",
    "BaseAsyncModelRetriever",
    "DatabaseMetrics",
    "InvalidTypeInDocForStoreException",
    "ViewMetrics",
    "database",
    "password",
    "tampering_signer",
    "username",
    "validate_cert",
]

_logger = logging.getLogger("tornado_couch.classic")

T = TypeVar("T")
Document = dict[str, Any]
Outcome = tuple[Any, ...]
Work = Callable[[], Coroutine[Any, Any, T]]

# These settings are read at each call, because a service's main module assigns them after importing this module.
database: str = "http://127.0.0.1:5984/database"
"""The URL of the database."""

tampering_signer: Any = None
"""A Keyczar `Signer`; if set, documents are signed when they are written and verified when they are read."""

username: str | None = None
"""The user's name for CouchDB, or None."""

password: str | None = None
"""The user's password for CouchDB, or None."""

validate_cert: bool = True
"""Whether CouchDB's certificate is checked, if the URL begins with https."""


class InvalidTypeInDocForStoreException(Exception):
    """A model's `as_doc_for_store()` returned a document whose `type` is not NAME_vMAJOR.MINOR."""

    def __init__(self, model: object) -> None:
        super().__init__(f"invalid 'type' in doc for store - see '{type(model)}.as_doc_for_store()")


class AsyncAction:
    """The base class of all actions.

    Attributes:
        async_state: any value that the caller wants to find in the callback.
        error: why the action failed; None if it did not fail.
    """

    def __init__(self, async_state: Any = None) -> None:
        self.async_state = async_state
        self.error: Exception | None = None
        self._task: asyncio.Task[Outcome] | None = None

    def __await__(self) -> Generator[Any, None, Outcome]:
        return self._begin().__await__()

    def _begin(self) -> asyncio.Task[Outcome]:
        raise NotImplementedError("this action does nothing; use or derive from one of the others")

    def _start(self, work: Work[Outcome], callback: Callable[..., Any] | None) -> asyncio.Task[Outcome]:
        if self._task is not None and not self._task.done():
            raise RuntimeError("this action is already running; create another one")
        self._task = asyncio.get_running_loop().create_task(self._finished(work))
        if callback is not None:
            self._task.add_done_callback(functools.partial(_call_back, callback))
        return self._task

    async def _finished(self, work: Work[Outcome]) -> Outcome:
        return (*await work(), self)

    async def _guarded(self, work: Work[T]) -> T | None:
        """Return the result of the work, or None if it fails for any reason: the callback must be called."""
        self.error = None
        try:
            return await work()
        except Exception as error:  # noqa: BLE001 - code of the service's own is called in it
            self._failed(error)
            return None

    def _failed(self, error: Exception) -> None:
        self.error = error
        # Our own messages contain no ids, keys or credentials; other errors need their traceback.
        known = isinstance(error, TornadoCouchError)
        _logger.error("%s failed: %s", type(self).__name__, error, exc_info=None if known else error)


def _call_back(callback: Callable[..., Any], task: asyncio.Task[Outcome]) -> None:
    if not task.cancelled():
        callback(*task.result())


async def _database() -> Database:
    return await database_of(Settings(database, username, password, validate_cert))


class _Reading(AsyncAction):
    """An action that creates models from documents."""

    def create_model_from_doc(self, doc: Document) -> Any:
        """Create the model from a document; subclasses must implement this."""
        raise NotImplementedError("a subclass must implement create_model_from_doc()")

    def _model_of(self, document: Document) -> Any:
        if tampering_signer is not None and not tamper.verify(tampering_signer, document):
            raise InvalidSignature("tampering detected: the document's signature does not verify")
        return self.create_model_from_doc(document)


class AsyncModelRetrieverByDocumentID(_Reading):
    """Retrieves the model whose document has a given id."""

    def __init__(self, document_id: str, async_state: Any = None) -> None:
        super().__init__(async_state)
        self.document_id = document_id

    def fetch(self, callback: Callable[[bool, Any, Any], Any] | None = None) -> asyncio.Task[Outcome]:
        """Retrieve the model: `callback(is_ok, model, action)`; the model is None if the document does not exist."""
        return self._start(self._fetched, callback)

    _begin = fetch

    async def _fetched(self) -> Outcome:
        model = await self._guarded(self._retrieved)
        return self.error is None, model

    async def _retrieved(self) -> Any:
        try:
            document = await (await _database()).get(self.document_id)
        except NotFound as error:
            if not is_absent(error):
                raise
            return None
        return self._model_of(document)


class BaseAsyncModelRetriever(_Reading):
    """Retrieves models through a view that has the same name as its design document.

    Attributes:
        design_doc: the name of both.
    """

    design_doc: str

    def fetch(self, callback: Callable[..., Any] | None = None) -> asyncio.Task[Outcome]:
        """Retrieve the models: `callback(is_ok, what on_rows returns, action)`."""
        return self._start(self._fetched, callback)

    _begin = fetch

    def get_query_string_key_value_pairs(self) -> Mapping[str, Any]:
        """Return the parameters of the view's query, for subclasses to implement; keys are JSON text, as in a URL."""
        raise NotImplementedError("a subclass must implement get_query_string_key_value_pairs()")

    async def _fetched(self) -> Outcome:
        result = await self._guarded(self._retrieved)
        return self.error is None, result

    async def _retrieved(self) -> Any:
        pairs = self.get_query_string_key_value_pairs()
        query: Any = {_ALIASES.get(name, name): _parameter(name, each) for name, each in pairs.items()}
        found = await (await _database()).view(self.design_doc, self.design_doc, **query)
        return self._result([row.doc for row in found.rows if row.doc is not None])

    def _result(self, documents: Sequence[Document]) -> Any:
        raise NotImplementedError("derive from AsyncModelRetriever or AsyncModelsRetriever")


class AsyncModelRetriever(BaseAsyncModelRetriever):
    """Retrieves the first model that a view has for a key: `callback(is_ok, model, action)`.

    Args:
        design_doc: the name of the view and of its design document.
        key: any JSON value.
        async_state: any value that the callback needs.
    """

    def __init__(self, design_doc: str, key: Any, async_state: Any = None) -> None:
        super().__init__(async_state)
        self.design_doc = design_doc
        self.key = key

    def get_query_string_key_value_pairs(self) -> Mapping[str, Any]:
        """Return the key, and ask for the documents."""
        return {"include_docs": "true", "key": json.dumps(self.key)}

    def _result(self, documents: Sequence[Document]) -> Any:
        return self._model_of(documents[0]) if documents else None


class AsyncModelsRetriever(BaseAsyncModelRetriever):
    """Retrieves the models in a range of a view's keys: `callback(is_ok, models, action)`.

    Args:
        design_doc: the name of the view and of its design document.
        start_key: any JSON value; None to start at the beginning.
        end_key: any JSON value; None to go on to the end.
        async_state: any value that the callback needs.

    Attributes:
        withheld: how many documents were left out because they do not verify or could not become models.
    """

    def __init__(self, design_doc: str, start_key: Any = None, end_key: Any = None, async_state: Any = None) -> None:
        super().__init__(async_state)
        self.design_doc = design_doc
        self.start_key = start_key
        self.end_key = end_key
        self.withheld = 0

    def get_query_string_key_value_pairs(self) -> Mapping[str, Any]:
        """Return the range, and ask for the documents."""
        bounds = {"startkey": self.start_key, "endkey": self.end_key}
        given = {name: json.dumps(key) for name, key in bounds.items() if key is not None}
        return {"include_docs": "true", **given}

    def transform_models(self, models: list[Any]) -> Any:
        """Return what the callback receives instead of the list, such as a dict by some property."""
        return models

    def _result(self, documents: Sequence[Document]) -> Any:
        models = []
        self.withheld = 0
        for document in documents:
            try:
                model = self._model_of(document)
            except Exception as error:
                self.withheld += 1
                _logger.error("%s left a document out", type(self).__name__, exc_info=error)
            else:
                models.append(model)
        return self.transform_models([each for each in models if each is not None])


class AsyncPersister(AsyncAction):
    """Stores a model, and sets its document's new id and revision on it.

    Args:
        model: an object of any class that has `as_doc_for_store`, `_id` and `_rev`.
        model_as_doc_for_store_args: the arguments of `as_doc_for_store`.
        async_state: any value that the callback needs.
    """

    _doc_type_reg_ex = re.compile(r"\S+_v\d+\.\d+", re.ASCII)

    def __init__(self, model: Any, model_as_doc_for_store_args: Sequence[Any] = (), async_state: Any = None) -> None:
        super().__init__(async_state)
        self.model = model
        self.model_as_doc_for_store_args = model_as_doc_for_store_args

    def persist(self, callback: Callable[[bool, bool, Any], Any] | None = None) -> asyncio.Task[Outcome]:
        """Store the model: `callback(is_ok, is_conflict, action)`.

        Raises:
            InvalidTypeInDocForStoreException: the document's `type` is not NAME_vMAJOR.MINOR.
        """
        document = self.model.as_doc_for_store(*self.model_as_doc_for_store_args)
        if not self._doc_type_reg_ex.fullmatch(str(document.get("type", ""))):
            raise InvalidTypeInDocForStoreException(self.model)
        return self._start(lambda: _written(self, lambda: self._stored(document)), callback)

    _begin = persist

    async def _stored(self, document: Document) -> None:
        target = await _database()
        if tampering_signer is not None:
            document = tamper.sign(tampering_signer, document)
        # We choose the id before the write, so that a lost answer cannot lead to two documents.
        document.setdefault("_id", self.model._id or await target.server.new_id())
        result = await target.put(document)
        self.model._id, self.model._rev = result.id, result.rev


class AsyncDeleter(AsyncAction):
    """Deletes a model's document.

    Args:
        model: has the `_id` and `_rev` that it was read or stored with; without them the deletion fails.
        async_state: any value that the callback needs.
    """

    def __init__(self, model: Any, async_state: Any = None) -> None:
        super().__init__(async_state)
        self.model = model

    def delete(self, callback: Callable[[bool, bool, Any], Any] | None = None) -> asyncio.Task[Outcome]:
        """Delete the document: `callback(is_ok, is_conflict, action)`."""
        return self._start(lambda: _written(self, self._deleted), callback)

    _begin = delete

    async def _deleted(self) -> None:
        if not self.model._id or not self.model._rev:
            raise ValueError("cannot delete a model without _id and _rev: it was never stored")
        result = await (await _database()).delete(self.model._id, self.model._rev)
        self.model._rev = result.rev


async def _written(action: AsyncAction, work: Work[None]) -> Outcome:
    """Return whether a write succeeded, and if not, whether the reason was a conflict."""
    await action._guarded(work)
    return action.error is None, isinstance(action.error, Conflict)


class AsyncCouchDBHealthCheck(AsyncAction):
    """Checks that CouchDB answers, and that the database exists."""

    def check(self, callback: Callable[[bool, Any], Any] | None = None) -> asyncio.Task[Outcome]:
        """Run the check: `callback(is_ok, action)`."""
        return self._start(self._checked, callback)

    _begin = check

    async def _checked(self) -> Outcome:
        await self._guarded(self._asked)
        return (self.error is None,)

    async def _asked(self) -> None:
        await (await _database()).info()


class _Measuring(AsyncAction):
    """An action that retrieves metrics, and reports the reason of a failure as a code."""

    FFD_OK = 0x0000
    FFD_ERROR = 0x0080
    FFD_ERROR_TALKING_TO_COUCHDB = FFD_ERROR | 0x0001

    def __init__(self, async_state: Any = None) -> None:
        super().__init__(async_state)
        self.fetch_failure_detail: int | None = None

    def fetch(self, callback: Callable[[bool, Any, Any], Any] | None = None) -> asyncio.Task[Outcome]:
        """Retrieve the metrics: `callback(is_ok, metrics, action)`; `action.fetch_failure_detail` is a code."""
        return self._start(self._fetched, callback)

    _begin = fetch

    async def _fetched(self) -> Outcome:
        self.fetch_failure_detail = self.FFD_OK
        metrics = await self._guarded(self._measured)
        if self.error is not None and not self.fetch_failure_detail & self.FFD_ERROR:
            self.fetch_failure_detail = self.FFD_ERROR_TALKING_TO_COUCHDB
        is_ok = not self.fetch_failure_detail & self.FFD_ERROR
        return is_ok, metrics if is_ok else None

    async def _measured(self) -> Any:
        raise NotImplementedError


class AsyncDatabaseMetricsRetriever(_Measuring):
    """Retrieves the `DatabaseMetrics` of the database, with those of its views."""

    FFD_ERROR_GETTING_VIEW_METRICS = _Measuring.FFD_ERROR | 0x0002

    async def _measured(self) -> DatabaseMetrics:
        info = await (await _database()).info()
        is_ok, views, _ = await AsyncAllViewMetricsRetriever()
        if not is_ok:
            self.fetch_failure_detail = self.FFD_ERROR_GETTING_VIEW_METRICS
            raise InvalidReply("the views' metrics could not be retrieved")
        sizes = Sizes.of(info)
        return DatabaseMetrics(names.base(database).url, info.get("doc_count"), sizes.active, sizes.file, views)


class AsyncAllViewMetricsRetriever(_Measuring):
    """Retrieves the `ViewMetrics` of every design document."""

    FFD_ERROR_FETCHING_VIEW_METRICS = _Measuring.FFD_ERROR | 0x0002
    FFD_NO_DESIGN_DOCS_IN_DATABASE = 0x0003

    async def _measured(self) -> list[ViewMetrics]:
        rows = (await (await _database()).all_docs(startkey="_design/", endkey="_design0")).rows
        if not rows:
            self.fetch_failure_detail = self.FFD_NO_DESIGN_DOCS_IN_DATABASE
        found = []
        # One after the other: this is not urgent, and CouchDB has more important work.
        for row in rows:
            is_ok, metrics, each = await AsyncViewMetricsRetriever(str(row.id).removeprefix("_design/"))
            if not is_ok:
                self.fetch_failure_detail = self.FFD_ERROR_FETCHING_VIEW_METRICS
                raise each.error or CouchError("a view's metrics could not be retrieved")
            found.append(metrics)
        return found


class AsyncViewMetricsRetriever(_Measuring):
    """Retrieves the `ViewMetrics` of one design document."""

    FFD_INVALID_RESPONSE_BODY = 0x0002

    def __init__(self, design_doc: str, async_state: Any = None) -> None:
        super().__init__(async_state)
        self.design_doc = design_doc

    async def _measured(self) -> ViewMetrics:
        info = await (await _database()).design_info(self.design_doc)
        sizes = Sizes.of(info["view_index"])
        if sizes.active is None or sizes.file is None:
            self.fetch_failure_detail = self.FFD_INVALID_RESPONSE_BODY
        return ViewMetrics(self.design_doc, sizes.active, sizes.file)


_AS_TEXT = frozenset({"endkey_docid", "endkey_doc_id", "startkey_docid", "startkey_doc_id", "stale", "update"})
_ALIASES = {
    "start_key": "startkey",
    "end_key": "endkey",
    "startkey_doc_id": "startkey_docid",
    "endkey_doc_id": "endkey_docid",
}


def _parameter(name: str, value: Any) -> Any:
    """Convert a view's parameter from the text that appears in a URL."""
    return json.loads(value) if isinstance(value, str) and name not in _AS_TEXT else value
