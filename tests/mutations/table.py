"""Each protection, taken out; and the test that must then fail. `old` stands exactly once in its file: a test sees to it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """One change of one file."""

    promise: str
    name: str
    file: str
    old: str
    new: str
    #: as pytest names it
    test: str


_BIND = "tests/integration/sources/test_bind.py"
_CIRCLES = "tests/integration/disposition/test_circles.py"
_DEPENDENTS = "tests/integration/disposition/test_dependents.py"
_RACES = "tests/proofs/test_races.py"
_STOPPED = f"{_RACES}::test_a_hold_placed_while_the_clean_up_is_stopped_at_each_step"

MUTATIONS = (
    Mutation(
        promise="P1",
        name="the batch without its fence",
        file="retention/disposition/batch.py",
        old="        session.share_fence(list(job.engine.kin(job.bound.address)))\n",
        new="",
        test=f"{_STOPPED}[postgresql]",
    ),
    Mutation(
        promise="P1",
        name="SQLite without its write lock",
        file="retention/sources/sqlite.py",
        old='self.execute("BEGIN IMMEDIATE" if write else "BEGIN")',
        new='self.execute("BEGIN")',
        test=f"{_STOPPED}[sqlite]",
    ),
    Mutation(
        promise="P1",
        name="MariaDB without its named locks",
        file="retention/sources/mariadb_session.py",
        old="            slots = random.sample(range(SLOTS), SLOTS)\n",
        new="            continue\n",
        test=f"{_STOPPED}[mariadb]",
    ),
    Mutation(
        promise="P1",
        name="PostgreSQL: a hold that waited too long for a batch is in force all the same",
        file="retention/sources/postgresql.py",
        old='self.rows(f"SELECT pg_advisory_xact_lock({fence_key(address)})::text")',
        new='self.execute(f"SELECT pg_advisory_xact_lock({fence_key(address)})::text")',
        test="tests/integration/sources/test_sessions.py::test_a_fence_that_is_not_free_in_time_is_not_passed[postgresql]",
    ),
    Mutation(
        promise="P1",
        name="the columns of held keys bear the names of the key, which may be that of the hold",
        file="retention/sources/predicate.py",
        old='return (*(f"key_{place}" for place in range(len(bound.record_class.key))), "hold")',
        new='return (*bound.record_class.key, "hold")',
        test="tests/integration/disposition/test_keys.py::test_a_key_of_any_name_is_held[sqlite-hold]",
    ),
    Mutation(
        promise="P6",
        name="PostgreSQL: COMMIT rolls back without a word",
        file="retention/sources/postgresql.py",
        old='self.rows("SELECT 1")',
        new="pass",
        test="tests/integration/sources/test_sessions.py"
        "::test_a_transaction_in_which_something_failed_unnoticed_cannot_be_committed",
    ),
    Mutation(
        promise="P1",
        name="a list of tags that is too long for MariaDB's patterns is read",
        file="retention/sources/mariadb_tags.py",
        old=" WHEN char_length({u}) > {_LONGEST} THEN false",
        new="",
        test="tests/proofs/test_hostile_names.py::test_a_hold_by_a_tag_among_too_many_for_mariadb",
    ),
    Mutation(
        promise="P1",
        name="a destruction without its fence",
        file="retention/disposition/destroy.py",
        old="        session.share_fence([batch.records, *engine.addresses(source)])\n",
        new="",
        test=f"{_RACES}::test_a_hold_placed_while_copies_are_being_destroyed[postgresql-destroy.after-begun]",
    ),
    Mutation(
        promise="P1",
        name="a pending hold refuses nothing",
        file="retention/disposition/batch.py",
        old="        refuse_unconfirmed(holds, job.source.name)\n",
        new="",
        test="tests/integration/disposition/test_holds.py::test_a_pending_hold_refuses_every_deletion_on_its_source",
    ),
    Mutation(
        promise="P1",
        name="a hold does not reach up from what goes with the record",
        file="retention/sources/predicate.py",
        old="                if dependent.then is not Then.BLOCK and _is_table(dependent, other):\n",
        new="                if False:\n",
        test=f"{_DEPENDENTS}::test_a_hold_reaches_over_every_level_both_ways",
    ),
    Mutation(
        promise="P2",
        name="nobody looks who refers to what goes",
        file="retention/sources/bind.py",
        old="    yield from dangerous_references(bound)\n",
        new="",
        test=f"{_DEPENDENTS}::test_one_undeclared_level_stops_everything",
    ),
    Mutation(
        promise="P3",
        name="the deletion does not ask what blocks",
        file="retention/sources/predicate.py",
        old="    return sa.and_(going, *(sa.not_(one) for one in blocked_by(bound).values()))\n",
        new="    return going\n",
        test=f"{_DEPENDENTS}::test_a_row_that_comes_between_plan_and_batch_blocks_too",
    ),
    Mutation(
        promise="P3",
        name="the deletion takes the last of a group",
        file="retention/sources/predicate.py",
        old="        sa.not_(among_last(bound, policy, as_of, zone)),\n",
        new="",
        test="tests/integration/disposition/test_keep_last.py::test_a_plan_says_how_many_and_a_run_leaves_just_these",
    ),
    Mutation(
        promise="P2",
        name="what closes a circle is not left empty",
        file="retention/disposition/put_back.py",
        old="    empty = {name for one in closing for name in one.loose}\n",
        new="    empty: set[str] = set()\n",
        test=f"{_CIRCLES}::test_a_record_refers_to_a_dependent_of_its_own[postgresql-NO ACTION]",
    ),
    Mutation(
        promise="P2",
        name="what closes a circle is never set",
        file="retention/disposition/put_back.py",
        old="        if not closing:\n",
        new="        if closing:\n",
        test=f"{_CIRCLES}::test_a_record_refers_to_a_dependent_of_its_own[sqlite-NO ACTION]",
    ),
    Mutation(
        promise="P2",
        name="nobody looks whether what closes a circle is there",
        file="retention/disposition/put_back.py",
        old="            if astray:\n",
        new="            if False:\n",
        test=f"{_CIRCLES}::test_a_row_that_is_not_there_when_the_circle_is_closed[sqlite]",
    ),
    Mutation(
        promise="P2",
        name="what a restore put back is not compared",
        file="retention/disposition/restore.py",
        old="""        close_circles(session, bound, back)
        for one in back:  # last, so that what a trigger did to it when other rows came is seen as well
            compare(session, bound, one, back)
