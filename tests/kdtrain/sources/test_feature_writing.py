"""Files for other tools: kdtrain/sources/feature_writing.py."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from kdtrain.errors import UsageError
from kdtrain.sources.feature_files import read_features
from kdtrain.sources.feature_writing import SlideVectors, file_name, write_vectors

CORNERS = np.array([[0.0, 0.0], [64.0, 0.0], [0.0, 64.0]])
CELLS = SlideVectors(
    slide="case7.svs",
    encoder="resnet10 at 2.5x, 0123456789ab",
    vectors_NC=np.array([[1, 2], [3, 4], [5, 6.5]], dtype=np.float32),
    boxes_N4=np.concatenate([CORNERS, CORNERS + 64], axis=1),
    magnification=2.5,
    patch_px=8,
    factor=8.0,
    level0_size=(4000, 3000),
    mpp=0.5,
)


def test_tridents_readers_find_what_they_ask_for(tmp_path: Path) -> None:
    """Datasets and attributes by the names and types that TRIDENT's own code asks for; and CLAM's two datasets."""
    write_vectors(tmp_path / "case7.h5", CELLS, "trident", "float32")
    with h5py.File(tmp_path / "case7.h5") as file:
        assert sorted(file) == ["coords", "features"]
        assert file["features"][:].tolist() == [[1, 2], [3, 4], [5, 6.5]]
        assert file["coords"][:].tolist() == [[0, 0], [64, 0], [0, 64]]
        assert (file["features"].dtype, file["coords"].dtype) == (np.float32, np.int64)
        said = {
            name: value.item() if hasattr(value, "item") else value
            for name, value in file["coords"].attrs.items()
        }
    assert said == {
        "patch_size": 8,
        "patch_size_level0": 64,
        "level0_magnification": 20,
        "target_magnification": 2.5,
        "overlap": 0,
        "name": "case7",
        "level0_width": 4000,
        "level0_height": 3000,
    }
    # TRIDENT computes the side on level 0 anew from the others, and TITAN takes it as a whole number.
    assert said["patch_size"] * said["level0_magnification"] // said["target_magnification"] == 64


def test_regions_have_no_patch_size_but_boxes(tmp_path: Path) -> None:
    """They are of any size: no attribute says otherwise, and every box lies beside."""
    boxes = np.array([[0, 0, 512, 300.5], [600, 10, 900, 310], [0, 500, 64, 564]])
    regions = replace(CELLS, patch_px=None, boxes_N4=boxes)
    write_vectors(tmp_path / "case7.h5", regions, "trident", "float32")
    with h5py.File(tmp_path / "case7.h5") as file:
        assert not {"patch_size", "patch_size_level0"} & set(file["coords"].attrs)
        assert file["boxes_level0"][:].tolist() == boxes.tolist()
    assert sorted(read_features(tmp_path / "case7.h5").boxes_N4.tolist()) == sorted(boxes.tolist())


def test_places_between_pixels_are_kept_beside_the_rounded_ones(tmp_path: Path) -> None:
    """A factor that is no whole number: coords and the size are rounded, and boxes_level0 says where exactly."""
    corners = CORNERS * 1.01 + 3.3
    cells = replace(CELLS, factor=8.08, boxes_N4=np.concatenate([corners, corners + 64.64], axis=1))
    write_vectors(tmp_path / "case7.h5", cells, "trident", "float32")
    with h5py.File(tmp_path / "case7.h5") as file:
        assert file["coords"][:].tolist() == [[3, 3], [68, 3], [3, 68]]
        assert file["coords"].attrs["patch_size_level0"] == 65
    found = read_features(tmp_path / "case7.h5")
    assert found.boxes_N4[0].tolist() == pytest.approx([3.3, 3.3, 67.94, 67.94])


def test_stamps_readers_find_microns(tmp_path: Path) -> None:
    """'feats', top left corners and the tile's side in microns, and the side in pixels: 64 px of 0.5 are 32."""
    write_vectors(tmp_path / "case7.h5", CELLS, "stamp", "float16")
    with h5py.File(tmp_path / "case7.h5") as file:
        assert file["feats"][:].tolist() == [[1, 2], [3, 4], [5, 6.5]]
        assert file["feats"].dtype == np.float16
        assert file["coords"][:].tolist() == [[0, 0], [32, 0], [0, 32]]
        said = dict(file.attrs)
    assert (said["unit"], said["feat_type"], said["tile_size_um"], said["tile_size_px"]) == (
        "um",
        "tile",
        32,
        8,
    )
    assert said["extractor"]


def test_stamp_needs_microns(tmp_path: Path) -> None:
    """Of a slide that has none it cannot be written, and nothing is."""
    with pytest.raises(UsageError, match=r"'case7\.svs' has no mpp"):
        write_vectors(tmp_path / "case7.h5", replace(CELLS, mpp=None), "stamp", "float32")
    assert not list(tmp_path.iterdir())


def test_half_precision_refuses_what_it_cannot_hold(tmp_path: Path) -> None:
    """70,000 is beyond float16; nothing is written as infinite."""
    large = replace(CELLS, vectors_NC=CELLS.vectors_NC * 20_000)
    with pytest.raises(UsageError, match="reach 130000, and --dtype float16 holds up to 65504"):
        write_vectors(tmp_path / "case7.h5", large, "trident", "float16")


def test_the_same_vectors_are_the_same_bytes(tmp_path: Path) -> None:
    """A file has no time and no folder in it."""
    for name in ("one", "other"):
        write_vectors(tmp_path / name / "case7.h5", CELLS, "trident", "float16")
    one, other = ((tmp_path / name / "case7.h5").read_bytes() for name in ("one", "other"))
    assert one == other


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    """The reader of TRIDENT's layout finds the vectors at their places."""
    write_vectors(tmp_path / "case7.h5", CELLS, "trident", "float32")
    found = read_features(tmp_path / "case7.h5")
    order = [0, 1, 2]
    assert found.boxes_N4.tolist() == CELLS.boxes_N4[order].tolist()
    assert found.vectors_NC.tolist() == CELLS.vectors_NC[order].tolist()
    assert (found.facts.encoder, found.facts.magnification) == (CELLS.encoder, 2.5)


@pytest.mark.parametrize(
    "slide", ["../up.svs", "a/b.svs", "..", ".hidden.svs", "a\0b.svs", "x" * 300 + ".svs"]
)
def test_a_name_that_leads_elsewhere_is_no_file(slide: str) -> None:
    """A set may come from anyone, and a slide's name becomes a file's."""
    with pytest.raises(ValueError, match="slide '"):
        file_name(slide)


def test_files_are_called_as_trident_calls_them() -> None:
    """The slide's name without its suffix."""
    assert [file_name(name) for name in ("a.svs", "a.ome.tif", "1.2.840")] == ["a.h5", "a.h5", "1.2.840.h5"]
