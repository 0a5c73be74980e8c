"""What an installer is about to do, for a person and for a script to read."""

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
        action: "rebuild" is a change that a view has to be built for.
        kind: of thing, such as "design document".
        name: its name or id.
        detail: what is different, or follows; empty where there is nothing to say.
        work: does it, and tells what was done; None where another installer was faster.
    """

    action: Action
    kind: str
    name: str
    detail: str = ""
    work: Work = field(repr=False, compare=False, kw_only=True)


@dataclass(frozen=True)
class Plan:
    """The difference between what is there and what is wanted, in the order of doing.

    Attributes:
        database: the database's name.
        server: the server's URL, without credentials.
        steps: what to do; nothing where all is in place.
        warnings: what somebody should know; it keeps nothing from being done.
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
        """The same as a JSON object."""
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
