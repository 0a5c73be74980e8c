"""What can be said of a property: markers for `Annotated`, and the ready-made property types.

color: Annotated[str, Indexed()]
pin: Annotated[str | None, WriteOnly()] = None
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, Field, PlainSerializer

from .classification import Classification, Public
from .merging.rules import MergeRule
from .timestamps import format_timestamp, in_utc

__all__ = [
    "LEFT_PROPERTY",
    "WRITE_PROPERTY",
    "Computed",
    "CreatedOn",
    "Generated",
    "Indexed",
    "Key",
    "OnDelete",
    "Property",
    "ReadOnly",
    "Reference",
    "Scope",
    "Stamp",
    "Timestamp",
    "UpdatedOn",
    "WriteOnly",
    "assigned",
    "blind_index_member",
]

WRITE_PROPERTY = "tornado_couch_write"
"""The member of a stored document that holds the token of the write that made it; no model's property."""

LEFT_PROPERTY = "tornado_couch_left"
"""The member of a stored document that says which scopes it has left; no model's property."""


@dataclass(frozen=True)
class Indexed:
    """The property has a view of its own, so that documents can be found and sorted by it.

    In a nested model it has one too, under a name such as `address.city`.

    Attributes:
        prefix: a text has a second view, in which documents are found by how the text begins.
        members: a list has a view of its members, in which documents are found by one of them, in the place of the
            view of whole lists.
    """

    prefix: bool = False
    members: bool = False


OnDelete = Literal["nothing", "refuse", "set null", "cascade"]


@dataclass(frozen=True)
class Reference:
    """The value is the key of a document of another model, as it stands in that document's address.

        customer_id: Annotated[str, Reference(Customer), Indexed()]
        product_ids: Annotated[list[str], Reference(Product)]

    A write is refused if there is no such document. `include=customer` embeds it in the answer to a GET.

    Attributes:
        target: the model, or a function without parameters that returns it, for one that is defined later.
        name: what `include` calls the document; by default the property's name without `_id`.
        on_delete: what happens when somebody deletes the document: "nothing"; "refuse", the deletion is refused;
            "set null", the reference becomes null, or leaves its list; "cascade", the document with the reference is
            deleted as well. All but "nothing" need an index on the reference.
    """

    target: Any
    name: str | None = None
    on_delete: OnDelete = "nothing"


@dataclass(frozen=True)
class Computed:
    """The value of a `computed_field` is stored, anew at each write, so that an index can have it.

    It belongs into the return type: `def total(self) -> Annotated[int, Computed(), Indexed()]`. Without it clients
    see the value, and the database does not hold it.
    """


@dataclass(frozen=True)
class ReadOnly:
    """Clients see the property and cannot set it; the service's own code can."""


@dataclass(frozen=True)
class Scope:
    """A policy may limit lists to one value of the property, such as the team that a document belongs to.

    A document then notes which values it had, so that those who could see it learn from the changes of the collection
    that they no longer can. A property that is `ReadOnly()` and `Indexed()` is one without saying so.
    """


@dataclass(frozen=True)
class WriteOnly:
    """Clients set the property and never see it."""


@dataclass(frozen=True)
class Generated:
    """The key is the document's id, which CouchDB gives (`_uuids`). Implies read-only."""


@dataclass(frozen=True)
class Stamp:
    """The store writes the time here. Implies read-only.

    Attributes:
        once: only when the document is created; otherwise at each write.
    """

    once: bool


if TYPE_CHECKING:
    Timestamp = datetime
    CreatedOn = datetime
    UpdatedOn = datetime
    Key = str
