"""Curves of several networks become one whose area is the tables' number; points that do not show are left out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from fixtures.report_runs import write_run
from kdtrain.evaluation.predictions import Prediction
from kdtrain.report.runs.class_curves import class_curves, thinned_path
from kdtrain.report.runs.collect import collect
from kdtrain.report.runs.groups import RunGroup, group_runs


def said(tumour: Sequence[tuple[int, float]]) -> list[Prediction]:
    """A patient for each (class, probability of tumour)."""
    return [
        Prediction(key=f"k{n}", slide=f"s{n}", patient=f"p{n}", label=label, probabilities=(1 - p, p))
        for n, (label, p) in enumerate(tumour)
    ]


def group_of(*runs: object) -> RunGroup:
    """The only group of some runs."""
    (group,) = group_runs(collect([str(run) for run in runs], split=None, shards=None).runs)
    return group


def area(line: Sequence[tuple[float, float]]) -> float:
    """Below a line, by trapezia."""
    points = np.array(line)
    return float(np.trapezoid(points[:, 1], points[:, 0]))


FIRST = [(1, 0.9), (0, 0.8), (1, 0.7), (0, 0.6)]
"""Three of four pairs are the right way round; 5/6 is the average precision."""
SECOND = [(1, 0.2), (0, 0.4), (1, 0.3), (0, 0.1)]
"""Two of four pairs are; of 1/2 (second place of two) and 2/3 (third of three) 7/12 is the average precision."""


def test_one_run_has_its_own_curve(tmp_path: Path) -> None:
    """Up by half a class, right by half of the others, twice; the precisions are level up to each recall."""
    curve = class_curves(group_of(write_run(tmp_path / "a", "baseline", 1, said(FIRST))))[1]
    assert curve is not None
    assert curve.roc == ((0, 0), (0, 0.5), (0.5, 0.5), (0.5, 1), (1, 1))
    steps = [(0, 1), (0.5, 1), (0.5, 2 / 3), (1, 2 / 3)]
    assert list(curve.precision_recall) == [pytest.approx(point) for point in steps]
    assert curve.average_precision == pytest.approx(5 / 6)
    assert curve.share == 0.5


def test_seeds_are_averaged_and_never_ranked_together(tmp_path: Path) -> None:
    """Areas of 3/4 and 2/4 make 5/8, though the second network's probabilities lie below all of the first's."""
    runs = [
        write_run(tmp_path / f"{seed}", "baseline", 1, said(one), seed=seed)
        for seed, one in enumerate((FIRST, SECOND))
    ]
    curve = class_curves(group_of(*runs))[1]
    assert curve is not None
    assert area(curve.roc) == pytest.approx((3 / 4 + 2 / 4) / 2)
    assert curve.average_precision == area(curve.precision_recall) == pytest.approx((5 / 6 + 7 / 12) / 2)


def test_a_class_that_is_not_there_has_no_curve(tmp_path: Path) -> None:
    """Of samples of one class alone, neither class can be told from another."""
    one_sided = [(1, 0.9), (1, 0.2)]
    assert class_curves(group_of(write_run(tmp_path / "a", "baseline", 1, said(one_sided)))) == (None, None)


def test_points_on_a_straight_line_are_left_out_and_long_lines_thinned() -> None:
    """Of a level line its ends stay; of a thousand steps as many points as asked for, the first and last among them."""
    level = np.array([[0, 1], [0.2, 1], [0.7, 1], [1, 1]], dtype=float)
    assert thinned_path(level) == ((0, 1), (1, 1))
    x = np.linspace(0, 1, 1001)
    path = thinned_path(np.stack([x, np.sqrt(x)], axis=1), at_most=50)
    assert len(path) <= 50
    assert (path[0], path[-1]) == ((0, 0), (1, 1))
    assert max(abs(y - np.sqrt(x)) for x, y in path) < 1e-12
    assert max(b[0] - a[0] + b[1] - a[1] for a, b in pairwise(path)) < 0.1
