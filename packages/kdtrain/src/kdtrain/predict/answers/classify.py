"""A slide's images and a network in, its prediction out.

Shapes: K classes; B images of a batch, always one here.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from kdtrain.bundle.load import Normalised
from kdtrain.bundle.runtime import Runtime
from kdtrain.bundle.stain import StainNumber, stain_numbers
from kdtrain.evaluation import temperature as scaling
from kdtrain.predict.answers.prediction import FastPrice, RegionPrediction, SlidePrediction
from kdtrain.predict.answers.slide_images import FastField, ReadRegion, SlideImages
from kdtrain.shards.sample import open_image

Pixels = NDArray[np.uint8]


OutsideImage = Callable[[Pixels, Mapping[StainNumber, float]], tuple[str, ...]]
"""In what an image lies outside the training data, of its pixels and the numbers of its stain."""


Restain = Callable[[Pixels], Normalised]
"""Brings an image into the stain of training: :meth:`kdtrain.bundle.load.OpenBundle.restained`."""
_LEFT = "the image has too little tissue, or too little colour, to normalise its stain; the network saw it as it is"


def classify_region(
    region: ReadRegion,
    runtime: Runtime,
    outside: OutsideImage,
    restain: Restain,
    temperature: float = scaling.UNCHANGED,
) -> RegionPrediction:
    """Ask the network about one region. Each is a batch of its own: they differ in size."""
    pixels = decoded(region)
    stain = stain_numbers(pixels)
    seen = restain(pixels)
    return RegionPrediction(
        index=region.index,
        key=region.key,
        x=region.x,
        y=region.y,
        width=region.width,
        height=region.height,
        image_width=region.image_width,
        image_height=region.image_height,
        probabilities=softmax(runtime.infer(seen.image_HWC[None]).logits_BK[0], temperature),
        outside=(*outside(pixels, stain), *((_LEFT,) if seen.left else ())),
        stain=stain,
        quality=region.quality,
    )


def decoded(region: ReadRegion) -> Pixels:
    """The network's image by the decoder that training uses: (rows, columns, 3) uint8."""
    pixels: Pixels = np.array(open_image(region.image_format, io.BytesIO(region.image)))
    assert pixels.shape == (region.image_height, region.image_width, 3), "an image that was just encoded"
    return pixels


def softmax(logits_K: NDArray[np.float32], temperature: float = scaling.UNCHANGED) -> tuple[float, ...]:
    """In float64, as evaluation computes it; at a temperature, as it is calibrated."""
    shares_K = scaling.softmax(logits_K.astype(np.float64) / temperature)
    return tuple(float(value) for value in shares_K)


def fast_price(
    field: FastField, runtime: Runtime, restain: Restain, temperature: float = scaling.UNCHANGED
) -> FastPrice:
    """Ask the network about a field that was read both ways."""
    found = field.difference
    answers = [
        softmax(runtime.infer(restain(pixels).image_HWC[None]).logits_BK[0], temperature)
        for pixels in (found.fine, found.coarse)
    ]
    return FastPrice(
        downsample=field.downsample,
        region=field.region,
        mean=found.mean,
        bias=found.bias,
        largest=found.largest,
        probabilities_level0=answers[0],
        probabilities_fast=answers[1],
    )


def slide_prediction(
    images: SlideImages,
    regions: tuple[RegionPrediction, ...],
    fast: FastPrice | None,
    classes: tuple[str, ...],
    magnification: float,
    outside: tuple[str, ...],
    temperature: float = scaling.UNCHANGED,
) -> SlidePrediction:
    """Sum up a slide's regions: the mean of their probabilities, each counting the same."""
    means = np.mean([region.probabilities for region in regions], axis=0)
    return SlidePrediction(
        slide=images.name,
        classes=classes,
        probabilities=tuple(float(value) for value in means),
        regions=regions,
        width=images.width,
        height=images.height,
        mpp=images.mpp,
        objective=images.objective,
        magnification=magnification,
        temperature=temperature,
        reader=images.reader,
        level=images.level,
        fast=fast,
        left_out=images.left_out,
        failed=images.failed,
        outside=outside,
        warnings=images.warnings,
    )
