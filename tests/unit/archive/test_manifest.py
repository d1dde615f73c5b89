from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retention.archive.manifest import BatchFacts, FileEntry, Manifest
from retention.errors import ArchiveFailed
from retention.sources.column_entry import ColumnEntry


@pytest.fixture
def manifest(facts: BatchFacts) -> Manifest:
    return Manifest(
        **asdict(facts),
        retention="0.1.0",
        pyarrow="26.0.1",
        files=(
            FileEntry(
                path="crm/activities/2026/run-1/b-1.parquet",
                table="活动",
                rows=4,
                bytes=1_234,
                sha256="0f" * 32,
                merkle_root="1e" * 32,
                key=("id", "part"),
                columns=(
                    ColumnEntry(name="id", type="bigint", travels="native"),
                    ColumnEntry(name="part", type="numeric(12,2)", travels="text"),
                    ColumnEntry(name="odd", type="", travels="literal"),
                ),
            ),
        ),
    )


def test_there_and_back(manifest: Manifest) -> None:
    assert Manifest.from_bytes(manifest.to_bytes()) == manifest


def test_a_person_can_read_it(manifest: Manifest) -> None:
    text = manifest.to_bytes().decode()
    assert text.startswith('{\n  "retention manifest": 1,\n  "archive": "cold",\n')
    assert '"mandate": "Internal control rules, section 4.2 — 内部控制",\n' in text
    assert '"as_of": "2026-10-01T00:00:00.000000Z",\n' in text
    assert '"written_at": "2026-10-01T02:03:04.000005Z",\n' in text
    assert text.endswith("}\n")


@given(key=st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False))
def test_any_key(key: Any) -> None:
    names = ("archive", "batch", "run", "source", "record_class", "policy", "policy_digest", "dialect")
    facts: dict[str, Any] = dict.fromkeys(names, "x")
    one = Manifest(
        **facts,
        number=0,
        mandate=None,
        as_of=datetime(2026, 1, 1, tzinfo=UTC),
        hold_epoch=0,
        key_least=key,
        key_greatest=key,
        written_at=datetime(2026, 1, 1, tzinfo=UTC),
        retention="x",
        pyarrow="x",
        files=(),
    )
    assert Manifest.from_bytes(one.to_bytes()) == one


def test_other_zones_are_written_as_utc(manifest: Manifest) -> None:
    shanghai = timezone(timedelta(hours=8))
    moved = replace(manifest, as_of=manifest.as_of.astimezone(shanghai))
    assert moved.to_bytes() == manifest.to_bytes()


def test_a_naive_time_is_refused(manifest: Manifest) -> None:
    with pytest.raises(ValueError, match="has no time zone"):
        replace(manifest, as_of=datetime(2026, 1, 1)).to_bytes()


def test_another_version(manifest: Manifest) -> None:
    data = manifest.to_bytes().replace(b'"retention manifest": 1', b'"retention manifest": 2')
    with pytest.raises(
        ArchiveFailed, match="it is a manifest of version 2, and this retention reads version 1"
    ) as caught:
        Manifest.from_bytes(data)
    assert "later one" in caught.value.hint


@pytest.mark.parametrize("data", [b"", b"\xff", b"[]", b"{}", b"1", b'{"policy": "x"}', b"null", b"{"])
def test_no_manifest_at_all(data: bytes) -> None:
    with pytest.raises(ArchiveFailed, match=r"it is not (JSON|a manifest of retention)"):
        Manifest.from_bytes(data)


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.pop("mandate"),
        lambda m: m.update(more=1),
        lambda m: m.update(number="1"),
        lambda m: m.update(policy=None),
        lambda m: m.update(mandate=3),
        lambda m: m.update(as_of="2026-10-01"),
        lambda m: m.update(as_of="2026-10-01T00:00:00.0Z"),
        lambda m: m.update(as_of=None),
        lambda m: m.update(key_least=[1]),
        lambda m: m.update(files={}),
        lambda m: m.update(files=None),
        lambda m: m["files"].append(7),
        lambda m: m["files"][0].pop("sha256"),
        lambda m: m["files"][0].update(more=1),
        lambda m: m["files"][0].update(rows="4"),
        lambda m: m["files"][0].update(key="id"),
        lambda m: m["files"][0].update(columns=3),
        lambda m: m["files"][0]["columns"][0].update(travels="somehow"),
        lambda m: m["files"][0]["columns"][0].update(type=1),
        lambda m: m["files"][0]["columns"][0].pop("name"),
        lambda m: m.update(archive=m.pop("archive")),  # another order
    ],
)
def test_a_manifest_is_strict(manifest: Manifest, change: Change) -> None:
    content = json.loads(manifest.to_bytes())
    change(content)
    data = (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
    with pytest.raises(ArchiveFailed, match="it is not a manifest as retention writes it"):
        Manifest.from_bytes(data)


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text.replace('"number": 1,', '"number": 1,\n  "number": 1,'),
        lambda text: text.replace('"number": 1', '"number": 1.0'),
        lambda text: text.replace('  "number"', '   "number"'),
        lambda text: text + "\n",
        lambda text: text.replace("内", "\\u5185"),
    ],
)
def test_a_manifest_has_one_spelling(manifest: Manifest, edit: Callable[[str], str]) -> None:
    text = manifest.to_bytes().decode()
    assert edit(text) != text
    with pytest.raises(ArchiveFailed, match="it is not a manifest as retention writes it"):
        Manifest.from_bytes(edit(text).encode())
