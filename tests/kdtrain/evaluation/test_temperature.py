"""The temperature of samples: where the penalised loss is least, drawn towards 1 by few patients, harmless to ranks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from sklearn.metrics import log_loss

from kdtrain.evaluation.temperature import (
    LEAST,
    MOST,
    PRIOR_SD,
    fit_temperature,
    logits_of,
    softmax,
    tempered,
)

Floats = NDArray[np.float64]


def _sample(size: int, sharpness: float, classes: int = 3) -> tuple[Floats, NDArray[np.int64]]:
    """Labels drawn from softmax(z), and logits that are ``sharpness`` times z: their true temperature."""
    generator = np.random.default_rng(3)
    logits = generator.normal(0, 2, (size, classes))
    labels = np.array([generator.choice(classes, p=row) for row in softmax(logits)])
    return sharpness * logits, labels


@pytest.mark.parametrize(("sharpness", "classes"), [(0.5, 2), (1.0, 3), (3.0, 5)])
def test_of_many_patients_it_is_how_much_too_sure_the_network_is(sharpness: float, classes: int) -> None:
    """Logits that are three times too large have a temperature of about 3, whatever the number of classes."""
    logits, labels = _sample(2000, sharpness, classes)
    assert fit_temperature(logits, labels, patients=2000) == pytest.approx(sharpness, rel=0.1)


@pytest.mark.parametrize("patients", [5, 60])
def test_it_is_the_least_of_likelihood_and_prior(patients: int) -> None:
    """SciPy finds the same place, with scikit-learn's log-loss."""
    logits, labels = _sample(60, 2.5)

    def penalised(log_t: float) -> float:
        loss = log_loss(labels, softmax(logits / math.exp(log_t)), labels=range(3))
        return float(patients * loss + log_t**2 / (2 * PRIOR_SD**2))

    expected = minimize_scalar(penalised, bounds=(-3, 3), method="bounded", options={"xatol": 1e-9}).x
    assert fit_temperature(logits, labels, patients=patients) == pytest.approx(math.exp(expected), rel=1e-4)


def test_few_patients_move_it_less_than_many() -> None:
    """The same samples, of 2, 10 and 400 patients: from near 1 towards the temperature of the least log-loss."""
    logits, labels = _sample(400, 3.0)
    found = [fit_temperature(logits, labels, patients=number) for number in (2, 10, 400)]
    assert 1 < found[0] < found[1] < found[2]
    assert found[2] == pytest.approx(3, rel=0.15)


def test_samples_without_a_mistake_do_not_make_it_certain() -> None:
    """Likelihood alone would fall to 0; it stays as near to 1 as ln T = -PRIOR_SD * sqrt(2 * P * loss at 1)."""
    logits = np.array([[2.0, 0.0], [0.0, 1.0], [3.0, 1.0]])
    loss = float(np.log1p(np.exp([-2.0, -1.0, -2.0])).mean())
    found = fit_temperature(logits, np.array([0, 1, 0]), patients=3)
    assert math.exp(-PRIOR_SD * math.sqrt(2 * 3 * loss)) < found < 1


def test_logits_against_the_labels_end_at_the_limit() -> None:
    """A network that is always wrong is best not believed at all; one of ties says nothing of itself."""
    logits, _ = _sample(500, 2.0)
    assert fit_temperature(logits, logits.argmin(axis=1), patients=500) == MOST
    assert fit_temperature(np.zeros((4, 2)), np.array([0, 1, 1, 0]), patients=4) == pytest.approx(1)
    assert LEAST < 1 < MOST


def test_a_constant_added_to_a_samples_logits_changes_nothing() -> None:
    """So the logarithms of probabilities do as well as the logits."""
    logits, labels = _sample(50, 2.0)
    shifted = logits + np.arange(50)[:, None]
    expected = fit_temperature(logits, labels, patients=50)
    assert fit_temperature(shifted, labels, patients=50) == pytest.approx(expected, rel=1e-5)
    assert fit_temperature(logits_of(softmax(logits)), labels, patients=50) == pytest.approx(
        expected, rel=1e-5
    )


def test_a_temperature_divides_the_logits() -> None:
    """Of log-odds ln 9, half is ln 3: 90 % becomes 75 %; 1 is the identity to the last bit."""
    said = np.array([[0.9, 0.1], [0.3, 0.7]])
    assert tempered(said, 2.0)[0] == pytest.approx([0.75, 0.25])
    assert tempered(said, 1.0) is said


@pytest.mark.parametrize("temperature", [LEAST, 0.5, 3.0, MOST])
def test_no_samples_class_changes(temperature: float) -> None:
    """The order within a sample is kept, also of probabilities that are 0 in float64."""
    said = np.vstack([softmax(_sample(200, 5.0)[0]), [[1.0, 0.0, 0.0]]])
    found = tempered(said, temperature)
    assert np.array_equal(found.argmax(axis=1), said.argmax(axis=1))
    assert found.sum(axis=1) == pytest.approx(1)
