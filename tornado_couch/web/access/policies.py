"""Policies: who may do what with a mounted resource.

    resource("/v1.0/fruits", Fruit, store, policy=Authenticated(BasicAccounts(store), read_anonymous=True))

A handler asks a policy in this order, and the order is the contract of 401, 403 and 404:

1. `authenticate(request)`: who sends the request? This comes before anything else.
2. `authorize(principal, action, model, None)`: may they do this at all? This comes before anything is read.
3. `restriction(principal, model)` for a list, `initial(principal, model)` for a new document. A policy that judges
   single documents (`judges`) is also asked about each item of a list, and those that it refuses are left out.
4. `authorize(principal, action, model, document)` once the document is known, before preconditions;
   for a write at *each* try, on the document as it was just read and before it is changed.
5. `authorize(principal, "retrieve", model, document)` for each document that a write comes to refer to, that is
   embedded, or that a nested collection is under, by the policies of its own resources; "patch" or "destroy" for each
   that changes or goes when a document is deleted that it refers to.

A model that keeps old versions or deleted documents has three more actions: "versions", to see earlier versions;
"deleted", to see deleted documents, which is asked in addition to "list", "retrieve" or "versions"; and "restore",
to bring a deleted document back. The routes of the metrics ask about "metrics". An action of the service, such as
"cancel", is asked about by its own name, and counts as a write.

Policies combine: `a & b` allows what both allow, `a | b` what either allows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from functools import reduce
from typing import Any

from pydantic import ValidationError
from tornado.httputil import HTTPServerRequest

from ...errors import DocumentNotFound
from ...models import Model, model_info
from ..action_table import QUESTIONS, is_read
from ..problems import Problem
from .principals import Authenticator, Principal, identifying_field, unauthenticated, with_challenges

__all__ = [
    "AllOf",
    "AllowAny",
    "AnyOf",
    "Authenticated",
    "Authenticator",
    "Hidden",
    "Members",
    "Owner",
    "Policy",
    "Principal",
    "ReadOnly",
    "Roles",
]


class Hidden(Problem, DocumentNotFound):
    """404: the document exists, but this caller must not know about it.

    It is a `DocumentNotFound`, so that code that handles a missing document handles this one the same way:
    any difference in the answer would reveal that the document exists.
    """

    def __init__(self) -> None:
        super().__init__(404, detail="There is no such document.")


class Policy:
    """Says who sends a request and what they may do. This base class lets everybody do everything.

    Args:
        authenticators: they find out who sends a request; the first that recognises its credentials decides.

    Attributes:
        needs_principal: whether some action requires logging in, so that an authenticator is needed.
    """

    needs_principal = False

    def __init__(self, *authenticators: Authenticator) -> None:
        self.authenticators: tuple[Authenticator, ...] = authenticators

    @property
    def challenges(self) -> tuple[str, ...]:
        """The challenges of a 401: each authenticator's, without duplicates."""
        return tuple(dict.fromkeys(each.challenge for each in self.authenticators))

    @property
    def vary(self) -> tuple[str, ...]:
        """The header fields of a request that say who sends it, for `Vary`; see `identifying_field`."""
        return tuple(dict.fromkeys(filter(None, map(identifying_field, self.authenticators))))

    @property
    def restricts(self) -> bool:
        """Whether `restriction` may limit lists."""
        return type(self).restriction is not Policy.restriction

    @property
    def judges(self) -> bool:
        """Whether `authorize` may refuse to read one document of a list and let another one through.

        The policy is then asked about each item of a list, and nobody gets counts and reductions, since they would
        include what it refuses. This holds for every `authorize` that is not the package's own. If yours looks at no
        document before it allows a read, or allows what `restriction` selects, say `judges = False` in the class.
        """
        return type(self).authorize.__module__ != __name__

    async def authenticate(self, request: HTTPServerRequest) -> Principal | None:
        """Return who sends the request; None if anonymous.

        Raises:
            Problem: 401, the request has credentials that are malformed or wrong.
        """
        try:
            for each in self.authenticators:
                if (principal := await each.authenticate(request)) is not None:
                    return principal
        except Problem as problem:
            raise self.offering(problem) from None
        return None

    async def authorize(
        self, principal: Principal | None, action: str, model: type[Model], document: Model | None = None
    ) -> None:
        """Let the action through, or raise a problem.

        Args:
            principal: who sends the request; None if anonymous.
            action: one of `QUESTIONS`, which follow from the table of actions, or the name of an action of the service.
            model: the resource's model.
            document: None before anything is read; later the document as it is stored now.

        Raises:
            Problem: 401, logging in could help; 403, it could not; 405, nobody can do this here.
            Hidden: 404, the caller must not know that the document exists.
        """

    def restriction(self, principal: Principal | None, model: type[Model]) -> tuple[str, Any] | None:  # noqa: ARG002
        """Return the indexed property (its name in JSON) and its value that limit a list; None for no limit.

        A set stands for several values: the list has the documents with one of them. Each is a part of the index that
        a page reads, so there should be dozens at most.
        """
        return None

    def limits(self, model: type[Model]) -> frozenset[str]:  # noqa: ARG002
        """Return the properties that `restriction` may limit lists by, as far as that is known when it is mounted."""
        return frozenset()

    def initial(self, principal: Principal | None, model: type[Model]) -> dict[str, Any]:  # noqa: ARG002
        """Return values for a new document, by name in JSON; they replace those that the client sent."""
        return {}

    def initial_under(
        self, principal: Principal | None, model: type[Model], under: Mapping[str, Any]  # noqa: ARG002
    ) -> dict[str, Any]:
        """Return what `initial` does, for a new document of a nested collection.

        Args:
            principal: who sends the request; None if anonymous.
            model: the resource's model.
            under: the values that the address gives to properties; what is returned replaces them.
        """
        return self.initial(principal, model)

    def offers(self, action: str) -> bool:  # noqa: ARG002
        """Whether anybody at all could do this; if not, the method is answered with 405 and missing from `Allow`."""
        return True

    @property
    def named(self) -> frozenset[str]:
        """The actions that the policy has rules for by their names; an `Application` refuses those that do not exist.

        An action of the service that no policy names counts as a write.
        """
        return frozenset()

    def check_named(self, own: Collection[str]) -> None:
        """Refuse a rule for an action that does not exist, such as one with a typing error in it.

        Args:
            own: the service's own actions, of all resources with this policy.

        Raises:
            ValueError: there is no such action.
        """
        known = {*QUESTIONS, *own}
        for name in sorted(self.named - known):
            raise ValueError(f"the policy has a rule for {name!r}, but there is no such action, only {sorted(known)}")

    def check(self, model: type[Model]) -> None:
        """Refuse, when the resource is mounted, a policy that could never work. To add checks, override `check_model`.

        Raises:
            ValueError: the policy could never work; the message says what to change.
        """
        if self.needs_principal and not self.authenticators:
            raise ValueError(
                f"{type(self).__name__}: nobody could ever log in; add an authenticator, such as"
                " BasicAccounts(store), or combine it with a policy that has one"
            )
        self.check_model(model)

    def check_model(self, model: type[Model]) -> None:
        """Refuse a model that this policy cannot work with.

        Raises:
            ValueError: the model does not fit; the message says what to change.
        """

    def __and__(self, other: Policy) -> AllOf:
        return AllOf(self, other)

    def __or__(self, other: Policy) -> AnyOf:
        return AnyOf(self, other)

    def offering(self, problem: Problem) -> Problem:
        """Return the problem with this policy's challenges, if it is a 401."""
        if problem.status_code == 401 and self.challenges:
            return with_challenges(problem, self.challenges)
        return problem

    def _anonymous(self) -> Problem:
        return unauthenticated("This needs credentials.", self.challenges)


