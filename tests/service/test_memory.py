"""The collector of garbage in a service."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import gc, weakref
from tornado_couch.service.worker import settle
settle()
assert gc.get_freeze_count() > 10_000 and gc.isenabled()
class Node: pass
node = Node(); node.me = node
freed = []
# Asking the reference itself, as `gone()`, would hold the node whenever Python 3.12 and later, which collect between
# two instructions, come to do so.
gone = weakref.ref(node, freed.append); del node
made = 0
while not freed:  # cycles are still found
    cycle = []; cycle.append(cycle); made += 1
    assert made < 200_000
print("settled")
"""


def test_garbage_is_still_collected_after_settling() -> None:
    """In a process of its own, since it is for the whole process."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "settled\n"), done.stderr
