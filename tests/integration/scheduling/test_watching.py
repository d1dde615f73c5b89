"""Status, metrics and health of a project whose slots fire for real, and of one where things stand still."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from retention.disposition import clock
from retention.disposition import survey as survey_module
from retention.disposition.survey import note, survey, survey_if_due, survey_is_due
from retention.holds.scope import Everything
from retention.ledger import observations, pauses, workers
from retention.ledger.pauses import Pause
from retention.watching.metrics import exposition
from retention.watching.read import read_status
from tests.servers import forked

if TYPE_CHECKING:
    from tests.integration.scheduling.conftest import Site

LISTED = Path(__file__).parents[3] / "deploy" / "metrics.md"


@pytest.fixture
def small(make_site: Callable[..., Site], sqlite_url: str) -> Site:
    """Slots are due, and nobody works."""
    return make_site(sqlite_url, broker="memory://", rows=3_000)


def command(site: Site, *words: str) -> subprocess.CompletedProcess[str]:
    return forked.run([*words, "--config", str(site.config)], text=True)


def values(text: bytes) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


@contextmanager
def served(site: Site) -> Iterator[str]:
    call = [sys.executable, "-m", "retention", "metrics", "--port", "0", "--config", str(site.config)]
    with subprocess.Popen(call, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip().removesuffix("/metrics")
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=20) == 0
        finally:
            process.kill()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def answers(url: str) -> bool:
    try:
        return asked(url)[0] == 200
    except urllib.error.URLError:
        return False


def asked(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_before_during_and_after_a_slot(make_site: Callable[..., Site], sqlite_url: str, slot_time: Any) -> None:
    site = make_site(sqlite_url, broker="memory://", now=slot_time - timedelta(seconds=4))
    up = site.start("up")
    site.wait(site.finished, "the runs did not finish")
    site.wait(lambda: bool(site.asked("SELECT 1 FROM observation WHERE kind = 'ledger'")), "nobody surveyed", 90)
    engine = site.engine()
    by_the_real_clock = read_status(engine).policies
    assert {one.last_success_at for one in by_the_real_clock} == {None}, "a success that is to come tells nothing"
    engine.now = lambda: clock.now() + site.ahead  # type: ignore[method-assign]
    seen = read_status(engine)
    assert {one.policy for one in seen.policies} == {"odd", "even"}
    for policy in seen.policies:
        assert policy.last_slot is not None and policy.last_slot["state"] == "begun"
        assert policy.last_success_at is not None and policy.deleted == 10_000
        assert policy.overdue is not None and policy.overdue["records"] == 0
        assert policy.lateness_seconds == 0
    assert seen.queue_depth == 0 and seen.runs == () and seen.batches_in_doubt == 0
    assert seen.policy_load is not None and seen.policy_load["ok"] is True
    assert seen.ledger is not None and seen.ledger["ok"] is True
    assert [one["kind"] for one in seen.workers] == ["up"]
    up.send_signal(signal.SIGTERM)
    assert up.wait(timeout=20) == 0


def test_what_stands_still_is_said(small: Site) -> None:
    engine = small.engine()
    with engine.control.write() as connection:
        name = "elsewhere:1:1"
        workers.seen(connection, name=name, kind="beat", doing=None, at=engine.now() - timedelta(hours=3))
        # what the slots wait for: nobody opened them, so open them as a beat does
    from retention.scheduling.opening import open_slots

    now = engine.now() + small.ahead
    open_slots(engine.control, engine.project.policies.policies, now)
    engine.now = lambda: now + timedelta(hours=2)  # type: ignore[method-assign]
    seen = read_status(engine)
    assert seen.queue_depth == 2 and seen.queue_oldest_seconds >= 7200
    assert all(policy.lateness_seconds >= 7200 for policy in seen.policies)
    told = "\n".join(seen.attention)
    assert "no beat is alive" in told and "no worker is alive" in told and "odd is 2:" in told
    measured = values(exposition(seen))
    assert measured["retention_slot_lateness_seconds", "odd"] >= 7200
    assert measured["retention_queue_depth",] == 2
    assert measured["retention_workers",] == 0
    with engine.control.write() as connection:
        pauses.put(connection, Pause(target="*", by="ana", at=engine.now(), reason="audit week"))
    assert read_status(engine).pauses[0]["reason"] == "audit week"
    assert read_status(engine).queue_depth == 0


def test_debt_is_counted_once_a_day(small: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = small.engine()
    later = engine.now() + small.ahead
    engine.now = lambda: later  # type: ignore[method-assign]
    assert survey_is_due(engine)
    survey_if_due(engine)
    assert not survey_is_due(engine)
    with engine.control.read() as connection:
        debts = observations.read(connection, "debt")
    assert {name: debt.facts["records"] for name, debt in debts.items()} == {"odd": 1_000, "even": 1_000}
    # 15 January 2026 and ninety days: expired since the middle of April; told by the month of the clock
    assert all(debt.facts["oldest_expired_at"].startswith("2026-04-0") for debt in debts.values())
    monkeypatch.setattr(survey_module, "survey", lambda engine: pytest.fail("a second worker surveys too"))
    survey_if_due(engine)
    engine.now = lambda: later + survey_module.EVERY  # type: ignore[method-assign]
    assert survey_is_due(engine)
    engine.now = lambda: later - timedelta(days=400)  # type: ignore[method-assign]
    assert survey_is_due(engine), "a clock that was set back silences nobody"


def test_held_records_are_told_apart(small: Site) -> None:
    engine = small.engine()
    later = engine.now() + small.ahead
    from retention.disposition.holding import place

    place(engine, matter="2026-017", reason="court order", scope=Everything())
    engine.now = lambda: later  # type: ignore[method-assign]
    survey(engine)
    seen = read_status(engine)
    assert [policy.overdue["records"] for policy in seen.policies if policy.overdue] == [0, 0]
    measured = values(exposition(seen))
    assert measured["retention_held_overdue_records", "odd"] == 1_000
    assert measured["retention_holds", "in_force"] == 1


def test_a_source_that_is_away_keeps_nobody_from_looking(small: Site) -> None:
    engine = small.engine()
    Path(small.url.removeprefix("sqlite:///")).unlink()
    survey(engine)
    ledger = read_status(engine).ledger
    assert ledger is not None and (ledger["ok"], ledger["agrees"]) == (True, None)
    assert all(policy.overdue is None for policy in read_status(engine).policies)


def test_every_metric_is_listed_and_every_listed_one_is_there(small: Site) -> None:
    engine = small.engine()
    later = engine.now() + small.ahead
    engine.now = lambda: later  # type: ignore[method-assign]
    with engine.control.write() as connection:
        workers.seen(connection, name="elsewhere:1:1", kind="beat", doing=None, at=later)
    from retention.disposition.holding import place
    from retention.ledger import policy_loads
    from retention.ledger.policy_loads import PolicyLoad

    place(engine, matter="2026-017", reason="court order", scope=Everything())
    survey(engine)
    note(engine, "archive", ["cold"], {"ok": True})
    with engine.control.write() as connection:
        policy_loads.record(connection, PolicyLoad(outcome="good", at=later, set_digest="x", message=None))
    families = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in text_string_to_metric_families(exposition(read_status(engine)).decode())
    }
    listed = set(re.findall(r"^\| `(retention_\w+)", LISTED.read_text(), re.MULTILINE))
    assert families == listed


def test_metrics_and_health_over_http(small: Site) -> None:
    with served(small) as url:
        assert asked(f"{url}/healthz") == (200, b"alive\n")
        assert asked(f"{url}/readyz") == (200, b"ready\n")
        code, text = asked(f"{url}/metrics")
        assert code == 200 and ("retention_queue_depth",) in values(text)
        assert asked(f"{url}/secrets")[0] == 404
        (small.folder / "retention.db").rename(small.folder / "away.db")
        assert asked(f"{url}/healthz")[0] == 200


@pytest.mark.parametrize("when", ["before it starts", "before the first question", "between two questions"])
def test_metrics_and_health_with_a_mistake_in_a_policy(small: Site, when: str) -> None:
    path = small.folder / "policies" / "odd.yaml"
    good = path.read_text()
    if when == "before it starts":
        path.write_text("policy: odd\n")
    with served(small) as url:
        if when == "between two questions":
            assert values(asked(f"{url}/metrics")[1]).get(("retention_policy_load_ok",)) is None, "no beat was there"
        path.write_text("policy: odd\n")
        assert asked(f"{url}/readyz") == (200, b"ready\n")
        code, text = asked(f"{url}/metrics")
        assert code == 200
        measured = values(text)
        assert measured["retention_policy_load_ok",] == 0
        assert measured["retention_slot_lateness_seconds", "odd"] == 0
        assert measured["retention_queue_depth",] == 0
        path.write_text(good)
        assert ("retention_policy_load_ok",) not in values(asked(f"{url}/metrics")[1])
        small.config.write_text("timezone: nowhere\n")
        assert asked(f"{url}/readyz") == (200, b"ready\n"), "the control database answers"
        assert values(asked(f"{url}/metrics")[1])["retention_policy_load_ok",] == 0


def test_up_serves_them_with_a_mistake_before_the_first_question(small: Site) -> None:
    port = free_port()
    up = small.start("up", "--metrics", str(port))
    small.wait(lambda: small.asked("SELECT 1 FROM policy_load WHERE outcome = 'good'") != [], "no policies")
    (small.folder / "policies" / "odd.yaml").write_text("policy: odd\n")
    small.wait(lambda: small.asked("SELECT 1 FROM policy_load WHERE outcome = 'bad'") != [], "no mistake")
    assert asked(f"http://127.0.0.1:{port}/readyz") == (200, b"ready\n")
    code, text = asked(f"http://127.0.0.1:{port}/metrics")
    assert code == 200 and values(text)["retention_policy_load_ok",] == 0
    assert ("retention_slot_lateness_seconds", "odd") in values(text)
    up.send_signal(signal.SIGTERM)
    assert up.wait(timeout=20) == 0


def test_up_serves_them_too(small: Site) -> None:
    port = free_port()
    up = small.start("up", "--metrics", str(port))
    small.wait(lambda: answers(f"http://127.0.0.1:{port}/metrics"), "no metrics", 30)
    small.wait(small.finished, "the runs did not finish")
    _, text = asked(f"http://127.0.0.1:{port}/metrics")
    assert values(text)["retention_deleted_records_total", "odd"] == 1_000
    up.send_signal(signal.SIGTERM)
    assert up.wait(timeout=20) == 0


def test_a_port_that_is_taken_is_an_error_with_a_remedy(small: Site) -> None:
    with served(small) as url:
        refused = command(small, "metrics", "--port", url.rpartition(":")[2])
    assert refused.returncode == 2
    assert "cannot listen" in refused.stderr and "another port" in refused.stderr and "Traceback" not in refused.stderr


def test_the_command_tells_a_person_and_a_machine(
    make_site: Callable[..., Site], sqlite_url: str, slot_time: datetime
) -> None:
    new = make_site(sqlite_url, broker="memory://", rows=3_000, now=slot_time)
    told = command(new, "status")
    assert told.returncode == 0, told.stderr
    assert "Nothing needs you." in told.stdout and "not counted" in told.stdout
    facts = json.loads(command(new, "status", "--json").stdout)
    assert {one["policy"] for one in facts["policies"]} == {"odd", "even"}
    assert facts["attention"] == [] and facts["queue_depth"] == 0


def test_verifying_is_remembered(small: Site) -> None:
    engine = small.engine()
    assert command(small, "run", "odd", "--yes").returncode == 0
    [archive] = read_status(engine).archives
    assert archive["verified_at"] is None and archive["ok"] is None
    told = command(small, "archive", "verify")
    assert told.returncode == 0 and " of 1 batch were read back." in told.stdout
    assert command(small, "audit", "verify").returncode == 0
    [archive] = read_status(engine).archives
    assert archive["verified_at"] is not None and archive["ok"] is True


def test_a_ledger_that_does_not_continue_an_export_is_told_until_it_continues_one(small: Site) -> None:
    lost, kept = str(small.folder / "lost.jsonl"), str(small.folder / "kept.jsonl")

    def told() -> tuple[bool, float, bool]:
        seen = read_status(engine)
        assert seen.ledger is not None
        compared = any("--against or --checkpoint" in one for one in seen.attention)
        return seen.ledger["ok"] is True, values(exposition(seen))[("retention_ledger_ok",)], compared

    hold = ("hold", "place", "--reason", "court order", "--everything", "--matter")
    assert command(small, *hold, "2026-017").returncode == 0
    assert command(small, "audit", "export", lost).returncode == 0
    for path in small.folder.glob("retention.db*"):
        path.unlink()
    assert command(small, "control", "upgrade").returncode == 0
    engine = small.engine()
    assert command(small, "audit", "verify", "--against", lost).returncode == 1
    assert told() == (False, 0, True)
    assert command(small, "audit", "verify").returncode == 0
    survey(engine)
    assert told() == (False, 0, True), "nobody has compared it since"
    assert command(small, *hold, "2026-018").returncode == 0
    assert command(small, "audit", "export", kept).returncode == 0
    assert command(small, "audit", "verify", "--against", kept).returncode == 0
    assert told() == (True, 1, False)


def test_a_damaged_archive_is_told_until_it_is_found_whole(small: Site) -> None:
    small.config.write_text(small.config.read_text() + '  other: {url: "file:./other"}\n')
    engine = small.engine()
    assert command(small, "run", "--yes").returncode == 0
    assert command(small, "archive", "verify").returncode == 0
    whole = {one["archive"]: one for one in read_status(engine).archives}
    path = next((small.folder / "archive").rglob("*.parquet"))
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    for _ in range(2):
        assert command(small, "archive", "verify").returncode == 1
        seen = read_status(engine)
        told = {one["archive"]: one for one in seen.archives}
        assert (told["cold"]["ok"], told["other"]["ok"]) == (False, True)
        assert told["cold"]["verified_at"] == whole["cold"]["verified_at"], "when it was last found in order"
        assert [sentence for sentence in seen.attention if "cold" in sentence and "archive verify" in sentence]
        assert values(exposition(seen))["retention_archive_ok", "cold"] == 0
    said = command(small, "status")
    assert said.returncode == 3 and "Nothing needs you" not in said.stdout
    path.write_bytes(content)
    assert command(small, "archive", "verify").returncode == 0
    seen = read_status(engine)
    assert not [sentence for sentence in seen.attention if "cold" in sentence]
    assert values(exposition(seen))["retention_archive_ok", "cold"] == 1


def test_an_archive_is_unverified_since_its_first_batch(small: Site) -> None:
    engine = small.engine()
    # an empty archive in order says nothing of the batches that come later
    assert command(small, "archive", "verify").returncode == 0
    assert ("retention_archive_unverified_seconds", "cold") not in values(exposition(read_status(engine)))
    now = engine.now()
    with engine.control.write() as connection:
        observations.record(
            connection,
            observations.Observation(kind="archive", target="cold", at=now - timedelta(days=90), facts={"ok": True}),
        )
    assert command(small, "run", "--yes").returncode == 0
    later = engine.now() + timedelta(days=3)
    engine.now = lambda: later  # type: ignore[method-assign]
    days = values(exposition(read_status(engine)))["retention_archive_unverified_seconds", "cold"] / 86_400
    assert 3 <= days < 3.1
    assert command(small, "archive", "verify").returncode == 0
    later += timedelta(days=40)
    days = values(exposition(read_status(engine)))["retention_archive_unverified_seconds", "cold"] / 86_400
    assert 42.9 <= days < 43.1


def test_what_a_clock_ahead_wrote_down_of_an_archive_counts_as_nothing(small: Site) -> None:
    engine = small.engine()

    def unverified() -> float:
        return values(exposition(read_status(engine)))["retention_archive_unverified_seconds", "cold"]

    def verified(at: datetime) -> None:
        with engine.control.write() as connection:
            facts = {"ok": True}
            observations.record(connection, observations.Observation(kind="archive", target="cold", at=at, facts=facts))

    assert command(small, "run", "--yes").returncode == 0
    now = engine.now()
    verified(now + timedelta(days=40))
    later = now + timedelta(days=3)
    engine.now = lambda: later  # type: ignore[method-assign]
    assert unverified() == pytest.approx(timedelta(days=3).total_seconds(), abs=600), "since its first batch"
    assert read_status(engine).archives[0]["verified_at"] is None
    later = now - timedelta(days=40)
    [archive] = read_status(engine).archives
    assert archive["used"] is True and archive["unverified_seconds"] is None
    assert unverified() == float("inf"), "its first batch is to come, too: an alert"
    verified(later - timedelta(days=2))
    assert unverified() == timedelta(days=2).total_seconds()
