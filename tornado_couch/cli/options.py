"""Options that commands share: the server's address, the credentials, and how a command fails.

    @click.command()
    @server_options
    def command(url: str, **options: Any) -> None:
        connection = connection_of(options)
        ...
        async with connection.server(url) as couch: ...

A password comes from the environment, a private file or a prompt. It is never an argument, since every user of the
machine can read the arguments of a running process.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeVar

import click

from ..couch import BasicAuth, Couch, Database
from ..couch.names import base
from ..couch.trouble import advice
from ..errors import CouchError, KeySetError, NotFound, TornadoCouchError
from ..security import KeyChain, KeyczarKeys, KeyRing, Keys, Scheme, as_keys, keyczar, outer_key
from ..security.key_file import read_private
from ..security.keyczar.metadata import KeyMetadata
from ..service.references import load

__all__ = [
    "FINDINGS",
    "Connection",
    "RotationKeys",
    "Secrets",
    "ServerUnusable",
    "audit_keys",
    "connection_of",
    "connection_options",
    "credentials_setting",
    "database_options",
    "given_secret",
    "key_set_options",
    "keyczar_options",
    "read_keyczar",
    "rotation_key_options",
    "rotation_keys",
    "secret_if_given",
    "secret_options",
    "secrets_of",
    "server_options",
    "store_keys",
    "told",
    "told_as",
]

F = TypeVar("F", bound=Callable[..., Any])

_PASSWORD = "TORNADO_COUCH_PASSWORD"  # noqa: S105 - the name of a variable


class ServerUnusable(TornadoCouchError):
    """The address, the credentials or the database's name are wrong; the message says which option to change."""


@dataclass(frozen=True)
class Connection:
    """The credentials of a command, and the certificates that it trusts.

    Attributes:
        user: the CouchDB user; None for the one in the URL, or for no user.
        password: the user's.
        ca: a file of certificates to trust instead of the system's.
        verify: False to accept any certificate.
    """

    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca: Path | None = None
    verify: bool = True

    @asynccontextmanager
    async def server(self, url: str) -> AsyncIterator[Couch]:
        """A client of the server at a URL.

        Raises:
            click.UsageError: the URL is not valid for CouchDB or also names a user, or the certificates cannot be read.
            ServerUnusable: in the block a call failed because of the address or the credentials.
        """
        auth = None if self.user is None else BasicAuth(self.user, self.password or "")
        try:
            couch = Couch(url, auth=auth, ca=self.ca, verify=self.verify)
        except OSError as error:
            raise click.UsageError(f"--ca {self.ca} cannot be read: {error.strerror or error}") from None
        except ValueError as error:
            raise click.UsageError(f"--url: {error}") from None
        async with couch:
            try:
                yield couch
            except CouchError as error:
                found = advice(error, couch.url, address="--url", user=credentials_setting(self.user or _user_in(url)))
                if found is None:
                    raise
                raise ServerUnusable(found) from None

    @asynccontextmanager
    async def database(self, url: str, name: str) -> AsyncIterator[Database]:
        """A database of the server at a URL.

        Raises:
            click.UsageError: the name is not valid; and as for `server`.
            ServerUnusable: in the block it turned out that there is no such database; and as for `server`.
        """
        async with self.server(url) as couch:
            try:
                found = couch[name]
            except ValueError as error:
                raise click.UsageError(f"--database: {error}") from None
            try:
                yield found
            except NotFound as error:
                if not await _is_missing(found):
                    raise
                raise ServerUnusable(f"there is no database {name} at {couch.url}; correct --database") from error


def credentials_setting(user: str | None) -> str:
    """What the settings of the credentials are called, and which user they name; for `advice`."""
    return f"--username and {_PASSWORD} ({f'the user was {user}' if user else 'no user was named'})"


def _user_in(url: str) -> str | None:
    found = base(url).credentials
    return found[0] if found else None


async def _is_missing(database: Database) -> bool:
    try:
        await database.info()
    except NotFound:
        return True
    return False


