"""Merge rules, by their promises: what each makes of several leaves, and the laws that hold for all."""

from __future__ import annotations

import itertools
from collections import Counter
from datetime import date, timedelta
from decimal import Decimal
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from tornado_couch import CreatedOn, Encrypted, Hashed, Key, Model, Timestamp, UpdatedOn
from tornado_couch.errors import ModelDefinitionError, Unmergeable
from tornado_couch.models import Ancestry, Join, Merge, MergeRule, Merging, merge_record, model_info
from tornado_couch.models.merging.rules import ABSENT, UNKNOWN, Side, ThreeWay, Undecided
from tornado_couch.security import canonical


class Point(BaseModel):
    x: int
    y: int


def three_lines(base: Any, one: Any, other: Any) -> Any:
    return sorted([one, other])[1]


class Item(Model, type="item_v1.0", key="item_id"):
    item_id: Key
    color: str = ""
    price: Annotated[float, Merge.latest("priced_on")] = 0.0
    priced_on: Timestamp | None = None
    origin: Annotated[str | None, Merge.immutable] = None
    best: Annotated[int | None, Merge.max] = None
    cheapest: Annotated[Decimal | None, Merge.min] = None
    stock: Annotated[int, Merge.sum_of_changes] = 0
    weight: Annotated[float, Merge.sum_of_changes] = 0.0
    tags: Annotated[list[str], Merge.union] = []  # noqa: RUF012 - pydantic copies it
    notes: Annotated[dict[str, Any], Merge.union] = {}  # noqa: RUF012 - pydantic copies it
    text: Annotated[str | None, Merge.text] = None
    place: Point | None = None
    name: Annotated[str | None, Merge.custom(three_lines)] = None
    verdict: Annotated[str | None, Merge.manual] = None
    created_on: CreatedOn
    updated_on: UpdatedOn


def stamp(second: int) -> str:
    return f"2026-01-01T00:00:{second:02}.000000+00:00"


def revision(generation: int, letter: str) -> str:
    return f"{generation}-{letter * 32}"


def leaf(letter: str, *path: str, **members: Any) -> dict[str, Any]:
    """A leaf whose digest is a letter, upon revisions with these letters, the latest first."""
    letters = [letter, *path]
    return {
        "_id": "1",
        "_rev": revision(len(letters), letter),
        "_revisions": {"start": len(letters), "ids": [each * 32 for each in letters]},
        "type": "item_v1.0",
        **members,
    }


def body(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in ("_id", "_rev", "_revisions")}


def merge(
    leaves: list[dict[str, Any]], ancestors: dict[str, dict[str, Any]] | None = None, *deleted: dict[str, Any]
) -> dict[str, Any]:
    """What the leaves come to, with the bodies of these ancestors, by revision, beside deleted leaves."""
    graph = Ancestry([*leaves, *deleted])
    plan = graph.plan(graph.heads(each["_rev"] for each in leaves))
    bodies = {each["_rev"]: body(each) for each in leaves} | (ancestors or {})
    return Merging(Item, bodies).merged(plan)


def merged(name: str, base: Any, *values: Any) -> Any:
    """What a property becomes of the values of several leaves upon one revision; `...` is no value, None no base."""
    members = [{} if value is ... else {name: value} for value in values]
    leaves = [leaf("bcdefgh"[index], "a", **each) for index, each in enumerate(members)]
    known = {} if base is None else {revision(1, "a"): {} if base is ... else {name: base}}
    return merge(leaves, known).get(name, ...)


