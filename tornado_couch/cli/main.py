"""`tornado-couch`: the command line."""

from __future__ import annotations

import importlib

import click
from click.shell_completion import get_completion_class

__all__ = ["completion", "main"]

# The module of each command. A command is imported only when it runs, so that every command starts fast.
_COMMANDS = {
    "audit": "tornado_couch.cli.maintain:audit",
    "changes": "tornado_couch.cli.changes:changes",
    "clear": "tornado_couch.cli.maintain:clear",
    "cluster": "tornado_couch.cli.cluster:cluster",
    "completion": "tornado_couch.cli.main:completion",
    "consumers": "tornado_couch.cli.changes:consumers",
    "couchdb": "tornado_couch.cli.couchdb:couchdb",
    "health": "tornado_couch.cli.cluster:health",
    "install": "tornado_couch.cli.install:install",
    "keys": "tornado_couch.cli.keys:keys",
    "load": "tornado_couch.cli.load:load",
    "new": "tornado_couch.cli.new:new",
    "openapi": "tornado_couch.cli.openapi:openapi",
    "policy-report": "tornado_couch.cli.maintain:policy_report_command",
    "migrate": "tornado_couch.cli.maintain:migrate",
    "reconcile": "tornado_couch.cli.maintain:reconcile",
    "rotate": "tornado_couch.cli.maintain:rotate",
    "serve": "tornado_couch.cli.serve:serve",
    "sweep": "tornado_couch.cli.maintain:sweep",
}


class _Commands(click.Group):
    """A group whose commands are imported by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - as click has it
        """The names of all commands."""
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as click has it
        """Import a command; None if there is no command of this name."""
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


@click.group(cls=_Commands)
@click.version_option(package_name="tornado-couch")
def main() -> None:
    """REST over CouchDB for Tornado."""


_PROGRAM = "tornado-couch"

_VARIABLE = "_TORNADO_COUCH_COMPLETE"

_FILES = {
    "bash": '~/.bashrc: eval "$(tornado-couch completion bash)"',
    "zsh": '~/.zshrc: eval "$(tornado-couch completion zsh)"',
    "fish": "~/.config/fish/completions/tornado-couch.fish: tornado-couch completion fish | source",
}


@click.command(
    help="Print the script that completes commands in a shell.\n\n"
    "Add the line for your shell to the file named before it:\n\n\b\n" + "\n".join(_FILES.values())
)
@click.argument("shell", type=click.Choice(list(_FILES)))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script for a shell."""
    found = get_completion_class(shell)
    if found is None:  # click's own three are always there
        raise click.UsageError(f"Completion is not available for {shell}.")
    click.echo(found(context.find_root().command, {}, _PROGRAM, _VARIABLE).source())
