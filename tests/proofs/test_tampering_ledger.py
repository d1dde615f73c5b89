"""P5: every row of the evidence, each of its columns, removed, copied, exchanged; the tail cut; exports and checkpoints."""

from __future__ import annotations

import io
import itertools
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from retention.disposition import destroy, holding, restore
from retention.disposition.evidence import all_findings, verify_file
from retention.errors import EvidenceBroken, InputError, SourceFailed
from retention.holds.scope import Everything, Keys
from retention.ledger import chain, checkpoint, tables
from retention.ledger.export import export, verify_export
from tests.proofs.commands import Commands

#: what is evidence: nothing of it may change unseen
EVIDENCE = ("run", "batch", "archive_file", "hold", "hold_key", "hold_source", "ledger", "head")

#: columns of the evidence that only say who works on it now; a lie there delays, and deletes nothing
LEASES = {("run", "owner"), ("run", "owner_seen_at")}

#: tables that say what is to be done next, and nothing of what was done: the ledger does not repeat them
WORKING = {"schedule", "slot", "shard", "worker", "pause", "policy_load", "observation"}


@pytest.fixture(params=[None, "mariadb_control_url"], ids=["file", "mariadb"])
def site_control(request: pytest.FixtureRequest) -> str | None:
    return None if request.param is None else str(request.getfixturevalue(request.param))


@pytest.fixture
def told(site: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs, an aborted batch, a restore, a destruction, and holds in every state."""
    site.fill(60)
    engine = site.engine()
    released = holding.place(
        engine, matter="M-1", reason="court", scope=Keys(records="crm.activities", count=1), keys=["15"]
    )
    site.run()
    holding.release(engine, released.hold.id, reason="settled")
    restore.restore(
        site.engine(), restore.choose(engine, run=None, keys=["30"], where=(), address=None), reason="asked for"
    )
    with site.at(datetime(2030, 1, 1, tzinfo=UTC)):
        later = site.engine()
        for plan in destroy.plan_destruction(later, ("cold",)):
            destroy.destroy(later, plan)
    with monkeypatch.context() as patch:
        patch.setattr(holding, "_pass_fences", _away)
        holding.place(site.engine(), matter="M-2", reason="court", scope=Everything())
    assert site.findings() == []
    return site


def _away(engine: Any, source: str) -> None:
    raise SourceFailed(f"{source}: cannot be reached")


def _another(value: object) -> list[object]:
    """Values that a forger might put in the place of this one."""
    if value is None:
        return ["2026-01-01T00:00:00.000000Z"]
    if isinstance(value, int):
        return [value + 1, -1]
    text = str(value)
    return [text[:-1] + ("0" if text[-1:] != "0" else "1"), None]


def _apply(connection: sa.Connection, statements: list[sa.Executable]) -> list[str] | None:
    """What is found after the statements, which are then undone; None where the database refused them."""
    nested = connection.begin_nested()
    try:
        for statement in statements:
            connection.execute(statement)
        return all_findings(connection)
    except (sa.exc.IntegrityError, sa.exc.DataError, sa.exc.ProgrammingError):
        return None
    finally:
        nested.rollback()


def _rows(connection: sa.Connection, name: str) -> list[dict[str, Any]]:
    return [row._asdict() for row in connection.execute(tables.metadata.tables[name].select())]


def _this(table: sa.Table, row: dict[str, Any]) -> sa.ColumnElement[bool]:
    return sa.and_(*(column == row[column.name] for column in table.primary_key))


def test_every_table_is_evidence_or_work() -> None:
    assert set(tables.metadata.tables) - set(EVIDENCE) <= WORKING


def _unprotected(connection: sa.Connection) -> None:
    """A forger does not mind foreign keys."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")


@pytest.mark.parametrize("name", EVIDENCE)
def test_every_column_of_every_row(told: Any, name: str) -> None:
    table = tables.metadata.tables[name]
    tried = 0
    with told.engine().control.write() as connection:
        rows = _rows(connection, name)
        assert rows, f"the story leaves {name} empty"
        for row in rows:
            for column in table.columns:
                if (name, column.name) in LEASES or (name == "batch" and row["state"] == "prepared"):
                    continue
                for value in _another(row[column.name]):
                    if isinstance(value, str) and isinstance(column.type, sa.BigInteger | sa.Integer):
                        continue
                    change = table.update().where(_this(table, row)).values({column.name: value})
                    _unprotected(connection)
                    found = _apply(connection, [change])
                    assert found is None or found, f"{name}.{column.name} {row[column.name]!r} -> {value!r}"
                    tried += found is not None
    assert tried > 0


