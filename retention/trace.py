"""What is being done, and to what: the ids that every log line of the work carries, and a span where OpenTelemetry is set up.

A span is written if whoever started the process has loaded OpenTelemetry (`opentelemetry-instrument` does); otherwise not even
its import is paid for. All spans of a run are one trace, whatever process they come from: the trace's id is made from the
run's id, so that no message has to carry it. Spans and log lines are for watching; nothing is decided by them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from hashlib import sha256
from types import MappingProxyType
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from datetime import timedelta

    from opentelemetry.context import Context
    from opentelemetry.trace import SpanContext, Tracer

_P = ParamSpec("_P")
_T = TypeVar("_T")

#: adds facts to the span of what is being done
Tell = Callable[..., None]

_ids: ContextVar[Mapping[str, str | int]] = ContextVar("retention ids", default=MappingProxyType({}))


def ids() -> Mapping[str, str | int]:
    """What this thread is at work on: ``slot``, ``run``, ``policy``, ``shard``, ``batch``, as far as they apply."""
    return _ids.get()


@contextmanager
def doing(what: str, **more: str | int) -> Iterator[Tell]:
    """Everything inside is about these ids, and those around it. An error ends the span as failed, and goes on."""
    inner = {**_ids.get(), **more}
    before = _ids.set(inner)
    try:
        with _span(what, inner) as tell:
            yield tell
    finally:
        _ids.reset(before)


def carried(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """The function for another thread, which then knows what this one is at work on. To be called once."""
    context = copy_context()

    def call(*args: _P.args, **more: _P.kwargs) -> _T:
        return context.run(function, *args, **more)

    return call


def run_ended(run: str, *, policy: str, state: str, failed: bool, took: timedelta) -> None:
    """The span of a run as a whole, which no single process has seen from its beginning to its end."""
    tracer = _tracer()
    if tracer is None:
        return
    from opentelemetry.trace import StatusCode

    facts = {"run": run, "policy": policy, "state": state}
    began = time.time_ns() - int(max(took.total_seconds(), 0.0) * 1e9)
    span = tracer.start_span("retention.run", _inside(_root(run)), attributes=_attributes(facts), start_time=began)
    if failed:
        span.set_status(StatusCode.ERROR, state)
    span.end()


@contextmanager
def _span(what: str, named: Mapping[str, str | int]) -> Iterator[Tell]:
    tracer = _tracer()
    if tracer is None:
        yield _nothing
        return
    from opentelemetry.trace import Link, get_current_span

    around = get_current_span().get_span_context()
    context, links = None, []
    story = named.get("run", named.get("slot"))
    if story is not None and (root := _root(str(story))).trace_id != around.trace_id:
        # what is around it, a Celery task say, belongs to another trace
        context, links = _inside(root), [Link(around)] if around.is_valid else []
    with tracer.start_as_current_span(f"retention.{what}", context, attributes=_attributes(named), links=links) as span:

        def tell(**facts: str | int) -> None:
            span.set_attributes(_attributes(facts))
            if "run" in facts:  # a slot became a run, which has a trace of its own
                span.add_link(_root(str(facts["run"])))

        yield tell


def _nothing(**facts: str | int) -> None:
    pass


def _tracer() -> Tracer | None:
    if "opentelemetry.trace" not in sys.modules:
        return None
    from opentelemetry.trace import get_tracer

    return get_tracer("retention")


def _root(story: str) -> SpanContext:
    """Where the trace of a run, or of a slot, begins: the same in every process."""
    from opentelemetry.trace import SpanContext, TraceFlags

    digest = sha256(story.encode()).digest()
    return SpanContext(
        trace_id=int.from_bytes(digest[:16]),
        span_id=int.from_bytes(digest[16:24]),
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )


def _inside(root: SpanContext) -> Context:
    from opentelemetry.trace import NonRecordingSpan, set_span_in_context

    return set_span_in_context(NonRecordingSpan(root))


def _attributes(facts: Mapping[str, str | int]) -> dict[str, str | int]:
    return {f"retention.{name}": value for name, value in facts.items()}
