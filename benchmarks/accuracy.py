"""Accuracy of every magnification: slideprep and others against Lanczos-3 by its definition, in float64.

    python benchmarks/accuracy.py [SLIDE] [--cpu NAME] [--json]

SLIDE is a small slide whose level 0 fits in memory. Each image is made of the slide's whole level 0 and compared pixel
by pixel, its border included, with the reference, which is clipped and rounded to 8 bits: differences are grey levels.
Whole factors start at the slide's corner, fractional ones at a fractional origin. Tissue pixels are those whose
channels differ by more than 15 grey levels in the reference. "White" is the least value that comes of a white image.

The other resamplers are shown over interior pixels, since they treat borders in ways of their own. Those that take no
origin start at the corner of an image cut to a whole number of outputs, against a reference that does the same.

With ``--cpu`` slideprep's loops are compiled for another processor than this, by LLVM's name: x86-64-v2 has vectors of
128 bits, x86-64-v4 of 512, which this one must be able to run. The last line is a digest of all its pixels.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyvips
from _common import (
    Pixels,
    find_slide,
    level0_pixels,
    machine,
    machine_line,
    markdown_table,
    print_found,
    slide_parser,
)
from _variants import use_loops
from PIL import Image
from scipy import sparse

from slideprep.images.resample.downsample import downsample, source_box
from slideprep.images.resample.filter import Target
from slideprep.images.resample.loops import lanczos_code

CORNER = (Fraction(0), Fraction(0))
FRACTIONAL = (Fraction("203.37"), Fraction("151.62"))
CASES = [(Fraction(f), CORNER) for f in (2, 4, 8, 16, 32, 64)] + [
    (Fraction(f), FRACTIONAL) for f in ("2.004008", "3.3", "13.6971")
]
"""Factors and origins (x, y) in level-0 pixels; 2.004008 is 1 µm per pixel from a scan of 0.499."""

TISSUE_SPREAD = 15
BORDER_PX = 4
STRIP_ROWS = 240
WHITE_SIDE_PX = 900


def main() -> None:
    """Parse the command line, measure, print."""
    parser = slide_parser(__doc__)
    parser.add_argument("--cpu", metavar="NAME", help="processor that the loops are compiled for [this one]")
    options = parser.parse_args()
    if options.cpu:
        use_loops(lanczos_code(options.cpu))
    with tempfile.TemporaryDirectory() as folder:
        path, sentence = find_slide(options.slide, Path(folder))
        image = level0_pixels(path)
    rows = [measure(image, target) for target in targets(image)]
    found = {"slide": sentence, "machine": machine(), "rows": rows}
    print_found(found, report, as_json=options.json)


def targets(image: Pixels) -> list[Target]:
    """One image per case, as large as the slide allows."""
    height, width = image.shape[:2]
    return [
        Target(factor=f, x=x, y=y, width=int((width - x) / f), height=int((height - y) / f))
        for f, (x, y) in CASES
    ]


def reference(image: Pixels, target: Target) -> Pixels:
    """(rows, columns, 3) uint8 by the definition: stretched kernel, renormalised at borders, float64, rounded once."""
    rows = _axis(image.shape[0], float(target.factor), float(target.y), target.height)
    columns = _axis(image.shape[1], float(target.factor), float(target.x), target.width)
    half = rows @ image.reshape(len(image), -1).astype(np.float64)
    lines = half.reshape(target.height, -1, 3).transpose(1, 0, 2).reshape(image.shape[1], -1)
    exact = (columns @ lines).reshape(target.width, target.height, 3).transpose(1, 0, 2)
    return np.clip(np.rint(exact), 0, 255).astype(np.uint8)


def _axis(length: int, factor: float, origin: float, count: int) -> sparse.csr_array:
    """Weights (count, length): ``sinc(t) sinc(t / 3)`` of the distance to the output's centre, in output pixels."""
    centres = origin + factor * (np.arange(count) + 0.5)
    first = np.floor(centres - 3 * factor).astype(int)
    taps = first[:, None] + np.arange(int(6 * factor) + 3)
    t = (taps + 0.5 - centres[:, None]) / factor
    weights = np.where(np.abs(t) < 3, np.sinc(t) * np.sinc(t / 3), 0.0)
    weights[(taps < 0) | (taps >= length)] = 0
    weights /= weights.sum(axis=1, keepdims=True)
    outputs = np.broadcast_to(np.arange(count)[:, None], taps.shape)
    used = weights != 0
    return sparse.csr_array((weights[used], (outputs[used], taps[used])), shape=(count, length))


