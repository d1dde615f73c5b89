from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
import sqlalchemy as sa

from retention.archive.manifest import FileEntry
from retention.errors import NotFound, Refused
from retention.ledger import batches, chain, owner, runs, shards
from retention.ledger.batches import BATCH_EDGES, Batch, BatchFile, BatchState
from retention.ledger.control import Control
from retention.ledger.runs import RunState, RunTaken
from retention.ledger.tables import batch as batch_table

NOW = datetime(2026, 10, 1, 2, tzinfo=UTC)
ME = owner.new_owner()


@pytest.fixture
def run_id(control: Control) -> str:
    with control.write() as connection:
        run = runs.create(
            connection, kind=runs.RunKind.DISPOSITION, policy="sales", policy_digest="a" * 64, set_digest="b" * 64,
            records="crm.activities", as_of=NOW, requested_by="li", plan=None, at=NOW,
        )  # fmt: skip
        runs.move(connection, run.id, RunState.RUNNING, reason="", at=NOW)
        shards.create(connection, run.id)
        shards.take_all(connection, run.id, ME, NOW)
    return run.id


def mine(run_id: str) -> shards.Lease:
    return shards.Lease(run_id=run_id, number=1, owner=ME)


def batch(run_id: str, number: int = 1, **other: object) -> Batch:
    facts: dict[str, object] = {
        "id": f"B-{number}", "run_id": run_id, "number": number, "records": "crm.activities", "rows": 10,
        "dependent_rows": 4, "key_least": number * 10, "key_greatest": number * 10 + 9, "merkle_root": "c" * 64,
        "archive": "cold", "manifest": f"m{number}.json", "manifest_sha256": "d" * 64,
        "destroy_after": date(2028, 2, 29), "hold_epoch": 3, "source_transaction": "777",
        "prepared_at": NOW + timedelta(seconds=number),
    }  # fmt: skip
    return Batch(**facts | other)  # type: ignore[arg-type]


def data_file(path: str) -> FileEntry:
    return FileEntry(
        path=path, table=f"t-{path}", rows=10, bytes=2**40, sha256="e" * 64, merkle_root="f" * 64, key=(), columns=()
    )


def test_a_batch_comes_back_as_it_was_prepared(control: Control, run_id: str) -> None:
    made = batch(run_id)
    with control.write() as connection:
        batches.prepare(connection, mine(run_id), made, [data_file("b"), data_file("a")])
    with control.read() as connection:
        assert batches.get(connection, "B-1") == made
        assert batches.in_doubt(connection) == batches.in_doubt(connection, run_id) == [made]
        assert batches.in_doubt(connection, "another") == batches.committed(connection) == []
        assert batches.files(connection, "B-1") == [
            BatchFile(
                archive="cold",
                path=path,
                table=f"t-{path}",
                rows=10,
                bytes=2**40,
                sha256="e" * 64,
                merkle_root="f" * 64,
            )
            for path in "ab"
        ]
        assert [entry.kind for entry in chain.entries(connection, subject="B-1")] == []


def test_a_batch_without_an_archive(control: Control, run_id: str) -> None:
    made = batch(
        run_id, merkle_root=None, archive=None, manifest=None, manifest_sha256=None, destroy_after=None,
        key_least=None, key_greatest=None, source_transaction=None,
    )  # fmt: skip
    with control.write() as connection:
        with pytest.raises(ValueError, match="archive"):
            batches.prepare(connection, mine(run_id), made, [data_file("a")])
        batches.prepare(connection, mine(run_id), made, [])
        assert batches.get(connection, "B-1") == made
        batches.commit(connection, "B-1", NOW)
        with pytest.raises(Refused, match="no archive files"):
            batches.destroyed(connection, "B-1", run_id, NOW)


@pytest.mark.parametrize("state", [state for state in RunState if state is not RunState.RUNNING])
def test_only_a_running_run_prepares(control: Control, run_id: str, state: RunState) -> None:
    with control.write() as connection:
        connection.execute(sa.text("UPDATE run SET state = :state").bindparams(state=state.value))
        with pytest.raises(RunTaken):
            batches.prepare(connection, mine(run_id), batch(run_id), [])


def test_a_process_that_was_taken_over_cannot_prepare(control: Control, run_id: str) -> None:
    with control.write() as connection:  # two minutes later it has died, as far as anybody can tell
        [later] = shards.take_all(connection, run_id, "elsewhere:1:1", NOW + timedelta(minutes=2))
    with pytest.raises(RunTaken, match="taken over"), control.write() as connection:
        batches.prepare(connection, mine(run_id), batch(run_id), [data_file("a")])
    with control.write() as connection:
        assert batches.in_doubt(connection) == []
        batches.prepare(connection, later, batch(run_id), [data_file("a")])


