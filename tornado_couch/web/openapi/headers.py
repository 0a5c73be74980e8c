"""Describes the header fields of requests and answers in an API document."""

from __future__ import annotations

from .components import Components, Schema

__all__ = ["ANSWER_FIELDS", "ENTITY_TAG", "REQUEST_FIELDS", "answer_field"]

ENTITY_TAG = '"3-917fa2381192822767f010b95b45325b"'

_TEXT: Schema = {"type": "string"}
# RFC 9110 §8.8.3: a list of entity tags, or `*`. It is a lookahead, since Schemathesis accepts no example for a field
# if it sees that the pattern needs more than letters and digits, and sends `0` instead.
_TAGS: Schema = {
    "type": "string",
    "pattern": r'^(?=(\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)$)',
    "examples": [ENTITY_TAG],
}

REQUEST_FIELDS: dict[str, tuple[Schema, str]] = {
    "If-Match": (_TAGS, "Only if the document still has one of these entity tags; `*`: only if it exists."),
    "If-None-Match": (
        _TAGS,
        "Only if the document has none of these entity tags; a GET answers 304 otherwise. `*`: only if it is new.",
    ),
    "If-Modified-Since": (_TEXT, "Only if the document was changed later; a GET answers 304 otherwise."),
    "If-Unmodified-Since": (_TEXT, "Only if the document was not changed later. Entity tags are more exact."),
    "Prefer": (
        {**_TEXT, "examples": ["return=minimal"]},
        "`return=minimal`: answer without the document; `return=representation`: answer with it (RFC 7240).",
    ),
    "Range": (
        {**_TEXT, "pattern": r"^bytes *=[0-9, -]+$", "examples": ["bytes=0-1023"]},
        "Only these bytes of the file (RFC 9110 §14.2).",
    ),
    "If-Range": (_TEXT, "Range counts only if this is the current entity tag; otherwise the whole file is sent."),
    "Repr-Digest": (
        {**_TEXT, "examples": ["sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"]},
        "The SHA-256 of the file, to be checked (RFC 9530).",
    ),
    "Content-Disposition": (
        {**_TEXT, "examples": ['attachment; filename="front.png"']},
        "The name of the file (RFC 6266).",
    ),
    "Idempotency-Key": (
        {
            **_TEXT,
            "minLength": 1,
            "maxLength": 255,
            "pattern": r"^[!#-+\--:<-\[\]-~]+$",
            "examples": ["8e03978e-40d5-43dd-9f0e-5c2d6a1f7b30"],
        },
        "A random text that makes it safe to send the request again: it is carried out only once.",
    ),
}

ANSWER_FIELDS: dict[str, tuple[Schema, str]] = {
    "Access-Control-Allow-Credentials": (_TEXT, "Whether a script may send credentials."),
    "Access-Control-Allow-Headers": (_TEXT, "The header fields that a script may send."),
    "Access-Control-Allow-Methods": (_TEXT, "The methods that a script may use."),
    "Access-Control-Allow-Origin": (_TEXT, "The origin whose scripts may use the answer."),
    "Access-Control-Max-Age": (_TEXT, "For how many seconds a browser may remember this."),
    "Accept-Encoding": (_TEXT, "The content codings that a body may have."),
    "Accept-Patch": (_TEXT, "The media types of a PATCH's body (RFC 5789)."),
    "Accept-Post": (_TEXT, "The media types of a POST's body."),
    "Accept-Ranges": (_TEXT, "The unit of ranges that can be asked for."),
    "Allow": (_TEXT, "The methods that this address has."),
    "Cache-Control": (_TEXT, "A cache may keep the answer for its own client, and must revalidate it each time."),
    "Content-Location": ({**_TEXT, "format": "uri-reference"}, "The permanent address of what this answer shows."),
    "Content-Disposition": (_TEXT, "The name of the file, and whether a browser may show it in its window (RFC 6266)."),
    "Content-Range": (_TEXT, "Which bytes of the file these are (RFC 9110 §14.4)."),
    "Content-Security-Policy": (_TEXT, "What a file may do in a browser, which is nothing."),
    "Deprecation": (_TEXT, "Since when the resource is deprecated (RFC 9745)."),
    "ETag": (
        {**_TEXT, "pattern": r'^(W/)?"[!#-~]*"$', "examples": [ENTITY_TAG]},
        "The entity tag: the document's revision, for If-Match and If-None-Match.",
    ),
    "Idempotent-Replayed": ({**_TEXT, "const": "true"}, "The same request was carried out before."),
    "Last-Modified": (_TEXT, "When the document was last changed, if that is at least a minute ago."),
    "Link": (
        _TEXT,
        'The next and previous page: `rel="next"`, `rel="prev"` (RFC 8288); for a version, the others (RFC 5829).',
    ),
    "Location": ({**_TEXT, "format": "uri-reference"}, "The new document's address."),
    "Preference-Applied": (_TEXT, "The preferences of Prefer that were followed."),
    "RateLimit": (_TEXT, "How many requests are left, and until when."),
    "RateLimit-Policy": (_TEXT, "How many requests are allowed, and in which time."),
    "Repr-Digest": (_TEXT, "The SHA-256 of the whole file, where it is known (RFC 9530)."),
    "Retry-After": ({"type": "integer", "minimum": 0}, "Seconds until another try may help."),
    "Server-Timing": (_TEXT, "How the time was spent, for `Prefer: server-timing`."),
    "Sunset": (_TEXT, "When the resource will be gone (RFC 8594)."),
    "Vary": (_TEXT, "The header fields of the request on which the answer depends."),
    "X-Total-Count": ({"type": "integer", "minimum": 0}, "The total number of documents, for `count=true`."),
    "WWW-Authenticate": (_TEXT, "How to log in (RFC 9110 §11.6.1)."),
}

# An answer that lacks one of these is wrong; the others depend on the request or on settings.
_ALWAYS = {"Allow", "ETag", "Location", "WWW-Authenticate", "RateLimit", "RateLimit-Policy", "Deprecation", "Sunset"}


def answer_field(components: Components, name: str, *, required: bool | None = None) -> Schema:
    """A reference to the description of a header field of an answer.

    Args:
        components: keeps the description.
        name: the name of the field.
        required: whether each such answer has the field; None for the field's default.

    Raises:
        KeyError: the field is unknown; describe it where it is set.
    """
    schema, description = ANSWER_FIELDS[name]
    needed = name in _ALWAYS if required is None else required
    found: Schema = {"description": description, "schema": schema}
    if needed:
        found["required"] = True
    return components.put("headers", name if needed == (name in _ALWAYS) else f"{name}-if-any", found)
