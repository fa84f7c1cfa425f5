"""What h5 files say of their patches: attributes in, a patch's side on level 0 and what else is known out.

Pure. TRIDENT states the side itself, and what it follows from; CLAM states it in the pixels of a pyramid level, in
another file; see :mod:`kdtrain.sources.feature_files`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kdtrain.errors import UsageError
from kdtrain.text import brief

AGAIN = "extract the slide's features again, or take the file away to go on without them"
"""What to do about a file that cannot be used."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a file says of its patches; None where it says nothing.

    Attributes:
        encoder: Name of what computed the vectors.
        slide: Name of the slide, without its suffix.
        magnification: That the patches were read at.
        patch_px: Side of a patch in pixels at that magnification.
        level0_magnification: Of the slide's full resolution.
        level0_size: (width, height) of the slide's full resolution.
    """

    encoder: str | None = None
    slide: str | None = None
    magnification: float | None = None
    patch_px: float | None = None
    level0_magnification: float | None = None
    level0_size: tuple[int, int] | None = None


def facts_of(path: Path, attributes: Mapping[str, Any]) -> Facts:
    """What the attributes of ``features`` and ``coords`` say.

    Raises:
        UsageError: One that should be a number above 0 is none.
    """
    width, height = (_number(path, attributes, f"level0_{side}") for side in ("width", "height"))
    return Facts(
        encoder=_text(attributes, "encoder"),
        slide=_text(attributes, "name"),
        magnification=_number(path, attributes, "target_magnification"),
        patch_px=_number(path, attributes, "patch_size"),
        level0_magnification=_number(path, attributes, "level0_magnification"),
        level0_size=None if width is None or height is None else (int(width), int(height)),
    )


def side_of(
    path: Path,
    attributes: Mapping[str, Any],
    facts: Facts,
    *,
    given: int | None,
    of_patches: Mapping[str, Any],
) -> float:
    """Side of a patch in level-0 pixels.

    Args:
        path: The file, for messages.
        attributes: Its own.
        facts: What these say.
        given: What a person says.
        of_patches: Attributes of CLAM's file of the slide's patches, where there is one.

    Raises:
        UsageError: Nothing says it, or what is said differs.
    """
    stated = _trident_side(path, attributes, facts)
    for more in (attributes, of_patches):
        stated = _clam_side(path, more) if stated is None else stated
    if stated is None and given is None:
        raise UsageError(
            f"{path} does not say how large its patches are (no patch_size_level0 on 'coords'), as CLAM's do not; add "
            "--patch-size-level0 with their side in level-0 pixels: CLAM's --patch_size times the downsample of its "
            "--patch_level"
        )
    if stated is not None and given is not None and abs(stated - given) > 1:
        raise UsageError(
            f"{path} says that its patches are {stated:g} level-0 pixels a side, and --patch-size-level0 says {given}; "
            "leave the option out where files say it"
        )
    return float(given or 0.0) if stated is None else stated


def _trident_side(path: Path, attributes: Mapping[str, Any], facts: Facts) -> float | None:
    side = _number(path, attributes, "patch_size_level0")
    if side is None or not (facts.patch_px and facts.level0_magnification and facts.magnification):
        return side
    implied = facts.patch_px * facts.level0_magnification / facts.magnification
    # TRIDENT rounds down.
    if abs(side - implied) > max(1.0, 0.01 * implied):
        raise UsageError(
            f"{path}: patch_size_level0 is {side:g}, but {facts.patch_px:g} px at {facts.magnification:g}x of a slide "
            f"of {facts.level0_magnification:g}x are {implied:g} level-0 pixels, so one is of another slide; {AGAIN}"
        )
    return side


def _clam_side(path: Path, attributes: Mapping[str, Any]) -> float | None:
    patch_px, level = _number(path, attributes, "patch_size"), attributes.get("patch_level")
    if patch_px is None or level is None:
        return None
    downsample = _number(path, attributes, "downsample")
    if downsample is None:
        downsample = 1.0 if np.array_equal(level, 0) else None
    if downsample is None:
        return None
    return patch_px * downsample * (_number(path, attributes, "custom_downsample") or 1.0)


def _number(path: Path, attributes: Mapping[str, Any], name: str) -> float | None:
    """A number above 0, of several the first; None where it is absent, for which TRIDENT writes "None"."""
    value = attributes.get(name)
    if value is None or _as_text(value) in ("None", ""):
        return None
    try:
        number = float(np.asarray(value).reshape(-1)[0])
    except (TypeError, ValueError, IndexError):
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        shown = brief(np.asarray(value).tolist())
        raise UsageError(f"{path}: the attribute {name} is {shown}, not a number above 0; {AGAIN}")
    return number


def _text(attributes: Mapping[str, Any], name: str) -> str | None:
    text = _as_text(attributes.get(name))
    return None if text in (None, "None", "") else text


def _as_text(value: object) -> str | None:
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return value if isinstance(value, str) else None
