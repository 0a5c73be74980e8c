"""What programs that know nothing of us say of a resource: REDbot, and bodies made from the schema."""

from __future__ import annotations

import asyncio
import http.client
import json
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from tests.web.conftest import Client
from tests.web.models import Fruit
from tests.web.test_stateful import Service, service  # noqa: F401 - a fixture
from tornado_couch.models import body_schema

# ---------------------------------------------------------------- REDbot


async def notes(url: str) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "redbot.cli", "-o", "har", url]
    # Its own code is not ours to keep free of warnings.
    bot = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    output, errors = await asyncio.wait_for(bot.communicate(), 60)
    assert bot.returncode == 0, errors.decode()
    entries = json.loads(output)["log"]["entries"]
    return [note for entry in entries for note in entry["_red_messages"]]


@pytest.mark.slow
async def test_redbot_has_nothing_bad_to_say(ask: Client) -> None:
    """Of a document, a large one, a page, a page with a next one, a filtered one; nor of a missing document."""
    small = await ask("POST", "/fruits", {"color": "red"})
    large = await ask("POST", "/fruits", {"color": "x" * 5000})
    for name in "abcd":
        await ask("POST", "/places", {"name": name})
    paths = [
        small.headers["Location"],
        large.headers["Location"],
        "/fruits",
        "/places?limit=2",
        "/fruits?color=red",
        "/fruits/nope",
    ]
    found = {path: await notes(ask.url + path) for path in paths}
    bad = {path: [note for note in found[path] if note["level"] in ("BAD", "WARN")] for path in paths}
    assert {path: [note["note_id"] for note in each] for path, each in bad.items() if each} == {}
    validated = [path for path in paths[:5] if "INM_304" in {note["note_id"] for note in found[path]}]
    assert validated == paths[:5]


# ---------------------------------------------------------------- bodies from the schema

SCHEMA = body_schema(Fruit, "create")
VALID = st.fixed_dictionaries(
    {"color": st.text(min_size=1)},
    optional={
        "weight": st.integers(0) | st.none(),
        "tags": st.lists(st.text()),
        "pin": st.text() | st.none(),
        "_etag": st.integers(),
    },
)
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*SCHEMA["properties"], "x"]), inner, max_size=4)
    ),
    max_leaves=10,
)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_body_is_answered_as_the_schema_says(service: Service) -> None:  # noqa: F811
    """Valid: 201 and the document has what was sent; an array of such: 200. Invalid: 422. Never anything else."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    validator = Draft202012Validator(SCHEMA)

    def expected(body: Any) -> int:
        if isinstance(body, list):  # an array is many documents
            return 400 if not body else 200 if all(map(validator.is_valid, body)) else 422
        return 201 if validator.is_valid(body) else 422

    @given(VALID | ANYTHING | st.lists(VALID, max_size=3))
    @settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    def check(body: Any) -> None:
        connection.request("POST", "/fruits", json.dumps(body), {"Content-Type": "application/json"})
        reply = connection.getresponse()
        found = json.loads(reply.read())
        assert reply.status == expected(body), found
        if reply.status == 201:
            visible = {name: value for name, value in body.items() if name != "pin" and not name.startswith("_")}
            assert {name: found.get(name) for name in visible} == visible
        elif reply.status == 422:
            assert found["errors"]

    check()
    connection.close()
