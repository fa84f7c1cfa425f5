"""The shard set that a run was trained on, measured: the I/O around :mod:`kdtrain.bundle.training_data`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kdtrain.bundle.stain import stain_numbers
from kdtrain.bundle.training_data import Measured, TrainingData, training_data
from kdtrain.data.plan import SampleRef
from kdtrain.data.samples import LoadedSample, SampleReader
from kdtrain.data.sets import union_of
from kdtrain.shards.index import Index

MOST_MEASURED = 1000
"""Images opened: percentiles of more are the same, and at 10x each costs a second."""


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
        magnification: Of the network.
        most: Images opened; where there are more, evenly spaced ones.
        on_image: Told after every image how many were looked at, of how many.

    Raises:
        ShardError: The set lacks one of them, or is damaged.
    """
    joined, name = union_of(index, train_on)
    reader = SampleReader(joined, name, [magnification])
    refs = [
        SampleRef(i, position) for i, shard in enumerate(reader.shards) for position in range(shard.samples)
    ]
    sizes = [size for shard in reader.shards for size in joined.sizes_of(shard, magnification)]
    chosen = evenly_spaced(refs, most)
    rows = []
    try:
        for ref in chosen:
            rows.append(_measured(reader.load(ref), magnification))
            on_image(len(rows), len(chosen))
    finally:
        reader.close()
    return training_data(sizes, rows)


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
