"""The shard set that the runs were evaluated on: opened, or the reason why it is not.

A report needs it for counts and thumbnails alone, so its absence is said on the page, and stops only who named it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kdtrain.errors import UsageError
from kdtrain.shards.error import ShardError
from kdtrain.shards.index import Index, read_index
from kdtrain.shards.locations import Location
from kdtrain.text import reason_of

_AWAY = "the shard set that the runs were evaluated on was not found where it was then"
_ANOTHER = (
    "where the shard set was that the runs were evaluated on, another one lies, or it has been changed since"
)


@dataclass(frozen=True, kw_only=True)
class FoundSet:
    """A shard set, or why there is none.

    Attributes:
        index: None where it was not found.
        why: The reason, a sentence without its beginning and end; "" where it was.
    """

    index: Index | None
    why: str = ""


def find_set(given: Location | None, recorded: Sequence[Location], sha256: str) -> FoundSet:
    """The shard set that the runs were evaluated on.

    Args:
        given: ``--shards``.
        recorded: Where it was when the runs were made.
        sha256: SHA-256 of its index.

    Returns:
        No index where ``given`` is None and it is in none of the recorded places.

    Raises:
        UsageError: ``given`` is no folder, or another set.
        ShardError: ``given`` holds no shard set, or a damaged one.
    """
    if given is not None:
        return FoundSet(index=_named(given, sha256))
    why = _AWAY
    for folder in recorded:
        try:
            index = read_index(folder)
        except (ShardError, UsageError, OSError) as error:
            if not (isinstance(error, ShardError) and error.rule.startswith("F01")):
                why = f"the shard set that the runs were evaluated on cannot be read: {fault_of(error)}"
            continue
        if index.sha256 == sha256:
            return FoundSet(index=index)
        why = _ANOTHER
    return FoundSet(index=None, why=why)


def _named(given: Location, sha256: str) -> Index:
    if isinstance(given, Path) and not given.is_dir():
        raise UsageError(f"--shards {given} is no folder; give the folder of a shard set")
    index = read_index(given)
    if index.sha256 != sha256:
        raise UsageError(
            f"--shards {given} is the shard set {index.sha256[:12]}, but the runs were evaluated on "
            f"{sha256[:12]}; give that one, or none"
        )
    return index


def fault_of(error: Exception) -> str:
    """What is wrong, for a page that may be passed on: of a set's fault reason and rule, without the path."""
    if isinstance(error, ShardError):
        return f"{reason_of(ValueError(error.args[2]))} (rule {error.rule})"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return reason_of(error)
