"""The folder of an external validation -> what a page shows of it.

In: ``metrics.json`` and ``predictions.csv`` as ``kdtrain evaluate BUNDLE`` and ``kdtrain predict --labels`` write them.
Nothing is measured again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdtrain.errors import UsageError
from kdtrain.evaluation.predictions import Level, LevelItems, Prediction, items_at, read_predictions_csv
from kdtrain.evaluation.record import METRICS_FILE, PREDICTIONS_FILE
from kdtrain.files import parsed_json


@dataclass(frozen=True, kw_only=True)
class Validation:
    """What was measured.

    Attributes:
        metrics: The content of metrics.json.
        predictions: Of every labelled image, sorted by key.
        temperature: Of a network that was calibrated.
    """

    metrics: Mapping[str, Any]
    predictions: Sequence[Prediction]
    temperature: float | None

    @property
    def classes(self) -> tuple[str, ...]:
        """Of the bundle."""
        return tuple(self.metrics["classes"])

    @property
    def level(self) -> Level:
        """What the answer is about: slides, unless some have samples of several classes, and so no class."""
        return "sample" if self.metrics["levels"]["slide"]["mixed_left_out"] else "slide"

    @property
    def here(self) -> Mapping[str, Any]:
        """What was measured at that level."""
        record: Mapping[str, Any] = self.metrics["levels"][self.level]
        return record

    @property
    def home(self) -> Mapping[str, Any] | None:
        """What the bundle says of the same level on the split that it was measured on; None where it says nothing."""
        known = self.metrics.get("at_home")
        return None if known is None else known["levels"].get(self.level)

    @property
    def own_images(self) -> str | None:
        """Why the images are none from elsewhere, where they are of the set that the network is of; else None.

        A folder of slides names no set, and a set that grew since is another one.
        """
        name, split, home = self.metrics["bundle"]["name"], self.metrics["split"], self.metrics.get("at_home")
        here = self.metrics.get("shard_set_sha256")
        if here is None:
            return None
        if here == self.metrics.get("training_set_sha256"):
            if split in self.metrics["train_on"]:
                return f"'{split}' of this set is what {name} was trained on"
            return f"'{split}' is of the very set that {name} was trained on"
        if home is not None and (here, split) == (home["shard_set_sha256"], home["split"]):
            return f"{name} was measured on this very split before"
        return None

    @property
    def shift(self) -> Mapping[str, Any] | None:
        """How the images differ from those of training; None where their stain was not measured."""
        found: Mapping[str, Any] | None = self.metrics["shift"]
        return found

    def items(self) -> LevelItems:
        """What is answered for the items of that level."""
        return items_at(self.level, self.predictions, self.temperature)


def read_validation(folder: Path) -> Validation:
    """Read a folder.

    Raises:
        UsageError: It holds no external validation, or is damaged.
    """
    file = folder / METRICS_FILE
    try:
        metrics = parsed_json(file.read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} cannot be read ({error}); measure the bundle again") from None
    if not isinstance(metrics, dict) or not {"bundle", "shift", "levels", "classes"} <= metrics.keys():
        raise UsageError(f"{file} is of no bundle; give what 'kdtrain evaluate BUNDLE --out' wrote")
    table = read_predictions_csv(folder / PREDICTIONS_FILE)
    return Validation(metrics=metrics, predictions=table.predictions, temperature=table.temperature)
