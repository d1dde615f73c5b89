"""Keys as people write them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from retention.errors import InputError
from retention.sources.bound_class import BoundClass
from retention.sources.keys import key_from_text, key_text

Bind = Callable[[str], BoundClass]


def test_a_number_is_read_as_a_number(bound_by_hand: Bind) -> None:
    assert key_from_text(bound_by_hand("postgresql"), "42") == (42,)


@pytest.mark.parametrize("text", ["", "4 2", "1e3", "4.0", "x", "99999999999999999999", "9223372036854775808", "１"])
def test_what_is_no_whole_number_of_64_bits_is_refused(bound_by_hand: Bind, text: str) -> None:
    with pytest.raises(InputError, match="is no key of"):
        key_from_text(bound_by_hand("sqlite"), text)


def test_composite_keys_are_json_lists(bound_by_hand: Bind) -> None:
    bound = bound_by_hand("postgresql")
    bound = replace(bound, record_class=replace(bound.record_class, key=("status", "id")))
    assert key_from_text(bound, '["a,b", 7]') == ("a,b", 7)
    assert key_from_text(bound, key_text(("é\"'", -1))) == ("é\"'", -1)
    for text in ("7", '["a"]', '["a", 7, 8]', '{"a": 7}', '["a", null]', "["):
        with pytest.raises(InputError, match="no key of"):
            key_from_text(bound, text)


def test_nul_is_in_no_key(bound_by_hand: Bind) -> None:
    bound = bound_by_hand("sqlite")
    bound = replace(bound, record_class=replace(bound.record_class, key=("status",)))
    assert key_from_text(bound, "a b") == ("a b",)
    with pytest.raises(InputError):
        key_from_text(bound, "a\0b")
