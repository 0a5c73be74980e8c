"""Users, sessions and access rights."""

from __future__ import annotations

from tornado_couch.embedded.users.authentication import COOKIE_SECONDS, Authenticator, hash_password
from tornado_couch.embedded.users.security import (
    check_security,
    need_admin,
    need_database_admin,
    need_member,
    need_upkeep,
)

__all__ = [
    "COOKIE_SECONDS",
    "Authenticator",
    "check_security",
    "hash_password",
    "need_admin",
    "need_database_admin",
    "need_member",
    "need_upkeep",
]
