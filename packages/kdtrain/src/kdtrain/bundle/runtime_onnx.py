"""The ONNX graph on a CPU by ONNX Runtime; PyTorch is not imported. In: images. Out: an Inference."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kdtrain.bundle.runtime import Inference, Pixels, calibrated, check_images, finite, out_of_memory
from kdtrain.errors import TrainingError
from kdtrain.text import reason_of

OUTPUTS = ("probabilities", "logits", "feature_map")
_NOTHING = 4
"""Its own lines on standard error, below what ends the process: errors come as exceptions, and a line would hold names
out of the graph as they are."""
_SHRINK_ARENA = "memory.enable_memory_arena_shrinkage"


class OnnxRuntime:
    """See :class:`kdtrain.bundle.runtime.Runtime`.

    Args:
        path: model.onnx.
        min_side_px: Shortest side of an image that the network takes, pixels.
        threads: Cores for one image; None for all.
        temperature: Of the probabilities.
    """

    name = "onnxruntime on cpu"

    def __init__(
        self, path: Path, *, min_side_px: int, threads: int | None = None, temperature: float = 1.0
    ) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = _NOTHING
        options.intra_op_num_threads = threads or 0
        # Images differ in size: a plan of memory made for one would be of no use for the next.
        options.enable_mem_pattern = False
        # Else its threads spin between images, for as long as slides are read: at low magnifications that is a third of
        # all the CPU time a slide takes. Inference is as fast without.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        # Memory goes back to the system after each image: 0.24 GB are kept instead of 0.91 after one of 9 megapixels,
        # and it takes no longer.
        self._run_options = onnxruntime.RunOptions()
        self._run_options.add_run_config_entry(_SHRINK_ARENA, "cpu:0")
        self._run_options.log_severity_level = _NOTHING
        self._path = path
        self._temperature = temperature
        self._min_side_px = min_side_px

    def infer(self, images_BHWC: Pixels) -> Inference:
        """See :meth:`kdtrain.bundle.runtime.Runtime.infer`."""
        check_images(images_BHWC, self._min_side_px)
        images_BCHW = np.ascontiguousarray(images_BHWC.transpose(0, 3, 1, 2))
        try:
            outputs = self._session.run(list(OUTPUTS), {"image": images_BCHW}, self._run_options)
        except Exception as error:  # noqa: BLE001 - ONNX Runtime has an error type of its own per fault
            # Of memory it has none: std::bad_alloc, or an allocator's words.
            if "alloc" in str(error):
                raise out_of_memory(images_BHWC, self.name) from None
            height, width = images_BHWC.shape[1:3]
            raise TrainingError(
                f"{self._path} cannot be computed for an image of {width} x {height} px ({reason_of(error)}); copy the "
                "bundle again, export it again, or take --backend pytorch, which does not use that file"
            ) from None
        return calibrated(finite(Inference(*outputs), self.name), self._temperature)
