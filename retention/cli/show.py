"""How plans, results and lists look on a terminal; plain text where the output is a file or a pipe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from retention.disposition.plan import LimitUse, Plan, PolicyPlan

#: what becomes of a record, in the order of the sum, and how a person says it
FATES: tuple[tuple[str, str], ...] = (
    ("due", "go now"),
    ("not_expired", "stay: not expired yet"),
    ("kept_last", "stay: the last of their group"),
    ("kept_by_other", "stay: another policy decides"),
    ("held", "stay: held"),
    ("blocked", "stay: blocked"),
    ("no_clock", "stay: no clock"),
    ("future_clock", "stay: clock in the future"),
)


def console() -> Console:
    """A console as wide as the terminal; 110 columns where there is none, so that files read well."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=110)


def grid(
    *columns: str, rows: Iterable[Sequence[object]], right: Sequence[int] = (), whole: Sequence[int] = ()
) -> Table:
    """A table without lines. Columns numbered in ``right`` are figures; those in ``whole`` (names that people copy) are
    never broken over lines."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=any(columns), header_style="bold")
    for number, name in enumerate(columns):
        table.add_column(
            name,
            justify="right" if number in right else "left",
            overflow="fold",
            no_wrap=number in whole or number in right,
        )
    for row in rows:
        table.add_row(*(f"{cell:,}" if isinstance(cell, int) else Text(str(cell)) for cell in row))
    return table


def local(instant: str | datetime, zone: ZoneInfo) -> str:
    """An instant (ISO text, or aware) as the project's local time, to the minute."""
    moment = datetime.fromisoformat(instant) if isinstance(instant, str) else instant
    return moment.astimezone(zone).strftime("%Y-%m-%d %H:%M")


def counted(number: int, one: str, many: str | None = None) -> str:
    """``1 record``, ``2,000 records``; ``many`` where the plural is not made by an s."""
    return f"{number:,} {one}" if number == 1 else f"{number:,} {one + 's' if many is None else many}"


def show_plan(out: Console, plan: Plan, zone: ZoneInfo) -> None:
    """Every policy's plan, then what no policy covers."""
    for policy in plan.policies:
        _show_policy(out, policy, zone)
    for address, records in plan.uncovered.items():
        if records:
            out.print(Text(f"{counted(records, 'record')} of {address}: no policy covers them, so they stay."))


def _show_policy(out: Console, plan: PolicyPlan, zone: ZoneInfo) -> None:
    out.print(Text.assemble((plan.policy, "bold cyan"), "  ", plan.title))
    rule = "nothing expires" if plan.cutoff is None else f"expired is what is dated before {plan.cutoff}"
    out.print(Text(f"  {plan.records} as of {local(plan.as_of, zone)} ({zone.key}): {rule}"))
    rows: list[tuple[str, object, str]] = []
    for field, words in FATES:
        count = getattr(plan, field)
        if count or field == "due":
            rows.append((f"  {words}", count, _why(plan, field)))
    rows.append(("  matched in all", plan.matched, ""))
    out.print(grid("", "", "", rows=rows, right=(1,), whole=(0,)))
    facts = [("by tag", _counts(plan.by_tag)), ("by month", _months(plan.by_month))]
    facts += [(f"limit {use.name}", _limit(use)) for use in plan.limits]
    out.print(grid("", "", rows=[(f"  {name}", text) for name, text in facts if text], whole=(0,)))
    for use in plan.limits:
        if use.exceeded:
            out.print(
                Text(f"  The plan exceeds the limit {use.name}: nothing of this policy will be deleted.", "bold red")
            )
    if plan.missing_indexes:
        out.print(Text("  Each record costs a scan of its dependents' tables until they have these indexes:", "yellow"))
        for statement in plan.missing_indexes:
            out.print(Text(f"    {statement}"), soft_wrap=True)
    if plan.unreadable_tags:
        said = counted(plan.unreadable_tags, "record has", "records have")
        out.print(Text(f"  {said} tags that cannot be read; such records are never deleted.", "yellow"))
    out.print()


def _why(plan: PolicyPlan, field: str) -> str:
    if field == "due":
        return _with(plan)
    if field == "kept_by_other":
        return _counts(plan.kept_by)
    if field == "held":
        return _counts(plan.held_by)
    if field == "blocked":
        return f"by rows of {_counts(plan.blocked_by)}"
    return ""


def _with(plan: PolicyPlan) -> str:
    """What else is changed when the due records go."""
    told = {"with ": plan.dependents, "detaching ": plan.detached}
    return ", ".join(
        words + ", ".join(f"{counted(rows, 'row')} of {table}" for table, rows in tables.items())
        for words, tables in told.items()
        if tables
    )


def _limit(use: LimitUse) -> str:
    most = f"{use.limit:,}"
    if use.written.endswith("%"):
        most += f" ({Decimal(use.written.removesuffix('%')).normalize():f}% of the class)"
    return f"{use.planned:,} of at most {most}: {_share(use.planned, use.limit)} used"


def _share(part: int, whole: int) -> str:
    if part == 0 or whole == 0:
        return "0%" if part == 0 else "all"
    return "under 1%" if part * 100 < whole else f"{part / whole:.0%}"


def _counts(counts: Mapping[str, int], most: int = 8) -> str:
    shown = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    text = ", ".join(f"{name} {count:,}" for name, count in shown[:most])
    return f"{text}, and {len(shown) - most} more" if len(shown) > most else text


def _months(counts: Mapping[str, int], most: int = 6) -> str:
    shown = sorted(counts.items(), key=lambda item: (item[0] != "earlier", item[0]))
    if len(shown) <= 2 * most:
        return ", ".join(f"{month} {count:,}" for month, count in shown)
    first, last = shown[:most], shown[-2:]
    between = sum(count for _, count in shown[most:-2])
    return (
        ", ".join(f"{month} {count:,}" for month, count in first)
        + f", … {len(shown) - most - 2} months {between:,} …, "
        + ", ".join(f"{month} {count:,}" for month, count in last)
    )
