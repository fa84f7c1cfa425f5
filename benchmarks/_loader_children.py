"""One loader of loaders.py in a process of its own: passes over the same images, timed. Also writes the other formats.

    _loader_children.py write FOLDER TARS...
    _loader_children.py measure NAME FOLDER --magnification M --workers W --passes P

It runs in the environment that loaders.py makes, and imports of each library what its row needs and no more.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import tarfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import numpy as np
import torch
from PIL import Image

SEED = 0
MIXED = 1_000
"""Samples of webdataset's shuffle buffer."""
Passes = Callable[[int], Iterator[tuple[torch.Tensor, int]]]


def decoded(data: bytes) -> torch.Tensor:
    """(3, H, W) uint8 by Pillow, as a view of (H, W, 3): what kdtrain's reader makes of JPEG data."""
    return torch.from_numpy(np.array(Image.open(io.BytesIO(data)))).permute(2, 0, 1)


def stored(tars: list[Path]) -> list[tuple[bytes, int]]:
    """JPEG data and label of every sample."""
    found = []
    for path in tars:
        fields: dict[str, dict[str, bytes]] = {}
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, field = member.name.partition(".")
                fields.setdefault(key, {})[field] = tar.extractfile(member).read()  # type: ignore[union-attr]
        found += [(sample["jpg"], int(sample["cls"])) for sample in fields.values()]
    return found


def write(folder: Path, tars: list[Path]) -> None:
    """The same samples as litdata and mosaicml streaming store them, chunks as large as the shards."""
    from litdata import optimize
    from streaming import MDSWriter

    samples = stored(tars)
    largest = max(path.stat().st_size for path in tars)
    columns = {"image": "bytes", "label": "int"}
    with MDSWriter(out=str(folder / "mosaicml"), columns=columns, size_limit=largest) as writer:
        for data, label in samples:
            writer.write({"image": data, "label": label})
    optimize(
        fn=partial(_one, samples=samples),
        inputs=list(range(len(samples))),
        output_dir=str(folder / "litdata"),
        chunk_bytes=largest,
        num_workers=1,
        verbose=False,
    )


def _one(number: int, *, samples: list[tuple[bytes, int]]) -> dict[str, Any]:
    return {"image": samples[number][0], "label": samples[number][1]}


def kdtrain_passes(folder: Path, magnification: float, workers: int) -> Passes:
    """Its training stream."""
    from kdtrain.data.stream import SampleStream
    from kdtrain.shards.index import read_index

    index = read_index(folder / "set")
    stream = SampleStream(index, "train", [magnification], labelled=True, seed=SEED, workers=workers)

    def one(epoch: int) -> Iterator[tuple[torch.Tensor, int]]:
        for group in stream.epoch(epoch):
            for batch in group:
                for sample in batch:
                    yield sample.images[magnification], sample.label or 0

    return one


def webdataset_passes(folder: Path, magnification: float, workers: int) -> Passes:
    """Used as its documentation begins: shards shuffled, a buffer, Pillow."""
    import webdataset as wds

    tars = sorted(map(str, (folder / "set" / f"{magnification:g}x").glob("train-*.tar")))
    data = wds.WebDataset(tars, shardshuffle=len(tars), seed=SEED, empty_check=False)
    pairs = data.shuffle(MIXED).decode("torchrgb8").to_tuple("jpg", "cls")
    loader = wds.WebLoader(pairs, batch_size=None, num_workers=workers, persistent_workers=workers > 0)
    return lambda epoch: iter(loader)


def litdata_passes(folder: Path, magnification: float, workers: int) -> Passes:
    """Its own dataset and loader, Pillow."""
    import litdata

    class Decoding(litdata.StreamingDataset):  # type: ignore[misc]
        def __getitem__(self, index: Any) -> tuple[torch.Tensor, int]:
            sample = super().__getitem__(index)
            return decoded(sample["image"]), sample["label"]

    dataset = Decoding(str(folder / "litdata"), shuffle=True, seed=SEED)
    loader = litdata.StreamingDataLoader(
        dataset,
        batch_size=1,
        num_workers=workers,
        collate_fn=_only,
        persistent_workers=workers > 0,
    )
    return lambda epoch: iter(loader)


def mosaicml_passes(folder: Path, magnification: float, workers: int) -> Passes:
    """Its dataset in PyTorch's loader, as its documentation has it, Pillow."""
    from streaming import StreamingDataset

    class Decoding(StreamingDataset):  # type: ignore[misc]
        def __getitem__(self, at: Any) -> tuple[torch.Tensor, int]:
            sample = super().__getitem__(at)
            return decoded(sample["image"]), sample["label"]

    dataset = Decoding(local=str(folder / "mosaicml"), shuffle=True, shuffle_seed=SEED, batch_size=1)
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=1, num_workers=workers, collate_fn=_only, persistent_workers=workers > 0
    )
    return lambda epoch: iter(loader)


def _only(batch: list[Any]) -> Any:
    return batch[0]


LOADERS: dict[str, Callable[[Path, float, int], Passes]] = {
    "kdtrain": kdtrain_passes,
    "webdataset": webdataset_passes,
    "litdata": litdata_passes,
    "mosaicml": mosaicml_passes,
}


def drop_cached(folder: Path) -> None:
    """Ask the system to forget the files' pages, as far as it does."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(name: str, folder: Path, magnification: float, workers: int, passes: int) -> dict[str, Any]:
    """Passes of one loader: the first cold, with the start of its workers; then warm ones."""
    torch.set_num_threads(1)
    one_pass = LOADERS[name](folder, magnification, workers)
    drop_cached(folder)
    took, counts, spent = [], [], []
    for epoch in range(1 + passes):
        began, pixels, count = time.perf_counter(), 0, 0
        for image, _ in one_pass(epoch):
            assert image.dtype == torch.uint8 and image.shape[0] == 3
            pixels += image[0].numel()
            count += 1
        took.append(time.perf_counter() - began)
        counts.append((count, pixels))
        spent.append(cpu_seconds())
    return {"seconds": took, "counts": counts, "cpu_s": (spent[-1] - spent[0]) / passes}


def cpu_seconds() -> float:
    """Of this process so far, and of its workers, which are still alive: /proc has them."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    total = own.ru_utime + own.ru_stime
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    for child in children.read_text().split() if children.exists() else ():
        fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def main() -> None:
    """Write, or measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    writing = commands.add_parser("write")
    writing.add_argument("folder", type=Path)
    writing.add_argument("tars", type=Path, nargs="+")
    measuring = commands.add_parser("measure")
    measuring.add_argument("name", choices=LOADERS)
    measuring.add_argument("folder", type=Path)
    measuring.add_argument("--magnification", type=float, required=True)
    measuring.add_argument("--workers", type=int, required=True)
    measuring.add_argument("--passes", type=int, required=True)
    given = parser.parse_args()
    if given.command == "write":
        write(given.folder, given.tars)
        return
    print(json.dumps(measure(given.name, given.folder, given.magnification, given.workers, given.passes)))


if __name__ == "__main__":
    main()
