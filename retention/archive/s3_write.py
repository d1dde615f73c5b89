"""Writing one object to S3: conditionally, with its SHA-256, in parts where it is large."""

from __future__ import annotations

import random
import time
import uuid
from base64 import b64encode
from contextlib import suppress
from hashlib import sha256
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from retention.archive.s3_client import ATTEMPTS, code_of
from retention.failpoint import failpoint

#: larger objects travel in parts of this many bytes
PART = 16 << 20
#: the metadata that tells our own write from another's, where an answer was lost
_TOKEN = "retention-write"


def write_new(client: Any, bucket: str, key: str, data: memoryview) -> None:
    """Write an object whose name is not taken. Where no answer tells whether it was written, the object itself does, by
    its token. Raises what the client raises, PreconditionFailed among it where the name is taken.

    An object that the server finished after its answer was given up is litter under the run's folder, as after a crash.
    """
    token = uuid.uuid4().hex
    for attempt in range(1, ATTEMPTS + 1):
        try:
            send(client, bucket, key, data, token)
            return
        except (ClientError, BotoCoreError) as error:
            if _is_ours(client, bucket, key, token):  # the client's own retry met what its lost attempt had written
                return
            if code_of(error) != "ConditionalRequestConflict" or attempt == ATTEMPTS:
                raise
        time.sleep(random.uniform(0.5, 1.0) * 0.1 * 2**attempt)


def send(client: Any, bucket: str, key: str, data: memoryview, token: str) -> None:
    """One attempt, whose object carries ``token``."""
    if len(data) > PART:
        _send_parts(client, {"Bucket": bucket, "Key": key}, data, token)
        return
    client.put_object(
        Bucket=bucket,
        Key=key,
        Body=bytes(data),
        ChecksumAlgorithm="SHA256",
        ChecksumSHA256=_digest(data),  # the server refuses bytes that do not have it
        IfNoneMatch="*",
        Metadata={_TOKEN: token},
    )


def _send_parts(client: Any, at: dict[str, str], data: memoryview, token: str) -> None:
    begun = client.create_multipart_upload(**at, ChecksumAlgorithm="SHA256", Metadata={_TOKEN: token})
    upload = {**at, "UploadId": begun["UploadId"]}
    try:
        parts = []
        for number, start in enumerate(range(0, len(data), PART), 1):
            piece = data[start : start + PART]
            digest = _digest(piece)
            sent = client.upload_part(
                **upload, PartNumber=number, Body=bytes(piece), ChecksumAlgorithm="SHA256", ChecksumSHA256=digest
            )
            parts.append({"PartNumber": number, "ETag": sent["ETag"], "ChecksumSHA256": digest})
            failpoint("s3.part-sent")
        client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts}, IfNoneMatch="*")
    except BaseException:
        with suppress(ClientError, BotoCoreError):  # else it is a leftover, which recovery finds
            client.abort_multipart_upload(**upload)
        raise


def _is_ours(client: Any, bucket: str, key: str, token: str) -> bool:
    try:
        found = client.head_object(Bucket=bucket, Key=key)
    except (ClientError, BotoCoreError):  # nobody can tell: the first error stands
        return False
    return bool(found.get("Metadata", {}).get(_TOKEN) == token)


def _digest(data: memoryview) -> str:
    return b64encode(sha256(data).digest()).decode()
