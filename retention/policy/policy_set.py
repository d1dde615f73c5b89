"""Every policy of a project, and the legal bounds around them: what decides together."""

from __future__ import annotations

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from retention.errors import NotFound
from retention.policy.policy import LegalBound, Policy
from retention.policy.suggest import nearest


@dataclass(frozen=True, kw_only=True)
class PolicySet:
    """All policies, in the order of their names. A set is whole: one bad file and there is none."""

    policies: tuple[Policy, ...]
    bounds: tuple[LegalBound, ...]
    #: the zone in whose local days periods are counted
    timezone: ZoneInfo
    #: SHA-256 (hex) of what all policies and bounds mean together
    digest: str

    def get(self, name: str) -> Policy:
        """The policy of that name. Raises NotFound, with the nearest name."""
        found = next((policy for policy in self.policies if policy.name == name), None)
        if found is None:
            hint = nearest(name, [policy.name for policy in self.policies])
            raise NotFound(f'there is no policy "{name}"', hint=hint)
        return found

    def of(self, records: str) -> tuple[Policy, ...]:
        """The policies for the class ``source.class``."""
        return tuple(policy for policy in self.policies if policy.records == records)

    def minimums(self, records: str) -> tuple[LegalBound, ...]:
        """The legal minimums for the class ``source.class``."""
        return tuple(bound for bound in self.bounds if bound.kind == "minimum" and bound.records == records)

    @staticmethod
    def outranks(a: Policy, b: Policy) -> bool:
        """Whether ``a`` is operative over ``b`` where both match: the longer `for`, then the name that sorts first."""
        return (-a.retain.period.length, a.name) < (-b.retain.period.length, b.name)
