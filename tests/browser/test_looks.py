"""How the page looks: what stands where, on a desk and on a telephone, and what it says while it waits."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from tests.browser.conftest import MARKS, Open, screenshot
from tests.browser.test_page import add, change, save

pytestmark = MARKS

TELEPHONE = {"width": 360, "height": 740}


async def box(locator: Any) -> dict[str, float]:
    found: dict[str, float] = await locator.bounding_box()
    return found


async def test_the_button_stands_in_line_with_the_inputs(open_page: Open) -> None:
    """Its top is theirs, with and without errors below them."""
    page = await open_page()
    form = page.locator("#new-fruit")
    button = form.get_by_role("button", name="Add")
    assert (await box(button))["y"] == (await box(form.get_by_label("Name")))["y"]
    await add(page, "Gala", "", "heavy")
    await form.locator(".error").first.wait_for()
    assert (await box(button))["y"] == (await box(form.get_by_label("Name")))["y"]


async def test_the_focus_ring_leaves_the_error_readable(open_page: Open) -> None:
    """The ring is 3 pixels wide and 2 away from the input; the text begins below it."""
    page = await open_page()
    form = page.locator("#new-fruit")
    await add(page, "Gala", "red", "-1")
    error = form.locator(".error")
    await error.wait_for()
    field = await box(form.get_by_label("Weight"))
    assert (await box(error))["y"] >= field["y"] + field["height"] + 5
    await screenshot(page, "focus")


async def test_it_says_that_it_is_loading(open_page: Open) -> None:
    """Each part says so until its first answer comes."""
    answer = asyncio.Event()

    async def late(route: Any) -> None:
        await answer.wait()
        await route.continue_()

    page = await open_page("/", before=lambda page: page.route("**/v1.0/**", late), ready="body")
    for name in ("#fruits-count", "#languages-status", "#metrics-status"):
        await page.locator(name, has_text="Loading").wait_for()
    answer.set()
    await page.wait_for_selector("body[data-ready]")
    assert await page.get_by_text("Loading").count() == 0
    await page.unroute_all(behavior="wait")


async def test_a_change_has_a_date_and_a_time(open_page: Open) -> None:
    """A time alone could be of any day."""
    page = await open_page()
    await add(page, "Gala", "red")
    text = await page.locator("#fruit-rows time").inner_text()
    assert re.search(r"\b20\d\d\b", text)
    assert re.search(r"\d:\d\d", text)


@pytest.mark.parametrize("width", [1280, 360])
async def test_no_text_of_the_charts_touches_another(open_page: Open, width: int) -> None:
    """Neither the names of the bars, nor their values, nor the numbers on the axis."""
    page = await open_page(viewport={"width": width, "height": 900})
    await page.locator("#sizes-chart .bar").first.wait_for()
    texts = page.locator("#metrics figure :is(text, .name, .value, p)")
    found = [(await each.text_content(), await box(each)) for each in await texts.all()]
    assert len(found) > 20
    for number, (one, first) in enumerate(found):
        for other, second in found[number + 1 :]:
            apart = (
                first["x"] + first["width"] <= second["x"]
                or second["x"] + second["width"] <= first["x"]
                or first["y"] + first["height"] <= second["y"] + 0.5
                or second["y"] + second["height"] <= first["y"] + 0.5
            )
            assert apart, (one, other)
    await page.locator("#metrics").screenshot(path=f"build/screenshots/charts-{width}.png")


async def test_every_bar_has_its_value_and_every_index_a_bar(open_page: Open) -> None:
    """All ten of the example's indexes, and the documents; what is in use and what is on disk differ in color."""
    page = await open_page()
    await page.locator("#sizes-chart .bar").first.wait_for()
    for name, unit in (("scopes", r"^\d[\d,]*$"), ("sizes", r"^[\d.,]+ [KM]B of [\d.,]+ [KM]B$")):
        rows = page.locator(f"#{name}-chart li")
        for each in await rows.all():
            assert re.match(unit, await each.locator(".value").inner_text())
    assert await page.locator("#sizes-chart li").count() == 11
    fills = (
        await page.locator("#sizes-chart li")
        .first.locator("rect")
        .evaluate_all("all => all.map((each) => getComputedStyle(each).fill)")
    )
    heights = (
        await page.locator("#sizes-chart li")
        .first.locator("rect")
        .evaluate_all("all => all.map((each) => each.getBoundingClientRect().height)")
    )
    assert len(set(fills)) == 2
    assert min(heights) > 2
    keys = await page.locator("#metrics .key").all_inner_texts()
    assert [text.strip() for text in keys] == ["in use", "on disk"]


