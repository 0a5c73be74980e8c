"""What commands are given by name: `MODULE:ATTRIBUTE` in the user's own code."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from ..errors import ModelDefinitionError
from ..models import Model

__all__ = ["load", "load_models"]


def load(reference: str) -> Any:
    """The module, or the attribute of a module, that a reference such as `orchard.app:make_app` names.

    The working directory is looked in first, as every runner of Python services does.

    Raises:
        click.UsageError: there is no such thing; or its module cannot be imported for want of another.
        ModelDefinitionError: a model in it is declared wrongly.
    """
    module_name, _, attribute = reference.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module_name)
    except ModelDefinitionError:
        raise  # it is a TypeError too, and says by itself what is wrong
    except (ImportError, ValueError, TypeError) as error:
        raise click.UsageError(f"{reference!r}: cannot import {module_name!r}: {error}") from None
    for part in attribute.split(".") if attribute else ():
        try:
            found = getattr(found, part)
        except AttributeError:
            raise click.UsageError(f"{reference!r}: {module_name!r} has no {attribute!r}") from None
    return found


def load_models(reference: str) -> list[type[Model]]:
    """The models that a reference names: one, several in a list or dict, or all that a module has.

    Raises:
        click.UsageError: it names no models.
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
        raise click.UsageError(f"{reference!r} names no models; say MODULE, MODULE:MODEL or MODULE:LIST_OF_MODELS")
    return models


def _is_model(found: object) -> bool:
    """Whether it is a model with documents of its own: one without a type is a base for others."""
    return isinstance(found, type) and issubclass(found, Model) and found.__couch__ is not None
