"""The stain that a network's images are normalised to: of its training set, out of a sample of images and of a record.

A record holds every number that decides what becomes of an image: those that were estimated, and the constants of the
method, so that a bundle says all of it and a version with other constants is told apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

from kdtrain.model.stain.density import (
    ESTIMATE_AT,
    LEAST_COLOUR,
    LEAST_ESTIMATED_PX,
    LEAST_TISSUE_PX,
    TISSUE_DENSITY,
    Pixels,
    exact_densities,
    tissue_of,
)
from kdtrain.model.stain.macenko import LEAST_ANGLE_DEGREES, PERCENTILE, MacenkoStain, macenko_stain
from kdtrain.model.stain.reinhard import MOST_STRETCHED, ReinhardStain, reinhard_stain

StainMethod = Literal["macenko", "reinhard"]
Stain = MacenkoStain | ReinhardStain
STAIN_METHODS: tuple[StainMethod, ...] = get_args(StainMethod)

_DIGITS = 6
"""Kept of every number; the last bits of sums differ from one processor to another, and a record should not."""
_MOST = 10.0
"""Of any number of a record: optical densities of 8 bits end at 2.4, logarithms of Reinhard's space at -4.2."""
_OF_ALL = {
    "estimated_at": ESTIMATE_AT,
    "least_estimated_px": LEAST_ESTIMATED_PX,
    "least_tissue_px": LEAST_TISSUE_PX,
    "tissue_density": TISSUE_DENSITY,
    "least_colour": LEAST_COLOUR,
}
_OF_METHOD: dict[StainMethod, dict[str, float]] = {
    "macenko": {"percentile": PERCENTILE, "least_angle_degrees": LEAST_ANGLE_DEGREES},
    "reinhard": {"most_stretched": MOST_STRETCHED},
}


@dataclass(frozen=True, kw_only=True)
class StainTarget:
    """The stain that images are normalised to.

    Attributes:
        stain: The numbers of the method.
        images: That it was estimated on.
        left: Further ones that were looked at, and have too little tissue, or a single dye: they are left as they are.
    """

    stain: Stain
    images: int
    left: int = 0

    @property
    def method(self) -> StainMethod:
        """Whose method it is of."""
        return "macenko" if isinstance(self.stain, MacenkoStain) else "reinhard"

    @property
    def record(self) -> dict[str, Any]:
        """JSON-able; read back by :meth:`of`."""
        constants = _constants(self.method)
        return {
            "method": self.method,
            **asdict(self.stain),
            "images": self.images,
            "left": self.left,
        } | constants

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> StainTarget:
        """From a record.

        Raises:
            ValueError: It is damaged, or of a method or of constants that this version does not know.
        """
        try:
            method = record["method"]
            if method not in STAIN_METHODS:
                raise ValueError(f"there is no stain normalisation {method!r}")
            other = [name for name, value in _constants(method).items() if record[name] != value]
            if other:
                raise ValueError(
                    f"the stain's {other[0]} is {record[other[0]]!r}, which this kdtrain does not do"
                )
            stain = _macenko_of(record) if method == "macenko" else _reinhard_of(record)
            return cls(stain=stain, images=int(record["images"]), left=int(record["left"]))
        except (KeyError, TypeError, OverflowError) as error:
            raise ValueError(f"the stain's record is damaged ({error!r})") from None


def _constants(method: StainMethod) -> dict[str, float]:
    return _OF_ALL | _OF_METHOD[method]


def _numbers(
    record: Mapping[str, Any], name: str, count: int, *, positive: bool = False
) -> tuple[float, ...]:
    return _checked(record[name], name, count, positive=positive)


def _checked(given: Any, name: str, count: int, *, positive: bool = False) -> tuple[float, ...]:
    numbers = tuple(float(number) for number in given)
    least = 0.0 if positive else -_MOST
    if len(numbers) != count or not all(least <= number <= _MOST for number in numbers):
        raise ValueError(f"the stain's {name} must be {count} numbers from {least:g} to {_MOST:g}")
    if positive and 0 in numbers:
        raise ValueError(f"the stain's {name} must be above 0")
    return numbers


def _macenko_of(record: Mapping[str, Any]) -> MacenkoStain:
    vectors = tuple(_checked(row, "vectors", 3) for row in record["vectors"])
    if len(vectors) != 2:
        raise ValueError("the stain's vectors must be two")
    return MacenkoStain(vectors=vectors, strongest=_numbers(record, "strongest", 2, positive=True))


def _reinhard_of(record: Mapping[str, Any]) -> ReinhardStain:
    return ReinhardStain(mean=_numbers(record, "mean", 3), std=_numbers(record, "std", 3, positive=True))


def stain_of(image_HWC: Pixels, method: StainMethod, magnification: float) -> Stain | None:
    """The stain of one image.

    Args:
        image_HWC: (H, W, 3) uint8, RGB.
        method: How it is described.
        magnification: Of the image.

    Returns:
        None where there is too little tissue, or, by Macenko's method, where it does not tell two stains apart.
    """
    tissue_NC = tissue_of(image_HWC, magnification)
    if tissue_NC is None:
        return None
    return macenko_stain(exact_densities(tissue_NC)) if method == "macenko" else reinhard_stain(tissue_NC)


def target_of(stains: Sequence[Stain], *, left: int = 0) -> StainTarget:
    """The stain in the middle of those of several images: the median of every number.

    Args:
        stains: One or more, of one method.
        left: Images that had none.
    """
    assert stains, "whoever has none says so"
    middle: Stain
    if isinstance(stains[0], MacenkoStain):
        of_macenko = [stain for stain in stains if isinstance(stain, MacenkoStain)]
        vectors = np.median([stain.vectors for stain in of_macenko], axis=0)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        strongest = np.median([stain.strongest for stain in of_macenko], axis=0)
        middle = MacenkoStain(vectors=tuple(map(_rounded, vectors)), strongest=_rounded(strongest))
    else:
        of_reinhard = [stain for stain in stains if isinstance(stain, ReinhardStain)]
        mean, std = (np.median([getattr(s, name) for s in of_reinhard], axis=0) for name in ("mean", "std"))
        middle = ReinhardStain(mean=_rounded(mean), std=_rounded(np.maximum(std, 10.0**-_DIGITS)))
    return StainTarget(stain=middle, images=len(stains), left=left)


def _rounded(values: Any) -> tuple[float, ...]:
    return tuple(float(f"{value:.{_DIGITS}g}") for value in values)
