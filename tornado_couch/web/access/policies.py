"""Policies: who may do what with a mounted resource.

    resource("/v1.0/fruits", Fruit, store, policy=Authenticated(BasicAccounts(store), read_anonymous=True))

A handler asks a policy in this order, and the order is the contract of 401, 403 and 404:

1. `authenticate(request)`: who is it? Before anything else.
2. `authorize(principal, action, model, None)`: may they do this at all? Before anything is read.
3. `restriction(principal, model)` for a list, `initial(principal, model)` for a new document.
4. `authorize(principal, action, model, document)` once the document is known, before preconditions;
   for a write at *each* try, on the document as it was just read and before it is changed.

Where a model keeps more than what is, there are three actions more: "versions", to see what a document was; "deleted",
to see those that are deleted, which is asked besides "list", "retrieve" or "versions"; "restore", to bring one back.

Policies combine: `a & b` lets through what both do, `a | b` what either does.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import reduce
from typing import Any

from pydantic import ValidationError
from tornado.httputil import HTTPServerRequest

from ...errors import DocumentNotFound
from ...models import Model, model_info
from ..problems import Problem
from .principals import Authenticator, Principal, unauthenticated, with_challenges

__all__ = [
    "ACTIONS",
    "READS",
    "AllOf",
    "AllowAny",
    "AnyOf",
    "Authenticated",
    "Authenticator",
    "Hidden",
    "Owner",
    "Policy",
    "Principal",
    "ReadOnly",
    "Roles",
]

READS = frozenset({"conflicts", "list", "reduce", "retrieve", "versions"})
ACTIONS = READS | {"create", "replace", "patch", "destroy", "deleted", "resolve", "restore"}


class Hidden(Problem, DocumentNotFound):
    """404: there is a document, and this caller may not know of it.

    It is a `DocumentNotFound`, so that whoever handles a missing document handles this one alike:
    an answer that differed in anything would tell that the document exists.
    """

    def __init__(self) -> None:
        super().__init__(404, detail="There is no such document.")


class Policy:
    """Says who calls and what they may do. By itself it lets everybody do everything.

    Args:
        authenticators: what finds out who calls; the first that recognises its credentials decides.

    Attributes:
        needs_principal: somebody must log in for something, so that an authenticator is needed.
    """

    needs_principal = False

    def __init__(self, *authenticators: Authenticator) -> None:
        self.authenticators: tuple[Authenticator, ...] = authenticators

    @property
    def challenges(self) -> tuple[str, ...]:
        """What a 401 asks for: each authenticator's challenge once."""
        return tuple(dict.fromkeys(each.challenge for each in self.authenticators))

    @property
    def restricts(self) -> bool:
        """Whether `restriction` may limit a list."""
        return type(self).restriction is not Policy.restriction

    async def authenticate(self, request: HTTPServerRequest) -> Principal | None:
        """Who sends the request; None is anonymous.

        Raises:
            Problem: 401, there are credentials and they are malformed or wrong.
        """
        try:
            for each in self.authenticators:
                if (principal := await each.authenticate(request)) is not None:
                    return principal
        except Problem as problem:
            raise self._offering(problem) from None
        return None

    async def authorize(
        self, principal: Principal | None, action: str, model: type[Model], document: Model | None = None
    ) -> None:
        """Let the action through, or raise.

        Args:
            principal: who calls; None is anonymous.
            action: one of `ACTIONS`.
            model: of the resource.
            document: None before anything is read; then the document, as it is stored now.

        Raises:
            Problem: 401, logging in could help; 403, it could not; 405, nobody can do this here.
            Hidden: 404, the caller may not know that the document exists.
        """

    def restriction(self, principal: Principal | None, model: type[Model]) -> tuple[str, Any] | None:  # noqa: ARG002
        """What a list is limited to: an indexed property (its name in JSON) and its stored value; None is no limit."""
        return None

    def initial(self, principal: Principal | None, model: type[Model]) -> dict[str, Any]:  # noqa: ARG002
        """Values that a new document is given, by name in JSON; they go over what the client sent."""
        return {}

    def offers(self, action: str) -> bool:  # noqa: ARG002
        """Whether anybody at all could do this: where not, the method is 405 and not part of `Allow`."""
        return True

    def check(self, model: type[Model]) -> None:
        """Refuse, when the resource is mounted, what could never work. Override `check_model` to add to it.

        Raises:
            ValueError: saying what to change.
        """
        if self.needs_principal and not self.authenticators:
            raise ValueError(
                f"{type(self).__name__}: nobody could ever log in; give it an authenticator, such as"
                " BasicAccounts(store), or combine it with a policy that has one"
            )
        self.check_model(model)

    def check_model(self, model: type[Model]) -> None:
        """Refuse a model that this policy cannot work with.

        Raises:
            ValueError: saying what to change.
        """

    def __and__(self, other: Policy) -> AllOf:
        return AllOf(self, other)

    def __or__(self, other: Policy) -> AnyOf:
        return AnyOf(self, other)

    def _offering(self, problem: Problem) -> Problem:
        return with_challenges(problem, self.challenges) if problem.status_code == 401 else problem

    def _anonymous(self) -> Problem:
        return unauthenticated("This needs credentials.", self.challenges)


