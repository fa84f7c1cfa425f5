"""Which slides are read, and how: by slideprep, of which this room alone knows, and its public names alone.

The settings come from the bundle, which has them from the index of the set that the network was trained on, so a slide
gives the same regions and the same bytes as it did, or would have done, in that set.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from kdtrain.errors import TrainingError, UsageError
from kdtrain.predict.answers.prediction import Failure
from kdtrain.predict.answers.request import ReadOptions
from kdtrain.predict.answers.slide_images import ReadJob
from kdtrain.predict.remedies import for_predict
from kdtrain.text import readable

if TYPE_CHECKING:
    from slideprep import ReadSettings, SlideFile


MOST_LEVEL_PX, MOST_SIGMA_PX = 8192, 500
"""Of tissueloc, which has 2,048 and 13: a stranger's bundle may ask for any."""


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
    import slideprep

    try:
        yield
    except slideprep.UsageError as error:
        raise UsageError(for_predict(str(error))) from None
    except (slideprep.ClusterError, slideprep.OutputError) as error:
        raise TrainingError(for_predict(str(error))) from None


def read_settings(config: Mapping[str, Any], options: ReadOptions) -> ReadSettings:
    """How slides become images.

    The objective and mpp that a training set was told for its own slides are not carried over: of another slide that
    says nothing, nothing is known.

    Args:
        config: Settings of the training set's index.json.
        options: What a person wants otherwise.

    Raises:
        UsageError: The two do not fit.
    """
    from pydantic import ValidationError

    from slideprep import ReadSettings as Settings

    with translated():
        trained = Settings.of_config(config)
    if trained.tissueloc_level_px > MOST_LEVEL_PX or trained.tissueloc_sigma > MOST_SIGMA_PX:
        raise UsageError(
            f"the bundle would find tissue on an overview of {trained.tissueloc_level_px:,} px, smoothed over "
            f"{trained.tissueloc_sigma:g} px, which takes more memory and time than a slide is worth (at most "
            f"{MOST_LEVEL_PX:,} and {MOST_SIGMA_PX}); ask whoever made it"
        )
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
    from slideprep import find_slides

    with translated():
        found, rejected = find_slides(list(inputs))
    failures = [
        Failure(slide=readable(item.path.name), region=None, stage="open", reason=for_predict(item.reason))
        for item in rejected
    ]
    kept: dict[str, SlideFile] = {}
    for file in found:
        if file.name in kept:
            failures.append(_twice(file.name))
        else:
            kept[file.name] = file
    return list(kept.values()), failures


def _twice(name: str) -> Failure:
    reason = (
        f"slide '{name}' is called as another one's bytes are spelled out, so no table could tell them apart; rename "
        "one of the files"
    )
    return Failure(slide=name, region=None, stage="open", reason=reason)


def require_folder(annotations: Path | None) -> None:
    """Refuse a single annotation file for all slides.

    Raises:
        UsageError: It is no folder.
    """
    if annotations is not None and not annotations.is_dir():
        raise UsageError(
            f"--annotations {annotations} is no folder, and outlines belong to one slide each; give the folder that "
            "holds a GeoJSON or XML file named like each slide"
        )


Scales = Mapping[str, tuple[float | None, float | None]]
"""(objective, mpp) by slide, where labels.csv corrects them."""


def label_scales(labels: Path | None, names: Sequence[str]) -> Scales:
    """What the columns ``objective`` and ``mpp`` of a labels.csv say of slides.

    Args:
        labels: The file, as ``slideprep build-shards`` takes it.
        names: Names of the slides.

    Raises:
        UsageError: The file cannot be used.
    """
    if labels is None:
        return {}
    from slideprep import slide_labels

    with translated():
        entries = slide_labels(labels, names)
    return {name: (entry.objective, entry.mpp) for name, entry in entries.items()}


def label_classes(labels: Path, names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """(class, patient) by slide, of the slides that a labels.csv gives a class.

    Args:
        labels: The file.
        names: Names of the slides.

    Raises:
        UsageError: The file cannot be used.
    """
    from slideprep import slide_labels

    with translated():
        entries = slide_labels(labels, names)
    return {name: (entry.label, entry.patient) for name, entry in entries.items() if entry.label is not None}


def read_job(
    file: SlideFile,
    settings: ReadSettings,
    magnification: float,
    options: ReadOptions,
    display: float | None,
    scales: Scales = MappingProxyType({}),
    *,
    dicom: bool = False,
) -> ReadJob:
    """What a worker is told of one slide.

    Raises:
        UsageError: It has no annotations to choose from, or several.
    """
    from slideprep import slide_key

    objective, mpp = scales.get(file.name, (None, None))
    return ReadJob(
        file=file,
        key=slide_key(file.name),
        settings=settings,
        magnification=magnification,
        annotations=_annotation_file(options.annotations, file.name),
        fast=options.fast,
        display=display,
        dicom=dicom,
        objective=objective,
        mpp=mpp,
    )


def _annotation_file(given: Path | None, slide: str) -> Path | None:
    """The file itself, or in a folder the one named like the slide; None where it has none: reading will say so."""
    from slideprep import find_annotations

    if given is None or given.is_file():
        return given and given.resolve()
    with translated():
        return find_annotations(given.resolve(), slide)


def slide_mark(job: ReadJob, fingerprint: str | None = None) -> str | None:
    """Of everything about one slide that decides its result: its content, its corrections, its annotations.

    Args:
        job: The slide.
        fingerprint: Fingerprint of its content, where that is known already.

    Returns:
        SHA-256 (hex); None where the slide cannot be read, which reading it will say.
    """
    from slideprep import InputError
    from slideprep import fingerprint as of_content

    try:
        content = fingerprint or of_content(job.file)
        drawn = hashlib.sha256(job.annotations.read_bytes()).hexdigest() if job.annotations else None
    except (InputError, OSError):
        return None
    return hashlib.sha256(repr((content, job.objective, job.mpp, drawn)).encode()).hexdigest()
