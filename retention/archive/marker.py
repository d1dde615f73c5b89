"""The file at an archive's root that says what it is: it tells an archive from an empty place, and one from another."""

from __future__ import annotations

import hashlib
import json
import uuid
from datetime import UTC, datetime

MARKER = "retention-archive.json"


def new_marker() -> tuple[str, bytes]:
    """The id of a new archive, and its marker's bytes."""
    identity = str(uuid.uuid4())
    return identity, _marker(identity, datetime.now(UTC).isoformat(timespec="seconds"))


def identity_of(content: bytes) -> str | None:
    """The id that a marker names; None where a byte of it has changed since `new_marker` made it."""
    try:
        known = json.loads(content)
        identity, created = known["archive"], known["created"]
    except (ValueError, KeyError, TypeError):
        return None
    return str(identity) if content == _marker(identity, created) else None


def _marker(identity: str, created: str) -> bytes:
    """The marker's bytes. It carries its own digest, for no control record holds one: so a changed byte is found."""
    digest = hashlib.sha256(f"{identity} {created}".encode()).hexdigest()
    return (json.dumps({"archive": identity, "created": created, "sha256": digest}, indent=2) + "\n").encode()
