"""Whatever stands in a clock column, in whatever form: the SQL of each dialect reads it as `moment_of` does."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retention.config import SourceConfig
from retention.policy.calendar import counted_day
from retention.policy.mark import Mark
from retention.policy.moment import moment_of
from retention.policy.record_class import RecordClass
from retention.sources.bind import bind
from retention.sources.bound_class import BoundClass
from retention.sources.census import EARLIER, month_of
from retention.sources.clock_column import Bound, after_bound, day_bound
from retention.sources.clocks import before, clock_column, is_clock
from retention.sources.open import open_source
from retention.sources.record import read_records

ZONES = [ZoneInfo(name) for name in ("UTC", "Asia/Shanghai", "America/New_York", "America/St_Johns", "Pacific/Apia")]
AS_OF = datetime(2026, 11, 1, 12, tzinfo=UTC)

_DAYS = st.dates(date(2004, 1, 1), date(2027, 12, 31)) | st.sampled_from(
    [date(1970, 1, 1), date(1969, 12, 31), date(1970, 1, 2), date(9999, 12, 31), date(1, 1, 1), date(2024, 2, 29)]
)
#: moments near which most of the bounds lie, and the least steps about them
_NEAR = st.builds(
    lambda moment, step, sign: moment + sign * step,
    st.sampled_from([datetime(2021, 3, 14, 7), datetime(2021, 11, 7, 5, 30), datetime(2006, 10, 29, 3, 1), datetime(2024, 1, 1)]),
    st.sampled_from([timedelta(0), timedelta(microseconds=1), timedelta(milliseconds=1), timedelta(seconds=1)]),
    st.sampled_from([1, -1]),
)  # fmt: skip
_WALLS = st.builds(datetime.combine, _DAYS, st.times()) | _NEAR | _NEAR
_OFFSETS = st.sampled_from(["", "", "Z", "+00:00", "+08:00", "-03:30", "+15:59", "+16:00", "-23:59", "+14:00"])


def _iso(wall: datetime, separator: str, length: int, offset: str) -> str:
    return (wall.isoformat(separator, "microseconds") + "999")[:length].rstrip(".") + offset


_ISO = st.builds(_iso, _WALLS, st.sampled_from([" ", "T"]), st.sampled_from([16, 19, 21, 23, 26, 29]), _OFFSETS)
_DIGITS = st.builds(lambda wall, length: wall.isoformat().translate({45: None, 58: None, 84: None})[:length], _WALLS,
                    st.sampled_from([8, 14]))  # fmt: skip
#: one letter changed, lost or doubled
_NEARLY = st.builds(
    lambda text, at, put: text[: at % len(text)] + put + text[at % len(text) + 1 :],
    _ISO | _DIGITS | _DAYS.map(str),
    st.integers(0, 40),
    st.sampled_from(["", " ", "0", "9", "3", "-", ":", ".", "T", "Z", "+", "é", "\\", "%", "२"]),
)
_TEXTS = _ISO | _ISO | _DAYS.map(str) | _DIGITS | _NEARLY
_NUMBERS = (
    _WALLS.map(lambda wall: str(int((wall - datetime(1970, 1, 1)).total_seconds())))
    | st.sampled_from(["0", "-1", "20210230", "20210229", "20210101240000", "2021010110", "99991231", "99991231235959"])
    | _DIGITS.map(lambda digits: str(int(digits)))
)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


_HEX = (_TEXTS | _NUMBERS).map(lambda text: text.encode().hex())
#: dialect -> column -> what may stand there, as SQL
COLUMNS: dict[str, dict[str, st.SearchStrategy[str]]] = {
    "postgresql": {
        "text": _TEXTS.map(_quoted),
        "varchar(40)": _TEXTS.map(_quoted),
        "char(29)": _TEXTS.map(lambda text: _quoted(text[:29])),
        "bytea": _HEX.map(lambda text: f"'\\x{text}'"),
        "timestamp": _WALLS.map(lambda wall: _quoted(str(wall))),
        "timestamptz": _WALLS.map(lambda wall: _quoted(f"{wall}+00")),
        "date": _DAYS.map(lambda day: _quoted(str(day))),
        "bigint": _NUMBERS,
        "numeric": _NUMBERS | _NUMBERS.map(lambda number: f"{number}.50"),
        "double precision": _NUMBERS | st.sampled_from(["20210101.5", "'NaN'", "'Infinity'"]),
    },
    "mysql": {
        "text": _TEXTS.map(_quoted),
        "varchar(40) character set latin1": _TEXTS.map(lambda text: _quoted(text.replace("२", "é"))),
        "char(29)": _TEXTS.map(lambda text: _quoted(text[:29])),
        "blob": _HEX.map(lambda text: f"x'{text}'"),
        "datetime(6)": _WALLS.map(lambda wall: _quoted(str(wall)))
        | st.sampled_from(["'0000-00-00 00:00:00'", "'2021-02-30 10:00:00'", "'0000-01-01 00:00:00'"]),
        "timestamp(6) null": _NEAR.map(lambda wall: _quoted(str(wall))) | st.just("'0000-00-00 00:00:00'"),
        "date": _DAYS.map(lambda day: _quoted(str(day)))
        | st.sampled_from(["'0000-00-00'", "'2021-02-30'", "'2021-00-10'"]),
        "bigint": _NUMBERS,
        "decimal(40,2)": _NUMBERS | _NUMBERS.map(lambda number: f"{number}.50"),
        "double": _NUMBERS | st.just("20210101.5"),
    },
    "sqlite": {
        declared: _TEXTS.map(_quoted)
        | _HEX.map(lambda text: f"x'{text}'")
        | _NUMBERS
        | _NUMBERS.map(lambda number: f"{number}.0")
        for declared in ("text", "blob", "datetime", "integer", "real", "numeric")
    },
}
_READINGS = st.sampled_from(
    [(None, None), ("s", None), ("ms", None), ("us", None), (None, "YYYYMMDD"), (None, "YYYYMMDDHHMMSS")]
)
_UNSET = st.lists(
    st.sampled_from([0, -1, date(1970, 1, 1), "0000-00-00", date(9999, 12, 31), date(1, 1, 1), "19700101", 20240229])
    | st.sampled_from([datetime(2021, 3, 14, 7), datetime(2024, 1, 1, tzinfo=UTC), date(2024, 1, 1)]),
    max_size=3,
).map(tuple)


URLS = {"sqlite": "sqlite_url", "postgresql": "postgres_url", "mariadb": "mariadb_url", "mysql": "mysql_url"}
CASES = [(one, kind) for one in URLS for kind in COLUMNS["mysql" if one == "mariadb" else one]]


@pytest.fixture(params=CASES, ids=" ".join)
def clocked(request: pytest.FixtureRequest) -> tuple[BoundClass, st.SearchStrategy[str]]:
    """A class whose clock is of that kind, and what may stand in it."""
    server, kind = request.param
    url = request.getfixturevalue(URLS[server])
    source = open_source(SourceConfig(name="crm", url=url, classes={}))
    session = source.session()
    session.execute(f"CREATE TABLE logs (id integer PRIMARY KEY, clock {kind})")
    session.close()
    declared = RecordClass(source="crm", name="logs", table="logs", key=("id",), mark=Mark(file="retention.yaml"))
    return bind(source, declared, {}), COLUMNS[source.dialect.name][kind]


@settings(deadline=None, max_examples=5, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_value_is_read_alike(clocked: tuple[BoundClass, st.SearchStrategy[str]], data: st.DataObject) -> None:
    bound, cells = clocked
    unit, form = data.draw(_READINGS)
    declared = RecordClass(
        source="crm", name="logs", table="logs", key=("id",), created="clock",
        timezone=data.draw(st.none() | st.sampled_from(ZONES)), unit=unit, format=form,
        unset=data.draw(_UNSET), mark=Mark(file="retention.yaml"),
    )  # fmt: skip
    bound = BoundClass(**{**vars(bound), "record_class": declared})
    values = data.draw(st.lists(cells, min_size=30, max_size=40))
    zone = data.draw(st.sampled_from(ZONES))
    moment = data.draw(_NEAR | st.just(datetime(9999, 12, 31, 23, 59, 59, 999999))).replace(tzinfo=UTC)
    limits = [
        after_bound(moment, zone),
        day_bound(data.draw(_DAYS), zone),
        Bound(instant=moment, day=None),
        Bound(instant=None, day=moment.date()),
    ]
    session = bound.source.session()
    try:
        session.begin(write=True)
        rows = ", ".join(f"({number}, {value})" for number, value in enumerate(values))
        session.execute(f"INSERT INTO logs VALUES {rows}, ({len(values)}, NULL)")
        column = clock_column(bound, "clock")
        asked = [is_clock(column), is_clock(column, dates=False), *(before(column, limit) for limit in limits)]
        statement = sa.select(bound.key[0], *(sa.case((one, 1), else_=0) for one in asked)).select_from(bound.rows)
        told = {row[0]: [bool(one) for one in row[1:]] for row in session.rows(statement)}
        month = sa.select(bound.key[0], month_of(bound, "clock", AS_OF, zone)).select_from(bound.rows)
        months = dict(session.rows(month.where(is_clock(column))))
        records = read_records(session, bound, sa.true(), zone)
    finally:
        session.close()
    assert len(records) == len(values) + 1
    for record in records:
        key, value = record.values["id"], record.values["clock"]
        found = moment_of(value, declared)
        expected = [found is not None, isinstance(found, datetime)]
        for limit in limits:
            bar = limit.instant if isinstance(found, datetime) else limit.day
            expected.append(found is not None and bar is not None and found < bar)
        assert told[key] == expected, (value, found)
        if found is not None:
            day = counted_day(found, zone) if isinstance(found, datetime) else found
            assert months[key] == (EARLIER if day < date(2006, 11, 1) else min(f"{day:%Y-%m}", "2026-11")), value
