"""Which components a rule drops: pieces by name, specks by number."""

from __future__ import annotations

import numpy as np

from slideprep.tissue.left_out import LeftOut, pieces_of, sized

PX_MM2 = 0.001


def test_pieces_are_told_from_specks_and_from_what_stays() -> None:
    """Of squares of 60, 20 and 4 pixels of 0.001 mm², the first stays, the second is listed, the third is a speck."""
    mask = np.zeros((30, 30), dtype=bool)
    mask[0:6, 0:10], mask[10:14, 0:5], mask[20:22, 0:2] = True, True, True
    kept, small, specks = sized(mask, 0.05, px_mm2=PX_MM2)
    assert np.array_equal(kept, mask & (np.arange(30) < 6)[:, None])
    assert small == [
        LeftOut(span=(slice(10, 14), slice(0, 5)), area_mm2=0.02, rule="smaller than 0.05 mm²"),
    ]
    assert specks == 1


def test_nothing_dropped_is_an_empty_list() -> None:
    """An empty mask has no pieces, and a mask of large ones drops none."""
    assert pieces_of(np.zeros((5, 5), dtype=bool), px_mm2=PX_MM2, rule="any") == []
    whole = np.ones((20, 20), dtype=bool)
    kept, small, specks = sized(whole, 0.05, px_mm2=PX_MM2)
    assert (kept.all(), small, specks) == (True, [], 0)
