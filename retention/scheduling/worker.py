"""`celery -A retention.scheduling.worker worker`, and `beat`: the project's application, for Celery to find."""

from __future__ import annotations

from retention.scheduling.start import celery_app

app = celery_app()
