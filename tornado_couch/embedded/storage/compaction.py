"""Compaction: removes the bodies of revisions that are not leaves, and shrinks the file."""

from __future__ import annotations

from tornado_couch.embedded.storage.attachments import load_attachments
from tornado_couch.embedded.storage.database import Database
from tornado_couch.embedded.storage.revisions import Tree, dump_tree, leaves, load_tree
from tornado_couch.embedded.storage.transaction import Transaction

__all__ = ["forget_old", "shrink"]

_BATCH = 500


def _only_leaves(tree: Tree) -> tuple[Tree, list[int]]:
    """The tree with only the bodies of its leaves, and the keys of those bodies."""
    # All leaves keep their bodies, including conflicts: readers lose only older revisions.
    kept = set(leaves(tree))
    made = {rev: node if rev in kept else node._replace(body=None) for rev, node in tree.items()}
    return made, [node.body for node in made.values() if node.body is not None]


def forget_old(transaction: Transaction) -> None:
    """Delete the bodies of old revisions, then the attachments that no body uses any more."""
    connection = transaction.connection
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS kept (key INTEGER PRIMARY KEY)")
    connection.execute("DELETE FROM kept")
    after = 0
    while rows := connection.execute(
        "SELECT seq, tree FROM docs WHERE seq > ? AND state < 2 ORDER BY seq LIMIT ?", (after, _BATCH)
    ).fetchall():
        after = rows[-1][0]
        for seq, text in rows:
            tree, bodies = _only_leaves(load_tree(text))
            connection.executemany("INSERT OR IGNORE INTO kept VALUES (?)", [(body,) for body in bodies])
            connection.execute("UPDATE docs SET tree = ? WHERE seq = ?", (dump_tree(tree), seq))
    connection.execute("DELETE FROM bodies WHERE key NOT IN (SELECT key FROM kept)")
    connection.execute("DELETE FROM kept")
    for (text,) in connection.execute("SELECT atts FROM bodies WHERE atts IS NOT NULL").fetchall():
        connection.executemany(
            "INSERT OR IGNORE INTO kept VALUES (?)", [(item.blob,) for item in load_attachments(text)]
        )
    connection.execute("DELETE FROM blobs WHERE key NOT IN (SELECT key FROM kept)")


def shrink(database: Database) -> None:
    """Return the free pages to the file system."""
    with database.connections.alone() as connection:
        connection.execute("VACUUM")
