"""An opened slide in, the bounding boxes of its tissue or annotations out, whatever the mode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from slideprep.errors import InputError, TissueError
from slideprep.regions.settings import ScanJob
from slideprep.slides.overview import Overview, read_level, read_overview, small_overview
from slideprep.slides.reader import Level, Slide
from slideprep.storage.files import output_errors
from slideprep.text import short_name
from slideprep.tissue.annotation_checks import annotation_notes, nothing_left
from slideprep.tissue.annotation_files import read_annotations
from slideprep.tissue.annotations import AnnotatedRegion, leave_out
from slideprep.tissue.auto import OVERVIEW_MPP, AutoResult, auto_mask, auto_regions
from slideprep.tissue.boxes import box_from_slices, regions_from_mask
from slideprep.tissue.left_out import DUST_MM2
from slideprep.tissue.tissueloc import tissueloc_level, tissueloc_mask
from slideprep.units import Box, Pixels, Scale

MOST_LEFT_OUT = 20
"""Pieces left out that are listed for a slide; of thousands, no one would look at more."""

MOSTLY_INSIDE = 0.9
"""A piece with this part of its box inside a region's is in that region's images, and is not lost."""


@dataclass(frozen=True, kw_only=True)
class TissueBox:
    """A region's bounding box, level-0 pixels, and the annotation that it came from."""

    box: Box
    annotation: AnnotatedRegion | None = None


@dataclass(frozen=True, kw_only=True)
class LeftOutPiece:
    """Stained tissue that is in no region.

    Attributes:
        box: Its bounding box, level-0 pixels; None for several that are too many to list.
        reason: What it is, where, and why it is left out.
    """

    box: Box | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class FoundBoxes:
    """What was found on a slide.

    Attributes:
        items: The regions in reading order.
        notes: What a person should know.
        overview: What they were found on.
        left_out: Stained tissue that a rule of the detector left out, the largest first.
    """

    items: Sequence[TissueBox]
    notes: Sequence[str]
    overview: Pixels
    left_out: Sequence[LeftOutPiece] = ()


def find_boxes(slide: Slide, scale: Scale, job: ScanJob) -> FoundBoxes:
    """Find a slide's regions in the mode of the settings.

    Raises:
        TissueError: There is none, or the mode cannot be used on this slide.
        OutputError: The mask is to be saved and cannot be.
    """
    find = {"auto": _auto, "tissueloc": _tissueloc, "whole": _whole, "annotations": _annotated}[
        job.settings.tissue
    ]
    return find(slide, scale, job)


def _auto(slide: Slide, scale: Scale, job: ScanJob) -> FoundBoxes:
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
        hidden=result.hidden,
    )
    left_out = _left_out(result, boxes, overview, level0)
    _save_mask(result.mask, job)
    _require_tissue(boxes, job, left_out)
    return FoundBoxes(
        items=[TissueBox(box=box) for box in boxes],
        notes=result.notes,
        overview=overview.image,
        left_out=left_out,
    )


def _left_out(
    result: AutoResult, boxes: Sequence[Box], overview: Overview, level0: Level
) -> list[LeftOutPiece]:
    """The pieces that lie in no region's box, the largest by name, the others and the specks by number."""
    scale, size = (overview.downsample_x, overview.downsample_y), (level0.width, level0.height)
    lost = [
        (piece, box)
        for piece in sorted(result.left_out, key=lambda piece: -piece.area_mm2)
        if not _inside(box := box_from_slices(*piece.span, downsample=scale, size_l0=size), boxes)
    ]
    listed = [
        LeftOutPiece(
            box=box,
            reason=f"{piece.area_mm2:.3f} mm² of stained tissue at ({box.x}, {box.y}), {box.width} x {box.height} px: "
            f"{piece.rule}",
        )
        for piece, box in lost[:MOST_LEFT_OUT]
    ]
    others, specks = lost[MOST_LEFT_OUT:], result.specks
    if others:
        reason = (
            f"{len(others)} more pieces of stained tissue, each of {others[0][0].area_mm2:.3f} mm² at most"
        )
        listed.append(LeftOutPiece(box=None, reason=reason))
    if specks:
        reason = f"{specks} stained speck{'s' * (specks > 1)} under {DUST_MM2:g} mm², taken for dust"
        listed.append(LeftOutPiece(box=None, reason=reason))
    return listed


def _inside(box: Box, boxes: Sequence[Box]) -> bool:
    """Whether a region's box holds nearly all of another."""
    shared = (box.intersection(other) for other in boxes)
    return any(part is not None and part.area_px >= MOSTLY_INSIDE * box.area_px for part in shared)


def _tissueloc(slide: Slide, _scale: Scale, job: ScanJob) -> FoundBoxes:
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
    return FoundBoxes(items=[TissueBox(box=box) for box in boxes], notes=(), overview=image)


def _whole(slide: Slide, _scale: Scale, _job: ScanJob) -> FoundBoxes:
    level0 = slide.levels[0]
    box = Box(x=0, y=0, width=level0.width, height=level0.height)
    return FoundBoxes(items=[TissueBox(box=box)], notes=(), overview=small_overview(slide))


def _annotated(slide: Slide, _scale: Scale, job: ScanJob) -> FoundBoxes:
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
            items.append(TissueBox(box=box, annotation=annotation))
    if outside:
        raise TissueError("; ".join(outside))
    if not items:
        reason = nothing_left(job.annotations.name, read.notes, read.regions)
        raise TissueError(f"slide '{job.shown_name}' has no annotated region: {reason}")
    overview = small_overview(slide)
    notes += annotation_notes(
        kept, overview, width_l0=slide.levels[0].width, height_l0=slide.levels[0].height
    )
    return FoundBoxes(items=items, notes=notes, overview=overview)


def _nameless(region: AnnotatedRegion, job: ScanJob) -> AnnotatedRegion:
    """Where names are replaced, an annotation's own goes too: people write what they like there."""
    if job.shown_name == job.file.name:
        return region
    return replace(region, name=None, where=job.shown(region.where))


def _require_tissue(boxes: Sequence[Box], job: ScanJob, left_out: Sequence[LeftOutPiece] = ()) -> None:
    if not boxes:
        largest = f"; left out: {left_out[0].reason}" if left_out else ""
        raise TissueError(
            f"slide '{job.shown_name}' has no tissue that --tissue {job.settings.tissue} could find; look at it in "
            f"preview.html, and use --tissue whole or annotations if there is some{largest}"
        )


def _save_mask(mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], job: ScanJob) -> None:
    folder = job.save_masks
    if folder is not None:
        with output_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask.astype(np.uint8) * 255).save(folder / f"{short_name(job.shown_name)}.png")
