"""Files that no batch row knows: they go, unless a record would be lost with them."""

from __future__ import annotations

import signal
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from retention.archive.manifest import Manifest
from retention.disposition import restore
from retention.disposition.archived import read_manifest
from retention.disposition.litter import remove_litter
from retention.errors import SourceFailed
from retention.ledger import batches, runs
from retention.sources import presence

if TYPE_CHECKING:
    from retention.disposition.engine import Engine
    from retention.ledger.runs import Run

#: of which 20 are due
ROWS = 300
LEFT = "B-left-behind"


def files(site: Any) -> list[str]:
    return sorted(path.name for path in site.folder.glob(f"archive/crm/**/{LEFT}.*"))


class Done:
    """A run of one batch that is over, and beside it the same files once more, of a batch that nobody knows."""

    def __init__(self, site: Any) -> None:
        site.fill(ROWS)
        site.run()
        self.site = site
        self.engine: Engine = site.engine()
        with self.engine.control.read() as connection:
            [self.batch] = batches.committed(connection)
            self.run: Run = runs.get(connection, self.batch.run_id)
        self.store = self.engine.store("cold")
        known = read_manifest(self.store, self.batch)
        self.prepared_at = self.batch.prepared_at
        for file in known.files:
            self.store.write(self._named(file.path), self.store.read(file.path))
        entries = tuple(replace(file, path=self._named(file.path)) for file in known.files)
        self.manifest: Manifest = replace(known, batch=LEFT, files=entries)
        self.all = sorted(
            self._named(path).rpartition("/")[2] for path in (*self._paths(known), self.batch.manifest or "")
        )

    def _paths(self, manifest: Manifest) -> list[str]:
        return [file.path for file in manifest.files]

    def _named(self, path: str) -> str:
        return path.replace(self.batch.id, LEFT)

    def left(self, *, later: timedelta) -> None:
        """The batch that nobody knows was written so much later than the other was prepared."""
        manifest = replace(self.manifest, written_at=self.prepared_at + later)
        self.store.write(self._named(self.batch.manifest or ""), manifest.to_bytes())
        assert files(self.site) == self.all

    def tidied(self) -> list[str]:
        """What is there still of the batch that nobody knows."""
        remove_litter(self.engine, self.run)
        return files(self.site)


BEFORE, AFTER = timedelta(seconds=-1), timedelta(seconds=1)


@pytest.mark.parametrize("state", ["committed", "prepared"])
def test_what_a_later_batch_has_archived_is_litter(site: Any, state: str) -> None:
    done = Done(site)
    done.left(later=BEFORE)
    site.control(f"UPDATE batch SET state = '{state}'")
    assert done.tidied() == []
    assert site.archived().total() == (len(site.due_ids(ROWS)) if state == "committed" else 0)


def test_what_an_earlier_batch_has_is_an_earlier_state_of_the_record(site: Any) -> None:
    done = Done(site)
    done.left(later=AFTER)
    assert done.tidied() == done.all


@pytest.mark.parametrize(
    "unknown",
    [
        "UPDATE batch SET state = 'aborted'",
        "UPDATE batch SET destroyed_by_run = run_id",
        "UPDATE batch SET records = 'crm.others'",
        "UPDATE batch SET key_least = '301', key_greatest = '400'",
    ],
)
def test_what_no_batch_of_the_ledger_has_stays(site: Any, unknown: str) -> None:
    done = Done(site)
    done.left(later=BEFORE)
    site.control(unknown)
    assert done.tidied() == done.all


def test_one_record_that_nobody_has_keeps_its_whole_batch(site: Any, caplog: pytest.LogCaptureFixture) -> None:
    done = Done(site)
    done.left(later=AFTER)
    choice = restore.choose(done.engine, run=done.run.id, keys=(), where=(), address=None)
    restore.restore(done.engine, choice, reason="to look")
    site.run_sql(
        site.url,
        "DELETE FROM comment_files WHERE comment_id = 300",
        "DELETE FROM activity_comments WHERE activity_id = 30",
        "DELETE FROM activity_logs WHERE id = 30",
    )
    assert done.tidied() == done.all
    [line] = [one for one in caplog.records if one.message == "litter.kept"]
    assert (line.__dict__["run"], line.__dict__["records"]) == (done.run.id, 1)
    assert [finding.split()[1].rpartition("/")[2] for finding in site.findings()] == done.all


def test_what_is_in_the_source_is_litter(site: Any) -> None:
    done = Done(site)
    done.left(later=AFTER)
    choice = restore.choose(done.engine, run=done.run.id, keys=(), where=(), address=None)
    restore.restore(done.engine, choice, reason="to look")
    assert done.tidied() == []


@pytest.mark.parametrize("damaged", ["json", "parquet"])
def test_files_that_cannot_tell_stay(site: Any, damaged: str) -> None:
    done = Done(site)
    done.left(later=BEFORE)
    [path] = site.folder.glob(f"archive/crm/**/{LEFT}.{damaged}")
    path.chmod(0o640)
    path.write_bytes(b"{}")
    assert done.tidied() == done.all


def test_files_without_their_manifest_were_never_relied_on(site: Any) -> None:
    done = Done(site)
    assert files(site) == [name for name in done.all if not name.endswith(".json")]
    assert done.tidied() == []


def test_a_source_that_is_away_removes_nothing(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*args: object) -> None:
        raise SourceFailed("it is away")

    done = Done(site)
    done.left(later=BEFORE)
    with monkeypatch.context() as patch:
        patch.setattr(presence, "load_keys", away)
        with pytest.raises(SourceFailed):
            done.tidied()
    assert files(site) == done.all
    assert done.tidied() == []


def test_a_source_that_is_away_keeps_no_other_runs_from_recovery(plain_site: Any) -> None:
    plain_site.fill(ROWS)
    died = plain_site.cli(
        "run",
        "service-notes",
        "--yes",
        "--as-of",
        "2026-10-01",
        env={"RETENTION_FAILPOINTS": "batch.after-files=kill@1"},
    )
    assert died.returncode == -signal.SIGKILL
    assert list(plain_site.folder.glob("archive/crm/**/*.json"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(presence, "load_keys", lambda *args: (_ for _ in ()).throw(SourceFailed("it is away")))
        from retention.disposition.recover import recover

        assert recover(plain_site.engine()) == []
    assert list(plain_site.folder.glob("archive/crm/**/*.json"))
    plain_site.run()
    assert plain_site.archived() == Counter(plain_site.due_ids(ROWS))
    assert plain_site.findings() == []
