"""Tornado handlers: resources, problem details, preconditions, paging."""

from __future__ import annotations

from .bodies import BodyLimits
from .application import Application
from .handlers import ResourceHandler
from .hooks import Event, Hooks
from .list_query import ListQuery
from .listing import ListMixin
from .mixins import CreateMixin, DestroyMixin, PatchMixin, ReplaceMixin, RetrieveMixin
from .policies import AllowAny, Policy
from .preconditions import EntityTag, Preconditions, entity_tag, parse_entity_tags
from .problems import NotFoundHandler, Problem, ProblemHandler
from .resources import Resource
from .routes import CollectionHandler, DocumentHandler, resource

__all__ = [
    "AllowAny",
    "Application",
    "Event",
    "Hooks",
    "PatchMixin",
    "Policy",
    "BodyLimits",
    "CollectionHandler",
    "CreateMixin",
    "DestroyMixin",
    "DocumentHandler",
    "EntityTag",
    "ListMixin",
    "ListQuery",
    "NotFoundHandler",
    "Preconditions",
    "Problem",
    "ProblemHandler",
    "ReplaceMixin",
    "Resource",
    "ResourceHandler",
    "RetrieveMixin",
    "entity_tag",
    "parse_entity_tags",
    "resource",
]
