"""Keys for commands: files by name, their passphrases from a prompt, a file or the environment.

A passphrase is never an argument: every user of the machine can read those of a running process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from ..errors import KeySetError
from ..security import KeyChain, KeyczarKeys, KeyRing, Keys, as_keys, keyczar, outer_key
from ..security.keyczar.keyset import Keyczar
from ..security.keyfile import read_private

__all__ = ["Secrets", "key_set_options", "open_keys", "secret_options", "secrets_of"]

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


def key_set_options(command: F) -> F:
    """Add `--keys`, and what opens them."""
    return secret_options(
        click.option(
            "--keys",
            "paths",
            multiple=True,
            required=True,
            type=click.Path(path_type=Path),
            help="A key ring's file or a Keyczar key set's directory. The first one writes; give others to read with.",
        )(command)
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


def open_keys(paths: Sequence[Path], secrets: Secrets) -> Keys:
    """The keys of some files and directories; the first one writes.

    Raises:
        KeySetError: one cannot be read.
    """
    opened = [_keyczar(path) if path.is_dir() else secrets.load(path) for path in paths]
    return KeyChain(*opened) if len(opened) > 1 else opened[0]


def _keyczar(path: Path) -> Keys:
    """A Keyczar key set for what its purpose allows: whether it may sign, verify or decrypt."""
    failures: list[KeySetError] = []
    for kind in (keyczar.Signer, keyczar.Verifier, keyczar.Crypter):
        try:
            found: Keyczar = kind.Read(path)
        except KeySetError as error:
            failures.append(error)
        else:
            return KeyczarKeys(crypter=found) if kind is keyczar.Crypter else as_keys(found)
    raise failures[0]
