"""A bundle's folder in, its files out: ordinary files inside it, of a size that a bundle has, whole and as described.

A bundle may come from anyone. What is read here is neither a link that leads elsewhere nor a device, and nothing is
read into memory before its size is known. Of model.safetensors the table of tensors is looked at first: the library
reads one of up to 100 MB, and so much JSON takes gigabytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdtrain.bundle.document import BUNDLE_FILE, WEIGHTS_FILE, BundleDocument
from kdtrain.errors import UsageError
from kdtrain.files import sha256_of
from kdtrain.text import brief, reason_of

COPY_AGAIN = "copy the bundle again, or export it again"
MOST_JSON_BYTES = 16_000_000
"""Of bundle.json, which has some ten KB; its confusion matrices grow with the square of the classes."""
MOST_HEADER_BYTES = 2_000_000
"""Of the table in model.safetensors, which takes 100 bytes a tensor; a resnet152 has 467."""
MOST_BESIDE_BYTES = 50_000_000
"""Of a file beside its parameters: the table, or the graph."""


def bundle_file(folder: Path, name: str) -> Path:
    """One of a bundle's files, which may be read.

    Hubs keep each file once, under its digest, and link to it: ``snapshots/<revision>/<name>`` leads to
    ``blobs/<digest>`` of the same repository. No other link may lead out of the folder.

    Args:
        folder: The bundle.
        name: Name of the file.

    Raises:
        UsageError: There is none, or it is no ordinary file of the bundle.
    """
    path = folder / name
    try:
        real, home = path.resolve(), folder.resolve()
    except (OSError, RuntimeError):  # links that lead in a circle
        real, home = path, path
    blobs = [home.parent.parent / "blobs"] if home.parent.name == "snapshots" else []
    if path.is_symlink() and not any(real.is_relative_to(place) for place in (home, *blobs)):
        raise UsageError(
            f"{path} is a link out of the bundle, and nothing outside of a bundle is read; put the file itself there"
        )
    if path.exists() and not path.is_file() and not path.is_dir():
        raise UsageError(
            f"{path} is no ordinary file but a pipe or a device, which is not read; {COPY_AGAIN}"
        )
    if not path.is_file():
        raise UsageError(
            f"{folder} is no bundle: it has no {name}; give the --out of 'kdtrain export', or a copy of it whole"
        )
    return path


def read_json_file(folder: Path) -> bytes:
    """The content of bundle.json.

    Raises:
        UsageError: There is none, or it is larger than any.
    """
    path = bundle_file(folder, BUNDLE_FILE)
    with path.open("rb") as file:
        data = file.read(MOST_JSON_BYTES + 1)
    if len(data) > MOST_JSON_BYTES:
        raise UsageError(
            f"{path} is larger than any {BUNDLE_FILE} ({MOST_JSON_BYTES / 1e6:g} MB), so it is not read; {COPY_AGAIN}"
        )
    return data


def check_file(folder: Path, name: str, document: BundleDocument) -> None:
    """Refuse a file that is not the one that bundle.json describes.

    Raises:
        UsageError: It is missing, another one, or larger than its network.
    """
    entry = document.files.get(name)
    if entry is None:
        raise UsageError(f"{folder / BUNDLE_FILE} does not name {name}; {COPY_AGAIN}")
    path = bundle_file(folder, name)
    size, most = path.stat().st_size, 4 * document.architecture.parameters + MOST_BESIDE_BYTES
    with path.open("rb") as file:
        if file.read(200).startswith(b"version https://git-lfs"):
            raise UsageError(f"{path} is a Git LFS pointer, not the file; run 'git lfs pull' in the folder")
    if size != entry.bytes:
        raise UsageError(
            f"{path} is not the file that {BUNDLE_FILE} describes: it has {size:,} bytes, not {entry.bytes:,}; "
            f"{COPY_AGAIN}"
        )
    if size > most:
        raise UsageError(
            f"{path} has {size:,} bytes, and a network of {document.architecture.parameters:,} parameters takes "
            f"{most:,} at most; ask whoever made the bundle"
        )
    if sha256_of(path) != entry.sha256:
        raise UsageError(
            f"{path} is not the file that {BUNDLE_FILE} describes: its SHA-256 is another; {COPY_AGAIN}"
        )


def read_fc_weight(folder: Path, document: BundleDocument) -> NDArray[np.float32]:
    """Weights of the fc layer (classes, channels), once all weights are known to be those of the network described.

    Raises:
        UsageError: They are not, or are no finite numbers.
    """
    from safetensors import safe_open

    path = bundle_file(folder, WEIGHTS_FILE)
    try:
        _check_header(path)
        with safe_open(path, framework="numpy") as file:
            return _checked(file, path, document)
    except UsageError:
        raise
    except Exception as error:  # noqa: BLE001 - safetensors has an error type of its own per fault
        reason = reason_of(error)
        raise UsageError(f"{path} holds no tensors ({reason}); {COPY_AGAIN}") from None


def _check_header(path: Path) -> None:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > MOST_HEADER_BYTES:
        raise ValueError(
            f"its table would take {length:,} bytes, and no network's takes {MOST_HEADER_BYTES:,}"
        )


def _checked(file: Any, path: Path, document: BundleDocument) -> NDArray[np.float32]:
    names = list(file.keys())
    slices = [file.get_slice(name) for name in names]
    for name, one in zip(names, slices, strict=True):
        if one.get_dtype() != "F32":
            raise ValueError(f"{brief(name)} is {brief(one.get_dtype())}, not F32")
    parameters = sum(int(np.prod(one.get_shape(), dtype=object)) for one in slices)
    fc = tuple(file.get_slice("fc.weight").get_shape()) if "fc.weight" in names else (0,)
    entry = document.architecture
    wanted = ((len(document.classes), entry.feature_channels), entry.parameters)
    if (fc, parameters) != wanted:
        raise UsageError(
            f"{path} holds {parameters:,} parameters and an fc layer of shape {fc}, and {BUNDLE_FILE} describes "
            f"{wanted[1]:,} and {wanted[0]}; {COPY_AGAIN}"
        )
    for name in names:
        if not np.isfinite(file.get_tensor(name)).all():
            raise UsageError(
                f"{path} holds weights that are not finite ({brief(name)} first), so the network says nothing; export "
                "a run whose training did not diverge"
            )
    weight: NDArray[np.float32] = file.get_tensor("fc.weight")
    return weight
