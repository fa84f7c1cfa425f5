"""The network in PyTorch, on a CPU or a GPU. In: images. Out: an Inference."""

from __future__ import annotations

import torch

from kdtrain.augment import standardise
from kdtrain.bundle.runtime import Inference, Pixels, calibrated, check_images, finite, out_of_memory
from kdtrain.model.network import Network
from kdtrain.model.placing import lay_out
from kdtrain.model.resnet import MIN_SIDE_PX, Model


class PytorchRuntime:
    """See :class:`kdtrain.bundle.runtime.Runtime`.

    Args:
        model: With its weights; it is moved to the device.
        network: How it is fed.
        device: "cpu" or "cuda".
        threads: Cores for one image; None leaves PyTorch's number, which is the whole process's, as it is.
        temperature: Of the probabilities.
    """

    def __init__(
        self,
        model: Model,
        network: Network,
        *,
        device: str,
        threads: int | None = None,
        temperature: float = 1.0,
    ) -> None:
        self._device = torch.device(device)
        self.name = f"pytorch on {self._device.type}"
        self._network = network
        self._temperature = temperature
        self._model = model.to(self._device).eval()
        if threads is not None:
            torch.set_num_threads(threads)

    def infer(self, images_BHWC: Pixels) -> Inference:
        """See :meth:`kdtrain.bundle.runtime.Runtime.infer`."""
        check_images(images_BHWC, MIN_SIDE_PX)
        try:
            return calibrated(finite(self._infer(images_BHWC), self.name), self._temperature)
        except RuntimeError as error:
            # On a GPU it has a type of its own, derived from this one; on a CPU it has words.
            if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
                raise out_of_memory(images_BHWC, self.name) from None
            raise

    def _infer(self, images_BHWC: Pixels) -> Inference:
        with torch.inference_mode():
            # Contiguous: over channels-last images PyTorch's GroupNorm on a CPU sums up less exactly, and of 4
            # megapixels, or of a blank image, the logits are off by 4e-4 (against float64) instead of 5e-7.
            images_BCHW = torch.tensor(images_BHWC, device=self._device).permute(0, 3, 1, 2).contiguous()
            scaled_BCHW = images_BCHW.to(torch.float32).div_(255)
            standardised_BCHW = standardise(scaled_BCHW, self._network.mean, self._network.std)
            feature_map_BCHW, logits_BK = self._model(lay_out(standardised_BCHW))
            # In float64, as evaluation computes it.
            probabilities_BK = torch.softmax(logits_BK.double(), dim=1).float()
        return Inference(
            probabilities_BK.cpu().numpy(),
            logits_BK.cpu().numpy(),
            feature_map_BCHW.contiguous().cpu().numpy(),
        )
