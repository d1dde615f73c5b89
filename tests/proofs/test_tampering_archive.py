"""P2, P5: whatever is done to a file of the archive is found, and the finding names the file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from retention.archive.store import Store
from retention.archive.verify import Expected, verify_archive
from retention.disposition.archived import expected
from retention.disposition.catalogue import verify_archives
from retention.ledger import batches
from tests.proofs.commands import Commands


@pytest.fixture
def done(site: Any) -> Any:
    """Four records and their comments, archived."""
    site.fill(60)
    site.run()
    assert site.findings() == []
    return site


def files(site: Any) -> list[Path]:
    """The records' file, the manifest, their comments' and the comments' files."""
    every = [path for path in site.folder.glob("archive/crm/**/*") if path.is_file()]
    [manifest] = [path for path in every if path.suffix == ".json"]
    named = [manifest.parent / Path(one["path"]).name for one in json.loads(manifest.read_bytes())["files"]]
    found = [named[0], manifest, *named[1:]]
    assert sorted(found) == sorted(every)
    assert len(found) == 4
    for path in found:
        path.chmod(0o640)
    return found


def known(site: Any) -> tuple[Store, list[Expected]]:
    """What the control database says must be there."""
    engine = site.engine()
    with engine.control.read() as connection:
        return engine.store("cold"), [expected(connection, one) for one in batches.archived(connection, "cold")]


def test_every_byte_of_every_file_flipped_in_turn_is_found_and_named(done: Any) -> None:
    """Of what comes from MariaDB every 16th: the files are of the same form."""
    store, wanted = known(done)
    flipped, step = 0, 16 if done.dialect == "mysql" else 1
    for path in files(done):
        content = path.read_bytes()
        with path.open("r+b") as file:
            for place, byte in list(enumerate(content))[::step]:
                file.seek(place)
                file.write(bytes([byte ^ (1 << place // step % 8)]))
                file.flush()
                found = [str(one) for one in verify_archive(store, wanted)]
                assert any(path.name in one for one in found), f"{path.name}, byte {place}"
                file.seek(place)
                file.write(bytes([byte]))
                file.flush()
                flipped += 1
    assert list(verify_archive(store, wanted)) == []
    assert flipped > 5_000 // step


def _swap(paths: list[Path]) -> None:
    one, other = paths[0], paths[2]
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


def _edit(change: Callable[[dict[str, Any]], object]) -> Callable[[list[Path]], None]:
    def edit(paths: list[Path]) -> None:
        manifest = json.loads(paths[1].read_bytes())
        change(manifest)
        paths[1].write_text(json.dumps(manifest))

    return edit


def _link(paths: list[Path]) -> None:
    elsewhere = paths[0].parents[5] / "elsewhere.parquet"
    shutil.move(paths[0], elsewhere)
    paths[0].symlink_to(elsewhere)


DAMAGE: dict[str, tuple[Callable[[list[Path]], object], tuple[int, ...]]] = {
    "swapped": (_swap, (0, 2)),
    "cut short by a byte": (lambda paths: paths[0].write_bytes(paths[0].read_bytes()[:-1]), (0,)),
    "longer by a byte": (lambda paths: paths[0].write_bytes(paths[0].read_bytes() + b"\0"), (0,)),
    "emptied": (lambda paths: paths[2].write_bytes(b""), (2,)),
    "records removed": (lambda paths: paths[0].unlink(), (0,)),
    "comments removed": (lambda paths: paths[2].unlink(), (2,)),
    "manifest removed": (lambda paths: paths[1].unlink(), (1,)),
    "everything removed": (lambda paths: [path.unlink() for path in paths], (0, 1, 2, 3)),
    "a copy under another name": (lambda paths: shutil.copy(paths[0], paths[0].with_name("copy.parquet")), ()),
    "replaced by a link": (_link, (0,)),
    "replaced by a folder": (lambda paths: (paths[0].unlink(), paths[0].mkdir()), (0,)),
    "the manifest's rows": (_edit(lambda manifest: manifest["files"][0].update(rows=19)), (1,)),
    "the manifest's policy": (_edit(lambda manifest: manifest.update(policy="other")), (1,)),
    "the manifest's own digest": (_edit(lambda manifest: manifest["files"][0].update(sha256="0" * 64)), (1,)),
    "the manifest without a file": (_edit(lambda manifest: manifest["files"].pop()), (1,)),
    "the manifest re-written": (_edit(lambda manifest: None), (1,)),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_to_files_is_found_and_named(done: Any, commands: Commands, what: str) -> None:
    damage, named = DAMAGE[what]
    paths = files(done)
    assert commands.run(done.config, "archive", "verify").status == 0
    damage(paths)
    ended = commands.run(done.config, "archive", "verify")
    assert ended.status == 1, ended.said
    found = ended.said
    for name in [paths[number].name for number in named] or ["copy.parquet"]:
        assert name in found


@pytest.fixture
def marker(done: Any) -> Iterator[Path]:
    path: Path = done.folder / "archive" / "retention-archive.json"
    path.chmod(0o640)
    content = path.read_bytes()
    yield path
    path.write_bytes(content)


def test_every_byte_of_the_archive_s_marker(done: Any, marker: Path) -> None:
    engine = done.engine()
    content = marker.read_bytes()
    for place, byte in enumerate(content):
        marker.write_bytes(content[:place] + bytes([byte ^ 1]) + content[place + 1 :])
        assert any("cannot be relied on" in one for one in verify_archives(engine, ("cold",)).findings), place


def test_a_file_of_another_batch_in_its_place(done: Any) -> None:
    """Each file is a sound one, with a sound manifest: only not the one of its name."""
    done.run_sql(done.url, "UPDATE activity_logs SET created_at = '2026-01-01 00:00:00' WHERE id = 3")
    assert done.run().deleted == 1
    [first, second] = done.asked("SELECT manifest FROM batch ORDER BY prepared_at")
    one, other = (done.folder / "archive" / row[0] for row in (first, second))
    for path in (one, other):
        path.chmod(0o640)
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    found = "\n".join(done.findings())
    assert one.name in found and other.name in found
