"""Make and fill Airflow's metadata database through Airflow's own models: `fill_airflow.py FOLDER URL`, in its environment."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from uuid import UUID

from airflow_environment import use

use(sys.argv[1], sys.argv[2])
done = subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], capture_output=True, text=True)
if done.returncode:
    sys.exit(done.stdout + done.stderr)

from airflow.models.dag import DagModel
from airflow.models.dag_version import DagVersion
from airflow.models.dagbundle import DagBundleModel
from airflow.models.dagrun import DagRun, DagRunNote
from airflow.models.log import Log
from airflow.models.renderedtifields import RenderedTaskInstanceFields
from airflow.models.taskinstance import TaskInstance, TaskInstanceNote
from airflow.models.taskinstancehistory import TaskInstanceHistory
from airflow.models.taskreschedule import TaskReschedule
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session

DAYS = 200
MODELS = (DagModel, DagVersion, DagRun, DagRunNote, TaskInstance, TaskInstanceNote, TaskInstanceHistory, TaskReschedule,
          RenderedTaskInstanceFields, XComModel, Log)  # fmt: skip
NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


def identifier(*parts: object) -> UUID:
    return UUID(bytes=hashlib.sha256(repr(parts).encode()).digest()[:16], version=4)


rows: dict[type, list[dict[str, object]]] = {model: [] for model in MODELS}
number = 0
for d in range(4):
    dag, version = f"dag_{d}", identifier("version", d)
    rows[DagModel].append(
        {"dag_id": dag, "bundle_name": "main", "last_parsed_time": NOW, "timetable_type": "cron", "timetable_summary": "x",
         "has_task_concurrency_limits": False, "max_active_tasks": 16, "max_consecutive_failed_dag_runs": 0,
         "partition_mapper_info": {}}
    )  # fmt: skip
    created = NOW - timedelta(days=DAYS + 9)
    rows[DagVersion].append(
        {
            "id": version,
            "version_number": 1,
            "dag_id": dag,
            "bundle_name": "main",
            "created_at": created,
            "last_updated": NOW,
        }
    )
    for day in range(DAYS):
        if d == 3 and day < DAYS * 3 // 4:
            continue  # it stopped: its last run is old
        start = NOW - timedelta(days=day, hours=d)
        number += 1
        kind = "manual" if day % 7 == 3 else "scheduled"
        run = f"{kind}__{start.isoformat()}"
        rows[DagRun].append(
            {"id": number, "dag_id": dag, "run_id": run, "run_type": kind, "queued_at": start, "logical_date": start,
             "start_date": start, "end_date": start, "state": "success", "run_after": start, "created_at": start,
             "updated_at": start, "created_dag_version_id": version, "conf": {"day": day}}
        )  # fmt: skip
        if day % 5 == 0:
            rows[DagRunNote].append({"dag_run_id": number, "content": f"note {day}", "user_id": "1"})
        for t in range(3):
            task, at = identifier("task", d, day, t), start + timedelta(minutes=10 * t)
            key = {"dag_id": dag, "task_id": f"task_{t}", "run_id": run, "map_index": -1}
            pool = {"pool": "default_pool", "pool_slots": 1, "dag_version_id": version}
            rows[TaskInstance].append(
                {"id": task, **key, **pool, "start_date": at, "end_date": at, "duration": 300.5, "state": "success",
                 "try_number": 1, "max_tries": 1, "queue": "default", "operator": "BashOperator", "updated_at": at}
            )  # fmt: skip
            rows[XComModel].append(
                {"dag_run_id": number, "key": "return_value", "value": {"x": [1, None, "ü"]}, "timestamp": at, **key}
            )
            rows[RenderedTaskInstanceFields].append({"rendered_fields": {"bash_command": "echo"}, **key})
            rows[Log].append({"dttm": at, "dag_id": dag, "task_id": f"task_{t}", "event": "success", "run_id": run})
            if t == 0:
                rows[TaskInstanceNote].append({"ti_id": task, "content": "why", "user_id": "1"})
                rows[TaskReschedule].append(
                    {"ti_id": task, "start_date": at, "end_date": at, "duration": 0, "reschedule_date": at}
                )
                rows[TaskInstanceHistory].append(
                    {"task_instance_id": identifier("before", d, day), **key, **pool, "try_number": 0, "start_date": at,
                     "state": "failed"}
                )  # fmt: skip
with create_session() as session:
    if session.get(DagBundleModel, "main") is None:
        session.add(DagBundleModel(name="main"))
        session.flush()
    for model, some in rows.items():
        session.execute(model.__table__.insert(), some)
