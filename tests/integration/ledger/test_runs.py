from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa

from retention.errors import NotFound, Refused
from retention.ledger import chain, owner, runs
from retention.ledger.control import Control
from retention.ledger.runs import FINAL, RUN_EDGES, RunState
from retention.ledger.tables import run as run_table
from retention.ledger.verify import verify_chain

NOW = datetime(2026, 10, 1, 2, 0, 30, tzinfo=UTC)
NOBODY = "elsewhere:1:1"


def new(
    connection: sa.Connection,
    *,
    policy: str = "sales-records",
    kind: runs.RunKind = runs.RunKind.DISPOSITION,
    at: datetime = NOW,
) -> runs.Run:
    return runs.create(
        connection,
        kind=kind,
        policy=policy,
        policy_digest="a" * 64,
        set_digest="b" * 64,
        records="crm.activities",
        as_of=NOW,
        requested_by="li",
        plan={"due": 3},
        at=at,
    )


def put(connection: sa.Connection, run_id: str, state: RunState) -> None:
    connection.execute(run_table.update().where(run_table.c.id == run_id).values(state=state.value))


def test_a_new_run(control: Control) -> None:
    with control.write() as connection:
        run = new(connection, at=datetime(2026, 10, 1, 10, 0, tzinfo=timezone(timedelta(hours=8))))
    assert re.fullmatch(r"R-20261001-0200-sales-records-[0-9a-f]{4}", run.id)
    assert run.state is RunState.PLANNED
    assert run.plan == {"due": 3}
    assert run.as_of == NOW and run.created_at == datetime(2026, 10, 1, 2, tzinfo=UTC)
    with control.read() as connection:
        assert runs.get(connection, run.id) == run
        entry = list(chain.entries(connection, kind="run.planned"))[-1]
    assert entry.subject == run.id
    assert entry.facts["policy"] == "sales-records"


