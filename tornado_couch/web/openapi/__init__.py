"""The API document (OpenAPI 3.1) of an application, made from its routes and models.

A handler describes what it does beyond the package's own actions in a class method:

    class Pressed(RetrieveMixin):
        @classmethod
        def describe(cls, operation):
            super().describe(operation)
            if operation.action == "retrieve":
                operation.query("pressed", {"type": "boolean"}, "As juice.")
"""

from __future__ import annotations

from .components import Components
from .operation import ApiOperation

__all__ = ["ApiOperation", "Components"]
