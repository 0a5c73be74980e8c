"""The service's own actions, in the classic style: callbacks all the way, retry with exponential backoff."""

from __future__ import annotations

import uuid

from tests.classic.ported.models import Fruit
from tornado_couch.classic import async_model_actions
from tornado_couch.classic.retry_strategy import ExponentialBackoffRetryStrategy


class AsyncFruitPersister(async_model_actions.AsyncPersister):
    def __init__(self, fruit, async_state=None):
        async_model_actions.AsyncPersister.__init__(self, fruit, [], async_state)


class AsyncFruitRetriever(async_model_actions.AsyncModelRetriever):
    def __init__(self, fruit_id, async_state=None):
        async_model_actions.AsyncModelRetriever.__init__(self, "fruit_by_fruit_id", fruit_id, async_state)

    def create_model_from_doc(self, doc):
        return Fruit(doc=doc)


class AsyncFruitsRetriever(async_model_actions.AsyncModelsRetriever):
    def __init__(self, start_key=None, end_key=None, async_state=None):
        async_model_actions.AsyncModelsRetriever.__init__(
            self, "fruit_by_fruit_id", start_key=start_key, end_key=end_key, async_state=async_state
        )

    def create_model_from_doc(self, doc):
        return Fruit(doc=doc)


class AsyncAction:
    def __init__(self, async_state=None):
        self.async_state = async_state
        self._callback = None

    def _call_callback(self, is_ok, fruit=None):
        callback, self._callback = self._callback, None
        callback(is_ok, fruit, self)


class AsyncFruitCreator(AsyncAction):
    def __init__(self, color, async_state=None):
        AsyncAction.__init__(self, async_state)
        self.fruit = Fruit(fruit_id=uuid.uuid4().hex, color=color)

    def create(self, callback):
        self._callback = callback
        ap = AsyncFruitPersister(self.fruit)
        ap.persist(self._on_persist_done)

    def _on_persist_done(self, is_ok, is_conflict, ap):
        self._call_callback(is_ok, ap.model if is_ok else None)


class _RetryingAction(AsyncAction):
    """Reads, does, and at a conflict waits and begins again."""

    def __init__(self, fruit_id, async_state=None):
        AsyncAction.__init__(self, async_state)
        self.fruit_id = fruit_id
        self.conflicts = 0
        self._rs = ExponentialBackoffRetryStrategy()

    def _begin(self, callback):
        self._callback = callback
        self._fetch()

    def _fetch(self):
        afr = AsyncFruitRetriever(self.fruit_id)
        afr.fetch(self._on_fetch_done)

    def _on_fetch_done(self, is_ok, fruit, afr):
        if not is_ok or fruit is None:
            self._call_callback(is_ok)
            return
        self._do(fruit)

    def _on_done(self, is_ok, is_conflict, action):
        if is_conflict:
            self.conflicts += 1
            self._rs.wait(self._on_rs_wait_done)
            return
        self._call_callback(is_ok, action.model if is_ok else None)

    def _on_rs_wait_done(self, waited_in_ms):
        if not waited_in_ms:
            self._call_callback(False)
            return
        self._fetch()


class AsyncFruitUpdater(_RetryingAction):
    def __init__(self, fruit_id, color, async_state=None):
        _RetryingAction.__init__(self, fruit_id, async_state)
        self.color = color

    def update(self, callback):
        self._begin(callback)

    def _do(self, fruit):
        fruit.change_color(self.color)
        afp = AsyncFruitPersister(fruit)
        afp.persist(self._on_done)


class AsyncFruitDeleter(_RetryingAction):
    def delete(self, callback):
        self._begin(callback)

    def _do(self, fruit):
        ad = async_model_actions.AsyncDeleter(fruit)
        ad.delete(self._on_done)
