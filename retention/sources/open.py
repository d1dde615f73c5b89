"""Opening a source by its URL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from retention.errors import InputError
from retention.sources.foreign import ACCEPT
from retention.sources.source import Source

if TYPE_CHECKING:
    from retention.config import SourceConfig


def open_source(config: SourceConfig) -> Source:
    """The source of that configuration; nothing is connected yet. Raises InputError for a URL that means no database
    that can be handled, and never shows the URL: it may hold a password."""
    try:
        url = make_url(config.url)
    except (ArgumentError, ValueError):
        raise InputError(
            f"the url of source {config.name} is no database URL",
            hint="write sqlite:///crm.db or postgresql://user:password@host/database",
        ) from None
    kind = url.get_backend_name()
    if kind == "sqlite":
        from retention.sources.sqlite import SqliteSource

        if not url.database or url.database == ":memory:":
            raise InputError(f"source {config.name} names no file", hint="write sqlite:///path/to/crm.db")
        return _accepting(SqliteSource(config.name, Path(url.database)), config)
    if kind in ("postgresql", "postgres"):
        from retention.sources.postgresql import PostgresqlSource

        return _accepting(PostgresqlSource(config.name, config.url), config)
    if kind in ("mysql", "mariadb"):
        from retention.sources.mariadb import MariadbSource

        if not url.database:
            raise InputError(f"source {config.name} names no database", hint="write mysql://user@host/database")
        return _accepting(MariadbSource(config.name, config.url), config)
    raise InputError(
        f"source {config.name} is {kind}, for which there is no code here, with `{ACCEPT}` or without",
        hint="sqlite, postgresql and mysql are supported",
    )


def _accepting(source: Source, config: SourceConfig) -> Source:
    source.accept_unsupported = config.accept_unsupported
    return source
