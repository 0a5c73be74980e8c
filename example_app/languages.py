"""Loads the 7,900 languages of ISO 639-3 through the REST API, as any client would: 500 with each request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import aiohttp
import pycountry

__all__ = ["count", "counts", "entries", "load"]

_TOGETHER = 500  # languages in one request


def entries() -> list[dict[str, Any]]:
    """Return every language that pycountry contains, as the body of a POST."""
    return [_body(dict(language)) for language in pycountry.languages]


def _body(fields: dict[str, Any]) -> dict[str, Any]:
    return {("language_type" if name == "type" else name): value for name, value in fields.items()}


async def load(url: str, progress: Callable[[int], None] | None = None) -> int:
    """Post every language that does not exist yet.

    Args:
        url: the URL of the service, such as "http://127.0.0.1:8888".
        progress: called with the number of languages that are done.

    Returns:
        The number of languages that were created.

    Raises:
        RuntimeError: the service refused a language.
    """
    bodies = entries()
    created = 0
    async with aiohttp.ClientSession() as session:
        for start in range(0, len(bodies), _TOGETHER):
            created += await _create(session, url, bodies[start : start + _TOGETHER])
            if progress:
                progress(min(start + _TOGETHER, len(bodies)))
    return created


async def _create(session: aiohttp.ClientSession, url: str, bodies: list[dict[str, Any]]) -> int:
    """Create the languages that do not exist yet, with one request; return how many those were."""
    async with session.post(f"{url}/v1.0/languages", json=bodies) as reply:
        if reply.status != 200:
            raise RuntimeError(f"loading languages: {reply.status} {await reply.text()}")
        items = (await reply.json())["items"]
    for body, item in zip(bodies, items, strict=True):
        if item["status"] not in (201, 409):  # 409: it exists from an earlier run
            raise RuntimeError(f"{body['alpha_3']}: {item}")
    return sum(item["status"] == 201 for item in items)


async def count(url: str, query: str = "", limit: int = 500) -> int:
    """Count the languages of the collection, by paging through all of it."""
    found, page = 0, f"/v1.0/languages?limit={limit}{query and '&' + query}"
    async with aiohttp.ClientSession() as session:
        while page:
            async with session.get(url + page) as reply:
                reply.raise_for_status()
                body = await reply.json()
            found, page = found + len(body["items"]), body.get("next")
    return found


async def counts(url: str, name: str = "by_scope") -> dict[str, int]:
    """Count the languages of each kind, from a reduced view; combinations are joined by a slash."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/v1.0/languages/{name}?limit=100") as reply:
        reply.raise_for_status()
        items = (await reply.json())["items"]
    return {"/".join(item["key"]) if isinstance(item["key"], list) else item["key"]: item["value"] for item in items}
