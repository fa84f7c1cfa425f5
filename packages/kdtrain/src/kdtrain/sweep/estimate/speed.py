"""How fast this machine trains a network: a few seconds of real work at a handful of image sizes.

Time against arithmetic is kept as a curve and not as one rate: small images cost what the calls cost, large ones what
memory allows. Reading, augmentation, the optimizer's step and a checkpoint are timed by themselves.

Left out: several processes, a disk or network slower than this machine's own for shards, and other work on the machine
than there is during the calibration.
"""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own abbreviation
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from kdtrain.augment import apply_batch
from kdtrain.model.flops import gflops_of_sizes
from kdtrain.model.resnet import Model, ModelSpec, build_from
from kdtrain.sweep.estimate.memory import ALL_COLOURS, prepared
from kdtrain.training.checkpoints import CheckpointStore, Record
from kdtrain.training.engine.launch import Launch, pick_device
from kdtrain.training.engine.precision import Autocast
from kdtrain.training.engine.settings import Device, Precision
from kdtrain.training.engine.state import TrainingState, optimizer_state_of, weights_of

SIDES_PX = (32, 96, 288, 864, 2592)
"""Images of the calibration, as far as time allows."""
LONGEST_S = 1.2
"""A step that is expected to take longer is left out; the curve goes on as it began."""
START_S = 9.0
PROCESS_BYTES = 900_000_000
"""Seconds and bytes of a process before its first step: importing PyTorch, torchvision and DeepSpeed (measured: 9 s of
CPU time and 0.92 GB with torch 2.15 and DeepSpeed 0.19.8)."""
CONTEXT_BYTES = 500_000_000
"""GPU memory that CUDA takes for itself; about so much on current GPUs."""

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What things take on one device.

    Attributes:
        device: "cpu", "cuda".
        training: (GFLOPs of a forward pass, seconds of a forward and a backward pass), ascending.
        forward: (GFLOPs, seconds of a forward pass without gradients), ascending.
        teacher: The same of a frozen teacher, which computes channels-last; empty for no difference.
        augment_s_per_mp: Seconds to augment a million pixels.
        reading_s_per_mp: Seconds to decode a million pixels, of one process.
        update_s: Seconds of an optimizer step.
        save_s: Seconds of a checkpoint.
        start_s: From a run's command to its first sample.
        process_bytes: Memory of the device that is taken before any image.
    """

    device: str
    training: Points
    forward: Points
    teacher: Points = ()
    augment_s_per_mp: float = 0.0
    reading_s_per_mp: float = 0.0
    update_s: float = 0.0
    save_s: float = 0.0
    start_s: float = START_S
    process_bytes: int = 0


def seconds_of(points: Points, gflops: NDArray[np.float64]) -> NDArray[np.float64]:
    """Seconds by a curve: straight between points, and on beyond the last; below the first no less than nothing."""
    x, y = np.array(points, dtype=np.float64).T
    assert len(x) > 1
    segment = np.clip(np.searchsorted(x, gflops) - 1, 0, len(x) - 2)
    slope = (y[segment + 1] - y[segment]) / (x[segment + 1] - x[segment])
    seconds: NDArray[np.float64] = np.maximum(y[segment] + slope * (gflops - x[segment]), 0.0)
    return seconds


def measure_speed(
    device: Device, model: ModelSpec, *, precision: Precision = "fp32", image_format: str = "jpeg"
) -> Speed:
    """Time a network on a device, in about three seconds on a CPU.

    Args:
        device: As ``--device``: auto, cpu or cuda.
        model: The network; the arithmetic of another magnification's is the same.
        precision: Precision of its arithmetic.
        image_format: Format of the shards: jpeg, png or webp.

    Raises:
        UsageError: A GPU was asked for and there is none.
    """
    where = pick_device(device, Launch())
    # A feature network takes as long with a classifier, which is what the calibration trains.
    network = build_from(replace(model, n_classes=model.n_classes or 2), seed=0).to(where)
    update_s, save_s = _update_and_save(network, where)
    training, forward, teacher = _curves(network, precision, where)
    pixels = _pixels(512)
    image_BCHW = torch.from_numpy(pixels)[None].permute(0, 3, 1, 2).to(where)
    megapixels = pixels.shape[0] * pixels.shape[1] / 1e6
    encoded = _encoded(pixels, image_format)
    return Speed(
        device=where.type,
        training=training,
        forward=forward,
        teacher=teacher,
        augment_s_per_mp=_median_s(lambda: apply_batch(image_BCHW, [ALL_COLOURS]), where) / megapixels,
        reading_s_per_mp=_median_s(lambda: np.asarray(Image.open(io.BytesIO(encoded))), where) / megapixels,
        update_s=update_s,
        save_s=save_s,
        process_bytes=PROCESS_BYTES if where.type == "cpu" else CONTEXT_BYTES,
    )


def _curves(network: Model, precision: Precision, device: torch.device) -> tuple[Points, Points, Points]:
    frozen = deepcopy(network).requires_grad_(requires_grad=False).to(memory_format=torch.channels_last)
    model, teacher = Autocast(network, precision), Autocast(frozen, precision)
    curves: tuple[list[tuple[float, float]], ...] = ([], [], [])
    gflops = gflops_of_sizes(network.spec, [(side, side) for side in SIDES_PX])
    for side, cost in zip(SIDES_PX, gflops, strict=True):
        training = curves[0]
        # Two points make a line.
        if len(training) > 1 and training[-1][1] * cost / training[-1][0] > LONGEST_S:
            break
        image_BCHW = torch.from_numpy(_pixels(side))[None].permute(0, 3, 1, 2).to(device)
        works = (partial(_train, model), partial(_infer, model), partial(_infer, teacher))
        for curve, work in zip(curves, works, strict=True):
            curve.append((cost, _median_s(partial(work, image_BCHW), device)))
    return tuple(curves[0]), tuple(curves[1]), tuple(curves[2])


def _train(network: nn.Module, image_BCHW: Tensor) -> None:
    _, logits_BK = network(prepared(image_BCHW, augment=False))
    loss = F.cross_entropy(logits_BK, torch.zeros(1, dtype=torch.int64, device=image_BCHW.device))
    loss.backward()  # type: ignore[no-untyped-call]


def _infer(network: nn.Module, image_BCHW: Tensor) -> None:
    with torch.no_grad():
        network(prepared(image_BCHW, augment=False))


def _update_and_save(network: Model, device: torch.device) -> tuple[float, float]:
    parameters = list(network.parameters())
    optimizer = torch.optim.Adam(parameters)
    gradients = [torch.zeros_like(p) for p in parameters]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient

    def update() -> None:
        float(nn.utils.get_total_norm(gradients))
        optimizer.step()

    update_s = _median_s(update, device)
    with tempfile.TemporaryDirectory() as folder:
        store = CheckpointStore(Path(folder), warn=lambda _: None)
        began = time.perf_counter()
        state = TrainingState(
            weights=weights_of(network), optimizer=optimizer_state_of(network, optimizer), step=1
        )
        store.save(state, Record(step=1, epoch=1, position=0, world_size=1))
        return update_s, time.perf_counter() - began


def _pixels(side: int) -> NDArray[np.uint8]:
    """(side, side, 3) of soft spots, which compress as tissue does rather than as noise."""
    spots = np.random.default_rng(0).integers(
        0, 256, (max(1, side // 8), max(1, side // 8), 3), dtype=np.uint8
    )
    return np.array(Image.fromarray(spots).resize((side, side), Image.Resampling.BICUBIC))


def _encoded(pixels: NDArray[np.uint8], image_format: str) -> bytes:
    file = io.BytesIO()
    options = {"quality": 95, "subsampling": 0} if image_format == "jpeg" else {}
    Image.fromarray(pixels).save(file, format=image_format, **options)
    return file.getvalue()


def _median_s(
    work: Callable[[], object], device: torch.device, *, enough_s: float = 0.25, most: int = 15
) -> float:
    """Median seconds of a piece of work: repeated until that takes ``enough_s``, after one for warming up."""
    taken: list[float] = []
    _timed(work, device)
    while not taken or (sum(taken) < enough_s and len(taken) < most):
        taken.append(_timed(work, device))
    return median(taken)


def _timed(work: Callable[[], object], device: torch.device) -> float:
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began
