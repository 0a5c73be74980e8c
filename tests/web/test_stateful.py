"""A resource against a model of it: thousands of random requests, and the two never disagree."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.servers import listening, stopped
from tests.web.conftest import application
from tests.web.models import Fruit, Place
from tornado_couch import Couch, Store, install

KEYS = st.sampled_from(["a", "b/c", "ü", "%41"])
SIZES = st.integers(0, 3)
# What a client says of the revision: nothing, or a form of a tag.
TAGS = st.sampled_from([None, "current", "in a list", "weak", "stale", "other", "*"])


class Service(threading.Thread):
    """The service on an event loop of its own, for a test that is not asynchronous."""

    def __init__(self, couch_url: str) -> None:
        super().__init__()
        self._couch_url = couch_url
        self._listening = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._ended: asyncio.Event
        self.port = 0

    def run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        name = f"test-{uuid.uuid4().hex}"
        async with Couch(self._couch_url) as couch:
            await install(couch, name, [Fruit, Place])
            server, self.port = listening(application(Store(couch[name]), log_function=lambda _: None))
            self._listening.set()
            await self._ended.wait()
            await stopped(server)
            await couch.delete_database(name)

    def __enter__(self) -> Service:
        self.start()
        assert self._listening.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self.join(30)


@pytest.fixture(scope="module")
def service(server_url: str) -> Iterator[Service]:
    with Service(server_url) as running:
        yield running


def quoted(key: str) -> str:
    return {"b/c": "b%2Fc", "ü": "%C3%BC", "%41": "%2541"}.get(key, key)


class Places(RuleBasedStateMachine):
    """The model: by key, the tag and the size; and every tag that once was current."""

    port = 0

    @initialize()
    def begin(self) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        self.places: dict[str, tuple[str, int]] = {}
        self.old: dict[str, str] = {}
        for key in ("a", "b/c", "ü", "%41"):
            self.ask("DELETE", key)

    def ask(self, method: str, key: str | None, body: Any = None, **headers: str) -> tuple[int, Any, Any]:
        path = "/places" if key is None else f"/places/{quoted(key)}"
        fields = {name.replace("_", "-"): value for name, value in headers.items() if value is not None}
        if body is not None:
            fields.setdefault("Content-Type", "application/json")
        self.connection.request(method, path, None if body is None else json.dumps(body), fields)
        reply = self.connection.getresponse()
        text = reply.read()
        return reply.status, reply.headers, json.loads(text) if text else None

    def teardown(self) -> None:
        if hasattr(self, "connection"):
            self.connection.close()

    def field(self, key: str, form: str | None) -> str | None:
        tag = self.places[key][0] if key in self.places else '"1-none"'
        stale = self.old.get(key, '"1-stale"')
        forms = {"current": tag, "in a list": f'"x", {tag}', "weak": f"W/{tag}", "stale": stale, "other": '"9-x"'}
        return "*" if form == "*" else forms.get(form or "")

    def matches(self, key: str, form: str | None) -> bool:
        """Whether If-Match holds."""
        exists = key in self.places
        return form is None or (exists and form in ("current", "in a list", "*"))

    def none_matches(self, key: str, form: str | None) -> bool:
        """Whether If-None-Match holds."""
        return form is None or key not in self.places or form in ("stale", "other")

    def written(self, key: str, headers: Any, size: int) -> None:
        if key in self.places:
            self.old[key] = self.places[key][0]
            assert headers["ETag"] != self.old[key]
        self.places[key] = (headers["ETag"], size)

    @rule(key=KEYS, size=SIZES)
    def post(self, key: str, size: int) -> None:
        status, headers, body = self.ask("POST", None, {"name": key, "size": size})
        assert status == (409 if key in self.places else 201)
        if status == 201:
            assert body == {"name": key, "size": size}
            assert headers["Location"] == f"/places/{quoted(key)}"
            self.written(key, headers, size)

    @rule(key=KEYS, size=SIZES, match=TAGS, none_match=TAGS)
    def put(self, key: str, size: int, match: str | None, none_match: str | None) -> None:
        fields = {"If_Match": self.field(key, match), "If_None_Match": self.field(key, none_match)}
        status, headers, body = self.ask("PUT", key, {"size": size}, **fields)
        if not (self.matches(key, match) and self.none_matches(key, none_match)):
            assert status == 412
            return
        assert status == (200 if key in self.places else 201)
        assert body == {"name": key, "size": size}
        self.written(key, headers, size)

    @rule(key=KEYS, size=SIZES, match=TAGS)
    def patch(self, key: str, size: int, match: str | None) -> None:
        fields = {"If_Match": self.field(key, match), "Content_Type": "application/merge-patch+json"}
        status, headers, body = self.ask("PATCH", key, {"size": size}, **fields)
        if not self.matches(key, match):
            assert status == 412
        elif key not in self.places:
            assert status == 404
        else:
            assert (status, body) == (200, {"name": key, "size": size})
            self.written(key, headers, size)

    @rule(key=KEYS, match=TAGS)
    def delete(self, key: str, match: str | None) -> None:
        status, _, _ = self.ask("DELETE", key, If_Match=self.field(key, match))
        if not self.matches(key, match):
            assert status == 412
        elif key not in self.places:
            assert status == 404
        else:
            assert status == 204
            self.old[key] = self.places.pop(key)[0]

    @rule(key=KEYS, match=TAGS, none_match=TAGS, method=st.sampled_from(["GET", "HEAD"]))
    def get(self, key: str, match: str | None, none_match: str | None, method: str) -> None:
        fields = {"If_Match": self.field(key, match), "If_None_Match": self.field(key, none_match)}
        status, headers, body = self.ask(method, key, **fields)
        if key not in self.places:
            assert status == 404
        elif not self.matches(key, match):
            assert status == 412
        elif not self.none_matches(key, none_match):
            assert (status, headers["ETag"]) == (304, self.places[key][0])
        else:
            assert (status, headers["ETag"]) == (200, self.places[key][0])
            assert body == (None if method == "HEAD" else {"name": key, "size": self.places[key][1]})

    @precondition(lambda self: hasattr(self, "places"))
    @invariant()
    def the_collection_is_the_model(self) -> None:
        found: dict[str, tuple[str, int]] = {}
        path: str | None = "/places?limit=3"
        while path:
            self.connection.request("GET", path)
            body = json.loads(self.connection.getresponse().read())
            found |= {item["name"]: (item["_etag"], item["size"]) for item in body["items"]}
            path = body.get("next")
        assert found == self.places


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_resource_and_its_model_agree_after_a_thousand_steps(service: Service) -> None:
    """Every status, tag and body, preconditions included; the whole collection after each step."""
    machine = type("Running", (Places,), {"port": service.port})
    rules = settings(
        max_examples=20,
        stateful_step_count=50,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=rules)
