"""Colours, scales, and what is where in the overlay."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from fixtures.explained import REGION_BOX, explained_region, heat_map, overview, slide_prediction
from kdtrain.bundle.runtime import Pixels
from kdtrain.predict.explain.colours import FULL_AT, Scale, diverging, sequential
from kdtrain.predict.explain.overlay import overlay_png, painted_overview
from kdtrain.predict.explain.overlay_parts import bar, fitted, font, ticks
from kdtrain.predict.explain.picture import CAUTION, Place, SlidePicture

# Machado, Oliveira and Fernandes (2009), severity 1.0, on linear RGB: protanopia, deuteranopia, tritanopia.
EYES = {
    "all cones": np.eye(3),
    "protan": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deutan": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritan": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}


def _seen(colours: Pixels, eye: str) -> np.ndarray:
    """Linear RGB as an eye sees it."""
    share = colours / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return np.clip(linear @ EYES[eye].T, 0, 1)


def _luminance(colours: Pixels, eye: str) -> np.ndarray:
    return _seen(colours, eye) @ np.array([0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("eye", EYES)
def test_more_is_lighter_to_every_eye(eye: str) -> None:
    """Along the ramp of amounts, luminance only rises, from almost black to light."""
    luminance = _luminance(sequential(np.linspace(0, 1, 64)), eye)
    assert (np.diff(luminance) > 0).all()
    assert luminance[0] < 0.05
    assert luminance[-1] > 0.6


@pytest.mark.parametrize("eye", EYES)
def test_for_and_against_stay_apart_to_every_eye(eye: str) -> None:
    """At equal strength the two sides differ in colour, and both get darker from the middle."""
    colours = diverging(np.linspace(0, 1, 65))
    luminance = _luminance(colours, eye)
    assert (np.diff(luminance[:33]) > 0).all()
    assert (np.diff(luminance[32:]) < 0).all()
    seen = _seen(colours, eye) ** (1 / 2.2)
    for k in (8, 16, 24, 32):
        assert np.abs(seen[32 + k] - seen[32 - k]).max() > 0.12


@pytest.mark.parametrize("ramp", [sequential, diverging])
def test_colours_keep_the_shape_and_hold_at_the_ends(ramp: Callable[[np.ndarray], Pixels]) -> None:
    """(2, 3) numbers give (2, 3, 3) colours; beyond the ends, the end's."""
    assert ramp(np.zeros((2, 3))).shape == (2, 3, 3)
    assert (ramp(np.array([-1.0, 2.0])) == ramp(np.array([0.0, 1.0]))).all()


def test_nought_is_in_the_middle_and_without_colour() -> None:
    """The middle of the signed ramp is a light grey."""
    middle = diverging(np.array(0.5)).astype(int)
    assert np.ptp(middle) <= 2
    assert middle.min() > 235


def test_a_scale_ends_at_the_largest_value_of_all_maps() -> None:
    """It is signed if one of them is, and the same number then has the same colour in each."""
    weak, strong = heat_map([[0.0, 1.0]]), heat_map([[0.0, 4.0]])
    assert Scale.of([weak, strong]) == Scale(most=4.0, signed=False)
    assert Scale.of([weak, heat_map([[-3.0, 1.0]])]) == Scale(most=3.0, signed=True)
    assert Scale.of([]) == Scale.of([heat_map([[0.0]])]) == Scale(most=0.0, signed=False)


def test_nought_is_not_seen_and_strong_is_full() -> None:
    """Opacity rises from 0 to 1 at FULL_AT of the scale, for both signs."""
    scale = Scale(most=10.0, signed=True)
    values = np.array([0.0, 5.0 * FULL_AT, 10.0 * FULL_AT, 10.0, -10.0], dtype=np.float32)
    np.testing.assert_allclose(scale.opacities(values), [0, 0.5, 1, 1, 1], atol=1e-6)
    assert (Scale(most=0.0, signed=False).opacities(values[:1]) == 0).all()


def _picture(**edits: object) -> SlidePicture:
    fields = {
        "prediction": slide_prediction(),
        "regions": (explained_region(),),
        "bundle": "student",
        "method": "occlusion",
        "class_index": 0,
    }
    return SlidePicture(**(fields | edits))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["a\nb", "<&>{}", "\u817a\u764c", "n" * 300])
def test_a_class_may_have_any_name(name: str) -> None:
    """It is drawn on one line, cut off where there is no room."""
    picture = _picture(prediction=slide_prediction(classes=(name, "two"), slide="s" * 200))
    with Image.open(io.BytesIO(overlay_png(picture, overview(), side_px=400))) as image:
        assert image.width < 1200


