"""References: checked when a document is written, and dealt with when the one that they name is deleted."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from tests.store.test_bulk import requests_of
from tornado_couch import (
    Database,
    DocumentNotFound,
    Encrypted,
    Indexed,
    Key,
    Model,
    Reference,
    Store,
    assigned,
    install,
)
from tornado_couch.errors import DependentsLeft, DocumentReferenced, ModelDefinitionError, ValidationFailed
from tornado_couch.models import model_info
from tornado_couch.security import KeyRing
from tornado_couch.store import Creation, Deletion, Update, references


class Customer(Model, type="customer_v1.0", key="customer_id", soft_delete=True):
    customer_id: Key = assigned()
    name: str = ""


class Product(Model, type="product_v1.0", key="code", unique=True):
    code: str


class Counter(Model, type="counter_v1.0", key="number", unique=True):
    number: int


class Line(BaseModel):
    product_id: Annotated[str, Reference(Product)]
    amount: int = 1


class Order(Model, type="order_v1.0", key="order_id"):
    """Goes with its customer."""

    order_id: Key = assigned()
    customer_id: Annotated[str, Reference(Customer, on_delete="cascade"), Indexed()]
    product_ids: Annotated[list[str], Reference(Product, on_delete="set null"), Indexed(members=True)] = Field(
        default_factory=list
    )
    lines: list[Line] = Field(default_factory=list)
    gift: Annotated[str | None, Reference(Product, name="present", on_delete="set null"), Indexed()] = None
    counter_id: Annotated[int | None, Reference(Counter)] = None
    note: str = ""


class Invoice(Model, type="invoice_v1.0", key="invoice_id", history=True):
    """Keeps its order."""

    invoice_id: Key = assigned()
    order_id: Annotated[str | None, Reference(Order, on_delete="refuse"), Indexed()] = None


class Person(Model, type="person_v1.0", key="name", unique=True):
    """Refers to another of its own."""

    name: str
    boss_id: Annotated[str | None, Reference(lambda: Person, on_delete="cascade"), Indexed()] = None


class Letter(Model, type="letter_v1.0"):
    """Keeps to whom it goes to itself."""

    customer_id: Annotated[str | None, Encrypted(searchable=True), Reference(Customer, on_delete="set null")] = None


MODELS: list[type[Model]] = [Customer, Product, Counter, Order, Invoice, Person, Letter]


@pytest.fixture
async def store(database: Database, ring: KeyRing) -> Store:
    await install(database.server, database.name, MODELS)
    return Store(database, crypter=ring, indexer=ring)


async def refused(work: Any) -> list[str]:
    """The pointers of what is wrong."""
    with pytest.raises(ValidationFailed) as info:
        await work
    assert {each["keyword"] for each in info.value.problems} == {"reference"}
    return [each["pointer"] for each in info.value.problems]


async def test_a_document_is_refused_whose_references_lead_nowhere(store: Store) -> None:
    """Each reference is named by its pointer, in lists and nested models as well; what is there is let through."""
    customer, _ = await store.create(Customer()), await store.create(Product(code="a"))
    await store.create(Counter(number=7))
    lines = [Line(product_id="a"), Line(product_id="x")]
    bad = Order(customer_id="none", product_ids=["a", "b"], lines=lines, gift="c", counter_id=8)
    wrong = ["/customer_id", "/product_ids/1", "/lines/1/product_id", "/gift", "/counter_id"]
    assert await refused(store.create(bad)) == wrong
    good = Order(customer_id=customer.customer_id, product_ids=["a"], lines=lines[:1], gift="a", counter_id=7)
    assert (await store.create(good))._rev is not None


async def test_the_references_of_many_are_read_as_one(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hundred references of a hundred documents cost two requests, whatever they lead to."""
    customers = await store.create_many(Customer, [Customer() for _ in range(100)])
    await store.create(Product(code="a"))
    orders = [
        Order(customer_id=each.customer_id if place % 2 else "none", gift="a")  # type: ignore[union-attr]
        for place, each in enumerate(customers)
    ]
    sent = requests_of(store, monkeypatch)
    outcomes = await store.create_many(Order, orders)
    assert [isinstance(each, ValidationFailed) for each in outcomes] == [True, False] * 50
    assert len([each for each in sent if "bulk_get" in each or "{docid}" in each]) <= 2


