"""A slide file in, everything that the plan needs to know about it out: scale, regions, thumbnail, fingerprint.

Runs once per slide, in any process. The result is plain data; it is cached under the slide's content fingerprint and
the settings, so a build that is run again opens no slide twice for this.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from slideprep.annotations import AnnotatedRegion, leave_out, overlapping
from slideprep.annotations_io import read_annotations
from slideprep.discover import SlideFile
from slideprep.errors import InputError, TissueError
from slideprep.files import output_errors
from slideprep.fingerprint import fingerprint
from slideprep.geometry import Box
from slideprep.layout import Grid, Layout
from slideprep.pseudonyms import shown_reason
from slideprep.shard_models import ImageFormat
from slideprep.slide import Pixels, Slide, open_slide, read_level, read_overview
from slideprep.tissue import regions_from_mask, tissueloc_level, tissueloc_mask
from slideprep.tissue_auto import OVERVIEW_MPP, auto_mask, auto_regions
from slideprep.units import MagnificationMode, Scale, resolve_scale

THUMBNAIL_PX = 320
"""Longer side of a thumbnail: enough to see whether tissue was found, 15 KB a slide."""

SMALL_SLIDE_PX = 10_000_000
"""Slides up to this size are read once more where the overview for tissue makes too coarse a thumbnail."""


@dataclass(frozen=True, kw_only=True)
class ScanSettings:
    """The settings that decide a slide's regions; the same names as in the configuration."""

    magnifications: tuple[float, ...]
    magnification_by: MagnificationMode
    objective: float | None
    mpp: float | None
    tissue: str
    tissueloc_sigma: float
    tissueloc_threshold: float
    tissueloc_min_px: int
    tissueloc_level_px: int
    exclude_classes: tuple[str, ...]
    mask_outside: bool
    image_format: ImageFormat
    save_masks: Path | None


@dataclass(frozen=True, kw_only=True)
class ScanJob:
    """One slide to scan.

    Attributes:
        file: The slide.
        shown_name: Its name in all output: the file's name or its pseudonym.
        settings: The run's settings.
        label_objective: Objective power in labels.csv.
        label_mpp: Microns per pixel in labels.csv.
        annotations: Its annotation file, in ``annotations`` mode.
    """

    file: SlideFile
    shown_name: str
    settings: ScanSettings
    label_objective: float | None = None
    label_mpp: float | None = None
    annotations: Path | None = None


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
        fingerprint: Of the content of its files.
        reader: What decodes it.
        vendor: The format, as OpenSlide calls it.
        width: Level-0 pixels.
        height: Level-0 pixels.
        background: (red, green, blue).
        scale: Objective, mpp and where they came from.
        regions: In reading order.
        warnings: Plain sentences.
        thumbnail: JPEG of the whole slide.
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

    __pydantic_config__ = {"ser_json_bytes": "base64", "val_json_bytes": "base64"}  # noqa: RUF012 - pydantic's name


@dataclass(frozen=True, kw_only=True)
class ScanFailure:
    """A slide that cannot be used, and why.

    Attributes:
        name: The slide's name in all output.
        stage: What was being done: "open", "magnification" or "tissue".
        reason: The error's message.
        fingerprint: Of the content, where it could be read.
    """

    name: str
    stage: str
    reason: str
    fingerprint: str | None = None


def scan_slide(job: ScanJob) -> Scan | ScanFailure:
    """Open a slide, settle its scale, find and lay out its regions.

    Raises:
        OutputError: Its mask is to be saved and cannot be.
    """
    stage, mark = "open", None
    try:
        mark = fingerprint(job.file)
        with open_slide(job.file) as slide:
            stage = "magnification"
            scale = _scale(slide, job)
            grid = Grid(scale, job.settings.magnifications)
            stage = "tissue"
            found = _find(slide, scale, job)
            regions = tuple(_lay_out(grid, slide, item, index, job) for index, item in enumerate(found.items))
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
                regions=regions,
                warnings=_warnings(job, slide.warnings, [scale.warning or ""], found.notes),
                thumbnail=_thumbnail(_for_thumbnail(slide, found.overview)),
            )
    except InputError as error:
        return ScanFailure(name=job.shown_name, stage=stage, reason=_shown(str(error), job), fingerprint=mark)
    except OSError as error:
        reason = f"slide '{job.shown_name}' cannot be read: {error.strerror or error}; check the disk and permissions"
        return ScanFailure(name=job.shown_name, stage=stage, reason=reason, fingerprint=mark)


def _warnings(job: ScanJob, *sources: Iterable[str]) -> tuple[str, ...]:
    """Every warning once, in order."""
    return tuple(dict.fromkeys(_shown(text, job) for texts in sources for text in texts if text))


def _shown(text: str, job: ScanJob) -> str:
    others = () if job.annotations is None else (job.annotations,)
    return shown_reason(text, job.file, job.shown_name, *others)


def _scale(slide: Slide, job: ScanJob) -> Scale:
    return resolve_scale(
        name=job.shown_name,
        mode=job.settings.magnification_by,
        slide_objective=slide.objective,
        slide_mpp=slide.mpp,
        label_objective=job.label_objective,
        label_mpp=job.label_mpp,
        run_objective=job.settings.objective,
        run_mpp=job.settings.mpp,
    )


