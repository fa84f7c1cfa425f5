"""The front of accuracy against price: the networks that none is better than for the same price or less. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kdtrain.report.runs.groups import RunGroup
from kdtrain.report.runs.results import Results
from kdtrain.report.runs.scoring import estimate

METRICS: Mapping[str, str] = {"accuracy": "Accuracy", "recall": "Balanced accuracy"}


def on_front(prices: Sequence[float], values: Sequence[float]) -> tuple[bool, ...]:
    """Which points no other is better than: none as good is cheaper, and none that costs no more is better.

    Of points with one price and one value, all belong to the front, or none.

    Args:
        prices: What each costs.
        values: How good each is; more is better.
    """
    pairs = list(zip(prices, values, strict=True))

    def beaten(price: float, value: float) -> bool:
        return any(p <= price and v >= value and (p, v) != (price, value) for p, v in pairs)

    return tuple(not beaten(price, value) for price, value in pairs)


def front_of(results: Results, metric: str) -> tuple[RunGroup, ...]:
    """The students and baselines on the front, cheapest first."""
    rated = [
        (group, value)
        for group in results.compared
        if (value := value_of(results, group, metric)) is not None
    ]
    belong = on_front([group.gflops for group, _ in rated], [value for _, value in rated])
    members = [group for (group, _), yes in zip(rated, belong, strict=True) if yes]
    return tuple(sorted(members, key=lambda group: group.gflops))


def value_of(results: Results, group: RunGroup, metric: str) -> float | None:
    """A metric of a group, by tissue region; None where it is undefined."""
    return estimate(results.scores(group), metric).value
