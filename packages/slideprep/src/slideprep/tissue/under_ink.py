"""Strokes of ink -> where tissue lies under and beside them, and where that cannot be told.

Ink and stain absorb independently (Beer and Lambert), so a pixel of a stroke is an amount of ink plus an amount of
tissue: two unknowns, three channels. The ink's colour is taken from the stroke itself, where it looks least like
tissue, the tissue's from the slide. Ink that nothing shows through is told by that: no tissue is seen under any of it.
There, a stroke between tissue on both sides lies on tissue, and one at its border may: the piece then reaches into it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from slideprep.tissue.artefacts import closed, dilated, eroded, px_from_um, widened
from slideprep.tissue.background import FloatArray
from slideprep.tissue.boxes import EIGHT_CONNECTED, BoolArray, Span, united
from slideprep.tissue.ink import LabelArray, quantile

HE_OD = (0.40, 0.82, 0.40)
"""Absorbance of a usual mixture of haematoxylin and eosin, of which only the ratios count."""

FEW_PIXELS = 50
"""Fewer pixels of clear tissue than this do not tell its colour."""

LEAST_TISSUE = 0.06
"""Absorbance of tissue in its strongest channel from which it is seen beside ink."""

INK_SPREAD = 0.06
"""Ink's colour varies by about this part of its absorbance along a stroke; tissue is what that does not explain."""

DOUBTFUL, DOUBTFUL_UM = 0.03, 48.0
"""The same, for what is told to a person; the rims of strokes, which look like that, are narrower than twice this."""

RIM, RIM_UM = 0.75, 48.0
"""A pixel with less than this part of the ink within that distance may be a mixture of ink and glass."""

THROUGH = 0.7
"""Tissue under this part of a stroke's densest ink was seen through it, and not beside it."""

GRAIN_UM = 16.0
"""Narrower than twice this, what looks like tissue in a stroke is noise."""

TOUCHING_UM = 32.0
"""A piece this close to a stroke touches it: what lies between are mixed pixels."""

LEAST_APART = 0.01
"""Colours closer than this (determinant of their products) are taken for this far apart."""

SHARPER = 1.3
"""An overview's pixels and the smoothing show a thin stroke paler than it is, by up to about this factor."""

_MIXTURE = np.linspace(0.0, 1.0, 33)


@dataclass(frozen=True, kw_only=True)
class UnderInk:
    """What is known of the pixels in and around strokes.

    Attributes:
        strokes: The strokes, numbered.
        near: Strokes and the margins around them.
        tissue: The part of ``near`` where tissue shows.
        doubtful: The part of ``near`` where tissue may show, but no more than ink of uneven colour would.
        opaque: Numbers of the strokes that nothing was seen through.
    """

    strokes: LabelArray
    near: BoolArray
    tissue: BoolArray
    doubtful: BoolArray
    opaque: frozenset[int]


def look_under(
    od: FloatArray, strokes: LabelArray, stained: BoolArray, *, margin_um: float, mpp: float
) -> UnderInk:
    """Tell ink from tissue in every stroke and its margin.

    Args:
        od: Absorbance.
        strokes: From :func:`~slideprep.tissue.ink.find_strokes`.
        stained: Pixels that are clearly not background.
        margin_um: Width of the margin around a stroke that is a mixture of ink and glass, µm.
        mpp: Microns per overview pixel.
    """
    margin_px = px_from_um(margin_um, mpp)
    near = dilated(strokes > 0, margin_px)
    stain = _stain_colour(od, stained & ~near)
    tissue, doubtful = np.zeros_like(near), np.zeros_like(near)
    opaque = set()
    for number, (rows, columns) in enumerate(ndimage.find_objects(strokes), start=1):
        window = (widened(rows, margin_px), widened(columns, margin_px))
        stroke = strokes[window] == number
        shows, may_show, through = _unmixed(od[:, *window], stroke, stain, mpp)
        around = dilated(stroke, margin_px)
        tissue[window] |= shows & around
        doubtful[window] |= may_show & around
        if not through:
            opaque.add(number)
    return UnderInk(
        strokes=strokes, near=near, tissue=tissue, doubtful=doubtful & ~tissue, opaque=frozenset(opaque)
    )


