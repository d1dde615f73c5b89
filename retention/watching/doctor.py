"""`retention doctor`: everything that a run depends on is looked at before it matters. Nothing is changed.

Each part is asked for itself, so that one which is away hides no finding of the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from retention.disposition.plan import make_plan
from retention.errors import RetentionError
from retention.ledger.health import control_lacks, control_room
from retention.watching.doctor_archive import examine_archive
from retention.watching.doctor_class import examine_class
from retention.watching.doctor_source import examine_source
from retention.watching.finding import Finding, Level, failed, megabytes

if TYPE_CHECKING:
    from retention.disposition.engine import Engine

#: a control database grows by less than a kilobyte a batch; with less room than this something else will fill the disk
_ROOM = 256 * 1024**2


def examine(engine: Engine, sources: Sequence[str] = ()) -> Iterator[Finding]:
    """Everything about these sources (all, if none is named), then archives and the control database.

    Raises NotFound for a source that is not declared.
    """
    chosen = list(dict.fromkeys(sources)) or list(engine.project.config.sources)
    for name in chosen:
        engine.source(name)
    if engine.project.mistake is not None:
        yield from failed("policies", engine.project.mistake)
    #: archive -> bytes that its policies would write now
    needed: dict[str, int] = {}
    for name in chosen:
        found = list(examine_source(engine, name))
        yield from found
        if all(one.level is not Level.ERROR for one in found):
            for address in engine.addresses(name):
                seen = list(examine_class(engine, address))
                if all(one.level is not Level.ERROR for one in seen):
                    seen += _estimated(engine, address, needed)
                yield from seen
    for archive in engine.project.config.archives:
        yield from examine_archive(engine, archive, needed.get(archive, 0))
    yield from _control(engine)


def _estimated(engine: Engine, address: str, needed: dict[str, int]) -> Iterator[Finding]:
    """What the policies of the class would take now, added to ``needed`` by archive: the share of its tables' bytes. In
    Parquet it is less."""
    policies = engine.project.policies.of(address)
    bound = engine.bound(address)
    try:
        plans = make_plan(engine, policies, engine.now()).policies
        session = bound.source.session()
        try:
            size = sum(session.table_bytes(table) for table in bound.tables)
        finally:
            session.close()
    except RetentionError as error:
        yield from failed(f"class {address}", error)
        return
    for policy, plan in zip(policies, plans, strict=True):
        if policy.archive is not None and plan.due:
            share = plan.due * size // (plan.matched + plan.unmatched)
            needed[policy.archive.to] = needed.get(policy.archive.to, 0) + share
    told = ", ".join(f"{plan.policy} {plan.due:,}" for plan in plans)
    if told:
        yield Finding(subject=f"class {address}", level=Level.OK, what=f"records that would go now: {told}")


def _control(engine: Engine) -> Iterator[Finding]:
    subject = "control database"
    url = engine.project.config.control
    try:
        _ = engine.control
        lacks = list(control_lacks(url))
        room = control_room(url)
    except RetentionError as error:
        yield from failed(subject, error)
        return
    yield Finding(subject=subject, level=Level.OK, what="it is there, and its tables are those of this program")
    for lack in lacks:
        yield Finding(subject=subject, level=Level.ERROR, what=lack.what, change=lack.remedy)
    if room is not None and room < _ROOM:
        what = f"{megabytes(room)} are free where it lies"
        change = "make room: a run stops where it cannot write down what it did"
        yield Finding(subject=subject, level=Level.WARNING, what=what, change=change)
