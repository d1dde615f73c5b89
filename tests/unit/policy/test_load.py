"""Good policies: what they mean, that the schema takes them too; and a folder's own mistakes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from jsonschema import Draft202012Validator

from retention.errors import InputError
from retention.policy.bounds import bound_problems
from retention.policy.condition import AllOf, AnyOf, Compare, NoneOf, Operator
from retention.policy.document import LARGEST_FILE, Block, Items, Node, Value, parse_document, read_document, scalar
from retention.policy.load import load_policies, parse_where
from retention.policy.mark import Mark
from retention.policy.period import Period
from retention.policy.policy import ArchiveRule, Limits, Policy, Retain
from retention.policy.policy_set import PolicySet
from retention.policy.record_class import RecordClass
from retention.policy.schema import config_schema, policy_schema
from retention.policy.suggest import nearest
from retention.policy.tags import TagColumn, TagMatch

SHANGHAI = ZoneInfo("Asia/Shanghai")
HEAD = "policy: case\ntitle: A case\nmandate: The Act\nrecords: crm.activities\n"
TAIL = "archive: {to: cold, keep: 2 years}\nthen: delete\n"
FULL = HEAD + "tags: [sales]\nretain: {for: 5 years}\nschedule: quarterly\n" + TAIL

Load = Callable[..., tuple[PolicySet | None, list[str]]]


@pytest.fixture
def load(tmp_path: Path, make_class: Callable[..., RecordClass]) -> Load:
    def read(files: dict[str, str], **more: Any) -> tuple[PolicySet | None, list[str]]:
        folder = tmp_path / "policies"
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text, "utf-8")
        known: dict[str, Any] = {
            "classes": {"crm.activities": make_class(tags=TagColumn(column="tags"))},
            "archives": ["cold"],
            "bounds": (),
            "timezone": SHANGHAI,
            "fiscal_year_starts": (4, 1),
        }
        found, problems = load_policies(folder, **{**known, **more})
        return found, [str(problem) for problem in problems]

    return read


def as_editor(node: Node | None) -> object:
    if isinstance(node, Block):
        return {key: as_editor(entry) for key, entry in node.entries.items()}
    if isinstance(node, Items):
        return [as_editor(item) for item in node.items]
    assert isinstance(node, Value)
    return node.text if isinstance(node.value, date) else node.value


GOOD = [
    "tags: [sales]\nretain: {for: 5 years}\nschedule: quarterly\n",
    "tags: {all: [a], any: [b, c], none: [d]}\n"
    "retain: {for: P1Y6M, from: closed_at, starts: next fiscal year}\nschedule: daily\n",
    "where: {status: closed, amount: {at least: 5, below: 1e3}, action: [call, note], c: null, d: [null, x]}\n"
    "retain: {for: 36 hours}\nschedule: {cron: '0 2 * jan,JUL mon-fri', timezone: Europe/Berlin}\n",
    "where: {any: [{a: 1}, {none: [{b: true}, {c: {not in: [x]}}]}], none: [{d: {is: NO, not: yes}}]}\n"
    "retain: {for: forever}\nschedule: {cron: '*/5 0-6 1,15 * *'}\n",
    "where: {at: {after: 2024-01-01, before: 2025-01-01T09:00:00+08:00}, t: {contains: x, starts with: y}}\n"
    "retain: {for: 2 weeks, keep_last: 2, per: account_id}\nschedule: weekly\napproval: required\nlimits: {rows: 5000000}\n",
    "all: true\nretain: {for: 90 days}\nschedule: monthly\n"
    "limits: {rows: 1, share: 0.5%}\nowner: a@example.com\napproval: none\n",
    "all: true\nretain: {for: 1  year  3 days}\nschedule: yearly\nlimits: {share: 100%}\n",
]


@pytest.mark.parametrize("text", GOOD)
def test_good_policies_are_good_to_loader_and_schema(text: str, load: Load) -> None:
    policies, problems = load({"case.yaml": HEAD + text + TAIL})
    assert problems == [] and policies is not None
    node, _ = parse_document((HEAD + text + TAIL).encode(), "x")
    Draft202012Validator(policy_schema()).validate(as_editor(node))


def test_schemas_are_schemas_with_descriptions() -> None:
    for schema in (policy_schema(), config_schema()):
        Draft202012Validator.check_schema(schema)
        assert "$id" not in schema
        for name, entry in schema["properties"].items():
            assert "description" in entry or "$ref" in entry, name


def test_what_a_policy_means(load: Load) -> None:
    text = (
        HEAD
        + TAIL
        + "\n".join(
            [
                "owner: me",
                "tags: [sales]",
                "where: {status: closed}",
                "retain: {for: 5 years, from: closed_at, starts: next fiscal year}",
                "schedule: quarterly",
                "approval: required",
                "limits: {rows: 5000000, share: 2.5%}",
                "",
            ]
        )
    )
    policies, _ = load({"case.yaml": text})
    assert policies is not None
    (policy,) = policies.policies
    mark = Mark(file="policies/case.yaml", line=9, column=9)
    assert policy.tags == TagMatch(all=("sales",))
    assert policy.where == Compare(column="status", operator=Operator.IS, value="closed", mark=mark)
    assert policy.retain == Retain(
        period=Period(months=60), clock="closed_at", starts="next fiscal year", fiscal_year_starts=(4, 1)
    )
    assert policy.archive == ArchiveRule(to="cold", keep=Period(months=24))
    assert (policy.schedule.cron, policy.schedule.timezone) == ("0 2 1 1,4,7,10 *", SHANGHAI)
    assert policy.approval and policy.limits == Limits(rows=5_000_000, share=Fraction(1, 40))
    assert (policy.owner, policy.mandate, policy.title) == ("me", "The Act", "A case")
    assert policy.marks["retain.from"] == Mark(file="policies/case.yaml", line=10, column=30)
    assert policies.timezone == SHANGHAI


def test_no_archive_is_said_out_loud(load: Load) -> None:
    policies, _ = load({"case.yaml": FULL.replace("{to: cold, keep: 2 years}", "none")})
    assert policies is not None and policies.policies[0].archive is None


def test_the_digest_is_of_the_meaning(load: Load, tmp_path: Path) -> None:
    def digests(text: str, **more: Any) -> tuple[str, str]:
        policies, problems = load({"case.yaml": text}, **more)
        (tmp_path / "policies/case.yaml").unlink()
        (tmp_path / "policies").rmdir()
        assert policies is not None, problems
        return policies.policies[0].digest, policies.digest

    same = digests(FULL)
    assert len(same[0]) == len(same[1]) == 64
    assert digests("# a comment\n" + FULL.replace("5 years", "60 months")) == same
    others = [
        FULL.replace(*change)
        for change in (
            ("5 years", "6 years"),
            ("[sales]", "[sale]"),
            ("tags: [sales]", "tags: {any: [sales]}"),
            ("quarterly", "daily"),
            ("tags: [sales]", "where: {c: 2024-01-01}"),
            ("tags: [sales]", 'where: {c: "2024-01-01"}'),
            ("tags: [sales]", "where: {any: [{c: 1}]}"),
            ("tags: [sales]", "where: {none: [{c: 1}]}"),
        )
    ]
    found = [digests(text) for text in others]
    assert len({same, *found}) == len(others) + 1
    assert digests(FULL, timezone=ZoneInfo("UTC"))[1] != same[1]


def test_a_folder_without_policies_runs_nothing(load: Load, tmp_path: Path) -> None:
    assert load({".hidden.yaml": "", "case.yaml.example": ""}) == (
        None,
        ["policies:1:1: there is no policy, write one YAML file a policy"],
    )
    found, problems = load_policies(
        tmp_path / "none", classes=None, archives=None, bounds=(), timezone=SHANGHAI, fiscal_year_starts=(1, 1)
    )
    assert found is None
    assert [str(problem) for problem in problems] == [
        "none:1:1: the folder of the policies cannot be read: No such file or directory, "
        "make a folder with one YAML file a policy"
    ]


def test_a_file_that_would_be_passed_over_is_a_mistake(load: Load, tmp_path: Path) -> None:
    found, problems = load({"case.yaml": FULL, "case.yml": FULL, "B.YAML": FULL, "README.md": ""})
    assert found is None
    assert problems == [
        "policies/B.YAML:1:1: a policy's file ends in .yaml, rename it to B.yaml",
        "policies/case.yml:1:1: a policy's file ends in .yaml, rename it to case.yaml",
    ]
    (tmp_path / "policies/old").mkdir()
    (tmp_path / "policies/folder.yaml").mkdir()
    _, more = load_policies(
        tmp_path / "policies", classes=None, archives=None, bounds=(), timezone=SHANGHAI, fiscal_year_starts=(1, 1)
    )
    assert "policies/old:1:1: a folder stands among the policies, move its policies to policies/ itself" in map(
        str, more
    )
    assert "policies/folder.yaml:1:1: the file cannot be read: Is a directory, make it a readable file" in map(
        str, more
    )


def test_one_bad_file_and_no_policy_runs_and_all_are_named(load: Load) -> None:
    found, problems = load({"case.yaml": FULL, "a.yaml": FULL.replace("5 years", "5"), "b.yaml": "x"})
    assert found is None
    assert [problem.split(":")[0] for problem in problems] == ["policies/a.yaml"] * 2 + ["policies/b.yaml"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"a: \xff", "f:1:4: the file is not UTF-8 text, save it as UTF-8"),
        (b"a: b\nc: \x00", "f:2:4: a control character (U+0000) stands here, take it out"),
        ("a: \x9b".encode(), "f:1:4: a control character (U+009B) stands here, take it out"),
        ("a: \ufffe".encode(), "f:1:4: a character that YAML forbids (U+FFFE) stands here, take it out"),
        (b"a" * (LARGEST_FILE + 1), "f:1:1: the file is larger than 1 MiB, split it into several files"),
        ("a: b".encode("utf-16"), "f:1:1: the file is not UTF-8 text, save it as UTF-8"),
        (b"[" * 1_000_000, "f:1:21: lists and blocks are nested deeper than 20 levels, write it flatter"),
        (
            b"a:\n" + b"".join(b" " * n + b"a:\n" for n in range(1, 500)),
            "f:20:20: lists and blocks are nested deeper than 20 levels, write it flatter",
        ),
        (
            b"%YAML 9.9\n---\na: b",
            "f:1:1: this is not YAML: found incompatible YAML document (version 1.* is required), "
            "check indentation, quotes, colons and brackets",
        ),
    ],
)
def test_bytes_that_are_no_document(data: bytes, said: str) -> None:
    node, problems = parse_document(data, "f")
    assert node is None and [str(problem) for problem in problems] == [said]


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_bytes(b"\xef\xbb\xbfa: b")
    node, problems = read_document(tmp_path / "f.yaml", "f")
    assert isinstance(node, Block) and list(node.entries) == ["a"] and problems == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("null", None),
        ("~", None),
        ("", None),
        ("NULL", None),
        ("true", True),
        ("FALSE", False),
        ("5", 5),
        ("-5", -5),
        ("0", 0),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("2024-01-31", date(2024, 1, 31)),
        ("2024-01-31 10:00", datetime(2024, 1, 31, 10)),
        ("NO", "NO"),
        ("yes", "yes"),
        ("on", "on"),
        ("0o17", "0o17"),
        ("007", "007"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("1e999", "1e999"),
        ("2024-02-30", "2024-02-30"),
        ("9" * 41, "9" * 41),
        ("tRue", "tRue"),
    ],
)
def test_scalars(text: str, value: object) -> None:
    assert scalar(text) == value and type(scalar(text)) is type(value)


MARK = Mark(file="--where")


@pytest.mark.parametrize(
    ("text", "column", "operator", "value"),
    [
        ("status=closed", "status", Operator.IS, "closed"),
        ("account id = 42", "account id", Operator.IS, 42),
        ('account_id="42"', "account_id", Operator.IS, "42"),
        ("name='it''s'", "name", Operator.IS, "it's"),
        ("subject=Re: hello, you", "subject", Operator.IS, "Re: hello, you"),
        ("a=b=c", "a", Operator.IS, "b=c"),
        ("closed=true", "closed", Operator.IS, True),
        ("owner=null", "owner", Operator.IS, None),
        ("straße=x", "straße", Operator.IS, "x"),
        ("{amount: {above: 100}}", "amount", Operator.ABOVE, 100),
        ("status: [a, b]", "status", Operator.IN, ("a", "b")),
    ],
)
def test_where_of_the_command_line(text: str, column: str, operator: Operator, value: object) -> None:
    assert parse_where(text) == Compare(column=column, operator=operator, value=value, mark=MARK)  # type: ignore[arg-type]


def test_where_of_several_lines() -> None:
    part = [Compare(column=name, operator=Operator.IS, value=1, mark=MARK) for name in "abc"]
    assert parse_where("{a: 1, any: [{b: 1}], none: [{c: 1}]}") == AllOf(
        parts=(part[0], AnyOf(parts=(part[1],)), NoneOf(parts=(part[2],)))
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", '"" is not a condition: the file is empty'),
        ("status", '"status" is not a condition: it is the text "status"'),
        ("status=", '"status=" is not a condition: "status" is left out'),
        ("status==closed", '"status==closed" is not a condition: two = follow status'),
        ("status=[a, b]", '"status=[a, b]" is not a condition: a list or block follows status='),
        ('status="a', '"status="a" is not a condition: this is not YAML: found unexpected end of stream'),
        ("{status: {iz: 1}}", '"{status: {iz: 1}}" is not a condition: "iz" is not a comparison'),
        ("amount>=5", '"amount>=5" is not a condition: it is the text "amount>=5"'),
        ("{' ': 1}", '"{\' \': 1}" is not a condition: the class offers no column " "'),
        ("{}", '"{}" is not a condition: the condition is an empty block'),
        ("\udcff: 1 2: 3", None),
    ],
)
def test_what_is_no_condition(text: str, said: str | None) -> None:
    with pytest.raises(InputError) as caught:
        parse_where(text)
    assert caught.value.hint
    assert said is None or caught.value.message == said


ACT = "The Act"


@pytest.mark.parametrize(
    ("tags", "where", "kind", "bound_tags", "bound_where", "broken"),
    [
        (None, None, "minimum", None, None, True),
        (["a"], None, "minimum", None, None, True),
        (["a"], None, "minimum", ["a"], None, True),
        (["a", "b"], None, "minimum", ["a"], None, True),
        (["a"], None, "minimum", ["a", "b"], None, False),
        (None, None, "minimum", ["a"], None, False),
        (["a"], "s=1", "minimum", None, "s=1", True),
        (["a"], "s=1", "minimum", None, "s=2", False),
        (None, None, "maximum", ["a"], None, True),
        (["a"], None, "maximum", ["b"], None, False),
        (["a"], "s=1", "maximum", ["a"], None, True),
    ],
)
def test_which_bounds_concern_which_policies(
    tags: list[str] | None,
    where: str | None,
    kind: str,
    bound_tags: list[str] | None,
    bound_where: str | None,
    broken: bool,
    make_policy: Callable[..., Policy],
    make_bound: Callable[..., Any],
) -> None:
    def selection(named: list[str] | None, condition: str | None) -> dict[str, Any]:
        return {
            "tags": None if named is None else TagMatch(all=tuple(named)),
            "where": condition and parse_where(condition),
        }

    policy = make_policy("p", "2 years", **selection(tags, where))
    bound = make_bound(kind, "3 years" if kind == "minimum" else "1 year", **selection(bound_tags, bound_where))
    assert bool(list(bound_problems([policy], [bound]))) is broken
    assert not list(bound_problems([make_policy("p", "2 years", records="crm.other")], [bound]))


@pytest.mark.parametrize(
    ("tags", "bound", "broken"),
    [
        (TagMatch(any=("a",)), TagMatch(any=("a", "b")), True),
        (TagMatch(any=("a", "c")), TagMatch(any=("a", "b")), False),
        (TagMatch(all=("a",)), TagMatch(any=("a", "b")), True),
        (TagMatch(all=("c",)), TagMatch(any=("a", "b")), False),
        (TagMatch(all=("a",), none=("b",)), TagMatch(none=("b",)), True),
        (TagMatch(all=("a",)), TagMatch(none=("b",)), False),
    ],
)
def test_a_minimum_by_any_and_none(
    tags: TagMatch, bound: TagMatch, broken: bool, make_policy: Callable[..., Policy], make_bound: Callable[..., Any]
) -> None:
    found = list(
        bound_problems([make_policy("p", "2 years", tags=tags)], [make_bound("minimum", "3 years", tags=bound)])
    )
    assert bool(found) is broken


@pytest.mark.parametrize(
    ("period", "starts", "maximum", "broken"),
    [
        ("1 year", "next year", "1 year", True),
        ("1 year", "next year", "2 years 1 day", False),
        ("1 year", "next month", "1 year 1 month", False),
        ("forever", "next year", "200 years", True),
        ("200 years", "next year", "forever", False),
        ("30 days", "next month", "2000 hours", False),
        ("30 days", "next month", "36 hours", True),
    ],
)
def test_a_maximum_counts_what_starts_adds(
    period: str,
    starts: Any,
    maximum: str,
    broken: bool,
    make_policy: Callable[..., Policy],
    make_bound: Callable[..., Any],
) -> None:
    policy = make_policy("p", period, retain=Retain(period=Period.parse(period), starts=starts))
    found = list(bound_problems([policy], [make_bound("maximum", maximum)]))
    assert bool(found) is broken
    assert not found or f"keeps {Period.parse(period)} from {starts}, longer" in found[0].message


def test_the_nearest_name() -> None:
    assert nearest("titel", ["title", "owner"]) == 'did you mean "title"?'
    assert nearest("x", []) == "none is declared"
    assert nearest("x", "abc") == "write one of: a, b, c"
    assert nearest("zz", [f"name{n:02}" for n in range(14)]).endswith("name11 and 2 more")
