"""An archive on S3: versions, locks, parts, lost answers, and errors that a person understands."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest

from retention.archive import s3_client, s3_write
from retention.archive.marker import MARKER
from retention.archive.s3_store import S3Store
from retention.archive.store import CopyLocked
from retention.archive.verify import verify_archive
from retention.errors import ArchiveFailed

PATH = "crm/a/2026/r/b.parquet"
KEY = f"cold/{PATH}"
SOON = timedelta(days=30)

#: makes an archive in a new bucket: ``make(versions=True)``, ``make(locks=True, lock="governance")``
Make = Callable[..., S3Store]


@pytest.fixture
def make(s3_server: Any) -> Make:
    def one(*, lock: str | None = None, **bucket: bool) -> S3Store:
        store = S3Store(s3_server.bucket(**bucket), "cold", endpoint=s3_server.endpoint, lock=lock)
        store.create()
        return store

    return one


@pytest.fixture
def at(s3_server: Any) -> Callable[[S3Store], tuple[Any, dict[str, str]]]:
    """An operator's client, and the file's place."""
    return lambda store: (s3_server.client(), {"Bucket": store._bucket, "Key": KEY})


@pytest.fixture
def few_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing else is tested, nobody waits."""
    monkeypatch.setattr(s3_client, "ATTEMPTS", 1)


def test_the_digest_is_with_the_object(make: Make, at: Any) -> None:
    store = make()
    store.write(PATH, b"one")
    client, place = at(store)
    found = client.head_object(**place, ChecksumMode="ENABLED")
    assert found["ChecksumSHA256"] == b64encode(sha256(b"one").digest()).decode()


def test_a_large_file_travels_in_parts(make: Make, at: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_write, "PART", 5 << 20)
    content = os.urandom(11 << 20)
    store = make(versions=True)
    store.write(PATH, content)
    assert store.read(PATH) == content
    client, place = at(store)
    assert client.get_object(**place)["ETag"].endswith('-3"')
    with pytest.raises(ArchiveFailed, match="could not be written") as caught:
        store.write(PATH, content[::-1])
    assert caught.value.hint == "What is in an archive is never overwritten."
    assert store.read(PATH) == content
    assert list(store.leftovers()) == []


def test_parts_that_were_not_put_together_are_a_leftover(make: Make, at: Any) -> None:
    store = make()
    client, place = at(store)
    upload = client.create_multipart_upload(**place)["UploadId"]
    client.upload_part(**place, UploadId=upload, PartNumber=1, Body=b"half")
    [left] = store.leftovers("crm/a/2026/r/")
    assert left == f"{PATH}?uploadId={upload}"
    assert list(store.leftovers("crm/b/")) == []
    assert list(store.paths()) == []
    assert not store.exists(PATH)
    assert store.exists(left)
    store.remove(left)
    assert not store.exists(left)
    assert list(store.leftovers()) == []


def test_more_than_a_page_of_files(make: Make, at: Any) -> None:
    store = make()
    client, place = at(store)
    names = [f"crm/{number:04}" for number in range(1005)]
    for name in names:
        client.put_object(Bucket=place["Bucket"], Key=f"cold/{name}", Body=b"")
    client.put_object(Bucket=place["Bucket"], Key="colder/not-ours", Body=b"")
    assert list(store.paths("crm/")) == names


@pytest.mark.parametrize("versions", [False, True])
def test_one_file_is_found_without_a_list_of_its_neighbours(make: Make, versions: bool) -> None:
    store = make(versions=versions)
    store.write(PATH, b"one")
    asked: list[tuple[str, str]] = []

    def note(model: Any, params: dict[str, Any], **_: Any) -> None:
        asked.append((model.name, params["query_string"].get("prefix", "")))

    store._client.meta.events.register("before-call.s3", note)
    assert store.open()
    assert store.exists(PATH) and not store.exists(f"{PATH}.more")
    assert store.read(PATH) == b"one" and store.locked(PATH) is None
    store.remove(PATH)
    listed = {prefix for name, prefix in asked if name.startswith("ListObject")}
    assert listed <= {KEY, f"{KEY}.more", f"cold/{MARKER}"} and asked


# answers that do not come


def test_an_answer_that_was_lost_is_not_a_taken_name(make: Make, s3_server: Any) -> None:
    store = make()
    s3_server.fail("PUT", "b.parquet", 1, "lose")
    store.write(PATH, b"one")
    assert store.read(PATH) == b"one"


@pytest.mark.parametrize("last", [1, 2])
def test_an_upload_whose_last_answer_was_lost(
    make: Make, s3_server: Any, monkeypatch: pytest.MonkeyPatch, last: int
) -> None:
    monkeypatch.setattr(s3_write, "PART", 5 << 20)
    content = os.urandom(6 << 20)
    store = make()
    s3_server.fail("POST", "uploadId=", last, "lose")
    store.write(PATH, content)
    assert store.read(PATH) == content
    assert list(store.leftovers()) == []


