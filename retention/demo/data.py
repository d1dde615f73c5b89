"""The demo's CRM records: about 200,000 activities over more than seven years, made up, and the same for the same day.

Tables and their clocks (times are UTC):

- ``accounts``: 5,000 customers. ``customer_since`` is a DATE.
- ``activity_logs``: what people did with them. ``created_at`` is never earlier than 1 January seven years ago;
  ``closed_at`` is filled where ``status`` is ``closed`` and where somebody closed a letter.
- ``activity_comments``: child rows of activities, by ``activity_id``.

Tags, and which starter policy covers them:

- ``sales``: deals; with ``status: closed`` under sales-records, while open under none.
- ``service-note`` with ``temporary``: under service-notes. Without ``temporary``: under none.
- ``business-letter``: under business-letters; some are ``sales`` too.
- ``newsletter``, ``campaign``: under campaign-contacts, unless they carry ``objection`` or ``sales`` as well.
- ``complaint``: some service notes; the demo's legal minimum keeps them for three years.
- ``portal-login`` and no tag at all (an empty list, or null): under none, reported as uncovered.

Odd rows, as every real database has them: a null ``created_at`` or, on closed deals, a null ``closed_at``; either of
them in the future; service notes that are sales records too; the same tags in another order; 29 February in leap years.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import TypeAlias

from retention.demo import texts

ACCOUNTS = 5_000
ACTIVITIES = 200_000
COMMENTS = 60_000

#: the customer of the demo's hold, who has more records than others
HELD_ACCOUNT = 42

#: id, name, contact, email, city, customer_since
Account: TypeAlias = tuple[int, str, str, str, str, date]
#: id, account_id, action, status, amount, note, owner, tags, created_at, closed_at (times as UTC text in ISO form)
Activity: TypeAlias = tuple[int, int, str, str, float | None, str, str, tuple[str, ...] | None, str | None, str | None]
#: id, activity_id, author, text, created_at
Comment: TypeAlias = tuple[int, int, str, str, str]

_DAY = 86_400


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """What a kind of activity looks like."""

    actions: tuple[str, ...]
    notes: tuple[str, ...]
    statuses: tuple[str, ...] = ("done",)
    #: amounts lie below this; None: activities of this kind have no amount
    amount: int | None = None
    #: closed within so many days after its creation, where the status is "closed"
    closes_within: int | None = None


_DEAL_STATUSES = ("closed",) * 17 + ("open",) * 2 + ("cancelled",)
_DEAL_ACTIONS = ("meeting", "offer", "negotiation", "deal")
_SERVICE_ACTIONS = ("call", "chat", "visit", "note")
_LETTER_ACTIONS = ("offer", "order", "confirmation")

_DEAL = _Kind(actions=_DEAL_ACTIONS, notes=texts.SALES, statuses=_DEAL_STATUSES, amount=90_000, closes_within=120)
_SERVICE = _Kind(actions=_SERVICE_ACTIONS, notes=texts.SERVICE)
_SALES_SERVICE = _Kind(actions=_SERVICE_ACTIONS, notes=texts.SERVICE, statuses=("closed",), closes_within=60)
_LETTER = _Kind(actions=_LETTER_ACTIONS, notes=texts.LETTERS, statuses=("sent", "received"), amount=90_000)
_SALES_LETTER = _Kind(
    actions=_LETTER_ACTIONS, notes=texts.LETTERS, statuses=("closed",), amount=90_000, closes_within=30
)
_MAILING = _Kind(actions=("email",), notes=texts.CAMPAIGNS)
_WON_EVENT = _Kind(actions=("event",), notes=texts.CAMPAIGNS, statuses=("closed",), amount=20_000, closes_within=90)
_LOGIN = _Kind(actions=("login",), notes=texts.LOGINS)
_IMPORT = _Kind(actions=("import",), notes=texts.OTHER)

#: how many of a thousand, of which kind, with which tags
_MIX: tuple[tuple[int, _Kind, tuple[str, ...] | None], ...] = (
    (275, _DEAL, ("sales",)),
    (15, _DEAL, ("sales", "key-account")),
    (310, _SERVICE, ("service-note", "temporary")),
    (20, _SERVICE, ("temporary", "service-note")),
    (12, _SERVICE, ("service-note", "temporary", "complaint")),
    (20, _SALES_SERVICE, ("sales", "service-note", "temporary")),
    (25, _SERVICE, ("service-note",)),
    (100, _LETTER, ("business-letter",)),
    (15, _SALES_LETTER, ("business-letter", "sales")),
    (70, _MAILING, ("newsletter",)),
    (45, _MAILING, ("campaign",)),
    (10, _MAILING, ("campaign", "newsletter")),
    (6, _MAILING, ("newsletter", "objection")),
    (8, _WON_EVENT, ("campaign", "sales")),
    (40, _LOGIN, ("portal-login",)),
    (20, _IMPORT, ()),
    (9, _IMPORT, None),
)

#: one in so many: created at an unknown time, created in the future, closed at an unknown time, closed in the future
_NO_CREATED, _FUTURE_CREATED, _NO_CLOSED, _FUTURE_CLOSED = 1_300, 3_300, 180, 1_300


def accounts(today: datetime) -> Iterator[Account]:
    """The customers, by id from 1."""
    random = Random("accounts")
    for number in range(1, ACCOUNTS + 1):
        company = f"{random.choice(texts.COMPANIES)} {random.choice(texts.COMPANY_KINDS)}"
        if number == HELD_ACCOUNT:
            company = "华信物流有限公司 (Huaxin Logistics)"
        contact = f"{random.choice(texts.FIRST_NAMES)} {random.choice(texts.LAST_NAMES)}"
        since = today.astimezone(UTC).date() - timedelta(days=random.randrange(30, 4_000))
        yield number, company, contact, f"contact{number}@customer.example", random.choice(texts.CITIES), since


def activities(today: datetime) -> Iterator[Activity]:
    """The activities, by id from 1, in the order in which they were created."""
    random = Random("activities")
    now = int(today.timestamp())
    created = sorted(random.choices(range(_first_instant(today), now - _DAY), k=ACTIVITIES))
    mix = random.choices(_MIX, weights=[share for share, _, _ in _MIX], k=ACTIVITIES)
    weights = [10 if number == HELD_ACCOUNT else 1 for number in range(1, ACCOUNTS + 1)]
    customers = random.choices(range(1, ACCOUNTS + 1), weights=weights, k=ACTIVITIES)
    for number, (at, (_, kind, tags), customer) in enumerate(zip(created, mix, customers, strict=True), start=1):
        status = _pick(random, kind.statuses)
        closed: str | None = None
        if kind.closes_within is not None and status == "closed":
            closed_at = at + int(random.random() * kind.closes_within * _DAY)
            if _one_in(random, _NO_CLOSED):
                closed = None
            elif _one_in(random, _FUTURE_CLOSED):
                closed = _text(now + int(random.random() * 900 * _DAY) + _DAY)
            elif closed_at < now:
                closed = _text(closed_at)
            else:
                status = "open"
        clock: str | None = _text(at)
        if _one_in(random, _NO_CREATED):
            clock = None
        elif _one_in(random, _FUTURE_CREATED):
            clock = _text(now + int(random.random() * 400 * _DAY) + _DAY)
        amount = None if kind.amount is None else int(random.random() * kind.amount * 100) / 100
        yield (
            number,
            customer,
            _pick(random, kind.actions),
            status,
            amount,
            _pick(random, kind.notes),
            _pick(random, texts.OWNERS),
            tags,
            clock,
            closed,
        )


def comments(today: datetime) -> Iterator[Comment]:
    """The comments, by id from 1, each on an activity that exists."""
    random = Random("comments")
    span = int(today.timestamp()) - _first_instant(today) - _DAY
    for number, activity in enumerate(sorted(random.choices(range(1, ACTIVITIES + 1), k=COMMENTS)), start=1):
        # ids follow creation, so this is near the activity's own time
        at = _first_instant(today) + span * activity // ACTIVITIES + int(random.random() * _DAY)
        yield number, activity, _pick(random, texts.OWNERS), _pick(random, texts.COMMENTS), _text(at)


def _first_instant(today: datetime) -> int:
    """Seconds since 1970 when the year seven years ago began (UTC): every policy finds expired records, on any day."""
    return int(datetime(today.astimezone(UTC).year - 7, 1, 1, tzinfo=UTC).timestamp())


def _text(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(" ")[:19]


def _pick(random: Random, values: Sequence[str]) -> str:
    # random() is four times as fast as choice(), and 200,000 rows make eight hundred thousand of these
    return values[int(random.random() * len(values))]


def _one_in(random: Random, many: int) -> bool:
    return random.random() * many < 1
