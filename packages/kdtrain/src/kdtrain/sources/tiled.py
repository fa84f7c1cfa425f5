"""A network that looks at tiles, as the teacher of a cache: a sample and its draws in, one view a draw out.

Each draw is made of the whole region's image before it is cut, so the teacher sees what the student sees. Its vectors
are laid on the student's map at their places. Its logits of a region are the mean over tiles, each weighted by the area
that it has on the region: what a network says of a whole whose last layers are a mean over places and a linear one.

Legend: B tiles; C channels; H and W rows and columns; K classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from kdtrain.augment import Draw, apply
from kdtrain.data.samples import LoadedSample
from kdtrain.data.teacher_cache.document import SourceEntry
from kdtrain.data.teacher_cache.view import TeacherView, map_size
from kdtrain.errors import TrainingError
from kdtrain.sources.laying import Laying
from kdtrain.sources.outputs import OutputError, Said
from kdtrain.sources.tiles import Tile, TilePlan

PROBE_PX = 256
"""Side of the picture that a network is tried on which takes tiles of any size: a multiple of what most need."""


class TileNetwork(Protocol):
    """A network that was opened and tried.

    Attributes:
        kind: What it is.
        name: As it was asked for.
        sha256: Of its content.
        settings: What else decides what it says.
        plan: How it wants regions cut.
        channels: Of its vectors.
        gives_logits: Whether it says more than vectors.
    """

    @property
    def kind(self) -> Literal["onnx", "callable"]: ...  # noqa: D102

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def sha256(self) -> str: ...  # noqa: D102

    @property
    def settings(self) -> dict[str, Any]: ...  # noqa: D102

    @property
    def plan(self) -> TilePlan: ...  # noqa: D102

    @property
    def channels(self) -> int: ...  # noqa: D102

    @property
    def gives_logits(self) -> bool: ...  # noqa: D102

    def say(self, tiles_BCHW: Tensor) -> Said:
        """Ask it.

        Args:
            tiles_BCHW: (B, 3, H, W) float32 in [0, 1].

        Raises:
            OutputError: It fails, or says what cannot be read.
        """
        ...


class RegionImages(Protocol):
    """Where the images of regions come from.

    Attributes:
        magnifications: Whose images of the set it wants decoded.
        settings: For what decides a cache's bytes.
    """

    @property
    def magnifications(self) -> tuple[float, ...]: ...  # noqa: D102

    @property
    def settings(self) -> dict[str, Any]: ...  # noqa: D102

    def image(self, sample: LoadedSample, student_size: tuple[int, int]) -> Tensor:
        """A region's image, (3, H, W) uint8.

        Raises:
            TrainingError: There is none.
        """
        ...


@dataclass(frozen=True)
class SetImages:
    """The images that the shard set holds."""

    magnification: float

    @property
    def magnifications(self) -> tuple[float, ...]:
        """Its own."""
        return (self.magnification,)

    @property
    def settings(self) -> dict[str, Any]:
        """Where they come from."""
        return {"images": "set"}

    def image(self, sample: LoadedSample, student_size: tuple[int, int]) -> Tensor:
        """As it was decoded."""
        return sample.images[self.magnification]


class TiledSource:
    """See :class:`kdtrain.sources.source.Source`.

    Args:
        network: Asked of every tile.
        images: Where the regions' images come from.
        magnification: Of these images.
        output_stride: Of the student.
        classes: Of the set, which the network's logits are of.
        device: Where images are drawn and cut.
        micro_batch: Tiles that go through the network together, at most.
    """

    def __init__(
        self,
        network: TileNetwork,
        images: RegionImages,
        *,
        magnification: float,
        output_stride: int,
        classes: Sequence[str],
        device: torch.device,
        micro_batch: int = 1,
    ) -> None:
        self._network = network
        self._images = images
        self._output_stride = output_stride
        self._device = device
        self._micro_batch = micro_batch
        self.channels = network.channels
        self.classes = tuple(classes) if network.gives_logits else ()
        self.magnifications = images.magnifications
        self.entry = SourceEntry(
            kind=network.kind,
            name=network.name,
            sha256=network.sha256,
            magnification=magnification,
            settings=network.settings | images.settings,
        )

    def views(
        self, sample: LoadedSample, draws: Sequence[Draw], student_size: tuple[int, int]
    ) -> list[TeacherView]:
        """See :meth:`kdtrain.sources.source.Source.views`."""
        image_CHW = self._images.image(sample, student_size).to(self._device)
        try:
            return [self._view(apply(image_CHW, drawn), drawn, student_size) for drawn in draws]
        except OutputError as error:
            raise TrainingError(
                f"--from {self._network.name} {error}: region {sample.key} of slide '{sample.slide}', "
                f"{image_CHW.shape[2]} x {image_CHW.shape[1]} px; what was written stays, so run the same command "
                "again once that is mended (a file that was changed is another teacher, and wants another --out once a "
                "shard is written)"
            ) from None

    def _view(self, image_CHW: Tensor, drawn: Draw, student_size: tuple[int, int]) -> TeacherView:
        turned = bool(drawn.quarter_turns % 2)
        width, height = student_size[::-1] if turned else student_size
        laying = Laying(
            self.channels,
            map_size(student_size, self._output_stride, turned=turned),
            extent=(height / self._output_stride, width / self._output_stride),
        )
        size = (image_CHW.shape[1], image_CHW.shape[2])
        logits, area = None, 0
        for tile, map_Chw, logits_K in self._said(image_CHW, self._network.plan.tiles(size)):
            if map_Chw.shape[0] != self.channels:
                raise OutputError(
                    f"gives {map_Chw.shape[0]} channels, and gave {self.channels} when it was tried"
                )
            laying.add(map_Chw, tile.box(size, (map_Chw.shape[1], map_Chw.shape[2])))
            if logits_K is not None:
                weighted = logits_K.double() * tile.area(size)
                logits, area = weighted if logits is None else logits + weighted, area + tile.area(size)
        laid_CHW, valid_HW = laying.result()
        return TeacherView(
            logits_K=None if logits is None else (logits / area).float(),
            maps={"laid": laid_CHW},
            valid_HW=valid_HW,
        )

    def _said(self, image_CHW: Tensor, tiles: Sequence[Tile]) -> Iterator[tuple[Tile, Tensor, Tensor | None]]:
        """Every tile with its map and its logits."""
        for start in range(0, len(tiles), self._micro_batch):
            batch = tiles[start : start + self._micro_batch]
            answer = self._network.say(torch.stack([tile.cut(image_CHW) for tile in batch]))
            for i, tile in enumerate(batch):
                yield tile, answer.map_BChw[i], None if answer.logits_BK is None else answer.logits_BK[i]


def probe_tile(plan: TilePlan) -> Tensor:
    """What a network is tried on: (1, 3, H, W) float32 in [0, 1], the same noise in grey levels on every machine."""
    size = (PROBE_PX, PROBE_PX) if plan.whole else (plan.height, plan.width)
    # A multiplicative generator, written out: PyTorch's own may change with its version.
    places = torch.arange(3 * size[0] * size[1], dtype=torch.int64)
    mixed = (places * 2654435761 + 12345) % 2**32
    grey = ((mixed ^ (mixed >> 15)) * 2246822519 % 2**32) >> 24
    return grey.view(1, 3, *size).float() / 255
