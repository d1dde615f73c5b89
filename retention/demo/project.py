"""The demo's project folder: a complete, working project in which every command runs."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from string import Template

from retention.demo import data, database, postgres
from retention.demo.postgres import ServerFacts
from retention.errors import Failed, InputError

#: stands in every folder that a demo made; what it lists (and nothing else) a later demo may replace
MARKER = ".retention-demo"

#: what a demo and the commands run in it leave behind
_MADE = ("retention.yaml", "policies", "crm.db", "retention.db", "archive", "postgres", "logs")

_CONFIG = Template("""\
# Where the records live, and where they go. Operators own this file; officers own policies/*.yaml.
# Made by `retention demo`. Every line is explained in docs/policy-language.md.

timezone: Asia/Shanghai              # a "day" in every policy is a day in this zone
control: sqlite:///retention.db      # runs, holds and the ledger; PostgreSQL or MariaDB in production
broker: $broker    # what tells workers to look; `retention up` needs none
fiscal_year_starts: 01-01            # month-day; for policies that say `starts: next fiscal year`
hold_release_grace: 30 days          # after a hold is released, disposal waits this long

# Legal minimums lengthen what policies say. Here: complaints stay until no claim can come of them any more.
minimums:
  - records: crm.activities
    tags: [complaint]
    for: 3 years
    mandate: "PRC Civil Code art. 188: general limitation period"

sources:
  crm:
    url: $url
    classes:
      activities:                    # policies call this class crm.activities
        table: activity_logs
        key: id
        created: created_at          # the clock that counts where a policy names no other
$timezone        tags: {column: tags}
        subjects: {customer: account_id}    # so that a hold may say `--subject customer=$customer`
        columns: [action, status, amount, owner, account_id, closed_at]    # what `where` and `from` may name
        dependents:
          activity_comments: {key: activity_id}    # archived and deleted with the record, or kept with it

archives:
  cold: {url: "file:./archive"}      # beside this file
""")

# A time without a zone needs one named; PostgreSQL's timestamptz has its own.
_TIMEZONE = "        timezone: UTC                # created_at and closed_at carry no zone of their own\n"


@dataclass(frozen=True, kw_only=True)
class SuggestedHold:
    """A hold that makes sense on the demo's data: every record of one customer, who is in court."""

    subject: str
    value: str
    matter: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class ProjectFacts:
    """What was made. ``server`` is the demo's own PostgreSQL, None on SQLite."""

    config_path: Path
    #: rows of the class crm.activities
    records: int
    #: rows of its dependent table
    comments: int
    customers: int
    hold: SuggestedHold
    server: ServerFacts | None


def make_project(folder: Path, *, today: datetime, postgres: bool = False) -> ProjectFacts:
    """Make the demo's project in ``folder``: configuration, policies, filled database; the archive's folder is empty.

    ``today`` (aware) is the day that the records lead up to; the same day gives the same records. An earlier demo in
    ``folder`` is replaced. Raises InputError where the folder holds anything else, or cannot be written, or
    where ``postgres`` is asked for and its package is missing.
    """
    folder = folder.absolute()
    try:
        _clear(folder)
        return _fill(folder, today=today, on_postgres=postgres)
    except OSError as error:
        raise Failed(
            f"the demo cannot write {error.filename or folder}: {error.strerror}",
            hint="name a folder that you may write",
        ) from error


def _clear(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file", hint="name a folder that does not exist yet")
    if folder.exists() and any(folder.iterdir()) and not (folder / MARKER).exists():
        raise InputError(
            f"{folder} is not empty and is not an earlier demo, so nothing was written there",
            hint="name a folder that does not exist yet",
        )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).write_text("A later `retention demo` may replace what this one made.\n")
    postgres.stop(folder / "postgres")
    for name in _MADE:
        made = folder / name
        if made.is_dir():
            shutil.rmtree(made)
        else:
            made.unlink(missing_ok=True)
    for left in folder.glob("*.db-*"):  # journals of the databases just removed
        left.unlink()


def _fill(folder: Path, *, today: datetime, on_postgres: bool) -> ProjectFacts:
    server: ServerFacts | None = None
    if on_postgres:
        server = postgres.start(folder / "postgres")
        database.fill_postgresql(server.url, today=today)
    else:
        database.fill_sqlite(folder / "crm.db", today=today)
    (folder / "archive").mkdir()
    (folder / "policies").mkdir()
    for starter in _starter_policies().iterdir():
        shutil.copyfile(starter, folder / "policies" / starter.name)
    config = folder / "retention.yaml"
    config.write_text(
        _CONFIG.substitute(
            broker="${RETENTION_BROKER_URL:-memory://}",
            url="sqlite:///crm.db" if server is None else f'"{server.url}"',
            timezone=_TIMEZONE if server is None else "",
            customer=data.HELD_ACCOUNT,
        ),
        encoding="utf-8",
    )
    return ProjectFacts(
        config_path=config,
        records=data.ACTIVITIES,
        comments=data.COMMENTS,
        customers=data.ACCOUNTS,
        hold=SuggestedHold(
            subject="customer",
            value=str(data.HELD_ACCOUNT),
            matter="2026-017",
            reason="Huaxin Logistics v. us: the court ordered us to keep everything about this customer",
        ),
        server=server,
    )


def _starter_policies() -> Path:
    """The starter policies: in an installed package beside this one, in a checkout at its top."""
    package = Path(__file__).parents[1]
    installed = package / "starter"
    return installed if installed.is_dir() else package.parent / "policies"