def test_a_lease_is_for_its_own_run_and_an_open_shard(control: Control, run_id: str) -> None:
    with control.write() as connection:
        with pytest.raises(RunTaken):
            batches.prepare(connection, replace(mine(run_id), run_id="R-0"), batch(run_id), [])
        with pytest.raises(RunTaken):
            batches.prepare(connection, replace(mine(run_id), number=2), batch(run_id), [])
        shards.quarantine(connection, shards.get(connection, run_id, 1))
        connection.execute(sa.text("UPDATE shard SET owner = :me").bindparams(me=ME))
        with pytest.raises(RunTaken):
            batches.prepare(connection, mine(run_id), batch(run_id), [])


def test_a_cancelled_run_cannot_prepare_and_what_it_had_prepared_is_still_settled(
    control: Control, run_id: str
) -> None:
    with control.write() as connection:
        batches.prepare(connection, mine(run_id), batch(run_id), [])
        runs.move(connection, run_id, RunState.CANCELLED, reason="enough", at=NOW)
        with pytest.raises(RunTaken):
            batches.prepare(connection, mine(run_id), batch(run_id, 2), [])
        batches.commit(connection, "B-1", NOW)
        assert batches.get(connection, "B-1").state is BatchState.COMMITTED


def test_every_edge_and_no_other(control: Control, run_id: str) -> None:
    with control.write() as connection:
        for number, (before, after) in enumerate(itertools.product(BatchState, BatchState)):
            name = f"B-{number}"
            batches.prepare(connection, mine(run_id), batch(run_id, number), [data_file(name)])
            connection.execute(batch_table.update().where(batch_table.c.id == name).values(state=before.value))
            if after is BatchState.PREPARED:
                assert (before, after) not in BATCH_EDGES  # and no function leads there
                continue

            def settle(name: str = name, after: BatchState = after) -> None:
                if after is BatchState.COMMITTED:
                    batches.commit(connection, name, NOW)
                else:
                    batches.abort(connection, name, "rolled back", NOW)

            if (before, after) in BATCH_EDGES:
                settle()
                found = batches.get(connection, name)
                assert (found.state, found.resolved_at) == (after, NOW)
                (entry,) = chain.entries(connection, subject=name)
                assert entry.kind == f"batch.{after.value}"
            else:
                with pytest.raises(Refused, match=f"is {before.value} and cannot become {after.value}"):
                    settle()
                assert list(chain.entries(connection, subject=name)) == []


def test_the_ledger_keeps_everything_that_proves_a_batch(control: Control, run_id: str) -> None:
    with control.write() as connection:
        batches.prepare(connection, mine(run_id), batch(run_id, key_least="客"), [data_file("a")])
        batches.commit(connection, "B-1", NOW + timedelta(minutes=1))
        (entry,) = chain.entries(connection, kind="batch.committed")
    assert entry.facts == {
        "run_id": run_id, "number": 1, "records": "crm.activities", "rows": 10, "dependent_rows": 4,
        "key_least": '"客"', "key_greatest": "19", "merkle_root": "c" * 64, "hold_epoch": 3,
        "source_transaction": "777", "archive": "cold", "manifest": "m1.json", "manifest_sha256": "d" * 64,
        "keys_sha256": None,
        "destroy_after": "2028-02-29", "prepared_at": "2026-10-01T02:00:01.000000Z",
        "resolved_at": "2026-10-01T02:01:00.000000Z", "policy": "sales", "policy_digest": "a" * 64,
        "files": [{"archive": "cold", "path": "a", "table_name": "t-a", "rows": 10, "bytes": 2**40,
                   "sha256": "e" * 64, "merkle_root": "f" * 64}],
    }  # fmt: skip


