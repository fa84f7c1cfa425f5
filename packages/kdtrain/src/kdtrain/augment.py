"""Augmentation, drawn once per sample and applied alike at every magnification; and standardisation.

An 8-bit image goes in, a float32 one in [0, 1] comes out, on the device it came on; standardise it last. The draw is a
pure function of seed, epoch and the sample's key, so that it does not matter which rank, worker or resumed run makes
it. The paper names brightness, contrast, hue, saturation, both flips and rotations (section 3.2); rotations are by
quarter turns, which need no interpolation and keep the whole field. Stains can be changed too, which is not of the
paper: as if a section had lain longer in one dye and shorter in the other (Tellez et al. 2018, "Whole-slide mitosis
detection in H&E breast histology using PHH3 as a reference to train distilled stain-invariant convolutional networks").

Legend: B images of a batch, C = 3 channels (RGB), H and W rows and columns.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

OPERATIONS = ("brightness", "contrast", "saturation", "hue")

_HAEMATOXYLIN, _EOSIN = (0.65, 0.70, 0.29), (0.07, 0.99, 0.11)
"""Optical density of the dyes in red, green and blue: Ruifrok and Johnston 2001, "Quantification of histochemical
staining by color deconvolution"."""


@dataclass(frozen=True, kw_only=True)
class AugmentSettings:
    """How strongly to augment; the defaults are those of the published code, with the paper's rotations.

    Attributes:
        brightness: Factors are uniform in [max(0, 1 - brightness), 1 + brightness]; 0 switches it off.
        contrast: The same, about the image's mean grey level.
        saturation: The same, about each pixel's grey level.
        hue: Shifts are uniform in [-hue, hue] turns of the colour circle, at most 0.5.
        horizontal_flip: Mirror left and right, every other sample.
        vertical_flip: Mirror top and bottom, every other sample.
        rotate: Turn by 0, 90, 180 or 270 degrees, each as often.
        stain: Factors of the stains' densities are uniform in [1 - stain, 1 + stain], and what is added to them in
            [-stain, stain]; 0 switches it off.

    Raises:
        ValueError: A strength is out of range.
    """

    brightness: float = 0.5
    contrast: float = 0.5
    saturation: float = 0.5
    hue: float = 0.2
    horizontal_flip: bool = True
    vertical_flip: bool = True
    rotate: bool = True
    stain: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.stain <= 1:
            raise ValueError(f"augmentation strength stain={self.stain} is not in [0, 1]; 0 is off")
        for name in OPERATIONS:
            strength, most = getattr(self, name), 0.5 if name == "hue" else math.inf
            if not 0 <= strength <= most or math.isinf(strength):
                raise ValueError(f"augmentation strength {name}={strength} is not in [0, {most}]; 0 is off")


@dataclass(frozen=True, kw_only=True)
class Draw:
    """What happens to one sample in one epoch; the defaults leave it as it is.

    Attributes:
        order: Order of the four colour operations, which do not commute.
        brightness: Factor; 1 changes nothing.
        contrast: Factor.
        saturation: Factor.
        hue: Shift in turns; 0 changes nothing.
        horizontal_flip: Mirror left and right.
        vertical_flip: Mirror top and bottom.
        quarter_turns: 0 to 3 turns by 90 degrees, anticlockwise, after the flips.
        stain: Factors of haematoxylin, eosin and the rest, and what is added to each, optical density; before the
            colours. None for no change.
    """

    order: tuple[str, ...] = OPERATIONS
    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0
    horizontal_flip: bool = False
    vertical_flip: bool = False
    quarter_turns: int = 0
    stain: tuple[float, float, float, float, float, float] | None = None


IDENTITY = Draw()
"""No augmentation: what evaluation applies."""


def draw(settings: AugmentSettings, *, seed: int, epoch: int, key: str) -> Draw:
    """The augmentation of a sample in an epoch: the same for the same arguments, on every machine.

    Factors and their order follow torchvision's ColorJitter. A strength of 0 changes nothing else in the draw.
    """
    digest = hashlib.sha256(f"{seed}\n{epoch}\n{key}".encode()).digest()
    raw = _RawDraws(int.from_bytes(digest[:16], "big"))
    order = raw.shuffled(OPERATIONS)
    unit = [raw.unit() for _ in OPERATIONS]
    flips, turns = [raw.below(2), raw.below(2)], raw.below(4)
    return Draw(
        order=order,
        brightness=_factor(settings.brightness, unit[0]),
        contrast=_factor(settings.contrast, unit[1]),
        saturation=_factor(settings.saturation, unit[2]),
        hue=settings.hue * float(2 * unit[3] - 1),
        horizontal_flip=settings.horizontal_flip and bool(flips[0]),
        vertical_flip=settings.vertical_flip and bool(flips[1]),
        quarter_turns=turns if settings.rotate else 0,
        stain=_stain(settings.stain, raw) if settings.stain else None,
    )


