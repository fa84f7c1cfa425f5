"""Regions' images at a magnification that the shard set lacks, read from the slides by slideprep's public face.

In: a folder of slides, and a sample with where its region lies. Out: the region's image, as the set would hold it had
it been built with that magnification too. Slides are found by the names that the set has for them, opened when a region
of theirs is first asked for, and held against the set: the same region, with the same picture at a magnification that
both have, so that a slide that was exchanged teaches nothing.

This reads in the process that computes, one region after the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from kdtrain.data.samples import LoadedSample
from kdtrain.errors import TrainingError, UsageError
from kdtrain.shards.models import magnification_name

if TYPE_CHECKING:
    from slideprep import Extraction, ReadSettings, SlideFile

MOST_OPEN = 16
"""Slides held open at a time, the last used."""
MOST_APART = 2.0
"""Mean difference of two pictures of one region, grey levels: other decoders of JPEG differ by less than one."""


class SlideRegions:
    """See :class:`kdtrain.sources.tiled.RegionImages`.

    Args:
        folder: Where the slides are.
        config: Settings of the set's index.json.
        magnification: To read.
        compared: A magnification of the set, whose images say whether a slide is still the one that it was.
        annotations: Folder of annotation files, where the set was built of annotated regions.

    Raises:
        UsageError: slideprep is not installed, the folder holds no slides, or the magnification does not go with those
            of the set.
    """

    def __init__(
        self,
        folder: Path,
        config: Mapping[str, Any],
        *,
        magnification: float,
        compared: float,
        annotations: Path | None = None,
    ) -> None:
        if find_spec("slideprep") is None:
            raise UsageError(
                "--slides: slides are read by slideprep, which is not installed; run pip install 'kdtrain[slides]'"
            )
        self.magnifications: tuple[float, ...] = (compared,)
        self.settings: dict[str, Any] = {"images": "slides"}
        self._folder = folder
        self._magnification = magnification
        self._settings = _settings(config, magnification, annotations)
        self._annotations = annotations
        self._files = _files(folder)
        self._open: dict[str, tuple[ExitStack, Extraction]] = {}

    def image(self, sample: LoadedSample, student_size: tuple[int, int]) -> Tensor:
        """See :meth:`kdtrain.sources.tiled.RegionImages.image`."""
        from slideprep import SlideprepError

        try:
            images = self._read(sample)
        except (SlideprepError, OSError) as error:
            raise TrainingError(
                f"--slides {self._folder}: region {sample.key} of slide '{sample.slide}' cannot be read at "
                f"{magnification_name(self._magnification)}: {_reason(error)}; give a --teacher-magnification that the "
                "slide has, or a whole copy of it"
            ) from None
        compared = self.magnifications[0]
        ours = images.get(compared)
        theirs = sample.images[compared].permute(1, 2, 0).numpy()
        if ours is None or ours.shape != theirs.shape or _apart(ours, theirs) > MOST_APART:
            raise self._changed(sample)
        return torch.from_numpy(images[self._magnification]).permute(2, 0, 1)

    def _read(self, sample: LoadedSample) -> dict[float, Any]:
        extraction = self._extraction(sample)
        place = sample.record.region
        found = next((region for region in extraction.laid_out if region.index == place.index), None)
        if found is None:
            reasons = [r.left_out for r in extraction.regions if r.index == place.index and r.left_out]
            raise self._changed(sample, *reasons)
        read = extraction.read(found)
        if (read.x, read.y, read.width, read.height) != (place.x, place.y, place.width, place.height):
            raise self._changed(sample)
        return {m: image.pixels for m, image in read.images.items()}

    def _changed(self, sample: LoadedSample, reason: str | None = None) -> TrainingError:
        why = f" ({reason})" if reason else ""
        return TrainingError(
            f"--slides {self._folder}: slide '{sample.slide}' does not have region {sample.key} as the set has "
            f"it{why}; put the slides there that the set was built from, or build the set anew, with "
            f"{magnification_name(self._magnification)} beside the others, and leave --slides out"
        )

    def _extraction(self, sample: LoadedSample) -> Extraction:
        """Of the sample's slide, which is opened if it is not."""
        from slideprep import extract, open_slide

        slide = sample.slide
        if slide in self._open:
            self._open[slide] = self._open.pop(slide)  # the last used comes last
            return self._open[slide][1]
        if slide not in self._files:
            raise TrainingError(
                f"--slides {self._folder} has no slide '{slide}', of which region {sample.key} is (it has "
                f"{_some(sorted(self._files))}); put it there under that name, then run the command again"
            )
        while len(self._open) >= MOST_OPEN:
            self._open.pop(next(iter(self._open)))[0].close()
        level0 = sample.record.level0
        with ExitStack() as stack:
            opened = stack.enter_context(open_slide(self._files[slide]))
            # As the set has them: labels.csv may have corrected them.
            extraction = extract(
                opened,
                self._settings,
                magnifications=[self._magnification, *self.magnifications],
                annotations=self._annotations,
                objective=level0.objective,
                mpp=level0.mpp,
            )
            self._open[slide] = (stack.pop_all(), extraction)
        return extraction


def _settings(config: Mapping[str, Any], magnification: float, annotations: Path | None) -> ReadSettings:
    """Those of the set with one magnification more, which must leave regions where they are."""
    from pydantic import ValidationError

    from slideprep import ReadSettings as Settings
    from slideprep import UsageError as SlidesUsageError

    try:
        built = Settings.of_config(config)
    except SlidesUsageError as error:
        raise UsageError(f"--slides: the set does not say how its slides were read: {error}") from None
    if (built.tissue == "annotations") != (annotations is not None):
        raise UsageError(
            "the set was built of annotated regions; add --annotations FOLDER, with the files that it was built with"
            if annotations is None
            else f"--annotations {annotations}: the set was not built of annotated regions; leave it out"
        )
    magnifications = sorted({*built.magnifications, magnification}, reverse=True)
    try:
        return Settings(**{**built.model_dump(), "magnifications": magnifications})
    except (SlidesUsageError, ValidationError):
        listed = ", ".join(map(magnification_name, built.magnifications))
        raise UsageError(
            f"--teacher-magnification {magnification:g} has no pixel grid in common with the set's {listed}, so no "
            "image of it shows the same field; choose a simple multiple of one of them"
        ) from None


def _files(folder: Path) -> dict[str, SlideFile]:
    from slideprep import SlideprepError, find_slides

    try:
        found, _ = find_slides([str(folder)])
    except SlideprepError as error:
        raise UsageError(f"--slides {folder}: {error}") from None
    return {file.name: file for file in found}


def _reason(error: Exception) -> str:
    """What is wrong, without the advice, which is for a build and names its options."""
    return str(error).partition("; ")[0]


def _apart(ours: Any, theirs: Any) -> float:
    return float(np.abs(ours.astype(np.int16) - theirs.astype(np.int16)).mean())


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
