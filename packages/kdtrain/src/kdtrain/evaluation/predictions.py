"""What a model said about each sample of a split: checked, summed up by slide and patient, stored as CSV.

In: one Prediction per sample. Out: the items of a level, sorted by name so that nothing depends on the order in which
ranks and workers delivered them, and ``predictions.csv``, which reads back to the last bit. No metric is computed here.

The file has one line per sample, sorted by key, and the columns

    key, slide, patient, label, predicted, p_<class> for each class in the index's order, <provenance>...

Labels are class names, probabilities are written so that they read back exactly, and the provenance columns (the
split, the run, the shard set) have the same value in every line. Of a network that was calibrated, p_<class> are the
calibrated probabilities, softmax_<class> behind them are those before, and ``temperature`` is the last column.
"""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from kdtrain.errors import UsageError
from kdtrain.evaluation.metrics import FloatArray, IntArray
from kdtrain.evaluation.temperature import UNCHANGED, Temperature, tempered
from kdtrain.files import write_atomically
from kdtrain.text import csv_text, csv_value

Level = Literal["sample", "slide", "patient"]
"""What is counted: samples (regions), or the mean over all samples of a slide or a patient."""
LEVELS: tuple[Level, ...] = get_args(Level)

_FIXED_COLUMNS = ("key", "slide", "patient", "label", "predicted")
_BEFORE, _TEMPERATURE = "softmax_", "temperature"
_SUM_TOLERANCE = 1e-3  # a softmax in bfloat16 is off by less


class PredictionsError(UsageError):
    """Predictions that cannot be evaluated: which, why, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a model said about one sample."""

    key: str
    slide: str
    patient: str
    label: int
    """True class, from 0 in the order of the index's classes."""
    probabilities: tuple[float, ...]
    """One per class, in the same order: the softmax of the logits as they are, calibrated or not."""

    @property
    def predicted(self) -> int:
        """The most probable class; the first of equals."""
        return self.probabilities.index(max(self.probabilities))


@dataclass(frozen=True, kw_only=True)
class LevelItems:
    """The items of one level, sorted by name: N items, K classes."""

    names: tuple[str, ...]
    """(N) keys, slides or patients."""
    patients: tuple[str, ...]
    """(N)"""
    labels: IntArray
    """(N)"""
    probabilities: FloatArray
    """(N, K): of the sample, or the mean over the samples of the slide or patient, each counting the same."""
    mixed: tuple[str, ...]
    """Slides or patients left out, since their samples have several labels and so they have none."""


@dataclass(frozen=True, kw_only=True)
class PredictionTable:
    """The content of a ``predictions.csv``."""

    classes: tuple[str, ...]
    predictions: tuple[Prediction, ...]
    """Sorted by key."""
    provenance: dict[str, str]
    temperature: float | None = None
    """Of a network that was calibrated: by which its logits are divided."""


def check_predictions(predictions: Sequence[Prediction], classes: Sequence[str]) -> tuple[Prediction, ...]:
    """Refuse what would give wrong numbers, and sort the rest by key.

    Raises:
        PredictionsError: There is none; a key comes twice; a slide has two patients; a label is no class; the
            probabilities are not one finite number per class from 0 to 1 that add up to 1.
    """
    if not predictions:
        raise PredictionsError(
            "there are no predictions, so nothing can be evaluated; name a split with samples"
        )
    ordered = tuple(sorted(predictions, key=lambda prediction: prediction.key))
    for one, other in itertools.pairwise(ordered):
        if one.key == other.key:
            raise PredictionsError(f"sample {one.key!r} is predicted twice; every sample counts once")
    patients: dict[str, str] = {}
    for prediction in ordered:
        _check_one(prediction, len(classes))
        known = patients.setdefault(prediction.slide, prediction.patient)
        if known != prediction.patient:
            raise PredictionsError(
                f"slide {prediction.slide!r} belongs to patients {known!r} and {prediction.patient!r}, but a slide is "
                "of one patient; correct labels.csv and build the shards again"
            )
    return ordered


def _check_one(prediction: Prediction, classes: int) -> None:
    given = prediction.probabilities
    if not 0 <= prediction.label < classes:
        raise PredictionsError(
            f"sample {prediction.key!r} has label {prediction.label}, but the classes are 0 to {classes - 1}; evaluate "
            "with the class names of the shards"
        )
    sound = len(given) == classes and all(math.isfinite(p) and 0 <= p <= 1 for p in given)
    if not sound or abs(math.fsum(given) - 1) > _SUM_TOLERANCE:
        raise PredictionsError(
            f"sample {prediction.key!r} has probabilities {given}: not {classes} numbers from 0 to 1 that add up to 1; "
            "give the softmax of finite logits"
        )


def items_at(
    level: Level, predictions: Sequence[Prediction], temperature: Temperature | None = None
) -> LevelItems:
    """Sum up predictions by sample, slide or patient.

    Args:
        level: What one item is.
        predictions: Predictions of one model, from ``check_predictions``.
        temperature: Calibrates every sample's probabilities, of which slides and patients then have the mean; one for
            each sample where several networks were asked; None for the softmax as it is.
    """
    name_of: dict[Level, Callable[[Prediction], str]] = {
        "sample": lambda prediction: prediction.key,
        "slide": lambda prediction: prediction.slide,
        "patient": lambda prediction: prediction.patient,
    }
    said = calibrated(predictions, temperature)
    groups: dict[str, list[int]] = {}
    for place, prediction in enumerate(predictions):
        groups.setdefault(name_of[level](prediction), []).append(place)
    mixed = {name for name, places in groups.items() if len({predictions[i].label for i in places}) > 1}
    kept = {name: groups[name] for name in sorted(groups) if name not in mixed}
    means = [np.mean(said[places], axis=0) for places in kept.values()]
    return LevelItems(
        names=tuple(kept),
        patients=tuple(predictions[places[0]].patient for places in kept.values()),
        labels=np.array([predictions[places[0]].label for places in kept.values()], dtype=np.int64),
        probabilities=np.reshape(means, (len(kept), said.shape[1])),
        mixed=tuple(sorted(mixed)),
    )