def slideprep_image(image: Pixels, target: Target) -> Pixels:
    """The image as build-shards makes it."""
    box = source_box([target], slide_width=image.shape[1], slide_height=image.shape[0])
    part = image[box.y : box.bottom, box.x : box.right]
    strips = (part[top : top + STRIP_ROWS] for top in range(0, len(part), STRIP_ROWS))
    return np.concatenate([rows for _, rows in downsample(strips, box, [target], strip_rows=STRIP_ROWS)])


def pillow_lanczos(image: Pixels, target: Target) -> Pixels:
    """Pillow, with the exact box."""
    x, y, f = float(target.x), float(target.y), float(target.factor)
    box = (x, y, x + f * target.width, y + f * target.height)
    resized = Image.fromarray(image).resize((target.width, target.height), Image.Resampling.LANCZOS, box=box)
    return np.asarray(resized)


def torch_lanczos(image: Pixels, target: Target) -> Pixels | None:
    """The antialiased 8-bit Lanczos of torch, where it is installed and has it."""
    try:
        import torch
        from torch.nn.functional import interpolate
    except ImportError:
        return None
    tensor = torch.from_numpy(image.transpose(2, 0, 1)[None].copy())
    try:
        made = interpolate(
            tensor,
            scale_factor=1 / float(target.factor),
            mode="lanczos",
            antialias=True,
            recompute_scale_factor=False,
        )
    except NotImplementedError:
        return None
    return made[0].numpy().transpose(1, 2, 0)


def vips_reduce(image: Pixels, target: Target) -> Pixels:
    """The reduce of libvips with lanczos3, on 8-bit pixels."""
    factor = float(target.factor)
    return _vips(image).reduce(factor, factor, kernel="lanczos3").numpy()


def vips_resize(image: Pixels, target: Target) -> Pixels:
    """The resize of libvips, which shrinks by boxes first."""
    return _vips(image).resize(1 / float(target.factor), kernel="lanczos3").numpy()


def _vips(image: Pixels) -> pyvips.Image:
    return pyvips.Image.new_from_array(image)


