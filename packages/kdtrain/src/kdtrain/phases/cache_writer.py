"""Shards in, tars of views out, one after the other: each sample is decoded once and all its views are computed."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from itertools import islice
from typing import Protocol

from kdtrain.augment import IDENTITY, Draw, draw
from kdtrain.data.loader import LoadStats
from kdtrain.data.samples import LoadedSample
from kdtrain.data.stream import EvaluationStream
from kdtrain.data.teacher_cache.binding import sources_of
from kdtrain.data.teacher_cache.document import (
    CacheSettings,
    ShardEntry,
    SourceSettings,
    shard_name,
    to_json,
)
from kdtrain.data.teacher_cache.record import SampleEntry, ViewEntry, draw_entry, view_member
from kdtrain.data.teacher_cache.tar import TarSum, writing
from kdtrain.data.teacher_cache.view import (
    TeacherView,
    ViewShape,
    encode_view,
    map_size,
    shape_fault,
)
from kdtrain.errors import TrainingError
from kdtrain.model.stain.target import StainTarget
from kdtrain.phases.cache_folder import CacheFolder
from kdtrain.shards.index import Index, union_of
from kdtrain.shards.models import Shard, magnification_name
from kdtrain.training.engine.group import memory_errors_named


class Teaches(Protocol):
    """A teacher at work: :class:`kdtrain.phases.teacher_views.ViewMaker`, or any of :mod:`kdtrain.sources`."""

    @property
    def magnifications(self) -> tuple[float, ...]:
        """Whose images it is given with every sample."""

    def views(
        self, sample: LoadedSample, draws: Sequence[Draw], student_size: tuple[int, int]
    ) -> list[TeacherView]:
        """The views of a sample, in the order of its draws; on the CPU."""


def deal(index: Index, todo: Sequence[str], magnification: float, ranks: int) -> list[list[str]]:
    """Shards to ranks, the largest first and each to the rank that has the least to read."""
    name = magnification_name(magnification)
    sizes = {shard_name(s.split, s.number): s.files[name].bytes for s in index.document.shards}
    dealt: list[list[str]] = [[] for _ in range(ranks)]
    for shard in sorted(todo, key=lambda shard: (-sizes[shard], shard)):
        min(dealt, key=lambda part: sum(sizes[other] for other in part)).append(shard)
    return dealt


def draws_of(settings: CacheSettings, key: str, *, augmented: bool) -> list[Draw]:
    """The draws of a sample's views: view v is what an online run of the cache's seed draws in its epoch v."""
    augmentation = settings.settings
    if not augmented or augmentation is None:
        return [IDENTITY]
    return [draw(augmentation, seed=settings.seed, epoch=view, key=key) for view in range(settings.views)]


class ShardWriter:
    """Writes tars of a cache.

    Args:
        folder: Folder of the cache.
        index: The shard set.
        settings: Settings of the cache.
        teacher: Computes views.
        student: Magnification of the student's images.
        stain: That the teacher's images come in; None for their own.
    """

    def __init__(
        self,
        folder: CacheFolder,
        index: Index,
        settings: CacheSettings,
        teacher: Teaches,
        student: float,
        *,
        stain: StainTarget | None = None,
    ) -> None:
        self._folder = folder
        self._index = index
        self._settings = settings
        self._teacher = teacher
        self._student = student
        self._stain = stain

    def write(
        self,
        names: Container[str],
        wanted: Mapping[str, bool],
        *,
        workers: int,
        pin_memory: bool,
        on_sample: Callable[[LoadStats], None],
    ) -> LoadStats:
        """Write the tars of some shards, in stored order.

        Args:
            names: Names of the shards.
            wanted: Stored splits that they are in, and whether each is augmented.
            workers: Loader processes.
            pin_memory: Whether images go to a GPU.
            on_sample: Called after every sample.

        Raises:
            ShardError: A sample is damaged.
            TrainingError: A feature map cannot be kept as float16, or memory does not suffice.
        """
        joined, split = union_of(self._index, list(wanted))
        shards = {
            i: shard
            for i, shard in enumerate(joined.shards_of(split))
            if shard_name(shard.split, shard.number) in names
        }
        stream = EvaluationStream(
            joined,
            split,
            # A teacher that reads elsewhere is told of the sample alone, and the student's images are the smallest.
            self._teacher.magnifications or (self._student,),
            shards=shards,
            stain=self._stain,
            workers=workers if shards else 0,
            pin_memory=pin_memory,
        )
        try:
            samples = iter(stream)
            for shard in shards.values():
                own = islice(samples, shard.samples)
                self._shard(shard, own, wanted[shard.split], lambda: on_sample(stream.stats))
            return stream.stats
        finally:
            stream.close()

    def _shard(
        self, shard: Shard, samples: Iterator[LoadedSample], augmented: bool, on_sample: Callable[[], None]
    ) -> None:
        name = shard_name(shard.split, shard.number)
        path = self._folder.path / f"{name}.tar"
        sizes = self._index.sizes_of(shard, self._student)
        draws: list[list[Draw]] = []
        with writing(path) as tar:
            for sample, size in zip(samples, sizes, strict=True):
                draws.append(draws_of(self._settings, sample.key, augmented=augmented))
                views = self._views(sample, draws[-1], size)
                tar.add(sample.key, self._record(sample.key, draws[-1], views), views)
                on_sample()
            written = tar.finish()
        self._folder.record(self._entry(shard, written, draws, augmented=augmented))

    def _views(self, sample: LoadedSample, draws: Sequence[Draw], size: tuple[int, int]) -> list[bytes]:
        what = f"{sample.key} ({' and '.join(f'{width} x {height} px' for width, height in sample.sizes.values())})"
        with memory_errors_named(what, "for the teacher", "--precision bf16 or --micro-batch 1"):
            views = self._teacher.views(sample, draws, size)
        if isinstance(self._settings, SourceSettings):
            self._check(self._settings, sample, draws, size, views)
        return [
            encode_view(view, f"{view_member(sample.key, number)} of slide '{sample.slide}'")
            for number, view in enumerate(views)
        ]

    @staticmethod
    def _check(
        settings: SourceSettings,
        sample: LoadedSample,
        draws: Sequence[Draw],
        size: tuple[int, int],
        views: Sequence[TeacherView],
    ) -> None:
        """Refuse what a source gave that is no view of this sample, before a tar holds it."""
        for number, (drawn, view) in enumerate(zip(draws, views, strict=True)):
            turned = bool(drawn.quarter_turns % 2)
            shape = ViewShape(
                classes=len(settings.classes or ()),
                channels=settings.channels,
                size=map_size(size, settings.student.output_stride, turned=turned),
                laid=True,
            )
            if fault := shape_fault(view, shape):
                raise TrainingError(
                    f"{settings.teacher.name} gave {fault} for {view_member(sample.key, number)} of slide "
                    f"'{sample.slide}'; a teacher answers alike for every sample, so mend it, and run the same command "
                    "again (with another --out where its file changed and a shard is written)"
                )

    def _entry(
        self, shard: Shard, written: TarSum, draws: Sequence[Sequence[Draw]], *, augmented: bool
    ) -> ShardEntry:
        views = self._settings.views if augmented else 1
        turned = tuple(
            "".join(str(drawn[view].quarter_turns % 2) for drawn in draws) for view in range(views)
        )
        return ShardEntry(
            split=shard.split,
            number=shard.number,
            path=f"{shard_name(shard.split, shard.number)}.tar",
            bytes=written.bytes,
            sha256=written.sha256,
            samples=shard.samples,
            keys_sha256=shard.keys_sha256,
            sources=sources_of(shard, (*self._teacher.magnifications, self._student)),
            augmented=augmented,
            turned=turned,
        )

    def _record(self, key: str, draws: Sequence[Draw], views: Sequence[bytes]) -> bytes:
        entries = tuple(
            ViewEntry(draw=draw_entry(drawn), crc32=zlib.crc32(data))
            for drawn, data in zip(draws, views, strict=True)
        )
        record = SampleEntry(version=self._settings.expected_version, key=key, views=entries)
        return to_json(record.model_dump(mode="json"))
