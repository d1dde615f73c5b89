"""P7: policies, retention.yaml and words on the command line that nobody thought of: told, never a traceback, never less.

For each push about half a minute. As long as you like with `RETENTION_SOAK_SECONDS=3600 pytest -m soak`.
"""

from __future__ import annotations

import io
import os
import signal
import sqlite3
import string
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from retention.cli.main import main, retention
from retention.config import Project, load_project
from retention.errors import PolicyFilesError, RetentionError
from retention.policy.condition import AllOf, AnyOf, Compare, Condition, NoneOf
from retention.policy.period import Period
from retention.policy.policy import Policy

BASE = """\
timezone: UTC
control: sqlite:///retention.db
sources:
  crm:
    url: sqlite:///crm.db
    classes:
      activities:
        table: activity_logs
        key: id
        created: created_at
        timezone: UTC
        tags: {column: tags}
        subjects: {customer: account_id}
        columns: [status, amount, account_id, closed_at]
archives:
  cold: {url: "file:./archive"}
"""

GOOD = """\
policy: one
title: A title
mandate: Some law
owner: somebody@example.com
records: crm.activities
tags: [sales]
where: {status: closed}
retain: {for: 5 years, from: closed_at, starts: next fiscal year}
archive: {to: cold, keep: 2 years}
then: delete
schedule: quarterly
approval: required
limits: {rows: 5000, share: 25%}
"""

QUICK = settings(
    max_examples=int(os.environ.get("RETENTION_FUZZ_EXAMPLES", "300")),
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def project(folder: Path, policies: dict[str, str | bytes], config: str | bytes = BASE) -> Project | str:
    """The project, or what a person is told about its mistakes."""
    (folder / "policies").mkdir(exist_ok=True)
    for path in (folder / "policies").iterdir():
        path.unlink()
    for name, text in policies.items():
        (folder / "policies" / f"{name}.yaml").write_bytes(
            text if isinstance(text, bytes) else text.encode(errors="replace")
        )
    (folder / "retention.yaml").write_bytes(config if isinstance(config, bytes) else config.encode(errors="replace"))
    try:
        return load_project(folder / "retention.yaml")
    except RetentionError as error:
        assert error.exit_status == 2
        assert error.message.strip()
        return str(error)


# -- policies that are right: what was written is what is loaded --------------------------------------------------------

_COLUMNS = {
    "status": st.text(string.ascii_letters + "'\";漢🗄 ", min_size=1, max_size=8),
    "amount": st.integers(-(10**9), 10**9),
}
_PERIOD = st.builds(
    lambda number, unit: f"{number} {unit}", st.integers(2, 60), st.sampled_from(["days", "weeks", "months", "years"])
)
_TAG = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp", "Cn", "Co"), exclude_characters="!"),
    min_size=1,
    max_size=12,
)
_TAGS = st.lists(_TAG, min_size=1, max_size=2, unique=True)


@st.composite
def _where(draw: st.DrawFn) -> dict[str, Any]:
    """A block of `where`, as a person writes it."""
    block: dict[str, Any] = {}
    for name in draw(st.lists(st.sampled_from(list(_COLUMNS)), min_size=1, max_size=2, unique=True)):
        value = _COLUMNS[name]
        simple = st.one_of(value, st.lists(value, min_size=1, max_size=3, unique=True))
        compared = st.builds(lambda how, one: {how: one}, st.sampled_from(["is", "not"]), value)
        listed = st.builds(
            lambda how, some: {how: some},
            st.sampled_from(["in", "not in"]),
            st.lists(value, min_size=1, max_size=3, unique=True),
        )
        ordered = st.builds(
            lambda how, one: {how: one}, st.sampled_from(["below", "above", "at least", "at most"]), _COLUMNS["amount"]
        )
        block[name] = draw(st.one_of(simple, compared, listed, *([ordered] if name == "amount" else [])))
    if draw(st.booleans()):
        group = draw(st.sampled_from(["any", "none"]))
        block[group] = [{"status": draw(_COLUMNS["status"])} for _ in range(draw(st.integers(1, 3)))]
    return block


