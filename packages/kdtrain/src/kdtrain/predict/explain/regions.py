"""An image and its network in, the heat maps of a region out: what ``kdtrain predict`` and the pointing game call.

Example:
    maps = explain_region(
        image_HWC, bundle.runtime(), fc_weight_KC=bundle.fc_weight_KC,
        output_stride=bundle.network.output_stride, classes=wanted_classes(slide=0, region=2),
    )
    where_x, where_y = maps[0].peak()  # image pixels
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kdtrain.bundle.runtime import Floats, Inference, Pixels, Runtime
from kdtrain.predict.explain.gradcam import grad_cam
from kdtrain.predict.explain.heat_map import HeatMap
from kdtrain.predict.explain.occlusion import DEFAULT_BUDGET, occlusion_maps


def wanted_classes(*, slide: int, region: int) -> tuple[int, ...]:
    """What is explained unless all is asked for: the class said of the slide, then that said of the region.

    Args:
        slide: Predicted class of the slide.
        region: Predicted class of the region.
    """
    return (slide,) if slide == region else (slide, region)


def explain_region(
    image_HWC: Pixels,
    runtime: Runtime,
    *,
    fc_weight_KC: Floats,
    output_stride: int,
    classes: Sequence[int],
    occlusion_budget: int = DEFAULT_BUDGET,
    relu: bool = True,
    inference: Inference | None = None,
    on_pass: Callable[[int], None] = lambda passes: None,
) -> tuple[HeatMap, ...]:
    """The maps of one region's image.

    Args:
        image_HWC: (rows, columns, 3) uint8 RGB, the pixels that the network sees.
        runtime: The network.
        fc_weight_KC: (classes, channels) float32, weights of its fc layer.
        output_stride: Image pixels per feature-map cell along a side.
        classes: Indices of the classes to explain.
        occlusion_budget: Forward passes for occlusion maps, about that many places; 0 makes none.
        relu: Whether Grad-CAM is cut off at 0, as published.
        inference: What the runtime said of this image as a batch of one, if it was asked before; saves a pass.
        on_pass: Told the number of passes that each batch took.

    Returns:
        The Grad-CAM of each class in the order of ``classes``, then their occlusion maps.

    Raises:
        ValueError: The image is too small for the network, a class does not exist, or the weights are another
            network's.
    """
    if inference is None:
        inference = runtime.infer(image_HWC[None])
        on_pass(1)
    cams = tuple(
        grad_cam(
            inference.feature_map_BCHW[0], fc_weight_KC, class_index=k, output_stride=output_stride, relu=relu
        )
        for k in classes
    )
    if not occlusion_budget:
        return cams
    return cams + occlusion_maps(
        image_HWC, runtime, classes=classes, budget=occlusion_budget, inference=inference, on_pass=on_pass
    )
