"""How others' images differ from those of training: numbers that can be checked by eye."""

from __future__ import annotations

from kdtrain.bundle.shift import Seen, shift, shift_lines
from kdtrain.bundle.stain import STAIN_NUMBERS
from kdtrain.bundle.training_data import Measured, TrainingData, training_data


def stain(density: float) -> dict:
    """As of an image half of tissue, whose density in red is given."""
    return {**dict.fromkeys(STAIN_NUMBERS, 0.5), "density_red": density}


def trained() -> TrainingData:
    """Two images of 100 x 50 px at 4 µm, scanned at 20x, of densities 0.3 and 0.5: mean 0.4, deviation 0.1."""
    rows = [
        Measured(mpp=4.0, level0_mpp=0.5, level0_objective=20.0, reader="r", stain=stain(density))
        for density in (0.3, 0.5)
    ]
    return training_data([(100, 50)] * 2, rows)


def seen(density: float, *, width: int = 100, objective: float | None = 20.0) -> Seen:
    """An image of another place."""
    return Seen(width=width, height=50, mpp=4.0, objective=objective, stain=stain(density))  # type: ignore[arg-type]


def test_the_training_images_themselves_are_not_shifted() -> None:
    """The same numbers give shift 0, nothing beyond in size, nobody outside, and one sentence that says so."""
    found = shift(trained(), [seen(0.3), seen(0.5)])
    assert found["outside"] == 0
    assert abs(found["stain"]["density_red"]["shift"]) < 1e-9
    assert found["longer_side_px"]["beyond"] == 0
    assert list(shift_lines(found)) == ["0 of 2 images lie outside the training data in stain, size or scan"]


def test_a_darker_stain_another_size_and_scanner_are_said() -> None:
    """Density 0.9 is five deviations above 0.4; one image is 300 px long; one was scanned at 40x."""
    found = shift(trained(), [seen(0.9, width=300), seen(0.9, objective=40.0), seen(0.9, objective=None)])
    red = found["stain"]["density_red"]
    assert round(red["shift"], 6) == 5
    assert red["beyond"] == 1
    assert found["stain"]["density_blue"]["shift"] is None  # all training images have the same: no deviation
    assert found["outside"] == 3
    assert found["outside_in"] == {"objective": 1, "size": 1, "stain": 3}
    assert found["level0_objectives"] == {"training": [20.0], "here": {"20": 1, "40": 1, "unknown": 1}}
    assert list(shift_lines(found)) == [
        "3 of 3 images lie outside the training data in stain, size or scan",
        "the optical density of its stain in red is 0.900 on average, 5.0 standard deviations above that of training "
        "(0.400); 100% of the images lie beyond 98 % of those",
        "longer side of an image, px: 100 to 300 here, 100 in training; 33% of the images lie beyond",
        "area of an image, px: 5,000 to 15,000 here, 5,000 in training; 33% of the images lie beyond",
        "scanned at 40x, the training slides at 20x",
    ]


def test_images_without_stain_have_no_density() -> None:
    """Of blank images only the share of tissue is known."""
    blank = Seen(width=100, height=50, mpp=None, objective=None, stain={"tissue_share": 0.0})
    found = shift(trained(), [blank])
    assert set(found["stain"]) == {"tissue_share"}
    assert found["mpp"] is None
