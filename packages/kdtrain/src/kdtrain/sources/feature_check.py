"""Features held against a shard set before anything is computed: regions and files in, a checked table out.

Every region's box is read out of the student's tars, and every file once from end to end: what is wrong with one
is said in the beginning, by the slide's name and the region's number (:mod:`kdtrain.sources.feature_misfits`), and the
digest of all content is known. Vectors are not kept. Frames: level-0 pixels.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kdtrain.config.phases import CacheTeacherConfig, option_of
from kdtrain.data.samples import SampleReader
from kdtrain.errors import UsageError
from kdtrain.shards.index import Index, union_of
from kdtrain.shards.sample import SampleRecord
from kdtrain.sources.feature_files import SlideFeatures, read_features
from kdtrain.sources.feature_misfits import (
    check_alike,
    check_slide,
    refuse_regions,
    refuse_slides,
    touching,
)
from kdtrain.sources.feature_names import feature_files, match
from kdtrain.sources.patch_sizes import Facts

_OF_TILES = (
    *("teacher_magnification", "slides", "annotations", "tile_px", "overlap_px", "tile_mean", "tile_std"),
    *("tile_range", "features_output", "logits_output", "extra_tokens", "precision"),
)
_OF_FEATURES = ("patch_size_level0", "patches", "missing_share")


@dataclass(frozen=True, kw_only=True)
class FeatureSettings:
    """Where features lie, and what their files do not say.

    Attributes:
        folder: One h5 file a slide.
        patch_size_level0: Side of a patch in level-0 pixels, for files that do not say it, as CLAM's.
        patches: CLAM's folder ``patches``, whose files say it.
        most_missing: Share of slides, and of regions, that may have no features. A few slides fail in any extraction;
            of more, the folder or its names are probably wrong, and training would read every sample for nothing.
    """

    folder: Path
    patch_size_level0: int | None = None
    patches: Path | None = None
    most_missing: float = 0.05

    @classmethod
    def of(cls, config: CacheTeacherConfig) -> FeatureSettings:
        """Out of the options.

        Raises:
            UsageError: One of them is of teachers that look at tiles.
        """
        assert config.from_ is not None, "whoever calls this has a folder"
        if given := _given(config, _OF_TILES):
            raise UsageError(
                f"{given} says how a network is asked, and --from {config.from_} holds what one has said already; "
                "leave it out"
            )
        return cls(
            folder=Path(config.from_),
            patch_size_level0=config.patch_size_level0,
            patches=config.patches,
            most_missing=config.missing_share,
        )


def refuse_feature_options(config: CacheTeacherConfig) -> None:
    """Refuse what is said of features where a network is asked.

    Raises:
        UsageError: It is.
    """
    if given := _given(config, _OF_FEATURES):
        raise UsageError(
            f"{given} is said of features on disk, and --from {config.from_} is no folder of h5 files; leave it out"
        )


def _given(config: CacheTeacherConfig, names: Sequence[str]) -> str | None:
    """The first of some options that was given."""
    fields = type(config).model_fields
    return next((option_of(name) for name in names if getattr(config, name) != fields[name].default), None)


@dataclass(frozen=True, kw_only=True)
class CheckedFeatures:
    """A folder of features that fits a set.

    Attributes:
        settings: Where they lie.
        files: By slide.
        patches: CLAM's files of the slides' patches, by slide; none where the folder was not given.
        digests: Of their content, by slide.
        channels: Of every vector.
        facts: What the files agree on.
        slides: Slides of the splits.
        regions: Regions of the splits.
        slides_without: Slides without features.
        regions_without: (slide, region) that no patch touches, those of slides without features too.
        spare: Files that belong to no slide of the splits.
    """

    settings: FeatureSettings
    files: Mapping[str, Path]
    patches: Mapping[str, Path]
    digests: Mapping[str, str]
    channels: int
    facts: Facts
    slides: int
    regions: int
    slides_without: tuple[str, ...]
    regions_without: tuple[tuple[str, int], ...]
    spare: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """Of all content, whatever the files are called and in whatever order their rows are."""
        return hashlib.sha256(json.dumps(sorted(self.digests.items()), allow_nan=False).encode()).hexdigest()

    def read(self, slide: str) -> SlideFeatures | None:
        """A slide's features once more; None where it has none.

        Raises:
            UsageError: The file has gone, or has changed since it was checked.
        """
        path = self.files.get(slide)
        if path is None:
            return None
        found = _read(path, slide, self.settings, self.patches.get(slide))
        if found.sha256 != self.digests[slide]:
            raise UsageError(
                f"slide '{slide}': {path} has changed since the command began; run it again once nothing writes there"
            )
        return found


def check_features(
    settings: FeatureSettings,
    index: Index,
    splits: Sequence[str],
    magnification: float,
) -> CheckedFeatures:
    """Hold a folder against the slides and regions of some splits.

    Args:
        settings: Where the features lie.
        index: The set.
        splits: Stored splits or sets.
        magnification: Whose tars the regions' boxes are read from.

    Raises:
        UsageError: A file cannot be used or is of another slide, files disagree, or too many slides or regions have
            no features.
        ShardError: A tar of the set is damaged.
    """
    records = _records(index, splits, magnification)
    if not records:
        raise UsageError(
            f"there is no sample in {', '.join(splits)} to give features to; name splits that hold some"
        )
    matched = match(feature_files(settings.folder), records)
    patches = {} if settings.patches is None else match(feature_files(settings.patches), records).files
    refuse_slides(matched, settings.folder, len(records), settings.most_missing)
    digests, regions_without, first = {}, [], None
    for slide, own in records.items():
        path = matched.files.get(slide)
        boxes_N4 = np.empty((0, 4))
        if path is not None:
            found = _read(path, slide, settings, patches.get(slide))
            check_slide(path, slide, found, own[0], records)
            if len(found.boxes_N4):
                first = first or (path, found)
                check_alike(*first, path, found)
            digests[slide], boxes_N4 = found.sha256, found.boxes_N4
        regions_without += [
            (slide, r.region.index) for r in own if not touching(boxes_N4, region_box(r)).any()
        ]
    total = sum(map(len, records.values()))
    refuse_regions(regions_without, settings.folder, total, settings.most_missing)
    assert first is not None, "some region is touched, else it was refused"
    return CheckedFeatures(
        settings=settings,
        files=matched.files,
        patches=patches,
        digests=digests,
        channels=first[1].vectors_NC.shape[1],
        facts=first[1].facts,
        slides=len(records),
        regions=total,
        slides_without=matched.without,
        regions_without=tuple(regions_without),
        spare=matched.spare,
    )


def region_box(record: SampleRecord) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of a sample's region, level-0 pixels."""
    region = record.region
    return float(region.x), float(region.y), region.x + region.width, region.y + region.height


def _records(index: Index, splits: Sequence[str], magnification: float) -> dict[str, list[SampleRecord]]:
    """Records of all samples by slide; no image is decoded."""
    joined, name = union_of(index, splits)
    reader = SampleReader(joined, name, [magnification], decode="device")
    found: dict[str, list[SampleRecord]] = {}
    try:
        for shard in reader.shards:
            for position in range(shard.samples):
                record = reader.read(shard, position, magnification).record
                found.setdefault(record.slide, []).append(record)
    finally:
        reader.close()
    return found


def _read(path: Path, slide: str, settings: FeatureSettings, patches: Path | None) -> SlideFeatures:
    try:
        return read_features(path, patch_size_level0=settings.patch_size_level0, patches=patches)
    except UsageError as error:
        raise UsageError(f"slide '{slide}': {error}") from None
