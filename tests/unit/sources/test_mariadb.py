"""What the server tells: its rights, its errors, its answers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import pyarrow as pa
import pytest
from pymysql.constants import FIELD_TYPE

from retention.sources.mariadb_arrow import arrow_table
from retention.sources.mariadb_failures import failure
from retention.sources.mariadb_rights import _above_read_only, _Grants
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
    assert _Grants([line], mariadb=True).on(right, *place) is covered


def test_of_grants_on_databases_one_alone_counts_and_whoever_else_has_it_adds_to_it() -> None:
    exact, wide = "GRANT SELECT ON `crm`.* TO `u`@`%`", "GRANT TRIGGER ON `c%`.* TO `u`@`%`"
    for mariadb in (True, False):
        assert not _Grants([exact, wide], mariadb=mariadb).on("TRIGGER", "crm", "logs")
    assert _Grants([exact, wide], mariadb=True).on("SELECT", "crm", "logs")
    assert not _Grants([wide, exact], mariadb=True).on("SELECT", "crm", "logs")
    for line in (
        "GRANT TRIGGER ON *.* TO `u`@`%`",
        "GRANT TRIGGER ON `crm`.`logs` TO `u`@`%`",
        "GRANT TRIGGER ON `crm`.* TO `reader`",
        "GRANT TRIGGER ON `crm`.* TO PUBLIC",
    ):
        assert _Grants([exact, line], mariadb=True).on("TRIGGER", "crm", "logs")


def test_a_further_right_is_granted_where_the_others_are() -> None:
    """The server would go by a new grant with a more exact pattern alone, and not by one with a wider pattern."""
    assert _Grants([], mariadb=True).pattern("crm_a") == r"crm\_a"
    assert _Grants([r"GRANT SELECT ON `crm\_a`.* TO `u`@`%`"], mariadb=True).pattern("crm_a") == r"crm\_a"
    assert _Grants(["GRANT SELECT ON `crm_a`.* TO `u`@`%`"], mariadb=True).pattern("crm_a") == "crm_a"


def test_a_role_is_no_grant_on_a_table() -> None:
    assert not _Grants(["GRANT `reader` TO `u`@`%`"], mariadb=True).on("SELECT", "crm", "logs")


def test_who_may_write_to_a_server_that_is_read_only() -> None:
    assert _above_read_only("10.6.12-MariaDB") == ("READ_ONLY ADMIN", "SUPER")
    assert _above_read_only("10.11.6-MariaDB-1") == _above_read_only("11.4.2-MariaDB") == ("READ_ONLY ADMIN",)
    assert _above_read_only("8.4.0") == ("SUPER", "CONNECTION_ADMIN")
    assert _Grants(["GRANT SUPER, READ_ONLY ADMIN ON *.* TO `u`@`%`"], mariadb=True).anywhere("READ_ONLY ADMIN")


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
