"""Databases that others designed: what makes and fills each, the class that fits it, and what must go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: what every filling script takes for now, and what the tests run as of
AS_OF = "2026-11-01T12:00:00Z"


@dataclass(frozen=True, kw_only=True)
class Schema:
    """``fill_NAME.py`` beside this file is run in an environment of its own that has ``packages``."""

    name: str
    packages: tuple[str, ...]
    #: the class of retention.yaml, as it stands below its name, `records`
    declared: str
    #: what follows `records:` in each policy
    policies: tuple[str, ...]
    #: the table of the records, and the condition by which somebody else would find what is due
    root: str
    due: str
    #: dependent -> how many of its rows go with each record that is due
    gone: Mapping[str, int]
    #: dependents of which only some records have a row
    some: tuple[str, ...] = ()


_TASK = "key: [dag_id, task_id, run_id, map_index], of: [dag_id, task_id, run_id, map_index]"

AIRFLOW = Schema(
    name="airflow",
    packages=("apache-airflow==3.3.2", "psycopg2-binary", "asyncpg", "aiosqlite", "mysqlclient", "aiomysql"),
    declared=f"""\
        table: dag_run
        key: id
        created: start_date
        timezone: UTC
        columns: [dag_id, run_type]
        dependents:
          dag_run_note: {{key: dag_run_id}}
          dagrun_asset_event: {{key: dag_run_id}}
          asset_partition_dag_run: {{key: created_dag_run_id}}
          deadline: {{key: dagrun_id}}
          task_state_store: {{key: dag_run_id}}
          backfill_dag_run: {{key: dag_run_id, then: detach}}
          task_instance:
            key: [dag_id, run_id]
            of: [dag_id, run_id]
            dependents:
              task_instance_note: {{key: ti_id}}
              task_reschedule: {{key: ti_id}}
              hitl_detail: {{key: ti_id}}
              rendered_task_instance_fields: {{{_TASK}}}
              task_map: {{{_TASK}}}
              xcom: {{{_TASK}}}
              task_instance_history: {{{_TASK}, dependents: {{hitl_detail_history: {{key: ti_history_id}}}}}}
""",
    policies=(
        "where: {run_type: scheduled}\nretain: {for: 92 days, keep_last: 1, per: dag_id}",
        "where: {run_type: manual}\nretain: {for: 92 days}",
    ),
    root="dag_run",
    due="start_date < '2026-08-01 00:00:00' AND NOT (run_type = 'scheduled' AND start_date = (SELECT max(start_date)"
    " FROM dag_run l WHERE l.dag_id = dag_run.dag_id AND l.run_type = 'scheduled'))",
    gone={"task_instance": 3, "xcom": 3, "rendered_task_instance_fields": 3, "task_reschedule": 1,
          "task_instance_note": 1, "task_instance_history": 1},
    some=("dag_run_note",),
)  # fmt: skip

BUILDBOT = Schema(
    name="buildbot",
    packages=("buildbot==4.3.0", "setuptools<81", "psycopg2-binary", "pymysql"),
    declared="""\
        table: builds
        key: id
        created: complete_at
        unit: s
        columns: [results]
        dependents:
          buildsets: [{key: parent_buildid, then: detach}, {key: rebuilt_buildid, then: block}]
          build_properties: {key: buildid}
          build_data: {key: buildid}
          test_result_sets: {key: buildid, then: block}
          steps:
            key: buildid
            dependents:
              logs: {key: stepid, dependents: {logchunks: {key: logid}}}
              test_result_sets: {key: stepid, dependents: {test_results: {key: test_result_setid}}}
""",
    policies=("all: true\nretain: {for: 92 days}",),
    root="builds",
    due="complete_at < 1785542400",
    gone={"steps": 2, "logs": 2, "logchunks": 2, "build_properties": 1, "test_result_sets": 1, "test_results": 1},
    some=("build_data",),
)

TRAC = Schema(
    name="trac",
    packages=("Trac==1.6", "setuptools<81", "multipart", "psycopg2-binary", "pymysql"),
    declared="""\
        table: ticket
        key: id
        created: changetime
        unit: us
        tags: {column: keywords}
        columns: [status, type]
        dependents:
          ticket_change: {key: ticket}
          ticket_custom: {key: ticket}
          attachment: {key: id, when: {type: ticket}}
""",
    policies=("tags: [temporary]\nwhere: {status: closed}\nretain: {for: 1 year}",),
    root="ticket",
    due="keywords = 'crash, temporary' AND changetime < 1761955200000000",
    gone={"ticket_change": 3},
    some=("attachment",),
)

HELPDESK = Schema(
    name="helpdesk",
    packages=("django-helpdesk==2.6.1", "psycopg2-binary", "pymysql"),
    declared="""\
        table: helpdesk_ticket
        key: id
        created: modified
        timezone: UTC
        columns: [status]
        dependents:
          helpdesk_ticket: {key: merged_to_id, then: block}
          helpdesk_ticketdependency: [{key: ticket_id}, {key: depends_on_id, then: block}]
          helpdesk_ticketcc: {key: ticket_id}
          helpdesk_ticketcustomfieldvalue: {key: ticket_id}
          helpdesk_checklist: {key: ticket_id, dependents: {helpdesk_checklisttask: {key: checklist_id}}}
          helpdesk_followup:
            key: ticket_id
            dependents:
              helpdesk_followupattachment: {key: followup_id}
              helpdesk_ticketchange: {key: followup_id}
""",
    policies=("where: {status: 4}\nretain: {for: 1 year}",),
    root="helpdesk_ticket",
    due="modified < '2025-11-01 00:00:00' AND NOT EXISTS (SELECT 1 FROM helpdesk_ticketdependency d"
    " WHERE d.depends_on_id = helpdesk_ticket.id)",
    gone={"helpdesk_followup": 1, "helpdesk_followupattachment": 1, "helpdesk_ticketchange": 1, "helpdesk_ticketcc": 1},
    some=("helpdesk_ticketdependency",),
)

SCHEMAS = (AIRFLOW, BUILDBOT, TRAC, HELPDESK)
