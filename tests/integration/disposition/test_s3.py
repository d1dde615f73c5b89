"""Runs whose archive is a bucket: deleted, verified, restored, destroyed; locked; and with the server killed in between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from retention.archive import s3_client
from retention.disposition import restore
from retention.disposition.destroy import destroy, plan_destruction
from retention.disposition.recover import recover

ROWS = 300


def archive_on(site: Any, server: Any, bucket: str, *, lock: str | None = None) -> None:
    """Let the site's archive be in the bucket."""
    said = f'cold: {{url: "s3://{bucket}/cold", endpoint: "{server.endpoint}"{f", lock: {lock}" if lock else ""}}}'
    text = site.config.read_text().replace('cold: {url: "file:./archive"}', said)
    site.config.write_text(text)


def keys(server: Any, bucket: str) -> list[str]:
    """Every object but the archive's marker."""
    found = server.client().list_objects_v2(Bucket=bucket).get("Contents", [])
    return [one["Key"] for one in found if one["Key"] != "cold/retention-archive.json"]


def stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.mark.parametrize("versions", [False, True])
def test_the_life_of_a_copy(site: Any, s3_server: Any, versions: bool) -> None:
    bucket = s3_server.bucket(versions=versions)
    archive_on(site, s3_server, bucket)
    site.fill(ROWS)
    before = site.everything()
    run = site.run_long_ago()
    due = site.due_ids(ROWS)
    assert run.deleted == len(due) and site.ids().isdisjoint(due)
    assert sorted(key.rpartition(".")[2] for key in keys(s3_server, bucket)) == [
        "json",
        "parquet",
        "parquet",
        "parquet",
    ]
    assert site.findings() == []
    assert site.archived() == dict.fromkeys(due, 1)

    engine = site.engine()
    choice = restore.choose(engine, run=run.run, keys=(), where=(), address=None)
    [back] = restore.restore(engine, choice, reason="asked for")
    assert back.restored == len(due)
    assert site.everything() == before
    site.release_long_ago(back.hold)

    [plan] = plan_destruction(site.engine(), ("cold",))
    assert destroy(site.engine(), plan).destroyed == 1
    assert keys(s3_server, bucket) == []
    left = s3_server.client().list_object_versions(Bucket=bucket)
    assert [one["Key"] for one in [*left["Versions"], *left.get("DeleteMarkers", [])]] == [
        "cold/retention-archive.json"
    ]
    assert site.findings() == []


