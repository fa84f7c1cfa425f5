"""Run ``slideprep`` as a person would, on slides of a few KB, and look at what is left on disk."""

from __future__ import annotations

import csv
import os
import signal
import struct
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fixtures.commands import Run, run_of
from fixtures.slides import Pixels, picture, write_svs
from fixtures.waiting import wait_until
from slideprep.cli.main import main

SMALL = ("--magnifications", "10,5,2.5", "--tissue", "whole")
"""Three magnifications of slides of 320 x 256 px at 20x: 160 x 128, 80 x 64 and 40 x 32 px."""

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def slideprep(*arguments: str | Path) -> Run:
    """Run a command in this process; what it does not handle is raised here."""
    return run_of(main, *arguments)


def build(*arguments: str | Path, workers: int = 0) -> Run:
    """Run build-shards with three magnifications and whole slides."""
    return slideprep("build-shards", *SMALL, "--workers", str(workers), *arguments)


def start(*arguments: str | Path, cwd: Path | None = None) -> subprocess.Popen[str]:
    """Start a command in a process group of its own, so that all of it can be killed or interrupted."""
    program = "from slideprep.cli.main import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **ONE_THREAD},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # As from a terminal: whoever ignores Ctrl-C, as processes in the background do, hands that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    """Wait until a running build has made a file or folder (a glob in the last part), or fail."""

    def made() -> bool:
        running = process.poll() is None
        there = any(path.parent.glob(path.name))
        assert there or running, f"the build ended before {path} was there: {process.communicate()[0]}"
        return there

    wait_until(made, str(path))


def good_slide(path: Path, number: int) -> Path:
    """A slide of 320 x 256 px at 20x that is like no other number's."""
    return write_svs(path, np.ascontiguousarray(np.roll(picture(320, 256), 23 * number, axis=1)))


def good_slides(folder: Path, count: int) -> list[Path]:
    """``slide-0.svs`` to ``slide-<count - 1>.svs``."""
    folder.mkdir(parents=True, exist_ok=True)
    return [good_slide(folder / f"slide-{number}.svs", number) for number in range(count)]


def write_png(path: Path, image: Pixels) -> Path:
    """A plain image, without scale."""
    Image.fromarray(image).save(path)
    return path


def huge_png(path: Path, side: int) -> Path:
    """A PNG of a few bytes whose header announces ``side`` x ``side`` px."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    return path


def write_labels(path: Path, rows: Iterable[Sequence[str]], columns: str = "slide,label,patient") -> Path:
    """labels.csv."""
    path.write_text("\n".join([columns, *(",".join(row) for row in rows)]) + "\n", encoding="utf-8")
    return path


def set_to_change(folder: Path, *, old: int, new: int, relabelled: int) -> Path:
    """A folder with the set ``out`` and what may become of it.

    Args:
        folder: Gets the slides too: those of the set in ``old``, with ``labels.csv``.
        old: How many slides the set holds.
        new: How many more there are in ``new``, with ``new.csv``.
        relabelled: How many of the set's have another label in ``other.csv``.
    """
    for name in ("old", "new"):
        (folder / name).mkdir()
    for number in range(old + new):
        good_slide(folder / ("old" if number < old else "new") / f"slide-{number}.svs", number)
    labels = [(f"slide-{number}", "ab"[number % 2], f"p{number}") for number in range(old + new)]
    write_labels(folder / "labels.csv", labels[:old])
    write_labels(folder / "new.csv", labels[old:])
    write_labels(
        folder / "other.csv", [(f"slide-{n}", "ab"[(n + 1) % 2], f"p{n}") for n in range(relabelled)]
    )
    assert build(folder / "old", "--labels", folder / "labels.csv", "--out", folder / "out").code == 0
    return folder


def failures(out: Path) -> list[Mapping[str, str]]:
    """Rows of failures.csv."""
    with (out / "failures.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def slides_written(out: Path) -> set[str]:
    """Names of the slides that slides.csv counts regions of."""
    with (out / "slides.csv").open(newline="", encoding="utf-8") as file:
        return {row["slide"] for row in csv.DictReader(file) if int(row["regions"])}


def shard_bytes(out: Path) -> dict[str, bytes]:
    """Every tar and index.json, by path."""
    paths = sorted([*out.glob("*x/*"), out / "index.json"])
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


def everything(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by path."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def assert_verified(out: Path) -> None:
    """The set obeys every rule of the contract."""
    run = slideprep("verify", out, "--workers", "1")
    assert run.code == 0 and "no faults" in run.said, run.said


def assert_only_whole_tars(out: Path) -> None:
    """Whatever lies in the magnifications' folders is a tar that ends with its end mark."""
    for path in out.glob("*x/*"):
        assert path.suffix == ".tar", f"{path} is no finished tar"
        assert path.read_bytes().endswith(bytes(1024)), f"{path} has no end mark"
        with tarfile.open(path) as tar:
            tar.getmembers()
