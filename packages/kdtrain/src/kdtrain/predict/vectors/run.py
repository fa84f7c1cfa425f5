"""``kdtrain features``: a request in, one h5 file a slide out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from kdtrain.errors import TrainingError, UsageError
from kdtrain.predict import slides
from kdtrain.predict.answers.prediction import Failure
from kdtrain.predict.answers.request import Backend, Device, OutsidePolicy, ReadOptions, Request
from kdtrain.predict.answers.slide_images import ReadJob, SlideImages
from kdtrain.predict.run import ReadFaults, read_all, slides_bar
from kdtrain.predict.task import Outside
from kdtrain.predict.vectors.encoder import Encoder, open_encoder
from kdtrain.predict.vectors.folder import VectorsFolder
from kdtrain.predict.vectors.places import slide_vectors
from kdtrain.predict.vectors.seen import Unit, see_shards, see_slide, shard_marks
from kdtrain.shards.index import Index, read_index
from kdtrain.sources.feature_files import require_h5py
from kdtrain.sources.feature_writing import Kind, Layout


@dataclass(frozen=True, kw_only=True)
class VectorRequest:
    """One call of ``kdtrain features``.

    Attributes:
        network: Folder of a run or of a bundle.
        out: Folder of the vectors.
        slides: Files, folders, globs, CSV files, addresses; none where a set is given.
        shards: Folder or URL of a set; None where slides are given.
        splits: Of the set; none for all.
        cells: A vector for every cell of the feature map, else one for every region.
        layout: Whose layout the files have.
        kind: Of the vectors.
        read: What decides the pixels of slides.
        outside: Whether a slide of another magnification than a bundle was trained on is refused ("auto") or taken
            ("warn").
        backend: Which library computes the network of a bundle.
        device: Where to compute.
        workers: Processes that read; None for one per core, 0 for none.
        start_seconds: How long these may take to start.
        slide_minutes: How long a slide may be read; 0 for any time.
    """

    network: Path
    out: Path
    slides: tuple[str, ...] = ()
    shards: str | None = None
    splits: tuple[str, ...] = ()
    cells: bool = False
    layout: Layout = "trident"
    kind: Kind = "float32"
    read: ReadOptions = field(default_factory=ReadOptions)
    outside: OutsidePolicy = "auto"
    backend: Backend = "auto"
    device: Device = "auto"
    workers: int | None = None
    start_seconds: float = 120.0
    slide_minutes: float = 120.0


@dataclass(kw_only=True)
class Outcome:
    """What came of a request.

    Attributes:
        encoder: Name of the network.
        slides: Files that were written.
        vectors: In these.
        channels: Of each; None where nothing was written.
        kept: Units, shards or slides, that were there already.
        failures: What has no vectors.
    """

    encoder: str
    slides: int = 0
    vectors: int = 0
    channels: int | None = None
    kept: int = 0
    failures: list[Failure] = field(default_factory=list)


def extract_features(request: VectorRequest, console: Console) -> Outcome:
    """Write the vectors of a set or of slides, or what is missing of them.

    Args:
        request: What is asked for.
        console: For the progress bar.

    Raises:
        UsageError: Something about the request as a whole is wrong; nothing was written.
        ShardError: The set is damaged, or lacks the magnification or a split.
        TrainingError: Not one slide has vectors.
    """
    require_h5py()
    _check(request)
    if request.slides:
        slides.require_slideprep()
        slides.require_folder(request.read.annotations)
    encoder = open_encoder(request.network, request.backend, request.device)
    outcome = Outcome(encoder=encoder.name)
    index = None if request.shards is None else _index(request, encoder)
    jobs = [] if index is not None else _jobs(request, encoder, outcome)
    folder = VectorsFolder(request.out, request.layout, request.kind)
    with folder.sole_writer():
        folder.begin(_identity(request, encoder))
        units = (
            _of_slides(jobs, request, encoder, folder, outcome, console)
            if index is None
            else _of_set(index, request, encoder, folder, outcome, console)
        )
        for unit in units:
            _write(unit, request, encoder, folder, outcome)
        folder.finish(outcome.failures)
    if not outcome.slides and not outcome.kept:
        reasons = "; ".join(failure.reason for failure in outcome.failures[:5]) or "there is none"
        raise TrainingError(f"not one slide has vectors: {reasons}")
    return outcome


def _check(request: VectorRequest) -> None:
    if bool(request.slides) == (request.shards is not None):
        raise UsageError("give slides, or a set by --shards, and not both: vectors are of one or the other")
    if request.splits and request.shards is None:
        raise UsageError("--split is one of a set; add --shards, or leave it out")
    if request.layout == "stamp" and not request.cells:
        raise UsageError(
            "STAMP's layout has one size for all tiles, and regions are of any size; add --cells, or take --layout "
            "trident"
        )


def _index(request: VectorRequest, encoder: Encoder) -> Index:
    assert request.shards is not None
    index = read_index(request.shards, magnifications=[encoder.magnification])
    index.require(magnification=encoder.magnification)
    for split in request.splits:
        index.require(split=split)
    return index


def _jobs(request: VectorRequest, encoder: Encoder, outcome: Outcome) -> list[ReadJob]:
    settings = slides.read_settings(encoder.slides, request.read)
    found, failures = slides.discovered(request.slides)
    outcome.failures += failures
    scales = slides.label_scales(request.read.labels, [file.name for file in found])
    return [
        slides.read_job(file, settings, encoder.magnification, request.read, None, scales) for file in found
    ]


def _identity(request: VectorRequest, encoder: Encoder) -> dict[str, object]:
    """What decides the vectors, beside the slides or shards themselves."""
    read = None if request.shards is not None else request.read.record
    return {
        "network": {"name": encoder.name, "sha256": encoder.sha256},
        "cells": request.cells,
        "of": "slides" if request.shards is None else "a set",
        "read": read,
    }


def _of_set(
    index: Index,
    request: VectorRequest,
    encoder: Encoder,
    folder: VectorsFolder,
    outcome: Outcome,
    console: Console,
) -> Iterator[Unit]:
    splits = request.splits or tuple(index.document.splits)
    marks = shard_marks(index, splits, encoder.magnification)
    todo = {key: mark for key, mark in marks.items() if not folder.done(key, mark)}
    outcome.kept += len(marks) - len(todo)
    if not todo:
        return
    samples = sum(s.samples for s in index.document.shards if f"{s.split}-{s.number:06d}" in todo)
    with slides_bar(console, samples, 0, "Regions") as (_, step):
        yield from see_shards(
            index, todo, encoder, workers=2 if request.workers is None else request.workers, step=step
        )


def _of_slides(
    jobs: list[ReadJob],
    request: VectorRequest,
    encoder: Encoder,
    folder: VectorsFolder,
    outcome: Outcome,
    console: Console,
) -> Iterator[Unit]:
    todo = [job for job in jobs if not folder.done(job.key, slides.slide_mark(job))]
    outcome.kept += len(jobs) - len(todo)
    faults = ReadFaults(request.slide_minutes)
    reading = Request(
        bundle=request.network,
        slides=request.slides,
        workers=request.workers,
        start_seconds=request.start_seconds,
    )
    with slides_bar(console, len(jobs), outcome.kept, "Slides") as (say, step):
        for job, images in read_all(todo, faults, reading, say, step):
            if isinstance(images, SlideImages):
                say(images.name)
                if reason := _outside(images, request, encoder):
                    outcome.failures.append(
                        Failure(slide=images.name, region=None, stage="outside", reason=reason)
                    )
                    continue
                yield see_slide(images, encoder, job.key, slides.slide_mark(job, images.fingerprint))
            else:
                outcome.failures += images.failures
    outcome.failures += faults.failures


def _outside(images: SlideImages, request: VectorRequest, encoder: Encoder) -> str | None:
    """Why a slide is refused, or None: its pixels are of another size than a bundle's network was trained on."""
    if encoder.data is None:
        return None
    return Outside(encoder.data, request.outside).wrong_magnification(images)


def _write(
    unit: Unit, request: VectorRequest, encoder: Encoder, folder: VectorsFolder, outcome: Outcome
) -> None:
    made = [
        slide_vectors(
            slide,
            regions,
            encoder=encoder.name,
            magnification=encoder.magnification,
            stride_px=encoder.stride_px,
            cells=request.cells,
        )
        for slide, regions in unit.slides
    ]
    # A unit of which anything failed is tried again by the next command.
    failed = folder.write(unit.key, None if unit.failures else unit.mark, made)
    outcome.failures += [*unit.failures, *failed]
    outcome.slides += len(made) - len(failed)
    outcome.vectors += sum(len(one.vectors_NC) for one in made)
    if made:
        outcome.channels = made[0].vectors_NC.shape[1]
