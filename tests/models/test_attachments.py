"""Properties of files: what can be declared, what a model has of them, and which names and types they take."""

from __future__ import annotations

import base64
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from tornado_couch import (
    Attachment,
    Attachments,
    Encrypted,
    Hashed,
    Indexed,
    Key,
    MaxBytes,
    MaxItems,
    MediaTypes,
    Merge,
    Model,
    Public,
    ReadOnly,
    WriteOnly,
    assigned,
)
from tornado_couch.errors import (
    AttachmentTooLarge,
    MediaTypeRefused,
    ModelDefinitionError,
    TooManyAttachments,
    ValidationFailed,
)
from tornado_couch.maintain.policy_report import policy_report
from tornado_couch.models import (
    attachment_place,
    beside_file,
    body_problems,
    from_document,
    model_info,
    record_of,
    replaced,
    representation,
    schema_at_rest,
    to_document,
    validated,
)


class Order(Model, type="order_v1.0", key="order_id"):
    order_id: Key = assigned()
    color: str = "red"
    invoice: Annotated[Attachment | None, MediaTypes("application/pdf"), MaxBytes(1000)] = None
    scan: Annotated[Attachment, Encrypted()] = assigned()
    photos: Annotated[Attachments, MediaTypes("image/*"), MaxItems(2)] = Field(alias="pictures", default=Attachments())
    secret: Annotated[Attachment | None, WriteOnly()] = None
    report: Annotated[Attachment | None, ReadOnly()] = None


FILE = {"content_type": "image/png", "length": 3, "digest": "md5-rL0Y20zC+Fzt72VPzMSk2A==", "stub": True}
FILES = dict.fromkeys(("invoice", "pictures/a b.png", "secret", "report", "foreign"), FILE)
DOCUMENT = {"_id": "1", "_rev": "1-a", "type": "order_v1.0", "order_id": "1", "color": "red", "_attachments": FILES}


def read() -> Order:
    """A model that was read."""
    return from_document(Order, DOCUMENT)


def test_a_model_has_what_its_files_are() -> None:
    """By property and name; a new model has none, and is made without those that it requires."""
    order, new = read(), Order()
    assert order.invoice == Attachment("image/png", 3, FILE["digest"])  # type: ignore[arg-type]
    assert (order.scan, list(order.photos)) == (None, ["a b.png"])
    assert (new.invoice, new.scan, new.photos) == (None, None, {})
    assert new.photos is not Order().photos
    assert (order.invoice.sha256, order.invoice.etag) == (None, FILE["digest"])


def test_a_record_says_the_sha256_as_long_as_the_file_is_the_same() -> None:
    """When another program puts another file there, CouchDB's digest is another one."""
    sha256 = base64.b64encode(bytes(32)).decode()
    record = {"invoice": {"digest": FILE["digest"], "length": 3, "sha256": sha256}}
    order = from_document(Order, {**DOCUMENT, "tornado_couch_attachments": record})
    assert order.invoice is not None
    assert (order.invoice.digest, order.invoice.sha256) == (f"sha256-{sha256}", bytes(32))
    other = {
        **DOCUMENT,
        "_attachments": {"invoice": {**FILE, "digest": "md5-other"}},
        "tornado_couch_attachments": record,
    }
    assert from_document(Order, other).invoice == Attachment("image/png", 3, "md5-other")
    for wrong in ("text", [], {"invoice": "text"}, {"invoice": {}}):
        assert record_of({**DOCUMENT, "tornado_couch_attachments": wrong}, "invoice") == {}


def test_clients_see_files_without_those_that_are_write_only() -> None:
    """By the names in JSON; nothing of CouchDB's."""
    shown = {"content_type": "image/png", "length": 3, "digest": FILE["digest"]}
    assert representation(read()) == {
        "order_id": "1", "color": "red", "invoice": shown, "pictures": {"a b.png": shown}, "report": shown
    }  # fmt: skip


def test_what_a_model_drops_is_not_written() -> None:
    """And the files of other programs stay; a file that is not there cannot be written."""
    order = read()
    assert to_document(order) == DOCUMENT
    order.invoice = None
    del order.photos["a b.png"]
    assert set(to_document(order)["_attachments"]) == {"secret", "report", "foreign"}
    order.invoice = Attachment("image/png", 3, "md5-x")
    order.scan = Attachment("image/png", 3, "md5-x")
    with pytest.raises(ValidationFailed, match="/scan: The document has no such file; attach it first"):
        to_document(order)


def test_read_only_files_stay_and_required_ones_cannot_be_dropped() -> None:
    """A body may show them, and not change them."""
    order = read()
    body = {"color": "blue", "order_id": "1"}
    assert replaced(order, {**body, "report": representation(order)["report"]}).report == order.report
    with pytest.raises(ValidationFailed, match="/report: This property is read-only"):
        replaced(order, {**body, "report": None})
    order.scan = order.invoice  # type: ignore[assignment]
    with pytest.raises(ValidationFailed, match="/scan: The document cannot be without this file"):
        replaced(order, {**body, "scan": None})


