"""Concurrent calls joined into groups: when they leave, who gets what, and what a caller who goes leaves behind."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tornado_couch.couch.scheduler import Grouping, GroupLimits, Turns
from tornado_couch.errors import Forbidden, TotalTimeout, Unavailable


class Line:
    """Sends groups when it is told to, and remembers them."""

    def __init__(self, **options: Any) -> None:
        limits = GroupLimits(**{k: v for k, v in options.items() if k in ("in_flight", "documents", "content_bytes")})
        rest = {k: v for k, v in options.items() if k in ("sharing", "duplicate", "seconds", "is_large")}
        self.sent: list[list[str]] = []
        self.cancelled: list[list[str]] = []
        self.grouping: Grouping[str, str] = Grouping(self.send, limits, **rest)
        self._gates: list[asyncio.Future[Any]] = []

    async def send(self, items: list[str]) -> Sequence[str | Exception]:
        gate: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.sent.append(items)
        self._gates.append(gate)
        try:
            error = await gate
        except asyncio.CancelledError:
            self.cancelled.append(items)
            raise
        if error is not None:
            raise error
        return [Forbidden(403, "forbidden", item) if item.startswith("bad") else item.upper() for item in items]

    def answer(self, index: int = 0, error: Exception | None = None) -> None:
        """Let the oldest group, or another one, end."""
        self._gates.pop(index).set_result(error)

    def ask(self, item: str, identity: str | None = None, **options: Any) -> asyncio.Task[str]:
        return asyncio.create_task(self.grouping.ask(identity or item, item, **options))


async def settle() -> None:
    """Let the event loop run all that is ready."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_what_is_asked_in_one_turn_of_the_loop_leaves_together_and_at_once() -> None:
    """No time passes: it is enough that the loop runs what is ready."""
    line = Line()
    tasks = [line.ask(each) for each in "abc"]
    await settle()
    assert line.sent == [["a", "b", "c"]]
    line.answer()
    assert await asyncio.gather(*tasks) == ["A", "B", "C"]


async def test_calls_wait_together_once_enough_groups_are_under_way() -> None:
    """With two groups under way, later calls are sent as one group as soon as the first of the two ends."""
    line = Line(in_flight=2)
    tasks = []
    for each in "abcde":
        tasks.append(line.ask(each))
        await settle()
    assert line.sent == [["a"], ["b"]]
    line.answer()
    await settle()
    assert line.sent == [["a"], ["b"], ["c", "d", "e"]]
    line.answer()
    line.answer()
    assert await asyncio.gather(*tasks) == list("ABCDE")


async def test_each_caller_gets_its_own_result_or_error() -> None:
    """One that is refused fails alone."""
    line = Line()
    tasks = [line.ask(each) for each in ("a", "bad1", "b", "bad2")]
    await settle()
    line.answer()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [found[0], found[2]] == ["A", "B"]
    assert [each.reason for each in (found[1], found[3]) if isinstance(each, Forbidden)] == ["bad1", "bad2"]


async def test_a_lost_answer_is_each_callers_own_error() -> None:
    """Equal, and not one object: each is raised in another place."""
    line = Line()
    tasks = [line.ask(each) for each in "abc"]
    await settle()
    line.answer(error=Unavailable("gone", status=503, sent=False))
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert len({id(each) for each in found}) == 3
    assert [(type(e), str(e), e.status, e.sent) for e in found if isinstance(e, Unavailable)] == [
        (Unavailable, "gone", 503, False)
    ] * 3


async def test_calls_with_one_identity_never_leave_in_one_group() -> None:
    """Nor does a later one overtake an earlier one."""
    line = Line(in_flight=1)
    tasks = [line.ask(item, item[0]) for item in ("a1", "a2", "b1", "a3")]
    await settle()
    for _ in range(3):
        line.answer()
        await settle()
    assert line.sent == [["a1", "b1"], ["a2"], ["a3"]]
    assert await asyncio.gather(*tasks) == ["A1", "A2", "B1", "A3"]


