"""Runs of the folds of one sweep become one run: what each said of its own fold's patients, together all patients.

A number of the tables is then one number over all patients, as of one test split: their counts of right and wrong are
added up before a metric is made of them, which is the unbiased way for F1 and its like (Forman and Scholz 2010,
Apples-to-apples in cross-validation studies). Intervals draw patients among all of them. They hold the networks fixed,
as all intervals here do: another draw of patients would train other networks as well, and no interval from a single
cross-validation knows how much that adds (Bengio and Grandvalet 2004, No unbiased estimator of the variance of K-fold
cross-validation).

The area under the ROC curve compares scores with each other, and those of different networks have no common scale:
over all patients together it comes out too low or by chance (Airola et al. 2011, An experimental comparison of
cross-validation techniques for estimating the area under the ROC curve). So a pair of samples counts only where one
network scored both: it is the mean over the folds of each fold's own area, weighted by its number of pairs.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kdtrain.errors import UsageError
from kdtrain.evaluation.metrics import IntArray
from kdtrain.evaluation.predictions import check_predictions
from kdtrain.evaluation.temperature import UNCHANGED, Temperature
from kdtrain.report.runs.groups import decisive, differing
from kdtrain.report.runs.run import Cost, Curve, Curves, Run

_NAMED = 3
"""Folds named in a message."""


@dataclass(frozen=True, kw_only=True)
class PooledRun(Run):
    """The runs of all folds, as one.

    ``record`` is the first one's, without its fold; ``sessions`` are those of all, ``cost`` is of all images,
    ``chosen_step`` is the mean, rounded, and ``temperature`` that of the folds that are calibrated.

    Attributes:
        folds: The runs, by fold.
    """

    folds: tuple[Run, ...]

    @property
    def teacher_sha256(self) -> str | None:
        """Digest of the teachers' weights, fold by fold: that of their pooled run; None for phases without one."""
        return _together([run.teacher_sha256 for run in self.folds])

    @property
    def applied_temperature(self) -> Temperature | None:
        """(N) that of each fold's network for its own patients; None where no fold is calibrated."""
        if self.temperature is None:
            return None
        of_fold = {int(fold_record(run)["number"]): run.temperature or UNCHANGED for run in self.folds}
        numbers = self.fold_of(one.patient for one in self.predictions)
        return np.array([of_fold[int(number)] for number in numbers], dtype=np.float64)

    @property
    def samples_seen(self) -> int | None:
        """In the training of one network, as of a run without folds: the mean over the folds."""
        seen = [run.samples_seen for run in self.folds]
        known = [one for one in seen if one is not None]
        return round(sum(known) / len(known)) if len(known) == len(seen) else None

    def fold_of(self, patients: Iterable[str]) -> IntArray:
        """(N) the fold of each patient, from 1."""
        numbers = {one.patient: fold_record(run)["number"] for run in self.folds for one in run.predictions}
        return np.array([numbers[name] for name in patients], dtype=np.int64)


def fold_record(run: Run) -> Mapping[str, Any]:
    """What a run's record says of its fold; empty where it is of none."""
    record: Mapping[str, Any] = run.record["shard_set"].get("fold", {})
    return record


def networks_of(run: Run) -> tuple[Run, ...]:
    """The runs that were trained: of pooled folds each, else the run itself."""
    return run.folds if isinstance(run, PooledRun) else (run,)


def pool_folds(runs: Sequence[Run]) -> tuple[tuple[Run, ...], tuple[tuple[Run, str], ...]]:
    """Runs of folds together, all others as they are.

    Args:
        runs: Any.

    Returns:
        The runs, pooled ones in the place of their first; and runs that are left out, each with the reason: folds of
        theirs are not there, or were measured on others, so that not every patient is tested; or they are not alike.

    Raises:
        UsageError: Two runs are the same fold of the same thing; or folds differ among runs.
    """
    groups: dict[object, list[Run]] = {}
    for number, run in enumerate(runs):
        fold = fold_record(run)
        key = (run.method, run.magnification, run.seed, fold["sha256"]) if fold else number
        groups.setdefault(key, []).append(run)
    pooled: list[Run] = []
    left_out: list[tuple[Run, str]] = []
    for group in groups.values():
        if not fold_record(group[0]):
            pooled += group
        elif reason := _incomplete(group):
            left_out += [(run, reason) for run in group]
        else:
            pooled.append(_pooled(sorted(group, key=lambda run: int(fold_record(run)["number"]))))
    return tuple(pooled), tuple(left_out)


