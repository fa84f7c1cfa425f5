"""A teacher that is an ONNX file: the file in, a network that is asked of tiles out, by ONNX Runtime.

Any graph with one image as its input, (N, 3, H, W) or (N, H, W, 3) of float32, float16 or uint8; N, H and W fixed or
free. Which of its outputs are vectors and which are logits is found by their shapes, once it was tried on a picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kdtrain.errors import UsageError
from kdtrain.sources.onnx_file import content_of
from kdtrain.sources.onnx_ports import ImageInput, Kind, choose_outputs, image_input
from kdtrain.sources.outputs import OutputError, Said, said
from kdtrain.sources.pixels import TilePixels
from kdtrain.sources.settings import TileSettings
from kdtrain.sources.tiled import probe_tile
from kdtrain.sources.tiles import TilePlan
from kdtrain.text import brief, reason_of

_NOTHING = 4
"""Its own lines on standard error, below what ends the process: errors come as exceptions, and a line would hold names
out of the graph as they are."""


class OnnxTiles:
    """See :class:`kdtrain.sources.tiled.TileNetwork`.

    Args:
        path: The ONNX file.
        settings: What it does not say of itself.
        device: Where to compute; a GPU needs an ONNX Runtime that has one.
        strict: Whether the device was asked for, so that another is none.

    Raises:
        UsageError: It is none, cannot be computed, or gives nothing that can be laid.
    """

    kind: Literal["onnx"] = "onnx"

    def __init__(self, path: Path, settings: TileSettings, device: torch.device, *, strict: bool) -> None:
        if settings.precision != "fp32":
            raise UsageError(
                f"--precision {settings.precision}: an ONNX file computes in the types that it was written with; leave "
                "the option out, or export the network in that type"
            )
        self.name = path.name
        self.sha256 = content_of(path)
        self._path = path
        self._session = _session(path, device, strict=strict)
        self._input = image_input(
            [(each.name, each.type, tuple(each.shape)) for each in self._session.get_inputs()], path
        )
        self._extra = settings.extra
        self._classes = len(settings.classes) or None
        self.plan = _plan(self._input, settings, path)
        self._pixels = _pixels(self._input.kind, settings)
        self._outputs: tuple[str, ...] = tuple(each.name for each in self._session.get_outputs())
        self._features, self._logits, self.channels = self._tried(settings)
        self.gives_logits = self._logits is not None
        self.settings: dict[str, Any] = {
            **self.plan.record,
            **self._pixels.record,
            "features_output": self._features,
            "logits_output": self._logits,
            "extra_tokens": settings.extra,
        }

    def say(self, tiles_BCHW: Tensor) -> Said:
        """See :meth:`kdtrain.sources.tiled.TileNetwork.say`."""
        wanted = [self._features] if self._logits is None else [self._features, self._logits]
        vectors, *logits = self._run(wanted, tiles_BCHW)
        return self._read(vectors, logits[0] if logits else None, tiles_BCHW)

    def _tried(self, settings: TileSettings) -> tuple[str, str | None, int]:
        """Outputs that hold vectors and logits, and the vectors' channels, once it was asked about a picture."""
        tiles = probe_tile(self.plan)
        try:
            given = dict(zip(self._outputs, self._run(self._outputs, tiles), strict=True))
            features, logits = choose_outputs(given, settings)
            answer = self._read(given[features], None if logits is None else given[logits], tiles)
        except OutputError as error:
            raise UsageError(
                f"--from {self._path} {error}, tried on a tile of {tiles.shape[3]} x {tiles.shape[2]} px; give "
                "--tile-px as it wants it, name its outputs by --features-output and --logits-output, or export it "
                "otherwise"
            ) from None
        return features, logits, answer.map_BChw.shape[1]

    def _read(self, vectors: Tensor, logits: Tensor | None, tiles_BCHW: Tensor) -> Said:
        tile = (tiles_BCHW.shape[2], tiles_BCHW.shape[3])
        return said(
            vectors, logits, tile=tile, tiles=len(tiles_BCHW), extra=self._extra, classes=self._classes
        )

    def _run(self, outputs: Sequence[str], tiles_BCHW: Tensor) -> list[Tensor]:
        """Outputs of all tiles, in batches of N where N is fixed; the last is filled up, and cut again."""
        batch = self._input.tiles or len(tiles_BCHW)
        parts = [
            self._infer(outputs, tiles_BCHW[i : i + batch], batch) for i in range(0, len(tiles_BCHW), batch)
        ]
        return [torch.cat(part) for part in zip(*parts, strict=True)]

    def _infer(self, outputs: Sequence[str], tiles_BCHW: Tensor, batch: int) -> list[Tensor]:
        lacking = batch - len(tiles_BCHW)
        filled = (
            torch.cat([tiles_BCHW, tiles_BCHW[-1:].expand(lacking, -1, -1, -1)]) if lacking else tiles_BCHW
        )
        pixels = self._pixels.of(filled.cpu())
        pixels = pixels.permute(0, 2, 3, 1) if self._input.channels_last else pixels
        try:
            given = self._session.run(list(outputs), {self._input.name: np.ascontiguousarray(pixels.numpy())})
        except Exception as error:  # noqa: BLE001 - ONNX Runtime has an error type of its own per fault
            # Of memory it has none: std::bad_alloc, or an allocator's words.
            if "alloc" in str(error):
                raise OutputError(
                    "finds too little memory, and --micro-batch 1 or a smaller --tile-px take less"
                ) from None
            raise OutputError(f"cannot be computed ({reason_of(error)})") from None
        return [_tensor(name, value)[: len(tiles_BCHW)] for name, value in zip(outputs, given, strict=True)]


