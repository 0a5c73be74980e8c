"""The fruits that the example begins with, so that its page does not open with an empty table."""

from __future__ import annotations

from typing import Any

import aiohttp

__all__ = ["FRUITS", "plant"]

FRUITS: list[dict[str, Any]] = [
    {"name": "Gala", "color": "crimson", "weight": 150},
    {"name": "Conference", "color": "olive", "weight": 180},
    {"name": "Cavendish", "color": "gold", "weight": 120},
    {"name": "Valencia", "color": "darkorange", "weight": 200},
    {"name": "Victoria", "color": "purple", "weight": 45},
    {"name": "Hayward", "color": "yellowgreen", "weight": 90},
]


async def plant(url: str) -> int:
    """Create the fruits through the REST API, if the service has no fruits at all.

    Args:
        url: the URL of the service, such as "http://127.0.0.1:8888".

    Returns:
        The number of fruits that were created.
    """
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        async with session.get(f"{url}/v1.0/fruits?limit=1") as reply:
            if (await reply.json())["items"]:
                return 0
        async with session.post(f"{url}/v1.0/fruits", json=FRUITS) as reply:
            return len((await reply.json())["items"])
