"""Regions read from slides at a magnification that the set lacks: kdtrain/sources/slide_regions.py."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import slideprep
from fixtures.build_inputs import config
from fixtures.networks import write_colours
from fixtures.slides import picture, write_svs
from fixtures.training_runs import kdtrain
from kdtrain.data.plan import SampleRef
from kdtrain.data.samples import LoadedSample, SampleReader
from kdtrain.data.teacher_cache.opening import open_cache
from kdtrain.errors import TrainingError, UsageError
from kdtrain.shards.index import read_index
from kdtrain.sources.slide_regions import SlideRegions

NAMES = ("a.svs", "b.svs")


def build(out: Path, slides: Path, *magnifications: float, **options: Any) -> Path:
    """A set of whole slides, unlabelled, in this process."""
    given = {"magnifications": magnifications, "objective": None, **options}
    slideprep.build(config(out, slides, **given))
    return out


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two slides of 20x, and sets of them at 5x and 2.5x, and at 10x as well; nobody changes them."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "slides").mkdir()
    for number, name in enumerate(NAMES):
        pixels = np.ascontiguousarray(np.roll(picture(384, 320), 23 * number, axis=1))
        write_svs(folder / "slides" / name, pixels)
    build(folder / "set", folder / "slides", 5.0, 2.5)
    build(folder / "more", folder / "slides", 10.0, 5.0, 2.5)
    return folder


def samples(shards: Path, *magnifications: float) -> list[LoadedSample]:
    """All samples of a set, at some magnifications."""
    index = read_index(shards)
    (split,) = index.document.splits
    reader = SampleReader(index, split, magnifications)
    return [
        reader.load(SampleRef(shard, position))
        for shard, one in enumerate(reader.shards)
        for position in range(one.samples)
    ]


def regions(made: Path, slides: Path, **settings: Any) -> SlideRegions:
    """Regions of the set at 10x, held against those at 2.5x."""
    index = read_index(made / "set")
    given = {"magnification": 10.0, "compared": 2.5, **settings}
    return SlideRegions(slides, index.document.config, **given)


def test_a_region_is_as_the_set_would_hold_it(made: Path) -> None:
    """At 10x, to the last grey level the image of a set that was built with 10x too."""
    asked, wanted = samples(made / "set", 2.5), samples(made / "more", 10.0)
    source = regions(made, made / "slides")
    assert source.magnifications == (2.5,) and source.settings == {"images": "slides"}
    for sample, other in zip(asked, wanted, strict=True):
        assert sample.key == other.key
        image = source.image(sample, (48, 40))
        assert image.dtype == torch.uint8
        assert torch.equal(image, other.images[10.0])


def test_a_slide_that_is_not_there_is_named(made: Path, tmp_path: Path) -> None:
    """With the region, what there is, and what to do."""
    shutil.copy(made / "slides" / "b.svs", tmp_path / "b.svs")
    (sample,) = (one for one in samples(made / "set", 2.5) if one.slide == "a.svs")
    with pytest.raises(
        TrainingError, match=rf"has no slide 'a\.svs', of which region {sample.key} is \(it has b\.svs\)"
    ):
        regions(made, tmp_path).image(sample, (48, 40))


@pytest.mark.parametrize("size", [(384, 320), (512, 320)])
def test_a_slide_that_has_changed_is_named(made: Path, tmp_path: Path, size: tuple[int, int]) -> None:
    """Another picture of the same size, and another size: neither is taken for what the set was built from."""
    for name in NAMES:
        write_svs(tmp_path / name, np.ascontiguousarray(np.roll(picture(*size), 150, axis=1)))
    sample = samples(made / "set", 2.5)[0]
    words = (
        rf"slide '{sample.slide}' does not have region {sample.key} as the set has it.*; put the slides there"
    )
    with pytest.raises(TrainingError, match=words):
        regions(made, tmp_path).image(sample, (48, 40))


def test_a_slide_that_cannot_be_read_is_named(made: Path, tmp_path: Path) -> None:
    """A file cut short, and a magnification beyond the slide's own."""
    sample = samples(made / "set", 2.5)[0]
    with pytest.raises(
        TrainingError,
        match=rf"region {sample.key} of slide '.*' cannot be read at 40x: .*20.*; give a --teacher-mag",
    ):
        regions(made, made / "slides", magnification=40.0).image(sample, (48, 40))
    whole = (made / "slides" / sample.slide).read_bytes()
    (tmp_path / sample.slide).write_bytes(whole[: len(whole) // 2])
    with pytest.raises((TrainingError, UsageError), match=rf"--slides {tmp_path}"):
        regions(made, tmp_path).image(sample, (48, 40))


def test_what_cannot_be_read_at_all_is_refused_first(made: Path, tmp_path: Path) -> None:
    """No slides, a magnification off the set's grid, annotations for a set without."""
    with pytest.raises(UsageError, match=rf"--slides {tmp_path}"):
        regions(made, tmp_path)
    with pytest.raises(
        UsageError, match=r"--teacher-magnification 7\.77 has no pixel grid in common with .* 5x, 2\.5x"
    ):
        regions(made, made / "slides", magnification=7.77)
    with pytest.raises(UsageError, match=r"--annotations .*: the set was not built of annotated regions"):
        regions(made, made / "slides", annotations=tmp_path)
    annotated = {**read_index(made / "set").document.config, "tissue": "annotations"}
    with pytest.raises(UsageError, match="the set was built of annotated regions; add --annotations FOLDER"):
        SlideRegions(made / "slides", annotated, magnification=10.0, compared=2.5)


def test_a_cache_of_slides_is_that_of_a_set_with_their_magnification(made: Path, tmp_path: Path) -> None:
    """Views of 10x read from the slides are those of a set that holds 10x; where they come from is recorded."""
    network = write_colours(tmp_path / "colours.onnx")
    tars = {}
    for name, more in (("set", ("--slides", made / "slides")), ("more", ())):
        run = kdtrain(
            *("cache-teacher", "--shards", made / name, "--from", network, "--out", tmp_path / name),
            *(
                "--magnification",
                2.5,
                "--train-on",
                "aux1",
                "--views",
                2,
                "--workers",
                0,
                "--output-stride",
                8,
            ),
            *("--teacher-magnification", 10, "--tile-px", 32, *more),
        )
        assert run.code == 0, run.said
        tars[name] = (tmp_path / name / "aux1-000000.tar").read_bytes()
    assert tars["set"] == tars["more"]
    entry = open_cache(tmp_path / "set").document
    assert entry.teacher.settings["images"] == "slides"
    assert set(entry.shards[0].sources) == {"2.5x"}
