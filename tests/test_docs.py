"""Every code block of the documents under docs/, run in order."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tornado_couch import Couch, Database

DOCS = Path(__file__).parents[1] / "docs"
TEXTS = {path.stem: path.read_text() for path in sorted(DOCS.glob("**/*.md"))}


@pytest.mark.parametrize("name", TEXTS)
def test_every_block_is_python(name: str) -> None:
    """So that none is left out below."""
    assert set(re.findall(r"^```(\w*)\n.*?^```", TEXTS[name], re.DOTALL | re.MULTILINE)) <= {"python"}


@pytest.mark.parametrize("name", TEXTS)
async def test_every_block_runs(name: str, couch: Couch, database: Database) -> None:
    """With a `couch`, and a database of its own; what it prepares is then prepared."""
    names: dict[str, Any] = {"__name__": "docs", "couch": couch}
    for block in re.findall(r"^```python\n(.*?)^```", TEXTS[name], re.DOTALL | re.MULTILINE):
        text = block.replace('"orchard"', repr(database.name))
        exec(compile(text, name, "exec", dont_inherit=True), names)
    await names["prepare"]()
    assert len(names["app"].wildcard_router.rules) > 4
    fruit = await names["store"].create(names["Fruit"](color="red"))
    assert (await names["store"].get(names["Fruit"], fruit.fruit_id)).color == "red"