async def test_what_a_document_has_referred_to_before_may_be_gone(store: Store) -> None:
    """A change is held to the references that it adds, so that a document does not become unchangeable."""
    customer, _ = await store.create(Customer()), await store.create(Product(code="a"))
    order = await store.create(Order(customer_id=customer.customer_id, lines=[Line(product_id="a")]))
    await store.delete(Product, "a")

    def noted(current: Order) -> None:
        current.note = "late"

    def wrong(current: Order) -> None:
        current.lines = [*current.lines, Line(product_id="b")]

    changed = await store.update(Order, order.order_id, noted)
    assert changed.note == "late"
    assert await refused(store.update(Order, order.order_id, wrong)) == ["/lines/1/product_id"]
    changed.gift = "b"
    assert await refused(store.replace(changed)) == ["/gift"]
    outcomes = await store.write_many(
        Order, [Update(order.order_id, wrong), Creation(Order(customer_id="none")), Update(order.order_id, noted)]
    )
    assert [type(each) for each in outcomes] == [ValidationFailed, ValidationFailed, Order]


async def test_a_restored_document_is_held_to_its_references(store: Store) -> None:
    """What it refers to may be gone by then."""

    class Address(Model, type="address_v1.0", key="address_id", soft_delete=True):
        address_id: Key = assigned()
        customer_id: Annotated[str, Reference(Customer)]

    await install(store.database.server, store.database.name, [Address])
    customer = await store.create(Customer())
    address = await store.create(Address(customer_id=customer.customer_id))
    await store.delete(Address, address.address_id)
    await store.delete(Customer, customer.customer_id)
    assert await refused(store.restore(Address, address.address_id)) == ["/customer_id"]
    await store.restore(Customer, customer.customer_id)
    assert (await store.restore(Address, address.address_id)).customer_id == customer.customer_id


async def test_a_document_may_refer_to_itself(store: Store) -> None:
    """It need not be there before it is written."""
    assert (await store.create(Person(name="Ada", boss_id="Ada"))).boss_id == "Ada"
    assert await refused(store.create(Person(name="Bob", boss_id="Carl"))) == ["/boss_id"]


async def test_a_deletion_takes_what_refers_to_it_with_it(store: Store) -> None:
    """Cascades go down to the last document, those of other customers stay, and a circle ends."""
    customer, other = await store.create(Customer()), await store.create(Customer())
    order = await store.create(Order(customer_id=customer.customer_id))
    kept = await store.create(Order(customer_id=other.customer_id))
    await store.delete(Customer, customer.customer_id)
    with pytest.raises(DocumentNotFound):
        await store.get(Order, order.order_id)
    assert await store.get(Order, kept.order_id)

    await store.create(Person(name="Ada"))
    for name, boss in (("Bob", "Ada"), ("Carl", "Bob"), ("Dora", "Carl")):
        await store.create(Person(name=name, boss_id=boss))
    await store.update(Person, "Ada", lambda current: setattr(current, "boss_id", "Dora"))
    await store.delete(Person, "Carl")
    assert (await store.find(Person)).items == []


async def test_a_deletion_takes_references_out(store: Store) -> None:
    """A property becomes null, a list loses the member, and encrypted references are found as well."""
    customer = await store.create(Customer())
    await asyncio.gather(*(store.create(Product(code=each)) for each in "ab"))
    order = await store.create(Order(customer_id=customer.customer_id, product_ids=["a", "b"], gift="a"))
    letter = await store.create(Letter(customer_id=customer.customer_id))
    await store.delete(Product, "a")
    left = await store.get(Order, order.order_id)
    assert (left.product_ids, left.gift) == (["b"], None)
    await store.delete(Customer, customer.customer_id)
    assert (await store.get(Letter, letter._id)).customer_id is None


class Book(Model, type="book_v1.0", key="title", history=True):
    title: str


class Loan(Model, type="loan_v1.0", key="loan_id", history=True):
    """Keeps its versions, as its book does."""

    loan_id: Key = assigned()
    book_id: Annotated[str | None, Reference(Book, on_delete="set null"), Indexed()] = None
    by_shelf: Annotated[dict[str, str], Reference(Book, name="shelved")] = Field(default_factory=dict)


