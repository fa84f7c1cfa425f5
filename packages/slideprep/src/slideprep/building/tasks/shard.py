"""One planned shard in, its tars on disk out: whole or not at all.

Tars grow under the workspace's ``partial`` folder, are synced, and renamed into place; the shard's record is written
last. A sample whose slide or pixels are damaged, or whose quality is beyond the build's limits, is left out of every
magnification and listed in the record.

Slides are opened as their samples come up, and a few are kept open.
"""

from __future__ import annotations

import shutil
from collections import Counter, OrderedDict
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from slideprep.building.limits import STAGE
from slideprep.building.plan import Sample
from slideprep.building.tasks.job import ShardJob, SourceSlide
from slideprep.building.workspace import Workspace
from slideprep.errors import InputError
from slideprep.images.codec import Encoder, encoder
from slideprep.regions.layout import Grid, ImageGeometry
from slideprep.regions.pixels import read_region
from slideprep.regions.quality import QualityMeter
from slideprep.shards.format import (
    IMAGE_EXTENSIONS,
    RECORD_VERSION,
    ImageRecord,
    Level0,
    Region,
    SampleRecord,
    ShardFile,
    dump_json,
    magnification_name,
    shard_path,
)
from slideprep.shards.records import Failure, Quality, ShardRecord, Sums, total_sums, written_sums
from slideprep.shards.tar import ShardTar
from slideprep.slides.fetch import fetched, forget
from slideprep.slides.files import shown_reason
from slideprep.slides.reader import Slide
from slideprep.slides.readers.choose import open_reader
from slideprep.storage.files import output_errors

SLIDES_OPEN = 8
"""Slides that a task keeps open: each holds files and a cache of tiles, and a shard can be of a thousand small ones."""


def write_shard(job: ShardJob) -> ShardRecord:
    """Write one shard's tars and its record, unless they are there already and verify.

    Raises:
        OutputError: The folder cannot be written to.
    """
    job.access.apply()
    workspace = Workspace(job.out, scratch=job.access.scratch)
    finished = workspace.finished_record(job.shard.name, job.digest)
    if finished is not None:
        return finished
    partial = workspace.partial_folder(job.shard.name)
    try:
        # readers turn their own trouble into InputError, so an OSError here is about writing
        with output_errors(partial):
            return _ShardTask(job, workspace, partial).run()
    finally:
        shutil.rmtree(partial, ignore_errors=True)