@dataclass(frozen=True, kw_only=True)
class _Item:
    box: Box
    annotation: AnnotatedRegion | None = None


@dataclass(frozen=True, kw_only=True)
class _Found:
    items: Sequence[_Item]
    notes: Sequence[str]
    overview: Pixels


def _find(slide: Slide, scale: Scale, job: ScanJob) -> _Found:
    find = {"auto": _auto, "tissueloc": _tissueloc, "whole": _whole, "annotations": _annotated}[
        job.settings.tissue
    ]
    return find(slide, scale, job)


def _auto(slide: Slide, scale: Scale, job: ScanJob) -> _Found:
    mpp = scale.physical_mpp()
    level0 = slide.levels[0]
    overview = read_overview(slide, downsample=max(1.0, OVERVIEW_MPP / mpp))
    mpp_overview = mpp * (overview.downsample_x + overview.downsample_y) / 2
    result = auto_mask(overview.image, mpp_overview=mpp_overview)
    boxes = auto_regions(
        result.mask,
        mpp_overview=mpp_overview,
        downsample_x=overview.downsample_x,
        downsample_y=overview.downsample_y,
        width_l0=level0.width,
        height_l0=level0.height,
    )
    _save_mask(result.mask, job)
    _require_tissue(boxes, job)
    return _Found(items=[_Item(box=box) for box in boxes], notes=result.notes, overview=overview.image)


def _tissueloc(slide: Slide, _scale: Scale, job: ScanJob) -> _Found:
    settings = job.settings
    level = tissueloc_level(
        [(level.width, level.height) for level in slide.levels], settings.tissueloc_level_px
    )
    image = read_level(slide, level)
    mask = tissueloc_mask(
        image,
        sigma=settings.tissueloc_sigma,
        threshold=settings.tissueloc_threshold,
        min_component_px=settings.tissueloc_min_px,
    )
    boxes = regions_from_mask(
        mask,
        downsample_x=slide.levels[level].downsample_x,
        downsample_y=slide.levels[level].downsample_y,
        width_l0=slide.levels[0].width,
        height_l0=slide.levels[0].height,
    )
    _save_mask(mask, job)
    _require_tissue(boxes, job)
    return _Found(items=[_Item(box=box) for box in boxes], notes=(), overview=image)


def _whole(slide: Slide, _scale: Scale, _job: ScanJob) -> _Found:
    level0 = slide.levels[0]
    box = Box(x=0, y=0, width=level0.width, height=level0.height)
    return _Found(items=[_Item(box=box)], notes=(), overview=_small_overview(slide))


def _annotated(slide: Slide, _scale: Scale, job: ScanJob) -> _Found:
    if job.annotations is None:
        raise TissueError(
            f"slide '{job.shown_name}' has no annotation file; put its GeoJSON or XML, named like the slide, into the "
            "folder of --annotations, or leave the slide out"
        )
    read = read_annotations(job.annotations)
    kept = [_nameless(region, job) for region in leave_out(read.regions, job.settings.exclude_classes)]
    notes = list(read.notes)
    items, outside = [], []
    for annotation in kept:
        try:
            box = annotation.box(width_l0=slide.levels[0].width, height_l0=slide.levels[0].height)
        except InputError as error:
            outside.append(str(error))
        else:
            items.append(_Item(box=box, annotation=annotation))
    if outside:
        raise TissueError("; ".join(outside))
    if not items:
        raise TissueError(
            f"slide '{job.shown_name}' has no annotated region left ({job.annotations.name} holds "
            f"{len(read.regions)}, --exclude-class removed {len(read.regions) - len(kept)})"
        )
    notes += [
        f"boxes of {a.label} and {b.label} overlap although their classes differ"
        for a, b in overlapping(kept)
    ]
    return _Found(items=items, notes=notes, overview=_small_overview(slide))


def _nameless(region: AnnotatedRegion, job: ScanJob) -> AnnotatedRegion:
    """Where names are replaced, an annotation's own goes too: people write what they like there."""
    if job.shown_name == job.file.name:
        return region
    return replace(region, name=None, where=_shown(region.where, job))


def _require_tissue(boxes: Sequence[Box], job: ScanJob) -> None:
    if not boxes:
        raise TissueError(
            f"slide '{job.shown_name}' has no tissue that --tissue {job.settings.tissue} could find; look at it in "
            "preview.html, and use --tissue whole or annotations if there is some"
        )


def _small_overview(slide: Slide) -> Pixels:
    level0 = slide.levels[0]
    return read_overview(slide, downsample=max(1.0, max(level0.width, level0.height) / THUMBNAIL_PX)).image


def _lay_out(grid: Grid, slide: Slide, item: _Item, index: int, job: ScanJob) -> FoundRegion:
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
    return (
        _small_overview(slide) if is_coarse and level0.width * level0.height <= SMALL_SLIDE_PX else overview
    )


def _thumbnail(overview: Pixels) -> bytes:
    image = Image.fromarray(overview)
    image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    return file.getvalue()


def _save_mask(mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], job: ScanJob) -> None:
    folder = job.settings.save_masks
    if folder is not None:
        with output_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask.astype(np.uint8) * 255).save(folder / f"{job.shown_name}.png")
