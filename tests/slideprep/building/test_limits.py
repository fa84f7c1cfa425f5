"""Limits on a region's quality: what is refused, and in which words."""

from __future__ import annotations

import pytest

from slideprep.building.limits import QualityLimits
from slideprep.shards.records import Quality

REGION = Quality(focus=0.41, ink=0.1, folds=0.25, bubbles=0.0)


def test_nothing_is_refused_unasked() -> None:
    """Without a limit, the worst region stays, and there is nothing to mind."""
    assert not QualityLimits()
    assert QualityLimits().refusal(Quality(focus=0, ink=1, folds=1, bubbles=1)) is None


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"min_focus": 0.41}, None),
        ({"min_focus": 0.42}, "focus 0.41 is below --min-focus 0.42"),
        ({"max_ink": 0.1}, None),
        ({"max_ink": 0.05}, "ink 0.1 is above --max-ink 0.05"),
        ({"max_folds": 0.2}, "folds 0.25 is above --max-folds 0.2"),
        ({"max_bubbles": 0.0}, None),
        ({"max_ink": 0, "max_folds": 0}, "ink 0.1 is above --max-ink 0; folds 0.25 is above --max-folds 0"),
    ],
)
def test_a_region_beyond_a_limit_is_refused_with_rule_and_number(
    limits: dict[str, float], reason: str | None
) -> None:
    """A region that just meets a limit stays; of one beyond, every limit and every number is said."""
    assert QualityLimits(**limits)
    assert QualityLimits(**limits).refusal(REGION) == reason


def test_a_focus_that_nobody_measured_is_not_too_low() -> None:
    """A region without tissue to measure focus on is not left out for its focus."""
    blank = Quality(focus=None, ink=0, folds=0, bubbles=0)
    assert QualityLimits(min_focus=0.5).refusal(blank) is None
