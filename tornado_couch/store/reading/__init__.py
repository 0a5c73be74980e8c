"""Finds and reads documents: by id, by key, by index, and in earlier versions."""

from __future__ import annotations

from .cache import CachedAccess, ReadCache
from .planner import indexed_properties, plan
from .reader import Page, Reader, is_absent
from .reductions import Group, Groups, reduced
from .room import Room, Share, share_of_request
from .scan import Position
from .version_lists import HistoryReader
from .versions import Versions

__all__ = [
    "CachedAccess",
    "Group",
    "Groups",
    "HistoryReader",
    "Page",
    "Position",
    "ReadCache",
    "Reader",
    "Room",
    "Share",
    "Versions",
    "indexed_properties",
    "is_absent",
    "plan",
    "reduced",
    "share_of_request",
]
