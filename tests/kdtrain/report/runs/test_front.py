"""Which networks are on the front of accuracy against price."""

from __future__ import annotations

import pytest

from kdtrain.report.runs.front import on_front


@pytest.mark.parametrize(
    ("points", "front"),
    [
        pytest.param([], [], id="of nothing"),
        pytest.param([(1, 50)], [True], id="alone"),
        pytest.param([(1, 50), (2, 60), (3, 55)], [True, True, False], id="dearer and worse is off"),
        pytest.param([(3, 70), (1, 50), (2, 60)], [True, True, True], id="in any order"),
        pytest.param([(1, 50), (2, 50)], [True, False], id="none as good may be cheaper"),
        pytest.param([(1, 50), (1, 60)], [False, True], id="of one price the better"),
        pytest.param([(1, 50), (1, 50), (2, 60)], [True, True, True], id="equals are on together"),
        pytest.param([(2, 50), (2, 50), (1, 50)], [False, False, True], id="equals are off together"),
        pytest.param([(1, 90), (2, 50), (3, 89)], [True, False, False], id="the best is the cheapest"),
    ],
)
def test_the_front(points: list[tuple[float, float]], front: list[bool]) -> None:
    """A point belongs where no cheaper one is as good, and none of its price is better."""
    prices, values = zip(*points, strict=True) if points else ((), ())
    assert list(on_front(prices, values)) == front
