"""Numbers as a reader sees them: fractions to percent, with intervals, spread over seeds, and the best in bold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from kdtrain.report.model import Cell
from kdtrain.report.runs.scoring import Estimate, spread

NONE = "–"
"""Where there is no number."""
ABSENT = Cell(text=NONE)
MANY = 100
"""Items from which a hundredth of a percent is shown, as in the paper; of fewer, one item is over one percent."""


def digits_for(n: int) -> int:
    """Decimal places of a percentage of ``n`` items."""
    return 2 if n >= MANY else 1


def percent(fraction: float | None, digits: int, sign: str = "") -> str:
    """A fraction as a percentage without its sign of percent; ``sign`` is "+" for differences."""
    if fraction is None or math.isnan(fraction):
        return NONE
    # Adding 0 makes -0.00 to 0.00.
    return f"{round(100 * fraction, digits) + 0.0:{sign}.{digits}f}"


def estimate_cell(found: Estimate, digits: int, *, paper: str = "") -> Cell:
    """As the paper writes it, "84.03 (82.61-85.47)", with the spread over seeds as a note."""
    text = percent(found.value, digits)
    if found.low is not None and found.high is not None:
        text += f" ({percent(found.low, digits)}-{percent(found.high, digits)})"
    return _cell(found, text, digits, paper=paper)


def difference_cell(found: Estimate, digits: int) -> Cell:
    """A signed "+1.33 (+0.20 to +2.46)", bold where the interval leaves out 0."""
    text = percent(found.value, digits, "+")
    if found.low is not None and found.high is not None:
        text += f" ({percent(found.low, digits, '+')} to {percent(found.high, digits, '+')})"
    return replace(_cell(found, text, digits), best=found.leaves_out_zero)


def with_best(cells: Sequence[Cell], digits: int) -> tuple[Cell, ...]:
    """Mark the highest of a row, all of them where several show the same; of a single number none."""
    shown = [None if cell.value is None else round(cell.value, digits) for cell in cells]
    numbers = [value for value in shown if value is not None]
    if len(numbers) < 2:
        return tuple(cells)
    return tuple(replace(cell, best=value == max(numbers)) for cell, value in zip(cells, shown, strict=True))


def count_cell(count: int, note: str = "") -> Cell:
    """A whole number with commas, "1,182"."""
    return Cell(text=f"{count:,}", value=float(count), note=note)


def times100(fraction: float | None) -> float | None:
    """Percent behind a cell's text."""
    return None if fraction is None or math.isnan(fraction) else 100 * fraction


def _cell(found: Estimate, text: str, digits: int, paper: str = "") -> Cell:
    return Cell(
        text=text,
        value=times100(found.value),
        low=times100(found.low),
        high=times100(found.high),
        note=_seeds_note(found.by_seed, digits),
        paper=paper,
        seeds=len(found.by_seed),
    )


def _seeds_note(values: Sequence[float], digits: int) -> str:
    deviation = spread(values)
    if deviation is None:
        return ""
    return f"±{percent(deviation, digits)} over {len(values)} seeds"
