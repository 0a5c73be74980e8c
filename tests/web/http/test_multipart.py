"""Multipart bodies, in whatever pieces they come."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tornado_couch.web.http.multipart import MultipartReader, Part
from tornado_couch.web.problems import Problem

FORM = "multipart/form-data; boundary=XX"


def read(content_type: str, body: bytes, size: int = 10_000, most: int = 10) -> list[tuple[Part, bytes]]:
    """The parts of a body that comes in pieces of a size."""
    reader = MultipartReader(content_type, most)
    found: list[tuple[Part, bytes]] = []
    for start in range(0, len(body), size):
        for each in reader.feed(body[start : start + size]):
            if isinstance(each, Part):
                found.append((each, b""))
            elif each is not None:
                found[-1] = found[-1][0], found[-1][1] + each
    reader.end()
    return found


BODY = (
    b'--XX\r\nContent-Disposition: form-data; name="document"\r\nContent-Type: application/json; charset=utf-8\r\n\r\n'
    b'{"a": 1}\r\n--XX\r\nContent-Disposition: form-data; name="photos"; filename="p\xc3\xaache.png"\r\n'
    b"Content-Type: image/PNG\r\n\r\n\r\n--X\r\n--XX \r\n--XX--\r\n"
)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000])
def test_a_form_is_read_in_pieces_of_every_size(size: int) -> None:
    """RFC 7578: names, names of files, types, and bytes that look like a boundary and are none."""
    body = BODY.replace(b"--XX \r\n", b"--XY\r\n")
    assert read(FORM, body, size) == [
        (Part("document", None, "application/json"), b'{"a": 1}'),
        (Part("photos", "pêche.png", "image/png"), b"\r\n--X\r\n--XY"),
    ]


@given(st.lists(st.binary(max_size=200), max_size=5), st.integers(1, 100))
def test_every_content_comes_back_from_a_form(contents: list[bytes], size: int) -> None:
    """Whatever the bytes of the parts are, and wherever the network cuts them."""
    head = b'--long-boundary-7d1\r\nContent-Disposition: form-data; name="x"\r\n\r\n'
    body = b"".join(head + each + b"\r\n" for each in contents) + b"--long-boundary-7d1--\r\n"
    found = read("multipart/form-data; boundary=long-boundary-7d1", body, size)
    assert [each for _, each in found] == contents


@given(st.binary(max_size=300), st.integers(1, 50))
def test_no_bytes_make_the_reader_of_forms_fail(body: bytes, size: int) -> None:
    """What is no form is a problem with the client's request, and nothing else."""
    for whole in (body, b"--XX\r\n" + body, BODY[:90] + body):
        with suppress(Problem):
            read(FORM, whole, size)


def test_parts_that_are_related_are_named_by_their_content_id() -> None:
    """RFC 2387: without a Content-Disposition, Content-ID names a part; the first one may have no name."""
    body = (
        b"--XX\r\nContent-Type: application/json\r\n\r\n{}\r\n"
        b"--XX\r\nContent-ID: <invoice>\r\nContent-Type: application/pdf\r\n\r\n%PDF\r\n"
        b'--XX\r\nContent-Disposition: attachment; name=photos; filename="a.png"\r\n\r\nx\r\n--XX--'
    )
    found = [each for each, _ in read('multipart/related; boundary="XX"', body)]
    assert found == [
        Part(None, None, "application/json"),
        Part("invoice", None, "application/pdf"),
        Part("photos", "a.png", ""),
    ]


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("multipart/form-data", BODY, 400),
        ("multipart/form-data; boundary=" + "x" * 300, BODY, 400),
        (FORM, b"", 400),
        (FORM, BODY[:-6], 400),
        (FORM, b"nonsense" * 10, 400),
        (FORM, b"--XX\r\nContent-Type: text/plain\r\n\r\nx\r\n--XX--", 400),
        (FORM, b'--XX\r\nContent-Disposition: form-data; name="a"\r\nContent-Transfer-Encoding: base64\r\n\r\n', 400),
        (FORM, b"--XX\r\n" + b'Content-Disposition: form-data; name="a"\r\n' * 2 + b"\r\n", 400),
        (FORM, b"--XX\r\n" + b"X: y\r\n" * 20, 400),
        (FORM, b"--XX\r\nX: " + b"y" * 10_000, 400),
        (FORM, b'--XX\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n' * 11 + b"--XX--", 413),
    ],
)
def test_a_body_that_is_no_form_is_refused(content_type: str, body: bytes, status: int) -> None:
    """Cut off, without a boundary or a name, encoded, with too many parts or fields."""
    with pytest.raises(Problem) as refused:
        read(content_type, body)
    assert refused.value.status_code == status
