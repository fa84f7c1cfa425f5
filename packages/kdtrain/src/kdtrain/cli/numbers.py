"""Numbers that options take: finite, and in a range that is said where one is refused."""

from __future__ import annotations

from math import isfinite
from typing import Any

import click

MOST_DRAWS = 1_000_000
"""Of a bootstrap."""
MOST_SEED = 2**63 - 1
MOST_GB = 1_000_000


class Number(click.FloatRange):
    """A finite number in a range: click's own lets "nan" pass.

    Args:
        most: The largest.
        least: The smallest.
        zero: Whether the smallest may be given itself.
    """

    def __init__(self, most: float, *, least: float = 0, zero: bool = False) -> None:
        super().__init__(least, most, min_open=not zero)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number, or click's refusal."""
        number = super().convert(value, param, ctx)
        if not isfinite(number):
            self.fail(f"{value} is not in the range {self._describe_range()}.", param, ctx)
        return number
