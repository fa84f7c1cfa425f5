"""Temperature scaling: one number that makes a network's probabilities say how often it is right.

In: logits and labels of samples that the network was not trained on. Out: the temperature T by which logits are divided
before the softmax (Guo, Pleiss, Sun and Weinberger 2017, On calibration of modern neural networks, arXiv:1706.04599,
section 4.2). Dividing all of a sample's logits by one T > 0 changes their order in no sample, so no sample's class
changes; above 1 it makes the network less sure, below 1 surer. Pure, in float64; no file is read.

Legend: N samples, K classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from kdtrain.evaluation.metrics import FloatArray, IntArray

LEAST, MOST = 0.05, 20.0
"""Temperatures lie between them: beyond, probabilities are as good as 0 and 1, or as good as all alike."""
UNCHANGED = 1.0
"""The temperature of a network that was not calibrated."""
_DIGITS = 6
"""Significant ones: more would differ between processors, and change no probability by over 1e-6."""
_HALVINGS = 60
_TINIEST = 5e-324
"""The logarithm of a probability that was too small for float64 is taken of the smallest that is not."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A fitted temperature.

    Attributes:
        temperature: From LEAST to MOST.
        note: Why it is not where the mean negative log-likelihood is least; None where it is.
    """

    temperature: float
    note: str | None = None


def fit_temperature(logits_NK: FloatArray, labels_N: IntArray) -> Fit:
    """The temperature of the least mean negative log-likelihood, -log softmax(logits / T) of the true class.

    It is convex in b = 1 / T, with the derivative mean(sum_k p_k(b) z_k - z_label), which grows with b: its zero is
    found by halving. Where every sample is right the likelihood only grows as T falls, towards certainty: samples
    without a mistake say nothing of how often the network is wrong, so T stays 1.

    Args:
        logits_NK: (N, K), N at least 1, finite; a constant added to those of a sample changes nothing.
        labels_N: (N) true classes, from 0.
    """
    logits_NK = np.asarray(logits_NK, dtype=np.float64)
    of_truth_N = logits_NK[np.arange(len(labels_N)), labels_N]
    centred_NK = logits_NK - of_truth_N[:, None]
    if not (centred_NK > 0).any():
        return Fit(
            temperature=UNCHANGED,
            note="every sample is right, so nothing says how sure is too sure; T stays 1",
        )
    if _slope(centred_NK, 1 / MOST) >= 0:
        return Fit(
            temperature=MOST, note="its logits say hardly more of these labels than chance; T is at its limit"
        )
    if _slope(centred_NK, 1 / LEAST) <= 0:
        return Fit(temperature=LEAST, note="its mistakes are all but ties; T is at its limit")
    low, high = math.log(LEAST), math.log(MOST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _slope(centred_NK, math.exp(-middle)) > 0:
            low = middle
        else:
            high = middle
    return Fit(temperature=float(f"{math.exp((low + high) / 2):.{_DIGITS}g}"))


def _slope(centred_NK: FloatArray, inverse: float) -> float:
    """Derivative of the mean negative log-likelihood by 1 / T; logits are less that of the true class."""
    return float((softmax(inverse * centred_NK) * centred_NK).sum(axis=1).mean())


def softmax(logits_NK: FloatArray) -> FloatArray:
    """Over the last axis, in float64."""
    exponents = np.exp(logits_NK - logits_NK.max(axis=-1, keepdims=True))
    shares: FloatArray = exponents / exponents.sum(axis=-1, keepdims=True)
    return shares


def logits_of(probabilities_NK: FloatArray) -> FloatArray:
    """Logits of a softmax, but for a constant of each sample, which no temperature cares about."""
    logits_NK: FloatArray = np.log(np.maximum(probabilities_NK, _TINIEST))
    return logits_NK


def tempered(probabilities_NK: FloatArray, temperature: float) -> FloatArray:
    """What a softmax's probabilities are with logits divided by a temperature.

    Args:
        probabilities_NK: (..., K) softmax of the logits as they are.
        temperature: T; 1 returns them to the last bit.
    """
    if temperature == UNCHANGED:
        return probabilities_NK
    return softmax(logits_of(probabilities_NK) / temperature)
