"""A network in, a TorchScript file out that takes standardised images and gives one tensor: calibrated logits.

WSInfer takes the softmax of what a model gives, always, and knows of no temperature: so the logits are divided by it in
the graph. The file that PyTorch writes names the source files of the machine that wrote it; these names are taken out,
so the same command gives the same bytes. (Within one process it numbers the classes of what it traces later.)
"""

from __future__ import annotations

import io
import warnings
import zipfile
from typing import Any

import torch
from torch import Tensor, nn

from kdtrain.errors import TrainingError
from kdtrain.model.resnet import MIN_SIDE_PX, Model

MOST_LOGITS = 1e-4
"""Largest difference from PyTorch that is accepted, of one tile and of several; both compute by the same code."""
_OF_HERE = (".debug_pkl", "/.data/serialization_id")
"""Records with names of files and lines, for error messages alone, and a digest of them."""


class _Logits(nn.Module):
    """The network without its feature map, its logits divided by the temperature."""

    def __init__(self, model: Model, temperature: float) -> None:
        super().__init__()
        self.model, self.temperature = model, temperature

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """(B, 3, H, W) float32, standardised, to (B, K)."""
        logits_BK: Tensor = self.model(image_BCHW).logits_BK
        return logits_BK / self.temperature


def torchscript_bytes(model: Model, temperature: float, *, patch_px: int) -> bytes:
    """The content of torchscript_model.pt, held against PyTorch at three sizes.

    Args:
        model: With weights, on the CPU, in evaluation mode.
        temperature: By which logits are divided; 1 where the network was not calibrated.
        patch_px: Side of the tiles that it will be shown.

    Raises:
        TrainingError: What was written says something else than the network.
    """
    jit: Any = torch.jit  # its functions have no types
    module = _Logits(model, temperature).eval()
    generator = torch.Generator().manual_seed(0)
    example_BCHW = torch.randn(2, 3, patch_px, patch_px, generator=generator)
    buffer = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        # Sizes that are asked for by Python's "if" are checks alone: what is traced holds at every size, as below.
        warnings.simplefilter("ignore")
        jit.save(jit.trace(module, example_BCHW, check_trace=False), buffer)
        content = _without_traces_of_here(buffer.getvalue())
        written = jit.load(io.BytesIO(content), map_location="cpu")
        for batch, side in ((1, patch_px), (3, patch_px), (2, MIN_SIDE_PX + patch_px)):
            image_BCHW = torch.randn(batch, 3, side, side, generator=generator)
            apart = float((written(image_BCHW) - module(image_BCHW)).abs().max())
            if not apart <= MOST_LOGITS:
                raise TrainingError(
                    f"the TorchScript file gives logits that are off by {apart:.2g} from PyTorch for {batch} tiles of "
                    f"{side} px (at most {MOST_LOGITS:g} is accepted), so nothing was written; use the version of "
                    "torch in kdtrain's lock file"
                )
    return content


def _without_traces_of_here(content: bytes) -> bytes:
    """The same archive without paths and times."""
    stripped = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as given, zipfile.ZipFile(stripped, "w") as kept:
        for name in sorted(given.namelist()):
            if not name.endswith(_OF_HERE):
                kept.writestr(
                    zipfile.ZipInfo(name), given.read(name)
                )  # stored, of 1980: PyTorch maps it as it is
    return stripped.getvalue()
