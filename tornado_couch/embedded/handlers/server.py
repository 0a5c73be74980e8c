"""Answers the paths that do not belong to a database."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

from tornado_couch.embedded.couch import VERSION, Couch
from tornado_couch.embedded.jsontext import dumps, loads
from tornado_couch.embedded.messages import Reply, Request, json_reply
from tornado_couch.embedded.problems import bad_request, no_database, not_found, not_implemented
from tornado_couch.embedded.storage.info import info
from tornado_couch.embedded.users.security import need_admin

__all__ = ["server_path"]

_NODE = "couchdb@127.0.0.1"


def welcome(couch: Couch, request: Request) -> Reply:
    """Answer `GET /`."""
    request.allow("GET", "HEAD")
    return json_reply(
        {
            "couchdb": "Welcome",
            "version": VERSION,
            "git_sha": "embedded",
            "uuid": couch.uuid,
            "features": ["quickjs", "partitioned"],
            "vendor": {"name": "tornado_couch embedded"},
        }
    )


def up(_couch: Couch, request: Request) -> Reply:
    """Answer `GET /_up`."""
    request.allow("GET", "HEAD")
    return json_reply({"status": "ok", "seeds": {}})


def uuids(couch: Couch, request: Request) -> Reply:
    """Answer `GET /_uuids`."""
    request.allow("GET")
    text = request.parameters.get("count", "1")
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise bad_request("count must be a positive integer")
    if int(text) > couch.settings.number("uuids", "max_count"):
        raise bad_request("count parameter too large")
    made = [couch.uuids.take() for _ in range(int(text))]
    headers = {"Cache-Control": "no-cache, no-store, must-revalidate", "Pragma": "no-cache"}
    return json_reply({"uuids": made}, 200, headers)


def _names(couch: Couch, request: Request) -> list[str]:
    """The names of the databases between `startkey` and `endkey`."""
    descending = request.flag("descending")
    names = couch.databases.names()[:: -1 if descending else 1]
    query = request.parameters
    start = loads(query.get("startkey", query.get("start_key", "null")))
    end = loads(query.get("endkey", query.get("end_key", "null")))
    low, high = (end, start) if descending else (start, end)
    names = [name for name in names if (low is None or name >= str(low)) and (high is None or name <= str(high))]
    skip, limit = request.number("skip", 0), request.number("limit", -1)
    return names[skip:] if limit < 0 else names[skip : skip + limit]


def all_dbs(couch: Couch, request: Request) -> Reply:
    """Answer `GET /_all_dbs`."""
    request.allow("GET", "HEAD")
    need_admin(request.user)
    return json_reply(_names(couch, request))


def dbs_info(couch: Couch, request: Request) -> Reply:
    """Answer `/_dbs_info`: information about several databases."""
    request.allow("GET", "HEAD", "POST")
    need_admin(request.user)
    if request.method == "POST":
        request.need_json_type()
        body = request.json_object()
        if "keys" not in body:
            raise bad_request("`keys` member must exist.")
        keys = body["keys"]
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise bad_request("`keys` member must be an array of database names.")
    else:
        keys = _names(couch, request)
    rows: list[dict[str, Any]] = []
    for key in keys:
        if key in couch.databases:
            rows.append({"key": key, "info": info(couch.databases.get(key).database)})
        else:
            rows.append({"key": key, "error": "not_found"})
    return json_reply(rows)


async def db_updates(couch: Couch, request: Request) -> Reply:
    """Answer `GET /_db_updates`: what has happened to databases since the server started."""
    request.allow("GET", "HEAD")
    need_admin(request.user)
    if "_global_changes" not in couch.databases:  # where CouchDB keeps it
        raise no_database()
    feed, since = request.parameters.get("feed", "normal"), request.parameters.get("since", "0")
    if feed in ("continuous", "eventsource"):
        raise not_implemented(f"/_db_updates?feed={feed}")
    if feed not in ("normal", "longpoll"):
        raise bad_request("Supported `feed` types: normal, continuous, longpoll, eventsource")
    number = str(couch.databases.updates.seq) if since == "now" else since.partition("-")[0]
    if not (number.isascii() and number.isdigit()):
        raise bad_request("Malformed sequence supplied in 'since' parameter.")
    waiting = request.number("timeout", 60_000) / 1000 if feed == "longpoll" else 0.0
    return Reply(200, stream=_db_updates(couch, int(number), waiting, request.number("limit", 10**9)))


async def _db_updates(couch: Couch, since: int, waiting: float, limit: int) -> AsyncIterator[bytes]:
    updates = couch.databases.updates
    yield b'{"results":['
    if waiting and not updates.since(since):
        await updates.changed(waiting)
    found = updates.since(since)[:limit]
    rows = [{"db_name": name, "type": kind, "seq": f"{seq}-embedded"} for seq, name, kind in found]
    last = found[-1][0] if found else since
    yield f'{",".join(map(dumps, rows))}],"last_seq":"{last}-embedded"}}\n'.encode()


def active_tasks(couch: Couch, request: Request) -> Reply:
    """Answer `GET /_active_tasks`."""
    request.allow("GET", "HEAD")
    need_admin(request.user)
    return json_reply(couch.active_tasks())


def membership(_couch: Couch, request: Request) -> Reply:
    """Answer `GET /_membership` with this server as the only node."""
    request.allow("GET")
    need_admin(request.user)
    return json_reply({"all_nodes": [_NODE], "cluster_nodes": [_NODE]})


def cluster_setup(_couch: Couch, request: Request) -> Reply:
    """Answer `GET /_cluster_setup`."""
    need_admin(request.user)
    request.allow("GET", "POST")
    if request.method == "POST":
        raise not_implemented("the setup of a cluster")
    return json_reply({"state": "single_node_enabled"})


def favicon(_couch: Couch, _request: Request) -> Reply:
    """Answer `GET /favicon.ico` with 404."""
    raise not_found("missing")


def node(couch: Couch, request: Request) -> Reply:
    """Answer `/_node/{name}/…`: statistics and settings of this server."""
    need_admin(request.user)
    name, *rest = request.segments[1:] or [""]
    if name not in ("_local", _NODE, "nonode@nohost"):
        raise not_found(f"no such node: {name}")
    if not rest:
        return json_reply({"name": _NODE})
    if rest[0] == "_config":
        return config(couch, request, rest[1:])
    request.allow("GET")
    if rest == ["_stats"]:
        return json_reply({"couchdb": _statistics(couch)})
    if rest == ["_system"]:
        return json_reply(_system(couch))
    if rest == ["_prometheus"]:
        return _prometheus(couch)
    if rest == ["_versions"]:
        return json_reply({"javascript_engine": {"name": "quickjs"}, "python": {"version": sys.version.split()[0]}})
    raise not_implemented("/".join(request.segments))


def _statistics(couch: Couch) -> dict[str, Any]:
    """The statistics, in the form of CouchDB's `_stats`."""

    def counter(value: int, words: str) -> dict[str, Any]:
        return {"value": value, "type": "counter", "desc": words}

    codes = {str(code): counter(count, f"number of HTTP {code} responses") for code, count in
             sorted(couch.requests.items())}  # fmt: skip
    return {
        "httpd": {"requests": counter(sum(couch.requests.values()), "number of HTTP requests")},
        "httpd_status_codes": codes,
        "open_databases": counter(len(couch.databases.names()), "number of databases"),
    }


