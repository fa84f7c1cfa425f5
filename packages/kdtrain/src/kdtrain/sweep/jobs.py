"""What a run of a sweep means: its configuration, the network that it will train, and the jobs that it needs.

In: planned runs and an opened shard set. Out: jobs. What may not be done with them is refused in
:mod:`kdtrain.sweep.check`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kdtrain.config.phases import DistillConfig, PhaseConfig, TeacherConfig
from kdtrain.config.problems import rule_broken
from kdtrain.data.teacher_cache.document import SourceDocument
from kdtrain.data.teacher_cache.opening import open_cache
from kdtrain.errors import UsageError
from kdtrain.model.network import Network
from kdtrain.model.output_stride import Chosen, cells_sentence
from kdtrain.phases.begun import begun_stride
from kdtrain.phases.finetune import classifier_of
from kdtrain.phases.networks import (
    Shaped,
    chosen_stride,
    few_cells,
    labelled_network,
    source_student,
    student_network,
)
from kdtrain.phases.stain import check_same_stain, method_of
from kdtrain.phases.teaching import check_fits, check_source_cache
from kdtrain.shards.index import Index
from kdtrain.shards.locations import Location
from kdtrain.sweep.graph import ExistingTeacher, PlannedRun
from kdtrain.sweep.recipe import CONFIGS, Recipe
from kdtrain.training.run_folder import MODEL_FILE, RUN_FILE, read_run


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run that may start.

    Attributes:
        run: As planned.
        folder: Folder of the run.
        config: Settings of its phase; None for a run that exists and is only measured.
        network: What it trains, or holds.
        trained_on: Splits that it learns from.
        needs: The jobs whose networks it needs.
        stride_chosen: What "auto" chose as the network's output stride; None where it was given.
        warnings: What should be known before it starts.
        index: The set as the run sees it; None for a run that is only measured.
    """

    run: PlannedRun
    folder: Path
    config: PhaseConfig | None
    network: Network
    trained_on: tuple[str, ...]
    needs: tuple[Job, ...] = ()
    stride_chosen: Chosen | None = None
    warnings: tuple[str, ...] = ()
    index: Index | None = None

    @property
    def name(self) -> str:
        """The run's name."""
        return self.run.name

    @property
    def stain(self) -> str:
        """How its images' stain is normalised, "none" for not at all: a student's is that of what it learns from."""
        if self.config is None:
            return method_of(self.network)
        return self.needs[0].stain if self.needs else self.config.stain_normalization or "none"

    @property
    def measured(self) -> bool:
        """Whether it answers with classes, and so can be: a feature network is trained for others alone."""
        return bool(self.network.classes)


def warnings_of(jobs: Iterable[Job]) -> list[str]:
    """What should be known before runs start, each sentence once, with the runs that it is of."""
    return _with_runs((warning, job.name) for job in jobs for warning in job.warnings)


def choices_of(jobs: Iterable[Job]) -> list[str]:
    """What "auto" chose as output strides and by what, each sentence once, with the runs that it is of."""
    return _with_runs(
        (f"auto: {cells_sentence(chosen.stride, chosen.median_shorter_side_px)}", job.name)
        for job in jobs
        if (chosen := job.stride_chosen) is not None
    )


def _with_runs(said: Iterable[tuple[str, str]]) -> list[str]:
    found: dict[str, list[str]] = {}
    for sentence, name in said:
        found.setdefault(sentence, []).append(name)
    return [f"{sentence} ({', '.join(names)})" for sentence, names in found.items()]


def existing_teacher(recipe: Recipe) -> ExistingTeacher | None:
    """What ``teacher.run`` names, if it does.

    Raises:
        UsageError: It is no finished run.
    """
    if recipe.teacher is None or recipe.teacher.run is None:
        return None
    folder = recipe.teacher.run
    run = read_run(folder, what="teacher.run")
    if not (folder / MODEL_FILE).is_file():
        raise UsageError(
            f"teacher.run {folder}: its training is not finished; run that command again to go on"
        )
    return ExistingTeacher(
        folder=folder.resolve(),
        magnification=run["network"]["magnification"],
        seed=run["settings"]["seed"],
    )


def source_caches(recipe: Recipe) -> frozenset[str]:
    """Those of a recipe's teacher caches whose teacher is no run, as the recipe names them: students of them need none.

    Raises:
        UsageError: One cannot be read.
        ShardError: One is damaged.
    """
    sections = [recipe.settings, *(method.settings for method in recipe.methods.values())]
    named = {str(section["teacher_cache"]) for section in sections if section.get("teacher_cache")}
    return frozenset(name for name in named if isinstance(open_cache(Path(name)).document, SourceDocument))


