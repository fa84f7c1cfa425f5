"""What the main process does with a slide: an answer that is no number is none."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fixtures.predictions import images
from kdtrain import load_bundle
from kdtrain.bundle.runtime import Inference, finite
from kdtrain.predict.answers.prediction import SlideError
from kdtrain.predict.task import SlideTask


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_network_that_answers_no_number_says_nothing_of_the_slide(bundle: Path, value: float) -> None:
    """Else its first class would be the answer, and sure; the slide is listed with the region."""

    def infer(_: Any) -> Inference:
        one = np.array([[0.5, value]], np.float32)
        return finite(Inference(one, one, np.zeros((1, 256, 2, 2), np.float32)), "r")

    runtime = SimpleNamespace(name="r", infer=infer)
    task = SlideTask(load_bundle(bundle), runtime, outside="warn", explain=None)
    with pytest.raises(SlideError) as error:
        task.predicted(images())
    failure = error.value.failure
    assert (failure.slide, failure.region, failure.stage) == ("a.svs", 3, "network")
    assert "slide 'a.svs', region 3: the network's outputs are not finite (r)" in failure.reason
