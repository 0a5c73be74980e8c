"""Loads objects of the user's own code that commands name as `MODULE:ATTRIBUTE`."""

from __future__ import annotations

import importlib
import sys
import traceback
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import tornado.web

from ..errors import ModelDefinitionError
from ..models import Model

__all__ = ["load", "load_application", "load_models"]


def load(reference: str) -> Any:
    """Return the module, or the attribute of a module, that a reference such as `orchard.app:make_app` names.

    The working directory is searched first, as in other runners of Python services.

    Raises:
        click.UsageError: the module or attribute does not exist, or the module cannot be imported.
        ModelDefinitionError: a model in the module is declared incorrectly.
    """
    module_name, _, attribute = reference.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module_name)
    except ModelDefinitionError:
        raise  # this is a TypeError too, but its message already explains what is wrong
    except Exception as error:  # noqa: BLE001 - whatever the user's own module raises
        raise click.UsageError(f"{reference!r}: cannot import {module_name!r}: {_reason(error)}") from None
    for part in attribute.split(".") if attribute else ():
        try:
            found = getattr(found, part)
        except AttributeError:
            raise click.UsageError(f"{reference!r}: {module_name!r} has no {attribute!r}") from None
    return found


def load_application(reference: str) -> Any:
    """Return the application that a reference names, or the function that makes it.

    Raises:
        click.UsageError: the reference names neither; and as for `load`.
        ModelDefinitionError: a model in the module is declared incorrectly.
    """
    found = load(reference)
    # A class can be an application's own, or one of an async context manager; a model's would be made from nothing.
    makers = (tornado.web.Application, AbstractAsyncContextManager)
    if issubclass(found, makers) if isinstance(found, type) else callable(found) or isinstance(found, makers):
        return found
    kind = f"the class {found.__name__}" if isinstance(found, type) else f"of type {type(found).__name__}"
    raise click.UsageError(
        f"{reference!r} is {kind}, not an application; name an application, or a function that takes no arguments, a"
        " Couch, or a Configuration, as in orchard:make_app"
    )


def _reason(error: Exception) -> str:
    """Say what an import raised, and where; imports that fail and syntax errors say where themselves."""
    if isinstance(error, ImportError | SyntaxError) or error.__traceback__ is None:
        return str(error)
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(last.filename).name}, line {last.lineno})"


def load_models(reference: str) -> list[type[Model]]:
    """Return the models that a reference names: one, several in a list or dict, or all in a module.

    Raises:
        click.UsageError: the reference names no models.
    """
    found = load(reference)
    if isinstance(found, ModuleType):
        found = {name: each for name, each in vars(found).items() if _is_model(each)}
    values = found.values() if isinstance(found, dict) else [found] if isinstance(found, type) else found
    try:
        models = list(dict.fromkeys(values))
    except TypeError:
        models = []
    if not models or not all(map(_is_model, models)):
        raise click.UsageError(f"{reference!r} names no models; use MODULE, MODULE:MODEL or MODULE:LIST_OF_MODELS")
    return models


def _is_model(found: object) -> bool:
    """Whether an object is a model with documents of its own; a model without a type is only a base class."""
    return isinstance(found, type) and issubclass(found, Model) and found.__couch__ is not None
