"""The docs page in a browser: what it hides at first, its colors, and the way back."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.conftest import MARKS, SCREENSHOTS, Open

pytestmark = MARKS


async def open_docs(open_page: Open, path: str = "/docs", **options: Any) -> Any:
    return await open_page(path, ready=".opblock", **options)


async def test_head_and_options_are_folded_away(open_page: Open) -> None:
    """They are there for those who ask, and the schemas are behind their heading."""
    page = await open_docs(open_page)
    blocks = page.locator(".opblock-head, .opblock-options")
    assert await blocks.count() > 10
    assert await blocks.filter(visible=True).count() == 0
    assert await page.locator(".opblock-get").filter(visible=True).count() > 5
    assert await page.locator(".model-container").filter(visible=True).count() == 0
    await page.get_by_label("Show HEAD and OPTIONS").check()
    assert await blocks.filter(visible=True).count() == await blocks.count()


async def test_an_address_of_a_hidden_operation_shows_it(open_page: Open) -> None:
    """Somebody has sent a link to it."""
    page = await open_docs(open_page, "/docs#/fruits/head_list_fruits")
    assert await page.get_by_label("Show HEAD and OPTIONS").is_checked()


async def test_there_is_a_way_back(open_page: Open) -> None:
    """To the page that the API belongs to."""
    page = await open_docs(open_page)
    await page.get_by_role("link", name="← Orchard").click()
    await page.wait_for_selector("#new-fruit")


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_its_colors_are_those_of_the_system(open_page: Open, scheme: str, width: int) -> None:
    """Light on dark or dark on light, for the whole page."""
    page = await open_docs(open_page, color_scheme=scheme, viewport={"width": width, "height": 800})
    shades = await page.evaluate(
        "[document.body, document.querySelector('.opblock-summary-description')].map((each, index) => "
        "getComputedStyle(each)[index ? 'color' : 'backgroundColor'].match(/\\d+/g).slice(0, 3)"
        ".reduce((sum, part) => sum + Number(part), 0))"
    )
    assert (shades[0] < shades[1]) == (scheme == "dark")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=SCREENSHOTS / f"docs-{scheme}-{width}.png")
