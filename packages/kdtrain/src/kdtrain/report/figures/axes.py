"""Axes: from a range of values to round tick marks and a mapping to pixels. Pure numbers, no drawing."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, log10

_ROUNDING = 1e-9
"""Values that are equal but for rounding have no range that could be ticked."""
_SPACE = "\u202f"  # narrow no-break space: the SI's thousands separator


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis.

    Attributes:
        low: Value at ``start_px``.
        high: Value at ``end_px``, greater than ``low``.
        start_px: Where the axis starts; may be greater than ``end_px``, as upwards in SVG.
        end_px: Where it ends.
        ticks: Values to mark, ascending, all within ``low`` to ``high``.
        log: Whether equal distances are equal ratios.
    """

    low: float
    high: float
    start_px: float
    end_px: float
    ticks: tuple[float, ...]
    log: bool = False

    def px(self, value: float) -> float:
        """The pixel of a value."""
        low, high, here = (log10(v) if self.log else v for v in (self.low, self.high, value))
        return self.start_px + (here - low) / (high - low) * (self.end_px - self.start_px)

    @property
    def tick_texts(self) -> tuple[str, ...]:
        """The ticks in plain decimals, never as powers of ten."""
        return tuple(plain(tick) for tick in self.ticks)


def plain(value: float) -> str:
    """A number in plain decimals with up to six significant digits: 0.05, 12.5, 20 000."""
    digits = max(0, 5 - floor(log10(abs(value)))) if value else 0
    shown = f"{value:,.{digits}f}"
    if "." in shown:
        shown = shown.rstrip("0").rstrip(".")
    # Thousands are set apart only from five figures on, as the SI advises.
    return shown.replace(",", _SPACE if abs(value) >= 10_000 else "")


def linear_axis(
    low: float,
    high: float,
    start_px: float,
    end_px: float,
    *,
    most: int,
    whole: bool = False,
    fit: bool = True,
) -> Axis:
    """An axis of equal steps of 1, 2 or 5 times a power of ten.

    Args:
        low: Least value to hold.
        high: Greatest value to hold.
        start_px: Where the axis starts.
        end_px: Where it ends.
        most: About how many ticks to have at most.
        whole: Ticks at whole numbers only, for counts such as epochs.
        fit: Let the axis end on ticks; otherwise it ends on the values.
    """
    if high - low <= _ROUNDING * max(abs(low), abs(high)):
        margin = abs(low) * 0.05 or 1.0
        low, high = low - margin, high + margin
    step = max(_step((high - low) / most), 1.0 if whole else 0.0)
    first, last = (floor(low / step), ceil(high / step)) if fit else (ceil(low / step), floor(high / step))
    ticks = tuple(round(index * step, 12) for index in range(first, last + 1))
    ends = (ticks[0], ticks[-1]) if fit else (low, high)
    return Axis(low=ends[0], high=ends[1], start_px=start_px, end_px=end_px, ticks=ticks)


def _step(least: float) -> float:
    """The least of 1, 2, 5 times a power of ten that is at least ``least``."""
    power: float = 10.0 ** floor(log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))


def log_axis(low: float, high: float, start_px: float, end_px: float, *, most: int) -> Axis:
    """A logarithmic axis a little wider than the values, ticked at 1, 2, 5, at 1, 3, or at powers of ten.

    Args:
        low: Least value to hold, above 0.
        high: Greatest value to hold.
        start_px: Where the axis starts.
        end_px: Where it ends.
        most: How many ticks to have at most.
    """
    margin = (high / low) ** 0.07 if high > low else 2.0
    low, high = low / margin, high * margin
    powers = range(floor(log10(low)), ceil(log10(high)) + 1)
    ticks: tuple[float, ...] = ()
    for factors in ((1, 2, 5), (1, 3), (1,)):
        ticks = tuple(t for p in powers for f in factors if low <= (t := round(f * 10.0**p, 12)) <= high)
        if len(ticks) <= most:
            break
    ticks = ticks[:: ceil(len(ticks) / most)] if len(ticks) > 1 else (low, high)
    return Axis(low=low, high=high, start_px=start_px, end_px=end_px, ticks=ticks, log=True)
