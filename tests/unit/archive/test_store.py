from __future__ import annotations

import errno
import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from retention.archive.file_store import FileStore
from retention.archive.marker import MARKER
from retention.archive.s3_store import S3Store
from retention.archive.store import open_store
from retention.config import ArchiveConfig
from retention.errors import ArchiveFailed, InputError


def test_files_are_read_only_and_nothing_is_left_over(store: FileStore) -> None:
    store.write("a/b", b"one")
    assert stat.S_IMODE(store.local_path("a/b").stat().st_mode) == 0o440
    assert store.local_path("a/b").stat().st_nlink == 1
    assert list(store.leftovers()) == []


def test_nothing_is_overwritten(store: FileStore) -> None:
    store.write("a/b", b"one")
    with pytest.raises(ArchiveFailed, match="a/b could not be written: File exists") as caught:
        store.write("a/b", b"two")
    assert caught.value.hint == "What is in an archive is never overwritten."
    assert store.read("a/b") == b"one"
    assert list(store.leftovers()) == []


def test_the_order_that_makes_a_write_durable(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The content before its name, each new folder's entry, the name last: power may fail between any two."""
    steps: list[str] = []
    fsync, link = os.fsync, os.link

    def spy_fsync(descriptor: int) -> None:
        steps.append("fsync " + Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    def spy_link(source: Path, target: Path) -> None:
        steps.append(f"link {target.name}")
        link(source, target)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(os, "link", spy_link)
    store.write("a/b/file", b"x")
    assert steps[:2] == ["fsync archive", "fsync a"]
    assert steps[2].startswith("fsync .")
    assert steps[3:] == ["link file", "fsync b"]
    steps.clear()
    store.write("a/b/next", b"x")
    assert [step for step in steps if not step.startswith("fsync .")] == ["link next", "fsync b"]


def test_no_path_leaves_the_archive_through_a_link(store: FileStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("x")
    (store.root / "away").symlink_to(outside)
    (store.root / "file").symlink_to(outside / "secret")
    for use in (store.read, store.remove, lambda path: store.write(path, b"")):
        with pytest.raises(ArchiveFailed, match="lies outside the archive"):
            use("away/secret")
    with pytest.raises(ArchiveFailed, match="could not be read") as caught:
        store.read("file")
    assert "not links" in caught.value.hint
    assert not store.exists("file")
    with pytest.raises(ArchiveFailed, match="could not be written"):
        store.write("file", b"y")
    assert (outside / "secret").read_text() == "x"
    assert list(store.paths()) == ["away", "file"]
    store.remove("file")
    assert (outside / "secret").exists()


def test_the_archive_itself_may_be_behind_a_link(store: FileStore, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(store.root)
    linked = FileStore(tmp_path / "link")
    linked.write("a/b", b"x")
    assert store.read("a/b") == b"x"
    assert list(linked.paths()) == ["a/b"]


def test_a_pipe_or_folder_in_the_place_of_a_file(store: FileStore) -> None:
    os.mkfifo(store.root / "pipe")
    (store.root / "folder").mkdir()
    for path in ("pipe", "folder"):
        with pytest.raises(ArchiveFailed):
            store.read(path)
        assert not store.exists(path)
    assert list(store.paths()) == ["pipe"]


FAILURES = [
    (errno.ENOSPC, "make room"),
    (errno.EROFS, "read-only"),
    (errno.EACCES, "owner and mode"),
    (errno.EPERM, "hard links"),
    (errno.EIO, "system's log"),
]


@pytest.mark.parametrize(("number", "hint"), FAILURES)
@pytest.mark.parametrize("function", ["fsync", "link", "fchmod"])
def test_a_failed_write_leaves_nothing(
    store: FileStore, monkeypatch: pytest.MonkeyPatch, number: int, hint: str, function: str
) -> None:
    store.write("a/before", b"")

    def fail(*arguments: Any) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, function, fail)
        with pytest.raises(ArchiveFailed, match=r"a/b could not be written: ") as caught:
            store.write("a/b", b"x")
    assert hint in caught.value.hint
    assert str(store.root / "a/b") in caught.value.message
    assert list(store.paths()) == ["a/before"]
    assert list(store.leftovers()) == []


def test_a_name_that_may_not_last_is_taken_back(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file has its name, but the folder cannot be written to disk: then the write has failed, and left nothing."""
    store.write("a/before", b"")
    fsync = os.fsync

    def fail(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(ArchiveFailed, match="a/b could not be written"):
            store.write("a/b", b"x")
    assert list(store.paths()) == ["a/before"]


def test_leftovers_are_listed_apart_and_can_be_removed(store: FileStore) -> None:
    store.write("a/b", b"x")
    (store.root / "a/.0123.part").write_bytes(b"half")
    assert list(store.paths()) == ["a/b"]
    assert list(store.leftovers("a/")) == ["a/.0123.part"]
    assert list(store.leftovers("b/")) == []
    store.remove("a/.0123.part")
    assert list(store.leftovers()) == []


def test_a_new_archive_is_made_once(tmp_path: Path) -> None:
    root = tmp_path / "deep" / "archive"
    first = FileStore(root)
    assert not first.is_archive()
    identity = first.ensure(expected=False)
    assert FileStore(root).ensure(expected=False) == identity
    assert FileStore(root).ensure(expected=True) == identity
    assert json.loads((root / MARKER).read_text())["archive"] == identity
    assert list(first.paths()) == []


def test_an_archive_that_vanished_is_an_error_and_not_a_new_archive(store: FileStore) -> None:
    (store.root / MARKER).unlink()
    for use in (lambda: store.ensure(expected=True), store.open, lambda: store.write("a/b", b"x")):
        with pytest.raises(
            ArchiveFailed, match=r"is no archive: its marker retention-archive\.json is not there"
        ) as caught:
            use()
        assert "mounted" in caught.value.hint
    store.root.rmdir()
    for use in (lambda: store.ensure(expected=True), store.open):
        with pytest.raises(ArchiveFailed, match=r"the archive's folder .* is not there"):
            use()
    with pytest.raises(ArchiveFailed, match="is no archive"):
        store.write("a/b", b"x")
    with pytest.raises(ArchiveFailed, match="could not be listed: No such file or directory"):
        list(store.paths())
    assert not store.root.exists()


def test_a_folder_with_something_else_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "homework").touch()
    with pytest.raises(ArchiveFailed, match="is no archive, and not empty"):
        FileStore(tmp_path).ensure(expected=False)


def test_a_root_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ArchiveFailed, match="could not be made"):
        FileStore(tmp_path / "file").create()
    with pytest.raises(ArchiveFailed, match="could not be made: Not a directory"):
        FileStore(tmp_path / "file" / "archive").create()


def test_every_changed_byte_of_the_marker_is_found(store: FileStore) -> None:
    marker = store.root / MARKER
    content = marker.read_bytes()
    marker.chmod(0o600)
    for at in range(len(content)):
        for bit in (1, 0x20):
            marker.write_bytes(content[:at] + bytes([content[at] ^ bit]) + content[at + 1 :])
            with pytest.raises(ArchiveFailed, match="has been changed since it was written"):
                store.open()
    for damaged in (b"", b"[]", b"{}", content[:-1], content + b"\n"):
        marker.write_bytes(damaged)
        with pytest.raises(ArchiveFailed, match="has been changed since it was written"):
            store.open()


@pytest.mark.parametrize("url", ["file:/srv/archive", "file:///srv/archive"])
def test_file_urls(url: str) -> None:
    opened = open_store(ArchiveConfig(name="cold", url=url))
    assert isinstance(opened, FileStore)
    assert opened.root == Path("/srv/archive")


@pytest.mark.parametrize("url", ["s3://bucket", "s3://bucket/", "s3://bucket/prefix", "s3://bucket/deep/prefix/"])
def test_s3_urls(url: str) -> None:
    assert isinstance(open_store(ArchiveConfig(name="cold", url=url)), S3Store)


@pytest.mark.parametrize(
    "url", ["s3:bucket", "s3://", "s3://Bucket/x", "s3://bucket/../x", "s3://bucket//x", "s3://bucket/x?y=1"]
)
def test_s3_urls_that_name_no_bucket(url: str) -> None:
    with pytest.raises(InputError, match="archive cold: the URL names no bucket and prefix"):
        open_store(ArchiveConfig(name="cold", url=url))


def test_s3_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("botocore", "retention.archive.s3"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "botocore", None)
    with pytest.raises(InputError, match="archive cold is on S3, and the package for that is not installed") as caught:
        open_store(ArchiveConfig(name="cold", url="s3://bucket/prefix"))
    assert "pip install 'retention[s3]'" in caught.value.hint


@pytest.mark.parametrize("url", ["", "/srv/archive", "file:", "file:archive", "file://host/x", "ftp://host/x"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(InputError, match="archive cold: its URL names no folder on this machine, and no bucket"):
        open_store(ArchiveConfig(name="cold", url=url))
