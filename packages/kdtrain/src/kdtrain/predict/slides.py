"""Slides to encoded images, by slideprep: the only place of kdtrain that imports it.

The settings come from the bundle, which has them from the index of the set that the network was trained on, so a slide
gives the same regions and the same bytes as it did, or would have done, in that set.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from kdtrain.errors import TrainingError, UsageError
from kdtrain.predict.failure import Failure, Stage
from kdtrain.predict.read_slide import FastField, ReadJob, ReadRegion, SlideImages, SlideUnread, Source
from kdtrain.predict.request import ReadOptions

if TYPE_CHECKING:
    from slideprep.discover import SlideFile
    from slideprep.pipeline import Executor
    from slideprep.reading import Extraction, FoundRegion, OpenedSlide, ReadSettings, RegionImages

OVERVIEW_PX = 2048
"""Longer side of the picture of a whole slide."""
OVERVIEW_QUALITY = 85


def require_slideprep() -> None:
    """Refuse where slides cannot be read.

    Raises:
        UsageError: slideprep is not installed.
    """
    if find_spec("slideprep") is None:
        raise UsageError(
            "slides are read by slideprep, which is not installed; run pip install 'kdtrain[slides]', or give images "
            "to the bundle's network from Python (kdtrain.load_bundle(...).runtime())"
        )


@contextmanager
def translated() -> Iterator[None]:
    """Slideprep's errors about a run as a whole, as ours."""
    import slideprep.errors as theirs
    from slideprep.files import OutputError

    try:
        yield
    except theirs.UsageError as error:
        raise UsageError(str(error)) from None
    except (theirs.ClusterError, OutputError) as error:
        raise TrainingError(str(error)) from None


def read_settings(config: Mapping[str, Any], options: ReadOptions) -> ReadSettings:
    """How slides become images.

    The objective and mpp that a training set was told for its own slides are not carried over: of another slide that
    says nothing, nothing is known.

    Args:
        config: Of the training set's index.json.
        options: What a person wants otherwise.

    Raises:
        UsageError: The two do not fit.
    """
    from pydantic import ValidationError

    from slideprep.reading import ReadSettings as Settings

    with translated():
        trained = Settings.of_config(config)
    tissue = options.tissue or trained.tissue
    if (tissue == "annotations") != (options.annotations is not None):
        raise UsageError(_annotations_words(tissue, options))
    changed: dict[str, Any] = {"objective": options.objective, "mpp": options.mpp, "tissue": tissue}
    if tissue != "annotations":
        changed |= {"exclude_classes": (), "mask_outside": False}
    try:
        return Settings(**{**trained.model_dump(), **changed})
    except ValidationError as error:
        problems = "; ".join(f"--{item['loc'][0]}: {item['msg']}" for item in error.errors())
        raise UsageError(f"{problems}; give a number that a slide can have") from None


def _annotations_words(tissue: str, options: ReadOptions) -> str:
    if options.annotations is not None:
        return (
            f"--annotations {options.annotations} is read only where regions are annotated, and here they are found by "
            f"--tissue {tissue}; leave it out, or add --tissue annotations"
        )
    return (
        "the network was trained on annotated regions; add --annotations FOLDER with one GeoJSON or XML file a slide, "
        "or --tissue auto to have tissue found, which is not what it was trained on"
    )


def discovered(inputs: Sequence[str]) -> tuple[list[SlideFile], list[Failure]]:
    """The slides that inputs name, sorted by name, and files that look like slides and are none.

    Raises:
        UsageError: An input leads to nothing.
    """
    from slideprep.discover import discover

    with translated():
        found, rejected = discover(list(inputs))
    failures = [
        Failure(slide=item.path.name, region=None, stage="open", reason=item.reason) for item in rejected
    ]
    return found, failures


Scales = Mapping[str, tuple[float | None, float | None]]
"""(objective, mpp) by slide, where labels.csv corrects them."""


def label_scales(labels: Path | None, names: Sequence[str]) -> Scales:
    """What the columns ``objective`` and ``mpp`` of a labels.csv say of slides.

    Args:
        labels: The file, as ``slideprep build-shards`` takes it; its labels are not read.
        names: Of the slides.

    Raises:
        UsageError: The file cannot be used.
    """
    if labels is None:
        return {}
    from slideprep.label_file import read_labels
    from slideprep.labels import match_labels

    with translated():
        matched = match_labels(read_labels(labels), names)
    return {entry.name: (entry.objective, entry.mpp) for entry in matched.entries}


def read_job(
    file: SlideFile,
    settings: ReadSettings,
    magnification: float,
    options: ReadOptions,
    display: float | None,
    scales: Scales = MappingProxyType({}),
) -> ReadJob:
    """What a worker is told of one slide."""
    from slideprep.access import Access, store_settings
    from slideprep.shard_format import key_for

    folder = options.annotations
    objective, mpp = scales.get(file.name, (None, None))
    return ReadJob(
        file=file,
        key=key_for(file.name, 0).rpartition("-r")[0],
        settings=settings,
        magnification=magnification,
        annotations=folder and folder.resolve(),
        fast=options.fast,
        display=display,
        access=Access(environment=store_settings(os.environ)),
        objective=objective,
        mpp=mpp,
    )


