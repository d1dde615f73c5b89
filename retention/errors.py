"""Every error that a person can meet, in one tree.

    RetentionError                 exit status
    ├── InputError                 2   something that was written or typed is wrong; nothing ran
    │   ├── PolicyFilesError       2   retention.yaml or policies/*.yaml, every problem at once
    │   └── NotFound               2   no such run, hold, policy, class, archive or record
    ├── Refused                    4   understood, and not done: a hold, a limit, a missing right or approval
    │   ├── RunTaken               4   another living process works on the run (`ledger/runs.py`)
    │   ├── HoldPending            4   a hold is not in force everywhere yet (`disposition/held.py`)
    │   ├── NotYet                 4   a run judges by a time that has not come (`disposition/clock.py`)
    │   ├── UnsupportedDatabase    4   a server on which nothing that is promised was tested
    │   ├── RightMissing           4   the source's role may not do what is needed, or not see every row
    │   └── SchemaUnsafe           4   the table cannot be handled without losing or keeping something wrongly
    └── Failed                     1   it was tried and did not work; nothing was lost, and it can be tried again
        ├── SourceFailed           1   the database where records live
        ├── ControlFailed          1   the control database
        ├── ArchiveFailed          1   the archive: not writable, or what was read back differs
        │   └── CopyLocked         1   its own lock keeps the file (`archive/store.py`)
        ├── EvidenceBroken         1   ledger or archive do not verify
        └── InDoubt                1   a batch whose outcome only a person can tell

Exit statuses of every command: 0 done, 1 failed, 2 bad input, 3 partly done, 4 refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Self

if TYPE_CHECKING:
    from retention.policy.mark import Problem


class RetentionError(Exception):
    """Base of all: ``message`` says what is wrong, ``hint`` what to do about it. Neither ever holds a secret."""

    code: ClassVar[str] = "error"
    exit_status: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        #: each thing that is wrong, with what to do about it
        self.parts: tuple[tuple[str, str], ...] = ((message, hint),)

    @classmethod
    def of_all(cls, parts: Sequence[tuple[str, str]]) -> Self:
        """One error of several things that are wrong; hints that repeat are told once."""
        hints = dict.fromkeys(hint for _, hint in parts)
        error = cls("\n".join(message for message, _ in parts), hint="\n  ".join(hints))
        error.parts = tuple(parts)
        return error

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class InputError(RetentionError):
    """What was written or typed is wrong. Correct it and run the command again; nothing was done."""

    code = "input"
    exit_status = 2


class PolicyFilesError(InputError):
    """Some file of the project does not say what it must; ``problems`` lists every one, in file order."""

    code = "policy-files"

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))
        self.parts = tuple((f"{one.mark}: {one.message}", one.remedy) for one in self.problems)


class NotFound(InputError):
    """There is no such thing; the hint names the nearest one that exists."""

    code = "not-found"


class Refused(RetentionError):
    """Understood, and not done, because a rule forbids it."""

    code = "refused"
    exit_status = 4


class SchemaUnsafe(Refused):
    """The table cannot be handled safely as declared; the message names the column or reference, the hint the line to add."""

    code = "schema"


class UnsupportedDatabase(Refused):
    """What is promised rests on locks and transactions of the databases that it is tested on; this is none of them."""

    code = "unsupported-database"


class RightMissing(Refused):
    """The source's role may not see or do what is needed; the message names role and table, the hint what to grant."""

    code = "rights"


class Failed(RetentionError):
    """It was tried and did not work. Nothing was lost; run the command again when the cause is mended."""

    code = "failed"


class SourceFailed(Failed):
    """The source database did not do what was asked of it."""

    code = "source"


class ControlFailed(Failed):
    """The control database did not do what was asked of it."""

    code = "control"


class ArchiveFailed(Failed):
    """The archive could not be written, or what was read back differs from what was written."""

    code = "archive"


class EvidenceBroken(Failed):
    """The ledger or the archive does not verify: what is kept is not what was written."""

    code = "evidence"


class InDoubt(Failed):
    """The source answers neither "all gone" nor "all there" for a batch. Its policy stands still until a person decides."""

    code = "in-doubt"
