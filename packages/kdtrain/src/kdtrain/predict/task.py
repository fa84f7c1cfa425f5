"""One slide's images in, its prediction and its explanation out: what the main process does for each slide.

A network is sure of itself wherever it is asked. What it was trained on is all that its numbers hold for, so a slide of
another magnification, stain or size is named, or refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kdtrain.bundle.load import OpenBundle
from kdtrain.bundle.runtime import Runtime
from kdtrain.bundle.stain import StainNumber
from kdtrain.bundle.training_data import TrainingData, image_outside, slide_outside
from kdtrain.errors import NotFiniteError, UsageError
from kdtrain.predict.answers.classify import classify_region, fast_price, slide_prediction
from kdtrain.predict.answers.prediction import (
    Failure,
    FastPrice,
    RegionPrediction,
    SlideError,
    SlidePrediction,
)
from kdtrain.predict.answers.request import ExplainOptions, OutsidePolicy
from kdtrain.predict.answers.slide_images import FastField, ReadRegion, SlideImages


class SlideTask:
    """What is done with every slide of a request.

    Args:
        bundle: The network, and what it was trained on.
        runtime: What computes it.
        outside: What becomes of slides beyond the training data.
        explain: What to draw; None for nothing.

    Raises:
        UsageError: A class to explain is none of the bundle's.
    """

    def __init__(
        self, bundle: OpenBundle, runtime: Runtime, *, outside: OutsidePolicy, explain: ExplainOptions | None
    ) -> None:
        self._bundle = bundle
        self._runtime = runtime
        self._outside = Outside(bundle.document.training_data, outside)
        self._explain = explain
        for name in () if explain is None else explain.classes:
            if name not in bundle.classes:
                raise UsageError(
                    f"--explain-class {name} is no class of the bundle; it knows {', '.join(bundle.classes)}"
                )

    def predicted(self, images: SlideImages) -> SlidePrediction:
        """Ask the network about a slide.

        Raises:
            SlideError: It lies outside the training data, and that is refused; or the network answers no number.
        """
        _refuse(images.name, self._outside.wrong_magnification(images))
        regions = tuple(self._classified(images.name, region) for region in images.regions)
        prediction = slide_prediction(
            images,
            regions,
            None if images.fast is None else self._fast_price(images.fast),
            self._bundle.classes,
            self._bundle.magnification,
            self._outside.of_slide(images),
            self._bundle.temperature,
        )
        _refuse(images.name, self._outside.refusal(prediction))
        return prediction

    def _fast_price(self, field: FastField) -> FastPrice:
        return fast_price(field, self._runtime, self._bundle.restained, self._bundle.temperature)

    def _classified(self, slide: str, region: ReadRegion) -> RegionPrediction:
        try:
            return classify_region(
                region,
                self._runtime,
                self._outside.of_image,
                self._bundle.restained,
                self._bundle.temperature,
            )
        except NotFiniteError as error:
            reason = f"slide '{slide}', region {region.index}: {error}"
            raise SlideError(
                Failure(slide=slide, region=region.index, stage="network", reason=reason)
            ) from None

    def explained(
        self,
        images: SlideImages,
        prediction: SlidePrediction,
        folder: Path,
        say: Callable[[str], None] = lambda _: None,
    ) -> frozenset[str]:
        """Write where the network looked, if that is asked for.

        Args:
            images: The slide.
            prediction: What was said of it.
            folder: For its files.
            say: Shows what is being done.

        Returns:
            Names of the files.
        """
        if self._explain is None:
            return frozenset()
        from kdtrain.predict.explaining import explain_slide

        return explain_slide(images, prediction, self._bundle, self._runtime, self._explain, folder, say)

    def class_maps(
        self,
        images: SlideImages,
        prediction: SlidePrediction,
        folder: Path,
        say: Callable[[str], None] = lambda _: None,
    ) -> tuple[str, ...]:
        """Write what the network says of every place, as DICOM.

        Args:
            images: The slide, read with its DICOM header.
            prediction: What was said of it.
            folder: For the files.
            say: Shows what is being done.

        Returns:
            What the slide does not say and was derived; plain sentences.

        Raises:
            SlideError: No map can be written for this slide.
        """
        from kdtrain.predict.dicom.maps import write_class_maps

        return write_class_maps(images, prediction, self._bundle, self._runtime, folder, say)


def _refuse(slide: str, reason: str | None) -> None:
    if reason is not None:
        raise SlideError(Failure(slide=slide, region=None, stage="outside", reason=reason))


class Outside:
    """Holds slides against a bundle's training data.

    Args:
        data: What the bundle says of its training data.
        policy: What to refuse.
    """

    def __init__(self, data: TrainingData, policy: OutsidePolicy) -> None:
        self._data = data
        self._policy = policy

    def of_slide(self, images: SlideImages) -> tuple[str, ...]:
        """In what a slide lies outside, plain sentences."""
        return slide_outside(self._data, mpp=image_mpp(images), level0_objective=images.objective)

    def of_image(self, pixels: NDArray[np.uint8], stain: Mapping[StainNumber, float]) -> tuple[str, ...]:
        """In what an image (rows, columns, 3) lies outside, plain sentences; ``stain`` is what stain_numbers gives."""
        height, width, _ = pixels.shape
        return image_outside(self._data, width=width, height=height, stain=stain)

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
