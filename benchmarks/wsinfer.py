"""A folder of ``kdtrain export --wsinfer``, run by Python's wsinfer from end to end, and what its pixels change.

    python benchmarks/wsinfer.py FOLDER --wsinfer PYTHON [SLIDE ...] [--synthetic 3] [--json]

FOLDER holds config.json and torchscript_model.pt. PYTHON has wsinfer installed, in an environment of its own, where
the model zoo's schema is asked too. Without a SLIDE it takes the real one under $SLIDEPREP_DATA or beside the
repository, and as many synthetic slides as told. wsinfer cuts every slide into tiles and answers for each; the same
tiles then go through the same file here, from four kinds of pixels:

| pixels | how |
|---|---|
| as wsinfer's | level 0 by OpenSlide, shrunk by a triangle: whether anything but pixels differs |
| ours | slideprep's Lanczos straight from level 0, as the network's training images were made |
| ours, encoded | the same as JPEG of quality 90, as training images are |
| nearest level | the pyramid level nearest to the spacing, then a triangle: as QuPath reads |

Differences of pixels are grey levels against ours; of probabilities, the largest over the classes against wsinfer's.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import torch
from _common import Pixels, find_slide, level0_pixels, machine, machine_line, markdown_table, print_found
from accuracy import slideprep_image
from PIL import Image

from slideprep.images.resample.filter import Target

KINDS = ("as wsinfer's", "ours", "ours, encoded", "nearest level")
_SCHEMA = (
    "import json, sys; from wsinfer_zoo.client import validate_config_json, ModelConfiguration; "
    "c = json.load(open(sys.argv[1])); validate_config_json(c); ModelConfiguration.from_dict(c)"
)
_SLIDEPREP = "from slideprep.cli.main import main; main()"
QUALITY = 90


def main() -> None:
    """Parse the command line, measure, print."""
    options = _parser().parse_args()
    config = json.loads((options.folder / "config.json").read_text())
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        slides = options.slides or [*_real(work), *_synthetic(work, options.synthetic)]
        answers = run_wsinfer(options.wsinfer.absolute(), options.folder.resolve(), slides, work)
        warnings.filterwarnings("ignore", message=".*torch.jit.load")
        model = torch.jit.load(options.folder / "torchscript_model.pt", map_location="cpu")
        rows = [
            row
            for slide in slides
            for row in measured(slide, answers[slide.stem], model, config, str(slide.name))
        ]
    print_found({"machine": machine(), "rows": rows}, report, as_json=options.json)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="what kdtrain export --wsinfer wrote")
    parser.add_argument("slides", type=Path, nargs="*", metavar="SLIDE", help="slides of one name each")
    parser.add_argument("--wsinfer", type=Path, required=True, help="a Python that has wsinfer")
    parser.add_argument("--synthetic", type=int, default=3, help="synthetic slides (3)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _real(work: Path) -> Iterator[Path]:
    yield find_slide(None, work)[0]


def _synthetic(work: Path, count: int) -> list[Path]:
    """Slides of other kinds than any that a network was trained on: their seed is this benchmark's own."""
    if not count:
        return []
    out = work / "synthetic"
    command = [sys.executable, "-c", _SLIDEPREP, "synthesize", out, "--slides", str(count)]
    subprocess.run([*command, "--seed", "1807"], check=True, capture_output=True)
    return sorted(path for path in out.iterdir() if path.suffix in (".tiff", ".svs"))[:count]


