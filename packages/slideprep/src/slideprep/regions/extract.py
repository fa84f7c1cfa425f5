"""Get an opened slide's regions as images, exactly as ``build-shards`` would make them.

    with slideprep.open_slide("case7.svs") as slide:
        for region in slideprep.extract(slide, magnifications=[1.25]):
            pixels = region.images[1.25].pixels

In: a slide and the settings of a shard set. Out: an :class:`Extraction`, whose images are, byte for byte, those of the
set's tars. Everything that goes in and comes out, the open slide and the extraction apart, crosses between processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from slideprep.errors import UsageError
from slideprep.regions.extraction import Extraction
from slideprep.regions.layout import Grid
from slideprep.regions.scan import scan_opened, slide_scale
from slideprep.regions.settings import ReadSettings, ScanJob
from slideprep.slides.fingerprint import fingerprint
from slideprep.slides.opened import OpenedSlide, check_scale
from slideprep.tissue.annotations import find_annotations


def extract(
    slide: OpenedSlide,
    settings: ReadSettings | None = None,
    *,
    magnifications: Sequence[float] | None = None,
    annotations: str | Path | None = None,
    objective: float | None = None,
    mpp: float | None = None,
    also: Sequence[float] = (),
    fast: bool = False,
    quality: bool = False,
) -> Extraction:
    """Find and lay out a slide's regions; their pixels are read when the result is asked for them.

    Args:
        slide: From :func:`open_slide`; it has to stay open. What was given there for a file that says nothing comes
            before ``objective`` and ``mpp`` of the settings.
        settings: How slides become images; those of a shard set are ``ReadSettings.of_config(index["config"])``. None
            for the defaults of ``build-shards``, with ``magnifications`` as ``--magnifications``.
        magnifications: Those of the settings that are wanted; None for all. Which are wanted changes no pixel.
        annotations: The slide's GeoJSON or ImageScope XML, or a folder with one that is named like the slide; with
            ``tissue="annotations"``.
        objective: Objective power of level 0 where the file is wrong: it comes before the file's own, as the column of
            ``labels.csv`` does.
        mpp: Microns per level-0 pixel, likewise.
        also: Magnifications of pictures for people, made in the same pass as JPEG of quality 80. They change neither
            regions nor images. One that is finer than what is read is lowered to that, and one that lies off the
            settings' grid is rounded up to whole pixels.
        fast: Read the coarsest pyramid level that is fine enough for the highest wanted magnification instead of
            level 0. Regions stay the same; pixels change as :meth:`Extraction.fast_difference` measures.
        quality: Measure how good each region is to see, as builds do; this reduces it to the settings' highest
            magnification, wanted or not. With ``fast`` it is measured only where the level read is as fine as that.

    Raises:
        UsageError: What is asked for contradicts the settings.
        InputError: The slide's magnification is not known or too low, it has no tissue, or it cannot be read.
    """
    settings = _settled(settings, magnifications)
    job = ScanJob(
        file=slide.file,
        shown_name=slide.name,
        settings=_filled(settings, slide),
        label_objective=objective,
        label_mpp=mpp,
        annotations=_annotation_file(annotations, settings, slide.name),
    )
    wanted = _wanted(settings, magnifications)
    check_scale("objective", objective, 200)
    check_scale("mpp", mpp, 100)
    _check_pictures(also)
    mark = fingerprint(slide.file)
    scale = slide_scale(slide.slide, job)
    scan = scan_opened(slide.slide, scale, Grid(scale, settings.magnifications), job, mark)
    return Extraction(slide, settings, scan, magnifications=wanted, also=also, fast=fast, quality=quality)


def _settled(settings: ReadSettings | None, magnifications: Sequence[float] | None) -> ReadSettings:
    if settings is not None:
        return settings
    return ReadSettings() if magnifications is None else ReadSettings(magnifications=tuple(magnifications))


def _filled(settings: ReadSettings, slide: OpenedSlide) -> ReadSettings:
    given = {"objective": slide.given_objective, "mpp": slide.given_mpp}
    return settings.model_copy(update={name: value for name, value in given.items() if value is not None})


def _wanted(settings: ReadSettings, magnifications: Sequence[float] | None) -> tuple[float, ...]:
    known = settings.magnifications
    unknown = [m for m in magnifications or () if m not in known]
    if unknown or (magnifications is not None and not len(magnifications)):
        raise UsageError(
            f"magnifications={_listed(magnifications or ())} are not among those of the settings, {_listed(known)}, "
            "which decide where regions lie; choose from them, or give settings with others"
        )
    return known if magnifications is None else tuple(m for m in known if m in magnifications)


def _annotation_file(given: str | Path | None, settings: ReadSettings, slide_name: str) -> Path | None:
    if given is None:
        return None
    if settings.tissue != "annotations":
        raise UsageError(
            f"annotations are read only under tissue='annotations', and the settings say tissue='{settings.tissue}'; "
            "leave the annotations out, or give settings that use them"
        )
    path = Path(given)
    return find_annotations(path, slide_name) if path.is_dir() else path


def _check_pictures(also: Sequence[float]) -> None:
    if any(not m > 0 for m in also) or len(set(also)) < len(also):
        raise UsageError(f"also={_listed(also)} must name magnifications above 0, each once")


def _listed(values: Sequence[float]) -> str:
    return f"[{', '.join(f'{value:g}' for value in values)}]"