class AllowAny(Policy):
    """Everybody may do everything, and has to be said: a resource without a policy does not mount.

    With authenticators it still finds out who calls, and refuses wrong credentials.
    """


class Authenticated(Policy):
    """Whoever has logged in may do everything.

    Args:
        authenticators: at least one.
        read_anonymous: everybody may read.
    """

    needs_principal = True

    def __init__(self, *authenticators: Authenticator, read_anonymous: bool = False) -> None:
        super().__init__(*authenticators)
        self.read_anonymous = read_anonymous

    async def authorize(
        self,
        principal: Principal | None,
        action: str,
        model: type[Model],  # noqa: ARG002
        document: Model | None = None,  # noqa: ARG002
    ) -> None:
        """Let through those who have logged in."""
        if principal is None and not (self.read_anonymous and action in READS):
            raise self._anonymous()


class Roles(Policy):
    """An action is for those who have one of its roles.

        Authenticated(accounts) & Roles({"destroy": {"admin"}, "*": None})

    Args:
        roles: by action, the roles of which one is needed; None: whoever has logged in. "*" stands
            for every action not named; without it, what is not named is refused.
        authenticators: may be left out where it is combined with a policy that has them.

    Raises:
        ValueError: there is no such action.
    """

    needs_principal = True

    def __init__(self, roles: Mapping[str, Collection[str] | None], *authenticators: Authenticator) -> None:
        super().__init__(*authenticators)
        unknown = sorted(roles.keys() - ACTIONS - {"*"})
        if unknown:
            raise ValueError(f"Roles: there is no action {unknown[0]!r}; there are {sorted(ACTIONS)} and '*'")
        for action, needed in roles.items():
            if isinstance(needed, str):  # would be taken for its letters
                raise ValueError(f"Roles: {action!r} needs a set of roles, not the string {needed!r}")
        self._roles = {action: None if needed is None else frozenset(needed) for action, needed in roles.items()}

    async def authorize(
        self,
        principal: Principal | None,
        action: str,
        model: type[Model],  # noqa: ARG002
        document: Model | None = None,  # noqa: ARG002
    ) -> None:
        """Let through those with a role for it."""
        needed = self._roles.get(action, self._roles.get("*", frozenset()))
        if principal is None:
            raise self._anonymous()
        if needed is not None and needed.isdisjoint(principal.roles):
            raise Problem(403, detail="You do not have a role that may do this.")


