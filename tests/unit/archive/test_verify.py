from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pytest

from retention.archive.data_file import encode
from retention.archive.file_store import MARKER, FileStore
from retention.archive.manifest import BatchFacts
from retention.archive.verify import UNKNOWN, Expected, Finding, verify_archive, verify_batch
from retention.archive.write import Part, Written, write_batch

ExpectedOf = Callable[[Written], Expected]


@pytest.fixture
def written(store: FileStore, parts: list[Part], facts: BatchFacts) -> Written:
    return write_batch(store, parts, facts)


@pytest.fixture
def expected(written: Written, expected_of: ExpectedOf) -> Expected:
    return expected_of(written)


def overwrite(store: FileStore, path: str, content: bytes) -> None:
    store.local_path(path).chmod(0o600)
    store.local_path(path).write_bytes(content)


def test_an_untouched_archive(store: FileStore, expected: Expected) -> None:
    assert list(verify_archive(store, [expected])) == []


class Flipped(FileStore):
    """One byte of one file reads otherwise."""

    def __init__(self, root: Path, path: str, at: int, mask: int) -> None:
        super().__init__(root)
        self.flip = (path, at, mask)

    def read(self, path: str) -> bytes:
        content = super().read(path)
        where, at, mask = self.flip
        return content if path != where else content[:at] + bytes([content[at] ^ mask]) + content[at + 1 :]


@pytest.mark.parametrize("suffix", ["b-1.parquet", "b-1.json"])
def test_every_flipped_byte_is_found(store: FileStore, expected: Expected, suffix: str) -> None:
    path = f"crm/activities/2026/run-1/{suffix}"
    size = len(store.read(path))
    assert size > 500
    for at in range(size):
        flipped = Flipped(store.root, path, at, 1 << at % 8)
        assert [finding.path for finding in verify_batch(flipped, expected)] == [path], f"byte {at}"


def test_a_flipped_byte_on_the_disk(store: FileStore, expected: Expected) -> None:
    for path in (expected.manifest_path, *(file.path for file in expected.files)):
        content = store.read(path)
        overwrite(store, path, content[:-9] + bytes([content[-9] ^ 4]) + content[-8:])
        (finding,) = verify_archive(store, [expected])
        assert str(finding).startswith(f"{path} does not verify: it has been changed since it was written")
        overwrite(store, path, content)
    assert list(verify_archive(store, [expected])) == []


def test_truncated_removed_added_and_left_over(store: FileStore, expected: Expected) -> None:
    root, dependent = expected.files
    overwrite(store, root.path, store.read(root.path)[:-1])
    store.remove(dependent.path)
    store.write("crm/activities/2026/run-1/extra.parquet", b"x")
    (store.root / "crm/.x.part").touch()
    (store.root / "link").symlink_to("/etc")
    (store.root / "odd\udcff").touch()
    assert list(verify_archive(store, [expected])) == [
        Finding(
            path=root.path,
            what=f"does not verify: it has been changed since it was written: its SHA-256 is not {root.sha256}",
        ),
        Finding(path=dependent.path, what="does not verify: it is missing"),
        Finding(path="crm/.x.part", what="is left over from a write that was interrupted"),
        Finding(
            path="crm/activities/2026/run-1/extra.parquet",
            what=UNKNOWN,
        ),
        Finding(path="link", what=UNKNOWN),
        Finding(path="odd\\udcff", what=UNKNOWN),
    ]


def test_a_missing_manifest(store: FileStore, expected: Expected) -> None:
    store.remove(expected.manifest_path)
    assert list(verify_archive(store, [expected])) == [
        Finding(path=expected.manifest_path, what="does not verify: it is missing")
    ]


def test_swapped_files(
    store: FileStore,
    written: Written,
    parts: list[Part],
    facts: BatchFacts,
    another: Callable[[BatchFacts, int], BatchFacts],
    expected_of: ExpectedOf,
) -> None:
    other = write_batch(store, [dataclasses.replace(parts[0], rows=parts[0].rows.slice(1))], another(facts, 2))
    known = [expected_of(written), expected_of(other)]
    assert list(verify_archive(store, known)) == []
    for one, two in (
        (written.files[0].path, other.files[0].path),
        (written.manifest_path, other.manifest_path),
        (written.files[0].path, written.files[1].path),
    ):
        contents = store.read(one), store.read(two)
        overwrite(store, one, contents[1])
        overwrite(store, two, contents[0])
        assert sorted(finding.path for finding in verify_archive(store, known)) == sorted([one, two])
        overwrite(store, one, contents[0])
        overwrite(store, two, contents[1])
    assert list(verify_archive(store, known)) == []


