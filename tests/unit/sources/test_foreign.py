"""What a server is by what it says of itself."""

from __future__ import annotations

import pytest

from retention.sources.foreign import no_mysql, no_postgresql


@pytest.mark.parametrize(
    "version",
    [
        "PostgreSQL 18.1 on x86_64-pc-linux-gnu, compiled by gcc (GCC) 13.2.0, 64-bit",
        "PostgreSQL 15.10 (Debian 15.10-0+deb12u1) on x86_64-pc-linux-gnu, compiled by gcc (Debian 12.2.0) 12.2.0, 64-bit",
        "PostgreSQL 16.3 (Homebrew) on aarch64-apple-darwin23, compiled by Apple clang version 15.0.0, 64-bit",
        "PostgreSQL 17.2, compiled by Visual C++ build 1942, 64-bit",
    ],
)
def test_postgresql_itself(version: str) -> None:
    assert no_postgresql(version) is None


@pytest.mark.parametrize(
    ("version", "named"),
    [
        (
            "CockroachDB CCL v24.1.0 (x86_64-pc-linux-gnu, built 2024/05/15 21:28:29, go1.22.2)",
            "CockroachDB CCL v24.1.0",
        ),
        ("PostgreSQL 15.2-YB-2.25.1.0-b0 on x86_64-pc-linux-gnu, compiled by clang", "PostgreSQL 15.2-YB-2.25.1.0-b0"),
        (
            "PostgreSQL 8.0.2 on i686-pc-linux-gnu, compiled by GCC gcc (GCC) 3.4.2, Redshift 1.0.73348",
            "Redshift 1.0.73348",
        ),
        (
            "PostgreSQL 9.4.26 (Greenplum Database 6.25.3 build commit:367) on x86_64, compiled by gcc",
            "Greenplum Database",
        ),
        ("(openGauss 3.0.0 build 02c14696) compiled at 2022-04-01", "openGauss 3.0.0"),
        ("PostgreSQL 13.14.0-RisingWave-1.10.0 (abc)", "RisingWave-1.10.0"),
        ("PostgreSQL 12.3, compiled by Visual C++ build 1914, 64-bit, QuestDB", "QuestDB"),
        ("Materialize v0.100.0", "Materialize v0.100.0"),
        ("H2 2.2.224", "H2 2.2.224"),
    ],
)
def test_what_speaks_postgresqls_protocol_alone(version: str, named: str) -> None:
    found = no_postgresql(version)
    assert found is not None and named in found


@pytest.mark.parametrize(
    ("version", "comment"),
    [
        ("10.11.6-MariaDB-0+deb12u1", "Debian n/a"),
        ("11.4.2-MariaDB-log", "mariadb.org binary distribution"),
        ("5.5.5-10.6.16-MariaDB", "managed by https://aws.amazon.com/rds/"),
        ("8.0.36", "MySQL Community Server - GPL"),
        ("8.4.0-commercial", "MySQL Enterprise Server - Commercial"),
        ("9.1.0", "Source distribution"),
        ("8.0.36-28", "Percona Server (GPL), Release 28, Revision 47601f19"),
        ("8.0.36-0ubuntu0.22.04.1", "(Ubuntu)"),
    ],
)
def test_mariadb_and_mysql_themselves(version: str, comment: str) -> None:
    assert no_mysql(version, comment) is None


@pytest.mark.parametrize(
    ("version", "comment"),
    [
        ("8.0.11-TiDB-v7.5.0", "TiDB Server (Apache License 2.0) Community Edition, MySQL 8.0 compatible"),
        ("5.7.32", "SingleStoreDB source distribution (compatible; MySQL Enterprise & MySQL Commercial)"),
        ("5.7.25-OceanBase-v4.2.1.0", "OceanBase_CE 4.2.1.0"),
        ("8.0.30-Vitess", "Version: 19.0.4"),
        ("5.7.99", "Doris version doris-2.1.0"),
        ("8.0.33", "StarRocks version 3.2.0"),
        ("8.0.30-MatrixOne-v1.2.0", "MatrixOne"),
        ("5.7.25-TDDL-5.4.18", "Tddl Server (ALIBABA)"),
        ("8.0.33", "Dolt"),
        ("8.0.mysql_aurora.3.05.2", "Source distribution"),
        ("5.0.45-Xpand-6.1.1", ""),
    ],
)
def test_what_speaks_mysqls_protocol_alone(version: str, comment: str) -> None:
    found = no_mysql(version, comment)
    assert found is not None and found.startswith(version)
