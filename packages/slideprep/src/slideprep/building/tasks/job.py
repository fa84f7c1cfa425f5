"""What a task that writes one shard is told: the samples, their slides, the encoding. Crosses to a worker as it is."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from slideprep.building.limits import QualityLimits
from slideprep.building.plan import Shard
from slideprep.shards.format import RECORD_VERSION
from slideprep.shards.models import ImageFormat, StatisticsOf
from slideprep.slides.files import SlideFile
from slideprep.storage.access import Access
from slideprep.storage.places import Place
from slideprep.units import Scale


@dataclass(frozen=True, kw_only=True)
class SourceSlide:
    """What a shard's task needs to know of one of its slides.

    Attributes:
        file: Where it is.
        name: Its name in all output.
        patient: Its patient's name in all output.
        scale: Objective, mpp and where they came from.
        fingerprint: Fingerprint of the content that was planned for.
    """

    file: SlideFile
    name: str
    patient: str
    scale: Scale
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class ShardJob:
    """One shard to write.

    Attributes:
        out: The set's folder, or its address.
        shard: The samples in order.
        slides: The shard's slides by name.
        magnifications: Highest first.
        image_format: Encoding of every image.
        quality: Quality of the encoding; None where it is lossless.
        classes: Class names in the order of their indices.
        with_sums: Whether the images count for the set's colour statistics.
        statistics_of: The pixels that those are of.
        crashed: Slides that brought their worker down, by name, with what is known; they are left out.
        limits: The quality that a region must have.
        access: How the worker reaches what is not on its machine.
    """

    out: Place
    shard: Shard
    slides: Mapping[str, SourceSlide]
    magnifications: tuple[float, ...]
    image_format: ImageFormat
    quality: int | None
    classes: tuple[str, ...]
    with_sums: bool
    crashed: Mapping[str, str]
    statistics_of: StatisticsOf = "unencoded"
    limits: QualityLimits = field(default_factory=QualityLimits)
    access: Access = field(default_factory=Access)

    @property
    def digest(self) -> str:
        """SHA-256 of everything that decides the shard's bytes, so that a finished shard can be recognised."""
        slides = [(name, s.patient, s.scale, s.fingerprint) for name, s in sorted(self.slides.items())]
        parts = (
            RECORD_VERSION,
            self.shard,
            slides,
            self.magnifications,
            self.image_format,
            self.quality,
            self.classes,
            self.with_sums,
            *([self.statistics_of] if self.with_sums and self.statistics_of != "decoded" else []),
            *(
                [self.limits] if self.limits else []
            ),  # shards without, and those of earlier versions, keep their digest
        )
        return hashlib.sha256(repr(parts).encode()).hexdigest()
