"""What ``slideprep.extract`` makes of a slide is, byte for byte, what ``build-shards`` put into the tars."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import slideprep as package
from e2e.builds import failures, slideprep, write_labels, write_png
from fixtures.real_data import real
from fixtures.slides import half_zero_tile, picture, write_svs
from fixtures.tars import members
from slideprep import OpenedSlide, ReadSettings, RegionImages
from slideprep.errors import SlideReadError
from slideprep.preview.model import QUALITY
from slideprep.tissue.annotation_files import regions_geojson
from slideprep.units import Box

Images = Mapping[tuple[str, str], bytes]
"""Encoded images by (magnification's folder, key)."""

SQUARES = (Box(x=96, y=130, width=430, height=410), Box(x=1180, y=900, width=440, height=430))


@dataclass(frozen=True, kw_only=True)
class Case:
    """One way of building a set.

    Attributes:
        size: (width, height) of the slide, level-0 pixels.
        options: Of build-shards.
        drawn: Annotate the squares.
        plain: A PNG, which says nothing of its scale.
        regions: How many there are.
    """

    size: tuple[int, int] = (320, 256)
    options: Sequence[str] = ("--tissue", "whole")
    drawn: bool = False
    plain: bool = False
    regions: int = 1


TISSUE = {"size": (1700, 1400), "regions": 2}
CASES = {
    "jpeg": Case(options=("--tissue", "whole", "--quality", "80")),
    "png": Case(options=("--tissue", "whole", "--image-format", "png")),
    "webp": Case(options=("--tissue", "whole", "--image-format", "webp", "--quality", "70")),
    "an objective that was given": Case(plain=True, options=("--tissue", "whole", "--objective", "20")),
    "whole mpp": Case(options=("--tissue", "whole", "--magnification-by", "mpp")),
    "fractional mpp": Case(
        size=(520, 400),
        plain=True,
        options=("--tissue", "whole", "--magnification-by", "mpp", "--mpp", "0.37"),
    ),
    "fractional objective": Case(options=("--tissue", "whole", "--magnifications", "7,3.5")),
    "too small and padded": Case(size=(321, 259)),
    "auto": Case(**TISSUE, options=()),
    "tissueloc": Case(
        **TISSUE, options=("--tissue", "tissueloc", "--tissueloc-sigma", "5", "--tissueloc-min-px", "900")
    ),
    "annotations": Case(**TISSUE, drawn=True, options=("--tissue", "annotations")),
    "annotations, masked": Case(
        size=TISSUE["size"],
        drawn=True,
        options=("--tissue", "annotations", "--mask-outside", "--exclude-class", "stroma"),
    ),
}


def write_slide(folder: Path, case: Case) -> Path:
    """A slide of white glass with two squares of tissue where there is room, else of tissue alone."""
    width, height = case.size
    pixels = picture(width, height)
    if case.regions == 2 or case.drawn:
        glass = np.full_like(pixels, 245)
        for box in SQUARES:
            rows, columns = slice(box.y, box.bottom), slice(box.x, box.right)
            glass[rows, columns] = pixels[rows, columns] // 2 + np.array([90, 20, 80], np.uint8)
        pixels = glass
    folder.mkdir()
    return (
        write_png(folder / "case.7.png", pixels) if case.plain else write_svs(folder / "case.7.svs", pixels)
    )


def build(folder: Path, slide: Path, case: Case) -> tuple[Path, Path | None]:
    """A labelled set of the slide, and its annotations."""
    options, drawn = list(case.options), None
    if "--magnifications" not in options:
        options += ["--magnifications", "10,5,2.5"]
    if case.drawn:
        (folder / "drawn").mkdir()
        drawn = folder / "drawn" / f"{slide.name}.geojson"
        named = [(box, label, "n") for box, label in zip(SQUARES, ("gland", "stroma"), strict=True)]
        drawn.write_text(json.dumps(regions_geojson(named)))
        options += ["--annotations", str(folder / "drawn")]
    labels = write_labels(folder / "labels.csv", [(slide.name, "gland", "p1")])
    run = slideprep(
        "build-shards", slide, "--labels", labels, "--out", folder / "set", "--workers", "0", *options
    )
    assert run.code == 0, run.said
    return folder / "set", drawn


def stored(out: Path) -> Images:
    """Every image of a set."""
    found = {}
    for tar in out.glob("*x/*.tar"):
        for name, data in members(tar).items():
            key, _, extension = name.partition(".")
            if extension in ("jpg", "png", "webp"):
                found[tar.parent.name, key] = data
    return found


def read(extraction: Iterable[RegionImages]) -> Images:
    """Every image of an extraction."""
    return {
        (f"{magnification:g}x", region.key): image.encoded
        for region in extraction
        for magnification, image in region.images.items()
    }


def told(out: Path) -> dict[str, list[float | None]]:
    """What regions.csv says of every region that was written: focus, ink, folds, bubbles."""
    with (out / "regions.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["status"] == "written"]
    return {row["key"]: [float(row[name]) if row[name] else None for name in QUALITY] for row in rows}


def settings_of(out: Path) -> ReadSettings:
    """The settings of a set, from its index alone."""
    return ReadSettings.of_config(json.loads((out / "index.json").read_text())["config"])


def assert_same(slide: OpenedSlide, out: Path, **options: Any) -> None:
    """All magnifications together, each alone, and beside pictures for people, the images are the set's.

    At the lowest alone, a region is measured as the set's was, though the highest magnification is not made.
    """
    settings, expected = settings_of(out), stored(out)
    assert expected, "the set holds no image"
    assert read(package.extract(slide, settings, **options)) == expected
    lowest = min(settings.magnifications)
    for magnification in settings.magnifications:
        alone = list(
            package.extract(
                slide, settings, magnifications=[magnification], quality=magnification == lowest, **options
            )
        )
        name = f"{magnification:g}x"
        assert read(alone) == {key: data for key, data in expected.items() if key[0] == name}
    measured = {region.key: region.quality for region in alone}
    assert {key: [getattr(one, name) for name in QUALITY] for key, one in measured.items()} == told(out)
    pictured = package.extract(slide, settings, also=[0.7, 40.0], **options)
    assert read(pictured) == expected


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_an_extracted_image_is_the_one_in_the_tar(case: Case, tmp_path: Path) -> None:
    """In every format, mode and magnification, extracted with others or alone: the same bytes under the same keys."""
    path = write_slide(tmp_path / "slides", case)
    out, drawn = build(tmp_path, path, case)
    with package.open_slide(path) as slide:
        assert_same(slide, out, annotations=drawn)
        assert len(package.extract(slide, settings_of(out), annotations=drawn)) == case.regions


def test_what_a_slide_was_opened_with_fills_the_gap_that_an_option_filled(tmp_path: Path) -> None:
    """A PNG opened with objective=20 gives the images of a set that was built with --objective 20."""
    case = CASES["an objective that was given"]
    path = write_slide(tmp_path / "slides", case)
    out, _ = build(tmp_path, path, case)
    settings = settings_of(out).model_copy(update={"objective": None})
    with package.open_slide(path, objective=20) as slide:
        assert read(package.extract(slide, settings)) == stored(out)


def test_a_damaged_region_fails_alone_as_in_a_build(tmp_path: Path) -> None:
    """The region with the damaged tile is refused in the build's words; the other one is the set's."""
    case = CASES["auto"]
    path = write_slide(tmp_path / "slides", case)
    tiles_across = -(-case.size[0] // 64)
    half_zero_tile(path, 5 * tiles_across + 5)
    options = ("--magnifications", "10,5,2.5", "--workers", "0")
    run = slideprep("build-shards", path, "--out", tmp_path / "set", *options)
    assert run.code == 3, run.said
    (listed,) = failures(tmp_path / "set")
    with package.open_slide(path) as slide:
        extraction = package.extract(slide, settings_of(tmp_path / "set"))
        damaged, whole = extraction.laid_out
        with pytest.raises(SlideReadError) as refusal:
            extraction.read(damaged)
        kept = extraction.read(whole)
    assert (listed["reason"], listed["region"]) == (str(refusal.value), str(damaged.index))
    assert stored(tmp_path / "set") == {(f"{m:g}x", kept.key): i.encoded for m, i in kept.images.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["CMU-1-Small-Region.svs", "cmu-1-small-region_dicom"])
def test_a_real_slide_gives_the_bytes_of_its_shard(name: str, tmp_path: Path) -> None:
    """The Aperio slide and its DICOM twin, at the paper's five magnifications."""
    path = real("slides", name)
    run = slideprep("build-shards", path, "--objective", "20", "--out", tmp_path / "set", "--workers", "0")
    assert run.code == 0, run.said
    with package.open_slide(path) as slide:
        assert_same(slide, tmp_path / "set")
