"""The policies compiled into Celery beat entries: `python -c "import beat_schedule; print(beat_schedule.beat_schedule)"`."""

from retention.scheduling.start import entries

beat_schedule = entries()
