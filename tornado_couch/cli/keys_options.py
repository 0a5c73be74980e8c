"""The options that name a command's keys, and where their passphrases come from.

A passphrase comes from a prompt, a file or the environment. It is never an argument, since every user of the
machine can read the arguments of a running process.
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
        """Read the key ring from a file.

        Raises:
            KeySetError: it cannot be read; the message names the file.
        """
        try:
            return KeyRing.load(path, passphrase=self.passphrase, outer=self.outer)
        except KeySetError as error:
            raise error if str(path) in str(error) else KeySetError(f"{path}: {error}") from None

    def save(self, ring: KeyRing, path: Path) -> None:
        """Write the key ring, wrapped the same way in which it was opened."""
        ring.save(path, passphrase=self.passphrase, outer=self.outer)


def secret_options(command: F) -> F:
    """Add the options that say where to find the passphrase or outer key."""
    for option in (
        click.option("--prompt", is_flag=True, help="Prompt for the key ring's passphrase."),
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
    """Add the option that names the key set for reading encrypted Keyczar key sets."""
    return click.option(
        "--keyczar-crypter", type=_DIRECTORY, help="The Keyczar key set with which the other key sets are encrypted."
    )(command)


def key_set_options(command: F) -> F:
    """Add `--keys` and the options that unlock them; `audit_keys` reads these options."""
    return keyczar_options(secret_options(_keys_option(required=True)(command)))


def rotation_key_options(command: F) -> F:
    """Add `--keys`, `--crypter`, `--indexer` and the options that unlock them; `rotation_keys` reads these options."""
    for option in (
        click.option("--allow-legacy", is_flag=True, help="Also write with Keyczar key sets, which use SHA-1."),
        click.option(
            "--indexer",
            multiple=True,
            type=_PATH,
            help="The keys for blind indexes, if they differ from those that encrypt.",
        ),
        click.option("--crypter", multiple=True, type=_PATH, help="The keys that encrypt, if they differ from --keys."),
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
            " further ones are for reading."
        ),
    )


def secrets_of(options: dict[str, Any], *, confirm: bool = False) -> Secrets:
    """Remove the options of `secret_options` from a command's options, and read what they name.

    Raises:
        click.UsageError: more than one source is given.
        KeySetError: the secret cannot be read."""
    names = ("prompt", "passphrase_env", "passphrase_file", "outer_key_env")
    given = {name: value for name in names if (value := options.pop(name))}
    if len(given) > 1:
        raise click.UsageError("Give only one source for the passphrase or outer key.")
    if "prompt" in given:
        return Secrets(click.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm, err=True))
    if "passphrase_env" in given:
        return Secrets(_passphrase(os.environ.get(given["passphrase_env"], ""), given["passphrase_env"]))
    if "passphrase_file" in given:
        path = given["passphrase_file"]
        try:
            text = read_private(path).decode("utf-8")
        except UnicodeDecodeError:
            raise KeySetError(f"{path} is not text in UTF-8") from None
        return Secrets(_passphrase(text.rstrip("\r\n"), str(path)))
    return Secrets(outer=outer_key(given["outer_key_env"])) if given else Secrets()


def _passphrase(text: str, where: str) -> str:
    if not text:
        raise KeySetError(f"no passphrase found in {where}")
    return text


class RotationKeys(NamedTuple):
    """The keys that a rotation uses.

    Attributes:
        signer: signs documents; None for a database without signatures.
        crypter: encrypts values.
        indexer: makes blind indexes; None to use the crypter.
    """

    signer: Keys | None
    crypter: Keys
    indexer: Keys | None


def audit_keys(options: dict[str, Any]) -> Keys:
    """Remove the options of `key_set_options` from a command's options, and open what they name.

    Raises:
        click.UsageError: the options cannot be combined.
        KeySetError: something cannot be read.
    """
    return _Opener.of(options).opened(options.pop("keys"))


def rotation_keys(options: dict[str, Any]) -> RotationKeys:
    """Remove the options of `rotation_key_options` from a command's options, and open what they name.

    Raises:
        click.UsageError: no keys are given, or the options cannot be combined.
        KeySetError: something cannot be read.
    """
    paths, crypter, indexer = (options.pop(name) for name in ("keys", "crypter", "indexer"))
    opener = _Opener.of(options)
    if not (paths or crypter):
        raise click.UsageError("Give --keys, or only --crypter if nothing is signed.")
    signer = opener.opened(paths) if paths else None
    return RotationKeys(
        signer, opener.opened(crypter) if crypter else opener.opened(paths), opener.opened(indexer) if indexer else None
    )


def store_keys(options: dict[str, Any]) -> dict[str, Any]:
    """The same keys as arguments for a store; without keys, the store neither signs nor encrypts.

    Raises:
        click.UsageError, KeySetError: as for `rotation_keys`; or an indexer is given without any other key.
    """
    if any(options[name] for name in ("keys", "crypter", "indexer")):
        return rotation_keys(options)._asdict()
    return {}


@dataclass(frozen=True)
class _Opener:
    """Opens key ring files and Keyczar key set directories."""

    secrets: Secrets
    keyczar_crypter: Path | None
    allow_legacy: bool

    @classmethod
    def of(cls, options: dict[str, Any]) -> _Opener:
        return cls(secrets_of(options), options.pop("keyczar_crypter"), options.pop("allow_legacy", False))

    def opened(self, paths: Sequence[Path]) -> Keys:
        """Open all keys; the first one writes."""
        found = [self._opened(path) for path in paths]
        return KeyChain(*found) if len(found) > 1 else found[0]

    def _opened(self, path: Path) -> Keys:
        if path.is_dir():
            return self._keyczar(path)
        if ":" in path.name and not path.exists():
            # Some keys are not in files, such as those of a KMS: the service's own code creates them.
            given = load(str(path))
            return as_keys(given() if inspect.isroutine(given) else given)
        return self.secrets.load(path)

    def _keyczar(self, path: Path) -> Keys:
        found = read_keyczar(path, self.keyczar_crypter, allow_legacy=self.allow_legacy)
        return KeyczarKeys(crypter=found) if isinstance(found, keyczar.Crypter) else as_keys(found)


def read_keyczar(path: Path, crypter: Path | None, *, allow_legacy: bool = False) -> keyczar.Keyczar:
    """Open the Keyczar key set in a directory, for everything that its purpose allows.

    Args:
        path: the directory.
        crypter: decrypts the key set if it is encrypted; other key sets are read without it.
        allow_legacy: let the key set write, too.

    Raises:
        KeySetError: the key set cannot be read, or is encrypted and no crypter is given.
    """
    reader = keyczar.readers.FileReader(path)
    metadata = KeyMetadata.parse(reader.GetMetadata())
    if metadata.encrypted and crypter is None:
        raise KeySetError(f"the key set {path} is encrypted: name the key set that decrypts it with --keyczar-crypter")
    kinds: tuple[type[keyczar.Keyczar], ...] = (keyczar.Signer, keyczar.Verifier, keyczar.Crypter)
    kind = next((each for each in kinds if metadata.purpose in each.purposes), None)
    if kind is None:
        raise KeySetError(f"the key set {path} can only encrypt, so it cannot read anything")
    outer = keyczar.Crypter.Read(crypter) if crypter is not None and metadata.encrypted else None
    return kind.Read(path, allow_legacy=allow_legacy, crypter=outer)
