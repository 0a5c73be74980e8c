"""The rate limit: never more than it says, and what it tells of itself is true."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.web import Application

from tests.clocks import Clock
from tests.web.conftest import Serve
from tornado_couch.web.access.principals import Principal
from tornado_couch.web.access.rate_limit import RateLimit, caller_identity
from tornado_couch.web.problems import ProblemHandler

# Quarters of a second: exact as floating-point numbers, so that the law can be checked exactly.
# Mostly short ones, or the limit would rarely be reached.
pauses = st.lists(st.sampled_from([0.0, 0.0, 0.25, 0.25, 0.5, 3.0]), max_size=200)


@given(st.integers(1, 30), st.integers(1, 10), pauses)
def test_no_window_ever_holds_more_requests_than_the_limit(requests: int, seconds: int, pauses: list[float]) -> None:
    """Wherever the window begins; also where requests are counted in groups."""
    clock, admitted = Clock(), []
    limit = RateLimit(requests, seconds, clock=clock)
    for pause in pauses:
        clock.now += pause
        if limit.decide("a").allowed:
            admitted.append(clock.now)
    assert bool(admitted) is bool(pauses)  # the first request is never refused
    for begin in admitted:
        assert sum(begin <= moment < begin + seconds for moment in admitted) <= requests


@given(st.integers(1, 30), st.integers(1, 10), pauses)
def test_what_remains_and_when_more_comes_is_true(requests: int, seconds: int, pauses: list[float]) -> None:
    """`remaining` requests pass at once and no more; one passes after `reset` seconds."""
    clock = Clock()
    limit = RateLimit(requests, seconds, clock=clock)
    for pause in pauses[:30]:
        clock.now += pause
        decision = limit.decide("a")
        assert 0 <= decision.remaining < requests
        assert 1 <= decision.reset <= seconds
    decision = limit.decide("a")
    for _ in range(decision.remaining):
        assert limit.decide("a").allowed
    refused = limit.decide("a")
    assert (refused.allowed, refused.remaining) == (False, 0)
    clock.now += refused.reset
    assert limit.decide("a").allowed


def test_requests_counted_in_a_group_are_forgotten_with_its_last() -> None:
    """Late rather than early: otherwise the window that begins with the last would hold too many."""
    clock = Clock()
    limit = RateLimit(30, 10, clock=clock)
    for _ in range(15):
        limit.decide("a")
    clock.now += 0.25
    for _ in range(15):
        limit.decide("a")
    clock.now += 9.75
    assert not limit.decide("a").allowed
    clock.now += 0.25
    assert limit.decide("a").allowed


def test_a_quiet_window_gives_everything_back() -> None:
    """After the window's length, all requests are there again."""
    clock = Clock()
    limit = RateLimit(3, 10, clock=clock)
    assert [limit.decide("a").allowed for _ in range(5)] == [True, True, True, False, False]
    clock.now += 10
    assert [limit.decide("a").remaining for _ in range(3)] == [2, 1, 0]


def test_looking_counts_nothing() -> None:
    """It says what the next request would be told."""
    clock = Clock()
    limit = RateLimit(1, 10, clock=clock)
    for _ in range(3):
        looked = limit.peek("a")
        assert (looked.allowed, looked.remaining, looked.reset) == (True, 1, 0)
    assert limit.decide("a").allowed
    looked = limit.peek("a")
    assert (looked.allowed, looked.remaining, looked.reset) == (False, 0, 10)
    assert looked == limit.decide("a")


def test_callers_and_instances_do_not_share_a_count() -> None:
    """There is no state but the instance's."""
    clock = Clock()
    one, other = RateLimit(1, 10, clock=clock), RateLimit(1, 10, clock=clock)
    assert one.decide("a").allowed
    assert one.decide("b").allowed
    assert other.decide("a").allowed
    assert not one.decide("a").allowed


def test_memory_is_bounded_in_callers_and_in_requests() -> None:
    """Callers beyond the number share a few counts; a busy one is kept in a few groups."""
    clock = Clock()
    limit = RateLimit(100_000, 60, clock=clock, max_principals=10)
    for number in range(1000):
        clock.now += 0.01
        limit.decide(f"caller {number}")
        limit.decide("busy" * 1000)
    assert len(limit) == 11
    for _ in range(10_000):
        clock.now += 0.01
        limit.decide("busy" * 1000)
    assert max(len(groups) for groups in limit._callers.values()) < 30
    assert max(len(str(each)) for each in limit._callers) <= 128
    assert limit.decide("busy" * 1000).remaining < 99_000


def test_the_fields_are_those_of_the_draft() -> None:
    """RateLimit-Policy and RateLimit are structured fields: a quoted name with parameters."""
    clock = Clock()
    limit = RateLimit(2, 60, name="per-minute", clock=clock)
    decision = limit.decide("a")
    assert decision.headers == {"RateLimit-Policy": '"per-minute";q=2;w=60', "RateLimit": '"per-minute";r=1;t=60'}
    clock.now += 12.5
    limit.decide("a")
    refused = limit.decide("a")
    assert refused.headers["RateLimit"] == '"per-minute";r=0;t=48'
    assert refused.headers["Retry-After"] == "48"
    for value in refused.headers.values():
        assert re.fullmatch(r'("[a-z-]+"(;[a-z]=\d+)+|\d+)', value)


@pytest.mark.parametrize(
    ("requests", "seconds", "options"),
    [(0, 1, {}), (1, 0, {}), (1, 0.5, {}), (1, 1, {"max_principals": 0}), (1, 1, {"name": 'a"b'})],
)
def test_a_limit_that_cannot_be_is_refused(requests: int, seconds: int, options: dict[str, object]) -> None:
    """When it is made."""
    with pytest.raises(ValueError, match=r"positive|plain word"):
        RateLimit(requests, seconds, **options)  # type: ignore[arg-type]


def test_an_anonymous_caller_is_its_address_and_for_ipv6_its_network() -> None:
    """And nobody's name can be an address."""
    assert caller_identity(None, "192.0.2.1") == caller_identity(None, "::ffff:192.0.2.1")
    assert caller_identity(None, "2001:db8::1") == caller_identity(None, "2001:db8::ffff:2")
    assert caller_identity(None, "2001:db8:0:1::1") != caller_identity(None, "2001:db8:0:2::1")
    assert caller_identity(None, "fe80::1%eth0") == caller_identity(None, "fe80::2%eth0")
    assert caller_identity(Principal("192.0.2.1"), "192.0.2.9") != caller_identity(None, "192.0.2.1")
    assert caller_identity(None, None)
    assert caller_identity(None, "")


async def test_on_the_wire_the_request_over_the_limit_is_429_with_retry_after(serve: Serve) -> None:
    """A problem of its own type; the requests before it have the fields, too."""
    limit = RateLimit(2, 60, clock=Clock())

    class Handler(ProblemHandler):
        def get(self) -> None:
            decision = limit.decide(caller_identity(None, self.request.remote_ip))
            if not decision.allowed:
                raise decision.problem()
            for name, value in decision.headers.items():
                self.set_header(name, value)

    ask = await serve(Application([("/", Handler)]))
    replies = [await ask("GET", "/") for _ in range(3)]
    assert [reply.status for reply in replies] == [200, 200, 429]
    assert [reply.headers["RateLimit"] for reply in replies] == [f'"default";r={left};t=60' for left in (1, 0, 0)]
    refused = replies[2]
    assert refused.headers["Retry-After"] == "60"
    assert refused.json["type"].endswith(":quota-exceeded")
    assert refused.json["violated-policies"] == ["default"]