@pytest.mark.parametrize("do", ["503 SlowDown", "500 InternalError", "drop"])
def test_what_passes_is_tried_again(make: Make, s3_server: Any, do: str) -> None:
    store = make()
    s3_server.fail("PUT", "b.parquet", 2, do)
    store.write(PATH, b"one")
    s3_server.fail("GET", "b.parquet", 2, do)
    assert store.read(PATH) == b"one"


def test_a_conflicting_write_is_tried_again(make: Make, s3_server: Any) -> None:
    store = make()
    s3_server.fail("PUT", "b.parquet", 2, "409 ConditionalRequestConflict")
    store.write(PATH, b"one")
    assert store.read(PATH) == b"one"


def test_an_answer_that_ends_in_the_middle_is_asked_for_again(make: Make, s3_server: Any) -> None:
    store = make()
    store.write(PATH, bytes(100_000))
    s3_server.fail("GET", "b.parquet", 2, "cut")
    assert store.read(PATH) == bytes(100_000)
    s3_server.fail("GET", "b.parquet", 99, "cut")
    with pytest.raises(ArchiveFailed, match="could not be read: the server does not answer"):
        store.read(PATH)


def test_a_failed_write_leaves_no_parts(
    make: Make, s3_server: Any, monkeypatch: pytest.MonkeyPatch, few_attempts: None
) -> None:
    monkeypatch.setattr(s3_write, "PART", 5 << 20)
    store = make()
    s3_server.fail("PUT", "partNumber=2", 9, "500 InternalError")
    with pytest.raises(ArchiveFailed, match="could not be written: as the test asked \\(InternalError\\)"):
        store.write(PATH, bytes(6 << 20))
    assert list(store.leftovers()) == []
    assert not store.exists(PATH)


# versions


def test_a_version_put_over_the_file_hides_nothing(make: Make, at: Any) -> None:
    store = make(versions=True)
    store.write(PATH, b"one")
    client, place = at(store)
    later = client.put_object(**place, Body=b"forged")["VersionId"]
    client.delete_object(**place)
    assert store.exists(PATH)
    assert store.read(PATH) == b"one"
    shadows = [path for path in store.paths() if path != PATH]
    assert len(shadows) == 2 and f"{PATH}?versionId={later}" in shadows
    assert [finding.path for finding in verify_archive(store, [])] == sorted([PATH, *shadows])
    for path in shadows:
        assert store.exists(path)
        store.remove(path)
        assert not store.exists(path)
    assert list(store.paths()) == [PATH]
    assert client.get_object(**place)["Body"].read() == b"one"


def test_what_is_removed_is_gone_in_every_version(make: Make, at: Any) -> None:
    store = make(versions=True)
    store.write(PATH, b"one")
    store.write(f"{PATH}.more", b"another")
    client, place = at(store)
    client.put_object(**place, Body=b"two")
    client.delete_object(**place)
    store.remove(PATH)
    left = client.list_object_versions(Bucket=place["Bucket"], Prefix="cold/crm/")
    assert [one["Key"] for one in left["Versions"]] == [f"{KEY}.more"]
    assert "DeleteMarkers" not in left
    assert not store.exists(PATH)
    store.write(PATH, b"a new one")
    assert store.read(PATH) == b"a new one"


# locks


def retention_of(client: Any, place: dict[str, str]) -> tuple[str, datetime]:
    found = client.head_object(**place)
    return found["ObjectLockMode"], found["ObjectLockRetainUntilDate"]


@pytest.mark.parametrize("mode", ["governance", "compliance"])
def test_a_locked_file_is_not_removed_and_nobody_pretends(make: Make, at: Any, mode: str) -> None:
    store = make(locks=True, lock=mode)
    store.write(PATH, b"one")
    assert store.locks and store.locked(PATH) is None
    until = (datetime.now(UTC) + SOON).replace(microsecond=0)
    store.lock(PATH, until)
    client, place = at(store)
    assert retention_of(client, place) == (mode.upper(), until)
    assert store.locked(PATH) == f"until {until:%Y-%m-%d %H:%M} UTC ({mode} mode)"
    with pytest.raises(CopyLocked, match=r"b\.parquet cannot be removed: the bucket keeps it until ") as caught:
        store.remove(PATH)
    assert "then run again" in caught.value.hint
    assert store.read(PATH) == b"one"
    assert list(store.paths()) == [PATH]


def test_a_lock_is_never_shortened_and_a_past_one_never_asked_for(make: Make, at: Any) -> None:
    store = make(locks=True, lock="governance")
    store.write(PATH, b"one")
    client, place = at(store)
    store.lock(PATH, datetime.now(UTC) - SOON)
    assert store.locked(PATH) is None
    until = (datetime.now(UTC) + 2 * SOON).replace(microsecond=0)
    client.put_object_retention(**place, Retention={"Mode": "COMPLIANCE", "RetainUntilDate": until})
    store.lock(PATH, until - SOON)
    assert retention_of(client, place) == ("COMPLIANCE", until)
    store.lock(PATH, until + SOON)
    assert retention_of(client, place) == ("COMPLIANCE", until + SOON)


