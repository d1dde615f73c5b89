"""What testers broke once: each of these deleted, or said, what it must not."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from retention.disposition import holding
from retention.holds.scope import Keys
from retention.ledger import tables

ROWS = 300


@pytest.mark.parametrize(
    "damage",
    [
        sa.delete(tables.hold_key),
        sa.update(tables.hold).values(
            state="released", released_at="2020-01-01T00:00:00.000000Z", released_by="x", release_reason="y"
        ),
        sa.update(tables.hold).values(scope='{"kind":"everything"}', first_day="1990-01-01", last_day="1990-01-02"),
    ],
)
def test_a_hold_that_was_changed_in_its_table_alone_stops_every_deletion(plain_site: Any, damage: Any) -> None:
    plain_site.fill(ROWS)
    holding.place(
        plain_site.engine(), matter="M", reason="R", scope=Keys(records="crm.activities", count=1), keys=["15"]
    )
    with plain_site.engine().control.write() as connection:
        connection.execute(damage)
    done = plain_site.cli("run", "--yes", "--as-of", "2026-10-01")
    assert done.returncode == 1
    assert "nothing is planned or deleted while the holds are not what the ledger says" in done.stderr
    assert len(plain_site.ids()) == ROWS


def test_rows_that_go_with_another_class_can_have_no_rule_of_their_own(site: Any) -> None:
    """Their records would take them along, whatever the rule says."""
    site.fill(ROWS)
    text = site.config.read_text()
    comments = "      comments: {table: activity_comments, key: id, created: id, unit: s, "
    comments += "dependents: {comment_files: {key: comment_id}}}\n"
    site.config.write_text(text.replace("archives:", f"{comments}archives:"))
    (site.folder / "policies" / "comments.yaml").write_text(
        "policy: comments\ntitle: Comments\nrecords: crm.comments\nall: true\nretain: {for: forever}\n"
        "archive: {to: cold, keep: forever}\nthen: delete\nschedule: yearly\n"
    )
    for command in (("validate",), ("run", "service-notes", "--yes", "--as-of", "2026-10-01"), ("plan", "comments")):
        done = site.cli(*command)
        assert done.returncode == 2, done.stdout
        assert "so a rule of their own cannot keep them" in done.stderr
    assert len(site.ids()) == ROWS
