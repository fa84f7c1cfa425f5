"""Two models on the same samples: the difference of every metric, with a paired bootstrap interval.

In: ``predictions.csv`` of two runs on one split. Out: a Comparison, JSON-able or as a table for the terminal.

Both models are scored on the same draws, so what makes a draw easy or hard cancels out of the difference: two wide
intervals that overlap may still differ for certain. A difference is B minus A; where its interval holds 0, these
samples do not tell the two apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from kdtrain.evaluation.bootstrap import ITERATIONS, Outcomes, Unit, bootstrap, interval, score
from kdtrain.evaluation.estimates import null_if_nan
from kdtrain.evaluation.metrics import CLASS_METRICS, FloatArray, Scores
from kdtrain.evaluation.notes import level_notes
from kdtrain.evaluation.predictions import (
    LEVELS,
    Level,
    Prediction,
    PredictionsError,
    PredictionTable,
    check_predictions,
    items_at,
    ranked_items_at,
    read_predictions_csv,
)
from kdtrain.evaluation.record import (
    PREDICTIONS_FILE,
    BootstrapRecord,
    bootstrap_record,
    evaluation_folder,
    level_counts,
    outcomes_of,
)
from kdtrain.evaluation.reliability import MEASURES, measure, measure_draws, reflected
from kdtrain.training.run_folder import read_run

_TITLES = {
    **{
        f"macro_{name}": f"{name.upper() if name in {'auc', 'f1'} else name} (macro)"
        for name in CLASS_METRICS
    },
    "plain_accuracy": "plain accuracy",
    "balanced_accuracy": "balanced accuracy",
    "ece": "calibration error (ECE)",
    "brier": "Brier score, 0 to 2",
    "log_loss": "log-loss, nats",
}
_PLAIN = frozenset({"brier", "log_loss"})
"""Shown as they are, not in percent."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One metric of two models; fractions, None where undefined."""

    a: float | None
    b: float | None
    difference: float | None
    """B minus A."""
    low: float | None
    """Lower end of the 95 % interval of the difference; None also where there are fewer than two units, of any class
    for a mean over classes."""
    high: float | None
    undefined_draws: int
    """Draws that the interval leaves out because the metric is undefined there."""


