"""Logs are JSON, one object a line, with the ids that belong to it."""

from __future__ import annotations

import json
import subprocess
import sys

CODE = """
import logging, warnings
import structlog
from retention.scheduling.log import log_as_json
log_as_json()
structlog.get_logger("retention.beat").info("slot.due", slot="notes@2026-10-01T02:00", policy="notes")
with structlog.contextvars.bound_contextvars(run="R-1"):
    logging.getLogger("elsewhere").warning("said %s", "so", extra={"shard": 3})
logging.getLogger("kombu.connection").info("chatter")
try:
    raise ValueError("broken")
except ValueError:
    structlog.get_logger("retention.worker").exception("look.failed")
warnings.warn("careful")
"""


def test_every_line_is_an_object_with_its_ids() -> None:
    said = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in said.stdout.splitlines()]
    slot, foreign, failed, warned = lines
    assert (slot["event"], slot["level"], slot["slot"]) == ("slot.due", "info", "notes@2026-10-01T02:00")
    assert slot["at"].endswith("Z") and slot["logger"] == "retention.beat"
    assert (foreign["event"], foreign["run"], foreign["shard"]) == ("said so", "R-1", 3)
    assert failed["level"] == "error" and "ValueError: broken" in failed["exception"]
    assert "careful" in warned["event"]
    assert said.stderr == ""