@pytest.mark.parametrize(
    ("name", "base", "values", "expected"),
    [
        ("color", "red", ["red", "green"], "green"),
        ("color", "red", ["green", "red"], "green"),
        ("color", "red", ["green", "blue"], "blue"),
        ("color", None, ["green", "red"], "red"),
        ("color", "red", [..., "red"], ...),
        ("color", ..., [..., "red"], "red"),
        ("origin", "here", ["there", "elsewhere"], "here"),
        ("origin", ..., ["there", ...], "there"),
        ("origin", None, ["there", "there"], "there"),
        ("best", 5, [7, 3], 7),
        ("best", None, [7, 3, 9], 9),
        ("best", None, [None, 3], 3),
        ("best", None, [..., ...], ...),
        ("cheapest", None, ["10", "9.50"], "9.50"),
        ("stock", 10, [7, 12], 9),
        ("stock", 10, [11, 11], 12),
        ("stock", ..., [3, 4], 7),
        ("stock", 10, [11, 12, 13], 16),
        ("weight", 0.1, [0.2, 0.3], 0.4),
        ("tags", ["a", "b"], [["a", "b", "c"], ["b", "d"]], ["b", "d", "c"]),
        ("tags", None, [["a"], ["b", "a"]], ["b", "a"]),
        ("tags", ["a"], [["a", "a"], ["a", "b"]], ["a", "b", "a"]),
        ("tags", ["a", "a"], [["a"], ["a", "a", "b"]], ["a", "b"]),
        ("notes", {"a": 1, "b": 2}, [{"a": 1, "b": 3}, {"a": 1, "b": 2, "c": 4}], {"a": 1, "b": 3, "c": 4}),
        ("notes", {"a": 1, "b": 2}, [{"a": 1}, {"a": 5, "b": 2}], {"a": 5}),
        ("notes", {"a": {"x": 1}}, [{"a": {"x": 1, "y": 2}}, {"a": {"x": 3}}], {"a": {"x": 3, "y": 2}}),
        ("notes", {"a": 1}, [{}, {"a": 2}], {"a": 2}),
        ("text", "a\nb\nc", ["A\nb\nc", "a\nb\nC"], "A\nb\nC"),
        ("text", "a\nb", ["a\nb\nc", "a\nb\nd"], "a\nb\nd\nc"),
        ("text", "a\nb\nc\n", ["a\nB\nc\n", "a\nX\nc\n"], "a\nX\nB\nc\n"),
        ("text", ..., ["a", ...], "a"),
        ("place", {"x": 1, "y": 1}, [{"x": 2, "y": 1}, {"x": 1, "y": 2}], {"x": 1, "y": 2}),
        ("name", "a", ["b", "c"], "c"),
        ("name", "a", ["b", "a"], "b"),
        ("verdict", "good", ["good", "bad"], "bad"),
        ("unheard_of", 1, [1, 2], 2),
    ],
)
def test_each_rule_makes_of_the_leaves_what_it_says(name: str, base: Any, values: list[Any], expected: Any) -> None:
    """Where `...` is no such member, and a base of None is an ancestor that cannot be read any more."""
    assert canonical(merged(name, base, *values)) if expected is not ... else True
    assert merged(name, base, *values) == expected


@pytest.mark.parametrize(
    ("name", "base", "values"),
    [
        ("origin", None, ["here", "there"]),
        ("origin", ..., ["here", "there"]),
        ("stock", None, [1, 2]),
        ("stock", 1, [1, "two"]),
        ("text", None, ["a", "b"]),
        ("best", None, [1, "two"]),
        ("tags", None, [["a"], {"a": 1}]),
        ("verdict", "good", ["bad", "worse"]),
        ("name", "a", ["b", 5]),
        ("weight", 1e308, [1.7e308, 1.7e308]),
    ],
)
def test_a_rule_that_cannot_decide_leaves_the_conflict(name: str, base: Any, values: list[Any]) -> None:
    """And says of which property, without its value."""
    with pytest.raises(Unmergeable) as refused:
        merged(name, base, *values)
    assert [each["pointer"] for each in refused.value.problems] == [f"/{name}"]
    assert "two" not in str(refused.value)


def test_the_later_leaf_is_known_by_its_time_and_not_by_its_revision() -> None:
    """By the model's own without a rule, and by the property that the rule names."""
    leaves = [
        leaf("b", "a", color="green", price=1.5, priced_on=stamp(9), updated_on=stamp(2)),
        leaf("c", "a", color="blue", price=2.5, priced_on=stamp(8), updated_on=stamp(1)),
    ]
    found = merge(leaves)
    assert (found["color"], found["price"]) == ("green", 1.5)


def test_what_only_one_side_changed_is_taken_although_the_other_is_later() -> None:
    """So that the later leaf does not undo what it did not touch."""
    base = {revision(1, "a"): {"color": "red", "price": 1.0, "updated_on": stamp(0)}}
    leaves = [
        leaf("b", "a", color="green", price=1.0, updated_on=stamp(1)),
        leaf("c", "a", color="red", price=2.0, updated_on=stamp(2)),
    ]
    found = merge(leaves, base)
    assert (found["color"], found["price"], found["updated_on"]) == ("green", 2.0, stamp(2))


def test_time_stamps_come_from_the_leaves() -> None:
    """The ancestor's time of creation, or that of the winning leaf, and the latest update."""
    leaves = [
        leaf("b", created_on=stamp(1), updated_on=stamp(3)),
        leaf("c", created_on=stamp(2), updated_on=stamp(2)),
    ]
    assert merge(leaves) == {"created_on": stamp(2), "updated_on": stamp(3)}