def _tensor(name: str, value: Any) -> Tensor:
    if not isinstance(value, np.ndarray) or not (value.dtype.kind in "fiub" and value.ndim):
        kind = value.dtype if isinstance(value, np.ndarray) else type(value).__name__
        raise OutputError(f"gives {brief(name)} of {kind}, which is no tensor of numbers")
    array: NDArray[Any] = value
    return torch.from_numpy(array)


def _session(path: Path, device: torch.device, *, strict: bool) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = _NOTHING
    # As many as PyTorch takes: OMP_NUM_THREADS, and the share that a launcher gives to each of its processes.
    options.intra_op_num_threads = torch.get_num_threads()
    options.use_deterministic_compute = True
    # Regions may differ in size: a plan of memory made for one would be of no use for the next.
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers: list[Any] = ["CPUExecutionProvider"]
    if device.type == "cuda":
        if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            # Else it tries the fastest of several ways to convolve, which differ in their last digits.
            choice = {"device_id": device.index or 0, "cudnn_conv_algo_search": "DEFAULT"}
            providers.insert(0, ("CUDAExecutionProvider", choice))
        elif strict:
            raise UsageError(
                "--device cuda: the ONNX Runtime that is installed computes on the CPU alone; pip install "
                "onnxruntime-gpu in its place, or use --device cpu"
            )
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # noqa: BLE001 - ONNX Runtime has an error type of its own per fault
        raise UsageError(
            f"--from {path} cannot be opened by ONNX Runtime ({reason_of(error)}); export it with operators of the "
            "standard: libraries of others are not loaded"
        ) from None


def _plan(image: ImageInput, settings: TileSettings, path: Path) -> TilePlan:
    asked = settings.tile_px
    if asked is None and None in image.size:
        raise UsageError(
            f"--from {path} takes images of any size; give the side of its tiles by --tile-px, or --tile-px region to "
            "show it each region whole, as a fully convolutional network may see it"
        )
    height, width = (fixed or asked or 0 for fixed in image.size)
    if asked is not None and any(fixed not in (None, asked) for fixed in image.size):
        fixed = " x ".join("any" if side is None else str(side) for side in reversed(image.size))
        given = asked or "region"
        raise UsageError(f"--tile-px {given}: {path} takes images of {fixed} px alone; leave --tile-px out")
    return TilePlan.checked(height, width, settings.overlap_px)


def _pixels(kind: Kind, settings: TileSettings) -> TilePixels:
    if kind == "uint8" and (settings.mean or settings.std or settings.levels != 1):
        raise UsageError(
            "--tile-mean, --tile-std and --tile-range are of networks that take floating point numbers, and this one "
            "takes grey levels as they are; leave them out"
        )
    mean, std = settings.standardised
    return TilePixels(kind=kind, mean=mean, std=std, levels=settings.levels)
