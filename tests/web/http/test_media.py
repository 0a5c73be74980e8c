"""Whether the content of a file fits the type that it is declared with."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tornado_couch.web.http.media import content_fits, is_inline, is_media_type

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
FILES = {
    "image/png": PNG,
    "image/jpeg": b"\xff\xd8\xff\xe0\0\x10JFIF\0",
    "image/gif": b"GIF89a",
    "image/webp": b"RIFF\x24\0\0\0WEBPVP8 ",
    "image/avif": b"\0\0\0\x20ftypavif",
    "image/bmp": b"BM\x9a\0",
    "application/pdf": b"%PDF-1.7\n",
    "video/mp4": b"\0\0\0\x20ftypiso5",
    "video/webm": b"\x1a\x45\xdf\xa3",
    "audio/mpeg": b"ID3\x03",
    "audio/wav": b"RIFF\x24\0\0\0WAVEfmt ",
    "audio/ogg": b"OggS\0\x02",
    "audio/flac": b"fLaC",
    "application/zip": b"PK\x03\x04",
}
PAGES = [b"<!DOCTYPE html>", b"<html>", b" \n<script>alert(1)</script>", b"\xef\xbb\xbf<svg x='y'>", b"<?xml?><svg/>"]


@pytest.mark.parametrize("declared", FILES)
def test_a_file_is_taken_for_what_it_is_and_for_nothing_else(declared: str) -> None:
    """Each content fits its own type alone, and a page fits none of them."""
    assert [name for name, head in FILES.items() if content_fits(declared, head + b"\0" * 64)] == [declared]
    assert [page for page in PAGES if content_fits(declared, page)] == []
    assert not content_fits(declared, b"")


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_no_plain_text(page: bytes) -> None:
    """What a browser could take for a page is refused unless it is declared as one."""
    assert not content_fits("text/plain", page)
    assert not content_fits("text/csv", page)
    assert not content_fits("application/x-unknown", page)
    assert content_fits("text/html", page)


def test_a_text_has_no_bytes_that_no_text_has() -> None:
    """A program is no text, and a picture none."""
    assert content_fits("text/plain", "pêche\n".encode())
    assert content_fits("text/csv", b"a,b\r\n1,2\r\n")
    assert content_fits("application/json", b'{"a": 1}')
    assert content_fits("image/svg+xml", b"<?xml version='1.0'?>\n<svg></svg>")
    assert not content_fits("text/plain", b"MZ\x90\0")
    assert not content_fits("text/plain", PNG)
    assert not content_fits("image/svg+xml", b"<html>")


def test_a_signature_at_the_end_says_nothing() -> None:
    """What ends as a picture ends is none."""
    assert not content_fits("image/png", b"x" * 40 + b"\x49\x45\x4e\x44\xae\x42\x60\x82")
    assert not content_fits("image/jpeg", b"x" * 40 + b"\xff\xd9")


def test_scripts_are_never_shown_in_the_window() -> None:
    """Pictures made of pixels, audio, video and PDF are inline; pages and SVG never."""
    assert {name for name in FILES if is_inline(name)} == set(FILES) - {"application/zip"}
    active = ["text/html", "image/svg+xml", "application/xhtml+xml", "text/xml", "text/plain", ""]
    assert not any(map(is_inline, active))


@given(st.sampled_from(["", *FILES, "text/plain", "image/svg+xml", "x/y"]), st.binary(max_size=100))
def test_no_content_makes_the_check_fail(declared: str, head: bytes) -> None:
    """It says yes or no."""
    assert content_fits(declared, head) in (True, False)


def test_a_media_type_has_two_names() -> None:
    """RFC 6838 §4.2."""
    assert is_media_type("image/svg+xml")
    assert not any(map(is_media_type, ["", "image", "image/", "/png", "image/p ng", "image/png\n", "image/*"]))
