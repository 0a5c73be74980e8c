"""Tornado handlers: resources, problem details, preconditions, paging, policies."""

from __future__ import annotations

from .accounts import Account, change_password, create_account
from .application import Application
from .authenticators import BasicAccounts, BearerJWT
from .bodies import BodyLimits
from .cors import Cors
from .deprecation import Deprecation
from .docs_page import docs_routes
from .handlers import ResourceHandler
from .health import health_routes
from .hooks import Event, Hooks
from .list_query import ListQuery
from .listing import ListMixin
from .metrics import metrics_routes
from .mixins import CreateMixin, DestroyMixin, PatchMixin, ReplaceMixin, RetrieveMixin
from .openapi.document import ApiInfo, openapi_document
from .openapi.operation import ApiOperation
from .openapi.routes import openapi_routes
from .policies import AllowAny, Authenticated, Owner, Policy, ReadOnly, Roles
from .preconditions import EntityTag, Preconditions, entity_tag, parse_entity_tags
from .principals import Authenticator, Principal
from .problems import NotFoundHandler, Problem, ProblemHandler
from .rate_limit import RateLimit
from .reductions import ReductionHandler
from .resources import Resource
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
