"""What WSInfer asks of a model beside its weights: ``config.json``, and which tiles it will be shown. Pure.

WSInfer (Kaczmarzyk et al. 2024, Open and reusable deep learning for pathology with WSInfer and QuPath, npj Precision
Oncology 8) and QuPath's extension of that name cut a slide into square tiles of ``patch_size_pixels`` at
``spacing_um_px``, resize, standardise, and take the softmax of the one tensor that the model gives. The seven keys are
those of version 1.0 of the model zoo's schema (``model-config.schema.json`` of wsinfer-zoo).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from kdtrain.errors import UsageError
from kdtrain.model.network import Network
from kdtrain.model.output_stride import median_shorter_side
from kdtrain.model.resnet import MIN_SIDE_PX

CONFIG_FILE = "config.json"
TORCHSCRIPT_FILE = "torchscript_model.pt"
"""The names by which both programs look for them."""
SPEC_VERSION = "1.0"
_DIGITS = 6
"""Significant ones of the spacing: more would be the noise of scanners' headers."""


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """Which tiles the network will be shown.

    Attributes:
        patch_px: Side of a tile as the network sees it; a multiple of its output stride.
        spacing_um: Microns per pixel of it.
        spacing_min_um: The same of the training image with the smallest pixels.
        spacing_max_um: And with the largest.
    """

    patch_px: int
    spacing_um: float
    spacing_min_um: float
    spacing_max_um: float


def tiling_of(
    sizes: Sequence[tuple[int, int]], spacings_um: Sequence[float | None], stride: int, *, run: str
) -> Tiling:
    """The tiles that are most like the training images: as large as their shorter side, at their median spacing.

    Args:
        sizes: (width, height) of the training images, pixels; one or more.
        spacings_um: Microns per pixel of training images; None where the slide did not say.
        stride: The network's output stride.
        run: What is exported, for messages.

    Raises:
        UsageError: No slide said how large its pixels are.
    """
    known = [one for one in spacings_um if one is not None]
    if not known:
        raise UsageError(
            f"RUN {run} was trained on slides that carry no mpp, and WSInfer finds its tiles by microns per pixel, so "
            "nobody could know what it would be shown; build the set with --mpp or the column 'mpp' of labels.csv, "
            "train again and export that"
        )
    least = math.ceil(MIN_SIDE_PX / stride) * stride
    return Tiling(
        patch_px=max(least, median_shorter_side(sizes) // stride * stride),
        spacing_um=float(f"{median(known):.{_DIGITS}g}"),
        spacing_min_um=float(f"{min(known):.{_DIGITS}g}"),
        spacing_max_um=float(f"{max(known):.{_DIGITS}g}"),
    )


def config_bytes(network: Network, tiling: Tiling) -> bytes:
    """The content of config.json: the same for the same arguments.

    Means and deviations are in 0 to 1, since ``ToTensor`` makes grey levels so before they are subtracted.
    """
    scaled = {name: [level / 255 for level in getattr(network, name)] for name in ("mean", "std")}
    content = {
        "spec_version": SPEC_VERSION,
        "architecture": network.model,
        "num_classes": len(network.classes),
        "class_names": list(network.classes),
        "patch_size_pixels": tiling.patch_px,
        "spacing_um_px": tiling.spacing_um,
        "transform": [
            {"name": "Resize", "arguments": {"size": tiling.patch_px}},
            {"name": "ToTensor"},
            {"name": "Normalize", "arguments": scaled},
        ],
    }
    return (json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def tile_starts(side_px: int, patch_px: int) -> list[int]:
    """Where tiles of an image begin along a side: as few as cover it, evenly spaced, none beyond it.

    They overlap where the side is no multiple. An image smaller than a tile has one that begins at 0.
    """
    count = math.ceil(side_px / patch_px)
    slack = max(0, side_px - patch_px)
    return [round(number * slack / (count - 1)) for number in range(count)] if count > 1 else [0]
