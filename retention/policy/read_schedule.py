"""Reading `schedule`: a word, or a five-field cron in an IANA zone."""

from __future__ import annotations

import re
from zoneinfo import ZoneInfo

from croniter import croniter

from retention.policy.document import Block, Node
from retention.policy.form import Form, shown
from retention.policy.policy import Schedule

#: 02:00 on the first day; weeks begin on Monday (ISO 8601)
WORDS = {
    "daily": "0 2 * * *",
    "weekly": "0 2 * * 1",
    "monthly": "0 2 1 * *",
    "quarterly": "0 2 1 1,4,7,10 *",
    "yearly": "0 2 1 1 *",
}
_LETTERS = frozenset(re.findall("...", "janfebmaraprmayjunjulaugsepoctnovdecsunmontuewedthufrisat"))


def read_schedule(form: Form, node: Node, timezone: ZoneInfo) -> Schedule | None:
    """The schedule; in ``timezone``, the policies' own, where it names none. None after a problem."""
    if not isinstance(node, Block):
        word = form.choice(node, '"schedule"', WORDS)
        return None if word is None else Schedule(cron=WORDS[word], timezone=timezone)
    entries = form.block(node, '"schedule"', required={"cron": 'cron: "0 2 1 1,4,7,10 *"'}, optional=("timezone",))
    cron = _cron(form, entries["cron"]) if entries and "cron" in entries else None
    zone = form.zone(entries["timezone"], "the time zone") if entries and "timezone" in entries else timezone
    return None if cron is None or zone is None else Schedule(cron=cron, timezone=zone)


def _cron(form: Form, node: Node) -> str | None:
    text = form.text(node, '"cron"', 'five fields in quotes, as in "0 2 1 1,4,7,10 *"')
    if text is None:
        return None
    fields = text.split()
    if len(fields) != 5:
        form.refuse(node.mark, f"the cron {shown(text)} has {len(fields)} field{'s' * (len(fields) != 1)}",
                    "write five: minute, hour, day, month, weekday")  # fmt: skip
        return None
    plain = re.fullmatch(r"[0-9a-zA-Z*,/\- ]*", " ".join(fields)) is not None
    # letters that are no names ask for random or "last" days: not the same in every process
    if (
        not plain
        or any(word.lower() not in _LETTERS for word in re.findall("[a-zA-Z]+", text))
        or not croniter.is_valid(text)
    ):
        form.refuse(node.mark, f"the cron {shown(text)} cannot be read", 'write five fields as in "0 2 1 1,4,7,10 *"')
        return None
    if not croniter.is_valid(text, strict=True):
        form.refuse(node.mark, f"the cron {shown(text)} never fires", "write a day that its months have")
        return None
    return " ".join(fields)
