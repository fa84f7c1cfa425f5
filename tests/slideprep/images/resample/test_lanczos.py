"""Truths of the weights: they add up exactly, fit their type, and lie where the kernel does."""

from __future__ import annotations

from fractions import Fraction
from math import pi

import numpy as np
import pytest

from slideprep.images.resample.lanczos import paired, sinc, tap_count, taps

FACTORS = [Fraction(f) for f in ("1", "2", "2.004008", "3.3", "13.6971", "64", "250")]


SINC_BITS = {0.3: "0x1.b77f60bebee61p-1", -1.7: "-0x1.363bcbd1f029fp-3", 2.9: "0x1.15dbe61d149dfp-5"}
"""What every processor makes of these numbers, to the last bit."""


def test_sinc_is_known_where_sines_are() -> None:
    """At quarter turns it is a fraction of pi, at whole numbers 0 exactly, and 1 in the middle."""
    assert sinc(np.arange(-4.0, 5.0)).tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 0]
    known = {0.5: 2 / pi, -0.5: 2 / pi, 1.5: -2 / (3 * pi), 2.5: 2 / (5 * pi), 1 / 6: 3 / pi}
    assert sinc(np.array(list(known))) == pytest.approx(list(known.values()), rel=3e-16, abs=0)


def test_sinc_is_the_same_on_every_processor() -> None:
    """Its bits are these, whatever the processor and its C library make of a sine."""
    assert [float.hex(float(value)) for value in sinc(np.array(list(SINC_BITS)))] == list(SINC_BITS.values())


def made(factor: Fraction, origin: str = "0.37") -> object:
    """Weights of 20 outputs from the source's border on."""
    return taps(0, 20, factor=factor, origin=Fraction(origin), source_start=0, source_stop=10_000)


@pytest.mark.parametrize("factor", FACTORS, ids=lambda f: f"{float(f):g}")
def test_weights_add_up_to_one(factor: Fraction) -> None:
    """Borders included, an output's weights add up to 1, and none lies outside the source."""
    found = made(factor)
    assert np.allclose(found.weights.sum(axis=1), 1, atol=1e-12)
    positions = found.starts[:, None] + np.arange(found.weights.shape[1])
    assert not found.weights[(positions < 0) | (positions >= 10_000)].any()
    assert found.weights.shape[1] <= tap_count(factor)


@pytest.mark.parametrize("first", [-1001, -1000])
@pytest.mark.parametrize("factor", FACTORS, ids=lambda f: f"{float(f):g}")
def test_whole_number_weights(factor: Fraction, first: int) -> None:
    """They add up to a power of two exactly, and undone they are the weights within half a unit at every sum so far."""
    exact = made(factor)
    found = paired(exact, first)
    units = np.round(1 / found.scales).astype(int)
    assert (found.weights.sum(axis=1, dtype=np.int64) == units).all()
    assert (np.log2(units) % 1 == 0).all()
    for i in range(20):
        at = exact.starts[i] - first - 2 * found.starts[i]
        assert at in (0, 1)
        undone = np.zeros(found.weights.shape[1])
        undone[at : at + exact.weights.shape[1]] = exact.weights[i][: found.weights.shape[1] - at]
        so_far = np.cumsum(found.weights[i] / units[i] - undone)
        assert np.abs(so_far).max() <= 0.5 / units[i] + 1e-12


@pytest.mark.parametrize("factor", FACTORS, ids=lambda f: f"{float(f):g}")
def test_sums_stay_in_32_bits(factor: Fraction) -> None:
    """The largest sum that 8-bit pixels can make of the weights fits a signed 32-bit number."""
    weights = paired(made(factor), -1000).weights.astype(np.int64)
    assert 255 * np.abs(weights).sum(axis=1).max() < 2**31


def test_factor_one_is_a_single_weight() -> None:
    """At the scan's own magnification an output is its own pixel and nothing else."""
    found = paired(made(Fraction(1), origin="0"), -1000)
    assert (np.count_nonzero(found.weights, axis=1) == 1).all()