def slide_mark(job: ReadJob, fingerprint: str | None = None) -> str | None:
    """Of everything about one slide that decides its result: its content, its corrections, its annotations.

    Args:
        job: The slide.
        fingerprint: Of its content, where that is known already.

    Returns:
        SHA-256 (hex); None where the slide cannot be read, which reading it will say.
    """
    from slideprep.annotations import find_annotations
    from slideprep.errors import InputError
    from slideprep.fingerprint import fingerprint as of_content

    try:
        content = fingerprint or of_content(job.file)
        outlines = job.annotations and find_annotations(job.annotations, job.file.name)
        drawn = hashlib.sha256(outlines.read_bytes()).hexdigest() if outlines else None
    except (InputError, OSError):
        return None
    return hashlib.sha256(repr((content, job.objective, job.mpp, drawn)).encode()).hexdigest()


@contextmanager
def pool(workers: int | None, say: Callable[[str], None]) -> Iterator[Executor]:
    """What runs :func:`read_slide` on many slides."""
    from slideprep.pipeline import executor

    with translated(), executor(workers=workers, ray_address=None, say=say) as running:
        yield running


def read_slide(job: ReadJob) -> SlideImages | SlideUnread:
    """Read one slide; what is wrong with it is in the result. Runs in any process."""
    from slideprep.errors import InputError
    from slideprep.reading import open_file

    job.access.apply()
    try:
        with open_file(job.file, access=job.access) as slide:
            return slide_images(slide, job)
    except InputError as error:
        return _unread(job.file.name, _stage(error), str(error))


def read_source(
    source: Source,
    settings: ReadSettings,
    magnification: float,
    options: ReadOptions,
    display: float | None,
) -> SlideImages | SlideUnread:
    """Read a slide by its path, or one that is open already, in this process.

    Raises:
        UsageError: The path leads to no slide, or to several.
    """
    from slideprep.errors import InputError
    from slideprep.one_slide import find_slide

    if isinstance(source, (str, Path)):
        try:
            with translated():
                file = find_slide(source)
        except InputError as error:
            return _unread(Path(source).name, "open", str(error))
        return read_slide(read_job(file, settings, magnification, options, display))
    job = read_job(source.file, settings, magnification, options, display)
    try:
        return slide_images(source, job)
    except InputError as error:
        return _unread(source.name, _stage(error), str(error))


def slide_images(slide: OpenedSlide, job: ReadJob) -> SlideImages | SlideUnread:
    """The images of an open slide.

    Raises:
        InputError: Its magnification is unknown or too low, or it has no tissue.
    """
    from slideprep.reading import extract

    extraction = extract(
        slide,
        job.settings,
        magnifications=[job.magnification],
        annotations=job.annotations,
        objective=job.objective,
        mpp=job.mpp,
        also=() if job.display is None else (job.display,),
        fast=job.fast,
    )
    left_out = tuple((region.index, str(region.left_out)) for region in extraction.regions if region.left_out)
    if not extraction.laid_out:
        reasons = "; ".join(f"region {index}: {reason}" for index, reason in left_out)
        return _unread(
            slide.name, "tissue", f"slide '{slide.name}' has no region that can be used: {reasons}"
        )
    regions, failed = _read_regions(extraction, job)
    if not regions:
        return SlideUnread(
            failures=tuple(
                Failure(slide=slide.name, region=index, stage="read", reason=reason)
                for index, reason in failed
            )
        )
    return SlideImages(
        name=slide.name,
        fingerprint=extraction.fingerprint,
        width=slide.width,
        height=slide.height,
        mpp=extraction.scale.mpp,
        objective=extraction.scale.objective,
        reader=slide.reader,
        level=extraction.level,
        fast=_fast_field(extraction, {region.index for region in regions}) if extraction.level else None,
        regions=regions,
        left_out=left_out,
        failed=failed,
        warnings=tuple(extraction.warnings),
        overview=None if job.display is None else _overview(slide),
    )


def _read_regions(
    extraction: Extraction, job: ReadJob
) -> tuple[tuple[ReadRegion, ...], tuple[tuple[int, str], ...]]:
    """The regions, and number and reason of those that are damaged."""
    from slideprep.errors import InputError

    regions, failed = [], []
    for found in extraction.laid_out:
        try:
            regions.append(_read_region(extraction.read(found), job))
        except InputError as error:
            failed.append((found.index, str(error)))
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
    )


def _fast_field(extraction: Extraction, read: set[int]) -> FastField:
    """In the largest region that could be read."""

    def area(region: FoundRegion) -> int:
        assert region.layout is not None
        return region.layout.columns * region.layout.rows

    region = max((one for one in extraction.laid_out if one.index in read), key=area)
    found = extraction.fast_difference(region)
    return FastField(
        downsample=extraction.downsample,
        region=region.index,
        mean=found.mean,
        bias=found.bias,
        largest=found.largest,
        fast=found.coarse,
        level0=found.fine,
    )


def _overview(slide: OpenedSlide) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(slide.overview(OVERVIEW_PX)).save(file, "JPEG", quality=OVERVIEW_QUALITY)
    return file.getvalue()


def _stage(error: Exception) -> Stage:
    from slideprep.errors import MagnificationError, SlideReadError, TissueError

    if isinstance(error, MagnificationError):
        return "magnification"
    if isinstance(error, TissueError):
        return "tissue"
    return "read" if isinstance(error, SlideReadError) else "open"


def _unread(slide: str, stage: Stage, reason: str) -> SlideUnread:
    return SlideUnread(failures=(Failure(slide=slide, region=None, stage=stage, reason=reason),))
