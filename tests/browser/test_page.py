"""The example's page in a real browser: every flow, two contexts at once, no complaint on the console."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.browser.conftest import MARKS, Open, screenshot

pytestmark = MARKS


async def add(page: Any, name: str = "", color: str = "", weight: str = "") -> None:
    form = page.locator("#new-fruit")
    await form.get_by_label("Name").fill(name)
    await form.get_by_label("Color").fill(color)
    await form.get_by_label("Weight").fill(weight)
    await form.get_by_role("button", name="Add").click()


async def cells(page: Any, name: str) -> list[str]:
    row = page.locator("#fruit-rows tr", has_text=name)
    await row.wait_for()
    return [text.strip() for text in await row.locator("td").all_inner_texts()][:3]


async def change(page: Any, name: str, **values: str) -> None:
    """Open a fruit's form and fill it in, without saving."""
    await page.get_by_role("button", name=f"Change {name}").click()
    for label, value in values.items():
        await page.locator("#edit").get_by_label(label.capitalize()).fill(value)


async def save(page: Any) -> None:
    await page.locator("#edit").get_by_role("button", name="Save").click()


async def test_a_fruit_is_created_changed_and_deleted(open_page: Open) -> None:
    """Each step shows in the table, and is said in the status line for who does not see it."""
    page = await open_page()
    status = page.locator("#fruits-status")
    await add(page, "Gala", "crimson", "150")
    assert await cells(page, "Gala") == ["Gala", "crimson", "150 g"]
    assert await status.inner_text() == "Gala was added."
    await screenshot(page, "fruits")
    await change(page, "Gala", color="gold")
    await save(page)
    await page.locator("#fruit-rows tr", has_text="gold").wait_for()
    assert await cells(page, "Gala") == ["Gala", "gold", "150 g"]
    await page.get_by_role("button", name="Delete Gala").click()
    await page.locator("#confirm").get_by_role("button", name="Cancel").click()
    assert await cells(page, "Gala") == ["Gala", "gold", "150 g"]
    await page.get_by_role("button", name="Delete Gala").click()
    await page.locator("#confirm").get_by_role("button", name="Delete").click()
    await page.locator("#fruit-rows tr", has_text="Gala").wait_for(state="detached")


async def test_errors_stand_beside_their_inputs(open_page: Open) -> None:
    """The problem's pointers name the inputs; the first is focused, and corrected ones are clean again."""
    page = await open_page()
    await add(page, "x" * 81, "", "-5")
    form = page.locator("#new-fruit")
    await form.locator(".error").first.wait_for()
    found = {
        label: (await form.get_by_label(label).get_attribute("aria-invalid"))
        for label in ("Name", "Color", "Weight (g)")
    }
    assert found == {"Name": "true", "Color": "true", "Weight (g)": "true"}
    described = await form.get_by_label("Weight").get_attribute("aria-describedby")
    assert "at least 0" in await page.locator(f"#{described}").inner_text()
    assert await form.get_by_label("Name").evaluate("input => input === document.activeElement")
    await screenshot(page, "errors")
    await add(page, "Gala", "red", "heavy")
    await page.locator("#new-fruit-weight-error").wait_for()
    assert await form.locator(".error").count() == 1
    await add(page, "Gala", "red", "5")
    await page.locator("#fruit-rows tr", has_text="Gala").wait_for()
    assert await form.locator(".error").count() == 0


async def test_the_edit_form_shows_errors_too(open_page: Open) -> None:
    """It stays open with what was typed until the service takes it."""
    page = await open_page()
    await add(page, "Gala", "red")
    await page.locator("#fruit-rows tr", has_text="Gala").wait_for()
    await change(page, "Gala", weight="100001")
    await save(page)
    await page.locator("#edit-form-weight-error").wait_for()
    assert await page.locator("#edit").get_by_label("Weight").input_value() == "100001"


async def test_what_another_context_does_is_shown(open_page: Open) -> None:
    """Creations, changes and deletions of one reach the other without reloading."""
    first, second = await open_page(), await open_page()
    await add(first, "Gala", "red")
    assert await cells(second, "Gala") == ["Gala", "red", "–"]
    await change(second, "Gala", color="green")
    await save(second)
    await first.locator("#fruit-rows tr", has_text="green").wait_for()
    await first.get_by_role("button", name="Delete Gala").click()
    await first.locator("#confirm").get_by_role("button", name="Delete").click()
    await second.locator("#fruit-rows tr", has_text="Gala").wait_for(state="detached")


