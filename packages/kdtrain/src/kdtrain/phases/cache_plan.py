"""What a teacher cache will take before it is written: bytes out of the sizes of the images, time out of one region.

The teacher is opened as it would be, and asked for one view of the region that has the median size; nothing is written.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from kdtrain.augment import Draw
from kdtrain.config.phases import CacheTeacherConfig
from kdtrain.data.plan import SampleRef
from kdtrain.data.samples import LoadedSample, SampleReader
from kdtrain.data.sets import check_phase
from kdtrain.data.teacher_cache.document import CacheSettings, RunSettings, to_json
from kdtrain.data.teacher_cache.record import SampleEntry, ViewEntry, draw_entry
from kdtrain.data.teacher_cache.view import LAID, MAPS, TeacherView, encode_view, map_size
from kdtrain.model.stain.target import StainTarget
from kdtrain.phases.cache_folder import CacheFolder
from kdtrain.phases.cache_from import described, opened, read_of
from kdtrain.phases.cache_source import check_source, source_settings
from kdtrain.phases.cache_teacher import Start, settings_of, wanted_splits
from kdtrain.phases.cache_writer import Teaches, draws_of
from kdtrain.phases.networks import check_pair
from kdtrain.phases.teacher_views import ViewMaker
from kdtrain.shards.index import Index, read_index, union_of
from kdtrain.shards.ustar import BLOCK
from kdtrain.training.trained import load_trained

Size = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class CachePlan:
    """What a cache will take.

    Attributes:
        teacher: What it is, in a sentence; None of a run.
        samples: Regions.
        views: Of all of them.
        bytes: Of all tars; exact but for a hundredth or so.
        region: Key of the region that was timed.
        size: (width, height) of its student's image, pixels.
        region_s: Seconds of one view of it.
        seconds: Of all views, by the pixels of their images, on one process like this one.
    """

    teacher: str | None
    samples: int
    views: int
    bytes: int
    region: str
    size: Size
    region_s: float
    seconds: float


def plan_cache(config: CacheTeacherConfig) -> CachePlan:
    """Open the teacher, time one region, and add up.

    Raises:
        UsageError: The teacher cannot be used, or does not go with student and set.
        ShardError: The set lacks what is asked for.
        TrainingError: The teacher fails for that region.
    """
    start = Start.of(config)
    index, settings, teacher, sentence = _teacher(config, start)
    sizes = _sizes(config, index)
    ref = sorted(range(len(sizes)), key=lambda i: _pixels(sizes[i][0]))[len(sizes) // 2]
    read = teacher.magnifications or (config.magnification,)
    sample = _sample(config, index, ref, read, settings.stain)
    draws = draws_of(settings, sample.key, augmented=sizes[ref][1])
    region_s = _timed(teacher, sample, draws[0], sizes[ref][0], start.device)
    pixels = sum(_pixels(size) * _views(settings, augmented) for size, augmented in sizes)
    return CachePlan(
        teacher=sentence,
        samples=len(sizes),
        views=sum(_views(settings, augmented) for _, augmented in sizes),
        bytes=_bytes(settings, sizes, sample.key, draws) + _tars(config, index) * 2 * BLOCK,
        region=sample.key,
        size=sizes[ref][0],
        region_s=region_s,
        seconds=region_s * pixels / _pixels(sizes[ref][0]),
    )


def _teacher(config: CacheTeacherConfig, start: Start) -> tuple[Index, CacheSettings, Teaches, str | None]:
    """The set, the settings of the cache, and the teacher at work with a sentence about it."""
    begun = CacheFolder(config.out).begun_stride
    if config.from_ is not None:
        index = read_index(config.shards, config.cache, magnifications=read_of(config))
        wanted_splits(config, index)
        source = opened(config, index, start)
        check_phase(config, index, (*source.magnifications, config.magnification), labelled=False)
        check_source(config, index, source)
        return index, source_settings(config, index, source, begun_stride=begun), source, described(source)
    assert config.teacher is not None, "the settings hold one teacher"
    index = read_index(config.shards, config.cache)
    run = load_trained(config.teacher, what="--teacher")
    check_phase(config, index, (run.network.magnification, config.magnification), labelled=False)
    check_pair(config, index, run.network)
    settings = settings_of(config, index, run, begun_stride=begun)
    stride = settings.student.output_stride
    maker = ViewMaker(run, precision=config.precision, device=start.device, output_stride=stride)
    return index, settings, maker, None


def _sizes(config: CacheTeacherConfig, index: Index) -> list[tuple[Size, bool]]:
    """(width, height) of every student's image, in stored order, and whether its views are augmented."""
    return [
        (size, augmented)
        for split, augmented in wanted_splits(config, index).items()
        for shard in index.shards_of(split)
        for size in index.sizes_of(shard, config.magnification)
    ]


def _tars(config: CacheTeacherConfig, index: Index) -> int:
    """How many, each with its end mark of two blocks."""
    return sum(len(index.shards_of(split)) for split in wanted_splits(config, index))


def _sample(
    config: CacheTeacherConfig,
    index: Index,
    number: int,
    magnifications: Sequence[float],
    stain: StainTarget | None,
) -> LoadedSample:
    joined, split = union_of(index, list(wanted_splits(config, index)))
    reader = SampleReader(joined, split, magnifications, stain=stain)
    shard = 0
    while number >= reader.shards[shard].samples:
        number -= reader.shards[shard].samples
        shard += 1
    try:
        return reader.load(SampleRef(shard, number))
    finally:
        reader.close()


def _timed(teacher: Teaches, sample: LoadedSample, drawn: Draw, size: Size, device: torch.device) -> float:
    """Seconds of a view: the second one, since the first finds its memory and its kernels."""
    for _ in range(2):
        began = time.perf_counter()
        teacher.views(sample, [drawn], size)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    return time.perf_counter() - began


def _views(settings: CacheSettings, augmented: bool) -> int:
    return settings.views if augmented else 1


def _pixels(size: Size) -> int:
    return size[0] * size[1]


def _bytes(
    settings: CacheSettings, sizes: Sequence[tuple[Size, bool]], key: str, draws: Sequence[Draw]
) -> int:
    """Of all members, whole blocks with a header of one block each; a view has the same bytes whichever way it lies."""
    kind: Literal["run", "laid"] = "run" if isinstance(settings, RunSettings) else "laid"
    known: dict[Size, int] = {}
    total = 0
    for size, augmented in sizes:
        cells = map_size(size, settings.student.output_stride, turned=False)
        if cells not in known:
            known[cells] = _member(len(encode_view(_empty(settings, kind, cells), key)))
        record = _member(len(_record(settings, key, draws[:1])) * _views(settings, augmented))
        total += record + _views(settings, augmented) * known[cells]
    return total


def _member(size: int) -> int:
    return BLOCK + -(-size // BLOCK) * BLOCK


def _empty(settings: CacheSettings, kind: Literal["run", "laid"], cells: Size) -> TeacherView:
    classes: Sequence[str] | None = getattr(settings, "classes", None)
    names: Sequence[Literal["maxpool", "bicubic", "laid"]] = MAPS if kind == "run" else (LAID,)
    return TeacherView(
        logits_K=torch.zeros(len(classes)) if classes else None,
        maps={name: torch.zeros(settings.channels, *cells) for name in names},
        valid_HW=None,
    )


def _record(settings: CacheSettings, key: str, draws: Sequence[Draw]) -> bytes:
    views = tuple(ViewEntry(draw=draw_entry(drawn), crc32=2**31) for drawn in draws)
    return to_json(
        SampleEntry(version=settings.expected_version, key=key, views=views).model_dump(mode="json")
    )
