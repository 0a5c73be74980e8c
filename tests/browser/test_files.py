"""The files of the example's fruits in a real browser: a picture is uploaded, shown, replaced; a sound is played."""

from __future__ import annotations

import io
import struct
import wave
import zlib
from typing import Any

from tests.browser.conftest import MARKS, Open, screenshot
from tests.browser.test_page import add, cells
from tests.faults import until

pytestmark = MARKS


def picture(size: int, color: tuple[int, int, int]) -> bytes:
    """A square in PNG."""
    rows = (b"\0" + bytes(color) * size) * size

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def sound(seconds: int) -> bytes:
    """Silence in WAV."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(8000)
        writer.writeframes(bytes(16_000 * seconds))
    return file.getvalue()


def chosen(name: str, kind: str, content: bytes) -> dict[str, Any]:
    return {"name": name, "mimeType": kind, "buffer": content}


async def with_files(open_page: Open) -> Any:
    """The page with the files of a new fruit."""
    page = await open_page()
    await add(page, "Gala", "red")
    await cells(page, "Gala")
    await page.get_by_role("button", name="Files of Gala").click()
    await page.locator("#files").wait_for()
    return page


async def width(page: Any, name: str) -> int:
    """How wide a picture is, once the browser has decoded it."""
    image = page.locator(f"#pictures img[alt='{name}']")
    await image.wait_for()
    decoded = "async image => { await image.decode().catch(() => null); return image.naturalWidth; }"
    return int(await image.evaluate(decoded))


async def test_a_picture_is_uploaded_shown_and_replaced(open_page: Open) -> None:
    """By a form, then by PUT with its entity tag; each time the browser shows what is stored."""
    page = await with_files(open_page)
    status = page.locator("#files .status")
    await page.locator("#new-picture").set_input_files(chosen("pêche.png", "image/png", picture(40, (200, 30, 30))))
    assert await width(page, "pêche.png") == 40
    assert await status.inner_text() == "The picture was added."
    replacing = page.locator("#pictures input")
    await replacing.set_input_files(chosen("other.png", "image/png", picture(60, (30, 30, 200))))
    await page.locator("#files .status", has_text="pêche.png was replaced.").wait_for()

    async def is_replaced() -> bool:
        return await width(page, "pêche.png") == 60

    await until(is_replaced)
    await screenshot(page, "files")
    await page.get_by_role("button", name="Delete pêche.png").click()
    await page.locator("#pictures li").wait_for(state="detached")


async def test_a_file_that_is_refused_is_said(open_page: Open) -> None:
    """What is no picture, and what is too large: the reader gets the service's sentence, and nothing changes."""
    page = await with_files(open_page)
    status = page.locator("#files .status")
    await page.locator("#new-picture").set_input_files(chosen("a.png", "image/png", b"<svg onload=alert(1)>"))
    await page.locator("#files .status", has_text="not image/png").wait_for()
    large = picture(2, (0, 0, 0)) + bytes(5_000_000)
    await page.locator("#new-picture").set_input_files(chosen("b.png", "image/png", large))
    await page.locator("#files .status", has_text="5000000 bytes").wait_for()
    assert await page.locator("#pictures li").count() == 0
    assert "wrong" in (await status.get_attribute("class") or "")


async def test_a_sound_is_played_by_ranges(open_page: Open) -> None:
    """The browser asks for ranges, gets 206, and can go to any place of it."""
    page = await with_files(open_page)
    answers: list[tuple[int, str]] = []
    page.on("response", lambda reply: answers.append((reply.status, reply.url)) if "/clip" in reply.url else None)
    await page.locator("#new-clip").set_input_files(chosen("hum.wav", "audio/wav", sound(20)))
    player = page.locator("#clip audio")
    await player.wait_for()
    play = """async player => {
      const until = (name) => new Promise((done) => player.addEventListener(name, done, { once: true }));
      if (player.readyState < 1) await until("loadedmetadata");
      const sought = until("seeked");
      player.currentTime = 15;
      await sought;
      await player.play();
      await until("timeupdate");
      player.pause();
      return [player.duration, player.currentTime];
    }"""
    duration, place = await player.evaluate(play)
    assert duration == 20
    assert place >= 15
    assert 206 in [status for status, _ in answers]
