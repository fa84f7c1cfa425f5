"""What an index does not say, read from the tars once: whose every sample is, and the colours of every fold."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from kdtrain.data.folds.assign import assign_folds
from kdtrain.data.folds.document import ColourSums, Folds, FoldSlide
from kdtrain.data.samples import SampleReader
from kdtrain.data.stream import EvaluationStream
from kdtrain.errors import UsageError
from kdtrain.shards.index import Index, union_of
from kdtrain.shards.models import magnification_name
from kdtrain.shards.sample import Sample

_ROWS = 1024
"""Of an image at a time: counting takes 8 bytes a pixel."""
_LEVELS = np.arange(256, dtype=np.int64)


def labelled_splits(index: Index) -> tuple[str, ...]:
    """Stored splits with labels, by name."""
    return tuple(sorted(name for name, split in index.document.splits.items() if split.labelled))


def make_folds(index: Index, *, count: int, seed: int = 0, splits: Sequence[str] = ()) -> Folds:
    """Split the patients of a set; of every sample the record is read, of the smallest images.

    Args:
        index: The set.
        count: K.
        seed: Seed of the assignment.
        splits: Stored splits whose patients are dealt out; none for all labelled ones.

    Raises:
        UsageError: As assign_folds; or a split that cannot be tested.
        ShardError: The set lacks a split, or is damaged.
    """
    chosen = tuple(sorted(splits)) or labelled_splits(index)
    for name in chosen:
        index.require(split=name)
        if name not in labelled_splits(index):
            there = ", ".join(labelled_splits(index)) or "none"
            raise UsageError(f"folds: split {name!r} is no labelled split of the set; there is {there}")
    unlabelled = [name for name, split in index.document.splits.items() if not split.labelled]
    slides: dict[tuple[str, str], int] = {}
    samples: dict[str, tuple[tuple[int, int | None], ...]] = {}
    patients: dict[str, dict[int, int]] = {}
    seen: dict[bytes, tuple[str, str]] = {}
    for name in (*chosen, *sorted(unlabelled)):
        for shard, rows in _records(index, name, seen if name in chosen else None).items():
            samples[shard] = tuple(
                (slides.setdefault((slide, patient), len(slides)), label) for slide, patient, label in rows
            )
            for _, patient, label in rows:
                if label is not None:
                    counts = patients.setdefault(patient, {})
                    counts[label] = counts.get(label, 0) + 1
    found = assign_folds(patients, index.document.classes, count=count, seed=seed)
    return Folds(
        shard_set_sha256=index.sha256,
        count=count,
        seed=seed,
        splits=chosen,
        patients=found,
        slides=tuple(FoldSlide(slide=slide, patient=patient) for slide, patient in slides),
        samples=samples,
    )


def patients_of(index: Index, split: str) -> set[str]:
    """Patients of a stored split or set."""
    return {patient for rows in _records(index, split).values() for _, patient, _ in rows}


def _records(
    index: Index, split: str, seen: dict[bytes, tuple[str, str]] | None = None
) -> dict[str, list[tuple[str, str, int | None]]]:
    """(slide, patient, label) of every sample, by stored shard; no pixel is decoded.

    Args:
        index: The set.
        split: Stored split or set.
        seen: Slide and patient by the digest of an image, to which these are added: one that is there as another
            patient's is refused. None to look at no image.
    """
    smallest = min(index.document.magnifications)
    reader = SampleReader(index, split, [smallest], decode="device")
    found = {}
    try:
        for shard in reader.shards:
            rows = [reader.read(shard, position, smallest) for position in range(shard.samples)]
            if seen is not None:
                for row in rows:
                    _check_copy(row, seen)
            found[f"{shard.split}-{shard.number:06d}"] = [
                (row.record.slide, row.record.patient, row.label) for row in rows
            ]
    finally:
        reader.close()
    return found


def _check_copy(sample: Sample, seen: dict[bytes, tuple[str, str]]) -> None:
    own = (sample.record.slide, sample.record.patient)
    before = seen.setdefault(hashlib.sha256(sample.data).digest(), own)
    if before[1] != own[1]:
        raise UsageError(
            f"--folds: slide {before[0]!r} of patient {before[1]!r} and slide {own[0]!r} of patient {own[1]!r} hold "
            "the same image, so one could be learnt from and the other tested; delete the copy, or give both the same "
            "patient in labels.csv, and build the set again"
        )


def with_colours(
    folds: Folds,
    index: Index,
    magnifications: Collection[float],
    *,
    workers: int = 0,
    on_sample: Callable[[int, int], None] = lambda done, of: None,
) -> Folds:
    """Folds with the colour sums of their images, every image decoded once; what is known is not read again.

    Args:
        folds: Of this set.
        index: The set.
        magnifications: Whose colours are wanted.
        workers: Loader processes.
        on_sample: Told after every sample how many were read, of how many.

    Raises:
        ShardError: The set is damaged.
    """
    missing = sorted({m for m in magnifications if magnification_name(m) not in folds.colours})
    if not missing:
        return folds
    joined, name = union_of(index, folds.splits)
    # A row of a magnification's table is a fold: levels of red, green and blue by how often they come up.
    levels = {m: np.zeros((folds.count, 3, 256), dtype=np.int64) for m in missing}
    stream = EvaluationStream(joined, name, missing, workers=workers)
    try:
        for done, sample in enumerate(stream, start=1):
            fold = folds.patients[sample.patient]
            for m in missing:
                levels[m][fold - 1] += level_counts(sample.images[m].permute(1, 2, 0).numpy())
            on_sample(done, stream.n_samples)
    finally:
        stream.close()
    found = {magnification_name(m): tuple(map(_sums, levels[m])) for m in missing}
    return folds.model_copy(update={"colours": {**folds.colours, **found}})


def level_counts(image_HWC: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How often each grey level comes up, by channel: (3, 256)."""
    counts = np.zeros((3, 256), dtype=np.int64)
    for start in range(0, len(image_HWC), _ROWS):
        for channel in range(3):
            band = image_HWC[start : start + _ROWS, :, channel]
            counts[channel] += np.bincount(band.ravel(), minlength=256)
    return counts


def _sums(counts_3L: NDArray[np.int64]) -> ColourSums:
    first, second = counts_3L @ _LEVELS, counts_3L @ _LEVELS**2
    return ColourSums(
        pixels=int(counts_3L[0].sum()),
        sums=(int(first[0]), int(first[1]), int(first[2])),
        squares=(int(second[0]), int(second[1]), int(second[2])),
    )
