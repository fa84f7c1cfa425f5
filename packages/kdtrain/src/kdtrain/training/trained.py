"""A finished run's folder in, its network with its weights out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch

from kdtrain.errors import UsageError
from kdtrain.model.network import Network
from kdtrain.model.resnet import Model
from kdtrain.training.run_folder import MODEL_FILE, RUN_FILE, read_run


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A network with its weights, out of a run.

    Attributes:
        network: How it is built and fed.
        model: With weights, on the CPU, in evaluation mode.
        run: The content of run.json.
        folder: The run's folder.
        sha256: SHA-256 of the weights' file.
    """

    network: Network
    model: Model
    run: Mapping[str, Any]
    folder: Path
    sha256: str


def load_trained(folder: Path, *, what: str) -> Trained:
    """The chosen network of a run.

    Args:
        folder: The run's folder.
        what: The option that named it, for messages.

    Raises:
        UsageError: The folder is no run, or its training has not chosen a network yet.
    """
    run = read_run(folder, what=what)
    try:
        network = Network.of(run["network"])
        model = network.build(seed=0)
    except (TypeError, KeyError, ValueError) as error:
        raise UsageError(
            f"{what} {folder}: the network in {RUN_FILE} cannot be built ({error}); restore the file, use the version "
            "of kdtrain that wrote it, or train again"
        ) from None
    try:
        weights = safetensors.torch.load_file(folder / MODEL_FILE)
        model.load_state_dict(weights)
    except FileNotFoundError:
        raise UsageError(
            f"{what} {folder} has no {MODEL_FILE}: its training is not finished; run that command again to go on"
        ) from None
    except Exception as error:  # noqa: BLE001 - safetensors has an error type of its own per fault
        # Of weights that do not fit, PyTorch lists every tensor.
        reason = " ".join(str(error).split())[:200]
        raise UsageError(
            f"{what} {folder}: {MODEL_FILE} cannot be used as the {network.model} of {RUN_FILE} ({reason}); restore "
            "it or train again"
        ) from None
    digest = hashlib.sha256((folder / MODEL_FILE).read_bytes()).hexdigest()
    return Trained(network=network, model=model.eval(), run=run, folder=folder, sha256=digest)