async def test_a_lost_update_is_refused_and_a_merge_offered(open_page: Open) -> None:
    """Two contexts edit one fruit: the second save overwrites nothing, and offers what both did."""
    first, second = await open_page(), await open_page()
    await add(first, "Gala", "red", "100")
    await cells(second, "Gala")
    await change(first, "Gala", color="crimson")
    await change(second, "Gala", weight="175")
    await save(first)
    await first.locator("#fruit-rows tr", has_text="crimson").wait_for()
    await save(second)
    merge = second.get_by_role("dialog", name="Somebody else changed it")
    await merge.wait_for()
    await screenshot(second, "merge")
    chosen = [await each.inner_text() for each in await merge.locator("td.chosen").all()]
    assert [text.strip() for text in chosen] == ["Gala", "crimson", "175"]
    await merge.get_by_role("button", name="Save the merge").click()
    for page in (first, second):
        await page.locator("#fruit-rows tr", has_text="175 g").wait_for()
        assert await cells(page, "Gala") == ["Gala", "crimson", "175 g"]


async def test_where_both_changed_the_same_the_reader_chooses(open_page: Open) -> None:
    """Yours is proposed, theirs can be chosen, and giving up keeps theirs."""
    first, second = await open_page(), await open_page()
    await add(first, "Gala", "red")
    await cells(second, "Gala")
    await change(second, "Gala", color="green")
    await change(first, "Gala", color="blue")
    await save(first)
    await first.locator("#fruit-rows tr", has_text="blue").wait_for()
    await save(second)
    merge = second.get_by_role("dialog", name="Somebody else changed it")
    assert await merge.get_by_role("radio", name="green").is_checked()
    await merge.get_by_role("radio", name="blue").check()
    await merge.get_by_role("radio", name="green").check()
    # A third change while the dialog is open: the merge is refused as well, and offered anew.
    await change(first, "Gala", color="violet")
    await save(first)
    await first.locator("#fruit-rows tr", has_text="violet").wait_for()
    await merge.get_by_role("button", name="Save the merge").click()
    await merge.get_by_role("radio", name="violet").wait_for()
    await merge.get_by_role("button", name="Keep theirs").click()
    await second.locator("#fruit-rows tr", has_text="violet").wait_for()
    assert await second.locator("#fruits-status").inner_text() == "The other change was kept."


async def test_a_changed_fruit_is_not_deleted_unseen(open_page: Open) -> None:
    """The deletion names the revision that was shown."""
    first, second = await open_page(), await open_page()
    await add(first, "Gala", "red")
    await cells(second, "Gala")
    await second.get_by_role("button", name="Delete Gala").click()
    await change(first, "Gala", color="blue")
    await save(first)
    await first.locator("#fruit-rows tr", has_text="blue").wait_for()
    await second.locator("#confirm").get_by_role("button", name="Delete").click()
    await second.locator("#fruits-status", has_text="changed in the meantime").wait_for()
    await second.locator("#fruit-rows tr", has_text="blue").wait_for()  # it is shown after it is said
    assert await cells(second, "Gala") == ["Gala", "blue", "–"]


async def test_names_are_text_whatever_they_hold(open_page: Open) -> None:
    """Markup in a name or a color is shown, and does nothing."""
    page = await open_page()
    await add(page, "<img src=x onerror=alert(1)>", 'red"/><script>alert(2)</script>')
    found = await cells(page, "onerror")
    assert found[0] == "<img src=x onerror=alert(1)>"
    assert await page.locator("#fruit-rows img, #fruit-rows script").count() == 0


async def test_languages_are_endless(open_page: Open) -> None:
    """Scrolling to the end loads page after page, until all are there."""
    page = await open_page()
    status = page.locator("#languages-status")
    await status.get_by_text(re.compile("of 156 languages")).wait_for()
    region = page.locator("#language-scroll")
    while await page.locator("#more-languages").is_visible():
        await region.evaluate("element => { element.scrollTop = element.scrollHeight; }")
        await page.wait_for_timeout(50)
    await status.get_by_text("156 of 156 languages.").wait_for()
    codes = await page.locator("#language-rows code").all_inner_texts()
    assert codes == sorted(set(codes))
    await screenshot(page, "languages")