def _stain_colour(od: FloatArray, tissue: BoolArray) -> npt.NDArray[np.float64]:
    """Absorbance of the slide's tissue, 1 in the strongest channel."""
    colour = od[:, tissue].mean(axis=1, dtype=np.float64) if tissue.sum() >= FEW_PIXELS else np.array(HE_OD)
    return np.asarray(colour / colour.max())


def _unmixed(
    od: FloatArray, stroke: BoolArray, stain: npt.NDArray[np.float64], mpp: float
) -> tuple[BoolArray, BoolArray, bool]:
    """Where tissue shows around one stroke, where it may, and whether it does through the ink."""
    ink = _ink_colour(od[:, stroke], stain)
    amount, tissue = _amounts(od, ink, stain)
    peak = float(quantile(amount[stroke], 0.98))
    rim = -np.log(1 - _MIXTURE + _MIXTURE * np.exp(-SHARPER * peak * ink[:, None]))
    sure, maybe = (spread * _looks_like(ink, stain) for spread in (INK_SPREAD, DOUBTFUL))
    shows = tissue > LEAST_TISSUE + sure * amount
    paler = shows & (amount < RIM * ndimage.maximum_filter(amount, 2 * px_from_um(RIM_UM, mpp) + 1))
    mixed = np.interp(amount[paler], *_amounts(rim, ink, stain))
    shows[paler] = tissue[paler] > LEAST_TISSUE + sure * amount[paler] + mixed
    grain_px, doubtful_px = px_from_um(GRAIN_UM, mpp), px_from_um(DOUBTFUL_UM, mpp)
    shows = dilated(eroded(shows, grain_px), grain_px)
    may_show = eroded(tissue > LEAST_TISSUE + maybe * amount, doubtful_px)
    if may_show.any():
        may_show = dilated(may_show, doubtful_px)
    through = shows & (amount > THROUGH * peak)
    return shows, may_show, bool(through.any() and eroded(through, grain_px).any())


