"""A folder of synthetic slides with its labels: what the demo and the tests run on.

    out/synthetic-0001.tiff ...   the slides
    out/synthetic.json            what they were made with
    out/README.txt                says that they are synthetic
    out/truth/*.geojson           of focal slides: the outlines of their lesions, level-0 pixels
    out/labels.csv                slide,label,patient; written last, so a folder with it is complete

A slide depends on the seed and on its own number alone: the number of workers changes nothing, and making
more slides leaves the first ones as they were.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from slideprep.errors import UsageError
from slideprep.synthetic.lesion import LesionSize, truth_geojson
from slideprep.synthetic.recipe import CLASSES, class_recipe
from slideprep.synthetic.slide import Origin, SlideSize, draw_slide, write_pyramid
from slideprep.text import csv_text

_README = """\
THESE SLIDES ARE SYNTHETIC.

They were drawn by a program (slideprep synthesize). They show no patient's tissue, and nothing measured on
them says anything about medicine. They exist to try slideprep and kdtrain from end to end.

{objective}x, {mpp} micrometres per pixel, tiled JPEG pyramids. Classes and patients in labels.csv are invented; a slide
with an empty label is meant as unlabelled. Made with the settings in synthetic.json, they come out the same,
byte for byte.
"""

_FOCAL_README = """
Their tissue is normal but for one lesion in each piece, of the class that the label names; slides of the class
normal have none. Glands, stain and thickness are the same inside and outside: the nuclei alone differ. The
lesions' outlines are in truth/, in level-0 pixels, as GeoJSON that QuPath opens.
"""


@dataclass(frozen=True, kw_only=True)
class PlannedSlide:
    """One slide to be made: everything about it but its pixels."""

    name: str
    class_name: str
    label: str
    """The class, or empty where the slide is left unlabelled."""
    patient: str
    seed: tuple[int, int]
    pen: bool


def plan_slides(*, n_slides: int, unlabelled: int, classes: Sequence[str], seed: int) -> list[PlannedSlide]:
    """Say which slides a set consists of.

    Labelled slides take the classes in turn; a patient has one or two slides, of one class. Unlabelled slides
    follow, one per patient, of classes drawn at random that are written nowhere. Every fourth slide bears
    pen.

    Raises:
        UsageError: Counts below 0, nothing to make, no class, or a class that does not exist.
    """
    if n_slides < 0 or unlabelled < 0 or n_slides + unlabelled == 0:
        raise UsageError(f"a set needs at least one slide; got --slides {n_slides} --unlabelled {unlabelled}")
    if not classes:
        raise UsageError(f"a set needs at least one class; choose from {', '.join(CLASSES)}")
    for name in classes:
        class_recipe(name)
    rng = np.random.default_rng((seed, 0))
    patients = _patients(rng, n_slides, len(classes))
    hidden = [classes[int(rng.integers(len(classes)))] for _ in range(unlabelled)]
    plan = []
    for i in range(n_slides + unlabelled):
        labelled = i < n_slides
        class_name = classes[i % len(classes)] if labelled else hidden[i - n_slides]
        plan.append(
            PlannedSlide(
                name=f"synthetic-{i + 1:04d}",
                class_name=class_name,
                label=class_name if labelled else "",
                patient=patients[i] if labelled else f"synthetic-aux-{i - n_slides + 1:04d}",
                seed=(seed, i + 1),
                pen=i % 4 == 3,
            )
        )
    return plan


def _patients(rng: np.random.Generator, n_slides: int, n_classes: int) -> list[str]:
    """A patient for each labelled slide; about a third of the patients have two slides of their class."""
    names: list[str] = []
    open_second: dict[int, str] = {}
    count = 0
    for i in range(n_slides):
        shared = open_second.pop(i % n_classes, None)
        if shared is not None:
            names.append(shared)
            continue
        count += 1
        names.append(f"synthetic-patient-{count:04d}")
        if rng.random() < 1 / 3:
            open_second[i % n_classes] = names[-1]
    return names


def make_slides(
    out: Path,
    *,
    n_slides: int = 24,
    unlabelled: int = 0,
    classes: Sequence[str] = tuple(CLASSES),
    seed: int = 0,
    workers: int = 1,
    size: SlideSize | None = None,
    lesion_size: LesionSize | None = None,
    origin: Origin | None = None,
    on_slide: Callable[[Path], None] | None = None,
) -> list[Path]:
    """Make a set of synthetic slides in ``out``; called again with the same settings, it completes the set.

    Args:
        out: The folder; made where it is missing. It must be empty or hold a set of the same settings.
        n_slides: Labelled slides.
        unlabelled: Further slides without a label, one patient each.
        classes: Names of classes, in the order in which slides take them.
        seed: Seed of the set.
        workers: Processes; the result does not depend on it.
        size: How large the slides are; see :class:`~slideprep.synthetic.slide.SlideSize`.
        lesion_size: Makes focal slides: normal tissue with a lesion of the slide's class, of this size, in each piece.
        origin: Their stains and their scanner; the usual ones where None.
        on_slide: Called with each slide's path as it becomes ready, in any order.

    Returns:
        The slides' paths, in order.

    Raises:
        UsageError: Settings that make no sense, or a folder that holds something else.
    """
    if workers < 1:
        raise UsageError(f"making slides takes at least one worker; got --workers {workers}")
    size, origin = size or SlideSize(), origin or Origin()
    plan = plan_slides(n_slides=n_slides, unlabelled=unlabelled, classes=classes, seed=seed)
    record = {
        "synthetic": True,
        "n_slides": n_slides,
        "unlabelled": unlabelled,
        "classes": list(classes),
        "seed": seed,
        "size": asdict(size),
    }
    if lesion_size:
        record["lesions"] = {**asdict(lesion_size), "outlines": "truth/SLIDE.geojson"}
    if origin != Origin():  # sets of earlier versions are of this one
        record["origin"] = asdict(origin)
    readme = _README.format(objective=origin.objective, mpp=origin.mpp)
    _prepare(out, record, readme + (_FOCAL_README if lesion_size else ""))
    paths = [out / f"{slide.name}.tiff" for slide in plan]
    missing = [(path, slide) for path, slide in zip(paths, plan, strict=True) if not path.exists()]
    for path in paths:
        if path.exists() and on_slide is not None:
            on_slide(path)
    make = partial(_make_planned, size=size, lesion_size=lesion_size, origin=origin)
    _render(missing, make, workers, on_slide or (lambda _: None))
    _write_whole(out / "labels.csv", _labels_csv(plan))
    return paths


def _prepare(out: Path, record: dict[str, Any], readme: str) -> None:
    text = json.dumps(record, indent=2) + "\n"
    recorded = out / "synthetic.json"
    if recorded.exists():
        if recorded.read_text(encoding="utf-8") != text:
            raise UsageError(
                f"'{out}' holds synthetic slides of other settings (see its synthetic.json), and sets "
                "are never mixed; choose another folder or give the same options"
            )
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"'{out}' is not an empty folder, and nothing is overwritten; choose another one")
    out.mkdir(parents=True, exist_ok=True)
    _write_whole(recorded, text)
    _write_whole(out / "README.txt", readme)


def _render(
    missing: list[tuple[Path, PlannedSlide]],
    make: Callable[[Path, PlannedSlide], Path],
    workers: int,
    on_slide: Callable[[Path], None],
) -> None:
    if workers == 1 or len(missing) < 2:
        for path, slide in missing:
            on_slide(make(path, slide))
        return
    # A fresh interpreter per worker: libvips runs threads, and a forked child would inherit their locks.
    with ProcessPoolExecutor(min(workers, len(missing)), mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(make, path, slide) for path, slide in missing]
        for future in as_completed(futures):
            on_slide(future.result())


def _make_planned(
    path: Path, slide: PlannedSlide, *, size: SlideSize, lesion_size: LesionSize | None, origin: Origin
) -> Path:
    drawn = draw_slide(
        class_name=slide.class_name,
        seed=slide.seed,
        pen=slide.pen,
        size=size,
        lesion_size=lesion_size,
        stain_shift=origin.stain_shift,
    )
    if lesion_size:
        truth = path.parent / "truth" / f"{path.stem}.geojson"
        truth.parent.mkdir(exist_ok=True)
        lesions = [replace(one, outline_l0=one.outline_l0 * origin.enlarged) for one in drawn.lesions]
        _write_whole(truth, truth_geojson(lesions))
    # Last: a slide that is there is complete, its truth included.
    write_pyramid(path, drawn.pixels, title=path.stem, origin=origin)
    return path


def _labels_csv(plan: list[PlannedSlide]) -> str:
    rows = ((f"{slide.name}.tiff", slide.label, slide.patient) for slide in plan)
    return csv_text([("slide", "label", "patient"), *rows])


def _write_whole(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
