"""The time zones of server, role, session and worker change no decision, and the row exactly at the cutoff stays."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from pathlib import Path
from urllib.parse import quote
from zoneinfo import ZoneInfo

import psycopg
import pytest
import sqlalchemy as sa

from retention.config import SourceConfig
from retention.policy.clock import cutoff
from retention.policy.decide import decide
from retention.policy.mark import Mark
from retention.policy.period import Period
from retention.policy.policy import Limits, Policy, Retain, Schedule
from retention.policy.policy_set import PolicySet
from retention.policy.record_class import RecordClass
from retention.sources.bind import bind
from retention.sources.open import open_source
from retention.sources.predicate import due
from retention.sources.record import read_records
from retention.sources.source import Source
from tests.servers.mariadb import MariadbServer, connect

MARK = Mark(file="test.yaml")
#: zones of the environment: as databases and processes are set up
AROUND = ("-05:00", "UTC", "+09:00", "Pacific/Kiritimati", "America/New_York")
#: of the policies and of times without a zone
LAW = ZoneInfo("America/New_York")
#: the nights on which its clocks are turned, with the instants at which these days begin
NIGHTS = {
    date(2021, 3, 14): datetime(2021, 3, 14, 5, tzinfo=UTC),
    date(2021, 3, 15): datetime(2021, 3, 15, 4, tzinfo=UTC),
    date(2021, 11, 7): datetime(2021, 11, 7, 4, tzinfo=UTC),
    date(2021, 11, 8): datetime(2021, 11, 8, 5, tzinfo=UTC),
}
_US = timedelta(microseconds=1)
#: from the beginning of a day into the day before, however long that is
_DAY = timedelta(hours=12)


def _since(moment: datetime, unit: timedelta) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // unit


def _local(moment: datetime) -> datetime:
    return moment.astimezone(LAW).replace(tzinfo=None)


def _digits(moment: datetime, length: int) -> str:
    return _local(moment).strftime("%Y%m%d%H%M%S")[:length]


_Write = Callable[[datetime], str]
#: column -> (what the class says of it, the least step, how a moment stands there), by dialect where it differs
CLOCKS: dict[str, tuple[dict[str, str], timedelta, _Write]] = {
    "zoned": ({}, _US, lambda moment: f"'{moment.isoformat(' ')}'"),
    "zoned_text": ({}, _US, lambda moment: f"'{moment.astimezone(ZoneInfo('Asia/Kolkata')).isoformat()}'"),
    "utc_text": ({}, _US, lambda moment: f"'{moment.isoformat()[:-6]}Z'"),
    "naive": ({}, _US, lambda moment: f"'{_local(moment).isoformat(' ')}'"),
    "naive_text": ({}, _US, lambda moment: f"'{_local(moment).isoformat()}'"),
    "bytes": ({}, _US, lambda moment: f"'{_local(moment).isoformat(' ')}'"),
    "day": ({}, _DAY, lambda moment: f"'{_local(moment).date()}'"),
    "day_text": ({}, _DAY, lambda moment: f"'{_local(moment).date()}'"),
    "seconds": ({"unit": "s"}, timedelta(seconds=1), lambda moment: str(_since(moment, timedelta(seconds=1)))),
    "milliseconds": ({"unit": "ms"}, timedelta(milliseconds=1), lambda moment: str(_since(moment, _US * 1000))),
    "microseconds": ({"unit": "us"}, _US, lambda moment: str(_since(moment, _US))),
    "packed": ({"format": "YYYYMMDDHHMMSS"}, timedelta(seconds=1), lambda moment: _digits(moment, 14)),
    "packed_text": ({"format": "YYYYMMDDHHMMSS"}, timedelta(seconds=1), lambda moment: f"'{_digits(moment, 14)}'"),
    "packed_day": ({"format": "YYYYMMDD"}, _DAY, lambda moment: _digits(moment, 8)),
}  # fmt: skip
_TYPES = {
    "zoned": "timestamptz", "naive": "timestamp", "day": "date", "bytes": "bytea", "seconds": "bigint",
    "milliseconds": "bigint", "microseconds": "bigint", "packed": "bigint", "packed_day": "integer",
}  # fmt: skip

_OWN_TYPES = {
    "sqlite": {"zoned": "text"},
    "mysql": {"zoned": "timestamp(6) null", "naive": "datetime(6)", "bytes": "blob"},
}
#: a literal of a TIMESTAMP says no zone: it is in that of the session, which is UTC here
_OWN_WRITES: dict[str, dict[str, _Write]] = {"mysql": {"zoned": lambda moment: f"'{moment.isoformat(' ')[:-6]}'"}}


@pytest.fixture
def in_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Sets the time zone of this process, and of every client of PostgreSQL in it."""

    def move(zone: str) -> None:
        monkeypatch.setenv("TZ", {"-05:00": "<-05>5", "+09:00": "<+09>-9"}.get(zone, zone))
        monkeypatch.setenv("PGTZ", zone)
        time.tzset()

    yield move
    monkeypatch.undo()
    time.tzset()


def _policies(clock: str, today: date) -> PolicySet:
    policy = Policy(
        name="notes", title="t", mandate=None, owner=None, records="crm.logs", tags=None, where=None,
        retain=Retain(period=Period(days=90), clock=clock), archive=None,
        schedule=Schedule(cron="0 2 * * *", timezone=LAW), approval=False, limits=Limits(), digest="", mark=MARK,
    )  # fmt: skip
    return PolicySet(policies=(policy,), bounds=(), timezone=LAW, digest="")


