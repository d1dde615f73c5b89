"""Signed checkpoints: where the ledger stood at a time, under an Ed25519 signature whose key is kept elsewhere.

Whoever owns the control database can rewrite the whole chain, head included, and nothing inside betrays it. A
checkpoint does: it names an entry and its hash, and without the private key nobody can make one for another history.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from retention.errors import EvidenceBroken, InputError
from retention.ledger.canonical import canonical
from retention.ledger.chain import Entry
from retention.ledger.times import instant, stamp
from retention.ledger.verify import Finding

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

FORMAT = "retention-checkpoint"
VERSION = 1

#: entries that change what is held: their count is the hold epoch
_HOLD_CHANGES = frozenset({"hold.placed", "hold.released"})


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Where the chain stood: its last entry, that entry's hash, how often holds had changed, and when this was signed."""

    seq: int
    hash: str
    hold_epoch: int
    #: UTC
    at: datetime
    #: Ed25519 over the canonical JSON of everything else, in hexadecimal
    signature: str

    def to_text(self) -> str:
        """The checkpoint's file: canonical JSON and a line break."""
        return canonical(_signed(self) | {"signature": self.signature}) + "\n"


def make_keys(private: Path, public: Path) -> None:
    """Write a new key pair as PEM: PKCS #8, readable by its owner alone, and beside it the public key.

    Raises InputError where one of the files exists or cannot be written; then neither is left behind.
    """
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    secret = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    _write_new(private, secret, 0o600)
    try:
        shown = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
        _write_new(public, shown, 0o644)
    except BaseException:
        private.unlink()  # safe: made above, by this very call
        raise


def sign(entries: Iterable[Entry], key_file: Path, at: datetime) -> Checkpoint:
    """Sign where these entries end; give it entries that verify. Raises InputError for a key that cannot be used, and
    EvidenceBroken for a ledger without entries."""
    key = _private_key(key_file)
    last, epoch = None, 0
    for entry in entries:
        last, epoch = entry, epoch + (entry.kind in _HOLD_CHANGES)
    if last is None:
        raise EvidenceBroken("the ledger has no entries", hint="Run `retention audit verify`.")
    plain = Checkpoint(seq=last.seq, hash=last.hash, hold_epoch=epoch, at=at, signature="")
    return Checkpoint(**asdict(plain) | {"signature": key.sign(canonical(_signed(plain)).encode()).hex()})


def read_checkpoint(path: Path, public: Path) -> Checkpoint:
    """The checkpoint in the file, if the public key's owner signed it. Raises InputError for a file that is none, and
    EvidenceBroken for a signature that is not of this key."""
    from cryptography.exceptions import InvalidSignature

    key = _public_key(public)
    try:
        match json.loads(_read(path)):
            case {"format": "retention-checkpoint", "version": 1, "seq": int(seq), "hash": str(hashed), "at": str(at),
                  "hold_epoch": int(epoch), "signature": str(signature), **more} if not more:  # fmt: skip
                found = Checkpoint(seq=seq, hash=hashed, hold_epoch=epoch, at=instant(at), signature=signature)
            case {"format": "retention-checkpoint", "version": version}:
                raise InputError(f"{path} is a checkpoint of version {version!r}, or a damaged one")
            case _:
                raise ValueError(path)
    except (ValueError, RecursionError):
        raise InputError(f"{path} is not a checkpoint", hint="`retention audit checkpoint` writes one.") from None
    try:
        key.verify(bytes.fromhex(found.signature), canonical(_signed(found)).encode())
    except (InvalidSignature, ValueError):
        raise EvidenceBroken(
            f"{path} was not signed by the owner of {public}, or was changed afterwards",
            hint="Is it the public key of the pair that signed it?",
        ) from None
    return found


def check(entries: Iterable[Entry], checkpoint: Checkpoint) -> list[Finding]:
    """What the entries say otherwise than the checkpoint: up to it they must be the history that was signed.

    The entries must verify by themselves: then one hash stands for everything before it.
    """
    signed = f"entry {checkpoint.seq}, as signed at {stamp(checkpoint.at)}"
    epoch = last = 0
    for entry in entries:
        last = entry.seq
        epoch += entry.kind in _HOLD_CHANGES
        if entry.seq == checkpoint.seq:
            if entry.hash != checkpoint.hash:
                what = f"{signed}, is another one now: the ledger was rewritten at or before it"
                return [Finding(seq=entry.seq, what=what)]
            if epoch != checkpoint.hold_epoch:
                what = f"up to {signed}, holds changed {checkpoint.hold_epoch} times, the ledger has {epoch}"
                return [Finding(seq=entry.seq, what=what)]
            return []
    return [Finding(seq=checkpoint.seq, what=f"{signed}, is missing: the ledger ends at {last}")]


def _signed(checkpoint: Checkpoint) -> dict[str, object]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "seq": checkpoint.seq,
        "hash": checkpoint.hash,
        "hold_epoch": checkpoint.hold_epoch,
        "at": stamp(checkpoint.at.astimezone(UTC)),
    }


def _private_key(path: Path) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(_read(path), None)
    except (ValueError, TypeError):  # TypeError: it asks for a password
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(
            f"{path} is not an unencrypted Ed25519 private key in PEM form",
            hint="`retention audit keygen FILE` makes one.",
        )
    return key


def _public_key(path: Path) -> Ed25519PublicKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(_read(path))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise InputError(
            f"{path} is not an Ed25519 public key in PEM form", hint="`retention audit keygen FILE` writes FILE.pub."
        )
    return key


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", hint="Name a file that is there.") from None


def _write_new(path: Path, content: bytes, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise InputError(f"{path} exists already", hint="Name a new file; keys are not overwritten.") from None
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {error.strerror}", hint="Name a file in a folder that exists."
        ) from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
