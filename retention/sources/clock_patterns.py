"""Times as text, as regular expressions that PostgreSQL, MariaDB and MySQL read alike; each adds its own ends of the text."""

from __future__ import annotations

_LEAP = "([0-9][0-9](0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)"
_TIME = "([01][0-9]|2[0-3]){c}[0-5][0-9]"
_ISO_TIME = f"[ T]{_TIME.format(c=':')}(:[0-5][0-9]([.][0-9]+)?)?"
OFFSET = "[+-]([01][0-9]|2[0-3]):[0-5][0-9]"


def _day(dash: str) -> str:
    """Every date from 0001-01-01 to 9999-12-31 and nothing else."""
    months = (
        f"(0[13578]|1[02]){dash}(0[1-9]|[12][0-9]|3[01])|(0[469]|11){dash}(0[1-9]|[12][0-9]|30)"
        f"|02{dash}(0[1-9]|1[0-9]|2[0-8])"
    )
    return f"(?!0000)([0-9][0-9][0-9][0-9]{dash}({months})|{_LEAP}{dash}02{dash}29)"


ISO_DAY = _day("-")
ISO_WALL = f"{_day('-')}{_ISO_TIME}"
ISO_UTC = f"{ISO_WALL}Z"
ISO_OFFSET = f"{ISO_WALL}{OFFSET}"
DIGITS = {"YYYYMMDD": _day(""), "YYYYMMDDHHMMSS": f"{_day('')}{_TIME.format(c='')}[0-5][0-9]"}
