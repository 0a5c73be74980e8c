"""`Plan`: what an installer is about to do, readable for people and for scripts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["Action", "Plan", "Step"]

Action = Literal["create", "change", "rebuild", "remove", "delete"]
Work = Callable[[], Awaitable[str | None]]


@dataclass(frozen=True)
class Step:
    """One thing to do.

    Attributes:
        action: "create", "change", "rebuild" or the like; "rebuild" is a change for which a view must be built.
        kind: the kind of thing, such as "design document".
        name: its name or id.
        detail: what is different, or what follows from it; may be empty.
        work: does it and returns a sentence about it; None if another installer has done it.
    """

    action: Action
    kind: str
    name: str
    detail: str = ""
    work: Work = field(repr=False, compare=False, kw_only=True)


@dataclass(frozen=True)
class Plan:
    """The difference between the current and the wanted state, in the order in which the steps are done.

    Attributes:
        database: the database's name.
        server: the server's URL, without credentials.
        steps: what to do; empty if everything is in place.
        warnings: what the operator should know; they do not stop anything.
    """

    database: str
    server: str
    steps: tuple[Step, ...] = ()
    warnings: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.steps)

    @property
    def text(self) -> str:
        """A line for each step and warning."""
        lines = [f"  {each.action:8} {each.kind:17} {each.name}{_aside(each.detail)}" for each in self.steps]
        warnings = [f"warning: {each}" for each in self.warnings]
        return "\n".join([f"{self.database} at {self.server}", *(lines or ["  nothing to do"]), *warnings])

    def as_json(self) -> dict[str, Any]:
        """The plan as a JSON object."""
        return {
            "database": self.database,
            "server": self.server,
            "steps": [
                {"action": each.action, "kind": each.kind, "name": each.name, "detail": each.detail}
                for each in self.steps
            ],
            "warnings": list(self.warnings),
        }


def _aside(detail: str) -> str:
    return f"  ({detail})" if detail else ""
