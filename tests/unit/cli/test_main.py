"""What happens to errors: a sentence and a hint for people, JSON for machines, a documented status for both."""

from __future__ import annotations

import json

import pytest

from retention.cli import main
from retention.cli.main import COMMANDS, retention
from retention.errors import Failed, RetentionError


def run(words: list[str]) -> int:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize(
    "words", [["plan", "--bad"], ["no-such"], ["hold", "no-such"], ["explain"], ["runs", "--last", "x"]]
)
def test_wrong_words(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    first, hint = said.err.splitlines()
    assert first.startswith("error: ")
    assert hint.endswith("--help` says what may be written")
    assert run([*words, "--json"]) == 2
    error = json.loads(capsys.readouterr().err)["error"]
    assert error["code"] == "input" and error["message"] and error["hint"]


def test_errors_that_are_ours(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    error = Failed("it did not work", hint="try again")

    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(retention, "main", fail)
    assert run(["plan"]) == 1
    assert capsys.readouterr().err == "error: it did not work\n  try again\n"
    assert run(["plan", "--json"]) == 1
    assert json.loads(capsys.readouterr().err) == {
        "error": {"code": "failed", "message": "it did not work", "hint": "try again"}
    }
    error = Failed("no hint")
    assert run(["plan"]) == 1
    assert capsys.readouterr().err == "error: no hint\n"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (PermissionError(13, "Permission denied", "crm.db"), "crm.db: Permission denied"),
    ],
)
def test_files_that_cannot_be_read_or_written(
    error: OSError, said: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(retention, "main", fail)
    assert run(["plan"]) == 1
    assert capfd.readouterr().err == f"error: a file or the output could not be read or written: {said}\n"


def test_a_mistake_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise KeyError("a defect")

    monkeypatch.setattr(retention, "main", fail)
    with pytest.raises(KeyError):
        main(["plan"])


def test_ctrl_c_while_nothing_is_at_stake(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import click

    def interrupt(*args: object, **kwargs: object) -> None:
        raise click.exceptions.Abort

    monkeypatch.setattr(retention, "main", interrupt)
    assert run(["plan"]) == 3
    assert capsys.readouterr().err == "\nStopped; nothing more is done.\n"


def test_every_command_of_the_list_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    for name, (_, line) in COMMANDS.items():
        assert run([name, "--help"]) == 0
        assert capsys.readouterr().out.startswith(f"Usage: retention {name} ")
        assert line.endswith(".")


def test_all_errors_have_a_status_that_is_documented() -> None:
    from retention.cli.exits import MEANINGS

    def below(kind: type[RetentionError]) -> list[type[RetentionError]]:
        return [kind, *(one for child in kind.__subclasses__() for one in below(child))]

    assert {kind.exit_status for kind in below(RetentionError)} <= set(MEANINGS)