else:
    # Unset until the store writes them, hence the None that the annotation does not show.
    # The serializer is for models inside models, which `Model` has no hand in.
    Timestamp = Annotated[
        AwareDatetime,
        PlainSerializer(format_timestamp, str, when_used="json-unless-none"),
        AfterValidator(in_utc),  # outside: the type itself is what has the serializer
    ]
    CreatedOn = Annotated[Timestamp, Stamp(once=True), Field(default=None)]
    UpdatedOn = Annotated[Timestamp, Stamp(once=False), Field(default=None)]
    Key = Annotated[str, Generated(), Field(default=None)]


def assigned(*, init: Literal[False] = False) -> Any:  # noqa: ARG001 - read by type checkers (PEP 681)
    """The default of a property that the store sets when it writes the document: a generated key, or a time stamp.

        fruit_id: Key = assigned()
        created_on: CreatedOn = assigned()

    It tells type checkers that the constructor does not take the property. Without it everything works in the same
    way, but a checker misses the property in `Fruit(color="red")`.
    """
    return Field(default=None)


def blind_index_member(name: str) -> str:
    """The member of a stored document that holds the blind index of a property."""
    return f"{name}_blind_index"


@dataclass(frozen=True)
class Property:
    """One property of a model, as its annotation declares it.

    Attributes:
        attribute: the name in Python.
        name: the name in JSON: the alias where there is one.
        read_only: clients cannot set it.
        write_only: clients never see it.
        indexed: it has a view.
        generated: it is the id that CouchDB gave.
        stamp: when the store writes the time into it, if it does.
        optional: its default is None; None is then not stored at all.
        classification: how it is protected where it is stored; None where nobody said.
        merge: what becomes of it where several leaves changed it; None where nobody said.
        computed: the model computes it from its other properties.
        stored: documents hold it, which only a computed property may not be.
        scope: policies may limit lists to one of its values.
    """

    attribute: str
    name: str
    read_only: bool
    write_only: bool
    indexed: bool
    generated: bool
    stamp: Stamp | None
    optional: bool
    classification: Classification | None = None
    merge: MergeRule | None = None
    computed: bool = False
    stored: bool = True
    scope: bool = False

    @property
    def blind(self) -> bool:
        """Documents are found by a blind index, which is stored in a property of its own."""
        return self.classification is not None and self.classification.blind_index is not None

    @property
    def equality_only(self) -> bool:
        """Its index is of protected values, which have no order."""
        return self.classification is not None and self.classification.lookups is not None

    @property
    def protected(self) -> bool:
        """It is stored in another form than the model has it in."""
        return self.classification is not None and not isinstance(self.classification, Public)

    @property
    def index_member(self) -> str:
        """The member of the stored document that the property's view is of."""
        return blind_index_member(self.name) if self.blind else self.name

    @property
    def secret(self) -> bool:
        """Clients must not learn the value: they can neither filter, sort, group nor choose by it."""
        return self.write_only

    @classmethod
    def declared(
        cls, attribute: str, alias: str | None, metadata: list[Any], default: object, *, computed: bool = False
    ) -> Property:
        """The property that a pydantic field declares with these `Annotated` markers."""
        kinds = {type(marker): marker for marker in metadata}
        classification = next((each for each in metadata if isinstance(each, Classification)), None)
        stamp = kinds.get(Stamp)
        generated = Generated in kinds
        plain = classification is None or isinstance(classification, Public)
        return cls(
            attribute=attribute,
            name=alias or attribute,
            read_only=ReadOnly in kinds or generated or stamp is not None or computed,
            write_only=WriteOnly in kinds or (classification is not None and classification.hidden),
            indexed=(Indexed in kinds and not kinds[Indexed].members)
            or (classification is not None and classification.blind_index is not None),
            generated=generated,
            stamp=stamp,
            optional=default is None,
            classification=classification,
            merge=next((each for each in metadata if isinstance(each, MergeRule)), None),
            computed=computed,
            stored=not computed or Computed in kinds,
            scope=plain
            and not (computed or generated or stamp)
            and (Scope in kinds or (ReadOnly in kinds and Indexed in kinds and not kinds[Indexed].members)),
        )
