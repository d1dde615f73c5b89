"""What the top-level modules `worker` and `beat_schedule` are: the project's Celery application and its beat entries."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from celery import Celery

from retention.config import load_config, load_project
from retention.errors import RetentionError
from retention.scheduling.app import make_app
from retention.scheduling.entries import beat_entries
from retention.scheduling.tasks import WorkerLife


def config_path() -> Path:
    """The project's retention.yaml: RETENTION_CONFIG, or the one in this folder."""
    return Path(os.environ.get("RETENTION_CONFIG", "retention.yaml")).absolute()


def celery_app() -> Celery:
    """The application with its task. Exits with the problems of retention.yaml; a mistake in a policy stops nothing yet:
    worker and beat say so, and go on when it is mended."""
    path = config_path()
    try:
        app = make_app(load_config(path).broker)
    except RetentionError as error:
        _end(error)
    app.retention_config = path
    WorkerLife(app, path).install()
    return app


def entries() -> dict[str, dict[str, Any]]:
    """The policies as beat entries. Exits with every problem of every file."""
    try:
        return beat_entries(load_project(config_path()).policies.policies)
    except RetentionError as error:
        _end(error)


def _end(error: RetentionError) -> NoReturn:
    sys.stderr.write(f"{error}\n")
    raise SystemExit(error.exit_status)
