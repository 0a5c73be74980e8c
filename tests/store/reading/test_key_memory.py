"""Remembered keys: how many are kept, and which one goes first."""

from __future__ import annotations

from tests.store.models import Fruit
from tornado_couch.store.reading.cache import KeyMemory


def test_the_least_recently_used_key_goes_first() -> None:
    """Looking a key up counts as a use, as learning it does."""
    memory = KeyMemory(2)
    memory.learn(Fruit, "apple", "1")
    memory.learn(Fruit, "pear", "2")
    assert memory.recall(Fruit, "apple") == "1"
    memory.learn(Fruit, "plum", "3")
    assert [memory.recall(Fruit, key) for key in ("apple", "pear", "plum")] == ["1", None, "3"]
    assert len(memory) == 2


def test_a_forgotten_key_is_not_recalled() -> None:
    """Forgetting a key that is not there does nothing."""
    memory = KeyMemory()
    memory.learn(Fruit, "apple", "1")
    memory.forget(Fruit, "apple")
    memory.forget(Fruit, "apple")
    assert memory.recall(Fruit, "apple") is None


def test_a_memory_of_size_0_keeps_nothing() -> None:
    """Learning is allowed, and has no effect."""
    memory = KeyMemory(0)
    memory.learn(Fruit, "apple", "1")
    memory.forget(Fruit, "apple")
    assert memory.recall(Fruit, "apple") is None
    assert len(memory) == 0