def _system(couch: Couch) -> dict[str, Any]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "uptime": int(time.time() - couch.started),
        "memory": {"processes": used.ru_maxrss * 1024},
        "os_proc_count": 0,
        "process_count": 1,
        "process_limit": 1,
        "run_queue": 0,
        "pid": os.getpid(),
    }


def _prometheus(couch: Couch) -> Reply:
    lines = ["# TYPE couchdb_httpd_requests_total counter",
             f"couchdb_httpd_requests_total {sum(couch.requests.values())}",
             "# TYPE couchdb_httpd_status_codes counter"]  # fmt: skip
    lines += [f'couchdb_httpd_status_codes{{code="{code}"}} {n}' for code, n in sorted(couch.requests.items())]
    lines += ["# TYPE couchdb_uptime_seconds counter", f"couchdb_uptime_seconds {int(time.time() - couch.started)}"]
    return Reply(200, ("\n".join(lines) + "\n").encode(), {"Content-Type": "text/plain; version=2.0"})


def config(couch: Couch, request: Request, path: list[str]) -> Reply:
    """Answer `/_node/_local/_config`: the settings that this server supports; others cannot be set."""
    request.allow("GET", "HEAD", "PUT", "DELETE", "POST")
    if request.method == "POST":
        if path == ["_reload"]:
            return json_reply({"ok": True})
        raise not_found("missing")
    values = couch.settings.values
    if request.method in ("PUT", "DELETE"):
        return _configure(couch, request, path)
    if not path:
        return json_reply(values)
    section = values.get(path[0], {})
    if len(path) == 1:
        return json_reply(section)
    if len(path) > 2 or path[1] not in section:
        raise not_found("unknown_config_value")
    return json_reply(section[path[1]])


