"""Files beside documents: taken in, stored with their documents in one write, and read in ranges."""

from __future__ import annotations

from .reader import AttachmentReader
from .upload import Source, Upload

__all__ = ["AttachmentReader", "Source", "Upload"]
