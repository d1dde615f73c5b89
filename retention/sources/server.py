"""What a database says of itself, for those who check whether all is well with it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from retention.sources.rights import Lack


@dataclass(frozen=True, kw_only=True)
class Server:
    """One database of records, or the server that has it."""

    #: what it is, with its version: "PostgreSQL 18.1"
    version: str
    #: the zone in which its other sessions read and write times without one; None where there is no such thing
    zone: str | None = None
    #: its clock, aware; None where it is this machine's
    now: datetime | None = None
    #: settings under which it could lose what it said was done
    risks: tuple[Lack, ...] = ()
