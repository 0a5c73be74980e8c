"""Every command ends with one error, which names the option, where its settings cannot be used."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.forks import Forks
from tornado_couch.embedded.server import BackgroundCouch

ROOT = Path(__file__).parents[2]
DOWN = "http://ann:secret@127.0.0.1:9"
MODELS = "example_app.models"

MAINTAINING = {
    "audit": ("audit", "--database", "orchard", "--keys", "ring"),
    "install": ("install", MODELS, "--database", "orchard"),
    "migrate": ("migrate", "--database", "orchard", "--models", MODELS),
    "reconcile": ("reconcile", "--database", "orchard", "--models", MODELS),
    "rotate": ("rotate", "--database", "orchard", "--keys", "ring"),
    "sweep": ("sweep", "--database", "orchard"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a key ring, and with files that are none."""
    made = tmp_path_factory.mktemp("troubles")
    subprocess.run(
        [sys.executable, "-m", "tornado_couch", "keys", "create", "ring"], cwd=made, check=True, capture_output=True
    )
    (made / "text").touch(mode=0o600)
    (made / "text").write_bytes(b"\xff\xfe not a key ring")
    (made / "broken.py").write_text("import no_such_module\n")
    (made / "raising.py").write_text("1 / 0\n")
    (made / "syntax.py").write_text("def\n")
    (made / "empty").mkdir()
    return made


@pytest.fixture(scope="module")
def forks(folder: Path) -> Iterator[Forks]:
    """Runs commands in this folder."""
    with Forks(folder) as running:
        yield running


