"""The SQL that deletes, word for word in each dialect, and what must stand in it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from retention.holds.hold import Hold, HoldState
from retention.holds.scope import Keys, Tagged
from retention.policy.condition import Compare, Operator
from retention.policy.mark import Mark
from retention.policy.period import Period
from retention.policy.policy import LegalBound, Limits, Policy, Retain, Schedule
from retention.policy.policy_set import PolicySet
from retention.policy.tags import TagMatch
from retention.sources import statements
from retention.sources.bound_class import BoundClass
from retention.sources.predicate import due, held, held_keys
from retention.sources.sql import Bool, column, temporary

MARK = Mark(file="policies/x.yaml")
ZONE = ZoneInfo("Asia/Shanghai")
AS_OF = datetime(2026, 11, 1, tzinfo=UTC)
Bind = Callable[[str], BoundClass]


def _policy(name: str, days: int, tags: TagMatch | None, where: Compare | None) -> Policy:
    return Policy(
        name=name,
        title=name,
        mandate=None,
        owner=None,
        records="crm.logs",
        tags=tags,
        where=where,
        retain=Retain(period=Period(days=days)),
        archive=None,
        schedule=Schedule(cron="0 2 1 * *", timezone=ZONE),
        approval=False,
        limits=Limits(),
        digest="",
        mark=MARK,
    )


def _hold(scope: Keys | Tagged) -> Hold:
    return Hold(id="H-1", matter="m", reason="r", placed_by="p", placed_at=AS_OF, scope=scope, state=HoldState.IN_FORCE)


def _due(bound: BoundClass) -> Bool:
    closed = Compare(column="status", operator=Operator.IS, value="it's 100% \\closed", mark=MARK)
    policies = PolicySet(
        policies=(_policy("notes", 90, TagMatch(all=("note",)), None), _policy("sales", 365, None, closed)),
        bounds=(),
        timezone=ZONE,
        digest="",
    )
    holds = [_hold(Keys(records="crm.logs", count=1))]
    return due(bound, policies.policies[0], policies, AS_OF, held(bound, holds, {"crm.logs": bound}, ZONE))


# 2026-11-01 is the 1st in Shanghai; 90 days before that, the 3rd of August begins at 2026-08-02 16:00 UTC.
_CUTOFF = int(datetime(2026, 8, 2, 16, tzinfo=UTC).timestamp())
_KEYS = held_keys("crm.logs")


def test_postgresql_deletes_under_the_whole_predicate(bound_by_hand: Bind) -> None:
    bound = bound_by_hand("postgresql")
    text = bound.source.compile(statements.delete_due(bound, _due(bound), after=(7,), until=(70,)))
    assert text == (
        'DELETE FROM "public"."logs" WHERE'
        f' "public"."logs"."stamp" IS NOT NULL AND "public"."logs"."stamp" < {_CUTOFF}'
        ' AND (EXISTS (SELECT 1 \nFROM "public"."log_tags" \nWHERE "public"."log_tags"."log_id" = "public"."logs"."id"'
        ' AND (CAST("public"."log_tags"."tag" AS TEXT) COLLATE "C") = \'note\'))'
        ' AND NOT ("public"."logs"."status" IS NOT NULL'
        ' AND ("public"."logs"."status" COLLATE "C") = \'it\'\'s 100% \\closed\')'
        f' AND ("public"."logs"."id" NOT IN (SELECT "pg_temp"."{_KEYS}"."key_0" \nFROM "pg_temp"."{_KEYS}"'
        f' \nWHERE "pg_temp"."{_KEYS}"."hold" IN (\'H-1\')))'
        ' AND "public"."logs"."id" > 7 AND "public"."logs"."id" <= 70'
    )


def test_sqlite_deletes_under_the_whole_predicate(bound_by_hand: Bind) -> None:
    bound = bound_by_hand("sqlite")
    text = bound.source.compile(statements.delete_due(bound, _due(bound), after=(7,), until=(70,)))
    assert text.startswith('DELETE FROM "main"."logs" WHERE')
    for part in _conditions(bound):
        assert part in text
    assert text.endswith('"main"."logs"."id" > 7 AND "main"."logs"."id" <= 70')


def test_mariadb_deletes_what_was_noted_under_the_whole_predicate(bound_by_hand: Bind) -> None:
    bound = bound_by_hand("mysql")
    text = bound.source.compile(statements.delete_due(bound, _due(bound), after=(7,), until=(70,)))
    assert text == (
        "DELETE FROM `crm`.`logs` USING `crm`.`logs`, `retention_batch_keys` "
        "WHERE `crm`.`logs`.`id` = `retention_batch_keys`.`id` AND CASE WHEN"
        f" (`crm`.`logs`.`stamp` IS NOT NULL AND `crm`.`logs`.`stamp` < {_CUTOFF}"
        " AND (EXISTS (SELECT 1 \nFROM `crm`.`log_tags` \nWHERE `crm`.`log_tags`.`log_id` = `crm`.`logs`.`id`"
        " AND CAST(convert(`crm`.`log_tags`.`tag` USING utf8mb4) AS BINARY) = 'note'))"
        " AND NOT (`crm`.`logs`.`status` IS NOT NULL"
        " AND CAST(convert(`crm`.`logs`.`status` USING utf8mb4) AS BINARY) = 'it''s 100% \\closed')"
        f" AND (`crm`.`logs`.`id` NOT IN (SELECT `{_KEYS}`.`key_0` \nFROM `{_KEYS}` \nWHERE `{_KEYS}`.`hold` IN ('H-1'))))"
        " THEN 1 ELSE 0 END = 1"
    )


def test_mariadb_reads_what_it_noted_and_locks_it(bound_by_hand: Bind) -> None:
    bound = bound_by_hand("mysql")
    assert bound.source.compile(statements.batch_keys(bound, _due(bound), after=(7,), rows=10)).endswith(" LIMIT 10")
    for read in (statements.select_batch(bound), statements.select_batch_dependents(bound, bound.dependents[0])):
        assert bound.source.compile(read([column("id")])).endswith(" FOR UPDATE")


def test_a_condition_on_the_table_itself_is_no_join(bound_by_hand: Bind) -> None:
    """The servers refuse to delete by a join what a subquery reads (error 1093)."""
    bound = bound_by_hand("mysql")
    other = bound.aliased("kin")
    siblings = sa.exists(sa.literal_column("1")).select_from(other.rows).where(other.key[0] == bound.key[0])
    text = bound.source.compile(statements.delete_due(bound, ~siblings, after=(7,), until=(70,)))
    assert text.startswith(
        "DELETE FROM `crm`.`logs` USING `crm`.`logs`, (SELECT `crm`.`logs`.`id` AS `id` \nFROM `crm`.`logs`,"
    )
    assert "`crm`.`logs`.`id` > 7 AND `crm`.`logs`.`id` <= 70 \n LIMIT 18446744073709551615) AS judged WHERE" in text
    assert text.endswith("`crm`.`logs`.`id` = judged.`id`")


def test_a_temporary_table_is_opened_once(bound_by_hand: Bind) -> None:
    """MySQL refuses to open one twice in a statement (error 1137): each further place names a copy of its own."""
    bound = bound_by_hand("mysql")
    keys = temporary("mysql", "held_x", ("key_0",))
    chosen = sa.select(keys.c.key_0).select_from(keys).correlate_except(keys)
    text = bound.source.compile(statements.count(bound, bound.key[0].in_(chosen) & ~bound.key[0].in_(chosen)))
    assert re.findall(r"FROM (`held_x[^)]*)", text) == ["`held_x`", "`held_x__2` AS `held_x`"]


def _conditions(bound: BoundClass) -> list[str]:
    """What must stand in every statement that deletes records, or chooses those to delete."""
    if bound.dialect == "mysql":
        return [
            f"`crm`.`logs`.`stamp` < {_CUTOFF}",
            "= 'note'",
            "= 'it''s 100% \\closed'",
            f"`crm`.`logs`.`id` NOT IN (SELECT `{_KEYS}`.`key_0`",
            "IN ('H-1')",
        ]
    schema, temp = ("main", "temp") if bound.dialect == "sqlite" else ("public", "pg_temp")
    return [
        f'"{schema}"."logs"."stamp" < {_CUTOFF}',
        "= 'note'",
        "= 'it''s 100% \\closed'",
        f'"{schema}"."logs"."id" NOT IN (SELECT "{temp}"."{_KEYS}"."key_0"',
        "IN ('H-1')",
    ]


def _choosing(bound: BoundClass) -> list[str]:
    """Every statement that deletes records, or notes those that the next one deletes."""
    condition = _due(bound)
    compiled = bound.source.compile
    if bound.dialect != "postgresql":
        return [
            compiled(statements.delete_due(bound, condition, after=None, until=None)),
            compiled(statements.batch_keys(bound, condition, after=None, rows=10)),
        ]
    returning = statements.delete_due_returning(bound, condition, after=None, until=None)
    return [
        compiled(statements.delete_due(bound, condition, after=None, until=None)),
        compiled(returning([column("id")])),
        compiled(statements.delete_with_dependents(bound, condition, after=None, until=None)),
    ]


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql", "mysql"])
def test_expiry_precedence_and_holds_stand_in_every_deletion(bound_by_hand: Bind, dialect: str) -> None:
    bound = bound_by_hand(dialect)
    for text in _choosing(bound):
        for part in _conditions(bound):
            assert part in text


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql", "mysql"])
def test_no_deletion_has_a_limit(bound_by_hand: Bind, dialect: str) -> None:
    bound = bound_by_hand(dialect)
    deletions = [text for text in _choosing(bound) if "DELETE" in text]
    assert deletions
    assert not any("LIMIT" in text for text in deletions)


def test_postgresql_deletes_dependents_in_the_same_statement(bound_by_hand: Bind) -> None:
    bound = bound_by_hand("postgresql")
    text = bound.source.compile(statements.delete_with_dependents(bound, _due(bound), after=None, until=None))
    assert text.count("DELETE FROM") == 3
    for dependent in ("notes", "log_tags"):
        assert f'DELETE FROM "public"."{dependent}" WHERE "public"."{dependent}"."log_id" IN (SELECT' in text


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql", "mysql"])
def test_a_hold_by_tag_covers_what_cannot_be_read_too(bound_by_hand: Bind, dialect: str) -> None:
    bound = bound_by_hand(dialect)
    covered = held(bound, [_hold(Tagged(tag="x", records=("crm.logs",)))], {"crm.logs": bound}, ZONE)
    text = bound.source.compile(statements.count(bound, covered))
    assert "= 'x'" in text
    assert ("typeof" in text) == (dialect == "sqlite")  # PostgreSQL's tag column is text, and always readable


def test_composite_keys_of_mariadb_are_compared_so_that_their_index_serves(bound_by_hand: Bind) -> None:
    from dataclasses import replace

    bound = bound_by_hand("mysql")
    bound = replace(bound, record_class=replace(bound.record_class, key=("stamp", "id")))
    text = bound.source.compile(statements.select_due(bound, sa.true(), after=(5, 7), until=None)([column("id")]))
    logs = "`crm`.`logs`"
    assert f"{logs}.`stamp` >= 5 AND ({logs}.`stamp` > 5 OR {logs}.`stamp` = 5 AND {logs}.`id` > 7) ORDER BY" in text


def test_composite_keys_are_compared_as_rows(bound_by_hand: Bind) -> None:
    from dataclasses import replace

    bound = bound_by_hand("postgresql")
    bound = replace(bound, record_class=replace(bound.record_class, key=("status", "id")))
    text = bound.source.compile(statements.window_end(bound, after=("a'b", 7), rows=100))
    assert '("public"."logs"."status", "public"."logs"."id") > (\'a\'\'b\', 7)' in text
    assert 'ORDER BY "public"."logs"."status", "public"."logs"."id"' in text


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql", "mysql"])
def test_each_of_several_minimums_of_one_name_keeps(bound_by_hand: Bind, dialect: str) -> None:
    bound = bound_by_hand(dialect)
    minimums = tuple(
        LegalBound(
            kind="minimum",
            records="crm.logs",
            tags=None,
            where=Compare(column="status", operator=Operator.IS, value=status, mark=MARK),
            period=Period(days=1000),
            mandate="the law",
            mark=MARK,
        )
        for status in ("first", "second")
    )
    policies = PolicySet(policies=(_policy("notes", 90, None, None),), bounds=minimums, timezone=ZONE, digest="")
    condition = due(bound, policies.policies[0], policies, AS_OF, sa.false())
    text = bound.source.compile(statements.delete_due(bound, condition, after=None, until=None))
    assert "= 'first'" in text
    assert "= 'second'" in text
