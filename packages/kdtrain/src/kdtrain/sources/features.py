"""Features on disk as a teacher: a region and its draws in, the slide's patch vectors on the student's grid out.

The teacher cannot be asked about an augmented image. Its patches are flipped and turned with the student's image, as
boxes, before they are laid; colours change for the student alone. Cells with no patch on them do not count.

Legend: N patches, C channels, H and W rows and columns of the student's map.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from kdtrain.augment import Draw, orientation
from kdtrain.config.phases import CacheTeacherConfig
from kdtrain.data.samples import LoadedSample
from kdtrain.data.teacher_cache.document import SourceEntry
from kdtrain.data.teacher_cache.view import TeacherView, map_size
from kdtrain.errors import TrainingError, UsageError
from kdtrain.shards.index import Index
from kdtrain.sources.feature_check import CheckedFeatures, FeatureSettings, check_features, region_box
from kdtrain.sources.feature_files import SlideFeatures, require_h5py
from kdtrain.sources.feature_misfits import touching
from kdtrain.sources.feature_names import name_list
from kdtrain.sources.laying import Laying
from kdtrain.text import plural

Orientation = tuple[bool, bool, bool]
"""See :func:`kdtrain.augment.orientation`."""


class FeatureSource:
    """See :class:`kdtrain.sources.source.Source`.

    Args:
        checked: The features, held against the set.
        output_stride: Output stride of the student.
    """

    def __init__(self, checked: CheckedFeatures, *, output_stride: int) -> None:
        self._checked = checked
        self._output_stride = output_stride
        self._last: tuple[str, SlideFeatures | None] | None = None

    @property
    def entry(self) -> SourceEntry:
        """Features by their content; the folder's name and place are no part of it."""
        checked = self._checked
        return SourceEntry(
            kind="features",
            name=checked.facts.encoder or "features",
            sha256=checked.sha256,
            magnification=checked.facts.magnification,
            settings={
                "slides": checked.slides,
                "slides_without": len(checked.slides_without),
                "regions": checked.regions,
                "regions_without": len(checked.regions_without),
            },
        )

    @property
    def channels(self) -> int:
        """C."""
        return self._checked.channels

    @property
    def classes(self) -> tuple[str, ...]:
        """None: features are no logits."""
        return ()

    @property
    def magnifications(self) -> tuple[float, ...]:
        """None: no image is looked at."""
        return ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of the folder, plain sentences."""
        return tuple(_notes(self._checked))

    def views(
        self, sample: LoadedSample, draws: Sequence[Draw], student_size: tuple[int, int]
    ) -> list[TeacherView]:
        """The views of a sample, in the order of its draws.

        Args:
            sample: With its record; no image is needed.
            draws: One a view.
            student_size: (width, height) of the student's image, in pixels.

        Raises:
            TrainingError: The slide's file has gone, or has changed, since it was checked.
        """
        try:
            features = self._of(sample.slide)
        except UsageError as error:
            raise TrainingError(f"region {sample.record.region.index} of {error}") from None
        box = region_box(sample.record)
        vectors_NC, boxes_N4 = _on_region(features, box, self.channels)
        made: dict[Orientation, TeacherView] = {}
        for drawn in draws:
            way = orientation(drawn)
            if way not in made:
                made[way] = self._laid(vectors_NC, turned(boxes_N4, way), student_size, way)
        return [made[orientation(drawn)] for drawn in draws]

    def _of(self, slide: str) -> SlideFeatures | None:
        """A slide's features; the last one's are kept, as a shard has a slide's regions one after the other."""
        if self._last is None or self._last[0] != slide:
            self._last = None  # before the next is read: each may take gigabytes
            self._last = (slide, self._checked.read(slide))
        return self._last[1]

    def _laid(
        self,
        vectors_NC: torch.Tensor,
        boxes_N4: NDArray[np.float64],
        student_size: tuple[int, int],
        way: Orientation,
    ) -> TeacherView:
        size = map_size(student_size, self._output_stride, turned=way[2])
        across, down = (side / self._output_stride for side in student_size)
        laying = Laying(self.channels, size, (across, down) if way[2] else (down, across))
        laying.add_patches(vectors_NC, torch.from_numpy(boxes_N4))
        map_CHW, valid_HW = laying.result()
        return TeacherView(logits_K=None, maps={"laid": map_CHW}, valid_HW=valid_HW)


def are_features(config: CacheTeacherConfig) -> bool:
    """Whether --from names features on disk: a folder."""
    return config.from_ is not None and Path(config.from_).is_dir()


def open_features(
    config: CacheTeacherConfig, index: Index, splits: Sequence[str], *, output_stride: int
) -> FeatureSource:
    """Check a folder of features and make it a source.

    Args:
        config: Settings of the cache.
        index: The set.
        splits: Stored splits that are to be cached.
        output_stride: Output stride of the student.

    Raises:
        UsageError: h5py is not installed, an option is none of features, or the features do not fit the set.
        ShardError: A tar of the set is damaged.
    """
    require_h5py()
    checked = check_features(FeatureSettings.of(config), index, splits, config.magnification)
    return FeatureSource(checked, output_stride=output_stride)


def turned(boxes_N4: NDArray[np.float64], way: Orientation) -> NDArray[np.float64]:
    """Boxes in parts of the region, (left, top, right, bottom), where they lie once the image is flipped and turned."""
    left, top, right, bottom = boxes_N4.T
    columns, rows, exchanged = way
    if columns:
        left, right = 1 - right, 1 - left
    if rows:
        top, bottom = 1 - bottom, 1 - top
    sides = (top, left, bottom, right) if exchanged else (left, top, right, bottom)
    return np.ascontiguousarray(np.stack(sides, axis=1))


def _on_region(
    features: SlideFeatures | None, box: tuple[float, float, float, float], channels: int
) -> tuple[torch.Tensor, NDArray[np.float64]]:
    """Vectors (N, C) of the patches that touch a region, and their boxes in parts of it.

    What of a patch lies beyond the region is cut off: else it would count in the region's last cells where these reach
    beyond the image, and once the region is turned, in its first ones not.
    """
    if features is None:
        return torch.empty((0, channels)), np.empty((0, 4))
    near = touching(features.boxes_N4, box)
    left, top, right, bottom = box
    start, side = np.array([left, top, left, top]), np.array([right - left, bottom - top] * 2)
    # Of a slide without patches the file may not say how many channels it would have.
    vectors = features.vectors_NC[near] if near.any() else np.empty((0, channels))
    parts_N4 = ((features.boxes_N4[near] - start) / side).clip(0, 1)
    # Of a box that touches the region by less than can be told from its edge nothing is left.
    some = (parts_N4[:, 2:] > parts_N4[:, :2]).all(axis=1)
    return torch.from_numpy(vectors[some]), parts_N4[some]


def _notes(checked: CheckedFeatures) -> Iterator[str]:
    folder = checked.settings.folder
    if checked.slides_without:
        yield (
            f"{len(checked.slides_without):,} of {plural(checked.slides, 'slide')} have no features in {folder}: "
            f"{name_list(checked.slides_without)}; their regions are cached without a cell that counts"
        )
    others = [(slide, index) for slide, index in checked.regions_without if slide in checked.files]
    if others:
        shown = ", ".join(f"slide '{slide}' region {index}" for slide, index in others[:5])
        yield (
            f"{len(others):,} of {plural(checked.regions, 'region')} have no patch on them: {shown}"
            f"{' and more' if len(others) > 5 else ''}; they are cached without a cell that counts"
        )
    if checked.spare:
        yield f"{plural(len(checked.spare), 'file')} in {folder} belong to no slide that is cached"