def error(forks: Forks, *arguments: str, **environment: str) -> str:
    """What a command writes to standard error; it has to fail with one error and no traceback."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TORNADO_COUCH_")}
    done = forks.run(arguments, {**kept, "PYTHONPATH": str(ROOT), **environment})
    assert done.status in (1, 2), arguments
    assert "Traceback" not in done.stderr, done.stderr
    assert "secret" not in done.stdout + done.stderr, done.stderr
    assert done.stdout == "", arguments
    found = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert len(found) == 1, done.stderr
    # Wrong usage names the command and its help as well.
    assert {line[:5] for line in done.stderr.splitlines() if line} <= {"Error", "Usage", "Try '"}, done.stderr
    return found[0].removeprefix("Error: ")


def errors(forks: Forks, commands: list[tuple[str, ...]], **environment: str) -> list[str]:
    return [error(forks, *words, **environment) for words in commands]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        (DOWN, "no CouchDB can be reached at http://127.0.0.1:9 (Connection refused); start it, or correct --url"),
        ("nowhere", "--url: the CouchDB URL must be of the form http://host:port or https://host:port"),
    ],
)
def test_an_address_that_cannot_be_used(forks: Forks, url: str, says: str) -> None:
    """Nobody listens there, or it is not an address."""
    commands = [(*words, "--url", url) for words in MAINTAINING.values()] + [("cluster", "--url", url)]
    assert set(errors(forks, commands)) == {says}


def test_a_user_that_is_missing_or_wrong(forks: Forks) -> None:
    """Given with no credentials, and with a wrong password from the environment."""
    with BackgroundCouch(admin="ann:secret") as url:
        bare = url.replace("ann:secret@", "")
        # Without a user even this server says that a database does not exist.
        found = [error(forks, *MAINTAINING["install"], "--url", bare)]
        commands = [(*words, "--url", bare, "--username", "ann") for words in MAINTAINING.values()]
        found += errors(forks, commands, TORNADO_COUCH_PASSWORD="wrong")
    for each in found:
        assert each.startswith(f"CouchDB at {bare} refused this (")
        assert "; give the name and password of an admin with --username and TORNADO_COUCH_PASSWORD (" in each
    assert found[0].endswith("(no user was named)")
    assert all(each.endswith("(the user was ann)") for each in found[1:])


def test_a_database_that_is_missing(forks: Forks) -> None:
    """All but `install`, which creates it."""
    with BackgroundCouch() as url:
        found = errors(forks, [(*words, "--url", url) for name, words in MAINTAINING.items() if name != "install"])
    assert set(found) == {f"there is no database orchard at {url}; correct --database"}


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("no_such_module", "'no_such_module': cannot import 'no_such_module': No module named 'no_such_module'"),
        ("example_app.models:Pear", "'example_app.models:Pear': 'example_app.models' has no 'Pear'"),
        ("broken", "'broken': cannot import 'broken': No module named 'no_such_module'"),
        ("raising", "'raising': cannot import 'raising': ZeroDivisionError: division by zero (raising.py, line 1)"),
        ("syntax", "'syntax': cannot import 'syntax': invalid syntax (syntax.py, line 1)"),
        ("json", "'json' names no models; use MODULE, MODULE:MODEL or MODULE:LIST_OF_MODELS"),
    ],
)
def test_a_reference_that_is_wrong(forks: Forks, reference: str, says: str) -> None:
    """Of models, before anything is asked of CouchDB; of an application likewise."""
    commands: list[tuple[str, ...]] = [
        (name, *more, "--database", "orchard", "--url", DOWN)
        for name, more in (("install", (reference,)), ("migrate", ("--models", reference)))
    ]
    commands.append(("policy-report", reference))
    assert errors(forks, commands) == [says] * 3
    if "names no models" not in says:
        assert errors(forks, [("openapi", reference), ("serve", reference, "--port", "0")]) == [says] * 2


@pytest.mark.parametrize(
    ("reference", "kind"),
    [("json", "of type module"), ("example_app.models:Fruit", "the class Fruit"), ("json:__name__", "of type str")],
)
def test_a_reference_to_no_application(forks: Forks, reference: str, kind: str) -> None:
    """Before the service listens, and in the same words for each command that takes one."""
    says = (
        f"'{reference}' is {kind}, not an application; name an application, or a function that takes no arguments, a"
        " Couch, or a Configuration, as in orchard:make_app"
    )
    assert errors(forks, [("openapi", reference), ("serve", reference, "--port", "0")]) == [says] * 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--url", ""), "url, from the command line: the CouchDB URL must be of the form http://host:port or https:"),
        (("--url", "http://x:99999"), "url, from the command line: the port in the CouchDB URL must be a number up to"),
        (("--port", "70000"), "port, from the command line: Input should be less than or equal to 65535"),
        (("--set", "colour=red"), "colour, from the command line: there is no such setting"),
    ],
)
def test_a_setting_that_is_wrong(forks: Forks, arguments: tuple[str, ...], says: str) -> None:
    """The setting is named, with where it was given."""
    assert says in error(forks, "serve", "example_app.app:service", *arguments)


@pytest.mark.parametrize(
    ("path", "says"),
    [("none", "none is missing"), ("text", "text: the key file is not a JSON object"), ("empty", "empty/meta")],
)
def test_keys_that_cannot_be_read(forks: Forks, path: str, says: str) -> None:
    """A file that is missing or is no key ring, and a directory that is no key set."""
    commands = [
        ("audit", "--database", "orchard", "--keys", path, "--url", DOWN),
        ("rotate", "--database", "orchard", "--keys", path, "--url", DOWN),
    ]
    assert all(says in each for each in errors(forks, commands))
    if path != "empty":
        assert says in error(forks, "keys", "list", path)
    assert "text is not text in UTF-8" in error(forks, "keys", "list", "ring", "--passphrase-file", "text")


def test_files_and_folders_that_cannot_be_used(forks: Forks) -> None:
    """Where a command writes, and where it reads its own settings."""
    found = errors(
        forks,
        [
            ("new", "my-orchard", "--directory", "text/below"),
            ("new", "ring"),
            ("openapi", "example_app.app:make_app", "--output", "text/below.json"),
            ("install", MODELS, "--database", "orchard", "--url", DOWN, "--design-docs", "none"),
            ("install", MODELS, "--database", "orchard", "--url", DOWN, "--ca", "none"),
            ("keys", "create", "none/ring"),
            ("serve", "example_app.app:make_app", "--secrets", "none"),
            ("couchdb", "--dir", "text/below", "--port", "0"),
        ],
    )
    names = ("text/below", "ring", "text/below.json", "none", "none", "none/ring", "none", "text/below")
    assert [name in each for name, each in zip(names, found, strict=True)] == [True] * len(names), found


def test_a_port_that_is_taken_or_cannot_be(forks: Forks) -> None:
    """With the option to change."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        ports = (str(other.getsockname()[1]), "70000", "web")
        commands = [
            (*words, "--port", port)
            for words in (("couchdb", "--memory"), ("serve", "example_app.app:make_app"))
            for port in ports
        ]
        assert all("port" in each for each in errors(forks, commands))


def test_a_service_that_is_not_there(forks: Forks) -> None:
    """For `load`, before it measures anything."""
    found = error(forks, "load", "http://127.0.0.1:9/fruits", "--seconds", "1")
    assert found == "the service cannot be reached at 127.0.0.1:9: Connection refused"
