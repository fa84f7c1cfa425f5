"""``kdtrain export --wsinfer``: a run in, a folder that QuPath's WSInfer extension and Python's wsinfer run out.

The same checks as for a bundle come first; then the tiles are chosen, what they cost is measured on the split, and the
folder gets its name last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from kdtrain.bundle.describe import default_name
from kdtrain.bundle.document import CARD_FILE
from kdtrain.bundle.export import (
    ExportOptions,
    check_answers,
    check_options,
    check_own_stain,
    sole_export,
    write_once,
)
from kdtrain.bundle.runtime_pytorch import PytorchRuntime
from kdtrain.bundle.source import Source, measured_samples, read_source
from kdtrain.bundle.tile_cost import TileCost, measure_tile_cost
from kdtrain.bundle.torchscript import torchscript_bytes
from kdtrain.bundle.wsinfer import CONFIG_FILE, TORCHSCRIPT_FILE, Tiling, config_bytes, tiling_of
from kdtrain.bundle.wsinfer_card import wsinfer_card
from kdtrain.evaluation.temperature import UNCHANGED
from kdtrain.shards.index import union_of


@dataclass(frozen=True, kw_only=True)
class WsinferExported:
    """A folder that was written.

    Attributes:
        folder: Where.
        name: What it is called.
        tiling: The tiles that the network will be shown.
        cost: What they cost; None where it was not measured.
        sizes: Bytes of every file.
    """

    folder: Path
    name: str
    tiling: Tiling
    cost: TileCost | None
    sizes: Mapping[str, int]


def export_wsinfer(options: ExportOptions, console: Console) -> WsinferExported:
    """Make a folder for WSInfer of a run.

    Args:
        options: What was asked for.
        console: For progress bars.

    Raises:
        UsageError: The run, its set, its evaluation or an option cannot be used, no training slide says how large its
            pixels are, or another command writes there; nothing was written.
        ShardError: The set is damaged.
        TrainingError: The TorchScript file is not the network.
    """
    notes = check_options(options, CONFIG_FILE)
    check_own_stain(options.run, "--wsinfer", "WSInfer")
    source = read_source(
        options.run, shards=options.shards, split=options.split, unevaluated=options.unevaluated
    )
    with sole_export(options.out, CONFIG_FILE):
        return _export(options, source, notes, console)


def _export(options: ExportOptions, source: Source, notes: str | None, console: Console) -> WsinferExported:
    check_answers(source)
    trained, network = source.trained, source.trained.network
    name = options.name or default_name(trained)
    temperature = UNCHANGED if source.calibration is None else source.calibration.temperature
    tiling = tiling_of(*_images(source, console), network.output_stride, run=str(options.run))
    with console.status("Writing the TorchScript file and holding it against PyTorch"):
        graph = torchscript_bytes(trained.model, temperature, patch_px=tiling.patch_px)
    cost = _cost(source, options, tiling, temperature, console)
    files = {CONFIG_FILE: config_bytes(network, tiling), TORCHSCRIPT_FILE: graph}
    files[CARD_FILE] = wsinfer_card(
        source, tiling, cost, name=name, license_id=options.license, notes=notes
    ).encode()
    write_once(options.out.resolve(), files)
    sizes = {file: len(files[file]) for file in sorted(files)}
    return WsinferExported(folder=options.out, name=name, tiling=tiling, cost=cost, sizes=sizes)


def _images(source: Source, console: Console) -> tuple[list[tuple[int, int]], list[float | None]]:
    """Sizes of the training images, and microns per pixel of those that are opened."""
    magnification = source.trained.network.magnification
    joined, name = union_of(source.index, source.train_on)
    sizes = [size for shard in joined.shards_of(name) for size in joined.sizes_of(shard, magnification)]
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("Reading the training images", total=None)
        samples = measured_samples(
            source.index,
            source.train_on,
            magnification,
            on_image=lambda done, of: progress.update(task, completed=done, total=of),
        )
        return sizes, [sample.record.mpp for sample in samples]


def _cost(
    source: Source, options: ExportOptions, tiling: Tiling, temperature: float, console: Console
) -> TileCost | None:
    """None of a run that is exported without metrics, or whose set has no such split with labels."""
    index, network = source.index, source.trained.network
    there = options.split in index.document.sets and index.is_labelled(options.split)
    if options.unevaluated or not there:
        return None
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("Measuring what tiles cost", total=None)
        return measure_tile_cost(
            PytorchRuntime(source.trained.model, network, device="cpu"),
            index,
            options.split,
            classes=network.classes,
            magnification=network.magnification,
            temperature=temperature,
            patch_px=tiling.patch_px,
            on_image=lambda done, of: progress.update(task, completed=done, total=of),
        )
