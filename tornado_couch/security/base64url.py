"""Base64url without padding (RFC 4648 §5), of which exactly one text is accepted for any bytes.

Python's decoder takes stray bits after the last byte and strange characters, so that a signature could be changed
and still verify. Here that is an error.
"""

from __future__ import annotations

import binascii

__all__ = ["b64_decode", "b64_encode", "header_of"]

_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_+/", b"+/!!")
_HEADER = 5
# Eight characters hold the header's 40 bits and 8 bits more.
_HEADER_TEXT = 8


def b64_encode(data: bytes) -> str:
    """The base64url text of bytes, without padding."""
    return binascii.b2a_base64(data, newline=False).translate(_TO_URL).rstrip(b"=").decode("ascii")


def b64_decode(text: str) -> bytes:
    """The bytes that a text stands for.

    Raises:
        ValueError: the text is not what `b64_encode` makes of any bytes.
    """
    try:
        plain = text.encode("ascii").translate(_FROM_URL)
        data = binascii.a2b_base64(plain + b"=" * (-len(plain) % 4))
    except (UnicodeEncodeError, binascii.Error):
        raise ValueError("not base64url") from None
    if b64_encode(data) != text:
        raise ValueError("not base64url as it is written")
    return data


def header_of(output: str) -> bytes | None:
    """The five bytes that say which key made an output: one for the kind of key set, four for the key.

    Keyczar's outputs begin with 0x00, Tink's with 0x01, those of our own key rings with 0x02.

    Returns:
        the bytes, or None where the text is too short or no base64url.
    """
    try:
        return b64_decode(output[:_HEADER_TEXT])[:_HEADER] if len(output) >= _HEADER_TEXT else None
    except ValueError:
        return None