async def test_languages_are_filtered_and_sorted(open_page: Open) -> None:
    """Only such orders are offered as the service has an index for."""
    page = await open_page()
    rows, query = page.locator("#language-rows tr"), page.locator("#language-query")
    await query.get_by_role("combobox", name="Scope", exact=True).select_option("special")
    await page.locator("#languages-status", has_text="26 of 26 languages.").wait_for()
    assert {await each.inner_text() for each in await rows.locator("td:nth-child(3)").all()} == {"special"}
    await query.get_by_role("combobox", name="Order", exact=True).select_option("by type, descending")
    await rows.first.get_by_text("living").wait_for()
    await query.get_by_role("combobox", name="Type", exact=True).select_option("extinct")
    await page.locator("#languages-status", has_text="3 of 3 languages.").wait_for()
    assert await query.get_by_role("combobox", name="Order", exact=True).locator("option").count() == 1
    await query.get_by_role("combobox", name="Scope", exact=True).select_option("all")
    await query.get_by_role("combobox", name="Type", exact=True).select_option("all")
    await query.get_by_role("combobox", name="Order", exact=True).select_option("by code, descending")
    await rows.first.get_by_text("fza").wait_for()


async def test_metrics_are_charts_with_words(open_page: Open) -> None:
    """Each chart has its numbers in the text that names it."""
    page = await open_page()
    await page.locator("#scopes-text", has_text="78 individual, 52 macrolanguages, 26 special.").wait_for()
    assert await page.locator("#scopes-chart .bar").count() == 3
    await page.locator("#documents-text", has_text=re.compile(r"^\d+ documents now\.$")).wait_for()
    assert await page.locator("#sizes-chart .bar").count() > 3
    assert "indexes" in await page.locator("#sizes-text").inner_text()
    await page.locator("#metrics").scroll_into_view_if_needed()
    await screenshot(page, "metrics")


async def test_the_keyboard_is_enough(open_page: Open) -> None:
    """A fruit is created, changed and deleted without a pointer."""
    page = await open_page()
    await page.locator("#new-fruit").get_by_label("Name").focus()
    for text in ("Gala", "red", "100"):
        await page.keyboard.type(text)
        await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await cells(page, "Gala")
    await page.get_by_role("button", name="Change Gala").focus()
    await page.keyboard.press("Enter")
    assert await page.locator("#edit").is_visible()
    await page.keyboard.press("Escape")
    assert not await page.locator("#edit").is_visible()
    await page.get_by_role("button", name="Delete Gala").focus()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.locator("#fruit-rows tr", has_text="Gala").wait_for(state="detached")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_nothing_stands_in_the_way(open_page: Open, scheme: str) -> None:
    """axe finds no fault with labels, roles or contrast, in light and in dark, dialogs included."""
    from axe_playwright_python.async_playwright import Axe

    page = await open_page(color_scheme=scheme, reduced_motion="reduce")
    await add(page, "Gala", "red", "-1")
    await page.locator("#new-fruit-weight-error").wait_for()
    await add(page, "Gala", "red", "100")
    await cells(page, "Gala")
    assert (await Axe().run(page)).response["violations"] == []
    await change(page, "Gala", weight="-1")
    await save(page)
    await page.locator("#edit-form-weight-error").wait_for()
    assert (await Axe().run(page)).response["violations"] == []
    await screenshot(page, f"edit-{scheme}")


async def test_it_fits_a_telephone(open_page: Open) -> None:
    """At 360 pixels nothing is wider than the window, and what is touched is large enough."""
    page = await open_page(viewport={"width": 360, "height": 740}, has_touch=True)
    await add(page, "A fruit with quite a long name, as names can be", "rebeccapurple", "100")
    await page.locator("#fruit-rows tr").wait_for()
    assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    heights = await page.locator("button:visible").evaluate_all("all => all.map((each) => each.offsetHeight)")
    assert min(heights) >= 24
    await screenshot(page, "telephone")


async def test_nothing_comes_from_elsewhere(open_page: Open, url: str) -> None:
    """The policy allows the page's own scripts and service, and it asks for nothing else."""
    page = await open_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    answer = await page.reload()
    await page.wait_for_selector("body[data-ready]")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert {each.split("/v1.0")[0].split("/static")[0].rstrip("/") for each in asked} == {url}
