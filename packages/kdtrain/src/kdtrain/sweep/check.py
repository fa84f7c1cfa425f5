"""Everything about a sweep that can be refused before its first run starts: in the first second, not on the third day.

In: planned runs and an opened shard set. Out: jobs, each with its configuration and the network it will train. No tar
is opened and nothing is written.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from kdtrain.config.phases import FinetuneConfig, PhaseConfig, TeacherConfig
from kdtrain.data.folds.document import FOLDS_FILE, Folds
from kdtrain.data.sets import check_phase, choice_of, samples_of
from kdtrain.errors import UsageError
from kdtrain.evaluation.calibrate import why_not_calibrate
from kdtrain.files import sha256_of
from kdtrain.phases.begun import as_begun, as_others
from kdtrain.phases.networks import Shaped, check_init, chosen_stride
from kdtrain.shards.error import ShardError
from kdtrain.shards.index import Index, union_of
from kdtrain.shards.locations import Location
from kdtrain.sweep.folds import planned_view
from kdtrain.sweep.graph import PlannedRun, alike
from kdtrain.sweep.jobs import Job, chosen_of, config_of, existing_job, network_of, stride_warning
from kdtrain.sweep.recipe import EvaluateRecipe
from kdtrain.sweep.state import is_shorter, weights_sha256
from kdtrain.training.engine.learning_rate import LearningRateSchedule
from kdtrain.training.engine.settings import deepspeed_json
from kdtrain.training.loggers.guarded import check_installed
from kdtrain.training.longer import why_not_longer
from kdtrain.training.run_folder import MODEL_FILE, RUN_FILE, read_run


def prepare(
    runs: Sequence[PlannedRun],
    index: Index,
    *,
    shards: Location,
    out: Path,
    evaluate: EvaluateRecipe,
    folds: Folds | None = None,
) -> tuple[Job, ...]:
    """Jobs of all runs, in their order.

    Args:
        runs: Each after those that it needs.
        index: The shard set.
        shards: Its folder, as the runs will be told.
        out: Folder of the sweep.
        evaluate: How runs are measured.
        folds: Of the set's patients; None where its own splits are trained and tested on.

    Raises:
        UsageError: A run could not be trained or measured, or its folder holds a run with other settings; the message
            names the recipe's key and the run.
    """
    if folds is None:
        check_evaluation(evaluate, index)
    jobs: dict[str, Job] = {}
    for run in runs:
        needs = tuple(jobs[name] for name in run.depends_on)
        try:
            jobs[run.name] = _job(run, needs, index, shards, out, folds)
            _check_calibration(jobs[run.name], evaluate, jobs[run.name].index or index)
        except (UsageError, ShardError) as error:
            raise UsageError(f"{run.section}, run {run.name}: {error}") from None
    _check_folders(jobs.values(), index, folds)
    return tuple(jobs.values())


def check_evaluation(evaluate: EvaluateRecipe, index: Index) -> None:
    """Refuse splits that are not there, or that nothing can be measured on.

    Raises:
        UsageError: Names the split.
    """
    for split in evaluate.splits:
        _check_labelled("splits", split, index)
    if evaluate.calibrate_on is not None:
        _check_labelled("calibrate_on", evaluate.calibrate_on, index)


def _check_labelled(key: str, split: str, index: Index) -> None:
    try:
        index.require(split=split)
    except ShardError as error:
        raise UsageError(f"evaluate.{key}: {error}") from None
    if not index.is_labelled(split) or not samples_of(index, split):
        raise UsageError(
            f"evaluate.{key}: nothing can be measured on {split!r}, which holds no labelled samples; choose another"
        )


def _check_calibration(job: Job, evaluate: EvaluateRecipe, index: Index) -> None:
    """The rule of kdtrain.evaluation.calibrate, on what is planned; of a fold, on the splits that it has."""
    on = evaluate.calibrate_on
    if on is None or not job.measured:
        return
    if job.run.fold is not None and on not in index.document.sets:
        raise UsageError(
            f"evaluate.calibrate_on: a fold has no {on!r}, but {', '.join(sorted(index.document.sets))}; give val, the "
            "patients of the next fold, who are there unless validate_on is 'none'"
        )
    _check_labelled("calibrate_on", on, index)
    teachers = [part for need in job.needs if job.run.phase == "distill" for part in need.trained_on]
    learned = dict.fromkeys(teachers, "its teacher") | dict.fromkeys(job.trained_on, "the network")
    if reason := why_not_calibrate(index, on, learned):
        raise UsageError(f"evaluate.calibrate_on: {on} {reason}")


def _job(
    run: PlannedRun,
    needs: tuple[Job, ...],
    index: Index,
    shards: Location,
    out: Path,
    folds: Folds | None,
) -> Job:
    if run.exists:
        return existing_job(run, index)
    folder = out / run.folder
    config = as_begun(config_of(run, needs, shards, folder, out / FOLDS_FILE))
    note = None
    if folds is not None:
        index, note = planned_view(config, folds, index)
    labelled = run.phase != "distill"
    if isinstance(config, Shaped) and (free := chosen_stride(config, index)) is not None:
        config = as_others(config, alike(run, folder.parent), free.stride)
    if isinstance(config, FinetuneConfig):
        _check_training_set(config, needs[0], index)
    network = network_of(config, needs, index)
    teacher = [need.network.magnification for need in needs if run.phase == "distill"]
    check_phase(config, index, [*teacher, network.magnification], labelled=labelled)
    choice = choice_of(config, index, labelled=labelled)
    joined, name = union_of(index, config.train_on)
    _check_schedule(config, samples_of(joined, name))
    _check_files(config)
    check_installed(config.logger)
    if isinstance(config, TeacherConfig):
        check_init(config)
    return Job(
        run=run,
        folder=folder,
        config=config,
        network=network,
        trained_on=joined.document.sets[name],
        needs=needs,
        stride_chosen=chosen_of(config, network, index),
        warnings=tuple(filter(None, (choice.warning, note, stride_warning(run, config, network, index)))),
        index=index,
    )


def _check_training_set(config: FinetuneConfig, student: Job, index: Index) -> None:
    """The rule of kdtrain.phases.finetune, on what is planned."""
    teachers = [need for need in student.needs if student.run.phase == "distill"]
    same = bool(teachers) and set(teachers[0].trained_on) == set(student.trained_on)
    if same and not config.same_training_set:
        raise UsageError(
            f"{student.run.method!r} is distilled on the set that its teacher was trained on "
            f"({', '.join(student.trained_on)}): fine-tuning on it again overfitted in the paper (section 3.4); "
            "fine-tune a method with an auxiliary set, or set 'same_training_set: true'"
        )


def _check_schedule(config: PhaseConfig, samples: int) -> None:
    try:
        LearningRateSchedule(
            kind=config.schedule,
            warmup_steps=config.warmup_steps,
            total_steps=config.epochs * -(-samples // config.accumulate),
            step_every=config.step_every,
        )
    except ValueError as error:
        raise UsageError(f"schedule: {error}") from None


def _check_files(config: PhaseConfig) -> None:
    for field, path in (("init", _init_file(config)), ("deepspeed", config.deepspeed)):
        if path is not None and not path.is_file():
            raise UsageError(f"{field}: there is no {path}")
    if config.deepspeed is not None:
        deepspeed_json(config.deepspeed)


def _init_file(config: PhaseConfig) -> Path | None:
    path: Path | None = getattr(config, "init", None)
    return path / MODEL_FILE if path is not None and path.is_dir() else path


def _check_folders(jobs: Iterable[Job], index: Index, folds: Folds | None) -> None:
    """Refuse folders that hold other runs; all are named at once, the first with what is wrong."""
    first, others = "", []
    for job in jobs:
        try:
            if job.config is not None:
                _check_same_run(job.config, job.folder, index, job.needs, folds)
        except UsageError as error:
            if first:
                others.append(job.name)
            else:
                first = f"{job.run.section}, run {job.name}: {error}"
    if others:
        first += f"\n{len(others)} more {'does' if len(others) == 1 else 'do'} not fit: {', '.join(others)}"
    if first:
        raise UsageError(first)


def _check_same_run(
    config: PhaseConfig, folder: Path, index: Index, needs: Sequence[Job], folds: Folds | None
) -> None:
    """Refuse a folder that holds another run: what kdtrain.training.run_folder would refuse when its turn comes."""
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not (folder / RUN_FILE).exists():
        raise UsageError(f"{folder} is not empty and holds no run; move it away")
    there = read_run(folder, what="run")
    data, init = there["shard_set"], _init_file(config)
    # A record keeps files by their content, and their paths may change.
    planned = json.loads(json.dumps(config.record)) | {
        "shard set": index.sha256,
        "deepspeed": None if config.deepspeed is None else deepspeed_json(config.deepspeed),
        "init": None if init is None else sha256_of(init),
        "folds": None if folds is None else folds.sha256,
    }
    found = dict(there["settings"]) | {
        "shard set": data.get("sha256"),
        "deepspeed": data.get("deepspeed"),
        "init": data.get("init", {}).get("sha256"),
        "folds": data.get("fold", {}).get("sha256"),
    }
    names = [name for name in sorted({*planned, *found}) if planned.get(name) != found.get(name)]
    differing = [f"{name}: {found.get(name)!r} there, {planned.get(name)!r} now" for name in names]
    if names == ["epochs"]:
        reason = why_not_longer(found, planned)
        if reason is not None:
            raise UsageError(f"{folder} holds a run of another length: {reason}")
    elif differing:
        raise UsageError(
            f"{folder} holds a run with other settings, and runs are never mixed:\n  "
            + "\n  ".join(differing)
            + "\ngive the settings it was begun with, another 'out', or delete that folder"
        )
    other = other_source(folder, needs) or _changed_source(folder, needs)
    if other:
        raise UsageError(other)


def _changed_source(folder: Path, needs: Sequence[Job]) -> str:
    """Why a run cannot be gone on with where the networks that it learnt from are to be trained for longer."""
    for need in needs:
        if need.config is not None and is_shorter(need.folder, need.config.epochs):
            return (
                f"{folder} learnt from {need.name}, which {need.config.epochs} epochs would make another network; "
                f"leave the epochs of {need.name} as they are, give another 'out', or delete {folder} to train it again"
            )
    return ""


def other_source(folder: Path, needs: Sequence[Job]) -> str:
    """Why a run's folder cannot be gone on with: it learnt from a teacher or student that is another one now.

    Args:
        folder: Folder of the run.
        needs: The jobs whose networks it needs.

    Returns:
        A sentence; "" where the folder is new, or its source is the same or not there yet.
    """
    if not needs or not (folder / RUN_FILE).exists():
        return ""
    data = read_run(folder, what="run")["shard_set"]
    known = data.get("teacher") or data.get("student") or {}
    for need in needs:
        now = weights_sha256(need.folder)
        if now is not None and now != known.get("weights_sha256", now):
            return (
                f"{folder} was begun with other weights of {need.name} than are in {need.folder} now; restore them, or "
                f"delete {folder} to train it again"
            )
    return ""