@st.composite
def _policy(draw: st.DrawFn) -> dict[str, Any]:
    tags = draw(
        st.one_of(
            st.none(),
            st.lists(_TAG, min_size=1, max_size=3, unique=True),
            # asked for and excluded at once is refused
            st.fixed_dictionaries({"any": _TAGS, "none": _TAGS.map(lambda tags: [f"{tag}!" for tag in tags])}),
            st.fixed_dictionaries({"all": _TAGS}),
            st.fixed_dictionaries({"none": _TAGS}),
        )
    )
    where = draw(st.none() | _where())
    written: dict[str, Any] = {
        "policy": "one",
        "title": draw(_TAG),
        "records": "crm.activities",
        "retain": {"for": draw(_PERIOD)},
        "archive": {"to": "cold", "keep": draw(_PERIOD | st.just("forever"))},
        "then": "delete",
        "schedule": draw(st.sampled_from(["daily", "weekly", "monthly", "quarterly", "yearly"])),
    }
    if tags is not None:
        written["tags"] = tags
    if where is not None:
        written["where"] = where
    if tags is None and where is None:
        written["all"] = True
    if draw(st.booleans()):
        written["retain"]["from"] = "closed_at"
    if draw(st.booleans()):
        written["limits"] = {"rows": draw(st.integers(1, 10**9))}
    if draw(st.booleans()):
        written["approval"] = draw(st.sampled_from(["none", "required"]))
    return written


def _tags_of(policy: Policy) -> dict[str, set[str]]:
    tags = policy.tags
    return (
        {} if tags is None else {key: set(getattr(tags, key)) for key in ("all", "any", "none") if getattr(tags, key)}
    )


def _leaves(condition: Condition | None) -> list[Compare]:
    """Every comparison, wherever it stands."""
    if condition is None:
        return []
    if isinstance(condition, Compare):
        return [condition]
    assert isinstance(condition, AllOf | AnyOf | NoneOf)
    return [leaf for part in condition.parts for leaf in _leaves(part)]


def _written_leaves(block: dict[str, Any]) -> int:
    return sum(
        sum(_written_leaves(one) for one in value) if key in ("any", "none") else 1 for key, value in block.items()
    )


@QUICK
@given(written=_policy())
def test_what_was_written_is_what_is_loaded(tmp_path_factory: pytest.TempPathFactory, written: dict[str, Any]) -> None:
    folder = tmp_path_factory.getbasetemp() / "model"
    folder.mkdir(exist_ok=True)
    found = project(folder, {"one": yaml.safe_dump(written, allow_unicode=True)})
    assert isinstance(found, Project), f"{written}\n{found}"
    [policy] = found.policies.policies
    tags = written.get("tags")
    wanted = (
        {} if tags is None else {"all": set(tags)} if isinstance(tags, list) else {k: set(v) for k, v in tags.items()}
    )
    assert _tags_of(policy) == wanted
    assert len(_leaves(policy.where)) == _written_leaves(written.get("where", {}))
    values = {
        repr(one)
        for leaf in _leaves(policy.where)
        for one in (leaf.value if isinstance(leaf.value, tuple) else (leaf.value,))
    }
    assert values == {repr(one) for one in _scalars(written.get("where", {}))}
    assert _length(policy.retain.period) == _written_length(written["retain"]["for"])
    assert policy.retain.clock == written["retain"].get("from")
    assert policy.approval is (written.get("approval") == "required")
    assert policy.archive is not None and policy.archive.to == "cold"
    assert _length(policy.archive.keep) == _written_length(written["archive"]["keep"])
    assert policy.limits.rows == written.get("limits", {}).get("rows")


def _scalars(block: object) -> list[object]:
    if isinstance(block, dict):
        return [one for value in block.values() for one in _scalars(value)]
    return [one for value in block for one in _scalars(value)] if isinstance(block, list) else [block]


def _length(period: Period | None) -> tuple[int, int] | None:
    """Months and days; None for ever."""
    return None if period is None or period.forever else (period.months, period.days)


