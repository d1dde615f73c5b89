from __future__ import annotations

import pytest

from retention.disposition.held_copies import same_table


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("notes", "notes", True), ("public.notes", "notes", True), ("notes", "crm.notes", True),
        ("notes", "note", False), ("public.notes", "public.tags", False),
    ],
)  # fmt: skip
def test_names_that_may_mean_one_table(one: str, other: str, same: bool) -> None:
    assert same_table(one, other) is same