def _stain(strength: float, raw: _RawDraws) -> tuple[float, float, float, float, float, float]:
    """Drawn last, so that all else is drawn as without it."""
    shifts = [strength * (2 * raw.unit() - 1) for _ in range(6)]
    return 1 + shifts[0], 1 + shifts[1], 1 + shifts[2], shifts[3], shifts[4], shifts[5]


def _factor(strength: float, unit: float) -> float:
    low, high = max(0.0, 1 - strength), 1 + strength
    return low + (high - low) * unit


class _RawDraws:
    """Numbers out of the raw bits of PCG64, the one stream that NumPy promises never to change.

    What its Generator makes of these bits may change with any version, and a run that is resumed after an upgrade
    would go on with other draws. The arithmetic is written out here: that of the Generator of NumPy 2, so that runs
    begun with it go on.
    """

    def __init__(self, seed: int) -> None:
        self._bits = np.random.PCG64(seed)
        self._upper_half: int | None = None

    def unit(self) -> float:
        """Uniform in [0, 1): the upper 53 bits of 64."""
        return (int(self._bits.random_raw()) >> 11) * 2.0**-53

    def below(self, n: int) -> int:
        """Uniform in 0 to n - 1, by Lemire's rejection (2019, doi:10.1145/3230636), without bias."""
        product = self._half() * n
        while product % 2**32 < 2**32 % n:
            product = self._half() * n
        return product >> 32

    def shuffled(self, items: Sequence[str]) -> tuple[str, ...]:
        """In an order drawn from all alike, by Fisher and Yates from the end; places by masking and rejecting."""
        drawn = list(items)
        for last in range(len(drawn) - 1, 0, -1):
            mask = (1 << last.bit_length()) - 1
            other = self._half() & mask
            while other > last:
                other = self._half() & mask
            drawn[last], drawn[other] = drawn[other], drawn[last]
        return tuple(drawn)

    def _half(self) -> int:
        """32 bits: the lower half of 64 first, and the upper half when next asked for."""
        if self._upper_half is not None:
            half, self._upper_half = self._upper_half, None
            return half
        both = int(self._bits.random_raw())
        self._upper_half = both >> 32
        return both & 0xFFFFFFFF


def apply(image_CHW: Tensor, drawn: Draw) -> Tensor:
    """Augment one image.

    Args:
        image_CHW: (3, H, W), uint8, or floating point in [0, 1]; not changed.
        drawn: The sample's draw, the same at every magnification.

    Returns:
        (3, H, W) in [0, 1], or (3, W, H) after an odd number of quarter turns; float32 for uint8.

    Raises:
        ValueError: Another shape or type.
    """
    if image_CHW.ndim != 3 or image_CHW.shape[0] != 3:
        raise ValueError(f"an image is (3, H, W); got shape {tuple(image_CHW.shape)}")
    return _turn(_recolour(_unit_range(image_CHW), drawn), drawn)