def test_copies_are_locked_until_keep_is_over(site: Any, s3_server: Any) -> None:
    """Locked once their records are gone; destruction says what it could not do, and does it when the lock is over."""
    bucket = s3_server.bucket(locks=True)
    archive_on(site, s3_server, bucket, lock="governance")
    site.policy("service-notes", archive="{to: cold, keep: 1 day}")
    site.fill(ROWS)
    site.run()
    client = s3_server.client()
    [(last,)] = site.asked("SELECT destroy_after FROM batch")
    until = datetime.combine(date.fromisoformat(str(last)) + timedelta(days=1), datetime.min.time(), UTC)
    found = [client.head_object(Bucket=bucket, Key=key) for key in keys(s3_server, bucket)]
    assert [(one["ObjectLockMode"], one["ObjectLockRetainUntilDate"]) for one in found] == [("GOVERNANCE", until)] * 4

    # somebody has set the control database's clock forward; the bucket's goes by the real time
    site.control("UPDATE batch SET destroy_after = '2026-01-01'")
    before = keys(s3_server, bucket)
    done = site.cli("archive", "destroy", "--yes")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "0 batches destroyed, 0 held, 1 locked" in done.stdout
    assert f"until {until:%Y-%m-%d %H:%M} UTC (governance mode)" in done.stderr
    assert keys(s3_server, bucket) == before
    [told] = json.loads(site.cli("archive", "destroy", "--yes", "--json").stdout)
    assert (told["destroyed"], len(told["locked"])) == (0, 1)
    assert site.asked("SELECT destroyed_by_run FROM batch") == [(None,)]
    assert site.facts("archive.destroyed") == []

    for key in before:
        client.put_object_retention(
            Bucket=bucket, Key=key, BypassGovernanceRetention=True,
            Retention={"Mode": "GOVERNANCE", "RetainUntilDate": datetime.now(UTC) - timedelta(hours=1)},
        )  # fmt: skip
    done = site.cli("archive", "destroy", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert keys(s3_server, bucket) == []


def test_a_batch_that_died_before_its_lock_is_locked_by_recovery(plain_site: Any, s3_server: Any) -> None:
    bucket = s3_server.bucket(locks=True)
    archive_on(plain_site, s3_server, bucket, lock="compliance")
    plain_site.fill(ROWS)
    died = plain_site.cli("run", "service-notes", "--yes", env={"RETENTION_FAILPOINTS": "batch.after-commit=kill"})
    assert died.returncode == -signal.SIGKILL, died.stderr
    client = s3_server.client()
    unlocked = [client.head_object(Bucket=bucket, Key=key) for key in keys(s3_server, bucket)]
    assert ["ObjectLockMode" in one for one in unlocked] == [False, False]
    assert [one.state.value for one in recover(plain_site.engine())] == ["committed"]
    locked = [client.head_object(Bucket=bucket, Key=key) for key in keys(s3_server, bucket)]
    assert [one["ObjectLockMode"] for one in locked] == ["COMPLIANCE"] * 2


def test_litter_that_the_bucket_locks_stands_in_nobodys_way(plain_site: Any, s3_server: Any) -> None:
    """A bucket whose default locks whatever is written: files of a batch that never was stay, are told, and the run goes on."""
    bucket = s3_server.bucket(locks=True)
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}
    s3_server.client().put_object_lock_configuration(
        Bucket=bucket, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
    )
    archive_on(plain_site, s3_server, bucket)
    plain_site.fill(ROWS)
    died = plain_site.cli("run", "service-notes", "--yes", env={"RETENTION_FAILPOINTS": "batch.after-files=kill"})
    assert died.returncode == -signal.SIGKILL, died.stderr
    litter = keys(s3_server, bucket)
    assert len(litter) == 2
    assert plain_site.run().deleted == len(plain_site.due_ids(ROWS))
    told = plain_site.findings()
    assert len(told) == 2 and all("no batch of the control database has this file" in one for one in told)
    assert set(litter) < set(keys(s3_server, bucket))


