"""`retention.yaml`: databases, record classes, archives, legal bounds. Operators own it, policies name from it."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from retention.errors import InputError, PolicyFilesError
from retention.policy.document import Block, Node, Value, read_document
from retention.policy.form import Form, kind
from retention.policy.load import load_policies
from retention.policy.mark import Mark, Problem
from retention.policy.policy import LegalBound
from retention.policy.policy_set import PolicySet
from retention.policy.read_bounds import read_bounds
from retention.policy.read_class import read_class
from retention.policy.record_class import RecordClass
from retention.policy.throttle import Throttle, read_throttle
from retention.url import MYSQL, UrlError, bucket_and_prefix, database_of, redact, resolve_url

__all__ = [
    "ArchiveConfig",
    "Config",
    "Project",
    "SourceConfig",
    "load_config",
    "load_project",
    "load_without_policies",
    "redact",
]

_REQUIRED = {
    "timezone": "timezone: and the IANA zone of the policies, as in Asia/Shanghai",
    "sources": "sources: and a block of databases",
}
_OPTIONAL = ("control", "broker", "fiscal_year_starts", "hold_release_grace", "minimums", "maximums", "archives")
_OF_SOURCE = ("max_workers", "throttle", "unsupported_dialect")
_OF_S3 = ("endpoint", "region", "lock")
_DATABASES = ("postgresql", "sqlite", *MYSQL)
_CONTROL = "sqlite:///retention.db"
_BROKER = "memory://"
_GRACE = timedelta(days=30)
_WORKERS = 2


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """A database of records. ``url`` is complete, with its secrets: show it by `redact` alone."""

    name: str
    url: str = field(repr=False)
    classes: Mapping[str, RecordClass]
    #: how many may work on it at a time; SQLite has one writer
    max_workers: int = 1
    throttle: Throttle = field(default_factory=Throttle)
    #: whether a server that speaks a supported one's protocol and is something else is taken, if it passes a trial
    accept_unsupported: bool = False


@dataclass(frozen=True, kw_only=True)
class ArchiveConfig:
    """A place for archived records. ``url`` is complete, with its secrets: show it by `redact` alone."""

    name: str
    url: str = field(repr=False)
    #: of an S3 archive that is not at AWS; else None
    endpoint: str | None = field(default=None, repr=False)
    #: None: as the environment or ~/.aws says
    region: str | None = None
    #: the mode in which Object Lock keeps each file as long as the policy's ``keep``; None: the program sets no lock
    lock: str | None = None
    mark: Mark = field(default=Mark(file="retention.yaml"), compare=False)


@dataclass(frozen=True, kw_only=True)
class Config:
    """What retention.yaml says. URLs are complete; relative paths in them were resolved beside the file."""

    #: the project's folder, absolute: retention.yaml and policies/ lie in it
    folder: Path
    path: Path
    #: the zone in whose local days periods are counted
    timezone: ZoneInfo
    control: str = field(repr=False)
    broker: str = field(repr=False)
    #: month and day on which the fiscal year begins
    fiscal_year_starts: tuple[int, int]
    #: how long a released hold still protects
    hold_release_grace: timedelta
    bounds: tuple[LegalBound, ...]
    sources: Mapping[str, SourceConfig]
    archives: Mapping[str, ArchiveConfig]

    @property
    def classes(self) -> dict[str, RecordClass]:
        """Every record class, by its address ``source.class``."""
        return {declared.address: declared for source in self.sources.values() for declared in source.classes.values()}


@dataclass(frozen=True, kw_only=True)
class Project:
    """A project folder, read whole: retention.yaml and every policy."""

    config: Config
    policies: PolicySet
    #: why the files as they are now are not in force: ``policies`` are those before, or none. For who looks, or stops something
    mistake: InputError | None = None


def load_config(path: Path) -> Config:
    """Read retention.yaml. Raises InputError where there is none, PolicyFilesError with all of its problems."""
    config, problems = _read(path)
    if config is None or problems:
        raise PolicyFilesError(problems)
    return config


def load_project(config_path: Path, *, lenient: bool = False) -> Project:
    """Read retention.yaml and policies/ beside it. Raises InputError where there is no retention.yaml, PolicyFilesError
    with the problems of all files at once; ``lenient``, where only policies have any, there is no policy and ``mistake``
    says why."""
    config, problems = _read(config_path)
    policies, policy_problems = load_policies(
        config_path.absolute().parent / "policies",
        classes=None if config is None or not config.sources else config.classes,
        archives=None if config is None else config.archives.keys(),
        bounds=() if config is None else config.bounds,
        timezone=ZoneInfo("UTC") if config is None else config.timezone,
        fiscal_year_starts=(1, 1) if config is None else config.fiscal_year_starts,
    )
    if config is not None and policies is not None and not problems:
        return Project(config=config, policies=policies)
    mistake = PolicyFilesError([*problems, *policy_problems])
    if config is None or problems or not lenient:
        raise mistake
    return Project(config=config, policies=_no_policies(config), mistake=mistake)


def load_without_policies(config_path: Path) -> Project:
    """The project for what no policy has a say in: holds, evidence and the archive must work while somebody mends a
    policy. Nothing can be planned or run with it. Raises as `load_config` does."""
    config = load_config(config_path)
    return Project(config=config, policies=_no_policies(config))


def _no_policies(config: Config) -> PolicySet:
    return PolicySet(policies=(), bounds=(), timezone=config.timezone, digest="")


def _read(path: Path) -> tuple[Config | None, list[Problem]]:
    """What could be read of the file, and its problems; None where nothing could."""
    if not path.exists():
        raise InputError(
            f"there is no file {path}",
            hint="make a project with `retention init`, or name its retention.yaml with --config",
        )
    node, problems = read_document(path, path.name)
    form = Form(problems)
    if node is None:
        return None, problems
    entries = form.block(node, "retention.yaml", required=_REQUIRED, optional=_OPTIONAL)
    if entries is None:
        return None, problems
    config = _Reader(form=form, entries=entries, path=path.absolute()).config()
    return config, sorted(problems)


@dataclass(frozen=True, kw_only=True)
class _Reader:
    form: Form
    entries: Mapping[str, Node]
    path: Path

    def config(self) -> Config:
        zone = self.form.zone(self.entries["timezone"], '"timezone"') if "timezone" in self.entries else None
        sources = self.sources()
        control = self.url(self.entries.get("control"), '"control"', _DATABASES, _CONTROL)
        self.one_database_each(control, sources)
        classes = {declared.address: declared for source in sources.values() for declared in source.classes.values()}
        return Config(
            folder=self.path.parent,
            path=self.path,
            timezone=ZoneInfo("UTC")
            if zone is None
            else zone,  # UTC only beside a problem: such a Config is not handed out
            control=control,
            broker=self.url(self.entries.get("broker"), '"broker"', ("memory", "redis", "rediss"), _BROKER),
            fiscal_year_starts=self.fiscal_year_starts(),
            hold_release_grace=self.grace(),
            bounds=self.bounds(classes),
            sources=sources,
            archives=self.archives(),
        )

    def one_database_each(self, control: str, sources: Mapping[str, SourceConfig]) -> None:
        """A database under two names would have two sets of policies and holds that do not know of each other; and two
        SQLite libraries (the control database has its own) in one file would drop each other's locks. In MariaDB and MySQL,
        where a database is what a schema is elsewhere, the control database's tables would stand among the source's."""
        node = self.entries.get("sources")
        alone = control.startswith(("sqlite", *MYSQL))
        known = {database_of(control): "the control database"} if alone else {}
        for name, source in sources.items():
            database = database_of(source.url)
            if database in known and isinstance(node, Block):
                self.form.refuse(
                    node.keys[name],
                    f'the source "{name}" is the same database as {known[database]}',
                    "name each database once, with all of its classes",
                )
            elif source.url:
                known[database] = f'the source "{name}"'

    def url(self, node: Node | None, what: str, schemes: Collection[str], default: str) -> str:
        text = default if node is None else self.form.text(node, what, "a URL")
        try:
            return "" if text is None else resolve_url(text, os.environ, self.path.parent, schemes)
        except UrlError as error:
            assert node is not None, "the defaults are URLs"
            self.form.refuse(node.mark, f"{what}: {error.message}", error.remedy)
            return ""

    def fiscal_year_starts(self) -> tuple[int, int]:
        node = self.entries.get("fiscal_year_starts")
        if node is None:
            return (1, 1)
        match = re.fullmatch(r"([0-9]{2})-([0-9]{2})", node.text) if isinstance(node, Value) else None
        try:
            if match is not None:
                day = date(2023, int(match[1]), int(match[2]))  # a year without 29 February: it must be in every year
                return (day.month, day.day)
        except ValueError:
            pass  # a month or day that is not in every year, as is said below
        self.form.refuse(
            node.mark, f'"fiscal_year_starts" is {kind(node)}', "write month and day of every year, as in 04-01"
        )
        return (1, 1)

    def grace(self) -> timedelta:
        node = self.entries.get("hold_release_grace")
        period = None if node is None else self.form.period(node, '"hold_release_grace"')
        if node is None or period is None:
            return _GRACE
        if period.forever or period.months:
            self.form.refuse(
                node.mark, f'"hold_release_grace" is {period}', "write it in days, weeks or hours, as in 30 days"
            )
        return timedelta(days=period.days, hours=period.hours)

    def bounds(self, classes: Mapping[str, RecordClass]) -> tuple[LegalBound, ...]:
        minimums = (
            read_bounds(self.form, self.entries["minimums"], "minimum", classes) if "minimums" in self.entries else ()
        )
        maximums = (
            read_bounds(self.form, self.entries["maximums"], "maximum", classes) if "maximums" in self.entries else ()
        )
        return (*minimums, *maximums)

    def sources(self) -> dict[str, SourceConfig]:
        found: dict[str, SourceConfig] = {}
        required = {"url": "url: ${NAME}, and set that variable", "classes": "classes: and a block of record classes"}
        for name, node in self.named("sources", "the source").items():
            entries = self.form.block(node, f'the source "{name}"', required=required, optional=_OF_SOURCE) or {}
            classes = self.named_below(entries["classes"], '"classes"', "the class") if "classes" in entries else {}
            url = self.url(entries["url"], '"url"', _DATABASES, "") if "url" in entries else ""
            read = {one: read_class(self.form, entry, name, one) for one, entry in classes.items()}
            sqlite, postgresql = url.startswith("sqlite"), url.startswith("postgresql")
            throttle = entries.get("throttle")
            found[name] = SourceConfig(
                name=name,
                url=url,
                classes=read,
                max_workers=self.max_workers(entries.get("max_workers"), sqlite=sqlite),
                throttle=Throttle() if throttle is None else read_throttle(self.form, throttle, postgresql=postgresql),
                accept_unsupported="unsupported_dialect" in entries
                and self.form.choice(entries["unsupported_dialect"], '"unsupported_dialect"', ("accept",)) is not None,
            )
        return found

    def max_workers(self, node: Node | None, *, sqlite: bool) -> int:
        if node is None:
            return 1 if sqlite else _WORKERS
        most = 1 if sqlite else 64
        value = node.value if isinstance(node, Value) else None
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most:
            return value
        remedy = "write 1, or leave it out: SQLite has one writer" if sqlite else "write a whole number from 1 to 64"
        self.form.refuse(node.mark, f'"max_workers" is {kind(node)}', remedy)
        return 1

    def archives(self) -> dict[str, ArchiveConfig]:
        found: dict[str, ArchiveConfig] = {}
        for name, node in self.named("archives", "the archive").items():
            required = {"url": 'url: "file:./archive"'}
            entries = self.form.block(node, f'the archive "{name}"', required=required, optional=_OF_S3) or {}
            url = self.url(entries["url"], '"url"', ("file", "s3"), "") if "url" in entries else ""
            found[name] = self.archive(name, url, entries, node.mark)
        return found

    def archive(self, name: str, url: str, entries: Mapping[str, Node], mark: Mark) -> ArchiveConfig:
        """The archive with what is said of it beside its URL."""
        if url.startswith("s3:"):
            try:
                bucket_and_prefix(url)
            except UrlError as error:
                self.form.refuse(entries["url"].mark, f'"url": {error.message}', error.remedy)
        elif url:
            for key in (key for key in _OF_S3 if key in entries):
                self.form.refuse(entries[key].mark, f'"{key}" is for archives on S3 alone', "take it away")
        endpoint, region, lock = (entries.get(key) for key in _OF_S3)
        return ArchiveConfig(
            name=name,
            url=url,
            endpoint=None if endpoint is None else self.url(endpoint, '"endpoint"', ("https", "http"), ""),
            region=None if region is None else self.form.text(region, '"region"', "a region, as in eu-central-1"),
            lock=None if lock is None else self.form.choice(lock, '"lock"', ("governance", "compliance")),
            mark=mark,
        )

    def named(self, key: str, what: str) -> Mapping[str, Node]:
        return self.named_below(self.entries[key], f'"{key}"', what) if key in self.entries else {}

    def named_below(self, node: Node, key: str, what: str) -> Mapping[str, Node]:
        """The entries of a block whose keys are names."""
        if not isinstance(node, Block) or not node.entries:
            self.form.refuse(
                node.mark,
                f"{key} is {'an empty block' if isinstance(node, Block) else kind(node)}",
                "write a block of names",
            )
            return {}
        for name in node.entries:
            self.form.good_name(name, node.keys[name], what)
        return node.entries