def test_ids_are_unique_even_if_chance_repeats_itself(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter(["1f3a", "1f3a", "1f3a", "77aa"])
    monkeypatch.setattr("secrets.token_hex", lambda _: next(drawn))
    with control.write() as connection:
        assert [new(connection).id[-4:], new(connection).id[-4:]] == ["1f3a", "77aa"]


def test_an_id_is_made_of_plain_characters(control: Control) -> None:
    with control.write() as connection:
        assert re.fullmatch(r"R-20261001-0200-a-b--c-\w{4}", new(connection, policy="a/b 销c").id)


def test_every_edge_and_no_other(control: Control) -> None:
    with control.write() as connection:
        for before, after in itertools.product(RunState, RunState):
            run = new(connection)
            put(connection, run.id, before)
            if (before, after) not in RUN_EDGES:
                with pytest.raises(Refused, match=f"is {before.value} and cannot become {after.value}"):
                    runs.move(connection, run.id, after, reason="because", at=NOW)
                assert runs.get(connection, run.id).state is before
                assert len(list(chain.entries(connection, subject=run.id))) == 1
                continue
            moved = runs.move(connection, run.id, after, reason="because", at=NOW, by="li", result={"rows": 3})
            entry = list(chain.entries(connection))[-1]
            assert (moved.state, moved.reason, moved.result) == (after, "because", {"rows": 3})
            assert (moved.finished_at is not None) == (after in FINAL)
            assert (entry.kind, entry.subject) == (runs.ENTRY[after], run.id)
            assert (entry.facts["by"], entry.facts["reason"], entry.facts["result"]) == ("li", "because", {"rows": 3})


def test_the_final_states() -> None:
    assert {RunState.FINISHED, RunState.REFUSED, RunState.CANCELLED} == FINAL
    assert set(runs.ENTRY) == set(RunState)
    assert set(runs.ENTRY.values()) <= chain.KINDS


def test_there_is_no_such_run(control: Control) -> None:
    with control.write() as connection:
        for call in (
            lambda: runs.get(connection, "R-0"),
            lambda: runs.move(connection, "R-0", RunState.RUNNING, reason="", at=NOW),
        ):
            with pytest.raises(NotFound, match="no run R-0"):
                call()


def test_lists(control: Control) -> None:
    with control.write() as connection:
        made = [
            new(connection, policy=policy, at=NOW + timedelta(minutes=minute)) for minute, policy in enumerate("aabc")
        ]
        other = new(connection, policy="a", kind=runs.RunKind.DESTRUCTION, at=NOW + timedelta(minutes=9))
        for run, state in zip(made[1:], [RunState.FINISHED, RunState.FAILED, RunState.CANCELLED], strict=True):
            put(connection, run.id, state)
    with control.read() as connection:
        assert [run.id for run in runs.unfinished(connection)] == [made[0].id, made[2].id]
        assert [run.id for run in runs.unfinished(connection, "a")] == [made[0].id]
        assert [run.id for run in runs.unfinished(connection, "a", kind=runs.RunKind.DESTRUCTION)] == [other.id]
        assert [run.id for run in runs.recent(connection, 2)] == [other.id, made[3].id]
        assert len(runs.recent(connection, None)) == 5


APPEND = """
import sys
from datetime import UTC, datetime
from retention.ledger import chain
from retention.ledger.control import Control
with Control.open(sys.argv[1]) as control:
    for number in range(40):
        with control.write() as connection:
            body = {"number": number}
            chain.append(connection, kind="policies.changed", subject=sys.argv[2], body=body, at=datetime.now(UTC))
"""


def test_processes_append_without_gap_or_fork(control: Control, control_url: str) -> None:
    workers = [subprocess.Popen([sys.executable, "-c", APPEND, control_url, who]) for who in "abc"]
    assert [worker.wait() for worker in workers] == [0, 0, 0]
    with control.read() as connection:
        entries = list(chain.entries(connection))
        assert verify_chain(entries, chain.read_head(connection)) == []
    assert [entry.seq for entry in entries] == list(range(1, 122))
    for who in ("a", "b", "c"):
        assert [entry.facts["number"] for entry in entries if entry.subject == who] == list(range(40))


def test_a_writer_that_is_killed_leaves_nothing_behind(control: Control, control_url: str) -> None:
    code = (
        "import sys, time\nfrom datetime import UTC, datetime\nfrom retention.ledger import chain\n"
        "from retention.ledger.control import Control\n"
        "with Control.open(sys.argv[1]).write() as connection:\n"
        "    chain.append(connection, kind='policies.changed', subject='x', body={}, at=datetime.now(UTC))\n"
        "    print('ready', flush=True)\n    time.sleep(60)\n"
    )
    worker = subprocess.Popen([sys.executable, "-c", code, control_url], stdout=subprocess.PIPE)
    assert worker.stdout is not None
    with worker.stdout:
        assert worker.stdout.readline() == b"ready\n"
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    with control.write() as connection:
        chain.append(connection, kind="policies.changed", subject="y", body={}, at=NOW)
    with control.read() as connection:
        assert [entry.subject for entry in chain.entries(connection)] == ["control", "y"]


def test_this_process_lives() -> None:
    assert owner.is_alive(owner.this_process(), seen_at=None, now=NOW)
    host, pid, start = owner.this_process().rsplit(":", 2)
    assert int(pid) == os.getpid()
    assert not owner.is_alive(f"{host}:{pid}:{int(start) + 1}", seen_at=NOW, now=NOW)  # the pid was used again


def test_a_killed_process_is_dead_even_before_anybody_waits_for_it() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    who = f"{owner.this_process().split(':')[0]}:{child.pid}:{owner._start(child.pid)}"
    assert owner.is_alive(who, seen_at=None, now=NOW)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie now
    assert not owner.is_alive(who, seen_at=NOW, now=NOW)
    child.wait()
    assert not owner.is_alive(who, seen_at=NOW, now=NOW)


def test_a_system_without_proc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(owner, "_PROC", tmp_path)
    me = owner.this_process()
    assert me.endswith(f":{os.getpid()}:-")
    assert owner.is_alive(me, seen_at=None, now=NOW)

    def forbidden(pid: int, signal: int) -> None:
        raise PermissionError

    with monkeypatch.context() as another_user:
        another_user.setattr(os, "kill", forbidden)
        assert owner.is_alive(me, seen_at=None, now=NOW)
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert not owner.is_alive(me.replace(str(os.getpid()), str(child.pid)), seen_at=NOW, now=NOW)


@pytest.mark.parametrize(("seconds", "alive"), [(0, True), (119, True), (120, False)])
def test_a_process_on_another_host_lives_while_it_is_seen(seconds: int, alive: bool) -> None:
    assert owner.is_alive(NOBODY, seen_at=NOW, now=NOW + timedelta(seconds=seconds)) is alive
    assert not owner.is_alive(NOBODY, seen_at=None, now=NOW)


@pytest.mark.parametrize(("seconds", "held"), [(0, True), (119, True), (120, False)])
def test_a_lease_runs_out_even_while_its_process_lives(seconds: int, held: bool) -> None:
    now = NOW + timedelta(seconds=seconds)
    for who in (owner.new_owner(), NOBODY):
        assert owner.holds_lease(who, seen_at=NOW, now=now) is held
        assert not owner.holds_lease(who, seen_at=None, now=now)
    assert not owner.holds_lease(None, seen_at=NOW, now=NOW)


def test_each_owner_is_this_process_and_another() -> None:
    one, other = owner.new_owner(), owner.new_owner()
    assert one != other
    assert one.startswith(f"{owner.this_process()}/")
    host, pid, start = one.rsplit(":", 2)
    assert not owner.holds_lease(f"{host}:{pid}:1{start}", seen_at=NOW, now=NOW)