class Owner(Policy):
    """A document belongs to who created it; others cannot tell that it exists.

        owner: Annotated[str | None, ReadOnly(), Indexed()] = None

    A list is limited by the property's index, and a reduced view, which would count the documents
    of others, is refused.

    Args:
        property_name: the property (its name in JSON) that holds the principal's name.
        authenticators: may be left out where it is combined with a policy that has them.
        admin_role: those with this role see and change everything; what they create is theirs.
        public_read: everybody, anonymous too, reads everything; only writing is for the owner, and
            writing to another's document is then 403.
    """

    needs_principal = True

    def __init__(
        self,
        property_name: str,
        *authenticators: Authenticator,
        admin_role: str | None = None,
        public_read: bool = False,
    ) -> None:
        super().__init__(*authenticators)
        self.property_name = property_name
        self.admin_role = admin_role
        self.public_read = public_read

    @property
    def restricts(self) -> bool:
        """Whether lists are limited: not those that everybody may read."""
        return not self.public_read

    async def authorize(
        self, principal: Principal | None, action: str, model: type[Model], document: Model | None = None
    ) -> None:
        """Let through the owner, admins, and where all may read, readers."""
        if self.public_read and action in READS:
            return
        if principal is None:
            raise self._anonymous()
        if self._is_admin(principal):
            return
        if action == "reduce":
            raise Problem(403, detail="This counts documents of others.")
        if document is not None and self._owner_of(document) != self._name_in(model, principal):
            raise Problem(403, detail="This document is somebody else's.") if self.public_read else Hidden()

    def restriction(self, principal: Principal | None, model: type[Model]) -> tuple[str, Any] | None:
        """The caller's own documents; for admins, and where all may read, everything."""
        if self.public_read or (principal and self._is_admin(principal)):
            return None
        if principal is None:  # `authorize` has refused already; a handler that forgot it must not leak
            raise self._anonymous()
        return self.property_name, self._name_in(model, principal)

    def initial(self, principal: Principal | None, model: type[Model]) -> dict[str, Any]:
        """The new document is the caller's."""
        if principal is None:
            raise self._anonymous()
        return {self.property_name: self._name_in(model, principal)}

    def check_model(self, model: type[Model]) -> None:
        """Refuse a model whose owner property is missing, can be set by clients, or has no index or no text."""
        name, declared = self.property_name, model_info(model).properties.get(self.property_name)
        wanted = f"{name}: Annotated[str | None, ReadOnly(), Indexed()] = None"
        if declared is None:
            raise ValueError(f"Owner: {model.__name__} has no property {name!r}; declare `{wanted}`")
        if not declared.read_only:
            raise ValueError(f"Owner: clients could set {model.__name__}.{name} themselves; declare `{wanted}`")
        if declared.generated or declared.stamp or not _holds_text(model, name):
            raise ValueError(f"Owner: {model.__name__}.{name} cannot hold a principal's name; declare `{wanted}`")
        if self.restricts and not declared.indexed:
            raise ValueError(f"Owner: {model.__name__}.{name} has no index to limit lists by; declare `{wanted}`")

    def _is_admin(self, principal: Principal) -> bool:
        return self.admin_role in principal.roles

    def _owner_of(self, document: Model) -> Any:
        info = model_info(type(document))
        return info.stored_value(self.property_name, getattr(document, info.properties[self.property_name].attribute))

    def _name_in(self, model: type[Model], principal: Principal) -> Any:
        """The name as the property stores it: its type may write it in another form."""
        info = model_info(model)
        try:
            value = info.adapters[self.property_name].validate_python(principal.name)
        except ValidationError:
            raise Problem(403, detail="Your name cannot be that of an owner here.") from None
        return info.stored_value(self.property_name, value)


def _holds_text(model: type[Model], name: str) -> bool:
    schema = model_info(model).adapters[name].json_schema()
    return any(each.get("type") == "string" for each in [schema, *schema.get("anyOf", [])])


