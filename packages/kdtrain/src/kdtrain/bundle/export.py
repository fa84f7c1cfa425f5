"""``kdtrain export``: a run in, a bundle out, whole or not at all.

Everything that can be wrong is looked at first; then the training data are measured, the graph is written and held
against PyTorch; the folder gets its name last.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress

from kdtrain.bundle.card import card
from kdtrain.bundle.describe import default_name, describe
from kdtrain.bundle.document import (
    BUNDLE_FILE,
    CARD_FILE,
    ONNX_FILE,
    WEIGHTS_FILE,
    BundleDocument,
)
from kdtrain.bundle.entries import AgreementEntry
from kdtrain.bundle.graph import graph_problem
from kdtrain.bundle.mlflow_model import FOLDER, GRAPH_FILE, PROBE_PX, check_same, mlflow_files
from kdtrain.bundle.onnx import agreement, onnx_bytes, opset_of
from kdtrain.bundle.runtime_onnx import OnnxRuntime
from kdtrain.bundle.runtime_pytorch import PytorchRuntime
from kdtrain.bundle.source import Source, measure_training_data, read_source
from kdtrain.bundle.training_data import TrainingData
from kdtrain.errors import TrainingError, UsageError
from kdtrain.evaluation.temperature import UNCHANGED
from kdtrain.locks import held
from kdtrain.model.resnet import MIN_SIDE_PX
from kdtrain.shards.index import union_of
from kdtrain.training.run_folder import MODEL_FILE, read_run

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
"""What a model repository may be called."""
_LICENSE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")
"""An SPDX licence identifier (SPDX 2.3, annex D.2: idstring)."""


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What ``kdtrain export`` was told.

    Attributes:
        run: Folder of the run.
        out: Folder of the bundle.
        shards: The set that the run was trained on; None for where it was then.
        split: Whose evaluation goes into the bundle.
        name: Name of the bundle; None for what it is.
        license: SPDX identifier; None to state none.
        notes: Markdown file of the authors.
        unevaluated: Export without metrics.
        wsinfer: Make a folder for WSInfer in the place of a bundle.
        mlflow: Add a folder ``mlflow`` to the bundle, which MLflow loads and serves.
    """

    run: Path
    out: Path
    shards: str | None = None
    split: str = "test"
    name: str | None = None
    license: str | None = None
    notes: Path | None = None
    unevaluated: bool = False
    wsinfer: bool = False
    mlflow: bool = False


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A bundle that was written.

    Attributes:
        folder: Where.
        document: Its bundle.json.
        sizes: Bytes of every file.
    """

    folder: Path
    document: BundleDocument
    sizes: Mapping[str, int]


def export(options: ExportOptions, console: Console) -> Exported:
    """Make a bundle of a run.

    Args:
        options: What was asked for.
        console: For the progress bar.

    Raises:
        UsageError: The run, its set, its evaluation or an option cannot be used, or another command writes there;
            nothing was written.
        ShardError: The set is damaged.
        TrainingError: The ONNX graph is not the network, or not one that a bundle may hold.
    """
    notes = check_options(options, BUNDLE_FILE)
    if options.mlflow:
        check_own_stain(options.run, "--mlflow", "MLflow")
    source = read_source(
        options.run, shards=options.shards, split=options.split, unevaluated=options.unevaluated
    )
    # Beside the folder: the folder itself appears whole, by a rename that nothing may stand in the way of.
    with sole_export(options.out, BUNDLE_FILE):
        return _export(options, source, notes, console)


@contextmanager
def sole_export(given: Path, mark: str) -> Iterator[None]:
    """Hold the lock of a folder that is made; what killed exports to it were writing goes.

    Args:
        given: ``--out``.
        mark: The file by which such a folder is known.

    Raises:
        UsageError: Another command writes there, or wrote something else.
    """
    out = given.resolve()
    with held(out.with_name(f".{out.name}.kdtrain-export.lock"), "kdtrain export", given):
        _check_out(given, mark)  # again: who held the lock until now may have written it
        _remove_leftovers(out)
        yield


def _export(options: ExportOptions, source: Source, notes: str | None, console: Console) -> Exported:
    name = options.name or default_name(source.trained)
    data = _measured(source, console)
    weights = (source.trained.folder / MODEL_FILE).read_bytes()
    out = options.out.resolve()
    _is_there(out, {WEIGHTS_FILE: weights})  # another network's bundle is refused before a minute of work
    check_answers(source)
    with console.status("Writing the ONNX graph and holding it against PyTorch"):
        graph = onnx_bytes(source.trained.model, source.trained.network)
        agreed = _agreement(source, data, graph)
    files = {WEIGHTS_FILE: weights, ONNX_FILE: graph}
    document = describe(source, name=name, data=data, opset=opset_of(graph), agreement=agreed, files=files)
    files[BUNDLE_FILE] = document.to_bytes()
    files[CARD_FILE] = card(document, license_id=options.license, notes=notes).encode()
    if options.mlflow:
        files |= _mlflow(document, graph)
    write_once(out, files)
    return Exported(
        folder=options.out, document=document, sizes={name: len(files[name]) for name in sorted(files)}
    )


def write_once(out: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder, whole or not at all, unless it holds these very files.

    Raises:
        UsageError: It holds others.
    """
    if not _is_there(out, files):
        _write(out, files)