def existing_job(run: PlannedRun, index: Index) -> Job:
    """The job of a run that exists and is only measured.

    Raises:
        UsageError: It knows other classes than the shard set, or is no finished run.
    """
    folder = Path(run.folder)
    content = read_run(folder, what="run")
    try:
        network = Network.of(content["network"])
    except (TypeError, KeyError, ValueError) as error:
        raise UsageError(
            f"{folder}: its network cannot be built ({error}); restore {RUN_FILE}, or train again"
        ) from None
    index.require(magnification=network.magnification)
    if network.classes != tuple(index.document.classes):
        raise UsageError(
            f"{folder} knows the classes {', '.join(network.classes)}, the shard set has "
            f"{', '.join(index.document.classes)}; build the set with --classes {','.join(network.classes)}"
        )
    trained_on = tuple(content["shard_set"]["train_on"])
    return Job(run=run, folder=folder, config=None, network=network, trained_on=trained_on)


def config_of(
    run: PlannedRun, needs: Sequence[Job], shards: Location, folder: Path, folds: Path | None = None
) -> PhaseConfig:
    """The configuration of a run's phase.

    Args:
        run: As planned.
        needs: The jobs whose networks it needs.
        shards: Folder of the shard set, or its URL.
        folder: Folder of the run.
        folds: Where its folds stand, if it is of one.

    Raises:
        UsageError: A setting is not allowed; the message names the recipe's key.
    """
    kind = CONFIGS[run.phase]
    decided: dict[str, Any] = {"shards": shards, "out": folder, "seed": run.seed}
    if run.fold is not None:
        decided |= {"folds": folds, "fold": run.fold}
    if "magnification" in kind.model_fields:
        decided["magnification"] = run.magnification
    for field in ("teacher", "student"):
        if field in kind.model_fields and needs:
            decided[field] = needs[0].folder
    try:
        return kind(**run.settings, **decided)
    except ValidationError as error:
        problems = "; ".join(_problem(problem, run) for problem in error.errors())
        raise UsageError(problems) from None


def _problem(problem: Any, run: PlannedRun) -> str:
    name = problem["loc"][0]
    key = f"settings.{name}" if name in run.common else name
    return f"{key}: {rule_broken(problem, CONFIGS[run.phase])}"


def network_of(config: PhaseConfig, needs: Sequence[Job], index: Index) -> Network:
    """What a run will train; the phases build the same (kdtrain.phases)."""
    if isinstance(config, TeacherConfig):
        return labelled_network(config, index)
    if isinstance(config, DistillConfig) and not needs:
        return _source_student(config, index)
    source = needs[0].network
    check_same_stain(config, needs[0].stain, what=needs[0].name)
    if not isinstance(config, DistillConfig):
        return classifier_of(source, tuple(index.document.classes))
    if config.magnification >= source.magnification:
        raise UsageError(
            f"{config.magnification:g}x is not below the teacher's {source.magnification:g}x; distillation goes from "
            "a high magnification to a lower one"
        )
    stride = begun_stride(config) or _cached_stride(config)
    return student_network(config, index, source, output_stride=stride)


def _cached_stride(config: DistillConfig) -> int | None:
    """The output stride of the students that a run's teacher cache is for; None without one."""
    if config.teacher_cache is None:
        return None
    return open_cache(config.teacher_cache).document.student.output_stride


def chosen_of(config: PhaseConfig, network: Network, index: Index) -> Chosen | None:
    """What "auto" chose as a run's output stride; None where nothing was to choose."""
    if not isinstance(config, Shaped):
        return None
    return chosen_stride(config, index, taken=network.output_stride)


def stride_warning(run: PlannedRun, config: PhaseConfig, network: Network, index: Index) -> str | None:
    """That a run's output stride leaves too little of its images, with what to add; None where it does not.

    Nor where the recipe lists strides: whoever compares them sees what each leaves.
    """
    if not isinstance(config, Shaped) or "output_stride" in run.listed:
        return None
    few = few_cells(config, index, network.output_stride)
    return None if few is None else f"{few}; set 'output_stride: auto' in the recipe"


def _source_student(config: DistillConfig, index: Index) -> Network:
    assert config.teacher_cache is not None
    cache = open_cache(config.teacher_cache)
    assert isinstance(cache.document, SourceDocument), "only students of such a cache need no teacher"
    check_source_cache(config, cache.document)
    check_fits(cache, config, index)
    return source_student(config, index, cache.document)


def source_of(job: Job) -> SourceDocument | None:
    """The cache that a run learns from, where its teacher is no run."""
    if not isinstance(job.config, DistillConfig) or job.needs or job.config.teacher_cache is None:
        return None
    document = open_cache(job.config.teacher_cache).document
    return document if isinstance(document, SourceDocument) else None
