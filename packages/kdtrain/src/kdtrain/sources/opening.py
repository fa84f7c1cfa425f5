"""``--from`` in, the teacher that it names out, opened and tried: an ONNX file or a function of Python.

Features on disk are opened by :mod:`kdtrain.sources.features`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from kdtrain.config.phases import CacheTeacherConfig
from kdtrain.errors import UsageError
from kdtrain.shards.index import Index
from kdtrain.shards.models import magnification_name
from kdtrain.sources.callable import NAMED, CallableTiles
from kdtrain.sources.onnx import OnnxTiles
from kdtrain.sources.settings import TileSettings
from kdtrain.sources.slide_regions import SlideRegions
from kdtrain.sources.tiled import RegionImages, SetImages, TiledSource, TileNetwork

_FEATURES = (".h5", ".hdf5")
_WEIGHTS = (".pt", ".pth", ".ckpt", ".safetensors")


def open_tiled(
    config: CacheTeacherConfig,
    index: Index,
    *,
    output_stride: int,
    device: torch.device,
    known_probe: Sequence[float] | None = None,
) -> TiledSource:
    """A teacher that looks at tiles.

    Args:
        config: Settings of the cache.
        index: The shard set.
        output_stride: Of the student.
        device: Where to compute.
        known_probe: What a function said when the cache was begun, where it was.

    Raises:
        UsageError: There is no such teacher, it cannot be used, or its options do not go together.
        ShardError: The set lacks the magnification.
    """
    refuse_other_files(config.from_ or "")
    if config.teacher_magnification is None:
        raise UsageError(
            f"--teacher-magnification is missing: what {config.from_} looks at, such as 20, which its authors say"
        )
    images = _images(config, index, config.teacher_magnification)
    classes = tuple(index.document.classes)
    return TiledSource(
        _network(config, TileSettings.of(config, classes), device, known_probe),
        images,
        magnification=config.teacher_magnification,
        output_stride=output_stride,
        classes=classes,
        device=device,
        micro_batch=config.micro_batch,
    )


def refuse_other_files(given: str) -> None:
    """Refuse, by UsageError, a file of another kind than ONNX, with how what it holds is given."""
    named, _, function = given.partition(":")
    path = Path(named)
    suffix = path.suffix.lower()
    if suffix == ".py" and path.is_file():
        raise UsageError(
            f"--from {given}: a function of Python is given as module:function; give --from "
            f"{path.stem}:{function or 'FUNCTION'}, and run kdtrain in {path.absolute().parent}"
        )
    if suffix in _FEATURES and path.is_file():
        raise UsageError(
            f"--from {given} is one file of features; give the folder that holds one a slide: --from {path.parent}"
        )
    if suffix in _WEIGHTS and path.is_file():
        raise UsageError(
            f"--from {given} holds weights of PyTorch, which are asked by code of yours; write a function that loads "
            "them, and give it as module:function"
        )


def _network(
    config: CacheTeacherConfig,
    settings: TileSettings,
    device: torch.device,
    known_probe: Sequence[float] | None,
) -> TileNetwork:
    given = config.from_
    assert given is not None, "whoever calls this has a teacher that is no run"
    path = Path(given)
    if path.suffix.lower() == ".onnx" or path.is_file():
        return OnnxTiles(path, settings, device, strict=config.device == "cuda")
    if NAMED.fullmatch(given):
        return CallableTiles(given, settings, device, known=known_probe)
    raise UsageError(
        f"--from {given} is no teacher; give an ONNX file, module:function of Python, or a folder of h5 files with "
        "features"
    )


def _images(config: CacheTeacherConfig, index: Index, magnification: float) -> RegionImages:
    """Of the set where it has the magnification, else of the slides."""
    if config.slides is not None:
        return SlideRegions(
            config.slides,
            index.document.config,
            magnification=magnification,
            compared=config.magnification,
            annotations=config.annotations,
        )
    if magnification not in index.document.magnifications:
        there = ", ".join(map(magnification_name, index.document.magnifications))
        raise UsageError(
            f"--teacher-magnification {magnification:g}: the set has {there}; give the folder of its slides by "
            "--slides, to read their regions at that magnification, or build the set with it"
        )
    return SetImages(magnification)