def test_members_are_in_a_fixed_order() -> None:
    """Whatever order the leaves have them in: CouchDB makes the revision of it."""
    leaves = [leaf("b", "a", zebra=1, color="red", apple=2), leaf("c", "a", apple=2, color="red", zebra=1)]
    assert list(merge(leaves)) == ["apple", "color", "zebra"]


def test_what_belongs_to_the_writes_themselves_is_not_merged() -> None:
    """Signatures and tokens of the leaves say nothing of the merged document."""
    own = {"tornado_couch_signature": {}, "tornado_couch_write": "x", "tornado_couch_merge": {}, "_attachments": {}}
    assert merge([leaf("b", "a", **own), leaf("c", "a", color="red")]) == {"color": "red"}
    assert merge([leaf("b", "a", tornado_couch_deleted_on="x"), leaf("c", "a")], {revision(1, "a"): {}}) == {
        "tornado_couch_deleted_on": "x"
    }


class Secret(Model, type="secret_v1.0", key="secret_id"):
    secret_id: Key
    email: Annotated[str, Encrypted(searchable=True)]
    pin: Annotated[str | None, Hashed()] = None


def test_a_ciphertext_moves_as_it_is_together_with_its_blind_index() -> None:
    """And a hash likewise; no key is needed."""
    leaves = [
        leaf("b", "a", email="encrypted.v1:old", email_blind_index="old", pin="$2b$new"),
        leaf("c", "a", email="encrypted.v1:new", email_blind_index="new", pin="$2b$old"),
    ]
    base = {revision(1, "a"): {"email": "encrypted.v1:old", "email_blind_index": "old", "pin": "$2b$old"}}
    bodies = {each["_rev"]: body(each) for each in leaves} | base
    graph = Ancestry(leaves)
    found = Merging(Secret, bodies).merged(graph.plan(graph.heads(bodies.keys() - base.keys())))
    assert found == {"email": "encrypted.v1:new", "email_blind_index": "new", "pin": "$2b$new"}


# ------------------------------------------------------------ several leaves, and crossing merges


def test_leaves_that_part_at_several_places_are_merged_over_where_each_two_parted() -> None:
    """A change that two of three leaves have in common counts once."""
    leaves = [leaf("d", "b", "a", stock=17), leaf("e", "b", "a", stock=25), leaf("c", "a", stock=11)]
    bodies = {revision(1, "a"): {"stock": 10}, revision(2, "b"): {"stock": 15}}
    for order in itertools.permutations(leaves):
        assert merge(list(order), bodies)["stock"] == 10 + 5 + 2 + 10 + 1


def record(*parents: str, by: str = "rules") -> dict[str, Any]:
    return {"parents": list(parents), "earlier": [], "by": by}


def test_a_change_upon_a_leaf_that_was_merged_elsewhere_counts_once() -> None:
    """C was written upon B while B was merged with A into M: what B brought is in M already."""
    m = leaf("m", "y", "a", stock=10 + 1 + 2, tornado_couch_merge=record(revision(2, "y"), revision(2, "b")))
    c = leaf("c", "b", "a", stock=10 + 2 + 4)
    bodies = {revision(1, "a"): {"stock": 10}, revision(2, "b"): {"stock": 10 + 2}, revision(2, "y"): {"stock": 11}}
    assert merge([m, c], bodies)["stock"] == 10 + 1 + 2 + 4


def test_two_merges_of_different_leaves_are_merged_over_those_that_both_have() -> None:
    """M is of Y and B, N of Y and C; what Y brought counts once."""
    y, b, c = revision(2, "y"), revision(2, "b"), revision(2, "c")
    m = leaf("m", "y", "a", stock=10 + 1 + 2, tornado_couch_merge=record(y, b))
    n = leaf("n", "y", "a", stock=10 + 1 + 4, tornado_couch_merge=record(y, c))
    assert merge([m, n], {y: {"stock": 10 + 1}})["stock"] == 10 + 1 + 2 + 4


def test_edits_of_two_merges_of_the_same_leaves_are_merged() -> None:
    """M and N both merge Y and B; when E edits M and F edits N, either merge serves as their common ancestor."""
    y, b = revision(2, "y"), revision(2, "b")
    e = leaf("e", "m", "y", "a", stock=13 + 5, tornado_couch_merge=record(y, b))
    f = leaf("f", "n", "y", "a", stock=13 + 7, tornado_couch_merge=record(y, b))
    assert merge([e, f], {revision(3, "n"): {"stock": 13}})["stock"] == 13 + 5 + 7