def _written_length(text: str) -> tuple[int, int] | None:
    if text == "forever":
        return None
    number, unit = text.split()
    months, days = {"days": (0, 1), "weeks": (0, 7), "months": (1, 0), "years": (12, 0)}[unit]
    return int(number) * months, int(number) * days


# -- policies that are broken somewhere ----------------------------------------------------------------------------------

_JUNK = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["", "null", "~", "[]", "{}", "0", "-1", "1e999", ".nan", "!!python/object:os.system", "&a [*a]", "<<: {}", "---\n",
         "...", "\t", "'", '"', "|", ">", "? ", "- ", "{a: 1, a: 2}", "\ufeff", "\u2028", "\x85",
         "on", "1 second", "P5Y", "2020-02-30",
         "9" * 5_000, "[" * 2_000, "{a: " * 500, "*a", "&x",
         "%YAML 1.1", "0x10", "1_000", "12:30:45", "tags", "🗄", "\0"]
    ),
)  # fmt: skip


@st.composite
def _mutated(draw: st.DrawFn, text: str) -> str:
    """The text with up to three changes: lines dropped, doubled, moved, and characters or words replaced by junk."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        to = draw(st.integers(at, min(len(text), at + 20)))
        lines = text.splitlines(keepends=True) or [""]
        line = draw(st.integers(0, len(lines) - 1))
        match draw(st.integers(0, 7)):
            case 0:
                text = text[:at] + draw(_JUNK) + text[to:]
            case 1:
                text = "".join(lines[:line] + lines[line + 1 :])
            case 2:
                text = "".join(lines[: line + 1] + lines[line:])
            case 3:
                text = "".join([*lines[line:], *lines[:line]])
            case 4 | 5:  # what a slip of the finger makes
                text = text[:at] + text[at + 1 :]
            case 6:
                text = text[:at] + draw(st.sampled_from(string.ascii_lowercase + " -:,")) + text[at:]
            case _:
                key, colon, _ = lines[line].partition(":")
                text = "".join([*lines[:line], f"{key}{colon or ':'} {draw(_JUNK)}\n", *lines[line + 1 :]])
    return text


def _plain(text: str) -> dict[str, Any] | None:
    """What another reader of YAML sees; None where it sees no mapping."""
    try:
        found = yaml.load(text, Loader=yaml.BaseLoader)  # every value as the text that it is
    except (yaml.YAMLError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def says_no_less(policy: Policy, text: str) -> None:
    """Everything that narrows, in the words of another reader of YAML, is there in what was loaded."""
    seen = _plain(text)
    assert seen is not None, f"loaded what another reader cannot read: {text!r}"
    assert set(seen) <= {"policy", "title", "mandate", "owner", "records", "tags", "where", "all", "retain", "archive", "then",
                         "schedule", "approval", "limits", "missed", "window", "max_workers"}  # fmt: skip
    assert bool(policy.tags) == ("tags" in seen)
    assert (policy.where is not None) == ("where" in seen)
    assert policy.approval == (seen.get("approval") == "required")
    assert (policy.limits.rows is not None) == ("rows" in seen.get("limits", {}))
    assert (policy.limits.share is not None) == ("share" in seen.get("limits", {}))
    assert (policy.retain.clock is not None) == ("from" in seen["retain"])
    assert policy.title == seen["title"]


@QUICK
@given(text=_mutated(GOOD))
def test_a_broken_policy_is_told_and_never_says_less(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.getbasetemp() / "broken"
    folder.mkdir(exist_ok=True)
    found = project(folder, {"one": text})
    if isinstance(found, Project):
        for policy in found.policies.policies:
            says_no_less(policy, (folder / "policies" / "one.yaml").read_text(encoding="utf-8"))


@QUICK
@given(text=_mutated(BASE))
def test_a_broken_retention_yaml_is_told(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.getbasetemp() / "config"
    folder.mkdir(exist_ok=True)
    found = project(folder, {"one": GOOD}, text)
    if isinstance(found, Project):
        assert "crm.activities" in found.config.classes


@QUICK
@given(content=st.binary(max_size=400))
def test_bytes_are_told(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.getbasetemp() / "bytes"
    folder.mkdir(exist_ok=True)
    assert isinstance(project(folder, {"one": content}), str)
    assert isinstance(project(folder, {"one": GOOD}, content), str)


def test_one_bad_file_keeps_every_policy_from_running(tmp_path: Path) -> None:
    assert isinstance(project(tmp_path, {"one": GOOD}), Project)
    assert isinstance(project(tmp_path, {"one": GOOD, "two": "policy: two\n"}), str)


# -- words ---------------------------------------------------------------------------------------------------------------

#: these end only when they are told to, or lay out files where they are told to
_NOT_ASKED = {"up", "metrics", "demo", "init"}
_VALUES = st.one_of(
    st.sampled_from(
        ["2026-10-01", "--key", "--json", "crm.activities", "crm", "cold", "M", "R", "0", "-1", "1e9", "all", "one", "policy",
         "config", "customer=42", "status=closed", "status=", "=", "[1,2]", "99999999999999999999", "R-1", "H-0001", "B-1",
         "9999-12-31", "0001-01-01", "2026-02-30", "2026-10-01T25:00", "2026-10-01T02:00Z", "\udcff", "retention.db",
         "retention.yaml", "'; DROP TABLE hold; --", "..", "/", "-", "", "--", "--help", "🗄", "x" * 5_000, "%s{0}$1"]
    ),
    # no operating system hands over more than bytes without a zero
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), max_size=20),
    st.binary(max_size=8).map(lambda some: os.fsdecode(some.replace(b"\0", b"").replace(b"/", b""))),
)  # fmt: skip


def _commands(group: click.Group, before: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Each command, and the words that name it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from _commands(command, (*before, name))
        elif name not in _NOT_ASKED:
            yield (*before, name), command


#: what fits, by the name of the option or argument
_FITTING = {
    "as_of": "2026-10-01", "address": "crm.activities", "class": "crm.activities", "record_class": "crm.activities",
    "policies": "one", "target": "one", "archives": "cold", "key": "1", "last": "3", "next": "3", "run": "R-2026-0001",
    "where": "status=closed", "subject": "customer=42", "tag": "sales", "hold_id": "H-2026-0001", "of": "config",
    "reason": "R", "matter": "M", "file": "file", "export": "file", "exported": "file", "out": "signed",
    "public_key": "file.pub", "kind": "hold.placed",
}  # fmt: skip


@st.composite
def _words(draw: st.DrawFn) -> list[str]:
    """A command with its arguments and some of its own options, most as they should be, and words that nobody asked for."""
    named, command = draw(st.sampled_from(list(_commands(retention))))
    words: list[str] = []
    own = [one for one in command.params if one.opts[0] not in ("--watch", "--config")]
    asked = [one for one in own if one.required or draw(st.integers(0, 2)) == 0]
    for one in asked:
        value = _FITTING[one.name] if one.name in _FITTING and draw(st.integers(0, 3)) else draw(_VALUES)
        name = [one.opts[0]] if isinstance(one, click.Option) else []
        words += name if isinstance(one, click.Option) and one.is_flag else [*name, value]
    if draw(st.integers(0, 3)) == 0:
        at = draw(st.integers(0, len(words)))
        words[at:at] = draw(st.lists(_VALUES, max_size=3))
    return [*(named if draw(st.integers(0, 19)) else draw(st.lists(_VALUES, max_size=2))), *words]


@pytest.fixture(scope="module")
def words_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that works: what the words ask for is done, to records of which one in two may ever go."""
    from retention.ledger.control import Control

    folder = tmp_path_factory.mktemp("words")
    project(folder, {"one": GOOD.replace("approval: required\n", "")})
    Control.upgrade(f"sqlite:///{folder / 'retention.db'}")
    with closing(sqlite3.connect(folder / "crm.db")) as crm, crm:
        crm.execute(
            "CREATE TABLE activity_logs (id INTEGER PRIMARY KEY, account_id INTEGER, status TEXT, amount NUMERIC(12,2),"
            " tags TEXT, created_at DATETIME, closed_at DATETIME)"
        )
        crm.executemany(
            "INSERT INTO activity_logs VALUES (?, 42, ?, 1, '[\"sales\"]', '2010-01-01', '2010-01-01')",
            [(i, "closed" if i % 2 else "open") for i in range(400)],
        )
    return folder


