"""Components of stained tissue that a rule drops -> what a person should hear of them.

In: masks of overview pixels. Out: where each piece is, how large, and which rule dropped it; specks are only counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from slideprep.tissue.boxes import EIGHT_CONNECTED, BoolArray, Span

DUST_MM2 = 0.01
"""Smaller specks, under 0.1 mm a side, are dust or debris, and no piece of tissue."""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A piece that is in no region.

    Attributes:
        span: Rows and columns of the overview, half-open.
        area_mm2: Its area.
        rule: Why it is left out, to be put after its area and place.
    """

    span: Span
    area_mm2: float
    rule: str


def pieces_of(mask: BoolArray, *, px_mm2: float, rule: str) -> list[LeftOut]:
    """The 8-connected components of a mask that are no specks.

    Args:
        mask: What a rule drops, (rows, columns) bool.
        px_mm2: Area of an overview pixel, mm².
        rule: Of all of them.
    """
    if not mask.any():
        return []
    labels, _ = ndimage.label(mask, structure=EIGHT_CONNECTED)
    areas = np.bincount(labels.ravel()) * px_mm2
    return [
        LeftOut(span=span, area_mm2=float(areas[number]), rule=rule)
        for number, span in enumerate(ndimage.find_objects(labels), start=1)
        if areas[number] >= DUST_MM2
    ]


def sized(mask: BoolArray, least_mm2: float, *, px_mm2: float) -> tuple[BoolArray, list[LeftOut], int]:
    """A mask without its small components: the rest, the small ones, and how many were specks.

    Args:
        mask: (rows, columns) bool.
        least_mm2: Smaller components go.
        px_mm2: Area of an overview pixel, mm².
    """
    labels, count = ndimage.label(mask, structure=EIGHT_CONNECTED)
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    keep = areas >= round(least_mm2 / px_mm2)
    keep[0] = True
    specks = int(((areas * px_mm2 < DUST_MM2) & ~keep).sum())
    small: Sequence[LeftOut] = ()
    if not keep.all():
        small = pieces_of(~keep[labels], px_mm2=px_mm2, rule=f"smaller than {least_mm2:g} mm²")
    keep[0] = False
    return np.asarray(keep[labels]), list(small), specks
