"""`celery -A worker worker` and `celery -A worker beat`: the scheduled worker of the project in RETENTION_CONFIG.

RETENTION_CONFIG names the project's retention.yaml; the one in the present folder if it is not set.
"""

from retention.scheduling.worker import app as app
