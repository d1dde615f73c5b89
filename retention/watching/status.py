"""How everything stands at one moment, in values that commands and metrics tell. `watching/read.py` reads it."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, kw_only=True)
class PolicyStatus:
    """One policy. Times are ISO, UTC; ages in seconds; None: there was none yet."""

    policy: str
    title: str
    last_slot: dict[str, object] | None
    next_slot: dict[str, object] | None
    #: no slot is opened before: its schedule was looked at until then, by a clock that was ahead. None: as it should be
    ahead_until: str | None
    #: how long the oldest slot that has not begun is past its time
    lateness_seconds: float
    last_success_at: str | None
    #: as last counted: records that are expired and still there, those of them that holds keep, for how long, and when
    overdue: dict[str, object] | None
    deleted: int


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """A run that is not over."""

    run: str
    policy: str
    #: the slot that became the run; None: a person began it, and their own process works on it
    slot: str | None
    state: str
    reason: str | None
    planned: int
    deleted: int
    #: of the last five minutes
    rows_per_second: float
    #: at that rate; None while nothing moves
    remaining_seconds: float | None
    shards: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Status:
    """Everything at one moment. ``attention`` says in sentences what a person should look at."""

    at: str
    policies: tuple[PolicyStatus, ...]
    #: what the control database knows of policies that the files no longer have: renamed, or taken away
    gone: tuple[dict[str, object], ...]
    runs: tuple[RunStatus, ...]
    runs_by_state: dict[str, int]
    queue_depth: int
    queue_oldest_seconds: float
    workers: tuple[dict[str, object], ...]
    holds: dict[str, int]
    oldest_hold_seconds: float | None
    pauses: tuple[dict[str, object], ...]
    batches_in_doubt: int
    quarantined: tuple[dict[str, object], ...]
    #: whether the files as they are now are right (``ok``), and else what is wrong, whether the last good set is ``in_force``
    #: all the same, and how many processes are ``waiting``, because they began after it. None: nobody told yet
    policy_load: dict[str, object] | None
    #: ``ok``: whether it verified, and ``agrees``; ``at``: when that was last looked at; ``agrees``: whether it verified when it
    #: was last compared with an export or a checkpoint, None: it never was. None: never verified
    ledger: dict[str, object] | None
    #: ``ok``: as it was last verified; ``verified_at``: when that last found it in order; ``unverified_seconds``: for how
    #: long nobody has, since its first batch where nobody ever did. What a clock that was ahead wrote down tells nothing.
    #: None: never verified; nothing in it, or nobody knows for how long
    archives: tuple[dict[str, object], ...]
    attention: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """The fields as `retention status --json` prints them."""
        return asdict(self)
