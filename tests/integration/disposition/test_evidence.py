"""What lies in the archives and stands in the ledger, and everything that is not as it was written."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from retention.archive.store import Store
from retention.disposition.catalogue import archived_batches, every_archive, manifest_of, verify_archives
from retention.disposition.evidence import recent_entries, sign_file, sign_ledger, verify_file, verify_ledger
from retention.errors import EvidenceBroken, InputError, NotFound, PolicyFilesError, Refused
from retention.ledger.checkpoint import make_keys, read_checkpoint
from retention.ledger.export import export


@pytest.fixture
def done(site: Any) -> Any:
    site.fill(300)
    site.run()
    return site


def test_the_list_of_what_is_archived(done: Any) -> None:
    engine = done.engine()
    [one] = archived_batches(engine)
    [(run, batch)] = done.asked("SELECT run_id, id FROM batch")
    facts = one.to_json()
    assert (facts["batch"], facts["run"], facts["policy"], facts["rows"], facts["dependent_rows"]) == (
        batch, run, "service-notes", 20, 20
    )  # fmt: skip
    assert facts["destroyed_at"] is None
    assert archived_batches(engine, run=run) == [one]
    assert archived_batches(engine, records="crm.other") == []
    with pytest.raises(NotFound, match="there is no run"):
        archived_batches(engine, run="R-1")


def test_the_manifest_of_a_batch(done: Any) -> None:
    engine = done.engine()
    [one] = archived_batches(engine)
    manifest = manifest_of(engine, one.batch)
    assert [(file.table, file.rows) for file in manifest.files] == [
        ("activity_logs", 20),
        ("activity_comments", 10),
        ("comment_files", 10),
    ]
    with pytest.raises(NotFound, match="there is no batch"):
        manifest_of(engine, "B-1")
    done.control("UPDATE batch SET destroyed_at = '2026-01-01T00:00:00.000000Z'")
    with pytest.raises(Refused, match="was destroyed on 2026-01-01"):
        manifest_of(done.engine(), one.batch)
    done.control("UPDATE batch SET archive = NULL")
    with pytest.raises(NotFound, match="was not archived"):
        manifest_of(done.engine(), one.batch)


def test_nothing_was_ever_archived(site: Any) -> None:
    report = verify_archives(site.engine(), ("cold",))
    assert report.to_json() == {"batches": 0, "files": 0, "rows": 0, "findings": (), "damaged": ()}
    with pytest.raises(NotFound, match="there is no archive 'clod'"):
        verify_archives(site.engine(), ("clod",))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.unlink(), "it is missing"),
        (lambda path: path.with_name("added.parquet").write_bytes(b""), "is not known"),
        (lambda path: path.with_name(".x.part").write_bytes(b""), "left over from a write"),
    ],
)
def test_a_missing_or_an_added_file_is_found(done: Any, damage: Any, said: str) -> None:
    [path, *_] = sorted(done.folder.glob("archive/crm/**/*.parquet"))
    damage(path)
    assert any(said in finding for finding in verify_archives(done.engine(), ("cold",)).findings)


def test_every_flipped_byte_of_the_archive_is_found(done: Any) -> None:
    for path in sorted(done.folder.glob("archive/crm/**/*.*")):
        content = path.read_bytes()
        path.chmod(0o640)
        for place in range(0, len(content), max(len(content) // 20, 1)):
            path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            findings = verify_archives(done.engine(), ("cold",)).findings
            assert any(path.name in finding for finding in findings), place
        path.write_bytes(content)
    assert done.findings() == []


def test_the_ledger_and_its_export(done: Any, tmp_path: Path) -> None:
    engine = done.engine()
    earlier, later = tmp_path / "earlier", tmp_path / "later"
    with earlier.open("w", encoding="utf-8") as file, engine.control.read() as connection:
        export(connection, file)
    done.run()
    with later.open("w", encoding="utf-8") as file, done.engine().control.read() as connection:
        export(connection, file)
    engine = done.engine()
    report = verify_ledger(engine, against=earlier)
    assert (report.findings, report.head) == ((), verify_file(later).head)
    assert report.entries == verify_file(later).entries > verify_file(earlier).entries
    assert verify_file(later, against=earlier).findings == ()
    assert verify_file(earlier, against=later).findings != ()
    assert verify_ledger(engine, against=later).findings == ()

    lines = earlier.read_text().splitlines(keepends=True)
    entry = json.loads(lines[2])
    lines[2] = lines[2].replace(entry["subject"], "somebody else")
    earlier.write_text("".join(lines))
    assert verify_file(earlier).findings != ()
    assert verify_file(earlier).head == "unknown"
    with pytest.raises(InputError, match="does not verify by itself"):
        verify_ledger(engine, against=earlier)
    for bad in (tmp_path / "none", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            verify_file(bad)
    earlier.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="it is not UTF-8"):
        verify_file(earlier)


def test_a_checkpoint_of_the_database_or_of_an_export_says_where_the_ledger_stood(done: Any, tmp_path: Path) -> None:
    private, public = tmp_path / "key", tmp_path / "key.pub"
    make_keys(private, public)
    engine = done.engine()
    exported = tmp_path / "export"
    with exported.open("w", encoding="utf-8") as file, engine.control.read() as connection:
        export(connection, file)
    at = datetime(2026, 11, 1, tzinfo=UTC)
    made = sign_file(exported, private, at)
    with done.at(at):
        assert sign_ledger(engine, private) == made
    written = tmp_path / "checkpoint"
    written.write_text(made.to_text())
    signed = read_checkpoint(written, public)
    assert signed == made
    done.run()  # what comes later changes nothing of what was signed
    assert verify_ledger(done.engine(), checkpoints=[signed]).findings == ()
    assert verify_file(exported, checkpoints=[signed]).findings == ()
    other = replace(signed, hash="0" * 64)
    for report in (
        verify_ledger(done.engine(), checkpoints=[signed, other]),
        verify_file(exported, checkpoints=[other]),
    ):
        [finding] = report.findings
        assert "is another one now: the ledger was rewritten at or before it" in finding


def test_nothing_is_signed_that_does_not_verify(done: Any, tmp_path: Path) -> None:
    make_keys(tmp_path / "key", tmp_path / "key.pub")
    engine = done.engine()
    exported = tmp_path / "export"
    with exported.open("w", encoding="utf-8") as file, engine.control.read() as connection:
        export(connection, file)
    lines = exported.read_text().splitlines(keepends=True)
    exported.write_text("".join(lines[:2] + lines[3:]))
    with pytest.raises(EvidenceBroken, match="nothing was signed, for the ledger does not verify: "):
        sign_file(exported, tmp_path / "key", engine.now())
    done.control("UPDATE batch SET rows = rows + 1")
    with pytest.raises(EvidenceBroken, match=r"nothing was signed, .*: .* rows 21 "):
        sign_ledger(engine, tmp_path / "key")


def test_a_changed_table_is_found_and_a_broken_chain_before_it(done: Any) -> None:
    done.control("UPDATE batch SET rows = rows + 1")
    assert any("has rows 21 in its table" in finding for finding in verify_ledger(done.engine()).findings)
    done.control("UPDATE ledger SET subject = 'x' WHERE seq = 3")
    assert verify_ledger(done.engine()).findings == ("entry 3 was changed after it was written",)
    done.control("DELETE FROM head")
    assert verify_ledger(done.engine()).head == "missing"


def test_the_newest_entries(done: Any) -> None:
    engine = done.engine()
    entries = recent_entries(engine, last=2, subject=None, kind=None)
    assert [entry.kind for entry in entries] == ["batch.committed", "run.finished"]
    assert [entry.kind for entry in recent_entries(engine, last=9, subject=entries[1].subject, kind="run.planned")] == [
        "run.planned"
    ]
    with pytest.raises(InputError, match="there are no entries of kind"):
        recent_entries(engine, last=1, subject=None, kind="run.burnt")


def test_who_is_at_the_keyboard(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import getpass
    import os

    engine = site.engine()
    monkeypatch.setenv("RETENTION_USER", " li ")
    assert engine.person == "li"
    monkeypatch.setenv("RETENTION_USER", "")
    monkeypatch.setattr(getpass, "getuser", lambda: "wang")
    assert engine.person == "wang"

    def nameless() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr(getpass, "getuser", nameless)
    assert engine.person == f"uid {os.getuid()}"


def test_what_the_engine_does_not_know(site: Any) -> None:
    engine = site.engine()
    assert isinstance(engine.store("cold"), Store)
    for ask in (engine.source, engine.bound, engine.store):
        with pytest.raises(NotFound):
            ask("crn")


def test_what_only_the_database_can_tell_is_told_of_all_classes_at_once(site: Any) -> None:
    assert site.engine().problems() == []
    config = site.config
    config.write_text(
        config.read_text()
        .replace("created: created_at", "created: note")
        .replace("    classes:\n", "    classes:\n      people: {table: people, key: id}\n")
        .replace(
            "sources:\n", "sources:\n  shop: {url: 'sqlite:///nowhere.db', classes: {orders: {table: t, key: id}}}\n"
        )
    )
    said = "\n".join(map(str, site.engine().problems()))
    assert 'has no table "people"' in said
    assert "there is no file" in said


def test_an_archive_that_should_hold_batches_and_is_not_there_is_a_problem(plain_site: Any) -> None:
    plain_site.fill(300)
    assert plain_site.engine().problems() == [], "one that is still to be made is none"
    assert plain_site.cli("run", "--yes", "--as-of", "2026-10-01").returncode == 0
    assert plain_site.engine().problems() == []
    text = plain_site.config.read_text()
    plain_site.config.write_text(text.replace("file:./archive", "file:./nowhere"))
    told = plain_site.cli("validate")
    assert told.returncode == 2
    [line] = [line for line in told.stderr.splitlines() if "nowhere" in line]
    assert line.startswith(f"retention.yaml:{text[: text.index('  cold:')].count(chr(10)) + 1}:")
    assert 'archive "cold"' in line and "is not there" in line and "mounted" in line
    assert plain_site.cli("validate", "--offline").returncode == 0
    # before the control database is set up, nothing can be in an archive
    plain_site.config.write_text(
        text.replace("file:./archive", "file:./nowhere").replace("control: ", "control: sqlite:///new.db  # ")
    )
    assert plain_site.engine().problems() == []


def test_an_archive_that_cannot_be_opened_or_has_lost_its_name_is_a_problem(plain_site: Any) -> None:
    plain_site.fill(300)
    assert plain_site.cli("run", "--yes", "--as-of", "2026-10-01").returncode == 0
    text = plain_site.config.read_text()
    cold = '  cold: {url: "file:./archive"}'
    plain_site.config.write_text(text.replace(cold, '  other: {url: "file:./other"}'))
    for path in (plain_site.folder / "policies").iterdir():
        path.write_text(path.read_text().replace("to: cold", "to: other"))
    [problem] = plain_site.engine().problems()
    assert 'batches lie in the archive "cold"' in str(problem)
    for path in (plain_site.folder / "policies").iterdir():
        path.write_text(path.read_text().replace("to: other", "to: cold"))
    plain_site.config.write_text(text)
    marker = plain_site.folder / "archive" / "retention-archive.json"
    marker.write_text(marker.read_text() + " ")
    [problem] = plain_site.engine().problems()
    assert "has been changed since it was written" in str(problem)


def test_a_control_database_that_does_not_answer_is_a_problem(plain_site: Any) -> None:
    text = plain_site.config.read_text()
    control = "control: postgresql://u@127.0.0.1:1/retention  # "
    plain_site.config.write_text(text.replace("control: ", control))
    [problem] = plain_site.engine().problems()
    assert "control database" in str(problem)


def test_a_policy_that_does_not_fit_its_table_stops_every_policy_of_the_class(site: Any) -> None:
    site.policy("sales-records", where="{amount: many}")
    with pytest.raises(PolicyFilesError):
        site.engine().checked("crm.activities")


def test_what_a_table_would_do_behind_our_back_is_a_problem_too(site: Any) -> None:
    site.run_sql(
        site.url,
        "CREATE TABLE attachments (id INTEGER PRIMARY KEY, activity_id BIGINT REFERENCES activity_logs(id) ON DELETE CASCADE)",
    )
    [problem] = site.engine().problems()
    assert "attachments" in str(problem)


def test_batches_in_an_archive_that_no_line_names_are_a_finding(done: Any) -> None:
    done.config.write_text(
        done.config.read_text().replace('cold: {url: "file:./archive"}', 'near: {url: "file:./near"}')
    )
    for name in ("service-notes", "sales-records"):
        done.policy(name, archive="{to: near, keep: 1 year}")
    engine = done.engine()
    assert every_archive(engine) == ("near", "cold")
    report = verify_archives(engine, every_archive(engine))
    assert report.damaged == ("cold",)
    assert "no line of retention.yaml names it" in report.findings[0]
