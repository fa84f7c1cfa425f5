"""Which samples a run trains on and which choose its best checkpoint; what must not be mixed is refused.

In: a configuration and an index. Out: one set to train on, one split to validate on or none, and the metric that
chooses on it. No tar is opened.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from kdtrain.config.common import SelectBy
from kdtrain.config.phases import PhaseConfig, SetConfig
from kdtrain.data.device_decode import check_decode
from kdtrain.data.plan import WINDOW_SHARDS
from kdtrain.data.stream import check_training_set
from kdtrain.errors import UsageError
from kdtrain.shards.index import Index, union_of
from kdtrain.shards.open_tars import shards_ahead


def validation_split(config: SetConfig, index: Index, *, labelled: bool) -> str | None:
    """The split that chooses the checkpoint: as asked for, else val for labelled sets and dev for auxiliary ones.

    The paper validates so (section 4.2); its lung protocol has neither split, and keeps the last epoch.

    Args:
        config: Says what is trained on, and what was asked for.
        index: The shard set.
        labelled: Whether validation reads labels.

    Raises:
        ShardError: The split asked for does not exist.
        UsageError: It cannot choose: it is trained on as well, is the test split, is empty or lacks labels.
    """
    if config.validate_on == "none":
        return None
    trained = {part for name in config.train_on for part in index.document.sets[name]}
    if config.validate_on is None:
        preferred = "val" if all(index.is_labelled(name) for name in config.train_on) else "dev"
        parts = set(index.document.sets.get(preferred, ()))
        if not parts or parts & trained or not samples_of(index, preferred):
            return None
        chosen = preferred
    else:
        chosen = config.validate_on
        index.require(split=chosen)
    reason = _why_not_validate(index, chosen, trained, labelled=labelled)
    if reason:
        raise UsageError(f"--validate-on {chosen} {reason}; choose another, or 'none' to keep the last epoch")
    return chosen


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What chooses a run's network among its epochs.

    Attributes:
        split: Split or set that is validated on; None where the last epoch is kept.
        metric: What is best on it.
        asked: Whether the configuration names that metric, or it follows.
        missing: Classes that are trained on and that the split has no sample of.
    """

    split: str | None
    metric: SelectBy
    asked: bool = False
    missing: tuple[str, ...] = ()

    @property
    def chosen_by(self) -> str:
        """In words: "loss on val", or "the last epoch"."""
        return "the last epoch" if self.split is None else f"{self.metric} on {self.split}"

    @property
    def record(self) -> dict[str, Any]:
        """For run.json: what chooses, and where the split lacks classes, which, and by what it then chooses."""
        found: dict[str, Any] = {"validate_on": self.split, "chosen_by": self.chosen_by}
        if self.missing:
            found |= {"validation_lacks": list(self.missing), "select_by": self.metric}
        return found

    @property
    def warning(self) -> str | None:
        """What a person should know before the run; None where the split has all classes."""
        if not self.missing:
            return None
        named = self.metric.replace("_", " ")
        text = f"the validation split {self.split} has no sample of {', '.join(self.missing)}, which is trained on: "
        if self.asked:
            return (
                f"{text}its {named}, by which --select-by chooses the network, is of the other classes alone"
            )
        return (
            f"{text}its balanced accuracy would be of the other classes alone, so its loss chooses the network; a "
            "split with every class chooses better, and --select-by balanced_accuracy chooses by that all the same"
        )

    def prefers(self, value: float, best: float | None) -> bool:
        """Whether a metric is better than the best so far: any number is better than none, or than NaN."""
        if not math.isfinite(value):
            return False
        if best is None or not math.isfinite(best):
            return True
        return value < best if self.metric == "loss" else value > best


def choice_of(config: PhaseConfig, index: Index, *, labelled: bool) -> Choice:
    """What chooses a run's network: as asked for, and the loss where the split lacks classes and nothing was asked.

    A split of one class is 100 % right for a network that says nothing else, and of two classes in three for one that
    never says the third. The loss is of the same samples, but of how sure the network is of them.

    Args:
        config: Settings of the run.
        index: The shard set.
        labelled: Whether validation reads labels; without, a split's classes are not looked at.

    Raises:
        ShardError: As validation_split.
        UsageError: As validation_split.
    """
    split = validation_split(config, index, labelled=labelled)
    asked = "select_by" in config.model_fields_set
    if split is None or not labelled:
        return Choice(split=split, metric=config.select_by, asked=asked)
    joined, train_on = union_of(index, config.train_on)
    there = _classes_of(index, split)
    missing = tuple(name for name in _classes_of(joined, train_on) if name not in there)
    metric = "loss" if missing and not asked else config.select_by
    return Choice(split=split, metric=metric, asked=asked, missing=missing)


def _classes_of(index: Index, name: str) -> tuple[str, ...]:
    """Classes that a split or set has samples of, in the order of the set."""
    counts = [index.document.splits[part].per_class or {} for part in index.document.sets[name]]
    return tuple(label for label in index.document.classes if any(count.get(label) for count in counts))


def _why_not_validate(index: Index, split: str, trained: set[str], *, labelled: bool) -> str | None:
    parts = set(index.document.sets[split])
    if shared := sorted(parts & trained):
        return f"shares {', '.join(shared)} with --train-on, so validation would measure memory"
    if "test" in parts:
        return "would choose the network by the very samples that are there to measure it"
    if not samples_of(index, split):
        return "holds no samples"
    if labelled and not index.is_labelled(split):
        return "carries no labels, and this phase validates with them"
    return None


def samples_of(index: Index, split: str) -> int:
    """Samples of a split or set."""
    return sum(shard.samples for shard in index.shards_of(split))


def check_phase(config: SetConfig, index: Index, magnifications: Sequence[float], *, labelled: bool) -> None:
    """Refuse in the first second what could only fail later.

    Raises:
        ShardError: The set lacks a magnification or split, or cannot be trained on.
        UsageError: The test split is to be trained on, the shard cache is too small for the set, or the device is to
            decode images that are not JPEG.
    """
    if isinstance(config, PhaseConfig):
        check_decode(config.decode, index)
    for magnification in magnifications:
        index.require(magnification=magnification)
    joined, name = union_of(index, config.train_on)
    if "test" in joined.document.sets[name]:
        raise UsageError(
            f"--train-on {','.join(config.train_on)} includes the test split, which is there to "
            "measure with; leave it out"
        )
    check_training_set(joined, name, labelled=labelled)
    shards_ahead(replace(joined, cache=config.cache), name, magnifications, at_once=WINDOW_SHARDS)
