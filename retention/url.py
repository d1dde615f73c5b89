"""URLs of retention.yaml: variables, relative paths, and what of them may be shown. A secret never stands in a file."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from urllib.parse import urlsplit

#: what libpq is told where a PostgreSQL URL says nothing else: a server that does not answer, or is gone without a word, is
#: noticed within two minutes; by the system's own settings that takes hours
LIBPQ = {
    "connect_timeout": "10",
    "keepalives_idle": "60",
    "keepalives_interval": "10",
    "keepalives_count": "6",
    "tcp_user_timeout": "120000",
}
#: databases that SQLAlchemy reaches, and this program refuses, by the names that their URLs begin with
_FOREIGN = {
    "oracle": "Oracle",
    "mssql": "SQL Server",
    "sybase": "Sybase",
    "db2": "Db2",
    "ibm_db_sa": "Db2",
    "firebird": "Firebird",
    "hana": "SAP HANA",
    "snowflake": "Snowflake",
    "bigquery": "BigQuery",
    "databricks": "Databricks",
    "clickhouse": "ClickHouse",
    "duckdb": "DuckDB",
}
#: those that speak PostgreSQL's protocol or MySQL's
_SPEAKING = {
    "cockroachdb": ("CockroachDB", "postgresql"),
    "yugabytedb": ("YugabyteDB", "postgresql"),
    "redshift": ("Redshift", "postgresql"),
    "tidb": ("TiDB", "mysql"),
    "singlestoredb": ("SingleStore", "mysql"),
    "oceanbase": ("OceanBase", "mysql"),
}
#: what URLs of a MariaDB or MySQL begin with, before any ``+driver``
MYSQL = ("mysql", "mariadb")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_USER_PASSWORD = re.compile(r"(://[^:/?#@]*):(.*)@", re.DOTALL)
_SECRET_FIELD = re.compile(
    r"((?:^|[?&;\s])[^=&?;\s]*(?:pass|pwd|secret|token|credential|access_key|accesskey|api_?key)[^=&]*=)([^&;\s]+)",
    re.IGNORECASE,
)


class UrlError(ValueError):
    """A URL that cannot be used; ``message`` and ``remedy`` never hold a secret."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(f"{message}, {remedy}")
        self.message = message
        self.remedy = remedy


def redact(url: str) -> str:
    """The URL as it may be shown: ``***`` for its password, and for every field that is named like a secret."""
    return _SECRET_FIELD.sub(r"\1***", _USER_PASSWORD.sub(r"\1:***@", url))


def resolve_url(text: str, environ: Mapping[str, str], folder: Path, schemes: Collection[str]) -> str:
    """What a URL of the file means: ``${NAME}`` and ``${NAME:-default}`` replaced, SQLite and file paths made absolute.

    The result is ``sqlite:////absolute/path``, ``file:///absolute/path``, or as it was written. Paths are taken as they
    are, without percent-encoding. Raises UrlError, where a variable is not set, a secret stands in the file, or the
    scheme is not one of ``schemes`` (``postgresql+driver`` counts as ``postgresql``).
    """
    if "${" in _VARIABLE.sub("", text):
        raise UrlError("a ${ is not closed or names no variable", "write ${NAME} or ${NAME:-default}")
    written = _VARIABLE.sub(lambda variable: variable[2] or "", text)
    if any(match[2] for match in (_USER_PASSWORD.search(written), _SECRET_FIELD.search(written)) if match):
        raise UrlError("a password or other secret stands in the file", "write ${NAME} for it, and set that variable")
    missing = [match[1] for match in _VARIABLE.finditer(text) if match[2] is None and not environ.get(match[1])]
    if missing:
        raise UrlError(f"the variable {missing[0]} is not set", f"set it, or write ${{{missing[0]}:-default}}")
    url = _VARIABLE.sub(lambda variable: environ.get(variable[1]) or variable[2], text)
    scheme, colon, rest = url.partition(":")
    kind = scheme.split("+")[0]
    if not colon or kind not in schemes:
        what = f'"{scheme}" is no kind of URL that is known here' if colon and scheme.isalnum() else "this is no URL"
        if colon and kind in _FOREIGN and "sqlite" in schemes:
            what = f"{_FOREIGN[kind]} is not supported: there is no code for it here, with `unsupported_dialect` or without"
        elif colon and kind in _SPEAKING and "sqlite" in schemes:
            named, protocol = _SPEAKING[kind]
            what = f"{named} is not supported: each deletion rests on locks and transactions that are not tested there"
            remedy = f"take it at your own risk: write {protocol}: in the place of {kind}:, and `unsupported_dialect: accept`"
            raise UrlError(what, remedy)
        raise UrlError(what, f"write one that begins with {' or '.join(f'{one}:' for one in schemes)}")
    if kind == "sqlite":
        return f"{scheme}:///{_path(rest.removeprefix('///'), rest.startswith('///'), folder, 'sqlite:///crm.db')}"
    if kind == "file":
        local = not rest.startswith("//") or rest.startswith("///")
        return f"file://{_path(rest.removeprefix('//'), local, folder, 'file:./archive')}"
    if rest.partition("?")[0].count("@") > 1:
        raise UrlError("the password has an @ of its own", "write it as %40, a # as %23 and a / as %2F")
    try:
        _ = urlsplit(url).port
    except ValueError:
        raise UrlError(
            "host or port of the URL cannot be read", "write it as in postgresql://user@host:5432/database"
        ) from None
    return url


def database_of(url: str) -> str:
    """The same text for URLs that mean the same database, as far as they show it: in MariaDB and MySQL, whose names that URLs
    begin with are many, by host, port and name, whoever connects; else the URL itself."""
    parts = urlsplit(url)
    if parts.scheme.split("+")[0] not in MYSQL or "unix_socket" in parts.query:
        return url
    host = parts.hostname or "localhost"
    return f"mysql://{'127.0.0.1' if host == 'localhost' else host}:{parts.port or 3306}{parts.path}"


def bucket_and_prefix(url: str) -> tuple[str, str]:
    """The bucket of ``s3://bucket/prefix``, and the prefix without slashes at its ends. Raises UrlError."""
    match = re.fullmatch(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])((?:/[^/?#\\\s]+)*)/?", url)
    if match is None or any(part in (".", "..") for part in match[2].split("/")):
        raise UrlError("the URL names no bucket and prefix", "write it as in s3://bucket/prefix")
    return match[1], match[2].lstrip("/")


def _path(text: str, well_formed: bool, folder: Path, example: str) -> str:
    path, question, query = text.partition("?")
    if not well_formed or path in ("", ":memory:"):
        raise UrlError(
            "the URL names no file or folder", f"write it as in {example}, beside retention.yaml, or an absolute path"
        )
    return f"{(folder / path).resolve()}{question}{query}"
