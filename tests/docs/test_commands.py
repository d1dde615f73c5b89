"""Every command and option that the documents and the starter files name is one that the program has."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import click

from retention.cli.main import retention

if TYPE_CHECKING:
    from pathlib import Path

    from tests.docs.conftest import Document

OPTION = re.compile(r"--?[a-z][a-z-]*")


def commands(documents: list[Document]) -> list[tuple[str, str]]:
    """Each command line that a document shows, in a code block or in the text, with the document's name."""
    found = []
    for document in documents:
        lines = [line.removeprefix("$ ") for block in document.blocks("console") for line in block.splitlines()]
        for text in (*lines, *document.inline()):
            found += [(document.name, part.strip()) for part in re.split(r"&&|\|", text)]
    return [(name, text) for name, text in found if re.match(r"(\.venv/bin/)?retention( |$)", text)]


def options(command: click.Command) -> set[str]:
    """The command's options, its own help included."""
    named = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    return named | {"--help", "-h"}


def wrong(text: str) -> str | None:
    """What is wrong with a command line, or None."""
    command: click.Command = retention
    for word in shlex.split(text)[1:]:
        if OPTION.match(word):
            if word.partition("=")[0] not in options(command):
                return f"{command.name} has no option {word}"
        elif isinstance(command, click.Group):
            below = command.get_command(click.Context(command), word)
            if below is None:
                return f"{command.name} has no command {word}"
            command = below
    return None


def every_command(command: click.Command) -> list[click.Command]:
    """The command and all below it."""
    if not isinstance(command, click.Group):
        return [command]
    context = click.Context(command)
    below = [command.get_command(context, name) for name in command.list_commands(context)]
    return [command, *(one for child in below if child is not None for one in every_command(child))]


def test_what_is_not_there_is_found() -> None:
    assert wrong("retention frobnicate") == "retention has no command frobnicate"
    assert wrong("retention plan --harder") == "plan has no option --harder"
    assert wrong("retention hold place --matter 1") is None


def test_every_command_line_is_right(documents: list[Document]) -> None:
    lines = commands(documents)
    assert len(lines) > 15
    assert [(name, text, problem) for name, text in lines if (problem := wrong(text)) is not None] == []


def test_every_option_named_alone_is_one_of_some_command(documents: list[Document]) -> None:
    known = {option for command in every_command(retention) for option in options(command)}
    named = [
        (document.name, span.split()[0].partition("=")[0])
        for document in documents
        if document.name != "docs/dependencies.md"  # options of pip
        for span in document.inline()
        if span.startswith("--")
    ]
    assert len(named) > 2
    assert [(name, option) for name, option in named if option not in known] == []


def test_starter_files_and_hints_name_commands_that_exist(root: Path) -> None:
    files = [*(root / "policies").glob("*.yaml"), *(root / "retention").rglob("*.py")]
    lines = [
        (file.name, " ".join(span.split()))
        for file in files
        for span in re.findall(r"`(retention [a-z][^`\n]*)`", file.read_text(encoding="utf-8"))
    ]
    assert len(lines) > 30
    assert [(name, text, problem) for name, text in lines if (problem := wrong(text)) is not None] == []


def test_every_command_explains_itself() -> None:
    for command in every_command(retention):
        assert command.help, command.name
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{command.name} {parameter.opts}"


def test_every_command_stands_in_the_readme(documents: list[Document]) -> None:
    (readme,) = [document for document in documents if document.name == "README.md"]
    named = {text.split()[1] for _, text in commands([readme]) if len(text.split()) > 1}
    context = click.Context(retention)
    assert set(retention.list_commands(context)) - named <= {"schema", "recover", "control"}
