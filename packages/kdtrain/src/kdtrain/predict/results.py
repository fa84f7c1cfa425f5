"""The folder of a prediction: begun, filled slide by slide, summed up at the end.

::

    OUT/predict.json               what was asked for: the bundle and the settings that decide the results
    OUT/slides/<key>.json          one slide's result, written when it is complete
    OUT/predictions.csv            one line per slide
    OUT/regions.csv                one line per region
    OUT/predictions.json           both, and everything else that is known
    OUT/failures.csv               slide, region, stage, reason: what could not be predicted
    OUT/evaluation/                where labels are given, how often it is right (kdtrain.bundle.validation)
    OUT/explanations/<key>/        heat maps and a page (kdtrain.predict.explain)
    OUT/dicom/<key>/               class maps as DICOM (kdtrain.predict.dicom), the only files that name a patient

Slides that are there already are not predicted again: the same command goes on where it was stopped. No file depends
on the clock, on the order in which slides were finished or on the number of workers.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from kdtrain.errors import UsageError
from kdtrain.files import parsed_json, remove_partials, write_atomically
from kdtrain.locks import is_free, sole_writer
from kdtrain.predict.answers.prediction import Failure, SlidePrediction
from kdtrain.predict.answers.request import CLASSES_FILE, PAGE_FILE
from kdtrain.text import csv_text, readable_json
from kdtrain.training.run_folder import differences

IDENTITY_FILE = "predict.json"
_FORMAT = "kdtrain-predictions"
_VERSION = (1, 0)
_PREDICTIONS = TypeAdapter(SlidePrediction)


class ResultsFolder:
    """The folder of one prediction.

    Args:
        path: ``--out``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def sole_writer(self) -> Iterator[None]:
        """Hold the folder; what a killed command was writing goes.

        Raises:
            UsageError: The folder holds something else, or another command writes there.
        """
        self._check_free()
        with sole_writer(self.path, "kdtrain predict"):
            for folder in (self.path, self.path / "slides", *self._folders_of_slides()):
                if folder.is_dir():
                    remove_partials(folder)
            yield

    def _folders_of_slides(self) -> Iterator[Path]:
        for kind in ("explanations", "dicom"):
            yield from self.path.glob(f"{kind}/*/")

    def begin(self, identity: Mapping[str, Any]) -> None:
        """Start, or go on with the same.

        Args:
            identity: The bundle, and the settings that decide the results; JSON-able.

        Raises:
            UsageError: The folder holds something else.
        """
        file = self.path / IDENTITY_FILE
        wanted = json.loads(json.dumps({"format": _FORMAT, "version": _VERSION, **identity}, allow_nan=False))
        if file.exists():
            try:
                found = parsed_json(file.read_bytes())
            except ValueError:
                found = None
            if not isinstance(found, dict):
                raise UsageError(f"--out {self.path}: {IDENTITY_FILE} is damaged; give a new folder")
            if lines := differences(found, wanted):
                raise UsageError(
                    f"--out {self.path} holds predictions made otherwise, and they are never mixed:\n  "
                    + "\n  ".join(lines)
                    + "\ngive a new --out, or the settings it was begun with"
                )
            return
        self._check_free()
        write_atomically(file, json_bytes(wanted))

    def _check_free(self) -> None:
        if not (self.path / IDENTITY_FILE).exists() and not is_free(self.path):
            raise UsageError(f"--out {self.path} is not empty and holds no predictions; give a new folder")

    def holds(self, key: str, *, explained: bool, dicom: bool = False) -> bool:
        """Whether there is a result under this key, of whatever content.

        Args:
            key: The slide's.
            explained: Whether its page has to be there as well.
            dicom: Whether its class maps have to be.
        """
        beside = [self.explanation(key) / PAGE_FILE] if explained else []
        beside += [self.class_maps(key) / CLASSES_FILE] if dicom else []
        return all(path.exists() for path in (self._slide_file(key), *beside))

    def finished(self, key: str, mark: str) -> SlidePrediction | None:
        """The result of a slide; None where it is still to be made.

        Args:
            key: The slide's.
            mark: Digest of all that decides the result.
        """
        try:
            kept = parsed_json(self._slide_file(key).read_bytes())
            if not isinstance(kept, dict) or kept.pop("mark") != mark:
                return None
            return _PREDICTIONS.validate_python(kept)
        except (OSError, ValueError, KeyError):
            return None

    def save(self, key: str, mark: str, prediction: SlidePrediction) -> None:
        """Keep a slide's result; its explanation lies there already."""
        write_atomically(self._slide_file(key), json_bytes({**asdict(prediction), "mark": mark}))

    def _slide_file(self, key: str) -> Path:
        return self.path / "slides" / f"{key}.json"

    def explanation(self, key: str) -> Path:
        """Folder of a slide's heat maps."""
        return self.path / "explanations" / key

    def class_maps(self, key: str) -> Path:
        """Folder of a slide's class maps as DICOM."""
        return self.path / "dicom" / key

    @property
    def evaluation(self) -> Path:
        """Folder of what was measured, where labels were given."""
        return self.path / "evaluation"

    def forget_other_pictures(self, key: str, written: Collection[str]) -> None:
        """Remove pictures of what a slide was said to be before it changed.

        Args:
            key: The slide's.
            written: Names of the files that its explanation has now; none where it was not asked for.
        """
        if not written:
            return
        for path in self.explanation(key).glob("overlay-*"):
            if path.name not in written:
                path.unlink(missing_ok=True)

    def finish(
        self,
        identity: Mapping[str, Any],
        predictions: Sequence[SlidePrediction],
        failures: Sequence[Failure],
        classes: Sequence[str],
        measured: Mapping[str, Any] | None = None,
    ) -> None:
        """Write the tables of all slides; with what was measured of them, where labels were given."""
        ordered, listed = sorted(predictions, key=lambda one: one.slide), in_order(failures)
        write_atomically(self.path / "predictions.csv", slides_csv(ordered, classes))
        write_atomically(self.path / "regions.csv", regions_csv(ordered, classes))
        write_atomically(self.path / "failures.csv", failures_csv(listed))
        write_atomically(
            self.path / "predictions.json", json_bytes(document(identity, ordered, listed, measured))
        )


