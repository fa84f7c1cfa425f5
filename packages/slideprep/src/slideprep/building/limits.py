"""A region's quality and the limits of a build in, why the region is left out, or nothing, out."""

from __future__ import annotations

from dataclasses import dataclass, fields

from slideprep.shards.records import Quality

STAGE = "quality"
"""What left_out.csv says of regions beyond a limit."""


@dataclass(frozen=True, kw_only=True)
class QualityLimits:
    """What a build accepts; the fields are settings of :class:`~slideprep.building.config.BuildConfig`.

    Attributes:
        min_focus: Regions less sharp are left out; one whose focus cannot be measured is not.
        max_ink: Regions with a greater share of ink are left out.
        max_folds: Regions with a greater share of folds are left out.
        max_bubbles: Regions with a greater share of bubbles are left out.
    """

    min_focus: float | None = None
    max_ink: float | None = None
    max_folds: float | None = None
    max_bubbles: float | None = None

    def __bool__(self) -> bool:
        """Whether there is any."""
        return any(getattr(self, field.name) is not None for field in fields(self))

    def refusal(self, quality: Quality) -> str | None:
        """Why a region is left out, in the words of left_out.csv; None where it is not."""
        reasons = []
        if self.min_focus is not None and quality.focus is not None and quality.focus < self.min_focus:
            reasons.append(f"focus {quality.focus:g} is below --min-focus {self.min_focus:g}")
        for name in ("ink", "folds", "bubbles"):
            share, limit = getattr(quality, name), getattr(self, f"max_{name}")
            if limit is not None and share > limit:
                reasons.append(f"{name} {share:g} is above --max-{name} {limit:g}")
        return "; ".join(reasons) or None
