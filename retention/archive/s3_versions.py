"""What lies under a prefix of a bucket: keys and, where the bucket keeps them, their versions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Versions:
    """A key, with the ids of its versions where the bucket keeps them."""

    key: str
    #: the oldest one that has content: what was written first. "" in a bucket without versions, None: there is none
    first: str | None
    #: whatever came later under this name, delete markers too
    others: tuple[str, ...] = ()


def list_keys(client: Any, bucket: str, prefix: str) -> Iterator[Versions]:
    """The keys of a bucket without versions, sorted. A page of 1,000 is fetched when its first key is asked for."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return (Versions(key=one["Key"], first="") for page in pages for one in page.get("Contents", ()))


def list_versions(client: Any, bucket: str, prefix: str) -> Iterator[Versions]:
    """The same of a bucket with versions. S3 sorts them by key and, within a key, from the newest to the oldest."""
    pages = client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix)
    found = (
        one
        for page in pages
        for one in sorted([*page.get("Versions", ()), *page.get("DeleteMarkers", ())], key=lambda one: one["Key"])
    )
    for key, group in groupby(found, key=lambda one: one["Key"]):
        entries = list(group)
        contents = [one["VersionId"] for one in entries if "ETag" in one]
        first = contents[-1] if contents else None
        others = tuple(one["VersionId"] for one in entries if one["VersionId"] != first)
        yield Versions(key=key, first=first, others=others)
