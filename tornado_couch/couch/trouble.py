"""Says what an operator can do when CouchDB cannot be used."""

from __future__ import annotations

from ..errors import ConnectTimeout, CouchError, Forbidden, InvalidReply, Unauthorized, Unavailable

__all__ = ["advice"]

_NOT_ADMIN = ("You are not", "Name or")


def advice(error: CouchError, url: str, *, address: str, user: str) -> str | None:
    """Describe an error that is due to the address or the credentials, and say which setting to change.

    Args:
        error: a call's error.
        url: the server's URL, without credentials.
        address: what the setting of the address is called, such as "--url".
        user: what the setting of the credentials is called.

    Returns:
        A sentence without a full stop; None if the error is about something else.
    """
    match error:
        # A function in the database that refuses a write answers 403 as well, with a reason of its own.
        case Unauthorized(reason=str(reason)) | Forbidden(reason=str(reason)) if reason.startswith(_NOT_ADMIN):
            reason = reason.rstrip(".")
            return f"CouchDB at {url} refused this ({reason}); give the name and password of an admin with {user}"
        # CouchDB 3.4 and later lock an account for up to five minutes.
        case Forbidden(reason=str(reason)) if reason.startswith("Account is temporarily locked"):
            return f"CouchDB at {url} refused this ({reason.rstrip('.')}); wait five minutes, then correct {user}"
        case Unavailable(status=None):
            hint = ""
            if isinstance(error, ConnectTimeout) and url.startswith("https:"):
                hint = " (if the server has no TLS, it begins with http:)"
            return f"no CouchDB can be reached at {url} ({_reason(error)}); start it, or correct {address}{hint}"
        case InvalidReply():
            return f"what answers at {url} is not CouchDB ({error}); correct {address}"
    return None


def _reason(error: Unavailable) -> str:
    """The error's text without the request, which says nothing about the address."""
    _, _, text = str(error).partition(": ")
    return text.removeprefix("the connection could not be opened: ") or str(error)