def test_for_ever_is_a_legal_hold(make: Make, at: Any) -> None:
    store = make(locks=True, lock="governance")
    store.write(PATH, b"one")
    store.lock(PATH, None)
    assert store.locked(PATH) == "under a legal hold of its own"
    with pytest.raises(CopyLocked, match="under a legal hold of its own"):
        store.remove(PATH)
    client, place = at(store)
    client.put_object_legal_hold(**place, LegalHold={"Status": "OFF"})
    store.remove(PATH)
    assert not store.exists(PATH)


def test_a_lock_hidden_by_a_delete_marker_still_keeps(make: Make, at: Any) -> None:
    store = make(locks=True, lock="governance")
    store.write(PATH, b"one")
    store.lock(PATH, datetime.now(UTC) + SOON)
    client, place = at(store)
    client.delete_object(**place)
    assert store.locked(PATH) is not None
    with pytest.raises(CopyLocked):
        store.remove(PATH)
    assert store.read(PATH) == b"one"


def test_an_archive_that_is_to_lock_needs_a_bucket_that_can(s3_server: Any) -> None:
    bucket = s3_server.bucket(versions=True)
    S3Store(bucket, "cold", endpoint=s3_server.endpoint).create()
    store = S3Store(bucket, "cold", endpoint=s3_server.endpoint, lock="compliance")
    for use in (store.open, store.create):
        with pytest.raises(ArchiveFailed, match=f"the bucket {bucket} has no Object Lock"):
            use()
    plain = S3Store(bucket, "cold", endpoint=s3_server.endpoint)
    with pytest.raises(ArchiveFailed, match="does not lock its files"):
        plain.lock(PATH, None)


# errors


def test_no_such_bucket(s3_server: Any) -> None:
    store = S3Store("no-such-bucket", "cold", endpoint=s3_server.endpoint)
    for use in (store.open, store.create, lambda: store.ensure(expected=False), lambda: store.exists(PATH)):
        with pytest.raises(ArchiveFailed, match=r"s3://no-such-bucket/.*\(NoSuchBucket\)") as caught:
            use()
        assert "Make the bucket first" in caught.value.hint


def test_no_credentials(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    store = S3Store(store._bucket, "cold", endpoint=store._address[0])
    with pytest.raises(ArchiveFailed, match="there are no credentials for the S3 server") as caught:
        store.open()
    assert "AWS_ACCESS_KEY_ID" in caught.value.hint and "never in retention.yaml" in caught.value.hint


def test_nobody_answers(few_attempts: None, s3_credentials: None) -> None:
    store = S3Store("bucket", "cold", endpoint="http://127.0.0.1:9")
    with pytest.raises(ArchiveFailed, match=r"s3://bucket/cold/.* could not be looked at: the server does not answer"):
        store.open()


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        ("403 AccessDenied", "The archive's user needs s3:GetObject"),
        ("403 InvalidAccessKeyId", "does not know this key"),
        ("403 SignatureDoesNotMatch", "The secret does not belong to the key"),
        ("403 RequestTimeTooSkewed", "clock is off"),
        ("400 ExpiredToken", "sign in anew"),
        ("503 SlowDown", "too busy"),
        ("400 BadDigest", "changed on their way"),
        ("501 NotImplemented", "lacks what an archive needs"),
        ("418 Teapot", "server's own log"),
    ],
)
def test_what_the_server_refuses(make: Make, s3_server: Any, few_attempts: None, answer: str, hint: str) -> None:
    store = make()
    s3_server.fail("PUT", "b.parquet", 99, answer)
    with pytest.raises(
        ArchiveFailed, match=rf"s3://.*/cold/{PATH} could not be written: .*{answer.split()[1]}"
    ) as caught:
        store.write(PATH, b"one")
    assert hint in caught.value.hint
    assert not store.exists(PATH)


def test_a_server_that_overwrites_is_no_place_for_an_archive(
    s3_server: Any, monkeypatch: pytest.MonkeyPatch, few_attempts: None
) -> None:
    store = S3Store(s3_server.bucket(), "cold", endpoint=s3_server.endpoint)
    # such a server does as if the header were not there
    store._client.meta.events.register(
        "before-send.s3.PutObject", lambda request, **_: request.headers.__delitem__("If-None-Match")
    )
    with pytest.raises(ArchiveFailed, match="the server overwrites what is there") as caught:
        store.create()
    assert "conditional writes" in caught.value.hint


def test_a_bucket_that_knows_no_versions(s3_server: Any) -> None:
    store = S3Store(s3_server.bucket(), "cold", endpoint=s3_server.endpoint)
    s3_server.fail("GET", "versioning", 9, "501 NotImplemented")
    store.create()
    store.write(PATH, b"one")
    assert (store.read(PATH), store.locked(PATH), list(store.paths())) == (b"one", None, [PATH])
    assert store.read(MARKER)
