"""One slide's images in, its prediction and its explanation out: what the main process does for each slide."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kdtrain.bundle.load import Bundle
from kdtrain.bundle.runtime import Runtime
from kdtrain.errors import UsageError
from kdtrain.predict.classify import classify_region, fast_price, slide_prediction
from kdtrain.predict.failure import Failure, SlideError
from kdtrain.predict.outside import Outside
from kdtrain.predict.prediction import SlidePrediction
from kdtrain.predict.read_slide import SlideImages
from kdtrain.predict.request import ExplainOptions, OutsidePolicy


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
        self, bundle: Bundle, runtime: Runtime, *, outside: OutsidePolicy, explain: ExplainOptions | None
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
            SlideError: It lies outside the training data, and that is refused.
        """
        _refuse(images.name, self._outside.wrong_magnification(images))
        regions = tuple(
            classify_region(region, self._runtime, self._outside.of_image) for region in images.regions
        )
        prediction = slide_prediction(
            images,
            regions,
            None if images.fast is None else fast_price(images.fast, self._runtime),
            self._bundle.classes,
            self._bundle.magnification,
            self._outside.of_slide(images),
        )
        _refuse(images.name, self._outside.refusal(prediction))
        return prediction

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


def _refuse(slide: str, reason: str | None) -> None:
    if reason is not None:
        raise SlideError(Failure(slide=slide, region=None, stage="outside", reason=reason))
