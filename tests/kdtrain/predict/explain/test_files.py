"""GeoJSON and OME-TIFF, read back by other programs' libraries."""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fixtures.explained import CLASSES, REGION_BOX, explained_region, heat_map, overview, slide_prediction
from kdtrain.errors import UsageError
from kdtrain.predict.explain.colours import diverging
from kdtrain.predict.explain.geojson import features, write_geojson
from kdtrain.predict.explain.ome_tiff import write_ome_tiff
from kdtrain.predict.explain.picture import SlidePicture

X, Y, WIDTH, HEIGHT = REGION_BOX


def _written(folder: Path, *regions: Any) -> dict[str, Any]:
    write_geojson(folder / "cells.geojson", regions or (explained_region(),), CLASSES)
    document: dict[str, Any] = json.loads((folder / "cells.geojson").read_bytes())
    return document


def test_a_region_is_a_locked_annotation_with_its_probabilities(tmp_path: Path) -> None:
    """As QuPath exports one: object type, class with colour, measurements by name, the box in level-0 pixels."""
    document = _written(tmp_path)
    assert document["type"] == "FeatureCollection"
    feature = document["features"][0]
    assert feature["properties"] == {
        "objectType": "annotation",
        "name": "region 0",
        "classification": {"name": "one", "color": [194, 78, 0]},
        "isLocked": True,
        "measurements": {"Probability: one": 0.75, "Probability: two": 0.25},
    }
    right, bottom = X + WIDTH, Y + HEIGHT
    ring = [[X, Y], [right, Y], [right, bottom], [X, bottom], [X, Y]]
    assert feature["geometry"] == {"type": "Polygon", "coordinates": [ring]}


def test_cells_are_detections_that_tile_their_region(tmp_path: Path) -> None:
    """Four cells of a quarter each, closed and clockwise, with the map's values by method and class."""
    cells = _written(tmp_path)["features"][1:]
    assert [cell["properties"]["measurements"] for cell in cells] == [
        {"Occlusion: one": value} for value in (0.0, -0.02, 0.0, 2.0)
    ]
    assert {cell["properties"]["objectType"] for cell in cells} == {"detection"}
    area = 0.0
    for cell in cells:
        (ring,) = cell["geometry"]["coordinates"]
        assert ring[0] == ring[-1]
        # On a screen, where y goes down, a clockwise ring has a positive area by this sum.
        area += sum(ax * by - bx * ay for (ax, ay), (bx, by) in pairwise(ring)) / 2
    assert area == WIDTH * HEIGHT
    assert cells[3]["geometry"]["coordinates"][0][0] == [X + WIDTH / 2, Y + HEIGHT / 2]


def test_cells_of_grad_cam_are_cut_off_at_the_region() -> None:
    """Cells of 32 pixels centred on 0.5, 32.5 and so on: the first reaches from the edge to 16.5 pixels."""
    cam = heat_map([[1.0] * 4] * 3, method="grad-cam", step=(32.0, 32.0), first=(0.5, 0.5))
    found = list(features([explained_region(maps=(cam,))], CLASSES))[1:]
    rings = [feature["geometry"]["coordinates"][0] for feature in found]
    assert len(rings) == 12
    assert rings[0][:3] == [[X, Y], [X + 16.5 * 16, Y], [X + 16.5 * 16, Y + 16.5 * 16]]
    assert max(x for ring in rings for x, _ in ring) == X + WIDTH
    assert max(y for ring in rings for _, y in ring) == Y + HEIGHT


def test_the_outer_cells_reach_the_edges_of_their_region() -> None:
    """Of an image of 96 pixels the last of three cells is centred on 64.5, and goes on to 96 as the map does."""
    prediction = replace(explained_region().prediction, image_width=96, image_height=96)
    cam = heat_map([[1.0] * 3] * 3, method="grad-cam", step=(32.0, 32.0), first=(0.5, 0.5))
    found = features([explained_region(prediction=prediction, maps=(cam,))], CLASSES)
    rings = [feature["geometry"]["coordinates"][0] for feature in found]
    region, cells = rings[0], rings[1:]
    areas = [(ring[2][0] - ring[0][0]) * (ring[2][1] - ring[0][1]) for ring in cells]
    assert sum(areas) == pytest.approx(WIDTH * HEIGHT, rel=1e-4)
    assert cells[-1][2] == region[2]


