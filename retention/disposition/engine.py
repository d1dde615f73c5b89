"""What every act of disposition needs at hand: the project, its control database, sources, classes and archives."""

from __future__ import annotations

import getpass
import os
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from retention.archive.store import Store, open_store
from retention.config import Project
from retention.errors import NotFound, PolicyFilesError
from retention.ledger.control import Control
from retention.policy.mark import Problem
from retention.policy.policy import Policy
from retention.policy.suggest import nearest
from retention.sources.bind import bind
from retention.sources.bound_class import BoundClass
from retention.sources.check import check
from retention.sources.open import open_source
from retention.sources.source import Source

if TYPE_CHECKING:
    from collections.abc import Iterable


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
        return datetime.now(UTC)

    @property
    def person(self) -> str:
        """Who is at the keyboard, for the ledger: RETENTION_USER where a wrapper sets it, else the login name."""
        return os.environ.get("RETENTION_USER", "").strip() or getpass.getuser()

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
        return {
            other: self.bound(other)
            for other, declared in self.project.config.classes.items()
            if declared.source == source
        }

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
        """What only the databases can tell: tables, columns and types that the files name wrongly."""
        found: list[Problem] = []
        for address in self.project.config.classes:
            try:
                bound = self.bound(address)
            except PolicyFilesError as error:
                found.extend(error.problems)
                continue
            for policy in self.project.policies.of(address):
                found.extend(check(bound, policy, self.project.policies.timezone))
        return sorted(found)

    def checked(self, address: str) -> BoundClass:
        """``bound``, with every policy of the class tested against its columns (any may be the one that retains)."""
        bound = self.bound(address)
        problems = [
            problem
            for policy in self.project.policies.of(address)
            for problem in check(bound, policy, self.project.policies.timezone)
        ]
        if problems:
            raise PolicyFilesError(problems)
        return bound
