"""What a build remembers: failures with their reasons, and finished shards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

from slideprep.shards.models import ShardFile
from slideprep.text import for_terminal, readable

ATTEMPTS = 2
"""A slide that brings its worker down is tried once more, then left out."""


class Failure(BaseModel):
    """Something of the input that is not in the shards, and why: a row of failures.csv or left_out.csv.

    Whatever was in the way of a name or a reason can be written and printed: escapes stand for what could not.

    Attributes:
        slide: Name of the slide, or its pseudonym.
        region: Number of the region on its slide; None for the slide as a whole.
        stage: What was being done.
        reason: Why, and what to do.
    """

    model_config = ConfigDict(frozen=True)

    slide: Annotated[str, AfterValidator(readable)]
    region: int | None
    stage: str
    reason: Annotated[str, AfterValidator(for_terminal)]


class Sums(BaseModel):
    """Integer sums over the pixels of images: those that the set's ``statistics_of`` names."""

    model_config = ConfigDict(frozen=True)

    pixels: int
    sums: tuple[int, int, int]
    squares: tuple[int, int, int]


def written_sums(parts: Iterable[Sums]) -> str:
    """Sums as one text, a fifth of the memory that objects take: ``pixels R G B RR GG BB`` each, commas between."""
    return ",".join(" ".join(map(str, _row(part))) for part in parts)


def read_sums(text: str) -> list[Sums]:
    """What :func:`written_sums` wrote."""
    return [_of_row(list(map(int, part.split()))) for part in text.split(",") if part]


def total_sums(parts: Iterable[Sums]) -> Sums:
    """The sums of several images together."""
    return _of_row([sum(column) for column in zip(*map(_row, parts), strict=True)] or [0] * 7)


def _row(part: Sums) -> tuple[int, ...]:
    return (part.pixels, *part.sums, *part.squares)


def _of_row(row: Sequence[int]) -> Sums:
    pixels, red, green, blue, *squares = row
    return Sums(pixels=pixels, sums=(red, green, blue), squares=(squares[0], squares[1], squares[2]))


class Quality(BaseModel):
    """How good a region's tissue is to see; see :mod:`slideprep.tissue.focus` and :mod:`slideprep.tissue.quality`.

    Attributes:
        focus: Sharpness, the higher the sharper; None where there is no tissue to measure it on.
        ink: Share of the region's box that is under marker ink.
        folds: Share of its tissue that lies in folds.
        bubbles: Share of the box that is bright inside an air bubble.
    """

    model_config = ConfigDict(frozen=True)

    focus: float | None
    ink: float
    folds: float
    bubbles: float


class ShardRecord(BaseModel):
    """A finished shard: what index.json needs of it, and what tells whether it is still the one planned."""

    model_config = ConfigDict(frozen=True)

    digest: str
    split: str
    number: int
    keys: tuple[str, ...]
    cells: tuple[tuple[int, int], ...]
    files: dict[str, ShardFile]
    failures: tuple[Failure, ...]
    sums: dict[str, Sums] | None
    sample_sums: dict[str, str] = {}
    """By magnification, the sums of every sample in order (:func:`written_sums`), so that a slide can leave the set
    without what was before encoding; empty where ``sums`` is None and in records of earlier versions."""
    tags: dict[str, str] = {}
    """The store's mark of each tar's content, by magnification; empty where the store has none, as a file system."""
    quality: dict[str, Quality] = {}
    """Of every region that was read, by its key; empty in records of earlier versions."""
    left_out: tuple[Failure, ...] = ()
    """Regions whose quality is beyond the limits of the build."""


def crash_failure(slide: str, reason: str) -> Failure:
    """The row of failures.csv of a slide that brought its scan's worker down too often."""
    return Failure(slide=slide, region=None, stage="open", reason=crash_reason(slide, reason))


def time_failure(slide: str, minutes: float) -> Failure:
    """The row of failures.csv of a slide whose scan took too long."""
    return Failure(slide=slide, region=None, stage="open", reason=time_reason(slide, minutes))


def crash_reason(slide: str, reason: str) -> str:
    """What failures.csv says of a slide that brought its worker down too often."""
    return (
        f"slide '{slide}' brought its worker process down {ATTEMPTS} times ({reason}); the file is probably damaged, "
        "or too large for this machine's memory"
    )


def time_reason(slide: str, minutes: float) -> str:
    """What failures.csv says of a slide that took too long."""
    return (
        f"slide '{slide}' was not read within {minutes:g} minutes and was given up; check the file and the storage it "
        "lies on, or give it more time: delete index.json, add --slide-minutes 0 for no limit, and run the same "
        "command again"
    )
