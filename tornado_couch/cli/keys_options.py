"""Keys for commands: files by name, their passphrases from a prompt, a file or the environment.

A passphrase is never an argument: every user of the machine can read those of a running process.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click

from ..errors import KeySetError
from ..security import KeyChain, KeyczarKeys, KeyRing, Keys, as_keys, keyczar, outer_key
from ..security.key_file import read_private
from ..security.keyczar.metadata import KeyMetadata
from ..service.references import load

__all__ = [
    "RotationKeys",
    "Secrets",
    "audit_keys",
    "key_set_options",
    "keyczar_options",
    "read_keyczar",
    "rotation_key_options",
    "rotation_keys",
    "secret_options",
    "secrets_of",
    "store_keys",
]

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Secrets:
    """What opens a wrapped key ring: a passphrase, an outer key, or nothing."""

    passphrase: str | None = None
    outer: bytes | None = None

    def load(self, path: Path) -> KeyRing:
        """The ring in a file."""
        return KeyRing.load(path, passphrase=self.passphrase, outer=self.outer)

    def save(self, ring: KeyRing, path: Path) -> None:
        """Write the ring, wrapped as it is opened."""
        ring.save(path, passphrase=self.passphrase, outer=self.outer)


def secret_options(command: F) -> F:
    """Add the options that say where the passphrase or outer key is."""
    for option in (
        click.option("--prompt", is_flag=True, help="Ask for the key ring's passphrase."),
        click.option("--passphrase-env", metavar="NAME", help="The environment variable with the passphrase."),
        click.option(
            "--passphrase-file", type=click.Path(path_type=Path), help="The file (mode 0600) with the passphrase."
        ),
        click.option("--outer-key-env", metavar="NAME", help="The environment variable with the outer key."),
    ):
        command = option(command)
    return command


_DIRECTORY = click.Path(path_type=Path, file_okay=False)
_PATH = click.Path(path_type=Path)


def keyczar_options(command: F) -> F:
    """Add the option that says what encrypted Keyczar key sets are read with."""
    return click.option(
        "--keyczar-crypter", type=_DIRECTORY, help="The Keyczar key set that others given here are encrypted with."
    )(command)


def key_set_options(command: F) -> F:
    """Add `--keys`, and what opens them; `audit_keys` reads them."""
    return keyczar_options(secret_options(_keys_option(required=True)(command)))


def rotation_key_options(command: F) -> F:
    """Add `--keys`, `--crypter` and `--indexer`, and what opens them; `rotation_keys` reads them."""
    for option in (
        click.option("--allow-legacy", is_flag=True, help="Let Keyczar key sets write: they do so with SHA-1."),
        click.option(
            "--indexer",
            multiple=True,
            type=_PATH,
            help="The keys of blind indexes, where they are others than those that encrypt.",
        ),
        click.option(
            "--crypter", multiple=True, type=_PATH, help="The keys that encrypt, where they are others than --keys."
        ),
        _keys_option(required=False),
    ):
        command = option(command)
    return keyczar_options(secret_options(command))


def _keys_option(*, required: bool) -> Callable[[F], F]:
    return click.option(
        "--keys",
        multiple=True,
        required=required,
        type=_PATH,
        help=(
            "A key ring's file, a Keyczar key set's directory, or MODULE:NAME of your own code. The first one writes;"
            " give others to read with."
        ),
    )


def secrets_of(options: dict[str, Any], *, confirm: bool = False) -> Secrets:
    """Take the options of `secret_options` out of a command's, and read what they name.

    Raises:
        click.UsageError: more than one is given.
        KeySetError: it cannot be read.
    """
    names = ("prompt", "passphrase_env", "passphrase_file", "outer_key_env")
    given = {name: value for name in names if (value := options.pop(name))}
    if len(given) > 1:
        raise click.UsageError("Say once where the passphrase or outer key is.")
    if "prompt" in given:
        return Secrets(click.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm, err=True))
    if "passphrase_env" in given:
        return Secrets(_passphrase(os.environ.get(given["passphrase_env"], ""), given["passphrase_env"]))
    if "passphrase_file" in given:
        path = given["passphrase_file"]
        return Secrets(_passphrase(read_private(path).decode("utf-8").rstrip("\r\n"), str(path)))
    return Secrets(outer=outer_key(given["outer_key_env"])) if given else Secrets()


def _passphrase(text: str, where: str) -> str:
    if not text:
        raise KeySetError(f"there is no passphrase in {where}")
    return text


class RotationKeys(NamedTuple):
    """What a rotation works with.

    Attributes:
        signer: None for a database without signatures.
        crypter: what encrypts.
        indexer: what makes blind indexes; the crypter if None.
    """

    signer: Keys | None
    crypter: Keys
    indexer: Keys | None


def audit_keys(options: dict[str, Any]) -> Keys:
    """Take the options of `key_set_options` out of a command's, and open what they name.

    Raises:
        click.UsageError: they do not go together.
        KeySetError: something cannot be read.
    """
    return _Opener.of(options).opened(options.pop("keys"))


def rotation_keys(options: dict[str, Any]) -> RotationKeys:
    """Take the options of `rotation_key_options` out of a command's, and open what they name.

    Raises:
        click.UsageError: there are no keys at all, or the options do not go together.
        KeySetError: something cannot be read.
    """
    paths, crypter, indexer = (options.pop(name) for name in ("keys", "crypter", "indexer"))
    opener = _Opener.of(options)
    if not (paths or crypter):
        raise click.UsageError("Say --keys, or --crypter alone where nothing is signed.")
    signer = opener.opened(paths) if paths else None
    return RotationKeys(
        signer, opener.opened(crypter) if crypter else opener.opened(paths), opener.opened(indexer) if indexer else None
    )


def store_keys(options: dict[str, Any]) -> dict[str, Any]:
    """The same, as arguments for a store; without keys a store of nothing signed or encrypted.

    Raises:
        click.UsageError, KeySetError: as `rotation_keys` does; there is an indexer and no other key.
    """
    if any(options[name] for name in ("keys", "crypter", "indexer")):
        return rotation_keys(options)._asdict()
    return {}


@dataclass(frozen=True)
class _Opener:
    """Opens files of key rings and directories of Keyczar key sets."""

    secrets: Secrets
    keyczar_crypter: Path | None
    allow_legacy: bool

    @classmethod
    def of(cls, options: dict[str, Any]) -> _Opener:
        return cls(secrets_of(options), options.pop("keyczar_crypter"), options.pop("allow_legacy", False))

    def opened(self, paths: Sequence[Path]) -> Keys:
        """The keys of all; the first one writes."""
        found = [self._opened(path) for path in paths]
        return KeyChain(*found) if len(found) > 1 else found[0]

    def _opened(self, path: Path) -> Keys:
        if path.is_dir():
            return self._keyczar(path)
        if ":" in path.name and not path.exists():
            # Keys of a KMS, say, are no file: the service's own code makes them.
            given = load(str(path))
            return as_keys(given() if inspect.isroutine(given) else given)
        return self.secrets.load(path)

    def _keyczar(self, path: Path) -> Keys:
        found = read_keyczar(path, self.keyczar_crypter, allow_legacy=self.allow_legacy)
        return KeyczarKeys(crypter=found) if isinstance(found, keyczar.Crypter) else as_keys(found)


def read_keyczar(path: Path, crypter: Path | None, *, allow_legacy: bool = False) -> keyczar.Keyczar:
    """The Keyczar key set in a directory, for all that its purpose allows.

    Args:
        path: the directory.
        crypter: that of the key set that it is encrypted with, if it is encrypted; others are read without.
        allow_legacy: let it write.

    Raises:
        KeySetError: it cannot be read, or is encrypted and there is no crypter.
    """
    reader = keyczar.readers.FileReader(path)
    metadata = KeyMetadata.parse(reader.GetMetadata())
    if metadata.encrypted and crypter is None:
        raise KeySetError(f"the key set {path} is encrypted: name the one that it is encrypted with, --keyczar-crypter")
    kinds: tuple[type[keyczar.Keyczar], ...] = (keyczar.Signer, keyczar.Verifier, keyczar.Crypter)
    kind = next((each for each in kinds if metadata.purpose in each.purposes), None)
    if kind is None:
        raise KeySetError(f"the key set {path} only encrypts: nothing can be read with it")
    outer = keyczar.Crypter.Read(crypter) if crypter is not None and metadata.encrypted else None
    return kind.Read(path, allow_legacy=allow_legacy, crypter=outer)
