"""JSON Schemas (2020-12) of policy files and retention.yaml, for editors.

They say what a file can be told by itself: keys, forms, words. What needs another file or a calendar (whether a class
exists, whether a cron fires, whether a period is over 200 years) only loading can tell; the tests name all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from retention.policy.condition import Operator
from retention.policy.dependent import Then
from retention.policy.read_class import FORMATS, UNITS
from retention.policy.read_policy import MISSED, STARTS
from retention.policy.read_schedule import WORDS

Schema = dict[str, Any]

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_COUNT = "0*[1-9][0-9]*"
_UNITS = ("years?", "months?", "weeks?", "days?")
_WORD_PERIOD = "(?=[0-9])(?!.* $)" + " *".join(f"({_COUNT} +{unit}(?= |$))?" for unit in _UNITS)
_ISO_PERIOD = f"P(?=[0-9])({_COUNT}Y)?({_COUNT}M)?({_COUNT}W)?({_COUNT}D)?"
_DAYS = f"{_WORD_PERIOD}|{_ISO_PERIOD}|forever"
_HOURS = f"{_COUNT} +hours?|PT{_COUNT}H"
_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}([ T][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?(Z|[+-][0-9]{2}:[0-9]{2})?)?"


def policy_schema() -> Schema:
    """The schema of one file of `policies/`."""
    keep = _text(
        "How long the archive keeps its copy, counted from the day of deletion; then it is destroyed.", f"^({_DAYS})$"
    )
    archive = _block(
        "The archive that takes the records before they are deleted.",
        {"to": _text("An archive declared in retention.yaml."), "keep": keep},
        required=["to", "keep"],
    )
    retain = _block(
        "How long records are kept, and from when.",
        {
            "for": _period("How long: 90 days, 5 years, 1 year 6 months, 36 hours, P5Y or forever."),
            "from": _text("The column or named clock to count from; the class's `created` if left out."),
            "starts": {"description": "Moves the clock forward before counting.", "enum": list(STARTS)},
            "keep_last": {
                "description": "So many of the newest of each group stay, whatever their age.",
                "type": "integer",
                "minimum": 1,
                "maximum": 2**63 - 1,
            },
            "per": _text("The groups of keep_last: a subject or a column of the class."),
        },
        required=["for"],
        dependentRequired={"keep_last": ["per"], "per": ["keep_last"]},
        dependentSchemas={"starts": {"properties": {"for": {"pattern": f"^({_DAYS})$"}}}},
    )
    schedule = _block(
        "A five-field cron in a time zone.",
        {
            "cron": _text("Minute, hour, day, month, weekday.", r"^[0-9a-zA-Z*,/-]+( +[0-9a-zA-Z*,/-]+){4}$"),
            "timezone": _text("An IANA time zone; that of retention.yaml if left out."),
        },
        required=["cron"],
    )
    limits = _block(
        "Stop before the first deletion if the plan is larger than this.",
        {
            "rows": {"description": "Records, at most.", "type": "integer", "minimum": 1, "maximum": 2**63 - 1},
            "share": _text(
                "Of the class's records, at most, as in 25%.",
                r"^(?!0+(\.0+)?%$)(0*[0-9]{1,2}(\.[0-9]{1,6})?|100(\.0{1,6})?)%$",
            ),
        },
        minProperties=1,
    )
    properties = {
        "policy": _name("The policy's name; the file bears the same."),
        "title": _text("What the policy is about, in a line."),
        "mandate": _text("The law or rule that asks for it."),
        "owner": _text("Who answers for it."),
        "records": _text("The record class, SOURCE.CLASS, as declared in retention.yaml."),
        "tags": {"$ref": "#/$defs/tags"},
        "where": {"$ref": "#/$defs/where"},
        "all": {"description": "Said out loud: every record of the class.", "const": True},
        "retain": retain,
        "archive": {"description": "Where records go; `none` destroys them, and needs a mandate.",
                    "anyOf": [{"const": "none"}, archive]},
        "then": {"description": "What happens to records that are archived.", "const": "delete"},
        "schedule": {"description": "When the policy runs; words mean 02:00 on the first day.",
                     "anyOf": [{"enum": list(WORDS)}, schedule]},
        "approval": {"description": "Whether a person approves each plan.", "enum": ["none", "required"]},
        "limits": limits,
        "missed": {"description": "What becomes of slots at which nothing could run; `run once` if left out.",
                   "enum": list(MISSED)},
        "window": _text("The hours in which a scheduled run works, in the schedule's zone; may cross midnight.",
                        r"^(?!(.{5})-\1$)([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]$"),
    }  # fmt: skip
    selections = [{"required": ["tags"]}, {"required": ["where"]}]
    return {
        "$schema": _DRAFT,
        "title": "A retention policy",
        **_block(
            "One policy: which records, how long, what then.",
            properties,
            required=["policy", "title", "records", "retain", "archive", "then", "schedule"],
            oneOf=[{"anyOf": selections, "not": {"required": ["all"]}},
                   {"required": ["all"], "not": {"anyOf": selections}}],
            **{
                "if": {"properties": {"archive": {"const": "none"}}, "required": ["archive"]},
                "then": {"required": ["mandate"]},
            },
        ),
        "$defs": _definitions(),
    }  # fmt: skip


def config_schema() -> Schema:
    """The schema of retention.yaml."""
    bound = _block(
        "A legal bound, counted from the class's `created` clock.",
        {
            "records": _text("The record class, SOURCE.CLASS."),
            "for": _period("How long."),
            "mandate": _text("The law or rule that sets the bound."),
            "tags": {"$ref": "#/$defs/tags"},
            "where": {"$ref": "#/$defs/where"},
        },
        required=["records", "for", "mandate"],
    )
    column = _text("The name of a column.")
    columns = {"type": "array", "items": column, "minItems": 1, "uniqueItems": True}
    table_tags = {
        "table": _text("The join table."),
        "record": {"description": "Its column, or columns, that refer to the key.", "anyOf": [column, columns]},
        "tag": _text("Its column that holds the tag."),
    }
    rules = {"rules": _named("Tag: what a record must fulfil to carry it.", r"^\S(.*\S)?$", {"$ref": "#/$defs/where"})}
    record_class = _block(
        "Which rows of which table are one kind of record.",
        {
            "table": _text("The table, schema-qualified where needed."),
            "key": {"description": "The key: a column, or a list of columns.", "anyOf": [column, columns]},
            "created": _text("The clock that counts where a policy names none: a column, or one of `clocks`."),
            "clocks": _named(
                "Clock: the columns of which the latest counts, those of dependents (TABLE.column) and parents among them.",
                r"^\S(.*\S)?$",
                _block("A clock.", {"latest of": columns}, required=["latest of"]),
            ),
            "parents": _named(
                "Parent: the record of another table to which a column refers.",
                _NAME_PATTERN,
                _block(
                    "A parent.",
                    {
                        "table": _text("Its table."),
                        "column": _text("The column of this class's table that refers to it."),
                        "key": _text("Its column that is referred to; its primary key if left out."),
                    },
                    required=["table", "column"],
                ),
            ),
            "timezone": _text("The IANA zone of clock columns that have none."),
            "unit": {"description": "What a number in a clock column counts since 1970.", "enum": list(UNITS)},
            "format": {"description": "What digits in a clock column mean, as text or number.", "enum": list(FORMATS)},
            "unset": {
                "description": "Values that mean that a time is not set: such a clock is none.",
                "type": "array",
                "items": {"type": ["string", "number"], "pattern": r"^\S([\s\S]*\S)?$"},
                "minItems": 1,
                "uniqueItems": True,
            },
            "tags": {
                "description": "Where tags stand: in a column, in a join table, or derived by rules.",
                "anyOf": [
                    _block("In a column.", {"column": column}, required=["column"]),
                    _block("In a join table.", table_tags, required=list(table_tags)),
                    _block("Derived.", rules, required=["rules"]),
                ],
            },
            "subjects": _named("Subject: the column that names it, for holds on a person.", _NAME_PATTERN, column),
            "columns": {
                "description": "What `where` and `from` of policies may name; all columns if left out.",
                **columns,
            },
            "dependents": {"$ref": "#/$defs/dependents"},
        },
        required=["table", "key"],
        **{"not": {"required": ["unit", "format"]}},
    )
    throttle = _block(
        "What spares the database.",
        {
            "duty": _text("The share of the time in which each connection works, as in 50%.", "^0*[1-9][0-9]?%$"),
            "query": _text("A statement that yields one number."),
            "below": {"description": "Work waits while the number is not below this.", "type": "number"},
            "replica_lag": _text("Work waits while a replica is further behind.", "^0*[1-9][0-9]* seconds?$"),
        },
        minProperties=1,
        dependentRequired={"query": ["below"], "below": ["query"]},
    )
    source = _block(
        "A database of records.",
        {
            "url": _text("Its URL; write ${NAME} for what is secret."),
            "classes": _named("Record classes.", _NAME_PATTERN, record_class),
            "max_workers": {
                "description": "How many may work on it at a time; 2 if left out, 1 for SQLite.",
                "type": "integer",
                "minimum": 1,
                "maximum": 64,
            },
            "throttle": throttle,
            "unsupported_dialect": {
                "description": "Takes a server that speaks PostgreSQL's or MySQL's protocol and is something else, at your own"
                " risk, if it passes a trial.",
                "enum": ["accept"],
            },
        },
        required=["url", "classes"],
    )
    archive = _block(
        "An archive.",
        {
            "url": _text('"file:./archive", or "s3://bucket/prefix".'),
            "endpoint": _text("The URL of an S3 server that is not AWS."),
            "region": _text("The bucket's region, where the environment does not say it."),
            "lock": {
                "description": "The mode of Object Lock that keeps each copy as long as the policy's `keep`.",
                "enum": ["governance", "compliance"],
            },
        },
        required=["url"],
    )
    properties = {
        "timezone": _text("The IANA zone in whose local days periods are counted."),
        "control": _text("The URL of the control database; sqlite:///retention.db if left out."),
        "broker": _text("The URL of the broker; memory:// if left out."),
        "fiscal_year_starts": _text(
            "Month and day, as in 04-01; 01-01 if left out.", r"^(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$"
        ),
        "hold_release_grace": _text(
            "How long a released hold still protects; 30 days if left out.",
            f"^(?!.*(year|month|forever|Y|M))({_DAYS}|{_HOURS})$",
        ),
        "minimums": {"description": "Legal minimums.", "type": "array", "items": bound, "minItems": 1},
        "maximums": {"description": "Legal maximums.", "type": "array", "items": bound, "minItems": 1},
        "sources": _named("Databases of records.", _NAME_PATTERN, source),
        "archives": _named("Places for archived records.", _NAME_PATTERN, archive),
    }
    return {
        "$schema": _DRAFT,
        "title": "retention.yaml",
        **_block("Databases, record classes and archives.", properties, required=["timezone", "sources"]),
        "$defs": {**_definitions(), "dependents": _dependents({"anyOf": [column, columns]})},
    }


def _dependents(columns: Schema) -> Schema:
    """What `dependents` says, at each level."""
    properties = {
        "key": {
            "description": "What refers to the record: a column, or a list; of shared rows what is referred to.",
            **columns,
        },
        "of": {
            "description": "What it refers to, where that is not the key; of shared rows what refers to them.",
            **columns,
        },
        "when": {"description": "Which rows refer to the record at all.", "$ref": "#/$defs/where"},
        "then": {"description": "What becomes of the rows.", "enum": [one.value for one in Then]},
        "dependents": {"$ref": "#/$defs/dependents"},
    }
    stays = {
        "required": ["then", "dependents"],
        "properties": {"then": {"enum": [Then.BLOCK.value, Then.DETACH.value]}},
    }
    unsaid = {
        "required": ["then"],
        "properties": {"then": {"const": Then.LAST.value}},
        "anyOf": [{"not": {"required": ["of"]}}, {"required": ["when"]}],
    }
    dependent = _block("A dependent table.", properties, required=["key"], **{"not": {"anyOf": [stays, unsaid]}})
    several = {"type": "array", "items": dependent, "minItems": 1}
    said = (
        "Table: the column that refers to the record; its rows go with the record. A list, if it refers several times."
    )
    return _named(said, r"^\S(.*\S)?$", {"anyOf": [dependent, several]})


_NAME_PATTERN = "^[a-z][a-z0-9_-]{0,59}$"


def _definitions() -> Schema:
    tags = {"type": "array", "items": _text("A tag."), "minItems": 1, "uniqueItems": True}
    number, text = {"type": "number"}, {"type": "string"}
    plain = {"type": ["string", "number", "boolean", "null"]}
    kinds = [{"type": ["string", "null"]}, {"type": ["number", "null"]}, {"type": ["boolean", "null"]}]
    values = {"type": "array", "minItems": 1, "anyOf": [{"items": kind} for kind in kinds]}
    time = {"type": "string", "pattern": f"^{_TIME}$"}
    some_text = {**text, "minLength": 1}
    takes: Mapping[Operator, Schema] = {
        Operator.IS: plain, Operator.NOT: plain, Operator.IN: values, Operator.NOT_IN: values,
        Operator.BELOW: number, Operator.ABOVE: number, Operator.AT_LEAST: number, Operator.AT_MOST: number,
        Operator.BEFORE: time, Operator.AFTER: time, Operator.CONTAINS: some_text, Operator.STARTS_WITH: some_text,
    }  # fmt: skip
    comparisons = {operator.value: schema for operator, schema in takes.items()}
    compared = _block("Comparisons; several mean `and`.", comparisons, minProperties=1)
    group = {"type": "array", "items": {"$ref": "#/$defs/where"}, "minItems": 1}
    return {
        "tags": {
            "description": "A list asks for all of its tags.",
            "anyOf": [tags, _block("Tags to carry.", {"all": tags, "any": tags, "none": tags}, minProperties=1)],
        },
        "where": {
            "description": "Columns and what they must be; several mean `and`.",
            "type": "object",
            "minProperties": 1,
            "propertyNames": {"pattern": r"\S"},
            "properties": {"any": {"description": "At least one of these blocks holds.", **group},
                           "none": {"description": "None of these blocks holds.", **group}},
            "additionalProperties": {"anyOf": [plain, values, compared]},
        },
    }  # fmt: skip


def _text(description: str, pattern: str = r"^\S([\s\S]*\S)?$") -> Schema:
    return {"description": description, "type": "string", "pattern": pattern}


def _name(description: str) -> Schema:
    return _text(description, _NAME_PATTERN)


def _period(description: str) -> Schema:
    return _text(description, f"^({_DAYS}|{_HOURS})$")


def _block(description: str, properties: Schema, **more: Any) -> Schema:
    return {
        "description": description,
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        **more,
    }


def _named(description: str, pattern: str, value: Schema) -> Schema:
    return {"description": description, "type": "object", "patternProperties": {pattern: value},
            "additionalProperties": False, "minProperties": 1}  # fmt: skip
