"""What verify finds: faults by rule, what could not be checked, and counts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One broken rule in one place.

    Attributes:
        rule: Id and name in SHARD_FORMAT.md, such as "F13 member-name".
        path: File relative to the set's folder.
        key: The sample's key or the member's name, where one is to blame.
        message: What was found and what was expected.
    """

    rule: str
    path: str
    key: str | None = None
    message: str

    def __str__(self) -> str:
        where = self.path if self.key is None else f"{self.path}, {self.key}"
        return f"{self.rule}: {where}: {self.message}"


@dataclass(frozen=True, kw_only=True)
class Report:
    """The outcome of verify.

    Attributes:
        faults: Every fault found.
        unchecked: What a fault, or quick, made impossible to check.
        counts: shards, tars, bytes, samples, images_decoded, magnifications.
    """

    faults: tuple[Fault, ...]
    unchecked: tuple[str, ...]
    counts: dict[str, int]

    @property
    def ok(self) -> bool:
        """Whether nothing is at fault."""
        return not self.faults
