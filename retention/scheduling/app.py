"""The Celery application: settings that were measured to survive, and the one task.

State is rows in the control database; a message says "look" and nothing else. So it is acknowledged before the work (a
late acknowledgement kills workers of Celery 5.7 when Redis goes), never retried, and losing or doubling it is harmless.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery
from kombu.exceptions import KombuError

from retention.errors import Failed
from retention.scheduling.entries import LOOK

#: measured with Celery 5.7 on Redis and Valkey under kills of every part; docs/scheduling.md says what each is for
SETTINGS: dict[str, Any] = {
    "result_backend": None,
    "task_ignore_result": True,
    "task_serializer": "json",
    "accept_content": ["json"],
    "enable_utc": True,
    "timezone": "UTC",
    "task_default_queue": "retention",
    "task_acks_late": False,
    "worker_disable_prefetch": True,
    "worker_prefetch_multiplier": 1,
    "task_reject_on_worker_lost": False,
    "worker_max_tasks_per_child": 200,
    "worker_max_memory_per_child": 400_000,
    # a slot's plan is one task, however large the class; leases, not limits, tell who is at work
    "task_soft_time_limit": 6 * 3600,
    "task_time_limit": 6 * 3600 + 60,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "broker_pool_limit": 4,
    "broker_transport_options": {
        "socket_timeout": 5,
        "socket_connect_timeout": 3,
        "socket_keepalive": True,
        "health_check_interval": 5,
        "visibility_timeout": 3600,
        "unacked_restore_interval": 10,
        "unacked_restore_throttle": 1,
        "global_keyprefix": "retention:",
        "client_name": "retention",
    },
    "task_publish_retry": True,
    "task_publish_retry_policy": {"max_retries": 2, "interval_start": 0, "interval_step": 0.5, "interval_max": 1},
    "beat_max_loop_interval": 5,
    "worker_hijack_root_logger": False,
    "worker_proc_alive_timeout": 30,
    "beat_scheduler": "retention.scheduling.beat:SlotScheduler",
}


def make_app(broker: str) -> Celery:
    """An application on the broker (a complete URL), without tasks."""
    app = Celery("retention", broker=broker)
    app.conf.update(SETTINGS)
    return app


def send_look(app: Celery) -> None:
    """Tell one worker to look: what a worker does that leaves work behind, so that as many look as did before.

    Ends within seconds, whatever the broker does. Raises Failed where it cannot be reached.
    """
    with _connected(app) as connection:
        _send(app, connection, 1)


def send_looks(app: Celery, looks: int) -> None:
    """Tell up to ``looks`` workers to look, counting those that were told and have not begun: so looks do not pile up while
    no worker is there. Raises as `send_look` does."""
    with _connected(app) as connection:
        waiting = connection.default_channel.queue_declare(queue=SETTINGS["task_default_queue"]).message_count
        _send(app, connection, looks - waiting)


@contextmanager
def _connected(app: Celery) -> Iterator[Any]:
    with app.connection_for_write() as connection:
        try:
            connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0.5)
            yield connection
        except (KombuError, *connection.connection_errors, *connection.channel_errors) as error:
            raise Failed(
                f"the broker {connection.as_uri()} cannot be reached: {error}",
                hint="Nothing is lost: slots are opened all the same, and workers are told when it answers again.",
            ) from None


def _send(app: Celery, connection: Any, looks: int) -> None:
    with app.amqp.Producer(connection.default_channel) as producer:
        for _ in range(looks):
            app.send_task(LOOK, producer=producer)
