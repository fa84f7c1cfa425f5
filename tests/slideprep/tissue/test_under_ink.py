"""Tissue under and beside marker ink, on painted overviews (16 µm per pixel) and on synthetic slides."""

from __future__ import annotations

import numpy as np
import pytest

from fixtures.painted import (
    EOSIN,
    HAEMATOXYLIN,
    INKS,
    Mask,
    Picture,
    disc,
    finished,
    glass,
    inked,
    stain,
    stroke,
)
from slideprep.synthetic.slide import SlideSize, render_slide
from slideprep.tissue.auto import OVERVIEW_MPP, AutoResult, auto_mask, auto_regions
from slideprep.tissue.under_ink import reaching_over
from slideprep.units import Box

MIXED = tuple(0.5 * e + 0.5 * h for e, h in zip(EOSIN, HAEMATOXYLIN, strict=True))
SHAPE = (100, 120)
SMALL = disc(50, 60, 9, SHAPE)
"""0.065 mm², little more than the least area of a region: half of it under ink is too little by itself."""

DRAWN = {
    "through": stroke((20, 30), (80, 90), 6, SHAPE),
    "half": stroke((20, 53), (80, 53), 11, SHAPE),
    "ring": disc(50, 60, 13, SHAPE) & ~disc(50, 60, 8, SHAPE),
    "dot": disc(50, 60, 6, SHAPE),
    "to the border": stroke((50, 0), (50, 62), 5, SHAPE),
}


def found(image: Picture) -> tuple[AutoResult, list[Box]]:
    """What the detector finds, and its boxes in overview pixels."""
    result = auto_mask(image, mpp_overview=OVERVIEW_MPP)
    rows, columns = result.mask.shape
    boxes = auto_regions(
        result.mask,
        mpp_overview=OVERVIEW_MPP,
        downsample_x=1,
        downsample_y=1,
        width_l0=columns,
        height_l0=rows,
        hidden=result.hidden,
    )
    return result, boxes


def covered(piece: Mask, boxes: list[Box]) -> float:
    """The part of a piece that lies in the boxes."""
    inside = np.zeros_like(piece)
    for box in boxes:
        inside[box.y : box.bottom, box.x : box.right] = True
    return float(inside[piece].mean())


@pytest.mark.parametrize("amount", [0.5, 1.5], ids=["pale", "dark"])
@pytest.mark.parametrize("ink", INKS)
@pytest.mark.parametrize("drawn", DRAWN)
def test_a_small_piece_under_ink_stays(drawn: str, ink: str, amount: float) -> None:
    """A piece that a stroke leaves too little of is one region all the same, and nine tenths of it are in its box."""
    picture = glass(SHAPE)
    stain(picture, SMALL, MIXED)
    inked(picture, DRAWN[drawn], ink, amount)
    _, boxes = found(finished(picture))
    assert len(boxes) == 1
    assert covered(SMALL, boxes) >= 0.9


@pytest.mark.parametrize("ink", INKS)
@pytest.mark.parametrize("drawn", ["through", "half", "ring"])
def test_what_opaque_paint_hides_is_kept_and_warned_of(drawn: str, ink: str) -> None:
    """Nothing shows through paint of one colour: the piece reaches into it, and the notes say so."""
    picture = glass(SHAPE)
    stain(picture, SMALL, MIXED)
    picture[DRAWN[drawn]] = INKS[ink]
    result, boxes = found(finished(picture))
    assert len(boxes) == 1
    assert covered(SMALL, boxes) >= 0.9
    assert any("marker ink" in note for note in result.notes)
    assert any("may go on under it" in note for note in result.notes) == bool(result.hidden.any())


@pytest.mark.parametrize("ink", INKS)
def test_a_stroke_joins_no_two_pieces(ink: str) -> None:
    """Two pieces at the ends of one stroke are two regions."""
    picture, pieces = glass(SHAPE), [disc(50, 25, 14, SHAPE), disc(50, 92, 14, SHAPE)]
    for piece in pieces:
        stain(picture, piece, MIXED)
    inked(picture, stroke((50, 25), (50, 92), 6, SHAPE), ink)
    _, boxes = found(finished(picture))
    assert len(boxes) == 2
    assert [
        min(
            covered(piece, [box]) for piece, box in zip(pieces, sorted(boxes, key=lambda b: b.x), strict=True)
        )
    ][0] >= 0.9


@pytest.mark.parametrize("amount", [0.5, 1.5], ids=["pale", "dark"])
@pytest.mark.parametrize("ink", INKS)
def test_ink_alone_is_no_region(ink: str, amount: float) -> None:
    """A ring, a line and a dot on bare glass, with tissue elsewhere, are in no box."""
    picture, piece = glass((200, 240)), disc(60, 60, 30, (200, 240))
    stain(picture, piece, MIXED)
    marks = disc(150, 60, 25, (200, 240)) & ~disc(150, 60, 19, (200, 240))
    marks |= stroke((120, 120), (190, 220), 8, (200, 240)) | disc(60, 180, 7, (200, 240))
    inked(picture, marks, ink, amount)
    _, boxes = found(finished(picture))
    assert len(boxes) == 1
    assert covered(piece, boxes) >= 0.9


def test_dense_ink_does_not_take_pale_tissue_beside_it_away() -> None:
    """Tissue of a fifteenth of the ink's absorbance is no halo of it."""
    picture, piece = glass(SHAPE), disc(50, 60, 20, SHAPE)
    stain(picture, piece, (0.08, 0.25, 0.12))
    inked(picture, stroke((10, 88), (90, 88), 8, SHAPE), "blue", 2.0)
    _, boxes = found(finished(picture))
    assert covered(piece, boxes) >= 0.9


def test_boxes_reach_over_hidden_pixels_of_their_own_piece() -> None:
    """Of ink between two pieces, each box takes the half that is nearer to its piece."""
    labels = np.zeros((20, 40), dtype=np.int32)
    labels[5:15, 0:10], labels[5:15, 30:40] = 1, 2
    hidden = np.zeros(labels.shape, dtype=bool)
    hidden[8:12, 10:30] = True
    spans = [(slice(5, 15), slice(0, 10)), (slice(5, 15), slice(30, 40))]
    assert reaching_over(spans, spans, labels, hidden) == [
        (slice(5, 15), slice(0, 20)),
        (slice(5, 15), slice(20, 40)),
    ]


@pytest.mark.parametrize("number", [4, 140])
def test_synthetic_slides_lose_nothing_to_their_pens(number: int) -> None:
    """Whatever is in a box without ink is in one with it, of slides that the demo draws pens on."""
    size, boxes = SlideSize(piece_px=(560, 680)), {}
    for pen in (False, True):
        pixels = render_slide(class_name="normal", seed=(0, number), pen=pen, size=size)
        rows, columns = pixels.shape[0] // 32, pixels.shape[1] // 32
        blocks = pixels[: rows * 32, : columns * 32].reshape(rows, 32, columns, 32, 3)
        boxes[pen] = found(np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8))[1]
    pieces = np.zeros((len(boxes[False]), rows, columns), dtype=bool)
    for piece, box in zip(pieces, boxes[False], strict=True):
        piece[box.y : box.bottom, box.x : box.right] = True
    assert min(covered(piece, boxes[True]) for piece in pieces) >= 0.9
