"""Logs are JSON, one object a line, with the ids that belong to it."""

from __future__ import annotations

import json
import subprocess
import sys

CODE = """
import logging, warnings
import structlog
from retention.scheduling.log import log_as_json
from retention.trace import doing
log_as_json()
structlog.get_logger("retention.beat").info("slot.due", slot="notes@2026-10-01T02:00", policy="notes")
with doing("slice", run="R-1", shard=2), doing("batch", batch="B-1"):
    structlog.get_logger("retention.shift").info("shard.taken")
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
    slot, taken, foreign, failed, warned = lines
    assert (slot["event"], slot["level"], slot["slot"]) == ("slot.due", "info", "notes@2026-10-01T02:00")
    assert slot["at"].endswith("Z") and slot["logger"] == "retention.beat"
    assert (taken["run"], taken["shard"], taken["batch"]) == ("R-1", 2, "B-1")
    # other libraries' lines too; and what a line says itself is said
    assert (foreign["event"], foreign["run"], foreign["shard"], foreign["batch"]) == ("said so", "R-1", 3, "B-1")
    assert "run" not in failed and all(line["process"] == slot["process"] > 0 for line in lines)
    assert failed["level"] == "error" and "ValueError: broken" in failed["exception"]
    assert "careful" in warned["event"]
    assert said.stderr == ""