def test_edits_upon_two_decisions_are_merged_over_what_the_rules_make_of_the_leaves() -> None:
    """Two people decided differently: each decision is a change of its own over the merged leaves."""
    y, b = revision(2, "y"), revision(2, "b")
    bodies = {revision(1, "a"): {"stock": 10}, y: {"stock": 11}, b: {"stock": 12}}
    e = leaf("e", "y", "a", stock=13 + 100, tornado_couch_merge=record(y, b, by="hand"))
    f = leaf("f", "y", "a", stock=13 + 1000, tornado_couch_merge=record(y, b, by="hand"))
    assert merge([e, f], bodies, leaf("t", "b", "a"))["stock"] == 13 + 100 + 1000
    with pytest.raises(Unmergeable):
        merge([e, f], bodies)  # nobody can tell what B came from


def heads(*leaves: dict[str, Any]) -> list[str]:
    return [each[2] for each in Ancestry(leaves).heads(each["_rev"] for each in leaves)]


def test_a_leaf_that_another_one_was_merged_of_is_no_head() -> None:
    """Whether it is an ancestor, or a merge of nothing else; of two equal merges the winner is left."""
    y, b, c = revision(2, "y"), revision(2, "b"), revision(2, "c")
    m = leaf("m", "y", "a", tornado_couch_merge=record(y, b))
    assert heads(m, leaf("b", "a")) == ["m"]
    assert heads(m, leaf("n", "y", "a", tornado_couch_merge=record(y, b))) == ["n"]
    assert heads(m, leaf("l", "y", "a", tornado_couch_merge=record(y, b, c))) == ["l"]
    assert heads(m, leaf("l", "y", "a", tornado_couch_merge=record(y, b, by="hand"))) == ["l"]
    assert heads(m, leaf("e", "m", "y", "a", tornado_couch_merge=record(y, b))) == ["e"]
    assert sorted(heads(m, leaf("c", "a"))) == ["c", "m"]


def test_a_merge_that_did_not_know_the_ancestors_is_part_of_one_that_did() -> None:
    """And not the other way round; nor is what came after it."""
    y, b = revision(2, "y"), revision(2, "b")
    of_leaves = leaf("z", "y", "a", tornado_couch_merge=record(y, b, by="leaves"))
    of_rules = leaf("m", "y", "a", tornado_couch_merge=record(y, b))
    assert heads(of_leaves, of_rules) == ["m"]
    assert heads(of_leaves, leaf("x", "y", "a", tornado_couch_merge=record(y, b, by="leaves"))) == ["z"]
    after = leaf("e", "z", "y", "a", tornado_couch_merge=record(y, b, by="leaves"))
    graph = Ancestry([after, of_rules])
    assert graph.heads([after["_rev"], of_rules["_rev"]]) == [after["_rev"], of_rules["_rev"]]
    assert graph.plan([after["_rev"], of_rules["_rev"]]) == Join(after["_rev"], of_rules["_rev"], of_leaves["_rev"])
    assert heads(of_leaves, leaf("w", "q", "y", "a", tornado_couch_merge=record(revision(3, "q"), b))) == ["w"]


def test_what_an_ancestor_knows_of_its_own_ancestors_is_learned() -> None:
    """N is of P and B; the leaves that go back to it know its revision, and nothing of B."""
    n, b = revision(4, "n"), revision(2, "b")
    first = leaf("f", "c", "n", "p", "q", "a", tornado_couch_merge=record(revision(5, "c"), revision(3, "x")))
    second = leaf("s", "b", "a", tornado_couch_merge=record(revision(2, "b"), n))
    graph = Ancestry([first, second])
    plan = graph.plan([first["_rev"], second["_rev"]])
    assert plan == Join(first["_rev"], second["_rev"], n)
    learned = leaf("n", "p", "q", "a", tornado_couch_merge=record(revision(3, "p"), b))
    graph.learn(learned)
    assert b in graph.ancestors(first["_rev"])


