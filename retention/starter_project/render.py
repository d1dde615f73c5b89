"""A proposed class as the lines of YAML that stand in retention.yaml, with what the schema left open as comments."""

from __future__ import annotations

import json
from collections.abc import Iterable

import yaml

from retention.policy.tags import TagColumn
from retention.starter_project.dependents import ProposedDependent
from retention.starter_project.proposal import ProposedClass


def scalar(value: str) -> str:
    """The text as a YAML scalar in flow style on one line, quoted only where YAML would read it otherwise."""
    if not value.isprintable():
        return json.dumps(value)  # escapes, as YAML reads them too
    text: str = yaml.safe_dump([value], default_flow_style=True, width=1_000_000, allow_unicode=True)
    return text.strip()[1:-1]


def class_block(proposed: ProposedClass) -> list[str]:
    """The lines of one class, indented to stand under `classes:`."""
    lines = [f"      {proposed.name}:"]
    if proposed.doubt is not None:
        lines.append(f"        # DECIDE: {words(proposed.doubt)}")
    lines += [f"        # Note: {words(note)}" for note in proposed.notes]
    lines.append(f"        table: {scalar(proposed.table)}")
    key = ", ".join(scalar(column) for column in proposed.key)
    lines.append(f"        key: {key if len(proposed.key) == 1 else f'[{key}]'}")
    lines.append(f"        created: {scalar(proposed.created.name)}{_others(proposed)}")
    if proposed.needs_zone:
        lines.append(
            f"        # timezone: UTC    # DECIDE: {words(proposed.created.name)} has no zone; in which is it written?"
        )
    if proposed.needs_unit:
        lines.append("        unit: s    # DECIDE: s, ms or us since 1970")
    if isinstance(proposed.tags, TagColumn):
        lines.append(f"        tags: {{column: {scalar(proposed.tags.column)}}}")
    elif proposed.tags is not None:
        tags = proposed.tags
        lines.append(
            f"        tags: {{table: {scalar(tags.table)}, record: {_columns(tags.record)}, tag: {scalar(tags.tag)}}}"
        )
    if proposed.subjects:
        pairs = ", ".join(f"{subject}: {scalar(column)}" for subject, column in proposed.subjects.items())
        lines.append(f"        subjects: {{{pairs}}}    # whom a hold may name")
    return lines + _dependents(proposed)


def words(text: str) -> str:
    """The text on one line: a name with a line break in it must not end the comment that it stands in."""
    return " ".join(text.split())


def as_comment(lines: Iterable[str]) -> list[str]:
    """The same lines as comments, at their places."""
    return [f"      # {line.removeprefix('      ')}" for line in lines]


def _others(proposed: ProposedClass) -> str:
    if not proposed.other_clocks:
        return ""
    return f"    # also dates: {words(', '.join(proposed.other_clocks))}; a policy may count `from` any of them"


def _dependents(proposed: ProposedClass) -> list[str]:
    if not proposed.dependents:
        return []
    sure = [group for group in _by_table(proposed.dependents).values() if all(one.question is None for one in group)]
    lines = ["        dependents:    # archived and deleted with the record, or kept with it"]
    if not sure:
        lines = [
            "        # dependents:    # DECIDE: nothing is deleted while a table refers to the record and is not named"
        ]
    for table, group in _by_table(proposed.dependents).items():
        line = f"{scalar(table)}: {_declarations(group)}"
        questions = [one.question for one in group if one.question is not None]
        if not questions:
            told = "; ".join(dict.fromkeys(one.told for one in group if one.told))
            lines.append(f"          {line}{f'    # {words(told)}' if told else ''}")
        else:
            lines.append(f"          # {line}    # DECIDE: {words('; '.join(questions))}")
    return lines


def _by_table(dependents: Iterable[ProposedDependent]) -> dict[str, list[ProposedDependent]]:
    """A table that refers in several ways is named once, with a list."""
    found: dict[str, list[ProposedDependent]] = {}
    for one in dependents:
        found.setdefault(one.table, []).append(one)
    return found


def _declarations(group: list[ProposedDependent]) -> str:
    said = [_declaration(one) for one in group]
    return said[0] if len(said) == 1 else f"[{', '.join(said)}]"


def _declaration(dependent: ProposedDependent) -> str:
    """What is said of a dependent, in flow style, with those below it."""
    said = [f"key: {_columns(dependent.key)}"]
    if dependent.of:
        said.append(f"of: {_columns(dependent.of)}")
    if dependent.blocks or dependent.detached:
        said.append(f"then: {'block' if dependent.blocks else 'detach'}")
    further = [f"{scalar(table)}: {_declarations(group)}" for table, group in _by_table(dependent.dependents).items()]
    if further:
        said.append(f"dependents: {{{', '.join(further)}}}")
    return f"{{{', '.join(said)}}}"


def _columns(names: tuple[str, ...]) -> str:
    listed = ", ".join(scalar(one) for one in names)
    return listed if len(names) == 1 else f"[{listed}]"