def ranked_items_at(
    level: Level, predictions: Sequence[Prediction], temperature: Temperature | None = None
) -> LevelItems:
    """The items that classes are told from: accuracy, F1, ROC AUC.

    Samples as the softmax has them, as in the paper: no temperature changes a sample's class, but it may change which
    of two samples is more of one class of three. Slides and patients as they are answered for: where their samples
    disagree, how sure the network is of each decides.
    """
    return items_at(level, predictions, None if level == "sample" else temperature)


def calibrated(predictions: Sequence[Prediction], temperature: Temperature | None) -> FloatArray:
    """(N, K): the samples' probabilities at a temperature; as they are without one."""
    said_NK = np.array([one.probabilities for one in predictions], dtype=np.float64)
    return tempered(said_NK, UNCHANGED if temperature is None else temperature)


def write_predictions_csv(
    path: Path,
    predictions: Sequence[Prediction],
    classes: Sequence[str],
    provenance: Mapping[str, str],
    temperature: float | None = None,
) -> None:
    """Write ``predictions.csv`` (columns above), whole or not at all.

    Args:
        path: The file; its folder is made, an older file is replaced.
        predictions: In any order.
        classes: Names, in the order of labels and probabilities.
        provenance: Columns with one value for all: at least ``split``.
        temperature: Of a network that was calibrated.

    Raises:
        PredictionsError: As ``check_predictions``.
        ValueError: The provenance lacks ``split`` or uses the name of another column.
    """
    ordered = check_predictions(predictions, classes)
    columns = [*_FIXED_COLUMNS, *(f"p_{name}" for name in classes)]
    if temperature is not None:
        columns += [f"{_BEFORE}{name}" for name in classes]
    if "split" not in provenance or set(provenance) & {*columns, _TEMPERATURE}:
        raise ValueError(f"provenance {sorted(provenance)} must hold 'split' and none of {columns}")
    before = {} if temperature is None else {_TEMPERATURE: temperature}
    rows = (
        [
            *(one.key, one.slide, one.patient, classes[one.label], classes[one.predicted]),
            *said,
            *(map(float, one.probabilities) if before else ()),
            *provenance.values(),
            *before.values(),
        ]
        for one, said in zip(ordered, calibrated(ordered, temperature).tolist(), strict=True)
    )
    write_atomically(path, csv_text([(*columns, *provenance, *before), *rows]).encode())


def read_predictions_csv(path: Path) -> PredictionTable:
    """Read what ``write_predictions_csv`` wrote.

    Raises:
        PredictionsError: The file is missing, or not as written: the message names the line.
    """
    try:
        written = csv.reader(io.StringIO(path.read_bytes().decode(), newline=""), strict=True)
        lines = [list(map(csv_value, row)) for row in written]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _unreadable(path, str(error)) from error
    header = lines[0] if lines else []
    start = len(_FIXED_COLUMNS)
    classes = tuple(name.removeprefix("p_") for name in header[start:] if name.startswith("p_"))
    columns = [*_FIXED_COLUMNS, *(f"p_{name}" for name in classes)]
    if header[-1:] == [_TEMPERATURE]:
        columns += [f"{_BEFORE}{name}" for name in classes]
    extra = header[len(columns) :]
    if header != [*columns, *extra] or "split" not in extra:
        raise _unreadable(path, f"its columns are {header}")
    softmax = slice(len(columns) - len(classes), len(columns))
    rows = [
        _parse(path, number, row, header, classes, softmax) for number, row in enumerate(lines[1:], start=2)
    ]
    if len({tuple(row[len(header) - len(extra) :]) for row in lines[1:]}) > 1:
        raise _unreadable(path, f"{extra} differ between its lines")
    predictions = check_predictions(rows, classes)
    provenance = dict(zip(extra, lines[1][-len(extra) :], strict=True))
    return PredictionTable(
        classes=classes,
        predictions=predictions,
        temperature=_temperature(path, provenance.pop(_TEMPERATURE, None)),
        provenance=provenance,
    )


def _temperature(path: Path, written: str | None) -> float | None:
    if written is None:
        return None
    try:
        temperature = float(written)
    except ValueError:
        temperature = math.nan
    if not 0 < temperature < math.inf:
        raise _unreadable(path, f"its temperature is {written!r}, no number above 0")
    return temperature


def _parse(
    path: Path, number: int, row: list[str], header: list[str], classes: tuple[str, ...], softmax: slice
) -> Prediction:
    if len(row) != len(header):
        raise _unreadable(path, f"line {number} has {len(row)} values for {len(header)} columns")
    key, slide, patient, label, predicted = row[: len(_FIXED_COLUMNS)]
    try:
        probabilities = tuple(float(text) for text in row[softmax])
        prediction = Prediction(
            key=key, slide=slide, patient=patient, label=classes.index(label), probabilities=probabilities
        )
    except ValueError as error:
        raise _unreadable(path, f"line {number}: {error}") from error
    if classes[prediction.predicted] != predicted:
        raise _unreadable(path, f"line {number}: {predicted!r} is not the most probable class")
    return prediction


def _unreadable(path: Path, reason: str) -> PredictionsError:
    return PredictionsError(f"cannot read {path}: {reason}; run 'kdtrain evaluate' again to write it")
