"""Apache CouchDB's recorded answers: the probe is run against the embedded server, and against COUCHDB_URL."""

from __future__ import annotations

import ipaddress
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.conftest import REAL_COUCHDB
from tornado_couch.embedded.server import BackgroundCouch

PROBE = Path(__file__).parent / "probe.py"
ADMIN = "admin:password"


def probe(url: str, auth: str | None, level: str, seconds: float) -> str:
    """Run the probe in a process of its own; its report, once everything passed."""
    command = [sys.executable, str(PROBE), url, "--level", level, *(["--auth", auth] if auth else [])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    print(done.stdout[done.stdout.find("\nlevel") :], done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("level", ["core", "extended"])
def test_embedded_answers_as_recorded(level: str) -> None:
    """Every check of a level that Apache CouchDB 3.5.0 passes, a freshly started embedded server passes."""
    with BackgroundCouch(admin=ADMIN) as url:
        parts = urlsplit(url)
        report = probe(f"http://{parts.hostname}:{parts.port}", ADMIN, level, 280)
    assert ", 0 failed" in report


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_real_one_answers_as_recorded() -> None:
    """The CouchDB that COUCHDB_URL names passes the core level, too: the record still holds."""
    named = os.environ.get("COUCHDB_URL")
    if not named:
        pytest.skip(REAL_COUCHDB)
    parts = urlsplit(named)
    host = parts.hostname or ""
    local = host == "localhost" or (host.replace(".", "").isdigit() and ipaddress.ip_address(host).is_loopback)
    if parts.scheme != "http" or not local or parts.path.strip("/"):
        pytest.skip("the probe speaks plain http to this machine alone: set COUCHDB_URL to such an address")
    auth = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else None
    report = probe(f"http://{host}:{parts.port or 80}", auth, "core", 880)
    assert ", 0 failed" in report