def _ink_colour(od: FloatArray, stain: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Absorbance of the ink, 1 in the strongest channel: of the dark pixels' fifth that looks least like tissue."""
    most = od.max(axis=0)
    dark = od[:, most >= 0.5 * quantile(most, 0.95)].astype(np.float64)
    hue = dark / np.maximum(dark.sum(axis=0), LEAST_TISSUE)
    distance = ((hue - (stain / stain.sum())[:, None]) ** 2).sum(axis=0)
    colour = dark[:, distance >= quantile(distance, 0.8)].mean(axis=1)
    return np.asarray(colour / colour.max())


def _looks_like(ink: npt.NDArray[np.float64], stain: npt.NDArray[np.float64]) -> float:
    """The tissue that a change of an ink's colour by all it absorbs looks like: 1.5 for blue, 6 for red on eosin."""
    ii, ss, both = float(ink @ ink), float(stain @ stain), float(ink @ stain)
    return ii / float(np.sqrt(max(ii * ss - both * both, LEAST_APART)))


def _amounts(
    od: npt.NDArray[np.floating], ink: npt.NDArray[np.float64], stain: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Absorbance of ink, at least 0, and of tissue, each in its strongest channel, by least squares."""
    along_ink, along_stain = np.tensordot(ink, od, 1), np.tensordot(stain, od, 1)
    ii, ss, both = float(ink @ ink), float(stain @ stain), float(ink @ stain)
    det = max(ii * ss - both * both, LEAST_APART)
    amount = np.maximum(along_ink * (ss / det) - along_stain * (both / det), 0)
    return amount, along_stain / ss - amount * (both / ss)


@dataclass(frozen=True, kw_only=True)
class Hidden:
    """What strokes may hide, (rows, columns) bool.

    Attributes:
        between: Ink with tissue on both sides: taken as tissue.
        beyond: Ink beside a piece, which may go on under it.
    """

    between: BoolArray
    beyond: BoolArray


def hidden_tissue(pieces: BoolArray, under: UnderInk, *, least_px: int, small_px: int, mpp: float) -> Hidden:
    """Where pieces may go on under ink: as far as the stroke is wide, within the piece's rows and columns.

    Args:
        pieces: Tissue seen, (rows, columns) bool.
        under: From :func:`look_under`.
        least_px: Smaller specks do not reach under ink.
        small_px: Smaller pieces do under any stroke, as ink may hide what they lack in size; larger ones under those
            that nothing was seen through.
        mpp: Microns per overview pixel.
    """
    touching_px = px_from_um(TOUCHING_UM, mpp)
    labels, count = ndimage.label(pieces, structure=EIGHT_CONNECTED)
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    spans = ndimage.find_objects(labels)
    between, beyond = np.zeros_like(pieces), np.zeros_like(pieces)
    for number, (rows, columns) in enumerate(ndimage.find_objects(under.strokes), start=1):
        width = _width_px(under.strokes[rows, columns] == number)
        outer = width + touching_px
        window = (widened(rows, outer), widened(columns, outer))
        stroke, beside = under.strokes[window] == number, labels[window]
        if number in under.opaque:
            between[window] |= closed(beside > 0, width // 2 + 1) & stroke
        for label in np.flatnonzero(np.bincount(beside[dilated(stroke, touching_px)], minlength=1)[1:]) + 1:
            if least_px <= areas[label] and (areas[label] < small_px or number in under.opaque):
                reach = dilated(beside == label, width) & stroke
                beyond[window] |= reach & _facing(spans[label - 1], window, stroke.shape)
    return Hidden(between=between & ~pieces, beyond=beyond & ~between & ~pieces)


def reaching_over(
    spans: list[Span], pieces: list[Span], labels: npt.NDArray[np.int32], hidden: BoolArray
) -> list[Span]:
    """Rectangles, grown over the hidden pixels that are nearest to a piece inside them.

    Args:
        spans: Rectangles to grow.
        pieces: The rectangle of each piece, by its number less 1.
        labels: (rows, columns), the pieces by number.
        hidden: Pixels that pieces may reach into.
    """
    grown = list(pieces)
    parts, _ = ndimage.label(hidden, structure=EIGHT_CONNECTED)
    for number, (rows, columns) in enumerate(ndimage.find_objects(parts), start=1):
        window = (widened(rows, 2), widened(columns, 2))
        nearest = ndimage.distance_transform_edt(
            labels[window] == 0, return_distances=False, return_indices=True
        )
        owner = labels[window][tuple(nearest)] * (parts[window] == number)
        for label, part in enumerate(ndimage.find_objects(owner), start=1):
            if part is not None:
                moved = tuple(
                    slice(p.start + w.start, p.stop + w.start) for p, w in zip(part, window, strict=True)
                )
                grown[label - 1] = united(grown[label - 1], (moved[0], moved[1]))
    return [
        reduce(united, (grown[i] for i, piece in enumerate(pieces) if united(piece, span) == span), span)
        for span in spans
    ]


def _width_px(stroke: BoolArray) -> int:
    """The greatest width of a stroke, pixels."""
    inside = np.pad(stroke, 1)
    return int(2 * ndimage.distance_transform_cdt(inside, metric="chessboard").max()) - 1


def _facing(span: tuple[slice, slice], window: tuple[slice, slice], shape: tuple[int, int]) -> BoolArray:
    """The pixels of a window in the rows or the columns of a piece."""
    facing = np.zeros(shape, dtype=bool)
    (top, bottom), (left, right) = (
        (max(0, part.start - whole.start), max(0, part.stop - whole.start))
        for part, whole in zip(span, window, strict=True)
    )
    facing[top:bottom], facing[:, left:right] = True, True
    return facing