async def test_no_column_is_cut_off_on_a_telephone(open_page: Open) -> None:
    """The languages' type is there without scrolling sideways."""
    page = await open_page(viewport=TELEPHONE, has_touch=True)
    region = page.locator("#language-scroll")
    await page.locator("#language-rows tr").first.wait_for()
    assert await region.evaluate("each => each.scrollWidth <= each.clientWidth")
    edge = (await box(region))["x"] + (await box(region))["width"]
    for each in await page.locator("#language-rows tr:first-child td").all():
        found = await box(each)
        assert found["x"] + found["width"] <= edge
    await region.scroll_into_view_if_needed()
    await screenshot(page, "telephone-languages")


async def test_what_is_not_found_is_said_in_words(open_page: Open) -> None:
    """Not as "0 of 0 languages"."""
    page = await open_page()
    query = page.locator("#language-query")
    await query.get_by_role("combobox", name="Scope", exact=True).select_option("macrolanguage")
    await query.get_by_role("combobox", name="Type", exact=True).select_option("historical")
    await query.get_by_role("combobox", name="Type", exact=True).select_option("special")
    await page.locator("#languages-status", has_text="No language matches this filter.").wait_for()


async def test_errors_are_in_the_words_of_the_page(open_page: Open) -> None:
    """An empty color, a weight in letters and one that is too great are told as a person would."""
    page = await open_page()
    form = page.locator("#new-fruit")
    await add(page, "Gala", "", "heavy")
    await form.locator(".error").first.wait_for()
    assert await form.locator(".error").all_inner_texts() == ["This must not be empty.", "This must be a whole number."]
    await add(page, "Gala", "red", "1000000")
    await form.locator(".error", has_text="This must be at most 100000.").wait_for()


async def test_a_color_that_is_none_has_an_empty_swatch(open_page: Open) -> None:
    """It is not painted black, which would be another color."""
    page = await open_page()
    await add(page, "Gala", "shade 3")
    swatch = page.get_by_role("row").filter(has_text="shade 3").locator(".swatch rect")
    assert await swatch.get_attribute("fill") == "none"


async def test_it_explains_itself_in_a_line(open_page: Open) -> None:
    """What the page is, before what is on it."""
    page = await open_page()
    about = page.locator("header .about")
    assert "tornado_couch" in await about.inner_text()


async def test_a_button_is_pressed_once(open_page: Open) -> None:
    """It is disabled until the answer is there."""
    page = await open_page()
    answer = asyncio.Event()

    async def late(route: Any) -> None:
        if route.request.method == "POST":
            await answer.wait()
        await route.continue_()

    await page.route("**/v1.0/fruits", late)
    await add(page, "Gala", "red")
    button = page.locator("#new-fruit button")
    assert await button.is_disabled()
    answer.set()
    await page.locator("#fruit-rows tr", has_text="Gala").wait_for()
    await page.unroute_all(behavior="wait")
    assert await button.is_enabled()


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_dialog_fits_in_every_color(open_page: Open, scheme: str, width: int) -> None:
    """Wide or narrow, light or dark: nothing sticks out, and axe finds no fault with contrast, labels and roles."""
    look: dict[str, Any] = {
        "color_scheme": scheme,
        "viewport": {"width": width, "height": 740},
        "reduced_motion": "reduce",
    }
    first, second = await open_page(**look), await open_page(**look)
    await add(first, "Gala", "red", "100")
    await second.locator("#fruit-rows tr", has_text="Gala").wait_for()
    await change(second, "Gala", color="gold")
    await fits(second, f"edit-{scheme}-{width}")
    await change(first, "Gala", weight="120")
    await save(first)
    await first.locator("#fruit-rows tr", has_text="120").wait_for()
    await save(second)
    await second.get_by_role("dialog", name="Somebody else changed it").wait_for()
    await fits(second, f"merge-{scheme}-{width}")
    await first.get_by_role("button", name="Delete Gala").click()
    await fits(first, f"delete-{scheme}-{width}")
    await first.locator("#confirm").get_by_role("button", name="Delete").click()
    await first.locator("#fruit-rows tr", has_text="Gala").wait_for(state="detached")
    await second.get_by_role("button", name="Save the merge").click()
    await second.get_by_role("dialog", name="Somebody deleted this fruit").wait_for()
    await fits(second, f"deleted-{scheme}-{width}")
    await first.locator("#metrics").scroll_into_view_if_needed()
    await fits(first, f"metrics-{scheme}-{width}")


async def fits(page: Any, name: str) -> None:
    from axe_playwright_python.async_playwright import Axe

    await screenshot(page, name)
    assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    for dialog in await page.locator("dialog[open]").all():
        found, window = await box(dialog), page.viewport_size
        assert found["x"] >= 0
        assert found["x"] + found["width"] <= window["width"]
        inside = "each => [each, ...each.querySelectorAll('.scroll')].every(one => one.scrollWidth <= one.clientWidth)"
        assert await dialog.evaluate(inside)
    assert (await Axe().run(page)).response["violations"] == []
