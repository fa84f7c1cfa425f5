"""Failures as lines: every slide is named, and what is said of eight slides is said once."""

from __future__ import annotations

from slideprep.shards.grouped import failure_lines
from slideprep.shards.records import Failure


def failure(slide: str, reason: str, region: int | None = None) -> Failure:
    """A failure while the scale was settled."""
    return Failure(slide=slide, region=region, stage="magnification", reason=reason)


def test_equal_reasons_are_one_line_that_names_the_slides() -> None:
    """Eight slides of one reason: three names and how many more."""
    lines = failure_lines(
        [failure(f"s{n}.tif", "40x is finer than the scan") for n in (3, 1, 0, 2, 4, 5, 6, 7)]
    )
    assert lines == ["'s0.tif', 's1.tif', 's2.tif' and 5 more: 40x is finer than the scan"]


def test_reasons_that_differ_in_the_name_alone_are_equal() -> None:
    """The first is told whole, the others by name."""
    lines = failure_lines(
        [failure(n, f"slide '{n}' has no mpp; pass --mpp 0.25") for n in ("a.svs", "b.svs", "c.svs")]
    )
    assert lines == ["slide 'a.svs' has no mpp; pass --mpp 0.25 (and 'b.svs', 'c.svs' likewise)"]


def test_other_reasons_and_regions_stay_apart() -> None:
    """A line per reason, in order; the region is named beside its slide."""
    lines = failure_lines([failure("a", "damaged", 3), failure("b", "too small"), failure("a", "damaged", 4)])
    assert lines == ["'a' (region 3), 'a' (region 4): damaged", "'b': too small"]