@dataclass(frozen=True, kw_only=True)
class LevelComparison:
    """The differences at one level."""

    n: int
    """Items compared."""
    units: int
    """Bootstrap units among them."""
    mixed_left_out: int
    """Slides or patients left out because their samples have several labels."""
    absent_classes: tuple[str, ...]
    """Classes that no item has; left out of every macro mean."""
    metrics: dict[str, Difference]
    """By macro_<name> for each name of CLASS_METRICS, plain_accuracy and balanced_accuracy; then by the names of
    MEASURES, of which less is better, of the probabilities that each model answers with: calibrated where it is."""
    notes: tuple[str, ...]
    """What is to be known before they are read, in sentences."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What ``kdtrain compare`` says."""

    a: str
    """Name of the first model."""
    b: str
    split: str
    classes: tuple[str, ...]
    bootstrap: BootstrapRecord
    levels: dict[Level, LevelComparison]
    temperature_a: float | None = None
    """Of a model that is calibrated."""
    temperature_b: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, with the names of the fields."""
        return asdict(self)

    def _calibrations(self) -> Iterator[str]:
        for name, temperature in (("A", self.temperature_a), ("B", self.temperature_b)):
            if temperature is not None:
                yield f"{name} is calibrated, T = {temperature:.3g}; its AUC by sample is of the softmax before"

    @property
    def _has_intervals(self) -> bool:
        return any(one.low is not None for level in self.levels.values() for one in level.metrics.values())

    def as_rich(self) -> Table:
        """For the terminal, in percent; differences whose interval leaves out 0 are bold."""
        made = self.bootstrap
        notes = [f"{name}s: {note}" for name, level in self.levels.items() for note in level.notes]
        drawn = f"95 % intervals: {made['iterations']:,} paired draws by {made['unit']}"
        caption = "\n".join([*([drawn] if self._has_intervals else []), *self._calibrations(), *notes])
        title = Text(f"B {self.b} against A {self.a}, {self.split}")
        table = Table(title=title, caption=Text(caption), title_justify="left", caption_justify="left")
        table.add_column("")
        for name in ("A, %", "B, %", "B - A", "95 % interval"):
            table.add_column(name, justify="right", no_wrap=True)
        for name, level in self.levels.items():
            table.add_row(Text(_heading(name, level), style="bold"))
            for metric, difference in level.metrics.items():
                table.add_row(f"  {_TITLES[metric]}", *_cells(difference, plain=metric in _PLAIN))
            table.add_section()
        return table


def compare(
    run_a: Path,
    run_b: Path,
    split: str,
    *,
    iterations: int = ITERATIONS,
    seed: int = 0,
    unit: Unit = "patient",
) -> Comparison:
    """Compare two evaluated runs.

    Args:
        run_a: Folder of the run that is the reference.
        run_b: Folder of the other run.
        split: Both have ``evaluation-<split>/predictions.csv``.
        iterations: Bootstrap draws.
        seed: Seed of the draws.
        unit: What is drawn, as in ``evaluate_predictions``.

    Raises:
        UsageError: A folder is no run.
        PredictionsError: A run was not evaluated, a file cannot be read, or the two are not of the same samples and
            classes.
    """
    tables = [_predictions_of(run, split) for run in (run_a, run_b)]
    if tables[0].classes != tables[1].classes:
        raise PredictionsError(
            f"{run_a} has the classes {tables[0].classes} and {run_b} has {tables[1].classes}; compare runs on one "
            "shard set"
        )
    return compare_predictions(
        tables[0].predictions,
        tables[1].predictions,
        tables[0].classes,
        names=(str(run_a), str(run_b)),
        split=split,
        iterations=iterations,
        seed=seed,
        unit=unit,
        temperatures=(tables[0].temperature, tables[1].temperature),
    )


def _predictions_of(run: Path, split: str) -> PredictionTable:
    path = evaluation_folder(run, split) / PREDICTIONS_FILE
    if not path.exists():
        # Refuses with what the folder is in place of a run, if it is none.
        read_run(run, what="RUN")
        raise PredictionsError(
            f"RUN {run} was not evaluated on {split!r} (there is no {path}); run 'kdtrain evaluate {run} --shards DIR "
            f"--split {split}'"
        )
    return read_predictions_csv(path)


def compare_predictions(
    predictions_a: Sequence[Prediction],
    predictions_b: Sequence[Prediction],
    classes: Sequence[str],
    *,
    names: tuple[str, str],
    split: str,
    iterations: int = ITERATIONS,
    seed: int = 0,
    unit: Unit = "patient",
    temperatures: tuple[float | None, float | None] = (None, None),
) -> Comparison:
    """Compare two models' predictions of the same samples, in any order; the rest is as for ``compare``.

    Args:
        predictions_a: Predictions of the model that is the reference.
        predictions_b: Predictions of the other model.
        classes: Names, in the order of labels and probabilities.
        names: Names of the two models, for the record and for messages.
        split: Its name, for the record.
        iterations: Bootstrap draws.
        seed: Seed of the draws.
        unit: What is drawn.
        temperatures: Of models that are calibrated.

    Raises:
        PredictionsError: The keys differ, or a sample's slide, patient or label does.
    """
    ordered = [check_predictions(given, classes) for given in (predictions_a, predictions_b)]
    _check_paired(ordered[0], ordered[1], names)
    return Comparison(
        a=names[0],
        b=names[1],
        split=split,
        classes=tuple(classes),
        bootstrap=bootstrap_record(iterations=iterations, seed=seed, unit=unit),
        levels={
            level: _compare_level(level, ordered, temperatures, classes, iterations, seed, unit)
            for level in LEVELS
        },
        temperature_a=temperatures[0],
        temperature_b=temperatures[1],
    )


def _check_paired(
    ordered_a: Sequence[Prediction], ordered_b: Sequence[Prediction], names: tuple[str, str]
) -> None:
    keys_a, keys_b = {one.key for one in ordered_a}, {one.key for one in ordered_b}
    if keys_a != keys_b:
        raise PredictionsError(
            f"the runs are not of the same samples: {len(keys_a & keys_b)} in both, {len(keys_a - keys_b)} only in "
            f"{names[0]}, {len(keys_b - keys_a)} only in {names[1]}; evaluate both on the same shards and split"
        )
    for one, other in zip(ordered_a, ordered_b, strict=True):
        said = [(prediction.slide, prediction.patient, prediction.label) for prediction in (one, other)]
        if said[0] != said[1]:
            raise PredictionsError(
                f"sample {one.key!r} has (slide, patient, label) {said[0]} in {names[0]} and {said[1]} in {names[1]}; "
                "evaluate both on the same shards"
            )


def _compare_level(
    level: Level,
    models: Sequence[Sequence[Prediction]],
    temperatures: Sequence[float | None],
    classes: Sequence[str],
    iterations: int,
    seed: int,
    unit: Unit,
) -> LevelComparison:
    items = [ranked_items_at(level, *model) for model in zip(models, temperatures, strict=True)]
    answered = [items_at(level, *model) for model in zip(models, temperatures, strict=True)]
    outcomes = [outcomes_of(one, unit) for one in items]
    a, b = (score(one) for one in outcomes)
    draws = bootstrap(outcomes, iterations=iterations, seed=seed)
    draws_a, draws_b = (_overall(scores) for scores in draws)
    counts = level_counts(
        items[0], outcomes[0], draws[0], {one.label for one in models[0]}, classes, level=level, unit=unit
    )
    return LevelComparison(
        n=counts.n,
        units=counts.units,
        mixed_left_out=counts.mixed_left_out,
        absent_classes=counts.absent_classes,
        notes=tuple(level_notes(counts)),
        metrics={
            name: _difference(value, _overall(b)[name], draws_b[name] - draws_a[name])
            for name, value in _overall(a).items()
        }
        | _of_probabilities([outcomes_of(one, unit) for one in answered], iterations, seed),
    )


def _of_probabilities(models: Sequence[Outcomes], iterations: int, seed: int) -> dict[str, Difference]:
    a, b = (measure(one) for one in models)
    draws_a, draws_b = measure_draws(models, iterations=iterations, seed=seed)
    found = {}
    for name in MEASURES:
        drawn, difference = draws_b[name] - draws_a[name], float(b[name] - a[name])
        plain = _difference(a[name], b[name], drawn)
        # As that of the ECE itself.
        bounds = reflected(difference, drawn) if name == "ece" else plain
        found[name] = replace(plain, low=bounds.low, high=bounds.high)
    return found


def _overall(scores: Scores) -> dict[str, FloatArray]:
    return {
        **{f"macro_{name}": scores.macro[name] for name in CLASS_METRICS},
        "plain_accuracy": scores.plain_accuracy,
        "balanced_accuracy": scores.balanced_accuracy,
    }


def _difference(a: FloatArray, b: FloatArray, draws: FloatArray) -> Difference:
    bounds = interval(draws)
    return Difference(
        a=null_if_nan(float(a)),
        b=null_if_nan(float(b)),
        difference=null_if_nan(float(b - a)),
        low=bounds.low,
        high=bounds.high,
        undefined_draws=bounds.undefined_draws,
    )


def _heading(name: Level, level: LevelComparison) -> str:
    patients = f" of {level.units} patient{'' if level.units == 1 else 's'}" * (level.units != level.n)
    return f"by {name} ({level.n}{patients})"


def _cells(difference: Difference, *, plain: bool) -> list[Text]:
    low, high = difference.low, difference.high
    certain = low is not None and high is not None and (low > 0 or high < 0)
    bounds = "-" if low is None else f"{_shown(low, plain, '+')} to {_shown(high, plain, '+')}"
    return [
        Text(_shown(difference.a, plain)),
        Text(_shown(difference.b, plain)),
        Text(_shown(difference.difference, plain, "+"), style="bold" if certain else ""),
        Text(bounds, style="bold" if certain else ""),
    ]


def _shown(value: float | None, plain: bool, sign: str = "") -> str:
    if value is None:
        return "-"
    return f"{value:{sign}.4f}" if plain else f"{100 * value:{sign}.2f}"
