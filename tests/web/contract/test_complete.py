"""Every sentence of the HTTP contract has a test."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
LINES = (HERE.parents[1] / "data" / "http_contract.txt").read_text("utf-8").splitlines()
SENTENCES = [line for line in LINES if line and not line.startswith("#")]


def documented() -> dict[str, str]:
    """The names of this folder's tests by their docstrings, in which the line breaks do not count."""
    trees = [ast.parse(path.read_text("utf-8")) for path in sorted(HERE.glob("test_*.py"))]
    found = [each for tree in trees for each in tree.body if isinstance(each, ast.AsyncFunctionDef)]
    return {" ".join((ast.get_docstring(each) or "").split()): each.name for each in found}


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower().replace("`*`", " star ").replace("'", ""))


@pytest.mark.parametrize("sentence", SENTENCES)
def test_each_sentence_of_the_contract_has_a_test(sentence: str) -> None:
    """The test's docstring is the sentence, and its name is made of words of the sentence, in their order."""
    name = documented().get(sentence, "")
    assert name, "no test has this docstring"
    left = iter(words(sentence))
    assert [word for word in name.split("_")[1:] if word not in left] == []
