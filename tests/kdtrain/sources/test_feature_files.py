"""One h5 file in, vectors and boxes out: kdtrain/sources/feature_files.py and patch_sizes.py."""

from __future__ import annotations

import builtins
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from fixtures.features import TRIDENT, vectors_at, write_h5
from kdtrain.errors import UsageError
from kdtrain.sources.feature_files import read_features, require_h5py

COORDS = np.array([[64, 0], [0, 0], [64, 64]])
"""Not in the order of their places."""


def trident(path: Path, **changes: Any) -> Path:
    """Three patches; a dataset or attribute that is None is left out."""
    datasets = {"features": vectors_at(COORDS), "coords": COORDS}
    attributes: dict[str, Any] = dict(TRIDENT)
    for name, value in changes.items():
        (datasets if name in ("features", "coords", "feats", "boxes_level0") else attributes)[name] = value
    kept = {name: value for name, value in datasets.items() if value is not None}
    return write_h5(path, kept, {k: v for k, v in attributes.items() if v is not None and "coords" in kept})


def refused(path: Path, **options: Any) -> str:
    """The words with which a file is refused; its name is among them."""
    with pytest.raises(UsageError) as caught:
        read_features(path, **options)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_tridents_layout_is_read_in_the_order_of_places(tmp_path: Path) -> None:
    """Boxes are coords and patch_size_level0, from the top left on; each vector stays with its place."""
    found = read_features(trident(tmp_path / "a.h5", level0_width=4000, level0_height=3000))
    assert found.boxes_N4.tolist() == [[0, 0, 64, 64], [64, 0, 128, 64], [64, 64, 128, 128]]
    assert found.vectors_NC.tolist() == [[0, 0, 1], [1, 0, 1], [1, 1, 1]]
    assert (found.facts.magnification, found.facts.patch_px, found.facts.level0_size) == (
        10,
        32,
        (4000, 3000),
    )


def test_shuffled_rows_are_the_same_content(tmp_path: Path) -> None:
    """Rows in another order, two patches at one place among them, give the same arrays and the same digest."""
    coords = np.concatenate([COORDS, COORDS[:1]])
    features = np.arange(12, dtype=np.float16).reshape(4, 3)
    order = [3, 1, 0, 2]
    one = read_features(trident(tmp_path / "a.h5", coords=coords, features=features))
    other = read_features(trident(tmp_path / "b.h5", coords=coords[order], features=features[order]))
    assert one.vectors_NC.tobytes() == other.vectors_NC.tobytes()
    assert one.sha256 == other.sha256
    changed = read_features(trident(tmp_path / "c.h5", coords=coords, features=features[order]))
    assert changed.sha256 != one.sha256


@pytest.mark.parametrize("kind", ["<f2", "<f4", "<f8", ">f4"])
def test_every_floating_point_type_is_read(tmp_path: Path, kind: str) -> None:
    """Half, single and double precision, in either order of bytes; the values are theirs."""
    found = read_features(trident(tmp_path / "a.h5", features=vectors_at(COORDS).astype(kind)))
    assert found.vectors_NC[1].tolist() == [1, 0, 1]
    assert found.vectors_NC.dtype.isnative


def test_a_first_axis_of_one_is_no_axis(tmp_path: Path) -> None:
    """Files published for TITAN are (1, N, C) and (1, N, 2)."""
    plain = read_features(trident(tmp_path / "a.h5"))
    boxed = read_features(trident(tmp_path / "b.h5", features=vectors_at(COORDS)[None], coords=COORDS[None]))
    assert boxed.sha256 == plain.sha256


def test_a_slide_without_patches_is_empty(tmp_path: Path) -> None:
    """TRIDENT writes features of shape (0,) for a slide without tissue."""
    empty = trident(tmp_path / "a.h5", features=np.empty(0, np.float32), coords=np.empty((0, 2), np.int64))
    assert read_features(empty).boxes_N4.shape == (0, 4)