@pytest.mark.parametrize("point", ["s3.part-sent", "batch.after-files", "batch.after-prepare"])
def test_what_a_killed_run_left_is_found_and_removed(plain_site: Any, s3_server: Any, point: str) -> None:
    bucket = s3_server.bucket(versions=True)
    archive_on(plain_site, s3_server, bucket)
    plain_site.fill(ROWS)
    # parts of a thousand bytes, so that a small file has several
    code = "from retention.archive import s3_write; s3_write.PART = 1000; from retention.cli import main; main()"
    died = subprocess.run(
        [sys.executable, "-c", code if point == "s3.part-sent" else "from retention.cli import main; main()",
         "run", "service-notes", "--yes", "--config", str(plain_site.config)],
        env={**os.environ, "RETENTION_FAILPOINTS": f"{point}=kill"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert died.returncode == -signal.SIGKILL, died.stderr
    client = s3_server.client()
    assert keys(s3_server, bucket) or client.list_multipart_uploads(Bucket=bucket).get("Uploads")
    assert plain_site.run().deleted == len(plain_site.due_ids(ROWS))
    assert plain_site.findings() == []
    assert not client.list_multipart_uploads(Bucket=bucket).get("Uploads")
    assert plain_site.archived() == dict.fromkeys(plain_site.due_ids(ROWS), 1)


@pytest.mark.parametrize("how", ["killed", "refused"])
def test_a_large_file_whose_upload_ended_in_the_middle_is_sent_again(
    sqlite_site: Any, s3_server: Any, how: str
) -> None:
    """Parts of five megabytes, which S3 wants at the least: one was sent when the run died, or the server refused the next."""
    bucket = s3_server.bucket(versions=True)
    archive_on(sqlite_site, s3_server, bucket)
    sqlite_site.fill(ROWS)
    due = sqlite_site.due_ids(ROWS)
    sqlite_site.run_sql(sqlite_site.url, "UPDATE activity_logs SET note = hex(randomblob(600000)) WHERE id % 15 = 0")
    code = "from retention.archive import s3_client, s3_write; s3_write.PART = 5 << 20; s3_client.ATTEMPTS = 2;"
    words = [sys.executable, "-c", f"{code} from retention.cli import main; main()"]
    words += ["run", "service-notes", "--yes", "--config", str(sqlite_site.config)]
    env = dict(os.environ)
    if how == "killed":
        env["RETENTION_FAILPOINTS"] = "s3.part-sent=kill"
    else:
        s3_server.fail("PUT", "partNumber=2", 99, "500 InternalError")
    ended = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    assert ended.returncode == (-signal.SIGKILL if how == "killed" else 1), ended.stderr
    assert sqlite_site.ids() >= due, "nothing is deleted before its copy is whole"
    client = s3_server.client()
    assert len(client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])) == (1 if how == "killed" else 0)

    s3_server.fail("PUT", "nothing", 0, "drop")
    again = subprocess.run(words, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert not client.list_multipart_uploads(Bucket=bucket).get("Uploads")
    [whole] = [key for key in keys(s3_server, bucket) if key.endswith(".parquet")]
    found = client.head_object(Bucket=bucket, Key=whole)
    assert found["ContentLength"] > 10 << 20 and int(found["ETag"].strip('"').partition("-")[2]) >= 3, "parts"
    assert sqlite_site.ids().isdisjoint(due)
    assert sqlite_site.archived() == dict.fromkeys(due, 1)
    assert sqlite_site.findings() == []


def test_a_server_that_dies_in_the_middle_of_a_run(plain_site: Any, own_s3_server: Any) -> None:
    """Killed between two batches, and started again with what it had acknowledged: the run goes on, and nothing is lost."""
    server = own_s3_server
    bucket = server.bucket()
    archive_on(plain_site, server, bucket)
    rows = 30_000
    plain_site.fill(rows)
    process = plain_site.start(
        "run", "service-notes", "--yes", env={"RETENTION_FAILPOINTS": "batch.after-delete=stop@2"}
    )
    plain_site.wait(lambda: stopped(process.pid), "there was no second batch")
    server.kill()
    process.send_signal(signal.SIGCONT)
    out, said = process.communicate(timeout=120)
    assert process.returncode == 1, out + said
    assert "the server does not answer" in said
    assert "Traceback" not in said
    due = plain_site.due_ids(rows)
    gone = due - plain_site.ids()
    assert gone < due

    # while it is away a run says so, and deletes nothing
    again = plain_site.cli("run", "service-notes", "--yes")
    assert again.returncode == 1 and "the server does not answer" in again.stderr
    assert due - plain_site.ids() == gone

    server.start()
    plain_site.run()
    assert plain_site.ids().isdisjoint(due)
    assert plain_site.archived() == dict.fromkeys(due, 1)
    assert plain_site.findings() == []


def test_a_server_that_dies_for_a_moment_is_waited_for(
    plain_site: Any, own_s3_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = own_s3_server.bucket()
    archive_on(plain_site, own_s3_server, bucket)
    plain_site.fill(ROWS)
    monkeypatch.setattr(s3_client, "ATTEMPTS", 12)  # so that the test need not be in luck
    own_s3_server.kill()
    restart = threading.Timer(0.5, own_s3_server.start)
    restart.start()
    try:
        assert plain_site.run().deleted == len(plain_site.due_ids(ROWS))
    finally:
        restart.join()
    assert plain_site.findings() == []
