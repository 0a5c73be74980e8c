"""Classes of properties: what a model declares, and which declarations are refused."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from annotated_types import MaxLen
from pydantic import BaseModel, Field, SecretStr

from tornado_couch.errors import ModelDefinitionError, SecurityError
from tornado_couch.maintain import policy_json, policy_report, policy_table
from tornado_couch.models import (
    Classification,
    Count,
    CreatedOn,
    Encrypted,
    Hashed,
    Indexed,
    Key,
    Model,
    Place,
    Public,
    StoredHash,
    WriteOnly,
    body_schema,
    design_documents,
    from_document,
    model_info,
    replaced,
    representation,
    to_document,
)

PEPPER = b"sixteen bytes or more"


class Guest(Model, type="guest_v1.0", key="guest_id", classified=True):
    guest_id: Key
    name: Annotated[str, Public()]
    pin: Annotated[str | None, Hashed(cost=4), MaxLen(6)] = None
    token: Annotated[str | None, Hashed("sha3-512", pepper=PEPPER), Indexed()] = None
    email: Annotated[str | None, Encrypted(searchable=True)] = None
    notes: Annotated[list[Any], Encrypted(), Field(default_factory=list)]
    created_on: CreatedOn


def declare(annotation: Any, name: str = "value", default: Any = ..., **arguments: Any) -> Any:
    """A model with one property of this annotation."""
    body: dict[str, Any] = {"__annotations__": {name: annotation}, "__module__": __name__}
    if default is not ...:
        body[name] = default
    return type("Declared", (Model,), body, type="declared_v1.0", **arguments)  # type: ignore[call-overload]


class Inner(BaseModel):
    secret: Annotated[str, Encrypted()]


def test_a_hashed_property_is_write_only_and_an_encrypted_one_is_shown() -> None:
    """In the representation and in the schema."""
    shown = representation(Guest(name="x", pin="12", token="t", email="e", notes=[1]))
    assert shown.keys() == {"guest_id", "name", "email", "notes", "created_on"} - {
        name for name in ("guest_id", "created_on") if name not in shown
    }
    properties = body_schema(Guest, "replace")["properties"]
    assert {name for name, each in properties.items() if each.get("writeOnly")} == {"pin", "token"}
    assert properties["pin"]["anyOf"][0] == {"type": "string", "maxLength": 6}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: declare(Annotated[str, Encrypted()], key="value"), "is the key"),
        (lambda: declare(Annotated[str, Hashed()], key="value", unique=True), "is the key"),
        (lambda: declare(Annotated[CreatedOn, Encrypted()]), "time stamp"),
        (lambda: declare(Annotated[str, Encrypted(), Indexed()]), "no index"),
        (lambda: declare(Annotated[str, Hashed(), Indexed()]), "no index"),
        (lambda: declare(Annotated[str, Hashed()], default="0000"), "default"),
        (lambda: declare(Annotated[str, Encrypted()], default="x"), "default"),
        (lambda: declare(Annotated[int, Hashed()]), "as text"),
        (lambda: declare(Annotated[SecretStr, Hashed()]), "asterisks"),
        (lambda: declare(Annotated[list[SecretStr], Encrypted()]), "asterisks"),
        (lambda: declare(Annotated[str, Hashed(), Encrypted()]), "two classes"),
        (lambda: declare(Annotated[str, Hashed()] | None), "inside its type"),
        (lambda: declare(list[Annotated[str, Encrypted()]]), "inside its type"),
        (lambda: declare(list[Inner] | None), "inside its type"),
        (lambda: declare(Annotated[str, Encrypted()], reductions={"by": Count("value")}), "in no reduction"),
        (lambda: declare(Annotated[str, Hashed()], reductions={"by": Count("value")}), "in no reduction"),
        (lambda: declare(str, name="tornado_couch_signature"), "signatures"),
        (lambda: declare(str, classified=True), "not classified"),
    ],
)
def test_a_declaration_that_would_not_protect_is_refused(make: Any, words: str) -> None:
    """When the class is defined, saying why."""
    with pytest.raises(ModelDefinitionError, match=words):
        make()


def test_names_that_signatures_or_blind_indexes_need_are_refused() -> None:
    """By their name in JSON, whatever the attribute is called."""
    with pytest.raises(ModelDefinitionError, match="blind index"):

        class Clash(Model, type="clash_v1.0"):
            email: Annotated[str, Encrypted(searchable=True)]
            other: Annotated[str, Field(alias="email_blind_index")]

    with pytest.raises(ModelDefinitionError, match="several"):

        class Several(Model, type="several_v1.0", indexes=[("email", "name")]):
            email: Annotated[str, Encrypted(searchable=True)]
            name: str


def test_the_demand_to_classify_is_inherited_and_can_be_taken_back() -> None:
    """Time stamps and generated keys hold nothing of anybody's."""

    class Base(Model, classified=True):
        pass

    with pytest.raises(ModelDefinitionError, match="'name' is not classified"):

        class Strict(Base, type="strict_v1.0"):
            name: str

    class Loose(Base, type="loose_v1.0", classified=False):
        name: str

    assert model_info(Loose).properties["name"].classification is None


