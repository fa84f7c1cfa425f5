"""Truths of the compiled loops: they count right, turn squares, and make the same bytes for any processor."""

from __future__ import annotations

import platform
import re
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from llvmlite import binding, ir

from slideprep.images.resample import band as level0_band
from slideprep.images.resample import filter as image_filter
from slideprep.images.resample.downsample import downsample, source_box
from slideprep.images.resample.filter import Target
from slideprep.images.resample.loops import lanczos_code, lanczos_module
from slideprep.images.vector_code import Code, Compiled, aligned_zeros, transposed
from slideprep.images.vector_values import F32, I64, LANES

on_x86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="needs an x86-64 processor")
FUSED = re.compile(r"\bv?fn?m(add|sub|la|ls)\w*")
"""Multiplications fused with additions, of x86 and Arm: they round once where two operations round twice."""


@pytest.mark.parametrize("count", [0, 1, 5])
def test_loops_run_as_often_as_told(count: int) -> None:
    """A loop of no rounds leaves what was carried into it; one of five adds up 0 to 4."""
    module = ir.Module()
    code = Code(module, "add", {"count": I64, "out": I64.as_pointer()})
    rounds, out = code.arguments
    with code.loop(rounds, [code.number(100)]) as loop:
        loop.carry([loop.values[0] + loop.index])
    out.store(loop.results[0])
    code.end()
    found = np.zeros(1, dtype=np.int64)
    Compiled(module).function("add")(count, found.ctypes.data)
    assert found[0] == 100 + sum(range(count))


def test_squares_are_turned() -> None:
    """Row k, lane i becomes row i, lane k."""
    module = ir.Module()
    code = Code(module, "turn", {"square": F32.as_pointer()})
    (lines,) = code.arguments
    for i, row in enumerate(transposed([lines.vector(LANES * i) for i in range(LANES)])):
        lines.store(row, LANES * i)
    code.end()
    square = np.arange(LANES * LANES, dtype=np.float32).reshape(LANES, LANES)
    turned = square.copy()
    Compiled(module).function("turn")(turned.ctypes.data)
    assert np.array_equal(turned, square.T)


def test_memory_is_aligned() -> None:
    """Arrays begin at a line of the cache, whatever their size."""
    for size in (1, 17, 5000):
        made = aligned_zeros(size, np.int32)
        assert made.shape == (size,) and made.ctypes.data % 64 == 0 and not made.any()


def can_run(cpu: str) -> bool:
    """Whether this machine has the vectors of an x86-64 level."""
    return cpu != "x86-64-v4" or bool(binding.get_host_cpu_features().get("avx512vl"))


@on_x86
@pytest.mark.parametrize("cpu", ["x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4"])
def test_any_processor_makes_the_same_bytes(cpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code for processors with narrow vectors, with and without fused operations, makes this machine's images."""
    if not can_run(cpu):
        pytest.skip(f"needs a processor of level {cpu}")
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
    assert ("zmm" in lanczos_code(cpu).compiled.assembly) == (cpu == "x86-64-v4")
    assert made() == here


@pytest.mark.parametrize(
    ("triple", "cpu"), [("x86_64-linux-gnu", "haswell"), ("aarch64-linux-gnu", "neoverse-v1")]
)
def test_no_processor_fuses_what_is_rounded_twice(triple: str, cpu: str) -> None:
    """Machine code for processors that could multiply and add in one operation, rounding once, does not."""
    assembly = assembly_for(triple, cpu, str(lanczos_module()))
    assert "filter_columns" in assembly and not FUSED.search(assembly)
    fusing = "define float @f(float %a, float %b) {\n%m = fmul contract float %a, %b\n"
    fusing += "%s = fadd contract float %m, %b\nret float %s\n}"
    assert FUSED.search(assembly_for(triple, cpu, fusing)), "the check would not see it"


def assembly_for(triple: str, cpu: str, code: str) -> str:
    """Machine code for a processor that this machine need not have."""
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    try:
        target = binding.Target.from_triple(triple)
    except RuntimeError:
        pytest.skip(f"this llvmlite writes no code for {triple}")
    machine = target.create_target_machine(cpu=cpu, opt=3)
    return str(machine.emit_assembly(binding.parse_assembly(code)))
