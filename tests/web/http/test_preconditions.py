"""Entity tags and preconditions, against RFC 9110."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tornado_couch.web import EntityTag, Preconditions, entity_tag, parse_entity_tags

CURRENT = "3-917fa2381192822767f010b95b45325b"
OTHER = "2-7051cbe5c8faecd085a3fa619e6e6337"


def read(**fields: str) -> int:
    names = {"match": "If-Match", "none_match": "If-None-Match"}
    return Preconditions.from_headers({names[name]: value for name, value in fields.items()}).evaluate_read(CURRENT)


@pytest.mark.parametrize(
    ("field", "tags"),
    [
        ('"a"', (EntityTag("a"),)),
        ('W/"a"', (EntityTag("a", weak=True),)),
        (' "a" , W/"b",,"c,d" ', (EntityTag("a"), EntityTag("b", weak=True), EntityTag("c,d"))),
        ('""', (EntityTag(""),)),
        (" * ", "*"),
    ],
)
def test_a_list_of_entity_tags_is_read_as_the_rfc_says(field: str, tags: object) -> None:
    """Quoted, comma-separated, weak ones marked; empty elements and commas within quotes are allowed."""
    assert parse_entity_tags(field) == tags


@pytest.mark.parametrize("field", ["a", '"a', 'a"', '"a" "b"', "*, *", '*,"a"', 'w/"a"', "", ",", '"a\x00"', "'a'"])
def test_anything_else_is_malformed(field: str) -> None:
    """Unquoted, unbalanced, a lower-case w, or nothing at all."""
    with pytest.raises(ValueError, match="entity tags"):
        parse_entity_tags(field)


@given(st.lists(st.tuples(st.text(st.characters(min_codepoint=0x23, max_codepoint=0x7E)), st.booleans()), min_size=1))
def test_every_list_of_tags_round_trips(tags: list[tuple[str, bool]]) -> None:
    """Writing a list and reading it gives it back."""
    field = ", ".join(("W/" if weak else "") + f'"{opaque}"' for opaque, weak in tags)
    assert parse_entity_tags(field) == tuple(EntityTag(*tag) for tag in tags)


@pytest.mark.parametrize(
    "none_match", [f'"{CURRENT}"', f'"x", "{CURRENT}"', f'W/"{CURRENT}"', "*", f'"{CURRENT};gzip"']
)
def test_a_get_whose_if_none_match_hits_is_304(none_match: str) -> None:
    """Current, in a list, weak, any, or another representation of the revision."""
    assert read(none_match=none_match) == 304


def test_a_get_with_another_tag_in_if_none_match_is_200() -> None:
    """The client's copy is out of date."""
    assert read(none_match=f'"{OTHER}"') == 200


def test_a_failed_if_match_goes_before_an_if_none_match_that_hits() -> None:
    """RFC 9110 §13.2.2: If-Match is evaluated first."""
    assert read(match=f'"{OTHER}"', none_match=f'"{CURRENT}"') == 412


@pytest.mark.parametrize(
    ("date", "tag"), [("If-Modified-Since", "If-None-Match"), ("If-Unmodified-Since", "If-Match")]
)
def test_a_date_is_ignored_beside_an_entity_tag_and_where_it_is_none(date: str, tag: str) -> None:
    """RFC 9110 §13.1.3 and §13.1.4."""
    moment = "Sat, 29 Oct 1994 19:43:31 GMT"
    assert Preconditions.from_headers({date: moment}) != Preconditions()
    assert Preconditions.from_headers({date: "1994"}) == Preconditions()
    both = Preconditions.from_headers({date: moment, tag: f'"{OTHER}"'})
    assert both == Preconditions.from_headers({tag: f'"{OTHER}"'})


@pytest.mark.parametrize(
    ("headers", "holds"),
    [
        ({"If-Match": f'"{CURRENT}"'}, True),
        ({"If-Match": f'"{OTHER}", "{CURRENT}"'}, True),
        ({"If-Match": f'"{CURRENT};gzip"'}, True),
        ({"If-Match": f'"{OTHER}"'}, False),
        ({"If-Match": f'W/"{OTHER}"'}, False),
        ({"If-None-Match": "*"}, False),
        ({"If-None-Match": f'W/"{CURRENT}"'}, False),
        ({"If-None-Match": f'"{OTHER}"'}, True),
        ({"If-Match": f'"{CURRENT}"', "If-None-Match": "*"}, False),
        ({"If-Match": "*", "If-None-Match": f'"{CURRENT}"'}, False),
    ],
)
def test_what_a_write_expects_of_the_current_revision(headers: dict[str, str], holds: bool) -> None:
    """If-Match compares strongly, If-None-Match weakly; both must hold."""
    expectation = Preconditions.from_headers(headers).expectation()
    assert expectation is not None
    assert expectation(CURRENT) is holds


@pytest.mark.parametrize("headers", [{}, {"If-Match": "*"}])
def test_a_write_that_expects_no_revision_may_be_tried_again(headers: dict[str, str]) -> None:
    """`If-Match: *` asks that the document exists, no more."""
    assert Preconditions.from_headers(headers).expectation() is None


def test_a_variant_stands_after_the_revision() -> None:
    """So that a write recognises the revision in it."""
    assert entity_tag(CURRENT, "gzip") == f'"{CURRENT};gzip"'