def _incomplete(group: Sequence[Run]) -> str:
    count = int(fold_record(group[0])["of"])
    there = [int(fold_record(run)["number"]) for run in group]
    if len(set(there)) < len(there):
        twice = next(number for number in there if there.count(number) > 1)
        names = " and ".join(run.name for run in group if fold_record(run)["number"] == twice)
        raise UsageError(
            f"{names} are both fold {twice} of {count} of {group[0].method} with seed {group[0].seed}; leave one out, "
            "or give one a label of its own: 'LABEL=RUN'"
        )
    if other := next((run for run in group if _measured_elsewhere(run)), None):
        return (
            f"the evaluation of {other.name} is not of its fold's patients, but of another set: measure it again by "
            "'kdtrain evaluate' on the set of the folds"
        )
    if unlike := _unlike(group):
        return f"folds are one method only where they are trained alike, and here they differ: {unlike}"
    missing = [number for number in range(1, count + 1) if number not in there]
    if not missing:
        return ""
    named = ", ".join(map(str, missing[:_NAMED])) + ", ..." * (len(missing) > _NAMED)
    return (
        f"of its {count} folds, {named} {'is' if len(missing) == 1 else 'are'} not there, so that not every patient is "
        "tested: complete the sweep, or name the runs of all folds"
    )


def _unlike(group: Sequence[Run]) -> str:
    first = decisive(group[0])
    for run in group[1:]:
        own = decisive(run)
        if different := differing(first, own, sorted({*first, *own} - {"fold"})):
            return f"{group[0].name} and {run.name} in {'; '.join(different)}"
    return ""


def _measured_elsewhere(run: Run) -> bool:
    tested = {one.patient for one in run.predictions}
    return (run.shard_set_sha256, tested) != (
        run.record["shard_set"]["sha256"],
        set(fold_record(run)["tested"]),
    )


def _pooled(folds: Sequence[Run]) -> PooledRun:
    first = folds[0]
    images = [len(run.predictions) for run in folds]
    weights = _together([run.weights_sha256 for run in folds])
    assert weights is not None
    settings = {name: value for name, value in first.settings.items() if name != "fold"}
    shard_set = {name: value for name, value in first.record["shard_set"].items() if name != "fold"}
    return PooledRun(
        name=_common_name([run.name for run in folds]),
        folder=first.folder.parent,
        method=first.method,
        record={**first.record, "settings": settings, "shard_set": shard_set},
        classes=first.classes,
        predictions=check_predictions([one for run in folds for one in run.predictions], first.classes),
        temperature=_mean_temperature(folds),
        fitted_here=any(run.fitted_here for run in folds),
        weights_sha256=weights,
        shard_set_sha256=first.shard_set_sha256,
        cost=Cost(
            gflops=_mean([run.cost.gflops for run in folds], images),
            megapixels=_mean([run.cost.megapixels for run in folds], images),
        ),
        parameters=first.parameters,
        chosen_step=round(sum(run.chosen_step for run in folds) / len(folds)),
        sessions=tuple(session for run in folds for session in run.sessions),
        curves=Curves(
            training=_mean_curve([run.curves.training for run in folds]),
            validation=_mean_curve([run.curves.validation for run in folds]),
            validation_loss=_mean_curve([run.curves.validation_loss for run in folds]),
            last_step=max(run.curves.last_step for run in folds),
        ),
        folds=tuple(folds),
    )


def _mean_temperature(folds: Sequence[Run]) -> float | None:
    known = [run.temperature for run in folds if run.temperature is not None]
    return sum(known) / len(known) if known else None


def _together(digests: Sequence[str | None]) -> str | None:
    known = [digest for digest in digests if digest is not None]
    return hashlib.sha256("\n".join(known).encode()).hexdigest() if len(known) == len(digests) else None


def _common_name(names: Sequence[str]) -> str:
    """What the runs are called without their folds, and how many there are: "kd-2.5x-seed0 (5 folds)"."""
    bare = {name.rpartition("-fold")[0] or name for name in names}
    return f"{min(bare)} ({len(names)} folds)"


def _mean(values: Sequence[float], weights: Sequence[int]) -> float:
    return math.fsum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights)


def _mean_curve(curves: Sequence[Curve]) -> Curve:
    """The mean over the folds at each epoch that all of them have."""
    tables = [dict(curve) for curve in curves]
    shared = sorted(set(tables[0]).intersection(*tables[1:]))
    return tuple((x, math.fsum(table[x] for table in tables) / len(tables)) for x in shared)
