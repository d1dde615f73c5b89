"""`retention init`: a commented starter project for a database, from what the schema tells and no more.

Nothing is guessed that could delete too much: no retention period is proposed, and what the schema leaves open is
written as a comment that names the question.
"""

from retention.starter_project.dependents import ProposedDependent
from retention.starter_project.files import WrittenProject, write
from retention.starter_project.proposal import (
    ProposedClass,
    SkippedTable,
    StarterProject,
    propose,
    source_name,
)

__all__ = [
    "ProposedClass",
    "ProposedDependent",
    "SkippedTable",
    "StarterProject",
    "WrittenProject",
    "propose",
    "source_name",
    "write",
]
