"""The project as its files are now: what changes is read, a mistake keeps the last good set in force."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from retention.errors import InputError
from retention.ledger.control import Control
from retention.scheduling.current import Current

CONFIG = """\
timezone: UTC
control: sqlite:///retention.db
sources:
  crm:
    url: sqlite:///crm.db
    classes:
      notes: {table: notes, key: id, created: created_at, timezone: UTC}
archives:
  cold: {url: "file:./archive"}
"""
POLICY = """\
policy: notes
title: Notes
records: crm.notes
all: true
retain: {for: 90 days}
archive: {to: cold, keep: 1 year}
then: delete
schedule: daily
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "policies").mkdir()
    (tmp_path / "retention.yaml").write_text(CONFIG)
    (tmp_path / "policies" / "notes.yaml").write_text(POLICY)
    return tmp_path


def test_files_are_read_once_until_they_change(folder: Path) -> None:
    current = Current(folder / "retention.yaml")
    first = current.refresh()
    assert first is not None and first.error is None and first.set_digest == current.project.policies.digest
    assert current.refresh() is None
    (folder / "policies" / "notes.yaml").write_text(POLICY.replace("90 days", "100 days"))
    second = current.refresh()
    assert second is not None and second.set_digest not in (None, first.set_digest)
    assert str(current.project.policies.get("notes").retain.period) == "100 days"


def test_a_change_of_the_same_length_and_a_new_file_are_seen(folder: Path) -> None:
    current = Current(folder / "retention.yaml")
    current.refresh()
    path = folder / "policies" / "notes.yaml"
    path.write_text(POLICY.replace("90 days", "91 days"))
    os.utime(path, ns=(1, 1))
    assert current.refresh() is not None
    (folder / "policies" / "more.yaml").write_text(POLICY.replace("policy: notes", "policy: more"))
    assert current.refresh() is not None
    assert len(current.project.policies.policies) == 2
    (folder / "policies" / "more.yaml").unlink()
    assert current.refresh() is not None
    assert len(current.project.policies.policies) == 1


def test_a_mistake_keeps_the_last_good_set_and_is_told_whole(folder: Path) -> None:
    current = Current(folder / "retention.yaml")
    current.refresh()
    before = current.project
    (folder / "policies" / "notes.yaml").write_text(POLICY.replace("schedule", "shedule").replace("90 days", "0 days"))
    read = current.refresh()
    assert read is not None and read.error is not None
    assert 'no key "shedule"' in str(read.error) and "notes.yaml:5" in str(read.error)
    assert current.project is before
    assert current.refresh() is None, "the same mistake is not read again"
    (folder / "policies" / "notes.yaml").write_text(POLICY)
    mended = current.refresh()
    assert mended is not None and mended.error is None


def test_with_a_mistake_from_the_start_there_is_nothing_to_run(folder: Path) -> None:
    (folder / "policies" / "notes.yaml").write_text("policy: notes\n")
    current = Current(folder / "retention.yaml")
    assert current.refresh() is not None
    with pytest.raises(InputError, match="mistake"):
        current.engine()


def test_the_control_database_is_reached_with_mistakes_in_policies_too(folder: Path) -> None:
    """So that they can be reported there."""
    (folder / "policies" / "notes.yaml").write_text("policy: notes\n")
    Control.upgrade(f"sqlite:///{folder}/retention.db")
    current = Current(folder / "retention.yaml")
    current.refresh()
    with current.control.read():
        pass
    current.close()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("control: sqlite:///retention.db", "control: sqlite:///other.db"),
        ("timezone: UTC\n", "timezone: UTC\nbroker: redis://h/0\n"),
    ],
)
def test_another_control_database_or_broker_needs_a_new_start(folder: Path, old: str, new: str) -> None:
    current = Current(folder / "retention.yaml")
    current.refresh()
    (folder / "retention.yaml").write_text(CONFIG.replace(old, new, 1))
    read = current.refresh()
    assert read is not None and read.error is not None and "was changed" in read.error.message
    assert current.project.config.control.endswith("/retention.db")


def test_each_engine_is_new_and_all_share_one_control_database(folder: Path) -> None:
    Control.upgrade(f"sqlite:///{folder}/retention.db")
    current = Current(folder / "retention.yaml")
    current.refresh()
    first, second = current.engine(), current.engine()
    assert first is not second
    assert first.control is second.control
    current.close()
