"""Magnification, microns per pixel (mpp), objective power and level-0 pixels: every conversion, named a_from_b.

``n×`` follows the paper (section 4.1): in *objective* mode it is relative to the scan's objective, so a 20x scan
reduced 4 times is 5x. In *mpp* mode it is a physical size, 10x being 1 µm per pixel. The two disagree in practice
("20x" scans range over 0.23-0.55 µm/px), so a :class:`Scale` keeps both and says when they differ by over 10 %.

A *factor* is level-0 pixels per output pixel, along one side, as an exact :class:`~fractions.Fraction`.

A :class:`Box` is half-open: it covers ``x <= column < x + width``. Level-0 pixels are the pixels of the slide's
full-resolution image, origin at its top left corner, y downwards. Every name says its frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, isfinite, lcm
from typing import TYPE_CHECKING, Literal, TypeAlias

from slideprep.errors import MagnificationError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Pixels: TypeAlias = "NDArray[np.uint8]"
"""An image: (rows, columns, 3) uint8, red, green, blue, origin at the top left."""

MagnificationMode = Literal["objective", "mpp"]

MPP_AT_1X = 10.0
"""Physical pixel size of 1x: the paper's 10x is 1 µm per pixel."""

STANDARD_OBJECTIVES = (1.25, 2.0, 2.5, 4.0, 5.0, 10.0, 20.0, 40.0, 60.0, 63.0, 80.0, 100.0)
"""Objective powers that a derived value may take."""

TOLERANCE = 0.10
"""Largest relative difference at which a nominal and a physical magnification count as the same."""


def exact(value: float | str | Fraction) -> Fraction:
    """The fraction that a decimal number as written stands for: 0.1 is 1/10, not its binary neighbour."""
    return value if isinstance(value, Fraction) else Fraction(str(value))


def magnification_from_mpp(mpp: float) -> float:
    """Physical magnification of a pixel of ``mpp`` µm."""
    return MPP_AT_1X / mpp


def mpp_from_magnification(magnification: float) -> float:
    """Pixel size in µm of a physical magnification."""
    return MPP_AT_1X / magnification


