"""Reading one policy file."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import cast
from zoneinfo import ZoneInfo

from retention.policy.digest import digest_of
from retention.policy.document import Block, Node, Value
from retention.policy.form import Form, kind, marks_below, shown
from retention.policy.keep_last import KeepLast
from retention.policy.mark import Mark
from retention.policy.policy import ArchiveRule, Limits, Missed, Policy, Retain, Schedule, Starts
from retention.policy.read_schedule import read_schedule
from retention.policy.read_tags import read_tags
from retention.policy.read_where import read_where
from retention.policy.read_window import read_window
from retention.policy.record_class import RecordClass
from retention.policy.suggest import nearest

STARTS = ("next month", "next quarter", "next year", "next fiscal year")
MISSED = ("run once", "skip", "run all")
_SHARE = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)%")
_OF_RETAIN = ("from", "starts", "keep_last", "per")
_REQUIRED = {
    "policy": "policy: NAME, as the file is named",
    "title": "title: and what the policy is about",
    "records": "records: SOURCE.CLASS",
    "retain": "retain: {for: 5 years}",
    "archive": "archive: {to: ARCHIVE, keep: 2 years}, or archive: none",
    "then": "then: delete",
    "schedule": "schedule: quarterly",
}
_OPTIONAL = ("mandate", "owner", "tags", "where", "all", "approval", "limits", "missed", "window")


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What retention.yaml declares and policies name. None where it could not be read: then it is not checked."""

    classes: Mapping[str, RecordClass] | None
    archives: Collection[str] | None
    timezone: ZoneInfo
    fiscal_year_starts: tuple[int, int]


def read_policy(form: Form, node: Node, declared: Declared, stem: str) -> Policy | None:
    """The policy of a file named ``stem``.yaml; None after a problem."""
    found = len(form.problems)
    entries = form.block(node, "the policy", required=_REQUIRED, optional=_OPTIONAL)
    if entries is None:
        return None
    reader = _Reader(form=form, entries=entries, declared=declared, mark=node.mark)
    name = reader.name(stem)
    records, record_class = reader.records()
    texts = {
        key: form.text(entries[key], f'"{key}"', "text") for key in ("title", "mandate", "owner") if key in entries
    }
    tags = read_tags(form, entries["tags"]) if "tags" in entries else None
    columns = None if record_class is None else record_class.columns
    where = read_where(form, entries["where"], '"where"', columns) if "where" in entries else None
    reader.selects(record_class)
    retain = reader.retain(record_class)
    archive = reader.archive()
    if "then" in entries:
        form.choice(entries["then"], '"then"', ["delete"])
    schedule = read_schedule(form, entries["schedule"], declared.timezone) if "schedule" in entries else None
    approval = form.choice(entries["approval"], '"approval"', ["none", "required"]) if "approval" in entries else "none"
    limits = reader.limits()
    missed = form.choice(entries["missed"], '"missed"', MISSED) if "missed" in entries else MISSED[0]
    window = read_window(form, entries["window"]) if "window" in entries else None
    if len(form.problems) > found:
        return None
    policy = Policy(
        name=cast(str, name),
        title=cast(str, texts["title"]),
        mandate=texts.get("mandate"),
        owner=texts.get("owner"),
        records=cast(str, records),
        tags=tags,
        where=where,
        retain=cast(Retain, retain),
        archive=archive,
        schedule=cast(Schedule, schedule),
        approval=approval == "required",
        limits=limits,
        missed=cast(Missed, missed),
        window=window,
        digest="",
        mark=node.mark,
        marks=marks_below(node),
    )
    return replace(policy, digest=digest_of(policy, without=["digest"]))