def _configure(couch: Couch, request: Request, path: list[str]) -> Reply:
    """Change a setting until the server ends; the answer is its previous value."""
    if len(path) == 2 and path[0] == "admins":
        return _configure_admin(couch, request, path[1])
    section = couch.settings.values.get(path[0], {}) if path else {}
    if len(path) != 2 or path[1] not in section or request.method == "DELETE":
        raise not_implemented(f"the setting {'/'.join(path)}")
    value = request.json()
    if not isinstance(value, str):
        raise bad_request("The value of a setting must be a JSON string")
    couch.settings.check(path[0], path[1], value)
    before, section[path[1]] = section[path[1]], value
    return json_reply(before)


def _configure_admin(couch: Couch, request: Request, name: str) -> Reply:
    """Create, change or remove a server admin."""
    if request.method == "PUT":
        password = request.json()
        if not isinstance(password, str):
            raise bad_request("The password must be a JSON string")
        couch.auth.set_admin(name, password)
        return json_reply("")
    if name not in couch.auth.admin_names:
        raise not_found("unknown_config_value")
    couch.auth.remove_admin(name)
    return json_reply("")


def replicate(couch: Couch, request: Request) -> Any:
    """Answer `POST /_replicate`."""
    from tornado_couch.embedded.handlers.replicate import post_replicate

    return post_replicate(couch, request)


def scheduler(couch: Couch, request: Request) -> Any:
    """Answer `/_scheduler/…`."""
    from tornado_couch.embedded.handlers.replicate import scheduler as answer

    return answer(couch, request)


def session(couch: Couch, request: Request) -> Any:
    """Answer `/_session`."""
    from tornado_couch.embedded.handlers.session import session as answer

    return answer(couch, request)


def not_here(_couch: Couch, request: Request) -> Reply:
    """Refuse a path that CouchDB has but this server does not support."""
    raise not_implemented(f"/{request.segments[0]}")


_PATHS = {
    "_up": up,
    "_uuids": uuids,
    "_all_dbs": all_dbs,
    "_dbs_info": dbs_info,
    "_db_updates": db_updates,
    "_active_tasks": active_tasks,
    "_membership": membership,
    "_cluster_setup": cluster_setup,
    "_node": node,
    "_replicate": replicate,
    "_scheduler": scheduler,
    "_session": session,
    "_reshard": not_here,
    "_utils": not_here,
    "_search_analyze": not_here,
    "_nouveau_analyze": not_here,
    "favicon.ico": favicon,
}
_WHOLE = frozenset(_PATHS) - {"_node", "_scheduler", "_reshard", "_utils", "_session"}


def server_path(couch: Couch, request: Request) -> Any:
    """Answer a path that does not belong to a database."""
    if not request.segments:
        return welcome(couch, request)
    name = request.segments[0]
    found = _PATHS.get(name)
    if found is None or (name in _WHOLE and len(request.segments) > 1):
        raise no_database()
    return found(couch, request)


def is_server_path(name: str) -> bool:
    """Whether the first part of a path belongs to the server, so that it is not a database."""
    return name in _PATHS