def standard_objective_from_mpp(mpp: float) -> float | None:
    """The standard objective within 10 % of ``10 / mpp`` and nearest to it, or None."""
    physical = magnification_from_mpp(mpp)
    nearest = min(STANDARD_OBJECTIVES, key=lambda objective: abs(objective / physical - 1))
    return nearest if abs(nearest / physical - 1) <= TOLERANCE else None


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How a slide's level 0 relates to magnifications, and where each number came from.

    Attributes:
        mode: Whether magnifications are relative to the objective or physical.
        objective: Objective power of level 0, or None where it is unknown and not needed.
        objective_source: "slide", "labels.csv", "--objective", "derived from mpp", or None.
        mpp: Microns per level-0 pixel, or None where it is unknown and not needed.
        mpp_source: "slide", "labels.csv", "--mpp", or None.
        warning: Says by how much nominal and physical magnification disagree, where it is over 10 %.
    """

    mode: MagnificationMode
    objective: float | None
    objective_source: str | None
    mpp: float | None
    mpp_source: str | None
    warning: str | None = None

    @property
    def level0_magnification(self) -> Fraction:
        """Magnification of level 0 in this mode."""
        if self.mode == "objective":
            assert self.objective is not None
            return exact(self.objective)
        assert self.mpp is not None
        return exact(MPP_AT_1X) / exact(self.mpp)

    def factor(self, magnification: float) -> Fraction:
        """Level-0 pixels per pixel at ``magnification``.

        Raises:
            MagnificationError: The target is finer than the scan; slides are never upsampled.
        """
        factor = self.level0_magnification / exact(magnification)
        if factor < 1:
            raise MagnificationError(
                f"{magnification:g}x is finer than the scan ({float(self.level0_magnification):.4g}x by "
                f"{self.mode}) and slides are never upsampled; leave {magnification:g} out of --magnifications "
                "or leave this slide out"
            )
        return factor

    def physical_mpp(self) -> float:
        """Microns per level-0 pixel: measured where known, else nominal (``10 / objective``)."""
        if self.mpp is not None:
            return self.mpp
        assert self.objective is not None
        return mpp_from_magnification(self.objective)


def _positive(value: float | None) -> float | None:
    return value if value is not None and isfinite(value) and value > 0 else None


def resolve_scale(
    *,
    name: str,
    mode: MagnificationMode,
    slide_objective: float | None,
    slide_mpp: float | None,
    label_objective: float | None = None,
    label_mpp: float | None = None,
    run_objective: float | None = None,
    run_mpp: float | None = None,
    slide_doubts: Sequence[str] = (),
) -> Scale:
    """Settle a slide's objective and mpp: labels.csv first, then the slide's own tags, then the run's options.

    A column of labels.csv corrects one slide, so it wins over the slide's tags; ``--objective`` and ``--mpp`` are
    for files that carry none, so they only fill gaps.

    Args:
        name: The slide's name, for messages.
        mode: What a magnification means in this run.
        slide_objective: Objective power in the file, or None.
        slide_mpp: Microns per level-0 pixel in the file, or None.
        label_objective: The ``objective`` column of labels.csv for this slide.
        label_mpp: The ``mpp`` column of labels.csv for this slide.
        run_objective: ``--objective``.
        run_mpp: ``--mpp``.
        slide_doubts: Why something that the file says is not believed; sentences for the messages.

    Raises:
        MagnificationError: What the mode needs is not known; the message names the option and the column.
    """
    objective, objective_source = _first(
        (label_objective, "labels.csv"), (slide_objective, "slide"), (run_objective, "--objective")
    )
    mpp, mpp_source = _first((label_mpp, "labels.csv"), (slide_mpp, "slide"), (run_mpp, "--mpp"))
    believed = " that can be believed" if slide_doubts else ""
    doubts = f". {' '.join(slide_doubts).rstrip('.')}" if slide_doubts else ""
    if mode == "mpp" and mpp is None:
        raise MagnificationError(
            f"slide '{name}' has no mpp and magnifications are physical (--magnification-by mpp); pass --mpp 0.25 "
            f"(its µm per pixel) or fill the column 'mpp' of labels.csv{doubts}"
        )
    if mode == "objective" and objective is None:
        if mpp is None:
            raise MagnificationError(
                f"slide '{name}' carries neither an objective power nor an mpp{believed}, so its magnification is "
                "unknown; "
                f"pass --objective 20 (or --mpp 0.5) or fill the column 'objective' (or 'mpp') of labels.csv{doubts}"
            )
        objective, objective_source = standard_objective_from_mpp(mpp), "derived from mpp"
        if objective is None:
            raise MagnificationError(
                f"slide '{name}' has no objective power, and no standard objective lies within 10 % of its "
                f"{magnification_from_mpp(mpp):.3g}x (mpp {mpp:g}); pass --objective 20, fill the column 'objective' "
                f"of labels.csv, or use --magnification-by mpp{doubts}"
            )
    return Scale(
        mode=mode,
        objective=objective,
        objective_source=objective_source,
        mpp=mpp,
        mpp_source=mpp_source,
        warning=_disagreement(objective, mpp),
    )


def _first(*candidates: tuple[float | None, str]) -> tuple[float | None, str | None]:
    for value, source in candidates:
        if _positive(value) is not None:
            return value, source
    return None, None


def _disagreement(objective: float | None, mpp: float | None) -> str | None:
    if objective is None or mpp is None:
        return None
    physical = magnification_from_mpp(mpp)
    difference = objective / physical - 1
    if abs(difference) <= TOLERANCE:
        return None
    return (
        f"nominal {objective:g}x and physical {physical:.3g}x (mpp {mpp:g}) differ by {abs(difference):.0%}; "
        "--magnification-by mpp makes slides of different scanners comparable"
    )


def grid_px(magnifications: Sequence[float]) -> dict[float, int]:
    """Smallest whole numbers of pixels, one per magnification, that cover the same field at every magnification.

    A region that is ``k`` grid cells wide is ``k * grid_px(...)[m]`` pixels wide at magnification ``m``, so all its
    images show exactly the same field: for 10x, 5x and 1.25x the cells are 8, 4 and 1 px.

    Raises:
        UsageError: The magnifications have no common grid of at most 64 px at the lowest of them.
    """
    fractions = [exact(m) for m in magnifications]
    denominator = lcm(*(f.denominator for f in fractions))
    whole = [int(f * denominator) for f in fractions]
    step = gcd(*whole)
    cells = {m: w // step for m, w in zip(magnifications, whole, strict=True)}
    if min(cells.values()) > 64:
        raise UsageError(
            f"--magnifications {','.join(f'{m:g}' for m in magnifications)} have no common pixel grid: the same field "
            f"would need multiples of {min(cells.values())} px at the lowest; choose values in simple ratios"
        )
    return cells


@dataclass(frozen=True, kw_only=True, order=True)
class Box:
    """A half-open rectangle of whole level-0 pixels; (x, y) is its top left corner."""

    x: int
    y: int
    width: int
    height: int

    def __post_init__(self) -> None:
        assert self.width > 0 and self.height > 0, f"an empty box: {self}"

    @property
    def right(self) -> int:
        """First column to the right of the box."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """First row below the box."""
        return self.y + self.height

    @property
    def area_px(self) -> int:
        """Area in level-0 pixels."""
        return self.width * self.height

    def intersection(self, other: Box) -> Box | None:
        """The common part of two boxes, or None where they do not touch."""
        x, y = max(self.x, other.x), max(self.y, other.y)
        right, bottom = min(self.right, other.right), min(self.bottom, other.bottom)
        if right <= x or bottom <= y:
            return None
        return Box(x=x, y=y, width=right - x, height=bottom - y)
