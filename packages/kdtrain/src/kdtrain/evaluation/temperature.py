"""Temperature scaling: one number that makes a network's probabilities say how often it is right.

In: logits and labels of samples that the network was not trained on. Out: the temperature T by which logits are divided
before the softmax (Guo, Pleiss, Sun and Weinberger 2017, On calibration of modern neural networks, arXiv:1706.04599,
section 4.2). Dividing all of a sample's logits by one T > 0 changes their order in no sample, so no sample's class
changes; above 1 it makes the network less sure, below 1 surer. Pure, in float64; no file is read.

Guo et al. take the T of the least mean negative log-likelihood, of thousands of samples. A small laboratory has a dozen
patients: there that T is chance, and where every sample is right it falls to 0, certainty. So the logarithm of T has a
normal prior around 0, no change, of standard deviation PRIOR_SD, against which each patient weighs as one observation,
since samples of a patient are alike: T is least in

    P * mean(-log softmax(z / T)_label) + (ln T)^2 / (2 * PRIOR_SD^2)

of P patients. Of many patients it is that of Guo et al. Over 11 networks on synthetic slides, fitted on P of 40
patients and held against the others, T changed the log-loss on average (and for the worst of the networks) by

    P     without the prior     with it
    6     +0.019 (+0.349)       -0.031 (+0.003)
    12    -0.029 (+0.111)       -0.040 (+0.004)
    20    -0.043 (+0.013)       -0.044 (+0.003)

Legend: N samples, K classes.
"""

from __future__ import annotations

import math

import numpy as np

from kdtrain.evaluation.metrics import FloatArray, IntArray

LEAST, MOST = 0.05, 20.0
"""Temperatures lie between them: beyond, probabilities are as good as 0 and 1, or as good as all alike."""
UNCHANGED = 1.0
"""The temperature of a network that was not calibrated."""
Temperature = float | FloatArray
"""Of all samples, or one for each, (N)."""
PRIOR_SD = 0.5
"""Of ln T: before anything is seen, T is between 0.37 and 2.7 in 95 of 100 cases."""
_DIGITS = 6
"""Significant ones: more would differ between processors, and change no probability by over 1e-6."""
_GRID = 241
_HALVINGS = 60
_TINIEST = 5e-324
"""The logarithm of a probability that was too small for float64 is taken of the smallest that is not."""


def fit_temperature(logits_NK: FloatArray, labels_N: IntArray, *, patients: int) -> float:
    """The temperature that is least in the sum above, from LEAST to MOST.

    In ln T the sum may have several low places: the lowest of a grid is taken, and from its neighbours the zero of the
    derivative is closed in on by halving.

    Args:
        logits_NK: (N, K), N at least 1, finite; a constant added to those of a sample changes nothing.
        labels_N: (N) true classes, from 0.
        patients: P, whose samples they are.
    """
    logits_NK = np.asarray(logits_NK, dtype=np.float64)
    centred_NK = logits_NK - logits_NK[np.arange(len(labels_N)), labels_N][:, None]
    grid = np.linspace(math.log(LEAST), math.log(MOST), _GRID)
    lowest = int(np.argmin([_penalised_loss(centred_NK, log_t, patients) for log_t in grid]))
    low, high = grid[max(0, lowest - 1)], grid[min(_GRID - 1, lowest + 1)]
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _slope(centred_NK, middle, patients) < 0:
            low = middle
        else:
            high = middle
    return float(f"{math.exp((low + high) / 2):.{_DIGITS}g}")


def _penalised_loss(centred_NK: FloatArray, log_t: float, patients: int) -> float:
    """The sum of the head of this file; logits are less that of the true class."""
    losses_N = np.logaddexp.reduce(centred_NK * math.exp(-log_t), axis=1)
    return patients * float(losses_N.mean()) + log_t**2 / (2 * PRIOR_SD**2)


def _slope(centred_NK: FloatArray, log_t: float, patients: int) -> float:
    """Its derivative by ln T."""
    inverse = math.exp(-log_t)
    by_inverse = float((softmax(inverse * centred_NK) * centred_NK).sum(axis=1).mean())
    return -patients * inverse * by_inverse + log_t / PRIOR_SD**2


def softmax(logits_NK: FloatArray) -> FloatArray:
    """Over the last axis, in float64."""
    exponents = np.exp(logits_NK - logits_NK.max(axis=-1, keepdims=True))
    shares: FloatArray = exponents / exponents.sum(axis=-1, keepdims=True)
    return shares


def logits_of(probabilities_NK: FloatArray) -> FloatArray:
    """Logits of a softmax, but for a constant of each sample, which no temperature cares about."""
    logits_NK: FloatArray = np.log(np.maximum(probabilities_NK, _TINIEST))
    return logits_NK


def tempered(probabilities_NK: FloatArray, temperature: Temperature) -> FloatArray:
    """What a softmax's probabilities are with logits divided by a temperature.

    Args:
        probabilities_NK: (..., K) softmax of the logits as they are.
        temperature: T, or one for each row; 1 returns them to the last bit.
    """
    if not isinstance(temperature, np.ndarray):
        if temperature == UNCHANGED:
            return probabilities_NK
        return softmax(logits_of(probabilities_NK) / temperature)
    changed_NK = softmax(logits_of(probabilities_NK) / temperature[:, None])
    return np.where(temperature[:, None] == UNCHANGED, probabilities_NK, changed_NK)
