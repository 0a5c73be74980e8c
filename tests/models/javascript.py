"""JavaScript in the engine of the embedded server, as its `validate_doc_update` functions run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tornado_couch.embedded.javascript.pool import Program, Scripts


class Engine:
    """Asks `validate_doc_update` functions about documents."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    def refusal(self, source: str, new: Any, old: Any = None) -> str:
        """Why a function refuses a document; "" if it does not."""
        program = Program(json.dumps({"_id": "_design/x", "validate_doc_update": source}))
        verdict = json.loads(
            self._scripts.call(program, "validate", json.dumps(new), json.dumps(old), '{"name":null}', "{}")
        )
        if verdict == 1:
            return ""
        assert list(verdict) == ["forbidden"], verdict
        return str(verdict["forbidden"])


@contextmanager
def running() -> Iterator[Engine]:
    """An engine, and its end."""
    scripts = Scripts(workers=1, seconds=60)  # on a busy machine a call can take longer than CouchDB lets it
    try:
        yield Engine(scripts)
    finally:
        scripts.close()
