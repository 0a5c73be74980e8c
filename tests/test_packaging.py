"""What is built and installed: archives that anybody can build again, no import that is not needed, no warning."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import tornado_couch

ROOT = Path(__file__).parents[1]
SOURCES = (
    "setup.cfg", "setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "CHANGELOG.md", "LICENSE",
    "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "SECURITY.md", "Makefile", "tox.ini",
    ".dockerignore", ".editorconfig", ".gitignore", ".pre-commit-config.yaml",
)  # fmt: skip
FOLDERS = (".ci", ".github", "benchmarks", "deploy", "docs", "example_app", "tests", "tornado_couch")
IGNORED = shutil.ignore_patterns("__pycache__", "out", ".env", ".hypothesis")


def python(code: str, *options: str, **more: str) -> str:
    """What a fresh interpreter prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **more}
    done = subprocess.run(
        [sys.executable, *options, "-c", code],
        env=environment, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def copy(target: Path, age: int) -> Path:
    """The sources elsewhere, each file with another time."""
    for name in FOLDERS:
        shutil.copytree(ROOT / name, target / name, ignore=IGNORED)
    for name in SOURCES:
        shutil.copy(ROOT / name, target / name)
    for number, path in enumerate(sorted(target.rglob("*"))):
        os.utime(path, (age + number, age + number))
    return target


def build(sources: Path) -> subprocess.Popen[str]:
    """Build the source archive, and the wheel from it."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(sources / "dist"), str(sources)]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1795000000", "PYTHONHASHSEED": str(len(str(sources)))}
    for name in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE"):  # setuptools warns that it leaves out what that forbids
        environment.pop(name, None)
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Path]]:
    """The archives of two builds, by their names' ends."""
    places = [copy(tmp_path_factory.mktemp(name) / name, age) for name, age in (("a", 10**9), ("other", 1.5 * 10**9))]
    found = []
    for place, process in [(place, build(place)) for place in places]:
        told, _ = process.communicate(timeout=200)
        assert process.returncode == 0, told
        # That an exclusion finds nothing to exclude in a fresh copy is as it should be.
        assert not re.search(r"(?i)\bwarning\b(?!: no previously-included)|would be ignored", told), told
        found.append({path.suffix: path for path in (place / "dist").iterdir()})
    return found


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", [".whl", ".gz"])
def test_the_same_sources_make_the_same_archives(built: list[dict[str, Path]], kind: str) -> None:
    """Byte by byte, wherever they are and whenever they were written."""
    first, second = (archives[kind] for archives in built)
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.slow
def test_the_source_archive_is_complete(built: list[dict[str, Path]], tmp_path: Path) -> None:
    """Whoever has it can run the tests, build the documentation and start the example."""
    sources = copy(tmp_path / "sources", 10**9)
    wanted = {path.relative_to(sources).as_posix() for path in sources.rglob("*") if path.is_file()}
    with tarfile.open(built[0][".gz"]) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    assert wanted - names == set()
    made = {"PKG-INFO", "tornado_couch.egg-info"}
    assert {name for name in names - wanted if name.partition("/")[0] not in made} == set()


@pytest.mark.slow
def test_the_archives_have_every_file_of_the_package(built: list[dict[str, Path]]) -> None:
    """Its data as well; and nothing else."""
    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "tornado_couch").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(built[0][".whl"]) as wheel:
        assert {name for name in wheel.namelist() if ".dist-info/" not in name} == package
    with tarfile.open(built[0][".gz"]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {*package, *SOURCES} <= names


@pytest.mark.slow
def test_the_wheel_is_pure_python(built: list[dict[str, Path]]) -> None:
    """It is for every machine, so that installing it needs no compiler."""
    assert built[0][".whl"].name.endswith("-py3-none-any.whl")


def test_the_extras_are_there() -> None:
    """Those that the documentation names; `dev` has all that the tests need, and each is an extra of ours."""
    parser = configparser.RawConfigParser()
    parser.read(ROOT / "setup.cfg")
    extras = parser["options.extras_require"]
    assert {"embedded", "fast", "tink", "metrics", "docs", "dev", "viewer", "jwt", "brotli"} <= set(extras)
    for name, text in extras.items():
        assert set(re.findall(r"%\((\w+)\)s", text)) <= set(extras), name
    assert "%(test)s" in extras["dev"]
    assert "%(embedded)s" in extras["test"]


def test_importing_the_package_imports_nothing_heavy() -> None:
    """Neither Tornado, aiohttp, pydantic nor cryptography: names are imported when they are used."""
    heavy = "{'aiohttp', 'bcrypt', 'click', 'cryptography', 'jsonschema', 'orjson', 'pydantic', 'tornado'}"
    assert python(f"import tornado_couch, sys; print({heavy} & set(sys.modules))") == "set()\n"


def test_importing_the_package_takes_less_than_300_milliseconds() -> None:
    """Of a processor's time, whatever else the machine does."""
    code = "import time; began = time.process_time(); import tornado_couch; print(time.process_time() - began)"
    assert min(float(python(code)) for _ in range(3)) < 0.3


def test_every_module_can_be_imported_where_warnings_are_errors() -> None:
    """`python -W error` has nothing to say of any; the public names as well."""
    code = """
import importlib, pkgutil, tornado_couch
for name in tornado_couch.__all__:
    getattr(tornado_couch, name)
for found in pkgutil.walk_packages(tornado_couch.__path__, "tornado_couch."):
    if not found.name.endswith(("__main__", "javascript.worker")):
        importlib.import_module(found.name)
print("done")
"""
    assert python(code, "-W", "error") == "done\n"


def test_the_versions_of_python_are_the_same_everywhere() -> None:
    """In the classifiers, in tox, and what mypy and ruff are told is the oldest."""
    parser = configparser.RawConfigParser()
    parser.read([ROOT / "setup.cfg", ROOT / "tox.ini"])
    classified = re.findall(r"Python :: (3\.\d+)", parser["metadata"]["classifiers"])
    tested = [f"3.{each}" for each in re.findall(r"\bpy3(\d+)\b", parser["tox"]["envlist"])]
    assert classified == tested
    assert parser["options"]["python_requires"] == f">={classified[0]}"
    tools = (ROOT / "pyproject.toml").read_text()
    assert f'python_version = "{classified[0]}"' in tools
    assert f'target-version = "py{classified[0].replace(".", "")}"' in tools


def test_the_changelog_has_the_version() -> None:
    """With its date; and an empty section for what comes next, or one that has begun."""
    text = (ROOT / "CHANGELOG.md").read_text()
    found = re.findall(r"^## \[(.+?)\](?: - (\d{4}-\d\d-\d\d))?$", text, re.MULTILINE)
    assert found[0] == ("Unreleased", "")
    assert tornado_couch.__version__ in [version for version, date in found if date]


def test_pre_commit_runs_what_make_check_runs() -> None:
    """By running it."""
    import yaml

    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [hook["entry"] for hook in repository["hooks"]] == ["make check"]


def test_the_templates_of_issues_are_forms() -> None:
    """What GitHub demands of them: a name, a description, and a body of elements with ids of their own."""
    import yaml

    for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"):
        form = yaml.safe_load(path.read_text())
        if path.stem == "config":
            assert all(set(link) == {"name", "url", "about"} for link in form["contact_links"])
            continue
        assert form["name"]
        assert form["description"]
        ids = [element["id"] for element in form["body"]]
        assert len(ids) == len(set(ids))


def test_the_version_is_the_installed_one() -> None:
    """What `--version` says."""
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", tornado_couch.__version__)
