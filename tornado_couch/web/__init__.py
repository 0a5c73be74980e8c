"""Tornado handlers: resources, problem details, preconditions, paging."""

from __future__ import annotations

from .bodies import BodyLimits
from .handlers import ResourceHandler
from .list_query import ListQuery
from .listing import ListMixin
from .mixins import CreateMixin, DestroyMixin, ReplaceMixin, RetrieveMixin
from .preconditions import EntityTag, Preconditions, entity_tag, parse_entity_tags
from .problems import NotFoundHandler, Problem, ProblemHandler, problem_settings
from .resources import Resource
from .routes import CollectionHandler, DocumentHandler, resource

__all__ = [
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
    "problem_settings",
    "resource",
]
