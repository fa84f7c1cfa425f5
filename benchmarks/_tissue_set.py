"""A shard set of square images that cost a decoder what tissue costs: soft spots with grain, the same field everywhere.

The squares of ``_training`` decode faster than tissue, which would flatter every loader.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / folder) for folder in ("tests", "shards")]
try:
    import golden_set

    from fixtures.shard_sets import write_files
finally:
    del sys.path[:2]

QUALITY = 95
SPOT_PX = 8
"""Side of a spot at the highest magnification: about a nucleus at 10x."""
GRAIN = 6
"""Standard deviation of the noise, grey levels: images of 2 bits a pixel, as tissue at this quality."""
SHARD_SAMPLES = 64
MOST_KEPT = 32
"""Different images that are kept in memory, to be repeated."""


def write_tissue_set(
    folder: Path, samples: int, side_px: int, magnifications: Sequence[float], *, distinct: int | None = None
) -> Path:
    """A set of two classes with square training images, and nothing to validate on.

    Args:
        folder: Does not exist yet.
        samples: How many.
        side_px: At the highest magnification; a whole number of pixels, 32 or more, at all others too.
        magnifications: Highest first.
        distinct: How many different images there are, which the samples then repeat; by default all differ. Drawing
            and encoding one of 1024 px takes a quarter of a second.
    """
    grid = {f"{m:g}x": round(m / magnifications[-1]) for m in magnifications}
    cells = side_px // max(grid.values())
    numbers = range(samples)
    starts = range(0, samples, SHARD_SAMPLES)
    shards = [[_case(i, cells) for i in numbers[start : start + SHARD_SAMPLES]] for start in starts]
    sums: dict[str, list[Any]] = {}
    fields = _Fields(side_px, distinct or samples)
    draft = golden_set.Draft(
        magnifications=list(magnifications),
        grid=grid,
        quality=QUALITY,
        shards=[("train", number, cases) for number, cases in enumerate(shards)],
        sets={"train": ["train"]},
        slack=False,
        counted=[],  # none of the squares' pixels: they are replaced
        edit_members=lambda path, members: [_tissue(path, m, fields, grid, sums) for m in members],
        edit_index=lambda index: index.update(
            statistics={name: golden_set.statistics(found) for name, found in sums.items()},
            statistics_shards=None,
        ),
    )
    write_files(folder, golden_set.seal(draft))
    return folder


def _case(number: int, cells: int) -> golden_set.Case:
    label = golden_set.CLASSES[number % len(golden_set.CLASSES)]
    side = 10**6  # of the slide, so that no region leaves it
    return golden_set.Case(
        slide=f"slide-{number}.svs",
        patient=f"P-{number}",
        label=label,
        cells=(cells, cells),
        level0=(side, side),
    )


@dataclass
class _Fields:
    """Images by key and reduction: JPEG data, and the sums that colour statistics need."""

    side_px: int
    distinct: int
    _first: dict[str, str] = field(default_factory=dict)
    _whole: dict[str, Image.Image] = field(default_factory=dict)
    _made: dict[tuple[str, int], tuple[bytes, list[Any]]] = field(default_factory=dict)

    def of(self, name: str, reduction: int) -> tuple[bytes, list[Any]]:
        """Of a sample whose image has this name at every magnification."""
        if name not in self._first:
            known = [*self._first]
            number = len(known) % self.distinct
            self._first[name] = known[number] if number < len(known) else name
        drawn = self._first[name], reduction
        if drawn not in self._made:
            if self.distinct > MOST_KEPT:
                return _encoded(_field(drawn[0], self.side_px).reduce(reduction))
            if drawn[0] not in self._whole:
                self._whole[drawn[0]] = _field(drawn[0], self.side_px)
            self._made[drawn] = _encoded(self._whole[drawn[0]].reduce(reduction))
        return self._made[drawn]


def _tissue(
    path: str, member: golden_set.Member, fields: _Fields, grid: dict[str, int], sums: dict[str, list[Any]]
) -> golden_set.Member:
    """The member with soft spots in place of squares, its pixels added to the sums of its magnification."""
    if not member.name.endswith(".jpg"):
        return member
    name = path.partition("/")[0]
    data, found = fields.of(member.name, max(grid.values()) // grid[name])
    sums[name] = [a + b for a, b in zip(sums.get(name, [0, 0, 0]), found, strict=True)]
    return golden_set.Member(name=member.name, data=data)


def _encoded(image: Image.Image) -> tuple[bytes, list[Any]]:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY, subsampling=0)
    pixels = np.asarray(image, dtype=np.int64).reshape(-1, 3)
    return file.getvalue(), [np.array([len(pixels)]), pixels.sum(axis=0), (pixels**2).sum(axis=0)]


def _field(name: str, side_px: int) -> Image.Image:
    rng = np.random.default_rng(list(name.encode()))
    spots = rng.normal(0, 1, (-(-side_px // SPOT_PX),) * 2).astype(np.float32)
    soft = np.asarray(Image.fromarray(spots).resize((side_px, side_px), Image.Resampling.BICUBIC))
    grain = rng.normal(0, GRAIN, (side_px, side_px, 1))
    pixels = np.array([210, 160, 200]) - soft[..., None] * np.array([25, 35, 15]) + grain
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
