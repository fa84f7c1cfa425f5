"""Magnification, mpp and objective: conversions, precedence, refusals."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slideprep.errors import MagnificationError, UsageError
from slideprep.units import (
    MagnificationMode,
    Scale,
    exact,
    grid_px,
    magnification_from_mpp,
    mpp_from_magnification,
    resolve_scale,
    standard_objective_from_mpp,
)


def _resolve(mode: MagnificationMode = "objective", **values: float | None) -> Scale:
    known: dict[str, float | None] = {"slide_objective": None, "slide_mpp": None, **values}
    return resolve_scale(name="A7.svs", mode=mode, **known)  # type: ignore[arg-type]


def test_exact_takes_decimals_as_written() -> None:
    """0.1 means one tenth, not the nearest binary number."""
    assert exact(0.1) == exact("0.1") == exact(Fraction(1, 10)) == Fraction(1, 10)


def test_10x_is_1_micrometre_per_pixel() -> None:
    """The paper's 10x is 1 µm per pixel; 0.25 µm per pixel is 40x."""
    assert mpp_from_magnification(10) == 1
    assert magnification_from_mpp(0.25) == 40


@pytest.mark.parametrize(
    ("mpp", "objective"),
    [(0.5, 20), (0.25, 40), (0.23, 40), (0.46, 20), (1.0, 10), (0.3, None), (0.36, None)],
)
def test_the_standard_objective_lies_within_10_percent(mpp: float, objective: float | None) -> None:
    """0.23 µm/px (43.5x) counts as 40x; 0.3 (33.3x) lies between 20x and 40x and counts as neither."""
    assert standard_objective_from_mpp(mpp) == objective


@pytest.mark.parametrize(
    ("values", "objective", "source"),
    [
        ({"label_objective": 40, "slide_objective": 20, "run_objective": 10}, 40, "labels.csv"),
        ({"slide_objective": 20, "run_objective": 10}, 20, "slide"),
        ({"run_objective": 10, "slide_mpp": 0.5}, 10, "--objective"),
        ({"slide_mpp": 0.5}, 20, "derived from mpp"),
        ({"run_mpp": 0.25}, 40, "derived from mpp"),
        ({"slide_objective": 0, "run_objective": 20}, 20, "--objective"),
        ({"slide_objective": float("nan"), "run_objective": 20}, 20, "--objective"),
    ],
)
def test_an_objective_comes_from_labels_then_slide_then_option_then_mpp(
    values: dict[str, float | None], objective: float, source: str
) -> None:
    """labels.csv corrects a slide, options fill gaps, an mpp is the last resort; nonsense counts as absent."""
    scale = _resolve(**values)
    assert (scale.objective, scale.objective_source) == (objective, source)


@pytest.mark.parametrize(
    ("values", "mpp", "source"),
    [
        ({"label_mpp": 0.3, "slide_mpp": 0.5, "run_mpp": 0.25}, 0.3, "labels.csv"),
        ({"slide_mpp": 0.5, "run_mpp": 0.25}, 0.5, "slide"),
        ({"run_mpp": 0.25}, 0.25, "--mpp"),
    ],
)
def test_an_mpp_comes_from_labels_then_slide_then_option(
    values: dict[str, float | None], mpp: float, source: str
) -> None:
    """The same order of trust as for the objective."""
    scale = _resolve("mpp", **values)
    assert (scale.mpp, scale.mpp_source) == (mpp, source)


@pytest.mark.parametrize(
    ("mode", "values", "remedies"),
    [
        ("mpp", {"slide_objective": 20}, ["'A7.svs'", "--mpp", "'mpp' of labels.csv"]),
        ("objective", {}, ["'A7.svs'", "--objective", "'objective'", "labels.csv"]),
        ("objective", {"slide_mpp": 0.3}, ["33.3x", "--objective", "--magnification-by mpp"]),
    ],
)
def test_an_unknown_magnification_is_refused_with_the_remedy(
    mode: MagnificationMode, values: dict[str, float | None], remedies: list[str]
) -> None:
    """What the mode needs and the slide lacks is never guessed; the message names option and column."""
    with pytest.raises(MagnificationError) as refusal:
        _resolve(mode, **values)
    assert all(remedy in str(refusal.value) for remedy in remedies)


def test_a_disagreement_beyond_10_percent_is_told() -> None:
    """20x at 0.25 µm/px (really 40x) warns; 20x at 0.48 (20.8x) does not."""
    warning = _resolve(slide_objective=20, slide_mpp=0.25).warning
    assert warning is not None
    assert "20x" in warning
    assert "40x" in warning
    assert "50%" in warning
    assert _resolve(slide_objective=20, slide_mpp=0.48).warning is None


def test_factors_are_exact_in_both_modes() -> None:
    """20x to 2.5x is 8 by objective; by mpp 0.4 µm/px is 25x, so 10x is a factor of exactly 5/2."""
    by_objective, by_mpp = (
        _resolve(mode, slide_objective=20, slide_mpp=0.4) for mode in ("objective", "mpp")
    )
    assert by_objective.factor(2.5) == 8
    assert by_mpp.factor(10) == Fraction(5, 2)


def test_slides_are_never_upsampled() -> None:
    """40x from a 20x scan is refused; 20x, its own magnification, is a factor of 1."""
    scale = _resolve(slide_objective=20)
    assert scale.factor(20) == 1
    with pytest.raises(MagnificationError, match=r"leave 40 out of --magnifications"):
        scale.factor(40)


def test_the_physical_size_is_measured_or_nominal() -> None:
    """Without an mpp, 20x stands for 0.5 µm per pixel."""
    assert _resolve(slide_objective=20).physical_mpp() == 0.5
    assert _resolve(slide_objective=20, slide_mpp=0.46).physical_mpp() == 0.46


@pytest.mark.parametrize(
    ("magnifications", "cells"),
    [
        ([10, 5, 2.5, 1.25, 0.625], [16, 8, 4, 2, 1]),
        ([10, 1.25], [8, 1]),
        ([10, 4], [5, 2]),
        ([20], [1]),
        ([0.3, 0.1], [3, 1]),
    ],
)
def test_the_grid_is_in_the_ratio_of_the_magnifications(
    magnifications: list[float], cells: list[int]
) -> None:
    """The paper's five magnifications have cells of 16, 8, 4, 2 and 1 px."""
    assert list(grid_px(magnifications).values()) == cells


def test_magnifications_without_a_common_grid_are_refused() -> None:
    """10x and 7.77x would need multiples of 777 px, so the values are refused with a way out."""
    with pytest.raises(UsageError, match=r"--magnifications 10,7\.77 .*777 px.*simple ratios"):
        grid_px([10, 7.77])


@given(
    st.lists(
        st.sampled_from([40.0, 20.0, 10.0, 8.0, 5.0, 4.0, 2.5, 1.25, 1.0, 0.625]), min_size=1, unique=True
    )
)
def test_grid_cells_have_no_common_divisor(magnifications: list[float]) -> None:
    """Cells are the smallest whole numbers in the magnifications' ratio, for every set of them."""
    cells = grid_px(magnifications)
    first = magnifications[0]
    assert all(exact(m) / exact(first) == Fraction(px, cells[first]) for m, px in cells.items())
    assert not any(
        all(px % divisor == 0 for px in cells.values()) for divisor in range(2, max(cells.values()) + 1)
    )