def test_a_name_of_two_lines_stands_on_one(tmp_path: Path) -> None:
    """QuPath takes no class whose name has a line break, and XML no control character: both are spelled out."""
    names = ("a\nb", "c\x01d")
    write_geojson(tmp_path / "cells.geojson", [explained_region()], names)
    document = json.loads((tmp_path / "cells.geojson").read_bytes())
    properties = document["features"][0]["properties"]
    assert properties["classification"]["name"] == r"a\u000ab"
    assert list(properties["measurements"]) == [r"Probability: a\u000ab", r"Probability: c\u0001d"]
    tifffile = pytest.importorskip("tifffile", reason="tifffile is not installed")
    write_ome_tiff(tmp_path / "a.ome.tif", _picture(classes=names, slide='<"&\x02'), overview())
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as tiff:
        root = ElementTree.fromstring(tiff.ome_metadata or "")
    (image,) = root.iter("{http://www.openmicroscopy.org/Schemas/OME/2016-06}Image")
    assert image.attrib["Name"] == r'<"&\u0002: a\u000ab'


def test_maps_on_one_grid_share_their_cells() -> None:
    """Two classes of one method are two measurements of each cell; another grid has cells of its own."""
    maps = (
        heat_map([[1.0, 2.0]], method="grad-cam", step=(50, 80)),
        heat_map([[0.5, 0.25], [0.125, 8.0]]),
        heat_map([[3.0, 4.0]], method="grad-cam", class_index=1, step=(50, 80)),
    )
    found = [f["properties"]["measurements"] for f in features([explained_region(maps=maps)], CLASSES)][1:]
    assert {"Grad-CAM: one": 1.0, "Grad-CAM: two": 3.0} in found
    assert {"Grad-CAM: one": 2.0, "Grad-CAM: two": 4.0} in found
    assert len(found) == 2 + 4


def test_the_same_regions_give_the_same_bytes(tmp_path: Path) -> None:
    """And a file is one line a feature."""
    regions = [explained_region(index=i, x=100 * i) for i in range(3)]
    for name in ("a", "b"):
        write_geojson(tmp_path / name, regions, CLASSES)
    data = (tmp_path / "a").read_bytes()
    assert data == (tmp_path / "b").read_bytes()
    assert len(data.splitlines()) == 2 + 3 * 5


def test_slideprep_reads_the_regions_and_leaves_the_cells_out(tmp_path: Path) -> None:
    """So a region can be cut out again by the class that was said of it."""
    annotations_io = pytest.importorskip(
        "slideprep.tissue.annotation_files", reason="slideprep is not installed"
    )
    _written(tmp_path)
    read = annotations_io.read_annotations(tmp_path / "cells.geojson")
    (region,) = read.regions
    assert (region.class_name, region.name) == ("one", "region 0")
    assert region.polygons[0].exterior[0] == (X, Y)
    assert any("4 detection objects left out" in note for note in read.notes)


def test_a_file_that_fails_is_not_there(tmp_path: Path) -> None:
    """Neither under its name nor under another, and one that was there before stays."""
    path = tmp_path / "cells.geojson"
    path.write_text("before")
    with pytest.raises(ValueError, match="JSON"):
        write_geojson(path, [explained_region(maps=(heat_map([[float("nan")]]),))], CLASSES)
    assert path.read_text() == "before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["cells.geojson"]


def _picture(**edits: Any) -> SlidePicture:
    prediction = slide_prediction(**edits)
    return SlidePicture(
        prediction=prediction,
        regions=(explained_region(),),
        bundle="student",
        method="occlusion",
        class_index=0,
    )


@pytest.fixture
def ome(tmp_path: Path) -> Path:
    """The file of the slide, at an eighth: a sixteenth would be 250 pixels wide."""
    pytest.importorskip("tifffile", reason="tifffile is not installed")
    write_ome_tiff(tmp_path / "map.ome.tif", _picture(), overview(), opacity=1.0)
    return tmp_path / "map.ome.tif"


