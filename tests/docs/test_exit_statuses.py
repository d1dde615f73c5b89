"""Every exit status of the program is documented: in README, for operators, and at the end of every command's help."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click
import pytest

from retention import errors
from retention.cli.exits import MEANINGS
from retention.cli.main import retention

if TYPE_CHECKING:
    from pathlib import Path


def statuses() -> set[int]:
    """Those of every error, and 0 (done) and 3 (partly done), which no error has."""
    found = {0, 3}
    for value in vars(errors).values():
        if isinstance(value, type) and issubclass(value, errors.RetentionError):
            found.add(value.exit_status)
    return found


def every_command(command: click.Command, path: str = "retention") -> list[tuple[str, click.Command]]:
    """The command and all below it, with the words that call them."""
    if not isinstance(command, click.Group):
        return [(path, command)]
    context = click.Context(command)
    below = [(name, command.get_command(context, name)) for name in command.list_commands(context)]
    return [(path, command), *(one for name, child in below if child for one in every_command(child, f"{path} {name}"))]


def test_the_meanings_are_those_of_the_errors() -> None:
    assert set(MEANINGS) == statuses() == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("name", ["README.md", "docs/operations.md"])
def test_the_documents_have_every_status(root: Path, name: str) -> None:
    rows = re.findall(r"^\| (\d) \| \w+", (root / name).read_text(encoding="utf-8"), re.MULTILINE)
    assert [int(row) for row in rows] == sorted(statuses())


@pytest.mark.parametrize(("path", "command"), every_command(retention), ids=lambda value: str(value))
def test_every_help_ends_with_the_command_s_statuses(path: str, command: click.Command) -> None:
    text = command.get_help(click.Context(command, info_name=path, terminal_width=80))
    _, found, statuses_of = text.partition("Exit status:\n")
    assert found, path
    rows = [re.fullmatch(r" +(\d)  (\S.*)", line) for line in statuses_of.splitlines()]
    assert all(rows), statuses_of
    numbers = [int(row[1]) for row in rows if row]
    assert numbers[:3] == [0, 1, 2]
    assert numbers == sorted(set(numbers)) and set(numbers) <= set(MEANINGS)


@pytest.mark.parametrize(("path", "command"), every_command(retention), ids=lambda value: str(value))
def test_help_is_short_enough_for_a_terminal(path: str, command: click.Command) -> None:
    text = command.get_help(click.Context(command, info_name=path, terminal_width=80))
    assert [line for line in text.splitlines() if len(line) > 80] == []
    assert "..." not in text.partition("Commands:")[2], "a command's line in the list is cut"
