"""`tornado-couch openapi`: prints the API document of an application without serving it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import click
import tornado.web

from ..couch import Couch
from ..errors import CouchError
from ..service.configuration import configuration_class
from ..service.references import load_application
from ..service.worker import application_arguments, application_of, wants_couch
from ..web import ApiInfo, openapi_document
from ..web.pages.openapi import mounted_info
from .options import told

__all__ = ["arguments_of", "no_application", "openapi"]

_NOWHERE = "http://127.0.0.1:5984"  # no request is sent to it


@click.command()
@click.argument("app", metavar="MODULE:APP")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write, instead of printing the document.",
)
@click.option("--title", help="The service's title; by default, the one given to openapi_routes().")
@click.option("--api-version", help="The API's version; by default, the one given to openapi_routes().")
@told
def openapi(app: str, output: Path | None, title: str | None, api_version: str | None) -> None:
    """Print an application's API document.

    The document is in OpenAPI 3.1, as JSON.

    MODULE:APP is a Tornado application, or a function that makes one, as for `serve`. No CouchDB needs to run, unless
    the function itself sends it requests.
    """
    try:
        found = asyncio.run(_document(load_application(app), title, api_version))
    except TypeError as error:
        raise no_application(app, error) from None
    except CouchError as error:
        raise click.ClickException(
            f"{app!r} sends requests to CouchDB ({error}). Name a function that only makes the application."
        ) from None
    text = json.dumps(found, indent=2, ensure_ascii=False) + "\n"
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")


async def _document(target: Any, title: str | None, version: str | None) -> dict[str, Any]:
    async with Couch(_NOWHERE) as couch, application_of(target, *arguments_of(target, couch)) as application:
        info = mounted_info(application) or ApiInfo()
        more = {name: value for name, value in (("title", title), ("version", version)) if value is not None}
        return openapi_document(application, info.replaced(**more))


def no_application(app: str, error: TypeError) -> click.UsageError:
    """Return the error for a reference to something that is called with what it does not take."""
    return click.UsageError(
        f"{app!r} does not give an application ({error}); name an application, or a function that takes no"
        " arguments, a Couch, or a Configuration."
    )


def arguments_of(target: Any, couch: Couch) -> tuple[Any, ...]:
    """What a function is called with: a client or the settings, if it takes one of them."""
    if isinstance(target, tornado.web.Application) or not callable(target):
        return ()
    return (couch,) if wants_couch(target) else application_arguments(target, configuration_class(target)())
