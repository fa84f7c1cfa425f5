"""A finished run's folder in, its network with its weights out: for our own commands, and for a program."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor, nn

from kdtrain.augment import IDENTITY
from kdtrain.data.inputs import drawn_batch, in_stain_of
from kdtrain.errors import UsageError
from kdtrain.model.finite import first_not_finite
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
        UsageError: The folder is no run, its training has not chosen a network yet, or the weights are not finite.
    """
    run = read_run(folder, what=what, finished=True)
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
    if name := first_not_finite(weights):
        raise UsageError(
            f"{what} {folder}: the weights in {MODEL_FILE} are not finite ({name} first), so the network says nothing; "
            "train it again with a lower --lr or --gradient-clipping 1"
        )
    digest = hashlib.sha256((folder / MODEL_FILE).read_bytes()).hexdigest()
    return Trained(network=network, model=model.eval(), run=run, folder=folder, sha256=digest)


@dataclass(frozen=True, kw_only=True)
class TrainedNetwork:
    """A run's network for a program, and what it takes.

    Attributes:
        module: Takes what :meth:`normalise` gives, and returns ``(feature_map_BCHW, logits_BK)``, a named tuple. On the
            CPU, in evaluation mode, with gradients.
        network: The architecture's name and the rest that a run's record has of it.
        sha256: SHA-256 of the weights' file; metrics.json has it as ``weights_sha256``.
    """

    module: nn.Module
    network: Network
    sha256: str

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""
        return self.network.classes

    @property
    def magnification(self) -> float:
        """Magnification of the images that it takes."""
        return self.network.magnification

    @property
    def mean(self) -> tuple[float, float, float]:
        """Means of red, green and blue over the labelled training split, in grey levels 0 to 255."""
        return self.network.mean

    @property
    def std(self) -> tuple[float, float, float]:
        """Standard deviations of the same."""
        return self.network.std

    def normalise(self, images: Sequence[Tensor] | Tensor) -> Tensor:
        """Images as the module takes them, to the last bit as ``kdtrain evaluate`` hands them over.

        Args:
            images: (3, H, W) uint8 RGB, all of one size: a list of them, or a batch (B, 3, H, W).

        Returns:
            (B, 3, H, W) float32, on the device where the images are.

        Raises:
            ValueError: Another shape or type.
        """
        restained = [in_stain_of(self.network, image_CHW) for image_CHW in images]
        return drawn_batch(restained, [IDENTITY] * len(images), self.network, images[0].device)


def load_network(run: Path | str) -> TrainedNetwork:
    """The network of a finished run, to compute with.

    ``module(normalise([image])).logits_BK.double().softmax(1)`` is what ``kdtrain evaluate`` writes as probabilities
    (of a calibrated run, as ``softmax_<class>``), on the same device to the last digit. Several images at a time are
    off by rounding.

    Args:
        run: The folder that ``kdtrain teacher``, ``baseline``, ``distill`` or ``finetune`` wrote.

    Raises:
        UsageError: The folder is no run, or its training has not chosen a network yet.
    """
    trained = load_trained(Path(run), what="run")
    return TrainedNetwork(module=trained.model, network=trained.network, sha256=trained.sha256)
