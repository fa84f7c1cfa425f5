"""folds.json: which patient is in which fold, bound to a set's content, and the colours of every fold.

It lies in a sweep's folder and in the folder of every run of a fold, so that a run tells by itself what it may be
measured on. What decides who is trained and tested has a digest; the colours follow from it and from the set.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kdtrain.errors import UsageError
from kdtrain.files import write_atomically
from kdtrain.shards.index import Index, one_line
from kdtrain.shards.models import Count, Sha256, Statistics

FOLDS_FILE = "folds.json"
_Three = tuple[Count, Count, Count]


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)


class ColourSums(_Document):
    """Pixels of the images of a fold, and by channel the sums of grey levels and of their squares: whole numbers."""

    pixels: Count
    sums: _Three
    squares: _Three


class FoldSlide(_Document):
    """A slide and its patient."""

    slide: str
    patient: str


class Folds(_Document):
    """The content of folds.json.

    Attributes:
        format: Always the same.
        version: Of this file.
        shard_set_sha256: SHA-256 of index.json of the set that was split.
        count: K.
        seed: Seed of the assignment.
        splits: Stored splits whose samples are in the folds.
        patients: Fold of every patient, from 1.
        slides: Slides that ``samples`` names by their number.
        samples: By stored shard, "train-000003", the slide and the class of every sample; None for no label.
        colours: By magnification, "2.5x", the sums of every fold in order.
    """

    format: Literal["kdtrain-folds"] = "kdtrain-folds"
    version: Literal[1] = 1
    shard_set_sha256: Sha256
    count: Annotated[int, Field(ge=2, le=1_000)]
    seed: Count
    splits: tuple[str, ...]
    patients: dict[str, int]
    slides: tuple[FoldSlide, ...]
    samples: dict[str, tuple[tuple[Count, Count | None], ...]]
    colours: dict[str, tuple[ColourSums, ...]] = {}

    @property
    def sha256(self) -> str:
        """Digest of all but the colours, which follow from it and the set."""
        content = self.model_dump(mode="json", exclude={"colours"})
        return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()

    def members(self, fold: int) -> tuple[str, ...]:
        """Patients of a fold, by name."""
        return tuple(name for name, number in self.patients.items() if number == fold)

    def next_to(self, fold: int) -> int:
        """The fold that validates where this one is tested."""
        return fold % self.count + 1

    def statistics(self, magnification: str, folds: Iterable[int]) -> Statistics | None:
        """Colours of some folds together, by the formula of shards/SHARD_FORMAT.md; None where they are not known."""
        sums = self.colours.get(magnification)
        if sums is None:
            return None
        chosen = [sums[fold - 1] for fold in folds]
        pixels = sum(one.pixels for one in chosen)
        mean, std = [], []
        for channel in range(3):
            total = sum(one.sums[channel] for one in chosen)
            squares = sum(one.squares[channel] for one in chosen)
            mean.append(total / pixels)
            std.append(math.sqrt(pixels * squares - total**2) / pixels)
        return Statistics(pixels=pixels, mean=(mean[0], mean[1], mean[2]), std=(std[0], std[1], std[2]))


def read_folds(path: Path, *, what: str = "--folds") -> Folds:
    """Read a file of folds.

    Args:
        path: folds.json.
        what: What named it, for messages.

    Raises:
        UsageError: It is not there, or is not as it was written.
    """
    try:
        folds = Folds.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UsageError(
            f"{what} {path} cannot be read ({error.strerror}); it lies in the folder of the sweep that was begun with "
            "--folds, and a run of a fold has a copy"
        ) from None
    except ValidationError as error:
        raise UsageError(
            f"{what} {path} is damaged ({one_line(error)}); delete it and run its 'kdtrain sweep' command again, which "
            "makes the same folds"
        ) from None
    if not _is_whole(folds):
        raise UsageError(
            f"{what} {path} is damaged (its parts contradict each other); delete it and run its 'kdtrain sweep' "
            "command again, which makes the same folds"
        )
    return folds


def _is_whole(folds: Folds) -> bool:
    rows = [row for rows in folds.samples.values() for row in rows]
    return (
        set(folds.patients.values()) == set(range(1, folds.count + 1))
        and all(slide < len(folds.slides) for slide, _ in rows)
        and all(folds.slides[slide].patient in folds.patients for slide, label in rows if label is not None)
        and all(len(sums) == folds.count for sums in folds.colours.values())
        and all(one.pixels for sums in folds.colours.values() for one in sums)
    )


def check_set(folds: Folds, index: Index, *, what: str) -> None:
    """Refuse folds that are of another set, or that do not have its samples one by one.

    Args:
        folds: As they were read.
        index: The set, as it is stored.
        what: What named them, with their path.

    Raises:
        UsageError: Says which.
    """
    if folds.shard_set_sha256 != index.sha256:
        raise UsageError(
            f"{what} is of another shard set than {index.directory}, or of that set before it changed; folds are of "
            "one set as it stands: begin a new sweep with --folds"
        )
    document = index.document
    for shard in document.shards:
        name = f"{shard.split}-{shard.number:06d}"
        labelled = document.splits[shard.split].labelled
        rows = folds.samples.get(name, ())
        known = all((label is not None and label < len(document.classes)) == labelled for _, label in rows)
        if (shard.split in folds.splits or not labelled) and (len(rows) != shard.samples or not known):
            raise UsageError(
                f"{what} is damaged: of {name} it has other samples than the set; delete it and run its 'kdtrain "
                "sweep' command again, which makes the same folds"
            )


def write_folds(path: Path, folds: Folds) -> None:
    """Write a file of folds, whole or not at all."""
    text = json.dumps(folds.model_dump(mode="json"), ensure_ascii=False, allow_nan=False)
    write_atomically(path, f"{text}\n".encode())