""",
        new="        close_circles(session, bound, back)\n",
        test=f"{_CIRCLES}::test_what_a_trigger_does_when_the_circle_is_closed_is_seen[sqlite]",
    ),
    Mutation(
        promise="P2",
        name="rows come back in the order in which they are declared",
        file="retention/sources/order.py",
        old="        free = [one for one in waiting if not any(_must_follow(one, other) for other in waiting)]\n",
        new="        free = waiting[:1]\n",
        test=f"{_CIRCLES}::test_dependents_refer_to_one_another[sqlite-comments]",
    ),
    Mutation(
        promise="P2",
        name="MariaDB takes rows of one table in any order",
        file="retention/sources/order.py",
        old="[one for one in _within(bound) if one.loose]",
        new="[]",
        test=f"{_CIRCLES}::test_rows_of_one_table_refer_to_one_another_in_any_order[mariadb]",
    ),
    Mutation(
        promise="P2",
        name="a circle is closed by what may not be null",
        file="retention/sources/order.py",
        old="one.nullable and not one.generated",
        new="not one.generated",
        test=f"{_BIND}::test_what_closes_a_circle_may_be_empty_for_a_while",
    ),
    Mutation(
        promise="P2",
        name="a circle is closed by what is computed",
        file="retention/sources/order.py",
        old="one.nullable and not one.generated and",
        new="one.nullable and",
        test=f"{_BIND}::test_what_closes_a_circle_may_be_empty_for_a_while",
    ),
    Mutation(
        promise="P2",
        name="a circle is closed by what others refer to",
        file="retention/sources/order.py",
        old=", *(one for other in table.referenced_by for one in other.parent_columns)",
        new="",
        test=f"{_BIND}::test_what_closes_a_circle_may_be_empty_for_a_while",
    ),
    Mutation(
        promise="P2",
        name="a circle is closed by a part of MATCH FULL",
        file="retention/sources/order.py",
        old=" and (not reference.match_full or len(loose) == len(columns))",
        new="",
        test=f"{_BIND}::test_what_closes_a_circle_may_be_empty_for_a_while",
    ),
    Mutation(
        promise="P2",
        name="a domain that says NOT NULL is not looked at",
        file="retention/sources/postgresql_schema.py",
        old="b.required OR t.typnotnull",
        new="b.required",
        test=f"{_BIND}::test_what_closes_a_circle_may_be_empty_for_a_while",
    ),
    Mutation(
        promise="P2",
        name="a circle is closed by rows that have no key",
        file="retention/sources/order.py",
        old="return loose if key and (",
        new="return loose if (",
        test=f"{_BIND}::test_rows_without_a_key_close_no_circle",
    ),
    Mutation(
        promise="P2",
        name="MariaDB: a reference of which the user is not told what it does is overlooked",
        file="retention/sources/mariadb_schema.py",
        old="key_column_usage k LEFT JOIN information_schema.referential_constraints r",
        new="key_column_usage k JOIN information_schema.referential_constraints r",
        test="tests/integration/disposition/test_rights.py"
        "::test_a_table_of_another_database_that_refers_to_the_records_is_seen[mysql]",
    ),
    Mutation(
        promise="P2",
        name="a circle is to be closed without the right to",
        file="retention/disposition/restore.py",
        old="        refuse_without(bound.source, list(closing.values()), Need.UPDATE)\n",
        new="        pass\n",
        test="tests/integration/disposition/test_rights.py::test_a_restore_that_closes_a_circle_needs_the_right_to_update",
    ),
    Mutation(
        promise="P2",
        name="a changed file is not noticed",
        file="retention/archive/verify.py",
        old="    if sha256(content).hexdigest() != digest:\n",
        new="    if len(content) == 0:\n",
        test="tests/proofs/test_tampering_archive.py::test_every_byte_of_every_file_flipped_in_turn_is_found_and_named",
    ),
    Mutation(
        promise="P2",
        name="columns that came later are deleted",
        file="retention/disposition/batch.py",
        old="        refuse_drift(session, job.bound)\n",
        new="",
        test="tests/proofs/test_environment.py::test_a_schema_that_changes_between_plan_and_batch[sqlite-a column more]",
    ),
    Mutation(
        promise="P2",
        name="what came to cascade deletes unarchived rows",
        file="retention/sources/drift.py",
        old="        if bound.actions.get(name) != marks:\n",
        new="        if False:\n",
        test="tests/proofs/test_environment.py::test_a_schema_that_changes_between_plan_and_batch"
        "[postgresql-a reference that cascades]",
    ),
    Mutation(
        promise="P2",
        name="the only copy is taken for litter",
        file="retention/disposition/litter.py",
        old="        litter -= _only_copies(engine, store, run, litter)\n",
        new="",
        test="tests/integration/scheduling/test_backup.py",
    ),
    Mutation(
        promise="P3",
        name="the deletion without the expiry",
        file="retention/sources/predicate.py",
        old="        expired(bound, policy.retain, as_of, zone),\n        matches(",
        new="        matches(",
        test="tests/integration/disposition/test_run.py",
    ),
    Mutation(
        promise="P3",
        name="the deletion without the holds",
        file="retention/sources/predicate.py",
        old="        sa.not_(held),\n",
        new="",
        test="tests/integration/disposition/test_holds.py",
    ),
    Mutation(
        promise="P3",
        name="a batch does not ask the clock",
        file="retention/disposition/batch.py",
        old="    refuse_early(job.as_of, job.engine.now())\n",
        new="",
        test="tests/integration/disposition/test_policies_changed.py"
        "::test_a_run_that_was_planned_while_the_clock_was_ahead_does_not_go_on[plain-sqlite]",
    ),
    Mutation(
        promise="P4",
        name="slots that nobody began all run",
        file="retention/scheduling/opening.py",
        old="        for slot in waiting[:-1]:\n",
        new="        for slot in waiting[:0]:\n",
        test="tests/integration/scheduling/test_slots.py::test_run_once_also_where_beats_ran_and_workers_did_not",
    ),
    Mutation(
        promise="P4",
        name="a slot is opened by every beat",
        file="retention/ledger/slots.py",
        old="    if connection.execute(sa.select(table.c.policy).where(there)).first() is not None:\n        return False\n",
        new="    connection.execute(sa.delete(table).where(there))\n",
        test="tests/integration/scheduling/test_slots.py::test_a_new_zone_to_the_west_brings_no_day_twice",
    ),
    Mutation(
        promise="P4",
        name="a changed schedule forgets what came due before",
        file="retention/scheduling/opening.py",
        old="    before = Schedule(cron=seen.cron, timezone=ZoneInfo(seen.zone))\n",
        new="    before = schedule\n",
        test="tests/integration/scheduling/test_slots.py"
        "::test_a_new_cron_counts_from_when_it_was_seen_and_the_old_one_until_then",
    ),
    Mutation(
        promise="P4",
        name="a worker that lost its slot begins it all the same",
        file="retention/disposition/shift.py",
        old="        if not slot_leases.still_leased(connection, slot, owner):\n",
        new="        if False:\n",
        test="tests/integration/disposition/test_shift.py::test_a_worker_that_lost_its_slot_begins_nothing",
    ),
    Mutation(
        promise="P5",
        name="entries that do not hang together",
        file="retention/ledger/verify.py",
        old="        if not link.sound or link.previous == (before.hash if before else GENESIS):\n",
        new="        if True:\n",
        test="tests/proofs/test_tampering_ledger.py::test_every_entry_changed_with_a_hash_that_fits_it",
    ),
    Mutation(
        promise="P5",
        name="confirmations are not compared",
        file="retention/ledger/cross_check.py",
        old='    "hold.confirmed": ("confirmed",),\n',
        new='    "hold.confirmed": (),\n',
        test="tests/proofs/test_tampering_ledger.py::test_every_column_of_every_row",
    ),
    Mutation(
        promise="P5",
        name="a destruction that nobody planned",
        file="retention/ledger/cross_check.py",
        old="    findings += _unplanned_destructions(connection)\n",
        new="",
        test="tests/proofs/test_tampering_ledger.py::test_every_column_of_every_row",
    ),
    Mutation(
        promise="P5",
        name="a signature that is not checked",
        file="retention/ledger/checkpoint.py",
        old="        key.verify(bytes.fromhex(found.signature), canonical(_signed(found)).encode())\n",
        new="        bytes.fromhex(found.signature)\n",
        test="tests/proofs/test_tampering_ledger.py::test_every_byte_of_a_checkpoint",
    ),
    Mutation(
        promise="P6",
        name="a process that lost its work prepares",
        file="retention/ledger/batches.py",
        old="    if lease.run_id != batch.run_id or not shards.still_leased(connection, lease):\n",
        new="    if lease.run_id != batch.run_id:\n",
        test="tests/integration/disposition/test_crash.py"
        "::test_a_process_whose_run_was_taken_over_meanwhile_deletes_nothing",
    ),
    Mutation(
        promise="P6",
        name="doubt is taken for a commit",
        file="retention/disposition/recover.py",
        old="    committed = _committed(engine, batch)\n",
        new="    committed = True\n",
        test="tests/proofs/test_crashes.py::test_a_few_pairs_of_kills",
    ),
    Mutation(
        promise="P6",
        name="nothing of a dead process is tidied up",
        file="retention/disposition/litter.py",
        old="        drop(store, sorted(litter))\n",
        new="",
        test="tests/proofs/test_crashes.py::test_each_step_as_a_kill[sqlite]",
    ),
    Mutation(
        promise="P7",
        name="unknown keys are passed over",
        file="retention/policy/form.py",
        old='                self.refuse(mark, f"{what} has no key {shown(key)}", nearest(key, known))\n',
        new="                pass\n",
        test="tests/proofs/test_bad_input.py::test_a_broken_policy_is_told_and_never_says_less",
    ),
    Mutation(
        promise="P7",
        name="a bad file stops only itself",
        file="retention/policy/load.py",
        old="    if form.problems:\n        return None, sorted(form.problems)\n",
        new="",
        test="tests/proofs/test_bad_input.py::test_one_bad_file_keeps_every_policy_from_running",
    ),
    Mutation(
        promise="P7",
        name="rows that are hidden from the role are not asked for",
        file="retention/sources/postgresql_rights.py",
        old='    if session.rows(f"SELECT row_security_active({relation})") == [(True,)]:\n',
        new="    if False:\n",
        test="tests/integration/disposition/test_rights.py::test_a_right_that_is_missing_is_named_with_what_to_grant",
    ),
)
