"""Sort keys: Python and a view's JavaScript make the same one, in the order of the values, and it leads back."""

from __future__ import annotations

import datetime as dt
import decimal
import json
from typing import Any

import pytest
import quickjs
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tornado_couch.models.views import SortKey, as_javascript, sort_key_of

TYPES: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "decimal": (
        decimal.Decimal,
        st.decimals(allow_nan=False, allow_infinity=False) | st.decimals(-20, 20, places=2),
    ),
    "timedelta": (dt.timedelta, st.timedeltas() | st.timedeltas(-dt.timedelta(seconds=2), dt.timedelta(seconds=2))),
}


def _found(annotation: Any) -> SortKey:
    found = sort_key_of(TypeAdapter(annotation))
    assert found is not None
    return found


@pytest.mark.parametrize("kind", TYPES)
def test_both_languages_make_keys_in_the_order_of_the_values(kind: str) -> None:
    """Of equal values the same, and the value is made again from it."""
    annotation, values = TYPES[kind]
    adapter, sort_key = TypeAdapter(annotation), _found(annotation)
    context = quickjs.Context()
    context.eval(sort_key.source)

    def in_javascript(stored: Any) -> Any:
        return json.loads(context.eval(f"JSON.stringify({sort_key.function}({json.dumps(stored)}))"))

    @given(values, values)
    def law(one: Any, other: Any) -> None:
        stored = [adapter.dump_python(each, mode="json") for each in (one, other)]
        keys = [sort_key.encode(each) for each in stored]
        assert [in_javascript(each) for each in stored] == keys
        assert [sort_key.encode(each) for each in (one, other)] == keys
        assert (one < other, one == other) == (keys[0] < keys[1], keys[0] == keys[1])
        assert sort_key.decode(keys[0]) == one

    law()
    others = (None, True, "", ".", "x", "P", "--1", [], {}, "1" * 100_000 + "x", "9.50", 9.5, 7, "1.", ".5", "5e3")
    assert [in_javascript(each) for each in others] == [sort_key.encode(each) for each in others]


@pytest.mark.parametrize("number", ["1E+500000000", "-1E+600000000", "1E-500000001"])
def test_numbers_beyond_the_keys_do_not_fit(number: str) -> None:
    """Such a number is refused when it is written; a range up to one has all that lies on its side."""
    sort_key = _found(decimal.Decimal)
    assert not sort_key.fits(number)
    assert (sort_key.encode(number) < sort_key.encode("1")) == (decimal.Decimal(number) < 1)


@pytest.mark.parametrize("value", [2.0**53, 2.0**60, -(2.0**69), 1e20, 1.5, 0.1, 1e21, 1e300, -0.0, 3.0])
def test_large_floats_are_keys_as_javascript_writes_them(value: float) -> None:
    """Within arrays and objects as well."""
    written = json.loads(quickjs.Context().eval(f"JSON.stringify({value!r})"))
    assert as_javascript(value) == written
    assert as_javascript([value, {"a": value}]) == [written, {"a": written}]
