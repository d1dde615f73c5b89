"""The demo's records: the same for the same day, and with every oddity that they promise."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import pytest
import yaml

from retention.demo import data

TODAY = datetime(2026, 11, 23, 12, tzinfo=UTC)
POLICIES = Path(__file__).parents[3] / "policies"


@pytest.fixture(scope="module")
def activities() -> list[data.Activity]:
    return list(data.activities(TODAY))


def of(activities: list[data.Activity], *tags: str) -> list[data.Activity]:
    return [activity for activity in activities if activity[7] is not None and set(tags) <= set(activity[7])]


def test_the_same_day_gives_the_same_records(activities: list[data.Activity]) -> None:
    assert activities == list(data.activities(TODAY))
    assert list(data.comments(TODAY)) == list(data.comments(TODAY))
    assert list(data.accounts(TODAY)) == list(data.accounts(TODAY))


def test_the_days_before_today_move_with_it() -> None:
    first = next(iter(data.activities(datetime(2033, 3, 1, tzinfo=UTC))))
    assert first[8] is not None
    assert first[8].startswith("2026-01-01")


def test_there_are_as_many_as_promised_and_every_reference_is_good(activities: list[data.Activity]) -> None:
    assert [activity[0] for activity in activities] == list(range(1, data.ACTIVITIES + 1))
    assert {activity[1] for activity in activities} <= set(range(1, data.ACCOUNTS + 1))
    comments = list(data.comments(TODAY))
    assert len(comments) == data.COMMENTS
    assert {comment[1] for comment in comments} <= set(range(1, data.ACTIVITIES + 1))
    assert len(list(data.accounts(TODAY))) == data.ACCOUNTS


def test_the_records_reach_back_more_than_seven_years(activities: list[data.Activity]) -> None:
    created = [activity[8] for activity in activities if activity[8] is not None]
    assert min(created).startswith("2019-01-01")
    assert sum(clock < "2026-11-23" for clock in created) > 199_000


def test_every_oddity_is_there(activities: list[data.Activity]) -> None:
    now = "2026-11-23 12:00:00"
    closed = [activity for activity in activities if activity[3] == "closed" and activity[4] is not None]
    assert 50 < sum(activity[8] is None for activity in activities) < 400
    assert 20 < sum(activity[8] is not None and activity[8] > now for activity in activities) < 200
    assert 50 < sum(activity[9] is None for activity in closed) < 1_000
    assert 20 < sum(activity[9] is not None and activity[9] > now for activity in activities) < 200
    assert len(of(activities, "sales", "service-note", "temporary")) > 1_000
    assert sum((activity[8] or "").startswith("2024-02-29") for activity in activities) > 10
    assert sum((activity[9] or "").startswith("2020-02-29") for activity in activities) > 3
    tags = Counter(activity[7] for activity in activities)
    assert tags[None] > 500
    assert tags[()] > 500
    assert tags["temporary", "service-note"] > 500


def test_a_deal_is_closed_only_after_it_was_made_and_open_ones_have_no_closing(activities: list[data.Activity]) -> None:
    for activity in activities:
        if activity[9] is not None:
            assert activity[3] == "closed"
        if activity[9] is not None and activity[8] is not None and activity[8] < "2026-11-23":
            assert activity[8] <= activity[9]


def test_the_held_customer_has_records_that_the_first_clean_up_would_take(activities: list[data.Activity]) -> None:
    held = [activity for activity in activities if activity[1] == data.HELD_ACCOUNT]
    assert 200 < len(held) < 1_000
    assert len([note for note in of(held, "service-note", "temporary") if (note[8] or "9") < "2026-08"]) > 50


def test_people_write_in_their_own_script(activities: list[data.Activity]) -> None:
    notes = " ".join(activity[5] for activity in islice(activities, 2_000))
    names = " ".join(account[2] for account in data.accounts(TODAY))
    for text in (notes, names):
        assert re.search(r"[一-鿿]", text)
        assert re.search(r"[äöüéñ]", text)


def test_every_policy_finds_records_with_its_tags_and_something_is_left_uncovered(
    activities: list[data.Activity],
) -> None:
    uncovered = set(range(len(activities)))
    for file in POLICIES.glob("*.yaml"):
        tags = yaml.safe_load(file.read_text(encoding="utf-8"))["tags"]
        wanted = {"all": tags} if isinstance(tags, list) else tags
        found = {
            number
            for number, activity in enumerate(activities)
            if set(wanted.get("all", [])) <= set(activity[7] or ())
            and ("any" not in wanted or not set(wanted["any"]).isdisjoint(activity[7] or ()))
            and set(wanted.get("none", [])).isdisjoint(activity[7] or ())
        }
        assert len(found) > 10_000, file.name
        uncovered -= found
    assert len(uncovered) > 10_000
