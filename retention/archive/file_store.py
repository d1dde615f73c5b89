"""An archive in a folder.

`retention-archive.json` at its root marks the folder as an archive. It is what tells an empty mount point from an
archive, so nothing is ever written below a root that has lost it.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from retention.archive.marker import MARKER, identity_of, new_marker
from retention.archive.store import Store, checked
from retention.errors import ArchiveFailed
from retention.failpoint import failpoint

if TYPE_CHECKING:
    import pyarrow as pa

_MOUNT = "Is its disk mounted, and does `archives:` in retention.yaml name the right folder?"
_HINTS = {
    errno.ENOSPC: "The disk is full: make room, then run the command again.",
    errno.EDQUOT: "The disk quota is used up: make room, then run the command again.",
    errno.EROFS: "The file system is mounted read-only: mount it writable, then run the command again.",
    errno.EACCES: "This user may not do that there: check the owner and mode of the archive's folders.",
    errno.EPERM: "The file system refuses that. An archive needs one with hard links, such as ext4, XFS or APFS.",
    errno.EOPNOTSUPP: "The file system refuses that. An archive needs one with hard links, such as ext4, XFS or APFS.",
    errno.ENOENT: _MOUNT,
    errno.ENOTDIR: _MOUNT,
    errno.EEXIST: "What is in an archive is never overwritten.",
    errno.ELOOP: "Files of an archive are not links: put the file itself back in its place.",
}


class FileStore(Store):
    """The archive in the folder ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        #: folders whose own entry is known to be on disk
        self._durable: set[Path] = set()

    def is_archive(self) -> bool:
        return self.exists(MARKER)

    def open(self) -> str:
        if not self.root.is_dir():
            raise ArchiveFailed(f"the archive's folder {self.root} is not there", hint=_MOUNT)
        if not self.is_archive():
            raise ArchiveFailed(f"{self.root} is no archive: its marker {MARKER} is not there", hint=_MOUNT)
        identity = identity_of(self.read(MARKER))
        if identity is None:
            raise ArchiveFailed(
                f"{self.root / MARKER} has been changed since it was written",
                hint="Put this one file back from a backup. Records are not affected.",
            )
        return identity

    def create(self) -> str:
        made = [folder for folder in (self.root, *self.root.parents) if not folder.exists()]
        with _failures(self.root, "could not be made"):
            self.root.mkdir(parents=True, exist_ok=True)
            if any(
                not _is_temporary(each.name) for each in self.root.iterdir()
            ):  # another process may be making it too
                raise ArchiveFailed(
                    f"{self.root} is no archive, and not empty", hint="Name an empty or a new folder as the archive."
                )
            for folder in made:
                _sync_folder(folder.parent)
        identity, content = new_marker()
        self._put(self.root / MARKER, content)
        # what was left by a process that was killed while it made this very archive; whoever makes it beside us has lost
        for left in [path for path in self.leftovers() if "/" not in path]:
            (self.root / left).unlink(missing_ok=True)
        return identity

    def write(self, path: str, data: bytes | memoryview | pa.Buffer) -> None:
        if not self.is_archive():  # else a disk that went away would be replaced by a folder on its mount point
            raise ArchiveFailed(f"{self.root} is no archive: its marker {MARKER} is not there", hint=_MOUNT)
        target = self.local_path(path)
        with _failures(target, "could not be written"):
            self._make_folder(target.parent)
        self._put(target, data)

    def _make_folder(self, folder: Path) -> None:
        """Make it and those above it, each durably: a file is only as safe as the folders that lead to it. A folder
        that was there already may be another process's, made a moment ago and not on disk yet."""
        if folder == self.root or folder in self._durable:
            return
        self._make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)
        self._durable.add(folder)

    def _put(self, target: Path, data: bytes | memoryview | pa.Buffer) -> None:
        temporary = target.with_name(f".{uuid.uuid4().hex}.part")
        with _failures(target, "could not be written"):
            try:
                failpoint("store.write", OSError)
                with temporary.open("xb") as file:
                    file.write(data)
                    failpoint("store.written", OSError)
                    file.flush()
                    os.fchmod(file.fileno(), 0o440)
                    os.fsync(file.fileno())
                failpoint("store.synced", OSError)
                # a link, and not a rename: it refuses where the name is taken. The content is on disk before it
                # has its name, so a name never stands for half a file.
                os.link(temporary, target)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            try:
                failpoint("store.named", OSError)
                temporary.unlink(missing_ok=True)  # another process may have tidied up
                _sync_folder(target.parent)
                failpoint("store.durable", OSError)
            except BaseException:
                temporary.unlink(missing_ok=True)
                target.unlink(missing_ok=True)  # safe: the link above made this name, it was nobody else's
                raise

    def read(self, path: str) -> bytes:
        target = self.local_path(path)
        with _failures(target, "could not be read"), open(target, "rb", opener=_open_no_link) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ArchiveFailed(f"{target} is not a file")
            return file.read()

    def exists(self, path: str) -> bool:
        target = self.local_path(path)
        with _failures(target, "could not be looked at"):
            try:
                return stat.S_ISREG(target.lstat().st_mode)
            except (FileNotFoundError, NotADirectoryError):
                return False

    def paths(self, prefix: str = "") -> Iterator[str]:
        return (path for path in self._files(prefix) if not _is_temporary(path) and path != MARKER)

    def leftovers(self, prefix: str = "") -> Iterator[str]:
        return filter(_is_temporary, self._files(prefix))

    def _files(self, prefix: str) -> Iterator[str]:
        """Everything that is not a folder, sorted. Links to folders are named, not followed: no archive has any."""
        folder = prefix.rpartition("/")[0]
        top = self.local_path(folder) if folder else self.root
        if folder and not top.is_dir():
            return iter(())
        with _failures(top, "could not be listed"):
            found = [
                Path(parent, name).relative_to(self.root).as_posix()
                for parent, folders, files in os.walk(top, onerror=_raise)
                for name in (*files, *(each for each in folders if Path(parent, each).is_symlink()))
            ]
        return iter(sorted(path for path in found if path.startswith(prefix)))

    def remove(self, path: str) -> None:
        target = self.local_path(path)
        with _failures(target, "could not be removed"):
            failpoint("store.remove", OSError)
            target.unlink()
            _sync_folder(target.parent)
            failpoint("store.removed", OSError)

    def room(self) -> int | None:
        with _failures(self.root, "could not be looked at"):
            return shutil.disk_usage(self._standing()).free

    def unwritable(self) -> str | None:
        folder = self._standing()
        if os.access(folder, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
            return None
        return f"user {os.geteuid()} may not write in {folder}"

    def _standing(self) -> Path:
        """The archive's folder, or, while there is none, the nearest one above in which it would be made."""
        return next(folder for folder in (self.root, *self.root.parents) if folder.is_dir())

    def local_path(self, path: str) -> Path:
        target = self.root / checked(path)
        real = Path(os.path.realpath(target.parent))
        if not real.is_relative_to(os.path.realpath(self.root)):
            raise ArchiveFailed(
                f"{target} lies outside the archive {self.root}",
                hint="A symbolic link in the archive leads out of it: put a real folder in its place.",
            )
        return target


def _is_temporary(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name.startswith(".") and name.endswith(".part")


def _open_no_link(path: str, flags: int) -> int:
    # O_NONBLOCK: a pipe put in a file's place must not stop the reader for ever
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _raise(error: OSError) -> None:
    raise error


@contextmanager
def _failures(path: Path, what: str) -> Iterator[None]:
    """Say for a person what the system says in numbers."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise ArchiveFailed(
            f"{path} {what}: {reason}", hint=_HINTS.get(error.errno or 0, "See the system's log for this disk.")
        ) from error
