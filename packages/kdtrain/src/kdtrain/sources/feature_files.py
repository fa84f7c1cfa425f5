"""One h5 file of patch features in, checked vectors and their boxes on level 0 out.

Two layouts, read at their sources:

- TRIDENT (github.com/mahmoodlab/TRIDENT, ``trident/IO.py`` ``coords_to_h5`` and ``trident/wsi_objects/WSI.py``
  ``extract_patch_features``, a91fa84): ``features`` (N, C), ``coords`` (N, 2) integers, the patches' top left corners
  on level 0. Attributes of ``coords``: ``patch_size`` in pixels at ``target_magnification``, ``patch_size_level0``,
  ``level0_magnification``, ``overlap``, ``name``, ``savetodir``, and of late ``level0_width`` and ``level0_height``;
  of ``features``: ``name``, ``encoder``. Files published for TITAN have a first axis of one: (1, N, C), (1, N, 2).
- CLAM (github.com/mahmoodlab/CLAM, ``extract_features_fp.py`` and ``wsi_core/WholeSlideImage.py`` ``process_contour``,
  53e2409): the same two datasets, without attributes. A patch's size is in another file, ``patches/<slide>.h5``, on its
  ``coords``: ``patch_size`` in pixels of ``patch_level``, and that level's ``downsample``; older ones have a
  ``custom_downsample`` beside.

``kdtrain features`` writes TRIDENT's layout with ``boxes_level0`` (N, 4) beside, which is taken where it is there.

Rows may come in any order: they are sorted, so that the same content gives the same bytes in a cache. Frames: level-0
pixels, (x, y) top left. Legend: N patches, C channels.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kdtrain.errors import UsageError
from kdtrain.sources.patch_sizes import AGAIN, Facts, facts_of, side_of
from kdtrain.text import brief, reason_of

if TYPE_CHECKING:
    import h5py

BOXES = "boxes_level0"
MOST_BYTES = 16 * 1024**3
"""Of one dataset: a million patches of 4,096 channels as float32. A file of a kilobyte can state any size."""


@dataclass(frozen=True, kw_only=True)
class SlideFeatures:
    """The patches of a slide, in the order of their places.

    Attributes:
        vectors_NC: (N, C) float16, float32 or float64, finite.
        boxes_N4: (N, 4) float64: left, top, right, bottom in level-0 pixels.
        facts: What else the file says.
        sha256: Of vectors and boxes: the same for the same content, in whatever order and file.
    """

    vectors_NC: NDArray[Any]
    boxes_N4: NDArray[np.float64]
    facts: Facts
    sha256: str


def require_h5py() -> None:
    """Refuse where h5 files cannot be read or written.

    Raises:
        UsageError: h5py is not installed.
    """
    try:
        import h5py  # noqa: F401
    except ImportError:
        raise UsageError(
            "features in h5 files are read and written by h5py, which is not installed; run pip install "
            "'kdtrain[features]'"
        ) from None


def read_features(
    path: Path, *, patch_size_level0: int | None = None, patches: Path | None = None
) -> SlideFeatures:
    """Read one slide's features.

    Args:
        path: The file.
        patch_size_level0: Side of a patch in level-0 pixels, where no file says it.
        patches: CLAM's file of the slide's patches, where the features come from CLAM.

    Raises:
        UsageError: It cannot be read, is none of the layouts, or holds what no vector or place is.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            vectors_NC, coords_N2 = _vectors(path, file), _coords(path, file)
            boxes_N4 = _boxes(path, file) if BOXES in file else None
            attributes = {**_attributes(file["features"]), **_attributes(file["coords"])}
    except (OSError, RuntimeError, KeyError, MemoryError) as error:
        raise UsageError(f"{path} cannot be read as HDF5 ({reason_of(error)}); {AGAIN}") from None
    if len(vectors_NC) != len(coords_N2):
        raise UsageError(
            f"{path} has {len(vectors_NC):,} features and {len(coords_N2):,} coords, and each needs the other; {AGAIN}"
        )
    facts = facts_of(path, attributes)
    if boxes_N4 is None:
        of_patches = {} if patches is None else _patches_attributes(patches)
        side = side_of(path, attributes, facts, given=patch_size_level0, of_patches=of_patches)
        boxes_N4 = np.concatenate([coords_N2, coords_N2 + side], axis=1)
    elif len(boxes_N4) != len(coords_N2):
        raise UsageError(
            f"{path} has {len(boxes_N4):,} {BOXES} for {len(coords_N2):,} coords; write it again"
        )
    return _sorted(vectors_NC, boxes_N4, facts)


def _vectors(path: Path, file: h5py.File) -> NDArray[Any]:
    if "features" not in file and "feats" in file:
        raise UsageError(
            f"{path} is in STAMP's layout ('feats', coordinates in microns), which says no place on level 0; give "
            "features of TRIDENT or CLAM"
        )
    vectors = _dataset(path, file, "features")
    if vectors.ndim != 2 and vectors.size == 0:  # TRIDENT's for a slide without tissue
        vectors = vectors.reshape(0, 0)
    if vectors.dtype.kind != "f" or vectors.dtype.itemsize > 8 or vectors.ndim != 2:
        raise UsageError(
            f"{path}: features are {vectors.shape} {vectors.dtype}, and (N, C) or (1, N, C) floating-point numbers are "
            f"wanted, one vector a patch; {AGAIN}"
        )
    bad = ~np.isfinite(vectors).all(axis=1)
    if bad.any():
        raise UsageError(
            f"{path}: {int(bad.sum()):,} of {len(vectors):,} feature vectors hold values that are not finite (patch "
            f"{int(bad.argmax())} first), of which no student can learn; extract them again in float32"
        )
    return vectors.astype(vectors.dtype.newbyteorder("="))