def test_a_value_is_painted_where_its_place_lies() -> None:
    """The one warm cell, the right one of the lower row, is orange there; the rest of the slide is as it was."""
    picture = _picture()
    painted = np.asarray(painted_overview(picture, overview(), side_px=400, opacity=1.0)).astype(int)
    assert painted.shape == (300, 400, 3)
    x, y, width, height = (value * 400 // 4000 for value in REGION_BOX)
    warm = painted[y + 3 * height // 4, x + 3 * width // 4]
    assert np.abs(warm - diverging(np.array(1.0))).max() <= 3
    for cold in (painted[y + height // 4, x + width // 4], painted[290, 10], painted[5, 390]):
        assert cold.min() > 225


def test_a_place_holds_the_pixels_whose_centres_it_holds() -> None:
    """From 1.5 to 3.5 that are pixels 1 (centre 1.5), 2 and 3 (its centre 3.5 counts); outside the canvas none."""
    place = Place(left=1.5, top=-4.0, right=3.5, bottom=2.0)
    assert place.pixels(width=10, height=10) == (slice(0, 2), slice(1, 4))
    rows, columns = Place(left=20, top=20, right=30, bottom=30).pixels(width=10, height=10)
    assert rows.stop == rows.start
    assert columns.stop == columns.start


def test_regions_are_framed_in_the_colour_of_their_class() -> None:
    """The box's edge is the report's first colour for the first class, its second for the second."""
    for probabilities, expected in (((0.9, 0.1), (194, 78, 0)), ((0.1, 0.9), (0, 114, 178))):
        region = explained_region()
        region = replace(region, prediction=replace(region.prediction, probabilities=probabilities))
        painted = np.asarray(painted_overview(_picture(regions=(region,)), overview(), side_px=400))
        x, y, width, height = (value * 400 // 4000 for value in REGION_BOX)
        assert tuple(painted[y + height // 2, x]) == expected
        assert tuple(painted[y + height - 1, x + width // 2]) == expected


def test_the_picture_has_the_size_asked_for_and_the_same_bytes_again() -> None:
    """The slide's longest side, with margins around it."""
    first, second = (overlay_png(_picture(), overview(), side_px=1200) for _ in range(2))
    assert first == second
    with Image.open(io.BytesIO(first)) as image:
        assert image.format == "PNG"
        assert 1200 <= image.width <= 1300
        assert image.height > 900


@pytest.mark.parametrize(
    "edits",
    [
        {"regions": ()},
        {"class_index": 1},
        {"method": "grad-cam"},
        {"prediction": slide_prediction(slide="x" * 400 + "\n\u202e<b>")},
        {"prediction": slide_prediction(width=4000, height=40)},
        {"regions": tuple(explained_region(index=i, x=20 * i) for i in range(120))},
    ],
    ids=["no region", "class without maps", "no such method", "long name", "thin slide", "many regions"],
)
def test_odd_slides_are_drawn_too(edits: dict[str, object]) -> None:
    """No region, no map, endless names, a slide of a hundredth the height: a picture all the same."""
    with Image.open(io.BytesIO(overlay_png(_picture(**edits), overview(), side_px=500))) as image:
        image.load()
        assert image.width >= 500


def test_the_legend_s_bar_shows_colours_as_they_look_on_white() -> None:
    """Its left end is white for amounts, blue for signed values, and its numbers are the scale's."""
    amounts = bar(Scale(most=2.0, signed=False), 1.0)
    assert (amounts[:, 0] == 255).all()
    assert np.abs(amounts[0, -1].astype(int) - sequential(np.array(1.0))).max() <= 1
    signed = bar(Scale(most=2.0, signed=True), 1.0)
    assert np.abs(signed[0, 0].astype(int) - diverging(np.array(0.0))).max() <= 1
    assert [text for _, text in ticks(Scale(most=2.0, signed=False))] == ["0", "1", "2"]
    assert [text for _, text in ticks(Scale(most=2.0, signed=True))] == ["-2 against", "0", "for 2"]


def test_words_are_cut_to_the_room_there_is() -> None:
    """What fits stays; what does not ends in dots within the room; control characters are spelt out."""
    from PIL import ImageDraw

    draw = ImageDraw.Draw(Image.new("RGB", (10, 10)))
    assert fitted(draw, "abc", font(12), 500) == "abc"
    cut = fitted(draw, "abc" * 50, font(12), 100)
    assert cut.endswith("...")
    assert draw.textlength(cut, font=font(12)) <= 100
    assert fitted(draw, "a\nb", font(12), 500) == "a\\u000ab"


def test_a_picture_says_what_it_shows_and_what_not() -> None:
    """Method, class, verdict; and that it is no diagnosis."""
    picture = _picture()
    assert "Occlusion" in picture.meaning
    assert "'one'" in picture.meaning
    assert picture.verdict == "Predicted: one, confidence 0.75"
    assert "no diagnosis" in CAUTION
