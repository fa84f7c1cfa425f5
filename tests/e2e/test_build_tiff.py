"""build-shards on TIFF files that no reader takes for what they are: listed, beside regions that are right."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from e2e.builds import failures, slideprep
from fixtures.slides import picture, set_tile_entry
from fixtures.tars import members
from slideprep.shards.verify.verify import verify
from slideprep.tissue.annotation_files import regions_geojson
from slideprep.units import Box

WHOLE, HOLED = Box(x=64, y=64, width=128, height=128), Box(x=320, y=256, width=128, height=128)
PICTURE = picture(512, 448)


def _pyramid(path: Path, **options: object) -> Path:
    with tifffile.TiffWriter(path) as tif:
        for step in (1, 2):
            tif.write(
                np.ascontiguousarray(PICTURE[::step, ::step]), tile=(64, 64), photometric="rgb", compression="lzw",
                metadata=None, subfiletype=int(step > 1), **options,
            )  # fmt: skip
    return path


def test_a_region_with_a_hole_is_listed_and_the_others_are_right(tmp_path: Path) -> None:
    """Of two regions the one on a tile that is not stored is in failures.csv; the other has the slide's own pixels."""
    (tmp_path / "slides").mkdir()
    holed = _pyramid(tmp_path / "slides" / "holed.tif")
    set_tile_entry(holed, "TileByteCounts", 5 * 8 + 6, 0)
    _pyramid(tmp_path / "slides" / "turned.tif", extratags=[(274, "H", 1, 3, True)])
    for name in ("holed", "turned"):
        drawn = regions_geojson([(WHOLE, None, None), (HOLED, None, None)])
        (tmp_path / f"{name}.geojson").write_text(json.dumps(drawn))
    run = slideprep(
        "build-shards", tmp_path / "slides", "--out", tmp_path / "out", "--tissue", "annotations", "--annotations",
        tmp_path, "--objective", "20", "--magnifications", "20,10", "--image-format", "png", "--workers", "0",
    )  # fmt: skip
    assert run.code == 3, run.said
    listed = failures(tmp_path / "out")
    assert [(row["slide"], row["region"], row["stage"]) for row in listed] == [
        ("holed.tif", "1", "read"),
        ("turned.tif", "", "open"),
    ]
    assert "the tile in column 6, row 5 is not stored in the file" in listed[0]["reason"]
    assert "its orientation tag (3) says that the picture is stored turned by 180°" in listed[1]["reason"]
    with (tmp_path / "out" / "slides.csv").open() as file:
        warnings = {row["slide"]: row["warnings"] for row in csv.DictReader(file)}
    assert (
        "1 of 56 tiles of level 0 are not stored in the file, and 1 of them are not known"
        in warnings["holed.tif"]
    )
    held = {
        name: data for tar in (tmp_path / "out" / "20x").glob("*.tar") for name, data in members(tar).items()
    }
    images = [
        np.asarray(Image.open(io.BytesIO(data))) for name, data in held.items() if name.endswith(".png")
    ]
    assert len(images) == 1
    assert np.array_equal(images[0], PICTURE[64:192, 64:192])
    assert verify(tmp_path / "out").faults == ()
