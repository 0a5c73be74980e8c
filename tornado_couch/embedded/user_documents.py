"""Checks documents of the `_users` database, and hashes their passwords before they are stored."""

from __future__ import annotations

import json
from typing import Any

from tornado_couch.embedded.couch import Couch
from tornado_couch.embedded.jsontext import dumps
from tornado_couch.embedded.messages import User
from tornado_couch.embedded.problems import forbidden, unauthorized
from tornado_couch.embedded.storage.database import Database
from tornado_couch.embedded.storage.documents import Draft
from tornado_couch.embedded.users.authentication import hash_password

__all__ = ["prepare_user"]

_PREFIX = "org.couchdb.user:"


async def prepare_user(couch: Couch, user: User, database: Database, draft: Draft) -> None:
    """Check a user document as CouchDB's `_design/_auth` does, and hash its password.

    Raises:
        Problem: 401 or 403, the document or its change is not allowed.
    """
    old_text = database.read(draft.id)
    old = json.loads(old_text) if old_text else None
    if draft.deleted:
        if not user.is_admin and (old is None or old.get("name") != user.name):
            raise forbidden("Only administrators can delete other users' documents.")
        return
    _check_shape(draft)
    _check_change(user, draft.body, old)
    password = draft.body.get("password")
    if password is not None:
        if not isinstance(password, str):
            raise forbidden(f"Password value of '{dumps(password)}' is invalid.")
        # The clear password is never stored, and neither are members that claim to be a hash of it.
        hashed = await couch.in_thread(hash_password, password)
        members = {name: value for name, value in draft.body.items() if name not in {"password", *hashed}}
        draft.body = {**members, **hashed}
        draft.text = dumps(draft.body)


def _check_shape(draft: Draft) -> None:
    """Refuse a document that is not a user document."""
    body = draft.body
    if body.get("type") != "user":
        raise forbidden("doc.type must be user")
    if not body.get("name"):
        raise forbidden("doc.name is required")
    roles = body.get("roles")
    if "roles" not in body:
        raise forbidden("doc.roles must exist")
    if not isinstance(roles, list):
        raise forbidden("doc.roles must be an array")
    if not all(isinstance(role, str) for role in roles):
        raise forbidden("doc.roles can only contain strings")
    # `_admin` would turn the user into a server admin.
    if any(role.startswith("_") for role in roles):
        raise forbidden("No system roles (starting with underscore) in users db.")
    if str(body["name"]).startswith("_"):
        raise forbidden("Username may not start with underscore.")
    if ":" in str(body["name"]):
        raise forbidden("Character `:` is not allowed in usernames.")
    if draft.id != f"{_PREFIX}{body['name']}":
        raise forbidden("Doc ID must be of the form org.couchdb.user:name")


def _check_change(user: User, body: dict[str, Any], old: dict[str, Any] | None) -> None:
    """Refuse a change that the user may not make."""
    if old is not None and old.get("name") != body["name"]:
        raise forbidden("Usernames can not be changed.")
    if user.is_admin:
        return
    if old is None:
        if body["roles"]:
            raise forbidden("Only _admin may set roles")
        return
    if user.name != body["name"]:
        raise unauthorized("You may only update your own user document.")
    if sorted(old.get("roles", [])) != sorted(body["roles"]):
        raise forbidden("Only _admin may edit roles")
