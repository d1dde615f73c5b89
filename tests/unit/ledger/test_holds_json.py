from __future__ import annotations

from datetime import date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retention.holds.scope import Everything, Keys, Matching, Scope, Subject, Tagged, WholeClass
from retention.ledger.holds_json import scope_text, text_scope
from retention.policy.condition import AllOf, AnyOf, Compare, Condition, NoneOf, Operator
from retention.policy.mark import Mark

moments = st.datetimes().map(lambda moment: moment.replace(fold=0))  # no policy and no hold has a fold
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.dates() | moments
names = st.text(min_size=1, max_size=8)
comparisons = st.builds(
    Compare,
    column=names,
    operator=st.sampled_from(Operator),
    value=scalars | st.lists(scalars, max_size=3).map(tuple),
    mark=st.just(Mark(file="command line")),
)
conditions: st.SearchStrategy[Condition] = st.recursive(
    comparisons,
    lambda inner: st.sampled_from([AllOf, AnyOf, NoneOf]).flatmap(
        lambda group: st.builds(group, parts=st.lists(inner, max_size=3).map(tuple))
    ),
    max_leaves=6,
)
classes = st.lists(names, max_size=3).map(tuple)
scopes: st.SearchStrategy[Scope] = (
    st.builds(Keys, records=names, count=st.integers(0))
    | st.builds(Tagged, tag=names, records=classes)
    | st.builds(Matching, where=conditions, records=classes)
    | st.builds(Subject, subject=names, value=names)
    | st.builds(WholeClass, records=names)
    | st.just(Everything())
)


@given(scopes)
def test_scopes_come_back_exactly(scope: Scope) -> None:
    text = scope_text(scope)
    back = text_scope(text, hold="H-1")
    assert repr(back) == repr(scope).replace(
        "file='command line'", "file='H-1'"
    )  # 1 == True == 1.0, their spelling is not
    assert back == scope
    assert scope_text(back) == text


def test_dates_stay_dates() -> None:
    mark = Mark(file="command line")
    where = AllOf(
        parts=(
            Compare(column="day", operator=Operator.BEFORE, value=date(2024, 2, 29), mark=mark),
            Compare(
                column="at", operator=Operator.IN, value=(datetime(2024, 2, 29, 12), "2024-02-29", None), mark=mark
            ),
        )
    )
    scope = Matching(where=where, records=("crm.activities",))
    assert text_scope(scope_text(scope), hold="H-1") == scope


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        '{"kind":"moon"}',
        '{"kind":"everything","but":"this"}',
        '{"kind":"tag","tag":"a"}',
        '{"kind":"where","records":[],"where":{"some":[]}}',
        '{"kind":"where","records":[],"where":{"column":"a","operator":"like","value":1}}',
        '{"kind":"where","records":[],"where":{"all":[],"any":[]}}',
        "no JSON",
    ],
)
def test_a_scope_that_cannot_be_read_is_an_error_and_never_a_narrower_hold(text: str) -> None:
    with pytest.raises(ValueError):
        text_scope(text, hold="H-1")
