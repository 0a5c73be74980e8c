"""Content-Disposition (RFC 6266), and the names of files in it; pure."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

__all__ = ["Disposition", "bad_file_name", "content_disposition", "parse_disposition"]

_LONGEST_NAME = 255  # bytes in UTF-8, as file systems have it

_TYPE = re.compile(r"[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*")
# The repetitions are possessive, so that the time is linear.
_PARAMETER = re.compile(
    r"[ \t]*+;[ \t]*+(?:(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]++)[ \t]*+=[ \t]*+"
    r'(?:"(?P<quoted>(?:[^"\\]|\\.)*+)"|(?P<token>[^;"\s][^;]*+)))?+',
    re.DOTALL,
)
_EXTENDED = re.compile(
    r"(?P<charset>utf-8|iso-8859-1)'[A-Za-z0-9-]*'(?P<value>[!#$&+.^_`|~0-9A-Za-z%-]*)", re.IGNORECASE
)
# What browsers write in a form (https://html.spec.whatwg.org/#multipart-form-data).
_IN_FORMS = {"%0A": "\n", "%0D": "\r", "%22": '"'}
_ATTRIBUTE = "!#$&+.^_`|~"  # what RFC 5987 §3.2.1 lets stand beside letters and digits


@dataclass(frozen=True)
class Disposition:
    """A parsed Content-Disposition.

    Attributes:
        kind: "inline", "attachment", "form-data" or another word, in lower case.
        name: the name of the field of a form; None without one.
        filename: the name of the file, without the folders before it; None without one.
    """

    kind: str
    name: str | None = None
    filename: str | None = None


def parse_disposition(field: str, *, of_form: bool = False) -> Disposition | None:
    """Return what a Content-Disposition says; None if it is not valid.

    Args:
        field: its value, as it was sent, with a character for each byte.
        of_form: whether it belongs to a part of a form, where browsers have an escaping of their own.
    """
    begun, found = _TYPE.match(field), {}
    if begun is None:
        return None
    place = begun.end()
    while place < len(field):
        matched = _PARAMETER.match(field, place)
        if matched is None:
            return None
        if matched["name"] is not None:
            name = matched["name"].lower()
            if name in found:
                return None
            found[name] = _value(name, matched, of_form=of_form)
        place = matched.end()
        if not field[place:].strip(" \t"):
            break
    filename = found.get("filename*") or found.get("filename")  # RFC 6266 §4.3: the extended form goes first
    # Old browsers send whole paths; of a path, only its last part is a name.
    return Disposition(begun[1].lower(), found.get("name"), filename and re.split(r"[/\\]", filename)[-1])


def _value(name: str, matched: re.Match[str], *, of_form: bool) -> str:
    text = matched["token"].rstrip(" \t") if matched["quoted"] is None else matched["quoted"]
    if name.endswith("*"):
        return _extended(text)
    if matched["quoted"] is not None and (not of_form or '\\"' in text):
        text = re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)
    if of_form:
        text = re.sub("%(?:0A|0D|22)", lambda each: _IN_FORMS[each[0].upper()], text, flags=re.IGNORECASE)
    try:
        return text.encode("latin-1").decode()  # as browsers and curl send it
    except UnicodeError:
        return text


def _extended(text: str) -> str:
    """Return what an extended value stands for (RFC 5987 §3.2); empty if it is not valid."""
    matched = _EXTENDED.fullmatch(text)
    if matched is None:
        return ""
    try:
        return unquote_to_bytes(matched["value"]).decode(matched["charset"])
    except UnicodeError:
        return ""


def content_disposition(kind: str, name: str) -> str:
    """Return the value of a Content-Disposition for a file, which every client understands.

    A name that a quoted string cannot hold safely is given twice (RFC 6266 §4.3, appendix D): for old clients in ASCII,
    and as it is.
    """
    plain = re.sub(r'[^ -~]|["\\%]', "_", unicodedata.normalize("NFKD", name))
    if plain == name:
        return f'{kind}; filename="{name}"'
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe=_ATTRIBUTE)}"


def bad_file_name(name: str) -> str:
    """Return why a name cannot be that of a file; empty if it can be.

    It is a segment of the file's address, and often the name that the file gets where it is saved.
    """
    if not name or len(name.encode(errors="replace")) > _LONGEST_NAME:
        return f"The name of a file has 1 to {_LONGEST_NAME} bytes in UTF-8."
    if name.startswith((".", "_")) or name != name.strip() or name.endswith("."):
        return "The name of a file begins with no dot or underscore, ends with no dot, and has no blanks around it."
    if any(each in "/\\" or unicodedata.category(each) in ("Cc", "Cf", "Cs", "Zl", "Zp") for each in name):
        return "The name of a file has no slashes, no control characters and nothing invisible."
    return ""
