"""What people type and write wrongly: a message, what to do, a documented status; never a traceback, never a secret."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.acceptance.conftest import Retention

WORDS = [
    "plna",
    "hold plase",
    "plan --jsno",
    "plan sales-record",
    "run service-note --yes",
    "plan --as-of yesterday",
    "plan --as-of 2026-13-01",
    "plan --as-of 2026-02-30T25:00",
    "run --yes --as-of 99999-01-01",
    "plan --config nowhere.yaml",
    "plan --config policies",
    "plan --config crm.db",
    "plan --config policies/sales-records.yaml",
    "hold show H-1",
    "hold release H-1 --reason x",
    "hold release H-1",
    "approve R-1 --reason x",
    "approve R-1",
    "explain crm.activities",
    "explain crm.activity 1",
    "explain crm.activities one",
    "explain crm.activities [1]x",
    "explain crm.activities 1 --as-of never",
    "explain crm.activities 99999999999999999999999999",
    "audit show --last 0",
    "audit show --last many",
    "audit show --last 99999999999999999999",
    "audit export nowhere/ledger.jsonl",
    "audit export policies",
    "schema --of archive",
    "demo --into retention.yaml",
    "runs --last -1",
    "runs --last 99999999999999999999",
    "control upgrade --config nowhere.yaml",
]


@pytest.mark.parametrize("words", WORDS)
def test_wrong_words(demo: Retention, words: str) -> None:
    said = demo(*words.split(), status=2)
    assert said.out == ""
    first, _, hint = said.err.partition("\n")
    assert first.startswith("error: ")
    if (
        "--config crm.db" not in words and "--config policies/" not in words
    ):  # there the problem itself says what is right
        assert hint.startswith("  "), said.err


@pytest.mark.parametrize(
    "words", ["plan --jsno", "plan sales-record", "runs --last -1", "hold plase", "explain crm.activity 1"]
)
def test_wrong_words_as_json(demo: Retention, words: str) -> None:
    error = demo(*words.split(), "--json", status=2).error
    assert error["code"]
    assert error["message"]


def test_no_word_at_all_shows_the_help(demo: Retention) -> None:
    assert "Commands:" in demo(status=2).err
    assert "Commands:" in demo("--help").out
    assert demo("--version").out.startswith("retention, version ")


def test_a_problem_in_the_files_is_shown_with_all_others(project: Retention) -> None:
    (project.folder / "policies" / "new.yaml").write_text("policy: neu\ntitel: x\n", encoding="utf-8")
    said = project("validate", status=2)
    lines = said.err.splitlines()
    assert lines[-1] == f"{len(lines) - 1} mistakes; nothing begins with these files until they are mended."
    assert any('did you mean "title"' in line for line in lines)
    report = project("validate", "--json", status=2).json
    assert report["valid"] is False
    assert len(report["problems"]) == len(lines) - 1
    assert {"file", "line", "column", "message", "remedy"} == set(report["problems"][0])
    for words in (["plan"], ["run", "--yes"]):
        assert "policies/new.yaml:" in project(*words, status=2).err


def config(project: Retention, old: str, new: str) -> None:
    file = project.folder / "retention.yaml"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def test_validate_shows_an_unreachable_database_beside_other_problems(project: Retention) -> None:
    letters = "letters: {table: letters, key: id, created: at}"
    other = f'  hr:\n    url: "postgresql://me@127.0.0.1:1/hr"\n    classes:\n      {letters}\n'
    config(project, "sources:\n", "sources:\n" + other)
    config(project, "table: activity_logs", "table: activity_log")
    said = project("validate", status=2).err
    assert "hr: cannot connect to" in said
    assert 'has no table "activity_log", did you mean "activity_logs"?' in said
    assert said.endswith("2 mistakes; no policy that needs what is named here runs until they are mended.\n")
    assert "4 policies are valid" in project("validate", "--offline").out


def test_validate_shows_an_unsafe_table_with_its_remedy(project: Retention) -> None:
    config(project, "activity_comments: {key: activity_id}", "{}")
    config(project, "        dependents:\n          {}", "")
    said = project("validate", status=2).err
    assert "activity_comments" in said
    assert "dependents" in said
    assert said.startswith("retention.yaml:")
    assert project("plan", status=4).err.startswith("error: crm.activities: ")


def test_a_legal_minimum_that_names_no_column_is_an_error(project: Retention) -> None:
    config(project, "    tags: [complaint]\n", "    where: {stauts: open}\n")
    said = project("validate", status=2).err
    assert 'no column "stauts", did you mean "status"?' in said
    for words in (["plan"], ["run", "--yes"]):
        assert 'no column "stauts"' in project(*words, status=2).err


def test_a_lost_database_is_told(project: Retention) -> None:
    (project.folder / "crm.db").unlink()
    assert "there is no file" in project("plan", status=1).err
    assert project("plan", "--json", status=1).error["code"] == "source"
    said = project("run", "--yes", status=1)
    assert said.err.startswith(
        "business-letters, campaign-contacts, sales-records, service-notes:\nerror: crm: there is no"
    )
    assert "there is no file" in project("validate", status=2).err


def test_a_database_that_is_none_is_told(project: Retention) -> None:
    (project.folder / "crm.db").write_text("not a database, but long enough to look into" * 100, encoding="utf-8")
    assert "no SQLite database" in project("plan", status=1).err


def test_a_missing_control_database_is_told(project: Retention) -> None:
    (project.folder / "retention.db").unlink()
    for words in (["plan"], ["run", "--yes"], ["hold", "list"]):
        assert "Run `retention control upgrade`." in project(*words, status=2).err
    (project.folder / "retention.db").write_text("policy: x\n", encoding="utf-8")
    assert "not a database" in project("hold", "list", status=1).err


SECRETS = [
    "postgresql://reader:hidden-word@127.0.0.1:1/crm",
    "postgresql://reader@127.0.0.1:1/crm?password=hidden-word",
    "postgresql://reader:hidden-word@127.0.0.1:port/crm",
    "postgresql://reader:hidden-word@[::1/crm",
    "postgresql://reader:hidden-word%ZZ@127.0.0.1:1/crm?sslmode=nonsense",
    "mongodb://reader:hidden-word@127.0.0.1/crm",
    "hidden-word",
]


@pytest.mark.parametrize(
    ("written", "commands"),
    [
        ("url: sqlite:///crm.db", (("plan", "--json"),)),
        ("control: sqlite:///retention.db", (("hold", "list"),)),
    ],
)
def test_a_secret_is_never_printed(project: Retention, written: str, commands: tuple[tuple[str, ...], ...]) -> None:
    config(project, written, f"{written.partition(':')[0]}: ${{SECRET_URL}}")
    for url in SECRETS:
        for words in commands:
            said = project(*words, status=-1, environ={"SECRET_URL": url})
            assert said.status in (1, 2)
            assert said.err
            assert "hidden-word" not in said.out + said.err, (url, words)


def test_a_password_in_a_file_is_refused_without_showing_it(project: Retention) -> None:
    config(project, "url: sqlite:///crm.db", "url: postgresql://me:hidden-word@h/crm")
    said = project("validate", status=2)
    assert "a password or other secret stands in the file" in said.err
    assert "hidden-word" not in said.out + said.err


def test_a_reader_that_goes_away_is_no_error_to_show(demo: Retention) -> None:
    for words in (["--help"], ["archive", "list"], ["audit", "export", "-"]):
        process = demo.start(*words)
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        process.wait(timeout=60)
        assert process.stderr.read() == ""
        process.stderr.close()


def test_a_full_disk_is_told(demo: Retention) -> None:
    with Path("/dev/full").open("w") as full:
        for words in (["archive", "list"], ["runs", "--json"], ["--help"]):
            process = demo.start(*words, stdout=full)
            _, said = process.communicate(timeout=60)
            assert process.returncode == 1
            assert "No space left on device" in said
            assert "Traceback" not in said


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_closed_streams(demo: Retention, closed: str) -> None:
    for words in ("plan sales-records", "hold place --matter a --reason b --keys-from -"):
        line = f"{demo.line} {words} {closed}"
        done = subprocess.run(
            ["sh", "-c", line], cwd=demo.folder, input="", capture_output=True, text=True, check=False
        )
        assert "Traceback" not in done.stderr, words
        assert done.returncode == (0 if words.startswith("plan") else 2), (words, done.stderr)


def test_a_terminal_without_unicode_still_gets_its_answer(demo: Retention) -> None:
    said = demo("plan", "--as-of", "2030-01-01", environ={"PYTHONIOENCODING": "ascii"})
    assert "\\u2026" in said.out
    words = ("hold", "place", "--matter", "m", "--reason", "r", "--tag", os.fsdecode(b"caf\xe9"))
    assert "is not valid Unicode text" in demo(*words, status=2).err
