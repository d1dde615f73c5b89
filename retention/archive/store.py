"""Where archive files lie: write once, durably; read back; list; remove.

A path is relative to the archive, with ``/`` between its parts. No path leaves the archive, neither by its text nor
through a symbolic link. What has been written is never overwritten.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from retention.errors import ArchiveFailed, InputError
from retention.url import UrlError, bucket_and_prefix

if TYPE_CHECKING:
    import pyarrow as pa

    from retention.config import ArchiveConfig


class CopyLocked(ArchiveFailed):
    """The archive itself keeps the file from being removed (Object Lock); nothing was removed."""


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
        if expected or self.is_archive():
            return self.open()
        try:
            return self.create()
        except ArchiveFailed:
            if not self.is_archive():
                raise
            return self.open()  # another process made it in the same moment

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
        """Remove a file or a leftover. When this returns it stays removed after a power cut. Raises CopyLocked where
        the archive's own lock keeps it."""

    def room(self) -> int | None:
        """Free bytes for more files; None where that cannot be told."""
        return None

    def unwritable(self) -> str | None:
        """Why nothing could be written there, as a sentence; None: nothing speaks against it. Tries nothing."""
        return None

    @property
    def locks(self) -> bool:
        """Whether files are to be locked against removal once their records are deleted; folders cannot do that."""
        return False

    def lock(self, path: str, until: datetime | None) -> None:
        """Let nobody remove the file before this instant; None: until somebody with the right to do so lets it go. A lock
        is never shortened."""
        raise ArchiveFailed(f"{path} cannot be locked: this archive does not lock its files")

    def locked(self, path: str) -> str | None:
        """What keeps the file from being removed now, as the end of a sentence (``until 2028-10-31 ...``); None: nothing."""
        return None


def open_store(config: ArchiveConfig) -> Store:
    """The store of an archive of retention.yaml. Touches nothing yet. Raises InputError for a URL it cannot serve."""
    scheme, _, rest = config.url.partition(":")
    if scheme == "s3":
        return _open_s3(config)
    if rest.startswith("///"):
        rest = rest[2:]
    if scheme != "file" or rest.startswith("//") or not Path(rest).is_absolute():
        raise InputError(
            f"archive {config.name}: its URL names no folder on this machine, and no bucket",
            hint=f'For example  {config.name}: {{url: "file:./archive"}}  or  {config.name}: {{url: "s3://bucket/prefix"}}',
        )
    from retention.archive.file_store import FileStore

    return FileStore(Path(rest))


def _open_s3(config: ArchiveConfig) -> Store:
    try:
        from retention.archive.s3_store import S3Store
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.partition(".")[0] != "botocore":
            raise
        raise InputError(
            f"archive {config.name} is on S3, and the package for that is not installed here",
            hint="Install it: pip install 'retention[s3]'",
        ) from None
    try:
        bucket, prefix = bucket_and_prefix(config.url)
    except UrlError as error:
        raise InputError(f"archive {config.name}: {error.message}", hint=error.remedy) from None
    return S3Store(bucket, prefix, endpoint=config.endpoint, region=config.region, lock=config.lock)


def checked(path: str) -> str:
    """The path itself, if its text stays inside an archive. Raises ArchiveFailed."""
    if "\\" in path or "\0" in path or any(part in ("", ".", "..") for part in path.split("/")):
        raise ArchiveFailed(
            f"{path!r} is not a path inside an archive",
            hint="Whatever names such a path has been changed by hand: run `retention audit verify`.",
        )
    return path
