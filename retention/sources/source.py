"""A database of records, and a session in it: one connection, one transaction at a time.

The two implementations are `postgresql.py` and `sqlite.py`; a new dialect adds a third and joins the tests' fixtures.
What both share through the driver stands in `adbc.py`.
Statements are SQLAlchemy Core; each source compiles them with literals (bound parameters leave PostgreSQL's COPY path,
1.28 times slower) that the dialect quotes. Both go through ADBC alone: two SQLite libraries in one process would drop
each other's file locks (https://www.sqlite.org/howtocorrupt.html, 2.2.1).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import Executable
from sqlalchemy.sql.elements import ColumnElement

from retention.errors import SourceFailed
from retention.sources.column_entry import Travels
from retention.sources.rights import Lack, Need
from retention.sources.server import Server
from retention.sources.sql import rows_of
from retention.sources.table import Column, Table

if TYPE_CHECKING:
    import pyarrow as pa


#: seconds that a hold waits for the batches under way
PATIENCE = 60


class SourceBusy(SourceFailed):
    """Somebody else was in the way: a lock, or a change of the same rows. Roll back and try the same again."""

    code = "source-busy"
    retryable = True


class MixedColumn(SourceFailed):
    """The column at ``position`` of a result changed its type beyond what the driver looks ahead."""

    code = "source-mixed"

    def __init__(self, message: str, *, position: int) -> None:
        super().__init__(message)
        self.position = position


class Outcome(Enum):
    """What became of a transaction, as the source itself tells it."""

    COMMITTED = "committed"
    ROLLED_BACK = "rolled back"
    #: still open: somebody may yet commit it
    OPEN = "open"
    #: the source does not know, or no longer
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """A server that is none of the supported ones, and was taken because retention.yaml says so."""

    #: what it says it is
    server: str
    #: the parts of the trial, all passed, and what no trial was made of
    tried: tuple[str, ...]
    untried: str


class Session(ABC):
    """One connection. Every method raises SourceFailed, which never holds a secret, where the database refuses."""

    @abstractmethod
    def begin(self, *, write: bool) -> None:
        """Begin a transaction in which every statement sees one state of the data (PostgreSQL REPEATABLE READ;
        SQLite BEGIN IMMEDIATE if ``write``, so that nobody else writes until the end)."""

    @abstractmethod
    def keep_definitions(self, tables: Sequence[Table], shared: Sequence[Table] = ()) -> None:
        """Let nobody change what these tables are, nor their triggers and the references to them, until the transaction
        ends. The first thing in it: what is read of them afterwards is what acts in it. Of transactions that name a table
        among the ``shared`` as well, on PostgreSQL one goes on at a time, and sees what those before it did."""

    @abstractmethod
    def actions(self, tables: Sequence[Table] | None = None) -> Mapping[str, str]:
        """By table, all that may act by itself when its rows are deleted, as marks to compare: triggers (those of foreign
        keys of other tables among them), rules, partitions. Of all tables if None; a table without any is not named."""

    def column_names(self, table: Table) -> set[str]:
        """The columns that the table has by now."""
        return set(self.arrow(sa.select(sa.literal_column("*")).select_from(rows_of(table)).limit(0)).column_names)

    @abstractmethod
    def lacks(self, tables: Sequence[Table], need: Need) -> Iterable[Lack]:
        """What the role may not do of what ``need`` asks on these tables, and of what every session needs; rows that are
        hidden from it are such a lack."""

    @abstractmethod
    def server(self) -> Server:
        """What the database says of itself."""

    @abstractmethod
    def table_bytes(self, table: Table) -> int:
        """How much room the table's rows take, at most."""

    @abstractmethod
    def share_fence(self, addresses: Sequence[str]) -> None:
        """Take the fences of these ``source.class`` addresses, shared, until the transaction ends."""

    @abstractmethod
    def pass_fence(self, addresses: Sequence[str], *, patience: int = PATIENCE) -> None:
        """Wait, at most ``patience`` seconds, until every transaction that shares these fences has ended: in a transaction
        of its own, take them exclusively and let go. What begins to delete after this returns must have read what was
        committed before."""

    @abstractmethod
    def rows(self, statement: Executable | str) -> list[tuple[Any, ...]]:
        """Run, and return every row as Python values (small results only)."""

    @abstractmethod
    def arrow(self, statement: Executable | str) -> pa.Table:
        """Run, and return every row as Arrow, read to the end of the stream (ADBC would let a COMMIT pass with
        unread rows: measured, 1.15 million rows lost)."""

    @abstractmethod
    def execute(self, statement: Executable | str) -> int:
        """Run a statement that changes rows, and return how many it changed."""

    @abstractmethod
    def load_temporary(self, name: str, rows: pa.Table) -> None:
        """Make the temporary table ``name`` of this connection from ``rows``, replacing what it held."""

    @abstractmethod
    def keep_temporary(self, name: str, chosen: Executable, key: Sequence[str]) -> int:
        """Make the temporary table ``name`` of this connection from what the statement selects, replacing what it held;
        ``key`` is unique in it. Returns how many rows it has (MariaDB and MySQL: the others do not tell)."""

    @abstractmethod
    def deleted_in_transaction(self, table: Table) -> int | None:
        """How many rows of ``table`` this transaction deleted, as the database itself counted them; None where it
        does not count. A second opinion on every `DELETE ... RETURNING`: a stream cut short would lie."""

    @abstractmethod
    def transaction_id(self) -> str | None:
        """What `Source.outcome` needs to tell later whether this transaction committed; None where there is no such thing."""

    @abstractmethod
    def commit(self) -> None:
        """Commit."""

    @abstractmethod
    def rollback(self) -> None:
        """Roll back; does nothing where no transaction is open, and never raises."""

    @abstractmethod
    def close(self) -> None:
        """Roll back and close; may be called twice."""


