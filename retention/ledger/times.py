"""Instants as text in the control database: UTC, always 27 characters, so that text order is time order."""

from __future__ import annotations

from datetime import UTC, datetime


def stamp(moment: datetime) -> str:
    """``2026-10-01T00:00:00.000000Z``. Raises ValueError for a datetime without a zone."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone")
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def instant(text: str) -> datetime:
    """The aware UTC datetime that `stamp` wrote. Raises ValueError for anything that `stamp` does not write."""
    moment = datetime.fromisoformat(text)
    if stamp(moment) != text:
        raise ValueError(f"{text!r} is not an instant in the form 2026-10-01T00:00:00.000000Z")
    return moment


def maybe_instant(text: str | None) -> datetime | None:
    """As `instant`, for a column that may be null."""
    return None if text is None else instant(text)
