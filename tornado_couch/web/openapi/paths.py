"""The routes of an application: where each handler is mounted, as a path template (OpenAPI 3.1 §4.8.8.1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from tornado.routing import PathMatches, Rule, RuleRouter
from tornado.web import Application, RequestHandler

__all__ = ["Route", "routes"]


class Route(NamedTuple):
    """A handler, mounted.

    Attributes:
        path: its template, such as "/v1.0/fruits/{key}".
        names: those of the template's parameters.
        handler: the class.
        target: what the route gives to `initialize`.
    """

    path: str
    names: tuple[str, ...]
    handler: type[RequestHandler]
    target: dict[str, Any]


def routes(application: Application) -> Iterator[Route]:
    """The routes, in the order in which they are looked at; without those whose address cannot be told."""
    yield from _of(application.default_router)


def _of(router: RuleRouter) -> Iterator[Route]:
    for rule in router.rules:
        if isinstance(rule.target, RuleRouter):
            yield from _of(rule.target)
        elif isinstance(rule.target, type) and issubclass(rule.target, RequestHandler):
            found = _template(rule, getattr(rule.target, "URL_NAMES", ("key",)))
            if found is not None:
                yield Route(*found, rule.target, dict(rule.target_kwargs or {}))


def _template(rule: Rule, names: tuple[str, ...]) -> tuple[str, tuple[str, ...]] | None:
    """The path with names in the place of groups; None where the pattern is more than a path with groups."""
    if not isinstance(rule.matcher, PathMatches):
        return None
    pattern = rule.matcher.regex
    by_number = {number: name for name, number in pattern.groupindex.items()}
    given = dict(enumerate(names, 1))
    found = tuple(
        by_number.get(number) or given.get(number) or f"part{number}" for number in range(1, pattern.groups + 1)
    )
    try:
        # Tornado quotes what it fills in; a template's braces are put in after that.
        path = rule.matcher.reverse(*(f"\ue000{number}\ue001" for number in range(len(found))))
    except (ValueError, AssertionError):
        return None
    if path is None:
        return None
    for number, name in enumerate(found):
        path = path.replace(_quoted(number), f"{{{name}}}")
    return path, found


def _quoted(number: int) -> str:
    return f"%EE%80%80{number}%EE%80%81"