class Source(ABC):
    """One database, by its name in retention.yaml. Threads may share it; each opens sessions of its own."""

    #: whether batches go one after another, and each finds its own end while it reads
    one_writer: ClassVar[bool] = True
    #: how many batches one worker keeps in flight, where there may be several
    in_flight: ClassVar[int] = 1
    #: whether `DELETE ... RETURNING` streams the deleted rows faster than select, then delete
    streams_deleted: ClassVar[bool] = False

    #: whether a server that is none of the supported ones is taken, if it passes the trial
    accept_unsupported: bool = False
    #: what the server is that a session met, where it was taken so
    accepted: Accepted | None = None
    #: whether its sessions belong to that trial
    on_trial: bool = False

    name: str
    dialect: Dialect

    @abstractmethod
    def session(self) -> Session:
        """Open a connection. Raises SourceFailed, naming host and database, never user's password, and
        UnsupportedDatabase for a server that only speaks the protocol of one that is supported."""

    @abstractmethod
    def table(self, name: str) -> Table | None:
        """The table of that name as it is now, or None where there is none (or it may not be seen)."""

    @abstractmethod
    def tables(self) -> list[str]:
        """Names of all tables, as `table` takes them; none of the database's own."""

    @abstractmethod
    def projection(self, column: Column, *, wide: frozenset[str] = frozenset()) -> tuple[ColumnElement[Any], Travels]:
        """How the column travels to the archive, and the word for it in the manifest: ``native`` (Arrow carries every
        value without loss), ``text`` (the database's own text form, cast back on restore), ``literal`` (a literal of
        SQLite: one column with values of several types). Columns named in ``wide`` hold values that their Arrow type
        cannot carry, and travel as text or literal. `read.py` finds out which do."""

    @abstractmethod
    def outcome(self, transaction_id: str) -> Outcome:
        """What became of that transaction (`Session.transaction_id`)."""

    def index_sql(self, table: Table, columns: Sequence[str]) -> str:
        """The statement that makes an index on these columns of the table, ready to paste."""
        quote = self.dialect.identifier_preparer.quote
        name = "_".join((table.bare_name, *columns))[:60]
        return f"CREATE INDEX {quote(name)} ON {quote(table.bare_name)} ({', '.join(map(quote, columns))});"

    def compile(self, statement: Executable | str) -> str:
        """The statement as text with its literals in place, quoted by the dialect."""
        if isinstance(statement, str):
            return statement
        compiled = str(statement.compile(dialect=self.dialect, compile_kwargs={"literal_binds": True}))  # type: ignore[attr-defined]
        if "\0" in compiled:  # the drivers take C strings: what follows would be cut off, a condition among it
            raise SourceFailed("a value holds the character NUL, which no statement can carry")
        return compiled

    def text(self, value: str) -> str:
        """A text literal."""
        literal = self.compile(sa.select(sa.literal(value, sa.String()).label("x")))
        return literal.removeprefix("SELECT ").removesuffix(" AS x")


def fence_key(address: str) -> int:
    """The 64-bit number of a class's fence, from SHA-256 of its address: the same in every process and release."""
    import hashlib

    return int.from_bytes(hashlib.sha256(f"retention:{address}".encode()).digest()[:8], "big", signed=True)


def names(addresses: Iterable[str]) -> list[str]:
    """Addresses in the one order in which fences are taken, so that two sessions cannot deadlock."""
    return sorted(set(addresses))