def test_a_record_leaves_out_what_tombstones_go_on_to_tell() -> None:
    """So that it stays short however often a document is merged."""
    winner = leaf("m", "y", "a", tornado_couch_merge=record(revision(2, "y"), revision(2, "b")))
    other = leaf("o", "x", "y", "a", tornado_couch_merge=record(revision(3, "x"), revision(2, "c")))
    gone = leaf("t", "d", "b", "a")
    held = merge_record([winner, other], [gone], by="rules")
    assert held["parents"] == [winner["_rev"], other["_rev"]]
    assert held["earlier"] == [revision(2, "b")]  # of the winning leaf, whose own record ends here
    assert merge_record([winner, other], [leaf("t", "b", "a")], by="rules")["earlier"] == [revision(2, "b")]


def test_forged_circles_of_records_end() -> None:
    """Each says that it was made of the other one."""
    b, c = revision(2, "b"), revision(2, "c")
    circle = [leaf("b", "a", tornado_couch_merge=record(c, b)), leaf("c", "a", tornado_couch_merge=record(b, c))]
    assert heads(*circle) == ["c"]


def test_a_record_that_is_none_is_ignored() -> None:
    """Whatever stands there."""
    for held in (5, {}, {"parents": "x"}, {"parents": ["x"]}, {"parents": ["1-"], "earlier": 5}, {"parents": [None]}):
        assert sorted(heads(leaf("b", "a", tornado_couch_merge=held), leaf("c", "a"))) == ["b", "c"]


# ------------------------------------------------------------ laws

values = st.one_of(st.integers(-99, 99), st.floats(allow_nan=False, allow_infinity=False, width=32))
lists = st.lists(st.sampled_from("abcd"), max_size=5)
objects = st.dictionaries(st.sampled_from("abc"), st.integers(0, 3), max_size=3)


def laws(*names: str) -> st.SearchStrategy[tuple[str, Any, list[Any]]]:
    """A property, the ancestor's value (None: unreadable) and those of three leaves."""
    strategies: dict[str, Any] = {
        "best": st.none() | st.integers(-99, 99),
        "stock": st.integers(-99, 99),
        "weight": values,
        "tags": lists,
        "notes": objects,
        "color": st.sampled_from(["red", "green", "blue"]),
    }
    return st.sampled_from(names).flatmap(
        lambda name: st.tuples(st.just(name), strategies[name], st.lists(strategies[name], min_size=3, max_size=3))
    )


def as_set(value: Any) -> Any:
    """A value whose order does not count."""
    if isinstance(value, list):
        return Counter(value)
    return value


def decided(name: str, base: Any, one: Side, other: Side) -> Side:
    parse = model_info(Item).adapters[name].validate_python
    return rule_of(name).merge(ThreeWay(base, one, other, parse))


def rule_of(name: str) -> MergeRule:
    return model_info(Item).properties[name].merge or Merge.latest()


@given(laws("best", "stock", "weight", "tags", "notes", "color"))
def test_rules_are_commutative_and_associative(case: tuple[str, Any, list[Any]]) -> None:
    """In whatever order, and in whatever groups leaves upon one ancestor are merged."""
    name, base, some = case
    rule = rule_of(name)
    sides = [rule.start(Side(value, ((0, 0), 2, letter))) for value, letter in zip(some, "bcd", strict=True)]
    results = []
    for one, two, three in itertools.permutations(sides):
        left = decided(name, base, decided(name, base, one, two), three)
        right = decided(name, base, one, decided(name, base, two, three))
        results += [as_set(rule.finish(each.value)) for each in (left, right)]
    assert all(each == results[0] for each in results)


@given(laws("best", "tags", "notes", "color"))
def test_merging_what_is_merged_already_changes_nothing(case: tuple[str, Any, list[Any]]) -> None:
    """A leaf with itself, and over itself."""
    name, _, (value, *_) = case
    rule = rule_of(name)
    side = rule.start(Side(value, ((0, 0), 2, "b")))
    assert rule.finish(decided(name, value, side, side).value) == value
    assert rule.finish(decided(name, UNKNOWN, side, side).value) == value


@given(laws("stock", "weight", "tags", "notes", "color"))
def test_what_one_side_changed_is_there(case: tuple[str, Any, list[Any]]) -> None:
    """Where the others did not touch it, on either side."""
    name, base, (value, *_) = case
    rule = rule_of(name)
    for pair in itertools.permutations([Side(value, ((0, 0), 2, "b")), Side(base, ((0, 0), 2, "c"))]):
        found = decided(name, base, *map(rule.start, pair))
        assert as_set(rule.finish(found.value)) == as_set(value)


lines = st.lists(st.sampled_from("abcdefgh"), max_size=6)


