"""Answers `/_session`: log in, log out, and show the current user."""

from __future__ import annotations

import inspect
from email.utils import formatdate
from time import time
from typing import Any
from urllib.parse import parse_qsl, quote

from tornado_couch.embedded.couch import Couch
from tornado_couch.embedded.messages import Reply, Request, json_reply
from tornado_couch.embedded.problems import bad_content_type, bad_request, unauthorized
from tornado_couch.embedded.users.authentication import COOKIE_SECONDS

__all__ = ["session"]

_FORMS = ("application/x-www-form-urlencoded", "application/json")
_GONE = "AuthSession=; Version=1; Path=/; HttpOnly"


def session(couch: Couch, request: Request) -> Any:
    """Answer `/_session`: returns a Reply, or an awaitable of one."""
    request.allow("GET", "HEAD", "POST", "DELETE")
    if request.method == "POST":
        return log_in(couch, request)
    if request.method == "DELETE":
        return _with_cookie(request, {"ok": True}, _GONE)
    user = request.user
    if request.parameters.get("basic") == "true" and user.name is None and not user.is_admin:
        raise unauthorized("Please login.")
    told: dict[str, Any] = {"authentication_handlers": ["cookie", "default"]}
    if user.handler is not None:
        told["authenticated"] = user.handler
    return json_reply({"ok": True, "userCtx": {"name": user.name, "roles": list(user.roles)}, "info": told})


def _credentials(request: Request) -> tuple[str, str]:
    """Read name and password from a JSON body or a form."""
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    form: dict[str, Any]
    if kind not in _FORMS:
        raise bad_content_type(f"Content-Type must be '{_FORMS[0]}' or '{_FORMS[1]}'")
    if kind == "application/json":
        form = request.json_object()
    else:
        form = dict(parse_qsl(bytes(request.body).decode("utf-8", "replace"), keep_blank_values=True))
    name, password = form.get("name", form.get("username")), form.get("password", "")
    if name is None:
        raise bad_request("request body must contain a username")
    if not isinstance(name, str) or not isinstance(password, str):
        raise bad_request("request body must contain a username and a password")
    return name, password


async def log_in(couch: Couch, request: Request) -> Reply:
    """Answer `POST /_session` with a cookie for a correct name and password."""
    name, password = _credentials(request)
    found = couch.auth.check(name, password)
    user = await found if inspect.isawaitable(found) else found
    until = formatdate(time() + COOKIE_SECONDS, usegmt=True)
    cookie = (
        f"AuthSession={couch.auth.cookie(name)}; Version=1; Expires={until}; Max-Age={COOKIE_SECONDS}; Path=/; HttpOnly"
    )
    answer = {"ok": True, "name": user.name, "roles": list(user.roles)}
    return _with_cookie(request, answer, cookie)


def _with_cookie(request: Request, answer: dict[str, Any], cookie: str) -> Reply:
    """The answer, which may redirect to the path in `next` (CouchDB API, "Cookie Authentication")."""
    path = request.parameters.get("next")
    if path is None:
        return json_reply(answer, 200, {"Set-Cookie": cookie})
    if path[:1] != "/":
        raise bad_request("path must begin with a /.")
    location = request.url() + quote(path[1:], safe="/:?&=%")
    return json_reply(answer, 302, {"Set-Cookie": cookie, "Location": location})
