"""Tornado handlers: resources, problem details, preconditions, paging, policies."""

from __future__ import annotations

from .access import (
    Account,
    AllowAny,
    Authenticated,
    Authenticator,
    BasicAccounts,
    BearerJWT,
    Caller,
    Members,
    Owner,
    Policy,
    Principal,
    RateLimit,
    ReadOnly,
    Roles,
    change_password,
    create_account,
)
from .actions import CreateMixin, DestroyMixin, ListMixin, PatchMixin, ReductionHandler, ReplaceMixin, RetrieveMixin
from .actions.own_action import action
from .application import Application
from .bodiless import NotFoundHandler
from .handler import ResourceHandler
from .http import BodyLimits, Cors, Deprecation, EntityTag, Preconditions, entity_tag, parse_entity_tags
from .openapi.document import ApiInfo, openapi_document
from .openapi.operation import ApiOperation
from .pages.docs import docs_routes
from .pages.health import health_routes
from .pages.metrics import metrics_routes
from .pages.openapi import openapi_routes
from .problems import Problem, ProblemHandler
from .query import ListQuery
from .resources import Event, Hooks, Resource
from .routes import CollectionHandler, DocumentHandler, resource

__all__ = [
    "Account",
    "AllowAny",
    "ApiInfo",
    "ApiOperation",
    "Application",
    "Authenticated",
    "Authenticator",
    "BasicAccounts",
    "BearerJWT",
    "BodyLimits",
    "Caller",
    "CollectionHandler",
    "Cors",
    "CreateMixin",
    "Deprecation",
    "DestroyMixin",
    "DocumentHandler",
    "EntityTag",
    "Event",
    "Hooks",
    "ListMixin",
    "ListQuery",
    "Members",
    "NotFoundHandler",
    "Owner",
    "PatchMixin",
    "Policy",
    "Preconditions",
    "Principal",
    "Problem",
    "ProblemHandler",
    "RateLimit",
    "ReadOnly",
    "ReductionHandler",
    "ReplaceMixin",
    "Resource",
    "ResourceHandler",
    "RetrieveMixin",
    "Roles",
    "action",
    "change_password",
    "create_account",
    "docs_routes",
    "entity_tag",
    "health_routes",
    "metrics_routes",
    "openapi_document",
    "openapi_routes",
    "parse_entity_tags",
    "resource",
]
