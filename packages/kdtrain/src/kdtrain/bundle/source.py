"""What is exported: a run with its network, its training set and its evaluation, each checked to be of the other.

In: a run's folder and what the command was told. Out: a Source. Nothing is computed and nothing is written, so whatever
is wrong is said in the first seconds.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from kdtrain.bundle.entries import MetricsEntry
from kdtrain.errors import UsageError
from kdtrain.evaluation.record import METRICS_FILE, evaluation_folder
from kdtrain.shards.error import ShardError
from kdtrain.shards.index import Index, one_line, read_index
from kdtrain.shards.locations import Location, location_of
from kdtrain.training.run_folder import RUN_FILE
from kdtrain.training.trained import Trained, load_trained


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """An evaluation of the run's network.

    Attributes:
        weights_sha256: Of the weights that were measured.
        metrics: What a bundle says of it.
    """

    weights_sha256: str
    metrics: MetricsEntry

    @classmethod
    def of(cls, data: bytes) -> Evaluated:
        """From the content of a metrics.json.

        Raises:
            ValueError: It is not JSON, or holds something else than metrics.
            KeyError: A part is missing.
            TypeError: A part is of another kind.
        """
        metrics = json.loads(data)
        weights_sha256 = metrics["weights_sha256"]
        if not isinstance(weights_sha256, str):
            raise TypeError(f"weights_sha256 is {weights_sha256!r}")
        fields = {
            **{name: metrics[name] for name in ("split", "shard_set_sha256", "bootstrap", "levels")},
            "metrics_sha256": hashlib.sha256(data).hexdigest(),
            "gflops_mean": metrics["cost"]["gflops_mean"],
        }
        # Out of JSON, where a tuple is a list and 1.0 may be written as 1.
        return cls(
            weights_sha256=weights_sha256,
            metrics=MetricsEntry.model_validate(fields, strict=False),
        )


@dataclass(frozen=True, kw_only=True)
class Source:
    """A run that can be exported.

    Attributes:
        trained: The network with its weights.
        index: The set that it was trained on.
        evaluated: None where the run is exported without metrics.
    """

    trained: Trained
    index: Index
    evaluated: Evaluated | None

    @property
    def train_on(self) -> tuple[str, ...]:
        """Stored splits that the network was trained on."""
        return tuple(self.trained.run["shard_set"]["train_on"])


def read_source(run: Path, *, shards: str | Path | None, split: str, unevaluated: bool) -> Source:
    """Read a run and what belongs to it.

    Args:
        run: The run's folder.
        shards: Folder of the set that it was trained on, or its URL; None for where it was then.
        split: On which it was evaluated.
        unevaluated: Whether it is exported without metrics.

    Raises:
        UsageError: The run is not finished or not evaluated, its set has changed, or its evaluation is of other
            weights.
        ShardError: The set is damaged.
    """
    trained = load_trained(run, what="RUN")
    location = _location(trained, shards)
    evaluated = None if unevaluated else _evaluated(trained, location, split)
    index = _index(trained, location)
    index.require(magnification=trained.network.magnification)
    return Source(trained=trained, index=index, evaluated=evaluated)


def _location(trained: Trained, shards: str | Path | None) -> Location:
    """Where the set lies: as told, else where it was when the run was trained."""
    if shards is not None:
        return location_of(shards)
    recorded = trained.run.get("other_settings", {}).get("shards")
    if recorded is None:
        raise UsageError(f"RUN {trained.folder} does not say where its shard set is; pass --shards DIR")
    location = location_of(recorded)
    if isinstance(location, Path) and not location.is_dir():
        raise UsageError(
            f"RUN {trained.folder} was trained on the shard set at {location}, which is not there; pass its present "
            "place by --shards DIR: the export measures what the network was trained on"
        )
    return location


def _index(trained: Trained, location: Location) -> Index:
    try:
        index = read_index(location, magnifications=[trained.network.magnification])
    except ShardError as error:
        if error.rule.startswith("F01"):
            raise UsageError(
                f"--shards {location} is no shard set; pass the one that the run was trained on"
            ) from None
        raise
    wanted = trained.run["shard_set"]["sha256"]
    if index.sha256 != wanted:
        raise UsageError(
            f"--shards {location} is not the set that RUN {trained.folder} was trained on: its index.json has SHA-256 "
            f"{index.sha256[:12]}, the one of training had {wanted[:12]}. It has changed since, or is another; pass "
            "the set as it was, by --shards DIR, or train again on the set as it is"
        )
    return index


def _evaluated(trained: Trained, location: Location, split: str) -> Evaluated:
    path = evaluation_folder(trained.folder, split) / METRICS_FILE
    again = f"run 'kdtrain evaluate {trained.folder} --shards {location} --split {split}'"
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UsageError(
            f"RUN {trained.folder} was not evaluated on {split!r}, and a network should not be handed on without its "
            f"numbers; {again}, or pass --unevaluated"
        ) from None
    try:
        evaluated = Evaluated.of(data)
    except ValidationError as error:
        raise UsageError(f"{path} is damaged ({one_line(error)}); {again}") from None
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(f"{path} is damaged ({error!r}); {again}") from None
    if evaluated.weights_sha256 != trained.sha256:
        raise UsageError(
            f"{path} measured other weights than those of the run ({evaluated.weights_sha256[:12]} there, "
            f"{trained.sha256[:12]} in {trained.folder}; see {RUN_FILE}): it was trained further since; {again}"
        )
    return evaluated
