"""Truths of what compiled loops calculate with: operators do what they do in Python, and what cannot be is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from llvmlite import ir

from slideprep.images.vector_code import Code, Compiled
from slideprep.images.vector_values import F32, I8, I16, I32, I64, LANES, Array, Value


def computed(
    write: Callable[[Value], Value], given: np.ndarray, kinds: tuple[ir.Type, ir.Type]
) -> list[float]:
    """What a loop makes of a vector of 16 numbers."""
    taken, made = kinds
    module = ir.Module()
    code = Code(module, "f", {"given": taken.as_pointer(), "out": made.as_pointer()})
    source, out = code.arguments
    out.store(write(source.vector()))
    code.end()
    found = np.zeros(LANES, dtype={I8: np.uint8, I32: np.int32, F32: np.float32}[made])
    Compiled(module).function("f")(given.ctypes.data, found.ctypes.data)
    return found.tolist()


COUNTED = np.arange(LANES, dtype=np.int32)


def test_operators_on_whole_numbers() -> None:
    """Plus, minus, times, division, or, shift, and a bound, in every lane."""
    made = computed(lambda v: ((v + 3) * 10 - 2) // 4, COUNTED, (I32, I32))
    assert made == [((i + 3) * 10 - 2) // 4 for i in range(LANES)]
    assert computed(lambda v: v << 16 | v & 1, COUNTED, (I32, I32)) == [i << 16 | i & 1 for i in range(LANES)]
    assert computed(lambda v: v.at_most(5), COUNTED, (I32, I32)) == [min(i, 5) for i in range(LANES)]
    assert computed(lambda v: (v == 7).choose(v + 1, v), COUNTED, (I32, I32)) == [
        *range(7),
        8,
        *range(8, LANES),
    ]


def test_operators_on_floats() -> None:
    """The same signs mean floats' operations between floats; bounds hold on both sides."""
    given = COUNTED.astype(np.float32) - 4
    assert computed(lambda v: v * 0.5 + v - 1, given, (F32, F32)) == [1.5 * (i - 4) - 1 for i in range(LANES)]
    assert computed(lambda v: v.clipped(0, 6), given, (F32, F32)) == [
        min(max(i - 4, 0), 6) for i in range(LANES)
    ]
    rounded = computed(lambda v: (v + 2.0**23).bits() & 255, given + 4.25, (F32, I32))
    assert rounded == list(range(LANES)), "the lowest bits hold the nearest whole number"


def test_numbers_grow_and_shrink() -> None:
    """Bytes are widened without a sign, 16-bit halves with one; floats of signed numbers; the lowest bits are kept."""
    given = np.arange(240, 256, dtype=np.uint8)
    assert computed(lambda v: v.unsigned(I32), given, (I8, I32)) == list(range(240, 256))
    pairs = np.arange(-16, 16, dtype=np.int16)
    halves = computed(lambda v: v.halves().signed(I32).lanes(range(1, 32, 2)), pairs, (I32, I32))
    assert halves == list(range(-15, 16, 2))
    assert computed(lambda v: v.floats(), COUNTED - 8, (I32, F32)) == [i - 8 for i in range(LANES)]
    assert computed(lambda v: v.lowest(I8), COUNTED + 256, (I32, I8)) == list(range(LANES))


def test_what_cannot_be_known_while_writing_is_refused() -> None:
    """A value has no truth yet, memory no end, and numbers of different kinds no sum."""
    code = Code(ir.Module(), "f", {"count": I64, "bytes": I8.as_pointer(), "shorts": I16.as_pointer()})
    count, some_bytes, shorts = code.arguments
    assert isinstance(some_bytes, Array)
    with pytest.raises(TypeError, match="not if"):
        bool(count == 3)
    with pytest.raises(TypeError, match="not iterable"):
        list(some_bytes)
    with pytest.raises(ValueError, match="type"):
        some_bytes[0] + shorts[0]
