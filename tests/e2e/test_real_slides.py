"""build-shards on real tissue, where it is at hand: one slide, the same slide as DICOM, and 60 labelled fields."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from e2e.builds import slideprep
from fixtures.real_data import real
from fixtures.tars import members
from slideprep.shards.verify.verify import verify


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Aperio slide and its DICOM twin in one set: its colour tag is wrong, its objective missing."""
    out = tmp_path_factory.mktemp("twins") / "set"
    slides = (real("slides", "CMU-1-Small-Region.svs"), real("slides", "cmu-1-small-region_dicom"))
    run = slideprep("build-shards", *slides, "--objective", "20", "--out", out, "--workers", "0")
    assert run.code == 0, run.said
    return out


def records_and_images(out: Path, magnification: str) -> dict[str, tuple[dict, np.ndarray]]:
    """(record, pixels) by slide."""
    found = {}
    for tar_path in sorted((out / magnification).glob("*.tar")):
        held = members(tar_path)
        for name, data in held.items():
            if name.endswith(".json"):
                record = json.loads(data)
                image = np.asarray(Image.open(io.BytesIO(held[f"{record['key']}.jpg"])))
                found[record["slide"]] = (record, image)
    return found


def test_both_files_of_one_slide_give_a_clean_set(twins: Path) -> None:
    """Verify finds no fault, and each slide's reader is on record."""
    assert verify(twins).faults == ()
    with (twins / "slides.csv").open() as file:
        readers = {row["slide"]: row["reader"] for row in csv.DictReader(file)}
    assert readers == {"CMU-1-Small-Region.svs": "tiff-jpeg", "cmu-1-small-region_dicom": "dicom-jpeg"}


def test_the_wrong_colour_tag_is_corrected_with_a_warning(twins: Path) -> None:
    """slides.csv says that the tag and the frames disagreed and what was done."""
    with (twins / "slides.csv").open() as file:
        warnings = {row["slide"]: row["warnings"] for row in csv.DictReader(file)}
    assert "YCbCr" in warnings["cmu-1-small-region_dicom"]
    assert warnings["CMU-1-Small-Region.svs"] == ""


def test_both_files_of_one_slide_give_the_same_region_and_pixels(twins: Path) -> None:
    """Boxes agree within one overview pixel (16 µm), common pixels within 5 grey levels on average."""
    (svs, svs_pixels), (dicom, dicom_pixels) = (
        records_and_images(twins, "10x")[name]
        for name in ("CMU-1-Small-Region.svs", "cmu-1-small-region_dicom")
    )
    overview_px = 16 / 0.499
    a, b = svs["region"], dicom["region"]
    # Boxes are laid out in cells of 32 level-0 pixels, so the tissue's difference may become one cell.
    assert abs(a["x"] - b["x"]) <= overview_px
    assert abs(a["y"] - b["y"]) <= overview_px
    assert abs(a["x"] + a["width"] - b["x"] - b["width"]) <= overview_px
    assert abs(a["y"] + a["height"] - b["y"] - b["height"]) <= overview_px
    x, y = max(a["x"], b["x"]), max(a["y"], b["y"])
    right, bottom = (
        min(a["x"] + a["width"], b["x"] + b["width"]),
        min(a["y"] + a["height"], b["y"] + b["height"]),
    )
    parts = [
        pixels[(y - r["y"]) // 2 : (bottom - r["y"]) // 2, (x - r["x"]) // 2 : (right - r["x"]) // 2].astype(
            float
        )
        for r, pixels in ((a, svs_pixels), (b, dicom_pixels))
    ]
    assert np.abs(parts[0] - parts[1]).mean() <= 5


def test_sixty_labelled_fields_become_a_clean_set(tmp_path: Path) -> None:
    """Their given split is kept, every field that is large enough is written, the rest is listed."""
    fields = real("osteosarcoma-10x")
    run = slideprep(
        *("build-shards", fields, "--labels", fields / "labels.csv", "--objective", "10"),
        *("--tissue", "whole", "--magnifications", "10,1.25", "--out", tmp_path / "set", "--workers", "0"),
    )
    assert run.code == 0, run.said
    assert verify(tmp_path / "set").faults == ()
    index = json.loads((tmp_path / "set" / "index.json").read_bytes())
    assert index["classes"] == ["Non-Tumor", "Non-Viable-Tumor", "Viable"]
    samples = {name: split["samples"] for name, split in index["splits"].items()}
    assert samples == {"train": 37, "val": 8, "test": 15}
