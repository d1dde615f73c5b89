"""The starter project's files. What exists is never overwritten: that is checked before the first file is written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from string import Template

from retention.errors import Failed, InputError
from retention.policy.schema import policy_schema
from retention.starter_project.proposal import ProposedClass, StarterProject
from retention.starter_project.render import as_comment, class_block, scalar, words
from retention.url import redact

_CONFIG = Template("""\
# Where the records live, and where they go. Operators own this file; officers own policies/*.yaml.
# Written by `retention init` from the schema of the database. What it could not know is marked DECIDE.
# Nothing is deleted until a policy says so: see policies/$example.

timezone: UTC    # DECIDE: the zone in which your officers count days, such as Europe/Berlin or Asia/Shanghai
control: $${RETENTION_CONTROL_URL:-sqlite:///retention.db}    # runs, holds and the ledger; PostgreSQL or MariaDB in production
fiscal_year_starts: 01-01    # DECIDE: month-day; for policies that say `starts: next fiscal year`
hold_release_grace: 30 days    # after a hold is released, disposal waits this long

# Legal periods that no policy may undercut, or exceed. For example:
# minimums:
#   - {records: $address, for: 6 months, mandate: "the law that asks for it"}
# maximums:
#   - {records: $address, for: 10 years, mandate: "the law that asks for it"}

sources:
  $source:
    url: $url$url_note
$classes
archives:
  cold: {url: "file:./archive"}    # DECIDE: a folder beside this file, or file:/absolute/path
$skipped""")

_EXAMPLE = Template("""\
# yaml-language-server: $$schema=./policy.schema.json
#
# An example, not in force: only files that end in .yaml are read. Copy it to $name.yaml, decide what is marked
# DECIDE, and check it with `retention validate`; `retention plan` then shows what it would do, and changes nothing.
# How long to keep what is your decision: no period is proposed here.

policy: $name    # the file bears the same name
title:    # DECIDE: what is kept, and for how long, in a few words
mandate:    # DECIDE: the law or rule that asks for it
owner:    # DECIDE: who answers questions about this policy

records: $address    # as declared in retention.yaml
$selection

retain:
  for:    # DECIDE: 90 days, 5 years, 1 year 6 months, or forever
$clocks
archive:
  to: cold
  keep:    # DECIDE: how long the archive copy is kept, such as 2 years, or forever
then: delete

schedule: quarterly    # or daily, weekly, monthly, yearly
approval: required    # every run waits until somebody has approved its plan; `none` when you trust it
limits: {share: 25%}    # a larger plan stops before the first deletion
""")

_IGNORED = """\
# Evidence and records do not belong into version control; retention.yaml and policies/ do.
/retention.db*
/archive/
"""


@dataclass(frozen=True, kw_only=True)
class WrittenProject:
    """What was written. ``export`` is the shell command that the operator runs first, None where none is needed; it
    names the variable and never holds the secret."""

    files: tuple[Path, ...]
    export: str | None


def write(folder: Path, url: str, project: StarterProject) -> WrittenProject:
    """Write retention.yaml, an example policy, the schema for editors and .gitignore; ``folder`` is made if missing.

    The database's URL is written as it is, or, where it holds a secret, as a variable. Raises InputError
    where a file exists already (nothing is written then), Failed where the folder cannot be written.
    """
    written_url, note, export = _written_url(folder, url, project.source)
    first = next((proposed for proposed in project.classes if proposed.doubt is None), None)
    address = f"{project.source}.{first.name if first is not None else 'class'}"
    name = (first.name if first is not None else project.source).replace("_", "-")
    example = f"{name}.yaml.example"
    files = {
        "retention.yaml": _CONFIG.substitute(
            source=project.source,
            url=written_url,
            url_note=note,
            address=address,
            example=example,
            classes=_classes(project),
            skipped=_skipped(project),
        ),
        f"policies/{example}": _EXAMPLE.substitute(
            name=name,
            address=address,
            selection=_selection(first),
            clocks=_clocks(first),
        ),
        "policies/policy.schema.json": json.dumps(policy_schema(), indent=2, ensure_ascii=False) + "\n",
        ".gitignore": _IGNORED,
    }
    return WrittenProject(files=_write_all(folder, files), export=export)


def _write_all(folder: Path, files: dict[str, str]) -> tuple[Path, ...]:
    present = [name for name in files if (folder / name).exists()]
    if present:
        raise InputError(
            f"already in {folder}: {', '.join(present)}, so nothing was written",
            hint="name another folder, or move what is there out of the way",
        )
    written = []
    try:
        for name, text in files.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("x", encoding="utf-8", newline="\n") as stream:
                stream.write(text)
            written.append(file)
    except OSError as error:
        raise Failed(
            f"cannot write {error.filename}: {error.strerror}", hint="name a folder that you may write"
        ) from error
    return tuple(written)


def _written_url(folder: Path, url: str, source: str) -> tuple[str, str, str | None]:
    """The URL as the file has it, a comment after it, and what to export first."""
    if redact(url).replace(":***@", ":@") != url:  # an empty password is none
        variable = f"{source.upper()}_URL"
        return (
            f"${{{variable}}}",
            "    # it holds a secret, so it stands in the environment",
            f"export {variable}='...'",
        )
    if url.startswith("sqlite:///"):
        # relative paths in the file lie beside the file, those on the command line where the command runs
        file, question, query = url.removeprefix("sqlite:///").partition("?")
        target, base = Path(file).absolute(), folder.absolute()
        shown = target.relative_to(base) if target.is_relative_to(base) else target
        url = f"sqlite:///{shown}{question}{query}"
    return scalar(url), "", None


def _classes(project: StarterProject) -> str:
    if not project.classes:
        return "    classes: {}    # DECIDE: no table has both a primary key and a date; see the end of this file\n"
    lines = ["    classes:"]
    for proposed in project.classes:
        block = class_block(proposed)
        lines += as_comment(block) if proposed.doubt is not None else block
    if all(proposed.doubt is not None for proposed in project.classes):
        lines[0] = "    classes: {}    # DECIDE: each class below is written as a comment, with the reason"
    return "\n".join(lines) + "\n"


def _skipped(project: StarterProject) -> str:
    if not project.skipped:
        return ""
    lines = ["\n# Tables that are no class of their own:"]
    lines += [f"#   {words(skipped.table)}: {words(skipped.why)}" for skipped in project.skipped]
    return "\n".join(lines) + "\n"


def _selection(first: ProposedClass | None) -> str:
    if first is not None and first.tags is not None:
        return "tags: []    # DECIDE: records that carry all of these; or `where`, or `all: true` for every record"
    return "where: {}    # DECIDE: such as {status: closed}; or `all: true` for every record"


def _clocks(first: ProposedClass | None) -> str:
    if first is None:
        return ""
    lines = [f"  # counted from {words(first.created.name)}, unless you name another date here:"]
    lines += [f"  # from: {scalar(clock)}" for clock in first.other_clocks]
    return "\n".join(lines) + "\n" if first.other_clocks else ""
