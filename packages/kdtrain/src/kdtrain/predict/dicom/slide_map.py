"""The class map of a slide, and what it is called: plain data.

UIDs are derived, not drawn: ``2.25.`` and a name-based UUID (PS3.5, B.2; RFC 9562, 5.5) of the source image, the
bundle, the versions and the pixels, so the same map has the same name and another has another. Nothing of the patient
is in them.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from kdtrain import __version__
from kdtrain.bundle.runtime import Floats
from kdtrain.predict.dicom.class_map import Grid
from kdtrain.predict.dicom.labels import long_text
from kdtrain.predict.dicom.source import SourceImage

CAUTION = "Research use only, not for diagnosis."


@dataclass(frozen=True, kw_only=True)
class Algorithm:
    """By what a map was made.

    Attributes:
        name: Name of the bundle.
        sha256: Its SHA-256.
        words: What its values are: whether they are calibrated, and the cells' size.
    """

    name: str
    sha256: str
    words: str


@dataclass(frozen=True, kw_only=True)
class SlideMap:
    """The class map of a slide.

    Attributes:
        grid: Its pixels.
        probabilities_hwK: (rows, columns, K) float32, 0 for all classes where no region lies.
        labels_hw: (rows, columns): 1 and up for the most probable class, 0 where there is no tissue.
        classes: Names of the K.
        source: The slide's largest level.
        algorithm: By what it was made.
    """

    grid: Grid
    probabilities_hwK: Floats
    labels_hw: NDArray[np.uint16]
    classes: tuple[str, ...]
    source: SourceImage
    algorithm: Algorithm

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that makes the map another one, but for what it copies of patient and study."""
        import highdicom

        source = self.source
        place = (
            source.map_origin_mm(self.grid.step_l0),
            source.orientation,
            source.spacing_mm,
            source.depth_mm,
        )
        parts = (
            *(str(source.header.SOPInstanceUID), repr((self.grid, self.algorithm, self.classes, place))),
            *(__version__, highdicom.__version__),
        )
        digest = sha256("\0".join(parts).encode(errors="surrogateescape"))
        digest.update(np.ascontiguousarray(self.probabilities_hwK).data)
        digest.update(np.ascontiguousarray(self.labels_hw).data)
        return digest.hexdigest()

    def uid(self, role: str) -> str:
        """A UID that this map has for a role, and that nothing else has."""
        return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, f'{self.digest} {role}').int}"

    @property
    def words(self) -> str:
        """What the values are."""
        made_by = self.algorithm
        bundle = f"Bundle {long_text(made_by.name)}, SHA-256 {made_by.sha256}."
        return (
            "What a network says of each place of the slide: class probabilities, 0 for all classes where it was not "
            f"asked; and the most probable class where there is tissue. {made_by.words} {bundle} {CAUTION}"
        )
