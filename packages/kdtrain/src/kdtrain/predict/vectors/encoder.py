"""RUN or BUNDLE in, its network as one that gives feature maps out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kdtrain.bundle.document import BUNDLE_FILE
from kdtrain.bundle.load import Backend, Device, OpenBundle, open_bundle
from kdtrain.bundle.runtime import Runtime
from kdtrain.bundle.training_data import TrainingData
from kdtrain.errors import NotFiniteError, UsageError
from kdtrain.shards.error import ShardError
from kdtrain.shards.index import read_index
from kdtrain.training.run_folder import RUN_FILE

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]


class Maps(Protocol):
    """What computes feature maps."""

    def __call__(self, image_HWC: Pixels) -> Floats:
        """The map (C, H, W) of one image (rows, columns, 3), RGB."""
        ...


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """A network ready to be asked.

    Attributes:
        name: What it is, for people and for files: "resnet10 at 2.5x, 0f3a9c1b2d4e".
        sha256: Of the weights' file of a run, or of bundle.json.
        magnification: Of the images that it takes.
        stride_px: Pixels of these per cell of the map.
        folder: RUN or BUNDLE.
        maps: Computes.
        config: How slides became images, where that is known already: of a bundle.
        shards: Where the set of a run was.
        data: What a bundle says of its training data; None of a run.
    """

    name: str
    sha256: str
    magnification: float
    stride_px: int
    folder: Path
    maps: Maps
    config: Mapping[str, Any] | None
    shards: str | None = None
    data: TrainingData | None = None

    def feature_map(self, image_HWC: Pixels) -> Floats:
        """The map (C, H, W) of one image.

        Raises:
            NotFiniteError: It holds what is no number.
            ValueError: The image is too small.
            MemoryError: There is not enough for an image of this size.
        """
        map_CHW = self.maps(image_HWC)
        if not np.isfinite(map_CHW).all():
            raise NotFiniteError(
                f"the network's feature map is not finite ({self.name}); take another network"
            )
        return map_CHW

    @property
    def slides(self) -> Mapping[str, Any]:
        """How slides become images, as in the set that the network was trained on.

        Raises:
            UsageError: The set of a run is not where it was.
        """
        if self.config is not None:
            return self.config
        again = (
            "give a bundle of it ('kdtrain export'), which knows how slides are read, or a set by --shards"
        )
        if self.shards is None:
            raise UsageError(f"{self.folder} does not say where its shard set is; {again}")
        try:
            return read_index(self.shards, magnifications=()).document.config
        except ShardError as error:
            raise UsageError(
                f"{self.folder} was trained on the shard set at {self.shards}, which says how slides are read, and it "
                f"cannot be opened ({error}); {again}"
            ) from None


def open_encoder(folder: Path, backend: Backend, device: Device) -> Encoder:
    """The network of a run or of a bundle.

    Args:
        folder: Of either.
        backend: Which library computes a bundle's; a run's is PyTorch's.
        device: Where.

    Raises:
        UsageError: The folder is neither, or damaged; there is no such device, or not for that library.
    """
    if (folder / BUNDLE_FILE).exists():
        return _of_bundle(folder, backend, device)
    if (folder / RUN_FILE).exists():
        if backend == "onnx":
            raise UsageError(
                f"{folder} is a run, which has no ONNX file; leave --backend out, or give a bundle of it ('kdtrain "
                "export')"
            )
        return _of_run(folder, device)
    raise UsageError(
        f"{folder} holds neither {RUN_FILE} nor {BUNDLE_FILE}; give the folder of a run, or one that 'kdtrain export' "
        "wrote"
    )


def _of_bundle(folder: Path, backend: Backend, device: Device) -> Encoder:
    bundle = open_bundle(folder)
    architecture = bundle.document.architecture
    return Encoder(
        name=_name(architecture.model, bundle.magnification, bundle.sha256),
        sha256=bundle.sha256,
        magnification=bundle.magnification,
        stride_px=architecture.output_stride,
        folder=folder,
        maps=_runtime_maps(bundle, bundle.runtime(backend=backend, device=device)),
        config=bundle.document.slides,
        data=bundle.document.training_data,
    )


def _runtime_maps(bundle: OpenBundle, runtime: Runtime) -> Maps:
    return lambda image_HWC: runtime.infer(bundle.restained(image_HWC).image_HWC[None]).feature_map_BCHW[0]


def _of_run(folder: Path, device: Device) -> Encoder:
    # Here, because they bring PyTorch, which ONNX Runtime can do without.
    import torch

    from kdtrain.augment import IDENTITY
    from kdtrain.data.inputs import drawn_batch, in_stain_of
    from kdtrain.training.engine.launch import Launch, pick_device
    from kdtrain.training.trained import load_trained

    trained = load_trained(folder, what="NETWORK")
    place = pick_device(device, Launch())
    model = trained.model.to(place).eval()

    def maps(image_HWC: Pixels) -> Floats:
        image_CHW = torch.from_numpy(image_HWC).permute(2, 0, 1)
        with torch.inference_mode():
            restained = in_stain_of(trained.network, image_CHW)
            batch = drawn_batch([restained], [IDENTITY], trained.network, place)
            found: Floats = model(batch)[0][0].float().cpu().contiguous().numpy()
        return found

    network = trained.network
    return Encoder(
        name=_name(network.model, network.magnification, trained.sha256),
        sha256=trained.sha256,
        magnification=network.magnification,
        stride_px=network.output_stride,
        folder=folder,
        maps=maps,
        config=None,
        shards=trained.run.get("other_settings", {}).get("shards"),
    )


def _name(model: str, magnification: float, sha256: str) -> str:
    return f"{model} at {magnification:g}x, {sha256[:12]}"
