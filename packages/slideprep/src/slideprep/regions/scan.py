"""A slide file in, everything that the plan needs to know about it out: scale, regions, thumbnail, fingerprint.

Runs once per slide, in any process. The result is plain data; it is cached under the slide's content fingerprint and
the settings, so a build that is run again opens no slide twice for this.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass, replace

from PIL import Image

from slideprep.errors import InputError
from slideprep.regions.find import LeftOutPiece, TissueBox, find_boxes
from slideprep.regions.layout import Grid, Layout
from slideprep.regions.settings import ScanJob
from slideprep.slides.fetch import fetched
from slideprep.slides.fingerprint import fingerprint
from slideprep.slides.overview import THUMBNAIL_PX, small_overview
from slideprep.slides.reader import Slide
from slideprep.slides.readers.choose import open_reader
from slideprep.tissue.annotations import AnnotatedRegion
from slideprep.units import Box, Pixels, Scale, resolve_scale

SMALL_SLIDE_PX = 10_000_000
"""Slides up to this size are read once more where the overview for tissue makes too coarse a thumbnail."""


@dataclass(frozen=True, kw_only=True)
class FoundRegion:
    """A region of a slide.

    Attributes:
        index: Its number on the slide, from 0.
        tissue: The tissue's or annotation's bounding box, level-0 pixels.
        layout: Where its images lie; None where it is left out.
        left_out: Why it is left out, or None.
        class_name: Class of its annotation, or None.
        name: The annotation's own name, or None.
        outline: The annotation, where everything outside it is to be blanked.
    """

    index: int
    tissue: Box
    layout: Layout | None
    left_out: str | None
    class_name: str | None = None
    name: str | None = None
    outline: AnnotatedRegion | None = None


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What is known of one slide.

    Attributes:
        name: The slide's name in all output.
        fingerprint: Fingerprint of the content of its files.
        reader: What decodes it.
        vendor: The format, as OpenSlide calls it.
        width: Level-0 pixels.
        height: Level-0 pixels.
        background: (red, green, blue).
        scale: Objective, mpp and where they came from.
        regions: In reading order.
        warnings: Plain sentences.
        thumbnail: JPEG of the whole slide.
        left_out: Stained tissue that is in none of the regions, the largest first.
    """

    name: str
    fingerprint: str
    reader: str
    vendor: str
    width: int
    height: int
    background: tuple[int, int, int]
    scale: Scale
    regions: tuple[FoundRegion, ...]
    warnings: tuple[str, ...]
    thumbnail: bytes
    left_out: tuple[LeftOutPiece, ...] = ()

    __pydantic_config__ = {"ser_json_bytes": "base64", "val_json_bytes": "base64"}  # noqa: RUF012 - pydantic's name


@dataclass(frozen=True, kw_only=True)
class ScanFailure:
    """A slide that cannot be used, and why.

    Attributes:
        name: The slide's name in all output.
        stage: What was being done: "open", "magnification" or "tissue".
        reason: The error's message.
        fingerprint: Fingerprint of the content, where it could be read.
        thumbnail: JPEG of the whole slide, where it could be opened.
    """

    name: str
    stage: str
    reason: str
    fingerprint: str | None = None
    thumbnail: bytes | None = None


def scan_slide(job: ScanJob) -> Scan | ScanFailure:
    """Open a slide, settle its scale, find and lay out its regions; one in an object store is fetched for it.

    Raises:
        OutputError: Its mask is to be saved and cannot be, or the slide's store does not answer.
    """
    try:
        with fetched(job.file, job.access) as file:
            return _scan_file(replace(job, file=file))
    except InputError as error:
        return ScanFailure(name=job.shown_name, stage="open", reason=job.shown(str(error)))


