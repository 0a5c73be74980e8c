"""The documentation as `make docs` builds it: what a reader of its pages sees."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Markup that a builder did not understand: directives, roles, fences, links, fields.
RAW = re.compile(
    r"^\s*\.\. \w[\w-]*::|:(?:ref|doc|class|func|meth|option|role):`|```|\]\(|\{[a-z-]+\}`|^\s*:(?:param|rtype)\b",
    re.MULTILINE,
)
PYDANTIC = re.compile(r"model_config|model_post_init|ConfigDict|pydantic-core passes|!!! abstract")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The text of each page, without what is set as code."""
    pytest.importorskip("furo", reason="needs the documentation's builder: pip install -e '.[docs]'")
    site = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", str(ROOT / "docs"), str(site)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return {path.relative_to(site).as_posix(): text_of(path) for path in site.rglob("*.html")}


def text_of(path: Path) -> str:
    page = path.read_text()
    article = page[page.index("<article") : page.index("</article>")]
    prose = re.sub(r"<(pre|code)\b.*?</\1>", "", article, flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]+>", "", prose))


def test_no_page_shows_markup(pages: dict[str, str]) -> None:
    """Directives, roles, fences and links are what they make, not what they are written as."""
    found = {name: RAW.findall(text)[:3] for name, text in pages.items() if "genindex" not in name}
    assert {name: raw for name, raw in found.items() if raw} == {}


def test_every_command_has_its_options(pages: dict[str, str]) -> None:
    """Each in words, with its hyphens."""
    text = pages["reference/commands.html"]
    assert text.count("Usage") > 20
    assert re.search(r"--host\b", text)


def test_the_api_is_ours(pages: dict[str, str]) -> None:
    """What each model inherits from pydantic is documented by pydantic."""
    found = {name: PYDANTIC.findall(text)[:3] for name, text in pages.items() if name.startswith("reference/")}
    assert {name: names for name, names in found.items() if names} == {}
