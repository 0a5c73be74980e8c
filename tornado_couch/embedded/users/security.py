"""What the security object of a database allows a user to do."""

from __future__ import annotations

from typing import Any

from tornado_couch.embedded.messages import User
from tornado_couch.embedded.problems import bad_request, forbidden, unauthorized

__all__ = ["check_security", "need_admin", "need_database_admin", "need_member", "need_upkeep"]


def _group(security: dict[str, Any], name: str) -> tuple[list[Any], list[Any]]:
    """The names and roles of "admins" or "members"."""
    group = security.get(name)
    group = group if isinstance(group, dict) else {}
    return group.get("names") or [], group.get("roles") or []


def _within(user: User, names: list[Any], roles: list[Any]) -> bool:
    return (user.name is not None and user.name in names) or any(role in roles for role in user.roles)


def is_database_admin(user: User, security: dict[str, Any]) -> bool:
    """Whether a user may change the design documents of a database."""
    return user.is_admin or _within(user, *_group(security, "admins"))


def need_admin(user: User) -> None:
    """Refuse a user who is not a server admin.

    Raises:
        Problem: 401, which CouchDB also answers to users who are logged in.
    """
    if not user.is_admin:
        raise unauthorized("You are not a server admin.")


def need_database_admin(user: User, security: dict[str, Any]) -> None:
    """Refuse a user who is an admin neither of the server nor of the database.

    Raises:
        Problem: 401, or 403 for a user who is logged in.
    """
    if not is_database_admin(user, security):
        # 401 asks for credentials; a user who has sent them would be asked for ever (RFC 9110, 15.5.2 and 15.5.4).
        refuse = unauthorized if user.name is None else forbidden
        raise refuse("You are not a db or server admin.")


def need_upkeep(user: User, security: dict[str, Any]) -> None:
    """Refuse a user who may not compact the database and clean up its indexes.

    Raises:
        Problem: 401, which CouchDB also answers to users who are logged in.
    """
    if not is_database_admin(user, security):
        raise unauthorized("You are not a server or db admin.")


def need_member(user: User, security: dict[str, Any]) -> None:
    """Refuse a user who may not read the database. A database without members is open to all.

    Raises:
        Problem: 401, or 403 for a user who is logged in.
    """
    if is_database_admin(user, security):
        return
    names, roles = _group(security, "members")
    # An empty list of members means everybody (CouchDB API, "/db/_security").
    if (not names and not roles) or _within(user, names, roles):
        return
    if user.name is None:
        raise unauthorized("You are not authorized to access this db.")
    raise forbidden("You are not allowed to access this db.")


def check_security(value: Any) -> dict[str, Any]:
    """Check the security object in a request.

    Raises:
        Problem: 400, it is not a security object.
    """
    if not isinstance(value, dict):
        raise bad_request("Request body must be a JSON object")
    for group in ("admins", "members"):
        found = value.get(group, {})
        if not isinstance(found, dict):
            raise bad_request(f"{group} must be a JSON object")
        for member in ("names", "roles"):
            listed = found.get(member, [])
            if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
                raise bad_request(f"{member} must be a JSON list of strings")
    return value
