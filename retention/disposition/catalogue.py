"""What lies in the archives, by the control database, and whether it all is there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from retention.archive.manifest import Manifest
from retention.archive.verify import Expected, verify_archive
from retention.disposition.archived import expected, read_manifest
from retention.errors import NotFound, Refused
from retention.ledger import batches, observations, runs
from retention.ledger.cross_check import cross_check
from retention.ledger.observations import Observation
from retention.ledger.tallies import archives_in_use
from retention.policy.calendar import local_day

if TYPE_CHECKING:
    from retention.disposition.engine import Engine


@dataclass(frozen=True, kw_only=True)
class ArchivedBatch:
    """One line of `archive list`. Times are ISO, UTC; days are local."""

    batch: str
    run: str
    policy: str
    records: str
    archive: str
    manifest: str
    rows: int
    dependent_rows: int
    deleted_at: str
    #: the last day of `keep`; None: kept for ever
    destroy_after: str | None
    destroyed_at: str | None

    def to_json(self) -> dict[str, object]:
        """The fields as `archive list --json` prints them."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class ArchiveReport:
    """What `archive verify` read back, and everything that was not as it should be, each a sentence."""

    batches: int
    files: int
    rows: int
    findings: tuple[str, ...]
    #: the archives that they are about: all, where the ledger does not bear the control database out
    damaged: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """The fields as `archive verify --json` prints them."""
        return asdict(self)


def archived_batches(engine: Engine, *, run: str | None = None, records: str | None = None) -> list[ArchivedBatch]:
    """Every committed batch that was archived, oldest first. Raises NotFound for a run that there is not."""
    with engine.control.read() as connection:
        if run is not None:
            runs.get(connection, run)
        policies = {one.id: one.policy for one in runs.recent(connection, None)}
        found = batches.committed(connection, records=records, run=run)
    return [
        ArchivedBatch(
            batch=batch.id,
            run=batch.run_id,
            policy=policies[batch.run_id],
            records=batch.records,
            archive=batch.archive,
            manifest=batch.manifest,
            rows=batch.rows,
            dependent_rows=batch.dependent_rows,
            deleted_at=batch.resolved_at.isoformat(),
            destroy_after=None if batch.destroy_after is None else batch.destroy_after.isoformat(),
            destroyed_at=None if batch.destroyed_at is None else batch.destroyed_at.isoformat(),
        )
        for batch in found
        if batch.archive is not None and batch.manifest is not None and batch.resolved_at is not None
    ]


def manifest_of(engine: Engine, batch_id: str) -> Manifest:
    """The manifest of one batch, checked against its digest. Raises NotFound, Refused once it was destroyed."""
    with engine.control.read() as connection:
        batch = batches.get(connection, batch_id)
    if batch.archive is None:
        raise NotFound(f"batch {batch_id} was not archived", hint="its policy says `archive: none`")
    if batch.destroyed_at is not None:
        day = local_day(batch.destroyed_at, engine.project.config.timezone)
        raise Refused(f"the archive copy of batch {batch_id} was destroyed on {day}")
    return read_manifest(engine.store(batch.archive), batch)


def every_archive(engine: Engine) -> tuple[str, ...]:
    """The archives of retention.yaml, and those that batches lie in although no line names them (any more)."""
    with engine.control.read() as connection:
        used = archives_in_use(connection)
    declared = engine.project.config.archives
    return (*declared, *sorted(set(used) - set(declared)))


def verify_archives(engine: Engine, names: Sequence[str]) -> ArchiveReport:
    """Read every file of the named archives back and hold it against manifest, control database and ledger. One of
    `every_archive` that no line names cannot be read, which is a finding."""
    findings: list[str] = []
    damaged: list[str] = []
    counts = {"batches": 0, "files": 0, "rows": 0}

    #: files of batches whose destruction was begun: there or not there, both is right
    ending: set[str] = set()

    def expectations(name: str) -> Iterator[Expected]:
        with engine.control.read() as connection:
            for batch in batches.archived(connection, name):
                if batch.destroyed_by_run is not None:
                    what = expected(connection, batch)
                    ending.update([what.manifest_path, *(file.path for file in what.files)])
                    findings.append(
                        f"{name}: the destruction of batch {batch.id} by run {batch.destroyed_by_run} did not come to"
                        " its end: `retention archive destroy` goes on with it"
                    )
                    continue
                counts["batches"] += 1
                counts["files"] += 1
                what = expected(connection, batch)
                counts["files"] += len(what.files)
                counts["rows"] += sum(file.rows for file in what.files)
                yield what

    unnamed = set(every_archive(engine)) - set(engine.project.config.archives)
    for name in names:
        if name in unnamed:
            findings.append(
                f"{name}: batches lie in this archive, and no line of retention.yaml names it, so nobody can read them:"
                f" write it below `archives:`, where it is"
            )
            damaged.append(name)
            continue
        store = engine.store(name)
        with engine.control.read() as connection:
            any_expected = bool(batches.archived(connection, name))
        if not any_expected and not store.is_archive():
            continue  # nothing was ever put there
        before = len(findings)
        found = list(verify_archive(store, expectations(name)))
        findings.extend(f"{name}: {finding}" for finding in found if finding.path not in ending)
        if len(findings) > before:
            damaged.append(name)
    with engine.control.read() as connection:
        contradicted = [f"ledger: {finding.what}" for finding in cross_check(connection)]
    return ArchiveReport(
        findings=(*findings, *contradicted), damaged=tuple(names) if contradicted else tuple(damaged), **counts
    )


def remember(engine: Engine, names: Sequence[str], report: ArchiveReport) -> None:
    """Write down for those who watch what verifying the named archives found. What is damaged stays so until a later
    verification finds it whole. Raises ControlFailed."""
    now = engine.now()
    with engine.control.write() as connection:
        before = observations.read(connection, "archive")
        for name in names:
            facts: dict[str, object] = {"ok": name not in report.damaged}
            if not facts["ok"]:
                facts["verified_at"] = observations.last_good(before.get(name))
            observations.record(connection, Observation(kind="archive", target=name, at=now, facts=facts))
