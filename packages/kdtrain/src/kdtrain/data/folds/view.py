"""A set as one fold sees it: an index whose splits train, val and test are of the fold's patients. No tar is read.

::

    test    the patients of the fold
    val     those of the next fold, where the run validates; dev is the same, for students of unlabelled sets
    train   all others
    aux1    and other unlabelled splits and sets, less every sample of a patient who is in test or val

Whoever trains, validates or measures sees an index like any other: shards, sizes, counts, and the colours of the fold's
train.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from kdtrain.data.folds.document import Folds
from kdtrain.shards.index import Index
from kdtrain.shards.models import Shard, ShardPart, Split, Statistics, magnification_name

UNKNOWN = Statistics(pixels=1, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
"""Stands for colours that were not looked at, where only sizes and counts matter: in a plan."""


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One fold of a set.

    Attributes:
        folds: All of them.
        number: Whose patients are tested, from 1.
        validates: Whether the next fold validates; else it trains.
    """

    folds: Folds
    number: int
    validates: bool

    @property
    def tested(self) -> tuple[str, ...]:
        """Patients of the fold."""
        return self.folds.members(self.number)

    @property
    def validated(self) -> tuple[str, ...]:
        """Patients who choose the network; none where the last epoch is kept."""
        return self.folds.members(self.folds.next_to(self.number)) if self.validates else ()

    @property
    def trained(self) -> tuple[str, ...]:
        """Patients who are learnt from."""
        return tuple(name for name in self.folds.patients if self.split_of(name) == "train")

    @property
    def title(self) -> str:
        """In sentences: "fold 2 of 5"."""
        return f"fold {self.number} of {self.folds.count}"

    def split_of(self, patient: str) -> str | None:
        """test, val or train; None for a patient who is in no fold."""
        fold = self.folds.patients.get(patient)
        if fold is None:
            return None
        if fold == self.number:
            return "test"
        return "val" if self.validates and fold == self.folds.next_to(self.number) else "train"

    @property
    def record(self) -> dict[str, object]:
        """What a run keeps of it."""
        return {
            "number": self.number,
            "of": self.folds.count,
            "sha256": self.folds.sha256,
            "tested": list(self.tested),
            "validated": list(self.validated),
        }


@dataclass(frozen=True, kw_only=True)
class _Row:
    """A sample of a part."""

    position: int
    slide: int
    label: int | None


def view_of(index: Index, fold: Fold, *, planned: bool = False) -> Index:
    """The index of a fold.

    Args:
        index: The set, as it is stored.
        fold: Of this set.
        planned: Whether colours that are not known yet may be left out.
    """
    assert index.sha256 == fold.folds.shard_set_sha256 and index.view_of is None
    document = index.document
    names = ["train", "val", "test"] if fold.validates else ["train", "test"]
    unlabelled = [name for name, split in document.splits.items() if not split.labelled]
    shards: list[Shard] = []
    splits: dict[str, Split] = {}
    for name in sorted({*names, *unlabelled}):
        sources = [s for s in document.shards if s.split in (fold.folds.splits if name in names else (name,))]
        rows = [list(_rows_in(shard, name, fold, labelled=name in names)) for shard in sources]
        there = [(shard, own) for shard, own in zip(sources, rows, strict=True) if own]
        shards += [_part(shard, own, name, number) for number, (shard, own) in enumerate(there)]
        splits[name] = _split(index, fold, [own for _, own in there], labelled=name in names)
    sets = {name: parts for name, parts in document.sets.items() if set(parts) <= {*unlabelled}}
    sets |= {name: (name,) for name in names} | ({"dev": ("val",)} if fold.validates else {})
    update = {
        "splits": splits,
        "shards": tuple(shards),
        "sets": sets,
        "statistics": _statistics(index, fold, planned),
    }
    return replace(index, document=document.model_copy(update=update), view_of=index)


def left_out(index: Index, fold: Fold) -> dict[str, int]:
    """Samples of unlabelled splits that a fold leaves out, by split: their patients are tested or validated on."""
    view = view_of(index, fold, planned=True)
    stored = index.document.splits
    counts = {
        n: stored[n].samples - view.document.splits[n].samples for n in stored if not stored[n].labelled
    }
    return {name: count for name, count in counts.items() if count}


def _rows_in(shard: Shard, split: str, fold: Fold, *, labelled: bool) -> Iterator[_Row]:
    folds = fold.folds
    for position, (slide, label) in enumerate(folds.samples[f"{shard.split}-{shard.number:06d}"]):
        own = fold.split_of(folds.slides[slide].patient)
        if own == split if labelled else own in (None, "train"):
            yield _Row(position=position, slide=slide, label=label)


def _part(shard: Shard, rows: Sequence[_Row], split: str, number: int) -> ShardPart:
    return ShardPart(
        split=split,
        number=number,
        samples=len(rows),
        keys_sha256=shard.keys_sha256,
        cells=tuple(shard.cells[row.position] for row in rows),
        files=shard.files,
        stored=shard,
        positions=tuple(row.position for row in rows),
    )


def _split(index: Index, fold: Fold, parts: Sequence[Sequence[_Row]], *, labelled: bool) -> Split:
    rows = [row for part in parts for row in part]
    slides = {row.slide for row in rows}
    per_class = {
        name: sum(row.label == number for row in rows) for number, name in enumerate(index.document.classes)
    }
    return Split(
        labelled=labelled,
        shards=len(parts),
        samples=len(rows),
        slides=len(slides),
        patients=len({fold.folds.slides[slide].patient for slide in slides}),
        per_class=per_class if labelled else None,
    )


def _statistics(index: Index, fold: Fold, planned: bool) -> dict[str, Statistics]:
    learnt = sorted({fold.folds.patients[name] for name in fold.trained})
    names = map(magnification_name, index.document.magnifications)
    found = {name: fold.folds.statistics(name, learnt) if learnt else None for name in names}
    return {
        name: UNKNOWN if statistics is None else statistics
        for name, statistics in found.items()
        if statistics is not None or planned
    }
