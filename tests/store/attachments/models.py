"""The models with files that these tests share."""

from __future__ import annotations

from typing import Annotated

from tornado_couch import (
    Attachment,
    Attachments,
    Encrypted,
    Key,
    MaxBytes,
    MaxItems,
    MediaTypes,
    Model,
    Store,
    Upload,
    assigned,
)

__all__ = ["PDF", "PICTURE", "TEXT", "Case", "Diary", "Letter", "Order", "Passport", "loaded", "upload"]

PDF = b"%PDF-1.7\n" + bytes(range(256)) * 40
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(255, -1, -1)) * 300  # more than a chunk of an encrypted file
TEXT = b"some text, " * 3000


class Order(Model, type="order_v1.0", key="order_id"):
    order_id: Key = assigned()
    color: str = "red"
    invoice: Annotated[Attachment | None, MediaTypes("application/pdf", "text/*"), MaxBytes(500_000)] = None
    photos: Annotated[Attachments, MediaTypes("image/*"), MaxItems(3)] = assigned()


class Letter(Model, type="letter_v1.0", key="letter_id", soft_delete=True):
    letter_id: Key = assigned()
    color: str = "red"
    invoice: Attachment | None = None
    photos: Attachments = assigned()


class Diary(Model, type="diary_v1.0", key="diary_id", history=True):
    diary_id: Key = assigned()
    color: str = "red"
    invoice: Attachment | None = None
    photos: Attachments = assigned()


class Case(Model, type="case_v1.0", key="case_id"):
    """Its files are encrypted."""

    case_id: Key = assigned()
    color: str = "red"
    invoice: Annotated[Attachment | None, Encrypted()] = None
    photos: Annotated[Attachments, Encrypted()] = assigned()


class Passport(Model, type="passport_v1.0", key="passport_id"):
    """It is never without its scan."""

    passport_id: Key = assigned()
    color: str = "red"
    scan: Annotated[Attachment, MediaTypes("image/*")] = assigned()


async def upload(data: bytes, content_type: str = "application/pdf") -> Upload:
    """A file that is to be stored."""
    return await Upload.spooled(data, content_type=content_type)


async def loaded(store: Store, model: Model, name: str) -> bytes:
    """The bytes of a file."""
    async with store.open_attachment(model, name) as file:
        return await file.read()
