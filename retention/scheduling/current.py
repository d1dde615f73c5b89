"""The project as its files are now: read again when they change, and kept as they were while they have a mistake."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from retention.config import Project, load_config, load_project
from retention.disposition.engine import Engine
from retention.errors import InputError, RetentionError
from retention.ledger.control import Control

#: name, modification time, size and inode of each file
_Stamp = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, kw_only=True)
class Read:
    """One reading of the files. ``error`` None: they were taken; else what is wrong, and those before stay in force."""

    set_digest: str | None
    error: RetentionError | None


class Current:
    """The last good retention.yaml and policies of one process, whose threads may share it. Opens no database before it is
    asked to."""

    def __init__(self, config_path: Path) -> None:
        self.config_path = config_path
        self._lock = threading.Lock()
        self._stamp: _Stamp | None = None
        #: the last good one
        self._project: Project | None = None
        #: the last one with a good retention.yaml, whatever its policies
        self._seen: Project | None = None
        self._mistake: InputError | None = None
        self._control: Control | None = None

    def refresh(self) -> Read | None:
        """Read the files where they changed since the last time; None where they did not. Never raises for their contents."""
        with self._lock:
            return self._refresh()

    @property
    def project(self) -> Project:
        """The last good one. Raises InputError where there never was one."""
        if self._project is None:
            raise InputError(
                f"{self.config_path} or a policy had a mistake when this process began, which waits until it is mended",
                hint="`retention validate` shows every mistake",
            )
        return self._project

    @property
    def control(self) -> Control:
        """The control database, opened once; with mistakes in policies too. Raises what `Control.open` and `load_config`
        raise."""
        with self._lock:
            if self._control is None:
                config = load_config(self.config_path) if self._seen is None else self._seen.config
                self._control = Control.open(config.control)
            return self._control

    def engine(self) -> Engine:
        """A new engine on the last good project: it sees the tables as they are now, not as they were when the process
        began. Raises as `project` and `control` do."""
        engine = Engine(self.project)
        engine.control = self.control
        return engine

    def view(self) -> Engine:
        """A new engine to look with: on the last good project, or on one without policies where there never was one; its
        `mistake` says how the files are now. Raises what is wrong with retention.yaml, and as `control` does."""
        project = self._seen if self._project is None else self._project
        if project is None:
            project = load_project(self.config_path, lenient=True)
        engine = Engine(replace(project, mistake=self._mistake))
        engine.control = self.control
        return engine

    @property
    def waits(self) -> bool:
        """Whether there was no good project yet: then the process does nothing."""
        return self._project is None

    def close(self) -> None:
        """Close the control database."""
        if self._control is not None:
            self._control.close()
            self._control = None

    def _refresh(self) -> Read | None:
        stamp = tuple(self._files())
        if stamp == self._stamp:
            return None
        self._stamp = stamp  # of before the reading: what changes meanwhile is read the next time
        try:
            project = load_project(self.config_path, lenient=True)
            self._same_places(project)
        except InputError as error:
            self._mistake = error
        except OSError as error:  # a file that vanished or cannot be read: the next change of any file reads again
            self._stamp = None
            self._mistake = InputError(f"{error.filename} cannot be read: {error.strerror}")
        else:
            self._seen, self._mistake = project, project.mistake
            if project.mistake is None:
                self._project = project
                return Read(set_digest=project.policies.digest, error=None)
        return Read(set_digest=None, error=self._mistake)

    def _same_places(self, project: Project) -> None:
        """Raise InputError where the files now name another control database or broker: half of the processes would be
        in one, half in the other."""
        before = self._seen
        if before is None:
            return
        for key in ("control", "broker"):
            if getattr(before.config, key) != getattr(project.config, key):
                raise InputError(
                    f'"{key}" was changed in {self.config_path.name} while processes run with the old one',
                    hint="start all workers and beats again",
                )

    def _files(self) -> Iterator[tuple[str, int, int, int]]:
        folder = self.config_path.absolute().parent / "policies"
        for path in (self.config_path, folder, *sorted(folder.glob("*"))):
            try:
                found = path.stat()
            except OSError:  # not there, or not to be looked at: loading says so
                yield str(path), 0, 0, 0
            else:
                yield str(path), found.st_mtime_ns, found.st_size, found.st_ino
