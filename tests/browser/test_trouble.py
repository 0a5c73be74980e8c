"""What the page does when the service is away, and when somebody deletes what is being edited."""

from __future__ import annotations

import pytest

from tests.browser.conftest import MARKS, Open, screenshot
from tests.browser.test_page import add, cells, change, save

pytestmark = MARKS


async def test_an_outage_is_told_while_it_lasts(open_page: Open) -> None:
    """The notice goes when the service is back, and nothing of it stays anywhere."""
    page = await open_page()
    await add(page, "Gala", "red")
    await cells(page, "Gala")
    await page.context.set_offline(True)
    notice = page.get_by_role("alert").filter(has_text="The service cannot be reached.")
    await notice.wait_for()
    await screenshot(page, "offline")
    await page.locator("#language-query").get_by_role("combobox", name="Scope").select_option("special")
    await page.context.set_offline(False)
    await notice.wait_for(state="hidden")
    await page.locator("#languages-status", has_text="26 of 26 languages.").wait_for()
    assert await page.get_by_text("cannot be reached").filter(visible=True).count() == 0


async def test_what_was_typed_during_an_outage_is_kept(open_page: Open) -> None:
    """Nothing is added, the form says why, and the same click adds it later."""
    page = await open_page()
    await page.context.set_offline(True)
    await add(page, "Gala", "red", "100")
    await page.locator("#fruits-status", has_text="The service did not answer").wait_for()
    assert await page.locator("#new-fruit").get_by_label("Name").input_value() == "Gala"
    await page.context.set_offline(False)
    await page.locator("#new-fruit").get_by_role("button", name="Add").click()
    assert await cells(page, "Gala") == ["Gala", "red", "100 g"]
    assert await page.locator("#fruits-status").inner_text() == "Gala was added."


async def delete(page: object, name: str) -> None:
    await page.get_by_role("button", name=f"Delete {name}").click()  # type: ignore[attr-defined]
    await page.locator("#confirm").get_by_role("button", name="Delete").click()  # type: ignore[attr-defined]


@pytest.mark.parametrize("again", [True, False])
async def test_an_edit_of_what_was_deleted_is_not_lost(open_page: Open, again: bool) -> None:
    """The page says that it is gone, and creates it again with the edit if that is wanted."""
    first, second = await open_page(), await open_page()
    await add(first, "Gala", "red", "100")
    await cells(second, "Gala")
    await change(second, "Gala", color="gold")
    await delete(first, "Gala")
    await first.locator("#fruit-rows tr", has_text="Gala").wait_for(state="detached")
    await save(second)
    gone = second.get_by_role("dialog", name="Somebody deleted this fruit")
    await gone.wait_for()
    await screenshot(second, f"deleted-{again}")
    if again:
        await gone.get_by_role("button", name="Create it again").click()
        for page in (first, second):
            assert await cells(page, "gold") == ["Gala", "gold", "100 g"]
        assert await second.locator("#fruits-status").inner_text() == "Gala was created again."
    else:
        await gone.get_by_role("button", name="Discard my change").click()
        await second.locator("#fruits-status", has_text="Your change was discarded.").wait_for()
        await second.locator("#fruit-rows tr").wait_for(state="detached")


async def test_a_merge_of_what_was_deleted_is_not_lost(open_page: Open) -> None:
    """It can go while the merge is on the screen, as well."""
    first, second = await open_page(), await open_page()
    await add(first, "Gala", "red", "100")
    await cells(second, "Gala")
    await change(second, "Gala", color="gold")
    await change(first, "Gala", weight="120")
    await save(first)
    await first.locator("#fruit-rows tr", has_text="120").wait_for()
    await save(second)
    merge = second.get_by_role("dialog", name="Somebody else changed it")
    await merge.wait_for()
    await delete(first, "Gala")
    await merge.get_by_role("button", name="Save the merge").click()
    await (
        second.get_by_role("dialog", name="Somebody deleted this fruit")
        .get_by_role("button", name="Create it again")
        .click()
    )
    assert await cells(second, "gold") == ["Gala", "gold", "120 g"]


async def test_deleting_what_is_gone_says_so(open_page: Open) -> None:
    """As what was wanted, not as an error."""
    first, second = await open_page(), await open_page()
    await add(first, "Gala", "red")
    await cells(second, "Gala")
    await second.get_by_role("button", name="Delete Gala").click()
    await delete(first, "Gala")
    await first.locator("#fruit-rows tr", has_text="Gala").wait_for(state="detached")
    await second.locator("#confirm").get_by_role("button", name="Delete").click()
    await second.locator("#fruits-status", has_text="Gala had been deleted already.").wait_for()
