"""Writes the measurements as a table in Markdown, as JSON, and as plots."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .rounds import Figure

__all__ = ["TARGETS", "Goal", "ratio", "ratio_by_cpu", "write"]


@dataclass(frozen=True)
class Goal:
    """A ratio of two rates that should be reached.

    Attributes:
        operation: the operation.
        peer: the peer whose rate is divided...
        other: ... by the rate of this one.
        connections: the number of connections.
        at_least: the ratio to reach.
    """

    operation: str
    peer: str
    other: str
    connections: int
    at_least: float


TARGETS = [
    *(Goal(f"GET by {what}", "ours", "couchdb", 32, 1.5) for what in ("id", "key")),
    *(Goal(f"GET by {what}", "ours", "couchdb", 128, 1.8) for what in ("id", "key")),
    *(Goal(f"GET by {what}", "ours", "tornado-by-hand", count, 2.2) for what in ("id", "key") for count in (32, 128)),
    *(Goal("POST", "ours", "couchdb", count, 1.8) for count in (32, 128)),
    *(Goal("POST", "ours", "tornado-by-hand", count, 4.0) for count in (32, 128)),
    *(Goal("GET, not changed (304)", "ours-cached", "bare-tornado", count, 0.7) for count in (32, 128)),
    *(Goal("GET by id", "bare", "bare-tornado", count, 1.7) for count in (32, 128)),
    Goal("GET by id", "ours", "ours-ungrouped", 1, 0.95),
    Goal("POST", "ours", "ours-ungrouped", 1, 0.95),
]


def ratio(figures: Iterable[Figure], goal: Goal) -> float | None:
    """The median of the rounds' ratios; in each round the two rates were measured one after the other."""
    found = {
        each.peer: each for each in figures if (each.operation, each.connections) == (goal.operation, goal.connections)
    }
    if goal.peer not in found or goal.other not in found:
        return None
    pairs = zip(found[goal.peer].rates, found[goal.other].rates, strict=True)
    return statistics.median(mine / theirs for mine, theirs in pairs)


def ratio_by_cpu(figures: Iterable[Figure], goal: Goal) -> float | None:
    """The ratio by computing time alone; for each side, that of the process that computes most counts.

    On a machine that also does other work this says more than the rates.
    """
    found = {
        each.peer: max(each.median("service_cpu"), each.median("couchdb_cpu"))
        for each in figures
        if (each.operation, each.connections) == (goal.operation, goal.connections)
    }
    mine, theirs = found.get(goal.peer), found.get(goal.other)
    return theirs / mine if mine and theirs else None


def write(folder: Path, figures: Sequence[Figure], facts: dict[str, Any], memory: dict[str, float]) -> str:
    """Write `report.md`, `report.json` and a plot for each operation, and return the report."""
    folder.mkdir(parents=True, exist_ok=True)
    text = "\n".join(_report(figures, facts, memory)) + "\n"
    (folder / "report.md").write_text(text, encoding="utf-8")
    found = {"facts": facts, "peak_megabytes": memory, "figures": [asdict(each) for each in figures]}
    (folder / "report.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    for operation in _names(each.operation for each in figures):
        _plot(folder, operation, [each for each in figures if each.operation == operation])
    return text


def _report(figures: Sequence[Figure], facts: dict[str, Any], memory: dict[str, float]) -> Iterable[str]:
    yield "# Benchmark"
    yield ""
    yield from (f"- {name}: {value}" for name, value in facts.items())
    for operation in _names(each.operation for each in figures):
        yield from ("", f"## {operation}", "")
        yield "| connections | peer | requests/s | × CouchDB | p50 ms | p99 ms | CPU s per 1,000: service | CouchDB |"
        yield "|---:|---|---:|---:|---:|---:|---:|---:|"
        for each in figures:
            if each.operation == operation:
                yield _row(each, figures)
    yield from ("", "## Peak memory", "", "| peer | MB |", "|---|---:|")
    yield from (f"| {name} | {megabytes:.0f} |" for name, megabytes in memory.items())
    yield from ("", "## Targets", "", "| | connections | target | measured | by CPU time | |")
    yield "|---|---:|---:|---:|---:|---|"
    for goal in TARGETS:
        found = ratio(figures, goal)
        if found is not None:
            verdict = "met" if found >= goal.at_least else "**not met**"
            what = f"{goal.operation}: {goal.peer} over {goal.other}"
            by_cpu = ratio_by_cpu(figures, goal)
            cells = (what, goal.connections, goal.at_least, f"{found:.2f}", f"{by_cpu:.2f}" if by_cpu else "", verdict)
            yield f"| {' | '.join(map(str, cells))} |"


def _row(figure: Figure, figures: Sequence[Figure]) -> str:
    direct = ratio(figures, Goal(figure.operation, figure.peer, "couchdb", figure.connections, 0))
    cells = [
        str(figure.connections),
        figure.peer,
        f"{figure.median('rates'):,.0f}",
        "" if direct is None else f"{direct:.2f}",
        f"{figure.median('p50'):.2f}",
        f"{figure.median('p99'):.2f}",
        f"{figure.median('service_cpu'):.3f}",
        f"{figure.median('couchdb_cpu'):.3f}",
    ]
    return f"| {' | '.join(cells)} |"


def _names(found: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(found))


def _plot(folder: Path, operation: str, figures: Sequence[Figure]) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    peers, counts = _names(each.peer for each in figures), sorted({each.connections for each in figures})
    drawing, (rates, latencies) = plt.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
    for peer in peers:
        mine = sorted((each for each in figures if each.peer == peer), key=lambda each: each.connections)
        places = [counts.index(each.connections) for each in mine]
        rates.plot(places, [each.median("rates") for each in mine], marker="o", label=peer)
        latencies.plot(places, [each.median("p99") for each in mine], marker="o", label=peer)
    for axes, label in ((rates, "requests per second"), (latencies, "99th percentile, ms")):
        axes.set_xticks(range(len(counts)), [str(each) for each in counts])
        axes.set_xlabel("connections")
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    latencies.legend(fontsize="small")
    drawing.suptitle(operation)
    name = "".join(each if each.isalnum() else "-" for each in operation.lower())
    drawing.savefig(folder / f"{name}.svg")
    plt.close(drawing)
