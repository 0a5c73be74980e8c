"""The rows of the contract's part "Writes" that are about sending much, or again."""

from __future__ import annotations

from typing import Any

from tests.faults import Fault, FaultProxy, lose_answer
from tests.web.conftest import Reply, path
from tests.web.contract.conftest import FRUITS, STANDS, StrictClient, application, rival
from tornado_couch import Store


async def test_post_with_idempotency_key_again_the_same_201_other_422_running_409(
    store: Store, serve: Any, proxy: FaultProxy
) -> None:
    """POST with `Idempotency-Key`, sent again with the same body | the same 201, one document; other body: 422; first
    still running: 409
    """
    one, two = [await serve(application(store, cookie_secret="s")) for _ in range(2)]  # two processes of a service
    for place, body, other in (
        (FRUITS, {"color": "red", "weight": 1, "pin": "1"}, {"color": "red", "weight": 2, "pin": "1"}),
        (STANDS, {"name": "oslo", "size": 1}, {"name": "bergen", "size": 1}),
    ):
        key, waiting = {"Idempotency_Key": '"8e03978e-40d5"'}, []

        async def again(place: str = place, body: Any = body, key: Any = key, waiting: list[Reply] = waiting) -> None:
            waiting.append(await one("POST", place, body, **key))

        proxy.faults[:] = [Fault(rival(again), method="PUT")]
        first = await one("POST", place, body, **key)
        assert [(reply.status, "Retry-After" in reply.headers) for reply in waiting] == [(409, True)]
        assert first.status == 201
        for ask in (one, two):
            for same in (body, dict(reversed(body.items()))):
                reply = await ask("POST", place, same, **key)
                assert (reply.status, reply.json, path(reply)) == (201, first.json, path(first))
                assert reply.headers["ETag"] == first.headers["ETag"]
            assert (await ask("POST", place, other, **key)).status == 422
        assert len((await one("GET", place)).json["items"]) == 1
        assert (await one("POST", place, other, Idempotency_Key='"another"')).status == 201


async def test_an_idempotency_key_makes_a_lost_answer_harmless(ask: StrictClient, proxy: FaultProxy) -> None:
    """Whether or not the first request was carried out, sent again it is, once."""
    for place, body in ((FRUITS, {"color": "red"}), (STANDS, {"name": "oslo"})):
        proxy.faults[:] = [Fault(lose_answer, method="PUT", times=None)]
        lost = await ask("POST", place, body, Idempotency_Key='"k"')
        proxy.faults.clear()
        assert lost.status in (201, 503)
        replies = [await ask("POST", place, body, Idempotency_Key='"k"') for _ in range(2)]
        assert [reply.status for reply in replies] == [201, 201]
        [item] = (await ask("GET", place)).json["items"]
        assert [path(reply) for reply in replies] == [item["_href"]] * 2


async def test_post_an_array_200_one_invalid_item_422_empty_array_400(
    ask: StrictClient,
) -> None:
    """POST an array | 200, `{"items": […]}`, one result per item in order, each with `status` (201), `_href` and
    `_etag`, or a `problem`. One invalid item: 422 and nothing stored. Empty array: 400
    """
    invalid = await ask("POST", FRUITS, [{"color": "red"}, {"color": "", "x": 1}, 5, {"color": "blue", "grade": 1}])
    assert invalid.status == 422
    assert sorted((each["pointer"], each["keyword"]) for each in invalid.json["errors"]) == [
        ("/1/color", "minLength"),
        ("/1/x", "additionalProperties"),
        ("/2", "type"),
        ("/3/grade", "readOnly"),
    ]
    assert (await ask("POST", FRUITS, data=b"[]", Content_Type="application/json")).status == 400
    assert (await ask("GET", FRUITS)).json["items"] == []
    colors = [f"c{number}" for number in range(30)]
    reply = await ask("POST", FRUITS, [{"color": color} for color in colors])
    assert (reply.status, reply.json.keys()) == (200, {"items"})
    for color, result in zip(colors, reply.json["items"], strict=True):
        assert result.keys() == {"status", "_href", "_etag"}
        read = await ask("GET", result["_href"])
        assert (result["status"], result["_etag"], color) == (201, read.headers["ETag"], read.json["color"])
    await ask("POST", STANDS, {"name": "oslo", "size": 7})
    reply = await ask("POST", STANDS, [{"name": "bergen"}, {"name": "oslo"}, {"name": "odda"}, {"name": "odda"}])
    assert (reply.status, [result["status"] for result in reply.json["items"]]) == (200, [201, 409, 201, 409])
    for result in (reply.json["items"][1], reply.json["items"][3]):
        assert result["problem"]["status"] == 409
        assert {"type", "title", "detail", "instance"} < result["problem"].keys()
    stored = {item["name"]: item["size"] for item in (await ask("GET", STANDS)).json["items"]}
    assert stored == {"oslo": 7, "bergen": 0, "odda": 0}