OTHERS: dict[str, Callable[[Pixels, Target], Pixels | None]] = {
    "Pillow": pillow_lanczos,
    "torch": torch_lanczos,
    "vips reduce": vips_reduce,
    "vips resize": vips_resize,
}
TAKES_ORIGIN = {"Pillow"}


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Made minus reference, in grey levels; ``share`` is that of differing values."""

    mean: float
    bias: float
    maximum: int
    share: float


def difference(made: Pixels, wanted: Pixels, where: np.ndarray | None = None) -> Difference:
    """Compare two images, or the pixels of both that ``where`` (rows, columns) picks."""
    delta = made.astype(np.int16) - wanted
    if where is not None:
        delta = delta[where]
    size = np.abs(delta)
    return Difference(
        mean=float(size.mean()),
        bias=float(delta.mean()),
        maximum=int(size.max()),
        share=float((size > 0).mean()),
    )


def measure(image: Pixels, target: Target) -> dict[str, Any]:
    """Everything that is shown for one case."""
    wanted = reference(image, target)
    made = slideprep_image(image, target)
    tissue = np.ptp(wanted, axis=2) > TISSUE_SPREAD
    return {
        "factor": float(target.factor),
        "origin": [float(target.x), float(target.y)],
        "sha256": hashlib.sha256(made.tobytes()).hexdigest(),
        "whole": asdict(difference(made, wanted)),
        "tissue": asdict(difference(made, wanted, tissue)) if tissue.any() else None,
        "tissue_share": float(tissue.mean()),
        "white": white(target.factor),
        "others": {name: _other(name, image, target, wanted) for name in OTHERS},
    }


def _other(name: str, image: Pixels, target: Target, wanted: Pixels) -> dict[str, Any] | None:
    if name not in TAKES_ORIGIN:
        image, target = _from_corner(image, target.factor)
        wanted = reference(image, target)
    made = OTHERS[name](image, target)
    if made is None:
        return None
    rows, columns = (min(sides) - BORDER_PX for sides in zip(made.shape[:2], wanted.shape[:2], strict=True))
    inside = np.s_[BORDER_PX:rows, BORDER_PX:columns]
    return asdict(difference(made[inside], wanted[inside]))


def _from_corner(image: Pixels, factor: Fraction) -> tuple[Pixels, Target]:
    """A part of the image that is (nearly) a whole number of outputs: libvips spreads a remainder over both sides."""
    height, width = (_outputs(side, factor) for side in image.shape[:2])
    part = np.ascontiguousarray(image[: round(height * factor), : round(width * factor)])
    return part, Target(factor=factor, x=Fraction(0), y=Fraction(0), width=width, height=height)


def _outputs(side: int, factor: Fraction) -> int:
    """Outputs that end nearest to a source pixel's edge, among those that fill at least half of the side."""
    most = int(side / factor)
    return min(range(most, most // 2, -1), key=lambda n: abs(n * factor - round(n * factor)))


def white(factor: Fraction) -> int:
    """The least value that slideprep makes of a white image, borders included."""
    image = np.full((WHITE_SIDE_PX, WHITE_SIDE_PX, 3), 255, np.uint8)
    side = int(WHITE_SIDE_PX / factor)
    return int(
        slideprep_image(
            image, Target(factor=factor, x=Fraction(0), y=Fraction(0), width=side, height=side)
        ).min()
    )


def report(found: dict[str, Any]) -> str:
    """Two Markdown tables: slideprep in detail, then the others."""
    header = ["factor", "origin (x, y)"]
    header += [f"{part} {name}" for part in ("all:", "tissue:") for name in ("mean", "bias", "max", "differ")]
    own = [
        [*_case(row), *_four(row["whole"]), *_four(row["tissue"]), str(row["white"])] for row in found["rows"]
    ]
    names = ["factor", "slideprep", *OTHERS]
    beside = [
        [_case(row)[0], _two(row["whole"]), *(_two(row["others"][name]) for name in OTHERS)]
        for row in found["rows"]
    ]
    return "\n\n".join(
        [
            f"{found['slide']} {machine_line(found['machine'])}",
            "slideprep minus float64 reference, grey levels:",
            markdown_table([*header, "white"], own),
            "mean |difference| (bias), grey levels, of the same images by others (interior pixels):",
            markdown_table(names, beside),
            f"Digest of slideprep's pixels: {_digest(found['rows'])}.",
        ]
    )


def _digest(rows: list[dict[str, Any]]) -> str:
    return hashlib.sha256("".join(row["sha256"] for row in rows).encode()).hexdigest()[:16]


def _case(row: dict[str, Any]) -> list[str]:
    return [f"{row['factor']:g}", "{:g}, {:g}".format(*row["origin"])]


def _four(values: dict[str, Any] | None) -> list[str]:
    if values is None:
        return ["-"] * 4
    return [
        f"{values['mean']:.5f}",
        f"{values['bias']:+.5f}",
        str(values["maximum"]),
        f"{100 * values['share']:.3f} %",
    ]


def _two(values: dict[str, Any] | None) -> str:
    return "-" if values is None else f"{values['mean']:.4f} ({values['bias']:+.3f})"


if __name__ == "__main__":
    main()
