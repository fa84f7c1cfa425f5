"""Truths of the compiled loops: they count right, turn squares, and make the same bytes for any processor."""

from __future__ import annotations

import ctypes
import platform
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from llvmlite import ir

from slideprep.images.resample import band as level0_band
from slideprep.images.resample import filter as image_filter
from slideprep.images.resample.downsample import downsample, source_box
from slideprep.images.resample.filter import Target
from slideprep.images.resample.loops import lanczos_code
from slideprep.images.vector_code import F32, FLOATS, I32, I64, LANES, Code, Compiled, aligned_zeros

on_x86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="needs an x86-64 processor")


@pytest.mark.parametrize("count", [0, 1, 5])
def test_loops_run_as_often_as_told(count: int) -> None:
    """A loop of no rounds leaves what was carried into it; one of five adds up 0 to 4."""
    module = ir.Module()
    code = Code(module, "add", {"count": I64, "out": I64.as_pointer()})
    with code.loop(code.arguments["count"], [I64(100)]) as loop:
        loop.carry([code.builder.add(loop.values[0], loop.index)])
    code.builder.store(loop.results[0], code.arguments["out"])
    code.builder.ret_void()
    compiled, found = Compiled(module), np.zeros(1, dtype=np.int64)
    compiled.function("add", ctypes.c_int64, ctypes.c_size_t)(count, found.ctypes.data)
    assert found[0] == 100 + sum(range(count))


def test_squares_are_turned() -> None:
    """Row k, lane i becomes row i, lane k."""
    module = ir.Module()
    code = Code(module, "turn", {"square": F32.as_pointer()})
    rows = [code.load(code.at(code.arguments["square"], I32(LANES * i)), FLOATS) for i in range(LANES)]
    for i, row in enumerate(code.transposed(rows)):
        code.store(row, code.at(code.arguments["square"], I32(LANES * i)))
    code.builder.ret_void()
    compiled, square = Compiled(module), np.arange(LANES * LANES, dtype=np.float32).reshape(LANES, LANES)
    turned = square.copy()
    compiled.function("turn", ctypes.c_size_t)(turned.ctypes.data)
    assert np.array_equal(turned, square.T)


def test_memory_is_aligned() -> None:
    """Arrays begin at a line of the cache, whatever their size."""
    for size in (1, 17, 5000):
        made = aligned_zeros(size, np.int32)
        assert made.shape == (size,) and made.ctypes.data % 64 == 0 and not made.any()


@on_x86
@pytest.mark.parametrize("cpu", ["x86-64", "haswell"])
def test_any_processor_makes_the_same_bytes(cpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code for processors with narrow vectors, with and without fused operations, makes this machine's images."""
    image = np.random.default_rng(0).integers(0, 256, (500, 517, 3), dtype=np.uint8)
    targets = [
        Target(
            factor=Fraction(f), x=Fraction("3.3"), y=Fraction("2"), width=int(500 / f), height=int(480 / f)
        )
        for f in (1, 2, 2.5, 8, 32)
    ]
    box = source_box(targets, slide_width=517, slide_height=500)
    strips = [image[top : min(top + 100, box.bottom)].copy() for top in range(0, box.bottom, 100)]
    assert box.x == box.y == 0 and box.width == 517

    def made() -> list[tuple[int, bytes]]:
        return [(i, rows.tobytes()) for i, rows in downsample(strips, box, targets, strip_rows=100)]

    here = made()
    for module in (level0_band, image_filter):
        monkeypatch.setattr(module, "lanczos_code", partial(lanczos_code, cpu))
    assert "zmm" not in lanczos_code(cpu).compiled.assembly
    assert made() == here