def apply_batch(images_BCHW: Tensor, drawn: Sequence[Draw]) -> Tensor:
    """Augment images of one size, each by its own draw.

    Images that are not square can be stacked only if all lie the same way: they then take the first one's choice
    between upright and lying, and each keeps its own choice between the two turns that are left. As shapes are alike
    at all magnifications, teacher and student still see the same.

    Raises:
        ValueError: Not one draw per image; or as apply.
    """
    if images_BCHW.ndim != 4 or images_BCHW.shape[0] != len(drawn):
        raise ValueError(f"{len(drawn)} draws for images of shape {tuple(images_BCHW.shape)}; give one each")
    if images_BCHW.shape[2] != images_BCHW.shape[3]:
        lying = drawn[0].quarter_turns % 2
        drawn = [replace(d, quarter_turns=d.quarter_turns // 2 * 2 + lying) for d in drawn]
    return torch.stack([apply(image_CHW, d) for image_CHW, d in zip(images_BCHW, drawn, strict=True)])


def standardise(image: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(image - mean) / std per channel.

    Args:
        image: (..., 3, H, W) in [0, 1], as apply returns it; not changed.
        mean: Per channel, in grey levels 0 to 255, as the index of a shard set states it.
        std: The same; of the labelled training split.

    Raises:
        ValueError: Not three of each, or a standard deviation that is not positive.
    """
    if len(mean) != 3 or len(std) != 3 or not all(s > 0 for s in std):
        raise ValueError(
            f"standardising needs 3 means and 3 standard deviations > 0, got {mean} and {std}; "
            "a deviation of 0 means that all training images are of one colour"
        )
    mean_C11 = torch.tensor(mean, dtype=image.dtype, device=image.device).div_(255).view(3, 1, 1)
    std_C11 = torch.tensor(std, dtype=image.dtype, device=image.device).div_(255).view(3, 1, 1)
    return (image - mean_C11).div_(std_C11)


_FLIPS_OF_TURNS: tuple[frozenset[int], ...] = tuple(map(frozenset, ((), (-1,), (-2, -1), (-2,))))
"""Axes to flip for 0 to 3 quarter turns; an odd number of turns exchanges the axes afterwards."""


def orientation(drawn: Draw) -> tuple[bool, bool, bool]:
    """What flips and turns come to: whether columns, then rows, run backwards, and whether they are then exchanged."""
    flips = {axis for axis, flip in ((-1, drawn.horizontal_flip), (-2, drawn.vertical_flip)) if flip}
    axes = flips ^ _FLIPS_OF_TURNS[drawn.quarter_turns]
    return -1 in axes, -2 in axes, drawn.quarter_turns % 2 == 1


def _turn(x_CHW: Tensor, drawn: Draw) -> Tensor:
    """Flips and quarter turns in one pass over the image: two flips of an axis are none."""
    columns, rows, exchanged = orientation(drawn)
    axes = [axis for axis, backwards in ((-2, rows), (-1, columns)) if backwards]
    x_CHW = x_CHW.flip(axes) if axes else x_CHW
    return x_CHW.transpose(-2, -1) if exchanged else x_CHW


def _unit_range(image_CHW: Tensor) -> Tensor:
    if image_CHW.is_floating_point():
        return image_CHW
    if image_CHW.dtype != torch.uint8:
        raise ValueError(f"an image is uint8, or floating point in [0, 1]; got {image_CHW.dtype}")
    return image_CHW.to(torch.float32).div_(255)


def _recolour(x_CHW: Tensor, drawn: Draw) -> Tensor:
    # Here, because importing torchvision's transforms takes longer than all of the rest.
    from torchvision.transforms.v2 import functional as tv

    adjust = {
        "brightness": tv.adjust_brightness,
        "contrast": tv.adjust_contrast,
        "saturation": tv.adjust_saturation,
        "hue": tv.adjust_hue,
    }
    if drawn.stain is not None:
        x_CHW = _restain(x_CHW, *stain_map(drawn.stain))
    for operation in drawn.order:
        value = getattr(drawn, operation)
        if value != getattr(IDENTITY, operation):
            x_CHW = adjust[operation](x_CHW, value)
    return x_CHW


def stain_map(
    stain: tuple[float, float, float, float, float, float],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What a change of stains does to optical densities: row vectors times a matrix (3, 3), plus an offset (3).

    A density is split into amounts of haematoxylin, of eosin and of what is perpendicular to both; each amount c
    becomes factor x c + shift, and the three are added up again.
    """
    dyes = np.array([_HAEMATOXYLIN, _EOSIN, np.cross(_HAEMATOXYLIN, _EOSIN)])
    dyes /= np.linalg.norm(dyes, axis=1, keepdims=True)
    return np.linalg.inv(dyes) @ np.diag(stain[:3]) @ dyes, np.array(stain[3:]) @ dyes


def _restain(x_CHW: Tensor, matrix_CC: NDArray[np.float64], offset_C: NDArray[np.float64]) -> Tensor:
    """Densities of an image in [0, 1] times a matrix, plus an offset; what is brighter than white comes out white."""
    # Black as grey level 1, which has a logarithm.
    red, green, blue = -torch.log10(x_CHW.clamp(min=1 / 255))
    moved_CHW = [
        red * r + green * g + blue * b + offset
        for (r, g, b), offset in zip(matrix_CC.T.tolist(), offset_C.tolist(), strict=True)
    ]
    return torch.pow(10.0, torch.stack(moved_CHW).clamp_(min=0).neg_())
