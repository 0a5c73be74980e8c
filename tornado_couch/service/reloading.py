"""Notices that the code of a running service has changed, for development."""

from __future__ import annotations

import sys
import sysconfig
import threading
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["watch_files"]

_PAUSE_SECONDS = 0.5


def watch_files(changed: Callable[[], None]) -> None:
    """Call a function whenever a file of an imported module has changed, in a thread that ends with the process.

    Modules of installed packages are left out, since they are many and do not change.

    Args:
        changed: what to call, from that thread.
    """
    threading.Thread(target=_watch, args=(changed,), name="reload", daemon=True).start()


def _watch(changed: Callable[[], None]) -> None:
    pause, begun, seen = threading.Event(), time.time(), _times(())
    while not pause.wait(_PAUSE_SECONDS):
        now = _times(seen)
        # A file is new when its module has been imported meanwhile, perhaps before the file changed; a module whose
        # import fails is forgotten again.
        different = any(changed_on != seen.get(path, min(changed_on, begun)) for path, changed_on in now.items())
        seen = now
        if different:
            changed()


def _times(known: dict[str, float] | tuple[()]) -> dict[str, float]:
    """When each file was last changed; 0 if it is gone."""
    installed = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    files = {str(file) for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None))}
    return {file: _time(Path(file)) for file in files.union(known) if not file.startswith(installed)}


def _time(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
