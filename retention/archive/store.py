"""Where archive files lie: write once, durably; read back; list; remove.

A path is relative to the archive, with ``/`` between its parts. No path leaves the archive, neither by its text nor
through a symbolic link. What has been written is never overwritten.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from retention.errors import ArchiveFailed, InputError

if TYPE_CHECKING:
    import pyarrow as pa

    from retention.config import ArchiveConfig


class Store(ABC):
    """One archive. Threads may share it. Every method raises ArchiveFailed, naming the path, where it fails."""

    @abstractmethod
    def open(self) -> str:
        """Check that the archive is there and is one of ours; return its id. Changes nothing."""

    @abstractmethod
    def create(self) -> str:
        """Make a new, empty archive; return its id. Refuses a folder that already holds something else."""

    def ensure(self, *, expected: bool) -> str:
        """`open` where records are ``expected`` in it, so that a disk that is not mounted is an error and never an
        empty archive; otherwise `open` what is there or `create` what is not."""
        return self.open() if expected or self.is_archive() else self.create()

    @abstractmethod
    def is_archive(self) -> bool:
        """Whether an archive was made here (it may be damaged: `open` tells)."""

    @abstractmethod
    def write(self, path: str, data: bytes | memoryview | pa.Buffer) -> None:
        """Write a new file. When this returns it survives a power cut; if it raises there is no file of that name,
        unless there was one before, which is then untouched."""

    @abstractmethod
    def read(self, path: str) -> bytes:
        """The whole file."""

    @abstractmethod
    def exists(self, path: str) -> bool:
        """Whether there is a file of that name."""

    @abstractmethod
    def paths(self, prefix: str = "") -> Iterator[str]:
        """Every path that begins with ``prefix``, sorted, without leftovers and the archive's own marker."""

    @abstractmethod
    def leftovers(self, prefix: str = "") -> Iterator[str]:
        """The same for temporary files: of writes under way, or interrupted."""

    @abstractmethod
    def remove(self, path: str) -> None:
        """Remove a file or a leftover. When this returns it stays removed after a power cut."""

    @abstractmethod
    def local_path(self, path: str) -> Path:
        """Where the file lies on this machine, for programs that read it directly."""


def open_store(config: ArchiveConfig) -> Store:
    """The store of an archive of retention.yaml. Touches nothing yet. Raises InputError for a URL it cannot serve."""
    from retention.archive.file_store import FileStore

    scheme, _, rest = config.url.partition(":")
    if scheme == "s3":
        raise InputError(
            f"archive {config.name}: archives on S3 are not available in this version; use file:",
            hint=f'For example  {config.name}: {{url: "file:./archive"}}',
        )
    if rest.startswith("///"):
        rest = rest[2:]
    if scheme != "file" or rest.startswith("//") or not Path(rest).is_absolute():
        raise InputError(
            f"archive {config.name}: its URL names no folder on this machine",
            hint=f'For example  {config.name}: {{url: "file:./archive"}}',
        )
    return FileStore(Path(rest))


def checked(path: str) -> str:
    """The path itself, if its text stays inside an archive. Raises ArchiveFailed."""
    if "\\" in path or "\0" in path or any(part in ("", ".", "..") for part in path.split("/")):
        raise ArchiveFailed(
            f"{path!r} is not a path inside an archive",
            hint="Whatever names such a path has been changed by hand: run `retention audit verify`.",
        )
    return path
