"""The same resource, mounted with this library, and variants that each change one thing."""

from __future__ import annotations

from typing import Any

from tornado_couch import AllowAny, Application, Couch, Store, resource
from tornado_couch.security import KeyRing

from .models import Fruit, Place, SecretFruit

__all__ = ["VARIANTS", "application"]

# All processes that take part have the same keys, so that each can read what another has written.
VARIANTS: dict[str, dict[str, Any]] = {
    "ours": {},
    "ours-ungrouped": {"grouping": False},
    "ours-cached": {"cache": True},
    "ours-signed": {"signer": True},
    "ours-encrypted": {"crypter": True},
    "ours-jsonschema-rs": {},
}


def application(couch: Couch, database: str, variant: str, keys: str) -> Application:
    """Make the service.

    Args:
        couch: the client.
        database: the database's name.
        variant: one of `VARIANTS`.
        keys: the file of a key ring, for the variants that need one.
    """
    options = dict(VARIANTS[variant])
    for name in ("signer", "crypter"):
        if name in options:
            options[name] = KeyRing.load(keys)
    store = Store(couch[database], **options)
    fruit = SecretFruit if variant == "ours-encrypted" else Fruit
    policy = AllowAny()
    return Application(
        [*resource("/fruits", fruit, store, policy=policy), *resource("/places", Place, store, policy=policy)],
        cookie_secret="the same for all of them",  # noqa: S106 - nothing is protected by it here
    )
