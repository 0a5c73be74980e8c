"""What a file really is: whether its content fits the media type that it is declared with."""

from __future__ import annotations

import mimetypes
import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import puremagic

__all__ = ["HEAD_BYTES", "content_fits", "extension_of", "is_inline", "is_media_type", "load_signatures"]

HEAD_BYTES = 8192
"""So many bytes at the beginning of a file say what it is."""

_NAME = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
_MEDIA_TYPE = re.compile(rf"{_NAME}/{_NAME}")  # RFC 6838 §4.2

# Browsers show these by themselves, and none of them can run a script in the origin that it comes from.
_INLINE = frozenset(
    {
        *("image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp", "image/apng"),
        *("audio/mpeg", "audio/mp4", "audio/aac", "audio/ogg", "audio/wav", "audio/webm", "audio/flac", "audio/opus"),
        *("video/mp4", "video/webm", "video/ogg", "video/quicktime"),
        "application/pdf",
    }
)

# https://mimesniff.spec.whatwg.org/#identifying-a-resource-with-an-unknown-mime-type: what a browser would take for
# a page or a script's frame, after blanks and a byte order mark.
_MARKUP = re.compile(
    rb"(?:\xef\xbb\xbf)?[\t\n\x0c\r ]*<(?:!DOCTYPE|!--|\?xml|html|head|body|script|iframe|style|svg|title|table|div"
    rb"|font|h1|br|p|a|b)(?=[\s>?/-])",
    re.IGNORECASE,
)
_BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")  # bytes that no text has (the same page, "binary data")
_MARKUP_TYPES = ("text/html", "image/svg+xml", "application/xml", "text/xml", "application/xhtml+xml")
_TEXT_TYPES = ("application/json", "application/javascript", "application/xml", "application/yaml", "image/svg+xml")

# Containers whose brand or codec says what is in them, and which the table of signatures knows only in part.
_CONTAINERS: tuple[tuple[re.Pattern[bytes], frozenset[str]], ...] = (
    (re.compile(rb"....ftyp(?!avif|avis|heic|heix|mif1)", re.DOTALL), frozenset({
        "video/mp4", "audio/mp4", "video/quicktime", "audio/x-m4a", "video/x-m4v", "video/3gpp", "audio/3gpp",
    })),
    (re.compile(rb"....ftyp(?:avif|avis|mif1|heic|heix)", re.DOTALL), frozenset({
        "image/avif", "image/heic", "image/heif",
    })),
    (re.compile(rb"\x1a\x45\xdf\xa3"), frozenset({"video/webm", "audio/webm", "video/x-matroska"})),
    (re.compile(rb"OggS"), frozenset({"audio/ogg", "video/ogg", "application/ogg", "audio/opus"})),
    (re.compile(rb"RIFF....WAVE", re.DOTALL), frozenset({"audio/wav", "audio/wave", "audio/x-wav"})),
    (re.compile(rb"\xff[\xe2-\xe7\xf2-\xf7\xfa-\xff]|ID3"), frozenset({"audio/mpeg", "audio/mp3"})),
    (re.compile(rb"\xff[\xf0\xf1\xf8\xf9]|ADIF"), frozenset({"audio/aac"})),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), frozenset({"image/webp"})),
    (re.compile(rb"BM"), frozenset({"image/bmp"})),
)
_CONTAINED = frozenset().union(*(types for _, types in _CONTAINERS))


def is_media_type(text: str) -> bool:
    """Whether a text is a media type without parameters, such as "image/png"."""
    return _MEDIA_TYPE.fullmatch(text) is not None


def is_inline(media_type: str) -> bool:
    """Whether a browser may show a file of this type in its window: raster pictures, audio, video and PDF."""
    return media_type in _INLINE


def extension_of(media_type: str) -> str:
    """Return how the names of files of a type end, such as ".png"; empty if that is not known."""
    return _NAMES.guess_extension(media_type.partition(";")[0]) or ""


def content_fits(media_type: str, head: bytes) -> bool:
    """Whether the content of a file can be of the media type that it is declared with.

    A type that has signatures must have one of them. A text must have no bytes that no text has. A file of any other
    type must not look like a page to a browser.

    Args:
        media_type: the declared type, in lower case and without parameters.
        head: the first `HEAD_BYTES` of the file.
    """
    if media_type == "application/octet-stream":
        return True
    if media_type.startswith("text/") or media_type in _TEXT_TYPES or media_type.endswith(("+json", "+xml")):
        return _fits_text(media_type, head)
    if media_type in _CONTAINED:
        return any(media_type in types and pattern.match(head) for pattern, types in _CONTAINERS)
    extensions = _extensions(media_type)
    rows = [each for each in _rows() if each.mime_type == media_type or each.extension in extensions]
    if not rows:
        return _MARKUP.match(head) is None
    return any(head.startswith(each.byte_match, each.offset) for each in rows)


def _fits_text(media_type: str, head: bytes) -> bool:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):  # UTF-16, which browsers recognize before anything else
        return media_type == "text/plain" or media_type == "text/csv"
    looks_like_markup = _MARKUP.match(head) is not None
    if looks_like_markup and media_type not in _MARKUP_TYPES and not media_type.endswith("+xml"):
        return False
    if media_type == "image/svg+xml" and b"<svg" not in head:
        return False
    return _BINARY.search(head) is None


def load_signatures() -> None:
    """Read the table of signatures, which `content_fits` would do at its first call."""
    _rows()


@lru_cache(maxsize=1)
def _rows() -> tuple[puremagic.PureMagic, ...]:
    """What may stand at the beginning of files; what only stands at their end says nothing."""
    import puremagic  # which reads its tables; a service without files does not need them

    return tuple(each for each in puremagic.magic_header_array if len(each.byte_match) > 1)


@lru_cache(maxsize=256)
def _extensions(media_type: str) -> frozenset[str]:
    # The names that files of a type have stand for its synonyms as well, of which nobody could list all.
    return frozenset(_NAMES.guess_all_extensions(media_type))


_NAMES = mimetypes.MimeTypes()  # without the files of the system, which differ from one to the next