def in_order(failures: Iterable[Failure]) -> list[Failure]:
    """By slide, the slide as a whole before its regions."""
    return sorted(failures, key=lambda one: (one.slide, -1 if one.region is None else one.region, one.reason))


def document(
    identity: Mapping[str, Any],
    predictions: Iterable[SlidePrediction],
    failures: Iterable[Failure],
    measured: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What predictions.json and ``--json`` hold."""
    return {
        "format": _FORMAT,
        "version": _VERSION,
        **identity,
        "slides": [{**asdict(one), "predicted": one.label} for one in predictions],
        "failures": [asdict(one) for one in failures],
        **({} if measured is None else {"evaluation": measured}),
    }


def slides_csv(predictions: Iterable[SlidePrediction], classes: Sequence[str]) -> bytes:
    """predictions.csv."""
    header = ["slide", "predicted", *(f"p_{name}" for name in classes), "regions", "regions_left_out"]
    header += ["regions_failed", "magnification", "mpp", "level", "outside", "warnings"]
    return csv_text([header, *map(_slide_row, predictions)]).encode()


def _slide_row(one: SlidePrediction) -> list[object]:
    flagged = [f"region {region.index}: {text}" for region in one.regions for text in region.outside]
    return [
        *(one.slide, one.label, *one.probabilities, len(one.regions), len(one.left_out), len(one.failed)),
        *(f"{one.magnification:g}", "" if one.mpp is None else one.mpp, one.level),
        "; ".join([*one.outside, *flagged]),
        "; ".join(one.warnings),
    ]


def regions_csv(predictions: Iterable[SlidePrediction], classes: Sequence[str]) -> bytes:
    """regions.csv: boxes in level-0 pixels, images in their own."""
    header = ["slide", "region", "key", "predicted", *(f"p_{name}" for name in classes)]
    header += ["x", "y", "width", "height", "image_width", "image_height", "outside"]
    rows: Iterable[list[object]] = (
        [
            *(one.slide, region.index, region.key, classes[region.predicted], *region.probabilities),
            *(region.x, region.y, region.width, region.height, region.image_width, region.image_height),
            "; ".join(region.outside),
        ]
        for one in predictions
        for region in one.regions
    )
    return csv_text([header, *rows]).encode()


def failures_csv(failures: Iterable[Failure]) -> bytes:
    """failures.csv."""
    rows = ([f.slide, "" if f.region is None else f.region, f.stage, f.reason] for f in failures)
    return csv_text([("slide", "region", "stage", "reason"), *rows]).encode()


def json_bytes(content: Mapping[str, Any]) -> bytes:
    """UTF-8, keys sorted; what in a path is no UTF-8 is spelled out."""
    text = json.dumps(readable_json(content), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()
