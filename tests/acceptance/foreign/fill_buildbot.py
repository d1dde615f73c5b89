"""Make and fill Buildbot's database by its own models: `fill_buildbot.py FOLDER URL`, in an environment with Buildbot."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from buildbot.db.model import Model

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
driver = {"mysql": "mysql+pymysql", "postgresql": "postgresql+psycopg2"}
scheme, _, rest = sys.argv[2].partition(":")
engine = sa.create_engine(f"{driver.get(scheme, scheme)}:{rest}")
Model.metadata.create_all(engine)


def seconds(moment: datetime) -> int:
    return int(moment.timestamp())


with engine.begin() as connection:

    def add(table: str, **values: object) -> int:
        """The new row's id; 0 where the table has none."""
        key = connection.execute(sa.insert(Model.metadata.tables[table]).values(**values)).inserted_primary_key
        return key[0] if key else 0

    master = add("masters", name="main", name_hash="m" * 40, active=1, last_active=seconds(NOW))
    worker = add("workers", name="worker-1", info={}, paused=0, graceful=0)
    builder = add("builders", name="linux", name_hash="b" * 40)
    name = add("test_names", builderid=builder, name="test_a")
    path = add("test_code_paths", builderid=builder, path="a.py")
    for day in range(200):
        began = NOW - timedelta(days=day)
        ended = began + timedelta(minutes=10)
        buildset = add(
            "buildsets",
            reason="nightly",
            submitted_at=seconds(began),
            complete=1,
            complete_at=seconds(ended),
            results=0,
        )
        add("buildset_properties", buildsetid=buildset, property_name="n", property_value=f'[{day}, "x"]')
        request = add(
            "buildrequests",
            buildsetid=buildset,
            builderid=builder,
            priority=0,
            complete=1,
            results=0,
            submitted_at=seconds(began),
            complete_at=seconds(ended),
            waited_for=0,
        )
        add("buildrequest_claims", brid=request, masterid=master, claimed_at=seconds(began))
        build = add(
            "builds",
            number=day + 1,
            builderid=builder,
            buildrequestid=request,
            workerid=worker,
            masterid=master,
            started_at=seconds(began),
            complete_at=seconds(ended),
            locks_duration_s=0,
            state_string="done",
            results=0,
        )
        add("build_properties", buildid=build, name="branch", value='"main"', source="Build")
        if day % 5 == 0:
            add("build_data", buildid=build, name="report", value=bytes(range(256)), length=256, source="step")
        for number in range(2):
            step = add(
                "steps",
                number=number,
                name=f"step{number}",
                buildid=build,
                started_at=seconds(began),
                locks_acquired_at=seconds(began),
                complete_at=seconds(ended),
                state_string="ok",
                results=0,
                urls_json="[]",
                hidden=0,
            )
            log = add("logs", name="stdio", slug="stdio", stepid=step, complete=1, num_lines=2, type="s")
            add(
                "logchunks",
                logid=log,
                first_line=0,
                last_line=1,
                content=f"line ü {day}\nline 2".encode(),
                compressed=0,
            )
        results = add(
            "test_result_sets",
            builderid=builder,
            buildid=build,
            stepid=step,
            description="unit",
            category="pass",
            value_unit="s",
            tests_passed=1,
            tests_failed=0,
            complete=1,
        )
        add(
            "test_results",
            builderid=builder,
            test_result_setid=results,
            test_nameid=name,
            test_code_pathid=path,
            line=1,
            duration_ns=5,
            value="1",
        )
