"""Truths of the weights: they add up exactly, fit their type, and lie where the kernel does."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from slideprep.images.resample.lanczos import paired, tap_count, taps

FACTORS = [Fraction(f) for f in ("1", "2", "2.004008", "3.3", "13.6971", "64", "250")]


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
