"""The control database: made and upgraded by one call, opened only where code and tables fit each other."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import sqlalchemy as sa

from retention.errors import InputError, Refused, UnsupportedDatabase
from retention.ledger import chain
from retention.ledger.engine import control_url, is_sqlite, make_engine, reading, sqlite_file, writing
from retention.ledger.migrations import REVISIONS, VERSION_TABLE
from retention.ledger.tables import metadata
from retention.sources.foreign import ACCEPT, no_mysql, no_postgresql

#: Alembic keeps the migration under way in module variables, so one thread of a process migrates at a time
_migrating = threading.Lock()

_UPGRADE = "Run `retention control upgrade`."


class Control:
    """One control database. Threads may share it: every `read` and `write` has a connection of its own."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    @classmethod
    def open(cls, url: str) -> Control:
        """Open the control database at ``url`` (``sqlite:///FILE``, ``postgresql://...`` or ``mysql://...``).

        Raises InputError where it does not exist yet or is older than this program, Refused where it is newer or in a
        server that is no supported one, and ControlFailed where it cannot be reached.
        """
        where = control_url(url)
        if is_sqlite(where) and not sqlite_file(where).exists():  # connecting would make an empty file
            raise InputError(
                f"there is no control database {where.database} yet",
                hint=f"{_UPGRADE} If there was one, restore its backup instead: a new one knows no hold.",
            )
        engine = make_engine(where)
        try:
            with reading(engine) as connection:
                _refuse_foreign(connection)
                revision = _revision(connection)
            if revision is None:
                raise InputError("the control database has not been set up yet", hint=_UPGRADE)
            if revision != REVISIONS[-1]:
                raise InputError(f"the control database is of an older release (revision {revision})", hint=_UPGRADE)
        except BaseException:
            engine.dispose()
            raise
        return cls(engine)

    @classmethod
    def upgrade(cls, url: str) -> None:
        """Make the control database, or bring it up to this program's tables; does nothing where it is.

        Two that run at once wait for each other. One that is killed leaves everything as it was, for all of it is one
        transaction; in MariaDB and MySQL, where no change of a table can be undone, the next one goes on where it stood.
        Raises what `open` raises, except that it exists, and InputError for the database of another program.
        """
        where = control_url(url)
        if is_sqlite(where):
            sqlite_file(where)
        engine = make_engine(where)
        try:
            with writing(engine) as connection:
                _refuse_foreign(connection)
                if _revision(connection) != REVISIONS[-1]:
                    _is_ours(connection)
                    _migrate(connection)
                if chain.read_head(connection) == chain.Head.EMPTY:
                    body = {"revision": REVISIONS[-1]}
                    chain.append(connection, kind="control.created", subject="control", body=body, at=datetime.now(UTC))
        finally:
            engine.dispose()

    def write(self) -> AbstractContextManager[sa.Connection]:
        """A write transaction: committed at the end, rolled back on any error. Keep it short: one writes at a time."""
        return writing(self._engine)

    def read(self) -> AbstractContextManager[sa.Connection]:
        """A transaction that sees one state of the database."""
        return reading(self._engine)

    def close(self) -> None:
        """Close every connection; may be called twice."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _refuse_foreign(connection: sa.Connection) -> None:
    """Raise UnsupportedDatabase for a server that speaks a supported one's protocol and is something else."""
    foreign: str | None = None
    if connection.dialect.name == "postgresql":
        foreign = no_postgresql(str(connection.execute(sa.text("SELECT version()")).scalar()))
    elif connection.dialect.name in ("mysql", "mariadb"):
        version, comment = connection.execute(sa.text("SELECT version(), @@version_comment")).one()
        foreign = no_mysql(str(version), str(comment))
    if foreign is not None:
        raise UnsupportedDatabase(
            f'the control database is to be in a server that is "{foreign}"',
            hint="Use SQLite, PostgreSQL, MariaDB or MySQL itself: the ledger rests on their locks, and"
            f" `{ACCEPT}` is of sources alone.",
        )


def _revision(connection: sa.Connection) -> str | None:
    """The revision of the tables, None where there are none. Raises Refused for one that this program does not know."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    found: str | None = connection.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
    if found is not None and found not in REVISIONS:
        raise Refused(
            f"the control database is of a newer release (revision {found}) than this program ({REVISIONS[-1]})",
            hint="Upgrade this program; an older one could misread what the newer one wrote.",
        )
    return found


def _is_ours(connection: sa.Connection) -> None:
    """Raises InputError where tables of another program have the names of ours: what a killed upgrade left has our
    `VERSION_TABLE` too, which is made first."""
    there = set(sa.inspect(connection).get_table_names())
    if VERSION_TABLE not in there and (foreign := sorted(there & metadata.tables.keys())):
        raise InputError(
            f"the database that is to be the control database has a table `{foreign[0]}` of another program",
            hint="Give the control database a database of its own.",
        )


def _migrate(connection: sa.Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "retention.ledger:migrations")
    config.attributes["connection"] = connection
    with _migrating:
        command.upgrade(config, "head")