def connection_options(command: F) -> F:
    """Add the options for credentials and certificates; `connection_of` reads them."""
    for option in (
        click.option("--insecure", is_flag=True, help="Accept any certificate."),
        click.option(
            "--ca", type=click.Path(path_type=Path, dir_okay=False), help="A PEM file of certificates to trust."
        ),
        click.option("--ask-password", is_flag=True, help="Prompt for the user's password."),
        click.option(
            "--password-file", type=click.Path(path_type=Path), help="The file (mode 0600) with the user's password."
        ),
        click.option(
            "--password-env",
            metavar="NAME",
            help=f"The environment variable with the user's password; {_PASSWORD} by default.",
        ),
        click.option("--username", envvar="TORNADO_COUCH_USER", show_envvar=True, help="CouchDB's user."),
    ):
        command = option(command)
    return command


def server_options(command: F) -> F:
    """Add `--url` and `connection_options`."""
    url = click.option(
        "--url",
        envvar="TORNADO_COUCH_URL",
        show_envvar=True,
        default="http://127.0.0.1:5984",
        show_default=True,
        help="The URL of CouchDB.",
    )
    return url(connection_options(command))


def database_options(command: F) -> F:
    """Add `--database` and `server_options`."""
    name = click.option(
        "--database", envvar="TORNADO_COUCH_DATABASE", show_envvar=True, required=True, help="The database's name."
    )
    return server_options(name(command))


def connection_of(options: dict[str, Any]) -> Connection:
    """Remove the options of `connection_options` from a command's options, and read what they name.

    If no source is named, the password is taken from TORNADO_COUCH_PASSWORD or prompted for.

    Raises:
        click.UsageError: a password is given without a user, or more than one password.
        KeySetError: the password cannot be read.
    """
    user, ca, insecure = options.pop("username"), options.pop("ca"), options.pop("insecure")
    variable, path, ask = options.pop("password_env"), options.pop("password_file"), options.pop("ask_password")
    if user is None and (variable or path or ask):
        raise click.UsageError("A password needs a user: give --username, too.")
    if ca and insecure:
        raise click.UsageError("--ca and --insecure cannot be used together.")
    password = None
    if user is not None:
        password = given_secret(f"Password of {user}", variable, path, ask=ask, default_variable=_PASSWORD)
    return Connection(user, password, ca, verify=not insecure)


def given_secret(
    what: str, variable: str | None, path: Path | None, *, ask: bool = False, default_variable: str
) -> str:
    """A secret from the environment, from a file or, if neither has one, from a prompt.

    Args:
        what: the secret's name, for the prompt.
        variable: the environment variable that holds it.
        path: the file that holds it, which nobody else may read; a line break at its end does not count.
        ask: prompt for it, whatever the environment holds.
        default_variable: the environment variable to use if no source is named.

    Raises:
        click.UsageError: more than one source is named.
        KeySetError: the source named has no secret.
    """
    found = secret_if_given(what, variable, path, ask=ask, default_variable=default_variable)
    return found if found is not None else _asked(what)


def secret_if_given(
    what: str, variable: str | None, path: Path | None, *, ask: bool = False, default_variable: str
) -> str | None:
    """Like `given_secret`, but None if no source is named and the environment has no secret."""
    if sum(map(bool, (variable, path, ask))) > 1:
        raise click.UsageError(f"{what}: give only one source.")
    if path is not None:
        return _present(read_private(path).decode("utf-8", "replace").rstrip("\r\n"), str(path))
    if variable is not None:
        return _present(os.environ.get(variable, ""), variable)
    return _asked(what) if ask else os.environ.get(default_variable) or None


def _asked(what: str) -> str:
    answer: str = click.prompt(what, hide_input=True, err=True)
    return answer


def _present(text: str, where: str) -> str:
    if not text:
        raise KeySetError(f"no password found in {where}")
    return text


P = ParamSpec("P")

R = TypeVar("R")

FINDINGS = 1

"""The exit status of a command that found problems."""


class _NotDone(click.ClickException):
    exit_code = 2  # the same as click's for wrong usage; 1 is for problems that a command found


def told(command: Callable[P, R]) -> Callable[P, R]:
    """End a command with one line instead of a traceback for this package's errors, and for files that cannot be used.

    No message holds a secret.
    """
    return told_as(_NotDone)(command)