def test_clams_patches_say_their_size(tmp_path: Path) -> None:
    """256 px of a level that is downsampled by 4, and by 2 again, are 2048 px on level 0."""
    clam = write_h5(tmp_path / "h5_files" / "a.h5", {"features": vectors_at(COORDS), "coords": COORDS})
    attributes = {"patch_size": 256, "patch_level": 1, "downsample": (4.0, 4.0), "custom_downsample": 2}
    patches = write_h5(tmp_path / "patches" / "a.h5", {"coords": COORDS}, attributes)
    assert read_features(clam, patches=patches).boxes_N4[0].tolist() == [0, 0, 2048, 2048]
    assert read_features(clam, patch_size_level0=512).boxes_N4[0].tolist() == [0, 0, 512, 512]
    assert "add --patch-size-level0" in refused(clam)
    level0 = write_h5(tmp_path / "level0" / "a.h5", {"coords": COORDS}, {"patch_size": 256, "patch_level": 0})
    assert read_features(clam, patches=level0).boxes_N4[0].tolist() == [0, 0, 256, 256]


def test_boxes_beside_are_taken(tmp_path: Path) -> None:
    """Regions are of any size: where a file has boxes_level0, no patch size is needed."""
    boxes = np.array([[64, 0, 200, 30.5], [0, 0, 10, 10], [64, 64, 65, 70]])
    path = trident(tmp_path / "a.h5", boxes_level0=boxes, patch_size_level0=None, patch_size=None)
    assert read_features(path).boxes_N4.tolist() == [boxes[1].tolist(), boxes[0].tolist(), boxes[2].tolist()]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"coords": None}, "has no 'coords'"),
        ({"features": None}, "has no 'features'"),
        ({"features": None, "feats": vectors_at(COORDS)}, "STAMP's layout"),
        ({"features": np.full((3, 3), np.nan, np.float32)}, "3 of 3 feature vectors .* not finite"),
        ({"features": np.array([[1, 2], [np.inf, 0], [1, 1]])}, r"1 of 3 .* \(patch 1 first\)"),
        ({"features": vectors_at(COORDS)[:2]}, "2 features and 3 coords"),
        ({"features": np.ones((3, 3), np.int32)}, "floating-point"),
        ({"features": np.ones((3, 3, 3))}, "one vector a patch"),
        ({"coords": np.ones((3, 3))}, "top left on level 0"),
        ({"coords": np.array([[0, 0], [np.nan, 0], [0, 0]])}, "coords hold values that are not finite"),
        ({"patch_size_level0": 128}, r"is 128, but 32 px at 10x of a slide of 20x are 64 level-0 pixels"),
        ({"patch_size_level0": 0}, "patch_size_level0 is 0, not a number above 0"),
        ({"patch_size_level0": "large"}, "patch_size_level0 is 'large', not a number"),
        ({"boxes_level0": np.zeros((3, 4))}, "ends before it begins"),
        ({"boxes_level0": np.ones((2, 4)) * [0, 0, 1, 1]}, "2 boxes_level0 for 3 coords"),
        ({"boxes_level0": np.ones((3, 3))}, "not .N, 4. numbers"),
    ],
)
def test_what_is_no_layout_is_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    """Each fault has its words, with the file's name."""
    said = refused(trident(tmp_path / "a.h5", **changes))
    assert re.search(words, said), said


def test_a_size_that_contradicts_the_file_is_refused(tmp_path: Path) -> None:
    """Files that say their patch size need no option, and are not overruled by one."""
    assert "says 100" in refused(trident(tmp_path / "a.h5"), patch_size_level0=100)
    assert len(read_features(tmp_path / "a.h5", patch_size_level0=64).boxes_N4) == 3


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    """Cut off, empty, or a text: no trace of h5py is shown."""
    whole = trident(tmp_path / "whole.h5").read_bytes()
    for name, data in (("cut.h5", whole[:2000]), ("empty.h5", b""), ("text.h5", b"no features")):
        (tmp_path / name).write_bytes(data)
        assert "cannot be read as HDF5" in refused(tmp_path / name)


def test_a_file_that_points_into_another_is_refused(tmp_path: Path) -> None:
    """A link to another file's dataset would read what nobody named."""
    trident(tmp_path / "secret.h5")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["features"] = h5py.ExternalLink("secret.h5", "features")
        file["coords"] = COORDS
    assert "points into another file" in refused(tmp_path / "a.h5")


def test_a_stated_size_is_not_allocated(tmp_path: Path) -> None:
    """A kilobyte may state a dataset of terabytes."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("features", shape=(10**9, 4096), dtype="f4", chunks=(1, 4096))
        file["coords"] = COORDS
    assert "more than a slide has" in refused(tmp_path / "a.h5")


def test_a_missing_h5py_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra that brings it is in the message."""
    original = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "h5py":
            raise ImportError(name)
        return original(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match=r"pip install 'kdtrain\[features\]'"):
        require_h5py()