class AllowAny(Policy):
    """Everybody may do everything. It must be explicit: a resource without a policy does not mount.

    With authenticators it still finds out who sends a request, and refuses wrong credentials.
    """


class Authenticated(Policy):
    """Everybody who has logged in may do everything.

    Args:
        authenticators: at least one.
        read_anonymous: whether everybody may read.
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
        """Let through requests of users who have logged in."""
        if principal is None and not (self.read_anonymous and is_read(action)):
            raise self._anonymous()


class Roles(Policy):
    """Requires one of certain roles for each action.

        Authenticated(accounts) & Roles({"destroy": {"admin"}, "*": None})

    Args:
        roles: for each action, the roles of which the user needs one; None requires only a login. "*" stands
          for every action that is not named; without it, such actions are refused.
        authenticators: can be left out if the policy is combined with one that has them.

    Raises:
        ValueError: the roles of an action are not a set. The `Application` raises it for an action that none of the
            resources with this policy has.
    """

    needs_principal = True

    def __init__(self, roles: Mapping[str, Collection[str] | None], *authenticators: Authenticator) -> None:
        super().__init__(*authenticators)
        for action, needed in roles.items():
            if isinstance(needed, str):  # its letters would become the roles
                raise ValueError(f"Roles: {action!r} needs a set of roles, not the string {needed!r}")
        self._roles = {action: None if needed is None else frozenset(needed) for action, needed in roles.items()}

    @property
    def named(self) -> frozenset[str]:
        """The actions that have roles of their own."""
        return frozenset(self._roles) - {"*"}

    async def authorize(
        self,
        principal: Principal | None,
        action: str,
        model: type[Model],  # noqa: ARG002
        document: Model | None = None,  # noqa: ARG002
    ) -> None:
        """Let through users who have a role for the action."""
        needed = self._roles.get(action, self._roles.get("*", frozenset()))
        if principal is None:
            raise self._anonymous()
        if needed is not None and needed.isdisjoint(principal.roles):
            raise Problem(403, detail="None of your roles allows this.")


class _Limiting(Policy):
    """What `Owner` and `Members` share: who sees a document follows from the value of one of its properties.

    Args:
        property_name: the property (its name in JSON).
        authenticators: can be left out if the policy is combined with one that has them.
        admin_role: users with this role see and change everything.
    """

    needs_principal = True

    def __init__(self, property_name: str, *authenticators: Authenticator, admin_role: str | None = None) -> None:
        super().__init__(*authenticators)
        self.property_name = property_name
        self.admin_role = admin_role

    def limits(self, model: type[Model]) -> frozenset[str]:  # noqa: ARG002
        """Return the property that decides."""
        return frozenset([self.property_name]) if self.restricts else frozenset()

    def _is_admin(self, principal: Principal) -> bool:
        return self.admin_role in principal.roles

    def _value_of(self, document: Model) -> Any:
        info = model_info(type(document))
        return info.stored_value(self.property_name, getattr(document, info.properties[self.property_name].attribute))

    def _stored(self, model: type[Model], text: str) -> Any:
        """Return a value as the property stores it, since its type may store another form.

        Raises:
            ValidationError: the property cannot hold it.
        """
        info = model_info(model)
        return info.stored_value(self.property_name, info.adapters[self.property_name].validate_python(text))


class Members(_Limiting):
    """A document belongs to a group, such as a team; whoever is not in the group cannot tell that it exists.

        team: Annotated[str, Indexed(), Scope()]

        Members("team", accounts)                    the groups are the caller's roles
        Members("team", accounts, groups=teams_of)   or what a function says

    Whoever is in a group may create documents in it, and may hand a document over to any other group, unless the
    property is `ReadOnly()`. Lists are limited through the property's index: each group of the caller is a part of it
    that a page reads, so a caller should be in dozens of groups at most. Reduced views are refused, because they would
    count the documents of others.

    Args:
        property_name: the property (its name in JSON) that holds the name of a group.
        authenticators: can be left out if the policy is combined with one that has them.
        groups: returns the groups of a principal; by default, these are its roles.
        admin_role: users with this role see and change everything.
    """

    def __init__(
        self,
        property_name: str,
        *authenticators: Authenticator,
        groups: Callable[[Principal], Collection[str]] | None = None,
        admin_role: str | None = None,
    ) -> None:
        super().__init__(property_name, *authenticators, admin_role=admin_role)
        self._groups = groups or (lambda principal: principal.roles)

    async def authorize(
        self, principal: Principal | None, action: str, model: type[Model], document: Model | None = None
    ) -> None:
        """Let through who is in the document's group, and admins."""
        if principal is None:
            raise self._anonymous()
        if self._is_admin(principal):
            return
        if action == "reduce":
            raise Problem(403, detail="This would count documents of other groups.")
        if document is not None and self._value_of(document) not in self._values(principal, model):
            raise Problem(403, detail="You are not in this group.") if action == "create" else Hidden()

    def restriction(self, principal: Principal | None, model: type[Model]) -> tuple[str, Any] | None:
        """Return a limit to the documents of the caller's groups; none for admins."""
        if principal is None:  # `authorize` has refused already; a handler that did not call it must not leak
            raise self._anonymous()
        return None if self._is_admin(principal) else (self.property_name, self._values(principal, model))

    def check_model(self, model: type[Model]) -> None:
        """Refuse a model whose property is missing, not indexed, or not a text."""
        name, declared = self.property_name, model_info(model).properties.get(self.property_name)
        wanted = f"{name}: Annotated[str, Indexed(), Scope()]"
        if declared is None:
            raise ValueError(f"Members: {model.__name__} has no property {name!r}; declare `{wanted}`")
        if declared.generated or declared.stamp or not _holds_text(model, name):
            raise ValueError(f"Members: {model.__name__}.{name} cannot hold a group's name; declare `{wanted}`")
        if not declared.indexed:
            raise ValueError(f"Members: {model.__name__}.{name} has no index to limit lists by; declare `{wanted}`")

    def _values(self, principal: Principal, model: type[Model]) -> frozenset[Any]:
        """Return the caller's groups as the property stores them, without those that it cannot hold."""
        found = set()
        for each in self._groups(principal):
            with suppress(ValidationError):
                found.add(self._stored(model, each))
        return frozenset(found)


