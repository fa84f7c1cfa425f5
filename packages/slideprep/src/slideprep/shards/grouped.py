"""Failures in, lines for a person out: equal reasons once, with the slides that they concern."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

from slideprep.shards.records import Failure

_NAMES = 3


def failure_lines(failures: Iterable[Failure]) -> list[str]:
    """One line per reason, in the order of the first of each; reasons that differ in the slide's name are equal.

    Args:
        failures: What failed.
    """
    groups: defaultdict[tuple[str, str], list[Failure]] = defaultdict(list)
    for failure in failures:
        groups[failure.stage, _named(failure).sub("\0", failure.reason)].append(failure)
    return [_line(group) for group in groups.values()]


def _named(failure: Failure) -> re.Pattern[str]:
    """The slide's name as a whole word."""
    return re.compile(rf"(?<![^\W_]){re.escape(failure.slide)}(?![^\W_])")


def _line(group: list[Failure]) -> str:
    first, *others = sorted(group, key=lambda failure: (failure.slide, failure.region or 0))
    if _named(first).search(first.reason):
        return first.reason + (f" (and {_names(others)} likewise)" if others else "")
    return f"{_names([first, *others])}: {first.reason}"


def _names(failures: list[Failure]) -> str:
    """'a.svs', 'b.svs' (region 3) and 2 more."""
    shown = [
        f"'{f.slide}'" + ("" if f.region is None else f" (region {f.region})") for f in failures[:_NAMES]
    ]
    more = len(failures) - _NAMES
    return ", ".join(shown) + (f" and {more:,} more" if more > 0 else "")