def _coords(path: Path, file: h5py.File) -> NDArray[np.float64]:
    coords = _dataset(path, file, "coords")
    if coords.size == 0:
        coords = coords.reshape(0, 2)
    if coords.dtype.kind not in "iuf" or coords.ndim != 2 or coords.shape[1] != 2:
        raise UsageError(
            f"{path}: coords are {coords.shape} {coords.dtype}, and (N, 2) numbers are wanted, each patch's (x, y) top "
            f"left on level 0; {AGAIN}"
        )
    return _places(path, coords, "coords")


def _boxes(path: Path, file: h5py.File) -> NDArray[np.float64]:
    boxes = _dataset(path, file, BOXES)
    if boxes.size == 0:
        boxes = boxes.reshape(0, 4)
    if boxes.dtype.kind not in "iuf" or boxes.ndim != 2 or boxes.shape[1] != 4:
        raise UsageError(
            f"{path}: {BOXES} are {boxes.shape} {boxes.dtype}, not (N, 4) numbers; write it again"
        )
    found = _places(path, boxes, BOXES)
    if not (found[:, 2:] > found[:, :2]).all():
        raise UsageError(f"{path}: {BOXES} holds a box that ends before it begins; write it again")
    return found


def _places(path: Path, numbers: NDArray[Any], name: str) -> NDArray[np.float64]:
    found: NDArray[np.float64] = numbers.astype(np.float64)
    if not np.isfinite(found).all():
        raise UsageError(f"{path}: {name} hold values that are not finite; {AGAIN}")
    return found


def _dataset(path: Path, file: h5py.File, name: str) -> NDArray[Any]:
    """A dataset that lies in the file itself, without the first axis of one that some have."""
    import h5py

    found = file.get(name)
    if not isinstance(found, h5py.Dataset):
        there = ", ".join(sorted(map(str, file))[:8]) or "nothing"
        raise UsageError(
            f"{path} has no '{name}', and holds {brief(there)}; features come as 'features' (N, C) and their places as "
            "'coords' (N, 2), as TRIDENT and CLAM write them"
        )
    linked = not isinstance(file.get(name, getlink=True), h5py.HardLink)
    if linked or found.is_virtual or found.external:
        raise UsageError(f"{path}: '{name}' points into another file; give files that stand alone")
    if found.nbytes > MOST_BYTES:
        raise UsageError(
            f"{path}: '{name}' states {found.shape} numbers, {found.nbytes / 1e9:,.0f} GB, more than a slide has "
            f"(at most {MOST_BYTES / 1e9:.0f} GB); {AGAIN}"
        )
    data: NDArray[Any] = np.asarray(found[()])
    return data[0] if data.ndim == 3 and len(data) == 1 else data


def _attributes(dataset: h5py.Dataset) -> dict[str, Any]:
    found = {}
    for name in dataset.attrs:
        try:
            found[name] = dataset.attrs[name]
        except (OSError, TypeError):  # of a kind that NumPy has not; none that is asked for is
            continue
    return found


def _patches_attributes(path: Path) -> dict[str, Any]:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return _attributes(file["coords"])
    except (OSError, KeyError, RuntimeError) as error:
        raise UsageError(
            f"{path} cannot be read as CLAM's patches ({reason_of(error)}); give the folder 'patches' that CLAM's "
            "create_patches_fp.py wrote"
        ) from None


def _sorted(vectors_NC: NDArray[Any], boxes_N4: NDArray[np.float64], facts: Facts) -> SlideFeatures:
    """In the order of their places from the top left; patches at one place by their vectors."""
    order = np.lexsort(boxes_N4.T[[2, 3, 0, 1]])
    boxes = np.ascontiguousarray(boxes_N4[order])
    same = (boxes[1:] == boxes[:-1]).all(axis=1)
    for first, last in _runs(same):
        order[first:last] = sorted(order[first:last], key=lambda row: vectors_NC[row].tobytes())
    vectors = np.ascontiguousarray(vectors_NC[order])
    digest = hashlib.sha256(json.dumps([vectors.shape, vectors.dtype.name], allow_nan=False).encode())
    little = (array.astype(array.dtype.newbyteorder("<"), copy=False) for array in (boxes, vectors))
    for array in little:
        digest.update(array.reshape(-1).view(np.uint8).data)  # as it lies: a slide may take gigabytes
    return SlideFeatures(vectors_NC=vectors, boxes_N4=boxes, facts=facts, sha256=digest.hexdigest())


def _runs(same: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Spans [first, last) of rows whose neighbours are the same."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]]).astype(np.int8)))
    return [(int(first), int(last) + 1) for first, last in edges.reshape(-1, 2)]
