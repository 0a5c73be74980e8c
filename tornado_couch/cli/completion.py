"""`tornado-couch completion`: the script that makes a shell complete this command line."""

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
    help="Print the script that makes a shell complete this command line.\n\n"
    "Put this into the shell's own file:\n\n\b\n" + "\n".join(_FILES.values())
)
@click.argument("shell", type=click.Choice(list(_FILES)))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script for a shell."""
    found = get_completion_class(shell)
    if found is None:  # click's own three are always there
        raise click.UsageError(f"there is no completion for {shell}")
    click.echo(found(context.find_root().command, {}, _PROGRAM, _VARIABLE).source())
