"""Sets who may use a database: its security object, and the application's own user with the least rights.

CouchDB's pages: https://docs.couchdb.org/en/stable/api/database/security.html and
https://docs.couchdb.org/en/stable/intro/security.html#authentication-database
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ..couch import Couch, Database
from ..errors import AlreadyExists, Conflict, InstallError, NotFound
from .plan import Step

__all__ = ["ApplicationUser", "security_steps", "user_steps"]

_PARTS = ("admins", "members")
_LISTS = ("names", "roles")
_PREFIX = "org.couchdb.user:"
# CouchDB derives 20 bytes with its old default, and the complete digest with the others.
_DIGESTS = {"sha": ("sha1", 20), "sha256": ("sha256", 32), "sha512": ("sha512", 64)}


@dataclass(frozen=True)
class ApplicationUser:
    """The user that a service logs in as: a member of its database, who can change documents and nothing else.

    Attributes:
        name: the name of the user.
        password: the user's password; not needed for a user that exists already.
        role: the role that makes the user a member; if empty, the database's name.
    """

    name: str
    password: str | None = field(default=None, repr=False)
    role: str = ""

    def role_for(self, database: str) -> str:
        """The role that makes the user a member of a database."""
        return self.role or database


async def security_steps(
    database: Database, declared: Mapping[str, Any], member_role: str | None, *, fresh: bool
) -> list[Step]:
    """The steps that bring the security object to the declared state.

    Args:
        database: the database.
        declared: `admins` and `members` with `names` and `roles`: the given lists are set, everything else stays.
        member_role: a role that the members' roles must contain.
        fresh: whether the database does not exist yet.

    Raises:
        InstallError: `declared` contains something else.
    """
    _check(declared)
    if not declared and member_role is None:
        return []
    current = {} if fresh else await database.security()
    wanted = _secured(current, declared, member_role)
    if wanted == current:
        return []
    work = partial(_secure, database, declared, member_role)
    return [Step("change", "security object", database.name, _in_words(wanted), work=work)]


def _check(declared: Mapping[str, Any]) -> None:
    for part, lists in declared.items():
        if part not in _PARTS or not isinstance(lists, Mapping) or not lists.keys() <= set(_LISTS):
            raise InstallError("a security object may only have admins and members, each with names and roles")


def _secured(current: Mapping[str, Any], declared: Mapping[str, Any], member_role: str | None) -> dict[str, Any]:
    wanted = dict(current)
    for part in _PARTS:
        lists = {**current.get(part, {}), **{name: list(values) for name, values in declared.get(part, {}).items()}}
        if part == "members" and member_role is not None and member_role not in lists.get("roles", []):
            lists["roles"] = [*lists.get("roles", []), member_role]
        if lists:
            wanted[part] = lists
    return wanted


def _in_words(wanted: Mapping[str, Any]) -> str:
    found = [f"{part}: {name} {', '.join(wanted[part][name])}" for part in _PARTS for name in wanted.get(part, {})]
    return "; ".join(found)


async def _secure(database: Database, declared: Mapping[str, Any], member_role: str | None) -> str | None:
    # It is read again: a database that was just created has CouchDB's default, whose other lists stay.
    current = await database.security()
    wanted = _secured(current, declared, member_role)
    if wanted == current:
        return None
    await database.set_security(wanted)
    return f"set the security object of {database.name}"


async def user_steps(couch: Couch, user: ApplicationUser, database: str) -> tuple[list[Step], list[str]]:
    """The steps that create the application's user or give it what it lacks, and warnings about it.

    Raises:
        InstallError: the user does not exist, and there is no password to create it with.
    """
    stored = await _stored(couch, user)
    role = user.role_for(database)
    if stored is None:
        if user.password is None:
            raise InstallError(f"the user {user.name!r} does not exist, and no password is given to create it with")
        return [
            Step("create", "user", user.name, f"with the role {role}", work=partial(_create, couch, user, role))
        ], []
    missing = role not in stored.get("roles", [])
    other = await asyncio.to_thread(_differs, stored, user.password)
    details = [*([f"adds the role {role}"] if missing else []), *(["sets another password"] if other else [])]
    further = sorted(set(stored.get("roles", [])) - {role})
    warnings = [f"the user {user.name} has other roles too: {', '.join(further)}"] if further else []
    if not details:
        return [], warnings
    work = partial(_change, couch, user, role, other)
    return [Step("change", "user", user.name, "; ".join(details), work=work)], warnings


async def _stored(couch: Couch, user: ApplicationUser) -> dict[str, Any] | None:
    try:
        return await couch["_users"].get(_PREFIX + user.name)
    except NotFound:
        return None


async def _create(couch: Couch, user: ApplicationUser, role: str) -> str | None:
    document = {"_id": _PREFIX + user.name, "type": "user", "name": user.name, "roles": [role]}
    with contextlib.suppress(AlreadyExists):
        await couch.create_database("_users")  # a CouchDB that was never set up may not have it
    try:
        await couch["_users"].put({**document, "password": user.password})
    except Conflict:
        return None  # another installer created it first
    return f"created the user {user.name}"


async def _change(couch: Couch, user: ApplicationUser, role: str, password_too: bool) -> str | None:
    while (stored := await _stored(couch, user)) is not None:
        if role in stored.get("roles", []) and not password_too:
            return None
        roles = list(dict.fromkeys([*stored.get("roles", []), role]))
        try:
            await couch["_users"].put(
                {**stored, "roles": roles, **({"password": user.password} if password_too else {})}
            )
        except Conflict:
            # If another installer changed the user first, the password may be right already.
            password_too = password_too and await asyncio.to_thread(
                _differs, await _stored(couch, user) or {}, user.password
            )
            continue
        return f"changed the user {user.name}"
    return None


def _differs(stored: Mapping[str, Any], password: str | None) -> bool:
    """Whether a stored password is known to be a different one. Logging in to find out could lock the user out.

    It takes as long as CouchDB's own hashing: call it in a thread.
    """
    name, length = _DIGESTS.get(str(stored.get("pbkdf2_prf", "sha")), ("", 0))
    salt, iterations, derived = (stored.get(each) for each in ("salt", "iterations", "derived_key"))
    if password is None or not name or stored.get("password_scheme") != "pbkdf2":
        return False
    if not isinstance(salt, str) or not isinstance(derived, str) or not isinstance(iterations, int) or iterations < 1:
        return False
    found = hashlib.pbkdf2_hmac(name, password.encode(), salt.encode(), iterations, length)
    return not hmac.compare_digest(found.hex(), derived)