@pytest.mark.parametrize("name", [one for one in EVIDENCE if one != "head"])
def test_every_row_removed_copied_and_exchanged(told: Any, name: str) -> None:
    table = tables.metadata.tables[name]
    with told.engine().control.write() as connection:
        rows = _rows(connection, name)
        key = [column.name for column in table.primary_key][-1]
        for row in rows:
            _unprotected(connection)
            found = _apply(connection, [table.delete().where(_this(table, row))])
            assert found is None or found, f"{name} without {row}"
            twin = row | {key: row[key] + 1_000 if isinstance(row[key], int) else f"{row[key]}x"}
            _unprotected(connection)
            found = _apply(connection, [table.insert().values(twin)])
            assert found is None or found, f"{name} with {twin}"
        for one, other in itertools.pairwise(rows):
            contents = [{name: row[name] for name in row if name not in table.primary_key} for row in (one, other)]
            if not contents[0] or contents[0] == contents[1]:
                continue
            _unprotected(connection)
            found = _apply(
                connection,
                [
                    table.update().where(_this(table, one)).values(contents[1]),
                    table.update().where(_this(table, other)).values(contents[0]),
                ],
            )
            assert found is None or found, f"{name}: {one} and {other} exchanged"


def test_every_entry_changed_with_a_hash_that_fits_it(told: Any) -> None:
    """A forger who knows how hashes are made, and does not write everything after it anew."""
    table = tables.ledger
    with told.engine().control.write() as connection:
        for entry in chain.entries(connection):
            forged = replace(entry, subject=f"{entry.subject}x")
            change = table.update().where(table.c.seq == entry.seq)
            found = _apply(connection, [change.values(subject=forged.subject, hash=forged.computed_hash())])
            assert found is not None and f"entry {entry.seq}" in found[0]


#: what a person does to the ledger by hand, and what the command must then name
BY_HAND = {
    "changed": (("UPDATE ledger SET subject = 'other' WHERE seq = 5",), "entry 5"),
    "removed": (("DELETE FROM ledger WHERE seq = 5",), "5"),
    "inserted": (
        ("INSERT INTO ledger SELECT 1000, at, kind, subject, body, previous, hash FROM ledger WHERE seq = 5",),
        "1,?000|5",
    ),
    "swapped": (
        (
            "UPDATE ledger SET seq = -5 WHERE seq = 5",
            "UPDATE ledger SET seq = 5 WHERE seq = 6",
            "UPDATE ledger SET seq = 6 WHERE seq = -5",
        ),
        "entry 5|entry 6",
    ),
    "its tail cut off": (("DELETE FROM ledger WHERE seq > 6",), "cut off"),
}


@pytest.mark.parametrize("what", BY_HAND)
def test_what_is_done_by_hand_is_found_by_the_command_and_in_an_export(
    told: Any, commands: Commands, what: str, tmp_path: Path
) -> None:
    statements, named = BY_HAND[what]
    before, after = tmp_path / "before", tmp_path / "after"
    assert commands.run(told.config, "audit", "export", str(before)).status == 0
    assert commands.run(told.config, "audit", "verify").status == 0
    for statement in statements:
        told.control(statement)
    found = commands.run(told.config, "audit", "verify")
    assert found.status == 1 and re.search(named, found.said), found.said
    # the export of a ledger that was tampered with, without the database; and beside what was exported before
    assert commands.run(told.config, "audit", "export", str(after)).status == 0
    words = ["audit", "verify", "--export", str(after)]
    if what != "its tail cut off":  # an export ends where the ledger does, as any history may
        assert commands.run(told.config, *words).status == 1
    offline = commands.run(told.config, *words, "--against", str(before))
    assert offline.status == 1, offline.said


def test_the_tail_cut_off(told: Any, tmp_path: Path) -> None:
    """With the head left alone, the chain says it. With the head moved back, a checkpoint does."""
    key, out = tmp_path / "key", tmp_path / "signed"
    checkpoint.make_keys(key, tmp_path / "key.pub")
    with told.engine().control.write() as connection:
        entries = list(chain.entries(connection))
        out.write_text(checkpoint.sign(entries, key, datetime.now(UTC)).to_text())
        signed = checkpoint.read_checkpoint(out, tmp_path / "key.pub")
        assert checkpoint.check(entries, signed) == []
        for kept in range(1, len(entries)):
            cut = tables.ledger.delete().where(tables.ledger.c.seq > kept)
            found = _apply(connection, [cut])
            assert found is not None and "cut off" in found[0]
            [finding] = checkpoint.check(entries[:kept], signed)
            assert f"the ledger ends at {kept}" in finding.what


