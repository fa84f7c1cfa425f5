"""What becomes of slides and images that lie outside the data that a network was trained on.

A network is sure of itself wherever it is asked. What it was trained on is all that its numbers hold for, so a slide of
another magnification, stain or size is named, or refused.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kdtrain.bundle.stain import stain_numbers
from kdtrain.bundle.training_data import TrainingData, image_outside, slide_outside
from kdtrain.predict.prediction import SlidePrediction
from kdtrain.predict.read_slide import SlideImages
from kdtrain.predict.request import OutsidePolicy


class Outside:
    """Holds slides against a bundle's training data.

    Args:
        data: Of the bundle.
        policy: What to refuse.
    """

    def __init__(self, data: TrainingData, policy: OutsidePolicy) -> None:
        self._data = data
        self._policy = policy

    def of_slide(self, images: SlideImages) -> tuple[str, ...]:
        """In what a slide lies outside, plain sentences."""
        return slide_outside(self._data, mpp=image_mpp(images), level0_objective=images.objective)

    def of_image(self, pixels: NDArray[np.uint8]) -> tuple[str, ...]:
        """In what an image (rows, columns, 3) lies outside, plain sentences."""
        height, width, _ = pixels.shape
        return image_outside(self._data, width=width, height=height, stain=stain_numbers(pixels))

    def wrong_magnification(self, images: SlideImages) -> str | None:
        """Why a slide is refused before the network is asked, or None: its pixels are of another size."""
        mpp = image_mpp(images)
        if self._policy == "warn" or mpp is None:
            return None
        sentences = slide_outside(self._data, mpp=mpp, level0_objective=None)
        return self._refused(images.name, sentences) if sentences else None

    def refusal(self, prediction: SlidePrediction) -> str | None:
        """Why a prediction is withheld, or None."""
        if self._policy != "refuse":
            return None
        of_regions = (f"region {one.index}: {text}" for one in prediction.regions for text in one.outside)
        sentences = (*prediction.outside, *of_regions)
        return self._refused(prediction.slide, sentences) if sentences else None

    def _refused(self, slide: str, sentences: tuple[str, ...]) -> str:
        return (
            f"slide '{slide}' lies outside the data that the network was trained on: {'; '.join(sentences)}; check its "
            "magnification, stain and scanner, or add --outside warn to predict it all the same"
        )


def image_mpp(images: SlideImages) -> float | None:
    """Microns per pixel of the images that the network sees, or None where the slide does not say."""
    region = images.regions[0]
    return None if images.mpp is None else images.mpp * region.width / region.image_width
