"""The commands of docs/attachments.md, as they stand there, against a service."""

from __future__ import annotations

import asyncio
import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.web.attachments.conftest import PDF, PNG
from tests.web.conftest import Client, Serve
from tornado_couch import AllowAny, Application, Attachment, Attachments, Key, Model, Store, assigned, install, resource

PAGE = Path(__file__).parents[3] / "docs" / "attachments.md"
COMMANDS = re.findall(r"^curl .*$", PAGE.read_text("utf-8"), re.MULTILINE)


class Bought(Model, type="bought_v1.0", key="order_id"):
    order_id: Key = assigned()
    status: str = "new"
    invoice: Attachment | None = None
    photos: Attachments = assigned()


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
async def test_the_commands_of_the_page_work(store: Store, serve: Serve, tmp_path: Path) -> None:
    """One after the other; each is answered with success."""
    await install(store.database.server, store.database.name, [Bought])  # type: ignore[arg-type]
    ask: Client = await serve(Application(resource("/v1.0/orders", Bought, store), policy=AllowAny()))
    order = (await ask("POST", "/v1.0/orders", {})).json["order_id"]
    for name, content in {"invoice.pdf": PDF, "front.png": PNG, "back.png": PNG}.items():
        (tmp_path / name).write_bytes(content)
    assert len(COMMANDS) > 4
    for each in COMMANDS:
        line = each.replace("http://127.0.0.1:8888", ask.url).replace("/ORDER", f"/{order}")
        arguments = [*shlex.split(line), "--fail-with-body", "--silent"]
        process = await asyncio.create_subprocess_exec(*arguments, cwd=tmp_path, stdout=asyncio.subprocess.PIPE)
        said, _ = await process.communicate()
        assert process.returncode == 0, (line, said)
    assert (tmp_path / "part.bin").read_bytes() == PNG[:100]
    listed = (await ask("GET", "/v1.0/orders")).json["items"]
    assert sorted((each["status"], sorted(each["photos"])) for each in listed) == [("new", ["front.png"]), ("paid", [])]
