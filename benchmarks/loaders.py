"""Images and megabytes per second of kdtrain's training stream beside webdataset, litdata and mosaicml streaming.

    python benchmarks/loaders.py [--shards SET] [--magnification 2.5] [--workers 1 2] [--rounds 3] [--env FOLDER]

All read the same JPEG data from the local disk, shuffled, decode it by Pillow to (3, H, W) uint8 and hand over single
images with their labels. kdtrain and webdataset read the set's tars; the other two read chunks of the same size, which
are written first. Each loader runs in a process of its own, in turn, for several rounds; "cold" is a process's first
pass, the start of its workers included, with the files dropped from the page cache as far as the system does that;
"warm" is the median of those after it, and CPU time, of the process and its workers, is of these. kdtrain also checks
every record against the index and gives every sample exactly once an epoch, in an order that no number of workers
changes. Without --shards the images are synthetic, of 256 to 512 px, with grain that compresses as tissue does.

litdata and mosaicml streaming come into an environment of their own, made here unless --env names one, which sees the
packages of the Python that runs this.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import sysconfig
import tempfile
import venv
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from _common import machine, machine_line, markdown_table, synthetic_pixels
from _training import write_benchmark_set
from PIL import Image

PACKAGES = (
    "litdata==0.2.76",
    "mosaicml-streaming==0.13.0",
    # What the two import at their start and kdtrain does not bring; all that they declare would be a hundred packages.
    *(
        "lightning-utilities",
        "obstore",
        "boto3",
        "botocore",
        "s3transfer",
        "jmespath",
        "tifffile",
        "catalogue",
    ),
    *("transformers<5", "huggingface_hub<1", "tokenizers<=0.23.0", "regex", "pyyaml", "tqdm", "requests"),
    *("urllib3", "certifi", "idna", "charset-normalizer", "filelock", "python-dateutil", "six"),
    *("Brotli", "python-snappy", "cramjam", "xxhash", "zstd"),
)
NAMES = ("kdtrain", "webdataset", "litdata", "mosaicml")
CHILD = Path(__file__).with_name("_loader_children.py")


def write_grainy_set(folder: Path, samples: int) -> None:
    """A set in three shards whose images are crops of one grainy texture, JPEG of quality 80."""
    texture = synthetic_pixels(1_024)
    random = np.random.default_rng(0)

    def grainy(path: Path, members: list[Any]) -> list[Any]:
        return [replace(m, data=crop(m.data)) if m.name.endswith(".jpg") else m for m in members]

    def crop(jpeg: bytes) -> bytes:
        width, height = Image.open(io.BytesIO(jpeg)).size
        x, y = (int(random.integers(0, 1_024 - side + 1)) for side in (width, height))
        file = io.BytesIO()
        Image.fromarray(texture[y : y + height, x : x + width]).save(file, "jpeg", quality=80)
        return file.getvalue()

    write_benchmark_set(folder, samples, edit_members=grainy)


def made_environment(folder: Path) -> Path:
    """An environment that has both libraries and sees this Python's packages; returns its interpreter."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    found = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    )
    seen = sorted({sysconfig.get_path("purelib"), *(p for p in sys.path if p.endswith(("-packages", "src")))})
    Path(found.stdout.strip(), "outer.pth").write_text("\n".join(seen) + "\n")
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", *PACKAGES],
        check=True,
    )
    return python


def measured(python: Path, folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Every loader at every number of workers: medians over the rounds."""
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for _ in range(given.rounds):
        for workers in given.workers:
            for name in NAMES:
                options = [
                    "--workers",
                    workers,
                    "--magnification",
                    given.magnification,
                    "--passes",
                    given.passes,
                ]
                command = [str(python), str(CHILD), "measure", name, str(folder), *map(str, options)]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise SystemExit(f"{name} with {workers} workers failed:\n{done.stderr}")
                found.setdefault((name, workers), []).append(json.loads(done.stdout.splitlines()[-1]))
    return {f"{name}/{workers}": _medians(runs) for (name, workers), runs in found.items()}


def _medians(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Seconds of a pass; what each pass delivered, which must be the same in all."""
    counts = {tuple(count) for run in runs for count in run["counts"]}
    return {
        "cold_s": median(run["seconds"][0] for run in runs),
        "warm_s": median(second for run in runs for second in run["seconds"][1:]),
        "cpu_s": median(run["cpu_s"] for run in runs),
        "samples": sorted({count for count, _ in counts}),
        "pixels": sorted({pixels for _, pixels in counts}),
    }


def report(found: dict[str, Any]) -> str:
    """The table."""
    rows = []
    for name, one in found["loaders"].items():
        loader, workers = name.split("/")
        row = [loader, workers]
        for kind in ("cold_s", "warm_s"):
            per_s = found["images"] / one[kind]
            row += [f"{per_s:.0f}", f"{found['megabytes'] / one[kind]:.1f}"]
        base = found["loaders"][f"kdtrain/{workers}"]
        own, ours = one["cpu_s"], base["cpu_s"]
        row += [
            f"{one['warm_s'] / base['warm_s']:.2f}",
            f"{1e3 * own / found['images']:.2f}",
            f"{own / ours:.2f}",
        ]
        row.append(
            "all" if one["samples"] == [found["images"]] else f"{one['samples'][0]}-{one['samples'][-1]}"
        )
        rows.append(row)
    header = ["loader", "workers", "cold images/s", "MB/s", "warm images/s", "MB/s"]
    header += ["time of kdtrain's", "CPU ms an image", "of kdtrain's", "samples a pass"]
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    return (
        f"{markdown_table(header, rows)}\n\n{found['images']} images of {found['megapixels']:.1f} megapixels and "
        f"{found['megabytes']:.1f} MB in all, medians of {found['rounds']} rounds. {versions}. "
        + machine_line(found["machine"])
    )


def versions_in(python: Path) -> dict[str, str]:
    """Of the four loaders' packages, and of what they share."""
    names = ["kdtrain", "webdataset", "litdata", "mosaicml-streaming", "torch", "pillow"]
    asked = f"import importlib.metadata as m, json; print(json.dumps({{n: m.version(n) for n in {names}}}))"
    done = subprocess.run([python, "-c", asked], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shards", type=Path, help="a labelled set of JPEG images [a synthetic one is made]")
    parser.add_argument("--samples", type=int, default=600, help="of the synthetic set [600]")
    parser.add_argument("--magnification", type=float, default=10.0)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--passes", type=int, default=2, help="warm ones of a process [2]")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--env", type=Path, help="folder of an environment with both libraries, kept")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = given.env or folder / "env"
        made = environment / "bin" / "python"
        python = made if made.exists() else made_environment(environment)
        data = folder / "data"
        data.mkdir()
        if given.shards is None:
            write_grainy_set(data / "set", given.samples)
        else:
            (data / "set").symlink_to(given.shards.resolve())
        tars = sorted((data / "set" / f"{given.magnification:g}x").glob("train-*.tar"))
        subprocess.run(
            [str(python), str(CHILD), "write", str(data), *map(str, tars)], check=True, capture_output=True
        )
        loaders = measured(python, data, given)
        ours = loaders[f"kdtrain/{given.workers[0]}"]
        found = {
            "loaders": loaders,
            "images": ours["samples"][0],
            "megapixels": ours["pixels"][0] / 1e6,
            "megabytes": sum(path.stat().st_size for path in (data / "mosaicml").glob("*.mds")) / 1e6,
            "rounds": given.rounds,
            "versions": versions_in(python),
            "machine": machine(),
        }
    print(json.dumps(found, indent=1) if given.json else report(found))


if __name__ == "__main__":
    main()