def test_an_archive_that_lost_its_marker_or_its_folder(store: FileStore, expected: Expected) -> None:
    store.local_path(MARKER).unlink()
    (finding,) = verify_archive(store, [expected])
    assert str(finding).startswith("the archive cannot be relied on: ")
    store.root.rename(store.root.with_name("elsewhere"))
    findings: Iterator[Finding] = verify_archive(store, [expected])
    assert "is not there" in next(findings).what
    assert next(findings).what.startswith("cannot be searched for files that nobody knows: ")
    assert [finding.what for finding in findings] == ["does not verify: it is missing"] * 3


def with_file(expected: Expected, **changes: object) -> Expected:
    first, *others = expected.files
    return dataclasses.replace(expected, files=(dataclasses.replace(first, **changes), *others))


def test_rows_that_were_exchanged_under_a_digest_that_fits(
    store: FileStore, parts: list[Part], expected: Expected
) -> None:
    """Somebody who also rewrote the file's digest still meets the Merkle root, which the ledger holds."""
    rows = parts[0].rows.set_column(0, "id", pa.array([1, 2, 3, 5], pa.int64()))
    data = bytes(encode(rows, {}))
    path = expected.files[0].path
    overwrite(store, path, data)
    found = verify_batch(store, with_file(expected, sha256=sha256(data).hexdigest()))
    assert [str(finding) for finding in found] == [
        f"{path} holds other rows than were archived: their Merkle root is not {expected.files[0].merkle_root}",
        f"{path} is described otherwise by its manifest than by the control database",
    ]


def test_a_file_that_is_no_parquet_under_a_digest_that_fits(store: FileStore, expected: Expected) -> None:
    overwrite(store, expected.files[0].path, b"PAR1")
    (finding,) = verify_batch(store, with_file(expected, sha256=sha256(b"PAR1").hexdigest()))
    assert "it is not a readable Parquet file" in finding.what


def test_columns_that_the_manifest_does_not_name(store: FileStore, parts: list[Part], expected: Expected) -> None:
    data = bytes(encode(parts[0].rows.rename_columns(["id", "deed", "amount", "at"]), {}))
    overwrite(store, expected.files[0].path, data)
    found = verify_batch(store, with_file(expected, sha256=sha256(data).hexdigest()))
    assert "has other columns than its manifest says" in [finding.what for finding in found]


def test_counts_and_roots_of_the_control_database_are_compared(store: FileStore, expected: Expected) -> None:
    said = [finding.what for finding in verify_batch(store, with_file(expected, rows=5))]
    assert said == ["holds 4 rows, not 5", "is described otherwise by its manifest than by the control database"]
    said = [finding.what for finding in verify_batch(store, with_file(expected, merkle_root="00" * 32))]
    assert said == [
        f"holds other rows than were archived: their Merkle root is not {'00' * 32}",
        "is described otherwise by its manifest than by the control database",
    ]


def test_manifest_and_control_database_must_name_the_same(store: FileStore, expected: Expected) -> None:
    without = dataclasses.replace(expected, files=expected.files[:1])
    dependent = expected.files[1]
    assert list(verify_archive(store, [without])) == [
        Finding(path=expected.manifest_path, what=f"names {dependent.path}, which the control database does not know"),
        Finding(path=dependent.path, what=UNKNOWN),
    ]
    copy = dependent.path.replace("comments", "copies")
    store.write(copy, store.read(dependent.path))
    more = dataclasses.replace(expected, files=(*expected.files, dataclasses.replace(dependent, path=copy)))
    assert list(verify_archive(store, [more])) == [
        Finding(path=expected.manifest_path, what=f"does not name {copy}, which the control database knows")
    ]
    assert [finding.what for finding in verify_batch(store, dataclasses.replace(expected, batch_id="b-9"))] == [
        "is the manifest of batch b-1, not of b-9"
    ]


def test_a_manifest_of_another_form_under_a_digest_that_fits(store: FileStore, expected: Expected) -> None:
    content = store.read(expected.manifest_path).replace(b'"retention manifest": 1', b'"retention manifest": 9')
    overwrite(store, expected.manifest_path, content)
    changed = dataclasses.replace(expected, manifest_sha256=sha256(content).hexdigest())
    (finding,) = verify_batch(store, changed)
    assert "it is a manifest of version 9" in finding.what


def test_expected_is_taken_after_the_archive_was_listed(
    store: FileStore, parts: list[Part], facts: BatchFacts, expected_of: ExpectedOf
) -> None:
    """A batch committed while verification begins is verified, and no stranger."""

    def known() -> Iterator[Expected]:
        yield expected_of(write_batch(store, parts, facts))

    assert list(verify_archive(store, known())) == []


def test_a_path_that_leads_out_is_a_finding(store: FileStore, expected: Expected) -> None:
    away = with_file(expected, path="../outside")
    said = [finding.what for finding in verify_batch(store, away) if finding.path == "../outside"]
    assert said == ["does not verify: '../outside' is not a path inside an archive"]
