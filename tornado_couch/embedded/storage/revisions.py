"""Revision trees and the winning revision. These are pure functions without I/O.

A revision is written `GENERATION-HASH`. The revisions of one document form a tree (a forest, once old revisions were
forgotten) in which each knows its parent. Trees of the same document merge by union, so the order in which revisions
arrive does not matter.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from tornado_couch.embedded.problems import bad_request

__all__ = [
    "Node",
    "Tree",
    "ancestry",
    "descendants",
    "dump_tree",
    "graft",
    "leaves",
    "load_tree",
    "parse_revision",
    "possible_ancestors",
    "revisions_member",
    "sort_key",
    "stem",
    "winner",
]

_HEX = frozenset("0123456789abcdef")


class Node(NamedTuple):
    """One revision in a tree.

    Attributes:
        parent: the revision before; None for a root.
        deleted: whether it is a tombstone.
        body: the key of its body; None if only its name is known.
    """

    parent: str | None
    deleted: bool
    body: int | None


Tree = dict[str, Node]
"""The revisions of a document by their name; a parent comes before its children."""


def parse_revision(text: Any) -> str:
    """Normalize a revision: its hash is written in small letters.

    Raises:
        Problem: 400, it is not GENERATION-HASH.
    """
    if not isinstance(text, str):
        raise bad_request("Invalid rev format")
    generation, dash, digest = text.partition("-")
    if not dash or not digest or not generation.isascii() or not generation.isdigit():
        raise bad_request("Invalid rev format")
    lowered = digest.lower()
    # CouchDB stores 32 hexadecimal digits as 16 bytes, so their case is lost; any other text stays as it is.
    is_hash = len(digest) == 32 and _HEX.issuperset(lowered)
    return f"{int(generation[:18])}-{lowered if is_hash else digest}"


def sort_key(revision: str) -> tuple[int, str]:
    """The key to sort revisions by: the generation, then the hash."""
    generation, _, digest = revision.partition("-")
    return int(generation), digest


def leaves(tree: Tree) -> list[str]:
    """The leaf revisions that have a body, the winner first.

    A leaf that is not deleted comes before a deleted one, then the higher generation, then the higher hash. A revision
    of which only the name is known is never a leaf, whatever the tree looks like.
    """
    # This is by far the most common tree.
    if len(tree) == 1:
        return list(tree)
    parents = {node.parent for node in tree.values()}
    found = [rev for rev, node in tree.items() if rev not in parents and node.body is not None]
    if len(found) > 1:
        found.sort(key=lambda rev: (not tree[rev].deleted, sort_key(rev)), reverse=True)
    return found


def winner(tree: Tree) -> str:
    """The revision that a read without `rev` returns."""
    return leaves(tree)[0]


def ancestry(tree: Tree, revision: str) -> list[str]:
    """A revision and those before it, the newest first."""
    path: list[str] = []
    step: str | None = revision
    while step is not None and step in tree:
        path.append(step)
        step = tree[step].parent
    return path


def descendants(tree: Tree, revision: str) -> list[str]:
    """The leaves that descend from a revision (or the revision itself), the winner first."""
    return [leaf for leaf in leaves(tree) if revision in ancestry(tree, leaf)]


def possible_ancestors(tree: Tree, missing: Iterable[str]) -> list[str]:
    """The leaves of a lower generation than some of the missing revisions (`_revs_diff`)."""
    highest = max((sort_key(rev)[0] for rev in missing), default=0)
    return [leaf for leaf in leaves(tree) if sort_key(leaf)[0] < highest]


def graft(tree: Tree, path: list[str], deleted: bool, body: int) -> tuple[Tree, bool]:
    """Add a revision and its history to a tree, and tell whether that revision's body is new.

    Args:
        tree: the tree, which is not changed.
        path: the revision and those before it, the newest first.
        deleted: whether the revision is a tombstone.
        body: the key of its body.
    """
    merged = dict(tree)
    known = merged.get(path[0])
    added = known is None or known.body is None
    for place in range(len(path) - 1, -1, -1):
        revision = path[place]
        parent = path[place + 1] if place + 1 < len(path) else None
        node = merged.get(revision)
        if node is None:
            merged[revision] = Node(parent, False, None)
        elif node.parent is None and parent is not None:
            # CouchDB keeps a revision that comes with another parent as a leaf of its own; here it keeps its first one,
            # so that nobody can take a path from a tree that is there.
            merged[revision] = node._replace(parent=parent)
    if added:
        # An existing body stays: a revision has only one content, so the first that arrived is as good.
        merged[path[0]] = merged[path[0]]._replace(deleted=deleted, body=body)
    return merged, added


def stem(tree: Tree, limit: int) -> Tree:
    """Limit a tree to `limit` revisions on the way to each leaf (`_revs_limit`)."""
    if len(tree) <= limit:
        return tree
    kept: set[str] = set()
    for leaf in leaves(tree):
        kept.update(ancestry(tree, leaf)[:limit])
    return {
        rev: node if node.parent in kept else node._replace(parent=None) for rev, node in tree.items() if rev in kept
    }


def dump_tree(tree: Tree) -> str:
    """Write a tree as text, in which a parent is written as its position."""
    ordered = sorted(tree, key=lambda rev: int(rev.partition("-")[0])) if len(tree) > 1 else list(tree)
    places = {rev: place for place, rev in enumerate(ordered)}
    rows = []
    for rev in ordered:
        node = tree[rev]
        parent = places[node.parent] if node.parent is not None else -1
        rows.append([rev, parent, int(node.deleted), node.body])
    return json.dumps(rows, separators=(",", ":"))


def load_tree(text: str) -> Tree:
    """Read a tree that `dump_tree` wrote."""
    rows = json.loads(text)
    return {
        rev: Node(rows[parent][0] if parent >= 0 else None, bool(deleted), body) for rev, parent, deleted, body in rows
    }


def revisions_member(path: list[str]) -> dict[str, Any]:
    """The value of `_revisions` for a revision's ancestry."""
    return {"start": sort_key(path[0])[0], "ids": [sort_key(rev)[1] for rev in path]}