def test_the_file_lines_up_with_the_slide(ome: Path) -> None:
    """Its pixels times their size are the slide's extent, and the warm cell lies where it lies on the slide."""
    import tifffile

    with tifffile.TiffFile(ome) as tiff:
        assert tiff.is_ome
        pixels = tiff.series[0].asarray()
        root = ElementTree.fromstring(tiff.ome_metadata or "")
        resolution = tiff.pages[0].tags["XResolution"].value
    (element,) = root.iter("{http://www.openmicroscopy.org/Schemas/OME/2016-06}Pixels")
    size_um = float(element.attrib["PhysicalSizeX"])
    assert element.attrib["PhysicalSizeXUnit"] == element.attrib["PhysicalSizeYUnit"] == "µm"
    assert size_um * pixels.shape[1] == 4000 * 0.25
    assert float(element.attrib["PhysicalSizeY"]) * pixels.shape[0] == 3000 * 0.25
    assert resolution[0] / resolution[1] == pytest.approx(1e4 / size_um)
    factor = round(size_um / 0.25)
    warm = pixels[(Y + HEIGHT * 3 // 4) // factor, (X + WIDTH * 3 // 4) // factor].astype(int)
    assert np.abs(warm - diverging(np.array(1.0))).max() <= 6
    assert pixels[2900 // factor, 100 // factor].min() > 225


def test_the_file_is_tiled_and_has_lower_resolutions(ome: Path) -> None:
    """Tiles of 512 pixels, and halves of the picture down to one tile."""
    import tifffile

    with tifffile.TiffFile(ome) as tiff:
        shapes = [level.shape[:2] for level in tiff.series[0].levels]
        assert {page.tile for page in [tiff.pages[0], *tiff.pages[0].pages]} == {(512, 512)}
        colours = [level.asarray().mean(axis=(0, 1)) for level in tiff.series[0].levels]
    assert shapes == [(1500, 2000), (750, 1000), (375, 500)]
    np.testing.assert_allclose(colours[2], colours[0], atol=1)


def test_openslide_reads_the_same_pixels(ome: Path) -> None:
    """The library that most viewers build on agrees with tifffile on colour."""
    openslide = pytest.importorskip("openslide", reason="openslide-python is not installed")
    import tifffile

    with openslide.OpenSlide(str(ome)) as slide:
        read = np.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB")).astype(int)
    assert np.abs(read - tifffile.imread(ome)).max() <= 2


def test_the_same_picture_gives_the_same_file(ome: Path, tmp_path: Path) -> None:
    """No clock and no random name is in it."""
    write_ome_tiff(tmp_path / "again.ome.tif", _picture(), overview(), opacity=1.0)
    assert (tmp_path / "again.ome.tif").read_bytes() == ome.read_bytes()


def test_the_regions_own_pixels_lie_in_their_place(tmp_path: Path) -> None:
    """Where they are given they hide the overview inside the box, and only there."""
    tifffile = pytest.importorskip("tifffile", reason="tifffile is not installed")
    picture = _picture()
    green = np.full((80, 100, 3), (60, 160, 60), dtype=np.uint8)
    write_ome_tiff(
        tmp_path / "a.ome.tif", picture, overview(), images={0: green}.__getitem__, max_pixels=50_000
    )
    pixels = tifffile.imread(tmp_path / "a.ome.tif").astype(int)
    assert pixels.shape == (188, 250, 3)  # a sixteenth: more would be above 50 000 pixels
    inside, outside = pixels[Y // 16 + 4, X // 16 + 4], pixels[Y // 16 + 4, X // 16 - 4]
    assert np.abs(inside - (60, 160, 60)).max() <= 6
    assert outside.min() > 225


def test_without_an_mpp_no_size_is_claimed(tmp_path: Path) -> None:
    """The file then says nothing of micrometres."""
    tifffile = pytest.importorskip("tifffile", reason="tifffile is not installed")
    write_ome_tiff(tmp_path / "a.ome.tif", _picture(mpp=None), overview())
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as tiff:
        assert "PhysicalSize" not in (tiff.ome_metadata or "")


def test_a_missing_tifffile_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to install, and no file is left."""
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(UsageError, match=r"kdtrain\[slides\]"):
        write_ome_tiff(tmp_path / "a.ome.tif", _picture(), overview())
    assert list(tmp_path.iterdir()) == []