class _ShardTask:
    """Keeps the open tars and slides of one shard."""

    def __init__(self, job: ShardJob, workspace: Workspace, partial: Path) -> None:
        self._job = job
        self._workspace = workspace
        self._partial = partial
        self._failures: list[Failure] = []
        self._left_out: list[Failure] = []
        self._quality: dict[str, Quality] = {}
        self._written: list[Sample] = []
        self._sums: dict[str, list[Sums]] = {magnification_name(m): [] for m in job.magnifications}
        self._broken = dict(job.crashed)
        self._slides: OpenSlides | None = None

    def run(self) -> ShardRecord:
        job = self._job
        with ExitStack() as stack:
            tars = {
                m: stack.enter_context(ShardTar(self._partial / f"{magnification_name(m)}.tar.partial"))
                for m in job.magnifications
            }
            slides = self._slides = OpenSlides(job, stack)
            done_px = 0
            for sample in job.shard.samples:
                self._workspace.note_progress(job.shard.name, sample.slide, done_px, len(self._written))
                done_px += self._add(sample, slides, tars)
        published = {magnification_name(m): self._publish(m, tar) for m, tar in tars.items()}
        record = ShardRecord(
            digest=job.digest,
            split=job.shard.split,
            number=job.shard.number,
            keys=tuple(sample.key for sample in self._written),
            cells=tuple((sample.layout.columns, sample.layout.rows) for sample in self._written),
            files={name: file for name, (file, _) in published.items()},
            failures=tuple(self._failures),
            sums={name: total_sums(parts) for name, parts in self._sums.items()} if job.with_sums else None,
            sample_sums={name: written_sums(parts) for name, parts in self._sums.items()}
            if job.with_sums
            else {},
            tags={name: tag for name, (_, tag) in published.items() if tag is not None},
            quality=self._quality,
            left_out=tuple(self._left_out),
        )
        self._workspace.save_record(job.shard.name, record)
        return record

    def _add(self, sample: Sample, slides: OpenSlides, tars: Mapping[float, ShardTar]) -> int:
        """Write one sample at every magnification, or list why not; returns the level-0 pixels read."""
        if sample.slide in self._broken:
            self._fail(sample, "read", self._broken[sample.slide])
            return 0
        try:
            slide = slides.get(sample.slide)
        except InputError as error:
            self._broken[sample.slide] = str(error)
            self._fail(sample, "open", str(error))
            return 0
        source = self._job.slides[sample.slide]
        level0 = slide.levels[0]
        images = Grid(source.scale, self._job.magnifications).images(
            sample.layout, slide_width=level0.width, slide_height=level0.height
        )
        with ExitStack() as stack:
            encoders = []
            for image in images:
                record = self._record(sample, source, slide, image)
                file = tars[image.magnification].begin(self._members(sample, record))
                encoders.append(self._encoder(image, file, stack))
            meter = QualityMeter(images, mpp=source.scale.mpp)
            sinks = meter.watch([made.write for made in encoders])
            try:
                box = read_region(slide, sample.layout, images, sinks, outline=sample.outline)
            except InputError as error:
                for tar in tars.values():
                    tar.undo()
                self._fail(sample, "read", str(error))
                return 0
            if self._is_refused(sample, meter.measured()):
                for tar in tars.values():
                    tar.undo()
                return box.area_px
            for image, made in zip(images, encoders, strict=True):
                made.finish()
                tars[image.magnification].finish()
                sums = Sums(pixels=made.sums.pixels, sums=made.sums.sums, squares=made.sums.squares)
                self._sums[magnification_name(image.magnification)].append(sums)
        self._written.append(sample)
        return box.area_px

    def _is_refused(self, sample: Sample, quality: Quality) -> bool:
        """Note a region's quality, and whether it is beyond the limits."""
        self._quality[sample.key] = quality
        reason = self._job.limits.refusal(quality)
        if reason is not None:
            self._left_out.append(
                Failure(slide=sample.slide, region=sample.index, stage=STAGE, reason=reason)
            )
        return reason is not None

    def _encoder(self, image: ImageGeometry, file: BinaryIO, stack: ExitStack) -> Encoder:
        made = encoder(
            self._job.image_format,
            file,
            width=image.width,
            height=image.height,
            quality=self._job.quality,
            with_sums=self._job.with_sums,
            statistics_of=self._job.statistics_of,
            folder=self._partial,
        )
        stack.callback(made.close)
        return made

    def _fail(self, sample: Sample, stage: str, reason: str) -> None:
        source = self._job.slides[sample.slide]
        file = source.file if self._slides is None else self._slides.files[sample.slide]
        shown = shown_reason(reason, file, source.name)
        self._failures.append(Failure(slide=sample.slide, region=sample.index, stage=stage, reason=shown))

    def _record(
        self, sample: Sample, source: SourceSlide, slide: Slide, image: ImageGeometry
    ) -> SampleRecord:
        scale, level0 = source.scale, slide.levels[0]
        return SampleRecord(
            version=RECORD_VERSION,
            key=sample.key,
            slide=source.name,
            patient=source.patient,
            label=sample.label,
            split=self._job.shard.split,
            region=Region(
                index=sample.index,
                x=sample.layout.x,
                y=sample.layout.y,
                width=float(image.width * image.factor),
                height=float(image.height * image.factor),
                source=sample.source,
                class_name=sample.class_name,
                name=sample.name,
                masked_outside=sample.outline is not None,
            ),
            image=ImageRecord(
                width=image.width,
                height=image.height,
                format=self._job.image_format,
                quality=self._job.quality,
                valid=image.valid,
            ),
            magnification=image.magnification,
            magnification_by=scale.mode,
            factor=float(image.factor),
            mpp=None if scale.mpp is None else float(scale.mpp * image.factor),
            level0=Level0(
                width=level0.width,
                height=level0.height,
                mpp=scale.mpp,
                mpp_source=scale.mpp_source,
                objective=scale.objective,
                objective_source=scale.objective_source,
            ),
            reader=slide.reader,
        )

    def _members(self, sample: Sample, record: SampleRecord) -> dict[str, bytes | None]:
        """Members of a sample in the order of their extensions; the image, still to be made, as None."""
        members: dict[str, bytes | None] = {
            f"{sample.key}.json": dump_json(record),
            f"{sample.key}.{IMAGE_EXTENSIONS[self._job.image_format]}": None,
        }
        if sample.label is not None:
            members[f"{sample.key}.cls"] = str(self._job.classes.index(sample.label)).encode()
        return dict(sorted(members.items()))

    def _publish(self, magnification: float, tar: ShardTar) -> tuple[ShardFile, str | None]:
        path = shard_path(magnification, self._job.shard.split, self._job.shard.number)
        stored = self._workspace.store.publish(tar.path, path)
        return ShardFile(path=path, bytes=tar.size, sha256=tar.sha256), stored.tag


class OpenSlides:
    """Opens the slides of a shard as their samples come up, and keeps a few of them open.

    Files that were fetched for it are removed with the slide's last sample: no other task opens the slide.

    Args:
        job: The shard.
        stack: Closes the slides with the task.

    Attributes:
        files: The slides by name, with what was fetched of those that were opened.
    """

    def __init__(self, job: ShardJob, stack: ExitStack) -> None:
        self._job = job
        self._left = Counter(sample.slide for sample in job.shard.samples)
        self._open: OrderedDict[str, tuple[Slide, ExitStack]] = OrderedDict()
        self.files = {name: source.file for name, source in job.slides.items()}
        stack.callback(self._close_down_to, 0)

    def get(self, name: str) -> Slide:
        """The slide, opened; to be asked for once for each of its samples."""
        self._left[name] -= 1
        if name not in self._open:
            self._close_down_to(SLIDES_OPEN - 1)
            with ExitStack() as opened:
                opened.callback(self._forget_if_done, name)
                self.files[name] = opened.enter_context(
                    fetched(self._job.slides[name].file, self._job.access)
                )
                self._open[name] = (self._opened(name, opened), opened.pop_all())
        self._open.move_to_end(name)
        return self._open[name][0]

    def _opened(self, name: str, stack: ExitStack) -> Slide:
        try:
            slide = open_reader(self.files[name])
        except InputError:
            self._left[name] = 0  # nobody asks for it again
            raise
        stack.callback(slide.close)
        return slide

    def _forget_if_done(self, name: str) -> None:
        if not self._left[name]:
            forget(self.files[name])

    def _close_down_to(self, count: int) -> None:
        while len(self._open) > count:
            _, (_, opened) = self._open.popitem(last=False)
            opened.close()
