"""Grad-CAM in closed form: which cells of the feature map speak for a class.

In: the feature map of a forward pass and the weights of the fc layer. Out: a heat map. No gradient is computed, so any
runtime that returns the feature map will do.

Grad-CAM (Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization",
eq. 1 and 2) weighs each channel by the mean over the map of the gradient of the class's logit, sums the weighted
channels and cuts off what is below 0. Here the logit is ``b_k + sum_c W_kc mean_hw F_chw``, so that gradient is
``W_kc / (h w)`` everywhere. The constant h w is multiplied out again, which leaves ``sum_c W_kc F_chw``: what the place
adds to the logit if all of the image were like it. So maps of images of different sizes compare, and uncut, the mean of
a map's cells is the logit less b_k. (This is also the class activation map of Zhou et al. 2016, as Grad-CAM is for
every network that ends this way.)

Where the cells lie: every layer with a stride S has an odd kernel of 2p + 1 and a padding of p (7x7 with 3, 3x3 with 1,
1x1 with 0), so its output i is centred on its input S * i; the layers without a stride keep the place. A cell of the
map is therefore centred on the pixel ``output_stride * i``, which in continuous image pixels is
``output_stride * i + 0.5``, and not in the middle of a block of ``output_stride`` pixels. (GroupNorm makes every cell
depend on the whole image a little; that moves no centre.)

Shapes: K classes, C channels, h x w cells.
"""

from __future__ import annotations

import numpy as np

from kdtrain.bundle.runtime import Floats
from kdtrain.predict.explain.heat_map import HeatMap


def grad_cam(
    feature_map_CHW: Floats,
    fc_weight_KC: Floats,
    *,
    class_index: int,
    output_stride: int,
    relu: bool = True,
) -> HeatMap:
    """The Grad-CAM of one class.

    Args:
        feature_map_CHW: (C, h, w) float32, output of the last stage for one image.
        fc_weight_KC: (K, C) float32, weights of the fc layer.
        class_index: Index of the class, from 0.
        output_stride: Image pixels per cell along a side.
        relu: Cut off what speaks against the class, as published. Without it, the mean of the cells is the logit
            less the fc layer's bias.

    Returns:
        A map of h x w cells, in units of the logit.

    Raises:
        ValueError: The shapes do not fit each other, or there is no such class.
    """
    _check(feature_map_CHW, fc_weight_KC, class_index)
    channels, rows, columns = feature_map_CHW.shape
    weights = fc_weight_KC[class_index].astype(np.float64)
    values = (weights @ feature_map_CHW.reshape(channels, -1)).reshape(rows, columns)
    return HeatMap(
        method="grad-cam",
        class_index=class_index,
        values=(np.maximum(values, 0) if relu else values).astype(np.float32),
        step_x=float(output_stride),
        step_y=float(output_stride),
        first_x=0.5,
        first_y=0.5,
    )


def _check(feature_map_CHW: Floats, fc_weight_KC: Floats, class_index: int) -> None:
    if (
        feature_map_CHW.ndim != 3
        or fc_weight_KC.ndim != 2
        or feature_map_CHW.shape[0] != fc_weight_KC.shape[1]
    ):
        raise ValueError(
            f"a feature map of shape {feature_map_CHW.shape} and fc weights of shape {fc_weight_KC.shape} are not (C, "
            "h, w) and (K, C) of one network; pass one image's map and its own network's weights"
        )
    if not 0 <= class_index < len(fc_weight_KC):
        raise ValueError(f"no class {class_index}: the network has {len(fc_weight_KC)}, counted from 0")