def check_options(options: ExportOptions, mark: str) -> str | None:
    """Refuse what cannot be; returns the authors' notes. ``mark`` is as in sole_export."""
    out = options.out
    _check_out(out, mark)
    if out.resolve() == Path.cwd():
        raise UsageError(
            f"--out {out} is the folder you are in; give one inside it, such as {out / 'bundle'}"
        )
    if options.name is not None and not _NAME.fullmatch(options.name):
        raise UsageError(
            f"--name {options.name!r}: a name is 1 to 96 of the letters A to Z, digits, '.', '_' and '-', a letter or "
            "digit first, as model repositories demand"
        )
    if options.license is not None and not _LICENSE.fullmatch(options.license):
        raise UsageError(
            f"--license {options.license!r} is no SPDX identifier, such as Apache-2.0 or CC-BY-4.0"
        )
    if options.notes is None:
        return None
    try:
        return options.notes.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--notes {options.notes} cannot be read as UTF-8 text ({error})") from None


def check_own_stain(run: Path, option: str, who: str) -> None:
    """Refuse a network that would be shown other images than it was trained on.

    Args:
        run: Its run.
        option: That asks for a folder which normalises no stain.
        who: Whoever runs that folder.

    Raises:
        UsageError: The network's images are brought into a stain first.
    """
    if read_run(run, what="RUN", finished=True)["network"].get("stain") is not None:
        raise UsageError(
            f"RUN {run} was trained with --stain-normalization, and {who} shows a network every image in its own "
            f"stain; train one without it, say with --stain-augmentation 0.05, or leave {option} out and ask the "
            "bundle by 'kdtrain predict', which normalises"
        )


def check_answers(source: Source) -> None:
    """Of a white image: a network that gives no numbers is refused before a minute of work."""
    runtime = PytorchRuntime(source.trained.model, source.trained.network, device="cpu")
    runtime.infer(np.full((1, MIN_SIDE_PX, MIN_SIDE_PX, 3), 255, np.uint8))


def _check_out(out: Path, mark: str) -> None:
    """Refuse what is there, but for an export, which may be this one: one killed at its end has written it."""
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / mark).is_file())):
        raise UsageError(f"--out {out} is not empty, and nothing is ever overwritten; give a new folder")


def _is_there(out: Path, files: Mapping[str, bytes]) -> bool:
    """Whether a folder holds these very files.

    Raises:
        UsageError: It holds others.
    """
    if not out.is_dir() or not any(out.iterdir()):
        return False
    other = [name for name, content in files.items() if not _holds(out / name, content)]
    if other:
        raise UsageError(
            f"--out {out} holds another bundle (of which {', '.join(other)} would differ), and nothing is ever "
            "overwritten; give a new folder"
        )
    return True


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content


def _measured(source: Source, console: Console) -> TrainingData:
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("Measuring the training data", total=None)
        return measure_training_data(
            source.index,
            source.train_on,
            source.trained.network.magnification,
            on_image=lambda done, of: progress.update(task, completed=done, total=of),
        )


def _agreement(source: Source, data: TrainingData, graph: bytes) -> AgreementEntry:
    network = source.trained.network
    with TemporaryDirectory() as folder, _one_thread():
        path = Path(folder) / ONNX_FILE
        path.write_bytes(graph)
        channels = source.trained.network.spec.feature_channels
        if problem := graph_problem(path, classes=len(network.classes), channels=channels):
            raise TrainingError(
                f"the exporter wrote a graph that 'kdtrain predict' would not run ({problem}); nothing was written. "
                "Use the versions of torch, onnx and onnxscript in kdtrain's lock file"
            )
        return agreement(
            PytorchRuntime(source.trained.model, network, device="cpu"),
            OnnxRuntime(path, min_side_px=MIN_SIDE_PX, threads=1),
            network,
            _largest(source),
        )


def _mlflow(document: BundleDocument, graph: bytes) -> dict[str, bytes]:
    files = mlflow_files(document, graph)
    height, width = PROBE_PX
    images_BHWC = np.random.Generator(np.random.PCG64(0)).integers(0, 256, (2, height, width, 3), np.uint8)
    temperature = UNCHANGED if document.calibration is None else document.calibration.temperature
    with TemporaryDirectory() as folder:
        path = Path(folder) / ONNX_FILE
        path.write_bytes(graph)
        bundle = OnnxRuntime(path, min_side_px=MIN_SIDE_PX, threads=1, temperature=temperature)
        check_same(files[f"{FOLDER}/{GRAPH_FILE}"], bundle, images_BHWC)
    return files


def _largest(source: Source) -> tuple[int, int]:
    """(width, height) of the largest training image; the first of equals."""
    joined, name = union_of(source.index, source.train_on)
    sizes = [
        size
        for shard in joined.shards_of(name)
        for size in joined.sizes_of(shard, source.trained.network.magnification)
    ]
    return max(sizes, key=lambda size: size[0] * size[1])


@contextmanager
def _one_thread() -> Iterator[None]:
    """The figures of the agreement are to be the same on every call; over several cores sums are added in any order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _remove_leftovers(out: Path) -> None:
    """What killed exports to this folder were writing; only for the one that holds its lock."""
    name = re.compile(rf"\.{re.escape(out.name)}\.[a-z0-9_]{{8}}\.kdtrain-export")
    for path in out.parent.iterdir():
        if name.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)


def _write(out: Path, files: Mapping[str, bytes]) -> None:
    """The folder whole or not at all: in another one first, every file synced, then renamed."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{out.name}.", suffix=".kdtrain-export", dir=out.parent) as aside:
        # Of the temporary folder itself others could not read: it is made for its owner alone.
        partial = Path(aside) / out.name
        partial.mkdir()
        for name, content in files.items():
            (partial / name).parent.mkdir(exist_ok=True)
            with (partial / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        partial.rename(out)