@dataclass(frozen=True, kw_only=True)
class _Reader:
    form: Form
    entries: Mapping[str, Node]
    declared: Declared
    mark: Mark

    def name(self, stem: str) -> str | None:
        if "policy" not in self.entries:
            return None
        node = self.entries["policy"]
        name = self.form.name(node, "the policy's name")
        if name is not None and name != stem:
            self.form.refuse(
                node.mark,
                f'the policy "{name}" stands in a file named {shown(stem + ".yaml")}',
                f"rename the file to {name}.yaml, or the policy",
            )
        return name

    def records(self) -> tuple[str | None, RecordClass | None]:
        if "records" not in self.entries:
            return None, None
        node = self.entries["records"]
        records = self.form.text(node, '"records"', "SOURCE.CLASS, as declared in retention.yaml")
        if records is None or self.declared.classes is None:
            return records, None
        if records not in self.declared.classes:
            self.form.refuse(
                node.mark, f"there is no record class {shown(records)}", nearest(records, self.declared.classes)
            )
        return records, self.declared.classes.get(records)

    def selects(self, record_class: RecordClass | None) -> None:
        """Checks that the policy says out loud which records it is about."""
        named = [key for key in ("tags", "where") if key in self.entries]
        if "all" in self.entries:
            node = self.entries["all"]
            if not isinstance(node, Value) or node.value is not True:
                self.form.refuse(node.mark, f'"all" is {kind(node)}', "write all: true, or leave it out")
            if named:
                self.form.refuse(node.mark, f'"all" contradicts "{named[0]}"', "keep one of them")
        elif not named:
            self.form.refuse(
                self.mark, "the policy does not say which records it is about", "write tags, where, or all: true"
            )
        if "tags" in self.entries and record_class is not None and record_class.tags is None:
            self.form.refuse(
                self.entries["tags"].mark,
                f'the class "{record_class.address}" declares no tags',
                "write where, or declare its tags in retention.yaml",
            )

    def retain(self, record_class: RecordClass | None) -> Retain | None:
        if "retain" not in self.entries:
            return None
        node = self.entries["retain"]
        entries = self.form.block(node, '"retain"', required={"for": "for: 5 years"}, optional=_OF_RETAIN)
        if entries is None:
            return None
        period = self.form.period(entries["for"], '"for"') if "for" in entries else None
        clock = self._clock(entries, node.mark, record_class)
        starts = self.form.choice(entries["starts"], '"starts"', STARTS) if "starts" in entries else None
        if period is not None and period.exact and "starts" in entries:
            self.form.refuse(
                entries["starts"].mark,
                f'"starts" moves the clock to a day, but {period} are no days',
                "leave it out, or write the period in days",
            )
        keep_last = self._keep_last(entries, node.mark, record_class)
        if period is None:
            return None
        retain = Retain(period=period, clock=clock, starts=cast("Starts | None", starts), keep_last=keep_last)
        fiscal = starts == "next fiscal year"
        return replace(retain, fiscal_year_starts=self.declared.fiscal_year_starts) if fiscal else retain

    def _keep_last(self, entries: Mapping[str, Node], mark: Mark, record_class: RecordClass | None) -> KeepLast | None:
        given = [key for key in ("keep_last", "per") if key in entries]
        if len(given) == 1:
            lacking = {"keep_last": "per: and a subject or column of the class", "per": "keep_last: 1"}[given[0]]
            missing = lacking.split(":")[0]
            self.form.refuse(entries[given[0]].mark, f'"{given[0]}" stands without "{missing}"', f"write {lacking}")
        if len(given) < 2:
            return None
        count = self._count(entries["keep_last"], '"keep_last"')
        per = self.form.text(entries["per"], '"per"', "a subject or column of the class")
        subjects = {} if record_class is None else record_class.subjects
        if per is not None and record_class is not None and record_class.columns is not None:
            offered = {*record_class.columns, *subjects}
            if per not in offered:
                message = f"the class offers no subject or column {shown(per)}"
                self.form.refuse(entries["per"].mark, message, nearest(per, offered))
        return None if count is None or per is None else KeepLast(count=count, per=subjects.get(per, per))

    def _clock(self, entries: Mapping[str, Node], mark: Mark, record_class: RecordClass | None) -> str | None:
        if "from" not in entries:
            if record_class is not None and record_class.created is None:
                self.form.refuse(
                    mark,
                    f'the policy names no clock, and the class "{record_class.address}" has no "created"',
                    "write from: and the column to count from",
                )
            return None
        clock = self.form.text(entries["from"], '"from"', "the column to count from")
        if clock is not None and record_class is not None and record_class.columns is not None:
            offered = {*record_class.columns, *record_class.clocks, *filter(None, [record_class.created])}
            elsewhere = any(part.kin is not None for part in record_class.clock_parts(clock))
            if clock not in offered and not elsewhere:
                self.form.refuse(
                    entries["from"].mark, f"the class offers no column {shown(clock)}", nearest(clock, offered)
                )
        return clock

    def archive(self) -> ArchiveRule | None:
        node = self.entries.get("archive")
        if node is None:
            return None
        if isinstance(node, Value):
            if node.value == "none" and "mandate" not in self.entries:
                self.form.refuse(
                    node.mark,
                    "the policy destroys without an archive and names no mandate",
                    "write mandate: and the law or rule that asks for it",
                )
            elif node.value != "none":
                self.form.refuse(node.mark, f'"archive" is {kind(node)}', "write {to: ARCHIVE, keep: 2 years}, or none")
            return None
        required = {"to": "to: and an archive of retention.yaml", "keep": "keep: 2 years, or keep: forever"}
        entries = self.form.block(node, '"archive"', required=required) or {}
        to = self.form.text(entries["to"], '"to"', "the name of an archive") if "to" in entries else None
        if to is not None and self.declared.archives is not None and to not in self.declared.archives:
            self.form.refuse(
                entries["to"].mark, f"there is no archive {shown(to)}", nearest(to, self.declared.archives)
            )
        keep = self.form.period(entries["keep"], '"keep"') if "keep" in entries else None
        if keep is not None and keep.exact:
            self.form.refuse(
                entries["keep"].mark,
                f'"keep" is counted in days, not in hours: {keep}',
                "write days, weeks, months or years, or forever",
            )
        return None if to is None or keep is None else ArchiveRule(to=to, keep=keep)

    def limits(self) -> Limits:
        node = self.entries.get("limits")
        if node is None:
            return Limits()
        if isinstance(node, Block) and not node.entries:
            self.form.refuse(
                node.mark, '"limits" is an empty block', "write {rows: 5000000, share: 25%}, or one of these"
            )
        entries = self.form.block(node, '"limits"', required={}, optional=("rows", "share")) or {}
        rows = self._count(entries["rows"], '"rows"') if "rows" in entries else None
        return Limits(rows=rows, share=self._share(entries.get("share")))

    def _count(self, node: Node, what: str) -> int | None:
        if (
            isinstance(node, Value)
            and isinstance(node.value, int)
            and not isinstance(node.value, bool)
            and 0 < node.value < 2**63
        ):
            return node.value
        self.form.refuse(node.mark, f"{what} is {kind(node)}", "write a whole number above 0")
        return None

    def _share(self, node: Node | None) -> Fraction | None:
        if node is None:
            return None
        match = _SHARE.fullmatch(node.value) if isinstance(node, Value) and isinstance(node.value, str) else None
        share = None if match is None else Fraction(match[1]) / 100
        if share is None or not 0 < share <= 1:
            self.form.refuse(
                node.mark, f'"share" is {kind(node)}', "write a percentage above 0% and up to 100%, as in 25%"
            )
        return share
