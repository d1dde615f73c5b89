"""What the words of options become."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from retention.cli.options import confirmed, must_be_asked, parse_day, parse_when
from retention.errors import InputError

SHANGHAI = ZoneInfo("Asia/Shanghai")


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-10-01", datetime(2026, 9, 30, 16, tzinfo=UTC)),
        ("2026-10-01T02:00:00+08:00", datetime(2026, 9, 30, 18, tzinfo=UTC)),
        ("2026-10-01T02:00", datetime(2026, 9, 30, 18, tzinfo=UTC)),
        ("2026-10-01 02:00:00Z", datetime(2026, 10, 1, 2, tzinfo=UTC)),
    ],
)
def test_as_of(text: str, instant: datetime) -> None:
    assert parse_when(text, SHANGHAI) == instant


def test_left_out_it_is_now() -> None:
    before = datetime.now(UTC)
    assert before <= parse_when(None, SHANGHAI) <= datetime.now(UTC)
    assert parse_day(None, "--from") is None


@pytest.mark.parametrize("text", ["", "tomorrow", "2026-02-30", "01.10.2026", "2026-10-01T25:00", "9" * 10])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(InputError, match="neither a day nor a time"):
        parse_when(text, SHANGHAI)
    with pytest.raises(InputError, match="is not a day"):
        parse_day(text, "--from")


def test_a_day() -> None:
    assert parse_day("2026-10-01", "--to") == date(2026, 10, 1)


def test_nobody_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    must_be_asked(yes=True, as_json=True)
    with pytest.raises(InputError, match="--json cannot ask"):
        must_be_asked(yes=False, as_json=True)
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputError, match="nobody to ask"):
        must_be_asked(yes=False, as_json=False)


@pytest.mark.parametrize(("answer", "agreed"), [("y", True), ("n", False)])
def test_asked(answer: str, agreed: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import io
    import sys

    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{answer}\n"))
    assert confirmed("Delete it?", yes=False) is agreed
    assert ("Nothing was done." in capsys.readouterr().out) is not agreed
    assert confirmed("Delete it?", yes=True)
