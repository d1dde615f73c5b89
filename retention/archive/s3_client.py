"""The client of an S3 server, and its errors said for a person.

Credentials come from where every program of AWS finds them: the environment, ~/.aws, the machine's own role. What can pass
(no answer, 5xx, "slow down") is tried again with growing pauses by the client itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    SSLError,
)

from retention.errors import ArchiveFailed
from retention.url import redact

#: of one request, with pauses of up to 1, 2, 4, 8 and 16 seconds between them
ATTEMPTS = 6

#: what the operator must grant; said wherever the server refuses
RIGHTS = (
    "s3:GetObject, s3:PutObject, s3:DeleteObject, s3:ListBucket, s3:GetBucketVersioning, s3:AbortMultipartUpload, "
    "s3:ListBucketMultipartUploads, s3:ListMultipartUploadParts; where the bucket has versions s3:ListBucketVersions, "
    "s3:GetObjectVersion, s3:DeleteObjectVersion; with `lock:` s3:GetBucketObjectLockConfiguration, "
    "s3:GetObjectRetention, s3:PutObjectRetention, s3:GetObjectLegalHold, s3:PutObjectLegalHold"
)
_DENIED = f"These credentials may not do that. The archive's user needs {RIGHTS}."
_CREDENTIALS = (
    "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY where the commands run, or a profile in ~/.aws and AWS_PROFILE; "
    "never in retention.yaml."
)
_AWAY = "Can it be reached from here? Its address is `endpoint` of the archive, or AWS's own. Then run again."
_REGION = "The bucket is in another region: set `region` of the archive in retention.yaml."
_CLOCK = "This machine's clock is off: set it (NTP), then run again."
_BUSY = "The server was too busy, again and again: run again later."
_BUCKET = "Make the bucket first, or correct the `url` of the archive in retention.yaml."
_HINTS = {
    "AccessDenied": _DENIED,
    "AllAccessDisabled": _DENIED,
    "403": f"The server does not say why: wrong credentials, a clock that is off, or missing rights. {_DENIED}",
    "InvalidAccessKeyId": f"The server does not know this key. {_CREDENTIALS}",
    "SignatureDoesNotMatch": f"The secret does not belong to the key. {_CREDENTIALS}",
    "InvalidToken": f"The session's token is not valid. {_CREDENTIALS}",
    "ExpiredToken": f"The session's token has expired: sign in anew. {_CREDENTIALS}",
    "RequestTimeTooSkewed": _CLOCK,
    "RequestExpired": _CLOCK,
    "NoSuchBucket": _BUCKET,
    "InvalidBucketName": _BUCKET,
    "PermanentRedirect": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "301": _REGION,
    "400": f"{_REGION} Or the session's token has expired.",
    "SlowDown": _BUSY,
    "ServiceUnavailable": _BUSY,
    "InternalError": _BUSY,
    "NoSuchKey": "`retention archive verify` says what else is missing.",
    "404": "`retention archive verify` says what else is missing.",
    "PreconditionFailed": "What is in an archive is never overwritten.",
    "ConditionalRequestConflict": "Somebody else writes the same name: run again.",
    "BadDigest": "The bytes changed on their way: run again, and look at the network if it stays.",
    "XAmzContentChecksumMismatch": "The bytes changed on their way: run again, and look at the network if it stays.",
    "QuotaExceeded": "The bucket is full: make room, then run again.",
    "XMinioStorageFull": "The server's disks are full: make room, then run again.",
    "NotImplemented": "This server lacks what an archive needs: conditional writes, checksums, multipart uploads.",
}


def connect(endpoint: str | None, region: str | None) -> Any:
    """A client, for any number of threads. Nothing is asked of the server yet."""
    path_style = {"addressing_style": "path"} if endpoint is not None else {}
    return botocore.session.Session().create_client(
        "s3",
        endpoint_url=endpoint,
        region_name=region,
        config=Config(
            connect_timeout=5,
            read_timeout=60,
            tcp_keepalive=True,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            s3=path_style,
            user_agent_appid="retention",
        ),
    )


def code_of(error: BaseException) -> str:
    """The server's own word for what was wrong; a status in digits where it sent no word, "" where it sent nothing."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


@contextmanager
def failures(place: str, what: str) -> Iterator[None]:
    """Raise what the client says as ArchiveFailed: ``place`` and ``what`` begin the sentence."""
    try:
        yield
    except ClientError as error:
        code = code_of(error)
        said = str(error.response.get("Error", {}).get("Message", "")).rstrip(".")
        reason = f"{said} ({code})" if said and said != code else code
        hint = _HINTS.get(code, "The server's own log says more.")
        raise ArchiveFailed(f"{place} {what}: {redact(reason)}", hint=hint) from error
    except BotoCoreError as error:
        reason, hint = _unanswered(error)
        raise ArchiveFailed(f"{place} {what}: {redact(reason)}", hint=hint) from error


def _unanswered(error: BotoCoreError) -> tuple[str, str]:
    match error:
        case NoCredentialsError() | PartialCredentialsError():
            return "there are no credentials for the S3 server", _CREDENTIALS
        case FlexibleChecksumError():
            return "what arrived has another checksum than what was stored", _HINTS["BadDigest"]
        case SSLError():  # a ConnectionError too
            return f"{error}", "Is the server's certificate known here? AWS_CA_BUNDLE names a file of authorities."
        case ConnectionError() | HTTPClientError() | IncompleteReadError():
            return f"the server does not answer: {error}", _AWAY
        case _:
            return f"{error}", "Correct the archive in retention.yaml, or the AWS settings of this machine."
