"""``kdtrain predict``: a request in, predictions out, and their folder.

Slides are read by worker processes, which hand over encoded images; this process asks the network about one region at a
time, so that its memory does not grow with the workers and a GPU serves them all.

A slide that brings the process that reads it down, or takes too long, gets one more attempt and is then listed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from kdtrain.bundle.load import open_bundle
from kdtrain.bundle.validation import write_validation
from kdtrain.errors import NotFiniteError, TrainingError, UsageError
from kdtrain.predict import slides
from kdtrain.predict.answers.prediction import Failure, SlideError, SlidePrediction
from kdtrain.predict.answers.request import Request
from kdtrain.predict.answers.slide_images import ReadJob, SlideImages, SlideUnread
from kdtrain.predict.dicom import asked
from kdtrain.predict.read_images import read_slide
from kdtrain.predict.results import ResultsFolder, document, in_order
from kdtrain.predict.task import SlideTask
from kdtrain.predict.validated import truths, validated
from kdtrain.text import visible

ATTEMPTS = 2
WORKER_BYTES = 1024**3
"""What a process that reads a slide takes at most, of any size (slideprep's own bound)."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a request.

    Attributes:
        bundle: Its title.
        runtime: What computed the network.
        classes: In the order of the probabilities.
        magnification: The network's.
        probabilities: Whether they are calibrated, in words.
        predictions: Sorted by slide.
        failures: What could not be predicted.
        identity: The bundle and the settings, JSON-able.
        measured: How often the network is right, where labels were given: the content of metrics.json.
    """

    bundle: str
    runtime: str
    classes: tuple[str, ...]
    magnification: float
    probabilities: str
    predictions: tuple[SlidePrediction, ...]
    failures: tuple[Failure, ...]
    identity: Mapping[str, Any]
    measured: Mapping[str, Any] | None = None

    @property
    def document(self) -> dict[str, Any]:
        """The content of predictions.json."""
        return document(self.identity, self.predictions, self.failures, self.measured)


def predict_slides(request: Request, console: Console) -> Outcome:
    """Predict slides, each as far as it can be read.

    Args:
        request: What is asked for.
        console: For the progress bar.

    Raises:
        UsageError: Something about the request as a whole is wrong; nothing was read or written.
        TrainingError: Not one slide could be predicted.
    """
    slides.require_slideprep()
    if request.dicom and request.out is None:
        raise UsageError("--dicom writes class maps, which need a folder; add --out DIR")
    if request.explain is not None and request.out is None:
        raise UsageError("--explain draws pictures and pages, which need a folder; add --out DIR")
    slides.require_folder(request.read.annotations)
    bundle = open_bundle(request.bundle)
    settings = slides.read_settings(bundle.document.slides, request.read)
    found, failures = slides.discovered(request.slides)
    if request.dicom:
        asked.require_dicom([(file.name, None if file.remote else file.path) for file in found])
    runtime = bundle.runtime(backend=request.backend, device=request.device)
    task = SlideTask(bundle, runtime, outside=request.outside, explain=request.explain)
    identity = {"bundle": {"name": bundle.name, "sha256": bundle.sha256}, "settings": request.record}
    display = None if request.explain is None else request.explain.display
    names = [file.name for file in found]
    scales = slides.label_scales(request.read.labels, names)
    truth_of = truths(request.read.labels, names, bundle.classes)
    dicom = request.dicom if request.dicom is not None else display is not None and asked.has_highdicom()
    jobs = [
        slides.read_job(file, settings, bundle.magnification, request.read, display, scales, dicom=dicom)
        for file in found
    ]
    folder = None if request.out is None else ResultsFolder(request.out)
    with nullcontext() if folder is None else folder.sole_writer():
        if folder is not None:
            folder.begin(identity)
        predictions, failed = _predict(jobs, task, folder, request, console)
        failures = in_order([*failures, *failed])
        unasked = {failure.slide for failure in failures if failure.stage != "dicom"}
        validation = validated(bundle, predictions, truth_of, unasked)
        outcome = Outcome(
            bundle=bundle.title,
            runtime=runtime.name,
            classes=bundle.classes,
            magnification=bundle.magnification,
            probabilities=bundle.probability_words,
            predictions=tuple(sorted(predictions, key=lambda one: one.slide)),
            failures=tuple(failures),
            identity=identity,
            measured=None if validation is None else validation.metrics,
        )
        if folder is not None:
            if validation is not None:
                write_validation(folder.evaluation, bundle, validation)
            folder.finish(identity, outcome.predictions, outcome.failures, outcome.classes, outcome.measured)
    if not predictions:
        reasons = "; ".join(failure.reason for failure in failures[:5])
        count = len({failure.slide for failure in failures})
        raise TrainingError(f"not one of {count:,} slides could be predicted: {reasons}")
    return outcome


def _predict(
    jobs: Sequence[ReadJob],
    task: SlideTask,
    folder: ResultsFolder | None,
    request: Request,
    console: Console,
) -> tuple[list[SlidePrediction], list[Failure]]:
    """What is said of each slide, finished ones of an earlier start included, and what failed."""
    predictions, failures, waiting = [], [], []
    for job in jobs:
        kept = _finished(job, folder, explained=request.explain is not None, dicom=request.dicom is True)
        if kept is None:
            waiting.append(job)
        else:
            predictions.append(kept)
            failures += region_failures(kept)
    faults = ReadFaults(request.slide_minutes)
    with slides_bar(console, len(jobs), len(predictions)) as (say, advance):
        for job, images in read_all(waiting, faults, request, say, advance):
            if not isinstance(images, SlideImages):
                failures += images.failures
                continue
            try:
                prediction, unwritten = _one(job, images, task, folder, say, dicom=request.dicom is True)
            except SlideError as error:
                failures.append(error.failure)
            else:
                predictions.append(prediction)
                failures += [*region_failures(prediction), *unwritten]
    return predictions, failures + faults.failures


def _one(
    job: ReadJob,
    images: SlideImages,
    task: SlideTask,
    folder: ResultsFolder | None,
    say: Callable[[str], None],
    *,
    dicom: bool = False,
) -> tuple[SlidePrediction, list[Failure]]:
    """Predict, explain and keep one slide.

    Args:
        job: The slide.
        images: As it was read.
        task: What is done with it.
        folder: Of the results, or None.
        say: Shows what is being done.
        dicom: Whether class maps as DICOM were asked for in so many words.

    Returns:
        What is said of it, and why there are no class maps of it though they were asked for.

    Raises:
        SlideError: It is refused, there is not enough memory for it, or the network gives no numbers for it.
    """
    say(images.name)
    unwritten: list[Failure] = []
    try:
        prediction = task.predicted(images)
        if folder is not None:
            written = task.explained(images, prediction, folder.explanation(job.key), say)
            folder.forget_other_pictures(job.key, written)
            if dicom or images.header is not None:
                prediction, unwritten = _class_maps(
                    images, prediction, task, folder.class_maps(job.key), say, required=dicom
                )
    except MemoryError as error:
        reason = f"slide '{images.name}': {str(error) or 'there is not enough memory for it'}"
        raise SlideError(Failure(slide=images.name, region=None, stage="memory", reason=reason)) from None
    except NotFiniteError as error:
        reason = f"slide '{images.name}': {error}"
        raise SlideError(Failure(slide=images.name, region=None, stage="network", reason=reason)) from None
    mark = None if folder is None else slides.slide_mark(job, images.fingerprint)
    if folder is not None and mark is not None:  # None: its annotations were taken away meanwhile
        folder.save(job.key, mark, prediction)
    return prediction, unwritten


def _class_maps(
    images: SlideImages,
    prediction: SlidePrediction,
    task: SlideTask,
    folder: Path,
    say: Callable[[str], None],
    *,
    required: bool,
) -> tuple[SlidePrediction, list[Failure]]:
    """Write them. That it cannot be done is a failure where it was asked for, and else a remark: the answer stands."""
    try:
        remarks = task.class_maps(images, prediction, folder, say)
    except SlideError as error:
        if required:
            return prediction, [error.failure]
        remarks = (f"no class maps as DICOM: {error.failure.reason}",)
    return replace(prediction, warnings=(*prediction.warnings, *remarks)), []


def _finished(
    job: ReadJob, folder: ResultsFolder | None, *, explained: bool, dicom: bool
) -> SlidePrediction | None:
    """The result of an earlier start of the same command, if the slide is still the same."""
    if folder is None or not folder.holds(job.key, explained=explained, dicom=dicom):
        return None
    mark = slides.slide_mark(job)
    return None if mark is None else folder.finished(job.key, mark)


def read_all(
    jobs: Sequence[ReadJob],
    faults: ReadFaults,
    request: Request,
    say: Callable[[str], None],
    advance: Callable[[], None],
) -> Iterator[tuple[ReadJob, SlideImages | SlideUnread]]:
    """Slides as they are read; Ray is started only where there are several."""
    if not jobs:
        return
    from slideprep import run_on_workers

    with slides.translated():
        results = run_on_workers(
            read_slide,
            jobs,
            workers=0 if request.workers is None and len(jobs) == 1 else request.workers,
            on_crash=faults.crashed,
            on_timeout=faults.timed_out,
            time_limit_s=faults.seconds,
            memory=faults.memory,
            start_seconds=request.start_seconds,
            say=say,
        )
        for job, images in results:
            yield job, images
            advance()


def region_failures(prediction: SlidePrediction) -> list[Failure]:
    """The damaged regions of a slide whose other regions were predicted."""
    return [
        Failure(slide=prediction.slide, region=index, stage="read", reason=reason)
        for index, reason in prediction.failed
    ]


@contextmanager
def slides_bar(
    console: Console, total: int, done: int, doing: str = "Predicting"
) -> Iterator[tuple[Callable[[str], None], Callable[[], None]]]:
    """A bar over slides: what to say beside it, and what counts one more."""
    with Progress(
        TextColumn(doing),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("slides"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[now]}", markup=False),
        console=console,
        transient=True,
    ) as progress:
        bar = progress.add_task("", total=total, completed=done, now="")
        yield lambda text: progress.update(bar, now=visible(text)), lambda: progress.advance(bar)


class ReadFaults:
    """Decides what becomes of such slides.

    Args:
        minutes: How long a slide may take; 0 for any time.

    Attributes:
        failures: Slides that were given up.
        seconds: How long a slide may take; None for any time.
    """

    def __init__(self, minutes: float) -> None:
        self._minutes = minutes
        self.seconds = minutes * 60 or None
        self.failures: list[Failure] = []

    def memory(self, job: ReadJob) -> int:
        """Bytes to reserve: more where too little may have been what ended the first attempt."""
        return WORKER_BYTES * (1 + job.attempt)

    def crashed(self, job: ReadJob, reason: str) -> ReadJob | None:
        """Once more, then never."""
        if job.attempt + 1 < ATTEMPTS:
            return replace(job, attempt=job.attempt + 1)
        text = (
            f"slide '{job.file.name}' brought its worker process down {ATTEMPTS} times ({reason}); the file is "
            "probably damaged, or too large for this machine's memory"
        )
        self.failures.append(Failure(slide=job.file.name, region=None, stage="crash", reason=text))
        return None

    def timed_out(self, job: ReadJob) -> None:
        """Nothing is run in its place."""
        text = (
            f"slide '{job.file.name}' was not read within {self._minutes:g} minutes and was given up; check the file "
            "and the storage it lies on, or give it more time with --slide-minutes (0: no limit)"
        )
        self.failures.append(Failure(slide=job.file.name, region=None, stage="crash", reason=text))