async def test_documents_with_a_history_are_referred_to(store: Store) -> None:
    """The latest version counts, on both sides; what is taken out of it stays in the earlier ones."""
    await install(store.database.server, store.database.name, [Book, Loan])
    await store.create(Book(title="a"))
    loan = await store.create(Loan(book_id="a"))
    other = await store.create(Loan(book_id="a"))
    await store.update(Loan, other.loan_id, lambda current: setattr(current, "book_id", None))
    await store.delete(Book, "a")
    assert (await store.get(Loan, loan.loan_id)).book_id is None
    assert (await store.version(Loan, loan.loan_id, 1)).book_id == "a"
    assert len((await store.versions(Loan, other.loan_id)).items) == 2
    assert await refused(store.create(Loan(book_id="a", by_shelf={"x/y": "b"}))) == ["/book_id", "/by_shelf/x~1y"]
    await store.restore(Book, "a")
    assert (await store.create(Loan(book_id="a"))).book_id == "a"


async def test_a_refused_deletion_changes_nothing(store: Store) -> None:
    """Also where the document that has to stay is found behind a cascade: nothing before it is deleted."""
    customer = await store.create(Customer())
    orders = [await store.create(Order(customer_id=customer.customer_id)) for _ in range(3)]
    invoice = await store.create(Invoice(order_id=orders[2].order_id))
    for cls, key in ((Order, orders[2].order_id), (Customer, customer.customer_id)):
        with pytest.raises(DocumentReferenced) as info:
            await store.delete(cls, key)
        assert info.value.references == [(Invoice, invoice.invoice_id)]
    (outcome,) = await store.write_many(Customer, [Deletion(customer.customer_id)])
    assert isinstance(outcome, DocumentReferenced)
    assert len((await store.find(Order)).items) == 3
    await store.update(Invoice, invoice.invoice_id, lambda current: setattr(current, "order_id", None))
    await store.delete(Customer, customer.customer_id)
    assert (await store.find(Order)).items == []