def _scan_file(job: ScanJob) -> Scan | ScanFailure:
    mark, picture, stage = None, None, "open"
    try:
        mark = fingerprint(job.file)
        with open_reader(job.file) as slide:
            try:
                stage = "magnification"
                scale = slide_scale(slide, job)
                grid = Grid(scale, job.settings.magnifications)
                stage = "tissue"
                return scan_opened(slide, scale, grid, job, mark)
            except InputError:
                picture = _picture(slide)
                raise
    except InputError as error:
        reason = job.shown(str(error))
    except OSError as error:
        reason = f"slide '{job.shown_name}' cannot be read: {error.strerror or error}; check the disk and permissions"
    return ScanFailure(name=job.shown_name, stage=stage, reason=reason, fingerprint=mark, thumbnail=picture)


def scan_opened(slide: Slide, scale: Scale, grid: Grid, job: ScanJob, mark: str) -> Scan:
    """Find and lay out the regions of a slide that is open already.

    Args:
        slide: The slide.
        scale: From :func:`slide_scale`.
        grid: Grid of the scale and the settings' magnifications.
        job: What is asked for; its file is not opened again.
        mark: The fingerprint.

    Raises:
        InputError: The slide has no tissue, or the mode cannot be used on it.
        OutputError: Its mask is to be saved and cannot be.
    """
    found = find_boxes(slide, scale, job)
    level0 = slide.levels[0]
    return Scan(
        name=job.shown_name,
        fingerprint=mark,
        reader=slide.reader,
        vendor=slide.vendor,
        width=level0.width,
        height=level0.height,
        background=slide.background,
        scale=scale,
        regions=tuple(_lay_out(grid, slide, item, index, job) for index, item in enumerate(found.items)),
        warnings=_warnings(job, slide.warnings, [scale.warning or ""], found.notes),
        thumbnail=_thumbnail(_for_thumbnail(slide, found.overview)),
        left_out=tuple(found.left_out),
    )


def _picture(slide: Slide) -> bytes | None:
    """A thumbnail of a slide that cannot be used, so that a person can see why; None where it cannot be read."""
    try:
        return _thumbnail(small_overview(slide))
    except (InputError, OSError):
        return None


def _warnings(job: ScanJob, *sources: Iterable[str]) -> tuple[str, ...]:
    """Every warning once, in order."""
    return tuple(dict.fromkeys(job.shown(text) for texts in sources for text in texts if text))


def slide_scale(slide: Slide, job: ScanJob) -> Scale:
    """A slide's objective and mpp, from its own tags, labels.csv and the settings.

    Raises:
        MagnificationError: What the settings need is not known.
    """
    return resolve_scale(
        name=job.shown_name,
        mode=job.settings.magnification_by,
        slide_objective=slide.objective,
        slide_mpp=slide.mpp,
        label_objective=job.label_objective,
        label_mpp=job.label_mpp,
        run_objective=job.settings.objective,
        run_mpp=job.settings.mpp,
        slide_doubts=slide.scale_doubts,
    )


def _lay_out(grid: Grid, slide: Slide, item: TissueBox, index: int, job: ScanJob) -> FoundRegion:
    level0 = slide.levels[0]
    layout = grid.lay_out(item.box, slide_width=level0.width, slide_height=level0.height)
    refusal = grid.refusal(
        layout, job.settings.image_format, slide_width=level0.width, slide_height=level0.height
    )
    annotation = item.annotation
    return FoundRegion(
        index=index,
        tissue=item.box,
        layout=None if refusal else layout,
        left_out=refusal,
        class_name=annotation.class_name if annotation else None,
        name=annotation.name if annotation else None,
        outline=annotation if job.settings.mask_outside else None,
    )


def _for_thumbnail(slide: Slide, overview: Pixels) -> Pixels:
    """The overview that tissue was found on, or a finer one where it is coarse and the slide small."""
    level0 = slide.levels[0]
    is_coarse = max(overview.shape[:2]) < min(THUMBNAIL_PX, max(level0.width, level0.height))
    return small_overview(slide) if is_coarse and level0.width * level0.height <= SMALL_SLIDE_PX else overview


def _thumbnail(overview: Pixels) -> bytes:
    image = Image.fromarray(overview)
    image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    return file.getvalue()
