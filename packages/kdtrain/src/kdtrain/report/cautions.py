"""What a reader must know before any number: each caution says what was found, what it means and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from kdtrain.evaluation.notes import interval_notes, level_notes
from kdtrain.report.runs.folds import networks_of
from kdtrain.report.runs.groups import RunGroup, differing, settings_of
from kdtrain.report.runs.results import Results
from kdtrain.report.runs.scoring import METRICS
from kdtrain.shards.models import magnification_name
from kdtrain.text import plural

MIN_UNITS = 30
"""Bootstrap units in all below which intervals are not to be trusted, since percentile intervals of few units are too
narrow: of those of 95 % for the mean of n normal numbers, 93.6 % hold the truth at n = 30 and 90.4 % at n = 10."""
MIN_UNITS_PER_CLASS = 10
"""Units of a class below which one unit moves the class's recall by more than ten points, and with it every macro
mean."""
NAMED = 5
"""Runs named in a sentence; the table of costs lists them all."""
LIKE = 1.25
"""Numbers of samples seen in training that are at most this many times each other count as alike."""
_COMPARABLE = (
    "model",
    "output_stride",
    "width",
    "stem",
    "optimizer",
    "lr",
    "weight_decay",
    "schedule",
    "warmup_steps",
    "step_every",
    "accumulate",
    "precision",
    "gradient_clipping",
    "augment",
    "jitter",
    "stain_normalization",
    "stain_augmentation",
)
"""Settings in which methods that are compared should be alike; the others are what makes the method."""


def cautions(results: Results) -> tuple[str, ...]:
    """All that apply, the gravest first."""
    return (
        *_trained_on_split(results),
        *_too_few(results),
        *_intervals(results),
        *_missing(results),
        *_one_seed(results),
        *_chosen_on_split(results),
        *_chosen_without_classes(results),
        *_calibrated(results),
        *_unlike_settings(results),
        *_unlike_lengths(results),
        *_other_teacher(results),
        *_other_set(results),
        *_classes(results),
        *_sample_unit(results),
    )


def _too_few(results: Results) -> Iterator[str]:
    classes, run = results.classes, results.collection.runs[0]
    by_patient = results.unit == "patient"
    units = {(one.patient if by_patient else one.key, one.label) for one in run.predictions}
    counts = [sum(label == number for _, label in units) for number in range(len(classes))]
    total = results.scores(results.groups[0]).units
    present = [count for count in counts if count]
    if total >= MIN_UNITS and min(present) >= MIN_UNITS_PER_CLASS:
        return
    listed = ", ".join(f"{name} {count}" for name, count in zip(classes, counts, strict=True))
    folds = results.folds_said
    where = f"{folds} have" if folds else f"the split {results.collection.split} has"
    narrow = " and the intervals are too narrow" * results.has_intervals(METRICS)
    yield (
        f"Too few {results.unit}s: {where} {total} ({listed}); below {MIN_UNITS} in "
        f"all or {MIN_UNITS_PER_CLASS} of a class, one of them moves a number by several points{narrow}. "
        "Read this as a check that everything works, not as a result; measure on more."
    )


def _intervals(results: Results) -> Iterator[str]:
    first = results.groups[0]
    for note in interval_notes(results.scores(first).counts):
        yield f"By tissue sample: {note}."
    patients = results.patients[first.method, first.magnification].counts
    # What the whole split lacks is said of the split.
    for note in level_notes(replace(patients, absent_classes=patients.hidden_classes)):
        yield f"By patient: {note}."


def _missing(results: Results) -> Iterator[str]:
    missing = results.collection.missing
    if not missing:
        return
    named = "; ".join(f"{run.name} ({run.state}: {run.reason})" for run in missing[:NAMED])
    more = f"; and {len(missing) - NAMED} more, listed under costs" if len(missing) > NAMED else ""
    yield (
        f"{plural(len(missing), 'run')} of the sweep left out: {named}{more}. The tables are made of the rest; run "
        "the same 'kdtrain sweep' command again to complete them."
    )


def _one_seed(results: Results) -> Iterator[str]:
    groups = results.compared or results.groups
    single = [group for group in groups if len(group.runs) == 1]
    if len(single) == len(groups):
        yield (
            "One run of each method: what training's chance adds is unknown, and no interval here holds it. Train more "
            "seeds (--seed 1, or 'seeds' in a recipe)."
        )
        return
    unlike: dict[str, list[str]] = {}
    for magnification in results.magnifications:
        there = [group for group in groups if group.magnification == magnification]
        if len({group.seeds for group in there}) > 1:
            listed = "; ".join(f"{g.method} {', '.join(map(str, g.seeds))}" for g in there)
            unlike.setdefault(listed, []).append(magnification_name(magnification))
    for listed, where in unlike.items():
        yield f"Means over different seeds at {', '.join(where)}: {listed}. Give every method the same seeds."


def _chosen_on_split(results: Results) -> Iterator[str]:
    split = results.collection.split
    groups = [g for g in results.groups if _shard_set(g).get("validate_on") == split]
    if groups:
        yield (
            f"The split {split} also chose the checkpoint of {_titles(groups)}: numbers on it are too good. Report a "
            "split that nothing was chosen on."
        )


def _chosen_without_classes(results: Results) -> Iterator[str]:
    found: dict[tuple[str, str], list[RunGroup]] = {}
    for group in results.groups:
        if missing := _shard_set(group).get("validation_lacks"):
            found.setdefault((str(_shard_set(group)["chosen_by"]), ", ".join(missing)), []).append(group)
    for (chosen_by, missing), groups in found.items():
        yield (
            f"The checkpoint of {_titles(groups)} was chosen by the {chosen_by.replace('_', ' ')}, which has no sample "
            f"of {missing}: nothing kept a checkpoint from giving those up. Validate on a split with every class."
        )


def _calibrated(results: Results) -> Iterator[str]:
    """Probabilities that are not what they seem: of the split itself, of before, or of some networks only."""
    networks = {
        group.title: [one for run in group.runs for one in networks_of(run)] for group in results.groups
    }
    split = results.collection.split
    if fitted := [title for title, runs in networks.items() if any(run.fitted_here for run in runs)]:
        yield (
            f"The temperature of {_named(fitted)} was fitted on the split {split} that is reported: the calibrated "
            "probabilities look better than they are elsewhere. Calibrate on another split."
        )
    if since := [title for title, runs in networks.items() if any(run.calibrated_since for run in runs)]:
        yield (
            f"{_named(since)}: calibrated after the evaluation on {split}, so the probabilities here are those of "
            "before. Run 'kdtrain evaluate' again."
        )
    for title, runs in networks.items():
        count = sum(run.temperature is not None for run in runs)
        if 0 < count < len(runs):
            yield (
                f"Of the {len(runs)} networks of {title}, {count} {'is' if count == 1 else 'are'} calibrated and the "
                "others are not: its probabilities are of both kinds. Calibrate all of them or none."
            )


def _trained_on_split(results: Results) -> Iterator[str]:
    split = results.collection.split
    groups = [g for g in results.groups if split in _shard_set(g)["train_on"]]
    if groups:
        yield (
            f"{_titles(groups)} {_were(groups)} trained on the split {split} that is reported: numbers on it say "
            "nothing about other patients. Evaluate on a split that was not trained on."
        )


def _unlike_settings(results: Results) -> Iterator[str]:
    found: dict[str, list[RunGroup]] = {}
    for group, baseline in _against_baseline(results):
        if different := differing(settings_of(baseline.runs[0]), settings_of(group.runs[0]), _COMPARABLE):
            found.setdefault("; ".join(different), []).append(group)
    for settings, groups in found.items():
        yield (
            f"The baseline and {_titles(groups)} were trained with different settings ({settings}), so their "
            "difference is not of the method alone."
        )


def _unlike_lengths(results: Results) -> Iterator[str]:
    found: dict[tuple[int, int], list[RunGroup]] = {}
    for group, baseline in _against_baseline(results):
        own, other = group.runs[0].samples_seen, baseline.runs[0].samples_seen
        if own and other and max(own, other) > LIKE * min(own, other):
            found.setdefault((other, own), []).append(group)
    for (other, own), groups in found.items():
        yield (
            f"In training the baseline saw {other:,} samples, {_titles(groups)} {own:,} (optimizer steps times samples "
            f"of a step; up to {100 * (LIKE - 1):.0f} % apart counts as alike), so their difference is not of the "
            "method alone. Choose --epochs that make them alike."
        )


def _against_baseline(results: Results) -> Iterator[tuple[RunGroup, RunGroup]]:
    """Each group with the baseline of its magnification; not the fine-tuned ones, which had two phases."""
    for group in results.compared:
        baseline = results.baseline(group)
        if baseline is not None and group is not baseline and group.phase != "finetune":
            yield group, baseline


def _other_teacher(results: Results) -> Iterator[str]:
    teacher = results.teacher
    if teacher is None:
        return
    known = {None, *(run.weights_sha256 for run in teacher.runs)}
    strangers = [g for g in results.groups if any(run.teacher_sha256 not in known for run in g.runs)]
    if strangers:
        yield (
            f"{_titles(strangers)} learned from another teacher than the one of this report that they are held "
            f"against, {teacher.title}. Add the run of their teacher, or write a report for each teacher and its "
            "students."
        )


def _other_set(results: Results) -> Iterator[str]:
    evaluated = results.collection.runs[0].shard_set_sha256
    groups = [g for g in results.groups if any(r.record["shard_set"]["sha256"] != evaluated for r in g.runs)]
    if groups:
        yield (
            f"{_titles(groups)} {_were(groups)} trained on another shard set than evaluated on; whether patients are "
            "in both cannot be told here. Make sure that none is."
        )


def _classes(results: Results) -> Iterator[str]:
    labels = np.array([one.label for one in results.collection.runs[0].predictions])
    names = results.classes
    absent = [name for number, name in enumerate(names) if not (labels == number).any()]
    if absent:
        yield (
            f"The split {results.collection.split} has no sample of {', '.join(absent)}: every mean over classes is of "
            "the others, and what a method makes of what is absent is not measured."
        )
    given_up = {group.title: _never_predicted(group, names) for group in results.groups}
    listed = [f"{title}: {', '.join(classes)}" for title, classes in given_up.items() if classes]
    if listed:
        yield f"Classes that a run never predicts, so that their precision counts as 0: {'; '.join(listed)}."


def _never_predicted(group: RunGroup, names: Sequence[str]) -> list[str]:
    missed: set[int] = set()
    for run in group.runs:
        there = {one.label for one in run.predictions}
        missed |= there - {one.predicted for one in run.predictions}
    return [names[number] for number in sorted(missed)]


def _sample_unit(results: Results) -> Iterator[str]:
    predictions = results.collection.runs[0].predictions
    if results.unit == "sample" and len({one.patient for one in predictions}) < len(predictions):
        yield (
            "The bootstrap draws samples one by one, though those of a patient are alike: the intervals are too "
            "narrow. Use --unit patient."
        )


def _shard_set(group: RunGroup) -> Mapping[str, Any]:
    shard_set: Mapping[str, Any] = group.runs[0].record["shard_set"]
    return shard_set


def _titles(groups: Sequence[RunGroup]) -> str:
    return _named([group.title for group in groups])


def _named(titles: Sequence[str]) -> str:
    named = ", ".join(titles[:NAMED])
    return named + (f" and {len(titles) - NAMED} more" if len(titles) > NAMED else "")


def _were(groups: Sequence[RunGroup]) -> str:
    return "was" if len(groups) == 1 else "were"
