"""`tornado-couch completion`: prints a script for completing commands in a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

__all__ = ["completion"]

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
