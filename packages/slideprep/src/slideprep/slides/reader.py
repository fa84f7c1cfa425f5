"""What every reader of slides promises, whatever the format.

Pixels are RGB, 8-bit arrays (rows, columns, 3), in strips from top to bottom, so that memory is bounded whatever the
slide's size. Pixels are as stored: no colour profile is applied, no orientation is followed (a TIFF with another one
than upright is refused, a JPEG or PNG warned of), transparency is flattened on the slide's own background. Label and
macro images are never read.

Frames: a *level* is one image of the slide's pyramid, level 0 the full-resolution one; a box in "level pixels" has
its origin at the top left of that level. Level-0 pixels per level pixel are ``downsample_x`` and ``downsample_y``,
exact quotients of the widths and of the heights.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from slideprep.errors import SlideOpenError
from slideprep.units import Pixels

if TYPE_CHECKING:
    from slideprep.slides.files import SlideFile


STRIP_ROWS = 256
"""Rows per strip where the file has no tiles to follow."""


@dataclass(frozen=True, kw_only=True)
class Level:
    """One image of a slide's pyramid.

    Attributes:
        width: Level pixels.
        height: Level pixels.
        downsample_x: Level-0 pixels per level pixel, level-0 width / width.
        downsample_y: Level-0 pixels per level pixel, level-0 height / height.
    """

    width: int
    height: int
    downsample_x: float
    downsample_y: float


class Slide(Protocol):
    """What every reader gives. A context manager; use it in one thread.

    Attributes:
        name: The slide's name, as in :class:`~slideprep.slides.files.SlideFile`.
        reader: "tiff-jpeg", "tiff-jp2k", "tiff-deflate" or "dicom-jpeg" (strict tiles), "openslide", "jpeg" (strict,
            whole image) or "libvips".
        vendor: OpenSlide's name of the format, or "jpeg", "png", "tiff" for a plain image.
        levels: Level 0 first.
        mpp: Microns per level-0 pixel as the file says, mean of x and y, or None. Never guessed.
        objective: Objective power as the file says, or None. Never guessed.
        background: (red, green, blue) of the slide's background.
        warnings: Plain sentences about what is odd in the file; reading an overview can add to them.
        scale_doubts: Those that say why ``mpp`` or ``objective`` is not what the file says.
    """

    name: str
    reader: str
    vendor: str
    levels: tuple[Level, ...]
    mpp: float | None
    objective: float | None
    background: tuple[int, int, int]
    warnings: list[str]
    scale_doubts: tuple[str, ...]

    def keep_levels(self, indices: Sequence[int]) -> None:
        """Keep some levels only, which are numbered anew.

        Args:
            indices: Into ``levels``, ascending; the first is 0.
        """
        ...

    def strips(self, level: int, x: int, y: int, width: int, height: int) -> Iterator[Pixels]:
        """Read a box of a level as consecutive horizontal strips, top to bottom.

        Args:
            level: Index into ``levels``.
            x: Left edge, level pixels.
            y: Top edge, level pixels.
            width: Level pixels; the box must lie inside the level.
            height: Level pixels.

        Yields:
            Fresh arrays (rows, width, 3) uint8; their rows add up to ``height``.

        Raises:
            SlideReadError: The pixels are damaged or missing from the file.
        """
        ...

    def coarse_strips(self, level: int, reduction: float) -> tuple[int, Iterator[Pixels]]:
        """Strips of a whole level for an overview: maybe reduced already, and lenient where the reader can be.

        Args:
            level: Index into ``levels``.
            reduction: By how much the caller is going to reduce the level.

        Returns:
            An integer ``s`` and strips of the level reduced ``s`` times (box average), ``s <= max(1, reduction)``;
            a last row or column that the level fills only in part is left out.
        """
        ...

    def close(self) -> None:
        """Release the file; afterwards the slide cannot be read."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class ClosingSlide(ABC):
    """What the readers share: a with-block closes the slide."""

    @abstractmethod
    def close(self) -> None:
        """Release the file and what was kept of it."""

    def __enter__(self) -> Self:
        """Enter a with-block that closes the slide."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the slide."""
        self.close()


def _first_bytes(file: SlideFile) -> bytes:
    """The first 16 bytes of the file, after the checks that need no decoder."""
    path = file.path
    if not path.exists():
        raise SlideOpenError(f"slide '{file.name}' does not exist any more; check the path {path}")
    if path.is_dir():
        raise SlideOpenError(
            f"slide '{file.name}' is a folder, not a file; pass the slide inside it ({path})"
        )
    if path.stat().st_size == 0:
        raise SlideOpenError(
            f"slide '{file.name}' is empty (0 bytes); copy it again from its source ({path})"
        )
    try:
        with path.open("rb") as stream:
            return stream.read(16)
    except OSError as error:
        raise SlideOpenError(
            f"slide '{file.name}' cannot be read: {error.strerror}; check permissions and the disk ({path})"
        ) from error


def levels_from_sizes(sizes: Sequence[tuple[int, int]]) -> tuple[Level, ...]:
    """Levels from their (width, height) in pixels, level 0 first."""
    width_l0, height_l0 = sizes[0]
    return tuple(
        Level(width=width, height=height, downsample_x=width_l0 / width, downsample_y=height_l0 / height)
        for width, height in sizes
    )


def grid_cells(start: int, stop: int, step: int) -> Iterator[tuple[int, int, int]]:
    """Cells of a grid of pitch ``step`` that [start, stop) touches: (index, first, end), clipped to the span."""
    for index in range(start // step, -(-stop // step)):
        yield index, max(start, index * step), min(stop, (index + 1) * step)
