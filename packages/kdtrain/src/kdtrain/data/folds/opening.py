"""What a command reads: a configuration or a run in, the index out, as its fold sees the set where it has one.

What would let a network be measured on patients that it, or its teacher, learnt from is refused here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from kdtrain.config.phases import PhaseConfig, SetConfig
from kdtrain.data.folds.document import FOLDS_FILE, Folds, check_set, read_folds
from kdtrain.data.folds.scan import patients_of
from kdtrain.data.folds.view import Fold, view_of
from kdtrain.errors import UsageError
from kdtrain.shards.index import Index, read_index
from kdtrain.shards.models import magnification_name

MEASURED = ("test", "val", "dev")
"""Of the splits of a fold, those that its run did not learn from."""
_NAMED = 3
"""Patients named in a message."""


def open_set(config: PhaseConfig, *, magnifications: Collection[float] | None = None) -> Index:
    """The shard set of a run, as its fold sees it.

    Args:
        config: Settings of the run.
        magnifications: That are going to be read: files of others may be away. None for all.

    Raises:
        ShardError: The set is damaged.
        UsageError: The folds are of another set, or do not know the colours at the run's magnification.
    """
    index = read_index(config.shards, config.cache, magnifications=magnifications)
    fold = run_fold(config, index)
    if fold is None:
        return index
    own = getattr(config, "magnification", None)
    if own is not None and magnification_name(own) not in fold.folds.colours:
        raise UsageError(
            f"--folds {config.folds} has no colours at {magnification_name(own)}, by which images are standardised; "
            "run the 'kdtrain sweep' that wrote it with a method at that magnification, which adds them"
        )
    return view_of(index, fold)


def run_fold(config: PhaseConfig, index: Index) -> Fold | None:
    """The fold that a run is of; None for none.

    Args:
        config: Settings of the run.
        index: The set, as it is stored.

    Raises:
        UsageError: As fold_of; or the file is none.
    """
    return None if config.folds is None else fold_of(config, read_folds(config.folds), index)


def fold_of(config: PhaseConfig, folds: Folds, index: Index) -> Fold:
    """The fold that a configuration names.

    Raises:
        UsageError: The folds are of another set, there is no such fold, or nothing would be left to learn from.
    """
    assert config.fold is not None
    check_set(folds, index, what=f"--folds {config.folds}")
    if config.fold > folds.count:
        raise UsageError(f"--fold {config.fold}: there are {folds.count} folds; give 1 to {folds.count}")
    validates = config.validate_on in (None, "val", "dev")
    if folds.count == 2 and validates:
        raise UsageError(
            "of 2 folds, one is tested and the other would validate, so none is left to learn from; take 3 folds or "
            "more, or set validate_on to 'none' to keep the last epoch"
        )
    return Fold(folds=folds, number=config.fold, validates=validates)


def check_source(config: SetConfig, run: Mapping[str, Any], *, what: str) -> None:
    """Refuse a network to learn from that has seen what the run, or what is made of it, will be measured on.

    Args:
        config: Settings of what learns.
        run: The content of run.json of the teacher or the student.
        what: The option that named it, with its folder.

    Raises:
        UsageError: One of both is of a fold and the other is not of the same.
    """
    theirs = run["shard_set"].get("fold")
    folds, number = getattr(config, "folds", None), getattr(config, "fold", None)
    if theirs is None and number is None:
        return
    if theirs is None:
        raise UsageError(
            f"{what} was not trained in a fold, so it may have learnt from patients that fold {number} tests; train "
            "it in the same fold, as 'kdtrain sweep --folds' does"
        )
    said = f"{what} was trained in fold {theirs['number']} of {theirs['of']}"
    if number is None:
        raise UsageError(
            f"{said}, and what learns from it can be measured on that fold's patients alone; let 'kdtrain sweep "
            f"--folds' do it, or give --folds FILE and --fold {theirs['number']} where the command has them"
        )
    assert folds is not None
    if (theirs["number"], theirs["sha256"]) != (number, read_folds(folds).sha256):
        raise UsageError(
            f"{said}, so it learnt from patients that fold {number} of {folds} tests; give one of the same fold"
        )


def index_of_run(run: Mapping[str, Any], folder: Path, index: Index, *, split: str | None = None) -> Index:
    """The set as a run saw it: itself, but for the run of a fold.

    Args:
        run: The content of run.json.
        folder: The run's folder.
        index: A shard set.
        split: That the run is to be measured on; None for whatever it was trained on.

    Raises:
        UsageError: The run learnt from patients of the split.
    """
    record = run["shard_set"].get("fold")
    if record is None:
        return index
    folds = read_folds(folder / FOLDS_FILE, what="RUN")
    if folds.sha256 != record["sha256"]:
        raise UsageError(
            f"RUN {folder}: {FOLDS_FILE} is not the one that it was trained with; copy that of its sweep into it"
        )
    fold = Fold(folds=folds, number=record["number"], validates=bool(record["validated"]))
    if index.sha256 != folds.shard_set_sha256:
        if split is not None:
            _check_elsewhere(folder, fold, index, split)
        return index
    check_set(folds, index, what=f"RUN {folder}: {FOLDS_FILE}")
    view = view_of(index, fold, planned=True)
    if split is not None and split not in MEASURED:
        where = "are unlabelled or unknown" if split not in view.document.sets else "hold what it learnt from"
        raise UsageError(
            f"RUN {folder} was trained in {fold.title}, on all patients of the set but that fold's: other splits than "
            f"its 'test', such as {split!r}, {where}; measure it on test, and calibrate it on val"
        )
    return view


def _check_elsewhere(folder: Path, fold: Fold, index: Index, split: str) -> None:
    shared = sorted(patients_of(index, split) & set(fold.trained))
    if not shared:
        return
    more = f" and {len(shared) - _NAMED} more" if len(shared) > _NAMED else ""
    raise UsageError(
        f"{split} of {index.directory} has patients that RUN {folder} learnt from in {fold.title} "
        f"({', '.join(shared[:_NAMED])}{more}), so it would measure memory; measure on a set without them, or on the "
        "set of the folds, where 'test' is of that fold's patients"
    )