def test_a_history_that_was_written_anew(told: Any, tmp_path: Path) -> None:
    """Whoever owns the control database can make another whole chain; not one that a checkpoint agrees with."""
    key, out = tmp_path / "key", tmp_path / "signed"
    assert told.cli("audit", "verify").returncode == 0
    made = told.engine()
    checkpoint.make_keys(key, tmp_path / "key.pub")
    words = ("audit", "checkpoint", "--key", str(key), "--out", str(out))
    assert told.cli(*words).returncode == 0
    verify = ("audit", "verify", "--checkpoint", str(out), "--public-key", str(tmp_path / "key.pub"))
    assert told.cli(*verify).returncode == 0
    with made.control.write() as connection:
        honest = list(chain.entries(connection))
        connection.execute(tables.ledger.delete())
        connection.execute(tables.head.update().values(seq=0, hash=chain.GENESIS))
        for entry in honest:
            body = entry.facts | ({"by": "somebody else"} if entry.kind == "policies.changed" else {})
            chain.append(
                connection, kind=entry.kind, subject=entry.subject, body=body, at=datetime.fromisoformat(entry.at)
            )
    assert told.findings() == [], "nothing in the database betrays it"
    found = told.cli(*verify)
    assert found.returncode == 1
    assert "the ledger was rewritten at or before it" in found.stderr


def test_every_byte_of_an_export(told: Any, tmp_path: Path) -> None:
    out = io.StringIO()
    with told.engine().control.read() as connection:
        export(connection, out)
    content = out.getvalue().encode()
    tried = 0
    for place in range(0, len(content), 3):
        changed = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        try:
            lines = changed.decode().splitlines(keepends=True)
            found = bool(verify_export(lines))
        except (UnicodeDecodeError, InputError):
            found = True
        assert found, f"byte {place}: {changed[max(place - 40, 0) : place + 40]!r}"
        tried += 1
    assert tried > 1_000
    path = tmp_path / "export"
    path.write_bytes(content)
    assert verify_file(path).findings == ()


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    checkpoint.make_keys(tmp_path / "key", tmp_path / "key.pub")
    return tmp_path / "key", tmp_path / "key.pub"


def test_every_byte_of_a_checkpoint(keys: tuple[Path, Path], tmp_path: Path) -> None:
    entry = chain.Entry(seq=7, at="", kind="hold.placed", subject="", body="{}", previous="", hash="ab" * 32)
    signed = checkpoint.sign([entry], keys[0], datetime(2026, 10, 1, tzinfo=UTC))
    path = tmp_path / "checkpoint"
    content = signed.to_text().encode()
    path.write_bytes(content)
    assert checkpoint.read_checkpoint(path, keys[1]) == signed
    for place in range(len(content) - 1):  # the last is the line break
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises((InputError, EvidenceBroken)):
            checkpoint.read_checkpoint(path, keys[1])
    path.write_bytes(content)
    checkpoint.make_keys(tmp_path / "other", tmp_path / "other.pub")
    with pytest.raises(EvidenceBroken, match="was not signed by the owner of"):
        checkpoint.read_checkpoint(path, tmp_path / "other.pub")


def test_keys_are_made_once_and_for_their_owner_alone(keys: tuple[Path, Path], tmp_path: Path) -> None:
    assert keys[0].stat().st_mode & 0o777 == 0o600
    with pytest.raises(InputError, match="exists already"):
        checkpoint.make_keys(keys[0], tmp_path / "new.pub")
    with pytest.raises(InputError, match="exists already"):
        checkpoint.make_keys(tmp_path / "new", keys[1])
    assert not (tmp_path / "new").exists() and not (tmp_path / "new.pub").exists()
    with pytest.raises(InputError, match="cannot be written"):
        checkpoint.make_keys(tmp_path / "nowhere" / "key", tmp_path / "new.pub")


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"\xff", b"[" * 99_999, b'{"format":"retention-checkpoint","version":2}']
)
def test_what_is_no_checkpoint_and_no_key(keys: tuple[Path, Path], tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(InputError):
        checkpoint.read_checkpoint(path, keys[1])
    with pytest.raises(InputError, match="is not an unencrypted Ed25519 private key"):
        checkpoint.sign([], path, datetime(2026, 10, 1, tzinfo=UTC))
    with pytest.raises(InputError, match="is not an Ed25519 public key"):
        checkpoint.read_checkpoint(path, path)
    with pytest.raises(InputError, match="cannot be read"):
        checkpoint.read_checkpoint(tmp_path / "none", keys[1])


def test_an_export_is_signed_and_checked_without_a_database(told: Any, keys: tuple[Path, Path], tmp_path: Path) -> None:
    out, signed = tmp_path / "export", tmp_path / "signed"
    assert told.cli("audit", "export", str(out)).returncode == 0
    config = told.config.rename(told.folder / "away.yaml")
    words = ("audit", "checkpoint", "--export", str(out), "--key", str(keys[0]))
    made = told.cli(*words, "--out", str(signed))
    assert made.returncode == 0, made.stderr
    verify = ("audit", "verify", "--export", str(out), "--checkpoint", str(signed), "--public-key", str(keys[1]))
    assert told.cli(*verify).returncode == 0
    lines = out.read_text().splitlines(keepends=True)
    out.write_text("".join([lines[0], *lines[1:3], *lines[4:]]))
    broken = told.cli(*words)
    assert broken.returncode == 1 and "nothing was signed" in broken.stderr
    assert told.cli(*verify[:-2]).returncode == 2
    config.rename(told.config)
