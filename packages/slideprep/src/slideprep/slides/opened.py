"""A slide that a person or a program opened: what is known of it, and its pixels for a small picture."""

from __future__ import annotations

from contextlib import ExitStack
from math import isfinite
from pathlib import Path
from types import TracebackType
from typing import Self

from slideprep.errors import UsageError
from slideprep.slides.discover import find_slide
from slideprep.slides.fetch import fetched_for_once
from slideprep.slides.files import SlideFile
from slideprep.slides.overview import read_overview
from slideprep.slides.reader import Level, Slide
from slideprep.slides.readers.choose import open_reader
from slideprep.storage.access import Access
from slideprep.units import Pixels

OVERVIEW_PX = 2048
"""Longer side of an overview where none is asked for: a screen."""


class OpenedSlide:
    """An open slide; a context manager. Use it in one thread.

    Attributes:
        slide: The reader behind it.
        file: Its files, on this machine.
        name: File name; of a DICOM series its folder's.
        reader: What decodes it, as :class:`slideprep.slides.reader.Slide` names readers.
        width: Level-0 pixels.
        height: Level-0 pixels.
        levels: Levels of the pyramid, level 0 first.
        given_objective: What was given when it was opened, for a file that says nothing.
        given_mpp: The same of microns per pixel.
    """

    def __init__(
        self, slide: Slide, file: SlideFile, closing: ExitStack, *, objective: float | None, mpp: float | None
    ) -> None:
        self.slide = slide
        self.file = file
        self.name = slide.name
        self.reader = slide.reader
        self.levels: tuple[Level, ...] = slide.levels
        self.width, self.height = slide.levels[0].width, slide.levels[0].height
        self.given_objective, self.given_mpp = objective, mpp
        self._closing = closing

    @property
    def objective(self) -> float | None:
        """Objective power: the file's own, else the given one, else None."""
        return self.given_objective if self.slide.objective is None else self.slide.objective

    @property
    def mpp(self) -> float | None:
        """Microns per level-0 pixel: the file's own, else the given one, else None."""
        return self.given_mpp if self.slide.mpp is None else self.slide.mpp

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is odd in the file, plain sentences; reading an overview can add to them."""
        return tuple(self.slide.warnings)

    def overview(self, longest_px: int = OVERVIEW_PX) -> Pixels:
        """The whole slide: (rows, columns, 3) uint8, its longer side ``longest_px`` or what level 0 has.

        Raises:
            SlideReadError: The level that it is made of cannot be read.
        """
        downsample = max(1.0, max(self.width, self.height) / longest_px)
        return read_overview(self.slide, downsample=downsample).image

    def close(self) -> None:
        """Release the files; afterwards the slide cannot be read."""
        self._closing.close()

    def __enter__(self) -> Self:
        """Enter a with-block that closes the slide."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the slide."""
        self._closing.__exit__(kind, error, trace)


def open_slide(
    slide: str | Path | SlideFile, *, objective: float | None = None, mpp: float | None = None
) -> OpenedSlide:
    """Open a slide of any format that slideprep reads.

    Args:
        slide: The slide, or the folder of a DICOM series; or an address such as ``s3://bucket/case7.svs``, whose files
            are fetched to the system's temporary folder and removed when the slide is closed; or what
            :func:`slideprep.find_slides` found.
        objective: Objective power of level 0, where the file carries none; the file's own wins.
        mpp: Microns per level-0 pixel, where the file carries none; the file's own wins.

    Raises:
        UsageError: There is no slide or more than one at the path, or a number is none that a slide can have.
        InputError: It cannot be opened.
        OutputError: A store does not answer.
    """
    check_scale("objective", objective, 200)
    check_scale("mpp", mpp, 100)
    file = slide if isinstance(slide, SlideFile) else find_slide(slide)
    with ExitStack() as stack:
        local = stack.enter_context(fetched_for_once(file, Access()))
        reader = open_reader(local)
        stack.callback(reader.close)
        return OpenedSlide(reader, local, stack.pop_all(), objective=objective, mpp=mpp)


def check_scale(name: str, value: float | None, most: float) -> None:
    """Refuse, by UsageError, an objective or mpp that is given and that no slide can have."""
    if value is not None and not (isfinite(value) and 0 < value <= most):
        raise UsageError(f"{name}={value:g} is none that a slide can have; give a number from 0 to {most:g}")
