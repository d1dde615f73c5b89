"""The trial of a server that is none of the supported ones, before anything rests on it (`unsupported_dialect: accept`).

With real sessions, and the words that batches and holds use. It shows what a server surely lacks; that it has the rest under
load, after a crash or on another of its nodes, no trial can show. Nothing permanent is made.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from retention.errors import RetentionError, SourceFailed, UnsupportedDatabase
from retention.sources.foreign import ACCEPT
from retention.sources.source import Accepted, Outcome, Session, Source
from retention.sources.table import Table

#: seconds for which the trial lets a hold wait for a batch that does not end
SHORT = 1
#: and after which a server that should have answered by then counts as one that never does
PATIENCE = 15

_SUPPORTED = "SQLite, PostgreSQL 15, MariaDB 10.6 or MySQL 8, or later"
_ROWS = 5

_log = logging.getLogger(__name__)
_trying = threading.Lock()
#: what this process has tried: by process, place, and what the server said it is
_passed: dict[tuple[int, str, str], Accepted] = {}


class _Wrong(Exception):
    """The server did something else than what deletions rest on; the message says what."""


@dataclass(frozen=True, kw_only=True)
class _Part:
    """``what`` it is about, in the words of an error and of `retention doctor`."""

    what: str
    run: Callable[[Callable[[], Session], Source], None]


def taken(source: Source, protocol: str, said: str, place: str, settle: Callable[[], None]) -> None:
    """Take the server of that source, which is ``said`` and speaks ``protocol``, or raise UnsupportedDatabase. ``settle`` sets
    what a session of it needs. Raises SourceFailed where the server does not answer."""
    if not source.accept_unsupported:
        raise UnsupportedDatabase(
            f'{source.name}: the server speaks {protocol}\'s protocol, and is "{said}"',
            hint="sources are SQLite files, PostgreSQL, MariaDB and MySQL themselves: locks, snapshots and counts on which each"
            f" deletion rests are tested there alone. `{ACCEPT}` takes it at your own risk, if it passes a trial",
        )
    try:
        settle()
    except SourceFailed as error:
        why = error.message.removeprefix(f"{source.name}: ")
        raise _refused(source, said, "the settings of a session", why) from error
    if not source.on_trial:
        source.accepted = _once(source, place, said)


def _once(source: Source, place: str, said: str) -> Accepted:
    """The trial, once in each process."""
    key = (os.getpid(), place, said)
    with _trying:
        if key not in _passed:
            _passed[key] = _tried(source, said)
            _log.warning(
                "%s: %s is taken at your own risk (`%s`): no test of this program runs there", source.name, said, ACCEPT
            )
        return _passed[key]


def _refused(source: Source, said: str, part: str, why: str) -> UnsupportedDatabase:
    return UnsupportedDatabase(
        f'{source.name}: the server is "{said}", and fails in the trial that `{ACCEPT}` asks for: {part}: {why}',
        hint=f"move the records to {_SUPPORTED}: what is deleted here could be lost, or held",
    )


def _tried(source: Source, said: str) -> Accepted:
    # a copy, whose sessions are not tried in turn
    alone = copy.copy(source)
    alone.on_trial = True
    parts, untried = _PARTS[source.dialect.name]
    for part in parts:
        with _sessions(alone) as connect:
            try:
                part.run(connect, alone)
            except Exception as error:  # whatever goes wrong in a trial, nothing may rest on that server
                alone.session().close()  # one that is away by now has not failed: this raises SourceFailed
                why = error.message if isinstance(error, RetentionError) else str(error) or type(error).__name__
                raise _refused(source, said, part.what, why.removeprefix(f"{source.name}: ")) from error
    return Accepted(server=said, tried=tuple(part.what for part in parts), untried=untried)


@contextlib.contextmanager
def _sessions(source: Source) -> Iterator[Callable[[], Session]]:
    """What opens sessions, all closed at the end, the last one first."""
    with contextlib.ExitStack() as opened:

        def connect() -> Session:
            session = source.session()
            opened.callback(session.close)
            return session

        yield connect


def _fence(connect: Callable[[], Session], source: Source) -> None:
    address = f"trial.{secrets.token_hex(8)}"
    one, other, third = connect(), connect(), connect()
    hold = _Hold(source.session(), address)
    try:
        for batch in (one, other):  # two batches work on one class at a time
            batch.begin(write=True)
            batch.share_fence([address])
        hold.is_kept_out("while two batches were under way")
        one.commit()
        hold.is_kept_out("while a batch was under way")
        other.close()
        hold.is_let_pass("the session of a batch ended")
        third.begin(write=True)
        third.share_fence([address])
        hold.is_kept_out("while a batch was under way")
        third.rollback()
        hold.is_let_pass("a batch was rolled back")
    finally:
        for batch in (one, other, third):
            batch.close()
        hold.close()


class _Hold:
    """A session that passes a fence, as a hold does."""

    def __init__(self, session: Session, address: str) -> None:
        self._session = session
        self._address = address
        self._waiting = threading.Thread()

    def is_kept_out(self, when: str) -> None:
        """Raise _Wrong where it is told that nobody is in the middle."""
        failed: list[SourceFailed] = []

        def wait() -> None:
            try:
                self._session.pass_fence([self._address], patience=SHORT)
            except SourceFailed as error:
                failed.append(error)

        # the server bounds the wait; where it does not, nobody may wait with it for ever
        self._waiting = threading.Thread(target=wait, daemon=True)
        self._waiting.start()
        self._waiting.join(PATIENCE)
        if self._waiting.is_alive():
            raise _Wrong(f"a wait of {SHORT} second for a lock did not end within {PATIENCE}")
        if not failed:
            raise _Wrong(f"a lock that excludes all others was granted {when}")

    def is_let_pass(self, what: str) -> None:
        """Raise _Wrong where it still has to wait."""
        try:
            self._session.pass_fence([self._address], patience=PATIENCE // 3)
        except SourceFailed as error:
            raise _Wrong(f"its lock was still there when {what} ({error.message})") from error

    def close(self) -> None:
        """End the session, but not while it waits: a connection has one user at a time."""
        if self._waiting.ident is not None:
            self._waiting.join(PATIENCE)
        if not self._waiting.is_alive():
            self._session.close()


def _outcome(connect: Callable[[], Session], source: Source) -> None:
    session = connect()
    for end, expected in ((session.commit, Outcome.COMMITTED), (session.rollback, Outcome.ROLLED_BACK)):
        session.begin(write=True)
        session.execute("CREATE TEMPORARY TABLE retention_trial (n bigint) ON COMMIT DROP")
        transaction = session.transaction_id()
        if transaction is None:
            raise _Wrong("a transaction has no name")
        _expect("of an open transaction", source.outcome(transaction), Outcome.OPEN)
        end()
        _expect(f"of one that was {expected.value}", source.outcome(transaction), expected)


def _deletion(connect: Callable[[], Session], source: Source) -> None:
    session = connect()
    # by a name that no table has, and by its full name where there is one: nobody's rows may be taken for it
    name = f"retention_trial_{secrets.token_hex(8)}"
    schema, engine = ("pg_temp.", "") if source.dialect.name == "postgresql" else ("", " ENGINE = InnoDB")
    place = f"{schema}{name}"
    session.execute(f"CREATE TEMPORARY TABLE {name} (n bigint){engine}")
    session.execute(f"INSERT INTO {place} VALUES {', '.join(f'({n})' for n in range(_ROWS))}")
    table = Table(
        name=name, schema=schema.rstrip("."), bare_name=name, columns=(), primary_key=(), referenced_by=(), refers_to=(),
        relation="table",
    )  # fmt: skip
    for end, left in ((session.rollback, _ROWS), (session.commit, 2)):
        session.begin(write=True)
        if source.streams_deleted:
            gone = session.arrow(f"DELETE FROM {place} WHERE n >= 2 RETURNING n").num_rows
        else:
            gone = session.execute(f"DELETE FROM {place} WHERE n >= 2")
        _expect("rows that a DELETE says it took", gone, _ROWS - 2)
        counted = session.deleted_in_transaction(table)
        if counted is not None or source.streams_deleted:
            _expect("rows that the server counts as deleted", counted, _ROWS - 2)
        _expect("rows after a DELETE", session.rows(f"SELECT count(*) AS n FROM {place}")[0][0], 2)
        end()
        _expect("rows after the transaction", session.rows(f"SELECT count(*) AS n FROM {place}")[0][0], left)
    session.begin(write=True)
    session.load_temporary(f"{name}_keys", pa.table({"n": list(range(1000))}))
    found = session.rows(f"SELECT count(*) AS n, count(DISTINCT n) AS d FROM {place}_keys")
    _expect("keys that were handed over", found[0], (1000, 1000))


def _snapshot(connect: Callable[[], Session], source: Source) -> None:
    reader, writer = connect(), connect()
    name = f"retention_trial_{secrets.token_hex(8)}"
    asked = f"SELECT count(*) AS n FROM pg_class WHERE relname = '{name}'"
    reader.begin(write=True)
    _expect("at first", reader.rows(asked)[0][0], 0)
    writer.execute(f"CREATE TEMPORARY TABLE {name} (n bigint)")  # which all others see in the catalogue
    _expect("after somebody else committed", reader.rows(asked)[0][0], 0)
    reader.commit()
    _expect("in the next transaction", reader.rows(asked)[0][0], 1)


def _expect(what: str, found: object, right: object) -> None:
    if found != right:
        shown = (one.value if isinstance(one, Outcome) else one for one in (found, right))
        raise _Wrong("{}: {} instead of {}".format(what, *shown))


_FENCE = _Part(what="the lock by which a hold waits for batches", run=_fence)
_DELETION = _Part(what="row counts and rollback of a deletion", run=_deletion)
#: by dialect: the parts, and what is left out
_PARTS = {
    "postgresql": (
        (
            _FENCE,
            _Part(what="what became of a transaction (`pg_xact_status`)", run=_outcome),
            _DELETION,
            _Part(what="one state of the data within a transaction", run=_snapshot),
        ),
        "locks of rows and tables against others, for which a permanent table would be needed",
    ),
    "mysql": (
        (_FENCE, _DELETION),
        "what a transaction sees of others, and its locks against them, for which a permanent table would be needed",
    ),
}
