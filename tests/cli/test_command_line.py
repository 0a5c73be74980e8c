"""The command line as a whole: help for everything, completion, errors that say what to do next."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tornado_couch.cli.main import main

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[2]


def commands(command: click.Command, names: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    yield " ".join(names), command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None, name
            yield from commands(found, (*names, name))


ALL = dict(commands(main))


# What each of these prints is for scripts as it is: a document in JSON, a script, a URL.
FOR_SCRIPTS_AS_THEY_ARE = {"openapi", "completion", "couchdb"}


@pytest.mark.parametrize("name", ALL)
def test_every_command_and_option_has_help(name: str) -> None:
    """A sentence for each; and --help shows them."""
    command = ALL[name]
    assert (command.help or "").strip().partition("\n\n")[0].endswith((".", ")")), name
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert (parameter.help or "").strip(), f"{name} {parameter.opts}"
    done = CliRunner().invoke(main, [*name.split(), "--help"])
    assert done.exit_code == 0
    assert "Usage:" in done.output


@pytest.mark.parametrize("name", ALL)
def test_help_says_what_the_arguments_are(name: str) -> None:
    """Each is spoken of in the text; and where the environment can give an option or argument, it says so."""
    command = ALL[name]
    shown = CliRunner().invoke(main, [*name.split(), "--help"], terminal_width=300).output
    _, _, text = shown.partition("\n")
    for parameter in command.params:
        if isinstance(parameter, click.Argument) and not isinstance(parameter.type, click.Choice):
            assert all(word in text for word in re.findall(r"\w+", parameter.human_readable_name)), name
        assert parameter.envvar is None or str(parameter.envvar) in text, f"{name} {parameter.name}"


@pytest.mark.parametrize("name", [name for name, each in ALL.items() if isinstance(each, click.Group)])
def test_one_line_summaries_are_whole(name: str) -> None:
    """In a terminal of 80 columns; none ends in dots."""
    done = CliRunner().invoke(main, [*name.split(), "--help"], terminal_width=80)
    _, _, listed = done.output.partition("Commands:\n")
    assert len(listed.splitlines()) >= 5
    assert [line for line in listed.splitlines() if not line.endswith(".") or line.endswith("...")] == []


@pytest.mark.parametrize("name", [name for name, each in ALL.items() if not isinstance(each, click.Group)])
def test_address_and_database_are_given_the_same_way(name: str) -> None:
    """CouchDB's address by --url, the database's name by --database; --host is where a command listens."""
    found = {option: each for each in ALL[name].params for option in each.opts}
    assert "--bind" not in found
    if name in ("audit", "install", "migrate", "reconcile", "rotate", "serve", "sweep"):
        assert {"--url", "--database", "--username"} <= set(found)
    assert ("--url" in found) == ("--username" in found)
    assert ("--host" in found) == ("--port" in found) == (name in ("couchdb", "serve"))
    if "--url" in found and name != "serve":  # its settings have names of their own
        assert (found["--url"].envvar, found["--username"].envvar) == ("TORNADO_COUCH_URL", "TORNADO_COUCH_USER")


@pytest.mark.parametrize("name", [name for name, each in ALL.items() if not isinstance(each, click.Group)])
def test_what_a_script_would_read_is_there_as_json(name: str) -> None:
    """By --json, except where the output is for scripts already."""
    options = {option for parameter in ALL[name].params for option in parameter.opts}
    assert ("--json" in options) != (name in FOR_SCRIPTS_AS_THEY_ARE)


def test_commands_are_in_order_and_known() -> None:
    """As `--help` lists them."""
    listed = main.list_commands(click.Context(main))
    assert listed == sorted(listed)
    assert {"completion", "couchdb", "install", "keys", "new", "openapi", "serve"} <= set(listed)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["completion", "fish"],
        ["install", "--help"],
        ["keys", "create", "ring"],
        ["new", "my-orchard", "--json"],
        ["openapi", "tests.service.service:make_app"],
        ["policy-report", "tests.service.service", "--json"],
        ["serve", "tests.service.service:make_app", "--print-config"],
    ],
    ids=" ".join,
)
def test_nothing_is_warned_of(arguments: list[str], tmp_path: Path) -> None:
    """`python -W error -m tornado_couch …` has nothing to say but the command's own."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tornado_couch", *arguments],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_ctrl_c_during_the_imports_ends_it_quietly(tmp_path: Path) -> None:
    """By the signal, as it ends other programs, and without a traceback."""
    (tmp_path / "click.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    # A shell in the background has its programs ignore the signal.
    heed = "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    done = subprocess.run(
        [sys.executable, "-c", f"{heed}; runpy.run_module('tornado_couch', run_name='__main__')"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str) -> None:
    """For the program and the variable that click looks at."""
    done = CliRunner().invoke(main, ["completion", shell])
    assert done.exit_code == 0
    assert "_TORNADO_COUCH_COMPLETE" in done.output
    assert "tornado-couch" in done.output


def test_the_shell_is_given_what_fits() -> None:
    """What the script asks the program for: commands and options."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "_TORNADO_COUCH_COMPLETE": "bash_complete",
        "COMP_WORDS": "tornado-couch op",
    }
    done = subprocess.run(
        [str(BIN / "tornado-couch")],
        env={**environment, "COMP_CWORD": "1"}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout == "plain,openapi\n", done.stderr


def test_another_shell_is_refused_with_those_there_are() -> None:
    """In the error itself."""
    done = CliRunner().invoke(main, ["completion", "csh"])
    assert done.exit_code == 2
    assert "'bash', 'zsh', 'fish'" in done.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["instal"], "No such command 'instal'"),
        (["new"], "Missing argument 'NAME'"),
        (["openapi", "no_such_module:app"], "cannot import 'no_such_module'"),
    ],
)
def test_errors_say_what_to_do_next(arguments: list[str], says: str) -> None:
    """What is wrong, and where help is; no traceback."""
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2
    assert says in done.output
    assert "--help" in done.output