async def test_equal_reads_share_a_place_until_they_leave() -> None:
    """One that is under way is not joined: what it will say may be old."""
    line = Line(sharing=True, in_flight=1, duplicate=lambda text: text + "!")
    first = [line.ask("a"), line.ask("a")]
    await settle()
    late = line.ask("a")
    await settle()
    assert line.sent == [["a"]]
    line.answer()
    assert await asyncio.gather(*first) == ["A!", "A!"]  # each copies in its own turn
    await settle()
    assert line.sent == [["a"], ["a"]]
    line.answer()
    assert await late == "A"


class Document:
    """A result that is noticed when it is gone."""


async def test_nothing_keeps_a_result_when_its_caller_has_it() -> None:
    """Results stayed in memory for as long as an earlier call took, and after that until the garbage collector ran."""
    slow, gone = asyncio.Event(), []

    async def send(items: list[str]) -> list[Document]:
        if items == ["slow"]:
            await slow.wait()
        found = [Document() for _ in items]
        gone.extend(map(weakref.ref, found))
        return found

    grouping = Grouping(send, GroupLimits(), seconds=30)
    gc.disable()
    try:
        waiting = asyncio.create_task(grouping.ask("slow", "slow"))
        await settle()
        assert isinstance(await grouping.ask("a", "a"), Document)
        await settle()
        assert [each() for each in gone] == [None]
    finally:
        gc.enable()
        slow.set()
        await waiting


async def test_callers_go_on_in_turns_where_their_result_is_large() -> None:
    """What each does with it must not add up: others have their turns of the event loop in between."""
    line, steps = Line(sharing=True, is_large=lambda _: True), []

    async def caller() -> None:
        steps.append(await line.grouping.ask("a", "a"))

    callers = [asyncio.create_task(caller()) for _ in range(3)]
    await settle()
    line.answer()
    while len(steps) < 3:
        before = len(steps)
        await asyncio.sleep(0)
        assert len(steps) - before <= 1
    await asyncio.gather(*callers)


async def test_groups_keep_to_the_limit_of_documents() -> None:
    """What does not fit goes with the next groups, and all go at once where several may."""
    line = Line(documents=2, in_flight=2)
    tasks = [line.ask(each) for each in "abcde"]
    await settle()
    assert line.sent == [["a", "b"], ["c", "d"]]
    line.answer()
    await settle()
    assert line.sent[2:] == [["e"]]
    line.answer()
    line.answer()
    await asyncio.gather(*tasks)


async def test_groups_keep_to_the_limit_of_bytes_and_what_is_larger_goes_alone() -> None:
    """In the order of the calls."""
    line = Line(content_bytes=10, in_flight=9)
    sizes = {"a": 4, "b": 6, "c": 1, "d": 99, "e": 1}
    tasks = [line.ask(each, weight=size) for each, size in sizes.items()]
    await settle()
    assert line.sent == [["a", "b"], ["c"], ["d"], ["e"]]
    for _ in line.sent:
        line.answer()
    await asyncio.gather(*tasks)


async def test_a_cancelled_caller_harms_nobody() -> None:
    """Neither one that waits nor one that is under way, shared or not."""
    line = Line(sharing=True, in_flight=1)
    leaving, staying, both = line.ask("a"), line.ask("b"), line.ask("a")
    await settle()
    queued, kept = line.ask("c"), line.ask("d")
    await settle()
    leaving.cancel()
    queued.cancel()
    await settle()
    line.answer()
    assert await asyncio.gather(staying, both) == ["B", "A"]
    await settle()
    assert line.sent == [["a", "b"], ["d"]]
    line.answer()
    assert await kept == "D"


