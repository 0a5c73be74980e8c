"""`python -m tornado_couch.embedded`: the same as `tornado-couch couchdb`."""

from __future__ import annotations

from tornado_couch.embedded.command import couchdb

if __name__ == "__main__":
    couchdb(prog_name="python -m tornado_couch.embedded")
