"""Balanced accuracy here and at home over the same classes, where one of both places lacks a class. Pure.

A mean over other classes measures another thing, and accuracy depends on how many cases of each class there are, so
both are means of the recall of those classes that both places have. Here these have intervals; at home their counts are
known (Wilson 1927, "Probable inference, the law of succession, and statistical inference", JASA 22, 209-212, which
takes items as independent). The interval of a mean of classes, of other patients each, is put together from theirs, as
that of a difference is in ``verdict``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import hypot, sqrt
from typing import Any

_Z = 1.959964
"""Of 95 %."""
Estimate = dict[str, float | None]


def shared_classes(
    here: Mapping[str, Any], home: Mapping[str, Any], classes: Sequence[str]
) -> tuple[str, ...]:
    """Classes that some item has in both places.

    Args:
        here: A level of metrics.json.
        home: The same level of the bundle's own split.
        classes: Of the bundle, in its order.
    """
    lacking = {*here["absent_classes"], *home.get("absent_classes", ())}
    return tuple(name for name in classes if name not in lacking)


def recall_here(here: Mapping[str, Any], classes: Sequence[str], shared: Sequence[str]) -> dict[str, Any]:
    """Mean recall of classes, and of how many items (``n``).

    Args:
        here: A level of metrics.json.
        classes: Of the bundle, in its order.
        shared: Those asked for, one or more.
    """
    mean = _mean([here["per_class"][name]["recall"] for name in shared])
    return {**mean, "n": sum(_counts(here, classes, shared))}


def recall_at_home(home: Mapping[str, Any], classes: Sequence[str], shared: Sequence[str]) -> dict[str, Any]:
    """The same of what the bundle says of its own split, which holds counts."""
    right = [home["confusion"][k][k] for k in map(classes.index, shared)]
    counts = _counts(home, classes, shared)
    return {**_mean([_wilson(*one) for one in zip(right, counts, strict=True)]), "n": sum(counts)}


def _counts(level: Mapping[str, Any], classes: Sequence[str], shared: Sequence[str]) -> list[int]:
    return [sum(level["confusion"][k]) for k in map(classes.index, shared)]


def _wilson(right: int, of: int) -> Estimate:
    share, z2 = right / of, _Z**2
    middle = (share + z2 / (2 * of)) / (1 + z2 / of)
    half = _Z * sqrt(share * (1 - share) / of + z2 / (4 * of**2)) / (1 + z2 / of)
    return {"value": share, "low": middle - half, "high": middle + half}


def _mean(parts: Sequence[Mapping[str, float | None]]) -> Estimate:
    values = [part["value"] for part in parts if part["value"] is not None]
    if len(values) < len(parts) or not parts:
        return {"value": None, "low": None, "high": None}
    value = sum(values) / len(values)
    below = [
        part["value"] - part["low"] for part in parts if part["value"] is not None and part["low"] is not None
    ]
    above = [
        part["high"] - part["value"]
        for part in parts
        if part["value"] is not None and part["high"] is not None
    ]
    if len(below) < len(parts) or len(above) < len(parts):
        return {"value": value, "low": None, "high": None}
    return {
        "value": value,
        "low": value - hypot(*below) / len(parts),
        "high": value + hypot(*above) / len(parts),
    }
