"""`tornado-couch keys …`: manages key rings on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from .. import _json
from ..errors import KeySetError
from ..security import Algorithm, KeyRing, Purpose
from ..security.keyczar.symmetric import AesKey, HmacKey
from .options import Secrets, keyczar_options, read_keyczar, secret_options, secrets_of, told

__all__ = ["keys"]

_PATH = click.argument("path", type=click.Path(path_type=Path, dir_okay=False))
_ID = click.argument("key_id")
_ALGORITHM = click.option(
    "--algorithm",
    default=Algorithm.HMAC_SHA256.value,
    show_default=True,
    type=click.Choice([each.value for each in Algorithm]),
    help="How the key signs.",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


@click.group()
def keys() -> None:
    """Create and change key rings. A new key starts as active; promote it once every instance has it.

    PATH is the key ring's file, and KEY_ID a key's id as `list` shows it. A passphrase is never passed as an
    argument, since every user of the machine could read it there.
    """


@keys.command()
@_PATH
@click.option(
    "--purpose",
    default=Purpose.PROTECT.value,
    show_default=True,
    type=click.Choice([each.value for each in Purpose]),
    help="What the ring's keys may do.",
)
@_ALGORITHM
@_JSON
@secret_options
@told
def create(path: Path, purpose: str, algorithm: str, as_json: bool, **options: Any) -> None:
    """Create a key ring in the file PATH.

    It has one key, which is primary; its id is printed.
    """
    if path.exists():
        raise KeySetError(f"{path} exists already; overwriting a key ring would make its data unreadable")
    secrets = secrets_of(options, confirm=True)
    ring = KeyRing.create(Purpose(purpose), algorithm=Algorithm(algorithm))
    secrets.save(ring, path)
    _tell(ring, [ring.keys[0].id], as_json)


@keys.command()
@_PATH
@_ALGORITHM
@_JSON
@secret_options
@told
def add(path: Path, algorithm: str, as_json: bool, **options: Any) -> None:
    """Add an active key to the ring at PATH, and print its id."""
    ring, secrets = _opened(path, options)
    key_id = ring.add(algorithm=Algorithm(algorithm))
    secrets.save(ring, path)
    _tell(ring, [key_id], as_json)


@keys.command()
@_PATH
@_ID
@_JSON
@secret_options
@told
def promote(path: Path, key_id: str, as_json: bool, **options: Any) -> None:
    """Raise a key to active, or from active to primary.

    KEY_ID is the id of a key of the ring at PATH.
    """
    _changed(path, key_id, options, KeyRing.promote, as_json=as_json)


@keys.command()
@_PATH
@_ID
@_JSON
@secret_options
@told
def demote(path: Path, key_id: str, as_json: bool, **options: Any) -> None:
    """Lower a key to active, or from active to inactive.

    KEY_ID is the id of a key of the ring at PATH.
    """
    _changed(path, key_id, options, KeyRing.demote, as_json=as_json)


@keys.command()
@_PATH
@_ID
@_JSON
@secret_options
@told
def revoke(path: Path, key_id: str, as_json: bool, **options: Any) -> None:
    """Destroy an inactive key for good. Rotate first: data that it protects can no longer be read.

    KEY_ID is the id of a key of the ring at PATH.
    """
    _changed(path, key_id, options, KeyRing.destroy, as_json=as_json)


@keys.command()
@_PATH
@click.option("--new-prompt", is_flag=True, help="Prompt for the new passphrase, twice.")
@click.option("--new-passphrase-env", metavar="NAME", help="The environment variable with the new passphrase.")
@click.option(
    "--new-passphrase-file", type=click.Path(path_type=Path), help="The file (mode 0600) with the new passphrase."
)
@click.option("--new-outer-key-env", metavar="NAME", help="The environment variable with the new outer key.")
@click.option("--plain", is_flag=True, help="Leave the file unencrypted from now on.")
@_JSON
@secret_options
@told
def rewrap(path: Path, plain: bool, as_json: bool, **options: Any) -> None:
    """Encrypt a ring's file with another secret.

    The secret is a passphrase or an outer key; the ring's keys stay the same.

    PATH is the key ring's file. Copies of the file that somebody made before still open with the old secret: if that is
    known to others, add a key, rotate, and revoke the old ones.
    """
    names = ("prompt", "passphrase_env", "passphrase_file", "outer_key_env")
    new = {name: options.pop(f"new_{name}") for name in names}
    if plain == any(new.values()):
        raise click.UsageError("Give a source for the new passphrase or outer key, or --plain.")
    ring, _ = _opened(path, options)
    secrets_of(new, confirm=True).save(ring, path)
    _tell(
        ring, [each.id for each in ring.keys], as_json, f"{path} is encrypted anew" if not plain else f"{path} is plain"
    )


@keys.command("list")
@_PATH
@_JSON
@secret_options
@told
def list_keys(path: Path, as_json: bool, **options: Any) -> None:
    """Show the keys of the ring at PATH, without their secrets."""
    ring, _ = _opened(path, options)
    if as_json:
        click.echo(_json.dumps({"purpose": ring.purpose.value, "keys": _shown(ring)}).decode())
        return
    for key in _shown(ring):
        click.echo(f"{key['id']}  {key['state']:9}  {key['algorithm']:11}  {key['created']}")


@keys.command("import-keyczar")
@_PATH
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
@keyczar_options
@_JSON
@secret_options
@told
def import_keyczar(path: Path, directory: Path, keyczar_crypter: Path | None, as_json: bool, **options: Any) -> None:
    """Add keys derived from those of a Keyczar key set.

    The set is of type HMAC or AES. Every ring derives the same keys from it.

    PATH is the key ring's file, and DIRECTORY the Keyczar key set's. The new keys' ids are printed, one per line.

    The ring cannot read data written with Keyczar: use `--keys RING --keys DIRECTORY` until everything is rotated.
    """
    ring, secrets = _opened(path, options)
    added = [ring.add(material) for material in _materials(directory, keyczar_crypter)]
    secrets.save(ring, path)
    _tell(ring, added, as_json)


def _opened(path: Path, options: dict[str, Any]) -> tuple[KeyRing, Secrets]:
    secrets = secrets_of(options)
    return secrets.load(path), secrets


def _changed(
    path: Path, key_id: str, options: dict[str, Any], change: Callable[[KeyRing, str], object], *, as_json: bool
) -> None:
    ring, secrets = _opened(path, options)
    change(ring, key_id)
    secrets.save(ring, path)
    (state,) = (key.state for key in ring.keys if key.id == key_id)
    _tell(ring, [key_id], as_json, f"{key_id} is {state.value}")


def _shown(ring: KeyRing) -> list[dict[str, Any]]:
    return [
        {"id": key.id, "state": key.state.value, "algorithm": key.algorithm.value, "created": key.created}
        for key in ring.keys
    ]


def _tell(ring: KeyRing, ids: list[str], as_json: bool, text: str | None = None) -> None:
    """Print the keys that a command made or changed: in the form of `list --json`, or as ids or a text."""
    if as_json:
        found = [each for each in _shown(ring) if each["id"] in ids]
        click.echo(_json.dumps({"purpose": ring.purpose.value, "keys": found}).decode())
    else:
        click.echo(text or "\n".join(ids))


def _materials(directory: Path, crypter: Path | None) -> list[bytes]:
    found = read_keyczar(directory, crypter)
    kept = [found.key(version.number) for version in found.versions]
    materials = [
        each.secret + each.hmac_key.secret if isinstance(each, AesKey) else each.secret
        for each in kept
        if isinstance(each, AesKey | HmacKey)
    ]
    if kept and not materials:
        raise KeySetError(
            f"keys of type {found.metadata.type.value} cannot be imported: they are key pairs whose public half"
            " others may have, while a key ring derives its keys from one secret. Keep reading with the key set itself:"
            f" --keys RING --keys {directory}"
        )
    if not materials:
        raise KeySetError(f"{directory} contains no keys")
    return materials
