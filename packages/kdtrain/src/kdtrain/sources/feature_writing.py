"""Vectors and their boxes on level 0 in, one h5 file a slide out, in the layouts that other tools read.

- ``trident``: what :mod:`kdtrain.sources.feature_files` reads, and with TRIDENT, CLAM (``load_from_h5``) and the slide
  encoders behind TRIDENT, TITAN among them: ``features`` (N, C), ``coords`` (N, 2) int64. A cell of a feature map is a
  patch, and ``patch_size_level0`` its side. Regions have no common side, so of their vectors that attribute is left
  out: a tool that needs it stops, where it would put regions onto a grid that they do not lie on. ``boxes_level0``
  (N, 4) float64 says exactly where each vector is from, wherever ``coords`` and a whole number of pixels do not.
- ``stamp``: STAMP's (github.com/KatherLab/STAMP, ``src/stamp/modeling/data.py`` ``get_coords``, c54ce06): ``feats``
  (N, C), ``coords`` (N, 2) in microns, and on the file ``unit``, ``tile_size_um``, ``tile_size_px``, ``extractor`` and
  ``feat_type``.

The same content gives the same bytes: h5py writes no times. ``savetodir``, which TRIDENT also writes and nothing reads,
would name a folder of this machine, and is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kdtrain.errors import UsageError
from kdtrain.files import open_atomically
from kdtrain.sources.feature_files import BOXES
from kdtrain.sources.feature_names import SUFFIX, slide_stem

Layout = Literal["trident", "stamp"]
Kind = Literal["float32", "float16"]
_LONGEST_BYTES = 240


@dataclass(frozen=True, kw_only=True)
class SlideVectors:
    """What is written of a slide.

    Attributes:
        slide: Its name.
        encoder: Name of what computed the vectors.
        vectors_NC: (N, C) float32.
        boxes_N4: (N, 4) float64: left, top, right, bottom in level-0 pixels.
        magnification: Of the images that the network saw.
        patch_px: Side of a patch in pixels of these images; None where vectors are of regions of any size.
        factor: Level-0 pixels per pixel of these images.
        level0_size: (width, height) of the slide's full resolution.
        mpp: Microns per level-0 pixel, or None.
    """

    slide: str
    encoder: str
    vectors_NC: NDArray[np.float32]
    boxes_N4: NDArray[np.float64]
    magnification: float
    patch_px: int | None
    factor: float
    level0_size: tuple[int, int]
    mpp: float | None

    @property
    def side_l0(self) -> float | None:
        """Side of a patch in level-0 pixels."""
        return None if self.patch_px is None else self.patch_px * self.factor


def file_name(slide: str) -> str:
    """How a slide's file is called.

    Raises:
        ValueError: The slide's name is none that a file may have; says why.
    """
    stem = slide_stem(slide)
    if stem in ("", ".", "..") or any(c in "/\\\0" for c in stem) or stem.startswith("."):
        raise ValueError(
            f"slide '{slide}' has a name that no file of a folder can have; build the set with other names"
        )
    if len(stem.encode(errors="surrogateescape")) > _LONGEST_BYTES:
        raise ValueError(
            f"slide '{slide[:40]}...' has a name of more than {_LONGEST_BYTES} bytes; shorten it"
        )
    return stem + SUFFIX


def write_vectors(path: Path, vectors: SlideVectors, layout: Layout, kind: Kind) -> None:
    """Write a slide's file whole or not at all.

    Args:
        path: The file.
        vectors: What it holds.
        layout: Whose layout.
        kind: Of the vectors.

    Raises:
        UsageError: The layout cannot say it: STAMP's needs microns.
    """
    import h5py

    features_NC = _rounded(vectors, kind)
    datasets, attributes = (_stamp if layout == "stamp" else _trident)(vectors)
    name = "feats" if layout == "stamp" else "features"
    with open_atomically(path) as target, h5py.File(target, "w") as file:
        file.create_dataset(name, data=features_NC)
        for dataset, data in datasets.items():
            file.create_dataset(dataset, data=data)
        for where, of_it in attributes.items():
            (file if where == "/" else file[where]).attrs.update(of_it)


def _rounded(vectors: SlideVectors, kind: Kind) -> NDArray[Any]:
    largest = float(np.finfo(kind).max)
    peak = float(np.abs(vectors.vectors_NC).max(initial=0.0))
    if peak > largest:
        raise UsageError(
            f"slide '{vectors.slide}': vectors reach {peak:g}, and --dtype {kind} holds up to {largest:g}; take float32"
        )
    return vectors.vectors_NC.astype(kind)


def _trident(vectors: SlideVectors) -> tuple[dict[str, NDArray[Any]], Mapping[str, dict[str, Any]]]:
    stem, side_l0 = slide_stem(vectors.slide), vectors.side_l0
    datasets: dict[str, NDArray[Any]] = {"coords": np.rint(vectors.boxes_N4[:, :2]).astype(np.int64)}
    coords: dict[str, Any] = {
        "level0_magnification": _plain(vectors.factor * vectors.magnification),
        "target_magnification": _plain(vectors.magnification),
        "overlap": 0,
        "name": stem,
        "level0_width": vectors.level0_size[0],
        "level0_height": vectors.level0_size[1],
    }
    if side_l0 is not None and vectors.patch_px is not None:
        coords |= {"patch_size": vectors.patch_px, "patch_size_level0": max(1, round(side_l0))}
    exact = (
        side_l0 is not None
        and side_l0.is_integer()
        and np.array_equal(datasets["coords"], vectors.boxes_N4[:, :2])
    )
    if not exact:
        datasets[BOXES] = vectors.boxes_N4
    return datasets, {"features": {"name": stem, "encoder": vectors.encoder}, "coords": coords}


def _stamp(vectors: SlideVectors) -> tuple[dict[str, NDArray[Any]], Mapping[str, dict[str, Any]]]:
    side_l0 = vectors.side_l0
    assert side_l0 is not None, "whoever calls this has cells"
    if vectors.mpp is None:
        raise UsageError(
            f"slide '{vectors.slide}' has no mpp, and STAMP's coordinates are in microns; pass --mpp, or take --layout "
            "trident"
        )
    coords = (vectors.boxes_N4[:, :2] * vectors.mpp).astype(np.float32)
    return {"coords": coords}, {
        "/": {
            "extractor": vectors.encoder,
            "unit": "um",
            "tile_size_um": side_l0 * vectors.mpp,
            "tile_size_px": vectors.patch_px,
            "feat_type": "tile",
        }
    }


def _plain(number: float) -> float | int:
    """A whole number as one: TRIDENT's magnifications are."""
    return int(number) if float(number).is_integer() else number
