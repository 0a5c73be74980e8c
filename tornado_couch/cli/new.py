"""`tornado-couch new`: creates a small project that runs and passes its own tests at once."""

from __future__ import annotations

import keyword
import re
import sys
from pathlib import Path

import click

from .. import _json
from .._version import __version__
from .options import told

__all__ = ["new"]

_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
_TAKEN = frozenset({"tests", "tornado", "tornado_couch", "pytest"})
_LONGEST = 60
# The dash keeps setuptools from taking the folder for a package.
_TEMPLATE = Path(__file__).parent / "new-project"


@click.command()
@click.argument("name")
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder to create; by default, NAME in the current folder.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was created as JSON.")
@told
def new(name: str, directory: Path | None, as_json: bool) -> None:
    """Create a small project that runs and passes its tests.

    It has a model, a service with a log-in, tests, CI, a Dockerfile, and a README that says how to run it.

    NAME consists of lower-case letters, digits and single dashes. With underscores instead of dashes, it also names
    the package.
    """
    package = _package(name)
    target = directory or Path(name)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise click.UsageError(f"{target} exists already; remove it, or name another folder with --directory.")
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.ClickException(
            f"{target} cannot be written: {error.strerror}; name another folder with --directory"
        ) from None
    written = _write(_TEMPLATE, target, {"@name@": name, "@package@": package, "@bound@": _bound(__version__)})
    if as_json:
        files = [str(path) for path in written]
        click.echo(_json.dumps({"directory": str(target), "package": package, "files": files}).decode())
        return
    for path in written:
        click.echo(f"wrote {path}")
    click.echo(f"\nNow run `cd {target}`. Its README.md says how to install it, run its tests and start it.")


def _package(name: str) -> str:
    package = name.replace("-", "_")
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise click.UsageError(
            f"{name!r} is not a valid name: use lower-case letters, digits and single dashes, begin with a"
            f" letter, and use at most {_LONGEST} characters, as in my-orchard."
        )
    if keyword.iskeyword(package) or package in sys.stdlib_module_names or package in _TAKEN:
        raise click.UsageError(f"{name!r} is not a valid name: it means something else to Python. Choose another.")
    return package


def _bound(version: str) -> str:
    """The versions that a project made by this one works with: up to the next that may break it."""
    major, minor = version.split(".")[:2]
    return f" >= {version}, < {f'0.{int(minor) + 1}' if major == '0' else int(major) + 1}"


def _write(source: Path, target: Path, words: dict[str, str]) -> list[Path]:
    """Copy a folder, replacing words in names and texts, and dropping `.tmpl` from the ends of names."""
    target.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for each in sorted(source.iterdir(), key=lambda found: found.name):
        path = target / _replaced(each.name, words).removesuffix(".tmpl")
        if each.is_dir():
            written += _write(each, path, words)
        else:
            path.write_text(_replaced(each.read_text(encoding="utf-8"), words), encoding="utf-8")
            written.append(path)
    return written


def _replaced(text: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(word, value)
    return text
