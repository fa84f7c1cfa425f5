"""A bundle's folder in, the checked :class:`OpenBundle` out, which hands out its network ready to be asked.

It knows nothing of slides: :class:`kdtrain.predict.bundle.Bundle` adds them.

PyTorch is imported only where it is used: on a machine without a GPU, an answer by ONNX Runtime needs none of it.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from kdtrain.bundle.document import BUNDLE_FILE, ONNX_FILE, WEIGHTS_FILE, BundleDocument, read_document
from kdtrain.bundle.files import COPY_AGAIN, check_file, read_fc_weight, read_json_file
from kdtrain.bundle.runtime import Pixels, Runtime
from kdtrain.errors import UsageError
from kdtrain.evaluation.temperature import UNCHANGED
from kdtrain.model.stain.normalise import Normalised, normalise
from kdtrain.model.stain.target import StainTarget
from kdtrain.text import reason_of

if TYPE_CHECKING:
    from kdtrain.model.network import Network
    from kdtrain.model.resnet import Model

__all__ = ["Backend", "Device", "Normalised", "OpenBundle", "may_have_gpu", "open_bundle"]

Backend = Literal["auto", "onnx", "pytorch"]
Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True, kw_only=True)
class OpenBundle:
    """A trained network as one folder.

    Attributes:
        path: The folder.
        document: bundle.json.
        sha256: SHA-256 of bundle.json, which holds those of the other files: the identity of the bundle.
        fc_weight_KC: Weights of the fc layer: what each channel of the feature map says for each class.
    """

    path: Path
    document: BundleDocument
    sha256: str
    fc_weight_KC: NDArray[np.float32]

    @property
    def name(self) -> str:
        """The bundle's name."""
        return self.document.name

    @property
    def title(self) -> str:
        """How people see it: its name, and that it knows nothing of tissue where it does not."""
        return f"{self.name} (trained on synthetic slides)" if self.document.synthetic else self.name

    @property
    def classes(self) -> tuple[str, ...]:
        """In the order of logits and probabilities."""
        return self.document.classes

    @property
    def magnification(self) -> float:
        """Magnification of the images that the network takes."""
        return self.document.input.magnification

    @property
    def temperature(self) -> float:
        """By which logits are divided to be probabilities; 1 where the network was not calibrated."""
        calibration = self.document.calibration
        return UNCHANGED if calibration is None else calibration.temperature

    @property
    def probability_words(self) -> str:
        """Whether its probabilities may be taken at their word: ``calibrated on val, T = 1.73``."""
        calibration = self.document.calibration
        return "as the softmax gives them, not calibrated" if calibration is None else calibration.words

    @cached_property
    def network(self) -> Network:
        """How the network is built and fed; brings PyTorch."""
        from kdtrain.model.network import Network

        entry = self.document
        return Network(
            model=entry.architecture.model,
            output_stride=entry.architecture.output_stride,
            width=entry.architecture.width,
            stem=entry.architecture.stem,
            classes=entry.classes,
            magnification=entry.input.magnification,
            mean=entry.input.mean,
            std=entry.input.std,
            stain=self.stain,
        )

    @cached_property
    def stain(self) -> StainTarget | None:
        """That images are to be brought into before the network sees them; None for their own."""
        record = self.document.input.stain
        return None if record is None else StainTarget.of(record)

    def restained(self, image_HWC: Pixels) -> Normalised:
        """An image as the network is to see it: in the stain of its training, where it was trained in one.

        Args:
            image_HWC: (H, W, 3) uint8, RGB, as decoded.

        Returns:
            The image, and whether it was left as it is though another was brought into that stain.
        """
        if self.stain is None:
            return Normalised(image_HWC, left=False)
        return normalise(image_HWC, self.stain, self.magnification)

    def runtime(
        self, *, backend: Backend = "auto", device: Device = "auto", threads: int | None = None
    ) -> Runtime:
        """The network, ready to be asked.

        Args:
            backend: "onnx" computes on a CPU only. "auto" takes ONNX Runtime on a CPU, where it is the faster, and
                PyTorch on a GPU.
            device: "auto" takes a GPU where PyTorch finds one, unless ONNX Runtime was asked for.
            threads: Cores for one image on a CPU; None for all.

        Raises:
            UsageError: No such backend or device, not together, or no GPU; weights that do not fit.
        """
        chosen = _device(backend, device)
        if backend == "onnx" or (backend == "auto" and chosen == "cpu"):
            return self._onnx(threads)
        return self._pytorch(chosen, threads)

    def _onnx(self, threads: int | None) -> Runtime:
        from kdtrain.bundle.graph import graph_problem
        from kdtrain.bundle.runtime_onnx import OnnxRuntime

        path, entry = self.path / ONNX_FILE, self.document.architecture
        problem = graph_problem(path, classes=len(self.classes), channels=entry.feature_channels)
        if problem is not None:
            raise UsageError(
                f"{path} is no graph that 'kdtrain export' writes ({problem}), and no other is run; {COPY_AGAIN}, take "
                "--backend pytorch, which does not use that file, or ask whoever made it"
            )
        try:
            return OnnxRuntime(
                path, min_side_px=entry.min_side_px, threads=threads, temperature=self.temperature
            )
        except Exception as error:  # noqa: BLE001 - ONNX Runtime has an error type of its own per fault
            reason = reason_of(error)
            raise UsageError(f"{path} cannot be run by ONNX Runtime ({reason}); {COPY_AGAIN}") from None

    def _pytorch(self, device: str, threads: int | None) -> Runtime:
        from kdtrain.bundle.runtime_pytorch import PytorchRuntime

        return PytorchRuntime(
            self.model(), self.network, device=device, threads=threads, temperature=self.temperature
        )

    def model(self) -> Model:
        """The network with its weights as PyTorch has it, on the CPU, in evaluation mode.

        Raises:
            UsageError: The weights do not fit.
        """
        from safetensors.torch import load_file

        try:
            model = self.network.build(seed=0)
            model.load_state_dict(load_file(self.path / WEIGHTS_FILE))
        except (RuntimeError, ValueError) as error:
            # Of weights that do not fit, PyTorch lists every tensor.
            reason = reason_of(error)
            raise UsageError(
                f"{self.path / WEIGHTS_FILE} is not the {self.document.architecture.model} of {BUNDLE_FILE} "
                f"({reason}); {COPY_AGAIN}"
            ) from None
        return model.eval()