def say(folder: Path, words: list[str]) -> int:
    """What a process would do with the words, in this one: only `SystemExit` with a known status may come of it, which is
    returned, and no record that no policy names may go."""
    status = None
    before, streams, handlers = Path.cwd(), (sys.stdout, sys.stderr, sys.stdin), signal.getsignal(signal.SIGTERM)
    sys.stdout, sys.stderr = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    sys.stdin = io.TextIOWrapper(io.BytesIO())
    os.chdir(folder)
    try:
        main(words)
    except SystemExit as ended:
        status = ended.code
    except BaseException as error:
        raise AssertionError(f"retention {words}") from error
    finally:
        os.chdir(before)
        sys.stdout, sys.stderr, sys.stdin = streams
        signal.signal(signal.SIGTERM, handlers)
    with closing(sqlite3.connect(folder / "crm.db")) as crm:
        assert crm.execute("SELECT count(*) FROM activity_logs WHERE status = 'open'").fetchone() == (200,), words
    assert isinstance(status, int) and status in range(5), f"retention {words} ended with {status}"
    return status


@settings(QUICK, max_examples=max(100, QUICK.max_examples // 2))
@given(words=_words())
def test_words_end_in_a_message(words_site: Path, words: list[str]) -> None:
    say(words_site, words)


def test_a_word_that_ends_in_an_exception_would_be_noticed(words_site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[main.__module__], "_invoke", lambda words: 1 // 0)
    with pytest.raises(AssertionError, match="retention"):
        say(words_site, ["runs"])


# -- for hours -----------------------------------------------------------------------------------------------------------


@pytest.mark.soak
def test_for_as_long_as_you_like(tmp_path_factory: pytest.TempPathFactory, words_site: Path, soak_seed: int) -> None:
    ends = time.monotonic() + float(os.environ.get("RETENTION_SOAK_SECONDS", "3600"))
    tried: Counter[str] = Counter()
    loaded = 0
    folder = tmp_path_factory.mktemp("soak")

    def policy(text: str) -> None:
        nonlocal loaded
        tried["policies"] += 1
        found = project(folder, {"one": text})
        if isinstance(found, Project):
            loaded += 1
            for policy in found.policies.policies:
                says_no_less(policy, (folder / "policies" / "one.yaml").read_text(encoding="utf-8"))

    def config(text: str) -> None:
        tried["retention.yaml"] += 1
        project(folder, {"one": GOOD}, text)

    def both(content: bytes) -> None:
        tried["files of any bytes"] += 2
        assert isinstance(project(folder, {"one": content}), str)
        assert isinstance(project(folder, {"one": GOOD}, content), str)

    def words(words: list[str]) -> None:
        tried[f"command lines with status {say(words_site, words)}"] += 1

    asked: list[tuple[st.SearchStrategy[Any], Callable[[Any], None], int]] = [
        (_mutated(GOOD), policy, 1_000),
        (_mutated(BASE), config, 1_000),
        (st.binary(max_size=400), both, 100),
        (_words(), words, 500),
    ]
    rounds = 0
    while time.monotonic() < ends:
        for strategy, attempt, count in asked:
            seed(soak_seed + rounds)(settings(QUICK, max_examples=count)(given(strategy)(attempt)))()
        rounds += 1
        print(f"seeds {soak_seed} to {soak_seed + rounds - 1}: {dict(tried)}, {loaded} policies loaded", flush=True)


def test_a_mistake_names_its_file_and_line(tmp_path: Path) -> None:
    """The fuzzers accept any words; so here is what the words are like."""
    with pytest.raises(PolicyFilesError) as told:
        (tmp_path / "policies").mkdir()
        (tmp_path / "policies" / "one.yaml").write_text(GOOD.replace("5 years", "0 years"))
        (tmp_path / "retention.yaml").write_text(BASE)
        load_project(tmp_path / "retention.yaml")
    assert "one.yaml:8:" in str(told.value)