@given(lines, st.lists(st.integers(0, 6), max_size=3), st.lists(st.integers(0, 6), max_size=3))
def test_every_line_that_a_side_added_is_there_once(base: list[str], left: list[int], right: list[int]) -> None:
    """Whole, and in the order of its side."""
    sides = []
    for prefix, places in (("L", left), ("R", right)):
        side = list(base)
        for number, place in enumerate(sorted(places, reverse=True)):
            side.insert(min(place, len(side)), f"{prefix}{number}")
        sides.append(side)
    found = merged("text", "\n".join(base), *("\n".join(side) for side in sides))
    for prefix, side in zip("LR", sides, strict=True):
        added = [each for each in side if each.startswith(prefix)]
        assert [each for each in found.split("\n") if each.startswith(prefix)] == added


# ------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("annotation", "says"),
    [
        (Annotated[str, Merge.sum_of_changes], "is not of type integer or number"),
        (Annotated[Decimal, Merge.sum_of_changes], "is not of type integer or number"),
        (Annotated[bool, Merge.max], "is not of type integer"),
        (Annotated[int, Merge.union], "is not of type array or object"),
        (Annotated[int, Merge.text], "is not of type string"),
        (Annotated[Any, Merge.max], "is not of type integer"),
        (Annotated[int, Merge.max, Merge.min], "has two merge rules"),
        (Annotated[int, Merge.latest("later")], "there is no such property"),
        (Annotated[int, Merge.latest("word")], "neither a time stamp"),
        (Annotated[int, Merge.latest("length")], "neither a time stamp"),
        (Annotated[str, Encrypted(), Merge.text], "is protected"),
        (Annotated[int, Encrypted(), Merge.max], "is protected"),
        (Annotated[str, Hashed(), Merge.custom(max)], "is protected"),
    ],
)
def test_a_rule_that_cannot_work_is_refused_with_the_class(annotation: Any, says: str) -> None:
    """Saying why, and of which property."""
    body = {
        "__annotations__": {"value": annotation, "word": str, "length": timedelta},
        "__module__": __name__,
    }
    with pytest.raises(ModelDefinitionError, match=f"'value' .*{says}"):
        type("Refused", (Model,), body, type="refused_v1.0")  # type: ignore[call-overload]


def test_the_key_can_only_be_immutable() -> None:
    """As it is without saying so."""
    body = {"__annotations__": {"value": Annotated[str, Merge.manual]}, "__module__": __name__}
    with pytest.raises(ModelDefinitionError, match="is the key"):
        type("Refused", (Model,), body, type="refused_v1.0", key="value")  # type: ignore[call-overload]
    body = {"__annotations__": {"value": Annotated[str, Merge.immutable]}, "__module__": __name__}
    type("Taken", (Model,), body, type="taken_v1.0", key="value")  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "annotation",
    [
        Annotated[date, Merge.max],
        Annotated[timedelta, Merge.min],
        Annotated[set[str] | None, Merge.union],
        Annotated[Point, Merge.union],
        Annotated[str, Encrypted(), Merge.latest()],
        Annotated[str, Hashed(), Merge.immutable],
    ],
)
def test_rules_that_fit_are_taken(annotation: Any) -> None:
    """Of other types than those above."""
    type("Taken", (Model,), {"__annotations__": {"value": annotation}, "__module__": __name__}, type="t_v1.0")  # type: ignore[call-overload]


def test_without_its_package_text_cannot_be_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the class says what to install."""
    monkeypatch.setattr("tornado_couch.models.merging.rules.is_installed", lambda: False)
    with pytest.raises(ModelDefinitionError, match=r"tornado-couch\[text\]"):
        type("T", (Model,), {"__annotations__": {"value": Annotated[str, Merge.text]}}, type="t_v1.0")  # type: ignore[call-overload]


def test_rules_have_readable_names() -> None:
    """As they are written."""
    rules = [Merge.max, Merge.latest("updated_on"), Merge.latest(), Merge.custom(three_lines)]
    written = ["Merge.max", "Merge.latest('updated_on')", "Merge.latest()", "Merge.custom(three_lines)"]
    assert [repr(each) for each in rules] == written


def test_undecided_values_of_ancestors_are_unknown_and_no_fault() -> None:
    """A rule that needs no ancestor goes on without."""
    with pytest.raises(Undecided):
        decided("stock", UNKNOWN, Side(1), Side(2))
    assert decided("best", UNKNOWN, Side(1), Side(ABSENT)).value == 1
