"""What a network was trained on, in ranges, and in what something else lies outside of them."""

from __future__ import annotations

import re

import fsspec
import pytest

from kdtrain.bundle.source import evenly_spaced, measure_training_data
from kdtrain.bundle.training_data import Measured, TrainingData, image_outside, slide_outside, training_data
from kdtrain.data.plan import SampleRef
from kdtrain.shards.cache import CacheSettings
from kdtrain.shards.index import read_index

INSIDE = {
    "tissue_share": 0.5,
    "density_red": 0.25,
    "density_green": 0.45,
    "density_blue": 0.2,
    "hue_red": 0.28,
    "hue_green": 0.5,
    "hue_blue": 0.22,
}


def seen(shift: float, **fields) -> Measured:
    """An image whose numbers are all shifted."""
    known = {"mpp": 4.0, "level0_mpp": 0.5, "level0_objective": 20.0, "reader": "one", **fields}
    return Measured(stain={name: value + shift for name, value in INSIDE.items()}, **known)


SIZES = [(100, 80), (200, 150), (120, 90)]
DATA = training_data(SIZES, [seen(shift / 100) for shift in (-2, -1, 0, 1, 2)])


def outside(**changed) -> tuple[str, ...]:
    """Of an image of a middle size with some other numbers."""
    return image_outside(DATA, width=120, height=100, stain={**INSIDE, **changed})


def test_ranges_are_those_of_the_images():
    """Sides and areas of all of them, and the spread of what was measured, to six digits."""
    assert (DATA.longer_side_px.min, DATA.longer_side_px.max) == (100, 200)
    assert (DATA.shorter_side_px.min, DATA.area_px.max) == (80, 30_000)
    spread = DATA.stain["density_red"]
    assert (spread.mean, spread.min, spread.max) == (0.25, 0.23, 0.27)
    assert (spread.std, spread.p01, spread.p99) == (0.0141421, 0.2304, 0.2696)
    assert (DATA.images, DATA.measured, DATA.readers) == (3, 5, ("one",))


def test_the_training_images_lie_inside():
    """Nothing is said of them, nor of their slides."""
    assert outside() == ()
    assert slide_outside(DATA, mpp=4.0, level0_objective=20) == ()


@pytest.mark.parametrize(
    ("name", "value", "seen_as"),
    [
        ("density_green", 0.50, "its stain is darker"),
        ("density_green", 0.40, "its stain is paler"),
        ("hue_blue", 0.27, "its stain has another colour"),
        ("tissue_share", 0.9, "more of it is stained"),
    ],
)
def test_another_stain_is_called_outside(name, value, seen_as):
    """Two standard deviations (0.028) beyond the 1st and 99th percentile (0.02 from the mean) are too many.

    The sentence begins with what a person sees of it.
    """
    (sentence,) = outside(**{name: value})
    assert sentence.startswith(f"{seen_as} than in training: ")
    assert f"{value:.3f}" in sentence
    assert ("above" in sentence) is (value > INSIDE[name])


@pytest.mark.parametrize("value", [0.41, 0.49])
def test_a_little_beyond_is_not(value):
    """The training images are a sample: a few lie beyond all of them."""
    assert outside(density_green=value) == ()


def test_an_image_without_tissue_is_named_once():
    """Nothing else is measured of it; where training had such images, it lies inside."""
    blank = {"tissue_share": 0.0}
    assert len(image_outside(DATA, width=120, height=100, stain=blank)) == 1
    with_blank = training_data(SIZES, [seen(0), Measured(**{**seen(0).__dict__, "stain": blank})])
    assert with_blank.without_tissue == 1
    assert image_outside(with_blank, width=120, height=100, stain=blank) == ()


@pytest.mark.parametrize(
    ("size", "word"),
    [((301, 20), "large"), ((250, 200), "large"), ((66, 66), "small"), ((100, 50), "small")],
)
def test_sizes_of_another_order_are_called_outside(size, word):
    """1.5 times beyond the longer side or the area, upwards and downwards."""
    sentences = image_outside(DATA, width=size[0], height=size[1], stain=INSIDE)
    assert any(word in sentence and f"{size[0]} x {size[1]}" in sentence for sentence in sentences)


@pytest.mark.parametrize("size", [(300, 140), (67, 80), (150, 300)])
def test_sizes_up_to_half_beyond_lie_inside(size):
    """Such a side is inside, whichever way the image lies."""
    assert image_outside(DATA, width=size[0], height=size[1], stain=INSIDE) == ()


@pytest.mark.parametrize(("mpp", "is_outside"), [(4.39, False), (4.41, True), (3.65, False), (3.6, True)])
def test_pixels_of_another_size_are_called_outside(mpp, is_outside):
    """Over 10 % beyond those of training."""
    assert bool(slide_outside(DATA, mpp=mpp, level0_objective=20)) is is_outside


def test_what_a_slide_does_not_say_is_said():
    """No mpp: nobody can compare; another objective: named with those of training."""
    assert "no mpp" in slide_outside(DATA, mpp=None, level0_objective=20)[0]
    assert re.search("40x.*20x", slide_outside(DATA, mpp=4, level0_objective=40)[0])


def test_where_nothing_is_known_nothing_is_said():
    """Training slides without mpp and objective cannot be compared with."""
    data = training_data(SIZES, [seen(0, mpp=None, level0_mpp=None, level0_objective=None)])
    assert (data.mpp, data.level0_mpp, data.level0_objectives) == (None, None, ())
    assert slide_outside(data, mpp=0.1, level0_objective=40) == ()


def test_it_is_read_back_as_it_was():
    """Through JSON, to the last digit."""
    assert TrainingData.model_validate_json(DATA.model_dump_json()) == DATA


def test_a_set_is_measured_from_its_index_and_images(shards):
    """Sizes are the index's, of every sample trained on; pixel sizes are the records'."""
    index = read_index(shards)
    told = []
    data = measure_training_data(index, ["train", "aux1"], 2.5, on_image=lambda *n: told.append(n))
    sizes = [
        s for name in ("train", "aux1") for shard in index.shards_of(name) for s in index.sizes_of(shard, 2.5)
    ]
    assert (data.images, data.measured) == (8, 8) == told[-1]
    assert data.longer_side_px.max == max(map(max, sizes)) == 48
    assert data.mpp is not None
    assert data.stain["tissue_share"].max <= 1


def test_of_many_images_evenly_spaced_ones_are_opened(shards):
    """Three of the five of both shards; the sizes are of all."""
    refs = [SampleRef(0, i) for i in range(10)]
    assert [ref.position for ref in evenly_spaced(refs, 4)] == [0, 2, 5, 7]
    assert evenly_spaced(refs, 99) == refs
    data = measure_training_data(read_index(shards), ["train"], 2.5, most=3)
    assert (data.images, data.measured) == (5, 3)


def test_a_set_at_a_url_is_measured_alike(shards, tmp_path):
    """Its tars are fetched as they are needed."""
    fsspec.filesystem("memory").put(str(shards), "/sets/measured", recursive=True)
    there = read_index("memory://sets/measured", CacheSettings(directory=tmp_path, limit_bytes=10**9))
    here = read_index(shards)
    assert measure_training_data(there, ["train"], 10) == measure_training_data(here, ["train"], 10)
