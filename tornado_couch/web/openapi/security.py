"""Describes the security schemes of policies in an API document.

An authenticator of your own names its scheme in an attribute; otherwise the scheme follows from the challenge:

    class ByKey:
        challenge = "ApiKey"
        security_scheme = {"type": "apiKey", "in": "header", "name": "X-Api-Key"}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...models import Model
from ..access import Authenticator, Policy
from .components import Components
from .operation import ApiOperation

__all__ = ["describe_access", "requirements", "scheme_of"]


def scheme_of(authenticator: Authenticator) -> dict[str, Any]:
    """The Security Scheme Object (OpenAPI 3.1 §4.8.27) of an authenticator."""
    own = getattr(authenticator, "security_scheme", None)
    if isinstance(own, Mapping):
        return dict(own)
    # A registered name of an HTTP authentication scheme (RFC 9110 §16.4.1), or one like it.
    return {"type": "http", "scheme": authenticator.challenge.partition(" ")[0].lower()}


def _keep(components: Components, authenticator: Authenticator) -> str:
    scheme = scheme_of(authenticator)
    wanted = scheme.get("scheme") or f"{scheme.get('in', '')}_{scheme.get('name', scheme.get('type', ''))}"
    name = components.name("securitySchemes", wanted.strip("_"), repr(scheme))
    components.put("securitySchemes", name, scheme)
    return name


def requirements(components: Components, policy: Policy, action: str, model: type[Model]) -> list[dict[str, list[str]]]:
    """The Security Requirement Objects of an action: one of them is enough; an empty one allows anonymous callers."""
    found: list[dict[str, list[str]]] = [{_keep(components, each): []} for each in policy.authenticators]
    return [{}, *found] if not found or _lets_anybody(policy, action, model) else found


def _lets_anybody(policy: Policy, action: str, model: type[Model]) -> bool:
    """Whether an anonymous caller may try it; if a policy has to wait before it can tell, the answer is no."""
    asked = policy.authorize(None, action, model, None)
    try:
        asked.send(None)
    except StopIteration:
        return True
    except Exception:  # noqa: BLE001 - a policy of the service may fail without a principal
        return False
    finally:
        asked.close()
    return False


def describe_access(operation: ApiOperation, policy: Policy, action: str) -> None:
    """Describe who may call an operation, which the policy knows as an action, and how others are refused."""
    model = operation.resource.model if operation.resource is not None else Model
    operation.security = requirements(operation.components, policy, action, model)
    judged = type(policy).authorize is not Policy.authorize
    if policy.authenticators:
        # The last one stands for what an authenticator of the service may answer.
        kinds = [*(["authentication-required"] if judged else []), "invalid-credentials", ""]
        operation.fails(401, *kinds, fields=["WWW-Authenticate"])
        operation.problem("busy")
    if judged or policy.restricts:
        operation.fails(403)
