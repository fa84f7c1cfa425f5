"""What a network is shown: the shards of a set, or slides read by slideprep. Out: slides with their regions' maps.

The unit of work is what is read in one go, a shard or a slide; of each unit is known what decides its result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from kdtrain.errors import NotFiniteError
from kdtrain.predict.answers.classify import decoded
from kdtrain.predict.answers.prediction import Failure, Stage
from kdtrain.predict.answers.slide_images import SlideImages
from kdtrain.predict.vectors.encoder import Encoder
from kdtrain.predict.vectors.places import SeenRegion, SeenSlide
from kdtrain.shards.index import Index
from kdtrain.shards.models import magnification_name


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A shard or a slide that was read.

    Attributes:
        key: Its name among units.
        mark: Digest of all that decides its result, beside the network; None where that cannot be said any more.
        slides: With their regions, at least one each.
        failures: What could not be read, or what the network could not be asked about.
    """

    key: str
    mark: str | None
    slides: tuple[tuple[SeenSlide, tuple[SeenRegion, ...]], ...]
    failures: tuple[Failure, ...] = ()


@dataclass(kw_only=True)
class _Gathered:
    """Slides of a unit as they come."""

    slides: dict[str, SeenSlide] = field(default_factory=dict)
    regions: dict[str, list[SeenRegion]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)

    def unit(self, key: str, mark: str | None) -> Unit:
        failed = {failure.slide for failure in self.failures if failure.region is None}
        slides = tuple(
            (self.slides[name], tuple(regions))
            for name, regions in self.regions.items()
            if regions and name not in failed
        )
        return Unit(key=key, mark=mark, slides=slides, failures=tuple(self.failures))

    def ask(
        self,
        encoder: Encoder,
        slide: SeenSlide,
        number: int,
        image_HWC: NDArray[np.uint8],
        box: tuple[int, int, float, float],
        factor: float,
    ) -> None:
        """Ask about one region; what the network cannot answer is the whole slide's failure."""
        self.slides[slide.name] = slide
        regions = self.regions.setdefault(slide.name, [])
        try:
            map_CHW = encoder.feature_map(image_HWC)
        except (ValueError, MemoryError, NotFiniteError) as error:
            stage: Stage = "memory" if isinstance(error, MemoryError) else "network"
            reason = f"slide '{slide.name}', region {number}: {error or 'there is not enough memory for it'}"
            self.failures.append(Failure(slide=slide.name, region=None, stage=stage, reason=reason))
            return
        x, y, width, height = box
        regions.append(SeenRegion(x=x, y=y, width=width, height=height, factor=factor, map_CHW=map_CHW))


def shard_marks(index: Index, splits: Sequence[str], magnification: float) -> dict[str, str]:
    """Mark of every shard of some splits, by its name: of its tar, which holds all that is read."""
    name = magnification_name(magnification)
    parts = dict.fromkeys(part for split in splits for part in index.document.sets[split])
    return {
        f"{shard.split}-{shard.number:06d}": shard.files[name].sha256
        for part in parts
        for shard in index.shards_of(part)
    }


def see_shards(
    index: Index, marks: Mapping[str, str], encoder: Encoder, *, workers: int, step: Callable[[], None]
) -> Iterator[Unit]:
    """Ask about shards, in stored order.

    Args:
        index: The set.
        marks: Of the shards that are wanted.
        encoder: The network.
        workers: Loader processes.
        step: Called after every sample.

    Raises:
        ShardError: A sample is damaged.
    """
    # Here, because it brings PyTorch.
    from kdtrain.data.stream import EvaluationStream
    from kdtrain.shards.index import union_of

    joined, split = union_of(index, sorted({name.rpartition("-")[0] for name in marks}))
    shards = {
        i: shard
        for i, shard in enumerate(joined.shards_of(split))
        if f"{shard.split}-{shard.number:06d}" in marks
    }
    stream = EvaluationStream(joined, split, [encoder.magnification], shards=shards, workers=workers)
    try:
        samples = iter(stream)
        for shard in shards.values():
            gathered = _Gathered()
            for sample in islice(samples, shard.samples):
                record = sample.record
                level0, region = record.level0, record.region
                slide = SeenSlide(name=record.slide, width=level0.width, height=level0.height, mpp=level0.mpp)
                image_HWC = sample.images[encoder.magnification].permute(1, 2, 0).contiguous().numpy()
                box = (region.x, region.y, region.width, region.height)
                gathered.ask(encoder, slide, region.index, image_HWC, box, record.factor)
                step()
            key = f"{shard.split}-{shard.number:06d}"
            yield gathered.unit(key, marks[key])
    finally:
        stream.close()


def see_slide(images: SlideImages, encoder: Encoder, key: str, mark: str | None) -> Unit:
    """Ask about a slide that was read.

    Args:
        images: The slide.
        encoder: The network.
        key: Its name among units.
        mark: See :class:`Unit`.
    """
    gathered = _Gathered()
    slide = SeenSlide(name=images.name, width=images.width, height=images.height, mpp=images.mpp)
    for region in images.regions:
        box = (region.x, region.y, region.width, region.height)
        factor = region.width / region.image_width
        gathered.ask(encoder, slide, region.index, decoded(region), box, factor)
    gathered.failures += [
        Failure(slide=images.name, region=index, stage="read", reason=reason)
        for index, reason in images.failed
    ]
    return gathered.unit(key, mark)
