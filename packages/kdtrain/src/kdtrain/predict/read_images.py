"""A slide to encoded images, by slideprep: what runs in the processes that read.

What is wrong with a slide, or with a region of it, is part of the result: the others go on.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from kdtrain.predict.answers.prediction import Failure, QualityNumber, Stage
from kdtrain.predict.answers.request import ReadOptions
from kdtrain.predict.answers.slide_images import (
    FastField,
    ReadJob,
    ReadRegion,
    SlideImages,
    SlideUnread,
    Source,
)
from kdtrain.predict.dicom.header import dicom_header
from kdtrain.predict.remedies import for_predict
from kdtrain.predict.slides import read_job, translated
from kdtrain.text import readable

if TYPE_CHECKING:
    from slideprep import Extraction, FoundRegion, OpenedSlide, ReadSettings, RegionImages

OVERVIEW_PX = 2048
"""Longer side of the picture of a whole slide."""
OVERVIEW_QUALITY = 85
_UNMEASURED = (
    "level 0 is damaged in the middle of every region, so what --fast changes could not be measured; copy the slide "
    "again from its source"
)


def read_slide(job: ReadJob) -> SlideImages | SlideUnread:
    """Read one slide; what is wrong with it is in the result. Runs in any process."""
    from slideprep import InputError, open_slide

    try:
        with open_slide(job.file) as slide:
            return slide_images(slide, job)
    except InputError as error:
        return _unread(job.file.name, _stage(error), str(error))
    except OSError as error:
        reason = f"slide '{job.file.name}' cannot be read: {error.strerror or error}; check the disk and permissions"
        return _unread(job.file.name, "read", reason)


def read_source(
    source: Source,
    settings: ReadSettings,
    magnification: float,
    options: ReadOptions,
    display: float | None,
    *,
    dicom: bool = False,
) -> SlideImages | SlideUnread:
    """Read a slide by its path, or one that is open already, in this process.

    Raises:
        UsageError: The path leads to no slide, or to several.
    """
    from slideprep import InputError, find_slide

    if isinstance(source, (str, Path)):
        try:
            with translated():
                file = find_slide(source)
        except InputError as error:
            return _unread(readable(Path(source).name), "open", str(error))
    else:
        file = source.file
    job = read_job(file, settings, magnification, options, display, dicom=dicom)
    if isinstance(source, (str, Path)):
        return read_slide(job)
    try:
        return slide_images(source, job)
    except InputError as error:
        return _unread(job.file.name, _stage(error), str(error))


def slide_images(slide: OpenedSlide, job: ReadJob) -> SlideImages | SlideUnread:
    """The images of an open slide.

    Raises:
        InputError: Its magnification is unknown or too low, or it has no tissue.
    """
    from slideprep import extract

    header = dicom_header(slide.file.path) if job.dicom else None
    extraction = extract(
        slide,
        job.settings,
        magnifications=[job.magnification],
        annotations=job.annotations,
        objective=job.objective,
        mpp=job.mpp,
        also=() if job.display is None else (job.display,),
        fast=job.fast,
        quality=job.display is not None,
    )
    left_out = tuple(
        (region.index, for_predict(str(region.left_out))) for region in extraction.regions if region.left_out
    )
    if not extraction.laid_out:
        reasons = "; ".join(f"region {index}: {reason}" for index, reason in left_out)
        return _unread(
            job.file.name, "tissue", f"slide '{job.file.name}' has no region that can be used: {reasons}"
        )
    regions, failed = _read_regions(extraction, job)
    if not regions:
        return SlideUnread(
            failures=tuple(
                Failure(slide=job.file.name, region=index, stage="read", reason=reason)
                for index, reason in failed
            )
        )
    fast = _fast_field(extraction, {region.index for region in regions}) if extraction.level else None
    unmeasured = (_UNMEASURED,) if extraction.level and fast is None else ()
    return SlideImages(
        name=job.file.name,
        fingerprint=extraction.fingerprint,
        width=slide.width,
        height=slide.height,
        mpp=extraction.scale.mpp,
        objective=extraction.scale.objective,
        reader=slide.reader,
        level=extraction.level,
        fast=fast,
        regions=regions,
        left_out=left_out,
        failed=failed,
        warnings=(*map(for_predict, extraction.warnings), *unmeasured),
        overview=None if job.display is None else _overview(slide),
        header=header,
    )


def _read_regions(
    extraction: Extraction, job: ReadJob
) -> tuple[tuple[ReadRegion, ...], tuple[tuple[int, str], ...]]:
    """The regions, and number and reason of those that are damaged."""
    from slideprep import InputError

    regions, failed = [], []
    for found in extraction.laid_out:
        try:
            regions.append(_read_region(extraction.read(found), job))
        except InputError as error:
            failed.append((found.index, for_predict(str(error))))
    return tuple(regions), tuple(failed)


def _read_region(made: RegionImages, job: ReadJob) -> ReadRegion:
    image = made.images[job.magnification]
    return ReadRegion(
        index=made.index,
        key=made.key,
        x=made.x,
        y=made.y,
        width=made.width,
        height=made.height,
        image=image.encoded,
        image_format=image.image_format,
        image_width=image.width,
        image_height=image.height,
        display=None if job.display is None else made.also[job.display].encoded,
        quality=_quality(made),
    )


def _quality(made: RegionImages) -> dict[QualityNumber, float | None]:
    found = made.quality
    if found is None:
        return {}
    return {"focus": found.focus, "ink": found.ink, "folds": found.folds, "bubbles": found.bubbles}


def _fast_field(extraction: Extraction, read: set[int]) -> FastField | None:
    """In the largest region whose middle can be read from level 0 too; None where there is none."""
    from slideprep import InputError

    def area(region: FoundRegion) -> int:
        assert region.layout is not None
        return region.layout.columns * region.layout.rows

    regions = (region for region in extraction.laid_out if region.index in read)
    for region in sorted(regions, key=area, reverse=True):
        try:
            found = extraction.fast_difference(region)
        except InputError:  # level 0 is damaged there; the level that was read is not
            continue
        return FastField(downsample=extraction.downsample, region=region.index, difference=found)
    return None


def _overview(slide: OpenedSlide) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(slide.overview(OVERVIEW_PX)).save(file, "JPEG", quality=OVERVIEW_QUALITY)
    return file.getvalue()


def _stage(error: Exception) -> Stage:
    from slideprep import MagnificationError, SlideReadError, TissueError

    if isinstance(error, MagnificationError):
        return "magnification"
    if isinstance(error, TissueError):
        return "tissue"
    return "read" if isinstance(error, SlideReadError) else "open"


def _unread(slide: str, stage: Stage, reason: str) -> SlideUnread:
    return SlideUnread(failures=(Failure(slide=slide, region=None, stage=stage, reason=for_predict(reason)),))