class _Combined(Policy):
    """What combinations share: they authenticate, set and check what any of their parts does."""

    def __init__(self, *parts: Policy) -> None:
        found = dict.fromkeys(each for part in parts for each in part.authenticators)
        super().__init__(*found)
        self.parts = parts
        self.needs_principal = any(part.needs_principal for part in parts)

    @property
    def restricts(self) -> bool:
        """Whether a part does."""
        return any(part.restricts for part in self.parts)

    async def authenticate(self, request: HTTPServerRequest) -> Principal | None:
        """Who sends the request, by the first part that knows."""
        try:
            for part in self.parts:
                if (principal := await part.authenticate(request)) is not None:
                    return principal
        except Problem as problem:
            raise self._offering(problem) from None
        return None

    def restriction(self, principal: Principal | None, model: type[Model]) -> tuple[str, Any] | None:
        """That of the one part that restricts."""
        return next((each.restriction(principal, model) for each in self.parts if each.restricts), None)

    def initial(self, principal: Principal | None, model: type[Model]) -> dict[str, Any]:
        """The values of every part."""
        return reduce(lambda values, part: values | part.initial(principal, model), self.parts, {})

    def check_model(self, model: type[Model]) -> None:
        """Check the model for every part."""
        for part in self.parts:
            part.check_model(model)


class AllOf(_Combined):
    """`a & b`: what every part lets through; the first refusal is the answer."""

    async def authorize(
        self, principal: Principal | None, action: str, model: type[Model], document: Model | None = None
    ) -> None:
        """Let through what every part does."""
        try:
            for part in self.parts:
                await part.authorize(principal, action, model, document)
        except Problem as problem:
            raise self._offering(problem) from None

    def offers(self, action: str) -> bool:
        """Whether every part does."""
        return all(part.offers(action) for part in self.parts)

    def check_model(self, model: type[Model]) -> None:
        """Refuse two parts that limit lists: one index cannot serve both."""
        if sum(part.restricts for part in self.parts) > 1:
            raise ValueError("only one policy of a combination can limit lists; one index cannot serve two")
        super().check_model(model)


# Of several refusals the one that helps most, or tells least.
_REFUSALS = (401, 404, 403, 405)


class AnyOf(_Combined):
    """`a | b`: what one part lets through. No part may limit lists: which limit would hold?"""

    async def authorize(
        self, principal: Principal | None, action: str, model: type[Model], document: Model | None = None
    ) -> None:
        """Let through what one part does."""
        refusals: list[Problem] = []
        for part in self.parts:
            try:
                return await part.authorize(principal, action, model, document)
            except Problem as problem:
                refusals.append(problem)
        ranks = {status: rank for rank, status in enumerate(_REFUSALS)}
        raise self._offering(min(refusals, key=lambda problem: ranks.get(problem.status_code, -1)))

    def offers(self, action: str) -> bool:
        """Whether one part does."""
        return any(part.offers(action) for part in self.parts)

    def check_model(self, model: type[Model]) -> None:
        """Refuse parts that limit lists, such as Owner."""
        if self.restricts:
            raise ValueError(
                "a policy that limits lists cannot be one of alternatives (`|`); Owner has `admin_role` and"
                " `public_read` for that"
            )
        super().check_model(model)


class ReadOnly(AllOf):
    """Nobody writes; reading is as the policy inside says, or for everybody. A write is 405.

    ReadOnly()                           everybody reads
    ReadOnly(Authenticated(accounts))    who has logged in reads
    ReadOnly() | Authenticated(accounts) everybody reads, who has logged in also writes
    """

    async def authorize(
        self, principal: Principal | None, action: str, model: type[Model], document: Model | None = None
    ) -> None:
        """Let reads through to the policy inside; without one, not those of what is deleted."""
        if action == "deleted" and not self.parts:
            raise Problem(403, detail="What is deleted is not for everybody.")
        if action not in READS and action != "deleted":
            raise Problem(405, detail="This resource can only be read.")
        await super().authorize(principal, action, model, document)

    def offers(self, action: str) -> bool:
        """Only reads."""
        return action in READS and super().offers(action)
