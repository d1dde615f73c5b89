"""Whatever is done to a chain, verification finds it and names the entry."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
import sqlalchemy as sa
from hypothesis import assume, given
from hypothesis import strategies as st

from retention.errors import EvidenceBroken
from retention.ledger import chain, tables
from retention.ledger.chain import GENESIS, KINDS, Entry, Head
from retention.ledger.verify import verify_chain

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
LONGEST = 9


@cache
def whole() -> tuple[Entry, ...]:
    engine = sa.create_engine("sqlite://")
    tables.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(tables.head.insert().values(id=1, seq=0, hash=GENESIS, hold_epoch=0))
        kinds = sorted(KINDS)
        for number in range(LONGEST):
            body = {"rows": number, "title": "Vertriebsakten – 销售", "nested": {"b": [1.5, None], "a": True}}
            at = BEGIN + timedelta(seconds=number)
            chain.append(connection, kind=kinds[number], subject=f"s{number}", body=body, at=at)
        found = tuple(chain.entries(connection))
    engine.dispose()
    return found


lengths = st.integers(1, LONGEST)


def start(length: int) -> tuple[list[Entry], Head]:
    entries = list(whole()[:length])
    return entries, Head(seq=length, hash=entries[-1].hash, hold_epoch=0)


def said(entries: list[Entry], head: Head | None) -> list[str]:
    return [str(finding) for finding in verify_chain(entries, head)]


def rehashed(entry: Entry) -> Entry:
    computed = entry.computed_hash()
    assert computed is not None
    return replace(entry, hash=computed)


def test_the_hash_is_what_the_design_says() -> None:
    import hashlib

    first = whole()[0]
    text = json.dumps(
        {"seq": 1, "at": first.at, "kind": first.kind, "subject": first.subject, "body": json.loads(first.body),
         "previous": "0" * 64},
        sort_keys=True, separators=(",", ":"), ensure_ascii=False,
    )  # fmt: skip
    assert first.hash == hashlib.sha256(text.encode()).hexdigest()
    assert "销售" in first.body and " " not in first.body.replace("Vertriebsakten – 销售", "")


@given(lengths)
def test_an_intact_chain_has_no_findings(length: int) -> None:
    assert said(*start(length)) == []


def test_an_empty_chain() -> None:
    assert said([], Head.EMPTY) == []
    assert said([], None) == ["the chain ends at 0 and its head is missing"]
    assert said([], replace(Head.EMPTY, hash="1" * 64)) != []


texts = st.text(max_size=12) | st.sampled_from(["", "{}", "[]", "null", GENESIS, "NaN", '{"a":1e999}', "[" * 3000])
columns = st.sampled_from(["at", "kind", "subject", "body", "previous", "hash"])


@given(lengths, st.data(), columns, texts | st.binary(max_size=4) | st.none() | st.integers() | st.floats())
def test_a_changed_column_is_named(length: int, data: st.DataObject, column: str, value: object) -> None:
    entries, head = start(length)
    place = data.draw(st.integers(0, length - 1))
    assume(getattr(entries[place], column) != value)
    entries[place] = replace(entries[place], **{column: value})
    assert said(entries, head) == [f"entry {place + 1} was changed after it was written"]


@given(lengths, st.data())
def test_one_changed_character_is_named(length: int, data: st.DataObject) -> None:
    entries, head = start(length)
    place = data.draw(st.integers(0, length - 1))
    column = data.draw(columns)
    text = getattr(entries[place], column)
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters().filter(lambda character: character != text[at]))
    entries[place] = replace(entries[place], **{column: text[:at] + other + text[at + 1 :]})
    assert said(entries, head) == [f"entry {place + 1} was changed after it was written"]


@pytest.mark.parametrize("spell", [lambda body: json.dumps(body), lambda body: json.dumps(body, indent=1)])
def test_the_same_body_written_otherwise_was_changed(spell) -> None:  # type: ignore[no-untyped-def]
    entries, head = start(3)
    entries[1] = replace(entries[1], body=spell(entries[1].facts))
    assert said(entries, head) == ["entry 2 was changed after it was written"]


def test_a_member_given_twice_was_changed() -> None:
    entries, head = start(3)
    entries[1] = replace(entries[1], body=entries[1].body.replace("{", '{"rows":99,', 1))
    assert said(entries, head) == ["entry 2 was changed after it was written"]


@given(lengths, st.data(), st.sampled_from(["at", "kind", "subject", "previous"]))
def test_a_changed_row_with_a_new_hash_is_named(length: int, data: st.DataObject, column: str) -> None:
    entries, head = start(length)
    place = data.draw(st.integers(0, length - 1))
    entries[place] = rehashed(replace(entries[place], **{column: "something else"}))
    if column == "previous" or place < length - 1:
        assert said(entries, head)[0] == (
            f"entry {place + 1} was changed after it was written, and its hash computed anew"
        )
    else:
        assert said(entries, head) == [
            f"the head has another hash than entry {length}:"
            " the head was changed, or the entry together with its hash"
        ]  # fmt: skip


@given(lengths, st.data())
def test_removed_rows_are_named(length: int, data: st.DataObject) -> None:
    entries, head = start(length)
    first = data.draw(st.integers(1, length))
    last = data.draw(st.integers(first, length))
    del entries[first - 1 : last]
    if last == length:
        lost = "1 entry was" if first == last else f"{last - first + 1} entries were"
        assert said(entries, head) == [f"the chain ends at {first - 1} but its head says {length}: {lost} cut off"]
    elif first == last:
        assert said(entries, head) == [f"entry {first} is missing"]
    else:
        assert said(entries, head) == [f"entries {first} to {last} are missing"]


@given(st.integers(2, LONGEST), st.data())
def test_removed_and_renumbered(length: int, data: st.DataObject) -> None:
    entries, head = start(length)
    place = data.draw(st.integers(1, length - 1))
    entries = entries[: place - 1] + [replace(entry, seq=entry.seq - 1) for entry in entries[place:]]
    assert said(entries, head)[0] == f"entry {place} holds what was written as entry {place + 1}"


@given(st.integers(2, LONGEST), st.data())
def test_swapped_contents_are_named(length: int, data: st.DataObject) -> None:
    entries, head = start(length)
    one, other = sorted(data.draw(st.sets(st.integers(0, length - 1), min_size=2, max_size=2)))
    entries[one], entries[other] = (
        replace(entries[other], seq=one + 1),
        replace(entries[one], seq=other + 1),
    )
    findings = said(entries, head)
    assert f"entry {one + 1} holds what was written as entry {other + 1}" in findings
    assert f"entry {other + 1} holds what was written as entry {one + 1}" in findings


@given(lengths, st.data(), st.booleans())
def test_an_entry_put_in_is_named(length: int, data: st.DataObject, fits: bool) -> None:
    entries, head = start(length)
    place = data.draw(st.integers(1, length))
    added = replace(entries[place - 1], subject="forged")
    added = rehashed(added) if fits else added
    entries[place - 1 :] = [added, *(replace(entry, seq=entry.seq + 1) for entry in entries[place - 1 :])]
    findings = said(entries, head)
    what = "put in afterwards" if fits else "changed after it was written"
    assert findings[0] == f"entry {place} was {what}"
    assert findings[-1].startswith(f"the head says that the chain ends at {length}, but it goes on to {length + 1}")


@given(lengths, st.integers(1, 5))
def test_an_entry_added_to_the_end_is_named(length: int, count: int) -> None:
    entries, head = start(length)
    for _ in range(count):
        last = entries[-1]
        entries.append(rehashed(replace(last, seq=last.seq + 1, previous=last.hash)))
    assert said(entries, head) == [
        f"the head says that the chain ends at {length}, but it goes on to {length + count}:"
        " entries were put in afterwards, or the head was changed"
    ]


@given(lengths, st.data())
def test_an_entry_that_stands_twice_is_found(length: int, data: st.DataObject) -> None:
    entries, head = start(length)
    place = data.draw(st.integers(0, length - 1))
    entries.insert(place, entries[place])
    assert said(entries, head) == [f"an entry numbered {place + 1} stands after entry {place + 1}"]


@given(lengths, st.data())
def test_a_changed_number_is_named(length: int, data: st.DataObject) -> None:
    entries, head = start(length)
    place = data.draw(st.integers(0, length - 1))
    number = data.draw(st.integers(length + 1, 99) | st.text(max_size=3) | st.floats() | st.none())
    moved = replace(entries.pop(place), seq=number)
    entries.append(moved)
    findings = said(entries, head)
    assert any(
        finding.startswith((f"entry {place + 1} is missing", f"entries {place + 1} to ")) for finding in findings
    ) or (f"the chain ends at {length - 1} but its head says {length}: 1 entry was cut off" in findings)


@given(lengths, st.integers(-3, 20), st.booleans())
def test_a_changed_head_is_found(length: int, seq: int, keep_hash: bool) -> None:
    entries, head = start(length)
    changed = Head(seq=seq, hash=head.hash if keep_hash else "f" * 64, hold_epoch=0)
    assume(changed != head)
    findings = said(entries, changed)
    assert len(findings) == 1
    assert "head" in findings[0]


def test_the_message_of_a_cut_tail() -> None:
    entries, head = start(LONGEST)
    assert said(entries[:-2], head) == ["the chain ends at 7 but its head says 9: 2 entries were cut off"]


def memory() -> sa.Engine:
    engine = sa.create_engine("sqlite://")
    tables.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(tables.head.insert().values(id=1, seq=0, hash=GENESIS, hold_epoch=0))
    return engine


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"kind": "run.invented"}, ValueError),
        ({"at": datetime(2026, 1, 1)}, ValueError),
        ({"body": {"amount": float("nan")}}, ValueError),
        ({"body": {"what": object()}}, TypeError),
        ({"body": {"counts": {2: 0, 10: 0}}}, TypeError),
        ({"body": {"text": "\ud800"}}, UnicodeEncodeError),
        ({"subject": "\ud800"}, TypeError),
    ],
)
def test_what_cannot_be_appended(change: dict[str, object], error: type[Exception]) -> None:
    engine = memory()
    entry: dict[str, object] = {"kind": "run.planned", "subject": "R-1", "body": {}, "at": BEGIN}
    with engine.begin() as connection:
        with pytest.raises(error):
            chain.append(connection, **(entry | change))  # type: ignore[arg-type]
        assert list(chain.entries(connection)) == []
    engine.dispose()


def test_nothing_is_appended_without_a_head() -> None:
    engine = memory()
    with engine.begin() as connection:
        connection.execute(tables.head.delete())
        with pytest.raises(EvidenceBroken, match="lost its head"):
            chain.append(connection, kind="run.planned", subject="R-1", body={}, at=BEGIN)
    engine.dispose()
