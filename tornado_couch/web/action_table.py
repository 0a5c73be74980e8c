"""The table of actions: everything that a client can do with a resource, and how HTTP and the policy call it.

A new action is a row here, a module in `actions` with a method of the action's name and a `describe_…` method for
the API document, and a route that mounts it.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "ACTIONS",
    "AS_OF_DOCUMENT",
    "EVENTS",
    "JSON",
    "JSON_PATCH",
    "MERGE_PATCH",
    "NDJSON",
    "OF_ONE",
    "QUESTIONS",
    "Action",
    "is_read",
]

JSON = "application/json"
NDJSON = "application/x-ndjson"
EVENTS = "text/event-stream"
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"


@dataclass(frozen=True)
class Action:
    """One thing that a client can do with a resource.

    Attributes:
        name: what the policy and the hooks call it.
        method: the HTTP method that stands for it.
        function: the handler's method that does it; by default it has the action's name.
        takes: the media types of the request's body.
        answers: the media types of the answer; the client's `Accept` must allow one of them, if there are any.
        asks: what the policy can be asked besides the action itself.
        verb: how ids of operations in the API document begin; by default with the action's name.
        selects: whether its query string selects documents, as that of a list does.
        of_one: whether it is about one document, so that ids in the API document use the singular.
        parameters: what its query string can have, for an action that writes.
        follow: the actions that a client can go on to from the answer, as links in the API document.
        own: whether it is an action of the service, which has an address of its own.
        safe: whether it changes nothing, although its method is not GET.
    """

    name: str
    method: str
    function: str = ""
    takes: tuple[str, ...] = ()
    answers: tuple[str, ...] = (JSON,)
    asks: tuple[str, ...] = ()
    verb: str = ""
    of_one: bool = False
    parameters: tuple[str, ...] = ()
    selects: bool = False
    follow: tuple[str, ...] = ()
    own: bool = False
    safe: bool = False

    @property
    def runs(self) -> str:
        """The name of the handler's method."""
        return self.function or self.name

    @property
    def reads(self) -> bool:
        """Whether it changes nothing (RFC 9110 §9.2.1)."""
        return self.method == "GET" or self.safe


OF_ONE = ("retrieve", "replace", "patch", "destroy", "conflicts")
"""What a client can go on to from the answer with a document."""

# A handler class that has several actions of one method answers with the first of them.
ACTIONS: dict[str, Action] = {
    row.name: row
    for row in (
        Action("retrieve", "GET", asks=("versions", "deleted"), verb="get", of_one=True, follow=OF_ONE),
        Action("list", "GET", answers=(JSON, NDJSON), asks=("deleted",), follow=OF_ONE),
        Action("reduce", "GET", verb="get"),
        Action("versions", "GET", asks=("deleted",)),
        Action("conflicts", "GET", verb="list", follow=("resolve",)),
        Action("changes", "GET", answers=(JSON, EVENTS), verb="list"),
        Action("ticket", "POST", verb="create", safe=True),
        Action("create", "POST", takes=(JSON, NDJSON), of_one=True, follow=OF_ONE),
        Action("resolve", "POST", takes=(JSON,)),
        Action("bulk", "POST", takes=(JSON,), asks=("create", "replace", "destroy"), verb="post"),
        Action("replace", "PUT", takes=(JSON,), asks=("create", "restore"), of_one=True, follow=OF_ONE),
        Action("patch", "PATCH", "patch_document", takes=(MERGE_PATCH, JSON_PATCH), of_one=True, follow=OF_ONE),
        Action("destroy", "DELETE", answers=(), verb="delete", of_one=True),
        Action("patch_many", "PATCH", "patch_matching", takes=(MERGE_PATCH,), verb="patch", selects=True),
        Action("destroy_many", "DELETE", "destroy_matching", verb="delete", selects=True),
        Action("retrieve_file", "GET", answers=(), verb="get", of_one=True),
        Action("list_files", "GET", verb="list"),
        Action("replace_file", "PUT", verb="put", of_one=True),
        Action("add_file", "POST", verb="add", of_one=True),
        Action("destroy_file", "DELETE", answers=(), verb="delete", of_one=True),
    )
}

AS_OF_DOCUMENT = {
    "retrieve_file": "retrieve",
    "list_files": "retrieve",
    **dict.fromkeys(("replace_file", "add_file", "destroy_file"), "patch"),
}
"""What a policy is asked about a file: what it is asked about the document that has it."""

_FOR_MANY = {"bulk", "patch_many", "destroy_many"}
_AS_LIST = {"changes", "ticket"}
QUESTIONS = frozenset(
    {*ACTIONS, *(each for row in ACTIONS.values() for each in row.asks), "metrics"}
    - _FOR_MANY
    - _AS_LIST
    - AS_OF_DOCUMENT.keys()
)
"""Everything that a policy is asked: a request for many documents asks about what is done to each of them instead.

Whoever may list a collection may follow its changes; whoever may retrieve or patch a document may read or write its
files.

"metrics" is asked by the routes of the metrics, which belong to no resource.
"""


def is_read(name: str) -> bool:
    """Whether an action changes nothing; a question that is not an action, such as "deleted", counts as a write."""
    row = ACTIONS.get(name)
    return row is not None and row.reads