def open_bundle(path: Path | str) -> OpenBundle:
    """Open a bundle and check it: its version, its files by their SHA-256, its weights by their shape.

    Args:
        path: The folder that ``kdtrain export`` wrote, or a copy of it.

    Raises:
        UsageError: There is none, it is damaged or of another version, or its weights are not finite.
    """
    folder = Path(path)
    data = read_json_file(folder)
    document = read_document(data, str(folder / BUNDLE_FILE))
    for name in (WEIGHTS_FILE, ONNX_FILE):
        check_file(folder, name, document)
    return OpenBundle(
        path=folder,
        document=document,
        sha256=hashlib.sha256(data).hexdigest(),
        fc_weight_KC=read_fc_weight(folder, document),
    )


GPU_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""What Linux has where a driver is loaded: NVIDIA's, AMD's, and Windows' for what runs under it."""


def may_have_gpu() -> bool:
    """Whether PyTorch is worth asking: importing it takes seconds and 600 MB, which a laptop's slide need not."""
    if "torch" in sys.modules:
        return True
    if sys.platform == "linux":
        return any(Path(driver).exists() for driver in GPU_DRIVERS)
    return sys.platform != "darwin"  # PyTorch has no CUDA there


def _device(backend: str, device: str) -> str:
    if backend not in ("auto", "onnx", "pytorch") or device not in ("auto", "cpu", "cuda"):
        raise UsageError(
            f"no backend {backend!r} on {device!r}; backends are auto, onnx and pytorch, devices auto, cpu and cuda"
        )
    if backend == "onnx":
        if device == "cuda":
            raise UsageError("ONNX Runtime computes on a CPU here; on a GPU take --backend pytorch")
        return "cpu"
    if device == "cpu" or (device == "auto" and not may_have_gpu()):
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if device == "cuda":
        raise UsageError("--device cuda: PyTorch finds no GPU; leave --device out, or install PyTorch for it")
    return "cpu"
