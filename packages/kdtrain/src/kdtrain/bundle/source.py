"""What is exported: a run's network, its evaluation and its shard set, checked to belong together.

In: a run's folder and what the command was told. Out: a Source; nothing is computed for it and nothing is written, so
whatever is wrong is said in the first seconds. Then the shard set is measured for
:mod:`kdtrain.bundle.training_data`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from kdtrain.bundle.entries import MetricsEntry
from kdtrain.bundle.stain import stain_numbers
from kdtrain.bundle.training_data import Measured, TrainingData, training_data
from kdtrain.data.folds.opening import index_of_run
from kdtrain.data.plan import SampleRef
from kdtrain.data.samples import LoadedSample, SampleReader
from kdtrain.errors import UsageError
from kdtrain.evaluation.calibration import Calibration, read_calibration
from kdtrain.evaluation.record import METRICS_FILE, evaluation_folder
from kdtrain.files import parsed_json
from kdtrain.shards.error import ShardError
from kdtrain.shards.index import Index, one_line, read_index, union_of
from kdtrain.shards.locations import Location, location_of
from kdtrain.training.run_folder import RUN_FILE
from kdtrain.training.trained import Trained, load_trained

MOST_MEASURED = 1000
"""Images opened: percentiles of more are the same, and at 10x each costs a second."""


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """An evaluation of the run's network.

    Attributes:
        weights_sha256: SHA-256 of the weights that were measured.
        temperature: By which the logits were divided; None where they were not.
        metrics: What a bundle says of it.
    """

    weights_sha256: str
    temperature: float | None
    metrics: MetricsEntry

    @classmethod
    def of(cls, data: bytes) -> Evaluated:
        """From the content of a metrics.json.

        Raises:
            ValueError: It is not JSON, or holds something else than metrics.
            KeyError: A part is missing.
            TypeError: A part is of another kind.
        """
        metrics = parsed_json(data)
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
            temperature=None if (made := metrics.get("calibration")) is None else float(made["temperature"]),
            metrics=MetricsEntry.model_validate(fields, strict=False),
        )


@dataclass(frozen=True, kw_only=True)
class Source:
    """A run that can be exported.

    Attributes:
        trained: The network with its weights.
        index: The set that it was trained on.
        evaluated: None where the run is exported without metrics.
        calibration: None where the run was not calibrated.
    """

    trained: Trained
    index: Index
    evaluated: Evaluated | None
    calibration: Calibration | None = None

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
        UsageError: The run is not finished or not evaluated, its set has changed, or its evaluation or calibration is
            of other weights, or one of them is newer than the other.
        ShardError: The set is damaged.
    """
    trained = load_trained(run, what="RUN")
    if not trained.network.classes:
        raise UsageError(
            f"RUN {run} is a feature network, which knows no classes, and a bundle answers with their probabilities; "
            "make a classifier of it by 'kdtrain finetune', and export that run"
        )
    calibration = read_calibration(trained.folder, trained.sha256, what="RUN")
    location = _location(trained, shards)
    evaluated = None if unevaluated else _evaluated(trained, location, split, calibration)
    index = _index(trained, location)
    index.require(magnification=trained.network.magnification)
    return Source(trained=trained, index=index, evaluated=evaluated, calibration=calibration)


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
    return index_of_run(trained.run, trained.folder, index)


def _evaluated(
    trained: Trained, location: Location, split: str, calibration: Calibration | None
) -> Evaluated:
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
    temperature = None if calibration is None else calibration.temperature
    if evaluated.temperature != temperature:
        raise UsageError(
            f"{path} measured probabilities {_at(evaluated.temperature)}, and those of the run are now "
            f"{_at(temperature)}: it was calibrated since, or otherwise; {again}"
        )
    return evaluated


def _at(temperature: float | None) -> str:
    return "without a temperature" if temperature is None else f"at the temperature {temperature:g}"


def measure_training_data(
    index: Index,
    train_on: Sequence[str],
    magnification: float,
    *,
    most: int = MOST_MEASURED,
    on_image: Callable[[int, int], None] = lambda done, of: None,
) -> TrainingData:
    """Look at the images that a run was trained on.

    Args:
        index: The set.
        train_on: Splits or sets, as the run's record names them.
        magnification: Magnification of the network.
        most: Images opened; where there are more, evenly spaced ones.
        on_image: Told after every image how many were looked at, of how many.

    Raises:
        ShardError: The set lacks one of them, or is damaged.
    """
    joined, name = union_of(index, train_on)
    sizes = [size for shard in joined.shards_of(name) for size in joined.sizes_of(shard, magnification)]
    samples = measured_samples(index, train_on, magnification, most=most, on_image=on_image)
    return training_data(sizes, [_measured(sample, magnification) for sample in samples])


def measured_samples(
    index: Index,
    parts: Sequence[str],
    magnification: float,
    *,
    most: int = MOST_MEASURED,
    on_image: Callable[[int, int], None] = lambda done, of: None,
) -> Iterator[LoadedSample]:
    """Evenly spaced samples of splits or sets, or all; the arguments are those of measure_training_data.

    Raises:
        ShardError: The set lacks one of them, or is damaged.
    """
    joined, name = union_of(index, parts)
    reader = SampleReader(joined, name, [magnification])
    refs = [
        SampleRef(i, position) for i, shard in enumerate(reader.shards) for position in range(shard.samples)
    ]
    chosen = evenly_spaced(refs, most)
    try:
        for done, ref in enumerate(chosen, start=1):
            yield reader.load(ref)
            on_image(done, len(chosen))
    finally:
        reader.close()


def evenly_spaced(refs: Sequence[SampleRef], most: int) -> list[SampleRef]:
    """``most`` of them or all, in order, the same on every call."""
    taken = min(most, len(refs))
    return [refs[i * len(refs) // taken] for i in range(taken)]


def _measured(sample: LoadedSample, magnification: float) -> Measured:
    record = sample.record
    return Measured(
        mpp=record.mpp,
        level0_mpp=record.level0.mpp,
        level0_objective=record.level0.objective,
        reader=record.reader,
        stain=stain_numbers(sample.images[magnification].permute(1, 2, 0).numpy()),
    )