def _fill(source: Source) -> None:
    session = source.session()
    types = _TYPES | _OWN_TYPES.get(source.dialect.name, {})
    own = _OWN_WRITES.get(source.dialect.name, {})
    columns = [f"{name} {types.get(name, 'text')}" for name in CLOCKS]
    session.execute(f"CREATE TABLE logs (id integer PRIMARY KEY, {', '.join(columns)})")
    for number, start in enumerate(NIGHTS.values()):
        # even keys: exactly at the beginning of the day; odd ones: the least step before it
        for key, before in ((2 * number, False), (2 * number + 1, True)):
            values = [
                own.get(name, write)(start - step if before else start) for name, (_, step, write) in CLOCKS.items()
            ]
            session.execute(f"INSERT INTO logs VALUES ({key}, {', '.join(values)})")
    session.close()


def _decide(source: Source) -> None:
    """As of the days on which the nights' days are the first to be kept: what is older goes, and nothing else."""
    session = source.session()
    try:
        for clock, (said, _, _) in CLOCKS.items():
            declared = RecordClass(
                source="crm", name="logs", table="logs", key=("id",), timezone=LAW, mark=MARK, **said  # type: ignore[arg-type]
            )  # fmt: skip
            bound = bind(source, declared, {})
            for number, (day, start) in enumerate(NIGHTS.items()):
                as_of = datetime.combine(day + timedelta(days=90), datetime.min.time(), LAW) + timedelta(hours=12)
                policies = _policies(clock, day)
                limit = cutoff(policies.policies[0].retain, as_of, LAW)
                assert limit is not None and (limit.day, limit.instant) == (day, start)
                going = due(bound, policies.policies[0], policies, as_of, sa.false())
                gone = {key for (key,) in session.rows(sa.select(bound.key[0]).select_from(bound.rows).where(going))}
                assert gone == {*range(2 * number), 2 * number + 1}, (clock, day)
                records = read_records(session, bound, sa.true(), LAW)
                assert gone == {
                    one.values["id"] for one in records if decide(one, declared, policies, as_of, False).due
                }
    finally:
        session.close()


def _open(url: str) -> Source:
    return open_source(SourceConfig(name="crm", url=url, classes={}))


@pytest.mark.parametrize("around", AROUND)
def test_no_zone_around_sqlite_matters(sqlite_url: str, in_zone: Callable[[str], None], around: str) -> None:
    in_zone(around)
    source = _open(sqlite_url)
    _fill(source)
    _decide(source)


@pytest.mark.parametrize("around", AROUND)
def test_no_zone_around_postgresql_matters(postgres_url: str, in_zone: Callable[[str], None], around: str) -> None:
    """Of the database, of the role, of the session (as the url asks for it), of the process and its driver."""
    _fill(_open(postgres_url))
    role = f"role_{Path(postgres_url.split('?')[0]).name}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        database = connection.info.dbname
        connection.execute(f"CREATE ROLE {role} LOGIN SUPERUSER")
        try:
            connection.execute(f"ALTER DATABASE {database} SET timezone = '{around}'")
            connection.execute(f"ALTER ROLE {role} SET timezone = '{around}'")
            in_zone(around)
            _decide(_open(postgres_url))
            joined = "&" if "?" in postgres_url else "?"
            own = f"{postgres_url}{joined}user={role}&options={quote(f'-ctimezone={around}')}"
            with psycopg.connect(own) as other:
                assert other.info.parameter_status("TimeZone") not in ("UTC", None) or around == "UTC"
            _decide(_open(own))
        finally:
            connection.execute(f"DROP ROLE {role}")


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.every_server
def test_no_zone_around_mariadb_matters(
    mariadb_server: MariadbServer, mariadb_url: str, in_zone: Callable[[str], None], around: str
) -> None:
    """Of the server, of each session from its beginning, and of the process; a TIMESTAMP is shown in the session's zone."""
    mariadb_server.learn_zones(*(zone for zone in AROUND if "/" in zone))
    zone = {"UTC": "+00:00"}.get(around, around)
    database = mariadb_url.rpartition("/")[2]
    role = f"role_{database[-8:]}"
    own = mariadb_url.replace("root@", f"{role}@")
    with mariadb_server.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE USER {role}")
        cursor.execute(f"GRANT SELECT, TRIGGER, CREATE TEMPORARY TABLES ON {database}.* TO {role}")
        try:
            cursor.execute(f"SET GLOBAL time_zone = '{zone}'")
            cursor.execute("SET GLOBAL init_connect = %s", (f"SET time_zone = '{zone}'",))  # not for administrators
            in_zone(around)
            _fill(_open(mariadb_url))
            _decide(_open(mariadb_url))
            with connect(own) as other, other.cursor() as asked:
                asked.execute("SELECT @@time_zone, zoned FROM logs WHERE id = 0")
                start = next(iter(NIGHTS.values()))
                shown = start.astimezone(ZoneInfo(around) if "/" in around else _offset(around)).replace(tzinfo=None)
                assert asked.fetchall() == ((zone, shown),)
            _decide(_open(own))
        finally:
            cursor.execute("SET GLOBAL init_connect = ''")
            cursor.execute("SET GLOBAL time_zone = 'SYSTEM'")
            cursor.execute(f"DROP USER {role}")


def _offset(around: str) -> tzinfo:
    """The zone of that name, which is no place's."""
    return UTC if around == "UTC" else timezone(timedelta(hours=int(around[:3])))
