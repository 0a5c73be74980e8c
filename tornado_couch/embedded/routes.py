"""Leads a request to its handler: finds out the user, the database, and the path below it."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable
from typing import Any
from urllib.parse import quote

from tornado_couch.embedded.couch import Couch
from tornado_couch.embedded.handlers import databases, server
from tornado_couch.embedded.handlers.documents import all_docs, bulk, documents
from tornado_couch.embedded.messages import Reply, Request, User
from tornado_couch.embedded.problems import bad_request, no_database, not_found, not_implemented, unauthorized
from tornado_couch.embedded.storage.databases import OpenDatabase
from tornado_couch.embedded.storage.documents import check_id
from tornado_couch.embedded.users.security import need_admin

__all__ = ["Routes"]

_OPEN_PATHS = ("_session", "_up")
_USER_ID = "org.couchdb.user:"


class Routes:
    """Answers requests of one server.

    Args:
        couch: the server's state.
    """

    def __init__(self, couch: Couch) -> None:
        self.couch = couch

    def __call__(self, request: Request) -> Any:
        """Answer a request: returns a Reply, or an awaitable of one.

        Raises:
            Problem: the request is refused.
        """
        user = self.couch.auth.identify(request)
        if isinstance(user, User):
            request.user = user
            return self.dispatch(request)
        return self._after(user, request)

    async def _after(self, user: Awaitable[User], request: Request) -> Reply:
        request.user = await user
        found = self.dispatch(request)
        return await found if inspect.isawaitable(found) else found  # type: ignore[no-any-return]

    def dispatch(self, request: Request) -> Any:
        """Call the handler for the request's path."""
        couch, segments = self.couch, request.segments
        name = segments[0] if segments else ""
        if (
            request.user.name is None
            and segments
            and name not in _OPEN_PATHS
            and couch.settings.flag("chttpd", "require_valid_user")
            and not request.user.is_admin
        ):
            raise unauthorized("Authentication required.")
        if not segments or server.is_server_path(name):
            return server.server_path(couch, request)
        if len(segments) == 1:
            return databases.database(couch, request)
        if name[:1] == "_" and name not in couch.databases:
            need_admin(request.user)
            raise no_database()
        if segments[1] in ("_purge", "_purged_infos_limit", "_sync_shards"):
            need_admin(request.user)
        if name == "_users" and not request.user.is_admin:
            return self._users(request)
        return self.below(request, couch.open(name, request.user), segments[1])

    def _users(self, request: Request) -> Any:
        """Serve `_users` to a user who is not an admin: only the own document, and only if `_security` allows it."""
        segments = request.segments
        if segments[1] in ("_all_docs", "_changes"):
            need_admin(request.user)
        opened = self.couch.open("_users", request.user)
        if len(segments) != 2 or not segments[1].startswith(_USER_ID):
            need_admin(request.user)
        if request.method not in ("PUT", "DELETE") and segments[1] != f"{_USER_ID}{request.user.name}":
            raise not_found("missing")
        return documents.document(self.couch, request, opened, segments[1])

    def below(self, request: Request, opened: OpenDatabase, name: str) -> Any:
        """Answer a path below a database."""
        couch, segments = self.couch, request.segments
        if name[:1] != "_":
            return _document(couch, request, opened, name, segments[2:])
        if name.startswith(("_design/", "_local/")):
            if name[1] == "d" and request.method in ("GET", "HEAD"):
                location = request.url(segments[0]) + "/" + quote("/".join([name, *segments[2:]]), safe="/:")
                return Reply(301, headers={"Location": location})
            # One part with a quoted slash means the same as two parts.
            request.segments = segments[:1] + name.split("/", 1) + segments[2:]
            return self.below(request, opened, request.segments[1])
        if name in ("_design", "_local") and len(segments) > 2:
            return self._reserved(request, opened, name)
        return self._special(request, opened, name)

    def _reserved(self, request: Request, opened: OpenDatabase, name: str) -> Any:
        """Answer a design or local document, and the paths below it."""
        segments = request.segments
        doc_id, rest = f"{name}/{segments[2]}", segments[3:]
        if name == "_local" and rest:
            raise bad_request("_local documents do not accept attachments.")
        if rest and rest[0][:1] == "_":
            from tornado_couch.embedded.handlers import designs

            return designs.below_design(self.couch, request, opened, doc_id, rest)
        return _document(self.couch, request, opened, doc_id, rest)

    def _special(self, request: Request, opened: OpenDatabase, name: str) -> Any:
        """Answer a path below a database that is not a document."""
        couch, rest = self.couch, request.segments[2:]
        if name in databases.PATHS and (not rest or name in ("_compact", "_shards")):
            return databases.PATHS[name](couch, request, opened)
        if name in ("_all_docs", "_design_docs"):
            return _listing(couch, request, opened, "_design/" if name == "_design_docs" else "", rest)
        if name == "_local_docs" and not rest:
            return all_docs.local_docs(request, opened)
        if name == "_bulk_docs" and not rest:
            return bulk.bulk_docs(couch, request, opened)
        if name == "_bulk_get" and not rest:
            return bulk.bulk_get(couch, request, opened)
        return self._engine(request, opened, name, rest)

    def _engine(self, request: Request, opened: OpenDatabase, name: str, rest: list[str]) -> Any:
        """Answer a path whose handler is imported when it is first used."""
        if name == "_changes" and not rest:
            from tornado_couch.embedded.handlers import changes

            return changes.changes(self.couch, request, opened)
        if name in ("_find", "_explain", "_index"):
            from tornado_couch.embedded.handlers import mango

            return mango.mango(self.couch, request, opened, name, rest)
        if name == "_view_cleanup" and not rest:
            from tornado_couch.embedded.handlers import designs

            return designs.view_cleanup(self.couch, request, opened)
        if name == "_partition" and rest:
            from tornado_couch.embedded.handlers import databases

            return databases.partition(self.couch, request, opened, rest)
        if name in ("_purged_infos", "_nouveau_cleanup", "_search_cleanup"):
            raise not_implemented(name)
        if name == "_local":
            raise bad_request("Invalid _local document id.")
        if rest and request.method == "PUT":
            check_id(name)
        if rest:
            raise not_found("missing")
        return documents.document(self.couch, request, opened, name)


def _listing(couch: Couch, request: Request, opened: OpenDatabase, prefix: str, rest: list[str]) -> Any:
    if rest == ["queries"]:
        return all_docs.all_docs_queries(couch, request, opened, prefix)
    if rest:
        raise not_found("missing")
    return all_docs.all_docs(couch, request, opened, prefix)


def _document(couch: Couch, request: Request, opened: OpenDatabase, doc_id: str, rest: list[str]) -> Any:
    if not rest:
        return documents.document(couch, request, opened, doc_id)
    from tornado_couch.embedded.handlers.documents import attachments

    return attachments.attachment(couch, request, opened, doc_id, "/".join(rest))
