"""Servers that speak the protocol of a supported database and are something else, by what they say of themselves."""

from __future__ import annotations

#: the key of a source in retention.yaml, and its one value
ACCEPT = "unsupported_dialect: accept"

#: of what `version()` says where it begins like PostgreSQL's own
_LIKE_POSTGRESQL = (
    "redshift", "-yb-", "yugabyte", "greenplum", "cloudberry", "opengauss", "gaussdb", "cockroach", "enterprisedb", "polardb",
    "hologres", "risingwave", "materialize", "questdb", "cratedb", "spanner", "duckdb", "ivorysql", "vertica",
)  # fmt: skip
#: of what `version()` or `@@version_comment` says
_LIKE_MYSQL = (
    "tidb", "singlestore", "memsql", "oceanbase", "vitess", "planetscale", "starrocks", "doris", "matrixone", "tddl", "polardb",
    "tdsql", "dolt", "xpand", "clustrix", "clickhouse", "databend", "greptime", "crate", "aurora", "manticore",
)  # fmt: skip


def no_postgresql(version: str) -> str | None:
    """What the server is that answers ``version`` to `version()`; None for PostgreSQL itself."""
    said = version.lower()
    if version.startswith("PostgreSQL ") and not any(mark in said for mark in _LIKE_POSTGRESQL):
        return None
    # Redshift and QuestDB say it at the end
    head, _, compiled = version.partition(", compiled")
    named = compiled.rpartition(", ")[2] if any(mark in compiled.lower() for mark in _LIKE_POSTGRESQL) else ""
    return ", ".join(filter(None, (head.partition(" (x86")[0], named)))[:80]


def no_mysql(version: str, comment: str) -> str | None:
    """What the server is that says ``version`` and ``comment`` (`@@version_comment`); None for MariaDB and MySQL themselves."""
    said = f"{version} {comment}"
    return f"{version} ({comment})"[:80] if any(mark in said.lower() for mark in _LIKE_MYSQL) else None
