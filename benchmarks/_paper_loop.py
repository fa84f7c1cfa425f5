"""A bare PyTorch loop in the style of the paper's published code: what one writes without kdtrain.

Image files in a folder, decoded and augmented by Pillow in DataLoader's workers, one image at a time in float32,
gradients accumulated over several; the teacher computes without gradients. Networks and losses are kdtrain's, so that
both do the same arithmetic.
"""

from __future__ import annotations

import json
import tarfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own abbreviation
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2 import functional as tv

from kdtrain.augment import AugmentSettings, Draw, draw
from kdtrain.losses import distillation_loss
from kdtrain.model.resnet import Model, build_model

EPOCHS = 2
"""The first one warms up: workers, caches, the choice of algorithms. It is in no figure."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What an epoch took.

    Attributes:
        samples_per_s: Samples trained on per second.
        wait_share: Part of the time that was spent waiting for samples.
        peak_bytes: Most memory of the GPU; None on a CPU.
    """

    samples_per_s: float
    wait_share: float
    peak_bytes: int | None


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a loop trains.

    Attributes:
        shards: The set.
        files: Its images, one file each, as ``unpack`` leaves them.
        magnification: Of the images of the network that is trained.
        teacher: Run of the frozen teacher of a distillation; None to learn from labels.
        teacher_magnification: Of the teacher's images.
        accumulate: Samples per step.
        workers: Loader processes.
        device: Where to compute.
    """

    shards: Path
    files: Path
    magnification: float
    teacher: Path | None
    teacher_magnification: float
    accumulate: int
    workers: int
    device: torch.device

    @property
    def magnifications(self) -> tuple[float, ...]:
        """Read for every sample."""
        own = (self.magnification,)
        return own if self.teacher is None else (self.teacher_magnification, *own)


def unpack(shards: Path, files: Path) -> Path:
    """The set's images as single files, ``<magnification>x/<class>-<key>.jpg``."""
    for path in sorted(shards.glob("*x/train-*.tar")):
        folder = files / path.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path) as tar:
            label = b""
            for member in tar:
                key, _, field = member.name.partition(".")
                data = tar.extractfile(member)
                assert data is not None
                if field == "cls":
                    label = data.read()
                elif field == "jpg":
                    (folder / f"{label.decode()}-{key}.jpg").write_bytes(data.read())
    return files


class Folder(Dataset[tuple[list[Tensor], int]]):
    """A sample's images, augmented alike and standardised, (3, H, W) float32 each; and its label."""

    def __init__(self, task: Task) -> None:
        statistics = json.loads((task.shards / "index.json").read_text())["statistics"]
        self._folders = [task.files / f"{m:g}x" for m in task.magnifications]
        self._colours = [statistics[f"{m:g}x"] for m in task.magnifications]
        self._names = sorted(path.name for path in self._folders[0].iterdir())

    def __len__(self) -> int:
        """Of an epoch."""
        return len(self._names)

    def __getitem__(self, number: int) -> tuple[list[Tensor], int]:
        """Read, decode and augment one."""
        name = self._names[number]
        drawn = draw(AugmentSettings(), seed=int(torch.randint(2**31, ())), epoch=0, key=name)
        images = [
            _prepared(Image.open(folder / name).convert("RGB"), drawn, colours)
            for folder, colours in zip(self._folders, self._colours, strict=True)
        ]
        return images, int(name.partition("-")[0])


def _prepared(image: Image.Image, drawn: Draw, colours: dict[str, list[float]]) -> Tensor:
    adjust: dict[str, Callable[[Any, float], Any]] = {
        "brightness": tv.adjust_brightness,
        "contrast": tv.adjust_contrast,
        "saturation": tv.adjust_saturation,
        "hue": tv.adjust_hue,
    }
    for operation in drawn.order:
        image = adjust[operation](image, getattr(drawn, operation))
    image = tv.horizontal_flip(image) if drawn.horizontal_flip else image
    image = tv.vertical_flip(image) if drawn.vertical_flip else image
    image = image.rotate(90 * drawn.quarter_turns, expand=True)
    pixels = tv.to_dtype(tv.pil_to_tensor(image), torch.float32, scale=True)
    standard: Tensor = tv.normalize(
        pixels, [m / 255 for m in colours["mean"]], [s / 255 for s in colours["std"]]
    )
    return standard


def run_bare(task: Task) -> Measured:
    """Train for EPOCHS epochs, and measure the last."""
    loader = DataLoader(
        Folder(task),
        batch_size=1,
        shuffle=True,
        num_workers=task.workers,
        persistent_workers=task.workers > 0,
    )
    model, teacher = _model(None, task.device).train(), None
    if task.teacher is not None:
        teacher = _model(task.teacher, task.device).eval()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-4)
    if task.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    for _ in range(EPOCHS):
        measured = _epoch(task, loader, model, teacher, optimizer)
    return measured


def _model(run: Path | None, device: torch.device) -> Model:
    model = build_model("resnet10", n_classes=2, seed=0)
    if run is not None:
        model.load_state_dict(load_file(run / "model.safetensors"))
    return model.to(device)


def _epoch(
    task: Task,
    loader: DataLoader[tuple[list[Tensor], int]],
    model: Model,
    teacher: Model | None,
    optimizer: torch.optim.Optimizer,
) -> Measured:
    began, waited = time.perf_counter(), 0.0
    batches = iter(loader)
    for done in range(1, len(loader) + 1):
        asked = time.perf_counter()
        images, label = next(batches)
        waited += time.perf_counter() - asked
        loss = _loss(model, teacher, [image.to(task.device) for image in images], label.to(task.device))
        (loss / task.accumulate).backward()  # type: ignore[no-untyped-call]
        if done % task.accumulate == 0 or done == len(loader):
            optimizer.step()
            optimizer.zero_grad()
    peak = None
    if task.device.type == "cuda":
        torch.cuda.synchronize()
        peak = torch.cuda.max_memory_allocated()
    took = time.perf_counter() - began
    return Measured(samples_per_s=len(loader) / took, wait_share=waited / took, peak_bytes=peak)


def _loss(model: Model, teacher: Model | None, images: Sequence[Tensor], label: Tensor) -> Tensor:
    feature_map, logits = model(images[-1])
    if teacher is None:
        return F.cross_entropy(logits, label)
    with torch.no_grad():
        taught = teacher(images[0])
    return distillation_loss(
        teacher_map_BCHW=taught.feature_map_BCHW,
        teacher_logits_BK=taught.logits_BK,
        student_map_BCHW=feature_map,
        student_logits_BK=logits,
    ).total
