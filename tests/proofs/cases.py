"""Fresh projects, many of them, on one database; and what must be true of one that was disturbed and recovered."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace

from retention.disposition import restore
from retention.disposition.recover import recover
from tests.integration.disposition.conftest import Site

#: due: 15, 30, 45, 60
ROWS = 60

#: so that a note may be of megabytes, where a column of text has a limit
LONG_NOTES = {"mysql": ("ALTER TABLE activity_logs MODIFY note LONGTEXT",)}


def fresh(site: Site, rows: int = ROWS) -> Site:
    """The site's project as it was before anything ran, in a folder of its own; its tables filled anew."""
    folder = site.folder.with_name(f"case-{len(list(site.folder.parent.glob('case-*'))):05}")
    shutil.copytree(site.folder, folder, ignore=shutil.ignore_patterns("*-wal", "*-shm"))
    config = folder / "retention.yaml"
    config.write_text(config.read_text().replace(str(site.folder), str(folder)))
    site.run_sql(site.url, *(f"DELETE FROM {table}" for table in reversed(site.tables)))
    found = replace(site, folder=folder, started=[])
    found.fill(rows)
    return found


def is_as_if_undisturbed(site: Site, before: dict[str, list[str]], told: str) -> None:
    """Go on with whatever was left behind. Then source and archive hold each record exactly once, exactly the due ones
    are archived, ledger and archive verify, doing it twice changes nothing, and every value comes back equal."""
    due = site.due_ids(ROWS)
    site.run()
    assert set(range(1, ROWS + 1)) - site.ids() == due, told
    assert site.archived() == Counter(due), told
    assert site.findings() == [], told
    entries = site.asked("SELECT seq, hash FROM ledger ORDER BY seq")
    assert recover(site.engine()) == [], told
    assert site.asked("SELECT seq, hash FROM ledger ORDER BY seq") == entries, told
    [(deleted,)] = site.asked("SELECT sum(rows) FROM batch WHERE state = 'committed'")
    assert deleted == len(due), told
    for (run,) in site.asked("SELECT DISTINCT run_id FROM batch WHERE state = 'committed'"):
        choice = restore.choose(site.engine(), run=run, keys=(), where=(), address=None)
        restore.restore(site.engine(), choice, reason="to compare")
    assert site.everything() == before, told
    shutil.rmtree(site.folder)
