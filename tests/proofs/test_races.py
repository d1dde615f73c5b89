"""P1: holds placed and released while clean-ups, destructions and restores go on. A checker judges the record of it alone.

Every step of a batch is a place where the deleting process is suspended while a hold is placed. And many runs with holds
at random moments: the seed of each is in the message that it fails with.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from retention.disposition import holding
from tests.integration.disposition.conftest import WAITING
from tests.proofs.cases import ROWS, fresh
from tests.proofs.commands import Command, Commands
from tests.proofs.test_crashes import steps

RUN = ("run", "service-notes", "--yes", "--as-of", "2026-10-01")
PLACE = ("hold", "place", "--matter", "M", "--reason", "R", "--json")


@dataclass(frozen=True, kw_only=True)
class Held:
    """What was recorded of one hold."""

    name: str
    #: records that it covers, whether they were there or not
    covers: frozenset[int]
    #: records of the class that were there when placing it returned
    seen: frozenset[int]
    #: records that were there when it was released, or at the end
    left: frozenset[int]
    #: it was in force until the end
    lasted: bool


def objections(history: Sequence[Held], *, due: set[int], at_end: frozenset[int]) -> list[str]:
    """What the record shows that must not be: a covered record gone after its hold had returned, or a due record spared
    that no hold covered to the end."""
    found = [
        f"{held.name}: {sorted(lost)[:5]} were there when it had returned, and went"
        for held in history
        if (lost := (held.covers & held.seen) - held.left)
    ]
    covered = {record for held in history if held.lasted for record in held.covers}
    spared = (due & at_end) - covered
    return found + ([f"{sorted(spared)[:5]} were spared, and nothing covers them"] if spared else [])


def test_the_checker_objects() -> None:
    fine = Held(name="H", covers=frozenset({1, 2}), seen=frozenset({1}), left=frozenset({1}), lasted=True)
    assert objections([fine], due={1, 2, 3}, at_end=frozenset({1})) == []
    lost = Held(name="H", covers=frozenset({1, 2}), seen=frozenset({1, 2}), left=frozenset({1}), lasted=True)
    assert objections([lost], due={1, 2}, at_end=frozenset({1})) == ["H: [2] were there when it had returned, and went"]
    assert objections([fine], due={1, 3}, at_end=frozenset({1, 3})) == ["[3] were spared, and nothing covers them"]


def place_while_stopped(
    site: Any, commands: Commands, step: str, *scope: str, patience: float = 10
) -> tuple[Command, Command] | None:
    """Suspend a clean-up at the step, place a hold, and let the clean-up go on once the hold has returned or waits for
    it. None where the step was not reached."""
    name, _, turn = step.partition("@")
    run = commands.start(site.config, *RUN, plan=f"{name}=stop@{turn or 1}", rows=2)
    if not run.wait_stopped():
        return None
    place = commands.start(site.config, *PLACE, *scope, witness=True)
    _returned_or_waits(site, place, step, patience)
    run.go_on()
    assert place.wait() == 0, f"{step}: {place.said}"
    assert run.wait() in (0, 3, 4), f"{step}: {run.said}"  # 4: its next batch began while the hold was pending
    return run, place


def _returned_or_waits(site: Any, place: Command, step: str, patience: float = 10) -> None:
    """However slow the machine is: the clean-up may only go on when the hold has, or cannot; for as long as no hold is
    written down, another thread of the clean-up may have been suspended while it was writing to the control database."""
    deadline = time.monotonic() + (1.5 if step.startswith("control.") else patience)
    while place.status is None and time.monotonic() < deadline:
        if site.asked("SELECT state FROM hold") == [("pending",)]:
            if site.dialect not in WAITING:  # SQLite shows nobody who waits
                time.sleep(1)
                return
            if site.rows(WAITING[site.dialect]) == [(1,)]:
                return
        time.sleep(0.02)


def stopped_steps(site: Any) -> list[str]:
    """Each named step of a batch, each statement, and the first and last passage of every other place."""
    places = steps(site)
    found: dict[str, list[str]] = {}
    for place in places:
        found.setdefault(place.partition("@")[0], []).append(place)
    return [
        place
        for name, turns in found.items()
        for place in (sorted(turns, key=_turn) if name == "source.statement" else dict.fromkeys((turns[0], turns[-1])))
    ]


def _turn(place: str) -> int:
    return int(place.partition("@")[2])


def everything_at_each_step(
    case: Callable[[], Any], commands: Commands, choose: Callable[[list[str]], list[str]]
) -> int:
    reached = 0
    for step in choose(stopped_steps(case())):
        site = case()
        due = site.due_ids(ROWS)
        done = place_while_stopped(site, commands, step, "--everything")
        if done is None:
            continue
        reached += 1
        site.run()
        at_end = frozenset(site.ids())
        held = Held(
            name=f"hold at {step}", covers=frozenset(range(ROWS + 1)), seen=done[1].seen, left=at_end, lasted=True
        )
        assert objections([held], due=due, at_end=at_end) == []
        comments = {row[0] for row in site.rows("SELECT activity_id FROM activity_comments")}
        assert comments == {i for i in at_end if i % 2 == 0}, step
        assert site.findings() == [], step
    return reached


@pytest.mark.every_server
def test_a_hold_placed_while_the_clean_up_is_stopped_at_each_step(case: Callable[[], Any], commands: Commands) -> None:
    def between(places: list[str]) -> list[str]:
        """The named steps of a batch, and each statement of it."""
        statements = [one for one in places if one.startswith("source.statement@")]
        return [one for one in places if one.startswith("batch.")] + statements[-8:]

    assert everything_at_each_step(case, commands, between) >= 8


@pytest.mark.soak
def test_a_hold_placed_at_every_place(case: Callable[[], Any], commands: Commands) -> None:
    print(f"\n{everything_at_each_step(case, commands, list)} places")


# -- at random ----------------------------------------------------------------------------------------------------------

#: records of a case, of which one in fifteen is due; each batch takes a few of them
MANY = 600


def interleaving(site: Any, commands: Commands, seed: int) -> int:
    """One project, and holds that come and go at random moments while a clean-up is at work; returns how many. Each is
    placed beside a living clean-up: when one has ended, the next begins first. Of the holds some are released, with
    their grace long over or still running, while others stay."""
    chance = random.Random(seed)
    site.config.write_text(
        site.config.read_text().replace("    classes:\n", _CLASSES if site.comments else "    classes:\n")
    )
    due = site.due_ids(MANY)
    runs = [commands.start(site.config, *RUN, rows=chance.choice([4, 8, 15]))]
    placing: list[tuple[frozenset[int], Command]] = []
    history: list[Held] = []
    for _ in range(chance.randint(6, 10)):
        time.sleep(chance.uniform(0, 0.2))
        if runs[-1].status is not None:
            runs.append(commands.start(site.config, *RUN, rows=chance.choice([4, 10])))
            time.sleep(chance.uniform(0, 0.3))
        scope, covers = _scope(chance, site)
        placing.append((covers, commands.start(site.config, *PLACE, *scope, witness=True)))
        if chance.random() < 0.5:
            history.append(_ended(chance, site, *placing.pop(chance.randrange(len(placing))), seed))
    history += [_ended(chance, site, *one, seed) for one in placing]
    for run in runs:
        # 1: another was still at work
        assert run.wait() in (0, 1, 3, 4), f"seed {seed}: {run.said}"
    site.run()
    at_end = frozenset(site.ids())
    history = [replace(held, left=at_end) if held.lasted else held for held in history]
    assert objections(history, due=due, at_end=at_end) == [], f"seed {seed}"
    if site.comments:
        comments = {row[0] for row in site.rows("SELECT activity_id FROM activity_comments")}
        assert comments == {record for record in at_end if record % 2 == 0}, f"seed {seed}"
    assert site.findings() == [], f"seed {seed}"
    return len(history)


#: the dependents as a class of their own, so that holds may name them
_CLASSES = "    classes:\n      comments: {table: activity_comments, key: id, dependents: {comment_files: {key: comment_id}}}\n"


def _scope(chance: random.Random, site: Any) -> tuple[list[str], frozenset[int]]:
    """The words of a hold, and the records that it covers."""
    ids = frozenset(chance.sample(sorted(site.due_ids(MANY)), chance.randint(1, 30)))
    even = frozenset(range(0, MANY + 1, 2))
    choices = [
        (["--class", "crm.activities", *(word for one in ids for word in ("--key", str(one)))], ids),
        (["--tag", "service-note"], frozenset(range(0, MANY + 1, 3))),
        (["--where", "status=closed"], even),
        (["--subject", "customer=15"], frozenset(i for i in range(MANY + 1) if i % 50 == 15)),
        (["--everything"], frozenset(range(MANY + 1))),
    ]
    if site.comments:  # comment 150 belongs to record 15; those of even records are there
        of_them = [word for one in ids & even for word in ("--key", str(one * 10))]
        choices.append((["--class", "crm.comments", *of_them], ids & even if of_them else even))
    return chance.choice(choices)


def _ended(chance: random.Random, site: Any, covers: frozenset[int], place: Command, seed: int) -> Held:
    """The hold when it has returned: half of them are released at once, and of these half with their grace over."""
    assert place.wait() == 0, f"seed {seed}: {place.said}"
    hold = json.loads(place.said[place.said.index("{") :])["id"]
    match chance.choice(["stays", "stays", "grace", "over"]):
        case "over":
            left = frozenset(site.ids())
            with site.at(datetime.now(UTC) - timedelta(days=60)):
                holding.release(site.engine(), hold, reason="settled")
            return Held(name=hold, covers=covers, seen=place.seen, left=left, lasted=False)
        case "grace":
            holding.release(site.engine(), hold, reason="settled")
    return Held(name=hold, covers=covers, seen=place.seen, left=frozenset(), lasted=True)


def many(site: Any, commands: Commands, seed: int, count: int) -> str:
    """Cases, each with the next seed, until so many holds were placed."""
    holds = cases = 0
    while holds < count:
        holds += interleaving(fresh(site, MANY), commands, seed + cases)
        cases += 1
        print(f"{site.dialect}: seed {seed + cases - 1}, {holds} holds", flush=True)
    return f"seeds {seed} to {seed + cases - 1}: {holds} holds placed beside {cases} projects' clean-ups"


@pytest.mark.every_server
def test_holds_at_random_moments(site: Any, commands: Commands, soak_seed: int) -> None:
    many(site, commands, soak_seed, 10 if site.dialect == "mysql" else 20)


@pytest.mark.soak
def test_many_holds_at_random_moments(any_site: Any, commands: Commands, soak_seed: int, soak_count: int) -> None:
    """RETENTION_SOAK_COUNT holds on each database: half where records have dependents, half where not."""
    print(f"\n{many(any_site, commands, soak_seed, soak_count // 2)}")


# -- other paths that delete, and other holds ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "step", ["destroy.after-fence", "destroy.after-begun", "destroy.after-manifest", "destroy.after-files"]
)
def test_a_hold_placed_while_copies_are_being_destroyed(site: Any, commands: Commands, step: str) -> None:
    """At each step: files that are there when the hold has returned stay there."""
    site.policy("service-notes", archive="{to: cold, keep: 1 days}")
    site.fill(ROWS)
    with site.at(datetime(2026, 10, 1, 3, tzinfo=UTC)):
        site.run()
    destroy = commands.start(site.config, "archive", "destroy", "--yes", plan=f"{step}=stop@1")
    assert destroy.wait_stopped(), destroy.said
    place = commands.start(site.config, *PLACE, "--key", "15")
    _returned_or_waits(site, place, step)
    there = _files(site) if place.status is not None else None
    destroy.go_on()
    assert place.wait() == 0, place.said
    there = _files(site) if there is None else there
    assert destroy.wait() in (0, 4), destroy.said
    commands.run(site.config, "archive", "destroy", "--yes")
    assert _files(site) >= there
    assert site.findings() == []


def test_a_hold_before_the_destruction_takes_its_fence(site: Any, commands: Commands) -> None:
    site.policy("service-notes", archive="{to: cold, keep: 1 days}")
    site.fill(ROWS)
    with site.at(datetime(2026, 10, 1, 3, tzinfo=UTC)):
        site.run()
    destroy = commands.start(site.config, "archive", "destroy", "--yes", plan="source.statement=stop@1")
    assert destroy.wait_stopped(), destroy.said
    place = commands.start(site.config, *PLACE, "--key", "15")
    assert place.wait() == 0, place.said
    there = _files(site)
    destroy.go_on()
    destroy.wait()
    assert _files(site) == there != set()


def _files(site: Any) -> set[Path]:
    return {path for path in site.folder.glob("archive/crm/**/*") if path.is_file()}


@pytest.mark.parametrize("step", ["restore.before-commit", "restore.after-commit"])
def test_a_clean_up_beside_a_restore_leaves_what_comes_back(site: Any, commands: Commands, step: str) -> None:
    site.fill(ROWS)
    site.run()
    due = site.due_ids(ROWS)
    words = ("archive", "restore", "--key", "15", "--key", "45", "--reason", "asked for", "--yes")
    restore = commands.start(site.config, *words, plan=f"{step}=stop@1")
    assert restore.wait_stopped(), restore.said
    run = commands.start(site.config, *RUN)
    time.sleep(0.5)
    restore.go_on()
    assert restore.wait() == 0, restore.said
    assert run.wait() == 0, run.said
    site.run()
    assert due & site.ids() == {15, 45}


def test_a_hundred_thousand_keys_while_the_clean_up_is_stopped(plain_site: Any, commands: Commands) -> None:
    plain_site.fill(ROWS)
    keys = plain_site.folder / "keys"
    keys.write_text("\n".join(map(str, range(31, 100_031))))
    scope = ("--class", "crm.activities", "--keys-from", str(keys))
    done = place_while_stopped(plain_site, commands, "batch.after-delete@1", *scope, patience=25)
    assert done is not None
    plain_site.run()
    at_end = frozenset(plain_site.ids())
    held = Held(name="100,000 keys", covers=frozenset(range(31, 100_031)), seen=done[1].seen, left=at_end, lasted=True)
    assert objections([held], due=plain_site.due_ids(ROWS), at_end=at_end) == []
    assert 45 in at_end


#: databases that nobody can reach
AWAY = {
    "sqlite": "sqlite:////nowhere/crm.db",
    "postgresql": "postgresql://nobody@localhost:1/none",
    "mysql": "mysql://nobody@127.0.0.1:1/none",
}


def test_a_source_that_cannot_be_reached_refuses_until_it_has_confirmed(plain_site: Any, commands: Commands) -> None:
    """The hold is placed by somebody whose way to the database is cut; the clean-up's is not."""
    plain_site.fill(ROWS)
    cut = plain_site.folder / "cut.yaml"
    cut.write_text(plain_site.config.read_text().replace(plain_site.url, AWAY[plain_site.dialect]))
    place = commands.run(cut, *PLACE, "--key", "15")
    assert place.status == 3, place.said
    before = plain_site.ids()
    # recovery at the beginning of a run confirms what can be confirmed: with the same cut line it cannot
    for _ in range(2):
        assert commands.run(cut, *RUN).status != 0
        assert plain_site.ids() == before
    run = commands.run(plain_site.config, *RUN)
    assert run.status == 0, run.said
    assert before - plain_site.ids() == plain_site.due_ids(ROWS) - {15}
