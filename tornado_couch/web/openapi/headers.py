"""The header fields of requests and answers, as an API document tells of them; pure."""

from __future__ import annotations

from .components import Components, Schema

__all__ = ["ENTITY_TAG", "REQUEST_FIELDS", "answer_field"]

ENTITY_TAG = '"3-917fa2381192822767f010b95b45325b"'

_TEXT: Schema = {"type": "string"}
# RFC 9110 §8.8.3: a list of entity tags, or `*`. As a lookahead, since Schemathesis takes no example for a field whose
# pattern it sees to need more than letters and digits, and sends `0` instead.
_TAGS: Schema = {
    "type": "string",
    "pattern": r'^(?=(\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)$)',
    "examples": [ENTITY_TAG],
}

REQUEST_FIELDS: dict[str, tuple[Schema, str]] = {
    "If-Match": (_TAGS, "Only if the document still has one of these entity tags; `*`: if it is there."),
    "If-None-Match": (
        _TAGS,
        "Only if the document has none of these entity tags: a GET is 304 otherwise. `*`: if there is none.",
    ),
    "Prefer": (
        {**_TEXT, "examples": ["return=minimal"]},
        "`return=minimal`: an answer without the document; `return=representation`: with it (RFC 7240).",
    ),
    "Idempotency-Key": (
        {
            **_TEXT,
            "minLength": 1,
            "maxLength": 255,
            "pattern": r"^[!#-+\--:<-\[\]-~]+$",
            "examples": ["8e03978e-40d5-43dd-9f0e-5c2d6a1f7b30"],
        },
        "A random text; with it the request can be sent again, and creates nothing again.",
    ),
}

_FIELDS: dict[str, tuple[Schema, str]] = {
    "Access-Control-Allow-Credentials": (_TEXT, "Whether a script may send credentials."),
    "Access-Control-Allow-Headers": (_TEXT, "The request's fields that a script may set."),
    "Access-Control-Allow-Methods": (_TEXT, "The methods that a script may use."),
    "Access-Control-Allow-Origin": (_TEXT, "The origin whose scripts may use the answer."),
    "Access-Control-Max-Age": (_TEXT, "For how many seconds a browser may remember this."),
    "Accept-Encoding": (_TEXT, "The content coding that a body may have."),
    "Accept-Patch": (_TEXT, "The media types of a PATCH's body (RFC 5789)."),
    "Accept-Post": (_TEXT, "The media types of a POST's body."),
    "Allow": (_TEXT, "The methods that there are."),
    "Cache-Control": (_TEXT, "A cache may keep the answer for its one client, and must ask each time."),
    "Content-Location": ({**_TEXT, "format": "uri-reference"}, "Where what this shows always is."),
    "Deprecation": (_TEXT, "Since when the resource is deprecated (RFC 9745)."),
    "ETag": (
        {**_TEXT, "pattern": r'^(W/)?"[!#-~]*"$', "examples": [ENTITY_TAG]},
        "The entity tag: the document's revision, for If-Match and If-None-Match.",
    ),
    "Idempotent-Replayed": ({**_TEXT, "const": "true"}, "The same request created the document before."),
    "Link": (
        _TEXT,
        'The pages around: `rel="next"`, `rel="prev"` (RFC 8288); of a version, where the others are (RFC 5829).',
    ),
    "Location": ({**_TEXT, "format": "uri-reference"}, "The new document's address."),
    "Preference-Applied": (_TEXT, "What of Prefer was followed."),
    "RateLimit": (_TEXT, "How many requests are left, and for how long."),
    "RateLimit-Policy": (_TEXT, "How many requests there are, and in which time."),
    "Retry-After": ({"type": "integer", "minimum": 0}, "Seconds until another try may help."),
    "Server-Timing": (_TEXT, "Where the time went, for `Prefer: server-timing`."),
    "Sunset": (_TEXT, "When the resource will be gone (RFC 8594)."),
    "Vary": (_TEXT, "The request's fields that the answer depends on."),
    "WWW-Authenticate": (_TEXT, "How to log in (RFC 9110 §11.6.1)."),
}

# An answer without one of these is a fault; the others depend on the request or on settings.
_ALWAYS = {"Allow", "ETag", "Location", "WWW-Authenticate", "RateLimit", "RateLimit-Policy", "Deprecation", "Sunset"}


def answer_field(components: Components, name: str, *, required: bool | None = None) -> Schema:
    """A reference to the description of a header field of an answer.

    Args:
        components: where it is kept.
        name: of the field.
        required: whether each such answer has it; where nobody says, as the field's nature is.

    Raises:
        KeyError: there is no such field; describe it where it is set.
    """
    schema, description = _FIELDS[name]
    needed = name in _ALWAYS if required is None else required
    found: Schema = {"description": description, "schema": schema}
    if needed:
        found["required"] = True
    return components.put("headers", name if needed == (name in _ALWAYS) else f"{name}-if-any", found)