def run_wsinfer(python: Path, folder: Path, slides: list[Path], work: Path) -> dict[str, Any]:
    """The schema asked, and ``wsinfer run`` on the slides; by stem what it says of each tile."""
    home = work / "home" / ".wsinfer-zoo"
    home.mkdir(parents=True)
    # Else it would fetch the list of public models as it starts.
    (home / "wsinfer-zoo-registry.json").write_text(json.dumps({"models": {}}))
    environment = {**os.environ, "HOME": str(work / "home"), "WSINFER_FORCE_CPU": "1"}
    # Not in this folder, whose file of this name would be taken for wsinfer.
    subprocess.run([python, "-c", _SCHEMA, folder / "config.json"], check=True, env=environment, cwd=work)
    inputs = work / "slides"
    inputs.mkdir()
    for slide in slides:
        (inputs / slide.name).symlink_to(slide.resolve())
    told = ["--config", folder / "config.json", "--model-path", folder / "torchscript_model.pt"]
    command = [python, "-m", "wsinfer", "run", "--wsi-dir", inputs, "--results-dir", work / "out", *told]
    # With 0 workers it answers, and then fails as it writes its GeoJSON.
    done = subprocess.run(
        [*command, "--num-workers", "1"], cwd=work, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"wsinfer failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return {path.stem: _tiles(path) for path in (work / "out" / "model-outputs-csv").glob("*.csv")}


def _tiles(path: Path) -> tuple[list[tuple[int, int, int]], np.ndarray]:
    """(x, y, side) in level-0 pixels of every tile, and its probabilities (N, K)."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in rows[0] if name.startswith("prob_")]
    places = [(int(row["minx"]), int(row["miny"]), int(row["width"])) for row in rows]
    return places, np.array([[float(row[name]) for name in names] for row in rows])


def measured(
    path: Path, answer: tuple[list[tuple[int, int, int]], np.ndarray], model: Any, config: Any, name: str
) -> Iterator[dict[str, Any]]:
    """One row for each kind of pixels; tiles that reach beyond the slide are left out."""
    image = level0_pixels(path)
    height, width = image.shape[:2]
    inside = [n for n, (x, y, side) in enumerate(answer[0]) if x + side <= width and y + side <= height]
    places, theirs = [answer[0][n] for n in inside], answer[1][inside]
    side_px = config["patch_size_pixels"]
    with openslide.OpenSlide(path) as slide:
        kinds: dict[str, Callable[[int, int, int], Pixels]] = {
            KINDS[0]: lambda x, y, side: _shrunk(slide.read_region((x, y), 0, (side, side)), side_px),
            KINDS[1]: lambda x, y, side: _lanczos(image, x, y, side, side_px),
            KINDS[2]: lambda x, y, side: _encoded(_lanczos(image, x, y, side, side_px)),
            KINDS[3]: lambda x, y, side: _nearest(slide, x, y, side, side_px),
        }
        ours = [kinds[KINDS[1]](*place) for place in places]
        for kind, read in kinds.items():
            tiles = ours if kind == KINDS[1] else [read(*place) for place in places]
            said = _said(model, tiles, config)
            apart = np.abs(said - theirs).max(axis=1)
            pixels = np.array([np.abs(a.astype(int) - b).mean() for a, b in zip(tiles, ours, strict=True)])
            yield {
                "slide": name,
                "levels": slide.level_count,
                "tiles": len(tiles),
                "pixels": kind,
                "grey_levels_mean": float(pixels.mean()),
                "probability_mean": float(apart.mean()),
                "probability_largest": float(apart.max()),
                "same_class": float((said.argmax(axis=1) == theirs.argmax(axis=1)).mean()),
            }


def _said(model: Any, tiles: list[Pixels], config: Any) -> np.ndarray:
    """(N, K) probabilities, standardised as config.json says."""
    mean, std = (np.array(config["transform"][2]["arguments"][name], np.float32) for name in ("mean", "std"))
    batch = (np.stack(tiles).astype(np.float32) / 255 - mean) / std
    with torch.no_grad():
        logits = model(torch.from_numpy(batch.transpose(0, 3, 1, 2).copy()))
    found: np.ndarray = torch.softmax(logits, dim=1).numpy()
    return found


def _shrunk(region: Image.Image, side_px: int) -> Pixels:
    """By a triangle, as torchvision's Resize does."""
    return np.asarray(region.convert("RGB").resize((side_px, side_px), Image.Resampling.BILINEAR))


def _lanczos(image: Pixels, x: int, y: int, side: int, side_px: int) -> Pixels:
    factor = Fraction(side, side_px)
    return slideprep_image(
        image, Target(factor=factor, x=Fraction(x), y=Fraction(y), width=side_px, height=side_px)
    )


def _encoded(pixels: Pixels) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=QUALITY, subsampling=0)
    return np.asarray(Image.open(buffer))


def _nearest(slide: openslide.OpenSlide, x: int, y: int, side: int, side_px: int) -> Pixels:
    level = slide.get_best_level_for_downsample(side / side_px + 0.01)
    here = max(side_px, round(side / slide.level_downsamples[level]))
    return _shrunk(slide.read_region((x, y), level, (here, here)), side_px)


def report(found: dict[str, Any]) -> str:
    """The tables."""
    header = [
        "slide",
        "levels",
        "tiles",
        "pixels",
        "grey levels, mean",
        "probability, mean",
        "largest",
        "same class",
    ]
    rows = [
        [
            *(row["slide"], str(row["levels"]), str(row["tiles"]), row["pixels"]),
            f"{row['grey_levels_mean']:.3f}",
            *(f"{row['probability_mean']:.2g}", f"{row['probability_largest']:.2g}"),
            f"{row['same_class']:.1%}",
        ]
        for row in found["rows"]
    ]
    schema = "config.json holds to the model zoo's schema. Probabilities are against wsinfer's, tile by tile."
    return "\n\n".join([schema, markdown_table(header, rows), machine_line(found["machine"])])


if __name__ == "__main__":
    main()
