"""Which samples a run trains on and which choose its best checkpoint; what must not be mixed is refused.

In: a configuration and an index. Out: one set to train on, one split to validate on or none. No tar is opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

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
