"""Access control: authenticators, principals, policies and rate limits."""

from __future__ import annotations

from .basic import Account, BasicAccounts, change_password, create_account
from .bearer import BearerJWT
from .policies import AllowAny, Authenticated, Hidden, Members, Owner, Policy, Principal, ReadOnly, Roles
from .principals import Authenticator
from .rate_limit import RateLimit, caller_identity
from .stores import Caller, StoreOf, opened, server_of

__all__ = [
    "Account",
    "AllowAny",
    "Authenticated",
    "Authenticator",
    "BasicAccounts",
    "BearerJWT",
    "Caller",
    "Hidden",
    "Members",
    "Owner",
    "Policy",
    "Principal",
    "RateLimit",
    "ReadOnly",
    "Roles",
    "StoreOf",
    "caller_identity",
    "change_password",
    "create_account",
    "opened",
    "server_of",
]
