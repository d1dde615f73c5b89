"""What every act of disposition needs at hand: the project, its control database, sources, classes and archives."""

from __future__ import annotations

import getpass
import os
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from retention.archive.store import Store, open_store
from retention.config import Project
from retention.disposition import clock
from retention.errors import (
    ArchiveFailed,
    ControlFailed,
    InputError,
    NotFound,
    PolicyFilesError,
    Refused,
    RetentionError,
    RightMissing,
    SchemaUnsafe,
    SourceFailed,
    UnsupportedDatabase,
)
from retention.ledger.control import Control
from retention.ledger.tallies import archives_in_use
from retention.policy.dependent import every
from retention.policy.mark import Mark, Problem
from retention.policy.policy import LegalBound, Policy
from retention.policy.suggest import nearest
from retention.sources.bind import bind
from retention.sources.bound_class import BoundClass
from retention.sources.check import check, unset_problems
from retention.sources.missing_index import missing_indexes
from retention.sources.open import open_source
from retention.sources.rights import Need, refuse_without
from retention.sources.source import Source

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator


class Engine:
    """Opens each part on first use and keeps it. Threads may share an engine; sessions are each thread's own."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self._sources: dict[str, Source] = {}
        self._bound: dict[str, BoundClass] = {}
        self._stores: dict[str, Store] = {}

    @cached_property
    def control(self) -> Control:
        """The control database, at its newest schema."""
        return Control.open(self.project.config.control)

    def now(self) -> datetime:
        """The real time, UTC. Holds and graces run on it, whatever `--as-of` says."""
        return clock.now()

    @property
    def person(self) -> str:
        """Who is at the keyboard, for the ledger: RETENTION_USER where a wrapper sets it, else the login name."""
        named = os.environ.get("RETENTION_USER", "").strip()
        if named:
            return named
        try:
            return getpass.getuser()
        except (KeyError, OSError):  # in a container, say, whose user has no name
            return f"uid {os.getuid()}"

    def source(self, name: str) -> Source:
        """The source of that name. Raises NotFound."""
        if name not in self._sources:
            known = self.project.config.sources
            if name not in known:
                raise NotFound(f"there is no source {name!r}", hint=nearest(name, known))
            self._sources[name] = open_source(known[name])
        return self._sources[name]

    def bound(self, address: str) -> BoundClass:
        """The class ``source.class``, bound to its table as it is now. Raises NotFound, PolicyFilesError, SchemaUnsafe."""
        if address not in self._bound:
            classes = self.project.config.classes
            if address not in classes:
                raise NotFound(f"there is no record class {address!r}", hint=nearest(address, classes))
            declared = classes[address]
            self._bound[address] = bind(self.source(declared.source), declared, classes)
        return self._bound[address]

    def kin(self, address: str) -> dict[str, BoundClass]:
        """The classes of the same source, bound: holds on one may cover records of another."""
        source = self.project.config.classes[address].source
        return {other: self.bound(other) for other in self.addresses(source)}

    def addresses(self, source: str) -> list[str]:
        """The classes of a source, declared there, none of them bound."""
        return [address for address, declared in self.project.config.classes.items() if declared.source == source]

    def store(self, archive: str) -> Store:
        """The archive of that name. Raises NotFound, ArchiveFailed."""
        if archive not in self._stores:
            known = self.project.config.archives
            if archive not in known:
                raise NotFound(f"there is no archive {archive!r}", hint=nearest(archive, known))
            self._stores[archive] = open_store(known[archive])
        return self._stores[archive]

    def policies(self, names: Iterable[str] = ()) -> list[Policy]:
        """The named policies, or all, in the order of their names. Raises NotFound with the nearest name."""
        chosen = [self.project.policies.get(name) for name in dict.fromkeys(names)]
        return sorted(chosen or self.project.policies.policies, key=lambda policy: policy.name)

    def problems(self) -> list[Problem]:
        """What only databases and archives can tell, of all at once: names and types that the files have wrong, tables
        that cannot be handled safely, databases that do not answer, and archives that are not there."""
        found: list[Problem] = []
        for address, declared in self.project.config.classes.items():
            try:
                bound = self.bound(address)
                found.extend(self._unfit(bound))
                _refuse_unchangeable(bound)
            except PolicyFilesError as error:
                found.extend(error.problems)
            except (RightMissing, SchemaUnsafe, SourceFailed, UnsupportedDatabase) as error:
                found.append(_problem(declared.mark, error))
        return sorted([*found, *self._lost_archives()])

    def advice(self) -> list[str]:
        """What would make the work faster, a sentence each; of classes without problems."""
        return [
            f"{address}: {missing}"
            for address in self.project.config.classes
            for missing in missing_indexes(self.bound(address))
        ]

    def _lost_archives(self) -> Iterator[Problem]:
        """Archives that cannot be opened, that are not there although batches lie in them, or are named no more."""
        whole = Mark(file=self.project.config.path.name)
        used: Collection[str] = ()
        try:
            with self.control.read() as connection:
                used = archives_in_use(connection)
        except InputError:
            pass  # not set up yet, or to be upgraded first: until then nothing runs, and the next `validate` sees it
        except (ControlFailed, Refused) as error:
            yield _problem(whole, error)
        for name, declared in self.project.config.archives.items():
            try:
                store = self.store(name)
                if name in used or store.is_archive():
                    store.open()
            except (ArchiveFailed, InputError) as error:
                yield _problem(declared.mark, error, what=f'archive "{name}": ')
        for name in sorted(set(used) - set(self.project.config.archives)):
            message = f'batches lie in the archive "{name}", which no line names'
            yield Problem(
                mark=whole, message=message, remedy=f'write it below "archives:", where it is: {name}: {{url: ...}}'
            )

    def checked(self, address: str) -> BoundClass:
        """``bound``, with every policy and legal bound of the class tested against its columns (any may be what retains)."""
        bound = self.bound(address)
        problems = self._unfit(bound)
        if problems:
            raise PolicyFilesError(problems)
        return bound

    def deletable(self, address: str) -> BoundClass:
        """`checked`, and the source's role may delete what it names. Raises RightMissing."""
        bound = self.checked(address)
        _refuse_unchangeable(bound)
        return bound

    def _unfit(self, bound: BoundClass) -> list[Problem]:
        """Where the policies and legal bounds of the class do not fit its table."""
        policies = self.project.policies
        bounds = [one for one in policies.bounds if one.records == bound.address]
        rules: tuple[Policy | LegalBound, ...] = (*policies.of(bound.address), *bounds)
        problems = [problem for rule in rules for problem in check(bound, rule, policies.timezone)]
        return [*problems, *unset_problems(bound, rules), *self._overruled(bound)]

    def _overruled(self, bound: BoundClass) -> list[Problem]:
        """Rules over rows that go with another class's records: they could not keep them, so they are refused, whichever
        of the two classes is asked about."""
        declared = [one for one in self.project.config.classes.values() if one.source == bound.record_class.source]
        pairs = [
            (child, parent)
            for parent in declared
            for child in declared
            if child is not parent and bound.record_class in (child, parent)
            if any(
                self.bound(child.address).table.is_named(dependent.table)
                for dependent, _ in every(parent.dependents)
                if dependent.then.goes
            )
        ]
        rules: tuple[Policy | LegalBound, ...] = (*self.project.policies.policies, *self.project.policies.bounds)
        return [
            Problem(
                mark=rule.mark,
                message=f'the rows of "{child.address}" go with the records of "{parent.address}", '
                "so a rule of their own cannot keep them",
                remedy=f'leave this rule out, or say `then: block` in the dependents of "{parent.address}": a record'
                " stays while it has such rows (of rows that it shares with others: take them out of its dependents)",
            )
            for child, parent in pairs
            for rule in rules
            if rule.records == child.address
        ]


def _refuse_unchangeable(bound: BoundClass) -> None:
    """Raise RightMissing where the source's role may not delete the class's rows and what goes with them, or not detach
    what is to be detached."""
    refuse_without(bound.source, bound.leaving, Need.DELETE)
    if bound.detached:
        refuse_without(bound.source, bound.detached, Need.UPDATE)


def _problem(mark: Mark, error: RetentionError, *, what: str = "") -> Problem:
    """The error as one line."""
    message, remedy = (text.replace("\n", ";") for text in (error.message, error.hint))
    return Problem(mark=mark, message=f"{what}{message}", remedy=remedy)
