"""What people run today: tissueloc finds the tissue, OpenSlide reads it, Pillow reduces it once per magnification.

Run by ``cost.py`` as ``PYTHON _tissueloc.py SLIDE FOLDER``, with an interpreter of its own: tissueloc needs OpenCV and
scikit-image, which slideprep does not. Prints one line of JSON, as ``_variants.py`` does.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

FACTORS = {"10x": 2, "5x": 4, "2.5x": 8, "1.25x": 16, "0.625x": 32}


def cpu_seconds() -> float:
    """User and system time of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main(path: str, folder: Path) -> None:
    """Reduce the bounding box of every piece of tissue, and account for it."""
    begin = cpu_seconds()
    import cv2
    import openslide
    import tissueloc
    from PIL import Image

    imported = cpu_seconds()
    contours, step = tissueloc.locate_tissue_cnts(
        path, max_img_size=2048, smooth_sigma=13, thresh_val=0.80, min_tissue_size=10_000
    )
    located = cpu_seconds()
    area_px = 0
    with openslide.OpenSlide(path) as slide:
        for number, contour in enumerate(contours):
            x, y, width, height = (int(step * side) for side in cv2.boundingRect(contour))
            region = slide.read_region((x, y), 0, (width, height)).convert("RGB")
            area_px += width * height
            for name, factor in FACTORS.items():
                image = region.resize((width // factor, height // factor), Image.Resampling.LANCZOS)
                image.save(folder / f"{number}-{name}.jpg", quality=95, subsampling=0)
    found = {
        "import_s": imported - begin,
        "cpu_s": cpu_seconds() - imported,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "stages": {"locate tissue": located - imported, "megapixels": area_px / 1e6},
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
