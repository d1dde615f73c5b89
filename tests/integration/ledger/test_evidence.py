"""Tampering with the rows of a real control database: the chain, and the tables beside it."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from retention.archive.manifest import FileEntry
from retention.errors import EvidenceBroken, InputError
from retention.holds.hold import Hold, HoldState
from retention.holds.scope import Everything, Keys
from retention.ledger import batches, chain, holds, owner, runs, shards
from retention.ledger.batches import Batch
from retention.ledger.chain import Entry
from retention.ledger.control import Control
from retention.ledger.cross_check import cross_check
from retention.ledger.export import compare, export, read_export, verify_export
from retention.ledger.runs import RunState
from retention.ledger.verify import verify_chain
from tests.integration.ledger.conftest import quoted

NOW = datetime(2026, 10, 1, 2, tzinfo=UTC)
ME = owner.new_owner()


@pytest.fixture
def story(control: Control) -> Control:
    """Runs, batches and holds in every state that they can be left in."""
    with control.write() as connection:
        for policy in ("one", "two", "three"):
            run = runs.create(
                connection, kind=runs.RunKind.DISPOSITION, policy=policy, policy_digest="a" * 64, set_digest="b" * 64,
                records="crm.a", as_of=NOW, requested_by="li", plan={"due": 7}, at=NOW,
            )  # fmt: skip
            connection.execute(sa.text("UPDATE run SET id = id"))
            if policy == "three":
                break
            runs.move(connection, run.id, RunState.RUNNING, reason="", at=NOW)
            shards.create(connection, run.id)
            [lease] = shards.take_all(connection, run.id, ME, NOW)
            for number, name in enumerate(["committed", "aborted", "prepared", "destroyed"]):
                files = [
                    FileEntry(path=f"{policy}-{name}-{part}", table="t", rows=5, bytes=9, sha256="e" * 64,
                              merkle_root="f" * 64, key=(), columns=())
                    for part in range(2)
                ]  # fmt: skip
                batch = Batch(
                    id=f"B-{policy}-{name}", run_id=run.id, number=number, records="crm.a", rows=5, dependent_rows=5,
                    key_least=1, key_greatest=5, merkle_root="f" * 64, archive="cold", manifest=f"{policy}-{name}.json",
                    manifest_sha256="d" * 64, destroy_after=date(2027, 1, 1), hold_epoch=0, source_transaction=None,
                    prepared_at=NOW,
                )  # fmt: skip
                batches.prepare(connection, lease, batch, files)
                if name == "aborted":
                    batches.abort(connection, batch.id, "rolled back", NOW)
                elif name != "prepared":
                    batches.commit(connection, batch.id, NOW)
                if name == "destroyed":
                    end = runs.create(
                        connection, kind=runs.RunKind.DESTRUCTION, policy="cold", policy_digest="a" * 64,
                        set_digest="b" * 64, records="*", as_of=NOW, requested_by="li",
                        plan={"batches": [batch.id], "held": []}, at=NOW,
                    )  # fmt: skip
                    batches.destroyed(connection, batch.id, end.id, NOW)
            if policy == "one":
                runs.move(connection, run.id, RunState.FAILED, reason="lost the line", at=NOW, result={"rows": 1})
                runs.move(connection, run.id, RunState.RUNNING, reason="again", at=NOW)
                runs.move(connection, run.id, RunState.FINISHED, reason="done", at=NOW, result={"rows": 10})
        for name in ("pending", "in-force", "released", "given-up"):
            keyed = name == "in-force"
            hold = Hold(
                id=f"H-{name}", matter="m", reason="r", placed_by="li", placed_at=NOW, state=HoldState.PENDING,
                scope=Keys(records="crm.a", count=0) if keyed else Everything(),
            )  # fmt: skip
            holds.place(connection, hold, [(1,), (2,)] if keyed else [], ["crm", "shop"])
            if name in ("in-force", "released"):
                holds.confirm(connection, hold.id, "crm", NOW)
                holds.confirm(connection, hold.id, "shop", NOW)
            if name in ("released", "given-up"):
                holds.release(connection, hold.id, by="wang", reason="settled", at=NOW)
        holds.confirm(connection, "H-given-up", "crm", NOW)
        holds.confirm(connection, "H-given-up", "shop", NOW)
    return control


def chain_findings(control: Control) -> list[str]:
    with control.read() as connection:
        return [str(one) for one in verify_chain(chain.entries(connection), chain.read_head(connection))]


def table_findings(control: Control) -> list[str]:
    with control.read() as connection:
        return [str(finding) for finding in cross_check(connection)]


def tamper(control: Control, *statements: str) -> None:
    with control.write() as connection:
        for statement in statements:
            connection.exec_driver_sql(quoted(connection, statement))


def test_an_honest_story_has_no_findings(story: Control) -> None:
    assert chain_findings(story) == []
    assert table_findings(story) == []


@pytest.mark.parametrize(
    ("statements", "finding"),
    [
        (["UPDATE ledger SET at = '2020-01-01T00:00:00.000000Z' WHERE seq = 7"],
         "entry 7 was changed after it was written"),
        (["UPDATE ledger SET kind = 'run.failed' WHERE seq = 7"], "entry 7 was changed after it was written"),
        (["UPDATE ledger SET subject = 'x' WHERE seq = 7"], "entry 7 was changed after it was written"),
        (["UPDATE ledger SET body = '{}' WHERE seq = 7"], "entry 7 was changed after it was written"),
        (["UPDATE ledger SET body = replace(body, '{', '{ ') WHERE seq = 7"], "entry 7 was changed after it was written"),
        (["UPDATE ledger SET previous = hash WHERE seq = 7"], "entry 7 was changed after it was written"),
        (["UPDATE ledger SET hash = previous WHERE seq = 7"], "entry 7 was changed after it was written"),
        (["DELETE FROM ledger WHERE seq = 7"], "entry 7 is missing"),
        (["DELETE FROM ledger WHERE seq = 1"], "entry 1 is missing"),
        (["UPDATE ledger SET seq = 1000 WHERE seq = 7", "UPDATE ledger SET seq = 7 WHERE seq = 8",
          "UPDATE ledger SET seq = 8 WHERE seq = 1000"], "entry 7 holds what was written as entry 8"),
        (["DELETE FROM ledger WHERE seq > 5"], "the chain ends at 5 but its head says"),
        (["DELETE FROM ledger"], "the chain ends at 0 but its head says"),
        (["DELETE FROM head"], "and its head is missing"),
        (["UPDATE head SET seq = seq - 1"], "the head says that the chain ends at"),
        (["UPDATE head SET hash = 'f'"], "the head has another hash than entry"),
    ],
)  # fmt: skip
def test_tampering_with_the_chain(story: Control, statements: list[str], finding: str) -> None:
    tamper(story, *statements)
    assert any(finding in found for found in chain_findings(story)), chain_findings(story)


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        ("UPDATE batch SET `rows` = 6 WHERE id = 'B-one-committed'",
         "batch B-one-committed has rows 6 in its table, entry"),
        ("UPDATE batch SET manifest_sha256 = 'x' WHERE id = 'B-one-committed'", "has manifest_sha256 'x' in its table"),
        ("UPDATE batch SET destroy_after = '2099-01-01' WHERE id = 'B-one-committed'",
         "has destroy_after '2099-01-01'"),
        ("UPDATE batch SET key_least = '2' WHERE id = 'B-one-committed'", "has key_least '2' in its table"),
        ("UPDATE batch SET state = 'committed' WHERE id = 'B-one-prepared'",
         "batch B-one-prepared stands in its table, but the ledger has no batch.committed of it"),
        ("UPDATE batch SET state = 'prepared' WHERE id = 'B-one-committed'",
         "says batch.committed, its table does not"),
        ("UPDATE batch SET state = 'aborted' WHERE id = 'B-one-committed'", "the ledger has no batch.aborted of it"),
        ("UPDATE batch SET state = 'lost' WHERE id = 'B-one-committed'", "the ledger has no batch.lost of it"),
        ("UPDATE batch SET destroyed_at = NULL, destroyed_by_run = NULL WHERE id = 'B-one-destroyed'",
         "says archive.destroyed, its table does not"),
        ("UPDATE batch SET destroyed_at = '2026-10-01T02:00:00.000000Z' WHERE id = 'B-one-committed'",
         "the ledger has no archive.destroyed of it"),
        ("UPDATE batch SET destroyed_by_run = run_id WHERE id = 'B-one-committed'",
         "batch B-one-committed names run R-"),
        ("UPDATE batch SET destroyed_by_run = (SELECT run FROM (SELECT destroyed_by_run AS run FROM batch"
         " WHERE id = 'B-one-destroyed') AS other)"
         " WHERE id = 'B-one-committed'", "as its destruction, which did not plan that"),
        ("UPDATE batch SET `keys` = '[]' WHERE id = 'B-one-committed'", "batch B-one-committed has keys_sha256 "),
        ("UPDATE hold_source SET confirmed_at = 'x' WHERE hold_id = 'H-in-force'", "hold H-in-force has confirmed {"),
        ("UPDATE archive_file SET sha256 = 'x' WHERE path = 'one-committed-1'", "batch B-one-committed has files [{"),
        ("UPDATE archive_file SET `rows` = 1 WHERE path = 'one-aborted-0'", "batch B-one-aborted has files [{"),
        ("DELETE FROM archive_file WHERE path = 'one-committed-0'", "batch B-one-committed has files [{"),
        ("DELETE FROM archive_file WHERE batch_id = 'B-one-committed'",
         "batch B-one-committed has files [] in its table"),
        ("UPDATE archive_file SET batch_id = 'B-one-committed' WHERE path = 'one-aborted-0'",
         "B-one-aborted has files"),
        ("UPDATE run SET policy = 'other' WHERE policy = 'one'", "has policy 'other' in its table"),
        ("UPDATE run SET plan = '{}' WHERE policy = 'one'", "has plan_sha256 "),
        ("UPDATE run SET plan = NULL WHERE policy = 'one'", "has plan_sha256 None"),
        ("UPDATE run SET result = '{\"rows\":11}' WHERE policy = 'one'", "has result {'rows': 11} in its table"),
        ("UPDATE run SET result = 'eleven' WHERE policy = 'one'", "has result 'eleven' in its table"),
        ("UPDATE run SET reason = 'fine' WHERE policy = 'one'", "has reason 'fine' in its table"),
        ("UPDATE run SET finished_at = NULL WHERE policy = 'one'", "has finished_at None in its table"),
        ("UPDATE run SET state = 'failed' WHERE policy = 'one'", "has entry 'run.failed' in its table"),
        ("UPDATE run SET state = 'running' WHERE policy = 'three'", "has entry 'run.started' in its table"),
        ("UPDATE run SET state = 'gone' WHERE policy = 'three'", "has entry 'gone' in its table"),
        ("UPDATE run SET as_of = '2030-01-01T00:00:00.000000Z' WHERE policy = 'three'", "has as_of '2030"),
        ("DELETE FROM run WHERE policy = 'three'", "and is missing from its table"),
        ("INSERT INTO run SELECT 'R-x', kind, policy, policy_digest, set_digest, records, as_of, state, requested_by,"
         " created_at, finished_at, plan, result, reason FROM run WHERE policy = 'three'",
         "run R-x stands in its table, but the ledger has no run.planned of it"),
        ("UPDATE hold SET scope = '{\"kind\":\"class\",\"records\":\"crm.b\"}' WHERE id = 'H-pending'",
         "hold H-pending has scope "),
        ("UPDATE hold SET first_day = '2026-01-01' WHERE id = 'H-in-force'",
         "hold H-in-force has first_day '2026-01-01'"),
        ("UPDATE hold SET matter = 'x' WHERE id = 'H-in-force'", "hold H-in-force has matter 'x'"),
        ("UPDATE hold SET state = 'in force' WHERE id = 'H-pending'", "the ledger has no hold.in-force of it"),
        ("UPDATE hold SET state = 'pending' WHERE id = 'H-in-force'",
         "hold H-in-force has state 'pending' in its table"),
        ("UPDATE hold SET state = 'released' WHERE id = 'H-in-force'", "the ledger has no hold.released of it"),
        ("UPDATE hold SET released_at = '2020-01-01T00:00:00.000000Z' WHERE id = 'H-in-force'",
         "the ledger has no hold.released of it"),
        ("UPDATE hold SET released_at = '2020-01-01T00:00:00.000000Z' WHERE id = 'H-released'",
         "hold H-released has released_at '2020-01-01T00:00:00.000000Z' in its table, entry"),
        ("UPDATE hold SET released_at = NULL, released_by = NULL, release_reason = NULL, state = 'in force'"
         " WHERE id = 'H-released'", "says hold.released, its table does not"),
        ("UPDATE hold SET release_reason = 'x' WHERE id = 'H-given-up'", "hold H-given-up has release_reason 'x'"),
        ("UPDATE hold SET state = 'void' WHERE id = 'H-pending'", "the ledger has no hold.void of it"),
        ("DELETE FROM hold_key WHERE `key` = '[1]'", "hold H-in-force has keys_sha256 "),
        ("UPDATE hold_key SET `key` = '[3]' WHERE `key` = '[1]'", "hold H-in-force has keys_sha256 "),
        ("INSERT INTO hold_key VALUES ('H-pending', '[3]')", "hold H-pending has keys_sha256 "),
        ("DELETE FROM hold_source WHERE hold_id = 'H-pending' AND source = 'crm'",
         "hold H-pending has sources ['shop']"),
        ("UPDATE hold_source SET confirmed_at = 'x' WHERE hold_id = 'H-pending'",
         "the ledger has no hold.in-force of it"),
        ("UPDATE head SET hold_epoch = 5", "the head counts 5 changes of holds, the ledger has 6"),
    ],
)  # fmt: skip
def test_tampering_with_the_tables(story: Control, statement: str, finding: str) -> None:
    tamper(story, statement)
    assert chain_findings(story) == []
    found = table_findings(story)
    assert any(finding in one for one in found), found


def test_a_hold_that_was_deleted(story: Control) -> None:
    tamper(story, *(f"DELETE FROM {table} WHERE hold_id = 'H-in-force'" for table in ("hold_key", "hold_source")))
    tamper(story, "DELETE FROM hold WHERE id = 'H-in-force'")
    (finding,) = table_findings(story)
    assert finding.startswith("H-in-force stands in the ledger (entry ")
    assert finding.endswith(", hold.placed) and is missing from its table")


def test_a_batch_that_was_deleted(story: Control) -> None:
    tamper(
        story,
        "DELETE FROM archive_file WHERE batch_id = 'B-one-destroyed'",
        "DELETE FROM batch WHERE id = 'B-one-destroyed'",
    )
    (finding,) = table_findings(story)
    assert "B-one-destroyed stands in the ledger" in finding and "batch.committed" in finding


def test_both_checks_bear_damage_that_only_sqlite_allows(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'control.db'}"
    Control.upgrade(url)
    with Control.open(url) as control:
        with control.write() as connection:
            hold = Hold(
                id="H-1",
                matter="m",
                reason="r",
                placed_by="li",
                placed_at=NOW,
                scope=Everything(),
                state=HoldState.PENDING,
            )
            holds.place(connection, hold, (), ["crm"])
            run = runs.create(
                connection, kind=runs.RunKind.DISPOSITION, policy="one", policy_digest="a" * 64, set_digest="b" * 64,
                records="crm.a", as_of=NOW, requested_by="li", plan={"due": 7}, at=NOW,
            )  # fmt: skip
        with sqlite3.connect(tmp_path / "control.db") as raw:
            raw.execute("UPDATE ledger SET body = CAST(x'ff00' AS TEXT) WHERE seq = 1")
            raw.execute("UPDATE ledger SET body = x'ff00' WHERE seq = 2")
            raw.execute("UPDATE hold SET matter = x'ff00', scope = CAST(x'ff' AS TEXT)")
            raw.execute("UPDATE run SET plan = x'ff', result = CAST(x'ff' AS TEXT), state = CAST(x'ff' AS TEXT)")
            raw.execute("UPDATE ledger SET body = '{\"plan_sha256\":NaN}' WHERE seq = 3")
            raw.execute("UPDATE head SET seq = 'many'")
        raw.close()
        assert chain_findings(control)[:3] == [f"entry {seq} was changed after it was written" for seq in (1, 2, 3)]
        assert chain_findings(control)[3].startswith("the head names 'many' as the last entry")
        found = table_findings(control)
    assert any("hold H-1 has matter" in one for one in found)
    assert any(f"run {run.id} has plan_sha256" in one for one in found)


def exported(control: Control) -> list[str]:
    out = io.StringIO()
    with control.read() as connection:
        export(connection, out)
    return out.getvalue().splitlines(keepends=True)


def live(control: Control) -> list[Entry]:
    with control.read() as connection:
        return list(chain.entries(connection))


def test_an_export_tells_the_whole_chain(story: Control) -> None:
    lines = exported(story)
    assert verify_export(lines) == []
    assert verify_export([line.rstrip("\n") for line in lines]) == []
    assert list(read_export(lines)) == live(story)
    assert compare(read_export(lines), live(story)) == []


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda lines: lines[:-1], "1 entry was cut off"),
        (lambda lines: lines[:3] + lines[4:], "entry 3 is missing"),
        (lambda lines: [*lines[:3], lines[4], lines[3], *lines[5:]], "entry 3 is missing"),
        (lambda lines: [*lines, lines[-1]], "stands after entry"),
        (lambda lines: [*lines[:2], lines[2].replace('"li"', '"wu"'), *lines[3:]], "entry 2 was changed"),
        (lambda lines: [*lines[:3], lines[3].replace(",", ", ", 1), *lines[4:]],
         "line 4 is not an entry as the export"),
        (lambda lines: [*lines[:3], "{}\n", *lines[4:]], "line 4 is not an entry as the export writes it"),
        (lambda lines: [*lines[:3], "\n", *lines[3:]], "line 4 is not an entry as the export writes it"),
        (lambda lines: [*lines[:3], "[" * 9999, *lines[4:]], "line 4 is not an entry as the export writes it"),
        (lambda lines: lines[:1], "the chain ends at 0 but its head says"),
    ],
)  # fmt: skip
def test_a_changed_export(story: Control, change: Callable[[list[str]], list[str]], finding: str) -> None:
    found = [str(one) for one in verify_export(change(exported(story)))]
    assert any(finding in one for one in found), found


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["\n"],
        ["{}\n"],
        ["no JSON"],
        ["[]"],
        ['{"format":"retention-ledger","head":{"hash":"0","seq":1},"version":2}'],
    ],
)
def test_what_is_no_export(lines: list[str]) -> None:
    for read in (verify_export, read_export):
        with pytest.raises(InputError):
            read(lines)


def test_an_earlier_export_is_the_beginning_of_a_later_one(story: Control) -> None:
    earlier = exported(story)
    with story.write() as connection:
        chain.append(connection, kind="policies.changed", subject="x", body={}, at=NOW)
    later = exported(story)
    assert verify_export(later) == []
    assert compare(read_export(earlier), read_export(later)) == []
    found = [str(one) for one in compare(read_export(later), read_export(earlier))]
    assert found == [f"entry {len(later) - 1} of the earlier export is missing"]


def test_a_chain_that_was_rewritten_as_a_whole_is_found_by_who_kept_an_export(story: Control) -> None:
    kept = exported(story)
    honest = live(story)
    with story.write() as connection:
        connection.exec_driver_sql("DELETE FROM ledger")
        connection.exec_driver_sql(f"UPDATE head SET seq = 0, hash = '{chain.GENESIS}'")
        for entry in honest:
            body = entry.facts | ({"rows": 4} if entry.seq == 6 else {})
            at = datetime.fromisoformat(entry.at)
            chain.append(connection, kind=entry.kind, subject=entry.subject, body=body, at=at)
    assert chain_findings(story) == []  # nothing in the database betrays it
    found = compare(read_export(kept), live(story))
    assert str(found[0]) == "entry 6 is not the one that the earlier export has"


@pytest.mark.parametrize("statement", ["DELETE FROM head", "UPDATE ledger SET body = 'x' WHERE seq = 4"])
def test_a_broken_ledger_is_not_exported(story: Control, statement: str) -> None:
    tamper(story, statement)
    with pytest.raises(EvidenceBroken):
        exported(story)


def test_entries_are_read_in_pages_and_may_be_left_unread(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "_PAGE", 3)
    with control.write() as connection:
        for number in range(1, 9):
            chain.append(connection, kind="policies.changed", subject=f"s{number % 2}", body={}, at=NOW)
    with control.read() as connection:
        assert [entry.seq for entry in chain.entries(connection)] == list(range(1, 10))
        assert [entry.seq for entry in chain.entries(connection, 4)] == [5, 6, 7, 8, 9]
        assert [entry.seq for entry in chain.entries(connection, subject="s1")] == [2, 4, 6, 8]
        assert [entry.seq for entry in chain.entries(connection, 2, kind="policies.changed", subject="s1")] == [4, 6, 8]
        assert next(chain.entries(connection)).seq == 1
        assert [entry.seq for entry in chain.newest(connection, last=2)] == [8, 9]
        found = chain.newest(connection, last=2, kind="policies.changed", subject="s1")
        assert [entry.seq for entry in found] == [6, 8]
        assert chain.newest(connection, last=2, kind="run.planned") == []
        assert chain.get(connection, 9).subject == "s0"
