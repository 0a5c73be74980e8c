"""The classic installer: a command line for a service to create its database, as in tor-async-couchdb.

    class CommandLineParser(installer.CommandLineParser):
        def __init__(self):
            installer.CommandLineParser.__init__(self, "makes the orchard's database", "orchard")

    if __name__ == "__main__":
        sys.exit(installer.main(CommandLineParser(), "design_docs", "seed_docs"))

New services use `tornado-couch install`, or `Installer`, on which this is a thin layer. Seed documents are stored
only once, however often it runs: a document without `_id` is recognised by its content.
"""

from __future__ import annotations

import asyncio
import getpass
import hashlib
import logging
import optparse
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from ..couch import BasicAuth, Couch
from ..errors import TornadoCouchError
from ..installation import Installer
from ..installation.files import Seeds, read_json
from ..security import Scheme, canonical, keyczar
from ..store import Store
from ..store.protection.signatures import Guard, NoGuard, SignatureGuard

__all__ = ["CommandLineParser", "main"]

_logger = logging.getLogger("tornado_couch.classic")

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "FATAL")
_WORDS = {**dict.fromkeys(("true", "t", "yes", "y", "1"), True), **dict.fromkeys(("false", "f", "no", "n", "0"), False)}


class _Credentials(NamedTuple):
    user: str
    password: str


def _check_level(option: optparse.Option, opt: str, value: str) -> int:  # noqa: ARG001 - optparse's
    if value.upper() not in _LEVELS:
        raise optparse.OptionValueError(f"option {opt}: must be one of {', '.join(_LEVELS)}")
    return int(getattr(logging, value.upper()))


def _check_boolean(option: optparse.Option, opt: str, value: str) -> bool:  # noqa: ARG001
    if value.lower() not in _WORDS:
        raise optparse.OptionValueError(f"option {opt}: must be one of true, false, yes, no, 1 or 0")
    return _WORDS[value.lower()]


def _check_host(option: optparse.Option, opt: str, value: str) -> str:  # noqa: ARG001
    if not re.fullmatch(r"https?://[^:/?#\s]+(:\d+)?/?", value.strip(), re.IGNORECASE):
        raise optparse.OptionValueError(f"option {opt}: the format must be http[s]://host:port")
    return value.strip()


def _check_credentials(option: optparse.Option, opt: str, value: str) -> _Credentials:  # noqa: ARG001
    user, colon, password = value.partition(":")
    if not user or not colon:
        raise optparse.OptionValueError(f"option {opt}: use 'user:password', or 'user:' for a prompt")
    return _Credentials(user, password)


class _Option(optparse.Option):
    TYPES = (*optparse.Option.TYPES, "boolean", "logginglevel", "schemehostport", "usercolonpassword")
    TYPE_CHECKER = {  # noqa: RUF012 - optparse's own form
        **optparse.Option.TYPE_CHECKER,
        "boolean": _check_boolean,
        "logginglevel": _check_level,
        "schemehostport": _check_host,
        "usercolonpassword": _check_credentials,
    }


class CommandLineParser(optparse.OptionParser):
    """The options of an installer; a service derives from it to set the database's name, and may add options.

    Args:
        description: what the installer does.
        default_database: the database's name, unless `--database` gives another.
    """

    def __init__(self, description: str, default_database: str) -> None:
        super().__init__("usage: %prog [options]", description=description, option_class=_Option)
        for name, kind, destination, default, text in (
            ("--log", "logginglevel", "logging_level", logging.ERROR, f"logging level [{','.join(_LEVELS)}]"),
            ("--host", "schemehostport", "host", "http://127.0.0.1:5984", "where CouchDB runs"),
            ("--database", "string", "database", default_database, "database"),
            ("--creds", "usercolonpassword", "creds", None, ("user:password; 'user:' asks for the password; by default,"
             " TORNADO_COUCH_USER and TORNADO_COUCH_PASSWORD")),
            ("--delete", "boolean", "delete", False, "delete the database before creating it"),
            ("--create", "boolean", "create", True, "create database"),
            ("--createdesign", "boolean", "create_design_docs", True, "create design documents"),
            ("--createseed", "boolean", "create_seed_docs", True, "create seed documents"),
            ("--seeddocsigner", "string", "seed_doc_signer_dir_name", "", "sign seed docs with this Keyczar key set"),
            ("--verify_host_ssl_cert", "boolean", "verify_host_ssl_cert", True, "verify the host's TLS certificate"),
        ):  # fmt: skip
            self.add_option(name, type=kind, dest=destination, default=default, help=f"{text} - default = {default}")


def main(clp: optparse.OptionParser, design_docs_module: Any = None, seeds_docs_module: Any = None) -> int:
    """Run the installer with the options of the command line.

    Args:
        clp: a `CommandLineParser`.
        design_docs_module: the folder of design documents, or None; see `installation.files`.
        seeds_docs_module: the folder of seed documents, or None: files `*.json` with a document or an array of them.

    Returns:
        The exit status: 0 for success, 1 for failure. Wrong usage exits directly, with 2.
    """
    options, _ = clp.parse_args()
    logging.basicConfig(level=options.logging_level)
    try:
        done = asyncio.run(_installed(options, design_docs_module, seeds_docs_module))
    except (TornadoCouchError, ValueError, OSError) as error:
        _logger.critical("failed to install %r on %r: %s", options.database, options.host, error)
        return 1
    for each in done:
        _logger.info("%s", each)
    return 0


async def _installed(options: Any, designs: Any, seeds: Any) -> list[str]:
    signer = None
    if options.seed_doc_signer_dir_name:
        # tor-async-couchdb signed with such keys; choosing them on the command line allows it.
        signer = await asyncio.to_thread(keyczar.Signer.Read, options.seed_doc_signer_dir_name, allow_legacy=True)
    async with Couch(options.host, auth=_auth(options.creds), verify=options.verify_host_ssl_cert) as couch:
        installer = Installer(
            couch,
            database=options.database,
            design_docs=designs if options.create and options.create_design_docs else None,
            create=options.create,
            delete=options.delete,
            create_design=options.create and options.create_design_docs,
        )
        if not (options.create or options.delete):
            return []
        done = await installer.install()
        if options.create and options.create_seed_docs and seeds is not None:
            done += await _seeded(couch, options.database, Path(seeds), signer)
        return done


async def _seeded(couch: Couch, name: str, folder: Path, signer: object) -> list[str]:
    database = couch[name]
    guard: Guard = NoGuard() if signer is None else SignatureGuard(database, signer, scheme=Scheme.CLASSIC)
    found = Seeds({}, await asyncio.to_thread(_read_seeds, folder))
    steps = await found.steps(Store(database), guard, fresh=False)
    return [done for step in steps if (done := await step.work()) is not None]


def _read_seeds(folder: Path) -> list[dict[str, Any]]:
    values = [value for path in sorted(folder.glob("*.json")) for value in _listed(read_json(path))]
    return [
        value if "_id" in value else {"_id": hashlib.sha256(canonical(value)).hexdigest()[:32], **value}
        for value in values
    ]


def _listed(value: Any) -> list[dict[str, Any]]:
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(each, dict) for each in values):
        raise ValueError("a seed document must be a JSON object")
    return values


def _auth(given: _Credentials | None) -> BasicAuth | None:
    if given is None and os.environ.get("TORNADO_COUCH_USER"):
        given = _Credentials(os.environ["TORNADO_COUCH_USER"], os.environ.get("TORNADO_COUCH_PASSWORD", ""))
    if given is None:
        return None
    return BasicAuth(given.user, given.password or getpass.getpass("Password: "))
