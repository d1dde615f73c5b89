"""What the server tells: its rights, its errors, its answers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import pyarrow as pa
import pytest
from pymysql.constants import FIELD_TYPE

from retention.sources.mariadb_arrow import arrow_table
from retention.sources.mariadb_failures import failure
from retention.sources.mariadb_rights import _read
from retention.sources.mariadb_types import arrow_type, kind_of
from retention.sources.source import SourceBusy
from retention.sources.table import Kind


@pytest.mark.parametrize(
    ("line", "right", "place", "covered"),
    [
        ("GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` WITH GRANT OPTION", "DELETE", ("crm", "logs"), True),
        ("GRANT USAGE ON *.* TO `u`@`%` IDENTIFIED BY PASSWORD '*X'", "SELECT", ("crm", "logs"), False),
        ("GRANT SELECT, DELETE ON `crm`.* TO `u`@`%`", "DELETE", ("crm", "logs"), True),
        ("GRANT SELECT, DELETE ON `crm`.* TO `u`@`%`", "INSERT", ("crm", "logs"), False),
        ("GRANT SELECT ON `crm\\_a`.* TO `u`@`%`", "SELECT", ("crm_a", "logs"), True),
        ("GRANT SELECT ON `crm\\_a`.* TO `u`@`%`", "SELECT", ("crmXa", "logs"), False),
        ("GRANT SELECT ON `crm%`.* TO `u`@`%`", "SELECT", ("crm_a", "logs"), True),
        ('GRANT SELECT ON "crm"."lo""gs" TO "u"@"%"', "SELECT", ("crm", 'lo"gs'), True),
        ("GRANT SELECT ON `crm`.`logs` TO `u`@`%`", "SELECT", ("crm", "notes"), False),
        ("GRANT SELECT (`id`, `a`), DELETE ON `crm`.`logs` TO `u`@`%`", "SELECT", ("crm", "logs"), False),
        ("GRANT SELECT (`id`, `a`), DELETE ON `crm`.`logs` TO `u`@`%`", "DELETE", ("crm", "logs"), True),
        ("GRANT CREATE TEMPORARY TABLES ON `crm`.* TO `u`@`%`", "CREATE TEMPORARY TABLES", ("crm", None), True),
    ],
)
def test_a_grant_covers_what_it_says(line: str, right: str, place: tuple[str, str | None], covered: bool) -> None:
    grant = _read(line)
    assert grant is not None
    assert grant.covers(right, *place) is covered


def test_a_role_is_no_grant_on_a_table() -> None:
    assert _read("GRANT `reader` TO `u`@`%`") is None


def test_errors_in_words() -> None:
    assert isinstance(failure("crm", 1213, "Deadlock found; try restarting transaction"), SourceBusy)
    assert failure("crm", 1062, "Duplicate entry 'alice' for key 'PRIMARY'").message == (
        "crm: the server answered with error 1062, dup entry"
    )
    assert failure("crm", 1142, "DELETE command denied to user 'u'@'h' for table `logs`").hint.startswith("grant")
    assert "no answer" not in failure("crm", None, "x").message


@dataclass(frozen=True)
class _Field:
    name: str
    type_code: int
    charsetnr: int = 45


def test_columns_in_their_own_types_or_as_text() -> None:
    fields = [
        _Field("n", FIELD_TYPE.LONGLONG), _Field("u", FIELD_TYPE.LONGLONG), _Field("d", FIELD_TYPE.DATE),
        _Field("z", FIELD_TYPE.DATE), _Field("b", FIELD_TYPE.BLOB, 63), _Field("t", FIELD_TYPE.BLOB),
        _Field("m", FIELD_TYPE.TIMESTAMP), _Field("x", FIELD_TYPE.NEWDECIMAL),
    ]  # fmt: skip
    row = (
        b"1",
        b"18446744073709551615",
        b"2024-02-29",
        b"0000-00-00",
        b"\xff",
        b"\xc3\xa9",
        b"2024-02-29 12:00:00",
        b"1.50",
    )
    found = arrow_table(fields, [row, (None,) * len(fields)])
    assert found.schema.types == [
        pa.int64(), pa.string(), pa.date32(), pa.string(), pa.binary(), pa.string(), pa.timestamp("us", "UTC"), pa.string(),
    ]  # fmt: skip
    assert found.column("d").to_pylist() == [date(2024, 2, 29), None]
    assert found.column("z").to_pylist() == ["0000-00-00", None]
    assert arrow_table(fields, []).schema.field("d").type == pa.date32()


def test_kinds_of_types() -> None:
    assert kind_of("bigint(20) unsigned zerofill") is Kind.INTEGER
    assert kind_of("enum('a','b')") is Kind.TEXT
    assert kind_of("timestamp(6)") is Kind.INSTANT
    assert kind_of("datetime") is Kind.WALL
    assert kind_of("point") is Kind.OTHER
    assert arrow_type("float(7,3)") == pa.float32()
    assert arrow_type("decimal(10,2)") == pa.string()