async def test_a_group_that_nobody_waits_for_is_cancelled_and_makes_room() -> None:
    """The next one leaves at once."""
    line = Line(in_flight=1)
    gone = [line.ask(each) for each in "ab"]
    await settle()
    next_ = line.ask("c")
    await settle()
    for task in gone:
        task.cancel()
    await settle()
    assert line.cancelled == [["a", "b"]]
    assert line.sent == [["a", "b"], ["c"]]
    line.answer(1)
    assert await next_ == "C"
    assert [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_nobody_joins_the_place_of_callers_who_have_gone() -> None:
    """A read that was cancelled in the queue leaves nothing to wait for."""
    line = Line(sharing=True, in_flight=1)
    first = line.ask("x")
    await settle()
    gone = line.ask("a")
    await settle()
    gone.cancel()
    await settle()
    late = line.ask("a")
    await settle()
    line.answer()
    await settle()
    line.answer()
    assert await asyncio.gather(first, late) == ["X", "A"]


async def test_a_callers_time_limit_holds_in_the_queue_and_under_way() -> None:
    """The error says whether the call can have been carried out."""
    line = Line(in_flight=1, seconds=0.02)
    under_way = line.ask("a")
    await settle()
    queued = line.ask("b")
    with pytest.raises(TotalTimeout) as lost:
        await under_way
    assert lost.value.sent is True
    with pytest.raises(TotalTimeout):
        await queued  # which left when the first was given up, in the same moment or not
    await settle()
    assert line.cancelled[0] == ["a"]


async def test_a_group_cancelled_from_outside_leaves_nobody_waiting() -> None:
    """As when the event loop ends: its callers are told that there is no answer."""
    line = Line(in_flight=1)
    first = line.ask("a")
    await settle()
    group = [task for task in asyncio.all_tasks() if task not in (asyncio.current_task(), first)]
    second = line.ask("b")
    await settle()
    group[0].cancel()
    with pytest.raises(Unavailable):
        await first
    await settle()
    line.answer(1)
    assert await second == "B"


async def test_a_group_cancelled_before_its_first_step_makes_room() -> None:
    """What waits in the queue leaves with the next group."""
    line = Line(in_flight=1)
    first = line.ask("a")
    await asyncio.sleep(0)
    [group] = [task for task in asyncio.all_tasks() if task not in (asyncio.current_task(), first)]
    group.cancel()
    await settle()
    line.answer()
    assert await first == "A"


def test_one_grouping_serves_one_event_loop_after_another() -> None:
    """What was left of an earlier loop does not stand in the way."""
    line = Line(in_flight=1)

    async def abandon() -> None:
        line.ask("a")
        await settle()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(abandon())
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(settle())
    loop.close()

    async def again() -> str:
        task = line.ask("b")
        await settle()
        line.answer(-1)
        return await task

    assert asyncio.run(again()) == "B"


@pytest.mark.parametrize("name", ["in_flight", "documents", "content_bytes"])
def test_a_limit_that_lets_nothing_pass_is_refused(name: str) -> None:
    """It would be waited for in vain."""
    with pytest.raises(ValueError, match="at least 1"):
        GroupLimits(**{name: 0})


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.sampled_from("abcd"), st.integers(0, 6)),
        st.tuples(st.just("cancel"), st.integers(0, 40), st.just(0)),
        st.tuples(st.just("answer"), st.integers(0, 4), st.booleans()),
        st.tuples(st.just("turn"), st.just(0), st.just(0)),
    ),
    max_size=40,
)