@pytest.mark.parametrize("arguments", [("md5",), ("bcrypt", {"pepper": PEPPER}), ("sha3-512", {"cost": 4})])
def test_a_hash_that_there_is_not_is_a_value_error(arguments: Any) -> None:
    """Also a pepper for bcrypt, and a cost for SHA3-512."""
    with pytest.raises(ValueError, match="Hashed"):
        Hashed(arguments[0], **(arguments[1] if len(arguments) > 1 else {}))


def test_a_hash_is_taken_where_the_value_would_not_be_valid() -> None:
    """Only one that was stored: a client's text is judged as ever."""
    hash_ = "$2b$04$" + "a" * 53
    guest = from_document(Guest, {"type": "guest_v1.0", "name": "x", "pin": StoredHash(hash_)})
    assert guest.pin == hash_
    assert hash_ not in repr(guest)
    assert replaced(guest, {"name": "y"}).pin == hash_
    assert replaced(guest, {"name": "y", "pin": None}).pin is None
    assert to_document(guest)["pin"] == hash_
    with pytest.raises(ValueError, match="at most 6"):
        Guest(name="x", pin=hash_)
    with pytest.raises(ValueError, match="at most 6"):
        guest.pin = hash_


async def test_verify_compares_what_is_not_stored_yet_as_well() -> None:
    """And refuses what is not hashed."""
    guest = Guest(name="x", pin="1234")
    assert await guest.verify("pin", "1234")
    assert not await guest.verify("pin", "1235")
    assert not await guest.verify("token", "")
    with pytest.raises(SecurityError, match="not hashed"):
        await guest.verify("email", "e")


def test_no_text_of_a_model_shows_what_is_protected() -> None:
    """Neither repr nor str, which end in logs and tracebacks; nor pydantic's message for a value that does not fit."""

    class Kept(Guest, type="kept_v1.0", key="guest_id"):
        room: Annotated[str, Public()] = "7"
        code: Annotated[str | None, WriteOnly(), Public()] = None

    kept = Kept(name="Ann", pin="12-456", token="tok-7f", email="ann@b", notes=["dusty"], code="open")
    for text in (repr(kept), str(kept), repr([kept])):
        assert not [each for each in ("12-456", "tok-7f", "ann@b", "dusty", "open") if each in text]
        assert "name='Ann'" in text
        assert "room='7'" in text
    with pytest.raises(ValueError, match="pin") as found:
        kept.pin = "far-too-long"
    assert "far-too-long" not in str(found.value)


async def test_verify_is_no_name_of_a_property() -> None:
    """It is the model's method; in JSON the name is free."""
    with pytest.raises(ModelDefinitionError, match="verify"):
        declare(str, name="verify")

    class Aliased(Model, type="aliased_v1.0"):
        pin: Annotated[str, Hashed(cost=4), Field(alias="verify")]

    assert await Aliased(verify="1234").verify("verify", "1234")


def test_the_view_of_a_searchable_property_is_of_its_blind_index() -> None:
    """The property's own name does not occur in it."""
    source = {each["_id"]: each for each in design_documents(Guest)}["_design/guest_by_email"]
    assert '"email_blind_index"' in source["views"]["guest_by_email"]["map"]
    assert '"email"' not in source["views"]["guest_by_email"]["map"]


def test_the_policy_report_names_every_property_with_class_algorithm_and_keys() -> None:
    """As rows, as a table and as JSON."""

    class Loose(Model, type="loose_v1.0"):
        weight: int

    rows = policy_report([Guest, Loose])
    assert [(each.property, each.classification, each.algorithm, each.key_set) for each in rows] == [
        ("guest_id", "generated", "none", ""),
        ("name", "Public", "none", ""),
        ("pin", "Hashed", "bcrypt, cost 4", ""),
        ("token", "Hashed", "HMAC-SHA3-512", "pepper"),
        ("email", "Encrypted", "authenticated encryption, blind index HMAC-SHA256", "crypter, indexer"),
        ("notes", "Encrypted", "authenticated encryption", "crypter"),
        ("created_on", "generated", "none", ""),
        ("weight", "unclassified", "none", ""),
    ]
    assert [line.split()[:3] for line in policy_table(rows).splitlines()][3] == ["guest_v1.0", "pin", "Hashed"]
    assert b'"key_set":"pepper"' in policy_json(rows)
    assert [each.clients for each in rows[:3]] == ["read", "read and write", "write"]


def test_a_class_of_ones_own_is_one_small_class() -> None:
    """It is known to the model like the others."""

    class Reversed(Classification):
        algorithm = "reversed"

        def protect(self, value: Any, place: Place) -> Any:
            return value[::-1]

        def reveal(self, stored: Any, place: Place) -> Any:
            return stored[::-1]

    cls = declare(Annotated[str, Reversed()], classified=True)
    assert policy_report([cls])[0].classification == "Reversed"
