"""`tornado-couch …`: the command line."""

from __future__ import annotations

import importlib

import click

__all__ = ["main"]

# Where each command is. They are imported when they are used, so that each starts as fast as it can.
_COMMANDS = {
    "audit": "tornado_couch.ops.protection_commands:audit",
    "cluster": "tornado_couch.ops.cluster:cluster",
    "completion": "tornado_couch.commands.completion_command:completion",
    "couchdb": "tornado_couch.embedded.command:couchdb",
    "install": "tornado_couch.ops.install_command:install",
    "keys": "tornado_couch.ops.keys_command:keys",
    "load": "tornado_couch.ops.load_command:load",
    "new": "tornado_couch.commands.new_command:new",
    "openapi": "tornado_couch.commands.openapi_command:openapi",
    "policy-report": "tornado_couch.ops.policy_command:policy_report_command",
    "migrate": "tornado_couch.ops.migrate_command:migrate",
    "reconcile": "tornado_couch.ops.reconcile_command:reconcile",
    "rotate": "tornado_couch.ops.protection_commands:rotate",
    "serve": "tornado_couch.ops.serve_command:serve",
}


class _Commands(click.Group):
    """A group whose commands are imported by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - as click has it
        """The names of all commands."""
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as click has it
        """One command; None where there is none of this name."""
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


@click.group(cls=_Commands)
@click.version_option(package_name="tornado-couch")
def main() -> None:
    """REST over CouchDB for Tornado."""
