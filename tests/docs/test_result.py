"""docs/result.svg is the picture of the table in docs/demo.md."""

from __future__ import annotations

from types import ModuleType

import pytest

from fixtures.programs import program
from fixtures.repository import ROOT


@pytest.fixture(scope="module")
def drawing() -> ModuleType:
    """docs/draw_result.py, which is a program and no part of a package."""
    return program(ROOT / "docs" / "draw_result.py")


def test_the_picture_is_that_of_the_table(drawing: ModuleType) -> None:
    """Drawn again it is the same; where this fails: python docs/draw_result.py."""
    assert drawing.picture() == drawing.PICTURE.read_text(encoding="utf-8")


def test_a_row_holds_the_four_networks_of_a_seed(drawing: ModuleType) -> None:
    """Values of balanced accuracy alone, without intervals, in the order of the legend."""
    page = (
        "| seed | Teacher, 10x | Baseline s32, 2.5x | Baseline, 2.5x | KD, 2.5x |\n|---|---|---|---|---|\n"
        "| **accuracy** | | | | |\n| 0 | 1.0 (0.0-2.0) | 2.0 | 3.0 | 4.0 |\n"
        "| **balanced accuracy** | | | | |\n"
        "| 0 | 90.1 (83.8-95.8) | 45.6 (37.1-54.7) | 74.8 (66.8-82.0) | 85.5 (78.2-92.1) |\n"
        "| mean ± SD | 78.0 ± 9.9 | 41.1 ± 4.3 | 60.4 ± 16.2 | 72.2 ± 11.2 |\n"
        "| **AUC** | | | | |\n| 0 | 5.0 | 6.0 | 7.0 | 8.0 |\n"
    )
    assert drawing.balanced_accuracies(page) == {"0": [90.1, 85.5, 74.8, 45.6]}
