"""P2, P6: each step of a run fails once: as an error, as `kill -9`, as a lost acknowledgement; then everything is mended.

Places behind a statement, a COMMIT, a write or a rename that fail are the lost acknowledgements: it happened, and the
answer did not arrive.
"""

from __future__ import annotations

import itertools
import random
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from retention import failpoint
from retention.errors import RetentionError
from retention.failpoint import FailpointError
from tests.proofs.cases import is_as_if_undisturbed
from tests.proofs.commands import Commands

RUN = ("run", "service-notes", "--yes", "--as-of", "2026-10-01")

pytestmark = pytest.mark.usefixtures("disarmed")


def steps(site: Any) -> list[str]:
    """Every place that a run passes, each time that it does, as a plan names it."""
    failpoint.arm("*=count")
    site.run()
    found = failpoint.passed()
    failpoint.arm("")
    return [f"{name}@{turn}" for name in sorted(found) for turn in range(1, found[name] + 1)]


@pytest.fixture
def some(crm_url: str) -> Callable[[list[str]], list[str]]:
    """For every push: the first and the last of those that are passed many times; beside MariaDB not those of files and
    control database, which are what they are beside the others."""
    left_out = ("control.", "store.") if crm_url.startswith("mysql") else ()

    def choose(places: list[str]) -> list[str]:
        chosen = []
        for name, group in itertools.groupby(places, key=lambda place: place.partition("@")[0]):
            turns = [] if name.startswith(left_out) else list(group)
            chosen += turns if len(turns) <= 2 else [turns[0], turns[-1]]
        return chosen

    return choose


def _plan(place: str, action: str) -> str:
    name, _, turn = place.partition("@")
    return f"{name}={action}@{turn}"


def each_as_an_error(case: Callable[[], Any], choose: Callable[[list[str]], list[str]]) -> int:
    places = choose(steps(case()))
    failed = 0
    for place in places:
        site = case()
        before = site.everything()
        failpoint.arm(_plan(place, "error"))
        try:
            site.run()
        except (RetentionError, FailpointError):
            failed += 1
        finally:
            failpoint.arm("")
        if place.startswith("control.after-commit"):
            site.lapse()  # it took its work and does not know; who runs by hand ends then, and this process lives on
        is_as_if_undisturbed(site, before, f"error at {place}")
    assert failed > len(places) / 2
    return len(places)


def each_as_a_kill(case: Callable[[], Any], commands: Commands, choose: Callable[[list[str]], list[str]]) -> int:
    places = choose(steps(case()))
    killed = 0
    for place in places:
        site = case()
        before = site.everything()
        status = commands.run(site.config, *RUN, plan=_plan(place, "kill")).status
        assert status in (-signal.SIGKILL, 0), place
        killed += status != 0
        is_as_if_undisturbed(site, before, f"kill at {place}")
    assert killed > len(places) * 0.8, f"{killed} of {len(places)} were reached"
    return len(places)


def test_each_step_as_an_error_or_a_lost_answer(
    case: Callable[[], Any], some: Callable[[list[str]], list[str]]
) -> None:
    each_as_an_error(case, some)


@pytest.mark.every_server
def test_each_step_as_a_kill(
    case: Callable[[], Any], commands: Commands, some: Callable[[list[str]], list[str]]
) -> None:
    # a kill before a statement is one after the statement before it
    each_as_a_kill(case, commands, lambda places: [one for one in some(places) if "source.statement" not in one])


def test_each_step_as_an_error_where_rows_are_streamed(
    plain_case: Callable[[], Any], some: Callable[[list[str]], list[str]]
) -> None:
    each_as_an_error(plain_case, lambda places: [one for one in some(places) if "source" in one or "batch" in one])


def test_a_step_that_is_never_passed_would_be_noticed(case: Callable[[], Any], commands: Commands) -> None:
    """The plan of a place that is not there ends in an undisturbed run: `killed` above would not count it."""
    site = case()
    assert commands.run(site.config, *RUN, plan="batch.no-such-step=kill").status == 0
    assert site.findings() == []


@pytest.mark.soak
def test_every_step_and_action(case: Callable[[], Any], commands: Commands) -> None:
    count = each_as_an_error(case, list) + each_as_a_kill(case, commands, list)
    print(f"\n{count} single failures")


def pairs(case: Callable[[], Any], seed: int, count: int) -> Iterator[tuple[str, str]]:
    """A kill of the run, and a kill of the run that recovers from it, anywhere."""
    places = steps(case())
    chance = random.Random(seed)
    more = ["settle.judged@1", "settle.aborted@1"]
    for _ in range(count):
        yield chance.choice(places), chance.choice(places + more)


@pytest.mark.soak
def test_pairs_of_kills(case: Callable[[], Any], commands: Commands, soak_seed: int, soak_count: int) -> None:
    for first, second in pairs(case, soak_seed, soak_count):
        site = case()
        before = site.everything()
        for place in (first, second):
            status = commands.run(site.config, *RUN, plan=_plan(place, "kill")).status
            assert status in (-signal.SIGKILL, 0), (first, second)
        is_as_if_undisturbed(site, before, f"kill at {first}, then at {second}")
    print(f"\nseed {soak_seed}: {soak_count} pairs")


def test_a_few_pairs_of_kills(case: Callable[[], Any], commands: Commands) -> None:
    for first, second in [
        ("batch.after-commit@1", "settle.judged@1"),
        ("batch.before-commit@1", "settle.aborted@1"),
        ("batch.after-prepare@1", "control.before-commit@2"),
        ("batch.after-files@1", "store.removed@1"),
        ("batch.after-commit@1", "control.after-commit@3"),
    ]:
        site = case()
        before = site.everything()
        assert commands.run(site.config, *RUN, plan=_plan(first, "kill")).status == -signal.SIGKILL
        commands.run(site.config, *RUN, plan=_plan(second, "kill"))
        is_as_if_undisturbed(site, before, f"kill at {first}, then at {second}")