async def test_a_deletion_of_very_many_goes_on_when_it_is_called_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One call changes so many documents at most, and the document itself goes last."""
    monkeypatch.setattr(references, "_MOST", 4)
    customer = await store.create(Customer())
    await store.create_many(Order, [Order(customer_id=customer.customer_id) for _ in range(10)])
    for left in (6, 2):
        with pytest.raises(DependentsLeft):
            await store.delete(Customer, customer.customer_id)
        assert len((await store.find(Order)).items) == left
        assert await store.get(Customer, customer.customer_id)
    await store.delete(Customer, customer.customer_id)
    assert (await store.find(Order)).items == []


async def test_a_deletion_that_was_cut_off_is_finished_by_the_next(store: Store) -> None:
    """What ends it in between leaves the document there, without some of what referred to it."""
    customer = await store.create(Customer())
    orders = [await store.create(Order(customer_id=customer.customer_id)) for _ in range(5)]
    broken = store.references.keeper(Order).delete  # type: ignore[union-attr]

    async def failing(cls: Any, key: Any, **options: Any) -> Any:
        if key == orders[3].order_id:
            raise OSError("the power is gone")
        return await broken(cls, key, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "delete", failing)
        with pytest.raises(OSError, match="power"):
            await Store.delete(store, Customer, customer.customer_id)
    assert await store.get(Customer, customer.customer_id)
    assert [each.order_id for each in (await store.find(Order)).items] == [orders[3].order_id]
    await store.delete(Customer, customer.customer_id)
    assert (await store.find(Order)).items == []


async def test_a_deletion_wins_against_other_writers(store: Store) -> None:
    """A conflict on one of the documents is tried again, for a cascade and where references are taken out."""
    customer = await store.create(Customer())
    await store.create(Product(code="a"))
    orders = [await store.create(Order(customer_id=customer.customer_id, gift="a")) for _ in range(3)]

    async def write(key: str) -> None:
        for number in range(10):
            with contextlib.suppress(DocumentNotFound):
                await store.update(Order, key, lambda current, text=f"{number}": setattr(current, "note", text))  # type: ignore[misc]

    async def storm(deletion: Any) -> None:
        await asyncio.gather(*(write(each.order_id) for each in orders), deletion)

    await storm(store.delete(Product, "a"))
    assert [each.gift for each in (await store.find(Order)).items] == [None] * 3
    await storm(store.delete(Customer, customer.customer_id))
    assert (await store.find(Order)).items == []


async def test_a_document_that_cannot_be_read_keeps_what_it_refers_to(store: Store) -> None:
    """Nobody can take the reference out of it, so it is not left behind."""
    customer = await store.create(Customer())
    planted = {"_id": "bad", "type": "order_v1.0", "order_id": "bad", "customer_id": customer.customer_id, "lines": 1}
    await store.database.put(planted)
    with pytest.raises(DocumentReferenced):
        await store.delete(Customer, customer.customer_id)
    assert await store.get(Customer, customer.customer_id)


async def test_documents_of_another_store_are_referred_to(couch: Any, store: Store) -> None:
    """`elsewhere` says where they are; None stands for documents that nobody keeps."""
    name = f"{store.database.name}-other"
    await couch.create_database(name)
    try:
        await install(couch, name, [Product, Order])
        orders = Store(couch[name], elsewhere={Customer: store, Counter: None, Invoice: store})
        customers = Store(store.database, elsewhere={Order: orders, Letter: None})
        customer = await store.create(Customer())
        order = await orders.create(Order(customer_id=customer.customer_id))
        assert await refused(orders.create(Order(customer_id="none"))) == ["/customer_id"]
        assert await refused(orders.create(Order(customer_id=customer.customer_id, counter_id=1))) == ["/counter_id"]
        await customers.delete(Customer, customer.customer_id)
        with pytest.raises(DocumentNotFound):
            await orders.get(Order, order.order_id)
    finally:
        await couch.delete_database(name)


@dataclasses.dataclass
class Crate:
    product_id: Annotated[str, Reference(Product)]


class Slot(TypedDict):
    product_id: Annotated[str, Reference(Product)]


class Shelf(Model, type="shelf_v1.0"):
    """Holds what is no model."""

    crates: list[Crate] = Field(default_factory=list)
    slots: dict[str, Slot] = Field(default_factory=dict)


async def test_references_are_found_in_whatever_is_nested(store: Store) -> None:
    """In data classes and typed dictionaries as in models, within lists and dictionaries."""
    await store.create(Product(code="a"))
    shelf = Shelf(crates=[Crate("a"), Crate("b")], slots={"left": {"product_id": "c"}, "right": {"product_id": "a"}})
    assert await refused(store.create(shelf)) == ["/crates/1/product_id", "/slots/left/product_id"]
    assert list(model_info(Shelf).relations) == ["crates.product", "slots.product"]


@pytest.mark.parametrize(
    ("annotation", "default", "words"),
    [
        (Annotated[str, Reference(Customer, on_delete="refuse")], ..., r"add Indexed\(\)"),
        (Annotated[list[str], Reference(Customer, on_delete="refuse"), Indexed()], ..., r"Indexed\(members=True\)"),
        (Annotated[str, Reference(Customer, on_delete="set null"), Indexed()], ..., r"str | None"),
        (Annotated[str, Reference(Customer, on_delete="maybe")], ..., "must be one of 'nothing'"),  # type: ignore[arg-type]
        (Annotated[str, Reference(BaseModel)], ..., "which BaseModel is not"),
        (Annotated[str, Reference(Customer, name="other")], ..., "name that is taken"),
        (list[list[Annotated[str, Reference(Customer)]]], ..., "list of lists"),
    ],
    ids=["no-index", "no-members", "not-null", "choice", "target", "taken", "lists"],
)
def test_a_wrong_declaration_is_an_error(annotation: Any, default: Any, words: str) -> None:
    """The error comes when the class is made, and says what to write."""
    with pytest.raises(ModelDefinitionError, match=words):
        type("Wrong", (Model,), {"__annotations__": {"owner_id": annotation, "other": str}}, type="wrong_v1.0")


def test_a_reference_needs_a_name_for_include() -> None:
    """Where the property's name does not end in `_id`, it has to be said."""
    with pytest.raises(ModelDefinitionError, match=r"Reference\(…, name=…\)"):
        type("Wrong", (Model,), {"__annotations__": {"owner": Annotated[str, Reference(Customer)]}}, type="wrong_v1.0")