def test_lists_and_destruction(control: Control, run_id: str) -> None:
    with control.write() as connection:
        for number, after in enumerate(
            [date(2028, 2, 28), date(2028, 2, 29), None, date(2020, 1, 1), date(2020, 1, 1)]
        ):
            made = batch(run_id, number, destroy_after=after, archive="cold" if number < 4 else "other")
            batches.prepare(connection, mine(run_id), made, [])
            if number != 3:
                batches.commit(connection, made.id, NOW)
        batches.abort(connection, "B-3", "rolled back", NOW)

        def due(today: date, archive: str = "cold") -> list[str]:
            return [found.id for found in batches.due_for_destruction(connection, archive, today)]

        assert due(date(2028, 2, 28)) == []
        assert due(date(2028, 2, 29)) == ["B-0"]
        assert due(date(2028, 3, 1)) == ["B-0", "B-1"]
        assert due(date(2028, 3, 1), "other") == ["B-4"]

        batches.destroyed(connection, "B-0", run_id, NOW)
        assert due(date(2028, 3, 1)) == ["B-1"]
        (entry,) = chain.entries(connection, kind="archive.destroyed")
        assert (entry.subject, entry.facts["destroyed_by_run"], entry.facts["manifest"]) == ("B-0", run_id, "m0.json")
        for refused in ("B-0", "B-3"):
            with pytest.raises(Refused, match="no archive files"):
                batches.destroyed(connection, refused, run_id, NOW)

        def ids(found: list[Batch]) -> list[str]:
            return [one.id for one in found]

        assert ids(batches.committed(connection)) == ["B-0", "B-1", "B-2", "B-4"]
        assert ids(batches.committed(connection, not_destroyed=True)) == ["B-1", "B-2", "B-4"]
        assert ids(batches.committed(connection, records="crm.activities", run=run_id)) == ["B-0", "B-1", "B-2", "B-4"]
        assert ids(batches.archived(connection, "cold")) == ["B-1", "B-2"]
        assert ids(batches.archived(connection, "other")) == ["B-4"]
        assert [batches.any_archived(connection, name) for name in ("cold", "other", "none")] == [True, True, False]
        assert batches.committed(connection, records="crm.other") == batches.committed(connection, run="R-0") == []


@pytest.mark.parametrize(
    ("ranges", "value", "expected"),
    [
        ([(1, 9), (10, 90), (100, 900)], 10, ["B-1"]),
        ([(1, 9), (10, 90), (100, 900)], 95, []),
        ([("A", "Z"), ("a", "z"), ("À", "ÿ")], "b", ["B-1"]),
        ([("A", "Z"), ("a", "z"), ("À", "ÿ")], "ä", ["B-2"]),
        ([("1", "9"), (None, None), (1, 9)], "5", ["B-0", "B-1", "B-2"]),
    ],
)
def test_candidates(
    control: Control, run_id: str, ranges: list[tuple[object, object]], value: object, expected: list[str]
) -> None:
    with control.write() as connection:
        for number, (least, greatest) in enumerate(ranges):
            batches.prepare(connection, mine(run_id), batch(run_id, number, key_least=least, key_greatest=greatest), [])
            batches.commit(connection, f"B-{number}", NOW)
        batches.prepare(connection, mine(run_id), batch(run_id, 8, key_least=None), [])
        batches.prepare(connection, mine(run_id), batch(run_id, 9, records="crm.other", key_least=None), [])
        batches.commit(connection, "B-9", NOW)
        assert [found.id for found in batches.candidates(connection, "crm.activities", value)] == expected


def test_what_a_run_knows_of_its_batches(control: Control, run_id: str) -> None:
    with control.write() as connection:
        assert batches.next_number(connection, run_id, shard=1, shards=1) == 1
        for number in (3, 7, 5):
            batches.prepare(
                connection, mine(run_id), batch(run_id, number), [data_file(f"f{number}"), data_file(f"g{number}")]
            )
        batches.commit(connection, "B-3", NOW)
        batches.abort(connection, "B-7", "rolled back", NOW)
        assert batches.known_paths(connection, run_id) == ["f3", "f5", "g3", "g5", "m3.json", "m5.json"]
        assert batches.known_paths(connection, "R-0") == []
        assert batches.next_number(connection, run_id, shard=1, shards=1) == 8
        # each of four shards counts its own: 3 and 7 are the third's, 5 is the first's
        assert [batches.next_number(connection, run_id, shard=one, shards=4) for one in (1, 2, 3, 4)] == [9, 2, 11, 4]
        assert [batches.exists(connection, name) for name in ("B-7", "B-8")] == [True, False]


def test_there_is_no_such_batch(control: Control) -> None:
    with control.write() as connection, pytest.raises(NotFound, match="no batch B-0"):
        batches.commit(connection, "B-0", NOW)


def test_a_batch_is_a_value(run_id: str) -> None:
    assert replace(batch(run_id), rows=1) != batch(run_id)
