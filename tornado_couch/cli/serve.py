"""`tornado-couch serve`: runs a service from the command line."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import tornado.web

from ..couch.trouble import advice
from ..errors import CouchError
from ..service.configuration import Configuration, ConfigurationError, Sources, configuration_class
from ..service.processes import serve as serve_application
from ..service.references import load_application
from ..service.worker import ServeOptions, application_arguments, application_of, tls_context, wants_couch
from .options import ServerUnusable, credentials_setting, told

__all__ = ["serve"]


@click.command()
@click.argument("app", metavar="MODULE:APP")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    envvar="TORNADO_COUCH_CONFIG",
    show_envvar=True,
    help="The configuration file, in TOML.",
)
@click.option(
    "--secrets",
    type=click.Path(path_type=Path),
    help="A folder with one file for each secret, as containers mount them.",
)
@click.option("--host", help=f"The address to listen on; 0.0.0.0 or :: for all.  [default: {ServeOptions.host}]")
@click.option("--port", help=f"The port to listen on; 0 for a free one.  [default: {ServeOptions.port}]")
@click.option(
    "--url",
    help="The URL of CouchDB; of several nodes of a cluster, separated by commas.  [default: http://127.0.0.1:5984]",
)
@click.option("--database", help="The database's name.")
@click.option("--username", "user", help="CouchDB's user; the password is in TORNADO_COUCH_PASSWORD or a file.")
@click.option("--certificate", help="A PEM file with the certificate for TLS; read again at SIGHUP.")
@click.option("--key", help="The PEM file with the certificate's private key, if it is in a file of its own.")
@click.option("--reload", is_flag=True, help="Replace the process whenever its code changes; for development.")
@click.option("--processes", help=f"How many processes to run; 0 for one per CPU.  [default: {ServeOptions.processes}]")
@click.option("--xheaders", is_flag=True, help="Trust the X-Forwarded-… headers of a proxy in front of the service.")
@click.option("--set", "more", multiple=True, metavar="NAME=VALUE", help="Any other setting; can be repeated.")
@click.option("--print-config", is_flag=True, help="Print the settings, without secrets, and exit.")
@click.option("--json", "as_json", is_flag=True, help="With --print-config: print the settings as JSON.")
@told
def serve(
    app: str,
    config: Path | None,
    secrets: Path | None,
    more: tuple[str, ...],
    print_config: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Serve an application.

    MODULE:APP is a Tornado application, or a function that makes one: plain, async or an async context manager. It
    may take the configuration or a Couch.

    Settings come from the command line, environment variables TORNADO_COUCH_…, secrets and the file; the first of
    these that has a setting decides.

    SIGTERM and SIGINT stop the service once all requests under way are answered. SIGHUP replaces its processes, if
    it has several, one after another; a single process reads its certificate again.
    """
    if as_json and not print_config:
        raise click.UsageError("--json can only be used with --print-config.")
    given = {name: str(value) for name, value in options.items() if value not in (None, False)}
    sources = _sources(config, secrets, {**given, **dict(map(_pair, more))})
    if print_config:
        _print(sources, configuration_class(load_application(app)), as_json)
        return
    settings = _read(sources, Configuration, strict=False)
    if settings.reload and settings.processes != 1:
        raise click.UsageError("--reload is for one process; leave out --processes.")
    if settings.key is not None and settings.certificate is None:
        raise click.UsageError("--key is the key of a certificate; give --certificate, too.")
    try:
        tls_context(settings.serve_options())
    except OSError as error:
        raise click.UsageError(f"--certificate {settings.certificate} cannot be used: {error}") from None
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"
    )
    # Request URLs may contain private data.
    logging.getLogger("tornado.access").setLevel(logging.NOTSET if settings.access_log else logging.ERROR)
    try:
        status = serve_application(_Late(app, sources), **asdict(settings.serve_options()))
    except OSError as error:
        raise click.ClickException(
            f"Cannot listen on {settings.host}:{settings.port}: {error.strerror}; choose another --port or --host"
        ) from None
    sys.exit(status)


class _Late:
    """Makes the application in each serving process, so that each process reads code and settings anew."""

    def __init__(self, reference: str, sources: Sources) -> None:
        self._reference = reference
        self._sources = sources

    def __call__(self) -> Any:
        try:
            target = load_application(self._reference)
            if isinstance(target, tornado.web.Application) or not callable(target):
                return target
            settings = _read(self._sources, configuration_class(target))
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        return _connected(target, settings) if wants_couch(target) else target(*application_arguments(target, settings))


@asynccontextmanager
async def _connected(target: Any, settings: Configuration) -> AsyncIterator[tornado.web.Application]:
    """Call a function with a client, which lives as long as the application."""
    async with settings.couch() as couch:
        try:
            async with application_of(target, couch) as application:
                yield application
        except CouchError as error:
            found = advice(error, couch.url, address="--url", user=credentials_setting(settings.user))
            if found is None:
                raise
            raise ServerUnusable(found) from None


def _sources(config: Path | None, secrets: Path | None, given: dict[str, str]) -> Sources:
    try:
        return Sources(config, secrets, given)
    except ConfigurationError as error:
        raise click.UsageError(str(error)) from None


def _read(sources: Sources, kind: type[Configuration], *, strict: bool = True) -> Configuration:
    try:
        return sources.read(kind, strict=strict)
    except ConfigurationError as error:
        raise click.UsageError(f"The configuration is not valid: {error}") from None


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.UsageError(f"--set {name} does not have the form NAME=VALUE.")
    return name, value


def _print(sources: Sources, kind: type[Configuration], as_json: bool) -> None:
    found = _read(sources, kind).model_dump(mode="json")
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    origins = sources.origins(kind)
    width = max(map(len, found))
    for name, value in found.items():
        click.echo(f"{name:{width}} = {json.dumps(value)}  # {origins[name]}")
