"""References to a user's own code, as commands take them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tornado_couch.service.references import load, load_models

SOURCE = """
from tornado_couch import Model

class Base(Model):
    size: int

class Apple(Base, type="apple_v1.0"):
    pass

class Pear(Base, type="pear_v1.0"):
    pass

MODELS = [Pear, Apple]
BY_NAME = {"pear": Pear}
NUMBER = 3
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module in the working directory."""
    name = "orchard_to_load"
    (tmp_path / f"{name}.py").write_text(SOURCE)
    (tmp_path / "broken_to_load.py").write_text("import no_such_thing_anywhere")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield name
    sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("attribute", "names"),
    [("", ["Apple", "Pear"]), (":Pear", ["Pear"]), (":MODELS", ["Pear", "Apple"]), (":BY_NAME", ["Pear"])],
)
def test_models_are_found_in_the_working_directory(module: str, attribute: str, names: list[str]) -> None:
    """A module stands for its models, an attribute for one, a list or a dict of them; bases are no models."""
    assert [each.__name__ for each in load_models(module + attribute)] == names


@pytest.mark.parametrize(
    "reference", ["{}:NUMBER", "{}:Base", "{}:nothing", "no_such_module", "", ":x", "broken_to_load", "..x"]
)
def test_what_names_no_models_is_wrong_usage(module: str, reference: str) -> None:
    """Whatever is wrong with a reference, the command line says so in one line."""
    with pytest.raises(click.UsageError):
        load_models(reference.format(module))


def test_anything_can_be_loaded_by_name(module: str) -> None:
    """A dotted attribute is followed to its end."""
    assert load(f"{module}:Pear.__name__") == "Pear"
