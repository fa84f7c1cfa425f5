"""The intact slides of a fuzz run: a few KB each, made in code, one at least for every reader; and real ones.

Real slides are taken from ``$SLIDEPREP_DATA``, by default the folder ``shared/data`` beside the repository.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from fixtures.slides import (
    picture,
    subsampled_jp2k,
    write_dicom,
    write_jp2k_svs,
    write_jpeg_tiff,
    write_svs,
)

_REAL = Path(os.environ.get("SLIDEPREP_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def _grainy() -> np.ndarray:
    """A picture whose every tile has enough to code, so that a flip mostly hits pixels."""
    grain = np.random.default_rng(0).normal(0, 12, (192, 256, 3))
    return np.clip(picture(256, 192) + grain, 0, 255).astype(np.uint8)


_PICTURE = _grainy()


def _tiled(path: Path, compression: str) -> Path:
    tifffile.imwrite(path, _PICTURE, tile=(64, 64), photometric="rgb", compression=compression)
    return path


def _saved(path: Path, **options: object) -> Path:
    Image.fromarray(_PICTURE).save(path, **options)
    return path


GENERATED: Mapping[str, Callable[[Path], Path]] = {
    "TIFF, JPEG tiles": lambda d: write_jpeg_tiff(d / "a.tif", _PICTURE, levels=2, subsampling="420"),
    "SVS, JPEG tiles": lambda d: write_svs(d / "a.svs", _PICTURE, levels=2),
    "SVS, JPEG 2000, RGB": lambda d: write_jp2k_svs(d / "a.svs", _PICTURE, levels=2),
    "SVS, JPEG 2000, YCbCr": lambda d: write_jp2k_svs(d / "a.svs", _PICTURE, colours="ycbcr"),
    "SVS, JPEG 2000, subsampled": lambda d: write_jp2k_svs(
        d / "a.svs", _PICTURE, colours="ycbcr", encode=subsampled_jp2k
    ),
    "DICOM, JPEG frames": lambda d: write_dicom(d / "a.dcm", _PICTURE),
    "TIFF, deflate tiles": lambda d: _tiled(d / "a.tif", "adobe_deflate"),
    "TIFF, LZW tiles": lambda d: _tiled(d / "a.tif", "lzw"),
    "TIFF, PackBits tiles": lambda d: _tiled(d / "a.tif", "packbits"),
    "JPEG": lambda d: _saved(d / "a.jpg", quality=90),
    "JPEG, progressive": lambda d: _saved(d / "a.jpg", quality=90, progressive=True),
    "PNG": lambda d: _saved(d / "a.png"),
    "PNG, interlaced": lambda d: _interlaced(d / "a.png"),
    "plain TIFF, LZW": lambda d: _saved(d / "a.tif", compression="tiff_lzw"),
    "plain TIFF, JPEG strips": lambda d: _saved(d / "a.tif", compression="jpeg"),
    "plain TIFF, not compressed": lambda d: _saved(d / "a.tif"),
}
"""By name: writes a slide into an empty folder and returns the file that is to be damaged."""


def _interlaced(path: Path) -> Path:
    import pyvips

    pyvips.Image.new_from_array(_PICTURE).pngsave(str(path), interlace=True)
    return path


def real_slides() -> Mapping[str, Callable[[Path], Path]]:
    """Copiers of the real slides that are there, by name."""
    found: dict[str, Callable[[Path], Path]] = {}
    for name, file in {
        "real SVS": _REAL / "slides" / "CMU-1-Small-Region.svs",
        "real JPEG": next(iter(sorted((_REAL / "osteosarcoma-10x").glob("*.jpg"))), _REAL / "none"),
    }.items():
        if file.is_file():
            found[name] = lambda folder, file=file: Path(shutil.copy(file, folder / file.name))
    series = _REAL / "slides" / "cmu-1-small-region_dicom"
    if series.is_dir():
        found["real DICOM series"] = lambda folder: _copied_series(series, folder)
    return found


def _copied_series(series: Path, folder: Path) -> Path:
    for file in series.glob("*.dcm"):
        shutil.copy(file, folder)
    return max(folder.glob("*.dcm"), key=lambda file: file.stat().st_size)
