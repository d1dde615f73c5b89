"""A slot that fires through beat, broker and two worker processes is followed from the logs alone, and as one trace."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from retention.disposition import shift
from retention.scheduling.opening import open_slots

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.scheduling.conftest import Site

#: what whoever starts the process sets up, as `opentelemetry-instrument` does: in a sitecustomize, by the SDK
SET_UP = """
import os
from pathlib import Path
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

class Out:
    def write(self, text):
        with Path(os.environ["SPANS"], f"{os.getpid()}.spans").open("a") as file:
            file.write(text)
    def flush(self):
        pass

provider = TracerProvider()
provider.add_span_processor(
    SimpleSpanProcessor(ConsoleSpanExporter(out=Out(), formatter=lambda span: span.to_json(indent=None) + "\\n"))
)
trace.set_tracer_provider(provider)
"""


#: one batch at a time: stopped behind it, the process holds no lock of the control database
ALONE = "from retention.sources.postgresql import PostgresqlSource\nPostgresqlSource.in_flight = 1"


def test_a_run_is_followed_through_every_process(
    make_site: Callable[..., Site], postgres_url: str, broker: Any, tmp_path: Path, slot_time: Any
) -> None:
    """The runs of two slots, done by two workers of one process each, which write spans into the site's folder. The first
    waits behind its first batch until the second has done one."""
    site = make_site(postgres_url, broker=broker.url, rows=60_000, now=slot_time - timedelta(seconds=8))
    (tmp_path / "sitecustomize.py").write_text(SET_UP)
    env = {"SPANS": str(site.folder), "PYTHONPATH": str(tmp_path)}
    site.start("beat", **env)
    one = site.start(
        "worker", "-c", "1", "-n", "one@%h", first=ALONE, RETENTION_FAILPOINTS="batch.after-settled=stop@1", **env
    )
    site.wait(lambda: bool(site.stopped(one)), "the first worker did not commit a batch")
    two = site.start("worker", "-c", "1", "-n", "two@%h", **env)
    site.wait(lambda: site.committed() > 1, "the second worker did not commit a batch")
    with site.continued(one):
        site.wait(site.finished, "the runs did not finish")
    for worker in (one, two):
        worker.terminate()
        worker.wait(timeout=30)
    followed_in_the_logs(site)
    followed_in_the_spans(site)


def followed_in_the_logs(followed: Site) -> None:
    """From the logs alone."""
    lines = [json.loads(line) for line in followed.log("worker").splitlines() if line.startswith("{")]
    beat = [json.loads(line) for line in followed.log("beat").splitlines() if line.startswith("{")]
    runs = dict(followed.asked("SELECT id, policy FROM run"))
    assert len({line["process"] for line in lines if line["event"] == "batch.committed"}) == 2
    for run, policy in runs.items():
        slot = f"{policy}@2027-01-01T02:00"
        # the beat opened the slot, a worker made a run of it, and from there on every line names both
        assert "slot.due" in [line["event"] for line in beat if line.get("slot") == slot]
        [begun] = [line for line in lines if line["event"] == "slot.begun" and line["slot"] == slot]
        assert begun["run"] == run
        [ended] = [line for line in lines if line["event"] == "run.ended" and line["run"] == run]
        assert ended["state"] == "finished" and ended["deleted"] == 20_000
        batches = dict(followed.asked(f"SELECT id, rows FROM batch WHERE run_id = '{run}'"))
        for batch, rows in batches.items():
            told = [line for line in lines if line.get("batch") == batch]
            assert [line["event"] for line in told] == ["batch.prepared", "batch.committed"]
            for line in told:
                assert (line["slot"], line["run"], line["policy"], line["rows"]) == (slot, run, policy, rows)
                assert line["shard"] == 1
        assert {line["batch"] for line in lines if line["event"] == "batch.committed" and line["run"] == run} == set(
            batches
        )
    for line in lines:
        # Celery's own lines, of processes that come and go, are about no work; all of ours are
        if line["logger"] in ("retention.shift", "retention.batch", "retention.recover"):
            assert line["slot"] and line["policy"]
            assert "run" in line or line["event"] in ("slot.taken", "slot.failed")
            assert "shard" in line or line["event"].startswith("slot.")
            assert "batch" in line or not line["event"].startswith("batch.")


def followed_in_the_spans(followed: Site) -> None:
    """One trace a run, whatever process its parts were done in."""
    spans = [
        {**json.loads(line), "process": path.stem}
        for path in followed.folder.glob("*.spans")
        for line in path.read_text().splitlines()
    ]
    by_name: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for span in spans:
        by_name[span["name"]].append(span)
    assert len({span["process"] for span in by_name["retention.batch"]}) == 2
    ids = {span["context"]["span_id"]: span for span in spans}
    assert len(ids) == len(spans)
    for run, policy in followed.asked("SELECT id, policy FROM run"):
        about = [span for span in spans if span["attributes"].get("retention.run") == run]
        [slot] = [span for span in about if span["name"] == "retention.slot"]
        [whole] = [span for span in about if span["name"] == "retention.run"]
        trace = whole["context"]["trace_id"]
        assert {span["context"]["trace_id"] for span in about if span is not slot} == {trace}
        assert [link["context"]["trace_id"] for link in slot["links"]] == [trace], "the slot leads to its run"
        assert slot["attributes"]["retention.slot"] == f"{policy}@2027-01-01T02:00"
        [plan] = [span for span in by_name["retention.plan"] if span["parent_id"] == slot["context"]["span_id"]]
        assert plan["attributes"]["retention.due"] == 20_000
        done = {
            span["attributes"]["retention.batch"]: span
            for span in about
            if span["name"] == "retention.batch" and "retention.rows" in span["attributes"]
        }
        assert set(done) == {batch for (batch,) in followed.asked(f"SELECT id FROM batch WHERE run_id = '{run}'")}
        for span in done.values():
            around = ids[span["parent_id"]]
            assert around["name"] == "retention.slice" and around["process"] == span["process"]
            assert span["attributes"]["retention.shard"] == 1
            assert span["attributes"]["retention.slot"] == slot["attributes"]["retention.slot"]
        assert whole["attributes"]["retention.state"] == "finished"


def test_a_batch_that_was_killed_is_followed_into_the_process_that_settles_it(site: Site) -> None:
    """The process that prepared it says so before it dies; another one tells what became of it."""
    site.start("beat")
    worker = site.start("worker", "-c", "1", RETENTION_FAILPOINTS="batch.before-commit=stop@2")
    site.wait(lambda: bool(site.stopped(worker)), "no child stopped in the middle of a batch")
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    prepared = site.asked("SELECT id, run_id FROM batch WHERE state = 'prepared'")
    site.start("worker", "-c", "1")
    site.wait(site.finished, "the runs did not finish")
    lines = [
        json.loads(line) for name in ("worker", "beat") for line in site.log(name).splitlines() if line.startswith("{")
    ]
    assert prepared
    for batch, run in prepared:
        told = [line for line in lines if line.get("batch") == batch]
        assert [line["event"] for line in told] == ["batch.prepared", "batch.settled"]
        assert [line["run"] for line in told] == [run, run]
        assert [(told[1]["state"],)] == site.asked(f"SELECT state FROM batch WHERE id = '{batch}'")
        assert told[0]["process"] != told[1]["process"]


def test_what_fails_names_what_it_was(
    make_site: Callable[..., Site], sqlite_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import logging

    import structlog

    from retention.errors import ControlFailed, SourceFailed
    from retention.scheduling.log import log_as_json

    site = make_site(sqlite_url, broker="memory://", rows=300)
    engine = site.engine()
    now = engine.now() + site.ahead
    engine.now = lambda: now  # type: ignore[method-assign]
    open_slots(engine.control, engine.policies(), now)
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    try:
        log_as_json()
        for _ in range(2):  # both slots become runs
            assert shift.work(engine, seconds=1, stop=threading.Event())
        monkeypatch.setattr(shift, "serve", _raise(SourceFailed("the table is gone")))
        assert shift.work(engine, seconds=1, stop=threading.Event())
        monkeypatch.setattr(shift, "serve", _raise(ControlFailed("the disk is full")))
        with pytest.raises(ControlFailed):
            shift.work(engine, seconds=1, stop=threading.Event())
    finally:
        root.handlers, root.level = handlers, level
        logging.captureWarnings(False)
        structlog.reset_defaults()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    runs = dict(site.asked("SELECT policy, id FROM run"))
    [failed] = [line for line in lines if line["event"] == "shard.failed"]
    [away] = [line for line in lines if line["event"] == "control.failed"]
    assert {failed["policy"], away["policy"]} == {"odd", "even"}
    assert (failed["error"], away["message"]) == ("the table is gone", "the disk is full")
    for line in (failed, away):
        assert (line["run"], line["shard"]) == (runs[line["policy"]], 1)
        assert line["slot"] == f"{line['policy']}@2027-01-01T02:00"


def _raise(error: Exception) -> Callable[..., None]:
    def call(*_: object, **__: object) -> None:
        raise error

    return call
