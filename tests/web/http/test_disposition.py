"""Content-Disposition, the names of files, and digests."""

from __future__ import annotations

import email.message
import email.policy
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tornado_couch.web.http.digests import parse_digest, repr_digest
from tornado_couch.web.http.disposition import bad_file_name, content_disposition, parse_disposition
from tornado_couch.web.problems import Problem


@pytest.mark.parametrize(
    ("field", "kind", "filename"),
    [
        ("attachment", "attachment", None),
        ("INLINE; FileName=pear.png", "inline", "pear.png"),
        ('attachment; filename="a b.png"', "attachment", "a b.png"),
        (r'attachment; filename="a\"b.png"', "attachment", 'a"b.png'),
        ("attachment; filename*=UTF-8''%e2%82%ac%20rates", "attachment", "€ rates"),
        ("attachment; filename*=iso-8859-1'en'%A3", "attachment", "£"),
        ("attachment; filename=\"EURO.txt\"; filename*=utf-8''%e2%82%ac", "attachment", "€"),
        ("attachment; filename*=utf-8''%ff; filename=plain", "attachment", "plain"),
        ('attachment; filename="C:\\\\fakepath\\\\pear.png"', "attachment", "pear.png"),
        ('attachment; filename="../../etc/passwd"', "attachment", "passwd"),
        ('attachment; filename="pêche.png"'.encode().decode("latin-1"), "attachment", "pêche.png"),
        ("attachment; filename=pear.png; foo=bar ; ", "attachment", "pear.png"),
    ],
)
def test_a_disposition_says_what_a_file_is_called(field: str, kind: str, filename: str | None) -> None:
    """RFC 6266 §4: both forms of the name, of which the extended one goes first; folders are left out."""
    found = parse_disposition(field)
    assert found is not None
    assert (found.kind, found.filename) == (kind, filename)


@pytest.mark.parametrize("field", ["", ";", "attachment filename=x", 'attachment; filename="x', "a; b=c; b=d", "a; b"])
def test_a_disposition_that_is_not_valid_says_nothing(field: str) -> None:
    """RFC 6266 §4.1: nothing is guessed."""
    assert parse_disposition(field) is None


def test_a_form_escapes_as_browsers_do() -> None:
    """HTML: `%22` is a quotation mark in a form, and a backslash is itself."""
    found = parse_disposition('form-data; name="photos"; filename="a%22b%0D.png"', of_form=True)
    assert found is not None
    assert (found.name, found.filename) == ("photos", 'a"b\r.png')


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=40))
def test_every_name_comes_back_from_its_disposition(name: str) -> None:
    """RFC 6266 §4.3: what is written is ASCII, is read back, and is one parameter to another parser as well."""
    field = content_disposition("attachment", name)
    assert field.isascii()
    assert field.isprintable()
    found = parse_disposition(field)
    assert found is not None
    assert found.filename == name.replace("\\", "/").split("/")[-1] or not found.filename
    message = email.message.EmailMessage(email.policy.HTTP)
    message["Content-Disposition"] = field
    assert message.get_content_disposition() == "attachment"


@given(st.text(max_size=40))
def test_no_text_makes_the_reader_of_dispositions_fail(text: str) -> None:
    """Whatever is sent, a name has no folder."""
    for field in (text, f"attachment; {text}", f'attachment; filename="{text}"'):
        found = parse_disposition(field)
        assert found is None or "/" not in (found.filename or "")


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", ".htaccess", "_design", "a/b", "a\\b", "a\0b", "a\nb", "a\x7f", "a\u202eb", "a\ud800"),
        *(" a", "a ", "a.", "x" * 256, "é" * 128),
    ],
)
def test_a_hostile_name_is_refused(name: str) -> None:
    """Nothing that means something to a path, a file system, a terminal or CouchDB."""
    assert bad_file_name(name)


@pytest.mark.parametrize("name", ["a", "pear.png", "a b (1).tar.gz", "pêche 🍑.jpeg", "x" * 255, "100%", "a;'b\"c"])
def test_an_ordinary_name_is_taken(name: str) -> None:
    """Blanks, percent signs and letters of every language."""
    assert bad_file_name(name) == ""


def test_a_digest_is_a_structured_field() -> None:
    """RFC 9530 §3: the digest of an empty file, as the RFC writes it; others are left alone."""
    empty = hashlib.sha256(b"").digest()
    field = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"
    assert repr_digest(empty) == field
    assert parse_digest("Repr-Digest", field) == empty
    assert parse_digest("Repr-Digest", f"md5=:1B2M2Y8AsgTpgAmY7PhCfg==:, {field}") == empty
    assert parse_digest("Repr-Digest", "sha-512=:AAAA:") is None
    assert parse_digest("Repr-Digest", None) is None


@pytest.mark.parametrize("field", ["", "sha-256", "sha-256=abc", "sha-256=:abc:", "sha-256=:AAAA:", "x" * 3000])
def test_a_digest_that_is_not_valid_is_refused(field: str) -> None:
    """A client that asks for a check must not believe that it was made."""
    with pytest.raises(Problem, match="400"):
        parse_digest("Repr-Digest", field)