def told_as(failure: type[click.ClickException]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Like `told`, with the exit status of a given exception; click's own `ClickException` has 1."""

    def guarding(command: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(command)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return command(*args, **kwargs)
            except TornadoCouchError as error:
                raise failure(str(error)) from None
            except OSError as error:
                if error.filename is None:
                    raise
                raise failure(f"{error.filename}: {error.strerror}") from None

        return guarded

    return guarding


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
    return keyczar_options(secret_options(_unlock_option(_keys_option(required=True)(command))))


def rotation_key_options(command: F) -> F:
    """Add `--keys`, `--crypter`, `--indexer`, `--scheme` and the options that unlock keys; see `rotation_keys`."""
    for option in (
        click.option("--allow-legacy", is_flag=True, help="Also write with Keyczar key sets, which use SHA-1."),
        click.option(
            "--indexer",
            multiple=True,
            type=_PATH,
            help="The keys for blind indexes, if they differ from those that encrypt.",
        ),
        click.option("--crypter", multiple=True, type=_PATH, help="The keys that encrypt, if they differ from --keys."),
        click.option(
            "--scheme",
            type=click.Choice([Scheme.V3.value, Scheme.V2.value]),
            default=Scheme.V3.value,
            show_default=True,
            help="How to sign; v2 is for servers that compute revisions otherwise than CouchDB 3.5.",
        ),
        _unlock_option,
        _keys_option(required=False),
    ):
        command = option(command)
    return keyczar_options(secret_options(command))


def _unlock_option(command: F) -> F:
    return click.option(
        "--unlock",
        multiple=True,
        metavar="RING=SOURCE",
        help=(
            "How to unlock one of several key rings: prompt, passphrase-env:NAME, passphrase-file:PATH or"
            " outer-key-env:NAME. The other options are for those that are not named."
        ),
    )(command)


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
    opener = _Opener.of(options)
    paths, crypter, indexer = (options.pop(name) for name in ("keys", "crypter", "indexer"))
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
    scheme = Scheme(options.pop("scheme"))
    if any(options[name] for name in ("keys", "crypter", "indexer")):
        return {**rotation_keys(options)._asdict(), "scheme": scheme}
    return {}


_SOURCES = {"prompt": "", "passphrase_env": "NAME", "passphrase_file": "PATH", "outer_key_env": "NAME"}


def _unlocking(given: str, rings: Collection[str]) -> tuple[str, Secrets]:
    """What a value of `--unlock` says of a key ring.

    Raises:
        click.UsageError: it names no ring that is given, or no source of a secret.
        KeySetError: the secret cannot be read.
    """
    ring = max((each for each in rings if given.startswith(f"{each}=")), key=len, default=None)
    if ring is None:
        raise click.UsageError(f"--unlock {given}: begin with a key ring that is given, and an equals sign.")
    kind, _, where = given[len(ring) + 1 :].partition(":")
    name = kind.replace("-", "_")
    if name not in _SOURCES or bool(where) != bool(_SOURCES[name]):
        forms = ", ".join(f"{each.replace('_', '-')}{':' if what else ''}{what}" for each, what in _SOURCES.items())
        raise click.UsageError(f"--unlock {given}: after the equals sign give one of {forms}.")
    if name == "prompt":
        return ring, Secrets(_asked(f"Passphrase of {ring}"))
    found = dict.fromkeys(_SOURCES) | {name: Path(where) if name == "passphrase_file" else where}
    return ring, secrets_of(found)


@dataclass(frozen=True)
class _Opener:
    """Opens key ring files and Keyczar key set directories."""

    secrets: Secrets
    by_ring: dict[str, Secrets]
    keyczar_crypter: Path | None
    allow_legacy: bool

    @classmethod
    def of(cls, options: dict[str, Any]) -> _Opener:
        rings = {str(path) for name in ("keys", "crypter", "indexer") for path in options.get(name, ())}
        by_ring = dict(_unlocking(each, rings) for each in options.pop("unlock"))
        return cls(secrets_of(options), by_ring, options.pop("keyczar_crypter"), options.pop("allow_legacy", False))

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
        return self.by_ring.get(str(path), self.secrets).load(path)

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
