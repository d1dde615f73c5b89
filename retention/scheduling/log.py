"""Logs: one JSON object a line on standard output, of this program and of what it is built on.

Every line has ``event``, ``level``, ``logger``, ``at`` (UTC) and ``process``, and the ids of what is done there: ``slot``,
``run``, ``shard``, ``batch``, ``policy``. An id followed through the lines of all processes tells the story of a run.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from retention.trace import ids


def log_as_json(level: int = logging.INFO) -> None:
    """Send every log line of this process to standard output, as JSON."""
    shared: list[structlog.typing.Processor] = [
        _with_ids,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)
    for chatty in ("alembic", "kombu", "amqp"):
        logging.getLogger(chatty).setLevel(max(level, logging.WARNING))


def _with_ids(_logger: object, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Who says it, what this thread is at work on, and what the line itself says."""
    return {"process": os.getpid(), **ids(), **line}
