"""`tornado-couch load`: puts load on a service and reports how it copes."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ..maintain.load import Load, run_load
from ..service.worker import run
from .options import FINDINGS, told
from .report import Advance, progress

__all__ = ["load"]

# The fields of the example's fruits.
_BODIES = [{"color": color} for color in ("red", "orange", "blue", "brown", "yellow", "pink", "white", "black")]


@click.command()
@click.argument("url")
@click.option("--get", default=80.0, show_default=True, help="The weight of reads.")
@click.option("--put", default=20.0, show_default=True, help="The weight of replacements.")
@click.option("--post", default=0.0, show_default=True, help="The weight of creations.")
@click.option("--connections", default=10, show_default=True, help="How many requests to send at once.")
@click.option("--seconds", default=10.0, show_default=True, help="How long.")
@click.option(
    "--rate",
    type=float,
    help="Requests per second, however fast the service answers; by default, as many as it can handle.",
)
@click.option(
    "--documents",
    default=50,
    show_default=True,
    help="How many documents to read and replace; fewer documents cause more conflicts.",
)
@click.option("--guarded", is_flag=True, help="Replace with If-Match, so that conflicts are answered 412.")
@click.option(
    "--body", "bodies", multiple=True, help="A JSON body for documents, or @FILE with one body or an array of bodies."
)
@click.option("--header", "headers", multiple=True, metavar="NAME:VALUE", help="A header to send with every request.")
@click.option(
    "--header-env",
    "env_headers",
    multiple=True,
    metavar="NAME:VARIABLE",
    help="A header whose value is in an environment variable.",
)
@click.option("--seed", type=int, help="The seed of the random choices, to repeat a run.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Also write the result as JSON here.")
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a plot here (.svg or .png); needs matplotlib.",
)
@told
def load(url: str, as_json: bool, output: Path | None, plot: Path | None, **options: Any) -> None:
    """Put load on a collection, and report how it copes.

    URL is the collection's, such as http://127.0.0.1:8888/v1.0/fruits.

    Documents are created beforehand and deleted afterwards. The exit status is 1 if requests failed, which means
    that they got no answer or a 5xx. Conflicts (409 and 412) are counted, but do not count as failures.
    """
    work = _load(url, options)
    drawing = _plotting() if plot else None
    try:
        with progress("seconds") as advance:
            result = run(run_load(work, _advancing(advance, work.seconds)))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if output:
        output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if drawing and plot:
        drawing(result, plot)
    click.echo(json.dumps(result) if as_json else _table(result))
    if result["total"]["failures"]:
        raise SystemExit(FINDINGS)


def _load(url: str, options: dict[str, Any]) -> Load:
    bodies = [body for text in options.pop("bodies") for body in _bodies(text)] or _BODIES
    headers = dict(_header(each) for each in options.pop("headers"))
    for each in options.pop("env_headers"):
        name, variable = _header(each)
        headers[name] = _of_environment(variable)
    mix = (options.pop("get"), options.pop("put"), options.pop("post"))
    return Load(url, bodies, mix, headers=headers, **options)


def _bodies(text: str) -> list[Any]:
    try:
        value = json.loads(Path(text[1:]).read_text(encoding="utf-8") if text.startswith("@") else text)
    except (OSError, ValueError) as error:
        raise click.UsageError(f"--body {text!r}: {error}") from None
    return value if isinstance(value, list) else [value]


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip() or "\n" in text or "\r" in text:
        raise click.UsageError(f"--header {text!r} does not have the form NAME:VALUE.")
    return name.strip(), value.strip()


def _of_environment(variable: str) -> str:
    if variable not in os.environ:
        raise click.UsageError(f"--header-env: the environment variable {variable} is not set.")
    return os.environ[variable]


def _table(result: dict[str, Any]) -> str:
    names = ("requests", "per second", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms", "conflicts", "failures")
    lines = [f"{'':6}" + "".join(f"{name:>12}" for name in names)]
    for method, found in [*result["methods"].items(), ("total", result["total"])]:
        cells = [found["requests"], found["per_second"], *found["milliseconds"].values()]
        cells += [found["conflicts"], found["failures"]]
        lines.append(f"{method:6}" + "".join(f"{'-' if cell is None else cell:>12}" for cell in cells))
    statuses = ", ".join(f"{count} times {status}" for status, count in result["total"]["statuses"].items())
    return "\n".join([*lines, f"Answers: {statuses or 'none'}."])


def _plotting() -> Callable[[dict[str, Any], Path], None]:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise click.UsageError("--plot needs matplotlib: run `pip install matplotlib`.") from None

    def draw(result: dict[str, Any], path: Path) -> None:
        seconds = [each["second"] for each in result["by_second"]]
        figure = Figure(figsize=(9, 6), layout="constrained")
        above, below = figure.subplots(2, sharex=True)
        above.plot(seconds, [each["requests"] for each in result["by_second"]])
        above.set_ylabel("requests a second")
        above.set_ylim(bottom=0)
        for name in ("p50", "p99"):
            below.plot(seconds, [each[name] for each in result["by_second"]], label=name)
        below.set(xlabel="second", ylabel="milliseconds", yscale="log")
        below.legend()
        figure.suptitle(f"{result['load']['url']}: {result['total']['per_second']} requests a second")
        figure.savefig(path)

    return draw


def _advancing(advance: Advance, seconds: float) -> Callable[[int], None]:
    """Advance the progress bar by one every second."""
    began, told = time.monotonic(), 0

    def count(_requests: int) -> None:
        nonlocal told
        now = min(int(time.monotonic() - began), int(seconds))
        if now > told:
            advance(now - told, int(seconds) - now)
            told = now

    return count
