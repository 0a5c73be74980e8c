"""What the models of these tests have in common."""

from __future__ import annotations

from pydantic import BaseModel

__all__ = ["Address"]


class Address(BaseModel):
    city: str
