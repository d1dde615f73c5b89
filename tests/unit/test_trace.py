"""Ids and spans of what is being done: nested, carried into threads, and the same trace in every process."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from hashlib import sha256

import pytest
from opentelemetry import trace as api
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from retention.trace import carried, doing, ids, run_ended


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """The SDK is set up, for this test alone."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(api, "get_tracer", lambda name: provider.get_tracer(name))
    yield exporter
    provider.shutdown()


def spans(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


def facts(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


def test_inside_is_about_what_is_around_it_too() -> None:
    assert ids() == {}
    with doing("slice", run="R-1", shard=3):
        with doing("batch", batch="B-1"):
            assert ids() == {"run": "R-1", "shard": 3, "batch": "B-1"}
        assert ids() == {"run": "R-1", "shard": 3}
        with pytest.raises(ValueError), doing("batch", batch="B-2"):
            raise ValueError
        assert ids() == {"run": "R-1", "shard": 3}
    assert ids() == {}


def test_another_thread_knows_it_only_where_it_is_carried() -> None:
    with doing("slice", run="R-1"), ThreadPoolExecutor(max_workers=2) as pool:
        assert pool.submit(ids).result() == {}
        met = threading.Barrier(2)  # both at once: each has a context of its own

        def both(number: int) -> object:
            met.wait(10)
            return {**ids(), "number": number}

        told = [pool.submit(carried(both), number) for number in range(2)]
        assert [one.result() for one in told] == [{"run": "R-1", "number": 0}, {"run": "R-1", "number": 1}]


def test_all_of_a_run_is_one_trace_made_from_its_id(exported: InMemorySpanExporter) -> None:
    with doing("slice", slot="notes@2026-10-01T02:00", run="R-1", shard=3), doing("batch", batch="B-1") as tell:
        tell(rows=7)
    run_ended("R-1", policy="notes", state="finished", failed=False, took=timedelta(seconds=90))
    seen = spans(exported)
    digest = sha256(b"R-1").digest()
    assert {span.context.trace_id for span in seen.values() if span.context} == {int.from_bytes(digest[:16])}
    batch, work, run = seen["retention.batch"], seen["retention.slice"], seen["retention.run"]
    assert work.context is not None and batch.parent is not None and work.parent is not None and run.parent is not None
    assert batch.parent.span_id == work.context.span_id
    assert work.parent.span_id == run.parent.span_id == int.from_bytes(digest[16:24])
    about = {"retention.slot": "notes@2026-10-01T02:00", "retention.run": "R-1", "retention.shard": 3}
    assert facts(work) == about
    assert facts(batch) == {**about, "retention.batch": "B-1", "retention.rows": 7}
    assert facts(run) == {"retention.run": "R-1", "retention.policy": "notes", "retention.state": "finished"}
    assert run.start_time is not None and run.end_time is not None
    assert 89e9 < run.end_time - run.start_time < 91e9
    assert run.status.status_code is StatusCode.UNSET


def test_a_slot_leads_to_the_run_that_it_became(exported: InMemorySpanExporter) -> None:
    with doing("slot", slot="notes@2026-10-01T02:00") as tell:
        tell(run="R-1")
    slot = spans(exported)["retention.slot"]
    assert slot.context is not None
    assert slot.context.trace_id == int.from_bytes(sha256(b"notes@2026-10-01T02:00").digest()[:16])
    assert [link.context.trace_id for link in slot.links] == [int.from_bytes(sha256(b"R-1").digest()[:16])]


def test_what_was_around_it_is_linked(exported: InMemorySpanExporter) -> None:
    """Celery's own span, where Celery is traced as well."""
    tracer = api.get_tracer("celery")
    with tracer.start_as_current_span("run/retention.look") as task, doing("slice", run="R-1", shard=1):
        pass
    [link] = spans(exported)["retention.slice"].links
    assert link.context == task.get_span_context()
    assert spans(exported)["run/retention.look"].context != spans(exported)["retention.slice"].context


def test_what_belongs_to_no_run_is_where_it_was_called(exported: InMemorySpanExporter) -> None:
    with doing("plan", records="crm.activities"):
        pass
    plan = spans(exported)["retention.plan"]
    assert plan.parent is None and facts(plan) == {"retention.records": "crm.activities"}


def test_an_error_is_told(exported: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError), doing("batch", batch="B-1"):
        raise ValueError("the table is gone")
    batch = spans(exported)["retention.batch"]
    assert batch.status.status_code is StatusCode.ERROR
    assert [event.name for event in batch.events] == ["exception"]
    run_ended("R-1", policy="notes", state="failed", failed=True, took=timedelta(seconds=-1))
    run = spans(exported)["retention.run"]
    assert run.status.status_code is StatusCode.ERROR
    assert run.start_time is not None and run.end_time is not None and run.end_time >= run.start_time


@pytest.mark.parametrize("block", [False, True], ids=["not loaded", "not installed"])
def test_nothing_is_imported_where_nobody_set_it_up(block: bool) -> None:
    code = """
import sys
if BLOCK:
    sys.modules["opentelemetry"] = None
from datetime import timedelta
from retention.trace import doing, ids, run_ended
with doing("slice", run="R-1") as tell:
    tell(rows=1)
    assert ids() == {"run": "R-1"}
run_ended("R-1", policy="notes", state="finished", failed=False, took=timedelta(0))
assert not [name for name in sys.modules if name.startswith("opentelemetry.")]
"""
    subprocess.run([sys.executable, "-c", code.replace("BLOCK", str(block))], check=True)