class Story:
    """What some callers live through."""

    def __init__(self, sharing: bool, in_flight: int, documents: int) -> None:
        self.sharing = sharing
        self.documents = documents
        self.in_flight = in_flight
        self.line = Line(sharing=sharing, in_flight=in_flight, documents=documents, content_bytes=8)
        self.asked: list[str] = []
        self.tasks: list[asyncio.Task[str]] = []
        self.weights: dict[str, int] = {}

    def open_gates(self) -> list[asyncio.Future[Any]]:
        return [gate for gate in self.line._gates if not gate.done()]

    async def step(self, action: str, what: Any, more: Any) -> None:
        if action == "ask":
            item = what if self.sharing else f"{what}{len(self.tasks)}"
            self.weights[item] = more
            self.asked.append(item)
            self.tasks.append(self.line.ask(item, what, weight=more))
        elif action == "cancel" and self.tasks:
            self.tasks[what % len(self.tasks)].cancel()
        elif action == "answer" and (gates := self.open_gates()):
            gates[what % len(gates)].set_result(Unavailable("gone") if more else None)
        elif action == "turn":
            await settle()
        assert len(self.open_gates()) <= self.in_flight

    async def end(self) -> list[str | BaseException]:
        for _ in range(len(self.tasks) + 1):
            await settle()
            for gate in self.open_gates():
                gate.set_result(None)
        return await asyncio.gather(*self.tasks, return_exceptions=True)

    def check_groups(self) -> None:
        for group in self.line.sent:
            assert len(group) <= self.documents
            assert len({each[0] for each in group}) == len(group)
            assert self.sharing or sum(self.weights[each] for each in group) <= 8

    def check_order(self) -> None:
        """First come, first served; nobody twice."""
        sent = [each for group in self.line.sent for each in group]
        assert len(set(sent)) == len(sent)
        for name in "abcd":
            mine = [int(each[1:]) for each in sent if each[0] == name]
            assert mine == sorted(mine)


@given(STEPS, st.booleans(), st.integers(1, 3), st.integers(1, 4))
def test_whatever_happens_everybody_gets_an_outcome_in_order(
    steps: list[Any], sharing: bool, in_flight: int, documents: int
) -> None:
    """Calls, cancellations and answers in any order: limits hold, nothing is lost, nobody overtakes."""

    async def tell() -> None:
        story = Story(sharing, in_flight, documents)
        for each in steps:
            await story.step(*each)
        for item, outcome in zip(story.asked, await story.end(), strict=True):
            assert outcome == item.upper() or isinstance(outcome, Unavailable | asyncio.CancelledError)
        story.check_groups()
        if not sharing:
            story.check_order()

    asyncio.run(tell())


async def test_holders_of_one_key_take_turns() -> None:
    """In the order in which they came; those of other keys do not wait."""
    turns, held = Turns(), []

    async def hold(name: str, *keys: str) -> None:
        await turns.take(keys, None)
        held.append(name)
        await settle()
        assert held[-1] == name or set(keys) == {"b"}
        turns.give_back(keys)

    await turns.take(["a"], None)
    tasks = [asyncio.create_task(hold(*each)) for each in (("1", "a"), ("2", "a", "b"), ("3", "a"), ("4", "b"))]
    await settle()
    assert held == ["4"]
    turns.give_back(["a"])
    await asyncio.gather(*tasks)
    assert held == ["4", "1", "2", "3"]
    assert turns._lines == {}


async def test_who_gives_up_waiting_lets_the_next_go_on() -> None:
    """Whether they were cancelled, even at the moment of their turn, or waited too long."""
    turns = Turns()
    await turns.take(["a"], None)
    waiting = [asyncio.create_task(turns.take(["a"], None)) for _ in range(3)]
    await settle()
    waiting[0].cancel()
    await settle()
    with pytest.raises(TotalTimeout) as caught:
        await turns.take(["0", "a"], 0.01)
    assert not caught.value.sent
    turns.give_back(["a"])
    waiting[1].cancel()  # its turn has come, but it does not know it yet
    await settle()
    assert [each.cancelled() for each in waiting] == [True, True, False]
    assert waiting[2].done()
    turns.give_back(["a"])
    assert turns._lines == {}


async def test_what_is_used_up_is_known_to_those_who_waited() -> None:
    """And forgotten once nobody waits."""
    turns = Turns()
    await turns.take(["a"], None)
    turns.spend("a", "1-x")
    waiter = asyncio.create_task(turns.take(["a"], None))
    await settle()
    assert not turns.spent("a", "1-x")
    turns.spend("a", "1-x")
    turns.give_back(["a"])
    await waiter
    assert turns.spent("a", "1-x")
    turns.give_back(["a"])
    await turns.take(["a"], None)
    assert not turns.spent("a", "1-x")
