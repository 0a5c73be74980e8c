"""Replicates databases by CouchDB's protocol."""

from __future__ import annotations

from tornado_couch.embedded.replication.replication import Job, plan_of

__all__ = ["Job", "plan_of"]
