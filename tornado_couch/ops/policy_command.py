"""`tornado-couch policy-report`."""

from __future__ import annotations

import click

from ..errors import ModelDefinitionError
from .commanding import FINDINGS, told
from .loading import load_models
from .policy_report import UNCLASSIFIED, policy_json, policy_report, policy_table

__all__ = ["policy_report_command"]


@click.command("policy-report")
@click.argument("models", metavar="MODULE[:MODELS]")
@click.option("--strict", is_flag=True, help="Every property has to be classified, whatever the models demand.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@told
def policy_report_command(models: str, strict: bool, as_json: bool) -> None:
    """Show how each property of each model is protected where it is stored.

    MODULE[:MODELS] is a module with models, one model of it, or a list of some.

    The exit status is 1 where a property is not classified though its model demands it, or --strict does.
    """
    try:
        rows = policy_report(load_models(models))
    except ModelDefinitionError as error:
        # The models refuse to be defined so: there is nothing to report but that.
        click.echo(str(error), err=True)
        raise SystemExit(FINDINGS) from None
    click.echo(policy_json(rows).decode() if as_json else policy_table(rows), nl=as_json)
    missing = [f"{each.type}: {each.property}" for each in rows if each.classification == UNCLASSIFIED]
    if strict and missing:
        click.echo(f"not classified: {', '.join(missing)}", err=True)
        raise SystemExit(FINDINGS)
