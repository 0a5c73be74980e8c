"""Settings from a file, files of secrets, the environment and the command line."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from pydantic import SecretStr

from tests.service.service import Settings, broken, make_app, plain
from tornado_couch.cli.main import main
from tornado_couch.service.configuration import Configuration, ConfigurationError, Sources, configuration_class


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the tests' own environment."""
    for name in ("URL", "USER", "PASSWORD", "DATABASE", "CONFIG"):
        monkeypatch.delenv(f"TORNADO_COUCH_{name}", raising=False)


def toml(folder: Path, text: str) -> Path:
    path = folder / "orchard.toml"
    path.write_text(text)
    return path


def test_the_stronger_source_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Command line, environment, files of secrets, file, default; and each says where it comes from."""
    file = toml(tmp_path, 'greeting = "file"\nport = 1\nhost = "file"\nprocesses = 3\napi_key = "file"\n')
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "tornado_couch_api_key").write_text("from a file of its own\n")
    monkeypatch.setenv("TORNADO_COUCH_PORT", "2")
    monkeypatch.setenv("TORNADO_COUCH_HOST", "environment")
    sources = Sources(file, secrets, {"port": "3"})
    found = sources.read(Settings)
    assert (found.greeting, found.port, found.host, found.processes) == ("file", 3, "environment", 3)
    assert found.api_key is not None
    assert found.api_key.get_secret_value() == "from a file of its own"
    origins = sources.origins(Settings)
    wanted = {"greeting": "file", "port": "command line", "host": "environment", "api_key": "secrets", "ca": "default"}
    assert {name: origins[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("port = 70000\nprocesses = -1", "port, from the file: Input should be less than or equal to 65535; processes"),
        ('greting = "x"', "greting, from the file: there is no such setting"),
        ("port = ", "Invalid value"),
        ('proxies = ["nonsense"]', "proxies.0, from the file: "),
        ('url = "ftp://x"', "url, from the file: the CouchDB URL must be of the form"),
        ('url = ["http://a:secret@x", "http://b:secret@y"]', "user and password must be given only once"),
        ('url = "http://a:secret@x"\npassword = "secret"', "user and password must be given only once"),
        ('api_key = ["secret"]', "api_key, from the file: Input should be a valid string"),
    ],
)
def test_what_is_not_valid_is_named_without_its_value(tmp_path: Path, text: str, said: str) -> None:
    """Every fault in one message, which is safe to log."""
    with pytest.raises(ConfigurationError, match=re.escape(said)) as caught:
        Sources(toml(tmp_path, text)).read(Settings)
    assert "secret" not in str(caught.value)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    """A file or folder that is named has to be there."""
    with pytest.raises(ConfigurationError, match=r"the file .* does not exist"):
        Sources(tmp_path / "none.toml")
    with pytest.raises(ConfigurationError, match=r"the folder .* does not exist"):
        Sources(None, tmp_path / "none")
    assert Sources().read(Configuration).port == 8888


@pytest.mark.parametrize("name", ["password", "cookie_secret", "api_key"])
def test_a_secret_is_not_taken_from_the_command_line(name: str) -> None:
    """Every user of the machine could read it there."""
    with pytest.raises(ConfigurationError, match=f"set TORNADO_COUCH_{name.upper()} in the environment") as caught:
        Sources(None, None, {name: "hidden"}).read(Settings)
    assert "hidden" not in str(caught.value)


def test_lists_are_text_or_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """Separated by commas or space, in the environment too."""
    monkeypatch.setenv("TORNADO_COUCH_URL", "http://a:5984, http://b:5984/")
    found = Sources(None, None, {"proxies": "10.0.0.0/8 ::1"}).read(Configuration)
    assert found.url == ("http://a:5984", "http://b:5984")
    assert [str(each) for each in found.proxies] == ["10.0.0.0/8", "::1/128"]
    assert len(Sources(None, None, {"proxies": '["10.0.0.0/8"]'}).read(Configuration).proxies) == 1
    with pytest.raises(ConfigurationError, match="proxies: the value is not valid JSON"):
        Sources(None, None, {"proxies": "[nonsense"}).read(Configuration)


async def test_the_client_has_what_the_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """URL and credentials, from the URL or beside it."""
    monkeypatch.setenv("TORNADO_COUCH_URL", "http://app:se%2Fcret@127.0.0.1:5984")
    found = Sources().read(Configuration)
    assert (found.url, found.user) == (("http://127.0.0.1:5984",), "app")
    assert found.password == SecretStr("se/cret")
    assert found.couch().url == "http://127.0.0.1:5984"
    monkeypatch.setenv("TORNADO_COUCH_URL", "http://127.0.0.1:5984")
    monkeypatch.setenv("TORNADO_COUCH_PASSWORD", "alone")
    with pytest.raises(ConfigurationError, match="no user"):
        Sources().read(Configuration).couch()


def test_a_functions_annotation_says_what_it_takes() -> None:
    """Else it is the class that every service has."""
    assert configuration_class(make_app) is Settings
    for target in (plain, broken, None, "text", Settings, lambda settings: settings):
        assert configuration_class(target) is Configuration


def printed(*options: str) -> Any:
    return CliRunner().invoke(main, ["serve", "tests.service.service:make_app", "--print-config", *options])


def test_settings_are_shown_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a table that says where each comes from, and as JSON."""
    monkeypatch.setenv("TORNADO_COUCH_URL", "http://app:hidden@127.0.0.1:5984")
    monkeypatch.setenv("TORNADO_COUCH_COOKIE_SECRET", "hidden")
    table = printed("--port", "80").output
    assert "hidden" not in table
    assert any(line.split() == ["port", "=", "80", "#", "command", "line"] for line in table.splitlines())
    assert any(
        line.split() == ["cookie_secret", "=", '"**********"', "#", "environment"] for line in table.splitlines()
    )
    found = json.loads(printed("--json", "--set", "greeting=hi", "--xheaders").output)
    assert (found["url"], found["user"], found["password"]) == (["http://127.0.0.1:5984"], "app", "**********")
    assert (found["greeting"], found["xheaders"], found["api_key"]) == ("hi", True, None)


def test_json_without_what_it_shows_is_wrong_usage() -> None:
    """The service is not started instead."""
    done = CliRunner().invoke(main, ["serve", "tests.service.service:make_app", "--json"])
    assert done.exit_code == 2
    assert "--print-config" in done.output


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--port", "many"], "port, from the command line: Input should be a valid integer"),
        (["--set", "greeting"], "does not have the form NAME=VALUE"),
        (["--set", "=x"], "does not have the form NAME=VALUE"),
        (["--set", "api_key=hidden"], "api_key is a secret"),
        (["--config", "/does/not/exist"], "does not exist"),
    ],
)
def test_wrong_usage_is_one_clear_sentence(options: list[str], said: str) -> None:
    """Status 2, and no secret in it."""
    outcome = printed(*options)
    assert outcome.exit_code == 2
    assert said in outcome.output
    assert "hidden" not in outcome.output


def test_a_port_that_is_taken_is_one_clear_sentence() -> None:
    """Before any process is made."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        outcome = CliRunner().invoke(main, ["serve", "tests.service.service:plain", "--port", port])
    assert outcome.exit_code == 1
    assert f"Cannot listen on 127.0.0.1:{port}: Address already in use" in outcome.output
