"""Clocks at the cutoff itself, and the least step before and after it, in every form that a clock may have."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import psycopg
import pytest
import sqlalchemy as sa

from retention.holds.hold import Hold, HoldState
from retention.holds.scope import Tagged
from retention.policy.clock import cutoff
from retention.policy.decide import moment_of
from retention.policy.mark import Mark
from retention.policy.period import Period
from retention.policy.policy import Retain
from retention.policy.record_class import RecordClass
from retention.policy.tags import TagColumn
from retention.sources.bind import bind
from retention.sources.predicate import expired, held
from retention.sources.record import read_records
from retention.sources.source import Session, Source
from tests.servers.mariadb import numbers

Sessions = Callable[[Source], Session]
MARK = Mark(file="retention.yaml")
ZONE = ZoneInfo("America/St_Johns")
#: not a whole second, so that the cutoff of a period of hours is none either
AS_OF = datetime(2026, 11, 1, 12, 0, 0, 123457, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


#: how digits are read, said in the place of a unit
_FORMATS = ("YYYYMMDD", "YYYYMMDDHHMMSS")


def _declared(unit: str | None, zone: str = "Asia/Kolkata") -> RecordClass:
    form = unit if unit in _FORMATS else None
    return RecordClass(
        source="crm", name="logs", table="logs", key=("id",), created="clock", timezone=ZoneInfo(zone),
        unit=None if form else unit, format=form, tags=TagColumn(column="tags"), mark=MARK,  # type: ignore[arg-type]
    )  # fmt: skip


def _around(retain: Retain) -> list[datetime]:
    limit = cutoff(retain, AS_OF, ZONE)
    assert limit is not None
    steps = (timedelta(0), _MICROSECOND, timedelta(milliseconds=1), timedelta(seconds=1), timedelta(days=1))
    return [limit.instant + sign * step for step in steps for sign in (1, -1)]


def _forms(kind: str, unit: str | None, moment: datetime) -> list[str]:
    """The moment as literals of that kind of column."""
    local = moment.astimezone(ZoneInfo("Asia/Kolkata")).replace(tzinfo=None)
    seconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(seconds=1)
    count = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // _MICROSECOND
    if unit in _FORMATS:
        digits = local.isoformat().translate({ord(mark): None for mark in "-:T"})[: len(unit)]
        return [f"'{digits}'" if kind in ("text", "bytea", "blob") else digits]
    per_unit = {"s": 1_000_000, "ms": 1000, "us": 1}.get(unit or "s", 1)
    match kind:
        case "timestamptz":
            return [f"'{moment.isoformat()}'"]
        case "timestamp(6) null":  # in UTC, as every session of ours is
            return [f"'{moment.replace(tzinfo=None).isoformat(' ')}'"]
        case "timestamp" | "datetime(6)":
            return [f"'{local.isoformat(' ')}'"]
        case "date":
            return [f"'{local.date()}'"]
        case "bigint" | "integer":
            return [str(count // per_unit), str(-(-count // per_unit))]
        case "numeric" | "decimal(40,9)":
            return [f"{count // per_unit}.{count % per_unit * (1_000_000 // per_unit):06}"]
        case "double precision" | "real" | "double" | "float":
            return [repr(seconds * 1_000_000 / per_unit)]
    plus = moment.astimezone(ZoneInfo("Asia/Kolkata"))
    return [
        f"'{form}'"
        for form in (
            local.isoformat(" "), local.isoformat("T"), local.isoformat(" ", "microseconds") + "9", moment.isoformat()[:-6] + "Z",
            plus.isoformat(" "), local.isoformat(" ", "minutes"), str(local.date()), local.isoformat(" ", "seconds") + ".5",
        )
    ]  # fmt: skip


_UNITS = ("s", "ms", "us", *_FORMATS)
_POSTGRESQL = [(kind, unit) for unit in _UNITS for kind in ("bigint", "numeric", "double precision")]
_POSTGRESQL += [(kind, unit) for unit in (None, *_FORMATS) for kind in ("text", "bytea")]
_SQLITE = [(kind, unit) for unit in _UNITS for kind in ("integer", "real", "numeric")]
_SQLITE += [("text", unit) for unit in _FORMATS]
_MARIADB = [(kind, unit) for unit in _UNITS for kind in ("bigint", "decimal(40,9)", "double")]
_MARIADB += [(kind, unit) for unit in (None, *_FORMATS) for kind in ("text", "blob")]


def _compare(source: Source, session: Session, kind: str, unit: str | None) -> None:
    session.execute(f"CREATE TABLE logs (id integer PRIMARY KEY, clock {kind}, tags text)")
    retains = [Retain(period=Period(days=90)), Retain(period=Period(months=6), starts="next year")]
    if kind != "date" and unit != "YYYYMMDD":
        retains.append(Retain(period=Period(hours=36)))
    values = [form for retain in retains for moment in _around(retain) for form in _forms(kind, unit, moment)]
    for number, value in enumerate(values):
        session.execute(f"INSERT INTO logs VALUES ({number}, {value}, NULL)")
    declared = _declared(unit)
    bound = bind(source, declared, {})
    for retain in retains:
        limit = cutoff(retain, AS_OF, ZONE)
        assert limit is not None
        over = set()
        for record in read_records(session, bound, sa.true(), ZONE):
            moment = moment_of(record.values["clock"], declared)
            assert moment is not None
            bar = limit.instant if isinstance(moment, datetime) else limit.day
            if bar is not None and moment < bar:
                over.add(record.values["id"])
        statement = sa.select(bound.key[0]).select_from(bound.rows).where(expired(bound, retain, AS_OF, ZONE))
        assert {key for (key,) in session.rows(statement)} == over
        assert 0 < len(over) < len(values)


@pytest.mark.parametrize(("kind", "unit"), [("timestamptz", None), ("timestamp", None), ("date", None), *_POSTGRESQL])
def test_postgresql(postgres: Source, sessions: Sessions, kind: str, unit: str | None) -> None:
    _compare(postgres, sessions(postgres), kind, unit)


@pytest.mark.parametrize(("kind", "unit"), [("text", None), ("datetime", None), *_SQLITE])
def test_sqlite(sqlite: Source, sessions: Sessions, kind: str, unit: str | None) -> None:
    _compare(sqlite, sessions(sqlite), "text" if kind == "text" else kind, unit)


@pytest.mark.parametrize(
    ("kind", "unit"), [("timestamp(6) null", None), ("datetime(6)", None), ("date", None), ("float", "s"), *_MARIADB]
)
@pytest.mark.every_server
def test_mariadb(mariadb: Source, sessions: Sessions, kind: str, unit: str | None) -> None:
    _compare(mariadb, sessions(mariadb), kind, unit)


def _indexed(source: Source, session: Session) -> str:
    kind = "datetime" if source.dialect.name == "mysql" else "timestamp"
    session.execute(f"CREATE TABLE logs (id integer PRIMARY KEY, clock {kind}, tags text)")
    session.execute("CREATE INDEX by_clock ON logs (clock)")
    bound = bind(source, _declared(None), {})
    over = expired(bound, Retain(period=Period(days=90)), AS_OF, ZONE)
    return source.compile(sa.select(bound.key[0]).select_from(bound.rows).where(over))


def test_an_index_of_sqlite_serves_the_cutoff(sqlite: Source, sessions: Sessions) -> None:
    session = sessions(sqlite)
    plan = str(session.rows(f"EXPLAIN QUERY PLAN {_indexed(sqlite, session)}"))
    # text before the cutoff, and the bytes, of which there are none
    assert "INDEX by_clock (clock>? AND clock<?)" in plan
    assert "SCAN" not in plan


def test_an_index_of_postgresql_serves_the_cutoff(postgres: Source, postgres_url: str, sessions: Sessions) -> None:
    statement = _indexed(postgres, sessions(postgres))
    with psycopg.connect(postgres_url) as connection:
        connection.execute("SET enable_seqscan = off")
        plan = "\n".join(row[0] for row in connection.execute(f"EXPLAIN {statement}".encode()))
    assert "by_clock" in plan
    assert "Index Cond: ((clock IS NOT NULL) AND (clock < " in plan


@pytest.mark.every_server
def test_an_index_of_mariadb_serves_the_cutoff(mariadb: Source, sessions: Sessions) -> None:
    session = sessions(mariadb)
    statement = _indexed(mariadb, session)
    session.execute(f"INSERT INTO logs SELECT seq, '2026-10-01 00:00:00', NULL FROM {numbers(2000)}")
    session.execute("INSERT INTO logs VALUES (9999, '2020-01-01 00:00:00', NULL)")
    found = session.arrow(f"EXPLAIN FORMAT=TRADITIONAL {statement}").to_pylist()
    assert [(row["type"], row["key"]) for row in found] == [("range", "by_clock")]


def test_a_hold_by_tag_covers_records_whose_tags_cannot_be_read(source: Source, sessions: Sessions) -> None:
    """They may be those that it means."""
    session = sessions(source)
    session.execute("CREATE TABLE logs (id integer PRIMARY KEY, clock timestamp, tags text)")
    session.execute("""INSERT INTO logs VALUES (1, NULL, 'a, x'), (2, NULL, 'a'), (3, NULL, '["a"'), (4, NULL, NULL)""")
    bound = bind(source, _declared(None), {})
    hold = Hold(
        id="H-1", matter="m", reason="r", placed_by="p", placed_at=AS_OF,
        scope=Tagged(tag="x", records=("crm.logs",)), state=HoldState.IN_FORCE,
    )  # fmt: skip
    covered = sa.select(bound.key[0]).select_from(bound.rows).where(held(bound, [hold], {"crm.logs": bound}, ZONE))
    assert {key for (key,) in session.rows(covered)} == {1, 3}
