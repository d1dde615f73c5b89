"""How plans, results and lists look on a terminal; plain text where the output is a file or a pipe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from retention.disposition.plan import Plan, PolicyPlan

#: what becomes of a record, in the order of the sum, and how a person says it
FATES: tuple[tuple[str, str], ...] = (
    ("due", "go now"),
    ("not_expired", "stay: not expired yet"),
    ("kept_by_other", "stay: another policy decides"),
    ("held", "stay: held"),
    ("no_clock", "stay: no clock"),
    ("future_clock", "stay: clock in the future"),
)


def console() -> Console:
    """A console as wide as the terminal; 110 columns where there is none, so that files read well."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=110)


def grid(*columns: str, rows: Iterable[Sequence[object]], right: Sequence[int] = ()) -> Table:
    """A table without lines; the columns numbered in ``right`` are figures."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=any(columns), header_style="bold")
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(f"{cell:,}" if isinstance(cell, int) else Text(str(cell)) for cell in row))
    return table


def local(instant: str, zone: ZoneInfo) -> str:
    """An ISO instant as the project's local time, to the minute."""
    return datetime.fromisoformat(instant).astimezone(zone).strftime("%Y-%m-%d %H:%M")


def show_plan(out: Console, plan: Plan, zone: ZoneInfo) -> None:
    """Every policy's plan, then what no policy covers."""
    for policy in plan.policies:
        _show_policy(out, policy, zone)
    for address, records in plan.uncovered.items():
        if records:
            out.print(f"[bold]{records:,}[/] records of {address} are covered by no policy: they are kept.")


def _show_policy(out: Console, plan: PolicyPlan, zone: ZoneInfo) -> None:
    out.print(Text.assemble((plan.policy, "bold cyan"), "  ", plan.title))
    if plan.cutoff is None:
        rule = "nothing ever expires"
    else:
        rule = f"what counts from before {plan.cutoff} has expired"
    out.print(Text(f"  {plan.records}, as of {local(plan.as_of, zone)} {zone.key}: {rule}"))
    rows: list[tuple[str, object, str]] = []
    for field, words in FATES:
        count = getattr(plan, field)
        if count or field == "due":
            rows.append((f"  {words}", count, _why(plan, field)))
    rows.append(("  matched in all", plan.matched, ""))
    out.print(grid("", "", "", rows=rows, right=(1,)))
    if plan.by_tag:
        out.print(Text(f"  by tag: {_counts(plan.by_tag)}"))
    if plan.by_month:
        out.print(Text(f"  by month: {_months(plan.by_month)}"))
    for use in plan.limits:
        share = f"{use.planned / use.limit:.0%}" if use.limit else "all"
        line = Text(f"  limit {use.name} {use.written}: {use.planned:,} of {use.limit:,} records, {share} used")
        out.print(Text.assemble(line, (" — EXCEEDED, nothing will be deleted", "bold red")) if use.exceeded else line)
    if plan.unreadable_tags:
        out.print(
            Text(f"  {plan.unreadable_tags:,} records have tags that cannot be read; they are never deleted", "yellow")
        )
    out.print()


def _why(plan: PolicyPlan, field: str) -> str:
    if field == "due" and plan.dependents:
        return "with " + ", ".join(f"{rows:,} rows of {table}" for table, rows in plan.dependents.items())
    if field == "kept_by_other":
        return _counts(plan.kept_by)
    if field == "held":
        return _counts(plan.held_by)
    return ""


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
