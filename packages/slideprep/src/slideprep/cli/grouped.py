"""Failures in, lines for a person out: equal reasons once, with the slides that they concern."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slideprep.shards.records import Failure

_NAMES = 3


def failure_lines(failures: Iterable[Failure]) -> list[str]:
    """One line per reason, in the order of the first of each; reasons that differ in the slide's name are equal.

    Args:
        failures: What failed.
    """
    groups: defaultdict[tuple[str, str], list[Failure]] = defaultdict(list)
    for failure in failures:
        groups[failure.stage, failure.reason.replace(failure.slide, "\0")].append(failure)
    return [_line(group) for group in groups.values()]


def _line(group: list[Failure]) -> str:
    first, *others = group
    if first.slide in first.reason:
        return first.reason + (f" (and {_names(others)} likewise)" if others else "")
    return f"{_names(group)}: {first.reason}"


def _names(failures: list[Failure]) -> str:
    """'a.svs', 'b.svs' (region 3) and 2 more."""
    shown = [
        f"'{f.slide}'" + ("" if f.region is None else f" (region {f.region})") for f in failures[:_NAMES]
    ]
    more = len(failures) - _NAMES
    return ", ".join(shown) + (f" and {more:,} more" if more > 0 else "")