class Owner(_Limiting):
    """A document belongs to the user who created it; others cannot tell that it exists.

        owner: Annotated[str | None, ReadOnly(), Indexed()] = None

    Lists are limited through the property's index. Reduced views are refused, because they would count the
    documents of others.

    Args:
        property_name: the property (its name in JSON) that holds the principal's name.
        authenticators: can be left out if the policy is combined with one that has them.
        admin_role: users with this role see and change everything; they own what they create, except in a nested
          collection whose address names the owner, such as `/customers/{customer_id}/orders`.
        public_read: whether everybody, anonymous users included, may read everything; only the owner may
          write then, and writing to another's document is answered with 403.
    """

    def __init__(
        self,
        property_name: str,
        *authenticators: Authenticator,
        admin_role: str | None = None,
        public_read: bool = False,
    ) -> None:
        super().__init__(property_name, *authenticators, admin_role=admin_role)
        self.public_read = public_read

    @property
    def restricts(self) -> bool:
        """Whether lists are limited; they are not if everybody may read."""
        return not self.public_read

    async def authorize(
        self, principal: Principal | None, action: str, model: type[Model], document: Model | None = None
    ) -> None:
        """Let through the owner and admins, and readers if everybody may read."""
        if self.public_read and is_read(action):
            return
        if principal is None:
            raise self._anonymous()
        if self._is_admin(principal):
            return
        if action == "reduce":
            raise Problem(403, detail="This would count documents of other users.")
        if document is not None and self._value_of(document) != self._name_in(model, principal):
            raise Problem(403, detail="This document belongs to somebody else.") if self.public_read else Hidden()

    def restriction(self, principal: Principal | None, model: type[Model]) -> tuple[str, Any] | None:
        """Return a limit to the caller's own documents; none for admins, or if everybody may read."""
        if self.public_read or (principal and self._is_admin(principal)):
            return None
        if principal is None:  # `authorize` has refused already; a handler that did not call it must not leak
            raise self._anonymous()
        return self.property_name, self._name_in(model, principal)

    def initial(self, principal: Principal | None, model: type[Model]) -> dict[str, Any]:
        """Make the caller the owner of the new document."""
        if principal is None:
            raise self._anonymous()
        return {self.property_name: self._name_in(model, principal)}

    def initial_under(
        self, principal: Principal | None, model: type[Model], under: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Make the caller the owner, or leave it to the address if an admin creates something for somebody else."""
        if self.property_name in under and principal is not None and self._is_admin(principal):
            return {}
        return self.initial(principal, model)

    def check_model(self, model: type[Model]) -> None:
        """Refuse a model whose owner property is missing, settable by clients, not indexed, or not a text."""
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

    def _name_in(self, model: type[Model], principal: Principal) -> Any:
        try:
            return self._stored(model, principal.name)
        except ValidationError:
            raise Problem(403, detail="Your name cannot be stored as an owner's name here.") from None


def _holds_text(model: type[Model], name: str) -> bool:
    schema = model_info(model).adapters[name].json_schema()
    return any(each.get("type") == "string" for each in [schema, *schema.get("anyOf", [])])


class _Combined(Policy):
    """The parts that combinations share: authenticating, initial values and checks apply every part's."""

    def __init__(self, *parts: Policy) -> None:
        found = dict.fromkeys(each for part in parts for each in part.authenticators)
        super().__init__(*found)
        self.parts = parts
        self.needs_principal = any(part.needs_principal for part in parts)

    @property
    def restricts(self) -> bool:
        """Whether any part limits lists."""
        return any(part.restricts for part in self.parts)

    @property
    def judges(self) -> bool:
        """Whether any part judges single documents."""
        return super().judges or any(part.judges for part in self.parts)

    @property
    def named(self) -> frozenset[str]:
        """The actions that any part has rules for."""
        return frozenset().union(*(part.named for part in self.parts))

    async def authenticate(self, request: HTTPServerRequest) -> Principal | None:
        """Return who sends the request, from the first part that knows."""
        try:
            for part in self.parts:
                if (principal := await part.authenticate(request)) is not None:
                    return principal
        except Problem as problem:
            raise self.offering(problem) from None
        return None

    def restriction(self, principal: Principal | None, model: type[Model]) -> tuple[str, Any] | None:
        """Return the limit of the one part that has one."""
        return next((each.restriction(principal, model) for each in self.parts if each.restricts), None)

    def limits(self, model: type[Model]) -> frozenset[str]:
        """Return those of all parts."""
        return frozenset().union(*(part.limits(model) for part in self.parts))

    def initial(self, principal: Principal | None, model: type[Model]) -> dict[str, Any]:
        """Return the initial values of all parts."""
        return reduce(lambda values, part: values | part.initial(principal, model), self.parts, {})

    def initial_under(
        self, principal: Principal | None, model: type[Model], under: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the initial values of all parts, for a nested collection."""
        return reduce(lambda values, part: values | part.initial_under(principal, model, under), self.parts, {})

    def check_model(self, model: type[Model]) -> None:
        """Check the model against every part."""
        for part in self.parts:
            part.check_model(model)


class AllOf(_Combined):
    """`a & b`: allows what all parts allow; the first refusal is the answer."""

    async def authorize(
        self, principal: Principal | None, action: str, model: type[Model], document: Model | None = None
    ) -> None:
        """Let through what all parts allow."""
        try:
            for part in self.parts:
                await part.authorize(principal, action, model, document)
        except Problem as problem:
            raise self.offering(problem) from None

    def offers(self, action: str) -> bool:
        """Whether all parts offer the action."""
        return all(part.offers(action) for part in self.parts)

    def check_model(self, model: type[Model]) -> None:
        """Refuse two parts that limit lists, because one index cannot serve both."""
        if sum(part.restricts for part in self.parts) > 1:
            raise ValueError("only one policy of a combination can limit lists; one index cannot serve two")
        super().check_model(model)


# Of several refusals, the answer is the one that helps the client most, or reveals least.
_REFUSALS = (401, 404, 403, 405)


class AnyOf(_Combined):
    """`a | b`: allows what at least one part allows. No part may limit lists, as it is unclear which would apply."""

    async def authorize(
        self, principal: Principal | None, action: str, model: type[Model], document: Model | None = None
    ) -> None:
        """Let through what at least one part allows."""
        refusals: list[Problem] = []
        for part in self.parts:
            try:
                return await part.authorize(principal, action, model, document)
            except Problem as problem:
                refusals.append(problem)
        ranks = {status: rank for rank, status in enumerate(_REFUSALS)}
        raise self.offering(min(refusals, key=lambda problem: ranks.get(problem.status_code, -1)))

    def offers(self, action: str) -> bool:
        """Whether at least one part offers the action."""
        return any(part.offers(action) for part in self.parts)

    def check_model(self, model: type[Model]) -> None:
        """Refuse parts that limit lists, such as Owner."""
        if self.restricts:
            raise ValueError(
                "a policy that limits lists cannot be an alternative (`|`); Owner has `admin_role` and"
                " `public_read` for that"
            )
        super().check_model(model)


# They change nothing, but are not meant where everybody may read.
_CLOSED_READS = ("deleted", "metrics")


class ReadOnly(AllOf):
    """Nobody may write; the policy inside decides who reads, or everybody does. A write is answered with 405.

    ReadOnly()                           everybody reads
    ReadOnly(Authenticated(accounts))    users who have logged in read
    ReadOnly() | Authenticated(accounts) everybody reads, users who have logged in also write
    """

    async def authorize(
        self, principal: Principal | None, action: str, model: type[Model], document: Model | None = None
    ) -> None:
        """Let reads through to the policy inside; without one, refuse deleted documents and the metrics."""
        if action in _CLOSED_READS and not self.parts:
            raise Problem(403, detail="Deleted documents and metrics are not open to everybody.")
        if not is_read(action) and action not in _CLOSED_READS:
            raise Problem(405, detail="This resource is read-only.")
        await super().authorize(principal, action, model, document)

    def offers(self, action: str) -> bool:
        """Only reads."""
        return is_read(action) and super().offers(action)