@pytest.mark.parametrize("body", [{"invoice": {}}, {"invoice": "x"}, {"pictures": {"a": FILE}}, {"scan": FILE}])
def test_a_body_that_creates_brings_no_files(body: dict[str, Any]) -> None:
    """Neither by the schema nor by the model; null says that there is none."""
    assert body_problems(Order, "create", body)
    with pytest.raises(ValidationFailed, match="Files are not sent in JSON"):
        validated(Order, body)
    assert body_problems(Order, "create", {"invoice": None, "scan": None, "pictures": {}}) == []
    assert validated(Order, {"invoice": None, "scan": None, "pictures": {}}).photos == {}


def test_a_body_that_replaces_may_show_files() -> None:
    """As they were read, with their addresses, or null; the schema at rest has no such members."""
    shown = dict.fromkeys(("invoice", "report"), FILE) | {"pictures": {"a b.png": {**FILE, "_href": "/x"}, "c": None}}
    assert body_problems(Order, "replace", {"color": "x", **shown}) == []
    assert {each["pointer"] for each in body_problems(Order, "replace", {"pictures": [], "invoice": 1})} == {
        "/pictures", "/invoice"
    }  # fmt: skip
    assert not {"invoice", "pictures", "scan"} & schema_at_rest(Order)["properties"].keys()


def test_names_of_files() -> None:
    """One in a property of many has up to 200 characters; what could be a path, or CouchDB's own, is refused."""
    place = attachment_place(Order, "pictures/Äpfel & Birnen (2).png")
    assert (place.name, place.item, place.of(read())) == (
        "pictures/Äpfel & Birnen (2).png", "Äpfel & Birnen (2).png", None
    )  # fmt: skip
    assert attachment_place(Order, "invoice").of(read()) == read().invoice
    wrong = ["", ".", "..", "_a", "a/b", "a\\b", "a\nb", "\x7f", "a" * 201, "\ud800"]
    for name in [*(f"pictures/{each}" for each in wrong), "pictures", "invoice/a", "nothing", "color"]:
        with pytest.raises(ValueError, match="file"):
            attachment_place(Order, name)


@given(st.text(min_size=1, max_size=50), st.binary(min_size=16, max_size=16))
def test_the_name_beside_another_one_is_another_one(name: str, digest: bytes) -> None:
    """It follows from name and digest alone, and keeps the extension."""
    beside = beside_file(name, "md5-" + base64.b64encode(digest).decode())
    assert beside != name
    assert beside.endswith("." + name.rpartition(".")[2]) == ("." in name)


def test_types_lengths_and_numbers_are_checked() -> None:
    """Parameters of a type do not matter; what is no type, or could not be a header, is none."""
    invoice, photos = (model_info(Order).attachments[name] for name in ("invoice", "pictures"))
    for kind in ("application/pdf", "Application/PDF; version=1.7"):
        invoice.check(kind, 1000)
    for kind in ("image/png", "application/pdfx", "", "pdf", "application/pdf; x=\r\n", "application/pdf; x=ä", "*/*"):
        with pytest.raises(MediaTypeRefused) as refused:
            invoice.check(kind, 1)
        assert refused.value.accepted == ("application/pdf",)
    with pytest.raises(AttachmentTooLarge) as large:
        invoice.check("application/pdf", 1001)
    assert large.value.limit == 1000
    assert [photos.accepts(each) for each in ("image/png", "image/svg+xml", "imagex/png", "image/*")] == [
        True, True, False, False
    ]  # fmt: skip
    photos.check_count(2)
    with pytest.raises(TooManyAttachments):
        photos.check_count(3)
    defaults = model_info(Order).attachments["scan"]
    assert (defaults.max_bytes, defaults.max_items, defaults.required) == (10_000_000, 100, True)


MARKERS: list[tuple[Any, str]] = [
    (Annotated[Attachment | None, Indexed()], "nothing can be said by Indexed"),
    (Annotated[Attachment | None, Hashed()], r"can be Public\(\) or Encrypted\(\)"),
    (Annotated[Attachment | None, Encrypted(searchable=True)], "cannot be searched"),
    (Annotated[Attachment | None, Encrypted(), Public()], r"can be Public\(\) or Encrypted\(\)"),
    (Annotated[Attachment | None, Merge.max], r"Merge.latest\(\)"),
    (Annotated[Attachment | None, Merge.latest("color")], r"Merge.latest\(\)"),
    (Annotated[Attachment | None, MaxBytes(0)], "less than 1"),
    (Attachment | str, "is `Attachment`"),
    (list[Attachment], "is `Attachment`"),
    (Attachments | None, "is `Attachment`"),
]


@pytest.mark.parametrize(("annotation", "words"), MARKERS, ids=[words for _, words in MARKERS])
def test_what_cannot_be_declared_is_refused(annotation: Any, words: str) -> None:
    """When the class is defined, with what to write instead."""
    with pytest.raises(ModelDefinitionError, match=words):
        type("Wrong", (Model,), {"__annotations__": {"file": annotation}, "__module__": __name__}, type="wrong_v1.0")


def test_files_have_to_be_classified_where_all_has_to_be() -> None:
    """As any other property."""
    with pytest.raises(ModelDefinitionError, match="'file' is not classified"):

        class Unjudged(Model, type="unjudged_v1.0", classified=True):
            file: Attachment | None = None

    class Judged(Model, type="judged_v1.0", classified=True):
        file: Annotated[Attachment | None, Public()] = None

    assert [(each.property, each.classification) for each in policy_report([Judged])] == [("file", "Public")]
    with pytest.raises(ValueError, match="media type"):
        MediaTypes("pdf")
