"""An archive in a bucket of S3, or of a server that speaks its language.

Every object is written once, under a name of its own. In a bucket with versions its first version is the file: whatever
came later under that name, a delete marker too, hides it from others but not from us. Such a version is listed as
``path?versionId=...``, so that verification finds it and recovery removes it. A multipart upload that was not completed is
a leftover, ``path?uploadId=...``.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError, IncompleteReadError, ReadTimeoutError, ResponseStreamingError

from retention.archive.marker import MARKER, identity_of, new_marker
from retention.archive.s3_client import ATTEMPTS, code_of, connect, failures
from retention.archive.s3_versions import Versions, list_keys, list_versions
from retention.archive.s3_write import send, write_new
from retention.archive.store import CopyLocked, Store, checked
from retention.errors import ArchiveFailed

if TYPE_CHECKING:
    import pyarrow as pa

_ABSENT = ("404", "NoSuchKey", "NoSuchVersion", "NoSuchUpload")
_METHOD = ("405", "MethodNotAllowed")
#: how servers say that they, or this bucket, know nothing of versions or locks
_UNKNOWN_THERE = ("NotImplemented", "501", *_METHOD, "ObjectLockConfigurationNotFoundError")
_PLACE = "Does `url` of the archive in retention.yaml name the right bucket and prefix?"


class S3Store(Store):
    """The archive below ``prefix`` of a bucket. ``lock`` is the mode in which copies are locked; None: they are not."""

    def __init__(
        self,
        bucket: str,
        prefix: str,
        *,
        endpoint: str | None = None,
        region: str | None = None,
        lock: str | None = None,
    ) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._address = (endpoint, region)
        self._mode = lock

    @cached_property
    def _client(self) -> Any:
        return connect(*self._address)

    @cached_property
    def _versioned(self) -> bool:
        """Whether the bucket keeps versions, as every bucket with Object Lock does."""
        try:
            return "Status" in self._client.get_bucket_versioning(Bucket=self._bucket)
        except ClientError as error:
            if code_of(error) in _UNKNOWN_THERE:
                return False
            raise

    def is_archive(self) -> bool:
        return self.exists(MARKER)

    def open(self) -> str:
        with failures(self._name(), "could not be looked at"):
            self._check_lock()
        if not self.is_archive():
            raise ArchiveFailed(f"{self._name()} is no archive: its marker {MARKER} is not there", hint=_PLACE)
        identity = identity_of(self.read(MARKER))
        if identity is None:
            raise ArchiveFailed(
                f"{self._name(MARKER)} has been changed since it was written",
                hint="Put this one object back from a backup. Records are not affected.",
            )
        return identity

    def create(self) -> str:
        identity, content = new_marker()
        key = self._prefix + MARKER
        with failures(self._name(), "could not be made an archive"):
            self._check_lock()
            if next(self._listed(""), None) is not None:
                raise ArchiveFailed(
                    f"{self._name()} is no archive, and not empty", hint="Name an empty or a new prefix as the archive."
                )
            write_new(self._client, self._bucket, key, memoryview(content))
            try:  # a server that overwrites in spite of the condition would lose what it was given
                send(self._client, self._bucket, key, memoryview(content), uuid.uuid4().hex)
            except ClientError as error:
                if code_of(error) != "PreconditionFailed":
                    raise
                return identity
        raise ArchiveFailed(
            f"{self._name()}: the server overwrites what is there, though it is told not to (If-None-Match)",
            hint="Use a server that knows conditional writes: AWS, or a newer version of this one.",
        )

    def _check_lock(self) -> None:
        if self._mode is None:
            return
        try:
            found = self._client.get_object_lock_configuration(Bucket=self._bucket)["ObjectLockConfiguration"]
        except ClientError as error:
            if code_of(error) not in _UNKNOWN_THERE:
                raise
            found = {}
        if found.get("ObjectLockEnabled") != "Enabled":
            raise ArchiveFailed(
                f"the archive is to lock its copies, and the bucket {self._bucket} has no Object Lock",
                hint="Make a bucket with Object Lock, or take `lock` away from the archive in retention.yaml.",
            )

    def write(self, path: str, data: bytes | memoryview | pa.Buffer) -> None:
        key = self._prefix + checked(path)
        with failures(self._name(path), "could not be written"):
            write_new(self._client, self._bucket, key, memoryview(data).cast("B"))

    def read(self, path: str) -> bytes:
        checked(path)
        with failures(self._name(path), "could not be read"):
            at = self._at(path)
            attempt = 1
            while True:
                body = self._client.get_object(**at)["Body"]
                try:
                    content: bytes = body.read()
                    return content
                except (IncompleteReadError, ReadTimeoutError, ResponseStreamingError):  # cut off in the middle
                    if attempt == ATTEMPTS:
                        raise
                attempt += 1

    def exists(self, path: str) -> bool:
        key, version, upload = self._split(path)
        at = {"Bucket": self._bucket, "Key": key}
        with failures(self._name(path), "could not be looked at"):
            try:
                if upload:
                    self._client.list_parts(**at, UploadId=upload, MaxParts=1)
                else:
                    self._client.head_object(**at, **({"VersionId": version} if version else {}))
                return True
            except ClientError as error:
                if version and code_of(error) in _METHOD:  # a delete marker is there, and has nothing to look at
                    return True
                if code_of(error) not in _ABSENT:
                    raise
            # A bucket that is gone answers the same; a delete marker hides the file. To list this one name tells.
            return not version and not upload and self._versions(key).first is not None

    def paths(self, prefix: str = "") -> Iterator[str]:
        found: list[str] = []
        with failures(self._name(prefix), "could not be listed"):
            for one in self._listed(prefix):
                path = one.key.removeprefix(self._prefix)
                found.extend(f"{path}?versionId={other}" for other in one.others)
                if one.first is not None and path != MARKER:
                    found.append(path)
        return iter(sorted(found))

    def leftovers(self, prefix: str = "") -> Iterator[str]:
        found: list[str] = []
        with failures(self._name(prefix), "could not be listed"):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )
            for one in (upload for page in pages for upload in page.get("Uploads", ())):
                found.append(f"{one['Key'].removeprefix(self._prefix)}?uploadId={one['UploadId']}")
        return iter(sorted(found))

    def remove(self, path: str) -> None:
        key, version, upload = self._split(path)
        at = {"Bucket": self._bucket, "Key": key}
        if not self.exists(path):
            raise ArchiveFailed(f"{self._name(path)} could not be removed: it is not there")
        with failures(self._name(path), "could not be removed"):
            if upload:
                self._client.abort_multipart_upload(**at, UploadId=upload)
            elif not self._versioned:
                self._client.delete_object(**at)
            else:  # by version: a delete without one only hides what is there. The file first: a lock stops all of it
                versions = self._versions(key)
                for one in [version] if version else [versions.first, *versions.others]:
                    if one is not None:
                        self._delete(path, {**at, "VersionId": one})

    def _delete(self, path: str, at: dict[str, str]) -> None:
        try:
            self._client.delete_object(**at)
        except ClientError:
            lock = self.locked(path)
            if lock is None:
                raise
            raise CopyLocked(
                f"{self._name(path)} cannot be removed: the bucket keeps it {lock}",
                hint="Nothing can be done before that is over; then run again.",
            ) from None

    @property
    def locks(self) -> bool:
        return self._mode is not None

    def lock(self, path: str, until: datetime | None) -> None:
        if self._mode is None:
            super().lock(path, until)
            return
        with failures(self._name(path), "could not be locked"):
            at = self._at(path)
            if until is None:
                self._client.put_object_legal_hold(**at, LegalHold={"Status": "ON"})
                return
            found = self._client.head_object(**at)
            # locked longer by a default of the bucket, or before a crash; or it is over by now
            if found.get("ObjectLockRetainUntilDate", datetime.now(UTC)) >= until:
                return
            mode = "COMPLIANCE" if found.get("ObjectLockMode") == "COMPLIANCE" else self._mode.upper()
            self._client.put_object_retention(**at, Retention={"Mode": mode, "RetainUntilDate": until})

    def locked(self, path: str) -> str | None:
        with failures(self._name(path), "could not be looked at"):
            if not self._versioned:
                return None
            try:
                found = self._client.head_object(**self._at(path))
            except ClientError as error:
                if code_of(error) in (*_ABSENT, *_METHOD):
                    return None
                raise
        until = found.get("ObjectLockRetainUntilDate")
        if found.get("ObjectLockLegalHoldStatus") == "ON":
            return "under a legal hold of its own"
        if until is not None and until > datetime.now(UTC):
            return f"until {until.astimezone(UTC):%Y-%m-%d %H:%M} UTC ({found['ObjectLockMode'].lower()} mode)"
        return None

    def _listed(self, prefix: str) -> Iterator[Versions]:
        under = list_versions if self._versioned else list_keys
        return under(self._client, self._bucket, self._prefix + prefix)

    def _versions(self, key: str) -> Versions:
        """The versions of one key: of all that begins with it, it sorts first."""
        found = next(self._listed(key.removeprefix(self._prefix)), None)
        return found if found is not None and found.key == key else Versions(key=key, first=None)

    def _at(self, path: str) -> dict[str, str]:
        """What names the object to the server."""
        key, version, _ = self._split(path)
        if self._versioned and not version:
            version = self._versions(key).first or ""
        return {"Bucket": self._bucket, "Key": key} | ({"VersionId": version} if version else {})

    def _split(self, path: str) -> tuple[str, str, str]:
        """The key, and the version or the upload that ``path`` names beside it."""
        key, _, version = checked(path).partition("?versionId=")
        key, _, upload = key.partition("?uploadId=")
        return self._prefix + key, version, upload

    def _name(self, path: str = "") -> str:
        return f"s3://{self._bucket}/{self._prefix}{path}".rstrip("/")
