"""Loading `policies/`: every file, every problem at once; one bad file, and there is no policy set."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

from retention.policy.bounds import bound_problems
from retention.policy.digest import digest_of
from retention.policy.document import read_document
from retention.policy.form import Form
from retention.policy.mark import Mark, Problem
from retention.policy.policy import LegalBound, Policy
from retention.policy.policy_set import PolicySet
from retention.policy.read_policy import Declared, read_policy
from retention.policy.read_where import parse_where
from retention.policy.record_class import RecordClass

__all__ = ["load_policies", "parse_where"]


def load_policies(
    folder: Path,
    *,
    classes: Mapping[str, RecordClass] | None,
    archives: Collection[str] | None,
    bounds: Sequence[LegalBound],
    timezone: ZoneInfo,
    fiscal_year_starts: tuple[int, int],
) -> tuple[PolicySet | None, list[Problem]]:
    """Every policy of ``folder``, by name; or no set, and every problem of every file, in the files' order.

    ``classes`` (by ``source.class``) and ``archives`` are what policies may name; None leaves that unchecked, for when
    retention.yaml could not be read. Files are shown as ``policies/NAME.yaml``.
    """
    declared = Declared(classes=classes, archives=archives, timezone=timezone, fiscal_year_starts=fiscal_year_starts)
    form = Form()
    policies: list[Policy] = []
    for path in _files(form, folder):
        shown = f"{folder.name}/{path.name}"
        node, problems = read_document(path, shown)
        form.problems.extend(problems)
        policy = None if node is None else read_policy(form, node, declared, path.stem)
        if policy is not None:
            policies.append(policy)
    form.problems.extend(bound_problems(policies, bounds))
    if form.problems:
        return None, sorted(form.problems)
    digest = digest_of((tuple(policies), tuple(bounds), timezone))
    return PolicySet(policies=tuple(policies), bounds=tuple(bounds), timezone=timezone, digest=digest), []


def _files(form: Form, folder: Path) -> list[Path]:
    """The policy files, by name. What looks like one and is not read is a problem: it may be the one that retains."""
    mark = Mark(file=folder.name)
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        form.refuse(
            mark,
            f"the folder of the policies cannot be read: {error.strerror}",
            "make a folder with one YAML file a policy",
        )
        return []
    files: list[Path] = []
    for path in paths:
        if path.suffix == ".yaml":
            files.append(path)
        elif path.suffix.lower() in (".yaml", ".yml"):
            form.refuse(
                Mark(file=f"{folder.name}/{path.name}"),
                "a policy's file ends in .yaml",
                f"rename it to {path.stem}.yaml",
            )
        elif path.is_dir():
            form.refuse(
                Mark(file=f"{folder.name}/{path.name}"),
                "a folder stands among the policies",
                f"move its policies to {folder.name}/ itself",
            )
    if not files and not form.problems:
        form.refuse(mark, "there is no policy", "write one YAML file a policy")
    return files
